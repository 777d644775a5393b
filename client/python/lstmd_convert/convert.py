# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint file to a model file."""

import dataclasses
import json
import os
import pathlib

from . import keras_file, mindspore_file, paddle_file, safetensors_file, state_dict, torch_file
from . import spec as specs
from .errors import ConvertError
from .tensors import Tensor

LAYOUTS = ("torch", "paddle", "mindspore", "mindspore_flat", "mindspore_ops_cpu", "keras")
FORMATS = {
    ".pt": "torch",
    ".pth": "torch",
    ".pdparams": "paddle",
    ".ckpt": "mindspore",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".safetensors": "safetensors",
}
# Where training loops put the state_dict in a checkpoint.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")


@dataclasses.dataclass
class Options:
    """What a file may not say. See the command's --help."""

    spec: str | None = None
    layer: str | None = None
    head: str | None = None
    key: str | None = None
    layout: str | None = None
    direction: str | None = None
    input_size: int = 0
    hidden_size: int = 0
    num_layers: int = 1
    bidirectional: bool = False
    no_bias: bool = False
    activation: str | None = None
    recurrent_activation: str | None = None
    merge_mode: str | None = None
    keras_version: int | None = None


def convert(source, target, options=None):
    """Reads the checkpoint `source` and writes `target`. Returns (spec, layout, notes). Raises ConvertError or OSError;
    `target` is then as it was."""
    options = options or Options()
    source = pathlib.Path(source)
    kind = FORMATS.get(source.suffix.lower())
    if kind is None:
        raise ConvertError(f"{source}: unknown kind of file; known are {', '.join(FORMATS)}")
    if not source.is_file():
        raise ConvertError(f"{source}: no such file")
    if os.path.getsize(source) == 0:
        raise ConvertError(f"{source}: the file is empty")
    given = specs.load(options.spec) if options.spec else {}
    notes = []
    try:
        spec, tensors, layout = model(source, kind, options, given, notes)
    except ConvertError as e:
        raise e if str(source) in str(e) else ConvertError(f"{source}: {e}") from None
    metadata = {"format": "lstmd", "layout": layout, "lstm": json.dumps(spec)}
    safetensors_file.write(target, tensors, metadata)
    return spec, layout, notes


def model(source, kind, options, given, notes):
    """(spec, tensors, layout) of the checkpoint, completed by what the user says."""
    if kind == "keras":
        spec, tensors = keras_file.convert(source, options, given, notes)
        layout = "keras"
    else:
        tensors, layout = load(source, kind, options)
        spec, tensors, layout = state_dict.convert(tensors, layout, options)
    if options.direction:
        inferred = spec.get("direction", "DIRECTION_FORWARD")
        bidirectional = specs.DIRECTIONS["bidirectional"]
        spec["direction"] = specs.DIRECTIONS[options.direction]
        if (inferred == bidirectional) != (spec["direction"] == bidirectional):
            raise ConvertError(f"--direction {options.direction}: the weights are those of {inferred}")
    return specs.merge(spec, given), tensors, layout


def load(source, kind, options):
    """(tensors by name, layout) of the formats that hold a flat dict of weights."""
    if kind == "torch":
        return flat_dict(torch_file.read(source), source, options.key), "torch"
    if kind == "paddle":
        return flat_dict(paddle_file.read(source), source, options.key), "paddle"
    if kind == "mindspore":
        return mindspore_file.read(source), "mindspore"
    tensors, metadata = safetensors_file.read(source)
    layout = options.layout or (metadata.get("layout") if isinstance(metadata, dict) else None) or "torch"
    if layout not in ("torch", "paddle", "mindspore"):
        raise ConvertError(
            f"{source}: a safetensors file of layout {layout!r} is a model file already; no need to convert it"
        )
    return tensors, layout


def flat_dict(value, source, key):
    """The state_dict in what a file holds: it itself, or under a key that training loops use."""
    if key is not None:
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise ConvertError(f"{source}: --key {key}: there is no {part!r}")
            value = value[part]
    elif isinstance(value, dict) and not any(isinstance(v, Tensor) for v in value.values()):
        value = next((value[w] for w in WRAPPERS if isinstance(value.get(w), dict)), value)
    if not isinstance(value, dict) or not any(isinstance(v, Tensor) for v in value.values()):
        have = f"a dict with {list(value)[:8]}" if isinstance(value, dict) else f"a {type(value).__name__}"
        raise ConvertError(f"{source}: holds {have}, want a state_dict; --key NAME says where it is")
    return {k: v for k, v in value.items() if isinstance(k, str)}
