# SPDX-License-Identifier: Apache-2.0
"""Reads pickles without running them.

A pickle is a program for a small stack machine; two of its instructions import and call anything. This machine has no
such power: it imports nothing, calls only the few functions handed in by name, and knows plain containers. A global
that is not in the table is an error that names it. Memory stays in proportion to the file: no instruction takes more
than the bytes that are there.
"""

import io
import pickletools

from .errors import ConvertError


class Global:
    """A name in the file that stands for a class or function. Only a token: nothing is imported."""

    def __init__(self, path):
        self.path = path

    def __repr__(self):
        return self.path


class Mark:
    """A place on the stack."""


MARK = Mark()
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list}
# Instructions whose argument, as pickletools decodes it, is the value.
LITERALS = frozenset(
    """BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES
    BINBYTES8 SHORT_BINSTRING BINSTRING INT LONG FLOAT UNICODE STRING""".split()
)
REFUSED = "the pickle uses the instruction {}, which no state_dict needs; it is not read"


class Machine:
    """Runs one pickle.

    functions: path -> function(*args) for REDUCE. Their results take part in BUILD through a method set_state(state).
    classes: paths that may appear as values (a storage type, ndarray), never called unless also in functions.
    persistent: function(id) for BINPERSID.
    """

    def __init__(self, functions, classes=(), persistent=None, source="the pickle"):
        self.functions, self.classes = functions, frozenset(classes)
        self.persistent, self.source = persistent, source

    def run(self, data):
        self.stack, self.memo = [], {}
        try:
            for op, arg, _ in pickletools.genops(io.BytesIO(data)):
                if op.name == "STOP":
                    if len(self.stack) != 1:
                        raise ConvertError(f"{self.source} ends with {len(self.stack)} values on its stack, want 1")
                    return self.stack[0]
                self.step(op.name, arg)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as e:
            raise ConvertError(f"{self.source} is truncated or malformed: {one_line(e)}") from None
        raise ConvertError(f"{self.source} is truncated: it has no end")

    def step(self, name, arg):
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in LITERALS:
            stack.append(arg)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            stack.append(tuple(self.pop() for _ in range(n))[::-1])
        elif name == "TUPLE":
            stack.append(tuple(self.pop_mark()))
        elif name == "LIST":
            stack.append(self.pop_mark())
        elif name == "DICT":
            stack.append({})
            self.set_items(self.top(), self.pop_mark_below())
        elif name == "APPEND":
            value = self.pop()
            self.top_of(list).append(value)
        elif name == "APPENDS":
            values = self.pop_mark()
            self.top_of(list).extend(values)
        elif name == "SETITEM":
            value, key = self.pop(), self.pop()
            self.set_items(self.top_of(dict), [key, value])
        elif name == "SETITEMS":
            values = self.pop_mark()
            self.set_items(self.top_of(dict), values)
        elif name == "POP":
            stack.pop()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[arg] = self.top()
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            if arg not in self.memo:
                raise ConvertError(f"{self.source} is malformed: it reads slot {arg}, which was never set")
            stack.append(self.memo[arg])
        elif name == "GLOBAL":
            stack.append(self.find(arg.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = self.pop(), self.pop()
            stack.append(self.find(f"{module}.{attribute}"))
        elif name == "BINPERSID" and self.persistent:
            stack.append(self.persistent(self.pop()))
        elif name == "REDUCE":
            args, function = self.pop(), self.pop()
            if not isinstance(function, Global) or function.path not in self.functions or not isinstance(args, tuple):
                raise ConvertError(f"{self.source} calls {function!r}, which is not read")
            stack.append(self.functions[function.path](*args))
        elif name == "BUILD":
            state = self.pop()
            target = self.top()
            if hasattr(target, "set_state"):
                target.set_state(state)
            elif not isinstance(target, dict):  # an OrderedDict's attributes (_metadata) do not matter
                raise ConvertError(f"{self.source} sets attributes of a {type(target).__name__}, which is not read")
        else:
            raise ConvertError(REFUSED.format(name))

    def find(self, path):
        if path not in self.functions and path not in self.classes:
            raise ConvertError(
                f"{self.source} refers to {path[:80]}, which is not a tensor or plain container; it is not loaded. "
                "Save the state_dict alone (torch.save(model.state_dict(), FILE)) and convert that"
            )
        return Global(path)

    def top(self):
        if not self.stack or self.stack[-1] is MARK:
            raise ConvertError(f"{self.source} is malformed: its stack is empty")
        return self.stack[-1]

    def top_of(self, kind):
        top = self.top()
        if not isinstance(top, kind):
            raise ConvertError(f"{self.source} is malformed: it fills a {type(top).__name__} like a {kind.__name__}")
        return top

    def pop(self):
        value = self.top()
        self.stack.pop()
        return value

    def pop_mark(self):
        values = []
        while True:
            if not self.stack:
                raise ConvertError(f"{self.source} is malformed: a mark is missing")
            value = self.stack.pop()
            if value is MARK:
                return values[::-1]
            values.append(value)

    def pop_mark_below(self):
        """pop_mark for a value just pushed above the items."""
        top = self.stack.pop()
        values = self.pop_mark()
        self.stack.append(top)
        return values

    def set_items(self, target, values):
        if len(values) % 2:
            raise ConvertError(f"{self.source} is malformed: a dict has a key without a value")
        for key, value in zip(values[::2], values[1::2]):
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise ConvertError(f"{self.source} has a dict key of type {type(key).__name__}, want text")
            target[key] = value


def one_line(error):
    return " ".join(str(error).split())[:160] or type(error).__name__
