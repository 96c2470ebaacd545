#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Limits of a function: how many run, how many wait, whose cores, who is next; deadlines and fairness in the pending queue.

What runs is held at gates (gates.py), so that who waits, and for what, is certain.
"""

import json
import os
import sys
import time

import gates
import harness
import wcproto

NONE = {"concurrency": 0, "reserved": 0, "queue": 0, "priority": 3}


class Functions(gates.Test):
    """Four cores, and two functions without limits."""

    TIMES = 2

    @classmethod
    def prepare(cls):
        cls.a, cls.b = cls.node.native("a"), cls.node.native("b")

    def setUp(self):
        super().setUp()
        self.node.defaults()
        for name in ("a", "b"):
            self.node.limit(name, **NONE)
        self.wait_reserved()

    def wait_reserved(self, **wanted):
        """Reservations are granted by the central scheduler, at its next tick."""
        def granted():
            owners = [core.get("reserved_for") for core in self.node.status()["cores"]]
            return {name: owners.count(name) for name in set(owners) - {None}} == wanted

        harness.wait_until(granted, "reserved are %s" % wanted)

    def tags(self, crowd, name, count, gate="", **fields):
        """Send so many of a function; their tags."""
        tags = ["%s%s%d" % (self.prefix, name, len(crowd.again) + i) for i in range(count)]
        for tag in tags:
            crowd.send(getattr(self, name), tag, gate, **fields)
        return tags

    def begun(self, name):
        return self.node.begun(self.prefix + name)

    def limits(self, name):
        found = [f for f in self.node.json("list")["functions"] if f["name"] == name][0]
        return {key: found[key] for key in NONE}


class Limits(Functions):
    TAG = "lim"

    # --- concurrency

    def test_concurrency(self):
        before = self.node.status()["counters"]["held_back"]
        self.node.limit("a", concurrency=2)
        gate, crowd = self.gate(), self.crowd()
        self.tags(crowd, "a", 10, gate)
        self.node.wait_pending(8)
        self.node.wait_begun(self.prefix + "a", 2)
        status = self.node.status()
        self.assertEqual(status["counters"]["held_back"] - before, 8)
        self.assertEqual(sum(shard["free"] for shard in status["shards"]), 2)
        self.assertEqual(self.node.problems(), [])
        # Others run meanwhile, on the cores that are free.
        for tag in [self.tags(crowd, "b", 1)[0] for _ in range(20)]:
            self.assertEqual(crowd.wait_for(tag)[0].kind, wcproto.REPLY)
        self.assertEqual(len(self.begun("a")), 2)
        # More are allowed: they begin, although nothing has ended.
        self.node.limit("a", concurrency=3)
        self.node.wait_begun(self.prefix + "a", 3)
        self.node.wait_pending(7)
        self.node.limit("a", concurrency=0)
        self.node.wait_begun(self.prefix + "a", 4)
        self.node.wait_pending(6)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)

    def test_concurrency_in_a_burst(self):
        self.node.limit("a", concurrency=2)
        crowd = self.crowd(8)
        for _ in range(200):
            self.tags(crowd, "a", 1)
            self.tags(crowd, "b", 1)
        crowd.gather()
        self.check_crowd(crowd)
        self.assertLessEqual(self.node.overlap(self.prefix + "a"), 2)

    def test_lowered_while_more_run(self):
        """What runs is finished, and nothing new begins before it is below the limit."""
        self.node.limit("a", concurrency=4)
        first, second, crowd = self.gate(), self.gate(), self.crowd()
        self.tags(crowd, "a", 3, first)
        self.node.wait_begun(self.prefix, 3)
        self.node.limit("a", concurrency=1)
        more = self.tags(crowd, "a", 3, second)
        self.node.wait_pending(3)
        self.node.open(first)
        self.node.wait_begun(self.prefix, 4)
        harness.wait_until(lambda: crowd.receive(0.1) or len(crowd.answers) == 3, "the first three have ended")
        self.node.wait_pending(2)
        self.assertEqual(self.begun("a")[3:], more[:1])
        self.node.open(second)
        crowd.gather()
        self.check_crowd(crowd)
        spans = [span for span in self.node.spans(self.prefix) if span[1] in more]
        self.assertEqual([what for what, _ in spans], ["B", "E"] * 3)

    def test_concurrency_with_early_binding(self):
        """There is no queue where it could wait: BUSY."""
        self.node.defaults(policy="jsq2")
        self.node.limit("a", concurrency=1)
        gate, crowd = self.gate(), self.crowd()
        first = self.tags(crowd, "a", 1, gate)
        self.node.wait_begun(self.prefix, 1)
        second = self.tags(crowd, "a", 1, gate)
        answer = crowd.wait_for(*second)[0]
        self.assertEqual((answer.kind, wcproto.CODES[answer.code]), (wcproto.BUSY, "FUNCTION_LIMIT"))
        self.assertGreater(answer.tail[0], 0)
        self.node.open(gate)
        self.assertEqual(crowd.wait_for(*first)[0].kind, wcproto.REPLY)
        del crowd.answers[second[0]]
        crowd.again[second[0]]()
        self.assertEqual(crowd.wait_for(*second)[0].kind, wcproto.REPLY)

    # --- queue

    def test_queue(self):
        before = self.node.status()["counters"]["busy_function"]
        self.node.limit("a", concurrency=1, queue=3)
        gate, crowd = self.gate(), self.crowd()
        tags = self.tags(crowd, "a", 9, gate)
        crowd.gather(left=4)
        self.assertEqual(crowd.kinds(), {"FUNCTION_LIMIT": 5})
        for answer in crowd.answers.values():
            self.assertEqual((answer.kind, answer.payload), (wcproto.BUSY, b""))
            self.assertGreater(answer.tail[0], 0, "when to try again")
        self.assertEqual(self.node.status()["counters"]["busy_function"] - before, 5)
        self.assertEqual(self.node.problems(), [])
        # The other function's invocations may wait as before.
        blocked = self.tags(crowd, "b", 8, gate)
        self.node.wait_pending(3 + 5)
        self.node.open(gate)
        crowd.gather()
        self.assertEqual(crowd.kinds(), {"FUNCTION_LIMIT": 5, "REPLY": 12})
        self.assertEqual({crowd.answers[tag].kind for tag in blocked}, {wcproto.REPLY})
        self.assertEqual(set(self.begun("a")), {tag for tag in tags if crowd.answers[tag].kind == wcproto.REPLY})
        # With the same ids, again: they were not run, so they may be.
        for tag in tags:
            if crowd.answers[tag].kind == wcproto.BUSY:
                del crowd.answers[tag]
                crowd.again[tag]()
                crowd.wait_for(tag)
        self.check_crowd(crowd)

    def test_queue_in_motion(self):
        """Who leaves the queue makes room for another, also when it never becomes empty."""
        self.node.limit("a", concurrency=1, queue=3)
        gates_, crowd = [self.gate() for _ in range(20)], self.crowd(1)
        for i, gate in enumerate(gates_):
            self.tags(crowd, "a", 1, gate)
            if i < 2:
                continue  # from now on one runs, and two wait
            self.node.wait_pending(2)
            self.node.open(gates_[i - 2])
            self.node.wait_begun(self.prefix, i)
        for gate in gates_:
            self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)

    # --- reservations

    def test_reserved(self):
        self.node.limit("b", reserved=1)
        self.wait_reserved(b=1)
        reserved = [core["core"] for core in self.node.status()["cores"] if core.get("reserved_for") == "b"]
        gate, crowd = self.gate(), self.crowd()
        self.tags(crowd, "a", 5, gate)
        self.node.wait_pending(2)
        self.node.wait_begun(self.prefix + "a", 3)
        status = self.node.status()
        self.assertEqual([core["core"] for core in status["cores"] if core["state"] == "free"], reserved)
        self.assertEqual(self.node.problems(), [])
        # The rest is busy: its function uses it, at once, before those who wait.
        for _ in range(5):
            tag = self.tags(crowd, "b", 1)[0]
            self.assertEqual(crowd.wait_for(tag)[0].core, reserved[0])
        self.assertEqual(len(self.begun("a")), 3)
        # Two of b: one runs there, the other one waits, until the reserved core is free again.
        other = self.gate()
        held = self.tags(crowd, "b", 2, other)
        self.node.wait_pending(3)
        self.node.wait_begun(held[0], 1)
        self.node.open(other)
        self.assertEqual([answer.core for answer in crowd.wait_for(*held)], reserved * 2)
        self.assertEqual(len(self.begun("a")), 3)
        # Given back: those who wait get it.
        self.node.limit("b", reserved=0)
        self.node.wait_begun(self.prefix + "a", 4)
        self.wait_reserved()
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)

    def test_reserved_in_a_burst(self):
        """The reserved core serves nobody else, and its function also uses the others."""
        self.node.limit("b", reserved=2)
        self.wait_reserved(b=2)
        reserved = {core["core"] for core in self.node.status()["cores"] if core.get("reserved_for") == "b"}
        crowd = self.crowd(8)
        for i in range(200):
            self.tags(crowd, "a", 1, "=1" if i % 8 == 0 else "")
            self.tags(crowd, "b", 1, "=1" if i % 8 == 1 else "")
        crowd.gather()
        self.check_crowd(crowd)
        cores = {name: {crowd.answers[tag].core for tag in self.begun(name)} for name in "ab"}
        self.assertEqual(cores["a"] & reserved, set())
        self.assertTrue(cores["b"] & reserved)
        self.node.limit("b", reserved=0)
        self.wait_reserved()

    def test_reservations_that_cannot_be(self):
        for name, limits, text in (("a", {"reserved": 4}, "4 cores would be reserved"),
                                   ("a", {"reserved": 3, "concurrency": 2}, "more than"),
                                   ("nix", {"reserved": 1}, "no function named nix")):  # fmt: skip
            done = self.node.limit(name, check=False, **limits)
            self.assertEqual(done.returncode, 1)
            self.assertIn(text, done.stderr)
        self.assertEqual(self.limits("a"), NONE)
        self.node.limit("a", reserved=2)
        done = self.node.limit("b", check=False, reserved=2)
        self.assertEqual(done.returncode, 1)
        self.assertIn("one must stay free", done.stderr)
        self.node.limit("b", reserved=1)
        self.wait_reserved(a=2, b=1)
        # A policy that binds to any core would ignore them.
        done = self.node.set("--policy", "random", "--order", "spread", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("reserved", done.stderr)
        policy = self.node.status()["policy"]
        self.assertEqual((policy["policy"], policy["order"]), ("central", "local"), "all or nothing")
        crowd = self.crowd(8)
        for name in "ab" * 100:
            self.tags(crowd, name, 1)
        crowd.gather()
        self.check_crowd(crowd)
        for name in "ab":
            self.node.limit(name, reserved=0)
        self.wait_reserved()
        self.node.defaults(policy="random")
        done = self.node.limit("a", check=False, reserved=1)
        self.assertEqual(done.returncode, 1)
        self.assertIn("policy", done.stderr)
        self.assertEqual(self.limits("a"), NONE)

    def test_reserved_function_is_removed(self):
        """Its cores are everybody's again."""
        self.node.native("gone", reserved=2)
        self.wait_reserved(gone=2)
        self.node.cli("remove", "gone")
        self.wait_reserved()
        gate, crowd = self.gate(), self.crowd()
        self.tags(crowd, "a", 4, gate)
        self.node.wait_begun(self.prefix, 4)
        self.node.open(gate)
        crowd.gather()

    # --- restarts

    def test_limits_survive_restarts(self):
        self.node.limit("a", concurrency=2, queue=5, priority=6)
        self.node.limit("b", reserved=1, concurrency=3)
        wanted = {"a": {"concurrency": 2, "reserved": 0, "queue": 5, "priority": 6},
                  "b": {"concurrency": 3, "reserved": 1, "queue": 0, "priority": 3}}  # fmt: skip
        for stop in (self.node.down, self.node.kill9):
            self.wait_reserved(b=1)
            stop()
            self.node.up()
            self.assertEqual({name: self.limits(name) for name in wanted}, wanted)
            self.wait_reserved(b=1)
            gate, crowd = self.gate(), self.crowd(1)
            prefix, self.prefix = self.prefix, self.prefix + stop.__name__
            self.tags(crowd, "a", 10, gate)
            crowd.gather(left=7)
            self.assertEqual(crowd.kinds(), {"FUNCTION_LIMIT": 3})
            self.node.wait_begun(self.prefix, 2)
            self.node.open(gate)
            crowd.gather()
            self.prefix = prefix
            self.node.wait_idle()

    def test_reserved_survives_under_an_early_policy(self):
        """A node that comes up with a policy that knows none serves the function without; what was stored stays."""
        self.node.limit("b", reserved=1)
        self.wait_reserved(b=1)
        self.node.down()
        self.node.up("--policy", "hash")
        crowd = self.crowd()
        self.tags(crowd, "b", 20)
        crowd.gather()
        self.check_crowd(crowd)
        self.wait_reserved()
        self.node.down()
        self.node.up()
        self.assertEqual(self.limits("b")["reserved"], 1)
        self.wait_reserved(b=1)

    def test_manifest_and_redeployment(self):
        """function.json says what holds, and so it does when the function is deployed again."""
        limits = {"concurrency": 2, "reserved": 1, "queue": 4, "priority": 7}
        self.node.native("m", libraries=["b", "a", "b"], **limits)
        self.addCleanup(self.node.cli, "remove", "m")
        self.assertEqual(self.limits("m"), limits)
        found = [f for f in self.node.json("list")["functions"] if f["name"] == "m"][0]
        self.assertEqual(found["libraries"], ["a", "b"])
        self.wait_reserved(m=1)
        self.node.limit("m", concurrency=3)
        self.assertEqual(self.limits("m"), {**limits, "concurrency": 3})
        self.node.native("m")
        self.assertEqual(self.limits("m"), NONE)
        self.wait_reserved()
        for wrong in ({"concurrency": -1}, {"reserved": 5000}, {"queue": "many"}, {"priority": 8}, {"libraries": "numpy"},
                      {"libraries": [""]}, {"libraries": ["a b"]}, {"reserved": 4}):  # fmt: skip
            with self.assertRaises(AssertionError):
                self.node.native("m", **wrong)
        self.assertEqual(self.limits("m"), NONE)


class Kernel(Limits):
    pass


class User(Limits):
    USER = True


class Places(Functions):
    """A small pending queue, and a function that would fill it."""

    TAG = "plc"
    MORE = ("--pending", "16")

    def test_places_for_others(self):
        """bpf/decide.h, WC_PENDING_PLACES: however many of A wait, B finds room."""
        gate, crowd = self.gate(), self.crowd(1)
        self.tags(crowd, "a", 4, gate)
        self.node.wait_begun(self.prefix, 4)
        limit = self.node.status()["pending"]["max"]
        places = limit + limit // 8 + 1
        self.tags(crowd, "a", limit + 20, gate)
        crowd.gather(left=4 + limit)
        self.assertEqual(crowd.kinds(), {"PENDING_FULL": 20})
        self.assertEqual(self.node.status()["pending"]["now"], limit)
        self.tags(crowd, "b", 1, gate)
        self.node.wait_pending(limit + 1)
        self.tags(crowd, "b", places - limit, gate)
        harness.wait_until(lambda: crowd.receive(0.1) == 0 and crowd.kinds(self.prefix + "b"), "B is limited as well")
        self.assertEqual(set(crowd.kinds(self.prefix + "b")), {"PENDING_FULL"})
        self.assertLessEqual(self.node.status()["pending"]["now"], places)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        kinds = crowd.kinds(self.prefix + "b")
        self.assertGreater(kinds["REPLY"], 1, kinds)
        self.assertEqual(crowd.kinds(self.prefix + "a"), {"PENDING_FULL": 20, "REPLY": limit + 4})
        self.assertEqual(set(self.node.begun(self.prefix)),
                         {tag for tag, answer in crowd.answers.items() if answer.kind == wcproto.REPLY})  # fmt: skip


class PlacesKernel(Places):
    pass


class PlacesUser(Places):
    USER = True


class Order(gates.Test):
    """One core: who is next in the pending queue."""

    TAG = "ord"

    @classmethod
    def options(cls):
        more = super().options()
        return ("--cores", str(min(os.sched_getaffinity(0))), *more[2:])

    @classmethod
    def prepare(cls):
        cls.functions = {name: cls.node.native(name) for name in ("hold", "a", "b", "low", "high")}
        cls.node.limit("low", priority=1)
        cls.node.limit("high", priority=6)

    def setUp(self):
        super().setUp()
        self.node.defaults()
        self.held, self.opened = self.crowd(1), self.gate()
        self.held.send(self.functions["hold"], self.prefix + "hold", self.opened)
        self.node.wait_begun(self.prefix, 1)

    def send(self, crowd, names, gate="", wait=True, **fields):
        """One invocation of each; waits until all are in the queue. Their tags."""
        now = self.node.status()["pending"]["now"]
        tags = ["%s%d-%s" % (self.prefix, len(crowd.again) + i, name) for i, name in enumerate(names)]
        for tag, name in zip(tags, names):
            crowd.send(self.functions[name], tag, gate, **fields)
        if wait:
            self.node.wait_pending(now + len(names))
        return tags

    def served(self, crowd):
        """Let the queue go: the tags in the order in which they were served."""
        self.node.open(self.opened)
        self.held.gather()
        crowd.gather()
        self.check_crowd_of(crowd)
        return self.node.begun(self.prefix)[1:]

    def check_crowd_of(self, crowd):
        self.assertEqual(set(crowd.kinds()), {"REPLY"}, crowd.kinds())

    def names(self, tags):
        return [tag.rpartition("-")[2] for tag in tags]

    def test_first_come_first_served(self):
        """Also across functions, as long as few wait."""
        crowd = self.crowd(1)
        tags = self.send(crowd, ["a", "b", "b", "a"])
        self.assertEqual(self.served(crowd), tags)

    def test_first_come_first_served_with_many(self):
        self.node.set("--fair-at", "1000")
        crowd = self.crowd(1)
        tags = self.send(crowd, (["a"] * 5 + ["b"]) * 30)
        self.assertEqual(self.served(crowd), tags)

    def test_turns_within_a_function_are_in_order(self):
        self.node.set("--fair-at", "0")
        crowd = self.crowd(1)
        tags = self.send(crowd, (["a"] * 3 + ["b"]) * 20)
        served = self.served(crowd)
        for name in "ab":
            self.assertEqual([t for t in served if t.endswith(name)], [t for t in tags if t.endswith(name)])

    def test_priority(self):
        for fair, arrival in (("0", ["low", "a", "high"]), ("1000", ["high", "a", "low"])):
            with self.subTest(fair_at=fair):
                self.node.set("--fair-at", fair)
                crowd = self.crowd(1)
                before = len(self.node.begun(self.prefix))
                self.send(crowd, arrival * 4)
                self.node.open(self.opened)
                self.held.gather()
                crowd.gather()
                self.check_crowd_of(crowd)
                served = self.names(self.node.begun(self.prefix)[before:])
                self.assertEqual(served, ["high"] * 4 + ["a"] * 4 + ["low"] * 4)
                if fair == "0":  # hold it again
                    self.opened, self.prefix = self.gate(), self.prefix + "again."
                    self.held.send(self.functions["hold"], self.prefix + "hold", self.opened)
                    self.node.wait_begun(self.prefix, 1)

    def test_priority_changes_while_they_wait(self):
        crowd = self.crowd(1)
        self.send(crowd, ["a", "a", "b", "b"])
        self.node.limit("b", priority=4)
        try:
            self.assertEqual(self.names(self.served(crowd)), ["b", "b", "a", "a"])
        finally:
            self.node.limit("b", priority=3)

    def test_fairness(self):
        """A flood of 300 costs the others no more than their share: with turns, B is served long before the flood is over.

        Their share of time, so they sleep: next to that the noise of the host is small.
        """
        for fair, first in (("0", True), ("100000", False)):
            with self.subTest(fair_at=fair):
                self.node.set("--fair-at", fair)
                before = self.node.status()["pending"]
                crowd, flood = self.crowd(1), 300 if first else 50
                self.send(crowd, ["a"] * flood, "=2")
                self.send(crowd, ["b"] * 5, "=2")
                begun = len(self.node.begun(self.prefix))
                self.node.open(self.opened)
                self.held.gather()
                crowd.gather()
                self.check_crowd_of(crowd)
                served = self.names(self.node.begun(self.prefix)[begun:])
                places = [i for i, name in enumerate(served) if name == "b"]
                after = self.node.status()["pending"]
                self.assertEqual(after["left"] - before["left"], flood + 5)
                if first:
                    self.assertLess(max(places), 60, "B waited for its turn too long: %s" % places)
                    self.assertGreater(after["left_in_turn"] - before["left_in_turn"], flood)
                    self.opened, self.prefix = self.gate(), self.prefix + "again."
                    self.held.send(self.functions["hold"], self.prefix + "hold", self.opened)
                    self.node.wait_begun(self.prefix, 1)
                else:
                    self.assertEqual(places, list(range(flood, flood + 5)))
                    self.assertEqual(after["left_in_turn"], before["left_in_turn"])

    def test_deadline_while_waiting(self):
        """Answered while the core is still busy, and not run."""
        before = self.node.status()["scheduler"]["expired"]
        crowd = self.crowd(1)
        patient = self.send(crowd, ["a"], deadline_us=600000000)
        late = self.send(crowd, ["a", "b"] * 3, wait=False, deadline_us=150000)
        crowd.wait_for(*late)
        self.assertEqual(self.node.spans(self.prefix), [("B", self.prefix + "hold")])
        self.assertEqual(crowd.kinds(), {"DEADLINE": 6})
        for answer in crowd.answers.values():
            self.assertEqual((answer.kind, answer.core), (wcproto.ERROR, wcproto.CORE_ANY))
            self.assertEqual(json.loads(answer.payload)["errorType"], "Node.DeadlineExceeded")
            self.assertTrue(answer.flags & wcproto.PENDED)
            self.assertGreaterEqual(answer.tail[0], 150e6, "it waited for that long at least")
        self.assertEqual(self.node.status()["scheduler"]["expired"] - before, 6)
        self.node.wait_pending(1)
        self.assertEqual(self.node.problems(), [])
        # Sent once more: the same answer or none, or, as it was not run, a run.
        self.node.open(self.opened)
        self.held.gather()
        crowd.gather()
        self.assertEqual(crowd.answers[patient[0]].kind, wcproto.REPLY)
        self.assertEqual(self.node.begun(self.prefix)[1:], patient)

    def test_deadline_in_the_queue_of_a_core(self):
        """Early binding: seen when its turn comes."""
        self.node.set("--policy", "hash")
        crowd = self.crowd(1)
        crowd.send(self.functions["a"], self.prefix + "late", deadline_us=1000)
        crowd.send(self.functions["a"], self.prefix + "patient", deadline_us=600000000)
        harness.wait_until(lambda: self.node.status()["cores"][0]["queued"] == 2, "both are bound")
        time.sleep(0.005)
        self.node.open(self.opened)
        self.held.gather()
        crowd.gather()
        self.assertEqual(wcproto.CODES[crowd.answers[self.prefix + "late"].code], "DEADLINE")
        self.assertEqual(crowd.answers[self.prefix + "patient"].kind, wcproto.REPLY)
        self.assertEqual(self.node.begun(self.prefix + "late"), [])

    def test_removed_while_waiting(self):
        function = self.node.native("gone")
        self.functions["gone"] = function
        crowd = self.crowd(1)
        gone = self.send(crowd, ["gone"] * 3)
        stays = self.send(crowd, ["a"] * 2)
        self.node.cli("remove", "gone")
        self.node.open(self.opened)
        self.held.gather()
        crowd.gather()
        self.assertEqual({wcproto.CODES[crowd.answers[tag].code] for tag in gone}, {"REMOVED"})
        self.assertEqual(self.node.begun(self.prefix)[1:], stays)

    def test_down_while_waiting(self):
        """Who waits is told that the node shuts down; who runs and does not end is killed, and told."""
        crowd = self.crowd(1)
        self.send(crowd, ["a", "b"] * 3)
        self.node.down()
        crowd.gather()
        self.held.gather()
        self.assertEqual((crowd.kinds(), self.held.kinds()), ({"SHUTDOWN": 6}, {"CRASH": 1}))
        self.assertEqual(self.node.begun(self.prefix)[1:], [])
        self.node.check_nothing_left()
        self.node.up()


class OrderKernel(Order):
    pass


class OrderUser(Order):
    USER = True


del Functions, Limits, Places, Order

if __name__ == "__main__":
    sys.exit(harness.main())
