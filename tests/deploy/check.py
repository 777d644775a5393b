# SPDX-License-Identifier: Apache-2.0
"""check.py LSTMD: what is under deploy/, checked by the programs that it is for, or against their schemas.

Prints a line for each check and `N passed, N failed[, N skipped]`. Each check that could pass for nothing is run on a
planted mistake too.
"""
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

from helm_template import TemplateError, template

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "lstmd"
KUBERNETES = ("1.29", "1.37")
PLAIN = {"allowPlaintext": True}
FULL = {
    "tls": {"secretName": "lstmd-tls", "clientCa": "ca.crt"},
    "auth": {"secretName": "lstmd-auth", "quotas": True},
    "extraArgs": ["--max-sessions", "100000"],
    "autoscaling": {"enabled": True},
    "serviceMonitor": {"enabled": True},
}
# The operator's schema is not Kubernetes's own: what the operator's reference says of the fields used here.
SERVICE_MONITOR = {"spec": {"selector", "endpoints"}, "endpoint": {"port", "path", "interval", "scheme", "scrapeTimeout"}}


class Failed(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise Failed(message)


def must_fail(action, why):
    try:
        action()
    except (Failed, TemplateError):
        return
    raise Failed(f"a planted mistake was not found: {why}")


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


def known_flags():
    return set(re.findall(r"--[a-z][a-z0-9-]*", run(sys.argv[1], "--help").stdout))


def check_flags(arguments, where):
    for argument in arguments:
        flag = argument.split("=")[0]
        if flag.startswith("--"):
            expect(flag in known_flags(), f"{where}: lstmd has no flag {flag}")


def check_object(document):
    kind = document.get("kind")
    if kind == "ServiceMonitor":
        spec = document["spec"]
        expect(document["apiVersion"] == "monitoring.coreos.com/v1", "ServiceMonitor: apiVersion")
        expect(set(spec) == SERVICE_MONITOR["spec"], f"ServiceMonitor: {sorted(spec)}")
        for endpoint in spec["endpoints"]:
            expect(set(endpoint) <= SERVICE_MONITOR["endpoint"], f"ServiceMonitor: {sorted(endpoint)}")
        return
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise Failed(f"{kind} of Kubernetes {version}: {error.message}") from error


def one(documents, kind, suffix=""):
    found = [d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(suffix)]
    expect(found, f"there is no {kind} {suffix}")
    return found[0]


def check_whole(documents):
    """What no schema says: that the parts fit each other."""
    workload = one(documents, "StatefulSet")
    pod = workload["spec"]["template"]
    container = pod["spec"]["containers"][0]
    labels = pod["metadata"]["labels"].items()
    for document in documents:
        if document["kind"] in ("Service", "PodDisruptionBudget", "StatefulSet"):
            selector = document["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            expect(selector.items() <= labels, f"{document['kind']} selects other pods")
    headless = one(documents, "Service", "-headless")
    expect(headless["spec"]["clusterIP"] == "None", "the headless service has an address")
    expect(workload["spec"]["serviceName"] == headless["metadata"]["name"], "serviceName is another service")
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        expect(container[probe]["httpGet"]["port"] in ports, f"{probe}: no such port")
    for document in documents:
        if document["kind"] == "Service":
            expect({port["targetPort"] for port in document["spec"]["ports"]} <= ports, "a service of no port")
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    expect(mounts == {volume["name"] for volume in pod["spec"]["volumes"]}, "volumes and mounts differ")
    drain = [a for a in container["args"] if a.startswith("--drain-timeout=")][0].split("=")[1].rstrip("s")
    stop = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    expect(pod["spec"]["terminationGracePeriodSeconds"] > int(drain) + int(stop), "a pod is killed before it has drained")
    check_flags(container["args"], "the chart")
    for document in documents:
        if document["kind"] == "HorizontalPodAutoscaler":
            expect(document["spec"]["scaleTargetRef"]["name"] == workload["metadata"]["name"], "another target is scaled")
            metric = document["spec"]["metrics"][0]["pods"]["metric"]["name"]
            expect(metric in (ROOT / "server/monitor/metrics.inc").read_text(), f"lstmd has no metric {metric}")


def check_chart():
    for values in (PLAIN, FULL):
        documents = template(CHART, values)
        for document in documents:
            check_object(document)
        check_whole(documents)
    kinds = {document["kind"] for document in template(CHART, FULL)}
    expect(kinds == {"StatefulSet", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ServiceMonitor"}, kinds)


def check_chart_can_fail():
    must_fail(lambda: template(CHART, {}), "neither TLS nor allowPlaintext")
    must_fail(lambda: template(CHART, {"allowPlaintext": True, "redis": None, "tls": "x"}), "a value of another kind")

    def broken(change, check):
        documents = copy.deepcopy(template(CHART, FULL))
        change(one(documents, "StatefulSet")["spec"]["template"]["spec"])
        return lambda: check(documents)

    def objects(documents):
        for document in documents:
            check_object(document)

    def container(pod):
        return pod["containers"][0]

    must_fail(broken(lambda pod: container(pod).update(livenesProbe={}), objects), "a misspelled field")
    must_fail(broken(lambda pod: container(pod)["ports"][0].update(containerPort="grpc"), objects), "a port that is text")
    must_fail(broken(lambda pod: container(pod)["args"].append("--no-such-flag"), check_whole), "an unknown flag")
    must_fail(broken(lambda pod: pod.update(terminationGracePeriodSeconds=10), check_whole), "a short grace period")
    must_fail(broken(lambda pod: pod["volumes"].pop(), check_whole), "a mount without its volume")


def check_systemd():
    if shutil.which("systemd-analyze") is None:
        return "systemd-analyze is not installed"
    unit = DEPLOY / "systemd" / "lstmd.service"
    with tempfile.TemporaryDirectory() as folder:
        def verify(text):
            path = pathlib.Path(folder) / "lstmd.service"
            path.write_text(text.replace("/usr/local/bin/lstmd", os.path.abspath(sys.argv[1])))
            result = run("systemd-analyze", "verify", "--man=no", str(path))
            lines = [line for line in result.stderr.splitlines() if "lstmd.service" in line]
            expect(result.returncode == 0 and not lines, "\n".join(lines) or result.stderr)

        verify(unit.read_text())
        must_fail(lambda: verify(unit.read_text().replace("Restart=on-failure", "Restart=sometimes")), "a wrong value")
        must_fail(lambda: verify(unit.read_text().replace("ProtectHome=", "ProtectHouse=")), "an unknown setting")

        def exposure(text):
            path = pathlib.Path(folder) / "lstmd.service"
            path.write_text(text)
            result = run("systemd-analyze", "security", "--offline=true", "--threshold=20", str(path))
            if "unrecognized option" in result.stderr:
                return
            expect(result.returncode == 0, result.stdout[-300:] + result.stderr)

        exposure(unit.read_text())
        must_fail(lambda: exposure("[Service]\nExecStart=/usr/local/bin/lstmd\n"), "a unit without hardening")
    config = DEPLOY / "systemd" / "lstmd.conf"
    for line in config.read_text().splitlines():
        if match := re.match(r"(?:# )?([a-z-]+) = ", line):
            check_flags(["--" + match.group(1)], config.name)
    # The program reads it; it ends at the repository, which is not there.
    result = run(sys.argv[1], "--config", str(config), "--repository", "/nonexistent/repository", "--log-level", "off")
    expect(result.returncode == 2 and "/nonexistent/repository" in result.stderr, result.stderr)
    return None


def check_haproxy():
    if shutil.which("haproxy") is None:
        return "haproxy is not installed"
    text = (DEPLOY / "proxy" / "haproxy.cfg").read_text()
    environment = dict(os.environ, LISTEN="127.0.0.1:8001", **{f"LSTMD_{i}": f"127.0.0.{i}:8001" for i in (1, 2, 3)},
                       **{f"LSTMD_{i}_METRICS": "8002" for i in (1, 2, 3)})
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "haproxy.cfg"

        def verify(config):
            path.write_text(config)
            result = run("haproxy", "-c", "-f", str(path), env=environment)
            expect(result.returncode == 0 and "WARNING" not in result.stderr, result.stderr)

        verify(text)
        must_fail(lambda: verify(text.replace("hash-type consistent", "hash-type constant")), "an unknown hash")
    return None


def check_envoy():
    envoy = pathlib.Path(sys.executable).parent / "envoy"
    text = (DEPLOY / "proxy" / "envoy.yaml").read_text()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "envoy.yaml"

        def verify(config):
            path.write_text(config)
            result = run(str(envoy), "--mode", "validate", "-c", str(path))
            expect(result.returncode == 0, result.stderr[-500:])

        verify(text)
        must_fail(lambda: verify(text.replace("RING_HASH", "RING_BELL")), "an unknown policy")


def check_compose():
    path = DEPLOY / "compose" / "compose.yaml"
    compose = yaml.safe_load(path.read_text())
    services = compose["services"]
    check_flags(services["lstmd"]["command"], path.name)
    expect(set(services) == {"lstmd", "redis", "prometheus", "grafana"}, sorted(services))
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                expect((path.parent / source).exists(), f"{name}: there is no {source}")
            else:
                expect(source in compose.get("volumes", {}), f"{name}: no volume {source}")
        for port in service.get("ports", []):
            expect(str(port).startswith("127.0.0.1:"), f"{name}: {port} is open to other machines")
        for other in service.get("depends_on", {}):
            expect(other in services, f"{name} depends on {other}")
    for name in ("prometheus.yml", "grafana-datasources.yml", "grafana-dashboards.yml"):
        yaml.safe_load((path.parent / name).read_text())
    json.loads((DEPLOY / "monitoring" / "lstmd-dashboard.json").read_text())
    if shutil.which("promtool") is not None:
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "prometheus.yml"
            text = (path.parent / "prometheus.yml").read_text()
            config.write_text(text.replace("/etc/prometheus/lstmd-alerts.yml", str(DEPLOY / "monitoring/lstmd-alerts.yml")))
            result = run("promtool", "check", "config", str(config))
            expect(result.returncode == 0, result.stdout + result.stderr)
    if shutil.which("docker-compose") is None:
        return "docker-compose is not installed: the file was looked at without it"
    result = run("docker-compose", "-f", str(path), "config", "-q")
    expect(result.returncode == 0, result.stderr)
    return None


def check_bounds():
    """Flags, metrics and tests of the table are there, and every flag that bounds something is in it."""
    rows = [row.split("|")[1:-1] for row in (DEPLOY / "BOUNDS.md").read_text().splitlines() if row.startswith("| ")][1:]
    expect(len(rows) > 20, f"{len(rows)} rows")
    metrics = (DEPLOY / "monitoring" / "METRICS.md").read_text()
    listed = set()
    for bound, flags, _, _, seen, tests in rows:
        named = [re.findall(r"`([^`]+)`", cell) for cell in (flags, seen, tests)]
        expect(all(named), f"{bound.strip()}: no flag, metric or test")
        check_flags(named[0], f"BOUNDS.md, {bound.strip()}")
        listed.update(named[0])
        for metric in named[1]:
            expect(f"| `{metric}` |" in metrics, f"there is no metric {metric}")
        for test in named[2]:
            expect((DEPLOY.parent / "tests" / test).exists(), f"there is no test {test}")
    unlisted = {flag for flag in known_flags() if flag.startswith(("--max-", "--keepalive", "--quota"))} - listed
    # How work is cut into device calls bounds nobody.
    unlisted -= {"--max-batch-size", "--max-inline-time", "--max-queue-delay"}
    expect(not unlisted, f"BOUNDS.md lacks {', '.join(sorted(unlisted))}")


def main():
    passed = failed = skipped = 0
    for check in (check_chart, check_chart_can_fail, check_systemd, check_haproxy, check_envoy, check_compose, check_bounds):
        try:
            missing = check()
        except (Failed, TemplateError, OSError, KeyError) as error:
            failed += 1
            print(f"FAILED  {check.__name__}: {type(error).__name__} {error}")
            continue
        if missing:
            skipped += 1
            print(f"skipped {check.__name__}: {missing}")
        else:
            passed += 1
            print(f"ok      {check.__name__}")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
