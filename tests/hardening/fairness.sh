#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What one tenant's flood does to another's latency: the p99 of a victim's steps alone, beside a flood that has a quota, and
# beside one that has none. A measurement, not a part of the suite: run it on a machine that does nothing else.
# Usage: tests/hardening/fairness.sh [FOLDER [SECONDS]]    FOLDER: of lstmd and lstmctl, default build/release/bin
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=${1:-build/release/bin} seconds=${2:-5}
work=$(mktemp -d)
server=''
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" || true; }
  rm -rf "$work"
}
trap finish EXIT
for tenant in victim bounded unbounded; do "$bin/lstmctl" token new $tenant --add "$work/tokens" >"$work/$tenant"; done
echo '{"tenants": {"bounded": {"steps_per_second": 5000, "in_flight": 64}}}' >"$work/quotas"
"$bin/lstmd" --repository deploy/models --listen 127.0.0.1:0 --log-level error --auth-file "$work/tokens" --quota-file "$work/quotas" >"$work/out" &
server=$!
until address=$(sed -n 's/^listening on //p' "$work/out") && [ -n "$address" ]; do kill -0 $server; sleep 0.1; done
ctl() { "$bin/lstmctl" --server "$address" --token-file "$work/$1" --json "${@:2}"; }
p99() { ctl victim bench --model sunspots --sessions 8 --streams 2 --in-flight 1 --seconds "$seconds" | sed -n 's/.*"p99": \([0-9.]*\).*/\1/p'; }
alone=$(p99)
echo "victim alone             p99 $alone ms"
for flood in bounded unbounded; do
  ctl $flood bench --model sunspots --sessions 64 --streams 4 --in-flight 256 --warmup 0 --seconds $((seconds + 3)) >"$work/flood" 2>&1 &
  other=$!
  sleep 1
  beside=$(p99)
  wait $other || true
  rate=$(sed -n 's/.*"steps_per_second": \([0-9]*\).*/\1/p' "$work/flood")
  echo "beside a flood, $flood   p99 $beside ms, $(awk "BEGIN {printf \"%.2f\", $beside / $alone}") times; the flood made ${rate:-?} steps/s"
done
