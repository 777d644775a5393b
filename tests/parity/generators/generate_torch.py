# SPDX-License-Identifier: Apache-2.0
"""PyTorch cases. Run in a virtualenv with torch, numpy and safetensors."""

import warnings

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import common as C

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
VERSION = torch.__version__
tens = torch.from_numpy
DT = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
NOTES = (
    "weight_ih (4H, in), weight_hh (4H, H or proj), bias_ih and bias_hh (4H) each, added; rows in "
    "gate order i, f, g, o. weight_hr (proj, H): h = weight_hr @ (o * tanh(c))."
)


def plain(t):
    """A torch tensor as what common.save_safetensors takes."""
    t = t.detach().contiguous()
    if t.dtype == torch.bfloat16:
        return C.Raw("BF16", t.shape, t.view(torch.int16).numpy().astype("<i2").tobytes())
    return t.numpy()


def fill(rng, module, hidden, scale=1.0):
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(tens(C.uniform(rng, tuple(p.shape), scale * C.wscale(hidden))))
    return module.eval()


def native(module):
    def write(folder):
        torch.save(module.state_dict(), folder / "model.pt")
        save_file(module.state_dict(), folder / "model.safetensors")

    return write


def params(m, layers, directions, bias, proj):
    out = []
    for k in range(layers):
        row = []
        for d in range(directions):
            end = f"_l{k}" + ("_reverse" if d else "")
            p = {"w_ih": C.ref("weight_ih" + end), "w_hh": C.ref("weight_hh" + end)}
            if bias:
                p.update(b_ih=C.ref("bias_ih" + end), b_hh=C.ref("bias_hh" + end))
            if proj:
                p["w_hr"] = C.ref("weight_hr" + end)
            row.append(p)
        out.append(row)
    return out


def cell_params(bias):
    p = {"w_ih": C.ref("weight_ih"), "w_hh": C.ref("weight_hh")}
    if bias:
        p.update(b_ih=C.ref("bias_ih"), b_hh=C.ref("bias_hh"))
    return [[p]]


def cell(bias=True, state=True, dtype="float32", unbatched=False):
    def make(s, name, I, H, B):
        rng = s.rng(name)
        m = fill(rng, nn.LSTMCell(I, H, bias=bias), H).to(DT[dtype])
        lead = () if unbatched else (B,)
        x = tens(C.normal(rng, (*lead, I))).to(DT[dtype])
        st = [tens(C.normal(rng, (*lead, H), 0.7)).to(DT[dtype]) for _ in range(2)] if state else None
        with torch.no_grad():
            h, c = m(x, tuple(st) if st else None)
        t = {**{k: plain(v) for k, v in m.state_dict().items()}, "input": plain(x)}
        if state:
            t.update(h0=plain(st[0]), c0=plain(st[1]))
        t.update(h_n=plain(h), c_n=plain(c))
        lay = "" if unbatched else "B"
        s.write(
            name,
            dict(
                framework="torch",
                framework_version=VERSION,
                api="torch.nn.LSTMCell",
                kind="cell",
                dtype=dtype,
                input_size=I,
                hidden_size=H,
                has_bias=bias,
                batch_size=None if unbatched else B,
                initial_state=state,
                input_layout=lay + "I",
                output_layout=lay + "H",
                state_layout=lay + "H",
                params=cell_params(bias),
                outputs=["h_n", "c_n"],
                layout_notes=NOTES + " Returns (h_1, c_1) only.",
                how="one call of the cell" + ("" if state else " without (h_0, c_0): both are zero"),
            ),
            t,
            native(m),
        )

    return make


def iterated(seed=None):
    def make(s, name, I, H, B, T):
        rng = s.rng(name)
        m = fill(rng, nn.LSTMCell(I, H), H)
        x, h0, c0 = tens(C.normal(rng, (T, B, I))), tens(C.normal(rng, (B, H))), tens(C.normal(rng, (B, H)))
        h, c, out = h0, c0, []
        with torch.no_grad():
            for k in range(T):
                h, c = m(x[k], (h, c))
                out.append(h)
        out = torch.stack(out)
        layer = nn.LSTM(I, H)
        layer.load_state_dict({k + "_l0": v for k, v in m.state_dict().items()})
        with torch.no_grad():
            same, _ = layer(x, (h0[None], c0[None]))
        assert torch.allclose(out, same, atol=1e-5)
        t = {
            **{k: plain(v) for k, v in m.state_dict().items()},
            "input": plain(x),
            "h0": plain(h0),
            "c0": plain(c0),
            "output": plain(out),
            "h_n": plain(h),
            "c_n": plain(c),
        }
        s.write(
            name,
            dict(
                framework="torch",
                framework_version=VERSION,
                api="torch.nn.LSTMCell",
                kind="iterated_cell",
                category="seed_example" if seed else "basic",
                seed_document=C.SEEDS[seed] if seed else None,
                input_size=I,
                hidden_size=H,
                batch_size=B,
                seq_len=T,
                initial_state=True,
                input_layout="TBI",
                output_layout="TBH",
                state_layout="BH",
                params=cell_params(True),
                layout_notes=NOTES,
                how="cell applied to input[0..T-1], output stacks every h. "
                "nn.LSTM with the same weights agrees to 1e-5."
                + (
                    " The page's own loop (input of shape (3, 10), range(6)) cannot run: input[i] is 1-D while hx is "
                    "2-D; this is the loop it means, with input of shape (6, 3, 10)."
                    if seed
                    else ""
                ),
            ),
            t,
            native(m),
        )

    return make


def lstm(
    bias=True,
    layers=1,
    bi=False,
    bf=False,
    proj=False,
    dtype="float32",
    state=True,
    dropout=0.0,
    lengths=None,
    unbatched=False,
    data=C.normal,
    scale=1.0,
    category="basic",
    note="",
):
    def make(s, name, I, H, B, T, P=0, lens=None):
        rng = s.rng(name)
        P = P if proj else 0
        D = 2 if bi else 1
        m = nn.LSTM(I, H, layers, bias=bias, batch_first=bf, dropout=dropout, bidirectional=bi, proj_size=P)
        m = fill(rng, m, H, scale).to(DT[dtype])
        shape = (T, I) if unbatched else (B, T, I) if bf else (T, B, I)
        x = data(rng, shape)
        if lens is not None:
            x = C.poison_padding(rng, x, lens, bf)
        x = tens(x).to(DT[dtype])
        lead = () if unbatched else (B,)
        st = None
        if state:
            st = (
                tens(C.normal(rng, (layers * D, *lead, P or H), 0.7)).to(DT[dtype]),
                tens(C.normal(rng, (layers * D, *lead, H), 0.7)).to(DT[dtype]),
            )
        with torch.no_grad():
            if lens is None:
                y, (h, c) = m(x, st)
            else:
                pk = pack_padded_sequence(x, torch.tensor(lens), batch_first=bf, enforce_sorted=lengths == "sorted")
                y, (h, c) = m(pk, st)
                y, _ = pad_packed_sequence(y, batch_first=bf, total_length=T)
        t = {**{k: plain(v) for k, v in m.state_dict().items()}, "input": plain(x)}
        if state:
            t.update(h0=plain(st[0]), c0=plain(st[1]))
        if lens is not None:
            t["lengths"] = np.array(lens, np.int32)
        t.update(output=plain(y), h_n=plain(h), c_n=plain(c))
        io = "TI" if unbatched else "BTI" if bf else "TBI"
        s.write(
            name,
            dict(
                framework="torch",
                framework_version=VERSION,
                api="torch.nn.LSTM",
                dtype=dtype,
                category=category,
                input_size=I,
                hidden_size=H,
                num_layers=layers,
                bidirectional=bi,
                direction="bidirectional" if bi else "forward",
                has_bias=bias,
                batch_first=bf,
                proj_size=P,
                batch_size=None if unbatched else B,
                seq_len=T,
                dropout=dropout,
                initial_state=state,
                has_lengths=lens is not None,
                padded_output="zeros" if lens is not None else None,
                padding_rule="select" if lens is not None else None,
                input_layout=io,
                output_layout=io.replace("I", "H"),
                state_layout="LH" if unbatched else "LBH",
                params=params(m, layers, D, bias, P),
                layout_notes=NOTES + " h_n, c_n: layer-major, then direction (l0, l0_reverse, l1, ...).",
                how="module in eval mode"
                + (
                    ", pack_padded_sequence in, pad_packed_sequence(total_length=T) out; "
                    "the padding of input holds large values that must not matter"
                    if lens is not None
                    else ""
                )
                + note,
            ),
            t,
            native(m),
        )

    return make


def denormal(rng, shape):
    """Rows of the batch: zeros, subnormals, the smallest normals, ordinary values."""
    x = C.normal(rng, shape)
    x[:, 0] = 0
    x[:, 1] *= np.float32(1e-41)
    x[:, 2] *= np.float32(1.2e-38)
    return x


CASES = {
    "torch_seed002_lstmcell_10_20": iterated("002"),
    "torch_lstmcell_bias": cell(),
    "torch_lstmcell_nobias_nostate": cell(bias=False, state=False),
    "torch_lstmcell_unbatched": cell(unbatched=True),
    "torch_lstmcell_float16": cell(dtype="float16"),
    "torch_lstmcell_bfloat16": cell(dtype="bfloat16"),
    "torch_lstmcell_iterated": iterated(),
    "torch_lstm_1layer": lstm(),
    "torch_lstm_2layer_nostate": lstm(layers=2, state=False),
    "torch_lstm_3layer_nobias": lstm(layers=3, bias=False),
    "torch_lstm_4layer_dropout": lstm(layers=4, dropout=0.5, note="; dropout does nothing in eval mode"),
    "torch_lstm_bidir": lstm(bi=True),
    "torch_lstm_bidir_3layer_batch_first": lstm(layers=3, bi=True, bf=True),
    "torch_lstm_proj": lstm(proj=True),
    "torch_lstm_proj_bidir_2layer": lstm(proj=True, layers=2, bi=True),
    "torch_lstm_packed_batch_first": lstm(bf=True, lengths="sorted"),
    "torch_lstm_packed_bidir_2layer": lstm(bi=True, layers=2, lengths="any"),
    "torch_lstm_packed_proj_bidir": lstm(bi=True, proj=True, lengths="any"),
    "torch_lstm_unbatched_bidir": lstm(bi=True, unbatched=True),
    "torch_lstm_float16_bidir_2layer": lstm(bi=True, layers=2, dtype="float16"),
    "torch_lstm_bfloat16_2layer": lstm(layers=2, dtype="bfloat16"),
    "torch_lstm_hidden1_length1": lstm(),
    "torch_lstm_saturating": lstm(layers=2, bi=True, data=C.saturating, category="edge"),
    "torch_lstm_denormal_zero": lstm(
        bias=False,
        state=False,
        data=denormal,
        category="edge",
        note="; flushing subnormals to zero stays inside the tolerance",
    ),
    "torch_lstm_nonfinite": lstm(
        data=C.nonfinite,
        category="nonfinite",
        note="; batch rows: 0 NaN at t=1, 1 +Inf, 2 -Inf, 3 both, 4 clean. NaN stays in its row; one Inf saturates",
    ),
}


def errors():
    rows = []
    R = torch.randn

    def a(documented, call, f, seed="002"):
        C.attempt(rows, seed, documented, call, f, "torch", VERSION)

    def page():
        rnn, x, hx, cx = nn.LSTMCell(10, 20), R(3, 10), R(3, 20), R(3, 20)
        for i in range(6):
            hx, cx = rnn(x[i], (hx, cx))

    a(
        "the page's own example",
        "LSTMCell(10, 20); input (3, 10); hx, cx (3, 20); for i in range(6): rnn(input[i], (hx, cx))",
        page,
    )
    a("input of shape (batch, input_size)", "LSTMCell(5, 7)(zeros(1, 2, 5))", lambda: nn.LSTMCell(5, 7)(R(1, 2, 5)))
    a("input of shape (batch, input_size)", "LSTMCell(5, 7)(zeros(2, 6))", lambda: nn.LSTMCell(5, 7)(R(2, 6)))
    a(
        "h_0 of shape (batch, hidden_size)",
        "LSTMCell(5, 7)(zeros(2, 5), (zeros(2, 6), zeros(2, 7)))",
        lambda: nn.LSTMCell(5, 7)(R(2, 5), (R(2, 6), R(2, 7))),
    )
    a(
        "c_0 of shape (batch, hidden_size)",
        "LSTMCell(5, 7)(zeros(2, 5), (zeros(2, 7), zeros(2, 6)))",
        lambda: nn.LSTMCell(5, 7)(R(2, 5), (R(2, 7), R(2, 6))),
    )
    a(
        "h_0 of shape (batch, hidden_size)",
        "LSTMCell(5, 7)(zeros(2, 5), (zeros(3, 7), zeros(3, 7)))",
        lambda: nn.LSTMCell(5, 7)(R(2, 5), (R(3, 7), R(3, 7))),
    )
    a(
        "h_0 of shape (batch, hidden_size)",
        "LSTMCell(5, 7)(zeros(2, 5), (zeros(1, 7), zeros(1, 7)))",
        lambda: nn.LSTMCell(5, 7)(R(2, 5), (R(1, 7), R(1, 7))),
    )
    a(
        "(h_0, c_0) both or none",
        "LSTMCell(5, 7)(zeros(2, 5), (zeros(2, 7),))",
        lambda: nn.LSTMCell(5, 7)(R(2, 5), (R(2, 7),)),
    )
    a("one dtype", "LSTMCell(5, 7)(float64 zeros(2, 5))", lambda: nn.LSTMCell(5, 7)(R(2, 5).double()))
    a("hidden_size an int", "LSTMCell(5, 7.5)", lambda: nn.LSTMCell(5, 7.5))
    a("hidden_size positive", "LSTMCell(5, -1)", lambda: nn.LSTMCell(5, -1))
    a("hidden_size positive", "LSTMCell(5, 0)", lambda: nn.LSTMCell(5, 0))
    x = "not in the pages"
    a("hidden_size an int", "LSTM(5, 7.5)", lambda: nn.LSTM(5, 7.5), x)
    a("hidden_size positive", "LSTM(5, 0)", lambda: nn.LSTM(5, 0), x)
    a("num_layers positive", "LSTM(5, 7, 0)", lambda: nn.LSTM(5, 7, 0), x)
    a("proj_size < hidden_size", "LSTM(5, 7, proj_size=7)", lambda: nn.LSTM(5, 7, proj_size=7), x)
    a("proj_size >= 0", "LSTM(5, 7, proj_size=-1)", lambda: nn.LSTM(5, 7, proj_size=-1), x)
    a("dropout in [0, 1]", "LSTM(5, 7, dropout=1.5)", lambda: nn.LSTM(5, 7, dropout=1.5), x)
    a(
        "h_0 of shape (D*layers, batch, H)",
        "LSTM(5, 7)(zeros(4, 2, 5), (zeros(1, 2, 6), zeros(1, 2, 7)))",
        lambda: nn.LSTM(5, 7)(R(4, 2, 5), (R(1, 2, 6), R(1, 2, 7))),
        x,
    )
    a("input 2-D or 3-D", "LSTM(5, 7)(zeros(5))", lambda: nn.LSTM(5, 7)(R(5)), x)
    a("last axis is input_size", "LSTM(5, 7)(zeros(4, 2, 6))", lambda: nn.LSTM(5, 7)(R(4, 2, 6)), x)
    a("at least one step", "LSTM(5, 7)(zeros(0, 2, 5))", lambda: nn.LSTM(5, 7)(R(0, 2, 5)), x)
    a("an empty batch", "LSTM(5, 7)(zeros(4, 0, 5))", lambda: nn.LSTM(5, 7)(R(4, 0, 5)), x)
    a(
        "lengths > 0",
        "pack_padded_sequence(zeros(4, 3, 5), [4, 2, 0], enforce_sorted=False)",
        lambda: pack_padded_sequence(R(4, 3, 5), torch.tensor([4, 2, 0]), enforce_sorted=False),
        x,
    )
    a(
        "lengths <= T",
        "pack_padded_sequence(zeros(4, 3, 5), [5, 2, 1])",
        lambda: pack_padded_sequence(R(4, 3, 5), torch.tensor([5, 2, 1])),
        x,
    )
    a(
        "lengths sorted",
        "pack_padded_sequence(zeros(4, 3, 5), [1, 2, 4])",
        lambda: pack_padded_sequence(R(4, 3, 5), torch.tensor([1, 2, 4])),
        x,
    )
    return rows


if __name__ == "__main__":
    C.main("torch", CASES, errors)
