#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A gateway on another host (docs/GATEWAY.md): the node in one network namespace, the gateway in another. Payloads of every size both ways, at once;
kill -9 of both; the session lost while an invocation runs; peers with a wrong key, with nonsense, and slow ones. Nothing is left at the node.
"""

import contextlib
import fcntl
import glob
import hashlib
import hmac
import os
import random
import signal
import socket
import struct
import subprocess
import threading

import devices
import gateway
import harness

LARGE = 6291456
PORT = 4751
HEADER = struct.Struct(">IIQII")
ASK, ANSWER, OFFER, WANT, FULL, PUT, KEPT, DROP, RESULT = range(1, 10)
QUESTIONS, PAYLOADS = 1, 2
MAGIC = b"warmcore remote 1\0"
CHUNK = 65536


def noise(size, first=b"="):
    return (first + random.randbytes(size))[:size]


def text_of(path):
    with open(path) as file:
        return file.read()


def children_of(process):
    return [int(pid) for pid in text_of("/proc/%d/task/%d/children" % (process.pid, process.pid)).split()]


class AwayGateway(gateway.Gateway):
    """In the clients' namespace, where `is served on` says its port."""

    def __init__(self, node, netns, name, key, *options):
        self.netns, self.name, self.key = netns, name, key
        self.options = options
        super().__init__(node, *options)

    def start(self):
        self.command = ["ip", "netns", "exec", self.netns, harness.WARMCORE, "--node", self.name, "gateway", "--listen", "127.0.0.1:0", "--no-manage",
                        "--remote-node", "192.0.2.2:%d" % PORT, "--remote-key", self.key, *self.options]  # fmt: skip
        if "--async-dir" not in self.options:
            self.command.append("--no-async")
        super().start()


class LocalClient:
    """A session of docs/PAYLOADS.md with the process that stands for the node; a second implementation."""

    REFUSE, PUT, DROP, HELLO, KEPT, FULL = 2, 3, 4, 8, 9, 10
    MESSAGE = struct.Struct("=IIQII16s")

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(harness.PATIENCE_S)
        self.socket.connect(path)
        self.greeting = self.hear()[0]

    def hear(self):
        message = self.socket.recv(64)
        return self.MESSAGE.unpack(message)[1:3] if message else (0, 0)

    def say(self, kind, id, length=0, fds=()):
        socket.send_fds(self.socket, [self.MESSAGE.pack(0x57435031, kind, id, length, 0, b"")], fds)

    def put(self, id, length=100000):
        fd = os.memfd_create("payload", os.MFD_ALLOW_SEALING)
        os.truncate(fd, length)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
        self.say(self.PUT, id, length, [fd])
        os.close(fd)

    def close(self):
        self.socket.close()


class Remote(devices.DeviceTest):
    OPTIONS = ()

    def setUp(self):
        super().setUp()
        self.node = harness.Node("rem", "--dev", self.inner, "--remote", "192.0.2.2:%d" % PORT, netns=self.far)
        self.key = os.path.join(self.node.root, "remote.key")
        subprocess.run([harness.WARMCORE, "remote-key", self.key], check=True, stdout=subprocess.DEVNULL)
        self.options = ("--remote-key", self.key, "--cores", "0" if len(os.sched_getaffinity(0)) == 1 else "0-1")
        self.addCleanup(self.node.close)
        self.node.up(*self.options)
        self.deploy("bulk")

    def deploy(self, name, **manifest):
        return self.node.deploy(name, "native", "bulk.so", {"bulk.so": harness.native_function("bulk")}, event="binary",
                                timeout_ms=60000, **manifest)  # fmt: skip

    def gateway(self, *options, key=None):
        name = "far%05d" % (os.getpid() % 100000)
        made = AwayGateway(self.node, self.near, name, key or self.key, "--max-wait-ms", "60000", *options)
        self.addCleanup(made.close)
        return made

    def request(self, gateway, body, path="/function/bulk", headers=()):
        def work():
            with gateway.connect() as connection:
                return connection.request("POST", path, body, headers)

        return self.in_near(work)

    def status(self):
        return self.node.status()

    def assert_empty(self):
        def held():
            status = self.status()
            payloads = status["payloads"]
            return [payloads[key] for key in ("waiting", "waiting_bytes", "results", "results_bytes")] + [status["remote"]["coming_bytes"]]

        harness.wait_until(lambda: not any(held()), "no payload is left")
        self.node.wait_idle()

    def wait_running(self, count=1):
        harness.wait_until(lambda: sum(core["state"] == "running" for core in self.status()["cores"]) >= count, "it runs")


class Payloads(Remote):
    def test_sizes(self):
        made = self.gateway()
        for size in (0, 1, 1400, 61416, 61417, 61440, 61441, CHUNK, CHUNK + 1, 1 << 20, LARGE - 1, LARGE):
            with self.subTest(size=size):
                answer = self.request(made, payload := noise(size))
                self.assertEqual(answer.status, 200, answer)
                if size:
                    self.assertEqual(hashlib.sha256(answer.body).digest(), hashlib.sha256(payload).digest())
        # Only one way: small in, large out, and the other way round.
        self.assertEqual(len(self.request(made, b"%d" % LARGE).body), LARGE)
        self.assertEqual(self.request(made, b"y" * LARGE).body, b"%d %d" % (LARGE, ord("y") * LARGE))
        self.assertEqual(self.request(made, noise(LARGE + 1)).status, 413)
        # Invocations come as packets, through the XDP program.
        self.assertGreater(self.status()["counters"]["to_core"], 10)
        self.assert_empty()

    def test_concurrent(self):
        made, wrong = self.gateway("--threads", "2"), []

        def client(number):
            for i in range(6):
                size = random.choice((100, 5000, 1 << 20, LARGE))
                with made.connect() as connection:
                    answer = connection.request("POST", "/function/bulk", payload := noise(size, b"=%d " % number))
                if answer.status != 200 or answer.body != payload:
                    wrong.append((size, answer))

        self.crowd(client, 8)
        self.assertEqual(wrong, [])
        self.assert_empty()

    def crowd(self, work, count):
        def run():
            import ctypes

            def one(i):
                fd = os.open("/run/netns/" + self.near, os.O_RDONLY)
                ctypes.CDLL(None).setns(fd, 0x40000000)
                os.close(fd)
                work(i)

            threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
            for thread in threads:
                thread.start()
            return threads

        for thread in run():
            thread.join()

    def test_command(self):
        """`warmcore remote` makes the node usable here for other commands; what is not passed on says so."""
        name = "cli%05d" % (os.getpid() % 100000)
        prefix = ["ip", "netns", "exec", self.near, harness.WARMCORE, "--node", name]
        standing = subprocess.Popen(prefix + ["remote", "--key", self.key, "192.0.2.2:%d" % PORT], stderr=subprocess.PIPE, text=True)
        self.addCleanup(standing.stderr.close)
        self.addCleanup(standing.wait)
        self.addCleanup(standing.kill)
        self.assertIn("can be used here", standing.stderr.readline())
        payload = os.path.join(self.node.root, "payload")
        with open(payload, "wb") as file:
            file.write(noise(LARGE))
        out = os.path.join(self.node.root, "out")
        harness.wait_until(lambda: not subprocess.run(prefix + ["list"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode, "it is reached")
        subprocess.run(prefix + ["invoke", "bulk", "--file", payload, "--output", out], check=True, timeout=300)
        with open(payload, "rb") as a, open(out, "rb") as b:
            self.assertEqual(a.read(), b.read())
        for arguments in (["deploy", self.node.root], ["remove", "bulk"], ["set", "--policy", "random"], ["down"]):
            done = subprocess.run(prefix + arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertNotEqual(done.returncode, 0, arguments)
        self.assertIn("on another host", done.stderr)
        standing.send_signal(signal.SIGTERM)
        self.assertEqual(standing.wait(harness.PATIENCE_S), 0)
        self.assertFalse(os.path.exists("/run/warmcore/" + name))
        self.assert_empty()


class Lost(Remote):
    def in_background(self, made, body):
        answers = []

        def work():
            try:
                answers.append(self.request(made, body))
            except (OSError, EOFError) as error:
                answers.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        return thread, answers

    def test_node_killed(self):
        made = self.gateway()
        self.assertEqual(self.request(made, noise(LARGE)).status, 200)
        thread, answers = self.in_background(made, b"w2000 ".ljust(LARGE, b"x"))
        self.wait_running()
        self.node.kill9()
        self.node.up(*self.options)
        thread.join()
        self.assertEqual(answers[0].status, 502, answers)  # it may have run
        for _ in range(3):
            answer = self.request(made, payload := noise(LARGE))
            self.assertEqual((answer.status, answer.body == payload), (200, True), answer)
        self.assert_empty()

    def test_node_away(self):
        """503 with a sentence, and all is well when it is there again."""
        made = self.gateway("--max-wait-ms", "300")
        self.assertEqual(self.request(made, noise(1 << 20)).status, 200)
        self.node.down()
        for body in (b"=small", noise(LARGE)):
            answer = self.request(made, body)
            self.assertEqual(answer.status, 503, answer)
            self.assertTrue(answer.json().get("message"), answer)
        self.node.up(*self.options)
        harness.wait_until(lambda: self.request(made, noise(LARGE)).status == 200, "it serves again")
        self.assert_empty()

    def script(self, options, before=""):
        path = os.path.join(self.node.root, "daemon")
        with open(path, "w") as file:
            file.write('#!/bin/bash\n%s exec %s "$@" %s\n' % (before, os.path.join(harness.BUILD, "bin", "warmcored"), options))
        os.chmod(path, 0o755)
        return path

    def test_upgraded(self):
        """Another daemon takes over, and its door with it; one that could not open it changes nothing, and no session ends."""
        made = self.gateway()
        self.assertEqual(self.request(made, noise(LARGE)).status, 200)
        for _ in range(2):
            pid = self.node.json("upgrade", "--timeout", "120")["pid"]
            self.assertNotEqual(pid, self.node.pid)
            self.node.pid = pid
            harness.wait_until(lambda: self.request(made, noise(LARGE)).status == 200, "it is reached again")
        pid, sessions = self.node.pid, self.status()["remote"]["sessions"]
        self.assertGreater(sessions, 0)

        def refused(sentence, *program):
            done = self.node.cli("upgrade", "--timeout", "120", *program, check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(sentence, done.stderr)
            self.assertIn("The daemon from before serves on.", done.stderr)
            status = self.status()
            self.assertEqual((status["node"]["pid"], status["remote"]["sessions"]), (pid, sessions))
            self.assertEqual(self.request(made, noise(LARGE)).status, 200)

        os.chmod(self.key, 0o644)
        refused("is open to others")
        os.chmod(self.key, 0o600)
        os.rename(self.key, self.key + ".away")
        refused("cannot open the key")
        os.rename(self.key + ".away", self.key)
        refused("cannot listen on 192.0.2.77:%d" % PORT, self.script("--remote 192.0.2.77:%d" % PORT))
        other = self.in_far_listening(PORT + 1)
        refused("cannot listen on 192.0.2.2:%d: Address already in use" % (PORT + 1), self.script("--remote 192.0.2.2:%d" % (PORT + 1)))
        other.close()
        self.node.pid = self.node.json("upgrade", "--timeout", "120", self.script("--remote 192.0.2.2:%d" % (PORT + 1)))["pid"]
        self.assertEqual(self.status()["remote"]["address"], "192.0.2.2:%d" % (PORT + 1))
        self.in_near(lambda: socket.create_connection(("192.0.2.2", PORT + 1), timeout=harness.PATIENCE_S).close())
        self.node.pid = self.node.json("upgrade", "--timeout", "120", self.script("--remote 192.0.2.2:%d" % PORT))["pid"]
        harness.wait_until(lambda: self.request(made, noise(LARGE)).status == 200, "it is reached again")
        # One that has opened it, and fails before it serves: the program from before opens it again.
        done = self.node.cli("upgrade", "--timeout", "120", self.script("", "LD_PRELOAD=" + harness.native_function("late_ready")), check=False)
        self.assertIn("The program from before serves again.", done.stderr)
        self.node.pid = self.status()["node"]["pid"]
        harness.wait_until(lambda: self.request(made, noise(LARGE)).status == 200, "it is reached again")
        self.assert_empty()

    def test_upgraded_meanwhile(self):
        """Large results both ways, all the time: none is lost when another daemon takes over."""
        made, wrong, stop, done = self.gateway(), [], threading.Event(), [0] * 4

        def client(number):
            try:
                while not stop.is_set():
                    body = noise(LARGE, b"=%d " % number) if number % 2 else b"%d" % LARGE
                    answer = self.request(made, body)
                    if answer.status != 200 or len(answer.body) != LARGE or (number % 2 and answer.body != body):
                        raise AssertionError("%d, %d bytes: %r" % (answer.status, len(answer.body), answer.body[:200]))
                    done[number] += 1
            except Exception as error:  # pylint: disable=broad-except
                wrong.append(repr(error))

        threads = [threading.Thread(target=client, args=(i,)) for i in range(len(done))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                before = list(done)
                self.node.pid = self.node.json("upgrade", "--timeout", "120")["pid"]
                harness.wait_until(lambda: wrong or all(now > then for now, then in zip(done, before)), "they go on")  # pylint: disable=cell-var-from-loop
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])
        print("  %r large invocations during 5 upgrades" % done, flush=True)
        self.assert_empty()

    def in_far_listening(self, port):
        """A socket of somebody else in the node's namespace."""
        near, self.near = self.near, self.far
        try:
            return self.in_near(lambda: socket.create_server(("192.0.2.2", port)))
        finally:
            self.near = near

    def test_gateway_killed(self):
        made = self.gateway()
        children = children_of(made.process)
        thread, answers = self.in_background(made, b"w500 ".ljust(LARGE, b"x"))
        self.wait_running()
        os.kill(made.process.pid, signal.SIGKILL)
        thread.join()
        self.assertIsInstance(answers[0], (OSError, EOFError))
        harness.wait_until(lambda: all(harness.process_state(pid) in ("", "Z") for pid in children), "its processes are gone")
        self.assertFalse(os.path.exists("/run/warmcore/" + made.name))
        self.assert_empty()
        harness.wait_until(lambda: self.status()["remote"]["sessions"] == 0, "its sessions have ended")
        made.close()
        again = self.gateway()
        self.assertEqual(self.request(again, noise(LARGE)).status, 200)
        self.assert_empty()

    def test_session_lost(self):
        """The process that holds the session dies while an invocation runs, and before: an answer or a clear error, and nothing is left."""
        made = self.gateway()
        self.assertEqual(self.request(made, noise(LARGE)).status, 200)
        away = next(pid for pid in children_of(made.process) if text_of("/proc/%d/comm" % pid) == "wc-gw-away\n")
        thread, answers = self.in_background(made, b"w1000 ".ljust(LARGE, b"x"))
        self.wait_running()
        os.kill(away, signal.SIGKILL)
        thread.join()
        self.assertIn(answers[0].status, (502, 503), answers)
        self.assert_empty()
        harness.wait_until(lambda: self.status()["remote"]["sessions"] == 0, "the session has ended")
        # The gateway is of no use without it, so it ends; the next one of the name starts as ever.
        self.assertEqual(made.process.wait(harness.PATIENCE_S), 1)
        self.assertIn(b"stands for the node on another host is gone", made.process.stderr.read())
        again = self.gateway()
        self.assertEqual(self.request(again, noise(LARGE)).status, 200)
        self.assert_empty()

    def test_given_up(self):
        """Invocations that are given up while their payloads are on their way: those that come later go on."""
        made = self.gateway()
        self.assertEqual(self.request(made, noise(LARGE)).status, 200)
        client = LocalClient("/run/warmcore/%s/payload.sock" % made.name)
        self.addCleanup(client.close)
        with harness.stopped(self.node.pid):  # so that they stay on their way
            for id in range(1, 10):  # one more than may be
                client.put(id)
            for id in range(1, 10):
                client.say(client.DROP, id)
            client.put(10)
        while (said := client.hear()) != (client.KEPT, 10):
            self.assertEqual(said[0], client.KEPT)
        client.say(client.DROP, 10)
        self.assert_empty()

    def test_async(self):
        """They are in the gateway's own store: accepted while the node is away, run when it is there."""
        folder = os.path.join(self.node.root, "async")
        self.node.deploy_native(event="binary")
        made = self.gateway("--async-dir", folder, "--max-wait-ms", "300")
        self.assertEqual(self.request(made, b"=warm").status, 200)
        answer = self.request(made, b"cfirst", "/async-function/probe-c")
        self.assertEqual(answer.status, 202, answer)
        harness.wait_until(lambda: self.node.runs("first") == 1, "it has run")
        self.node.kill9()
        answer = self.request(made, b"csecond", "/async-function/probe-c")
        self.assertEqual(answer.status, 202, answer)
        os.kill(made.process.pid, signal.SIGKILL)
        made.close()
        self.node.up(*self.options)
        self.gateway("--async-dir", folder, "--max-wait-ms", "300")
        harness.wait_until(lambda: self.node.runs("second") >= 1, "it has run")


class Hostile(Remote):
    """Peers of the node's port that are no gateway."""

    def setUp(self):
        super().setUp()
        self.peers = []

    def connect(self, receive_buffer=None):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(harness.PATIENCE_S)
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.connect(("192.0.2.2", PORT))
        self.peers.append(made)
        self.addCleanup(made.close)
        return made

    def read(self, peer, size):
        data = b""
        while len(data) < size:
            more = peer.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def meet(self, purpose=PAYLOADS, key=None, magic=MAGIC, nonce=None, receive_buffer=None):
        """The handshake of docs/PAYLOADS.md, a second implementation. Returns the connection, and the node's proof is right."""
        key = bytes.fromhex(text_of(self.key)) if key is None else key
        peer = self.connect(receive_buffer)
        challenge = self.read(peer, 50)
        self.assertEqual(challenge[:18], MAGIC)
        nonce = nonce or os.urandom(32)
        prove = lambda label: hmac.new(key, label + b"\0" + bytes([purpose]) + challenge[18:] + nonce, hashlib.sha256).digest()  # noqa: E731
        peer.sendall(magic + bytes([purpose]) + nonce + prove(b"warmcore remote client"))
        self.assertEqual(self.read(peer, 32), prove(b"warmcore remote node"))
        return (peer, self.read(peer, 16)) if purpose == PAYLOADS else (peer, None)

    def frame(self, kind, id=1, total=0, offset=0, data=b"", length=None):
        return HEADER.pack(kind, len(data) if length is None else length, id, total, offset) + data

    def ended(self, peer):
        try:
            while peer.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def test_hostile(self):
        self.in_near(self.hostile)
        made = self.gateway()
        answer = self.request(made, payload := noise(LARGE))
        self.assertEqual((answer.status, answer.body == payload), (200, True), answer)
        made.stop()
        self.assert_empty()
        harness.wait_until(lambda: self.status()["remote"]["sessions"] == 0, "all are gone")

    def hostile(self):
        # Keys and greetings.
        for what, arguments in (("another key", {"key": b"k" * 32}), ("no key", {"key": b""}), ("another version", {"magic": b"warmcore remote 2\0"}),
                                ("a purpose that there is not", {"purpose": 7}), ("the other's proof", {"key": b"\0" * 32})):  # fmt: skip
            with self.subTest(what=what), self.assertRaises((EOFError, ConnectionResetError)):
                self.meet(**arguments)
        # What the node has said cannot be said back to it.
        peer = self.connect()
        challenge = self.read(peer, 50)
        peer.sendall(challenge[:18] + b"\2" + challenge[18:] + b"\0" * 32)
        self.assertTrue(self.ended(peer))
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10, os.urandom(4096), b"\0" * 200):
            peer = self.connect()
            try:
                peer.sendall(garbage)
            except OSError:
                pass
            self.assertTrue(self.ended(peer))
        # Silent ones, more than there may be: the oldest go, and who has the key is let in.
        silent = [self.connect() for _ in range(60)]
        self.assertEqual(len(self.meet()[1]), 16)
        # With the key, but against the rules.
        for what, data in (
                ("an unknown kind", self.frame(99)), ("kind 0", self.frame(0)), ("the node's word", self.frame(WANT)), ("a question", self.frame(ASK, data=b"{}", total=2)),
                ("a payload that nobody asked for", self.frame(PUT, total=10, data=b"x" * 10)), ("too large", self.frame(OFFER, total=LARGE + 1)),
                ("an offer with bytes", self.frame(OFFER, total=5, data=b"x")), ("a huge length", self.frame(PUT, total=LARGE, length=0xFFFFFFFF)),
                ("a piece beyond the end", self.frame(PUT, total=10, offset=CHUNK, data=b"x")), ("a result", self.frame(RESULT, total=1, data=b"x"))):  # fmt: skip
            with self.subTest(what=what):
                peer, _ = self.meet()
                peer.sendall(data)
                self.assertTrue(self.ended(peer))
        # Wanted, and then another than was offered; twice the same offer.
        for second in (self.frame(PUT, id=5, total=100000, data=b"x" * CHUNK), self.frame(PUT, id=6, total=70000, data=b"x" * CHUNK),
                       self.frame(PUT, id=5, total=70000, offset=CHUNK, data=b"x" * 4464), self.frame(OFFER, id=5, total=70000)):  # fmt: skip
            peer, _ = self.meet()
            peer.sendall(self.frame(OFFER, id=5, total=70000))
            self.assertEqual(HEADER.unpack(self.read(peer, 24))[0], WANT)
            peer.sendall(second)
            self.assertTrue(self.ended(peer))
        # More than a session may have on its way: told so, and it goes on.
        peer, _ = self.meet()
        for id in range(9):
            peer.sendall(self.frame(OFFER, id=id, total=LARGE))
        kinds = [HEADER.unpack(self.read(peer, 24))[0] for _ in range(9)]
        self.assertEqual((kinds.count(WANT), kinds.count(FULL)), (8, 1))
        half = peer
        half.sendall(self.frame(PUT, id=0, total=LARGE, data=b"x" * CHUNK))  # and no more: it stays until it is closed, or has stalled too long
        # Questions: those that may be asked, and others.
        peer, _ = self.meet(QUESTIONS)
        for question, word in ((b'{"op":"ping"}', b'"ok":true'), (b'{"op":"stop"}', b'"ok":false'), (b'{"op":"deploy","name":"x"}', b'"ok":false'),
                               (b"not JSON", b'"ok":false'), (b"", b'"ok":false'), (b'{"op":"resolve","name":"bulk"}', b'"ok":true')):  # fmt: skip
            peer.sendall(self.frame(ASK, total=len(question), data=question))
            kind, length, _, total, _ = HEADER.unpack(self.read(peer, 24))
            self.assertEqual((kind, length), (ANSWER, total))
            self.assertIn(word, self.read(peer, length).replace(b" ", b""), question)
        peer.sendall(self.frame(ASK, total=5000, length=5000))
        self.assertTrue(self.ended(peer))
        # Dropped while it comes: it is taken, acknowledged, and forgotten.
        peer, _ = self.meet()
        peer.sendall(self.frame(OFFER, id=9, total=70000))
        self.assertEqual(HEADER.unpack(self.read(peer, 24))[0], WANT)
        peer.sendall(self.frame(PUT, id=9, total=70000, data=b"x" * CHUNK) + self.frame(DROP, id=9) + self.frame(PUT, id=9, total=70000, offset=CHUNK, data=b"x" * 4464))
        peer.sendall(self.frame(OFFER, id=10, total=1))
        self.assertEqual(HEADER.unpack(self.read(peer, 24))[0:3:2], (KEPT, 9))
        self.assertEqual(HEADER.unpack(self.read(peer, 24))[0:3:2], (WANT, 10))
        for one in self.peers:
            one.close()

    def test_slow_reader(self):
        """Who does not read his results holds up only himself."""
        function = self.node.json("list")["functions"][0]["id"]

        def work():
            import wcproto

            peer, key = self.meet()
            with wcproto.Client("192.0.2.2", self.node.port) as client:
                for _ in range(4):
                    client.invoke(function, struct.pack(">16sII", key, 7, 0) + b"%d" % LARGE, 60, flags=64)
            return peer

        peer = self.in_near(work)
        made = self.gateway()
        answer = self.request(made, payload := noise(LARGE))
        self.assertEqual((answer.status, answer.body == payload), (200, True))
        peer.close()
        self.assert_empty()

    def take_results(self, peer, fast, results):
        """Every result until the node hangs up, a piece at a time with half a second between them until `fast`."""
        while True:
            try:
                kind, length, id, total, offset = HEADER.unpack(self.read(peer, 24))
                result = results.setdefault(id, bytearray())
                result += self.read(peer, length)
            except (EOFError, ConnectionResetError):
                return
            if kind != RESULT or len(result) != offset + length or total != LARGE:
                raise AssertionError((kind, length, id, total, offset))
            fast.wait(0.5)

    def test_slow_reader_of_upgraded(self):
        """Results that are on their way are delivered before another daemon takes over; when that takes too long the one from before serves on."""
        function, results, fast = self.node.json("list")["functions"][0]["id"], {}, threading.Event()

        def work():
            import wcproto

            peer, key = self.meet(receive_buffer=65536)
            with wcproto.Client("192.0.2.2", self.node.port) as client:
                for _ in range(2):  # together more than the node's socket has room for
                    client.invoke(function, struct.pack(">16sII", key, 7, 0) + b"%d" % LARGE, 60, flags=64)
            return peer

        peer = self.in_near(work)
        reader = threading.Thread(target=self.take_results, args=(peer, fast, results))
        reader.start()
        try:
            done = self.node.cli("upgrade", "--timeout", "1", check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("large results are still on their way to other hosts", done.stderr)
            self.assertIn("The daemon from before serves on.", done.stderr)
            self.assertEqual(self.status()["node"]["pid"], self.node.pid)
            with subprocess.Popen([harness.WARMCORE, "--node", self.node.name, "upgrade", "--timeout", "120"], stdout=subprocess.DEVNULL) as asked:
                # The thread that reads the node's UDP sockets ends when invocations are left in there.
                harness.wait_until(lambda: asked.poll() is not None or "stack" not in self.threads(), "it waits for what is on its way")
                self.assertIsNone(asked.poll())
                self.assertLess(sum(map(len, results.values())), 2 * LARGE)
                fast.set()
                self.assertEqual(asked.wait(harness.PATIENCE_S), 0)
        finally:
            fast.set()
            reader.join()
        self.assertEqual([len(result) for result in results.values()], [LARGE, LARGE])
        self.node.pid = self.status()["node"]["pid"]
        made = self.gateway()
        answer = self.request(made, payload := noise(LARGE))
        self.assertEqual((answer.status, answer.body == payload), (200, True))
        peer.close()
        self.assert_empty()

    def threads(self):
        names = []
        for path in glob.glob("/proc/%d/task/*/comm" % self.node.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that ends meanwhile
                names.append(text_of(path).strip())
        return names

    def test_places(self):
        """Sessions for payloads leave room for questions."""

        def work():
            for _ in range(48):
                self.meet()
            with self.assertRaises((EOFError, ConnectionResetError)):
                self.meet()
            peer, _ = self.meet(QUESTIONS)
            peer.sendall(self.frame(ASK, total=13, data=b'{"op":"ping"}'))
            self.assertEqual(HEADER.unpack(self.read(peer, 24))[0], ANSWER)
            for one in self.peers:
                one.close()

        self.in_near(work)
        self.assert_empty()

    def test_local_users(self):
        """Who may connect to the gateway's process, and not more than he may."""
        made = self.gateway()

        def connect(uid):
            os.seteuid(uid)
            try:
                client = LocalClient("/run/warmcore/%s/payload.sock" % made.name)
            finally:
                os.seteuid(0)
            self.addCleanup(client.close)
            return client

        def fill():
            client = connect(54321)  # without a word: no session with the node was ready
            if client.greeting == client.HELLO:
                held.append(client)
            return client.greeting == client.REFUSE

        held = []
        self.assertEqual(connect(0x70000001).greeting, LocalClient.REFUSE)  # of a function
        harness.wait_until(fill, "there is a limit")
        self.assertEqual(len(held), 16)
        harness.wait_until(lambda: connect(54322).greeting == LocalClient.HELLO, "another user has a session")
        self.assertEqual(self.request(made, noise(LARGE)).status, 200)
        for client in held:
            client.put(1)
            self.assertEqual(client.hear(), (client.KEPT, 1))
            client.close()
        made.stop()
        self.assert_empty()

    def test_gateway_with_wrong_key(self):
        other = os.path.join(self.node.root, "other.key")
        subprocess.run([harness.WARMCORE, "remote-key", other], check=True, stdout=subprocess.DEVNULL)
        made = self.gateway("--max-wait-ms", "300", key=other)
        answer = self.request(made, b"=x")
        self.assertEqual(answer.status, 503, answer)
        made.stop()
        self.assertGreater(self.status()["remote"]["rejected_total"], 0)
        # Keys that are none, or that others may read.
        os.chmod(other, 0o644)
        for path in (other, "/nowhere", "/dev/null", self.node.root):
            done = subprocess.run(["ip", "netns", "exec", self.near, harness.WARMCORE, "--node", "none", "gateway", "--no-async", "--remote-node", "192.0.2.2:1",
                                   "--remote-key", path], stderr=subprocess.PIPE, timeout=60, text=True)  # fmt: skip
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("the key " + path, done.stderr)
        done = subprocess.run([harness.WARMCORE, "remote-key", other], stderr=subprocess.PIPE, text=True)
        self.assertIn("there already", done.stderr)


if __name__ == "__main__":
    harness.main()
