#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs the tests. The last line is `N passed, N failed[, N skipped]`.
# Usage: tests/run.sh [--preset NAME] [--quick]
#   --preset NAME  release (default), dev (clang, warnings are errors), asan (with UBSan) or tsan
#   --quick        leave out the tests labelled slow
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=release
select=()
while [ $# -gt 0 ]; do
  case $1 in
    --preset) preset=${2:?--preset needs a name}; shift ;;
    --preset=*) preset=${1#*=} ;;
    --quick) select=(-LE slow) ;;
    -h | --help) sed -n '3,6p' "$0" | cut -c3-; exit 0 ;;
    *) echo "run.sh: unknown option '$1'; see --help" >&2; exit 2 ;;
  esac
  shift
done
case $preset in
  release | dev | asan | tsan) ;;
  *) echo "run.sh: no tests in preset '$preset'; want release, dev, asan or tsan" >&2; exit 2 ;;
esac

bash deploy/install-packages.sh --build --test

build=build/$preset
cores=$(nproc)
cmake --preset "$preset" -DLSTMD_BUILD_TESTS=ON
cmake --build "$build" -j "$cores"

export ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
# ThreadSanitizer's are in tests/sanitizers/library_edges.cc, so that they hold for a test run by hand too.
symbolizer=$(command -v llvm-symbolizer llvm-symbolizer-14 | head -n 1 || true)
if [ -n "$symbolizer" ]; then export ASAN_SYMBOLIZER_PATH=$symbolizer TSAN_OPTIONS="external_symbolizer_path=$symbolizer"; fi
# Some kernels place memory at random where clang 14's ThreadSanitizer cannot follow.
runner=()
if [ "$preset" = tsan ] && setarch -R true 2>/dev/null; then runner=(setarch -R); fi

# GoogleTest writes one file per binary, so that the summary counts test cases and not binaries.
results=$PWD/$build/test-results
rm -rf "$results"
mkdir -p "$results/cases"
export GTEST_OUTPUT="xml:$results/cases/" GTEST_COLOR=no
code=0
"${runner[@]}" ctest --preset "$preset" -j "$cores" "${select[@]}" --output-junit "$results/ctest.xml" || code=$?
python3 tests/summary.py "$results/ctest.xml" "$results/cases" || code=1
exit "$code"
