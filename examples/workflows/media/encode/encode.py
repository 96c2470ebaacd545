# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Encodes frames as VP8, the first of them as a key frame.

Event: a line of JSON {"width", "height", "quality": 4 (best) to 63, "rate": [frames, seconds]}, then frames in I420.
Result: the encoded frames, as an IVF file has them behind its header.
"""

import json
import subprocess


def encode(raw, width, height, quality, rate):
    command = ["vpxenc", "-D", "-q", "--codec=vp8", "--ivf", "--i420", "--width=%d" % width, "--height=%d" % height, "--fps=%d/%d" % tuple(rate),
               "--passes=1", "--good", "--cpu-used=4", "--threads=1", "--end-usage=cq", "--cq-level=%d" % quality, "--target-bitrate=20000",
               "--lag-in-frames=0", "--auto-alt-ref=0", "--disable-kf", "-o", "-", "-"]  # fmt: skip
    done = subprocess.run(command, input=raw, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode or len(done.stdout) < 32:
        raise RuntimeError("vpxenc: status %d: %s" % (done.returncode, done.stderr[-2000:].decode(errors="replace").strip()))
    return done.stdout[32:]


def handler(event, context):
    end = event.index(b"\n") + 1
    order = json.loads(event[:end])
    return encode(event[end:], order["width"], order["height"], order["quality"], order["rate"])
