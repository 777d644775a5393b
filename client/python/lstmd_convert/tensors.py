# SPDX-License-Identifier: Apache-2.0
"""Tensors as bytes: element type, shape, row-major little-endian data. No numpy, so that most formats need none."""

import array
import math
import sys

from .errors import ConvertError

# safetensors name -> bytes per element. Others are refused where a weight is wanted.
ITEM_SIZE = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FLOATS = ("F32", "F16", "BF16", "F64")


def is_size(value):
    """Whether `value` is an integer that can be a dimension, an offset or a stride."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48


class Tensor:
    """A tensor whose bytes are fetched when they are wanted. `load` returns exactly `nbytes` bytes or raises."""

    def __init__(self, dtype, shape, load):
        if dtype not in ITEM_SIZE:
            raise ConvertError(f"unknown element type {dtype!r}")
        if len(shape) > 8 or not all(is_size(n) for n in shape):
            raise ConvertError(f"a tensor claims the shape {list(shape)[:8]!r}")
        self.dtype, self.shape, self._load = dtype, tuple(shape), load

    @property
    def nbytes(self):
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]

    def data(self):
        data = self._load()
        if len(data) != self.nbytes:
            raise ConvertError(f"a tensor of shape {list(self.shape)} has {len(data)} bytes, want {self.nbytes}")
        return data

    def as_weight(self, name):
        """The same as a float tensor; float64 becomes float32, which lstmd computes in."""
        if self.dtype not in FLOATS:
            raise ConvertError(f"{name} has element type {self.dtype}; weights are F32, F16, BF16 or F64")
        return self if self.dtype != "F64" else Tensor("F32", self.shape, lambda: narrow(self.data()))


def from_bytes(dtype, shape, data):
    return Tensor(dtype, shape, lambda: data)


def narrow(data):
    """float64 bytes as float32 bytes."""
    wide = array.array("d", data)
    if sys.byteorder == "big":
        wide.byteswap()
    out = array.array("f", [to_float32(v) for v in wide])
    if sys.byteorder == "big":
        out.byteswap()
    return out.tobytes()


def to_float32(value):
    limit = 3.4028235677973366e38  # halfway between the largest float32 and the next: above it rounding gives infinity
    return value if abs(value) < limit or value != value else math.copysign(math.inf, value)


def gather(base, item, offset, shape, stride):
    """The elements of a strided view of `base`, row-major. All in elements of `item` bytes.

    REQUIRES: the caller has checked with `span` that the view lies inside `base`.
    """
    if math.prod(shape) == 0:
        return b""
    contiguous, expected = True, 1
    for size, step in zip(reversed(shape), reversed(stride)):
        contiguous &= size == 1 or step == expected
        expected *= size
    if contiguous:
        return bytes(base[offset * item : (offset + math.prod(shape)) * item])
    starts = [offset]
    for size, step in zip(shape, stride):
        starts = [s + k * step for s in starts for k in range(size)]
    return b"".join(base[s * item : (s + 1) * item] for s in starts)


def span(offset, shape, stride):
    """One past the last element that a view touches."""
    if math.prod(shape) == 0:
        return offset
    return offset + sum((size - 1) * step for size, step in zip(shape, stride)) + 1
