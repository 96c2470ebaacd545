# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Changes how frames look, and has them encoded.

Event: a line of JSON {"width", "height", "filter": "none", "gray" or "sharpen", ...}, then frames in I420. Result: that of media-encode.
"""

import json

import numpy as np
import warmcore


def apply(name, raw, width, height):
    frames = np.frombuffer(raw, np.uint8).reshape(-1, width * height * 3 // 2).copy()
    if name == "gray":
        frames[:, width * height :] = 128
    elif name == "sharpen":
        light = frames[:, : width * height].reshape(-1, height, width).astype(np.int16)
        around = light[:, :-2, 1:-1] + light[:, 2:, 1:-1] + light[:, 1:-1, :-2] + light[:, 1:-1, 2:]
        light[:, 1:-1, 1:-1] += (4 * light[:, 1:-1, 1:-1] - around) // 4
        frames[:, : width * height] = np.clip(light, 0, 255).astype(np.uint8).reshape(len(frames), -1)
    elif name != "none":
        raise ValueError("there is no filter %s: none, gray, sharpen" % name)
    return frames.tobytes()


def handler(event, context):
    end = event.index(b"\n") + 1
    order = json.loads(event[:end])
    return warmcore.invoke("media-encode", event[:end] + apply(order["filter"], event[end:], order["width"], order["height"]))
