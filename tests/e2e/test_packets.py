#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames that no socket would send: each malformed one gets what docs/PROTOCOL.md says, and 20,000 of them lose nothing.

PACKETS_COUNT and PACKETS_SEED choose how many, and which.
"""

import os
import random
import select
import socket
import struct
import sys
import threading
import time

import harness
import packets
import wcproto

COUNT = int(os.environ.get("PACKETS_COUNT", "20000"))
SEED = int(os.environ.get("PACKETS_SEED", "1"))
PORT = 40000


class Packets(harness.NodeTest):
    TAG = "pkt"

    @classmethod
    def prepare(cls):
        cls.echo = cls.node.deploy_native(event="binary")
        device = (list(cls.node.host_devices) or [""])[0]
        cls.path = packets.Path(device, "warmcore-" + cls.node.name, "wc0", cls.node.address4, cls.node.address6)
        cls.number = wcproto.new_id() >> 1
        # Answers to forged packets find a socket, or the host would answer with ICMP.
        cls.sink = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        cls.sink.bind(("::", PORT))
        cls.addClassCleanup(cls.sink.close)
        cls.addClassCleanup(cls.path.socket.close)

    def invoke(self, payload=b"ehello", **fields):
        type(self).number += 1
        return wcproto.request(self.number, fields.pop("function", self.echo), payload, **fields)

    def counters(self):
        status = self.node.status()
        return dict(status["counters"], bad_checksum=status["agents"]["bad_checksum"],
                    **{"stack_" + name: value for name, value in status["stack"].items()})  # fmt: skip

    def expect(self, name, frame, counter, answer=None, vlan=None):
        """One frame; `counter` must count it, and the answer is (type, code) or None."""
        with self.subTest(packet=name):
            while select.select([self.path.socket], [], [], 0)[0]:
                self.path.socket.recv(65536)
            before = self.counters()
            self.path.send(frame)
            got = self.path.answer(PORT, 10 if answer else 0.15)
            harness.wait_until(lambda: self.counters()[counter] > before[counter], "counted as " + counter, 10)
            if answer is None:
                self.assertIsNone(got)
                return
            self.assertIsNotNone(got, "no answer")
            parsed = wcproto.parse_answer(got[0])
            self.assertEqual((parsed.kind, wcproto.CODES[parsed.code]), (answer[0], wcproto.CODES[answer[1]]))
            self.assertEqual(parsed.request_id, self.number)
            self.assertEqual(got[1], vlan)
            if parsed.kind == wcproto.REPLY:
                self.assertEqual(parsed.payload, b"hello")

    def test_table(self):
        reply, path = (wcproto.REPLY, 0), self.path
        malformed = (wcproto.ERROR, wcproto.MALFORMED)
        versions = [(path.frame4, "IPv4")] + ([(path.frame6, "IPv6")] if path.to6 else [])
        for frame, family in versions:
            self.expect(family + " sound", frame(self.invoke()), "to_core", reply)
            self.expect(family + " padding", frame(self.invoke()) + bytes(18), "to_core", reply)
            self.expect(family + " VLAN", frame(self.invoke(), tags=[(0x8100, 5)]), "to_core", reply, vlan=5)
            self.expect(family + " two VLAN tags", frame(self.invoke(), tags=[(0x88A8, 7), (0x8100, 5)]), "to_core", reply, 7)
            self.expect(family + " three VLAN tags", frame(self.invoke(), tags=[(0x8100, 7)] * 3), "pass_foreign")
            self.expect(family + " other port", frame(self.invoke(), dport=4751), "pass_foreign")
            self.expect(family + " no magic", frame(b"hello, world"), "pass_foreign")
            self.expect(family + " empty", frame(b""), "pass_foreign")
            self.expect(family + " short", frame(self.invoke(b"")[:47]), "drop_short")
            self.expect(family + " magic only", frame(b"\x57\x43"), "drop_short")
            for kind in (wcproto.REPLY, wcproto.ERROR, wcproto.BUSY):
                for version in (1, 9):
                    self.expect("%s type %d" % (family, kind), frame(self.invoke(type=kind, version=version)), "drop_answer")
            self.expect(family + " CORE_FREE", frame(self.invoke(type=wcproto.CORE_FREE)), "drop_cluster")
            self.expect(family + " source port 0", frame(self.invoke(), sport=0), "drop_source")
            self.expect(family + " version", frame(self.invoke(version=2, header_len=99)), "error_version",
                        (wcproto.ERROR, wcproto.BAD_VERSION))  # fmt: skip
            for field, value in (("type", 0), ("type", 77), ("header_len", 47), ("header_len", 56), ("reserved", 1),
                                 ("flags", 1), ("flags", 0x8000), ("code", 3), ("tail0", 1), ("tail1", 1 << 63), ("core", 0),
                                 ("payload_len", 0), ("payload_len", 7), ("payload_len", 0xFFFFFFFF)):  # fmt: skip
                self.expect("%s %s=%d" % (family, field, value), frame(self.invoke(**{field: value})), "error_malformed", malformed)
            for function in (0, self.echo + 4096, self.echo + 1, 0xFFFFFFFF):
                self.expect("%s function %#x" % (family, function), frame(self.invoke(function=function)), "error_unknown",
                            (wcproto.ERROR, wcproto.UNKNOWN_FUNCTION))  # fmt: skip
            self.expect(family + " wrong checksum", frame(self.invoke(), check=0x1234), "bad_checksum")
        self.expect("IPv4 no checksum", path.frame4(self.invoke(), check=0), "to_core", reply)
        self.expect("IPv4 options", path.frame4(self.invoke(), ip={"options": b"\1\1\1\0"}), "pass_slow", reply)
        self.expect("IPv4 to another address", path.frame4(self.invoke(), ip={"to": b"\xc6\x12\xff\xfe"}), "pass_foreign")
        for source in (b"\0\0\0\0", b"\xe0\0\0\1", b"\xff\xff\xff\xff"):
            self.expect("source %s" % source.hex(), path.frame4(self.invoke(), ip={"source": source}), "drop_source")
        self.expect("IPv4 total length too small", path.frame4(self.invoke(), ip={"total": 19}), "pass_foreign")
        self.expect("IPv4 total length below UDP's", path.frame4(self.invoke(), ip={"total": 50}), "pass_foreign")
        self.expect("UDP length 7", path.frame4(self.invoke(), length=7), "pass_foreign")
        self.expect("TCP", path.ethernet(0x0800, path.ip4(bytes(20), protocol=6)), "pass_foreign")
        self.expect("ARP-like", path.ethernet(0x0806, bytes(28)), "pass_foreign")
        self.expect("14 bytes", path.ethernet(0x0800, b""), "pass_foreign")
        whole = path.udp(4, self.invoke())
        size = len(whole)
        truncated = path.ip4(struct.pack("!HHHH", PORT, 4750, size + 100, 0) +
                             self.invoke(payload_len=size - 8 - 48 + 100), total=20 + size + 100)  # fmt: skip
        self.expect("frame shorter than UDP says", path.ethernet(0x0800, truncated), "error_malformed", malformed)
        if path.to6:
            self.expect("IPv6 no checksum", path.frame6(self.invoke(), check=0), "bad_checksum")
            udp = path.udp(6, self.invoke())
            options = struct.pack("!BB", packets.UDP, 0) + b"\1\4\0\0\0\0"
            self.expect("IPv6 hop-by-hop", path.ethernet(0x86DD, path.ip6(options + udp, next_header=0)), "pass_slow", reply)
            udp = path.udp(6, self.invoke())
            self.expect("IPv6 destination options", path.ethernet(0x86DD, path.ip6(options + udp, next_header=60)),
                        "pass_slow", reply)  # fmt: skip
            for source in (bytes(16), b"\xff\2" + bytes(13) + b"\1"):
                self.expect("source " + source.hex(), path.frame6(self.invoke(), ip={"source": source}), "drop_source")
        self.node.wait_idle()

    def test_damaged_id_may_be_retried(self):
        """A datagram with a wrong checksum is not received: its id is free."""
        data = self.invoke()
        self.expect("damaged", self.path.frame4(data, check=0x4321), "bad_checksum")
        self.expect("the same again", self.path.frame4(data), "to_core", (wcproto.REPLY, 0))

    def test_fragments(self):
        """What does not fit a frame arrives in IP fragments, and is served by the stack, byte for byte."""
        for family in (4, 6) if self.node.address6 else (4,):
            with self.node.client(family) as client:
                for size in (3000, 3300, 3301, 3340, 3400, 5000, 60000, wcproto.PAYLOAD_MAX - 1):
                    payload = random.Random(size).randbytes(size)
                    answer = client.invoke(self.echo, b"e" + payload)
                    with self.subTest(family=family, size=size):
                        self.assert_reply(answer, payload)
                for size in (wcproto.PAYLOAD_MAX + 1, 65000):
                    answer = client.invoke(self.echo, bytes(size), seconds=10)
                    self.assert_error(answer, wcproto.TOO_LARGE)
        self.assertGreater(self.node.status()["counters"]["pass_slow"], 0)

    def test_overlapping_and_lonely_fragments(self):
        """Fragments that never become a datagram are the stack's business."""
        udp = self.path.udp(4, self.invoke(b"e" + bytes(200)))
        for ident, (fragment, part) in enumerate([(0x2000, udp[:64]), (8, udp[64:]), (0x2000, udp[:8]), (0x3FFF, udp[:8])]):
            frame = self.path.ethernet(0x0800, self.path.ip4(part, fragment=fragment, ident=100 + ident))
            self.expect("fragment %d" % ident, frame, "pass_slow")

    def test_foreign_packets_reach_others(self):
        """Inside the namespace an ordinary UDP server works beside the node, and so does ping."""
        server = socket_in("warmcore-" + self.node.name)
        self.addCleanup(server.close)
        server.bind((self.node.address4, 7777))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((self.node.address4, 7777))
            for payload in (b"hello", self.invoke()):
                client.send(payload)
                server.settimeout(30)
                data, address = server.recvfrom(2000)
                self.assertEqual(data, payload)
                server.sendto(b"answer", address)
                client.settimeout(30)
                self.assertEqual(client.recv(100), b"answer")
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, packets.ICMP) as ping:
            ping.settimeout(30)
            echo = struct.pack("!BBHHH", 8, 0, 0, 4242, 1) + b"ping"
            ping.sendto(echo[:2] + struct.pack("!H", packets.checksum(echo)) + echo[4:], (self.node.address4, 0))
            while True:
                data, _ = ping.recvfrom(2000)
                if data[20] == 0 and data[24:26] == struct.pack("!H", 4242):
                    break
            self.assertEqual(data[28:], b"ping")

    def mutated(self, chance):
        """A frame at random: noise, or a sound one with a few bytes changed, cut or grown."""
        kind = chance.randrange(10)
        if kind == 0:
            return chance.randbytes(chance.randrange(14, 1600))
        if kind == 1:
            return self.path.ethernet(chance.choice((0x0800, 0x86DD, 0x8100)), chance.randbytes(chance.randrange(0, 400)))
        make = self.path.frame6 if self.path.to6 and chance.randrange(2) else self.path.frame4
        tags = [(0x8100, chance.randrange(4096))] * chance.choice((0, 0, 0, 1, 2, 3))
        data = bytearray(make(self.invoke(b"e" + chance.randbytes(chance.randrange(300))), tags=tags,
                              check=chance.choice((None, None, 0))))  # fmt: skip
        for _ in range(chance.choice((0, 1, 1, 2, 8))):
            data[chance.randrange(12, len(data))] = chance.randrange(256)
        if kind == 2:
            del data[chance.randrange(14, len(data)) :]
        elif kind == 3:
            data += chance.randbytes(chance.randrange(1, 200))
        return bytes(data)

    def test_storm(self):
        """COUNT random and mutated frames beside two clients: nobody's invocation is lost, and every counter adds up."""
        stopping, wrong, done = threading.Event(), [], [0, 0]

        def work(which):
            with self.node.client(4 if which == 0 or not self.node.address6 else 6) as client:
                while not stopping.is_set():
                    payload = b"%d-%d" % (which, done[which])
                    answer = client.invoke(self.echo, b"e" + payload)
                    if answer is None or answer.kind != wcproto.REPLY or answer.payload != payload:
                        wrong.append(answer)
                    done[which] += 1

        threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
        before = self.node.status()
        for thread in threads:
            thread.start()
        chance = random.Random(SEED)
        try:
            for i in range(COUNT):
                self.path.send(self.mutated(chance))
                if i % 500 == 0:
                    time.sleep(0.02)  # the clients get a turn
        finally:
            time.sleep(0.2)
            stopping.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [], "seed %d" % SEED)
        self.assertGreater(min(done), 10)
        self.assertEqual(self.node.status()["node"]["pid"], before["node"]["pid"])
        self.node.wait_idle()
        status = self.node.check_counters()
        print({k: v for k, v in status["counters"].items() if v}, "clients:", done, file=sys.stderr)
        self.assertGreater(status["counters"]["rx"] - before["counters"]["rx"], COUNT * 0.9)
        with self.node.client() as client:
            self.assert_reply(client.invoke(self.echo, b"eafter"), b"after")


def socket_in(netns):
    """A UDP socket made inside a network namespace."""
    made = []

    def make():
        import ctypes

        fd = os.open("/run/netns/" + netns, os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) == 0:  # CLONE_NEWNET; this thread only
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        os.close(fd)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


if __name__ == "__main__":
    sys.exit(harness.main())
