# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The invocation protocol as docs/PROTOCOL.md describes it: a second implementation, to test the first one against.

Written from the document alone and as strict as it asks clients to be. `Client` is a connected socket that can invoke
with retransmission, or just send and receive.
"""

import os
import socket
import struct
import time
from collections import namedtuple

MAGIC, VERSION, HEADER_LEN, CORE_ANY = 0x5743, 1, 48, 0xFFFF
INVOKE, REPLY, ERROR, BUSY, CORE_FREE = 1, 2, 3, 4, 5
WARM, PENDED, STOLEN, BINARY, CACHED, TIMED = 1, 2, 4, 8, 16, 32
PAYLOAD_MAX = 61440
CODES = (
    "NONE VERSION MALFORMED UNKNOWN_FUNCTION TOO_LARGE FUNCTION EXIT CRASH TIMEOUT INIT DEADLINE PENDING_FULL NODE_DOWN "
    "RESTARTED SHUTDOWN INTERNAL REMOVED FUNCTION_LIMIT NO_PAYLOAD PAYLOAD_FULL NODE_LOST"
).split()
(NONE, BAD_VERSION, MALFORMED, UNKNOWN_FUNCTION, TOO_LARGE, FUNCTION, EXIT, CRASH, TIMEOUT, INIT, DEADLINE, PENDING_FULL,
 NODE_DOWN, RESTARTED, SHUTDOWN, INTERNAL, REMOVED, FUNCTION_LIMIT, NO_PAYLOAD, PAYLOAD_FULL, NODE_LOST) = range(21)  # fmt: skip

HEADER = struct.Struct(">HBBBBHQIIIHHQQ")
assert HEADER.size == HEADER_LEN

Answer = namedtuple("Answer", "kind flags request_id function_id core code tail payload version")


class BadAnswer(Exception):
    """A datagram of a node that the protocol does not allow."""


def request(request_id, function_id, payload=b"", **fields):
    """An INVOKE. Fields other than the usual ones make it malformed: version, type, header_len, ..."""
    f = {"magic": MAGIC, "version": VERSION, "type": INVOKE, "header_len": HEADER_LEN, "reserved": 0, "flags": 0,
         "payload_len": len(payload), "deadline_us": 0, "core": CORE_ANY, "code": 0, "tail0": 0, "tail1": 0}  # fmt: skip
    f.update(fields)
    return HEADER.pack(
        f["magic"], f["version"], f["type"], f["header_len"], f["reserved"], f["flags"], request_id, function_id,
        f["payload_len"], f["deadline_us"], f["core"], f["code"], f["tail0"], f["tail1"]) + payload  # fmt: skip


def parse_answer(data):
    """The answer in a datagram; BadAnswer when it breaks a rule of the document."""
    if len(data) < HEADER_LEN:
        raise BadAnswer("%d bytes are no header" % len(data))
    (magic, version, kind, header_len, reserved, flags, request_id, function_id, length, deadline, core, code,
     tail0, tail1) = HEADER.unpack_from(data)  # fmt: skip
    rules = (
        (magic == MAGIC, "magic"),
        (version == VERSION, "version"),
        (kind in (REPLY, ERROR, BUSY), "type"),
        (header_len == HEADER_LEN, "header_len"),
        (reserved == 0, "reserved"),
        (flags & ~127 == 0, "flags"),
        (length == len(data) - HEADER_LEN and length <= PAYLOAD_MAX, "payload_len"),
        (deadline == 0, "deadline_us"),
        ((code == 0) == (kind == REPLY), "code"),
        (code < len(CODES), "code"),
        (kind != BUSY or (length == 0 and core == CORE_ANY and tail1 == 0), "BUSY"),
        (kind != REPLY or core != CORE_ANY, "core"),
        (not flags & 64 or (kind == REPLY and length == 24), "REFERENCE"),
    )
    for holds, name in rules:
        if not holds:
            raise BadAnswer("%s is wrong in %s" % (name, data[:HEADER_LEN].hex()))
    return Answer(kind, flags, request_id, function_id, core, code, (tail0, tail1), data[HEADER_LEN:], version)


def new_id():
    return int.from_bytes(os.urandom(8), "big")


class Client:
    """A connected UDP socket. `sent` counts datagrams, `busy` BUSY answers that invoke() waited out."""

    def __init__(self, address, port, bind=None):
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, 8 << 20)
        try:  # as root, past the host's limit
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        except OSError:
            pass
        if bind:
            self.socket.bind(bind)
        self.socket.connect((address, port))
        self.next_id = new_id() >> 1
        self.sent = self.busy = 0

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fresh_id(self):
        self.next_id += 1
        return self.next_id

    def send(self, request_id, function_id, payload=b"", **fields):
        self.sent += 1
        for _ in range(1000):
            try:
                self.socket.send(request(request_id, function_id, payload, **fields))
                return
            except ConnectionRefusedError:
                return  # an ICMP error of something sent before
            except OSError:
                time.sleep(0.001)  # no buffers
        raise OSError("cannot send")

    def receive(self, seconds):
        """The next answer, or None when there is none in time."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            self.socket.settimeout(max(left, 0.0001))
            try:
                return parse_answer(self.socket.recv(65536))
            except ConnectionRefusedError:
                if left <= 0:
                    return None
            except socket.timeout:
                return None

    def invoke(self, function_id, payload=b"", seconds=60, request_id=None, interval=0.25, wait_busy=True, **fields):
        """One invocation, retransmitted until it is answered. None when it is not in time."""
        request_id = self.fresh_id() if request_id is None else request_id
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send(request_id, function_id, payload, **fields)
            again = min(time.monotonic() + interval, end)
            interval = min(interval * 2, 2.0)
            while time.monotonic() < again:
                answer = self.receive(again - time.monotonic())
                if answer is None or answer.request_id != request_id:
                    continue  # late answers to what this socket asked before
                if answer.function_id != function_id:
                    raise BadAnswer("the answer names function %#x" % answer.function_id)
                if answer.kind == BUSY and wait_busy:
                    self.busy += 1
                    time.sleep(min(answer.tail[0] / 1e9, 1.0))
                    interval = 0.25
                    break
                return answer
        return None
