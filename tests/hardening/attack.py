# SPDX-License-Identifier: Apache-2.0
"""attack.py ADDRESS KIND COUNT [EACH]: a client that means no good, in a process of its own.

It takes the processors only when nobody else wants them (nice 19), so that a test on one machine says something about
the server and not about the scheduler. It prints one line when it holds what it could get, keeps it until standard
input ends, and goes away without a word.

malformed   what is no HTTP/2, no gRPC, no protobuf
gone COUNT        so many connections that vanish amid their streams
slow COUNT        connections that never finish a frame or a message
streams COUNT EACH       so many streams with EACH steps, whose replies are never read
unfinished COUNT EACH    so many calls, EACH on a connection, that never finish their message; limits are ignored
sly COUNT EACH           the same, after one call that is finished and answered
polite COUNT EACH        the first on connections that acknowledge the server's settings and keep to them
resets COUNT EACH        so many calls that are opened and cancelled at once, EACH on a connection
large COUNT EACH         so many calls with a message of EACH bytes that lacks its last byte
strangers SECONDS EACH   calls without a token for so long, EACH at any time on each of ten connections
"""
import os
import random
import sys
import threading
import time

import http2
from http2 import Connection, field, frame, message

STREAMS = "/lstmd.v1.InferenceService/StreamSteps"
STEP = "/lstmd.v1.InferenceService/Step"
RUN = "/lstmd.v1.InferenceService/RunSequences"
held = []


def connect(address, *arguments, **keywords):
    """A connection, or None where the server takes none: a client that means no good tries again later."""
    try:
        return Connection(address, *arguments, **keywords)
    except OSError:
        return None


def malformed(address):
    rng = random.Random(20261125)
    start = http2.PREFACE + frame(http2.SETTINGS, 0, 0)
    junk = [rng.randbytes(rng.randrange(1, 4000)) for _ in range(60)]
    pieces = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", http2.PREFACE[:10], http2.PREFACE + b"\xff" * 64,
        http2.PREFACE + frame(http2.SETTINGS, 0, 0, b"\0" * 5),
        http2.PREFACE + frame(http2.SETTINGS, 0, 1, b""),
        start + frame(http2.DATA, 0, 0, b"x"),
        start + frame(http2.DATA, 0, 99, b"x"),
        start + frame(http2.HEADERS, 4, 2, http2.request_headers(STEP)),
        start + frame(http2.HEADERS, 4, 1, b"\x80\xff\xff\xff\xff\xff"),
        start + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        start + frame(http2.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2,
        start + frame(77, 255, 3, b"what"),
    ] + junk + [start + one for one in junk]
    for piece in pieces:
        connection = Connection.__new__(Connection)
        connection.socket = http2.socket.create_connection(address.rsplit(":", 1))
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
    for path in (STEP, STREAMS, RUN, "/inference.GRPCInferenceService/ModelInfer", "/no/such", "nonsense"):
        connection = Connection(address)
        for body in bodies:
            try:
                answered += connection.answer(connection.open(path, body, end=True)) is not None
            except OSError:
                connection = Connection(address)
        connection.close()
    return f"{len(pieces)} connections and {6 * len(bodies)} messages, {answered} of them answered in form"


def gone(address, count):
    for number in range(count):
        connection = Connection(address)
        for _ in range(5):
            connection.open(STREAMS, message(http2.bind_frame(f"models/sunspots/sessions/gone-{number % 50}")) +
                            message(http2.step_frame(50)))
        connection.vanish()
    return f"{count} connections"


def slow(address, count):
    for number in range(count):
        connection = Connection(address)
        if number % 2:
            connection.send(frame(http2.HEADERS, 4, 1, http2.request_headers(STEP))[:9 + number % 20])
        else:
            connection.open(STREAMS, message(http2.step_frame(10))[:number % 40])
        held.append(connection)
    return f"{count} connections"


def streams(address, count, each):
    connections = max(1, count // 250)
    opened = 0
    for number in range(connections):
        # No window: not one reply can leave the server.
        connection = Connection(address, http2.setting(4, 0), timeout=120)
        held.append(connection)
        try:
            for stream in range(count // connections):
                session = f"models/sunspots/sessions/flood-{number}-{stream}"
                connection.open(STREAMS, message(http2.bind_frame(session)) + message(http2.step_frame(each)))
                opened += 1
        except OSError:
            pass
    return f"{opened:,} streams on {connections} connections"


def calls(address, count, each, polite=False, reset=False, sly=False):
    """Opens calls until `count` were sent, on a new connection whenever the server has had enough of one."""
    head = http2.request_headers(STEP)
    part = message(field(1, b"x" * 60))[:40]
    close = b"\0\0\0\x08"
    sent = failed = 0
    while sent < count and failed < 1000:
        connection = connect(address, timeout=20)
        if connection is None:
            failed += 1
            continue
        try:
            if sly:
                connection.open("/grpc.health.v1.Health/Check", message(b""), end=True)
                connection.socket.recv(4096)  # which acknowledges nothing
            if polite:
                connection.healthy()  # the settings have come by then, and are acknowledged
            first = connection.next_stream
            for begin in range(0, each, 100):
                streams_ = range(first + 2 * begin, first + 2 * min(begin + 100, each), 2)
                connection.send(b"".join(
                    frame(http2.HEADERS, 4, i, head) + (frame(http2.RST_STREAM, 0, i, close) if reset else frame(http2.DATA, 0, i, part))
                    for i in streams_))
                sent += len(streams_)
        except OSError:
            failed += 1
        held.append(connection)
        if len(held) > 2000:
            held.pop(0).close()
    return f"{sent:,} calls on {len(held)} connections, {failed} of them cut while it sent"


def large(address, count, each):
    body = b"\0" * each
    for _ in range(count):
        connection = Connection(address, timeout=20)
        held.append(connection)
        try:
            connection.send_slowly(connection.open(RUN), message(body)[:-1])
        except OSError:
            pass
    return f"{count} messages of {each >> 20} MiB"


def strangers(address, seconds, each):
    body = message(field(1, field(1, b"models/sunspots/sessions/none")))
    end = time.monotonic() + seconds
    refused = []

    def ask():
        connection, count = Connection(address), 0
        connection.healthy()  # its settings are known by then
        for _ in range(each):
            connection.open(STEP, body, end=True)
        while time.monotonic() < end and (got := connection.read_frame()):
            if got[0] == http2.HEADERS and got[1] & http2.END_STREAM:
                count += 1
                connection.open(STEP, body, end=True)
        refused.append(count)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return f"{sum(refused) / seconds:.0f} calls a second"


def main():
    os.nice(19)
    address, kind, *numbers = sys.argv[1:]
    numbers = [int(number) for number in numbers]
    kinds = {"malformed": malformed, "gone": gone, "slow": slow, "streams": streams, "unfinished": calls,
             "sly": lambda *a: calls(*a, sly=True),
             "polite": lambda *a: calls(*a, polite=True), "resets": lambda *a: calls(*a, reset=True), "large": large,
             "strangers": strangers}
    print(kinds[kind](address, *numbers), flush=True)
    sys.stdin.read()
    for connection in held:
        connection.vanish()


if __name__ == "__main__":
    main()
