# SPDX-License-Identifier: Apache-2.0
"""The JSON form of lstmd.v1.ModelSpec as a dict: what a file says, completed by what the user says."""

import json
import re

from .errors import ConvertError

# Field names of lstmd.v1.ModelSpec; the server checks the values.
FIELDS = frozenset(
    """input_size hidden_size num_layers direction merge_mode projection_size bias activations reverse_activations
    peepholes clip input_forget head precision learned_initial_state padding_output zero_length_state""".split()
)
# What the shapes of the weights say for themselves.
FROM_SHAPES = ("input_size", "hidden_size", "num_layers", "projection_size", "bias")
DIRECTIONS = {
    "forward": "DIRECTION_FORWARD",
    "reverse": "DIRECTION_REVERSE",
    "go_backwards": "DIRECTION_GO_BACKWARDS",
    "bidirectional": "DIRECTION_BIDIRECTIONAL",
}
MERGE_MODES = {m: "MERGE_MODE_" + m.upper() for m in ("concat", "sum", "mul", "ave")}


def load(path):
    """A spec file. Names in snake_case or lowerCamelCase."""
    try:
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
    except (ValueError, RecursionError) as e:
        raise ConvertError(f"{path}: not JSON: {e}") from None
    if not isinstance(value, dict):
        raise ConvertError(f"{path}: the spec is not a JSON object")
    value = {re.sub("[A-Z]", lambda m: "_" + m.group().lower(), k): v for k, v in value.items()}
    unknown = sorted(set(value) - FIELDS)
    if unknown:
        raise ConvertError(f"{path}: unknown field {unknown[0]!r}; a spec has {', '.join(sorted(FIELDS))}")
    return value


def merge(inferred, given):
    """`inferred` with the fields of `given` over it. What the weights themselves say cannot be overruled."""
    for name in FROM_SHAPES:
        if name in given and name in inferred and given[name] != inferred[name]:
            raise ConvertError(f"the spec says {name} {given[name]!r}, the weights have {inferred[name]!r}")
    both = ("head", given.get("head"), inferred.get("head"))
    out = {**inferred, **given}
    if isinstance(both[1], dict) and isinstance(both[2], dict):
        out["head"] = {**both[2], **both[1]}
    return out


def sizes(input_size, hidden_size, num_layers, bidirectional, bias, projection=0):
    spec = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers, "bias": bias}
    if bidirectional:
        spec["direction"] = DIRECTIONS["bidirectional"]
    if projection:
        spec["projection_size"] = projection
    return spec


def layer_output(spec):
    """Features that a layer hands on."""
    size = spec.get("projection_size") or spec["hidden_size"]
    twice = spec.get("direction") == DIRECTIONS["bidirectional"]
    return size * (2 if twice and spec.get("merge_mode", MERGE_MODES["concat"]) == MERGE_MODES["concat"] else 1)
