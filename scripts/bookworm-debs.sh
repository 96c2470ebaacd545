#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# bookworm-debs.sh FOLDER PACKAGE... - fetch packages of Debian 12 that this release of Debian has no longer into FOLDER, and print their paths.
#
# From the mirror that this machine uses (or DEBIAN_MIRROR), checked by Debian's signatures. With lists of its own: the machine's sources
# of packages stay as they are. Nothing is installed, and nothing that they depend on is fetched.
set -euo pipefail

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
	echo "bookworm-debs: error: $*" >&2
	exit 1
}

[ $# -ge 2 ] || die "which packages, and where to? Usage: scripts/bookworm-debs.sh FOLDER PACKAGE..."
FOLDER=$(realpath "$1")
shift
[ -r "$KEYRING" ] || die "no $KEYRING, to check signatures with: install the package debian-archive-keyring"
MIRROR=${DEBIAN_MIRROR:-$(grep -rhoE '[a-z]+://[^ ]*/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
	head -n 1 | tr -d ' ' || true)}
[ -n "$MIRROR" ] || die "no Debian mirror in this machine's apt sources: set DEBIAN_MIRROR"

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
mkdir -p "$SCRATCH"/{state/lists/partial,cache/archives/partial,preferences.d,deb}
: >"$SCRATCH/status" # an empty Debian: nothing is installed
for suite in bookworm bookworm-updates; do
	echo "deb [signed-by=$KEYRING] $MIRROR $suite main"
done >"$SCRATCH/sources.list"

fetch() {
	local log=$SCRATCH/log
	apt-get -qq -o Dir::State="$SCRATCH/state" -o Dir::State::status="$SCRATCH/status" -o Dir::Cache="$SCRATCH/cache" \
		-o Dir::Etc::sourcelist="$SCRATCH/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferences=/dev/null \
		-o Dir::Etc::preferencesparts="$SCRATCH/preferences.d" -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any \
		-o Acquire::Languages=none -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" >"$log" 2>&1 </dev/null ||
		die "apt-get cannot fetch $* from $MIRROR: $(grep -m 1 '^[EW]:' "$log" || tail -n 1 "$log")"
}

fetch update
(cd "$SCRATCH/deb" && fetch download "$@")
mv "$SCRATCH"/deb/*.deb "$FOLDER/"
ls -d "$FOLDER"/*.deb
