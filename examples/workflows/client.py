# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the drivers of the workflows share: a node, by way of the command `warmcore`, and their common options."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

PAYLOAD_MAX = 6291456
HERE = os.path.dirname(os.path.abspath(__file__))


class Failed(Exception):
    """What the user shall read; the driver ends with status 1."""


class Node:
    """The functions of one node. `calls` counts what was invoked from here: what functions call is not in it."""

    def __init__(self, name, command=None):
        built = os.path.join(HERE, "..", "..", "bin", "warmcore")  # build/examples/workflows, or a clone
        cloned = os.path.join(HERE, "..", "..", "build", "bin", "warmcore")
        found = [path for path in (command, built, cloned, shutil.which("warmcore")) if path and os.access(path, os.X_OK)]
        if not found:
            raise Failed("the command warmcore is not found: name it with --warmcore")
        self.command, self.name, self.calls = found[0], name, 0

    def run(self, *arguments):
        done = subprocess.run([self.command, "--node", self.name, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise Failed((done.stderr or done.stdout).decode(errors="replace").strip())
        return done.stdout

    def deploy(self, *folders):
        """Deploy what changed; a function that is there already stays warm."""
        for folder in folders:
            if not os.path.exists(os.path.join(folder, "function.json")):
                raise Failed("%s is no function: is the example built?" % folder)
            self.run("deploy", folder)

    def invoke(self, name, payload, seconds):
        """The bytes of the reply. Raises Failed, with what the function has said."""
        if len(payload) > PAYLOAD_MAX:
            raise Failed("%s: a payload of %d bytes, the limit is %d" % (name, len(payload), PAYLOAD_MAX))
        self.calls += 1
        with tempfile.TemporaryDirectory(prefix="warmcore-workflow-") as folder:
            request, reply = os.path.join(folder, "request"), os.path.join(folder, "reply")
            with open(request, "wb") as file:
                file.write(payload)
            self.run("invoke", name, "--file", request, "--output", reply, "--timeout-ms", str(int(seconds * 1000)))
            with open(reply, "rb") as file:
                return file.read()

    def invoke_json(self, name, event, seconds):
        return json.loads(self.invoke(name, json.dumps(event).encode(), seconds))


def parser(text):
    options = argparse.ArgumentParser(description=text.strip().splitlines()[0], epilog="docs/WORKFLOWS.md says how it works.")
    options.add_argument("--node", default="default", help="name of the node, as of `warmcore --node`")
    options.add_argument("--warmcore", metavar="PATH", help="the command, when it is neither beside this example nor in PATH")
    options.add_argument("--seconds", type=float, default=300, help="give up after this long (300)")
    return options


def timed(work, *arguments):
    """(seconds, result)"""
    begun = time.monotonic()
    result = work(*arguments)
    return time.monotonic() - begun, result


def main(work):
    """Run work(); what it raises as Failed, or the system refuses, becomes one line and status 1."""
    try:
        sys.exit(work())
    except (Failed, OSError) as error:
        print("%s: %s" % (os.path.basename(sys.argv[0]), error), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
