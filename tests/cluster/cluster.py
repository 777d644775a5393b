# SPDX-License-Identifier: Apache-2.0
"""cluster.py LSTMD: three replicas on one Redis behind a real proxy, while replicas are killed, drained and added.

For HAProxy and for Envoy, each with its configuration of deploy/proxy: 300 sessions are stepped through the proxy; what
they answer must be what one undisturbed server answers, byte for byte. Prints `N passed, N failed`.
"""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

from load import Load

ROOT = pathlib.Path(__file__).resolve().parents[2]
SESSIONS = int(os.environ.get("LSTMD_CLUSTER_SESSIONS", "300"))
STEPS = int(os.environ.get("LSTMD_CLUSTER_STEPS", "40"))
THREADS = 30


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cluster:
    def __init__(self, folder, lstmd):
        self.folder, self.lstmd = pathlib.Path(folder), lstmd
        self.processes = {}
        self.redis_port = free_port()
        # Where replicas listen is known before they run: the proxies' configurations name them.
        self.ports = [(free_port(), free_port()) for _ in range(4)]

    def spawn(self, name, command, **more):
        log = open(self.folder / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, **more)
        return self.processes[name]

    def redis(self):
        self.spawn("redis", ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                             "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"])
        self.until("redis", lambda: b"PONG" in self.ask_redis(b"PING\r\n"))

    def ask_redis(self, text):
        with socket.create_connection(("127.0.0.1", self.redis_port), 2) as connection:
            connection.sendall(text)
            return connection.recv(100)

    def replica(self, number):
        port, metrics = self.ports[number]
        self.spawn(f"replica{number}", [
            self.lstmd, "--repository", str(ROOT / "deploy/models"), "--listen", f"127.0.0.1:{port}", "--threads", "1",
            "--metrics-listen", f"127.0.0.1:{metrics}", "--store", f"redis:127.0.0.1:{self.redis_port}",
            "--durability", "every_step", "--advertise", f"127.0.0.1:{port}", "--drain-timeout", "20s"])
        self.until(f"replica{number}", lambda: self.ready(metrics))

    @staticmethod
    def ready(port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status == 200

    def until(self, name, ready):
        for _ in range(600):
            if self.processes[name].poll() is not None:
                break
            try:
                if ready():
                    return
            except OSError:
                pass
            try:
                self.processes[name].wait(0.1)
            except subprocess.TimeoutExpired:
                pass
        raise RuntimeError(f"{name} did not start: " + (self.folder / f"{name}.log").read_text()[-2000:])

    def end(self, name, how):
        self.processes[name].send_signal(how)
        return self.processes[name].wait(60)

    def haproxy(self):
        port = free_port()
        text = (ROOT / "deploy/proxy/haproxy.cfg").read_text()
        text += '    server replica4 "${LSTMD_4}" id 4 proto h2 check check-proto h1 port "${LSTMD_4_METRICS}"\n'
        path = self.folder / "haproxy.cfg"
        path.write_text(text)
        environment = dict(os.environ, LISTEN=f"127.0.0.1:{port}")
        for number, (grpc_port, metrics) in enumerate(self.ports, 1):
            environment[f"LSTMD_{number}"] = f"127.0.0.1:{grpc_port}"
            environment[f"LSTMD_{number}_METRICS"] = str(metrics)
        self.spawn("haproxy", ["haproxy", "-db", "-f", str(path)], env=environment)
        self.until("haproxy", lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
        return f"127.0.0.1:{port}"

    def envoy(self):
        port = free_port()
        text = (ROOT / "deploy/proxy/envoy.yaml").read_text()
        text = text.replace("{address: 0.0.0.0, port_value: 8001}", f"{{address: 127.0.0.1, port_value: {port}}}")
        endpoint = "- endpoint: {address: {socket_address: {address: %s, port_value: %d}}}"
        lines = [endpoint % ("127.0.0.1", grpc_port) for grpc_port, _ in self.ports]
        first = text.index(endpoint % ("lstmd-0.lstmd-headless", 8001))
        text = text[:first] + "\n              ".join(lines) + "\n"
        path = self.folder / "envoy.yaml"
        path.write_text(text)
        program = pathlib.Path(sys.executable).parent / "envoy"
        self.spawn("envoy", [str(program), "-c", str(path), "--log-level", "error", "--concurrency", "1",
                             "--disable-hot-restart"])
        self.until("envoy", lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
        return f"127.0.0.1:{port}"

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            process.wait()


def undisturbed(lstmd):
    """What one server answers that nobody disturbs."""
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([lstmd, "--repository", str(ROOT / "deploy/models"), "--listen", "127.0.0.1:0"],
                                  stdout=subprocess.PIPE, stderr=open(pathlib.Path(folder) / "log", "wb"))
        address = server.stdout.readline().decode().split()[-1]
        load = Load(address, SESSIONS, STEPS, THREADS)
        load.start()
        load.join()
        server.kill()
        server.wait()
        if load.errors:
            raise RuntimeError(load.errors[0])
        return load.outputs


def disturbed(kind, lstmd, expected):
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(folder, lstmd)
        try:
            cluster.redis()
            for number in range(3):
                cluster.replica(number)
            address = getattr(cluster, kind)()
            load = Load(address, SESSIONS, STEPS, THREADS)
            load.start()
            load.wait_for(0.15)
            cluster.end("replica0", signal.SIGKILL)
            load.wait_for(0.30)
            cluster.replica(0)
            load.wait_for(0.45)
            drained = cluster.end("replica1", signal.SIGTERM)
            load.wait_for(0.60)
            # One more than there ever were: it takes sessions whose owners live on.
            cluster.replica(3)
            load.wait_for(0.75)
            cluster.end("replica2", signal.SIGKILL)
            cluster.replica(1)
            load.join()
            logs = {name: (cluster.folder / f"{name}.log").read_text(errors="replace") for name in cluster.processes}
        finally:
            cluster.stop()
    total = SESSIONS * STEPS
    wrong = sum(got != want for a, b in zip(load.outputs, expected) for got, want in zip(a, b))
    again = load.tries - (SESSIONS + 1) // 2 * STEPS - SESSIONS // 2
    checks = [
        ("every client was answered to the end", not load.errors, load.errors[:1]),
        (f"all {total} outputs are those of an undisturbed server", wrong == 0, f"{wrong} differ"),
        ("the drained replica ended well", drained == 0, f"exit status {drained}"),
        ("the disturbances were felt: steps were tried again", again > 0, f"{load.tries} tries"),
        ("no replica failed by itself", not re.search(r" (critical|error) .*(INTERNAL|crash)", "".join(logs.values())),
         [line for log in logs.values() for line in log.splitlines() if "INTERNAL" in line][:1]),
    ]
    for what, good, details in checks:
        print(f"{'ok    ' if good else 'FAILED'} {kind}: {what}" + ("" if good else f": {details}"), flush=True)
    print(f"       {kind}: {total} steps, {again} tried again or streams opened anew, {load.replayed} answered by replay",
          flush=True)
    return sum(good for _, good, _ in checks), sum(not good for _, good, _ in checks)


def main():
    lstmd = os.path.abspath(sys.argv[1])
    usage = subprocess.run([lstmd, "--help"], capture_output=True, text=True, check=True).stdout
    for flag in ("--store", "--metrics-listen", "--durability", "--advertise"):
        if flag not in usage:
            print(f"skipped: this lstmd has no {flag}")
            return 77
    kinds = [kind for kind in sys.argv[2:] or ("haproxy", "envoy")]
    for program in ("redis-server", "haproxy"):
        if shutil.which(program) is None:
            print(f"skipped: {program} is not installed")
            return 77
    expected = undisturbed(lstmd)
    if len({b"".join(outputs) for outputs in expected}) < SESSIONS / 2:
        print("FAILED the sessions answer the same: the comparison would prove nothing")
        return 1
    passed = failed = 0
    for kind in kinds:
        good, bad = disturbed(kind, lstmd, expected)
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
