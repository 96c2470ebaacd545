#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Asynchronous invocations over HTTP in front of a real node: 202 means that it is kept, whatever is killed. What the store and the engine
promise, point by point, is test_async's; here is what the gateway makes of them."""

import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import unittest
import uuid

import gateway
import harness

INVOKE = "/2015-03-31/functions/%s/invocations"
CONFIG = "/2019-09-25/functions/%s/event-invoke-config"
EVENT = [("X-Amz-Invocation-Type", "Event")]
SEED = int(os.environ.get("ASYNC_SEED", "1"))
ACCEPTS = int(os.environ.get("ASYNC_ACCEPTS", "3000"))  # at least so many,
KILLS = int(os.environ.get("ASYNC_KILLS", "5"))  # and so many kills
ATTEMPTS, REMOVED = 1, 3  # reasons of dead letters

# Writes each run down; then what is asked of it.
WORK = b"""
import os
def handler(event, context):
    with open(os.environ["SHARED"] + "/work", "a") as file:
        file.write(str(event["n"] if isinstance(event, dict) else event) + "\\n")
    what = event.get("do") if isinstance(event, dict) else None
    if what == "fail":
        raise ValueError("as it should")
    if what == "third":  # the third time is good
        with open(os.environ["SHARED"] + "/work") as file:
            if sum(line == str(event["n"]) + "\\n" for line in file) < 3:
                raise ValueError("not yet")
    if what == "hold":
        import time
        while not os.path.exists(event["until"]):
            time.sleep(0.01)
    return "fine"
"""

SDK = r"""
const { LambdaClient, InvokeCommand } = require('@aws-sdk/client-lambda');
const client = new LambdaClient({ endpoint: process.argv[1], region: 'local', maxAttempts: 1,
                                  credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
client.send(new InvokeCommand({ FunctionName: 'work', InvocationType: 'Event', Payload: '{"n":"sdk"}' }))
  .then((out) => console.log(JSON.stringify({ status: out.StatusCode, id: out.$metadata.requestId, payload: (out.Payload || '').length })));
"""
CONFIGURE = r"""
const lambda = require('@aws-sdk/client-lambda');
const client = new lambda.LambdaClient({ endpoint: process.argv[1], region: 'local', maxAttempts: 1,
                                         credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
(async () => {
  const out = [];
  for (const [verb, input] of JSON.parse(require('fs').readFileSync(0))) {
    try {
      const got = await client.send(new lambda[verb + 'FunctionEventInvokeConfigCommand']({ FunctionName: 'work', ...input }));
      out.push({ ...got, status: got.$metadata.httpStatusCode, LastModified: got.LastModified && got.LastModified.getTime() });
    } catch (e) {
      out.push(((e.$metadata || {}).httpStatusCode || 0) + ' ' + e.name);
    }
  }
  console.log(JSON.stringify(out));
})();
"""


class GatewayAsync(harness.NodeTest):
    TAG = "gwy"

    @classmethod
    def prepare(cls):
        with open(os.path.join(cls.node.shared, "work"), "w") as file:
            os.fchmod(file.fileno(), 0o666)
        cls.node.deploy("work", "python", "work.handler", {"work.py": WORK}, timeout_ms=600000)

    def open(self, name=None, *options):
        self.folder = os.path.join(self.node.root, name or self.id().rpartition(".")[2])
        one = gateway.Gateway(self.node, "--async-dir", self.folder, *options)
        self.addCleanup(one.close)
        return one

    def ran(self, tag=None):
        with open(os.path.join(self.node.shared, "work")) as file:
            lines = file.read().split("\n")
        return lines.count(str(tag)) if tag is not None else set(lines)

    def rows(self, query):
        """Of the database, whose gateway has ended."""
        with contextlib.closing(sqlite3.connect(os.path.join(self.folder, "async.db"))) as database:
            return database.execute(query).fetchall()

    def dead(self):
        return {str(uuid.UUID(bytes=row[0])): row[1:] for row in self.rows("SELECT id, reason, attempts, error FROM dead_letters")}

    def event(self, one, event, target=INVOKE % "work", headers=tuple(EVENT)):
        return one.request("POST", target, event if isinstance(event, bytes) else json.dumps(event).encode(), list(headers))

    # --- acceptance ---

    def test_accepted(self):
        one = self.open()
        answer = self.event(one, {"n": "a1"})
        self.assertEqual((answer.status, answer.body, answer.header("X-Amz-Executed-Version")), (202, b"", "$LATEST"), answer)
        uuid.UUID(answer.header("x-amzn-RequestId"))
        harness.wait_until(lambda: self.ran("a1") == 1, "it ran")
        answer = self.event(one, {"n": "a2"}, "/async-function/work", ())
        self.assertEqual((answer.status, answer.body), (202, b""), answer)
        uuid.UUID(answer.header("X-Call-Id"))
        harness.wait_until(lambda: self.ran("a2") == 1, "it ran, too")
        self.assertEqual(self.event(one, b"plain text", "/async-function/work", ()).status, 202)
        harness.wait_until(lambda: self.ran("plain text") == 1, "text as a JSON string")
        context = [("X-Amz-Client-Context", "e30="), ("X-Amzn-Trace-Id", "Root=1")]
        self.assertEqual(self.event(one, {"n": "a3"}, headers=EVENT + context).status, 202)
        harness.wait_until(lambda: self.ran("a3") == 1, "with a context")
        self.assertEqual(one.stop(), 0)
        self.assertEqual(self.rows("SELECT count(*) FROM invocations") + self.rows("SELECT count(*) FROM dead_letters"), [(0,), (0,)])

    def test_sdk(self):
        kit = gateway.kit()
        if not kit or not harness.NODE_JS:
            self.skipTest("no SDK, or no node")
        one = self.open()
        done = subprocess.run([harness.NODE_JS, "-e", SDK, one.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=kit, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["status"], answer["payload"]), (202, 0))
        uuid.UUID(answer["id"])
        harness.wait_until(lambda: self.ran("sdk") == 1, "it ran")

    def test_refused(self):
        """What cannot run is not accepted, and leaves nothing behind."""
        one = self.open()
        for status, error_type, event, target, headers in (
                (413, "RequestTooLargeException", b'"' + b"x" * (256 << 10) + b'"', INVOKE % "work", EVENT),
                (413, "RequestTooLargeException", b'"' + b"x" * (8 << 20) + b'"', INVOKE % "work", EVENT),
                (413, "RequestTooLargeException", b"x" * ((256 << 10) + 1), "/async-function/work", []),
                (413, "RequestTooLargeException", b"\n" * (200 << 10), "/async-function/work", []),  # each is two bytes in a JSON string
                (415, "UnsupportedMediaTypeException", b"\xff\xfe", "/async-function/work", []),
                (400, "InvalidRequestContentException", b"{no", INVOKE % "work", EVENT),
                (404, "ResourceNotFoundException", b"{}", INVOKE % "nobody", EVENT),
                (404, "ResourceNotFoundException", b"{}", INVOKE % "nobody", EVENT),  # now it is remembered
                (404, "ResourceNotFoundException", b"{}", "/async-function/nobody", []),
                (404, "ResourceNotFoundException", b"{}", INVOKE % "work%3A7", EVENT),
                (400, "InvalidRequestContentException", b"{}", "/async-function/%s/path" % "work", []),
                (400, "InvalidRequestContentException", b"{}", "/async-function/work?a=b", []),
                (400, "InvalidParameterValueException", b"{}", "/async-function/work", [("X-Callback-Url", "http://127.0.0.1/")]),
                (405, None, None, "/async-function/work", [])):  # fmt: skip
            answer = self.event(one, event, target, headers) if event else one.request("GET", target)
            self.assertEqual(answer.status, status, (target, answer))
            self.assertEqual(answer.header("x-amzn-ErrorType"), error_type or "MethodNotAllowedException")
        self.assertEqual(one.stop(), 0)
        self.assertEqual(self.rows("SELECT count(*) FROM invocations") + self.rows("SELECT count(*) FROM dead_letters"), [(0,), (0,)])

    def test_threads(self):
        """Each loop takes them, the first one runs them; who is told 202 is told by his own loop."""
        one = self.open(None, "--threads", "3")
        tags = ["t%d" % n for n in range(60)]
        for tag in tags:
            self.assertEqual(self.event(one, {"n": tag}).status, 202)
        harness.wait_until(lambda: self.ran() >= set(tags), "all ran")
        self.assertEqual(one.stop(), 0)

    # --- how it ends ---

    def test_attempts(self):
        """An error of the function is an attempt: the third is the last."""
        one = self.open()
        bad = self.event(one, {"n": "bad", "do": "fail"}).header("x-amzn-RequestId")
        self.assertEqual(self.event(one, {"n": "third", "do": "third"}).status, 202)
        harness.wait_until(lambda: self.ran("bad") == 3 and self.ran("third") == 3, "three attempts each")
        self.assertEqual(one.stop(), 0)
        dead = self.dead()
        self.assertEqual(list(dead), [bad])
        self.assertEqual(dead[bad][:2], (ATTEMPTS, 3))
        self.assertIn("as it should", dead[bad][2])
        self.assertEqual(self.rows("SELECT count(*) FROM invocations"), [(0,)])

    def test_busy(self):
        """One runs, none may wait: the others are no attempts, however often they are refused."""
        self.node.deploy("narrow", "python", "work.handler", {"work.py": WORK}, timeout_ms=600000)
        self.node.cli("limit", "narrow", "--concurrency", "1", "--queue", "0")
        one, go = self.open(), os.path.join(self.node.shared, "go")
        tags = ["b%d" % n for n in range(20)]
        for tag in tags:
            self.assertEqual(self.event(one, {"n": tag, "do": "hold", "until": go}, INVOKE % "narrow").status, 202)
        harness.wait_until(lambda: self.ran() & set(tags), "one runs")
        self.assertEqual(self.event(one, {"n": "other"}).status, 202)
        harness.wait_until(lambda: self.ran("other") == 1, "another function is not held up")
        time.sleep(2)  # they are refused meanwhile
        with open(go, "w"):
            pass
        harness.wait_until(lambda: self.ran() >= set(tags), "all ran")
        self.node.wait_idle()
        self.assertEqual(one.stop(), 0)
        self.assertEqual(self.dead(), {})
        self.assertEqual([self.ran(tag) for tag in tags], [1] * len(tags))

    def test_removed(self):
        """The function is gone when they are due: dead letters at once, without an attempt."""
        self.node.deploy("leaving", "python", "work.handler", {"work.py": WORK}, timeout_ms=600000)
        one, go = self.open(), os.path.join(self.node.shared, "go-away")
        event = {"n": "leaving", "do": "hold", "until": go}
        ids = {self.event(one, event, INVOKE % "leaving").header("x-amzn-RequestId") for _ in range(70)}  # 64 of them at a time
        harness.wait_until(lambda: self.ran("leaving"), "one runs")
        one.stop(signal.SIGKILL)
        with open(go, "w"):
            pass
        self.node.wait_idle()
        self.node.cli("remove", "leaving")
        one.start()
        self.assertEqual(self.event(one, {"n": "next"}).status, 202)
        harness.wait_until(lambda: self.ran("next") == 1, "it goes on")
        harness.wait_until(lambda: one.request("GET", "/system/async").json()["dead_letters"] == len(ids), "all are dead")
        self.assertEqual(one.stop(), 0)
        self.assertEqual({identity: row[:2] for identity, row in self.dead().items()}, {identity: (REMOVED, 0) for identity in ids})

    # --- what is set for a function ---

    def test_configuration(self):
        """By the unmodified SDK: put, update, get, delete; and what is refused changes nothing."""
        kit = gateway.kit()
        if not kit or not harness.NODE_JS:
            self.skipTest("no SDK, or no node")
        one = self.open()
        steps = [("Get", {}), ("Put", {"MaximumRetryAttempts": 1, "DestinationConfig": {"OnFailure": {"Destination": "work"}}}), ("Get", {}),
                 ("Update", {"MaximumEventAgeInSeconds": 600}), ("Get", {}), ("Get", {"Qualifier": "$LATEST"}),
                 ("Put", {"MaximumRetryAttempts": 3}), ("Put", {"MaximumEventAgeInSeconds": 59}),
                 ("Put", {"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:sqs:eu-west-1:123456789012:queue"}}}),
                 ("Put", {"DestinationConfig": {"OnSuccess": {"Destination": "http://127.0.0.1/"}}}),
                 ("Put", {"FunctionName": "nobody"}), ("Put", {"Qualifier": "7"}), ("Get", {}),
                 ("Put", {"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:lambda:x:000000000000:function:work"}}}),
                 ("Delete", {}), ("Get", {}), ("Delete", {}), ("Update", {"MaximumRetryAttempts": 0})]  # fmt: skip
        done = subprocess.run([harness.NODE_JS, "-e", CONFIGURE, one.url], input=json.dumps(steps), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, cwd=kit, text=True, timeout=300)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        got = json.loads(done.stdout)
        arn = "arn:aws:lambda:local:000000000000:function:work"
        to_work = {"OnSuccess": {}, "OnFailure": {"Destination": arn}}
        self.assertEqual([entry if isinstance(entry, str) else entry["status"] for entry in got],
                         ["404 ResourceNotFoundException", 200, 200, 200, 200, "404 ResourceNotFoundException",
                          "400 InvalidParameterValueException", "400 InvalidParameterValueException", "400 InvalidParameterValueException",
                          "400 InvalidParameterValueException", "404 ResourceNotFoundException", "404 ResourceNotFoundException", 200, 200, 204,
                          "404 ResourceNotFoundException", "404 ResourceNotFoundException", "404 ResourceNotFoundException"])  # fmt: skip
        for step, retries, age in ((1, 1, 21600), (2, 1, 21600), (3, 1, 600), (4, 1, 600), (12, 1, 600)):
            entry = got[step]
            self.assertEqual((entry["MaximumRetryAttempts"], entry["MaximumEventAgeInSeconds"], entry["FunctionArn"]), (retries, age, arn))
            self.assertEqual(entry["DestinationConfig"], to_work)
            self.assertLess(abs(time.time() - entry["LastModified"] / 1000), 3600)
        self.assertEqual(got[13]["DestinationConfig"], {"OnSuccess": {"Destination": arn}, "OnFailure": {}})
        for body in (b"{", b"[]", b'{"MaximumRetryAttempts": "1"}', b'{"MaximumRetryAttempts": -1}', b'{"Else": 1}', b'{"DestinationConfig": []}',
                     b'{"DestinationConfig": {"OnSuccess": {"Destination": 1}}}', b'{"DestinationConfig": {"OnSuccess": {"Destination": "a b"}}}'):  # fmt: skip
            self.assertEqual(one.request("PUT", CONFIG % "work", body).status, 400, body)
        self.assertEqual(one.request("GET", CONFIG % "work").status, 404)

    def test_destinations(self):
        """One attempt is all; what came out of it goes to a function, once each; and a loop ends."""
        sink = (b'import json, os\ndef handler(event, context):\n    with open(os.environ["SHARED"] + "/sink", "a") as file:\n'
                b'        file.write(json.dumps(event) + "\\n")\n')  # fmt: skip
        path = os.path.join(self.node.shared, "sink")
        with open(path, "w") as file:
            os.fchmod(file.fileno(), 0o666)
        self.node.deploy("sink", "python", "sink.handler", {"sink.py": sink})
        self.node.deploy("source", "python", "work.handler", {"work.py": WORK}, timeout_ms=600000)
        one = self.open()
        config = {"MaximumRetryAttempts": 0, "DestinationConfig": {"OnSuccess": {"Destination": "sink"}, "OnFailure": {"Destination": "sink"}}}
        self.assertEqual(one.request("PUT", CONFIG % "source", json.dumps(config).encode()).status, 200)
        large = "x" * 262000
        events = {"good": {"n": "good"}, "bad": {"n": "bad-once", "do": "fail"}, "large": {"n": "large", "more": large}}
        ids = {name: self.event(one, event, INVOKE % "source").header("x-amzn-RequestId") for name, event in events.items()}

        def records():
            with open(path) as file:
                return {record["requestContext"]["requestId"]: record for record in map(json.loads, file)}

        harness.wait_until(lambda: len(records()) == 3, "all results have come")
        good, bad, cut = (records()[ids[name]] for name in ("good", "bad", "large"))
        self.assertEqual(good["requestContext"]["condition"], "Success")
        self.assertEqual((good["requestPayload"], good["responsePayload"], good["version"]), (events["good"], "fine", "1.0"))
        self.assertEqual(good["responseContext"], {"statusCode": 200, "executedVersion": "$LATEST"})
        self.assertRegex(good["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(bad["requestContext"], {"requestId": ids["bad"], "condition": "RetriesExhausted", "approximateInvokeCount": 1,
                                                 "functionArn": "arn:aws:lambda:local:000000000000:function:source:$LATEST"})  # fmt: skip
        self.assertEqual((bad["responseContext"]["functionError"], bad["responsePayload"]["errorMessage"]), ("Unhandled", "as it should"))
        self.assertEqual((cut["requestContext"]["omitted"], cut["requestPayload"], cut["responsePayload"]), (["requestPayload"], None, "fine"))
        self.assertEqual(self.ran("bad-once"), 1)
        self.assertEqual(one.stop(), 0)
        self.assertEqual(list(self.dead()), [ids["bad"]])
        self.assertEqual(self.rows("SELECT count(*) FROM outbox") + self.rows("SELECT count(*) FROM invocations"), [(0,), (0,)])
        # A function that is its own destination ends, too: the results are 16 deep at most.
        one.start()
        config = {"DestinationConfig": {"OnSuccess": {"Destination": "source"}}}
        self.assertEqual(one.request("PUT", CONFIG % "source", json.dumps(config).encode()).status, 200)
        self.node.deploy("source", "python", "count.handler", {"count.py": sink.replace(b"/sink", b"/work").replace(b"json.dumps(event)", b"'loop'")})
        self.assertEqual(self.event(one, {}, INVOKE % "source").status, 202)
        harness.wait_until(lambda: self.ran("loop") == 17, "17 runs")
        self.node.wait_idle()
        self.assertEqual(one.stop(), 0)
        self.assertEqual((self.ran("loop"), self.rows("SELECT count(*) FROM invocations")), (17, [(0,)]))
        # The last result could not be delivered: it is listed, and nothing else of it can be done than to try again or to drop it.
        one.start()
        entries = one.request("GET", "/system/async/deliveries").json()["entries"]
        self.assertEqual([(e["function"], e["target"], e["kind"], e["state"]) for e in entries], [("source", "source", "on-success", "dead")])
        self.assertEqual(one.request("GET", "/system/async").json()["deliveries_dead"], 1)
        self.assertEqual(one.request("POST", "/system/async/deliveries/purge?id=" + str(uuid.uuid4())).status, 400)
        self.assertEqual(one.request("POST", "/system/async/deliveries/redrive?function=source").json(), {"count": 1})
        harness.wait_until(lambda: one.request("GET", "/system/async").json()["deliveries_dead"] == 1, "it is dead again")
        self.assertEqual(one.request("POST", "/system/async/deliveries/purge?all=true").json(), {"count": 1})
        self.assertEqual(one.request("GET", "/system/async/deliveries?function=source").json(), {"entries": []})
        self.assertEqual(one.stop(), 0)

    # --- looking at it, and mending ---

    def test_command(self):
        """`warmcore async`, over a Unix socket and an address."""
        path = os.path.join(self.node.root, "command.sock")
        one = self.open(None, "--unix", path)
        self.assertEqual(one.request("PUT", CONFIG % "work", b'{"MaximumRetryAttempts": 0}').status, 200)
        ids = [self.event(one, {"n": "command", "do": "fail"}).header("x-amzn-RequestId") for _ in range(130)]
        harness.wait_until(lambda: one.request("GET", "/system/async").json()["dead_letters"] == len(ids), "all are dead")

        def ask(*arguments, where=("--unix", path), check=True):
            return self.node.cli("--json", "async", *arguments, *where, check=check)

        def of(*arguments, **options):
            return json.loads(ask(*arguments, **options).stdout)

        self.assertEqual(of("status")["dead_letters"], len(ids))
        self.assertEqual({entry["id"] for entry in of("list", "--max", "1000")["entries"]}, set(ids))  # two pages
        self.assertEqual(len(of("list", "dead", "--function", "work", where=("--url", one.url + "/"))["entries"]), 100)
        self.assertEqual([of("list", what)["entries"] for what in ("waiting", "deliveries")], [[], []])
        shown = of("show", ids[0])
        self.assertEqual((shown["state"], shown["payload"]["do"], shown["ok"]), ("dead", "fail", True))
        text = self.node.cli("async", "list", "--unix", path).stdout
        self.assertIn("attempts exhausted", text)
        self.assertEqual(len(text.splitlines()), 101)
        self.assertEqual(of("purge", ids[0])["count"], 1)
        self.assertEqual(of("redrive", ids[1])["count"], 1)
        harness.wait_until(lambda: of("status")["dead_letters"] == len(ids) - 1, "it failed again")
        self.assertEqual(of("purge", "--function", "work")["count"], len(ids) - 1)
        self.assertEqual(of("purge", "--deliveries", "--all")["count"], 0)
        for arguments, status, word in ((("show", ids[0]), 1, "404"), (("show", "x"), 2, "no id"), (("redrive",), 2, "say which"), (("nonsense",), 2, "there are"),
                                        (("purge", ids[0], "--all"), 2, "say which"), (("purge", ids[0]), 1, "404"), (("list", "all"), 2, "waiting, dead"),
                                        (("list", "--function", "a b"), 2, "no name"), (("redrive", "--deliveries", ids[0]), 2, "--all")):  # fmt: skip
            done = ask(*arguments, check=False)
            self.assertEqual((done.returncode, json.loads(done.stdout)["ok"]), (status, False), arguments)
            self.assertIn(word, done.stderr, arguments)
        self.assertEqual(one.stop(), 0)
        done = ask("list", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is `warmcore gateway` running there?", done.stderr)

    def test_admin(self):
        self.node.deploy("second", "python", "work.handler", {"work.py": WORK}, timeout_ms=600000)
        one, go = self.open(None, "--threads", "2"), os.path.join(self.node.shared, "go-admin")

        def ask(target, method="GET", status=200):
            answer = one.request(method, "/system/async" + target)
            self.assertEqual(answer.status, status, (target, answer))
            return answer.json()

        held = self.event(one, {"n": "held", "do": "hold", "until": go}).header("x-amzn-RequestId")
        waiting = harness.wait_until(lambda: [e for e in ask("/waiting")["entries"] if e["state"] == "running"], "it runs")
        self.assertEqual([(e["id"], e["function"], e["attempts"]) for e in waiting], [(held, "work", 0)])
        self.assertEqual(ask("/show?id=" + held)["payload"]["n"], "held")
        self.assertEqual(ask("/waiting?function=second"), {"entries": []})
        with open(go, "w"):
            pass
        bad = [self.event(one, {"n": "d%d" % n, "do": "fail"}, INVOKE % name).header("x-amzn-RequestId")
               for n, name in enumerate(("work", "work", "second"))]  # fmt: skip
        harness.wait_until(lambda: len(ask("/dead")["entries"]) == 3, "all are dead")
        self.assertEqual({e["id"] for e in ask("/dead")["entries"]}, set(bad))
        letter = ask("/dead?function=second")["entries"][0]
        self.assertEqual((letter["id"], letter["attempts"], letter["reason"]), (bad[2], 3, "attempts exhausted"))
        self.assertIn("as it should", letter["error"])
        first = ask("/dead")["entries"][0]["number"]
        self.assertEqual(len(ask("/dead?after=%d" % first)["entries"]), 2)
        self.assertEqual((ask("/show?id=" + bad[0])["state"], ask("/show?id=" + bad[0])["payload"]["n"]), ("dead", "d0"))
        self.assertEqual((ask("")["dead_letters"], ask("")["accepted"], ask("")["disk_ok"]), (3, 4, True))
        # Nothing is changed by what is not clear.
        for target, method, status in (("/redrive", "POST", 400), ("/redrive?all=yes", "POST", 400), ("/redrive?all=true", "GET", 405),
                                       ("/purge?all=true&function=work", "POST", 400), ("/purge?id=%s&function=work" % bad[0], "POST", 400),
                                       ("/purge?id=" + str(uuid.uuid4()), "POST", 404), ("/purge?id=1", "POST", 400), ("/show", "GET", 400),
                                       ("/show?id=" + str(uuid.uuid4()), "GET", 404), ("/dead?after=x", "GET", 400),
                                       ("/dead?after=-1", "GET", 400), ("/else", "GET", 404)):  # fmt: skip
            ask(target, method, status)
        answer = one.request("POST", "/system/async/purge?all=true", headers=[("Origin", "http://page")])
        self.assertEqual(answer.status, 403)
        self.assertEqual(len(ask("/dead")["entries"]), 3)
        # One is purged; the function is mended, and the others run again.
        self.assertEqual(ask("/purge?id=" + bad[1], "POST"), {"count": 1})
        self.node.deploy("work", "python", "work.handler", {"work.py": WORK.replace(b'"fail"', b'"nothing"')}, timeout_ms=600000)
        self.addCleanup(self.node.deploy, "work", "python", "work.handler", {"work.py": WORK}, timeout_ms=600000)
        self.assertEqual(ask("/redrive?function=work", "POST"), {"count": 1})
        harness.wait_until(lambda: self.ran("d0") == 4, "it ran again")
        self.assertEqual(self.ran("d1"), 3)
        self.assertEqual(ask("/purge?all=true", "POST"), {"count": 1})
        self.assertEqual(ask("/dead"), {"entries": []})
        self.assertEqual(one.stop(), 0)
        self.assertEqual((self.dead(), self.rows("SELECT count(*) FROM invocations")), ({}, [(0,)]))

    # --- killed ---

    def test_killed(self):
        """kill -9 at random moments while many are accepted: each that was told 202 has run, or is a dead letter."""
        print("\nseed %d" % SEED, flush=True)
        chance, accepted, lock, stop = random.Random(SEED), {}, threading.Lock(), threading.Event()
        one = self.open()

        def load(number):
            sent = 0
            while not stop.is_set():
                try:
                    with one.connect() as connection:
                        while not stop.is_set():
                            sent += 1
                            tag = "k%d-%d" % (number, sent)
                            event = {"n": tag, "do": "fail"} if sent % 100 == 0 else {"n": tag}
                            answer = connection.request("POST", INVOKE % "work", json.dumps(event).encode(), EVENT)
                            if answer.status == 202:
                                with lock:
                                    accepted[tag] = answer.header("x-amzn-RequestId")
                            elif answer.status not in (429, 503):
                                raise AssertionError(answer)
                except (OSError, EOFError, ValueError):
                    time.sleep(0.02)  # it is killed, and comes again

        threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        try:
            for kill in range(KILLS):
                goal = ACCEPTS * (kill + 1) // KILLS
                harness.wait_until(lambda goal=goal: len(accepted) >= goal, "%d are accepted" % goal)
                time.sleep(chance.random() * 0.3)
                one.stop(signal.SIGKILL)
                one.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        good = {tag for tag in accepted if int(tag.split("-")[1]) % 100}
        bad = set(accepted) - good
        harness.wait_until(lambda: not good - self.ran(), "all that was accepted has run", 300)
        harness.wait_until(lambda: all(self.ran(tag) >= 3 for tag in bad), "what fails was tried three times")
        # One that was killed while it ran has made no attempt, so some of them have more to come.
        harness.wait_until(lambda: not any(one.request("GET", "/system/async").json()[name] for name in ("waiting", "running")), "all have ended", 300)
        self.node.wait_idle()
        self.assertEqual(one.stop(), 0)
        waiting = {str(uuid.UUID(bytes=row[0])) for row in self.rows("SELECT id FROM invocations")}
        dead = self.dead()
        for tag, identity in accepted.items():
            self.assertNotIn(identity, waiting, tag)
            self.assertEqual(identity in dead, tag in bad, tag)
        again = sum(self.ran(tag) > 1 for tag in list(good)[:500])
        print("%d accepted, %d kills, %d dead letters, %d of 500 ran more than once" % (len(accepted), KILLS, len(dead), again), flush=True)
        self.assertGreaterEqual(len(accepted), ACCEPTS)

    def test_soak(self):
        """kill -9 of the daemon once a second while many are accepted and run: each ends in success or as a dead letter. ASYNC_SOAK: how many."""
        amount, accepted, lock = int(os.environ.get("ASYNC_SOAK", "3000")), {}, threading.Lock()
        one, numbers, over = self.open(), iter(range(amount)), threading.Event()

        def load():
            while not over.is_set():
                try:
                    with one.connect() as connection:
                        while True:
                            with lock:
                                number = next(numbers, None)
                            if number is None:
                                return
                            tag = "soak%d" % number
                            event = {"n": tag, "do": "fail"} if number % 100 == 0 else {"n": tag}
                            answer = connection.request("POST", INVOKE % "work", json.dumps(event).encode(), EVENT)
                            while answer.status != 202 and not over.is_set():  # nobody knows the function while the daemon is away
                                time.sleep(0.02)
                                answer = connection.request("POST", INVOKE % "work", json.dumps(event).encode(), EVENT)
                            if answer.status == 202:
                                with lock:
                                    accepted[tag] = answer.header("x-amzn-RequestId")
                except (OSError, EOFError):
                    time.sleep(0.02)

        def status():
            return one.request("GET", "/system/async").json()

        begun, kills = time.monotonic(), 0
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            # While anything is accepted or left to run.
            while any(thread.is_alive() for thread in threads) or status()["waiting"] + status()["running"] > amount // 100:
                self.node.kill9()
                self.node.up()
                kills += 1
                time.sleep(1)
                self.assertLess(time.monotonic() - begun, 1800)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        harness.wait_until(lambda: not any(status()[name] for name in ("waiting", "running")), "all have ended", 600)
        took, counted = time.monotonic() - begun, status()
        self.assertEqual(counted["accepted"], counted["succeeded"] + counted["dead_letters"])
        self.assertEqual(one.stop(), 0)
        dead, good = self.dead(), {tag for tag in accepted if int(tag[4:]) % 100}
        self.assertEqual(self.rows("SELECT count(*) FROM invocations"), [(0,)])
        self.assertEqual(good - self.ran(), set())
        self.assertEqual({accepted[tag] for tag in set(accepted) - good}, set(dead))
        print("\n%d accepted, %d kills of the daemon in %.0f s: %d succeeded, %d dead letters, none lost; %d interrupted or refused and tried again" %
              (len(accepted), kills, took, counted["succeeded"], len(dead), counted["busy"]), flush=True)  # fmt: skip
        self.assertGreater(kills, 0)

    def test_killed_node(self):
        """The daemon is killed and comes back: what it lost is no attempt, and what waited runs."""
        one = self.open(None, "--max-wait-ms", "500")
        self.assertEqual(self.event(one, {"n": "n0"}).status, 202)
        harness.wait_until(lambda: self.ran("n0") == 1, "it works")
        go = os.path.join(self.node.shared, "go-again")
        self.assertEqual(self.event(one, {"n": "n1", "do": "hold", "until": go}).status, 202)
        harness.wait_until(lambda: self.ran("n1") == 1, "one runs")
        self.node.kill9()
        accepted = [tag for tag in ("n%d" % n for n in range(2, 22)) if self.event(one, {"n": tag}).status == 202]
        with open(go, "w"):
            pass
        self.node.up()
        harness.wait_until(lambda: self.ran("n1") >= 2 and self.ran() >= set(accepted), "it ran again, and the others ran")
        self.node.wait_idle()
        self.assertEqual(one.stop(), 0)
        self.assertEqual((self.dead(), self.rows("SELECT count(*) FROM invocations")), ({}, [(0,)]))

    def test_stopped(self):
        """SIGTERM: what runs may end, and does not run again; what waits does, after the next start."""
        one = self.open()
        go = os.path.join(self.node.shared, "go-stop")
        self.assertEqual(self.event(one, {"n": "s1", "do": "hold", "until": go}).status, 202)
        harness.wait_until(lambda: self.ran("s1") == 1, "it runs")
        one.process.terminate()
        with open(go, "w"):
            pass
        self.assertEqual(one.stop(), 0)
        self.assertEqual(self.rows("SELECT count(*) FROM invocations"), [(0,)])
        self.assertEqual(self.ran("s1"), 1)

    # --- the folder ---

    def test_folder(self):
        one = self.open()
        nobody = pwd.getpwnam("nobody").pw_uid
        status = os.stat(self.folder)
        self.assertEqual((status.st_uid, status.st_mode & 0o777), (nobody, 0o700))
        self.assertEqual(os.stat(os.path.join(self.folder, "async.db")).st_uid, nobody)
        foreign = os.path.join(self.node.root, "foreign")
        os.mkdir(foreign)
        with open(os.path.join(foreign, "file"), "w"):
            pass
        os.symlink(foreign, foreign + "-link")
        for options, word in ((("--async-dir", self.folder), "in use by process"), (("--async-dir", foreign), "chown -R nobody"),
                              (("--async-dir", foreign + "-link"), "cannot open the folder"), (("--async-dir", "/no/such/place"), "cannot create"),
                              (("--async-dir", self.folder, "--no-async"), "one of the two")):  # fmt: skip
            done = self.node.cli("gateway", "--listen", "127.0.0.1:0", *options, check=False)
            self.assertNotEqual(done.returncode, 0, options)
            self.assertIn(word, done.stderr, options)
        self.assertEqual(self.event(one, {"n": "f1"}).status, 202)

    def test_usual_folder(self):
        """Without an option it is made below /var/lib; a second gateway of the same node goes on without."""
        self.folder = "/var/lib/warmcore-gateway/" + self.node.name
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.addCleanup(shutil.rmtree, self.folder + ".code", True)
        first = gateway.Gateway(self.node, usual=True)
        self.addCleanup(first.close)
        second = gateway.Gateway(self.node, usual=True)
        self.addCleanup(second.close)
        self.assertIn("takes no asynchronous invocations", second.said)
        self.assertEqual(self.event(first, {"n": "u1"}).status, 202)
        self.assertEqual(self.event(second, {"n": "u2"}).status, 501)
        harness.wait_until(lambda: self.ran("u1") == 1, "it ran")


if __name__ == "__main__":
    harness.main()
