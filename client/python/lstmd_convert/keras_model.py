# SPDX-License-Identifier: Apache-2.0
"""Reads the configuration of a Keras model: is it a stack of LSTM layers, and what is its spec?"""

import dataclasses

from . import spec as specs
from .errors import ConvertError

# Keras 3 spells out how a Masking layer makes its mask: any(not_equal(x, value)), beside the line of layers.
MASK_OPERATIONS = ("NotEqual", "Any")
# Layers that do nothing to the numbers when a model runs.
INERT = ("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "ActivityRegularization")
PARAMETERLESS = {
    "tanh": "TANH",
    "sigmoid": "SIGMOID",
    "relu": "RELU",
    "linear": "LINEAR",
    "softsign": "SOFTSIGN",
    "softplus": "SOFTPLUS",
    "selu": "SELU",
    "silu": "SILU",
    "swish": "SILU",
    "gelu": "GELU",
}


@dataclasses.dataclass
class Layer:
    """One layer that has weights."""

    kind: str  # lstm, bidirectional, dense, time_distributed
    name: str  # the user's
    config: dict
    container: str = ""  # where Keras 3 keeps its weights: layers/CONTAINER


def activation(value, version, where):
    """A Keras activation as JSON of lstmd.v1.Activation."""
    parameters = {}
    if isinstance(value, dict):  # a serialized function or layer
        parameters = value.get("config") if isinstance(value.get("config"), dict) else {}
        inner = value.get("config") if isinstance(value.get("config"), str) else None
        value = inner or {"LeakyReLU": "leaky_relu", "ELU": "elu", "ReLU": "relu"}.get(value.get("class_name"))
    name = "linear" if value is None and not parameters else value
    if name in PARAMETERLESS and not set(parameters) - {"name", "dtype", "trainable"}:
        return {"function": PARAMETERLESS[name]}
    if name == "hard_sigmoid":
        return {"function": "HARD_SIGMOID", "alpha": 0.2 if version == 2 else 1 / 6, "beta": 0.5}
    if name == "elu":
        return {"function": "ELU", "alpha": float(parameters.get("alpha", 1.0))}
    if name == "leaky_relu":
        slope = parameters.get("negative_slope", parameters.get("alpha", 0.3 if parameters else 0.2))
        return {"function": "LEAKY_RELU", "alpha": float(slope)}
    known = ", ".join(sorted([*PARAMETERLESS, "hard_sigmoid", "elu", "leaky_relu"]))
    raise ConvertError(f"{where}: activation {value!r} is not supported; supported are {known}")


def cell_activations(config, version, where):
    cell = activation(config.get("activation", "tanh"), version, where)
    gate = activation(config.get("recurrent_activation", "sigmoid"), version, where)
    return {"gate": gate, "cell": cell, "output": cell}


def class_of(layer):
    return layer.get("class_name") if isinstance(layer, dict) else None


def config_of(layer, where="the model"):
    config = layer.get("config") if isinstance(layer, dict) else None
    if not isinstance(config, dict):
        raise ConvertError(f"{where}: the configuration lacks a layer's settings")
    return config


def chain(model):
    """The layers of a Sequential or Functional model from input to output. Refuses what is not one line."""
    config, kind = config_of(model), class_of(model)
    layers = config.get("layers")
    if kind not in ("Sequential", "Functional", "Model") or not isinstance(layers, list):
        raise ConvertError(
            f"a model of class {kind!r} is not a stack of layers; only Sequential and Functional models convert"
        )
    if kind == "Sequential":
        return layers
    inputs, sides, previous, line = set(), set(), None, []
    for layer in layers:
        name = layer.get("name") or config_of(layer).get("name")
        if class_of(layer) == "InputLayer":
            inputs.add(name)
            line.append(layer)
            continue
        sources = incoming(layer.get("inbound_nodes"), name)
        if class_of(layer) in MASK_OPERATIONS and set(sources) <= inputs | sides:
            sides.add(name)
            continue
        allowed = inputs | sides if previous is None else inputs | sides | {previous}
        mains = inputs if previous is None else {previous}
        if not sources or sources[0] not in mains or set(sources) - allowed:
            raise ConvertError(f"layer {name!r} takes {sources}, want one line of layers from the input to the output")
        line.append(layer)
        previous = name
    outputs = {entry[0] for entry in pairs(config.get("output_layers"))}
    if outputs != {previous}:
        raise ConvertError(
            f"the outputs are those of {sorted(map(str, outputs))}, want only the last layer's, {previous!r}"
        )
    return line


def pairs(value):
    """[["lstm", 0, 0], …], or ["lstm", 0, 0] where there is one."""
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = [value]
    return [v for v in value or [] if isinstance(v, list) and v and isinstance(v[0], str)]


def incoming(nodes, name):
    """Names of the layers whose outputs a layer takes, in order. Keras 2 lists them, in Keras 3 they are arguments."""
    if not isinstance(nodes, list) or len(nodes) != 1:
        raise ConvertError(f"layer {name!r} is used {len(nodes or [])} times, want once")
    node, out, depth = nodes[0], [], 0

    def walk(value, depth):
        if depth > 16:
            raise ConvertError(f"layer {name!r}: its arguments are nested too deeply")
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            history = config_of(value).get("keras_history")
            out.append(str(history[0]) if isinstance(history, list) and history else "?")
        elif isinstance(value, dict):
            for v in value.values():
                walk(v, depth + 1)
        elif isinstance(value, list):
            if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
                out.append(value[0])
                walk(value[3:], depth + 1)
            else:
                for v in value:
                    walk(v, depth + 1)

    walk(node, depth)
    return out


def read(model, version, notes):
    """(spec without input_size, Layers in order) of a model's configuration."""
    found, counters = [], {}
    for layer in chain(model):
        kind, config = class_of(layer), config_of(layer)
        name = str(config.get("name", kind))
        snake = "".join("_" + c.lower() if c.isupper() and k else c.lower() for k, c in enumerate(str(kind)))
        snake = {"l_s_t_m": "lstm"}.get(snake, snake)
        count = counters.get(snake, 0)
        counters[snake] = count + 1
        container = snake if count == 0 else f"{snake}_{count}"
        if kind == "InputLayer" or kind in INERT:
            continue
        if kind == "Masking":
            notes.append(
                f"layer {name!r} masks steps whose features are all {config.get('mask_value')}: send that as a mask"
            )
            continue
        inner = (
            config_of(config["layer"], name)
            if kind in ("Bidirectional", "TimeDistributed") and "layer" in config
            else {}
        )
        wrapped = class_of(config.get("layer"))
        if any(l.kind in ("dense", "time_distributed") for l in found):
            raise ConvertError(f"layer {name!r} ({kind}) comes after the dense layer, want nothing there")
        if kind == "LSTM":
            found.append(Layer("lstm", name, config, container))
        elif kind == "Bidirectional" and wrapped == "LSTM":
            found.append(Layer("bidirectional", name, config, container))
        elif (kind == "Dense" or (kind == "TimeDistributed" and wrapped == "Dense")) and found:
            found.append(Layer("dense" if kind == "Dense" else "time_distributed", name, inner or config, container))
        else:
            what = f"{kind} of {wrapped}" if wrapped else str(kind)
            raise ConvertError(
                f"layer {name!r} ({what}) is not part of an LSTM stack: InputLayer, Masking, LSTM, "
                "Bidirectional(LSTM), Dropout and one Dense at the end are"
            )
    if not any(l.kind in ("lstm", "bidirectional") for l in found):
        raise ConvertError("the model has no LSTM layer")
    return stack_spec(found, version), found


def stack_spec(found, version):
    head = found[-1] if found[-1].kind in ("dense", "time_distributed") else None
    stack = found[:-1] if head else found
    described = [describe(layer, version) for layer in stack]
    for layer, one in zip(stack[1:], described[1:]):
        for key in one:
            if one[key] != described[0][key] and key not in ("padding_output", "sequences"):
                raise ConvertError(
                    f"layer {layer.name!r} has {key} {one[key]!r}, the first has {described[0][key]!r}; want the same"
                )
    for layer, one in zip(stack[:-1], described[:-1]):
        if not one["sequences"]:
            raise ConvertError(
                f"layer {layer.name!r} hands on its last output only (return_sequences is false), want all"
            )
    spec = {**described[-1], "num_layers": len(stack)}
    spec.pop("sequences")
    if head:
        function = activation(head.config.get("activation"), version, f"layer {head.name!r}")
        spec["head"] = {
            "output_size": head.config.get("units"),
            "bias": head.config.get("use_bias", True),
            "activation": function,
        }
    return {k: v for k, v in spec.items() if v is not None}


def describe(layer, version):
    """The spec's fields of one layer, and whether it returns sequences."""
    config, both = layer.config, layer.kind == "bidirectional"
    forward = config_of(config["layer"], layer.name) if both else config
    where = f"layer {layer.name!r}"
    units = forward.get("units")
    if not isinstance(units, int) or isinstance(units, bool):
        raise ConvertError(f"{where}: units {units!r}, want a number")
    out = {
        "hidden_size": units,
        "bias": bool(forward.get("use_bias", True)),
        "direction": specs.DIRECTIONS["go_backwards"] if forward.get("go_backwards") else None,
        "merge_mode": None,
        "activations": cell_activations(forward, version, where),
        "reverse_activations": None,
        "sequences": bool(forward.get("return_sequences")),
        "padding_output": "PADDING_OUTPUT_REPEAT_LAST",
    }
    if forward.get("zero_output_for_mask"):
        out["padding_output"] = "PADDING_OUTPUT_ZEROS"
    if not both:
        return out
    mode = config.get("merge_mode", "concat")
    if mode not in specs.MERGE_MODES:
        raise ConvertError(
            f"{where}: merge_mode {mode!r} gives two outputs; want one of {', '.join(specs.MERGE_MODES)}"
        )
    if forward.get("go_backwards"):
        raise ConvertError(f"{where}: its forward layer goes backwards, want a forward one")
    backward = forward if config.get("backward_layer") is None else config_of(config["backward_layer"], layer.name)
    if class_of(config.get("backward_layer") or config["layer"]) != "LSTM":
        raise ConvertError(f"{where}: its backward layer is no LSTM")
    if (backward.get("units"), bool(backward.get("use_bias", True))) != (units, out["bias"]):
        raise ConvertError(f"{where}: its two directions differ in units or use_bias, want the same")
    reverse = cell_activations(backward, version, where)
    out["reverse_activations"] = None if reverse == out["activations"] else reverse
    out["direction"], out["merge_mode"] = specs.DIRECTIONS["bidirectional"], specs.MERGE_MODES[mode]
    if out["sequences"]:  # Bidirectional sets zero_output_for_mask on both
        out["padding_output"] = "PADDING_OUTPUT_ZEROS"
    return out
