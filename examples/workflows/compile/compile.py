#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Builds a C program by functions of a node, each file in a call of its own, as gg does; what is unchanged is not compiled again.

    examples/workflows/compile/compile.py -o minigzip --libs=-lz /usr/share/doc/zlib1g-dev/examples/minigzip.c
    examples/workflows/compile/compile.py -o host --flags='-O2 -D_GNU_SOURCE -iquote .' --libs='-rdynamic -ldl' runtimes/native/*.c

Files are preprocessed here, because headers are here, and compiled where the node is, whose compiler has to be this one's twin.
"""

import base64
import concurrent.futures
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import client  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOM = client.PAYLOAD_MAX - 65536  # of a payload, for units and objects
ANSWER = 4 << 20  # preprocessed bytes of an invocation, uncompressed by far the most of what its objects can have
UNITS_MAX = 512  # of an invocation, and so calls of a function


class Cache:
    """Object files by what they are made of: compiler, flags, preprocessed text. Any number of builds may use one at the same time."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)

    def path(self, key):
        return os.path.join(self.folder, key[:2], key[2:])

    def get(self, key):
        try:
            with open(self.path(key), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def put(self, key, content):
        path = self.path(key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle, name = tempfile.mkstemp(dir=os.path.dirname(path))
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.rename(name, path)  # whole, or not at all


def key_of(*parts):
    digest = hashlib.sha256()
    for part in parts:
        part = part if isinstance(part, bytes) else part.encode()
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def local(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise client.Failed("%s: %s" % (" ".join(command[:1]), done.stderr.decode(errors="replace").strip()))
    return done.stdout


def preprocess(args, compiler, name):
    """(key, name, text)"""
    text = local("cc", *args.flags, "-E", name)
    return key_of(compiler, "\0".join(args.flags), text), name, text


def batches(units):
    """Units that are to be compiled, as lists that fit a payload each."""
    batch, size, plain = [], 0, 0
    for key, name, text in units:
        packed = base64.b64encode(zlib.compress(text, 6)).decode()
        if len(packed) > ROOM:
            raise client.Failed("%s: %d bytes, preprocessed and compressed: more than a payload" % (name, len(packed)))
        if batch and (size + len(packed) > ROOM or plain + len(text) > ANSWER or len(batch) == UNITS_MAX):
            yield batch
            batch, size, plain = [], 0, 0
        batch.append({"key": key, "name": name, "text": packed})
        size, plain = size + len(packed) + len(name) + 256, plain + len(text)
    if batch:
        yield batch


def ask(node, args, event):
    """What the workflow answers. Raises Failed with what compiler or linker have said, when all of it is kept."""
    answer = node.invoke_json("compile", {"flags": args.flags, **event}, args.seconds)
    for key, content in answer["objects"].items():
        args.cache.put(key, base64.b64decode(content))
    if answer["errors"]:
        raise client.Failed("\n".join("%s:\n%s" % error for error in answer["errors"].items()))
    return answer


def build(node, args):
    """Returns (units, how many of them were compiled, was it linked)."""
    compiler = local("cc", "--version")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        units = list(pool.map(lambda name: preprocess(args, compiler, name), args.files))
    unknown = {unit[0]: unit for unit in units if args.cache.get(unit[0]) is None}  # the same text twice is one unit
    keys = [unit[0] for unit in units]
    program_key = key_of(compiler, "link", "\0".join(args.libs), *keys)
    waiting = list(batches(unknown.values()))
    program = args.cache.get(program_key)
    if program is None or waiting:
        for batch in waiting[:-1]:
            ask(node, args, {"units": batch})
        last = waiting[-1] if waiting else []
        fresh = {unit["key"] for unit in last}
        known = {key: base64.b64encode(args.cache.get(key)).decode() for key in keys if key not in fresh}
        if sum(map(len, known.values())) + sum(len(unit["text"]) for unit in last) > ROOM and last:
            ask(node, args, {"units": last})  # both do not fit a payload
            known, last = {key: base64.b64encode(args.cache.get(key)).decode() for key in keys}, []
        answer = ask(node, args, {"units": last, "objects": known, "link": keys, "link_flags": args.libs})
        program = base64.b64decode(answer["program"])
        args.cache.put(program_key, program)
        linked = True
    else:
        linked = False
    handle, name = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(args.output)))
    with os.fdopen(handle, "wb") as file:
        file.write(program)
    os.chmod(name, 0o755)
    os.rename(name, args.output)
    return units, len(unknown), linked


def check(args, units):
    """Build it here, file by file and without the preprocessor in between, and compare every byte."""
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for number, (key, name, _) in enumerate(units):
            objects.append(os.path.join(folder, "%d.o" % number))
            local("cc", *args.flags, "-c", "-o", objects[-1], name)
            with open(objects[-1], "rb") as file:
                if file.read() != args.cache.get(key):
                    raise client.Failed("%s: the object file differs from that of this machine's compiler" % name)
        whole = os.path.join(folder, "program")
        local("cc", "-o", whole, *objects, *args.libs)
        with open(whole, "rb") as mine, open(args.output, "rb") as theirs:
            if mine.read() != theirs.read():
                raise client.Failed("the program differs from that of this machine's linker")


def main():
    options = client.parser(__doc__)
    options.add_argument("files", nargs="+", metavar="FILE", help="C files")
    options.add_argument("-o", dest="output", required=True, help="the program")
    options.add_argument("--flags", type=shlex.split, default=["-O2"], help="of the compiler (-O2)")
    options.add_argument("--libs", type=shlex.split, default=[], help="of the linker")
    options.add_argument("--cache", type=Cache, default=os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "warmcore-compile"),
                         metavar="FOLDER", help="where object files are kept (~/.cache/warmcore-compile)")  # fmt: skip
    options.add_argument("--check", action="store_true", help="build it here, too, and compare")
    args = options.parse_args()
    node = client.Node(args.node, args.warmcore)
    node.deploy(*(os.path.join(HERE, name) for name in ("unit", "link", "build")))
    seconds, (units, compiled, linked) = client.timed(build, node, args)
    print("%s: %d files, %d compiled, %s, %d invocations, %.2f s"
          % (args.output, len(units), compiled, "linked" if linked else "not linked", node.calls, seconds))  # fmt: skip
    if args.check:
        seconds, _ = client.timed(check, args, units)
        print("the same bytes as built here, one after the other, in %.2f s" % seconds)


client.main(main)
