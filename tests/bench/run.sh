#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds, measures everything beside its peers, and writes tests/bench/RESULTS.md with its plots. Prints every goal with its
# ratio, met or missed.
# Usage: tests/bench/run.sh [--quick | --smoke] [--only engine,wire,scaling,parts] [--results FILE] [--no-build]
#   (none)      about 12 minutes; writes tests/bench/RESULTS.md
#   --quick     about 2 minutes, fewer cells and turns; writes build/bench/RESULTS.md
#   --smoke     seconds; what it measures means nothing. Writes build/bench/RESULTS.md
#   --only      some of the parts
#   --results   another file for the report
#   --no-build  the programs are built: BENCH_BIN says where, else build/release/bin
# Peers (ONNX Runtime, PyTorch) come from PyPI into build/bench/venv, or the folder BENCH_VENV; one that cannot be installed is skipped, visibly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mode=full results='' build=1 only=()
command="bash tests/bench/run.sh"
while [ $# -gt 0 ]; do
  case $1 in
    --quick) mode=quick; command+=" --quick" ;;
    --smoke) mode=smoke; command+=" --smoke" ;;
    --only) only=(--only "${2:?--only needs a list}"); command+=" --only $2"; shift ;;
    --results) results=${2:?--results needs a file}; shift ;;
    --no-build) build=0 ;;
    -h | --help) sed -n '3,12p' "$0" | cut -c3-; exit 0 ;;
    *) echo "run.sh: unknown option '$1'; see --help" >&2; exit 2 ;;
  esac
  shift
done
if [ ${#only[@]} != 0 ] && ! [[ ,${only[1]} =~ ^(,(engine|wire|scaling|parts))+$ ]]; then
  echo "run.sh: --only: got '${only[1]}', want some of engine,wire,scaling,parts" >&2
  exit 2
fi
if [ -z "$results" ]; then
  results=build/bench/RESULTS.md
  if [ "$mode" = full ] && [ ${#only[@]} = 0 ]; then results=tests/bench/RESULTS.md; fi
fi
mkdir -p build/bench

if [ "$build" = 1 ]; then
  bash deploy/install-packages.sh --build --test
  cmake --preset release -DLSTMD_BUILD_TESTS=ON
  targets=(lstmd lstmctl lstmd_echo)
  # Programs of some parts; not there where a library of theirs is not.
  known=$(cmake --build build/release --target help)
  for target in lstmd_bench lstmd_spill_bench noop_server; do
    if grep -q "^$target:" <<<"$known"; then targets+=("$target"); fi
  done
  cmake --build build/release -j "$(nproc)" --target "${targets[@]}"
fi
export BENCH_BIN=${BENCH_BIN:-build/release/bin}
# Relative to the root, so that the report reads the same wherever that is.
export BENCH_WORK=${BENCH_WORK:-build/bench/work}

python=python3
if [ "$mode" != smoke ]; then
  venv=${BENCH_VENV:-build/bench/venv}
  if [ ! -x "$venv/bin/pip" ]; then rm -rf "$venv"; python3 -m venv "$venv"; fi
  for packages in "numpy matplotlib" "onnxruntime onnx" torch; do
    marker="$venv/${packages// /-}"
    if [ -e "$marker" ]; then continue; fi
    # shellcheck disable=SC2086  # a list
    if "$venv/bin/pip" install --quiet --disable-pip-version-check $packages; then
      : >"$marker"
    else
      echo "skipped: $packages cannot be installed"
    fi
  done
  python=$venv/bin/python
fi
exec "$python" tests/bench/bench.py --mode "$mode" --results "$results" --command "$command" "${only[@]}"
