#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A cluster whose hosts are not of one version: the other end of a session is a stand-in that is older, newer, or too new."""

import os
import time

import cluster
import cluster_peer
import harness
import wcproto
from cluster import DOOR, inside
from harness import wait_until

FUTURE = {"first": 2, "last": 7, "features": ["teleport", "counts"], "of": "a later time"}
TOO_NEW = {"first": 5, "last": 7, "features": []}


def log_of(node):
    with open(os.path.join(node.state, "daemon.log")) as file:
        return file.read()


class OtherNodes(cluster.ClusterTest):
    """The scheduler is this version's, a node is not."""

    def setUp(self):
        super().setUp()
        self.start()
        self.function = self.scheduler.deploy_python()
        self.away = self.host("o")
        self.away_address = "192.0.2.%d" % self.hosts[self.away]

    def peer(self):
        with inside(self.away):
            made = cluster_peer.Node((self.address, DOOR), cluster_peer.key_of(self.key))
        self.addCleanup(made.close)
        return made

    def test_older(self):
        """It says nothing of versions, and has what there was before; no field that it does not know disturbs it."""
        peer = self.peer()
        answer = peer.join("old", self.away_address)
        self.assertTrue(answer["ok"] and answer["member"] and answer["term"], answer)
        self.assertEqual((answer["protocol"], answer["features"]), (1, []))
        answer = peer.ask("beat", generation=0)
        self.assertEqual([each["name"] for each in answer["functions"]], ["probe"])
        self.assertTrue(peer.ask("beat", generation=answer["generation"])["ok"])
        shown = self.members()["old"]
        self.assertEqual((shown["protocol"], shown["features"]), (1, []))
        # It says what its functions have done without having been told that this is understood: that is nothing to fail by.
        self.assertTrue(peer.ask("beat", generation=answer["generation"], counts="?", took_us=[])["ok"])

    def test_newer(self):
        """The highest common version, and the common features; fields and ops that there are not here cost it nothing."""
        peer = self.peer()
        answer = peer.join("new", self.away_address, speaks=FUTURE, color="blue", more=[{}])
        self.assertEqual((answer["ok"], answer["protocol"], answer["features"]), (True, 2, ["counts"]), answer)
        self.assertEqual(answer["speaks"], {"first": 1, "last": 2, "features": ["counts"]})
        for op in ("teleport", "x" * 1000, ""):
            said = peer.ask(op, to="there")
            self.assertEqual((said["ok"], said["code"], said["op"]), (False, "unknown-op", op), said)
            self.assertIn('"%s"' % op[:60], said["error"])
        answer = peer.ask("beat", generation=0, mood="good", counts=[[self.function, 1, 0, 5, "newer"], "?", [1]], took_us=100)
        self.assertTrue(answer["ok"], answer)
        self.assertTrue(peer.ask("beat", generation=answer["generation"])["ok"])
        self.assertEqual((self.members()["new"]["protocol"], self.members()["new"]["features"]), (2, ["counts"]))
        # A second join is none of what is unknown, nor is a question without an op.
        self.assertEqual(peer.join("new", self.away_address)["code"], "bad-request")
        self.assertTrue(peer.ask("beat", generation=answer["generation"])["ok"])

    def test_too_new(self):
        """It is told why, and so are those who look at the scheduler; each time it tries, but in the log once. The others are not concerned."""
        self.add_node()
        self.wait_ready()
        for i in range(3):
            with self.peer() as peer:
                answer = peer.join("future", self.away_address, speaks=TOO_NEW)
                self.assertEqual((answer["ok"], answer["code"]), (False, "protocol"), answer)
                self.assertEqual(answer["speaks"]["last"], 2)
                self.assertIn("the node speaks protocol 5 to 7 of the cluster, its scheduler 1 to 2: upgrade its scheduler", answer["error"])
                self.assertEqual(peer.ask("beat", generation=0)["code"], "bad-request")
        with self.peer() as peer:
            self.assertEqual(peer.join("nonsense", "::", speaks={"first": 9, "last": 3})["code"], "protocol")
        refused = {each["name"]: each for each in self.scheduler.status()["cluster"]["refused"]}
        self.assertEqual((refused["future"]["tries"], refused["future"]["address"]), (3, self.away_address), refused)
        self.assertEqual(refused["nonsense"]["address"], "?")
        self.assertEqual(log_of(self.scheduler).count("node future is not let into the cluster"), 1)
        shown = self.scheduler.cli("nodes").stdout
        self.assertIn("future (%s) is not let in: the node speaks protocol 5 to 7" % self.away_address, shown)
        self.assertEqual(self.members()["n1"]["protocol"], 2)
        with self.client() as client:
            self.assertEqual(client.invoke(self.function, b"{}").kind, wcproto.REPLY)
        # After an upgrade it gets in, and is not shown any more.
        peer = self.peer()
        self.assertTrue(peer.join("future", self.away_address, speaks=FUTURE)["ok"])
        self.assertNotIn("future", [each["name"] for each in self.scheduler.status()["cluster"]["refused"]])


class OtherSchedulers(cluster.ClusterTest):
    """The node is this version's, the scheduler is not."""

    def setUp(self):
        super().setUp()
        self.away = self.host("s")
        self.address = "192.0.2.%d" % self.hosts[self.away]

    def begin(self, **joined):
        """A scheduler that says that of itself when a node joins, and a node."""

        def answer(question):
            if question["op"] == "join":
                return {"ok": True, "member": 3, "term": 77, "address": self.address, "port": 4750, **self.joined}
            if question["op"] == "beat":
                fresh = {} if question["generation"] == 1 else {"functions": []}
                return {"ok": True, "generation": 1, "news": "none", **fresh}
            return {"ok": False, "code": "unknown-op", "error": "?"}

        self.joined = joined
        self.schedulers = [harness.Node("k")]  # its folder, for the key
        self.addCleanup(self.schedulers[0].close)
        self.key = os.path.join(self.schedulers[0].root, "remote.key")
        self.schedulers[0].cli("remote-key", self.key)
        with inside(self.away):
            self.stand_in = cluster_peer.Scheduler((self.address, DOOR), cluster_peer.key_of(self.key), answer)
        self.addCleanup(self.stand_in.close)
        self.schedulers[0].netns = self.away
        return self.add_node(cores="0")

    def beats(self):
        return [each for each in self.stand_in.asked if each["op"] == "beat"]

    def membership(self):
        return self.nodes[0].status()["membership"]

    def wait_joined(self, protocol):
        wait_until(lambda: self.membership()["joined"] and self.membership()["protocol"] == protocol, "it has joined: %s" % self.membership())

    def test_older(self):
        """It says nothing of versions: the node speaks as it did then."""
        self.begin(window=False)
        self.wait_joined(1)
        self.assertEqual(self.stand_in.asked[0]["speaks"], {"first": 1, "last": 2, "features": ["counts"]})
        count = len(self.beats())
        wait_until(lambda: len(self.beats()) > count + 5, "it goes on")
        self.assertEqual(set().union(*self.beats()) - {"op", "generation", "lacks"}, set())
        # Leaving is a word that this scheduler may not know: the node goes all the same, when nothing of it runs.
        self.nodes[0].cli("leave")
        wait_until(lambda: self.membership()["left"], "it has left")

    def test_newer(self):
        """It has agreed to this node's version; what else it says is ignored."""
        self.begin(protocol=2, features=["counts", "teleport"], speaks=FUTURE, color="blue")
        self.wait_joined(2)
        self.assertEqual(self.membership()["features"], ["counts"])
        wait_until(lambda: any(each.get("took_us") for each in self.beats()), "it says how it is")

    def test_too_new(self):
        """One that insists on what is not spoken here is not obeyed. The node says so once, tries ever less often, serves who asks it, and is in when that has changed."""
        node = self.begin(protocol=5)
        why = "the scheduler speaks protocol 5 of the cluster, this node 1 to 2: upgrade this node"
        wait_until(lambda: why in (self.membership()["why"] or ""), "it says why")
        self.assertIn(why, node.cli("nodes").stdout)
        begun, sessions = time.monotonic(), self.stand_in.sessions
        wait_until(lambda: self.stand_in.sessions >= sessions + 2, "it tries again")
        self.assertGreater(time.monotonic() - begun, 0.7)  # without backing off, 0.5 s
        self.assertEqual(log_of(node).count(why), 1)
        self.assertEqual(self.beats(), [])
        function = node.deploy_python()
        with inside(self.outside), wcproto.Client(node.address4, cluster.PORT) as client:
            self.assertEqual(client.invoke(function, b"{}").kind, wcproto.REPLY)
        self.joined = {"protocol": 2}
        self.wait_joined(2)
        self.assertIn("joined the cluster", log_of(node))

    def test_refused(self):
        """The same, when it is the scheduler that finds nothing in common."""
        node = self.begin(ok=False, code="protocol", error="the node speaks protocol 1 to 2 of the cluster, its scheduler 5 to 7: upgrade the node", speaks=TOO_NEW)
        wait_until(lambda: "upgrade the node" in (self.membership()["why"] or ""), "it says why")
        sessions = self.stand_in.sessions
        wait_until(lambda: self.stand_in.sessions >= sessions + 2, "it tries again")
        self.assertEqual(log_of(node).count("upgrade the node"), 1)
        self.joined = {}
        self.wait_joined(1)


if __name__ == "__main__":
    harness.main()
