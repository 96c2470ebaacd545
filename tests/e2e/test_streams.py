#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Programs whose parts wait for each other over streams, in whatever order a worker has begun them."""

import json

import harness
import test_workflow_state

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


if __name__ == "__main__":
    harness.main()
