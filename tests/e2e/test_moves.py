#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An idle instance moves to the core that needs it: one cold start where there would be one on each core."""

import json
import sys
import threading

import gates
import harness
import wcproto

ROUNDS = 60


class Moves(gates.Test):
    TAG = "mov"

    @classmethod
    def prepare(cls):
        cls.cores = len(cls.cpus)

    def setUp(self):
        super().setUp()
        self.name = "f%d" % len(self.node.json("list")["functions"])

    def invoke_in_turn(self, function, name, policy="random"):
        """ROUNDS invocations, one after the other, wherever the policy says: answers, and how the counters grew."""
        self.node.defaults(policy=policy, order="spread", move=self.move)
        before = self.node.status()["agents"]
        answers = []
        with gates.Crowd(self.node, sockets=1) as crowd:
            for i in range(ROUNDS):
                tag = "%s%s-%d" % (self.prefix, name, i)
                crowd.send(function, tag, python=name != "native")
                answers += crowd.wait_for(tag)
        self.assertEqual({answer.kind for answer in answers}, {wcproto.REPLY})
        after = self.node.status()["agents"]
        return answers, {key: after[key] - before[key] for key in ("cold_starts", "moves", "evictions", "errors")}

    def check_place(self, answers):
        """The function is told the core that runs it, and its process runs on that core's CPU only."""
        for answer in answers:
            value = json.loads(answer.payload)
            self.assertEqual((value["core"], value["cpus"]), (answer.core, [self.cpus[answer.core]]))

    def test_evict(self):
        """Idle instances go when they are told to, by name or all; what runs stays, and is stopped by nobody."""
        one, two = self.node.native("one"), self.node.native("two")
        gate, crowd = self.gate(), self.crowd(2)
        for function, tag in ((one, "one"), (two, "two")):
            crowd.send(function, self.prefix + tag)
            crowd.wait_for(self.prefix + tag)
        crowd.send(one, self.prefix + "runs", gate)
        self.node.wait_begun(self.prefix + "runs", 1)
        cold = lambda: {f["name"]: f["cold_starts"] for f in self.node.json("list")["functions"]}  # noqa: E731
        before = cold()
        self.assertEqual(self.node.json("evict", "two")["stopped"], 1)
        self.assertEqual(self.node.json("evict", "two")["stopped"], 0)
        self.assertIn(self.node.json("evict")["stopped"], (0, 1))  # an idle one of the first, where a second core had one
        self.assertNotEqual(self.node.cli("evict", "nobody", check=False).returncode, 0)
        self.node.open(gate)
        self.assertEqual(crowd.wait_for(self.prefix + "runs")[0].kind, wcproto.REPLY)
        crowd.send(two, self.prefix + "again")
        crowd.wait_for(self.prefix + "again")
        self.assertEqual(cold()["two"], before["two"] + 1)
        self.node.wait_idle()
        harness.wait_until(lambda: self.node.json("evict")["stopped"] == 0, "none is left")
        harness.wait_until(lambda: self.node.status()["instances"] == 0, "and their processes have gone")

    def test_python_moves(self):
        self.move = "on"
        answers, grown = self.invoke_in_turn(self.node.python("py"), "py")
        self.assertGreater(len({answer.core for answer in answers}), self.cores // 2)
        self.check_place(answers)
        self.assertEqual(grown["cold_starts"], 1)
        self.assertEqual(len({json.loads(answer.payload)["pid"] for answer in answers}), 1, "one process, on all cores")
        changes = sum(one.core != two.core for one, two in zip(answers, answers[1:]))
        self.assertEqual(grown["moves"], changes)
        self.assertEqual([bool(a.flags & wcproto.WARM) for a in answers], [False] + [True] * (ROUNDS - 1))
        found = [f for f in self.node.json("list")["functions"] if f["name"] == "py"][0]
        self.assertEqual((found["instances"], found["cold_starts"], found["invocations"]), (1, 1, ROUNDS))
        self.node.cli("remove", "py")

    def test_native_moves(self):
        self.move = "on"
        answers, grown = self.invoke_in_turn(self.node.native("native"), "native")
        self.assertGreater(len({answer.core for answer in answers}), self.cores // 2)
        self.assertEqual(grown["cold_starts"], 1)
        self.assertGreater(grown["moves"], 0)
        self.node.cli("remove", "native")

    def test_node_js_moves(self):
        if not harness.NODE_JS:
            self.skipTest("no node")
        self.move = "on"
        source = b"exports.handler = async (event, context) => ({tag: event.tag, core: context.core});"
        function = self.node.deploy("js", "node", "core.handler", {"core.js": source}, timeout_ms=60000)
        answers, grown = self.invoke_in_turn(function, "js")
        self.assertEqual([json.loads(answer.payload)["core"] for answer in answers], [answer.core for answer in answers])
        self.assertGreater(len({answer.core for answer in answers}), self.cores // 2)
        self.assertEqual(grown["cold_starts"], 1)
        self.node.cli("remove", "js")

    def test_moving_switched_off(self):
        self.move = "off"
        answers, grown = self.invoke_in_turn(self.node.python("stay"), "stay")
        self.check_place(answers)
        cores = {answer.core for answer in answers}
        self.assertGreater(len(cores), self.cores // 2)
        self.assertEqual((grown["moves"], grown["cold_starts"]), (0, len(cores)))
        pids = {(answer.core, json.loads(answer.payload)["pid"]) for answer in answers}
        self.assertEqual(len(pids), len(cores), "each core keeps its own instance")
        self.node.cli("remove", "stay")

    def test_central_goes_where_it_is_warm(self):
        """The default policy need not move anything."""
        self.move = "on"
        answers, grown = self.invoke_in_turn(self.node.python("warm"), "warm", "central")
        self.assertEqual(len({answer.core for answer in answers}), 1)
        self.assertEqual((grown["cold_starts"], grown["moves"]), (1, 0))
        self.node.cli("remove", "warm")

    def test_busy_instances_do_not_move(self):
        """Only an idle one can: who finds none starts another, and later there are two."""
        self.move = "on"
        self.node.defaults(order="spread")
        function = self.node.python("busy")
        gate, crowd = self.gate(), self.crowd()
        before = self.node.status()["agents"]["cold_starts"]
        for i in range(3):
            crowd.send(function, self.prefix + str(i), gate, python=True)
        self.node.wait_begun(self.prefix, 3)
        self.node.open(gate)
        crowd.gather()
        self.check_crowd(crowd)
        self.check_place(crowd.answers.values())
        self.assertEqual(self.node.status()["agents"]["cold_starts"] - before, 3)
        self.node.cli("remove", "busy")

    def test_down_after_a_move(self):
        """An instance does not die with the agent that started it, when the node stops and it runs on another core."""
        function = self.node.native("moved")
        self.node.defaults(policy="random", move="on")
        crowd, fresh = self.crowd(1), self.crowd(1)
        crowd.send(function, self.prefix + "first")
        home = crowd.wait_for(self.prefix + "first")[0].core
        while True:
            gate, tag = self.gate(), self.prefix + str(len(crowd.again))
            crowd.send(function, tag, gate)
            self.node.wait_begun(tag, 1)
            if [core["core"] for core in self.node.status()["cores"] if core["state"] == "running"] != [home]:
                break
            self.node.open(gate)
            crowd.gather()
        self.assertEqual(self.node.status()["agents"]["errors"], 0)
        stopping = threading.Thread(target=self.node.down)
        stopping.start()
        while "NODE_DOWN" not in fresh.kinds():
            fresh.send(function, "%snew%d" % (self.prefix, len(fresh.again)))
            fresh.receive(0.01)
        self.assertTrue(crowd.silent(0.1))
        self.node.open(gate)
        crowd.gather()
        self.assertEqual(set(crowd.kinds()), {"REPLY"}, crowd.answers[tag])
        stopping.join()
        fresh.gather()
        self.node.up()
        self.node.cli("remove", "moved")

    def test_moving_under_load(self):
        """Many at once, with instances that change cores all the time, and functions that are replaced meanwhile."""
        self.node.defaults(policy="random", move="on")
        function = self.node.python("load")
        # On a slow machine eight that start at once without it take longer than any function may to load.
        harness.wait_until(lambda: all(z["state"] == "ready" for z in self.node.status()["zygotes"] if z["runtime"] == "python"),
                           "the zygote is ready")  # fmt: skip
        crowd = self.crowd(8)
        for number in range(600):
            while crowd.under_way() >= 24:
                crowd.receive(0.01)
            if number in (200, 400):
                self.assertEqual(self.node.python("load"), function)
            crowd.send(function, self.prefix + str(number), python=True)
        crowd.gather()
        self.check_crowd(crowd)
        self.check_place(crowd.answers.values())
        self.node.cli("remove", "load")
        harness.wait_until(lambda: self.node.status()["instances"] == 0, "no instance of a removed function is left")


class Kernel(Moves):
    pass


class User(Moves):
    USER = True


del Moves

if __name__ == "__main__":
    sys.exit(harness.main())
