# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A cluster for tests: hosts are network namespaces behind veth pairs, a bridge in a namespace of its own is the switch between them."""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import devices
import harness
import wcproto
from devices import ip
from harness import wait_until

PORT, DOOR = 4750, 4751


@contextlib.contextmanager
def inside(netns):
    """This thread is in that network namespace meanwhile: sockets made here stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    own, other = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open("/run/netns/" + netns, os.O_RDONLY)
    try:
        if libc.setns(other, 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        if libc.setns(own, 0x40000000):
            os._exit(70)  # no test can go on from here
        os.close(own)
        os.close(other)


class ClusterTest(unittest.TestCase):
    """`self.scheduler`, started by start(); `self.nodes`, by add_node(); clients by client()."""

    SCHEDULER_CORES = "0"

    def setUp(self):
        self.tag = "%05d" % (os.getpid() % 100000)
        self.switch = "e2e-sw" + self.tag
        self.hosts, self.nodes, self.schedulers, self.scheduler, self.faulty = {}, [], [], None, None
        self.namespace(self.switch)
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        ip("-n", self.switch, "link", "set", "br0", "up")
        self.outside = self.host("c")

    def namespace(self, name):
        ip("netns", "add", name)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", name])
        ip("-n", name, "link", "set", "lo", "up")

    def host(self, letters):
        """A new host; returns its namespace. Its device is eth0, its address 192.0.2.N."""
        name, number = "e2e-%s%s" % (letters, self.tag), len(self.hosts) + 1
        self.namespace(name)
        port = "p%d" % number
        ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        with inside(self.switch):
            devices.switch_gro_on(port)
        with inside(name):
            devices.switch_gro_on("eth0")
            devices.switch_checksums_off("eth0")  # or frames that a faulty switch passes on would lack them
        ip("-n", self.switch, "link", "set", port, "master", "br0", "up")
        # A frame in an ORDER is longer than the frame: the network between the hosts has to have room for that.
        for netns, device in ((self.switch, port), (name, "eth0")):
            ip("-n", netns, "link", "set", device, "mtu", "2000")
        ip("-n", name, "addr", "add", "192.0.2.%d/24" % number, "dev", "eth0")
        ip("-n", name, "addr", "add", "2001:db8::%d/64" % number, "dev", "eth0", "nodad")
        ip("-n", name, "link", "set", "eth0", "up")
        self.hosts[name] = number
        return name

    def faults(self, **faults):
        """From now on a faulty switch is between the hosts, with these faults (faulty_switch.py)."""
        ports = ["p%d" % number for number in self.hosts.values()]
        if not self.faulty:
            for port in ports:
                ip("-n", self.switch, "link", "set", port, "nomaster")
            command = ["nsenter", "--net=/run/netns/" + self.switch, sys.executable, os.path.join(harness.HERE, "faulty_switch.py"), *ports]
            self.faulty = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.addCleanup(self.end_faults)
            self.assertEqual(self.faulty.stdout.readline(), "ok\n")
        self.faulty.stdin.write(json.dumps(faults) + "\n")
        self.faulty.stdin.flush()
        self.assertEqual(self.faulty.stdout.readline(), "ok\n")

    def end_faults(self):
        self.faulty.kill()
        self.faulty.wait()
        self.faulty.stdin.close()
        self.faulty.stdout.close()

    def port_of(self, node):
        return "p%d" % self.hosts[node.netns]

    def start(self, *options):
        netns = self.host("s")
        self.scheduler = harness.Node("s", "--dev", "eth0", "--cores", self.SCHEDULER_CORES, "--poll-us", "0", netns=netns)
        self.addCleanup(self.scheduler.close)
        self.key = os.path.join(self.scheduler.root, "remote.key")
        self.scheduler.cli("remote-key", self.key)
        self.address = "192.0.2.%d" % self.hosts[netns]
        self.scheduler.up("--remote", "%s:%d" % (self.address, DOOR), "--remote-key", self.key, "--cluster", *options)

    def add_node(self, *options, cores="0-1"):
        """A node that is told to join, under its letter and number as name."""
        name = "n%d" % (len(self.nodes) + 1)
        node = harness.Node(name, "--dev", "eth0", "--cores", cores, "--poll-us", "0", netns=self.host(name))
        self.addCleanup(node.close)
        node.member = name
        node.shared = (self.scheduler or self.schedulers[0]).shared  # it is in each function's environment, and a function is the same everywhere
        self.nodes.append(node)
        self.join(node, *options)
        return node

    def join(self, node, *options):
        door = self.doors() if self.schedulers else "%s:%d" % (self.address, DOOR)
        return node.up("--join", door, "--remote-key", self.key, "--join-as", node.member, *options)

    # --- several schedulers ---

    VIRTUAL = "192.0.2.200"

    def start_etcd(self):
        """An etcd on a host of its own; self.etcd is its URL."""
        if not shutil.which("etcd"):
            harness.skip("there is no etcd; scripts/install-deps.sh --group test installs etcd-server")
        netns = self.host("e")
        folder = self.etcd_folder = tempfile.mkdtemp(prefix="warmcore-e2e-etcd-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.etcd = "http://192.0.2.%d:2379" % self.hosts[netns]
        command = ["nsenter", "--net=/run/netns/" + netns, "etcd", "--data-dir", folder, "--listen-client-urls", self.etcd + ",http://127.0.0.1:2379",
                   "--advertise-client-urls", self.etcd, "--listen-peer-urls", "http://127.0.0.1:2380", "--logger", "zap", "--log-level", "error"]  # fmt: skip
        self.etcd_command = command
        self.begin_etcd(netns)

    def begin_etcd(self, netns):
        self.etcd_process = subprocess.Popen(self.etcd_command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine})
        self.addCleanup(self.end, self.etcd_process)
        wait_until(lambda: self.etcd_healthy(netns), "etcd serves")

    def start_etcd_again(self, forget=False):
        """After it has ended; perhaps without what it knew."""
        if forget:
            shutil.rmtree(self.etcd_folder)
            os.mkdir(self.etcd_folder, 0o700)
        self.begin_etcd(next(name for name in self.hosts if "e2e-e" in name))

    def etcd_healthy(self, netns):
        try:
            with inside(netns), urllib.request.urlopen(self.etcd + "/health", timeout=2) as answer:
                return json.load(answer)["health"] == "true"
        except OSError:
            return False

    def end(self, process):
        process.kill()
        process.wait()

    def add_scheduler(self, *options, cores="0"):
        """One of several schedulers, under its letter and number as name."""
        name = "s%d" % (len(self.schedulers) + 1)
        host = harness.Node(name, "--dev", "eth0", "--cores", cores, "--poll-us", "0", netns=self.host(name))
        self.addCleanup(host.close)
        host.member = name
        if self.schedulers:
            host.shared = self.schedulers[0].shared
        else:
            self.key = os.path.join(host.root, "remote.key")
            host.cli("remote-key", self.key)
        self.schedulers.append(host)
        self.start_scheduler(host, *options)
        return host

    def start_scheduler(self, host, *options):
        return host.up("--cluster", "--remote", "192.0.2.%d:%d" % (self.hosts[host.netns], DOOR), "--remote-key", self.key, "--join-as", host.member,
                       "--etcd", self.etcd, "--cluster-address", self.VIRTUAL, *options)  # fmt: skip

    def leader(self):
        """Who leads and takes invocations, or None."""
        leading = [host for host in self.schedulers if host.pid and (host.status()["election"] or {}).get("leads")]
        self.assertLessEqual(len(leading), 1)
        return leading[0] if leading else None

    def doors(self):
        return ",".join("192.0.2.%d:%d" % (self.hosts[host.netns], DOOR) for host in self.schedulers)

    def members(self):
        """{name: what `warmcore nodes` shows of it}"""
        return {node["name"]: node for node in self.scheduler.status()["cluster"]["nodes"]}

    def wait_ready(self, count=None):
        count = len(self.nodes) if count is None else count
        wait_until(lambda: sum(each["state"] == "ready" and each["free"] == each["cores"] for each in self.members().values()) == count,
                   "%d nodes are ready: %s" % (count, self.members()))  # fmt: skip

    def client(self, family=4):
        with inside(self.outside):
            number = next(number for name, number in self.hosts.items() if "e2e-s" in name)
            return wcproto.Client("2001:db8::%d" % number if family == 6 else self.address, PORT)
