#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lstmctl top in a real terminal (tmux): what it shows under load, its keys, other sizes, a server that goes and comes."""
import json
import os
import re
import subprocess
import sys

import common


class Screen:
    """A terminal of its own with one command in it."""

    def __init__(self, tmux, command, columns, rows, environment):
        self.tmux = [tmux, "-L", f"lstmd-test-{os.getpid()}", "-f", "/dev/null"]
        variables = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        self.run("new-session", "-d", "-x", str(columns), "-y", str(rows), *variables, " ".join(map(str, command)) + "; echo ended $?; cat")

    def run(self, *arguments):
        return subprocess.run([*self.tmux, *arguments], check=True, capture_output=True, text=True).stdout

    def text(self, *flags):
        return self.run("capture-pane", "-p", *flags)

    def keys(self, *keys):
        self.run("send-keys", *keys)

    def resize(self, columns, rows):
        self.run("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self):
        subprocess.run([*self.tmux, "kill-server"], check=False, capture_output=True)


def number(text, label):
    found = re.search(rf"^{re.escape(label)} +([\d,.]+)", text, re.MULTILINE)
    return float(found[1].replace(",", "")) if found else -1


def once(checks, options, server):
    command = [options.bin / "lstmctl", "--server", server.address, "top", "--once"]
    plain = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    checks("\033" not in plain and plain.isascii(), "--once is plain ASCII without a UTF-8 locale")
    checks(number(plain, "steps/s") > 0, "--once has the load at once")
    answer = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    checks(answer["recent"]["steps_per_second"] > 0 and answer["models"][0]["model"]["name"] == "models/sunspots",
           "--json has the load and the models")
    checks(len(answer["history"]) > 0, "--json has the last minute")
    frames = subprocess.run([*command[:-1], "--frames", "2", "--interval", "0.2"], capture_output=True, text=True, check=True).stdout
    checks(frames.count("steps/s   ") == 2, "--frames 2 without a terminal prints two looks")
    bad = subprocess.run([*command[:-1], "--interval", "0"], capture_output=True, text=True, check=False)
    checks(bad.returncode == 1 and "--interval" in bad.stderr, "a wrong interval is refused")


def live(checks, options, tmux, server):
    screen = Screen(tmux, [options.bin / "lstmctl", "--server", server.address, "top", "--interval", "0.2"], 120, 30,
                    {"LC_ALL": "C.UTF-8"})
    try:
        text = common.wait_for("the load on the screen", lambda: (t := screen.text()) and number(t, "steps/s") > 0 and t)
        print(text)
        checks("ready" in text and server.address in text, "it says which server, and that it is ready")
        checks(number(text, "sessions") == 8, "it shows the sessions")
        checks(re.search(r"^sunspots +1 \* +ready +8 ", text, re.MULTILINE), "it shows the model with its sessions")
        checks(common.wait_for("three seconds", lambda: re.search("[▁▂▃▄▅▆▇█]{3}", screen.text())), "it draws the last minute")
        checks("q quit" in text.splitlines()[-1], "the last line names the keys")
        checks("\033[32m" in screen.text("-e"), "it uses colours")
        screen.keys("Space")
        paused = common.wait_for("pause", lambda: "paused" in (t := screen.text()) and t)
        clock = re.search(r"\d\d:\d\d:\d\d", paused)[0]
        seen = server.status()["time"]
        common.wait_for("time to pass", lambda: server.status()["time"][:19] > seen[:19])
        checks(clock in screen.text(), "paused, it stands still")
        screen.keys("Space", "s")
        checks(common.wait_for("the other order", lambda: "order: sessions" in screen.text()), "s changes the order")
        screen.resize(60, 12)
        narrow = common.wait_for("the new size", lambda: "q quit" in (t := screen.text()).rstrip().splitlines()[-1] and t)
        checks(len(narrow.rstrip("\n").splitlines()) <= 12 and "lstmd" in narrow.splitlines()[0], "it fits a small terminal")
        screen.resize(120, 30)
        screen.keys("q")
        ended = common.wait_for("the end", lambda: "ended" in (t := screen.text()) and t)
        checks("ended 0" in ended and "STEPS/S" not in ended, "q ends it, and gives the screen back")
    finally:
        screen.close()


def outage(checks, options, tmux):
    with common.server(options.bin) as server:
        screen = Screen(tmux, [options.bin / "lstmctl", "--server", server.address, "--timeout", "2", "top", "--interval", "0.2"],
                        100, 24, {"LC_ALL": "C.UTF-8"})
        try:
            common.wait_for("the first look", lambda: "ready" in screen.text())
            server.process.terminate()
            server.process.wait()
            gone = common.wait_for("the outage on the screen", lambda: "no answer" in (t := screen.text()) and t)
            checks("sunspots" in gone, "when the server is gone it says so, and keeps the last numbers")
            screen.keys("C-c")
            checks(common.wait_for("the end", lambda: "ended 0" in screen.text()), "an interrupt ends it well")
        finally:
            screen.close()


def terminals():
    """Why there are none, as in a chroot without /dev/pts; else ''."""
    try:
        for end in os.openpty():
            os.close(end)
    except OSError as error:
        return str(error)
    return ""


def main():
    options = common.arguments(__doc__)
    tmux = common.need("tmux", "tmux")
    without = terminals()
    checks = common.Checks()
    with common.server(options.bin) as server, common.load(options.bin, server, "--sessions", "8", "--streams", "2"):
        common.wait_for("steps", lambda: server.rate() > 0)
        once(checks, options, server)
        if not without:
            live(checks, options, tmux, server)
    if not without:
        outage(checks, options, tmux)
    elif not checks.failed:
        print(f"skipped: this system has no pseudo-terminals ({without}); what was checked without one is right")
        sys.exit(common.SKIPPED)
    checks.end()


if __name__ == "__main__":
    main()
