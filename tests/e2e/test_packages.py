#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions as zip archives, and their versions: good ones and hostile ones, deploy and rollback under load, kill -9 meanwhile."""

import hashlib
import io
import json
import os
import py_compile
import random
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zipfile

import harness
import wcproto

MANIFEST = b'{"runtime": "python", "handler": "main.handler"}'
SWITCHES = int(os.environ.get("PACKAGES_SWITCHES", "40"))
ROUNDS = int(os.environ.get("PACKAGES_ROUNDS", "8"))
SEED = int(os.environ.get("PACKAGES_SEED", "1"))


def code(value):
    return b"def handler(event, context):\n    return %s\n" % json.dumps(value).encode()


def entry(name, mode=None):
    info = zipfile.ZipInfo(name)
    info.create_system = 0 if mode is None else 3
    info.external_attr = (mode or 0) << 16
    return info


def archive(*entries, compression=zipfile.ZIP_DEFLATED):
    """A zip archive of (name or ZipInfo, bytes)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as target:
        for name, data in entries:
            target.writestr(name, data)
    return out.getvalue()


def encrypted(data):
    """The flag of the first entry, in both of its headers."""
    data = bytearray(data)
    data[data.index(b"PK\3\4") + 6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


class PackagesTest(harness.NodeTest):
    def write(self, name, data):
        path = os.path.join(self.node.root, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def invoke(self, name):
        return json.loads(self.node.cli("invoke", name, "{}").stdout)

    def folders(self, name):
        path = os.path.join(self.node.state, "functions", name)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def versions(self, name):
        """Numbers of the versions that are kept, the current one first."""
        versions = self.node.json("versions", name)["versions"]
        self.assertEqual([v["current"] for v in versions], [True] + [False] * (len(versions) - 1))
        return [v["version"] for v in versions]

    def remove(self, name):
        self.node.cli("remove", name)
        harness.wait_until(lambda: not os.path.exists(os.path.join(self.node.state, "functions", name)), "its code is gone")


class Archives(PackagesTest):
    TAG = "pkg"

    def test_deploy(self):
        """By its name, or by its content; with what was deployed from a folder it shares everything."""
        data = archive(("function.json", MANIFEST), ("main.py", b"from lib import two\n" + code("one")),
                       ("lib/two.py", b""), ("lib/", b""), (entry("tool", 0o104755), b"#!/bin/sh\n"))  # fmt: skip
        path = self.write("good-1.0.zip", data)
        self.assertIn("deployed good ", self.node.cli("deploy", path, "--name", "good").stdout)
        self.assertEqual(self.invoke("good"), "one")
        folder = os.path.join(self.node.state, "functions", "good", self.folders("good")[0])
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(folder, "tool")).st_mode), 0o755)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(folder, "main.py")).st_mode), 0o644)
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o750)
        self.assertIn("unchanged good ", self.node.cli("deploy", self.write("noext", data), "--name", "good").stdout)
        source = os.path.join(self.node.root, "unzipped")
        with zipfile.ZipFile(path) as unzip:
            unzip.extractall(source)
        os.chmod(os.path.join(source, "tool"), 0o700)
        self.assertIn("unchanged good ", self.node.cli("deploy", source, "--name", "good").stdout)
        self.remove("good")
        self.assertIn("deployed named ", self.node.cli("deploy", self.write("named.ZIP", data)).stdout)
        self.remove("named")

    def test_made_by_others(self):
        """Info-ZIP, where there is one; Python, into a pipe and with zip64 fields."""
        source = os.path.join(self.node.root, "others")
        os.mkdir(source)
        for name, data in (("function.json", MANIFEST), ("main.py", code("others"))):
            self.write("others/" + name, data)
        os.symlink("main.py", os.path.join(source, "link.py"))
        made = {}
        if subprocess.run(["which", "zip"], stdout=subprocess.DEVNULL, check=False).returncode == 0:
            subprocess.run(["zip", "-q", "-y", "-r", "../infozip.zip", "."], cwd=source, check=True)
            with open(os.path.join(self.node.root, "infozip.zip"), "rb") as file:
                made["infozip"] = file.read()

        class Pipe(io.RawIOBase):  # cannot seek: sizes come after the content
            data = b""

            def writable(self):
                return True

            def write(self, data):
                self.data += bytes(data)
                return len(data)

        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as target:
            with target.open("function.json", "w", force_zip64=True) as out:
                out.write(MANIFEST)
            target.writestr("main.py", code("others"))
            target.writestr(entry("link.py", stat.S_IFLNK | 0o777), "main.py")
        made["python"] = pipe.data
        self.node.cli("deploy", source)
        for how, data in made.items():
            with self.subTest(how=how):
                self.assertIn("unchanged others ", self.node.cli("deploy", self.write(how + ".zip", data), "--name", "others").stdout)
        self.remove("others")

    def test_native(self):
        with open(harness.native_function("probe"), "rb") as file:
            probe = file.read()
        manifest = b'{"runtime": "native", "handler": "lib/probe.so", "event": "binary"}'
        self.node.cli("deploy", self.write("nat.zip", archive(("function.json", manifest), ("lib/probe.so", probe))))
        self.assertEqual(self.node.cli("invoke", "nat", "ehello").stdout, "hello")
        self.remove("nat")

    def refused(self, data, *words):
        """It is refused, names why, and leaves nothing: neither in the folder of a new function nor in that of an old one."""
        path = self.write("hostile.zip", data)
        before = self.folders("sound")
        for name in ("hostile", "sound"):
            done = self.node.cli("deploy", path, "--name", name, "--runtime", "python", "--handler", "main.handler", check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            for word in words:
                self.assertIn(word, done.stderr)
        self.assertEqual(self.folders("hostile"), [])
        self.assertEqual(self.folders("sound"), before)

    def test_hostile(self):
        self.node.cli("deploy", self.write("sound.zip", archive(("function.json", MANIFEST), ("main.py", code("sound")))))
        good = ("main.py", code("bad"))
        twice = archive(good, ("xain.py", b""))
        sound = archive(good, compression=zipfile.ZIP_STORED)
        cases = (
            (archive(good, ("/etc/warmcore-hostile", b"x")), "absolute"),
            (archive(good, ("../hostile", b"x")), "leads out"),
            (archive(good, ("a/../../../hostile", b"x")), "leads out"),
            (archive(good, ("a\\b", b"x")), "backslash"),
            (archive(good, ("a\nb", b"x")), "control characters"),
            (twice.replace(b"xain.py", b"main.py"), "is twice"),
            (archive(good, ("main.py/x", b"x")), "something else"),
            (archive(good, (entry("fifo", stat.S_IFIFO | 0o644), b"")), "neither a file"),
            (archive(good, (entry("dev", stat.S_IFBLK | 0o644), b"")), "neither a file"),
            (archive(good, (entry("l", stat.S_IFLNK | 0o777), b"/etc/passwd")), "leads out"),
            (archive(good, (entry("l", stat.S_IFLNK | 0o777), b"../../sound")), "leads out"),
            (archive(good, (entry("l", stat.S_IFLNK | 0o777), b".."), ("l/x", b"x")), "is twice"),
            (archive(good, compression=zipfile.ZIP_BZIP2), "compressed by method 12"),
            (sound[:-1], "not a sound zip archive"),
            (sound[: len(sound) // 2], "not a sound zip archive"),
            (sound.replace(b"handler(event", b"handles(event"), "damaged"),
            (archive(good, ("n" * 256, b"x")), "longer than 255"),
            (archive(good, *(("f%d" % i, b"") for i in range(10000))), "more than 10000 files"),
            (archive(good, *(("d%d/f" % i, b"") for i in range(5001))), "more than 10000 files"),
            (archive(good, *(("zeros%d" % i, bytes(64 << 20)) for i in range(4))), "larger than 256 MiB"),
            (encrypted(sound), "encrypted"),
            (b"", "is empty"),
            (b"no archive", "not a sound zip archive"),
        )  # fmt: skip
        for data, word in cases:
            with self.subTest(word=word, size=len(data)):
                self.refused(data, word)
        self.assertFalse(os.path.exists("/etc/warmcore-hostile"))
        self.assertEqual(self.invoke("sound"), "sound")
        self.remove("sound")

    def test_bytes_that_json_cannot_say(self):
        """A name that is no UTF-8 in an error: there is an answer all the same."""
        source = os.path.join(self.node.root, "odd")
        os.mkdir(source)
        self.write("odd/main.py", code("odd"))
        os.mkfifo(os.fsencode(source) + b"/pipe\xff")
        done = self.node.cli("deploy", source, "--runtime", "python", "--handler", "main.handler", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/pipe? is neither", done.stderr)


class Versions(PackagesTest):
    TAG = "ver"

    def deploy(self, name, value, *options):
        data = archive(("function.json", MANIFEST), ("main.py", code(value)))
        return self.node.json("deploy", self.write(name + ".zip", data), *options)

    def test_versions(self):
        numbers = []
        for value in range(5):
            answer = self.deploy("kept", value, "--timeout-ms", str(1000 + value))
            self.assertEqual((answer["replaced"], answer["unchanged"]), (value > 0, False))
            numbers.insert(0, answer["function"]["version"])
            self.assertEqual(self.invoke("kept"), value)
        self.assertEqual(self.versions("kept"), numbers[:3])
        # Code that is not kept goes when the instances of its version have ended.
        harness.wait_until(lambda: self.folders("kept") == ["v%d" % n for n in sorted(numbers[:3])],
                           "three versions are on the disk")  # fmt: skip
        answer = self.deploy("kept", 4, "--timeout-ms", "1004")
        self.assertEqual((answer["replaced"], answer["unchanged"]), (False, True))
        self.assertEqual(self.versions("kept"), numbers[:3])
        listed = [f for f in self.node.json("list")["functions"] if f["name"] == "kept"][0]
        self.assertEqual(listed["version"], numbers[0])
        self.assertEqual(listed["code_sha256"], self.node.json("versions", "kept")["versions"][0]["code_sha256"])
        self.assertEqual(listed["invocations"], 1)

        answer = self.node.json("rollback", "kept")
        self.assertEqual((answer["from"], answer["function"]["version"], answer["function"]["timeout_ms"]),
                         (numbers[0], numbers[1], 1003))  # fmt: skip
        self.assertEqual(self.invoke("kept"), 3)
        self.node.json("rollback", "kept", str(numbers[2]))
        self.assertEqual(self.invoke("kept"), 2)
        self.node.json("rollback", "kept")
        self.assertEqual(self.invoke("kept"), 3)
        self.assertEqual(self.versions("kept"), [numbers[1], numbers[2], numbers[0]])
        self.assertEqual(self.node.cli("rollback", "kept", "4000000000", check=False).returncode, 1)
        self.node.down()
        self.node.up()
        self.assertEqual(self.invoke("kept"), 3)
        self.assertEqual(self.versions("kept"), [numbers[1], numbers[2], numbers[0]])
        self.node.json("rollback", "kept", str(numbers[0]))
        self.assertEqual(self.invoke("kept"), 4)
        self.remove("kept")

    def test_under_load(self):
        """Invocations while versions are deployed and brought back: each is answered, by a version that was current meanwhile."""
        function = self.deploy("busy", 0)["function"]["id"]
        stopping, wrong, seen = threading.Event(), [], []
        current = {0}  # every value that is or becomes current; grows before it does

        def work(number):
            with self.node.client() as client:
                while not stopping.is_set():
                    answer = client.invoke(function, b"%d" % number)
                    if answer is None or answer.kind != wcproto.REPLY or json.loads(answer.payload) not in current:
                        wrong.append(answer)
                        return
                    seen.append(json.loads(answer.payload))

        def slow():  # begins with one version and ends while others are current
            with self.node.client() as client:
                while not stopping.is_set():
                    answer = client.invoke(sleeper, b"{}")
                    if answer is None or answer.kind != wcproto.REPLY or json.loads(answer.payload)[0] != json.loads(answer.payload)[1]:
                        wrong.append(answer)
                        return

        def deploy_slow(value):
            main = ("import time, os\nME = %d\ndef handler(event, context):\n    time.sleep(0.15)\n"
                    "    return [ME, int(open(os.environ['WARMCORE_CODE'] + '/me').read())]\n" % value)  # fmt: skip
            data = archive(("function.json", MANIFEST), ("main.py", main.encode()), ("me", b"%d" % value))
            return self.node.json("deploy", self.write("slow.zip", data))["function"]["id"]

        sleeper = deploy_slow(0)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)] + [threading.Thread(target=slow)]
        chance = random.Random(SEED)
        for thread in threads:
            thread.start()
        try:
            for switch in range(1, SWITCHES + 1):
                if switch % 3 == 0:
                    self.node.json("rollback", "busy", str(chance.choice(self.versions("busy")[1:])))
                    self.node.json("rollback", "slow")
                else:
                    current.add(switch)
                    self.deploy("busy", switch)
                    deploy_slow(switch)
                if wrong:
                    break
            last = self.invoke("busy")
            harness.wait_until(lambda: wrong or seen[-20:] == [last] * 20, "only the last version answers")
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])
        self.assertGreater(len(set(seen)), SWITCHES // 4)
        for name in ("busy", "slow"):
            kept = {int(f[1:]) for f in self.folders(name) if f.startswith("v")}
            harness.wait_until(lambda: len([f for f in self.folders(name) if f.startswith("v")]) <= 3, "old code is gone: %s" % kept)
            self.remove(name)
        print("%d invocations, %d versions seen, %d switches" % (len(seen), len(set(seen)), SWITCHES))


class Code(PackagesTest):
    """What was deployed, back."""

    TAG = "cod"
    OPTIONS = ("--allow-trusted",)

    def setUp(self):
        self.place = tempfile.mkdtemp(dir=self.node.root)

    def at(self, name):
        return os.path.join(self.place, name)

    def tree(self, path):
        """Of each name below: an execute bit and the content, where a link leads to, or None for a folder."""
        found = {}
        for folder, folders, files in os.walk(path):
            for name in folders + files:
                whole = os.path.join(folder, name)
                short = os.path.relpath(whole, path)
                if os.path.islink(whole):
                    found[short] = os.readlink(whole)
                elif os.path.isdir(whole):
                    found[short] = None
                else:
                    with open(whole, "rb") as file:
                        found[short] = (bool(os.stat(whole).st_mode & 0o100), file.read())
        return found

    def source(self, name, files):
        path = self.at(name)
        for short, data in files.items():
            whole = os.path.join(path, short)
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            with open(whole, "wb") as file:
                file.write(data)
        return path

    def get(self, *arguments, check=True, options=(), **how):
        """`warmcore code`, where `how` says."""
        done = subprocess.run([harness.WARMCORE, "--node", self.node.name, *options, "code", *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False, **how)  # fmt: skip
        if check and done.returncode:
            raise AssertionError("%s: status %d: %s" % (arguments, done.returncode, done.stderr))
        return done

    def told(self, *arguments, **how):
        return json.loads(self.get(*arguments, options=("--json",), **how).stdout)

    def fails(self, words, *arguments, status=1, **how):
        done = self.get(*arguments, check=False, **how)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertIn(words, done.stderr)
        return done

    def test_folder(self):
        """There and back, as an archive and as a folder; the node finds that nothing has changed."""
        source = self.source("back", {"function.json": MANIFEST, "main.py": b"from lib import two\n" + code("back"), "lib/two.py": b"",
                                      "run": b"#!/bin/sh\n", "\u00e9 \U0001f600": os.urandom(70000)})  # fmt: skip
        os.chmod(os.path.join(source, "run"), 0o711)
        os.mkdir(os.path.join(source, "none"))
        os.symlink("../main.py", os.path.join(source, "lib", "link.py"))
        self.node.cli("deploy", source)
        self.assertEqual(self.invoke("back"), "back")
        stored = os.path.join(self.node.state, "functions", "back", self.folders("back")[0])
        self.assertTrue(os.listdir(os.path.join(stored, "__pycache__")))  # which nobody deployed

        done = self.get("back", cwd=self.place)
        self.assertRegex(done.stdout, r"^wrote back to back\.zip \(8 files, \d+ bytes\)\n$")
        self.assertEqual((done.stderr, stat.S_IMODE(os.stat(self.at("back.zip")).st_mode)), ("", 0o600))
        self.assertEqual(sorted(os.listdir(self.place)), ["back", "back.zip"])
        with zipfile.ZipFile(self.at("back.zip")) as unzip:
            self.assertIsNone(unzip.testzip())
            self.assertEqual({name.rstrip("/") for name in unzip.namelist()}, set(self.tree(source)))
            self.assertEqual({info.date_time for info in unzip.infolist()}, {(1980, 1, 1, 0, 0, 0)})
        again = self.told("back", "-o", self.at("again.zip"), env={**os.environ, "TZ": "Asia/Tokyo"})
        with open(self.at("back.zip"), "rb") as one, open(self.at("again.zip"), "rb") as two:
            data = one.read()
            self.assertEqual(data, two.read())
        self.assertEqual(again["archive"]["sha256"], hashlib.sha256(data).hexdigest())
        self.assertEqual((again["archive"]["size"], again["output"], again["exact"]), (len(data), self.at("again.zip"), True))
        piped = subprocess.run([harness.WARMCORE, "--node", self.node.name, "code", "back", "-o", "-"], stdout=subprocess.PIPE, check=True)
        self.assertEqual(piped.stdout, data)

        self.assertIn("unpacked back ", self.get("back", "-d", self.at("new")).stdout)
        self.assertEqual(self.tree(self.at("new")), self.tree(source))
        os.mkdir(self.at("empty"), 0o755)
        self.get("back", "-d", ".", cwd=self.at("empty"))
        self.assertEqual(self.tree(self.at("empty")), self.tree(source))
        for path in ("new", "empty", "back.zip"):
            self.assertIn("unchanged back ", self.node.cli("deploy", self.at(path), "--name", "back").stdout)
        self.node.down()
        self.node.up()
        self.get("back", "-o", self.at("later.zip"))
        with open(self.at("later.zip"), "rb") as later:
            self.assertEqual(later.read(), data)
        self.remove("back")

    def test_archive_and_file(self):
        data = archive(("function.json", MANIFEST), ("main.py", code("zip")), ("lib/", b""), (entry("tool", 0o104755), b"#!/bin/sh\n"))
        self.node.cli("deploy", self.write("zip.zip", data))
        self.get("zip", "-d", self.at("zip"))
        self.assertEqual(self.tree(self.at("zip")), {"function.json": (False, MANIFEST), "main.py": (False, code("zip")), "lib": None,
                                                     "tool": (True, b"#!/bin/sh\n")})  # fmt: skip
        self.node.cli("deploy", self.write("single.py", code("one")))
        self.get("single", "-d", self.at("single"))
        self.assertEqual(self.tree(self.at("single")), {"single.py": (False, code("one"))})
        for name in ("zip", "single"):
            self.remove(name)

    def test_runtimes(self):
        """The archive, deployed under another name, is the same code to the node, and answers the same."""
        with open(harness.native_function("probe"), "rb") as file:
            probe = file.read()
        for name, runtime, handler, files, event, more in (
            ("two-py", "python", "main.handler", {"main.py": code("two")}, "{}", {}),
            ("two-js", "node", "main.handler", {"main.js": b"exports.handler = async () => 'two';\n"}, "{}", {}),
            ("two-c", "native", "probe.so", {"probe.so": probe}, "etwo", {"event": "binary"}),
        ):
            with self.subTest(runtime=runtime):
                self.node.deploy(name, runtime, handler, files, **more)
                first = self.node.cli("invoke", name, event).stdout
                self.assertIn("two", first)
                self.assertTrue(self.told(name, "-o", self.at(name + ".zip"))["exact"])
                copy = self.node.json("deploy", self.at(name + ".zip"), "--name", name + "-copy")["function"]
                self.assertEqual(copy["code_sha256"], self.told(name, "-f", cwd=self.place)["code_sha256"])
                self.assertEqual(self.node.cli("invoke", name + "-copy", event).stdout, first)
                self.get(name + "-copy", cwd=self.place)
                with open(self.at(name + ".zip"), "rb") as one, open(self.at(name + "-copy.zip"), "rb") as two:
                    self.assertEqual(one.read(), two.read())
                self.remove(name)
                self.remove(name + "-copy")

    def test_trusted(self):
        with open(harness.native_function("probe"), "rb") as file:
            probe = file.read()
        self.node.deploy("trusted", "native", "probe.so", {"probe.so": probe}, trusted=True, event="binary")
        self.assertEqual(self.node.cli("invoke", "trusted", "ehello").stdout, "hello")
        self.get("trusted", "-d", self.at("trusted"))
        self.assertEqual(self.tree(self.at("trusted"))["probe.so"][1], probe)
        self.remove("trusted")

    def test_versions(self):
        for value in range(2):
            self.node.cli("deploy", self.source("many", {"function.json": MANIFEST, "main.py": code(value)}))
            self.node.cli("publish", "many")
        self.node.cli("deploy", self.source("many", {"function.json": MANIFEST, "main.py": code(2)}))
        self.node.cli("alias", "many", "prod", "1")
        for qualifier, value in (("", 2), (":$LATEST", 2), (":1", 0), (":2", 1), (":prod", 0)):
            self.get("many" + qualifier, "-f", cwd=self.place)
            with zipfile.ZipFile(self.at("many.zip")) as unzip:
                self.assertEqual(unzip.read("main.py"), code(value), qualifier)
        self.fails("no published version 3", "many:3", "-f", cwd=self.place)
        self.fails("no alias nobody", "many:nobody", "-f", cwd=self.place)
        self.fails("neither $LATEST", "many:0", "-f", cwd=self.place)
        self.fails("no function named nobody", "nobody", cwd=self.place)
        self.fails("no function named nobody", "nobody:1", cwd=self.place)
        self.assertEqual(self.told("many:3", "-o", self.at("x"), check=False)["code"], "not-found")
        self.assertEqual(sorted(os.listdir(self.place)), ["many", "many.zip"])
        self.remove("many")

    def test_modules_of_the_package(self):
        """Compiled ones that came along come back, as far as the node did not put others in their place."""
        source = self.source("own", {"function.json": MANIFEST, "main.py": code("own"), "lib/two.py": b"TWO = 2\n"})
        for name in ("main.py", "lib/two.py"):
            py_compile.compile(os.path.join(source, name), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        self.node.cli("deploy", source)
        self.assertTrue(self.told("own", "-d", self.at("all"))["exact"])
        self.assertEqual(self.tree(self.at("all")), self.tree(source))
        self.source("own", {"more.py": b"MORE = 1\n"})  # that the node compiles
        self.node.cli("deploy", source)
        mixed = self.get("own", "-d", self.at("mixed"))
        self.assertIn("not byte for byte", mixed.stderr)
        self.assertEqual({name for name in self.tree(source) if "__pycache__" not in name}, set(self.tree(self.at("mixed"))))
        self.remove("own")

    def test_targets(self):
        """What is there stays; what fails leaves nothing."""
        self.node.cli("deploy", self.source("here", {"function.json": MANIFEST, "main.py": code("here"), "noise": os.urandom(200000)}))
        self.write(self.at("here.zip"), b"mine")
        self.fails("here.zip is there already; --force", "here", cwd=self.place)
        self.fails("is not a file", "here", "-o", self.place)
        self.fails("is not a file", "here", "-o", "/dev/full", "--force")
        os.symlink("here.zip", self.at("link.zip"))
        self.fails("is not a file", "here", "-o", self.at("link.zip"), "--force")
        self.fails("No such file", "here", "-o", self.at("none/x.zip"))
        self.fails("is not empty", "here", "-d", self.place)
        self.fails("Not a directory", "here", "-d", self.at("here.zip"))
        self.fails("No such file", "here", "-d", self.at("none/x"))
        with open(self.at("here.zip"), "rb") as file:
            self.assertEqual(file.read(), b"mine")
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([harness.WARMCORE, "--node", self.node.name, "code", "here", "-o", "-"], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual((done.returncode, b"cannot write standard output: No space left" in done.stderr), (1, True), done)
        ours, theirs = os.openpty()
        done = subprocess.run([harness.WARMCORE, "--node", self.node.name, "code", "here", "-o", "-"], stdout=theirs, stderr=subprocess.PIPE, check=False)
        os.close(ours)
        os.close(theirs)
        self.assertEqual((done.returncode, b"is a terminal" in done.stderr), (1, True), done)

        # A disk that is full.
        small = self.at("small")
        os.mkdir(small)
        for how, left in (("-o %s/x.zip" % small, b""), ("-d %s/x" % small, b""), ("-d %s" % small, b"")):
            script = "mount -t tmpfs -o size=64k small %s && %s --node %s code here %s; echo $?; ls -A %s" % (
                small, harness.WARMCORE, self.node.name, how, small)  # fmt: skip
            done = subprocess.run(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            self.assertEqual(done.stdout, b"1\n" + left, (how, done))
            self.assertIn(b"No space left", done.stderr)
        self.get("here", "--force", cwd=self.place)
        with zipfile.ZipFile(self.at("here.zip")) as unzip:
            self.assertEqual(unzip.read("main.py"), code("here"))
        self.assertEqual(sorted(os.listdir(self.place)), ["here", "here.zip", "link.zip", "small"])
        self.remove("here")

    def test_hostile(self):
        """What must not be in the folder, should it ever get there."""
        self.node.cli("deploy", self.source("bad", {"function.json": MANIFEST, "main.py": code("bad")}))
        stored = os.path.join(self.node.state, "functions", "bad", self.folders("bad")[0])
        secret = self.write("secret", b"secret")

        def hole(path):
            with open(path, "wb") as file:
                file.truncate(257 << 20)

        for words, make in (("leads out", lambda path: os.symlink(secret, path)), ("leads out", lambda path: os.symlink("../../../..", path)),
                            ("leads out", lambda path: os.symlink("nowhere", path)), ("is neither", os.mkfifo),
                            ("is neither", lambda path: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))),
                            ("larger than 256 MiB", hole)):  # fmt: skip
            with self.subTest(words=words):
                make(os.path.join(stored, "x"))
                try:
                    self.fails(words, "bad", cwd=self.place)
                finally:
                    os.unlink(os.path.join(stored, "x"))
        for number in range(10001):
            os.mkdir(os.path.join(stored, "d%d" % number))
        self.fails("more than 10000 files", "bad", cwd=self.place)
        for number in range(10001):
            os.rmdir(os.path.join(stored, "d%d" % number))
        self.assertEqual(os.listdir(self.place), ["bad"])
        self.assertTrue(self.told("bad", cwd=self.place)["exact"])
        with open(os.path.join(stored, "main.py"), "ab") as file:
            file.write(b"# changed\n")
        self.assertFalse(self.told("bad", "-f", cwd=self.place)["exact"])
        self.remove("bad")

    def test_under_way(self):
        """Code that is replaced and removed meanwhile is whole; and nothing is left of all the archives."""
        self.node.cli("deploy", self.source("moving", {"function.json": MANIFEST, "main.py": code(0)}))
        stopping, wrong = threading.Event(), []

        def get():
            while not stopping.is_set():
                done = subprocess.run([harness.WARMCORE, "--node", self.node.name, "--json", "code", "moving", "-o", "-"],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)  # fmt: skip
                if done.returncode != 2:
                    wrong.append(done)
                done = subprocess.run([harness.WARMCORE, "--node", self.node.name, "code", "moving", "-o", "-"],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)  # fmt: skip
                if done.returncode:
                    if b"no function named" not in done.stderr:
                        wrong.append(done)
                    continue
                with zipfile.ZipFile(io.BytesIO(done.stdout)) as unzip:
                    value = int(unzip.read("value"))
                    if unzip.testzip() or unzip.read("main.py") != code(value) or done.stderr:
                        wrong.append(done)

        def deploy(value):
            self.node.cli("deploy", self.source("moving", {"function.json": MANIFEST, "main.py": code(value), "value": b"%d" % value}))

        deploy(1)
        threads = [threading.Thread(target=get) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for value in range(2, 2 + SWITCHES // 2):
                deploy(value)
                if value % 5 == 0:
                    self.remove("moving")
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])

        def left():
            found = []
            for number in os.listdir("/proc/%d/fd" % self.node.pid):
                try:
                    found.append(os.readlink("/proc/%d/fd/%s" % (self.node.pid, number)))
                except FileNotFoundError:
                    pass  # closed meanwhile
            return [path for path in found if path.endswith(" (deleted)") and path.startswith(self.node.state + "/#")]

        harness.wait_until(lambda: not left(), "no archive is open any more")


class KillDuringDeploy(PackagesTest):
    TAG = "pkk"

    def big(self, value):
        """Many files, so that there is time to be killed in each step."""
        path = os.path.join(self.node.root, "big%d.zip" % value)
        if not os.path.exists(path):
            files = [("d%d/f%d" % (i % 20, i), b"%d" % i * 50) for i in range(1500)]
            self.write(path, archive(("function.json", MANIFEST), ("main.py", code(value)), *files))
        return path

    def expect_whole(self, name, values):
        """One of these versions, with all of its code, and nothing else on the disk."""
        value = self.invoke(name)
        self.assertIn(value, values)
        wanted = {"v%d" % v["code"] for v in self.node.json("versions", name)["versions"]}
        self.assertEqual(set(self.folders(name)), wanted)
        for version in wanted:
            count = sum(len(d) + len(f) for folder, d, f in os.walk(os.path.join(self.node.state, "functions", name, version))
                        if not folder.endswith("__pycache__"))  # fmt: skip
            # What is compiled comes after the deployment, which does not fail without.
            made = os.path.exists(os.path.join(self.node.state, "functions", name, version, "__pycache__"))
            self.assertEqual(count, 1522 + made)
        return value

    def test_kill9(self):
        chance = random.Random(SEED)
        self.node.cli("deploy", self.big(0), "--name", "big")
        before = time.monotonic()
        self.node.cli("deploy", self.big(1), "--name", "big")
        takes = time.monotonic() - before
        old, outcomes = 1, set()
        for number in range(2, 2 + ROUNDS):
            delay = chance.uniform(0, takes * 1.1)
            with self.subTest(number=number, delay=delay, seed=SEED):
                deploy = subprocess.Popen([harness.WARMCORE, "--node", self.node.name, "deploy", self.big(number), "--name", "big"],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
                time.sleep(delay)
                self.node.kill9()
                told = deploy.wait(timeout=120) == 0
                left = [f for f in self.folders("big") if f.startswith("v")]
                self.node.up()
                new = self.expect_whole("big", {old, number})
                if told:  # what was reported as done is done
                    self.assertEqual(new, number)
                outcomes.add(("new" if new == number else "old", len(left)))
                old = new
        print("deploying takes %.2f s; outcomes: %s" % (takes, sorted(outcomes)))
        self.remove("big")


if __name__ == "__main__":
    sys.exit(harness.main())
