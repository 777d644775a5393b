# SPDX-License-Identifier: Apache-2.0
"""paddle.save files (.pdparams): one pickle of a dict of numpy arrays."""

import math
import os

from .errors import ConvertError
from .pickle_vm import Global, Machine
from .tensors import ITEM_SIZE, Tensor, gather, is_size

DTYPES = {
    "f4": "F32",
    "f2": "F16",
    "f8": "F64",
    "i8": "I64",
    "i4": "I32",
    "i2": "I16",
    "i1": "I8",
    "u1": "U8",
    "b1": "BOOL",
}
MAX_FILE = 8 << 30


class Dtype:
    """numpy.dtype as a pickle builds it: made with a code, then told the byte order."""

    def __init__(self, code, *rest):
        if not isinstance(code, str):
            raise ConvertError(f"the pickle has a numpy type {code!r}")
        self.code = code.lstrip("<|=")
        if self.code not in DTYPES:
            raise ConvertError(f"the pickle has an array of numpy type {code!r}; weights are f2, f4 or f8")

    def set_state(self, state):
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise ConvertError("the pickle has an array in big-endian byte order or with fields")


class Array:
    """numpy.ndarray as a pickle builds it: made empty, then given (version, shape, type, is_fortran, data)."""

    def __init__(self, *_):
        self.tensor = None

    def set_state(self, state):
        if not isinstance(state, tuple) or len(state) != 5:
            raise ConvertError("the pickle has an array with an unknown state")
        _, shape, dtype, fortran, data = state
        if not isinstance(shape, tuple) or not all(is_size(n) for n in shape) or not isinstance(dtype, Dtype):
            raise ConvertError("the pickle has an array without shape or type")
        if isinstance(data, str):  # protocol 2 writes bytes as text
            data = data.encode("latin-1")
        name = DTYPES[dtype.code]
        item = ITEM_SIZE[name]
        if not isinstance(data, bytes) or len(data) != math.prod(shape) * item:
            have = f"{len(data)} bytes" if isinstance(data, bytes) else f"a {type(data).__name__}"
            raise ConvertError(f"the pickle has an array of shape {shape!r} with {have}")
        if fortran:
            stride = [math.prod(shape[:k]) for k in range(len(shape))]
            data = gather(data, item, 0, shape, stride)
        self.tensor = Tensor(name, shape, lambda: data)


def read(path):
    if os.path.getsize(path) > MAX_FILE:
        raise ConvertError(f"{path}: larger than {MAX_FILE >> 30} GiB")
    with open(path, "rb") as f:
        data = f.read()
    if not data.startswith(b"\x80"):
        raise ConvertError(f"{path}: not a paddle.save file (a pickle is wanted)")
    machine = Machine(
        functions={
            "collections.OrderedDict": lambda *args: dict(),
            "numpy.core.multiarray._reconstruct": Array,
            "numpy._core.multiarray._reconstruct": Array,
            "numpy.dtype": Dtype,
            "_codecs.encode": latin1,
        },
        classes=["numpy.ndarray"],
        source=str(path),
    )
    value = machine.run(data)
    if isinstance(value, dict) and "UnpackBigParamInfor@@" in value:
        raise ConvertError(f"{path}: arrays cut in pieces (paddle.save with protocol 2 or 3); save with protocol=4")
    return unwrap(value)


def latin1(text, encoding="latin1"):
    """How protocol 2 of Python 3 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ConvertError("the pickle encodes something else than latin1 text")
    return text.encode("latin-1")


def unwrap(value, depth=0):
    """Arrays, bare or with their name in a tuple, become Tensors."""
    if depth > 32:
        raise ConvertError("the pickle has containers in containers more than 32 deep")
    if isinstance(value, dict):
        return {k: unwrap(v, depth + 1) for k, v in value.items() if k != "StructuredToParameterName@@"}
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Array):
        value = value[1]
    if isinstance(value, Array):
        if value.tensor is None:
            raise ConvertError("the pickle has an array without data")
        return value.tensor
    return None if isinstance(value, Global) else value
