#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh LSTMD VENV: checks deploy/ with the programs that it is for. Prints `N passed, N failed`; 77: skipped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/deploy/venv.sh
. "$here/venv.sh"
make_venv "${2:?run.sh LSTMD VENV}" "$here/requirements.txt"
PYTHONDONTWRITEBYTECODE=1 "$2/bin/python" "$here/check.py" "$1"
