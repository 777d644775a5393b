# SPDX-License-Identifier: Apache-2.0
"""throughput.py LSTMD NOOP [--hidden H] [--rounds N] [--seconds S] [--budget S]: perf_analyzer against lstmd and against
a server that computes nothing, in turns. Prints steps per second and their ratio at concurrency 1 and 64; the goal is
85 %. With --json FILE also as JSON, as a part of tests/bench. Exit status 77 (skipped) where perf_analyzer does not run.
"""
import argparse
import sys
import tempfile

import load

GOALS = {1: 0.85, 64: 0.85}
BOUNDS = {
    1: "the weights, 2 MiB, which a core with 1 MiB of L2 streams from L3 in each step: 14 µs in a loop, 20 to 24 µs between "
       "messages, where the core has slept; 15 % of the no-op server's time for a message is 12 to 15 µs. What the server does "
       "beside the step takes 5 µs. Tried: the reply takes the flow control's update along (a tenth off the round trip); "
       "messages keep their memory (35 of 51 allocations of a message less); helpers woken for the step (no gain: they come "
       "when it is over), huge pages for weights (none that could be told from noise).",
    64: "client and server share the cores. A message costs 68 µs of processor time with the no-op server, of which perf_analyzer "
        "takes 53, and 94 with lstmd: 8 in the LSTM (batches of about 16), 7 in more user code and its cache misses, 2 in "
        "flow control's updates that go out alone, as the reply comes later, 3 in switches of threads, 3 in the client's cache "
        "misses. Tried: as at 1; batches on the reading threads whatever they take (no gain); one computing thread (3 % slower).",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lstmd")
    parser.add_argument("noop")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--budget", type=float, default=240, help="seconds after which no other run begins")
    parser.add_argument("--json")
    options = parser.parse_args()
    if problem := load.PerfAnalyzer().problem:
        print(f"skipped: {problem}")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        result = load.compare([
            ("no-op", lambda: load.Server(options.noop, "127.0.0.1:0", load.MODEL, options.hidden)),
            ("lstmd", lambda: load.lstmd(options.lstmd, folder, options.hidden)),
        ], GOALS, options.rounds, options.seconds, options.budget)
    load.report(options.json, "Open Inference Protocol", "a server that computes nothing", result, GOALS, BOUNDS)


if __name__ == "__main__":
    main()
