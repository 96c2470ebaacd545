# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A gateway in front of a node of the end-to-end tests, and a client that says exactly which bytes go over the wire."""

import json
import os
import re
import signal
import socket
import subprocess

import harness


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %s %r" % (self.status, self.headers, self.body[:300])


class Connection:
    """One connection; requests may be pipelined."""

    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(harness.PATIENCE_S)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("closed; there was %r" % self.buffer)
        self.buffer += data

    def receive(self, head=False):
        """The next response; EOFError when the connection was closed instead."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        text, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = text.decode("latin-1").split("\r\n")
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        response = Response(int(lines[0].split()[1]), headers, b"")
        length = 0 if head else int(response.header("content-length") or 0)
        while len(self.buffer) < length:
            self._more()
        response.body, self.buffer = self.buffer[:length], self.buffer[length:]
        return response

    def request(self, method, target, body=b"", headers=()):
        lines = ["%s %s HTTP/1.1" % (method, target), "Host: gateway"] + ["%s: %s" % header for header in headers]
        if body:
            lines.append("Content-Length: %d" % len(body))
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
        return self.receive(head=method == "HEAD")

    def closed(self):
        """Has the other side closed, after everything that was received?"""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return True
        self.buffer += data
        return not data and not self.buffer


class Gateway:
    """`warmcore gateway` for a node, on a port of the kernel's choice."""

    def __init__(self, node, *options, listen=("--listen", "127.0.0.1:0"), usual=False):
        self.node = node
        if "--async-dir" not in options and not usual:  # the usual one outlives the test
            options = (*options, "--no-async")
        if "--code-dir" not in options and "--no-manage" not in options and not usual:
            options = (*options, "--no-manage")
        self.command = [harness.WARMCORE, "--node", node.name, "gateway", *listen, *options]
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.said = ""
        while "is served on" not in self.said:
            line = self.process.stderr.readline().decode()
            if not line:
                raise AssertionError("the gateway did not start: " + self.said)
            self.said += line
        found = re.search(r"is served on (https?)://127\.0\.0\.1:(\d+)", self.said)
        self.address = ("127.0.0.1", int(found.group(2))) if found else None
        self.url = "%s://127.0.0.1:%s" % found.groups() if found else None
        children = "/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)
        with open(children) as file:
            self.broker = int(file.read().split()[0])

    def connect(self):
        return Connection(self.address)

    def request(self, *arguments, **options):
        with self.connect() as connection:
            return connection.request(*arguments, **options)

    def stop(self, number=signal.SIGTERM):
        """Its exit status. Its broker is gone, too."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(harness.PATIENCE_S)
        self.process.stderr.close()
        harness.wait_until(lambda: harness.process_state(self.broker) in ("", "Z"), "the broker is gone")
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if not self.process.stderr.closed:
            self.process.stderr.close()


def status_of(pid):
    """Lines of /proc/PID/status, by name."""
    with open("/proc/%d/status" % pid) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def kit(name="gateway"):
    """The folder with npm's packages, or None with a line that says why."""
    done = subprocess.run([os.path.join(harness.ROOT, "scripts", "npm-kit.sh"), name], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)  # fmt: skip
    if done.returncode:
        print("\nSKIP: the packages of npm cannot be had: " + done.stderr.strip(), flush=True)
        return None
    return done.stdout.strip()
