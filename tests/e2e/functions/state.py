# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Objects, streams and cancelling, by the API of Python: what test_state.py asks of each runtime. The event says what to do; "with" the messages."""

import time

import warmcore


def message(event, number):
    return {"n": number, "pad": "x" * event["size"]} if event["kind"] == "json" else b"%d " % number + bytes(event["size"])


def number_of(value):
    return value["n"] if isinstance(value, dict) else int(value.split(b" ")[0])


def produce(event):
    with warmcore.Stream(event["name"]) as stream:
        for number in range(event["count"]):
            stream.send(message(event, number))
    return event["count"]


def consume(event):
    numbers = [number_of(value) for value in warmcore.Stream(event["name"])]
    return [len(numbers), numbers == sorted(numbers)]


def put(event):
    warmcore.put(event["name"], message(event, event["count"]))


def get(event):
    value = warmcore.get(event["name"])
    number = number_of(value)
    return [number, value == message(event, number)]


def delete(event):
    warmcore.delete(event["name"])


def close(event):
    warmcore.Stream(event["name"]).close()


def attempt(event):
    try:
        return number_of(warmcore.Stream(event["name"]).receive(wait=False))
    except BlockingIOError:
        return "would wait"
    except EOFError:
        return "end"


def sleep(event):
    time.sleep(event["count"])


def cancel(event):
    call = warmcore.start(event["name"], {"do": "sleep", "count": 100})
    call.cancel()
    try:
        return call.result()
    except warmcore.InvokeError as error:
        call.cancel()
        return error.error_type


def kind(event):
    """The error that something ends in."""
    try:
        globals()[event["what"]](event)
    except warmcore.InvokeError as error:
        return error.error_type
    except (TypeError, ValueError) as error:
        return type(error).__name__
    return "none"


def special(event):
    """Of Python alone."""
    out = [warmcore.get("none", 5), warmcore.get("none", None)]
    stream = warmcore.Stream("special")
    try:
        with stream:
            stream.send(None)
            raise KeyError("x")
    except KeyError:
        out.append(stream.receive())
    try:
        stream.receive(wait=False)  # it was not closed
    except BlockingIOError as error:
        out.append(error.errno)
    for number in range(256):
        stream.send(number)
    try:
        stream.send(256, wait=False)
    except BlockingIOError as error:
        out.append(error.errno)
    stream.close()
    out.append(sum(stream))
    try:
        stream.receive()
    except EOFError:
        out.append("end")
    for value in (5, "a\0b"):
        try:
            warmcore.Stream(value)
        except (TypeError, ValueError) as error:
            out.append(type(error).__name__)
    warmcore.put("view", memoryview(b"abc")[1:])
    return out + [warmcore.get("view").decode(), repr(stream)]


def main(event):
    """All steps in one workflow: [function, event] each, None: begin them all at once and wait for them."""
    calls, out = [], []
    for step in event["steps"]:
        if event.get("together"):
            calls.append(warmcore.start(*step))
        else:
            try:
                out.append(warmcore.invoke(*step))
            except warmcore.InvokeError as error:
                out.append(error.error_type)
    return out + warmcore.gather(*calls)


def handler(event, context):
    return globals()[event["do"]](event)
