# SPDX-License-Identifier: Apache-2.0
"""The programs that are measured: started, asked, and stopped."""
import json
import os
import re
import subprocess
import threading
import time

BIN = os.environ.get("BENCH_BIN", "build/release/bin")


def program(name):
    return os.path.join(BIN, name)


def call_json(command, timeout=300, clean_up_may_fail=False):
    """Runs a command and returns what it writes, as JSON. clean_up_may_fail: lstmctl bench whose steps were all answered
    will do, even if it could not delete its sessions (the server goes anyway)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
    if done.returncode == 1 and clean_up_may_fail:
        report, _ = json.JSONDecoder().raw_decode(done.stdout)
        if report.get("replies") == report.get("requests") and "create, change or delete" in report.get("first_error", ""):
            return report
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


class Process:
    """A server that says its port; a context manager."""

    def __init__(self, command):
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines, self.port = [], None
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.match(r"listening on (?:port |127\.0\.0\.1:)(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        self.seconds_to_serve = time.monotonic() - self.began
        if self.port is None:
            self.process.wait()
            raise RuntimeError(f"{' '.join(command)}: did not start\n{''.join(self.lines)}")
        self.address = f"127.0.0.1:{self.port}"
        # Whoever does not read the log stops the server when the pipe is full.
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0


class Lstmd(Process):
    def __init__(self, repository, *flags):
        super().__init__([program("lstmd"), "--repository", repository, "--listen", "127.0.0.1:0", "--device", "cpu",
                          "--log-level", "warn", *flags])

    def command(self, *args):
        return [program("lstmctl"), "--server", self.address, "--json", *map(str, args)]

    def ask(self, *args):
        return call_json(self.command(*args))

    def bench(self, model, seconds, **options):
        """lstmctl bench; options as its flags. Latencies in microseconds."""
        command = self.command("bench", "--model", model, "--seconds", seconds, "--warmup", min(0.3, seconds))
        for name, value in options.items():
            if value is True:
                command.append(f"--{name.replace('_', '-')}")
            elif value is not None and value is not False:
                command += [f"--{name.replace('_', '-')}", str(value)]
        report = call_json(command, clean_up_may_fail=options.get("sessions", 0) > 1000)
        report["p50"], report["p99"] = (1e3 * report["latency_ms"][q] for q in ("p50", "p99"))
        report["messages_per_second"] = report["messages"] / report["seconds"]
        return report


class Echo(Process):
    def __init__(self):
        super().__init__([program("lstmd_echo"), "serve"])

    def bench(self, seconds, bytes, streams=1, in_flight=1, unary=False):
        command = [program("lstmd_echo"), "load", self.address, "--seconds", str(seconds), "--bytes", str(bytes),
                   "--streams", str(streams), "--in-flight", str(in_flight)] + (["--unary"] if unary else [])
        report = call_json(command)
        report["p50"], report["p99"] = report["latency_us"]["p50"], report["latency_us"]["p99"]
        return report
