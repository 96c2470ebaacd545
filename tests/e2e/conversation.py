# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""conversation.py CLIENT SERVER ADDRESS: two network namespaces, joined by a veth pair v0, talk over TCP, UDP and ICMP; prints each frame that the client's
device has seen, in hexadecimal, a line each. ADDRESS is the server's."""

import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
import threading

CLONE_NEWNET = 0x40000000
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
ADDRESS = sys.argv[3]
DATA = bytes(range(256)) * 200


def enter(name):
    """This thread's namespace becomes that one."""
    with open("/run/netns/" + name) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def offload_off():
    """The kernel computes checksums itself: a capture of what a device would have completed has wrong ones."""
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP8x", b"v0", ctypes.addressof(value)))


def serve(ready):
    enter(sys.argv[2])
    offload_off()
    with socket.create_server((ADDRESS, 80)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((ADDRESS, 5000))
        ready.set()
        for _ in range(3):
            data, peer = udp.recvfrom(2000)
            udp.sendto(data[::-1], peer)
        for _ in range(2):
            with tcp.accept()[0] as connection:
                connection.sendall(connection.makefile("rb").read(len(DATA)))


def main():
    ready = threading.Event()
    server = threading.Thread(target=serve, args=(ready,), daemon=True)
    server.start()
    if not ready.wait(60):
        sys.exit("the server has not come up")
    enter(sys.argv[1])
    offload_off()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as capture:
        capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        capture.bind(("v0", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(30)
            for i in range(3):
                udp.sendto(b"question %d" % i, (ADDRESS, 5000))
                udp.recv(2000)
        for _ in range(2):
            with socket.create_connection((ADDRESS, 80), 30) as tcp:
                tcp.sendall(DATA)
                if tcp.makefile("rb").read() != DATA:
                    sys.exit("the conversation went wrong")
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as ping:
            ping.settimeout(30)
            body = struct.pack(">BBHHH", 8, 0, 0, 4711, 1) + b"hello!"
            total = sum(struct.unpack(">%dH" % (len(body) // 2), body))
            total = (total & 0xFFFF) + (total >> 16)
            ping.sendto(body[:2] + struct.pack(">H", ~total & 0xFFFF) + body[4:], (ADDRESS, 0))
            ping.recv(2000)
        server.join(30)
        while select.select([capture], [], [], 0.3)[0]:
            print(capture.recv(65536).hex())
    os._exit(0) if server.is_alive() else None


main()
