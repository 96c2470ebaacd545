#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# parallel-safe
"""Plays the core agent for real instance processes of every runtime, over every transport, without the daemon.

What runtimes/abi/channel.h promises is checked from the agent's side: ready, replies, errors, exits, crashes,
sequence numbers, shutdown, end-of-file. Then every example with a known answer is run.

    WARMCORE_BUILD=build python3 tests/e2e/test_runtimes.py [-v] [TestClass[.test]]

Needs the build (and a C compiler for the test functions). Exit status 77 when nothing is built.
"""

import ctypes
import json
import mmap
import os
import platform
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("WARMCORE_BUILD", os.path.join(ROOT, "build")))
LIB = os.path.join(BUILD, "lib", "warmcore")
NATIVE = os.path.join(LIB, "native", "warmcore-native")
PYTHON = os.path.join(LIB, "python", "warmcore_runtime.py")
NODE = os.path.join(LIB, "node", "warmcore_runtime.js")
CUSTOM = os.path.join(LIB, "custom", "warmcore-custom")
PYTHON_BINARY = "/usr/bin/python3"
NODE_BINARY = shutil.which("node")
CC = shutil.which(os.environ.get("CC", "cc"))

INVOKE, SHUTDOWN, READY, INIT_ERROR, REPLY, ERROR = range(1, 7)
FLAG_BINARY, FLAG_FAREWELL, FLAG_CONTEXT = 1, 2, 4
MAGIC, CAPACITY, NOT_READY, FEATURE_WAITING = 0x57434831, 61440, 0xFFFFFFFF, 1
MESSAGE = struct.Struct("=IIIIQQI28x")  # sequence, kind, length, flags, request_id, deadline_ns, waiting
REQUEST, ANSWER, REQUEST_PAYLOAD = 64, 128, 192
ANSWER_PAYLOAD = REQUEST_PAYLOAD + CAPACITY
WAITING_AT = 32  # in a message
PATIENCE_S = 20  # for anything that should happen at once; sanitizers and busy machines are slow

SYS_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98}.get(platform.machine())
libc = ctypes.CDLL(None, use_errno=True)


fence_lock = threading.Lock()


def fence():
    """Keep a store before it from passing a load after it: taking a lock is a full barrier."""
    with fence_lock:
        pass


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def die_with_parent():
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: shared memory has no end-of-file


class Gone(Exception):
    """The instance ended, or closed the socket, instead of answering."""


class Answer:
    def __init__(self, sequence, kind, flags, request_id, payload):
        self.sequence, self.kind, self.flags = sequence, kind, flags
        self.request_id, self.payload = request_id, payload

    @property
    def json(self):
        return json.loads(self.payload)


class FutexChannel:
    def __init__(self, features):
        self.fd = os.memfd_create("channel", 0)
        os.ftruncate(self.fd, REQUEST_PAYLOAD + 2 * CAPACITY)
        self.memory = mmap.mmap(self.fd, REQUEST_PAYLOAD + 2 * CAPACITY)
        struct.pack_into("=III", self.memory, 0, MAGIC, CAPACITY, features)
        struct.pack_into("=I", self.memory, ANSWER, NOT_READY)
        self.waiting = features & FEATURE_WAITING
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.spec = "futex:%d" % self.fd
        self.inherit = self.fd

    def _futex(self, offset, operation, value, timeout=None):
        word = ctypes.c_void_p(self.address + offset)
        return libc.syscall(SYS_FUTEX, word, operation, ctypes.c_uint32(value), timeout, None, 0)

    def started(self):
        os.close(self.fd)

    def send(self, sequence, kind, request_id, deadline_ns, payload):
        self.memory[REQUEST_PAYLOAD : REQUEST_PAYLOAD + len(payload)] = payload
        struct.pack_into("=IIIQQ", self.memory, REQUEST + 4, kind, len(payload), 0, request_id, deadline_ns)
        fence()
        struct.pack_into("=I", self.memory, REQUEST, sequence)
        fence()
        if not self.waiting or struct.unpack_from("=I", self.memory, REQUEST + WAITING_AT)[0]:
            self._futex(REQUEST, 1, 1)

    def receive(self, previous, alive):
        slice_of_time = Timespec(0, 50000000)
        limit = time.monotonic() + PATIENCE_S
        while True:
            # Before the look at the word: an instance may answer and then end.
            was_alive = alive()
            struct.pack_into("=I", self.memory, ANSWER + WAITING_AT, 1)
            fence()
            if struct.unpack_from("=I", self.memory, ANSWER)[0] != previous:
                break
            if not was_alive:
                raise Gone
            if time.monotonic() > limit:
                raise TimeoutError
            self._futex(ANSWER, 0, previous, ctypes.byref(slice_of_time))
        struct.pack_into("=I", self.memory, ANSWER + WAITING_AT, 0)
        sequence, kind, length, flags, request_id, _, _ = MESSAGE.unpack_from(self.memory, ANSWER)
        payload = bytes(self.memory[ANSWER_PAYLOAD : ANSWER_PAYLOAD + length])
        return Answer(sequence, kind, flags, request_id, payload)

    def close(self):
        pass


class SocketChannel:
    def __init__(self):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(PATIENCE_S)
        self.inherit = self.theirs.fileno()
        self.spec = "socket:%d" % self.inherit

    def started(self):
        self.theirs.close()

    def send(self, sequence, kind, request_id, deadline_ns, payload):
        head = MESSAGE.pack(sequence, kind, len(payload), 0, request_id, deadline_ns, 0)
        try:
            self.ours.sendmsg([head, payload])
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None

    def receive(self, previous, alive):
        try:
            data = self.ours.recv(64 + CAPACITY + 1)
        except ConnectionResetError:
            raise Gone from None
        if not data:
            raise Gone
        sequence, kind, length, flags, request_id, _, _ = MESSAGE.unpack_from(data)
        assert len(data) == 64 + length, "header and datagram disagree"
        return Answer(sequence, kind, flags, request_id, data[64:])

    def close(self):
        self.ours.close()


class Instance:
    """One instance process and the agent's end of its channel."""

    def __init__(self, command, transport, code, handler, event="json", environment=None):
        if transport == "socket":
            self.channel = SocketChannel()
        else:
            self.channel = FutexChannel(0 if transport == "futex-always-wake" else FEATURE_WAITING)
        self.log_file = tempfile.TemporaryFile()
        variables = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "WARMCORE_CHANNEL": self.channel.spec,
            "WARMCORE_FUNCTION": "probe",
            "WARMCORE_HANDLER": handler,
            "WARMCORE_CODE": code,
            "WARMCORE_EVENT": event,
            "WARMCORE_TIMEOUT_MS": "3000",
            "WARMCORE_MEMORY_MB": "256",
            "WARMCORE_CORE": "7",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                variables[name] = os.environ[name]
        variables.update(environment or {})
        self.process = subprocess.Popen(
            command,
            env=variables,
            cwd=code,
            pass_fds=(self.channel.inherit,),
            stdin=subprocess.DEVNULL,
            stdout=self.log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self.channel.started()
        self.sequence = 0
        self.previous = NOT_READY

    def alive(self):
        return self.process.poll() is None

    def receive(self):
        answer = self.channel.receive(self.previous, self.alive)
        self.previous = answer.sequence
        return answer

    def send(self, payload=b"", request_id=1, deadline_ns=0, kind=INVOKE):
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        while self.sequence in (0, NOT_READY):
            self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        self.channel.send(self.sequence, kind, request_id, deadline_ns, payload)

    def call(self, payload=b"", request_id=1, deadline_ns=0):
        self.send(payload, request_id, deadline_ns)
        answer = self.receive()
        assert answer.sequence == self.sequence, "answer %d to request %d" % (answer.sequence, self.sequence)
        assert answer.request_id == request_id
        return answer

    def wait(self):
        return self.process.wait(PATIENCE_S)

    def log(self):
        self.log_file.seek(0)
        return self.log_file.read().decode("utf-8", "replace")

    def close(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.channel.close()
        self.log_file.close()


NATIVE_SOURCE = r"""
#include <stdlib.h>
#include <unistd.h>
#include "warmcore.h"
WARMCORE_FUNCTION_ABI;
#define ARGUMENTS const struct warmcore_request *request, struct warmcore_response *response
#define HANDLER(name) WARMCORE_EXPORT int name(ARGUMENTS); int name(ARGUMENTS)
#define UNUSED (void)request, (void)response
HANDLER(echo)
{
	memcpy(response->payload, request->payload, request->length);
	response->length = request->length;
	return 0;
}
HANDLER(context)
{
	return warmcore_printf(response, "{\"id\":\"%llx\",\"name\":\"%s\",\"left\":%d}",
			       (unsigned long long)request->request_id, request->function_name, (int)(warmcore_remaining_ns(request) / 1000000));
}
HANDLER(everything)
{
	char id[37];

	warmcore_log("core %d", warmcore_core(request));
	return warmcore_printf(response, "[\"%s\",\"%s\",\"%s\",%u]", warmcore_request_id(request, id), warmcore_function_name(request),
			       warmcore_function_version(request), warmcore_memory_limit_mb(request));
}
static int inits;
WARMCORE_EXPORT int warmcore_init(void);
int warmcore_init(void) { inits++; return 0; }
HANDLER(init_count) { (void)request; return warmcore_printf(response, "%d", inits); }
HANDLER(fails) { UNUSED; return warmcore_error(response, "My\"Error", "line\n\x01 %d \xff \xc3\xa9", 42); }
HANDLER(fails_silently) { UNUSED; return 7; }
HANDLER(prints) { UNUSED; printf("a partial line"); return warmcore_printf(response, "null"); }
HANDLER(exits) { UNUSED; exit(3); }
HANDLER(crashes) { UNUSED; abort(); }
HANDLER(large) { UNUSED; response->length = response->capacity + 5; return 0; }
HANDLER(largest)
{
	UNUSED;
	memset(response->payload, '7', response->capacity);
	response->length = response->capacity;
	return 0;
}
HANDLER(sleeps) { UNUSED; sleep(100); return 0; }
"""

NATIVE_FAREWELL = r"""
#include "warmcore.h"
WARMCORE_FUNCTION_ABI;
static int calls;
WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	(void)request;
	return warmcore_printf(response, "%d", ++calls);
}
WARMCORE_EXPORT void warmcore_shutdown(void) { printf("bye after %d", calls); }
"""

PYTHON_SOURCE = r"""
import os, sys, time
def echo(event, context): return event
def context(event, context):
    return {"id": "%x" % context.request_id, "name": context.function_name,
            "left": context.get_remaining_time_in_millis(), "core": context.core, "aws": context.aws_request_id,
            "memory": context.memory_limit_in_mb, "deadline": context.deadline_ms - int(time.time() * 1000)}
class MyError(Exception): pass
def deeper(): raise MyError("line\n\x01 42 \ud800 \u00e9")
def fails(event, context): deeper()
def prints(event, context): print("a partial line", end="")
def exits(event, context): sys.exit(3)
def crashes(event, context): os.abort()
def large(event, context): return "x" * 70000
def largest(event, context): return "x" * (61440 - 2)
def sleeps(event, context): time.sleep(100)
def recursion(event, context): return recursion(event, context)
def unserialisable(event, context): return {"a": object()}
def circular(event, context): event["a"] = event; return event
def nan(event, context): return float("nan")
def gives_bytes(event, context): return b"\x00\xff"
def array(event, context): import array; return array.array("H", [1, 2])
def text(event, context): return "h\u00e9"
def nothing(event, context): return None
def size(event, context): return {"size": len(event)}
def long_message(event, context): raise ValueError("\u00e9" * 100000)
def interrupt(event, context): raise KeyboardInterrupt
state = {"n": 0}
def counts(event, context): state["n"] += 1; return state["n"]
def threads(event, context): return [os.environ.get("OPENBLAS_NUM_THREADS"), os.environ.get("WARMCORE_CHANNEL")]
not_callable = 3
"""

NODE_SOURCE = r"""
exports.echo = async (event) => event;
exports.context = async (event, context) => ({ id: context.requestId.toString(16), name: context.functionName,
  left: context.getRemainingTimeInMillis(), core: context.core, aws: context.awsRequestId,
  memory: context.memoryLimitInMB, deadline: context.deadlineMs - Date.now() });
class MyError extends Error { constructor(m) { super(m); this.name = 'MyError'; } }
function deeper() { throw new MyError('line\n\x01 42 \ud800 \u00e9'); }
exports.fails = async () => deeper();
exports.fails_sync = () => deeper();
exports.fails_text = async () => { throw 'only text'; };
exports.prints = async () => { process.stdout.write('a partial line'); };
exports.exits = async () => process.exit(3);
exports.crashes = async () => process.abort();
exports.large = async () => 'x'.repeat(70000);
exports.largest = async () => 'x'.repeat(61440 - 2);
exports.large_bytes = async () => Buffer.alloc(61441);
exports.multibyte = async () => '\u00e9'.repeat(30719);
exports.sleeps = () => new Promise((resolve) => setTimeout(resolve, 100000));
exports.recursion = (event) => exports.recursion(event);
exports.unserialisable = async () => ({ a: 10n });
exports.circular = async (event) => { event.a = event; return event; };
exports.gives_bytes = async () => new Uint8Array([0, 255]);
exports.text = async () => 'h\u00e9';
exports.nothing = async () => {};
exports.size = async (event) => ({ size: event.length });
exports.long_message = async () => { throw new Error('\u00e9'.repeat(100000)); };
let n = 0;
exports.counts = async () => ++n;
exports.sync = (event) => ({ got: event });
exports.callback = (event, context, callback) => { setTimeout(() => callback(null, { later: event }), 5); };
exports.callback_now = (event, context, callback) => { callback(null, 'now'); callback(null, 'twice'); };
exports.callback_error = (event, context, callback) => callback(new MyError('by callback'));
exports.io = async () => {
  await new Promise((resolve) => setTimeout(resolve, 20));
  const text = await require('fs').promises.readFile(__filename, 'utf8');
  await new Promise((resolve) => setImmediate(resolve));
  return text.length > 100;
};
exports.child = async () => (await require('util').promisify(require('child_process').execFile)('echo', ['hi'])).stdout;
exports.never = () => new Promise(() => {});
exports.never_callback = (event, context, callback) => undefined;
exports.uncaught = () => new Promise(() => { setTimeout(() => { throw new MyError('in a timer'); }, 5); });
exports.unhandled = () => new Promise((resolve) => {
  Promise.reject(new MyError('nobody looked'));
  setTimeout(resolve, 1000);
});
exports.unhandled_late = async () => { Promise.reject(new MyError('too late')); return 'answered'; };
let ticks = 0;
exports.ticks = async () => { process.nextTick(() => ticks++); return ticks; };
let turns = 0;
exports.turns = async () => { setImmediate(() => turns++); return turns; };
exports.nested = { deep: async () => 'nested' };
exports.not_callable = 3;
exports.environment = async () => process.env.WARMCORE_CHANNEL === undefined;
"""

# A custom runtime: the standard library only, one connection a request, a handler that _HANDLER names.
BOOTSTRAP_SOURCE = r"""#!/usr/bin/python3 -S
import http.client, json, os, signal, sys, threading, time
API, BASE = os.environ["AWS_LAMBDA_RUNTIME_API"], "/2018-06-01/runtime"
JSON = "application/json"
def request(method, path, body=None, base=BASE, kind=JSON, **headers):
    connection = http.client.HTTPConnection(API, timeout=60)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, base + path, body, {**({"Content-Type": kind} if kind else {}), **headers})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()
def post(id, what, body, **options):
    return request("POST", "/invocation/%s/%s" % (id, what), body, **options)
def respond(id, body, **options):
    status, headers, text = post(id, "response", body, **options)
    assert (status, json.loads(text)) == (202, {"status": "OK"}), (status, text)
    assert headers["Content-Type"] == JSON
def echo(id, headers, event): respond(id, event)
def binary(id, headers, event): respond(id, event, kind=None)
def context(id, headers, event):
    left = int(headers["Lambda-Runtime-Deadline-Ms"]) - int(time.time() * 1000)
    respond(id, json.dumps({"id": id.replace("-", "")[-16:], "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"], "left": left,
        "aws": headers["Lambda-Runtime-Aws-Request-Id"], "deadline": left, "core": 7, "arn": headers["Lambda-Runtime-Invoked-Function-Arn"],
        "memory": os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "trace": headers["Lambda-Runtime-Trace-Id"],
        "type": headers["Content-Type"], "env": dict(os.environ)}))
def largest(id, headers, event): respond(id, b"x" * 61440, kind="text/plain")
def large(id, headers, event):
    status, _, text = post(id, "response", b"x" * 61441)
    assert (status, json.loads(text)["errorType"]) == (413, "RequestEntityTooLarge"), (status, text)
def huge(id, headers, event):
    status, _, text = post(id, "response", b"x" * 7000000)
    assert status == 413, status
def prints(id, headers, event): print("a partial line", end="", flush=True); respond(id, "null")
def exits(id, headers, event): sys.exit(3)
def exits_with_0(id, headers, event): sys.exit(0)
def crashes(id, headers, event): os.abort()
def sleeps(id, headers, event): time.sleep(100)
def fails(id, headers, event):
    status = post(id, "error", json.dumps({"errorType": "MyError", "errorMessage": "line\n\u00e9", "trace": ["a", "b"], "other": 1}))[0]
    assert status == 202, status
def fails_oddly(id, headers, event): post(id, "error", event, Lambda_Runtime_Function_Error_Type="My.Odd")
def fails_long(id, headers, event):
    trace = ["line %d " % n + "x" * 80 for n in range(int(event))]
    post(id, "error", json.dumps({"errorType": "T", "errorMessage": "m" if trace else "\u00e9" * 90000, "stackTrace": trace}))
def statuses(id, headers, event):
    other = "00000000-0000-0000-0000-00000000ffff"
    seen = [post(other, "response", "1"), post("x" * 5000, "error", "1"), post(id[:-1], "error", "1"),
            request("POST", "/init/error", "{}"), request("GET", "/nothing"), request("GET", "/invocation/%s/response" % id),
            request("POST", "/invocation/next", ""), request("GET", "/invocation/next", base="/2015-01-01/runtime"),
            request("PUT", "/invocation/next", ""), request("GET", "/../2018-06-01/runtime/invocation/next")]
    again = request("GET", "/invocation/next")
    assert again[2] == event and again[1]["Lambda-Runtime-Aws-Request-Id"] == id
    seen = [(status, json.loads(text)["errorType"]) for status, _, text in seen]
    respond(id, json.dumps(seen))
def twice(id, headers, event):
    respond(id, "1")
    for what in ("response", "error"):
        status, _, text = post(id, what, "2")
        print(status, json.loads(text)["errorType"], end=" ", flush=True)
def chunked(id, headers, event):
    respond(id, iter([b'"a', b'b', b'c"']), Lambda_Runtime_Function_Response_Mode="streaming")
def absolute(id, headers, event):
    respond(id, event, base="http://" + API + BASE)
def given_up(id, headers, event):
    "Asks for the next one, hangs up before it is there, and asks again: it must not get lost."
    respond(id, event)
    import socket
    for _ in range(3):
        hasty = socket.create_connection(API.split(":"))
        hasty.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.05)
        hasty.close()
def two_ask(id, headers, event):
    respond(id, event)
    def ask():
        other = request("GET", "/invocation/next")
        if other[0] == 200: respond(other[1]["Lambda-Runtime-Aws-Request-Id"], b'"the other one"')
    thread = threading.Thread(target=ask); thread.start()
    time.sleep(0.2)
    status, _, text = request("GET", "/invocation/next")
    print(status, flush=True)
    thread.join()
count = 0
def counts(id, headers, event):
    global count
    count += 1
    respond(id, str(count))
def cleans_up(id, headers, event): respond(id, event)
name = os.environ["_HANDLER"]
if name == "init_error":
    status = request("POST", "/init/error", json.dumps({"errorType": "My.Init", "errorMessage": "no", "stackTrace": []}))[0]
    again = request("POST", "/init/error", "{}")[0]
    print("My.Init told:", status, again, request("GET", "/invocation/next")[0], flush=True)
    sys.exit(7)
if name == "init_lingers":
    request("POST", "/init/error", "no JSON", Lambda_Runtime_Function_Error_Type="My.Lingering")
    time.sleep(100)
if name == "init_exits": sys.exit(5)
if name == "init_crashes": os.abort()
if name in ("cleans_up", "lingers"):
    def bye(*_):
        print("cleaning up", flush=True)
        if name == "lingers": time.sleep(100)
        print("clean", flush=True)
        os._exit(0)
    signal.signal(signal.SIGTERM, bye)
handler = globals().get(name, echo)
while True:
    status, headers, event = request("GET", "/invocation/next")
    assert status == 200, status
    handler(headers["Lambda-Runtime-Aws-Request-Id"], headers, event)
"""


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


def compile_shared_object(source, target, *flags):
    include = "-I" + os.path.join(ROOT, "runtimes", "native")
    options = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"]
    subprocess.run([CC, *options, "-D_GNU_SOURCE", include, "-o", target, source, *flags], check=True)


class RuntimeTest:
    """What holds for every runtime. Subclasses say how a handler is named and which transport is used."""

    command = None
    transport = None
    environment = {}
    farewell = 0

    @classmethod
    def setUpClass(cls):
        cls.code = tempfile.mkdtemp(prefix="warmcore-runtimes-")
        cls.addClassCleanup(shutil.rmtree, cls.code)
        cls.prepare()

    def start(self, handler, event="json", ready=True, code=None, **options):
        instance = Instance(
            self.command, self.transport, code or self.code, self.name(handler), event, {**self.environment, **options}
        )
        self.addCleanup(instance.close)
        if ready:
            answer = instance.receive()
            self.assertEqual(answer.kind, READY, answer.payload)
            self.assertEqual((answer.sequence, answer.payload), (0, b""))
            self.assertEqual(answer.flags, self.ready_flags(self.farewell))
        return instance

    def init_error(self, handler, error_type, code=None):
        """Loading fails with this type; returns the error object."""
        instance = Instance(self.command, self.transport, code or self.code, handler, "json", self.environment)
        self.addCleanup(instance.close)
        answer = instance.receive()
        self.assertEqual(answer.kind, INIT_ERROR, answer.payload)
        self.assertEqual(answer.json["errorType"], error_type, answer.json)
        self.assertEqual(instance.wait(), 1)
        self.assertIn(error_type, instance.log())
        return answer.json

    def ready_flags(self, flags):
        return flags | (FLAG_CONTEXT if self.transport == "socket" else 0)

    def assert_error(self, answer, error_type):
        self.assertEqual((answer.kind, answer.flags), (ERROR, 0), answer.payload)
        self.assertEqual(answer.json["errorType"], error_type, answer.json)
        return answer.json

    def test_reply_is_what_the_handler_returned(self):
        instance = self.start("echo")
        for payload in (b'{"a":[1,2.5,null,true]}', b'"text"', b"[]", b"0"):
            answer = instance.call(payload)
            self.assertEqual((answer.kind, answer.flags, answer.payload), (REPLY, 0, payload))

    def test_binary_both_ways(self):
        instance = self.start("echo", "binary")
        for payload in (b"", bytes(range(256)), b"\x00" * CAPACITY):
            answer = instance.call(payload)
            self.assertEqual((answer.kind, answer.flags, answer.payload), (REPLY, FLAG_BINARY, payload))

    def test_context(self):
        instance = self.start("context")
        deadline = time.monotonic_ns() + 5000 * 1000000
        context = instance.call(request_id=0xFEDCBA9876543210, deadline_ns=deadline).json
        self.assertEqual((context["id"], context["name"]), ("fedcba9876543210", "probe"))
        self.assertTrue(0 < context["left"] <= 5000, context)
        self.assertGreater(instance.call().json["left"], 1000000)
        if "core" in context:
            self.assertEqual((context["core"], context["memory"]), (7, "256"))
            self.assertEqual(context["aws"], "00000000-0000-0000-fedc-ba9876543210")
            self.assertTrue(0 < context["deadline"] <= 5001, context)

    def test_context_behind_the_payload(self):
        """What READY says on a socket: a context is taken, the largest payload before it, and nothing of it is left for the next."""
        if self.transport != "socket":
            self.skipTest("in shared memory it has its own place")
        parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        context = struct.pack(">4H", 0, len(parent), 0, 0) + b"\0" + parent + b"\0\0\0"
        instance = self.start("echo", "binary")
        for payload in (b"", b"x", b"y" * CAPACITY, b"z"):
            instance.sequence += 1
            head = struct.pack("=IIIIQQ28xI", instance.sequence, INVOKE, len(payload), 0, 5, 0, len(context))
            instance.channel.ours.sendmsg([head, payload, context])
            answer = instance.receive()
            self.assertEqual((answer.sequence, answer.kind, answer.payload), (instance.sequence, REPLY, payload))
            self.assertEqual(instance.call(payload).payload, payload)

    def test_largest_reply_and_one_beyond(self):
        instance = self.start("largest")
        self.assertEqual(len(instance.call().payload), CAPACITY)
        instance = self.start("large")
        self.assert_error(instance.call(), "Runtime.ResponseTooLarge")
        self.assert_error(instance.call(), "Runtime.ResponseTooLarge")

    def test_log_is_complete_when_the_reply_is_out(self):
        instance = self.start("prints")
        self.assertEqual(instance.call().payload, b"null")
        self.assertEqual(instance.log(), "a partial line")

    def test_exit(self):
        instance = self.start("exits")
        with self.assertRaises(Gone):
            instance.call()
        self.assertEqual(instance.wait(), 3)

    def test_crash(self):
        instance = self.start("crashes")
        with self.assertRaises(Gone):
            instance.call()
        self.assertEqual(instance.wait(), -signal.SIGABRT)

    def test_shutdown(self):
        instance = self.start("echo")
        instance.call(b"1")
        instance.send(kind=SHUTDOWN)
        self.assertEqual(instance.wait(), 0)

    def test_end_of_file(self):
        instance = self.start("echo")
        instance.channel.close()
        self.assertEqual(instance.wait(), 0)

    def test_sigterm_while_idle(self):
        instance = self.start("echo")
        instance.call(b"1")
        time.sleep(0.05)
        instance.process.terminate()
        self.assertIn(instance.wait(), self.sigterm_status)

    sigterm_status = (0,)

    def test_killed_while_running(self):
        instance = self.start("sleeps")
        instance.send()
        time.sleep(0.1)
        instance.process.kill()
        with self.assertRaises(Gone):
            instance.receive()
        self.assertEqual(instance.wait(), -signal.SIGKILL)

    def test_thousand_invocations_and_sequence_wrap(self):
        instance = self.start("echo")
        for n in range(1000):
            if n == 500:
                instance.sequence = 0xFFFFFFF0
            payload = str(n).encode()
            answer = instance.call(payload, request_id=n)
            self.assertEqual(answer.payload, payload)
        self.assertLess(instance.sequence, 1000)

    def test_no_channel(self):
        for spec in (None, "", "futex:", "futex:x", "futex:99999", "pipe:3", "socket:-1", "futex:1x"):
            variables = {"PATH": os.environ["PATH"], **({} if spec is None else {"WARMCORE_CHANNEL": spec})}
            if spec == "futex:99999" and self.transport == "socket":
                continue
            result = subprocess.run(
                self.command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S
            )
            self.assertEqual(result.returncode, 2, (spec, result))
            self.assertIn(b"no channel", result.stderr)


class ScriptTest(RuntimeTest):
    """What holds for the runtimes with exceptions and JSON of their own."""

    def test_exception(self):
        instance = self.start("fails")
        error = self.assert_error(instance.call(), "MyError")
        self.assertTrue(error["errorMessage"].startswith("line\n\x01 42"), error)
        self.assertTrue(error["errorMessage"].endswith("\u00e9"), error)
        self.assertIn("deeper", "".join(error["stackTrace"]))
        self.assertNotIn("warmcore_runtime", "".join(error["stackTrace"]))
        self.assertIn("MyError", instance.log())
        self.assert_error(instance.call(), "MyError")

    def test_recursion(self):
        error = self.start("recursion").call()
        self.assertEqual(error.kind, ERROR)
        self.assertIn(error.json["errorType"], ("RecursionError", "RangeError"))

    def test_empty_event_is_an_empty_object(self):
        self.assertEqual(self.start("echo").call(b"").payload, b"{}")

    def test_invalid_event(self):
        instance = self.start("echo")
        for payload in (b"{", b"{} x", b"\xff", b" ", b"[" * 50000):
            if payload == b"\xff" and self.lenient_utf8:
                continue
            self.assert_error(instance.call(payload), "Runtime.InvalidEvent")
        self.assertEqual(instance.call(b" [1, 2]\n").payload, b"[1,2]")

    lenient_utf8 = False

    def test_unserialisable(self):
        self.assert_error(self.start("unserialisable").call(), "Runtime.MarshalError")
        instance = self.start("circular")
        self.assert_error(instance.call(), "Runtime.MarshalError")
        self.assert_error(instance.call(), "Runtime.MarshalError")

    def test_error_that_does_not_fit(self):
        answer = self.start("long_message").call()
        self.assertEqual(answer.kind, ERROR)
        self.assertLessEqual(len(answer.payload), CAPACITY)
        self.assertGreater(len(answer.json["errorMessage"]), 10000)

    def test_result_decides_over_the_reply(self):
        for handler, event, flags, payload in (
            ("gives_bytes", "json", FLAG_BINARY, b"\x00\xff"),
            ("gives_bytes", "binary", FLAG_BINARY, b"\x00\xff"),
            ("text", "json", 0, b'"h\xc3\xa9"'),
            ("text", "binary", FLAG_BINARY, b"h\xc3\xa9"),
            ("nothing", "json", 0, b"null"),
            ("nothing", "binary", FLAG_BINARY, b""),
            ("size", "binary", 0, b'{"size":2}'),
        ):
            with self.subTest(handler=handler, event=event):
                answer = self.start(handler, event).call(b"{}")
                self.assertEqual((answer.kind, answer.flags, answer.payload), (REPLY, flags, payload))

    def test_state_stays(self):
        instance = self.start("counts")
        self.assertEqual([instance.call().json for _ in range(3)], [1, 2, 3])


class NativeFutex(RuntimeTest, unittest.TestCase):
    command = [NATIVE]
    transport = "futex"
    test_end_of_file = None  # shared memory has none

    @classmethod
    def prepare(cls):
        if not os.path.exists(NATIVE):
            raise unittest.SkipTest("not built: " + NATIVE)
        if not CC:
            raise unittest.SkipTest("no C compiler for the test functions")
        source = write(cls.code, "probe.c", NATIVE_SOURCE)
        compile_shared_object(source, os.path.join(cls.code, "probe.so"))

    def name(self, handler):
        return "probe.so:" + handler

    def test_error(self):
        instance = self.start("fails")
        error = self.assert_error(instance.call(), 'My"Error')
        self.assertEqual(error["errorMessage"], "line\n\x01 42 \ufffd \u00e9")
        instance = self.start("fails_silently")
        self.assertIn("7", self.assert_error(instance.call(), "Runtime.FunctionError")["errorMessage"])

    def test_init_errors(self):
        def build(name, text, *flags):
            compile_shared_object(write(self.code, name + ".c", text), os.path.join(self.code, name + ".so"), *flags)

        handle = "int warmcore_handle(const struct warmcore_request *q, struct warmcore_response *p)"
        body = '#include "warmcore.h"\nWARMCORE_EXPORT %s;\n%s { (void)q; (void)p; return 0; }\n' % (handle, handle)
        build("old", body)
        build("newer", body + "WARMCORE_EXPORT const uint32_t warmcore_abi_version = 99;\n")
        build("init", body + "WARMCORE_FUNCTION_ABI;\nWARMCORE_EXPORT int warmcore_init(void) { return 5; }\n")
        calls = "void nowhere(void);\nWARMCORE_EXPORT void f(void);\nvoid f(void) { nowhere(); }\n"
        build("unlinked", body + "WARMCORE_FUNCTION_ABI;\n" + calls)
        write(self.code, "garbage.so", "not an object")
        self.init_error("missing.so", "Runtime.ImportModuleError")
        self.init_error("garbage.so", "Runtime.ImportModuleError")
        self.assertIn("nowhere", self.init_error("unlinked.so", "Runtime.ImportModuleError")["errorMessage"])
        self.init_error("probe.so:missing", "Runtime.HandlerNotFound")
        self.init_error("probe.so", "Runtime.HandlerNotFound")
        self.init_error("old.so", "Runtime.AbiMismatch")
        self.assertIn("99", self.init_error("newer.so", "Runtime.AbiMismatch")["errorMessage"])
        self.assertIn("5", self.init_error("init.so", "Runtime.InitError")["errorMessage"])
        for handler in ("", ":x", "probe.so:", "/etc/passwd", "../probe.so", "a/../../probe.so", "a" * 300):
            self.init_error(handler, "Runtime.MalformedHandlerName")


    def test_context_functions(self):
        instance = self.start("everything", WARMCORE_VERSION="12")
        context = instance.call(request_id=0xFEDCBA9876543210).json
        self.assertEqual(context, ["00000000-0000-0000-fedc-ba9876543210", "probe", "12", 256])
        self.assertEqual(instance.log(), "core -1\n")  # this agent does not say it

    def test_init_runs_once(self):
        instance = self.start("init_count")
        self.assertEqual([instance.call().json for _ in range(5)], [1] * 5)

    def test_farewell(self):
        if self.code and not os.path.exists(os.path.join(self.code, "bye.so")):
            compile_shared_object(write(self.code, "bye.c", NATIVE_FAREWELL), os.path.join(self.code, "bye.so"))
        instance = Instance(self.command, self.transport, self.code, "bye.so")
        self.addCleanup(instance.close)
        self.assertEqual(instance.receive().flags, self.ready_flags(FLAG_FAREWELL))
        instance.call()
        instance.send(kind=SHUTDOWN)
        self.assertEqual(instance.wait(), 0)
        self.assertEqual(instance.log(), "bye after 1")


class NativeFutexAlwaysWake(NativeFutex):
    transport = "futex-always-wake"


class NativeSocket(NativeFutex):
    transport = "socket"
    test_end_of_file = RuntimeTest.test_end_of_file


class PythonSocket(ScriptTest, unittest.TestCase):
    command = [PYTHON_BINARY, PYTHON]
    transport = "socket"

    @classmethod
    def prepare(cls):
        if not os.path.exists(PYTHON):
            raise unittest.SkipTest("not built: " + PYTHON)
        if not os.path.exists(PYTHON_BINARY):
            raise unittest.SkipTest("no " + PYTHON_BINARY)
        write(cls.code, "probe.py", PYTHON_SOURCE)

    def name(self, handler):
        return "probe." + handler

    def test_python_results(self):
        self.assertEqual(self.start("array", "binary").call().payload, b"\x01\x00\x02\x00")
        self.assert_error(self.start("nan").call(), "Runtime.MarshalError")
        self.assert_error(self.start("interrupt").call(), "KeyboardInterrupt")
        self.assertEqual(self.start("threads").call().json, ["1", None])

    def test_init_errors(self):
        write(self.code, "syntax.py", "def handler(event, context)\n    pass\n")
        write(self.code, "imports.py", "import there_is_no_such_module\n")
        write(self.code, "raises.py", "def f():\n    raise ZeroDivisionError('at import')\nf()\n")
        write(self.code, "package/inner.py", "def handler(event, context): return 'inner'\n")
        self.assertTrue(self.init_error("syntax.handler", "Runtime.UserCodeSyntaxError")["stackTrace"])
        error = self.init_error("imports.handler", "Runtime.ImportModuleError")
        self.assertIn("there_is_no_such_module", error["errorMessage"])
        self.init_error("missing.handler", "Runtime.ImportModuleError")
        error = self.init_error("raises.handler", "ZeroDivisionError")
        self.assertIn("in f", "".join(error["stackTrace"]))
        self.assertNotIn("importlib", "".join(error["stackTrace"]))
        self.init_error("probe.missing", "Runtime.HandlerNotFound")
        self.init_error("probe.not_callable", "Runtime.HandlerNotFound")
        for handler in ("", "probe", ".handler", "probe."):
            self.init_error(handler, "Runtime.MalformedHandlerName")
        instance = Instance(self.command, self.transport, self.code, "package/inner.handler")
        self.addCleanup(instance.close)
        self.assertEqual(instance.receive().kind, READY)
        self.assertEqual(instance.call().json, "inner")

    def test_farewell(self):
        write(self.code, "bye.py", "calls = 0\ndef handler(event, context):\n    global calls\n    calls += 1\n"
              "def shutdown():\n    print('bye after', calls)\n")  # fmt: skip
        write(self.code, "atexits.py", "import atexit\natexit.register(print, 'bye')\ndef handler(event, context): pass\n")
        write(self.code, "raises_last.py", "def handler(event, context): pass\ndef shutdown(): raise ValueError('late')\n")
        for handler, log in (("bye", "bye after 1\n"), ("atexits", "bye\n"), ("raises_last", "ValueError: late")):
            instance = Instance(self.command, self.transport, self.code, handler + ".handler", environment=self.environment)
            self.addCleanup(instance.close)
            self.assertEqual(instance.receive().flags, self.ready_flags(FLAG_FAREWELL))
            instance.call()
            instance.send(kind=SHUTDOWN)
            self.assertEqual(instance.wait(), 0)
            self.assertIn(log, instance.log())

    def test_version(self):
        write(self.code, "tells.py", "def handler(event, context): return context.function_version\n")
        for environment, version in (({}, "$LATEST"), ({"WARMCORE_VERSION": "12"}, "12")):
            instance = Instance(self.command, self.transport, self.code, "tells.handler", environment={**self.environment, **environment})
            self.addCleanup(instance.close)
            instance.receive()
            self.assertEqual(instance.call().json, version)

    def test_exit_while_loading(self):
        write(self.code, "leaves.py", "import sys\nsys.exit(4)\n")
        instance = Instance(self.command, self.transport, self.code, "leaves.handler")
        self.addCleanup(instance.close)
        with self.assertRaises(Gone):
            instance.receive()
        self.assertEqual(instance.wait(), 4)


class PythonFutexCtypes(PythonSocket):
    transport = "futex"
    environment = {"WARMCORE_PYTHON_CHANNEL": "ctypes"}
    test_end_of_file = None


class PythonFutexExtension(PythonSocket):
    transport = "futex"
    test_end_of_file = None

    @classmethod
    def prepare(cls):
        if not os.path.exists(os.path.join(LIB, "python", "_warmcore_channel.abi3.so")):
            raise unittest.SkipTest("the Python extension is not built (no Python.h)")
        super().prepare()


class NodeSocket(ScriptTest, unittest.TestCase):
    command = [NODE_BINARY, NODE]
    transport = "socket"
    lenient_utf8 = True  # invalid UTF-8 becomes U+FFFD
    sigterm_status = (0, -signal.SIGTERM)  # blocked in read(2), JavaScript never sees the signal

    @classmethod
    def prepare(cls):
        if not os.path.exists(NODE):
            raise unittest.SkipTest("not built: " + NODE)
        if not NODE_BINARY:
            raise unittest.SkipTest("no node on PATH")
        write(cls.code, "probe.js", NODE_SOURCE)

    def name(self, handler):
        return "probe." + handler

    def test_handler_styles(self):
        self.assertEqual(self.start("sync").call(b"1").json, {"got": 1})
        instance = self.start("callback")
        for n in range(20):
            self.assertEqual(instance.call(str(n).encode()).json, {"later": n})
        instance = self.start("callback_now")
        self.assertEqual([instance.call().json for _ in range(3)], ["now"] * 3)
        self.assert_error(self.start("callback_error").call(), "MyError")
        self.assert_error(self.start("fails_sync").call(), "MyError")
        self.assertEqual(self.assert_error(self.start("fails_text").call(), "string")["errorMessage"], "only text")
        self.assertEqual(self.start("nested.deep").call().json, "nested")
        self.assertTrue(self.start("environment").call().json)

    def test_event_loop_runs_while_the_promise_is_pending(self):
        instance = self.start("io")
        for _ in range(20):
            self.assertEqual(instance.call().json, True)
        self.assertEqual(self.start("child").call().json, "hi\n")

    def test_leftovers_are_run_in_time(self):
        instance = self.start("ticks")
        self.assertEqual([instance.call().json for _ in range(40)], list(range(40)))
        instance = self.start("turns")
        for _ in range(100):
            behind = instance.call().json
        self.assertGreaterEqual(behind, 80)

    def test_farewell(self):
        later = "process.on('SIGTERM', () => setTimeout(() => { console.log('bye'); }, 20));\n"
        write(self.code, "term.js", later + "exports.handler = async () => 1;\n")
        write(self.code, "exit.js", "process.on('exit', () => console.log('bye'));\nexports.handler = async () => 1;\n")
        for handler in ("term", "exit"):
            instance = Instance(self.command, self.transport, self.code, handler + ".handler")
            self.addCleanup(instance.close)
            self.assertEqual(instance.receive().flags, self.ready_flags(FLAG_FAREWELL))
            instance.call()
            instance.send(kind=SHUTDOWN)
            self.assertEqual(instance.wait(), 0)
            self.assertEqual(instance.log(), "bye\n")

    def test_callback_that_waits_for_the_event_loop(self):
        write(self.code, "waiting.js", "let after = 0;\nexports.handler = (event, context, callback) => {\n"
              "  context.callbackWaitsForEmptyEventLoop = event;\n  setTimeout(() => after++, 20);\n"
              "  const result = { get after() { return after; } };\n  callback(null, result);\n};\n")  # fmt: skip
        instance = Instance(self.command, self.transport, self.code, "waiting.handler")
        self.addCleanup(instance.close)
        instance.receive()
        self.assertEqual([instance.call(b"true").json["after"] for _ in range(3)], [1, 2, 3])
        self.assertEqual(instance.call(b"false").json["after"], 3)

    def test_multibyte_sizes(self):
        self.assertEqual(len(self.start("multibyte").call().payload), CAPACITY)
        self.assert_error(self.start("large_bytes").call(), "Runtime.ResponseTooLarge")

    def test_never_settles(self):
        for handler in ("never", "never_callback"):
            instance = self.start(handler)
            for _ in range(3):
                self.assert_error(instance.call(), "Runtime.NodeJsExit")
            self.assertTrue(instance.alive())

    def test_uncaught(self):
        for handler, error_type, text in (
            ("uncaught", "Runtime.UncaughtException", "in a timer"),
            ("unhandled", "Runtime.UnhandledPromiseRejection", "nobody looked"),
        ):
            instance = self.start(handler)
            error = self.assert_error(instance.call(), error_type)
            self.assertEqual(error["errorMessage"], "MyError: " + text)
            self.assertEqual(instance.wait(), 128)

    def test_unhandled_after_the_answer(self):
        instance = self.start("unhandled_late")
        try:
            for _ in range(50):
                self.assertEqual(instance.call().json, "answered")
        except Gone:
            pass
        self.assertEqual(instance.wait(), 128)
        self.assertIn("too late", instance.log())

    def test_modules(self):
        write(self.code, "modern.mjs", "export const handler = async (event) => ({ modern: event });\n")
        write(self.code, "typed/package.json", '{"type":"module"}')
        write(self.code, "typed/index.js", "export const handler = () => 'typed';\n")
        write(self.code, "common.cjs", "exports.handler = () => 'common';\n")
        waits = "await new Promise((resolve) => setTimeout(resolve, 10));\nexport const handler = () => 'waited';\n"
        write(self.code, "waits.mjs", waits)
        for handler, result in (
            ("modern.handler", {"modern": 5}),
            ("typed/index.handler", "typed"),
            ("common.handler", "common"),
            ("waits.handler", "waited"),
        ):
            instance = Instance(self.command, self.transport, self.code, handler)
            self.addCleanup(instance.close)
            answer = instance.receive()
            self.assertEqual(answer.kind, READY, answer.payload)
            self.assertEqual(instance.call(b"5").json, result)

    def test_init_errors(self):
        write(self.code, "syntax.js", "exports.handler = (\n")
        write(self.code, "syntax2.mjs", "export const handler = (\n")
        write(self.code, "imports.js", "require('there-is-no-such-module');\n")
        write(self.code, "imports2.mjs", "import 'there-is-no-such-module';\n")
        write(self.code, "raises.js", "function f() { throw new RangeError('at load'); }\nf();\n")
        write(self.code, "stuck.mjs", "await new Promise(() => {});\n")
        write(self.code, "rejects.js", "Promise.reject(new Error('x'));\nexports.handler = () => 1;\n")
        self.init_error("syntax.handler", "Runtime.UserCodeSyntaxError")
        self.init_error("syntax2.handler", "Runtime.UserCodeSyntaxError")
        self.init_error("missing.handler", "Runtime.ImportModuleError")
        for handler in ("imports.handler", "imports2.handler"):
            error = self.init_error(handler, "Runtime.ImportModuleError")
            self.assertIn("there-is-no-such-module", error["errorMessage"])
        error = self.init_error("raises.handler", "RangeError")
        self.assertIn("at f", "".join(error["stackTrace"]))
        self.init_error("stuck.handler", "Runtime.NodeJsExit")
        self.init_error("probe.missing", "Runtime.HandlerNotFound")
        self.init_error("probe.not_callable", "Runtime.HandlerNotFound")
        for handler in ("", "probe", ".handler", "probe.", "../probe.handler", "/probe.handler"):
            self.init_error(handler, "Runtime.MalformedHandlerName")


class NodeFutex(NodeSocket):
    transport = "futex"
    test_end_of_file = None
    sigterm_status = (0,)

    @classmethod
    def prepare(cls):
        if not os.path.exists(os.path.join(LIB, "node", "warmcore_channel.node")):
            raise unittest.SkipTest("the Node.js addon is not built")
        super().prepare()


class CustomFutex(RuntimeTest, unittest.TestCase):
    """warmcore-custom and a bootstrap: they are one instance, and the bootstrap's end is the instance's."""

    command = [CUSTOM]
    transport = "futex"
    farewell = FLAG_FAREWELL
    test_end_of_file = None

    @classmethod
    def prepare(cls):
        if not os.path.exists(CUSTOM):
            raise unittest.SkipTest("not built: " + CUSTOM)
        os.chmod(write(cls.code, "bootstrap", BOOTSTRAP_SOURCE), 0o755)

    def name(self, handler):
        return handler

    def test_environment_and_headers(self):
        instance = self.start("context", TZ="Europe/Paris", AWS_LAMBDA_FUNCTION_NAME="a lie", WARMCORE_VERSION="12")
        context = instance.call(b"").json
        self.assertEqual(context["arn"], "arn:aws:lambda:local:000000000000:function:probe")
        self.assertRegex(context["trace"], "^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Sampled=0$")
        self.assertEqual((context["type"], context["name"]), ("application/json", "probe"))
        environment = context["env"]
        self.assertNotIn("WARMCORE_CHANNEL", environment)
        expected = {
            "_HANDLER": "context",
            "LAMBDA_TASK_ROOT": self.code,
            "AWS_LAMBDA_FUNCTION_VERSION": "12",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/warmcore/probe",
            "AWS_LAMBDA_LOG_STREAM_NAME": "core-7/%d" % instance.process.pid,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": "local",
            "AWS_DEFAULT_REGION": "local",
            "TZ": "Europe/Paris",
        }
        self.assertEqual({name: environment.get(name) for name in expected}, expected)
        context = self.start("context", "binary").call(b"").json
        self.assertEqual(context["type"], "application/octet-stream")

    def test_empty_event_is_an_empty_object(self):
        self.assertEqual(self.start("echo").call(b"").payload, b"{}")
        self.assertEqual(self.start("echo", "binary").call(b"").payload, b"")

    def test_content_decides_over_the_reply(self):
        instance = self.start("binary")
        for payload, flags in ((b'{"a": 1}', 0), (b" 1 ", 0), (b"Echoing request", FLAG_BINARY), (b"\x00\xff", FLAG_BINARY)):
            answer = instance.call(payload)
            self.assertEqual((answer.kind, answer.flags, answer.payload), (REPLY, flags, payload))

    def test_largest_event(self):
        payload = json.dumps("x" * (CAPACITY - 2)).encode()
        self.assertEqual(self.start("echo").call(payload).payload, payload)

    def test_far_beyond_the_largest_reply(self):
        instance = self.start("huge")
        for _ in range(2):
            self.assert_error(instance.call(), "Runtime.ResponseTooLarge")

    def test_function_error(self):
        instance = self.start("fails")
        for _ in range(2):
            error = self.assert_error(instance.call(), "MyError")
            self.assertEqual(error, {"errorType": "MyError", "errorMessage": "line\n\u00e9", "stackTrace": ["a", "b"]})

    def test_function_errors_of_any_shape(self):
        instance = self.start("fails_oddly", "binary")
        for body, expected in (
            (b"", ("My.Odd", "")),
            (b"just text \xff", ("My.Odd", "just text \ufffd")),
            (b"[1]", ("My.Odd", "[1]")),
            (b'{"errorType": 5, "errorMessage": null}', ("My.Odd", "")),
            (b'{"errorMessage": "only"}', ("My.Odd", "only")),
            (b'{"errorType": "Only"}', ("Only", "")),
        ):
            error = instance.call(body)
            self.assertEqual(error.kind, ERROR)
            self.assertEqual((error.json["errorType"], error.json["errorMessage"]), expected, body[:50])

    def test_error_that_does_not_fit(self):
        instance = self.start("fails_long")
        error = self.assert_error(instance.call(b"900"), "T")
        self.assertEqual(error["errorMessage"], "m")
        self.assertGreater(len(error["stackTrace"]), 100)
        self.assertLess(len(error["stackTrace"]), 900)
        self.assertEqual((error["stackTrace"][0][:7], error["stackTrace"][-1][:9]), ("line 0 ", "line 899 "))
        error = self.assert_error(instance.call(b"0"), "T")
        self.assertGreater(len(error["errorMessage"]), 10000)

    def test_status_codes(self):
        wrong_id, no_such = [400, "InvalidRequestID"], [404, "NotFound"]
        expected = [wrong_id] * 3 + [[403, "InvalidStateTransition"], no_such, [405, "MethodNotAllowed"],
                                     [405, "MethodNotAllowed"], no_such, [405, "MethodNotAllowed"], no_such]  # fmt: skip
        instance = self.start("statuses")
        for _ in range(2):
            self.assertEqual(instance.call(b"{}").json, expected)

    def test_second_answer_is_refused(self):
        instance = self.start("twice")
        self.assertEqual(instance.call().json, 1)
        refused = "403 InvalidStateTransition " * 2
        end = time.monotonic() + PATIENCE_S
        while instance.log() != refused and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(instance.log(), refused)
        for n in range(2, 20):  # now with the next invocation on its heels: what it posts late must not answer that one
            self.assertEqual(instance.call(request_id=n).json, 1)

    def test_forms_of_http(self):
        self.assertEqual(self.start("chunked").call().json, "abc")
        self.assertEqual(self.start("absolute").call(b"7").json, 7)

    def test_next_that_was_given_up(self):
        instance = self.start("given_up")
        for n in range(5):
            self.assertEqual(instance.call(b"%d" % n, request_id=n).json, n)
            time.sleep(0.1)  # some of them meet a connection that was closed, and some one that is about to be

    def test_second_next_is_refused(self):
        instance = self.start("two_ask")
        self.assertEqual(instance.call(b"1").json, 1)
        time.sleep(0.4)
        self.assertEqual(instance.call(b"2", request_id=2).json, "the other one")
        self.assertIn("403", instance.log())

    def test_state_stays(self):
        instance = self.start("counts")
        self.assertEqual([instance.call().json for _ in range(3)], [1, 2, 3])

    def test_exit_with_0_is_an_exit(self):
        instance = self.start("exits_with_0")
        with self.assertRaises(Gone):
            instance.call()
        self.assertEqual(instance.wait(), 0)

    def bootstrap_pid(self, instance):
        with open("/proc/%d/task/%d/children" % (instance.process.pid, instance.process.pid)) as children:
            return int(children.read())

    def test_die_together(self):
        instance = self.start("sleeps")
        pid = self.bootstrap_pid(instance)
        pidfd = os.pidfd_open(pid)
        self.addCleanup(os.close, pidfd)
        instance.send()
        time.sleep(0.1)
        instance.process.kill()
        instance.wait()
        self.assertTrue(select.select([pidfd], [], [], PATIENCE_S)[0], "the bootstrap outlived its host")
        instance = self.start("sleeps")
        os.kill(self.bootstrap_pid(instance), signal.SIGKILL)
        self.assertEqual(instance.wait(), -signal.SIGKILL)

    def test_farewell(self):
        instance = self.start("cleans_up")
        instance.call(b"1")
        instance.send(kind=SHUTDOWN)
        self.assertEqual(instance.wait(), 0)
        self.assertIn("clean\n", instance.log())
        instance = self.start("lingers")
        instance.send(kind=SHUTDOWN)
        self.assertEqual(instance.wait(), 0)
        self.assertEqual(instance.log(), "cleaning up\n")

    def test_init_errors(self):
        error = self.init_error("init_error", "My.Init")
        self.assertEqual(error, {"errorType": "My.Init", "errorMessage": "no"})
        instance = self.start("init_error", ready=False)
        self.assertEqual(instance.receive().kind, INIT_ERROR)
        self.assertEqual(instance.wait(), 1)
        self.assertIn("My.Init told: 202 403 403", instance.log())
        self.assertEqual(self.init_error("init_lingers", "My.Lingering")["errorMessage"], "no JSON")
        self.assertIn("status 5", self.init_error("init_exits", "Runtime.ExitError")["errorMessage"])
        self.assertIn("signal 6", self.init_error("init_crashes", "Runtime.ExitError")["errorMessage"])

    def test_no_bootstrap(self):
        folder = tempfile.mkdtemp(prefix="warmcore-runtimes-")
        self.addCleanup(shutil.rmtree, folder)
        missing = self.init_error("x", "Runtime.InvalidEntrypoint", folder)
        self.assertIn(folder + "/bootstrap", missing["errorMessage"])
        path = write(folder, "bootstrap", "echo hello\n")
        self.assertIn("chmod", self.init_error("x", "Runtime.InvalidEntrypoint", folder)["errorMessage"])
        os.chmod(path, 0o755)
        self.assertIn("#!", self.init_error("x", "Runtime.InvalidEntrypoint", folder)["errorMessage"])


class CustomSocket(CustomFutex):
    transport = "socket"
    test_end_of_file = RuntimeTest.test_end_of_file


class Examples(unittest.TestCase):
    """Every example with an input gives the answer that is beside it."""

    commands = {"native": [NATIVE], "python": [PYTHON_BINARY, PYTHON], "node": [NODE_BINARY, NODE], "custom": [CUSTOM]}

    def run_example(self, folder):
        with open(os.path.join(folder, "function.json")) as file:
            manifest = json.load(file)
        runtime = manifest["runtime"]
        if not os.path.exists(self.commands[runtime][-1]):
            self.skipTest("not built: " + self.commands[runtime][-1])
        if self.commands[runtime][0] is None:
            self.skipTest("no node on PATH")
        if "shell" in folder and not shutil.which("curl"):
            self.skipTest("no curl on PATH")
        if "caller" in folder:
            self.skipTest("needs a node: test_calls.py")
        code = folder
        if runtime == "native":
            if not CC:
                self.skipTest("no C compiler")
            code = tempfile.mkdtemp(prefix="warmcore-example-")
            self.addCleanup(shutil.rmtree, code)
            name = os.path.basename(folder)
            source = os.path.join(folder, name + ".c")
            compile_shared_object(source, os.path.join(code, name + ".so"), *(["-lz"] if name == "deflate" else []))
        if "spectrum" in folder:
            if subprocess.run([PYTHON_BINARY, "-c", "import numpy"], capture_output=True).returncode:
                self.skipTest(PYTHON_BINARY + " has no numpy")
        instance = Instance(self.commands[runtime], "socket", code, manifest.get("handler", ""), manifest["event"])
        self.addCleanup(instance.close)
        answer = instance.receive()
        self.assertEqual(answer.kind, READY, answer.payload)
        example = manifest.get("example")
        if not example:
            self.assertEqual(instance.call(b"12345" if runtime != "native" or "noop" in folder else b"5").kind, REPLY)
            return
        with open(os.path.join(folder, example["input"]), "rb") as file:
            payload = file.read()
        with open(os.path.join(folder, example["expected"]), "rb") as file:
            expected = file.read()
        self.assertLessEqual(len(payload), CAPACITY)
        for _ in range(3):
            answer = instance.call(payload)
            self.assertEqual(answer.kind, REPLY, answer.payload)
            if example["check"] == "inflate":
                self.assertEqual((zlib.decompress(answer.payload), answer.flags), (expected, FLAG_BINARY))
                self.assertLess(len(answer.payload), len(expected))
            elif answer.flags & FLAG_BINARY:
                self.assertEqual(answer.payload, expected)
            else:
                self.assertEqual(answer.json, json.loads(expected))

    def test_spin_takes_as_long_as_it_says(self):
        if not (CC and os.path.exists(NATIVE)):
            self.skipTest("no C compiler or no " + NATIVE)
        code = tempfile.mkdtemp(prefix="warmcore-example-")
        self.addCleanup(shutil.rmtree, code)
        source = os.path.join(ROOT, "runtimes", "native", "examples", "spin", "spin.c")
        compile_shared_object(source, os.path.join(code, "spin.so"))
        instance = Instance([NATIVE], "futex", code, "spin.so")
        self.addCleanup(instance.close)
        instance.receive()
        payload = b'{"spin_us":3000, "sleep_us": 2000,"cpu_us":1000}'
        self.assertGreaterEqual(instance.call(payload).json["elapsed_us"], 6000)
        self.assertGreaterEqual(instance.call(b"3000").json["elapsed_us"], 3000)
        # Without a time it takes none; what else the machine does may take some of any one call.
        self.assertLess(min(instance.call(b"").json["elapsed_us"] for _ in range(50)), 3000)
        for payload in (b"x", b'{"spin_us":-1}', b'{"spin_us":1e9}', b"9" * 30, b"1" * 300, b'{"spin_us" 1}'):
            self.assertEqual(instance.call(payload).json["errorType"], "BadInput", payload)


def add_examples():
    for runtime in ("native", "python", "node", "custom"):
        folder = os.path.join(ROOT, "runtimes", runtime, "examples")
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if os.path.exists(os.path.join(path, "function.json")):
                setattr(Examples, "test_%s_%s" % (runtime, name), lambda self, path=path: self.run_example(path))


add_examples()

if __name__ == "__main__":
    if not any(os.path.exists(path) for path in (NATIVE, PYTHON, NODE, CUSTOM)):
        print("SKIP: no runtime is built under " + LIB)
        sys.exit(77)
    unittest.main()
