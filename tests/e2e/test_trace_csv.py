#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# parallel-safe
"""bench_warmness --csv: files in the format of the Azure Functions data set of 2019 give the calls that are in them, and nothing else does."""

import collections
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

import harness

PROGRAM = os.path.join(harness.BUILD, "tests", "bench", "bench_warmness")
MINUTES = 1440
HEADER = "HashOwner,HashApp,HashFunction,Trigger," + ",".join(map(str, range(1, MINUTES + 1)))
TRIGGERS = ("http", "timer", "queue", "event", "orchestration", "storage", "others")


def digest(*what):
    return hashlib.sha256(repr(what).encode()).hexdigest()


def row(number, calls, trigger="http"):
    return ",".join((digest("owner", number // 4), digest("app", number // 2), digest("function", number), trigger, *map(str, calls)))


def day(seed, functions=40):
    """Rows like those of the data set: most functions are rare, some are called by a timer, a few nearly all the time."""
    choose = random.Random(seed)
    rows = {}
    for number in range(functions):
        calls = [0] * MINUTES
        if number % 5 == 0:  # a timer
            period = choose.choice((5, 15, 60))
            for minute in range(number % period, MINUTES, period):
                calls[minute] = 1
        elif number % 7 == 0:
            calls = [choose.randrange(4) for _ in range(MINUTES)]
        else:
            for _ in range(choose.randrange(1, 30)):
                calls[choose.randrange(MINUTES)] += 1
        if any(calls):
            rows[number] = calls
    return rows


class TraceCsv(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.files = 0

    def write(self, *lines, end="\n"):
        self.files += 1
        path = os.path.join(self.folder, "invocations_per_function_md.anon.d%02d.csv" % self.files)
        with open(path, "w", newline="") as file:
            file.write("".join(line + end for line in lines))
        return path

    def run_on(self, *paths, more=()):
        arguments = [part for path in paths for part in ("--csv", path)]
        return subprocess.run([PROGRAM, *arguments, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, text=True)

    def trace(self, *paths):
        """How many calls each function has in each minute."""
        target = os.path.join(self.folder, "trace")
        done = self.run_on(*paths, more=("--cap", "36000", "--trace", target))
        self.assertEqual(done.returncode, 0, done.stderr)
        counts = collections.defaultdict(collections.Counter)
        with open(target) as file:
            for line in file:
                at, function, takes = map(int, line.split())
                self.assertGreater(takes, 0)
                counts[function][at // 60000] += 1
        return [dict(counts[function]) for function in sorted(counts)]

    def expect(self, *days):
        """The same of the rows, in the order in which functions come first."""
        found = {}
        for index, rows in enumerate(days):
            for number, calls in rows.items():
                of = found.setdefault(number, {})
                for minute, count in enumerate(calls):
                    if count:
                        of[index * MINUTES + minute] = of.get(index * MINUTES + minute, 0) + count
        return list(found.values())

    def test_two_days(self):
        days = day(1), day(2, functions=45)
        paths = [self.write(HEADER, *(row(number, calls, TRIGGERS[number % 7]) for number, calls in rows.items())) for rows in days]
        self.assertEqual(self.trace(*paths), self.expect(*days))
        output = os.path.join(self.folder, "figures.jsonl")
        done = self.run_on(*paths, more=(output,))
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(output) as file:
            figures = {line["name"]: line for line in map(json.loads, file)}
        calls = sum(sum(min(n, 4) for n in of.values()) for of in self.expect(*days))  # 240 an hour are 4 in a minute
        self.assertEqual({line["calls"] for line in figures.values()}, {calls})
        self.assertLess(figures["warmness_sim_hybrid_same_memory"]["value"], figures["warmness_sim_fixed_10min"]["value"])

    def test_rows_of_one_function(self):
        """A function with two triggers is one function, in whatever order its rows come."""
        one, two, other = [0] * MINUTES, [0] * MINUTES, [0] * MINUTES
        one[3], one[1439], two[3], two[0], other[7] = 1, 2, 3, 4, 5
        path = self.write(HEADER, row(1, one), row(2, other), row(1, two, "timer"))
        self.assertEqual(self.trace(path), [{0: 4, 3: 4, 1439: 2}, {7: 5}])

    def test_first_functions(self):
        rows = day(3)
        path = self.write(HEADER, *(row(number, calls) for number, calls in rows.items()))
        done = self.run_on(path, more=("--functions", "7", "--cap", "36000", "--rule", "fixed:10"))
        self.assertEqual(json.loads(done.stdout)["calls"], sum(sum(calls) for calls in list(rows.values())[:7]))

    def test_minutes(self):
        """The trace ends where it is told to, also in the middle of a file."""
        rows = day(4)
        path = self.write(HEADER, *(row(number, calls) for number, calls in rows.items()))
        done = self.run_on(path, more=("--minutes", "100", "--cap", "36000", "--rule", "fixed:10"))
        self.assertEqual(json.loads(done.stdout)["calls"], sum(sum(calls[:100]) for calls in rows.values()))

    def test_line_ends(self):
        calls = [1] + [0] * 1439
        self.assertEqual(self.trace(self.write(HEADER, row(1, calls), end="\r\n")), [{0: 1}])
        path = self.write(HEADER, row(1, calls))
        with open(path, "rb+") as file:  # no newline at the end
            file.truncate(os.path.getsize(path) - 1)
        self.assertEqual(self.trace(path), [{0: 1}])

    def test_refused(self):
        zeros = [0] * MINUTES
        good = row(1, zeros)
        with_minute = lambda text: row(1, [text if minute == 2 else 0 for minute in range(MINUTES)])  # noqa: E731
        cases = (
            ((), 1, "the file is empty"),
            ((HEADER,), 2, "there is no function"),
            ((good,), 1, "this is no such header"),
            ((HEADER[:-5],), 1, "the header's minutes are others"),
            ((HEADER + ",1441",), 1, "the header's minutes are others"),
            ((HEADER.replace(",7,", ",8,"),), 1, "the header's minutes are others"),
            ((HEADER, good, with_minute("-1")), 3, '"-1" in minute 3 is not a number of calls'),
            ((HEADER, with_minute("+1")), 2, '"+1" in minute 3'),
            ((HEADER, with_minute(" 1")), 2, '" 1" in minute 3'),
            ((HEADER, with_minute("1.5")), 2, '"1.5" in minute 3'),
            ((HEADER, with_minute("")), 2, '"" in minute 3'),
            ((HEADER, with_minute("nan")), 2, '"nan" in minute 3'),
            ((HEADER, with_minute("0x1")), 2, '"0x1" in minute 3'),
            ((HEADER, with_minute("4294967296")), 2, '"4294967296" in minute 3'),
            ((HEADER, with_minute("9" * 40)), 2, '"' + "9" * 16 + '" in minute 3'),
            ((HEADER, good, good, good[:-2]), 4, "there are 1439 numbers of calls"),
            ((HEADER, good + ",0"), 2, "there are more numbers than a day has minutes"),
            ((HEADER, good + ","), 2, "there are more numbers than a day has minutes"),
            ((HEADER, good, ""), 3, "one of owner, application, function and trigger is missing"),
            ((HEADER, "a,b"), 2, "one of owner, application, function and trigger is missing"),
            ((HEADER, ",b,c,http," + ",".join("0" * MINUTES)), 2, "is missing, empty or too long"),
            ((HEADER, "a,b,c,," + ",".join("0" * MINUTES)), 2, "is missing, empty or too long"),
            ((HEADER, "a,b," + "c" * 600 + ",http," + ",".join("0" * MINUTES)), 2, "is missing, empty or too long"),
            ((HEADER, good + "\0"), 2, "the line has a byte 0"),
            ((HEADER, "x" * 100000), 2, "the line is too long"),
        )
        for lines, number, says in cases:
            with self.subTest(says=says, line=number):
                path = self.write(*lines)
                target = os.path.join(self.folder, "none")
                done = self.run_on(path, more=("--trace", target))
                self.assertEqual(done.returncode, 1)
                self.assertIn("%s:%d: " % (path, number), done.stderr)
                self.assertIn(says, done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertFalse(os.path.exists(target))
        for path in (os.path.join(self.folder, "not-there"), self.folder):
            done = self.run_on(path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot read " + path, done.stderr)

    def test_second_file(self):
        """The file is named that is wrong, and nothing is simulated of the others."""
        done = self.run_on(self.write(HEADER, row(1, [1] * MINUTES)), self.write(HEADER, "x"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("d02.csv:2: ", done.stderr)


if __name__ == "__main__":
    if not os.access(PROGRAM, os.X_OK):
        print(PROGRAM + " is not built")
        sys.exit(1)
    unittest.main(verbosity=2)
