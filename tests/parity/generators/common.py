# SPDX-License-Identifier: Apache-2.0
"""Shared by the generators: seeded numbers, the case.json defaults, and the writers.

A generator decides nothing about shapes or seeds; both come from sets/<set>.json.
"""

import argparse
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
ST_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32"}

DEFAULTS = {
    "schema_version": 1,
    "name": None,
    "set": None,
    "category": "basic",
    "framework": None,
    "framework_version": None,
    "runtime": None,
    "api": None,
    "kind": "layer",
    "dtype": "float32",
    "input_size": None,
    "hidden_size": None,
    "num_layers": 1,
    "bidirectional": False,
    "direction": "forward",
    "has_bias": True,
    "batch_first": False,
    "proj_size": 0,
    "batch_size": None,
    "seq_len": None,
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "output_activation": "tanh",
    "activation_spec": None,
    "unit_forget_bias": None,
    "go_backwards": False,
    "clip": None,
    "peephole": False,
    "input_forget": False,
    "merge_mode": None,
    "return_sequences": None,
    "return_state": None,
    "stateful": False,
    "calls": 1,
    "dropout": 0.0,
    "gate_order": "ifgo",
    "input_layout": None,
    "output_layout": None,
    "state_layout": None,
    "initial_state": False,
    "has_lengths": False,
    "has_mask": False,
    "mask_value": None,
    "padded_output": None,
    "padding_rule": None,
    "zero_length_state": None,
    "nan_rule": "ieee",
    "params": None,
    "head": None,
    "outputs": ["output", "h_n", "c_n"],
    "files": [],
    "layout_notes": "",
    "seed_document": None,
    "tolerance_suggestion": {"atol": 1e-5, "rtol": 1e-5},
    "how": "",
}

# The reference pages whose examples and argument rules the cases named seed_* and errors.json follow.
SEEDS = {
    "000": "MindSpore, mindspore.nn.LSTMCell (before 1.6)",
    "001": "MindSpore, mindspore.nn.LSTM",
    "002": "PyTorch, torch.nn.LSTMCell",
    "003": "MindSpore, function differences with tf.keras.layers.LSTM",
    "004": "PaddlePaddle, paddle.nn.LSTMCell",
}

SIGNALS = {6: "SIGABRT", 8: "SIGFPE", 11: "SIGSEGV"}
TOLERANCE = {
    "float32": {"atol": 1e-5, "rtol": 1e-5},
    "float16": {"atol": 3e-3, "rtol": 3e-3},
    "bfloat16": {"atol": 2e-2, "rtol": 2e-2},
}


class Raw:
    """A tensor of a dtype numpy lacks (bfloat16): shape and little-endian bytes."""

    def __init__(self, dtype, shape, data):
        self.st_dtype, self.shape, self.data = dtype, list(shape), data


def save_safetensors(path, tensors):
    header, blobs, at = {}, [], 0
    for name, t in tensors.items():
        if isinstance(t, Raw):
            dtype, shape, data = t.st_dtype, t.shape, t.data
        else:
            t = np.asarray(t)
            dtype, shape = ST_DTYPES[str(t.dtype)], list(t.shape)
            data = t.astype(t.dtype.newbyteorder("<")).tobytes()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
        blobs.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def act(fn, alpha=None, beta=None):
    return {"fn": fn, "alpha": alpha, "beta": beta}


def spec(f="sigmoid", g="tanh", h=None, directions=1):
    one = {k: (act(v) if isinstance(v, str) else v) for k, v in (("f", f), ("g", g), ("h", h or g))}
    return [one] * directions


def ref(tensor, index=None, offset=None, shape=None, transpose=False):
    """Where one weight lies: take the tensor; [index] of its first axis; or, of the flattened
    tensor, `shape` values from `offset`; then transpose."""
    return {
        "tensor": tensor,
        "index": index,
        "offset": offset,
        "shape": None if shape is None else list(shape),
        "transpose": transpose,
    }


class Set:
    def __init__(self, name, framework, out):
        table = json.loads((HERE / "sets" / f"{name}.json").read_text())
        self.name, self.seed, self.cases = name, table["seed"], table[framework]
        self.framework, self.out = framework, pathlib.Path(out)

    def rng(self, case):
        return np.random.default_rng([self.seed, zlib.crc32(case.encode())])

    def write(self, name, meta, tensors, native=None):
        """One case folder. `native(folder)` writes the framework's own checkpoints."""
        unknown = set(meta) - set(DEFAULTS)
        if unknown:
            raise KeyError(f"{name}: fields not in DEFAULTS: {sorted(unknown)}")
        folder = self.out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        case = {**DEFAULTS, **meta, "name": name, "set": self.name}
        if case["activation_spec"] is None:
            case["activation_spec"] = spec(directions=2 if case["bidirectional"] else 1)
        if "tolerance_suggestion" not in meta:
            case["tolerance_suggestion"] = TOLERANCE[case["dtype"]]
        save_safetensors(folder / "tensors.safetensors", tensors)
        if native:
            native(folder)
        case["files"] = sorted(p.name for p in folder.iterdir())
        (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")
        print(name, flush=True)


def uniform(rng, shape, scale=1.0):
    return (rng.uniform(-1, 1, shape) * scale).astype(np.float32)


def normal(rng, shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def wscale(hidden):
    """Larger than the usual 1/sqrt(H), so that a swapped gate shows."""
    return 1.5 / np.sqrt(hidden)


def saturating(rng, shape):
    """±50 and ±1e4 among ordinary values."""
    x = normal(rng, shape)
    pick = rng.integers(0, 6, shape)
    for k, v in enumerate((50, -50, 1e4, -1e4)):
        x[pick == k] = v
    return x


def nonfinite(rng, shape, bti=False):
    """Batch rows: 0 has a NaN at step 1, 1 a +Inf, 2 a -Inf, 3 both infinities, 4 is clean."""
    x = normal(rng, shape)
    v = x if bti else x.swapaxes(0, 1)
    v[0, 1, 0], v[1, 1, 0], v[2, 1, 0] = np.nan, np.inf, -np.inf
    v[3, 1, 0], v[3, 1, 1] = np.inf, -np.inf
    return x


def poison_padding(rng, x, lengths, bti):
    """Fill the padding with large values: a reader of padding cannot pass."""
    v = x if bti else x.swapaxes(0, 1)
    for b, n in enumerate(lengths):
        v[b, n:] = uniform(rng, v[b, n:].shape, 3.0)
    return x


# What a framework's message says, in our words: the first that matches.
MESSAGES = [
    ("old MindSpore version", "arguments of the signature before 1.6 are refused"),
    ("required positional argument", "a required argument is missing"),
    ("unexpected keyword|Unrecognized keyword", "unknown argument"),
    (r"takes \d+ positional", "wrong number of arguments"),
    ("must be int and must", "not a positive int"),
    ("must be int|be of type int|tuple of ints|list of int|Cannot convert .* to a shape", "not an int"),
    ("should be 'bool'|must be 'bool'|of 'batch_first'", "not a bool"),
    ("type of 'dropout'", "not a float"),
    ("dropout", "dropout out of range"),
    ("proj_size", "proj_size out of range"),
    ("greater than zero|greater than 0, but now|expected a positive integer|negative dimension", "not positive"),
    ("Expecting activation to be|interpret activation", "unknown activation"),
    ("activation_func_names.size", "wrong number of activations"),
    ("merge mode", "unknown merge_mode"),
    ("direction' argument|direction should be", "unknown direction"),
    ("layout_ == 0", "layout 1 is not supported"),
    ("clip_ >", "clip not positive"),
    ("a `keras.layers.Layer` instance", "not a layer"),
    ("batch size must be static", "stateful needs a fixed batch size"),
    ("If an RNN is stateful", "another batch size than the state's"),
    (
        "expects two hidden states|length of 'hx'|too many values to unpack|LSTM.call.*list index out of range",
        "not two states",
    ),
    ("'hx' must be", "states not a tuple"),
    ("An `initial_state` was passed that is not compatible", "state size mismatch"),
    ("same dtype|should be same as 'x'|should be one of .mindspore", "dtype mismatch"),
    ("Length of all samples|greater than 0, but found", "length not positive"),
    ("sequence_lens must have shape|x and seq_length must be equal", "as many lengths as batch rows are needed"),
    ("value/s in sequence_lens|Invalid seq_lengths", "length out of range"),
    ("must be sorted", "lengths not sorted"),
    ("sequence length to be larger|StridedSlice", "no time step"),
    ("ndim=|1D or 2D|2D or 3D|Expected 2D|equal to rank|axis's size", "wrong rank"),
    ("[Bb]atch size|h_shape.1.", "batch size mismatch"),
    ("holds no memory", "empty tensor"),
    ("list assignment index", "internal: index error while packing weights"),
    ("out of bounds for dimension", "states have too few layers or directions"),
    ("input_size|x_shape|Input W|Input X", "input size mismatch"),
    ("hidden|h_shape.2.|PreState|Initial|initial|state_size", "state size mismatch"),
    ("Broadcast|MatMul|matmul|matrix|Matrix", "size mismatch in a product or sum"),
]


def paraphrase(message):
    for pattern, words in MESSAGES:
        if re.search(pattern, message):
            return words
    return "other: " + message[:60]


def attempt(table, seed, documented, call, f, framework, version):
    """One row of errors.json: what the real framework does with `call`."""
    row = {
        "seed_document": SEEDS.get(seed, seed),
        "documented": documented,
        "framework": framework,
        "framework_version": version,
        "call": call,
    }
    try:
        f()
        row.update(raised=False, exception=None, message_class=None)
    except Exception as e:
        text = " ".join(str(e).split())
        row.update(raised=True, exception=type(e).__name__, message_class=paraphrase(text))
    table.append(row)
    return row


def attempt_process(table, seed, documented, call, code, framework, version, timeout=40):
    """The same for a call that may take the whole process down: it runs in one of its own."""
    row = {
        "seed_document": SEEDS.get(seed, seed),
        "documented": documented,
        "framework": framework,
        "framework_version": version,
        "call": call,
        "raised": True,
        "exception": "process crash",
    }
    try:
        p = subprocess.run([sys.executable, "-c", code], timeout=timeout, capture_output=True, text=True)
        if p.returncode == 0:
            row.update(raised=False, exception=None, message_class=None)
        elif "Traceback" in p.stderr and "FatalError" not in p.stderr and "Fatal glibc" not in p.stderr:
            last = [l for l in p.stderr.splitlines() if re.match(r"[A-Za-z]+Error", l)][-1]
            row.update(exception=last.split(":")[0], message_class=paraphrase(last))
        else:
            signal = re.search(r"SIG[A-Z]+", p.stderr)
            row.update(
                message_class=SIGNALS.get(-p.returncode)
                or (signal.group() if signal else f"exit status {p.returncode}")
            )
    except subprocess.TimeoutExpired:
        row.update(message_class="heap corrupted, process hangs")
    table.append(row)


def main(framework, cases, errors):
    a = argparse.ArgumentParser()
    a.add_argument("--set", default="open", help="sets/<name>.json")
    a.add_argument("--out", required=False, default=str(ROOT / "cases"), help="folder for the cases")
    a.add_argument("--only", help="one case")
    a.add_argument("--errors", help="write this framework's rows of errors.json here, and no case")
    a = a.parse_args()
    if a.errors:
        pathlib.Path(a.errors).write_text(json.dumps(errors(), indent=1) + "\n")
        return
    s = Set(a.set, framework, a.out)
    missing = set(s.cases) - set(cases)
    if missing:
        sys.exit(f"no such case: {sorted(missing)}")
    for name, shape in s.cases.items():
        if a.only in (None, name):
            cases[name](s, name, **shape)
