# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""relay.c in Python, which says what it does."""

import json
import os
import threading
import time
import zlib

import warmcore


class Called(Exception):
    pass


def pattern(length):
    return bytes((i * 7 + i // 256) & 255 for i in range(min(length, 65536))) * (length // 65536 + 1)


def call(name, payload):
    try:
        return warmcore.invoke(name, payload)
    except warmcore.InvokeError as error:
        raise Called('{"errorType":"%s","errorMessage":"%s"}' % (error.error_type, error.error_message)) from None


def handler(event, context):
    line, _, rest = event.partition(b"\n")
    line = line.decode()
    if not line:
        return rest
    if line[0] == "*":
        return pattern(int(line[1:]))[: int(line[1:])]
    if line[0] == ">":
        size, name = line[1:].split(" ", 1)
        result = call(name, b"\n" + pattern(int(size))[: int(size)])
    else:
        result = call(line.lstrip("?"), rest)
    if line[0] in ">?":
        return b"%d %08x" % (len(result), zlib.crc32(result))
    return result


def json_call(event, context):
    return {"result": warmcore.invoke(event["name"], event["event"]), "left": context.get_remaining_time_in_millis()}


def about(event, context):
    return {"id": context.aws_request_id, "parent": context.traceparent, "client": context.client_context is not None,
            "left": context.get_remaining_time_in_millis(), "core": context.core}  # fmt: skip


def about_relayed(event, context):
    return [about(event, context), warmcore.invoke("about", event)]


def threads(event, context):
    """Calls from threads; one of them goes on calling when the invocation is over."""
    results = {}

    def work(i):
        results[i] = warmcore.invoke("echo", b"\n%d" % i).decode()

    workers = [threading.Thread(target=work, args=(i,)) for i in range(event)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    threading.Thread(target=late, daemon=True).start()
    return [results[i] for i in range(event)]


LATE = []


def late():
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            warmcore.invoke("echo", b"\nlate")
        except RuntimeError as error:
            LATE.append(str(error))
            return


def look(event, context):
    return LATE


def sleep(event, context):
    time.sleep(event)
    return "slept"


def tell(event, context):
    """Says who it is before it calls."""
    path = os.environ["SHARED"] + "/" + event
    with open(path + ".part", "w") as file:
        json.dump([os.stat("/proc/self/ns/pid").st_ino, os.getpid()], file)
    os.rename(path + ".part", path)
    return warmcore.invoke("sleep", 1)


def fan(event, context):
    """All at once, as many as there may be at a time."""
    calls = [warmcore.start(event["name"], b"\n%d" % i) for i in range(event["count"])]
    results = warmcore.gather(*calls)
    assert [call.result() for call in calls] == results
    return [int(result) for result in results]


def mapped(event, context):
    return sum(int(result) for result in warmcore.map("echo", (b"\n%d" % i for i in range(event))))


def tree(event, context):
    """Two calls of itself, `event` levels deep; how many there were."""
    if not event:
        return 1
    return 1 + sum(warmcore.gather(warmcore.start("tree", event - 1), warmcore.start("tree", event - 1)))


def mixed(event, context):
    """Errors among results, and a call that nobody waits for."""
    calls = [warmcore.start("fail", {}), warmcore.start("echo", b"\nx"), warmcore.start("relay-c", b"?echo\n" + pattern(1 << 20))]
    warmcore.start("probe", {"do": "count", "tag": event})
    out = [str(result) for result in warmcore.gather(*calls, return_exceptions=True)]
    try:
        warmcore.start("none", {})
    except warmcore.InvokeError as error:
        out.append(error.error_type)
    return out


KEPT = []


def keep(event, context):
    """A call of an invocation that is over."""
    KEPT.append(warmcore.start("echo", b"\nx"))
    try:
        return KEPT[0].result().decode() if len(KEPT) == 1 and event else KEPT[0].result() and "kept"
    except RuntimeError as error:
        return str(error)


def too_many(event, context):
    for i in range(2000):
        try:
            warmcore.start("sleep", 0)
        except warmcore.InvokeError as error:
            return [i, error.error_type]


def forget(event, context):
    """Begin so many, and wait for none."""
    for _ in range(event):
        warmcore.start("counted", b"\nx")


def expire(event, context):
    for _ in range(event):
        warmcore.start("nap", 20)
    time.sleep(60)


def nap(event, context):
    time.sleep(event / 1000)
    return 0


def large(event, context):
    """One after the other: each is begun, waited for, and gone."""
    return sum(len(warmcore.start("relay-c", b"*5242880").result()) for _ in range(event))


def forks(event, context):
    child = os.fork()
    if not child:
        try:
            warmcore.invoke("echo", b"\nx")
        except RuntimeError:
            os._exit(3)
        os._exit(4)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), warmcore.invoke("echo", b"\nx").decode()]


def busy(event, context):
    end = time.thread_time() + event / 1000
    while time.thread_time() < end:
        pass
    return os.stat("/proc/self/ns/pid").st_ino and context.core


def spread(event, context):
    """On which cores its calls have run. They take much longer than a start: else another core may rather wait for an instance."""
    return sorted(set(warmcore.gather(*[warmcore.start("busy", 300) for _ in range(event)])))


def fail(event, context):
    raise ValueError("it failed \u00fc")
