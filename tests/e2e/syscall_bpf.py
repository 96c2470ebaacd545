# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""bpf(2), for tests that make maps of their own or look at what the kernel has."""

import ctypes
import os

MAP_CREATE, OBJ_PIN, OBJ_GET, PROG_GET_NEXT_ID, PROG_GET_FD_BY_ID, OBJ_GET_INFO = 0, 6, 7, 11, 13, 15
NUMBER = {"x86_64": 321, "aarch64": 280}[os.uname().machine]


def bpf(command, attributes):
    """The result, and the attributes as the kernel has left them."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = libc.syscall(NUMBER, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result, buffer.raw
