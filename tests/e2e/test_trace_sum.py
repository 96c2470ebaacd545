#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`warmcore trace` against a witness that has nothing of warmcore's, and against functions that know how long they took.

The witness (trace_witness.c) is a client that takes its own latency around send(2) and recv(2), and has from the kernel's perf events when its device sent
the request and received the answer. What is left of its latency, without its own way out and back, has to be the sum of the stages."""

import os
import re
import subprocess
import unittest

import harness
from test_trace import STAGES, Trace

WITNESS = os.path.join(harness.BUILD, "tests", "e2e", "trace_witness")
COUNT = 1000  # no more than a core's ring holds: none is lost, however late it is read
NOBODY_ELSE = 0.95  # of the invocations: the witness has both of its events, and no other packet that they could be
UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def quantile(values, q):
    """As the node has it: what so many do not exceed."""
    return sorted(values)[max(0, -int(-len(values) * q // 1) - 1)]


def off(got, right):
    return abs(got - right) / right


class TraceSum(harness.NodeTest):
    TAG = "tracesum"
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        noop = os.path.join(harness.BUILD, "examples", "native", "noop", "noop.so")
        cls.noop = cls.node.deploy("noop", "native", "noop.so", {"noop.so": noop})
        cls.known = cls.node.deploy("known", "native", "known.so", {"known.so": harness.native_function("known")}, event="binary")

    def witness(self, function, count, payload):
        """{request id: (latency, way out, way back, what the function says)}, ns; those that the witness has all of."""
        done = subprocess.run([WITNESS, self.node.address4, str(self.node.port), str(function), str(count), payload],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)  # fmt: skip
        if done.returncode == 77:
            raise unittest.SkipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        seen = {}
        for line in done.stdout.splitlines():
            request, before, sent, received, after, said = line.split()
            before, sent, received, after = int(before), int(sent), int(received), int(after)
            if sent and received:
                seen[request] = (after - before, sent - before, after - received, int(said))
        self.assertGreaterEqual(len(seen), count * NOBODY_ELSE)
        return seen

    def traced(self, function, count, payload="0"):
        """Of each invocation what the witness has and its row; and the report."""
        self.witness(function, 20, payload)  # a warm instance on either core
        with Trace(self.node, "--for", "600", "--meanwhile", "off") as trace:
            seen = self.witness(function, count, payload)
            report = trace.result(end=True)
        rows = {row["request_id"]: row for row in trace.rows()}
        self.assertEqual(len(rows), count)
        self.assertEqual(set(seen) - set(rows), set())
        return [(seen[request], rows[request]) for request in seen], report["functions"][0]["stages_ns"]

    def check_sum(self, what, function, count, payload="0"):
        both, stages = self.traced(function, count, payload)
        rests, latencies, parts, differences = [], [], [], []
        for (latency, out, back, _), row in both:
            total = sum(int(row[stage + "_ns"]) for stage in STAGES)
            self.assertEqual(total, int(row["total_ns"]))
            if (row["first_point"], row["last_point"]) != ("device", "device"):
                continue  # its agent had written it down before the answer was there (docs/TRACE.md): on a busy machine a few
            rests.append(latency - out - back)
            latencies.append(latency)
            parts.append((out + back) / latency)
            differences.append((latency - out - back - total) / latency)
        self.assertGreaterEqual(len(rests), 0.95 * len(both))
        sizes = [abs(difference) for difference in differences]
        print("%s: latency p50 %.1f us, of it the client's own way out and back %.1f %%; that and the stages miss it by %.2f %% (median), %.2f %% (p90), "
              "on average %+.2f %%" % (what, quantile(latencies, 0.5) / 1e3, 100 * quantile(parts, 0.5), 100 * quantile(sizes, 0.5),
                                       100 * quantile(sizes, 0.9), 100 * sum(differences) / len(differences)))  # fmt: skip
        self.assertLessEqual(quantile(sizes, 0.5), 0.02)
        self.assertLessEqual(quantile(sizes, 0.9), 0.02)
        # And so does what was counted, not only what was written down: all of them in --json, though the witness may lack a few.
        self.assertLessEqual(off(stages["total"]["p50"], quantile(rests, 0.5)), 0.02)
        self.assertEqual(sum(stages[stage]["sum"] for stage in STAGES), stages["total"]["sum"])
        if len(both) == count:
            self.assertEqual(stages["total"]["sum"], sum(int(row["total_ns"]) for _, row in both))
        if len(rests) == count:
            self.assertLessEqual(off(stages["total"]["sum"], sum(rests)), 0.02)

    def test_noop(self):
        self.check_sum("no-op", self.noop, COUNT)

    def test_1_ms(self):
        self.check_sum("1 ms", self.known, 300, "1000")

    def test_10_ms(self):
        self.check_sum("10 ms", self.known, 100, "10000")

    def test_table(self):
        """What the table says, to the last figure that it prints."""
        process = subprocess.Popen([harness.WARMCORE, "--node", self.node.name, "trace", "known", "--for", "600"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        try:
            process.stderr.readline()  # from here on nothing is missed
            seen = self.witness(self.known, 300, "1000")
            process.terminate()
            table = process.communicate(timeout=harness.PATIENCE_S)[0]
        finally:
            process.kill()
        rests = [latency - out - back for latency, out, back, _ in seen.values()]
        known = [said for *_, said in seen.values()]
        for stage, right, limit in (("total", rests, 0.02), ("function", known, 0.01)):
            times = re.findall(r"([0-9.]+) (ns|us|ms|s)\b", re.search(r"^ +%s .*$" % stage, table, re.M).group())
            p50, p90, mean = (float(times[i][0]) * UNITS[times[i][1]] for i in (0, 1, 5))
            self.assertLessEqual(off(p50, quantile(right, 0.5)), limit, table)
            self.assertLessEqual(off(p90, quantile(right, 0.9)), limit, table)
            if len(seen) == 300:
                self.assertLessEqual(off(mean, sum(right) / len(right)), limit, table)

    def test_known(self):
        """A function that says how long it took: each row, each quantile and the mean have it, within 1 %."""
        for us, count in ((1000, 300), (3000, 200), (10000, 100)):
            both, stages = self.traced(self.known, count, str(us))
            known = [said for (*_, said), _ in both]
            self.assertGreaterEqual(min(known), us * 1000)
            each = [off(int(row["function_ns"]), said) for (*_, said), row in both]
            print("%d us: the function's own time p50 %.1f us; the stage is off by %.3f %% (median), %.3f %% (p90)"
                  % (us, quantile(known, 0.5) / 1e3, 100 * quantile(each, 0.5), 100 * quantile(each, 0.9)))  # fmt: skip
            self.assertLessEqual(quantile(each, 0.9), 0.01)
            if len(both) < count:
                continue  # a few of those that the quantiles are of are not known
            for name, q in (("p50", 0.5), ("p90", 0.9)):
                self.assertLessEqual(off(stages["function"][name], quantile(known, q)), 0.01, name)
            self.assertLessEqual(off(stages["function"]["sum"], sum(known)), 0.01)


if __name__ == "__main__":
    harness.main()
