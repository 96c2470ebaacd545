# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions that a test can hold and let go, and crowds of invocations under way: for tests of who runs when, and where.

functions/gate.c and gate.py note when they begin and end, in the order in which it happens, and in between wait for a file.
So nothing here depends on how long something takes.
"""

import collections
import json
import os
import select
import time
import unittest

import harness
import wcproto

DEFAULTS = {"policy": "central", "order": "local", "prefer": "warm", "move": "on", "core-queue": "128", "pack-slots": "4",
            "cores-min": "0", "idle-ms": "1000", "quantum-us": "0", "lend": "off", "keep-alive": "hybrid",
            "keep-alive-ms": "600000", "keep-alive-bin-ms": "60000", "prewarm": "on", "instances-memory-mb": "0",
            "starts": "needed"}  # fmt: skip


def cores(times):
    """--cores for `times` worker cores on each of two CPUs; and the CPU of each."""
    cpus = (sorted(os.sched_getaffinity(0)) * 2)[:2]
    text = "%d-%d*%d" % (*cpus, times) if cpus[1] == cpus[0] + 1 else ",".join(map(str, cpus * times))
    return text, cpus * times


class Node(harness.Node):
    """A node whose functions are gates."""

    def __init__(self, tag, *options, **more):
        super().__init__(tag, *options, **more)
        with open(os.path.join(self.shared, "spans"), "w") as file:
            os.fchmod(file.fileno(), 0o666)
        self.gates = 0

    def native(self, name, **manifest):
        manifest.setdefault("timeout_ms", 120000)
        return self.deploy(name, "native", "gate.so", {"gate.so": harness.native_function("gate")}, event="binary", **manifest)

    def python(self, name, **manifest):
        manifest.setdefault("timeout_ms", 120000)
        path = os.path.join(harness.PROBES, "gate.py")
        return self.deploy(name, "python", "gate.handler", {"gate.py": path}, **manifest)

    def new_gate(self):
        """The name of a gate that is closed."""
        self.gates += 1
        return "gate-%d" % self.gates

    def open(self, gate):
        with open(os.path.join(self.shared, gate), "w"):
            pass

    def spans(self, prefix=""):
        """(B or E, tag), in the order in which it happened."""
        with open(os.path.join(self.shared, "spans")) as file:
            pairs = [tuple(line.split()) for line in file]
        return [pair for pair in pairs if pair[1].startswith(prefix)]

    def begun(self, prefix=""):
        """Tags in the order in which they began."""
        return [tag for what, tag in self.spans(prefix) if what == "B"]

    def wait_begun(self, prefix, count):
        harness.wait_until(lambda: len(self.begun(prefix)) >= count, "%d of %s have begun" % (count, prefix))

    def overlap(self, prefix="", place=lambda tag: 0):
        """The most that ran at once in one place."""
        now, most = collections.Counter(), 0
        for what, tag in self.spans(prefix):
            now[place(tag)] += 1 if what == "B" else -1
            most = max(most, now[place(tag)])
        return most

    def wait_pending(self, count):
        harness.wait_until(lambda: self.status()["pending"]["now"] == count, "%d wait" % count)

    def set(self, *knobs, check=True):
        return self.cli("set", *knobs, check=check)

    def limit(self, name, check=True, **limits):
        options = [text for key, value in limits.items() for text in ("--" + key, str(value))]
        return self.cli("limit", name, *options, check=check)

    def defaults(self, **changed):
        """All knobs as `up` leaves them, except some."""
        knobs = {**DEFAULTS, "fair-at": str(4 * len(self.status()["cores"])), **changed}
        self.set(*(text for key, value in knobs.items() for text in ("--" + key, value)))


class Crowd:
    """Invocations under way, from a few sockets. Each has a tag, and gets one answer."""

    def __init__(self, node, sockets=4):
        self.clients = [node.client() for _ in range(sockets)]
        self.by_fd = {client.socket.fileno(): client for client in self.clients}
        self.poller = select.poll()
        for fd in self.by_fd:
            self.poller.register(fd, select.POLLIN)
        self.asked = {}  # (fd, id): tag
        self.answers = {}  # tag: answer
        self.again = {}  # tag: how to send it once more

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()

    def send(self, function, tag, gate="", python=False, **fields):
        assert tag not in self.again, tag
        client = self.clients[len(self.again) % len(self.clients)]
        number = client.fresh_id()
        if python:
            payload = json.dumps({"tag": tag, "gate": gate}).encode()
        else:
            payload = ("%s %s" % (tag, gate) if gate else tag).encode()
        self.asked[client.socket.fileno(), number] = tag
        self.again[tag] = lambda: client.send(number, function, payload, **fields)
        self.again[tag]()

    def under_way(self):
        return len(self.again) - len(self.answers)

    def receive(self, seconds):
        """Take in what is there, or comes in time. Returns how many answers that were."""
        count = 0
        for fd, _ in self.poller.poll(seconds * 1000):
            answer = self.by_fd[fd].receive(0.0001)
            while answer:
                tag = self.asked[fd, answer.request_id]
                if tag in self.answers:
                    raise AssertionError("two answers to %s: %s and %s" % (tag, self.answers[tag], answer))
                self.answers[tag] = answer
                count += 1
                answer = self.by_fd[fd].receive(0.0001)
        return count

    def gather(self, left=0, quiet=harness.PATIENCE_S):
        """Wait until only `left` are not answered. Fails when nothing comes for a long time."""
        end = time.monotonic() + quiet
        while self.under_way() > left:
            if self.receive(1):
                end = time.monotonic() + quiet
            elif time.monotonic() > end:
                missing = sorted(set(self.again) - set(self.answers))
                raise AssertionError("no answer to %d of %d: %s ..." % (len(missing), len(self.again), missing[:10]))
        return self.answers

    def wait_for(self, *tags):
        """The answers to these."""
        end = time.monotonic() + harness.PATIENCE_S
        while not all(tag in self.answers for tag in tags):
            self.receive(1)
            if time.monotonic() > end:
                raise AssertionError("no answer to %s" % [tag for tag in tags if tag not in self.answers])
        return [self.answers[tag] for tag in tags]

    def silent(self, seconds=0.2):
        """Nothing comes: the one thing that takes time to see."""
        return self.receive(seconds) == 0

    def kinds(self, prefix=""):
        """How many got what: REPLY, or the name of the code."""
        return collections.Counter("REPLY" if a.kind == wcproto.REPLY else wcproto.CODES[a.code]
                                   for tag, a in self.answers.items() if tag.startswith(prefix))  # fmt: skip


class Test(harness.NodeTest):
    """A class with one node for its tests, all of whose knobs are at their defaults before each, and which is sound after."""

    USER = False
    IN_VM = False  # the user datapath has something to do with the kernel here
    SHORT = ()  # with E2E_SHORT only these: what else there is runs outside of the VM as well, or in a class like this one
    TIMES = 4
    MORE = ()

    @classmethod
    def options(cls):
        text, cls.cpus = cores(cls.TIMES)
        datapath = ("--datapath", "user", "--port", harness.free_port()) if cls.USER else ()
        return ("--cores", text, *datapath, *cls.MORE)

    @classmethod
    def setUpClass(cls):
        if cls.USER and not cls.IN_VM and os.environ.get("E2E_DATAPATH") == "kernel":
            raise unittest.SkipTest("E2E_DATAPATH=kernel")
        assert all(callable(getattr(cls, name)) for name in cls.SHORT)
        cls.node = Node(cls.TAG + ("u" if cls.USER else "k"), *cls.options())
        cls.addClassCleanup(cls.node.close)
        cls.node.up()
        cls.prepare()

    @classmethod
    def tearDownClass(cls):
        cls.node.down()
        cls.node.check_nothing_left()

    def setUp(self):
        if self.SHORT and os.environ.get("E2E_SHORT") and self._testMethodName not in self.SHORT:
            self.skipTest("E2E_SHORT")
        self.prefix = "%s." % self.id().rpartition(".")[2]
        self.closed = []

    def tearDown(self):
        for gate in self.closed:
            self.node.open(gate)
        self.node.wait_idle()
        self.node.check_counters()

    def crowd(self, sockets=4):
        crowd = Crowd(self.node, sockets)
        self.addCleanup(crowd.__exit__)
        return crowd

    def gate(self):
        """A closed gate, which is open at the latest when the test has ended, or nothing could be cleaned up."""
        self.closed.append(self.node.new_gate())
        return self.closed[-1]

    def check_crowd(self, crowd):
        """Everybody got a reply with his tag, and was run once."""
        wrong = {bytes(answer.payload[:200]) for answer in crowd.answers.values() if answer.kind != wcproto.REPLY}
        self.assertEqual(set(crowd.kinds()), {"REPLY"}, (crowd.kinds(), sorted(wrong)[:3]))
        for tag, answer in crowd.answers.items():
            self.assertIn(tag.encode(), answer.payload)
        runs = collections.Counter(tag for what, tag in self.node.spans(self.prefix) if what == "B")
        self.assertEqual({tag: n for tag, n in runs.items() if n != 1 or tag not in crowd.answers}, {})
        self.assertEqual(len(runs), len(crowd.answers))
