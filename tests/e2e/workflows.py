# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the tests of the workflows (docs/WORKFLOWS.md) share: they run the drivers as a user does."""

import os
import subprocess

import harness

FOLDER = os.path.join(harness.BUILD, "examples", "workflows")
PYTHON = "/usr/bin/python3"  # that of the functions, which has their libraries
LIMIT_S = 500  # for what hangs


def driver(node, workflow, *arguments, check=True):
    """What it has printed; fails when it has failed. With check=False: (status, output, errors)."""
    script = os.path.join(FOLDER, workflow, workflow + ".py")
    command = [PYTHON, script, "--node", node.name, "--warmcore", harness.WARMCORE, "--seconds", "280", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S, cwd=harness.ROOT, check=False)
    if not check:
        return done.returncode, done.stdout, done.stderr
    if done.returncode:
        raise AssertionError("%s: status %d: %s%s" % (" ".join(command), done.returncode, done.stdout, done.stderr))
    return done.stdout


def deploy(node, *functions):
    """{name: id} of functions, each "WORKFLOW/FOLDER"."""
    made = [node.json("deploy", os.path.join(FOLDER, folder))["function"] for folder in functions]
    return {function["name"]: function["id"] for function in made}


def imports(module):
    return not subprocess.run([PYTHON, "-c", "import " + module], stderr=subprocess.DEVNULL, check=False).returncode
