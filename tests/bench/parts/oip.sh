#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A part of tests/bench: perf_analyzer against lstmd and against a server that computes nothing (tests/interop).
set -euo pipefail
case ${BENCH_MODE:?} in
  smoke) options=(--hidden 16 --rounds 1 --seconds 0.6) ;;
  quick) options=(--rounds 1 --seconds 2) ;;
  *) options=(--rounds 3 --seconds 3 --budget 200) ;;
esac
venvs=${BENCH_BIN:?}/../interop
exec tests/interop/throughput.sh "$BENCH_BIN" "$venvs" "${options[@]}" --json "${BENCH_OUT:?}/oip.json"
