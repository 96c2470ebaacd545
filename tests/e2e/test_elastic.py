#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""--cores-min: idle cores are given back to the host and taken again when something waits, and nothing is lost meanwhile."""

import os
import random
import sys
import time

import gates
import harness
import wcproto

SEED = int(os.environ.get("ELASTIC_SEED", "1"))
NUMBER_MAX = 20000
SECONDS = float(os.environ.get("ELASTIC_SECONDS", "3"))


class Elastic(gates.Test):
    TAG = "ela"
    MORE = ("--cores-min", "1", "--idle-ms", "50")

    @classmethod
    def prepare(cls):
        cls.a, cls.b = cls.node.native("a"), cls.node.python("b")
        cls.cores = len(cls.cpus)

    def setUp(self):
        super().setUp()
        self.defaults()

    def defaults(self, **changed):
        self.node.defaults(**{"cores-min": "1", "idle-ms": "50", **changed})

    def wait_parked(self, count):
        def parked():
            status = self.node.status()
            states = [core["state"] for core in status["cores"]]
            return status["scheduler"]["parked_now"] == states.count("parked") == count and status

        status = harness.wait_until(parked, "%d cores are parked" % count)
        self.assertEqual(self.node.problems(), [])
        return status

    def test_idle_cores_are_parked(self):
        status = self.wait_parked(self.cores - 1)
        self.assertEqual([core["state"] for core in status["cores"]], ["free"] + ["parked"] * (self.cores - 1))
        self.assertIn("%d cores are given back" % (self.cores - 1), self.node.cli("status").stdout)
        before = status["scheduler"]["unparked"]
        # One after the other is no reason to take one back.
        with self.node.client() as client:
            for i in range(50):
                tag = b"%s%d" % (self.prefix.encode(), i)
                self.assert_reply(client.invoke(self.a, tag), tag)
        self.assertLessEqual(self.node.status()["scheduler"]["unparked"] - before, 2)

    def test_a_burst_takes_them_back(self):
        self.wait_parked(self.cores - 1)
        gate, crowd = self.gate(), self.crowd()
        for i in range(self.cores + 3):
            crowd.send(self.a, self.prefix + str(i), gate)
        # Each holds its core, so every one of them must have come back.
        self.node.wait_begun(self.prefix, self.cores)
        self.node.wait_pending(3)
        self.assertEqual(self.wait_parked(0)["scheduler"]["parked_now"], 0)
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)
        self.assertEqual({answer.core for answer in crowd.answers.values()}, set(range(self.cores)))
        self.wait_parked(self.cores - 1)

    def test_a_large_burst(self):
        self.wait_parked(self.cores - 1)
        crowd = self.crowd(8)
        for i in range(600):
            crowd.send(self.b if i % 8 == 0 else self.a, self.prefix + str(i), "=2" if i % 4 == 0 else "", i % 8 == 0)
        crowd.gather()
        self.check_crowd(crowd)
        self.assertGreater(len({answer.core for answer in crowd.answers.values()}), 1)
        self.wait_parked(self.cores - 1)

    def test_knobs(self):
        self.wait_parked(self.cores - 1)
        self.node.set("--cores-min", "3")
        self.wait_parked(self.cores - 3)
        self.node.set("--cores-min", "0")
        self.wait_parked(0)
        self.node.set("--cores-min", "2")
        self.wait_parked(self.cores - 2)
        # A policy that binds to any core needs them all.
        self.node.set("--policy", "random")
        self.wait_parked(0)
        crowd = self.crowd()
        for i in range(200):
            crowd.send(self.a, self.prefix + str(i))
        crowd.gather()
        self.check_crowd(crowd)
        self.node.set("--policy", "central")
        self.wait_parked(self.cores - 2)
        done = self.node.set("--cores-min", str(self.cores + 1), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("fewer worker cores", done.stderr)

    def test_early_policy_while_parked(self):
        """Packets that were bound to a parked core are served at once, before it comes back and after."""
        for policy in ("random", "ll_ps", "hash"):
            with self.subTest(policy=policy):
                self.defaults()
                self.wait_parked(self.cores - 1)
                crowd = self.crowd()
                self.node.set("--policy", policy)
                for i in range(100):
                    crowd.send(self.a, "%s%s%d" % (self.prefix, policy, i))
                crowd.gather()
                self.assertEqual(crowd.kinds(), {"REPLY": 100})
                self.wait_parked(0)

    def test_reserves_stay(self):
        self.node.limit("b", reserved=2)
        status = self.wait_parked(self.cores - 3)
        self.assertEqual([core["state"] for core in status["cores"] if core.get("reserved_for") == "b"], ["free"] * 2)
        gate, crowd = self.gate(), self.crowd()
        for i in range(self.cores):
            crowd.send(self.a, self.prefix + str(i), gate)
        self.node.wait_begun(self.prefix, self.cores - 2)
        self.node.wait_pending(2)
        crowd.send(self.b, self.prefix + "b", python=True)
        self.assertEqual(crowd.wait_for(self.prefix + "b")[0].kind, wcproto.REPLY)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)
        self.node.limit("b", reserved=0)
        self.wait_parked(self.cores - 1)

    def test_reserving_parked_cores(self):
        """The reserve is taken from the highest numbers, which are parked: its function gets them all the same."""
        self.wait_parked(self.cores - 1)
        self.node.limit("b", reserved=2)
        gate, crowd = self.gate(), self.crowd()
        for i in range(2):
            crowd.send(self.a, self.prefix + "a%d" % i, gate)
        for i in range(2):
            crowd.send(self.b, self.prefix + "b%d" % i, gate, python=True)
        self.node.wait_begun(self.prefix, 4)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)
        self.node.limit("b", reserved=0)
        self.wait_parked(self.cores - 1)

    def test_random_load(self):
        """Pauses about as long as it takes to park: packets meet cores that are just going, or just coming."""
        chance = random.Random(SEED)
        crowd, number, end = self.crowd(8), 0, time.monotonic() + SECONDS
        before = self.node.status()["scheduler"]
        self.node.set("--idle-ms", "10")

        def both_ways():  # on a slow machine not in the usual time
            now = self.node.status()["scheduler"]
            return all(now[name] > before[name] for name in ("parked", "unparked"))

        with self.subTest(seed=SEED):
            while time.monotonic() < end or (number < NUMBER_MAX and not both_ways()):
                for _ in range(chance.choice((1, 2, 5, 40))):
                    python = not number % 10
                    crowd.send(self.b if python else self.a, self.prefix + str(number), chance.choice(("", "", "=1")), python)
                    number += 1
                wait = time.monotonic() + chance.choice((0.0, 0.005, 0.02, 0.06))
                while time.monotonic() < wait or crowd.under_way() > 200:
                    crowd.receive(0.002)
            crowd.gather()
            self.check_crowd(crowd)
        after = self.node.status()
        self.assertGreater(after["scheduler"]["parked"], before["parked"])
        self.assertGreater(after["scheduler"]["unparked"], before["unparked"])
        self.assertEqual((after["agents"]["claims_lost"], after["agents"]["pending_lost"]), (0, 0))
        print("%d invocations, %d times parked" % (number, after["scheduler"]["parked"] - before["parked"]), file=sys.stderr)
        self.wait_parked(self.cores - 1)

    def test_restarts_while_parked(self):
        for stop in (self.node.kill9, self.node.down):
            self.wait_parked(self.cores - 1)
            stop()
            self.node.up()
            gate, crowd = self.gate(), self.crowd()
            for i in range(self.cores):
                crowd.send(self.a, "%s%s%d" % (self.prefix, stop.__name__, i), gate)
            self.node.wait_begun(self.prefix + stop.__name__, self.cores)
            self.node.open(gate)
            crowd.gather()
            self.check_crowd_part(crowd)
        self.wait_parked(self.cores - 1)

    def check_crowd_part(self, crowd):
        self.assertEqual(set(crowd.kinds()), {"REPLY"}, crowd.kinds())


class Kernel(Elastic):
    pass


class User(Elastic):
    USER = True


del Elastic

if __name__ == "__main__":
    sys.exit(harness.main())
