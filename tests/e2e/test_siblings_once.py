#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Siblings, when an id is nowhere, or could be at two places: its function is gone where it was lent to, or its client has sent it to two parts at once. And what else has to
pass through a sibling as it does through a node: VLAN tags, IPv6, parts whose policies differ."""

import json
import os
import signal
import time
import unittest

import devices
import harness
import packets
import wcproto
from cluster import PORT, inside
from harness import wait_until
from test_siblings import SiblingsTest


class Once(SiblingsTest):
    def insist(self, clients, request, function, payload, seconds=harness.PATIENCE_S):
        """Sent by each client to its part again and again, also after BUSY: the first answer that is none."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for client, each in zip(clients, function):
                client.send(request, each, payload)
            for client in clients:
                answer = client.receive(0.1)
                if answer and answer.request_id == request and answer.kind != wcproto.BUSY:
                    return answer
        return None

    def test_removed(self):
        """A function is removed at the sibling, whose leave is known for it still: what came there meanwhile goes back, and runs at home, once."""
        gone = [part.scheduler.deploy_python("gone") for part in self.parts][0]
        self.wait_lent(2, 2)
        with self.client_of(self.one) as blocker, self.client_of(self.one) as client:
            held = self.fill(self.one, blocker, self.function)
            request, payload = client.fresh_id(), b'{"do": "count", "tag": "gone"}'
            # While its daemon stands still the first part cannot hear of the removal; its XDP program goes on.
            os.kill(self.one.scheduler.pid, signal.SIGSTOP)
            try:
                self.two.scheduler.cli("remove", "gone")
                client.send(request, gone, payload)
                wait_until(lambda: self.counters(self.two.scheduler)["lent"] + self.counters(self.two.scheduler)["pass_retransmit"], "it has come to the sibling")
            finally:
                os.kill(self.one.scheduler.pid, signal.SIGCONT)
            self.release()
            self.collect(blocker, held)
            answer = self.insist([client], request, [gone], payload)
            self.assertIsNotNone(answer, "it runs nowhere")
            self.assertEqual((answer.kind, answer.payload), (wcproto.REPLY, b'"gone"'), answer)
        self.assertEqual(self.one.scheduler.runs("gone"), 1)
        self.check_sound()

    def test_both_parts(self):
        """A client sends the same id to two parts at once, neither of which has a core, while each has leave of the other: it does not go to and fro, but runs. Perhaps in each: an id
        is of one part, and no other knows whether it is there, too."""
        self.faults(late=1, late_ms=10)  # so that each part has sent it away before the other's comes
        with self.client_of(self.one) as blocker, self.client_of(self.two) as other:
            for turn in range(4):
                first = self.client_of(self.one)
                request, payload = first.fresh_id(), json.dumps({"do": "count", "tag": "both-%d" % turn}).encode()
                file = "go-%d" % turn
                wait = json.dumps({"do": "wait", "file": file}).encode()
                for part in self.parts:
                    os.kill(part.scheduler.pid, signal.SIGSTOP)
                try:
                    held = [(client, self.burst(client, function, [wait] * 3)) for client, function in ((blocker, self.function), (other, self.same))]
                    time.sleep(0.06)
                    # One socket, so that the identity is the same: to the one part and to the other.
                    for part, function in ((self.one, self.function), (self.two, self.same)):
                        first.socket.connect((part.address, PORT))
                        first.send(request, function, payload)
                finally:
                    for part in self.parts:
                        os.kill(part.scheduler.pid, signal.SIGCONT)
                time.sleep(0.3)
                self.release(file)
                for client, ids in held:
                    self.collect(client, ids)
                end, answer = time.monotonic() + 10, None
                while not answer and time.monotonic() < end:
                    for part, function in ((self.one, self.function), (self.two, self.same)):
                        first.socket.connect((part.address, PORT))
                        first.send(request, function, payload)
                        answer = answer or first.receive(0.15)
                        answer = None if answer and answer.kind == wcproto.BUSY else answer
                first.close()
                self.assertIsNotNone(answer, "it runs nowhere")
                self.assertEqual((answer.kind, answer.payload), (wcproto.REPLY, b'"both-%d"' % turn), answer)
                self.assertIn(self.one.scheduler.runs("both-%d" % turn), (1, 2))
                self.wait_lent(1, 1)
            again = [self.counters(part.scheduler)["to_member_again"] for part in self.parts]
            self.assertLess(max(again), 100, "it went to and fro")
        self.check_sound()


class Kinds(SiblingsTest):
    def lend(self, client, function):
        """Six at once of one part, which has three cores: the sibling gets three of them."""
        before = self.counters(self.two.scheduler)["lent"]
        answers = self.collect(client, self.burst(client, function, [b'{"do": "sleep", "ms": 500}'] * 6))
        self.check_replies(answers, function)
        return self.counters(self.two.scheduler)["lent"] - before

    def test_ipv6(self):
        """A client with IPv6: at the sibling, and at the sibling's node; a reply comes again from there, too."""
        with inside(self.outside):
            client = wcproto.Client("2001:db8::%s" % self.one.address.rsplit(".", 1)[1], PORT)
        with client:
            self.assertEqual(self.lend(client, self.function), 3)
            payload = b'{"do": "count", "tag": "six", "sleep_ms": 300}'
            ids = self.burst(client, self.function, [payload] * 6)
            self.collect(client, ids)
            for request in ids:
                client.send(request, self.function, payload)
            for answer in self.collect(client, ids).values():
                self.assertEqual((answer.kind, answer.flags & 16, answer.payload), (wcproto.REPLY, 16, b'"six"'), answer)
        self.assertEqual(self.one.scheduler.runs("six"), 6)
        self.check_sound()

    def test_tagged(self):
        """Frames with VLAN tags, of which each answer has the same, whoever gives it."""
        with inside(self.switch):
            for number in self.hosts.values():
                devices.switch_tags_off("p%d" % number)
        with inside(self.outside):
            path = packets.Path("eth0", self.one.scheduler.netns, "eth0", self.one.address, "2001:db8::%s" % self.one.address.rsplit(".", 1)[1])
        with path.socket:
            for frame, tags in ((path.frame4, [(0x8100, 5)]), (path.frame6, [(0x8100, 6)])):
                before = self.counters(self.two.scheduler)["lent"]
                ids = {wcproto.new_id(): None for _ in range(6)}
                for request in ids:
                    path.send(frame(wcproto.request(request, self.function, b'{"do": "sleep", "ms": 700}'), tags=tags))
                for _ in ids:
                    answer = path.answer(40000, harness.PATIENCE_S)
                    self.assertIsNotNone(answer, ids)
                    parsed = wcproto.parse_answer(answer[0])
                    self.assertEqual((parsed.kind, parsed.function_id, answer[1]), (wcproto.REPLY, self.function, tags[0][1]))
                    self.assertIsNone(ids[parsed.request_id])
                    ids[parsed.request_id] = True
                self.assertEqual(self.counters(self.two.scheduler)["lent"] - before, 3)
                self.check_sound()

    def test_policies(self):
        """The sibling has a policy that binds early: it takes what it has given leave for, and lends as before. One that binds early itself never needs leave."""
        for policy in ("ll_ps", "jsq2", "random"):
            self.two.scheduler.cli("set", "--policy", policy)
            self.wait_lent(1, 1)
            with self.client_of(self.one) as client:
                self.assertEqual(self.lend(client, self.function), 3, policy)
            before = self.counters(self.one.scheduler)["lent"]
            with self.client_of(self.two) as client:
                self.check_replies(self.collect(client, self.burst(client, self.same, [b'{"do": "sleep", "ms": 50}'] * 6)), self.same)
            self.assertEqual(self.counters(self.one.scheduler)["lent"], before, policy)
            self.check_sound()


if __name__ == "__main__":
    unittest.main(verbosity=2)
