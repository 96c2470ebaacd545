#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Reload: what can change does, all or nothing, the rest is named; and neither an invocation nor a connection is lost while it happens."""

import json
import os
import signal
import ssl
import socket
import subprocess
import sys
import threading
import unittest

import harness
from gateway import Gateway

RELOADS = 100


class Load:
    """Clients, each with one invocation at a time, until stopped; what was no good answer is kept."""

    def __init__(self, call, count=4):
        self.done, self.wrong, self.stop = [0] * count, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(call, i)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, call, index):
        try:
            while not self.stop.is_set():
                call(index, self.done[index])
                self.done[index] += 1
        except Exception as error:  # pylint: disable=broad-except
            self.wrong.append(repr(error))

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(harness.PATIENCE_S)
        return sum(self.done)


class Reload(unittest.TestCase):
    def node(self, tag, *options):
        node = harness.Node(tag, *options)
        self.addCleanup(node.close)
        self.config = os.path.join(node.root, "node.yaml")
        return node

    def write(self, text, path=None):
        """In one step, as an administrator's editor does it."""
        path = path or self.config
        with open(path + ".new", "w") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def knob(self, node, name):
        return next(k["value"] for k in node.json("config", "show")["knobs"] if k["name"] == name)

    def test_all_or_nothing(self):
        node = self.node("reload", "--datapath", "user", "--port", harness.free_port())
        self.write("policy: central\nfair-at: 7\ncores: 0*2\n")
        node.up("--config", self.config, "--idle-ms", "55")
        self.write("policy: jsq2\nfair-at: 8\ncores: 0*3\nkeep-versions: 5\nidle-ms: 99\nport: 1\n")
        answer = node.json("reload")
        self.assertEqual(sorted(answer["changed"]), ["fair-at", "policy"])
        self.assertEqual(sorted(answer["restart"]), ["cores", "keep-versions"])  # the line has a port and a time
        self.assertEqual(answer["file"], self.config)
        status = node.status()
        self.assertEqual((status["policy"]["policy"], len(status["cores"])), ("jsq2", 2))
        self.assertEqual(self.knob(node, "idle-ms"), "55")
        self.assertEqual(self.knob(node, "cores"), "0*2")
        # a mistake anywhere changes nothing
        for bad, sentence in (("policy: hash\nfair-at: x\n", "line 2: fair-at x"), ("policy: hash\n[", "this is not YAML"),
                              ("policy: hash\nprewarn: on\n", "did you mean 'prewarm'?"), ("policy: hash\nport: 0\n", "line 2: port 0"),
                              ("policy: hash\ncores-min: 2000\n", "cores-min"), (None, "cannot open")):  # fmt: skip
            if bad is None:
                os.unlink(self.config)
            else:
                self.write(bad)
            done = node.cli("reload", check=False)
            self.assertEqual(done.returncode, 1, bad)
            self.assertIn(sentence, done.stderr)
            self.assertEqual(node.status()["policy"]["policy"], "jsq2", bad)
            self.assertEqual(self.knob(node, "fair-at"), "8")
        # `set` holds until the next reload; without a change in the file, too
        node.cli("set", "--fair-at", "77")
        self.write("policy: jsq2\nfair-at: 8\n")
        self.assertEqual(node.json("reload")["changed"], ["fair-at"])
        self.assertEqual(self.knob(node, "fair-at"), "8")
        # SIGHUP: the same, in the log
        self.write("policy: hash\n")
        os.kill(node.pid, signal.SIGHUP)
        harness.wait_until(lambda: node.status()["policy"]["policy"] == "hash", "SIGHUP has the file read again")
        self.write("polcy: hash\n")
        os.kill(node.pid, signal.SIGHUP)
        log = os.path.join(node.state, "daemon.log")
        harness.wait_until(lambda: "nothing has changed" in open(log).read(), "the log says that the file is bad")
        self.assertEqual(node.status()["policy"]["policy"], "hash")
        node.down()

    def test_reserved(self):
        """What a `set` refuses, a reload does."""
        node = self.node("reload", "--datapath", "user", "--port", harness.free_port(), "--cores", "0*3")
        self.write("policy: central\n")
        node.up("--config", self.config)
        node.deploy_python()
        node.cli("limit", "probe", "--reserved", "1")
        self.write("policy: jsq2\nfair-at: 3\n")
        self.assertIn("reserved cores", node.cli("reload", check=False).stderr)
        self.assertNotEqual(self.knob(node, "fair-at"), "3")
        node.down()

    def test_load(self):
        """Invocations go on while the file is read again 100 times, each time with another policy."""
        node = self.node("reload", "--cores", "0*3")
        self.write("policy: central\n")
        node.up("--config", self.config)
        function = node.deploy_python()
        clients = [node.client() for _ in range(4)]

        def call(index, number):
            answer = clients[index].invoke(function, b'{"n": %d}' % number, seconds=harness.PATIENCE_S)
            if answer is None or answer.kind != 2 or json.loads(answer.payload) != {"n": number}:
                raise AssertionError("%r" % answer)

        load = Load(call)
        self.addCleanup(load.end)
        policies = ("central", "jsq2", "hash", "pack", "random", "rss", "ll_ps")
        for i in range(RELOADS):
            self.write("policy: %s\nfair-at: %d\nquantum-us: %d\n" % (policies[i % 7], i, i % 3 * 1000))
            self.assertIn("fair-at", node.json("reload")["changed"])
            if load.wrong:
                break
        done = load.end()
        self.assertEqual(load.wrong, [])
        self.assertGreater(done, RELOADS)
        print("  %d invocations during %d reloads" % (done, RELOADS), flush=True)
        for client in clients:
            client.socket.close()
        self.write("policy: central\n")
        node.json("reload")
        node.wait_idle()
        node.check_counters()
        node.down()
        node.check_nothing_left()


class GatewayReload(unittest.TestCase):
    """A gateway in front of a node, with a certificate and a file."""

    def certificate(self, name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                        "/CN=" + name, "-keyout", self.key + ".new", "-out", self.cert + ".new"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        os.chmod(self.key + ".new", 0o600)
        os.rename(self.key + ".new", self.key)
        os.rename(self.cert + ".new", self.cert)

    def presented(self):
        """The subject of what a new connection is shown."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(self.gateway.address, harness.PATIENCE_S) as plain, context.wrap_socket(plain) as secure:
            return ssl.DER_cert_to_PEM_cert(secure.getpeercert(True))

    def write(self, text):
        with open(self.config + ".new", "w") as file:
            file.write(text)
        os.rename(self.config + ".new", self.config)

    def reload(self, expected):
        """SIGHUP; waits for the line that says what it did."""
        os.kill(self.gateway.process.pid, signal.SIGHUP)
        while True:
            line = self.gateway.process.stderr.readline().decode()
            self.assertTrue(line, "the gateway is gone")
            if "read again" in line and "keys" not in line:
                self.assertIn(expected, line)
                return

    def test_gateway(self):
        node = harness.Node("reload", "--datapath", "user", "--port", harness.free_port())
        self.addCleanup(node.close)
        node.up()
        node.deploy_python()
        self.cert, self.key = os.path.join(node.root, "cert.pem"), os.path.join(node.root, "key.pem")
        self.config = os.path.join(node.root, "gateway.yaml")
        self.certificate("first")
        self.write("tls-cert: %s\ntls-key: %s\nthreads: 2\n" % (self.cert, self.key))
        os.chmod(self.config, 0o600)  # the gateway itself, which is nobody, could read none of the three
        self.gateway = Gateway(node, "--config", self.config)
        self.addCleanup(self.gateway.close)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connections = [context.wrap_socket(socket.create_connection(self.gateway.address, harness.PATIENCE_S)) for _ in range(4)]
        files = [connection.makefile("rb") for connection in connections]

        def call(index, number):
            body = b'{"n": %d}' % number
            connections[index].sendall(b"POST /function/probe HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            status, length = files[index].readline(), 0
            for line in iter(files[index].readline, b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answer = files[index].read(length)
            if b" 200 " not in status or json.loads(answer) != {"n": number}:
                raise AssertionError("%r %r" % (status, answer))

        load = Load(call)
        self.addCleanup(load.end)
        base = "tls-cert: %s\ntls-key: %s\nthreads: 2\n" % (self.cert, self.key)
        first = self.presented()
        # certificates change, connections stay
        for i in range(10):
            before = self.presented()
            self.certificate("next%d" % i)
            self.write(base + "max-wait-ms: %d\nconnections: %d\n" % (5000 + i, 100 + i))
            self.reload("and the certificate: changed connections, max-wait-ms; needs a restart: none")
            self.assertNotEqual(self.presented(), before)
        for i in range(RELOADS - 10):
            self.write(base + "max-wait-ms: %d\n" % (6000 + i))
            self.reload("changed")
        self.assertNotEqual(self.presented(), first)
        # what cannot change is named; what is wrong changes nothing
        self.write(base.replace("threads: 2", "threads: 3") + "max-wait-ms: 7777\nlisten: 127.0.0.1:1\n")
        self.reload("changed max-wait-ms; needs a restart: threads")
        good = self.presented()
        self.write(base + "max-wait-ms: 0\n")
        self.reload("line 4: max-wait-ms 0")
        self.write(base)
        with open(self.key, "w") as file:
            file.write("no key\n")
        self.reload("--tls-key")
        self.assertEqual(self.presented(), good)
        os.unlink(self.cert)
        self.reload("cannot open")
        self.assertEqual(self.presented(), good)
        os.unlink(self.config)
        self.reload("nothing has changed")
        done = load.end()
        self.assertEqual(load.wrong, [])
        self.assertGreater(done, RELOADS)
        print("  %d requests on 4 connections during %d reloads" % (done, RELOADS), flush=True)
        for connection in connections:
            connection.close()
        self.assertEqual(self.gateway.stop(), 0)
        node.down()

    def test_limit(self):
        """Fewer connections are allowed from then on; those that are there stay."""
        node = harness.Node("reload", "--datapath", "user", "--port", harness.free_port())
        self.addCleanup(node.close)
        node.up()
        node.deploy_python()
        self.config = os.path.join(node.root, "gateway.yaml")
        self.write("connections: 10\n")
        self.gateway = Gateway(node, "--config", self.config)
        self.addCleanup(self.gateway.close)
        connections = [self.gateway.connect() for _ in range(5)]
        for connection in connections:
            self.assertEqual(connection.request("GET", "/healthz").status, 200)
        self.write("connections: 5\n")
        self.reload("changed connections")
        with self.gateway.connect() as one_more:
            self.assertEqual(one_more.receive().status, 503)
        for connection in connections:
            self.assertEqual(connection.request("POST", "/function/probe", b"{}").status, 200)
            connection.socket.close()
        self.assertEqual(self.gateway.stop(), 0)
        node.down()


if __name__ == "__main__":
    sys.exit(harness.main(kernel=False))
