#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What one tenant's flood does to another's latency: the p99 of a victim that asks for 1,000 steps a second, alone and beside
# floods of another tenant, with a quota and without. Twice as long is the most. A measurement, not a part of the suite: run it
# on a machine that does nothing else. The flood's own client takes only the processor time that nobody else wants.
# Usage: tests/hardening/fairness.sh [FOLDER [SECONDS]]    FOLDER: of lstmd and lstmctl, default build/release/bin
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=${1:-build/release/bin} seconds=${2:-3}
work=$(mktemp -d)
server=''
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" || true; }
  rm -rf "$work"
}
trap finish EXIT
for tenant in victim bounded unbounded; do "$bin/lstmctl" token new $tenant --add "$work/tokens" >"$work/$tenant"; done
echo '{"tenants": {"bounded": {"steps_per_second": 5000, "in_flight": 64}}}' >"$work/quotas"
"$bin/lstmd" --repository deploy/models --listen 127.0.0.1:0 --metrics-listen '' --log-level error --auth-file "$work/tokens" \
  --quota-file "$work/quotas" >"$work/out" &
server=$!
until address=$(sed -n 's/^listening on //p' "$work/out") && [ -n "$address" ]; do kill -0 $server; sleep 0.1; done
ctl() { "$bin/lstmctl" --server "$address" --token-file "$work/$1" --json "${@:2}"; }
# The median of three runs.
p99() { for _ in 1 2 3; do once; done | sort -n | sed -n 2p; }
once() { ctl victim bench --model sunspots --sessions 8 --streams 2 --rate 1000 --seconds "$seconds" | sed -n 's/.*"p99": \([0-9.]*\).*/\1/p'; }
alone=$(p99)
verdict=0
printf '%-44s %10s %6s %16s\n' '' 'p99 ms' times 'flood, a second'
printf '%-44s %10.2f %6s %16s\n' 'the victim alone' "$alone" 1 -
# judge NAME COMMAND…: the victim beside COMMAND, which prints its rate and ends by itself.
judge() {
  sleep 2  # what the flood before has overdrawn is paid then
  nice -n 19 "${@:2}" >"$work/flood" 2>&1 &
  local other=$! beside rate times
  sleep 1
  beside=$(p99)
  wait $other || true
  rate=$(sed -n 's/.*"steps_per_second": \([0-9]*\).*/\1/p; s/^\([0-9]*\) calls a second$/\1/p' "$work/flood")
  times=$(awk "BEGIN {printf \"%.2f\", $beside / $alone}")
  printf '%-44s %10.2f %6s %16s\n' "beside $1" "$beside" "$times" "${rate:-refused}"
  if awk "BEGIN {exit !($times > 2)}"; then verdict=1; fi
}
long=$((3 * seconds + 6))
# flood NAME TENANT FLAGS…
flood() {
  judge "$1" "$bin/lstmctl" --server "$address" --token-file "$work/$2" --json bench --model sunspots --warmup 0 --seconds "$long" "${@:3}"
}
flood 'steps, with a quota' bounded --sessions 64 --streams 4 --in-flight 256 --keep-going
flood 'calls, with a quota' bounded --sessions 200 --streams 200 --connections 10 --unary --keep-going
flood 'sequences of 500 steps, with a quota' bounded --sequence 500 --sessions 8 --streams 8 --keep-going
judge 'calls without a token' python3 tests/hardening/attack.py "$address" strangers "$long" 200
flood 'steps, without' unbounded --sessions 64 --streams 4 --in-flight 256
flood 'steps of 1,000 sessions on 50 streams' unbounded --sessions 1000 --streams 50 --connections 10
flood 'calls, one for each step' unbounded --sessions 200 --streams 200 --connections 10 --unary
flood 'sequences of 500 steps' unbounded --sequence 500 --sessions 64 --streams 16
[ $verdict = 0 ] || echo "FAILED: more than twice"
exit $verdict
