#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`warmcore health`, and daemons in the foreground as systemd and containers have them: everything in a file, ready when sd_notify says so, ended by SIGTERM."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import unittest

import cluster
import harness
from harness import wait_until

DAEMON = os.path.join(harness.BUILD, "bin", "warmcored")


def health(node, *options):
    """Exit status, and what standard error says."""
    done = node.cli("health", *options, check=False)
    return done.returncode, done.stderr


class OneNode(unittest.TestCase):
    def setUp(self):
        self.node = harness.Node("health", "--cores", "0")
        self.addCleanup(self.node.close)

    def test_detached(self):
        """Somebody takes the XDP program off the device by force: the node does not serve, and being started again helps."""
        status, said = health(self.node)
        self.assertEqual(status, 1)
        self.assertIn("is running; start one with", said)
        self.node.up()
        self.assertEqual(health(self.node), (0, ""))
        self.assertEqual(health(self.node, "--ready"), (0, ""))
        answer = self.node.json("health")
        self.assertEqual((answer["serves"], answer["ready"], answer["problems"], answer["waits_for"]), (True, True, [], []))
        bpftool = subprocess.run([os.path.join(harness.ROOT, "scripts/find-tool.sh"), "bpftool"], stdout=subprocess.PIPE, text=True).stdout.strip()
        if not bpftool:
            self.skipTest("without bpftool nobody detaches the program")
        subprocess.run([bpftool, "link", "detach", "pinned", "/sys/fs/bpf/warmcore/%s/links/xdp" % self.node.name], check=True)
        for options in ((), ("--ready",)):
            status, said = health(self.node, *options)
            self.assertEqual(status, 1)
            self.assertIn("the XDP program is not attached to", said)
        self.assertFalse(self.node.json("health", check=False)["serves"])
        self.node.down()
        self.node.up()
        self.assertEqual(health(self.node, "--ready"), (0, ""))
        self.node.down()
        self.node.check_nothing_left()

    def test_silent(self):
        """A daemon that stands still does not answer within three seconds."""
        self.node.up()
        with harness.stopped(self.node.pid):
            status, said = health(self.node)
        self.assertEqual(status, 1)
        self.assertIn("did not answer in time", said)
        self.assertEqual(health(self.node), (0, ""))


class Foreground(cluster.ClusterTest):
    """A scheduler and a node of it."""

    @contextlib.contextmanager
    def daemon(self, node, **knobs):
        """A daemon as its unit starts it, until SIGTERM."""
        path = os.path.join(node.root, "node.yaml")
        with open(path, "w") as file:
            for name, value in {"dev": "eth0", "cores": 0, "state-dir": node.state, **knobs}.items():
                file.write("%s: %s\n" % (name.replace("_", "-"), value))
        os.chmod(path, 0o600)
        told = os.path.join(node.root, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(told)
            notify.settimeout(harness.PATIENCE_S)
            process = subprocess.Popen(["nsenter", "--net=/run/netns/" + node.netns, DAEMON, "--name", node.name, "--config", path],
                                       env={**os.environ, "NOTIFY_SOCKET": told})  # fmt: skip
            self.addCleanup(self.end, process)
            said = notify.recv(4096)
            self.assertIn(b"READY=1", said)
            node.pid = process.pid
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(harness.PATIENCE_S), 0)
            self.assertIn(b"STOPPING=1", notify.recv(4096))
            node.pid = 0
        os.unlink(told)
        node.check_nothing_left()

    def wait_for(self, node, status, sentence):
        def right():
            self.assertEqual(health(node)[0], 0)
            got = health(node, "--ready")
            return got[0] == status and sentence in got[1]

        wait_until(right, "status %d, %r: %s" % (status, sentence, health(node, "--ready")))

    def test_files(self):
        self.scheduler = harness.Node("s", netns=self.host("s"))
        self.addCleanup(self.scheduler.close)
        node = harness.Node("n1", netns=self.host("n1"))
        self.addCleanup(node.close)
        key = os.path.join(self.scheduler.root, "remote.key")
        self.scheduler.cli("remote-key", key)
        door = "192.0.2.%d:%d" % (self.hosts[self.scheduler.netns], cluster.DOOR)
        with self.daemon(node, join=door, join_as="n1", remote_key=key):
            self.wait_for(node, 1, "it has not joined the cluster of " + door)
            with self.daemon(self.scheduler, cluster="on", remote=door, remote_key=key) as scheduler:
                self.wait_for(self.scheduler, 0, "")
                self.wait_for(node, 0, "")
                self.scheduler.cli("drain", "n1")
                self.wait_for(node, 1, "was told to drain it")
                self.scheduler.cli("drain", "--undo", "n1")
                self.wait_for(node, 0, "")
                scheduler.send_signal(signal.SIGTERM)
            self.wait_for(node, 1, "it has not joined the cluster of " + door)


if __name__ == "__main__":
    sys.exit(harness.main())
