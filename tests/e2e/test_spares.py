#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Spares: Node.js processes that were started ahead, what becomes of them, and what when they are too few or die."""

import json
import os
import signal
import sys
import unittest

import harness
import wcproto

SELF_JS = b"""
const fs = require('fs');
const parse = (file) => Object.fromEntries(fs.readFileSync(file, 'utf8').trim().split('\\n').map((line) => {
  const at = line.indexOf(':');
  return [line.slice(0, at), line.slice(at + 1).trim()];
}));
exports.handler = async (event, context) => {
  let become = 'became';
  try { process.setuid(0); } catch (error) { become = error.code; }
  return {
    environment: { ...process.env }, folder: process.cwd(), name: context.functionName, core: context.core, become,
    offset: new Date(2026, 0, 1).getTimezoneOffset(), arguments: process.execArgv, pid: process.pid,
    namespace: fs.statSync('/proc/self/ns/pid').ino,
    limit: Error.stackTraceLimit, threads: fs.readdirSync('/proc/self/task').map((tid) => parse(`/proc/self/task/${tid}/status`)),
  };
};
"""


@unittest.skipUnless(harness.NODE_JS, "no Node.js")
class Spares(harness.NodeTest):
    """Node.js processes that were started ahead: root until they know whose they are, and then nobody special."""

    TAG = "spr"

    def ready(self, count=1):
        harness.wait_until(lambda: self.node.status()["spares"] == count, "%d processes were started ahead" % count)

    def spare_pids(self):
        return [pid for pid, _, environ in harness.processes() if b"WARMCORE_SPARE=1" in environ and
                harness.process_state(pid) and self.parent(pid) == self.node.pid]  # fmt: skip

    def parent(self, pid):
        with open("/proc/%d/stat" % pid) as file:
            return int(file.read().rpartition(")")[2].split()[1])

    def deploy_self(self, name, **manifest):
        function = self.node.deploy(name, "node", "me.handler", {"me.js": SELF_JS}, **manifest)
        self.addCleanup(self.node.cli, "remove", name, check=False)
        return function

    def call(self, function, event=None):
        with self.node.client() as client:
            return json.loads(self.assert_reply(client.invoke(function, json.dumps(event or {}).encode(), seconds=60)).payload)

    def test_what_an_instance_is(self):
        function = self.deploy_self("one", environment={"KEY": "value = ; $ \u4e16", "TZ": "Asia/Kolkata", "HOME": "/var"},
                                    memory_mb=200)  # fmt: skip
        self.ready()
        pids = self.spare_pids()
        self.assertEqual(len(pids), 1)
        one = self.call(function)
        environment = one["environment"]
        self.assertEqual((environment["KEY"], environment["WARMCORE_FUNCTION"]), ("value = ; $ \u4e16", "one"))
        self.assertEqual((environment["HOME"], environment["PATH"]), ("/var", "/usr/local/bin:/usr/bin:/bin"))
        self.assertEqual([key for key in environment if "SPARE" in key or "CHANNEL" in key or "ZYGOTE" in key], [])
        self.assertEqual((one["offset"], one["folder"], one["name"]), (-330, environment["WARMCORE_CODE"], "one"))
        self.assertIn("--max-old-space-size=200", one["arguments"])
        self.assertEqual(harness.host_pids(one["namespace"], [one["pid"]]), pids, "the process that was started ahead")
        self.assertEqual(one["become"], "EPERM")
        for status in one["threads"]:
            uids = set(status["Uid"].split()) | set(status["Gid"].split())
            self.assertEqual(len(uids), 1, status)
            self.assertGreaterEqual(int(uids.pop()), 0x70000000)
            for key in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(status[key], 16), 0, key)
            self.assertEqual((status["NoNewPrivs"], status["Groups"]), ("1", ""))
            self.assertEqual(status["Cpus_allowed_list"], str(self.node.status()["cores"][one["core"]]["cpu"]))
        self.ready()  # the next one
        self.assertEqual(len([pid for pid in self.spare_pids() if pid != pids[0]]), 1)

    def test_sizes(self):
        """The heap's limit is on the command line: one for each size, none that nobody wants."""
        self.deploy_self("small", memory_mb=100)
        self.deploy_self("large", memory_mb=300)
        other = self.deploy_self("other", memory_mb=100, environment={"NODE_OPTIONS": "--stack-trace-limit=3"})
        self.ready(2)
        pids = set(self.spare_pids())
        self.assertEqual(self.call(other)["limit"], 3, "what is looked at at the start is not ignored")
        answer = self.call(other)
        self.assertEqual(pids & set(harness.host_pids(answer["namespace"], [answer["pid"]])), set())
        self.node.cli("remove", "large")
        self.ready(1)
        self.node.cli("remove", "small")
        self.ready(0)
        harness.wait_until(lambda: not any(harness.process_state(pid) for pid in pids), "they have gone")

    def test_killed(self):
        function = self.deploy_self("one")
        for _ in range(3):
            self.ready()
            for pid in self.spare_pids():
                os.kill(pid, signal.SIGKILL)
            self.assertEqual(self.call(function)["name"], "one")
            self.node.cli("evict")

    @unittest.skipIf(os.environ.get("E2E_DATAPATH") == "kernel", "takes half a minute, and nothing in it is the kernel's")
    def test_stopped(self):
        """One that does not answer is a start that fails; the next one works."""
        function = self.deploy_self("one")
        self.ready()
        for pid in self.spare_pids():
            os.kill(pid, signal.SIGSTOP)
            harness.wait_until(lambda p=pid: set(harness.thread_states(p)) <= {"T"}, "no thread of %d runs" % pid)
            self.addCleanup(lambda p=pid: harness.process_state(p) == "T" and os.kill(p, signal.SIGKILL))
        with self.node.client() as client:
            self.assert_error(client.invoke(function, b"{}", seconds=60), wcproto.TIMEOUT)
        self.assertEqual(self.call(function)["name"], "one")

    def test_load_errors(self):
        """What goes wrong in the function's own code is told as ever."""
        cases = [("throws", b"throw new TypeError('at load');\n", "TypeError"), ("none", b"exports.x = 1;\n", "Runtime.HandlerNotFound"),
                 ("syntax", b"exports.handler = (;\n", "Runtime.UserCodeSyntaxError")]  # fmt: skip
        for name, source, error_type in cases:
            with self.subTest(name=name):
                function = self.node.deploy(name, "node", "me.handler", {"me.js": source})
                self.addCleanup(self.node.cli, "remove", name, check=False)
                self.ready()
                with self.node.client() as client:
                    self.assert_error(client.invoke(function, b"{}", seconds=60), wcproto.INIT, error_type)
                self.node.cli("remove", name)
        function = self.node.deploy("exits", "node", "me.handler", {"me.js": b"process.exit(7);\n"})
        self.addCleanup(self.node.cli, "remove", "exits", check=False)
        self.ready()
        with self.node.client() as client:
            error = self.assert_error(client.invoke(function, b"{}", seconds=60), wcproto.EXIT)
        self.assertIn("7", error["errorMessage"])

    def test_cannot_begin(self):
        """A function whose folder cannot be entered: the client is told why, by a spare as by a process of its own."""
        for name, environment in (("spare", {}), ("own", {"NODE_OPTIONS": "--stack-trace-limit=3"})):
            function = self.deploy_self(name, environment=environment)
            if name == "spare":
                self.ready()
            code = os.path.join(self.node.state, "functions", name)
            (version,) = [entry for entry in os.listdir(code) if entry.startswith("v")]
            os.chmod(os.path.join(code, version), 0)
            with self.subTest(name=name), self.node.client() as client:
                error = self.assert_error(client.invoke(function, b"{}", seconds=60), wcproto.INIT, "Runtime.StartError")
                self.assertIn("chdir", error["errorMessage"])
            os.chmod(os.path.join(code, version), 0o750)
            self.assertEqual(self.call(function)["name"], name)
            self.assertIn("Runtime.StartError" if name == "spare" else "chdir", self.node.cli("logs", name).stdout)
            self.node.cli("remove", name)

    def test_many_at_once(self):
        """More cold starts than were started ahead."""
        functions = [self.deploy_self("f%d" % i) for i in range(4)]
        for _ in range(3):
            self.ready()
            with self.node.client() as client:
                ids = []
                for function in functions:
                    ids.append(client.fresh_id())
                    client.send(ids[-1], function, b"{}")
                answers = [client.receive(60) for _ in ids]
            self.assertEqual({answer.request_id for answer in answers}, set(ids))
            for answer in answers:
                self.assert_reply(answer)
            self.node.cli("evict")


if __name__ == "__main__":
    sys.exit(harness.main())
