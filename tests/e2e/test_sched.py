#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The real daemon on a kernel with sched_ext: who places threads, what the kernel counts, and what happens when it stops.

Skipped on kernels without sched_ext; tests/vm/e2e.sh runs it on such a kernel.
"""

import json
import os
import signal
import subprocess
import time
import unittest
import zlib

import gates
import harness

STATE = "/sys/kernel/sched_ext/state"


def state():
    with open(STATE) as file:
        return file.read().strip()


def policy_of(pid):
    """Scheduling class number: field 41 of /proc/PID/stat."""
    with open("/proc/%d/stat" % pid) as file:
        return int(file.read().rpartition(")")[2].split()[38])


def eject():
    """As an operator would take any sched_ext scheduler out."""
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("S")
    harness.wait_until(lambda: state() == "disabled", "the scheduler is out")


class Sched(gates.Test):
    TAG = "sched"
    IN_VM = True
    MODE = "full"

    @classmethod
    def options(cls):
        return (*super().options(), "--sched", cls.MODE)

    @classmethod
    def prepare(cls):
        cls.function = cls.node.native("held")
        cls.python = cls.node.python("snake")

    def setUp(self):
        super().setUp()
        self.node.defaults()
        harness.wait_until(lambda: self.placement()["active"], "it is attached")

    def placement(self):
        return self.node.status()["placement"]

    def burst(self, name, count=20):
        """Some invocations, all of which are answered."""
        crowd = self.crowd()
        for i in range(count):
            python = not i % 10
            crowd.send(self.python if python else self.function, self.prefix + name + str(i), "" if python else "=1",
                       python=python)  # fmt: skip
        crowd.gather()
        self.assertEqual(crowd.kinds(), {"REPLY": count})

    def function_named(self, name):
        return next(f for f in self.node.json("list")["functions"] if f["name"] == name)

    def test_status_says_who_places(self):
        placement = self.placement()
        self.assertEqual((placement["by"], placement["mode"]), ("sched_ext (%s)" % self.MODE, self.MODE))
        self.assertIn("sched_ext (%s)" % self.MODE, self.node.cli("status").stdout)
        with open("/sys/kernel/sched_ext/root/ops") as file:
            self.assertIn("warmcore", file.read())
        with open("/sys/kernel/sched_ext/switch_all") as file:
            self.assertEqual(file.read().strip(), "1" if self.MODE == "full" else "0")

    def test_the_kernel_counts_what_functions_use(self):
        before, cpus = self.function_named("held"), {c["cpu"]: c for c in self.placement()["cpus"]}
        self.burst("a")
        after = self.function_named("held")
        self.assertGreater(after["on_cpu_ns"], before["on_cpu_ns"])
        self.assertEqual(set(cpus), set(self.cpus))
        now = {c["cpu"]: c for c in self.placement()["cpus"]}
        grown = {key: sum(now[cpu][key] - cpus[cpu][key] for cpu in cpus)
                 for key in ("instances_ns", "agents_ns", "switches")}  # fmt: skip
        for key, value in grown.items():
            self.assertGreater(value, 0, key)
        functions = sum(self.function_named(name)["on_cpu_ns"] for name in ("held", "snake"))
        total = sum(c["instances_ns"] for c in now.values())
        self.assertLess(abs(total - functions), 0.05 * total + 1e6, (total, functions))

    def test_instances_and_what_they_start_are_enrolled(self):
        crowd, gate = self.crowd(), self.gate()
        crowd.send(self.function, self.prefix + "held", gate)
        self.node.wait_begun(self.prefix, 1)
        pids = self.node.instance_pids()
        self.assertTrue(pids)
        if self.MODE == "partial":
            for pid in pids:
                self.assertEqual(policy_of(pid), 7)
            self.assertEqual(policy_of(os.getpid()), 0)
        self.node.open(gate)
        crowd.gather()

    def test_taken_out_and_back_again(self):
        ejections = self.placement()["ejections"]
        crowd, gate = self.crowd(), self.gate()
        crowd.send(self.function, self.prefix + "through", gate)
        self.node.wait_begun(self.prefix, 1)
        eject()
        harness.wait_until(lambda: self.placement()["ejections"] == ejections + 1, "the daemon noticed")
        self.burst("out")
        placement = harness.wait_until(lambda: self.placement()["active"] and self.placement(), "it is attached again")
        self.assertIn("sysrq", str(placement["last_exit"]).lower())
        self.assertIn("ejected", self.node.cli("status").stdout)
        self.assertEqual(state(), "enabled")
        self.burst("in")
        before = self.function_named("held")["on_cpu_ns"]
        self.burst("more")
        self.assertGreater(self.function_named("held")["on_cpu_ns"], before)
        self.node.open(gate)
        crowd.gather()
        self.assertEqual(crowd.kinds(), {"REPLY": 1})

    def test_another_node_says_why_it_goes_without(self):
        other = harness.Node("other", "--datapath", "user", "--port", harness.free_port())
        self.addCleanup(other.close)
        other.up()
        placement = other.status()["placement"]
        self.assertEqual(placement["by"], "affinity")
        self.assertIn("warmcore", placement["why"])
        other.down()
        done = other.cli("up", "--state-dir", other.state, "--sched", "full", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("there can be only one"), 1, done.stderr)
        self.assertEqual(state(), "enabled")

    def test_killed_daemon_leaves_the_host_schedulable(self):
        victim = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
        self.addCleanup(victim.wait)
        self.addCleanup(victim.kill)
        self.node.kill9()
        harness.wait_until(lambda: state() == "disabled", "the kernel took it out")
        victim.send_signal(signal.SIGSTOP)
        harness.wait_until(lambda: harness.process_state(victim.pid) == "T", "the host's processes run")
        self.node.up()
        self.function = type(self).function = self.function_named("held")["id"]
        type(self).python = self.python = self.function_named("snake")["id"]
        self.assertTrue(self.placement()["active"])
        self.burst("again")

    def test_isolated(self):
        self.node.down()
        home = "/sys/fs/cgroup/warmcore-" + self.node.name
        done = self.node.cli("up", "--state-dir", self.node.state, "--isolate", "on", "--cores",
                             ",".join(map(str, sorted(os.sched_getaffinity(0)))), check=False)  # fmt: skip
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("the host needs one"), 1, done.stderr)
        self.assertFalse(os.path.exists(home))
        self.node.up("--isolate", "on")
        self.assertTrue(self.placement()["isolated"])
        self.assertFalse(os.sched_getaffinity(0) & set(self.cpus))  # this test is kept off, too
        self.burst("isolated")
        self.node.kill9()
        self.node.up()
        self.assertFalse(os.path.exists(home + "/daemon"))
        with open(home + "/cpuset.cpus.partition") as file:
            self.assertEqual(file.read().strip(), "member")
        self.assertLessEqual(set(self.cpus), os.sched_getaffinity(0))

    def test_off(self):
        self.node.down()
        self.node.up("--sched", "off")
        placement = self.placement()
        self.assertEqual((placement["by"], placement["active"], state()), ("affinity", False, "disabled"))
        self.burst("off")
        self.node.down()
        self.node.up()


class SchedPartial(Sched):
    MODE = "partial"
    SHORT = ("test_status_says_who_places", "test_the_kernel_counts_what_functions_use", "test_instances_and_what_they_start_are_enrolled",
             "test_taken_out_and_back_again", "test_killed_daemon_leaves_the_host_schedulable")  # fmt: skip


class SchedUser(Sched):
    USER = True
    SHORT = ("test_the_kernel_counts_what_functions_use", "test_instances_and_what_they_start_are_enrolled", "test_taken_out_and_back_again")


BURN = b"""
import time

def burn(ms):
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass

def handler(event, context):
    burn(event)
    return "burnt"
"""
SLOW = BURN.replace(b"burn(event)", b"pass") + b"burn(1500)\n"  # to load; and then it does nothing


class SchedCalls(gates.Test):
    """Calls from function to function, on one core, which is lent while its invocation sleeps, or is not."""

    TAG = "scall"

    @classmethod
    def options(cls):
        options = super().options()
        cls.cpus = cls.cpus[:1]
        return ("--cores", str(cls.cpus[0]), *options[2:], "--sched", "full")

    @classmethod
    def prepare(cls):
        node, long = cls.node, {"timeout_ms": 120000}
        relay = {"relay.so": harness.native_function("relay")}
        python = {"relay.py": os.path.join(harness.PROBES, "relay.py")}
        cls.held = node.native("held")
        cls.relay = node.deploy("relay-c", "native", "relay.so", relay, event="binary", **long)
        cls.echo = node.deploy("echo", "native", "relay.so", relay, event="binary", **long)
        cls.relay_py = node.deploy("relay-py", "python", "relay.handler", python, event="binary", **long)
        cls.fan = node.deploy("fan", "python", "relay.fan", python, **long)
        cls.caller = node.deploy("caller", "python", "relay.json_call", python, **long)
        cls.line = node.deploy("line", "native", "line.so", {"line.so": harness.native_function("line")}, event="binary", **long)
        for name, text in (("burn", BURN), ("slow", SLOW)):
            node.deploy(name, "python", name + ".handler", {name + ".py": text}, **long)

    def setUp(self):
        super().setUp()
        self.node.defaults()
        self.client = self.node.client()
        self.addCleanup(self.client.close)

    def send(self, function, payload):
        number = self.client.fresh_id()
        self.client.send(number, function, payload)
        return number

    def receive(self, count):
        """So many answers, in the order in which they come."""
        answers = {}
        while len(answers) < count:
            answer = self.client.receive(harness.PATIENCE_S)
            self.assertIsNotNone(answer, "%d answers are missing" % (count - len(answers)))
            self.assertNotIn(answer.request_id, answers)
            self.assert_reply(answer)
            answers[answer.request_id] = bytes(answer.payload)
        return answers

    def used_ms(self, *names):
        """Milliseconds of CPU time, and of waiting for a CPU."""
        functions = {f["name"]: f for f in self.node.json("list")["functions"]}
        return [(functions[name]["on_cpu_ns"] / 1e6, functions[name]["wait_ns"] / 1e6) for name in names]

    def check_all(self):
        """C and Python call each other, begin calls, and call again and again: what comes back is right, and the core is sound."""
        wanted = {}
        for i in range(6):
            text = b"%d" % i
            wanted[self.send(self.relay, b"relay-py\nrelay-c\necho\n\n" + text)] = text
            wanted[self.send(self.relay_py, b"?relay-c\nrelay-py\n\n" + text)] = b"%d %08x" % (len(text), zlib.crc32(text))
            wanted[self.send(self.relay, b"&9 echo\n")] = b"9 36"
            wanted[self.send(self.fan, json.dumps({"name": "relay-py", "count": 5}).encode())] = b"[0, 1, 2, 3, 4]"
            wanted[self.send(self.line, b"loop 20 line echo " + text)] = text
        answers = self.receive(len(wanted))
        self.assertEqual({number: json.loads(text) if text[:1] == b"[" else text for number, text in answers.items()},
                         {number: json.loads(text) if text[:1] == b"[" else text for number, text in wanted.items()})  # fmt: skip
        self.node.wait_idle()

    def test_calls(self):
        self.check_all()
        self.assertEqual(self.node.status()["agents"]["calls_direct"], 0)  # call by call here, or nobody would be billed

    def test_calls_while_cores_are_lent(self):
        self.node.set("--lend", "on")
        self.check_all()

    def test_a_core_whose_callee_sleeps_is_lent(self):
        for begin in (b"held\n", b"relay-py\nheld\n"):
            self.node.set("--lend", "on")
            gate, tag = self.gate(), self.prefix + "%d" % len(begin)
            long = self.send(self.relay, begin + b"%s %s" % (tag.encode(), gate.encode()))
            self.node.wait_begun(tag, 1)
            short = self.send(self.echo, b"\nshort")
            self.assertEqual(self.receive(1), {short: b"short"})
            self.assertEqual(self.node.problems(), [])
            self.node.set("--lend", "off")
            late = self.send(self.echo, b"\nlate")
            self.node.wait_pending(1)
            self.assertIsNone(self.client.receive(0.3))
            self.node.open(gate)
            self.assertEqual(list(self.receive(2)), [long, late])

    def test_a_core_whose_callee_computes_or_is_started_is_not_lent(self):
        """Its caller sleeps, but that is not the point."""
        self.node.set("--lend", "on")
        for name, event in (("slow", 0), ("burn", 500)):
            self.send(self.caller, json.dumps({"name": "burn", "event": 0}).encode())  # warm
            self.receive(1)
            self.node.wait_idle()
            long = self.send(self.caller, json.dumps({"name": name, "event": event}).encode())
            harness.wait_until(lambda: self.node.status()["cores"][0]["state"] == "running", "it runs")
            short = self.send(self.echo, b"\nshort")
            self.assertEqual(list(self.receive(2)), [long, short], name)

    def test_each_function_is_billed_what_it_used(self):
        for lend in ("off", "on"):
            self.node.set("--lend", lend)
            self.send(self.caller, json.dumps({"name": "burn", "event": 0}).encode())  # warm
            self.receive(1)
            self.node.wait_idle()
            before = self.used_ms("caller", "burn")
            self.send(self.caller, json.dumps({"name": "burn", "event": 1000}).encode())
            self.receive(1)
            self.node.wait_idle()
            (caller, caller_wait), (burn, _) = (
                [now - was for now, was in zip(*pair)] for pair in zip(self.used_ms("caller", "burn"), before))  # fmt: skip
            self.assertGreater(burn, 990)
            self.assertLess(caller, 300)  # a virtual CPU is slow
            self.assertLess(caller_wait, 300)

    def test_a_function_does_not_inherit_the_bill_of_another(self):
        used = []
        for name in ("first", "second"):
            function = self.node.deploy(name, "python", "burn.handler", {"burn.py": BURN}, timeout_ms=120000)
            self.assertEqual(self.used_ms(name), [(0, 0)])
            self.send(function, b"0" if used else b"2000")
            self.receive(1)
            self.node.wait_idle()
            used.append((function % 4096, self.used_ms(name)[0][0]))
            self.node.cli("remove", name)
        self.assertEqual(used[0][0], used[1][0], "slots of wc_functions")
        self.assertGreater(used[0][1], 1990)
        self.assertLess(used[1][1], 1990)


if __name__ == "__main__":
    if not os.path.exists(STATE):
        harness.skip("this kernel has no sched_ext")
    harness.main()
