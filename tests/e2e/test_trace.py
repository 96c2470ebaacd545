#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`warmcore trace` against a real node: stages add up to what the client saw, on the client's own clock; what takes long shows where it
belongs; a hog shows as waiting; and whatever becomes of the command, nothing stays."""

import csv
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

import harness
import wcproto
from harness import WARMCORE, wait_until
from syscall_bpf import OBJ_GET_INFO, PROG_GET_FD_BY_ID, PROG_GET_NEXT_ID, bpf

POINTS = ("received", "dispatched", "taken", "started", "began", "returned", "ended", "replied", "sent")
STAGES = ("receive", "wake", "prepare", "enter", "function", "leave", "reply", "send")
TIMESTAMPING, TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_TSONLY = 37, 1 << 1, 1 << 3, 1 << 4, 1 << 11

SPIN = b"""
import time
def handler(event, context):
    end = time.process_time() + event["ms"] / 1000
    while time.process_time() < end:
        pass
    return "spun"
"""
SLOW_TO_LOAD = b"""
import time
time.sleep(0.08)
def handler(event, context):
    return "here"
"""


def now():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def tracing_programs():
    """Ids of BPF programs of `warmcore trace` that the kernel has, of any node."""
    found, number = [], 0
    while True:
        try:
            number = struct.unpack_from("II", bpf(PROG_GET_NEXT_ID, struct.pack("II", number, 0))[1])[1]
        except FileNotFoundError:
            return found
        try:
            fd = bpf(PROG_GET_FD_BY_ID, struct.pack("I", number))[0]
        except OSError:
            continue
        info = ctypes.create_string_buffer(256)
        bpf(OBJ_GET_INFO, struct.pack("IIQ", fd, 256, ctypes.addressof(info)))
        os.close(fd)
        if info.raw[64:80].startswith(b"trace_"):
            found.append(number)


def threads_of(pid):
    names = []
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/comm" % (pid, task)) as file:
                names.append(file.read().strip())
        except OSError:  # it has ended
            pass
    return names


def deploy_noop(node, name="noop", **manifest):
    path = os.path.join(harness.BUILD, "examples", "native", "noop", "noop.so")
    return node.deploy(name, "native", "noop.so", {"noop.so": path}, **manifest)


ELSEWHERE = unittest.skipIf(os.environ.get("E2E_DATAPATH") == "kernel", "takes minutes in a VM, and nothing in it is the kernel's")

class Trace:
    """`warmcore --json trace` in the background: started when it traces, `result()` when it is over."""

    def __init__(self, node, *options):
        self.node = node
        self.csv = os.path.join(node.root, "trace.csv")
        self.chrome = os.path.join(node.root, "trace.json")
        if "--meanwhile" not in options:  # the more, the more can go wrong
            options += ("--meanwhile", "on")
        command = [WARMCORE, "--node", node.name, "--json", "trace", "--csv", self.csv, "--chrome", self.chrome, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.begun = self.process.stderr.readline()  # from here on nothing is missed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def result(self, end=False):
        """What it printed; with `end` it is told to come to its end."""
        if end:
            self.process.send_signal(signal.SIGTERM)
        out, error = self.process.communicate(timeout=harness.PATIENCE_S)
        if self.process.returncode:
            raise AssertionError("status %d: %s%s%s" % (self.process.returncode, out, self.begun, error))
        return json.loads(out)

    def rows(self):
        with open(self.csv) as file:
            return list(csv.DictReader(file))


class Common(unittest.TestCase):
    def check_row(self, row):
        at = [int(row["at_" + point]) for point in POINTS]
        self.assertEqual(at, sorted(at), row)
        stages = [int(row[stage + "_ns"]) for stage in STAGES]
        self.assertEqual(stages, [b - a for a, b in zip(at, at[1:])])
        self.assertEqual(sum(stages), int(row["total_ns"]))
        self.assertEqual(int(row["total_ns"]), at[-1] - at[0])
        return at


class Traced(harness.NodeTest, Common):
    TAG = "trace"
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        cls.probe = cls.node.deploy_python()
        cls.c = deploy_noop(cls.node)
        cls.spin = cls.node.deploy("spin", "python", "spin.handler", {"spin.py": SPIN})
        with cls.node.client() as client:
            for function in (cls.probe, cls.c, cls.spin):
                assert client.invoke(function, b'{"ms": 1}').kind == wcproto.REPLY

    def tearDown(self):
        wait_until(lambda: not self.node.status()["tracing"], "tracing is off again")

    def invoke_timed(self, client, function, payload, count):
        """{request id: (before, after)} of the client's own clock."""
        seen = {}
        for _ in range(count):
            request, before = client.fresh_id(), now()
            answer = client.invoke(function, payload, request_id=request, interval=30)
            seen["%016x" % request] = (before, now())
            self.assert_reply(answer)
        return seen

    def test_adds_up(self):
        """Every point lies between the client's own two, in order; the stages are the total, exactly."""
        for name, function, payload in (("probe", self.probe, b'{"x": 1}'), ("noop", self.c, b"{}")):
            with Trace(self.node, "--for", "600") as trace, self.node.client() as client:
                seen = self.invoke_timed(client, function, payload, 200)
                report = trace.result(end=True)
            rows = {row["request_id"]: row for row in trace.rows()}
            self.assertEqual(set(rows), set(seen))
            for request, row in rows.items():
                at = self.check_row(row)
                self.assertLessEqual(seen[request][0], at[0])
                self.assertLessEqual(at[-1], seen[request][1])
                self.assertEqual((row["function"], row["first_point"], row["last_point"]), (name, "device", "device"))
                self.assertEqual((row["instance_times"], row["failed"], row["cold"]), ("1", "0", "0"))
            (summary,) = report["functions"]
            self.assertEqual((summary["name"], summary["count"]), (name, 200))
            total = summary["stages_ns"]["total"]["sum"]
            self.assertEqual(sum(summary["stages_ns"][stage]["sum"] for stage in STAGES), total)
            self.assertEqual(total, sum(int(row["total_ns"]) for row in rows.values()))
            for stage in (*STAGES, "total"):
                values = summary["stages_ns"][stage]
                self.assertLessEqual(values["p50"], values["p90"])
                self.assertLessEqual(values["p90"], values["p99"])
                self.assertLessEqual(values["p99"], values["p99.9"])
                self.assertLessEqual(values["p99.9"], values["max"])
                self.assertEqual((values["count"], values["incomplete"]), (200, 0))
            self.assertEqual(report["traces"]["read"], 200)
            self.assertEqual(len(report["slowest"]), 5)
            totals = [slow["total_ns"] for slow in report["slowest"]]
            self.assertEqual(totals, sorted((int(row["total_ns"]) for row in rows.values()), reverse=True)[:5])
            with open(trace.chrome) as file:
                events = json.load(file)["traceEvents"]
            begun = [event["id"] for event in events if event["ph"] == "b" and event["name"] == name]
            self.assertEqual({"0x%x" % int(request, 16) for request in seen}, set(begun))

    def test_adds_up_to_the_wire(self):
        """The kernel's own stamps at the client's device, by another way: the trace begins no later and ends no earlier than they do."""
        differences = []
        with Trace(self.node, "--for", "600", "--meanwhile", "off") as trace, self.node.client() as client:
            client.socket.setsockopt(socket.SOL_SOCKET, TIMESTAMPING, TX_SOFTWARE | RX_SOFTWARE | SOFTWARE | OPT_TSONLY)
            stamps = {}  # the first ones may lack some: the kernel switches this on in time
            end = time.monotonic() + harness.PATIENCE_S
            while sum(len(each) == 2 for each in stamps.values()) < 100 and time.monotonic() < end:
                time.sleep(0.001)
                request = client.fresh_id()
                client.send(request, self.c, b"{}")
                self.assertTrue(select.select([client.socket], [], [], harness.PATIENCE_S)[0])
                client.socket.settimeout(harness.PATIENCE_S)
                received, controls = client.socket.recvmsg(65536, 1024)[:2]
                self.assertEqual(wcproto.parse_answer(received).request_id, request)
                sent = client.socket.recvmsg(65536, 1024, socket.MSG_ERRQUEUE)[1]
                stamps["%016x" % request] = [struct.unpack_from("qq", data) for _, kind, data in sent + controls if kind == TIMESTAMPING]
            trace.result(end=True)
        for row in trace.rows():
            if len(stamps[row["request_id"]]) != 2:
                continue
            sent, received = (seconds * 10**9 + ns for seconds, ns in stamps[row["request_id"]])
            total, wire = int(row["total_ns"]), received - sent
            # Both clocks run at the rate that time is disciplined to, but for a step of the wall clock.
            if 0 < wire < 10**9:
                self.assertGreaterEqual(total, wire - 50)
                differences.append((total - wire) / wire)
        self.assertGreater(len(differences), 50)
        print("total over the kernel's stamps, median: %+.2f %%" % (100 * sorted(differences)[len(differences) // 2]))

    def test_where_it_belongs(self):
        """A sleep is in the function; loading an instance is in `prepare`; neither is anywhere else."""
        slow = self.node.deploy("slow-load", "python", "slow.handler", {"slow.py": SLOW_TO_LOAD})
        with Trace(self.node, "--for", "600") as trace, self.node.client() as client:
            sleeper = self.invoke_timed(client, self.probe, b'{"do": "sleep", "ms": 30}', 5)
            loader = self.invoke_timed(client, slow, b"{}", 1)
            trace.result(end=True)
        rows = {row["request_id"]: row for row in trace.rows()}
        for request in sleeper:
            self.assertGreaterEqual(int(rows[request]["function_ns"]), 30000000)
        (row,) = (rows[request] for request in loader)
        self.assertEqual(row["cold"], "1")
        self.assertGreaterEqual(int(row["prepare_ns"]), 80000000)
        self.assertLessEqual(int(row["function_ns"]) + int(row["prepare_ns"]), int(row["total_ns"]))

    @ELSEWHERE
    def test_pended(self):
        """What waits in the pending queue waits in the stage `wake`, and says so."""
        with Trace(self.node, "--for", "600") as trace, self.node.client() as client:
            ids = [client.fresh_id() for _ in range(6)]
            for request in ids:
                client.send(request, self.probe, b'{"do": "sleep", "ms": 50}')
            for _ in ids:
                self.assert_reply(client.receive(harness.PATIENCE_S))
            trace.result(end=True)
        pended = [row for row in trace.rows() if row["pended"] == "1"]
        self.assertGreaterEqual(len(pended), 2)
        for row in trace.rows():
            self.check_row(row)
        # Two cores: the last two have waited for two others each.
        self.assertGreaterEqual(max(int(row["wake_ns"]) for row in pended), 50000000)

    def test_hog(self):
        """Somebody else on the core's CPU: the slowest invocation waited for it, and the report names who ran."""
        hog = subprocess.Popen([sys.executable, "-c", "import os\nos.sched_setaffinity(0, {0, 1})\nfor _ in range(1):\n if os.fork() == 0:"
                                "\n  os.sched_setaffinity(0, {1})\n else:\n  os.sched_setaffinity(0, {0})\nwhile os.getppid() != 1: pass"],
                               start_new_session=True)  # fmt: skip
        try:
            with Trace(self.node, "spin", "--for", "600", "--slowest", "1") as trace, self.node.client() as client:
                self.assert_reply(client.invoke(self.spin, b'{"ms": 300}', interval=30))
                report = trace.result(end=True)
        finally:
            os.killpg(hog.pid, signal.SIGKILL)
            hog.wait()
        (slow,) = report["slowest"]
        meanwhile = slow["meanwhile"]
        self.assertTrue(meanwhile["known"], report)
        self.assertGreater(meanwhile["wait_ns"]["function"], 0)
        self.assertLessEqual(meanwhile["wait_ns"]["function"], slow["stages_ns"]["function"])
        # The longest are named; on a host where as many others took longer than the hog it is not among them.
        others = meanwhile["others"]
        self.assertTrue(len(others) >= 4 or os.path.basename(sys.executable)[:15] in [other["comm"] for other in others], others)
        # It used 300 ms of the CPU, and what it waited was somebody else's time.
        self.assertGreaterEqual(slow["stages_ns"]["function"], 300000000 + meanwhile["wait_ns"]["function"] // 2)
        self.assertGreaterEqual(meanwhile["others_ns"], meanwhile["wait_ns"]["function"] // 2)

    @ELSEWHERE
    def test_not_meanwhile(self):
        """What costs more is watched only when somebody asks for it, and the slowest have their stages in any case."""
        before = set(tracing_programs())
        with Trace(self.node, "--for", "600", "--meanwhile", "off") as trace, self.node.client() as client:
            self.assertEqual(len(set(tracing_programs()) - before), 2)
            self.invoke_timed(client, self.c, b"{}", 10)
            report = trace.result(end=True)
        self.assertEqual(len(report["slowest"]), 5)
        for slow in report["slowest"]:
            self.assertEqual(sum(slow["stages_ns"].values()), slow["total_ns"])
            self.assertNotIn("meanwhile", slow)
        process = subprocess.Popen([WARMCORE, "--node", self.node.name, "trace", "--for", "600"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stderr.readline()
        self.assertEqual(len(set(tracing_programs()) - before), 2)  # unless told otherwise
        with self.node.client() as client:
            self.invoke_timed(client, self.c, b"{}", 3)
        process.send_signal(signal.SIGTERM)
        self.assertIn("--meanwhile on says", process.communicate(timeout=harness.PATIENCE_S)[0])
        self.assertEqual(process.returncode, 0)

    @ELSEWHERE
    def test_slower(self):
        """Only those are kept whole; the table has all."""
        with Trace(self.node, "--for", "600", "--slower", "20ms") as trace, self.node.client() as client:
            self.invoke_timed(client, self.c, b"{}", 50)
            slow = self.invoke_timed(client, self.probe, b'{"do": "sleep", "ms": 25}', 2)
            report = trace.result(end=True)
        rows = trace.rows()
        self.assertTrue(set(slow) <= {row["request_id"] for row in rows})
        self.assertTrue(all(int(row["total_ns"]) >= 20000000 for row in rows), rows)
        self.assertEqual(sum(function["count"] for function in report["functions"]), 52)

    @ELSEWHERE
    def test_sample_and_count(self):
        with Trace(self.node, "noop", "--for", "600", "--sample", "1/10", "--count", "3") as trace, self.node.client() as client:
            while trace.process.poll() is None:
                self.invoke_timed(client, self.c, b"{}", 5)
                self.invoke_timed(client, self.probe, b"{}", 1)
            report = trace.result()
        self.assertEqual(report["traces"]["read"], 3)
        self.assertEqual([function["name"] for function in report["functions"]], ["noop"])
        self.assertEqual({row["function"] for row in trace.rows()}, {"noop"})
        self.assertEqual(len(trace.rows()), 3)

    def resolve(self, **request):
        path = "/run/warmcore/%s/control.sock" % self.node.name
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(path)
            control.sendall(json.dumps({"op": "resolve", **request}).encode() + b"\n")
            return json.loads(control.makefile().readline())

    @ELSEWHERE
    def test_version(self):
        """A published version has an id of its own: it is traced, and the function itself is not."""
        self.node.cli("publish", "noop")
        version = self.resolve(name="noop", qualifier="1")["targets"][0]["id"]
        self.assertNotEqual(version, self.c)
        with Trace(self.node, "noop:1", "--for", "600") as trace, self.node.client() as client:
            self.invoke_timed(client, self.c, b"{}", 3)
            seen = self.invoke_timed(client, version, b"{}", 2)
            report = trace.result(end=True)
        self.assertEqual([function["id"] for function in report["functions"]], [version])
        self.assertEqual({row["request_id"]: row["function"] for row in trace.rows()}, dict.fromkeys(seen, "noop:1"))
        done = self.node.cli("trace", "noop:9", check=False)
        self.assertEqual(done.returncode, 1, done.stderr)

    @ELSEWHERE
    def test_versions_of_the_longest_name(self):
        """Versions show by their whole label; an alias, which may be longer than any, as the version that it is."""
        name, alias = "n" * 63, "a" * 128
        ids = []
        for number in "12":
            deploy_noop(self.node, name, timeout_ms=1000 + int(number))
            self.node.cli("publish", name)
            ids.append(self.resolve(name=name, qualifier=number)["targets"][0]["id"])
        self.node.cli("alias", name, alias, "2")
        with Trace(self.node, "--for", "600") as trace, self.node.client() as client:
            seen = {request: name + ":%d" % number for number, each in enumerate(ids, 1) for request in self.invoke_timed(client, each, b"{}", 2)}
            report = trace.result(end=True)
        self.assertEqual(sorted(function["name"] for function in report["functions"]), [name + ":1", name + ":2"])
        self.assertEqual({row["request_id"]: row["function"] for row in trace.rows()}, seen)
        with Trace(self.node, name + ":" + alias, "--for", "600") as trace, self.node.client() as client:
            self.invoke_timed(client, ids[1], b"{}", 1)
            trace.result(end=True)
        self.assertEqual([row["function"] for row in trace.rows()], [name + ":2"])
        self.node.cli("remove", name)

    @ELSEWHERE
    def test_failed(self):
        with Trace(self.node, "--for", "600") as trace, self.node.client() as client:
            self.assertEqual(client.invoke(self.probe, b'{"do": "exit", "status": 3}').kind, wcproto.ERROR)
            self.assertEqual(client.invoke(self.probe, b'{"do": "raise"}').kind, wcproto.ERROR)
            trace.result(end=True)
        self.assertEqual([row["failed"] for row in trace.rows()], ["1", "1"])
        for row in trace.rows():
            self.check_row(row)

    def test_killed(self):
        """Whenever it is killed, no program and no tracing stays."""
        for delay in (0.0, 0.05, 0.2, 0.5, 1.0):
            before = set(tracing_programs())
            process = subprocess.Popen([WARMCORE, "--node", self.node.name, "trace", "--for", "600", "--meanwhile", "on"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            time.sleep(delay)
            process.kill()
            process.wait()
            wait_until(lambda: not set(tracing_programs()) - before, "its programs are gone")
            wait_until(lambda: not self.node.status()["tracing"], "tracing is off")
            with self.node.client() as client:
                self.assert_reply(client.invoke(self.c, b"{}"))

    @ELSEWHERE
    def test_busy(self):
        """More is written than can be read: it ends nevertheless, by its time and by a signal, every core has its part, the table has all."""
        load = subprocess.Popen([WARMCORE, "--node", self.node.name, "load", "noop", "--clients", "64", "--duration", "%ds" % harness.PATIENCE_S],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            for options, end in ((("--for", "600"), True), (("--for", "1"), False)):
                with Trace(self.node, *options) as trace:
                    if end:
                        wait_until(lambda: os.path.getsize(trace.csv) > 2**18, "it has read much")
                    report = trace.result(end=end)
                rows = trace.rows()
                self.assertEqual(report["traces"]["read"], len(rows))
                self.assertEqual({row["core"] for row in rows}, {"0", "1"})
                self.assertGreaterEqual(report["functions"][0]["count"], len(rows))
                self.assertEqual({row["function"] for row in rows}, {"noop"})
        finally:
            load.terminate()
            load.wait()

    @ELSEWHERE
    def test_two_at_once(self):
        """Each has its own; when one ends the other goes on."""
        with Trace(self.node, "--for", "600") as one, self.node.client() as client:
            with Trace(self.node, "--for", "600", "--slower", "1s") as two:
                self.invoke_timed(client, self.c, b"{}", 20)
                two.result(end=True)
            self.invoke_timed(client, self.c, b"{}", 20)
            os.rename(one.csv, one.csv + ".gone")  # both have written to it: not what is tested
            report = one.result(end=True)
        self.assertEqual(report["functions"][0]["count"], 40)

    @ELSEWHERE
    def test_knob(self):
        """On and off while invocations run: none is lost, and none waits for it."""
        stop, answers = threading.Event(), []

        def invoke():
            with self.node.client() as client:
                while not stop.is_set():
                    answers.append(client.invoke(self.c, b"{}", interval=30))

        thread = threading.Thread(target=invoke)
        thread.start()
        try:
            for _ in range(5):
                for value in ("on", "off"):
                    self.node.cli("set", "--trace", value)
                    self.assertEqual(self.node.status()["tracing"], value == "on")
        finally:
            stop.set()
            thread.join()
        self.assertTrue(answers)
        for answer in answers:
            self.assert_reply(answer)
        self.node.wait_idle()
        self.node.cli("set", "--trace", "on")
        with Trace(self.node, "--for", "600") as trace, self.node.client() as client:
            self.invoke_timed(client, self.c, b"{}", 10)
            self.assertEqual(trace.result(end=True)["functions"][0]["count"], 10)
        self.assertTrue(self.node.status()["tracing"])
        self.node.cli("set", "--trace", "off")

    @ELSEWHERE
    def test_wrong(self):
        for options, text in ((("--slower", "5"), "is not a time"), (("--slower", "2h"), "is not a time"), (("--sample", "0"), "is not a part"),
                              (("--sample", "1/0"), "is not a part"), (("--for", "0"), "is not a number"), (("--count", "-1"), "count"),
                              (("--slowest", "101"), "slowest"), (("--meanwhile", "maybe"), "meanwhile")):  # fmt: skip
            done = self.node.cli("trace", *options, check=False)
            self.assertEqual(done.returncode, 2, (options, done.stderr))
            self.assertIn(text, done.stderr)
        for options, text in ((("nobody",), "no function"), (("--csv", "/nowhere/x"), "cannot write /nowhere/x"),
                              (("--chrome", self.node.root), "cannot write")):  # fmt: skip
            done = self.node.cli("trace", *options, check=False)
            self.assertEqual(done.returncode, 1, (options, done.stderr))
            self.assertIn(text, done.stderr)
        # A disk that is full, while it traces.
        done = self.node.cli("trace", "--for", "0.3", "--csv", "/dev/full", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write /dev/full", done.stderr)


class Others(Common):
    """Nodes of other kinds: what they have no stamp for is said, and the rest adds up."""

    def run_on(self, node, function, count=20):
        with Trace(node, "--for", "600") as trace, node.client() as client:
            for _ in range(count):
                self.assertEqual(client.invoke(function, b"{}", interval=30).kind, wcproto.REPLY)
            report = trace.result(end=True)
        rows = trace.rows()
        self.assertEqual(len(rows), count)
        for row in rows:
            self.check_row(row)
        return report, rows

    def start(self, tag, *options):
        node = harness.Node(tag, *options)
        self.addCleanup(node.close)
        node.up()
        return node

    @ELSEWHERE
    def test_user_datapath(self):
        node = self.start("traceu", "--datapath", "user", "--port", harness.free_port(), "--cores", "0-1")
        report, rows = self.run_on(node, deploy_noop(node))
        self.assertEqual(report["datapath"], "user")
        self.assertTrue({row["first_point"] for row in rows} <= {"device", "socket"})
        self.assertEqual({row["instance_times"] for row in rows}, {"1"})
        node.down()
        node.check_nothing_left()

    @ELSEWHERE
    def test_shared_core_and_trusted(self):
        """Lanes write what their core has; a trusted function has no instance."""
        node = self.start("tracel", "--policy", "ll_ps", "--cores", "0-1", "--allow-trusted", "--trace", "on")
        self.run_on(node, deploy_noop(node))
        trusted = deploy_noop(node, "trusted", trusted=True)
        node.cli("set", "--policy", "central")
        _, rows = self.run_on(node, trusted)
        self.assertEqual({(row["enter_ns"], row["leave_ns"], row["instance_pid"]) for row in rows}, {("0", "0", "0")})
        node.down()
        node.check_nothing_left()

    @ELSEWHERE
    def test_upgrade_and_crash(self):
        """Another daemon takes over: who traces is told; the knob holds. A killed daemon leaves maps, which the next one removes."""
        node = self.start("traceg", "--cores", "0-1", "--trace", "on")
        function = deploy_noop(node)
        with Trace(node, "--for", "600") as trace, node.client() as client:
            self.assertEqual(client.invoke(function, b"{}").kind, wcproto.REPLY)
            node.cli("upgrade")
            report = trace.result()
        self.assertTrue(report["ended_by_daemon"])
        self.assertEqual(report["functions"][0]["count"], 1)
        node.pid = node.status()["node"]["pid"]
        self.assertTrue(node.status()["tracing"])
        self.run_on(node, function)
        node.kill9()
        done = node.cli("trace", "--for", "1", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not running", done.stderr)
        node.up()
        self.run_on(node, function)
        node.down()
        node.check_nothing_left()

    @ELSEWHERE
    def test_upgrade_without(self):
        """Tracing that cannot be switched on is no reason for a daemon that has taken over to end."""
        node = self.start("tracei", "--cores", "0-1")
        function = deploy_noop(node)
        program, obstacle = os.path.join(node.root, "daemon"), "/sys/fs/bpf/warmcore/%s/maps/wc_traces" % node.name
        with open(program, "w") as file:
            file.write('#!/bin/bash\nexec %s "$@" --trace on\n' % os.path.join(harness.BUILD, "bin", "warmcored"))
        os.chmod(program, 0o755)
        os.mkdir(obstacle)
        try:
            node.pid = node.json("upgrade", "--timeout", "120", program)["pid"]
            self.assertEqual(node.status()["node"]["pid"], node.pid)
            self.assertFalse(node.status()["tracing"])
            self.assertIn("cannot pin", node.cli("set", "--trace", "on", check=False).stderr)
            with node.client() as client:
                self.assertEqual(client.invoke(function, b"{}").kind, wcproto.REPLY)
        finally:
            os.rmdir(obstacle)
        node.cli("set", "--trace", "on")
        self.assertTrue(node.status()["tracing"])
        node.down()
        node.check_nothing_left()

    @ELSEWHERE
    def test_upgrade_while_traced(self):
        """With the knob off, and somebody tracing whom nobody tells to end: an upgrade ends that, and one that is given up afterwards switches it off."""
        node = self.start("traceh", "--cores", "0-1")
        probe = node.deploy_python()
        gate = node.deploy("gate", "native", "gate.so", {"gate.so": harness.native_function("gate")}, event="binary", timeout_ms=240000)
        with open(os.path.join(node.shared, "spans"), "w") as file:
            os.fchmod(file.fileno(), 0o666)
        answers = []

        def invoke():
            with node.client() as client:
                answers.append(client.invoke(gate, b"run open", seconds=240))

        with Trace(node, "--for", "600") as trace:
            caller = threading.Thread(target=invoke)
            caller.start()
            wait_until(lambda: any(core["state"] == "running" for core in node.status()["cores"]), "it runs")
            upgrade = subprocess.Popen([WARMCORE, "--node", node.name, "upgrade", "--timeout", "120"], stderr=subprocess.PIPE, text=True)
            self.addCleanup(upgrade.communicate)
            # Not waiting for the trace any more, but for what runs: then a client that says nothing.
            wait_until(lambda: "stack" not in threads_of(node.pid), "it waits for what runs")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as idle:
                idle.connect("/run/warmcore/%s/control.sock" % node.name)
                with open(os.path.join(node.shared, "open"), "w"):
                    pass
                said = upgrade.communicate(timeout=harness.PATIENCE_S)[1]
            self.assertEqual(upgrade.returncode, 1)
            self.assertIn("control requests are still under way after 2000 ms", said)
            self.assertTrue(trace.result()["ended_by_daemon"])
            caller.join(harness.PATIENCE_S)
        self.assertEqual(answers[0].kind, wcproto.REPLY)
        self.assertEqual(node.status()["node"]["pid"], node.pid)
        self.assertFalse(node.status()["tracing"])
        self.assertEqual(len(self.run_on(node, probe)[1]), 20)
        with Trace(node, "--for", "600") as trace:
            node.cli("upgrade")
            self.assertTrue(trace.result()["ended_by_daemon"])
        node.pid = node.status()["node"]["pid"]
        self.assertFalse(node.status()["tracing"])
        self.run_on(node, probe)
        node.down()
        node.check_nothing_left()


if __name__ == "__main__":
    harness.main()
