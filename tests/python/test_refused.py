# SPDX-License-Identifier: Apache-2.0
"""Files that must not be read: pickles that call things, files that lie, damaged files."""

import os
import pickle
import random
import struct
import unittest

import files
import numpy as np
from refused import Refused


class Attack:
    """Unpickled by pickle.load, this runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class RefusedPickles(Refused):
    """torch, Paddle and MindSpore."""

    def test_pickles_that_call_something_run_nothing(self):
        marker = self.folder / "executed"
        attack = Attack(marker)
        for protocol in range(2, 6):
            data = pickle.dumps({"weight_ih": attack}, protocol)
            with self.subTest(protocol=protocol):
                self.refused(files.torch_zip(self.folder / "a.pt", data), says="posix.system")
                self.refused(self.write("a.pdparams", data), says="posix.system")
        by_hand = {
            "REDUCE of eval": b"\x80\x02cbuiltins\neval\nX\x04\x00\x00\x001+1 \x85R.",
            "INST": b"(S'touch x'\nios\nsystem\n.",
            "OBJ": b"\x80\x02(cos\nsystem\nX\x01\x00\x00\x00xo.",
            "NEWOBJ": b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85\x81.",
            "EXT1": b"\x80\x02\x82\x01.",
            "GLOBAL inside an allowed module": b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00x\x85R.",
            "dotted name": b"\x80\x04\x8c\x05torch\x8c\x0f_utils.os.system\x93.",
            "a class that is only a value": b"\x80\x02cnumpy\nndarray\nK\x01\x85R.",
            "attributes of a list": b"\x80\x02]}X\x01\x00\x00\x00aK\x01sb.",
            "a method as a global": b"\x80\x04\x8c\x0bcollections\x8c\x17OrderedDict.__init__\x93.",
        }
        for name, data in by_hand.items():
            with self.subTest(name):
                self.refused(files.torch_zip(self.folder / "b.pt", data))
                self.refused(self.write("b.pdparams", data if data.startswith(b"\x80") else b"\x80\x02" + data))
        self.assertFalse(marker.exists())

    def test_pickles_that_lie_about_sizes(self):
        def tensor(count, offset, shape, stride):
            def number(n):
                return b"\x8a\x08" + struct.pack("<q", n)

            def sizes(values):
                return b"(" + b"".join(map(number, values)) + b"t"

            storage = (
                b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
                + number(count)
                + b"tQ"
            )
            body = storage + number(offset) + sizes(shape) + sizes(stride) + b"\x89Nt"
            return b"\x80\x02}X\x09\x00\x00\x00weight_ihctorch._utils\n_rebuild_tensor_v2\n(" + body + b"Rs."

        entries = [("data/0", bytes(64))]
        for name, arguments in {
            "more elements than bytes": (1 << 40, 0, (4, 4), (4, 1)),
            "a view past the end": (16, 8, (4, 4), (4, 1)),
            "a huge repeated view": (16, 0, (1 << 30, 4), (0, 1)),
            "a negative shape": (16, 0, (-4, 4), (4, 1)),
            "a negative offset": (16, -1, (4, 1), (4, 1)),
            "a negative stride": (16, 0, (4, 4), (-4, 1)),
            "a shape beyond all numbers": (16, 0, (1 << 62, 1 << 62), (0, 0)),
        }.items():
            with self.subTest(name):
                self.refused(files.torch_zip(self.folder / "a.pt", tensor(*arguments), entries), says="claims")
        good = files.torch_zip(self.folder / "a.pt", tensor(16, 0, (4, 4), (4, 1)), entries)
        self.refused(good, says="weight_hh")  # the same in good order is read, and lacks a weight
        self.refused(files.torch_zip(self.folder / "b.pt", b"\x80\x02r\xff\xff\xff\x7f."))
        self.refused(files.torch_zip(self.folder / "c.pt", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x."))
        self.refused(files.torch_zip(self.folder / "d.pt", b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b"x."))

    def test_numpy_pickles_that_lie(self):
        def dump(state):
            array = np.zeros((4, 3), np.float32)
            data = pickle.dumps({"weight_ih": array}, 4)
            return data.replace(*state)

        self.refused(self.write("a.pdparams", dump((b"K\x04K\x03", b"K\x14K\x03"))), says="48 bytes")
        self.refused(self.write("b.pdparams", pickle.dumps({"weight_ih": np.array([object()])}, 4)), says="O")
        self.refused(
            self.write("c.pdparams", pickle.dumps({"weight_ih": np.zeros((4, 3), ">f4")}, 4)), says="big-endian"
        )
        self.refused(
            self.write("d.pdparams", pickle.dumps({f"weight_{k}h": np.zeros((4, 1), np.int64) for k in "ih"}, 4)),
            says="I64",
        )
        self.refused(self.write("e.pdparams", pickle.dumps(np.zeros(3), 4)), says="want a state_dict")

    def test_other_files_of_torch(self):
        legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
        self.refused(self.write("a.pt", legacy), says="before version 1.6")
        self.refused(self.write("b.pt", b"hello"), says="zip")
        self.refused(self.write("c.pt", b""), says="empty")
        script = files.torch_zip(self.folder / "d.pt", b"\x80\x02}.", [("constants.pkl", b"")])
        self.refused(script, says="TorchScript")
        self.refused(files.torch_zip(self.folder / "e.pt", b"\x80\x02}.", [("byteorder", b"big")]), says="big-endian")
        self.refused(files.torch_zip(self.folder / "f.pt", pickle.dumps({"epoch": 3})), says="want a state_dict")
        module = b"\x80\x02c__main__\nNet\n)\x81."
        self.refused(files.torch_zip(self.folder / "g.pt", module), says="state_dict")
        self.refused(self.folder / "none.pt", says="no such file")
        self.refused(self.write("model.pb", b"x"), says="unknown kind")

    def test_truncated_files(self):
        seen = set()
        for case, _, path in files.cases():
            if path.name in seen or case["api"].startswith("mindspore.nn.LSTM (before"):
                continue
            seen.add(path.name)
            data = path.read_bytes()
            for keep in (1, 8, 60, len(data) // 3, len(data) // 2, len(data) - 30, len(data) - 1):
                with self.subTest(file=path.name, keep=keep):
                    self.refused(self.write(path.name, data[:keep]), *files.options(case, path))
        self.assertEqual(seen, set(files.CHECKPOINTS))

    def test_damaged_files_never_surprise(self):
        seed = int(os.environ.get("LSTMD_TEST_SEED", "0")) or random.randrange(1, 1 << 32)
        print(f"seed {seed} (LSTMD_TEST_SEED)")
        rng, seen = random.Random(seed), set()
        for case, _, path in files.cases():
            # A damaged HDF5 tree is the HDF5 library's to survive; what is tested are our readers.
            if path.name in seen or path.name.endswith(".h5"):
                continue
            seen.add(path.name)
            data = path.read_bytes()
            for _ in range(150):
                damaged = bytearray(data)
                for _ in range(rng.choice((1, 1, 2, 8))):
                    at = rng.randrange(min(len(damaged), 1200) if rng.random() < 0.7 else len(damaged))
                    damaged[at] = rng.randrange(256)
                status, _, err = files.run(self.write(path.name, bytes(damaged)), self.out, *files.options(case, path))
                self.assertIn(status, (0, 2))
                if status:
                    self.assertEqual(err.count("\n"), 1, err)
                    self.assertNotIn("cannot be read (", err)
                self.out.unlink(missing_ok=True)

    def test_mindspore_files_that_lie(self):
        self.refused(self.write("a.ckpt", b"\x0a\xff\xff\xff\xff\x0fx"), says="truncated")
        self.refused(self.write("b.ckpt", b"\x12\x00"), says="no tensor")
        value = (
            b"\x0a\x01w\x12" + bytes([len(tensor := b"\x08\x80\x80\x80\x80\x10\x12\x07Float32\x1a\x04abcd")]) + tensor
        )
        self.refused(self.write("c.ckpt", b"\x0a" + bytes([len(value)]) + value), says="4 bytes")
        flat = next(p for c, _, p in files.cases() if c["api"].startswith("mindspore.nn.LSTM (before"))
        self.refused(flat, says="--input-size")
        self.refused(flat, "--input-size", "4", "--hidden-size", "5", says="want")

    def test_an_interrupted_write_leaves_the_old_file(self):
        self.out.write_bytes(b"old")
        data = pickle.dumps({"weight_ih": Attack("x")}, 2)
        status, _, _ = files.run(files.torch_zip(self.folder / "a.pt", data), self.out)
        self.assertEqual((status, self.out.read_bytes()), (2, b"old"))
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["a.pt", "out.safetensors"])


if __name__ == "__main__":
    unittest.main()
