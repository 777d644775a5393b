# SPDX-License-Identifier: Apache-2.0
# make_venv FOLDER REQUIREMENTS: a virtual environment with these packages; exits 77 where they cannot be had.
# shellcheck shell=bash
make_venv() {
  local venv=$1 requirements=$2
  mkdir -p "$(dirname "$venv")"
  exec 9>"$venv.lock"
  flock 9
  if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"; }; then
      echo "skipped: the packages of $(basename "$(dirname "$requirements")")/requirements.txt cannot be installed (python3 -m venv, pip)"
      exit 77
    fi
    cp "$requirements" "$venv/requirements.txt"
  fi
  flock -u 9
}
