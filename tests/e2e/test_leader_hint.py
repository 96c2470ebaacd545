#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A node that is told by a standby who leads goes there next, instead of round its list. The schedulers are stand-ins, each on a port of one host."""

import os
import time

import cluster
import cluster_peer
import harness
from cluster import inside
from harness import wait_until


class Hints(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        self.away = self.host("s")
        self.address = "192.0.2.%d" % self.hosts[self.away]
        self.stand_ins, self.says = {}, {}
        self.key_holder = harness.Node("k")
        self.addCleanup(self.key_holder.close)
        self.key = os.path.join(self.key_holder.root, "remote.key")
        self.key_holder.cli("remote-key", self.key)

    def door(self, port):
        return "%s:%d" % (self.address, port)

    def stand_in(self, port, leader=None):
        """Says that `leader` leads, or, if that is its own port, does so."""
        self.says[port] = leader

        def answer(question):
            leader = self.says[port]
            if leader != port:
                return {"ok": False, "code": "standby", "error": "another one leads", **({"leader": self.door(leader)} if leader else {})}
            if question["op"] == "join":
                return {"ok": True, "member": 3, "term": 77, "address": self.address, "port": 4750}
            return {"ok": True, "generation": 1, **({} if question.get("generation") else {"functions": []})}

        with inside(self.away):
            self.stand_ins[port] = cluster_peer.Scheduler((self.address, port), cluster_peer.key_of(self.key), answer)
        self.addCleanup(self.stand_ins[port].close)

    def begin(self, *ports):
        node = harness.Node("n1", "--dev", "eth0", "--cores", "0", "--poll-us", "0", netns=self.host("n1"))
        self.addCleanup(node.close)
        self.nodes.append(node)
        node.up("--join", ",".join(self.door(port) for port in ports), "--remote-key", self.key, "--join-as", "n1")

    def joined(self):
        return self.nodes[0].status()["membership"]["joined"]

    def sessions(self, *ports):
        return [self.stand_ins[port].sessions for port in ports]

    def test_next(self):
        """Straight to the leader: nobody else in the list is asked; also when the leader is not in it."""
        for port, leader in ((4751, 4759), (4752, None), (4753, None), (4759, 4759)):
            self.stand_in(port, leader)
        self.begin(4751, 4752, 4753)
        wait_until(self.joined, "it has joined")
        self.assertEqual(self.sessions(4751, 4752, 4753, 4759), [1, 0, 0, 1])

    def test_wrong(self):
        """Two that take each other for the leader do not keep it from a third one, nor does one that names nobody who is there."""
        for port, leader in ((4751, 4752), (4752, 4751), (4753, None), (4754, 4758), (4755, None)):
            self.stand_in(port, leader)
        self.begin(4751, 4752, 4753, 4754, 4755)
        wait_until(lambda: self.stand_ins[4755].sessions >= 3, "it goes round")
        self.assertFalse(self.joined())
        self.says[4753] = 4753
        wait_until(self.joined, "it has joined")

    def test_no_flood(self):
        """Hints make it no faster than twice as fast."""
        for port, leader in ((4751, 4752), (4752, 4751)):
            self.stand_in(port, leader)
        self.begin(4751, 4752)
        wait_until(lambda: self.stand_ins[4751].sessions, "it tries")
        before, begun = sum(self.sessions(4751, 4752)), time.monotonic()
        wait_until(lambda: sum(self.sessions(4751, 4752)) >= before + 12, "it tries")
        self.assertGreater(time.monotonic() - begun, 12 / 2 * 0.25 - 0.5)


if __name__ == "__main__":
    harness.main()
