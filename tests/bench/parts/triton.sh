#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A part of tests/bench: lstmd beside a Triton server with the same LSTM (tests/interop). In full runs only: Triton is
# large, and starts slowly.
set -euo pipefail
if [ "${BENCH_MODE:?}" != full ]; then
  echo "skipped: Triton is for full runs"
  exit 77
fi
venvs=${BENCH_BIN:?}/../interop
exec tests/interop/triton.sh "$BENCH_BIN" "$venvs" --rounds 2 --seconds 3 --budget 180 --json "${BENCH_OUT:?}/triton.json"
