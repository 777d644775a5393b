#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A model that somebody else trained: the LSTM of Silero VAD, served by lstmd, with the rest of the network in ONNX
# Runtime, against the package's own speech probabilities. Prints the largest difference; ends 1 if it is above 1e-4.
# Needs a build (lstmd, lstmctl), python3 with venv, and the network for PyPI and, where it is missing, espeak-ng.
# Usage: tests/integration/silero.sh [BUILD]    BUILD: build/release
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(cd "${1:-$root/build/release}" && pwd)
example=$root/client/examples
[ -x "$build/bin/lstmd" ] && [ -x "$build/bin/lstmctl" ] || { echo "silero.sh: no lstmd and lstmctl in $build/bin" >&2; exit 1; }

if ! command -v espeak-ng >/dev/null; then
  apt-get update -qq && apt-get install -qq -y --no-install-recommends espeak-ng >/dev/null
fi
venv=$build/silero/venv
wanted="$(cat "$example/speech_activity_requirements.txt") silero-vad==6.2.3"
if [ "$(cat "$venv/wanted" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$example/speech_activity_requirements.txt"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps silero-vad==6.2.3
  echo "$wanted" >"$venv/wanted"
fi

work=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ] && kill "$server" 2>/dev/null; then wait "$server" || true; fi
  rm -rf "$work"
}
trap finish EXIT

espeak-ng -w "$work/one.wav" "Good morning. This is a test of a voice activity detector, which listens to every word."
espeak-ng -w "$work/two.wav" -s 110 -p 30 -g 40 "Slowly, with long pauses between the words, until it ends."
file=$("$venv/bin/python" -c 'import importlib.util as u; print(u.find_spec("silero_vad").submodule_search_locations[0])')
"$build/bin/lstmctl" import "$file/data/silero_vad_16k_sequence.onnx" --node /recurrent/LSTM --name silero \
  --repository "$work/models"

"$build/bin/lstmd" --repository "$work/models" --listen 127.0.0.1:0 --log-level warn >"$work/log" 2>&1 &
server=$!
address=
for _ in $(seq 100); do
  address=$(sed -n 's/^listening on //p' "$work/log")
  [ -z "$address" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
[ -n "$address" ] || { cat "$work/log"; echo "silero.sh: lstmd did not start" >&2; exit 1; }

code=0
for wav in one two; do
  "$venv/bin/python" "$example/speech_activity.py" "$work/$wav.wav" --server "$address" --tolerance 1e-4 || code=1
done
exit $code
