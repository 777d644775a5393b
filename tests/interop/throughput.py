# SPDX-License-Identifier: Apache-2.0
"""throughput.py LSTMD NOOP [--hidden H] [--rounds N] [--seconds S]: perf_analyzer against lstmd and against a server
that computes nothing, in turns. Prints steps per second and their ratio at concurrency 1 and 64; the goal is 85 %.
With --json FILE also as JSON. Exit status 77 (skipped) where perf_analyzer does not run.
"""
import argparse
import json
import sys
import tempfile

import load

GOAL = 0.85


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
            ("lstmd", lambda: load.lstmd(options.lstmd, folder, options.hidden))], (1, 64), options.rounds, options.seconds)
    ratios = {concurrency: ours[0] / nothing[0] for concurrency, (nothing, ours) in result.items()}
    for concurrency, ratio in ratios.items():
        print(f"concurrency {concurrency:3}  {ratio:.1%} of the server that computes nothing (goal: {GOAL:.0%})")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({str(key): {"noop": nothing[0], "lstmd": ours[0], "ratio": ratios[key], "goal": GOAL}
                       for key, (nothing, ours) in result.items()}, file)


if __name__ == "__main__":
    main()
