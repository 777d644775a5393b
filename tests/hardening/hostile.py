# SPDX-License-Identifier: Apache-2.0
"""hostile.py LSTMD [--full]: clients that are malformed, slow, gone, or very many (attack.py), against a real lstmd.

While they are at it, a well-behaved client steps a session and the health is asked for. Both must be answered, every
time, a step at the third attempt at the latest, and the server's memory must stay below its bound of 1 GiB; with --full
also each answer about the health must come within a second. Prints `N passed, N failed`.
"""
import argparse
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from http2 import Connection

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 1 << 30
# The bounds that are to stop an attack, as the log names them.
CALLS = r"for --max-(streams-per-connection|calls)"
CUT_FOR = {"unfinished": CALLS, "sly": CALLS, "polite": CALLS, "large": "for --max-unfinished-bytes"}
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
        self.address = self.line("listening on ")
        self.http = self.line("metrics on ") if "--metrics-listen" in flags else ""

    def line(self, start):
        while line := self.process.stdout.readline().decode().strip():
            if line.startswith(start):
                return line[len(start):]
        raise RuntimeError(self.log.read_text())

    def status(self, what):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", text).group(1))

    def memory(self):
        return self.status("VmRSS") * 1024

    def metrics(self, pattern):
        """{series: value} of those that match."""
        with urllib.request.urlopen(self.http + "/metrics", timeout=30) as answer:
            lines = (line.rsplit(" ", 1) for line in answer.read().decode().splitlines())
            return {name: float(value) for name, value in lines if re.fullmatch(pattern, name)}

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
        self.health, self.steps, self.failures, self.peak, self.again = [], [], [], 0, 0
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
        # A server that is short of memory may cancel anyone's call; a numbered step can be sent again without harm.
        for _ in range(3):
            if connection.step(self.session, number):
                break
            self.again += 1
        else:
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
              f"at most {max(self.steps, default=0):.3f} s, {self.again} sent again" + (f"; {self.failures[0]}" if self.failures else ""))
        if full:
            check(f"{what}: health within a second", max(self.health, default=9) < 1)
        check(f"{what}: memory stays below its bound", 0 < self.peak < LIMIT, f"peak {self.peak >> 20} MiB of {LIMIT >> 20}")


class Attack:
    """attack.py while this is open; `said` is what it got."""

    def __init__(self, server, kind, *numbers):
        self.process = subprocess.Popen([sys.executable, str(ROOT / "tests/hardening/attack.py"), server.address, kind, *map(str, numbers)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        self.said = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def under(server, what, full, *attack):
    """Holds out under an attack, and for some seconds that it holds what it got."""
    with Watch(server) as watch:
        begin = time.monotonic()
        with Attack(server, *attack) as one:
            took = time.monotonic() - begin
            watch.stopping.wait(2)
        watch.stopping.wait(1)
    if attack[0] in CUT_FOR:
        check(f"{what}: connections are cut for it", re.search(CUT_FOR[attack[0]], server.log.read_text()))
    check(f"{what}: the server lives", server.alive() and one.said, f"{one.said}, in {took:.1f} s")
    watch.report(what, full)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lstmd", help="the program, for example build/release/bin/lstmd")
    parser.add_argument("--full", action="store_true", help="10,000 streams, 1,000,000 calls; without it a tenth of them")
    parser.add_argument("--only", default="", help="the attacks whose kind has this in its name (attack.py lists them)")
    arguments = parser.parse_args()
    scale = 10 if arguments.full else 1
    attacks = [
        ("malformed clients", "malformed"),
        ("clients that vanish amid their streams", "gone", 100 * scale),
        ("clients that never finish what they say", "slow", 200),
        ("streams with 100 steps each whose replies nobody reads", "streams", 1000 * scale, 100),
        ("calls that never end, and no limit heeded", "unfinished", 100_000 * scale, 5000),
        ("the same after a call like others'", "sly", 100_000 * scale, 5000),
        ("calls that never end, each connection within its limit", "polite", 100_000 * scale, 250),
        ("calls that are cancelled at once", "resets", 100_000 * scale, 5000),
        ("large messages that lack their last byte", "large", 6 + 34 * arguments.full, 60 << 20),
    ]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.lstmd, folder, "--log-level", "warn", "--session-idle-ttl", "2s")
        before = server.memory()
        try:
            for what, *attack in attacks:
                if arguments.only in attack[0]:
                    under(server, what, arguments.full, *attack)
            with Watch(server) as watch:
                watch.stopping.wait(2)
            watch.report("after all of them are gone", arguments.full)
            check("the server ends well", server.end() == 0)
            log = server.log.read_text()
            check("nothing was logged as an error", not re.search(r"\berror\b|critical", log), log[-300:])
            check("the log stays short", len(log.splitlines()) < 1000, f"{len(log.splitlines())} lines")
            print(f"       memory: {before >> 20} MiB at the start; the last cut: "
                  + next((line for line in reversed(log.splitlines()) if " cut " in line), "none"))
        finally:
            server.end()
    print(f"{sum(results)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
