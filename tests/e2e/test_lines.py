#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Calls by lines (runtimes/abi/line.h): functions that hand over to each other without the agent. What a user sees must be what it is without them: results,
errors, limits, counts, who runs what. And callers and called that break the contract. functions/line.c says what the functions do."""

import contextlib
import json
import os
import random
import signal
import threading
import time
import unittest

import harness
import wcproto

PYTHON = b"""
import os, time, warmcore

def noop(event, context):
    return [event, context.aws_request_id]

def loop(event, context):
    ids, values = set(), []
    for number in range(event["count"]):
        try:
            value, request = warmcore.invoke(event["name"], number)
            ids.add(request)
        except warmcore.InvokeError as error:
            value = error.error_type
        values.append(value)
    return [len(ids), values == list(range(event["count"]))]

def versions(event, context):
    end, seen = time.monotonic() + event["seconds"], []
    while time.monotonic() < end and len(seen) < 2:
        answer = warmcore.invoke("version", b"").decode()
        if not seen or seen[-1] != answer:
            seen.append(answer)
    return seen

def tally(event, context):
    answers = [warmcore.invoke(event["name"], b"").decode() for _ in range(event["count"])]
    return {answer: answers.count(answer) for answer in set(answers)}

def outcomes(event, context):
    kinds = {}
    for _ in range(event["count"]):
        try:
            kind = "ok" if warmcore.invoke(event["name"], event["payload"].encode()) is not None else "nothing"
        except warmcore.InvokeError as error:
            kind = error.error_type
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds
"""
NODE = b"""
exports.noop = (event, context) => [event, context.awsRequestId];
exports.loop = ({ name, count }) => {
  const ids = new Set(), values = [];
  for (let i = 0; i < count; i++) {
    const [value, id] = warmcore.invokeSync(name, i);
    ids.add(id);
    values.push(value);
  }
  return [ids.size, values.every((value, i) => value === i)];
};
"""


class Lines(harness.NodeTest):
    TAG = "lines"
    OPTIONS = ("--cores", "0-1")
    DIRECT = True

    @classmethod
    def prepare(cls):
        native = {"line.so": harness.native_function("line")}
        python, node = {"line.py": PYTHON}, {"line.js": NODE}
        cls.ids = {}
        for name, more in (("caller", {"timeout_ms": 60000}), ("called", {"timeout_ms": 60000}), ("other", {"timeout_ms": 60000}),
                           ("short", {"timeout_ms": 500}), ("tiny", {"timeout_ms": 30}), ("limited", {"concurrency": 1, "timeout_ms": 60000}),
                           ("brief", {"timeout_ms": 1000})):  # fmt: skip
            cls.ids[name] = cls.node.deploy(name, "native", "line.so", native, event="binary", **more)
        for name, handler in (("py-noop", "noop"), ("py-loop", "loop"), ("py-versions", "versions"), ("py-tally", "tally"), ("py-outcomes", "outcomes")):
            cls.ids[name] = cls.node.deploy(name, "python", "line." + handler, python, timeout_ms=60000)
        for name, handler in (("js-noop", "noop"), ("js-loop", "loop")):
            cls.ids[name] = cls.node.deploy(name, "node", "line." + handler, node, timeout_ms=60000)
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def tearDown(self):
        self.node.wait_idle()
        self.assertEqual(self.node.problems(), [])

    def instances(self, name):
        """Processes of a function; those that are just ending do not count."""
        found = []
        for pid in self.node.instance_pids():
            with contextlib.suppress(OSError), open("/proc/%d/environ" % pid, "rb") as file:
                if b"WARMCORE_FUNCTION=%s\0" % name.encode() in file.read():
                    found.append(pid)
        return found

    def ask(self, name, payload, seconds=60):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        return self.client.invoke(self.ids[name], payload, seconds)

    def answer(self, name, payload):
        return bytes(self.assert_reply(self.ask(name, payload)).payload)

    def direct(self):
        return self.node.status()["agents"]["calls_direct"]

    def counts(self, name):
        return next((f["invocations"], f["errors"]) for f in self.node.json("list")["functions"] if f["name"] == name)

    @contextlib.contextmanager
    def by_line(self, least):
        before = self.direct()
        yield
        if self.DIRECT:
            self.assertGreaterEqual(self.direct() - before, least)
        else:
            self.assertEqual(self.direct(), before)

    def test_used(self):
        """And counted as if it were not."""
        before = self.counts("called")
        with self.by_line(700):
            self.assertEqual(self.answer("caller", b"loop 1000 called echo hello"), b"hello")
        self.assertEqual(self.counts("called"), (before[0] + 1000, before[1]))
        with self.by_line(25):  # the line is still there: from the second call on
            self.answer("caller", b"loop 50 called echo hello")
        before = self.counts("called")
        self.assert_error(self.ask("caller", b"loop 10 called fail"), wcproto.FUNCTION, "Failed")
        self.assertEqual(self.counts("called"), (before[0] + 1, before[1] + 1))

    def test_sizes(self):
        for size in (0, 1, 61420 - 20):
            with self.subTest(size=size), self.by_line(5):
                data = bytes(i & 255 for i in range(size))
                self.assertEqual(self.answer("caller", b"loop 20 called echo " + data), data)

        for size in (61440, 61441, 1000000, 6000000):
            with self.subTest(result=size), self.by_line(1):
                self.assertEqual(self.answer("caller", b"size 8 called big %d" % size), b"%d" % size)
                self.assertEqual(self.answer("caller", b"loop 8 called echo x"), b"x")

    def test_aliases(self):
        """Each call goes by the weights."""
        self.node.deploy("canary", "python", "c.handler", {"c.py": b"def handler(event, context):\n    return b'1'\n"}, event="binary")
        self.node.json("publish", "canary")
        self.node.deploy("canary", "python", "c.handler", {"c.py": b"def handler(event, context):\n    return b'2'\n"}, event="binary")
        self.node.json("publish", "canary")
        self.node.json("alias", "canary", "live", "1", "--weight", "2=0.3")
        said = json.loads(self.answer("py-tally", {"name": "canary:live", "count": 600}))
        self.assertEqual(sum(said.values()), 600)
        self.assertTrue(100 < said["2"] < 260, said)

    def test_runtimes(self):
        for one in ("py", "js"):
            for other in ("py", "js"):
                with self.subTest(one=one, other=other), self.by_line(100):
                    answer = json.loads(self.answer(one + "-loop", {"name": other + "-noop", "count": 300}))
                    self.assertEqual(answer, [300, True])  # each has an id of its own

    def test_errors(self):
        with self.by_line(10):
            self.assertEqual(json.loads(self.answer("py-outcomes", {"name": "called", "payload": "fail", "count": 30})), {"Wanted": 30})

    def test_processes_die(self):
        """The caller is told each time, and goes on."""
        for payload, kind in (("exit", "Runtime.ExitError"), ("abort", "Runtime.CrashError")):
            with self.subTest(payload=payload):
                self.answer("caller", b"loop 10 called echo x")
                self.assertEqual(json.loads(self.answer("py-outcomes", {"name": "called", "payload": payload, "count": 3})), {kind: 3})
        self.answer("py-outcomes", {"name": "called", "payload": "echo x", "count": 10})

    def test_slow(self):
        """Longer than a caller waits alone."""
        with self.by_line(1):
            self.assertEqual(self.answer("caller", b"loop 12 called sleep 2"), b"")
        begun = self.counts("called")[0]
        self.assertEqual(self.answer("caller", b"loop 8 called sleep 60"), b"")
        self.assertEqual(self.counts("called")[0], begun + 8)

    def test_time_limits(self):
        """The called function's own, also of what it began on the line; and the caller's."""
        self.assertEqual(json.loads(self.answer("py-outcomes", {"name": "short", "payload": "echo x", "count": 10})), {"ok": 10})
        self.assertEqual(json.loads(self.answer("py-outcomes", {"name": "short", "payload": "sleep 2000", "count": 2})), {"Runtime.TimeoutError": 2})
        self.assertEqual(json.loads(self.answer("py-outcomes", {"name": "tiny", "payload": "sleep 2000", "count": 6})), {"Runtime.TimeoutError": 6})
        _, left, _ = self.answer("caller", b"loop 10 short id").split()
        self.assertTrue(0 < int(left) <= 500, left)
        begun = time.monotonic()
        self.assert_error(self.ask("brief", b"loop 100 called sleep 300"), wcproto.TIMEOUT)
        self.assertLess(time.monotonic() - begun, 30)

    def test_limits_and_other_calls(self):
        """One with a limit goes by the agent; what runs on a line may call others, which goes by it, too."""
        with self.by_line(0):
            before = self.direct()
            self.answer("caller", b"loop 20 limited echo x")
            self.assertEqual(self.direct(), before)
        self.assertEqual(self.answer("caller", b"loop 20 called call other echo deep"), b"deep")
        self.assertEqual(self.answer("caller", b"loop 20 called loop 20 other echo deep"), b"deep")
        self.assertEqual(self.answer("caller", b"loop 5 other call called echo deep"), b"deep")

    def test_calls_begin(self):
        """A called instance that never called anything before does so for the first time on the line."""
        self.node.deploy("fresh", "native", "line.so", {"line.so": harness.native_function("line")}, event="binary", timeout_ms=60000)
        with self.by_line(3):
            self.assertEqual(self.answer("caller", b"loop 10 fresh echo x"), b"x")
        self.assertEqual(self.answer("caller", b"loop 10 fresh call other echo y"), b"y")
        self.assertEqual(self.answer("caller", b"loop 10 fresh echo x"), b"x")

    def test_replaced(self):
        """A caller that goes on calling has what is deployed meanwhile."""
        for answer in (b"one", b"two"):
            source = b"def handler(event, context):\n    return b'" + answer + b"'\n"
            if answer == b"one":
                self.node.deploy("version", "python", "version.handler", {"version.py": source}, event="binary")
                result = []
                thread = threading.Thread(target=lambda: result.append(self.answer("py-versions", {"seconds": 50})))
                thread.start()
                harness.wait_until(lambda: self.counts("version")[0] > 10, "it is called")
            else:
                self.node.deploy("version", "python", "version.handler", {"version.py": source}, event="binary")
        thread.join()
        self.assertEqual(json.loads(result[0]), ["one", "two"])

    def test_short_ones(self):
        """A line that is made just before its caller ends, while others wait for the called instance: it may not have heard of it."""
        for _ in range(20):
            numbers = [self.client.fresh_id() for _ in range(4)]
            for number, name, payload in zip(numbers, ("caller", "called", "caller", "called"), (b"loop 3 called echo x", b"echo x") * 2):
                self.client.send(number, self.ids[name], payload)
            for _ in numbers:
                self.assertEqual(bytes(self.assert_reply(self.client.receive(60)).payload), b"x")
            self.assertEqual(self.answer("caller", b"loop 20 called echo y"), b"y")

    def test_stopped(self):
        """The called process does not go on: its own time limit holds, whether it had looked at the call or not."""
        result = []
        event = {"name": "short", "payload": "sleep 5", "count": 150}
        thread = threading.Thread(target=lambda: result.append(json.loads(self.answer("py-outcomes", event))))
        begun = time.monotonic()
        thread.start()
        harness.wait_until(lambda: self.instances("short"), "it is called")
        time.sleep(0.3)
        for pid in self.instances("short"):
            os.kill(pid, signal.SIGSTOP)
        thread.join()
        self.assertEqual(sum(result[0].values()), 150, result)
        self.assertEqual(set(result[0]) - {"ok", "Runtime.TimeoutError"}, set())
        self.assertLessEqual(result[0].get("Runtime.TimeoutError", 0), 2)
        self.assertLess(time.monotonic() - begun, 45)

    def test_hostile(self):
        """Who writes to a line when it may not is not heard, and harms nobody else."""
        if self.DIRECT:
            self.assertEqual(self.answer("caller", b"ring 3 called echo x"), b"ignored")
        self.assertEqual(self.answer("caller", b"loop 20 called echo y"), b"y")
        answer = self.ask("caller", b"spoil 30 called")
        self.assertIn(answer.kind, (wcproto.REPLY, wcproto.ERROR))
        self.assertEqual(self.answer("caller", b"loop 20 called echo y"), b"y")
        for _ in range(3):
            self.answer("caller", b"loop 20 called echo y")
            self.assertEqual(self.answer("caller", b"loop 5 called drop"), b"")

    def test_killed(self):
        """Callers and called, at any moment: one answer each, and nothing is lost."""
        dice = random.Random(7)
        over = threading.Event()

        def kill():
            while not over.wait(dice.uniform(0.02, 0.2)):
                pids = self.instances("caller") + self.instances("called")
                with contextlib.suppress(ProcessLookupError):
                    if pids:
                        os.kill(dice.choice(pids), signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        types = {}
        try:
            end = time.monotonic() + 5
            while time.monotonic() < end:
                answer = self.ask("caller", dice.choice((b"loop 300 called echo x", b"loop 20 called sleep 3", b"loop 3 called sleep 40")))
                types[answer.kind] = types.get(answer.kind, 0) + 1
        finally:
            over.set()
            thread.join()
        self.assertGreater(types.get(wcproto.REPLY, 0), 0)
        self.assertEqual(self.answer("caller", b"loop 20 called echo y"), b"y")


class OneCore(Lines):
    TAG = "lines1"
    OPTIONS = ("--cores", "0")


class Without(Lines):
    """The same by the agent."""

    TAG = "lines0"
    OPTIONS = ("--cores", "0-1", "--direct-calls", "off")
    DIRECT = False


if __name__ == "__main__":
    harness.main()
