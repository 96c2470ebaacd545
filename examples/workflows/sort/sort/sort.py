# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Sorts an array in a file: chooses ranges of values from a sample, has each slice partitioned by them, and each range merged.

Event: {"input": path of a .npy file, "output": path of one of the same type and size that functions may write, "parts": 1 to 32}.
Result: {"slices", "ranges", "passes", "smallest", "largest": numbers in a range, "shuffled": bytes}.
"""

import numpy as np
import warmcore

PARTS_MAX = 32
SAMPLES = 256  # for each range: its size then differs from the mean by a few percent
SLICE_MAX = 6000000  # bytes of a slice: one message, if all of it is in one range
RANGE_MEAN = 3000000  # bytes
PASS_MAX = 48 << 20  # bytes that are shuffled at a time: they are in streams of the workflow, which has 64 MiB for them


def boundaries(array, ranges):
    """ranges - 1 values between the ranges, from evenly spaced samples."""
    sample = np.sort(array[:: max(1, array.size // (ranges * SAMPLES))])
    return sample[[sample.size * i // ranges for i in range(1, ranges)]] if sample.size else sample


def handler(event, context):
    array = np.load(event["input"], mmap_mode="r")
    output = np.load(event["output"], mmap_mode="r")
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf" or array.dtype.byteorder == ">":
        raise ValueError("the input must be a row of numbers, it is %s %s" % (array.dtype, array.shape))
    if (output.shape, output.dtype) != (array.shape, array.dtype):
        raise ValueError("input and output differ in type or size")
    parts = event.get("parts", 16)
    if not isinstance(parts, int) or not 1 <= parts <= PARTS_MAX:
        raise ValueError("parts is 1 to %d" % PARTS_MAX)

    slices = max(parts, -(-array.nbytes // SLICE_MAX))
    ranges = max(parts, -(-array.nbytes // RANGE_MEAN))
    passes = max(1, -(-array.nbytes // PASS_MAX))
    edges = [array.size * i // slices for i in range(slices + 1)]
    values = boundaries(array, ranges).tobytes().hex()  # JSON has neither NaN nor infinity
    at, sizes = 0, []
    for number in range(passes):
        first, end = ranges * number // passes, ranges * (number + 1) // passes
        events = [{"input": event["input"], "from": a, "to": b, "values": values, "first": first, "end": end} for a, b in zip(edges, edges[1:])]
        try:
            counts = np.array([np.frombuffer(reply, np.uint32) for reply in warmcore.map("sort-partition", events)])
        except warmcore.InvokeError as error:
            if "Node.WorkflowFull" not in str(error):
                raise
            raise ValueError("more than 64 MiB of numbers are in a few ranges: too many of them are equal") from error
        merges = []
        for index, column in enumerate(counts.T, first):
            if column.any():
                merges.append({"output": event["output"], "at": at, "range": index, "runs": int(np.count_nonzero(column))})
            sizes.append(int(column.sum()))
            at += sizes[-1]
        for _ in warmcore.map("sort-merge", merges):
            pass
    if at != array.size:
        raise RuntimeError("%d numbers became %d: the input has changed meanwhile" % (array.size, at))
    return {"slices": slices, "ranges": ranges, "passes": passes, "smallest": min(sizes), "largest": max(sizes), "shuffled": at * array.itemsize}
