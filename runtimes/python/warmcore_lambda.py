# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Lambda's Invoke on 127.0.0.1, for a function that has AWS's SDK and AWS_ENDPOINT_URL_LAMBDA=warmcore: its calls go to functions of this node.

docs/CALLS.md, "With AWS's SDK". One thread listens, each connection has one more. Whoever of them is first begins what all of them want and waits for the
node, so that what is called at the same time runs at the same time. Signatures are not looked at: who knows the token in the path is the function.
"""

import base64
import errno
import hmac
import json
import os
import re
import secrets
import sys
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import warmcore

PAYLOAD_MAX = 6291456  # WC_CHANNEL_LARGE
CONTEXT_MAX = 3583  # of base64, as Lambda has it
CONNECTIONS_MAX = 128
EVENTS_MAX = 256  # that nobody waits for, at a time: after that, the next one waits for one of them
PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
NAME = re.compile(r"(?:.*:function:)?([A-Za-z0-9_-]{1,63})(?::(\$LATEST|[A-Za-z0-9_-]{1,128}))?", re.ASCII)
QUALIFIER = re.compile(r"\$LATEST|[A-Za-z0-9_-]{1,128}", re.ASCII)
# What a SDK needs to sign at all, and does not look for elsewhere.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "warmcore", "AWS_SECRET_ACCESS_KEY": "warmcore"}
OTHER_CREDENTIALS = ("AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
                     "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip
# What the node says of a call that it does not begin.
REFUSED = {
    "Node.UnknownFunction": (404, "ResourceNotFoundException", None),
    "Node.AccessDenied": (403, "AccessDeniedException", None),
    "Node.CallDepth": (400, "RecursiveInvocationException", None),
    "Node.TooManyCalls": (429, "TooManyRequestsException", "ConcurrentInvocationLimitExceeded"),
    "Node.TooManyRequests": (429, "TooManyRequestsException", "ReservedFunctionConcurrentInvocationLimitExceeded"),
}


class Refusal(Exception):
    """An error of the API: not of the function that was called."""

    def __init__(self, status, name, message, reason=None):
        super().__init__(message)
        self.status, self.name, self.reason = status, name, reason

    def body(self):
        kind = "Message" if self.name in ("ResourceNotFoundException", "ServiceException") else "message"
        body = {"Type": "User" if self.status < 500 else "Service", kind: str(self)}
        if self.reason:
            body["Reason"] = self.reason
        return json.dumps(body).encode()


def wrong(message):
    return Refusal(400, "InvalidParameterValueException", message)


class Job:
    """One request. It is over when it has an error, or its call has a result; an event's, when it has begun; a dry run's, when the version is known."""

    __slots__ = ("name", "payload", "kind", "client", "version", "call", "error")

    def __init__(self, name, payload, kind, client):
        self.name, self.payload, self.kind, self.client = name, payload, kind, client
        self.version = self.call = self.error = None

    def over(self):
        if self.error is not None or self.kind == "DryRun":
            return self.error is not None or self.version is not None
        return self.call is not None and (self.kind == "Event" or self.call._payload is not None)


class Desk:
    """Where the threads meet. The channel takes one message at a time."""

    def __init__(self):
        self.lock, self.queue, self.events = threading.Lock(), deque(), []

    def run(self, job):
        self.queue.append(job)
        with self.lock:
            while not job.over():
                self._begin()
                if not job.over():
                    self._step(job)
        if job.error is not None:
            raise job.error
        return job.call

    def _step(self, job):
        try:
            with warmcore._Host.lock:
                job.call._step(warmcore.ANY)
        except Exception as error:
            job.error = error

    def _begin(self):
        """Whatever there is, in its order."""
        while self.queue:
            job = self.queue.popleft()
            try:
                if job.kind == "DryRun":
                    job.version = warmcore._find(job.name)
                    continue
                if job.kind == "Event":
                    self._make_room()
                job.call, job.version = warmcore._start_for_sdk(job.name, job.payload, job.client)
            except Exception as error:
                job.error = refusal_of(error)
            if job.kind == "Event" and job.call:
                self.events.append(job.call)
            job.payload = None

    def _make_room(self):
        host = warmcore._Host
        with host.lock:
            while True:
                self.events = [call for call in self.events if call._payload is None and call._invocation == host.invocation]
                if len(self.events) < EVENTS_MAX:
                    return
                self.events[0]._step(warmcore.ANY)


def refusal_of(error):
    if isinstance(error, warmcore.InvokeError):
        status, name, reason = REFUSED.get(error.error_type, (500, "ServiceException", None))
        return Refusal(status, name, error.error_message, reason)
    return error


def callee_of(path, query):
    """The name of what is called."""
    match = PATH.fullmatch(path)
    if not match:
        raise Refusal(
            404, "ResourceNotFoundException", "there is nothing here but POST /2015-03-31/functions/NAME/invocations: this endpoint is for Invoke only"
        )
    try:
        parameters = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=16)
        named = NAME.fullmatch(unquote(match[1], errors="strict"))
    except ValueError:
        raise wrong("the name of the function, or the query, is badly escaped") from None
    if not named:
        raise wrong("a function is NAME, NAME:QUALIFIER, ACCOUNT:function:NAME or an ARN, and NAME is 1 to 63 letters, digits, - and _")
    given = [value for value in parameters.get("Qualifier", ()) if value]
    for value in given:
        if not QUALIFIER.fullmatch(value):
            raise wrong("the Qualifier is no version, alias or $LATEST")
    qualifiers = set(given) | ({named[2]} if named[2] else set())
    if len(qualifiers) > 1:
        raise wrong("the Qualifier is given twice, and differs")
    qualifier = qualifiers.pop() if qualifiers else None
    return named[1] + ":" + qualifier if qualifier else named[1]


def context_of(text):
    """The JSON of X-Amz-Client-Context, which is base64 of an object; empty without one."""
    if not text:
        return b""
    if len(text) > CONTEXT_MAX:
        raise wrong("X-Amz-Client-Context is longer than %d bytes" % CONTEXT_MAX)
    try:
        plain = base64.b64decode(text, validate=True)
        good = isinstance(json.loads(plain.decode()), dict)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise wrong("X-Amz-Client-Context is not a JSON object in base64")
    return plain


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "warmcore", ""
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *arguments):
        pass

    def _answer(self, status, body=b"", kind="application/json", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
            if body:
                self.send_header("Content-Type", kind)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, refusal):
        self._answer(refusal.status, refusal.body(), headers=[("X-Amzn-Errortype", refusal.name)])

    def send_error(self, code, message=None, explain=None):
        """What the library finds wrong with a request."""
        self.close_connection = True
        self._refuse(Refusal(code, "InvalidRequestContentException", message or explain or "a bad request"))

    def _body(self):
        lengths = self.headers.get_all("Content-Length", ())
        codings = self.headers.get_all("Transfer-Encoding", ())
        self.close_connection, keep = True, self.close_connection  # until all of it was read
        if codings:
            if lengths or len(codings) > 1 or codings[0].strip().lower() != "chunked":
                raise Refusal(400, "InvalidRequestContentException", "the body has to come with a Content-Length, or chunked")
            body = self._chunks()
        else:
            if len(set(lengths)) > 1 or (lengths and not re.fullmatch("[0-9]{1,15}", lengths[0].strip(), re.ASCII)):
                raise Refusal(400, "InvalidRequestContentException", "the Content-Length is not a number")
            body = self._take(int(lengths[0]) if lengths else 0, 0)
        self.close_connection = keep
        if body is None:
            raise Refusal(413, "RequestTooLargeException", "the payload is larger than %d bytes" % PAYLOAD_MAX)
        return body

    def _take(self, length, before):
        """The next bytes of a body, or None when they are too many: they are read, since who is still sending would not see the answer."""
        if before + length <= PAYLOAD_MAX:
            data = self.rfile.read(length)
            if len(data) < length:
                raise ConnectionError
            return data
        while length:
            data = self.rfile.read(min(length, 65536))
            if not data:
                raise ConnectionError
            length -= len(data)
        return None

    def _chunks(self):
        chunks, size = [], 0
        while True:
            line = self.rfile.readline(1026)
            match = re.fullmatch(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n", line)
            if not match:
                raise Refusal(400, "InvalidRequestContentException", "a chunk of the body has no length")
            length = int(match[1], 16)
            if not length:
                break
            data = self._take(length, size)
            size += length
            if size <= PAYLOAD_MAX:
                chunks.append(data)
            if self.rfile.readline(3) not in (b"\r\n", b"\n"):
                raise Refusal(400, "InvalidRequestContentException", "a chunk of the body does not end where it says")
        for _ in range(100):  # trailers
            if self.rfile.readline(8194) in (b"\r\n", b"\n", b""):
                return b"".join(chunks) if size <= PAYLOAD_MAX else None
        raise Refusal(400, "InvalidRequestContentException", "too much follows the body")

    def _invoke(self, body):
        try:
            target = urlsplit(self.path)
        except ValueError as error:
            raise Refusal(400, "InvalidRequestContentException", "the target is no URL: %s" % error) from None
        token, slash, path = target.path[1:].partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            raise Refusal(403, "AccessDeniedException", "the path has to begin as AWS_ENDPOINT_URL_LAMBDA does, whose last part is the function's own")
        name = callee_of(slash + path, target.query)
        if self.command != "POST":
            raise Refusal(405, "InvalidRequestContentException", "the method of Invoke is POST")
        kind = self.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind not in ("RequestResponse", "Event", "DryRun"):
            raise wrong("X-Amz-Invocation-Type is none of RequestResponse, Event and DryRun")
        if self.headers.get("X-Amz-Log-Type", "None") not in ("None", "Tail"):
            raise wrong("X-Amz-Log-Type is neither None nor Tail")
        job = Job(name, body, kind, context_of(self.headers.get("X-Amz-Client-Context")))
        call = self.server.desk.run(job)
        headers = [("X-Amz-Executed-Version", job.version)]
        if kind != "RequestResponse":
            self._answer(202 if kind == "Event" else 204, headers=headers)
            return
        if call._flags & warmcore.FLAG_FAILED:
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        binary = call._flags & warmcore.FLAG_BINARY
        self._answer(200, call._payload, "application/octet-stream" if binary else "application/json", headers)

    def _serve(self):
        try:
            try:
                self._invoke(self._body())
            except Refusal as refusal:
                self._refuse(refusal)
            except RuntimeError as error:  # no invocation is under way, or it was over first
                self._refuse(Refusal(409, "ResourceConflictException", str(error)))
            except warmcore.InvokeError as error:
                self._refuse(Refusal(500, "ServiceException", str(error)))
            except OSError as error:
                if isinstance(error, ConnectionError):
                    raise
                if error.errno == errno.EMSGSIZE:  # over a socket it takes less
                    self._refuse(Refusal(413, "RequestTooLargeException", "the payload is larger than the channel takes"))
                else:
                    self._refuse(Refusal(500, "ServiceException", "the call cannot be sent: %s" % error))
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.desk, self.token = Desk(), secrets.token_hex(16)
        self.free = threading.Semaphore(CONNECTIONS_MAX)

    def server_bind(self):
        """Without a look at the name of the host, which may ask the DNS."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address

    def process_request(self, request, client_address):
        if not self.free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.free.release()
            raise

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            sys.stderr.write("warmcore_lambda.py: %s: %s\n" % (type(error).__name__, error))


def serve(environment=os.environ):
    """Listen, and say where in the environment. OSError: it cannot."""
    server = Server()
    environment["AWS_ENDPOINT_URL_LAMBDA"] = "http://127.0.0.1:%d/%s" % (server.server_port, server.token)
    environment.setdefault("AWS_REGION", "local")
    environment.setdefault("AWS_DEFAULT_REGION", environment["AWS_REGION"])
    if not any(name in environment for name in (*CREDENTIALS, *OTHER_CREDENTIALS)):
        environment.update(CREDENTIALS)
    # Without a look now and then whether it shall end: an idle instance does nothing.
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": None}, daemon=True).start()
