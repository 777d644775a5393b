#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check.py FOLDER [NAME...]: recompute every case of a folder from case.json and tensors.safetensors.

The LSTM below is numpy in float64 and knows no framework: all it uses is what case.json says. That it
reproduces every recorded result shows that the metadata is enough. Needs numpy, nothing else.
"""

import json
import math
import pathlib
import struct
import sys

import numpy as np

FIELDS = """schema_version name set category framework framework_version runtime api kind dtype input_size
hidden_size num_layers bidirectional direction has_bias batch_first proj_size batch_size seq_len activation
recurrent_activation output_activation activation_spec unit_forget_bias go_backwards clip peephole input_forget
merge_mode return_sequences return_state stateful calls dropout gate_order input_layout output_layout state_layout
initial_state has_lengths has_mask mask_value padded_output padding_rule zero_length_state nan_rule params head outputs
files layout_notes seed_document tolerance_suggestion how""".split()

FLT_MAX = float(np.finfo(np.float32).max)


def load_safetensors(path):
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    out, dtypes = {}, {}
    for name, e in json.loads(data[8 : 8 + n]).items():
        if name == "__metadata__":
            continue
        lo, hi = (8 + n + o for o in e["data_offsets"])
        raw, dtypes[name] = data[lo:hi], e["dtype"]
        if e["dtype"] == "BF16":
            a = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            a = np.frombuffer(raw, {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}[e["dtype"]])
        out[name] = a.reshape(e["shape"])
    return out, dtypes


def activate(spec, x):
    fn, a, b = spec["fn"], spec["alpha"], spec["beta"]
    if fn == "sigmoid":
        return 0.5 * (1 + np.tanh(0.5 * x))
    if fn == "tanh":
        return np.tanh(x)
    if fn == "hard_sigmoid":
        return np.clip(a * x + b, 0, 1)
    if fn == "linear":
        return x
    if fn == "affine":
        return a * x + b
    if fn == "relu":
        return np.where(x > 0, x, np.where(np.isnan(x), x, 0))
    if fn == "leaky_relu":
        return np.where(x >= 0, x, a * x)
    if fn == "thresholded_relu":
        return np.where(x > a, x, 0)
    if fn == "scaled_tanh":
        return a * np.tanh(b * x)
    if fn == "softsign":
        return x / (1 + np.abs(x))
    if fn == "softplus":
        return np.logaddexp(0, x)
    if fn == "elu":
        return np.where(x > 0, x, a * np.expm1(np.minimum(x, 0)))
    if fn == "selu":
        scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
        return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
    if fn == "gelu":
        return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))
    if fn == "silu":
        return x * 0.5 * (1 + np.tanh(0.5 * x))
    raise ValueError(f"unknown activation {fn}")


def fetch(tensors, ref):
    if ref is None:
        return None
    a = tensors[ref["tensor"]].astype(np.float64)
    if ref["index"] is not None:
        a = a[ref["index"]]
    if ref["offset"] is not None:
        n = math.prod(ref["shape"])
        a = a.ravel()[ref["offset"] : ref["offset"] + n].reshape(ref["shape"])
    return a.T if ref["transpose"] else a


def run_direction(case, w, spec, x, h, c, valid, backwards):
    """x (T, B, in) -> outputs in the order they were computed, last h, last c."""
    hidden, order = case["hidden_size"], case["gate_order"]
    wi, wh = w["w_ih"], w["w_hh"]
    assert wi.shape == (4 * hidden, x.shape[2]), (wi.shape, x.shape)
    assert wh.shape == (4 * hidden, h.shape[1]), (wh.shape, h.shape)
    bias = sum(w[k] for k in ("b_ih", "b_hh") if w.get(k) is not None)
    has_bias = any(w.get(k) is not None for k in ("b_ih", "b_hh"))
    pi, po, pf = np.split(w["peep"], 3) if w.get("peep") is not None else (0, 0, 0)
    limit = case["clip"]

    def pre(z):
        if case["nan_rule"] == "ort_clip_add_bias" and has_bias:
            z = np.where(np.isnan(z), FLT_MAX if limit is None else limit, z)
        return z if limit is None else np.clip(z, -limit, limit)

    ys, last = [], np.zeros_like(h)
    for t in range(len(x) - 1, -1, -1) if backwards else range(len(x)):
        z = x[t] @ wi.T + h @ wh.T + bias
        part = {g: z[:, k * hidden : (k + 1) * hidden] for k, g in enumerate(order)}
        i = activate(spec["f"], pre(part["i"] + pi * c))
        f = 1 - i if case["input_forget"] else activate(spec["f"], pre(part["f"] + pf * c))
        g = activate(spec["g"], pre(part["g"]))
        c2 = f * c + i * g
        o = activate(spec["f"], pre(part["o"] + po * c2))
        h2 = o * activate(spec["h"], c2)
        if w.get("w_hr") is not None:
            h2 = h2 @ w["w_hr"].T
        y = h2
        if valid is not None:
            on = valid[t][:, None]
            rule = case["padded_output"]
            if rule != "cell_on_padding":
                instead = {"zeros": np.zeros_like(y), "repeat_last": last}[rule]
                y = blend(case, on, y, instead)
            h2, c2 = blend(case, on, h2, h), blend(case, on, c2, c)
        h, c, last = h2, c2, y
        ys.append(y)
    return ys, h, c


def blend(case, on, new, old):
    """What a padded step keeps. Multiplying by a mask of 0 and 1 lets NaN through, selecting does not."""
    if case["padding_rule"] == "multiply":
        return new * on + old * (1.0 - on)
    return np.where(on, new, old)


def merge(mode, a, b):
    if mode in (None, "concat"):
        return np.concatenate([a, b], -1)
    return {"sum": a + b, "ave": (a + b) / 2, "mul": a * b}[mode]


def states_in(case, tensors, directions, batch):
    """h0, c0 as lists over (layer, direction) of (B, size)."""
    n = case["num_layers"] * directions
    out = []
    for which, size in (("h0", case["proj_size"] or case["hidden_size"]), ("c0", case["hidden_size"])):
        if not case["initial_state"]:
            out.append([np.zeros((batch, size)) for _ in range(n)])
            continue
        if which in tensors:
            a = tensors[which].astype(np.float64)
            lay = case["state_layout"]
            a = {
                "LBH": lambda: a,
                "BLH": lambda: a.swapaxes(0, 1),
                "LH": lambda: a[:, None],
                "BH": lambda: a[None],
                "H": lambda: a[None, None],
            }[lay]()
            assert a.shape == (n, batch, size), (which, a.shape, (n, batch, size))
            out.append(list(a))
        else:
            out.append([tensors[f"{which}_{d}"].astype(np.float64) for d in ("forward", "backward")])
    return out


def compute(case, tensors, x, h0, c0, valid):
    """x (T, B, I) -> output, and h_n, c_n as lists over (layer, direction)."""
    directions = 2 if case["bidirectional"] else 1
    single_back = case["go_backwards"] or case["direction"] == "reverse"
    hs, cs = [], []
    for k in range(case["num_layers"]):
        seqs, lasts = [], []
        for d in range(directions):
            w = {key: fetch(tensors, ref) for key, ref in case["params"][k][d].items()}
            back = d == 1 or (directions == 1 and single_back)
            j = k * directions + d
            ys, h, c = run_direction(case, w, case["activation_spec"][d], x, h0[j], c0[j], valid, back)
            lasts.append(ys[-1])
            if back and not case["go_backwards"]:
                ys = ys[::-1]
            seqs.append(np.stack(ys))
            hs.append(h)
            cs.append(c)
        two = directions == 2
        x = merge(case["merge_mode"], *seqs) if two else seqs[0]
        last = merge(case["merge_mode"], *lasts) if two else lasts[0]
    head = case["head"]
    if head:
        y = (x[-1] if head["take"] == "last" else x) @ fetch(tensors, head["weight"]).T + fetch(tensors, head["bias"])
        return y, hs, cs
    return (last if case["return_sequences"] is False else x), hs, cs


def reference(case, tensors):
    directions = 2 if case["bidirectional"] else 1
    lay, got = case["input_layout"], {}
    state = None
    for call in range(case["calls"]):
        end = "" if call == 0 else f"_{call + 1}"
        x = tensors["input" + end].astype(np.float64)
        x = {
            "TBI": lambda: x,
            "BTI": lambda: x.swapaxes(0, 1),
            "TI": lambda: x[:, None],
            "BI": lambda: x[None],
            "I": lambda: x[None, None],
        }[lay]()
        steps, batch, size = x.shape
        assert size == case["input_size"]
        valid = None
        if case["has_lengths"]:
            valid = np.arange(steps)[:, None] < tensors["lengths"][None, :]
        if case["has_mask"]:
            valid = tensors["mask"].T != 0
            if case["mask_value"] is not None:
                assert np.array_equal(valid, (x != case["mask_value"]).any(-1))
        if state is None or not case["stateful"]:
            state = states_in(case, tensors, directions, batch)
        y, h, c = compute(case, tensors, x, *state, valid)
        state = (h, c)
        if case["zero_length_state"] == "zeros" and valid is not None:
            on = valid.any(0)[:, None]
            h, c = [np.where(on, a, 0) for a in h], [np.where(on, a, 0) for a in c]

        out = case["output_layout"]
        if out == "BTH":
            y = y.swapaxes(0, 1)
        elif out == "TH":
            y = y[:, 0]
        elif out in ("TDBH", "BTDH"):
            y = y.reshape(steps, batch, directions, -1).transpose((0, 2, 1, 3) if out == "TDBH" else (1, 0, 2, 3))
        elif out == "H":
            y = y[0, 0]
        elif out == "BH" and y.ndim == 3:
            y = y[0]
        got["output" + end] = y
        for key, s in (("h_n", h), ("c_n", c)):
            a = np.stack(s)
            got[key + end] = {
                "LBH": lambda: a,
                "BLH": lambda: a.swapaxes(0, 1),
                "LH": lambda: a[:, 0],
                "BH": lambda: a[0],
                "H": lambda: a[0, 0],
            }[case["state_layout"]]()
            for d, word in enumerate(("forward", "backward")[:directions]):
                got[f"{key}_{word}{end}"] = s[d]
    return got


def compare(want, got, tol):
    want = want.astype(np.float64)
    if want.shape != got.shape:
        return math.inf, f"shape {got.shape}, recorded {want.shape}"
    odd = ~np.isfinite(want)
    if not np.array_equal(np.isnan(want), np.isnan(got)) or not np.array_equal(
        want[odd & ~np.isnan(want)], got[odd & ~np.isnan(want)]
    ):
        return math.inf, "NaN or Inf at other places"
    w, g = want[~odd], got[~odd]
    err = np.abs(w - g)
    bad = err > tol["atol"] + tol["rtol"] * np.abs(w)
    return (float(err.max()) if err.size else 0.0), (
        f"{int(bad.sum())} of {w.size} beyond tolerance" if bad.any() else None
    )


def check(folder):
    case = json.loads((folder / "case.json").read_text())
    missing = [f for f in FIELDS if f not in case]
    extra = [f for f in case if f not in FIELDS]
    if missing or extra:
        return math.inf, f"fields missing {missing}, unknown {extra}"
    for f in case["files"]:
        if not (folder / f).is_file():
            return math.inf, f"no file {f}"
    tensors, dtypes = load_safetensors(folder / "tensors.safetensors")
    want = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[case["dtype"]]
    odd = {k: v for k, v in dtypes.items() if v != (("I32") if k in ("lengths", "mask") else want)}
    if odd:
        return math.inf, f"dtypes {odd}"
    got = reference(case, tensors)
    worst = 0.0
    for name in case["outputs"]:
        err, why = compare(tensors[name], got[name], case["tolerance_suggestion"])
        worst = max(worst, err)
        if why:
            return worst, f"{name}: {why}"
    return worst, None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    root, only = pathlib.Path(sys.argv[1]), set(sys.argv[2:])
    passed = failed = 0
    with np.errstate(all="ignore"):
        for folder in sorted(p.parent for p in root.glob("*/case.json")):
            if only and folder.name not in only:
                continue
            try:
                err, why = check(folder)
            except Exception as e:
                err, why = math.inf, f"{type(e).__name__}: {e}"
            passed, failed = passed + (why is None), failed + (why is not None)
            print(f"{'ok  ' if why is None else 'FAIL'} {folder.name:45} {err:.3e}{'' if why is None else '  ' + why}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
