#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# parallel-safe
"""warmcore sim: the command line, its outputs beside each other, traces, and what it refuses."""

import csv
import json
import os
import subprocess
import tempfile
import unittest

import harness

PROGRAM = os.path.join(harness.BUILD, "bin", "warmcore")


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, text=True)


class Sim(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def objects(self, *arguments):
        done = run("--json", "sim", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [json.loads(line) for line in done.stdout.splitlines()]

    def file(self, text):
        path = os.path.join(self.folder, "calls")
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_seed(self):
        same = ("--invocations", "20000", "-p", "all", "--cores", "128")
        first, second, other = self.objects(*same), self.objects(*same), self.objects(*same, "--seed", "2")
        for objects in (first, second, other):
            for figures in objects:
                del figures["seconds"]
        self.assertEqual(first, second)
        self.assertEqual(len({figures["policy"] for figures in first}), 13)
        for one, two in zip(first, other):
            self.assertNotEqual(one["response_us_mean"], two["response_us_mean"], one["policy"])
        # all policies got the same invocations
        self.assertEqual(len({round(figures["service_us_mean"], 3) for figures in first if figures["refused"] == 0}), 1)

    def test_csv(self):
        path = os.path.join(self.folder, "figures.csv")
        objects = self.objects("--invocations", "5000", "-p", "central", "-p", "jsq2", "--csv", path)
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["policy"] for row in rows], ["central", "jsq2"])
        for row, figures in zip(rows, objects):
            self.assertEqual(set(row), set(figures))
            for name, value in figures.items():
                if name != "policy":
                    self.assertAlmostEqual(float(row[name]), value, delta=abs(value) * 1e-3 + 1e-3, msg=name)
        done = run("sim", "--invocations", "5000", "--csv", "-")
        self.assertEqual(len(done.stdout.splitlines()), 2)

    def test_trace(self):
        """One core, by hand: the second waits for the first, the third for nobody."""
        path = self.file("# at function takes\n0 0 10\n2.5 1 10\n\n100 0 5\n")
        figures = self.objects("--ideal", "--cores", "1", "--functions", "2", "--trace", path)[0]
        self.assertEqual((figures["arrived"], figures["completed"], figures["cold"]), (3, 3, 2))
        self.assertAlmostEqual(figures["response_us_mean"], (10000 + 17500 + 5000) / 3, delta=0.01)
        self.assertEqual(figures["end_ns"], 105000000)
        fast = self.objects("--ideal", "--cores", "1", "--functions", "2", "--trace", path, "--speed", "100")[0]
        self.assertAlmostEqual(fast["response_us_mean"], (10000 + 19975 + 24000) / 3, delta=0.01)

    def test_synthetic(self):
        figures = self.objects("--days", "1", "--functions", "2000", "--cores", "500", "--invocations", "50000")[0]
        self.assertEqual((figures["arrived"], figures["functions"]), (50000, 2000))
        self.assertGreater(figures["cold"], 500)

    def test_cluster(self):
        """Schedulers that take what the benchmarks say, or the options."""
        costs = self.file('{"name":"cluster_decision_local","value":50,"unit":"us","floor":1}\n'
                          '{"name":"cluster_decision_remote","value":100,"unit":"us","floor":1}\n'
                          '{"name":"cluster_core_free_1","value":100,"unit":"us","floor":1}\n')  # fmt: skip
        cluster = ("--cores", "6401", "--nodes", "6401", "--schedulers", "1", "--arrivals", "poisson:2500", "--invocations", "50000", "--costs", costs)
        figures = self.objects(*cluster)[0]
        self.assertEqual((figures["schedulers"], figures["refused"]), (1, 0))
        # Its own host has one core, which takes 96 of the 2500 a second: 10.4 ms each. These are 50 us, and no CORE_FREE.
        self.assertAlmostEqual(figures["scheduler_busy"], 0.5 - 96 * 150e-6, delta=0.01)
        figures = self.objects(*cluster, "--remote", "800us", "--core-free", "0", "--ring", "10")[0]
        self.assertGreater(figures["scheduler_busy"], 0.95)
        self.assertGreater(figures["refused"], 0)
        self.assertGreater(figures["decision_us_p50"], 800)
        done = run("sim", *cluster)
        self.assertIn("one scheduler is saturated by 5000 invocations a second", done.stdout)

    def test_refused(self):
        bad = self.file("0 0 1\n5 0 x\n")
        back = os.path.join(self.folder, "back")
        with open(back, "w") as file:
            file.write("5 0 1\n4 0 1\n")
        for arguments, status, says in (
            (("-p", "centrall"), 2, "did you mean central"),
            (("--service", "exp"), 2, "--service: 'exp' is no distribution"),
            (("--arrivals", "poisson:-1"), 2, "is no rate"),
            (("--popularity", "zipf"), 2, "is no popularity"),
            (("--cold", "5"), 2, "is no time"),
            (("--cores", "0"), 2, "1 to 4000000"),
            (("--instances", "65535"), 2, "--instances: 65535 is out of range, 1 to 65534 is allowed"),
            (("--cores", "10", "--nodes", "11"), 1, "11 nodes for 10 cores"),
            (("--cores", "10000", "--nodes", "1"), 1, "a node has 1 to 4096 cores"),
            (("--days", "1", "--trace", bad), 2, "exclude each other"),
            (("--schedulers", "2", "-p", "jsq2"), 1, "by central only"),
            (("--schedulers", "3", "--nodes", "2"), 1, "fewer schedulers, or more nodes"),
            (("--schedulers", "5000"), 2, "--schedulers: 5000 is out of range, 0 to 4096 is allowed"),
            (("--costs", bad), 2, bad + ":1: no figure"),
            (("--costs", self.folder + "/none"), 2, "cannot read"),
            (("--costs", bad, "--ideal"), 2, "--costs and --ideal exclude each other"),
            (("--trace", bad, "--arrivals", "poisson:1"), 2, "--arrivals: the trace says"),
            (("--trace", bad), 1, bad + ":2: one of the three is no number"),
            (("--trace", back), 1, back + ":2: this call is before the one above it"),
            (("--trace", self.folder + "/none"), 1, "cannot read"),
            (("--trace", back, "--functions", "1", "--service", "fixed:0"), 1, "before the one above"),
            (("--service", "fixed:0"), 2, "no load"),
            (("--csv", self.folder + "/none/x"), 1, "cannot create"),
            (("--interval", "1us", "--speed", "0"), 2, "--speed"),
            (("surplus",), 2, "unexpected argument"),
        ):
            with self.subTest(arguments=arguments):
                done = run("sim", *arguments)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(says, done.stderr)
                self.assertEqual(done.stdout, "")

    def test_full_disk(self):
        done = run("sim", "--invocations", "1000", "--csv", "/dev/full")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write /dev/full", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
