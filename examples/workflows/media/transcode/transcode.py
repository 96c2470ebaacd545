# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Makes a smaller video of one, all parts of it at the same time: splits it at its key frames, has each chunk decoded, filtered and encoded, joins them.

Event: a line of JSON {"segment": 1 to 256 frames, "filter", "quality": 4 to 63}, then an IVF file with VP8. Result: an IVF file.
"""

import json
import struct

import warmcore

HEADER, FRAME = struct.Struct("<4sHH4sHHIIII"), struct.Struct("<IQ")


def frames(ivf):
    """(time, bytes) of each."""
    at = HEADER.size
    while at < len(ivf):
        if len(ivf) - at < FRAME.size:
            raise ValueError("the video is cut off at byte %d" % at)
        size, time = FRAME.unpack_from(ivf, at)
        at += FRAME.size
        if not size or size > len(ivf) - at:
            raise ValueError("the video is cut off, or damaged, at byte %d" % at)
        yield time, ivf[at : at + size]
        at += size


def handler(event, context):
    end = event.index(b"\n") + 1
    order, video = json.loads(event[:end]), event[end:]
    segment, quality = order.get("segment", 16), order.get("quality", 16)
    if not (isinstance(segment, int) and isinstance(quality, int) and 1 <= segment <= 256 and 4 <= quality <= 63):
        raise ValueError("segment is 1 to 256, quality 4 to 63")
    if len(video) < HEADER.size or video[:4] != b"DKIF" or video[8:12] != b"VP80":
        raise ValueError("this is no IVF file with VP8")
    _, _, _, _, width, height, rate, scale, _, _ = HEADER.unpack_from(video)
    if not width or not height or width % 4 or height % 4 or width * height > 4 << 20 or not rate or not scale:
        raise ValueError("width and height must be multiples of 4, and not more than 4,194,304 pixels: %dx%d" % (width, height))
    chunks, times, all_times = [], [], []
    for time, data in frames(video):
        if not data[0] & 1:  # a key frame: nothing before it is needed any more
            chunks.append([])
            times.append([])
        elif not chunks:
            raise ValueError("the video does not begin with a key frame")
        chunks[-1].append(FRAME.pack(len(data), time) + data)
        if data[0] & 16:  # it is shown
            times[-1].append(time)
            all_times.append(time)
    if len(all_times) < 1:
        raise ValueError("the video has no frames")
    step = max(1, (all_times[-1] - all_times[0]) // max(1, len(all_times) - 1))
    what = {"width": width, "height": height, "segment": segment, "filter": order.get("filter", "none"), "quality": quality, "rate": [rate, scale * step]}
    events = [json.dumps({**what, "shown": len(t)}).encode() + b"\n" + video[: HEADER.size] + b"".join(chunk) for chunk, t in zip(chunks, times)]
    out = [HEADER.pack(b"DKIF", 0, HEADER.size, b"VP80", width // 2, height // 2, rate, scale, len(all_times), 0)]
    for part, shown in zip(warmcore.map("media-frames", events), times):
        made = [data for _, data in frames(video[: HEADER.size] + part)]
        if len(made) != len(shown):
            raise RuntimeError("%d frames became %d" % (len(shown), len(made)))
        out.extend(FRAME.pack(len(data), time) + data for data, time in zip(made, shown))
    return b"".join(out)
