# SPDX-License-Identifier: Apache-2.0
"""The server over loopback, H 128, beside gRPC's own echo with messages of the same size; client and server share the
cores. What is compared runs in turns, and a ratio is the median of those of the turns."""
import statistics
import threading

from engine_rows import goal
from programs import Echo

MODEL, BYTES = "h128", 512  # a step's input, and its output: 128 floats


def turns(rounds, *calls):
    """[[result of each call] of each round]"""
    return [[call() for call in calls] for _ in range(rounds)]


def median(values):
    return statistics.median(values)


def against_echo(server, echo, rounds, seconds, streams, in_flight, unary=False):
    sessions = streams * in_flight
    got = turns(rounds,
                lambda: server.bench(MODEL, seconds, sessions=sessions, streams=streams, unary=unary),
                lambda: echo.bench(seconds, BYTES, streams, in_flight, unary))
    return {"streams": streams, "in_flight": in_flight, "unary": unary,
            "ours": median(o["messages_per_second"] for o, _ in got), "ours_p50": median(o["p50"] for o, _ in got),
            "ours_p99": median(o["p99"] for o, _ in got), "batch": median(o["mean_batch"] for o, _ in got),
            "echo": median(e["messages_per_second"] for _, e in got), "echo_p50": median(e["p50"] for _, e in got),
            "echo_p99": median(e["p99"] for _, e in got),
            "throughput": median(o["messages_per_second"] / e["messages_per_second"] for o, e in got),
            "latency": median(o["p50"] / e["p50"] for o, e in got)}


class Background:
    """Long sequences beside what is measured."""

    def __init__(self, server, seconds):
        self.result = None
        self.thread = threading.Thread(target=self._run, args=(server, seconds))
        self.thread.start()

    def _run(self, server, seconds):
        self.result = server.bench(MODEL, seconds, sequence=500, sessions=4, streams=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()


def mixed(server, rounds, seconds, rate):
    """p99 of a step of 256 sessions, without and with 4 sequences of T 500 always running beside."""
    def steps():
        return server.bench(MODEL, seconds, sessions=256, streams=8, rate=rate)

    def beside():
        with Background(server, seconds + 1.2) as background:
            result = steps()
        result["sequence_steps"] = background.result["steps_per_second"]
        return result

    got = turns(rounds, steps, beside)
    return {"rate": rate, "alone": median(a["p99"] for a, _ in got), "beside": median(b["p99"] for _, b in got),
            "alone_p50": median(a["p50"] for a, _ in got), "beside_p50": median(b["p50"] for _, b in got),
            "alone_steps": median(a["steps_per_second"] for a, _ in got),
            "beside_steps": median(b["steps_per_second"] for _, b in got),
            "sequence_steps": median(b["sequence_steps"] for _, b in got),
            "ratio": median(b["p99"] / a["p99"] for a, b in got)}


def measure(mode, server, log):
    rounds, seconds = {"smoke": (1, 0.1), "quick": (1, 0.5), "full": (5, 0.8)}[mode]
    found = {"echo": [], "frames": [], "load": [], "mixed": []}
    with Echo() as echo:
        loads = [(1, 1, False), (64, 1, False), (4, 16, False), (1, 64, False)]
        if mode != "smoke":
            loads += [(8, 1, False), (1, 1, True), (64, 1, True)]
        for streams, in_flight, unary in loads:
            log(f"wire: {'unary' if unary else 'streams'} {streams} × {in_flight}")
            found["echo"].append(against_echo(server, echo, rounds, seconds, streams, in_flight, unary))
    log("wire: steps in a frame")
    for handles in {"smoke": (1, 4), "quick": (1, 8, 64), "full": (1, 2, 4, 8, 16, 32, 64, 128, 256)}[mode]:
        got = [server.bench(MODEL, seconds, sessions=2 * handles, streams=2, handles=handles)
               for _ in range(max(1, rounds // 2))]
        found["frames"].append({"handles": handles, "steps": median(g["steps_per_second"] for g in got),
                                "p50": median(g["p50"] for g in got), "batch": median(g["mean_batch"] for g in got)})
    if mode != "smoke":
        log("wire: 64 handles against one step a message")
        found["pairs"] = turns(rounds, lambda: server.bench(MODEL, seconds, sessions=128, streams=2, handles=64),
                               lambda: server.bench(MODEL, seconds, sessions=64, streams=64),
                               lambda: server.bench(MODEL, seconds, sessions=64, streams=4),
                               lambda: server.bench(MODEL, seconds, sessions=2, streams=2))
    log("wire: latency against load")
    most = server.bench(MODEL, seconds, sessions=256, streams=8)["steps_per_second"]
    for part in {"smoke": (0.2,), "quick": (0.1, 0.5, 0.9), "full": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)}[mode]:
        got = server.bench(MODEL, max(seconds, 0.1), sessions=256, streams=8, rate=round(part * most))
        found["load"].append({"rate": part * most, "part": part, "steps": got["steps_per_second"], "p50": got["p50"],
                              "p99": got["p99"], "unsent": got["unsent"]})
    if mode != "smoke":
        log("wire: long sequences beside steps")
        for part in (0.25, None):
            found["mixed"].append(mixed(server, max(1, rounds - 2), 3 * seconds, round(part * most) if part else None))
    return found


def frame_note(kernel, single):
    """What bounds frames; kernel: steps/s of the engine alone at H 128, N 64, in the same run."""
    if not kernel:
        return ""
    times = kernel / single
    if times < 10:
        bound = "10 is beyond what the arithmetic allows"
    elif times < 15:
        bound = "10 is near what the arithmetic allows, as client and server share the cores"
    else:
        bound = "what bounds a frame is the way of its rows through the client and the server's threads, which share the cores"
    return (f"The kernel alone, on all cores and with nobody else on them, makes {kernel:,.0f} steps/s at N 64 in this run, which "
            f"is {times:.1f} times the other side: {bound}. One step a message is itself batched by the server, and "
            "on few streams shares replies. Tried: inputs are read where they lie in the message, works and messages are used "
            "again, and results of a batch are one block.")


def goals(found, kernel=None):
    def row(streams, in_flight, unary=False):
        return next(r for r in found["echo"] if (r["streams"], r["in_flight"], r["unary"]) == (streams, in_flight, unary))

    one, many = row(1, 1), row(64, 1)
    result = [goal("single-session stream, H 128", "raw gRPC echo ping-pong, 512-byte messages", "≤ 1.25 of its round trip",
                   one["latency"], one["latency"] <= 1.25, f"p50 {one['ours_p50']:.1f} µs", f"p50 {one['echo_p50']:.1f} µs")]
    for load in (many, row(4, 16)):
        result.append(goal(f"64 sessions, one step a message, {load['streams']} streams",
                           "raw gRPC echo, same message sizes, streams and messages in flight", "≥ 0.70 of its messages/s",
                           load["throughput"], load["throughput"] >= 0.7, f"{load['ours']:,.0f} messages/s",
                           f"{load['echo']:,.0f} messages/s"))
    for index, what in ((1, "64 sessions on 64 streams"), (2, "64 sessions on 4 streams"), (3, "2 sessions on 2 streams")):
        if "pairs" not in found:
            break
        pairs = [(turn[0]["steps_per_second"], turn[index]["steps_per_second"]) for turn in found["pairs"]]
        ratio = median(frame / single for frame, single in pairs)
        result.append(goal("64-handle frames, H 128, 2 streams", f"one step a message, {what}", "≥ 10 × steps/s", ratio,
                           ratio >= 10, f"{median(p[0] for p in pairs):,.0f} steps/s",
                           f"{median(p[1] for p in pairs):,.0f} steps/s",
                           frame_note(kernel, median(p[1] for p in pairs))))
    for load in found["mixed"]:
        how = f"{load['rate']:,} steps/s" if load["rate"] else "as fast as answered"
        result.append(goal(f"256 sessions ({how}), 4 sequences of T 500 always running beside",
                           "p99 of a step without the sequences", "≤ 2", load["ratio"], load["ratio"] <= 2,
                           f"p99 {load['beside'] / 1e3:.2f} ms", f"p99 {load['alone'] / 1e3:.2f} ms"))
    return result


def section(found):
    echo = [["unary" if r["unary"] else "stream", r["streams"], r["in_flight"], r["ours"], r["echo"], r["throughput"],
             r["ours_p50"], r["echo_p50"], r["latency"], r["ours_p99"], r["echo_p99"], r["batch"]] for r in found["echo"]]
    tables = [{"title": "One step a message, and echo", "rows": echo,
               "columns": ["kind", "streams", "in flight on each", "steps/s", "echo messages/s", "ratio", "p50 µs",
                           "echo p50 µs", "ratio p50", "p99 µs", "echo p99 µs", "mean batch"]},
              {"title": "Steps in a frame (2 streams, one frame in flight on each)",
               "columns": ["handles", "steps/s", "p50 of a frame µs", "mean batch"],
               "rows": [[r["handles"], r["steps"], r["p50"], r["batch"]] for r in found["frames"]]},
              {"title": "Latency at a given load (256 sessions, 8 streams; from the time a step was due)",
               "columns": ["wanted steps/s", "of the most", "steps/s", "p50 µs", "p99 µs", "not sent"],
               "rows": [[r["rate"], r["part"], r["steps"], r["p50"], r["p99"], r["unsent"]] for r in found["load"]]}]
    if found["mixed"]:
        tables.append({"title": "256 sessions, without and with 4 sequences of T 500 always running",
                       "columns": ["wanted steps/s", "steps/s alone", "steps/s beside", "time steps/s of the sequences",
                                   "p50 alone µs", "p50 beside µs", "p99 alone µs", "p99 beside µs", "ratio p99"],
                       "rows": [[r["rate"] or "all", r["alone_steps"], r["beside_steps"], r["sequence_steps"],
                                 r["alone_p50"], r["beside_p50"], r["alone"], r["beside"], r["ratio"]]
                                for r in found["mixed"]]})
    return {"title": "Wire", "tables": tables,
            "text": "One layer, H 128, f32. Server and load generator share the machine's cores, as do echo's two programs."}
