#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the next leader knows, and what it cannot know: of two that die one after the other, of a node that comes back, of ids, and of an etcd without its data. And
who must not be taken for dead."""

import shutil
import subprocess
import threading
import time
import unittest

import cluster
import failover
import harness
import wcproto
from cluster import inside
from harness import wait_until


class Known(failover.FailoverTest):
    def test_many_ids(self):
        """Nodes that have run thousands of invocations in the last minute come to the next leader as others do."""
        with self.client() as client:
            for _ in range(300):
                ids = [client.fresh_id() for _ in range(20)]
                for request in ids:
                    client.send(request, self.function, b'{"do": "sleep", "ms": 1}')
                for _ in ids:
                    client.receive(1)
        ran = [sum(node.status()["counters"][name] for name in ("ordered", "ordered_late")) for node in self.nodes]
        self.assertGreater(min(ran), 400)
        self.leader().kill9()
        wait_until(self.leader, "another one leads")
        begun = time.monotonic()
        self.wait_in(self.NODES)
        self.assertLess(time.monotonic() - begun, 45)  # and not when what they have run is too old to be told

    def test_both(self):
        """The next leader dies, too, before the first one is back, which knows nothing of what began meanwhile: it waits for the nodes, which do."""
        with self.client() as client:
            first = self.leader()
            first.kill9()
            wait_until(self.leader, "the other one leads")
            self.wait_in(self.NODES)
            second = self.leader()
            requests = self.occupy(client, "both-dead", 1 + 2 * self.NODES, 10)
            second.kill9()
            self.start_scheduler(first)
            answers = self.insist(client, requests)
            self.assertGreaterEqual(sum(answer.kind == wcproto.REPLY for answer in answers.values()), 2 * self.NODES - 1, answers)
            print("the nodes' windows took %.0f ms" % first.status()["election"]["recovered_ms"])
            self.start_scheduler(second)
        self.check_once("both-dead")
        self.check_sound()

    def test_node_again(self):
        """A node is killed with the leader, and is back while the next one begins to lead: what it had begun is lost, and is said to be."""
        with self.client() as client:
            leader = self.leader()
            requests = self.occupy(client, "again-dead", 1 + 2 * self.NODES, 10)
            self.nodes[0].kill9()
            leader.kill9()
            self.join(self.nodes[0])
            self.wait_in(self.NODES)
            answers = self.insist(client, requests)
            self.assertIn(wcproto.NODE_LOST, {answer.code for answer in answers.values()})
            self.start_scheduler(leader)
        self.check_once("again-dead")
        self.check_sound()

    def test_own_run(self):
        """What the leader ran itself, which then stood still, and is a node now: the answer is still to be had."""
        with self.client() as client:
            leader = self.leader()
            requests = self.occupy(client, "own", 1, 1)
            with harness.stopped(leader.pid):
                wait_until(lambda: self.other(leader).status()["election"]["leads"], "another one leads")
            self.wait_in()
            while client.receive(0.5):  # what it has answered by itself
                pass
            answers = self.insist(client, requests)
            self.assertEqual({answer.kind for answer in answers.values()}, {wcproto.REPLY}, answers)
        self.check_once("own")

    def test_address_left(self):
        """The address of the cluster does not stay with a host whose killed daemon is cleaned up after, where nothing would hide it any more."""
        leader = self.leader()
        leader.kill9()
        leader.cli("down", "--force", "--timeout", "20")
        with inside(leader.netns):
            addresses = subprocess.run(["ip", "-br", "addr", "show", "dev", "eth0"], stdout=subprocess.PIPE, check=True, text=True).stdout
        self.assertNotIn(self.VIRTUAL, addresses)

    def test_refused(self):
        """A packet filter refuses the standby's connections to the leader, which lives: it goes on leading."""
        if not shutil.which("iptables"):
            self.skipTest("there is no iptables")
        leader, other = self.leader(), self.other(self.leader())
        taken = other.status()["election"]["taken_total"]
        other.down()
        with inside(leader.netns):
            rule = ["iptables", "-I", "INPUT", "-p", "tcp", "--dport", str(cluster.DOOR), "-s", "192.0.2.%d" % self.hosts[other.netns], "-j", "REJECT"]
            subprocess.run(rule, check=True)
        self.start_scheduler(other)
        time.sleep(3)
        self.assertIs(self.leader(), leader)
        self.assertEqual(leader.status()["election"]["taken_total"], 1)
        self.assertEqual(other.status()["election"]["taken_total"], taken)

    def test_ids(self):
        """What the leader has given out and nobody has heard of before it died is not given out again by the next one."""
        leader, other = self.leader(), self.other(self.leader())
        with harness.stopped(other.pid):
            first = leader.deploy_python("first")
            leader.kill9()
        wait_until(self.leader, "the other one leads")
        self.assertNotEqual(other.deploy_python("second"), first)
        self.start_scheduler(leader)
        self.wait_in()

    def test_three(self):
        """Of three schedulers the one that leads is killed, and the next one right after it began to lead."""
        self.add_scheduler()
        for node in self.nodes:
            node.down()
            self.join(node)
        self.wait_in()
        with self.client() as client:

            def act():
                first = self.leader()
                first.kill9()
                wait_until(self.leader, "the second one leads", 20)
                self.leader().kill9()

            answers, gap = self.load(client, ["three-%d" % i for i in range(150)], 40, act)
            lost = self.check_history(answers, (wcproto.NODE_LOST, wcproto.RESTARTED))
            print("two leaders killed one after the other: %.0f ms without an answer, %s lost" % (gap * 1000, dict(lost)))
            for host in self.schedulers:
                if not host.pid:
                    self.start_scheduler(host)
            self.wait_in()
        self.check_sound()

    def test_upgrade(self):
        """The daemons of both schedulers are replaced under load, the leader's first: another one leads then."""
        with self.client() as client:
            for number, which in enumerate((lambda: self.leader(), lambda: self.other(self.leader()))):
                host = which()

                def act():
                    self.upgrading = threading.Thread(target=host.cli, args=("upgrade",))
                    self.upgrading.start()

                answers, gap = self.load(client, ["upgrade-%d-%d" % (number, i) for i in range(150)], 30, act)
                self.upgrading.join()
                host.pid = host.status()["node"]["pid"]
                print("upgrade of the %s: %.0f ms without an answer" % (("leader", "standby")[number], gap * 1000))
                self.check_history(answers, (wcproto.NODE_LOST, wcproto.SHUTDOWN, wcproto.NODE_DOWN))
                self.wait_in()
        self.check_sound()

    def test_etcd_forgets(self):
        """etcd dies, and comes back without its data: there are never two who lead, and one soon."""
        with self.client() as client:

            def act():
                self.end(self.etcd_process)
                self.start_etcd_again(forget=True)

            answers, gap = self.load(client, ["forgets-%d" % i for i in range(300)], 50, act)
            print("etcd without its data: %.0f ms without an answer" % (gap * 1000))
            self.check_history(answers, (wcproto.NODE_LOST,))
        self.check_sound()


if __name__ == "__main__":
    unittest.main(verbosity=2)
