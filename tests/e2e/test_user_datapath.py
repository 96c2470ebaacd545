#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""--datapath user: the same node behind a plain UDP socket on the loopback address, without any BPF object."""

import json
import os
import random
import subprocess
import sys
import unittest

import harness
import wcproto


class UserDatapath(harness.NodeTest):
    TAG = "user"

    @classmethod
    def setUpClass(cls):
        cls.OPTIONS = ("--datapath", "user", "--port", harness.free_port(), "--pending", "16")
        super().setUpClass()

    @classmethod
    def prepare(cls):
        cls.python = cls.node.deploy_python(timeout_ms=5000)
        cls.native = cls.node.deploy_native(event="binary")
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def test_status(self):
        about = self.node.status()["node"]
        self.assertEqual((about["datapath"], about["xdp_mode"], about["af_xdp"]), ("user", "none", "none"))
        self.assertEqual((about["address4"], about["netns"], about["pin_dir"]), ("127.0.0.1", "", ""))

    def test_no_xdp(self):
        self.assertFalse(os.path.exists("/sys/fs/bpf/warmcore/" + self.node.name))
        self.assertFalse(os.path.exists("/run/netns/warmcore-" + self.node.name))
        folder = "/proc/%d/fd" % self.node.pid
        links = []
        for fd in os.listdir(folder):
            try:
                links.append(os.readlink(os.path.join(folder, fd)))
            except FileNotFoundError:
                pass
        # But for the scheduler of threads, which has nothing to do with packets.
        foreign = ("XDP",) if self.node.status()["node"]["scheduler"].startswith("sched_ext") else ("XDP", "bpf")
        self.assertEqual([link for link in links if any(word in link for word in foreign)], [])

    def test_functions(self):
        everything = bytes(range(256))
        self.assert_reply(self.client.invoke(self.native, b"e" + everything), everything)
        self.assert_reply(self.client.invoke(self.python, b'{"a":[1,null]}'), {"a": [1, None]})
        if harness.NODE_JS:
            function = self.node.deploy_node()
            self.assert_reply(self.client.invoke(function, b'{"a":[1,null]}'), {"a": [1, None]})
        self.assertEqual(json.loads(self.node.cli("invoke", "probe", "[5]").stdout), [5])

    def test_large(self):
        for size in (1500, 5000, 60000, wcproto.PAYLOAD_MAX - 1):
            payload = random.Random(size).randbytes(size)
            self.assert_reply(self.client.invoke(self.native, b"e" + payload), payload)
        self.assert_error(self.client.invoke(self.native, bytes(65000), seconds=10), wcproto.TOO_LARGE)

    def test_errors(self):
        self.assert_error(self.client.invoke(self.python, b'{"do":"raise"}'), wcproto.FUNCTION, "ValueError")
        self.assert_error(self.client.invoke(self.python, b'{"do":"exit","status":3}'), wcproto.EXIT)
        self.assert_error(self.client.invoke(self.native, b"s"), wcproto.CRASH)
        self.assert_error(self.client.invoke(self.python, b'{"do":"loop"}'), wcproto.TIMEOUT)
        self.assert_error(self.client.invoke(self.python + 4096 * 99, b"1"), wcproto.UNKNOWN_FUNCTION)
        self.assert_error(self.client.invoke(self.python, b"1", version=7), wcproto.BAD_VERSION)
        for field, value in (("type", 0), ("header_len", 56), ("reserved", 1), ("flags", 2), ("code", 1), ("tail1", 1),
                             ("core", 0), ("payload_len", 9)):  # fmt: skip
            self.assert_error(self.client.invoke(self.python, b"1", **{field: value}), wcproto.MALFORMED)
        for kind, counter in ((wcproto.REPLY, "drop_answer"), (wcproto.CORE_FREE, "drop_cluster")):
            before = self.node.status()["counters"][counter]
            self.client.send(self.client.fresh_id(), self.python, b"1", type=kind)
            harness.wait_until(lambda c=counter, b=before: self.node.status()["counters"][c] > b, counter)
        self.assert_reply(self.client.invoke(self.python, b"1"), 1)

    def test_noise(self):
        """Datagrams at random neither stop the node nor lose a core."""
        chance = random.Random(1)
        for _ in range(5000):
            data = bytearray(wcproto.request(wcproto.new_id(), self.native, b"e" + chance.randbytes(chance.randrange(200))))
            for _ in range(chance.choice((1, 2, 60))):
                data[chance.randrange(len(data))] = chance.randrange(256)
            del data[chance.choice((len(data), chance.randrange(len(data)))) :]
            try:
                self.client.socket.send(data)
            except ConnectionRefusedError:
                pass
        self.assert_reply(self.client.invoke(self.native, b"eafter"), b"after")
        self.node.wait_idle()
        self.node.check_counters()

    def test_at_most_once(self):
        number = self.client.fresh_id()
        payload = b'{"do":"count","tag":"user-once","sleep_ms":300}'
        for _ in range(5):
            self.client.send(number, self.python, payload)
        self.assert_reply(self.client.invoke(self.python, payload, request_id=number), "user-once")
        again = self.client.invoke(self.python, payload, request_id=number)
        self.assertEqual(again.flags & wcproto.CACHED, wcproto.CACHED)
        self.assertEqual(self.node.runs("user-once"), 1)


class UserLife(unittest.TestCase):
    """Another node, for what changes it."""

    def setUp(self):
        self.node = harness.Node("ulif", "--datapath", "user", "--port", harness.free_port())
        self.addCleanup(self.node.close)
        self.node.up()
        self.function = self.node.deploy_native(event="binary")

    def check_echo(self):
        with self.node.client() as client:
            self.assertEqual(client.invoke(self.function, b"eback").payload, b"back")

    def test_restart(self):
        self.check_echo()
        self.node.down()
        self.node.check_nothing_left()
        self.node.up()
        self.check_echo()

    def test_kill9(self):
        """Without BPF the window does not outlive the daemon; the functions do."""
        self.check_echo()
        self.node.kill9()
        harness.wait_until(lambda: not self.node.instance_pids(), "instances die with the daemon")
        self.node.up()
        self.check_echo()
        self.node.wait_idle()
        self.node.kill9()
        self.node.cli("down")
        self.node.check_nothing_left()

    def test_strict_umask(self):
        """An administrator's umask 077 does not keep functions from their code, however the daemon is started."""
        mask = os.umask(0o077)
        self.addCleanup(os.umask, mask)
        by_command = harness.Node("umsk", "--datapath", "user", "--port", harness.free_port())
        self.addCleanup(by_command.close)
        by_command.state += "/of/its/own"
        by_command.up()
        by_command.deploy_python()
        self.assertEqual(json.loads(by_command.cli("invoke", "probe", "[5]").stdout), [5])
        by_command.down()
        alone = harness.Node("umsd")
        self.addCleanup(alone.close)
        daemon = subprocess.Popen([os.path.join(harness.BUILD, "bin", "warmcored"), "--name", alone.name, "--datapath", "user",
                                   "--port", harness.free_port(), "--state-dir", alone.state])  # fmt: skip
        self.addCleanup(daemon.wait, 60)
        self.addCleanup(daemon.terminate)
        harness.wait_until(lambda: alone.cli("status", check=False).returncode == 0, "the daemon serves")
        alone.deploy_python()
        self.assertEqual(json.loads(alone.cli("invoke", "probe", "[5]").stdout), [5])

    def test_a_taken_port(self):
        other = harness.Node("uoth", "--datapath", "user", "--port", str(self.node.port))
        self.addCleanup(other.close)
        done = other.cli("up", "--state-dir", other.state, *other.options, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.node.port), done.stderr)
        other.check_nothing_left()
        self.check_echo()


if __name__ == "__main__":
    sys.exit(harness.main(kernel=False))
