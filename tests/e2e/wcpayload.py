# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Large payloads as docs/PAYLOADS.md describes them: a second implementation of the client's side, to test the first one against."""

import fcntl
import mmap
import os
import select
import socket
import struct
from collections import namedtuple

import wcproto

LARGE = 6291456
REFERENCE = 64  # flag
HERE, MEMORY = 0, 1
NO_PAYLOAD, PAYLOAD_FULL = 18, 19
MAGIC = 0x57435031
HELLO, REFUSE, PUT, DROP, RESULT, TAKEN = range(1, 7)
MESSAGE = struct.Struct("=IIQII16s")
WORD = struct.Struct(">16sII")
HERE_MAX = wcproto.PAYLOAD_MAX - WORD.size
ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

Large = namedtuple("Large", "answer payload")


def memfd(payload, seals=ALL_SEALS, size=None):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    at = 0
    while at < len(payload):
        at += os.write(fd, memoryview(payload)[at:])
    if size is not None:
        os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class Refused(Exception):
    pass


class Session:
    """A session with the node; `key` is what references name it by."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        self.socket.connect(path)
        kind, _, length, key, fds = self.read()
        if kind == REFUSE:
            self.socket.close()
            raise Refused()
        assert (kind, length, fds) == (HELLO, LARGE, []), (kind, length, fds)
        self.key = key

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self):
        data, fds, _, _ = socket.recv_fds(self.socket, MESSAGE.size + 1, 4)
        if not data:
            raise EOFError
        magic, kind, request_id, length, reserved, key = MESSAGE.unpack(data)
        assert magic == MAGIC and reserved == 0, data
        return kind, request_id, length, key, fds

    def ended(self, seconds=60):
        """Did the node end the session?"""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        try:
            return self.socket.recv(100) == b""
        except ConnectionResetError:
            return True

    def say(self, kind, request_id, length=0, fds=(), magic=MAGIC, reserved=0, key=b"\0" * 16, cut=None):
        data = MESSAGE.pack(magic, kind, request_id, length, reserved, key)[:cut]
        if fds:
            socket.send_fds(self.socket, [data], list(fds))
        else:
            self.socket.send(data)

    def put(self, request_id, payload):
        fd = memfd(payload)
        try:
            self.say(PUT, request_id, len(payload), [fd])
        finally:
            os.close(fd)

    def reference(self, payload, here=None):
        """What an INVOKE with this payload carries."""
        here = len(payload) <= HERE_MAX if here is None else here
        return WORD.pack(self.key, len(payload), HERE if here else MEMORY) + (payload if here else b"")

    def result(self, request_id, length):
        """The large reply of this request; others before it are dropped."""
        while True:
            kind, got, size, _, fds = self.read()
            assert kind == RESULT and len(fds) == 1, (kind, fds)
            with mmap.mmap(fds[0], size, mmap.MAP_PRIVATE, mmap.PROT_READ) as view:
                assert fcntl.fcntl(fds[0], fcntl.F_GET_SEALS) & ALL_SEALS == ALL_SEALS
                data = view[:]
            os.close(fds[0])
            self.say(TAKEN, got, size)
            if got == request_id:
                assert size == length, (size, length)
                return data

    def result_before_end(self, request_id):
        """The large reply of this request, from a node that is dead."""
        kind, got, size, _, fds = self.read()
        assert (kind, got) == (RESULT, request_id), (kind, got)
        data = os.pread(fds[0], size, 0)
        os.close(fds[0])
        return data

    def invoke(self, client, function_id, payload, seconds=60, here=None, **fields):
        """One invocation, of any size: wcproto.Answer, in which a large payload is in its place."""
        request_id = client.fresh_id()
        word = self.reference(payload, here)
        if word[20:24] == b"\0\0\0\1":
            self.put(request_id, payload)
        answer = client.invoke(function_id, word, seconds, request_id, flags=REFERENCE, **fields)
        if answer is not None and answer.flags & REFERENCE:
            key, length, where = WORD.unpack(answer.payload)
            assert key == b"\0" * 16 and where == MEMORY and wcproto.PAYLOAD_MAX < length <= LARGE, answer
            answer = answer._replace(payload=self.result(request_id, length), flags=answer.flags & ~REFERENCE)
        return answer
