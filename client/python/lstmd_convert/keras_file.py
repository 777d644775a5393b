# SPDX-License-Identifier: Apache-2.0
"""Keras files: .keras (zip of config.json and model.weights.h5), .weights.h5, and the older .h5 of Keras 2.

Weights are written under names in the order of the stack, whatever the user called the layers: lstm/lstm_cell/kernel,
lstm_1/…, bidirectional/forward_lstm/lstm_cell/kernel, dense/kernel.
"""

import io
import json
import math
import os
import re
import zipfile

from . import keras_model
from . import spec as specs
from .errors import ConvertError
from .tensors import Tensor
from .torch_file import entry

MAX_CONFIG, MAX_WEIGHTS = 64 << 20, 8 << 30
DTYPES = {"<f4": "F32", "<f2": "F16", "<f8": "F64"}
MISSING = "Keras files need the package h5py: pip install h5py"
CELL = ("kernel", "recurrent_kernel", "bias")


def convert(path, options, given, notes):
    """(spec, tensors) of a Keras file."""
    try:
        import h5py
    except ImportError:
        raise ConvertError(f"{path}: {MISSING}") from None
    model, version, weights = open_parts(path)
    try:
        with h5py.File(weights, "r") as h5:
            file = Weights(h5, path, h5py)
            if model is None and "model_config" in h5.attrs:
                model = parse(h5.attrs["model_config"], f"{path}: model_config")
                version = version or major(h5.attrs.get("keras_version"))
            if model is not None:
                version = options.keras_version or version or module_version(model)
                if version not in (2, 3):
                    raise ConvertError(f"{path}: written by an unknown Keras version; say --keras-version 2 or 3")
                spec, layers = keras_model.read(model, version, notes)
            else:
                spec, layers = without_config(file, options, given)
            tensors = collect(file, layers, spec)
    except OSError as e:
        raise ConvertError(f"{path}: not an HDF5 file, or a damaged one: {e}") from None
    except RuntimeError as e:
        raise ConvertError(f"{path}: damaged HDF5 file: {e}") from None
    return spec, tensors


def open_parts(path):
    """(configuration or None, major version or None, file or bytes of the weights)."""
    if not zipfile.is_zipfile(path):
        if str(path).endswith(".keras"):
            raise ConvertError(f"{path}: not a .keras file (a zip archive is wanted), or a truncated one")
        return None, None, str(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as e:
        raise ConvertError(f"{path}: truncated or damaged zip archive: {e}") from None
    with archive:
        parts = {info.filename: info for info in archive.infolist()}
        for name in ("config.json", "model.weights.h5"):
            if name not in parts:
                raise ConvertError(f"{path}: a .keras file without {name}")
        model = parse(entry(archive, parts["config.json"], MAX_CONFIG, path), f"{path}: config.json")
        version = None
        if "metadata.json" in parts:
            metadata = parse(entry(archive, parts["metadata.json"], MAX_CONFIG, path), f"{path}: metadata.json")
            version = major(metadata.get("keras_version"))
        limit = min(MAX_WEIGHTS, 64 * os.path.getsize(path) + (1 << 20))
        return model, version, io.BytesIO(entry(archive, parts["model.weights.h5"], limit, path))


def parse(text, where):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError, TypeError):
        raise ConvertError(f"{where}: not JSON") from None
    if not isinstance(value, dict):
        raise ConvertError(f"{where}: not a JSON object")
    return value


def major(version):
    if isinstance(version, bytes):
        version = version.decode("utf-8", "replace")
    m = re.match(r"(\d+)\.", version) if isinstance(version, str) else None
    return int(m[1]) if m else None


def module_version(model):
    module = str(model.get("module", ""))
    return 2 if module.startswith("tf_keras") else None


class Weights:
    """The datasets of an HDF5 file. Follows no link out of the file and believes no size that the file cannot hold."""

    def __init__(self, h5, path, h5py):
        self.h5, self.path, self.h5py = h5, path, h5py
        self.size = h5.id.get_filesize()

    def find(self, *parts):
        """The group or dataset at a path, or None."""
        node = self.h5
        for part in "/".join(parts).split("/"):
            if not isinstance(node, self.h5py.Group) or part in ("", ".", "..") or node.get(part, getlink=True) is None:
                return None
            if not isinstance(node.get(part, getlink=True), self.h5py.HardLink):
                raise ConvertError(f"{self.path}: {'/'.join(parts)} is a link, which is not followed")
            node = node[part]
        return node

    def groups(self, name):
        node = self.find(name)
        return list(node) if isinstance(node, self.h5py.Group) else []

    def tensor(self, node, where):
        if not isinstance(node, self.h5py.Dataset):
            raise ConvertError(f"{self.path}: the file has no weight {where}")
        dtype = DTYPES.get(node.dtype.newbyteorder("<").str if node.dtype.kind == "f" else "")
        if dtype is None:
            raise ConvertError(f"{self.path}: {where} has element type {node.dtype}; weights are floats")
        if node.external or node.is_virtual:
            raise ConvertError(f"{self.path}: {where} lies in another file, which is not read")
        if math.prod(node.shape) * node.dtype.itemsize > 64 * self.size:
            raise ConvertError(
                f"{self.path}: {where} claims the shape {list(node.shape)}, the file has {self.size} bytes"
            )
        data = node[()].astype(node.dtype.newbyteorder("<")).tobytes()
        return Tensor(dtype, node.shape, lambda: data).as_weight(where)

    def by_names(self, layer):
        """The weights of a layer of the older format, in order, or None: each layer's group lists its names."""
        root = self.find("model_weights") if "model_weights" in self.h5 else self.h5
        prefix = ("model_weights",) if "model_weights" in self.h5 else ()
        if root is None or "layer_names" not in root.attrs:
            return None
        group = self.find(*prefix, layer)
        if group is None or "weight_names" not in group.attrs:
            raise ConvertError(f"{self.path}: the file has no weights of layer {layer!r}")
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs["weight_names"]]
        return [self.tensor(self.find(*prefix, layer, n), n) for n in names]

    def by_vars(self, *parts):
        """The weights of a layer of the newer format, in order: numbered datasets in a group `vars`."""
        group = self.find(*parts, "vars")
        count = len(group) if isinstance(group, self.h5py.Group) else 0
        return [self.tensor(self.find(*parts, "vars", str(k)), "/".join((*parts, str(k)))) for k in range(count)]

    def container(self, layer):
        """The group of a layer of the newer format: Keras 3 notes the user's name, else its class is numbered."""
        for name in self.groups("layers"):
            group = self.find("layers", name, "vars")
            noted = group.attrs.get("name") if group is not None else None
            noted = noted.decode("utf-8", "replace") if isinstance(noted, bytes) else noted
            if noted == layer.name and name.startswith(layer.container.rstrip("_0123456789")):
                return name
        return layer.container


def collect(file, layers, spec):
    """The weights of the layers under their names in the stack. Completes `spec` with input_size."""
    out, count = {}, 0
    for layer in layers:
        listed = file.by_names(layer.name)
        if layer.kind in ("lstm", "bidirectional"):
            base = layer.kind if count == 0 else f"{layer.kind}_{count}"
            count += 1
            ways = ("forward", "backward") if layer.kind == "bidirectional" else (None,)
            expected = 3 if spec["bias"] else 2
            if listed is not None and len(listed) != expected * len(ways):
                raise ConvertError(f"layer {layer.name!r} has {len(listed)} weights, want {expected * len(ways)}")
            for k, way in enumerate(ways):
                if listed is not None:
                    weights = listed[k * expected : (k + 1) * expected]
                else:
                    inner = (f"{way}_layer",) if way else ()
                    weights = file.by_vars("layers", file.container(layer), *inner, "cell")
                if len(weights) != expected:
                    raise ConvertError(f"layer {layer.name!r} has {len(weights)} weights, want {expected}")
                prefix = f"{base}/{way}_lstm/lstm_cell/" if way else f"{base}/lstm_cell/"
                check_cell(layer.name, weights, spec, count == 1)
                out.update((prefix + name, w) for name, w in zip(CELL, weights))
        else:
            inner = ("layer",) if layer.kind == "time_distributed" else ()
            weights = listed if listed is not None else file.by_vars("layers", file.container(layer), *inner)
            check_head(layer.name, weights, spec)
            out.update((f"dense/{name}", w) for name, w in zip(("kernel", "bias"), weights))
    return out


def check_cell(name, weights, spec, first):
    gates, hidden = 4 * spec["hidden_size"], spec["hidden_size"]
    rows = weights[0].shape[0] if len(weights[0].shape) == 2 else 0
    if first:
        spec.setdefault("input_size", rows)
    want = [(spec["input_size"] if first else specs.layer_output(spec), gates), (hidden, gates), (gates,)]
    for role, weight, shape in zip(CELL, weights, want):
        if weight.shape != shape or 0 in shape:
            raise ConvertError(f"layer {name!r}: {role} has shape {list(weight.shape)}, want {list(shape)}")


def check_head(name, weights, spec):
    size = spec["head"]["output_size"]
    want = [(specs.layer_output(spec), size), (size,)][: 2 if spec["head"]["bias"] else 1]
    if [w.shape for w in weights] != want:
        raise ConvertError(
            f"layer {name!r}: weights of shapes {[list(w.shape) for w in weights]}, want {[list(s) for s in want]}"
        )


def without_config(file, options, given):
    """(spec, layers) of a file that holds weights only: what the layers did must be told."""
    told = "activations" in given
    if not told and (options.activation is None or options.recurrent_activation is None):
        raise ConvertError(
            f"{file.path}: holds weights only. Say --activation and --recurrent-activation (tanh and sigmoid are "
            "Keras's defaults), or --spec lstm.json, or convert the .keras file"
        )
    names = file.groups("layers")
    legacy = "layer_names" in file.h5.attrs
    if legacy:
        listed = [n.decode() if isinstance(n, bytes) else str(n) for n in file.h5.attrs["layer_names"]]
        names = [n for n in listed if len(file.find(n).attrs.get("weight_names", ())) > 0] if listed else []
    order = sorted(names, key=lambda n: int(re.search(r"(\d*)$", n)[1] or 0)) if not legacy else names
    layers = [keras_model.Layer(kind, n, {}, n) for n in order for kind in kinds(n) if kind]
    stack = [layer for layer in layers if layer.kind in ("lstm", "bidirectional")]
    heads = [layer for layer in layers if layer not in stack]
    other = [n for n in order if not any(kinds(n)) and not legacy and holds_weights(file, n)]
    if not stack or len(heads) > 1 or other or len({layer.kind for layer in stack}) > 1:
        raise ConvertError(f"{file.path}: its layers {names} are not one stack of LSTM or of Bidirectional; want that")
    both = stack[0].kind == "bidirectional"
    if both and options.merge_mode is None and "merge_mode" not in given:
        raise ConvertError(f"{file.path}: holds Bidirectional layers; say --merge-mode (Keras's default is concat)")
    first = first_cell(file, stack[0], both)
    spec = {
        "hidden_size": first[1].shape[0],
        "bias": has_bias(first, both, legacy),
        "num_layers": len(stack),
        "padding_output": "PADDING_OUTPUT_REPEAT_LAST",
    }
    if not told:
        version = options.keras_version
        if version is None and "hard_sigmoid" in (options.activation, options.recurrent_activation):
            raise ConvertError("hard_sigmoid differs between Keras 2 and 3; say --keras-version")
        config = {"activation": options.activation, "recurrent_activation": options.recurrent_activation}
        spec["activations"] = keras_model.cell_activations(config, version or 3, "the options")
    if both:
        spec["direction"] = specs.DIRECTIONS["bidirectional"]
        spec["merge_mode"] = specs.MERGE_MODES[options.merge_mode] if options.merge_mode else given["merge_mode"]
        spec["padding_output"] = "PADDING_OUTPUT_ZEROS"
    if heads:
        raise ConvertError(f"{file.path}: has a dense layer, whose activation is not told; convert the .keras file")
    return spec, stack


def kinds(name):
    for kind in ("bidirectional", "lstm", "dense", "time_distributed"):
        if re.fullmatch(kind + r"(_\d+)?", name):
            return [kind]
    return [None]


def holds_weights(file, name):
    found = []
    group = file.find("layers", name)
    if group is not None:
        group.visititems(lambda _, node: found.append(node) if isinstance(node, file.h5py.Dataset) else None)
    return bool(found)


def first_cell(file, layer, both):
    inner = ("forward_layer",) if both else ()
    weights = file.by_names(layer.name) if "layer_names" in file.h5.attrs else None
    weights = file.by_vars("layers", layer.container, *inner, "cell") if weights is None else weights
    if len(weights) < 2 or len(weights[1].shape) != 2:
        raise ConvertError(
            f"{file.path}: layer {layer.name!r} has {len(weights)} weights, want kernel and recurrent_kernel"
        )
    return weights


def has_bias(weights, both, legacy):
    return len(weights) == (6 if both and legacy else 3)
