# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a Python function may use of the node it runs on: `import warmcore`. There is nothing to install; docs/CALLS.md.

    import warmcore

    def handler(event, context):
        return warmcore.invoke("resize", {"width": 64, "image": event["image"]})
"""

import json
import os
from _thread import allocate_lock
from collections import deque
from contextlib import suppress

__all__ = ["Call", "InvokeError", "gather", "invoke", "map", "start"]

WINDOW_MAX = 1024  # WC_FANOUT_MAX
RUN, START, WAIT, ANY = range(4)  # enum wc_channel_how
FLAG_BINARY, FLAG_FAILED = 1, 8  # WC_CHANNEL_FLAG_BINARY, WC_CHANNEL_FLAG_FAILED


class InvokeError(Exception):
    """The function that was called failed, or was not run. `error_type` is the name of its exception, or Node.* and Runtime.*."""

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


def _check(function):
    if not isinstance(function, str):
        raise TypeError("the name of a function is a str, not %s" % type(function).__name__)
    if "\0" in function:
        raise ValueError("the name of a function has no 0 in it")


def _check_serving():
    if not _Host.serving:
        raise RuntimeError("functions can be called during an invocation only")


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

    def result(self):
        """Wait for it. As often as you like; the first time before the invocation ends. Raises InvokeError."""
        self._settle(WAIT)
        return _value(self._flags, self._payload)


def start(function, event=None):
    """Begin a call, on another core if one is free, and go on. Returns a Call. At most 1,024 at a time may not have been waited for."""
    _check(function)
    payload = _payload(event)
    with _Host.lock:
        _check_serving()
        flags, number, payload = _Host.channel.call(START, 0, function, payload)
        if flags & FLAG_FAILED:
            raise _error(payload)
        call = _Host.calls[number] = Call(number, _Host.invocation)
    return call


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
