#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`make install` into a folder: what is there works from there, and `make uninstall` leaves neither file nor folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import harness


class Install(unittest.TestCase):
    def make(self, goal):
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        command = ["make", "-C", harness.ROOT, goal, "DESTDIR=" + self.target, "PREFIX=/usr", "BUILD=" + harness.BUILD]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout.decode(errors="replace"))

    def files(self):
        return sorted(os.path.relpath(os.path.join(folder, name), self.target)
                      for folder, _, names in os.walk(self.target) for name in names)  # fmt: skip

    def built(self):
        """When what depends on the flags was built: BUILD is an absolute path here, and was perhaps none then."""
        return [os.stat(os.path.join(harness.BUILD, name)).st_mtime_ns for name in ("flags.stamp", "bin/warmcored")]

    def test_install(self):
        if not shutil.which("make"):
            self.skipTest("no make")
        self.target = tempfile.mkdtemp(prefix="warmcore-e2e install-")  # a path may contain a space
        self.addCleanup(shutil.rmtree, self.target, True)
        os.chmod(self.target, 0o755)
        os.makedirs(os.path.join(self.target, "usr/bin"), 0o755)  # not ours: stays, although it is empty in the end
        built = self.built()
        mask = os.umask(0o077)  # a strict administrator's; what is installed must be readable all the same
        try:
            self.make("install")
        finally:
            os.umask(mask)
        self.assertEqual(self.built(), built, "`make install` builds again what is built already")
        files = self.files()
        for name in ("usr/bin/warmcore", "usr/bin/warmcored", "usr/bin/warmcore-gateway", "usr/include/warmcore.h",
                     "usr/lib/warmcore/native/warmcore-native", "usr/lib/warmcore/python/warmcore_runtime.py",
                     "usr/lib/warmcore/node/warmcore_runtime.js", "usr/lib/warmcore/bpf/dispatch.bpf.o",
                     "usr/share/doc/warmcore/examples/node.yaml", "usr/share/doc/warmcore/examples/gateway.yaml",
                     "usr/share/bash-completion/completions/warmcore",
                     "usr/share/warmcore/monitoring/warmcore-dashboard.json", "usr/share/warmcore/monitoring/alerts.yml"):  # fmt: skip
            self.assertIn(name, files)
        self.assertTrue([f for f in files if re.match(r"usr/share/man/man[18]/warmcore.*\.gz$", f)])
        units = [f for f in files if re.match(r"usr/lib/systemd/system/.*\.service$", f)]
        self.assertTrue(units)
        for name in units:
            with open(os.path.join(self.target, name)) as unit:
                text = unit.read()
            self.assertNotIn("@", re.sub(r"\w@|@\w*\.service|=@system-service", "", text))
            self.assertIn("/usr/bin/warmcore", text)
            if "Restart=" in text:  # what a killed daemon leaves is what its successor needs for at most once
                self.assertNotIn("--clean", text)
            self.assertNotIn(self.target, text)
        self.verify_units(units)
        for name in files:
            mode = os.stat(os.path.join(self.target, name)).st_mode
            self.assertEqual(mode & 0o7022, 0, "%s: mode %o" % (name, mode))
            self.assertEqual(mode & 0o444, 0o444, "%s: mode %o" % (name, mode))
        for folder, _, _ in os.walk(os.path.join(self.target, "usr")):
            self.assertEqual(os.stat(folder).st_mode & 0o755, 0o755, folder)
        self.run_from_there()
        self.make("install")  # once more: the folders are there already now
        with open(os.path.join(self.target, "usr/share/man/other"), "w"):
            pass
        self.make("uninstall")
        self.assertEqual(self.files(), ["usr/share/man/other"])
        left = [os.path.relpath(folder, self.target) for folder, _, _ in os.walk(self.target)]
        self.assertEqual(sorted(left), sorted([".", "usr", "usr/bin", "usr/share", "usr/share/man"]))

    def verify_units(self, units):
        """What systemd says of them, where it is; the programs are where they were installed to, and not in /usr/bin."""
        if not shutil.which("systemd-analyze"):
            print("without systemd-analyze: the units are not verified", flush=True)
            return
        for name in units:
            with open(os.path.join(self.target, name)) as unit:
                text = unit.read().replace("/usr/bin/warmcore", os.path.join(harness.BUILD, "bin/warmcore")).replace("man:", "https://man/")
            path = os.path.join(tempfile.mkdtemp(prefix="warmcore-e2e-unit-"), os.path.basename(name))
            self.addCleanup(shutil.rmtree, os.path.dirname(path), True)
            with open(path, "w") as file:
                file.write(text)
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            about = [line for line in done.stdout.split("\n") if os.path.basename(name) in line and "Failed to" not in line]
            self.assertFalse(about, done.stdout)

    def run_from_there(self):
        warmcore = os.path.join(self.target, "usr/bin/warmcore")
        self.assertIn("warmcore", subprocess.check_output([warmcore, "--version"]).decode())
        node = harness.Node("inst", warmcore=warmcore)
        self.addCleanup(node.close)
        node.up()
        self.assertEqual(os.readlink("/proc/%d/exe" % node.pid), os.path.join(self.target, "usr/bin/warmcored"))
        names = {"probe": node.deploy_python()}
        if harness.NODE_JS:
            names["probe-js"] = node.deploy_node()
        for name in names:
            self.assertEqual(json.loads(node.cli("invoke", name, '{"a": 1}').stdout), {"a": 1})
        try:
            node.deploy_native(event="binary")
            self.assertEqual(node.cli("invoke", "probe-c", "ehello", "--raw").stdout, "hello")
        except unittest.SkipTest as reason:
            print("without a native function: %s" % reason)
        node.wait_idle()
        node.down()
        node.check_nothing_left()


if __name__ == "__main__":
    sys.exit(harness.main())
