#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Makes a video of half the width and height, its parts at the same time: decode, filter and encode, as Sprocket and ExCamera do.

    apt-get install vpx-tools
    apt-get download gnome-user-docs && dpkg-deb --fsys-tarfile gnome-user-docs_*.deb |
        tar xO ./usr/share/help/C/gnome-help/figures/display-dual-monitors.webm >in.webm
    build/examples/workflows/media/media.py in.webm out.ivf --filter sharpen --check

Input is WebM or IVF with VP8, up to 6 MB; the output is IVF, which players and `vpxdec` read. Functions run vpxdec and vpxenc of the node's host.
"""

import importlib
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import types

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..")]
import client  # noqa: E402
import webm  # noqa: E402


def decode(video):
    """All frames, one after the other, in I420."""
    with tempfile.NamedTemporaryFile(suffix=".ivf") as file:
        file.write(video)
        file.flush()
        return subprocess.run(["vpxdec", "--i420", "-o", "-", file.name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def packets(ivf):
    at = 32
    while at < len(ivf):
        size, time = struct.unpack_from("<IQ", ivf, at)
        yield time, ivf[at + 12 : at + 12 + size]
        at += 12 + size


def alone(args, video):
    """The same in one process: what the file shall be, and its frames before they were encoded."""
    sys.modules["warmcore"] = types.ModuleType("warmcore")  # the parts that are used here call nobody
    sys.path[:0] = [os.path.join(HERE, name) for name in ("frames", "filter", "encode")]
    frames, look, encode = (importlib.import_module(name) for name in ("frames", "filter", "encode"))
    width, height, rate, scale = struct.unpack_from("<HHII", video, 12)
    raw, size = decode(video), width * height * 3 // 2
    whole = [frames.halve(raw[at : at + size], width, height) for at in range(0, len(raw), size)]
    shown = [(time, not data[0] & 1) for time, data in packets(video) if data[0] & 16]
    step = max(1, (shown[-1][0] - shown[0][0]) // max(1, len(shown) - 1))
    most, out, before, at = min(args.segment, (frames.ROOM - 1024) // (size // 4)), [], [], 0
    while at < len(whole):
        end = next((i for i in range(at + 1, min(at + most, len(whole))) if shown[i][1]), min(at + most, len(whole)))
        filtered = look.apply(args.filter, b"".join(whole[at:end]), width // 2, height // 2)
        made = encode.encode(filtered, width // 2, height // 2, args.quality, (rate, scale * step))
        out.extend(data for _, data in packets(bytes(32) + made))
        before.append(filtered)
        at = end
    head = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", width // 2, height // 2, rate, scale, len(whole), 0)
    return head + b"".join(struct.pack("<IQ", len(data), time) + data for data, (time, _) in zip(out, shown)), b"".join(before)


def psnr(left, right):
    import numpy as np

    if len(left) != len(right):
        raise client.Failed("%d bytes of frames became %d" % (len(left), len(right)))
    total, step = 0, 1 << 24
    for at in range(0, len(left), step):
        a, b = (np.frombuffer(data[at : at + step], np.uint8).astype(np.int32) for data in (left, right))
        total += int(((a - b) ** 2).sum())
    return math.inf if not total else 10 * math.log10(255 * 255 * len(left) / total)


def main():
    options = client.parser(__doc__)
    options.add_argument("input")
    options.add_argument("output")
    options.add_argument("--filter", choices=("none", "gray", "sharpen"), default="none")
    options.add_argument("--segment", type=int, default=16, help="frames that are encoded in one call (16): each begins with a key frame")
    options.add_argument("--quality", type=int, default=16, help="4 (best) to 63")
    options.add_argument("--check", action="store_true", help="do the same in one process, and compare")
    args = options.parse_args()
    if not shutil.which("vpxdec") or not shutil.which("vpxenc"):
        raise client.Failed("vpxdec and vpxenc are missing, here and so for the functions: apt-get install vpx-tools")
    with open(args.input, "rb") as file:
        video = file.read()
    if video[:4] == b"\x1a\x45\xdf\xa3":
        try:
            video = webm.to_ivf(video)
        except ValueError as error:
            raise client.Failed("%s: %s" % (args.input, error)) from None
    node = client.Node(args.node, args.warmcore)
    node.deploy(*(os.path.join(HERE, name) for name in ("encode", "filter", "frames", "transcode")))
    order = {"segment": args.segment, "filter": args.filter, "quality": args.quality}
    seconds, made = client.timed(node.invoke, "media", json.dumps(order).encode() + b"\n" + video, args.seconds)
    with open(args.output, "wb") as file:
        file.write(made)
    count = sum(1 for _ in packets(made))
    print("%d frames, %.1f s, %.1f frames a second; %d bytes became %d" % (count, seconds, count / seconds, len(video), len(made)))
    if args.check:
        seconds, (expected, frames) = client.timed(alone, args, video)
        if made != expected:
            raise client.Failed("the result is not what one process makes")
        print("the same bytes as made in one process, which took %.1f s; PSNR %.1f dB" % (seconds, psnr(frames, decode(made))))


client.main(main)
