# SPDX-License-Identifier: Apache-2.0
"""Models with LSTM nodes that others wrote: exported by torch, and the node tests of the onnx package."""

import contextlib
import io
import logging
import pathlib
import tempfile
import warnings

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

import common as C
from errors_onnx import INPUTS, RUNTIME, run

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
VERSION = onnx.__version__
NOTES = (
    "W (D, 4H, in), R (D, 4H, H), B (D, 8H) = Wb then Rb, P (D, 3H) in order i, o, f; gates in order i, o, f, c "
    "(here iofg). Y (T, D, B, H), Y_h and Y_c (D, B, H) unless layout=1."
)


def lstm_params(names, directions, hidden, bias, peep):
    row = []
    for d in range(directions):
        p = {"w_ih": C.ref(names["W"], index=d), "w_hh": C.ref(names["R"], index=d)}
        if bias:
            p["b_ih"] = C.ref(names["B"], index=d, offset=0, shape=(4 * hidden,))
            p["b_hh"] = C.ref(names["B"], index=d, offset=4 * hidden, shape=(4 * hidden,))
        if peep:
            p["peep"] = C.ref(names["P"], index=d)
        row.append(p)
    return row


class Stack(torch.nn.Module):
    def __init__(self, i, h):
        super().__init__()
        self.lstm = torch.nn.LSTM(i, h, 2, bidirectional=True)

    def forward(self, x, h0, c0):
        y, (h, c) = self.lstm(x, (h0, c0))
        return y, h, c


class Tagger(torch.nn.Module):
    def __init__(self, i, h, o):
        super().__init__()
        self.lstm = torch.nn.LSTM(i, h, batch_first=True)
        self.fc = torch.nn.Linear(h, o)

    def forward(self, x):
        y, _ = self.lstm(x)
        return self.fc(y[:, -1])


def exported(kind, dynamo):
    def make(s, name, I, H, B, T, O=0):
        rng = s.rng(name)
        m = (Stack(I, H) if kind == "stack" else Tagger(I, H, O)).eval()
        with torch.no_grad():
            for p in m.parameters():
                p.copy_(torch.from_numpy(C.uniform(rng, tuple(p.shape), C.wscale(H))))
        if kind == "stack":
            args = {
                "input": C.normal(rng, (T, B, I)),
                "h0": C.normal(rng, (4, B, H), 0.7),
                "c0": C.normal(rng, (4, B, H), 0.7),
            }
            outputs = ["output", "h_n", "c_n"]
        else:
            args, outputs = {"input": C.normal(rng, (B, T, I))}, ["output"]
        with tempfile.TemporaryDirectory() as d, contextlib.redirect_stdout(io.StringIO()):
            at = pathlib.Path(d) / "m.onnx"
            more = dict(external_data=False) if dynamo else dict(opset_version=17)
            torch.onnx.export(
                m,
                tuple(map(torch.from_numpy, args.values())),
                at,
                dynamo=dynamo,
                input_names=list(args),
                output_names=outputs,
                **more,
            )
            model = onnx.load(at)
        for n in model.graph.node:
            del n.metadata_props[:]
        for v in model.graph.value_info:
            del v.metadata_props[:]
        got = run(model, args)
        with torch.no_grad():
            want = m(*map(torch.from_numpy, args.values()))
        for a, b in zip(got, want if kind == "stack" else [want]):
            assert np.allclose(a, b.numpy(), atol=1e-5)
        init = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        nodes = [n for n in model.graph.node if n.op_type == "LSTM"]
        D = 2 if kind == "stack" else 1
        t, params = {}, []
        for n in nodes:
            names = dict(zip("WRB", n.input[1:4]))
            t.update({v: init[v] for v in names.values()})
            params.append(lstm_params(names, D, H, True, False))
        head = None
        if kind != "stack":
            t.update({v: init[v] for v in ("fc.weight", "fc.bias")})
            head = {"type": "linear", "take": "last", "weight": C.ref("fc.weight"), "bias": C.ref("fc.bias")}
        t.update(args)
        t.update(zip(outputs, got))
        ops = ", ".join(dict.fromkeys(n.op_type for n in model.graph.node))
        s.write(
            name,
            dict(
                framework="onnx",
                framework_version=VERSION,
                runtime=RUNTIME,
                api=f"torch.onnx.export(dynamo={dynamo}) of torch {torch.__version__}",
                input_size=I,
                hidden_size=H,
                num_layers=len(nodes),
                bidirectional=D == 2,
                direction="bidirectional" if D == 2 else "forward",
                batch_first=kind != "stack",
                batch_size=B,
                seq_len=T,
                gate_order="iofg",
                initial_state=kind == "stack",
                input_layout="TBI" if kind == "stack" else "BTI",
                output_layout="TBH" if kind == "stack" else "BH",
                state_layout="LBH",
                params=params,
                head=head,
                outputs=outputs,
                layout_notes=NOTES
                + f" Opset {model.opset_import[0].version}; the graph has {ops}. Its inputs and outputs are "
                "in torch's layout.",
                how="exported by torch, run by onnxruntime, equal to torch to 1e-5"
                + ("" if kind == "stack" else "; nn.LSTM (batch_first) and nn.Linear on the last step"),
            ),
            t,
            lambda folder: onnx.save(model, folder / "model.onnx"),
        )

    return make


def backend(s, name, **_):
    """One of the onnx package's own node tests."""
    from onnx.backend.test.case.node import collect_testcases

    (case,) = [c for c in collect_testcases("LSTM") if c.name == name.removeprefix("onnx_backend_")]
    model, (feed, want) = case.model, case.data_sets[0]
    n = model.graph.node[0]
    at = {a.name: helper.get_attribute_value(a) for a in n.attribute}
    v = dict(zip([i for i in n.input if i], feed))
    v = {
        INPUTS[list(n.input).index(k)]: np.asarray(a, a.dtype if a.dtype == np.int32 else np.float32)
        for k, a in v.items()
    }
    direction, layout, H = at.get("direction", b"forward").decode(), at.get("layout", 0), at["hidden_size"]
    D = v["W"].shape[0]
    ours = [o for o, made in zip(("output", "h_n", "c_n"), n.output) if made]
    x = v["X"].swapaxes(0, 1) if layout else v["X"]
    rename = {"X": "input", "sequence_lens": "lengths", "initial_h": "h0", "initial_c": "c0"}
    t = {rename.get(k, k): a for k, a in v.items()}
    t.update({o: np.asarray(a, np.float32) for o, a in zip(ours, want)})
    if not layout:
        for a, b in zip(run(model, dict(zip([i.name for i in model.graph.input], feed))), want):
            assert np.allclose(a, b, atol=1e-5)
    s.write(
        name,
        dict(
            framework="onnx",
            framework_version=VERSION,
            runtime=f"onnx {VERSION} backend test data",
            api="ONNX LSTM",
            category="foreign_suite",
            input_size=v["X"].shape[2],
            hidden_size=H,
            bidirectional=D == 2,
            direction=direction,
            has_bias="B" in v,
            batch_first=bool(layout),
            batch_size=x.shape[1],
            seq_len=x.shape[0],
            peephole="P" in v,
            gate_order="iofg",
            initial_state="initial_h" in v,
            has_lengths="sequence_lens" in v,
            padded_output="zeros" if "sequence_lens" in v else None,
            padding_rule="select" if "sequence_lens" in v else None,
            input_layout="BTI" if layout else "TBI",
            output_layout="BTDH" if layout else "TDBH",
            state_layout="BLH" if layout else "LBH",
            outputs=ours,
            layout_notes=NOTES,
            params=[lstm_params({k: k for k in INPUTS}, D, H, "B" in v, "P" in v)],
            how=f"{case.name} of the onnx package's backend suite, expected values as shipped; "
            "every weight is a graph input" + ("" if layout else "; onnxruntime agrees to 1e-5"),
        ),
        t,
        lambda folder: onnx.save(model, folder / "model.onnx"),
    )
