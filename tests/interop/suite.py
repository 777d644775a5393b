# SPDX-License-Identifier: Apache-2.0
"""What the tests of the stock clients share."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy

MODEL = "sunspots"
TIMEOUT = 60


def native(address, batch):
    """OUTPUT of a batch [N, T, I] by the native API, which the environment's LSTMCTL speaks."""
    with tempfile.TemporaryDirectory() as folder:
        paths = pathlib.Path(folder, "in.npy"), pathlib.Path(folder, "out.npy")
        numpy.save(paths[0], batch)
        command = [os.environ["LSTMCTL"], "--server", address, "run", MODEL, str(paths[0]), "--out", str(paths[1])]
        subprocess.run(command, check=True, timeout=TIMEOUT)
        return numpy.load(paths[1])


def main():
    """Runs the tests of the program; the last line is `N passed, N failed[, N skipped]`."""
    tests = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    outcome = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(tests)
    failed = len(outcome.failures) + len(outcome.errors)
    skipped = f", {len(outcome.skipped)} skipped" if outcome.skipped else ""
    print(f"{outcome.testsRun - failed - len(outcome.skipped)} passed, {failed} failed{skipped}")
    sys.exit(failed != 0)
