# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Frames, byte by byte: Ethernet, VLAN, IPv4, IPv6 and UDP for the tests that send what no socket would."""

import ipaddress
import json
import socket
import struct
import subprocess
import time

ETH_P_ALL, PACKET_AUXDATA, SOL_PACKET = 3, 8, 263
UDP, ICMP = 17, 1


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac_of(device, netns=None):
    command = ["ip"] + (["-n", netns] if netns else []) + ["-j", "link", "show", "dev", device]
    return bytes.fromhex(json.loads(subprocess.check_output(command))[0]["address"].replace(":", ""))


class Path:
    """Both ends of a link, for making frames from one to the other."""

    def __init__(self, device, netns, inner, address4, address6):
        self.from_mac, self.to_mac = mac_of(device), mac_of(inner, netns)
        self.to4, self.to6 = ipaddress.ip_address(address4).packed, ipaddress.ip_address(address6).packed if address6 else None
        self.from4 = self.to4[:3] + bytes([self.to4[3] - 1])
        self.from6 = self.to6[:15] + b"\1" if address6 else None
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((device, 0))

    def send(self, frame):
        for _ in range(10000):
            try:
                return self.socket.send(frame)
            except OSError:  # no buffers for a moment, or too long for the device
                if len(frame) > 3400:
                    return 0
        raise OSError("cannot send a frame")

    def ethernet(self, ethertype, body, tags=(), to=None):
        head = (to or self.to_mac) + self.from_mac
        for tpid, tci in tags:
            head += struct.pack("!HH", tpid, tci)
        return head + struct.pack("!H", ethertype) + body

    def udp(self, version, payload, sport=40000, dport=4750, length=None, check=None, source=None, to=None):
        """A UDP header with payload; check: None right, else that value."""
        source = source or (self.from4 if version == 4 else self.from6)
        to = to or (self.to4 if version == 4 else self.to6)
        size = len(payload) + 8
        head = struct.pack("!HHHH", sport, dport, size if length is None else length, 0)
        if check is None:
            pseudo = source + to + (struct.pack("!BBH", 0, UDP, size) if version == 4 else struct.pack("!II", size, UDP))
            check = checksum(pseudo + head + payload) or 0xFFFF
        return head[:6] + struct.pack("!H", check) + payload

    def ip4(self, body, protocol=UDP, options=b"", fragment=0x4000, source=None, to=None, total=None, version_ihl=None,
            ident=1):  # fmt: skip
        size = 20 + len(options)
        ihl = version_ihl if version_ihl is not None else 0x40 | size // 4
        head = struct.pack("!BBHHHBBH", ihl, 0, size + len(body) if total is None else total, ident, fragment, 64, protocol, 0)
        head += (source or self.from4) + (to or self.to4) + options
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body

    def ip6(self, body, next_header=UDP, source=None, to=None, length=None):
        return (struct.pack("!IHBB", 6 << 28, len(body) if length is None else length, next_header, 64) +
                (source or self.from6) + (to or self.to6) + body)  # fmt: skip

    def frame4(self, payload, tags=(), ip=None, **udp):
        ip = ip or {}
        addresses = {k: ip[k] for k in ("source", "to") if k in ip}
        return self.ethernet(0x0800, self.ip4(self.udp(4, payload, **udp, **addresses), **ip), tags)

    def frame6(self, payload, tags=(), ip=None, **udp):
        ip = ip or {}
        addresses = {k: ip[k] for k in ("source", "to") if k in ip}
        return self.ethernet(0x86DD, self.ip6(self.udp(6, payload, **udp, **addresses), **ip), tags)

    def answer(self, port, seconds):
        """The next UDP datagram that the node sent to `port`: (payload, VLAN id or None), or None. Checks its checksums."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                frame, extra, _, address = self.socket.recvmsg(65536, 512)
            except socket.timeout:
                return None
            if address[2] == socket.PACKET_OUTGOING:
                continue
            vlan, partial = None, False
            for level, kind, data in extra:
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                    status, _, _, _, _, tci = struct.unpack_from("=IIIHHH", data)
                    vlan = tci & 0xFFF if status & 0x10 else None
                    partial = bool(status & 8)  # left to hardware, which a veth pair does not have
            at, ethertype = 14, frame[12:14]
            while ethertype in (b"\x81\x00", b"\x88\xa8"):
                at, ethertype = at + 4, frame[at + 2 : at + 4]
            if ethertype == b"\x08\x00" and frame[at + 9] == UDP:
                assert checksum(frame[at : at + 20]) == 0, "IPv4 checksum of an answer"
                pseudo, head = frame[at + 12 : at + 20], at + 20
            elif ethertype == b"\x86\xdd" and frame[at + 6] == UDP:
                pseudo, head = frame[at + 8 : at + 40], at + 40
            else:
                continue
            length = struct.unpack_from("!H", frame, head + 4)[0]
            if struct.unpack_from("!H", frame, head + 2)[0] != port:
                continue
            datagram = frame[head : head + length]
            assert len(datagram) == length, "length of an answer"
            full = checksum(pseudo + struct.pack("!HH", UDP, length) + datagram)
            assert full == 0 or partial, "UDP checksum of an answer"
            return datagram[8:], vlan
        return None
