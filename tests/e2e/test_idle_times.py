#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What was learned of functions' idle times is there again after a restart, and after kill -9; a file that is no such thing is put aside."""

import os
import struct
import sys

import gates
import harness
import wcproto

BIN_MS = 5
CALLS = 12


class IdleTimes(harness.NodeTest):
    TAG = "idl"
    SAVE = "0"
    OPTIONS = ("--keep-alive-bin-ms", str(BIN_MS), "--datapath", "user")

    @classmethod
    def setUpClass(cls):
        pass  # each test has a node of its own

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        self.node = gates.Node(self.TAG, *self.OPTIONS, "--port", harness.free_port(), "--keep-alive-save-s", self.SAVE)
        self.addCleanup(self.node.close)
        self.path = os.path.join(self.node.state, "idle-times")

    def learn(self, function, calls=CALLS):
        with self.node.client() as client:
            for number in range(calls):
                self.assertEqual(client.invoke(function, b"tag%d" % number).kind, wcproto.REPLY)

    def known(self, name):
        found = self.node.json("warmth", name)["functions"][0]
        return {key: found[key] for key in ("idle_times", "more_idle_times", "why", "keep_ms", "prewarm_ms")}

    def nothing_known(self, name):
        found = self.known(name)["idle_times"]
        return found["within"] + found["beyond"] == 0

    def log(self):
        with open(os.path.join(self.node.state, "daemon.log"), errors="replace") as file:
            return file.read()


class Restart(IdleTimes):
    def test_restart(self):
        """Nothing is lost, only calls add to it, and what is not deployed any more is gone."""
        self.node.up()
        ids = {name: self.node.native(name) for name in ("one", "two", "gone")}
        for name in ids:
            self.learn(ids[name])
        before = {name: self.known(name) for name in ids}
        for name in ids:
            self.assertEqual(before[name]["idle_times"]["within"] + before[name]["idle_times"]["beyond"], CALLS - 1)
        self.assertFalse(os.path.exists(self.path), "it is written when the node stops")
        self.node.down()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.node.up()
        self.assertEqual({name: self.known(name) for name in ids}, before)
        self.assertIn("idle times of 3 functions are known from before", self.log())
        self.learn(ids["one"], 3)  # of the first call after a start no idle time is known
        found = self.known("one")["idle_times"]
        self.assertEqual(found["within"] + found["beyond"], CALLS - 1 + 2)
        before["one"] = self.known("one")
        self.assertEqual(self.node.native("two", memory_mb=129), ids["two"])  # a deployment of the same name keeps it
        self.node.cli("remove", "gone")
        self.assertNotEqual(self.node.native("gone"), ids["gone"])
        self.assertTrue(self.nothing_known("gone"), "another function of the same name")
        self.node.down()
        self.node.up()
        self.assertEqual({name: self.known(name) for name in ("one", "two")}, {name: before[name] for name in ("one", "two")})
        self.assertTrue(self.nothing_known("gone"))
        self.node.down()
        self.node.check_nothing_left()

    def test_nothing_changed(self):
        """A restart without a call writes the same bytes."""
        self.node.up()
        self.learn(self.node.native("one"))
        self.node.down()
        with open(self.path, "rb") as file:
            before = file.read()
        self.node.up()
        self.node.down()
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_other_bins(self):
        self.node.up()
        self.learn(self.node.native("one"))
        self.node.down()
        self.node.up("--keep-alive-bin-ms", str(2 * BIN_MS))
        self.assertTrue(self.nothing_known("one"))
        self.assertIn("learned anew: those of before are in bins of %d ms, now bins have %d ms" % (BIN_MS, 2 * BIN_MS), self.log())

    def test_not_such_a_file(self):
        """The node comes up, says what is wrong and where the file is now, and learns anew; the next restart keeps that."""
        self.node.up()
        function = self.node.native("one")
        self.learn(function)
        self.node.down()
        with open(self.path, "rb") as file:
            good = file.read()
        damaged = bytearray(good)
        damaged[len(good) // 2] ^= 1
        cases = (("", "of 56 to"), (good[:-1], "its SHA-256 is another"), (good[:60], "its SHA-256 is another"),
                 (bytes(damaged), "its SHA-256 is another"), (b"HashOwner,HashApp,HashFunction,Trigger\n" * 9, "not a file of idle times"),
                 (good[:8] + struct.pack("<I", 7) + good[12:], "of version 7, this daemon reads version 1"),
                 (b"\0" * (7 << 20), "not a regular file of"), (os.mkdir, "not a regular file"),
                 (lambda path: os.symlink("/etc/passwd", path), "cannot read it"), (os.mkfifo, "not a regular file"))  # fmt: skip
        for content, says in cases:
            with self.subTest(says=says):
                for path in (self.path, self.path + ".refused"):
                    os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.path.lexists(path) and os.unlink(path)
                if callable(content):
                    content(self.path)
                else:
                    with open(self.path, "wb") as file:
                        file.write(content or b"")
                seen = len(self.log())
                self.node.up()
                line = next(line for line in self.log()[seen:].splitlines() if "idle times" in line)
                self.assertIn("learned anew", line)
                self.assertIn(says, line)
                self.assertIn("renamed to %s.refused" % self.path, line)
                self.assertTrue(os.path.lexists(self.path + ".refused"))
                self.assertTrue(self.nothing_known("one"))
                self.learn(function)
                before = self.known("one")
                self.node.down()
                self.assertEqual(os.path.islink(self.path), False)
                self.node.up()
                self.assertEqual(self.known("one"), before)
                self.node.down()

    def test_cannot_be_written(self):
        """A node that cannot write it says so, and stops all the same; what was written before is left."""
        self.node.up()
        function = self.node.native("one")
        self.learn(function)
        self.node.down()
        with open(self.path, "rb") as file:
            before = file.read()
        os.mkdir(self.path + ".new")
        self.node.up()
        self.learn(function)
        self.node.down()
        self.assertIn("idle times of functions would be forgotten with a restart: cannot create", self.log())
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(), before)
        self.node.check_nothing_left()


class Kill(IdleTimes):
    SAVE = "1"

    def test_kill9(self):
        """What was written last is there; nothing of it is damaged by the kill, however often."""
        self.node.up()
        function = self.node.native("one")
        for _ in range(3):
            self.learn(function)
            before = self.known("one")
            written = os.stat(self.path).st_mtime_ns if os.path.exists(self.path) else 0
            harness.wait_until(lambda: self.saved_after(written), "it is written while the node runs")
            harness.wait_until(lambda: self.settled(), "all of it")
            self.node.kill9()
            self.node.up()
            self.assertEqual(self.known("one"), before)
            self.assertNotIn("learned anew", self.log())

    def saved_after(self, then):
        return os.path.exists(self.path) and os.stat(self.path).st_mtime_ns > then

    def settled(self):
        """The file has as many idle times of the function as the node knows: counted from its two histograms."""
        with open(self.path, "rb") as file:
            data = file.read()
        at = 24 + 4 + 1 + data[28]
        total = 0
        for _ in range(2):
            bins, beyond = struct.unpack_from("<HI", data, at)
            total += beyond + sum(struct.unpack_from("<H", data, at + 6 + 3 * i + 1)[0] for i in range(bins))
            at += 6 + 3 * bins
        known = self.known("one")
        return total == sum(known[key][part] for key in ("idle_times", "more_idle_times") for part in ("within", "beyond"))

    def test_kill9_under_load(self):
        """Killed at any moment, with a write under way or not: the next node takes what it finds, and it is whole."""
        self.node.up()
        functions = [self.node.native("f%d" % i) for i in range(20)]
        for _ in range(4):
            for function in functions:
                self.learn(function, 6)
            self.node.kill9()
            self.node.up()
        harness.wait_until(lambda: os.path.exists(self.path), "it is written")
        self.assertNotIn("learned anew", self.log())
        self.assertFalse(os.path.lexists(self.path + ".refused"))


del IdleTimes

if __name__ == "__main__":
    sys.exit(harness.main(kernel=False))
