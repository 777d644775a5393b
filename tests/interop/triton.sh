#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# triton.sh [BIN [VENVS [options of triton.py]]]: lstmd, of the folder BIN, beside a Triton server with the same LSTM.
# Triton with its Python backend, ONNX Runtime and the client come from a package index into the folder VENVS. Exit status
# 77 (skipped) where one of them cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath "${1:-$here/../../build/release/bin}")
venvs=${2:-$bin/../interop}
"$here/venv.sh" "$venvs/venv" "$here/requirements/clients.txt" nvidia-cuda-runtime-cu12==12.6.77
"$here/venv.sh" "$venvs/triton" "$here/requirements/triton.txt"
export PYTHONDONTWRITEBYTECODE=1
exec "$venvs/venv/bin/python" "$here/triton.py" "$bin/lstmd" "$venvs/triton/bin/python" "${@:3}"
