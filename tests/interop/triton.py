# SPDX-License-Identifier: Apache-2.0
"""triton.py LSTMD TRITON_PYTHON [--hidden H] [--rounds N] [--seconds S] [--budget S] [--strategy direct|oldest]
[--json FILE]: lstmd and a Triton server beside each other, both with the same LSTM: Triton has it in ONNX Runtime, behind
its sequence batcher and its Python backend (triton_repository/). Checks that both answer a sequence alike, then has
perf_analyzer ask them in turns. Prints steps per second and their ratio at concurrency 1 and 64; with --json FILE also as
JSON, as a part of tests/bench. TRITON_PYTHON: the interpreter of an environment with requirements/triton.txt. Exit status
77 (skipped) where perf_analyzer or Triton does not run.
"""
import argparse
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

import numpy
import tritonclient.grpc as client

import load

GOALS = {1: 7.0, 64: 3.5}
BOUNDS = {
    1: "the client, and the step's own time: 7 times Triton is less time for a message than this client needs with a server that "
       "computes nothing (throughput.py)",
    64: "the client, as in the comparison with a server that computes nothing",
}
HERE = pathlib.Path(__file__).parent


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Triton:
    """The folders of a Triton server, and what it takes to start it."""

    def __init__(self, python, folder, options):
        weights = folder / "lstmd" / load.MODEL / "1" / "model.safetensors"
        load.write_safetensors(weights, load.weights(options.hidden))
        made = self.output(python, HERE / "triton_repository" / "make.py", folder, options.hidden, weights,
                           options.strategy)
        packages = self.output(python, "-c", "import site; print(site.getsitepackages()[0])")
        self.command = [made, "--model-repository", folder / "repository", "--backend-directory", folder / "backends",
                        "--grpc-address", "127.0.0.1", "--allow-http", "false", "--allow-metrics", "false"]
        self.environment = {**os.environ, "PYTHONPATH": packages,
                            "PATH": f"{pathlib.Path(python).parent}:{os.environ['PATH']}",
                            "LD_LIBRARY_PATH": str(pathlib.Path(packages, "nvidia_pytriton.libs"))}
        self.log = folder / "log"

    @staticmethod
    def output(*command):
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=load.TIMEOUT,
                             check=False)
        if run.returncode != 0:
            sys.exit(run.stderr)
        return run.stdout.strip()

    @contextlib.contextmanager
    def serve(self):
        port = free_port()  # it takes no port 0
        with open(self.log, "w+", encoding="utf-8") as log:
            server = subprocess.Popen([*self.command, "--grpc-port", str(port)], env=self.environment, stdout=log,
                                      stderr=subprocess.STDOUT)
            try:
                stub = client.InferenceServerClient(f"127.0.0.1:{port}")

                def ready():
                    with contextlib.suppress(client.InferenceServerException):
                        return stub.is_model_ready(load.MODEL)
                    return server.poll() is not None
                load.wait(ready, "the start of tritonserver")
                if server.poll() is not None:
                    log.seek(0)
                    print(log.read()[-3000:])
                    print("skipped: tritonserver does not start here")
                    sys.exit(77)
                yield f"127.0.0.1:{port}"
            finally:
                server.terminate()
                server.wait(load.TIMEOUT)


def outputs(address, hidden):
    """Of a sequence of 20 steps."""
    random = numpy.random.default_rng(2)
    stub = client.InferenceServerClient(address)
    result = []
    for step in range(20):
        value = client.InferInput("INPUT", [1, hidden], "FP32")
        value.set_data_from_numpy(random.standard_normal((1, hidden)).astype(numpy.float32))
        answer = stub.infer(load.MODEL, [value], sequence_id=99, sequence_start=step == 0, sequence_end=step == 19)
        result.append(answer.as_numpy("OUTPUT"))
    return numpy.concatenate(result)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lstmd")
    parser.add_argument("triton_python")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--strategy", choices=["direct", "oldest"], default="direct")
    parser.add_argument("--budget", type=float, default=240, help="seconds after which no other run begins")
    parser.add_argument("--json")
    options = parser.parse_args()
    if problem := load.PerfAnalyzer().problem:
        print(f"skipped: {problem}")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        triton = Triton(options.triton_python, folder, options)

        def ours():
            return load.lstmd(options.lstmd, folder, options.hidden)
        with triton.serve() as theirs, ours() as address:
            error = numpy.abs(outputs(address, options.hidden) - outputs(theirs, options.hidden)).max()
        print(f"largest difference between their outputs: {error:.1e}")
        if not error < 1e-5:
            sys.exit("they do not compute the same")
        result = load.compare([("Triton", triton.serve), ("lstmd", ours)], GOALS, options.rounds, options.seconds,
                              options.budget)
    load.report(options.json, "Beside Triton", f"Triton, strategy {options.strategy}", result, GOALS, BOUNDS)


if __name__ == "__main__":
    main()
