#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""AWS's SDKs, unmodified, inside of functions of a real node, in their sandboxes (docs/CALLS.md): Debian's boto3, @aws-sdk/client-lambda of npm, and a custom
runtime with nothing but HTTP. test_lambda_calls.py has the interface itself."""

import base64
import json
import os
import shutil
import unittest

import gateway
import harness
import wcproto

BOTO = b"""
import boto3, botocore.exceptions, concurrent.futures, json, os
client = boto3.client("lambda", endpoint_url=os.environ["AWS_ENDPOINT_URL_LAMBDA"])  # Debian's is older than the variable
def ask(name, event, **more):
    try:
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event), **more)
    except botocore.exceptions.ClientError as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]]
    text = answer["Payload"].read() if "Payload" in answer else ""
    return [answer["StatusCode"], answer.get("FunctionError"), answer.get("ExecutedVersion"), json.loads(text) if text else None]
def handler(event, context):
    if "times" in event:
        with concurrent.futures.ThreadPoolExecutor(event["times"]) as pool:
            return list(pool.map(lambda n: ask(event["name"], n), range(event["times"])))
    return ask(event["name"], event["event"], **event.get("more", {}))
"""
SDK = b"""
const { LambdaClient, InvokeCommand } = require('@aws-sdk/client-lambda');
const client = new LambdaClient();
async function ask(name, event, more) {
  try {
    const answer = await client.send(new InvokeCommand({ FunctionName: name, Payload: JSON.stringify(event), ...more }));
    const text = answer.Payload ? answer.Payload.transformToString() : '';
    return [answer.StatusCode, answer.FunctionError ?? null, answer.ExecutedVersion ?? null, text ? JSON.parse(text) : null];
  } catch (error) {
    if (!error.$metadata) throw error;
    return [error.name, error.$metadata.httpStatusCode];
  }
}
exports.handler = async (event) => {
  if (event.times) return Promise.all(Array.from({ length: event.times }, (_, n) => ask(event.name, n, {})));
  return ask(event.name, event.event, event.more || {});
};
"""
BOOTSTRAP = b"""#!/usr/bin/python3 -S
import concurrent.futures, http.client, json, os, urllib.parse
API, BASE = os.environ["AWS_LAMBDA_RUNTIME_API"], "/2018-06-01/runtime/invocation/"
lambda_url = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL_LAMBDA"])
def ask(name, event, InvocationType="RequestResponse", ClientContext=""):
    connection = http.client.HTTPConnection(lambda_url.netloc)
    connection.request("POST", "%s/2015-03-31/functions/%s/invocations" % (lambda_url.path, name), json.dumps(event),
                       {"X-Amz-Invocation-Type": InvocationType, **({"X-Amz-Client-Context": ClientContext} if ClientContext else {})})
    answer = connection.getresponse()
    text, headers = answer.read(), answer.headers
    if headers["X-Amzn-Errortype"]:
        return [headers["X-Amzn-Errortype"], answer.status]
    return [answer.status, headers["X-Amz-Function-Error"], headers["X-Amz-Executed-Version"], json.loads(text) if text else None]
connection = http.client.HTTPConnection(API)
while True:
    connection.request("GET", BASE + "next")
    answer = connection.getresponse()
    id, event = answer.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(answer.read())
    if "times" in event:
        with concurrent.futures.ThreadPoolExecutor(event["times"]) as pool:
            result = list(pool.map(lambda n: ask(event["name"], n), range(event["times"])))
    else:
        result = ask(event["name"], event["event"], **event.get("more", {}))
    connection.request("POST", BASE + id + "/response", json.dumps(result), {"Content-Type": "application/json"})
    connection.getresponse().read()
"""
CALLED = b"""
import os
def handler(event, context):
    if event == "fail":
        raise KeyError("no good")
    if isinstance(event, dict) and "mark" in event:
        with open(event["mark"], "w") as file:
            file.write("called")
    if event == "context":
        return context.client_context and [context.client_context.custom, context.client_context.env]
    return {"got": event, "version": context.function_version}
"""


class Sdk(harness.NodeTest):
    TAG = "sdk"
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        cls.node.deploy("called", "python", "called.handler", {"called.py": CALLED}, timeout_ms=60000)
        cls.node.cli("publish", "called")
        cls.node.cli("alias", "called", "prod", "1")
        cls.node.deploy("closed", "python", "called.handler", {"called.py": CALLED}, callers=["nobody"])
        cls.node.deploy("called", "python", "called.handler", {"called.py": CALLED + b"# another one"}, timeout_ms=60000)
        cls.node.cli("publish", "called")
        cls.node.cli("alias", "called", "both", "1", "--weight", "2=0.5")
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def deploy(self, name, runtime, handler, files):
        return self.node.deploy(name, runtime, handler, files, timeout_ms=60000, memory_mb=512,
                                environment={"AWS_ENDPOINT_URL_LAMBDA": "warmcore"})  # fmt: skip

    def ask(self, function, **event):
        answer = self.client.invoke(function, json.dumps(event).encode(), 60)
        self.assertEqual(answer.kind, wcproto.REPLY, answer)
        return json.loads(answer.payload)

    def invocations(self):
        return {entry["name"]: entry["invocations"] for entry in self.node.json("list")["functions"] if entry["name"] in ("called", "closed")}

    def converse(self, function):
        result = self.ask(function, name="called", event={"a": ["\u00e9", 1]})
        self.assertEqual((result[:3], result[3]["got"]), ([200, None, "$LATEST"], {"a": ["\u00e9", 1]}))
        result = self.ask(function, name="called:1", event=None)
        self.assertEqual(result, [200, None, "1", {"got": None, "version": "1"}])
        result = self.ask(function, name="arn:aws:lambda:eu-west-1:123456789012:function:called:prod", event=2)
        self.assertEqual(result, [200, None, "1", {"got": 2, "version": "1"}])
        result = self.ask(function, name="called", event="fail")
        self.assertEqual((result[:3], result[3]["errorType"]), ([200, "Unhandled", "$LATEST"], "KeyError"))
        self.assertEqual(self.ask(function, name="nobody", event=1), ["ResourceNotFoundException", 404])
        ran = [self.ask(function, name="called:both", event=1) for _ in range(24)]
        self.assertEqual([result[2] for result in ran], [result[3]["version"] for result in ran])
        self.assertEqual({result[2] for result in ran}, {"1", "2"})
        before = self.invocations()
        for name, expected in (("called", [204, None, "$LATEST", None]), ("called:prod", [204, None, "1", None]), ("nobody", ["ResourceNotFoundException", 404]),
                               ("called:none", ["ResourceNotFoundException", 404]), ("closed", ["AccessDeniedException", 403])):  # fmt: skip
            self.assertEqual(self.ask(function, name=name, event=1, more={"InvocationType": "DryRun"}), expected, name)
        self.assertEqual(self.invocations(), before)
        context = base64.b64encode(json.dumps({"custom": {"k": "\u00e9"}, "env": {"locale": "x"}}).encode()).decode()
        self.assertEqual(self.ask(function, name="called", event="context", more={"ClientContext": context})[3], [{"k": "\u00e9"}, {"locale": "x"}])
        self.assertIsNone(self.ask(function, name="called", event="context")[3])  # none of the one before
        results = self.ask(function, name="called", times=20)
        self.assertEqual([(result[0], result[3]["got"]) for result in results], [(200, n) for n in range(20)])
        large = "x" * 20000  # there and back, and into the answer to the client
        self.assertEqual(self.ask(function, name="called", event=large)[3]["got"], large)
        mark = os.path.join(self.node.shared, "event-%d" % function)
        self.assertEqual(self.ask(function, name="called", event={"mark": mark}, more={"InvocationType": "Event"})[0], 202)
        harness.wait_until(lambda: os.path.exists(mark), "the event's function has run")

    @unittest.skipUnless(os.path.isdir("/usr/lib/python3/dist-packages/boto3"), "there is no boto3 (python3-boto3)")
    def test_boto3(self):
        self.converse(self.deploy("boto", "python", "boto.handler", {"boto.py": BOTO}))

    def test_javascript(self):
        kit = gateway.kit("sdk")
        if not kit or not shutil.which("node"):
            self.skipTest("no packages of npm, or no node")
        folder = os.path.join(self.node.root, "source-js")
        shutil.copytree(os.path.join(kit, "node_modules"), os.path.join(folder, "node_modules"), symlinks=True)
        with open(os.path.join(folder, "js.js"), "wb") as file:
            file.write(SDK)
        function = self.node.json("deploy", folder, "--name", "js", "--runtime", "node", "--handler", "js.handler", "--timeout-ms", "60000", "--memory-mb", "512",
                                  "--env", "AWS_ENDPOINT_URL_LAMBDA=warmcore")["function"]["id"]  # fmt: skip
        self.converse(function)

    def test_custom(self):
        self.converse(self.deploy("http", "custom", "x", {"bootstrap": BOOTSTRAP}))


if __name__ == "__main__":
    harness.main()
