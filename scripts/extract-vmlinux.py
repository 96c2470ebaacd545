#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""extract-vmlinux.py BZIMAGE OUT: unpack the kernel's ELF file from an x86 bzImage.

The setup header says where the compressed payload is (Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, "HdrS" at
0x202, payload_offset and payload_length at 0x248), so there is no searching for magic numbers.
"""
import struct
import subprocess
import sys

UNPACKERS = {
    b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"],
    b"\xfd7zX": ["xz", "-dcq"],
    b"\x1f\x8b": ["gzip", "-dcq"],
    b"\x02\x21\x4c\x18": ["lz4", "-dc"],
}


def payload(image):
    """The compressed kernel inside the bytes of a bzImage."""
    if image[0x202:0x206] != b"HdrS":
        sys.exit("extract-vmlinux: not a bzImage")
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    return image[start:start + length]


def unpack(packed):
    """The ELF file inside a payload."""
    for magic, command in UNPACKERS.items():
        if packed.startswith(magic):
            try:
                # The payload ends with its unpacked size, which unpackers report as trailing garbage: look at the
                # result, not at the exit status.
                result = subprocess.run(command, input=packed, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, check=False).stdout
            except FileNotFoundError:
                sys.exit(f"extract-vmlinux: {command[0]} is missing")
            if not result.startswith(b"\x7fELF"):
                sys.exit(f"extract-vmlinux: {command[0]} gave no ELF file")
            return result
    sys.exit(f"extract-vmlinux: unknown compression, magic {packed[:4].hex()}")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as image:
        elf = unpack(payload(image.read()))
    with open(sys.argv[2], "wb") as out:
        out.write(elf)


if __name__ == "__main__":
    main()
