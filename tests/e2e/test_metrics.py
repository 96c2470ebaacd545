#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""/metrics of the gateway and `warmcore metrics`, in front of a real node: what is counted is what was done; promtool and Prometheus's own
parser of OpenMetrics take it; docs, dashboard and alert rules name what there is; the log has what it shall have and no secret."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import unittest

import gateway
import harness

MONITORING = os.path.join(harness.ROOT, "scripts", "monitoring")
INVOKE = "/2015-03-31/functions/%s/invocations"
OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')
FUNCTION = b"""
import os, time
def handler(event, context):
    what = event.get("do")
    print("the event is", event)
    if what == "raise":
        raise ValueError("as it should")
    if what == "exit":
        os._exit(3)
    if what == "sleep":
        time.sleep(event["s"])
    return "fine"
"""
# Prometheus's own: it is Debian's package, and so of Debian's Python.
PARSER = """
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(sum(len(family.samples) for family in parse(sys.stdin.read())))
"""


def table():
    """Rows of the table of all metrics: name -> (type, labels)."""
    done = subprocess.run([harness.WARMCORE, "metrics", "--table"], stdout=subprocess.PIPE, text=True, check=True)
    rows = {}
    for line in done.stdout.splitlines():
        name, kind, labels, _ = [part.strip() for part in line.strip("|").split(" | ")]
        rows[name.strip("`")] = (kind, [label for label in labels.split(",") if label])
    return done.stdout, rows


def parse(text):
    """name -> {labels as sorted tuple: value}; checks the form on the way."""
    samples, families, typed = {}, set(), {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in families, "a family twice: " + name
            families.add(name)
            typed[name] = kind
        if line.startswith("#"):
            continue
        found = SAMPLE.match(line)
        assert found, line
        name, labels, value = found.groups()
        pairs = LABEL.findall(labels or "")
        assert "".join('%s="%s",' % pair for pair in pairs).rstrip(",") == (labels or ""), line
        key = tuple(sorted(pairs))
        assert key not in samples.setdefault(name, {}), "a sample twice: " + line
        samples[name][key] = float(value)
    return samples, typed


def promtool():
    done = subprocess.run([os.path.join(harness.ROOT, "scripts", "promtool-kit.sh")], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)  # fmt: skip
    if done.returncode:
        print("\nSKIP: promtool cannot be had: " + done.stderr.strip(), flush=True)
        return None
    return done.stdout.strip()


class Metrics(harness.NodeTest):
    TAG = "mtr"
    OPTIONS = ("--metrics-functions", "3")

    @classmethod
    def prepare(cls):
        cls.node.deploy("work", "python", "main.handler", {"main.py": FUNCTION}, timeout_ms=400)
        cls.gateway = gateway.Gateway(cls.node, "--metrics-functions", "3")
        cls.addClassCleanup(cls.gateway.close)

    def scrape(self, **options):
        answer = self.gateway.request("GET", "/metrics", **options)
        self.assertEqual(answer.status, 200)
        return answer.body.decode()

    def value(self, samples, name, **labels):
        return samples.get(name, {}).get(tuple(sorted(labels.items())), 0)

    def call(self, event, name="work"):
        return self.gateway.request("POST", INVOKE % name, body=json.dumps(event).encode())

    def check_histograms(self, samples):
        names = [name[:-7] for name in samples if name.endswith("_bucket")]
        self.assertIn("warmcore_invocation_service_seconds", names)
        for name in names:
            series = {}
            for labels, value in samples[name + "_bucket"].items():
                rest = tuple(pair for pair in labels if pair[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
            self.assertEqual(set(series), set(samples[name + "_count"]))
            self.assertEqual(set(series), set(samples[name + "_sum"]))
            for rest, buckets in series.items():
                buckets.sort()
                values = [value for _, value in buckets]
                self.assertEqual(values, sorted(values), "not cumulative: %s %s" % (name, rest))
                self.assertEqual(buckets[-1], (float("inf"), samples[name + "_count"][rest]))

    def test_counts(self):
        before, _ = parse(self.scrape())
        for event, times in (({}, 20), ({"do": "raise"}, 3), ({"do": "exit"}, 2), ({"do": "sleep", "s": 30}, 1)):
            for _ in range(times):
                self.assertEqual(self.call(event).status, 200)
        self.assertEqual(self.gateway.request("GET", "/function/nobody").status, 404)
        after, typed = parse(self.scrape())

        def more(name, **labels):
            return self.value(after, name, **labels) - self.value(before, name, **labels)

        self.assertEqual(more("warmcore_invocations_total", function="work"), 26)
        for kind, count in (("function", 3), ("exit", 2), ("timeout", 1), ("crash", 0)):
            self.assertEqual(more("warmcore_invocation_errors_total", function="work", kind=kind), count, kind)
        self.assertEqual(more("warmcore_invocation_wait_seconds_count", function="work"), 26)
        self.assertEqual(more("warmcore_invocation_service_seconds_count", function="work"), 26)
        self.assertGreater(more("warmcore_invocation_service_seconds_sum", function="work"), 0.4)
        # Each that ended its instance is followed by a start; how often one waited for it follows from that.
        self.assertEqual(sum(after["warmcore_cold_starts_total"].values()),
                         sum(after["warmcore_cold_start_seconds_count"].values()))  # fmt: skip
        self.assertGreaterEqual(sum(after["warmcore_cold_starts_total"].values()), 1)
        self.assertEqual(more("warmcore_gateway_invocations_total", function="work", result="ok"), 20)
        self.assertEqual(more("warmcore_gateway_invocations_total", function="work", result="error"), 6)
        self.assertEqual(more("warmcore_gateway_round_trip_seconds_count", function="work"), 26)
        self.assertEqual(more("warmcore_http_requests_total", handler="invoke", code="200"), 26)
        self.assertEqual(more("warmcore_http_requests_total", handler="function", code="404"), 1)
        self.assertEqual(more("warmcore_http_request_duration_seconds_count", handler="invoke"), 26)
        self.assertEqual(more("warmcore_http_requests_total", handler="metrics", code="200"), 1)
        packets = sum(value for labels, value in after["warmcore_dispatch_packets_total"].items()
                      if dict(labels)["outcome"] in ("to_core", "to_pending"))  # fmt: skip
        self.assertGreaterEqual(packets, 26)
        self.assertGreater(sum(more("warmcore_core_seconds_total", core=str(core), mode="busy")
                               for core in range(2)), 0.4)  # fmt: skip
        for labels, value in before["warmcore_core_seconds_total"].items():
            self.assertGreaterEqual(after["warmcore_core_seconds_total"][labels], value)
        self.check_histograms(after)
        self.assertEqual(after["warmcore_up"], {(): 1})
        self.assertGreater(after["process_start_time_seconds"][()], 1e9)
        self.assertGreater(after["process_open_fds"][()], 5)
        self.assertGreater(after["process_resident_memory_bytes"][()], 1 << 20)
        self.assertGreater(after["warmcore_daemon_resident_memory_bytes"][()], 1 << 20)
        # Only what the table has, and what has one type all over.
        _, rows = table()
        for name, series in after.items():
            family = re.sub("_(bucket|sum|count)$", "", name) if name not in rows else name
            self.assertIn(family, rows)
            self.assertEqual(typed[family], {"info": "gauge"}.get(rows[family][0], rows[family][0]))
            for labels in series:
                self.assertLessEqual(set(dict(labels)) - {"le"}, set(rows[family][1]), name)

    def test_running(self):
        """Busy time of an invocation that has not ended grows; nothing of it is counted twice when it ends."""
        thread = threading.Thread(target=self.call, args=({"do": "sleep", "s": 0.3},))
        seen = []
        thread.start()
        while thread.is_alive() or len(seen) < 2:
            samples, _ = parse(self.scrape())
            seen.append(samples["warmcore_core_seconds_total"])
        thread.join()
        for one, next_one in zip(seen, seen[1:]):
            for labels, value in one.items():
                self.assertGreaterEqual(next_one[labels], value)

    def test_limit(self):
        """The functions beyond the limit are counted together, and what they had stays when they go; a removed one takes its samples along."""
        for i in range(5):
            self.node.deploy("more-%d" % i, "python", "main.handler", {"main.py": FUNCTION})
        for i in range(5):
            for _ in range(i + 1):
                self.assertEqual(self.call({}, "more-%d" % i).status, 200)
        for names in (("work", "more-0", "more-1"), ("work", "more-1")):
            samples, _ = parse(self.scrape())
            total = {dict(labels)["function"]: value for labels, value in samples["warmcore_invocations_total"].items()}
            self.assertEqual(set(total), set(names) | {"(other)"})
            self.assertEqual(total["more-1"], 2)
            self.assertEqual(total["(other)"], 3 + 4 + 5)
            calls = {dict(labels)["function"] for labels in samples["warmcore_gateway_invocations_total"]}
            self.assertLessEqual(set(names) | {"(other)"}, calls)
            self.check_histograms(samples)
            for i in (0, 4):
                self.node.cli("remove", "more-%d" % i, check=False)
        self.assertEqual(samples["warmcore_functions"][()], 4)
        self.assertEqual(samples["warmcore_functions_other"][()], 2)
        # One that gets the place of a removed one begins at 0.
        self.node.deploy("next", "python", "main.handler", {"main.py": FUNCTION})
        self.assertEqual(self.call({}, "next").status, 200)
        samples, _ = parse(self.scrape())
        self.assertEqual(self.value(samples, "warmcore_invocations_total", function="next"), 1)
        self.assertEqual(self.value(samples, "warmcore_gateway_invocations_total", function="next", result="ok"), 1)
        for name in ("more-1", "more-2", "more-3", "next"):
            self.node.cli("remove", name)

    def test_forms(self):
        for accept, kind in ((None, "text/plain; version=0.0.4; charset=utf-8"), ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
                             (OPEN, "application/openmetrics-text; version=1.0.0; charset=utf-8")):  # fmt: skip
            answer = self.gateway.request("GET", "/metrics", headers=[("Accept", accept)] if accept else [])
            self.assertEqual(dict(answer.headers)["content-type"], kind)
            self.assertEqual(answer.body.endswith(b"\n# EOF\n"), kind.startswith("application"))
        head = self.gateway.request("HEAD", "/metrics")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(self.gateway.request("POST", "/metrics").status, 405)
        self.assertEqual(self.gateway.request("GET", "/metrics/").status, 404)
        self.call({})
        for text in (self.scrape(headers=[("Accept", OPEN)]), self.node.cli("metrics", "--open").stdout):
            done = subprocess.run(["/usr/bin/python3", "-c", PARSER], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True)  # fmt: skip
            if "No module named" in done.stderr:
                self.skipTest("no python3-prometheus-client: scripts/install-deps.sh --group test")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertGreater(int(done.stdout), 100)

    def test_many_at_once(self):
        """All get an answer, whole; and so do invocations meanwhile."""
        statuses = []

        def ask():
            with self.gateway.connect() as connection:
                for _ in range(5):
                    answer = connection.request("GET", "/metrics")
                    statuses.append(answer.status)
                    if answer.status == 200:
                        parse(answer.body.decode())

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            self.assertEqual(self.call({}).status, 200)
        for thread in threads:
            thread.join()
        self.assertEqual(statuses, [200] * 80)
        # One that does not wait for its answer harms nobody.
        for _ in range(20):
            with self.gateway.connect() as connection:
                connection.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        self.scrape()

    def test_cli(self):
        text = self.node.cli("metrics").stdout
        samples, _ = parse(text)
        self.assertEqual(samples["warmcore_up"], {(): 1})
        self.assertNotIn("process_open_fds", samples)
        answer = json.loads(self.node.cli("--json", "metrics").stdout)
        self.assertTrue(answer["ok"])
        self.assertEqual({function["name"] for function in answer["functions"]} - {None}, {"work"})

    def test_promtool(self):
        tool = promtool()
        if not tool:
            self.skipTest("no promtool")
        self.call({})
        for text in (self.scrape(), self.node.cli("metrics").stdout):
            done = subprocess.run([tool, "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual((done.returncode, done.stdout), (0, ""), done.stdout)


class Down(harness.NodeTest):
    TAG = "mtd"

    def test_down(self):
        """Without a node the gateway says so, with all that is its own; and it finds the node again."""
        self.node.down()
        server = gateway.Gateway(self.node)
        self.addCleanup(server.close)
        answer = server.request("GET", "/metrics")
        self.assertEqual(answer.status, 200)
        samples, _ = parse(answer.body.decode())
        self.assertEqual(samples["warmcore_up"], {(): 0})
        self.assertIn("process_open_fds", samples)
        self.assertIn("warmcore_http_connections", samples)
        self.assertFalse([name for name in samples if name.startswith(("warmcore_core_", "warmcore_daemon_", "warmcore_dispatch_"))])
        self.node.up()
        samples, _ = parse(server.request("GET", "/metrics").body.decode())
        self.assertEqual(samples["warmcore_up"], {(): 1})
        self.assertEqual(server.stop(), 0)


class Keys(harness.NodeTest):
    TAG = "mtk"

    def keys(self, *arguments):
        return self.node.cli("keys", *arguments, "--key-file", self.file).stdout

    def test_role(self):
        folder = tempfile.mkdtemp(dir=self.node.root)
        self.file = os.path.join(folder, "keys.json")
        tokens = {}
        for name, more in (("scraper", ["--role", "metrics"]), ("part", ["--role", "metrics", "--functions", "a*"]), ("caller", []),
                           ("chief", ["--role", "admin"])):  # fmt: skip
            tokens[name] = self.keys("create", name, "--kind", "bearer", *more).strip().split()[-1]
        server = gateway.Gateway(self.node, "--key-file", self.file)
        self.addCleanup(server.close)

        def status(name, method, path):
            headers = [("Authorization", "Bearer " + tokens[name])] if name else []
            return server.request(method, path, headers=headers, body=b"{}" if method == "POST" else b"").status

        self.assertEqual([status(name, "GET", "/metrics") for name in (None, "scraper", "part", "caller", "chief")],
                         [401, 200, 403, 403, 200])  # fmt: skip
        for path, method in (("/function/x", "POST"), (INVOKE % "x", "POST"), ("/system/functions", "GET"), ("/system/info", "GET"),
                             ("/async-function/x", "POST"), ("/url/x/", "GET"), ("/system/async", "GET")):  # fmt: skip
            self.assertEqual(status("scraper", method, path), 403, path)
        self.assertEqual(status("scraper", "GET", "/healthz"), 200)


class Logs(harness.NodeTest):
    TAG = "mtl"
    OPTIONS = ("--log-format", "json")

    @classmethod
    def prepare(cls):
        cls.node.deploy("work", "python", "main.handler", {"main.py": FUNCTION})

    def requests(self, *options):
        """What the gateway logs of requests with secrets in them, and of one that cannot be read."""
        server = gateway.Gateway(self.node, *options)
        self.addCleanup(server.close)
        answer = server.request("POST", (INVOKE % "work") + "?X-Amz-Signature=secret1", body=b'{"x":"secret2"}',
                                headers=[("X-Secret", "secret3"), ("Authorization", "Bearer secret4"),
                                         ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")])  # fmt: skip
        self.assertEqual(answer.status, 200)
        server.request("GET", '/none"such\x80', headers=[("Cookie", "secret5"), ("traceparent", "00-nonsense")])
        with server.connect() as connection:
            connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            self.assertEqual(connection.receive().status, 400)
        said = server.said
        server.process.terminate()
        said += server.process.stderr.read().decode()
        server.stop()
        self.assertNotIn("secret", said)
        return said, answer.header("x-amzn-requestid")

    def test_access_json(self):
        said, request_id = self.requests("--access-log", "--log-format", "json")
        lines = [json.loads(line) for line in said.splitlines()]
        for line in lines:
            self.assertRegex(line["ts"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertIn(line["level"], ("error", "warning", "info"))
            self.assertTrue(line["msg"])
        access = [line for line in lines if line["msg"] == "request"]
        self.assertEqual([line["status"] for line in access], [200, 400, 400])
        self.assertEqual(access[0]["request_id"], request_id)
        self.assertEqual((access[0]["function"], access[0]["method"], access[0]["path"], access[0]["handler"], access[0]["client"]),
                         ("work", "POST", INVOKE % "work", "invoke", "127.0.0.1"))  # fmt: skip
        self.assertEqual([line.get("trace_id") for line in access], ["4bf92f3577b34da6a3ce929d0e0e4736", None, None])
        self.assertEqual(access[0]["bytes"], len('"fine"'))
        self.assertGreater(access[0]["duration_us"], 0)
        self.assertTrue(access[1]["path"].startswith('/none"such'))

    def test_access_text(self):
        said, request_id = self.requests("--access-log")
        self.assertRegex(said, r"warmcore-gateway: request method=POST path=/2015-03-31/functions/work/invocations status=200 bytes=6 "
                               r"duration_us=\d+ handler=invoke request_id=%s function=work client=127.0.0.1 trace_id=4bf92f3577b34da6a3ce929d0e0e4736\n" % request_id)  # fmt: skip

    def test_none(self):
        said, _ = self.requests()
        self.assertNotIn("request ", said)

    def test_daemon(self):
        with open(os.path.join(self.node.state, "daemon.log")) as file:
            lines = [json.loads(line) for line in file]
        self.assertTrue([line for line in lines if "work" in line["msg"] and line["level"] == "info"])


class Files(unittest.TestCase):
    """What is written about metrics is what there is. No node is needed."""

    def test_docs(self):
        text, _ = table()
        with open(os.path.join(harness.ROOT, "docs", "METRICS.md")) as file:
            rows = [line for line in file if re.match(r"\| `(warmcore|process)_", line)]
        self.assertEqual("".join(rows), text, "docs/METRICS.md: the table is that of `warmcore metrics --table`")

    def names(self, query):
        """Names of metrics in a query, without strings, labels and what is grouped by."""
        query = re.sub(r'"[^"]*"', "", query)
        return re.findall(r"\b(?:warmcore|process)_[a-z0-9_]+", query)

    def check_query(self, query, rows):
        names = self.names(query)
        self.assertTrue(names, query)
        for name in names:
            base = re.sub("_(bucket|sum|count)$", "", name)
            if name not in rows:
                self.assertIn(base, rows, query)
                self.assertEqual(rows[base][0], "histogram", query)
        known = {label for name in names for label in rows.get(name, rows.get(re.sub("_(bucket|sum|count)$", "", name)))[1]}
        known |= {"le", "instance", "job"}
        for group in re.findall(r"\bby \(([^)]*)\)", query):
            self.assertLessEqual({label.strip() for label in group.split(",") if label.strip()}, known, query)
        for label in re.findall(r"[{,]\s*([a-z_]+)\s*(?:=~|!~|!=|=)", query):
            self.assertIn(label, known, query)
        return names

    def test_dashboard(self):
        _, rows = table()
        with open(os.path.join(MONITORING, "warmcore-dashboard.json")) as file:
            dashboard = json.load(file)
        self.assertGreaterEqual(dashboard["schemaVersion"], 36)
        panels = dashboard["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        queries, used = [], set()
        for panel in panels:
            position = panel["gridPos"]
            self.assertLessEqual(position["x"] + position["w"], 24, panel["title"])
            self.assertTrue(panel["type"] == "row" or panel["targets"], panel["title"])
            for target in panel.get("targets", []):
                queries.append(target["expr"])
        for a in panels:  # none lies upon another
            for b in panels:
                p, q = a["gridPos"], b["gridPos"]
                self.assertFalse(a["id"] < b["id"] and p["x"] < q["x"] + q["w"] and q["x"] < p["x"] + p["w"] and
                                 p["y"] < q["y"] + q["h"] and q["y"] < p["y"] + p["h"], (a["title"], b["title"]))  # fmt: skip
        for query in queries:
            used |= {re.sub("_(bucket|sum|count)$", "", name) if name not in rows else name for name in self.check_query(query, rows)}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                self.check_query(re.sub(r"label_values\((.*), *[a-z]+\)", r"\1", variable["query"]["query"]), rows)
        # Whoever adds a metric decides whether it belongs there; most do.
        self.assertGreater(len(used), 0.8 * len(rows), sorted(set(rows) - used))
        tool = promtool()
        if not tool:
            self.skipTest("no promtool")
        rules = {"groups": [{"name": "all", "rules": [
            {"record": "q:%d" % i, "expr": query.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$function", ".*")}
            for i, query in enumerate(queries)]}]}  # fmt: skip
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump(rules, file)  # which is YAML
            file.flush()
            done = subprocess.run([tool, "check", "rules", file.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("%d rules found" % len(queries), done.stdout)

    def test_alerts(self):
        _, rows = table()
        path = os.path.join(MONITORING, "alerts.yml")
        with open(path) as file:
            text = file.read()
        queries = re.findall(r"expr: (?:\|\n)?((?:.|\n          )+?)\n        (?:for|labels)", text)
        self.assertEqual(len(queries), text.count("- alert:"))
        for query in queries:
            if not query.startswith("up{"):
                self.check_query(query, rows)
        tool = promtool()
        if not tool:
            self.skipTest("no promtool")
        with open(os.path.join(harness.HERE, "alerts_test.yml")) as file:
            tests = file.read().replace("  - ALERTS\n", "  - %s\n" % path)
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            file.write(tests)
            file.flush()
            for command in (("check", "rules", path), ("test", "rules", file.name), ("check", "config", os.path.join(MONITORING, "prometheus.yml"))):
                done = subprocess.run([tool, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=MONITORING)
                self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    sys.exit(harness.main())
