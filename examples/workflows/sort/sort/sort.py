# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Sorts an array in a file: chooses ranges of values from a sample, has each slice partitioned by them, and each range merged.

Event: {"input": path of a .npy file, "output": path of one of the same type and size that functions may write, "parts": 1 to 32}.
Result: {"slices", "ranges", "passes", "smallest", "largest": numbers in a range, "shuffled": bytes}.
"""

import json

import numpy as np
import warmcore

PARTS_MAX = 32
SAMPLES = 256  # for each range: its size then differs from the mean by a few percent
SLICE_MAX = 6000000  # bytes of a slice, and of a range: one payload, and what is said about it
PASS_MAX = 48 << 20  # bytes that are shuffled at a time: they are in memory


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

    # A slice and a range have to fit a payload; ranges are not equal, so they are meant to be half of that.
    slices = max(parts, -(-array.nbytes // SLICE_MAX))
    ranges = max(parts, -(-array.nbytes // (SLICE_MAX // 2)))
    passes = max(1, -(-array.nbytes // PASS_MAX))
    edges = [array.size * i // slices for i in range(slices + 1)]
    values = boundaries(array, ranges).tobytes().hex()  # JSON has neither NaN nor infinity
    at, sizes, shuffled = 0, [], 0
    for number in range(passes):
        first, end = ranges * number // passes, ranges * (number + 1) // passes
        events = [{"input": event["input"], "from": a, "to": b, "values": values, "first": first, "end": end} for a, b in zip(edges, edges[1:])]
        # Of each slice: how many numbers are in each range, then the numbers, sorted.
        pieces = []
        for reply in warmcore.map("sort-partition", events):
            counts = np.frombuffer(reply, np.uint32, end - first)
            pieces.append((memoryview(reply), np.cumsum([counts.nbytes, *(counts.astype(np.int64) * array.itemsize)]).tolist()))
            shuffled += len(reply)

        def merges(pieces=pieces, count=end - first):
            nonlocal at
            for i in range(count):
                runs = [reply[bounds[i] : bounds[i + 1]] for reply, bounds in pieces]
                size = sum(map(len, runs))
                if size > SLICE_MAX:
                    raise ValueError("%d numbers are in one range: too many of them are equal" % (size // array.itemsize))
                head = json.dumps({"output": event["output"], "at": at}).encode() + b"\n"
                at += size // array.itemsize
                sizes.append(size // array.itemsize)
                yield b"".join([head, *runs])

        for _ in warmcore.map("sort-merge", merges()):
            pass
    if at != array.size:
        raise RuntimeError("%d numbers became %d: the input has changed meanwhile" % (array.size, at))
    return {"slices": slices, "ranges": ranges, "passes": passes, "smallest": min(sizes), "largest": max(sizes), "shuffled": shuffled}
