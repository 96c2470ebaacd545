#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The workflow nfv: packets through firewall, NAT, load balancer and monitor, against a model that recomputes every checksum from scratch. The packets
are made by hand, or are those of a conversation between two network namespaces."""

import collections
import ipaddress
import json
import os
import random
import struct
import subprocess
import sys
import unittest

import harness
import wcproto
import workflows

EXTERNAL, SERVICE, SERVICE_PORT = "203.0.113.1", "198.51.100.10", 80
BACKENDS = ["172.16.0.1", "172.16.0.2", "172.16.0.3"]
ICMP, TCP, UDP = 1, 6, 17


def number(address):
    return int(ipaddress.ip_address(address))


def total(data):
    data += b"\0" * (len(data) % 2)
    sum16 = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while sum16 >> 16:
        sum16 = (sum16 & 0xFFFF) + (sum16 >> 16)
    return ~sum16 & 0xFFFF


def frame(source, target, protocol, source_port=0, target_port=0, data=b"", ttl=64, options=b"", fragment=0, udp_sum=True, kind=8, pad=0):
    """An Ethernet frame, all of whose checksums are right."""
    addresses = struct.pack(">II", number(source), number(target))
    if protocol == TCP:
        l4, at = struct.pack(">HHIIBBHHH", source_port, target_port, 1000, 2000, 5 << 4, 0x18, 512, 0, 0) + data, 16
    elif protocol == UDP:
        l4, at = struct.pack(">HHHH", source_port, target_port, 8 + len(data), 0) + data, 6
    elif protocol == ICMP:
        l4, at = struct.pack(">BBHHH", kind, 0, 0, source_port, 7) + data, 2
    else:
        l4, at = data, None
    if at is not None and (protocol != UDP or udp_sum):
        pseudo = b"" if protocol == ICMP else addresses + struct.pack(">HH", protocol, len(l4))
        l4 = l4[:at] + struct.pack(">H", total(pseudo + l4) or (0xFFFF if protocol == UDP else 0)) + l4[at + 2 :]
    words = 5 + len(options) // 4
    ip = struct.pack(">BBHHHBBH", 4 << 4 | words, 0, words * 4 + len(l4), 77, fragment, ttl, protocol, 0) + addresses + options
    ip = ip[:10] + struct.pack(">H", total(ip)) + ip[12:]
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + ip + l4 + b"\0" * pad


Fields = collections.namedtuple("Fields", "source target protocol source_port target_port")


def fields(packet):
    header = (packet[14] & 15) * 4
    source, target = (str(ipaddress.ip_address(packet[at : at + 4])) for at in (26, 30))
    l4 = packet[14 + header :]
    ports = struct.unpack(">HH", l4[:4]) if packet[23] != ICMP else struct.unpack(">H", l4[4:6]) * 2
    return Fields(source, target, packet[23], *ports)


def rewritten(packet, source, target, source_port, target_port):
    """The same with these addresses and ports, one hop on, and checksums made anew; wrong ones of TCP, UDP and ICMP would become right."""
    header = (packet[14] & 15) * 4
    length = struct.unpack(">H", packet[16:18])[0]
    protocol, padding = packet[23], packet[14 + length :]
    addresses = struct.pack(">II", number(source), number(target))
    ip = packet[14:22] + bytes([packet[22] - 1, protocol]) + b"\0\0" + addresses + packet[34 : 14 + header]
    ip = ip[:10] + struct.pack(">H", total(ip)) + ip[12:]
    l4 = packet[14 + header : 14 + length]
    if protocol == ICMP:
        l4 = l4[:2] + b"\0\0" + struct.pack(">H", source_port) + l4[6:]
        l4 = l4[:2] + struct.pack(">H", total(l4)) + l4[4:]
    else:
        at = 16 if protocol == TCP else 6
        l4 = struct.pack(">HH", source_port, target_port) + l4[4:]
        if protocol == TCP or l4[at : at + 2] != b"\0\0":
            l4 = l4[:at] + b"\0\0" + l4[at + 2 :]
            sum16 = total(addresses + struct.pack(">HH", protocol, len(l4)) + l4) or (0xFFFF if protocol == UDP else 0)
            l4 = l4[:at] + struct.pack(">H", sum16) + l4[at + 2 :]
    return packet[:14] + ip + l4 + padding


def backend(address, port):
    """Rendezvous hashing, as balance.c describes it."""
    def score(one):
        value, mask = 0xCBF29CE484222325, (1 << 64) - 1
        for byte in struct.pack(">IHI", number(address), port, number(one)):
            value = (value ^ byte) * 0x100000001B3 & mask
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            value = (value ^ value >> 33) * factor & mask
        return value ^ value >> 33

    return max(BACKENDS, key=score)


def pcap(packets, order="<", magic=0xA1B2C3D4):
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)]
    out += [struct.pack(order + "IIII", 1700000000 + i // 1000, i % 1000, len(p), len(p)) + p for i, p in enumerate(packets)]
    return b"".join(out)


def packets_of(data, order="<"):
    """[(seconds, fraction, packet)]"""
    at, out = 24, []
    while at < len(data):
        seconds, fraction, length, whole = struct.unpack_from(order + "IIII", data, at)
        assert length == whole, "a packet was cut"
        out.append((seconds, fraction, data[at + 16 : at + 16 + length]))
        at += 16 + length
    return out


def traffic(count, seed=1):
    """Random conversations of 40 hosts; all of it is allowed by rules.txt."""
    chance = random.Random(seed)
    flows = []
    for _ in range(count // 4 + 1):
        host = "10.0.%d.%d" % (chance.randrange(4), chance.randrange(67, 77))
        kind = chance.choice((TCP, TCP, TCP, UDP, ICMP))
        if kind == TCP:
            flows.append((host, chance.choice((SERVICE, SERVICE, "192.0.2.9")), TCP, chance.randrange(1024, 65536), chance.choice((80, 80, 443))))
        elif kind == UDP:
            flows.append((host, "192.0.2.53", UDP, chance.randrange(1024, 65536), chance.choice((53, 5000))))
        else:
            flows.append((host, "192.0.2.1", ICMP, chance.randrange(65536), 0))
    out = []
    for _ in range(count):
        options = b"\x94\4\0\0" if chance.random() < 0.1 else b""
        out.append(frame(*chance.choice(flows), chance.randbytes(chance.choice((0, 1, 2, 33, 1000, 1400))), chance.randrange(2, 256), options,
                         udp_sum=chance.random() < 0.8, pad=chance.choice((0, 0, 6))))  # fmt: skip
    return out


class Nfv(harness.NodeTest):
    TAG = "nfv"
    OPTIONS = ("--cores", "0-1")

    def run_chain(self, packets, *options, order="<", magic=0xA1B2C3D4):
        """(what the driver said, [packets that have passed])"""
        source, target = (os.path.join(self.node.root, name) for name in ("in.pcap", "out.pcap"))
        with open(source, "wb") as file:
            file.write(pcap(packets, order, magic))
        said = workflows.driver(self.node, "nfv", source, target, "--flows", *options)
        with open(target, "rb") as file:
            data = file.read()
        self.assertEqual(data[:24], pcap([], order, magic))
        return said, packets_of(data, order)

    def check(self, packets, passed):
        """Each packet that has passed is the model's, with its time. Returns what the NAT maps, {(protocol, address, port): port outside}."""
        mapped, outside = {}, {}
        for seconds, fraction, out in passed:
            packet = packets[(seconds - 1700000000) * 1000 + fraction]
            before, after = fields(packet), fields(out)
            if before.target == EXTERNAL:
                source = SERVICE if (before.source in BACKENDS and before.protocol == TCP and before.source_port == SERVICE_PORT) else before.source
                inside = outside[before.protocol, before.target_port]
                port = inside[2] if before.protocol == ICMP else before.source_port  # an echo has one identifier
                expected = rewritten(packet, source, inside[1], port, inside[2])
            else:
                inside = (before.protocol, before.source, before.source_port)
                port = mapped.setdefault(inside, after.source_port)
                self.assertEqual(outside.setdefault((before.protocol, port), inside), inside, "two share a port")
                self.assertGreaterEqual(port, 1024)
                target = before.target
                if (before.target, before.target_port, before.protocol) == (SERVICE, SERVICE_PORT, TCP):
                    target = backend(EXTERNAL, port)
                expected = rewritten(packet, EXTERNAL, target, port, before.target_port)
            self.assertEqual(out.hex(), expected.hex(), (before, after))
        return mapped

    def test_model(self):
        """Outside and back again, in batches and queues of all sizes."""
        packets = traffic(1500)
        for options in (("--queues", 1, "--batch", 1500), ("--queues", 4), ("--queues", 64, "--batch", 7)):
            with self.subTest(options=options):
                said, passed = self.run_chain(packets, *options)
                self.assertIn("1500 packets, 1500 passed, none dropped", said)
                mapped = self.check(packets, passed)
                replies = []
                for before, (_, _, after) in zip(map(fields, packets), passed):
                    out = fields(after)
                    if before.protocol == ICMP:
                        replies.append(frame(out.target, EXTERNAL, ICMP, out.source_port, data=b"pong", kind=0))
                    else:
                        replies.append(frame(out.target, EXTERNAL, before.protocol, out.target_port, out.source_port, b"reply"))
                said, both = self.run_chain(packets + replies, *options)
                self.assertIn("3000 packets, 3000 passed, none dropped", said)
                self.assertEqual(self.check(packets + replies, both), mapped)
                # Who asked gets the answer, from whom it asked.
                for packet, (_, _, reply) in zip(packets, both[1500:]):
                    asked, got = fields(packet), fields(reply)
                    ports = (asked.source_port, asked.target_port if asked.protocol != ICMP else asked.source_port)
                    self.assertEqual(got, Fields(asked.target, asked.source, asked.protocol, ports[1], ports[0]))
        used = {fields(out).target for (_, _, out) in passed if fields(out).target.startswith("172.")}
        self.assertEqual(used, set(BACKENDS))

    def test_flows(self):
        """The monitor counts what has left the chain."""
        packets = traffic(300, 2)
        said, passed = self.run_chain(packets, "--queues", 3, "--batch", 20)
        expected = collections.defaultdict(lambda: [0, 0])
        for _, _, out in passed:
            flow = expected[fields(out)]
            flow[0] += 1
            flow[1] += struct.unpack(">H", out[16:18])[0]
        counted = {}
        for line in said.splitlines()[1:]:
            protocol, source, _, target, count, _, octets, _ = line.split()
            (source, source_port), (target, target_port) = source.split(":"), target.split(":")
            counted[Fields(source, target, int(protocol), int(source_port), int(target_port))] = [int(count), int(octets)]
        self.assertEqual(counted, dict(expected))

    def test_dropped(self):
        """Each for its reason, and the others pass."""
        good = frame("10.0.0.1", "192.0.2.1", TCP, 4000, 443, b"x")
        bad_sum = good[:24] + bytes([good[24] ^ 1]) + good[25:]
        long = good[:16] + b"\xff\xff" + good[18:]
        packets = {
            "malformed": [b"", b"x", good[:33], good[:40], bad_sum, long, b"\0" * 12 + b"\x86\xdd" + b"\0" * 60, good[:14] + b"\x44" + good[15:]],
            "denied": [frame("10.0.0.66", "192.0.2.1", TCP, 1, 443), frame("10.0.0.1", "192.0.2.1", TCP, 1, 23), frame("10.0.0.1", "192.0.2.1", UDP, 1, 54),
                       frame("192.0.2.7", "192.0.2.8", TCP, 1, 443), frame("10.0.0.1", "192.0.2.1", 47, data=b"gre")],  # fmt: skip
            "expired": [frame("10.0.0.1", "192.0.2.1", TCP, 4001, 443, ttl=1), frame("10.0.0.1", "192.0.2.1", TCP, 4001, 443, ttl=0)],
            "fragment": [frame("10.0.0.1", "192.0.2.1", TCP, 4002, 443, fragment=f) for f in (0x2000, 0x2005, 0x0005)],
            "protocol": [frame("10.0.0.1", "192.0.2.1", ICMP, 9, kind=3), frame("10.0.0.1", "192.0.2.1", ICMP, 9, kind=0)],
            "no mapping": [frame("192.0.2.1", EXTERNAL, TCP, 443, 60000), frame("192.0.2.1", EXTERNAL, UDP, 53, 1)],
        }  # fmt: skip
        every = [good, *(packet for group in packets.values() for packet in group), good]
        for queues in (1, 5):
            said, passed = self.run_chain(every, "--queues", queues, "--batch", 3)
            self.assertIn("2 passed, %s;" % ", ".join("%d %s" % (len(packets[why]), why) for why in sorted(packets)), said)
            self.assertEqual([fraction for _, fraction, _ in passed], [0, len(every) - 1])
            self.check(every, passed)

    def test_ports(self):
        """A queue of 64 has 1,008 ports; who comes after that gets none, and whoever has one keeps it."""
        packets = [frame("10.0.0.1", "192.0.2.1", TCP, port, 443) for port in range(1000, 2100)] + [frame("10.0.0.1", "192.0.2.1", TCP, 1500, 80)]
        said, passed = self.run_chain(packets, "--queues", 64)
        self.assertIn("1101 packets, 1009 passed, 92 no port; 1008 mappings", said)
        self.check(packets, passed)

    def test_formats(self):
        packets = traffic(20, 3)
        for order in "<>":
            for magic in (0xA1B2C3D4, 0xA1B23C4D):
                said, passed = self.run_chain(packets, order=order, magic=magic)
                self.assertIn("20 passed", said)
                self.check(packets, passed)
        said, passed = self.run_chain([])
        self.assertIn("0 packets, 0 passed, none dropped; 0 mappings, 0 flows", said)

    def test_refused(self):
        """What is no capture, or is damaged, or too large: one line says why."""
        source, target = (os.path.join(self.node.root, name) for name in ("bad.pcap", "bad.out"))
        good = pcap(traffic(3))
        for data, options, why in ((b"no pcap", (), "this is no pcap file"), (good[:-1], (), "cut off, or damaged"), (good[:30], (), "cut off at byte 24"),
                                   (good[:20] + b"\x71\0\0\0" + good[24:], (), "not Ethernet's"), (good, ("--queues", 65), "queues is 1 to 64"),
                                   (good, ("--batch", 0), "queues is 1 to 64"), (good + b"\0" * (6 << 20), (), "the limit is 6291456")):  # fmt: skip
            with open(source, "wb") as file:
                file.write(data)
            status, said, errors = workflows.driver(self.node, "nfv", source, target, *options, check=False)
            self.assertEqual((status, said), (1, ""), errors)
            self.assertIn(why, errors)
            self.assertFalse(os.path.exists(target), why)
        self.assertIn("20 passed", self.run_chain(traffic(20))[0])

    def test_bad_batch(self):
        """Functions that are called with what no batch is."""
        ids = workflows.deploy(self.node, *("nfv/" + name for name in ("monitor", "balance", "nat", "firewall")))
        packets = struct.pack("<IHH", 0, 4, 0) + b"abcd"
        head = struct.Struct("<7I")

        def batch(magic=0x31464E57, queue=0, queues=1, count=1, length=None, state=0, flow=0, body=packets):
            return head.pack(magic, queue, queues, count, len(packets) if length is None else length, state, flow) + body

        bad = [b"", b"x", batch()[:27], batch(magic=1), batch(queue=1), batch(queues=0), batch(queues=65, queue=64), batch(count=2), batch(count=0),
               batch(count=1 << 31), batch(length=11), batch(length=13), batch(state=1), batch(flow=1 << 31), batch(length=0xFFFFFFFF, state=12 + 1),
               batch(body=struct.pack("<IHH", 0, 5, 0) + b"abcd"), batch(body=struct.pack("<IHH", 0, 4, 8) + b"abcd"),
               batch(body=struct.pack("<IHH", 0, 4, 2) + b"abcd")]  # fmt: skip
        with self.node.client() as client:
            for name, function in ids.items():
                for data in bad:
                    self.assertEqual(self.assert_error(client.invoke(function, data), wcproto.FUNCTION)["errorType"], "BadBatch", (name, data))
            twice = struct.pack("<IHBB", 1, 2, 6, 0) * 2
            self.assert_error(client.invoke(ids["nfv-nat"], batch(state=16, body=packets + twice)), wcproto.FUNCTION, "BadBatch")
            self.assert_error(client.invoke(ids["nfv-nat"], batch(state=7, body=packets + twice[:7])), wcproto.FUNCTION, "BadBatch")
            self.assert_error(client.invoke(ids["nfv-monitor"], batch(flow=64, body=packets + bytes(64))), wcproto.FUNCTION, "BadBatch")

    def test_stage_gone(self):
        """One of the chain is not there: the client reads which one, and everything works when it is back."""
        workflows.driver(self.node, "nfv", *self.files(traffic(5)))
        self.node.cli("remove", "nfv-balance")
        with self.node.client() as client:
            functions = {f["name"]: f["id"] for f in self.node.json("list")["functions"]}
            answer = client.invoke(functions["nfv"], b"{}\n" + pcap(traffic(5)))
            message = self.assert_error(answer, wcproto.FUNCTION)["errorMessage"]
            self.assertIn("nfv-balance failed", message)
            self.assertIn("Node.UnknownFunction", message)
        self.assertIn("5 passed", workflows.driver(self.node, "nfv", *self.files(traffic(5))))

    def test_bad_rules(self):
        """A rule that is none keeps the firewall from starting, and its log says which line."""
        folder = os.path.join(workflows.FOLDER, "nfv", "firewall")
        for number_, rule in enumerate(("permit any any any any", "allow any any any", "allow 256 any any any", "allow any 10.0.0/8 any any",
                                        "allow any 10.0.0.0/33 any any", "allow tcp any any 70000", "allow tcp any any 20-10")):  # fmt: skip
            name = "firewall-%d" % number_
            id = self.node.deploy(name, "native", "firewall.so", {"firewall.so": os.path.join(folder, "firewall.so"), "rules.txt": b"# one\n" + rule.encode()},
                                  event="binary")  # fmt: skip
            with self.node.client() as client:
                self.assert_error(client.invoke(id, b""), wcproto.INIT)
            harness.wait_until(lambda name=name: "rules.txt, line 2" in self.node.cli("logs", name).stdout, "the log says which line: " + rule)

    def files(self, packets):
        source, target = (os.path.join(self.node.root, name) for name in ("files.pcap", "files.out"))
        with open(source, "wb") as file:
            file.write(pcap(packets))
        return source, target

    def test_conversation(self):
        """What two hosts say to each other over TCP, UDP and ICMP, as a capture has it."""
        names = ["wcflow%d%s" % (os.getpid(), end) for end in "ab"]
        for name in names:
            self.addCleanup(subprocess.run, ["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
            subprocess.run(["ip", "netns", "add", name], check=True)
        ip = ["ip", "-n"]
        subprocess.run([*ip, names[0], "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", names[1]], check=True)
        for name, address in zip(names, ("10.0.0.5/24", SERVICE + "/24")):
            subprocess.run([*ip, name, "addr", "add", address, "dev", "v0"], check=True)
            subprocess.run([*ip, name, "link", "set", "v0", "up"], check=True)
            subprocess.run([*ip, name, "link", "set", "lo", "up"], check=True)
        subprocess.run([*ip, names[0], "route", "add", "198.51.100.0/24", "dev", "v0"], check=True)
        subprocess.run([*ip, names[1], "route", "add", "10.0.0.0/24", "dev", "v0"], check=True)
        script = os.path.join(harness.HERE, "conversation.py")
        told = subprocess.run([sys.executable, script, *names, SERVICE], stdout=subprocess.PIPE, timeout=120, check=True).stdout
        packets = [bytes.fromhex(line) for line in told.decode().split()]
        sent = [p for p in packets if p[12:14] == b"\x08\0" and fields(p).source == "10.0.0.5"]
        kinds = collections.Counter(fields(p).protocol for p in sent)
        self.assertTrue(kinds[TCP] > 10 and kinds[UDP] and kinds[ICMP], kinds)
        # Their checksums are right, so those after the chain are, too: the model makes them anew.
        said, passed = self.run_chain(sent, "--batch", 8)
        self.assertIn("%d passed, none dropped" % len(sent), said)
        self.check(sent, passed)
        replies = [p for p in packets if p[12:14] == b"\x08\0" and fields(p).target == "10.0.0.5"]
        ports = {}
        for packet, (_, _, out) in zip(sent, passed):
            before, after = fields(packet), fields(out)
            ports[before.protocol, before.source_port] = after
        answers = []
        for packet in replies:
            before = fields(packet)
            out = ports[before.protocol, before.target_port]
            answers.append(rewritten(packet, out.target, EXTERNAL, out.source_port if before.protocol == ICMP else before.source_port, out.source_port))
        said, both = self.run_chain(sent + answers, "--batch", 8)
        self.assertIn("%d passed, none dropped" % len(both), said)
        self.check(sent + answers, both)
        self.assertEqual([fields(out) for _, _, out in both[len(sent) :]], [fields(packet) for packet in replies])


class OneCore(Nfv):
    """Coordinator, queues and chain on one core."""

    TAG = "nfv1"
    OPTIONS = ("--cores", "0")
    test_bad_batch = test_bad_rules = test_refused = test_conversation = test_formats = None


if __name__ == "__main__":
    harness.main()
