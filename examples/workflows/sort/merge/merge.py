# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Merges sorted runs and writes them to their place in a file.

Event: a line of JSON {"output": path of a .npy file, "at": element}, then the runs, one after the other. Result: how many numbers.
"""

import json

import numpy as np


def handler(event, context):
    end = event.index(b"\n") + 1
    order = json.loads(event[:end])
    output = np.load(order["output"], mmap_mode="r+")
    # numpy's stable sort finds the runs and merges them, where it is no radix sort.
    numbers = np.sort(np.frombuffer(event, output.dtype, offset=end), kind="stable")
    output[order["at"] : order["at"] + numbers.size] = numbers
    output.flush()
    return numbers.size
