# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Calls another function as often as it is told, one call after the other, and says how long each took: "noop 1000" -> {"ns": [...]}."""

import time

import warmcore


def handler(event, context):
    name, count = event.split()
    times = []
    for _ in range(int(count)):
        start = time.monotonic_ns()
        warmcore.invoke(name, {})
        times.append(time.monotonic_ns() - start)
    return {"ns": times}
