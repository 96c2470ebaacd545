#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Objects and streams of a workflow, and calls that are cancelled, as the channel has them, and what the node does of it; test_state.py has the runtimes' API."""

import json
import unittest

import harness
import wcproto

STATE = b"""
import time, warmcore

CANCEL, PUT, GET, DELETE, SEND, RECEIVE, CLOSE = range(4, 11)

def use(how, name="", payload=b"", number=0):
    flags, number, payload = warmcore._Host.channel.call(how, number, name, payload)
    if flags & warmcore.FLAG_FAILED:
        raise warmcore._error(payload)
    return flags, number, payload

def kind(how, *arguments, **named):
    try:
        use(how, *arguments, **named)
    except warmcore.InvokeError as error:
        return error.error_type
    return "ok"

def receive_all(name):
    messages = []
    while True:
        flags, end, payload = use(RECEIVE, name)
        if end:
            return messages
        messages.append(payload)

def objects(event):
    use(PUT, "a", b"first")
    use(PUT, "a", b"\\x00" * 3000000, 1)
    warmcore.invoke("state", {"do": "put", "name": "b"})
    call = warmcore.start("state", {"do": "put", "name": "c"})
    call.result()
    flags, _, large = use(GET, "a")
    result = [flags, len(large), use(GET, "b")[2].decode(), use(GET, "c")[2].decode(), warmcore.invoke("state", {"do": "length", "name": "a"})]
    use(DELETE, "a")
    return result + [kind(GET, "a"), kind(DELETE, "a"), kind(GET, ""), kind(99)]

def full(event):
    count = 0
    while kind(PUT, str(count)) == "ok":
        count += 1
    use(DELETE, "0")
    use(PUT, "0", bytes(6000000))
    large = 0
    while kind(PUT, str(large + 1), bytes(6000000)) == "ok":
        large += 1
    return [count, large, kind(PUT, str(large + 1), bytes(6000000)), kind(PUT, "more")]

def pipeline(event):
    consumer = warmcore.start("state", {"do": "consume"})
    producer = warmcore.start("state", {"do": "produce", **event["with"]})
    return [producer.result(), consumer.result()]

def produce(event):
    for number in range(event["count"]):
        use(SEND, "s", number.to_bytes(4, "little") + bytes(event["size"]))
    use(CLOSE, "s")
    return kind(SEND, "s", b"more")

def consume(event):
    messages = receive_all("s")
    numbers = [int.from_bytes(message[:4], "little") for message in messages]
    return [len(messages), numbers == sorted(numbers), sum(map(len, messages))]

def rally(event):
    echo = warmcore.start("state", {"do": "echo"})
    for number in range(event["count"]):
        use(SEND, "there", str(number).encode())
        assert use(RECEIVE, "back")[2] == str(number).encode()
    use(CLOSE, "there")
    return echo.result()

def echo(event):
    count = 0
    while True:
        _, end, payload = use(RECEIVE, "there")
        if end:
            return count
        use(SEND, "back", payload)
        count += 1

def stall(event):
    other = warmcore.start("state", {"do": "wait", "name": "x"})
    return [kind(RECEIVE, "y"), other.result()]

def cancel(event):
    calls = [warmcore.start("state", {"do": "sleep"}) for _ in range(event["count"])]
    for call in calls:
        use(CANCEL, number=call._number)
    kinds = set()
    for call in calls:
        try:
            call.result()
        except warmcore.InvokeError as error:
            kinds.add(error.error_type)
    return [sorted(kinds), kind(CANCEL, number=12345), warmcore.invoke("state", {"do": "kept", "name": "none"})]

def handler(event, context):
    do, name = event["do"], event.get("name")
    if do == "put":
        use(PUT, name, name.encode())
    elif do == "length":
        return len(use(GET, name)[2])
    elif do == "wait":
        return kind(RECEIVE, name)
    elif do == "kept":
        return kind(GET, name)
    elif do == "sleep":
        time.sleep(100)
    else:
        return globals()[do](event)
"""


class State(harness.NodeTest):
    TAG = "state"

    @classmethod
    def prepare(cls):
        cls.function = cls.node.deploy("state", "python", "state.handler", {"state.py": STATE}, timeout_ms=120000, memory_mb=512)
        cls.client = cls.node.client()
        cls.addClassCleanup(cls.client.close)

    def ask(self, do, **event):
        answer = self.client.invoke(self.function, json.dumps({"do": do, **event}).encode(), seconds=130)
        return json.loads(self.assert_reply(answer).payload)

    def tearDown(self):
        self.node.wait_idle()
        self.assertEqual(self.node.problems(), [])

    def test_objects(self):
        """Seen by all of the workflow, and by nobody else."""
        self.assertEqual(self.ask("objects"), [1, 3000000, "b", "c", 3000000, "Node.NoObject", "Node.NoObject", "Node.BadCall", "Node.BadCall"])
        self.assertEqual(self.ask("kept", name="b"), "Node.NoObject")

    def test_full(self):
        """1,024 names, 64 MiB: and all of it goes with the workflow, or the fifth would not fit into the node's 256 MiB."""
        for _ in range(6):
            self.assertEqual(self.ask("full"), [1024, 10, "Node.WorkflowFull", "Node.WorkflowFull"])

    def test_pipeline(self):
        """More than a stream has room for, in messages and in bytes: none lost, in order."""
        for count, size in ((2000, 10), (100, 400000)):
            self.assertEqual(self.ask("pipeline", **{"with": {"count": count, "size": size}}),
                             ["Node.StreamClosed", [count, True, count * (size + 4)]])  # fmt: skip

    def test_too_much(self):
        """Nobody receives: when all of the workflow waits, the stream fills it, and the sender is told."""
        with self.subTest("sender"):
            answer = self.client.invoke(self.function, json.dumps({"do": "produce", "count": 200, "size": 1000000}).encode(), seconds=130)
            self.assert_error(answer, wcproto.FUNCTION, "InvokeError")
            self.assertIn(b"Node.WorkflowFull", answer.payload)

    def test_rally(self):
        """Two that wait for each other's messages."""
        self.assertEqual(self.ask("rally", count=300), 300)

    def test_stall(self):
        """When all wait and nobody can send, all are told."""
        self.assertEqual(self.ask("stall"), ["Node.StreamStalled", "Node.StreamStalled"])
        self.assertEqual(self.ask("wait", name="x"), "Node.StreamStalled")

    def test_cancel(self):
        """Those that run, and those that wait for a core; what else the workflow does goes on."""
        self.assertEqual(self.ask("cancel", count=10), [["Node.Cancelled"], "Node.NoCall", "Node.NoObject"])


class OneCore(State):
    """Producer and consumer take turns."""

    TAG = "state1"
    OPTIONS = ("--cores", "0")


if __name__ == "__main__":
    harness.main()
