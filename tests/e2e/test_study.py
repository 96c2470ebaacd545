#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`warmcore study`: a small study of a real node, the simulator and the floor; what it writes; interrupted, killed, gone on with; refused."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import harness

STUDY = """study: tiny
title: A tiny <study>
question: Does it run?
hypothesis: It does.
source: nobody
repetitions: %d
limits: [It measures nothing of interest.]
parts:
  - name: node
    engine: node
    set: {up.cores: "0*4", load.deploy: 1, load.service: "exp:5ms", load.work: sleep, load.warm-up: 100ms, load.duration: 300ms}
    axes:
      policy: {up.policy: [central, random]}
      load: {offered: [0.2]}
  - name: sim
    engine: sim
    set: {sim.ideal: "on", sim.cores: 64, sim.invocations: 20000, sim.functions: 64, sim.popularity: uniform, sim.service: "exp:1ms",
          sim.core-queue: 100000}
    axes:
      policy: {sim.policy: [central, random]}
      load: {offered: [0.5, 0.9]}
claims:
  - {text: one queue is better, that: "slowdown_p99(part=sim, policy=central) < slowdown_p99(policy=random)"}
  - {text: and the other way round it is not, that: "slowdown_p99(part=sim, policy=random) < slowdown_p99(policy=central)"}
plots:
  - {title: "it's a plot", y: slowdown_p99, x: load, at: part = sim, scale: log}
  - {title: by policy, y: latency_p50_us, x: policy, at: part = node}
"""
CELLS = 2 + 4 + 1  # and the floor, which nobody asked for
NODE = "wc-study"


def left():
    """What a study may leave behind, and must not."""
    paths = ["/run/warmcore/" + NODE, "/sys/fs/bpf/warmcore/" + NODE, "/run/netns/warmcore-" + NODE, "/run/netns/warmcore-wc-study-echo",
             "/run/netns/warmcore-wc-study-net", "/var/lib/warmcore/" + NODE]  # fmt: skip
    return [path for path in paths if os.path.exists(path)]


class Study(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="warmcore-e2e-")
        self.addCleanup(shutil.rmtree, self.root, True)
        self.addCleanup(subprocess.run, [harness.WARMCORE, "--node", NODE, "down", "--force"], stdout=subprocess.DEVNULL)
        self.file = self.write(STUDY % 6)

    def write(self, text, name="tiny.yaml"):
        path = os.path.join(self.root, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def command(self, *arguments):
        return [harness.WARMCORE, "--json", "study", *arguments]

    def run_study(self, *arguments, status=0, env=None):
        done = subprocess.run(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.root,
                              timeout=600, env=env, check=False)  # fmt: skip
        self.assertEqual(done.returncode, status, done.stderr + done.stdout)
        return json.loads(done.stdout), done.stderr

    def folder(self, *parts):
        return os.path.join(self.root, "study-tiny", *parts)

    def runs(self):
        names = os.listdir(self.folder("runs")) if os.path.isdir(self.folder("runs")) else []
        return {name: os.stat(self.folder("runs", name)).st_mtime_ns for name in names if name.endswith(".json")}

    def read(self, name):
        with open(self.folder(name), encoding="utf-8") as file:
            return file.read()

    def test_whole(self):
        answer, _ = self.run_study(self.file)
        self.assertEqual((answer["runs"], answer["missing"]), (6 * CELLS, 0))
        self.assertEqual([claim["verdict"] for claim in answer["claims"]], ["holds", "does not hold"])
        with open(self.folder("results.csv"), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), 6 * CELLS)
        self.assertEqual({row["part"] for row in rows}, {"node", "sim", "floor"})
        for row in rows:
            self.assertGreater(float(row["latency_p50_us"]), 0, row)
            self.assertEqual(row["part"] == "sim", row["noise_p99_us"] == "", row)
        # All cells of a repetition have one seed, and no two repetitions have the same.
        seeds = {(row["repetition"], row["seed"]) for row in rows}
        self.assertEqual((len(seeds), len({seed for _, seed in seeds})), (6, 6))
        # A node was really there: each call took the time that it sleeps, and nothing was refused.
        for row in rows:
            if row["part"] == "node":
                self.assertEqual(float(row["unserved_percent"]), 0, row)
                self.assertGreater(float(row["latency_mean_us"]), 1000, row)
        page, text = self.read("report.html"), self.read("report.md")
        for part in ("A tiny &lt;study&gt;", "does not hold", "It measures nothing of interest.", "--seed 1 --repetitions 6"):
            self.assertIn(part, page)
            self.assertIn(part.replace("&gt;", ">"), text)
        self.assertNotIn("A tiny <study>", page)
        if shutil.which("gnuplot"):
            self.assertEqual(page.count("<svg"), 2)
            self.assertIn("](plots/01.svg)", text)
        environment = json.loads(self.read("environment.json"))
        self.assertEqual((len(environment), environment[0]["kernel"]), (1, os.uname().release))
        self.assertEqual(left(), [])
        # The folder is somebody's results now.
        before = self.runs()
        _, said = self.run_study(self.file, status=1)
        self.assertIn("is there already: go on with it by --resume", said)
        # Nothing is left to measure; the tables are made again.
        os.unlink(self.folder("summary.csv"))
        self.run_study(self.file, "--resume")
        self.assertEqual(self.runs(), before)
        self.assertTrue(os.path.exists(self.folder("summary.csv")))

    def start(self):
        study = subprocess.Popen(self.command(self.file), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.root)
        self.addCleanup(study.stdout.close)
        self.addCleanup(study.stderr.close)
        self.addCleanup(study.kill)
        return study

    def test_killed(self):
        study = self.start()
        # Some runs are there, and a node is up: in the middle of one of its runs.
        harness.wait_until(lambda: len(self.runs()) >= 3 and os.path.exists("/run/warmcore/%s/control.sock" % NODE) or
                           study.poll() is not None, "a node of the study")  # fmt: skip
        self.assertIsNone(study.poll())
        study.kill()
        study.wait()
        before = self.runs()
        self.assertLess(len(before), 6 * CELLS)
        _, said = self.run_study(self.file, "--resume", "--seed", "2", status=1)
        self.assertIn("was begun with --seed 1 --repetitions 6", said)
        other = self.write(STUDY % 6 + "\n# changed\n", "other.yaml")
        _, said = self.run_study(other, "--resume", status=1)
        self.assertIn("is not the study that was begun there", said)
        answer, _ = self.run_study(self.file, "--resume")
        self.assertEqual((answer["runs"], answer["missing"]), (6 * CELLS, 0))
        after = self.runs()
        self.assertEqual({name: after[name] for name in before}, before)
        self.assertEqual(len(json.loads(self.read("environment.json"))), 2)
        self.assertEqual(left(), [])

    def test_interrupted(self):
        study = self.start()
        harness.wait_until(lambda: self.runs() or study.poll() is not None, "a run")
        _, said = self.run_study(self.file, "--output", "second", status=1)
        self.assertIn("another study runs on this machine", said)
        self.assertFalse(os.path.exists(os.path.join(self.root, "second")))
        study.send_signal(signal.SIGINT)
        _, said = study.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(study.returncode, 1)
        self.assertIn("go on with --resume", said)
        self.assertEqual(left(), [])
        answer, _ = self.run_study(self.file, "--resume")
        self.assertEqual(answer["missing"], 0)

    def test_damaged(self):
        text = "\n".join(line for line in (STUDY % 1).split("\n"))
        text = text[: text.index("  - name: node")] + text[text.index("  - name: sim") :]
        text = text[: text.index("  - {title: by policy")]
        sim = self.write(text)
        # Without gnuplot everything but the plots is there.
        path = os.path.join(self.root, "bin")
        os.mkdir(path)
        for program in ("env",):
            os.symlink(shutil.which(program), os.path.join(path, program))
        answer, said = self.run_study(sim, env={"PATH": path})
        self.assertIn("apt-get install gnuplot-nox", said)
        self.assertEqual([claim["verdict"] for claim in answer["claims"]], ["undecided", "undecided"])
        self.assertIn("gnuplot is not installed", self.read("report.md"))
        # One repetition is no interval; the report says so.
        self.assertIn("too few repetitions for 95 %", self.read("report.md"))
        name = sorted(self.runs())[0]
        with open(self.folder("runs", name), "w", encoding="utf-8") as file:
            file.write('{"part": ')
        _, said = self.run_study(sim, "--resume", status=1)
        self.assertIn(name, said)
        self.assertIn("remove it, and it is measured again", said)
        os.unlink(self.folder("runs", name))
        answer, _ = self.run_study(sim, "--resume")
        self.assertEqual(answer["missing"], 0)

    def test_refused(self):
        for change, sentence in (
            (("up.policy: [central", "up.polcy: [central"), "line 13: `warmcore up` has no option --polcy; did you mean policy?"),
            (("up.policy: [central", "up.policy: [centrall"), "line 13: up.policy: 'centrall'"),
            (('up.cores: "0*4"', "up.dev: eth0"), "'up.dev' is not for a cell to say"),
            (("sim.cores: 64", "sim.cores: 0"), "sim.cores: '0' is not a number from 1"),
            (('sim.ideal: "on"', "sim.ideal: maybe"), "sim.ideal: 'maybe' is neither on nor off"),
            (("repetitions: 6", "repetitions: six"), "line 6: repetitions six: expected a number from 1 to 100"),
        ):
            path = self.write((STUDY % 6).replace(*change), "bad.yaml")
            _, said = self.run_study(path, status=1)
            self.assertIn("bad.yaml", said)
            self.assertIn(sentence, said)
        _, said = self.run_study("centrall", status=1)
        self.assertIn("there is no study 'centrall'; did you mean 'central'?", said)
        _, said = self.run_study("/nowhere.yaml", status=1)
        self.assertIn("cannot open /nowhere.yaml: No such file or directory", said)
        _, said = self.run_study(self.file, "--resume", status=1)
        self.assertIn("there is no study in study-tiny to go on with", said)
        self.run_study(status=2)
        done = subprocess.run([harness.WARMCORE, "--json", "--node", "mine", "study", self.file], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)  # fmt: skip
        self.assertEqual(done.returncode, 2)
        self.assertFalse(os.path.exists(self.folder()))

    def test_shipped(self):
        """All eight are there, good, and of a size that takes minutes."""
        answer, _ = self.run_study("--list")
        names = {study["name"] for study in answer["studies"]}
        self.assertEqual(names, {"central", "warm", "elastic", "interfere", "crossover", "quantum", "datapath", "steal"})
        for name in sorted(names):
            done = subprocess.run([harness.WARMCORE, "study", name, "--plan"], stdout=subprocess.PIPE, text=True, check=True)
            lines = done.stdout.split("\n")
            seconds = float(lines[0].rsplit(" ", 2)[1])
            self.assertLess(seconds, 600, lines[0])
            again = subprocess.run([harness.WARMCORE, "study", name, "--plan"], stdout=subprocess.PIPE, text=True, check=True)
            self.assertEqual(done.stdout, again.stdout)


if __name__ == "__main__":
    sys.exit(harness.main())
