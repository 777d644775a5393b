#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every check of the cuDNN backend that needs a GPU, and a table of verdicts.
# Usage: tests/gpu/run.sh [--preset NAME]     (default preset: release)
# Exits 0 when all that could run passed, 1 when something failed, 77 without a usable GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=release
[ "${1:-}" = --preset ] && preset=$2
build=build/$preset bin=$build/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --preset "$preset" >/dev/null
cmake --build "$build" --target cudnn_gpu_test gpu_bench lstmd lstmd_parity lstmd_cudnn

names=() verdicts=()
verdict() { names+=("$1"); verdicts+=("$2"); echo "== $1: $2"; }
# check NAME COMMAND...: passed, failed, or skipped (exit 77).
check() {
  local name=$1 code=0
  shift
  "$@" || code=$?
  case $code in 0) verdict "$name" passed ;; 77) verdict "$name" skipped ;; *) verdict "$name" "FAILED ($code)" ;; esac
}

code=0
"$bin/cudnn_gpu_test" --gtest_filter=none || code=$?
[ "$code" = 77 ] && { echo "no usable GPU: nothing was checked"; exit 77; }

check "backend suite (graphs = eager, slots, oracle)" "$bin/cudnn_gpu_test"
check "parity" "$bin/lstmd_parity" tests/parity/cases --device cuda:0
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    check "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 1 "$bin/cudnn_gpu_test" \
      --gtest_filter='*StatesAreKept*:*EverySmallShape*'
  done
else
  verdict "compute-sanitizer" "skipped (not installed)"
fi
check "soak (the suite ten times, slots taken and freed)" "$bin/cudnn_gpu_test" --gtest_repeat=10 --gtest_brief=1
check "benchmark" sh -c "'$bin/gpu_bench' >'$work/rows.json' && cat '$work/rows.json'"
check "benchmark beside PyTorch" python3 tests/gpu/compare.py "$work/rows.json"

echo
failed=0
for i in "${!names[@]}"; do
  printf '%-55s %s\n' "${names[$i]}" "${verdicts[$i]}"
  case ${verdicts[$i]} in FAILED*) failed=1 ;; esac
done
exit "$failed"
