#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""kill -9 of the daemon at random moments, under load: the kernel says so, nothing survives, the next start repairs.

KILL9_ROUNDS and KILL9_SEED choose how often and which moments; a failure prints the seed.
"""

import json
import os
import random
import select
import signal
import sys
import threading
import time
import unittest

import harness
import wcproto

ROUNDS = int(os.environ.get("KILL9_ROUNDS", "6"))
SEED = int(os.environ.get("KILL9_SEED", "1"))
NATIVELY = unittest.skipIf(os.environ.get("E2E_SHORT"), "E2E_SHORT: about processes, which are the same outside of a VM")


class Load(threading.Thread):
    """A client that invokes without a pause, each with its own tag, and notes what it was told."""

    def __init__(self, node, functions, name):
        super().__init__(daemon=True)
        self.client, self.functions, self.tag = node.client(), functions, name
        self.stopping = False
        self.told = {}  # tag: REPLY, ERROR code name, or None
        self.wrong = []

    def run(self):
        number = 0
        while not self.stopping:
            number += 1
            tag = "%s-%d" % (self.tag, number)
            if number % 3:
                function, payload = self.functions["native"], b"c" + tag.encode()
            else:
                event = {"do": "count", "tag": tag, "sleep_ms": number % 20}
                function, payload = self.functions["python"], json.dumps(event).encode()
            try:
                self.told[tag] = self.ask(function, payload)
            except Exception as error:  # the test looks at it
                self.wrong.append(repr(error))

    def ask(self, function, payload):
        """Sent again, with the same id, for as long as the node is down or says nothing."""
        number = self.client.fresh_id()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            answer = self.client.invoke(function, payload, request_id=number, seconds=1, interval=0.1)
            if answer is None or answer.code == wcproto.NODE_DOWN:
                time.sleep(0.02)
                if self.stopping and answer is None:
                    break
                continue
            return "REPLY" if answer.kind == wcproto.REPLY else wcproto.CODES[answer.code]
        return None

    def stop(self):
        self.stopping = True
        self.join()
        self.client.close()


class Kill9(unittest.TestCase):
    def setUp(self):
        self.node = harness.Node("kill")
        self.addCleanup(self.node.close)
        self.node.up()
        self.functions = {
            "python": self.node.deploy_python(timeout_ms=5000),
            "native": self.node.deploy_native(event="binary"),
        }

    def warm_up(self):
        with self.node.client() as client:
            answer = client.invoke(self.functions["native"], b"ewarm")
            self.assertEqual(answer.payload, b"warm", answer)
            self.assertEqual(client.invoke(self.functions["python"], b"7").payload, b"7")

    def check_node_down(self):
        """The XDP program outlives the daemon, and says so."""
        with self.node.client() as client:
            answer = client.invoke(self.functions["native"], b"e", seconds=10)
            self.assertIsNotNone(answer, "no NODE_DOWN while the daemon is dead")
            self.assertEqual((answer.kind, answer.code), (wcproto.ERROR, wcproto.NODE_DOWN))

    def round(self, number, chance):
        loads = [Load(self.node, self.functions, "r%d-%d" % (number, n)) for n in range(4)]
        try:
            for load in loads:
                load.start()
            time.sleep(chance.uniform(0.0, 0.4))
            self.node.kill9()
            harness.wait_until(lambda: not self.node.instance_pids(), "instances die with the daemon")
            if number % 2:
                self.check_node_down()
            time.sleep(chance.uniform(0.0, 0.3))
            self.node.up()
            self.warm_up()
            time.sleep(chance.uniform(0.1, 0.4))
        finally:
            for load in loads:
                load.stop()
        runs = self.node.all_runs()
        for load in loads:
            self.assertEqual(load.wrong, [])
            for tag, told in load.told.items():
                self.assertLessEqual(runs.get(tag, 0), 1, "%s was run twice; its client was told %s" % (tag, told))
                self.assertIn(told, ("REPLY", "RESTARTED", None))
                if told == "REPLY":
                    self.assertEqual(runs.get(tag), 1, tag)
        self.node.wait_idle()
        self.node.check_counters()
        return [told for load in loads for told in load.told.values()]

    def test_under_load(self):
        chance = random.Random(SEED)
        told = []
        for number in range(ROUNDS):
            with self.subTest(seed=SEED, round=number):
                told += self.round(number, chance)
        print("%d invocations: %s" % (len(told), {t: told.count(t) for t in set(told)}), file=sys.stderr)
        self.assertGreater(told.count("REPLY"), 0)
        self.node.down()
        self.node.check_nothing_left()

    @NATIVELY
    def test_running_client_is_told(self):
        with self.node.client() as client:
            number = client.fresh_id()
            client.send(number, self.functions["python"], b'{"do":"count","tag":"told","sleep_ms":4000}')
            harness.wait_until(lambda: self.node.runs("told"), "it runs")
            self.node.kill9()
            self.node.up()
            answer = client.receive(30)
            self.assertIsNotNone(answer, "nobody told the client")
            self.assertEqual((answer.request_id, wcproto.CODES[answer.code]), (number, "RESTARTED"))
            self.assertEqual(json.loads(answer.payload)["errorType"], "Node.Restarted")
        self.assertEqual(self.node.runs("told"), 1)
        self.warm_up()

    def test_up_at_once(self):
        """`kill -9; warmcore up` in a script: the dying daemon's last threads are no running node."""
        for _ in range(min(ROUNDS, 5)):
            self.warm_up()
            os.kill(self.node.pid, signal.SIGKILL)
            self.node.up()
        self.warm_up()

    def test_up_after_sigterm(self):
        """The same with SIGTERM: the daemon that stops removes its lock while the new one waits for it."""
        for number in range(2 * ROUNDS):
            self.warm_up()
            old, node = os.pidfd_open(self.node.pid), self.node.pid
            self.addCleanup(os.close, old)
            with self.node.client() as client:
                if number % 4 == 3:  # with work to finish, which takes the daemon some seconds
                    event = b'{"do":"count","tag":"term-%d","sleep_ms":2000}' % number
                    client.send(client.fresh_id(), self.functions["python"], event)
                    harness.wait_until(lambda n=number: self.node.runs("term-%d" % n), "it runs")
                os.kill(self.node.pid, signal.SIGTERM)
                time.sleep(number % 3 * 0.01)
                self.node.up()
            self.assertNotEqual(self.node.pid, node)
            self.assertTrue(select.select([old], [], [], 0)[0], "two daemons at once")
            with open("/run/warmcore/%s/lock" % self.node.name) as lock:
                self.assertEqual(int(lock.read()), self.node.pid)
        self.warm_up()
        twice = self.node.cli("up", "--state-dir", self.node.state, check=False)
        self.assertEqual(twice.returncode, 1)
        self.assertIn("already running", twice.stderr)
        self.node.down()
        self.node.check_nothing_left()

    def test_down_without_restart(self):
        self.warm_up()
        self.node.kill9()
        self.node.cli("down")
        self.node.check_nothing_left()

    @NATIVELY
    def test_children_of_functions_do_not_survive(self):
        """An instance dies with the daemon; what it had started must be gone at the latest after the next start."""
        function = self.node.deploy_python("parent", timeout_ms=60000)  # on a slow machine six processes take their time
        with self.node.client() as client:
            for event in (b'{"do":"children","then":"return"}', b'{"do":"children","then":"return","session":true,"hiding":true}'):
                answer = client.invoke(function, event)
                self.assertTrue(answer and answer.kind == wcproto.REPLY, answer)
        with open(os.path.join(self.node.shared, "children")) as file:
            lines = [[int(word) for word in line.split()] for line in file]
        pids = [pid for namespace, *inner in lines for pid in harness.host_pids(namespace, inner)]
        self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in pids if harness.process_state(pid)])
        self.assertEqual(len(pids), 6)
        # Another node that starts or is cleaned does not take them for its own.
        other = harness.Node("othr")
        self.addCleanup(other.close)
        other.up()
        function = other.deploy_python()
        with other.client() as client:
            namespace, inner = json.loads(client.invoke(function, b'{"do":"where"}').payload)
        (pid,) = harness.host_pids(namespace, [inner])
        self.assertNotEqual(os.stat("/proc/%d" % pid).st_uid, os.stat("/proc/%d" % pids[0]).st_uid)
        other.down()
        self.assertTrue(all(harness.process_state(pid) for pid in pids))
        self.node.kill9()
        self.node.up()
        harness.wait_until(lambda: not any(harness.process_state(pid) for pid in pids), "its children are gone", 15)

    def test_killed_during_start(self):
        """Half a start is repaired by the next one, too."""
        self.node.down()
        chance = random.Random(SEED)
        for _ in range(min(ROUNDS, 5)):
            starter = threading.Thread(target=self.node.cli, args=("up", "--state-dir", self.node.state),
                                       kwargs={"check": False})  # fmt: skip
            starter.start()
            time.sleep(chance.uniform(0.0, 0.12))
            name = b"--name\0%s\0" % self.node.name.encode()
            for pid, command, _ in harness.processes():
                if name in command:
                    os.kill(pid, signal.SIGKILL)
            starter.join()
        if self.node.cli("status", check=False).returncode == 0:
            self.node.down()  # it began after the last look
        harness.wait_until(lambda: not any(name in command for _, command, _ in harness.processes()), "all are gone")
        self.node.up()
        self.warm_up()
        self.node.wait_idle()
        self.node.down()
        self.node.check_nothing_left()


    @NATIVELY
    def test_instance_killed_and_stopped(self):
        for number, code in ((signal.SIGKILL, "CRASH"), (signal.SIGTERM, "CRASH"), (signal.SIGSTOP, "TIMEOUT")):
            with self.subTest(signal=number.name), self.node.client() as client:
                tag = "victim-" + number.name
                event = json.dumps({"do": "count", "tag": tag, "sleep_ms": 4000}).encode()
                client.send(client.fresh_id(), self.functions["python"], event)
                harness.wait_until(lambda t=tag: self.node.runs(t), "it runs")
                running = [c for c in self.node.status()["cores"] if c["state"] == "running"]
                self.assertEqual([c["function"] for c in running], ["probe"])
                pids = [pid for pid, _, environ in harness.processes()
                        if b"WARMCORE_FUNCTION=probe\0" in environ and b"WARMCORE_CORE=%d\0" % running[0]["core"] in environ
                        and b"WARMCORE_NODE=%s\0" % self.node.name.encode() in environ]  # fmt: skip
                self.assertEqual(len(pids), 1)
                os.kill(pids[0], number)
                answer = client.receive(60)
                self.assertIsNotNone(answer)
                if number != signal.SIGTERM or answer.kind == wcproto.ERROR:  # a runtime may end orderly on SIGTERM
                    self.assertIn(wcproto.CODES[answer.code], (code, "EXIT" if number == signal.SIGTERM else code), answer)
                self.warm_up()
                self.assertEqual(self.node.runs(tag), 1)
                self.node.wait_idle()
                harness.wait_until(lambda p=pids[0]: not harness.process_state(p), "the instance is gone")

    @NATIVELY
    def test_idle_instance_killed(self):
        """Nobody waits for it: the next invocation just gets a new one."""
        self.warm_up()
        self.node.kill_instances()
        harness.wait_until(lambda: self.node.status()["instances"] == 0, "the daemon has noticed")
        self.warm_up()
        self.node.wait_idle()


if __name__ == "__main__":
    sys.exit(harness.main())
