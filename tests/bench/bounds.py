# SPDX-License-Identifier: Apache-2.0
"""For goals that are missed: what was tried, and what bounds them. Key: a piece of "what / against"; the first that fits.
NOTES.md has the engine's at length."""

WHY = [
    ("oneDNN LSTM primitive", "in f32 with N of 16 and more both are at the multiply-add peak (see the fraction), so that no room is "
     "left for 1.3 times there, and where the two cores run far from each other H 128 to 512 ends at 0.94 to 0.99; below that "
     "the weights' stream bounds both. What was tried is in NOTES.md."),
    ("f32 step, compute bound", "what is not multiply-adds is the cell update, 5 exponentials and 3 divisions a unit; see NOTES.md."),
    ("f32 step, weight bound", "the weights are about as large as the last cache, which neighbours share; see NOTES.md."),
    ("f32 sequences", "with more than 6 rows a sequence is steps at the multiply-add peak, as are the peers; with one, the "
     "recurrent weights come from L2 or L3 at each step, and the cores meet there; see NOTES.md."),
    ("reduced precision", "without AMX the f32 peer is within 2 to 3 times of the bf16 multiply-add peak where N is large; see "
     "NOTES.md."),
    ("single-session stream", "the step, 2.4 µs in a loop, takes up to 12 µs between messages: the core has slept, and other guests of "
     "the machine have had its caches, so that 512 KiB of weights come from L3. The rest is 2 to 4 µs of parsing and building two "
     "messages. Tried: the reply takes the flow control's update along instead of following it (66 to 58 µs, 1.54 to 1.32 in pairs); the "
     "step runs on the thread that read it (about 20 %); messages, works and buffers are used again; huge pages for weights (none)."),
    ("64 sessions, one step a message", "a message costs 18.5 µs of processor time with echo and 33 with us, client and server together: 3 "
     "in the kernel and its helpers, 2 in memory for tensors, which protobuf frees with each message, 1.7 in the server's own code "
     "and 0.8 in the client's, 2 in switches of threads, the rest in larger messages and cache misses. Tried: the reply takes the flow "
     "control's update along (6 % more messages); one computing thread, and no step on reading threads (both slower by 2 to 5 %)."),
    ("memory of each beyond", "the figure is the peak of the whole server while all sessions are bound on one stream and stepped: the "
     "requests and replies of all binds and the stream's table of handles count too. A session itself is some 500 bytes."),
    ("the same in frames of 64 steps", "each step of a session that was not stepped for long misses the caches: state, session and "
     "lane are 1.5 KB, 150 MB for 100,000, which is more than the last cache. Alone in a message this vanishes beside the wire."),
    ("sequences of T 500", "a message alone costs client and server 60 µs of the two cores, so that at 18,000 steps/s, one a message, "
     "they are busy for three quarters of the time, and the sequences take the rest: what is measured is the kernel's time slice "
     "of 3 ms, which whoever finds both cores taken waits for (perf sched: 3 to 5 ms for gRPC's threads, ours and the client's). 'Of the "
     "most' is of a most that shares messages. Tried: one computing thread, no steps on reading threads (p99 the same, 2.6 to 3.3 "
     "ms at 18,000 and 30,000 steps/s); slices by time, the device shared equally by time."),
]
