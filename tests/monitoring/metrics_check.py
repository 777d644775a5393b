#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""promtool's opinion of a live scrape and of the rules, and whether table, dashboard and rules name the same metrics."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import common

MONITORING = common.ROOT / "deploy" / "monitoring"
HERE = common.ROOT / "tests" / "monitoring"


def run(checks, what, command, text=None):
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if not checks(result.returncode == 0, what):
        print(result.stdout + result.stderr)


def expressions():
    dashboard = json.loads((MONITORING / "lstmd-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel '{panel['title']}'", target["expr"]
    for alert, expression in re.findall(r"- alert: (\w+)\s+expr: (\".*\")", (MONITORING / "lstmd-alerts.yml").read_text()):
        yield f"alert {alert}", json.loads(expression)


def refused_tenant(programs, folder):
    """What a server with tenants has besides, once one of them was refused something."""
    token = folder / "token"
    token.write_text(subprocess.run([programs / "lstmctl", "token", "new", "alpha", "--add", folder / "tokens"], check=True,
                                    capture_output=True, text=True).stdout)
    (folder / "quotas").write_text('{"default": {"sessions": 0}}')
    with common.server(programs, "--auth-file", folder / "tokens", "--quota-file", folder / "quotas") as server:
        subprocess.run([programs / "lstmctl", "--server", server.address, "--token-file", token, "create", "sunspots", "a"],
                       check=False, capture_output=True)
        return "\n".join(line for line in server.get("/metrics").splitlines() if line.startswith("lstmd_tenant_")) + "\n"


def main():
    options = common.arguments(__doc__)
    promtool = common.need("promtool", "prometheus")
    checks = common.Checks()
    with common.server(options.bin) as server, common.load(options.bin, server, "--sessions", "8"):
        common.wait_for("steps", lambda: server.rate() > 0)
        # A failure, so that the metric of failures has a series.
        subprocess.run([options.bin / "lstmctl", "--server", server.address, "step", "sunspots/none", "1"], check=False,
                       capture_output=True)
        scrape = server.get("/metrics")
    with tempfile.TemporaryDirectory() as folder:
        scrape += refused_tenant(options.bin, pathlib.Path(folder))
    run(checks, "promtool check metrics, of a live scrape under load", [promtool, "check", "metrics"], scrape)
    run(checks, "promtool check rules", [promtool, "check", "rules", MONITORING / "lstmd-alerts.yml"])
    run(checks, "promtool test rules", [promtool, "test", "rules", HERE / "alerts_test.yml"])
    run(checks, "generate.py --check", [sys.executable, MONITORING / "generate.py", "--check"])

    # Those with a series: name, or name with its suffix.
    live = {re.match(r"[a-z_]+", line)[0] for line in scrape.splitlines() if line and not line.startswith("#")}
    described = {line.split()[2] for line in scrape.splitlines() if line.startswith("# HELP")}
    named = 0
    for where, expression in expressions():
        for name in re.findall(r"\b(?:lstmd|process)_\w+", expression):
            named += 1
            if name not in live:
                checks(False, f"{where} asks for {name}, which the scrape does not have")
    checks(named > 50, f"every metric of dashboard and alerts is in a live scrape ({named} names looked up)")
    rows = re.findall(r'METRIC\("(\w+)"', (common.ROOT / "server/monitor/metrics.inc").read_text())
    checks(set(rows) == described, f"the scrape has the {len(rows)} metrics of the table and no other")
    # A value that a client chooses would let it fill the memory of whoever keeps the metrics.
    series = sum(1 for line in scrape.splitlines() if line and not line.startswith("#"))
    checks(series < 600, f"{series} series for one model")
    checks.end()


if __name__ == "__main__":
    main()
