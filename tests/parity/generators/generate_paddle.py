# SPDX-License-Identifier: Apache-2.0
"""PaddlePaddle cases. Run in a virtualenv with paddlepaddle and numpy."""

import warnings

import numpy as np
import paddle
from paddle import nn

import common as C

warnings.filterwarnings("ignore")
VERSION = paddle.__version__
NOTES = (
    "weight_ih (4H, in), weight_hh (4H, H or proj), bias_ih and bias_hh (4H) each, added; rows in gate order "
    "i, f, g, o. weight_ho (H, proj): h = (o * tanh(c)) @ weight_ho. model.pdparams of an LSTM has each "
    "parameter twice, as weight_ih_l0 and as 0.cell.weight_ih (0.cell_fw, 0.cell_bw); tensors.safetensors has "
    "the first. With proj_size it has the second: there the names weight_ih_l0_reverse, weight_ih_l1, ... of "
    "model.pdparams are out of step by one per cell (weight_ho takes a name) and must not be trusted."
)
tens = paddle.to_tensor


def fill(rng, module, hidden, zero_bias=False):
    for n, p in module.named_parameters():
        if not (zero_bias and "bias" in n):
            p.set_value(C.uniform(rng, tuple(p.shape), C.wscale(hidden)))
    module.eval()
    return module


def native(module):
    return lambda folder: paddle.save(module.state_dict(), str(folder / "model.pdparams"))


def cell(bias=True, state=True, proj=False, seed=None):
    def make(s, name, I, H, B, P=0):
        rng = s.rng(name)
        P = P if proj else 0
        off = {} if bias else {"bias_ih_attr": False, "bias_hh_attr": False}
        m = fill(rng, nn.LSTMCell(I, H, proj_size=P, **off), H, zero_bias=not bias)
        x = C.normal(rng, (B, I))
        st = [C.normal(rng, (B, P or H)), C.normal(rng, (B, H))] if state else None
        y, (h, c) = m(tens(x), tuple(map(tens, st)) if st else None)
        t = {k: v.numpy() for k, v in m.state_dict().items()}
        t["input"] = x
        if state:
            t.update(h0=st[0], c0=st[1])
        t.update(output=y.numpy(), h_n=h.numpy(), c_n=c.numpy())
        p = {"w_ih": C.ref("weight_ih"), "w_hh": C.ref("weight_hh"), "b_ih": C.ref("bias_ih"), "b_hh": C.ref("bias_hh")}
        if P:
            p["w_hr"] = C.ref("weight_ho", transpose=True)
        s.write(
            name,
            dict(
                framework="paddle",
                framework_version=VERSION,
                api="paddle.nn.LSTMCell",
                kind="cell",
                category="seed_example" if seed else "basic",
                seed_document=C.SEEDS.get(seed),
                input_size=I,
                hidden_size=H,
                has_bias=bias,
                proj_size=P,
                batch_size=B,
                initial_state=state,
                input_layout="BI",
                output_layout="BH",
                state_layout="BH",
                params=[[p]],
                layout_notes=NOTES + ("" if bias else " bias_*_attr=False still keeps both biases, as zeros."),
                how="one call; returns (y, (h, c)) with y = h" + ("" if state else "; states=None means zeros"),
            ),
            t,
            native(m),
        )

    return make


def lstm(
    layers=1,
    bi=False,
    time_major=False,
    state=True,
    proj=False,
    dropout=0.0,
    data=C.normal,
    nan_padding=False,
    reverse_rnn=False,
    category="basic",
    note="",
):
    def make(s, name, I, H, B, T, P=0, lens=None):
        rng = s.rng(name)
        P = P if proj else 0
        D = 2 if bi else 1
        if reverse_rnn:
            m = nn.RNN(nn.LSTMCell(I, H), is_reverse=True)
        else:
            m = nn.LSTM(
                I,
                H,
                layers,
                direction="bidirect" if bi else "forward",
                time_major=time_major,
                dropout=dropout,
                proj_size=P,
            )
        m = fill(rng, m, H)
        x = data(rng, (T, B, I) if time_major else (B, T, I), **({"bti": True} if data is C.nonfinite else {}))
        if lens is not None:
            x = C.poison_padding(rng, x, lens, not time_major)
            if nan_padding:
                x[1, lens[1] :] = np.nan
        n = layers * D
        shapes = ((B, H), (B, H)) if reverse_rnn else ((n, B, P or H), (n, B, H))
        st = [C.normal(rng, z, 0.7) for z in shapes] if state else None
        length = None if lens is None else tens(np.array(lens, np.int32))
        y, (h, c) = m(tens(x), tuple(map(tens, st)) if st else None, length)

        params, keep = [], {}
        have = m.state_dict()
        for k in range(layers):
            row = []
            for d in range(D):
                end = f"_l{k}" + ("_reverse" if d else "")
                if reverse_rnn:
                    p = {
                        r: f"cell.{w}"
                        for r, w in zip(
                            ("w_ih", "w_hh", "b_ih", "b_hh"), ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                        )
                    }
                elif P:
                    cell_name = f"{k}.cell{('_bw' if d else '_fw') if bi else ''}."
                    p = {
                        r: cell_name + w
                        for r, w in zip(
                            ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr"),
                            ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_ho"),
                        )
                    }
                else:
                    p = {
                        "w_ih": "weight_ih" + end,
                        "w_hh": "weight_hh" + end,
                        "b_ih": "bias_ih" + end,
                        "b_hh": "bias_hh" + end,
                    }
                keep.update({v: have[v].numpy() for v in p.values()})
                p = {r: C.ref(v) for r, v in p.items()}
                if P:
                    p["w_hr"]["transpose"] = True
                row.append(p)
            params.append(row)
        t = {**keep, "input": x}
        if state:
            t.update(h0=st[0], c0=st[1])
        if lens is not None:
            t["lengths"] = np.array(lens, np.int32)
        t.update(output=y.numpy(), h_n=h.numpy(), c_n=c.numpy())
        padded = None
        if lens is not None:
            padded = "cell_on_padding" if P else "zeros"
        notes = NOTES
        if lens is not None:
            notes += (
                " With proj_size Paddle falls back to its Python loop: outputs past the length are what the cell "
                "makes of the padding and the kept state, not zeros."
                if P
                else " Outputs past the length are 0 (or -0)."
            )
        s.write(
            name,
            dict(
                framework="paddle",
                framework_version=VERSION,
                api="paddle.nn.RNN(LSTMCell)" if reverse_rnn else "paddle.nn.LSTM",
                category=category,
                input_size=I,
                hidden_size=H,
                num_layers=layers,
                bidirectional=bi,
                direction="reverse" if reverse_rnn else "bidirectional" if bi else "forward",
                batch_first=not time_major,
                proj_size=P,
                batch_size=B,
                seq_len=T,
                dropout=dropout,
                initial_state=state,
                has_lengths=lens is not None,
                padded_output=padded,
                padding_rule="multiply" if lens is not None else None,
                zero_length_state="initial" if lens is not None and 0 in lens else None,
                input_layout="TBI" if time_major else "BTI",
                output_layout="TBH" if time_major else "BTH",
                state_layout="BH" if reverse_rnn else "LBH",
                params=params,
                layout_notes=notes,
                how="module in eval mode"
                + (", sequence_length given; padding holds large values" if lens is not None else "")
                + note,
            ),
            t,
            native(m),
        )

    return make


CASES = {
    "paddle_seed004_lstmcell_16_32": cell(seed="004"),
    "paddle_lstmcell_nobias_nostate": cell(bias=False, state=False),
    "paddle_lstmcell_proj": cell(proj=True),
    "paddle_lstm_1layer": lstm(),
    "paddle_lstm_2layer_bidirect": lstm(layers=2, bi=True),
    "paddle_lstm_3layer_time_major_dropout": lstm(
        layers=3, time_major=True, dropout=0.4, state=False, note="; dropout does nothing in eval mode"
    ),
    "paddle_lstm_sequence_length": lstm(),
    "paddle_lstm_2layer_bidirect_sequence_length_zero": lstm(
        layers=2, bi=True, note="; a row of length 0 keeps its initial states"
    ),
    "paddle_lstm_proj_2layer_bidirect": lstm(layers=2, bi=True, proj=True),
    "paddle_lstm_proj_sequence_length": lstm(proj=True),
    "paddle_rnn_lstmcell_reverse": lstm(
        reverse_rnn=True, note="; is_reverse=True, outputs turned back into time order"
    ),
    "paddle_lstm_saturating": lstm(data=C.saturating, category="edge"),
    "paddle_lstm_nonfinite": lstm(
        data=C.nonfinite, category="nonfinite", note="; batch rows: 0 NaN at t=1, 1 +Inf, 2 -Inf, 3 both, 4 clean"
    ),
    "paddle_lstm_nan_padding": lstm(
        nan_padding=True,
        category="nonfinite",
        note="; NaN in the padding of row 1 gets out, since Paddle multiplies by a mask of 0 and 1",
    ),
}


def errors():
    rows, Z = [], paddle.zeros
    x = "not in the pages"

    def a(documented, call, f, seed="004"):
        C.attempt(rows, seed, documented, call, f, "paddle", VERSION)

    def crash(documented, call, code):
        C.attempt_process(
            rows,
            x,
            documented,
            call,
            "import numpy as np, paddle\nfrom paddle import nn\nZ = paddle.zeros\n" + code,
            "paddle",
            VERSION,
        )

    a("hidden_size positive", "LSTMCell(4, 0)", lambda: nn.LSTMCell(4, 0))
    a("hidden_size an int", "LSTMCell(4, 6.5)", lambda: nn.LSTMCell(4, 6.5))
    a("inputs of shape [batch_size, input_size]", "LSTMCell(4, 6)(zeros(3, 5))", lambda: nn.LSTMCell(4, 6)(Z((3, 5))))
    a(
        "states of shape [batch_size, hidden_size]",
        "LSTMCell(4, 6)(zeros(3, 4), (zeros(3, 5), zeros(3, 6)))",
        lambda: nn.LSTMCell(4, 6)(Z((3, 4)), (Z((3, 5)), Z((3, 6)))),
    )
    a(
        "states of shape [batch_size, hidden_size]",
        "LSTMCell(4, 6)(zeros(3, 4), (zeros(2, 6), zeros(2, 6)))",
        lambda: nn.LSTMCell(4, 6)(Z((3, 4)), (Z((2, 6)), Z((2, 6)))),
    )
    a(
        "states of shape [batch_size, hidden_size]",
        "LSTMCell(4, 6)(zeros(3, 4), (zeros(1, 6), zeros(1, 6)))  # broadcast",
        lambda: nn.LSTMCell(4, 6)(Z((3, 4)), (Z((1, 6)), Z((1, 6)))),
    )
    a(
        "states a list or tuple of two",
        "LSTMCell(4, 6)(zeros(3, 4), zeros(3, 6))",
        lambda: nn.LSTMCell(4, 6)(Z((3, 4)), Z((3, 6))),
    )
    a("proj_size < hidden_size", "LSTMCell(4, 6, proj_size=6)", lambda: nn.LSTMCell(4, 6, proj_size=6), x)
    a("proj_size >= 0", "LSTMCell(4, 6, proj_size=-1)", lambda: nn.LSTMCell(4, 6, proj_size=-1), x)
    a("direction", "LSTM(4, 6, direction='backward')", lambda: nn.LSTM(4, 6, direction="backward"), x)
    a("last axis is input_size", "LSTM(4, 6)(zeros(3, 5, 7))", lambda: nn.LSTM(4, 6)(Z((3, 5, 7))), x)
    a("input 3-D", "LSTM(4, 6)(zeros(5, 4))", lambda: nn.LSTM(4, 6)(Z((5, 4))), x)
    a(
        "states of shape [D*layers, batch, H]",
        "LSTM(4, 6)(zeros(3, 5, 4), (zeros(1, 3, 5), zeros(1, 3, 6)))",
        lambda: nn.LSTM(4, 6)(Z((3, 5, 4)), (Z((1, 3, 5)), Z((1, 3, 6)))),
        x,
    )
    a(
        "two layers without bias",
        "LSTM(4, 6, 2, bias_ih_attr=False, bias_hh_attr=False)",
        lambda: nn.LSTM(4, 6, 2, bias_ih_attr=False, bias_hh_attr=False),
        x,
    )
    a("an empty batch", "LSTM(4, 6)(zeros(0, 5, 4))", lambda: nn.LSTM(4, 6)(Z((0, 5, 4))), x)
    crash("at least one step", "LSTM(4, 6)(zeros(3, 0, 4))", "nn.LSTM(4, 6)(Z((3, 0, 4)))")
    crash(
        "one layer without bias",
        "LSTM(4, 6, bias_ih_attr=False, bias_hh_attr=False)(zeros(3, 5, 4))",
        "nn.LSTM(4, 6, bias_ih_attr=False, bias_hh_attr=False)(Z((3, 5, 4)))",
    )
    crash(
        "sequence_length <= T",
        "LSTM(4, 6)(zeros(3, 5, 4), None, [5, 9, 5])",
        "nn.LSTM(4, 6)(Z((3, 5, 4)), None, paddle.to_tensor(np.array([5, 9, 5], 'int32')))",
    )
    crash(
        "sequence_length >= 0",
        "LSTM(4, 6)(zeros(3, 5, 4), None, [5, -1, 5])  # as 0",
        "nn.LSTM(4, 6)(Z((3, 5, 4)), None, paddle.to_tensor(np.array([5, -1, 5], 'int32')))",
    )
    return rows


if __name__ == "__main__":
    C.main("paddle", CASES, errors)
