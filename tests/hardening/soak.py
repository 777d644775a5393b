# SPDX-License-Identifier: Apache-2.0
"""soak.py FOLDER [--minutes M]: what a day of work leaves behind, against a real lstmd (FOLDER has it and lstmctl).

All at once, for so many minutes: streams of steps, unary steps, sequences, Open Inference Protocol, sessions that come and
go, sessions that leave the device for host memory and disk and return, saves in a store, and clients that vanish amid
their work. Nothing may fail. After a warm-up of a fifth of the time memory, open files and threads must be flat: memory
by the slope of a line through all samples, which may not add up to more than 48 MiB over the rest of the run: the store
fills a buffer of 32 MiB before it writes a file.
Prints `N passed, N failed`; thirty minutes are the default.
"""
import argparse
import pathlib
import re
import subprocess
import tempfile
import threading
import time

import http2
from hostile import Server, check, results
from http2 import Connection, field, message, tensor

RATE = 100  # steps a second of each load: a soak is long, not hard


class Loads:
    """Threads and processes that work until the end; `failures` is what went wrong."""

    def __init__(self, server, lstmctl, end):
        self.server, self.lstmctl, self.end = server, lstmctl, end
        self.failures, self.done = [], {}
        runs = [self.bench("streams", "--sessions", "200", "--handles", "5"), self.bench("unary", "--unary", "--sessions", "40"),
                self.bench("resumable", "--resume", "--sessions", "20"), self.bench("sequences", "--sequence", "50", "--sessions", "4"),
                self.repeat("sessions", self.session), self.repeat("infer", self.infer), self.repeat("vanished", self.vanish)]
        self.threads = [threading.Thread(target=run) for run in runs]
        for thread in self.threads:
            thread.start()

    def count(self, what, number=1):
        self.done[what] = self.done.get(what, 0) + number

    def bench(self, what, *flags):
        def run():
            # Short runs, so that streams and connections come and go.
            while (left := self.end - time.monotonic()) > 1:
                ran = subprocess.run([self.lstmctl, "--server", self.server.address, "--json", "bench", "--model", "sunspots", "--rate",
                                      str(RATE), "--seconds", str(min(left, 20)), *flags], capture_output=True, text=True, check=False)
                if ran.returncode:
                    self.failures.append(f"{what}: {ran.stderr.strip() or ran.stdout[-300:]}")
                if replies := re.search(r'"replies": (\d+)', ran.stdout):
                    self.count(what, int(replies[1]))
        return run

    def repeat(self, what, act):
        def run():
            connection, number = Connection(self.server.address, timeout=60), 0
            while time.monotonic() < self.end:
                number += 1
                try:
                    if not act(connection, number):
                        self.failures.append(f"{what} {number} was not answered")
                except OSError as error:
                    self.failures.append(f"{what} {number}: {error}")
                    connection = Connection(self.server.address, timeout=60)
                self.count(what)
                time.sleep(0.05)
        return run

    @staticmethod
    def session(connection, number):
        """One that is made, stepped, and either deleted or left to expire."""
        name = f"models/sunspots/sessions/soak-{number}"
        good = all(connection.step(name, seq) for seq in (1, 2, 3))
        if number % 2:
            good &= connection.call("/lstmd.v1.SessionService/DeleteSession", field(1, name.encode())) is not None
        return good

    @staticmethod
    def infer(connection, number):
        """A sequence of the Open Inference Protocol, whole, or step by step under an id."""
        steps = 1 + number % 7
        data = tensor([1, steps, 1], [0.5] * steps)
        inputs = field(1, b"INPUT") + field(2, b"FP32") + b"".join(field(3, n) for n in (1, steps, 1))
        raw = data[-4 * steps:]
        request = field(1, b"sunspots") + field(5, inputs) + field(7, raw)
        return bool(connection.call("/inference.GRPCInferenceService/ModelInfer", request))

    def vanish(self, _, number):
        connection = Connection(self.server.address)
        for _ in range(3):
            connection.open("/lstmd.v1.InferenceService/StreamSteps",
                            message(http2.bind_frame(f"models/sunspots/sessions/gone-{number % 50}")) + message(http2.step_frame(20)))
        connection.vanish()
        return True


def slope(samples):
    """Of the least squares line through (time, value)."""
    middle = sum(at for at, _ in samples) / len(samples)
    spread = sum((at - middle) ** 2 for at, _ in samples)
    return sum((at - middle) * value for at, value in samples) / spread


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="for example build/release/bin")
    parser.add_argument("--minutes", type=float, default=30)
    arguments = parser.parse_args()
    seconds = arguments.minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.folder / "lstmd", folder, "--log-level", "warn", "--session-idle-ttl", "30s", "--tombstone-ttl", "30s",
                        "--max-resident-sessions", "150", "--spill-memory", "32KiB", "--spill-dir", f"{folder}/spill", "--store", f"rocksdb:{folder}/store",
                        "--durability", "periodic", "--metrics-listen", "127.0.0.1:0")
        begin = time.monotonic()
        loads = Loads(server, arguments.folder / "lstmctl", begin + seconds)
        rss, files, threads = [], [], []
        while (now := time.monotonic()) < begin + seconds and server.alive():
            if now - begin > seconds / 5:
                rss.append((now - begin, server.memory() / (1 << 20)))
                files.append(len(list(pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir())))
                threads.append(server.status("Threads"))
            time.sleep(min(1, seconds / 100))
        for thread in loads.threads:
            thread.join()
        moved = server.metrics(r"lstmd_spills_total|lstmd_spill_restores_total|lstmd_checkpoints_total")
        ours = server.metrics(r'lstmd_failures_total\{.*code="(?:INTERNAL|UNKNOWN|DATA_LOSS)".*\}')
        code, log = server.end(), server.log.read_text()
    grown = slope(rss) * (rss[-1][0] - rss[0][0])
    check("everything was answered", not loads.failures and len(loads.done) == 7,
          f"{loads.done}" + (f"; {len(loads.failures)} failures, the first: {loads.failures[0]}" if loads.failures else ""))
    check("states were moved and saved", len(moved) == 3 and min(moved.values()) > 0, f"{moved}")
    check("memory is flat", grown < 48,
          f"{rss[0][1]:.1f} MiB after the warm-up, {rss[-1][1]:.1f} at the end; {slope(rss) * 3600:+.1f} MiB an hour over {rss[-1][0] - rss[0][0]:.0f} s")
    third = len(files) // 3
    check("open files are flat", max(files[-third:]) <= max(files[:third]) + 16, f"at most {max(files[:third])}, then {max(files[-third:])}")
    check("threads are flat", max(threads[-third:]) <= max(threads[:third]) + 4, f"at most {max(threads[:third])}, then {max(threads[-third:])}")
    check("no failure of its own", not ours and not re.search(r"\berror\b|critical", log), f"{ours} {log[-300:]}")
    check("the server ends well", code == 0)
    print(f"{sum(results)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
