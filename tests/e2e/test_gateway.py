#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The HTTP gateway in front of a real node: its interfaces with curl, raw bytes and the unmodified SDKs of npm, its limits, its rights,
and what happens when it, or the daemon, is killed."""

import base64
import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import unittest

import gateway
import harness

INVOKE = "/2015-03-31/functions/%s/invocations"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

WEB = b"""
import base64
def handler(event, context):
    if event["rawPath"] == "/image":
        return {"statusCode": 201, "headers": {"Content-Type": "image/x", "X-A": "b"}, "cookies": ["a=1; Path=/", "b=2"],
                "body": base64.b64encode(bytes(range(256))).decode(), "isBase64Encoded": True}
    if event["rawPath"] == "/empty":
        return {"statusCode": 204}
    if event["rawPath"] == "/bad":
        return {"statusCode": 200, "headers": {"x": "a\\r\\nSet-Cookie: stolen"}}
    if event["rawPath"] == "/raise":
        raise ValueError("secret of the house")
    return event
"""
EVENTS = b"""
def handler(event, context):
    return {**event, "id": "re-" + event["id"], "type": event["type"] + ".reply", "source": "/f"}
"""

SDK = r"""
const { LambdaClient, InvokeCommand } = require('@aws-sdk/client-lambda');
const client = new LambdaClient({ endpoint: process.argv[2], region: 'local', maxAttempts: 1,
                                  credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
async function ask(input) {
  try {
    const out = await client.send(new InvokeCommand(input));
    return { status: out.StatusCode, error: out.FunctionError, version: out.ExecutedVersion, log: out.LogResult,
             id: out.$metadata.requestId, payload: Buffer.from(out.Payload || '').toString() };
  } catch (e) {
    return { name: e.name, http: e.$metadata && e.$metadata.httpStatusCode, type: e.Type, message: e.message, reason: e.Reason,
             after: e.retryAfterSeconds };
  }
}
(async () => {
  const out = {};
  for (const [name, input] of Object.entries(JSON.parse(require('fs').readFileSync(0)))) out[name] = await ask(input);
  console.log(JSON.stringify(out));
})();
"""
CLOUDEVENTS = r"""
const { CloudEvent, HTTP, httpTransport, emitterFor } = require('cloudevents');
(async () => {
  const out = {};
  for (const mode of ['binary', 'structured']) {
    const event = new CloudEvent({ id: 'i1', type: 't', source: '/js', data: { n: [1, 'é'] }, ext1: 'x-y' });
    const message = HTTP[mode](event);
    const response = await fetch(process.argv[2], { method: 'POST', headers: message.headers, body: message.body });
    const headers = Object.fromEntries(response.headers.entries());
    const back = HTTP.toEvent({ headers, body: await response.text() });
    out[mode] = { status: response.status, type: headers['content-type'], event: back };
  }
  console.log(JSON.stringify(out));
})();
"""


def post(target, body):
    return ("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (target, len(body), body)).encode()


class Gateway(harness.NodeTest):
    TAG = "gw"

    @classmethod
    def prepare(cls):
        cls.node.deploy_python()
        cls.node.deploy("web", "python", "web.handler", {"web.py": WEB})
        cls.node.deploy("events", "python", "events.handler", {"events.py": EVENTS})
        cls.node.deploy("echo", "python", "echo.handler", {"echo.py": b"def handler(event, context):\n    return event\n"})
        cls.node.deploy("bytes", "python", "echo.handler", {"echo.py": b"def handler(event, context):\n    return event\n"},
                        event="binary")  # fmt: skip
        cls.gateway = gateway.Gateway(cls.node)
        cls.addClassCleanup(cls.gateway.close)

    def invoke(self, name, event, **headers):
        fields = [(key.replace("_", "-"), value) for key, value in headers.items()]
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.gateway.request("POST", INVOKE % name, body, fields)

    def assert_failure(self, response, status, error_type, word=""):
        self.assertEqual(response.status, status, response)
        self.assertEqual(response.header("x-amzn-ErrorType"), error_type, response)
        body = response.json()
        self.assertEqual(body["Type"], "User" if status < 500 else "Service")
        self.assertIn(word, body.get("message") or body["Message"])
        return body

    # --- Lambda's Invoke ---

    def test_invoke(self):
        answer = self.invoke("echo", {"a": ["é"]})
        self.assertEqual((answer.status, answer.json()), (200, {"a": ["é"]}))
        self.assertEqual(answer.header("X-Amz-Executed-Version"), "$LATEST")
        self.assertRegex(answer.header("x-amzn-RequestId"), "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
        self.assertIsNone(answer.header("X-Amz-Function-Error"))
        self.assertEqual(self.invoke("echo", b"").status, 200)
        for size in (61440, 61441, 6291456):
            largest = json.dumps("x" * (size - 2)).encode()
            self.assertTrue(self.invoke("echo", largest).body == largest, size)
        self.assertEqual(self.invoke("bytes", bytes(range(256))).body, bytes(range(256)))
        for name in ("echo:$LATEST", "arn%3Aaws%3Alambda%3Ax%3A000000000000%3Afunction%3Aecho"):
            self.assertEqual(self.invoke(name, 1).json(), 1)
        self.assertEqual(self.gateway.request("POST", INVOKE % "echo" + "?Qualifier=$LATEST", b"2").json(), 2)

    def test_invoke_errors(self):
        self.assert_failure(self.invoke("nobody", {}), 404, "ResourceNotFoundException", "not found")
        self.assert_failure(self.invoke("echo:7", {}), 404, "ResourceNotFoundException")
        self.assert_failure(self.invoke("echo", b"{not json"), 400, "InvalidRequestContentException", "json")
        self.assert_failure(self.invoke("echo", 1, X_Amz_Invocation_Type="Often"), 400, "InvalidParameterValueException")
        self.assert_failure(self.invoke("echo", 1, X_Amz_Log_Type="Head"), 400, "InvalidParameterValueException")
        self.assert_failure(self.invoke("echo", 1, X_Amz_Client_Context="!"), 400, "InvalidRequestContentException")
        self.assert_failure(self.invoke("echo", 1, X_Amz_Client_Context="A" * 3584), 400, "InvalidRequestContentException", "3583")
        context = base64.b64encode(json.dumps({"client": "x" * 2600}).encode()).decode()
        self.assertEqual(self.invoke("echo", 1, X_Amz_Client_Context=context).json(), 1)
        self.assert_failure(self.invoke("echo", 1, X_Amz_Invocation_Type="Event"), 501, "NotImplementedException")
        dry = self.invoke("echo", {}, X_Amz_Invocation_Type="DryRun")
        self.assertEqual((dry.status, dry.body), (204, b""))
        self.assert_failure(self.invoke("nobody", {}, X_Amz_Invocation_Type="DryRun"), 404, "ResourceNotFoundException")

    def test_odd_qualifiers(self):
        """What can be no version names nothing; it is no failure of the gateway."""
        for qualifier in ("0", "00", "-1", "1e3", "99999999999999999999", "9" * 128):
            self.assert_failure(self.gateway.request("POST", INVOKE % "echo" + "?Qualifier=" + qualifier, b"1"), 404, "ResourceNotFoundException")
            self.assert_failure(self.invoke("echo:" + qualifier, 1, X_Amz_Invocation_Type="DryRun"), 404, "ResourceNotFoundException")
            self.assertEqual(self.gateway.request("POST", "/function/echo:" + qualifier, b"1").status, 404)
        for qualifier in ("%00", "%24LATEST%00", "1%00x", "%ff", "9" * 129, "%2524LATEST", "1&Qualifier=2"):
            self.assert_failure(self.gateway.request("POST", INVOKE % "echo" + "?Qualifier=" + qualifier, b"1"), 400, "InvalidRequestContentException")

    def test_function_errors(self):
        for event, error_type in (({"do": "raise"}, "ValueError"), ({"do": "exit", "status": 3}, "Runtime.ExitError"),
                                  ({"do": "abort"}, "Runtime.CrashError")):  # fmt: skip
            answer = self.invoke("probe", event)
            self.assertEqual((answer.status, answer.header("X-Amz-Function-Error")), (200, "Unhandled"), answer)
            self.assertEqual(answer.json()["errorType"], error_type)
            answer = self.gateway.request("POST", "/function/probe", json.dumps(event).encode())
            self.assertEqual(answer.status, 500 if event["do"] == "raise" else 502)
            self.assertEqual(answer.json()["errorType"], error_type)

    def test_log_tail(self):
        event = {"do": "print", "out": "to out é", "err": "to err"}
        answer = self.invoke("probe", event, X_Amz_Log_Type="Tail")
        self.assertEqual(answer.json(), "printed")
        log = base64.b64decode(answer.header("X-Amz-Log-Result"), validate=True).decode()
        self.assertIn("to out é\n", log)
        self.assertIn("to err\n", log)
        self.assertIsNone(self.invoke("probe", event).header("X-Amz-Log-Result"))

    def test_limit(self):
        """One runs, one may wait: nobody else gets in, and who waits longer than he may is told so."""
        source = b"import os, time\ndef handler(event, context):\n    while not os.path.exists(event):\n        time.sleep(0.01)\n    return 'gone'\n"
        self.node.deploy("narrow", "python", "narrow.handler", {"narrow.py": source}, timeout_ms=600000)
        self.node.cli("limit", "narrow", "--concurrency", "1", "--queue", "1")
        impatient, go = gateway.Gateway(self.node, "--max-wait-ms", "300"), os.path.join(self.node.shared, "go")
        self.addCleanup(impatient.close)
        with self.gateway.connect() as first:
            first.send(post("/function/narrow", json.dumps(go)))
            harness.wait_until(lambda: any(core["function"] == "narrow" and core["state"] == "running"
                                           for core in self.node.status()["cores"]), "it runs")  # fmt: skip
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(lambda _: impatient.request("POST", INVOKE % "narrow", json.dumps(go).encode()), range(6)))
            for answer in answers:
                self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (429, "TooManyRequestsException"), answer)
                self.assertGreaterEqual(int(answer.header("Retry-After")), 1)
            self.assertIn("ReservedFunctionConcurrentInvocationLimitExceeded", [answer.json()["Reason"] for answer in answers])
            with open(go, "w"):
                pass
            self.assertEqual(first.receive().body, b"gone")

    def test_in_flight(self):
        small = gateway.Gateway(self.node, "--in-flight", "1")
        self.addCleanup(small.close)
        go = os.path.join(self.node.shared, "go-in-flight")
        source = b"import os, time\ndef handler(event, context):\n    while not os.path.exists(event):\n        time.sleep(0.01)\n    return 'gone'\n"
        self.node.deploy("waits", "python", "waits.handler", {"waits.py": source}, timeout_ms=600000)
        with small.connect() as busy:
            busy.send(post("/function/waits", json.dumps(go)))
            harness.wait_until(lambda: any(core["function"] == "waits" and core["state"] == "running"
                                           for core in self.node.status()["cores"]), "it runs")  # fmt: skip
            answer = small.request("POST", "/function/echo", b"1")
            self.assertEqual(answer.status, 429, answer)
            self.assertEqual(answer.json()["Reason"], "ConcurrentInvocationLimitExceeded")
            with open(go, "w"):
                pass
            self.assertEqual(busy.receive().body, b"gone")
        self.assertEqual(small.request("POST", "/function/echo", b"1").body, b"1")

    def test_redeploy(self):
        """The name is cached, its id changes: nobody notices."""
        with self.gateway.connect() as connection:
            for n in range(5):
                source = b"def handler(event, context):\n    return %d\n" % n
                self.node.deploy("changing", "python", "c.handler", {"c.py": source})
                self.assertEqual(connection.request("POST", INVOKE % "changing", b"{}").json(), n)
            self.node.cli("remove", "changing")
            self.assertEqual(connection.request("POST", INVOKE % "changing", b"{}").status, 404)
            self.node.deploy("changing", "python", "c.handler", {"c.py": source})
            harness.wait_until(lambda: connection.request("POST", INVOKE % "changing", b"{}").status == 200, "it is known again")

    # --- OpenFaaS, function URLs, CloudEvents ---

    def test_function(self):
        for body, expected, kind in ((b'{"a":1}', b'{"a":1}', "application/json"), (b"hello", b"hello", "text/plain; charset=utf-8"),
                                     (b"", b"{}", "application/json"), (b"[1]", b"[1]", "application/json")):  # fmt: skip
            answer = self.gateway.request("POST", "/function/echo", body)
            self.assertEqual((answer.status, answer.body.replace(b" ", b""), answer.header("content-type")), (200, expected, kind))
        answer = self.gateway.request("POST", "/function/bytes", b"\x00\xff")
        self.assertEqual((answer.body, answer.header("content-type")), (b"\x00\xff", "application/octet-stream"))
        self.assert_failure(self.gateway.request("POST", "/function/echo", b"\xff\x00"), 415, "UnsupportedMediaTypeException")
        self.assertEqual(self.gateway.request("GET", "/function/echo").status, 200)
        self.assert_failure(self.gateway.request("POST", "/async-function/echo", b"1"), 501, "NotImplementedException")

    def test_system(self):
        names = {f["name"]: f for f in self.gateway.request("GET", "/system/functions").json()}
        self.assertEqual(names["echo"]["labels"]["warmcore.runtime"], "python")
        self.assertGreaterEqual(names["echo"]["replicas"], 0)
        self.assertEqual(self.gateway.request("GET", "/system/info").json()["provider"]["name"], "warmcore")
        health = self.gateway.request("GET", "/healthz")
        self.assertEqual((health.status, health.body), (200, b"OK"))

    def test_methods(self):
        with self.gateway.connect() as connection:
            head = connection.request("HEAD", "/healthz")
            self.assertEqual((head.status, head.header("content-length")), (200, "2"))
            options = connection.request("OPTIONS", INVOKE % "echo")
            self.assertEqual((options.status, options.header("allow")), (204, "POST, OPTIONS"))
            self.assertEqual(connection.request("OPTIONS", "*").status, 204)
            for method, target, allow in (("GET", INVOKE % "echo", "POST, OPTIONS"), ("DELETE", "/healthz", "GET, HEAD, OPTIONS"),
                                          ("PATCH", "/function/echo", "GET, POST, PUT, OPTIONS"),
                                          ("PATCH", "/system/functions", "GET, HEAD, DELETE, OPTIONS")):  # fmt: skip
                answer = connection.request(method, target, b"x" if method == "POST" else b"")
                self.assertEqual((answer.status, answer.header("allow")), (405, allow))
            self.assert_failure(connection.request("GET", "/nothing"), 404, "ResourceNotFoundException")
            self.assertEqual(connection.request("BREW", "/url/web/x").json()["requestContext"]["http"]["method"], "BREW")

    def test_url(self):
        answer = self.gateway.request("PUT", "/url/web/a%20b?x=1&x=2", b'{"n":1}', [
            ("Content-Type", "application/json"), ("X-Two", "1"), ("X-Two", "2"), ("Cookie", "c=1; d=2"), ("traceparent", TRACE)])
        event = answer.json()
        self.assertEqual(event["rawPath"], "/a%20b")
        self.assertEqual((event["rawQueryString"], event["queryStringParameters"]), ("x=1&x=2", {"x": "1,2"}))
        self.assertEqual((event["body"], event["isBase64Encoded"]), ('{"n":1}', False))
        self.assertEqual(event["cookies"], ["c=1", "d=2"])
        self.assertEqual((event["headers"]["x-two"], event["headers"]["traceparent"]), ("1,2", TRACE))
        self.assertEqual(event["requestContext"]["http"]["sourceIp"], "127.0.0.1")
        self.assertEqual(self.gateway.request("POST", "/function/web/x", b"\x00").json()["body"], "AA==")
        answer = self.gateway.request("GET", "/url/web/image")
        self.assertEqual((answer.status, answer.body), (201, bytes(range(256))))
        self.assertEqual([value for key, value in answer.headers if key.lower() == "set-cookie"], ["a=1; Path=/", "b=2"])
        self.assertEqual((answer.header("content-type"), answer.header("x-a")), ("image/x", "b"))
        with self.gateway.connect() as connection:  # a response without a body does not shift what follows
            empty = connection.request("GET", "/url/web/empty")
            self.assertEqual((empty.status, empty.header("content-length"), empty.header("transfer-encoding")), (204, None, None))
            self.assertEqual(connection.request("HEAD", "/url/web/image").status, 201)
            self.assertEqual(connection.request("GET", "/healthz").body, b"OK")
        for path in ("/url/web/raise", "/url/web/bad"):
            answer = self.gateway.request("GET", path)
            self.assertEqual((answer.status, answer.json()), (502, {"Message": "Internal Server Error"}))
            self.assertIsNone(answer.header("set-cookie"))
        with self.gateway.connect() as connection:
            connection.send(b"GET /any HTTP/1.1\r\nHost: web.lambda-url.localhost\r\n\r\n")
            self.assertEqual(connection.receive().json()["rawPath"], "/any")

    def test_cloudevents_by_hand(self):
        fields = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), ("traceparent", TRACE),
                  ("Content-Type", "application/json")]  # fmt: skip
        answer = self.gateway.request("POST", "/function/events", b'{"n":1}', fields)
        self.assertEqual((answer.status, answer.json(), answer.header("ce-id")), (200, {"n": 1}, "re-1"))
        self.assertEqual(answer.header("ce-traceparent"), TRACE)
        self.assert_failure(self.gateway.request("POST", "/function/events", b"1", fields[:2]), 400,
                            "InvalidRequestContentException", "source")  # fmt: skip
        self.assertEqual(self.gateway.request("POST", "/function/events", b"[]",
                                              [("Content-Type", "application/cloudevents-batch+json")]).status, 415)  # fmt: skip

    def node_js(self, script, *arguments, stdin=""):
        folder = gateway.kit() if harness.NODE_JS else None
        if not folder:
            self.skipTest("no Node.js, or its packages cannot be had")
        done = subprocess.run([harness.NODE_JS, "-e", script, "x", *arguments], cwd=folder, input=stdin.encode(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=300, env={**os.environ, "NODE_PATH": folder + "/node_modules"})  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout)

    def test_aws_sdk(self):
        out = self.node_js(SDK, self.gateway.url, stdin=json.dumps({
            "good": {"FunctionName": "echo", "Payload": '{"a":1}'},
            "qualified": {"FunctionName": "echo", "Payload": "1", "Qualifier": "$LATEST", "ClientContext": "e30="},
            "tail": {"FunctionName": "probe", "Payload": json.dumps({"do": "print", "out": "o", "err": "e"}), "LogType": "Tail"},
            "raises": {"FunctionName": "probe", "Payload": '{"do":"raise"}'},
            "dry": {"FunctionName": "echo", "InvocationType": "DryRun"},
            "nobody": {"FunctionName": "nobody", "Payload": "{}"},
            "alias": {"FunctionName": "echo", "Payload": "{}", "Qualifier": "live"},
            "no_json": {"FunctionName": "echo", "Payload": "{"},
            "too_large": {"FunctionName": "echo", "Payload": json.dumps("x" * 6291455)},
            "huge": {"FunctionName": "echo", "Payload": json.dumps("x" * 20000000)},
            "large": {"FunctionName": "echo", "Payload": json.dumps("x" * 5000000)},
        }))  # fmt: skip
        self.assertEqual((out["good"]["status"], out["good"]["payload"], out["good"]["version"]), (200, '{"a":1}', "$LATEST"))
        self.assertTrue(out["good"]["id"])
        self.assertEqual(out["qualified"]["payload"], "1")
        self.assertTrue(out["large"]["payload"] == json.dumps("x" * 5000000))
        self.assertIn("o\n", base64.b64decode(out["tail"]["log"]).decode())
        self.assertEqual((out["raises"]["error"], json.loads(out["raises"]["payload"])["errorType"]), ("Unhandled", "ValueError"))
        self.assertEqual(out["dry"]["status"], 204)
        for name, error, http in (("nobody", "ResourceNotFoundException", 404), ("alias", "ResourceNotFoundException", 404),
                                  ("no_json", "InvalidRequestContentException", 400), ("too_large", "RequestTooLargeException", 413),
                                  ("huge", "RequestTooLargeException", 413)):  # fmt: skip
            self.assertEqual((out[name].get("name"), out[name].get("http"), out[name].get("type")), (error, http, "User"), out[name])
            self.assertTrue(out[name]["message"])

    def test_cloudevents_sdk(self):
        out = self.node_js(CLOUDEVENTS, self.gateway.url + "/function/events")
        for mode in ("binary", "structured"):
            event = out[mode]["event"]
            self.assertEqual(out[mode]["status"], 200)
            self.assertEqual((event["id"], event["type"], event["data"], event["ext1"]), ("re-i1", "t.reply", {"n": [1, "é"]}, "x-y"))
        self.assertIn("application/cloudevents+json", out["structured"]["type"])
        self.assertIn("application/json", out["binary"]["type"])

    # --- the wire ---

    def test_pipelining(self):
        with self.gateway.connect() as connection:
            one = "POST /function/echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            bodies = ["%d" % n for n in range(60)]
            connection.send("".join(one % (len(body), body) for body in bodies).encode())
            self.assertEqual([connection.receive().body.decode() for _ in bodies], bodies)
            filler = "x" * 3000  # many times what one read takes
            connection.send("".join(one % (len(filler) + 4, '"%s%02d"' % (filler, n)) for n in range(30)).encode())
            self.assertEqual([connection.receive().body.decode()[-2:] for _ in range(30)], ["%02d" % n for n in range(30)])

    def test_chunked(self):
        with self.gateway.connect() as connection:
            head = b"POST /function/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.send(head + b'3\r\n{"a\r\n6;ext=1\r\n":[1]}\r\n0\r\nTrailer: x\r\n\r\n' + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(connection.receive().json(), {"a": [1]})
            self.assertEqual(connection.receive().body, b"OK")
            connection.send(head + b"zz\r\n")
            self.assert_failure(connection.receive(), 400, "InvalidRequestContentException")
            self.assertTrue(connection.closed())

    def test_expect_continue(self):
        with self.gateway.connect() as connection:
            connection.send(b"POST /function/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(connection.receive().status, 100)
            connection.send(b"7")
            self.assertEqual(connection.receive().body, b"7")

    def test_smuggling(self):
        """Refused, closed, and what is hidden behind is never looked at."""
        hidden = post("/function/probe", '{"do":"count","tag":"smuggled"}')
        body = b"0\r\n\r\n" + hidden
        for fields in (
            b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(body),
            b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % len(body),
            b"Content-Length: 5\r\nContent-Length: %d\r\n" % len(body),
            b"Content-Length: %d\r\nContent-Length: 5\r\n" % len(body),
            b"Content-Length: 5, %d\r\n" % len(body),
            b"Content-Length: +5\r\n",
            b"Content-Length : 5\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding : chunked\r\n",
            b"X: y\r\n Transfer-Encoding: chunked\r\n",
            b"X: y\nTransfer-Encoding: chunked\r\n",
            b"X: y\rTransfer-Encoding: chunked\r\n",
            b"X\x00: y\r\n",
            b"Host: other\r\n",
        ):
            with self.subTest(fields=fields), self.gateway.connect() as connection:
                connection.send(b"POST /function/echo HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + body)
                self.assertEqual(connection.receive().status, 400)
                self.assertTrue(connection.closed())
        with self.gateway.connect() as connection:
            connection.send(b"POST /function/echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            self.assertEqual(connection.receive().status, 400)
        with self.gateway.connect() as connection:
            connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            self.assertEqual(connection.receive().status, 400)
        with self.gateway.connect() as connection:
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                            b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n")  # fmt: skip
            self.assertEqual(connection.receive().status, 200)
        self.assertEqual(self.node.runs("smuggled"), 0)

    def test_paths(self):
        with self.gateway.connect() as connection:
            for target in ("/function/%2e%2e/healthz", "/function/../healthz", "/function/echo%00", "/function/echo/%252e", "/url/echo/..",
                           "/function/echo%2fx", "/url/" + "n" * 64, "http://gateway/healthz", "/url/echo/a?x=%zz"):  # fmt: skip
                self.assertEqual(connection.request("GET", target).status, 400, target)
            self.assertEqual(connection.request("GET", "/healthz").status, 200)  # the connection is as good as before

    def test_sizes(self):
        with self.gateway.connect() as connection:
            self.assertEqual(connection.request("GET", "/url/web/" + "a" * 8000).status, 200)
            self.assertEqual(connection.request("GET", "/url/web/" + "a" * 8200).status, 414)
        with self.gateway.connect() as connection:
            self.assertEqual(connection.request("GET", "/healthz", headers=[("X", "a" * 32000)]).status, 200)
            self.assertEqual(connection.request("GET", "/healthz", headers=[("X", "a" * 33000)]).status, 431)
            self.assertTrue(connection.closed())
        with self.gateway.connect() as connection:
            self.assertEqual(connection.request("GET", "/healthz", headers=[("X-%d" % n, "") for n in range(101)]).status, 400)
        for size in (6291457, 6291458, 20000000):
            answer = self.gateway.request("POST", INVOKE % "echo", b"1" * size)
            self.assert_failure(answer, 413, "RequestTooLargeException", "6291456")
        with self.gateway.connect() as connection:
            connection.send(b"POST /function/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.send((b"ffff\r\n" + b"1" * 65535 + b"\r\n") * 97 + b"0\r\n\r\n")
            self.assert_failure(connection.receive(), 413, "RequestTooLargeException")
        self.assert_failure(self.gateway.request("POST", "/url/web", b"\xff" * 5000000), 413, "RequestTooLargeException", "a third")

    def test_slow_clients(self):
        """Idle, slow with the head, slow with the body, and slow to read: each is closed, and nobody else is bothered."""
        strict = gateway.Gateway(self.node, "--read-timeout-ms", "700", "--write-timeout-ms", "700")
        self.addCleanup(strict.close)
        for sent in (b"", b"GET /heal", b"POST /function/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12"):
            with strict.connect() as connection:
                connection.send(sent)
                self.assertTrue(connection.closed())
        big = json.dumps("x" * 61000).encode()
        with strict.connect() as slow:
            slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = b"POST /function/echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(big) + big
            slow.socket.setblocking(False)
            end = time.monotonic() + harness.PATIENCE_S
            reset = False
            while not reset and time.monotonic() < end:  # sends more and more, and reads nothing
                try:
                    slow.socket.send(request)
                except BlockingIOError:
                    time.sleep(0.05)
                except (ConnectionResetError, BrokenPipeError):
                    reset = True
            self.assertTrue(reset, "a client that reads nothing was not cut off")
        self.assertEqual(strict.request("GET", "/healthz").status, 200)

    def test_connections(self):
        small = gateway.Gateway(self.node, "--connections", "3")
        self.addCleanup(small.close)
        connections = [small.connect() for _ in range(3)]
        for connection in connections:
            self.assertEqual(connection.request("GET", "/healthz").status, 200)
        with small.connect() as refused:
            answer = refused.receive()
            self.assertEqual((answer.status, answer.json()["Type"]), (503, "Service"))
            self.assertTrue(refused.closed())
        connections.pop().socket.close()
        harness.wait_until(lambda: small.request("GET", "/healthz").status == 200, "a place is free again")
        for connection in connections:
            self.assertEqual(connection.request("GET", "/healthz").status, 200)
            connection.socket.close()

    def test_client_goes_away(self):
        before = len(self.node.all_runs())
        for _ in range(20):
            with self.gateway.connect() as connection:
                connection.send(post("/function/probe", '{"do": "sleep", "ms": 50}'))
        self.assertEqual(self.invoke("echo", 5).json(), 5)
        self.assertEqual(len(self.node.all_runs()), before)

    def test_half_closed(self):
        with self.gateway.connect() as connection:
            connection.send(b"POST /function/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n9")
            connection.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(connection.receive().body, b"9")

    def test_hang_up(self):
        """Whoever hangs up leaves his place to others, while what he has begun goes on at the node; an asynchronous invocation is not lost."""
        folder = os.path.join(self.node.root, "hang-up-async")
        small = gateway.Gateway(self.node, "--in-flight", "30", "--async-dir", folder)
        self.addCleanup(small.close)
        go = os.path.join(self.node.shared, "go-hang-up")
        source = b"import os, time\ndef handler(event, context):\n    while not os.path.exists(event):\n        time.sleep(0.01)\n    return 'there'\n"
        self.node.deploy("hangs", "python", "hangs.handler", {"hangs.py": source}, timeout_ms=600000)
        clients = [small.connect() for _ in range(30)]
        for client in clients:
            client.send(post("/function/hangs", json.dumps(go)))

        def number(name, label=""):
            lines = small.request("GET", "/metrics").body.decode().splitlines()
            return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(name) and label in line)

        harness.wait_until(lambda: number("warmcore_gateway_invocations_in_flight ") == 30, "all are under way")
        clients[0].socket.shutdown(socket.SHUT_WR)  # it waits on
        for client in clients[1:]:
            client.socket.close()
        harness.wait_until(lambda: number("warmcore_gateway_invocations_in_flight ") == 1, "their places are free")
        self.assertEqual(number("warmcore_http_requests_total", 'code="499"'), 29)
        for _ in range(20):
            with small.connect() as client:
                client.send(post("/async-function/probe", '{"do": "count", "tag": "hang-up"}'))
        with open(go, "w"):
            pass
        answer = clients[0].receive()
        if answer.status == 100:  # it was asked whether it is there
            answer = clients[0].receive()
        self.assertEqual((answer.status, answer.body), (200, b"there"))
        clients[0].socket.close()
        harness.wait_until(lambda: self.node.runs("hang-up") == 20, "all asynchronous ones have run")
        self.assertEqual(small.request("POST", "/function/echo", b"1").body, b"1")

    def test_many_at_once(self):
        threads = gateway.Gateway(self.node, "--threads", "2")
        self.addCleanup(threads.close)

        def some(number):
            with threads.connect() as connection:
                return [connection.request("POST", INVOKE % "echo", b"%d" % (number * 100 + n)).json() for n in range(20)]

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            for number, got in enumerate(pool.map(some, range(32))):
                self.assertEqual(got, [number * 100 + n for n in range(20)])

    def test_curl_unix_tls(self):
        if not shutil.which("curl") or not shutil.which("openssl"):
            self.skipTest("no curl or no openssl")
        path = os.path.join(self.node.root, "gw.sock")
        cert, key = os.path.join(self.node.root, "cert.pem"), os.path.join(self.node.root, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)  # fmt: skip
        os.chmod(key, 0o600)  # root's: read before rights are put off
        tls = gateway.Gateway(self.node, "--unix", path, "--unix-mode", "0600", "--tls-cert", cert, "--tls-key", key)
        self.addCleanup(tls.close)
        self.assertTrue(tls.url.startswith("https:"))

        def curl(*arguments):
            return subprocess.run(["curl", "-sS", "--max-time", "60", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        self.assertEqual(curl("--cacert", cert, "-d", '{"a":1}', tls.url + "/function/echo").stdout.replace(b" ", b""), b'{"a":1}')
        self.assertEqual(curl("--cacert", cert, "--tls-max", "1.1", tls.url + "/healthz").stdout, b"")
        huge = os.path.join(self.node.root, "huge")
        with open(huge, "wb") as file:
            file.write(b"1" * 7000000)
        large = curl("--cacert", cert, "--data-binary", "@" + huge, "-w", "%{http_code}", tls.url + "/function/echo")
        self.assertTrue(large.stdout.endswith(b"413"), large)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(curl("--unix-socket", path, "http://x/healthz").stdout, b"OK")
        self.assertEqual(tls.stop(), 0)
        harness.wait_until(lambda: not os.path.exists(path), "the socket is removed")

    # --- the process ---

    def test_rights(self):
        own, broker = gateway.status_of(self.gateway.process.pid), gateway.status_of(self.gateway.broker)
        self.assertNotIn("0", own["Uid"].split())
        self.assertNotIn("0", own["Gid"].split())
        for status in (own, broker):
            self.assertEqual((int(status["CapEff"], 16), int(status["CapPrm"], 16), status["NoNewPrivs"].strip()), (0, 0, "1"))
        with open("/proc/%d/environ" % self.gateway.process.pid, "rb"):
            pass  # root may look; that it runs at all is what counts

    def test_refused_starts(self):
        for options, word in ((("--listen", "0.0.0.0:0"), "--no-auth"), (("--listen", "[::]:0"), "--no-auth"),
                              (("--listen", "127.0.0.1"), "ADDRESS:PORT"), (("--tls-cert", "/x"), "belong together"),
                              (("--tls-cert", "/nothing", "--tls-key", "/nothing"), "certificate"), (("--user", "root"), "root"),
                              (("--user", "no-such-user"), "no user"), (("--unix-mode", "9"), "octal"),
                              (("--threads", "65"), "out of range")):  # fmt: skip
            done = self.node.cli("gateway", "--no-async", *options, check=False)
            self.assertNotEqual(done.returncode, 0, options)
            self.assertIn(word, done.stderr, options)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            done = self.node.cli("gateway", "--no-async", "--listen", "127.0.0.1:%d" % taken.getsockname()[1], check=False)
            self.assertIn("Address already in use", done.stderr)
        everybody = gateway.Gateway(self.node, "--no-auth", listen=("--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"))
        self.assertEqual(everybody.request("GET", "/healthz").status, 200)
        everybody.close()

    def test_killed_gateway(self):
        """Its broker goes with it, the node is none the worse, and a second one replaces its Unix socket."""
        path = os.path.join(self.node.root, "kill.sock")
        first = gateway.Gateway(self.node, "--unix", path)
        self.addCleanup(first.close)
        with first.connect() as connection:
            connection.send(post("/function/probe", '{"do": "sleep", "ms": 300}'))
            first.stop(signal.SIGKILL)
        second = gateway.Gateway(self.node, "--unix", path)
        self.addCleanup(second.close)
        with gateway.Connection(path) as connection:
            self.assertEqual(connection.request("POST", "/function/echo", b"3").body, b"3")
        self.node.wait_idle()
        self.assertEqual(second.stop(), 0)

    def test_killed_broker(self):
        """Without it no name is found: the gateway ends, so that whoever started it starts another."""
        one = gateway.Gateway(self.node)
        self.addCleanup(one.close)
        os.kill(one.broker, signal.SIGKILL)
        self.assertEqual(one.process.wait(harness.PATIENCE_S), 1)

    def test_stop_lets_requests_end(self):
        one = gateway.Gateway(self.node)
        self.addCleanup(one.close)
        with one.connect() as connection:
            connection.send(post("/function/probe", '{"do": "sleep", "ms": 500}'))
            harness.wait_until(lambda: any(core["state"] == "running" for core in self.node.status()["cores"]), "it runs")
            one.process.send_signal(signal.SIGTERM)
            answer = connection.receive()
            self.assertEqual((answer.status, answer.body, answer.header("connection")), (200, b"slept", "close"))
        self.assertEqual(one.stop(), 0)


class KilledDaemon(harness.NodeTest):
    TAG = "gwk"

    def test_kill9(self):
        """What ran says that it may have run (502); what did not is served by the next daemon; every request is answered."""
        self.node.deploy_python(timeout_ms=120000)
        one = gateway.Gateway(self.node, "--max-wait-ms", "60000")
        self.addCleanup(one.close)
        with one.connect() as running, one.connect() as other:
            running.send(post("/function/probe", '{"do": "sleep", "ms":90000}'))
            harness.wait_until(lambda: any(core["state"] == "running" for core in self.node.status()["cores"]), "it runs")
            self.node.kill9()
            other.send(post("/function/probe", '{"do":"pid"}'))
            self.node.up()
            answer = running.receive()
            self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (502, "ServiceException"), answer)
            self.assertIn("may have run", answer.json()["Message"])
            answer = other.receive()
            self.assertEqual(answer.status, 200, answer)
        self.node.wait_idle()
        self.node.down()
        impatient = gateway.Gateway(self.node, "--max-wait-ms", "200")
        self.addCleanup(impatient.close)
        answer = impatient.request("POST", "/function/probe", b"{}")
        self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (503, "ServiceUnavailableException"))
        self.assertEqual(impatient.request("GET", "/healthz").status, 200)
        self.node.up()
        # It waits 200 ms only, in which a busy machine may not start an instance.
        harness.wait_until(lambda: impatient.request("POST", "/function/probe", b'{"do":"pid"}').status == 200, "the node is back")


class Names(harness.NodeTest):
    """Who asks for no key is called by names that nobody else can have (DNS rebinding)."""

    TAG = "gwn"

    def test_host(self):
        path = os.path.join(self.node.root, "names.sock")
        one = gateway.Gateway(self.node, "--allow-host", "*.Inside.example", "--allow-host", "gw.example", "--unix", path)
        self.addCleanup(one.close)

        def status(host, address=None, target="/healthz"):
            with gateway.Connection(address or one.address) as connection:
                connection.send(b"GET %s HTTP/1.1\r\n%s\r\n" % (target.encode(), b"Host: %s\r\n" % host.encode() if host is not None else b""))
                return connection.receive().status

        for host in ("127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST:1", "a.localhost", "gateway", "gw.example:80", "a.inside.EXAMPLE"):
            self.assertEqual(status(host), 200, host)
        for host in ("evil.example", "evil.example:8080", "inside.example", "gw.example.", "x.gw.example", "localhost.evil.example", "127.0.0.1.evil.example",
                     "nolocalhost.x", "f.lambda-url.evil.example", "a." + "b" * 300):  # fmt: skip
            for target in ("/healthz", "/system/live", "/ui/", "/function/any", "/nothing"):
                self.assertEqual(status(host, target=target), 403, (host, target))
        self.assertEqual(status("evil.example", path), 200)  # no page reaches a Unix socket
        with one.connect() as connection:
            connection.send(b"POST /2015-03-31/functions HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 60000000\r\n\r\n")
            self.assertIn(connection.receive().status, (403, 413))
        open_one = gateway.Gateway(self.node, "--no-auth")
        self.addCleanup(open_one.close)
        self.assertEqual(status("any.example", open_one.address), 200)
        for wrong in ("a:80", "10.0.0.1", "public", "none", "*", "a b"):
            done = self.node.cli("gateway", "--listen", "127.0.0.1:0", "--no-async", "--no-manage", "--allow-host", wrong, check=False)
            self.assertEqual(done.returncode, 2, wrong)
            self.assertIn("--allow-host", done.stderr)


if __name__ == "__main__":
    harness.main()
