#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what ctest ran: `summary.py CTEST_JUNIT_XML FOLDER_OF_GOOGLETEST_XML`.

A GoogleTest binary counts with each of its test cases, any other ctest entry as one. A binary that ctest calls failed
and whose file shows no failure (it crashed, timed out, or its sanitizer objected) counts as one failure more. Names
what failed and what was skipped; the last line is `N passed, N failed[, N skipped]`; exit 1 unless all is well.
"""
import pathlib
import sys
import xml.etree.ElementTree as ET


def cases(path):
    """(name, state) of each test case of a GoogleTest file; an unreadable one has none."""
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError:
        return
    for case in root.iter("testcase"):
        if case.get("status") == "notrun":
            continue
        name = f"{path.stem}: {case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            yield name, "failed"
        elif skipped is not None:
            reason = (skipped.get("message") or "no reason given").strip()
            yield f"{name} ({reason.splitlines()[-1]})", "skipped"
        else:
            yield name, "passed"


def main(ctest_xml, folder):
    states = {"passed": [], "failed": [], "skipped": []}
    by_binary = {}
    for path in sorted(pathlib.Path(folder).glob("*.xml")):
        by_binary[path.stem] = list(cases(path))
        for name, state in by_binary[path.stem]:
            states[state].append(name)
    for entry in ET.parse(ctest_xml).getroot().iter("testcase"):
        name, status = entry.get("name"), entry.get("status")
        inner = by_binary.get(name, [])
        skipped = entry.find("skipped")
        reason = skipped.get("message") if skipped is not None else "disabled"
        if status == "run":
            states["passed"] += [] if inner else [name]
        elif status == "disabled" or (status == "notrun" and reason.startswith("SKIP_")):
            said = (entry.findtext("system-out") or "").strip().splitlines()
            states["skipped"].append(f"{name} ({said[-1] if said else reason})")
        elif status == "notrun":
            states["failed"].append(f"{name} ({reason})")
        elif not any(state == "failed" for _, state in inner):
            states["failed"].append(f"{name}: the program itself (crash, time-out or sanitizer)" if inner else name)
    for state in ("skipped", "failed"):
        for name in states[state]:
            print(f"{state.upper()} {name}")
    line = f"{len(states['passed'])} passed, {len(states['failed'])} failed"
    if states["skipped"]:
        line += f", {len(states['skipped'])} skipped"
    print(line)
    return 0 if states["passed"] and not states["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
