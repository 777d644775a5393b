#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# throughput.sh [BIN [VENVS [options of throughput.py]]]: what perf_analyzer reaches against lstmd, compared with a server
# that computes nothing. BIN has lstmd and noop_server; the client comes from a package index into the folder VENVS. Exit
# status 77 (skipped) where it cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath "${1:-$here/../../build/release/bin}")
venvs=${2:-$bin/../interop}
if [ ! -x "$bin/noop_server" ]; then
  echo "skipped: $bin has no noop_server (build the target noop_server)"
  exit 77
fi
"$here/venv.sh" "$venvs/venv" "$here/requirements/clients.txt" nvidia-cuda-runtime-cu12==12.6.77
export PYTHONDONTWRITEBYTECODE=1
exec "$venvs/venv/bin/python" "$here/throughput.py" "$bin/lstmd" "$bin/noop_server" "${@:3}"
