#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a clone to forecasts: installs what is missing, builds, serves the sample model, and streams 30 years of sunspots
# that it was not trained on through one session, a month at a time. Ends 0 only if the model forecasts better than
# "next month is as this month".
# Usage: deploy/quickstart.sh [--keep]
#   --keep  leave the server running
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

keep=
for argument in "$@"; do
  case $argument in
    --keep) keep=yes ;;
    -h | --help) sed -n '3,7p' "$0" | cut -c3-; exit 0 ;;
    *) echo "quickstart.sh: unknown option '$argument'; see --help" >&2; exit 2 ;;
  esac
done
say() { printf '\n== %s\n' "$*"; }

say "Installing what is missing"
bash deploy/install-packages.sh --build
say "Building lstmd and lstmctl (minutes the first time, seconds after that)"
bash deploy/build.sh
bin=build/release/bin

say "Starting lstmd on deploy/models"
work=$(mktemp -d)
log=$work/lstmd.log
: >"$log"
$bin/lstmd --repository deploy/models --listen 127.0.0.1:0 >"$log" 2>&1 &
server=$!
finish() {
  if [ -z "$keep" ] && kill "$server" 2>/dev/null; then wait "$server" || true; fi
  [ -n "$keep" ] || rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
address=
for _ in $(seq 100); do
  address=$(sed -n 's/^listening on //p' "$log")
  [ -z "$address" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
[ -n "$address" ] || { cat "$log"; echo "quickstart.sh: lstmd did not start" >&2; keep=; exit 1; }
echo "lstmd serves on $address"
$bin/lstmctl --server "$address" models

# The model reads and answers sunspots / 100; deploy/sample/README.md has the training and the source of the data.
say "Streaming January 1979 to December 2008 through one session, one month a step"
awk -F, 'NR > 1 && $1 >= "1979-01"' deploy/sample/sunspots.csv >"$work/held_out.csv"
awk -F, '{print $2 / 100}' "$work/held_out.csv" >"$work/input.csv"
$bin/lstmctl --server "$address" stream sunspots "$work/input.csv" --in-flight 1 --out "$work/forecast.csv"
paste -d , "$work/held_out.csv" "$work/forecast.csv" | awk -F, -v OFS=, '{print $1, $2, $3 * 100}' >"$work/result.csv"
code=0
awk -F, -f deploy/sample/report.awk "$work/result.csv" || code=1

say "What to try next"
ctl="$bin/lstmctl"
if [ -n "$keep" ]; then
  echo "The server keeps running as process $server, its log is $log; stop it with: kill $server"
  ctl+=" --server $address"
else
  echo "$bin/lstmd --repository deploy/models    serves until Ctrl-C; then, in another terminal:"
fi
cat <<END
$ctl create sunspots mine            a session of your own
$ctl step sunspots/mine 0.9          one month, 90 sunspots: answers the next, / 100
$ctl get sunspots/mine --state       its hidden and cell state
$ctl bench --model sunspots          how fast
$ctl --help                          everything else; README.md goes on from here
END
[ $code = 0 ] || { echo "quickstart.sh: the model is no better than the naive forecast" >&2; exit 1; }
