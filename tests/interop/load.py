# SPDX-License-Identifier: Apache-2.0
"""A model, servers, and perf_analyzer's figures for them: what throughput.py and triton.py share."""
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy

MODEL = "lstm"
TIMEOUT = 120


def weights(hidden, seed=1):
    """One LSTM layer of as many inputs as hidden units, with PyTorch's names and gate order (i f g o)."""
    random = numpy.random.default_rng(seed)
    bound = hidden ** -0.5
    shapes = {"weight_ih_l0": (4 * hidden, hidden), "weight_hh_l0": (4 * hidden, hidden),
              "bias_ih_l0": (4 * hidden,), "bias_hh_l0": (4 * hidden,)}
    return {name: random.uniform(-bound, bound, shape).astype(numpy.float32) for name, shape in shapes.items()}


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(one.tobytes() for one in tensors.values()))


class Server:
    """A program that prints "listening on ADDRESS"; the with-block gets the address, and ends it."""

    def __init__(self, *command):
        self.command = [str(part) for part in command]

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        for line in self.process.stdout:
            if line.startswith("listening on "):
                return line.split()[2]
        self.log.seek(0)
        sys.exit(f"{self.command[0]} did not start\n{self.log.read()}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(TIMEOUT)


def lstmd(program, folder, hidden):
    """lstmd with the model of that size."""
    write_safetensors(pathlib.Path(folder, "lstmd", MODEL, "1", "model.safetensors"), weights(hidden))
    return Server(program, "--listen", "127.0.0.1:0", "--repository", pathlib.Path(folder, "lstmd"))


class PerfAnalyzer:
    """The one of the virtual environment that runs this; `problem` says why it does not run here, or is ""."""

    def __init__(self):
        self.program = pathlib.Path(sys.prefix, "bin", "perf_analyzer")
        libraries = glob.glob(f"{sys.prefix}/lib/python*/site-packages/nvidia/cuda_runtime/lib")
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(
            libraries + [one for one in [os.environ.get("LD_LIBRARY_PATH")] if one])}
        probe = self.run("--version")
        failed = probe.returncode == 127 or "error while loading shared libraries" in probe.stderr
        self.problem = f"perf_analyzer does not run here: {probe.stderr.strip()}" if failed else ""

    def run(self, *arguments, timeout=TIMEOUT):
        return subprocess.run([self.program, *arguments], env=self.environment, capture_output=True, text=True,
                              timeout=timeout, check=False)

    def measure(self, address, concurrency, seconds):
        """(steps a second, median latency in ms) of sequences of 100 steps, each a message of a stream; None where the
        server did not live to the end."""
        try:
            # Three windows, and their mean whatever they differ by.
            run = self.run("-m", MODEL, "-u", address, "-i", "grpc", "--streaming", "--async",
                           "--sequence-length", "100", "--concurrency-range", str(concurrency),
                           "--measurement-interval", str(int(seconds * 1000 / 3)),
                           "--stability-percentage", "999", "--max-trials", "3",
                           timeout=2 * seconds + 8)
            output = run.stdout + run.stderr
        except subprocess.TimeoutExpired as late:
            # It may wait for good, with its report written or not; for a server that died too, as Triton may at 64.
            output = (late.stdout or b"").decode()
        found = [re.search(pattern, output) for pattern in (r"Throughput: ([\d.]+) infer", r"p50 latency: (\d+) usec")]
        return None if None in found else (float(found[0][1]), float(found[1][1]) / 1000)


def measure(perf, start, concurrency, seconds, end):
    """perf_analyzer's figures for a new server; None where it got none before `end`."""
    while time.monotonic() < end:
        with start() as address:
            if figures := perf.measure(address, concurrency, seconds):
                return figures
        print("perf_analyzer got no figures; again with a new server", flush=True)
    return None


def compare(contenders, concurrencies, rounds, seconds, budget):
    """{concurrency: [(steps/s, ms) of each contender]}, medians of runs that take turns. contenders: [(name, a function
    that returns a context with the address of a new server)]. At concurrency 64 perf_analyzer does not come to an end now and
    then, whatever the server; such a run is done again. After `budget` seconds no other begins: medians are then of fewer."""
    perf = PerfAnalyzer()
    result = {}
    begin = time.monotonic()
    for place, concurrency in enumerate(concurrencies, 1):
        end = begin + budget * place / len(concurrencies)
        turns = []
        for _ in range(rounds):
            turn = [measure(perf, start, concurrency, seconds, end) for _, start in contenders]
            if None not in turn:
                turns.append(turn)
        if not turns:
            print(f"skipped: perf_analyzer got no figures at concurrency {concurrency} in {budget} s")
            sys.exit(77)
        result[concurrency] = [tuple(one) for one in numpy.median(numpy.array(turns), axis=0)]
        for (name, _), one in zip(contenders, result[concurrency]):
            print(f"concurrency {concurrency:3}  {name:12} {one[0]:9,.0f} steps/s   p50 {one[1]:7.3f} ms   "
                  f"{len(turns)} turns", flush=True)
    return result


def report(path, title, peer, result, goals, bounds):
    """Prints the ratios of lstmd to its peer; `result` as of compare, `bounds`: what bounds those that miss their goals. As
    JSON also to `path`, if there is one."""
    rows = []
    for concurrency, (theirs, ours) in result.items():
        ratio, goal = ours[0] / theirs[0], goals[concurrency]
        print(f"concurrency {concurrency:3}  {ratio:.2f} x {peer} (goal: {goal:.2f} x)")
        rows.append({"what": f"perf_analyzer, streaming, sequences of 100 steps, concurrency {concurrency}",
                     "against": peer, "goal": f">= {goal}", "ours": f"{ours[0]:,.0f} steps/s",
                     "peer": f"{theirs[0]:,.0f} steps/s", "ratio": round(ratio, 3), "met": bool(ratio >= goal),
                     "note": "" if ratio >= goal else bounds[concurrency]})
    if path:
        pathlib.Path(path).write_text(json.dumps({"title": title, "goals": rows}), encoding="utf-8")


def wait(condition, what, timeout=TIMEOUT):
    """Until `condition` returns something; asks ten times a second."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > end:
            sys.exit(f"{what} takes longer than {timeout} s")
        time.sleep(0.1)
    return found
