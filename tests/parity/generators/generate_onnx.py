# SPDX-License-Identifier: Apache-2.0
"""ONNX cases, results by onnxruntime. Run in a virtualenv with onnx, onnxruntime, torch, onnxscript and numpy.

A set may also name LSTM node tests that ship inside the onnx package; their results are as that package gives them.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import common as C
from errors_onnx import ELEMENT, INPUTS, RUNTIME, errors, run
from onnx_exported import NOTES, VERSION, backend, exported, lstm_params

REFERENCE = f"onnx.reference {onnx.__version__}"
# name -> (our name, default alpha, default beta as onnxruntime has them)
FN = {
    "Sigmoid": ("sigmoid", None, None),
    "Tanh": ("tanh", None, None),
    "Relu": ("relu", None, None),
    "Softsign": ("softsign", None, None),
    "Softplus": ("softplus", None, None),
    "Elu": ("elu", 1.0, None),
    "LeakyRelu": ("leaky_relu", 0.01, None),
    "ThresholdedRelu": ("thresholded_relu", 0.0, None),
    "HardSigmoid": ("hard_sigmoid", 0.2, 0.5),
    "Affine": ("affine", 0.0, 0.0),
    "ScaledTanh": ("scaled_tanh", 0.0, 0.0),
}


def resolve(names, alphas, betas):
    """activation_alpha and activation_beta are used up in order by the functions that take one."""
    alphas, betas, out = list(alphas or []), list(betas or []), []
    for n in names:
        fn, a, b = FN[n]
        a = None if a is None else (alphas.pop(0) if alphas else a)
        b = None if b is None else (betas.pop(0) if betas else b)
        out.append(C.act(fn, a, b))
    return [dict(zip("fgh", out[k : k + 3])) for k in range(0, len(out), 3)]


def node(
    direction="forward",
    bias=True,
    peep=False,
    initial=False,
    clip=None,
    input_forget=False,
    layout=0,
    acts=None,
    alphas=None,
    betas=None,
    outputs=("Y", "Y_h", "Y_c"),
    dtype="float32",
    data=C.normal,
    nan_padding=False,
    scale=1.0,
    category="basic",
    nan_rule="ieee",
    note="",
):
    def make(s, name, I, H, B, T, lens=None):
        rng = s.rng(name)
        D = 2 if direction == "bidirectional" else 1
        k = scale * C.wscale(H)
        v = {"X": data(rng, (T, B, I)), "W": C.uniform(rng, (D, 4 * H, I), k), "R": C.uniform(rng, (D, 4 * H, H), k)}
        if bias:
            v["B"] = C.uniform(rng, (D, 8 * H), k)
        if lens is not None:
            C.poison_padding(rng, v["X"], lens, False)
            if nan_padding:
                v["X"][lens[1] :, 1] = np.nan
            v["sequence_lens"] = np.array(lens, np.int32)
        if initial:
            v["initial_h"], v["initial_c"] = C.normal(rng, (D, B, H), 0.7), C.normal(rng, (D, B, H), 0.7)
        if peep:
            v["P"] = C.uniform(rng, (D, 3 * H), 1.0)
        if layout:
            for n in ("X", "initial_h", "initial_c"):
                if n in v:
                    v[n] = np.ascontiguousarray(v[n].swapaxes(0, 1))
        v = {n: a.astype(dtype) if a.dtype == np.float32 else a for n, a in v.items()}

        names = acts or ["Sigmoid", "Tanh", "Tanh"] * D
        attrs = {"hidden_size": H, "direction": direction}
        if acts:
            attrs["activations"] = acts
        for key, value in (("activation_alpha", alphas), ("activation_beta", betas), ("clip", clip)):
            if value is not None:
                attrs[key] = value
        if input_forget:
            attrs["input_forget"] = 1
        if layout:
            attrs["layout"] = 1
        used = [n if n in v else "" for n in INPUTS]
        while not used[-1]:
            used.pop()
        shapes = {"X": ["batch", "seq", I] if layout else ["seq", "batch", I], "sequence_lens": ["batch"]}
        shapes["initial_h"] = shapes["initial_c"] = ["batch", D, H] if layout else [D, "batch", H]
        made = {"Y": ["batch", "seq", D, H] if layout else ["seq", D, "batch", H]}
        made["Y_h"] = made["Y_c"] = shapes["initial_h"]
        element = ELEMENT[v["X"].dtype]
        graph = helper.make_graph(
            [
                helper.make_node(
                    "LSTM", used, [o if o in outputs else "" for o in ("Y", "Y_h", "Y_c")], name="lstm", **attrs
                )
            ],
            "lstm",
            [helper.make_tensor_value_info(n, ELEMENT[v[n].dtype], shapes[n]) for n in v if n in shapes],
            [helper.make_tensor_value_info(o, element, made[o]) for o in outputs],
            [numpy_helper.from_array(v[n], n) for n in v if n not in shapes],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8, producer_name="lstmd-parity"
        )
        onnx.checker.check_model(model)
        feed = {n: v[n] for n in v if n in shapes}
        got = ReferenceEvaluator(model).run(None, feed) if layout else run(model, feed)
        ours = {"Y": "output", "Y_h": "h_n", "Y_c": "c_n"}
        t = {n: a for n, a in v.items() if n not in shapes}
        rename = {"X": "input", "sequence_lens": "lengths", "initial_h": "h0", "initial_c": "c0"}
        t.update({rename[n]: v[n] for n in v if n in shapes})
        t.update({ours[o]: a for o, a in zip(outputs, got)})
        resolved = resolve(names, alphas, betas)
        s.write(
            name,
            dict(
                framework="onnx",
                framework_version=VERSION,
                runtime=REFERENCE if layout else RUNTIME,
                api="ONNX LSTM-14",
                category=category,
                dtype=dtype,
                input_size=I,
                hidden_size=H,
                bidirectional=D == 2,
                direction=direction,
                has_bias=bias,
                batch_first=bool(layout),
                batch_size=B,
                seq_len=T,
                activation=resolved[0]["g"]["fn"],
                recurrent_activation=resolved[0]["f"]["fn"],
                output_activation=resolved[0]["h"]["fn"],
                activation_spec=resolved,
                clip=clip,
                peephole=peep,
                input_forget=input_forget,
                gate_order="iofg",
                initial_state=initial,
                has_lengths=lens is not None,
                padded_output="zeros" if lens is not None else None,
                padding_rule="select" if lens is not None else None,
                zero_length_state="zeros" if lens is not None and 0 in lens else None,
                nan_rule=nan_rule,
                input_layout="BTI" if layout else "TBI",
                output_layout="BTDH" if layout else "TDBH",
                state_layout="BLH" if layout else "LBH",
                params=[lstm_params({n: n for n in INPUTS}, D, H, bias, peep)],
                outputs=[ours[o] for o in outputs],
                layout_notes=NOTES,
                how=(
                    "by the onnx reference evaluator, as onnxruntime refuses layout=1"
                    if layout
                    else "by onnxruntime on CPU"
                )
                + note,
            ),
            t,
            lambda folder: onnx.save(model, folder / "model.onnx"),
        )

    return make


BACKEND = [
    "test_lstm_defaults",
    "test_lstm_with_initial_bias",
    "test_lstm_with_peepholes",
    "test_lstm_batchwise",
    "test_lstm_reverse",
    "test_lstm_bidirectional",
]
ROWS = "; batch rows: 0 NaN at t=1, 1 +Inf, 2 -Inf, 3 both, 4 clean"
CASES = {
    "onnx_forward": node(),
    "onnx_nobias": node(bias=False),
    "onnx_reverse": node(direction="reverse"),
    "onnx_bidirectional_initial": node(direction="bidirectional", initial=True),
    "onnx_peephole": node(peep=True, initial=True),
    "onnx_peephole_bidirectional": node(peep=True, direction="bidirectional"),
    "onnx_clip": node(
        clip=0.35,
        initial=True,
        scale=2.0,
        note="; clip bounds what goes into f, g and the gates' functions (bias and peephole included), not c before h",
    ),
    "onnx_clip_peephole_bidirectional": node(clip=0.5, peep=True, direction="bidirectional", initial=True, scale=2.0),
    "onnx_input_forget": node(input_forget=True, initial=True, note="; f = 1 - i"),
    "onnx_input_forget_peephole": node(input_forget=True, peep=True, note="; f = 1 - i"),
    "onnx_sequence_lens": node(initial=True),
    "onnx_sequence_lens_reverse": node(direction="reverse", outputs=("Y", "Y_c")),
    "onnx_sequence_lens_bidirectional_zero": node(
        direction="bidirectional",
        initial=True,
        note="; a row of length 0 ends with Y_h and Y_c zero, whatever initial_h and initial_c are",
    ),
    "onnx_yh_only": node(outputs=("Y_h",), initial=True),
    "onnx_layout1_bidirectional": node(layout=1, direction="bidirectional", initial=True),
    "onnx_act_hardsigmoid_softsign_relu": node(acts=["HardSigmoid", "Softsign", "Relu"], alphas=[0.3], betas=[0.4]),
    "onnx_act_sigmoid_affine_scaledtanh": node(
        acts=["Sigmoid", "Affine", "ScaledTanh"], alphas=[0.7, 1.3], betas=[0.1, 0.6]
    ),
    "onnx_act_sigmoid_leakyrelu_softplus": node(acts=["Sigmoid", "LeakyRelu", "Softplus"], alphas=[0.15]),
    "onnx_act_hardsigmoid_elu_thresholdedrelu": node(
        acts=["HardSigmoid", "Elu", "ThresholdedRelu"], alphas=[0.25, 0.6, 0.1], betas=[0.45]
    ),
    "onnx_act_defaults": node(
        acts=["HardSigmoid", "LeakyRelu", "Elu"],
        note="; alpha and beta absent: HardSigmoid 0.2, 0.5; LeakyRelu 0.01; Elu 1",
    ),
    "onnx_act_thresholdedrelu_default": node(
        acts=["Sigmoid", "ThresholdedRelu", "Tanh"],
        note="; alpha absent: onnxruntime takes 0, though the ThresholdedRelu operator's default is 1",
    ),
    "onnx_act_bidirectional_mixed": node(
        direction="bidirectional",
        acts=["Sigmoid", "Relu", "Tanh", "HardSigmoid", "ScaledTanh", "Softsign"],
        alphas=[0.22, 1.1],
        betas=[0.48, 0.7],
        note="; the second three functions are the backward direction's",
    ),
    "onnx_float16": node(
        dtype="float16", direction="bidirectional", note="; onnxruntime computes in float32 between casts"
    ),
    "onnx_saturating": node(data=C.saturating, category="edge"),
    "onnx_nonfinite_bias": node(
        data=C.nonfinite,
        category="nonfinite",
        nan_rule="ort_clip_add_bias",
        note=ROWS + ". With B, onnxruntime adds bias and clips by min and max (clip defaults to FLT_MAX), so a NaN "
        "before a gate becomes +clip: a quirk, not ONNX",
    ),
    "onnx_nonfinite_nobias": node(data=C.nonfinite, bias=False, category="nonfinite", note=ROWS),
    "onnx_nan_padding": node(
        direction="bidirectional",
        nan_padding=True,
        category="nonfinite",
        note="; NaN in the padding of row 1 does not get out",
    ),
    "onnx_export_torchscript_2layer_bidirectional": exported("stack", False),
    "onnx_export_torchscript_lstm_linear": exported("tagger", False),
    "onnx_export_dynamo_2layer_bidirectional": exported("stack", True),
    "onnx_export_dynamo_lstm_linear": exported("tagger", True),
    **{f"onnx_backend_{n}": backend for n in BACKEND},
}


if __name__ == "__main__":
    C.main("onnx", CASES, errors)
