# SPDX-License-Identifier: Apache-2.0
"""A running lstmd, load on it, and checks that say what they found."""
import argparse
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77


def arguments(description, *more):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("bin", type=pathlib.Path, help="folder of the built programs")
    for name, options in more:
        parser.add_argument(name, **options)
    return parser.parse_args()


def need(tool, package):
    if (path := shutil.which(tool)) is None:
        print(f"skipped: {tool} is not installed (Debian package {package})")
        sys.exit(SKIPPED)
    return path


class Server:
    def __init__(self, process):
        self.process = process
        self.address = self.line("listening on ")
        self.http = self.line("metrics on ")

    def line(self, start):
        line = self.process.stdout.readline().strip()
        if not line.startswith(start):
            raise SystemExit(f"lstmd said '{line}', not '{start}…'")
        return line[len(start):]

    def get(self, path):
        with urllib.request.urlopen(self.http + path, timeout=30) as answer:
            return answer.read().decode()

    def status(self):
        return json.loads(self.get("/status.json"))

    def rate(self):
        """Steps a second, 0 as long as there were no two seconds to tell."""
        return self.status().get("recent", {}).get("steps_per_second", 0)


@contextlib.contextmanager
def server(folder, *flags, models=ROOT / "deploy" / "models"):
    command = [folder / "lstmd", "--repository", models, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0",
               "--log-level", "off", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def load(folder, running, *flags, model="sunspots", seconds=600):
    """lstmctl bench in the background; ends with the block."""
    command = [folder / "lstmctl", "--server", running.address, "bench", "--model", model, "--seconds", str(seconds), *flags]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def wait_for(what, condition, patience=60.0):
    """Looks until `condition` gives something true, which is returned."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise SystemExit(f"waited {patience} s in vain for {what}")


class Checks:
    def __init__(self):
        self.failed = 0
        self.passed = 0

    def __call__(self, good, what):
        print(f"{'ok    ' if good else 'FAILED'} {what}")
        self.passed += bool(good)
        self.failed += not good
        return good

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)
