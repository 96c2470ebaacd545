# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""bulk.c in Python."""

import os
import time


def handler(event, context):
    first = event[:1]
    if first == b"=":
        return event
    if first == b"w":
        time.sleep(int(event[1:15].split(b" ")[0]) / 1000)
        return event
    if first == b"x":
        os.kill(os.getpid(), 9)
    if first.isdigit():
        size = int(event)
        block = [bytes((j * 7 + i) & 255 for j in range(256)) * 16 for i in range(256)]
        return b"".join(block[i & 255] for i in range((size + 4095) // 4096))[:size]
    return b"%d %d" % (len(event), sum(event))
