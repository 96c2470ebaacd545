#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The embedded default, from `up` to `down`: three languages, a restart, two nodes side by side, and nothing left behind."""

import json
import os
import shutil
import subprocess
import sys
import unittest

import harness
import wcproto


def kernel_objects(node):
    """Ids of the pinned program and link, to see later that they went out of the kernel with their pins."""
    bpftool = shutil.which("bpftool") or "/usr/sbin/bpftool"
    if not os.access(bpftool, os.X_OK):
        return []
    objects = []
    for kind, pin in (("prog", "progs/wc_dispatch"), ("link", "links/xdp"), ("map", "maps/wc_seen")):
        path = "/sys/fs/bpf/warmcore/%s/%s" % (node.name, pin)
        done = subprocess.run([bpftool, "-j", kind, "show", "pinned", path], stdout=subprocess.PIPE)
        if done.returncode == 0:
            shown = json.loads(done.stdout)
            objects.append((bpftool, kind, (shown[0] if isinstance(shown, list) else shown)["id"]))
    return objects


def still_there(objects):
    return [(kind, number) for bpftool, kind, number in objects
            if subprocess.run([bpftool, "-j", kind, "show", "id", str(number)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0]  # fmt: skip


class Embedded(unittest.TestCase):
    def new_node(self, tag, *options):
        node = harness.Node(tag, *options)
        self.addCleanup(node.close)
        return node

    def check_status(self, node):
        status = node.status()
        about = status["node"]
        scheduler = "sched_ext (full)" if os.path.exists("/sys/kernel/sched_ext") else "affinity"
        self.assertEqual((about["name"], about["datapath"], about["scheduler"]), (node.name, "kernel", scheduler))
        self.assertIn(about["xdp_mode"], ("native", "generic"))
        self.assertIn(about["af_xdp"], ("copy", "zerocopy"))
        self.assertEqual(about["netns"], "warmcore-" + node.name)
        self.assertTrue(os.path.exists("/proc/%d" % about["pid"]))
        self.assertTrue(about["address4"] and about["port"])
        self.assertEqual(len(status["cores"]), len(os.sched_getaffinity(0)))
        self.assertEqual(sum(s["cores"] for s in status["shards"]), len(status["cores"]))
        self.assertEqual(sum(s["free"] for s in status["shards"]), len(status["cores"]))
        self.assertEqual({c["state"] for c in status["cores"]}, {"free"})
        self.assertEqual(status["pending"]["now"], 0)
        self.assertTrue(os.listdir(about["pin_dir"] + "/maps"))

    def invoke_all(self, node):
        everything = bytes(range(256)) * 4
        value = {"n": [1, 2.5, None, "\u00e9\u4e16"], "nested": {"a": True}}
        for family in (4, 6) if node.address6 else (4,):
            with node.client(family) as client:
                for name, function in self.ids.items():
                    with self.subTest(function=name, family=family):
                        payload = everything if "binary" in name else json.dumps(value).encode()
                        if "native" in name:
                            payload = b"e" + payload
                        answer = client.invoke(function, payload)
                        self.assertIsNotNone(answer)
                        self.assertEqual(answer.kind, wcproto.REPLY, answer)
                        if "binary" in name:
                            self.assertEqual((answer.payload, answer.flags & wcproto.BINARY), (everything, wcproto.BINARY))
                        else:
                            self.assertEqual((json.loads(answer.payload), answer.flags & wcproto.BINARY), (value, 0))
                        warm = [client.invoke(function, payload).flags & wcproto.WARM for _ in range(20)]
                        self.assertTrue(any(warm), "20 invocations in a row and none was warm")

    def test_life(self):
        node = self.new_node("life")
        node.up()
        self.check_status(node)
        self.ids = {
            "python": node.deploy_python("py"),
            "python-binary": node.deploy_python("pyb", handler="probe.binary", event="binary"),
            "native-binary": node.deploy_native("c", event="binary"),
            "native": node.deploy_native("cj"),
        }
        if harness.NODE_JS:
            self.ids["node"] = node.deploy_node("js")
            self.ids["node-binary"] = node.deploy_node("jsb", handler="probe.binary", event="binary")
        self.assertEqual(len(set(self.ids.values())), len(self.ids))
        self.invoke_all(node)
        done = node.cli("invoke", "py", '{"x": 1}')
        self.assertEqual(json.loads(done.stdout), {"x": 1})
        payload = bytes(range(256))
        self.assertEqual(node.cli("invoke", "pyb", "-", "--raw", stdin=payload, text=False).stdout, payload)

        self.assertNotEqual(node.cli("up", "--state-dir", node.state, check=False).returncode, 0)
        self.assertIn("running", node.cli("up", "--state-dir", node.state, check=False).stderr)
        self.assertEqual(node.status()["node"]["pid"], node.pid)

        before = {f["name"]: f["id"] for f in node.json("list")["functions"]}
        self.assertEqual(sorted(before.values()), sorted(self.ids.values()))
        objects = kernel_objects(node)
        node.wait_idle()
        node.down()
        node.check_nothing_left()
        harness.wait_until(lambda: not still_there(objects), "BPF objects are out of the kernel: %s" % objects)
        self.assertEqual(node.cli("down").returncode, 0)  # no error, and nothing to do
        self.assertNotEqual(node.cli("status", check=False).returncode, 0)

        node.up()
        self.assertEqual({f["name"]: f["id"] for f in node.json("list")["functions"]}, before)
        self.invoke_all(node)
        node.json("remove", "py")
        with node.client() as client:
            answer = client.invoke(self.ids["python"], b"1")
            self.assertEqual((answer.kind, answer.code), (wcproto.ERROR, wcproto.UNKNOWN_FUNCTION))
        again = node.deploy_python("py")
        self.assertNotEqual(again, self.ids["python"])  # never the id of what was removed
        node.wait_idle()
        node.check_counters()
        node.down()
        node.check_nothing_left()

    def test_two_nodes(self):
        one, two = self.new_node("one"), self.new_node("two", "--port", "4999")
        one.up()
        two.up()
        self.assertNotEqual(one.address4, two.address4)
        self.assertEqual(two.port, 4999)
        ids = [node.deploy_python() for node in (one, two)]
        for node, function in zip((one, two), ids):
            with node.client() as client:
                answer = client.invoke(function, json.dumps({"do": "count", "tag": node.name}).encode())
                self.assertEqual(json.loads(answer.payload), node.name)
        self.assertEqual((one.all_runs(), two.all_runs()), ({one.name: 1}, {two.name: 1}))
        one.down()
        one.check_nothing_left()
        with two.client() as client:
            self.assertEqual(client.invoke(ids[1], b"[7]").payload, b"[7]")
        two.wait_idle()
        two.down()
        two.check_nothing_left()

    def test_up_that_fails_leaves_nothing(self):
        node = self.new_node("bad")
        os.chmod(node.root, 0o700)  # functions could not reach their code
        done = node.cli("up", "--state-dir", node.state, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("chmod o+x", done.stderr)
        node.check_nothing_left()
        done = node.cli("up", "--state-dir", node.state, "--dev", "none-such", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("none-such", done.stderr)
        node.check_nothing_left()


if __name__ == "__main__":
    sys.exit(harness.main())
