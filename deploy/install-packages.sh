#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that lstmd needs. The lists are deploy/packages/*; the Dockerfile uses them through here.
# Usage: deploy/install-packages.sh [--runtime] [--build] [--test]
#   --runtime  to run the binaries        --build  to compile them        --test  to build and run the tests as well
# Without an option: --build --test. Does nothing, and asks for no rights, when all is installed.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

lists=()
for argument in "$@"; do
  case $argument in
    --runtime | --build | --test) lists+=("${argument#--}") ;;
    -h | --help) sed -n '3,6p' "$0" | cut -c3-; exit 0 ;;
    *) echo "install-packages.sh: unknown option '$argument'; want --runtime, --build or --test" >&2; exit 2 ;;
  esac
done
[ ${#lists[@]} -gt 0 ] || lists=(build test)

if ! command -v apt-get >/dev/null; then
  echo "install-packages.sh: no apt-get here. lstmd is built on Debian 12; the packages are listed in $folder/packages." >&2
  exit 1
fi

# Names differ between releases: runtime.noble is Ubuntu 24.04's form of runtime, for NVIDIA's images.
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
files=()
for list in "${lists[@]}"; do
  file=$folder/packages/$list
  [ ! -e "$file.$codename" ] || file=$file.$codename
  files+=("$file")
done
mapfile -t wanted < <(grep -hv '^#' "${files[@]}" | sort -u)
installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | awk '$1 == "ii" {print $2}')
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}") <(sort -u <<<"$installed"))
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "install-packages.sh: run as root, or install sudo, to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "Installing ${#missing[@]} packages: ${missing[*]}"
log=$(mktemp); trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 ||
    { tail -n 30 "$log" >&2; echo "install-packages.sh: apt-get $1 failed" >&2; exit 1; }
}
apt update
apt install -y --no-install-recommends "${missing[@]}"
