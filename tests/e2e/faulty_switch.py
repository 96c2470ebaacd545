#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A switch that loses, delays, repeats and reorders frames: a learning bridge in user space over packet sockets, for kernels without netem.

    faulty_switch.py PORT...     reads a line of JSON from standard input whenever its faults are to be others:
    {"loss": 0.1, "late": 0.2, "late_ms": 10, "again": 0.1, "cut": [["p2", "p3"]], "seed": 1}

loss, late and again are chances of a UDP frame; `cut` are pairs (from, to) of ports between which nothing passes. What is not UDP (ARP, TCP) is spared from
chance, not from cuts. It answers each line with "ok".
"""

import heapq
import json
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3


def is_udp(frame):
    kind = frame[12:14]
    return kind == b"\x08\x00" and frame[23] == 17 or kind == b"\x86\xdd" and frame[20] == 17


class Switch:
    def __init__(self, ports):
        self.sockets, self.places, self.queue, self.number = {}, {}, [], 0
        self.faults, self.random = {}, random.Random(1)
        for port in ports:
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            raw.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
            raw.bind((port, ETH_P_ALL))
            raw.setblocking(False)
            self.sockets[port] = raw

    def send(self, frame, port):
        try:
            self.sockets[port].send(frame)
        except OSError:
            pass  # the port is down, or full: as if it were lost

    def deliver(self, frame, source, target):
        chance = self.random.random
        if [source, target] in self.faults.get("cut", []):
            return
        if not is_udp(frame):
            self.send(frame, target)
            return
        for _ in range(1 + (chance() < self.faults.get("again", 0))):
            if chance() < self.faults.get("loss", 0):
                continue
            if chance() < self.faults.get("late", 0):
                self.number += 1
                late = chance() * self.faults.get("late_ms", 1) / 1000
                heapq.heappush(self.queue, (time.monotonic() + late, self.number, frame, target))
            else:
                self.send(frame, target)

    def receive(self, port):
        for _ in range(64):
            try:
                frame = self.sockets[port].recv(65536)
            except OSError:
                return
            self.places[frame[6:12]] = port
            target = self.places.get(frame[:6])
            for other in [target] if target else self.sockets:
                if other != port:
                    self.deliver(frame, port, other)

    def run(self):
        by_fd = {raw.fileno(): port for port, raw in self.sockets.items()}
        poll = select.poll()
        for fd in (*by_fd, 0):
            poll.register(fd, select.POLLIN)
        print("ok", flush=True)
        while True:
            wait = max(0, (self.queue[0][0] - time.monotonic()) * 1000) if self.queue else None
            for fd, _ in poll.poll(wait):
                if fd:
                    self.receive(by_fd[fd])
                    continue
                line = sys.stdin.readline()
                if not line:
                    return
                self.faults = json.loads(line)
                self.random = random.Random(self.faults.get("seed", 1))
                print("ok", flush=True)
            while self.queue and self.queue[0][0] <= time.monotonic():
                _, _, frame, target = heapq.heappop(self.queue)
                self.send(frame, target)


if __name__ == "__main__":
    Switch(sys.argv[1:]).run()
