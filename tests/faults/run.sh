#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Breaks servers, stores and networks under the load of the real client, and compares every output with a run in which
# nothing happened. Ends within 10 minutes; the last line is `N passed, N failed[, N skipped]`.
# Usage: tests/faults/run.sh [--quick] [--seed N] [--build DIR] [PART...]
#   PART     network    connections cut, replies dropped and duplicated by a proxy
#            kill       the same, and kill -9 of the server, durability every step
#            periodic   the same with periodic durability: what the server lost is replayed
#            redis      Redis killed and restarted, the server too
#            disk       the store's disk full (needs root for a tmpfs)
#            drain      SIGTERM of one of two replicas on one Redis, in turns
#            partition  an owner that is cut off from its store keeps getting steps
#            default: all
#   --quick  small, a minute at most: what the suite runs
#   --seed   repeats the random choices of an earlier run
#   --build  where faults_test is built; default build/release, which is built if it is missing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=build/release
export LSTMD_FAULTS=full
parts=()
while [ $# -gt 0 ]; do
  case $1 in
    --quick) LSTMD_FAULTS=quick ;;
    --seed) export LSTMD_TEST_SEED=${2:?--seed needs a number}; shift ;;
    --build) build=${2:?--build needs a folder}; shift ;;
    -h | --help) sed -n '3,17p' "$0" | cut -c3-; exit 0 ;;
    -*) echo "run.sh: unknown option '$1'; see --help" >&2; exit 2 ;;
    *) parts+=("$1") ;;
  esac
  shift
done
[ ${#parts[@]} -gt 0 ] || parts=(network kill periodic redis disk drain partition)

declare -A tests=([network]=FaultsTest.Network [kill]=KillTest.EveryStep [periodic]=KillTest.Periodic
  [redis]=FaultsTest.RedisRestart [disk]=FaultsTest.DiskFull [drain]='ReplicasTest.Drain*'
  [partition]=ReplicasTest.Partition)
for part in "${parts[@]}"; do
  [ -n "${tests[$part]:-}" ] || { echo "run.sh: no part '$part'; see --help" >&2; exit 2; }
done
if [ ! -x "$build/bin/faults_test" ]; then
  [ "$build" = build/release ] || { echo "run.sh: no faults_test in $build/bin" >&2; exit 2; }
  bash deploy/install-packages.sh --build --test
  cmake --preset release -DLSTMD_BUILD_TESTS=ON
  cmake --build build/release -j "$(nproc)" --target faults_test
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
deadline=$((SECONDS + 590))
passed=0 failed=0 skipped=0
for part in "${parts[@]}"; do
  echo "== $part"
  left=$((deadline - SECONDS))
  begin=$SECONDS
  code=0
  # After the ten minutes every part that is left fails.
  timeout --kill-after=5 "$((left > 1 ? left : 1))" "$build/bin/faults_test" --gtest_color=no \
    --gtest_filter="${tests[$part]}" >"$log" 2>&1 || code=$?
  grep -vE '^(\[[-= ]+\]|\[ +(RUN|OK|PASSED) +\]|Note:|Running main|$)' "$log" || true
  if [ $code -eq 124 ] || [ $code -eq 137 ]; then echo "out of time"; fi
  if [ $code -ne 0 ]; then
    verdict=FAILED failed=$((failed + 1))
  elif grep -q '^\[  SKIPPED \]' "$log"; then
    verdict=skipped skipped=$((skipped + 1))
  else
    verdict=passed passed=$((passed + 1))
  fi
  echo "-- $part: $verdict, $((SECONDS - begin)) s"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
