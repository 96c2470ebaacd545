# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compiles one preprocessed C file.

Event: {"name": for messages, "flags": [...], "text": preprocessed C, by zlib and base64}. Result: the object file's bytes.
Raises CompileError with what the compiler has said.
"""

import base64
import os
import subprocess
import tempfile
import zlib

TEXT_MAX = 64 << 20


class CompileError(Exception):
    pass


def handler(event, context):
    unzip = zlib.decompressobj()
    text = unzip.decompress(base64.b64decode(event["text"]), TEXT_MAX)
    if not unzip.eof:
        raise ValueError("%s has more than %d bytes, or is cut off" % (event["name"], TEXT_MAX))
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "unit.o")
        command = ["cc", *event["flags"], "-x", "cpp-output", "-c", "-o", out, "-"]
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise CompileError(done.stdout[-8000:].decode(errors="replace"))
        with open(out, "rb") as file:
            return file.read()
