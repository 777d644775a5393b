#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# varied.sh VENV LSTMD_PARITY: the recorded kinds of case with other sizes, weights and inputs ($LSTMD_TEST_SEED, or
# random), as sequences and by steps. Exit status 77 (skipped) where numpy cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$1 parity=$2
"$here/../python/venv.sh" "$venv" || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# shellcheck disable=SC2086 # no seed is no argument
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/vary.py" "$here/cases" "$folder" ${LSTMD_TEST_SEED:-}
"$parity" "$folder"
"$parity" "$folder" --via step
