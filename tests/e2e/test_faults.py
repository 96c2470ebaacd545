#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Functions that fail in every way: the client gets the right ERROR, the core comes back, and nothing stays behind."""

import json
import os
import signal
import sys

import harness
import wcproto


def zombies_of(pid):
    """Children of a process that nobody reaps."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as stat:
                    state, parent = stat.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == pid and state == "Z":
                found.append(int(entry))
    return found


class Faults(harness.NodeTest):
    TAG = "flt"

    @classmethod
    def prepare(cls):
        # Some run until that; the others must not, on a slow machine.
        cls.functions = {"python": cls.node.deploy_python(timeout_ms=5000)}
        cls.functions["native"] = cls.node.deploy_native(timeout_ms=5000, event="binary")
        if harness.NODE_JS:
            cls.functions["node"] = cls.node.deploy_node(timeout_ms=5000)
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def call(self, runtime, event, **options):
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.client.invoke(self.functions[runtime], payload, **options)

    def after(self, runtime):
        """The next invocation works, the core is free, and no zombie is left."""
        if runtime == "native":
            self.assert_reply(self.call("native", b"estill here"), b"still here")
        else:
            self.assert_reply(self.call(runtime, {"still": "here"}), {"still": "here"})
        self.node.wait_idle()
        harness.wait_until(lambda: not zombies_of(self.node.pid), "the daemon reaps its children")

    def each(self, event, code, error_type=None, runtimes=("python", "node"), message=None):
        for runtime in runtimes:
            if runtime not in self.functions:
                continue
            with self.subTest(runtime=runtime, event=event):
                error = self.assert_error(self.call(runtime, event), code, error_type)
                if message:
                    self.assertIn(message, error["errorMessage"])
                self.after(runtime)

    def test_exception(self):
        for runtime, error_type in (("python", "ValueError"), ("node", "RangeError")):
            if runtime in self.functions:
                before = self.call(runtime, {"do": "pid"})
                error = self.assert_error(self.call(runtime, {"do": "raise"}), wcproto.FUNCTION, error_type)
                self.assertEqual(error["errorMessage"], "no good: \u00e9\u4e16")
                self.assertIn("inner", "".join(error["stackTrace"]))
                self.assertIn("probe", "".join(error["stackTrace"]))
                self.after(runtime)
                if before.core == self.call(runtime, {"do": "pid"}).core:
                    # An exception is no reason to replace the instance.
                    self.assertEqual(self.call(runtime, {"do": "pid"}).flags & wcproto.WARM, wcproto.WARM)
        error = self.assert_error(self.call("native", b"f"), wcproto.FUNCTION, "Probe.Failed")
        self.assertEqual(error["errorMessage"], "as asked")

    def test_unserializable(self):
        self.each({"do": "unserializable"}, wcproto.FUNCTION)

    def test_event_that_is_not_json(self):
        for runtime in ("python", "node"):
            if runtime in self.functions:
                self.assert_error(self.call(runtime, b"{nonsense"), wcproto.FUNCTION)
                self.after(runtime)

    def test_exit(self):
        self.each({"do": "exit", "status": 3}, wcproto.EXIT, message="3")
        self.each({"do": "exit", "status": 0}, wcproto.EXIT, message="0")
        self.each(b"x", wcproto.EXIT, runtimes=("native",), message="3")

    def test_crash(self):
        self.each({"do": "abort"}, wcproto.CRASH, message="SIGABRT")
        self.each({"do": "signal", "number": int(signal.SIGSEGV)}, wcproto.CRASH, message="SIGSEGV")
        self.each({"do": "signal", "number": int(signal.SIGKILL)}, wcproto.CRASH, message="SIGKILL")
        self.each(b"s", wcproto.CRASH, runtimes=("native",), message="SIGSEGV")
        self.each(b"a", wcproto.CRASH, runtimes=("native",), message="SIGABRT")

    def test_timeout(self):
        self.each({"do": "loop"}, wcproto.TIMEOUT)
        self.each(b"l", wcproto.TIMEOUT, runtimes=("native",))
        self.each({"do": "sleep", "ms": 60000}, wcproto.TIMEOUT, runtimes=("python",))
        self.each({"do": "never"}, wcproto.TIMEOUT, runtimes=("node",))

    def test_stopped_process(self):
        """A stopped instance cannot answer: a time-out like any other."""
        self.each({"do": "signal", "number": int(signal.SIGSTOP)}, wcproto.TIMEOUT, runtimes=("python",))

    def test_init(self):
        cases = [("python", "noimport.handler", {"noimport.py": b"import there_is_no_such_module\n"}),
                 ("python", "syntax.handler", {"syntax.py": b"def handler(:\n"}),
                 ("python", "probe.absent", {"probe.py": b"x = 1\n"}),
                 ("python", "absent.handler", {"probe.py": b"x = 1\n"}),
                 ("python", "dies.handler", {"dies.py": b"import os\nos._exit(9)\n"}),
                 ("python", "crashes.handler", {"crashes.py": b"import os\nos.abort()\n"}),
                 ("native", "none.so", {"none.so": b"this is no shared object"})]  # fmt: skip
        if "node" in self.functions:
            cases += [("node", "probe.absent", {"probe.js": b"exports.x = 1;\n"}),
                      ("node", "throws.handler", {"throws.js": b"throw new Error('at load');\n"})]  # fmt: skip
        for number, (runtime, handler, files) in enumerate(cases):
            with self.subTest(handler=handler, runtime=runtime):
                function = self.node.deploy("init%d" % number, runtime, handler, files)
                for _ in range(2):
                    answer = self.client.invoke(function, b"{}")
                    if "dies" in handler or "crashes" in handler:
                        self.assertIn(answer.code, (wcproto.INIT, wcproto.EXIT, wcproto.CRASH))
                    else:
                        error = self.assert_error(answer, wcproto.INIT)
                        self.assertTrue(error["errorType"] and error["errorMessage"])
                self.node.json("remove", "init%d" % number)
        self.after("python")

    def test_huge_reply(self):
        self.each({"do": "huge", "bytes": 200000}, wcproto.FUNCTION, "Runtime.ResponseTooLarge")
        self.assert_error(self.call("native", b"h"), wcproto.FUNCTION)
        self.after("native")
        for runtime in self.functions:
            if runtime != "native":  # with the quotes, exactly the limit
                answer = self.assert_reply(self.call(runtime, {"do": "huge", "bytes": wcproto.PAYLOAD_MAX - 2}))
                self.assertEqual(len(answer.payload), wcproto.PAYLOAD_MAX)

    def test_output_goes_to_the_log(self):
        for runtime, name in (("python", "probe"), ("node", "probe-js")):
            if runtime in self.functions:
                self.assert_reply(self.call(runtime, {"do": "print", "out": "to out", "err": "to err"}), "printed")
                harness.wait_until(lambda n=name: "to err" in self.node.cli("logs", n).stdout, "the output is in the log")
                self.assertIn("to out", self.node.cli("logs", name).stdout)
        self.call("native", b"pnative words")
        harness.wait_until(lambda: self.node.cli("logs", "probe-c").stdout.count("native words") == 2, "native output")

    def test_last_words(self):
        """What a function printed just before it died is in its log."""
        source = b"import os\ndef handler(event, context):\n    print('last words', flush=True)\n    os.abort()\n"
        function = self.node.deploy("dying", "python", "dying.handler", {"dying.py": source})
        self.assert_error(self.client.invoke(function, b"1"), wcproto.CRASH)
        harness.wait_until(lambda: "last words" in self.node.cli("logs", "dying").stdout, "last words are in the log")
        self.node.json("remove", "dying")

    def test_flood_of_output(self):
        """More output than a log holds neither blocks the node nor the function."""
        function = self.node.deploy_python("flood", timeout_ms=120000)
        self.assert_reply(self.client.invoke(function, b'{"do":"flood","lines":60000}', seconds=120), "flooded")
        harness.wait_until(lambda: "059999" in self.node.cli("logs", "flood", "--lines", "3").stdout, "the last line")
        logs = os.path.join(self.node.state, "logs")
        self.assertLess(sum(os.path.getsize(os.path.join(logs, f)) for f in os.listdir(logs) if "flood" in f), 32 << 20)
        self.node.json("remove", "flood")
        self.after("python")

    def children(self):
        """Those that live."""
        with open(os.path.join(self.node.shared, "children")) as file:
            lines = [[int(word) for word in line.split()] for line in file]
        self.assertTrue(lines)
        return [pid for namespace, *pids in lines for pid in harness.host_pids(namespace, pids)]

    def check_children(self, then, code, session):
        os.truncate(os.path.join(self.node.shared, "children"), 0)
        answer = self.call("python", {"do": "children", "then": then, "session": session})
        self.assert_error(answer, code)
        self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in self.children()])
        harness.wait_until(lambda: not self.children(), "children of a function that ended (%s) are gone" % then, 15)
        self.after("python")

    def test_children_die_with_a_killed_function(self):
        self.check_children("loop", wcproto.TIMEOUT, False)

    def test_children_die_with_a_crashed_function(self):
        self.check_children("crash", wcproto.CRASH, False)

    def test_children_in_a_session_of_their_own_die_too(self):
        self.check_children("loop", wcproto.TIMEOUT, True)

    def test_deadline(self):
        """Cores that are taken for longer than the deadline: DEADLINE, and the function does not run."""
        cores = len(self.node.status()["cores"])
        with self.node.client() as other:
            for _ in range(cores):
                other.send(other.fresh_id(), self.functions["python"], b'{"do":"sleep","ms":1000}')
            harness.wait_until(lambda: all(c["state"] == "running" for c in self.node.status()["cores"]), "all cores run")
            answer = self.call("python", {"do": "count", "tag": "late"}, deadline_us=1000)
            self.assert_error(answer, wcproto.DEADLINE)
            for _ in range(cores):
                self.assert_reply(other.receive(60), "slept")
        self.assertEqual(self.node.runs("late"), 0)
        self.after("python")


if __name__ == "__main__":
    sys.exit(harness.main())
