#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Programs whose parts wait for each other over streams, in whatever order a worker has begun them."""

import json
import unittest

import harness
import test_workflow_state

PROGRAMS = test_workflow_state.STATE + b"""

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

    def test_again(self):
        self.assertEqual(self.ask("again"), ["Node.StreamStalled", "ok", "ok"])


class OneCore(Programs):
    TAG = "streams1"
    OPTIONS = ("--cores", "0")


if __name__ == "__main__":
    harness.main()
