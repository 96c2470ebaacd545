#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# parallel-safe
"""Lambda's Invoke inside of instances (docs/CALLS.md): plays the core agent, and the function's HTTP client, for Python, Node.js and custom runtimes over each
transport. Every rule of the interface, hostile requests, and the order on the channel. test_sdk.py has AWS's SDKs, with a node."""

import base64
import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import unittest
from urllib.parse import urlsplit

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_runtime_calls as calls  # noqa: E402
import test_runtimes as agent  # noqa: E402

CALL, START, ANY, FAILED, BINARY = calls.CALL, calls.START, calls.ANY, calls.FAILED, calls.BINARY
LARGE = calls.LARGE
EVENTS_MAX = 256
CHECK, START_VERSION, START_CONTEXT = 12, 0x10000, 0xFFFF  # WC_CHANNEL_HOW_CHECK, WC_CHANNEL_START_*

PYTHON = """
import os
def handler(event, context):
    if event == "environment":
        return dict(os.environ)
    with open(event) as fifo:
        return fifo.read()
"""
NODE = """
exports.handler = async (event) => {
  if (event === 'environment') return { ...process.env };
  return (await require('fs').promises.readFile(event)).toString();
};
"""
BOOTSTRAP = """#!/usr/bin/python3 -S
import http.client, json, os
API, BASE = os.environ["AWS_LAMBDA_RUNTIME_API"], "/2018-06-01/runtime/invocation/"
connection = http.client.HTTPConnection(API)
def ask(method, path, body=None):
    connection.request(method, BASE + path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.headers["Lambda-Runtime-Aws-Request-Id"], answer.headers["Lambda-Runtime-Deadline-Ms"], answer.read()
while True:
    id, deadline, text = ask("GET", "next")
    event = json.loads(text)
    if event == "environment":
        result = dict(os.environ)
    else:
        with open(event) as fifo:
            result = fifo.read()
        again = ask("GET", "next")  # a call came over nothing of it
        assert (again[0], again[2]) == (id, text) and abs(int(again[1]) - int(deadline)) < 10, (again, id, deadline, text)
    ask("POST", id + "/response", json.dumps(result))
"""


def error_of(kind, message="m"):
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


class Node:
    """What the agent does with calls, by the name of the function."""

    def __init__(self, instance):
        self.instance, self.begun, self.log, self.number = instance, {}, [], 0x400
        self.gate = None  # waited for before the first START is answered

    def _result(self, payload=b"", flags=0, number=0):
        self.instance.sequence += 1
        self.instance.channel.result(self.instance.sequence, 5, payload, flags, number)

    def _start(self, name, payload, number=START_VERSION, how="START"):
        assert number & ~START_CONTEXT == (START_VERSION if how == "START" else 0), hex(number)
        context = number & START_CONTEXT
        self.log.append((how, name, payload[context:]) + ((payload[:context],) if context else ()))
        payload = payload[context:]
        if self.gate:
            self.gate.wait(agent.PATIENCE_S)
        raw = {"none": error_of("Node.UnknownFunction"), "denied": error_of("Node.AccessDenied"),
               "deep": error_of("Node.CallDepth"), "many": error_of("Node.TooManyCalls"),
               "internal": error_of("Node.Internal"), "garbled": b"\xff"}.get(name)  # fmt: skip
        if raw is not None:
            self._result(raw, FAILED)
            return
        if how == "CHECK":
            self._result(b"5")
            return
        self.number += 0x401
        self.begun[self.number] = (name, payload)
        self._result(b"7" if ":" in name else b"$LATEST", 0, self.number)

    def _any(self):
        self.log.append(("ANY",))
        number = min(self.begun)
        name, payload = self.begun.pop(number)
        if name == "lost":
            self._result(error_of("Node.NoCall"), FAILED, 0)
        elif name == "fails":
            self._result(error_of("Node.UnknownFunction", "of the function"), FAILED, number)
        else:
            self._result(payload, BINARY if name == "bytes" else 0, number)

    def serve(self):
        """Until the answer."""
        while True:
            answer = self.instance.receive()
            if answer.kind != CALL:
                assert answer.sequence == self.instance.sequence, (answer.sequence, self.instance.sequence)
                if hasattr(self.instance.channel, "memory"):  # else the number of a call is the next request's context
                    agent.struct.pack_into("=I", self.instance.channel.memory, agent.REQUEST + 60, 0)
                return answer
            if answer.flags == START:
                self._start(answer.name.rstrip(b"\0").decode(), answer.called, answer.number)
            elif answer.flags == CHECK:
                self._start(answer.name.rstrip(b"\0").decode(), answer.called, answer.number, "CHECK")
            else:
                assert answer.flags == ANY, answer.flags
                self._any()


class Reply:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def error(self):
        return self.headers["X-Amzn-Errortype"]

    @property
    def json(self):
        return json.loads(self.body)


class LambdaCalls:
    command = transport = handler = None
    variables = {}

    @classmethod
    def setUpClass(cls):
        if not cls.command[0]:
            raise unittest.SkipTest("there is no Node.js")
        cls.folder = tempfile.mkdtemp(prefix="warmcore-lambda-")
        cls.addClassCleanup(agent.shutil.rmtree, cls.folder)
        for name, text in (("f.py", PYTHON), ("f.js", NODE), ("bootstrap", BOOTSTRAP)):
            agent.write(cls.folder, name, text)
        os.chmod(os.path.join(cls.folder, "bootstrap"), 0o755)

    def open(self, **environment):
        variables = {"AWS_ENDPOINT_URL_LAMBDA": "warmcore", **self.variables, **environment}
        instance = calls.Instance(self.command, self.transport, self.folder, self.handler, environment=variables)
        self.addCleanup(instance.close)
        answer = instance.receive()
        self.assertEqual(answer.kind, agent.READY, (answer.payload, instance.log()))
        instance.send(b'"environment"', 5)
        self.environment = instance.receive().json
        return instance

    def setUp(self):
        self.instance = self.open()
        self.url = urlsplit(self.environment["AWS_ENDPOINT_URL_LAMBDA"])
        self.assertRegex(self.url.path, "^/[0-9a-f]{32}$")
        self.assertEqual(self.url.hostname, "127.0.0.1")
        self.node = Node(self.instance)
        self.fifo = os.path.join(self.folder, "fifo-%d" % id(self))
        os.mkfifo(self.fifo)
        self.addCleanup(os.unlink, self.fifo)
        self.running = None

    def begin(self):
        """An invocation that lasts until end()."""
        self.instance.send(json.dumps(self.fifo).encode(), 5, agent.time.monotonic_ns() + 10**12)
        self.answers = []
        self.running = threading.Thread(target=lambda: self.answers.append(self.node.serve()), daemon=True)
        self.running.start()
        self.release = self.open_fifo()

    def open_fifo(self):
        """When the function has it, too."""
        for _ in range(agent.PATIENCE_S * 100):
            try:
                return os.fdopen(os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK), "w")
            except OSError:
                self.assertTrue(self.instance.alive(), self.instance.log())
                threading.Event().wait(0.01)
        self.fail("the function does not run: " + self.instance.log())

    def end(self, text="done"):
        self.release.write(text)
        self.release.close()
        self.running.join(agent.PATIENCE_S)
        self.assertTrue(self.answers, self.instance.log())
        self.assertEqual((self.answers[0].kind, json.loads(self.answers[0].payload)), (agent.REPLY, text), self.instance.log())

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.url.port, timeout=agent.PATIENCE_S)
        self.addCleanup(connection.close)
        return connection

    def path(self, name, query="", token=None):
        return "%s/2015-03-31/functions/%s/invocations%s" % (self.url.path if token is None else token, name, query)

    def send(self, connection, name, body=b"", query="", method="POST", **headers):
        connection.request(method, self.path(name, query), body, {key.replace("_", "-"): value for key, value in headers.items()})

    def ask(self, name, body=b"", query="", method="POST", connection=None, **headers):
        connection = connection or self.connect()
        self.send(connection, name, body, query, method, **headers)
        return Reply(connection.getresponse())

    def raw(self, data, ends=True):
        with socket.create_connection(("127.0.0.1", self.url.port), agent.PATIENCE_S) as client:
            try:
                client.sendall(data)
                if ends:
                    client.shutdown(socket.SHUT_WR)
            except OSError:  # it was turned away already
                pass
            received = b""
            while True:
                try:
                    piece = client.recv(65536)
                except ConnectionResetError:
                    return received
                if not piece:
                    return received
                received += piece

    def test_environment(self):
        self.assertEqual({name: self.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")},
                         {"AWS_ACCESS_KEY_ID": "warmcore", "AWS_SECRET_ACCESS_KEY": "warmcore", "AWS_REGION": "local"})  # fmt: skip
        self.open(AWS_PROFILE="mine", AWS_REGION="eu-west-1")
        self.assertNotIn("AWS_ACCESS_KEY_ID", self.environment)
        self.assertEqual((self.environment["AWS_REGION"], self.environment["AWS_DEFAULT_REGION"]), ("eu-west-1", "eu-west-1"))
        self.open(AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s")
        self.assertEqual((self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]), ("k", "s"))

    def test_not_asked_for(self):
        for value in ("http://example.com:1", ""):
            self.open(AWS_ENDPOINT_URL_LAMBDA=value)
            self.assertEqual(self.environment["AWS_ENDPOINT_URL_LAMBDA"], value)
            self.assertNotIn("AWS_ACCESS_KEY_ID", self.environment)

    def test_invoke(self):
        for _ in range(2):  # nothing of the first time is left
            self.begin()
            reply = self.ask("echo", b'{"a": 1}')
            self.assertEqual((reply.status, reply.body), (200, b'{"a": 1}'))
            self.assertEqual((reply.headers["Content-Type"], reply.headers["X-Amz-Executed-Version"]), ("application/json", "$LATEST"))
            self.assertIsNone(reply.headers["X-Amz-Function-Error"])
            reply = self.ask("bytes", b"\0\xff", X_Amz_Invocation_Type="RequestResponse", X_Amz_Log_Type="Tail")
            self.assertEqual((reply.status, reply.body, reply.headers["Content-Type"]), (200, b"\0\xff", "application/octet-stream"))
            reply = self.ask("fails")
            self.assertEqual((reply.status, reply.headers["X-Amz-Function-Error"]), (200, "Unhandled"))
            self.assertEqual(reply.json, {"errorType": "Node.UnknownFunction", "errorMessage": "of the function"})
            self.end()
        starts = [entry[1:] for entry in self.node.log if entry[0] == "START"]
        self.assertEqual(starts, 2 * [("echo", b'{"a": 1}'), ("bytes", b"\0\xff"), ("fails", b"")])

    def test_names(self):
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:"
        longest = "n" * 63
        self.begin()
        for name, query, expected, version in (
            ("echo", "", "echo", "$LATEST"),
            (longest, "?Qualifier=" + "q" * 128, longest + ":" + "q" * 128, "7"),
            ("echo:prod", "", "echo:prod", "7"),
            ("echo%3A7", "", "echo:7", "7"),
            ("echo", "?Qualifier=7", "echo:7", "7"),
            ("echo", "?x=1&Qualifier=%24LATEST&&y", "echo:$LATEST", "7"),
            ("echo", "?Qualifier=", "echo", "$LATEST"),
            ("echo:7", "?Qualifier=7", "echo:7", "7"),
            ("123456789012:function:echo", "", "echo", "$LATEST"),
            (arn + "echo", "", "echo", "$LATEST"),
            ((arn + "echo:prod").replace(":", "%3a"), "?Qualifier=prod", "echo:prod", "7"),
            ("function", "", "function", "$LATEST"),
        ):
            with self.subTest(name=name, query=query):
                reply = self.ask(name, b"1", query)
                self.assertEqual((reply.status, reply.body), (200, b"1"))
                self.assertEqual(self.node.log[-2], ("START", expected, b"1"))
                self.assertEqual(reply.headers["X-Amz-Executed-Version"], version)
        for name, query in (
            ("n" * 64, ""), ("echo:", ""), (":prod", ""), ("e%00cho", ""), ("e%2Fcho", ""), ("e.cho", ""), ("echo:a:b", ""), ("echo%", ""), ("echo%4", ""),
            ("echo%zz", ""), ("%ff", ""), ("echo", "?Qualifier=" + "q" * 129), ("echo", "?Qualifier=a%20b"), ("echo:1", "?Qualifier=2"),
            ("echo", "?Qualifier=1&Qualifier=2"), ("echo", "?Qualifier=%00"), (arn, ""), ("x" * 3000, ""), ("echo:$latest", ""),
        ):  # fmt: skip
            with self.subTest(name=name, query=query):
                reply = self.ask(name, b"1", query)
                self.assertEqual((reply.status, reply.error), (400, "InvalidParameterValueException"), reply.body)
        self.end()

    def test_refused(self):
        self.begin()
        for name, status, error in (("none", 404, "ResourceNotFoundException"), ("denied", 403, "AccessDeniedException"),
                                    ("deep", 400, "RecursiveInvocationException"),
                                    ("many", 429, "TooManyRequestsException"), ("internal", 500, "ServiceException"),
                                    ("lost", 500, "ServiceException")):  # fmt: skip
            with self.subTest(name=name):
                reply = self.ask(name)
                self.assertEqual((reply.status, reply.error), (status, error), reply.body)
                self.assertEqual(reply.json["Type"], "User" if status < 500 else "Service")
                self.assertTrue(reply.json.get("message") or reply.json["Message"])
        self.assertEqual(self.ask("many").json["Reason"], "ConcurrentInvocationLimitExceeded")
        for status, error, headers in (
            (400, "InvalidParameterValueException", {"X_Amz_Invocation_Type": "event"}),
            (400, "InvalidParameterValueException", {"X_Amz_Log_Type": "tail"}),
            (400, "InvalidParameterValueException", {"X_Amz_Client_Context": "e30"}),  # not filled up
            (400, "InvalidParameterValueException", {"X_Amz_Client_Context": "{}"}),
            (400, "InvalidParameterValueException", {"X_Amz_Client_Context": "W10="}),  # []
            (400, "InvalidParameterValueException", {"X_Amz_Client_Context": "eyJhIjr/fQ=="}),  # no UTF-8
            (400, "InvalidParameterValueException", {"X_Amz_Client_Context": "e=30"}),
            (400, "InvalidParameterValueException", {"X_Amz_Client_Context": "e30=e30="}),
            (400, "InvalidParameterValueException", {"X_Amz_Client_Context": "e30=" * 896}),
            (405, "InvalidRequestContentException", {"method": "GET"}),
            (405, "InvalidRequestContentException", {"method": "PUT"}),
        ):
            with self.subTest(**headers):
                reply = self.ask("echo", b"1", **headers)
                self.assertEqual((reply.status, reply.error), (status, error), reply.body)
        self.end()
        self.assertNotIn("echo", [entry[1] for entry in self.node.log if entry[0] == "START"])

    def test_dry_run(self):
        """204 of what may be called, its own error of what may not; and nothing of it runs."""
        self.begin()
        connection = self.connect()
        for name, version in (("echo", "5"), ("echo:prod", "5")):
            reply = self.ask(name, b"1", connection=connection, X_Amz_Invocation_Type="DryRun")
            self.assertEqual((reply.status, reply.body, reply.headers["X-Amz-Executed-Version"]), (204, b"", version))
            self.assertEqual(self.node.log[-1], ("CHECK", name, b""))
        for name, status, error in (("none", 404, "ResourceNotFoundException"), ("denied", 403, "AccessDeniedException")):
            reply = self.ask(name, b"1", connection=connection, X_Amz_Invocation_Type="DryRun")
            self.assertEqual((reply.status, reply.error), (status, error), reply.body)
        self.assertEqual(self.ask("echo", b"1", connection=connection).body, b"1")
        self.assertEqual([entry[0] for entry in self.node.log], 4 * ["CHECK"] + ["START", "ANY"])
        self.end()

    def test_client_context(self):
        self.begin()
        plain = b'{"custom": {"a": "\xc3\xa9\x01"}}'.replace(b"\x01", b"1")
        for body in (b'{"b": 2}', b""):
            reply = self.ask("echo", body, X_Amz_Client_Context=base64.b64encode(plain).decode())
            self.assertEqual((reply.status, reply.body), (200, body), reply.body)
            self.assertEqual(self.node.log[-2], ("START", "echo", body, plain))
        longest = b'{"a":"' + b"x" * 2677 + b'"}'
        self.assertEqual(self.ask("echo", b"1", X_Amz_Client_Context=base64.b64encode(longest).decode(), X_Amz_Invocation_Type="Event").status, 202)
        self.assertEqual(self.node.log[-1], ("START", "echo", b"1", longest))
        self.end()

    def test_paths(self):
        self.begin()
        token = self.url.path
        for path, status, error in (
            ("/2015-03-31/functions/echo/invocations", 403, "AccessDeniedException"),
            ("/" + "0" * 32 + "/2015-03-31/functions/echo/invocations", 403, "AccessDeniedException"),
            (token[:-1] + "/2015-03-31/functions/echo/invocations", 403, "AccessDeniedException"),
            (token + "0/2015-03-31/functions/echo/invocations", 403, "AccessDeniedException"),
            (token + "/2015-03-31/functions/", 404, "ResourceNotFoundException"),
            (token + "/2015-03-31/functions//invocations", 404, "ResourceNotFoundException"),
            (token + "/2015-03-31/functions/echo/invocations/", 404, "ResourceNotFoundException"),
            (token + "/2015-03-31/functions/a/b/invocations", 404, "ResourceNotFoundException"),
            (token + "/2014-11-13/functions/echo/invoke-async/", 404, "ResourceNotFoundException"),
            (token + "/2021-11-15/functions/echo/response-streaming-invocations", 404, "ResourceNotFoundException"),
            (token + "/", 404, "ResourceNotFoundException"),
        ):
            with self.subTest(path=path):
                connection = self.connect()
                connection.request("POST", path, b"1")
                reply = Reply(connection.getresponse())
                self.assertEqual((reply.status, reply.error), (status, error), reply.body)
        connection = self.connect()
        connection.request("POST", "http://127.0.0.1:%d%s" % (self.url.port, self.path("echo")), b"1")
        self.assertEqual(connection.getresponse().status, 200)
        self.end()

    def test_sizes(self):
        large = LARGE if self.transport != "socket" else agent.CAPACITY
        self.begin()
        for size in (0, 61440, large):
            body = os.urandom(size)
            reply = self.ask("bytes", body)
            self.assertEqual((reply.status, reply.body), (200, body))
        connection = self.connect()
        for size in (large + 1, LARGE + 1):
            reply = self.ask("bytes", b"x" * size, connection=connection)
            self.assertEqual((reply.status, reply.error), (413, "RequestTooLargeException"), reply.body)
        self.assertEqual(self.ask("bytes", b"1", connection=connection).body, b"1")  # the connection is as good as it was
        self.end()

    def test_connections(self):
        """Kept; chunks; several requests at once on one; one byte at a time; hung up in the middle."""
        self.begin()
        connection = self.connect()
        for n in range(50):
            self.assertEqual(self.ask("echo", b"%d" % n, connection=connection).body, b"%d" % n)
        connection.request("POST", self.path("echo"), iter([b"ab", b"c" * 70000 if self.transport != "socket" else b"c", b"d"]))
        reply = Reply(connection.getresponse())
        self.assertEqual((reply.status, reply.body[:3], reply.body[-2:]), (200, b"abc", b"cd"))
        head = b"POST %s HTTP/1.1\r\nHost: x\r\n" % self.path("echo").encode()
        received = self.raw(head + b"Content-Length: 1\r\n\r\n1" + head + b"Content-Length: 1\r\nConnection: close\r\n\r\n2", False)
        self.assertEqual(received.count(b"HTTP/1.1 200"), 2, received)
        with socket.create_connection(("127.0.0.1", self.url.port), agent.PATIENCE_S) as slow:
            for byte in head + b"Content-Length: 3\r\nConnection: close\r\n\r\nxyz":
                slow.send(bytes((byte,)))
            self.assertIn(b"\r\n\r\nxyz", slow.makefile("rb").read())
        for data in (head, head + b"Content-Length: 10\r\n\r\n123", head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
            with socket.create_connection(("127.0.0.1", self.url.port), agent.PATIENCE_S) as hasty:
                hasty.sendall(data)
        with socket.create_connection(("127.0.0.1", self.url.port), agent.PATIENCE_S) as hasty:
            hasty.sendall(head + b"Content-Length: 1\r\n\r\n9")
        self.assertEqual(self.ask("echo", b"1").body, b"1")
        self.end()

    def test_hostile(self):
        """No answer, or an error; never a call; and the next one is served."""
        self.begin()
        head = b"POST %s HTTP/1.1\r\nHost: x\r\n" % self.path("echo").encode()
        for data in (
            b"",
            b"\0" * 100000,
            b"GET\r\n\r\n",
            b"POST /\xc3\xa9 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/9.9\r\nHost: x\r\n\r\n",
            b"POST http://[ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            b"POST /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            head + b"X: " + b"y" * 200000 + b"\r\n\r\n",
            head + b"".join(b"X-%d: y\r\n" % n for n in range(20000)) + b"\r\n",
            head + b"Content-Length: -1\r\n\r\n1",
            head + b"Content-Length: x\r\n\r\n1",
            head + b"Content-Length: 99999999999999999999999\r\n\r\n1",
            head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12",
            head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n1\r\n0\r\n\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n1\r\n0\r\n\r\n",
        ):
            with self.subTest(data=data[:80]):
                received = self.raw(data)
                self.assertNotIn(b"HTTP/1.1 2", received)
                self.assertEqual(self.node.log, [])
        self.assertEqual(self.node.log, [])
        self.assertEqual(self.ask("echo", b"1").body, b"1")
        self.end()

    def test_many_connections(self):
        """Beyond what is served they are turned away or wait, and it goes on."""
        self.begin()
        idle = [socket.create_connection(("127.0.0.1", self.url.port), agent.PATIENCE_S) for _ in range(200)]
        for connection in idle:
            connection.close()
        for _ in range(100):  # they are let go as the process gets to it
            try:
                self.assertEqual(self.ask("echo", b"1").body, b"1")
                break
            except (ConnectionError, http.client.HTTPException):
                threading.Event().wait(0.05)
        else:
            self.fail("nobody is served any more")
        self.end()

    def test_at_the_same_time(self):
        """What is asked for at the same time is begun before anything is waited for. Where a thread is late it takes another try."""
        for _ in range(20):
            self.node.log.clear()
            self.node.gate = threading.Event()
            self.begin()
            connections = [self.connect() for _ in range(20)]
            for n, connection in enumerate(connections):
                self.send(connection, "echo", b"%d" % n)
            threading.Event().wait(0.1)
            self.node.gate.set()
            for n, connection in enumerate(connections):
                self.assertEqual(connection.getresponse().read(), b"%d" % n)
                connection.close()
            self.end()
            kinds = [entry[0] for entry in self.node.log]
            self.assertEqual((kinds.count("START"), kinds.count("ANY")), (20, 20))
            if kinds.index("ANY") == 20:
                return
        self.fail(kinds)

    def test_events(self):
        self.begin()
        reply = self.ask("echo", b"1", X_Amz_Invocation_Type="Event")
        self.assertEqual((reply.status, reply.body, reply.headers["X-Amz-Executed-Version"]), (202, b"", "$LATEST"))
        self.assertEqual(self.ask("none", b"1", X_Amz_Invocation_Type="Event").status, 404)
        self.assertEqual(self.node.log, [("START", "echo", b"1"), ("START", "none", b"1")])  # nobody waits
        self.assertEqual(self.ask("echo:2", b"2").body, b"2")  # past the event's result
        connection = self.connect()
        for n in range(EVENTS_MAX + 10):
            self.assertEqual(self.ask("echo", b"%d" % n, connection=connection, X_Amz_Invocation_Type="Event").status, 202)
        self.assertLessEqual(len(self.node.begun), EVENTS_MAX)
        self.end()
        self.node.begun.clear()  # the agent's, with the invocation
        self.begin()
        self.assertEqual(self.ask("echo", b"3").body, b"3")
        self.end()

    def test_over_before_the_call(self):
        """The answer waits for the RESULT; the next invocation knows nothing of it."""
        class Late(Node):
            def _any(node):
                node.waiting.set()
                node.go.wait(agent.PATIENCE_S)
                super()._any()

        self.node = Late(self.instance)
        self.node.waiting, self.node.go = threading.Event(), threading.Event()
        self.begin()
        connection = self.connect()
        self.send(connection, "echo", b"1")
        self.assertTrue(self.node.waiting.wait(agent.PATIENCE_S))
        self.release.write("done")
        self.release.flush()
        self.release.close()
        threading.Event().wait(0.3)  # an answer that did not wait would be there
        self.assertEqual(self.answers, [])
        self.node.go.set()
        self.running.join(agent.PATIENCE_S)
        self.assertEqual(json.loads(self.answers[0].payload), "done", self.instance.log())
        reply = Reply(connection.getresponse())
        self.assertIn((reply.status, reply.error), ((200, None), (409, "ResourceConflictException")))
        self.begin()
        self.assertEqual(self.ask("echo", b"2", connection=connection).body, b"2")
        self.end()

    def test_no_invocation(self):
        reply = self.ask("echo", b"1")
        self.assertEqual((reply.status, reply.error), (409, "ResourceConflictException"), reply.body)

    def test_idle(self):
        """It ends when it is told to, whatever is connected."""
        self.connect().connect()
        self.instance.send(kind=agent.SHUTDOWN)
        self.assertEqual(self.instance.wait(), 0)

    def test_agent_without_calls(self):
        """An older one: the function is told."""
        if self.transport == "socket":
            self.skipTest("over a socket there is no telling")
        instance = agent.Instance(self.command, "futex", self.folder, self.handler, environment={"AWS_ENDPOINT_URL_LAMBDA": "warmcore", **self.variables})
        self.addCleanup(instance.close)
        self.assertEqual(instance.receive().kind, agent.READY)
        self.url = urlsplit(instance.call(b'"environment"', 5).json["AWS_ENDPOINT_URL_LAMBDA"])
        instance.send(json.dumps(self.fifo).encode(), 5, agent.time.monotonic_ns() + 10**12)
        with self.open_fifo():
            reply = self.ask("echo", b"1")
            self.assertEqual((reply.status, reply.error), (500, "ServiceException"), reply.body)
        self.assertEqual(instance.receive().kind, agent.REPLY)


class PythonFutex(LambdaCalls, unittest.TestCase):
    command, transport, handler = [agent.PYTHON_BINARY, agent.PYTHON], "futex", "f.handler"


class PythonCtypes(PythonFutex):
    variables = {"WARMCORE_PYTHON_CHANNEL": "ctypes"}


class PythonSocket(PythonFutex):
    transport = "socket"


class NodeFutex(LambdaCalls, unittest.TestCase):
    command, transport, handler = [agent.NODE_BINARY, agent.NODE], "futex", "f.handler"
    test_no_invocation = None  # the process stands still


class NodeSocket(NodeFutex):
    transport = "socket"


class CustomFutex(LambdaCalls, unittest.TestCase):
    command, transport, handler = [agent.CUSTOM], "futex", "bootstrap"


class CustomSocket(CustomFutex):
    transport = "socket"


if __name__ == "__main__":
    if not os.path.exists(agent.NATIVE):
        print("SKIP: the runtimes are not built")
        sys.exit(77)
    unittest.main(verbosity=2)
