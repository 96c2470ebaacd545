# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Several schedulers, of which one leads, and nodes: what the tests of failover have in common."""

import collections
import json
import time

import cluster
import harness
import wcproto
from cluster import PORT, inside
from harness import wait_until


class FailoverTest(cluster.ClusterTest):
    SCHEDULERS, NODES = 2, 2

    def setUp(self):
        super().setUp()
        self.start_etcd()
        for _ in range(self.SCHEDULERS):
            self.add_scheduler()
        wait_until(self.leader, "one leads")
        for _ in range(self.NODES):
            self.add_node()
        self.function = self.leader().deploy_python()
        self.wait_in()

    def wait_in(self, count=None):
        """All nodes are ready, with all functions that there are now, and those who may lead next, too."""
        count = self.NODES + len(self.schedulers) - 1 if count is None else count

        def ready():
            leader = self.leader()
            seen = leader.status()["cluster"] if leader else {"nodes": []}
            return sum(each["state"] == "ready" and each["free"] == each["cores"] and each["knows"] == seen["generation"] for each in seen["nodes"]) == count

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

    def cut(self, host, whether=True):
        cluster.ip("-n", self.switch, "link", "set", self.port_of(host), "down" if whether else "up")

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
