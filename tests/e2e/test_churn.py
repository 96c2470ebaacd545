#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Instances are started and killed at random points, and nothing leaks: no process, control group, mount, namespace, descriptor or core.

CHURN_COUNT instances, 150 by default; CHURN_SEED for the order of things.
"""

import os
import random
import signal
import sys
import threading
import time
import unittest

import harness
import wcproto

COUNT = int(os.environ.get("CHURN_COUNT", "150"))
SEED = int(os.environ.get("CHURN_SEED", "1"))
CGROUPS = "/sys/fs/cgroup"

BUSY = b"""
import os, sys, time
def handler(event, context):
    if event % 5 == 0 and os.fork() == 0:
        os.setsid()
        time.sleep(1000)
    time.sleep(event % 7 / 1000)
    return event
"""


class Churn(harness.NodeTest):
    TAG = "churn"

    @classmethod
    def prepare(cls):
        cls.functions = [cls.node.deploy("py%d" % i, "python", "busy.handler", {"busy.py": BUSY}) for i in range(2)]
        cls.native = cls.node.deploy_native("c", event="binary")
        if harness.NODE_JS:
            cls.functions.append(cls.node.deploy_node("js"))

    def victims(self):
        """Instances, their children, inits, spares: by their user. Rarely a zygote or the maker: by their command."""
        runtime, found, helpers = b"/run/warmcore/%s/" % self.node.name.encode(), [], []
        for pid, command, environ in harness.processes():
            if b"WARMCORE_NODE=%s\0" % self.node.name.encode() in environ or runtime in command:
                try:
                    owner = os.stat("/proc/%d" % pid).st_uid
                except OSError:
                    continue
                (found if owner >= 0x70000000 else helpers).append(pid)
        return found, helpers

    def counts(self):
        """What must be as before. The daemon's namespaces are those that its processes are in."""
        namespaces = set()
        for pid, command, environ in harness.processes():
            if b"/run/warmcore/%s/" % self.node.name.encode() in command:
                for name in ("pid", "net", "mnt", "user", "ipc", "uts", "cgroup"):
                    try:
                        namespaces.add(os.readlink("/proc/%d/ns/%s" % (pid, name)))
                    except OSError:
                        pass
        with open("/proc/self/mountinfo") as mounts:
            mount_count = len([line for line in mounts if self.node.name in line])
        group = os.path.join(CGROUPS, "warmcore-" + self.node.name)
        groups = len([name for name in os.listdir(group) if name.startswith("sandbox-")]) if os.path.isdir(group) else 0
        return {"descriptors": len(os.listdir("/proc/%d/fd" % self.node.pid)), "mounts": mount_count, "groups": groups,
                "instances": len(self.node.instance_pids()), "namespaces": len(namespaces)}  # fmt: skip

    def settle(self):
        """Everything that can end has ended; what is started ahead is there."""
        self.node.wait_idle()
        self.node.cli("evict")
        spares = 1 if harness.NODE_JS else 0
        pool = len(self.node.status()["cores"]) + 2

        def quiet():
            status = self.node.status()
            return (status["instances"] == 0 and status["spares"] == spares and status["sandboxes"]["ready"] == pool
                    and status["sandboxes"]["in_use"] == spares and all(z["state"] == "ready" for z in status["zygotes"]))  # fmt: skip

        harness.wait_until(quiet, "all is quiet: %s" % self.node.status()["sandboxes"])
        last = {}

        def same():
            now = self.counts()
            done = now == last.get("counts")
            last["counts"] = now
            time.sleep(0.2)
            return now if done else None

        return harness.wait_until(same, "the counts stand still")

    def test_churn(self):
        if not self.node.sandboxed():
            self.skipTest("no sandboxes here")
        chance, stop, killed = random.Random(SEED), threading.Event(), [0]
        with self.node.client() as client:
            for function in self.functions:
                client.invoke(function, b"1", seconds=60)
        before = self.settle()

        def kill():
            while not stop.is_set():
                found, helpers = self.victims()
                victims = helpers if helpers and chance.random() < 0.01 else found
                if victims:
                    try:
                        os.kill(chance.choice(victims), chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)))
                        killed[0] += 1
                    except ProcessLookupError:
                        pass
                if chance.random() < 0.1:
                    self.node.cli("evict", check=False)
                time.sleep(chance.uniform(0, 0.03))

        killer = threading.Thread(target=kill)
        killer.start()
        outcomes = {}
        try:
            with self.node.client() as client:
                started = 0
                while started < COUNT:
                    for _ in range(10):
                        function = chance.choice([*self.functions, self.native])
                        event = b"e%d" % chance.randrange(1000) if function == self.native else b"%d" % chance.randrange(1000)
                        answer = client.invoke(function, event, seconds=120)
                        self.assertIsNotNone(answer, "every invocation is answered")
                        kind = "REPLY" if answer.kind == wcproto.REPLY else wcproto.CODES[answer.code]
                        outcomes[kind] = outcomes.get(kind, 0) + 1
                    started = self.node.status()["agents"]["cold_starts"]
        finally:
            stop.set()
            killer.join()
        print("%d instances, %d killed, outcomes %s" % (started, killed[0], outcomes))
        self.assertEqual(self.node.problems(), [])
        with self.node.client() as client:
            for function in self.functions:
                self.assert_reply(client.invoke(function, b"1", seconds=60))
        after = self.settle()
        for name, value in before.items():
            self.assertLessEqual(after[name], value + (2 if name == "descriptors" else 0), (name, before, after))
        self.assertGreater(killed[0], COUNT // 10)


if __name__ == "__main__":
    sys.exit(harness.main())
