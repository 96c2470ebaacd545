#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# find-tool.sh clang|clang-version|bpftool|clang-format - print the path of the tool that the build shall use (or, for
# clang-version, that clang's major version); print nothing and exit 1 when there is none.

CLANG_MIN=16 # older ones compile, but CO-RE relocations of 64-bit enums then fail at load

# clang-19 first: the version that is tested most.
find_clang() {
	for version in 19 20 21 22 18 17 16; do
		command -v "clang-$version" && return 0
	done
	command -v clang >/dev/null && [ "$(clang_major clang)" -ge "$CLANG_MIN" ] && command -v clang
}

clang_major() {
	echo __clang_major__ | "$1" -E -P -x c - 2>/dev/null | tail -n 1
}

# Ubuntu's /usr/sbin/bpftool is a wrapper that refuses kernels it has no package for; the programs behind it run
# anywhere.
find_bpftool() {
	for tool in "$(command -v bpftool)" /usr/sbin/bpftool /usr/local/sbin/bpftool; do
		[ -n "$tool" ] && "$tool" version >/dev/null 2>&1 && echo "$tool" && return 0
	done
	find /usr/lib/linux-tools* -name bpftool 2>/dev/null | sort -rV | while read -r tool; do
		"$tool" version >/dev/null 2>&1 && echo "$tool" && break
	done | grep .
}

case $1 in
clang) find_clang ;;
clang-version) tool=$(find_clang) && clang_major "$tool" ;;
bpftool) find_bpftool ;;
clang-format) command -v clang-format ;;
*) echo "find-tool: unknown tool '$1'" >&2 && exit 2 ;;
esac
