#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Instances that clean up before they end: on eviction, on a new deployment, when the node goes down; and those that take too long."""

import os

import harness

BYE = b"""
import os, time
name = os.environ["WARMCORE_FUNCTION"]
def note(what):
    with open(os.environ["SHARED"] + "/runs", "a") as file:
        file.write("%s-%s\\n" % (name, what))
note("loaded")
def handler(event, context):
    return os.getpid()
def shutdown():
    note("began")
    time.sleep(float(os.environ.get("TAKES", "0")))
    note("ended")
"""


class Farewell(harness.NodeTest):
    TAG = "bye"

    @classmethod
    def prepare(cls):
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def start(self, name, code=BYE, **environment):
        function = self.node.deploy(name, "python", "bye.handler", {"bye.py": code}, environment=environment)
        for _ in range(20):
            self.assert_reply(self.client.invoke(function, b"{}"))
        return function

    def wait_for(self, run, count):
        harness.wait_until(lambda: self.node.runs(run) >= count, "%s %d times" % (run, count))

    def gone(self, name):
        mark = b"WARMCORE_FUNCTION=%s\0" % name.encode()
        return not any(mark in environ for _, _, environ in harness.processes())

    def test_eviction(self):
        self.start("evicted")
        loaded = self.node.runs("evicted-loaded")  # once an instance, however many invocations it had
        self.assertTrue(1 <= loaded <= len(self.node.status()["cores"]))
        self.assertEqual(self.node.json("evict", "evicted")["stopped"], loaded)
        self.wait_for("evicted-ended", loaded)
        harness.wait_until(lambda: self.gone("evicted"), "its processes are gone")
        self.assertEqual(self.node.runs("evicted-began"), loaded)

    def test_deployment(self):
        self.start("replaced")
        loaded = self.node.runs("replaced-loaded")
        self.start("replaced", BYE + b"# another version\n")
        self.node.json("evict", "replaced")
        self.wait_for("replaced-ended", loaded + 1)

    def test_too_long(self):
        """The agent goes on at once, and the process is gone in the end."""
        function = self.start("slow", TAKES="100")
        loaded = self.node.runs("slow-loaded")
        self.assertEqual(self.node.json("evict", "slow")["stopped"], loaded)
        self.wait_for("slow-began", loaded)
        self.assert_reply(self.client.invoke(function, b"{}"))
        self.node.json("evict", "slow")
        harness.wait_until(lambda: self.gone("slow"), "its processes are gone")
        self.assertEqual(self.node.runs("slow-ended"), 0)

    def test_signals_are_no_way_around(self):
        """One that was stopped with SIGSTOP cannot clean up."""
        function = self.start("stopped")
        pids = [pid for pid, _, environ in harness.processes() if b"WARMCORE_FUNCTION=stopped\0" in environ]
        for pid in pids:
            os.kill(pid, 19)
        self.node.json("evict", "stopped")
        harness.wait_until(lambda: self.gone("stopped"), "its processes are gone")
        self.assert_reply(self.client.invoke(function, b"{}"))

    def test_zz_down(self):
        """All of them at once, the slow ones too: the node waits once, not for each."""
        self.start("last")
        self.start("late", TAKES="100")
        ended = self.node.runs("last-ended")
        self.node.down()
        self.assertGreater(self.node.runs("last-ended"), ended)
        self.assertGreater(self.node.runs("late-began"), 0)
        self.assertEqual(self.node.runs("late-ended"), 0)
        self.node.check_nothing_left()
        self.node.up()


if __name__ == "__main__":
    harness.main()
