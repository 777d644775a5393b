#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What lstmd does with --device when the device is missing, falls back, works, or is lost while serving.
# Usage: device_test.sh BIN_FOLDER REPOSITORY
set -euo pipefail
bin=$1 repository=$2
work=$(mktemp -d)
server=0
trap '[ $server = 0 ] || kill -9 $server 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "FAILED: $1"; sed 's/^/  /' "$work/err"; exit 1; }

# start ARGS...: a server in the background; its address goes to $address.
start() {
  : >"$work/out"
  "$bin/lstmd" --repository "$repository" --listen 127.0.0.1:0 "$@" >"$work/out" 2>"$work/err" &
  server=$!
  for _ in $(seq 600); do
    address=$(sed -n 's/^listening on //p' "$work/out")
    [ -z "$address" ] || return 0
    kill -0 $server 2>/dev/null || fail "lstmd $* ended before it served"
    sleep 0.1
  done
  fail "lstmd $* does not serve"
}
# stop WANTED_CODE: waits for the end.
stop() {
  local code=0
  wait $server || code=$?
  server=0
  [ $code = "$1" ] || fail "exit code: got $code, want $1"
}

code=0
LSTMD_PLUGIN_DIR=$work "$bin/lstmd" --device cuda:0 --listen 127.0.0.1:0 >"$work/out" 2>"$work/err" || code=$?
[ $code = 3 ] || fail "a missing device: got exit code $code, want 3"
[ "$(wc -l <"$work/err")" = 1 ] && grep -q 'lstmd: cuda:0 needs the plug-in' "$work/err" || fail "not one clear line"
echo "ok: a missing device is one clear line and exit code 3"

LSTMD_PLUGIN_DIR=$work start --device auto
"$bin/lstmctl" --server "$address" models | grep -q 'READY *cpu' || fail "auto does not serve on the CPU"
grep -q 'no GPU, using the CPU' "$work/err" || fail "auto does not say that it took the CPU"
kill -TERM $server
stop 0
echo "ok: auto serves on the CPU without a GPU, and says so"

seq 100 >"$work/rows.csv"
start --device cpu
"$bin/lstmctl" --server "$address" stream sunspots "$work/rows.csv" --out "$work/cpu.csv"
kill -TERM $server
stop 0
start --device emulated
"$bin/lstmctl" --server "$address" stream sunspots "$work/rows.csv" --out "$work/emulated.csv"
kill -TERM $server
stop 0
rows=$(paste -d, "$work/cpu.csv" "$work/emulated.csv" |
  awk -F, '$1+0==$1 { d=$1-$2; if (d<0) d=-d; if (d>1e-4*(1+($1<0?-$1:$1))) exit 1; n++ } END { print n }') ||
  fail "the emulated GPU and the CPU differ"
[ "$rows" -ge 99 ] || fail "rows compared: got $rows, want at least 99"
echo "ok: $rows forecasts of the emulated GPU are the CPU's"

# 700 is cudaErrorIllegalAddress: the context is gone.
LSTMD_EMULATED_FAILURE="cudaStreamSynchronize 20 700" start --device emulated
if "$bin/lstmctl" --server "$address" stream sunspots "$work/rows.csv" --out "$work/lost.csv" 2>"$work/client"; then
  fail "a lost device answers all steps"
fi
grep -q 'INTERNAL' "$work/client" || { cat "$work/client"; fail "a lost device is not INTERNAL"; }
stop 4
grep -q 'a device is lost' "$work/err" || fail "the log does not say that the device is lost"
echo "ok: a lost device fails its requests with INTERNAL and ends the server with exit code 4"
