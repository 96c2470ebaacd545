#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Logs of functions: whose output it is, what they may take, what reads them, and that nobody waits for a disk."""

import ctypes
import json
import os
import select
import socket
import subprocess
import sys
import threading

import harness
import wcproto

TALKER = b"""
import os, sys, time
print("loading")
def handler(event, context):
    for i in range(event.get("lines", 1)):
        print("%s says %s" % (context.aws_request_id, event.get("text", i)))
        if i % 3 == 0:
            os.write(2, ("raw of %s\\n" % context.aws_request_id).encode())
        if event.get("ms"):
            time.sleep(event["ms"] / 1000)
    if "bytes" in event:
        os.write(1, bytes.fromhex(event["bytes"]))
    if "flood" in event:
        block = b"z" * 99 + b"\\n"
        for _ in range(event["flood"]):
            os.write(1, block * 600)
    if event.get("die"):
        os.abort()
    if event.get("hang"):
        time.sleep(60)
    return "done"
"""


def aws(request_id):
    return "00000000-0000-0000-%04x-%012x" % (request_id >> 48, request_id & 0xFFFFFFFFFFFF)


class Follower:
    """`warmcore logs -f`, and the lines that it has printed."""

    def __init__(self, node, *arguments):
        self.process = subprocess.Popen([harness.WARMCORE, "--node", node.name, *arguments, "--follow"], stdout=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)  # fmt: skip
        self.lines = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    def wait_for(self, text):
        harness.wait_until(lambda: any(text in line for line in list(self.lines)), "the follower prints %s" % text)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()
        return self.lines


class LogsTest(harness.NodeTest):
    def deploy(self, name, source=TALKER, **manifest):
        function = self.node.deploy(name, "python", "main.handler", {"main.py": source}, **manifest)
        self.addCleanup(self.node.cli, "remove", name, check=False)
        return function

    def call(self, function, seconds=60, **event):
        """Returns the request's id."""
        with self.node.client() as client:
            answer = client.invoke(function, json.dumps(event).encode(), seconds=seconds)
        self.assert_reply(answer, "done")
        return answer.request_id

    def records(self, name, *arguments):
        out = self.node.cli("--json", "logs", name, "--lines", "100000", *arguments).stdout
        return [json.loads(line) for line in out.splitlines()]

    def ask(self, **request):
        with socket.socket(socket.AF_UNIX) as control:
            control.connect("/run/warmcore/%s/control.sock" % self.node.name)
            control.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(control.makefile("rb").read())

    def files(self, name=None):
        found, folder = {}, os.path.join(self.node.state, "logs")
        for file in os.listdir(folder):
            if name in (None, file.split(".")[0]):
                try:
                    found[file] = os.path.getsize(os.path.join(folder, file))
                except FileNotFoundError:
                    pass  # it is being rotated
        return found

    def check_own(self, records, least):
        """Each line that names a request is recorded for that one."""
        named = [r for r in records if "00000000-0000-0000" in r["text"] and r["stream"] == "out"]
        self.assertGreaterEqual(len(named), least)
        for record in named:
            self.assertIsNotNone(record["request"], record)
            self.assertIn(aws(int(record["request"], 16)), record["text"])


class Logs(LogsTest):
    TAG = "logs"
    OPTIONS = ("--cores", "0-1*2", "--log-rate-kib", "0")

    def test_record(self):
        function = self.deploy("one")
        first = self.call(function, lines=1)
        records = self.records("one")
        self.assertEqual([r["text"] for r in records], ["loading", "%s says 0" % aws(first), "raw of %s" % aws(first)])
        pids = self.node.instance_pids()
        version = [f for f in self.node.json("list")["functions"] if f["name"] == "one"][0]["version"]
        for record in records:
            self.assertEqual((record["function"], record["version"], record["request"], record["stream"], record["cut"]),
                             ("one", version, "%016x" % first, "out", False))  # fmt: skip
            self.assertIn(record["pid"], pids)
            self.assertRegex(record["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        second = self.call(function, lines=1)
        for form in ("%016x" % second, aws(second), "%x" % second):
            self.assertEqual(len(self.records("one", "--request", form)), 2)
        self.assertEqual(len(self.records("one", "--since", "1h")), 5)
        self.assertEqual(self.records("one", "--since", "2999-01-01"), [])
        self.assertEqual(self.node.cli("logs", "one", "-n", "1").stdout.splitlines()[0].split(" out ")[1], "raw of %s" % aws(second))
        self.assertNotIn("\033", self.node.cli("logs", "one").stdout)

    def test_attribution(self):
        """Several instances at once, each with requests one after the other, some without a newline at the end."""
        functions = [self.deploy("many%d" % i) for i in range(2)]

        def client(number):
            for i in range(25):
                self.call(functions[(number + i) % 2], lines=4, ms=number % 2, bytes=(b"end of it").hex())

        threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name in ("many0", "many1"):
            records = self.records(name)
            self.check_own(records, 75 * 6)
            self.assertGreater(len({r["pid"] for r in records}), 1, "more than one instance")
            for request in {r["request"] for r in records if r["text"].endswith("says 0")}:
                own = [r["text"] for r in records if r["request"] == request and r["text"] != "loading"]
                self.assertEqual((len(own), own[-1]), (7, "end of it"))

    def test_tail(self):
        """The end of what one request printed, right after its reply, from memory."""
        function = self.deploy("tail")
        for lines in (1, 300):
            request = self.call(function, lines=lines)
            text = self.ask(op="tail", name="tail", request="%016x" % request)["text"]
            whole = "".join("%s says %d\n" % (aws(request), i) + ("raw of %s\n" % aws(request) if i % 3 == 0 else "") for i in range(lines))
            if lines == 1:
                whole = "loading\n" + whole
            self.assertEqual(text, whole[-4096:])
        self.assertEqual(self.ask(op="tail", name="tail", request="1")["text"], "")
        self.assertFalse(self.ask(op="tail", name="tail", request="xyz")["ok"])
        self.assertFalse(self.ask(op="tail", name="nobody", request="1")["ok"])

    def test_last_words(self):
        """What a request printed before its process died or was stopped is that request's, and complete with the answer."""
        function = self.deploy("dying", timeout_ms=1000)
        for event, code in (({"die": True}, wcproto.CRASH), ({"hang": True}, wcproto.TIMEOUT)):
            with self.subTest(event=event), self.node.client() as client:
                answer = client.invoke(function, json.dumps(dict(event, text="last")).encode(), seconds=60)
                self.assert_error(answer, code)
                own = self.records("dying", "--request", "%016x" % answer.request_id)
                self.assertIn("%s says last" % aws(answer.request_id), [r["text"] for r in own])

    def test_load_error(self):
        function = self.deploy("broken", b"print('before')\nraise ValueError('at load')\n")
        with self.node.client() as client:
            answer = client.invoke(function, b"{}", seconds=60)
            self.assert_error(answer, wcproto.INIT)
        own = [r["text"] for r in self.records("broken", "--request", "%016x" % answer.request_id)]
        self.assertEqual(own[0], "before")
        self.assertIn("at load", "".join(own))

    def test_hostile_bytes(self):
        """No byte of a function reaches a terminal as a command, or ends a record."""
        function = self.deploy("hostile")
        hostile = bytes(range(256)) + b"\033]0;title\007\033[2J" + "\u009b31m\u202e\u2028\u2066 caf\u00e9 \u4e16\t.".encode() + b"\xc3("
        forged = b"\n2026-01-01T00:00:00.000Z other v1 1 0000000000000001 sys forged\r"
        self.call(function, bytes=(hostile + forged + b"\n").hex())
        raw = self.node.cli("logs", "hostile", text=False).stdout
        with open(os.path.join(self.node.state, "logs", "hostile.log"), "rb") as file:
            for data in (raw, file.read()):
                for line in data.split(b"\n"):
                    text = line.decode()  # it is UTF-8
                    self.assertFalse([c for c in text if (ord(c) < 32 and c != "\t") or 127 <= ord(c) < 160], repr(text))
                    self.assertFalse(set("\u202e\u2028\u2066") & set(text))
        texts = [r["text"] for r in self.records("hostile")]
        joined = "".join(texts)
        for part in ("caf\u00e9 \u4e16\t.", "\\x1b]0;title\\x07\\x1b[2J", "\\xe2\\x80\\xae", "\\xc3("):
            self.assertIn(part, joined)
        self.assertEqual({r["function"] for r in self.records("hostile")}, {"hostile"}, "nothing is forged")
        with open(os.devnull) as null:
            master, slave = os.openpty()
            terminal = subprocess.run([harness.WARMCORE, "--node", self.node.name, "logs", "hostile"], stdin=null, stdout=slave, timeout=60)
            os.close(slave)
            self.assertEqual(terminal.returncode, 0)
            shown = b""
            while select.select([master], [], [], 0)[0]:
                try:
                    shown += os.read(master, 65536)
                except OSError:
                    break
            os.close(master)
        self.assertIn(b"\033[2m", shown, "colours on a terminal")
        self.assertEqual(set(shown.replace(b"\033[2m", b"").replace(b"\033[0m", b"").replace(b"\033[33m", b"")) & {0x1B, 7}, set())

    def test_long_line(self):
        function = self.deploy("long")
        text = "x" * 8191 + "\u4e16" * 3000 + "end"
        self.call(function, bytes=(text + "\nshort\n").encode().hex())
        records = [r for r in self.records("long") if "says" not in r["text"] and "raw" not in r["text"] and r["text"] != "loading"]
        self.assertEqual([r["cut"] for r in records], [True, True, False, False])
        self.assertEqual("".join(r["text"] for r in records), text + "short")
        self.assertNotIn("\\x", records[1]["text"], "it is not cut within a character")

    def test_redeploy_and_remove(self):
        """--follow goes on through both; the log of what was removed stays."""
        function = self.deploy("twice")
        follower = Follower(self.node, "logs", "twice")  # not only what comes: it may begin late
        self.addCleanup(follower.stop)
        self.call(function, text="before")
        follower.wait_for("says before")
        function = self.deploy("twice", TALKER + b"# another version\n")
        self.call(function, text="after")
        follower.wait_for("says after")
        self.assertEqual(len({r["version"] for r in self.records("twice")}), 2)
        self.node.cli("remove", "twice")
        self.assertIn("says after", self.node.cli("logs", "twice").stdout)
        self.assertEqual(self.node.cli("logs", "never-there", check=False).returncode, 1)
        self.assertEqual(self.node.cli("logs", "../daemon", check=False).returncode, 1)

    def test_secrets(self):
        function = self.deploy("secret", environment={"PASSWORD": "hunter2-hunter2"})
        self.call(function)
        for folder, _, names in os.walk(os.path.join(self.node.state, "logs")):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    self.assertNotIn(b"hunter2", file.read())
                self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o600)
        with open(os.path.join(self.node.state, "daemon.log"), "rb") as file:
            self.assertNotIn(b"hunter2", file.read())

    def test_own_log(self):
        self.assertIn("is up", self.node.cli("logs").stdout)
        self.assertEqual(self.node.cli("logs", "--request", "1", check=False).returncode, 2)

    def test_kill9(self):
        """A line that was cut is ended; the log goes on after it."""
        function = self.deploy("crashed")
        self.call(function, text="one")
        harness.wait_until(lambda: [r for r in self.records("crashed") if r["text"].endswith("says one")], "it is on the disk")
        self.node.kill9()
        path = os.path.join(self.node.state, "logs", "crashed.log")
        with open(path, "ab") as file:
            file.write(b"2026-01-01T00:00:00.000Z crashed v1 1 00")
        self.node.up()
        self.call(function, text="two")
        texts = [r["text"] for r in self.records("crashed")]
        self.assertIn("2026-01-01T00:00:00.000Z crashed v1 1 00", texts)
        self.assertEqual(len([t for t in texts if t.endswith(("says one", "says two"))]), 2)

    def writer(self):
        for tid in os.listdir("/proc/%d/task" % self.node.pid):
            with open("/proc/%d/task/%s/comm" % (self.node.pid, tid)) as file:
                if file.read() == "logs\n":
                    return int(tid)
        raise AssertionError("there is no writer")

    def test_writer_that_hangs(self):
        """As on a disk that takes nothing: functions are served, and their output is there when it goes on."""
        function, other = self.deploy("slow"), self.deploy("quiet")
        self.call(function)
        self.call(other)
        tid = self.writer()
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if libc.ptrace(0x4206, tid, None, None):  # PTRACE_SEIZE
            self.skipTest("no ptrace: %s" % os.strerror(ctypes.get_errno()))
        try:
            self.assertEqual(libc.ptrace(0x4207, tid, None, None), 0)  # PTRACE_INTERRUPT
            os.waitpid(tid, 0x40000000)  # __WALL
            for i in range(20):
                self.call(function, text="meanwhile %d" % i)
            self.call(function, flood=400)  # 24 MB: more than is kept
            self.call(other, text="served")
            self.node.kill_instances()
            harness.wait_until(lambda: self.node.status()["instances"] == 0, "the main loop reaps")
        finally:
            self.assertEqual(libc.ptrace(17, tid, None, None), 0)  # PTRACE_DETACH
        self.assertEqual(len([r for r in self.records("slow") if "meanwhile" in r["text"]]), 20)
        self.call(function, text="again")
        lost = lambda: [r for r in self.records("slow") if r["stream"] == "sys" and "were lost here" in r["text"]]
        harness.wait_until(lost, "the log says that something was lost")
        self.assertGreater(self.node.status()["logs"]["lost"], 1 << 20)


class Rotation(LogsTest):
    TAG = "logr"
    OPTIONS = ("--cores", "0-1*2", "--log-file-kib", "64", "--log-files", "3", "--log-total-mib", "1", "--log-rate-kib", "65536")

    def test_rotation_while_following(self):
        """Each line once, in order, however often the file is replaced."""
        function = self.deploy("turning")
        follower = Follower(self.node, "logs", "turning")  # not only what comes: it may begin late
        self.addCleanup(follower.stop)
        harness.wait_until(lambda: harness.process_state(follower.process.pid) == "S", "it waits")
        self.call(function, text="begin")
        follower.wait_for("says begin")
        for i in range(40):
            self.call(function, lines=100, text="turn %d" % i)
            files = self.files("turning")
            self.assertLessEqual(len(files), 3)
            follower.wait_for("says turn %d" % i)  # it must not fall behind by more than is kept
            self.assertLessEqual(max(files.values()), 64 << 10)
        harness.wait_until(lambda: len(self.files("turning")) == 3, "it was rotated")
        follower.wait_for("says turn 39")
        harness.wait_until(lambda: len([x for x in list(follower.lines) if "says turn" in x]) >= 4000, "all of it")
        turns = [int(line.rsplit(" ", 1)[1]) for line in follower.stop() if "says turn" in line]
        self.assertEqual(turns, [i for i in range(40) for _ in range(100)])
        self.assertGreater(len(self.records("turning")), 500, "read from all files")
        # As while it is rotated: one is renamed already, the one before is not yet.
        path = os.path.join(self.node.state, "logs", "turning.log")
        with open(path + ".2") as file:
            oldest = file.readline().split()[0]
        os.rename(path + ".1", path + ".away")
        self.assertEqual(self.records("turning")[0]["time"], oldest)
        os.rename(path + ".away", path + ".1")


class Bounds(LogsTest):
    TAG = "logb"
    OPTIONS = ("--cores", "0-1*2", "--log-file-kib", "64", "--log-files", "3", "--log-total-mib", "1", "--log-rate-kib", "256")

    def test_flood(self):
        """Others are served meanwhile; what was lost is said, with numbers; the files stay within their limits."""
        loud, quiet = self.deploy("loud", timeout_ms=120000), self.deploy("calm")
        self.call(quiet)
        flood = threading.Thread(target=lambda: self.call(loud, seconds=120, flood=800))  # 48 MB
        flood.start()
        served = 0
        while flood.is_alive() or served < 20:
            self.call(quiet, text="calm %d" % served)
            served += 1
        flood.join()
        said = [int(r["text"].rsplit(" ", 1)[1]) for r in self.records("calm") if "says calm" in r["text"]]
        self.assertEqual(said, list(range(served - len(said), served)), "none of the last ones is lost")
        self.assertGreaterEqual(len(said), 20)
        self.assertLessEqual(sum(self.files("loud").values()), 3 * 64 << 10)
        harness.wait_until(lambda: [r for r in self.records("loud") if "were lost here" in r["text"]], "it says so")
        (notice, *_) = [r["text"].split() for r in self.records("loud") if "were lost here" in r["text"]]
        self.assertGreater(int(notice[0]), 100000)
        self.assertGreater(int(notice[4].strip("(")), 10 << 20)
        self.call(loud, text="later")
        harness.wait_until(lambda: any("says later" in r["text"] for r in self.records("loud")), "it goes on")

    def test_total(self):
        """All logs together; the oldest files go first."""
        for i in range(12):
            function = self.deploy("total%d" % i)
            self.call(function, lines=1, bytes=(b"y" * 99 + b"\n").hex() * 250)
            for _ in range(4):
                self.call(function, lines=1, bytes=(b"y" * 99 + b"\n").hex() * 250)
            harness.wait_until(lambda: sum(self.files().values()) <= 1 << 20, "the oldest files have gone")
            self.node.cli("remove", "total%d" % i)
        self.assertEqual(self.files("total0"), {})
        self.assertTrue(self.files("total11"))
        self.assertEqual(self.node.cli("logs", "total0", check=False).returncode, 1)


class FullDisk(LogsTest):
    TAG = "logf"
    OPTIONS = ("--cores", "0-1",)

    def test_full(self):
        """A full disk costs output and nothing else; the log says what it cost."""
        folder = os.path.join(self.node.state, "logs")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", folder])
        function = self.deploy("full")
        for i in range(20):
            self.call(function, lines=100, text="full %d" % i)
        with open(os.path.join(self.node.state, "daemon.log")) as file:
            self.assertEqual(file.read().count("cannot be written: No space left on device"), 1)
        subprocess.run(["mount", "-o", "remount,size=4m", folder], check=True)
        self.call(function, text="room")
        harness.wait_until(lambda: any("says room" in r["text"] for r in self.records("full")), "it is written again")
        notices = [r["text"] for r in self.records("full") if r.get("stream") == "sys"]  # a cut line has none
        self.assertEqual(len(notices), 1)
        self.assertIn("were lost here: No space left on device", notices[0])


class Report(LogsTest):
    TAG = "logr"
    OPTIONS = ("--cores", "0-1", "--log-report", "on")

    def test_report(self):
        function = self.deploy("told", timeout_ms=1000)
        for cold in (True, False):
            request = self.call(function)
            own = [r["text"] for r in self.records("told", "--request", "%016x" % request)]
            start, report = [text for text in own if text.startswith("START")], own[-1]
            self.assertEqual(len(start), 1)
            self.assertEqual(own[-2], "END RequestId: " + aws(request))
            self.assertLess(own.index(start[0]), own.index("%s says 0" % aws(request)))
            self.assertRegex(report, r"^REPORT RequestId: %s\tDuration: \d+\.\d\d ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB%s\tStatus: "
                             r"success$" % (aws(request), r"\tInit Duration: \d+\.\d\d ms" if cold else ""))  # fmt: skip
        with self.node.client() as client:
            answer = client.invoke(function, b'{"hang": true}', seconds=60)
        self.assert_error(answer, wcproto.TIMEOUT)
        self.assertIn("Status: timeout", self.records("told", "--request", "%016x" % answer.request_id)[-1]["text"])


if __name__ == "__main__":
    sys.exit(harness.main())
