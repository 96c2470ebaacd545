# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Stand-ins for either end of a cluster's session, of whatever version: a second implementation of docs/PAYLOADS.md, "From another host", and docs/CLUSTER.md."""

import hashlib
import hmac
import json
import os
import socket
import struct
import threading

import harness

MAGIC, CLUSTER, ASK, ANSWER = b"warmcore remote 1\0", 3, 1, 2
HEADER, CHUNK = struct.Struct(">IIQII"), 65536


def read(peer, size):
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def prove(key, label, nonces):
    return hmac.new(key, label + b"\0" + bytes([CLUSTER]) + nonces, hashlib.sha256).digest()


def key_of(path):
    with open(path) as file:
        return bytes.fromhex(file.read().strip())


class Node:
    """What a node is to its scheduler: a connection that asks. Made inside of a network namespace."""

    def __init__(self, address, key):
        self.peer = socket.create_connection(address, timeout=harness.PATIENCE_S)
        challenge, nonce = read(self.peer, 50), os.urandom(32)
        assert challenge[:18] == MAGIC, challenge
        self.peer.sendall(MAGIC + bytes([CLUSTER]) + nonce + prove(key, b"warmcore remote client", challenge[18:] + nonce))
        assert read(self.peer, 32) == prove(key, b"warmcore remote node", challenge[18:] + nonce)

    def ask(self, op, **fields):
        line = json.dumps({"op": op, **fields}).encode()
        self.peer.sendall(HEADER.pack(ASK, len(line), 1, len(line), 0) + line)
        text, total = b"", 1
        while len(text) < total:
            kind, length, _, total, offset = HEADER.unpack(read(self.peer, 24))
            assert (kind, offset) == (ANSWER, len(text))
            text += read(self.peer, length)
        return json.loads(text)

    def join(self, name, address, **fields):
        return self.ask("join", name=name, cores=1, epoch=7, address=address, port=4750, standby=False, **fields)

    def close(self):
        self.peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Scheduler:
    """What a scheduler is to its nodes: `answer(question)` gives what is answered; `asked` are all questions. It listens where it is made."""

    def __init__(self, address, key, answer):
        self.key, self.answer, self.asked, self.sessions = key, answer, [], 0
        self.listener = socket.create_server(address)
        self.peers = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            self.sessions += 1
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            peer.sendall(MAGIC + (nonce := os.urandom(32)))
            proof = read(peer, 18 + 1 + 32 + 32)
            nonces = nonce + proof[19:51]
            assert proof[51:] == prove(self.key, b"warmcore remote client", nonces)
            peer.sendall(prove(self.key, b"warmcore remote node", nonces))
            while True:
                _, length, number, _, _ = HEADER.unpack(read(peer, 24))
                question = json.loads(read(peer, length))
                self.asked.append(question)
                text = json.dumps(self.answer(question)).encode()
                assert len(text) <= CHUNK
                peer.sendall(HEADER.pack(ANSWER, len(text), number, len(text), 0) + text)
        except (EOFError, OSError):
            peer.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.peers:
            peer.close()
