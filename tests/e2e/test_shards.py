#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Several receive queues, each with a shard of the cores: who is short steals, and is given cores when that goes on."""

import json
import os
import shutil
import subprocess
import sys

import gates
import harness
import wcproto
from devices import QUEUES, DeviceTest

LOAD_MAX = 20000  # invocations by one queue after which the cores must have moved; a few hundred are enough
BPFTOOL = shutil.which("bpftool") or "/usr/sbin/bpftool"


class Shards(DeviceTest):
    def setUp(self):
        super().setUp()
        text, self.cpus = gates.cores(4)
        self.cores = len(self.cpus)
        self.node = gates.Node("shd", "--dev", self.inner, "--cores", text, netns=self.far)
        self.addCleanup(self.node.close)

    def crowd(self, sockets=4):
        crowd = self.in_near(lambda: gates.Crowd(self.node, sockets))
        self.addCleanup(crowd.__exit__)
        return crowd

    def gate(self):
        gate = self.node.new_gate()
        self.addCleanup(self.node.open, gate)
        return gate

    def homes(self, status):
        """Cores of each shard; none is ever lost, and no shard ever loses its last one."""
        homes = [shard["cores"] for shard in status["shards"]]
        self.assertEqual(sum(homes), self.cores, homes)
        self.assertGreater(min(homes), 0, homes)
        return homes

    def load_until(self, condition, prefix, function, under_way=7):
        """Invocations by one queue, fewer at once than there are cores, until condition(status)."""
        crowd, number, looked = self.crowd(6), 0, 0
        while True:
            while crowd.under_way() < under_way:
                crowd.send(function, "%s%d" % (prefix, number), "=1")
                number += 1
            crowd.gather(left=under_way - 1)
            if number - looked >= 20:  # counted, not timed: however slow the machine is, most of what it does is the load
                status, looked = self.node.status(), number
                self.homes(status)
                if condition(status):
                    break
                self.assertLess(number, LOAD_MAX, "shards: %s" % status["shards"])
        crowd.gather()
        self.assertEqual(set(crowd.kinds()), {"REPLY"})
        begun = self.node.begun(prefix)
        self.assertEqual((len(begun), set(begun)), (number, set(crowd.answers)))
        self.assertEqual(self.node.problems(), [])
        return number

    def finish(self):
        self.node.wait_idle()
        status = self.node.check_counters()
        self.assertEqual((status["agents"]["claims_lost"], status["agents"]["pending_lost"]), (0, 0))
        self.homes(status)
        self.node.down()
        self.node.check_nothing_left()

    def test_steals_and_homes(self):
        self.node.up()
        function = self.node.native("a")
        self.assertEqual(self.homes(self.node.status()), [2, 2, 2, 2])
        self.only_queue(0)
        # Each holds its core: two of the own shard, all others are stolen.
        gate, crowd = self.gate(), self.crowd(8)
        for i in range(self.cores):
            crowd.send(function, "hold%d" % i, gate)
        self.node.wait_begun("hold", self.cores)
        status = self.node.status()
        self.assertEqual([shard["steals_from"] for shard in status["shards"]], [[0, 2, 2, 2]] + [[0] * QUEUES] * 3)
        self.assertEqual(status["counters"]["claim_stolen"], 6)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.assertEqual(sum(bool(answer.flags & wcproto.STOLEN) for answer in crowd.answers.values()), 6)
        text = self.node.cli("status").stdout
        self.assertIn("shard 0 took 2 cores from shard 3", text)
        # It goes on: cores that are stolen often become its own.
        self.load_until(lambda status: self.homes(status)[0] >= 4, "zero-", function)
        rehomed = self.node.status()["scheduler"]["rehomed"]
        self.assertGreaterEqual(rehomed, 2)
        # Another queue now: they go there.
        self.only_queue(2)
        self.load_until(lambda status: self.homes(status)[2] >= 3, "two-", function)
        self.assertGreater(self.node.status()["scheduler"]["rehomed"], rehomed)
        self.finish()

    def test_prefer_shard(self):
        """A free core of the own shard comes before a warm one of another."""
        self.node.up("--prefer", "shard", "--order", "pack")
        function = self.node.native("a")
        self.only_queue(1)
        one = self.crowd(1)
        one.send(function, "first")
        home = one.wait_for("first")[0].core
        self.assertEqual(home % QUEUES, 1)
        self.only_queue(3)
        other = self.crowd(1)
        other.send(function, "second")
        self.assertEqual(other.wait_for("second")[0].core % QUEUES, 3)
        self.node.set("--prefer", "warm")
        self.only_queue(0)
        third = self.crowd(1)
        third.send(function, "third")
        answer = third.wait_for("third")[0]
        self.assertIn(answer.core % QUEUES, (1, 3))
        self.assertTrue(answer.flags & wcproto.STOLEN)
        self.finish()

    def test_first_come_first_served_over_all_queues(self):
        self.node.up("--fair-at", "1000")
        function = self.node.native("a")
        gate, crowds = self.gate(), []
        for queue in range(QUEUES):
            self.only_queue(queue)
            crowds.append(self.crowd(1))
            crowds[-1].send(function, "q%d" % queue)  # before Linux 7 its socket has that queue from now on
            crowds[-1].gather()

        def send(queue, tag, *more):
            self.only_queue(queue)
            crowds[queue].send(function, tag, *more)

        for i in range(self.cores):
            send(i % QUEUES, "hold%d" % i, gate)
        self.node.wait_begun("hold", self.cores)
        self.node.limit("a", concurrency=1)  # one after the other from now on
        tags = ["w%02d" % i for i in range(12)]
        for i, tag in enumerate(tags):
            send((i * 7) % QUEUES, tag)
            self.node.wait_pending(i + 1)
        pending = [shard["pending"] for shard in self.node.status()["shards"]]
        self.assertEqual(pending, [3, 3, 3, 3])
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        for crowd in crowds:
            crowd.gather()
        # Those that ran when the limit came did not count, so the first one may have begun beside them; it is the first.
        self.assertEqual(self.node.begun("w"), tags)
        self.finish()

    def test_every_policy(self):
        self.node.up("--core-queue", "224")
        function = self.node.native("a")
        self.only_queue(None)
        for policy in ("central", "ll_ps", "jsq2", "random", "hash", "rss", "pack"):
            with self.subTest(policy=policy):
                self.node.set("--policy", policy)
                crowd = self.crowd(16)
                for i in range(200):
                    crowd.send(function, "%s%d" % (policy, i))
                crowd.gather()
                self.assertEqual(crowd.kinds(), {"REPLY": 200})
                self.assertEqual(sorted(self.node.begun(policy)), sorted(crowd.answers))
                self.node.wait_idle()
        self.finish()

    def test_reserve_and_parking(self):
        """Reserved cores come from the shards and go back to them; parked ones as well. No shard is left without."""
        self.node.up()
        a, b = self.node.native("a"), self.node.native("b", reserved=3)

        def reserved(count):
            return lambda: [c.get("reserved_for") for c in self.node.status()["cores"]].count("b") == count

        harness.wait_until(reserved(3), "three cores are reserved")
        self.node.set("--cores-min", "2", "--idle-ms", "20")
        self.only_queue(3)
        gate, crowd = self.gate(), self.crowd()
        for i in range(self.cores):
            crowd.send(a, "a%d" % i, gate)
        self.node.wait_begun("a", self.cores - 3)
        self.node.wait_pending(3)
        for i in range(3):
            crowd.send(b, "b%d" % i, gate)
        self.node.wait_begun("b", 3)
        self.assertEqual(self.node.problems(), [])
        self.node.open(gate)
        crowd.gather()
        self.node.limit("b", reserved=0)
        harness.wait_until(reserved(0), "they are given back")
        self.node.set("--cores-min", "0")
        harness.wait_until(lambda: self.node.status()["scheduler"]["parked_now"] == 0, "all are back")
        self.assertEqual(set(crowd.kinds()), {"REPLY"})
        self.finish()

    def test_near(self):
        """Shards are robbed in the order of the host's topology."""
        if not os.access(BPFTOOL, os.X_OK):
            self.skipTest("no bpftool")
        self.node.up()
        # Started in the device's namespace, the daemon has a /sys of its own.
        pinned = "/proc/%d/root/sys/fs/bpf/warmcore/%s/maps/wc_shards" % (self.node.pid, self.node.name)
        dump = json.loads(subprocess.run([BPFTOOL, "-j", "map", "dump", "pinned", pinned], check=True,
                                         stdout=subprocess.PIPE).stdout)  # fmt: skip
        shards = dump[0]["formatted"]["value"][".data.wc_shards"][0]["wc_shards_data"][:QUEUES]
        cpus = [{self.cpus[core] for core in range(s, self.cores, QUEUES)} for s in range(QUEUES)]
        levels = (lambda cpu: "topology/thread_siblings_list", last_cache, None)
        for level, name in enumerate(levels[:2]):
            group = {cpu: read_list(cpu, name(cpu)) for cpu in set(self.cpus)}
            if None in group.values():
                continue
            for s in range(QUEUES):
                wanted = sum(1 << other for other in range(QUEUES)
                             if other != s and any(group[c] == group[d] for c in cpus[s] for d in cpus[other]))  # fmt: skip
                self.assertEqual(shards[s]["near"][level] & wanted, wanted, "shard %d, level %d" % (s, level))
                if level == 0:
                    self.assertEqual(shards[s]["near"][level], wanted)
        for shard in shards:
            self.assertEqual(shard["near"][0] & ~shard["near"][1], 0, "each level includes the ones before")
            self.assertEqual(shard["near"][1] & ~shard["near"][2], 0, "each level includes the ones before")
        self.assertTrue(any(shard["near"][0] for shard in shards), "two shards have the same CPU")
        self.finish()


def read_list(cpu, path):
    try:
        with open("/sys/devices/system/cpu/cpu%d/%s" % (cpu, path)) as file:
            return file.read().strip()
    except OSError:
        return None


def last_cache(cpu):
    folder = "/sys/devices/system/cpu/cpu%d/cache" % cpu
    found = sorted(name for name in (os.listdir(folder) if os.path.isdir(folder) else ()) if name.startswith("index"))
    return "cache/%s/shared_cpu_list" % (found[-1] if found else "index0")


if __name__ == "__main__":
    sys.exit(harness.main())
