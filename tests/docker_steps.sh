#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Proves the Dockerfile where there is no Docker engine: runs its instructions in chroots on a bare Debian 12, then starts
# the image's entry point as its user on the sample repository, waits for its health check, and looks for compilers.
# Usage, as root: tests/docker_steps.sh [--base FOLDER] [--ccache FOLDER] [--keep]
#   --base FOLDER    a bare Debian 12 system to start from; without it debootstrap makes one
#   --ccache FOLDER  a ccache to compile with
#   --keep           leave the image's tree behind and print its folder
# Known: FROM … AS, WORKDIR, COPY [--from], RUN, USER, EXPOSE, VOLUME, HEALTHCHECK … CMD […], ENTRYPOINT […]; anything else
# is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base='' ccache='' keep=''
while [ $# -gt 0 ]; do
  case $1 in
    --base) base=${2:?--base needs a folder}; shift ;;
    --ccache) ccache=${2:?--ccache needs a folder}; shift ;;
    --keep) keep=yes ;;
    *) sed -n '3,10p' "$0" | cut -c3-; exit 2 ;;
  esac
  shift
done
[ "$(id -u)" = 0 ] || { echo "docker_steps.sh: chroot needs root" >&2; exit 2; }

work=$(mktemp -d)
declare -A stages=()
root='' workdir=/ user=root entrypoint=() health=() server='' run=''

leave() {
  if [ -n "$server" ] && kill "$server" 2>/dev/null; then wait "$server" || true; fi
  for mounted in "$work"/stage*/{proc,dev,ccache}; do
    ! mountpoint -q "$mounted" || umount -l "$mounted"
  done
  # What is still mounted is not ours to delete.
  if [ -n "$keep" ] || grep -q " $work/" /proc/mounts; then echo "kept: $work"; else rm -rf --one-file-system "$work"; fi
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "$base" ]; then
  base=$work/base
  mirror=$(grep -hoE 'https?://[^ ]+' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
  debootstrap --variant=minbase --include=ca-certificates bookworm "$base" "${mirror:-http://deb.debian.org/debian}"
fi

inside() {  # in the current stage, as `user`, with nothing of our environment but how to reach the package mirror
  local settings=()
  mapfile -t settings < <(env | grep -E '^([A-Za-z_]*_(proxy|PROXY)|SSL_[A-Z_]*)=' || true)
  if [ -n "$ccache" ]; then settings+=(CCACHE_DIR=/ccache CCACHE_BASEDIR="$workdir" CCACHE_NOHASHDIR=1); fi
  $run env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${settings[@]}" \
    chroot --userspec="$user" "$root" /bin/sh -c "cd '$workdir' && exec \"\$@\"" sh "$@" </dev/null
}

new_stage() {
  root=$work/stage${#stages[@]} workdir=/ user=root
  stages[$1]=$root
  cp -a "$base" "$root"
  cp -a /etc/apt/sources.list.d/. "$root/etc/apt/sources.list.d/" 2>/dev/null && rm -f "$root/etc/apt/sources.list"
  cp -a /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
  for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    if [ -e "$file" ]; then mkdir -p "$root${file%/*}" && cp -L "$file" "$root$file"; fi
  done
  mount -t proc proc "$root/proc"
  mount --bind /dev "$root/dev"
  if [ -n "$ccache" ]; then mkdir "$root/ccache" && mount --bind "$ccache" "$root/ccache"; fi
}

copy() {
  local from=$PWD target=${*: -1} source
  case $1 in --from=*) from=${stages[${1#--from=}]}; shift ;; esac
  [[ $target = /* ]] || target=$workdir/$target
  target=$root$target
  for source in "${@:1:$#-1}"; do
    if [ "$from" = "$PWD" ]; then allowed "$source"; fi
    case $target in */ | */.) mkdir -p "$target" ;; *) mkdir -p "${target%/*}" ;; esac
    if [ -d "$from/$source" ]; then mkdir -p "$target" && cp -a "$from/$source/." "$target"; else cp -a "$from/$source" "$target"; fi
  done
}

allowed() {  # .dockerignore leaves nothing in the context but what it names
  local pattern
  while read -r pattern; do
    case $pattern in "!$1") return ;; esac
    case $1 in "${pattern#!}"/*) return ;; esac
  done < <(grep '^!' .dockerignore)
  echo "docker_steps.sh: .dockerignore leaves out $1" >&2
  exit 1
}

json() { python3 -c 'import json, sys; print("\n".join(json.loads(sys.argv[1])))' "$1"; }

skipping=''
while read -r instruction rest; do
  echo "--- $instruction $rest"
  if [ "$instruction" = FROM ]; then
    case $rest in nvidia/*) skipping=yes; echo "skipped: this stage stands on an image that is not here" ;; *) skipping='' ;; esac
  fi
  [ -z "$skipping" ] || continue
  case $instruction in
    FROM)
      read -r image _ name <<<"$rest"
      [ "$image" = debian:bookworm-slim ] || { echo "docker_steps.sh: unknown image $image" >&2; exit 1; }
      new_stage "${name:-final}" ;;
    WORKDIR) workdir=$rest && mkdir -p "$root$workdir" ;;
    COPY) read -ra words <<<"$rest" && copy "${words[@]}" ;;
    RUN) inside /bin/sh -c "$rest" ;;
    USER) user=$rest ;;
    EXPOSE | VOLUME) ;;
    HEALTHCHECK) mapfile -t health < <(json "${rest#*CMD }") ;;
    ENTRYPOINT) mapfile -t entrypoint < <(json "$rest") ;;
    *) echo "docker_steps.sh: unknown instruction $instruction" >&2; exit 1 ;;
  esac
done < <(sed -e '/^#/d' -e '/^$/d' -e ':a' -e '/\\$/N; s/\\\n//; ta' Dockerfile)

fail() { echo "docker_steps.sh: $*" >&2; [ ! -e "$work/log" ] || cat "$work/log" >&2; exit 1; }
[ "$user" != root ] || fail "the image runs as root"
for tool in gcc g++ cc clang cmake ninja make; do
  ! inside sh -c "command -v $tool" || fail "the image holds a compiler: $tool"
done
cp -a deploy/models/. "$root/models/"
run='exec'
! inside timeout 20 "${entrypoint[@]}" >"$work/log" 2>&1 || fail "it serves plain text beyond this machine unasked"
grep -q allow-plaintext "$work/log" || fail "it does not say why it did not start"
inside env LSTMD_ALLOW_PLAINTEXT=true "${entrypoint[@]}" >"$work/log" 2>&1 &
server=$! run=''
healthy=''
for _ in $(seq 100); do
  kill -0 "$server" 2>/dev/null || fail "the entry point ended"
  if inside "${health[@]}" >/dev/null 2>&1; then healthy=yes; break; fi
  sleep 0.2
done
[ -n "$healthy" ] || fail "the health check does not pass"
inside "${health[@]}"
kill -TERM "$server"
wait "$server" || fail "SIGTERM: exit code $?"
server=''
! inside "${health[@]}" >/dev/null 2>&1 || fail "the health check passes without a server"
echo "image: $(du -sm --one-file-system --exclude "$root/ccache" "$root" | cut -f1) MB, of which Debian $(du -sm "$base" | cut -f1) MB"
echo "docker_steps.sh: the image builds, serves and stops as $user"
