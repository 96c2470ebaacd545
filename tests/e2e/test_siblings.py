#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Schedulers of two parts of a cluster, siblings: what finds no core in the one part runs in the other, by leave that is given in advance; answers, at most
once and limits hold as in one part, whatever is lost, killed or changed."""

import collections
import json
import os
import threading
import time
import unittest

import cluster
import failover
import harness
import wcproto
from cluster import DOOR, PORT, inside
from harness import wait_until


class Part:
    """A scheduler with one core, and a node with two."""

    def __init__(self, scheduler, door, node):
        self.scheduler, self.door, self.node = scheduler, door, node

    @property
    def address(self):
        return self.door.split(":")[0]


class SiblingsTest(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        hosts = [self.host("s%d" % i) for i in (1, 2)]
        doors = ["192.0.2.%d:%d" % (self.hosts[host], DOOR) for host in hosts]
        self.parts = []
        for i in range(2):
            scheduler = harness.Node("s%d" % (i + 1), "--dev", "eth0", "--cores", "0", "--poll-us", "0", netns=hosts[i])
            self.addCleanup(scheduler.close)
            if i:
                scheduler.shared = self.parts[0].scheduler.shared
            else:
                self.key = os.path.join(scheduler.root, "remote.key")
                scheduler.cli("remote-key", self.key)
            scheduler.arguments = ("--remote", doors[i], "--remote-key", self.key, "--cluster", "--siblings", doors[1 - i], "--join-as", "s%d" % (i + 1))
            scheduler.up(*scheduler.arguments)
            self.scheduler, self.address = scheduler, doors[i].split(":")[0]
            self.parts.append(Part(scheduler, doors[i], self.add_node()))
        self.one, self.two = self.parts
        # Their ids differ: in the second part another function came first.
        self.two.scheduler.deploy_python("first")
        self.function = self.one.scheduler.deploy_python()
        self.same = self.two.scheduler.deploy_python()
        self.assertNotEqual(self.function, self.same)
        self.wait_lent(1, 1)

    def nodes_of(self, part):
        return {node["name"]: node for node in part.scheduler.status()["cluster"]["nodes"]}

    def wait_ready_part(self, part):
        """Its own node is ready, with all functions that there are now, and all its cores are free."""

        def ready():
            cluster = part.scheduler.status()["cluster"]
            node = next((each for each in cluster["nodes"] if each["name"] == part.node.member), {"state": "gone"})
            return (node["state"], node.get("free"), node.get("knows")) == ("ready", 2, cluster["generation"])

        wait_until(ready, "%s is ready: %s" % (part.node.member, self.nodes_of(part)))

    def wait_lent(self, to_one, to_two):
        """Both lend, and have so many functions of the other."""
        for part, want in ((self.two, to_one), (self.one, to_two)):
            self.wait_ready_part(part)
            wait_until(lambda: [(each["joined"], each["functions"], each["offered"]) for each in part.scheduler.json("nodes")["lent_to"]] == [(True, want, 3)],
                       "it lends: %s" % part.scheduler.json("nodes"))  # fmt: skip
        for part, other in ((self.one, "s2"), (self.two, "s1")):
            wait_until(lambda: self.nodes_of(part).get(other, {"state": "gone"})["state"] == "sibling", "%s is a sibling: %s" % (other, self.nodes_of(part)))
            wait_until(lambda: self.nodes_of(part)[other]["free"] >= 3, "with leave: %s" % self.nodes_of(part))

    def client_of(self, part):
        with inside(self.outside):
            return wcproto.Client(part.address, PORT)

    def counters(self, host):
        return host.status()["counters"]

    def burst(self, client, function, payloads):
        ids = {client.fresh_id(): payload for payload in payloads}
        for request, payload in ids.items():
            client.send(request, function, payload)
        return ids

    def collect(self, client, ids):
        answers = {}
        while len(answers) < len(ids):
            answer = client.receive(harness.PATIENCE_S)
            self.assertIsNotNone(answer, "%d of %d answers" % (len(answers), len(ids)))
            self.assertNotIn(answer.request_id, answers)
            answers[answer.request_id] = answer
        return answers

    def check_replies(self, answers, function):
        wrong = [answer for answer in answers.values() if (answer.kind, answer.function_id) != (wcproto.REPLY, function)]
        self.assertEqual(wrong, [])

    def check_sound(self):
        for part in self.parts:
            for host in (part.scheduler, part.node):
                host.wait_idle()
                self.assertEqual(host.problems(), [])
                host.check_counters()
            self.wait_ready_part(part)

    def fill(self, part, client, function, name="go", count=3):
        """All cores of that part are taken until the file is there."""
        ids = self.burst(client, function, [json.dumps({"do": "wait", "file": name}).encode()] * count)
        wait_until(lambda: all(core["state"] == "running" for host in (part.scheduler, part.node) for core in host.status()["cores"]), "all cores of it are taken")
        return ids

    def release(self, name="go"):
        with open(os.path.join(self.one.scheduler.shared, name), "w"):
            pass


    def again(self, client, request, payload):
        """It has been answered, and its reply comes again."""
        client.send(request, self.function, payload)
        answer = client.receive(harness.PATIENCE_S)
        self.assertEqual((answer.request_id, answer.payload, answer.flags & 16), (request, b'"once"', 16))  # CACHED


class Siblings(SiblingsTest):
    def test_spill(self):
        """Own cores, then those of nodes, then the sibling's, there and at its node: six at once. More wait, and run in both parts."""
        with self.client_of(self.one) as client:
            answers = self.collect(client, self.burst(client, self.function, [b'{"do": "sleep", "ms": 700}'] * 6))
            self.check_replies(answers, self.function)
            self.assertEqual(self.counters(self.one.scheduler)["to_member"], 5)
            there = self.counters(self.two.scheduler)
            self.assertEqual((there["lent"], there["to_core"], there["to_member"]), (3, 1, 2))
            self.assertEqual(self.counters(self.two.node)["ordered"], 2)
            self.check_sound()
            answers = self.collect(client, self.burst(client, self.function, [b'{"do": "sleep", "ms": 60}'] * 60))
            self.check_replies(answers, self.function)
            self.assertGreater(self.counters(self.two.scheduler)["lent"], 15)
        self.check_sound()

    def test_both(self):
        """Both have more than they can do, and send it to each other now and then; nothing goes round, everything runs once."""
        results = {}

        def load(part, function, name):
            tags = ["%s-%d" % (name, i) for i in range(150)]
            with self.client_of(part) as client:
                waiting, sent = {client.fresh_id(): tag for tag in tags}, {}
                end = time.monotonic() + harness.PATIENCE_S
                while waiting and time.monotonic() < end:
                    for request, tag in list(waiting.items())[:10]:
                        if time.monotonic() - sent.get(request, 0) > 0.5:
                            sent[request] = time.monotonic()
                            client.send(request, function, json.dumps({"do": "count", "tag": tag, "sleep_ms": 15}).encode())
                    answer = client.receive(0.05)
                    if answer and answer.request_id in waiting and answer.kind != wcproto.BUSY:
                        results[waiting.pop(answer.request_id)] = answer

        threads = [threading.Thread(target=load, args=each) for each in ((self.one, self.function, "one"), (self.two, self.same, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(collections.Counter(answer.kind for answer in results.values()), {wcproto.REPLY: 300})
        runs = self.one.scheduler.all_runs()
        self.assertEqual({tag: runs.get(tag) for tag in results}, dict.fromkeys(results, 1))
        self.check_sound()

    def test_once(self):
        """What is sent again goes where it went, and from there to where that went: it runs once, and its reply comes again, also while all cores are taken."""
        with self.client_of(self.one) as blocker, self.client_of(self.two) as there, self.client_of(self.one) as client:
            held = self.fill(self.one, blocker, self.function)
            core = self.burst(there, self.same, [b'{"do": "wait", "file": "there"}'])  # the sibling's own
            wait_until(lambda: self.two.scheduler.status()["cores"][0]["state"] == "running", "the core of the sibling is taken")
            request = client.fresh_id()
            payload = b'{"do": "count", "tag": "once", "sleep_ms": 300}'
            for _ in range(5):
                client.send(request, self.function, payload)
                time.sleep(0.02)
            answer = client.receive(harness.PATIENCE_S)
            self.assertEqual((answer.payload, answer.function_id), (b'"once"', self.function))
            self.assertIsNone(client.receive(0.3))
            self.assertEqual(self.counters(self.two.node)["ordered"], 1)
            self.again(client, request, payload)
            more = self.fill(self.two, there, self.same, "there", 2)
            self.again(client, request, payload)
            self.release("there")
            self.collect(there, {**core, **more})
            self.again(client, request, payload)
            self.release()
            self.collect(blocker, held)
        self.assertEqual(self.one.scheduler.runs("once"), 1)
        self.check_sound()

    def test_functions(self):
        """Only the same function, with the same code and settings, is lent for; and one with a limit is not."""
        only = self.one.scheduler.deploy_python("only")
        self.wait_lent(1, 1)
        with self.client_of(self.one) as blocker, self.client_of(self.one) as client:
            held = self.fill(self.one, blocker, self.function)
            ids = self.burst(client, only, [b'{"x": 1}'] * 2)
            wait_until(lambda: self.counters(self.one.scheduler)["to_pending"] == 2, "they wait here")
            time.sleep(0.3)
            self.assertEqual(self.counters(self.two.scheduler)["lent"], 0)
            self.two.scheduler.deploy_python("only")  # now it may: what waits goes there
            self.collect(client, ids)
            self.assertEqual(self.counters(self.two.scheduler)["lent"], 2)
            self.one.scheduler.cli("limit", "only", "--concurrency", "2")
            ids = self.burst(client, only, [b'{"x": 1}'] * 2)
            time.sleep(0.3)
            self.assertEqual(self.counters(self.two.scheduler)["lent"], 2)
            self.release()
            self.collect(blocker, held)
            self.collect(client, ids)
        self.check_sound()

    def test_killed(self):
        """What the sibling had is told to be lost; when it is there again it gets something again. And one that is drained gets nothing."""
        with self.client_of(self.one) as client:
            payload = b'{"do": "count", "tag": "killed", "sleep_ms": 1500}'
            ids = self.burst(client, self.function, [payload] * 6)
            wait_until(lambda: self.one.scheduler.runs("killed") == 6, "all of them run")
            self.two.scheduler.kill9()
            wait_until(lambda: "s2" not in self.nodes_of(self.one), "it is gone")
            codes = collections.Counter(client.invoke(self.function, payload, request_id=request).code for request in ids)
            # Its node's two ran on, but who sent them there is not known to have them any more.
            self.assertEqual(codes, {0: 3, wcproto.NODE_LOST: 3})
            self.assertEqual(self.one.scheduler.runs("killed"), 6)
            self.two.scheduler.up(*self.two.scheduler.arguments)
            self.wait_lent(1, 1)
            lent = self.counters(self.two.scheduler)["lent"]
            self.collect(client, self.burst(client, self.function, [b'{"do": "sleep", "ms": 500}'] * 6))
            self.assertEqual(self.counters(self.two.scheduler)["lent"] - lent, 3)
            self.one.scheduler.cli("drain", "s2")
            lent = self.counters(self.two.scheduler)["lent"]
            self.collect(client, self.burst(client, self.function, [b'{"do": "sleep", "ms": 100}'] * 6))
            self.assertEqual(self.counters(self.two.scheduler)["lent"], lent)
        self.check_sound()

    def test_idempotent(self):
        """What was lent, and went to a node that was killed, runs again if the function says that it may, also when it has to wait for a core."""
        again = [part.scheduler.deploy_python("again", idempotent=True) for part in self.parts][0]
        self.wait_lent(2, 2)
        payload = b'{"do": "count", "tag": "again", "sleep_ms": 1500}'
        with self.client_of(self.one) as client:
            ids = self.burst(client, again, [payload] * 6)
            wait_until(lambda: self.one.scheduler.runs("again") == 6, "all of them run")
            self.two.node.kill9()
            wait_until(lambda: self.two.node.member not in self.nodes_of(self.two), "the killed node is gone")
            self.two.scheduler.wait_idle()
            with self.client_of(self.two) as there:  # no core is free to look for it
                held = self.burst(there, self.same, [b'{"do": "wait", "file": "there"}'])
                wait_until(lambda: self.two.scheduler.status()["cores"][0]["state"] == "running", "the core of the sibling is taken")
                later = threading.Timer(1, self.release, args=("there",))
                later.start()
                for request in ids:
                    answer = client.invoke(again, payload, request_id=request)
                    self.assertEqual((answer.code, answer.payload), (0, b'"again"'), answer)
                later.join()
                self.collect(there, held)
        self.assertEqual(self.one.scheduler.runs("again"), 8)

    def test_stopped(self):
        """A sibling is told to stop: it says so first, ends what it has, and no client of the other part is told of its end."""
        tags = ["stopped-%d" % i for i in range(200)]
        stopper = threading.Thread(target=self.two.scheduler.down)
        with self.client_of(self.one) as client:
            waiting, sent, answers, end = {client.fresh_id(): tag for tag in tags}, {}, {}, time.monotonic() + harness.PATIENCE_S
            while waiting and time.monotonic() < end:
                for request, tag in list(waiting.items())[:8]:
                    if time.monotonic() - sent.get(request, 0) > 0.5:
                        sent[request] = time.monotonic()
                        client.send(request, self.function, json.dumps({"do": "count", "tag": tag, "sleep_ms": 10}).encode())
                answer = client.receive(0.05)
                if answer and answer.kind != wcproto.BUSY and answer.request_id in waiting:
                    answers[waiting.pop(answer.request_id)] = answer
                if len(answers) == 60:
                    self.assertGreater(self.counters(self.two.scheduler)["lent"], 10)
                    stopper.start()
                    answers[""] = answer  # once
        stopper.join()
        self.assertFalse(waiting)
        self.assertEqual({tag: answer.code for tag, answer in answers.items() if answer.kind != wcproto.REPLY}, {})
        runs = self.one.scheduler.all_runs()
        self.assertEqual({tag: runs.get(tag) for tag in tags}, dict.fromkeys(tags, 1))
        self.assertEqual(self.one.scheduler.problems(), [])

    def test_lossy(self):
        """Datagrams are lost, late, repeated and out of order: every invocation is answered, and none runs twice."""
        self.faults(loss=0.15, late=0.2, again=0.1, late_ms=10)
        tags = ["lossy-%d" % i for i in range(120)]
        with self.client_of(self.one) as client:
            waiting, sent, end = {client.fresh_id(): tag for tag in tags}, {}, time.monotonic() + harness.PATIENCE_S
            while waiting and time.monotonic() < end:
                for request, tag in list(waiting.items())[:16]:
                    if time.monotonic() - sent.get(request, 0) > 0.3:
                        sent[request] = time.monotonic()
                        client.send(request, self.function, json.dumps({"do": "count", "tag": tag, "sleep_ms": 10}).encode())
                answer = client.receive(0.05)
                if answer and answer.kind != wcproto.BUSY and answer.request_id in waiting:
                    self.assertEqual(answer.payload.decode(), json.dumps(waiting.pop(answer.request_id)), answer)
        self.assertFalse(waiting)
        runs = self.one.scheduler.all_runs()
        self.assertEqual({tag: runs.get(tag) for tag in tags}, dict.fromkeys(tags, 1))
        self.assertGreater(self.counters(self.two.scheduler)["lent"], 0)
        self.faults()
        self.check_sound()


class Failover(failover.FailoverTest):
    """The first part has two schedulers, of which one leads, and no node; the second part one, with two cores, and a node with two."""

    NODES = 0

    def setUp(self):
        cluster.ClusterTest.setUp(self)
        self.start_etcd()
        netns = self.host("t")
        self.other_door = "192.0.2.%d:%d" % (self.hosts[netns], DOOR)
        for _ in range(self.SCHEDULERS):
            self.add_scheduler("--siblings", self.other_door, "--part", "one")
        wait_until(self.leader, "one leads")
        self.second = harness.Node("t", "--dev", "eth0", "--cores", "0-1", "--poll-us", "0", netns=netns)
        self.addCleanup(self.second.close)
        self.second.shared = self.schedulers[0].shared
        self.second.up("--cluster", "--remote", self.other_door, "--remote-key", self.key, "--join-as", "t", "--siblings", self.doors().replace(",", "/"))
        self.node = harness.Node("u", "--dev", "eth0", "--cores", "0-1", "--poll-us", "0", netns=self.host("u"))
        self.addCleanup(self.node.close)
        self.node.shared = self.second.shared
        self.node.up("--join", self.other_door, "--remote-key", self.key, "--join-as", "u")
        self.second.deploy_python("first")  # so that ids differ
        for host in (self.leader(), self.second):
            self.function = host.deploy_python("long", timeout_ms=60000)
        self.function = next(each["id"] for each in self.leader().json("list")["functions"] if each["name"] == "long")
        self.wait_lent()

    def wait_lent(self):
        def lent():
            leader = self.leader()
            if not leader:
                return False
            nodes = {each["name"]: each for each in leader.status()["cluster"]["nodes"]}
            own = {each["name"]: each for each in self.second.status()["cluster"]["nodes"]}
            generation = self.second.status()["cluster"]["generation"]
            return (nodes.get("t", {}).get("state") == "sibling" and nodes["t"]["free"] >= 4 and own.get("u", {}).get("state") == "ready" and own["u"]["free"] == 2
                    and own["u"]["knows"] == generation and self.second.json("nodes")["lent_to"][0]["functions"] == 1)  # fmt: skip

        wait_until(lent, "the second part lends: %s" % self.second.json("nodes"))

    def test_known(self):
        """The leader dies: the next one is told by the sibling what that has, also what is at its node; nothing of it runs again, and its answers come."""
        leader = self.leader()
        standby = self.other(leader)
        self.assertIn("t", [each["name"] for each in leader.status()["cluster"]["nodes"]])
        with self.client() as client:
            # One of them at the leader, one at the standby, which is its node, and four in the second part.
            requests = {client.fresh_id(): json.dumps({"do": "count", "tag": "known-%d" % i, "sleep_ms": 4000}).encode() for i in range(6)}
            for request, payload in requests.items():
                client.send(request, self.function, payload)
            wait_until(lambda: sum(tag.startswith("known") for tag in leader.all_runs()) == 6, "all have begun: %s" % leader.all_runs())
            self.assertEqual(self.second.status()["counters"]["lent"], 4)
            leader.kill9()
            answers = self.insist(client, requests)
        codes = collections.Counter(answer.code for answer in answers.values())
        self.assertEqual(codes, {0: 5, wcproto.NODE_LOST: 1})
        self.check_once("known")
        self.assertIs(self.leader(), standby)
        self.assertIn("t", [each["name"] for each in standby.status()["cluster"]["nodes"]])
        self.assertEqual(self.second.problems(), [])

    def test_sibling_restarts(self):
        """The sibling's daemon dies while the part's leader lives: what was there is lost, and said to be; when it is there again it gets something."""
        leader = self.leader()
        with self.client() as client:
            requests = {client.fresh_id(): json.dumps({"do": "count", "tag": "again-%d" % i, "sleep_ms": 5000}).encode() for i in range(6)}
            for request, payload in requests.items():
                client.send(request, self.function, payload)
            wait_until(lambda: sum(tag.startswith("again") for tag in leader.all_runs()) == 6, "all have begun")
            self.second.kill9()
            answers = self.insist(client, requests)
            # All that was there, and then come, after all, the answers of its node.
            lost = collections.Counter(answer.code for answer in answers.values())
            self.assertEqual((lost[0] + lost[wcproto.NODE_LOST], lost[wcproto.NODE_LOST] in (2, 3, 4)), (6, True), lost)
            self.check_once("again")
            self.second.up("--cluster", "--remote", self.other_door, "--remote-key", self.key, "--join-as", "t", "--siblings", self.doors().replace(",", "/"))
            self.wait_lent()
            before = self.second.status()["counters"]["lent"]
            requests = {client.fresh_id(): b'{"do": "sleep", "ms": 500}' for _ in range(6)}
            self.insist(client, requests, every=0.3)
            self.assertGreater(self.second.status()["counters"]["lent"], before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
