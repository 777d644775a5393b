# SPDX-License-Identifier: Apache-2.0
"""Finds the LSTM among the named weights of a torch, Paddle or MindSpore model; its shapes tell the spec."""

import re

from . import spec as specs
from .errors import ConvertError
from .tensors import Tensor, gather

ROLES = "weight_ih|weight_hh|bias_ih|bias_hh|weight_hr|weight_ho"
STACKED = re.compile(rf"^(?P<prefix>(?:.*[./])?)(?P<role>{ROLES})_l(?P<layer>\d{{1,3}})(?P<reverse>_reverse)?$")
# Paddle, RNN and BiRNN over cells, and a second set of names of its LSTM: 0.cell_fw.weight_ih.
PADDLE = re.compile(rf"^(?P<prefix>(?:.*?\.)??)(?:(?P<layer>\d{{1,3}})\.)?cell(?:_(?P<way>fw|bw))?\.(?P<role>{ROLES})$")
CELL = re.compile(rf"^(?P<prefix>(?:.*[./])?)(?P<role>{ROLES})$")
NO_LSTM = "no LSTM found: no weights are named weight_ih_l0 (LSTM), 0.cell.weight_ih (Paddle) or weight_ih (LSTMCell)"


class Found:
    """The weights of one LSTM: (layer, direction) -> role -> (name without the prefix, tensor)."""

    def __init__(self):
        self.cells, self.names = {}, set()

    def add(self, prefix, name, layer, direction, role, tensor):
        self.cells.setdefault((layer, direction), {})[role] = (name[len(prefix) :], tensor)
        self.names.add(name)


def search(tensors, paddle):
    """prefix -> Found. Paddle's LSTM has each weight under two names, of which those with `_l0` are wrong where it
    has a projection: the others are taken."""
    found, second = {}, {}
    for name, t in tensors.items():
        m = PADDLE.match(name) if paddle else None
        if m:
            where = found.setdefault(m["prefix"], Found())
            where.add(m["prefix"], name, int(m["layer"] or 0), int(m["way"] == "bw"), m["role"], t)
            continue
        m = STACKED.match(name)
        if m:
            where = (second if paddle else found).setdefault(m["prefix"], Found())
            where.add(m["prefix"], name, int(m["layer"]), int(bool(m["reverse"])), m["role"], t)
            continue
        m = CELL.match(name)
        if m:
            found.setdefault(m["prefix"], Found()).add(m["prefix"], name, 0, 0, m["role"], t)
    for prefix, other in second.items():
        if prefix in found:
            found[prefix].names |= other.names
        else:
            found[prefix] = other
    return found


def choose(found, layer):
    if not found:
        raise ConvertError(NO_LSTM)
    bare = {p.rstrip("./"): p for p in found}
    if layer is not None:
        if layer.rstrip("./") not in bare:
            raise ConvertError(f"no LSTM named {layer!r}; there is {names(bare)}")
        return bare[layer.rstrip("./")]
    if len(found) > 1:
        raise ConvertError(f"{len(found)} LSTMs: {names(bare)}; say which with --layer NAME")
    return next(iter(found))


def names(bare):
    listed = sorted(bare)
    return ", ".join(repr(n) for n in listed[:8]) + (" …" if len(listed) > 8 else "")


def convert(tensors, layout, options):
    """(spec, tensors, layout). `tensors` is a flat dict of name -> Tensor."""
    tensors = {k: v for k, v in tensors.items() if isinstance(v, Tensor)}
    found = search(tensors, layout == "paddle")
    if not found and layout == "mindspore":
        return flat(tensors, options)
    if options.layout not in (None, layout):
        raise ConvertError(f"--layout {options.layout}: the file holds named matrices (layout {layout})")
    prefix = choose(found, options.layer)
    here = found[prefix]
    spec, used = check(here.cells, prefix, paddle=layout == "paddle")
    out = {name: t.as_weight(prefix + name) for name, t in used.items()}
    left = set(tensors) - here.names
    if options.head:
        left -= add_head(tensors, options.head, spec, out, transposed=layout == "paddle")
    if left and options.layer is None and not options.head:
        raise ConvertError(
            f"the file holds more than the LSTM {prefix.rstrip('./') or '(at its top)'!r}: {names(left)}. Say --head "
            "NAME for a dense layer after the LSTM, or --layer NAME to take the LSTM alone"
        )
    if layout == "paddle" and "projection_size" in spec:
        spec["padding_output"] = "PADDING_OUTPUT_CELL"
    return spec, out, layout


def check(cells, prefix, paddle):
    """The spec that the shapes say; every weight must be there with the shape that follows from it."""
    layers = 1 + max(layer for layer, _ in cells)
    directions = 1 + max(d for _, d in cells)
    missing = [(k, d) for k in range(layers) for d in range(directions) if (k, d) not in cells]
    if missing:
        k, d = missing[0]
        raise ConvertError(
            f"LSTM {prefix!r}: layer {k} has no weights for the {'backward' if d else 'forward'} direction"
        )
    first = cells[0, 0]
    for role in ("weight_ih", "weight_hh"):
        if role not in first or len(first[role][1].shape) != 2:
            raise ConvertError(f"{prefix}{role} of layer 0 is missing or not a matrix")
    rows, inputs = first["weight_ih"][1].shape
    if rows % 4 or rows == 0 or inputs == 0:
        raise ConvertError(f"{prefix}{first['weight_ih'][0]} has shape [{rows}, {inputs}], want [4 H, I]")
    hidden, bias = rows // 4, "bias_ih" in first
    projection = ("weight_ho" if paddle else "weight_hr") in first
    out_size = first["weight_hh"][1].shape[1] if projection else hidden
    used = {}
    for (layer, _), roles in sorted(cells.items()):
        width = inputs if layer == 0 else out_size * directions
        want = {"weight_ih": (rows, width), "weight_hh": (rows, out_size)}
        if bias:
            want |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if projection:
            want |= {"weight_ho": (hidden, out_size)} if paddle else {"weight_hr": (out_size, hidden)}
        for role, shape in want.items():
            if role not in roles:
                raise ConvertError(f"LSTM {prefix!r}: layer {layer} has no {role}")
            name, t = roles[role]
            if t.shape != shape:
                raise ConvertError(f"{prefix}{name} has shape {list(t.shape)}, want {list(shape)}")
            used[name] = t
        extra = sorted(set(roles) - set(want))
        if extra:
            raise ConvertError(f"LSTM {prefix!r}: layer {layer} has {extra[0]}, which layer 0 has not")
    return specs.sizes(inputs, hidden, layers, directions == 2, bias, out_size if projection else 0), used


def add_head(tensors, head, spec, out, transposed):
    """Takes a dense layer as the model's head; returns the names it used."""
    weight = tensors.get(head + ".weight")
    width = specs.layer_output(spec)
    if weight is None or len(weight.shape) != 2 or weight.shape[0 if transposed else 1] != width:
        have = "is missing" if weight is None else f"has shape {list(weight.shape)}"
        want = f"[{width}, O]" if transposed else f"[O, {width}]"
        raise ConvertError(f"--head {head}: {head}.weight {have}, want {want}")
    weight = weight.as_weight(head + ".weight")
    bias = tensors.get(head + ".bias")
    size = weight.shape[1 if transposed else 0]
    out["head.weight"] = transpose(weight) if transposed else weight
    used = {head + ".weight"}
    if bias is not None:
        if bias.shape != (size,):
            raise ConvertError(f"--head {head}: {head}.bias has shape {list(bias.shape)}, want [{size}]")
        out["head.bias"] = bias.as_weight(head + ".bias")
        used.add(head + ".bias")
    spec["head"] = {"output_size": size, "bias": bias is not None}
    return used


def transpose(t):
    rows, columns = t.shape
    item = t.nbytes // max(1, rows * columns)
    return Tensor(t.dtype, (columns, rows), lambda: gather(t.data(), item, 0, (columns, rows), (1, columns)))


def flat(tensors, options):
    """MindSpore's one vector for all weights; its length alone does not tell the sizes."""
    vectors = {n: t for n, t in tensors.items() if max(t.shape, default=1) == t.nbytes // 4 and t.dtype == "F32"}
    if options.layer is not None:
        vectors = {n: t for n, t in vectors.items() if n == options.layer}
    if len(vectors) != 1 or (options.layer is None and len(tensors) != 1):
        raise ConvertError(NO_LSTM)
    name, t = next(iter(vectors.items()))
    count = t.nbytes // 4
    if not options.input_size or not options.hidden_size:
        raise ConvertError(
            f"{name} is one vector of {count} numbers: say --input-size and --hidden-size (and --num-layers, "
            "--bidirectional, --no-bias as the layer had them)"
        )
    layout = options.layout or "mindspore_flat"
    if layout not in ("mindspore_flat", "mindspore_ops_cpu"):
        raise ConvertError(f"--layout {layout}: {name} is one vector; want mindspore_flat or mindspore_ops_cpu")
    hidden, layers, directions = options.hidden_size, options.num_layers, 2 if options.bidirectional else 1
    biases = 0 if options.no_bias else 2 if layout == "mindspore_flat" else 1
    want = 0
    for layer in range(layers):
        width = options.input_size if layer == 0 else hidden * directions
        want += directions * 4 * hidden * (width + hidden + biases)
    if want != count:
        raise ConvertError(f"{name} has {count} numbers, want {want} for these sizes in the layout {layout}")
    spec = specs.sizes(options.input_size, hidden, layers, directions == 2, not options.no_bias)
    return spec, {"w": t}, layout
