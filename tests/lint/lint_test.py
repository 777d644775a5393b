#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that each check of lint.py, and tests/summary.py, can fail: one planted violation after the other."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import lint

HEAD = "// SPDX-License-Identifier: Apache-2.0\n"

# Check, file, text: exactly this file violates exactly this check.
PLANTED = [
    ("layering", "engine/a.cc", HEAD + "#include <grpcpp/grpcpp.h>\n"),
    ("layering", "engine/a.cc", HEAD + '#include "grpc/support/log.h"\n'),
    ("layering", "engine/cpu/a.h", HEAD + "  #  include <spdlog/spdlog.h>\n"),
    ("layering", "engine/checkpoint/torch.cc", HEAD + "#include <google/protobuf/message.h>\n"),
    ("layering", "engine/a.cc", HEAD + '#include "lstmd/v1/model.pb.h"\n'),
    ("layering", "engine/a.cc", HEAD + '#include "server/convert.h"\n'),
    ("layering", "server/a.cc", HEAD + '#include "client/client.h"\n'),
    ("layering", "client/a.cc", HEAD + '#include "engine/spec.h"\n'),
    ("layering", "client/import.cc", HEAD + '#include "server/convert.h"\n'),
    ("layering", "server/a.cc", HEAD + "#include <gtest/gtest.h>\n"),
    ("length", "engine/a.cc", HEAD + "int x;\n" * 400),
    ("spdx", "engine/a.cc", "int x;\n"),
    ("spdx", "deploy/go.sh", "#!/usr/bin/env bash\ntrue\n"),
    ("spdx", "deploy/go", "#!/usr/bin/env bash\ntrue\n"),
    ("spdx", "CMakeLists.txt", "project(x)\n"),
    ("paths", "README.md", "see /" + "work/main\n"),
    ("paths", "deploy/a.sh", "ls ../" + "shared\n"),
    ("paths", "deploy/a.sh", "ls /" + "root/x\n"),
    ("smells", "engine/a.cc", HEAD + "absl::" + "Mutex m;\n"),
    ("smells", "tests/a_test.cc", HEAD + "std::this_thread::sleep_" + "for(x);\n"),
    ("smells", "tests/a_test.cc", HEAD + "TEST(A, DISABLED" + "_B) {}\n"),
    ("smells", "tests/a_test.cc", HEAD + "GTEST_SKIP" + "();\n"),
    ("smells", "server/a.cc", HEAD + "// TODO: later\n"),
    ("guards", "engine/a.h", HEAD + "#ifndef ENGINE_A_H_\n#define ENGINE_A_H_\n#endif\n"),
    ("guards", "engine/a.h", HEAD + "#pragma once\n"),
    ("sources", "engine/b.cc", HEAD),
    ("sources", "engine/core.cmake", "file(GLOB sources *.cc)\n"),
    ("docs", "README.md", "see `engine/gone.h`\n"),
    ("docs", "README.md", "see `GONE.md`\n"),
    ("reasons", "engine/x.cc", 'return InvalidArgument("NO_SUCH_REASON", "x");\n'),
    ("format", "engine/a.cc", HEAD + "int  x ;\n"),
    ("shell", "deploy/a.sh", "#!/usr/bin/env bash\n# SPDX-License-Identifier: Apache-2.0\ncd $1\n"),
]

# What no check may object to.
CLEAN = {
    "engine/a.h": HEAD + "#ifndef LSTMD_ENGINE_A_H_\n#define LSTMD_ENGINE_A_H_\n#include <vector>\n#endif  // LSTMD_ENGINE_A_H_\n",
    "engine/a.cc": HEAD + '#include "engine/a.h"\n' + "\n" * 300,
    "engine/checkpoint/onnx_graph.cc": HEAD + "#include <google/protobuf/io/coded_stream.h>\n",
    "engine/CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\nadd_library(e a.cc checkpoint/onnx_graph.cc)\n",
    "client/import.cc": HEAD + '#include "engine/a.h"\n',
    "client/x.cmake": "# SPDX-License-Identifier: Apache-2.0\nadd_library(c import.cc)\n",
    "deploy/a.sh": "#!/usr/bin/env bash\n# SPDX-License-Identifier: Apache-2.0\ncd /work \"$1\" || exit 1  # the share, shared\n",
    "data/weights.bin": "\0/" + "work/main",
    "README.md": "see `engine/a.h`, `engine/`, `README.md` and `deploy/*.sh`, not engine/gone.h\n",
    ".clang-format": "BasedOnStyle: Google\n",
}


class LintTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_check(self, check):
        try:
            return list(lint.CHECKS[check](lint.Tree(self.root)))
        except lint.MissingTool as missing:
            self.skipTest(str(missing))

    def test_clean_tree_passes(self):
        for name, text in CLEAN.items():
            self.write(name, text)
        self.write("engine/a.cc", CLEAN["engine/a.cc"].rstrip() + "\n")
        for check in lint.CHECKS:
            with self.subTest(check):
                self.assertEqual(self.run_check(check), [])

    def test_exit_codes(self):
        self.write("engine/a.cc", HEAD)
        self.write("engine/CMakeLists.txt", CLEAN["engine/CMakeLists.txt"])
        self.assertEqual(lint.main(["layering", self.root]), 0)
        self.write("engine/a.cc", HEAD + "#include <spdlog/spdlog.h>\n")
        self.assertEqual(lint.main(["layering", self.root]), 1)
        self.assertEqual(lint.main(["no such check"]), 2)


def add_planted_test(number, check, name, text):
    def test(self):
        self.write(name, text)
        self.write(".clang-format", CLEAN[".clang-format"])
        found = self.run_check(check)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(name + ":"), found)
    setattr(LintTest, f"test_planted_{number:02d}_{check}", test)


for _number, _planted in enumerate(PLANTED):
    add_planted_test(_number, *_planted)


class SummaryTest(unittest.TestCase):
    def summary(self, entries, **binaries):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "cases").mkdir()
            (root / "ctest.xml").write_text(f"<testsuite>{entries}</testsuite>")
            for name, cases in binaries.items():
                (root / "cases" / f"{name}.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
            run = subprocess.run([sys.executable, pathlib.Path(__file__).parents[1] / "summary.py", root / "ctest.xml",
                                  root / "cases"], capture_output=True, text=True, check=False)
            return run.returncode, run.stdout.splitlines()[-1]

    def test_counts(self):
        passed = '<testcase name="{}" status="run"/>'
        ran = '<testcase classname="S" name="a" status="run"/>'
        broke = '<testcase classname="S" name="b" status="run"><failure/></testcase>'
        left_out = '<testcase classname="S" name="c" status="run"><skipped message="no GPU"/></testcase>'
        failed = '<testcase name="{}" status="fail"><failure/></testcase>'
        absent = '<testcase name="x" status="notrun"><skipped message="Unable to find executable"/></testcase>'
        skipped = '<testcase name="y" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>'
        for entries, binaries, want in [
                (passed.format("p"), {}, (0, "1 passed, 0 failed")),
                (passed.format("p"), {"p": ran + ran}, (0, "2 passed, 0 failed")),
                (passed.format("p"), {"p": ran + left_out}, (0, "1 passed, 0 failed, 1 skipped")),
                (failed.format("p"), {"p": ran + broke}, (1, "1 passed, 1 failed")),
                (failed.format("p"), {"p": ran}, (1, "1 passed, 1 failed")),  # a sanitizer, at exit
                (failed.format("p"), {}, (1, "0 passed, 1 failed")),
                (absent, {}, (1, "0 passed, 1 failed")),
                (passed.format("p") + skipped, {}, (0, "1 passed, 0 failed, 1 skipped")),
                ("", {}, (1, "0 passed, 0 failed"))]:
            with self.subTest(entries=entries, binaries=binaries):
                self.assertEqual(self.summary(entries, **binaries), want)


if __name__ == "__main__":
    unittest.main()
