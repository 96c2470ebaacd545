# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Links object files.

Event: {"objects": [object files in base64, in their order], "flags": [...]: libraries, -shared and so on}. Result: the program's bytes.
Raises LinkError with what the linker has said.
"""

import base64
import os
import subprocess
import tempfile


class LinkError(Exception):
    pass


def handler(event, context):
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for number, content in enumerate(event["objects"]):
            objects.append(os.path.join(folder, "%d.o" % number))
            with open(objects[-1], "wb") as file:
                file.write(base64.b64decode(content))
        out = os.path.join(folder, "program")
        done = subprocess.run(["cc", "-o", out, *objects, *event["flags"]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise LinkError(done.stdout[-8000:].decode(errors="replace"))
        with open(out, "rb") as file:
            return file.read()
