#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Steps a second with each durability, on RocksDB and on Redis, in one run. A part of tests/bench/run.sh."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

BIN = os.environ.get("BENCH_BIN", "build/release/bin")
OUT = os.environ.get("BENCH_OUT", ".")
MODE = os.environ.get("BENCH_MODE", "smoke")
SECONDS = {"smoke": 0.2, "quick": 1.0, "full": 3.0}[MODE]
# One session that waits for each reply; many whose steps meet in groups.
LOADS = {"1 session": ["--sessions", "1", "--streams", "1"],
         "64 sessions": ["--sessions", "64", "--streams", "4"],
         "256 sessions, 64 in a message": ["--sessions", "256", "--streams", "4", "--handles", "64"]}


def start(command, line):
    """A process, and what `line` matches in its output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for text in process.stdout:
        found = re.search(line, text)
        if found:
            return process, found
    process.wait()
    raise RuntimeError(f"{' '.join(command)} did not start")


def stop(process):
    process.terminate()
    process.wait()
    process.stdout.close()


def measure(flags):
    server, found = start([f"{BIN}/lstmd", "--repository", "deploy/models", "--listen", "127.0.0.1:0", "--device", "cpu",
                           "--log-level", "off", *flags], r"listening on (\S+)")
    try:
        rows = {}
        for load, options in LOADS.items():
            done = subprocess.run([f"{BIN}/lstmctl", "--server", found.group(1), "--json", "bench", "--model", "sunspots",
                                   "--seconds", str(SECONDS), "--warmup", "0.1", *options],
                                  check=True, stdout=subprocess.PIPE, text=True)
            rows[load] = json.loads(done.stdout)
        return rows
    finally:
        stop(server)


def main():
    if shutil.which("redis-server") is None:
        print("redis-server is not installed")
        return 77
    folder = tempfile.mkdtemp(prefix="lstmd_durability_")
    redis = []
    try:
        def with_redis(fsync):
            socket = f"{folder}/{fsync}.sock"
            os.mkdir(f"{folder}/{fsync}")
            redis.append(start(["redis-server", "--port", "0", "--unixsocket", socket, "--dir", f"{folder}/{fsync}", "--save",
                                "", "--appendonly", "yes", "--appendfsync", fsync], "ready to accept")[0])
            return ["--store", f"redis:unix:{socket}"]

        rocks = ["--store", f"rocksdb:{folder}/rocks"]
        always, everysec = with_redis("always"), with_redis("everysec")
        kinds = [("none, no store", []),
                 ("periodic, RocksDB", [*rocks, "--durability", "periodic"]),
                 ("periodic, Redis (appendfsync everysec)", [*everysec, "--durability", "periodic"]),
                 ("periodic, Redis (appendfsync always)", [*always, "--durability", "periodic"]),
                 ("every step, RocksDB", [*rocks, "--durability", "every_step"]),
                 ("every step, Redis (appendfsync everysec)", [*everysec, "--durability", "every_step"]),
                 ("every step, Redis (appendfsync always)", [*always, "--durability", "every_step"])]
        rows = []
        for name, flags in kinds:
            results = measure(flags)
            rows.append([name] + [f"{round(results[load]['steps_per_second']):,} ({1000 * results[load]['latency_ms']['p99']:.0f} µs)"
                                  for load in LOADS])
        result = {
            "title": "Durability",
            "text": "Steps a second and, in brackets, the p99 latency of a message, with the sample model. Periodic: "
                    "`--checkpoint-steps 64 --checkpoint-interval 1s`. Every step: a reply comes when the store has its step; "
                    "RocksDB has then called fdatasync, Redis as its `appendfsync` says.",
            "tables": [{"title": "steps/s", "columns": ["durability", *LOADS], "rows": rows}]}
        with open(os.path.join(OUT, "durability.json"), "w", encoding="utf-8") as file:
            json.dump(result, file, ensure_ascii=False, indent=1)
        for row in rows:
            print("  ".join(row))
        return 0
    finally:
        for process in redis:
            stop(process)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
