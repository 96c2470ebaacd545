#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Custom runtimes on a real node: a bootstrap in Python, in shell, in static C, and AWS's own client for Node.js from npm.

What the API answers to a bootstrap is checked in test_runtimes.py; here it is what the client of the node gets.
"""

import json
import os
import shutil
import subprocess

import harness
import test_runtimes
import wcproto

BOOTSTRAP = test_runtimes.BOOTSTRAP_SOURCE.encode()
EXAMPLES = os.path.join(harness.ROOT, "runtimes", "custom", "examples")
NPM_KIT = os.path.join(harness.ROOT, "scripts", "npm-kit.sh")

RIC_BOOTSTRAP = b"""#!/bin/sh
exec node "$LAMBDA_TASK_ROOT/node_modules/aws-lambda-ric/bin/index.mjs" "$_HANDLER"
"""
RIC_APP = b"""
let count = 0;
exports.handler = async (event, context) => ({
  count: ++count, event, id: context.awsRequestId, name: context.functionName, version: context.functionVersion,
  arn: context.invokedFunctionArn, memory: context.memoryLimitInMB, left: context.getRemainingTimeInMillis(),
  group: context.logGroupName, stream: context.logStreamName });
exports.callback = (event, context, callback) => setTimeout(() => callback(null, { got: event }), 5);
exports.fails = async () => { throw new RangeError('no good'); };
exports.large = async () => 'x'.repeat(70000);
exports.exits = async () => process.exit(9);
exports.sleeps = () => new Promise((resolve) => setTimeout(resolve, 100000));
"""


class Custom(harness.NodeTest):
    TAG = "cust"

    @classmethod
    def prepare(cls):
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def deploy(self, name, handler="echo", bootstrap=BOOTSTRAP, files=None, **manifest):
        manifest.setdefault("timeout_ms", 10000)
        return self.node.deploy(name, "custom", handler, {"bootstrap": bootstrap, **(files or {})}, **manifest)

    def after(self):
        self.node.wait_idle()
        bootstraps = [command for _, command, environ in harness.processes() if b"AWS_LAMBDA_RUNTIME_API=" in environ]
        hosts = [command for _, command, environ in harness.processes() if command.endswith(b"/warmcore-custom\0")]
        self.assertLessEqual(len(bootstraps), len(hosts), (bootstraps, hosts))

    def test_echo(self):
        function = self.deploy("echo")
        first = self.client.invoke(function, b'{"a": [1]}')
        self.assert_reply(first, b'{"a": [1]}')
        self.assertEqual(first.flags & (wcproto.WARM | wcproto.BINARY), 0)
        for n in range(200):
            self.assert_reply(self.client.invoke(function, b"%d" % n), n)
        self.assert_reply(self.client.invoke(function, b""), {})
        largest = json.dumps("x" * (wcproto.PAYLOAD_MAX - 2)).encode()
        self.assert_reply(self.client.invoke(function, largest), largest)
        self.after()

    def test_binary(self):
        function = self.deploy("bytes", "binary", event="binary")
        for payload in (b"", b"\x00\xff", b"1"):
            answer = self.client.invoke(function, payload)
            self.assert_reply(answer, payload)
            self.assertTrue(answer.flags & wcproto.BINARY)

    def test_context(self):
        function = self.deploy("context", "context", timeout_ms=5000, memory_mb=77)
        request_id = 0x0123456789ABCDEF
        context = json.loads(self.assert_reply(self.client.invoke(function, b"{}", request_id=request_id)).payload)
        self.assertEqual(context["aws"], "00000000-0000-0000-0123-456789abcdef")
        self.assertTrue(0 < context["left"] <= 5001, context)
        self.assertEqual((context["name"], context["memory"]), ("context", "77"))
        self.assertEqual(context["env"]["SHARED"], self.node.shared)
        (deployed,) = [f for f in self.node.json("list")["functions"] if f["name"] == "context"]
        self.assertEqual(context["env"]["AWS_LAMBDA_FUNCTION_VERSION"], str(deployed["version"]))

    def test_errors(self):
        for handler, code, error_type, message in (
            ("fails", wcproto.FUNCTION, "MyError", "line"),
            ("large", wcproto.FUNCTION, "Runtime.ResponseTooLarge", "61441"),
            ("huge", wcproto.FUNCTION, "Runtime.ResponseTooLarge", "7000000"),
            ("exits", wcproto.EXIT, "Runtime.ExitError", "status 3"),
            ("exits_with_0", wcproto.EXIT, "Runtime.ExitError", "status 0"),
            ("crashes", wcproto.CRASH, "Runtime.CrashError", "SIGABRT"),
            ("init_error", wcproto.INIT, "My.Init", "no"),
            ("init_lingers", wcproto.INIT, "My.Lingering", "no JSON"),
            ("init_exits", wcproto.INIT, "Runtime.ExitError", "status 5"),
            ("init_crashes", wcproto.INIT, "Runtime.ExitError", "signal 6"),
        ):
            with self.subTest(handler=handler):
                function = self.deploy("err-" + handler.replace("_", "-"), handler)
                for _ in range(2):
                    error = self.assert_error(self.client.invoke(function, b"{}"), code, error_type)
                    self.assertIn(message, error["errorMessage"])
        function = self.deploy("err-sleeps", "sleeps", timeout_ms=300)
        self.assert_error(self.client.invoke(function, b"{}"), wcproto.TIMEOUT)
        self.after()

    def test_nothing_to_execute(self):
        function = self.node.deploy("no-line", "custom", "x", {"bootstrap": b"echo hello\n"})
        error = self.assert_error(self.client.invoke(function), wcproto.INIT, "Runtime.InvalidEntrypoint")
        self.assertIn("#!", error["errorMessage"])
        folder = os.path.join(self.node.root, "no-bootstrap")
        os.mkdir(folder)
        refused = self.node.cli("deploy", folder, "--runtime", "custom", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("bootstrap, which does not exist", refused.stderr)

    def test_never_asks(self):
        """As any function that does not finish loading: half a minute, unless one of its calls may take longer."""
        slow = b"import time\ntime.sleep(32)\ndef handler(event, context):\n    return 'loaded'\n"
        patient = self.node.deploy("patient", "python", "slow.handler", {"slow.py": slow}, timeout_ms=120000)
        function = self.deploy("mute", bootstrap=b"#!/bin/sh\nexec sleep 1000\n")
        with self.node.client() as other:
            other.send(1, patient, b"{}")
            error = self.assert_error(self.client.invoke(function, b"{}"), wcproto.TIMEOUT)
            self.assertIn("loading within 30 seconds", error["errorMessage"])
            self.assert_reply(other.receive(harness.PATIENCE_S), "loaded")
        self.after()

    def test_one_file(self):
        """Nothing but the file: no function.json, no handler."""
        path = os.path.join(self.node.root, "bootstrap")
        with open(path, "wb") as file:
            file.write(BOOTSTRAP)
        os.chmod(path, 0o755)
        refused = self.node.cli("deploy", path, check=False)
        self.assertIn("--name", refused.stderr)
        function = self.node.json("deploy", path, "--name", "one-file")["function"]["id"]
        self.assert_reply(self.client.invoke(function, b"1"), 1)

    def test_shell_example(self):
        if not shutil.which("curl"):
            self.skipTest("no curl on PATH")
        function = self.node.json("deploy", os.path.join(EXAMPLES, "shell"))["function"]["id"]
        for _ in range(3):
            self.assert_reply(self.client.invoke(function, b'{"hello":"world"}'), {"bytes": 17})

    def test_static_c(self):
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if not compiler:
            self.skipTest("no C compiler")
        program = os.path.join(self.node.root, "static-bootstrap")
        source = os.path.join(harness.PROBES, "bootstrap.c")
        subprocess.run([compiler, "-O2", "-static", "-D_GNU_SOURCE", "-o", program, source], check=True)
        function = self.deploy("static-c", bootstrap=program)
        for n in range(300):
            self.assert_reply(self.client.invoke(function, b"%d" % n), n)

    def test_bootstrap_that_is_killed_while_idle(self):
        function = self.deploy("killed")
        self.assert_reply(self.client.invoke(function, b"1"), 1)
        victims = [pid for pid, _, environ in harness.processes()
                   if b"AWS_LAMBDA_FUNCTION_NAME=killed\0" in environ]  # fmt: skip
        self.assertEqual(len(victims), 1)
        os.kill(victims[0], 9)
        harness.wait_until(lambda: not harness.process_state(victims[0]), "the bootstrap is gone")
        self.assert_reply(self.client.invoke(function, b"2"), 2)

    def test_published_client(self):
        """aws-lambda-ric from npm, unmodified."""
        kit = subprocess.run([NPM_KIT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if kit.returncode:
            print("\nSKIP: aws-lambda-ric cannot be had: " + kit.stderr.strip(), flush=True)
            self.skipTest("aws-lambda-ric cannot be had")
        ric = kit.stdout.strip()
        folder = os.path.join(self.node.root, "ric")
        os.mkdir(folder)
        for file, content in (("bootstrap", RIC_BOOTSTRAP), ("app.js", RIC_APP)):
            with open(os.path.join(folder, file), "wb") as out:
                out.write(content)
        os.chmod(os.path.join(folder, "bootstrap"), 0o755)
        for part in ("bin", "dist"):  # without what it was compiled from
            shutil.copytree(os.path.join(ric, part), os.path.join(folder, "node_modules", "aws-lambda-ric", part))
        shutil.copy(os.path.join(ric, "package.json"), os.path.join(folder, "node_modules", "aws-lambda-ric"))

        def deploy(handler):
            options = ("--runtime", "custom", "--handler", "app." + handler, "--name", "ric-" + handler)
            return self.node.json("deploy", folder, *options, "--timeout-ms", "20000", "--memory-mb", "256")["function"]["id"]

        function = deploy("handler")
        for n in range(1, 50):
            context = json.loads(self.assert_reply(self.client.invoke(function, b'{"n":%d}' % n, request_id=n)).payload)
            self.assertEqual((context["count"], context["event"]), (n, {"n": n}))  # loaded once
            self.assertEqual(context["id"], "00000000-0000-0000-0000-%012x" % n)
        self.assertEqual((context["name"], context["memory"]), ("ric-handler", "256"))
        self.assertTrue(0 < context["left"] <= 20001, context)
        self.assertEqual(context["arn"], "arn:aws:lambda:local:000000000000:function:ric-handler")
        self.assert_reply(self.client.invoke(deploy("callback"), b"5"), {"got": 5})
        error = self.assert_error(self.client.invoke(deploy("fails"), b"{}"), wcproto.FUNCTION, "RangeError")
        self.assertEqual(error["errorMessage"], "no good")
        self.assertIn("app.js", "".join(error["stackTrace"]))
        function = deploy("large")
        for _ in range(2):
            self.assert_error(self.client.invoke(function, b"{}"), wcproto.FUNCTION, "Runtime.ResponseTooLarge")
        self.assert_error(self.client.invoke(deploy("exits"), b"{}"), wcproto.EXIT)
        self.assert_error(self.client.invoke(deploy("missing"), b"{}"), wcproto.INIT, "Runtime.HandlerNotFound")
        self.after()


class WithoutSandbox(harness.NodeTest):
    """The instances of a node share a loopback device then."""

    TAG = "custo"
    OPTIONS = ("--sandbox", "off")

    def test_two_at_once(self):
        client = self.node.client()
        self.addCleanup(client.close)
        functions = [self.node.deploy("echo%d" % n, "custom", "echo", {"bootstrap": BOOTSTRAP}) for n in range(3)]
        for n in range(30):
            self.assert_reply(client.invoke(functions[n % 3], b"%d" % n), n)


if __name__ == "__main__":
    harness.main()
