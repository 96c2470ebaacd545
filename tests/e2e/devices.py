# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A device with several receive queues for tests of --dev: one end of a veth pair between two network namespaces."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
import unittest

QUEUES = 4


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, stdout=subprocess.PIPE).stdout


def switch_gro_on(device):
    """A veth end takes frames from an XDP program of the other end only when its NAPI runs: with GRO, or XDP of its own."""
    ethtool(device, 0x2C, 1)  # ETHTOOL_SGRO


def switch_checksums_off(device):
    """What is sent there has its checksums already, as on a wire."""
    ethtool(device, 0x17, 0)  # ETHTOOL_STXCSUM


def switch_tags_off(device):
    """VLAN tags of what is sent there are in the frame, as on a wire, and not beside it."""
    ethtool(device, 0x26, 0)  # ETHTOOL_SFLAGS: neither txvlan nor rxvlan


def ethtool(device, command, number):
    value = ctypes.create_string_buffer(struct.pack("=II", command, number))  # struct ethtool_value
    request = struct.pack("16sP8x", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8946, request)  # SIOCETHTOOL


class DeviceTest(unittest.TestCase):
    """Each test has two namespaces: `near` with the clients behind `outer`, `far` for the node behind `inner`."""

    def setUp(self):
        tag = "%05d" % (os.getpid() % 100000)
        self.near, self.far = "e2e-c" + tag, "e2e-d" + tag  # clients, node
        for netns in (self.near, self.far):
            ip("netns", "add", netns)
            self.addCleanup(subprocess.run, ["ip", "netns", "del", netns])
        queues = ["numtxqueues", str(QUEUES), "numrxqueues", str(QUEUES)]
        ip("link", "add", "ca" + tag, *queues, "netns", self.near, "type", "veth", "peer", "name", "da" + tag, *queues,
           "netns", self.far)  # fmt: skip
        self.inner, self.outer = "da" + tag, "ca" + tag
        self.in_near(lambda: switch_gro_on(self.outer))
        for netns, device, host in ((self.near, self.outer, 1), (self.far, self.inner, 2)):
            ip("-n", netns, "addr", "add", "192.0.2.%d/24" % host, "dev", device)
            ip("-n", netns, "addr", "add", "2001:db8::%d/64" % host, "dev", device, "nodad")
            ip("-n", netns, "link", "set", device, "up")
            ip("-n", netns, "link", "set", "lo", "up")

    def in_near(self, work):
        """Run `work` in a thread inside the clients' namespace; its result."""
        result, wrong = [], []

        def run():
            fd = os.open("/run/netns/" + self.near, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):  # CLONE_NEWNET; this thread only
                    raise OSError(ctypes.get_errno(), "setns")
                result.append(work())
            except BaseException as error:
                wrong.append(error)
            finally:
                os.close(fd)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if wrong:
            raise wrong[0]
        return result[0]

    def only_queue(self, queue):
        """Send to this receive queue only, from now on; None: by the hash of the flow again. Older sockets may keep theirs."""
        every = sum(1 << cpu for cpu in os.sched_getaffinity(0)) if queue is not None else 0
        text = "".join("echo %x > /sys/class/net/%s/queues/tx-%d/xps_cpus;" % (every if i == queue else 0, self.outer, i)
                       for i in range(QUEUES))  # fmt: skip
        ip("netns", "exec", self.near, "sh", "-ec", text)
