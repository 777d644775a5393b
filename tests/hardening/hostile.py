# SPDX-License-Identifier: Apache-2.0
"""hostile.py LSTMD [--full]: clients that are malformed, slow, gone, or very many, against a real lstmd.

While they are at it, a well-behaved client steps a session and the health is asked for; both must be answered, and the
server's memory must stay below its bound. --full: 10,000 streams and 1,000,000 requests that never end, and a soak of 30
minutes; without it a tenth of the former and seconds of the latter. Prints `N passed, N failed`.
"""
import argparse
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import threading
import time

import http2
from http2 import Connection, field, frame, message

ROOT = pathlib.Path(__file__).resolve().parents[2]
STREAMS = "/lstmd.v1.InferenceService/StreamSteps"
STEP = "/lstmd.v1.InferenceService/Step"
LIMIT = 1 << 30
results = []


def check(what, good, details=""):
    results.append(bool(good))
    print(f"{'ok    ' if good else 'FAILED'} {what}" + (f": {details}" if details else ""), flush=True)


class Server:
    def __init__(self, lstmd, folder, *flags):
        self.log = pathlib.Path(folder) / "log"
        self.process = subprocess.Popen(
            [lstmd, "--repository", str(ROOT / "deploy/models"), "--listen", "127.0.0.1:0", "--memory-limit", str(LIMIT), *flags],
            stdout=subprocess.PIPE, stderr=open(self.log, "wb"))
        self.address = ""
        while not self.address:
            line = self.process.stdout.readline().decode()
            if not line:
                raise RuntimeError(self.log.read_text())
            self.address = line.split()[-1] if line.startswith("listening on ") else ""

    def memory(self, what="VmRSS"):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", text).group(1)) * 1024

    def alive(self):
        return self.process.poll() is None

    def end(self):
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Watch:
    """What a good client and a probe see meanwhile."""

    number = 0

    def __init__(self, server):
        Watch.number += 1
        self.session = f"models/sunspots/sessions/good-{Watch.number}"
        self.server, self.stopping = server, threading.Event()
        self.health, self.steps, self.failures, self.peak = [], [], [], 0
        self.threads = [threading.Thread(target=self.run, args=(one,)) for one in (self.probe, self.work)]

    def run(self, ask):
        connection, number = None, 0
        while not self.stopping.is_set():
            number += 1
            begin = time.monotonic()
            try:
                connection = connection or Connection(self.server.address, timeout=60)
                ask(connection, number, begin)
            except OSError as error:
                self.failures.append(f"{ask.__name__}: {error}")
                connection = None
            self.stopping.wait(0.05)

    def probe(self, connection, _, begin):
        if not connection.healthy():
            self.failures.append("not healthy")
        self.health.append(time.monotonic() - begin)
        self.peak = max(self.peak, self.server.memory())

    def work(self, connection, number, begin):
        if not connection.step(self.session, number):
            self.failures.append(f"step {number} was not answered")
        self.steps.append(time.monotonic() - begin)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def report(self, what, full, least=1):
        check(f"{what}: health and a good client are answered", not self.failures and min(len(self.health), len(self.steps)) >= least,
              f"{len(self.health)} probes, at most {max(self.health, default=0):.3f} s; {len(self.steps)} steps, "
              f"at most {max(self.steps, default=0):.3f} s" + (f"; {self.failures[0]}" if self.failures else ""))
        if full:
            check(f"{what}: health within a second", max(self.health, default=9) < 1)
        check(f"{what}: memory stays below its bound", 0 < self.peak < LIMIT, f"peak {self.peak >> 20} MiB of {LIMIT >> 20}")


def malformed(server):
    rng = random.Random(20261125)
    junk = [rng.randbytes(rng.randrange(1, 4000)) for _ in range(60)]
    pieces = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", http2.PREFACE[:10], http2.PREFACE + b"\xff" * 64,
        http2.PREFACE + frame(http2.SETTINGS, 0, 0, b"\0" * 5),
        http2.PREFACE + frame(http2.SETTINGS, 0, 1, b""),
        http2.PREFACE + frame(http2.SETTINGS, 0, 0) + frame(http2.DATA, 0, 0, b"x"),
        http2.PREFACE + frame(http2.SETTINGS, 0, 0) + frame(http2.DATA, 0, 99, b"x"),
        http2.PREFACE + frame(http2.SETTINGS, 0, 0) + frame(http2.HEADERS, 4, 2, http2.request_headers(STEP)),
        http2.PREFACE + frame(http2.SETTINGS, 0, 0) + frame(http2.HEADERS, 4, 1, b"\x80\xff\xff\xff\xff\xff"),
        http2.PREFACE + frame(http2.SETTINGS, 0, 0) + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        http2.PREFACE + frame(http2.SETTINGS, 0, 0) + frame(http2.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2,
        http2.PREFACE + frame(http2.SETTINGS, 0, 0) + frame(77, 255, 3, b"what"),
    ] + junk + [http2.PREFACE + frame(http2.SETTINGS, 0, 0) + one for one in junk]
    for piece in pieces:
        connection = Connection.__new__(Connection)
        connection.socket = http2.socket.create_connection(server.address.rsplit(":", 1))
        try:
            connection.send(piece)
        except OSError:
            pass
        connection.close()
    answered = 0
    good = http2.bind_frame("models/sunspots/sessions/m") + http2.step_frame(3)
    bodies = [b"\0\xff\xff\xff\xff" + b"x" * 100, b"\1" + message(good)[1:], message(good)[:-3], b"\xff" * 100, b"",
              message(b"\xff" * 50), message(good * 50)]
    bodies += [message(bytes(b ^ (1 << rng.randrange(8)) if rng.random() < 0.05 else b for b in good)) for _ in range(200)]
    for path in (STEP, STREAMS, "/lstmd.v1.InferenceService/RunSequences", "/inference.GRPCInferenceService/ModelInfer",
                 "/no/such", "nonsense"):
        connection = Connection(server.address)
        for body in bodies:
            try:
                answered += connection.answer(connection.open(path, body, end=True)) is not None
            except OSError:
                connection = Connection(server.address)
        connection.close()
    check("malformed: the server lives and goes on", server.alive() and Connection(server.address).healthy(),
          f"{len(pieces)} connections and {6 * len(bodies)} messages, {answered} of them answered in form")


def disappearing(server, count):
    for number in range(count):
        connection = Connection(server.address)
        for _ in range(5):
            connection.open(STREAMS, message(http2.bind_frame(f"models/sunspots/sessions/gone-{number % 50}")) +
                            message(http2.step_frame(50)))
        connection.vanish()


def flood(server, streams, requests, connections):
    """Streams whose replies are never read, each with its share of the requests; all stay open."""
    each = requests // streams
    held = []
    for number in range(connections):
        # No window: not one reply can leave the server.
        connection = Connection(server.address, http2.setting(4, 0), timeout=120)
        for stream in range(streams // connections):
            session = f"models/sunspots/sessions/flood-{number}-{stream}"
            connection.open(STREAMS, message(http2.bind_frame(session)) + message(http2.step_frame(each)))
        held.append(connection)
    return held


def unfinished(server, connections, each):
    """Calls that begin, send a part of their message, and never end; most are above what a connection may have."""
    held = []
    for _ in range(connections):
        connection = Connection(server.address, timeout=120)
        head = http2.request_headers(STEP)
        part = message(field(1, b"x" * 60))[:40]
        try:
            for start in range(0, each, 500):
                connection.send(b"".join(frame(http2.HEADERS, 4, 2 * i + 1, head) + frame(http2.DATA, 0, 2 * i + 1, part)
                                         for i in range(start, min(each, start + 500))))
        except OSError:
            pass  # The server has had enough of it.
        held.append(connection)
    return held


def slow(server, count):
    held = []
    for number in range(count):
        connection = Connection(server.address)
        if number % 2:
            connection.send(frame(http2.HEADERS, 4, 1, http2.request_headers(STEP))[:9 + number % 20])
        else:
            connection.open(STREAMS, message(http2.step_frame(10))[:number % 40])
        held.append(connection)
    return held


def soak(server, seconds, lstmctl):
    """Sessions come and go under load; what memory holds after a warm-up is what it holds at the end."""
    def load(duration):
        return subprocess.run([lstmctl, "--server", server.address, "bench", "--model", "sunspots", "--sessions", "200",
                               "--seconds", str(duration)], capture_output=True, text=True, check=False)

    def churn(end, number):
        connection = Connection(server.address)
        while time.monotonic() < end:
            number += 1
            connection.step(f"models/sunspots/sessions/churn-{number}", 1)
            connection.call("/lstmd.v1.SessionService/DeleteSession", field(1, f"models/sunspots/sessions/churn-{number}".encode()))
        return number

    made, at = 0, []
    for part in range(5):
        end = time.monotonic() + seconds / 5
        benches = threading.Thread(target=load, args=(max(1, int(seconds / 5)),))
        benches.start()
        made = churn(end, made)
        benches.join()
        at.append(server.memory() >> 20)
    check("soak: memory is flat after the first fifth", at[-1] <= at[1] * 1.1 + 16 and made > 0,
          f"{at} MiB over {seconds:.0f} s, {made} sessions came and went")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lstmd")
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    scale = 10 if arguments.full else 1
    lstmctl = str(pathlib.Path(arguments.lstmd).parent / "lstmctl")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.lstmd, folder, "--log-level", "error", "--session-idle-ttl", "2s")
        before = server.memory()
        try:
            with Watch(server) as watch:
                malformed(server)
                disappearing(server, 100 * scale)
                kept = slow(server, 200)
            watch.report("malformed, gone and slow clients", arguments.full)
            del kept
            with Watch(server) as watch:
                kept = flood(server, 1000 * scale, 100_000 * scale, 10)
                watch.stopping.wait(3)
            watch.report(f"{1000 * scale:,} streams with {100_000 * scale:,} steps whose replies nobody reads", arguments.full)
            for connection in kept:
                connection.vanish()
            with Watch(server) as watch:
                kept = unfinished(server, 20 * scale, 5000)
                watch.stopping.wait(3)
            watch.report(f"{100_000 * scale:,} unary calls that never end", arguments.full)
            for connection in kept:
                connection.vanish()
            with Watch(server) as watch:
                watch.stopping.wait(3)
            watch.report("after all of them are gone", arguments.full)
            soak(server, 1800 if arguments.full else 20, lstmctl)
            check("the server ends well", server.end() == 0)
            log = server.log.read_text()
            check("nothing was logged as an error of its own", not re.search(r"INTERNAL|critical", log), log[-300:])
            print(f"       memory: {before >> 20} MiB at the start")
        finally:
            server.end()
    print(f"{sum(results)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
