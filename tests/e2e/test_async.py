#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# parallel-safe
"""kill -9 of the owner of asynchronous invocations at random moments: each that was accepted ends well or as a dead letter.

The owner is tests/e2e/async_node.c: the real store and engine with a fake executor. ASYNC_KILLS, ASYNC_ACCEPTS and ASYNC_SEED
choose how much and which moments; a failure prints the seed.
"""

import collections
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

PROGRAM = os.path.join(os.environ.get("WARMCORE_BUILD", "build"), "tests/e2e/async_node")
ACCEPTS = int(os.environ.get("ASYNC_ACCEPTS", "20000"))  # at least so many,
KILLS = int(os.environ.get("ASYNC_KILLS", "20"))  # and so many kills
SEED = int(os.environ.get("ASYNC_SEED", "1"))


class Owner:
    """One life of the program; its lines are counted as they come, until the pipe ends with it."""

    def __init__(self, test, *arguments):
        self.test = test
        self.process = subprocess.Popen([PROGRAM, test.folder, *arguments], stdout=subprocess.PIPE, text=True)
        self.accepted = 0
        self.ended = False
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if not line.endswith("\n"):
                self.test.cut += 1
                continue
            kind, _, rest = line.rstrip("\n").partition(" ")
            identity, _, more = rest.partition(" ")
            if kind == "A":
                self.test.accepted[identity] = more
                self.accepted += 1
            elif kind == "R":
                self.test.succeeded[identity] += 1
            elif kind == "S":
                self.test.delivered[identity] += 1
            elif kind == "D":
                self.test.dead[identity] = more
            elif kind == "E":
                self.ended = True

    def kill(self):
        self.process.kill()
        self.reader.join()
        self.process.stdout.close()
        return self.process.wait()


class Kill(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="warmcore-async-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.accepted = {}  # id: fate
        self.succeeded, self.delivered = collections.Counter(), collections.Counter()
        self.dead = {}  # id: reason
        self.cut = 0

    def live_and_die(self, moments, number):
        """Until it has accepted something, and a random while longer."""
        owner = Owner(self, "accept", str(SEED * 1000 + number))
        try:
            while not owner.accepted and owner.process.poll() is None:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.2))
        finally:
            status = owner.kill()
        self.assertEqual(status, -9, "it ended by itself (seed %d)" % SEED)

    def test_nothing_is_lost(self):
        moments = random.Random(SEED)
        kills = 0
        while kills < KILLS or len(self.accepted) < ACCEPTS:
            self.live_and_die(moments, kills)
            kills += 1
        for _ in range(3):  # it dies while it makes up for it, too
            owner = Owner(self, "drain")
            time.sleep(moments.uniform(0.05, 0.3))
            owner.kill()
        owner = Owner(self, "drain")
        owner.reader.join()
        owner.process.stdout.close()
        self.assertEqual(owner.process.wait(), 0)
        self.assertTrue(owner.ended)
        self.check(kills)

    def check(self, kills):
        fates = collections.Counter(self.accepted.values())
        lost = [i for i in self.accepted if i not in self.succeeded and i not in self.dead]
        again = sum(1 for n in self.succeeded.values() if n > 1)
        print("seed %d: %d kills, %d accepted, %d ended well, %d dead letters, %d ran more than once"
              % (SEED, kills, len(self.accepted), len(self.succeeded), len(self.dead), again))
        self.assertEqual(lost, [], "lost")
        self.assertEqual(self.cut, 0)
        for fate in ("ok", "twice", "fail", "busy", "gone", "later", "sent"):
            self.assertGreater(fates[fate], 0)
        for identity, fate in self.accepted.items():
            with self.subTest(identity=identity, fate=fate):
                if fate in ("fail", "gone"):
                    reason = {"fail": "attempts exhausted", "gone": "function removed"}[fate]
                    self.assertEqual(self.dead.get(identity), reason)
                    self.assertNotIn(identity, self.succeeded)
                else:
                    self.assertNotIn(identity, self.dead)
                if fate == "sent":
                    self.assertGreater(self.delivered[identity], 0, "its callback was never called")


if __name__ == "__main__":
    unittest.main()
