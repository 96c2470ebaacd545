#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Modules of Python functions that are compiled when they are deployed: that instances use them, and that no source does any harm."""

import json
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
import time

import harness
import test_packages
from test_packages import MANIFEST, archive, code

# What the daemon's Python looks for.
PYTHON = "/usr/bin/python3"
TAG, MAGIC = subprocess.run(
    [PYTHON, "-c", "import sys, importlib.util as u; print(sys.implementation.cache_tag, u.MAGIC_NUMBER.hex())"],
    stdout=subprocess.PIPE, check=True).stdout.decode().split()  # fmt: skip
MAGIC = bytes.fromhex(MAGIC)


def source_hash(source):
    """That of the daemon's Python, which may be another than this one."""
    text = "import sys, importlib.util as u; sys.stdout.buffer.write(u.source_hash(sys.stdin.buffer.read()))"
    return subprocess.run([PYTHON, "-c", text], input=source, stdout=subprocess.PIPE, check=True).stdout


# Tells of each of its modules what it has and whether it came from a .pyc.
MAIN = b"""
import importlib, os, sys
import sub.mod, sub.deeper.leaf
VALUE = 1
def handler(event, context):
    if event.get("import"):
        module = importlib.import_module(event["import"])
    else:
        module = sys.modules[event.get("module", __name__)]
    return [module.VALUE, module.__spec__.cached, os.path.exists(module.__spec__.cached), module.__file__]
"""


def hostile():
    """Sources that cannot be compiled, or that try to keep, exhaust or crash whoever does."""
    return {
        "syntax.py": b"x = (\n",
        "null.py": b"x = 1\0\n",
        "encoding.py": b"# -*- coding: utf-42 -*-\n",
        "bytes.py": b"x = '\xff\xfe'\n",
        "brackets.py": b"(" * 90000 + b")" * 90000,
        "minus.py": b"-" * 1000000 + b"1",
        "attributes.py": b"x" + b".a" * 500000,
        "plus.py": b"x" + b"+a" * 500000,
        "dicts.py": b"{" * 5000 + b"}" * 5000,
        "huge.py": b"x = 1 << (1 << 40)\ny = 'a' * (1 << 40)\nz = (1,) * (1 << 30)\n",
        "power.py": b"x = 9 ** 9 ** 9\n",
        "large.py": b"#" * (5 << 20),
        "exit.py": b"raise SystemExit\n",
    }


class CompiledTest(test_packages.PackagesTest):
    def folder(self, name):
        """That of the current version."""
        current = self.node.json("versions", name)["versions"][0]
        return os.path.join(self.node.state, "functions", name, "v%d" % current["code"])

    def deploy_archive(self, name, *entries, check=True):
        return self.node.cli("deploy", self.write(name + ".zip", archive(*entries)), check=check)

    def cached(self, name, module):
        """The .pyc of a source of the function, or None."""
        folder, base = os.path.split(os.path.join(self.folder(name), module))
        path = os.path.join(folder, "__pycache__", "%s.%s.pyc" % (base[:-3], TAG))
        if not os.path.lexists(path):
            return None
        with open(path, "rb") as file:
            return file.read()

    def call(self, name, **event):
        return json.loads(self.node.cli("invoke", name, json.dumps(event)).stdout)

    def expect_no_scratch(self, name):
        self.assertEqual([f for f in self.folders(name) if f.endswith(".pyc")], [])


class Compiled(CompiledTest):
    TAG = "cmp"

    def package(self):
        return (("function.json", MANIFEST), ("main.py", MAIN), ("sub/__init__.py", b""), ("sub/mod.py", b"VALUE = 2\n"),
                ("sub/deeper/leaf.py", b"from .. import mod\nVALUE = 3\n"), ("unused.py", b"def broken(:\n"),
                ("data.txt", b"no module\n"), ("lone/other.py", b"VALUE = 4\n"))  # fmt: skip

    def test_instances_use_them(self):
        self.deploy_archive("used", *self.package())
        folder = self.folder("used")
        for module in ("main.py", "sub/__init__.py", "sub/mod.py", "sub/deeper/leaf.py", "lone/other.py"):
            data = self.cached("used", module)
            self.assertIsNotNone(data, module)
            with open(os.path.join(folder, module), "rb") as file:
                source = file.read()
            self.assertEqual(data[:16], MAGIC + struct.pack("<I", 1) + source_hash(source), module)
        self.assertIsNone(self.cached("used", "unused.py"))
        self.expect_no_scratch("used")
        path = os.path.join(folder, "sub", "__pycache__")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o755)
        status = os.stat(os.path.join(path, "mod.%s.pyc" % TAG))
        self.assertEqual((status.st_mode, status.st_uid, status.st_nlink), (stat.S_IFREG | 0o644, 0, 1))
        # The proof: what a source says now is not what instances have.
        for module in ("main.py", "sub/mod.py", "lone/other.py"):
            with open(os.path.join(folder, module), "wb") as file:
                file.write(b"raise RuntimeError('this was compiled again')\n")
        for module, value in (("main", 1), ("sub.mod", 2), ("sub.deeper.leaf", 3)):
            found = self.call("used", module=module)
            self.assertEqual((found[0], found[2]), (value, True), module)
            self.assertIn("__pycache__", found[1])
        self.assertEqual(self.call("used", **{"import": "lone.other"})[0], 4)
        self.remove("used")

    def test_tracebacks(self):
        """They name the file that the instance sees, and show its line."""
        self.deploy_archive("trace", ("function.json", MANIFEST), ("main.py", b"def handler(event, context):\n    raise ValueError('x')\n"))
        self.assertIsNotNone(self.cached("trace", "main.py"))
        error = self.node.cli("invoke", "trace", "{}", check=False)
        self.assertIn("main.py\\\", line 2" if "\\\"" in error.stdout + error.stderr else 'main.py", line 2', error.stdout + error.stderr)
        self.remove("trace")

    def test_digest_versions_and_rollback(self):
        data = archive(("function.json", MANIFEST), ("main.py", code("one")))
        first = self.node.json("deploy", self.write("dig.zip", data))["function"]
        self.assertIsNotNone(self.cached("dig", "main.py"))
        kept = self.folder("dig")
        again = self.node.json("deploy", self.write("dig.zip", data))
        self.assertTrue(again["unchanged"])
        self.assertEqual(again["function"]["code_sha256"], first["code_sha256"])
        version = self.node.json("versions", "dig")["versions"][0]
        self.assertEqual((version["files"], version["code_sha256"]), (2, first["code_sha256"]))
        self.node.cli("deploy", self.write("dig.zip", archive(("function.json", MANIFEST), ("main.py", code("two")))))
        self.assertEqual(self.invoke("dig"), "two")
        self.node.cli("rollback", "dig")
        self.assertEqual(self.folder("dig"), kept)
        self.assertIsNotNone(self.cached("dig", "main.py"))
        self.assertEqual(self.invoke("dig"), "one")
        # A restart reads the digest, and does not mind what is there now.
        self.node.down()
        self.node.up()
        self.assertEqual(self.invoke("dig"), "one")
        self.assertTrue(self.node.json("deploy", self.write("dig.zip", data))["unchanged"])
        self.remove("dig")

    def test_what_is_missing_is_compiled_again(self):
        """An unchanged deployment makes up for a crash, or for another Python, whose files have other names."""
        data = self.write("more.zip", archive(("function.json", MANIFEST), ("main.py", code("more"))))
        self.node.cli("deploy", data)
        folder = os.path.join(self.folder("more"), "__pycache__")
        os.rename(os.path.join(folder, "main.%s.pyc" % TAG), os.path.join(folder, "main.cpython-00.pyc"))
        self.assertEqual(self.invoke("more"), "more")
        self.assertIn("unchanged", self.node.cli("deploy", data).stdout)
        self.assertIsNotNone(self.cached("more", "main.py"))
        self.remove("more")

    def test_caches_of_the_package(self):
        """One that this Python would load stays as it is; others make way, and nothing is written through a link."""
        mine = b"VALUE = 'compiled by the author'\n"
        source = b"VALUE = 'source'\n"
        author = os.path.join(self.node.root, "author")
        os.mkdir(author)
        self.write("author/m.py", mine)
        pyc = {}
        for mode in ("TIMESTAMP", "CHECKED_HASH", "UNCHECKED_HASH"):
            subprocess.run([PYTHON, "-c", "import py_compile as p; p.compile('m.py', 'm.pyc', invalidation_mode=p.PycInvalidationMode.%s)"
                            % mode], cwd=author, check=True)  # fmt: skip
            with open(os.path.join(author, "m.pyc"), "rb") as file:
                pyc[mode] = file.read()
        main = b"import importlib\ndef handler(event, context):\n    return importlib.import_module(event['m']).VALUE\n"
        names = {"timestamp": pyc["TIMESTAMP"], "checked": pyc["CHECKED_HASH"], "unchecked": pyc["UNCHECKED_HASH"],
                 "cut": pyc["UNCHECKED_HASH"][:10], "foreign": b"\0\0\r\n" + pyc["UNCHECKED_HASH"][4:]}  # fmt: skip
        entries = [("function.json", MANIFEST), ("main.py", main)]
        for name, data in names.items():
            entries += [(name + ".py", source), ("__pycache__/%s.%s.pyc" % (name, TAG), data)]
        link = test_packages.entry("linked/__pycache__", stat.S_IFLNK | 0o777)
        entries += [("linked/__init__.py", source), ("elsewhere/keep.py", source), (link, b"../elsewhere"),
                    (test_packages.entry("alias.py", stat.S_IFLNK | 0o777), b"main.py")]  # fmt: skip
        self.deploy_archive("caches", *entries)
        self.assertEqual(self.cached("caches", "unchecked.py"), names["unchecked"])
        for name in ("timestamp", "checked", "cut", "foreign"):
            self.assertNotEqual(self.cached("caches", name + ".py"), names[name], name)
        for name in names:
            wanted = "compiled by the author" if name == "unchecked" else "source"
            self.assertEqual(self.call("caches", m=name), wanted, name)
        self.assertEqual(sorted(os.listdir(os.path.join(self.folder("caches"), "elsewhere"))), ["__pycache__", "keep.py"])
        self.assertIsNone(self.cached("caches", "alias.py"))
        self.assertEqual(self.call("caches", m="linked"), "source")
        self.remove("caches")

    def test_hostile_sources(self):
        """Each costs itself, and the handler's module is first."""
        files = hostile()
        entries = [("a_%s" % name, data) for name, data in files.items()]
        entries += [("d/" * 200 + "deep.py", b"x = 1\n"), ("z_last.py", b"VALUE = 1\n"), ("-dash.py", b"x = 1\n"),
                    ("x" * 250 + ".py", b"x = 1\n"), (" .py", b"x = 1\n"), ("\u00e9\u4e2d.py", b"x = 1\n")]  # fmt: skip
        self.deploy_archive("hostile", ("function.json", MANIFEST), ("main.py", code("alive")), *entries)
        self.assertEqual(self.invoke("hostile"), "alive")
        for module in ("main.py", "z_last.py", "-dash.py", " .py", "\u00e9\u4e2d.py", "a_exit.py", "d/" * 200 + "deep.py"):
            self.assertIsNotNone(self.cached("hostile", module), module)
        for module in ("a_syntax.py", "a_null.py", "a_encoding.py", "a_bytes.py", "a_large.py"):
            self.assertIsNone(self.cached("hostile", module), module)
        self.expect_no_scratch("hostile")
        self.remove("hostile")

    def test_ten_thousand_files(self):
        """The limit of files holds with what is added: here there is room for no more than two."""
        files = [("m%d.py" % i, b"") for i in range(9996)]
        self.deploy_archive("many", ("function.json", MANIFEST), ("main.py", code("many")), *files)
        count = sum(len(d) + len(f) for _, d, f in os.walk(self.folder("many")))
        self.assertEqual(count, 10000)
        self.assertIsNotNone(self.cached("many", "main.py"))
        self.assertEqual(self.invoke("many"), "many")
        self.remove("many")

    def test_two_at_once(self):
        """Of the same function and of others, with invocations meanwhile."""
        slow = [("m%d.py" % i, b"x = %d\n" % i * 300) for i in range(60)]
        self.deploy_archive("other", ("function.json", MANIFEST), ("main.py", code("other")))
        done = []

        def deploy(number, name, value):
            data = archive(("function.json", MANIFEST), ("main.py", code(value)), *slow)
            done.append(self.node.cli("deploy", self.write("%d.zip" % number, data), "--name", name).returncode)

        threads = [threading.Thread(target=deploy, args=(i, *at))
                   for i, at in enumerate((("two", "a"), ("two", "a"), ("two", "b"), ("three", "a")))]  # fmt: skip
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.assertEqual(self.invoke("other"), "other")
        self.assertEqual(done, [0] * 4)
        self.assertIn(self.invoke("two"), ("a", "b"))
        self.assertEqual(self.invoke("three"), "a")
        for name in ("two", "three"):
            self.assertIsNotNone(self.cached(name, "main.py"))
            self.expect_no_scratch(name)
            self.remove(name)
        self.remove("other")

    def test_other_runtimes_are_left_alone(self):
        self.node.deploy("nat", "native", "probe.so", {"probe.so": harness.native_function("probe"), "tool.py": b"x = 1\n"})
        self.assertFalse([f for _, d, _ in os.walk(self.folder("nat")) for f in d if f == "__pycache__"])
        self.remove("nat")


class WithoutSandbox(CompiledTest):
    TAG = "cms"
    OPTIONS = ("--sandbox", "off")

    def test_compiled(self):
        self.deploy_archive("plain", ("function.json", MANIFEST), ("main.py", code("plain")), *hostile().items())
        folder = self.folder("plain")
        self.assertIsNotNone(self.cached("plain", "main.py"))
        with open(os.path.join(folder, "main.py"), "wb") as file:
            file.write(b"raise RuntimeError\n")
        self.assertEqual(self.invoke("plain"), "plain")
        self.remove("plain")


class Killed(CompiledTest):
    TAG = "cmk"

    def compilers(self):
        return [pid for pid, command, environ in harness.processes()
                if b"warmcore_compile.py" in command and b"WARMCORE_NODE=%s\0" % self.node.name.encode() in environ]  # fmt: skip

    def slow(self):
        """Long to compile: half of the time of a file, a hundred times."""
        text = b"x = [" + b"1.5," * 200000 + b"]\n"
        return archive(("function.json", MANIFEST), ("main.py", code("slow")), *(("m%d.py" % i, text) for i in range(100)))

    def start(self):
        path = self.write("slow.zip", self.slow())
        deploy = subprocess.Popen([harness.WARMCORE, "--node", self.node.name, "deploy", path],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        harness.wait_until(self.compilers, "the compiler runs")
        return deploy

    def test_its_rights(self):
        """As an instance: never root, no capabilities, behind the filter, in namespaces of its own, with limits that are set."""
        deploy = self.start()

        def look():
            for pid in self.compilers():
                try:
                    with open("/proc/%d/status" % pid) as status, open("/proc/%d/limits" % pid) as limits:
                        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
                        found = dict((line[:26].strip(), line[26:47].strip()) for line in limits)
                        names = [os.readlink("/proc/%d/ns/%s" % (pid, kind)) for kind in ("net", "mnt", "pid", "user")]
                    if found["Max file size"] == "0":
                        return fields, found, names
                except (OSError, KeyError):
                    pass
            return None

        fields, limits, names = harness.wait_until(look, "a compiler has set its limits")
        self.assertTrue(all(int(uid) >= 0x70000000 for uid in fields["Uid"].split()), fields["Uid"])
        self.assertTrue(all(int(gid) >= 0x70000000 for gid in fields["Gid"].split()), fields["Gid"])
        self.assertEqual(fields["Groups"].strip(), "")
        self.assertEqual((fields["CapEff"], fields["CapPrm"], fields["NoNewPrivs"], fields["Seccomp"]), ("0" * 16, "0" * 16, "1", "2"))
        self.assertEqual(limits["Max core file size"], "0")
        self.assertEqual(limits["Max address space"], str(256 << 20))
        own = [os.readlink("/proc/self/ns/" + kind) for kind in ("net", "mnt", "pid", "user")]
        if self.node.sandboxed():
            self.assertFalse(set(names) & set(own))
        # Meanwhile the function is there, and others are deployed.
        self.assertEqual(self.invoke("slow"), "slow")
        self.deploy_archive("quick", ("function.json", MANIFEST), ("main.py", code("quick")))
        self.assertEqual(self.invoke("quick"), "quick")
        for pid in self.compilers():  # which costs no more than what it had not compiled
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(deploy.wait(timeout=120), 0)
        self.assertEqual(self.invoke("slow"), "slow")
        self.expect_no_scratch("slow")
        self.remove("slow")
        self.remove("quick")

    def test_kill9(self):
        for delay in (0, 0.2, 1):
            deploy = self.start()
            time.sleep(delay)
            self.node.kill9()
            deploy.wait(timeout=120)
            harness.wait_until(lambda: not self.compilers(), "the compiler went with the daemon")
            self.node.up()
            self.expect_no_scratch("slow")
            self.assertEqual(self.invoke("slow"), "slow")
            self.remove("slow")

    def test_down(self):
        """Does not wait for a compiler."""
        deploy = self.start()
        self.node.down()
        deploy.wait(timeout=120)
        harness.wait_until(lambda: not self.compilers(), "the compiler is gone")
        self.node.up()
        self.expect_no_scratch("slow")
        self.assertEqual(self.invoke("slow"), "slow")
        self.remove("slow")


if __name__ == "__main__":
    sys.exit(harness.main())
