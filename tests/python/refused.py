# SPDX-License-Identifier: Apache-2.0
"""Files that must not be read: each gives one line of error and exit status 2, executes nothing and writes nothing."""

import pathlib
import tempfile
import unittest

import files


class Refused(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out.safetensors"

    def refused(self, path, *options, says=""):
        status, out, err = files.run(path, self.out, *options)
        self.assertEqual(status, 2, out + err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("lstmd_convert: error: "), err)
        self.assertIn(says, err)
        self.assertNotIn("cannot be read (", err)  # the last resort for what no reader foresaw
        self.assertFalse(self.out.exists())

    def write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path
