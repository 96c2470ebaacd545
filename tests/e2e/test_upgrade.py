#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A daemon hands over to another one under load: each invocation runs once and is answered well; a program that is no good changes nothing."""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import harness
import wcproto
from gateway import Gateway

DAEMON = os.path.join(harness.BUILD, "bin", "warmcored")
UPGRADES = int(os.environ.get("UPGRADES", "20"))
CLIENTS = int(os.environ.get("CLIENTS", "4"))

# Runs until it is let, then prints so many bytes, more than a pipe holds, or ends its process.
NOISY = b"""
import os, time

def handler(event, context):
    while not os.path.exists(os.environ["SHARED"] + "/go"):
        time.sleep(0.01)
    print("x" * event.get("print", 0), flush=True)
    if "exit" in event:
        os._exit(event["exit"])
"""


# What a daemon of a later version does with the registry when it takes over, before it fails.
NEWER = """
import os, socket, sqlite3, sys

channel = socket.socket(fileno=int(os.environ["WARMCORE_TAKEOVER"]))
channel.recv(4096)
channel.send(b"PREPARED")
assert channel.recv(4096) == b"GO"
db = sqlite3.connect(sys.argv[1])
db.execute("VACUUM INTO ?", (sys.argv[1] + ".schema1",))
db.executescript("BEGIN; ALTER TABLE aliases ADD COLUMN colour TEXT; PRAGMA user_version = 2; COMMIT")
if sys.argv[2] == "dies":
    os.kill(os.getpid(), 9)
db.close()
channel.send(b"ERROR=no")
"""


class Load:
    """Clients that count up: invocation N of client I has the tag "I-N", which the function writes down each time that it runs."""

    def __init__(self, node, function, count=CLIENTS):
        self.node, self.function = node, function
        self.clients = [node.client() for _ in range(count)]
        self.done, self.wrong, self.busy, self.slowest = [0] * count, [], 0, 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, index):
        client = self.clients[index]
        try:
            while not self.stop.is_set():
                tag = "%d-%d" % (index, self.done[index])
                begun = time.monotonic()
                answer = client.invoke(self.function, ('{"do": "count", "tag": "%s"}' % tag).encode(), seconds=harness.PATIENCE_S)
                self.slowest = max(self.slowest, time.monotonic() - begun)
                if answer is None or answer.kind != wcproto.REPLY:
                    raise AssertionError("%s: %r" % (tag, answer))
                self.done[index] += 1
        except Exception as error:  # pylint: disable=broad-except
            self.wrong.append(repr(error))

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(2 * harness.PATIENCE_S)
        for client in self.clients:
            client.socket.close()
        return sum(self.done)

    def check(self, test):
        """Each ran once; none got anything but its reply, and none was told to come back."""
        test.assertEqual(self.wrong, [])
        runs = self.node.all_runs()
        tags = ["%d-%d" % (i, n) for i, count in enumerate(self.done) for n in range(count)]
        test.assertEqual([tag for tag in tags if runs.get(tag) != 1], [], "not run once")
        test.assertEqual(sorted(runs), sorted(tags), "something ran that nobody has an answer to")
        test.assertEqual(sum(client.busy for client in self.clients), 0)


class Upgrade(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """One waits for a program that says nothing, which takes a minute: beside all others, and the last test looks what has become of it."""
        cls.patient = harness.Node("patient")
        cls.patient.up()
        cls.hanging = subprocess.Popen([harness.WARMCORE, "--node", cls.patient.name, "upgrade", cls.script(cls.patient, "hangs", "exec sleep 1000\n")],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip

    @classmethod
    def tearDownClass(cls):
        cls.hanging.kill()
        cls.hanging.communicate()
        cls.patient.close()

    def test_without_a_word(self):
        error = self.hanging.communicate(timeout=harness.PATIENCE_S)[1]
        self.assertEqual(self.hanging.returncode, 1)
        self.assertIn("said nothing for", error)
        self.assertEqual(self.patient.status()["node"]["pid"], self.patient.pid)
        self.patient.down()
        self.patient.check_nothing_left()

    def up(self, *options):
        node = harness.Node("upgrade", *options)
        self.addCleanup(node.close)
        node.up()
        return node

    def copy_of(self, node, name):
        """The daemon as another version would be installed: its own folder, with the runtimes beside it."""
        root = os.path.join(node.root, name)
        os.makedirs(os.path.join(root, "bin"))
        os.symlink(os.path.join(harness.BUILD, "lib"), os.path.join(root, "lib"))
        path = os.path.join(root, "bin", "warmcored")
        shutil.copy(DAEMON, path)
        with open(path, "ab") as file:
            file.write(name.encode())  # another binary, which does the same
        return path

    @staticmethod
    def script(node, name, text):
        path = os.path.join(node.root, name)
        with open(path, "w") as file:
            file.write("#!/bin/bash\n" + text)
        os.chmod(path, 0o755)
        return path

    def hand_over(self, node, program):
        """One upgrade: the program serves, under another pid, and the one before is gone."""
        before = node.pid
        answer = node.json("upgrade", "--timeout", "120", program)  # long: in a VM
        node.pid = node.status()["node"]["pid"]
        self.assertEqual(node.pid, answer["pid"])
        self.assertNotEqual(node.pid, before)
        self.assertEqual(os.readlink("/proc/%d/exe" % node.pid), program)
        harness.wait_until(lambda: harness.process_state(before) in ("", "Z"), "the daemon from before has ended")

    def under_load(self, *options):
        node = self.up(*options)
        function = node.deploy_python()
        programs = [self.copy_of(node, "version%d" % i) for i in range(2)]
        load = Load(node, function)
        self.addCleanup(load.end)
        for i in range(UPGRADES):
            done = sum(load.done)
            self.hand_over(node, programs[i % 2])
            harness.wait_until(lambda: load.wrong or sum(load.done) > done + 20, "invocations go on")
            if load.wrong:
                break
        done = load.end()
        load.check(self)
        print("  %d invocations during %d upgrades, the slowest took %.0f ms" % (done, UPGRADES, load.slowest * 1000), flush=True)
        node.wait_idle()
        node.check_counters()
        # and what it was started with is still known
        self.assertEqual(node.json("list")["functions"][0]["name"], "probe")
        node.down()
        node.check_nothing_left()

    def test_kernel_datapath(self):
        self.under_load()

    def test_user_datapath(self):
        self.under_load("--datapath", "user", "--port", harness.free_port())

    def test_programs_that_are_no_good(self):
        """Before it takes over, whatever becomes of it is no matter; afterwards, the program from before is started again."""
        node = self.up()
        function = node.deploy_python()
        good = DAEMON
        load = Load(node, function, 2)
        self.addCleanup(load.end)
        pid = node.pid
        for name, text, sentence in (
            ("exits", "exit 1\n", "ended with status 1"),
            ("crashes", "kill -SEGV $$\n", "killed by signal 11"),
            ("refuses", "exec %s --name other\n" % good, "ended with status"),
            ("wrong", "exec %s \"$@\" --port 1\n" % good, "port is another one than that of the daemon that runs"),
            ("cores", "exec %s \"$@\" --cores 0*7\n" % good, "has entries 2 with the daemon that runs, and 7"),
            ("options", "exec %s --nonsense\n" % good, "unknown option --nonsense"),
        ):
            if name == "cores":
                sentence = "table wc_runs has entries"
            if name == "refuses":
                sentence = "name is another one"
            done = node.cli("upgrade", self.script(node, name, text), check=False)
            self.assertEqual(done.returncode, 1, name)
            self.assertIn(sentence, done.stderr)
            self.assertIn("The daemon from before serves on.", done.stderr)
            self.assertEqual(node.status()["node"]["pid"], pid, name)
        for path, sentence in (("/none/such", "No such file"), (node.root, "there is no program")):
            done = node.cli("upgrade", path, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(sentence, done.stderr)
        open_to_all = self.script(node, "open", "exit 0\n")
        os.chmod(open_to_all, 0o777)
        self.assertIn("others may write to it", node.cli("upgrade", open_to_all, check=False).stderr)
        # without its runtimes
        alone = os.path.join(node.root, "alone")
        shutil.copy(good, alone)
        self.assertIn("the runtimes are missing", node.cli("upgrade", alone, check=False).stderr)
        self.assertEqual(node.status()["node"]["pid"], pid)
        # one that fails when the daemon has stopped for it already: that is started again
        late = self.script(node, "late", "exec %s \"$@\" --state-dir /dev/null/none\n" % good)
        done = node.cli("upgrade", late, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("The program from before serves again.", done.stderr)
        self.assertNotEqual(node.status()["node"]["pid"], pid)
        self.assertEqual(os.readlink("/proc/%d/exe" % node.status()["node"]["pid"]), good)
        self.kill_in_the_middle(node)
        node.pid = node.status()["node"]["pid"]
        done = sum(load.done)
        harness.wait_until(lambda: load.wrong or sum(load.done) > done + 50, "invocations go on")
        self.hand_over(node, self.copy_of(node, "good"))
        load.end()
        load.check(self)
        node.wait_idle()
        node.down()
        node.check_nothing_left()

    def test_fails_where_it_would_be_ready(self):
        """Until the daemon before has let it, the new one serves nothing: what it would have run then would run twice."""
        for options in ((), ("--datapath", "user", "--port", harness.free_port())):
            node = self.up(*options)
            function = node.deploy_python()
            late = self.script(node, "late", "LD_PRELOAD=%s exec %s \"$@\"\n" % (harness.native_function("late_ready"), DAEMON))
            load = Load(node, function)
            self.addCleanup(load.end)
            for _ in range(3):
                done = node.cli("upgrade", late, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn("ended with status 9. The program from before serves again.", done.stderr)
                before = sum(load.done)
                harness.wait_until(lambda: load.wrong or sum(load.done) > before + 50, "invocations go on")  # pylint: disable=cell-var-from-loop
            load.end()
            load.check(self)
            node.pid = node.status()["node"]["pid"]
            node.wait_idle()
            node.down()
            node.check_nothing_left()

    def kill_in_the_middle(self, node):
        """kill -9 of the new daemon when it has threads, and so has been let go, and is not ready yet: most of the time."""
        for _ in range(20):
            upgrade = subprocess.Popen([harness.WARMCORE, "--node", node.name, "upgrade"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            before = node.status()["node"]["pid"]
            killed = False
            while upgrade.poll() is None and not killed:
                for child in self.children(before):
                    try:
                        if os.readlink("/proc/%d/exe" % child).endswith("/warmcored") and len(os.listdir("/proc/%d/task" % child)) > 2:
                            os.kill(child, signal.SIGKILL)
                            killed = True
                    except OSError:
                        pass
            said = upgrade.communicate(timeout=harness.PATIENCE_S)[1].decode()
            if upgrade.returncode:
                self.assertIn("The program from before serves again.", said)
                return
        self.fail("the new daemon was ready each time before it was killed")

    def test_time_limit(self):
        """What runs is waited for, so long and no longer; then all goes on as before."""
        node = self.up()
        function = node.deploy_python(timeout_ms=120000)
        client = node.client()
        slow = threading.Thread(target=lambda: answers.append(client.invoke(function, b'{"do": "sleep", "ms": 4000}')))
        answers = []
        slow.start()
        harness.wait_until(lambda: any(core["state"] == "running" for core in node.status()["cores"]), "it runs")
        done = node.cli("upgrade", "--timeout", "1", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("still run or wait", done.stderr)
        self.assertEqual(node.status()["node"]["pid"], node.pid)
        with_new = node.client()
        self.assertEqual(with_new.invoke(function, b"{}").kind, wcproto.REPLY)
        before = node.pid
        self.assertNotEqual(node.json("upgrade", "--timeout", "100")["pid"], before)
        slow.join(harness.PATIENCE_S)
        self.assertEqual(answers[0].kind, wcproto.REPLY)
        node.pid = node.status()["node"]["pid"]
        for each in (client, with_new):
            each.socket.close()
        node.wait_idle()
        node.down()
        node.check_nothing_left()

    def running(self, node):
        harness.wait_until(lambda: any(core["state"] == "running" for core in node.status()["cores"]), "it runs")

    def threads(self, node):
        """Names of the daemon's threads: the one that reads the UDP sockets ends when INVOKEs are left in there."""
        names = []
        for task in os.listdir("/proc/%d/task" % node.pid):
            try:
                with open("/proc/%d/task/%s/comm" % (node.pid, task)) as file:
                    names.append(file.read().strip())
            except OSError:  # it has ended
                pass
        return names

    def children(self, pid):
        """Processes that its main thread has started."""
        with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
            return list(map(int, file.read().split()))

    def hangs(self, node):
        for child in self.children(node.pid):
            try:
                with open("/proc/%d/cmdline" % child, "rb") as file:
                    if file.read().startswith(b"sleep"):
                        return True
            except OSError:
                pass
        return False

    def upgrading(self, node, *options):
        """An upgrade that has come so far that INVOKEs wait and what runs is waited for: `warmcore upgrade`, which is asking."""
        asked = subprocess.Popen([harness.WARMCORE, "--node", node.name, "upgrade", "--timeout", "120", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(asked.communicate)
        harness.wait_until(lambda: "stack" not in self.threads(node), "it waits for what runs")
        return asked

    def let(self, node, go=True):
        """NOISY may end, or not yet."""
        path = os.path.join(node.shared, "go")
        if go:
            with open(path, "w"):
                return
        if os.path.exists(path):
            os.unlink(path)

    def test_main_loop_turns(self):
        """While what runs is waited for, its output is read and its end is seen."""
        node = self.up()
        function = node.deploy("noisy", "python", "noisy.handler", {"noisy.py": NOISY}, timeout_ms=240000)
        for event, kind in ((b'{"print": 300000}', wcproto.REPLY), (b'{"exit": 3}', wcproto.ERROR)):
            client, answers = node.client(), []
            caller = threading.Thread(target=lambda: answers.append(client.invoke(function, event, seconds=240)))  # pylint: disable=cell-var-from-loop
            self.let(node, False)
            caller.start()
            self.running(node)
            asked = self.upgrading(node)
            self.let(node)
            self.assertEqual((asked.communicate(timeout=3 * harness.PATIENCE_S)[1], asked.returncode), (b"", 0), event)
            self.assertNotEqual(node.status()["node"]["pid"], node.pid, event)
            node.pid = node.status()["node"]["pid"]
            caller.join(harness.PATIENCE_S)
            self.assertEqual(answers[0].kind, kind)
            client.socket.close()
        self.assertGreater(node.cli("logs", "noisy", "--lines", "100").stdout.count("x"), 250000)
        node.down()
        node.check_nothing_left()

    @contextlib.contextmanager
    def control(self, node):
        """A client of the control socket that asks nothing, but so slowly that the daemon does not lose its patience."""
        over = threading.Event()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect("/run/warmcore/%s/control.sock" % node.name)

            def drip():
                while not over.wait(1):
                    client.send(b" ")

            thread = threading.Thread(target=drip)
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()

    def test_control_clients(self):
        """Who holds the control socket up is waited for, so long and no longer, and costs invocations nothing."""
        node = self.up()
        function = node.deploy("noisy", "python", "noisy.handler", {"noisy.py": NOISY}, timeout_ms=120000)
        with self.control(node):
            done = node.cli("upgrade", "--timeout", "1", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("1 control requests are still under way after 1000 ms", done.stderr)
        self.assertEqual(node.status()["counters"]["pass_handover"], 0)
        self.assertIn("stack", self.threads(node))
        # one that comes when invocations wait already
        client, answers = node.client(), []
        caller = threading.Thread(target=lambda: answers.append(client.invoke(function, b"{}", seconds=240)))
        caller.start()
        self.running(node)
        asked = self.upgrading(node)
        with self.control(node):
            node.status()  # connections are taken in their order: this one, too
            self.let(node)
            said = asked.communicate(timeout=harness.PATIENCE_S)[1].decode()
        self.assertEqual(asked.returncode, 1)
        self.assertIn("control requests are still under way after 2000 ms", said)
        caller.join(harness.PATIENCE_S)
        self.assertEqual(answers[0].kind, wcproto.REPLY)
        self.assertEqual(client.invoke(function, b"{}").kind, wcproto.REPLY)
        self.assertEqual(node.status()["node"]["pid"], node.pid)
        client.socket.close()
        self.hand_over(node, self.copy_of(node, "good"))
        node.down()
        node.check_nothing_left()

    @staticmethod
    def still_descriptors(node):
        """The daemon's descriptors, once nothing opens or closes any: an instance that is made ready has some for a moment."""
        looks = []

        def are_still():
            looks.append(sorted(int(fd) for fd in os.listdir("/proc/%d/fd" % node.pid)))
            return len(looks) > 10 and all(look == looks[-1] for look in looks[-10:])

        harness.wait_until(are_still, "no descriptor is opened or closed")
        return looks[-1]

    def test_no_descriptors(self):
        """With whatever number of files it may open, the daemon hands over what works, or says what it lacks and serves on."""
        node = self.up()
        function = node.deploy_python()
        outcomes = set()
        for room in range(8):
            before = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
                asked.connect("/run/warmcore/%s/control.sock" % node.name)
                node.status()  # connections are taken in their order: this one, too
                used = self.still_descriptors(node)
                free = [fd for fd in range(max(used) + 16) if fd not in used]
                resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (free[room], before[1]))
                asked.sendall(b'{"op":"upgrade","program":"%s"}\n' % DAEMON.encode())
                asked.settimeout(harness.PATIENCE_S)
                answer = json.loads(asked.makefile().readline())
            if answer["ok"]:
                node.pid = answer["pid"]
            else:
                self.assertIn("The daemon from before serves on.", answer["error"])
                resource.prlimit(node.pid, resource.RLIMIT_NOFILE, before)
            outcomes.add(answer.get("error"))
            for family in (4, 6):
                client = node.client(family)
                large = b'"' + b"x" * 50000 + b'"'  # by way of the socket
                self.assertEqual(client.invoke(function, large).payload, large, answer)
                client.socket.close()
            self.assertEqual(node.status()["node"]["pid"], node.pid)
        self.assertIn(None, outcomes)
        self.assertTrue(any(outcome and "cannot copy the sockets" in outcome for outcome in outcomes), outcomes)
        node.down()
        node.check_nothing_left()

    def test_schema(self):
        """A newer daemon that fails after it has changed the schema of the registry: the one from before has what it had."""
        node = self.up()
        function = node.deploy_python()
        node.cli("publish", "probe")
        newer = os.path.join(node.root, "newer.py")
        with open(newer, "w") as file:
            file.write(NEWER)
        before = node.json("list", "--all")["functions"]
        for how in ("dies", "closes"):
            done = node.cli("upgrade", self.script(node, how, "exec %s %s %s/registry.db %s\n" % (sys.executable, newer, node.state, how)), check=False)
            self.assertIn("The program from before serves again.", done.stderr)
            client = node.client()
            self.assertEqual(client.invoke(function, b"{}").kind, wcproto.REPLY)
            client.socket.close()
            now = node.json("list", "--all")["functions"]
            self.assertEqual([(f["name"], f["id"]) for f in now], [(f["name"], f["id"]) for f in before])
            self.assertEqual(node.json("doctor", "--maps", check=False).get("problems"), [])
        node.pid = node.status()["node"]["pid"]
        self.hand_over(node, self.copy_of(node, "good"))
        self.assertEqual(len(node.json("list", "--all")["functions"]), len(before))
        node.down()
        node.check_nothing_left()

    def test_told_to_stop(self):
        """SIGTERM ends an upgrade that has not come to the point of no return, and the node."""
        node = self.up()
        with subprocess.Popen([harness.WARMCORE, "--node", node.name, "upgrade", self.script(node, "hangs", "exec sleep 1000\n")],
                              stderr=subprocess.PIPE) as asked:  # fmt: skip
            harness.wait_until(lambda: self.hangs(node), "the new daemon hangs")
            self.stop(node, asked)
        node = self.up()
        function = node.deploy("noisy", "python", "noisy.handler", {"noisy.py": NOISY}, timeout_ms=240000)
        client, answers = node.client(), []
        caller = threading.Thread(target=lambda: answers.append(client.invoke(function, b"{}", seconds=240)))
        caller.start()
        self.running(node)
        self.stop(node, self.upgrading(node))
        caller.join(harness.PATIENCE_S)
        self.assertEqual(answers[0].kind, wcproto.REPLY)
        client.socket.close()

    def stop(self, node, asked):
        os.kill(node.pid, signal.SIGTERM)
        self.assertIn(b"was told to stop", asked.communicate(timeout=harness.PATIENCE_S)[1])
        self.assertEqual(asked.returncode, 1)
        self.let(node)
        harness.wait_until(lambda: harness.process_state(node.pid) in ("", "Z"), "it has stopped")
        node.check_nothing_left()

    def test_what_is_remembered(self):
        """Ids and replies go over: a retransmission gets the kept reply, however often the daemon has changed; so do large payloads."""
        node = self.up()
        function = node.deploy_python()
        for family in (4, 6):
            client = node.client(family)
            large = b'"' + b"x" * 50000 + b'"'  # IP fragments, by way of the socket
            self.assertEqual(client.invoke(function, large, request_id=99).payload, large)
            client.invoke(function, b'{"do": "count", "tag": "once-%d"}' % family, request_id=7)
            for i in range(2):
                node.cli("upgrade")
                answer = client.invoke(function, b'{"do": "count", "tag": "once-%d"}' % family, request_id=7)
                self.assertEqual((answer.kind, answer.payload), (wcproto.REPLY, b'"once-%d"' % family))
                self.assertTrue(answer.flags & wcproto.CACHED)
                self.assertEqual(client.invoke(function, large, request_id=100 + i).payload, large)
            self.assertEqual(node.runs("once-%d" % family), 1)
            client.socket.close()
        node.pid = node.status()["node"]["pid"]
        node.wait_idle()
        node.check_counters()
        node.down()
        node.check_nothing_left()

    def test_waiting_invocations(self):
        """More than the cores can run at a time, of a function that takes a while: all run once, and are answered."""
        node = self.up("--cores", "0*2")
        function = node.deploy_python(timeout_ms=60000)
        client = node.client()
        for i in range(60):
            client.send(1000 + i, function, b'{"do": "count", "tag": "w%d", "sleep_ms": 50}' % i)
        node.cli("upgrade")
        for i in range(60):  # the answers are in the socket's buffer, or a retransmission is answered from what is kept
            answer = client.invoke(function, b'{"do": "count", "tag": "w%d", "sleep_ms": 50}' % i, request_id=1000 + i)
            self.assertEqual(answer.kind, wcproto.REPLY)
        self.assertEqual(set(node.all_runs().values()), {1})
        self.assertEqual(len(node.all_runs()), 60)
        client.socket.close()
        node.pid = node.status()["node"]["pid"]
        node.wait_idle()
        node.down()
        node.check_nothing_left()

    def test_gateway(self):
        """HTTP clients notice nothing either; names are looked up over the control socket, which is handed over, too."""
        node = self.up("--datapath", "user", "--port", harness.free_port())
        node.deploy_python()
        gateway = Gateway(node, "--threads", "2", "--max-wait-ms", "120000")  # in a VM one upgrade takes 20 s
        self.addCleanup(gateway.close)
        stop, wrong, done = threading.Event(), [], [0] * 3

        def run(index):
            try:
                while not stop.is_set():
                    with gateway.connect() as connection:
                        for _ in range(20):
                            response = connection.request("POST", "/function/probe", b'{"n": %d}' % done[index])
                            if response.status != 200 or response.json() != {"n": done[index]}:
                                raise AssertionError(repr(response))
                            done[index] += 1
            except Exception as error:  # pylint: disable=broad-except
                wrong.append(repr(error))

        threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            before = sum(done)
            node.cli("upgrade", "--timeout", "120")
            harness.wait_until(lambda: wrong or sum(done) > before + 20, "requests go on")  # pylint: disable=cell-var-from-loop
        stop.set()
        for thread in threads:
            thread.join(harness.PATIENCE_S)
        self.assertEqual(wrong, [])
        self.assertEqual(gateway.stop(), 0)
        node.down()

    def test_large_payloads(self):
        """The socket for large payloads is not there for a while, and sessions end: clients of both kinds wait, and lose no reply."""
        node = self.up("--datapath", "user", "--port", harness.free_port())
        node.deploy("bulk", "native", "bulk.so", {"bulk.so": harness.native_function("bulk")}, event="binary", memory_mb=256)
        gateway = Gateway(node, "--max-wait-ms", "120000")
        self.addCleanup(gateway.close)
        payload = b"=" + os.urandom(1 << 20)
        file = os.path.join(node.root, "payload")
        with open(file, "wb") as out:
            out.write(payload)
        stop, wrong, done = threading.Event(), [], [0] * 3

        def http(index, body, length):
            while not stop.is_set() and not wrong:
                with gateway.connect() as connection:
                    response = connection.request("POST", "/function/bulk", body)
                if response.status != 200 or len(response.body) != length:
                    wrong.append("%d, %d bytes: %r" % (response.status, len(response.body), response.body[:200]))
                done[index] += 1

        def command(index):
            while not stop.is_set() and not wrong:
                said = node.cli("invoke", "bulk", "--file", file, "--repeat", "20", check=False, text=False)
                if said.returncode:
                    wrong.append(said.stderr.decode(errors="replace")[-300:])
                done[index] += 20

        jobs = [(http, 0, payload, len(payload)), (http, 1, b"1000000", 1000000), (command, 2)]
        threads = [threading.Thread(target=job[0], args=job[1:]) for job in jobs]
        for thread in threads:
            thread.start()
        for _ in range(10):
            before = list(done)
            node.cli("upgrade", "--timeout", "120")
            harness.wait_until(lambda: wrong or all(now > then for now, then in zip(done, before)), "they go on")  # pylint: disable=cell-var-from-loop
        stop.set()
        for thread in threads:
            thread.join(harness.PATIENCE_S)
        self.assertEqual(wrong, [])
        print("  %r large invocations during 10 upgrades" % done, flush=True)
        self.assertEqual(gateway.stop(), 0)
        node.down()
        node.check_nothing_left()

    def test_supervisor(self):
        """systemd is told when the node serves, and who does after an upgrade: what a unit of type notify needs."""
        node = harness.Node("upgrade")
        self.addCleanup(node.close)
        path = os.path.join(node.root, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind(path)
            supervisor.settimeout(harness.PATIENCE_S)
            daemon = subprocess.Popen([DAEMON, "--name", node.name, "--datapath", "user", "--port",
                                       harness.free_port(), "--state-dir", node.state], env=dict(os.environ, NOTIFY_SOCKET=path),
                                      stderr=subprocess.DEVNULL)  # fmt: skip
            self.addCleanup(daemon.wait)
            self.assertEqual(supervisor.recv(100), b"READY=1")
            pid = node.json("upgrade")["pid"]
            self.assertEqual(sorted([supervisor.recv(100), supervisor.recv(100)]), [b"MAINPID=%d" % pid, b"READY=1"])
            self.assertEqual(daemon.wait(harness.PATIENCE_S), 0)
            os.kill(pid, signal.SIGTERM)
            self.assertEqual(supervisor.recv(100), b"STOPPING=1")
        harness.wait_until(lambda: harness.process_state(pid) in ("", "Z"), "it has stopped")
        node.check_nothing_left()

    def test_killed_afterwards(self):
        """A daemon that has taken over is one like any other: killed and started again, and told to stop by a signal."""
        node = self.up()
        function = node.deploy_python()
        self.hand_over(node, self.copy_of(node, "one"))
        node.kill9()
        node.up()
        with_client = node.client()
        self.assertEqual(with_client.invoke(function, b"{}").kind, wcproto.REPLY)
        with_client.socket.close()
        self.hand_over(node, self.copy_of(node, "two"))
        os.kill(node.pid, signal.SIGTERM)
        harness.wait_until(lambda: harness.process_state(node.pid) in ("", "Z"), "it has stopped")
        node.check_nothing_left()


if __name__ == "__main__":
    sys.exit(harness.main())
