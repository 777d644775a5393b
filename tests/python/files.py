# SPDX-License-Identifier: Apache-2.0
"""What the tests share: the recorded cases, files to break, and the converter as a user runs it."""

import contextlib
import io
import json
import pathlib
import zipfile

import check  # tests/parity/check.py
from lstmd_convert.__main__ import main

CASES = pathlib.Path(__file__).resolve().parent.parent / "parity" / "cases"
CHECKPOINTS = (
    "model.pt",
    "model.safetensors",
    "model.pdparams",
    "model.ckpt",
    "model.keras",
    "model.h5",
    "model.weights.h5",
)


def cases():
    """(case, folder, checkpoint file) of every checkpoint that is recorded, ONNX aside."""
    for folder in sorted(p.parent for p in CASES.glob("*/case.json")):
        case = json.loads((folder / "case.json").read_text())
        for name in case["files"]:
            if name in CHECKPOINTS:
                yield case, folder, folder / name


def options(case, path):
    """What the file does not say, as a user would have to say it."""
    out = []
    if path.name == "model.weights.h5":
        out += ["--activation", case["activation"], "--recurrent-activation", case["recurrent_activation"]]
        out += ["--keras-version", "3" if case["framework"] == "keras" else "2"]
        if case["bidirectional"]:
            out += ["--merge-mode", case["merge_mode"]]
        if case["go_backwards"]:
            out += ["--direction", "go_backwards"]
    if case["api"] == "paddle.nn.RNN(LSTMCell)" and case["direction"] == "reverse":
        out += ["--direction", "reverse"]
    if case["api"].startswith("mindspore.nn.LSTM (before"):
        out += ["--input-size", str(case["input_size"]), "--hidden-size", str(case["hidden_size"])]
        out += ["--num-layers", str(case["num_layers"])] + (["--bidirectional"] if case["bidirectional"] else [])
    return out


def run(*arguments):
    """(exit status, stdout, stderr) of the command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as e:
            status = e.code
    return status, out.getvalue(), err.getvalue()


def read(path):
    """(tensors, spec, layout) of a model file, by a reader of the tests' own."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header["__metadata__"]
    return check.load_safetensors(path)[0], json.loads(metadata["lstm"]), metadata["layout"]


def torch_zip(path, pickle, entries=(), root="model/"):
    """A torch.save file around a pickle."""
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(root + "data.pkl", pickle)
        for name, data in entries:
            z.writestr(root + name, data)
    return path
