#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that a program can check: `lint.py CHECK [ROOT]`, CHECK one of those that `lint.py` lists.

Prints one line per violation, `file:line: what`; exit 0 if there is none, 1 if there is, 77 if a tool is missing. Each
check is a generator over a Tree, so that lint_test.py can prove on a planted violation that it fails.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

CODE = {".cc", ".h", ".cu", ".cuh", ".py", ".sh", ".proto", ".cmake"}
CXX = {".cc", ".h", ".cu", ".cuh"}
MAX_LINES = 400
SKIPPED = 77


class MissingTool(Exception):
    pass


class Tree:
    """The project's files: what git tracks or would, else all but build outputs."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        listed = subprocess.run(
            ["git", "-C", str(self.root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True, check=False) if (self.root / ".git").exists() else None
        if listed is not None and listed.returncode == 0:
            names = {name for name in listed.stdout.decode().split("\0") if name}
        else:
            names = {os.path.relpath(os.path.join(folder, name), self.root)
                     for folder, _, files in os.walk(self.root) for name in files}
            names = {name for name in names if name.split(os.sep)[0] not in (".git", "build", ".cache")}
        self.names = sorted(name for name in names if (self.root / name).is_file())

    def text(self, name):
        """None for a file that is not text."""
        data = (self.root / name).read_bytes()
        try:
            return None if b"\0" in data else data.decode()
        except UnicodeDecodeError:
            return None

    def code(self, suffixes=frozenset(CODE)):
        """(name, lines) of source files and scripts, by suffix or, for CODE, by what marks a file without one."""
        for name in self.names:
            path = pathlib.PurePath(name)
            named = path.suffix in suffixes
            if not named and suffixes >= CODE:
                named = path.name in ("CMakeLists.txt", "Dockerfile") or (
                    path.suffix == "" and (self.root / name).read_bytes()[:2] == b"#!")
            if named and (text := self.text(name)) is not None:
                yield name, text.splitlines()


# Folder, what it must not include, the files that may, and why. An include is matched as written between <> or "".
PROTOBUF = r"google/protobuf/|.*\.pb\.h$|lstmd/v1/"
LAYERS = [
    ("engine/", r"grpc", None, "the engine knows no gRPC"),
    ("engine/", PROTOBUF, r"engine/checkpoint/onnx", "the engine knows no protobuf outside ONNX reading"),
    ("engine/", r"spdlog/", None, "the engine does not log"),
    ("engine/", r"server/|client/", None, "server -> engine, never back"),
    ("server/", r"client/", None, "server and client share only proto/"),
    ("client/", r"server/", None, "client and server share only proto/"),
    ("client/", r"engine/", r"client/import", "the client knows only proto/; import alone reads model files"),
    ("proto/", r"engine/|server/|client/", None, "proto/ is below all"),
] + [(top, r"tests/|gtest/|gmock/|benchmark/", None, "only tests include test code")
     for top in ("engine/", "server/", "client/")]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def layering(tree):
    for name, lines in tree.code(CXX):
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            for folder, forbidden, allowed, why in LAYERS if match else ():
                if (name.startswith(folder) and re.match(forbidden, match[1])
                        and not (allowed and re.match(allowed, name))):
                    yield f"{name}:{number}: includes {match[1]}: {why}"


def length(tree):
    for name, lines in tree.code():
        if len(lines) > MAX_LINES:
            yield f"{name}:{len(lines)}: more than {MAX_LINES} lines: one idea a file"


def spdx(tree):
    for name, lines in tree.code():
        first = lines[1:2] if lines[:1] and lines[0].startswith("#!") else lines[:1]
        if not first or "SPDX-License-Identifier: Apache-2.0" not in first[0]:
            yield f"{name}:1: no SPDX-License-Identifier: Apache-2.0 in the first line"


# The brackets keep these patterns from finding themselves.
PLACES = re.compile(r"(?<![\w.-])/(?:[w]ork|[r]oot|[h]ome/\w+|[t]mp/w)/|\.\./[s]hared\b|\b[s]hared/(?:golden|design|seeds)")


def paths(tree):
    for name in tree.names:
        for number, line in enumerate((tree.text(name) or "").splitlines(), 1):
            if match := PLACES.search(line):
                yield f"{name}:{number}: names a place on one machine: {match[0]}"


SMELLS = [
    (r"^(?!engine/mutex\.h|tests/sanitizers/library_edges\.cc)", r"\b[a]bsl::Mutex\b|absl/synchronization/[m]utex\.h",
     "use engine/mutex.h, which ThreadSanitizer can see"),
    (r"^tests/", r"\b(?:sleep_[f]or|sleep_[u]ntil|u[s]leep|Sleep[F]or)\b", "a test does not sleep; wait for the event"),
    (r"^tests/", r"\bDISABLED_\w", "a test that is off shows nothing; skip it visibly, with the reason"),
    (r"^tests/", r"\bGTEST_SKIP\(\)\s*;", "say why it is skipped"),
    (r"^(engine|server|client)/", r"\bTODO\b|\bFIXME\b|\bXXX\b", "finish it or file it"),
]


def smells(tree):
    for name, lines in tree.code(CXX):
        for number, line in enumerate(lines, 1):
            for where, pattern, why in SMELLS:
                if re.match(where, name) and (match := re.search(pattern, line)):
                    yield f"{name}:{number}: {match[0]}: {why}"


def guards(tree):
    for name, lines in tree.code({".h", ".cuh"}):
        if name.endswith("-inl.h"):  # Highway includes these once for each instruction set, under a toggled guard.
            continue
        want = "LSTMD_" + re.sub(r"[^A-Z0-9]", "_", name.upper()) + "_"
        found = next((line.split()[1] for line in lines if line.startswith("#ifndef ")), "none")
        if found != want:
            yield f"{name}:1: include guard {found}, want {want}"


def sources(tree):
    """A source that no CMake file lists is never built, and a test in it never runs."""
    lists = "\n".join(tree.text(name) for name in tree.names if name.endswith((".cmake", "CMakeLists.txt")))
    listed = set(re.findall(r"[\w./-]+", lists.replace("${PROJECT_SOURCE_DIR}/", "")))
    for name in tree.names:
        path = pathlib.PurePath(name)
        if path.suffix in (".cc", ".cu"):
            parts = path.parts
            if not any("/".join(parts[k:]) in listed for k in range(len(parts))) and path.stem not in listed:
                yield f"{name}:1: not listed in any CMakeLists.txt or .cmake file"
    for name in tree.names:
        if name.endswith((".cmake", "CMakeLists.txt")):
            for number, line in enumerate(tree.text(name).splitlines(), 1):
                if re.search(r"\bfile\s*\(\s*GLOB", line):
                    yield f"{name}:{number}: sources are listed, not globbed"


def format(tree):  # pylint: disable=redefined-builtin
    tool = shutil.which("clang-format-14")  # Other versions write other things.
    if tool is None:
        raise MissingTool("clang-format-14 is not installed")
    names = [name for name, _ in tree.code(CXX)]
    if names:
        run = subprocess.run([tool, "--dry-run", "--Werror", "--style=file", *names], cwd=tree.root,
                             capture_output=True, text=True, check=False)
        at = [match.groups() for line in run.stderr.splitlines() if (match := re.match(r"(\S+?):(\d+):\d+: error: ", line))]
        for name in sorted({name for name, _ in at}):
            lines = sorted({int(line) for other, line in at if other == name})
            yield f"{name}:{lines[0]}: {len(lines)} lines are not as clang-format-14 -i would write them"
        if run.returncode != 0 and not at:
            yield f".clang-format:1: {run.stderr.strip()}"


def shell(tree):
    tool = shutil.which("shellcheck")
    if tool is None:
        raise MissingTool("shellcheck is not installed")
    names = [name for name, lines in tree.code() if lines[:1] and re.match(r"#!.*\b(?:ba)?sh\b", lines[0])]
    if names:
        run = subprocess.run([tool, "--format=gcc", "--severity=warning", *names], cwd=tree.root, capture_output=True, text=True, check=False)
        yield from run.stdout.splitlines()


NAMED = re.compile(r"`((?:engine|server|client|proto|deploy|tests|\.ci)/[\w./*-]*|[A-Z]\w+\.md)`")


def reasons(tree):
    """Every reason that a client can meet stands in the table of proto/README.md."""
    table = tree.text("proto/README.md") if "proto/README.md" in tree.names else ""
    made = re.compile(r'(?:InvalidArgument|NotFound|AlreadyExists|FailedPrecondition|ResourceExhausted|Unavailable|'
                      r'Unimplemented|Internal|Error|WrongField)\((?:absl::StatusCode::k\w+, )?"([A-Z_]{4,})"')
    # Of options and of files that no rpc reads.
    elsewhere = {"OPTIONS", "CPU_OPTIONS", "FLAG", "LISTEN", "REPOSITORY", "STORE", "DEVICE_UNAVAILABLE", "JSON",
                 "FILE", "AUTH_FILE", "QUOTA_FILE", "TLS_FILES", "PLAINTEXT"}
    for name, lines in tree.code({".cc"}):
        if not name.startswith(("server/", "engine/")):
            continue
        for number, line in enumerate(lines, 1):
            for reason in made.findall(line):
                if reason not in elsewhere and not re.search(rf"\b{reason}\b", table):
                    yield f"{name}:{number}: reason {reason} is not in proto/README.md"


def docs(tree):
    """What the documents name in backticks is there."""
    folders = {str(parent) for name in tree.names for parent in pathlib.PurePath(name).parents}
    for name in tree.names:
        if name.endswith(".md"):
            for number, line in enumerate(tree.text(name).splitlines(), 1):
                for named in NAMED.findall(line):
                    near = str(pathlib.PurePath(name).parent / named)
                    if named.rstrip("/") not in folders and not any(
                            pathlib.PurePath(other).match(named) or other == near for other in tree.names):
                        yield f"{name}:{number}: names {named}, which is not there"


CHECKS = {check.__name__: check
          for check in (layering, length, spdx, paths, smells, guards, sources, docs, reasons, format, shell)}


def main(arguments):
    if not arguments or arguments[0] not in CHECKS:
        print(f"{__doc__}\nChecks: {', '.join(CHECKS)}")
        return 2
    tree = Tree(arguments[1] if len(arguments) > 1 else pathlib.Path(__file__).parents[2])
    try:
        found = list(CHECKS[arguments[0]](tree))
    except MissingTool as missing:
        print(f"skipped: {missing}")
        return SKIPPED
    for line in found:
        print(line)
    print(f"{arguments[0]}: {len(found)} violations in {len(tree.names)} files")
    return 1 if found or not tree.names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
