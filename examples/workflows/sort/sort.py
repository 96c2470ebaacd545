#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Sorts a numpy array that is larger than a payload on a node, as PyWren would: a map over slices, a shuffle, a map over ranges of values.

    warmcore up --share /srv/arrays
    examples/workflows/sort/sort.py --folder /srv/arrays --elements 10000000
    examples/workflows/sort/sort.py --folder /srv/arrays --input measured.npy --output sorted.npy

The array is a .npy file in a folder that functions see (`warmcore up --share`); so is the result. Needs /usr/bin/python3 with numpy (python3-numpy),
which the functions need as well.
"""

import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import client  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def create(path, like):
    """An empty array of that shape, which functions, each a user of its own, may write to."""
    np.lib.format.open_memmap(path, "w+", like.dtype, like.shape).flush()
    os.chmod(path, 0o666)


def sort():
    options = client.parser(__doc__)
    options.add_argument("--folder", required=True, help="where input and output are: one that the node shares")
    options.add_argument("--elements", type=int, help="make an input of so many numbers (float64) first")
    options.add_argument("--seed", type=int, default=1, help="of that input")
    options.add_argument("--input", default="input.npy")
    options.add_argument("--output", default="output.npy")
    options.add_argument("--parts", type=int, default=16, help="slices of the input, and ranges of the output (16; 1 to 32)")
    options.add_argument("--check", action="store_true", help="sort it here, too, and compare")
    args = options.parse_args()
    source, target = (os.path.join(os.path.abspath(args.folder), name) for name in (args.input, args.output))
    if args.elements is not None:
        if not 0 <= args.elements <= 1 << 30:
            raise client.Failed("--elements is 0 to 2^30")
        np.save(source, np.random.default_rng(args.seed).standard_normal(args.elements))
        os.chmod(source, 0o644)
    try:
        array = np.load(source, mmap_mode="r" if os.path.getsize(source) > 128 else None)
    except ValueError as error:
        raise client.Failed("%s is no array: %s" % (source, error)) from None

    node = client.Node(args.node, args.warmcore)
    node.deploy(*(os.path.join(HERE, name) for name in ("partition", "merge", "sort")))
    unfinished = target + ".unfinished"
    create(unfinished, array)
    try:
        event = {"input": source, "output": unfinished, "parts": args.parts}
        seconds, told = client.timed(node.invoke_json, "sort", event, args.seconds)
        os.rename(unfinished, target)  # so there is no half of a result under that name
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
    print("%d numbers (%.1f MB) in %.2f s: %d slices, %d ranges (%d to %d numbers), %d passes, %.1f MB shuffled"
          % (array.size, array.nbytes / 1e6, seconds, told["slices"], told["ranges"], told["smallest"], told["largest"], told["passes"],
             told["shuffled"] / 1e6))  # fmt: skip
    if args.check:
        seconds, expected = client.timed(np.sort, array)
        if not np.array_equal(np.load(target), expected, equal_nan=array.dtype.kind == "f"):
            raise client.Failed("the result is not what numpy.sort() makes of it")
        print("the same as numpy.sort() in one process, which took %.2f s" % seconds)


client.main(sort)
