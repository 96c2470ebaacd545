#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# vm-kit.sh - fetch what a virtual machine for tests needs, once, and print the folder where it is: QEMU 10, virtiofsd,
# busybox and cpio, and a kernel that has sched_ext. scripts/vm-run.sh is what uses it.
#
# Nothing is installed, and the machine's own apt configuration is read (proxies) but not changed: apt works in a private
# folder as on an empty Debian 13, so that it picks the C library and everything else as well. The programs bring their
# own dynamic linker, so one combination runs, and is tested, on every distribution. (Decided against: the host's QEMU.
# Version 7.2 of Debian 12 crashes guests that load and unload a scheduler under load.) apt checks the signatures.
#
#   DIR/LAYOUT/tools/usr/...                QEMU and so on, with their libraries
#   DIR/LAYOUT/6.18/release, vmlinuz        what `uname -r` will say, and its image
#   DIR/LAYOUT/6.18/lib/modules/RELEASE     its modules, with the indices of depmod
#   DIR/LAYOUT/6.18/tools                   a link to the tools
#
# A folder appears under its name when it is complete, and is never changed: remove DIR for newer versions. Exit status:
# 0, 77 when this machine cannot have a kit (no network, no mirror, another processor), else 1.
set -euo pipefail

LAYOUT=1 # another number when what is in a folder changes
SUITES="trixie trixie-backports"
TOOLS="qemu-system-x86 virtiofsd busybox-static cpio"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
KERNEL=6.18
MIRROR=${DEBIAN_MIRROR:-}
DIR=${WARMCORE_VM_KIT:-}

usage() {
	cat <<-END
	Usage: scripts/vm-kit.sh [--kernel VERSION] [--mirror URL] [DIR]
	  --kernel VERSION  the newest kernel whose version begins so, of those for cloud machines in trixie-backports; when
	                    there is none, the newest with the same first number (default $KERNEL)
	  --mirror URL      Debian mirror (default: \$DEBIAN_MIRROR, else the one in this machine's apt sources)
	  DIR               default: \$WARMCORE_VM_KIT, else /var/cache/warmcore/vm (not root: ~/.cache/warmcore/vm)
	Prints the kit's folder. About 100 MB to fetch and 250 MB on disk for the first kernel, 130 MB for another.
	END
}

die() {
	echo "vm-kit: $*" >&2
	exit 1
}

skip() {
	echo "SKIP: no kit for test VMs: $*" >&2
	exit 77
}

while [ $# -gt 0 ]; do
	case $1 in
	--kernel) KERNEL=${2:?--kernel needs a version} && shift ;;
	--mirror) MIRROR=${2:?--mirror needs a URL} && shift ;;
	-h | --help) usage && exit 0 ;;
	-*) usage >&2 && exit 2 ;;
	*) DIR=$1 ;;
	esac
	shift
done
[[ $KERNEL =~ ^[0-9]+(\.[0-9]+)*$ ]] || die "--kernel $KERNEL is no version: 6.18, for example"
if [ -z "$DIR" ]; then
	if [ -n "${XDG_CACHE_HOME:-}" ]; then
		DIR=$XDG_CACHE_HOME/warmcore/vm
	elif [ "$(id -u)" = 0 ]; then
		DIR=/var/cache/warmcore/vm
	else
		DIR=$HOME/.cache/warmcore/vm
	fi
fi
DIR=$(realpath -m "$DIR")/$LAYOUT
KIT=$DIR/$KERNEL

if [ -e "$KIT" ]; then
	echo "$KIT"
	exit
fi

# --- the private apt --------------------------------------------------------------------------------------------------

[ "$(uname -m)" = x86_64 ] || skip "they are for x86-64, and this is $(uname -m)"
for tool in apt-get apt-cache dpkg-deb flock; do
	command -v "$tool" >/dev/null || skip "$tool is missing: this works on Debian and Ubuntu"
done
[ -r "$KEYRING" ] || skip "no $KEYRING, to check signatures with: install the package debian-archive-keyring"
if [ -z "$MIRROR" ]; then
	MIRROR=$(grep -rhoE '[a-z]+://[^ ]*/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
		head -n 1 | tr -d ' ' || true)
	[ -n "$MIRROR" ] || skip "no Debian mirror in this machine's apt sources: set DEBIAN_MIRROR, or give --mirror"
fi
mkdir -p "$DIR" 2>/dev/null || die "cannot make $DIR: give a folder as argument or in WARMCORE_VM_KIT"

# Two that start at once: one fetches, the other waits for it. What a killed one left is removed by the next.
exec 9>"$DIR/.lock" || die "cannot write to $DIR: give a folder as argument or in WARMCORE_VM_KIT"
flock 9
if [ -e "$KIT" ]; then
	echo "$KIT"
	exit
fi
rm -rf "$DIR"/.new
SCRATCH=$DIR/.new
trap 'rm -rf "$SCRATCH"' EXIT
mkdir -p "$SCRATCH"/{state/lists/partial,cache/archives/partial,preferences.d,deb,root}
: >"$SCRATCH/status" # an empty Debian: nothing is installed
for suite in $SUITES; do
	echo "deb [arch=amd64 signed-by=$KEYRING] $MIRROR $suite main"
done >"$SCRATCH/sources.list"

private_apt() {
	local command=$1
	shift
	"$command" -qq -o Dir::State="$SCRATCH/state" -o Dir::State::status="$SCRATCH/status" \
		-o Dir::Cache="$SCRATCH/cache" -o Dir::Etc::sourcelist="$SCRATCH/sources.list" \
		-o Dir::Etc::sourceparts=- -o Dir::Etc::preferences=/dev/null \
		-o Dir::Etc::preferencesparts="$SCRATCH/preferences.d" \
		-o APT::Sandbox::User=root -o APT::Update::Error-Mode=any \
		-o Acquire::Languages=none -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@"
}

# Without a network there are no VM tests; but a mirror that cannot be trusted is an error.
fetch() {
	local log=$SCRATCH/log why
	private_apt apt-get "$@" >"$log" 2>&1 </dev/null && return
	why=$(grep -m 1 '^[EW]:' "$log" || tail -n 1 "$log")
	if grep -qE 'NO_PUBKEY|BADSIG|EXPKEYSIG|not signed|Hash Sum mismatch|unauthenticated|invalid signature' "$log"; then
		die "apt does not trust what $MIRROR sends: ${why#?: }"
	fi
	skip "apt-get cannot fetch from $MIRROR: ${why#?: }"
}

# unpack FOLDER PACKAGE-FILE...
unpack() {
	local folder=$1 file
	shift
	for file in "$@"; do
		dpkg-deb -x "$file" "$folder" || die "cannot unpack $(basename "$file") into $folder: is the disk full?"
	done
}

# --- what is fetched --------------------------------------------------------------------------------------------------

# Only what is used, and nothing that is setuid.
fetch_tools() {
	local new=$SCRATCH/tools path
	# shellcheck disable=SC2086
	fetch -y --no-install-recommends --download-only install $TOOLS
	unpack "$SCRATCH/unpacked" "$SCRATCH"/cache/archives/*.deb
	for path in lib/x86_64-linux-gnu bin/{qemu-system-x86_64,busybox,cpio} libexec/virtiofsd share/{qemu,seabios}; do
		mkdir -p "$new/usr/$(dirname "$path")"
		mv "$SCRATCH/unpacked/usr/$path" "$new/usr/$path" || die "the packages $TOOLS have no /usr/$path: mend $0"
	done
	find "$new" -perm /6000 -exec chmod ug-s {} +
	mv -T "$new" "$DIR/tools"
}

# The newest release for cloud machines whose version begins with $1. Its image is in linux-image, with the modules, or
# since Linux 6.19 in linux-binary.
newest() {
	private_apt apt-cache pkgnames linux- |
		sed -nE "s/^linux-(image|binary)-(${1//./\\.}\.[0-9.]+\+deb[0-9]+-cloud-amd64)\$/\2/p" | sort -uV | tail -n 1
}

fetch_kernel() {
	local new=$SCRATCH/kernel release packages image
	release=$(newest "$KERNEL")
	if [ -z "$release" ]; then
		release=$(newest "${KERNEL%%.*}")
		[ -n "$release" ] || skip "$MIRROR has no Linux ${KERNEL%%.*} for cloud machines in trixie-backports"
		echo "vm-kit: $MIRROR has no Linux $KERNEL any more: $release instead" >&2
	fi
	packages="linux-image-$release"
	if private_apt apt-cache show "linux-binary-$release" >/dev/null 2>&1; then
		packages="linux-binary-$release linux-modules-$release"
	fi
	# shellcheck disable=SC2086
	(cd "$SCRATCH/deb" && fetch download $packages)
	unpack "$new" "$SCRATCH"/deb/*.deb
	image=$(find "$new" -name 'vmlinuz*' -type f -print -quit)
	[ -n "$image" ] || die "$packages: no kernel image in it"

	mkdir -p "$new/kit/lib/modules"
	mv "$image" "$new/kit/vmlinuz"
	mv "$new/usr/lib/modules/$release" "$new/kit/lib/modules/"
	"$DIR/tools/usr/bin/busybox" depmod -b "$new/kit" "$release" || die "depmod failed for the modules of $release"
	echo "$release" >"$new/kit/release"
	ln -s ../tools "$new/kit/tools"
	mv -T "$new/kit" "$KIT"
}

umask 022
echo "vm-kit: fetching Linux $KERNEL and QEMU into $DIR, once" >&2
fetch update
[ -e "$DIR/tools" ] || fetch_tools
fetch_kernel
echo "$KIT"
