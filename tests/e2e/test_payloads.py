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
import time
import unittest

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


class Unconfined(Sizes):
    """The same without sandboxes."""

    TAG = "pau"
    OPTIONS = Sizes.OPTIONS + ("--sandbox", "off")


if __name__ == "__main__":
    harness.main()
