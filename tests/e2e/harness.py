# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the end-to-end tests share: a node of their own, looks at what it leaves behind, and waiting without guessing.

A test that cannot run here ends with status 77 and says why. Limits of time are for hanging only.
"""

import atexit
import collections
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import wcproto

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("WARMCORE_BUILD", os.path.join(ROOT, "build")))
WARMCORE = os.path.join(BUILD, "bin", "warmcore")
PROBES = os.path.join(HERE, "functions")
NODE_JS = shutil.which("node")
PATIENCE_S = 120


def skip(reason):
    print("SKIP: " + reason)
    sys.exit(77)


def wait_until(condition, what, seconds=PATIENCE_S):
    """The first true value of condition(); fails when there is none."""
    end = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > end:
            raise AssertionError("not within %d s: %s" % (seconds, what))
        time.sleep(max(0.02, min(now - begun, 0.5)))  # half of the time is for what is waited for


def free_port():
    """A UDP port of the loopback address that nobody has right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def processes():
    """(pid, command line, environment) of each process, as far as they can be read."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as command, open("/proc/%s/environ" % entry, "rb") as environ:
                    yield int(entry), command.read(), environ.read()
            except OSError:
                pass


def host_pids(namespace, pids):
    """The numbers, out here, of those of `pids` that live: a function tells what os.stat("/proc/self/ns/pid").st_ino is in there."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.stat("/proc/%s/ns/pid" % entry).st_ino == namespace:
                with open("/proc/%s/status" % entry) as status:
                    inner = next(int(line.split()[-1]) for line in status if line.startswith("NSpid:"))
                if inner in pids and process_state(int(entry)) != "Z":
                    found.append(int(entry))
        except OSError:
            pass
    return found


def process_state(pid):
    """The state letter of a process (or, "PID/task/TID", of a thread): R, S, Z ...; empty when it is gone."""
    try:
        with open("/proc/%s/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def thread_states(pid):
    return [process_state("%d/task/%s" % (pid, thread)) for thread in os.listdir("/proc/%d/task" % pid)]


@contextlib.contextmanager
def stopped(pid):
    """Until the end of it no thread of the process runs: SIGSTOP is not obeyed at once, the others go on until one has read it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: set(thread_states(pid)) <= {"T"}, "all threads of %d have stopped" % pid)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Node:
    """One node with its own name, state folder, and a folder `shared` into which functions may write."""

    def __init__(self, tag, *options, netns=None, warmcore=WARMCORE):
        self.name = ("e2e-%s" % tag)[:10] + "%05d" % (os.getpid() % 100000)
        self.options = options
        self.netns = netns
        self.warmcore = warmcore
        self.root = tempfile.mkdtemp(prefix="warmcore-e2e-")
        os.chmod(self.root, 0o755)
        self.state = os.path.join(self.root, "state")
        self.shared = os.path.join(self.root, "shared")
        os.mkdir(self.shared)
        os.chmod(self.shared, 0o777)
        for name in ("runs", "children"):  # each function is a user of its own, and all append
            with open(os.path.join(self.shared, name), "w") as file:
                os.fchmod(file.fileno(), 0o666)
        self.pid = 0
        self.host_devices = set()
        atexit.register(self.close)  # also when the test is ended from outside

    # --- running it ---

    def cli(self, *arguments, check=True, stdin=b"", text=True):
        command = [self.warmcore, "--node", self.name, *arguments]
        if self.netns:
            # Not ip netns exec: it makes a mount namespace, whose /sys has no pins of the daemon before.
            command = ["nsenter", "--net=/run/netns/" + self.netns, *command]
        done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
        if text:
            done.stdout, done.stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            raise AssertionError("%s: status %d: %s%s" % (arguments, done.returncode, done.stdout, done.stderr))
        return done

    def json(self, *arguments, check=True):
        return json.loads(self.cli("--json", *arguments, check=check).stdout)

    def up(self, *options):
        before = set(os.listdir("/sys/class/net"))
        self.cli("up", "--state-dir", self.state, "--share", self.shared, "--timeout", "120", *self.options, *options)
        node = self.status()["node"]
        self.pid = node["pid"]
        self.address4, self.address6, self.port = node["address4"], node["address6"], node["port"]
        self.host_devices = {d for d in set(os.listdir("/sys/class/net")) - before if d.startswith("wc-")}
        own = "wc-" + self.name
        self.host_devices = {d for d in self.host_devices if d == own or len(own) > 13}
        return node

    def down(self):
        self.cli("down", "--timeout", "120")
        self.pid = 0

    def kill9(self):
        """Kill the daemon, the whole process, and wait until its last thread is gone."""
        pidfd = os.pidfd_open(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        gone = select.select([pidfd], [], [], PATIENCE_S)[0]
        os.close(pidfd)
        self.pid = 0
        if not gone:
            raise AssertionError("the killed daemon is still there")

    def close(self):
        """Whatever happened: nothing may be left for the next test."""
        if not os.path.exists(self.warmcore):
            self.warmcore = WARMCORE  # that of test_install is gone by now
        end = time.monotonic() + 10  # a killed daemon may still be dying
        while self.cli("down", "--force", "--timeout", "20", check=False).returncode and time.monotonic() < end:
            time.sleep(0.1)
        atexit.unregister(self.close)
        self.kill_instances()
        shutil.rmtree(self.root, ignore_errors=True)

    def status(self):
        """As `warmcore --json status` prints it, by way of the control socket: tests ask often, and a process each time is dear in a VM."""
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
                control.settimeout(300)
                control.connect("/run/warmcore/%s/control.sock" % self.name)
                control.sendall(b'{"op":"status"}\n')
                while not answer.endswith(b"\n"):
                    more = control.recv(1 << 20)
                    if not more:
                        break
                    answer += more
        except OSError as error:
            raise AssertionError("no status of node %s: %s" % (self.name, error)) from None
        status = json.loads(answer or "{}")
        if not status.get("ok"):
            raise AssertionError("no status of node %s: %r" % (self.name, answer))
        return status

    def sandboxed(self):
        return self.status()["sandboxes"]["mode"] == "on"

    def client(self, family=4):
        return wcproto.Client(self.address6 if family == 6 else self.address4, self.port)

    # --- functions ---

    def deploy(self, name, runtime, handler, files, **manifest):
        """Deploy from a folder made of `files`: {name: path to copy, or bytes}. Returns the function's id."""
        folder = os.path.join(self.root, "source-" + name)
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        for file, content in files.items():
            if isinstance(content, bytes):
                with open(os.path.join(folder, file), "wb") as out:
                    out.write(content)
            else:
                shutil.copy(content, os.path.join(folder, file))
            if file == "bootstrap":
                os.chmod(os.path.join(folder, file), 0o755)
        manifest.update(name=name, runtime=runtime, handler=handler)
        manifest.setdefault("environment", {})["SHARED"] = self.shared
        with open(os.path.join(folder, "function.json"), "w") as out:
            json.dump(manifest, out)
        return self.json("deploy", folder)["function"]["id"]

    def deploy_python(self, name="probe", handler="probe.handler", **manifest):
        return self.deploy(name, "python", handler, {"probe.py": os.path.join(PROBES, "probe.py")}, **manifest)

    def deploy_node(self, name="probe-js", handler="probe.handler", **manifest):
        return self.deploy(name, "node", handler, {"probe.js": os.path.join(PROBES, "probe.js")}, **manifest)

    def deploy_native(self, name="probe-c", **manifest):
        return self.deploy(name, "native", "probe.so", {"probe.so": native_function("probe")}, **manifest)

    def runs(self, tag):
        """How often the probe's "count" was run with this tag."""
        return self.all_runs().get(tag, 0)

    def all_runs(self):
        with open(os.path.join(self.shared, "runs")) as file:
            return dict(collections.Counter(line.rstrip("\n") for line in file))

    # --- looking at it ---

    def instance_pids(self):
        """Every process that has the environment of this node's functions, or is one of its helpers."""
        mark, runtime = b"WARMCORE_NODE=%s\0" % self.name.encode(), b"/run/warmcore/%s/" % self.name.encode()
        return [pid for pid, command, environ in processes() if mark in environ or runtime in command]

    def kill_instances(self):
        """Helpers, too. The init of a sandbox takes what is in there along."""
        for pid in self.instance_pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def problems(self):
        return self.json("doctor", "--maps", check=False).get("problems", ["doctor --maps failed"])

    def all_free(self, *others):
        """Every core is free, or in one of these states, and can be claimed: its state is written before its bit."""
        status = self.status()
        states = collections.Counter(core["state"] for core in status["cores"] if not core["queued"])
        return (status["pending"]["now"] == 0 and sum(states[name] for name in ("free", *others)) == len(status["cores"])
                and sum(shard["free"] for shard in status["shards"])
                == sum(core["state"] == "free" and "reserved_for" not in core for core in status["cores"]))  # fmt: skip

    def wait_idle(self):
        """Every core free or parked and nothing pending; fails when that does not come, or the maps are not sound."""
        def idle():
            return self.all_free("parked")

        wait_until(idle, "every core is free and nothing is pending: %s" % self.name)
        problems = self.problems()
        if problems:
            raise AssertionError("doctor --maps: %s" % problems)

    def check_counters(self):
        """Counters add up: outcomes are the packets received, everything accepted was taken. The node must be idle."""
        status = self.status()
        facts = ("rx", "held_back", "ordered", "ordered_late", "lent") + tuple(name for name in status["counters"] if name.startswith("claim_"))
        for group in ("counters", "stack"):
            total = sum(value for name, value in status[group].items() if name not in facts)
            if total != status[group]["rx"]:
                raise AssertionError("%s do not add up: %s" % (group, status[group]))
        for core in status["cores"]:
            if core["claims"] != core["releases"] + (core["state"] == "parked"):
                raise AssertionError("a core is owed: %s" % core)
        return status

    def leftovers(self):
        """Everything of this node that is still there; the state folder is meant to stay."""
        left = ["/sys/class/net/" + d for d in self.host_devices]
        left += ["/run/netns/warmcore-" + self.name, "/sys/fs/bpf/warmcore/" + self.name, "/run/warmcore/" + self.name,
                 "/sys/class/net/wc-" + self.name]  # fmt: skip
        left = [path for path in left if os.path.lexists(path)]
        left += ["/dev/shm/" + f for f in os.listdir("/dev/shm") if self.name in f]
        left += ["process %d %r" % (pid, command) for pid, command, environ in processes()
                 if b"--name\0%s\0" % self.name.encode() in command]  # fmt: skip
        return left + ["instance process %d" % pid for pid in self.instance_pids()]

    def check_nothing_left(self):
        try:
            wait_until(lambda: not self.leftovers(), "nothing is left", 20)
        except AssertionError:
            raise AssertionError("left behind: %s" % self.leftovers()) from None


def native_function(name):
    """functions/NAME.c as a shared object, which the Makefile builds: compiling it for each node took six seconds in a VM."""
    path = os.path.join(BUILD, "tests", "e2e", "functions", name + ".so")
    if not os.path.exists(path):
        raise AssertionError(path + " is not built: make vm-programs")
    return path


class NodeTest(unittest.TestCase):
    """A test class with one node for all its tests. OPTIONS are those of `up`."""

    TAG = "node"
    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        cls.node = Node(cls.TAG, *cls.OPTIONS)
        cls.addClassCleanup(cls.node.close)
        cls.node.up()
        cls.prepare()

    @classmethod
    def prepare(cls):
        """Deploy what the tests need."""

    @classmethod
    def tearDownClass(cls):
        cls.node.wait_idle()
        cls.node.check_counters()
        cls.node.down()
        cls.node.check_nothing_left()

    def assert_error(self, answer, code, error_type=None):
        """An ERROR with this code; returns its JSON object."""
        self.assertIsNotNone(answer, "no answer")
        self.assertEqual(answer.kind, wcproto.ERROR, answer)
        self.assertEqual(wcproto.CODES[answer.code], wcproto.CODES[code], answer)
        error = json.loads(answer.payload) if answer.payload else {}
        if error_type:
            self.assertEqual(error.get("errorType"), error_type, error)
        return error

    def assert_reply(self, answer, value=None):
        """A REPLY with this JSON value, or these bytes."""
        self.assertIsNotNone(answer, "no answer")
        self.assertEqual(answer.kind, wcproto.REPLY, answer)
        if isinstance(value, bytes):
            self.assertEqual(answer.payload, value)
        elif value is not None:
            self.assertEqual(json.loads(answer.payload), value)
        return answer


def interrupt(*_):
    """SIGTERM ends the tests as Ctrl-C does, so that what they started is cleaned up."""
    raise KeyboardInterrupt


def main(kernel=True):
    """Run the tests of the calling program; kernel: they need the kernel datapath."""
    signal.signal(signal.SIGTERM, interrupt)
    if os.geteuid():
        skip("needs root")
    if not os.access(WARMCORE, os.X_OK):
        print(WARMCORE + " is not built")
        sys.exit(1)
    if kernel:
        doctor = subprocess.run([WARMCORE, "--json", "doctor"], stdout=subprocess.PIPE, timeout=120)
        missing = [c["check"] for c in json.loads(doctor.stdout).get("checks", []) if c["outcome"] == "missing"]
        if doctor.returncode and missing:
            skip("this host lacks " + ", ".join(missing))
    unittest.main(verbosity=2)
