#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Zygotes: instances are forked from what is loaded already, are nobody's copies, and come from elsewhere when a zygote dies."""

import array
import ctypes
import errno
import json
import os
import platform
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

import harness

SEED = int(os.environ.get("TEST_SEED", "1"))
MAGIC = 0x575A4731

SELF = b"""
import os, random, signal, sys
LOADED = "numpy" in sys.modules
LOOKED = os.environ.get("LOOK") in sys.modules
VALUE = random.random()
def handler(event, context):
    if event.get("import"):
        import numpy
        return float(numpy.random.random())
    if event.get("become"):
        try:
            os.setuid(event["become"] - 1)
            return "became"
        except OSError as error:
            return error.errno
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    return {"loaded": LOADED, "value": VALUE, "environment": dict(os.environ), "folder": os.getcwd(), "fds": len(os.listdir("/proc/self/fd")),
            "looked": LOOKED, "status": {key: value.strip() for key, value in status.items()}, "hash": hash("a"), "stdin": os.readlink("/proc/self/fd/0"),
            "ppid": os.getppid(), "namespace": os.stat("/proc/self/ns/pid").st_ino,
            "sid": os.getsid(0) == os.getpid(), "mask": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "path": sys.path, "flags": sys.flags.no_user_site}
"""


NOSY = b"""
def handler(event, context):
    mark, found = "".join(event["parts"]).encode(), 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            ends, rights = line.split()[:2]
            if rights.startswith("rw"):
                begin, end = (int(text, 16) for text in ends.split("-"))
                memory.seek(begin)
                found += memory.read(end - begin).count(mark)
    return found
"""

OWN_JSON = b"""
import json

json.JSONEncoder.default = lambda self, value: "mine"

def handler(event, context):
    return [object(), {"channel": __import__("os").environ.get("WARMCORE_CHANNEL")}]
"""

LATE = b"""
import os

MARK = os.urandom(4).hex()

def note(what):
    with open(os.environ["SHARED"] + "/children", "a") as file:
        file.write("%s %s\\n" % (what, MARK))

note("load")

def handler(event, context):
    note("run")
    return MARK
"""

def have_numpy():
    return subprocess.run(["/usr/bin/python3", "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode == 0


def slice_ns(pid):
    """The time slice that a process asked for; sched_getattr(2) tells it since Linux 6.12."""
    attributes = ctypes.create_string_buffer(64)
    number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    if ctypes.CDLL(None, use_errno=True).syscall(number, pid, attributes, 64, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return struct.unpack_from("=IIQiIQ", attributes)[5]


class Zygotes(harness.NodeTest):
    TAG = "zyg"

    def zygotes(self):
        return {(z["runtime"], z["libraries"]): z for z in self.node.status()["zygotes"]}

    def zygote(self, runtime, libraries=""):
        """The entry of a zygote, once it is ready."""

        def ready():
            found = self.zygotes().get((runtime, libraries))
            return found if found and found["state"] == "ready" else None

        return harness.wait_until(ready, "the zygote %s+%s is ready" % (runtime, libraries))

    def deploy_self(self, name, **manifest):
        function = self.node.deploy(name, "python", "me.handler", {"me.py": SELF}, **manifest)
        self.addCleanup(self.node.cli, "remove", name, check=False)
        return function

    def call(self, function, event, seconds=30):
        with self.node.client() as client:
            return json.loads(self.assert_reply(client.invoke(function, json.dumps(event).encode(), seconds=seconds)).payload)

    def fresh(self, name, **manifest):
        """What a new instance of the probe says of itself."""
        function = self.deploy_self(name, **manifest)
        if "MPLBACKEND" not in manifest.get("environment", {}):
            self.zygote("python", ",".join(sorted(manifest.get("libraries", []))))
        return self.call(function, {})

    def test_come_and_go(self):
        native = self.zygote("native")
        self.assertNotIn(("python", ""), self.zygotes())
        self.node.deploy("short", "python", "me.handler", {"me.py": SELF})
        python = self.zygote("python")
        self.assertEqual((native["pid"], python["forks"]), (self.zygote("native")["pid"], 0))
        self.node.cli("remove", "short")
        harness.wait_until(lambda: ("python", "") not in self.zygotes(), "its zygote has gone")
        harness.wait_until(lambda: not harness.process_state(python["pid"]), "and its process")

    def test_what_an_instance_is(self):
        one = self.fresh("one", environment={"KEY": "value = ; $", "TZ": "Asia/Kolkata"})
        self.assertGreater(self.zygote("python")["forks"], 0)
        environment = one["environment"]
        self.assertEqual((environment["KEY"], environment["TZ"]), ("value = ; $", "Asia/Kolkata"))
        self.assertEqual(environment["WARMCORE_FUNCTION"], "one")
        self.assertEqual([key for key in environment if "ZYGOTE" in key or "ROOM" in key or key == "WARMCORE_CHANNEL"], [])
        self.assertEqual(one["folder"], environment["WARMCORE_CODE"])
        self.assertEqual(one["path"][0], environment["WARMCORE_CODE"])
        self.assertNotIn("/tmp", " ".join(one["path"][1:]))
        self.assertEqual((one["flags"], one["stdin"], one["mask"], one["sid"]), (1, "/dev/null", 0, True))
        self.assertLessEqual(one["fds"], 5)  # 0, 1, 2, and that of listing them
        self.assertEqual(one["ppid"], 0 if self.node.sandboxed() else self.node.pid)
        status = one["status"]
        uids, gids = set(status["Uid"].split()), set(status["Gid"].split())
        self.assertEqual((len(uids), uids), (1, gids))
        self.assertGreaterEqual(int(uids.pop()), 0x70000000)
        self.assertEqual(status["Groups"], "")
        for key in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(status[key], 16), 0, key)
        self.assertEqual((status["NoNewPrivs"], status["Threads"]), ("1", "1"))
        self.assertTrue(int(status["SigIgn"], 16) & 1 << signal.SIGPIPE - 1, "EPIPE is an exception, as in every interpreter")
        self.assertEqual(one["environment"]["HOME"], "/tmp")
        for start in ({}, {"PYTHONHASHSEED": "0"}):  # forked, and executed
            with self.subTest(start=start):
                own = self.fresh("own", environment=dict(start, HOME="/var", PATH="/bin", OMP_NUM_THREADS="2"))["environment"]
                self.assertEqual((own["HOME"], own["PATH"], own["OMP_NUM_THREADS"]), ("/var", "/bin", "2"))
        two = self.deploy_self("two")
        self.assertEqual(self.call(two, {"become": 1}), errno.EPERM)
        self.assertIn(self.call(two, {"become": 1001}), (errno.EPERM, errno.EINVAL))  # not mapped in a sandbox

    @unittest.skipIf(tuple(map(int, platform.release().split(".")[:2])) < (6, 12), "no slices before Linux 6.12")
    def test_slice(self):
        """Instances preempt the agent that wakes them, by their short slice: without it a round trip takes a third longer."""
        functions = [(self.deploy_self("sliced"), b"{}"), (self.node.deploy_native("fn", event="binary"), b"e"),
                     (self.deploy_self("own", environment={"PYTHONHASHSEED": "0"}), b"{}")]  # fmt: skip
        self.addCleanup(self.node.cli, "remove", "fn")
        self.zygote("python")
        with self.node.client() as client:
            for function, event in functions:
                self.assert_reply(client.invoke(function, event, seconds=30))
        marks = [b"WARMCORE_FUNCTION=%s\0" % name for name in (b"sliced", b"fn", b"own")]
        pids = [pid for pid, _, environ in harness.processes() if any(mark in environ for mark in marks)]
        self.assertGreaterEqual(len(pids), 3)
        self.assertEqual({slice_ns(pid) for pid in pids}, {100000})

    def test_environment_is_shown(self):
        """/proc/PID/environ of a forked instance is its own, not that of its zygote."""
        function = self.deploy_self("shown", environment={"MARK": "x" * 3000})
        self.zygote("python")
        self.call(function, {})
        found = [environ for pid, _, environ in harness.processes() if b"WARMCORE_FUNCTION=shown\0" in environ]
        self.assertEqual(len(found), 1)
        self.assertIn(b"MARK=" + b"x" * 3000 + b"\0", found[0])
        self.assertNotIn(b"WARMCORE_ZYGOTE", found[0])
        self.assertNotIn(b"---", found[0])

    def test_nothing_of_others(self):
        """An instance does not find in its memory what its zygote was told about the one before."""
        secret = self.deploy_self("secretive", environment={"PASSWORD": "hunter2-" * 400})
        nosy = self.node.deploy("nosy", "python", "nosy.handler", {"nosy.py": NOSY})
        self.addCleanup(self.node.cli, "remove", "nosy", check=False)
        self.zygote("python")
        self.call(secret, {})
        # What is looked for is itself there, once or twice; the secret would be some hundred times.
        self.assertLess(self.call(nosy, {"parts": ["hunter", "2-hunter"]}), 10)
        self.node.deploy("secretive", "python", "nosy.handler", {"nosy.py": NOSY}, environment={"PASSWORD": "hunter2-" * 400})
        self.assertGreater(self.call(secret, {"parts": ["hunter", "2-hunter"]}), 100, "it does find what is there")

    def test_module_names(self):
        """A handler may have the name of a module that the zygote has loaded."""
        function = self.node.deploy("token", "python", "token.handler", {"token.py": b"def handler(event, context):\n    return 'mine'\n"})
        self.addCleanup(self.node.cli, "remove", "token", check=False)
        self.zygote("python")
        self.assertEqual(self.call(function, {}), "mine")

    def test_own_json(self):
        """What a function makes of JSON while it is loaded holds for its answers, although a zygote has made an encoder already."""
        function = self.node.deploy("ownjson", "python", "own.handler", {"own.py": OWN_JSON})
        self.addCleanup(self.node.cli, "remove", "ownjson")
        self.assertEqual(self.call(function, {}), ["mine", {"channel": None}])

    def test_json_by_a_factory(self):
        """What makes decoders need not be a class."""
        text = b"import functools, json\njson.JSONDecoder = functools.partial(json.JSONDecoder, parse_float=str)\n"
        text += b"def handler(event, context):\n    return event\n"
        function = self.node.deploy("partjson", "python", "own.handler", {"own.py": text})
        self.addCleanup(self.node.cli, "remove", "partjson")
        self.assertEqual(self.call(function, {"price": 1.50}), {"price": "1.5"})

    def test_nobody_is_a_copy(self):
        """Random numbers begin anew in each instance."""
        values = set()
        for i in range(4):
            values.add(self.fresh("random", environment={"TURN": str(i)})["value"])
        self.assertEqual(len(values), 4)

    def test_start_variables(self):
        """What is looked at when an interpreter starts is not ignored: such a function gets one of its own."""
        self.deploy_self("other")
        forks = self.zygote("python")["forks"]
        hashes = {self.fresh("hashed", environment={"PYTHONHASHSEED": "0", "TURN": str(i)})["hash"] for i in range(3)}
        plain = subprocess.run(["/usr/bin/python3", "-c", "print(hash('a'))"], env={"PYTHONHASHSEED": "0"}, capture_output=True)
        self.assertEqual(hashes, {int(plain.stdout)})
        self.assertEqual(self.zygote("python")["forks"], forks)

    def test_libraries(self):
        if not have_numpy():
            self.skipTest("no numpy")
        plain = self.fresh("without")
        self.assertFalse(plain["loaded"])
        values = set()
        for i in range(3):
            one = self.fresh("with", libraries=["numpy"], environment={"TURN": str(i)})
            self.assertTrue(one["loaded"], "numpy was there before the function was")
            function = [f for f in self.node.json("list")["functions"] if f["name"] == "with"][0]["id"]
            values.add(self.call(function, {"import": True}))
        self.assertEqual(len(values), 3, "numpy's generator repeats itself")
        self.assertGreater(self.zygote("python", "numpy")["pss_kib"], 0)

    def test_import_variables(self):
        """A library that looks at a variable while it is imported sees that of the function: then the zygote has not imported it."""
        plain = self.fresh("plain", libraries=["colorsys", "wave"], environment={"LOOK": "wave"})
        self.assertTrue(plain["looked"], "the zygote has imported it")
        self.assertIn(("python", "colorsys,wave"), self.zygotes())
        self.node.cli("remove", "plain")
        folder = os.path.join(self.node.root, "source-early")
        self.deploy_self("early", libraries=["wave", "colorsys"], environment={"LOOK": "wave", "MPLBACKEND": "agg"})
        said = self.node.cli("deploy", folder)
        self.assertIn("warning: libraries look at MPLBACKEND while they are imported", said.stderr)
        self.assertEqual(len(self.node.json("deploy", folder)["warnings"]), 1)
        early = self.fresh("early", libraries=["wave", "colorsys"], environment={"LOOK": "wave", "MPLBACKEND": "agg"})
        self.assertFalse(early["looked"], "it is imported with the variable in place")
        self.assertNotIn(("python", "colorsys,wave"), self.zygotes())

    def test_library_that_is_not_there(self):
        """The zygote says so in the daemon's log, and is of use for the rest."""
        one = self.fresh("absent", libraries=["there.is.no.such", "json"])
        self.assertFalse(one["loaded"])
        zygote = self.zygote("python", "json,there.is.no.such")
        self.assertGreater(zygote["forks"], 0)
        with open(os.path.join(self.node.state, "daemon.log")) as log:
            self.assertIn("cannot import there.is.no.such: ModuleNotFoundError", log.read())

    def test_killed(self):
        """A zygote dies, whoever killed it: functions start more slowly for a while, and then as before."""
        function = self.deploy_self("one")
        for runtime in ("native", "python"):
            pid = self.zygote(runtime)["pid"]
            os.kill(pid, signal.SIGKILL)
            source = os.path.join(self.node.root, "source-one")
            self.node.cli("deploy", source, "--env", "ROUND=" + runtime)  # the old instance may not be used
            self.assertEqual(self.call(function, {})["environment"]["WARMCORE_FUNCTION"], "one")
            again = harness.wait_until(lambda r=runtime, p=pid: (lambda z: z if z["pid"] not in (0, p) else None)(self.zygote(r)),
                                       "the zygote is back")  # fmt: skip
            self.assertNotEqual(again["pid"], pid)
        with open(os.path.join(self.node.state, "daemon.log")) as log:
            self.assertIn("has died", log.read())

    def test_stopped(self):
        """A zygote that does not answer holds nobody up for ever: it is replaced."""
        function = self.deploy_self("one")
        pid = self.zygote("python")["pid"]
        os.kill(pid, signal.SIGSTOP)
        harness.wait_until(lambda: set(harness.thread_states(pid)) <= {"T"}, "it stands still")
        self.assertEqual(self.call(function, {}, seconds=60)["environment"]["WARMCORE_FUNCTION"], "one")
        harness.wait_until(lambda: not harness.process_state(pid), "the stopped one has gone")

    def test_late_child(self):
        """
        A zygote forks and then does not answer: the function is started elsewhere, and what was forked late gets no request and goes.
        """
        script = "/run/warmcore/%s/runtimes/python/warmcore_runtime.py" % self.node.name
        with open(script) as file:
            source = file.read()
        serve = "    environment = _warmcore_channel.zygote_serve(fd)\n"
        self.assertEqual(source.count(serve), 1)
        with open(script, "w") as file:  # the zygote of this set is not started yet; its own copy reads this
            file.write(source.replace(serve, """    if os.environ.get("WARMCORE_LIBRARIES") == "colorsys":
        os.register_at_fork(after_in_parent=lambda: time.sleep(60))
""" + serve))  # fmt: skip
        function = self.node.deploy("late", "python", "me.handler", {"me.py": LATE}, libraries=["colorsys"])
        self.addCleanup(self.node.cli, "remove", "late", check=False)
        zygote = self.zygote("python", "colorsys")["pid"]
        with open(script, "w") as file:
            file.write(source)
        answer = self.call(function, {}, seconds=60)
        with open(os.path.join(self.node.shared, "children")) as file:
            words = [line.split() for line in file]
        loads, runs = [mark for what, mark in words if what == "load"], [mark for what, mark in words if what == "run"]
        self.assertEqual((len(loads), runs), (2, [answer]), "the late one has loaded the function, and it has run once")
        self.assertEqual(answer, loads[1])
        harness.wait_until(lambda: not harness.process_state(zygote), "its zygote has gone")
        harness.wait_until(lambda: len([pid for pid, _, environ in harness.processes() if b"WARMCORE_FUNCTION=late\0" in environ]) == 1,
                           "the late child has gone, and the instance lives")  # fmt: skip

    def test_killed_again_and_again(self):
        """While cold starts go on: each invocation is answered once, and nothing is left."""
        functions = [self.deploy_self("f%d" % i) for i in range(3)]
        native = self.node.deploy_native("fn", event="binary")
        self.addCleanup(self.node.cli, "remove", "fn")
        chance, stop = random.Random(SEED), threading.Event()

        def kill():
            while not stop.is_set():
                for zygote in self.node.status()["zygotes"]:
                    if zygote["pid"] and chance.random() < 0.5:
                        try:
                            os.kill(zygote["pid"], signal.SIGKILL)
                        except ProcessLookupError:
                            pass
                time.sleep(chance.uniform(0, 0.3))

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            with self.node.client() as client:
                for i in range(60):
                    function = functions[i % 3]
                    answer = client.invoke(function, b"{}", seconds=120)
                    self.assert_reply(answer)
                    self.assert_reply(client.invoke(native, b"eok", seconds=120), b"ok")
                    self.node.cli("deploy", os.path.join(self.node.root, "source-f%d" % (i % 3)), "--env", "ROUND=%d" % i)
        finally:
            stop.set()
            killer.join()
        self.zygote("native")
        self.zygote("python")
        self.node.wait_idle()


class Contract(unittest.TestCase):
    """runtimes/abi/zygote.h, from the daemon's side: what is no request ends the zygote, and forks nothing."""

    def start(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(ours.close)
        process = subprocess.Popen([os.path.join(harness.BUILD, "lib", "warmcore", "native", "warmcore-native")],
                                   env={"WARMCORE_ZYGOTE": str(theirs.fileno())}, pass_fds=[theirs.fileno()],
                                   stderr=subprocess.PIPE)  # fmt: skip
        theirs.close()
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(ours.recv(100), struct.pack("=i", 0))
        return ours, process

    def request(self, argv=(b"x",), environment=(b"A=b",), folder=b"/", uid=0x70000001, magic=MAGIC, argc=None, envc=None, end=b"\0"):
        head = struct.pack("=8I", magic, 0, uid, len(argv) if argc is None else argc, len(environment) if envc is None else envc, 64, 64, 0)
        return head + b"".join(text + b"\0" for text in (*argv, *environment)) + folder + end

    def send(self, ours, message, fds=2):
        null = os.open("/dev/null", os.O_RDWR)
        try:
            ours.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * fds))] if fds else [])
        finally:
            os.close(null)

    def test_end_of_file(self):
        ours, process = self.start()
        ours.close()
        self.assertEqual(process.wait(30), 0)
        self.assertEqual(process.stderr.read(), b"")

    def test_fork(self):
        """The child is ours, not the zygote's; its channel is nonsense, so it exits with 2."""
        ours, process = self.start()
        self.send(ours, self.request(environment=(b"WARMCORE_CHANNEL=futex:3", b"WARMCORE_CODE=/")))
        (pid,) = struct.unpack("=i", ours.recv(100))
        self.assertGreater(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 2)
        self.send(ours, self.request())
        self.assertGreater(struct.unpack("=i", ours.recv(100))[0], 0)

    def test_no_requests(self):
        chance = random.Random(SEED)
        good = self.request()
        cases = [b"", b"x", good[:31], good[:32], self.request(magic=1), self.request(uid=0), self.request(argc=0), self.request(argc=9),
                 self.request(envc=9), self.request(argc=0xFFFFFFFF, envc=2), self.request(argc=300, envc=300), self.request(end=b"x"),
                 self.request(folder=b"/\0x"), good + b"more", self.request(folder=b"", end=b"")]  # fmt: skip
        for case in cases:
            if case:
                with self.subTest(case=case):
                    ours, process = self.start()
                    self.send(ours, case)
                    self.assertEqual(process.wait(30), 2)
                    self.assertIn(b"no zygote any more: Protocol error", process.stderr.read())
                    self.assertEqual(ours.recv(100), b"")
        for fds in (0, 1, 3):
            with self.subTest(fds=fds):
                ours, process = self.start()
                self.send(ours, good, fds)
                self.assertEqual(process.wait(30), 2)
        for _ in range(60):
            message = bytearray(good)
            for _ in range(chance.randrange(1, 4)):
                message[chance.randrange(12, 20)] = chance.randrange(256)
            ours, process = self.start()
            self.send(ours, bytes(message))
            answer = ours.recv(100)  # a pid, or the end; never a crash
            if answer:
                self.assertGreater(struct.unpack("=i", answer)[0], 0)
                os.waitpid(struct.unpack("=i", answer)[0], 0)
                ours.close()
            self.assertIn(process.wait(30), (0, 2))


if __name__ == "__main__":
    sys.exit(harness.main())
