# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a Python function may use of the node it runs on: `import warmcore`. There is nothing to install; docs/CALLS.md.

    import warmcore

    def handler(event, context):
        return warmcore.invoke("resize", {"width": 64, "image": event["image"]})

A workflow is an invocation of a client and all calls within it. Its functions share objects and streams:

    warmcore.put("model", weights)                       # in one function
    weights = warmcore.get("model")                      # in another one

    with warmcore.Stream("frames") as frames:            # a producer
        for frame in decode(event):
            frames.send(frame)

    for frame in warmcore.Stream("frames"):              # its consumer
        ...
"""

import json
import os
from _thread import allocate_lock
from collections import deque
from contextlib import suppress
from errno import EAGAIN

__all__ = ["Call", "InvokeError", "Stream", "delete", "gather", "get", "invoke", "map", "put", "start"]

WINDOW_MAX = 1024  # WC_FANOUT_MAX
RUN, START, WAIT, ANY, CANCEL, PUT, GET, DELETE, SEND, RECEIVE, CLOSE = range(11)  # enum wc_channel_how
CHECK = 12
START_VERSION = 0x10000  # WC_CHANNEL_START_VERSION
FLAG_BINARY, FLAG_FAILED, FLAG_TRY = 1, 8, 16  # WC_CHANNEL_FLAG_*
END = 1  # number of the RESULT of RECEIVE: the end of the stream


class InvokeError(Exception):
    """The function that was called failed, or was not run; or an object or a stream cannot be had. `error_type` is the name of the function's
    exception, or Node.* and Runtime.*."""

    def __init__(self, error_type, error_message, stack_trace=()):
        super().__init__("%s: %s" % (error_type, error_message))
        self.error_type, self.error_message, self.stack_trace = error_type, error_message, list(stack_trace)


class _Host:
    """The process that the function runs in."""

    channel = encode = decode = None
    invocation = 0  # its number
    calls = {}  # of this invocation, by number: that were begun and not waited for
    serving = False  # an invocation is under way: only then is anybody there to answer
    lock = allocate_lock()


def _begin():
    _Host.invocation += 1
    if _Host.calls:
        _Host.calls = {}
    _Host.serving = True


def _end():
    """The invocation is over. Waits for a thread of the function's that still calls something."""
    with _Host.lock:
        _Host.serving = False


def _error(payload):
    try:
        error = json.loads(payload)
    except ValueError:
        error = None
    if not isinstance(error, dict):
        error = {}
    return InvokeError(error.get("errorType", "Unknown"), error.get("errorMessage", ""), error.get("stackTrace") or ())


def _payload(event):
    if isinstance(event, (bytes, bytearray, memoryview)):
        return bytes(event)
    if _Host.encode is None:
        raise RuntimeError("functions can be called by functions only")
    return _Host.encode(event)


def _check(name, of="a function"):
    if not isinstance(name, str):
        raise TypeError("the name of %s is a str, not %s" % (of, type(name).__name__))
    if "\0" in name:
        raise ValueError("the name of %s has no 0 in it" % of)


def _check_serving():
    if not _Host.serving:
        raise RuntimeError("functions can be called, and objects and streams be used, during an invocation only")


def _forked():
    """The channel is the parent's."""
    _Host.serving, _Host.lock = False, allocate_lock()


os.register_at_fork(after_in_child=_forked)


def _value(flags, payload):
    if flags & FLAG_FAILED:
        raise _error(payload)
    if flags & FLAG_BINARY:
        return payload
    return _Host.decode(payload) if payload else None


def invoke(function, event=None):
    """Call another function, "NAME" or "NAME:QUALIFIER", and wait for its result.

    `event` is sent as JSON; bytes (bytearray, memoryview) go as they are. The result is a JSON value, or bytes when the function answered with
    bytes. It gets what is left of this invocation's time. Raises InvokeError. Calls from several threads run one after the other.
    """
    _check(function)
    payload = _payload(event)
    with _Host.lock:
        _check_serving()
        flags, _, payload = _Host.channel.call(RUN, 0, function, payload)
    return _value(flags, payload)


class Call:
    """A call that start() has begun."""

    __slots__ = ("_number", "_invocation", "_flags", "_payload")

    def __init__(self, number, invocation):
        self._number, self._invocation, self._flags, self._payload = number, invocation, 0, None

    def _step(self, how):
        """Wait until a call has ended: this one (WAIT), or the next of all (ANY). With the lock."""
        _check_serving()
        if self._invocation != _Host.invocation:
            raise RuntimeError("the call belongs to an invocation that is over")
        flags, number, payload = _Host.channel.call(how, self._number, "", b"")
        call = self if how == WAIT else _Host.calls.get(number)
        if call is None:
            raise _error(payload)
        _Host.calls.pop(call._number, None)
        call._flags, call._payload = flags, payload

    def _settle(self, how):
        """Wait until it has ended: for it alone (WAIT), or for all as they end (ANY), so that this core runs what no other has begun."""
        with _Host.lock:
            while self._payload is None:
                self._step(how)

    def cancel(self):
        """It is not wanted any more: if it has not begun, it does not; if it runs, its process is ended. result() then raises InvokeError
        (Node.Cancelled), or returns what it has returned before that."""
        with _Host.lock:
            if self._payload is not None:
                return
            _check_serving()
            if self._invocation != _Host.invocation:
                raise RuntimeError("the call belongs to an invocation that is over")
            flags, _, payload = _Host.channel.call(CANCEL, self._number, "", b"")
        _value(flags, payload)

    def result(self):
        """Wait for it. As often as you like; the first time before the invocation ends. Raises InvokeError."""
        self._settle(WAIT)
        return _value(self._flags, self._payload)


def _start(function, payload, how=0):
    """Returns a Call, and the version that runs if `how` asks for it."""
    with _Host.lock:
        _check_serving()
        flags, number, payload = _Host.channel.call(START, how, function, payload)
        if flags & FLAG_FAILED:
            raise _error(payload)
        call = _Host.calls[number] = Call(number, _Host.invocation)
    return call, payload


def _start_for_sdk(function, payload, client):
    """The same with Lambda's client context, JSON as bytes. Returns a Call, and the version that runs."""
    call, version = _start(function, client + payload, START_VERSION | len(client))
    return call, version.decode()


def _find(function):
    """The version that a call would run now. Raises InvokeError when there is none, or it may not be called."""
    with _Host.lock:
        _check_serving()
        flags, _, payload = _Host.channel.call(CHECK, 0, function, b"")
    if flags & FLAG_FAILED:
        raise _error(payload)
    return payload.decode()


def start(function, event=None):
    """Begin a call, on another core if one is free, and go on. Returns a Call. At most 1,024 at a time may not have been waited for."""
    _check(function)
    return _start(function, _payload(event))[0]


def gather(*calls, return_exceptions=False):
    """The results of calls, in the order of the calls, when all have ended. Of the InvokeErrors the first is raised; with return_exceptions they are
    among the results."""
    results = []
    for call in calls:
        call._settle(ANY)
        try:
            results.append(call.result())
        except InvokeError as error:
            results.append(error)
    errors = [result for result in results if isinstance(result, InvokeError)]
    if errors and not return_exceptions:
        raise errors[0]
    return results


def map(function, events, window=256):
    """Call a function with each event, at most `window` (1 to 1,024) at a time: its results, in order, as they are there. Raises InvokeError."""
    if not 1 <= window <= WINDOW_MAX:
        raise ValueError("window is 1 to %d" % WINDOW_MAX)
    waiting = deque()
    try:
        for event in events:
            if len(waiting) == window:
                yield from gather(waiting.popleft())
            waiting.append(start(function, event))
        while waiting:
            yield from gather(waiting.popleft())
    finally:  # who stops in the middle has room for other calls
        with suppress(RuntimeError):
            gather(*waiting, return_exceptions=True)


def _use(how, name, of, flags=0, payload=b""):
    """Ask for something of the workflow. Returns (flags, number, payload)."""
    _check(name, of)
    with _Host.lock:
        _check_serving()
        return _Host.channel.call(how, flags, name, payload)


def _with(value):
    """The flags of a value, and its bytes."""
    return FLAG_BINARY if isinstance(value, (bytes, bytearray, memoryview)) else 0, _payload(value)


_RAISE = object()


def put(name, value):
    """Keep a value as an object of this workflow: all of its functions see it, and nobody else; it is gone when the workflow is over.

    bytes (bytearray, memoryview) stay as they are; all else is kept as JSON. Replaces the object that has this name. Raises InvokeError
    (Node.WorkflowFull: 1,024 objects and streams, 64 MiB).
    """
    flags, _, payload = _use(PUT, name, "an object", *_with(value))
    _value(flags, payload)


def get(name, default=_RAISE):
    """The object of this name. When there is none: `default`, or without one InvokeError (Node.NoObject)."""
    flags, _, payload = _use(GET, name, "an object")
    try:
        return _value(flags, payload)
    except InvokeError as error:
        if default is _RAISE or error.error_type != "Node.NoObject":
            raise
        return default


def delete(name):
    """Forget an object. Raises InvokeError (Node.NoObject)."""
    flags, _, payload = _use(DELETE, name, "an object")
    _value(flags, payload)


class Stream:
    """A stream of this workflow: messages that some of its functions send and others receive, each of them once, in the order they were sent.

    It needs no opening, and may be used by any number of functions, before or after each other. `for message in stream` goes on until it was closed.
    `with` closes it, unless an exception ended the block: then who receives is not to take what there is for all.
    """

    __slots__ = ("name",)

    def __init__(self, name):
        _check(name, "a stream")
        self.name = name

    def __repr__(self):
        return "warmcore.Stream(%r)" % self.name

    def _move(self, how, wait, flags=0, payload=b""):
        flags, number, payload = _use(how, self.name, "a stream", flags if wait else flags | FLAG_TRY, payload)
        if how == RECEIVE and number == END and not flags & FLAG_FAILED:
            raise EOFError("the stream %r has ended" % self.name)
        try:
            return _value(flags, payload)
        except InvokeError as error:
            if error.error_type == "Node.WouldWait":
                raise BlockingIOError(EAGAIN, "%s: %r" % (error.error_message, self.name)) from None
            raise

    def send(self, value, wait=True):
        """Send a value, or bytes. Waits while the stream is full (256 messages, 8 MiB), or with wait=False raises BlockingIOError. Raises InvokeError
        (Node.StreamClosed)."""
        self._move(SEND, wait, *_with(value))

    def receive(self, wait=True):
        """The next message; waits for one, or with wait=False raises BlockingIOError. EOFError: it was closed, and nothing is left in it. Raises
        InvokeError (Node.StreamStalled) when all functions that the workflow still has wait: no message can come."""
        return self._move(RECEIVE, wait)

    def close(self):
        """No more messages come. As often as you like, and by any function."""
        flags, _, payload = _use(CLOSE, self.name, "a stream")
        _value(flags, payload)

    def __iter__(self):
        with suppress(EOFError):
            while True:
                yield self.receive()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
