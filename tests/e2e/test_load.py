#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`warmcore load`: with a node, deployed functions and all; and against a responder that knows how long it took.

Nothing depends on how fast the machine is: loads that must be complete have a time-out of an hour, and what is compared with is what the other
side has measured or counted.
"""

import csv
import heapq
import io
import json
import math
import os
import pty
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import harness
import wcproto
from harness import WARMCORE, wait_until

HEADER = struct.Struct(">HBBBBHQIIIHHQQ")  # bpf/proto.h
SO_TIMESTAMPNS = 35
PATIENT = ("--timeout", "1h", "--behind", "1h")
COUNTS = ("replied", "failed", "busy", "lost", "unfinished")


def load(*arguments, status=0, node=None):
    command = [WARMCORE, *(("--node", node) if node else ()), "--json", "load", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    if done.returncode != status:
        raise AssertionError("%s: status %d: %r %r" % (arguments, done.returncode, done.stdout[-2000:], done.stderr))
    return json.loads(done.stdout)


class Responder:
    """Answers each call after `delay(payload)` seconds, and keeps from when the kernel had the call until it was answered, in ns."""

    def __init__(self, delay):
        self.delay, self.delays, self.calls, self.ended = delay, [], [], False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.to = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def read(self, waiting):
        packet, control, _, client = self.socket.recvmsg(65536, 256, socket.MSG_DONTWAIT)
        now, real = time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_REALTIME)
        stamp = next(struct.unpack("qq", data) for _, kind, data in control if kind == SO_TIMESTAMPNS)
        came = now - (real - stamp[0] * 10**9 - stamp[1])
        _, _, _, _, _, _, request_id, function_id, length, *_ = HEADER.unpack_from(packet)
        self.calls.append((function_id, packet[HEADER.size : HEADER.size + length]))
        delay = self.delay(self.calls[-1][1])
        if delay is not None:
            heapq.heappush(waiting, (came + int(delay * 1e9), came, request_id, function_id, client))

    def run(self):
        waiting = []
        while not self.ended:
            pause = max(0, min(waiting[0][0] - time.monotonic_ns(), 10**7)) / 1e9 if waiting else 0.01
            if select.select([self.socket], [], [], pause)[0]:
                self.read(waiting)
            while waiting and waiting[0][0] <= time.monotonic_ns():
                _, came, request_id, function_id, client = heapq.heappop(waiting)
                answer = HEADER.pack(0x5743, 1, 2, 48, 0, 1, request_id, function_id, 0, 0, 0, 0, 1000, 2000)
                sent = time.monotonic_ns()
                self.socket.sendto(answer, client)
                self.delays.append(sent - came)

    def close(self):
        self.ended = True
        self.thread.join()
        self.socket.close()


def quantile(values, part):
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


class Chain(unittest.TestCase):
    def responder(self, delay):
        responder = Responder(delay)
        self.addCleanup(responder.close)
        return responder

    def test_known_delays(self):
        """p50, p90 and p99 are those that were produced, within 1 %. Each is one of three delays, and far from where that ends, so that single
        calls that are held up between a stamp and its system call, which nobody can see, change nothing."""
        choose = random.Random(5)
        responder = self.responder(lambda payload: choose.choices((0.02, 0.05, 0.2), (85, 12, 3))[0])
        result = load("--to", responder.to, "1", "--arrivals", "poisson:150", "--duration", "6s", "--warm-up", "0", *PATIENT)
        times = result["total"]["times"]
        self.assertEqual(result["total"]["replied"], result["total"]["scheduled"])
        self.assertEqual(len(responder.delays), result["total"]["replied"])
        for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            produced = quantile(responder.delays, part)
            self.assertLess(abs(times["round_trip"][name] / produced - 1), 0.01, (name, produced, times["round_trip"]))
        self.assertEqual((times["wait"]["p50"], times["service"]["max"]), (1000, 2000))

    def test_payload_is_the_plan(self):
        """The same seed sends the same calls, function by function, in the same order."""
        seen = []
        for _ in range(2):
            responder = self.responder(lambda payload: 0)
            load("--to", responder.to, "7", "8", "9", "--arrivals", "mmpp:2k,50,20ms,50ms", "--service", "bimodal:10us,3ms,0.2", "--work", "sleep",
                 "--popularity", "zipf:1", "--seed", "77", "--duration", "1s", "--warm-up", "200ms", *PATIENT)  # fmt: skip
            seen.append(responder.calls)
        self.assertEqual(seen[0], seen[1])
        self.assertEqual({payload for _, payload in seen[0]}, {b'{"sleep_us":10}', b'{"sleep_us":3000}'})
        self.assertEqual({function for function, _ in seen[0]}, {7, 8, 9})

    def test_silence_is_bounded(self):
        """Every third call gets no answer: the percentiles of the others do not hide it."""
        count = [0]

        def delay(payload):
            count[0] += 1
            return None if count[0] % 3 == 0 else 0

        responder = self.responder(delay)
        result = load("--to", responder.to, "1", "--arrivals", "fixed:300", "--duration", "1s", "--warm-up", "0", "--timeout", "2s",
                      "--behind", "1h")  # fmt: skip
        total = result["total"]
        self.assertEqual(total["scheduled"], total["not_sent"] + sum(total[name] for name in COUNTS))
        latency = total["times"]["latency"]
        self.assertGreaterEqual(latency["missing"], len(responder.calls) // 3)
        self.assertIsNone(latency["with_missing"]["p90"])
        self.assertLessEqual(latency["p50"], latency["with_missing"]["p50"])

    def test_interrupted(self):
        """Ctrl-C: what there is, at once; what is out is unfinished."""
        responder = self.responder(lambda payload: None)
        process = subprocess.Popen([WARMCORE, "--json", "load", "--to", responder.to, "1", "--arrivals", "fixed:100", "--duration", "1h",
                                    "--warm-up", "0", *PATIENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        self.addCleanup(process.kill)
        wait_until(lambda: len(responder.calls) > 20, "calls are made")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
        result = json.loads(out)
        self.assertEqual(process.returncode, 4)  # no reply at all
        self.assertEqual(result["interrupted"], 1)
        self.assertGreater(result["total"]["unfinished"], 20)
        self.assertEqual(result["total"]["unfinished"], result["total"]["sent"])

    def test_too_fast(self):
        """A rate that nobody achieves: it ends, says so, and --strict fails."""
        responder = self.responder(lambda payload: 0)
        result = load("--to", responder.to, "1", "--arrivals", "fixed:50M", "--duration", "100ms", "--warm-up", "0", "--timeout", "200ms",
                      "--outstanding", "64", "--strict", status=1)  # fmt: skip
        self.assertFalse(result["pace"]["kept_up"])
        self.assertGreater(result["total"]["not_sent"], 0)
        self.assertEqual(result["total"]["scheduled"], 5000000 - 1)

    def test_progress_bar(self):
        """On a terminal only, and gone afterwards."""
        responder = self.responder(lambda payload: 0)
        controller, terminal = pty.openpty()
        command = [WARMCORE, "load", "--to", responder.to, "1", "--arrivals", "fixed:50", "--duration", "1s", "--warm-up", "0", *PATIENT]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        drawn = b""
        while True:
            try:
                more = os.read(controller, 4096)
            except OSError:
                break
            if not more:
                break
            drawn += more
        out, _ = process.communicate(timeout=120)
        os.close(controller)
        self.assertEqual(process.returncode, 0, drawn)
        self.assertRegex(drawn.decode(), r"^\r\[[# ]{30}\] [0-9.]+ of 1.0 s")
        self.assertTrue(drawn.endswith(b"\r\x1b[K"), drawn)
        self.assertIn(b"from intended send", out)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        self.assertEqual(done.returncode, 0)
        self.assertNotIn(b"\r", done.stderr)


class Errors(unittest.TestCase):
    def fails(self, sentence, *arguments, status=2):
        done = subprocess.run([WARMCORE, "load", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        self.assertEqual(done.returncode, status, done)
        self.assertIn(sentence, done.stderr.decode())
        self.assertEqual(done.stdout, b"")

    def test_wrong_options(self):
        to = ("--to", "127.0.0.1:9", "1")
        self.fails("one of --arrivals, --trace and --clients", *to)
        self.fails("only one of", *to, "--arrivals", "fixed:1", "--clients", "1")
        self.fails("no arrivals", *to, "--arrivals", "sometimes", status=1)
        self.fails("exp", *to, "--arrivals", "fixed:1", "--service", "exp:long", status=1)
        self.fails("--timeout", *to, "--arrivals", "fixed:1", "--timeout", "2h")
        self.fails("ADDRESS:PORT", "--to", "127.0.0.1", "1", "--arrivals", "fixed:1")
        self.fails("by their ids", "--to", "127.0.0.1:9", "hello", "--arrivals", "fixed:1")
        self.fails("not an IPv4 or IPv6 address", "--to", "host:9", "1", "--arrivals", "fixed:1", status=1)
        self.fails("name the functions", "--arrivals", "fixed:1")
        self.fails("do not name others", "hello", "--deploy", "2", "--arrivals", "fixed:1")
        self.fails("--think", *to, "--arrivals", "fixed:1", "--think", "fixed:0")
        self.fails("leave out --payload", *to, "--arrivals", "fixed:1", "--service", "fixed:1ms", "--payload", "x")
        self.fails("nothing is left to measure", *to, "--arrivals", "fixed:1", "--duration", "0", status=1)
        self.fails("/nonexistent", *to, "--trace", "/nonexistent", status=1)

    def test_wrong_files(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            self.fails("needs files", "merge")
            self.fails(file.name, "merge", file.name, status=1)
            file.write('{"format":"other"}')
            file.flush()
            self.fails("no result of warmcore load", "merge", file.name, status=1)


class Node(harness.NodeTest):
    TAG = "load"

    def test_deploy_load_merge(self):
        """Functions of its own, what the node counted, results that add up, and nothing is left."""
        files = [os.path.join(self.node.root, name) for name in ("one.json", "two.json")]
        for number, file in enumerate(files):
            result = load("--deploy", "3", "--arrivals", "poisson:150", "--popularity", "zipf:1", "--service", "exp:300us", "--work", "sleep",
                          "--duration", "1500ms", "--warm-up", "500ms", "--seed", str(number), "--output", file, *PATIENT, node=self.node.name)  # fmt: skip
            total = result["total"]
            self.assertEqual(total["replied"], total["scheduled"])
            self.assertGreater(total["replied"], 50)
            self.assertEqual([each["name"] for each in result["functions"]], ["load-spin-0", "load-spin-1", "load-spin-2"])
            # what the function took is at least what it was asked for: the same draws have the same slowdown of 1 or more
            self.assertGreaterEqual(total["times"]["slowdown"]["min"], 1000)
            self.assertGreaterEqual(total["times"]["latency"]["min"], total["times"]["service"]["min"])
            with open(file) as written:
                self.assertEqual(json.load(written), result)
        self.assertEqual(self.node.json("list")["functions"], [])
        whole = load("merge", *files)
        parts = []
        for file in files:
            with open(file) as written:
                parts.append(json.load(written))
        for name in ("scheduled", "sent", "replied", "cold"):
            self.assertEqual(whole["total"][name], sum(part["total"][name] for part in parts))
        for name, times in whole["total"]["times"].items():
            self.assertEqual(times["count"], sum(part["total"]["times"][name]["count"] for part in parts))
            self.assertEqual(times["max"], max(part["total"]["times"][name]["max"] for part in parts))
        text = subprocess.run([WARMCORE, "load", "merge", *files, "--csv"], stdout=subprocess.PIPE, check=True, timeout=120).stdout.decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        first = next(row for row in rows if row["function"] == "(total)" and row["time"] == "latency")
        self.assertEqual(int(first["p99"]), whole["total"]["times"]["latency"]["p99"])
        self.assertEqual(len(rows), 4 * len(whole["total"]["times"]))

    def test_node_and_load_agree(self):
        """As many invocations as the node has counted; cold starts, too."""
        function = self.node.deploy_native("counted", event="binary")
        before = next(each for each in self.node.json("list")["functions"] if each["name"] == "counted")
        for loop in (("--arrivals", "fixed:200"), ("--clients", "4", "--think", "exp:2ms")):
            result = load("counted", *loop, "--payload", 'e hello', "--duration", "1s", "--warm-up", "0", *PATIENT, node=self.node.name)
            total = result["total"]
            after = next(each for each in self.node.json("list")["functions"] if each["name"] == "counted")
            self.assertEqual(after["invocations"] - before["invocations"], total["sent"], loop)
            self.assertEqual(total["replied"] + total["failed"], total["sent"])
            before = after
        self.assertGreater(function, 0)
        self.node.cli("remove", "counted")

    def test_what_is_there_is_left_alone(self):
        self.node.deploy_native("load-spin-1")
        before = self.node.json("list")["functions"]
        done = self.node.cli("load", "--deploy", "2", "--arrivals", "fixed:10", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("load-spin-1 is deployed already", done.stderr)
        self.assertEqual(self.node.json("list")["functions"], before)
        self.node.cli("remove", "load-spin-1")
        done = self.node.cli("load", "nobody", "--arrivals", "fixed:10", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nobody", done.stderr)

    def test_errors_are_counted(self):
        """A function that is not there: ERROR each time, by its code; no percentile comes of it."""
        to = "%s:%d" % (self.node.address4, self.node.port)
        result = load("--to", to, "4095", "--arrivals", "fixed:100", "--duration", "500ms", "--warm-up", "0", *PATIENT, status=4)
        total = result["total"]
        self.assertEqual((total["failed"], total["replied"]), (total["scheduled"], 0))
        self.assertEqual(total["codes"], {str(wcproto.UNKNOWN_FUNCTION): total["failed"]})
        self.assertIsNone(total["times"]["latency"]["with_missing"]["p50"])


if __name__ == "__main__":
    sys.exit(harness.main())
