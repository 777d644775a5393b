# SPDX-License-Identifier: Apache-2.0
"""The safetensors format: u64 header length, JSON header, data."""

import json
import math
import os
import pathlib
import struct
import tempfile

from .errors import ConvertError
from .tensors import ITEM_SIZE, Tensor, is_size

MAX_HEADER = 100 << 20


def read(path):
    """(tensors by name, metadata) of a file. Tensor data stays on disk until it is wanted."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(8)
        if len(head) < 8:
            raise ConvertError(f"{path}: {size} bytes are too few for a safetensors file")
        (length,) = struct.unpack("<Q", head)
        if length > min(size - 8, MAX_HEADER):
            raise ConvertError(f"{path}: the header claims {length} bytes, the file has {size - 8} after its length")
        try:
            header = json.loads(f.read(length))
        except (ValueError, RecursionError):
            raise ConvertError(f"{path}: the safetensors header is not JSON") from None
    if not isinstance(header, dict):
        raise ConvertError(f"{path}: the safetensors header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    tensors, room = {}, size - 8 - length
    for name, entry in header.items():
        try:
            dtype, shape, (low, high) = entry["dtype"], entry["shape"], entry["data_offsets"]
            good = dtype in ITEM_SIZE and all(is_size(n) for n in (low, high, *shape)) and low <= high <= room
            good = good and math.prod(shape) * ITEM_SIZE[dtype] == high - low
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise ConvertError(f"{path}: the header's entry of {name!r} does not fit the file")
        tensors[name] = Tensor(dtype, shape, lambda at=8 + length + low, n=high - low: read_range(path, at, n))
    return tensors, metadata


def read_range(path, at, n):
    with open(path, "rb") as f:
        f.seek(at)
        return f.read(n)


def write(path, tensors, metadata):
    """Writes atomically: the file is either what it was or complete."""
    header, at = {"__metadata__": metadata}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for t in tensors.values():
                f.write(t.data())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
