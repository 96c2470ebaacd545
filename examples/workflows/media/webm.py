# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The VP8 frames of a WebM file, as an IVF file: no more of the format than that needs."""

import struct

SEGMENT, TRACKS, TRACK, VIDEO, CLUSTER, GROUP = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675, 0xA0
NUMBER, CODEC, WIDTH, HEIGHT, TIME, SIMPLE, BLOCK = 0xD7, 0x86, 0xB0, 0xBA, 0xE7, 0xA3, 0xA1


def number(data, at, end, marked=False):
    """A number of variable length, and where the next byte is. With `marked` its length stays in it, as in an element's id."""
    first = data[at] if at < end else 0
    length = 9 - first.bit_length()
    if not first or at + length > end:
        raise ValueError("the WebM file is damaged, or cut off, at byte %d" % at)
    value = int.from_bytes(data[at : at + length], "big")
    return (value if marked else value & (1 << 7 * length) - 1), at + length, length


def elements(data, at, end):
    """(id, begin, end) of each, also of those within others that matter here."""
    while at < end:
        kind, at, _ = number(data, at, end, True)
        size, at, length = number(data, at, end)
        stop = end if size == (1 << 7 * length) - 1 else at + size
        if stop > end:
            raise ValueError("the WebM file is cut off at byte %d" % at)
        yield kind, at, stop
        if kind in (SEGMENT, TRACKS, TRACK, VIDEO, CLUSTER, GROUP):
            yield from elements(data, at, stop)
        at = stop


def to_ivf(data):
    """ValueError when there is no VP8 in it."""
    value = {}
    time, wanted, frames = 0, None, []
    for kind, begin, end in elements(data, 0, len(data)):
        if kind == TRACK:
            value = {}
        elif kind in (NUMBER, WIDTH, HEIGHT, TIME):
            value[kind] = int.from_bytes(data[begin:end], "big")
            time = value.get(TIME, 0) if kind == TIME else time
        elif kind == CODEC and data[begin:end].rstrip(b"\0") == b"V_VP8" and wanted is None:
            wanted = value  # what comes later of this track goes there, too
        elif kind in (SIMPLE, BLOCK) and wanted is not None:
            track, at, _ = number(data, begin, end)
            if track == wanted.get(NUMBER):
                if end - at < 4 or data[at + 2] & 6:
                    raise ValueError("frames of the WebM file are laced, or damaged")
                frames.append((max(0, time + int.from_bytes(data[at : at + 2], "big", signed=True)), data[at + 3 : end]))
    if wanted is None or not frames:
        raise ValueError("there is no VP8 video in the WebM file")
    head = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", wanted.get(WIDTH, 0), wanted.get(HEIGHT, 0), 1000, 1, len(frames), 0)
    return head + b"".join(struct.pack("<IQ", len(frame), at) + frame for at, frame in frames)
