#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Objects, streams and cancelling (docs/CALLS.md) by the API of each runtime, from each to each. functions/state.py says what the functions do;
test_workflow_state.py has what the node does of it."""

import itertools
import json
import os
import unittest

import harness

RUNTIMES = ("state-py", "state-js", "state-c")


def source(file):
    return os.path.join(harness.PROBES, file)


class Api(harness.NodeTest):
    TAG = "state-api"
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        more = {"timeout_ms": 120000, "memory_mb": 512}
        cls.main = cls.node.deploy("state-py", "python", "state.handler", {"state.py": source("state.py")}, **more)
        cls.node.deploy("state-js", "node", "state.handler", {"state.js": source("state.js")}, **more)
        cls.node.deploy("state-c", "native", "state.so", {"state.so": harness.native_function("state")}, **more)
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def run_steps(self, *steps, together=False):
        """(function, what, name, others) each, of one workflow."""
        steps = [(function, {"do": do, "name": name, "kind": "json", "count": 0, "size": 0, **others}) for function, do, name, others in steps]
        event = {"do": "main", "steps": steps, "together": together}
        answer = self.client.invoke(self.main, json.dumps(event).encode(), seconds=130)
        return json.loads(self.assert_reply(answer).payload)

    def tearDown(self):
        self.node.wait_idle()
        self.assertEqual(self.node.problems(), [])

    def test_objects(self):
        for (one, other), kind, size in itertools.product(itertools.product(RUNTIMES, RUNTIMES), ("json", "bytes"), (0, 100000)):
            with self.subTest(one=one, other=other, kind=kind, size=size):
                form = {"kind": kind, "size": size}
                self.assertEqual(
                    self.run_steps(
                        (one, "put", "o", {"count": 1, **form}), (one, "put", "o", {"count": 42, **form}), (other, "get", "o", form),
                        (other, "delete", "o", {}), (one, "kind", "o", {"what": "get"}), (other, "kind", "o", {"what": "delete"}),
                        (other, "kind", "", {"what": "get"}), (one, "kind", "x", {"what": "put", "size": 6500000}),
                    ),
                    [None, None, [42, True], None, "Node.NoObject", "Node.NoObject", "Node.BadCall",
                     {"state-py": "OSError", "state-js": "RangeError", "state-c": "NotSent"}[one]],
                )  # fmt: skip

    def test_streams(self):
        """More messages than a stream has room for, and large ones."""
        for (one, other), (kind, count, size) in itertools.product(
            itertools.product(RUNTIMES, RUNTIMES), (("json", 1000, 5), ("bytes", 1000, 0), ("bytes", 30, 1000000))
        ):
            with self.subTest(one=one, other=other, kind=kind, count=count, size=size):
                form = {"kind": kind, "count": count, "size": size}
                for steps in (((one, "produce", "s", form), (other, "consume", "s", {})), ((other, "consume", "s", {}), (one, "produce", "s", form))):
                    results = self.run_steps(*steps, together=True)
                    self.assertCountEqual(map(json.dumps, results), map(json.dumps, [count, [count, True]]))

    def test_many(self):
        """Several producers and consumers of one stream: each message once; who closes it is known only when all have sent."""
        form = {"kind": "json", "count": 200, "size": 0}
        results = self.run_steps(*((runtime, "consume", "s", form) for runtime in RUNTIMES), ("state-py", "produce", "s", form), together=True)
        self.assertEqual(sum(result[0] for result in results[:3]), 200)
        self.assertTrue(all(result[1] for result in results[:3]), results)

    def test_closed(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime=runtime):
                self.assertEqual(
                    self.run_steps(
                        (runtime, "kind", "s", {"what": "consume"}), (runtime, "close", "s", {}), (runtime, "close", "s", {}),
                        (runtime, "kind", "s", {"what": "produce", "count": 1}), (runtime, "consume", "s", {}),
                    ),
                    ["Node.StreamStalled", None, None, "Node.StreamClosed", [0, True]],
                )  # fmt: skip

    def test_attempts(self):
        for runtime in ("state-py", "state-c"):
            with self.subTest(runtime=runtime):
                self.assertEqual(
                    self.run_steps((runtime, "attempt", "s", {}), ("state-py", "produce", "s", {"count": 1}), (runtime, "attempt", "s", {}),
                                   (runtime, "attempt", "s", {})),
                    ["would wait", 1, 0, "end"],
                )  # fmt: skip

    def test_cancel(self):
        for one, other in itertools.product(RUNTIMES, RUNTIMES):
            with self.subTest(one=one, other=other):
                self.assertEqual(self.run_steps((one, "cancel", other, {})), ["Node.Cancelled"])

    def test_python(self):
        self.assertEqual(self.run_steps(("state-py", "special", "", {})),
                         [[5, None, None, 11, 11, sum(range(256)), "end", "TypeError", "ValueError", "bc", "warmcore.Stream('special')"]])  # fmt: skip

    def test_node(self):
        self.assertEqual(self.run_steps(("state-js", "special", "state-c", {})),
                         [[1, 2, 3, True, 2, 0, True, "TypeError", "RangeError", "RangeError", "RangeError"]])  # fmt: skip


class OneCore(Api):
    """Producers and consumers take turns."""

    TAG = "state-api1"
    OPTIONS = ("--cores", "0")


if __name__ == "__main__":
    harness.main()
