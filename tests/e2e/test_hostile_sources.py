#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Sources that nobody should copy: links that lead out, devices, sockets, too much. Each is refused, and nothing stays."""

import json
import os
import socket
import sys

import harness

CODE = b"def handler(event, context):\n    return 'sound'\n"
MANIFEST = {"runtime": "python", "handler": "main.handler", "name": "hostile"}


class HostileSources(harness.NodeTest):
    TAG = "hst"

    def setUp(self):
        self.count = getattr(type(self), "number", 0)
        type(self).number = self.count + 1
        self.folder = os.path.join(self.node.root, "hostile%d" % self.count)
        os.mkdir(self.folder)
        self.write("main.py", CODE)
        self.manifest()

    def write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)

    def manifest(self, **changes):
        with open(os.path.join(self.folder, "function.json"), "w") as file:
            json.dump(dict(MANIFEST, **changes), file)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def refused(self, *words):
        """The deployment fails with a message that names these; nothing of it stays in the state folder."""
        done = self.node.cli("deploy", self.folder, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(self.node.json("list")["functions"], [])
        functions = os.path.join(self.node.state, "functions")
        # The code of an earlier test's function goes with its last instance.
        harness.wait_until(lambda: not [entry for entry in os.listdir(functions) if not entry.startswith(".")],
                           "nothing of it is left", 10)  # fmt: skip

    def accepted(self):
        self.node.cli("deploy", self.folder)
        self.assertEqual(json.loads(self.node.cli("invoke", "hostile", "1").stdout), "sound")
        self.addCleanup(self.node.cli, "remove", "hostile")
        return self.only_version()

    def only_version(self):
        """The folder of the code; fails when there is another one."""
        folder = os.path.join(self.node.state, "functions", "hostile")
        harness.wait_until(lambda: len(os.listdir(folder)) == 1, "one version is there", 10)
        (version,) = os.listdir(folder)
        self.assertRegex(version, "^v[0-9]+$")
        return os.path.join(folder, version)

    def test_link_out_absolute(self):
        os.symlink("/etc/passwd", self.path("secret"))
        self.refused("secret", "leads out")

    def test_link_out_relative(self):
        os.symlink("../../../../../../../../etc/passwd", self.path("secret"))
        self.refused("secret", "leads out")

    def test_link_out_through_a_link(self):
        os.mkdir(self.path("a"))
        os.symlink("..", self.path("a", "up"))
        os.symlink("a/up/../..", self.path("b"))
        self.refused("leads out")

    def test_link_to_a_sibling_with_the_same_beginning(self):
        os.mkdir(self.folder + "-other")
        os.symlink("../hostile%d-other" % self.count, self.path("other"))
        self.refused("leads out")

    def test_dangling_link(self):
        os.symlink("nothing-here", self.path("dangling"))
        self.refused("dangling")

    def test_link_to_itself(self):
        os.symlink("loop", self.path("loop"))
        self.refused("loop")

    def test_link_inside(self):
        os.mkdir(self.path("lib"))
        with open(self.path("lib", "data"), "w") as file:
            file.write("inside")
        os.symlink("lib/data", self.path("data"))
        copy = self.accepted()
        self.assertEqual(os.readlink(os.path.join(copy, "data")), "lib/data")

    def test_fifo(self):
        os.mkfifo(self.path("pipe"))
        self.refused("pipe")

    def test_fifo_instead_of_the_code(self):
        os.unlink(self.path("main.py"))
        os.mkfifo(self.path("main.py"))
        self.refused("main.py")

    def test_fifo_instead_of_the_manifest(self):
        os.unlink(self.path("function.json"))
        os.mkfifo(self.path("function.json"))
        self.refused("function.json")

    def test_socket(self):
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(self.path("socket"))
        self.refused("socket")

    def test_device(self):
        try:
            os.mknod(self.path("zero"), 0o20666, os.makedev(1, 5))
        except PermissionError:
            self.skipTest("device nodes cannot be made here")
        self.refused("zero")

    def test_too_large(self):
        """300 MB that take no room: the limit counts what would be copied."""
        with open(self.path("sparse"), "wb") as file:
            file.truncate(300 << 20)
        self.refused("256 MiB")

    def test_too_many_files(self):
        os.mkdir(self.path("many"))
        for number in range(10001):
            with open(self.path("many", str(number)), "w"):
                pass
        self.refused("files")

    def test_deep(self):
        path = self.folder
        for _ in range(300):
            path = os.path.join(path, "deeper-and-deeper")
            try:
                os.mkdir(path)
            except OSError:
                break
        done = self.node.cli("deploy", self.folder, check=False)
        if done.returncode == 0:
            self.node.cli("remove", "hostile")
        self.assertLess(len(done.stderr), 2000)

    def test_names(self):
        for name in ("../escape", "a/b", "", ".", "..", "-x y", "a" * 64, "\u00e9", "a\nb"):
            with self.subTest(name=name):
                self.manifest(name=name)
                self.refused()
        self.assertFalse(os.path.exists(os.path.join(self.node.state, "escape")))

    def test_handlers(self):
        for handler in ("../main.handler", "/etc/main.handler", ""):
            with self.subTest(handler=handler):
                self.manifest(handler=handler)
                self.refused()

    def test_manifests(self):
        for changes in ({"runtime": "perl"}, {"timeout_ms": 0}, {"timeout_ms": 1e99}, {"memory_mb": -1}, {"event": "xml"},
                        {"trusted": True}, {"environment": {"LD_PRELOAD": "x"}}, {"environment": {"WARMCORE_CODE": "x"}},
                        {"environment": {"A": "x" * 5000}}, {"environment": {"A=B": "x"}}, {"surprise": 1}):  # fmt: skip
            with self.subTest(**changes):
                self.manifest(**changes)
                self.refused()
        self.write("function.json", b"[1, 2")
        self.refused("function.json")
        self.write("function.json", b"[" * 100000)
        self.refused("function.json")

    def test_setuid_is_not_copied(self):
        os.chmod(self.path("main.py"), 0o6777)
        copy = self.accepted()
        self.assertEqual(os.stat(os.path.join(copy, "main.py")).st_mode & 0o7777, 0o755)

    def test_a_failed_redeploy_keeps_the_old_version(self):
        copy = self.accepted()
        os.mkfifo(self.path("pipe"))
        self.assertNotEqual(self.node.cli("deploy", self.folder, check=False).returncode, 0)
        self.assertEqual(json.loads(self.node.cli("invoke", "hostile", "1").stdout), "sound")
        self.assertEqual(self.only_version(), copy)


if __name__ == "__main__":
    sys.exit(harness.main())
