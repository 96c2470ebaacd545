#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Time-outs in each runtime: answered at the time and not before, with what a client needs to know; replaced; the next one works."""

import json
import os
import sys
import time
import unittest

import harness
import wcproto

TIMEOUT_MS = 200
ROUNDS = int(os.environ.get("ROUNDS", "8"))  # more, to measure how late


class TimeOuts(harness.NodeTest):
    TAG = "tmo"

    @classmethod
    def prepare(cls):
        cls.functions = {
            "native": (cls.node.deploy_native(event="binary", timeout_ms=TIMEOUT_MS), {"spin": b"l"}, b"eok"),
            "python": (cls.node.deploy_python(timeout_ms=TIMEOUT_MS), {"spin": b'{"do":"loop"}', "sleep": b'{"do":"sleep","ms":60000}'}, b"1"),
        }
        if harness.NODE_JS:
            cls.functions["node"] = (cls.node.deploy_node(timeout_ms=TIMEOUT_MS),
                                     {"spin": b'{"do":"loop"}', "promise": b'{"do":"never"}'}, b"1")  # fmt: skip

    def errors(self):
        return {f["name"]: f["errors"] for f in self.node.json("list")["functions"]}

    def well(self, client, function, event, value=None):
        """The reply of a call that does not hang. A busy machine may keep even that from its core for longer than the limit."""

        def reply():
            answer = client.invoke(function, event, seconds=60)
            if answer.kind == wcproto.ERROR:
                self.assert_error(answer, wcproto.TIMEOUT)
                return None
            return self.assert_reply(answer, value)

        return harness.wait_until(reply, "a call that does not hang is answered")

    def test_each(self):
        late = {}
        with self.node.client() as client:
            for runtime, (function, hanging, good) in self.functions.items():
                for how, event in hanging.items():
                    for _ in range(ROUNDS):
                        self.well(client, function, good)
                        before = self.node.status()["agents"]
                        sent = time.monotonic()
                        answer = client.invoke(function, event, seconds=60)
                        took = (time.monotonic() - sent) * 1000
                        error = self.assert_error(answer, wcproto.TIMEOUT, "Runtime.TimeoutError")
                        self.assertIn("time limit", error["errorMessage"])
                        self.assertGreaterEqual(took, TIMEOUT_MS, "never early")
                        late.setdefault((runtime, how), []).append(took - TIMEOUT_MS)
                        after = self.node.status()["agents"]
                        self.assertEqual(after["errors"] - before["errors"], 1)
                        again = self.well(client, function, good)
                        self.assertEqual(again.flags & wcproto.WARM, 0, "the instance was replaced")
        for (runtime, how), times in late.items():
            times.sort()
            print("%-7s %-8s late by p50 %.2f ms, p99 %.2f ms, max %.2f ms (%d rounds)" % (
                runtime, how, times[len(times) // 2], times[int(len(times) * 0.99)], times[-1], len(times)), file=sys.stderr)  # fmt: skip
        for name, count in self.errors().items():
            self.assertGreaterEqual(count, ROUNDS, name)

    def test_command(self):
        """What a user sees: exit status 3, the reason on standard error, nothing on standard output."""
        done = self.node.cli("invoke", "probe", '{"do":"loop"}', check=False)
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("TIMEOUT", done.stderr)
        self.assertIn("Runtime.TimeoutError", done.stderr)

    def test_others_go_on(self):
        """While one function hangs again and again, another is served: the core is free when the answer is there."""
        hanging, other = self.functions["python"][0], self.node.deploy_native("other", event="binary", timeout_ms=60000)
        self.addCleanup(self.node.cli, "remove", "other")
        with self.node.client() as client:
            ids = [client.fresh_id() for _ in range(6)]
            for request in ids:
                client.send(request, hanging, b'{"do":"loop"}')
            with self.node.client() as second:
                for _ in range(20):
                    self.assert_reply(second.invoke(other, b"eok", seconds=60), b"ok")
            answers = [client.receive(60) for _ in ids]
        self.assertEqual({answer.request_id for answer in answers}, set(ids))
        for answer in answers:
            self.assert_error(answer, wcproto.TIMEOUT)
        self.node.wait_idle()

    def test_late_answer(self):
        """What a function would have answered after its time reaches nobody, and no later request."""
        function = self.node.deploy_python("slow", timeout_ms=TIMEOUT_MS)
        self.addCleanup(self.node.cli, "remove", "slow")
        with self.node.client() as client:
            for i in range(5):
                event = json.dumps({"do": "sleep", "ms": TIMEOUT_MS + i}).encode()
                answer = client.invoke(function, event, seconds=60)
                if answer.kind == wcproto.ERROR:  # at the very limit either is right
                    self.assert_error(answer, wcproto.TIMEOUT)
                self.well(client, function, b'{"do":"sleep","ms":0}', "slept")
                self.assertIsNone(client.receive(0.05))


class TimeOutsUser(TimeOuts):
    """The same without BPF."""

    TAG = "tmu"

    @classmethod
    def setUpClass(cls):
        if os.environ.get("E2E_DATAPATH") == "kernel":
            raise unittest.SkipTest("E2E_DATAPATH=kernel")
        cls.OPTIONS = ("--datapath", "user", "--port", harness.free_port())
        super().setUpClass()


if __name__ == "__main__":
    sys.exit(harness.main())
