#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The workflow sort: numpy arrays of many kinds, sorted by a map, a shuffle and another map, against numpy in one process."""

import json
import os
import subprocess

import harness
import wcproto
import workflows


class Sort(harness.NodeTest):
    TAG = "wsort"
    OPTIONS = ("--cores", "0-1")
    ELEMENTS = 2000000  # 16 MB, nearly three payloads

    def make(self, expression, name="in.npy"):
        path = os.path.join(self.node.shared, name)
        code = "import numpy as np, sys; np.random.seed(5); np.save(sys.argv[1], %s)" % expression
        subprocess.run([workflows.PYTHON, "-c", code, path], check=True)
        os.chmod(path, 0o644)

    def sort(self, *options, check=True):
        return workflows.driver(self.node, "sort", "--folder", self.node.shared, *options, check=check)

    def test_large(self):
        said = self.sort("--elements", self.ELEMENTS, "--check")
        self.assertIn("%d numbers (16.0 MB)" % self.ELEMENTS, said)
        self.assertIn("the same as numpy.sort() in one process", said)

    def test_kinds(self):
        """Of each type, with what is special in it, already sorted, backwards, and in few or many parts."""
        for expression, parts in (("np.random.randint(-1 << 62, 1 << 62, 50000)", 7), ("np.random.randint(0, 255, 100000).astype(np.uint8)", 32),
                                  ("np.random.randn(70001).astype(np.float32)", 1), ("np.arange(60000.)", 5), ("np.arange(60000.)[::-1]", 5),
                                  ("np.where(np.arange(40000) % 3, np.random.randn(40000), np.nan)", 8), ("np.full(30000, 7)", 4), ("np.full(1200000, 7)", 4),
                                  ("np.append(np.random.randn(9000), [np.inf, -np.inf] * 500)", 3), ("np.ones(1)", 16)):  # fmt: skip
            with self.subTest(expression=expression):
                self.make(expression)
                self.assertIn("the same as numpy.sort()", self.sort("--input", "in.npy", "--parts", parts, "--check"))

    def test_refused(self):
        """One line says why, and there is no output, not half of one either."""
        self.make("np.zeros((3, 3))")
        cases = [(("--input", "in.npy"), "a row of numbers"), (("--input", "none.npy"), "No such file")]
        self.make("np.array(['a', 'b'])", "text.npy")
        self.make("np.zeros(0)", "empty.npy")
        self.make("np.zeros(1000)", "good.npy")
        self.make("np.full(9000000, 1.)", "equal.npy")
        with open(os.path.join(self.node.shared, "junk.npy"), "wb") as file:
            file.write(b"junk" * 100)
        cases += [(("--input", "text.npy"), "a row of numbers"), (("--input", "empty.npy"), "a row of numbers"), (("--input", "junk.npy"), "is no array"),
                  (("--input", "good.npy", "--parts", 33), "parts is 1 to 32"), (("--input", "equal.npy"), "too many of them are equal"),
                  (("--elements", -1), "0 to 2^30")]  # fmt: skip
        for options, why in cases:
            status, said, errors = self.sort(*options, "--output", "refused.npy", check=False)
            self.assertEqual((status, said), (1, ""), errors)
            self.assertIn(why, errors)
            self.assertFalse([name for name in os.listdir(self.node.shared) if name.startswith("refused")], why)

    def test_worker_fails(self):
        """A map that throws: the client reads what it was, and the next sort is as good as ever."""
        self.make("np.random.randn(10000)")
        self.sort("--input", "in.npy")
        self.node.deploy("sort-merge", "python", "m.f", {"m.py": b"def f(event, context):\n    raise OSError('the disk is full')\n"}, event="binary")
        functions = {f["name"]: f["id"] for f in self.node.json("list")["functions"]}
        self.make("np.zeros(10000)", "out.npy")
        event = {"input": os.path.join(self.node.shared, "in.npy"), "output": os.path.join(self.node.shared, "out.npy")}
        with self.node.client() as client:
            error = self.assert_error(client.invoke(functions["sort"], json.dumps(event).encode()), wcproto.FUNCTION)
            self.assertIn("the disk is full", error["errorMessage"])
        self.assertIn("the same as", self.sort("--input", "in.npy", "--check"))


class OneCore(Sort):
    TAG = "wsort1"
    OPTIONS = ("--cores", "0")
    test_refused = test_worker_fails = None


if __name__ == "__main__":
    if not workflows.imports("numpy"):
        harness.skip("%s has no numpy (python3-numpy)" % workflows.PYTHON)
    harness.main()
