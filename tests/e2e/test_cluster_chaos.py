#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A cluster of three schedulers and three nodes to which things happen at random while clients go on: hosts are killed, stopped, cut off and started again, etcd stands still. And
the history of every invocation at the end: answered once, run at most once, run once if its client was told so, and not at all if its client was told that.

CHAOS_SECONDS (default 20): how long; CHAOS_SEED: which; a failure prints both."""

import collections
import json
import os
import random
import signal
import threading
import time
import unittest

import failover
import harness
import wcproto
from cluster import PORT, inside, ip

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
PERHAPS = {wcproto.NODE_LOST, wcproto.RESTARTED, wcproto.TIMEOUT}  # the last: its daemon stood still
NOT_RUN = {wcproto.SHUTDOWN, wcproto.NODE_DOWN, wcproto.UNKNOWN_FUNCTION, wcproto.REMOVED}


class Client(threading.Thread):
    """Keeps a few invocations under way, sends again what has no answer, and writes down what became of each."""

    WIDTH = 4

    def __init__(self, test, number):
        super().__init__()
        self.test, self.number, self.history, self.error, self.ending = test, number, {}, None, threading.Event()

    def run(self):
        try:
            with inside(self.test.outside):
                client = wcproto.Client(self.test.VIRTUAL, PORT)
            with client:
                self.go_on(client)
        except Exception as error:  # told by the test
            self.error = error

    def go_on(self, client):
        waiting, count, end = {}, 0, None
        while True:
            if self.ending.is_set():
                end = end or time.monotonic() + harness.PATIENCE_S
                if not waiting or time.monotonic() > end:
                    break
            while len(waiting) < self.WIDTH and not self.ending.is_set():
                waiting[client.fresh_id()] = ["%d-%d" % (self.number, count), 0.0]
                count += 1
            now = time.monotonic()
            for request, each in waiting.items():
                if now - each[1] > 0.15:
                    each[1] = now
                    client.send(request, self.test.function, json.dumps({"do": "count", "tag": each[0], "sleep_ms": 15}).encode())
            answer = client.receive(0.02)
            if answer and answer.request_id in waiting and answer.kind != wcproto.BUSY:
                self.history[waiting.pop(answer.request_id)[0]] = answer
        for tag, _ in waiting.values():
            self.history[tag] = None


class Chaos(failover.FailoverTest):
    SCHEDULERS, NODES = 3, 3

    # --- what happens: each returns what ends it ---

    def kill(self, host):
        host.kill9()
        return lambda: self.start_scheduler(host) if host in self.schedulers else self.join(host)

    def stop(self, host):
        os.kill(host.pid, signal.SIGSTOP)
        return lambda: os.kill(host.pid, signal.SIGCONT)

    def cut(self, host):
        ip("-n", self.switch, "link", "set", self.port_of(host), "down")
        return lambda: ip("-n", self.switch, "link", "set", self.port_of(host), "up")

    def etcd_stands_still(self, _):
        self.etcd_process.send_signal(signal.SIGSTOP)
        return lambda: self.etcd_process.send_signal(signal.SIGCONT)

    def test_random(self):
        rng = random.Random(SEED)
        clients = [Client(self, number) for number in range(3)]
        for each in clients:
            each.start()
        events, end, victims = [], time.monotonic() + SECONDS, {}
        try:
            while time.monotonic() < end:
                time.sleep(rng.uniform(0.05, 0.6))
                # Two hosts at most have something at a time, so that one of the schedulers may be well.
                if len(victims) < 2 and rng.random() < 0.6:
                    host = rng.choice([each for each in [*self.schedulers, *self.nodes] if each not in victims])
                    what = rng.choice([self.kill, self.kill, self.kill, self.stop, self.cut, self.etcd_stands_still])
                    events.append("%s %s" % (what.__name__, host.member))
                    victims[host] = what(host)
                elif victims:
                    host = rng.choice(list(victims))
                    victims.pop(host)()
        finally:
            for mend in victims.values():
                mend()
            for each in clients:
                each.ending.set()
            for each in clients:
                each.join()
        said = "CHAOS_SEED=%d CHAOS_SECONDS=%g: %s" % (SEED, SECONDS, ", ".join(events))
        self.assertEqual([each.error for each in clients], [None] * len(clients), said)
        history = {tag: answer for each in clients for tag, answer in each.history.items()}
        runs = self.schedulers[0].all_runs()
        wrong = []
        for tag, answer in history.items():
            ran = runs.get(tag, 0)
            if answer is None:
                wrong.append("%s: never answered, run %d times" % (tag, ran))
            elif ran > 1 or (answer.kind == wcproto.REPLY and ran != 1) or (answer.kind == wcproto.ERROR and answer.code in NOT_RUN and ran):
                wrong.append("%s: %s, run %d times" % (tag, answer, ran))
            elif answer.kind == wcproto.ERROR and answer.code not in PERHAPS | NOT_RUN:
                wrong.append("%s: %s" % (tag, answer))
        print("%d invocations, %s, %d events" % (len(history), dict(collections.Counter(answer.code for answer in history.values() if answer)), len(events)))
        self.assertEqual(wrong, [], said)
        self.assertEqual(set(runs) - set(history), set(), said)
        self.check_sound()


if __name__ == "__main__":
    unittest.main(verbosity=2)
