#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The configuration file: what is taken and what is refused, with which sentence; which value wins; that nothing is undocumented."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import harness

DAEMON = os.path.join(harness.BUILD, "bin", "warmcored")
GATEWAY = os.path.join(harness.BUILD, "bin", "warmcore-gateway")


class Config(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="warmcore-e2e-")
        self.addCleanup(shutil.rmtree, self.root, True)
        self.path = os.path.join(self.root, "node.yaml")

    def write(self, text, mode=0o600):
        with open(self.path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(self.path, mode)

    def run_program(self, program, *arguments, what="check"):
        return subprocess.run([program, "--config", self.path, *arguments, "--print", what], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=harness.PATIENCE_S)  # fmt: skip

    def knobs(self, *arguments, program=DAEMON):
        done = self.run_program(program, *arguments, what="show")
        self.assertEqual(done.returncode, 0, done.stderr)
        return {knob["name"]: (knob["value"], knob["from"]) for knob in json.loads(done.stdout)["knobs"]}

    def assert_refused(self, text, *sentences, program=DAEMON, arguments=()):
        if text is not None:
            self.write(text)
        done = self.run_program(program, *arguments)
        self.assertEqual(done.returncode, 2, "%r was taken" % text)
        self.assertEqual(done.stdout, b"")
        said = done.stderr.decode()
        self.assertLessEqual(len(said), 600)
        for sentence in sentences:
            self.assertIn(sentence, said)

    def test_values(self):
        self.write("# all kinds\nport: 5001\nprewarm: false\npolicy: 'jsq2'\nfair-at: 9\nallow-trusted: yes\n"
                   "share: [/usr, \"/opt\"]\npoll-us: auto\n---\n"[:-4])  # fmt: skip
        got = self.knobs()
        self.assertEqual(got["port"], ("5001", self.path + ":2"))
        self.assertEqual(got["prewarm"], ("off", self.path + ":3"))
        self.assertEqual(got["policy"], ("jsq2", self.path + ":4"))
        self.assertEqual(got["allow-trusted"], ("on", self.path + ":6"))
        self.assertEqual(got["share"][0], ["/usr", "/opt"])
        self.assertEqual(got["order"], ("local", "default"))

    def test_the_line_wins(self):
        self.write("port: 5001\nshare: /usr\nfair-at: 9\ncores: 0*3\n")
        got = self.knobs("--port", "5002", "--share=/opt", "--cores", "0*2")
        self.assertEqual(got["port"], ("5002", "command line"))
        self.assertEqual(got["share"], (["/opt"], "command line"))
        self.assertEqual(got["fair-at"], ("9", self.path + ":3"))
        self.assertEqual(got["cores"], ("0*2", "command line"))
        self.write("port: 0\n")  # a mistake shows although it does not count
        self.assert_refused(None, "line 1: port 0: expected a number from 1 to 65535", arguments=("--port", "5002"))

    def test_refused(self):
        for text, sentences in (
            ("prot: 1\n", ("line 1: there is no knob 'prot'; did you mean 'port'?",)),
            ("xyzzy: 1\n", ("there is no knob 'xyzzy'", "--print example")),
            ("\n\nport: 70000\n", ("line 3: port 70000: expected a number from 1 to 65535",)),
            ("port: 5 6\n", ("port 5 6: expected a number",)),
            ("policy: best\n", ("line 1: policy best: expected central|",)),
            ("prewarm: maybe\n", ("prewarm maybe: expected on|off",)),
            ("allow-trusted: perhaps\n", ("allow-trusted perhaps: expected on or off",)),
            ("port:\n", ("'port' has no value",)),
            ("port: 1\npolicy: hash\nport: 2\n", ("line 3: 'port' is there already, in line 1",)),
            ("name: x\n", ("'name' is for the command line only",)),
            ("clean: on\n", ("'clean' is for the command line only",)),
            ("port: [1]\n", ("'port' takes one value, not a list",)),
            ("port: {a: b}\n", ("'port' takes one value, not a mapping",)),
            ("share: [[/usr]]\n", ("'share' is an empty list, or one of something else",)),
            ("share: []\n", ("'share' is an empty list",)),
            ("share: /none-such\n", ("share /none-such: there is no such folder",)),
            ("- port\n", ("expected lines `name: value`",)),
            ("port\n", ("expected lines `name: value`",)),
            ("port: &a 1\n", ("anchors (&), aliases (*) and tags (!)",)),
            ("port: *a\n", ("anchors (&), aliases (*) and tags (!)",)),
            ("port: !!int 1\n", ("anchors (&), aliases (*) and tags (!)",)),
            ("port: 1\n---\nport: 2\n", ("a second document begins here",)),
            ("port: \"1\n", ("this is not YAML",)),
            ("port: 1\n\tpolicy: hash\n", ("line 2", "this is not YAML")),
            (b"port: \xff\n", ("this is not YAML",)),
            ("log: \"a\\0b\"\n", ("byte 0",)),
            ("log: |\n  a\n  b\n", ("line break",)),
            ("log: " + "x" * 5000 + "\n", ("longer than 4095 bytes",)),
            ("state-dir: rel\n", ("state-dir rel: expected an absolute path", "with what " + self.path)),
            ("cores-min: 4096\n", ("there are only",)),
            ("a: " * 2000, ("line 1",)),
            ("[" * 3000, ("line 1",)),
            ("#" * 70000, ("is larger than 65536 bytes",)),
        ):
            with self.subTest(text=text[:40]):
                self.assert_refused(text, self.path, *sentences)

    def test_the_file_itself(self):
        self.write("")
        self.assertEqual(self.run_program(DAEMON).returncode, 0)
        self.write("# only a comment\n")
        self.assertEqual(self.run_program(DAEMON).returncode, 0)
        self.write("port: 1\n", 0o620)
        self.assert_refused(None, "others than its owner may write to the file", "chmod go-w")
        self.write("port: 1\n", 0o602)
        self.assert_refused(None, "others than its owner may write")
        self.write("port: 1\n")
        os.chown(self.path, 65534, 65534)
        self.assert_refused(None, "belongs to user 65534", "chown root")
        os.chown(self.path, 0, 0)
        os.chmod(self.root, 0o777)
        self.assert_refused(None, "the folder that it is in")
        os.chmod(self.root, 0o700)
        os.unlink(self.path)
        self.assert_refused(None, "cannot open " + self.path)
        os.mkdir(self.path)
        self.assert_refused(None, "is no regular file")
        os.rmdir(self.path)
        os.mkfifo(self.path)  # does not block
        self.assert_refused(None, "is no regular file")
        os.unlink(self.path)
        self.path = "none"
        self.assertEqual(self.run_program(DAEMON).returncode, 0)

    def test_examples(self):
        """Every knob with a fixed default is in the example, and the example without its comment signs is taken and changes nothing."""
        for program in (DAEMON, GATEWAY):
            self.path = "none"
            example = self.run_program(program, what="example").stdout.decode()
            defaults = self.knobs(program=program)
            lines = re.findall(r"^#([a-z-]+): (.*)$", example, re.M)
            self.assertEqual([name for name, _ in lines], list(defaults))
            self.path = os.path.join(self.root, "example.yaml")
            fixed = [(name, value) for name, value in lines
                     if not re.search(r"[A-Z]{2}", value) and value != "N" and not value.startswith("N|")]  # fmt: skip
            self.assertGreater(len(fixed), 6)
            self.write("".join("%s: %s\n" % pair for pair in fixed))
            got = self.knobs(program=program)
            for name, value in fixed:
                if name not in ("no-auth", "no-async"):  # these exclude others
                    self.assertEqual(got[name][0], defaults[name][0], name)
            self.write(example)
            self.assertEqual(self.knobs(program=program), defaults)

    def test_documents(self):
        """docs/CONFIG.md has the tables as the programs print them; each knob is an option of `warmcore up` or `warmcore gateway`."""
        with open(os.path.join(harness.ROOT, "docs", "CONFIG.md")) as file:
            document = file.read()
        self.path = "none"
        for program, command in ((DAEMON, "up"), (GATEWAY, "gateway")):
            table = self.run_program(program, what="table").stdout.decode()
            self.assertGreater(table.count("\n"), 12)
            self.assertIn(table, document, "docs/CONFIG.md is not what %s --print table prints: scripts/config-docs.sh" % program)
            shown = subprocess.check_output([harness.WARMCORE, command, "--help"]).decode()
            for name in self.knobs(program=program):
                if (command, name) != ("up", "log"):
                    self.assertIn("--%s " % name, shown.replace("\n", " "))

    def test_gateway(self):
        self.path = os.path.join(self.root, "gateway.yaml")
        self.write("listen:\n  - 127.0.0.1:9001\n  - \"[::1]:9002\"\nthreads: 2\nno-auth: on\nunix-mode: 0666\n")
        got = self.knobs(program=GATEWAY)
        self.assertEqual(got["listen"], (["127.0.0.1:9001", "[::1]:9002"], self.path + ":3"))
        self.assertEqual(got["threads"], ("2", self.path + ":4"))
        self.assertEqual(got["no-auth"][0], "on")
        got = self.knobs("--listen", "127.0.0.1:1", program=GATEWAY)
        self.assertEqual(got["listen"], (["127.0.0.1:1"], "command line"))
        for text, sentence in (("listen: [::1]:1\n", "put a value that begins with ["), ("threads: 65\n", "threads 65: expected a number"),
                               ("unix-mode: 999\n", "no octal mode"), ("listen: nowhere\n", "line 1: listen: 'nowhere' is not ADDRESS:PORT"),
                               ("tls-cert: /x\n", "--tls-cert and --tls-key belong together"), ("theads: 1\n", "did you mean 'threads'?"),
                               ("node: x\n", "for the command line only")):  # fmt: skip
            self.assert_refused(text, sentence, program=GATEWAY)

    def test_command(self):
        def warmcore(*arguments, status=0):
            done = subprocess.run([harness.WARMCORE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.PATIENCE_S)
            self.assertEqual(done.returncode, status, (done.stdout, done.stderr))
            return done.stdout.decode(), done.stderr.decode()

        self.write("policy: jsq2\n")
        self.assertIn("is good", warmcore("config", "check", self.path)[0])
        self.assertTrue(json.loads(warmcore("--json", "config", "check", self.path)[0])["ok"])
        self.write("polcy: jsq2\n")
        self.assertIn("line 1: there is no knob 'polcy'; did you mean 'policy'?", warmcore("config", "check", self.path, status=1)[1])
        self.assertFalse(json.loads(warmcore("--json", "config", "check", self.path, status=1)[0])["ok"])
        self.assertIn("there is no knob 'polcy'", warmcore("config", "check", "--gateway", self.path, status=1)[1])
        warmcore("config", "chekc", status=2)
        warmcore("config", "show", "x", status=2)
        shown = json.loads(warmcore("--node", "no-such-node", "--json", "config", "show")[0])
        self.assertIn("port", [knob["name"] for knob in shown["knobs"]])
        self.assertIn("threads", warmcore("--node", "no-such-node", "config", "show", "--gateway")[0])

    def test_up(self):
        """`warmcore up` starts a node with what the file says; a bad file starts none."""
        node = harness.Node("config", "--datapath", "user", "--config", self.path)
        self.addCleanup(node.close)
        self.write("policy: nonsense\n")
        done = node.cli("up", "--state-dir", node.state, *node.options, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("line 1: policy nonsense", done.stderr)
        self.assertFalse(os.path.exists("/run/warmcore/" + node.name))
        self.write("policy: hash\ncores: 0*3\nport: %s\nlog-report: on\n" % harness.free_port())
        node.up()
        status = node.status()
        self.assertEqual(status["policy"]["policy"], "hash")
        self.assertEqual(len(status["cores"]), 3)
        shown = {knob["name"]: knob["from"] for knob in node.json("config", "show")["knobs"]}
        self.assertEqual(shown["policy"], self.path + ":1")
        self.assertEqual(shown["datapath"], "command line")
        node.cli("set", "--fair-at", "5")
        shown = {knob["name"]: (knob["value"], knob["from"]) for knob in node.json("config", "show")["knobs"]}
        self.assertEqual(shown["fair-at"], ("5", "warmcore set"))
        node.down()


if __name__ == "__main__":
    sys.exit(harness.main(kernel=False))
