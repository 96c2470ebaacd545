# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A Python function that does what the event says: every way to succeed and to fail."""

import os
import signal
import subprocess
import sys
import time


def shared(name):
    return os.path.join(os.environ["SHARED"], name)


def append(name, text):
    """One write(2) to a file in append mode: whole lines, whoever else writes."""
    fd = os.open(shared(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(fd, (text + "\n").encode())
    os.close(fd)


def inner():
    raise ValueError("no good: \u00e9\u4e16")


def handler(event, context):
    do = event.get("do") if isinstance(event, dict) else None
    if do == "count":
        append("runs", event["tag"])
        time.sleep(event.get("sleep_ms", 0) / 1000)
        return event["tag"]
    if do == "where":
        return [os.stat("/proc/self/ns/pid").st_ino, os.getpid()]
    if do == "pid":
        return os.getpid()
    if do == "sleep":
        time.sleep(event["ms"] / 1000)
        return "slept"
    if do == "wait":
        while not os.path.exists(os.path.join(os.environ["SHARED"], event["file"])):
            time.sleep(0.01)
        return "waited"
    if do == "raise":
        inner()
    if do == "unserializable":
        return object()
    if do == "exit":
        os._exit(event["status"])
    if do == "sys.exit":
        sys.exit(event["status"])
    if do == "abort":
        os.abort()
    if do == "signal":
        os.kill(os.getpid(), event["number"])
        time.sleep(60)
    if do == "loop":
        while True:
            pass
    if do == "huge":
        return "x" * event["bytes"]
    if do == "print":
        print(event["out"])
        print(event["err"], file=sys.stderr, flush=True)
        return "printed"
    if do == "flood":
        for i in range(event["lines"]):
            os.write(1, b"%06d %s\n" % (i, b"y" * 90))
        return "flooded"
    if do == "children":
        # Then the function hangs, crashes or returns, and they must go with it.
        commands = [["sleep", "1000"]] * 3
        if event.get("hiding"):  # without a trace in the environment, and not dumpable (PR_SET_DUMPABLE)
            commands[2] = [sys.executable, "-c", "import ctypes, time; ctypes.CDLL(None).prctl(4, 0); time.sleep(1000)"]
        environment = {} if event.get("hiding") else None
        children = [subprocess.Popen(command, env=environment, start_new_session=event.get("session", False))
                    for command in commands]  # fmt: skip
        append("children", "%d %s" % (os.stat("/proc/self/ns/pid").st_ino, " ".join(str(child.pid) for child in children)))
        if event["then"] == "loop":
            while True:
                pass
        if event["then"] == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        return [child.pid for child in children]
    return event


def binary(event, context):
    return bytes(event)
