#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The real daemon on a kernel with sched_ext: who places threads, what the kernel counts, and what happens when it stops.

Skipped on kernels without sched_ext; tests/vm/e2e.sh runs it on such a kernel.
"""

import os
import signal
import subprocess
import time
import unittest

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


class SchedUser(Sched):
    USER = True


if __name__ == "__main__":
    if not os.path.exists(STATE):
        harness.skip("this kernel has no sched_ext")
    harness.main()
