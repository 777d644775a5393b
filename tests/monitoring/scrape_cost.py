#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What it costs to be watched: throughput with a scrape every second to that without, as a ratio.

scrape_cost.py BIN [--rounds N] [--seconds S] [--every E]. Rounds of both kinds take turns, so that what else the
machine does hits both; the ratio is the median of those of neighbouring rounds. The processor time of one scrape is
measured apart, over hundreds, and bounds the cost where the machine is too busy for a ratio. Not a test: it says what
it finds.
"""
import json
import re
import statistics
import subprocess
import threading
import time

import common

SCRAPES = 300


def bench(options, server):
    answer = subprocess.run([options.bin / "lstmctl", "--server", server.address, "--json", "bench", "--model", "sunspots",
                             "--seconds", str(options.seconds), "--warmup", "0.3"], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)["steps_per_second"]


def scrape_until(server, every, stop, times):
    while not stop.wait(every):
        start = time.perf_counter()
        server.get("/metrics")
        times.append(time.perf_counter() - start)


def processor_seconds(server):
    return float(re.search(r"^process_cpu_seconds_total (\S+)", server.get("/metrics"), re.MULTILINE)[1])


def measure(options):
    quiet, watched, times = [], [], []
    with common.server(options.bin) as server:
        bench(options, server)
        start = processor_seconds(server)
        for _ in range(SCRAPES):
            server.get("/metrics")
        used = (processor_seconds(server) - start) / (SCRAPES + 1)

        def watch():
            stop = threading.Event()
            thread = threading.Thread(target=scrape_until, args=(server, options.every, stop, times))
            thread.start()
            watched.append(bench(options, server))
            stop.set()
            thread.join()

        for round_number in range(options.rounds):
            # Each kind goes first as often as the other.
            if round_number % 2:
                watch()
            quiet.append(bench(options, server))
            if not round_number % 2:
                watch()
    return {"steps_per_second_quiet": [round(x) for x in quiet], "steps_per_second_watched": [round(x) for x in watched],
            "scrapes": len(times), "scraped_every_seconds": options.every,
            "scrape_milliseconds": round(1000 * statistics.median(times), 3) if times else None,
            "scrape_processor_milliseconds": round(1000 * used, 3),
            "ratio": round(statistics.median(w / q for w, q in zip(watched, quiet)), 4) if quiet else None}


def main():
    options = common.arguments(__doc__.splitlines()[0], ("--rounds", {"type": int, "default": 5}),
                               ("--seconds", {"type": float, "default": 3.0}), ("--every", {"type": float, "default": 1.0}))
    print(json.dumps(measure(options), indent=1))


if __name__ == "__main__":
    main()
