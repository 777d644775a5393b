#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Attacks a real lstmd over real connections, with certificates and tokens made here, and shows in one table what each
# attempt was answered with. The last line is `N passed, N failed`.
# Usage: tests/security/run.sh [FOLDER]    FOLDER: of lstmd and lstmctl, default build/release/bin
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
bin=$(cd "${1:-build/release/bin}" && pwd) || exit 2
command -v openssl >/dev/null || { echo "skipped: openssl is not installed"; exit 77; }
work=$(mktemp -d)
servers=()
finish() {
  for server in "${servers[@]}"; do kill "$server" 2>/dev/null; done
  wait
  rm -rf "$work"
}
trap finish EXIT
passed=0 failed=0

# row WHAT WANT GOT: WANT is a part of GOT.
row() {
  local verdict=ok got
  got=$(tr '\n' ' ' <<<"$3" | cut -c1-200)
  if [[ $3 == *"$2"* ]]; then passed=$((passed + 1)); else verdict=FAILED failed=$((failed + 1)); fi
  printf '%-62s %-42s %s\n' "$1" "$2" "$verdict"
  [ $verdict = ok ] || printf '    got: %s\n' "$got"
}

# --- Certificates: an authority, another one, and what they sign. ---
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
    -keyout "$work/$1.key" -out "$work/$1.pem" 2>/dev/null
}
signed() {  # NAME AUTHORITY DAYS SUBJECT
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$4" -keyout "$work/$1.key" \
    -out "$work/$1.csr" 2>/dev/null
  printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1' "$4" >"$work/$1.ext"
  openssl x509 -req -in "$work/$1.csr" -CA "$work/$2.pem" -CAkey "$work/$2.key" -CAcreateserial -days "$3" \
    -extfile "$work/$1.ext" -out "$work/$1.pem" 2>/dev/null
}
authority ca
authority otherca
signed server ca 2 localhost
signed expiredserver ca -1 localhost
signed client ca 2 robot.example.com
signed stranger ca 2 nobody.example.com
signed expiredclient ca -1 robot.example.com
signed foreign otherca 2 robot.example.com
for name in ca server expiredserver client expiredclient foreign; do
  [ -s "$work/$name.pem" ] || { echo "no certificate $name" >&2; exit 1; }
done

# --- Tokens and quotas. ---
token() { "$bin/lstmctl" token new "${@:2}" --add "$work/tokens" >"$work/$1.token"; }
token alpha alpha
token beta beta
token ops ops --role admin
token old alpha --expires 2020-01-01
token small small
echo "robots user cert:robot.example.com" >>"$work/tokens"
echo "lstmd_$(openssl rand -hex 32)" >"$work/wrong.token"
: >"$work/empty.token"
cat >"$work/quotas" <<END
{"tenants": {"small": {"sessions": 1, "models": ["sunspots"], "steps_per_second": 5}}}
END
mkdir "$work/models" "$work/secret"
cp -r deploy/models/sunspots "$work/models/"
cp -r deploy/models/sunspots "$work/models/other"
cp -r deploy/models/sunspots/1 "$work/secret/"

# start NAME FLAG…: the address in the file NAME.address.
start() {
  local name=$1
  shift
  "$bin/lstmd" --repository "$work/models" --listen 127.0.0.1:0 --log-level trace --reload-interval 1s "$@" \
    >"$work/$name.out" 2>"$work/$name.log" &
  servers+=($!)
  for _ in $(seq 300); do
    sed -n 's/^listening on //p' "$work/$name.out" >"$work/$name.address"
    [ ! -s "$work/$name.address" ] || return 0
    kill -0 "${servers[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/$name.log" >&2
  echo "lstmd $name did not start" >&2
  exit 1
}
secured=(--tls-cert "$work/server.pem" --tls-key "$work/server.key" --auth-file "$work/tokens" --quota-file "$work/quotas")
start tls "${secured[@]}"
start mtls "${secured[@]}" --tls-client-ca "$work/ca.pem"
start expired --tls-cert "$work/expiredserver.pem" --tls-key "$work/expiredserver.key"

# ctl SERVER ARGUMENT…: what lstmctl says, on both streams.
ctl() {
  local server=$1
  shift
  "$bin/lstmctl" --server "$(cat "$work/$server.address")" --timeout 20 "$@" 2>&1
}
as() { ctl tls --tls-ca "$work/ca.pem" --token-file "$work/$1.token" "${@:2}"; }
with() { ctl mtls --tls-ca "$work/ca.pem" --tls-cert "$work/$1.pem" --tls-key "$work/$1.key" "${@:2}"; }

printf '%-62s %-42s %s\n' ATTEMPT 'ANSWERED WITH' VERDICT
# What must work, so that a refusal below is one.
row "the tenant's own token" "alpha-1" "$(as alpha create sunspots alpha-1)"
row "the same session, a step" "0." "$(as alpha step sunspots/alpha-1 0.9)"
row "an admin loads a model that is loaded" "MODEL_EXISTS" "$(as ops load sunspots)"
row "a client certificate that the file names" "sunspots" "$(with client models)"
row "health without a token" "SERVING" "$(ctl tls --tls-ca "$work/ca.pem" health)"

row "no token" "(UNAUTHENTICATED / TOKEN" "$(ctl tls --tls-ca "$work/ca.pem" models)"
row "wrong token" "(UNAUTHENTICATED / TOKEN" "$(as wrong models)"
row "expired token" "(UNAUTHENTICATED / TOKEN" "$(as old models)"
row "the hash of a token as the token" "(UNAUTHENTICATED / TOKEN" "$(
  sed -n 's/^alpha user sha256:\([0-9a-f]*\)$/\1/p' "$work/tokens" >"$work/hash.token"; as hash models)"
row "a certificate of no known name, and no token" "(UNAUTHENTICATED / TOKEN" "$(with stranger models)"
row "expired certificate of the client" "UNAVAILABLE" "$(with expiredclient models)"
row "client certificate of a wrong CA" "UNAVAILABLE" "$(with foreign models)"
row "no client certificate where one is asked for" "UNAVAILABLE" "$(ctl mtls --tls-ca "$work/ca.pem" --token-file "$work/alpha.token" models)"
row "expired certificate of the server" "UNAVAILABLE" "$(ctl expired --tls-ca "$work/ca.pem" models)"
row "server certificate of a wrong CA" "UNAVAILABLE" "$(ctl tls --tls-ca "$work/otherca.pem" --token-file "$work/alpha.token" models)"
row "plain text to a TLS port" "UNAVAILABLE" "$(ctl tls models)"
row "another tenant's session: get" "(NOT_FOUND / SESSION_NOT_FOUND" "$(as beta get sunspots/alpha-1 --state)"
row "another tenant's session: step" "(NOT_FOUND / SESSION_NOT_FOUND" "$(as beta step sunspots/alpha-1 0.9)"
row "another tenant's session: delete" "(NOT_FOUND / SESSION_NOT_FOUND" "$(as beta delete sunspots/alpha-1)"
row "another tenant's sessions: list" "There are no sessions." "$(as beta sessions)"
row "an admin on a tenant's session" "(NOT_FOUND / SESSION_NOT_FOUND" "$(as ops get sunspots/alpha-1)"
row "a user loads a model" "(PERMISSION_DENIED / ADMIN_ONLY" "$(as alpha load other)"
row "a user unloads a model" "(PERMISSION_DENIED / ADMIN_ONLY" "$(as alpha unload other --force)"
row "path traversal: load ../secret" "(INVALID_ARGUMENT / RESOURCE_NAME" "$(as ops load ../secret)"
row "path traversal: load models/../../secret" "(INVALID_ARGUMENT / RESOURCE_NAME" "$(as ops load models/../../secret)"
row "path traversal: load an absolute path" "(INVALID_ARGUMENT / RESOURCE_NAME" "$(as ops load "$work/secret")"
row "path traversal: load .." "(INVALID_ARGUMENT / RESOURCE_NAME" "$(as ops load ..)"
row "path traversal: session ../../x" "(INVALID_ARGUMENT / SESSION_ID" "$(as alpha create sunspots ../../x)"
row "a session under another tenant's name" "(INVALID_ARGUMENT / SESSION_ID" "$(as beta create sunspots alpha:alpha-1)"
row "a model outside the quota" "(PERMISSION_DENIED / MODEL_NOT_ALLOWED" "$(as small create other s)"
row "sessions up to the quota" "small-1" "$(as small create sunspots small-1)"
row "one session more" "(RESOURCE_EXHAUSTED / QUOTA" "$(as small create sunspots small-2)"
row "steps above the rate" "(RESOURCE_EXHAUSTED / QUOTA" "$(
  yes 0.9 | head -n 5000 | as small run sunspots - --outputs last; as small step sunspots/small-1 0.9)"

row "a tenant that goes on above its rate" "bound steps_per_second" "$(
  as small delete sunspots/small-1 >"$work/deleted"; as small bench --model sunspots --sessions 1 --streams 1 --seconds 1 --keep-going)"

refused() { timeout 20 "$bin/lstmd" --log-level off "$@" 2>&1; echo "exit $?"; }
row "plain text on a public address" "allow-plaintext" "$(refused --listen 0.0.0.0:0)"
row "plain text on a public address: exit status" "exit 2" "$(refused --listen '[::]:0')"
row "the key of another certificate" "exit 2" "$(refused --listen 127.0.0.1:0 --tls-cert "$work/server.pem" --tls-key "$work/client.key")"
row "a token in plain text to another machine" "plain text" "$("$bin/lstmctl" --server 0.0.0.0:1 --token-file "$work/alpha.token" models 2>&1)"
row "an empty token file" "is empty" "$(as empty models)"

# --- What changes in the files holds without a restart. ---
until_row() {  # WHAT WANT COMMAND…: asks again until it is so
  local got=''
  for _ in $(seq 100); do
    got=$("${@:3}")
    [[ $got != *"$2"* ]] || break
    sleep 0.1
  done
  row "$1" "$2" "$got"
}
grep -v '^beta ' "$work/tokens" >"$work/tokens.next" && mv "$work/tokens.next" "$work/tokens"
until_row "a token that was taken out of the file" "(UNAUTHENTICATED / TOKEN" as beta models
row "the others' tokens meanwhile" "sunspots" "$(as alpha models)"
signed server2 otherca 2 localhost
cp "$work/server2.pem" "$work/next.pem" && cp "$work/server2.key" "$work/next.key"
mv "$work/next.key" "$work/server.key" && mv "$work/next.pem" "$work/server.pem"
until_row "a new certificate of another authority is served" "sunspots" ctl tls --tls-ca "$work/otherca.pem" --token-file "$work/alpha.token" models
row "the old authority is then the wrong one" "UNAVAILABLE" "$(as alpha models)"

# --- Connections that never shake hands for TLS, which gRPC does not list. ---
start crowd --tls-cert "$work/server.pem" --tls-key "$work/server.key" --max-connections 20
silent=()
for _ in $(seq 60); do
  exec {descriptor}<>"/dev/tcp/127.0.0.1/$(sed 's/.*://' "$work/crowd.address")" && silent+=("$descriptor")
done
cut() { ctl crowd --tls-ca "$work/otherca.pem" --json top --once | grep -o '"cut":{[^}]*' | sed -n 's/.*"max_connections":"\([0-9]*\).*/\1/p'; }
cut_enough() { local count; count=$(cut); [ "${count:-0}" -ge 39 ] && echo "enough: $count" || echo "only ${count:-none}"; }
until_row "60 silent connections where 20 may be: most are cut" "enough" cut_enough
row "a client beside them" "sunspots" "$(ctl crowd --tls-ca "$work/otherca.pem" models)"
for descriptor in "${silent[@]}"; do exec {descriptor}>&-; done

# --- Secrets. ---
leaks=''
for secret in "$work"/{alpha,beta,ops,old,small,wrong}.token; do
  if grep -lF -e "$(cat "$secret")" "$work"/*.log "$work"/*.out; then leaks+="$(basename "$secret") "; fi
done
if grep -lE 'PRIVATE KEY|Bearer lstmd' "$work"/*.log "$work"/*.out; then leaks+="key or header"; fi
row "tokens and keys in the logs at level trace" "none" "${leaks:-none}"
row "the file of tokens holds hashes only" "none" "$(grep -c 'lstmd_' "$work/tokens" | sed 's/^0$/none/')"
row "the log is there to be searched" "serves" "$(cat "$work/tls.log")"

echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 30 ]
