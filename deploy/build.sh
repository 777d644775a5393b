#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds lstmd and lstmctl, optimised, into build/release/bin, and with CUDA the GPU plug-in into build/release/lib. The quick start and the Dockerfile build through here.
# Usage: deploy/build.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The tests need more packages. A folder that tests/run.sh has configured keeps them.
options=()
[ -e build/release/CMakeCache.txt ] || options=(-DLSTMD_BUILD_TESTS=OFF)
said=$(cmake --preset release "${options[@]}" 2>&1) || { echo "$said"; exit 1; }
targets=(lstmd lstmctl)
# Where CUDA was found, the GPU backend too.
if grep -q 'build lstmd_cudnn:' build/release/build.ninja; then targets+=(lstmd_cudnn); fi
cmake --build build/release --target "${targets[@]}" -j "$(nproc)"
