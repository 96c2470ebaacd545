#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`warmcore top`: what it says of a live node, of a stopped and of a killed daemon, of 4,096 cores; the screen, its keys, sizes and ends."""

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import unittest

import gates
import harness
from harness import WARMCORE, wait_until
from syscall_bpf import MAP_CREATE, OBJ_GET, OBJ_GET_INFO, OBJ_PIN, bpf

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's, whichever python3 is first on PATH
try:
    import pyte
except ImportError:
    harness.skip("python3-pyte is not installed: scripts/install-deps.sh --group test")

PINS = "/sys/fs/bpf/warmcore/"
HOSTILE = [b"\x1b]0;pwned\x07\x1b[2J\x1b[31mred", b"\xc2\x9b2J\xc2\x9d0;c1\xc2\x9c", b"\xe2\x80\xaegnp.exe", b"line\nbreak\rback\ttab",
           b"\xff\xfe\xc0\xafbroken", b"n" * 63, "m\u00fcller-\u6f22\u5b57".encode(), b"%s%n%x", b"<script>alert(1)</script>"]  # fmt: skip


def with_path(command, path, fd=0):
    text = ctypes.create_string_buffer(path.encode())
    return bpf(command, struct.pack("QII", ctypes.addressof(text), fd, 0))[0]


class FakeMaps:
    """Pinned maps like a real node's, with as many cores as one likes and whatever content: no daemon lets such names in."""

    def __init__(self, model, name, cores):
        self.name, self.path, self.memory = name, PINS + name, {}
        os.makedirs(self.path + "/maps")
        for map_name in os.listdir(PINS + model + "/maps"):
            fd = with_path(OBJ_GET, PINS + model + "/maps/" + map_name)
            info = ctypes.create_string_buffer(256)
            bpf(OBJ_GET_INFO, struct.pack("IIQ", fd, 256, ctypes.addressof(info)))
            kind, _, key, value, count, flags = struct.unpack_from("6I", info.raw)
            if kind not in (2, 6):
                continue
            count = {"wc_runs": cores * 16}.get(map_name, count)
            new = bpf(MAP_CREATE, struct.pack("5I", kind, key, value, count, flags))[0]
            with_path(OBJ_PIN, self.path + "/maps/" + map_name, new)
            if flags & 1 << 10:
                self.memory[map_name] = mmap.mmap(new, (value * count + 4095) & ~4095)
            if map_name == "wc_config":
                self.memory[map_name][:value] = mmap.mmap(fd, (value + 4095) & ~4095, prot=mmap.PROT_READ)[:value]
                struct.pack_into("I", self.memory[map_name], 8, cores)

    def function(self, slot, name, invocations=0):
        at = slot * 192
        struct.pack_into("I", self.memory["wc_functions"], at, 4096 | slot)
        struct.pack_into("Q", self.memory["wc_functions"], at + 72, invocations)
        self.memory["wc_functions"][at + 112 : at + 192] = name.ljust(80, b"\0")

    def core(self, core, state, slot=0):
        struct.pack_into("IHHIH", self.memory["wc_cores"], core * 128, state, 0, 0, 4096 | slot if slot else 0, core % 1024)
        struct.pack_into("8I", self.memory["wc_cores"], core * 128 + 64, *[4096 | (slot + i) for i in range(8)] if slot else [0] * 8)

    def close(self):
        for map_name in os.listdir(self.path + "/maps"):
            os.unlink(self.path + "/maps/" + map_name)
        os.rmdir(self.path + "/maps")
        os.rmdir(self.path)
        with contextlib.suppress(OSError):  # another node may have pins there
            os.rmdir(os.path.dirname(self.path))


class Terminal:
    """`warmcore top` on a terminal of this size, and what that shows. pyte knows no REP, which xterm has and screen has not."""

    def __init__(self, node, *arguments, rows=24, columns=100, locale="C.UTF-8", term="screen-256color"):
        self.master, self.slave = pty.openpty()
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw, self.lock = b"", threading.Lock()
        self.size(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        environment = dict(os.environ, TERM=term, LC_ALL=locale)
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen([WARMCORE, "--node", node, "top", *arguments], stdin=self.slave, stdout=self.slave,
                                        stderr=subprocess.PIPE, env=environment)  # fmt: skip
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def size(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        with self.lock:
            self.screen.resize(rows, columns)
        self.size(rows, columns)
        self.process.send_signal(signal.SIGWINCH)  # it is not our controlling terminal

    def read(self):
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            with self.lock:
                self.raw += data
                self.stream.feed(data)

    def text(self):
        with self.lock:
            return "\n".join(self.screen.display)

    def press(self, keys):
        os.write(self.master, keys)

    def wait_for(self, pattern):
        try:
            return wait_until(lambda: re.search(pattern, self.text()), pattern)
        except AssertionError:
            raise AssertionError("no %r on\n%s" % (pattern, self.text())) from None

    def wait_end(self):
        status = self.process.wait(harness.PATIENCE_S)
        self.process.stderr.close()
        return status

    def restored(self):
        """The modes are those of before, and the screen was given back."""
        left = b"\x1b[?1049l"
        try:
            wait_until(lambda: self.raw.rstrip().endswith(left) or left in self.raw[-64:], "the screen is given back", 20)
        except AssertionError:
            return False
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        os.close(self.slave)
        self.reader.join()  # or it would read from the next terminal, which gets the same number
        os.close(self.master)


def harmless(test, data):
    """Only printable text and line ends: no control character of any kind, nothing that turns the direction."""
    text = data.decode()
    bad = [c for c in text if (ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0 or ord(c) in range(0x200B, 0x2070)]
    test.assertFalse(bad, ascii(bad[:20]))


def run(*arguments, locale="C.UTF-8"):
    return subprocess.run([WARMCORE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, LC_ALL=locale),
                          timeout=300)  # fmt: skip


class TopTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = gates.Node("top")
        cls.addClassCleanup(cls.node.close)
        cls.node.up()
        cls.gate_id = cls.node.native("gate")
        cls.node.deploy_python("probe")

    @classmethod
    def tearDownClass(cls):
        cls.node.wait_idle()
        cls.node.down()
        cls.node.check_nothing_left()

    def terminal(self, *arguments, node=None, **how):
        terminal = Terminal(node or self.node.name, *arguments, **how)
        self.addCleanup(terminal.close)
        return terminal


class Live(TopTest):
    def top(self, *arguments):
        return self.node.json("top", "-d", "0.1", "--once", *arguments)

    def test_what_it_says(self):
        before = self.top()
        self.assertEqual((before["daemon"], before["pid"]), (True, self.node.pid))
        with gates.Crowd(self.node) as crowd:
            gate = self.node.new_gate()
            crowd.send(self.gate_id, "held", gate)
            wait_until(lambda: self.node.spans("held"), "it runs")
            frame = self.top()
            running = [core for core in frame["cores"] if core["state"] == "running"]
            self.assertEqual([core["function"] for core in running], ["gate"])
            self.assertGreater(running[0]["busy"], 0.5)  # all the time but for what lies between two words
            self.assertGreater(running[0]["running_us"], 0)
            self.assertEqual(frame["states"]["running"], 1)
            gates_row = {function["name"]: function for function in frame["functions"]}["gate"]
            self.assertEqual(gates_row["running"], 1)
            self.node.open(gate)
            crowd.gather()
        frame = self.top()
        listed = {function["name"]: function for function in self.node.json("list")["functions"]}
        for function in frame["functions"]:
            for key in ("invocations", "errors", "cold_starts"):
                self.assertEqual(function[key], listed[function["name"]][key], function)
        self.assertIn("gate", sum((core["warm"] for core in frame["cores"]), []))
        self.assertEqual(sum(shard["free"] for shard in frame["shards"]), len(frame["cores"]))

    def test_rates(self):
        """Invocations between two frames are in the second, whenever they came."""
        top = subprocess.Popen([WARMCORE, "--node", self.node.name, "--json", "top", "-n", "0", "-d", "0.2"], stdout=subprocess.PIPE)
        self.addCleanup(top.wait)
        self.addCleanup(top.kill)
        self.addCleanup(top.stdout.close)
        first = json.loads(top.stdout.readline())
        already = {f["name"]: f["invocations"] for f in first["functions"]}["probe"]
        for _ in range(7):
            self.node.cli("invoke", "probe", '{"op": "echo"}', check=False)
        seen = waits = 0
        while True:
            frame = json.loads(top.stdout.readline())
            probe = {f["name"]: f for f in frame["functions"]}["probe"]
            seen += probe["per_s"] * frame["seconds"]
            if probe["wait_us"] is not None:
                waits += 1
                self.assertGreater(probe["service_us"], 0)
            if probe["invocations"] == already + 7 and not probe["per_s"]:
                break
        self.assertAlmostEqual(seen, 7, delta=0.1)
        self.assertGreater(waits, 0)

    def test_the_daemon_is_not_asked(self):
        """Nothing of it need run."""
        with harness.stopped(self.node.pid):
            frame = self.top()
        self.assertTrue(frame["daemon"])
        self.assertEqual({f["name"] for f in frame["functions"]}, {"gate", "probe"})

    def test_plain(self):
        text = self.node.cli("top", "--once", "-d", "0.1").stdout
        self.assertIn("daemon %d" % self.node.pid, text)
        self.assertRegex(text, r"(?m)^ *\d+ +.* gate$")
        self.assertNotIn("\x1b", text)
        two = self.node.cli("top", "-n", "2", "-d", "0.1").stdout
        self.assertEqual(two.count("node " + self.node.name), 2)
        filtered = self.top("--filter", "GAT")
        self.assertEqual([f["name"] for f in filtered["functions"]], ["gate"])
        names = [f["name"] for f in self.top("--sort", "name", "--reverse")["functions"]]
        self.assertEqual(names, ["probe", "gate"])

    def test_wrong(self):
        for arguments in (["-d", "0"], ["-d", "0.05"], ["-d", "1e3"], ["-d", "nan"], ["-d", ""], ["-d", "4000"], ["--sort", "age:x"],
                          ["--sort", ""], ["--sort", "functions:busy"], ["--reverse"], ["--filter", "x" * 64], ["-n", "-1"]):  # fmt: skip
            done = self.node.cli("top", *arguments, check=False)
            self.assertEqual(done.returncode, 2, arguments)
        done = subprocess.run([WARMCORE, "--node", "nowhere", "top"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("has no BPF maps", done.stderr)

    def test_screen(self):
        terminal = self.terminal("-d", "0.2")
        terminal.wait_for(r"FUNCTIONS 1 to 2 of 2 +by rate")
        terminal.wait_for("probe")
        terminal.press(b">")
        terminal.wait_for("FUNCTIONS .* by load")
        terminal.press(b"<<")
        terminal.wait_for("FUNCTIONS .* by name")
        terminal.press(b"r")
        terminal.wait_for("by name, reversed")
        terminal.press(b"\t")
        terminal.press(b">")
        terminal.wait_for("SHARDS .* by pending")
        terminal.press(b"/gAt\r")
        terminal.wait_for(r"FUNCTIONS 1 to 1 of 1 \(filtered\)")
        terminal.press(b"/zzz")
        terminal.wait_for("filter: zzz_")
        terminal.press(b"\x1b")
        terminal.wait_for(r"FUNCTIONS 1 to 1 of 1 \(filtered\)")
        terminal.press(b"\x1b")
        terminal.wait_for("FUNCTIONS 1 to 2 of 2")
        terminal.press(b"h")
        terminal.wait_for("by a page")
        terminal.press(b"x")
        terminal.wait_for("FUNCTIONS")
        terminal.press(b"p")
        terminal.wait_for("PAUSED")
        terminal.press(b"q")
        self.assertEqual(terminal.wait_end(), 0)
        self.assertTrue(terminal.restored())

    def test_sizes(self):
        """From one place to more than there is: it draws, and lives."""
        terminal = self.terminal("-d", "0.1", rows=1, columns=1)
        for rows, columns in ((1, 1), (1, 200), (200, 1), (2, 2), (3, 10), (11, 40), (24, 80), (100, 300), (500, 500), (1, 1), (24, 80)):
            mark = len(terminal.raw)
            terminal.resize(rows, columns)
            wait_until(lambda: len(terminal.raw) > mark or terminal.process.poll() is not None, "it draws")  # noqa: B023
            terminal.press(b"\t>h")
            terminal.press(b"x")
            self.assertIsNone(terminal.process.poll(), (rows, columns))
        terminal.wait_for("node %s" % self.node.name)
        terminal.press(b"q")
        self.assertEqual(terminal.wait_end(), 0)
        self.assertTrue(terminal.restored())

    def test_ends(self):
        """However it ends, but for SIGKILL, the terminal is as before, and the status says what it was."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT):
            terminal = self.terminal("-d", "0.2")
            terminal.wait_for("FUNCTIONS")
            self.assertNotEqual(termios.tcgetattr(terminal.slave), terminal.before)
            terminal.process.send_signal(number)
            self.assertEqual(terminal.wait_end(), -number)
            self.assertTrue(terminal.restored(), number)
        terminal = self.terminal("-n", "2", "-d", "0.1")
        self.assertEqual(terminal.wait_end(), 0)
        self.assertTrue(terminal.restored())

    def test_unknown_terminal(self):
        terminal = self.terminal(term="no-such-terminal")
        self.assertEqual(terminal.process.wait(harness.PATIENCE_S), 1)
        self.assertIn(b"set TERM", terminal.process.stderr.read())
        terminal.process.stderr.close()


class Fake(TopTest):
    """Maps that no daemon would write."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fake = FakeMaps(cls.node.name, "fak%d" % (os.getpid() % 100000), 4096)
        cls.addClassCleanup(cls.fake.close)
        for slot, name in enumerate(HOSTILE, 1):
            cls.fake.function(slot, name, 1000 - slot)
        for core in range(4096):
            cls.fake.core(core, core % 6, 1 + core % len(HOSTILE))

    def test_hostile_names(self):
        for locale in ("C.UTF-8", "C"):
            done = run("--node", self.fake.name, "top", "--once", "-d", "0.1", locale=locale)
            self.assertEqual(done.returncode, 0, done.stderr)
            harmless(self, done.stdout)
            self.assertIn(b"?]0;pwned??[2J?[31mred", done.stdout)
            self.assertIn(b"line?break?back?tab", done.stdout)
            self.assertEqual("m\u00fcller-\u6f22\u5b57".encode() in done.stdout, locale != "C")
            self.assertEqual(len([line for line in done.stdout.split(b"\n") if line.endswith(b"n" * 63)]), 1)
        done = run("--node", self.fake.name, "--json", "top", "--once", "-d", "0.1")
        self.assertTrue(all(0x20 <= byte < 0x7F or byte == 10 for byte in done.stdout))
        frame = json.loads(done.stdout)
        self.assertFalse(frame["daemon"])
        self.assertEqual(len(frame["cores"]), 4096)
        self.assertEqual(len(frame["functions"]), len(HOSTILE))

    def test_hostile_screen(self):
        """Each cell of the screen holds what was meant for it: a name has moved nothing, and set no title."""
        terminal = self.terminal("-d", "0.2", node=self.fake.name, rows=60, columns=140)
        terminal.wait_for(r"\?\]0;pwned\?\?\[2J\?\[31mred")
        terminal.wait_for("NO DAEMON")
        self.assertEqual(terminal.screen.title, "")
        self.assertNotIn(b"pwned\x07", terminal.raw)
        self.assertNotIn(b"\xc2\x9b", terminal.raw)
        self.assertNotIn(b"\xe2\x80\xae", terminal.raw)
        terminal.press(b"q")
        self.assertEqual(terminal.wait_end(), 0)

    def test_scrolling(self):
        terminal = self.terminal("-d", "0.2", node=self.fake.name)
        terminal.wait_for(r"CORES 1 to \d+ of 4096")
        terminal.press(b"\t\t")
        terminal.press(b"G")
        terminal.wait_for(r"CORES \d+ to 4096 of 4096")
        terminal.wait_for(r"(?m)^4095 ")
        terminal.press(b"g")
        terminal.wait_for(r"CORES 1 to \d+ of 4096")
        terminal.press(b"q")
        self.assertEqual(terminal.wait_end(), 0)

    def test_gone(self):
        """The maps go away below it: a script is told, the screen waits for the node."""
        other = FakeMaps(self.node.name, "gon%d" % (os.getpid() % 100000), 4)
        terminal = self.terminal("-d", "0.1", node=other.name)
        terminal.wait_for("CORES")
        other.close()
        terminal.wait_for("node %s is down; waiting" % other.name)
        other = FakeMaps(self.node.name, other.name, 4)
        self.addCleanup(other.close)
        terminal.wait_for("CORES 1 to")
        terminal.press(b"q")
        self.assertEqual(terminal.wait_end(), 0)


class Killed(unittest.TestCase):
    def test_killed(self):
        node = gates.Node("topk")
        self.addCleanup(node.close)
        node.up()
        function = node.native("gate")
        with gates.Crowd(node) as crowd:
            gate = node.new_gate()
            crowd.send(function, "held", gate)
            wait_until(lambda: node.spans("held"), "it runs")
            terminal = Terminal(node.name, "-d", "0.1")
            self.addCleanup(terminal.close)
            terminal.wait_for("daemon %d" % node.pid)
            node.kill9()
            terminal.wait_for("NO DAEMON: it was killed")
        frame = node.json("top", "--once", "-d", "0.1")
        self.assertEqual((frame["daemon"], frame["pid"]), (False, 0))
        self.assertEqual(frame["states"]["running"], 1)
        self.assertEqual([core["busy"] for core in frame["cores"]], [0.0] * len(frame["cores"]))
        node.up()
        terminal.wait_for("daemon %d" % node.pid)
        terminal.press(b"q")
        self.assertEqual(terminal.wait_end(), 0)
        node.down()


class UserDatapath(unittest.TestCase):
    def test_no_maps(self):
        node = harness.Node("topu", "--datapath", "user", "--port", harness.free_port())
        self.addCleanup(node.close)
        node.up()
        done = node.cli("top", "--once", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--datapath user", done.stderr)
        node.down()


if __name__ == "__main__":
    harness.main()
