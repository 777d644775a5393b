#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes dashboard, alert rules and documentation of the metrics out of server/monitor/metrics.inc.

Writes METRICS.md, lstmd-dashboard.json and lstmd-alerts.yml beside itself; with --check it only says whether they are as
it would write them. An expression with a metric or label that the table does not have is an
error, so that what people look at cannot drift from what is served. Nothing but the standard library is needed.
"""
import argparse
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parents[1] / "server" / "monitor" / "metrics.inc"
ROW = re.compile(r'METRIC\(\s*"(\w+)",\s*(\w+),\s*"([\w,]*)",\s*"((?:[^"\\]|\\.)*)"\s*\)')
SECTION = re.compile(r"^// --- (.*?)(?::.*)? ---$")
# What Prometheus adds to every series, and the labels of queries.
COMMON_LABELS = {"instance", "job", "le"}


def read_table():
    """[(section, name, type, labels, help)]"""
    rows, section = [], ""
    for line in TABLE.read_text().splitlines():
        if match := SECTION.match(line):
            section = match[1]
        elif match := ROW.match(line):
            rows.append((section, match[1], match[2], [l for l in match[3].split(",") if l], match[4]))
        elif line.strip() and not line.startswith("//"):
            sys.exit(f"{TABLE.name}: a line that is no METRIC(…): {line}")
    return rows


class Checker:
    def __init__(self, rows):
        self.metrics = {name: (kind, set(labels)) for _, name, kind, labels, _ in rows}

    def __call__(self, expression):
        """The expression, if every metric and label in it is in the table."""
        for name, selector in re.findall(r"\b((?:lstmd|process)_\w+)\b(?:\{([^}]*)\})?", expression):
            base = name
            if base not in self.metrics:
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                if base not in self.metrics or self.metrics[base][0] != "Histogram":
                    sys.exit(f"no such metric: {name} in {expression}")
            elif self.metrics[base][0] == "Histogram":
                sys.exit(f"a histogram is asked for by _bucket, _sum or _count: {name} in {expression}")
            for label in re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"", selector):
                if label not in self.metrics[base][1] | COMMON_LABELS:
                    sys.exit(f"{name} has no label {label}: {expression}")
        return expression


# --- The dashboard ---
SELECT = 'instance=~"$instance"'
MODEL = SELECT + ', model=~"$model"'


def quantile(q, metric, by):
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{{{MODEL}}}[$__rate_interval])))"


def rate(metric, select, by):
    return f"sum by ({by}) (rate({metric}{{{select}}}[$__rate_interval]))"


def mean(metric):
    return (f"sum(rate({metric}_sum{{{MODEL}}}[$__rate_interval])) / "
            f"sum(rate({metric}_count{{{MODEL}}}[$__rate_interval]))")


# (title, unit, [(expression, legend)], options)
ROWS = [
    ("Now", 4, [
        ("Ready servers", "short", [(f"sum(lstmd_ready{{{SELECT}}})", "")], "stat"),
        ("Steps per second", "ops", [("sum(" + rate("lstmd_steps_total", MODEL + ', outcome=~"ok|replayed"', "instance") + ")", "")], "stat"),
        ("Latency, 99 %", "s", [("histogram_quantile(0.99, sum by (le) (rate(lstmd_answer_duration_seconds_bucket"
                                 f"{{{MODEL}}}[$__rate_interval])))", "")], "stat"),
        ("Sessions", "short", [(f"sum(lstmd_sessions{{{MODEL}}})", "")], "stat"),
        ("Failures per second", "ops", [(f"sum(rate(lstmd_failures_total{{{SELECT}}}[$__rate_interval]))", "")], "stat"),
        ("Devices lost", "short", [(f"sum(1 - lstmd_device_healthy{{{SELECT}}})", "")], "stat"),
    ]),
    ("Work", 8, [
        ("Steps by model", "ops", [(rate("lstmd_steps_total", MODEL + ', outcome="ok"', "model, version"), "{{model}} v{{version}}")], "stack"),
        ("Sequences by model", "ops", [(rate("lstmd_sequences_total", MODEL + ', outcome="ok"', "model, version"), "{{model}} v{{version}}")], "stack"),
        ("Time steps by model", "ops", [(rate("lstmd_time_steps_total", MODEL, "model, version"), "{{model}} v{{version}}")], "stack"),
        ("Steps that did not end well, and replays", "ops", [
            (rate("lstmd_steps_total", MODEL + ', outcome!="ok"', "outcome"), "{{outcome}}"),
            (rate("lstmd_sequences_total", MODEL + ', outcome!="ok"', "outcome"), "sequences: {{outcome}}")], "line"),
    ]),
    ("Latency", 8, [
        ("Arrival to reply", "s", [(quantile(q, "lstmd_answer_duration_seconds", "model"), f"{{{{model}}}} {name}")
                                   for q, name in ((0.5, "50 %"), (0.99, "99 %"))], "line"),
        ("Where the time goes, mean", "s", [(mean("lstmd_queue_duration_seconds"), "queue"),
                                            (mean("lstmd_compute_duration_seconds"), "compute"),
                                            (mean("lstmd_reply_duration_seconds"), "reply")], "stack"),
        ("Queue, compute and reply, 99 %", "s", [(f"histogram_quantile(0.99, sum by (le) (rate(lstmd_{part}_duration_seconds_bucket{{{MODEL}}}[$__rate_interval])))", part)
                                                 for part in ("queue", "compute", "reply")], "line"),
        ("Unary calls, 99 %", "s", [(f"histogram_quantile(0.99, sum by (le, rpc) (rate(lstmd_request_duration_seconds_bucket{{{SELECT}}}[$__rate_interval])))", "{{rpc}}")], "line"),
    ]),
    ("Batches and devices", 8, [
        ("Mean batch", "short", [(f"sum by (model) (rate(lstmd_batch_rows_sum{{{MODEL}}}[$__rate_interval])) / sum by (model) (rate(lstmd_batch_rows_count{{{MODEL}}}[$__rate_interval]))", "{{model}}")], "line"),
        ("Batch size", "short", [(f"sum by (le) (increase(lstmd_batch_rows_bucket{{{MODEL}}}[$__rate_interval]))", "{{le}}")], "heatmap"),
        ("Device busy", "percentunit", [(f"rate(lstmd_device_busy_seconds_total{{{SELECT}}}[$__rate_interval])", "{{instance}} {{device}}"),
                                        (rate("lstmd_model_busy_seconds_total", MODEL, "model"), "by {{model}}")], "line"),
        ("Queue", "short", [(f"sum by (model) (lstmd_queued_work{{{MODEL}}})", "{{model}}"),
                            (f"sum by (pool) (lstmd_pool_queued_calls{{{SELECT}}})", "calls for a {{pool}} thread")], "line"),
        ("Device calls", "ops", [(rate("lstmd_failed_batches_total", MODEL, "model"), "{{model}}, failed"),
                                 (f"sum(rate(lstmd_batch_rows_count{{{MODEL}}}[$__rate_interval]))", "all"),
                                 (f"sum(rate(lstmd_inline_batches_total{{{SELECT}}}[$__rate_interval]))", "without a change of threads")], "line"),
    ]),
    ("Sessions", 8, [
        ("Sessions", "short", [(f"sum by (model) (lstmd_sessions{{{MODEL}}})", "{{model}}"),
                               (f"sum(lstmd_max_sessions{{{SELECT}}})", "most")], "line"),
        ("Where their states are", "short", [(f"sum by (residency) (lstmd_session_states{{{SELECT}}})", "{{residency}}")], "stack"),
        ("States moved", "ops", [(f"sum(rate(lstmd_spills_total{{{SELECT}}}[$__rate_interval]))", "off the device"),
                                 (f"sum(rate(lstmd_spill_restores_total{{{SELECT}}}[$__rate_interval]))", "back")], "line"),
        ("Created and ended", "ops", [(f"sum(rate(lstmd_sessions_created_total{{{MODEL}}}[$__rate_interval]))", "created"),
                                      (rate("lstmd_sessions_ended_total", MODEL, "reason"), "{{reason}}")], "line"),
        ("Memory", "bytes", [(f"sum by (kind) (lstmd_memory_bytes{{{MODEL}}})", "{{kind}}"),
                             (f"sum(process_resident_memory_bytes{{{SELECT}}})", "resident, all"),
                             (f"sum(lstmd_spill_memory_bytes{{{SELECT}}})", "spilled states"),
                             (f"sum(process_virtual_memory_bytes{{{SELECT}}})", "address space")], "line"),
    ]),
    ("Store", 8, [
        ("Saves", "ops", [(f"sum(rate(lstmd_checkpoints_total{{{SELECT}}}[$__rate_interval]))", "saved"),
                          (f"sum(rate(lstmd_checkpoint_groups_total{{{SELECT}}}[$__rate_interval]))", "groups"),
                          (f"sum(rate(lstmd_checkpoint_failures_total{{{SELECT}}}[$__rate_interval]))", "failed"),
                          (f"sum(rate(lstmd_sessions_restored_total{{{SELECT}}}[$__rate_interval]))", "restored")], "line"),
        ("Waiting to be saved", "short", [(f"lstmd_checkpoints_waiting{{{SELECT}}}", "{{instance}}")], "line"),
        ("Longest wait to be saved", "s", [(f"lstmd_checkpoint_lag_seconds{{{SELECT}}}", "{{instance}}")], "line"),
        ("Time of a group of saves", "s", [(f"lstmd_checkpoint_group_duration_seconds{{{SELECT}}}", "{{instance}}")], "line"),
    ]),
    ("Calls", 8, [
        ("Calls by code", "ops", [(rate("lstmd_requests_total", SELECT, "rpc, code"), "{{rpc}} {{code}}")], "line"),
        ("Failures by reason", "ops", [(rate("lstmd_failures_total", SELECT, "rpc, code, reason"), "{{rpc}} {{code}} {{reason}}")], "line"),
        ("Streams", "short", [(f"sum by (rpc) (lstmd_open_streams{{{SELECT}}})", "{{rpc}}")], "line"),
        ("Messages of streams", "ops", [(rate("lstmd_stream_messages_total", SELECT, "rpc, direction"), "{{rpc}} {{direction}}")], "line"),
        ("Slow requests", "ops", [(rate("lstmd_slow_requests_total", SELECT, "rpc"), "{{rpc}}")], "line"),
    ]),
    ("Bounds", 8, [
        ("Connections", "short", [(f"sum(lstmd_connections{{{SELECT}}})", "open"), (f"sum(lstmd_max_connections{{{SELECT}}})", "most")], "line"),
        ("Open calls", "short", [(f"sum(lstmd_open_calls{{{SELECT}}})", "open"), (f"sum(lstmd_max_calls{{{SELECT}}})", "most"),
                                 (f"sum(lstmd_max_streams{{{SELECT}}})", "most streams")], "line"),
        ("Messages that have not come whole", "bytes", [(f"sum(lstmd_unfinished_bytes{{{SELECT}}})", "held"),
                                                        (f"sum(lstmd_max_unfinished_bytes{{{SELECT}}})", "most")], "line"),
        ("Connections cut", "ops", [(rate("lstmd_connections_cut_total", SELECT, "bound"), "{{bound}}")], "line"),
        ("Share of the memory limit", "percentunit", [(f"process_resident_memory_bytes{{{SELECT}}} / (lstmd_memory_limit_bytes{{{SELECT}}} > 0)", "{{instance}}")], "line"),
        ("Refused by quota", "ops", [(rate("lstmd_tenant_refusals_total", SELECT, "tenant, bound"), "{{tenant}} {{bound}}")], "line"),
    ]),
    ("Process", 8, [
        ("Processors", "short", [(f"rate(process_cpu_seconds_total{{{SELECT}}}[$__rate_interval])", "{{instance}}")], "line"),
        ("Files and threads", "short", [(f"process_open_fds{{{SELECT}}}", "{{instance}} files"),
                                        (f"process_max_fds{{{SELECT}}}", "{{instance}} most files"),
                                        (f"process_threads{{{SELECT}}}", "{{instance}} threads")], "line"),
        ("State", "short", [(f"lstmd_draining{{{SELECT}}}", "{{instance}} draining"),
                            (f"1 - lstmd_model_ready{{{MODEL}}}", "{{instance}} {{model}} v{{version}} not ready")], "line"),
        ("Up since", "dateTimeFromNow", [(f"process_start_time_seconds{{{SELECT}}} * 1000", "{{instance}}")], "stat"),
        ("Version", "short", [(f"count by (version) (lstmd_build_info{{{SELECT}}})", "{{version}}")], "stat"),
        ("Cost of a scrape", "s", [(f"lstmd_collect_duration_seconds{{{SELECT}}}", "{{instance}}")], "line"),
    ]),
]


def panel(check, number, title, unit, queries, kind, place):
    source = {"type": "prometheus", "uid": "${datasource}"}
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if kind == "stack" else 5, "showPoints": "never",
              "stacking": {"mode": "normal" if kind == "stack" else "none", "group": "A"}}
    options = {"tooltip": {"mode": "multi", "sort": "desc"},
               "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}}
    made = {"id": number, "title": title, "type": "timeseries", "gridPos": place, "datasource": source,
            "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []}, "options": options,
            "targets": [{"refId": chr(ord("A") + i), "datasource": source, "expr": check(expression),
                         "legendFormat": legend or "__auto", "range": True}
                        for i, (expression, legend) in enumerate(queries)]}
    if kind == "stat":
        made.update(type="stat", options={"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}})
        made["fieldConfig"]["defaults"].pop("custom")
        if unit == "dateTimeFromNow":
            made["fieldConfig"]["defaults"].pop("min")
    if kind == "heatmap":
        made.update(type="heatmap", options={"calculate": False, "yAxis": {"unit": unit}, "color": {"mode": "scheme", "scheme": "Blues"}})
        made["targets"][0]["format"] = "heatmap"
    return made


def dashboard(check):
    panels, y, number = [], 0, 0
    for title, height, row in ROWS:
        number += 1
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        y += 1
        across = 6 if height < 6 else 2 if len(row) in (2, 4) else 3
        for i, (name, unit, queries, kind) in enumerate(row):
            number += 1
            width = 24 // across
            place = {"h": height, "w": width, "x": i % across * width, "y": y + i // across * height}
            panels.append(panel(check, number, name, unit, queries, kind, place))
        y += (len(row) + across - 1) // across * height

    def variable(name, label, query):
        return {"name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "query": {"query": check(query), "refId": name}, "definition": query, "includeAll": True, "multi": True,
                "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2, "sort": 1}
    return {
        "uid": "lstmd", "title": "lstmd", "tags": ["lstmd"], "schemaVersion": 39, "version": 1, "editable": True,
        "time": {"from": "now-30m", "to": "now"}, "refresh": "10s", "graphTooltip": 1,
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}},
            variable("instance", "Server", "label_values(lstmd_build_info, instance)"),
            variable("model", "Model", "label_values(lstmd_model_ready, model)"),
        ]},
        "panels": panels,
    }


# --- Alerts: (name, expression, for, severity, summary, what to do) ---
ALERTS = [
    ("LstmdDown", 'up{job=~".*lstmd.*"} == 0', "1m", "critical", "{{ $labels.instance }} does not answer its metrics port.",
     "Look at the process and its last log lines. Exit code 4: a device was lost, a new process can use it again."),
    ("LstmdNotReady", "lstmd_ready == 0 and lstmd_draining == 0", "2m", "critical", "{{ $labels.instance }} takes no traffic.",
     "/readyz of the server says why; lstmctl models shows which models failed."),
    ("LstmdDeviceLost", "lstmd_device_healthy == 0", "0m", "critical", "Device {{ $labels.device }} of {{ $labels.instance }} is lost.",
     "The server ends by itself; if it does not, end it. See the kernel's log for the device."),
    ("LstmdModelNotReady", "lstmd_model_ready == 0", "10m", "warning", "Model {{ $labels.model }} version {{ $labels.version }} of {{ $labels.instance }} is not served.",
     "lstmctl models shows the error; lstmctl load tries again."),
    ("LstmdInternalErrors", 'sum by (instance, rpc, reason) (rate(lstmd_failures_total{code=~"INTERNAL|UNKNOWN|DATA_LOSS"}[5m])) > 0', "2m", "critical",
     "{{ $labels.instance }} fails at {{ $labels.rpc }} by itself: {{ $labels.reason }}.", "The log has a line at error for each."),
    ("LstmdDeviceCallsFail", "sum by (instance, model) (rate(lstmd_failed_batches_total[5m])) > 0", "2m", "critical",
     "Device calls of model {{ $labels.model }} fail on {{ $labels.instance }}.", "Steps can be tried again under the same number; the log names the device's error."),
    ("LstmdOverloaded", 'sum by (instance, rpc) (rate(lstmd_failures_total{reason="QUEUE_FULL"}[5m])) > 0', "5m", "warning",
     "{{ $labels.instance }} refuses work because its queue is full.", "Add servers, or look for a client that floods: lstmctl top, lstmd_queued_work."),
    ("LstmdSlow", "histogram_quantile(0.99, sum by (le, instance, model) (rate(lstmd_answer_duration_seconds_bucket[5m]))) > 0.1", "10m", "warning",
     "One of a hundred steps of {{ $labels.model }} on {{ $labels.instance }} takes over 100 ms.", "The parts tell where: queue (too much load), compute (device), reply (slow readers). --slow-request logs single ones."),
    ("LstmdDeviceSaturated", "rate(lstmd_device_busy_seconds_total[10m]) > 0.95", "15m", "warning",
     "Device {{ $labels.device }} of {{ $labels.instance }} computes without a pause.", "More load makes the queue grow: add servers."),
    ("LstmdSessionsNearLimit", "sum by (instance) (lstmd_sessions) > 0.9 * sum by (instance) (lstmd_max_sessions)", "5m", "warning",
     "{{ $labels.instance }} holds over nine tenths of the sessions that it may.", "Raise --max-sessions if the memory is there, or shorten --session-idle-ttl."),
    ("LstmdMemoryNearLimit", "process_resident_memory_bytes > 0.9 * (lstmd_memory_limit_bytes > 0)", "5m", "warning",
     "{{ $labels.instance }} uses over nine tenths of the memory that it may.", "Above it sessions, models and steps are refused (MEMORY_LIMIT): raise --memory-limit if the memory is there, lower --max-resident-sessions, or add servers."),
    ("LstmdConnectionsCut", "sum by (instance, bound) (rate(lstmd_connections_cut_total[5m])) > 0", "5m", "warning",
     "{{ $labels.instance }} cuts connections that are above {{ $labels.bound }}.", "The log names addresses. A client that floods should be found; honest ones need fewer connections, or a larger bound."),
    ("LstmdTenantOverQuota", "sum by (instance, tenant, bound) (rate(lstmd_tenant_refusals_total[5m])) > 1", "15m", "info",
     "Tenant {{ $labels.tenant }} is above its {{ $labels.bound }} on {{ $labels.instance }}.", "The others do not feel it. Talk to the tenant, or raise its share in the quota file."),
    ("LstmdStoreFails", "rate(lstmd_checkpoint_failures_total[5m]) > 0", "2m", "critical",
     "{{ $labels.instance }} cannot save sessions.", "Steps that must be safe end with STORE_UNAVAILABLE or STORE_FULL until it can; look at the store, its disk and the way to it."),
    ("LstmdStoreSlow", "lstmd_checkpoint_group_duration_seconds > 1 or lstmd_checkpoint_lag_seconds > 5", "5m", "warning",
     "Sessions of {{ $labels.instance }} wait for seconds to be saved.", "Steps with durability every_step take as long; look at the store's disk and network."),
    ("LstmdFilesNearLimit", "process_open_fds > 0.9 * process_max_fds", "5m", "warning",
     "{{ $labels.instance }} has over nine tenths of its files open.", "Raise the limit of open files (LimitNOFILE), or find the client that keeps connecting."),
    ("LstmdRestarts", "changes(process_start_time_seconds[1h]) > 2", "0m", "warning",
     "{{ $labels.instance }} was started {{ $value }} times within an hour.", "Exit code and last log lines of the old process say why."),
    ("LstmdScrapeCostly", "lstmd_collect_duration_seconds > 0.5", "10m", "info",
     "A scrape of {{ $labels.instance }} takes {{ $value }} s.", "Scrape less often, or unload models that nobody uses."),
]


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


def alerts(check):
    lines = ["# SPDX-License-Identifier: Apache-2.0", "# Made by deploy/monitoring/generate.py.", "groups:", "  - name: lstmd", "    rules:"]
    for name, expression, wait, severity, summary, action in ALERTS:
        lines += [f"      - alert: {name}", f"        expr: {quoted(check(expression))}", f"        for: {wait}",
                  "        labels:", f"          severity: {severity}", "        annotations:",
                  f"          summary: {quoted(summary)}", f"          description: {quoted(action)}"]
    return "\n".join(lines) + "\n"


def documentation(rows):
    lines = ["<!-- SPDX-License-Identifier: Apache-2.0 -->", "<!-- Made by deploy/monitoring/generate.py. -->", "# Metrics of lstmd", "",
             "`lstmd --metrics-listen HOST:PORT` serves these at `/metrics`. Labels take few values: models are those of the",
             "repository, calls, codes and reasons those of the program; no name that a client made up is among them.", ""]
    section = None
    for here, name, kind, labels, text in rows:
        if here != section:
            lines += ["" if section else None, f"## {here}", "", "| metric | type | labels | |", "|---|---|---|---|"]
            section = here
        lines.append(f"| `{name}` | {kind.lower()} | {', '.join(labels)} | {text} |")
    lines += ["", "## Alerts", "", "| alert | after | severity | what to do |", "|---|---|---|---|"]
    lines += [f"| {name} | {wait} | {severity} | {action} |" for name, _, wait, severity, _, action in ALERTS]
    return "\n".join(line for line in lines if line is not None) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where something would be written")
    arguments = parser.parse_args()
    rows = read_table()
    check = Checker(rows)
    outputs = {"METRICS.md": documentation(rows), "lstmd-alerts.yml": alerts(check),
               "lstmd-dashboard.json": json.dumps(dashboard(check), indent=1, ensure_ascii=False) + "\n"}
    used = " ".join(outputs[name] for name in ("lstmd-alerts.yml", "lstmd-dashboard.json"))
    unused = [name for _, name, *_ in rows if not re.search(rf"\b{name}(?:_bucket|_sum|_count)?\b", used)]
    if unused:
        sys.exit(f"in no panel and no alert: {', '.join(unused)}")
    stale = [name for name, text in outputs.items() if not (HERE / name).exists() or (HERE / name).read_text() != text]
    if arguments.check:
        if stale:
            sys.exit(f"not as generate.py writes them: {', '.join(stale)}; run deploy/monitoring/generate.py")
        print(f"{len(rows)} metrics, {sum(len(row) for _, _, row in ROWS)} panels, {len(ALERTS)} alerts: all agree")
        return
    for name in stale:
        (HERE / name).write_text(outputs[name])
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
