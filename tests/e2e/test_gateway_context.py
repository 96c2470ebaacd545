#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What comes along with an invocation: Lambda's client context and the trace reach functions of every runtime, synchronous and asynchronous, with
payloads of any size; calls that bring none see none, also after one that did."""

import base64
import json
import os
import struct
import subprocess

import gateway
import harness
import wcproto

INVOKE = "/2015-03-31/functions/%s/invocations"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
XRAY = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1"  # the same, as AWS has it
CLIENT = {"client": {"app_title": "t\u00e4st"}, "custom": {"k": "v\n"}, "env": {"a": 1}, "other": [1]}
CONTEXT = 0x80

PYTHON = b"""
import json, os
def handler(event, context):
    c = context.client_context
    out = {"client": c and {"client": c.client and {"app_title": c.client.app_title}, "custom": c.custom, "env": c.env},
           "parent": context.traceparent or "-", "state": context.tracestate or "-", "xray": context.xray_trace_id or "-", "event": event,
           "environment": os.environ.get("_X_AMZN_TRACE_ID", "-")}
    if isinstance(event, dict) and "large" in event:
        out["event"] = len(event["large"])
    if isinstance(event, dict) and "write" in event:
        with open(os.environ["SHARED"] + "/" + event["write"], "w") as file:
            json.dump(out, file)
    return out
"""
NODE = b"""
exports.handler = async (event, context) => ({
  client: context.clientContext ?? null, parent: context.traceparent ?? '-', state: context.tracestate ?? '-', xray: context.xrayTraceId ?? '-',
  event: event.large ? event.large.length : event, environment: process.env._X_AMZN_TRACE_ID ?? '-' });
"""
BOOTSTRAP = b"""#!/usr/bin/env python3
import http.client, json, os
link = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    link.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = link.getresponse()
    event = json.loads(answer.read())
    client = answer.getheader("Lambda-Runtime-Client-Context")
    out = {"client": client and json.loads(client.encode("latin-1")), "parent": answer.getheader("traceparent", "-"), "state": answer.getheader("tracestate", "-"),
           "xray": answer.getheader("Lambda-Runtime-Trace-Id"), "event": event}
    link.request("POST", "/2018-06-01/runtime/invocation/%s/response" % answer.getheader("Lambda-Runtime-Aws-Request-Id"), json.dumps(out).encode())
    link.getresponse().read()
"""
SDK = r"""
const { LambdaClient, InvokeCommand } = require('@aws-sdk/client-lambda');
const client = new LambdaClient({ endpoint: process.argv[1], region: 'local', maxAttempts: 1, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
client.send(new InvokeCommand({ FunctionName: 'py', Payload: '{}', ClientContext: Buffer.from(process.argv[2]).toString('base64') }))
  .then((out) => console.log(Buffer.from(out.Payload).toString()));
"""


def block(*texts):
    """runtimes/abi/context.h, written from docs/PROTOCOL.md."""
    return struct.pack(">4H", *map(len, texts)) + b"".join(text + b"\0" for text in texts)


class GatewayContext(harness.NodeTest):
    TAG = "gwx"

    @classmethod
    def prepare(cls):
        cls.ids = {
            "py": cls.node.deploy("py", "python", "context.handler", {"context.py": PYTHON}),
            "js": cls.node.deploy("js", "node", "context.handler", {"context.js": NODE}),
            "c": cls.node.deploy("c", "native", "context.so", {"context.so": harness.native_function("context")}),
            "custom": cls.node.deploy("custom", "custom", "x", {"bootstrap": BOOTSTRAP}),
        }

    def setUp(self):
        super().setUp()
        self.gateway = gateway.Gateway(self.node, "--async-dir", os.path.join(self.node.root, self.id().rpartition(".")[2]))
        self.addCleanup(self.gateway.close)

    def invoke(self, name, event=None, headers=(), target=INVOKE):
        answer = self.gateway.request("POST", target % name, json.dumps(event or {}).encode(), list(headers))
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def headers(self, client=CLIENT):
        return [("X-Amz-Client-Context", base64.b64encode(json.dumps(client, indent=1, ensure_ascii=False).encode()).decode()), ("traceparent", PARENT),
                ("tracestate", "a=1"), ("tracestate", "b=2")]  # fmt: skip

    def test_every_runtime(self):
        with_it = {"parent": PARENT, "state": "a=1,b=2", "xray": XRAY, "event": {"n": 1}, "client": CLIENT}
        without = {"parent": "-", "state": "-", "xray": "-", "event": {"n": 1}, "client": None}
        for name in self.ids:
            for expected, headers in ((with_it, self.headers()), (without, []), (with_it, self.headers()), (without, [])):
                got = self.invoke(name, {"n": 1}, headers)
                if "environment" in got:
                    self.assertEqual(got.pop("environment"), got["xray"], name)
                if name == "custom" and not headers:
                    self.assertRegex(got.pop("xray"), "^Root=1-.*;Sampled=0$")
                expected = {key: value for key, value in expected.items() if key in got}
                if name == "py" and headers:  # as AWS's: only what the class has
                    expected["client"] = {key: value for key, value in CLIENT.items() if key != "other"}
                self.assertEqual(got, expected, name)

    def test_forms(self):
        """Each alone; what is malformed is dropped or, of the client context, refused; and only an Invoke has a client context."""
        self.assertEqual(self.invoke("c", {}, [("X-Amzn-Trace-Id", "Root=1-2-3;Foo=bar")])["xray"], "Root=1-2-3;Foo=bar")
        got = self.invoke("c", {}, [("traceparent", PARENT), ("X-Amzn-Trace-Id", "Root=1-2-3")])
        self.assertEqual((got["parent"], got["xray"]), (PARENT, "Root=1-2-3"))
        for bad in ("", "x", PARENT[:-1], PARENT.upper(), PARENT + "-"):
            got = self.invoke("c", {}, [("traceparent", bad), ("tracestate", "a=1")])
            self.assertEqual((got["parent"], got["state"], got["xray"]), ("-", "-", "-"), bad)
        self.assertEqual(self.invoke("c", {}, self.headers(), "/function/%s")["client"], None)
        self.assertEqual(self.invoke("c", {}, self.headers(), "/function/%s")["parent"], PARENT)
        largest = {"x": "y" * 2677}  # 3,580 bytes of base64
        headers = [("X-Amz-Client-Context", base64.b64encode(json.dumps(largest, separators=(",", ":")).encode()).decode())]
        self.assertEqual(len(headers[0][1]), 3580)
        for name in ("c", "js", "custom"):
            self.assertEqual(self.invoke(name, {}, headers)["client"], largest)
        for bad in ("e", "W10=", "A" * 3584):
            self.assertEqual(self.gateway.request("POST", INVOKE % "c", b"{}", [("X-Amz-Client-Context", bad)]).status, 400)

    def test_sizes(self):
        """Around the sizes at which a payload goes another way, with the largest context and without."""
        headers = [("X-Amz-Client-Context", base64.b64encode(json.dumps({"x": "y" * 2600}).encode()).decode()), ("traceparent", PARENT),
                   ("tracestate", "s" * 512)]  # fmt: skip
        for name in ("py", "js"):
            for size in (1, 1000, 50000, 57000, 58500, 61416 - 12, 61440 - 12, 61441, 70000, 1 << 20):
                got = self.invoke(name, {"large": "x" * size}, headers)
                self.assertEqual((got["event"], got["parent"], got["state"]), (size, PARENT, "s" * 512), size)
                got = self.invoke(name, {"large": "x" * size})
                self.assertEqual((got["client"], got["parent"]), (None, "-"), size)

    def test_asynchronous(self):
        """It is kept with the invocation, over a kill, and a redrive."""
        answer = self.gateway.request("POST", INVOKE % "py", b'{"write": "out"}', [("X-Amz-Invocation-Type", "Event"), *self.headers()])
        self.assertEqual(answer.status, 202, answer)
        self.gateway.close()
        self.gateway.start()
        path = os.path.join(self.node.shared, "out")

        def written():
            try:
                with open(path) as file:
                    return json.load(file)
            except (FileNotFoundError, ValueError):
                return None

        got = harness.wait_until(written, "it ran")
        self.assertEqual((got["client"]["custom"], got["parent"], got["state"], got["xray"]), (CLIENT["custom"], PARENT, "a=1,b=2", XRAY))

    def test_sdk(self):
        kit = gateway.kit()
        if not kit or not harness.NODE_JS:
            self.skipTest("no SDK, or no node")
        done = subprocess.run([harness.NODE_JS, "-e", SDK, self.gateway.url, json.dumps(CLIENT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=kit, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        got = json.loads(done.stdout)["client"]
        self.assertEqual((got["custom"], got["env"], got["client"]), (CLIENT["custom"], CLIENT["env"], CLIENT["client"]))

    def test_packets(self):
        """A client of the protocol, without a gateway: what is sound arrives, what is not is MALFORMED and runs nothing."""
        client = self.node.client()
        self.addCleanup(client.close)
        good = block(b'{"a":1}', PARENT.encode(), b"", b"x=1")
        answer = client.invoke(self.ids["c"], good + b"[1]", flags=CONTEXT)
        self.assertEqual(json.loads(answer.payload), {"client": {"a": 1}, "parent": PARENT, "state": "-", "xray": "x=1", "event": [1]})
        answer = client.invoke(self.ids["c"], block(b"", b"", b"", b"") + b"7", flags=CONTEXT)
        self.assertEqual(json.loads(answer.payload), {"client": None, "parent": "-", "state": "-", "xray": "-", "event": 7})
        for bad in (b"", b"\0" * 7, b"\0" * 8, good[:-1], struct.pack(">4H", 65535, 0, 0, 0) + b"\0" * 100, b"\0\1" + good[2:],
                    block(b"x" * 3584, b"", b"", b""), block(b"", b"x" * 64, b"", b""), block(b"", b"", b"x" * 513, b""), block(b"", b"", b"", b"x" * 257),
                    block(b"a\0b", b"", b"", b"")):  # fmt: skip
            answer = client.invoke(self.ids["c"], bad, flags=CONTEXT)
            self.assertEqual((answer.kind, answer.code), (wcproto.ERROR, wcproto.MALFORMED), bad)
        for name, text in (("py", b"{"), ("js", b"{")):
            answer = client.invoke(self.ids[name], block(text, b"", b"", b"") + b"{}", flags=CONTEXT)
            self.assertEqual((answer.kind, json.loads(answer.payload)["errorType"]), (wcproto.ERROR, "Runtime.InvalidClientContext"))


if __name__ == "__main__":
    harness.main()
