#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""docs/kubernetes and scripts/container: what the manifests name is there, the daemon takes their options, the first process of a container does its part.

No cluster is needed. Where kubectl is, the overlays are rendered by it; else their parts are looked at as they are.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import harness

DAEMON = os.path.join(harness.BUILD, "bin", "warmcored")
MANIFESTS = os.path.join(harness.ROOT, "docs", "kubernetes")
CONTAINER = os.path.join(harness.ROOT, "scripts", "container")
OVERLAYS = ("one-scheduler", "several-schedulers")
try:
    import yaml
except ImportError:
    yaml = None


def text_of(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def kustomize():
    """The command that renders a folder, or None."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    kubectl = shutil.which("kubectl")
    if not kubectl:
        return None
    version = json.loads(subprocess.check_output([kubectl, "version", "--client", "-o", "json"]))["clientVersion"]
    return [kubectl, "kustomize"] if int(re.sub(r"\D", "", version["minor"])) >= 21 else None  # older ones have kustomize 2.0


@unittest.skipUnless(yaml, "needs python3-yaml")
class Manifests(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="warmcore-e2e-")
        self.addCleanup(shutil.rmtree, self.root, True)

    def load(self, *path):
        return list(yaml.safe_load_all(text_of(MANIFESTS, *path)))

    def test_files(self):
        """All files are YAML, and each is used: a kustomization names it."""
        named = set()
        for folder in ("base", *OVERLAYS):
            (about,) = self.load(folder, "kustomization.yaml")
            self.assertEqual(about["kind"], "Kustomization")
            for name in about["resources"] + [f.split("=")[1] for g in about.get("configMapGenerator", []) for f in g["files"]]:
                path = os.path.normpath(os.path.join(folder, name))
                self.assertTrue(os.path.exists(os.path.join(MANIFESTS, path)), path)
                named.add(path)
            named.add(os.path.join(folder, "kustomization.yaml"))
        there = {os.path.relpath(os.path.join(folder, name), MANIFESTS) for folder, _, names in os.walk(MANIFESTS) for name in names}
        self.assertEqual(there, named - {"base"})
        for name in there:
            self.load(name)

    def options_taken(self, container, config):
        """The daemon takes options and file as it would at a host; returns its knobs."""
        path = os.path.join(self.root, "node.yaml")
        with open(path, "w") as file:
            file.write(config)
        os.chmod(path, 0o644)
        values = {"WARMCORE_ADDRESS": "192.0.2.1", "HOST_NAME": "host-1.example"}
        self.assertEqual({each["name"] for each in container["env"]}, set(values))
        arguments = [re.sub(r"\$\((\w+)\)", lambda m: values[m[1]], each) for each in container["args"]]
        done = subprocess.run([DAEMON, "--config", path, "--dev", "lo", *arguments, "--print", "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, (arguments, done.stderr))
        return {knob["name"]: knob["value"] for knob in json.loads(done.stdout)["knobs"]}

    def check_pod(self, pod):
        """What the container is given is what the programs in it look for."""
        (container,) = pod["containers"]
        entry = text_of(CONTAINER, "entry.sh")
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        volumes = {each["name"]: each for each in pod["volumes"]}
        self.assertEqual(set(mounts.values()), set(volumes))
        for path in ("/sys/fs/bpf", "/sys/fs/cgroup", "/run/warmcore", "/var/lib/warmcore"):
            self.assertEqual(volumes[mounts[path]]["hostPath"]["path"], path)
        self.assertIn("CONFIG=${WARMCORE_CONFIG:-%s}" % next(path for path, name in mounts.items() if "configMap" in volumes[name]), entry)
        self.assertIn("SECRETS=${WARMCORE_SECRETS:-%s}" % next(path for path, name in mounts.items() if "secret" in volumes[name]), entry)
        self.assertEqual(volumes["secrets"]["secret"]["defaultMode"], 0o400)
        self.assertTrue(pod["hostNetwork"])
        self.assertIs(container["securityContext"]["privileged"], True)
        self.assertNotIn("limits", container["resources"])
        for each in container["env"]:
            if each["name"].startswith("WARMCORE_"):
                self.assertIn("${%s:-" % each["name"], entry)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            program, command, *options = container[probe]["exec"]["command"]
            self.assertTrue(os.access(os.path.join(harness.BUILD, "bin", program), os.X_OK), program)
            shown = subprocess.check_output([harness.WARMCORE, command, "--help"], text=True)
            for option in options:
                self.assertIn("        %s\n" % option, shown)
            self.assertGreater(container[probe]["timeoutSeconds"], 3, "the command waits for three seconds")
        self.assertEqual(container["readinessProbe"]["exec"]["command"][2:], ["--ready"])
        return container

    def check_kind(self, overlay, kind, daemonset, config):
        spec = daemonset["spec"]
        self.assertEqual(daemonset["kind"], "DaemonSet")
        self.assertEqual(spec["selector"]["matchLabels"].items() - spec["template"]["metadata"]["labels"].items(), set())
        self.assertEqual(spec["template"]["spec"]["nodeSelector"]["warmcore/role"], kind)
        self.assertEqual(spec["updateStrategy"]["rollingUpdate"]["maxSurge"], 0)
        knobs = self.options_taken(self.check_pod(spec["template"]["spec"]), config)
        ports = {each["name"]: each for each in spec["template"]["spec"]["containers"][0]["ports"]}
        for port in ports.values():
            self.assertEqual(port["hostPort"], port["containerPort"])
        self.assertEqual((str(ports["invocations"]["hostPort"]), ports["invocations"]["protocol"]), (knobs["port"], "UDP"))
        if kind == "scheduler":
            self.assertEqual((knobs["cluster"], knobs["remote"]), ("on", "192.0.2.1:%d" % ports["nodes"]["hostPort"]))
            self.assertEqual(bool(knobs["etcd"]), overlay == "several-schedulers")
        else:
            doors = knobs["join"].split(",")
            self.assertEqual(len(doors) > 1, overlay == "several-schedulers")
            self.assertEqual({door.split(":")[1] for door in doors}, {"4751"})
            self.assertEqual(knobs["join-as"], "host-1.example")

    def test_parts(self):
        """Without kubectl: the manifests of the base with each overlay's files, its patch made here."""
        for overlay in OVERLAYS:
            (about,) = self.load(overlay, "kustomization.yaml")
            for kind in ("node", "scheduler"):
                (daemonset,) = self.load("base", kind + ".yaml")
                for patch in about.get("patches", []):
                    if patch["target"]["name"] == daemonset["metadata"]["name"]:
                        (change,) = yaml.safe_load(patch["patch"])
                        self.assertEqual((change["op"], change["path"]), ("add", "/spec/template/spec/containers/0/args/-"))
                        daemonset["spec"]["template"]["spec"]["containers"][0]["args"].append(change["value"])
                self.check_kind(overlay, kind, daemonset, text_of(MANIFESTS, overlay, kind + ".yaml"))

    def test_rendered(self):
        command = kustomize()
        if not command:
            self.skipTest("needs kustomize, or kubectl 1.21 or later (Debian 13: kubectl); the parts are looked at all the same")
        for overlay in OVERLAYS:
            rendered = subprocess.check_output([*command, os.path.join(MANIFESTS, overlay)])
            objects = list(yaml.safe_load_all(rendered))
            self.assertEqual(sorted(each["kind"] for each in objects), ["ConfigMap", "ConfigMap", "DaemonSet", "DaemonSet", "Namespace"])
            self.assertEqual({each["metadata"].get("namespace") for each in objects if each["kind"] != "Namespace"}, {"warmcore"})
            configs = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
            for daemonset in objects:
                if daemonset["kind"] != "DaemonSet":
                    continue
                pod = daemonset["spec"]["template"]["spec"]
                config = next(volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume)
                self.assertEqual(list(configs[config]), ["default.yaml"])
                self.assertRegex(pod["containers"][0]["image"], r"/warmcore:\d")
                self.check_kind(overlay, daemonset["metadata"]["name"].split("-")[1], daemonset, configs[config]["default.yaml"])

    def test_version(self):
        version = subprocess.check_output([harness.WARMCORE, "--version"], text=True)
        for overlay in OVERLAYS:
            (about,) = self.load(overlay, "kustomization.yaml")
            self.assertIn(" %s\n" % about["images"][0]["newTag"], version.replace(",", "\n") + "\n")


class Image(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="warmcore-e2e-")
        self.addCleanup(shutil.rmtree, self.root, True)

    def test_containerfile(self):
        """What it copies is there, and is all that is needed to build; the group of packages is one of install-deps.sh's."""
        lines = text_of(CONTAINER, "Containerfile").splitlines()
        copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
        for source in sum(copied, []):
            self.assertTrue(os.path.exists(os.path.join(harness.ROOT, source)), source)
        self.assertIn(["scripts/container/entry.sh"], copied)
        for group in re.findall(r"--group (\w+)", "\n".join(lines)):
            self.assertRegex(text_of(harness.ROOT, "scripts/install-deps.sh"), r"\nneed_%s\(\)" % group)

    def libraries(self):
        """Sonames that what is installed is linked with."""
        names = set()
        for folder in ("bin", "lib/warmcore"):
            for where, _, files in os.walk(os.path.join(harness.BUILD, folder)):
                for name in files:
                    done = subprocess.run(["objdump", "-p", os.path.join(where, name)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                    names.update(re.findall(r"^ *NEEDED +(\S+)", done.stdout, re.M))
        return names

    def test_packages(self):
        """Each library that the programs are linked with is in the group `image`, or in every Debian."""
        if not shutil.which("objdump"):
            self.skipTest("needs objdump")
        group = re.search(r"\nneed_image\(\) \{(.*?)\n\}", text_of(harness.ROOT, "scripts/install-deps.sh"), re.S)[1].split()
        for name in sorted(self.libraries()):
            if not re.match(r"lib(c|m|dl|pthread|crypto)\.so|ld-", name):  # libcrypto is libssl's
                stem = re.sub(r"[-_]", "", re.sub(r"\.so.*", "", name))  # of the package, too, but for its number
                self.assertTrue([each for each in group if re.sub(r"[-_]", "", each).startswith(stem)], "%s: in no package of group image" % name)

    def entry(self, *arguments, **environment):
        """entry.sh in a mount namespace whose /etc is empty."""
        script = 'mount -t tmpfs none /etc && "$@" && stat -c "%n %a" /etc/warmcore/* >&2'
        return subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", os.path.join(CONTAINER, "entry.sh"), *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={"PATH": os.path.dirname(DAEMON) + ":/usr/sbin:/usr/bin:/sbin:/bin", "WARMCORE_CONFIG": self.root + "/config",
                                   "WARMCORE_SECRETS": self.root + "/secrets", **environment})  # fmt: skip

    def volume(self, name, files):
        """A folder as the kubelet makes it: everybody may write there, files are links through ..data."""
        folder = os.path.join(self.root, name)
        os.makedirs(folder + "/..1")
        os.symlink("..1", folder + "/..data")
        for file, text in files.items():
            with open(folder + "/..1/" + file, "w") as out:
                out.write(text)
            os.symlink("..data/" + file, folder + "/" + file)
        os.chmod(folder, 0o777)

    def test_entry(self):
        key = "%064x\n" % 7
        self.volume("config", {"default.yaml": "port: 5001\njoin: 192.0.2.1:4751\n"})
        self.volume("secrets", {"remote.key": key})

        def knobs(*arguments, **environment):
            done = self.entry(*arguments, "--print", "show", **environment)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("/etc/warmcore/remote.key 600\n", done.stderr)
            self.assertIn(".yaml 600\n", done.stderr)
            return {knob["name"]: (knob["value"], knob["from"]) for knob in json.loads(done.stdout)["knobs"]}

        got = knobs("--join-as=n7", WARMCORE_ADDRESS="127.0.0.1")
        self.assertEqual(got["port"], ("5001", "/etc/warmcore/default.yaml:1"))
        self.assertEqual((got["dev"][0], got["join-as"][0]), ("lo", "n7"))
        self.assertEqual(knobs(WARMCORE_ADDRESS="127.0.0.1", WARMCORE_DEV="eth7")["dev"][0], "eth7")
        done = self.entry(WARMCORE_ADDRESS="203.0.113.254")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no device has the address 203.0.113.254", done.stderr)
        self.volume("config2", {"a.yaml": "dev: eth5\njoin: 192.0.2.1:4751\n"})
        got = knobs(WARMCORE_CONFIG=self.root + "/config2", WARMCORE_NODE="a", WARMCORE_ADDRESS="127.0.0.1")
        self.assertEqual(got["dev"], ("eth5", "/etc/warmcore/a.yaml:1"))


if __name__ == "__main__":
    sys.exit(harness.main(kernel=False))
