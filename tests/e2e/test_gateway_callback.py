#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Results of asynchronous invocations that are sent to URLs: what receivers get, which of them get nothing, and that each result arrives whatever is
killed, refuses, redirects or hangs. The receivers are of this test, on loopback, which the gateways here allow."""

import http.server
import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import threading
import time
import uuid

import gateway
import harness

CONFIG = "/2019-09-25/functions/%s/event-invoke-config"
WORK = b"""
def handler(event, context):
    if isinstance(event, dict) and event.get("do") == "fail":
        raise ValueError("as it should")
    return event["back"] if isinstance(event, dict) and "back" in event else "fine"
"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
VERIFY = r"""
const { Webhook } = require('standardwebhooks');
const { HTTP } = require('cloudevents');
const out = JSON.parse(require('fs').readFileSync(0)).map(({ headers, body, secret }) => {
  let verified = true;
  try { new Webhook(secret).verify(body, headers); } catch (e) { verified = e.message; }
  const event = headers['ce-id'] ? HTTP.toEvent({ headers, body }) : null;
  return { verified, event: event && { id: event.id, type: event.type, source: event.source, data: event.data, valid: event.validate() } };
});
console.log(JSON.stringify(out));
"""


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it was sent. What it answers is asked of `answer(path, count)`: a status, or a function of the handler."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, answer=lambda path, count: 200, port=0, tls=None):
        self.got, self.lock, self.answer = [], threading.Lock(), answer
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                    count = sum(path == self.path for path, _, _ in receiver.got)
                answer = receiver.answer(self.path, count)
                if callable(answer):
                    answer(self)
                    return
                self.send_response(answer)
                if answer == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", port), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.port = self.server_address[1]
        self.url = "%s://127.0.0.1:%d" % ("https" if tls else "http", self.port)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # clients that are killed

    def of(self, path):
        with self.lock:
            return [(headers, body) for at, headers, body in self.got if at == path]

    def close(self):
        self.shutdown()
        self.server_close()


class GatewayCallback(harness.NodeTest):
    TAG = "gwb"

    @classmethod
    def prepare(cls):
        cls.node.deploy("work", "python", "work.handler", {"work.py": WORK})

    def open(self, *options, allow=("--callback-allow", "127.0.0.1")):
        self.folder = os.path.join(self.node.root, self.id().rpartition(".")[2])
        one = gateway.Gateway(self.node, "--async-dir", self.folder, *allow, *options)
        self.addCleanup(one.close)
        return one

    def receiver(self, *arguments, **options):
        receiver = Receiver(*arguments, **options)
        self.addCleanup(receiver.close)
        return receiver

    def call(self, one, event, callback, headers=()):
        """With X-Callback-Url; its call id."""
        answer = one.request("POST", "/async-function/work", json.dumps(event).encode(), [("X-Callback-Url", callback), *headers])
        self.assertEqual(answer.status, 202, answer)
        return answer.header("X-Call-Id")

    def status(self, one):
        return one.request("GET", "/system/async").json()

    def configure(self, one, **destinations):
        config = {"MaximumRetryAttempts": 0, "DestinationConfig": {name: {"Destination": url} for name, url in destinations.items()}}
        answer = one.request("PUT", CONFIG % "work", json.dumps(config).encode())
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    # --- what is sent ---

    def test_destinations(self):
        """Lambda's record, as a CloudEvent, signed: read by the unmodified packages of npm."""
        secrets = os.path.join(self.node.root, "secrets")
        with open(secrets, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(SECRET + "\n" + OTHER + "\n")
        receiver = self.receiver()
        one = self.open("--callback-secret-file", secrets)
        urls = {"OnSuccess": receiver.url + "/good?a=b", "OnFailure": receiver.url + "/bad"}
        self.assertEqual(self.configure(one, **urls)["DestinationConfig"], {name: {"Destination": url} for name, url in urls.items()})
        ids = []
        for event in ({"n": 1}, {"do": "fail"}):
            answer = one.request("POST", "/2015-03-31/functions/work/invocations", json.dumps(event).encode(),
                                 [("X-Amz-Invocation-Type", "Event"), ("traceparent", TRACE), ("tracestate", "a=1,b=2")])  # fmt: skip
            self.assertEqual(answer.status, 202, answer)
            ids.append(answer.header("x-amzn-RequestId"))
        harness.wait_until(lambda: len(receiver.got) == 2, "both have come")
        harness.wait_until(lambda: self.status(one)["delivered"] == 2, "and it is known")
        ((good, good_body),), ((bad, bad_body),) = receiver.of("/good?a=b"), receiver.of("/bad")
        record = json.loads(good_body)
        self.assertEqual((record["requestPayload"], record["responsePayload"], record["requestContext"]["condition"]), ({"n": 1}, "fine", "Success"))
        self.assertEqual(json.loads(bad_body)["responsePayload"]["errorMessage"], "as it should")
        self.assertEqual([headers["x-call-id"] for headers in (good, bad)], ids)
        self.assertEqual((good["traceparent"], good["tracestate"], good["x-function-name"]), (TRACE, "a=1,b=2", "work"))
        self.assertNotIn("authorization", good)
        kit = gateway.kit("webhooks")
        if not kit or not harness.NODE_JS:
            self.skipTest("no packages of npm, or no node")
        asked = [{"headers": headers, "body": body, "secret": secret} for headers, body, secret in
                 ((good, good_body.decode(), SECRET), (good, good_body.decode(), OTHER), (bad, bad_body.decode(), SECRET),
                  (good, good_body.decode() + " ", SECRET), (good, good_body.decode(), "whsec_" + "B" * 32))]  # fmt: skip
        done = subprocess.run([harness.NODE_JS, "-e", VERIFY], input=json.dumps(asked), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              cwd=kit, text=True, timeout=300)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        got = json.loads(done.stdout)
        self.assertEqual([entry["verified"] for entry in got], [True, True, True, "No matching signature found", "No matching signature found"])
        self.assertEqual(got[0]["event"], {"id": good["webhook-id"], "type": "warmcore.invocation.succeeded", "data": record, "valid": True,
                                           "source": "arn:aws:lambda:local:000000000000:function:work"})  # fmt: skip
        self.assertEqual(got[2]["event"]["type"], "warmcore.invocation.failed")
        self.assertEqual(one.stop(), 0)

    def test_callback_url(self):
        """X-Callback-Url of OpenFaaS: the result, whatever it is, in the form of the answer to /function/NAME."""
        receiver = self.receiver()
        one = self.open()
        cases = {"/text": ({"back": "t\u00e4xt"}, "200", "text/plain; charset=utf-8", "t\u00e4xt".encode()),
                 "/json": ({"back": {"a": [1]}}, "200", "application/json", b'{"a":[1]}')}  # fmt: skip
        ids = {path: self.call(one, case[0], receiver.url + path) for path, case in cases.items()}
        self.assertEqual(one.request("PUT", CONFIG % "work", b'{"MaximumRetryAttempts": 0}').status, 200)
        ids["/bad"] = self.call(one, {"do": "fail"}, receiver.url + "/bad")
        harness.wait_until(lambda: len(receiver.got) == 3, "all have come")
        for path, (_, status, kind, body) in cases.items():
            ((headers, got),) = receiver.of(path)
            self.assertEqual((headers["x-function-status"], headers["content-type"], got, headers["x-call-id"]), (status, kind, body, ids[path]))
            uuid.UUID(headers["webhook-id"])
            self.assertNotIn("webhook-signature", headers)
        ((headers, got),) = receiver.of("/bad")
        self.assertEqual((headers["x-function-status"], headers["x-call-id"], json.loads(got)["errorMessage"]), ("500", ids["/bad"], "as it should"))
        self.assertEqual(one.stop(), 0)

    # --- who gets nothing ---

    def test_refused(self):
        """By default nothing inside: not by address, not by a name, not by another spelling of an address, and not by a redirect."""
        receiver = self.receiver()
        one = self.open(allow=())
        for url in (receiver.url, "http://localhost:%d/" % receiver.port, "http://[::1]/", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/",
                    "http://198.18.0.1/", "http://0.0.0.0/", "ftp://example.com/", "work", "http://u:p@example.com/", "http://example.com/#f",
                    "http://example.com/" + "x" * 1024, "http://", "http://exa mple.com/"):  # fmt: skip
            answer = one.request("POST", "/async-function/work", b"{}", [("X-Callback-Url", url)])
            self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (400, "InvalidParameterValueException"), (url, answer))
            if url != "work":
                config = {"DestinationConfig": {"OnFailure": {"Destination": url}}}
                self.assertEqual(one.request("PUT", CONFIG % "work", json.dumps(config).encode()).status, 400, url)
        self.assertEqual(one.request("GET", CONFIG % "work").status, 404)
        # What a name leads to is known when it is connected to. Then it is given up at once, and listed.
        spellings = ["2130706433", "0x7f.1", "0177.0.0.1"]
        for host in spellings:
            self.call(one, {}, "http://%s:%d/" % (host, receiver.port))
        harness.wait_until(lambda: self.status(one)["deliveries_dead"] == len(spellings), "all were given up")
        for entry in one.request("GET", "/system/async/deliveries").json()["entries"]:
            self.assertIn("--callback-allow", entry["error"])
            self.assertEqual((entry["kind"], entry["attempts"]), ("callback", 1))
        self.assertEqual(one.stop(), 0)
        self.assertEqual(receiver.got, [])
        # The operator allows it: what was given up can be sent after all.
        one = self.open()
        self.assertEqual(one.request("POST", "/system/async/deliveries/redrive?all=true").json(), {"count": len(spellings)})
        harness.wait_until(lambda: len(receiver.got) == len(spellings), "all have come")
        self.assertEqual(one.stop(), 0)
        one = self.open(allow=("--callback-allow", "none"))
        answer = one.request("POST", "/async-function/work", b"{}", [("X-Callback-Url", "https://example.com/")])
        self.assertEqual((answer.status, answer.header("x-amzn-ErrorType")), (501, "NotImplementedException"))
        self.assertEqual(one.stop(), 0)

    def test_redirect_and_retry(self):
        """A redirect is no delivery and not followed; an error is tried again under the same id; 410 is for ever, until it is redriven."""
        gone = [True]
        answers = {"/redirect": lambda count: 302 if count < 3 else 200, "/busy": lambda count: (503, 404, 200)[min(count, 3) - 1],
                   "/gone": lambda count: 410 if gone[0] else 204}  # fmt: skip
        receiver = self.receiver(lambda path, count: answers[path](count))
        one = self.open()
        for path in answers:
            self.call(one, {}, receiver.url + path)
        harness.wait_until(lambda: self.status(one)["delivered"] == 2 and self.status(one)["deliveries_dead"] == 1, "two were delivered")
        for path, count in (("/redirect", 3), ("/busy", 3), ("/gone", 1)):
            self.assertEqual(len(receiver.of(path)), count)
            self.assertEqual(len({headers["webhook-id"] for headers, _ in receiver.of(path)}), 1)
        self.assertEqual(receiver.of("/elsewhere"), [])
        (entry,) = one.request("GET", "/system/async/deliveries").json()["entries"]
        self.assertIn("410", entry["error"])
        gone[0] = False
        self.assertEqual(one.request("POST", "/system/async/deliveries/redrive?function=work").json(), {"count": 1})
        harness.wait_until(lambda: self.status(one)["delivered"] == 3, "it was delivered")
        self.assertEqual(one.stop(), 0)

    def test_answers(self):
        """What comes behind the status does not matter, however long it is; what is no answer is no delivery."""

        def endless(handler):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                while True:
                    handler.wfile.write(b"8000\r\n" + b"x" * 32768 + b"\r\n")
            except OSError:
                handler.close_connection = True

        def nonsense(handler):
            handler.wfile.write(b"nonsense\r\n\r\n")
            handler.close_connection = True

        receiver = self.receiver(lambda path, count: endless if path == "/endless" else nonsense if count < 2 else 200)
        one = self.open()
        self.call(one, {}, receiver.url + "/endless")
        self.call(one, {}, receiver.url + "/nonsense")
        harness.wait_until(lambda: self.status(one)["delivered"] == 2, "both were delivered")
        self.assertEqual((len(receiver.of("/endless")), len(receiver.of("/nonsense"))), (1, 2))
        self.assertEqual(one.stop(), 0)

    def test_tls(self):
        """A certificate is verified, and against the authorities that were named only."""
        if not shutil.which("openssl"):
            self.skipTest("no openssl")
        cert, key = (os.path.join(self.node.root, name) for name in ("callback.pem", "callback.key"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)  # fmt: skip
        receiver = self.receiver(tls=(cert, key))
        one = self.open()
        self.call(one, {}, receiver.url + "/tls")
        harness.wait_until(lambda: self.status(one)["delivery_failed"], "it was refused")
        self.assertEqual((receiver.got, self.status(one)["delivered"]), ([], 0))
        self.assertEqual(one.stop(), 0)
        one = self.open("--callback-ca", cert)
        harness.wait_until(lambda: len(receiver.of("/tls")) == 1, "it came")
        self.call(one, {}, "https://localhost:%d/name" % receiver.port)  # a name that the certificate has not
        harness.wait_until(lambda: self.status(one)["delivery_failed"], "it was refused")
        self.assertEqual(receiver.of("/name"), [])
        one.stop()

    # --- whatever happens ---

    def test_slow(self):
        """Receivers that never answer hold up neither invocations nor other receivers."""
        go = threading.Event()
        self.addCleanup(go.set)

        def hang(handler):
            go.wait()
            handler.close_connection = True

        slow, quick = self.receiver(lambda path, count: hang), self.receiver()
        one = self.open("--callback-timeout-ms", "60000")
        for n in range(40):
            self.call(one, {"n": n}, slow.url + "/slow")
        harness.wait_until(lambda: len(slow.got) == 8, "as many as one receiver gets at a time")
        answer = one.request("POST", "/function/work", b"{}")
        self.assertEqual((answer.status, answer.body), (200, b"fine"))
        for n in range(20):
            self.call(one, {"n": n}, quick.url + "/quick")
        harness.wait_until(lambda: len(quick.got) == 20, "the quick one has all")
        self.assertEqual(len(slow.got), 8)
        one.stop(signal.SIGKILL)
        go.set()

    def test_kill9(self):
        """Each result arrives, at least once, whatever is killed: the receiver is away half of the time, the gateway is killed again and again."""
        generator = random.Random(int(os.environ.get("CALLBACK_SEED", "1")))
        receiver = self.receiver(lambda path, count: 200 if generator.random() < 0.7 else 500)
        one, ids = self.open(), {}
        for round_number in range(int(os.environ.get("CALLBACK_KILLS", "4"))):
            for n in range(50):
                path = "/%d-%d" % (round_number, n)
                ids[path] = self.call(one, {"back": path}, receiver.url + path)
            time.sleep(generator.random() * 0.3)
            one.stop(signal.SIGKILL)
            one.start()
        harness.wait_until(lambda: {path for path, _, _ in receiver.got} >= set(ids), "all have come")
        harness.wait_until(lambda: not any(self.status(one)[name] for name in ("waiting", "running", "deliveries_waiting", "deliveries_running")), "it is done")
        self.assertEqual(self.status(one)["deliveries_dead"], 0)
        for path, identity in ids.items():
            self.assertEqual({(headers["x-call-id"], body) for headers, body in receiver.of(path)}, {(identity, path.encode())})
        self.assertEqual(one.stop(), 0)

    def test_options(self):
        bad, open_file = os.path.join(self.node.root, "bad"), os.path.join(self.node.root, "open")
        with open(bad, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write("not a secret\n")
        with open(open_file, "w") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(SECRET)
        for options, word in ((("--callback-allow", "10.0.0.1/8"), "none of public"), (("--callback-allow", "none", "--callback-allow", "public"), "stands alone"),
                              (("--callback-secret-file", bad), "whsec_"), (("--callback-secret-file", open_file), "mode 0600"),
                              (("--callback-secret-file", "/nothing"), "cannot open"), (("--callback-ca", bad), "PEM"),
                              (("--callback-timeout-ms", "1"), "10")):  # fmt: skip
            done = self.node.cli("gateway", "--listen", "127.0.0.1:0", "--no-manage", "--async-dir", self.node.root + "/options", *options, check=False)
            self.assertNotEqual(done.returncode, 0, options)
            self.assertIn(word, done.stderr, options)
            self.assertNotIn("MfKQ9", done.stderr)


if __name__ == "__main__":
    harness.main()
