#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The workflow media: a real video of Debian's (the help of GNOME has one), transcoded in parts, against one process: the same bytes. Without that package
a video of the test's own, whose pictures are noise and gradients."""

import os
import shutil
import struct
import subprocess

import harness
import workflows

PACKAGE, MEMBER = "gnome-user-docs", "./usr/share/help/C/gnome-help/figures/display-dual-monitors.webm"
FRAMES = 64  # of the real one, with three key frames


def own_ivf(folder, frames=40, width=64, height=48):
    """Encoded here, with a key frame every 15."""
    raw = b"".join(bytes((x * 3 + i * 5) & 255 for x in range(width * height)) + bytes([100 + i] * (width * height // 2)) for i in range(frames))
    path = os.path.join(folder, "own.ivf")
    subprocess.run(["vpxenc", "-q", "--codec=vp8", "--ivf", "--i420", "--width=%d" % width, "--height=%d" % height, "--fps=25/1", "--kf-max-dist=15",
                    "--kf-min-dist=15", "--auto-alt-ref=1", "--lag-in-frames=10", "-o", path, "-"], input=raw, check=True)  # fmt: skip
    with open(path, "rb") as file:
        return file.read()


def debian_webm(folder):
    """None when there is no network."""
    subprocess.run(["apt-get", "-qq", "download", PACKAGE], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)
    packages = [name for name in os.listdir(folder) if name.endswith(".deb")]
    if not packages:
        return None
    files = subprocess.run(["dpkg-deb", "--fsys-tarfile", os.path.join(folder, packages[0])], stdout=subprocess.PIPE, check=True).stdout
    return subprocess.run(["tar", "xO", MEMBER], input=files, stdout=subprocess.PIPE, check=True).stdout


def cut(ivf, frames):
    at = 32
    for _ in range(frames):
        if at < len(ivf):
            at += 12 + struct.unpack_from("<I", ivf, at)[0]
    return ivf[:at]


class Media(harness.NodeTest):
    TAG = "wmedia"
    OPTIONS = ("--cores", "0-1")

    @classmethod
    def prepare(cls):
        cls.own = own_ivf(cls.node.root)

    def path(self, name):
        return os.path.join(self.node.root, name)

    def media(self, video, *options, check=True):
        with open(self.path("in"), "wb") as file:
            file.write(video)
        return workflows.driver(self.node, "media", self.path("in"), self.path("out.ivf"), *options, check=check)

    def test_own(self):
        """Each filter, in segments of all sizes; with frames in it that are not shown."""
        for name, segment in (("none", 1), ("gray", 7), ("sharpen", 16), ("none", 256)):
            with self.subTest(filter=name, segment=segment):
                said = self.media(self.own, "--filter", name, "--segment", segment, "--check")
                self.assertIn("40 frames", said)
                self.assertIn("the same bytes as made in one process", said)
                self.assertGreater(float(said.split("PSNR ")[1].split()[0]), 30)
                md5 = subprocess.run(["vpxdec", "--md5", "--i420", self.path("out.ivf")], stdout=subprocess.PIPE, check=True).stdout
                self.assertTrue(md5)

    def test_debian(self):
        webm = debian_webm(self.node.root)
        if webm is None:
            self.skipTest("apt-get cannot fetch %s" % PACKAGE)
        code = "import sys; sys.path.insert(0, sys.argv[1]); import webm; sys.stdout.buffer.write(webm.to_ivf(sys.stdin.buffer.read()))"
        ivf = subprocess.run([workflows.PYTHON, "-c", code, os.path.join(workflows.FOLDER, "media")], input=webm, stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(struct.unpack_from("<HH", ivf, 12), (1024, 768))
        said = self.media(cut(ivf, FRAMES), "--filter", "sharpen", "--check")
        self.assertIn("%d frames" % FRAMES, said)
        self.assertIn("the same bytes as made in one process", said)
        self.assertGreater(float(said.split("PSNR ")[1].split()[0]), 40)
        for damaged in (webm[:5000], webm[:100], webm[:4]):
            self.assertEqual(self.media(damaged, check=False)[0], 1)

    def test_refused(self):
        good = self.own
        second = 32 + 12 + struct.unpack_from("<I", good, 32)[0]
        for video, options, why in ((b"", (), "no IVF file"), (b"DKIF" + bytes(40), (), "no IVF file"), (good[:-3], (), "cut off"), (good[:40], (), "cut off"),
                                    (good[:32], (), "no frames"), (good[:32] + good[second:], (), "does not begin with a key frame"),
                                    (good[:12] + struct.pack("<HH", 62, 48) + good[16:], (), "multiples of 4"), (good, ("--segment", 0), "segment is 1 to 256"),
                                    (good, ("--quality", 64), "quality 4 to 63"), (good + bytes(6 << 20), (), "the limit is 6291456")):  # fmt: skip
            with self.subTest(why=why):
                shutil.rmtree(self.path("out.ivf"), ignore_errors=True)
                status, said, errors = self.media(video, *options, check=False)
                self.assertEqual((status, said), (1, ""), errors)
                self.assertIn(why, errors)
        self.assertIn("40 frames", self.media(good))


class OneCore(Media):
    TAG = "wmedia1"
    OPTIONS = ("--cores", "0")
    test_debian = test_refused = None


if __name__ == "__main__":
    if not shutil.which("vpxenc") or not shutil.which("vpxdec"):
        harness.skip("vpxenc and vpxdec are missing: apt-get install vpx-tools")
    if not workflows.imports("numpy"):
        harness.skip("%s has no numpy (python3-numpy)" % workflows.PYTHON)
    harness.main()
