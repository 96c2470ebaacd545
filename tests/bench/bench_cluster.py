#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Group `cluster`: a no-op that the scheduler of a cluster sends on to another node, over the same no-op at the same node by way of a host that does nothing but send
the frame on: an XDP program of a few instructions that writes the node's Ethernet address into it. Client and node on one CPU.

What is between the two is the scheduler's decision, the ORDER around the frame with its MAC, the node's check of it, and CORE_FREE. A round visits both, each first in turn.

And the p99 of the slowdown of functions that sleep, on many hosts with four virtual cores each behind one scheduler, at 80 % of what they can do, open loop: over that of one ideal
queue for as many cores, by simulation of the same process.

And how long it takes until another scheduler serves when the one that leads is killed (kills.py).

First of all, without any host: what a decision costs, and how many a second 1, 2 and 4 schedulers make (bench_cluster.c).
"""

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import struct
import sys

import kills
from ratios import figure

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import cluster  # noqa: E402
import harness  # noqa: E402
from cluster import PORT, inside, ip  # noqa: E402
from syscall_bpf import bpf  # noqa: E402

SKIP = 77
PROGRAM = os.path.join(harness.BUILD, "tests", "bench", "bench_cluster")
CPU = max(os.sched_getaffinity(0))
VIRTUAL = "192.0.2.200"  # what the plain forwarder is for
PROG_LOAD, LINK_CREATE, PROG_TYPE_XDP, ATTACH_XDP = 5, 28, 6, 37


def instruction(code, dst=0, src=0, offset=0, value=0):
    return struct.pack("<BBhi", code, src << 4 | dst, offset, value)


def forwarder(address, ifindex):
    """UDP to our port goes to that Ethernet address, by the device it came from; all else passes."""
    low, high = struct.unpack("<iH", address)
    body = [
        instruction(0x61, 2, 1, 0),  # r2 = data
        instruction(0x61, 3, 1, 4),  # r3 = data_end
        instruction(0xBF, 4, 2),
        instruction(0x07, 4, 0, 0, 42),
        instruction(0x2D, 4, 3, 9),  # shorter: pass
        instruction(0x71, 5, 2, 23),
        instruction(0x55, 5, 0, 7, 17),  # not UDP: pass
        instruction(0x69, 5, 2, 36),
        instruction(0x55, 5, 0, 5, struct.unpack("<H", struct.pack(">H", PORT))[0]),
        instruction(0x62, 2, 0, 0, low),
        instruction(0x6A, 2, 0, 4, high),
        instruction(0xB7, 1, 0, 0, ifindex),
        instruction(0xB7, 2, 0, 0, 0),
        instruction(0x05, 0, 0, 2),
        instruction(0xB7, 0, 0, 0, 2),  # XDP_PASS
        instruction(0x95),
        instruction(0x85, 0, 0, 0, 23),  # bpf_redirect
        instruction(0x95),
    ]
    code, text = ctypes.create_string_buffer(b"".join(body)), ctypes.create_string_buffer(b"GPL")
    program = bpf(PROG_LOAD, struct.pack("IIQQIIQ", PROG_TYPE_XDP, len(body), ctypes.addressof(code), ctypes.addressof(text), 0, 0, 0))[0]
    return bpf(LINK_CREATE, struct.pack("IIIII", program, ifindex, ATTACH_XDP, 4, 0))[0]  # XDP_FLAGS_DRV_MODE; it lasts as long as we


class Hosts(cluster.ClusterTest):
    """The harness of the tests, without being one."""

    def runTest(self):
        pass

    def mac(self, netns):
        return ip("-n", netns, "-br", "link", "show", "eth0").decode().split()[2]

    def make(self):
        cpus = sorted(os.sched_getaffinity(0))
        self.SCHEDULER_CORES = str(cpus[0])
        self.start()
        noop = os.path.join(harness.BUILD, "examples", "native", "noop", "noop.so")
        self.theirs = self.scheduler.deploy("noop", "native", "noop.so", {"noop.so": noop})
        wait = self.scheduler.deploy_python(timeout_ms=900000)
        node_host = self.host("n1")
        ip("-n", node_host, "addr", "add", VIRTUAL + "/32", "dev", "eth0")
        node = harness.Node("n1", "--dev", "eth0", "--cores", str(CPU), "--poll-us", "0", netns=node_host)
        self.addCleanup(node.close)
        node.member, node.shared = "n1", self.scheduler.shared
        self.nodes.append(node)
        self.join(node)
        self.ours = node.deploy("noop", "native", "noop.so", {"noop.so": noop})
        node.deploy_python(timeout_ms=900000)
        self.wait_ready()
        self.end(node_host, wait)

    def end(self, node_host, wait):
        """The plain forwarder to that host; and the scheduler's own core is taken, by the function `wait`."""
        forward = self.host("f")
        ip("-n", self.outside, "neigh", "replace", VIRTUAL, "lladdr", self.mac(forward), "dev", "eth0", "nud", "permanent")
        # The frame keeps the client's address as its source: the switch must not think that the client is there.
        port = "p%d" % self.hosts[forward]
        ip("-n", self.switch, "link", "set", port, "type", "bridge_slave", "learning", "off")
        subprocess.run(["bridge", "-n", self.switch, "fdb", "replace", self.mac(forward), "dev", port, "master", "static"], check=True)
        with inside(forward):
            index = int(ip("-n", forward, "-o", "link", "show", "eth0").split(b":")[0])
            self.link = forwarder(bytes.fromhex(self.mac(node_host).replace(":", "")), index)
        self.blocker = self.client()
        self.addCleanup(self.blocker.close)
        self.blocker.send(self.blocker.fresh_id(), wait, b'{"do": "wait", "file": "end"}')  # the scheduler's own core is taken
        harness.wait_until(lambda: self.scheduler.status()["cores"][0]["state"] == "running", "the scheduler's core is taken")

    def measure(self, address, function, seconds):
        command = ["nsenter", "--net=/run/netns/" + self.outside, "taskset", "-c", str(CPU), harness.WARMCORE, "--json", "load", str(function), "--clients", "1",
                   "--to", "%s:%d" % (address, PORT), "--duration", "%gs" % seconds, "--warm-up", "100ms"]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit("bench_cluster: %s" % done.stderr)
        return json.loads(done.stdout)

    def round(self, order, seconds):
        values = {}
        for what in order:
            address, function = (self.address, self.theirs) if what == "remote" else (VIRTUAL, self.ours)
            values[what] = self.measure(address, function, seconds)
        return values


class Siblings(Hosts):
    """The scheduler has no node, but a sibling, on the client's CPU. That gives leave for as many invocations as cores are free there, at most 64, every 5 ms: so it has 64, and the
    median is of calls that need not wait for leave; one of 65 or so does."""

    def make(self):
        self.SCHEDULER_CORES = str(min(os.sched_getaffinity(0)))
        door = "192.0.2.%d:%d" % (len(self.hosts) + 2, cluster.DOOR)
        self.start("--siblings", door, "--join-as", "s")
        netns = self.host("t")
        ip("-n", netns, "addr", "add", VIRTUAL + "/32", "dev", "eth0")
        sibling = harness.Node("t", "--dev", "eth0", "--cores", "%d*64" % CPU, "--poll-us", "0", netns=netns)
        self.addCleanup(sibling.close)
        sibling.shared = self.scheduler.shared  # it is in each function's environment, and a function is the same everywhere
        sibling.up("--remote", door, "--remote-key", self.key, "--cluster", "--siblings", "%s:%d" % (self.address, cluster.DOOR), "--join-as", "t")
        noop = os.path.join(harness.BUILD, "examples", "native", "noop", "noop.so")
        wait = self.scheduler.deploy_python(timeout_ms=900000)
        self.theirs, self.ours = (each.deploy("noop", "native", "noop.so", {"noop.so": noop}) for each in (self.scheduler, sibling))
        harness.wait_until(lambda: sibling.json("nodes")["lent_to"][0]["functions"] == 1, "it has the function")
        harness.wait_until(lambda: next((each["free"] for each in self.scheduler.status()["cluster"]["nodes"] if each["state"] == "sibling"), 0) >= 64, "it lends")
        self.end(netns, wait)


def run(options, hosts):
    hosts.setUp()
    try:
        hosts.make()
        rounds = []
        hosts.round(("remote", "floor"), options.seconds)
        for i in range(options.rounds):
            rounds.append(hosts.round(("remote", "floor") if i % 2 else ("floor", "remote"), options.seconds))
        status = hosts.scheduler.status()
        sent = status["counters"]["to_member"] + status["cluster"]["sent_by_daemon"]
        with open(os.path.join(hosts.scheduler.shared, "end"), "w"):
            pass
        return rounds, sent, status["node"]
    finally:
        hosts.doCleanups()


class Many(cluster.ClusterTest):
    """As many hosts as are asked for, the scheduler's among them."""

    CORES = ",".join("%d*%d" % (cpu, max(1, 4 // len(os.sched_getaffinity(0)))) for cpu in sorted(os.sched_getaffinity(0))[:4])
    SCHEDULER_CORES = CORES
    SERVICE = "bimodal:450ms,10s,0.005"
    MEAN_S = 0.995 * 0.45 + 0.005 * 10

    def runTest(self):
        pass

    def measure(self, hosts, seconds):
        self.start()
        spin = os.path.join(harness.BUILD, "examples", "native", "spin", "spin.so")
        function = self.scheduler.deploy("spin", "native", "spin.so", {"spin.so": spin}, timeout_ms=60000)
        for _ in range(hosts - 1):
            self.add_node(cores=self.CORES)
        self.wait_ready()
        cores = sum(each["cores"] for each in self.members().values()) + len(self.scheduler.status()["cores"])
        arrivals = "poisson:%d" % (0.8 * cores / self.MEAN_S)
        done = subprocess.run(["nsenter", "--net=/run/netns/" + self.outside, harness.WARMCORE, "--json", "load", str(function), "--arrivals", arrivals, "--service", self.SERVICE,
                               "--work", "sleep", "--to", "%s:%d" % (self.address, PORT), "--duration", "%gs" % seconds, "--warm-up", "5s", "--timeout", "60s"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        total = json.loads(done.stdout or "{}").get("total", {})
        if done.returncode or total["replied"] != total["sent"]:
            raise SystemExit("bench_cluster: %s %s" % (done.stderr, total))
        ideal = subprocess.run([harness.WARMCORE, "--json", "sim", "--ideal", "--cores", str(cores), "--shards", "1", "--arrivals", arrivals, "--service", self.SERVICE,
                                "--invocations", "200000"], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        sent = sum(each["orders"] for each in self.members().values())
        late = sum(node.status()["counters"]["ordered_late"] for node in self.nodes)
        return total, json.loads(ideal.stdout)["slowdown_p99"], cores, sent, late


def run_many(hosts, seconds):
    many = Many()
    many.setUp()
    try:
        total, ideal, cores, sent, late = many.measure(hosts, seconds)
    finally:
        many.doCleanups()
    ours = total["times"]["slowdown"]["p99"] / 1000
    print("\n%d hosts, %d virtual cores, 80 %% load: %d calls, %d of them sent to other hosts, %d to a core that was taken by then" % (hosts, cores, total["sent"], sent, late))
    print("  slowdown p99     %8.3f   ideal %8.3f   ratio %.3f" % (ours, ideal, ours / ideal))
    return {"name": "cluster_p99", "value": round(ours, 4), "unit": "slowdown", "floor": ideal, "ratio": round(ours / ideal, 4), "runs": 1, "hosts": hosts, "cores": cores,
            "calls": total["sent"]}  # fmt: skip


def decisions(options):
    """Its figures are the first of the file."""
    if options.out:
        with open(options.out, "w"):
            pass
    return subprocess.run([PROGRAM, *([options.out] if options.out else []), *(["--quick"] if options.quick else [])]).returncode


def hop(options, name, hosts, title):
    """That figure, over the plain forwarder."""
    rounds, sent, node = run(options, hosts)
    times = {what: [each[what]["total"]["times"]["latency"] for each in rounds] for what in ("remote", "floor")}
    p50 = {what: [each["p50"] / 1000 for each in times[what]] for what in times}
    calls = sum(each["remote"]["total"]["replied"] for each in rounds)
    if any(each[what]["total"]["replied"] != each[what]["total"]["sent"] for each in rounds for what in each):
        raise SystemExit("bench_cluster: not every call was answered with a REPLY")
    if sent < calls or not calls:
        raise SystemExit("bench_cluster: %d calls, but only %d left the scheduler's host" % (calls, sent))
    more = {"datapath": node["datapath"], "xdp_mode": node["xdp_mode"], "af_xdp": node["af_xdp"], "scheduler": node["scheduler"], "kernel": node["kernel"]}
    result = figure(name, "us", p50["remote"], p50["floor"], more)
    print("\n%s; %d rounds, p50 in us" % (title, len(rounds)))
    print("  by the scheduler %8.1f   floor %8.1f   ratio %.3f (%.2f..%.2f)" % (result["value"], result["floor"], result["ratio"], result["ratio_min"], result["ratio_max"]))
    print("  medians of p99   %8.1f         %8.1f" % tuple(statistics.median(each["p99"] / 1000 for each in times[what]) for what in times))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--hosts", type=int, default=64, help="for the slowdown; 0: without that part")
    parser.add_argument("--load-seconds", type=float, default=40.0)
    parser.add_argument("--kills", type=int, default=100, help="of the scheduler that leads; 0: without that part")
    parser.add_argument("--only-decisions", action="store_true", help="no hosts: bench_cluster.c")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("out", nargs="?")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.hosts, options.load_seconds, options.kills = 3, 0.5, 8, 15, 3
    if os.geteuid():
        print("bench_cluster: needs root", file=sys.stderr)
        return SKIP
    status = decisions(options)
    if status or options.only_decisions:
        return status
    results = [hop(options, *each) for each in (
        ("remote_hop_p50", Hosts(), "A no-op on another node, by the scheduler, and by a plain XDP forwarder (floor)"),
        ("sibling_hop_p50", Siblings(), "The same at a sibling"))]  # fmt: skip
    if options.hosts:
        results.append(run_many(options.hosts, options.load_seconds))
    if options.kills and shutil.which("etcd"):
        results.append(kills.run(options.kills))
    elif options.kills:
        print("no etcd, so no kills of schedulers: scripts/install-deps.sh --group test installs etcd-server", file=sys.stderr)
    if options.out:
        with open(options.out, "a") as file:
            for each in results:
                print(json.dumps(each), file=file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
