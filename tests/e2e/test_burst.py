#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""1,000 invocations at once: 1,000 replies, none lost, none run twice; with a small pending queue the surplus gets BUSY.

The function appends its tag to a file, so that each run is counted where it happens.
"""

import os
import select
import sys
import time
import unittest

import gates
import harness
import wcproto

BURST = 1000


class Burst:
    """The tests, for both datapaths."""

    USER = False

    def setUp(self):
        cores = ",".join(str(cpu) for cpu in (sorted(os.sched_getaffinity(0)) * 2)[:2])
        datapath = ("--datapath", "user", "--port", harness.free_port()) if self.USER else ()
        self.node = gates.Node("bst", "--cores", cores, *datapath)
        self.addCleanup(self.node.close)

    def start(self, *options):
        self.node.up(*options)
        self.native = self.node.deploy_native(event="binary", timeout_ms=60000)
        self.python = self.node.deploy_python(timeout_ms=60000)

    def finish(self):
        self.node.wait_idle()
        status = self.node.check_counters()
        self.node.down()
        self.node.check_nothing_left()
        return status

    def gather(self, sockets, expected, quiet=20):
        """Every answer until there are `expected`, or none for a long time."""
        answers = []
        end = time.monotonic() + quiet
        by_fd = {client.socket.fileno(): client for client in sockets}
        poller = select.poll()
        for fd in by_fd:
            poller.register(fd, select.POLLIN)
        while len(answers) < expected and time.monotonic() < end:
            for fd, _ in poller.poll(1000):
                answer = by_fd[fd].receive(0.001)
                if answer:
                    answers.append((fd, answer))
                    end = time.monotonic() + quiet
        return answers

    def burst(self, sockets, function, payload, sent=lambda: None):
        """BURST datagrams, one after the other without a pause, and then `sent` is called; answers by (socket, id)."""
        wanted = {}
        for i in range(BURST):
            client = sockets[i % len(sockets)]
            number = client.fresh_id()
            wanted[client.socket.fileno(), number] = i
            client.send(number, function, payload(i))
        sent()
        answers = self.gather(sockets, BURST)
        seen = {}
        for fd, answer in answers:
            self.assertNotIn((fd, answer.request_id), seen, "two answers to one request")
            seen[fd, answer.request_id] = answer
        missing = sorted(i for key, i in wanted.items() if key not in seen)
        self.assertEqual(missing[:10], [], "%d of %d requests got no answer" % (len(missing), BURST))
        return {wanted[key]: answer for key, answer in seen.items()}

    def run_burst(self, sockets_count, function, payload, value, tag):
        sockets = [self.node.client() for _ in range(sockets_count)]
        try:
            answers = self.burst(sockets, function, payload)
        finally:
            for client in sockets:
                client.close()
        for i, answer in answers.items():
            self.assertEqual((answer.kind, answer.payload), (wcproto.REPLY, value(i)), answer)
        runs = {name: n for name, n in self.node.all_runs().items() if name.startswith(tag)}
        self.assertEqual((len(runs), set(runs.values())), (BURST, {1}))
        return answers

    def test_none_lost_none_twice(self):
        self.start()
        answers = self.run_burst(1, self.native, lambda i: b"cone-%d" % i, lambda i: b"one-%d" % i, "one-")
        self.run_burst(50, self.native, lambda i: b"cfifty-%d" % i, lambda i: b"fifty-%d" % i, "fifty-")
        self.run_burst(1, self.python, lambda i: b'{"do":"count","tag":"py-%d"}' % i, lambda i: b'"py-%d"' % i, "py-")
        status = self.finish_counts(3 * BURST)
        self.assertEqual(status["counters"]["busy_pending"], 0)
        # Whoever waited says so.
        self.assertGreater(sum(1 for a in answers.values() if a.flags & wcproto.PENDED), 0)

    def finish_counts(self, accepted):
        status = self.finish()
        counters = status["counters"]
        self.assertEqual(counters["to_core"] + counters["to_pending"], accepted, counters)
        self.assertEqual(status["agents"]["invocations"], accepted)
        self.assertEqual((status["agents"]["pending_lost"], status["agents"]["claims_lost"]), (0, 0))
        return status

    def test_pending_full(self):
        """Both cores are held until all is sent, or a slow sender would find one free each time."""
        self.start("--pending", "16")
        hold = self.node.native("hold")
        gate = self.node.new_gate()
        with self.node.client() as client, gates.Crowd(self.node, 1) as crowd:
            for tag in ("hold-0", "hold-1"):
                crowd.send(hold, tag, gate)
            self.node.wait_begun("hold", 2)
            answers = self.burst([client], self.native, lambda i: b"cfull-%d" % i, lambda: self.node.open(gate))
            crowd.gather()
        accepted = [i for i, answer in answers.items() if answer.kind == wcproto.REPLY]
        busy = [answer for answer in answers.values() if answer.kind == wcproto.BUSY]
        self.assertEqual(len(accepted) + len(busy), BURST)
        self.assertTrue(busy, "two cores that are held and 16 places took 1,000")
        for answer in busy:
            self.assertEqual((answer.code, answer.payload), (wcproto.PENDING_FULL, b""))
            self.assertGreater(answer.tail[0], 0)
        self.assertEqual(self.node.all_runs(), {"full-%d" % i: 1 for i in accepted})
        status = self.finish_counts(len(accepted) + 2)
        self.assertEqual(status["counters"]["busy_pending"], len(busy))

    def test_busy_is_waited_out(self):
        """A client that obeys retry_after gets everything done, even through a queue of one."""
        self.start("--pending", "1")
        clients = [self.node.client() for _ in range(20)]
        wanted = {}
        try:
            for i in range(400):
                client = clients[i % len(clients)]
                wanted[client.socket.fileno(), client.fresh_id()] = (client, b"cwait-%d" % i)
            end = time.monotonic() + 120
            while wanted and time.monotonic() < end:
                for (_, number), (client, payload) in list(wanted.items()):
                    client.send(number, self.native, payload)
                for fd, answer in self.gather(clients, len(wanted), quiet=2):
                    if answer.kind == wcproto.REPLY:
                        wanted.pop((fd, answer.request_id), None)
        finally:
            for client in clients:
                client.close()
        self.assertEqual(wanted, {})
        self.assertEqual(self.node.all_runs(), {"wait-%d" % i: 1 for i in range(400)})
        self.finish()


class Kernel(Burst, unittest.TestCase):
    pass


class User(Burst, unittest.TestCase):
    USER = True


if __name__ == "__main__":
    sys.exit(harness.main())
