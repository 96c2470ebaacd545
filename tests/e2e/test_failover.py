#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Several schedulers, of which one leads: what clients send to the cluster's address is answered whichever host that is; when the leader is killed, cut off
or told to stop, another takes its place, with the same functions under the same ids, and no invocation has run twice, or is lost without an error."""

import os
import signal
import unittest

import failover
import harness
import wcproto
from cluster import PORT, inside
from harness import wait_until


class Failover(failover.FailoverTest):
    def test_spill(self):
        """The leader's core, then those of the other scheduler and of the nodes."""
        with self.client() as client:
            ids = [client.fresh_id() for _ in range(12)]
            for request in ids:
                client.send(request, self.function, b'{"do": "sleep", "ms": 400}')
            answers = [client.receive(harness.PATIENCE_S) for _ in ids]
            self.assertEqual({answer.request_id for answer in answers}, set(ids))
            self.assertEqual({answer.kind for answer in answers}, {wcproto.REPLY})
        leader = self.leader()
        self.assertEqual(leader.status()["counters"]["to_core"], 1)
        self.assertEqual(self.other(leader).status()["counters"]["ordered"] + self.other(leader).status()["counters"]["ordered_late"] > 0, True)
        self.check_sound()

    def test_kill(self):
        """The leader is killed under load, and comes back as the one that may lead next; and the other way round."""
        with self.client() as client:
            for number in range(2):
                leader = self.leader()
                answers, gap = self.load(client, ["kill-%d-%d" % (number, i) for i in range(150)], 50, leader.kill9)
                lost = self.check_history(answers, (wcproto.NODE_LOST, wcproto.RESTARTED, wcproto.NODE_DOWN))
                print("killed: %.0f ms without an answer, %s lost, %.0f ms from its beginning to lead until it served"
                      % (gap * 1000, dict(lost), self.leader().status()["election"]["recovered_ms"]))  # fmt: skip
                self.assertLess(sum(lost.values()), 10)
                self.assertIs(self.leader(), self.other(leader))
                # Under the same id, and what is new gets another one.
                fresh = self.leader().deploy_python("later-%d" % number)
                self.assertNotEqual(fresh, self.function)
                self.start_scheduler(leader)
                self.wait_in()
                ids = {each["name"]: each["id"] for each in leader.json("list")["functions"]}
                self.assertEqual(ids, {each["name"]: each["id"] for each in self.leader().json("list")["functions"]})
                self.assertEqual(ids["probe"], self.function)
        self.check_sound()

    def test_cut(self):
        """The leader's host is cut off: it gives up by itself, another one leads; when it is back it is a node like others, with what it ran meanwhile."""
        with self.client() as client:
            leader = self.leader()
            # More than there are cores: some wait there, and could begin when nobody hears of it any more.
            answers, gap = self.load(client, ["cut-%d" % i for i in range(400)], 100, lambda: self.cut(leader), width=40)
            print("cut off: %.0f ms without an answer" % (gap * 1000))
            self.check_history(answers, (wcproto.NODE_LOST, wcproto.RESTARTED))
            wait_until(lambda: not leader.status()["election"]["leads"], "it has given up")
            self.assertIs(self.leader(), self.other(leader))
            self.cut(leader, False)
            self.wait_in()
            answers, _ = self.load(client, ["back-%d" % i for i in range(50)], 51, None)
            self.assertFalse(self.check_history(answers, ()))
        self.check_sound()

    def test_stopped(self):
        """The leader's process stands still for longer than its lease, and goes on: what it had not begun, it does not begin any more."""
        with self.client() as client:
            leader = self.leader()

            def act():
                os.kill(leader.pid, signal.SIGSTOP)

            answers, gap = self.load(client, ["stop-%d" % i for i in range(200)], 50, act)
            print("stopped: %.0f ms without an answer" % (gap * 1000))
            os.kill(leader.pid, signal.SIGCONT)
            wait_until(lambda: not leader.status()["election"]["leads"], "it has given up")
            self.wait_in()
            answers.update(self.load(client, ["on-%d" % i for i in range(50)], 51, None)[0])
            self.check_history(answers, (wcproto.NODE_LOST, wcproto.RESTARTED))
        self.check_sound()

    def test_down(self):
        """The leader is told to stop: another one leads at once."""
        with self.client() as client:
            leader = self.leader()
            answers, gap = self.load(client, ["down-%d" % i for i in range(100)], 30, leader.down)
            print("told to stop: %.0f ms without an answer" % (gap * 1000))
            self.check_history(answers, (wcproto.NODE_LOST, wcproto.SHUTDOWN))
            self.start_scheduler(leader)
            self.wait_in()
        self.check_sound()

    def test_node_and_leader(self):
        """A node is killed, and right after it the leader."""
        with self.client() as client:
            leader = self.leader()

            def act():
                self.nodes[0].kill9()
                leader.kill9()

            answers, _ = self.load(client, ["both-%d" % i for i in range(150)], 50, act)
            self.check_history(answers, (wcproto.NODE_LOST, wcproto.RESTARTED))
            self.join(self.nodes[0])
            self.start_scheduler(leader)
            self.wait_in()
        self.check_sound()

    def test_idempotent(self):
        """What ran at the killed leader's own core is run again if the function says that it may be."""
        with self.client() as client:
            leader = self.leader()
            self.function = leader.deploy_python("again", idempotent=True)
            self.wait_in()
            answers, _ = self.load(client, ["again-%d" % i for i in range(100)], 30, leader.kill9)
            self.assertEqual({answer.kind for answer in answers.values()}, {wcproto.REPLY})

    def test_etcd_away(self):
        """Without etcd nobody takes over; the leader gives up when its lease is over, and nodes serve those who ask them. With it all is well again."""
        for host in self.schedulers:  # one leads, one follows: both are ready
            self.assertEqual(host.json("health", "--ready")["waits_for"], [])
        self.etcd_process.send_signal(signal.SIGSTOP)
        wait_until(lambda: not any(host.status()["election"]["leads"] for host in self.schedulers), "nobody leads")
        with inside(self.outside), wcproto.Client(self.nodes[0].address4, PORT) as client:
            wait_until(lambda: self.nodes[0].json("list")["functions"], "it has the function")
            own = self.nodes[0].json("list")["functions"][0]["id"]
            self.assertEqual(client.invoke(own, b'{"do": "sleep", "ms": 1}').kind, wcproto.REPLY)
        self.assertTrue(any(host.status()["election"]["etcd_error"] for host in self.schedulers))
        for host in self.schedulers:
            self.assertTrue(host.json("health")["serves"])
            done = host.cli("health", "--ready", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "nobody is known to lead the cluster|it has not joined the cluster")
        self.etcd_process.send_signal(signal.SIGCONT)
        wait_until(self.leader, "one leads again")
        with self.client() as client:
            self.assertEqual(client.invoke(self.function, b'{"do": "sleep", "ms": 1}').kind, wcproto.REPLY)
        self.check_sound()


if __name__ == "__main__":
    unittest.main(verbosity=2)
