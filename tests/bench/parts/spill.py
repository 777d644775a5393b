#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""More sessions than there is room for: memory, and how long one takes to come back. A part of tests/bench/run.sh."""
import json
import os
import subprocess
import sys
import tempfile

PROGRAM = os.path.join(os.environ.get("BENCH_BIN", "build/release/bin"), "lstmd_spill_bench")
OUT = os.environ.get("BENCH_OUT", ".")
SIZES = {"smoke": (5_000, 200, 1, 500), "quick": (100_000, 1_000, 8, 5_000), "full": (1_000_000, 10_000, 64, 20_000)}


def main():
    if not os.path.exists(PROGRAM):
        print("lstmd_spill_bench is not built")
        return 77
    sessions, resident, host_mib, samples = SIZES[os.environ.get("BENCH_MODE", "smoke")]
    with tempfile.TemporaryDirectory(prefix="lstmd_spill_") as folder:
        done = subprocess.run([PROGRAM, "--sessions", str(sessions), "--resident", str(resident), "--host-mib", str(host_mib),
                               "--samples", str(samples), "--folder", folder], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout)
        return 1
    found = json.loads(done.stdout)
    times = found["step_us"]
    mib = 1 << 20
    result = {
        "title": "Spilling",
        "text": f"{found['sessions']:,} sessions of a model with hidden size 64, each created and stepped once "
                f"({found['created_and_stepped_per_second']:,} a second), then steps of sessions at random, one at a time. In all "
                f"{found['memory_bytes'] / mib:,.0f} MiB of memory; the budget, {found['budget_bytes'] / mib:,.0f} MiB, is what is "
                f"resident, {host_mib} MiB for spilled states, 600 bytes and the name of each session, and 256 MiB for the rest.",
        "tables": [{"title": "Where a session was, and how long its step took", "columns": ["", "sessions", "p50 µs", "p99 µs"],
                    "rows": [["on the device", found["resident"], times["device_p50"], times["device_p99"]],
                             ["in host memory", found["on_host"], times["host_p50"], times["host_p99"]],
                             ["on disk", found["on_disk"], times["disk_p50"], times["disk_p99"]]]}]}
    with open(os.path.join(OUT, "spill.json"), "w", encoding="utf-8") as file:
        json.dump(result, file, ensure_ascii=False, indent=1)
    print(done.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
