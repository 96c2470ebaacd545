#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Programs whose parts wait for each other over streams, in whatever order a worker has begun them."""

import contextlib
import json
import os
import random
import signal
import threading

import harness
import test_workflow_state
import wcproto

SEED = int(os.environ.get("CALLS_SEED", "1"))
ROUNDS = int(os.environ.get("CALLS_ROUNDS", "20"))  # workflows, without and with processes that are killed

PROGRAMS = test_workflow_state.STATE + b"""

# What was called waits for the one that was begun, and that for the caller.
def errand(event):
    worker = warmcore.start("state", {"do": "trade", "give": "b", "take": "y"})
    fetched = warmcore.invoke("state", {"do": "take", "take": "b"})
    use(SEND, "y", b"go on")
    return [fetched, worker.result()]

# As above, but that one was begun, too, and first.
def order(event):
    first = warmcore.start("state", {"do": "take", "take": "a"})
    second = warmcore.start("state", {"do": "trade", "give": "a", "take": "z"})
    result = [first.result()]
    use(SEND, "z", b"go on")
    return result + [second.result()]

# Each of them calls a third one for each message.
def errands(event):
    other = warmcore.start("state", {"do": "answers", "count": event["count"]})
    for number in range(event["count"]):
        assert warmcore.invoke("state", {"do": "trade", "give": "there", "take": "back"}) == "ok"
    return other.result()

def answers(event):
    for number in range(event["count"]):
        assert warmcore.invoke("state", {"do": "trade", "give": "back", "take": "there"}) == "ok"
    return event["count"]

def trade(event):
    use(SEND, event["give"], b"message")
    return kind(RECEIVE, event["take"])

def take(event):
    return kind(RECEIVE, event["take"])

# Who waits for what waits for a call that nobody has begun.
def behind(event):
    worker = warmcore.start("state", {"do": "ahead"})
    use(RECEIVE, "x")
    return worker.result()

def ahead(event):
    call = warmcore.start("state", {"do": "kept", "name": "none"})
    use(SEND, "x", b"message")
    return call.result()

# It ends while what it has begun waits for what nobody has begun yet.
def leave(event):
    warmcore.start("state", {"do": "trade", "give": "begun", "take": "a"})
    use(RECEIVE, "begun")
    warmcore.start("state", {"do": "late", "give": "a"})

# One that was waited for when all waited, and was told so, is not told again.
def again(event):
    echo = warmcore.start("state", {"do": "once", "name": "nothing"})
    use(SEND, "there", b"1")
    use(RECEIVE, "back")
    result = [echo.result()]
    late = warmcore.start("state", {"do": "late", "give": "k"})
    return result + [kind(RECEIVE, "k"), late.result()]

def once(event):
    use(RECEIVE, "there")
    use(SEND, "back", b"1")
    return kind(RECEIVE, event["name"])

def late(event):
    time.sleep(0.2)
    return kind(SEND, event["give"], b"message")
"""


RANDOM = PROGRAMS + b"""

import contextlib, os, random, signal

WAIT, ANY = 2, 3

# A strand: each of its steps is chosen by chance. Whatever it is told, it goes on; all that counts is that it ends.
def chance(event):
    random.seed(event["seed"])
    calls = []
    for step in range(random.randrange(event["steps"])):
        choice, size = random.random(), random.choice((0, 1, 100, 5000, 61440, 61441, 300000))
        stream, name = random.choice("pqrs"), random.choice("pqrstu")
        child = {"do": "chance", "seed": random.getrandbits(32), "depth": event["depth"] - 1, "steps": event["steps"]}
        if choice < 0.1:
            kind(PUT, name, bytes(size))
        elif choice < 0.15:
            kind(random.choice((GET, GET, DELETE)), name)
        elif choice < 0.4:
            kind(SEND, stream, bytes(size))
        elif choice < 0.65:
            kind(RECEIVE, stream)
        elif choice < 0.67:
            kind(CLOSE, stream)
        elif choice < 0.8 and event["depth"]:
            with contextlib.suppress(warmcore.InvokeError):
                # What holds its function's limit waits for nothing: it would wait for those that wait for the limit.
                limited = ("limited", {"do": "put", "name": name})
                calls.append(warmcore.start(*random.choice((("state", child), ("state", child), limited)))._number)
        elif choice < 0.85 and event["depth"]:
            with contextlib.suppress(warmcore.InvokeError):
                warmcore.invoke("state", child)
        elif choice < 0.93 and calls:
            kind(WAIT, number=calls.pop(random.randrange(len(calls))))
        elif choice < 0.95 and calls:
            flags, number, payload = warmcore._Host.channel.call(ANY, 0, "", b"")
            calls.remove(number)
        elif choice < 0.97 and calls:
            kind(CANCEL, number=random.choice(calls))
        elif choice < 0.98:
            kind(random.choice((WAIT, ANY, CANCEL, 99)), name, number=random.getrandbits(32))
        elif choice < 0.984:
            os.kill(os.getpid(), signal.SIGKILL)
    return len(calls)
"""


class Programs(harness.NodeTest):
    TAG = "streams"

    @classmethod
    def prepare(cls):
        cls.function = cls.node.deploy("state", "python", "state.handler", {"state.py": PROGRAMS}, timeout_ms=60000, memory_mb=512)
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def ask(self, do, **event):
        answer = self.client.invoke(self.function, json.dumps({"do": do, **event}).encode(), seconds=70)
        return json.loads(self.assert_reply(answer).payload)

    def tearDown(self):
        self.node.wait_idle()
        self.assertEqual(self.node.problems(), [])

    def test_errand(self):
        """What waits beneath another one has a caller that can go on when it has ended."""
        self.assertEqual(self.ask("errand"), ["ok", "ok"])

    def test_order(self):
        """Who waits for a call goes on when that has ended, whatever was begun meanwhile."""
        self.assertEqual(self.ask("order"), ["ok", "ok"])

    def test_errands(self):
        self.assertEqual(self.ask("errands", count=200), 200)

    def test_behind(self):
        for _ in range(5):
            self.assertEqual(self.ask("behind"), "Node.NoObject")

    def test_leave(self):
        """What goes on when the client's invocation has ended still runs what it waits for, on the only core; and the answer does not wait."""
        before = self.node.status()["agents"]
        for _ in range(10):
            self.assertIsNone(self.ask("leave"))
        self.node.wait_idle()
        after = self.node.status()["agents"]
        self.assertEqual([after["errors"] - before["errors"], after["calls"] - before["calls"]], [0, 20])

    def test_again(self):
        self.assertEqual(self.ask("again"), ["Node.StreamStalled", "ok", "ok"])


class OneCore(Programs):
    TAG = "streams1"
    OPTIONS = ("--cores", "0")


class Chance(harness.NodeTest):
    """
    Strands that do anything, in any order, and die, or are killed. CALLS_SEED and CALLS_ROUNDS choose which and how many; a failure prints the
    seed.
    """

    TAG = "chance"
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        cls.functions = [cls.node.deploy(name, "python", "state.handler", {"state.py": RANDOM}, timeout_ms=60000, **more)
                         for name, more in (("state", {}), ("limited", {"concurrency": 2}))]  # fmt: skip

    def kill_some(self, stop, moments):
        while not stop.wait(moments.random() / 20):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError, IndexError):
                # Not those that instances are forked from: they are root's, and the next one is started after a while only.
                pids = [pid for pid in self.node.instance_pids() if os.stat("/proc/%d" % pid).st_uid]
                os.kill(moments.choice(pids), signal.SIGKILL)

    def drive(self, seed, kills):
        choices, answers, stop = random.Random(seed), [], threading.Event()
        seeds = [choices.getrandbits(32) for _ in range(ROUNDS)]

        def run():
            with contextlib.closing(self.node.client()) as client:
                while seeds:
                    event = {"do": "chance", "seed": seeds.pop(), "depth": 2, "steps": 30}
                    answers.append(client.invoke(self.functions[0], json.dumps(event).encode(), seconds=70))

        threads = [threading.Thread(target=run) for _ in range(3)]
        threads += [threading.Thread(target=self.kill_some, args=(stop, choices))] if kills else []
        for thread in threads:
            thread.start()
        for thread in threads[:3]:
            thread.join()
        stop.set()
        for thread in threads[3:]:
            thread.join()
        return answers

    def test_chance(self):
        """All end, long before their time is over, and nothing is left of them."""
        for kills in (False, True):
            with self.subTest("seed %d" % SEED, kills=kills):
                for answer in self.drive(SEED, kills):
                    self.assertIsNotNone(answer)
                    if answer.kind != wcproto.REPLY:
                        self.assertIn(answer.code, (wcproto.CRASH, wcproto.INIT), answer)  # INIT: it was killed while it loaded
                self.node.wait_idle()
                self.assertEqual(self.node.status()["calls"], {"begun": 0, "bytes": 0})


class ChanceOneCore(Chance):
    TAG = "chance1"
    OPTIONS = ("--cores", "0")


if __name__ == "__main__":
    harness.main()
