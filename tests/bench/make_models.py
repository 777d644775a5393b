#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a repository of one-layer models of random weights, I = H, for load tests.

Usage: make_models.py FOLDER NAME=HIDDEN[xCOPIES] ...     for example  h128=128 many=16x64  (many-0 ... many-63)
Needs nothing but Python: the weights are the same pseudo-random bytes scaled into a small range.
"""
import json
import os
import struct
import sys


def floats(count, block=1 << 14):
    """Little-endian floats within +-0.05, repeated every `block`."""
    values, state = [], 12345
    for _ in range(min(count, block)):
        state = (1103515245 * state + 12345) & 0x7FFFFFFF
        values.append((state / 0x7FFFFFFF - 0.5) * 0.1)
    part = struct.pack(f"<{len(values)}f", *values)
    whole, rest = divmod(count, block)
    for _ in range(whole):
        yield part
    yield part[: rest * 4]


def write_model(folder, hidden):
    os.makedirs(folder, exist_ok=True)
    shapes = {"weight_ih_l0": [4 * hidden, hidden], "weight_hh_l0": [4 * hidden, hidden],
              "bias_ih_l0": [4 * hidden], "bias_hh_l0": [4 * hidden]}
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4
        for dim in shape:
            size *= dim
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(folder, "model.safetensors")
    with open(path + ".part", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for entry in header.values():
            for part in floats((entry["data_offsets"][1] - entry["data_offsets"][0]) // 4):
                out.write(part)
    os.replace(path + ".part", path)
    with open(os.path.join(folder, "lstm.json"), "w") as out:
        json.dump({"input_size": hidden, "hidden_size": hidden}, out)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for argument in sys.argv[2:]:
        name, size = argument.split("=")
        hidden, _, copies = size.partition("x")
        names = [f"{name}-{k}" for k in range(int(copies))] if copies else [name]
        for one in names:
            write_model(os.path.join(sys.argv[1], one, "1"), int(hidden))


if __name__ == "__main__":
    main()
