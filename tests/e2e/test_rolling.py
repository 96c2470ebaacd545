#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""All daemons of a cluster are upgraded one after the other, under load, to a program that speaks other versions of the cluster's protocol, and back again: each
invocation is answered, none runs twice, and none is told to be lost."""

import collections
import json
import os
import shutil
import threading
import time
import unittest

import failover
import harness
import wcproto
from cluster import PORT, inside
from harness import wait_until
from test_siblings import SiblingsTest

PROGRAMS = {"now": os.path.join(harness.BUILD, "bin", "warmcored"), "next": os.path.join(harness.BUILD, "tests", "e2e", "warmcored-next")}
SPEAKS = {"now": 2, "next": 3}  # the last version of each; they have 2 in common


class Load:
    """Clients that count up, each invocation under one request id that is sent again until it is answered; its function writes down each run."""

    def __init__(self, outside, targets, wide=3):
        self.stop = threading.Event()
        self.answers, self.wrong, self.done = {}, [], [0] * len(targets)
        self.threads = []
        for index, (address, function) in enumerate(targets):
            with inside(outside):
                client = wcproto.Client(address, PORT)
            self.threads.append(threading.Thread(target=self.run, args=(index, client, function, wide)))
        for thread in self.threads:
            thread.start()

    def run(self, index, client, function, wide):
        waiting, sent, number = {}, {}, 0
        try:
            while waiting or not self.stop.is_set():
                while len(waiting) < wide and not self.stop.is_set():
                    waiting[client.fresh_id()] = ("%d-%d" % (index, number), time.monotonic())
                    number += 1
                now = time.monotonic()
                for request, (tag, begun) in waiting.items():
                    if now - begun > harness.PATIENCE_S:
                        raise AssertionError("%s was not answered" % tag)
                    if now - sent.get(request, 0) > 0.1:
                        sent[request] = now
                        client.send(request, function, json.dumps({"do": "count", "tag": tag, "sleep_ms": 30}).encode())
                answer = client.receive(0.02)
                if answer and answer.request_id in waiting and answer.kind != wcproto.BUSY:
                    self.answers[waiting.pop(answer.request_id)[0]] = answer
                    self.done[index] += 1
        except Exception as error:  # pylint: disable=broad-except
            self.wrong.append(repr(error))
        finally:
            client.socket.close()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


class Rolling:
    """What is the same whatever the cluster is made of."""

    def begin(self, targets):
        self.load = Load(self.outside, targets)
        self.addCleanup(self.load.end)

    def goes_on(self):
        """Each client has had answers to what it sent after now, and so may have met whatever has just changed."""
        before = list(self.load.done)
        wait_until(lambda: self.load.wrong or all(now > then + 15 for now, then in zip(self.load.done, before)), "invocations go on")
        self.assertEqual(self.load.wrong, [])

    def hand_over(self, host, to):
        root = os.path.join(host.root, to)
        path = os.path.join(root, "bin", "warmcored")
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path))
            os.symlink(os.path.join(harness.BUILD, "lib"), os.path.join(root, "lib"))
            shutil.copy(PROGRAMS[to], path)
        before = host.pid
        lost = [answer.code for answer in self.load.answers.values()].count(wcproto.NODE_LOST)
        answer = host.json("upgrade", "--timeout", "120", path)
        host.pid = host.status()["node"]["pid"]
        self.assertEqual(host.pid, answer["pid"])
        self.assertEqual(os.readlink("/proc/%d/exe" % host.pid), path)
        wait_until(lambda: harness.process_state(before) in ("", "Z"), "the daemon from before has ended")
        self.settled()
        self.goes_on()
        now = [answer.code for answer in self.load.answers.values()].count(wcproto.NODE_LOST)
        print("  %s -> %s: %d lost" % (host.name, to, now - lost), flush=True)

    def finish(self, scheduler):
        self.load.end()
        self.assertEqual(self.load.wrong, [])
        codes = collections.Counter(answer.code for answer in self.load.answers.values() if answer.kind != wcproto.REPLY)
        runs = scheduler.all_runs()
        self.assertEqual({tag: count for tag, count in runs.items() if count > 1}, {}, "ran twice")
        self.assertEqual([tag for tag, answer in self.load.answers.items() if answer.kind == wcproto.REPLY and runs.get(tag) != 1], [])
        print("  %d invocations, %s" % (len(self.load.answers), dict(codes)), flush=True)
        self.assertEqual(codes, {})


class Cluster(failover.FailoverTest, Rolling):
    def settled(self):
        wait_until(self.leader, "one leads")
        wait_until(lambda: sum(each["state"] == "ready" for each in self.leader().status()["cluster"]["nodes"]) == self.NODES + len(self.schedulers) - 1
                   if self.leader() else False, "all nodes are ready")  # fmt: skip

    def protocols(self):
        """What is spoken with each of them, and what would have to be."""
        return {each["name"]: each["protocol"] for each in self.leader().status()["cluster"]["nodes"]}

    def test_nodes_first(self):
        self.roll(("nodes", "standby", "leader"))

    def test_leader_first(self):
        self.roll(("leader", "standby", "nodes"))

    def roll(self, order):
        self.begin([(self.VIRTUAL, self.function)] * 4)
        self.goes_on()
        for to in ("next", "now"):
            leader = self.leader()
            hosts = {"nodes": self.nodes, "standby": [self.other(leader)], "leader": [leader]}
            for kind in order:
                for host in hosts[kind]:
                    self.hand_over(host, to)
                    # Of two programs they speak the highest version that both have.
                    spoken = set(self.protocols().values())
                    self.assertLessEqual(spoken, {2, 3}, spoken)
            self.assertEqual(set(self.protocols().values()), {SPEAKS[to]})
        self.finish(self.schedulers[0])
        self.check_sound()


class Siblings(SiblingsTest, Rolling):
    def settled(self):
        def ready():
            return all(set(node["state"] for node in self.nodes_of(part).values()) == {"ready", "sibling"} and part.scheduler.json("nodes")["lent_to"][0]["joined"]
                       for part in self.parts)  # fmt: skip

        wait_until(ready, "all are joined again: %s" % [self.nodes_of(part) for part in self.parts])

    def test_both_orders(self):
        self.begin([(self.one.address, self.function)] * 3 + [(self.two.address, self.same)])
        self.goes_on()
        for to, order in (("next", lambda part: (part.node, part.scheduler)), ("now", lambda part: (part.scheduler, part.node))):
            for part in self.parts:
                for host in order(part):
                    self.hand_over(host, to)
        self.assertGreater(self.counters(self.two.scheduler)["lent"], 0)
        self.finish(self.one.scheduler)


if __name__ == "__main__":
    unittest.main(verbosity=2)
