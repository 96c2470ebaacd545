#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Which functions may call which (docs/CALLS.md, "Who may call whom"): owners and lists of callers, in each language and by each way of calling, while
deployments change them under instances that are warm; versions, aliases, restarts; and what the
keys of a gateway may say of it."""

import base64
import contextlib
import io
import json
import os
import socket
import threading
import zipfile

import gateway
import harness
import wcproto

PYTHON = b"""
import json, os, warmcore

def hello(event, context):
    return "hello"

def about(event, context):
    return os.getpid()

def call(event, context):
    how = {"run": warmcore.invoke, "start": lambda *of: warmcore.start(*of).result(), "map": lambda name, value: list(warmcore.map(name, [value]))[0]}
    try:
        result = how[event.get("how", "run")](event["name"], event.get("event"))
    except warmcore.InvokeError as error:
        return {"error": error.error_type, "message": error.error_message, "pid": os.getpid()}
    return {"result": result, "pid": os.getpid()}

def sdk(event, context):
    import http.client, urllib.parse
    url = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL_LAMBDA"])
    connection = http.client.HTTPConnection(url.netloc)
    connection.request("POST", url.path + "/2015-03-31/functions/" + event["name"] + "/invocations", b"null",
                       {"X-Amz-Invocation-Type": event.get("type", "RequestResponse")})
    answer = connection.getresponse()
    return [answer.status, answer.headers["X-Amzn-Errortype"], answer.read().decode()]
"""
NODE = b"""
exports.call = async (event) => {
  const how = { run: async (...of) => warmcore.invokeSync(...of), start: (...of) => warmcore.invoke(...of) };
  try {
    return { result: await how[event.how || 'run'](event.name, event.event === undefined ? null : event.event), pid: process.pid };
  } catch (error) {
    return { error: error.errorType, message: error.errorMessage, pid: process.pid };
  }
};
"""
DENIED = "Node.AccessDenied"


class Base(harness.NodeTest):
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        cls.ids = {}

    def setUp(self):
        super().setUp()
        self.client = self.node.client()
        self.addCleanup(self.client.close)

    @classmethod
    def deploy(cls, name, handler="hello", **manifest):
        manifest.setdefault("timeout_ms", 60000)
        cls.ids[name] = cls.node.deploy(name, "python", "f." + handler, {"f.py": PYTHON}, **manifest)

    @classmethod
    def deploy_js(cls, name, **manifest):
        cls.ids[name] = cls.node.deploy(name, "node", "f.call", {"f.js": NODE}, timeout_ms=60000, **manifest)

    @classmethod
    def deploy_c(cls, name, **manifest):
        files = {"relay.so": harness.native_function("relay")}
        cls.ids[name] = cls.node.deploy(name, "native", "relay.so", files, event="binary", timeout_ms=60000, **manifest)

    def invoke(self, name, event):
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.client.invoke(self.ids[name], payload, 120)

    def call(self, caller, name, how="run", event=None):
        """What the caller has got of its call: {"result"} or {"error", "message"}, and its pid."""
        answer = self.invoke(caller, {"name": name, "how": how, "event": event})
        self.assertEqual(answer.kind, wcproto.REPLY, answer)
        return json.loads(answer.payload)

    def assert_may(self, caller, name, how="run"):
        answer = self.call(caller, name, how)
        self.assertEqual(answer.get("result"), "hello", answer)
        return answer

    def assert_may_not(self, caller, name, how="run"):
        answer = self.call(caller, name, how)
        self.assertEqual(answer.get("error"), DENIED, answer)
        self.assertIn("function %s" % caller, answer["message"])
        self.assertIn("may not call %s: " % name, answer["message"])
        return answer

    def control(self, **request):
        answer = b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(120)
            control.connect("/run/warmcore/%s/control.sock" % self.node.name)
            control.sendall(json.dumps(request).encode() + b"\n")
            while not answer.endswith(b"\n"):
                more = control.recv(1 << 20)
                self.assertTrue(more, answer)
                answer += more
        return json.loads(answer)

    def configure(self, name, **settings):
        answer = self.control(op="configure", name=name, **settings)
        self.assertTrue(answer["ok"], answer)

    def function(self, name, qualifier="$LATEST"):
        functions = self.node.json("list", "--all")["functions"]
        (found,) = (f for f in functions if (f["name"], f["qualifier"]) == (name, qualifier))
        return found["owner"], found["callers"]



class Permissions(Base):
    TAG = "perm"

    # --- the rule ---

    def test_languages(self):
        """Each language, by each way of calling: functions of one owner call each other, and nobody else's."""
        self.deploy("of-x", owner="x")
        self.deploy("of-node")
        for owner, mine, other in (("", "of-node", "of-x"), ("x", "of-x", "of-node")):
            self.deploy("py", "call", owner=owner)
            self.deploy_js("js", owner=owner)
            self.deploy_c("c", owner=owner)
            for caller, ways in (("py", ("run", "start", "map")), ("js", ("run", "start"))):
                for how in ways:
                    with self.subTest(owner=owner, caller=caller, how=how):
                        self.assert_may(caller, mine, how)
                        before = self.node.status()["agents"]
                        answer = self.assert_may_not(caller, other, how)
                        after = self.node.status()["agents"]
                        self.assertEqual((after["calls_refused"], after["calls"]), (before["calls_refused"] + 1, before["calls"]))
                        self.assertIn("--caller %s, or with --caller @%s for all" % (caller, owner), answer["message"])
                        self.assertIn("whose owner is %s," % (owner or "the node's"), answer["message"])
                        self.assert_may(caller, mine, how)
            with self.subTest(owner=owner, caller="c"):
                self.assert_reply(self.invoke("c", mine.encode() + b"\n{}"), b'"hello"')
                for way in (b"%s\n{}", b"&1 %s"):
                    error = self.assert_error(self.invoke("c", way % other.encode()), wcproto.FUNCTION, "Called")
                    self.assertEqual(json.loads(error["errorMessage"])["errorType"], DENIED, error)
                self.assert_reply(self.invoke("c", mine.encode() + b"\n{}"), b'"hello"')
        # Clients are another question.
        for name in ("of-x", "of-node"):
            self.assert_reply(self.invoke(name, {}), "hello")

    def test_lists(self):
        self.deploy("caller", "call", owner="x")
        for callers, may in ((["caller"], True), (["other", "caller"], True), (["@x"], True), (["*"], True), ([], False),
                             (["other"], False), (["@y"], False), (["@"], False), (["x"], False), (["Caller"], False)):  # fmt: skip
            for owner in ("x", "y", ""):
                with self.subTest(callers=callers, owner=owner):
                    self.deploy("listed", owner=owner, callers=callers)
                    (self.assert_may if may else self.assert_may_not)("caller", "listed")
                    self.assertEqual(self.function("listed"), (owner, callers))
        self.deploy("caller", "call")
        self.deploy("listed", owner="y", callers=["@"])
        self.assert_may("caller", "listed")

    def test_itself(self):
        self.deploy("self", "call", owner="x")
        again = {"name": "self", "event": {"name": "self", "event": {"name": "none"}}}
        self.assertEqual(self.call("self", "self", event=again)["result"]["result"]["result"]["error"], "Node.UnknownFunction")
        self.deploy("self", "call", owner="x", callers=["other"])
        self.assert_may_not("self", "self")
        self.deploy("self", "call", callers=["self"])
        self.assertEqual(self.call("self", "self", event=again)["result"]["result"]["result"]["error"], "Node.UnknownFunction")

    def test_chain(self):
        """Who asks is the function that calls, not the one that its client invoked."""
        self.deploy("outer", "call", owner="x")
        self.deploy("middle", "call", owner="y", callers=["outer"])
        self.deploy("inner", owner="y")
        self.assertEqual(self.call("outer", "middle", event={"name": "inner"})["result"]["result"], "hello")
        self.assert_may_not("outer", "inner")

    # --- changes ---

    def test_called_is_changed(self):
        """The instance that calls is warm, and has called it before: each deployment counts from the answer to it on."""
        self.deploy("warm", "call", owner="x")
        self.deploy("changed", owner="x")
        pids = [self.assert_may("warm", "changed")["pid"]]
        for change, may in ((lambda: self.deploy("changed", owner="x", callers=[]), False),
                            (lambda: self.deploy("changed", owner="y", callers=["warm"]), True),
                            (lambda: self.deploy("changed", owner="y"), False),
                            (lambda: self.configure("changed", owner="x"), True),
                            (lambda: self.configure("changed", callers=["@y"]), False),
                            (lambda: self.configure("changed", callers=None), True),
                            (lambda: self.configure("changed", callers=["@y"]), False),
                            (lambda: self.node.cli("rollback", "changed"), True),
                            (lambda: self.node.cli("rollback", "changed"), False),
                            (lambda: self.node.cli("remove", "changed") and self.deploy("changed", callers=["*"]), True),
                            (lambda: self.node.cli("remove", "changed") and self.deploy("changed"), False)):  # fmt: skip
            change()
            for how in ("run", "start", "run"):
                answer = (self.assert_may if may else self.assert_may_not)("warm", "changed", how)
                pids.append(answer["pid"])
        self.assertLess(len(set(pids)), 4)  # else it was not warm
        self.node.cli("remove", "changed")
        self.assertEqual(self.call("warm", "changed")["error"], "Node.UnknownFunction")

    def test_caller_is_changed(self):
        self.deploy("one", "call", owner="x")
        self.deploy("two", owner="x")
        self.assert_may("one", "two")
        self.deploy("one", "call", owner="y")
        self.assert_may_not("one", "two")
        self.configure("one", owner="x")
        self.assert_may("one", "two")
        self.node.cli("rollback", "one")
        self.assert_may_not("one", "two")
        self.configure("one", owner="x", callers=[])  # who may call it is not whom it may call
        self.assert_may("one", "two")

    def test_limit_is_no_deployment(self):
        self.deploy("limiting", "call")
        self.deploy("limited", callers=["limiting"])
        self.assert_may("limiting", "limited")
        self.node.cli("limit", "limited", "--queue", "5")
        self.assert_may("limiting", "limited")
        self.assertEqual(self.function("limited"), ("", ["limiting"]))

    def test_while_it_is_called(self):
        """Deployments under a load: what comes is one of the two, and when a deployment is answered only its own."""
        self.deploy("busy", "call")
        self.deploy("turned")
        stop, wrong, seen = threading.Event(), [], set()

        def ask():
            with contextlib.closing(self.node.client()) as client:
                while not stop.is_set() and not wrong:
                    answer = client.invoke(self.ids["busy"], json.dumps({"name": "turned"}).encode(), 120)
                    result = json.loads(answer.payload) if answer and answer.kind == wcproto.REPLY else {}
                    seen.add(result.get("result") or result.get("error"))
                    if result.get("result") != "hello" and result.get("error") != DENIED:
                        wrong.append(answer)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(8):
                self.configure("turned", callers=[])
                self.assert_may_not("busy", "turned")
                self.configure("turned", callers=["busy"])
                self.assert_may("busy", "turned")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])

    # --- versions ---

    def test_versions(self):
        """Each has what it was published with."""
        self.deploy("user", "call", owner="x")
        self.deploy("kept", owner="y", callers=["user"])
        self.node.cli("publish", "kept")
        self.deploy("kept", owner="y", callers=["nobody"])
        self.node.cli("publish", "kept")
        self.deploy("kept", owner="y")
        self.node.cli("alias", "kept", "old", "1")
        self.node.cli("alias", "kept", "new", "2")
        for name, may in (("kept:1", True), ("kept:old", True), ("kept:2", False), ("kept:new", False), ("kept", False), ("kept:$LATEST", False)):
            for how in ("run", "start"):
                with self.subTest(name=name, how=how):
                    answer = self.call("user", name, how)
                    self.assertEqual(answer.get("result") if may else answer.get("error"), "hello" if may else DENIED, answer)
        self.node.cli("alias", "kept", "old", "2")
        self.node.cli("alias", "kept", "new", "1")
        self.assertEqual(self.call("user", "kept:old")["error"], DENIED)
        self.assertIn("may not call kept:2: deploy kept with --caller user", self.call("user", "kept:old")["message"])
        self.assertEqual(self.call("user", "kept:new")["result"], "hello")
        self.assertEqual([self.function("kept", q) for q in ("1", "2", "$LATEST")], [("y", ["user"]), ("y", ["nobody"]), ("y", None)])
        # A version of the caller has its own owner, too.
        self.deploy("plain", owner="x")
        self.ids["user:1"] = self.node.json("publish", "user")["function"]["id"]
        self.deploy("user", "call", owner="z")
        self.assertEqual(self.call("user:1", "plain")["result"], "hello")
        self.assert_may_not("user", "plain")

    def test_restart_and_upgrade(self):
        node = harness.Node("permup", "--cores", "0-1")
        self.addCleanup(node.close)
        node.up()
        files = {"f.py": PYTHON}
        ids = {"a": node.deploy("a", "python", "f.call", files, owner="x", timeout_ms=60000), "b": node.deploy("b", "python", "f.hello", files, owner="x"),
               "d": node.deploy("d", "python", "f.hello", files, owner="x", callers=["b"])}  # fmt: skip

        def check():
            with contextlib.closing(node.client()) as client:
                got = [json.loads(client.invoke(ids["a"], json.dumps({"name": name}).encode(), 120).payload) for name in ("b", "d")]
            self.assertEqual((got[0].get("result"), got[1].get("error")), ("hello", DENIED), got)

        check()
        node.cli("upgrade", "--timeout", "120")
        check()
        node.down()
        node.up()
        check()
        functions = {f["name"]: (f["owner"], f["callers"]) for f in node.json("list")["functions"]}
        self.assertEqual(functions, {"a": ("x", None), "b": ("x", None), "d": ("x", ["b"])})
        node.down()

    # --- the SDK in functions, and the command ---

    def test_sdk(self):
        self.deploy("by-sdk", "sdk", owner="x", environment={"AWS_ENDPOINT_URL_LAMBDA": "warmcore"})
        self.deploy("mine", owner="x")
        self.deploy("theirs")
        self.assertEqual(json.loads(self.invoke("by-sdk", {"name": "mine"}).payload), [200, None, '"hello"'])
        for kind in ("RequestResponse", "Event"):
            status, error, body = json.loads(self.invoke("by-sdk", {"name": "theirs", "type": kind}).payload)
            self.assertEqual((status, error), (403, "AccessDeniedException"), body)
            self.assertIn("may not call theirs: deploy theirs with --caller by-sdk", body)

    def test_command(self):
        path = os.path.join(self.node.root, "hello.py")
        with open(path, "wb") as file:
            file.write(b"def handler(event, context):\n    return 1\n")
        deploy = ("deploy", path, "--name", "told")
        answer = self.node.json(*deploy, "--owner", "me", "--caller", "a", "-c", "@b.c", "--caller", "*")["function"]
        self.assertEqual((answer["owner"], answer["callers"]), ("me", ["a", "@b.c", "*"]))
        self.assertTrue(self.node.json(*deploy, "--owner", "me", "--caller", "a", "-c", "@b.c", "--caller", "*")["unchanged"])
        self.assertRegex(self.node.cli("list", "--callers").stdout, r"(?m)^told +me +a @b\.c \*$")
        self.node.cli(*deploy, "--owner", "me", "--no-callers")
        self.assertRegex(self.node.cli("list", "-c").stdout, r"(?m)^told +me +none$")
        self.node.cli(*deploy)
        self.assertRegex(self.node.cli("list", "-c").stdout, r"(?m)^told +- +@ \(default\)$")
        self.assertEqual(self.function("told"), ("", None))
        for options, word in ((("--owner", "a b"), '"owner" must be a text of at most 64'), (("--caller", ""), '"callers": each is the name'),
                              (("--caller", "a:1"), "without a version"), (("--caller", "a", "--no-callers"), "exclude each other"),
                              (("--owner", "x" * 65), "at most 64"), (("--caller", "x") * 65, "at most 64 texts")):  # fmt: skip
            done = self.node.cli(*deploy, *options, check=False)
            self.assertNotEqual(done.returncode, 0, options)
            self.assertIn(word, done.stderr)
        self.assertEqual(self.function("told"), ("", None))


def create(name, **tags):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("f.py", PYTHON)
    return {"FunctionName": name, "Runtime": "python3.11", "Handler": "f.call", "Role": "arn:aws:iam::000000000000:role/any", "Timeout": 60,
            "Code": {"ZipFile": base64.b64encode(out.getvalue()).decode()}, "Tags": {"warmcore." + key: value for key, value in tags.items()}}  # fmt: skip


class Keys(Base):
    """Through the gateway: tags say it, and a key that is limited to some names deploys functions of its own only."""

    TAG = "permkey"

    @classmethod
    def prepare(cls):
        super().prepare()
        path = os.path.join(cls.node.root, "keys", "keys.json")
        os.mkdir(os.path.dirname(path), 0o755)
        cls.tokens = {}
        for name, pattern in (("all", "*"), ("web", "web-*"), ("web.two", "web-*")):
            options = ("--kind", "bearer", "--role", "admin", "--functions", pattern, "--key-file", path)
            cls.tokens[name] = cls.node.json("keys", "create", name, *options)["token"]
        cls.gateway = gateway.Gateway(cls.node, "--code-dir", os.path.join(cls.node.root, "code"), "--key-file", path)
        cls.addClassCleanup(cls.gateway.close)
        cls.open = gateway.Gateway(cls.node, "--code-dir", os.path.join(cls.node.root, "code"), "--no-auth")
        cls.addClassCleanup(cls.open.close)

    def ask(self, key, method, path, body=None):
        gate = self.gateway if key else self.open
        headers = [("Authorization", "Bearer " + self.tokens[key])] if key else []
        answer = gate.request(method, path, json.dumps(body).encode() if body is not None else b"", headers)
        functions = {f["name"]: f["id"] for f in self.node.json("list")["functions"]}
        self.ids.update(functions)
        return answer

    def create(self, key, name, **tags):
        return self.ask(key, "POST", "/2015-03-31/functions", create(name, **tags))

    def assert_denied(self, answer, *words):
        self.assertEqual((answer.status, answer.header("x-amzn-errortype")), (403, "AccessDeniedException"), answer)
        for word in words:
            self.assertIn(word, answer.body.decode())

    def test_limited_key(self):
        """What it deploys is its own, whatever it says, and calls nothing of others that do not let it."""
        self.deploy("of-node")
        self.deploy("web-for", owner="bank", callers=["@web"])
        self.assertEqual(self.create("web", "web-a").status, 201)
        self.assertEqual(self.create("web", "web-b", owner="web", callers="web-a @audit").status, 201)
        self.assertEqual(self.create("web", "web-c", owner="").status, 201)
        self.assertEqual([self.function(name) for name in ("web-a", "web-b", "web-c")], [("web", None), ("web", ["web-a", "@audit"]), ("web", None)])
        for owner in ("other", "web.two", "WEB", "all"):
            self.assert_denied(self.create("web", "web-d", owner=owner), "of the owner web only, and not of " + owner)
        self.assertNotIn("web-d", [f["name"] for f in self.node.json("list")["functions"]])
        self.assert_may_not("web-a", "of-node")
        self.assert_may_not("web-a", "of-node", "start")
        self.assert_may("web-a", "web-for")
        self.assertEqual(self.call("web-a", "web-b", event={"name": "none"})["result"]["error"], "Node.UnknownFunction")
        self.assert_may_not("web-c", "web-b")
        tags = self.ask("web", "GET", "/2015-03-31/functions/web-b").json()["Tags"]
        self.assertEqual(tags, {"warmcore.owner": "web", "warmcore.callers": "web-a @audit"})
        shown = self.ask("web", "GET", "/system/function/web-b").json()["annotations"]
        self.assertEqual(shown, tags)

    def test_updates(self):
        """Code and settings from a limited key: of its own functions; of the node's, which become its own; of nobody else's."""
        code = {"ZipFile": create("x")["Code"]["ZipFile"]}
        self.deploy("of-node")
        for name in ("web-n", "web-m"):
            self.deploy(name, "call")
            self.assert_may(name, "of-node")
        for path, body, name in (("configuration", {"Timeout": 50}, "web-n"), ("code", code, "web-m")):
            answer = self.ask("web", "PUT", "/2015-03-31/functions/%s/%s" % (name, path), body)
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual(self.function(name), ("web", None))
            self.assert_may_not(name, "of-node")
            for other in ("web.two",):
                self.assert_denied(self.ask(other, "PUT", "/2015-03-31/functions/%s/%s" % (name, path), body), "of the owner web.two only")
            # A key for all changes what it says, and nothing else.
            self.assertEqual(self.ask("all", "PUT", "/2015-03-31/functions/%s/%s" % (name, path), body).status, 200)
            self.assertEqual(self.function(name), ("web", None))
        self.deploy("web-o", "call", owner="bank", callers=["web-n"])
        for path, body in (("configuration", {"Timeout": 50}), ("code", code), ("code", {**code, "DryRun": True})):
            self.assert_denied(self.ask("web", "PUT", "/2015-03-31/functions/web-o/" + path, body), "not of bank")
        answer = self.ask("all", "PUT", "/2015-03-31/functions/web-o/configuration", {"Timeout": 55})
        self.assertEqual((answer.status, self.function("web-o")), (200, ("bank", ["web-n"])))
        self.assertEqual(self.ask("all", "PUT", "/2015-03-31/functions/web-o/code", code).status, 200)
        self.assertEqual(self.function("web-o"), ("bank", ["web-n"]))

    def tag(self, key, method, name, query="", body=None):
        return self.ask(key, method, "/2017-03-31/tags/arn%3Aaws%3Alambda%3Alocal%3A000000000000%3Afunction%3A" + name + query, body)

    def test_tags(self):
        """Changed while its caller is warm; other tags are beside them, and are no settings."""
        self.deploy("tagger", "call", owner="bank")
        self.deploy("web-t")
        self.assert_may_not("tagger", "web-t")
        revision = self.node.json("list")["functions"]
        self.assertEqual(self.tag("all", "POST", "web-t", body={"Tags": {"team": "x", "k y": ""}}).status, 204)
        self.assertEqual([f["revision"] for f in self.node.json("list")["functions"]], [f["revision"] for f in revision])
        self.assertEqual(self.tag("all", "POST", "web-t", body={"Tags": {"warmcore.callers": "@bank", "team": "y"}}).status, 204)
        self.assert_may("tagger", "web-t")
        self.assertEqual(self.tag("web", "GET", "web-t").json(), {"Tags": {"team": "y", "k y": "", "warmcore.callers": "@bank"}})
        self.assertEqual(self.tag("all", "DELETE", "web-t", "?tagKeys=warmcore.callers&tagKeys=k%20y&tagKeys=none").status, 204)
        self.assert_may_not("tagger", "web-t")
        self.assertEqual(self.tag("all", "POST", "web-t", body={"Tags": {"warmcore.owner": "bank"}}).status, 204)
        self.assert_may("tagger", "web-t")
        self.assertEqual(self.tag("all", "GET", "web-t").json(), {"Tags": {"team": "y", "warmcore.owner": "bank"}})
        # A limited key: nobody else's, and its own stays its own.
        for body in ({"Tags": {"a": "b"}}, {"Tags": {"warmcore.owner": "web"}}):
            self.assert_denied(self.tag("web.two", "POST", "web-t", body=body), "of the owner web.two only")
        self.assert_denied(self.tag("web", "DELETE", "web-t", "?tagKeys=warmcore.owner"), "of bank")
        self.assert_denied(self.tag("web", "POST", "web-t", body={"Tags": {"warmcore.owner": "web"}}), "of bank")
        self.assertEqual(self.function("web-t"), ("bank", None))
        self.assert_denied(self.tag("web", "POST", "tagger", body={"Tags": {"a": "b"}}))
        self.deploy("web-u", owner="web")
        self.assertEqual(self.tag("web", "DELETE", "web-u", "?tagKeys=warmcore.owner").status, 204)
        self.assertEqual(self.function("web-u"), ("web", None))
        self.assert_denied(self.tag("web", "POST", "web-u", body={"Tags": {"warmcore.owner": "bank"}}), "not of bank")
        self.assertEqual(self.tag("web", "POST", "web-u", body={"Tags": {"warmcore.callers": ""}}).status, 204)
        self.assertEqual(self.function("web-u"), ("web", []))
        for method, query, body in (("POST", "", {}), ("POST", "", {"Tags": {"a": 1}}), ("POST", "", {"Tags": {}, "More": 1}), ("DELETE", "", None),
                                    ("DELETE", "?tagKeys=" + "x" * 400, None), ("DELETE", "?" + "&".join(["tagKeys=a"] * 51), None),
                                    ("POST", "", {"Tags": {"warmcore.callers": "a:1"}}), ("POST", "%3A1", {"Tags": {"a": "b"}}),
                                    ("POST", "", {"Tags": {str(i): "" for i in range(50)}})):  # fmt: skip
            answer = self.tag("all", method, "web-t", query, body)
            self.assertEqual((answer.status, answer.header("x-amzn-errortype")), (400, "InvalidParameterValueException"), (method, query, body, answer))
        self.assertEqual(self.tag("all", "GET", "none").status, 404)

    def test_without_limits(self):
        """A key for all functions, and a gateway without keys, say what they like."""
        for key in ("all", None):
            for name, tags, expected in (("any-a", {}, ("", None)), ("any-b", {"owner": "bank", "callers": ""}, ("bank", [])),
                                         ("any-c", {"owner": "web", "callers": "*"}, ("web", ["*"]))):  # fmt: skip
                self.assertEqual(self.create(key, name, **tags).status, 201, name)
                self.assertEqual(self.function(name), expected)
                self.assertEqual(self.ask(key, "DELETE", "/2015-03-31/functions/" + name).status, 204)
        for tags, word in (({"owner": "a b"}, "owner"), ({"callers": "a:1"}, "callers")):
            answer = self.create("all", "any-d", **tags)
            self.assertEqual((answer.status, answer.header("x-amzn-errortype")), (400, "InvalidParameterValueException"), answer)
            self.assertIn('\\"%s\\"' % word, answer.body.decode())


if __name__ == "__main__":
    harness.main()
