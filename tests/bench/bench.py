#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the engine and the server beside their peers and writes a report; started by run.sh.

Usage: bench.py --mode smoke|quick|full --results FILE.md [--only engine,wire,scaling,parts]
Beside FILE.md it writes plots into the folder FILE/ and, for programs, FILE.json into the build. BENCH_BIN is the folder
of the programs, BENCH_WORK a folder for models and the like.

Parts of their own: each tests/bench/parts/NAME.py or NAME.sh (BENCH_PARTS: of another folder) runs in order of name from the root of the
repository, with BENCH_BIN, BENCH_PYTHON, BENCH_OUT and BENCH_MODE (smoke: under 10 s and the numbers mean nothing,
quick: under 30 s, full: under 90 s) in the environment. Exit status 0: it has written $BENCH_OUT/NAME.json; 77: skipped,
the last line of its output says why; otherwise it
failed, and the exit status of the run tells. NAME.json, of which only the title must be there:
  {"title": "Durability", "text": "Markdown",
   "goals": [{"what": "…", "against": "…", "goal": ">= 0.8", "ours": "123 steps/s", "peer": "140 steps/s",
              "ratio": 0.88, "met": true, "note": "where missed: what was tried, what bounds it"}],
   "tables": [{"title": "…", "columns": ["a", "b"], "rows": [[1, 2.5]]}], "plots": ["NAME_x.png"]}
Goals go into the table of goals, the rest becomes a section.
"""
import argparse
import datetime
import glob
import json
import os
import platform
import shutil
import subprocess
import sys
import time

import engine_rows
import plots
import report
import scaling_rows
import wire_rows
from bounds import WHY
from programs import BIN, Lstmd, program

HERE = os.path.dirname(os.path.abspath(__file__))


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as info:
        lines = info.read().splitlines()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    for line in lines:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    sets = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd") if name in flags]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} cores of {model} ({', '.join(sets)}), {pages:.0f} GiB, Linux {platform.release()}"


class Run:
    def __init__(self, mode, plots_to):
        self.mode, self.plots_to = mode, plots_to
        self.begin = time.monotonic()
        self.work = os.environ.get("BENCH_WORK", "build/bench/work")
        self.goals, self.sections, self.skipped, self.failed, self.raw = [], [], [], [], {}
        os.makedirs(self.work, exist_ok=True)

    def log(self, text):
        print(f"[{time.monotonic() - self.begin:5.0f} s] {text}", flush=True)

    def draw(self, section, function, data):
        try:
            plot = function(data, self.plots_to)
        except ImportError as error:
            if f"plots: {error}" not in self.skipped:
                self.skipped.append(f"plots: {error}")
            return
        if plot:
            section.setdefault("plots", []).append(plot)

    def engine(self):
        if not os.path.exists(program("lstmd_bench")):
            self.skipped.append("the engine's rows: lstmd_bench is not built (it needs oneDNN)")
            return
        rows, versions = engine_rows.measure(self.mode, self.log)
        self.raw["engine"] = rows
        for name, version in versions.items():
            if version.startswith("skipped"):
                self.skipped.append(f"{name}: {version}")
        self.goals += engine_rows.goals(rows, versions)
        self.sections.append(engine_rows.section(rows, versions))
        self.draw(self.sections[-1], plots.heat_map, rows)

    def repository(self):
        folder = os.path.join(self.work, "models")
        scaling_rows.make_models(folder, "h128=128")
        return folder

    def wire(self):
        with Lstmd(self.repository()) as server:
            found = wire_rows.measure(self.mode, server, self.log)
        self.raw["wire"] = found
        kernel = [64e6 / row["us"]["f32"] for row in self.raw.get("engine", [])
                  if (row["T"], row["H"], row["N"]) == (1, 128, 64)]
        self.goals += wire_rows.goals(found, kernel[0] if kernel else None)
        self.sections.append(wire_rows.section(found))
        self.draw(self.sections[-1], plots.latency, found["load"])
        self.draw(self.sections[-1], plots.frames, found["frames"])

    def scaling(self):
        found = scaling_rows.measure(self.mode, self.repository(), self.work, self.log)
        self.raw["scaling"] = found
        self.goals += scaling_rows.goals(found)
        self.sections.append(scaling_rows.section(found))

    def parts(self):
        out = os.path.abspath(os.path.join(self.work, "parts"))
        os.makedirs(out, exist_ok=True)
        environment = dict(os.environ, BENCH_BIN=os.path.abspath(BIN), BENCH_PYTHON=sys.executable, BENCH_OUT=out,
                           BENCH_MODE=self.mode)
        folder = os.environ.get("BENCH_PARTS", os.path.join(HERE, "parts"))
        for path in sorted(glob.glob(os.path.join(folder, "*.py")) + glob.glob(os.path.join(folder, "*.sh"))):
            self.attempt(f"part {os.path.basename(path)}", lambda: self.part(path, out, environment))

    def part(self, path, out, environment):
        name = os.path.splitext(os.path.basename(path))[0]
        self.log(f"part {name}")
        command = [sys.executable if path.endswith(".py") else "bash", os.path.abspath(path)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              cwd=os.path.join(HERE, "..", ".."), timeout=300)
        if done.returncode == 77:
            self.skipped.append(f"{name}: {(done.stdout.strip().splitlines() or ['no reason given'])[-1]}")
            return
        if done.returncode != 0:
            raise RuntimeError(f"exit status {done.returncode}\n{done.stdout}")
        with open(os.path.join(out, f"{name}.json")) as file:
            part = json.load(file)
        for plot in part.get("plots", []):
            shutil.copy(os.path.join(out, plot), self.plots_to)
        self.goals += part.get("goals", [])
        self.sections.append(part)

    def attempt(self, what, call):
        """What fails does not take the rest with it, and the exit status tells."""
        try:
            call()
        except Exception as error:  # noqa: BLE001: whatever it is, the other measurements are worth having
            self.failed.append(what)
            print(f"FAILED: {what}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("smoke", "quick", "full"), default="full")
    parser.add_argument("--results", required=True)
    parser.add_argument("--only", default="engine,wire,scaling,parts")
    parser.add_argument("--command", default="bash tests/bench/run.sh")
    args = parser.parse_args()
    base = os.path.splitext(args.results)[0]
    plots_to = f"{base}_plots"
    os.makedirs(plots_to, exist_ok=True)
    run = Run(args.mode, plots_to)
    for name in args.only.split(","):
        run.attempt(name, getattr(run, name))
    results = {"command": args.command, "date": datetime.date.today().isoformat(), "machine": machine(), "goals": run.goals,
               "sections": run.sections, "skipped": run.skipped, "failed": run.failed, "plots_folder": os.path.basename(plots_to), "mode": args.mode}
    with open(args.results, "w") as file:
        file.write(report.markdown(results, WHY))
    with open(os.path.join(run.work, "results.json"), "w") as file:
        json.dump(dict(results, raw=run.raw), file, indent=1)
    print()
    for goal in run.goals:
        print(f"{report.verdict(goal).strip('*'):12} {report.number(goal.get('ratio')):>6}  want {goal['goal']}: {goal['what']}"
              + (f", against {goal['against']}" if goal.get("against") else ""))
    for skipped in run.skipped:
        print(f"skipped: {skipped}")
    for failed in run.failed:
        print(f"FAILED: {failed}")
    missed = report.notes(run.goals, WHY)
    if missed:
        print(f"\nWhat bounds those that are missed:\n{missed}")
    print(f"\n{sum(1 for g in run.goals if g['met'])} of {len(run.goals)} goals met; {args.results}")
    sys.exit(1 if run.failed else 0)


if __name__ == "__main__":
    main()
