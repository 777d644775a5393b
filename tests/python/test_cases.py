# SPDX-License-Identifier: Apache-2.0
"""Every recorded checkpoint converts to the spec and, bit for bit, the weights that its case names."""

import pathlib
import tempfile
import unittest

import check
import files
import numpy as np

FUNCTIONS = {"scaled_tanh": "SCALED_TANH", "thresholded_relu": "THRESHOLDED_RELU"}


def names(case, layout, layer, direction):
    """role -> (name, transposed) of one cell in a model file."""
    torch = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "w_hr": "weight_hr"}
    if layout == "keras":
        base = "bidirectional" if case["bidirectional"] else "lstm"
        base += f"_{layer}" if layer else ""
        way = f"/{('forward', 'backward')[direction]}_lstm" if case["bidirectional"] else ""
        kernels = {"w_ih": "kernel", "w_hh": "recurrent_kernel", "b_ih": "bias"}
        return {role: (f"{base}{way}/lstm_cell/{k}", k != "bias") for role, k in kernels.items()}
    if layout == "paddle":
        torch["w_hr"] = "weight_ho"
        way = ("_fw", "_bw")[direction] if case["bidirectional"] else ""
        prefix = "" if case["kind"] == "cell" else "cell." if "RNN" in case["api"] else f"{layer}.cell{way}."
        return {role: (prefix + n, role == "w_hr") for role, n in torch.items()}
    end = (
        ""
        if case["kind"] != "layer" or case["api"].endswith("Cell")
        else f"_l{layer}" + ("_reverse" if direction else "")
    )
    return {role: (n + end, False) for role, n in torch.items()}


def activation(spec):
    out = {"function": FUNCTIONS.get(spec["fn"], spec["fn"].upper())}
    return out | {k: spec[k] for k in ("alpha", "beta") if spec[k] is not None}


class Cases(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def test_every_checkpoint(self):
        count = 0
        for case, folder, path in files.cases():
            with self.subTest(case=case["name"], file=path.name):
                out = pathlib.Path(self.folder.name) / "out.safetensors"
                status, _, err = files.run(path, out, *files.options(case, path))
                self.assertEqual((status, err if "note:" not in err else ""), (0, ""))
                self.check_model(case, folder, *files.read(out))
                count += 1
        self.assertGreaterEqual(count, 100)

    def check_model(self, case, folder, tensors, spec, layout):
        self.check_spec(case, spec)
        recorded, _ = check.load_safetensors(folder / "tensors.safetensors")
        used = set()
        for layer, directions in enumerate(case["params"]):
            for direction, roles in enumerate(directions):
                if layout == "mindspore_flat":
                    np.testing.assert_array_equal(tensors["w"], recorded["w"])
                    used.add("w")
                    continue
                place = names(case, layout, layer, direction)
                for role, reference in roles.items():
                    name, transposed = place[role]
                    got = tensors[name].T if transposed else tensors[name]
                    np.testing.assert_array_equal(got.astype(np.float64), check.fetch(recorded, reference), name)
                    used.add(name)
        self.assertEqual(set(tensors), used)

    def check_spec(self, case, spec):
        self.assertEqual(spec["input_size"], case["input_size"])
        self.assertEqual(spec["hidden_size"], case["hidden_size"])
        self.assertEqual(spec["num_layers"], case["num_layers"])
        self.assertEqual(spec.get("projection_size", 0), case["proj_size"])
        # A Paddle cell made without bias keeps both, as zeros.
        self.assertEqual(spec["bias"], case["has_bias"] or case["framework"] == "paddle")
        direction = "go_backwards" if case["go_backwards"] else case["direction"]
        self.assertEqual(spec.get("direction", "DIRECTION_FORWARD"), f"DIRECTION_{direction.upper()}")
        if case["bidirectional"]:
            merge = (case["merge_mode"] or "concat").upper()
            self.assertEqual(spec.get("merge_mode", "MERGE_MODE_CONCAT"), f"MERGE_MODE_{merge}")
        if case["framework"] in ("keras", "tf_keras"):
            want = {
                k: activation(case["activation_spec"][0][f]) for k, f in (("gate", "f"), ("cell", "g"), ("output", "h"))
            }
            self.assertEqual(spec["activations"], want)
            self.assertNotIn("reverse_activations", spec)
        if case["padded_output"] and case["return_sequences"] is not False:
            padding = {"zeros": "ZEROS", "repeat_last": "REPEAT_LAST", "cell_on_padding": "CELL"}[case["padded_output"]]
            self.assertEqual(spec.get("padding_output", "PADDING_OUTPUT_ZEROS"), f"PADDING_OUTPUT_{padding}")


if __name__ == "__main__":
    unittest.main()
