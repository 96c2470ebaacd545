#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The workflow compile: C programs of Debian and of this project, built in calls, against the same compiler in one process. What is unchanged is not
compiled again."""

import json
import os
import signal
import subprocess
import tempfile

import harness
import wcproto
import workflows

ZLIB = "/usr/share/doc/zlib1g-dev/examples/minigzip.c"
FLAGS = "--flags=-std=gnu11 -O1 -D_GNU_SOURCE -iquote . -DWARMCORE_VERSION='\"test\"'"


class Compile(harness.NodeTest):
    TAG = "wcomp"
    OPTIONS = ("--cores", "0-1")

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="warmcore-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def compile(self, *arguments, check=True, cache="cache"):
        return workflows.driver(self.node, "compile", "--cache", self.path(cache), "-o", self.path("program"), *arguments, check=check)

    def test_project(self):
        """The native runtime of this project: each object file and the program have the bytes that the local compiler makes."""
        sources = [os.path.join("runtimes", "native", name) for name in ("host.c", "channel.c", "line.c", "zygote.c")]
        said = self.compile(FLAGS, "--libs=-rdynamic -ldl", "--check", *sources)
        self.assertIn("%d files, %d compiled, linked, 1 invocations" % (len(sources), len(sources)), said)
        self.assertIn("the same bytes as built here", said)
        self.assertEqual(subprocess.run([self.path("program")], stderr=subprocess.PIPE, check=False).returncode, 2)  # it has no channel

    def test_debian(self):
        if not os.path.exists(ZLIB):
            self.skipTest("zlib1g-dev has been installed without its examples")
        self.assertIn("the same bytes", self.compile("--libs=-lz", "--check", ZLIB))
        data = b"warmcore " * 10000
        packed = subprocess.run([self.path("program")], input=data, stdout=subprocess.PIPE, check=True).stdout
        self.assertLess(len(packed), len(data) // 10)
        self.assertEqual(subprocess.run([self.path("program"), "-d"], input=packed, stdout=subprocess.PIPE, check=True).stdout, data)

    def sources(self, count):
        names = []
        for i in range(count):
            names.append(self.write("f%d.c" % i, '#include "common.h"\nint f%d(void)\n{\n\treturn BASE + %d;\n}\n' % (i, i)))
        self.write("common.h", "#define BASE 0\n")
        calls = "".join("int f%d(void);\n" % i for i in range(count))
        add = " + ".join("f%d()" % i for i in range(count))
        return [self.write("main.c", '#include <stdio.h>\n%sint main(void)\n{\n\tprintf("%%d\\n", %s);\n}\n' % (calls, add)), *names]

    def runs(self):
        return int(subprocess.run([self.path("program")], stdout=subprocess.PIPE, check=True).stdout)

    def test_memo(self):
        """Nothing, one, and all that include a header are compiled again."""
        sources = self.sources(40)
        self.assertIn("41 files, 41 compiled, linked", self.compile(*sources))
        self.assertEqual(self.runs(), sum(range(40)))
        before = self.node.json("list")["functions"]
        self.assertIn("0 compiled, not linked, 0 invocations", self.compile(*sources))
        counts = [{f["name"]: f["invocations"] for f in functions} for functions in (before, self.node.json("list")["functions"])]
        self.assertEqual(*counts)
        self.write("f7.c", "int f7(void)\n{\n\treturn 1000;\n}\n")
        self.assertIn("1 compiled, linked, 1 invocations", self.compile(*sources))
        self.assertEqual(self.runs(), sum(range(40)) - 7 + 1000)
        self.write("common.h", "#define BASE 1\n")
        self.assertIn("39 compiled, linked", self.compile(*sources))
        self.assertEqual(self.runs(), sum(range(40)) - 7 + 1000 + 39)
        self.assertIn("41 compiled", self.compile("--flags=-O1", *sources))
        self.assertIn("0 compiled, not linked", self.compile(*sources))

    def test_errors(self):
        """Of compiler and linker, all of them, as they say it; what was good is kept."""
        good, bad = self.write("good.c", "int main(void)\n{\n\treturn other();\n}\n"), self.write("bad.c", "int f(void)\n{\n\treturn nothing;\n}\n")
        worse = self.write("worse.c", "{\n")
        status, said, errors = self.compile(good, bad, worse, check=False)
        self.assertEqual((status, said), (1, ""))
        self.assertIn("bad.c:3:", errors)
        self.assertIn("nothing", errors)
        self.assertIn("worse.c:1:", errors)
        self.assertFalse(os.path.exists(self.path("program")))
        self.write("bad.c", "int other(void)\n{\n\treturn 0;\n}\n")
        self.assertIn("2 files, 1 compiled, linked", self.compile(good, bad))
        status, _, errors = self.compile(good, check=False)
        self.assertEqual(status, 1)
        self.assertIn("undefined reference to `other'", errors)
        status, _, errors = self.compile(self.write("no.c", "#include <none.h>\n"), check=False)
        self.assertIn("none.h", errors)

    def test_too_large(self):
        """A unit that no payload holds; and many that one does not hold, which go in several."""
        noise = os.urandom(5 << 20).hex()
        status, _, errors = self.compile(self.write("large.c", 'char large[] = "%s";\n' % noise), check=False)
        self.assertEqual(status, 1)
        self.assertIn("more than a payload", errors)
        pad = "\n".join("extern int pad_%d_%d;" % (i, i * 7) for i in range(60000))
        names = [self.write("part%d.c" % i, pad + "\nint part%d;\n" % i) for i in range(6)]
        said = self.compile(*names, self.write("m.c", "int main(void)\n{\n\treturn 0;\n}\n"))
        self.assertIn("7 files, 7 compiled, linked", said)
        self.assertNotIn(" 1 invocations", said)

    def test_killed(self):
        """The compiler's function is killed while it compiles: an error that says so, and the next build is whole."""
        name = self.write("slow.c", "int main(void)\n{\n\treturn 0;\n}\n")
        self.compile(name)
        self.node.deploy("compile-unit", "python", "u.f", {"u.py": b"import os, signal\ndef f(e, c):\n    os.kill(os.getpid(), signal.SIGKILL)\n"})
        functions = {f["name"]: f["id"] for f in self.node.json("list")["functions"]}
        with self.node.client() as client:
            answer = client.invoke(functions["compile"], b'{"flags": [], "units": [{"key": "k", "name": "slow.c", "text": ""}]}')
            self.assertEqual(answer.kind, wcproto.REPLY, answer)
            self.assertIn(b"Runtime.CrashError", answer.payload)
        self.assertIn("1 compiled, linked", self.compile(name, cache="other"))

    def test_caller_killed(self):
        """The one that waits for the calls dies: the client is told, and the node has nothing left of it."""
        slow = b"import os, time\ndef f(e, c):\n    open(os.environ['SHARED'] + '/begun', 'w').close()\n    time.sleep(1)\n"
        tell = b"""import build, json, os
def f(event, context):
    with open(os.environ["SHARED"] + "/caller", "w") as file:
        json.dump([os.stat("/proc/self/ns/pid").st_ino, os.getpid()], file)
    return build.handler(event, context)
"""
        self.node.deploy("compile-unit", "python", "u.f", {"u.py": slow}, timeout_ms=20000)
        build = os.path.join(workflows.FOLDER, "compile", "build", "build.py")
        id = self.node.deploy("compile", "python", "t.f", {"t.py": tell, "build.py": build}, timeout_ms=60000)
        with self.node.client() as client:
            request = client.fresh_id()
            client.send(request, id, b'{"flags": [], "units": [{"key": "k", "name": "x.c", "text": ""}]}')
            harness.wait_until(lambda: os.path.exists(os.path.join(self.node.shared, "begun")), "it waits for what runs")
            with open(os.path.join(self.node.shared, "caller")) as file:
                namespace, pid = json.load(file)
            for outside in harness.host_pids(namespace, [pid]):
                os.kill(outside, signal.SIGKILL)
            self.assert_error(client.receive(60), wcproto.CRASH, "Runtime.CrashError")
        self.node.wait_idle()
        self.assertIn("1 compiled, linked", self.compile(self.write("x.c", "int main(void)\n{\n\treturn 0;\n}\n")))


class OneCore(Compile):
    TAG = "wcomp1"
    OPTIONS = ("--cores", "0")
    test_debian = test_errors = test_too_large = test_killed = test_caller_killed = None


if __name__ == "__main__":
    harness.main()
