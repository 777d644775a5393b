#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh LSTMD LSTMCTL MODELS VENV: the stock clients of the Open Inference Protocol against a running lstmd: the Python
# tritonclient and, where it runs, the perf_analyzer of the same package. The clients come from a package index into a
# virtual environment at VENV; exit status 77 (skipped) where that cannot be reached. Prints `N passed, N failed`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lstmd=${1:?run.sh LSTMD LSTMCTL MODELS VENV}
lstmctl=${2:?}
models=${3:?}
venv=${4:?}

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" &&
         "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"; }; then
    echo "skipped: the clients of $here/requirements.txt cannot be installed (python3 -m venv, pip)"
    exit 77
  fi
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi
# For perf_analyzer alone, which is linked to it; where it is not to be had, that part is skipped.
if [ ! -e "$venv/cuda" ]; then
  "$venv/bin/pip" install --quiet --disable-pip-version-check nvidia-cuda-runtime-cu12==12.6.77 || true
  : >"$venv/cuda"
fi
flock -u 9

work=$(mktemp -d)
server=
stop() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap stop EXIT
"$lstmd" --listen 127.0.0.1:0 --repository "$models" >"$work/out" 2>"$work/err" &
server=$!
address=
for _ in $(seq 300); do
  address=$(sed -n 's/^listening on //p' "$work/out")
  [ -n "$address" ] && break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
if [ -z "$address" ]; then
  cat "$work/err"
  echo "lstmd did not start"
  exit 1
fi
LD_LIBRARY_PATH=$(find "$venv/lib" -type d -path '*/cuda_runtime/lib' | head -n 1)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH LSTMCTL=$lstmctl
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/stock_clients.py" "$address" "$venv/bin/perf_analyzer"
