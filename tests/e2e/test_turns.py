#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A core that runs an invocation begins another one: after its turn (--quantum-us), or while it sleeps (--lend)."""

import time

import gates
import harness

LANES = 15  # invocations that a core runs at once, at most


class Turns(gates.Test):
    TAG = "turn"
    IN_VM = True

    @classmethod
    def options(cls):
        options = super().options()
        cls.cpus = cls.cpus[:1]  # one core, so that it is known who waits for whom
        return ("--cores", str(cls.cpus[0]), *options[2:])

    @classmethod
    def prepare(cls):
        cls.function = cls.node.native("held")

    def setUp(self):
        super().setUp()
        self.node.defaults()

    def hold(self, crowd, tag, gate):
        crowd.send(self.function, self.prefix + tag, gate)
        self.node.wait_begun(self.prefix + tag, 1)

    def test_without_turns_it_has_the_core_to_its_end(self):
        crowd, gate = self.crowd(), self.gate()
        self.hold(crowd, "long", gate)
        crowd.send(self.function, self.prefix + "short")
        self.node.wait_pending(1)
        self.assertTrue(crowd.silent(0.5))
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)
        self.assertEqual(self.node.overlap(self.prefix), 1)

    def test_after_its_turn_another_one_begins(self):
        self.node.set("--quantum-us", "2000")
        crowd, gate = self.crowd(), self.gate()
        self.hold(crowd, "long", gate)
        crowd.send(self.function, self.prefix + "short")
        crowd.wait_for(self.prefix + "short")  # while the long one is held
        self.assertEqual(self.node.status()["cores"][0]["state"], "running")
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)

    def test_no_more_than_there_are_lanes(self):
        self.node.set("--quantum-us", "500")
        crowd, gate = self.crowd(), self.gate()
        for i in range(LANES + 5):
            crowd.send(self.function, self.prefix + str(i), gate)
        self.node.wait_begun(self.prefix, LANES)
        self.node.wait_pending(5)
        self.assertTrue(crowd.silent(0.3))
        self.assertEqual(len(self.node.begun(self.prefix)), LANES)
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)

    def test_turns_end_while_several_run(self):
        self.node.set("--quantum-us", "500")
        crowd, gate = self.crowd(), self.gate()
        for i in range(4):
            self.hold(crowd, str(i), gate)
        self.node.set("--quantum-us", "0")
        crowd.send(self.function, self.prefix + "late")
        self.node.wait_pending(1)
        self.assertTrue(crowd.silent(0.3))
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)

    def test_many_short_ones_and_knobs_that_change(self):
        crowd = self.crowd()
        for i in range(300):
            if i % 50 == 0:
                self.node.set("--quantum-us", str(i % 100 * 4))
            crowd.send(self.function, self.prefix + str(i), "=%d" % (i % 3))
        crowd.gather()
        self.check_crowd(crowd)

    def test_a_core_is_lent_while_its_invocation_sleeps(self):
        if not self.node.status()["placement"]["active"]:
            self.skipTest("who sleeps is known with sched_ext only")
        self.node.set("--lend", "on")
        crowd, gate = self.crowd(), self.gate()
        self.hold(crowd, "long", gate)
        crowd.send(self.function, self.prefix + "short")
        crowd.wait_for(self.prefix + "short")
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)


class TurnsUser(Turns):
    USER = True
    SHORT = ("test_a_core_is_lent_while_its_invocation_sleeps",)


if __name__ == "__main__":
    harness.main()
