#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vary.py CASES OUT [SEED]: the same kinds of case with other sizes, weights and inputs.

Each case of CASES gives one of the same name and options in OUT; its results are computed by check.py in float64. Needs
numpy, nothing else. Prints the seed.
"""

import json
import pathlib
import random
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "generators")]

import check  # noqa: E402
import common  # noqa: E402

TAME = {"tanh", "sigmoid", "hard_sigmoid", "softsign"}  # functions that keep a long sequence in bounds


class Variation:
    def __init__(self, case, names, rng):
        self.rng, self.names, self.tensors = rng, names, {}
        tame = all(a["fn"] in TAME for one in case["activation_spec"] for a in one.values())
        case = self.case = {**case, "set": "varied", "category": "basic", "seed_document": None, "files": []}
        case["input_size"], case["hidden_size"] = self.size(40), self.size(130 if tame else 20, 2)
        if case["proj_size"]:
            case["proj_size"] = int(rng.integers(1, case["hidden_size"]))
        if case["kind"] == "layer" and case["num_layers"] > 1:
            case["num_layers"] = int(rng.integers(1, 4))
        self.batch = 1 if case["batch_size"] is None else self.size(9)
        case["batch_size"] = None if case["batch_size"] is None else self.batch
        self.steps = self.size(30 if tame else 7)
        case["seq_len"] = self.steps if case["seq_len"] is not None else None
        self.steps = case["seq_len"] or 1
        self.scale = (1.2 if tame else 0.5) / np.sqrt(case["hidden_size"])

    def size(self, most, least=1):
        """Small ones, and some large ones."""
        return int(self.rng.integers(least, most + 1 if self.rng.random() < 0.4 else max(least + 1, most // 4)))

    def put(self, name, values):
        """Stores floats in the case's type, and keeps what that type made of them."""
        values = np.asarray(values, np.float32)
        if self.case["dtype"] == "bfloat16":
            bits = values.view(np.uint32)
            half = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
            self.tensors[name] = common.Raw("BF16", values.shape, half.tobytes())
            return (half.astype(np.uint32) << 16).view(np.float32).reshape(values.shape)
        self.tensors[name] = values.astype(self.case["dtype"])
        return self.tensors[name].astype(np.float32)

    def weight(self, name, *shape):
        self.values[name] = self.put(name, self.rng.uniform(-1, 1, shape) * self.scale)
        return common.ref(name)

    def make(self):
        case, rng = self.case, self.rng
        self.values = {}
        hidden, state = case["hidden_size"], case["proj_size"] or case["hidden_size"]
        directions = 2 if case["bidirectional"] else 1
        width, like, params = case["input_size"], case["params"][0][0], []
        joined = directions if case["merge_mode"] in (None, "concat") else 1
        for layer in range(case["num_layers"]):
            row = []
            for d in range(directions):
                shapes = {
                    "w_ih": (4 * hidden, width),
                    "w_hh": (4 * hidden, state),
                    "b_ih": (4 * hidden,),
                    "b_hh": (4 * hidden,),
                    "w_hr": (state, hidden),
                    "peep": (3 * hidden,),
                }
                row.append({k: self.weight(f"{k}.{layer}.{d}", *shapes[k]) for k, r in like.items() if r is not None})
            params.append(row)
            width = state * joined
        case["params"] = params
        if case["head"]:
            size = self.size(9)
            case["head"] = {
                **case["head"],
                "weight": self.weight("head.w", size, width),
                "bias": self.weight("head.b", size),
            }
        if case["initial_state"]:
            self.states(case["num_layers"] * directions, state, hidden)
        valid = self.padding()
        layout = {"T": self.steps, "B": self.batch, "I": case["input_size"]}
        for call in range(case["calls"]):
            name = "input" if call == 0 else f"input_{call + 1}"
            x = rng.standard_normal([layout[c] for c in case["input_layout"]])
            if case["mask_value"] is not None:
                x[~(valid if case["input_layout"] == "BTI" else valid.T)] = case["mask_value"]
            self.values[name] = self.put(name, x)
        with np.errstate(all="ignore"):
            got = check.reference(case, self.values)
        for name in case["outputs"]:
            self.put(name, got[name])

    def states(self, cells, state, hidden):
        for which, size in (("h0", state), ("c0", hidden)):
            split = f"{which}_forward" in self.names
            shape = {"L": cells, "B": self.batch, "H": size}
            for name in [f"{which}_forward", f"{which}_backward"] if split else [which]:
                at = [self.batch, size] if split else [shape[c] for c in self.case["state_layout"]]
                self.values[name] = self.put(name, self.rng.standard_normal(at) * 0.7)

    def padding(self):
        """Lengths or a mask; returns what is valid, [batch, time]."""
        case, rng = self.case, self.rng
        valid = np.ones((self.batch, self.steps), bool)
        if case["has_lengths"]:
            least = 0 if case["zero_length_state"] else 1
            lengths = rng.integers(least, self.steps + 1, self.batch).astype(np.int32)
            self.tensors["lengths"] = self.values["lengths"] = lengths
            valid = np.arange(self.steps) < lengths[:, None]
        if case["has_mask"]:
            valid = rng.random(valid.shape) < 0.6
            self.tensors["mask"] = self.values["mask"] = valid.astype(np.int32)
        return valid


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    source, target = map(pathlib.Path, sys.argv[1:3])
    seed = int(sys.argv[3]) if len(sys.argv) == 4 else random.randrange(1 << 31)
    print(f"seed {seed}")
    for k, path in enumerate(sorted(source.glob("*/case.json"))):
        case = json.loads(path.read_text())
        names, _ = check.load_safetensors(path.parent / "tensors.safetensors")
        variation = Variation(case, set(names), np.random.default_rng([seed, k]))
        variation.make()
        folder = target / case["name"]
        folder.mkdir(parents=True, exist_ok=True)
        common.save_safetensors(folder / "tensors.safetensors", variation.tensors)
        variation.case["files"] = ["tensors.safetensors"]
        (folder / "case.json").write_text(json.dumps(variation.case, indent=1) + "\n")


if __name__ == "__main__":
    main()
