# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 and protobuf by hand, so that a test can send what no client library would."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def setting(key, value):
    return struct.pack(">HI", key, value)


def literal(name, value):
    """HPACK: a header without indexing and without Huffman; both under 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request_headers(path):
    return b"".join(literal(*pair) for pair in (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"test"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers")))


def message(payload):
    return b"\0" + struct.pack(">I", len(payload)) + payload


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """A field of a message: an integer, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(shape, floats):
    return field(1, 1) + field(2, b"".join(varint(n) for n in shape)) + field(3, struct.pack(f"<{len(floats)}f", *floats))


def bind_frame(session):
    return field(1, field(1, 0) + field(2, session.encode()) + field(4, 1))


def step_frame(count):
    """`count` steps of handle 0, in one block."""
    return field(2, field(1, 7) + field(2, bytes(count)) + field(4, tensor([count, 1], [0.5] * count)))


class Connection:
    def __init__(self, address, settings=b"", timeout=20):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.buffer = b""
        self.next_stream = 1
        self.window, self.stream_window, self.first_window = 65535, {}, 65535
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        self.socket.sendall(data)

    def open(self, path, payload=b"", end=False):
        """Begins a call; `payload` goes as one DATA frame."""
        stream = self.next_stream
        self.next_stream += 2
        data = frame(HEADERS, END_HEADERS, stream, request_headers(path))
        if payload or end:
            data += frame(DATA, END_STREAM if end else 0, stream, payload)
        self.send(data)
        return stream

    def send_slowly(self, stream, data):
        """Sends as much of `data` at a time as the peer has room for; ends where it closes the stream."""
        at = 0
        while at < len(data):
            room = min(self.window, self.first_window + self.stream_window.get(stream, 0) - at, 16384, len(data) - at)
            if room > 0:
                self.send(frame(DATA, 0, stream, data[at:at + room]))
                self.window -= room
                at += room
                continue
            got = self.read_frame()
            if got is None or got[0] in (GOAWAY, RST_STREAM):
                return

    def read_frame(self):
        """(kind, flags, stream, payload); None at the end of the connection."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not more:
                return None
            self.buffer += more
        length = int.from_bytes(self.buffer[:3], "big")
        head, payload = self.buffer[:9], self.buffer[9:9 + length]
        self.buffer = self.buffer[9 + length:]
        kind, flags = head[3], head[4]
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, length, 6):
                key, value = struct.unpack(">HI", payload[at:at + 6])
                if key == 4:
                    self.first_window = value
        if kind == WINDOW_UPDATE:
            stream, more = int.from_bytes(head[5:9], "big"), int.from_bytes(payload, "big")
            if stream:
                self.stream_window[stream] = self.stream_window.get(stream, 0) + more
            else:
                self.window += more
        if kind == DATA and length:
            self.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", length)))
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.send(frame(kind, ACK, 0, payload if kind == PING else b""))
        return kind, flags, int.from_bytes(head[5:9], "big"), payload

    def answer(self, stream):
        """All DATA of a call; None where the connection or the call was ended without any."""
        data = b""
        while True:
            got = self.read_frame()
            if got is None or got[0] == GOAWAY:
                return data or None
            kind, flags, of, payload = got
            if of != stream:
                continue
            if kind == DATA:
                data += payload
            if kind == RST_STREAM:
                return data or None
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return data

    def call(self, path, payload):
        return self.answer(self.open(path, message(payload), end=True))

    def healthy(self):
        return self.call("/grpc.health.v1.Health/Check", b"") == message(b"\x08\x01")

    def step(self, session, seq):
        """A step by a unary call; whether it was answered."""
        item = (field(1, session.encode()) + field(2, seq) + field(4, tensor([1], [0.5])) + field(6, 1))
        return bool(self.call("/lstmd.v1.InferenceService/Step", field(1, item)))

    def vanish(self):
        """Gone without a word: the peer gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()
