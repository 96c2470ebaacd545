#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# parallel-safe
"""bench_warmness, the simulation, beside a model of a fixed keep-alive in twenty lines of its own; and what must hold of any rule."""

import collections
import json
import os
import subprocess
import sys
import tempfile
import unittest

import harness

PROGRAM = os.path.join(harness.BUILD, "tests", "bench", "bench_warmness")
MINUTE = 60000


def fixed(calls, minutes, keep, start, more):
    """Of one function: cold starts by reason, and for how long its instances idle, in ms."""
    free, counts, idle = [], collections.Counter(), 0  # free: when each instance will be, or was
    for number, (at, takes) in enumerate(calls):
        idle += sum(keep for end in free if end + keep < at)
        free = [end for end in free if end + keep >= at]
        ready = [end for end in free if end <= at]
        end = at + takes + more
        if ready:
            free.remove(max(ready))
            idle += at - max(ready)
        else:
            counts["first" if not number else "burst" if free else "expired"] += 1
            end += start
        free.append(end)
    idle += sum(max(0, min(keep, minutes * MINUTE - end)) for end in free)
    return counts, idle


class Simulation(unittest.TestCase):
    TRACE = ("--functions", "150", "--days", "3", "--cap", "60", "--seed", "8")

    def rules(self, *arguments, trace=TRACE):
        done = subprocess.run([PROGRAM, *trace, *arguments], stdout=subprocess.PIPE, check=True, timeout=300)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def calls(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace")
            subprocess.run([PROGRAM, *self.TRACE, *arguments, "--trace", path], check=True, timeout=300)
            functions = collections.defaultdict(list)
            with open(path) as file:
                for line in file:
                    at, function, takes = map(int, line.split())
                    functions[function].append((at, takes))
        return functions

    def test_fixed(self):
        minutes = 2000
        functions = self.calls("--minutes", str(minutes))
        self.assertLess(max(at for calls in functions.values() for at, _ in calls), minutes * MINUTE)
        for keep, start, more in ((10, 0, 0), (2.5, 0, 0), (10, 3000, 0), (30, 700, 450)):
            with self.subTest(keep=keep, start=start, more=more):
                counts, idle = collections.Counter(), 0
                for calls in functions.values():
                    of, time = fixed(calls, minutes, int(keep * MINUTE), start, more)
                    counts += of
                    idle += time
                found = self.rules("--minutes", str(minutes), "--start-ms", str(start), "--call-ms", str(more), "--rule", "fixed:%s" % keep)[0]
                self.assertEqual({reason: found[reason] for reason in ("first", "expired", "burst", "early")}, {**counts, "early": 0})
                self.assertEqual(found["cold"], sum(counts.values()))
                self.assertEqual(found["calls"], sum(map(len, functions.values())))
                self.assertAlmostEqual(found["idle_minutes"], idle / MINUTE, delta=0.2)

    def test_rules(self):
        base, same, long, off = self.rules("--rule", "fixed:10", "--rule", "hybrid:same", "--rule", "hybrid:200", "--rule", "off:1")
        self.assertLessEqual(same["idle_minutes"], base["idle_minutes"])
        self.assertGreater(same["idle_minutes"], 0.99 * base["idle_minutes"])
        self.assertLess(same["cold"], base["cold"])
        self.assertGreater(same["prewarms"], 0)
        self.assertLess(long["cold"], same["cold"])
        self.assertGreater(long["idle_minutes"], same["idle_minutes"])
        self.assertEqual((off["expired"], off["early"], off["prewarms"]), (0, 0, 0))
        for found in (base, same, long, off):
            self.assertEqual(found["cold"], sum(found[reason] for reason in ("first", "expired", "early", "burst")))
            self.assertLessEqual(found["wasted"], found["prewarms"])
            self.assertEqual(found["first"], base["first"])

    def test_refused(self):
        for wrong in (("--rule", "hybrid:same"), ("--rule", "fixed"), ("--rule", "fixed:0"), ("--rule", "fixed:-1"), ("--rule", "fixed:nan"),
                      ("--rule", "fixed:10x"), ("--rule", "lru:10"), ("--minutes", "0"), ("--start-ms", "60001"), ("--call-ms", "x"),
                      ("--rule", "fixed:1") * 17):  # fmt: skip
            with self.subTest(wrong=wrong):
                done = subprocess.run([PROGRAM, *wrong], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
                self.assertEqual((done.returncode, done.stdout), (2, b""))
                self.assertIn(b"Usage: bench_warmness", done.stderr)


if __name__ == "__main__":
    if not os.access(PROGRAM, os.X_OK):
        print(PROGRAM + " is not built")
        sys.exit(1)
    unittest.main(verbosity=2)
