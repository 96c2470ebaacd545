#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""At most once: an id that is sent again gets the same reply or none, never a second run; not even after kill -9."""

import json
import os
import sys
import threading

import harness
import wcproto


class Once(harness.NodeTest):
    TAG = "once"
    OPTIONS = ("--pending", "16")
    RETRANSMISSION = "pass_retransmit"

    @classmethod
    def prepare(cls):
        cls.python = cls.node.deploy_python(timeout_ms=20000)
        cls.native = cls.node.deploy_native(event="binary")

    def count(self, tag, **more):
        return json.dumps(dict(more, do="count", tag=tag)).encode()

    def test_after_completion(self):
        for family in (4, 6) if self.node.address6 else (4,):
            tag = "after%d" % family
            with self.node.client(family) as client:
                first = self.assert_reply(client.invoke(self.python, self.count(tag), request_id=70 + family), tag)
                self.assertEqual(first.flags & wcproto.CACHED, 0)
                for _ in range(5):
                    client.send(70 + family, self.python, self.count(tag))
                    again = client.receive(30)
                    self.assertIsNotNone(again, "the reply was small and recent, so it must have been kept")
                    self.assertEqual(again.flags & wcproto.CACHED, wcproto.CACHED)
                    self.assertEqual(again._replace(flags=0), first._replace(flags=0))
            self.assertEqual(self.node.runs(tag), 1)

    def test_while_running(self):
        with self.node.client() as client:
            number = client.fresh_id()
            for _ in range(20):
                client.send(number, self.python, self.count("running", sleep_ms=1000))
            answers = [client.receive(60)]
            self.assert_reply(answers[0], "running")
            answer = client.receive(1)
            while answer:
                answers.append(answer)
                answer = client.receive(1)
        self.assertEqual([a.flags & wcproto.CACHED for a in answers if not a.flags & wcproto.CACHED], [0])
        self.assertEqual({a.payload for a in answers}, {b'"running"'})
        self.assertEqual(self.node.runs("running"), 1)

    def test_a_different_payload_is_the_same_request(self):
        with self.node.client() as client:
            number = client.fresh_id()
            client.invoke(self.python, self.count("one"), request_id=number)
            answer = client.invoke(self.python, self.count("two"), request_id=number)
            self.assert_reply(answer, "one")
        self.assertEqual(self.node.runs("two"), 0)

    def test_many_ids_from_many_threads_sent_thrice(self):
        """Every datagram three times in a burst, from sockets in parallel: one run each."""
        def burst(thread):
            with self.node.client() as client:
                for i in range(100):
                    payload = b"cmt%d-%d" % (thread, i)
                    number = client.fresh_id()
                    for _ in range(2):
                        client.send(number, self.native, payload)
                    answer = client.invoke(self.native, payload, request_id=number)
                    if answer is None or answer.kind != wcproto.REPLY or answer.payload != payload[1:]:
                        wrong.append((thread, i, answer))

        wrong = []
        threads = [threading.Thread(target=burst, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        runs = {tag: n for tag, n in self.node.all_runs().items() if tag.startswith("mt")}
        self.assertEqual((len(runs), set(runs.values())), (400, {1}))

    def test_source_ports_are_different_clients(self):
        with self.node.client() as one, self.node.client() as two:
            for client in (one, two):
                answer = self.assert_reply(client.invoke(self.python, self.count("ports"), request_id=4242), "ports")
                self.assertEqual(answer.flags & wcproto.CACHED, 0)
        self.assertEqual(self.node.runs("ports"), 2)

    def test_large_replies_are_not_kept(self):
        """Beyond the size that is kept a retransmission gets nothing, and runs nothing."""
        with self.node.client() as client:
            number = client.fresh_id()
            answer = client.invoke(self.python, b'{"do":"huge","bytes":10000}', request_id=number)
            self.assertEqual(len(self.assert_reply(answer).payload), 10002)
            before = self.node.json("list")["functions"]
            client.send(number, self.python, b'{"do":"huge","bytes":10000}')
            self.assertIsNone(client.receive(1))
            now = self.node.json("list")["functions"]
            self.assertEqual([f["invocations"] for f in now], [f["invocations"] for f in before])

    def test_busy_may_be_retried(self):
        cores = len(self.node.status()["cores"])
        gate = os.path.join(self.node.shared, "busy-was-seen")
        self.addCleanup(lambda: open(gate, "w").close())
        with self.node.client() as filler, self.node.client() as client:
            fill = [filler.fresh_id() for _ in range(cores + 16)]
            for number in fill[:cores]:
                filler.send(number, self.python, b'{"do":"wait","file":"busy-was-seen"}')
            harness.wait_until(lambda: all(c["state"] != "free" for c in self.node.status()["cores"]), "all cores are taken")
            for number in fill[cores:]:
                filler.send(number, self.python, b'{"do":"sleep","ms":1}')
            harness.wait_until(lambda: self.node.status()["pending"]["now"] == 16, "the pending queue is full")
            number = client.fresh_id()
            answer = client.invoke(self.python, self.count("busy"), request_id=number, wait_busy=False, seconds=60)
            self.assertIsNotNone(answer, "no BUSY came")
            self.assertEqual((answer.kind, answer.code), (wcproto.BUSY, wcproto.PENDING_FULL))
            self.assertGreater(answer.tail[0], 0)
            self.assertEqual(self.node.runs("busy"), 0)
            open(gate, "w").close()
            self.assert_reply(client.invoke(self.python, self.count("busy"), request_id=number), "busy")
            self.assertEqual(self.node.runs("busy"), 1)
            words = [json.loads(self.assert_reply(filler.receive(60)).payload) for _ in fill]
            self.assertEqual(sorted(words), ["slept"] * 16 + ["waited"] * cores)

    def test_errors_in_the_kernel_are_forgotten(self):
        with self.node.client() as client:
            number = client.fresh_id()
            for _ in range(3):
                answer = client.invoke(self.python + 4096 * 999, b"1", request_id=number, seconds=60)
                self.assert_error(answer, wcproto.UNKNOWN_FUNCTION)
            self.assert_reply(client.invoke(self.python, self.count("forgotten"), request_id=number), "forgotten")

    def test_kill9(self):
        """Started ids stay refused by the next daemon, whether they had finished or not."""
        with self.node.client() as client:
            done, running = client.fresh_id(), client.fresh_id()
            self.assert_reply(client.invoke(self.python, self.count("k9-done"), request_id=done), "k9-done")
            client.send(running, self.python, self.count("k9-running", sleep_ms=15000))
            harness.wait_until(lambda: self.node.runs("k9-running"), "the function runs")
            self.node.kill9()
            self.node.up()
            told = client.receive(20)
            if told is not None:
                self.assertEqual((told.request_id, told.kind, told.code), (running, wcproto.ERROR, wcproto.RESTARTED))
            for number, tag in ((done, "k9-done"), (running, "k9-running")):
                for _ in range(5):
                    client.send(number, self.python, self.count(tag))
            answer = client.receive(3)
            while answer:
                self.assertEqual((answer.request_id, answer.code), (running, wcproto.RESTARTED))
                answer = client.receive(1)
            self.assertEqual((self.node.runs("k9-done"), self.node.runs("k9-running")), (1, 1))
            self.assert_reply(client.invoke(self.python, self.count("k9-new")), "k9-new")


if __name__ == "__main__":
    sys.exit(harness.main())
