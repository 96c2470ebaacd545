#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Who may use the HTTP gateway: keys of `warmcore keys`, with the unmodified SDK that signs and with curl that brings tokens, in front of a
real node. What a signature is, in every detail, is test_sigv4's."""

import concurrent.futures
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import threading
import time
import unittest

import gateway
import harness

INVOKE = "/2015-03-31/functions/%s/invocations"
WEB = b"def handler(event, context):\n    return event\n"

SDK = r"""
const { LambdaClient, InvokeCommand } = require('@aws-sdk/client-lambda');
const now = Date.now;
(async () => {
  const out = [];
  for (const ask of JSON.parse(require('fs').readFileSync(0))) {
    Date.now = () => now() + (ask.offset || 0);  // what the clock of this machine says
    const client = new LambdaClient({ endpoint: ask.url, region: 'local', maxAttempts: ask.attempts || 1,
                                      credentials: { accessKeyId: ask.id, secretAccessKey: ask.secret } });
    try {
      const got = await client.send(new InvokeCommand({ FunctionName: ask.name || 'echo', Payload: JSON.stringify(ask.payload || 1) }));
      out.push(got.StatusCode + ' ' + Buffer.from(got.Payload).toString());
    } catch (e) {
      out.push(((e.$metadata || {}).httpStatusCode || 0) + ' ' + e.name);
    }
  }
  console.log(JSON.stringify(out));
})();
"""


class Keys:
    """A file of keys, changed with `warmcore keys`."""

    def __init__(self, node, name, *options):
        self.node, self.path, self.options = node, os.path.join(node.root, name, "keys.json"), options
        os.mkdir(os.path.dirname(self.path), 0o755)

    def run(self, *arguments):
        return self.node.cli("keys", *arguments, "--key-file", self.path, *self.options)

    def create(self, name, *options):
        """(id, secret), or (id, token)."""
        return self._shown("create", name, *options)

    def rotate(self, name, *options):
        return self._shown("rotate", name, *options)

    def _shown(self, *arguments):
        done = self.node.cli("--json", "keys", *arguments, "--key-file", self.path, *self.options)
        answer = json.loads(done.stdout)
        key = answer.get("key", answer)
        return key["id"], answer.get("secret") or answer.get("token") or key.get("secret") or key.get("token")


class ChangingProxy:
    """Passes one request on with one byte of its body changed, and the answer back."""

    def __init__(self, address, old, new):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.socket.getsockname()[1]
        self.address, self.old, self.new, self.changed = address, old, new, 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            with client, socket.create_connection(self.address) as server:
                data = b""
                while self.old not in data:
                    more = client.recv(65536)
                    if not more:
                        break
                    data += more
                self.changed += self.old in data
                server.sendall(data.replace(self.old, self.new))
                server.settimeout(harness.PATIENCE_S)
                client.sendall(server.recv(65536))

    def close(self):
        self.socket.close()


class GatewayAuth(harness.NodeTest):
    TAG = "gwa"

    @classmethod
    def prepare(cls):
        cls.node.deploy("echo", "python", "web.handler", {"web.py": WEB})
        cls.node.deploy("web-a", "python", "web.handler", {"web.py": WEB})
        cls.keys = Keys(cls.node, "keys")
        cls.id, cls.secret = cls.keys.create("all", "--role", "admin")
        cls.token = cls.keys.create("token", "--kind", "bearer")[1]
        cls.unix = os.path.join(cls.node.root, "auth.sock")
        cls.gateway = gateway.Gateway(cls.node, "--key-file", cls.keys.path, "--unix", cls.unix,
                                      listen=("--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"))  # fmt: skip
        cls.addClassCleanup(cls.gateway.close)
        cls.everywhere = None

    def sdk(self, *asks):
        kit = gateway.kit()
        if not kit or not harness.NODE_JS:
            self.skipTest("no SDK, or no node")
        asks = [{"url": self.gateway.url, "id": self.id, "secret": self.secret, **ask} for ask in asks]
        done = subprocess.run([harness.NODE_JS, "-e", SDK], input=json.dumps(asks), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, cwd=kit, timeout=300)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def bearer(self, token, target="/function/echo", body=b"1", method="POST", to=None):
        return (to or self.gateway).request(method, target, body, [("Authorization", "Bearer " + token)] if token else [])

    def passes(self, token, **options):
        return self.bearer(token, **options).status == 200

    def assert_denied(self, response, status, error_type, word=""):
        self.assertEqual((response.status, response.header("x-amzn-ErrorType")), (status, error_type), response)
        self.assertEqual(response.json()["Type"], "User")
        self.assertIn(word, response.json()["message"])
        self.assertIsNotNone(response.header("Date"))
        self.assertEqual(response.header("WWW-Authenticate") is not None, status == 401, response)

    # --- the SDK ---

    def test_sdk(self):
        other = Keys(self.node, "other").create("stranger")
        wrong = self.secret[:-1] + ("a" if self.secret[-1] != "a" else "b")
        got = self.sdk({"payload": {"a": "é"}}, {"secret": wrong}, {"id": other[0], "secret": other[1]}, {"name": "nobody"},
                       {"id": self.token.split(".")[0], "secret": self.token.split(".")[1]})  # fmt: skip
        self.assertEqual(json.loads(got[0].split(" ", 1)[1]), {"a": "é"})
        self.assertEqual(got[1:], ["403 InvalidSignatureException", "403 UnrecognizedClientException", "404 ResourceNotFoundException",
                                   "403 UnrecognizedClientException"])  # fmt: skip

    def test_sdk_large_and_odd(self):
        """Bodies that come in many reads; a path with escapes."""
        got = self.sdk({"payload": "x" * 61000}, {"name": "arn:aws:lambda:local:000000000000:function:echo"}, {"name": "echo:$LATEST"},
                       {"payload": "x" * 6291455}, {"secret": "x", "payload": "x" * 6291455})  # fmt: skip
        self.assertEqual([answer.split(" ")[0] for answer in got], ["200", "200", "200", "413", "403"])

    def test_clock(self):
        """An hour off is refused; when the SDK may try again it sets its clock by our Date, and is let in."""
        hour = 3600 * 1000
        got = self.sdk({"offset": hour}, {"offset": -hour}, {"offset": hour, "attempts": 3}, {"offset": -hour, "attempts": 3},
                       {"offset": 60000})  # fmt: skip
        self.assertEqual(got, ["403 InvalidSignatureException"] * 2 + ["200 1"] * 3)

    def test_changed_on_the_way(self):
        proxy = ChangingProxy(self.gateway.address, b'"amount":100', b'"amount":900')
        self.addCleanup(proxy.close)
        honest = ChangingProxy(self.gateway.address, b'"amount":100', b'"amount":100')
        self.addCleanup(honest.close)
        got = self.sdk({"url": proxy.url, "payload": {"amount": 100}}, {"url": honest.url, "payload": {"amount": 100}})
        self.assertEqual(got[0], "403 InvalidSignatureException")
        self.assertTrue(got[1].startswith("200 "), got)
        self.assertEqual((proxy.changed, honest.changed), (1, 1))

    def test_disabled_and_rotated(self):
        key_id, secret = self.keys.create("changing")
        ask = {"id": key_id, "secret": secret}
        harness.wait_until(lambda: self.sdk(ask)[0] == "200 1", "the new key is in use")
        self.keys.run("disable", "changing")
        harness.wait_until(lambda: self.sdk(ask)[0] == "403 UnrecognizedClientException", "it is disabled")
        self.keys.run("enable", "changing")
        harness.wait_until(lambda: self.sdk(ask)[0] == "200 1", "it is enabled")
        fresh = {"id": key_id, "secret": self.keys.rotate("changing")[1]}
        harness.wait_until(lambda: self.sdk(fresh)[0] == "200 1", "the new secret is in use")
        self.assertEqual(self.sdk(ask), ["200 1"])  # for 24 hours
        last = {"id": key_id, "secret": self.keys.rotate("changing", "--overlap-hours", "0")[1]}
        harness.wait_until(lambda: self.sdk(last)[0] == "200 1", "the last secret is in use")
        self.assertEqual(self.sdk(ask, fresh), ["403 InvalidSignatureException"] * 2)

    # --- tokens, and what needs none ---

    def test_bearer(self):
        self.assertEqual(self.bearer(self.token).body, b"1")
        for target in ("/function/echo", "/url/echo/x", "/async-function/echo", "/system/functions", "/nothing", "/function/nobody"):
            for token in (None, self.token[:-1] + ("a" if self.token[-1] != "a" else "b"), "WCBT" + "A" * 16 + "." + "a" * 40, "x"):
                answer = self.bearer(token, target)
                self.assert_denied(answer, 401, "UnrecognizedClientException" if token else "MissingAuthenticationTokenException")
                self.assertTrue(answer.header("WWW-Authenticate").startswith("Bearer "))
        self.assert_denied(self.bearer(None, INVOKE % "echo"), 403, "MissingAuthenticationTokenException")
        self.assert_denied(self.gateway.request("POST", "/function/echo", b"1", [("Authorization", "Basic x")]), 401,
                           "MissingAuthenticationTokenException")  # fmt: skip
        twice = [("Authorization", "Bearer " + self.token)] * 2
        self.assertEqual(self.gateway.request("POST", "/function/echo", b"1", twice).status, 403)

    def test_curl(self):
        if not shutil.which("curl"):
            self.skipTest("no curl")

        def curl(*arguments):
            done = subprocess.run(["curl", "-sS", "--max-time", "60", "-w", "\n%{http_code}", *arguments], stdout=subprocess.PIPE)
            return done.stdout.decode().rpartition("\n")[::2]

        target = self.gateway.url + "/function/echo"
        self.assertEqual(curl("-H", "Authorization: Bearer " + self.token, "-d", "5", target), ("5", "200"))
        self.assertEqual(curl("-d", "5", target)[1], "401")
        signed = ("--aws-sigv4", "aws:amz:local:lambda", "--user", self.id + ":" + self.secret)
        self.assertEqual(curl(*signed, "-d", "6", target), ("6", "200"))
        self.assertEqual(curl("--aws-sigv4", "aws:amz:local:s3", "--user", self.id + ":" + self.secret, "-d", "6", target)[1], "403")

    def test_in_clear(self):
        """A token over an address that is not the loopback's, without TLS: refused, however it was reached."""
        ports = re.findall(r"0\.0\.0\.0:(\d+)", self.gateway.said)
        while not ports:
            self.gateway.said += self.gateway.process.stderr.readline().decode()
            ports = re.findall(r"0\.0\.0\.0:(\d+)", self.gateway.said)
        with gateway.Connection(("127.0.0.1", int(ports[0]))) as connection:
            answer = connection.request("POST", "/function/echo", b"1", [("Authorization", "Bearer " + self.token)])
            self.assert_denied(answer, 403, "AccessDeniedException", "rotate")
        self.assertEqual(self.sdk({"url": "http://127.0.0.1:" + ports[0]}), ["200 1"])

    def test_tls(self):
        """The same address with TLS: nobody else reads the token."""
        if not shutil.which("curl") or not shutil.which("openssl"):
            self.skipTest("no curl or no openssl")
        cert, key = os.path.join(self.node.root, "cert.pem"), os.path.join(self.node.root, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)  # fmt: skip
        tls = gateway.Gateway(self.node, "--key-file", self.keys.path, "--tls-cert", cert, "--tls-key", key,
                              listen=("--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"))  # fmt: skip
        self.addCleanup(tls.close)
        tls.said += tls.process.stderr.readline().decode()
        for port in re.findall(r"https://[0-9.]+:(\d+)", tls.said):
            for token, body in ((self.token, b"9"), (self.token + "x", None)):
                done = subprocess.run(["curl", "-sS", "--max-time", "60", "--cacert", cert, "-d", "9", "-H", "Authorization: Bearer " + token,
                                       "https://127.0.0.1:%s/function/echo" % port], stdout=subprocess.PIPE)  # fmt: skip
                self.assertEqual(done.stdout == b"9", body == b"9", done.stdout)

    def test_open(self):
        self.assertEqual(self.gateway.request("GET", "/healthz").body, b"OK")
        with gateway.Connection(self.unix) as connection:
            self.assertEqual(connection.request("POST", "/function/echo", b"7").body, b"7")
            self.assertEqual(connection.request("GET", "/system/functions").status, 200)
        nobody = gateway.Gateway(self.node, "--no-auth")
        self.addCleanup(nobody.close)
        self.assertEqual(nobody.request("POST", "/function/echo", b"8").body, b"8")

    def test_function_sees_no_secret(self):
        answer = self.bearer(self.token, "/url/echo/path", b"")
        self.assertEqual(answer.status, 200)
        self.assertIn("headers", answer.json())
        self.assertNotIn("authorization", answer.json()["headers"])
        self.assertNotIn(self.token.split(".")[1], answer.body.decode())
        with gateway.Connection(self.unix) as connection:  # nobody asked for it here: it is the function's
            answer = connection.request("GET", "/url/echo/path", headers=[("Authorization", "Basic eDp5")])
            self.assertEqual(answer.json()["headers"]["authorization"], "Basic eDp5")

    # --- what a key is for ---

    def test_scope(self):
        web = self.keys.create("web", "--kind", "bearer", "--functions", "web-*", "--functions", "we?")[1]
        admin = self.keys.create("web-admin", "--kind", "bearer", "--role", "admin", "--functions", "web-*")[1]
        root = self.keys.create("root", "--kind", "bearer", "--role", "admin")[1]
        signed = dict(zip(("id", "secret"), self.keys.create("web-signed", "--functions", "web-a")))
        harness.wait_until(lambda: self.passes(root, target="/system/functions", body=b"", method="GET"), "the keys are in use")
        harness.wait_until(lambda: self.sdk({**signed, "name": "web-a"})[0] == "200 1", "the last one, too")
        self.assertEqual(self.sdk({**signed, "name": "echo"}, {**signed, "name": "web-b"}), ["403 AccessDeniedException"] * 2)
        for target, status in (("/function/web-a", 200), ("/url/web-a/x", 200), (INVOKE % "web-a", 200), ("/function/web-b", 404),
                               ("/function/echo", 403), ("/url/echo", 403), ("/async-function/echo", 403),
                               (INVOKE % "x%3Afunction%3Aecho", 403), (INVOKE % "echo%3A$LATEST", 403)):  # fmt: skip
            self.assertEqual(self.bearer(web, target).status, status, target)
            self.assertEqual(self.bearer(admin, target).status, status, target)
        with self.gateway.connect() as connection:  # a function by its Host
            connection.send(b"GET / HTTP/1.1\r\nHost: echo.lambda-url.local\r\nAuthorization: Bearer %s\r\n\r\n" % web.encode())
            self.assert_denied(connection.receive(), 403, "AccessDeniedException", "echo")
        for target in ("/system/functions", "/system/info"):
            for token, status in ((web, 403), (admin, 403), (self.token, 403), (root, 200)):
                self.assertEqual(self.bearer(token, target, b"", "GET").status, status, target)
        for target, statuses in (("/system/async", (403, 403, 501)), ("/system/async/dead", (403, 403, 501)),
                                 ("/system/async/dead?function=web-a", (403, 501, 501)), ("/system/async/dead?function=echo", (403, 403, 501)),
                                 ("/system/async/show?id=x", (403, 403, 501)),
                                 ("/system/async/dead?function=web-a&function=echo", (400, 400, 400))):  # fmt: skip
            got = tuple(self.bearer(token, target, b"", "GET").status for token in (web, admin, root))
            self.assertEqual(got, statuses, target)
        # A destination is invoked, too: whoever sets it may do that, or he would have a way around his patterns.
        stored = gateway.Gateway(self.node, "--key-file", self.keys.path, "--async-dir", os.path.join(self.node.root, "scope"))
        self.addCleanup(stored.close)
        for token, name, to, status in ((web, "web-a", "web-a", 403), (admin, "web-a", "web-a", 200), (admin, "web-a", "echo", 403),
                                        (admin, "echo", "web-a", 403), (root, "echo", "web-a", 200)):  # fmt: skip
            body = json.dumps({"DestinationConfig": {"OnSuccess": {"Destination": to}}}).encode()
            answer = self.bearer(token, "/2019-09-25/functions/%s/event-invoke-config" % name, body, "PUT", stored)
            self.assertEqual(answer.status, status, (name, to, answer))
        self.assertEqual(stored.stop(), 0)
        self.assert_denied(self.bearer(web), 403, "AccessDeniedException", "lambda:InvokeFunction on resource: echo")

    # --- the file ---

    def test_reload(self):
        """Keys come and go under load: no request is refused that should not be, none is dropped."""
        stop = threading.Event()

        def load():
            count = 0
            with self.gateway.connect() as connection:
                while not stop.is_set():
                    answer = connection.request("POST", "/function/echo", b"1", [("Authorization", "Bearer " + self.token)])
                    self.assertEqual(answer.status, 200, answer)
                    count += 1
            return count

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            loads = [pool.submit(load) for _ in range(2)]
            try:
                for number in range(3):
                    token = self.keys.create("brief-%d" % number, "--kind", "bearer")[1]
                    self.gateway.process.send_signal(1)  # SIGHUP
                    harness.wait_until(lambda token=token: self.passes(token), "the new key is in use")
                    self.keys.run("remove", "brief-%d" % number)
                    harness.wait_until(lambda token=token: not self.passes(token), "it is gone")
            finally:
                stop.set()
            for one in loads:
                self.assertGreater(one.result(), 0)

    def test_bad_file(self):
        keys = Keys(self.node, "bad")
        token = keys.create("one", "--kind", "bearer")[1]
        one = gateway.Gateway(self.node, "--key-file", keys.path)
        self.addCleanup(one.close)
        self.assertTrue(self.passes(token, to=one))
        with open(keys.path) as file:
            good = file.read()
        for content, mode in (("{ not json " + token, 0o600), (good, 0o644), (None, 0)):
            if content is None:
                os.unlink(keys.path)
            else:
                with open(keys.path, "w") as file:
                    file.write(content)
                os.chmod(keys.path, mode)
            line = one.process.stderr.readline().decode()  # it is said
            self.assertIn("the keys from before go on", line)
            self.assertNotIn(token.split(".")[1], line)
            self.assertTrue(self.passes(token, to=one))
        second = keys.create("two", "--kind", "bearer")[1]  # a new file, without the first
        harness.wait_until(lambda: self.passes(second, to=one), "a good file is taken again")
        self.assertFalse(self.passes(token, to=one))

    def test_owner(self):
        """Root's file is opened by the broker, also in a folder that others may not enter; the gateway user's by the gateway itself."""
        for name, options, mode in (("roots", (), 0o755), ("closed", (), 0o700), ("own", ("--owner", "nobody"), 0o755)):
            keys = Keys(self.node, name, *options)
            first = keys.create("first", "--kind", "bearer")[1]
            os.chmod(os.path.dirname(keys.path), mode)
            self.assertEqual(os.stat(keys.path).st_uid, pwd.getpwnam("nobody").pw_uid if options else 0)
            one = gateway.Gateway(self.node, "--key-file", keys.path)
            self.assertTrue(self.passes(first, to=one), name)
            second = keys.create("second", "--kind", "bearer")[1]
            harness.wait_until(lambda one=one, second=second: self.passes(second, to=one), "%s: a change is seen" % name)
            one.stop()

    def test_refused_starts(self):
        keys = Keys(self.node, "refused")
        keys.create("one")
        for mode, options, word in ((0o644, ("--key-file", keys.path), "may be read by others"),
                                    (0o600, ("--key-file", keys.path, "--no-auth"), "one of the two"),
                                    (0o600, ("--key-file", keys.path + "x"), "there are no keys"),
                                    (0o600, ("--key-file", "/no/such/folder/keys"), "cannot open the folder"),
                                    (0o600, ("--presign-max-s", "604801"), "out of range")):  # fmt: skip
            os.chmod(keys.path, mode)
            done = self.node.cli("gateway", "--no-async", "--listen", "127.0.0.1:0", *options, check=False)
            self.assertNotEqual(done.returncode, 0, options)
            self.assertIn(word, done.stderr, options)

    def test_not_dumpable(self):
        """Nobody but root reads its memory, not even processes of the same user."""
        for pid in (self.gateway.process.pid, self.gateway.broker):
            self.assertEqual(os.stat("/proc/%d/mem" % pid).st_uid, 0)

    def test_no_secret_in_logs(self):
        keys = Keys(self.node, "quiet")
        key_id, secret = keys.create("sdk")
        token = keys.create("curl", "--kind", "bearer")[1]
        one = gateway.Gateway(self.node, "--key-file", keys.path)
        self.addCleanup(one.close)
        self.passes(token, to=one)
        self.passes(token + "x", to=one)
        self.sdk({"url": one.url, "id": key_id, "secret": secret}, {"url": one.url, "id": key_id, "secret": secret + "x"})
        fresh = keys.rotate("curl")[1]
        harness.wait_until(lambda: self.passes(fresh, to=one), "the new secret is in use")
        one.process.terminate()
        said = one.said + one.process.stderr.read().decode()
        self.assertIn("have changed and are in use", said)
        for hidden in (secret, token.split(".")[1], fresh.split(".")[1]):
            self.assertNotIn(hidden, said)


if __name__ == "__main__":
    harness.main()
