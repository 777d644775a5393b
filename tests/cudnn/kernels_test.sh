#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles every kernel for each architecture and fails on a spilled register.
# Usage: kernels_test.sh NVCC SOURCE_ROOT
set -euo pipefail
nvcc=$1 root=$2
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for arch in 80 90 100; do
  report=$("$nvcc" -std=c++17 -I "$root" -cubin -arch=sm_$arch -Xptxas -v "$root/engine/cudnn/kernels.cu" \
    -o "$out/kernels.cubin" 2>&1) || { echo "$report"; exit 1; }
  kernels=$(grep -c 'bytes spill stores' <<<"$report" || true)
  spilled=$(grep 'bytes spill stores' <<<"$report" | grep -cv ' 0 bytes spill stores, 0 bytes spill loads' || true)
  echo "sm_$arch: $kernels kernels, $spilled with spilled registers"
  [ "$kernels" -ge 7 ] || { echo "expected the report of at least 7 kernels:"; echo "$report"; exit 1; }
  [ "$spilled" = 0 ] || { echo "$report"; exit 1; }
done
