# SPDX-License-Identifier: Apache-2.0
"""Models that hold more than an LSTM, and what the options do."""

import json
import pathlib
import pickle
import struct
import tempfile
import unittest

import files
import numpy as np


class Build:
    """Writes a torch state_dict without torch: name -> array, each in a storage of its own."""

    KINDS = {"float32": b"FloatStorage", "float64": b"DoubleStorage", "float16": b"HalfStorage"}

    def __init__(self):
        self.entries = []

    def text(self, s):
        return b"X" + struct.pack("<I", len(s.encode())) + s.encode()

    def sizes(self, values):
        return b"(" + b"".join(b"M" + struct.pack("<H", v) for v in values) + b"t"

    def tensor(self, array):
        """A transposed array becomes a strided view of its base."""
        base = array if array.flags.c_contiguous else array.T
        key = str(len(self.entries))
        self.entries.append((f"data/{key}", base.tobytes()))
        strides = [s // array.itemsize for s in array.strides]
        kind = self.KINDS[str(array.dtype)]
        store = b"(" + self.text("storage") + b"ctorch\n" + kind + b"\n" + self.text(key) + self.text("cpu")
        store += b"M" + struct.pack("<H", array.size) + b"tQ"
        state = store + b"K\x00" + self.sizes(array.shape) + self.sizes(strides) + b"\x89]t"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + state + b"R"

    def dict(self, value):
        out = b"}("
        for k, v in value.items():
            body = self.dict(v) if isinstance(v, dict) else pickle.dumps(v, 2)[2:-1] if isinstance(v, int) else None
            out += self.text(k) + (body or self.tensor(v))
        return out + b"u"


class OptionsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out.safetensors"
        rng = np.random.default_rng(7)

        def array(*shape):
            return rng.standard_normal(shape).astype(np.float32)

        self.lstm = {
            "weight_ih_l0": array(8, 3),
            "weight_hh_l0": array(8, 2),
            "bias_ih_l0": array(8),
            "bias_hh_l0": array(8),
        }
        self.head = {"weight": array(5, 2), "bias": array(5)}
        self.model = {f"net.rnn.{k}": v for k, v in self.lstm.items()} | {f"fc.{k}": v for k, v in self.head.items()}

    def save(self, value, name="m.pt"):
        build = Build()
        data = b"\x80\x02" + build.dict(value) + b"."
        return files.torch_zip(self.folder / name, data, build.entries)

    def convert(self, path, *options):
        status, _, err = files.run(path, self.out, *options)
        self.assertEqual(status, 0, err)
        return files.read(self.out)

    def refused(self, path, *options, says):
        status, _, err = files.run(path, self.out, *options)
        self.assertEqual((status, err.count("\n")), (2, 1), err)
        self.assertIn(says, err)

    def test_other_parts_must_be_named(self):
        path = self.save(self.model)
        self.refused(path, says="'fc.bias', 'fc.weight'")
        tensors, spec, _ = self.convert(path, "--layer", "net.rnn")
        self.assertEqual(set(tensors), set(self.lstm))
        self.assertNotIn("head", spec)
        self.refused(path, "--layer", "rnn", says="there is 'net.rnn'")
        two = {**self.model, **{f"other.{k}": v for k, v in self.lstm.items()}}
        self.refused(self.save(two), says="2 LSTMs: 'net.rnn', 'other'")

    def test_head(self):
        tensors, spec, _ = self.convert(self.save(self.model), "--head", "fc")
        self.assertEqual(spec["head"], {"output_size": 5, "bias": True})
        np.testing.assert_array_equal(tensors["head.weight"], self.head["weight"])
        np.testing.assert_array_equal(tensors["head.bias"], self.head["bias"])
        self.refused(self.save(self.model), "--head", "out", says="out.weight is missing")
        self.refused(
            self.save({**self.model, "fc.weight": self.lstm["weight_ih_l0"]}), "--head", "fc", says="want [O, 2]"
        )

    def test_the_head_of_paddle_is_transposed(self):
        path = self.folder / "m.pdparams"
        path.write_bytes(pickle.dumps({**self.model, "fc.weight": self.head["weight"].T.copy()}, 4))
        tensors, _, layout = self.convert(path, "--head", "fc")
        self.assertEqual(layout, "paddle")
        np.testing.assert_array_equal(tensors["head.weight"], self.head["weight"])

    def test_where_the_state_dict_is(self):
        self.convert(self.save({"epoch": 3, "state_dict": self.lstm}))
        deep = self.save({"a": {"b": self.lstm}})
        self.refused(deep, says="want a state_dict")
        self.convert(deep, "--key", "a.b")
        self.refused(deep, "--key", "a.c", says="there is no 'c'")

    def test_types_and_strides(self):
        transposed = {k: np.asfortranarray(v) if v.ndim == 2 else v for k, v in self.lstm.items()}
        for dtype, same in ((np.float64, False), (np.float16, True), (np.float32, True)):
            value = {k: v.astype(dtype) for k, v in transposed.items()}
            tensors, _, _ = self.convert(self.save(value))
            for k, v in value.items():
                want = v if same else v.astype(np.float32)
                self.assertEqual(tensors[k].dtype, want.dtype)
                np.testing.assert_array_equal(tensors[k], want)

    def test_spec_goes_over_what_the_file_says(self):
        spec = self.folder / "lstm.json"
        spec.write_text(json.dumps({"clip": 0.5, "numLayers": 1, "direction": "DIRECTION_REVERSE"}))
        _, got, _ = self.convert(self.save(self.lstm), "--spec", spec)
        self.assertEqual((got["clip"], got["direction"], got["hidden_size"]), (0.5, "DIRECTION_REVERSE", 2))
        for text, says in (
            ('{"hidden_size": 3}', "the weights have 2"),
            ('{"hiden": 3}', "unknown field 'hiden'"),
            ("[", "JSON"),
        ):
            spec.write_text(text)
            self.refused(self.save(self.lstm), "--spec", spec, says=says)

    def test_weights_that_do_not_fit(self):
        for name, shape, says in (
            ("weight_hh_l0", (8, 3), "weight_hh_l0 has shape [8, 3], want [8, 2]"),
            ("weight_ih_l0", (7, 3), "want [4 H, I]"),
            ("bias_hh_l0", (7,), "bias_hh_l0 has shape [7], want [8]"),
            ("weight_ih_l2", (8, 2), "layer 1 has no weights"),
        ):
            with self.subTest(name):
                self.refused(self.save({**self.lstm, name: np.zeros(shape, np.float32)}), says=says)


if __name__ == "__main__":
    unittest.main()
