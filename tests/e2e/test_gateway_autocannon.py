#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Load by programs that people use for it, unmodified: autocannon of npm and Debian's wrk. 1 to 64 connections, with and without pipelining, keep-alive: no error,
no other status than 200, and what they, the gateway and the node have counted is the same. How fast it is, is the benchmarks' question."""

import json
import re
import shutil
import subprocess

import gateway
import harness

AMOUNT = 3000  # requests of each run


class Load(harness.NodeTest):
    TAG = "gwl"

    @classmethod
    def prepare(cls):
        cls.node.deploy("load", "native", "context.so", {"context.so": harness.native_function("context")})

    def setUp(self):
        super().setUp()
        self.gateway = gateway.Gateway(self.node, "--in-flight", "2048")
        self.addCleanup(self.gateway.close)

    def counts(self):
        """Invocations of the node, and invocations that ended well of the gateway."""
        (function,) = [f for f in self.node.json("list")["functions"] if f["name"] == "load"]
        text = self.gateway.request("GET", "/metrics").body.decode()
        found = re.search(r'^warmcore_gateway_invocations_total\{function="load",result="ok"\} (\d+)', text, re.M)
        return function["invocations"], int(found.group(1)) if found else 0

    def test_autocannon(self):
        kit = gateway.kit("autocannon")
        if not kit or not harness.NODE_JS:
            self.skipTest("no autocannon, or no node")
        for connections, pipelining in ((1, 1), (1, 8), (16, 1), (16, 4), (64, 1), (64, 8)):
            before = self.counts()
            done = subprocess.run([harness.NODE_JS, kit + "/node_modules/autocannon/autocannon.js", "--json", "-c", str(connections), "-p", str(pipelining), "-a", str(AMOUNT),
                                   "-t", str(harness.PATIENCE_S), "-m", "POST", "-H", "content-type=application/json", "-b", '"ping"',
                                   self.gateway.url + "/function/load"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)
            out = json.loads(done.stdout)
            self.assertEqual((out["errors"], out["timeouts"], out["mismatches"], out["resets"], out["non2xx"]), (0, 0, 0, 0, 0), (connections, pipelining, out))
            self.node.wait_idle()
            after = self.counts()
            ran = after[0] - before[0]
            # With pipelining it closes a connection when it has sent the last one, without waiting for those before.
            late = connections * (pipelining - 1)
            self.assertTrue(AMOUNT - late <= out["2xx"] <= ran <= out["requests"]["sent"] <= AMOUNT + late, (connections, pipelining, ran, out))
            if not late:
                self.assertEqual((out["2xx"], after), (AMOUNT, tuple(count + AMOUNT for count in before)), connections)

    def test_wrk(self):
        if not shutil.which("wrk"):
            self.skipTest("no wrk")
        script = self.node.root + "/post.lua"
        with open(script, "w") as file:
            file.write('wrk.method = "POST"\nwrk.body = "\\"ping\\""\nwrk.headers["Content-Type"] = "application/json"\n'
                       'done = function(summary) print("SUM", summary.requests, summary.errors.connect, summary.errors.read, summary.errors.write, '
                       'summary.errors.status, summary.errors.timeout) end\n')  # fmt: skip
        for connections in (1, 16, 64):
            before = self.counts()
            done = subprocess.run(["wrk", "-t", "1", "-c", str(connections), "-d", "1", "--timeout", str(harness.PATIENCE_S), "-s", script,
                                   self.gateway.url + "/function/load"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)
            numbers = [int(n) for n in re.search(r"SUM\t(.*)", done.stdout).group(1).split()]
            self.assertEqual(numbers[1:], [0] * 5, done.stdout)
            self.assertGreater(numbers[0], 0)
            self.node.wait_idle()
            after = self.counts()
            # What was under way when its time was over ran, and was not counted by wrk.
            self.assertTrue(numbers[0] <= after[0] - before[0] <= numbers[0] + connections, (connections, numbers, before, after))


if __name__ == "__main__":
    harness.main()
