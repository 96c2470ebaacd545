#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions that call functions (docs/CALLS.md), of each runtime to each: payloads of every size, errors, limits, depth, what is inherited, callers
that break the contract or are killed. functions/relay.c says what the functions do."""

import contextlib
import json
import os
import random
import signal
import struct
import threading
import time
import unittest
import zlib

import harness
import wcpayload
import wcproto

RELAYS = ("relay-c", "relay-py", "relay-js")
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CONTEXT = 0x80
DEPTH = 32


def pattern(length):
    return bytes((i * 7 + i // 256) & 255 for i in range(65536)) * (length // 65536 + 1)


def summary(data):
    return b"%d %08x" % (len(data), zlib.crc32(data))


def context_block(*texts):
    """runtimes/abi/context.h, written from docs/PROTOCOL.md."""
    return struct.pack(">4H", *map(len, texts)) + b"".join(text + b"\0" for text in texts)


def source(file):
    return os.path.join(harness.PROBES, file)


class Calls(harness.NodeTest):
    TAG = "calls"
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        node = cls.node
        python, native = {"relay.py": source("relay.py")}, {"relay.so": harness.native_function("relay")}
        node_files = {"relay.js": source("relay.js")}
        long = {"timeout_ms": 120000}  # in a VM a chain of 33 cold instances takes a while
        cls.ids = {
            "relay-c": node.deploy("relay-c", "native", "relay.so", native, event="binary", **long),
            "relay-py": node.deploy("relay-py", "python", "relay.handler", python, event="binary", **long),
            "relay-js": node.deploy("relay-js", "node", "relay.handler", node_files, event="binary", **long),
            "echo": node.deploy("echo", "native", "relay.so", native, event="binary", **long),
            "one": node.deploy("one", "native", "relay.so", native, event="binary", concurrency=1, **long),
            "hostile": node.deploy("hostile", "native", "relay.so", native, event="binary", **long),
            "json-short": node.deploy("json-short", "python", "relay.json_call", python, timeout_ms=20000),
            "short": node.deploy("short", "native", "relay.so", native, event="binary", timeout_ms=1000),
            "json-js": node.deploy("json-js", "node", "relay.json", node_files, **long),
            "late-js": node.deploy("late-js", "node", "relay.late", node_files, **long),
        }
        for name, handler in (("json-py", "json_call"), ("about", "about"), ("about-relayed", "about_relayed"), ("threads", "threads"),
                              ("look", "look"), ("sleep", "sleep"), ("fail", "fail"), ("tell", "tell")):  # fmt: skip
            cls.ids[name] = node.deploy(name, "python", "relay." + handler, python, **long)
        cls.ids["probe"] = node.deploy_python()

    def setUp(self):
        super().setUp()
        self.client = self.node.client()
        self.addCleanup(self.client.close)

    def ask(self, name, payload, seconds=60, flags=0):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        return self.client.invoke(self.ids[name], payload, seconds, flags=flags)

    def called(self, answer, whole=True):
        """The error object of the function that was called, which the relay made the message of its own."""
        error = self.assert_error(answer, wcproto.FUNCTION)
        self.assertEqual(error["errorType"], "Called", error)
        return json.loads(error["errorMessage"]) if whole else None

    def test_each_to_each(self):
        for caller in RELAYS:
            for callee in RELAYS:
                with self.subTest(caller=caller, callee=callee):
                    for data in (b"", b"x", b"\0\n\xff" * 1000, pattern(61439 - len(callee))[: 61439 - len(callee)]):
                        self.assert_reply(self.ask(caller, callee.encode() + b"\n\n" + data[: 61440 - len(callee) - 2]),
                                          data[: 61440 - len(callee) - 2])  # fmt: skip
                    for size in (61440, 61441, 1 << 20, wcpayload.LARGE):
                        self.assert_reply(self.ask(caller, b"?%s\n*%d" % (callee.encode(), size)), summary(pattern(size)[:size]))
                    for size in (61439, 61440, 1 << 20, wcpayload.LARGE - 1):
                        self.assert_reply(self.ask(caller, b">%d %s" % (size, callee.encode())), summary(pattern(size)[:size]))

    def test_large_to_the_client(self):
        """Through a chain and out of it: the client's payload by reference, six megabytes each way."""
        path = "/run/warmcore/%s/payload.sock" % self.node.name
        with wcpayload.Session(path) as session:
            data = b"relay-py\nrelay-js\n\n" + pattern(5 << 20)[: 5 << 20]
            answer = session.invoke(self.client, self.ids["relay-c"], data)
            self.assertEqual(answer.kind, wcproto.REPLY, answer)
            self.assertEqual(summary(answer.payload), summary(data[19:]))

    def test_json(self):
        for caller in ("json-py", "json-js"):
            for value in (None, 1, "\u00e9\n", [1, 2.5, {"a": []}], {}):
                answer = self.ask(caller, {"name": "probe", "event": {"do": "echo", "value": value}})
                self.assertEqual(answer.kind, wcproto.REPLY, answer)
                self.assertIn("result", json.loads(answer.payload))

    def test_versions_and_aliases(self):
        self.node.cli("publish", "echo")
        self.node.cli("alias", "echo", "prod", "1")
        for name in (b"echo:1", b"echo:prod", b"echo:$LATEST", b"echo"):
            self.assert_reply(self.ask("relay-c", name + b"\n\nyes"), b"yes")
        for name in (b"echo:2", b"echo:none", b"none", b"", b":", b"echo:"):
            for relay in RELAYS:
                if name:
                    self.assertEqual(self.called(self.ask(relay, name + b"\n\n"))["errorType"], "Node.UnknownFunction", name)

    def test_replaced(self):
        """A function that was called, and is deployed anew or removed, is found as it is now."""
        for handler, expected in (("sleep", b'"slept"'), ("look", b"[]")):
            self.node.deploy("changing", "python", "relay." + handler, {"relay.py": source("relay.py")})
            self.assert_reply(self.ask("relay-c", b"changing\n0"), expected)
        self.node.cli("remove", "changing")
        self.assertEqual(self.called(self.ask("relay-c", b"changing\n0"))["errorType"], "Node.UnknownFunction")

    def test_errors(self):
        for relay in RELAYS:
            with self.subTest(relay=relay):
                name = relay.encode()
                error = self.called(self.ask(relay, b"fail\n{}"))
                self.assertEqual((error["errorType"], error["errorMessage"]), ("ValueError", "it failed \u00fc"))
                self.assertEqual(self.called(self.ask(relay, b"fail\n{"))["errorType"], "Runtime.InvalidEvent")
                crash = self.called(self.ask(relay, b'probe\n{"do":"signal","number":9}'))
                self.assertEqual(crash["errorType"], "Runtime.CrashError")
                self.assertEqual(self.called(self.ask(relay, b'probe\n{"do":"exit","status":3}'))["errorType"], "Runtime.ExitError")
                # It is as good as before.
                self.assert_reply(self.ask(relay, name + b"\n\nx"), b"x")
                error = self.assert_error(self.ask(relay, b"n" * 250 + b"\n"), wcproto.FUNCTION)
                self.assertNotEqual(error["errorType"], "Called", error)

    def test_depth(self):
        """As deep as they may on one core; one deeper is refused, and everything unwinds."""
        chain = b"echo\n" * DEPTH + b"\nend"
        self.assert_reply(self.ask("relay-c", chain), b"end")
        before = self.node.status()["agents"]["calls_refused"]
        self.called(self.ask("relay-c", b"echo\n" + chain), whole=False)
        self.assertEqual(self.node.status()["agents"]["calls_refused"], before + 1)
        self.assert_reply(self.ask("relay-c", chain), b"end")

    def test_concurrency(self):
        """Two that may each run once, and wait for each other: refused, not waited for."""
        self.assert_reply(self.ask("one", b"echo\n\nx"), b"x")
        self.assertEqual(self.called(self.ask("one", b"one\n\nx"))["errorType"], "Node.TooManyRequests")
        self.assertIn("Node.TooManyRequests", self.assert_error(self.ask("one", b"echo\none\n\nx"), wcproto.FUNCTION)["errorMessage"])
        self.assert_reply(self.ask("relay-py", b"one\n\nx"), b"x")

    def test_deadline(self):
        """What is called has no more time than its caller, and the caller's own limit ends both."""
        left = json.loads(self.ask("json-short", {"name": "about", "event": {}}).payload)
        self.assertLessEqual(left["result"]["left"], 20000)
        self.assert_error(self.ask("short", b"sleep\n30"), wcproto.TIMEOUT)
        self.assert_reply(self.ask("relay-c", b"sleep\n0"), b'"slept"')
        self.assertEqual(self.called(self.ask("relay-c", b"short\nsleep\n30"))["errorType"], "Runtime.TimeoutError")

    def test_context(self):
        block = context_block(b'{"custom":{"a":1}}', PARENT, b"", b"")
        answer = self.ask("about-relayed", block + b"{}", flags=CONTEXT)
        self.assertEqual(answer.kind, wcproto.REPLY, answer)
        outer, inner = json.loads(answer.payload)
        self.assertEqual((outer["parent"], inner["parent"]), (PARENT.decode(), PARENT.decode()))
        self.assertEqual((outer["client"], inner["client"]), (True, False))
        self.assertNotEqual(outer["id"], inner["id"])
        self.assertEqual(outer["core"], inner["core"])

    def test_threads(self):
        """Of a Python function: one call at a time, all answered. One that comes when the invocation is over is an error, and hurts nobody."""
        self.assertEqual(json.loads(self.ask("threads", 8).payload), [str(i) for i in range(8)])
        self.assertEqual(json.loads(self.ask("threads", 1).payload), ["0"])
        answer = self.ask("late-js", {})
        self.assertEqual(answer.kind, wcproto.REPLY, answer)

    def test_hostile(self):
        """A process that breaks the contract harms itself."""
        error = json.loads(self.assert_reply_bytes(self.ask("hostile", b"!h")))  # zeros, all of it a hole: a line without an end
        self.assertEqual(error["errorType"], "Test", error)
        error = json.loads(self.assert_reply_bytes(self.ask("hostile", b"!n")))
        self.assertEqual(error["errorType"], "Node.UnknownFunction")
        error = json.loads(self.assert_reply_bytes(self.ask("hostile", b"!u")))
        self.assertEqual(error["errorType"], "Node.UnknownFunction")
        for kind in (b"!l", b"!k"):
            self.assert_error(self.ask("hostile", kind), wcproto.INTERNAL, "Runtime.ProtocolError")
        self.assert_reply(self.ask("relay-c", b"echo\n\nx"), b"x")

    def assert_reply_bytes(self, answer):
        self.assertEqual(answer.kind, wcproto.REPLY, answer)
        return answer.payload

    def test_caller_killed(self):
        """While it waits: the client is told, and what it called is answered to nobody."""
        path = os.path.join(self.node.shared, "told")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        id = self.client.fresh_id()
        self.client.send(id, self.ids["tell"], b'"told"')
        harness.wait_until(lambda: os.path.exists(path), "it runs")
        with open(path) as file:
            namespace, pid = json.load(file)
        (outside,) = harness.host_pids(namespace, [pid])
        os.kill(outside, signal.SIGKILL)
        self.assert_error(self.client.receive(60), wcproto.CRASH, "Runtime.CrashError")
        self.assert_reply(self.ask("relay-c", b"sleep\n0"), b'"slept"')

    def test_killed(self):
        """Caller or called, at any moment: one answer, the right one if it is a reply, and nothing is lost."""
        stop, killed = threading.Event(), []

        def kill():
            while not stop.is_set() and len(killed) < 40:
                pids = self.node.instance_pids()
                if pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(random.choice(pids), signal.SIGKILL)
                        killed.append(1)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            while killer.is_alive():
                data = b"%d" % random.getrandbits(32)
                answer = self.ask("relay-c", b"relay-py\nrelay-c\necho\n\n" + data)
                self.assertIsNotNone(answer)
                if answer.kind == wcproto.REPLY:
                    self.assertEqual(answer.payload, data)
        finally:
            stop.set()
            killer.join()
        self.assert_reply(self.ask("relay-c", b"relay-py\nrelay-c\necho\n\nlast"), b"last")

    def test_counted(self):
        def counts():
            return {f["name"]: f["invocations"] for f in self.node.json("list")["functions"]}

        before, calls = counts(), self.node.status()["agents"]["calls"]
        for _ in range(5):
            self.assert_reply(self.ask("relay-c", b"relay-py\necho\n\nx"), b"x")
        after = counts()
        self.assertEqual({n: after[n] - before[n] for n in ("relay-c", "relay-py", "echo")}, {"relay-c": 5, "relay-py": 5, "echo": 5})
        self.assertEqual(self.node.status()["agents"]["calls"] - calls, 10)


class Fanout(harness.NodeTest):
    """Calls that are begun, and waited for later."""

    TAG = "fanout"
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        node = cls.node
        python, script = {"relay.py": source("relay.py")}, {"relay.js": source("relay.js")}
        native = {"relay.so": harness.native_function("relay")}
        more = {"timeout_ms": 120000}
        cls.ids = {name: node.deploy(name, "native", "relay.so", native, event="binary", **more) for name in ("relay-c", "echo")}
        cls.ids["one"] = node.deploy("one", "native", "relay.so", native, event="binary", concurrency=1, **more)
        cls.ids["short"] = node.deploy("short", "native", "relay.so", native, event="binary", timeout_ms=1000)
        cls.ids["narrow"] = node.deploy("narrow", "native", "relay.so", native, event="binary", timeout_ms=1000, concurrency=1)
        for name in ("fan", "mapped", "tree", "mixed", "keep", "too_many", "busy", "spread", "fail", "sleep", "large", "forks", "nap"):
            cls.ids[name] = node.deploy(name, "python", "relay." + name, python, **more)
        cls.ids["expire"] = node.deploy("expire", "python", "relay.expire", python, timeout_ms=1000)
        cls.ids["slow"] = node.deploy("slow", "python", "slow.f", {"slow.py": b"import time\ntime.sleep(100)\n"}, timeout_ms=120000)
        cls.ids["first-js"] = node.deploy("first-js", "node", "relay.first", script, concurrency=1, timeout_ms=20000)
        for name in ("fan", "mixed"):
            cls.ids[name + "-js"] = node.deploy(name + "-js", "node", "relay." + name, script, **more)
        cls.ids["probe"] = node.deploy_python()

    def ask(self, name, event, seconds=120):
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        with self.node.client() as client:
            return client.invoke(self.ids[name], payload, seconds)

    def value(self, name, event):
        answer = self.ask(name, event)
        self.assertEqual(answer.kind, wcproto.REPLY, answer)
        return json.loads(answer.payload)

    def test_thousand(self):
        """All results, each once, none lost: in order, as they end, and more than there may be at a time."""
        for name in ("fan", "fan-js"):
            self.assertEqual(self.value(name, {"name": "echo", "count": 1000}), list(range(1000)))
        self.assert_reply(self.ask("relay-c", b"&5000 echo"), b"5000 %d" % sum(range(5000)))
        self.assertEqual(self.value("mapped", 3000), sum(range(3000)))
        self.node.wait_idle()

    def test_at_once(self):
        """Several callers, which hold all cores while they wait."""
        done = []

        def call():
            done.append(self.value("fan", {"name": "echo", "count": 200}) == list(range(200)))

        callers = [threading.Thread(target=call) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(done, [True] * 6)

    def test_tree(self):
        """127 that wait for others, on two cores."""
        self.assertEqual(self.value("tree", 6), 127)

    def test_spread(self):
        """They get other cores, too."""
        harness.wait_until(lambda: len(self.value("spread", 4)) == 2, "both cores are used")

    def test_mixed(self):
        out = self.value("mixed", "begun")
        self.assertTrue(out[0].startswith("ValueError: it failed"), out)
        self.assertEqual((out[1], out[3]), ("b'x'", "Node.UnknownFunction"))
        harness.wait_until(lambda: self.node.runs("begun") == 1, "what nobody waits for runs, once")
        self.assertEqual(self.value("mixed-js", {}), ["ValueError", "Node.UnknownFunction", "x", True])

    def test_over(self):
        self.node.cli("evict", "keep")
        self.assertEqual(self.value("keep", 0), "kept")
        answers = {self.value("keep", 0) for _ in range(4)}
        self.assertTrue(answers <= {"kept", "the call belongs to an invocation that is over"}, answers)

    def test_limits(self):
        self.assertEqual(self.value("too_many", {}), [1024, "Node.TooManyCalls"])
        self.node.wait_idle()
        # One after the other, however many are begun.
        self.assertEqual(self.value("fan", {"name": "one", "count": 50}), list(range(50)))
        # It waits for itself: its time limit ends that.
        self.assert_error(self.ask("narrow", b"&1 narrow"), wcproto.TIMEOUT)
        self.node.wait_idle()

    def test_expired(self):
        """What has not run when its caller's time is over is not run, and costs no instance."""
        self.value("fan", {"name": "nap", "count": 2})
        before = self.node.status()["agents"]["cold_starts"]
        self.assert_error(self.ask("expire", 400), wcproto.TIMEOUT)
        self.node.wait_idle()
        self.assertLess(self.node.status()["agents"]["cold_starts"] - before, 20)

    def test_slow_start(self):
        """It takes 100 s to load, and its caller has one."""
        begun = time.monotonic()
        self.assert_error(self.ask("short", b"slow\n{}"), wcproto.TIMEOUT)
        self.assertLess(time.monotonic() - begun, 20)  # 30 s is what a start has otherwise

    def test_held(self):
        """One that cannot run now does not keep others from it."""
        answer = self.ask("first-js", {})
        self.assert_reply(answer, b'"x"')

    def test_fork(self):
        self.assertEqual(self.value("forks", {}), [3, "x"])

    def test_policies(self):
        """Where calls are bound to the core that their caller holds, too."""
        self.addCleanup(self.node.cli, "set", "--policy", "central")
        for policy in ("ll_ps", "jsq2", "random", "hash", "rss", "pack"):
            with self.subTest(policy=policy):
                self.node.cli("set", "--policy", policy)
                self.assertEqual(self.value("fan", {"name": "echo", "count": 300}), list(range(300)))
                self.assertEqual(self.value("fan", {"name": "one", "count": 20}), list(range(20)))
                self.assertEqual(self.value("tree", 4), 31)
                self.node.wait_idle()


class OneCore(harness.NodeTest):
    """Everything on one core: whoever waits for a call must not hold what it needs."""

    TAG = "calls1"
    OPTIONS = ("--cores", "0", "--pending", "64")

    def test_nested(self):
        id = self.node.deploy("echo", "native", "relay.so", {"relay.so": harness.native_function("relay")}, event="binary", timeout_ms=120000)
        with self.node.client() as client:
            self.assert_reply(client.invoke(id, b"echo\n" * 10 + b"\nend", 60), b"end")
            self.assert_reply(client.invoke(id, b"&1000 echo", 60), b"1000 %d" % sum(range(1000)))
            ids = [client.fresh_id() for _ in range(40)]
            for i in ids:
                client.send(i, id, b"echo\n" * 5 + b"\nx")
            answers = [client.receive(60) for _ in ids]
            self.assertEqual({a.request_id for a in answers}, set(ids))
            for answer in answers:
                self.assert_reply(answer, b"x")


    def test_memory(self):
        """Whoever waits for each of them has room for the next, although nobody else has met their jobs."""
        native = {"relay.so": harness.native_function("relay")}
        self.node.deploy("relay-c", "native", "relay.so", native, event="binary", timeout_ms=120000)
        large = self.node.deploy("large", "python", "relay.large", {"relay.py": source("relay.py")}, timeout_ms=120000)
        with self.node.client() as client:
            self.assert_reply(client.invoke(large, b"80", 120), b"%d" % (80 * 5242880))

    def test_forgotten(self):
        """More than the pending queue takes: those that were begun run, waited for or not."""
        native = {"relay.so": harness.native_function("relay")}
        self.node.deploy("counted", "native", "relay.so", native, event="binary", timeout_ms=120000)
        forget = self.node.deploy("forget", "python", "relay.forget", {"relay.py": source("relay.py")}, timeout_ms=120000)
        with self.node.client() as client:
            self.assertEqual(client.invoke(forget, b"500", 120).kind, wcproto.REPLY)
        self.node.wait_idle()
        self.assertEqual({f["name"]: f["invocations"] for f in self.node.json("list")["functions"]}["counted"], 500)

    def test_policies(self):
        """Bound to the core that their caller holds, and counted against a limit there."""
        self.addCleanup(self.node.cli, "set", "--policy", "central")
        one = self.node.deploy("one", "native", "relay.so", {"relay.so": harness.native_function("relay")}, event="binary", concurrency=1, timeout_ms=120000)
        id = self.node.deploy("echo", "native", "relay.so", {"relay.so": harness.native_function("relay")}, event="binary", timeout_ms=120000)
        for policy in ("hash", "rss", "jsq2", "random", "ll_ps", "pack"):
            with self.subTest(policy=policy), self.node.client() as client:
                self.node.cli("set", "--policy", policy)
                self.assert_reply(client.invoke(id, b"&50 one", 60), b"50 %d" % sum(range(50)))
                self.assert_reply(client.invoke(one, b"\nx", 60), b"x")
                self.node.wait_idle()


@unittest.skipIf(os.environ.get("E2E_DATAPATH") == "kernel", "the same again, and nothing in it is the kernel's")
class NoMoves(Calls):
    """Where instances stay on their core, lanes share it, and there are no sandboxes."""

    TAG = "calls2"
    OPTIONS = ("--cores", "0-1", "--policy", "ll_ps", "--sandbox", "off")


if __name__ == "__main__":
    harness.main()
