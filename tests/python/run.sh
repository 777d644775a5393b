#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh VENV: runs the tests of client/python. They need numpy and h5py: those of a virtual environment at VENV, which
# is made from requirements.txt if it is not there, or else those of the python3 at hand. Exit status 77 (skipped) where
# neither can be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:?run.sh VENV}
"$here/venv.sh" "$venv" || exit 77
export PYTHONPATH=$here/../../client/python:$here/../parity PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" -m unittest discover --start-directory "$here" --top-level-directory "$here"
