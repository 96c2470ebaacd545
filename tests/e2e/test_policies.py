#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every policy: nothing lost, nothing run twice, and the cores are those that the policy says. Also while it is changed."""

import collections
import os
import random
import sys
import time
import unittest

import gates
import harness
import wcproto

SEED = int(os.environ.get("POLICIES_SEED", "1"))
LATE, RUN, SHARE = ("central",), ("central", "jsq2", "random", "hash", "rss"), ("ll_ps", "pack")
EARLY = RUN[1:] + SHARE
LANES = 15  # invocations that a core runs at once, at most
WAVES, WAVE = 2, 200  # no more at once than one core's queue takes


def mix(h):
    """bpf/mix.h"""
    mask = (1 << 64) - 1
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * factor & mask
    return h ^ h >> 33


class Policies(gates.Test):
    TAG = "pol"

    @classmethod
    def setUpClass(cls):
        # `rss` is about the CPU that receives: let it be one with a core, however many CPUs there are.
        all_cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(all_cpus)[:2])
        cls.addClassCleanup(os.sched_setaffinity, 0, all_cpus)
        super().setUpClass()

    @classmethod
    def prepare(cls):
        cls.a, cls.b = cls.node.native("a"), cls.node.python("b")
        cls.cores = len(cls.cpus)
        cls.lowest = {cls.cpus.index(cpu) for cpu in cls.cpus}  # of each CPU

    def hold(self, crowd, count, gate, function=None):
        """Invocations that wait for the gate."""
        tags = [self.prefix + "%s-%d" % (gate, len(crowd.again) + i) for i in range(count)]
        for tag in tags:
            crowd.send(function or self.a, tag, gate)
        return tags

    def check_burst(self, policy):
        self.node.defaults(policy=policy, **{"core-queue": "224"})
        before = self.node.status()
        prefix = self.prefix + policy + "-"
        with gates.Crowd(self.node, sockets=8) as crowd:
            for i in range(WAVES * WAVE):
                # Each invocation that shares a core needs an instance of its own, and Python's are dear.
                python = not i % (10 if policy in SHARE else 2)
                crowd.send(self.b if python else self.a, prefix + "%d-%d" % (python, i), python=python)
                if i % WAVE == WAVE - 1:
                    crowd.gather()
        self.assertEqual(crowd.kinds(), {"REPLY": WAVES * WAVE})
        begun = self.node.begun(prefix)
        self.assertEqual((len(begun), set(begun)), (WAVES * WAVE, set(crowd.answers)))
        self.node.wait_idle()
        status = self.node.check_counters()

        def grown(group, name):
            return status[group][name] - before[group][name]

        self.assertEqual(grown("counters", "to_core") + grown("counters", "to_pending"), WAVES * WAVE)
        self.assertEqual(grown("agents", "invocations"), WAVES * WAVE)
        for name in ("claims_lost", "pending_lost", "errors", "replies_failed"):
            self.assertEqual(grown("agents", name), 0, name)
        if policy in EARLY:
            self.assertEqual(grown("counters", "to_pending"), 0)
        if policy in RUN:
            place = {tag: answer.core for tag, answer in crowd.answers.items()}
            self.assertEqual(self.node.overlap(prefix, place.get), 1, "two at once on one core")
        used = {p: {a.core for tag, a in crowd.answers.items() if tag.startswith(prefix + p)} for p in "01"}
        if policy == "hash":
            self.assertEqual(used, {"0": {mix(self.a) % self.cores}, "1": {mix(self.b) % self.cores}})
        elif policy == "rss":
            self.assertLessEqual(used["0"] | used["1"], self.lowest)
        elif policy in ("random", "jsq2"):
            for cores in used.values():
                self.assertGreater(len(cores), self.cores // 2, "of 200 that chose at random")

    def test_bursts(self):
        for policy in LATE + EARLY:
            with self.subTest(policy=policy):
                self.check_burst(policy)

    def test_central_takes_every_core_then_queues(self):
        self.node.defaults()
        gate, crowd = self.gate(), self.crowd()
        tags = self.hold(crowd, self.cores, gate)
        self.node.wait_begun(self.prefix, self.cores)
        late = self.hold(crowd, 3, gate)
        self.node.wait_pending(3)
        self.assertEqual(len(self.node.begun(self.prefix)), self.cores)
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)
        self.assertEqual({crowd.answers[tag].core for tag in tags}, set(range(self.cores)))
        self.assertTrue(all(crowd.answers[tag].flags & wcproto.PENDED for tag in late))
        self.assertFalse(any(crowd.answers[tag].flags & wcproto.PENDED for tag in tags))

    def test_pack_fills_the_lowest(self):
        self.node.defaults(policy="pack", **{"pack-slots": "3"})
        gate, crowd = self.gate(), self.crowd(1)
        tags = self.hold(crowd, 7, gate)
        self.node.wait_begun(self.prefix, 7)
        queued = [core["queued"] for core in self.node.status()["cores"]]
        self.assertEqual(queued, [3, 3, 1] + [0] * (self.cores - 3))
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)
        self.assertEqual([crowd.answers[tag].core for tag in tags], [0, 0, 0, 1, 1, 1, 2])

    def test_ll_ps_takes_the_least_loaded(self):
        self.node.defaults(policy="ll_ps")
        gate, crowd = self.gate(), self.crowd(1)
        self.hold(crowd, 2 * self.cores, gate)
        self.node.wait_begun(self.prefix, 2 * self.cores)
        self.assertEqual([core["queued"] for core in self.node.status()["cores"]], [2] * self.cores)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)

    def test_jsq2_evens_out(self):
        """Two above the mean of 8, or three; with cores at random the fullest one would mostly have 12 and more."""
        self.node.defaults(policy="jsq2")
        gate, crowd = self.gate(), self.crowd(1)
        self.hold(crowd, 8 * self.cores, gate)
        harness.wait_until(lambda: sum(c["queued"] for c in self.node.status()["cores"]) == 8 * self.cores, "all bound")
        queued = [core["queued"] for core in self.node.status()["cores"]]
        self.assertLess(max(queued), 12, queued)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)

    def test_early_policies_queue_behind(self):
        """Run to completion: what is bound to a taken core waits there, although all others are free. In order."""
        self.node.defaults(policy="hash")
        gate, crowd = self.gate(), self.crowd(1)
        tags = self.hold(crowd, 5, gate)
        harness.wait_until(lambda: max(c["queued"] for c in self.node.status()["cores"]) == 5, "all are bound")
        status = self.node.status()
        self.assertEqual((len(self.node.begun(self.prefix)), status["pending"]["now"]), (1, 0))
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)
        self.assertEqual(self.node.begun(self.prefix), tags)

    def test_core_queue_full(self):
        for policy in ("hash", "ll_ps", "random"):
            with self.subTest(policy=policy):
                self.node.defaults(policy=policy, **{"core-queue": "2"})
                room = 2 * (1 if policy == "hash" else self.cores)
                gate, crowd = self.gate(), self.crowd(1)
                self.hold(crowd, 8 * room if policy == "random" else room + 5, gate)
                busy = len(crowd.again) - room
                if policy == "random":
                    harness.wait_until(lambda: crowd.receive(0.1) == 0 and crowd.answers, "some have been refused")
                else:
                    crowd.gather(left=room)
                self.assertEqual(set(crowd.kinds()), {"PENDING_FULL"})
                for answer in crowd.answers.values():
                    self.assertEqual((answer.kind, answer.payload), (wcproto.BUSY, b""))
                    self.assertGreater(answer.tail[0], 0)
                self.assertLessEqual(max(c["queued"] for c in self.node.status()["cores"]), 2)
                refused = set(crowd.answers)
                self.node.open(gate)
                crowd.gather()
                if policy != "random":
                    self.assertEqual(crowd.kinds(), {"PENDING_FULL": busy, "REPLY": room})
                self.assertEqual(refused & set(self.node.begun(self.prefix)), set(), "run, although refused")
                for tag in sorted(refused)[:2]:  # a refused one may come again with its id
                    del crowd.answers[tag]
                    crowd.again[tag]()
                crowd.gather()
                self.assertEqual([crowd.answers[tag].kind for tag in sorted(refused)[:2]], [wcproto.REPLY] * 2)

    def test_switching_under_load(self):
        """In the middle of a load, in a random order, with every kind of service and binding."""
        chance = random.Random(SEED)
        crowd = self.crowd(8)
        self.node.defaults()
        switches = [policy for policy in LATE + EARLY for _ in range(4)]
        chance.shuffle(switches)
        with self.subTest(seed=SEED):
            number = 0
            for policy in switches:
                for _ in range(3):
                    while crowd.under_way() < 40:
                        python = not number % 16
                        gate = chance.choice(("", "", "", "=1", "=3"))
                        crowd.send(self.b if python else self.a, self.prefix + str(number), gate, python)
                        number += 1
                    crowd.receive(chance.choice((0.0, 0.002, 0.01)))
                self.node.set("--policy", policy, "--order", chance.choice(("local", "pack", "spread")),
                              "--move", chance.choice(("on", "off")))  # fmt: skip
            crowd.gather()
            self.check_crowd(crowd)
            self.node.wait_idle()
            status = self.node.check_counters()
            self.assertEqual((status["agents"]["claims_lost"], status["agents"]["pending_lost"]), (0, 0))
            print("%d invocations during %d switches" % (number, len(switches)), file=sys.stderr)

    def test_switch_with_work_in_every_queue(self):
        """What was decided before is finished as it was decided: pending, bound, and in lanes."""
        gate, crowd = self.gate(), self.crowd()
        self.node.defaults()
        self.hold(crowd, self.cores + 4, gate)  # four are pending
        self.node.wait_pending(4)
        self.node.set("--policy", "hash")
        self.hold(crowd, 3, gate)  # bound to a core that is taken
        harness.wait_until(lambda: sum(c["queued"] for c in self.node.status()["cores"]) == 3, "three are bound")
        self.node.set("--policy", "ll_ps")
        self.hold(crowd, 5, gate)
        harness.wait_until(lambda: sum(c["queued"] for c in self.node.status()["cores"]) == 8, "five more are bound")
        self.node.set("--policy", "central")
        self.hold(crowd, 2, gate)
        self.node.wait_pending(6)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)


class Kernel(Policies):
    def test_rss_is_the_receiving_cpu(self):
        """A packet of the own host arrives on the CPU that sent it."""
        self.node.defaults(policy="rss")
        for core in sorted(self.lowest):
            allowed = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {self.cpus[core]})
            try:
                with self.node.client() as client:
                    tags = [b"%s%d-%d" % (self.prefix.encode(), core, i) for i in range(40)]
                    cores = collections.Counter(client.invoke(self.a, tag).core for tag in tags)
            finally:
                os.sched_setaffinity(0, allowed)
            self.assertGreater(cores[core], 35, cores)


class User(Policies):
    USER = True


class Cold(unittest.TestCase):
    """A node on which nothing is warm: which core is taken then; and warmth by library set and by runtime."""

    def setUp(self):
        text, self.cpus = gates.cores(4)
        self.cores = len(self.cpus)
        self.node = gates.Node("cold", "--cores", text)
        self.addCleanup(self.node.close)
        self.node.up()

    def claims(self):
        counters = self.node.status()["counters"]
        return {name: counters["claim_" + name] for name in ("warm", "libs", "runtime")}

    def test_orders(self):
        """The function exits, so that no core becomes warm: the lowest, each in turn, or that of the receiving CPU."""
        function = self.node.deploy_native(event="binary", timeout_ms=120000)
        allowed = os.sched_getaffinity(0)

        for order in ("pack", "spread", "local"):
            self.node.set("--order", order)
            core = max(self.cpus.index(cpu) for cpu in self.cpus)  # the lowest one of the other CPU
            os.sched_setaffinity(0, {self.cpus[core]} if order == "local" else allowed)
            try:
                with self.node.client() as client:
                    answers = []
                    for _ in range(2 * self.cores):
                        answers.append(client.invoke(function, b"x"))
                        # The order is about free cores, so none may be busy with the end of the one before.
                        harness.wait_until(self.node.all_free, "every core is free")
            finally:
                os.sched_setaffinity(0, allowed)
            self.assertEqual({wcproto.CODES[answer.code] for answer in answers}, {"EXIT"})
            cores = [answer.core for answer in answers]
            if order == "spread":
                self.assertEqual(cores, [(cores[0] + i) % self.cores for i in range(2 * self.cores)])
            else:
                self.assertEqual(cores, [core if order == "local" else 0] * (2 * self.cores))
        self.assertEqual(self.claims(), {"warm": 0, "libs": 0, "runtime": 0})
        self.node.wait_idle()
        self.node.check_counters()

    def test_libraries(self):
        """A function that was never run goes where its library set is loaded, else where its runtime is."""
        self.node.set("--order", "spread")
        one = self.node.python("one", libraries=["numpy", "scipy"])
        two = self.node.python("two", libraries=["scipy", "numpy"])
        three = self.node.python("three", libraries=["numpy"])
        other = self.node.native("other")
        gate = self.node.new_gate()
        with gates.Crowd(self.node, sockets=1) as crowd:
            crowd.send(other, "first", gate)
            self.node.wait_begun("first", 1)
            crowd.send(one, "one", python=True)
            home = crowd.wait_for("one")[0].core
            self.assertEqual(self.claims(), {"warm": 0, "libs": 0, "runtime": 0})
            tags = {tag["tag"]: tag["cores"] for tag in self.node.status()["tags"]}
            self.assertEqual(tags, {"python": 1, "python+numpy,scipy": 1, "python+numpy": 0, "native": 0})
            crowd.send(two, "two", python=True)
            self.assertEqual(crowd.wait_for("two")[0].core, home)
            self.assertEqual(self.claims(), {"warm": 0, "libs": 1, "runtime": 0})
            crowd.send(three, "three", python=True)
            self.assertEqual(crowd.wait_for("three")[0].core, home)
            self.assertEqual(self.claims(), {"warm": 0, "libs": 1, "runtime": 1})
            crowd.send(one, "four", python=True)
            self.assertEqual(crowd.wait_for("four")[0].core, home)
            self.assertEqual(self.claims(), {"warm": 1, "libs": 1, "runtime": 1})
            self.node.open(gate)
            crowd.gather()
        for name in ("one", "two", "three"):
            self.node.cli("remove", name)
        self.assertEqual([tag["tag"] for tag in self.node.status()["tags"]], ["native"])
        self.node.wait_idle()


class OneCore:
    """One core, and what shares it."""

    USER = False

    def setUp(self):
        cpu = str(min(os.sched_getaffinity(0)))
        datapath = ("--datapath", "user", "--port", harness.free_port()) if self.USER else ()
        self.options = ("--cores", cpu, "--policy", self.POLICY, *datapath)
        self.node = gates.Node("one" + self.POLICY[0], *self.options)
        self.addCleanup(self.node.close)
        self.node.up()
        self.a, self.b = self.node.native("a"), self.node.python("b")
        self.gate = self.node.new_gate()
        self.addCleanup(self.node.open, self.gate)

    def test_sleepers_overlap(self):
        """As many as there are lanes, natives and Pythons; the rest wait in order, and the core stays sound."""
        with gates.Crowd(self.node, sockets=1) as crowd:
            for i in range(LANES + 5):
                crowd.send(self.b if i < 3 else self.a, "n%02d" % i, self.gate, python=i < 3)
            self.node.wait_begun("n", LANES)
            core = self.node.status()["cores"][0]
            self.assertEqual((core["queued"], core["state"]), (LANES + 5, "running"))
            self.assertEqual(self.node.problems(), [])
            self.node.open(self.gate)
            crowd.gather()
            self.assertEqual(crowd.kinds(), {"REPLY": LANES + 5})
            self.assertEqual(self.node.overlap(), LANES)
            self.assertEqual(set(self.node.begun()[:LANES]), {"n%02d" % i for i in range(LANES)})
            # A short one overtakes a long one: that is what sharing is for.
            gate = self.node.new_gate()
            self.addCleanup(self.node.open, gate)
            crowd.send(self.b, "long", gate, python=True)
            self.node.wait_begun("long", 1)
            crowd.send(self.a, "short")
            crowd.wait_for("short")
            self.assertNotIn("long", crowd.answers)
            self.node.open(gate)
            crowd.gather()
        self.node.wait_idle()
        status = self.node.check_counters()
        self.assertEqual(status["agents"]["invocations"], LANES + 7)
        self.node.down()
        self.node.check_nothing_left()

    def test_large_replies_of_lanes(self):
        """Replies that leave by the socket, and frames that lanes share: all whole, each to its client."""
        probe, echo = self.node.deploy_python(timeout_ms=60000), self.node.deploy_native(event="binary", timeout_ms=60000)
        client = self.node.client()
        self.addCleanup(client.close)
        wanted = {}
        for i in range(60):
            if i % 10:
                body = b"%d-" % i * (i * 4)
                number = client.fresh_id()
                wanted[number] = body
                client.send(number, echo, b"e" + body)
            else:
                number = client.fresh_id()
                wanted[number] = b'"%s"' % (b"x" * (1000 * i))
                client.send(number, probe, b'{"do":"huge","bytes":%d}' % (1000 * i))
        while wanted:
            answer = client.receive(harness.PATIENCE_S)
            self.assertIsNotNone(answer, "%d answers are missing" % len(wanted))
            self.assertEqual(answer.kind, wcproto.REPLY, answer)
            self.assertEqual(answer.payload, wanted.pop(answer.request_id))
        self.node.wait_idle()
        self.node.check_counters()


class OneCoreKernel(OneCore):
    def test_kill9(self):
        """Everybody whose invocation ran on the shared core is told; who still waited may send again, and is run once."""
        with gates.Crowd(self.node, sockets=4) as crowd:
            for i in range(LANES + 3):
                crowd.send(self.b if i < 2 else self.a, "k%02d" % i, self.gate, python=i < 2)
            self.node.wait_begun("k", LANES)
            running = set(self.node.begun("k"))
            self.node.kill9()
            harness.wait_until(lambda: not self.node.instance_pids(), "instances die with the daemon")
            self.node.up()
            crowd.gather(left=3)
            self.assertEqual(crowd.kinds(), {"RESTARTED": LANES})
            self.assertEqual(set(crowd.answers), running)
            self.assertEqual({answer.core for answer in crowd.answers.values()}, {0})
            told = dict(crowd.answers)
            self.node.open(self.gate)
            for tag in sorted(crowd.again):
                crowd.again[tag]()
            crowd.gather()
            self.assertEqual(crowd.kinds(), {"RESTARTED": LANES, "REPLY": 3})
            self.assertTrue(crowd.silent(), "more than one answer")
            self.assertEqual({tag: crowd.answers[tag] for tag in told}, told)
        self.assertEqual(sorted(self.node.begun("k")), sorted(crowd.again), "each is run once")
        self.node.wait_idle()
        self.node.down()
        self.node.check_nothing_left()

    def test_down_with_a_shared_core(self):
        """Functions that do not end are killed; every client gets an answer."""
        with gates.Crowd(self.node) as crowd:
            for i in range(5):
                crowd.send(self.a, "d%d" % i, self.gate)
            self.node.wait_begun("d", 5)
            self.node.down()
            crowd.gather()
            self.assertEqual(crowd.kinds(), {"CRASH": 5})
        self.node.check_nothing_left()


class LlPsKernel(OneCoreKernel, unittest.TestCase):
    POLICY = "ll_ps"


class PackKernel(OneCore, unittest.TestCase):
    POLICY = "pack"


class LlPsUser(OneCore, unittest.TestCase):
    POLICY, USER = "ll_ps", True


del Policies

if __name__ == "__main__":
    sys.exit(harness.main())
