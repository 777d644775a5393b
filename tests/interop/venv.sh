#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# venv.sh VENV REQUIREMENTS [PACKAGE…]: makes sure that VENV has the packages of that file, and those PACKAGEs if they
# are to be had. Exit status 77, and the reason, where a package index cannot be reached or has none for this machine.
set -euo pipefail
venv=${1:?venv.sh VENV REQUIREMENTS [PACKAGE…]}
requirements=${2:?}
shift 2
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
cmp -s "$requirements" "$venv/requirements.txt" && exit 0
rm -rf "$venv"
if ! { python3 -m venv "$venv" &&
       "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"; }; then
  echo "skipped: $(basename "$requirements") cannot be installed (python3 -m venv, pip)"
  exit 77
fi
for package in "$@"; do
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$package" || true
done
cp "$requirements" "$venv/requirements.txt"
