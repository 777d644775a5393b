#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make_all.sh [SET [OUT]]: remakes one set of cases (sets/SET.json, default open) in OUT (default tests/parity/cases),
# with errors.json and core.txt, from the real frameworks, then checks it with check.py.
#
# Each framework gets a virtual environment of its own, made from requirements/*.txt on the first run and kept in
# $LSTMD_VENVS (default ~/.cache/lstmd/venvs); together they take some 10 GB. $PYTHON (default python3, 3.11) makes them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
set_name=${1:-open}
out=$(realpath -m "${2:-$here/../cases}")
venvs=${LSTMD_VENVS:-$HOME/.cache/lstmd/venvs}
python=${PYTHON:-python3}
export OMP_NUM_THREADS=1

venv() {  # venv NAME: the interpreter of that environment, made if it is not there or its requirements have changed
  local dir=$venvs/$1 wanted=$here/requirements/$1.txt
  if ! cmp -s "$wanted" "$dir/requirements.txt"; then
    echo "making the environment $1" >&2
    rm -rf "$dir"
    "$python" -m venv "$dir" >&2
    "$dir/bin/pip" install --quiet --requirement "$wanted" >&2
    cp "$wanted" "$dir/requirements.txt"
  fi
  echo "$dir/bin/python"
}

cd "$here"
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
mkdir -p "$out"
for row in torch:torch keras:tensorflow tf_keras:tensorflow paddle:paddle mindspore:mindspore onnx:torch; do
  framework=${row%%:*}
  interpreter=$(venv "${row##*:}")
  "$interpreter" "generate_$framework.py" --set "$set_name" --out "$out"
  "$interpreter" "generate_$framework.py" --errors "$parts/$framework.json"
done
numpy=$(venv torch)
"$numpy" - "$out/errors.json" "$parts"/{torch,keras,tf_keras,paddle,mindspore,onnx}.json <<'P'
import json, sys
rows = [row for path in sys.argv[2:] for row in json.load(open(path))]
open(sys.argv[1], "w").write("[\n" + ",\n".join(" " + json.dumps(row) for row in rows) + "\n]\n")
P
(cd "$out" && ls -d -- */ | tr -d / | sort) | comm -12 - <(sort core.txt) >"$out/core.txt"
"$numpy" ../check.py "$out"
