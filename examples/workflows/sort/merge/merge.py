# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Merges the sorted runs of a range, messages of its stream, and writes them to their place in a file.

Event: {"output": path of a .npy file, "at": element, "range": number, "runs": how many there are, at least 1}. Result: how many numbers.
"""

import numpy as np
import warmcore


def handler(event, context):
    output = np.load(event["output"], mmap_mode="r+")
    stream = warmcore.Stream("range-%d" % event["range"])
    runs = b"".join([stream.receive() for _ in range(event["runs"])])
    # numpy's stable sort finds the runs and merges them, where it is no radix sort.
    numbers = np.sort(np.frombuffer(runs, output.dtype), kind="stable")
    output[event["at"] : event["at"] + numbers.size] = numbers
    output.flush()
    return numbers.size
