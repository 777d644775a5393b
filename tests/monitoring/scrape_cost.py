#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What it costs to be watched: throughput with a scrape every second to that without, as a ratio.

Rounds with scrapes take turns with rounds without, so that what else the machine does hits both; their ratio is the
median of those of neighbouring rounds. A scrape a second costs less than rounds differ, so there are many a second, and
what throughput loses is shared out to them: the ratio with one a second, the scraper's own work included. The processor
time of a scrape is measured apart, over hundreds. Not a test: it says what it finds.
"""
import http.client
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


def scrape_until(server, rate, stop, times):
    connection = http.client.HTTPConnection(server.http.removeprefix("http://"), timeout=30)
    due = time.perf_counter()
    while not stop.wait(max(0.0, due - time.perf_counter())):
        due += 1 / rate
        start = time.perf_counter()
        connection.request("GET", "/metrics")
        connection.getresponse().read()
        times.append(time.perf_counter() - start)
    connection.close()


def processor_seconds(server):
    return float(re.search(r"^process_cpu_seconds_total (\S+)", server.get("/metrics"), re.MULTILINE)[1])


def measure(options):
    quiet, watched, times = [], [], []
    elapsed = 0.0
    with common.server(options.bin) as server:
        bench(options, server)
        start = processor_seconds(server)
        for _ in range(SCRAPES):
            server.get("/metrics")
        used = (processor_seconds(server) - start) / (SCRAPES + 1)

        def watch():
            nonlocal elapsed
            begin = time.perf_counter()
            stop = threading.Event()
            thread = threading.Thread(target=scrape_until, args=(server, options.rate, stop, times))
            thread.start()
            watched.append(bench(options, server))
            stop.set()
            thread.join()
            elapsed += time.perf_counter() - begin

        for round_number in range(options.rounds):
            # Each kind goes first as often as the other.
            if round_number % 2:
                watch()
            quiet.append(bench(options, server))
            if not round_number % 2:
                watch()
    ratio = statistics.median(w / q for w, q in zip(watched, quiet))
    done = len(times) / elapsed
    return {"steps_per_second_quiet": [round(x) for x in quiet], "steps_per_second_watched": [round(x) for x in watched],
            "scrapes": len(times), "scrapes_per_second": round(done, 1),
            "scrape_milliseconds": round(1000 * statistics.median(times), 3),
            "scrape_processor_milliseconds": round(1000 * used, 3),
            "ratio_with_all": round(ratio, 4), "ratio_with_one_per_second": round(1 - (1 - ratio) / done, 5)}


def main():
    options = common.arguments(__doc__.splitlines()[0], ("--rounds", {"type": int, "default": 5}),
                               ("--seconds", {"type": float, "default": 3.0}),
                               ("--rate", {"type": float, "default": 50.0, "help": "scrapes a second"}))
    print(json.dumps(measure(options), indent=1))


if __name__ == "__main__":
    main()
