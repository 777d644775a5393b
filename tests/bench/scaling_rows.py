# SPDX-License-Identifier: Apache-2.0
"""What a session, a model and a gigabyte of weights cost."""
import os
import subprocess
import sys
import threading
import time

from engine_rows import goal
from programs import Lstmd
from wire_rows import median

HERE = os.path.dirname(os.path.abspath(__file__))
STATE = 2 * 128 * 4  # h and c of one layer, H 128; unsequenced steps make no replay ring


class Peak:
    """The largest resident size of a server while something runs."""

    def __init__(self, server):
        self.server, self.bytes, self.over = server, server.resident_bytes(), threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self.over.wait(0.02):
            self.bytes = max(self.bytes, self.server.resident_bytes())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def make_models(folder, *names):
    subprocess.run([sys.executable, os.path.join(HERE, "make_models.py"), folder, *names], check=True)


def sessions(mode, repository, log):
    counts, seconds, rounds = {"smoke": ((1, 100), 0.1, 1), "quick": ((1, 1000, 20_000), 0.4, 2),
                               "full": ((1, 1000, 100_000), 1.0, 4)}[mode]
    rows = {count: {"sessions": count, "single": [], "frame": [], "bytes": None} for count in counts}
    # The same server, from few to many: what 100,000 sessions leave behind does not count against 1,000. Steps go round
    # over all sessions, one message in flight.
    for _ in range(rounds):
        with Lstmd(repository) as server:
            server.bench("h128", 0.2, sessions=64, streams=1, handles=64)
            for count in counts:
                log(f"scaling: {count} sessions")
                before = server.resident_bytes()
                with Peak(server) as peak:
                    got = server.bench("h128", seconds, sessions=count, streams=1, in_flight=1)
                    rows[count]["single"].append(got["p50"])
                    if count >= 64:
                        got = server.bench("h128", seconds, sessions=count, streams=1, handles=64, in_flight=1)
                        rows[count]["frame"].append(1e6 / got["steps_per_second"])
                if count >= 1000 and rows[count]["bytes"] is None:
                    rows[count]["bytes"] = (peak.bytes - before) / count
    return [dict(row, single=min(row["single"]), frame=min(row["frame"]) if row["frame"] else None)
            for row in rows.values()]


def models(mode, folder, log):
    counts, seconds = {"smoke": ((1, 2), 0.1), "quick": ((1, 64), 0.5), "full": ((1, 4, 16, 64), 1.0)}[mode]
    make_models(os.path.join(folder, "many"), f"m=128x{max(counts)}")
    with Lstmd(os.path.join(folder, "many")) as server:
        rows, per_model = [], server.resident_bytes() / max(counts)
        for count in counts:
            log(f"scaling: {count} models")
            names = ",".join(f"m-{k}" for k in range(count))
            got = [server.bench(names, seconds, sessions=256, streams=4, handles=64) for _ in range(2)]
            rows.append({"models": count, "steps": median(g["steps_per_second"] for g in got),
                         "batch": median(g["mean_batch"] for g in got), "p99": median(g["p99"] for g in got),
                         "bytes": per_model})
    return rows


def large_model(mode, folder, log):
    hidden = {"smoke": 256, "quick": 2048, "full": 5792}[mode]
    log(f"scaling: a model of H {hidden}")
    make_models(os.path.join(folder, "large"), f"large={hidden}")
    path = os.path.join(folder, "large", "large", "1", "model.safetensors")
    size = os.path.getsize(path)
    begin = time.monotonic()
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass
    read = time.monotonic() - begin  # it is in the page cache, as it is for the server
    with Lstmd(os.path.join(folder, "large")) as server:
        row = {"bytes": size, "read": read, "serve": server.seconds_to_serve, "resident": server.resident_bytes()}
        row["step"] = server.bench("large", 0.5 if mode == "full" else 0.1, sessions=1, streams=1)["p50"]
    os.remove(path)
    return row


def empty_start(folder, log):
    log("scaling: start-up")
    os.makedirs(os.path.join(folder, "none"), exist_ok=True)
    with Lstmd(os.path.join(folder, "none")) as server:
        return {"serve": server.seconds_to_serve, "resident": server.resident_bytes()}


def measure(mode, repository, folder, log):
    return {"sessions": sessions(mode, repository, log), "models": models(mode, folder, log),
            "empty": empty_start(folder, log), "large": large_model(mode, folder, log)}


def goals(found):
    rows = found["sessions"]
    few, many = rows[1], rows[-1]
    result = []
    if many["bytes"] is not None:
        beyond = many["bytes"] - STATE
        result.append(goal(f"{many['sessions']:,} resident sessions, H 128: memory of each beyond state and replay ring",
                           "", "< 2,048 bytes", beyond / 2048, beyond < 2048, f"{beyond:,.0f} bytes", "2,048 bytes"))
    ratio = many["single"] / few["single"]
    result.append(goal(f"a step with {many['sessions']:,} sessions resident, one message in flight, sessions in turn",
                       f"with {few['sessions']:,} resident", "≤ 1.3", ratio, ratio <= 1.3, f"p50 {many['single']:.1f} µs",
                       f"p50 {few['single']:.1f} µs"))
    if many["frame"] and few["frame"]:
        ratio = many["frame"] / few["frame"]
        result.append(goal(f"the same in frames of 64 steps, {many['sessions']:,} resident", f"with {few['sessions']:,} resident",
                           "≤ 1.3", ratio, ratio <= 1.3, f"{many['frame']:.2f} µs a step", f"{few['frame']:.2f} µs a step"))
    return result


def section(found):
    large, empty = found["large"], found["empty"]
    tables = [{"title": "Sessions resident (H 128; steps go round over all of them)",
               "columns": ["sessions", "step p50 µs", "step in frames of 64 µs", "bytes a session, state included"],
               "rows": [[r["sessions"], r["single"], r["frame"], r["bytes"]] for r in found["sessions"]]},
              {"title": "Models loaded (H 128, 513 KiB of weights each; 256 sessions spread over those stepped)",
               "columns": ["models stepped", "steps/s", "mean batch", "p99 of a frame of 64 µs",
                           "resident bytes for each model loaded"],
               "rows": [[r["models"], r["steps"], r["batch"], r["p99"], r["bytes"]] for r in found["models"]]},
              {"title": "Start-up",
               "columns": ["what", "weights MB", "to serve s", "reading the file once s", "resident MB", "step p50 µs"],
               "rows": [["no model", 0, empty["serve"], None, empty["resident"] / 1e6, None],
                        ["one large model", large["bytes"] / 1e6, large["serve"], large["read"], large["resident"] / 1e6,
                         large["step"]]]}]
    return {"title": "Scaling", "text": "", "tables": tables}
