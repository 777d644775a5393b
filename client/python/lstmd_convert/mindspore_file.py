# SPDX-License-Identifier: Apache-2.0
"""MindSpore checkpoints (.ckpt), a protobuf message:

  Checkpoint { repeated Value value = 1; }
  Value      { string tag = 1; TensorProto tensor = 2; }
  TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3; }

Large tensors are cut into several values with the same tag.
"""

import os

from .errors import ConvertError
from .tensors import ITEM_SIZE, Tensor

DTYPES = {
    "Float32": "F32",
    "Float16": "F16",
    "Float64": "F64",
    "BFloat16": "BF16",
    "Int64": "I64",
    "Int32": "I32",
    "Int16": "I16",
    "Int8": "I8",
    "UInt8": "U8",
    "Bool": "BOOL",
}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FILE = 8 << 30


def fields(data, path):
    """(number, wire type, value) of each field of a message; a value is an int or a memoryview."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise ConvertError(f"{path}: not a MindSpore checkpoint, or a truncated one (byte {at})")
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            yield number, kind, varint()
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            size = varint()
        if size is None or number == 0 or size > len(data) - at:
            raise ConvertError(f"{path}: not a MindSpore checkpoint, or a truncated one (byte {at})")
        yield number, kind, data[at : at + size]
        at += size


def text(value, path):
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise ConvertError(f"{path}: not a MindSpore checkpoint: a name is not text") from None


def read(path):
    if os.path.getsize(path) > MAX_FILE:
        raise ConvertError(f"{path}: larger than {MAX_FILE >> 30} GiB")
    with open(path, "rb") as f:
        data = memoryview(f.read())
    found = {}
    for number, kind, value in fields(data, path):
        if number != 1 or kind != BYTES:
            continue  # a later version's additions, such as a checksum
        tag, tensor = None, None
        for n, k, v in fields(value, path):
            if n == 1 and k == BYTES:
                tag = text(v, path)
            elif n == 2 and k == BYTES:
                tensor = v
        if tag is None or tensor is None:
            raise ConvertError(f"{path}: not a MindSpore checkpoint: an entry has no name or no tensor")
        dims, dtype, pieces = [], None, b""
        for n, k, v in fields(tensor, path):
            if n == 1 and k == VARINT:
                dims.append(v)
            elif n == 1 and k == BYTES:  # packed
                dims.extend(packed(v, path))
            elif n == 2 and k == BYTES:
                dtype = text(v, path)
            elif n == 3 and k == BYTES:
                pieces = v
        if dtype not in DTYPES:
            raise ConvertError(f"{path}: {tag} has element type {dtype!r}")
        entry = found.setdefault(tag, (dims, DTYPES[dtype], []))
        if entry[0] != dims or entry[1] != DTYPES[dtype]:
            raise ConvertError(f"{path}: {tag} is there twice with other shapes")
        entry[2].append(pieces)
    if not found:
        raise ConvertError(f"{path}: not a MindSpore checkpoint: it has no tensor")
    return {tag: build(tag, *entry, path) for tag, entry in found.items()}


def packed(data, path):
    at, out, value, shift = 0, [], 0, 0
    while at < len(data):
        value |= (data[at] & 127) << shift
        shift += 7
        if data[at] < 128:
            out.append(value)
            value = shift = 0
        elif shift > 63:
            raise ConvertError(f"{path}: a dimension is no number")
        at += 1
    return out


def build(tag, dims, dtype, pieces, path):
    tensor = Tensor(dtype, dims, lambda: b"".join(pieces))
    have = sum(len(p) for p in pieces)
    if have != tensor.nbytes:
        want = f"{tensor.nbytes} ({ITEM_SIZE[dtype]} each)"
        raise ConvertError(f"{path}: {tag} of shape {dims} has {have} bytes, want {want}; the file is truncated?")
    return tensor
