# SPDX-License-Identifier: Apache-2.0
"""make.py FOLDER HIDDEN SAFETENSORS STRATEGY: a Triton repository with the LSTM of that file, as ONNX in the Python
backend, and that strategy of sequence batching.

Runs in the virtual environment of requirements/triton.txt. Prints the path of tritonserver.
"""
import json
import pathlib
import shutil
import sys

import numpy
import onnx
import pytriton
from onnx import TensorProto, helper, numpy_helper

folder, hidden = pathlib.Path(sys.argv[1]), int(sys.argv[2])
HERE = pathlib.Path(__file__).parent
# "direct" gives each sequence a row of the batch. "oldest" batches what is there, but at 64 sequences this server dies now
# and then as they end.
STRATEGIES = {"oldest": "oldest { max_candidate_sequences: 64 }", "direct": "direct { }"}


def read_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    return {name: numpy.frombuffer(data[8 + size:][slice(*one["data_offsets"])], numpy.float32).reshape(one["shape"])
            for name, one in json.loads(data[8:8 + size]).items()}


def onnx_order(rows):
    """Gates i f g o, as PyTorch has them, in ONNX's order i o f c."""
    i, f, g, o = numpy.split(rows, 4)
    return numpy.concatenate([i, o, f, g])[None]


def model(tensors):
    weights = {"W": onnx_order(tensors["weight_ih_l0"]), "R": onnx_order(tensors["weight_hh_l0"]),
               "B": numpy.concatenate([onnx_order(tensors[name]) for name in ("bias_ih_l0", "bias_hh_l0")], axis=1)}
    shapes = {"X": [1, "N", hidden], "h_0": [1, "N", hidden], "c_0": [1, "N", hidden]}
    node = helper.make_node("LSTM", ["X", "W", "R", "B", "", "h_0", "c_0"], ["", "h_n", "c_n"], hidden_size=hidden)
    graph = helper.make_graph(
        [node], "lstm", [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes["h_0"]) for name in ("h_n", "c_n")],
        [numpy_helper.from_array(value, name) for name, value in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


version = folder / "repository" / "lstm" / "1"
version.mkdir(parents=True)
onnx.save(model(read_safetensors(sys.argv[3])), version / "lstm.onnx")
shutil.copy(HERE / "model.py", version)
config = (HERE / "config.pbtxt").read_text(encoding="utf-8")
config = config.replace("HIDDEN", str(hidden)).replace("STRATEGY", STRATEGIES[sys.argv[4]])
(version.parent / "config.pbtxt").write_text(config, encoding="utf-8")

# The backend starts one stub program, which is for one version of Python; the package has them beside it.
parts = pathlib.Path(pytriton.__file__).parent / "tritonserver"
shutil.copytree(parts / "backends", folder / "backends")
stub = parts / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}" / "triton_python_backend_stub"
shutil.copy(stub, folder / "backends" / "python")
print(parts / "bin" / "tritonserver")
