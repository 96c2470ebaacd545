# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""gate.c in Python: it writes when it begins and when it ends, and waits in between.

The event is {"tag": TAG, "gate": GATE or "=MS"}; the result says where it ran.
"""

import os
import time


def append(what, tag):
    fd = os.open(os.path.join(os.environ["SHARED"], "spans"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, ("%s %s\n" % (what, tag)).encode())
    os.close(fd)


def handler(event, context):
    tag, gate = event["tag"], event.get("gate", "")
    append("B", tag)
    if gate.startswith("="):
        time.sleep(int(gate[1:]) / 1000)
    elif gate:
        while not os.path.exists(os.path.join(os.environ["SHARED"], gate)):
            time.sleep(0.002)
    append("E", tag)
    return {"tag": tag, "core": context.core, "pid": os.getpid(), "cpus": sorted(os.sched_getaffinity(0))}
