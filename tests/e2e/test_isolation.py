#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions that try to get out: none of it works, and each time the node goes on serving others."""

import ctypes
import errno
import glob
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import unittest

import harness
import wcproto

ATTACKER = b"""
import ctypes, errno, os, resource, signal, socket, subprocess, sys, threading, time

LIBC = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno())) if result < 0 else "ok"

def attempt(action):
    try:
        return ["ok", repr(action())[:200]]
    except OSError as error:
        return [errno.errorcode.get(error.errno, str(error.errno)), str(error)]

def handler(event, context):
    do = event["do"]
    if do == "syscalls":
        return {name: call(*arguments) for name, arguments in event["calls"].items()}
    if do == "x32":
        return call(0x40000000 + 39)
    if do == "sockets":
        return {str(family): attempt(lambda f=family: socket.socket(f, kind).close())[0] for family, kind in event["sockets"]}
    if do == "send":
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        return [attempt(lambda: udp.sendto(b"x", (address, event["port"])))[0] for address in event["addresses"]]
    if do == "open":
        return {path: attempt(lambda p=path: open(p, "rb").read(10))[0] for path in event["paths"]}
    if do == "list":
        return {path: attempt(lambda p=path: os.listdir(p))[0] for path in event["paths"]}
    if do == "write":
        return {path: attempt(lambda p=path: open(p, "ab").close())[0] for path in event["paths"]}
    if do == "connect":
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        return attempt(lambda: unix.connect(event["path"]))[0]
    if do == "kill":
        return {str(pid): attempt(lambda p=pid: os.kill(p, event.get("signal", 9)))[0] for pid in event["pids"]}
    if do == "fork-bomb":
        started = 0
        try:
            while started < 5000:
                if os.fork() == 0:
                    time.sleep(600)
                    os._exit(0)
                started += 1
        except OSError as error:
            return [started, errno.errorcode[error.errno]]
        return [started, "ok"]
    if do == "threads":
        started = 0
        try:
            while started < 5000:
                threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
                started += 1
        except RuntimeError:
            return [started, "refused"]
        return [started, "ok"]
    if do == "files":
        opened = []
        try:
            while len(opened) < 100000:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            count = len(opened)
            for fd in opened:
                os.close(fd)
            return [count, errno.errorcode[error.errno]]
    if do == "after-reply":
        def go_on():
            while True:
                pass
        threading.Thread(target=go_on, daemon=True).start()
        return "going on"
    if do == "raise-limits":
        refused = 0
        for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
            try:
                resource.setrlimit(limit, (1 << 20, 1 << 20))
            except (OSError, ValueError):
                refused += 1
        return refused
    if do == "exec":
        return subprocess.run(event["command"], capture_output=True).stdout.decode()
    if do == "pid":
        return os.getpid()
    if do == "clone-parent":
        flags = 0x00008000 | event["flags"]  # CLONE_PARENT: a child of the daemon's
        result = LIBC.syscall(ctypes.c_long(event["number"]), ctypes.c_long(flags), 0, 0, 0, 0)
        if result == 0:
            os._exit(0)
        return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
    if do == "environment":
        return os.environ[event["name"]]
    if do == "read":
        return open(event["path"]).read()
    if do == "fill":
        written = 0
        try:
            with open(event["path"], "wb", 0) as file:
                while written < event["most"]:
                    written += file.write(b"x" * (1 << 20))
        except OSError as error:
            return [written >> 20, errno.errorcode[error.errno]]
        return [written >> 20, "ok"]
    if do == "many-files":
        made = 0
        try:
            while made < event["most"]:
                open(os.path.join(event["path"], str(made)), "w").close()
                made += 1
        except OSError as error:
            return [made, errno.errorcode[error.errno]]
        return [made, "ok"]
    if do == "memory":
        blocks = []
        while len(blocks) < event["mb"]:
            blocks.append(bytearray(1 << 20))
            blocks[-1][::4096] = b"x" * 256
        return len(blocks)
    if do == "see":
        links = {name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")}
        return {"root": sorted(os.listdir("/")), "run": os.listdir("/run"), "tmp": os.listdir("/tmp"), "host": os.uname().nodename,
                "processes": [int(name) for name in os.listdir("/proc") if name.isdigit()], "ns": links, "pid": os.getpid(),
                "mounts": open("/proc/self/mounts").read(), "interfaces": [name for _, name in socket.if_nameindex()]}
    if do == "abstract":
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        return attempt(lambda: unix.connect("\\0" + event["name"]))[0]
    if do == "own-abstract":
        here = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        here.bind("\\0mine")
        here.listen()
        return attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("\\0mine"))[0]
    if do == "files-of-its-own":
        os.makedirs("/tmp/own/a"), os.makedirs("/tmp/own/b")
        with open("/tmp/own/a/x", "w") as file:
            file.write("#!/bin/sh\\nexit 7\\n")
        os.truncate("/tmp/own/a/x", 17)
        os.chmod("/tmp/own/a/x", 0o755)
        os.rename("/tmp/own/a/x", "/tmp/own/b/x")
        os.link("/tmp/own/b/x", "/tmp/own/a/hard")
        os.symlink("b", "/tmp/own/soft")
        os.mkfifo("/tmp/own/fifo")
        socket.socket(socket.AF_UNIX).bind("/tmp/own/socket")
        status = subprocess.run(["/tmp/own/soft/x"]).returncode
        subprocess.run("echo out >/dev/null; echo out >/dev/stdout; exec 3</dev/urandom", shell=True, check=True)
        import shutil
        shutil.rmtree("/tmp/own")
        return status
    if do == "shared":
        import mmap
        tried = {"memfd": attempt(lambda: os.close(os.memfd_create("x")))[0], "anonymous": attempt(lambda: mmap.mmap(-1, 4096).close())[0]}
        tried["zero"] = attempt(lambda: os.close(os.open("/dev/zero", os.O_RDWR)))[0]
        for name, arguments in (("shmget", (0, 4096, 0o1600)), ("msgget", (0, 0o1600)), ("semget", (0, 1, 0o1600))):
            ctypes.set_errno(0)
            tried[name] = "ok" if getattr(LIBC, name)(*arguments) >= 0 else errno.errorcode[ctypes.get_errno()]
        return tried
    if do == "multiprocessing":
        import multiprocessing, multiprocessing.shared_memory, tempfile, mmap
        context = multiprocessing.get_context("fork")
        number, queue = context.Value("i", 0), context.Queue()
        memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1 << 16)
        def child():
            with number.get_lock():
                number.value += 41
            memory.buf[0] = 42
            queue.put("done")
        process = context.Process(target=child)
        process.start()
        word = queue.get()
        process.join()
        ended = context.Process(target=time.sleep, args=(600,))
        ended.start()
        ended.terminate()
        ended.join()
        for _ in range(10):
            with context.Pool(2) as pool:
                squares = pool.map(abs, [-1, -2])
        with tempfile.TemporaryFile() as file:
            file.truncate(4096)
            mmap.mmap(file.fileno(), 4096)[0:1] = b"x"
        result = [number.value, memory.buf[0], word, squares, ended.exitcode]
        memory.close()
        memory.unlink()
        return result
    if do == "start":
        for _ in range(3):
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        globals()["kept"] = [subprocess.Popen(["/bin/sh", "-c", text], stdout=subprocess.DEVNULL) for text in event["programs"]]
        return context.core
    if do == "core":
        return context.core
    if do == "ipc":
        key = event["key"]
        if event["make"]:
            return LIBC.shmget(key, 4096, 0o1666)
        return attempt(lambda: LIBC.shmget(key, 4096, 0) < 0 and (_ for _ in ()).throw(OSError(ctypes.get_errno(), "shmget")))[0]
    return event
"""

# By architecture: x86-64 and arm64 (asm-generic).
CALLS = {
    "x86_64": {"bpf": 321, "ptrace": 101, "mount": 165, "umount2": 166, "unshare": 272, "setns": 308, "pivot_root": 155, "chroot": 161,
               "keyctl": 250, "add_key": 248, "perf_event_open": 298, "io_uring_setup": 425, "process_vm_readv": 310, "init_module": 175,
               "finit_module": 313, "kexec_load": 246, "reboot": 169, "swapon": 167, "settimeofday": 164, "sethostname": 170,
               "sched_setaffinity": 203, "sched_setscheduler": 144, "userfaultfd": 323, "open_by_handle_at": 304, "pidfd_getfd": 438,
               "open_tree": 428, "inotify_init1": 294, "io_setup": 206, "move_mount": 429, "fsopen": 430, "mount_setattr": 442, "personality": 135, "kcmp": 312},
    "aarch64": {"bpf": 280, "ptrace": 117, "mount": 40, "unshare": 97, "setns": 268, "keyctl": 219, "perf_event_open": 241},
}.get(platform.machine(), {})  # fmt: skip
CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
CLONE3 = 435
NAMESPACES = {"user": 0x10000000, "mount": 0x00020000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000,
              "cgroup": 0x02000000}  # fmt: skip


SHARING = b"""
const { Worker } = require("worker_threads"), { execFileSync } = require("child_process");
exports.handler = async () => {
    const buffer = new SharedArrayBuffer(4096), numbers = new Int32Array(buffer);
    await new Promise((resolve, reject) => new Worker("require('worker_threads').workerData[0] = 42", { eval: true, workerData: numbers })
        .on("exit", resolve).on("error", reject));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    return [numbers[0], execFileSync("/bin/echo", ["started"]).toString().trim(), memory.buffer.byteLength];
};
"""


def landlock_version():
    """0: none, or the first one, which is not used."""
    version = ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1))
    return version if version >= 2 else 0


class Isolation(harness.NodeTest):
    TAG = "iso"
    OPTIONS = ("--sandbox", "on", "--tmp-mb", "8")
    SANDBOX = True

    @classmethod
    def prepare(cls):
        cls.attacker = cls.node.deploy("attacker", "python", "attack.handler", {"attack.py": ATTACKER}, timeout_ms=120000,
                                       memory_mb=400)  # for a fork bomb of Python processes
        cls.victim = cls.node.deploy("victim", "python", "attack.handler", {"attack.py": ATTACKER, "secret": b"secret"})
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def call(self, event, function=None):
        return self.client.invoke(function or self.attacker, json.dumps(event).encode(), seconds=150)

    def ask(self, do, **event):
        return json.loads(self.assert_reply(self.call({"do": do, **event})).payload)

    def tearDown(self):
        """The node serves others, and the attacker again."""
        self.assert_reply(self.call({"do": "echo"}, self.victim), {"do": "echo"})
        self.assert_reply(self.call({"do": "echo"}), {"do": "echo"})
        self.assertEqual(self.node.problems(), [])

    def pids(self, name):
        marks = b"WARMCORE_FUNCTION=%s\0" % name.encode(), b"WARMCORE_NODE=%s\0" % self.node.name.encode()
        return [pid for pid, _, environ in harness.processes() if all(mark in environ for mark in marks)]

    @unittest.skipUnless(CALLS, "no numbers of system calls for this machine")
    def test_system_calls(self):
        calls = {name: [number, 0, 0, 0, 0, 0] for name, number in CALLS.items()}
        self.assertEqual(self.ask("syscalls", calls=calls), {name: "EPERM" for name in calls})
        made = {name: [CLONE, flag | signal.SIGCHLD, 0, 0, 0, 0] for name, flag in NAMESPACES.items()}
        self.assertNotIn("ok", self.ask("syscalls", calls=made).values())
        self.assertEqual(self.ask("syscalls", calls={"clone3": [CLONE3, 0, 0], "none": [5000, 0]}), {"clone3": "ENOSYS", "none": "ENOSYS"})
        for pid in self.pids("attacker"):
            with open("/proc/%d/status" % pid) as file:
                status = file.read()
            self.assertIn("Seccomp:\t2\n", status)
            self.assertIn("NoNewPrivs:\t1\n", status)

    @unittest.skipUnless(CLONE, "no numbers of system calls for this machine")
    def test_no_child_of_the_daemon(self):
        """It would not know it, and the sandbox would not end before it was reaped."""
        self.assertEqual(self.ask("clone-parent", number=CLONE, flags=0), "EPERM")
        self.assertEqual(self.ask("clone-parent", number=CLONE, flags=signal.SIGCHLD), "EPERM")

    def test_key_is_forgotten(self):
        """What lets a zygote put an instance into its sandbox is nowhere in the memory of an instance."""
        native = self.node.deploy_native("native", event="binary")
        self.assert_reply(self.client.invoke(native, b"eok", seconds=60), b"ok")
        self.assert_reply(self.call({"do": "pid"}))
        folder = "/proc/%d/fd" % self.node.pid
        filters = [path for path in (os.path.join(folder, name) for name in os.listdir(folder)) if "warmcore-filter" in self.target(path)]
        self.assertEqual(len(filters), 1)
        with open(filters[0], "rb") as file:
            key = os.pread(file.fileno(), 8, 0)
        whole, halves = re.escape(key), b"|".join(re.escape(a) + b".{0,60}?" + re.escape(b) for a, b in ((key[:4], key[4:]), (key[4:], key[:4])))
        zygotes = [z["pid"] for z in self.node.status()["zygotes"] if z["pid"]]
        self.assertTrue(zygotes and all(self.memory_has(pid, whole) for pid in zygotes))  # else this looks in the wrong places
        for pid in (*self.pids("attacker"), *self.pids("native")):
            self.assertFalse(self.memory_has(pid, halves), pid)  # in the filter they are apart
        self.node.cli("remove", "native")

    @staticmethod
    def target(link):
        """Of a descriptor of a program that goes on opening and closing others."""
        try:
            return os.readlink(link)
        except FileNotFoundError:
            return ""

    @staticmethod
    def memory_has(pid, pattern):
        with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as memory:
            for line in maps:
                begin, end = (int(text, 16) for text in line.split()[0].split("-"))
                if "w" not in line.split()[1]:
                    continue
                try:
                    if re.search(pattern, os.pread(memory.fileno(), end - begin, begin), re.DOTALL):
                        return True
                except OSError as error:
                    if error.errno != errno.EIO:  # it has been unmapped meanwhile
                        raise
        return False

    @unittest.skipUnless(platform.machine() == "x86_64", "x86-64 only")
    def test_other_architecture(self):
        """The x32 numbers are no way around the filter."""
        error = self.assert_error(self.call({"do": "x32"}), wcproto.CRASH)
        self.assertIn("SIGSYS", error["errorMessage"])

    def test_sockets(self):
        """No packets past the empty network namespace: some families do not know namespaces."""
        # VSOCK, PACKET, ALG, XDP, BLUETOOTH, and at the edges of what is allowed; INET, UNIX
        found = self.ask("sockets", sockets=[[40, 1], [17, 3], [38, 5], [44, 3], [31, 3], [0, 1], [9, 1], [15, 1], [11, 1], [65537, 1], [2, 2], [1, 1]])
        self.assertEqual((found.pop("2"), found.pop("1")), ("ok", "ok"))
        self.assertEqual(set(found.values()), {"EAFNOSUPPORT"})
        addresses = ["127.0.0.1", self.node.address4, "10.0.0.1", "255.255.255.255"]
        found = self.ask("send", addresses=addresses, port=self.node.port)
        self.assertEqual(found[0], "ok")  # a loopback device of its own
        self.assertEqual(set(found[1:]), {"ENETUNREACH"})

    def test_files(self):
        """Neither another function's code, nor the node's state, maps, sockets, or the host's secrets."""
        victim = os.path.join(self.node.state, "functions", "victim")
        code = [os.path.join(victim, name, "secret") for name in os.listdir(victim) if name.startswith("v")]
        self.assertTrue(code and os.path.exists(code[0]))
        pins = os.path.join("/proc", str(self.node.pid), "root", "sys", "fs", "bpf")
        paths = code + [os.path.join(self.node.state, "registry.db"), os.path.join(self.node.state, "daemon.log"), "/etc/shadow", "/proc/kcore",
                        "/dev/mem", "/dev/kmsg", "/proc/%d/mem" % self.node.pid, "/proc/%d/environ" % self.node.pid,
                        "/proc/%d/maps" % self.node.pid, pins]  # fmt: skip
        for path, outcome in self.ask("open", paths=paths).items():
            self.assertIn(outcome, ("EACCES", "EPERM", "ENOENT"), path)
        folders = [os.path.dirname(code[0]), os.path.join(self.node.state, "logs"), "/sys/fs/bpf/warmcore/" + self.node.name, "/root",
                   "/proc/%d/fd" % self.node.pid]  # fmt: skip
        for path, outcome in self.ask("list", paths=folders).items():
            self.assertIn(outcome, ("EACCES", "EPERM", "ENOENT"), path)
        own = [os.path.join(self.node.state, "functions", "attacker", name)
               for name in os.listdir(os.path.join(self.node.state, "functions", "attacker")) if name.startswith("v")]  # fmt: skip
        places = [*own, *(os.path.join(folder, "new") for folder in own), "/etc/passwd", "/proc/sysrq-trigger", "/proc/sys/kernel/panic",
                  self.node.state + "/x", "/run/warmcore/x", "/run/warmcore/%s/x" % self.node.name, "/sys/fs/cgroup/cgroup.procs"]
        for path, outcome in self.ask("write", paths=places).items():
            self.assertIn(outcome, ("EACCES", "EPERM", "EROFS", "EISDIR", "ENOENT"), path)
        self.assertNotEqual(self.ask("connect", path="/run/warmcore/%s/control.sock" % self.node.name), "ok")

    def test_processes(self):
        """Nobody else's process can be signalled: neither the daemon, nor a zygote, nor another function's instance."""
        self.assert_reply(self.call({"do": "pid"}, self.victim))
        others = [self.node.pid, 1, *(z["pid"] for z in self.node.status()["zygotes"]), *self.pids("victim")]
        self.assertGreaterEqual(len(others), 5)
        expected = {"EPERM", "ESRCH"} if self.SANDBOX else {"EPERM"}
        self.assertEqual(set(self.ask("kill", pids=others).values()), expected)
        self.assertEqual(set(self.ask("kill", pids=others, signal=0).values()), expected)
        self.assertTrue(all(harness.process_state(pid) for pid in others))

    def test_fork_bomb(self):
        count, outcome = self.ask("fork-bomb")
        self.assertEqual(outcome, "EAGAIN")
        self.assertLess(count, 300)
        # Its own fault: until they have gone, with the instance, this function can have no others.
        for pid in self.pids("attacker"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        harness.wait_until(lambda: not self.pids("attacker"), "what it started went with it")

    def test_threads(self):
        count, outcome = self.ask("threads")
        self.assertEqual(outcome, "refused")
        self.assertLess(count, 300)
        self.node.cli("evict", "attacker")

    def test_descriptors(self):
        count, outcome = self.ask("files")
        self.assertEqual((outcome, count <= 1024), ("EMFILE", True))
        self.assertEqual(self.ask("raise-limits"), 2)

    def test_after_the_reply(self):
        """A thread that spins on after the reply: others are served, and it is stopped. One that only idles is not."""
        self.assertEqual(self.ask("after-reply"), "going on")
        for _ in range(20):
            self.assert_reply(self.call({"do": "echo"}, self.victim), {"do": "echo"})
        harness.wait_until(lambda: not self.pids("attacker"), "it is stopped")
        self.assertTrue(self.pids("victim"))

    def test_setuid_programs(self):
        """no_new_privs: a program with the set-user-id bit runs as the function's user."""
        target = os.path.join(self.node.shared, "id")
        with open("/usr/bin/id", "rb") as source, open(target, "wb") as out:
            out.write(source.read())
        os.chmod(target, 0o4755)
        self.assertGreaterEqual(int(self.ask("exec", command=[target, "-u"])), 0x70000000)


    # --- Landlock ---

    def landlock(self, least=2):
        """Its version, which is what the kernel says, or the test is skipped."""
        version = self.node.status()["sandboxes"]["landlock"]
        self.assertEqual(version, landlock_version())
        self.assertIn("Landlock   %s" % ("version %d" % version if version else "off: "), self.node.cli("status").stdout)
        if version < least:
            self.skipTest("the kernel has version %d of Landlock" % version)
        return version

    def test_landlock_files(self):
        """What mounts and users would let it, Landlock does not; what a function does with files of its own goes on."""
        self.landlock()
        for _ in range(2):
            self.assertEqual(self.ask("files-of-its-own"), 7)
        self.assertEqual(self.ask("write", paths=["/proc/self/comm", "/dev/zero"]), {"/proc/self/comm": "EACCES", "/dev/zero": "EACCES"})
        self.assertEqual(self.ask("write", paths=["/dev/null"]), {"/dev/null": "ok"})
        self.assertEqual(self.ask("open", paths=["/proc/self/comm", "/etc/passwd"]), {"/proc/self/comm": "ok", "/etc/passwd": "ok"})
        path = os.path.join(self.node.shared, "written")
        self.assertEqual(self.ask("write", paths=[path]), {path: "ok"})
        if not self.SANDBOX:
            self.assertEqual(self.ask("list", paths=["/var", "/run", "/usr"]), {"/var": "EACCES", "/run": "EACCES", "/usr": "ok"})

    def test_landlock_signals(self):
        """Not even a process of the same user, that is not its own."""
        self.landlock(6)
        self.ask("pid")
        uid = os.stat("/proc/%d" % self.pids("attacker")[0]).st_uid
        process = subprocess.Popen(["sleep", "600"], user=uid, group=uid, extra_groups=[])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        harness.wait_until(lambda: os.stat("/proc/%d" % process.pid).st_uid == uid, "it has changed its user")
        self.assertEqual(self.ask("kill", pids=[process.pid], signal=0), {str(process.pid): "ESRCH" if self.SANDBOX else "EPERM"})
        self.assertEqual(self.ask("own-abstract"), "ok")

    # --- memory that no limit of a process counts ---

    def test_shared_memory(self):
        """As much as one likes where control groups count it; without them only what is in files."""
        allowed = self.cgroups()
        self.assertEqual(self.node.status()["sandboxes"]["shared_memory"], allowed)
        tried = self.ask("shared")
        if self.node.status()["sandboxes"]["landlock"]:
            self.assertEqual(tried.pop("zero"), "EACCES")
        else:
            del tried["zero"]
        others = {"memfd": "ENOSYS", "shmget": "ENOSYS", "msgget": "ENOSYS", "semget": "ENOSYS", "anonymous": "EPERM"}
        self.assertEqual(tried, {name: "ok" for name in others} if allowed else others)
        self.assertEqual(self.ask("multiprocessing"), [41, 42, "done", [1, 2], -signal.SIGTERM])

    @unittest.skipUnless(harness.NODE_JS, "no Node.js")
    def test_shared_memory_of_node(self):
        """Workers that share a buffer, WebAssembly, and a program that it starts."""
        function = self.node.deploy("sharing", "node", "sharing.handler", {"sharing.js": SHARING}, timeout_ms=20000)
        self.addCleanup(self.node.cli, "remove", "sharing")
        for _ in range(2):
            self.assert_reply(self.client.invoke(function, b"{}", seconds=60), [42, "started", 65536])
            self.node.cli("evict", "sharing")

    # --- one CPU ---

    def where(self):
        """The CPUs of every thread of the attacker's processes."""
        found = set()
        for pid in self.pids("attacker"):
            for name in glob.glob("/proc/%d/task/*/status" % pid):
                try:
                    with open(name) as file:
                        found.update(line.split()[1] for line in file if line.startswith("Cpus_allowed_list:"))
                except OSError:
                    pass
        return found

    def test_one_cpu(self):
        """All that it started is where its core is, also when it has moved: it never has more than one CPU's time."""
        cpus = {core["core"]: str(core["cpu"]) for core in self.node.status()["cores"]}
        if len(set(cpus.values())) < 2:
            self.skipTest("one CPU")
        self.addCleanup(self.node.cli, "evict", "attacker")
        self.addCleanup(self.node.cli, "set", "--policy", "central", "--order", "local")
        self.node.cli("evict", "attacker")
        programs = ["setsid sleep 600 & exec sleep 600"] * 2
        programs += ["setsid sleep 600 & sleep 600 & exit"] if self.SANDBOX else []  # nobody's children but the init's
        core = self.ask("start", programs=programs)
        count = 7 if self.SANDBOX else 5
        harness.wait_until(lambda: len(self.pids("attacker")) >= count, "they have started")
        self.assertEqual(self.where(), {cpus[core]})
        self.node.cli("set", "--policy", "random", "--order", "spread", "--move", "on")
        before, seen = self.node.status()["agents"], {core}
        for _ in range(200):
            core = self.ask("core")
            self.assertEqual(self.where(), {cpus[core]})
            seen.add(core)
            if len(seen) > 1 and self.node.status()["agents"]["moves"] > before["moves"]:
                break
        after = self.node.status()["agents"]
        self.assertEqual((len(seen) > 1, after["cold_starts"] - before["cold_starts"]), (True, 0))
        self.assertGreaterEqual(len(self.pids("attacker")), count)

    # --- what only a sandbox gives ---

    def setUp(self):
        if not self.SANDBOX and self.id().rpartition(".")[2].startswith("test_sandbox"):
            self.skipTest("without sandboxes")

    def test_sandbox_is_private(self):
        """Every namespace is its own, and nothing of the host is there but programs and libraries."""
        mine, other = self.ask("see"), json.loads(self.assert_reply(self.call({"do": "see"}, self.victim)).payload)
        for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
            host = os.readlink("/proc/self/ns/" + name)
            self.assertEqual(len({mine["ns"][name], other["ns"][name], host}), 3, name)
        self.assertEqual(mine["host"], "sandbox")
        self.assertEqual(mine["interfaces"], ["lo"])
        self.assertEqual(mine["processes"], [1, mine["pid"]])
        self.assertEqual([name for name in mine["root"] if name in ("home", "root", "srv", "mnt", "boot", "media")], [])
        self.assertEqual(sorted(mine["run"]), ["secrets", "warmcore"])  # the runtimes
        self.assertEqual(mine["tmp"], [os.path.basename(self.node.root)])  # on the way to what is shared
        writable = {line.split()[1] for line in mine["mounts"].splitlines() if line.split()[3].startswith("rw")}
        devices = {"/dev/" + name for name in ("null", "zero", "full", "random", "urandom")}
        self.assertEqual(writable - devices, {"/proc", "/tmp", self.node.shared})

    def test_sandbox_file_size(self):
        """A full /tmp is full for its function only, and empty for the next instance."""
        written, outcome = self.ask("fill", path="/tmp/large", most=1 << 30)
        self.assertEqual((written <= 8, outcome), (True, "ENOSPC"))
        self.assertEqual(json.loads(self.assert_reply(self.call({"do": "fill", "path": "/tmp/x", "most": 4 << 20}, self.victim)).payload),
                         [4, "ok"])  # fmt: skip
        self.node.cli("evict", "attacker")
        self.assertNotIn("large", self.ask("see")["tmp"])
        made, outcome = self.ask("many-files", path="/tmp", most=1000000)
        self.assertEqual((made < 10000, outcome), (True, "ENOSPC"))
        self.node.cli("evict", "attacker")
        for path in ("/x", "/dev/x", "/var/task/x", "/run/x", "/usr/x", "/etc/x"):
            self.assertIn(self.ask("write", paths=[path])[path], ("EROFS", "EACCES"), path)

    def test_sandbox_memory_is_not_shared(self):
        if not self.cgroups():
            self.skipTest("there is none that nothing would count")
        self.assertGreaterEqual(self.ask("ipc", key=4711, make=True), 0)
        self.assertNotEqual(json.loads(self.assert_reply(self.call({"do": "ipc", "key": 4711, "make": False}, self.victim)).payload), "ok")

    def test_memory(self):
        """More than memory_mb: an error that says so, and the next one is served."""
        answer = self.call({"do": "memory", "mb": 2000})
        error = self.assert_error(answer, wcproto.CRASH if self.cgroups() else wcproto.FUNCTION)
        self.assertEqual(error["errorType"], "Runtime.OutOfMemory" if self.cgroups() else "MemoryError")

    def cgroups(self):
        return self.node.status()["sandboxes"].get("memory_limits") == "cgroup"

    def test_what_is_started_goes_with_it(self):
        """All that an instance started in any session is gone with it; the sandboxes, too."""
        self.ask("exec", command=["/bin/sh", "-c", "for i in 1 2 3; do setsid sleep 1000 >/dev/null 2>&1 & done"])
        harness.wait_until(lambda: len(self.pids("attacker")) >= 4, "they have started")
        self.node.cli("evict", "attacker")
        harness.wait_until(lambda: not self.pids("attacker"), "all of it is gone")

    # --- what is given on purpose ---

    def test_secrets(self):
        """Files that this function can read, changed ones at once, and nobody else; nothing shows a value."""
        value = "s3cret-%s\n" % self.id()
        self.addCleanup(self.node.cli, "secret", "attacker", "key", "--remove", check=False)
        self.node.cli("secret", "attacker", "key", stdin=value.encode())
        where = self.ask("environment", name="WARMCORE_SECRETS")
        self.assertEqual(where == "/run/secrets", self.SANDBOX)
        self.assertEqual(self.ask("read", path=where + "/key"), value)
        self.node.cli("secret", "attacker", "key", stdin=b"other")
        self.assertEqual(self.ask("read", path=where + "/key"), "other")
        self.node.cli("secret", "attacker", "key", stdin=value.encode())
        self.assertEqual(self.node.cli("secret", "attacker").stdout, "key\n")
        for command in (("list",), ("--json", "list"), ("status",), ("logs", "attacker"), ("--json", "secret", "attacker"), ("versions", "attacker")):
            self.assertNotIn(value.strip(), self.node.cli(*command).stdout)
        with open(os.path.join(self.node.state, "daemon.log")) as log:
            self.assertNotIn(value.strip(), log.read())
        kept = os.path.join(self.node.state, "secrets", "attacker", "key")
        self.assertEqual((os.stat(kept).st_mode & 0o777, os.stat(kept).st_uid), (0o440, 0))
        for path in (kept, where + "/key"):
            answer = json.loads(self.assert_reply(self.call({"do": "open", "paths": [path]}, self.victim)).payload)
            self.assertIn(answer[path], ("EACCES", "ENOENT"))
        self.assertIn(self.ask("write", paths=[where + "/key"])[where + "/key"], ("EACCES", "EROFS"))
        for key, bad in (("../x", b"1"), (".x", b"1"), ("a b", b"1"), ("x" * 65, b"1"), ("big", b"x" * 65537), ("latin", b"\xff")):
            done = self.node.cli("secret", "attacker", key, stdin=bad, check=False)
            self.assertEqual(done.returncode, 1, (key, done.stderr))
        self.assertEqual(self.node.cli("secret", "nobody", "key", stdin=b"1", check=False).returncode, 1)
        self.node.cli("secret", "attacker", "key", "--remove")
        self.assertEqual(self.ask("open", paths=[where + "/key"])[where + "/key"], "ENOENT")
        self.assertEqual(self.node.cli("secret", "attacker", "key", "--remove", check=False).returncode, 1)

    def test_secrets_go_with_the_function(self):
        self.node.deploy("brief", "python", "attack.handler", {"attack.py": ATTACKER})
        self.node.cli("secret", "brief", "key", stdin=b"1")
        self.node.deploy("brief", "python", "attack.handler", {"attack.py": ATTACKER + b"#"})
        self.assertEqual(self.node.cli("secret", "brief").stdout, "key\n")
        self.node.cli("remove", "brief")
        self.assertFalse(os.path.exists(os.path.join(self.node.state, "secrets", "brief")))

    def test_network(self):
        """Only who asks for it, on a node that allows it: see Network."""
        with self.assertRaisesRegex(AssertionError, "--allow-network"):
            self.node.deploy("net", "python", "attack.handler", {"attack.py": ATTACKER}, network="host")


class Network(harness.NodeTest):
    """The host's network for those that ask for it; it is that of this test."""

    TAG = "net"
    OPTIONS = ("--allow-network",)

    def test_network(self):
        function = self.node.deploy("net", "python", "attack.handler", {"attack.py": ATTACKER}, network="host")
        other = self.node.deploy("none", "python", "attack.handler", {"attack.py": ATTACKER})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here, self.node.client() as client:
            here.bind(("127.0.0.1", 0))
            here.settimeout(60)
            event = json.dumps({"do": "send", "addresses": ["127.0.0.1"], "port": here.getsockname()[1]}).encode()
            self.assertEqual(json.loads(self.assert_reply(client.invoke(other, event)).payload), ["ok"])  # to itself, if at all
            self.assertEqual(json.loads(self.assert_reply(client.invoke(function, event)).payload), ["ok"])
            self.assertEqual(here.recv(10), b"x")
            here.settimeout(0.2)
            self.assertRaises(socket.timeout, here.recv, 10)
            seen = json.loads(self.assert_reply(client.invoke(function, b'{"do":"see"}')).payload)
            self.assertEqual(seen["ns"]["net"], os.readlink("/proc/self/ns/net"))
            self.assertNotEqual(seen["ns"]["pid"], os.readlink("/proc/self/ns/pid"))
        self.assertEqual(self.node.problems(), [])

    def test_abstract_sockets(self):
        """They have no file and no namespace but the network's: from version 6 on Landlock keeps the host's from functions."""
        function = self.node.deploy("net", "python", "attack.handler", {"attack.py": ATTACKER}, network="host")
        name = "warmcore-test-%d" % os.getpid()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as here, self.node.client() as client:
            here.bind("\0" + name)
            here.listen()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
                there.connect("\0" + name)
            event = json.dumps({"do": "abstract", "name": name}).encode()
            expected = "EPERM" if landlock_version() >= 6 else "ok"
            self.assertEqual(json.loads(self.assert_reply(client.invoke(function, event)).payload), expected)
            self.assert_reply(client.invoke(function, b'{"do":"own-abstract"}'), "ok")


class OtherNode(harness.NodeTest):
    """A state folder under a node of another name, with other options."""

    TAG = "oth"
    OPTIONS = ("--allow-network", "--allow-trusted")

    def again(self, *options):
        """The same state, another node."""
        self.node.down()
        other = harness.Node("ano", *options)
        self.addCleanup(other.close)
        shutil.rmtree(other.state, ignore_errors=True)
        shutil.copytree(self.node.state, other.state, symlinks=True)
        for folder, _, files in os.walk(self.node.state):
            for name in [folder, *(os.path.join(folder, file) for file in files)]:
                found, copy = os.lstat(name), other.state + name[len(self.node.state):]
                os.lchown(copy, found.st_uid, found.st_gid)
        self.addCleanup(self.node.up)
        other.up()
        return other

    def test_secrets_and_network(self):
        """Secrets go with their function to its new group, those of nobody go; what a node does not allow, nobody has."""
        self.node.deploy("net", "python", "attack.handler", {"attack.py": ATTACKER}, network="host")
        self.node.cli("secret", "net", "key", stdin=b"value")
        self.assertEqual(json.loads(self.node.cli("invoke", "net", '{"do":"see"}').stdout)["ns"]["net"], os.readlink("/proc/self/ns/net"))
        before = os.stat(os.path.join(self.node.state, "secrets", "net", "key")).st_gid
        for name in ("gone", "not-ours", "mixed"):
            os.mkdir(os.path.join(self.node.state, "secrets", name))
        for name in ("gone/key", "gone/.new", "not-ours/key", "mixed/key", "mixed/readme"):
            with open(os.path.join(self.node.state, "secrets", name), "w") as file:
                file.write("x")
        for name, mode in (("gone", 0o750), ("gone/key", 0o440), ("mixed", 0o750), ("mixed/key", 0o440)):  # as they are made
            os.chown(os.path.join(self.node.state, "secrets", name), 0, before + 1)
            os.chmod(os.path.join(self.node.state, "secrets", name), mode)
        other = self.again()
        folder = os.path.join(other.state, "secrets")
        self.assertEqual(sorted(os.listdir(folder)), ["mixed", "net", "not-ours"])
        self.assertEqual([os.listdir(os.path.join(folder, name)) for name in ("mixed", "not-ours")], [["readme"], ["key"]])
        found = os.stat(os.path.join(folder, "net", "key"))
        self.assertEqual((found.st_mode & 0o777, found.st_uid), (0o440, 0))
        self.assertNotEqual(found.st_gid, before)
        self.assertEqual(found.st_gid, os.stat(os.path.join(folder, "net")).st_gid)
        self.assertEqual(json.loads(other.cli("invoke", "net", '{"do":"environment","name":"WARMCORE_SECRETS"}').stdout) == "/run/secrets",
                         other.sandboxed())
        path = "/run/secrets/key" if other.sandboxed() else os.path.join(folder, "net", "key")
        self.assertEqual(json.loads(other.cli("invoke", "net", json.dumps({"do": "read", "path": path})).stdout), "value")
        seen = json.loads(other.cli("invoke", "net", '{"do":"see"}').stdout)
        self.assertNotEqual(seen["ns"]["net"], os.readlink("/proc/self/ns/net"))
        with open(os.path.join(other.state, "daemon.log")) as log:
            text = log.read()
        self.assertIn("function net is served without what it was deployed with", text)
        self.assertIn("removed 2 secrets of gone", text)
        other.down()

    def test_rollback_to_trusted(self):
        """A node without --allow-trusted does not get a trusted version by way of rollback."""
        self.node.deploy_native("deft", trusted=True)
        self.node.deploy_native("deft")
        self.node.cli("rollback", "deft")
        self.node.cli("rollback", "deft")
        other = self.again()
        done = other.cli("rollback", "deft", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--allow-trusted", done.stderr)
        listed = [f for f in other.json("list")["functions"] if f["name"] == "deft"]
        self.assertEqual([f["trusted"] for f in listed], [False])
        other.down()


class WithoutSandbox(Isolation):
    """The fallback: user, filter, limits, an empty network namespace."""

    TAG = "flat"
    OPTIONS = ("--sandbox", "off")
    SANDBOX = False


if __name__ == "__main__":
    sys.exit(harness.main())
