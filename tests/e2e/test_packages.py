#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions as zip archives, and their versions: good ones and hostile ones, deploy and rollback under load, kill -9 meanwhile."""

import io
import json
import os
import random
import stat
import subprocess
import sys
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
