#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# venv.sh VENV: makes sure that VENV/bin/python has numpy and h5py. Exit status 1, and the reason, where that fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
cmp -s "$here/requirements.txt" "$venv/requirements.txt" && exit 0
rm -rf "$venv"
if python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"; then
  cp "$here/requirements.txt" "$venv/requirements.txt"
elif rm -rf "$venv" && python3 -c 'import h5py, numpy' 2>/dev/null; then
  mkdir -p "$venv/bin"
  ln -s "$(command -v python3)" "$venv/bin/python"
  cp "$here/requirements.txt" "$venv/requirements.txt"
else
  echo "skipped: numpy and h5py cannot be installed into a virtual environment (python3 -m venv, pip), nor are they here"
  exit 1
fi
