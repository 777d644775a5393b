# SPDX-License-Identifier: Apache-2.0
"""For goals that are missed: what was tried, and what bounds them. Key: a piece of "what / against"; the first that fits.
NOTES.md has the engine's at length."""

WHY = [
    ("oneDNN LSTM primitive", "in f32 with N of 16 and more both are at the multiply-add peak (see the fraction), so that no room is "
     "left for 1.3 times; below that the weights' stream bounds both. What was tried is in NOTES.md."),
    ("f32 step, compute bound", "what is not multiply-adds is the cell update, 5 exponentials and 3 divisions a unit; see NOTES.md."),
    ("f32 step, weight bound", "the weights are about as large as the last cache, which neighbours share; see NOTES.md."),
    ("f32 sequences", "with more than 6 rows a sequence is steps at the multiply-add peak, as are the peers; see NOTES.md."),
    ("reduced precision", "without AMX the f32 peer is within 2 to 3 times of the bf16 multiply-add peak where N is large; see "
     "NOTES.md."),
    ("single-session stream", "beyond gRPC's own round trip there are the step, parsing and building of two larger messages, and "
     "the client library's matching of replies. Tried: the step runs on the thread that read it (about 20 % off the round "
     "trip); messages, works and buffers are used again; one lock of the stream at a time."),
    ("64 sessions, one step a message", "the kernel's TCP path, one sendmsg a message, is more than half of the time of both sides. Tried: "
     "replies of a batch share a message; short steps of streams with one message in flight run on the reading thread."),
    ("memory of each beyond", "the figure is the peak of the whole server while all sessions are bound on one stream and stepped: the "
     "requests and replies of all binds and the stream's table of handles count too. A session itself is some 500 bytes."),
    ("the same in frames of 64 steps", "each step of a session that was not stepped for long misses the caches: state, session and "
     "lane are 1.5 KB, 150 MB for 100,000, which is more than the last cache. Alone in a message this vanishes beside the wire."),
    ("sequences of T 500", "steps wait for at most one slice of the sequences (--slice-time, 500 µs), but the sequences also take "
     "the cores that client and gRPC would use. Tried: slices by time, the device shared equally by time."),
]
