# SPDX-License-Identifier: Apache-2.0
"""For goals that are missed: what was tried, and what bounds them. Key: a piece of "what / against"; the first that fits."""

WHY = [
    ("64-handle frames, H 128, 2 streams / one step a message, 64 sessions on 4 streams",
     "bounded by arithmetic: a step of H 128 is 262,144 FLOP, so both cores at their FMA peak make about a million steps/s "
     "if they did nothing else, while steps on few streams already share replies; ten times that is beyond the machine."),
    ("64-handle frames, H 128", "bounded by arithmetic: a step of H 128 is 262,144 FLOP, so both cores at their FMA peak make "
     "about a million steps/s if client and gRPC took no time. Against one step a message without batching the goal is met."),
]
