#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""--dev on a device with four receive queues: all of them serve, cores are stolen, and the device is left as it was.

The test makes the device, one end of a veth pair between two network namespaces of its own.
"""

import json
import os
import shutil
import subprocess
import sys

import harness
import wcproto
from devices import QUEUES, DeviceTest, ip


class Device(DeviceTest):
    def setUp(self):
        super().setUp()
        self.node = harness.Node("dev", "--dev", self.inner, netns=self.far)
        self.addCleanup(self.node.close)

    def device(self):
        """What `ip` says about the node's device; without numbers that change by themselves."""
        about = json.loads(ip("-n", self.far, "-d", "-j", "addr", "show", "dev", self.inner))[0]
        for address in about["addr_info"]:
            address.pop("tentative", None)
        return json.dumps(about, sort_keys=True)

    def wait_for_ipv6(self):
        def usable():
            shown = [ip("-n", n, "addr", "show", "tentative") for n in (self.near, self.far)]
            return not any(b"inet6" in text for text in shown)

        harness.wait_until(usable, "IPv6 addresses are usable")

    def queue_packets(self):
        """Packets that the XDP program saw on each queue; None when nothing here can tell."""
        ethtool = shutil.which("ethtool") or "/usr/sbin/ethtool"
        if not os.access(ethtool, os.X_OK):
            return None
        text = ip("netns", "exec", self.far, ethtool, "-S", self.inner).decode()
        return [int(line.split()[-1]) for line in text.splitlines() if "rx_queue_" in line and "_xdp_packets" in line]

    def serve(self, function):
        def work():
            answers = []
            for family in (4, 6):
                for number in range(64):
                    with self.node.client(family) as client:
                        payload = b"dev%d-%d" % (family, number)
                        answers.append((payload, client.invoke(function, b"c" + payload, seconds=20)))
            return answers

        for payload, answer in self.in_near(work):
            self.assertIsNotNone(answer, "no answer to %r" % payload)
            self.assertEqual((answer.kind, answer.payload), (wcproto.REPLY, payload))

    def test_all_queues(self):
        self.wait_for_ipv6()
        before = self.device()
        self.assertNotIn('"prog"', before)
        about = self.node.up("--cores", "0" if len(os.sched_getaffinity(0)) == 1 else "0-1")
        self.assertEqual((about["device"], about["netns"], about["address4"]), (self.inner, "", "192.0.2.2"))
        self.assertIn('"prog"', self.device())
        status = self.node.status()
        self.assertEqual([shard["queue"] for shard in status["shards"]], list(range(QUEUES)))
        function = self.node.deploy_native(event="binary")
        self.serve(function)
        self.assertEqual(set(self.node.all_runs().values()), {1})
        self.node.wait_idle()
        status = self.node.check_counters()
        self.assertEqual(status["agents"]["invocations"], 128)
        self.assertGreater(status["counters"]["claim_stolen"], 0, "queues without a core must steal one")
        self.assertEqual(status["agents"]["claims_lost"], 0)
        packets = self.queue_packets()
        if packets is not None:
            self.assertEqual(len(packets), QUEUES)
            self.assertTrue(all(packets), "a queue saw nothing: %s" % packets)
        answer = self.in_near(lambda: self.one(function + 4096))
        self.assertEqual((answer.kind, answer.code), (wcproto.ERROR, wcproto.UNKNOWN_FUNCTION))
        self.node.down()
        self.node.check_nothing_left()
        self.assertEqual(self.device(), before)

    def one(self, function):
        with self.node.client() as client:
            answer = client.invoke(function, b"e", seconds=20)
            self.assertIsNotNone(answer, "no answer")
            return answer

    def test_burst_over_all_queues(self):
        """More at once than cores, from every queue: nothing is lost between the shards' pending queues."""
        self.node.up()
        function = self.node.deploy_native(event="binary", timeout_ms=60000)

        def work():
            clients = [self.node.client() for _ in range(40)]
            try:
                for number in range(400):
                    client = clients[number % 40]
                    client.send(client.fresh_id(), function, b"cb-%d" % number)
                answers = []
                for client in clients:
                    for _ in range(10):
                        answers.append(client.receive(20))
                return answers
            finally:
                for client in clients:
                    client.close()

        answers = self.in_near(work)
        self.assertNotIn(None, answers)
        self.assertEqual({answer.kind for answer in answers}, {wcproto.REPLY})
        self.assertEqual({answer.payload for answer in answers}, {b"b-%d" % number for number in range(400)})
        self.assertEqual(self.node.all_runs(), {"b-%d" % number: 1 for number in range(400)})
        self.node.wait_idle()
        self.node.check_counters()

    def test_queues_are_counted_without_sysfs(self):
        """Entered with setns(2) alone, as nsenter --net does, /sys is still that of another namespace."""
        nsenter = shutil.which("nsenter")
        if not nsenter:
            self.skipTest("no nsenter")
        # The harness says `ip netns exec NETNS COMMAND`; a daemon in the foreground under nsenter is another way in.
        command = [nsenter, "--net=/run/netns/" + self.far, harness.WARMCORE, "--node", self.node.name, "up",
                   "--state-dir", self.node.state, "--share", self.node.shared, "--dev", self.inner]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)
        status = self.node.status()
        self.node.address4, self.node.address6, self.node.port = "192.0.2.2", "2001:db8::2", status["node"]["port"]
        self.assertEqual(len(status["shards"]), QUEUES)
        self.wait_for_ipv6()
        self.serve(self.node.deploy_native(event="binary"))
        self.node.wait_idle()

    def test_kill9(self):
        """The next start takes a foreign device over again, and `down` leaves it."""
        before = self.device()
        self.node.up()
        function = self.node.deploy_native(event="binary")
        self.in_near(lambda: self.one(function))
        self.node.kill9()
        self.node.up()
        self.assertEqual(self.in_near(lambda: self.one(function)).kind, wcproto.REPLY)
        self.node.kill9()
        self.node.cli("down")
        self.node.check_nothing_left()
        self.assertEqual(self.device(), before)


if __name__ == "__main__":
    sys.exit(harness.main())
