#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How long an invocation waited (WC_FLAG_TIMED), and what a retransmission gets at each moment of an invocation's life."""

import json
import sys
import threading
import time

import gates
import harness
import wcproto


class Waiting(gates.Test):
    TAG = "wai"
    TIMES = 1

    @classmethod
    def prepare(cls):
        cls.a, cls.b = cls.node.native("a"), cls.node.python("b")
        cls.cores = len(cls.cpus)

    def setUp(self):
        super().setUp()
        self.node.defaults()

    def block(self, gate):
        """Take every core."""
        crowd = self.crowd()
        for i in range(self.cores):
            crowd.send(self.a, "%sblock-%s-%d" % (self.prefix, gate, i), gate)
        self.node.wait_begun("%sblock-%s" % (self.prefix, gate), self.cores)
        return crowd

    def counter(self):
        """Retransmissions that were recognized so far, wherever that was."""
        status = self.node.status()
        return status["stack"]["pass_retransmit"] + status["agents"]["retransmits"]

    def busy(self):
        counters = self.node.status()["counters"]
        return counters["busy_pending"] + counters["busy_function"]

    def send_again(self, crowd, tag, count=5):
        """Wait until each has been recognized as what it is: from then on nothing can come of it."""
        before = self.counter()
        for _ in range(count):
            crowd.again[tag]()
        harness.wait_until(lambda: self.counter() >= before + count, "%d retransmissions are recognized" % count)

    def receive_again(self, crowd, tag):
        """Send an answered one again: the answer to that."""
        first = crowd.answers.pop(tag)
        crowd.again[tag]()
        again = crowd.wait_for(tag)[0]
        self.assertEqual(again.flags & wcproto.CACHED, wcproto.CACHED, again)
        self.assertEqual(again._replace(flags=0), first._replace(flags=0))
        return again

    # --- time

    def test_timed_only_when_asked(self):
        crowd = self.crowd(1)
        for i, (function, python) in enumerate(((self.a, False), (self.b, True)) * 4):
            tag = self.prefix + str(i)
            flags = wcproto.TIMED if i % 4 < 2 else 0
            start = time.monotonic_ns()
            crowd.send(function, tag, python=python, flags=flags)
            answer = crowd.wait_for(tag)[0]
            took = time.monotonic_ns() - start
            self.assertEqual((answer.kind, answer.flags & wcproto.TIMED), (wcproto.REPLY, flags))
            self.assertLess(answer.tail[0] + answer.tail[1], took)
            self.assertGreater(answer.tail[1], 0)
        # Answers that are none of the function's, too.
        gone = self.node.native("gone")
        self.node.cli("remove", "gone")
        with self.node.client() as client:
            answer = client.invoke(gone, b"x", flags=wcproto.TIMED)
            self.assertEqual((answer.kind, wcproto.CODES[answer.code]), (wcproto.ERROR, "UNKNOWN_FUNCTION"))
            for flag in (1, 2, 4, 8, 16, 128, 256, wcproto.TIMED | 1):
                answer = client.invoke(self.a, b"x", flags=flag)
                self.assertEqual(wcproto.CODES[answer.code], "MALFORMED", flag)

    def test_errors_are_timed(self):
        crowd = self.crowd(1)
        for flags in (0, wcproto.TIMED):
            tag = self.prefix + str(flags)
            crowd.send(self.b, tag, flags=flags)  # the event of the native one: no JSON
            answer = crowd.wait_for(tag)[0]
            self.assertEqual((answer.kind, answer.flags & wcproto.TIMED), (wcproto.ERROR, flags))

    def test_wait_is_real(self):
        """At least as long as it was seen to wait, at most as long as the client waited for it."""
        for policy in ("central", "hash"):
            with self.subTest(policy=policy):
                gate = self.gate()
                self.node.defaults(policy=policy)
                if policy == "hash":  # behind the one that runs, on its core
                    blocked = self.crowd()
                    blocked.send(self.a, self.prefix + "hash", gate)
                    self.node.wait_begun(self.prefix + "hash", 1)
                else:
                    blocked = self.block(gate)
                crowd = self.crowd(1)
                start = time.monotonic_ns()
                for flags in (0, wcproto.TIMED):
                    crowd.send(self.a, "%s%s-%d" % (self.prefix, policy, flags), flags=flags)
                if policy == "hash":
                    harness.wait_until(lambda: max(c["queued"] for c in self.node.status()["cores"]) == 3, "bound")
                else:
                    self.node.wait_pending(2)
                seen = time.monotonic_ns()
                time.sleep(0.05)
                waited = time.monotonic_ns() - seen
                self.node.open(gate)
                blocked.gather()
                crowd.gather()
                took = time.monotonic_ns() - start
                plain, timed = (crowd.answers["%s%s-%d" % (self.prefix, policy, f)] for f in (0, wcproto.TIMED))
                self.assertTrue(timed.flags & wcproto.TIMED)
                self.assertFalse(plain.flags & wcproto.TIMED)
                self.assertEqual(bool(timed.flags & wcproto.PENDED), policy == "central")
                self.assertGreaterEqual(timed.tail[0], waited)
                self.assertLessEqual(timed.tail[0] + timed.tail[1], took)
                if policy == "central":  # the pending queue notes it anyway
                    self.assertGreaterEqual(plain.tail[0], waited)

    # --- retransmissions

    def test_while_waiting(self):
        """Nothing for the copies, and one run."""
        gate = self.gate()
        blocked, crowd = self.block(gate), self.crowd(1)
        tag = self.prefix + "w"
        crowd.send(self.a, tag)
        self.node.wait_pending(1)
        self.send_again(crowd, tag, 10)
        self.assertTrue(crowd.silent())
        status = self.node.status()
        self.assertEqual(status["pending"]["now"], 1)
        self.node.open(gate)
        blocked.gather()
        crowd.gather()
        self.assertTrue(crowd.silent(), "a second answer")
        self.assertEqual(self.node.begun(tag), [tag])
        self.receive_again(crowd, tag)

    def test_while_running(self):
        """With a free core and without, by way of every path: nothing, until it has ended."""
        gate, tag = self.gate(), self.prefix + "r"
        crowd = self.crowd(1)
        crowd.send(self.a, tag, gate)
        self.node.wait_begun(tag, 1)
        self.send_again(crowd, tag)
        other = self.gate()
        rest = self.crowd()
        for i in range(self.cores - 1):
            rest.send(self.a, "%sother%d" % (self.prefix, i), other)
        self.node.wait_begun(self.prefix + "other", self.cores - 1)
        self.send_again(crowd, tag)
        self.assertTrue(crowd.silent())
        self.node.open(gate)
        crowd.gather()
        self.assertFalse(crowd.answers[tag].flags & wcproto.CACHED)
        self.receive_again(crowd, tag)
        self.node.open(other)
        rest.gather()
        self.receive_again(crowd, tag)
        self.assertEqual(self.node.begun(tag), [tag])

    def test_while_running_without_room(self):
        """Early binding, and no room for one more: BUSY says "was not run", so a copy of what runs must not get it."""
        for knobs, limits in (({"policy": "hash", "core-queue": "1"}, {}), ({"policy": "jsq2"}, {"concurrency": 1}),
                              ({"policy": "ll_ps"}, {"concurrency": 1})):  # fmt: skip
            with self.subTest(**knobs, **limits):
                gate, crowd = self.gate(), self.crowd(1)
                tag = "%s%s" % (self.prefix, knobs["policy"])
                self.node.defaults(**knobs)
                self.node.limit("a", **(limits or {"concurrency": 0}))
                self.addCleanup(self.node.limit, "a", concurrency=0)
                crowd.send(self.a, tag, gate)
                self.node.wait_begun(tag, 1)
                crowd.send(self.a, tag + "-new")
                self.assertEqual(crowd.wait_for(tag + "-new")[0].kind, wcproto.BUSY)
                before, copies = self.busy(), self.counter()
                for _ in range(3):
                    crowd.again[tag]()
                harness.wait_until(lambda b=before, c=copies: self.busy() - b + self.counter() - c >= 3, "all were seen")
                busy = self.busy() - before
                self.node.open(gate)
                self.assertEqual(busy, 0, "what runs was told that it was not run")
                crowd.gather()
                self.assertEqual(crowd.answers[tag].kind, wcproto.REPLY)
                self.receive_again(crowd, tag)
                self.assertEqual(self.node.begun(tag), [tag])

    def test_after_it_is_done(self):
        crowd = self.crowd(1)
        for policy in ("central", "ll_ps", "hash", "random"):
            self.node.defaults(policy=policy)
            tag = self.prefix + policy
            crowd.send(self.a, tag, flags=wcproto.TIMED)
            crowd.gather()
            for _ in range(5):
                answer = self.receive_again(crowd, tag)
                self.assertTrue(answer.flags & wcproto.TIMED)
            self.assertEqual(self.node.begun(tag), [tag])
        # Also when every core is taken, and the pending queue is in the way.
        self.node.defaults()
        gate = self.gate()
        blocked = self.block(gate)
        for policy in ("central", "hash"):
            self.receive_again(crowd, self.prefix + policy)
        self.assertEqual(self.node.status()["pending"]["now"], 0)
        self.node.open(gate)
        blocked.gather()

    def test_after_the_deadline(self):
        """The one that was answered DEADLINE in the queue gets an answer, and is run at most once."""
        gate, tag = self.gate(), self.prefix + "d"
        blocked, crowd = self.block(gate), self.crowd(1)
        crowd.send(self.a, tag, deadline_us=20000)
        self.assertEqual(wcproto.CODES[crowd.wait_for(tag)[0].code], "DEADLINE")
        first = crowd.answers.pop(tag)
        crowd.again[tag]()
        again = crowd.wait_for(tag)[0]
        self.assertEqual((again.kind, again.code), (first.kind, first.code))
        self.assertEqual(self.node.begun(tag), [])
        self.node.open(gate)
        blocked.gather()

    def test_refused_by_a_limit(self):
        """BUSY is no execution: the same id is welcome later."""
        gate, tag = self.gate(), self.prefix + "l"
        self.node.limit("a", concurrency=1, queue=1)
        crowd = self.crowd(1)
        crowd.send(self.a, self.prefix + "one", gate)
        self.node.wait_begun(self.prefix, 1)
        crowd.send(self.a, self.prefix + "two", gate)
        self.node.wait_pending(1)
        for _ in range(3):
            crowd.again[tag]() if tag in crowd.again else crowd.send(self.a, tag)
            self.assertEqual(wcproto.CODES[crowd.wait_for(tag)[0].code], "FUNCTION_LIMIT")
            del crowd.answers[tag]
        self.node.limit("a", concurrency=0, queue=0)
        self.node.open(gate)
        crowd.again[tag]()
        crowd.gather()
        self.assertEqual(crowd.kinds(), {"REPLY": 3})
        self.assertEqual(self.node.begun(tag), [tag])

    def test_after_the_function_was_removed(self):
        function = self.node.native("gone")
        gate, done, runs = self.gate(), self.prefix + "done", self.prefix + "runs"
        crowd = self.crowd(1)
        crowd.send(function, done)
        crowd.gather()
        crowd.send(function, runs, gate)
        self.node.wait_begun(runs, 1)
        self.node.cli("remove", "gone")
        self.receive_again(crowd, done)
        self.send_again(crowd, runs)
        self.assertTrue(crowd.silent(), "what runs was told that there is no such function")
        fresh = self.prefix + "fresh"
        crowd.send(function, fresh)
        self.assertEqual(wcproto.CODES[crowd.wait_for(fresh)[0].code], "UNKNOWN_FUNCTION")
        self.node.open(gate)
        self.assertEqual(crowd.wait_for(runs)[0].kind, wcproto.REPLY)
        self.receive_again(crowd, runs)
        self.receive_again(crowd, done)
        self.assertEqual(sorted(self.node.begun(self.prefix)), [done, runs])

    def test_after_the_node_says_down(self):
        """While the node shuts down: NODE_DOWN to what is new, the old answer to what is done, and an end to what runs."""
        gate, done, runs = self.gate(), self.prefix + "done", self.prefix + "runs"
        crowd = self.crowd(1)
        crowd.send(self.a, done)
        crowd.gather()
        crowd.send(self.a, runs, gate)
        self.node.wait_begun(runs, 1)
        stopping = threading.Thread(target=self.node.down)
        stopping.start()
        fresh = self.crowd(1)
        while "NODE_DOWN" not in fresh.kinds():  # one that came just before may have to wait for what runs: ask others
            fresh.send(self.a, "%snew%d" % (self.prefix, len(fresh.again)))
            fresh.receive(0.01)
            self.assertLess(len(fresh.again), 10000)
        self.receive_again(crowd, done)
        crowd.again[runs]()
        self.assertTrue(crowd.silent(0.05), "what runs was told that the node is down")
        self.node.open(gate)
        self.assertEqual(crowd.wait_for(runs)[0].kind, wcproto.REPLY)
        fresh.gather()
        self.assertLessEqual(set(fresh.kinds()), {"REPLY", "SHUTDOWN", "NODE_DOWN"})
        stopping.join()
        self.node.check_nothing_left()
        self.node.up()


class Kernel(Waiting):
    def test_after_kill9(self):
        """The program outlives the daemon: NODE_DOWN to what is new, and never to what may have been run."""
        gate, done, runs, waits = self.gate(), *(self.prefix + name for name in ("done", "runs", "waits"))
        crowd = self.crowd(1)
        crowd.send(self.a, done)
        crowd.gather()
        for i in range(self.cores):
            crowd.send(self.a, runs + str(i), gate)
        self.node.wait_begun(runs, self.cores)
        crowd.send(self.a, waits)
        self.node.wait_pending(1)
        self.node.kill9()
        old = [done, waits] + [runs + str(i) for i in range(self.cores)]
        first = crowd.answers.pop(done)
        for tag in old:
            crowd.again[tag]()
        fresh = self.prefix + "fresh"
        crowd.send(self.a, fresh)
        while not crowd.receive(3):  # the kernel may not yet have closed the sockets of the dead: then it went there
            crowd.again[fresh]()
        self.assertEqual(wcproto.CODES[crowd.wait_for(fresh)[0].code], "NODE_DOWN")
        self.assertTrue(crowd.silent())
        self.node.up()
        # Who ran is told; who waited was not run, and may be sent again, as may what was told NODE_DOWN.
        told = crowd.wait_for(*old[2:])
        self.assertEqual({wcproto.CODES[answer.code] for answer in told}, {"RESTARTED"})
        self.assertEqual({json.loads(answer.payload)["errorType"] for answer in told}, {"Node.Restarted"})
        del crowd.answers[fresh]
        for tag in (waits, fresh):
            crowd.again[tag]()
            self.assertEqual(crowd.wait_for(tag)[0].kind, wcproto.REPLY)
        # What was done is known to be, although the reply is lost: nothing, never a second run.
        self.send_again(crowd, done)
        self.send_again(crowd, runs + "0")
        self.assertTrue(crowd.silent())
        crowd.answers[done] = first
        self.assertEqual(sorted(self.node.begun(self.prefix)), sorted(crowd.again))


class User(Waiting):
    USER = True


del Waiting

if __name__ == "__main__":
    sys.exit(harness.main())
