"""What ci/dashboard does: loads an adit that a Prometheus scrapes, and asks
that Prometheus what the panels of the Grafana dashboard would ask it."""

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ADIT = os.path.abspath(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))
CONFIGS = os.path.join(HERE, "..", "configs")
# What Grafana would put in, for scrapes of one second.
VARIABLES = {
    "$__rate_interval": "10s",
    "$__interval": "1s",
    "$job": ".*",
    "$instance": ".*",
}
running = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*words, **more):
    process = subprocess.Popen(words, **more)
    running.append(process)
    return process


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def within(seconds, what, done):
    until = time.monotonic() + seconds
    while True:
        try:
            found = done()
        except (OSError, urllib.error.URLError):
            found = None
        if found:
            return found
        if time.monotonic() > until:
            sys.exit(f"dashboard: in vain waited for {what}")
        time.sleep(0.2)


def load(*words):
    """Runs the load generator, which may count what fails as failed."""
    subprocess.run([ADIT, "bench", *words], stdout=subprocess.DEVNULL, check=False)


def panels(dashboard):
    """Every panel but the rows, those within rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def check_layout(dashboard):
    """What Grafana would not show, or not where it is meant to be."""
    numbers, taken = set(), {}
    for panel in dashboard["panels"]:
        assert panel["id"] not in numbers, f"two panels have the id {panel['id']}"
        numbers.add(panel["id"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                assert other == panel["title"], f"{other} lies on {panel['title']}"
    for panel in panels(dashboard):
        assert panel["targets"], f"{panel['title']} asks nothing"


def substituted(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, f"an unknown variable: {expression}"
    return expression


def ask(prometheus, expression):
    query = urllib.parse.urlencode({"query": expression})
    answer = json.loads(get(f"{prometheus}/api/v1/query?{query}"))
    return answer["data"]["result"]


def has_data(result):
    values = [float(series["value"][1]) for series in result]
    return any(not math.isnan(value) for value in values)


def main(folder):
    pem, key = os.path.join(folder, "site.pem"), os.path.join(folder, "site.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-days", "90", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"]
        + ["-keyout", key, "-out", pem],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    os.chmod(key, 0o600)
    tickets = os.path.join(folder, "tickets")
    subprocess.run([ADIT, "ticket-keys", "new", tickets], check=True, stdout=subprocess.DEVNULL)
    door, inner, back, metrics, prometheus = (free_port() for _ in range(5))
    config = os.path.join(folder, "adit.ron")
    with open(config, "w", encoding="utf-8") as file:
        # The first listener leads to the second, so that there is TLS on both
        # sides of it; that is what a dead backend beside it is tried for too.
        file.write(
            f"""(
    listeners: [
        (name: "door", address: "127.0.0.1:{door}", service: "inner",
         tls: (cert: "site.pem", key: "site.key", ticket_keys: "tickets"),
         max_connections: 1000),
        (name: "inner", address: "127.0.0.1:{inner}", service: "back",
         tls: (cert: "site.pem", key: "site.key")),
    ],
    services: {{
        "inner": (backends: ["localhost:{inner}", (address: "127.0.0.1:9", backup: true)],
                  tls: (ca: "site.pem", server_name: "localhost"),
                  health: (check: Tcp, interval: "500ms")),
        "back": (backends: [(address: "127.0.0.1:{back}", max_connections: 100)],
                 health: (check: Tcp, interval: "500ms")),
    }},
    shards: 2,
    admin: Off,
    metrics: (address: "127.0.0.1:{metrics}"),
)"""
        )
    scrape = os.path.join(folder, "prometheus.yml")
    with open(scrape, "w", encoding="utf-8") as file:
        file.write(
            f"""global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{os.path.abspath(CONFIGS)}/prometheus/adit.rules.yml"]
scrape_configs: [{{job_name: adit, static_configs: [{{targets: ["127.0.0.1:{metrics}"]}}]}}]
"""
        )
    start(ADIT, "bench", "backend", "--echo", f"127.0.0.1:{back}", stderr=subprocess.DEVNULL)
    server = start(
        *(ADIT, "run", "-c", config, "--no-watch", "--log-level", "error"),
        # Root is refused unless it is meant.
        *("--user", str(os.geteuid())),
    )
    within(30, "adit", lambda: get(f"http://127.0.0.1:{metrics}/readyz"))
    start(
        "prometheus",
        f"--config.file={scrape}",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{prometheus}",
        "--log.level=error",
    )
    prometheus = f"http://127.0.0.1:{prometheus}"
    within(30, "Prometheus", lambda: get(f"{prometheus}/-/ready"))
    # In slices, so that each rate has something that happened in its time.
    for _ in range(4):
        target = f"127.0.0.1:{door}"
        load("churn", "--lanes", "8", "--duration", "2s", "--warmup", "0s", "--insecure", target)
        load("handshake", "--plain", "--count", "5", "--timeout", "1s", target)
        os.kill(server.pid, signal.SIGHUP)
        load("rr", "--tunnels", "8", "--duration", "1s", "--warmup", "0s", "--insecure", target)
    with open(os.path.join(CONFIGS, "grafana", "adit.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    check_layout(dashboard)
    empty, asked = [], 0
    for panel in panels(dashboard):
        for target in panel["targets"]:
            asked += 1
            result = ask(prometheus, substituted(target["expr"]))
            if not has_data(result):
                empty.append(f"{panel['title']}: {target['expr']}")
            names = re.findall(r"{{(\w+)}}", target["legendFormat"])
            shown = set().union(*(series["metric"] for series in result))
            # A limit may be a listener's, a backend's or neither's.
            if not set(names) <= shown:
                empty.append(f"{panel['title']}: no label {set(names) - shown}")
    for note in dashboard["annotations"]["list"]:
        ask(prometheus, substituted(note["expr"]))
    for variable in dashboard["templating"]["list"]:
        query = re.match(r"label_values\((.*), (\w+)\)", str(variable.get("definition", "")))
        if query:
            found = ask(prometheus, substituted(query[1]))
            assert any(query[2] in series["metric"] for series in found), query[0]
    rules = json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"]
    ill = [r["name"] for group in rules for r in group["rules"] if r["health"] == "err"]
    shown = len(list(panels(dashboard)))
    print(f"{shown} panels, {asked} queries, {len(empty)} without an answer")
    for line in empty:
        print(f"  {line}")
    for name in ill:
        print(f"  the rule {name} cannot be evaluated")
    return 1 if empty or ill else 0


if __name__ == "__main__":
    for program in ("prometheus", "openssl"):
        if not shutil.which(program):
            sys.exit(f"dashboard: there is no {program}; install it first")
    with tempfile.TemporaryDirectory() as folder:
        try:
            code = main(folder)
        finally:
            for process in reversed(running):
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    sys.exit(code)
