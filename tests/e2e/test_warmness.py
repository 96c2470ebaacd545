#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Which instances are kept, started ahead and stopped, and that each of these is counted with its reason."""

import os
import signal
import sys
import time

import gates
import harness
import wcproto

HOG = b"""
ballast = b"x" * (40 << 20)
def handler(event, context):
    return len(ballast)
"""


SLOW = b"""
import time
time.sleep(1)
def handler(event, context):
    return 1
"""


class Warmness(gates.Test):
    TAG = "wrm"

    def setUp(self):
        super().setUp()
        self.node.defaults()
        self.names = []

    def tearDown(self):
        for name in self.names:
            self.node.cli("remove", name, check=False)
        self.node.defaults()
        super().tearDown()

    def native(self, **manifest):
        self.names.append("w%d" % len(self.names))
        return self.names[-1], self.node.native(self.names[-1], **manifest)

    def warmth(self, name):
        return self.node.json("warmth", name)["functions"][0]

    def wait_warmth(self, name, condition, what):
        return harness.wait_until(lambda: (lambda known: known if condition(known) else None)(self.warmth(name)), what)

    def call(self, function, times=1, **fields):
        for _ in range(times):
            crowd = self.crowd(1)
            tag = self.prefix + str(time.monotonic_ns())
            crowd.send(function, tag, **fields)
            self.assertEqual(crowd.wait_for(tag)[0].kind, wcproto.REPLY)
            crowd.__exit__()

    def kill_one(self, name):
        """An instance, not the zygote that it is a fork of."""
        mark = b"WARMCORE_FUNCTION=%s\0" % name.encode()
        os.kill([pid for pid, _, environ in harness.processes() if mark in environ][0], signal.SIGKILL)

    def check_sums(self, name):
        """Each invocation is a hit or a cold start, each instance that ever was is ready or was stopped."""
        known = self.warmth(name)
        hits, cold = sum(known["hits"].values()), sum(known["cold_starts"].values())
        found = [f for f in self.node.json("list")["functions"] if f["name"] == name][0]
        self.assertEqual(cold, found["cold_starts"])
        self.assertEqual(hits + cold, found["invocations"])
        ahead = known["prewarms"]["predicted"] + known["prewarms"]["provisioned"]
        self.assertEqual(cold + ahead, known["ready"] + sum(known["stops"].values()))
        return known

    def test_scale_to_zero(self):
        name, function = self.native()
        self.node.set("--keep-alive", "fixed", "--keep-alive-ms", "50")
        self.call(function)
        self.wait_warmth(name, lambda known: known["stops"]["expired"] == 1, "it is stopped when its time is over")
        self.assertEqual(self.warmth(name)["ready"], 0)
        self.call(function)
        self.wait_warmth(name, lambda known: known["stops"]["expired"] == 2, "and again")
        known = self.check_sums(name)
        self.assertEqual({k: v for k, v in known["cold_starts"].items() if v}, {"first": 1, "expired": 1})
        self.assertEqual(known["why"], "fixed")
        self.node.set("--keep-alive", "off")
        self.call(function)
        self.assertIsNone(self.warmth(name)["keep_ms"])
        self.node.set("--keep-alive", "fixed", "--keep-alive-ms", "1")
        self.wait_warmth(name, lambda known: known["ready"] == 0, "a knob holds for what idles already")

    def test_none_is_forgotten(self):
        """Whenever the scheduler looks: an instance that is put back at that very moment is stopped at its time, too."""
        functions = dict(self.native() for _ in range(4))
        self.node.set("--keep-alive", "fixed", "--keep-alive-ms", "1")
        for _ in range(25):
            for function in functions.values():
                self.call(function)
            harness.wait_until(lambda: self.node.status()["instances"] == 0, "all are stopped")
        for name in functions:
            self.check_sums(name)

    def test_prewarm(self):
        """Calls at equal distances: nothing is loaded in between, one is started ahead, and hit, or wasted when nobody comes."""
        name, function = self.native()
        self.node.set("--keep-alive-bin-ms", "200", "--keep-alive-ms", "5000")
        for _ in range(7):
            self.call(function)
            time.sleep(0.65)
        known = self.wait_warmth(name, lambda known: known["prewarms"]["wasted"], "one is started ahead, and nobody comes")
        self.assertEqual(known["why"], "learned")
        self.assertGreater(known["stops"]["predicted"], 0)
        self.assertGreater(known["prewarm_ms"], 0)
        for _ in range(20):
            before = self.warmth(name)["prewarms"]["predicted"]
            self.call(function)
            self.wait_warmth(name, lambda known: known["prewarms"]["predicted"] > before or
                             not known["prewarm_ms"], "another one")  # fmt: skip
            self.call(function)
            if self.warmth(name)["prewarms"]["used"]:
                break
        self.assertGreater(self.warmth(name)["prewarms"]["used"], 0)
        self.node.set("--prewarm", "off")
        self.assertEqual(self.warmth(name)["prewarm_ms"], 0)
        self.node.wait_idle()
        self.check_sums(name)

    def test_provisioned(self):
        name, function = self.native(provisioned=2)
        self.node.set("--keep-alive", "fixed", "--keep-alive-ms", "20")
        known = self.wait_warmth(name, lambda known: known["ready"] == 2, "two are ready before anybody calls")
        self.assertEqual((known["prewarms"]["provisioned"], sum(known["cold_starts"].values())), (2, 0))
        self.call(function)
        self.assertEqual(sum(self.warmth(name)["cold_starts"].values()), 0)
        self.node.cli("evict", name)
        self.wait_warmth(name, lambda known: known["ready"] == 2 and known["prewarms"]["provisioned"] >= 4, "two after evict")
        self.kill_one(name)
        self.wait_warmth(name, lambda known: known["ready"] == 2 and known["stops"]["died"] == 1, "two after one died")
        self.assertEqual(self.node.native(name, provisioned=2, memory_mb=129), function)
        self.wait_warmth(name, lambda known: known["ready"] == 2 and known["stops"]["replaced"] == 2, "two of the new version")
        self.node.limit(name, provisioned=3)
        self.wait_warmth(name, lambda known: known["ready"] == 3, "three")
        self.assertNotEqual(self.node.limit(name, check=False, provisioned=1025).returncode, 0)
        self.assertEqual(self.warmth(name)["provisioned"], 3)
        self.node.limit(name, provisioned=0)
        self.wait_warmth(name, lambda known: known["ready"] == 0, "none")
        self.assertEqual(self.warmth(name)["prewarms"]["wasted"], 0, "a reserve that nobody used is no wrong prediction")

    def test_provisioned_that_fails(self):
        """A function that cannot be loaded is tried again, ever more rarely, and holds no core."""
        self.names.append("broken")
        self.node.deploy("broken", "python", "broken.handler", {"broken.py": b"raise ValueError\n"}, provisioned=1)
        self.wait_warmth("broken", lambda known: known["prewarms"]["failed"] >= 2, "it is tried again")
        self.node.cli("remove", "broken")

    def test_memory(self):
        """What is called often stays; of the rest so much goes that the others have room."""
        hogs = {}
        for name in ("often", "one", "two", "three", "four"):
            self.names.append(name)
            hogs[name] = self.node.deploy(name, "python", "hog.handler", {"hog.py": HOG})
        with self.node.client() as client:
            for name, times in (("often", 30), ("one", 1), ("two", 1)):
                for _ in range(times):
                    self.assertEqual(client.invoke(hogs[name]).kind, wcproto.REPLY)
            for name in hogs:
                if name in ("often", "one", "two"):
                    self.wait_warmth(name, lambda known: known["measured"], "its memory is measured")
            self.assertGreater(self.warmth("often")["memory_kib"], 40 << 10)
            self.node.set("--instances-memory-mb", "150")
            for name in ("three", "four"):
                self.assertEqual(client.invoke(hogs[name]).kind, wcproto.REPLY)
            harness.wait_until(lambda: self.node.status()["warmth"]["memory_kib"] <= 150 << 10, "there is room again")
            ready = {name: self.warmth(name)["ready"] for name in hogs}
            self.assertEqual(ready["often"], 1, ready)
            self.assertLessEqual(sum(ready.values()), 3)
            gone = [name for name in hogs if not ready[name]]
            self.assertEqual({self.warmth(name)["stops"]["budget"] for name in gone}, {1})
            self.assertEqual(client.invoke(hogs[gone[0]]).kind, wcproto.REPLY)
            self.assertEqual(self.warmth(gone[0])["cold_starts"]["budget"], 1)

    def test_burst_starts_what_it_needs(self):
        """Short invocations of a function that takes long to start share instances; nobody is lost, and nobody runs twice."""
        self.names.append("py")
        function = self.node.python("py")
        self.call(function, 5, python=True)
        crowd = self.crowd()
        for number in range(20):
            self.node.cli("evict", "py")
            for i in range(100):
                crowd.send(function, "%s%d-%d" % (self.prefix, number, i), python=True)
            crowd.gather()
            if self.warmth("py")["hits"]["waited"]:
                break
        self.assertGreater(self.warmth("py")["hits"]["waited"], 0)
        self.assertEqual(set(crowd.kinds()), {"REPLY"})
        runs = [tag for tag in self.node.begun(self.prefix) if "-" in tag]
        self.assertEqual(sorted(runs), sorted(crowd.answers))
        self.check_sums("py")

    def test_takes_what_is_started_ahead(self):
        """Who comes while one is being started that nobody else waits for takes that one, also when each would get one of his own."""
        self.names.append("slow")
        function = self.node.deploy("slow", "python", "slow.handler", {"slow.py": SLOW}, timeout_ms=120000)
        self.node.set("--starts", "all")
        with self.node.client() as client:
            self.assertEqual(client.invoke(function).kind, wcproto.REPLY)  # now it is known how long a start takes
            for number in range(1, 11):
                self.node.limit("slow", provisioned=0)
                self.node.cli("evict", "slow")
                self.wait_warmth("slow", lambda known: not known["ready"] and not known["starting"], "none is left")
                before = self.warmth("slow")
                self.node.limit("slow", provisioned=1)
                self.wait_warmth("slow", lambda known: known["starting"] or known["ready"], "one is being started")
                self.assertEqual(client.invoke(function).kind, wcproto.REPLY)
                if self.warmth("slow")["hits"]["waited"]:
                    break
                self.assertEqual(sum(self.warmth("slow")["cold_starts"].values()), sum(before["cold_starts"].values()))
        known = self.check_sums("slow")
        self.assertEqual((known["hits"]["waited"], sum(known["cold_starts"].values())), (1, 1))

    def test_nobody_waits_for_ever(self):
        """Those that run take a thousand times as long as ever before: the others start instances of their own."""
        name, function = self.native()
        self.call(function, 10)
        gate, crowd = self.gate(), self.crowd()
        for i in range(4):
            crowd.send(function, "%sheld%d" % (self.prefix, i), gate)
        self.node.wait_begun(self.prefix + "held", 4)
        self.node.open(gate)
        crowd.gather()
        self.assertEqual(set(crowd.kinds()), {"REPLY"})
        self.assertEqual(self.check_sums(name)["cold_starts"]["burst"], 3)

    def test_reasons(self):
        name, function = self.native()
        cold = lambda: {k: v for k, v in self.warmth(name)["cold_starts"].items() if v}  # noqa: E731
        self.call(function)
        self.node.cli("evict", name)
        self.call(function)
        self.assertEqual(cold(), {"first": 1, "evicted": 1})
        self.node.native(name, memory_mb=129)  # with the same settings nothing would change
        self.call(function)
        self.assertEqual(cold(), {"first": 1, "evicted": 1, "replaced": 1})
        self.wait_warmth(name, lambda known: known["stops"]["replaced"] == 1, "the old one is gone, and not the one that is killed")
        self.kill_one(name)
        harness.wait_until(lambda: self.node.status()["instances"] == 0, "its end is known")
        self.call(function)
        self.assertEqual(cold(), {"first": 1, "evicted": 1, "replaced": 1, "died": 1})
        stops = {k: v for k, v in self.warmth(name)["stops"].items() if v}
        self.assertEqual(stops, {"evicted": 1, "replaced": 1, "died": 1})
        before = self.node.status()["warmth"]["stops"]["removed"]
        self.node.cli("remove", name)
        harness.wait_until(lambda: self.node.status()["warmth"]["stops"]["removed"] == before + 1, "the node goes on counting")

    def test_knobs(self):
        self.assertNotEqual(self.node.set("--keep-alive", "sometimes", check=False).returncode, 0)
        self.assertNotEqual(self.node.set("--keep-alive-ms", "0", check=False).returncode, 0)
        self.assertNotEqual(self.node.set("--starts", "some", check=False).returncode, 0)
        self.assertNotEqual(self.node.cli("warmth", "nobody", check=False).returncode, 0)
        self.node.set("--keep-alive", "percentile", "--keep-alive-bin-ms", "7", "--instances-memory-mb", "123", "--starts", "all")
        found = self.node.status()["warmth"]
        self.assertEqual([found[k] for k in ("keep_alive", "keep_alive_bin_ms", "instances_memory_mb", "starts")],
                         ["percentile", 7, 123, "all"])  # fmt: skip


class Kernel(Warmness):
    pass


class User(Warmness):
    USER = True


del Warmness

if __name__ == "__main__":
    sys.exit(harness.main())
