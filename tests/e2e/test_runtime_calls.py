#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# parallel-safe
"""Plays the core agent for functions that call functions, as runtimes/abi/channel.h has it, in each runtime and over each transport: also those that
the daemon uses only when it must (sockets, ctypes). test_calls.py has the rest, with a node."""

import json
import os
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_runtimes as agent  # noqa: E402

CALL, RESULT, FAILED, BINARY = 8, 9, 8, 1
RUN, START, WAIT, ANY, CANCEL, PUT, GET, DELETE, SEND, RECEIVE, CLOSE = range(11)
TRY = 16
LARGE = 6291456
LARGE_AT = (agent.REQUEST_PAYLOAD + agent.CAPACITY + LARGE + 65535) & ~65535
CALL_AT = LARGE_AT + LARGE + 8192
RESULT_AT = CALL_AT + 4096 + LARGE
SIZE = RESULT_AT + LARGE
HEADER = struct.Struct("=IIIIQQIIQQII")  # struct wc_message

NATIVE = r"""
#include "warmcore.h"
WARMCORE_FUNCTION_ABI;
WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	struct warmcore_reply reply;
	uint32_t numbers[2], any;
	int result = warmcore_invoke(request, "first:prod", "{\"a\":1}", 7, &reply);

	if (result < 0)
		return warmcore_error(response, "NotSent", "%s", strerror(-result));
	warmcore_printf(response, "[%.*s,", (int)reply.length, (const char *)reply.payload);
	result = warmcore_invoke(request, "second", NULL, 0, &reply);
	warmcore_printf(response, "[%d,%.*s],", result, (int)reply.length, (const char *)reply.payload);
	if (warmcore_start(request, "third", "3", 1, &numbers[0], &reply) || warmcore_start(request, "third", "4", 1, &numbers[1], &reply))
		return warmcore_error(response, "Test", "not begun");
	if (warmcore_wait(request, numbers[1], &reply))
		return warmcore_error(response, "Test", "failed");
	warmcore_printf(response, "%.*s,", (int)reply.length, (const char *)reply.payload);
	if (warmcore_wait_any(request, &any, &reply) || any != numbers[0])
		return warmcore_error(response, "Test", "another one: %u", any);
	warmcore_printf(response, "%.*s,%.*s]", (int)reply.length, (const char *)reply.payload, (int)request->length, (const char *)request->payload);
	return 0;
}
WARMCORE_EXPORT int state(const struct warmcore_request *request, struct warmcore_response *response)
{
	struct warmcore_reply reply;
	uint32_t number;
	int result = warmcore_put(request, "o", "{\"a\":1}", 7, 0, &reply) || warmcore_put(request, "b", "\0x", 2, WARMCORE_FLAG_BINARY, &reply) ||
		     warmcore_get(request, "o", &reply);

	if (result)
		return warmcore_error(response, "Test", "objects");
	warmcore_printf(response, "[%.*s,", (int)reply.length, (const char *)reply.payload);
	result = warmcore_delete(request, "o", &reply);
	warmcore_printf(response, "%d,", result);
	if (warmcore_send(request, "s", "5", 1, 0, &reply) || warmcore_receive(request, "s", 0, &reply))
		return warmcore_error(response, "Test", "streams");
	warmcore_printf(response, "%.*s,", (int)reply.length, (const char *)reply.payload);
	result = warmcore_receive(request, "s", WARMCORE_FLAG_TRY, &reply);
	warmcore_printf(response, "%d,", result);
	if (warmcore_close(request, "s", &reply))
		return warmcore_error(response, "Test", "close");
	result = warmcore_receive(request, "s", 0, &reply);
	warmcore_printf(response, "%d,", result);
	if (warmcore_start(request, "f", NULL, 0, &number, &reply) || warmcore_cancel(request, number, &reply))
		return warmcore_error(response, "Test", "cancel");
	return warmcore_printf(response, "%d]", warmcore_wait(request, number, &reply));
}
"""
PYTHON = """
import warmcore
def handler(event, context):
    out = [warmcore.invoke("first:prod", {"a": 1})]
    try:
        warmcore.invoke("second", b"")
    except warmcore.InvokeError as error:
        out.append([1, {"errorType": error.error_type, "errorMessage": error.error_message}])
    a, b = warmcore.start("third", b"3"), warmcore.start("third", b"4")
    out += [int(b.result()), int(a.result()), event]
    return out
def state(event, context):
    warmcore.put("o", {"a": 1})
    warmcore.put("b", b"\\0x")
    out = [warmcore.get("o")]
    try:
        warmcore.delete("o")
    except warmcore.InvokeError:
        out.append(1)
    stream = warmcore.Stream("s")
    stream.send(5)
    out.append(stream.receive())
    try:
        stream.receive(wait=False)
    except BlockingIOError:
        out.append(1)
    stream.close()
    try:
        stream.receive()
    except EOFError:
        out.append(2)
    call = warmcore.start("f", b"")
    call.cancel()
    try:
        call.result()
    except warmcore.InvokeError:
        return out + [1]
def refused(event, context):
    try:
        warmcore.invoke("f" * 300)
    except OSError as error:
        first = error.errno
    try:
        warmcore.invoke("f", b"x" * 7000000)
    except OSError as error:
        return [first, error.errno]
"""
NODE = """
exports.handler = async (event) => {
  const out = [warmcore.invokeSync('first:prod', { a: 1 })];
  try {
    warmcore.invokeSync('second', new Uint8Array(0));
  } catch (error) {
    out.push([1, { errorType: error.errorType, errorMessage: error.errorMessage }]);
  }
  const a = warmcore.invoke('third', Buffer.from('3')), b = warmcore.invoke('third', Buffer.from('4'));
  const first = Number((await b).toString());
  return [...out, first, Number((await a).toString()), event];
};
exports.state = async () => {
  warmcore.put('o', { a: 1 });
  warmcore.put('b', Buffer.from('\\0x'));
  const out = [warmcore.get('o')], stream = warmcore.stream('s'), abort = new AbortController();
  try { warmcore.delete('o'); } catch { out.push(1); }
  await stream.send(5);
  out.push(await stream.receive());
  const waits = stream.receive();
  await null;
  stream.close();
  out.push(1, await waits === undefined && 2);
  const call = warmcore.invoke('f', new Uint8Array(0), { signal: abort.signal });
  abort.abort();
  return [...out, await call.catch(() => 1)];
};
exports.refused = async () => {
  let first, second;
  try { await warmcore.invoke('f'.repeat(300)); } catch (error) { first = error.name; }
  try { await warmcore.invoke('f', Buffer.alloc(7000000)); } catch (error) { second = error.name; }
  return [first, second];
};
"""


class Futex(agent.FutexChannel):
    """With room for calls."""

    def __init__(self, features):
        self.fd = os.memfd_create("channel", 0)
        os.ftruncate(self.fd, SIZE)
        self.memory = agent.mmap.mmap(self.fd, SIZE)
        struct.pack_into("=III", self.memory, 0, agent.MAGIC, agent.CAPACITY, features | 2 | 4)
        struct.pack_into("=I", self.memory, agent.ANSWER, agent.NOT_READY)
        self.waiting = features & agent.FEATURE_WAITING
        self.address = agent.ctypes.addressof(agent.ctypes.c_char.from_buffer(self.memory))
        self.spec = "futex:%d" % self.fd
        self.inherit = self.fd

    def callee(self, answer):
        number, name = struct.unpack_from("=I28x224s", self.memory, CALL_AT)
        length = struct.unpack_from("=I", self.memory, agent.ANSWER + 8)[0]
        return number, name, bytes(self.memory[CALL_AT + 256 : CALL_AT + 256 + length])

    def result(self, sequence, request_id, payload, flags, number):
        self.memory[RESULT_AT : RESULT_AT + len(payload)] = payload
        HEADER.pack_into(self.memory, agent.REQUEST, struct.unpack_from("=I", self.memory, agent.REQUEST)[0], RESULT, len(payload), flags,
                         request_id, 0, struct.unpack_from("=I", self.memory, agent.REQUEST + 32)[0], 0, 0, 0, 0, number)  # fmt: skip
        agent.fence()
        struct.pack_into("=I", self.memory, agent.REQUEST, sequence)
        agent.fence()
        self._futex(agent.REQUEST, 1, 1)

    def receive(self, previous, alive):
        answer = super().receive(previous, alive)
        answer.number, answer.name, answer.called = self.callee(answer) if answer.kind == CALL else (0, b"", b"")
        return answer


class Socket(agent.SocketChannel):
    def receive(self, previous, alive):
        data = self.ours.recv(64 + 256 + agent.CAPACITY + 1)
        sequence, kind, length, flags, request_id, _, _ = agent.MESSAGE.unpack_from(data)
        head = 64 + (256 if kind == CALL else 0)
        assert len(data) == head + length, (kind, len(data), length)
        answer = agent.Answer(sequence, kind, flags, request_id, data[head:])
        if kind == CALL:
            answer.number, answer.name = struct.unpack_from("=I28x224s", data, 64)
            answer.called = answer.payload
        return answer

    def result(self, sequence, request_id, payload, flags, number):
        self.ours.sendmsg([HEADER.pack(sequence, RESULT, len(payload), flags, request_id, 0, 0, 0, 0, 0, 0, number), payload])


class Instance(agent.Instance):
    def __init__(self, *arguments, **more):
        futex, sock = agent.FutexChannel, agent.SocketChannel
        agent.FutexChannel, agent.SocketChannel = Futex, Socket
        try:
            super().__init__(*arguments, **more)
        finally:
            agent.FutexChannel, agent.SocketChannel = futex, sock

    def result(self, payload, flags=0, number=0):
        self.sequence += 1
        self.channel.result(self.sequence, 5, payload, flags, number)
        return self.receive()


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="warmcore-calls-")
        cls.addClassCleanup(agent.shutil.rmtree, cls.folder)
        for name, text in (("f.py", PYTHON), ("f.js", NODE), ("native.c", NATIVE)):
            with open(os.path.join(cls.folder, name), "w") as file:
                file.write(text)

    def open(self, command, transport, handler, **environment):
        instance = Instance(command, transport, self.folder, handler, environment=environment)
        self.addCleanup(instance.close)
        self.assertEqual(instance.receive().kind, agent.READY, instance.log())
        return instance

    def begin(self, instance, payload=b'"event"'):
        instance.send(payload, 5)
        return instance.receive()

    def expect(self, instance, answer, how, name, payload, number=0):
        self.assertEqual(answer.kind, CALL, (answer.payload, instance.log()))
        self.assertEqual((answer.sequence, answer.request_id, answer.flags), (instance.sequence, 5, how))
        self.assertEqual((answer.name.rstrip(b"\0"), answer.called, answer.number), (name, payload, number))

    def converse(self, instance):
        """What all three functions above do; twice, so that nothing of the first time is left."""
        for _ in range(2):
            answer = self.begin(instance)
            self.expect(instance, answer, RUN, b"first:prod", b'{"a":1}')
            answer = instance.result(b'{"b":[2]}')
            self.expect(instance, answer, RUN, b"second", b"")
            answer = instance.result(b'{"errorType":"T","errorMessage":"m"}', FAILED)
            self.expect(instance, answer, START, b"third", b"3")
            answer = instance.result(b"", 0, 0x401)
            self.expect(instance, answer, START, b"third", b"4")
            answer = instance.result(b"", 0, 0x802)
            if answer.flags == WAIT:
                self.expect(instance, answer, WAIT, b"", b"", 0x802)
                answer = instance.result(b"40", BINARY, 0x802)
                if answer.flags == WAIT:
                    self.expect(instance, answer, WAIT, b"", b"", 0x401)
                else:
                    self.expect(instance, answer, ANY, b"", b"")
                answer = instance.result(b"30", BINARY, 0x401)
            else:
                self.expect(instance, answer, ANY, b"", b"")
                answer = instance.result(b"30", BINARY, 0x401)
                self.expect(instance, answer, ANY, b"", b"")
                answer = instance.result(b"40", BINARY, 0x802)
            self.assertEqual((answer.kind, answer.sequence), (agent.REPLY, instance.sequence), answer.payload)
            self.assertEqual(answer.json, [{"b": [2]}, [1, {"errorType": "T", "errorMessage": "m"}], 40, 30, "event"])

    def use_state(self, instance, tries=0):
        """The same for objects, streams and cancelling; JavaScript tries before it waits, and does not wait for what it has cancelled."""
        for _ in range(2):
            answer = self.begin(instance)
            self.expect(instance, answer, PUT, b"o", b'{"a":1}')
            answer = instance.result(b"")
            self.expect(instance, answer, PUT, b"b", b"\0x", BINARY)
            answer = instance.result(b"")
            self.expect(instance, answer, GET, b"o", b"")
            answer = instance.result(b'{"a":1}')
            self.expect(instance, answer, DELETE, b"o", b"")
            answer = instance.result(b'{"errorType":"Node.NoObject"}', FAILED)
            self.expect(instance, answer, SEND, b"s", b"5", tries)
            answer = instance.result(b"")
            self.expect(instance, answer, RECEIVE, b"s", b"", tries)
            answer = instance.result(b"5")
            self.expect(instance, answer, RECEIVE, b"s", b"", TRY)
            answer = instance.result(b'{"errorType":"Node.WouldWait"}', FAILED)
            self.expect(instance, answer, CLOSE, b"s", b"")
            answer = instance.result(b"")
            self.expect(instance, answer, RECEIVE, b"s", b"", tries)
            answer = instance.result(b"", 0, 1)
            self.expect(instance, answer, START, b"f", b"")
            answer = instance.result(b"", 0, 0x405)
            self.expect(instance, answer, CANCEL, b"", b"", 0x405)
            answer = instance.result(b"")
            if not tries:
                self.expect(instance, answer, WAIT, b"", b"", 0x405)
                answer = instance.result(b'{"errorType":"Node.Cancelled"}', FAILED, 0x405)
            self.assertEqual((answer.kind, answer.sequence), (agent.REPLY, instance.sequence), answer.payload)
            self.assertEqual(answer.json, [{"a": 1}, 1, 5, 1, 2, 1])

    def refuse(self, instance, expected):
        """What cannot be sent is not."""
        answer = self.begin(instance)
        self.assertEqual(answer.kind, agent.REPLY, answer.payload)
        self.assertEqual(answer.json, expected)

    def test_python(self):
        command = [agent.PYTHON_BINARY, agent.PYTHON]
        for transport, variables in (("futex", {}), ("futex-always-wake", {}), ("futex", {"WARMCORE_PYTHON_CHANNEL": "ctypes"}), ("socket", {})):
            with self.subTest(transport=transport, **variables):
                self.converse(self.open(command, transport, "f.handler", **variables))
                self.use_state(self.open(command, transport, "f.state", **variables))
                self.refuse(self.open(command, transport, "f.refused", **variables), [36, 90])

    @unittest.skipUnless(agent.NODE_BINARY, "there is no Node.js")
    def test_node(self):
        for transport in ("futex", "socket"):
            with self.subTest(transport=transport):
                self.converse(self.open([agent.NODE_BINARY, agent.NODE], transport, "f.handler"))
                self.use_state(self.open([agent.NODE_BINARY, agent.NODE], transport, "f.state"), tries=TRY)
                self.refuse(self.open([agent.NODE_BINARY, agent.NODE], transport, "f.refused"), ["RangeError", "RangeError"])

    @unittest.skipUnless(agent.CC, "there is no C compiler")
    def test_native(self):
        include = os.path.join(agent.ROOT, "runtimes", "native")
        agent.subprocess.run([agent.CC, "-shared", "-fPIC", "-I", include, "-o", os.path.join(self.folder, "native.so"), os.path.join(self.folder, "native.c")],
                             check=True)  # fmt: skip
        for transport in ("futex", "socket"):
            with self.subTest(transport=transport):
                self.converse(self.open([agent.NATIVE], transport, "native.so"))
                self.use_state(self.open([agent.NATIVE], transport, "native.so:state"))

    def test_agent_without_calls(self):
        """An older one: the function is told."""
        for command, handler in (([agent.PYTHON_BINARY, agent.PYTHON], "f.handler"), ([agent.NODE_BINARY, agent.NODE], "f.handler")):
            if not command[0]:
                continue
            instance = agent.Instance(command, "futex", self.folder, handler)
            self.addCleanup(instance.close)
            self.assertEqual(instance.receive().kind, agent.READY)
            answer = instance.call(b"1", 5)
            self.assertEqual(answer.kind, agent.ERROR)
            self.assertIn("not implemented", answer.json["errorMessage"].lower())


if __name__ == "__main__":
    if not os.path.exists(agent.NATIVE):
        print("SKIP: the runtimes are not built")
        sys.exit(77)
    unittest.main(verbosity=2)
