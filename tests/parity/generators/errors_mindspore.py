# SPDX-License-Identifier: Apache-2.0
"""MindSpore's rows of errors.json: what it does with calls that its pages forbid."""

import os

os.environ.setdefault("GLOG_v", "4")

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

import common as C

VERSION = ms.__version__


def errors():
    rows = []
    o = lambda *z: Tensor(np.ones(z, np.float32))

    def a(seed, documented, call, f):
        C.attempt(rows, seed, documented, call, f, "mindspore", VERSION)

    a(
        "000",
        "the page's own example",
        "LSTMCell(10, 12, has_bias=True, batch_first=True, bidirectional=False)",
        lambda: nn.LSTMCell(10, 12, has_bias=True, batch_first=True, bidirectional=False),
    )
    a(
        "000",
        "the page's own call",
        "LSTMCell(10, 12)(x, h, c, w)",
        lambda: nn.LSTMCell(10, 12)(o(3, 5, 10), o(1, 3, 12), o(1, 3, 12), o(1152, 1, 1)),
    )
    a("000", "TypeError: input_size not an int", "LSTMCell(10.5, 12)", lambda: nn.LSTMCell(10.5, 12))
    a("000", "TypeError: hidden_size not an int", "LSTMCell(10, '12')", lambda: nn.LSTMCell(10, "12"))
    a("000", "TypeError: has_bias not a bool", "LSTMCell(10, 12, has_bias=1)", lambda: nn.LSTMCell(10, 12, has_bias=1))
    a(
        "000",
        "TypeError: batch_first not a bool",
        "LSTMCell(10, 12, batch_first=1)  # argument of the old signature",
        lambda: nn.LSTMCell(10, 12, batch_first=1),
    )
    a(
        "000",
        "TypeError: bidirectional not a bool",
        "LSTMCell(10, 12, bidirectional=1)  # argument of the old signature",
        lambda: nn.LSTMCell(10, 12, bidirectional=1),
    )
    a(
        "000",
        "TypeError: dropout neither a float nor an int",
        "LSTMCell(10, 12, dropout='0')  # argument of the old signature",
        lambda: nn.LSTMCell(10, 12, dropout="0"),
    )
    a(
        "000",
        "ValueError: dropout not in [0.0, 1.0]",
        "LSTMCell(10, 12, dropout=1.5)  # argument of the old signature",
        lambda: nn.LSTMCell(10, 12, dropout=1.5),
    )
    a(
        "000",
        "TypeError: input_size not an int",
        "ops.LSTM(10.5, 12, 1, True, False, 0.0)",
        lambda: ops.LSTM(10.5, 12, 1, True, False, 0.0),
    )
    a(
        "000",
        "TypeError: num_layers not an int",
        "ops.LSTM(10, 12, 1.0, True, False, 0.0)",
        lambda: ops.LSTM(10, 12, 1.0, True, False, 0.0),
    )
    a(
        "000",
        "TypeError: bidirectional not a bool",
        "ops.LSTM(10, 12, 1, True, 0, 0.0)",
        lambda: ops.LSTM(10, 12, 1, True, 0, 0.0),
    )
    a(
        "000",
        "TypeError: dropout neither a float nor an int",
        "ops.LSTM(10, 12, 1, True, False, 0)  # an int",
        lambda: ops.LSTM(10, 12, 1, True, False, 0),
    )
    a(
        "000",
        "ValueError: dropout not in [0.0, 1.0]",
        "ops.LSTM(10, 12, 1, True, False, 1.5)",
        lambda: ops.LSTM(10, 12, 1, True, False, 1.5),
    )
    a(
        "000",
        "w of weight_size",
        "ops.LSTM(10, 12, 1, True, False, 0.0) on CPU with w of 1152 (1104 are read)",
        lambda: ops.LSTM(10, 12, 1, True, False, 0.0)(o(5, 3, 10), o(1, 3, 12), o(1, 3, 12), o(1152, 1, 1)),
    )
    x, st = o(3, 5, 10), (o(2, 3, 16), o(2, 3, 16))
    a("001", "TypeError: input_size not an int", "LSTM(10.5, 16)", lambda: nn.LSTM(10.5, 16))
    a("001", "TypeError: hidden_size not an int", "LSTM(10, 16.0)", lambda: nn.LSTM(10, 16.0))
    a("001", "TypeError: num_layers not an int", "LSTM(10, 16, 2.0)", lambda: nn.LSTM(10, 16, 2.0))
    a("001", "an int greater than 0", "LSTM(0, 16)", lambda: nn.LSTM(0, 16))
    a("001", "an int greater than 0", "LSTM(10, -1)", lambda: nn.LSTM(10, -1))
    a("001", "an int greater than 0", "LSTM(10, 16, 0)", lambda: nn.LSTM(10, 16, 0))
    a("001", "TypeError: num_layers not an int", "LSTM(10, 16, True)  # a bool", lambda: nn.LSTM(10, 16, True))
    a("001", "TypeError: has_bias not a bool", "LSTM(10, 16, has_bias=1)", lambda: nn.LSTM(10, 16, has_bias=1))
    a(
        "001",
        "TypeError: batch_first not a bool",
        "LSTM(10, 16, batch_first='yes')",
        lambda: nn.LSTM(10, 16, batch_first="yes"),
    )
    a(
        "001",
        "TypeError: bidirectional not a bool",
        "LSTM(10, 16, bidirectional=0)",
        lambda: nn.LSTM(10, 16, bidirectional=0),
    )
    a(
        "001",
        "TypeError: dropout neither a float nor an int",
        "LSTM(10, 16, 2, dropout='0.5')",
        lambda: nn.LSTM(10, 16, 2, dropout="0.5"),
    )
    a("001", "dropout may be an int", "LSTM(10, 16, 2, dropout=0)", lambda: nn.LSTM(10, 16, 2, dropout=0))
    a(
        "001",
        "ValueError: dropout not in [0.0, 1.0]",
        "LSTM(10, 16, 2, dropout=-0.1)",
        lambda: nn.LSTM(10, 16, 2, dropout=-0.1),
    )
    a(
        "001",
        "ValueError: dropout not in [0.0, 1.0]",
        "LSTM(10, 16, 2, dropout=1.5)",
        lambda: nn.LSTM(10, 16, 2, dropout=1.5),
    )
    a(
        "001",
        "dropout 1.0 is in the page's range",
        "LSTM(10, 16, 2, dropout=1.0)",
        lambda: nn.LSTM(10, 16, 2, dropout=1.0),
    )
    net = nn.LSTM(10, 16, 2, batch_first=True)
    a("001", "hx a tuple of two tensors", "LSTM(10, 16, 2, batch_first=True)(x, [h0, c0])", lambda: net(x, list(st)))
    a("001", "hx a tuple of two tensors", "... (x, (h0,))", lambda: net(x, st[:1]))
    a(
        "001",
        "hx of the dtype of input",
        "... (x, float16 states)",
        lambda: net(x, tuple(v.astype(ms.float16) for v in st)),
    )
    a(
        "001",
        "hx of shape (D*layers, batch, H)",
        "... (x, states of (1, 3, 16))",
        lambda: net(x, (o(1, 3, 16), o(1, 3, 16))),
    )
    a(
        "001",
        "hx of shape (D*layers, batch, H)",
        "... (x, states of (2, 4, 16))",
        lambda: net(x, (o(2, 4, 16), o(2, 4, 16))),
    )
    a(
        "001",
        "hx of shape (D*layers, batch, H)",
        "... (x, states of (2, 3, 15))",
        lambda: net(x, (o(2, 3, 15), o(2, 3, 15))),
    )
    a("001", "input of input_size", "... (x of (3, 5, 9))", lambda: net(o(3, 5, 9), st))
    a("001", "input 3-D", "... (x of (3, 10))", lambda: net(o(3, 10), st))
    a(
        "003",
        "the page's own example",
        "LSTM(10, 16, 1, bidirectional=True)(x of (5, 3, 10), h0 and c0 of (1, 3, 16))",
        lambda: nn.LSTM(10, 16, 1, bidirectional=True)(o(5, 3, 10), (o(1, 3, 16), o(1, 3, 16))),
    )
    a(
        "003",
        "seq_length int32 or int64",
        "... seq_length of float32",
        lambda: nn.LSTM(10, 16)(o(5, 3, 10), None, Tensor(np.array([5, 3, 1], np.float32))),
    )
    a(
        "003",
        "seq_length of shape (batch,)",
        "... seq_length of 2 for a batch of 3",
        lambda: nn.LSTM(10, 16)(o(5, 3, 10), None, Tensor(np.array([5, 3], np.int32))),
    )
    a(
        "003",
        "seq_length <= T",
        "... seq_length [5, 9, 1] for T = 5",
        lambda: nn.LSTM(10, 16)(o(5, 3, 10), None, Tensor(np.array([5, 9, 1], np.int32))),
    )
    a(
        "003",
        "seq_length <= T",
        "... bidirectional, seq_length [5, 9, 1] for T = 5",
        lambda: nn.LSTM(10, 16, bidirectional=True)(o(5, 3, 10), None, Tensor(np.array([5, 9, 1], np.int32))),
    )
    return rows
