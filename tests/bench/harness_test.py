#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the harness in its smallest form and checks what it writes; not what it measures.

Usage: harness_test.py BIN WORK
"""
import json
import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BIN, WORK = (os.path.abspath(path) for path in sys.argv[1:3])
RESULTS = os.path.join(WORK, "RESULTS.md")


PARTS = {
    "good.py": """
import json, os
json.dump({"title": "A part", "goals": [{"what": "a goal of a part", "goal": ">= 2", "ratio": 3.0, "met": True}],
           "tables": [{"title": "A table", "columns": ["mode"], "rows": [[os.environ["BENCH_MODE"]]]}]},
          open(os.environ["BENCH_OUT"] + "/good.json", "w"))
""",
    "here.sh": 'echo "skipped: the thing is not here"; exit 77\n',
}


def run(parts, only, results):
    folder = os.path.join(WORK, "test_parts")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, text in parts.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    return subprocess.run(["bash", os.path.join(HERE, "run.sh"), "--smoke", "--no-build", "--only", only, "--results", results],
                          env=dict(os.environ, BENCH_BIN=BIN, BENCH_WORK=WORK, BENCH_PARTS=folder), text=True, timeout=280,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Harness(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.run_ = run(PARTS, "engine,wire,scaling,parts", RESULTS)
        if cls.run_.returncode == 0:
            with open(os.path.join(WORK, "results.json")) as file:
                cls.results = json.load(file)
            with open(RESULTS) as file:
                cls.markdown = file.read()

    def setUp(self):
        self.assertEqual(self.run_.returncode, 0, self.run_.stdout)

    def test_every_goal_has_a_verdict(self):
        goals = self.results["goals"]
        wanted = ["single-session stream", "64 sessions, one step a message, 64 streams", "sessions resident"]
        if os.path.exists(os.path.join(BIN, "lstmd_bench")):
            wanted.append("f32 step, H 64–1024")
        for want in wanted:
            self.assertTrue(any(want in goal["what"] for goal in goals), want)
        for goal in goals:
            self.assertIn(goal["met"], (True, False))
            self.assertIn(goal["what"], self.markdown)
            if goal["ratio"] is not None:
                self.assertGreater(goal["ratio"], 0)
            line = next(line for line in self.run_.stdout.splitlines()
                        if line.endswith(goal["what"]) or f"{goal['what']}, against" in line)
            self.assertRegex(line, r"^(met|missed|not measured) ")

    def test_tables_are_whole(self):
        titles = [section["title"] for section in self.results["sections"]]
        for title in ("Wire", "Scaling"):
            self.assertIn(title, titles)
        for section in self.results["sections"]:
            for table in section.get("tables", []):
                self.assertTrue(table["rows"], table["title"])
                for row in table["rows"]:
                    self.assertEqual(len(row), len(table["columns"]), table["title"])
                self.assertIn(f"**{table['title']}**", self.markdown)

    def test_nothing_failed_under_load(self):
        wire = self.results["raw"]["wire"]
        self.assertTrue(all(row["ours"] > 0 and row["echo"] > 0 for row in wire["echo"]))
        self.assertTrue(all(row["steps"] > 0 for row in wire["frames"] + wire["load"]))

    def test_parts(self):
        self.assertIn("| a goal of a part |", self.markdown)
        self.assertIn("**A table**\n\n| mode |\n|---|\n| smoke |", self.markdown)
        self.assertIn("Skipped: here: skipped: the thing is not here", self.markdown)

    def test_machine_and_command_are_named(self):
        for part in (self.results["machine"], self.results["date"], "run.sh --smoke"):
            self.assertIn(part, self.markdown)
        self.assertNotIn(WORK, self.markdown)


class Failures(unittest.TestCase):
    def test_a_part_that_fails_is_told_and_stops_nothing(self):
        results = os.path.join(WORK, "FAILED.md")
        done = run(dict(PARTS, **{"bad.sh": "echo oh dear; exit 3\n"}), "parts", results)
        self.assertEqual(done.returncode, 1)
        self.assertIn("oh dear", done.stdout)
        with open(results) as file:
            markdown = file.read()
        self.assertIn("**Failed**: part bad.sh", markdown)
        self.assertIn("a goal of a part", markdown)

    def test_unknown_options(self):
        done = subprocess.run(["bash", os.path.join(HERE, "run.sh"), "--fast"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--help", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
