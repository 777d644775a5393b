# SPDX-License-Identifier: Apache-2.0
"""The engine's kernels against oneDNN, ONNX Runtime and PyTorch, in turns: what is compared runs within seconds."""
import json
import math
import os
import subprocess
import sys
import tempfile
import time

from programs import program

HERE = os.path.dirname(os.path.abspath(__file__))
REDUCED = ("bf16_weights", "int8_weights", "bf16")


def geomean(values):
    values = list(values)
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else None


class Peer:
    """A peer_worker.py that stays; `version` is None and `skipped` says why where there is none."""

    def __init__(self, name, threads):
        self.name, self.version, self.skipped = name, None, None
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "peer_worker.py"), name, str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        first = json.loads(line) if line else {"skipped": "it did not start"}
        self.version, self.skipped = first.get("version"), first.get("skipped")

    def microseconds(self, cell, seconds):
        if self.version is None:
            return None
        self.process.stdin.write(json.dumps(dict(cell, seconds=seconds)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["us"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def lstmd_bench(hidden, batches, steps, precision, peer, seconds):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [program("lstmd_bench"), "--hidden", str(hidden), "--batch", ",".join(map(str, batches)),
                   "--steps", str(steps), "--threads", str(os.cpu_count()), "--rounds", "1",
                   "--seconds", str(seconds), "--json", out.name, "--precision", precision, "--peer", peer]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}")
        return json.load(out)


def measure(mode, log):
    """Rows {T, N, H, us: {precision: us}, peers: {name: us}, limit, fraction}; the best of all rounds of each."""
    rounds, seconds = {"smoke": (1, 0.001), "quick": (1, 0.01), "full": (3, 0.015)}[mode]
    grid = {"smoke": [(1, 64, [1, 4])],
            "quick": [(1, h, [1, 8, 64]) for h in (64, 128, 256, 512, 1024)] + [(50, 256, [1, 16])],
            "full": [(1, h, [1, 2, 4, 8, 16, 32, 64]) for h in (64, 128, 256, 512, 1024)] +
                    [(50, h, [1, 16]) for h in (128, 256, 512, 1024)] + [(500, h, [1, 16]) for h in (128, 256)]}[mode]
    peers = [Peer(name, os.cpu_count()) for name in ("onnxruntime", "torch")]
    rows = {}

    def best(row, kind, name, us):
        if us is not None:
            row[kind][name] = min(us, row[kind].get(name, math.inf))

    for steps, hidden, batches in grid:
        log(f"engine T {steps}, H {hidden}")
        for _ in range(rounds if steps < 500 else min(rounds, 2)):
            for precision in ("f32",) + (REDUCED if steps == 1 and mode != "smoke" else ()):
                for got in lstmd_bench(hidden, batches, steps, precision, "f32" if precision == "f32" else "none", seconds):
                    cell = (got["T"], got["H"], got["N"])
                    row = rows.setdefault(cell, {"T": got["T"], "H": got["H"], "N": got["N"], "us": {}, "peers": {},
                                                 "limit": got["limit"], "fraction": 0})
                    best(row, "us", precision, got["us"])
                    if precision == "f32":
                        best(row, "peers", "oneDNN", got["peer_us"] or None)
                        row["fraction"] = max(row["fraction"], got["fraction"])
            for batch in batches:
                row = rows[(steps, hidden, batch)]
                for peer in peers:
                    time.sleep(0.005)  # the threads of the one before spin for a while
                    best(row, "peers", peer.name, peer.microseconds({"T": steps, "H": hidden, "N": batch}, 2 * seconds))
    versions = {peer.name: peer.version or f"skipped: {peer.skipped}" for peer in peers}
    for peer in peers:
        peer.close()
    return list(rows.values()), versions


def goal(what, against, want, ratio, met, ours="", peer="", note=""):
    return {"what": what, "against": against, "goal": want, "ratio": ratio, "met": met, "ours": ours, "peer": peer,
            "note": note}


def has_amx():
    with open("/proc/cpuinfo") as info:
        return "amx_bf16" in info.read()


def ratios(rows, peer, precisions=("f32",)):
    """(cell, ratio) where both were measured."""
    for row in rows:
        ours = [row["us"][p] for p in precisions if p in row["us"]]
        if ours and peer in row["peers"]:
            yield f"H {row['H']}, N {row['N']}", row["peers"][peer] / min(ours)


def compared(what, against, want, pairs, at_least, everywhere=0.0):
    pairs = list(pairs)
    if not pairs:
        return goal(what, against, want, None, False, note=f"not measured: {against} is not here")
    mean, worst = geomean(r for _, r in pairs), min(pairs, key=lambda pair: pair[1])
    return goal(what, against, want, mean, mean >= at_least and worst[1] >= everywhere,
                ours=f"{len(pairs)} cells", peer=f"worst cell {worst[1]:.2f}× ({worst[0]})")


def goals(rows, versions):
    steps = [row for row in rows if row["T"] == 1]
    sequences = [row for row in rows if row["T"] > 1]
    found = [compared("f32 step, H 64–1024 × N 1–64", "oneDNN LSTM primitive, same process",
                      "geometric mean ≥ 1.3, no cell below 1", ratios(steps, "oneDNN"), 1.3, 1.0),
             compared("f32 step", "ONNX Runtime", "geometric mean ≥ 2", ratios(steps, "onnxruntime"), 2.0)]
    for what, against, want, hidden, batch, least in (
            ("f32 step, compute bound (H 256, N 64)", "FMA peak of the same run", "≥ 0.85", 256, 64, 0.85),
            ("f32 step, weight bound (H 1024, N 1)", "read bandwidth of the same run", "≥ 0.90", 1024, 1, 0.90)):
        for row in steps:
            if (row["H"], row["N"]) == (hidden, batch):
                found.append(goal(what, against, want, row["fraction"], row["fraction"] >= least,
                                  ours=f"{row['us']['f32']:.1f} µs", peer=f"limit: {row['limit']}"))
    large = [row for row in steps if row["H"] >= 256 and any(p in row["us"] for p in REDUCED)]
    least = 5.0 if has_amx() else 2.5
    found.append(compared("reduced precision step, best type of each cell, H ≥ 256", "ONNX Runtime f32",
                          f"geometric mean ≥ {least:g} ({'with' if has_amx() else 'without'} AMX)",
                          ratios(large, "onnxruntime", REDUCED), least))
    best = [dict(row, peers={"best": min(row["peers"].values())}) for row in sequences if row["peers"]]
    if best:
        found.append(compared("f32 sequences, T 50–500", "best of oneDNN, ONNX Runtime, PyTorch",
                              "geometric mean ≥ 1.3, no cell below 1", ratios(best, "best"), 1.3, 1.0))
    return found


def section(rows, versions):
    names = ["f32", *REDUCED]
    columns = ["T", "H", "N", *(f"{n} µs" for n in names), "oneDNN µs", "ONNX Runtime µs", "PyTorch µs", "vs oneDNN",
               "vs ONNX Runtime", "limit", "fraction"]
    table = []
    for row in rows:
        peers, f32 = row["peers"], row["us"]["f32"]
        table.append([row["T"], row["H"], row["N"], *(row["us"].get(n) for n in names), peers.get("oneDNN"),
                      peers.get("onnxruntime"), peers.get("torch"),
                      peers["oneDNN"] / f32 if "oneDNN" in peers else None,
                      peers["onnxruntime"] / f32 if "onnxruntime" in peers else None, row["limit"], row["fraction"]])
    text = ("One layer, I = H, the shortest of many calls, all cores. The peers take turns with the engine; ONNX Runtime "
            "and PyTorch are called from Python, which costs them 6–10 µs a call. "
            + "; ".join(f"{name}: {version}" for name, version in versions.items()) + ".")
    return {"title": "Engine", "text": text, "tables": [{"title": "Steps and sequences", "columns": columns, "rows": table}]}
