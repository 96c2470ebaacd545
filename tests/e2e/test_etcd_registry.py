#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What several schedulers share by etcd beside who leads: functions, limits, aliases, drained nodes, and which nodes there are. What was set at one leader holds at the
next; who does not lead any more cannot write; and who was away removes nothing."""

import base64
import json
import signal
import time
import unittest
import urllib.request

import failover
import wcproto
from cluster import inside
from harness import wait_until


class Registry(failover.FailoverTest):
    """Reads etcd as `etcdctl get --prefix` does."""

    OPTIONS = ()

    def add_scheduler(self, *options, cores="0"):
        return super().add_scheduler(*self.OPTIONS, *options, cores=cores)

    def start_again(self, host):
        return self.start_scheduler(host, *self.OPTIONS)

    # --- etcd ---

    def ask_etcd(self, path, **question):
        netns = next(name for name in self.hosts if "e2e-e" in name)
        request = urllib.request.Request(self.etcd + path, json.dumps(question).encode(), {"Content-Type": "application/json"})
        with inside(netns), urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def texts(self):
        """{key below /warmcore/ID/: value} of all that is there."""
        begin, end = (base64.b64encode(key).decode() for key in (b"/warmcore/", b"/warmcore0"))
        found = self.ask_etcd("/v3/kv/range", key=begin, range_end=end).get("kvs", [])
        decoded = {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]).decode() for kv in found}
        self.prefix = "/".join(next(iter(decoded)).split("/")[:3]) + "/" if decoded else None
        return {key[len(self.prefix) :]: value for key, value in decoded.items()}

    def keys(self, folder):
        return {key[len(folder) + 1 :]: json.loads(value) for key, value in self.texts().items() if key.startswith(folder + "/")}

    def put(self, key, value):
        self.ask_etcd("/v3/kv/put", key=base64.b64encode((self.prefix + key).encode()).decode(), value=base64.b64encode(value.encode()).decode())

    # --- the cluster ---

    @staticmethod
    def until(condition, what, now):
        """As wait_until(); what is so in the end is said."""
        try:
            return wait_until(condition, what)
        except AssertionError as error:
            raise AssertionError("%s; now %s" % (error, now())) from None

    def registry(self, host=None):
        return (host or self.leader()).status()["election"]["registry"]

    def wait_current(self):
        """The last look of the leader was after this began, and nothing is left."""
        time.sleep(0.5)
        self.until(lambda: self.leader() and self.registry()["current"], "the registry is up to date", lambda: [host.status()["election"] for host in self.schedulers if host.pid])

    def kill_leader(self):
        """Returns the next one."""
        leader = self.leader()
        leader.kill9()
        wait_until(self.leader, "another one leads")
        wait_until(lambda: self.registry()["settled"], "it has read what is there")
        self.assertIsNot(self.leader(), leader)
        print("the registry was in force after %.1f ms" % self.registry()["settled_ms"])
        return self.leader()

    @staticmethod
    def limits(host, name="probe", qualifier="$LATEST"):
        function = next(each for each in host.json("list", "--all")["functions"] if each["name"] == name and each["qualifier"] == qualifier)
        return {key: function[key] for key in ("concurrency", "reserved", "queue", "priority", "provisioned")}

    def states(self):
        return {node["name"]: node["state"] for node in self.leader().status()["cluster"]["nodes"]}


class Next(Registry):
    def test_set(self):
        """Limits, aliases and drained nodes are those that the leader before had; secrets are not in etcd."""
        first = self.leader()
        first.cli("secret", "probe", "PASSWORD", stdin=b"hidden-one")
        first.deploy_python("told", environment={"TOKEN": "hidden-two"})
        first.cli("publish", "probe")
        self.wait_in()
        first.cli("limit", "probe", "--concurrency", "3", "--queue", "7", "--priority", "2", "--provisioned", "1")
        first.cli("limit", "probe:1", "--concurrency", "2")
        first.cli("alias", "probe", "live", "1", "--description", "what is live")
        first.cli("drain", "n1")
        self.wait_current()
        functions = self.keys("functions")
        self.assertEqual(set(functions), {"probe/$LATEST", "probe/1", "told/$LATEST"})
        self.assertEqual(functions["probe/$LATEST"]["id"], self.function)
        self.assertEqual(functions["probe/$LATEST"]["limits"], {"concurrency": 3, "reserved": 0, "queue": 7, "priority": 2, "provisioned": 1})
        self.assertEqual(functions["probe/$LATEST"]["code_sha256"], functions["probe/1"]["code_sha256"])
        self.assertEqual(functions["told/$LATEST"]["settings"]["runtime"], "python")
        self.assertEqual(self.keys("aliases")["probe/live"]["version"], "1")
        self.assertEqual(self.keys("drained"), {"n1": {}})
        self.assertNotIn("hidden", json.dumps(self.texts()))
        limits = {qualifier: self.limits(first, qualifier=qualifier) for qualifier in ("$LATEST", "1")}

        second = self.kill_leader()
        self.assertEqual({qualifier: self.limits(second, qualifier=qualifier) for qualifier in limits}, limits)
        alias = second.json("alias", "probe", "live")["alias"]
        self.assertEqual((alias["version"], alias["description"]), ("1", "what is live"))
        self.until(lambda: self.states() == {"n1": "draining", "n2": "ready"}, "nodes are as before", self.states)
        with self.client() as client:
            ids = [client.fresh_id() for _ in range(20)]
            for request in ids:
                client.send(request, self.function, b'{"do": "sleep", "ms": 20}')
            for _ in ids:
                client.receive(1)
        self.assertEqual({node["name"]: node["orders"] for node in second.status()["cluster"]["nodes"]}["n1"], 0)
        self.assertEqual(self.registry()["refused"], {})
        # What is taken back holds, too, at the first one again.
        second.cli("drain", "--undo", "n1")
        second.cli("alias", "--remove", "probe", "live")
        second.cli("limit", "probe", "--concurrency", "0", "--provisioned", "0")
        second.cli("remove", "told")
        self.start_again(first)
        self.wait_in()
        self.wait_current()
        self.assertEqual((self.keys("drained"), self.keys("aliases"), set(self.keys("functions"))), ({}, {}, {"probe/$LATEST", "probe/1"}))
        self.assertIs(self.kill_leader(), first)
        self.assertEqual(self.limits(first)["concurrency"], 0)
        self.assertEqual(self.limits(first)["queue"], 7)
        self.assertEqual(first.json("alias", "probe")["aliases"], [])
        self.wait_in(self.NODES)
        self.assertEqual(set(self.states().values()), {"ready"})
        for names in ("lacks", "outdated", "removed"):
            self.assertEqual(self.registry()[names], [])

    def test_refused(self):
        """What the next leader cannot put into force stays in etcd, and holds again at one that can."""
        first, second = self.leader(), self.other(self.leader())
        wide = self.add_scheduler(cores="0-1")
        for node in self.nodes:
            node.down()
            self.join(node)
        self.wait_in()
        for host in (first, second):  # one core each: none of them could be reserved
            host.down()
        wait_until(lambda: self.leader() is wide, "the one with two cores leads")
        wide.cli("limit", "probe", "--reserved", "1", "--queue", "5")
        self.wait_current()
        self.start_again(first)
        self.wait_in(self.NODES + 1)
        wide.down()
        wait_until(lambda: self.leader() is first and self.registry()["settled"], "one with one core leads")
        self.assertEqual((self.limits(first)["reserved"], self.limits(first)["queue"]), (0, 5))
        self.assertIn("functions/probe/$LATEST", self.registry()["refused"])
        self.assertIn("not in force here", first.cli("nodes").stdout)
        self.wait_current()
        self.assertEqual(self.keys("functions")["probe/$LATEST"]["limits"]["reserved"], 1)
        self.start_again(wide)
        self.wait_in(self.NODES + 1)
        first.kill9()
        wait_until(lambda: self.leader() is wide and self.registry()["settled"], "the one with two cores leads again")
        self.assertEqual((self.limits(wide)["reserved"], self.limits(wide)["queue"]), (1, 5))

    def test_nodes(self):
        """Keys of nodes come and go with them, and all go when no leader is left."""
        leader = self.leader()
        self.wait_current()
        nodes = self.keys("nodes")
        self.assertEqual({name: node["state"] for name, node in nodes.items()},
                         {"n1": "ready", "n2": "ready", leader.member: "leads", self.other(leader).member: "ready"})  # fmt: skip
        self.assertEqual(nodes["n1"], {"address": "%s:4750" % self.nodes[0].address4, "cores": 2, "state": "ready"})
        leader.cli("drain", "n2")
        wait_until(lambda: self.keys("nodes")["n2"]["state"] == "draining", "it is seen there")
        self.nodes[0].down()
        wait_until(lambda: "n1" not in self.keys("nodes"), "it is not there any more")
        self.join(self.nodes[0])
        wait_until(lambda: self.keys("nodes").get("n1", {}).get("state") == "ready", "it is there again")
        other = self.other(leader)
        other.down()
        wait_until(lambda: set(self.keys("nodes")) == {"n1", "n2", leader.member}, "the standby has left")
        time.sleep(12)  # longer than the lease of the keys, which is kept alive
        self.assertEqual(set(self.keys("nodes")), {"n1", "n2", leader.member})
        leader.kill9()
        begun = time.monotonic()
        wait_until(lambda: not self.keys("nodes"), "nobody is there")
        print("the keys of nodes were there for %.1f s after the leader's death" % (time.monotonic() - begun))
        self.assertTrue(self.keys("functions"))

    def test_away(self):
        """A scheduler that was away leads alone: it knows what it lacks, and nobody removes anything. Then one leads that has everything."""
        first, away = self.leader(), self.other(self.leader())
        gone = first.deploy_python("gone")
        self.wait_in()
        away.down()
        first.cli("remove", "gone")
        second = first.deploy_python("second")
        first.cli("publish", "second")
        first.deploy("probe", "python", "probe.handler", {"probe.py": b"def handler(event, context):\n    return 'new'\n"})
        first.cli("limit", "probe", "--queue", "9")
        self.wait_in(self.NODES)
        self.wait_current()
        there = {key: self.keys(key) for key in ("functions", "aliases")}
        have = [{each["name"]: each["code_sha256"] for each in node.json("list")["functions"]} for node in self.nodes]
        first.kill9()
        self.start_again(away)
        wait_until(lambda: self.leader() is away and self.registry()["settled"], "it leads alone")
        self.wait_in(self.NODES)
        registry = self.registry()
        self.assertEqual((registry["lacks"], registry["outdated"], registry["removed"]), (["second", "second:1"], ["probe"], ["gone"]))
        text = away.cli("nodes").stdout
        self.assertIn("functions of the cluster that this scheduler does not have: second, second:1", text)
        self.assertIn("that are others here than in the cluster: probe", text)
        self.assertIn("here that were removed from the cluster: gone", text)
        third = away.deploy_python("third")
        self.assertNotIn(third & 4095, (second & 4095, gone & 4095))
        self.assertGreater(third >> 12, second >> 12)
        self.wait_in(self.NODES)
        self.wait_current()
        self.assertEqual(self.keys("aliases"), there["aliases"])
        self.assertEqual({name: value for name, value in self.keys("functions").items() if "third" not in name}, there["functions"])
        for node, had in zip(self.nodes, have):
            now = {each["name"]: each["code_sha256"] for each in node.json("list")["functions"]}
            self.assertEqual(set(now) - set(had), {"third"})
            self.assertEqual({name: now[name] for name in had}, had)
        # It led last then, and knows no more when it leads again.
        away.kill9()
        self.start_again(away)
        wait_until(lambda: self.leader() is away and self.registry()["settled"], "it leads again")
        registry = self.registry()
        self.assertEqual((registry["lacks"], registry["outdated"], registry["removed"]), (["second", "second:1"], ["probe"], ["gone"]))
        self.wait_in(self.NODES)
        self.wait_current()
        self.assertEqual({name: value for name, value in self.keys("functions").items() if "third" not in name}, there["functions"])
        # One that has all is a standby of it, and keeps it.
        self.start_again(first)
        self.wait_in()
        self.assertEqual({each["name"] for each in first.json("list")["functions"]}, {"probe", "second", "third"})
        away.down()
        wait_until(lambda: self.leader() is first and self.registry()["settled"], "the one that has all leads")
        self.wait_current()
        self.assertEqual((self.registry()["lacks"], self.registry()["outdated"], self.registry()["removed"]), ([], [], []))
        self.assertEqual(self.limits(first)["queue"], 9)
        with self.client() as client:
            self.assertEqual(client.invoke(second, b'{"do": "sleep", "ms": 1}').kind, wcproto.REPLY)
            self.assertEqual(json.loads(client.invoke(self.function, b"{}").payload), "new")
            self.assertEqual(client.invoke(gone, b"{}").code, wcproto.UNKNOWN_FUNCTION)
        self.start_again(away)
        self.wait_in()
        self.assertEqual({each["name"]: each["id"] for each in away.json("list")["functions"]}, {each["name"]: each["id"] for each in first.json("list")["functions"]})

    def test_given_up(self):
        """What the leader lacks, and nobody has any more, goes when somebody removes or deploys it."""
        first, away = self.leader(), self.other(self.leader())
        away.down()
        first.deploy_python("second")
        first.deploy_python("third")
        first.cli("limit", "second", "--queue", "9")
        self.wait_current()
        first.kill9()
        self.start_again(away)
        wait_until(lambda: self.leader() is away and self.registry()["settled"], "it leads alone")
        self.assertEqual(self.registry()["lacks"], ["second", "third"])
        away.cli("remove", "third")
        fresh = away.deploy_python("second")
        self.wait_current()
        self.assertEqual(self.registry()["lacks"], [])
        self.assertEqual(self.keys("functions")["second/$LATEST"]["id"], fresh)
        self.assertEqual(set(self.keys("functions")), {"probe/$LATEST", "second/$LATEST"})
        self.assertNotEqual(away.cli("remove", "third", check=False).returncode, 0)


class Slow(Registry):
    """The leader leads for longer than it takes to break etcd."""

    SCHEDULERS, NODES = 2, 1
    OPTIONS = ("--lease-ms", "10000")

    def test_away_and_back(self):
        """etcd is away: all is served, and can be set; it is written when etcd is back, also when that has lost its data."""
        leader = self.leader()
        self.wait_current()
        revisions = [self.ask_etcd("/v3/kv/range", key="AA==")["header"]["revision"] for _ in range(2) if not time.sleep(1.9)]
        print("a second and 0.9 without a change: revision %s" % " to ".join(revisions))  # of the record of the election alone
        self.assertLessEqual(int(revisions[1]) - int(revisions[0]), 1)
        for forget in (False, True):
            self.end(self.etcd_process)
            leader.cli("limit", "probe", "--queue", str(5 + forget))
            leader.deploy_python("later-%d" % forget)
            wait_until(lambda: self.registry(leader)["error"], "it is said that etcd is away")
            self.assertIn("not up to date", leader.cli("nodes").stdout)
            with self.client() as client:
                self.assertEqual(client.invoke(self.function, b'{"do": "sleep", "ms": 1}').kind, wcproto.REPLY)
            self.start_etcd_again(forget=forget)
            self.until(lambda: self.registry(leader)["current"], "it has caught up", lambda: leader.status()["election"])
            self.assertIs(self.leader(), leader)
            self.assertEqual(self.keys("functions")["probe/$LATEST"]["limits"]["queue"], 5 + forget)
            self.assertIn("later-%d/$LATEST" % forget, self.keys("functions"))
            wait_until(lambda: self.keys("nodes").keys() == {"n1", "s1", "s2"}, "nodes are there")
            self.assertIn("up to date", leader.cli("nodes").stdout)

    def test_lost(self):
        """Another one leads, as etcd says, and the leader does not know it yet: what it writes is refused, and what etcd has holds in the end."""
        leader = self.leader()
        leader.cli("limit", "probe", "--queue", "5")
        self.wait_current()
        before = self.texts()["functions/probe/$LATEST"]
        self.put("leader", json.dumps({"name": "x", "door": "192.0.2.250:1", "term": 5, "before": 0, "knows": 1, "written": 1}))
        leader.cli("limit", "probe", "--queue", "6")
        end, seen = time.monotonic() + 1.5, set()
        while time.monotonic() < end:
            self.assertEqual(self.texts()["functions/probe/$LATEST"], before)
            seen.add((leader.status()["election"]["registry"] or {}).get("error"))
            time.sleep(0.05)
        self.assertTrue(any("another scheduler leads" in (each or "") for each in seen), seen)
        wait_until(lambda: not leader.status()["election"]["leads"], "it has seen that")
        self.assertEqual(self.texts()["functions/probe/$LATEST"], before)
        wait_until(lambda: self.leader() and self.registry()["settled"], "somebody leads again")
        self.wait_current()
        self.assertEqual(self.texts()["functions/probe/$LATEST"], before)
        self.assertEqual(self.limits(self.leader())["queue"], 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
