# SPDX-License-Identifier: Apache-2.0
"""Files that must not be read: models that are no LSTM stack, and HDF5 files that lie."""

import io
import json
import unittest
import zipfile

import files
import h5py
import numpy as np
from refused import Refused


class RefusedKeras(Refused):
    """Models made by hand."""

    def keras(self, layers, weights=None, name="m.keras", kind="Sequential", **config):
        h5 = io.BytesIO()
        with h5py.File(h5, "w") as f:
            for where, shape in (weights or {}).items():
                f[where] = np.zeros(shape, np.float32)
        model = {"class_name": kind, "config": {"name": "m", "layers": layers, **config}}
        with zipfile.ZipFile(self.folder / name, "w") as z:
            z.writestr("config.json", json.dumps(model))
            z.writestr("metadata.json", '{"keras_version": "3.15.1"}')
            z.writestr("model.weights.h5", h5.getvalue())
        return self.folder / name

    @staticmethod
    def layer(kind, name, **config):
        return {"class_name": kind, "config": {"name": name, **config}}

    def lstm(self, name="lstm", **config):
        return self.layer("LSTM", name, **{"units": 2, "return_sequences": True, **config})

    def test_what_is_no_lstm_stack_is_refused_by_name(self):
        lstm, dense = self.lstm, self.layer("Dense", "out", units=1)
        rows = {
            "'conv'": [self.layer("Conv1D", "conv"), lstm()],
            "'gru'": [lstm(), self.layer("GRU", "gru", units=2)],
            "'wrapped'": [self.layer("Bidirectional", "wrapped", layer=self.layer("GRU", "g", units=2))],
            "'out2'": [lstm(), dense, self.layer("Dense", "out2", units=1)],
            "'late'": [lstm(), dense, lstm("late")],
            "'first'": [lstm("first", return_sequences=False), lstm("second")],
            "activation 'mish'": [lstm(activation="mish")],
            "has hidden_size 3": [lstm(), lstm("wide", units=3)],
            "has bias False": [lstm(), lstm("bare", use_bias=False)],
            "merge_mode None": [self.layer("Bidirectional", "both", merge_mode=None, layer=lstm())],
            "no LSTM layer": [self.layer("Dropout", "d")],
            "units None": [lstm(units=None)],
            "has 0 weights": [lstm()],
        }
        for says, layers in rows.items():
            with self.subTest(says):
                self.refused(self.keras(layers), says=says)
        self.refused(self.keras([lstm()], kind="Custom"), says="Custom")
        branch = [[["a", 0, 0, {}], ["b", 0, 0, {}]]]
        layers = [{**self.layer("InputLayer", n), "name": n} for n in "ab"]
        layers += [{**lstm("x"), "name": "x", "inbound_nodes": [[["a", 0, 0, {}]]]}]
        layers += [{**lstm("y"), "name": "y", "inbound_nodes": [[["b", 0, 0, {}]]]}]
        self.refused(self.keras(layers, kind="Functional", output_layers=[["y", 0, 0]]), says="one line of layers")
        layers[-1]["inbound_nodes"] = [[["x", 0, 0, {}]]]
        self.refused(self.keras(layers, kind="Functional", output_layers=[["x", 0, 0]]), says="only the last layer's")
        layers[-1]["inbound_nodes"] = branch * 2
        self.refused(self.keras(layers, kind="Functional", output_layers=[["y", 0, 0]]), says="used 2 times")

    def test_weights_that_do_not_fit(self):
        cell = "layers/lstm/cell/vars/"
        good = {cell + "0": (3, 8), cell + "1": (2, 8), cell + "2": (8,)}
        self.refused(self.keras([self.lstm()], {**good, cell + "1": (3, 8)}), says="recurrent_kernel has shape [3, 8]")
        self.refused(self.keras([self.lstm()], {**good, cell + "2": (7,)}), says="bias has shape [7]")
        head = self.layer("Dense", "out", units=1)
        self.refused(self.keras([self.lstm(), head], good), says="'out'")
        status, _, err = files.run(self.keras([self.lstm()], good), self.out)
        self.assertEqual((status, err), (0, ""))

    def test_hdf5_that_points_elsewhere(self):
        secret = self.write("secret.h5", b"")
        with h5py.File(secret, "w") as f:
            f["k"] = np.zeros((3, 8), np.float32)
        for kind in ("external link", "soft link", "external data", "huge"):
            path = self.folder / "a.weights.h5"
            with h5py.File(path, "w") as f:
                g = f.create_group("layers/lstm/cell/vars")
                g["1"], g["2"] = np.zeros((2, 8), np.float32), np.zeros(8, np.float32)
                if kind == "external link":
                    g["0"] = h5py.ExternalLink(str(secret), "k")
                elif kind == "soft link":
                    g["0"] = h5py.SoftLink("/layers/lstm/cell/vars/1")
                elif kind == "external data":
                    g.create_dataset("0", (3, 8), "<f4", external=[(str(secret), 0, 96)])
                else:
                    g.create_dataset("0", (1 << 40, 8), "<f4", chunks=(1 << 10, 8))
            with self.subTest(kind):
                says = {"external data": "another file", "huge": "claims"}.get(kind, "is a link")
                self.refused(path, "--activation", "tanh", "--recurrent-activation", "sigmoid", says=says)

    def test_weights_only_files_need_to_be_told(self):
        path = next(p for _, _, p in files.cases() if p.name == "model.weights.h5")
        self.refused(path, says="--activation")
        self.refused(path, "--activation", "tanh", "--recurrent-activation", "hard_sigmoid", says="--merge-mode")


if __name__ == "__main__":
    unittest.main()
