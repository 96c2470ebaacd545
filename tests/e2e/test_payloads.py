#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Large payloads (docs/PAYLOADS.md): sizes at every limit, each way and both, every runtime; hostile clients and instances; kill -9 of
everybody; and that no memory is left, which /proc tells.
"""

import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading

import gateway
import harness
import wcpayload
import wcproto

LARGE, SMALL = wcpayload.LARGE, wcproto.PAYLOAD_MAX
SIZES = (0, 1, wcpayload.HERE_MAX, wcpayload.HERE_MAX + 1, SMALL, SMALL + 1, 1 << 20, LARGE - 1, LARGE)
FUNCTIONS = os.path.join(harness.HERE, "functions")


def pattern(size):
    block = bytes(range(0, 256)) * 16
    made = bytearray()
    for i in range((size + 4095) // 4096):
        made += bytes((j * 7 + i) & 255 for j in range(256)) * 16
    assert len(block) == 4096
    return bytes(made[:size])


def noise(size, first=b"="):
    return (first + random.randbytes(size))[:size]


def memfds(pid):
    """The memfds with payloads that a process has open or mapped."""
    found = []
    for entry in os.listdir("/proc/%d/fd" % pid):
        try:
            name = os.readlink("/proc/%d/fd/%s" % (pid, entry))
            if "memfd:warmcore-payload" in name or "memfd:test" in name:
                found.append(name)
        except OSError:
            pass
    with open("/proc/%d/maps" % pid) as maps:
        found += [line.split()[-2] for line in maps if "memfd:warmcore-payload" in line or "memfd:test" in line]
    return found


def shared_memory_kib():
    with open("/proc/meminfo") as file:
        return int(next(line.split()[1] for line in file if line.startswith("Shmem:")))


class PayloadTest(harness.NodeTest):
    TAG = "pay"
    OPTIONS = ()

    @classmethod
    def prepare(cls):
        cls.path = "/run/warmcore/%s/payload.sock" % cls.node.name
        cls.functions = {"native": cls.deploy_bulk("bulk")}

    @classmethod
    def deploy_bulk(cls, name, **manifest):
        return cls.node.deploy(name, "native", "bulk.so", {"bulk.so": harness.native_function("bulk")}, event="binary",
                               timeout_ms=60000, **manifest)  # fmt: skip

    @classmethod
    def deploy_all(cls):
        """One of every runtime; Node.js where there is one."""
        options = {"event": "binary", "timeout_ms": 60000}
        py, js = os.path.join(FUNCTIONS, "bulk.py"), os.path.join(FUNCTIONS, "bulk.js")
        cls.functions["python"] = cls.node.deploy("bulk-py", "python", "bulk.handler", {"bulk.py": py}, memory_mb=256, **options)
        cls.functions["custom"] = cls.node.deploy(
            "bulk-custom", "custom", "bulk", {"bulk.py": py, "bootstrap": os.path.join(FUNCTIONS, "bulk_bootstrap.py")},
            memory_mb=256, **options)  # fmt: skip
        if harness.NODE_JS:
            cls.functions["node"] = cls.node.deploy("bulk-js", "node", "bulk.handler", {"bulk.js": js}, memory_mb=256, **options)

    def setUp(self):
        self.client = wcproto.Client(self.node.address4, self.node.port)
        self.addCleanup(self.client.close)
        self.session = wcpayload.Session(self.path)
        self.addCleanup(self.session.close)

    def payloads(self):
        return self.node.status()["payloads"]

    def assert_empty(self):
        """Nothing is held for anybody, and the daemon has no memory of it left."""
        def empty():
            status = self.payloads()
            return not any(status[key] for key in ("waiting", "waiting_bytes", "results", "results_bytes")) and not memfds(self.node.pid)

        harness.wait_until(empty, "no payload is left: %s, %s" % (self.payloads(), memfds(self.node.pid)), 30)

    def invoke(self, payload, function=None, session=None, **fields):
        return (session or self.session).invoke(self.client, function or self.functions["native"], payload, **fields)


class Sizes(PayloadTest):
    """Each way, and both."""

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.functions["trusted"] = cls.deploy_bulk("bulk-trusted", trusted=True)
        cls.deploy_all()

    OPTIONS = PayloadTest.OPTIONS + ("--allow-trusted",)

    def test_sizes(self):
        for name, function in self.functions.items():
            for size in SIZES:
                with self.subTest(function=name, size=size):
                    if size:
                        payload = noise(size)
                        self.assert_reply(self.invoke(payload, function), payload)  # both ways
                    payload = noise(size, b"-")
                    self.assert_reply(self.invoke(payload, function), b"%d %d" % (size, sum(payload)))  # there
                    self.assert_reply(self.invoke(b"%d" % size, function), pattern(size))  # back
            # A little one in memory is a payload, too.
            self.assert_reply(self.invoke(b"=small", function, here=False), b"=small")
            self.assert_reply(self.invoke(b"", function, here=False), b"0 0")
        self.assert_empty()

    def test_too_large(self):
        for name, function in self.functions.items():
            with self.subTest(function=name):
                self.assert_error(self.invoke(b"%d" % (LARGE + 1), function), wcproto.FUNCTION, "Runtime.ResponseTooLarge")
                # Without a reference the limit of a packet holds, as ever.
                answer = self.client.invoke(function, b"%d" % (SMALL + 1))
                self.assert_error(answer, wcproto.FUNCTION, "Runtime.ResponseTooLarge")
                self.assert_reply(self.client.invoke(function, b"%d" % SMALL), pattern(SMALL))
        self.session.say(wcpayload.PUT, 1, LARGE + 1, [wcpayload.memfd(b"", size=LARGE + 1)])
        self.assertTrue(self.session.ended())
        self.assert_empty()

    def test_command(self):
        source, out = os.path.join(self.node.root, "in"), os.path.join(self.node.root, "out")
        for size in (1, SMALL, SMALL + 1, LARGE):
            with open(source, "wb") as file:
                file.write(payload := noise(size))
            self.node.cli("invoke", "bulk", "--file", source, "--output", out)
            with open(out, "rb") as file:
                self.assertEqual(file.read(), payload)
            self.node.cli("invoke", "bulk", "--file", source, "--output", out, "--repeat", "5")
            with open(out, "rb") as file:
                self.assertEqual(file.read(), payload)
        with open(source, "wb") as file:
            file.write(noise(LARGE + 1))
        failed = self.node.cli("invoke", "bulk", "--file", source, check=False)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("6291456", failed.stderr)
        self.assert_empty()


class Hostile(PayloadTest):
    """What a client may not do with a reference, a session or a memfd, and what an instance may not."""

    TAG = "pah"

    def broken(self, what, *arguments, **options):
        """The session ends, and takes what it had with it."""
        with self.subTest(what=what), wcpayload.Session(self.path) as session:
            session.put(5, noise(SMALL + 1))
            try:
                session.say(*arguments, **options)
            except BrokenPipeError:
                pass
            self.assertTrue(session.ended(), what)
        self.assert_empty()

    def test_references(self):
        """Whatever stands in a reference: an error, and nobody's payload."""
        secret, id = noise(SMALL + 100), self.client.fresh_id()
        self.session.put(id, secret)
        key, length = self.session.key, len(secret)
        with wcpayload.Session(self.path) as other:
            for what, word, code in (
                    ("another session's key", wcpayload.WORD.pack(other.key, length, 1), wcproto.NO_PAYLOAD),
                    ("no session's key", wcpayload.WORD.pack(os.urandom(16), length, 1), wcproto.NO_PAYLOAD),
                    ("a key that is right but for one bit", wcpayload.WORD.pack(key[:15] + bytes([key[15] ^ 1]), length, 1), wcproto.NO_PAYLOAD),
                    ("no key", wcpayload.WORD.pack(b"", length, 1), wcproto.NO_PAYLOAD),
                    ("a length that is too small", wcpayload.WORD.pack(key, length - 1, 1), wcproto.NO_PAYLOAD),
                    ("a length that is too large", wcpayload.WORD.pack(key, length + 1, 1), wcproto.NO_PAYLOAD),
                    ("more than the limit", wcpayload.WORD.pack(key, LARGE + 1, 1), wcproto.MALFORMED),
                    ("the largest length", wcpayload.WORD.pack(key, 0xFFFFFFFF, 1), wcproto.MALFORMED),
                    ("another place", wcpayload.WORD.pack(key, length, 2), wcproto.MALFORMED),
                    ("memory, and bytes", wcpayload.WORD.pack(key, length, 1) + b"x", wcproto.MALFORMED),
                    ("here, and none", wcpayload.WORD.pack(key, length, 0), wcproto.MALFORMED),
                    ("here, and one too few", wcpayload.WORD.pack(key, 4, 0) + b"abc", wcproto.MALFORMED),
                    ("here, and one too many", wcpayload.WORD.pack(key, 4, 0) + b"abcde", wcproto.MALFORMED),
                    ("half a reference", key, wcproto.MALFORMED), ("none", b"", wcproto.MALFORMED)):  # fmt: skip
                with self.subTest(what=what), wcproto.Client(self.node.address4, self.node.port) as client:
                    answer = client.invoke(self.functions["native"], word, 60, id, flags=wcpayload.REFERENCE)
                    self.assert_error(answer, code, "Node.PayloadError")
            # Of the other's session nothing reaches it, either.
            other.say(wcpayload.DROP, id)
            other.say(wcpayload.TAKEN, id, length)
            other.put(id, b"=" + b"y" * (length - 1))
            self.assert_reply(self.invoke(b"=sync", session=other), b"=sync")
            word = wcpayload.WORD.pack(key, length, 1)
            answer = self.client.invoke(self.functions["native"], word, 60, id, flags=wcpayload.REFERENCE)
            self.assertEqual((answer.kind, self.session.result(id, length)), (wcproto.REPLY, secret))
            # It was used up; the same id of another client names nothing.
            with wcproto.Client(self.node.address4, self.node.port) as client:
                answer = client.invoke(self.functions["native"], word, 60, id, flags=wcpayload.REFERENCE)
                self.assert_error(answer, wcproto.NO_PAYLOAD)
        self.assert_empty()

    def test_retransmissions(self):
        """The same packet again gets the same reply, and no second run; the result is handed over once."""
        payload, id = noise(LARGE), self.client.fresh_id()
        self.session.put(id, payload)
        word = self.session.reference(payload)
        for _ in range(5):
            self.client.send(id, self.functions["native"], word, flags=wcpayload.REFERENCE)
        first = self.client.receive(60)
        self.assert_reply(first)
        for _ in range(5):
            again = self.client.invoke(self.functions["native"], word, 60, id, flags=wcpayload.REFERENCE)
            self.assertEqual((again.kind, again.payload), (wcproto.REPLY, first.payload))
        self.assertEqual(self.session.result(id, LARGE), payload)
        self.session.socket.setblocking(False)
        self.assertRaises(BlockingIOError, self.session.read)
        self.assert_empty()

    def test_messages(self):
        """What is not allowed ends the session, and only that one."""
        good = wcpayload.memfd(b"x" * 100)
        self.addCleanup(os.close, good)
        a, b = socket.socketpair()
        lingering = socket.socket()
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
        for one in (a, b, lingering):
            self.addCleanup(one.close)
        put = wcpayload.PUT
        for what, arguments, options in (
                ("empty", (put, 1), {"cut": 0}), ("short", (put, 1, 100, [good]), {"cut": 39}), ("magic", (put, 1, 100, [good]), {"magic": 1}),
                ("reserved", (put, 1, 100, [good]), {"reserved": 1}), ("key", (put, 1, 100, [good]), {"key": b"k" * 16}),
                ("kind 0", (0, 1), {}), ("kind 7", (7, 1), {}), ("HELLO", (wcpayload.HELLO, 0, LARGE), {}), ("RESULT", (wcpayload.RESULT, 1, 100, [good]), {}),
                ("PUT without memfd", (put, 1, 100), {}), ("DROP with one", (wcpayload.DROP, 1, 0, [good]), {}), ("DROP with a length", (wcpayload.DROP, 1, 1), {}),
                ("two", (put, 1, 100, [good, good]), {}), ("wrong length", (put, 1, 99, [good]), {}), ("0 of 100", (put, 1, 0, [good]), {}),
                ("a socket", (put, 1, 100, [a.fileno()]), {}), ("one that lingers", (put, 1, 100, [lingering.fileno()]), {}),
                ("standard input", (put, 1, 100, [0]), {}), ("a pipe", (put, 1, 100, [os.pipe()[0]]), {})):  # fmt: skip
            self.broken(what, *arguments, **options)
        for seals in (0, wcpayload.fcntl.F_SEAL_SEAL, wcpayload.ALL_SEALS & ~wcpayload.fcntl.F_SEAL_WRITE,
                      wcpayload.ALL_SEALS & ~wcpayload.fcntl.F_SEAL_SHRINK, wcpayload.ALL_SEALS & ~wcpayload.fcntl.F_SEAL_GROW,
                      wcpayload.ALL_SEALS & ~wcpayload.fcntl.F_SEAL_SEAL):  # fmt: skip
            fd = wcpayload.memfd(b"x" * 100, seals)
            self.broken("seals %d" % seals, put, 1, 100, [fd])
            os.close(fd)
        for path in ("/dev/zero", "/etc/passwd", "/proc/self/maps", "/dev/shm"):
            fd = os.open(path, os.O_RDONLY)
            self.broken(path, put, 1, 100, [fd])
            os.close(fd)
        self.assert_reply(self.invoke(payload := noise(LARGE)), payload)
        self.assertGreater(self.payloads()["violations_total"], 20)

    def lingering(self):
        """A connection whose last close waits until this test has read what is in it, or for an hour; and its other end."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with listener, socket.create_connection(listener.getsockname()) as near:
            far = listener.accept()[0]
            near.setblocking(False)
            try:
                while True:
                    near.send(bytes(65536))
            except BlockingIOError:
                pass
            near.setblocking(True)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
            self.addCleanup(far.close)
            return os.dup(near.fileno()), far

    def stopped(self):
        """What is sent and closed meanwhile is the daemon's alone when it sees it: its close is the last. (It ends closings that wait.)"""
        return harness.stopped(self.node.pid)

    def test_closing_that_waits(self):
        """What comes beside a payload, or instead of one, takes an hour to close: nobody else waits for that."""
        good, ends, id = wcpayload.memfd(b"x" * 100), [], self.client.fresh_id()
        self.addCleanup(os.close, good)
        shapes = [[good], [], [good] * 200, [good, good]]
        sessions = [wcpayload.Session(self.path) for _ in shapes]
        with self.stopped():
            for session, others in zip(sessions, shapes):
                near, far = self.lingering()
                ends.append(far)
                session.say(wcpayload.PUT, id, 100, others + [near])
                session.say(wcpayload.PUT, 1, 100, [near])  # is not read before the first is closed
                os.close(near)
            # An agent reads what the thread has not, and closes nothing.
            word = wcpayload.WORD.pack(sessions[-1].key, 100, 1)
            self.client.send(id, self.functions["native"], word, flags=wcpayload.REFERENCE)
        self.assert_error(self.client.receive(60), wcproto.NO_PAYLOAD)
        for session in sessions:
            self.assertTrue(session.ended())
            session.close()
        for _ in range(3):
            self.assert_reply(self.invoke(payload := noise(LARGE)), payload)
            wcpayload.Session(self.path).close()
        # They are being closed all the while, and only that keeps these sessions.
        self.assertGreaterEqual(self.payloads()["sessions"], 1 + len(shapes))
        # Who gets no session, and has sent such a one before he knew. (Since Linux 6.16 he cannot.)
        sessions = []
        with self.assertRaises(wcpayload.Refused):
            while True:
                sessions.append(wcpayload.Session(self.path))
        with self.stopped():
            for _ in range(5):
                near, far = self.lingering()
                ends.append(far)
                refused = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                refused.connect(self.path)
                sessions.append(refused)  # it may be none of the refused, now that others are closed
                try:
                    socket.send_fds(refused, [b"x"], [near])
                except OSError:
                    far.close()  # it is nobody's but this test's
                os.close(near)
        self.assert_reply(self.invoke(payload := noise(LARGE)), payload)
        for session in sessions:
            session.close()
        for far in ends:
            far.close()
        harness.wait_until(lambda: self.payloads()["sessions"] == 1, "they are closed")
        self.assert_empty()

    def test_limits(self):
        """Bytes and count, of one user; others have room."""
        ids = [self.client.fresh_id() for _ in range(23)]
        payload = noise(LARGE)
        for id in ids:
            self.session.put(id, payload)
        harness.wait_until(lambda: self.payloads()["waiting"] == 21, "what there is room for has come")
        self.assertEqual(self.payloads()["waiting_bytes"], 21 * LARGE)
        word = self.session.reference(payload)
        for id in ids[21:]:
            answer = self.client.invoke(self.functions["native"], word, 60, id, flags=wcpayload.REFERENCE)
            self.assert_error(answer, wcproto.PAYLOAD_FULL, "Node.PayloadError")
        # With the room that one leaves there is room for one, from that moment on: whatever thread of the node is slow.
        for i in range(10):
            refused = ids[22] if not i else self.client.fresh_id()
            if i:
                self.session.put(refused, payload)
                answer = self.client.invoke(self.functions["native"], word, 60, refused, flags=wcpayload.REFERENCE)
                self.assert_error(answer, wcproto.PAYLOAD_FULL, "Node.PayloadError")
            self.session.say(wcpayload.DROP, ids[i])
            self.session.put(refused, payload)
            answer = self.client.invoke(self.functions["native"], word, 60, refused, flags=wcpayload.REFERENCE)
            self.assertEqual(answer.kind, wcproto.REPLY)
            self.assertEqual(self.session.result(refused, LARGE), payload)
            self.session.put(self.client.fresh_id(), payload)
        self.session.close()
        self.assert_empty()
        with wcpayload.Session(self.path) as session:
            for id in range(600):
                session.put(id, b"x")
            harness.wait_until(lambda: self.payloads()["waiting"] == 512, "what there is room for has come")
            self.assertEqual(self.payloads()["waiting_bytes"], 512)
        self.assert_empty()

    def test_results_that_nobody_takes(self):
        """They are limited, then results have to be small; and they go with the session."""
        with wcpayload.Session(self.path) as session:
            taken = 0
            for _ in range(30):
                word = session.reference(b"%d" % LARGE)
                answer = self.client.invoke(self.functions["native"], word, 60, flags=wcpayload.REFERENCE)
                if answer.kind == wcproto.ERROR:
                    self.assert_error(answer, wcproto.FUNCTION, "Runtime.ResponseTooLarge")
                    break
                taken += 1
            self.assertEqual(taken, 22)  # the first beyond 128 MiB is the last
            self.assert_reply(self.invoke(b"%d" % SMALL, session=session), pattern(SMALL))
        self.assert_empty()

    def test_taken_without_reading(self):
        """That results are taken is believed as far as they have been read."""
        with wcpayload.Session(self.path) as session:
            ids = []
            for _ in range(23):
                ids.append(self.client.fresh_id())
                word = session.reference(b"%d" % LARGE)
                answer = self.client.invoke(self.functions["native"], word, 60, ids[-1], flags=wcpayload.REFERENCE)
                for _ in range(3):
                    session.say(wcpayload.TAKEN, ids[-1], LARGE)
            self.assert_error(answer, wcproto.FUNCTION, "Runtime.ResponseTooLarge")
            status = self.payloads()
            self.assertEqual((status["results"], status["results_bytes"]), (22, 22 * LARGE))
            # What it has said counts as soon as it is true, but for those that it goes on to leave.
            for id in ids[:2]:
                kind, got, size, _, fds = session.read()
                self.assertEqual((kind, got, size), (wcpayload.RESULT, id, LARGE))
                os.close(fds[0])
            self.assert_reply(self.invoke(b"1", session=session), b"\0")
            self.assertEqual(self.payloads()["results"], 20)
            for id in ids[2:22]:
                session.result(id, LARGE)
            self.assert_reply(self.invoke(b"%d" % LARGE, session=session), pattern(LARGE))
        self.assert_empty()

    def test_sessions(self):
        sessions = []
        with self.assertRaises(wcpayload.Refused):
            for _ in range(200):
                sessions.append(wcpayload.Session(self.path))
        self.assertEqual(len(sessions), 127)  # and one of setUp
        for session in sessions:
            session.close()
        harness.wait_until(lambda: self.payloads()["sessions"] == 1, "they have ended")
        wcpayload.Session(self.path).close()

    def test_users(self):
        """Everybody may have a session, but for the users of functions."""
        program = "import os, sys; sys.path.insert(0, %r); import wcpayload; os.setgroups([]); os.setgid(%d); os.setuid(%d); wcpayload.Session(%r)"
        for user, status in ((65534, 0), (0x70000001, 1), (0x7FFFFFFF, 1)):
            done = subprocess.run([sys.executable, "-c", program % (harness.HERE, user, user, self.path)], stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn("Refused" if status else "", done.stderr)

    def test_instance(self):
        """It writes all over its channel, and cannot make it smaller or larger; the daemon goes on."""
        source = (b"import mmap, os\n"
                  b"def handler(event, context):\n"
                  b"    with open('/proc/self/maps') as maps:\n"
                  b"        at = [l.split() for l in maps if 'warmcore-channel' in l][0]\n"
                  b"    start, end = (int(x, 16) for x in at[0].split('-'))\n"
                  b"    import ctypes\n"
                  b"    ctypes.memset(start + 126976, 120, end - start - 126976)\n"
                  b"    return {'size': end - start}\n")  # fmt: skip
        function = self.node.deploy("hostile", "python", "hostile.handler", {"hostile.py": source}, memory_mb=64, timeout_ms=60000)
        for _ in range(3):
            answer = self.assert_reply(self.client.invoke(function, b"{}"))
            self.assertEqual(json.loads(answer.payload)["size"], 25243648)  # WC_CHANNEL_SIZE
        self.assert_reply(self.invoke(payload := noise(LARGE)), payload)
        self.assert_empty()


class Unconfined(Sizes):
    """The same without sandboxes."""

    TAG = "pau"
    OPTIONS = Sizes.OPTIONS + ("--sandbox", "off")


class Gateway(PayloadTest):
    """Through HTTP: sizes, a node that is killed, clients that go away, and the memory that all connections share."""

    TAG = "pag"

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.deploy_bulk("other")
        cls.gateway = gateway.Gateway(cls.node, "--max-wait-ms", "60000")
        cls.addClassCleanup(cls.gateway.close)

    def test_sizes(self):
        with self.gateway.connect() as connection:
            for size in SIZES[1:]:
                with self.subTest(size=size):
                    payload = noise(size)
                    answer = connection.request("POST", "/function/bulk", payload)
                    self.assertEqual((answer.status, answer.body == payload), (200, True), answer)
                    answer = connection.request("POST", "/function/bulk", b"%d" % size)
                    self.assertEqual((answer.status, answer.body == pattern(size)), (200, True), answer)
            answer = connection.request("POST", "/2015-03-31/functions/bulk/invocations", b"%d" % (LARGE + 1))
            self.assertEqual((answer.status, answer.header("X-Amz-Function-Error")), (200, "Unhandled"))
            self.assertEqual(answer.json()["errorType"], "Runtime.ResponseTooLarge")
        with self.gateway.connect() as connection:
            self.assertEqual(connection.request("POST", "/function/bulk", noise(LARGE + 1)).status, 413)
        self.assert_empty()

    def test_killed_node(self):
        """In flight when the daemon dies: 502, because it may have run. Everything after it works, with a new session."""
        def request():
            with self.gateway.connect() as connection:
                answers.append(connection.request("POST", "/function/bulk", b"w600000 ".ljust(LARGE, b"x")))

        answers, thread = [], threading.Thread(target=request)
        thread.start()
        harness.wait_until(lambda: [c for c in self.node.status()["cores"] if c["state"] == "running"], "it runs")
        self.node.kill9()
        self.node.up()
        thread.join()
        self.assertEqual(answers[0].status, 502, answers)
        for _ in range(3):
            answer = self.gateway.request("POST", "/function/bulk", payload := noise(LARGE))
            self.assertEqual((answer.status, answer.body == payload), (200, True), answer)
        self.assert_empty()

    def test_clients_that_go(self):
        """Their invocations run to their end, and leave nothing at the node or in the gateway."""
        for _ in range(10):
            with self.gateway.connect() as connection:
                body = b"w300 ".ljust(LARGE, b"x")
                connection.send(b"POST /function/bulk HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.node.wait_idle()
        self.assert_empty()
        self.assertEqual(self.gateway.request("POST", "/function/bulk", b"=x").body, b"=x")
        harness.wait_until(lambda: not memfds(self.gateway.process.pid), "the gateway has let go", 30)

    def test_memory(self):
        """80 clients send 6 MiB less one byte each, and then no more: the gateway keeps 256 MiB of them."""
        connections = [self.gateway.connect() for _ in range(80)]
        head = b"POST /function/bulk HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LARGE
        refused, body = set(), noise(LARGE - 1)
        for connection in connections:
            try:
                connection.send(head + body)
            except OSError:
                refused.add(connection)
        self.assertLess(int(gateway.status_of(self.gateway.process.pid)["VmRSS"].split()[0]), 700 << 10)
        for connection in connections:
            try:
                connection.send(b"x")
                if connection.receive().status == 503:
                    refused.add(connection)
            except (OSError, EOFError):
                refused.add(connection)
            connection.socket.close()
        refused = len(refused)
        self.assertGreater(refused, 20)
        self.assertLess(refused, 60)
        self.assertEqual(self.gateway.request("POST", "/function/bulk", b"=x").body, b"=x")
        self.assert_empty()


class Killed(PayloadTest):
    """kill -9 in the middle, and many at once."""

    TAG = "pak"

    def test_client(self):
        """Before, while and after its invocation runs."""
        program = ("import sys, time; sys.path.insert(0, %r); import wcpayload, wcproto\n"
                   "session = wcpayload.Session(%r); client = wcproto.Client(%r, %d); what = sys.argv[1]\n"
                   "payload = (b'w3000 ' if what == 'runs' else b'=').ljust(%d, b'x'); id = client.fresh_id()\n"
                   "session.put(id, payload)\n"
                   "what != 'waits' and client.send(id, %d, session.reference(payload), flags=64)\n"
                   "what == 'has run' and client.receive(60)\n"
                   "print('ready', flush=True); time.sleep(600)\n")  # fmt: skip
        program %= (harness.HERE, self.path, self.node.address4, self.node.port, LARGE, self.functions["native"])
        for what in ("waits", "runs", "has run"):
            with self.subTest(what=what):
                process = subprocess.Popen([sys.executable, "-c", program, what], stdout=subprocess.PIPE)
                self.assertEqual(process.stdout.readline(), b"ready\n")
                harness.wait_until(lambda: self.payloads()["sessions"] == 2, "its session is there")
                process.kill()
                process.wait()
                process.stdout.close()
                harness.wait_until(lambda: self.payloads()["sessions"] == 1, "its session is gone")
                self.assert_empty()

    def test_instance(self):
        for name, size in (("small", 100), ("large", LARGE)):
            with self.subTest(name=name):
                self.assert_error(self.invoke(noise(size, b"x")), wcproto.CRASH)
        # Killed while it idles, before it has looked: another one gets the payload.
        for _ in range(5):
            self.assert_reply(self.invoke(payload := noise(LARGE)), payload)
            self.node.kill_instances()
            self.assert_reply(self.invoke(payload := noise(LARGE)), payload)
        self.assert_empty()

    def test_timeout(self):
        function = self.node.deploy("slow", "native", "bulk.so", {"bulk.so": harness.native_function("bulk")}, event="binary", timeout_ms=300)
        self.assert_error(self.invoke(b"w9999 ".ljust(LARGE, b"x"), function), wcproto.TIMEOUT)
        self.assert_empty()

    def test_daemon(self):
        """What waits is told that it was not run; what ran, that it may have; and a session goes on with the next daemon."""
        ids = {what: self.client.fresh_id() for what in ("waits", "runs", "has run")}
        payloads = {"waits": noise(LARGE), "runs": b"w600000 ".ljust(LARGE, b"x"), "has run": noise(LARGE)}
        for what in ("has run", "runs", "waits"):
            self.session.put(ids[what], payloads[what])
            if what != "waits":
                self.client.send(ids[what], self.functions["native"], self.session.reference(payloads[what]), flags=wcpayload.REFERENCE)
            if what == "has run":
                done = self.client.receive(60)
        begun = harness.wait_until(lambda: [c for c in self.node.status()["cores"] if c["state"] == "running"], "it runs")
        self.assertEqual(len(begun), 1)
        self.node.kill9()
        # The result is in the socket, whatever has become of the daemon.
        self.assertEqual((done.kind, self.session.result_before_end(ids["has run"])), (wcproto.REPLY, payloads["has run"]))
        self.node.up()
        self.path = "/run/warmcore/%s/payload.sock" % self.node.name
        answer = self.client.receive(60)
        self.assertEqual(answer.request_id, ids["runs"])
        self.assert_error(answer, wcproto.RESTARTED)
        answer = self.client.invoke(self.functions["native"], self.session.reference(payloads["waits"]), 60, ids["waits"], flags=wcpayload.REFERENCE)
        self.assert_error(answer, wcproto.NO_PAYLOAD)
        with wcpayload.Session(self.path) as session:
            self.assert_reply(self.invoke(payloads["waits"], session=session), payloads["waits"])
        self.assert_empty()

    def test_concurrent(self):
        """Several clients with sizes of all kinds, and no byte of one in another's."""
        self.deploy_all()
        failures = []

        def run(number):
            try:
                with wcproto.Client(self.node.address4, self.node.port) as client, wcpayload.Session(self.path) as session:
                    for i in range(25):
                        name = random.choice(list(self.functions))
                        payload = noise(random.choice((1, 100, SMALL, SMALL + 1, 200000, 1 << 20, LARGE)))
                        answer = session.invoke(client, self.functions[name], payload)
                        if answer is None or answer.kind != wcproto.REPLY or answer.payload != payload:
                            failures.append((name, len(payload), answer and answer._replace(payload=answer.payload[:200])))
            except BaseException as error:
                failures.append(repr(error))

        threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assert_empty()

    def test_memory(self):
        """Shared memory of the host after many large invocations is what it was; the instance's channel has given its pages back."""
        def run(times):
            for _ in range(times):
                self.assert_reply(self.invoke(payload := noise(LARGE)), payload)
            self.assert_empty()
            return shared_memory_kib()

        before = run(3)
        after = run(40)
        self.assertLess(after - before, 6 * 6144, "KiB more; 40 invocations had 480 MiB")


if __name__ == "__main__":
    harness.main()
