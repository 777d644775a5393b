# SPDX-License-Identifier: Apache-2.0
"""What the parity documents name is there."""

import fnmatch
import json
import re
import unittest

import files
from lstmd_convert.convert import LAYOUTS


class ReadmeTest(unittest.TestCase):
    def test_named_cases_exist(self):
        text = (files.CASES.parent / "README.md").read_text()
        there = {p.parent.name for p in files.CASES.glob("*/case.json")}
        prefixes = sorted({n.split("_")[0] for n in there})
        named = set(re.findall(rf"`((?:{'|'.join(prefixes)})_[a-z0-9_*]+)`", text)) - set(LAYOUTS)
        self.assertGreater(len(named), 60)
        self.assertEqual([n for n in sorted(named) if not fnmatch.filter(there, n)], [])
        self.assertEqual(len(there), int(re.search(r"^(\d+) cases", text, re.M)[1]))

    def test_core_cases_exist(self):
        there = {p.parent.name for p in files.CASES.glob("*/case.json")}
        core = set((files.CASES / "core.txt").read_text().split())
        self.assertEqual(core - there, set())

    def test_errors_have_all_fields(self):
        want = {"seed_document", "documented", "framework", "framework_version", "call", "raised", "exception"}
        for row in json.loads((files.CASES / "errors.json").read_text()):
            self.assertEqual(want - set(row), set())


if __name__ == "__main__":
    unittest.main()
