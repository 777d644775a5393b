# SPDX-License-Identifier: Apache-2.0
"""ONNX's rows of errors.json: what ONNX Runtime does with nodes and inputs outside the operator's definition. Also how
a model is run."""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

import common as C

RUNTIME = f"onnxruntime {ort.__version__}"
OPTIONS = ort.SessionOptions()
OPTIONS.intra_op_num_threads = OPTIONS.inter_op_num_threads = 1
OPTIONS.log_severity_level = 4
INPUTS = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
ELEMENT = {
    np.dtype("float32"): TensorProto.FLOAT,
    np.dtype("float16"): TensorProto.FLOAT16,
    np.dtype("int32"): TensorProto.INT32,
}


def run(model, feed):
    return ort.InferenceSession(model.SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"]).run(None, feed)


def bare(I=3, H=4, D=1, x_shape=(5, 3, 3), lens=None, h=None, w=None, **attrs):
    v = {"X": np.zeros(x_shape, "f"), "W": np.zeros(w or (D, 4 * H, I), "f"), "R": np.zeros((D, 4 * H, H), "f")}
    if lens is not None:
        v["sequence_lens"] = np.array(lens, np.int32)
    if h is not None:
        v["initial_h"] = np.zeros(h, "f")
    used = [n if n in v else "" for n in INPUTS]
    g = helper.make_graph(
        [helper.make_node("LSTM", used, ["Y"], hidden_size=H, **attrs)],
        "g",
        [helper.make_tensor_value_info(n, ELEMENT[a.dtype], None if n == "X" else a.shape) for n, a in v.items()],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
    )
    return run(helper.make_model(g, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), v)


def errors():
    rows = []
    x = "not in the pages"

    def a(documented, call, f):
        C.attempt(rows, x, documented, call, f, RUNTIME.split()[0], ort.__version__)

    a("layout 0 or 1", "LSTM(layout=1)", lambda: bare(layout=1))
    a("clip", "LSTM(clip=0.0)", lambda: bare(clip=0.0))
    a("clip", "LSTM(clip=-1.0)", lambda: bare(clip=-1.0))
    a(
        "three functions a direction",
        "LSTM(activations=['Sigmoid', 'Tanh'])",
        lambda: bare(activations=["Sigmoid", "Tanh"]),
    )
    a(
        "functions by name",
        "LSTM(activations=['Sigmoid', 'HardTanh', 'Tanh'])",
        lambda: bare(activations=["Sigmoid", "HardTanh", "Tanh"]),
    )
    a(
        "names in any case",
        "LSTM(activations=['sigmoid', 'TANH', 'tanh'])",
        lambda: bare(activations=["sigmoid", "TANH", "tanh"]),
    )
    a("direction", "LSTM(direction='sideways')", lambda: bare(direction="sideways"))
    a("0 <= sequence_lens <= T", "sequence_lens [2, -1, 2]", lambda: bare(lens=[2, -1, 2]))
    a("0 <= sequence_lens <= T", "sequence_lens [2, 6, 2] for T = 5", lambda: bare(lens=[2, 6, 2]))
    a("sequence_lens of shape [batch]", "sequence_lens of 2 for a batch of 3", lambda: bare(lens=[2, 2]))
    a("X of [T, B, input_size]", "X (5, 3, 7) for input_size 3", lambda: bare(x_shape=(5, 3, 7)))
    a("initial_h of [D, B, H]", "initial_h (1, 2, 4) for a batch of 3", lambda: bare(h=(1, 2, 4)))
    a("W of [D, 4H, I]", "W (1, 12, 3) for H = 4", lambda: bare(w=(1, 12, 3)))
    a("an empty sequence", "X (0, 3, 3)", lambda: bare(x_shape=(0, 3, 3)))
    code = f"import sys; sys.path.insert(0, {str(C.HERE)!r})\nimport errors_onnx as g\ng.bare(x_shape=(5, 0, 3))"
    C.attempt_process(rows, x, "an empty batch", "X (5, 0, 3)", code, RUNTIME.split()[0], ort.__version__)
    return rows
