#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Replicas behind HAProxy and Envoy with one Redis, killed, drained and added under load (cluster.py says more).
# Usage: tests/cluster/run.sh [LSTMD [VENV]] [-- haproxy|envoy]    77: skipped
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
kinds=()
arguments=()
while [ $# -gt 0 ]; do
  if [ "$1" = -- ]; then shift; kinds=("$@"); break; fi
  arguments+=("$1")
  shift
done
lstmd=${arguments[0]:-$root/build/release/bin/lstmd}
venv=${arguments[1]:-$root/build/release/cluster/venv}
# shellcheck source=tests/deploy/venv.sh
. "$root/tests/deploy/venv.sh"
make_venv "$venv" "$here/requirements.txt"
stubs=$(mktemp -d)
trap 'rm -rf "$stubs"' EXIT
mkdir -p "$stubs/google/rpc"
"$venv/bin/python" -m grpc_tools.protoc -I "$root/proto" --python_out="$stubs" --grpc_python_out="$stubs" \
  "$root"/proto/lstmd/v1/*.proto "$root"/proto/google/rpc/*.proto
PYTHONPATH="$stubs" PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/cluster.py" "$lstmd" "${kinds[@]}"
