#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The control plane of AWS Lambda at the HTTP gateway, with the unmodified SDK of npm in front of a real node: functions are created, changed, published,
aliased, limited, downloaded and removed; what is not here is refused by name; who may not may not; and large archives are bounded."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import time
import unittest
import urllib.error
import urllib.request
import zipfile

import gateway
import harness

ROLE = "arn:aws:iam::000000000000:role/any"
FUNCTIONS = "/2015-03-31/functions"
CODE = """import os
def handler(event, context):
    number = %d
    print('printed by', number)
    result = {'n': number, 'env': os.environ.get('COLOUR')}
    return {**result, 'length': len(event['text'])} if 'text' in event else result
"""


def zipped(files, method=zipfile.ZIP_DEFLATED):
    """An archive, the same bytes for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.external_attr = 0o755 << 16
            info.compress_type = method
            archive.writestr(info, content)
    return out.getvalue()


def code(number):
    return zipped({"app.py": CODE % number})


def b64(data):
    return base64.b64encode(data).decode()


def sha256(data):
    return b64(hashlib.sha256(data).digest())


def create(name, archive, **more):
    return ["CreateFunction", {"FunctionName": name, "Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE,
                               "Code": {"ZipFile": b64(archive)}, **more}]  # fmt: skip


class Sdk(harness.NodeTest):
    """With a gateway and the SDK."""

    GATEWAY = ()
    LISTEN = ("--listen", "127.0.0.1:0")

    @classmethod
    def prepare(cls):
        cls.code_dir = os.path.join(cls.node.root, "code")
        cls.gateway = gateway.Gateway(cls.node, "--code-dir", cls.code_dir, *cls.GATEWAY, listen=cls.LISTEN)
        cls.addClassCleanup(cls.gateway.close)

    def sdk(self, *asks, **environment):
        kit = gateway.kit()
        if not kit or not harness.NODE_JS:
            self.skipTest("no SDK, or no node")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gateway_control.js")
        done = subprocess.run([harness.NODE_JS, script, kit, self.gateway.url], input=json.dumps(asks).encode(),
                              stdout=subprocess.PIPE, env={**os.environ, **environment}, timeout=300, check=True)  # fmt: skip
        return json.loads(done.stdout)

    def one(self, name, **values):
        return self.sdk([name, values])[0]

    def assert_archive(self, got):
        """What GetFunction says of the archive is what its link gives, without any key. Its files."""
        self.assertEqual(got["status"], 200, got)
        with urllib.request.urlopen(got["Code"]["Location"]) as response:
            data = response.read()
            self.assertEqual(response.headers["content-type"], "application/zip")
        self.assertEqual((got["Configuration"]["CodeSha256"], got["Configuration"]["CodeSize"]), (sha256(data), len(data)))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def assert_error(self, answer, status, name, word=""):
        self.assertEqual((answer.get("status"), answer.get("error")), (status, name), answer)
        self.assertIn(word, answer["message"])


class GatewayControl(Sdk):
    TAG = "gwc"

    # --- functions ---

    def test_life(self):
        first, second = code(1), code(2)
        made, active, got, called, again = self.sdk(
            create("life", first, Timeout=5, MemorySize=256, Description="a function", Tags={"team": "x"},
                   Environment={"Variables": {"COLOUR": "red"}}, PackageType="Zip"),
            ["waitUntilFunctionActiveV2", {"FunctionName": "life"}],
            ["GetFunction", {"FunctionName": "life"}],
            ["Invoke", {"FunctionName": "life", "Payload": "{}"}],
            create("life", first))  # fmt: skip
        self.assertEqual((made["status"], made["State"], made["Version"]), (201, "Active", "$LATEST"), made)
        self.assertEqual((made["Runtime"], made["Handler"], made["Role"]), ("python3.11", "app.handler", ROLE))
        self.assertEqual((made["Timeout"], made["MemorySize"], made["Description"]), (5, 256, "a function"))
        self.assertEqual((made["CodeSha256"], made["CodeSize"]), (sha256(first), len(first)))
        self.assertEqual(made["Environment"], {"Variables": {"COLOUR": "red"}})
        self.assertRegex(made["FunctionArn"], "^arn:aws:lambda:[a-z0-9-]+:[0-9]{12}:function:life$")
        self.assertRegex(made["LastModified"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$")
        self.assertRegex(made["RevisionId"], "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
        self.assertEqual(active["state"], "SUCCESS")
        self.assertEqual(got["Configuration"]["RevisionId"], made["RevisionId"])
        self.assertEqual(got["Tags"], {"team": "x"})
        self.assertEqual(json.loads(called["Payload"]), {"n": 1, "env": "red"})
        self.assert_error(again, 409, "ResourceConflictException", "life")
        with urllib.request.urlopen(got["Code"]["Location"]) as response:  # without any key
            self.assertEqual(response.read(), first)

        settings, code_only, updated, called, dry, wrong = self.sdk(
            ["UpdateFunctionConfiguration", {"FunctionName": "life", "Timeout": 7}],
            ["UpdateFunctionCode", {"FunctionName": "life", "ZipFile": b64(second)}],
            ["waitUntilFunctionUpdatedV2", {"FunctionName": "life"}],
            ["Invoke", {"FunctionName": "life", "Payload": "{}"}],
            ["UpdateFunctionCode", {"FunctionName": "life", "ZipFile": b64(first), "DryRun": True}],
            ["UpdateFunctionCode", {"FunctionName": "life", "ZipFile": b64(first), "RevisionId": made["RevisionId"]}])  # fmt: skip
        self.assertEqual((settings["status"], settings["Timeout"], settings["MemorySize"]), (200, 7, 256), settings)
        self.assertEqual(settings["Environment"], {"Variables": {"COLOUR": "red"}})
        self.assertEqual(settings["CodeSha256"], sha256(first))
        self.assertNotEqual(settings["RevisionId"], made["RevisionId"])
        self.assertEqual((code_only["CodeSha256"], code_only["Timeout"], code_only["Role"]), (sha256(second), 7, ROLE))
        self.assertEqual(updated["state"], "SUCCESS")
        self.assertEqual(json.loads(called["Payload"]), {"n": 2, "env": "red"})
        self.assertEqual((dry["status"], dry["CodeSha256"]), (200, sha256(second)), dry)
        self.assert_error(wrong, 412, "PreconditionFailedException")
        with_right, got = self.sdk(
            ["UpdateFunctionConfiguration", {"FunctionName": "life", "RevisionId": code_only["RevisionId"],
                                             "Environment": {"Variables": {}}, "Description": ""}],
            ["GetFunctionConfiguration", {"FunctionName": "arn:aws:lambda:local:000000000000:function:life"}])  # fmt: skip
        self.assertEqual(with_right["status"], 200, with_right)
        self.assertEqual((got["Description"], got.get("Environment")), ("", None))

        gone = self.sdk(["DeleteFunction", {"FunctionName": "life"}], ["GetFunction", {"FunctionName": "life"}],
                        ["DeleteFunction", {"FunctionName": "life"}], ["Invoke", {"FunctionName": "life", "Payload": "{}"}])  # fmt: skip
        self.assertEqual(gone[0]["status"], 204, gone[0])
        for answer in gone[1:3]:
            self.assert_error(answer, 404, "ResourceNotFoundException", "life")
        self.assertFalse(os.path.exists(os.path.join(self.code_dir, "life")))

    def test_tags(self):
        arn = "arn:aws:lambda:local:000000000000:function:tagged"
        tags = {"team": "x", "a key": "", "warmcore.callers": "one @two"}
        made, tagged, listed, untagged, got, version = self.sdk(
            create("tagged", code(1), Tags={"old": "o", "warmcore.owner": "me"}), ["TagResource", {"Resource": arn, "Tags": tags}],
            ["ListTags", {"Resource": arn}], ["UntagResource", {"Resource": arn, "TagKeys": ["a key", "old"]}],
            ["GetFunction", {"FunctionName": "tagged"}], ["ListTags", {"Resource": arn + ":1"}])  # fmt: skip
        self.assertEqual((made["status"], tagged["status"], untagged["status"]), (201, 204, 204), (made, tagged, untagged))
        self.assertEqual(listed["Tags"], {**tags, "old": "o", "warmcore.owner": "me"})
        self.assertEqual(got["Tags"], {"team": "x", "warmcore.callers": "one @two", "warmcore.owner": "me"})
        self.assert_error(version, 400, "InvalidParameterValueException", "versions")

    def test_runtimes(self):
        javascript = zipped({"index.js": "exports.handler = async (event) => ({ js: event.x });\n"})
        bootstrap = zipped({"bootstrap": "#!/bin/sh\nset -eu\nwhile :; do\n"
                            "H=$(mktemp)\ncurl -sS -D $H -o /dev/null http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next\n"
                            "ID=$(sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: *\\([^\\r]*\\).*/\\1/p' $H | tr -d '\\r')\n"
                            "curl -sS -o /dev/null -d '{\"sh\":\"'$_HANDLER'\"}' "
                            "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$ID/response\ndone\n"})  # fmt: skip
        asks = []
        if harness.NODE_JS:
            asks += [create("js", javascript, Runtime="nodejs20.x", Handler="index.handler"),
                     ["Invoke", {"FunctionName": "js", "Payload": '{"x":1}'}]]  # fmt: skip
        if shutil.which("curl"):
            asks += [create("own", bootstrap, Runtime="provided.al2023", Handler="any.name"),
                     ["Invoke", {"FunctionName": "own", "Payload": "{}"}]]  # fmt: skip
        answers = self.sdk(*asks)
        for answer in answers[::2]:
            self.assertEqual(answer["status"], 201, answer)
        self.assertEqual([json.loads(answer["Payload"]) for answer in answers[1::2]], [{"js": 1}, {"sh": "any.name"}][: len(answers) // 2])
        self.assertEqual([answer["Runtime"] for answer in answers[::2]], ["nodejs20.x", "provided.al2023"][: len(answers) // 2])

    def test_deployed_on_the_node(self):
        self.node.deploy("local", "python", "app.handler", {"app.py": (CODE % 3).encode()}, environment={"COLOUR": "blue"})
        got, changed, called, code_changed, recalled = self.sdk(
            ["GetFunction", {"FunctionName": "local"}],
            ["UpdateFunctionConfiguration", {"FunctionName": "local", "Timeout": 9}],
            ["Invoke", {"FunctionName": "local", "Payload": "{}"}],
            ["UpdateFunctionCode", {"FunctionName": "local", "ZipFile": b64(code(4))}],
            ["Invoke", {"FunctionName": "local", "Payload": "{}"}])  # fmt: skip
        self.assert_archive(got)
        self.assertEqual((changed["Timeout"], changed["CodeSha256"]), (9, got["Configuration"]["CodeSha256"]), changed)
        self.assertEqual(json.loads(called["Payload"]), {"n": 3, "env": "blue"})
        self.assertEqual(code_changed["CodeSha256"], sha256(code(4)))
        self.assertEqual(json.loads(recalled["Payload"]), {"n": 4, "env": "blue"})

    def test_code_of_the_node(self):
        """What no archive came for has one all the same, and says of it what clients compare, wherever it is shown."""
        self.node.deploy("own", "python", "app.handler", {"app.py": (CODE % 5).encode()}, description="first")
        self.node.cli("publish", "own")
        self.node.deploy("own", "python", "app.handler", {"app.py": (CODE % 6).encode()})
        self.node.cli("publish", "own")
        self.node.deploy("own", "python", "app.handler", {"app.py": (CODE % 7).encode(), "more": bytes(100000)})
        self.node.cli("alias", "own", "prod", "1")
        self.node.cli("alias", "own", "newest", "$LATEST")
        latest, first, second, prod, newest, configuration, versions, wrong = self.sdk(
            ["GetFunction", {"FunctionName": "own"}],
            *[["GetFunction", {"FunctionName": "own", "Qualifier": qualifier}] for qualifier in ("1", "2", "prod", "newest")],
            ["GetFunctionConfiguration", {"FunctionName": "own"}],
            ["ListVersionsByFunction", {"FunctionName": "own"}],
            ["PublishVersion", {"FunctionName": "own", "CodeSha256": sha256(b"another")}])  # fmt: skip
        for got, number in ((latest, 7), (first, 5), (second, 6), (prod, 5), (newest, 7)):
            files = self.assert_archive(got)
            self.assertEqual(files["app.py"], (CODE % number).encode())
            self.assertEqual(json.loads(files["function.json"])["name"], "own")
            self.assertEqual(len(files), 2 + (number == 7), files.keys())
        one = {key: latest["Configuration"][key] for key in ("CodeSha256", "CodeSize")}
        self.assertEqual({key: configuration[key] for key in one}, one)
        self.assertEqual([version["CodeSha256"] for version in versions["Versions"]],
                         [got["Configuration"]["CodeSha256"] for got in (latest, first, second)])  # fmt: skip
        self.assert_error(wrong, 400, "InvalidParameterValueException", one["CodeSha256"])
        published, pages = self.sdk(["PublishVersion", {"FunctionName": "own", "CodeSha256": one["CodeSha256"]}],
                                    ["paginateListFunctions", {"input": {"FunctionVersion": "ALL"}}])  # fmt: skip
        self.assertEqual((published["status"], published["CodeSha256"]), (201, one["CodeSha256"]), published)
        listed = [function for page in pages["pages"] for function in page["Functions"] if function["FunctionName"] == "own"]
        for key in one:
            self.assertEqual({function["Version"]: function[key] for function in listed if function["Version"] in ("$LATEST", "1", "3")},
                             {"$LATEST": one[key], "1": first["Configuration"][key], "3": one[key]})  # fmt: skip
        # It can be given back; a link is of the code that it was made for, also when other code is current.
        with urllib.request.urlopen(latest["Code"]["Location"]) as response:
            data = response.read()
        self.node.deploy("own", "python", "app.handler", {"app.py": (CODE % 8).encode()})
        with urllib.request.urlopen(latest["Code"]["Location"]) as response:
            self.assertEqual(response.read(), data)
        given, called = self.sdk(["UpdateFunctionCode", {"FunctionName": "own", "ZipFile": b64(data)}],
                                 ["Invoke", {"FunctionName": "own", "Payload": "{}"}])  # fmt: skip
        self.assertEqual({key: given[key] for key in one}, one)
        self.assertEqual(json.loads(called["Payload"])["n"], 7)
        # What is gone is gone.
        self.node.cli("remove", "own")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(prod["Code"]["Location"])
        self.assertEqual(refused.exception.code, 404)
        refused.exception.close()

    def test_archives_are_remembered(self):
        """What the node's archive of some code is, is known to a gateway that was started again: it does not have it made again, which the code on the disk
        shows, that is changed meanwhile. What is broken in the file of them is not believed."""
        text = (CODE % 77).encode()
        self.node.deploy("kept", "python", "app.handler", {"app.py": text})
        before = self.one("GetFunctionConfiguration", FunctionName="kept")
        for folder, _, files in os.walk(self.node.state):
            path = os.path.join(folder, "app.py")
            if "app.py" in files:
                with open(path, "rb") as file:
                    mine = file.read() == text
                if mine:
                    break
        else:
            self.fail("the code of the function is not found")
        os.chmod(path, 0o644)
        with open(path, "ab") as file:
            file.write(b"# changed")
        self.gateway.stop()
        self.gateway.start()
        after = self.one("GetFunctionConfiguration", FunctionName="kept")
        for key in ("CodeSha256", "CodeSize"):
            self.assertEqual(after[key], before[key])
        listed = {function["FunctionName"]: function for function in self.one("ListFunctions")["Functions"]}
        self.assertEqual(listed["kept"]["CodeSha256"], before["CodeSha256"])
        known = os.path.join(self.code_dir, ".archives")
        self.assertEqual(os.stat(known).st_mode & 0o777, 0o600)
        self.gateway.stop()
        with open(known, "r+b") as file:
            data = file.read().replace(before["CodeSha256"].encode(), b"A" * 44)
            file.seek(0)
            file.write(data)
        self.gateway.start()
        self.assertNotIn(self.one("GetFunctionConfiguration", FunctionName="kept")["CodeSha256"], (before["CodeSha256"], "A" * 44))
        self.node.cli("remove", "kept")

    def test_code_that_no_archive_takes(self):
        self.node.deploy("odd", "python", "app.handler", {"app.py": (CODE % 1).encode(), "a\\b": b""})
        got, configuration = self.sdk(["GetFunction", {"FunctionName": "odd"}], ["GetFunctionConfiguration", {"FunctionName": "odd"}])
        self.assertEqual((got["status"], got["Code"].get("Location"), got["Code"]["Error"]["ErrorCode"]), (200, None, "CodeNotArchived"), got)
        self.assertIn("backslash", got["Code"]["Error"]["Message"])
        self.assertEqual(len(base64.b64decode(configuration["CodeSha256"])), 32)
        self.assertEqual(configuration["CodeSha256"], got["Configuration"]["CodeSha256"])

    def assert_list_of_all(self):
        """Every version once, in pages of any size; markers that are odd are no error."""
        expected = {(name, version["Version"]) for name in [function["FunctionName"] for page in self.one("paginateListFunctions", input={})["pages"]
                                                           for function in page["Functions"]]
                    for version in self.one("ListVersionsByFunction", FunctionName=name)["Versions"]}  # fmt: skip
        for size in (1, 2, 50):
            pages = self.one("paginateListFunctions", pageSize=size, input={"FunctionVersion": "ALL"})["pages"]
            listed = [(function["FunctionName"], function["Version"]) for page in pages for function in page["Functions"]]
            self.assertEqual(len(listed), len(set(listed)), listed)
            self.assertEqual(set(listed), expected)
            self.assertTrue(all(len(page["Functions"]) <= size for page in pages))
        for marker, first in (("ver", None), ("ver:0", "1"), ("ver:1", "2"), ("ver:2", None), ("ver:-5", "$LATEST"), ("ver:x", "1"), ("ver:" + "9" * 40, None)):
            found = self.one("ListFunctions", FunctionVersion="ALL", Marker=marker)["Functions"]
            self.assertEqual(next((function["Version"] for function in found if function["FunctionName"] == "ver"), None), first, marker)
        for marker in (":", "a/b:1", "%00:1", "nobody:1", "ver:1:1"):
            self.assertEqual(self.one("ListFunctions", FunctionVersion="ALL", Marker=marker)["status"], 200, marker)

    def test_list(self):
        names = ["page-%02d" % i for i in range(7)]
        self.sdk(*[create(name, code(1)) for name in names])
        pages, = self.sdk(["paginateListFunctions", {"pageSize": 3}])
        listed = [function["FunctionName"] for page in pages["pages"] for function in page["Functions"]]
        self.assertEqual(listed, sorted(set(listed)))
        self.assertLessEqual(set(names), set(listed))
        self.assertTrue(all(len(page["Functions"]) <= 3 for page in pages["pages"]))
        account = self.one("GetAccountSettings")
        self.assertEqual(account["AccountUsage"]["FunctionCount"], len(self.node.json("list")["functions"]))
        self.assertGreater(account["AccountLimit"]["ConcurrentExecutions"], 0)

    # --- what is refused ---

    def test_refused(self):
        base = {"FunctionName": "no", "Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": b64(code(1))}}
        asks = [({"VpcConfig": {"SubnetIds": ["s"], "SecurityGroupIds": []}}, "VpcConfig"), ({"Layers": ["arn:x"]}, "Layers"),
                ({"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:x"}}, "DeadLetterConfig"), ({"PackageType": "Image"}, "PackageType"),
                ({"Architectures": ["riscv"]}, "Architectures"), ({"TracingConfig": {"Mode": "Active"}}, "TracingConfig"),
                ({"EphemeralStorage": {"Size": 1024}}, "EphemeralStorage"), ({"Runtime": "java21"}, "java21"),
                ({"Runtime": "python2.7"}, "python2.7"), ({"Timeout": 901}, "Timeout"), ({"Timeout": 0}, "Timeout"),
                ({"MemorySize": 20000}, "MemorySize"), ({"FunctionName": "a/b"}, "FunctionName"), ({"FunctionName": "x" * 64}, "FunctionName"),
                ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, "ZipFile"), ({"Code": {"ZipFile": ""}}, "ZipFile"),
                ({"Code": {"ZipFile": b64(b"not an archive")}}, "unzip"), ({"Code": {"ZipFile": b64(b"PK\3\4" + bytes(100))}}, ""),
                ({"Environment": {"Variables": {"a=b": "c"}}}, ""), ({"Environment": {"Variables": {"A": "x" * 5000}}}, ""),
                ({"Code": {"ZipFile": b64(zipped({"../../etc/cron.d/x": "y"}))}}, ""),
                ({"Code": {"ZipFile": b64(zipped({"n" * 300: "y"}))}}, "longer"), ({"Code": {"ZipFile": b64(zipped({"d/" * 3000 + "x": "y"}))}}, "longer")]  # fmt: skip
        answers = self.sdk(*[["CreateFunction", {**base, **more}] for more, word in asks])
        for answer, (more, word) in zip(answers, asks):
            with self.subTest(more=str(more)[:60]):
                self.assert_error(answer, 400, "InvalidParameterValueException", word)
        self.assert_error(self.one("GetFunction", FunctionName="no"), 404, "ResourceNotFoundException")
        self.assertNotIn("no", os.listdir(self.code_dir))

    def test_raw(self):
        def post(body, status, error):
            answer = self.gateway.request("POST", FUNCTIONS, body)
            self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (status, error), answer)

        post(b"{", 400, "InvalidRequestContentException")
        post(b"[]", 400, "InvalidRequestContentException")
        post(b'{"FunctionName":"x","FunctionName":"y"}', 400, "InvalidRequestContentException")
        post(b'{"FunctionName":"x","Code":{"ZipFile":"!!!"}}', 400, "InvalidParameterValueException")
        post(b'{"FunctionName":"x","Later":1}', 400, "InvalidParameterValueException")
        for method, target, status in (("GET", FUNCTIONS + "?MaxItems=0", 400), ("GET", FUNCTIONS + "?MaxItems=x", 400),
                                       ("PUT", FUNCTIONS, 405), ("GET", FUNCTIONS + "/nobody/versions", 404),
                                       ("GET", "/system/code/x/" + "0" * 64 + ".zip?expires=9999999999&signature=" + "0" * 64, 403),
                                       ("GET", "/system/function/nobody", 404), ("POST", "/system/functions", 501)):  # fmt: skip
            answer = self.gateway.request(method, target, b"{}" if method != "GET" else b"")
            self.assertEqual(answer.status, status, (target, answer))
        # A page in a browser cannot change anything.
        answer = self.gateway.request("POST", FUNCTIONS, json.dumps({"FunctionName": "x"}).encode(), [("Origin", "http://evil.example")])
        self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (403, "AccessDeniedException"))

    def test_openfaas(self):
        self.sdk(create("faas", code(1)))
        answer = self.gateway.request("GET", "/system/function/faas")
        self.assertEqual((answer.status, answer.json()["name"]), (200, "faas"), answer)
        self.assertIn("replicas", answer.json())

        def remove(body, *headers):
            return self.gateway.request("DELETE", "/system/functions", body if isinstance(body, bytes) else json.dumps(body).encode(), headers)

        for body, status, error in ((b"{", 400, "InvalidRequestContentException"), (b"[]", 400, "InvalidRequestContentException"),
                                    (b'{"functionName":"faas","functionName":"faas"}', 400, "InvalidRequestContentException"),
                                    (b"", 400, "InvalidParameterValueException"), ({"functionName": 1}, 400, "InvalidParameterValueException"),
                                    ({"functionName": "a/b"}, 400, "InvalidParameterValueException"), ({"functionName": "f" * 64}, 400, "InvalidParameterValueException"),
                                    ({"functionName": "faas\0x"}, 400, "InvalidRequestContentException"),
                                    ({"functionName": "faas", "namespace": "n"}, 400, "InvalidParameterValueException"),
                                    ({"functionName": "faas", "force": True}, 400, "InvalidParameterValueException"),
                                    ({"functionName": "nobody"}, 404, "ResourceNotFoundException"),
                                    (b" " * (2 << 20), 413, "RequestTooLargeException")):  # fmt: skip
            with self.subTest(body=str(body)[:60]):
                answer = remove(body)
                self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (status, error), answer)
        self.assertEqual(remove({"functionName": "faas"}, ("Origin", "http://evil.example")).status, 403)
        self.assertEqual(self.gateway.request("GET", "/system/function/faas").status, 200)  # nothing of that was one
        answer = remove({"functionName": "faas", "namespace": ""})
        self.assertEqual((answer.status, answer.body), (202, b""), answer)
        self.assertEqual(remove({"functionName": "faas"}).status, 404)
        self.assertEqual(self.gateway.request("GET", "/system/function/faas").status, 404)
        self.assertNotIn("faas", [function["name"] for function in self.gateway.request("GET", "/system/functions").json()])
        self.assertNotIn("faas", os.listdir(self.code_dir))
        # One that was deployed on the node, too.
        self.node.deploy("faas", "python", "app.handler", {"app.py": b"def handler(event, context):\n    return 1\n"})
        self.assertEqual(remove({"functionName": "faas"}).status, 202)
        for method in ("POST", "PUT"):
            self.assertEqual(self.gateway.request(method, "/system/functions", b'{"service":"x","image":"y"}').status, 501)

    # --- versions and aliases ---

    def test_versions_and_aliases(self):
        first, second = code(1), code(2)
        made, published, same, changed, two = self.sdk(
            create("ver", first, Publish=True, Description="one", Environment={"Variables": {"COLOUR": "red"}}),
            ["waitUntilPublishedVersionActive", {"FunctionName": "ver", "Qualifier": "1"}],
            ["PublishVersion", {"FunctionName": "ver"}],
            ["UpdateFunctionCode", {"FunctionName": "ver", "ZipFile": b64(second)}],
            ["PublishVersion", {"FunctionName": "ver", "Description": "two", "CodeSha256": sha256(second)}])  # fmt: skip
        self.assertEqual((made["Version"], made["CodeSha256"]), ("1", sha256(first)), made)
        self.assertTrue(made["FunctionArn"].endswith(":ver:1"))
        self.assertEqual(published["state"], "SUCCESS")
        self.assertEqual(same["Version"], "1", same)  # nothing has changed
        self.assertEqual(changed["Version"], "$LATEST")
        self.assertEqual((two["status"], two["Version"], two["Description"], two["CodeSha256"]), (201, "2", "two", sha256(second)), two)
        wrong, listed, of_one, location, everything = self.sdk(
            ["PublishVersion", {"FunctionName": "ver", "CodeSha256": sha256(first)}],
            ["ListVersionsByFunction", {"FunctionName": "ver"}],
            ["GetFunctionConfiguration", {"FunctionName": "ver", "Qualifier": "1"}],
            ["GetFunction", {"FunctionName": "ver:1"}],
            ["ListFunctions", {"FunctionVersion": "ALL"}])  # fmt: skip
        self.assert_error(wrong, 400, "InvalidParameterValueException", "CodeSHA256")
        self.assertEqual([version["Version"] for version in listed["Versions"]], ["$LATEST", "1", "2"])
        self.assertEqual((of_one["CodeSha256"], of_one["Environment"]), (sha256(first), {"Variables": {"COLOUR": "red"}}))
        with urllib.request.urlopen(location["Code"]["Location"]) as response:
            self.assertEqual(response.read(), first)
        self.assertIn(("ver", "2"), [(each["FunctionName"], each["Version"]) for each in everything["Functions"]])
        self.assert_list_of_all()

        alias, again, got, bad, weighted, aliases = self.sdk(
            ["CreateAlias", {"FunctionName": "ver", "Name": "live", "FunctionVersion": "1", "Description": "d"}],
            ["CreateAlias", {"FunctionName": "ver", "Name": "live", "FunctionVersion": "1"}],
            ["GetAlias", {"FunctionName": "ver", "Name": "live"}],
            ["CreateAlias", {"FunctionName": "ver", "Name": "bad", "FunctionVersion": "9"}],
            ["UpdateAlias", {"FunctionName": "ver", "Name": "live", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}}],
            ["ListAliases", {"FunctionName": "ver"}])  # fmt: skip
        self.assertEqual((alias["status"], alias["FunctionVersion"], alias["Description"]), (201, "1", "d"), alias)
        self.assert_error(again, 409, "ResourceConflictException")
        self.assertEqual((got["AliasArn"], got["RevisionId"]), (alias["AliasArn"], alias["RevisionId"]))
        self.assert_error(bad, 404, "ResourceNotFoundException")
        self.assertEqual((weighted["FunctionVersion"], weighted["RoutingConfig"]), ("1", {"AdditionalVersionWeights": {"2": 0.5}}), weighted)
        self.assertEqual([each["Name"] for each in aliases["Aliases"]], ["live"])

        calls = self.sdk(*[["Invoke", {"FunctionName": "ver", "Qualifier": qualifier, "Payload": "{}"}]
                           for qualifier in ("1", "2", "$LATEST", "nobody", *["live"] * 60)])  # fmt: skip
        self.assertEqual([json.loads(call["Payload"])["n"] for call in calls[:3]], [1, 2, 2])
        self.assertEqual([call["ExecutedVersion"] for call in calls[:3]], ["1", "2", "$LATEST"])
        self.assert_error(calls[3], 404, "ResourceNotFoundException")
        seen = {(call["ExecutedVersion"], json.loads(call["Payload"])["n"]) for call in calls[4:]}
        self.assertEqual(seen, {("1", 1), ("2", 2)})  # 2^-59 says that this fails by chance
        logged = self.one("Invoke", FunctionName="ver:1", Payload="{}", LogType="Tail")
        self.assertIn("printed by 1", base64.b64decode(logged["LogResult"]).decode())
        for target in ("/function/ver:1", "/url/ver:1/", "/function/ver:1?x=y"):
            answer = self.gateway.request("POST", target, b"{}")
            self.assertEqual((answer.status, answer.json()["n"]), (200, 1), answer)
        self.assertEqual(self.gateway.request("POST", "/function/ver:7", b"{}").status, 404)

        # A payload that no packet takes goes the way of the version; and calls are counted by version, as the node does it.
        large = b64(os.urandom(3 << 20))
        for target in ("/function/ver:1", "/function/ver:2", FUNCTIONS + "/ver/invocations?Qualifier=1"):
            answer = self.gateway.request("POST", target, json.dumps({"text": large}).encode())
            expected = {"n": 2 if ":2" in target else 1, "length": len(large)}
            self.assertEqual((answer.status, {key: answer.json()[key] for key in expected}), (200, expected), target)
        answer = self.gateway.request("POST", "/function/ver:live", json.dumps({"text": large}).encode())
        self.assertEqual((answer.status, answer.json()["length"]), (200, len(large)))
        metrics = self.gateway.request("GET", "/metrics").body.decode()
        for label in ("ver", "ver:1", "ver:2"):
            line = 'warmcore_gateway_invocations_total{function="%s",result="ok"}' % label
            self.assertEqual(metrics.count(line), 1, label)

        in_use, unaliased, removed, stale, rest, latest = self.sdk(
            ["DeleteFunction", {"FunctionName": "ver", "Qualifier": "2"}],
            ["DeleteAlias", {"FunctionName": "ver", "Name": "live"}],
            ["DeleteFunction", {"FunctionName": "ver", "Qualifier": "2"}],
            ["GetAlias", {"FunctionName": "ver", "Name": "live"}],
            ["ListVersionsByFunction", {"FunctionName": "ver"}],
            ["DeleteFunction", {"FunctionName": "ver", "Qualifier": "$LATEST"}])  # fmt: skip
        self.assert_error(in_use, 409, "ResourceConflictException")
        self.assertEqual((unaliased["status"], removed["status"]), (204, 204), (unaliased, removed))
        self.assert_error(stale, 404, "ResourceNotFoundException")
        self.assertEqual([version["Version"] for version in rest["Versions"]], ["$LATEST", "1"])
        self.assert_error(latest, 400, "InvalidParameterValueException")

    # --- limits ---

    def test_concurrency(self):
        self.sdk(create("lim", code(1), Publish=True))
        none, put, got, shown, gone, nothing = self.sdk(
            ["GetFunctionConcurrency", {"FunctionName": "lim"}],
            ["PutFunctionConcurrency", {"FunctionName": "lim", "ReservedConcurrentExecutions": 3}],
            ["GetFunctionConcurrency", {"FunctionName": "lim"}],
            ["GetFunction", {"FunctionName": "lim"}],
            ["DeleteFunctionConcurrency", {"FunctionName": "lim"}],
            ["GetFunctionConcurrency", {"FunctionName": "lim"}])  # fmt: skip
        self.assertEqual((none["status"], none.get("ReservedConcurrentExecutions")), (200, None), none)
        self.assertEqual((put["status"], put["ReservedConcurrentExecutions"]), (200, 3), put)
        self.assertEqual(got["ReservedConcurrentExecutions"], 3)
        self.assertEqual(shown["Concurrency"], {"ReservedConcurrentExecutions": 3})
        self.assertEqual(gone["status"], 204)
        self.assertNotIn("ReservedConcurrentExecutions", nothing)

        missing, put, got, listed, unpublished, gone, again = self.sdk(
            ["GetProvisionedConcurrencyConfig", {"FunctionName": "lim", "Qualifier": "1"}],
            ["PutProvisionedConcurrencyConfig", {"FunctionName": "lim", "Qualifier": "1", "ProvisionedConcurrentExecutions": 1}],
            ["GetProvisionedConcurrencyConfig", {"FunctionName": "lim", "Qualifier": "1"}],
            ["ListProvisionedConcurrencyConfigs", {"FunctionName": "lim"}],
            ["PutProvisionedConcurrencyConfig", {"FunctionName": "lim", "Qualifier": "$LATEST", "ProvisionedConcurrentExecutions": 1}],
            ["DeleteProvisionedConcurrencyConfig", {"FunctionName": "lim", "Qualifier": "1"}],
            ["GetProvisionedConcurrencyConfig", {"FunctionName": "lim", "Qualifier": "1"}])  # fmt: skip
        self.assert_error(missing, 404, "ProvisionedConcurrencyConfigNotFoundException")
        self.assertEqual((put["status"], put["RequestedProvisionedConcurrentExecutions"]), (202, 1), put)
        self.assertIn(got["Status"], ("IN_PROGRESS", "READY"))
        self.assertEqual([item["FunctionArn"].split(":")[-2:] for item in listed["ProvisionedConcurrencyConfigs"]], [["lim", "1"]])
        self.assert_error(unpublished, 400, "InvalidParameterValueException")
        self.assertEqual(gone["status"], 204, gone)
        self.assert_error(again, 404, "ProvisionedConcurrencyConfigNotFoundException")

    # --- large archives ---

    def test_large(self):
        blob = os.urandom(3 << 20)
        archive = zipped({"app.py": CODE % 5, **{"part%d" % i: blob for i in range(15)}}, zipfile.ZIP_STORED)  # 45 MiB
        made, called = self.sdk(create("large", archive, Timeout=60), ["Invoke", {"FunctionName": "large", "Payload": "{}"}])
        self.assertEqual((made["status"], made["CodeSize"]), (201, len(archive)), made)
        self.assertEqual(json.loads(called["Payload"])["n"], 5)
        location = self.one("GetFunction", FunctionName="large")["Code"]["Location"]
        with urllib.request.urlopen(location) as response:
            self.assertEqual(hashlib.sha256(response.read()).digest(), hashlib.sha256(archive).digest())
        self.assertEqual(self.one("DeleteFunction", FunctionName="large")["status"], 204)

    def test_too_large(self):
        """What may not be large is refused while it comes, and the client sees why."""
        for target, status in (("/function/nobody", 413), (FUNCTIONS + "/nobody/configuration", 413)):
            with self.gateway.connect() as connection:
                head = "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % ("POST" if "function/" in target else "PUT", target, 60 << 20)
                connection.send(head.encode() + bytes(1 << 20))
                answer = connection.receive()
                self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (status, "RequestTooLargeException"), answer)
        with self.gateway.connect() as connection:
            connection.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (FUNCTIONS.encode(), 80 << 20))
            self.assertEqual(connection.receive().status, 413)
        # Two at a time; a third is told to come later, and one that goes makes room.
        held = []

        def third():  # whole, and no JSON
            return self.gateway.request("POST", FUNCTIONS, bytes(7 << 20)).status

        def hold_two():  # again, when the third was there before them
            while held:
                held.pop().socket.close()
            for _ in range(2):
                held.append(self.gateway.connect())
                held[-1].send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (FUNCTIONS.encode(), 60 << 20) + bytes(1 << 20))
            time.sleep(0.1)
            return third() == 429

        try:
            harness.wait_until(hold_two, "a third archive is refused")
            held[0].socket.close()
            harness.wait_until(lambda: third() == 400, "there is room again")
        finally:
            for connection in held:
                connection.socket.close()

    def test_chunks(self):
        """Without a length in the head it counts what is there."""
        with self.gateway.connect() as connection:
            connection.send(b"POST /function/nobody HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(12):
                    connection.send(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
            except OSError:
                pass  # it has its answer
            answer = connection.receive()
        self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (413, "RequestTooLargeException"), answer)

    def test_beside(self):
        """Two large archives on their way take nothing from the 256 MiB of all other bodies, and nothing happens to them when these are full."""
        large = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (FUNCTIONS.encode(), 60 << 20)
        small = b"POST /function/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (6 << 20)
        others, refused = [], 0
        archives = [self.gateway.connect() for _ in range(2)]
        for archive in archives:
            self.addCleanup(archive.socket.close)
            archive.send(large + bytes((60 << 20) - 1))
        try:
            for _ in range(36):  # 216 MiB: with the archives it would be too much
                others.append(self.gateway.connect())
                others[-1].send(small + bytes((6 << 20) - 1))
            for other in others[:2] + others[-2:]:
                other.send(b"x")
                self.assertEqual(other.receive().status, 404)
            more = [self.gateway.connect() for _ in range(24)]
            others += more
            for other in more:  # and this is too much
                try:
                    other.send(small + bytes((6 << 20) - 1))
                except OSError:
                    pass  # it has its answer
            for other in more:
                try:
                    other.send(b"x")
                    refused += other.receive().status == 503
                except (OSError, EOFError):
                    refused += 1
            self.assertGreater(refused, 0)
        finally:
            for other in others:
                other.socket.close()
        for archive in archives:
            archive.send(b"x")
            self.assertEqual(archive.receive().status, 400)  # no JSON


class GatewayControlKeys(Sdk):
    """With keys, and without management."""

    TAG = "gwk"
    OPTIONS = ("--allow-trusted",)

    @classmethod
    def prepare(cls):
        path = os.path.join(cls.node.root, "keys", "keys.json")
        os.mkdir(os.path.dirname(path), 0o755)
        cls.keys = {}
        for name, options in (("all", ["--role", "admin"]), ("web", ["--role", "admin", "--functions", "web-*"]), ("invoke", [])):
            done = cls.node.json("keys", "create", name, "--key-file", path, *options)
            cls.keys[name] = {"WARMCORE_TEST_ID": done["key"]["id"], "WARMCORE_TEST_SECRET": done["secret"]}
        for name, options in (("web-token", ["--role", "admin", "--functions", "web-*"]), ("invoke-token", [])):
            cls.keys[name] = cls.node.json("keys", "create", name, "--kind", "bearer", "--key-file", path, *options)["token"]
        cls.GATEWAY = ("--key-file", path)
        super().prepare()

    def test_rights(self):
        made = self.sdk(create("web-a", code(1)), create("other", code(1)), ["ListFunctions", {}], **self.keys["web"])
        self.assertEqual(made[0]["status"], 201, made[0])
        for answer in made[1:]:
            self.assert_error(answer, 403, "AccessDeniedException")
        for answer in self.sdk(create("web-b", code(1)), ["GetFunction", {"FunctionName": "web-a"}], ["DeleteFunction", {"FunctionName": "web-a"}],
                               **self.keys["invoke"]):  # fmt: skip
            self.assert_error(answer, 403, "AccessDeniedException")
        got = self.sdk(["GetFunction", {"FunctionName": "web-a"}], **self.keys["all"])[0]
        with urllib.request.urlopen(got["Code"]["Location"]) as response:
            self.assertEqual(response.read(), code(1))
        changed = got["Code"]["Location"][:-1] + ("0" if got["Code"]["Location"][-1] != "0" else "1")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(changed)
        self.assertEqual(refused.exception.code, 403)
        refused.exception.close()
        # OpenFaaS has the name in the body, so it is judged when that is read.
        for key, name, status in (("invoke-token", "web-a", 403), ("web-token", "nobody", 403), ("web-token", "web-none", 404), ("web-token", "web-a", 202)):
            header = ("Authorization", "Bearer " + self.keys[key])
            self.assertEqual(self.gateway.request("DELETE", "/system/functions", b'{"functionName":"%s"}' % name.encode(), [header]).status, status, (key, name))
        self.assertEqual(self.gateway.request("DELETE", "/system/functions", b'{"functionName":"web-a"}').status, 401)
        # Without a key a large body is not even read.
        with self.gateway.connect() as connection:
            connection.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (FUNCTIONS.encode(), 60 << 20) + bytes(1 << 20))
            self.assertEqual(connection.receive().status, 403)

    def test_off(self):
        off = gateway.Gateway(self.node, "--no-manage")
        self.addCleanup(off.close)
        for method, target in (("GET", FUNCTIONS), ("POST", FUNCTIONS), ("DELETE", FUNCTIONS + "/x")):
            answer = off.request(method, target, b"{}" if method == "POST" else b"")
            self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (501, "NotImplementedException"), answer)
        answer = off.request("POST", FUNCTIONS, bytes(7 << 20))
        self.assertEqual(answer.status, 413)

    def test_folder(self):
        """One that others can change is not taken."""
        open_to_all = os.path.join(self.node.root, "open")
        os.mkdir(open_to_all)
        os.chmod(open_to_all, 0o777)
        link = os.path.join(self.node.root, "link")
        os.symlink(self.code_dir, link)
        for path in (open_to_all, link):
            done = self.node.cli("gateway", "--no-async", "--listen", "127.0.0.1:0", "--code-dir", path, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("--code-dir", done.stderr)

    def test_trusted_stays(self):
        """Code that leaves the sandbox is not changed from here."""
        self.node.deploy("trust", "native", "probe.so", {"probe.so": harness.native_function("probe")}, trusted=True)
        answers = self.sdk(["UpdateFunctionConfiguration", {"FunctionName": "trust", "Timeout": 9}],
                           ["UpdateFunctionCode", {"FunctionName": "trust", "ZipFile": b64(code(1))}],
                           ["DeleteFunction", {"FunctionName": "trust"}], **self.keys["all"])  # fmt: skip
        for answer in answers:
            self.assert_error(answer, 400, "InvalidParameterValueException", "trusted")
        with open(harness.native_function("probe"), "rb") as probe:
            got = self.sdk(["GetFunction", {"FunctionName": "trust"}], **self.keys["all"])[0]
            self.assertEqual(self.assert_archive(got)["probe.so"], probe.read())

    def test_rights_to_code_of_the_node(self):
        for name in ("web-node", "other-node"):
            self.node.deploy(name, "python", "app.handler", {"app.py": (CODE % 1).encode()})
        asks = [["GetFunction", {"FunctionName": name}] for name in ("web-node", "other-node")]
        mine, other = self.sdk(*asks, **self.keys["web"])
        self.assertEqual(self.assert_archive(mine)["app.py"], (CODE % 1).encode())
        self.assert_error(other, 403, "AccessDeniedException")
        for answer in self.sdk(*asks, **self.keys["invoke"]):
            self.assert_error(answer, 403, "AccessDeniedException")
        # The signature is of one function: its code under another's name is another link.
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(mine["Code"]["Location"].replace("web-node", "other-node"))
        self.assertEqual(refused.exception.code, 403)
        refused.exception.close()


if __name__ == "__main__":
    unittest.main()
