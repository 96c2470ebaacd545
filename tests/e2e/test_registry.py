#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Published versions, aliases and concurrency on a live node, and its registry: over kill -9, over the layout of older daemons, damaged."""

import json
import os
import socket
import sqlite3
import sys
import threading

import harness
import wcproto
from gateway import Gateway

CODE = b"""
import os, time

def handler(event, context):
    if "tag" in event:
        with open(os.path.join(os.environ["SHARED"], "runs"), "a") as file:
            file.write("%s\\n" % event["tag"])
    time.sleep(event.get("sleep_ms", 0) / 1000)
    if "secret" in event:
        with open(os.path.join(os.environ["WARMCORE_SECRETS"], event["secret"])) as file:
            return file.read()
    return [NUMBER, context.function_version]
"""


class Case(harness.NodeTest):
    def deploy(self, number, name="hello", **manifest):
        return self.node.deploy(name, "python", "main.handler", {"main.py": CODE.replace(b"NUMBER", b"%d" % number)}, **manifest)

    def ask(self, op, **request):
        answer = b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(300)
            control.connect("/run/warmcore/%s/control.sock" % self.node.name)
            control.sendall(json.dumps(dict(request, op=op)).encode() + b"\n")
            while not answer.endswith(b"\n"):
                more = control.recv(1 << 20)
                self.assertTrue(more, "the daemon closed the connection")
                answer += more
        return json.loads(answer)

    def good(self, op, **request):
        answer = self.ask(op, **request)
        self.assertTrue(answer["ok"], (op, request, answer))
        return answer

    def refused(self, code, op, **request):
        answer = self.ask(op, **request)
        self.assertFalse(answer["ok"], (op, request, answer))
        self.assertEqual(answer["code"], code, answer)
        return answer["error"]

    def invoke(self, what, event="{}"):
        return json.loads(self.node.cli("invoke", what, event).stdout)

    def counts(self, name):
        return {v["qualifier"]: v["invocations"] for v in self.node.json("versions", name, "--published")["versions"]}

    def publish_two(self, name):
        """$LATEST is 3 in the end."""
        self.deploy(1, name)
        self.assertEqual(self.node.cli("publish", name, "--description", "the first").stdout, name + ":1\n")
        self.deploy(2, name)
        self.assertEqual(self.node.cli("publish", name).stdout, name + ":2\n")
        self.assertEqual(self.node.cli("publish", name).stdout, name + ":2 (nothing has changed since)\n")
        self.deploy(3, name)


class Versions(Case):
    TAG = "reg"

    def test_versions(self):
        self.publish_two("hello")
        latest = str(self.good("resolve", name="hello")["function"]["version"])
        self.assertEqual(self.invoke("hello:1"), [1, "1"])
        self.assertEqual(self.invoke("hello:2"), [2, "2"])
        self.assertEqual(self.invoke("hello"), [3, latest])
        self.assertEqual(self.invoke("hello:$LATEST"), [3, latest])
        self.assertEqual(self.counts("hello"), {"$LATEST": 2, "1": 1, "2": 1})
        listed = self.node.cli("list", "--all").stdout
        self.assertRegex(listed, r"(?m)^hello:1 ")
        self.assertNotIn("hello:1", self.node.cli("list").stdout)
        cores = self.node.status()["cores"]
        self.assertTrue(any("hello:1" in core["warm"] for core in cores), cores)
        self.assertIn("no published version 9", self.node.cli("invoke", "hello:9", check=False).stderr)
        self.assertIn("no alias nobody", self.node.cli("invoke", "hello:nobody", check=False).stderr)
        # Each is a function of its own to whoever sends packets, and is gone when it is removed; the rest is not.
        function = self.good("resolve", name="hello", qualifier="1")["function"]["id"]
        self.node.cli("remove", "hello:1")
        with self.node.client() as client:
            self.assert_error(client.invoke(function, b"{}"), wcproto.UNKNOWN_FUNCTION)
        self.assertEqual(self.invoke("hello:2"), [2, "2"])
        self.assertEqual(self.node.cli("publish", "hello").stdout, "hello:3\n")
        self.assertEqual(self.invoke("hello:3"), [3, "3"])
        self.node.cli("remove", "hello")
        self.refused("not-found", "resolve", name="hello", qualifier="2")

    def test_secrets(self):
        """A version may read what its function may, and nothing more."""
        self.deploy(1, "keeper")
        self.node.cli("secret", "keeper", "key", stdin=b"open sesame")
        self.node.cli("publish", "keeper")
        self.deploy(2, "keeper")
        self.assertEqual(self.invoke("keeper:1", '{"secret": "key"}'), "open sesame")
        self.assertEqual(self.invoke("keeper", '{"secret": "key"}'), "open sesame")
        self.node.cli("remove", "keeper")

    def test_ids(self):
        """Functions and versions under ids of another node: they are called by them, and no id means two things."""
        self.deploy(1, "source")
        folder = os.path.join(self.node.root, "source-source")
        manifest = {"source": folder, "runtime": "python", "handler": "main.handler"}
        ids = {key: 900 << 12 | slot for key, slot in (("latest", 3000), ("version", 4095), ("other", 3001))}
        function = self.good("deploy", name="alien", id=ids["latest"], **manifest)["function"]
        self.assertEqual(function["id"], ids["latest"])
        published = self.good("publish", name="alien", id=ids["version"], version=17)
        self.assertEqual((published["version"], published["function"]["id"]), (17, ids["version"]))
        self.assertTrue(self.good("publish", name="alien", id=ids["version"], version=17)["unchanged"])
        self.assertTrue(self.good("deploy", name="alien", id=ids["latest"], **manifest)["unchanged"])
        for wrong in (0, -1, 1, 4096, 4095, 5 << 12, 1 << 32, "7", 4097.0, None, True):
            self.refused("bad-request", "deploy", name="beta", id=wrong, **manifest)
            self.refused("bad-request", "publish", name="source", id=wrong)
        self.refused("bad-request", "publish", name="source", version=0)
        self.refused("bad-request", "configure", name="alien", id=ids["other"])
        self.assertIn("of alien,", self.refused("conflict", "deploy", name="beta", id=ids["latest"], **manifest))
        self.assertIn("of alien:17,", self.refused("conflict", "deploy", name="beta", id=ids["version"], **manifest))
        self.assertIn("of alien:17,", self.refused("conflict", "publish", name="source", id=ids["version"]))
        self.assertIn("remove it first", self.refused("conflict", "deploy", name="alien", id=ids["other"], **manifest))
        self.refused("not-found", "resolve", name="beta")
        with self.node.client() as client:
            self.assertEqual(json.loads(client.invoke(ids["latest"], b"{}").payload)[0], 1)
            self.assert_reply(client.invoke(ids["version"], b"{}"), [1, "17"])
            # The same id for something else, at once: nothing of the first is left that could answer to it.
            self.good("remove", name="alien")
            self.assert_error(client.invoke(ids["latest"], b"{}"), wcproto.UNKNOWN_FUNCTION)
            self.deploy(2, "source")
            self.good("deploy", name="beta", id=ids["latest"], **manifest)
            self.assertEqual(json.loads(client.invoke(ids["latest"], b"{}").payload)[0], 2)
        self.assertEqual(self.deploy(1, "gamma") >> 12, 901)
        # It is nothing that a function could say of itself.
        self.node.cli("remove", "gamma")
        with self.assertRaisesRegex(AssertionError, "unknown key"):
            self.deploy(1, "gamma", id=ids["other"])
        for name in "beta", "source":
            self.node.cli("remove", name)

    def test_latest_in_flight(self):
        """What began on an old $LATEST ends there, whatever is published, configured and deployed meanwhile."""
        function = self.deploy(1, "flight", timeout_ms=60000)
        with self.node.client() as busy:
            busy.send(busy.fresh_id(), function, b'{"tag": "flight", "sleep_ms": 2000}')
            harness.wait_until(lambda: self.node.runs("flight"), "it runs")
            self.good("publish", name="flight")
            self.good("configure", name="flight", memory_mb=256)
            self.deploy(2, "flight")
            self.assertEqual(self.invoke("flight")[0], 2)
            self.assertEqual(json.loads(self.assert_reply(busy.receive(60)).payload)[0], 1)
        self.assertEqual(self.good("published", name="flight")["versions"][1]["memory_mb"], 128)
        self.node.cli("remove", "flight")

    def test_weights(self):
        """2,000 invocations of an alias that gives a quarter away: 500, with a standard deviation of 19."""
        self.publish_two("shared")
        self.node.cli("alias", "shared", "prod", "1", "--weight", "2=0.25")
        answer = self.good("resolve", name="shared", qualifier="prod")
        self.assertEqual([(t["version"], t["weight"]) for t in answer["targets"]], [("1", 0.75), ("2", 0.25)])
        self.assertEqual(answer["function"]["id"], answer["targets"][0]["id"])
        self.node.cli("invoke", "shared:prod", "--repeat", "2000")
        counts = self.counts("shared")
        self.assertEqual(counts["1"] + counts["2"], 2000)
        self.assertTrue(abs(counts["2"] - 500) < 6 * 19.4, counts)
        self.node.cli("alias", "shared", "prod", "--weight", "2=1")
        self.node.cli("invoke", "shared:prod", "--repeat", "50")
        self.assertEqual(self.counts("shared")["2"], counts["2"] + 50)
        self.node.cli("alias", "shared", "prod", "--weight", "none")
        self.node.cli("invoke", "shared:prod", "--repeat", "50")
        self.assertEqual(self.counts("shared")["1"], counts["1"] + 50)
        self.assertRegex(self.node.cli("alias", "shared").stdout, r"(?m)^prod +1 ")
        self.node.cli("remove", "shared")

    def test_canary_goes(self):
        """A version that an alias gave some invocations to is removed: the gateway, which knows the alias as it was, asks again and says no 404."""
        gateway = Gateway(self.node)
        self.addCleanup(gateway.close)
        self.publish_two("canary")
        with gateway.connect() as connection:
            for i in range(3):  # whether it knows version 2 from before, or that it is not there any more, or neither
                self.node.cli("alias", "canary", "prod%d" % i, "1", "--weight", "2=1")
                self.assertEqual(connection.request("POST", "/function/canary:prod%d" % i, b"{}").json()[1], "2")
            self.good("alias", name="canary", action="set", alias="prod0", weights={})
            self.good("alias", name="canary", action="set", alias="prod1", weights={})
            self.good("alias", name="canary", action="set", alias="prod2", weights={})
            self.good("remove", name="canary", qualifier="2")
            for i in range(3):
                response = connection.request("POST", "/function/canary:prod%d" % i, b"{}")
                self.assertEqual((response.status, response.json()), (200, [1, "1"]), i)
        self.assertEqual(gateway.stop(), 0)
        self.node.cli("remove", "canary")

    def test_alias_conditions(self):
        self.publish_two("named")
        self.good("alias", name="named", action="create", alias="prod", version="1", description="live")
        self.refused("conflict", "alias", name="named", action="create", alias="prod", version="2")
        self.refused("not-found", "alias", name="named", action="update", alias="beta", version="2")
        self.refused("precondition", "alias", name="named", action="set", alias="prod", version="2", revision="x")
        self.refused("bad-request", "alias", name="named", action="set", alias="12", version="2")
        self.refused("bad-request", "alias", name="named", action="set", alias="prod", weights={"1": 0.5})
        self.refused("bad-request", "alias", name="named", action="set", alias="prod", weights={"2": 1.5})
        self.refused("bad-request", "alias", name="named", action="set", alias="prod", weights={"2": 0.1, "3": 0.1})
        self.refused("bad-request", "alias", name="named", action="set", alias="prod", weights={"$LATEST": 0.1})
        self.refused("not-found", "alias", name="named", action="set", alias="prod", version="7")
        self.refused("bad-request", "alias", name="named", action="set", alias="prod", version=1)
        alias = self.good("alias", name="named", action="get", alias="prod")["alias"]
        self.assertEqual((alias["version"], alias["weights"], alias["description"]), ("1", {}, "live"))
        self.assertIn("the alias prod", self.refused("conflict", "remove", name="named", qualifier="1"))
        self.refused("bad-request", "remove", name="named", qualifier="$LATEST")
        self.refused("precondition", "publish", name="named", revision="x")
        self.refused("precondition", "publish", name="named", code_sha256="0" * 64)
        self.good("alias", name="named", action="remove", alias="prod", revision=alias["revision"])
        self.good("remove", name="named", qualifier="1")
        self.node.cli("remove", "named")

    def test_alias_under_load(self):
        """While an alias goes back and forth, and versions come and go, each invocation is answered by one it has stood for."""
        self.publish_two("moving")
        self.good("alias", name="moving", action="set", alias="prod", version="1")
        stopping, wrong, seen = threading.Event(), [], set()

        def work():
            with self.node.client() as client:
                while not stopping.is_set():
                    function = self.good("resolve", name="moving", qualifier="prod")["targets"][0]["id"]
                    answer = client.invoke(function, b"{}")
                    if answer is None or answer.kind != wcproto.REPLY or json.loads(answer.payload)[0] not in (1, 2):
                        wrong.append(answer)
                    else:
                        seen.add(json.loads(answer.payload)[0])

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for i in range(60):
            self.good("alias", name="moving", action="set", alias="prod", version=str(1 + i % 2))
            if i % 10 == 0:  # others are nobody's affair
                self.good("configure", name="moving", timeout_ms=5000 + i)
                number = self.good("publish", name="moving")["version"]
                self.good("remove", name="moving", qualifier=str(number))
        harness.wait_until(lambda: seen == {1, 2} or wrong, "both have answered")
        stopping.set()
        for worker in workers:
            worker.join()
        self.assertEqual(wrong, [])
        self.node.cli("remove", "moving")

    def test_throttled(self):
        """Reserved concurrency 0: what runs is finished, what comes is refused at once, of every version; then it is served again."""
        self.publish_two("paused")
        function = self.good("resolve", name="paused", qualifier="1")["function"]["id"]
        latest = self.good("resolve", name="paused")["function"]["id"]
        with self.node.client() as busy, self.node.client() as client:
            busy.send(busy.fresh_id(), function, b'{"tag": "paused", "sleep_ms": 1500}')
            harness.wait_until(lambda: self.node.runs("paused"), "it runs")
            answer = self.good("concurrency", name="paused", reserved=0)
            self.assertEqual(answer["concurrency"], {"reserved": 0})
            for target in (function, latest, function):
                client.send(client.fresh_id(), target, b"{}")
                answer = client.receive(60)
                self.assertEqual((answer.kind, answer.code), (wcproto.BUSY, wcproto.FUNCTION_LIMIT))
            self.assertEqual(json.loads(self.assert_reply(busy.receive(60)).payload)[0], 1)
            self.good("concurrency", name="paused", action="remove")
            self.assertEqual(json.loads(self.assert_reply(client.invoke(function, b"{}")).payload)[0], 1)
        self.refused("bad-request", "concurrency", name="paused", reserved=-1)
        self.refused("bad-request", "concurrency", name="paused", reserved=3, qualifier="1")
        self.refused("bad-request", "concurrency", name="paused", provisioned=3)
        self.node.cli("remove", "paused")

    def test_provisioned(self):
        self.publish_two("ready")
        self.good("alias", name="ready", action="set", alias="prod", version="2")
        self.good("concurrency", name="ready", qualifier="prod", provisioned=1)
        self.good("concurrency", name="ready", qualifier="1", provisioned=1)
        harness.wait_until(lambda: all(p["status"] == "READY" for p in self.good("concurrency", name="ready", action="list")["provisioned"]),
                           "they are ready")  # fmt: skip
        self.assertEqual({v["qualifier"]: v["instances"] for v in self.good("published", name="ready")["versions"]},
                         {"$LATEST": 0, "1": 1, "2": 1})  # fmt: skip
        self.good("concurrency", name="ready", qualifier="prod", action="remove")
        self.assertEqual(self.good("concurrency", name="ready", qualifier="prod")["concurrency"]["requested"], 0)
        self.node.cli("remove", "ready")


class Restarts(Case):
    TAG = "rgr"

    def everything(self, name):
        """What a restart must not change."""
        versions = self.good("published", name=name)["versions"]
        kept = ("id", "version", "code_sha256", "timeout_ms", "description", "revision", "qualifier", "deployed_at")
        return ([{key: version.get(key) for key in kept} for version in versions], self.good("alias", name=name)["aliases"],
                self.good("concurrency", name=name)["concurrency"], self.node.json("versions", name)["versions"])  # fmt: skip

    def test_kill9(self):
        self.publish_two("lasting")
        self.good("alias", name="lasting", action="set", alias="prod", version="1", weights={"2": 0.5}, provisioned=1)
        self.good("concurrency", name="lasting", reserved=7)
        for i in range(4):
            before = self.everything("lasting")
            self.node.kill9()
            self.node.up()
            self.assertEqual(self.everything("lasting"), before)
            self.assertEqual(self.invoke("lasting:1"), [1, "1"])
            self.good("configure", name="lasting", description="round %d" % i)
            self.assertEqual(self.good("publish", name="lasting")["version"], 3 + i)
        self.node.cli("remove", "lasting")
        self.node.kill9()
        self.node.up()
        self.refused("not-found", "published", name="lasting")

    def test_old_layout(self):
        """The state folder as a daemon without a registry left it: function.json files."""
        self.deploy(1, "old")
        function = self.deploy(2, "old")
        versions = self.node.json("versions", "old")["versions"]
        self.node.down()
        state = self.node.state
        with sqlite3.connect(os.path.join(state, "registry.db")) as registry:
            rows = registry.execute("SELECT settings, number, deployed_at, code, code_sha256, code_bytes, code_files FROM deployments "
                                    "WHERE function = 'old' ORDER BY place").fetchall()  # fmt: skip
            generation = registry.execute("SELECT generation FROM node").fetchone()[0]
        registry.close()
        keys = ("version", "deployed_at", "code", "code_sha256", "code_bytes", "code_files")
        record, *former = [dict(json.loads(row[0]), **dict(zip(keys, row[1:]))) for row in rows]
        with open(os.path.join(state, "functions", "old", "function.json"), "w") as out:
            json.dump(dict(record, id=function, former=former), out)
        with open(os.path.join(state, "functions", ".generation"), "w") as out:
            out.write("%d\n" % generation)
        for name in ("registry.db", "registry.db-wal", "functions/.registry"):
            if os.path.exists(os.path.join(state, name)):
                os.unlink(os.path.join(state, name))
        self.node.up()
        self.assertEqual(self.good("resolve", name="old")["function"]["id"], function)
        self.assertEqual(self.node.json("versions", "old")["versions"], versions)
        self.assertEqual(self.invoke("old")[0], 2)
        self.assertFalse(os.path.exists(os.path.join(state, "functions", "old", "function.json")))
        self.node.cli("rollback", "old")
        self.assertEqual(self.invoke("old")[0], 1)
        self.assertGreater(self.deploy(1, "newer") >> 12, generation)  # ids are not given out twice
        self.node.cli("remove", "old", "newer")

    def doctor(self):
        found = self.node.json("doctor", "--state-dir", self.node.state, check=False)["checks"]
        return next(check for check in found if check["check"] == "registry")

    def test_damaged(self):
        """A registry that cannot be read stops the start, with a sentence, and is left as it is."""
        self.deploy(1, "safe")
        self.assertEqual(self.doctor()["outcome"], "ok")
        self.node.down()
        path = os.path.join(self.node.state, "registry.db")
        with open(path, "rb") as file:
            good = file.read()
        for content, words in ((good[:4096] + b"\xa5" * 4096 + good[8192:], "is damaged"), (b"\0" * len(good), "no database"),
                               (good[:60] + b"\0\0\0\x63" + good[64:], "newer warmcore")):  # fmt: skip
            with open(path, "wb") as file:
                file.write(content)
            failed = self.node.cli("up", "--state-dir", self.node.state, *self.node.options, check=False)
            self.assertNotEqual(failed.returncode, 0)
            self.assertIn(words, failed.stderr)
            self.assertEqual(self.doctor()["outcome"], "warning")
            with open(path, "rb") as file:
                self.assertEqual(file.read(), content)
        os.unlink(path)
        failed = self.node.cli("up", "--state-dir", self.node.state, *self.node.options, check=False)
        self.assertIn("registry.db is missing", failed.stderr)
        with open(path, "wb") as file:
            file.write(good)
        self.node.up()
        self.assertEqual(self.invoke("safe")[0], 1)
        self.node.cli("remove", "safe")


if __name__ == "__main__":
    sys.exit(harness.main())
