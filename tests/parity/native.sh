#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# native.sh VENV LSTMD_PARITY ARGUMENTS…: lstmd_parity --source native, with a python3 that has what the converter needs.
# Exit status 77 (skipped) where that cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
shift
"$here/../python/venv.sh" "$venv" || exit 77
PATH=$venv/bin:$PATH exec "$@" --source native
