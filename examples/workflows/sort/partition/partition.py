# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Divides a slice of an array among ranges of values: the numbers of each, sorted, are a message of its stream.

Event: {"input": path, "from", "to": elements, "values": of all ranges, those between them, as hex of the array's type, "first", "end": ranges}.
Result: how many numbers are in each of these ranges, as uint32. There is no message where there is no number.
"""

import numpy as np
import warmcore


def handler(event, context):
    array = np.load(event["input"], mmap_mode="r")
    part = np.sort(array[event["from"] : event["to"]])
    values = np.frombuffer(bytes.fromhex(event["values"]), array.dtype)
    bounds = np.concatenate([[0], np.searchsorted(part, values), [part.size]])[event["first"] : event["end"] + 1]
    for number, (begin, end) in enumerate(zip(bounds, bounds[1:]), event["first"]):
        if end > begin:
            warmcore.Stream("range-%d" % number).send(part[begin:end].tobytes())
    return np.diff(bounds).astype(np.uint32).tobytes()
