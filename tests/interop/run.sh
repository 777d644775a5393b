#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh CLIENT [BIN [VENVS]]: a stock client of the Open Inference Protocol against a running lstmd. CLIENT: `triton`, the
# Python tritonclient and, where it runs, the perf_analyzer of the same package; or `kserve`, KServe's Python client. They
# come from a package index into virtual environments in the folder VENVS; exit status 77 (skipped) where that cannot be
# reached. BIN has lstmd and lstmctl. The last line is `N passed, N failed[, N skipped]`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
client=${1:?run.sh triton|kserve [BIN [VENVS]]}
bin=$(realpath "${2:-$here/../../build/release/bin}")
venvs=${3:-$bin/../interop}

case $client in
  triton)
    # The CUDA runtime is for perf_analyzer alone, which is linked to it; without it that part is skipped.
    "$here/venv.sh" "$venvs/venv" "$here/requirements/clients.txt" nvidia-cuda-runtime-cu12==12.6.77
    venv=$venvs/venv
    ;;
  kserve)
    "$here/venv.sh" "$venvs/kserve" "$here/requirements/kserve.txt"
    venv=$venvs/kserve
    ;;
  *)
    echo "run.sh: got '$client', want triton or kserve" >&2
    exit 2
    ;;
esac

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
"$bin/lstmd" --listen 127.0.0.1:0 --repository "$here/../../deploy/models" >"$work/out" 2>"$work/err" &
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
export LSTMCTL=$bin/lstmctl PYTHONDONTWRITEBYTECODE=1
if [ "$client" = kserve ]; then
  "$venv/bin/python" "$here/kserve_client.py" "$address"
else
  LD_LIBRARY_PATH=$(find "$venv/lib" -type d -path '*/cuda_runtime/lib' | head -n 1)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export LD_LIBRARY_PATH
  "$venv/bin/python" "$here/stock_clients.py" "$address" "$venv/bin/perf_analyzer"
fi
