# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compile a function's modules when it is deployed: warmcore_compile.py FOLDER HANDLER, results to descriptor 3.

Started by the daemon (user/compile.c) in a sandbox, as the function's user, with `python3 -I -S`. What it reads is not trusted, and so
nobody trusts what it writes: user/pycache.h has the format and what the daemon looks at.

A .pyc is of the kind that is never compared with its source (UNCHECKED_HASH, PEP 552): a version's folder does not change.
A child does the work, and says in a pipe where it is: what kills it (a crash of the compiler, too much CPU
time or memory) costs one file, and the next child goes on behind it.
Python 3.9 or later; nothing but the standard library.
"""

import _imp
import _signal  # the functions of signal without its enumerations, and so on: half of the start would be imports
import marshal
import os
import resource
import struct
import sys
import warnings
from importlib._bootstrap_external import MAGIC_NUMBER, cache_from_source  # as py_compile does

OUT = 3
HEAD = struct.Struct("=IIII")  # struct wc_compiled: magic, kind, length of the name, of the data
MAGIC = 0x43594357
TAG, CODE, END = 1, 2, 3
COUNTS = struct.Struct("=III")  # where the next child goes on, files that were not compiled, those that need not be
TOLD = struct.Struct("=IIII")  # the same, and 1 while a record is under way
SOURCE_MAX = 4 << 20
CODE_MAX = 8 << 20
NAME_MAX = 1024  # bytes of a path
FILES_MAX = 10000
FILE_CPU_S = 4
MEMORY = 256 << 20
UNCHECKED, CHECKED = 0b01, 0b11


def source_hash(source):
    """That of importlib.util."""
    return _imp.source_hash(int.from_bytes(MAGIC_NUMBER, "little"), source)


def limit():
    """Before the first file is read. No file can be written to at all."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    try:
        os.nice(10)  # the cores are for invocations
    except OSError:
        pass


def find(folder, handler):
    """Paths of regular files, the handler's first, then those of upper folders before those of lower ones. No link is followed."""
    folders, found = [b""], []
    for at in folders:  # grows meanwhile
        try:
            with os.scandir(os.path.join(folder, at)) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = os.path.join(at, entry.name)
            if len(path) > NAME_MAX:
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name != b"__pycache__":
                    folders.append(path)
            elif len(entry.name) > 3 and entry.name.endswith(b".py") and entry.is_file(follow_symlinks=False):
                found.append(path)
    first = os.fsencode(handler.rpartition(".")[0].replace(".", "/") + ".py")
    found.sort(key=lambda path: path != first)  # stable
    return found[:FILES_MAX]


def is_of_use(cached, source):
    """Would this Python load what the package brought? One that goes by the time of its source is never right: the copy has another."""
    try:
        with open(cached, "rb") as file:
            head, rest = file.read(16), file.read(CODE_MAX + 1)
    except OSError:
        return False
    if len(head) < 16 or head[:4] != MAGIC_NUMBER:
        return False
    flags = int.from_bytes(head[4:8], "little")
    if flags != UNCHECKED and not (flags == CHECKED and head[8:] == source_hash(source)):
        return False
    try:
        return isinstance(marshal.loads(rest), type(is_of_use.__code__))
    except Exception:
        return False  # damaged: the module could never be imported


def compiled(path):
    """The .pyc of a file, or None when there is one already. Whatever is wrong with the file is an exception."""
    with open(path, "rb") as file:
        source = file.read(SOURCE_MAX + 1)
    if len(source) > SOURCE_MAX:
        raise ValueError("it is too large")
    if is_of_use(cache_from_source(path, optimization=""), source):
        return None
    code = compile(source, path, "exec", dont_inherit=True)
    data = MAGIC_NUMBER + UNCHECKED.to_bytes(4, "little") + source_hash(source) + marshal.dumps(code)
    if len(data) > CODE_MAX:
        raise ValueError("the result is too large")
    return data


def send(kind, name, data):
    whole = memoryview(HEAD.pack(MAGIC, kind, len(name), len(data)) + name + data)
    while whole:
        whole = whole[os.write(OUT, whole) :]


def work(folder, names, counts, told):
    at, failed, kept = counts
    for at in range(at, len(names)):
        os.write(told, TOLD.pack(at + 1, failed + 1, kept, 0))  # should this be the last that is heard
        _signal.setitimer(_signal.ITIMER_PROF, FILE_CPU_S)  # whose signal ends the process
        try:
            data = compiled(os.fsdecode(os.path.join(folder, names[at])))
        except BaseException:
            data = b""
        _signal.setitimer(_signal.ITIMER_PROF, 0)  # never in the middle of a record
        if data:
            os.write(told, TOLD.pack(at + 1, failed + 1, kept, 1))
            send(CODE, names[at], data)
        failed, kept = failed + (data == b""), kept + (data is None)
        os.write(told, TOLD.pack(at + 1, failed, kept, 0))


def last(pipe, counts):
    """The last counts that a child told, when it has ended. One that was killed in the middle of a record is the end: nobody could tell
    what comes from what is missing."""
    rest, torn = b"", 0
    while True:
        some = os.read(pipe, 1 << 16)
        if not some:
            if torn:
                sys.exit(1)
            return counts
        rest += some
        whole = len(rest) // TOLD.size * TOLD.size
        if whole:
            *counts, torn = TOLD.unpack_from(rest, whole - TOLD.size)
            rest = rest[whole:]


def main():
    limit()
    folder, handler = os.fsencode(sys.argv[1]), sys.argv[2]
    counts = (0, 0, 0)
    names = find(folder, handler)
    send(TAG, sys.implementation.cache_tag.encode(), b"")
    while counts[0] < len(names):
        heard, told = os.pipe()
        child = os.fork()
        if not child:
            try:
                work(folder, names, counts, told)
            finally:
                os._exit(0)
        os.close(told)
        counts = last(heard, counts)
        os.close(heard)
        os.waitpid(child, 0)
    send(END, b"", COUNTS.pack(len(names), *counts[1:]))


if __name__ == "__main__":
    main()
