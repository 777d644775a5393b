# SPDX-License-Identifier: Apache-2.0
"""torch.save files (.pt, .pth): a zip with data.pkl, a pickle of the state_dict, and data/KEY, the storages' bytes."""

import math
import zipfile

from .errors import ConvertError
from .pickle_vm import Global, Machine
from .tensors import ITEM_SIZE, Tensor, gather, is_size, span

STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # magic number of torch.save before 1.6
MAX_PICKLE = 256 << 20


class Storage:
    def __init__(self, dtype, key, count):
        self.dtype, self.key, self.count = dtype, key, count  # dtype None: untyped, count in bytes


def read(path):
    """What torch.save was given: containers with Tensors in them."""
    with open(path, "rb") as f:
        start = f.read(len(LEGACY))
    if start == LEGACY:
        raise ConvertError(
            f"{path}: written by torch.save before version 1.6 or with _use_new_zipfile_serialization=False; "
            "load it with torch and save its state_dict again"
        )
    if not start.startswith(b"PK"):
        raise ConvertError(f"{path}: not a torch.save file (a zip archive is wanted), or a pickle without one")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as e:
        raise ConvertError(f"{path}: truncated or damaged zip archive: {e}") from None
    with archive:
        names = {info.filename: info for info in archive.infolist()}
        roots = [n[: -len("data.pkl")] for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ConvertError(f"{path}: the archive has {len(roots)} entries named data.pkl, want 1")
        root = roots[0]
        if root + "constants.pkl" in names:
            raise ConvertError(
                f"{path}: a TorchScript archive; save model.state_dict() with torch.save and convert that"
            )
        if root + "byteorder" in names and entry(archive, names[root + "byteorder"], 16, path) != b"little":
            raise ConvertError(f"{path}: big-endian data; save it again on a little-endian machine")
        program = entry(archive, names[root + "data.pkl"], MAX_PICKLE, path)

    def storage(persistent_id):
        if not isinstance(persistent_id, tuple) or len(persistent_id) < 5 or persistent_id[0] != "storage":
            raise ConvertError(f"{path}: data.pkl names a storage in an unknown way")
        _, kind, key, _, count = persistent_id[:5]
        name = kind.path.rpartition(".")[2] if isinstance(kind, Global) else ""
        dtype = STORAGES.get(name)
        if dtype is None and name != "UntypedStorage":
            raise ConvertError(f"{path}: data.pkl has a storage of type {kind!r}")
        if not isinstance(key, str) or not is_size(count):
            raise ConvertError(f"{path}: data.pkl claims a storage of {count!r} elements")
        info = names.get(f"{root}data/{key}")
        nbytes = count * (ITEM_SIZE[dtype] if dtype else 1)
        if info is None or info.file_size != nbytes:
            have = "no entry" if info is None else f"{info.file_size} bytes"
            raise ConvertError(f"{path}: data.pkl claims {nbytes} bytes in data/{key}, the archive has {have}")
        return Storage(dtype, info.filename, count)

    def tensor(store, offset, shape, stride, *rest, dtype=None):
        dtype = dtype or (store.dtype if isinstance(store, Storage) else None)
        if dtype is None or not isinstance(shape, tuple) or not isinstance(stride, tuple) or len(shape) != len(stride):
            raise ConvertError(f"{path}: data.pkl rebuilds a tensor from something else than a storage")
        item = ITEM_SIZE[dtype]
        room = store.count if store.dtype else store.count // item
        good = all(is_size(v) for v in (offset, *shape, *stride)) and math.prod(shape) <= room
        if not good or span(offset, shape, stride) > room:
            raise ConvertError(f"{path}: data.pkl claims a tensor {shape!r} outside of its storage of {room} elements")

        def load():
            with zipfile.ZipFile(path) as z:
                base = entry(z, z.getinfo(store.key), room * item, path)
            return gather(base, item, offset, shape, stride)

        return Tensor(dtype, shape, load)

    def tensor_v3(store, offset, shape, stride, grad, hooks, dtype, *rest):
        name = dtype.path.rpartition(".")[2] if isinstance(dtype, Global) else ""
        if name not in DTYPES:
            raise ConvertError(f"{path}: data.pkl has a tensor of type {dtype!r}")
        return tensor(store, offset, shape, stride, dtype=DTYPES[name])

    machine = Machine(
        functions={
            "collections.OrderedDict": lambda *args: dict(),
            "torch._utils._rebuild_tensor_v2": tensor,
            "torch._utils._rebuild_tensor_v3": tensor_v3,
            "torch._utils._rebuild_parameter": lambda data, *rest: data,
            "torch.Size": lambda *args: tuple(args[0]) if args else (),
        },
        classes=[
            *(f"torch.{s}" for s in STORAGES),
            *(f"torch.{d}" for d in DTYPES),
            *("torch.storage.UntypedStorage", "torch.UntypedStorage"),
        ],
        persistent=storage,
        source=f"{path}: data.pkl",
    )
    return machine.run(program)


def entry(archive, info, limit, path):
    """The bytes of one zip entry, at most `limit`; what the header claims is not trusted."""
    try:
        with archive.open(info) as f:
            data = f.read(limit + 1)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, OSError) as e:
        raise ConvertError(f"{path}: {info.filename}: truncated or damaged: {e}") from None
    except Exception as e:  # zlib.error and lzma errors have no common base
        raise ConvertError(f"{path}: {info.filename}: damaged: {e}") from None
    if len(data) > limit:
        raise ConvertError(f"{path}: {info.filename} is larger than {limit} bytes")
    return data
