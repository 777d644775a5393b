# SPDX-License-Identifier: Apache-2.0
"""MindSpore cases (CPU). Run in a virtualenv with mindspore and numpy < 2 (2.10 is built against numpy 1)."""

import os

os.environ.setdefault("GLOG_v", "4")

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

import common as C
from errors_mindspore import errors

VERSION = ms.__version__
NOTES = (
    "weight_ih (4H, in), weight_hh (4H, H), bias_ih and bias_hh (4H) each, added; rows in gate order "
    "i, f, g, o (g is the page's c~). h and c: layer-major, then direction."
)
FLAT = (
    "One vector w (weight_size, 1, 1) in cuDNN order: for each layer, for each direction: W (4H, in) then R (4H, H), "
    "each W_i, W_f, W_c, W_o one after the other, row-major; after all matrices, for each layer and direction: "
    "bW (4H), bR (4H)."
)
NP = {"float32": np.float32, "float16": np.float16}


def fill(rng, net, hidden):
    for p in net.get_parameters():
        p.set_data(Tensor(C.uniform(rng, tuple(p.shape), C.wscale(hidden)).astype(p.asnumpy().dtype)))
    net.set_train(False)
    return net


def native(net):
    return lambda folder: ms.save_checkpoint(net, str(folder / "model.ckpt"))


def weights(net):
    return {p.name: p.asnumpy() for p in net.get_parameters()}


def params(layers, directions, bias):
    out = []
    for k in range(layers):
        row = []
        for d in range(directions):
            end = f"_l{k}" + ("_reverse" if d else "")
            p = {"w_ih": C.ref("weight_ih" + end), "w_hh": C.ref("weight_hh" + end)}
            if bias:
                p.update(b_ih=C.ref("bias_ih" + end), b_hh=C.ref("bias_hh" + end))
            row.append(p)
        out.append(row)
    return out


def cell(bias=True, dtype="float32"):
    def make(s, name, I, H, B):
        rng = s.rng(name)
        net = fill(rng, nn.LSTMCell(I, H, has_bias=bias, dtype=getattr(ms, dtype)), H)
        x, h0, c0 = (C.normal(rng, z).astype(NP[dtype]) for z in ((B, I), (B, H), (B, H)))
        h, c = net(Tensor(x), (Tensor(h0), Tensor(c0)))
        t = {**weights(net), "input": x, "h0": h0, "c0": c0, "h_n": h.asnumpy(), "c_n": c.asnumpy()}
        p = {"w_ih": C.ref("weight_ih"), "w_hh": C.ref("weight_hh")}
        if bias:
            p.update(b_ih=C.ref("bias_ih"), b_hh=C.ref("bias_hh"))
        s.write(
            name,
            dict(
                framework="mindspore",
                framework_version=VERSION,
                api="mindspore.nn.LSTMCell",
                kind="cell",
                dtype=dtype,
                input_size=I,
                hidden_size=H,
                has_bias=bias,
                batch_size=B,
                initial_state=True,
                input_layout="BI",
                output_layout="BH",
                state_layout="BH",
                params=[[p]],
                outputs=["h_n", "c_n"],
                layout_notes=NOTES + " Since 1.6 this is one step, not the layer it was before. Returns (h', c').",
                how="one call of the cell",
            ),
            t,
            native(net),
        )

    return make


def inputs(rng, data, I, H, B, T, n, bf, lens, state, dtype):
    x = data(rng, (B, T, I) if bf else (T, B, I), **({"bti": bf} if data is C.nonfinite else {}))
    if lens is not None:
        x = C.poison_padding(rng, x, lens, bf)
    st = [C.normal(rng, (n, B, H), 0.7).astype(NP[dtype]) for _ in range(2)] if state else None
    return x.astype(NP[dtype]), st


def lstm(
    layers=1,
    bi=False,
    bf=False,
    bias=True,
    state=True,
    dtype="float32",
    data=C.normal,
    seed=None,
    ones=False,
    flat=None,
    nan_padding=False,
    category="basic",
    note="",
):
    """flat: None, 'LSTMCell' (a layer before 1.6) or 'LSTM' (the old stacked layer)."""

    def make(s, name, I, H, B, T, lens=None):
        rng = s.rng(name)
        D = 2 if bi else 1
        net = nn.LSTM(I, H, layers, has_bias=bias, batch_first=bf, bidirectional=bi, dtype=getattr(ms, dtype))
        fill(rng, net, H)
        x, st = inputs(rng, data, I, H, B, T, layers * D, bf, lens, state, dtype)
        if nan_padding:
            (x if bf else x.swapaxes(0, 1))[1, lens[1] :] = np.nan
        if ones or seed:
            x, st = np.ones_like(x), [np.ones_like(v) for v in st]
        if ones:
            for p in net.get_parameters():
                p.set_data(Tensor(np.ones(tuple(p.shape), np.float32)))
        length = None if lens is None else Tensor(np.array(lens, np.int32))
        y, (h, c) = net(Tensor(x), tuple(map(Tensor, st)) if st else None, length)

        w, p, write = weights(net), params(layers, D, bias), native(net)
        notes, api = NOTES, "mindspore.nn.LSTM"
        how = "module on CPU, set_train(False)" + (
            ", seq_length given; padding holds large values" if lens is not None else ""
        )
        if flat:
            parts, at = [], 0
            for keys in (("w_ih", "w_hh"), ("b_ih", "b_hh")) if bias else (("w_ih", "w_hh"),):
                for row in p:
                    for one in row:
                        for k in keys:
                            a = w[one[k]["tensor"]]
                            one[k] = C.ref("w", offset=at, shape=a.shape)
                            parts.append(a.ravel())
                            at += a.size
            flat_w = np.concatenate(parts).reshape(-1, 1, 1)
            w = {"w": flat_w}
            notes, api = FLAT, f"mindspore.nn.{flat} (before 1.6)"
            how = (
                "results by nn.LSTM of this version with the same matrices, as the old layer is gone (its GPU kernel "
                "was cuDNN); the vector w is packed from those matrices"
            )
            write = None
            if flat == "LSTM":
                write = lambda folder: ms.save_checkpoint(
                    [{"name": "weight", "data": Tensor(flat_w)}], str(folder / "model.ckpt")
                )
                notes += " The old nn.LSTM kept it as the parameter 'weight' (name in model.ckpt)."
        t = {**w, "input": x}
        if st:
            t.update(h0=st[0], c0=st[1])
        if lens is not None:
            t["lengths"] = np.array(lens, np.int32)
        t.update(output=y.asnumpy(), h_n=h.asnumpy(), c_n=c.asnumpy())
        io = "BTI" if bf else "TBI"
        s.write(
            name,
            dict(
                framework="mindspore",
                framework_version=VERSION,
                api=api,
                dtype=dtype,
                category="seed_example" if seed else category,
                seed_document=C.SEEDS.get(seed),
                input_size=I,
                hidden_size=H,
                num_layers=layers,
                bidirectional=bi,
                direction="bidirectional" if bi else "forward",
                has_bias=bias,
                batch_first=bf,
                batch_size=B,
                seq_len=T,
                initial_state=state,
                has_lengths=lens is not None,
                padded_output="zeros" if lens is not None else None,
                padding_rule="select" if lens is not None else None,
                zero_length_state="initial" if lens is not None and 0 in lens else None,
                input_layout=io,
                output_layout=io.replace("I", "H"),
                state_layout="LBH",
                params=p,
                layout_notes=notes,
                how=how + note,
            ),
            t,
            write,
        )

    return make


def primitive(bi=False, bias=True):
    """mindspore.ops.LSTM on CPU: another flat vector."""

    def make(s, name, I, H, B, T):
        rng = s.rng(name)
        D = 2 if bi else 1
        W = [C.uniform(rng, (4 * H, I), C.wscale(H)) for _ in range(D)]
        R = [C.uniform(rng, (4 * H, H), C.wscale(H)) for _ in range(D)]
        b = [C.uniform(rng, (4 * H,), C.wscale(H)) for _ in range(D if bias else 0)]
        w = np.concatenate([a.ravel() for a in (*W, *R, *b)]).reshape(-1, 1, 1)
        p = [{} for _ in range(D)]
        at = 0
        for key, group in (("w_ih", W), ("w_hh", R), ("b_ih", b)):
            for d, a in enumerate(group):
                p[d][key] = C.ref("w", offset=at, shape=a.shape)
                at += a.size
        x, st = inputs(rng, C.normal, I, H, B, T, D, False, None, True, "float32")
        y, h, c, _, _ = ops.LSTM(I, H, 1, bias, bi, 0.0)(Tensor(x), Tensor(st[0]), Tensor(st[1]), Tensor(w))
        s.write(
            name,
            dict(
                framework="mindspore",
                framework_version=VERSION,
                api="mindspore.ops.LSTM (CPU)",
                input_size=I,
                hidden_size=H,
                bidirectional=bi,
                direction="bidirectional" if bi else "forward",
                has_bias=bias,
                batch_size=B,
                seq_len=T,
                initial_state=True,
                input_layout="TBI",
                output_layout="TBH",
                state_layout="LBH",
                params=[p],
                layout_notes="One vector, NOT the cuDNN order: W of every direction, then R of every direction, "
                "then one "
                "summed bias (4H) per direction; gate order i, f, g, o.",
                how="the CPU primitive itself",
            ),
            {
                "w": w,
                "input": x,
                "h0": st[0],
                "c0": st[1],
                "output": y.asnumpy(),
                "h_n": h.asnumpy(),
                "c_n": c.asnumpy(),
            },
        )

    return make


CASES = {
    "mindspore_seed000_flat_lstmcell_ones": lstm(
        seed="000", flat="LSTMCell", ones=True, bf=True, note="; the page's call, all ones, w of 1152"
    ),
    "mindspore_seed001_lstm_10_16_2": lstm(
        seed="001", layers=2, bf=True, note="; the page's call: input, h0, c0 all ones"
    ),
    "mindspore_seed003_lstm_bidirectional": lstm(
        seed="003",
        bi=True,
        note="; the page gives h0, c0 of shape (1, 3, 16), which raises IndexError; here (2, 3, 16), ones",
    ),
    "mindspore_lstmcell": cell(),
    "mindspore_lstmcell_nobias_float16": cell(bias=False, dtype="float16"),
    "mindspore_lstm_nobias_nostate": lstm(bias=False, state=False),
    "mindspore_lstm_2layer_bidirectional_batch_first": lstm(layers=2, bi=True, bf=True),
    "mindspore_lstm_float16": lstm(dtype="float16"),
    "mindspore_lstm_seq_length": lstm(),
    "mindspore_lstm_2layer_bidirectional_seq_length_zero": lstm(
        layers=2, bi=True, bf=True, note="; a row of length 0 keeps its initial states"
    ),
    "mindspore_lstm_nan_padding": lstm(
        bi=True, nan_padding=True, category="nonfinite", note="; NaN in the padding of row 1 does not get out"
    ),
    "mindspore_lstm_nonfinite": lstm(
        data=C.nonfinite, category="nonfinite", note="; batch rows: 0 NaN at t=1, 1 +Inf, 2 -Inf, 3 both, 4 clean"
    ),
    "mindspore_lstm_saturating": lstm(layers=2, data=C.saturating, category="edge"),
    "mindspore_flat_lstmcell_bias": lstm(flat="LSTMCell", bf=True),
    "mindspore_flat_lstmcell_nobias": lstm(flat="LSTMCell", bias=False),
    "mindspore_flat_lstmcell_bidirectional": lstm(flat="LSTMCell", bi=True),
    "mindspore_flat_lstm_2layer_bidirectional": lstm(flat="LSTM", bi=True, layers=2),
    "mindspore_ops_lstm_cpu": primitive(),
    "mindspore_ops_lstm_cpu_bidirectional": primitive(bi=True),
}


if __name__ == "__main__":
    C.main("mindspore", CASES, errors)
