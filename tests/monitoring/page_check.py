#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The status page in a headless Chromium under load, light and dark; screenshots stay in the folder of --out."""
import html.parser
import pathlib
import re
import shutil
import subprocess
import tempfile

import common

CSS = common.ROOT / "server" / "status" / "status.css"


class Page(html.parser.HTMLParser):
    """Elements as (tag, attributes, text within)."""

    VOID = {"meta", "link", "img", "input", "br", "path", "line", "rect"}

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        element = [tag, dict(attrs), ""]
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        while tag not in self.VOID and self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def all(self, tag, **attributes):
        return [e for e in self.elements if e[0] == tag and all(e[1].get(k) == v for k, v in attributes.items())]

    def id(self, name):
        return next(e for e in self.elements if e[1].get("id") == name)


def browse(chromium, url, width, *flags):
    with tempfile.TemporaryDirectory() as profile:
        # Whatever the page would load from elsewhere fails, and shows as an error. Time is the browser's own: it goes
        # on when nothing is under way, so four seconds of the page take less.
        command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                   f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                   "--disable-background-networking", "--enable-logging=stderr", f"--window-size={width},1500",
                   "--virtual-time-budget=4000", *flags, url]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)


def luminance(color):
    def linear(part):
        part = int(part, 16) / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
    red, green, blue = (linear(color[i:i + 2]) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def colors(checks):
    """Text is readable and lines are visible on what is behind them, by WCAG 2.1 AA, in all three colour schemes."""
    schemes = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r"\{([^{}]*--page:[^{}]*)\}", CSS.read_text())]
    checks(len(schemes) == 3 and schemes[1] == schemes[2], "dark is the same by choice and by system")
    pairs = [(text, back, 4.5) for text in ("text", "soft", "link") for back in ("page", "card")]
    pairs += [(name, f"{name}-card", 4.5) for name in ("good", "warn", "bad")] + [("good", "card", 4.5), ("bad", "card", 4.5)]
    pairs += [(f"c{i}", "card", 3) for i in range(1, 7)]
    for name, scheme in zip(("light", "dark"), schemes):
        low = [f"{a} on {b}: {contrast(scheme[a], scheme[b]):.1f}" for a, b, want in pairs if contrast(scheme[a], scheme[b]) < want]
        checks(not low, f"contrasts of the {name} colours" + ("" if not low else ": " + ", ".join(low)))


def look(checks, chromium, server, out):
    for theme in ("light", "dark"):
        browse(chromium, f"{server.http}/?theme={theme}", 1440, f"--screenshot={out / f'status-{theme}.png'}")
        checks((out / f"status-{theme}.png").stat().st_size > 50_000, f"screenshot {out / f'status-{theme}.png'}")
    browse(chromium, f"{server.http}/", 420, f"--screenshot={out / 'status-narrow.png'}")
    shown = browse(chromium, f"{server.http}/", 1440, "--dump-dom")
    complaints = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    checks(not complaints, "the browser has nothing to complain about" + "".join(f"\n  {line}" for line in complaints))
    page = Page(shown.stdout)
    checks(page.id("state")[2] == "ready", "it says that the server is ready")
    tiles = [e[2] for e in page.elements if e[0] == "dd" and e[1].get("class", "").startswith("value")]
    checks(len(tiles) == 10 and all(tiles), f"the tiles: {', '.join(tiles)}")
    checks(tiles[0] != "0" and tiles[4] == "24", "they show the load")
    rows = [e[2] for e in page.all("tr") if "v1" in e[2]]
    checks(len(rows) == 3 and any("failed" in row for row in rows), "every model has a row, the one that failed too")
    checks("SESSION_NOT_FOUND" in page.id("failure-table")[2] and "StreamSteps" in page.id("call-table")[2],
           "failures and calls are listed")
    lines = [e for e in page.elements if e[0] == "path" and e[1].get("class", "").startswith("line") and e[1].get("d", "")]
    checks(len(lines) >= 12, f"{len(lines)} lines are drawn")
    plots = page.all("svg", role="img")
    checks(len(plots) == 6 and all(e[1].get("aria-label") and e[1].get("tabindex") == "0" for e in plots),
           f"every plot has a text and takes the keyboard: {plots[0][1].get('aria-label')}")
    checks(all(len(page.all(tag)) == 1 for tag in ("header", "main", "footer", "h1", "nav")) and
           page.all("html")[0][1].get("lang") == "en", "landmarks, one heading, a language")
    checks(all(e[1].get("scope") for e in page.all("th")), "heads of rows and columns say which they are")
    before = re.search(r"up ([^·]+)", page.id("facts")[2])[1]
    common.wait_for("another second", lambda: before not in
                    Page(browse(chromium, f"{server.http}/", 1440, "--dump-dom").stdout).id("facts")[2])
    checks(True, "it changes with time")


def main():
    options = common.arguments(__doc__, ("--out", {"type": pathlib.Path, "default": pathlib.Path("."), "help": "folder of the screenshots"}))
    chromium = common.need("chromium", "chromium")
    options.out.mkdir(parents=True, exist_ok=True)
    checks = common.Checks()
    colors(checks)
    sample = common.ROOT / "deploy" / "models" / "sunspots" / "1"
    with tempfile.TemporaryDirectory() as folder:
        models = pathlib.Path(folder)
        for name in ("sunspots", "tides"):
            shutil.copytree(sample, models / name / "1")
        (models / "broken" / "1").mkdir(parents=True)
        (models / "broken" / "1" / "model.safetensors").write_text("none")
        with common.server(options.bin, models=models) as server, \
             common.load(options.bin, server, "--sessions", "16", "--streams", "2"), \
             common.load(options.bin, server, "--sessions", "8", "--streams", "1", model="tides"):
            subprocess.run([options.bin / "lstmctl", "--server", server.address, "step", "sunspots/none", "1"],
                           check=False, capture_output=True)
            common.wait_for("some history", lambda: len(server.status()["history"]) > 15)
            look(checks, chromium, server, options.out)
    checks.end()


if __name__ == "__main__":
    main()
