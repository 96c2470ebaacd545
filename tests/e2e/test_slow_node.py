#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Nodes that are alive, and slow: they get nothing until they are well again, unless all are slow."""

import contextlib
import json
import os
import signal
import threading
import time

import cluster
import harness
import wcproto
from harness import wait_until

# What waits is counted, not time; these only say how soon. The factor is small for a test that is not to take a minute, and the machine is a noisy one.
OPTIONS = ("--slow-interval-ms", "1000", "--slow-intervals", "2", "--slow-eject-ms", "3000")


class Slow(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        self.start(*OPTIONS)
        self.function = self.scheduler.deploy_python(timeout_ms=60000)
        for _ in range(3):
            self.add_node()
        self.wait_ready()

    def state(self, name):
        return self.members()[name]["state"]

    def ejected(self):
        return self.scheduler.status()["cluster"]["ejected_total"]

    @contextlib.contextmanager
    def load(self, payload=b'{"do": "sleep", "ms": 20}', width=8):
        """As much as that is under way meanwhile; all of it is answered in the end."""
        end, failed = threading.Event(), []

        def drive():
            waiting = set()
            with self.client() as client:
                while waiting or not end.is_set():
                    while len(waiting) < width and not end.is_set():
                        waiting.add(client.fresh_id())
                        client.send(max(waiting), self.function, payload)
                    answer = client.receive(harness.PATIENCE_S)
                    if answer is None or answer.kind != wcproto.REPLY:
                        failed.append(answer)
                        return
                    waiting.discard(answer.request_id)

        thread = threading.Thread(target=drive)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
        self.assertEqual(failed, [])

    @contextlib.contextmanager
    def slowed(self, *nodes):
        """Their instances stand still, most of the time: an invocation of 20 ms takes some 300 there."""
        end = threading.Event()

        def stop_and_go():
            seen = set()
            while not end.is_set():
                seen = {pid for node in nodes for pid in node.instance_pids()}
                for _ in range(4):
                    for pid in seen:
                        signal_all(pid, signal.SIGSTOP)
                    end.wait(0.3)
                    for pid in seen:
                        signal_all(pid, signal.SIGCONT)
                    time.sleep(0.03)

        def signal_all(pid, number):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

        thread = threading.Thread(target=stop_and_go)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def test_one(self):
        """It is ejected, and nobody else; it comes back, is ejected again for longer while it is slow, and when it is well it stays."""
        slow = self.nodes[1]
        with self.load():
            with self.slowed(slow):
                wait_until(lambda: self.state("n2") == "slow", "n2 is taken for slow")
                said = self.members()["n2"]["slow"]
                self.assertEqual((said["state"], said["ejections"]), ("ejected", 1), said)
                self.assertGreater(said["own_ms"], 4 * said["usual_ms"])
                self.assertIn("its invocations take", said["why"])
                table = self.scheduler.cli("nodes").stdout
                self.assertRegex(table, r"n2 .* slow .*invocations take")
                wait_until(lambda: self.members()["n2"]["orders"] and slow.all_free(), "what it has had has ended")
                before = self.members()["n2"]["orders"]
                wait_until(lambda: (self.members()["n2"]["slow"] or {}).get("ejections", 0) >= 2, "it has failed on probation")
                self.assertGreater(self.members()["n2"]["orders"], before)
            wait_until(lambda: self.state("n2") == "ready" and self.members()["n2"]["slow"] is None, "it is well again")
            before = self.members()["n2"]["orders"]
            wait_until(lambda: self.members()["n2"]["orders"] > before + 20, "it gets something")
            self.assertEqual([self.members()[name]["slow"] for name in ("n1", "n3")], [None, None])
        log = self.log()
        self.assertEqual(log.count("node n2 is slow"), self.ejected(), log)
        self.assertIn("node n2 is as fast as others again", log)
        self.scheduler.wait_idle()
        self.wait_ready()

    def log(self):
        with open(os.path.join(self.scheduler.state, "daemon.log")) as file:
            return file.read()

    def test_all(self):
        """Who is as slow as all others is not slow."""
        with self.load(), self.slowed(self.scheduler, *self.nodes):
            runs = lambda: sum(each["orders"] for each in self.members().values())  # noqa: E731
            before, end = runs(), time.monotonic() + 8  # four times as long as one alone would be left
            wait_until(lambda: runs() > before + 40 and time.monotonic() > end, "enough has run")
            self.assertEqual(self.ejected(), 0)
        self.assertEqual([each["slow"] for each in self.members().values()], [None] * 3)

    def test_undo(self):
        """Whoever has mended it may say so."""
        with self.load():
            with self.slowed(self.nodes[2]):
                wait_until(lambda: self.state("n3") == "slow", "n3 is taken for slow")
            self.scheduler.cli("drain", "--undo", "n3")
            self.assertEqual((self.state("n3"), self.members()["n3"]["slow"]), ("ready", None))


if __name__ == "__main__":
    harness.main()
