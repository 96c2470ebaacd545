# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Decodes a chunk of VP8 video that begins with a key frame, halves width and height, and hands segments on while it still decodes.

Event: a line of JSON {"width", "height", "shown": frames, "segment": frames, "filter", "quality", "rate": [frames, seconds]}, then an IVF file.
Result: the encoded frames of all segments, as an IVF file has them behind its header.
"""

import json
import subprocess
import tempfile

import numpy as np
import warmcore

ROOM = 6 << 20


def halve(raw, width, height):
    """A frame in I420, each pixel the mean of four. Both sides are multiples of 4."""
    out, at = [], 0
    for w, h in ((width, height), (width // 2, height // 2), (width // 2, height // 2)):
        plane = np.frombuffer(raw, np.uint8, w * h, at).reshape(h // 2, 2, w // 2, 2)
        out.append(((plane.sum((1, 3), dtype=np.uint16) + 2) // 4).astype(np.uint8).tobytes())
        at += w * h
    return b"".join(out)


def handler(event, context):
    end = event.index(b"\n") + 1
    order = json.loads(event[:end])
    width, height = order["width"], order["height"]
    size, calls, waiting, count = width * height * 3 // 2, [], [], 0
    most = min(order["segment"], (ROOM - 1024) // (size // 4))
    head = {"width": width // 2, "height": height // 2, "filter": order["filter"], "quality": order["quality"], "rate": order["rate"]}
    with tempfile.NamedTemporaryFile(suffix=".ivf") as file, tempfile.TemporaryFile() as said:
        file.write(event[end:])
        file.flush()
        with subprocess.Popen(["vpxdec", "--i420", "-o", "-", file.name], stdout=subprocess.PIPE, stderr=said) as decoder:
            while True:
                raw = decoder.stdout.read(size)
                if len(raw) == size:
                    waiting.append(halve(raw, width, height))
                    count += 1
                if waiting and (len(raw) < size or len(waiting) == most):
                    calls.append(warmcore.start("media-filter", json.dumps(head).encode() + b"\n" + b"".join(waiting)))
                    waiting = []
                if len(raw) < size:
                    break
        if decoder.returncode or raw or count != order["shown"]:
            said.seek(0)
            raise ValueError("%d of %d frames could be decoded: %s" % (count, order["shown"], said.read(2000).decode(errors="replace").strip()))
    return b"".join(warmcore.gather(*calls))
