#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Several schedulers, of which one leads: what clients send to the cluster's address is answered whichever host that is; when the leader is killed, cut off
or told to stop, another takes its place, with the same functions under the same ids, and no invocation has run twice, or is lost without an error."""

import collections
import json
import os
import signal
import subprocess
import threading
import time
import unittest

import cluster
import harness
import wcproto
from cluster import PORT, inside
from harness import wait_until


class Failover(cluster.ClusterTest):
    NODES = 2

    def setUp(self):
        super().setUp()
        self.start_etcd()
        for _ in range(2):
            self.add_scheduler()
        wait_until(self.leader, "one leads")
        for _ in range(self.NODES):
            self.add_node()
        self.function = self.leader().deploy_python()
        self.wait_in()

    def wait_in(self, count=None):
        """All nodes are ready, and those who may lead next, too."""
        count = self.NODES + len(self.schedulers) - 1 if count is None else count

        def ready():
            leader = self.leader()
            nodes = leader.status()["cluster"]["nodes"] if leader else []
            return sum(each["state"] == "ready" and each["free"] == each["cores"] for each in nodes) == count

        wait_until(ready, "%d nodes are ready: %s" % (count, [host.status()["cluster"] for host in self.schedulers if host.pid]))

    def other(self, host):
        return next(each for each in self.schedulers if each is not host)

    def client(self):
        with inside(self.outside):
            return wcproto.Client(self.VIRTUAL, PORT)

    def check_sound(self):
        self.wait_in()
        for host in [*self.schedulers, *self.nodes]:
            host.wait_idle()
            self.assertEqual(host.problems(), [])

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

    def load(self, client, tags, at, act, sleep_ms=20, width=6, **fields):
        """Each tag is counted once at most; act() is called when `at` of them are answered. Returns {tag: answer}, and the longest time without an answer."""
        waiting = {client.fresh_id(): tag for tag in tags}
        answers, sent, acted, last, gap = {}, {}, False, None, 0.0
        end = time.monotonic() + harness.PATIENCE_S
        while waiting and time.monotonic() < end:
            for request, tag in list(waiting.items())[:width]:
                if time.monotonic() - sent.get(request, 0) > 0.1:
                    sent[request] = time.monotonic()
                    client.send(request, self.function, json.dumps({"do": "count", "tag": tag, "sleep_ms": sleep_ms, **fields}).encode())
            answer = client.receive(0.02)
            if answer and answer.request_id in waiting and answer.kind != wcproto.BUSY:
                now = time.monotonic()
                if last and acted:
                    gap = max(gap, now - last)
                last = now
                answers[waiting.pop(answer.request_id)] = answer
            if not acted and len(answers) >= at:
                acted, last = True, time.monotonic()
                act()
        self.assertFalse(waiting)
        return answers, gap

    def check_history(self, answers, errors):
        """At most once, and what was answered with a result ran once."""
        runs = self.schedulers[0].all_runs()
        self.assertEqual({tag: count for tag, count in runs.items() if count > 1}, {})
        for tag, answer in answers.items():
            if answer.kind == wcproto.REPLY:
                self.assertEqual(runs.get(tag), 1, tag)
            else:
                self.assertIn(answer.code, errors, (tag, answer))
        return collections.Counter(answer.code for answer in answers.values() if answer.kind != wcproto.REPLY)

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

    def cut(self, host, whether=True):
        cluster.ip("-n", self.switch, "link", "set", self.port_of(host), "down" if whether else "up")

    def test_cut(self):
        """The leader's host is cut off: it gives up by itself, another one leads; when it is back it is a node like others, with what it ran meanwhile."""
        with self.client() as client:
            leader = self.leader()
            answers, gap = self.load(client, ["cut-%d" % i for i in range(200)], 50, lambda: self.cut(leader))
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

    def occupy(self, client, prefix, cores, seconds):
        """Invocations that keep so many cores of the cluster busy, each begun when this returns. Returns {request: payload}."""
        self.function = self.leader().deploy_python("long", timeout_ms=60000)
        self.wait_in(len(self.leader().status()["cluster"]["nodes"]))
        requests = {client.fresh_id(): json.dumps({"do": "count", "tag": "%s-%d" % (prefix, i), "sleep_ms": int(seconds * 1000)}).encode() for i in range(cores)}
        for request, payload in requests.items():
            client.send(request, self.function, payload)
        wait_until(lambda: sum(tag.startswith(prefix) for tag in self.schedulers[0].all_runs()) == cores, "all have begun")
        return requests

    def insist(self, client, requests, every=0.02, seconds=harness.PATIENCE_S):
        """Send them again and again until each is answered: {request: answer}."""
        answers, sent, end = {}, 0.0, time.monotonic() + seconds
        while len(answers) < len(requests) and time.monotonic() < end:
            if time.monotonic() - sent > every:
                sent = time.monotonic()
                for request in requests.keys() - answers.keys():
                    client.send(request, self.function, requests[request])
            answer = client.receive(0.01)
            if answer and answer.request_id in requests and answer.kind != wcproto.BUSY:
                answers[answer.request_id] = answer
        self.assertEqual(answers.keys(), requests.keys())
        return answers

    def check_once(self, prefix):
        self.assertEqual({tag: count for tag, count in self.schedulers[0].all_runs().items() if count > 1 and tag.startswith(prefix)}, {})

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
        self.assertLess(time.monotonic() - begun, 20)  # and not when what they have run is too old to be told

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

    def test_etcd_away(self):
        """Without etcd nobody takes over; the leader gives up when its lease is over, and nodes serve those who ask them. With it all is well again."""
        self.etcd_process.send_signal(signal.SIGSTOP)
        wait_until(lambda: not any(host.status()["election"]["leads"] for host in self.schedulers), "nobody leads")
        with inside(self.outside), wcproto.Client(self.nodes[0].address4, PORT) as client:
            wait_until(lambda: self.nodes[0].json("list")["functions"], "it has the function")
            own = self.nodes[0].json("list")["functions"][0]["id"]
            self.assertEqual(client.invoke(own, b'{"do": "sleep", "ms": 1}').kind, wcproto.REPLY)
        self.assertTrue(any(host.status()["election"]["etcd_error"] for host in self.schedulers))
        self.etcd_process.send_signal(signal.SIGCONT)
        wait_until(self.leader, "one leads again")
        with self.client() as client:
            self.assertEqual(client.invoke(self.function, b'{"do": "sleep", "ms": 1}').kind, wcproto.REPLY)
        self.check_sound()


if __name__ == "__main__":
    unittest.main(verbosity=2)
