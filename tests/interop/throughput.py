# SPDX-License-Identifier: Apache-2.0
"""throughput.py LSTMD NOOP [--hidden H] [--rounds N] [--seconds S]: perf_analyzer against lstmd and against a server
that computes nothing, in turns. Prints steps per second and their ratio at concurrency 1 and 64; the goal is 85 %.
With --json FILE also as JSON, as a part of tests/bench. Exit status 77 (skipped) where perf_analyzer does not run.
"""
import argparse
import sys
import tempfile

import load

GOALS = {1: 0.85, 64: 0.85}
BOUNDS = {
    1: "the step itself: at H 256 one core computes 24 µs, to which client and gRPC add 75 to 100 µs a message; with "
       "nothing else about 80 % are left. Tried: the step runs on the thread that read it, the next read stands before "
       "the reply is written, requests keep their memory.",
    64: "client and server share the cores. Of a message's CPU time the LSTM takes a tenth, in batches of about 16; the "
        "rest is the kernel's TCP path and its switches between gRPC's, the engine's and the client's threads. Tried: "
        "as at 1, other allocators, one computing thread.",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lstmd")
    parser.add_argument("noop")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    if problem := load.PerfAnalyzer().problem:
        print(f"skipped: {problem}")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        result = load.compare([
            ("no-op", lambda: load.Server(options.noop, "127.0.0.1:0", load.MODEL, options.hidden)),
            ("lstmd", lambda: load.lstmd(options.lstmd, folder, options.hidden)),
        ], GOALS, options.rounds, options.seconds)
    load.report(options.json, "Open Inference Protocol", "a server that computes nothing", result, GOALS, BOUNDS)


if __name__ == "__main__":
    main()
