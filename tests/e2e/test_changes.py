#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions that change while they run or wait: redeploy, remove, and `down`; and what `logs` and `doctor` say."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import harness
import wcproto

VERSION = b"""
import os, time

def handler(event, context):
    with open(os.path.join(os.environ["SHARED"], "runs"), "a") as file:
        file.write("%s\\n" % event["tag"])
    time.sleep(event.get("sleep_ms", 0) / 1000)
    return NUMBER
"""


class Changes(harness.NodeTest):
    TAG = "chg"
    OPTIONS = ("--keep-versions", "1")

    def deploy(self, number, name="versioned", **manifest):
        source = VERSION.replace(b"NUMBER", b"%d" % number)
        return self.node.deploy(name, "python", "main.handler", {"main.py": source}, timeout_ms=30000, **manifest)

    def event(self, tag, sleep_ms=0):
        return json.dumps({"tag": tag, "sleep_ms": sleep_ms}).encode()

    def cores(self):
        return len(self.node.status()["cores"])

    def folders(self, name):
        try:
            return os.listdir(os.path.join(self.node.state, "functions", name))
        except FileNotFoundError:
            return []

    def versions(self, name):
        return [entry for entry in self.folders(name) if entry.startswith("v")]

    def test_redeploy_while_busy(self):
        """The old version finishes, the new one serves next, under the same id; then the old code is gone."""
        function = self.deploy(1)
        with self.node.client() as busy, self.node.client() as client:
            busy.send(busy.fresh_id(), function, self.event("old", 3000))
            harness.wait_until(lambda: self.node.runs("old"), "the old version runs")
            old = self.versions("versioned")
            self.assertEqual(self.deploy(2), function)
            self.assert_reply(client.invoke(function, self.event("new")), 2)
            self.assertEqual(len(self.versions("versioned")), 2)
            self.assert_reply(busy.receive(60), 1)
            for _ in range(10):
                self.assert_reply(client.invoke(function, self.event("newer")), 2)
        harness.wait_until(lambda: len(self.versions("versioned")) == 1, "one version is kept")
        self.assertNotEqual(self.versions("versioned"), old)
        self.node.json("remove", "versioned")
        harness.wait_until(lambda: self.folders("versioned") == [], "removed code is gone")

    def test_redeploy_under_load(self):
        """Versions only ever go up, and every invocation is answered by one of them."""
        function = self.deploy(1, "loaded")
        stopping, wrong, seen = threading.Event(), [], []

        def work():
            last = 0
            with self.node.client() as client:
                while not stopping.is_set():
                    answer = client.invoke(function, self.event("loaded"))
                    if answer is None or answer.kind != wcproto.REPLY or json.loads(answer.payload) < last:
                        wrong.append((last, answer))
                        continue
                    last = json.loads(answer.payload)
                    seen.append(last)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(2, 12):
            time.sleep(0.1)
            self.deploy(number, "loaded")
        try:
            harness.wait_until(lambda: wrong or 11 in seen, "the last version to serve")
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(max(seen), 11)
        self.assertEqual(self.node.runs("loaded"), len(seen))
        self.node.json("remove", "loaded")
        self.node.wait_idle()

    def test_remove_while_busy(self):
        """What runs is finished, what waits gets REMOVED, what comes later UNKNOWN_FUNCTION; nothing is left open."""
        function = self.deploy(1, "doomed")
        cores = self.cores()
        with self.node.client() as busy, self.node.client() as waiting, self.node.client() as late:
            for number in range(cores):
                busy.send(busy.fresh_id(), function, self.event("doomed-%d" % number, 3000))
            harness.wait_until(lambda: sum(self.node.runs("doomed-%d" % n) for n in range(cores)) == cores, "all cores run")
            for _ in range(5):
                waiting.send(waiting.fresh_id(), function, self.event("waiting"))
            harness.wait_until(lambda: self.node.status()["pending"]["now"] == 5, "five wait")
            self.node.json("remove", "doomed")
            answer = late.invoke(function, self.event("late"), seconds=10)
            self.assert_error(answer, wcproto.UNKNOWN_FUNCTION)
            for _ in range(cores):
                self.assert_reply(busy.receive(60), 1)
            for _ in range(5):
                self.assert_error(waiting.receive(60), wcproto.REMOVED, "Node.FunctionRemoved")
        self.assertEqual((self.node.runs("waiting"), self.node.runs("late")), (0, 0))
        self.node.wait_idle()
        harness.wait_until(lambda: self.folders("doomed") == [], "the code goes with the last instance")
        mark = b"WARMCORE_NODE=%s\0" % self.node.name.encode()
        harness.wait_until(lambda: not [pid for pid, _, environ in harness.processes()
                                        if b"WARMCORE_FUNCTION=doomed\0" in environ and mark in environ],
                           "instances of a removed function are gone", 15)  # fmt: skip

    def test_remove_and_deploy_again_while_busy(self):
        """What is left of the removed function, when it ends, takes nothing away from the new one of the same name."""
        function = self.deploy(1, "reborn")
        with self.node.client() as busy, self.node.client() as client:
            busy.send(busy.fresh_id(), function, self.event("reborn", 2000))
            harness.wait_until(lambda: self.node.runs("reborn"), "it runs")
            self.node.json("remove", "reborn")
            again = self.deploy(2, "reborn")
            self.assertNotEqual(again, function)
            self.assertEqual(len(self.versions("reborn")), 2)  # what runs may import more of its code
            self.assert_reply(client.invoke(again, self.event("again")), 2)
            self.assert_reply(busy.receive(60), 1)
            self.node.wait_idle()
            harness.wait_until(lambda: len(self.versions("reborn")) == 1, "the old code goes when it has ended")
            self.node.kill_instances()
            harness.wait_until(lambda: self.node.status()["instances"] == 0, "all instances are gone")
            self.assert_reply(client.invoke(again, self.event("again")), 2)
        self.node.json("remove", "reborn")

    def test_logs(self):
        source = b"import sys\nfor n in range(300):\n    print('line %d' % n)\ndef handler(event, context):\n    return 1\n"
        function = self.node.deploy("chatty", "python", "main.handler", {"main.py": source})
        with self.node.client() as client:
            self.assert_reply(client.invoke(function, b"1"), 1)
        # What is printed while loading is written at the latest when the runtime flushes.
        harness.wait_until(lambda: "line 299" in self.node.cli("logs", "chatty").stdout, "the whole output is in the log")
        lines = self.node.cli("logs", "chatty", "--lines", "3").stdout.splitlines()
        self.assertEqual([line.split(" out ")[-1] for line in lines], ["line 297", "line 298", "line 299"])
        self.assertEqual(len(self.node.cli("logs", "chatty", "--lines", "0").stdout), 0)
        self.assertEqual(len(self.node.cli("logs", "chatty", "--lines", "1000").stdout.splitlines()), 300)
        self.assertEqual(self.node.cli("logs", "none-such", check=False).returncode, 1)
        follow = subprocess.Popen([harness.WARMCORE, "--node", self.node.name, "logs", "chatty", "--lines", "1", "--follow"],
                                  stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)  # fmt: skip
        try:
            self.assertIn(b"line 299", follow.stdout.readline())
            source = b"def handler(event, context):\n    print('more', flush=True)\n"
            function = self.node.deploy("chatty", "python", "main.handler", {"main.py": source})
            with self.node.client() as client:
                client.invoke(function, b"1")
            self.assertIn(b"more", follow.stdout.readline())
        finally:
            follow.kill()
            follow.wait()
            follow.stdout.close()

    def test_logs_of_any_bytes(self):
        """NUL and what is no UTF-8 lose nothing of the line; --follow waits for the first line."""
        source = b"import os\ndef handler(event, context):\n    os.write(1, b'one\\0two\\nthree\\xff\\n')\n"
        function = self.node.deploy("bytes", "python", "main.handler", {"main.py": source})
        follow = subprocess.Popen([harness.WARMCORE, "--node", self.node.name, "logs", "bytes", "--follow"],
                                  stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)  # fmt: skip
        try:
            self.assertEqual(self.node.cli("logs", "bytes").stdout, "")
            time.sleep(0.3)  # so that --follow has looked before there is a log, mostly
            self.assertIsNone(follow.poll())
            with self.node.client() as client:
                self.assert_reply(client.invoke(function, b"1"), None)
            lines = self.node.cli("logs", "bytes").stdout.splitlines()
            self.assertEqual([line.split(" out ")[-1] for line in lines], ["one\\x00two", "three\\xff"])
            self.assertTrue(follow.stdout.readline().endswith(b" out one\\x00two\n"))
            self.assertTrue(follow.stdout.readline().endswith(b" out three\\xff\n"))
        finally:
            follow.kill()
            follow.wait()
            follow.stdout.close()
        self.node.json("remove", "bytes")

    def ask(self, **request):
        """A request on the control socket: sooner after a reply than a command could ask."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect("/run/warmcore/%s/control.sock" % self.node.name)
            control.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(control.makefile("rb").read())

    def test_logs_are_complete(self):
        """Whoever has the reply finds all that the invocation printed, however much that is."""
        source = b"def handler(event, context):\n    print('x' * 40000)\n    print(event)\n    return event\n"
        function = self.node.deploy("prompt", "python", "main.handler", {"main.py": source})
        missing = []
        with self.node.client() as client:
            for number in range(200):
                event = "tag-%d" % number
                self.assert_reply(client.invoke(function, json.dumps(event).encode()), event)
                if not self.ask(op="logs", name="prompt", lines=1)["text"].endswith(" out %s\n" % event):
                    missing.append(number)
        self.assertEqual(missing, [])
        self.node.json("remove", "prompt")

    def test_doctor(self):
        report = self.node.json("doctor", check=False)
        outcomes = {check["check"]: check["outcome"] for check in report["checks"]}
        self.assertNotIn("missing", outcomes.values())
        for name in ("kernel", "XDP", "AF_XDP", "runtimes", "Python", "daemon"):
            self.assertEqual(outcomes.get(name), "ok", name)
        self.assertEqual(self.node.json("doctor", "--maps")["problems"], [])
        self.assertEqual(self.node.cli("doctor", "--maps").returncode, 0)
        stranger = subprocess.run([harness.WARMCORE, "--node", "e2e-nobody", "doctor", "--maps"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)  # fmt: skip
        self.assertEqual(stranger.returncode, 1)

    def test_down_while_busy(self):
        """Long ones are answered as killed, waiting ones as not run; then everything is gone."""
        node = harness.Node("dwn")
        self.addCleanup(node.close)
        node.up()
        source = VERSION.replace(b"NUMBER", b"1")
        function = node.deploy("long", "python", "main.handler", {"main.py": source}, timeout_ms=120000)
        cores = len(node.status()["cores"])
        with node.client() as client, node.client() as waiting:
            for number in range(cores):
                client.send(client.fresh_id(), function, self.event("long-%d" % number, 100000))
            harness.wait_until(lambda: sum(node.all_runs().values()) == cores, "all cores run")
            for _ in range(3):
                waiting.send(waiting.fresh_id(), function, self.event("never"))
            harness.wait_until(lambda: node.status()["pending"]["now"] == 3, "three wait")
            node.down()
            for _ in range(cores):
                answer = client.receive(10)
                self.assertIsNotNone(answer, "a running client was not told")
                self.assertEqual((answer.kind, wcproto.CODES[answer.code]), (wcproto.ERROR, "CRASH"))
            for _ in range(3):
                answer = waiting.receive(10)
                self.assertIsNotNone(answer, "a waiting client was not told")
                self.assertEqual((answer.kind, wcproto.CODES[answer.code]), (wcproto.ERROR, "SHUTDOWN"))
        self.assertEqual(node.runs("never"), 0)
        node.check_nothing_left()


if __name__ == "__main__":
    sys.exit(harness.main())
