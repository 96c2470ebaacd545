#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# promtool-kit.sh - print the path of promtool, Prometheus's checker of metrics and rules, for tests: the one on PATH, else that of Debian's
# package prometheus. Of this only the program is taken (19 MB to fetch, 48 MB on disk), into /var/cache/warmcore/promtool: the package
# would start a server on port 9090. apt checks the signature. Exit status 1, with the reason, where it cannot be had.
set -euo pipefail

KIT=${WARMCORE_PROMTOOL_KIT:-/var/cache/warmcore/promtool}
PROGRAM=$KIT/promtool

die() {
	echo "promtool-kit: $*" >&2
	exit 1
}

if command -v promtool; then
	exit 0
fi
if [ ! -x "$PROGRAM" ]; then
	command -v apt-get >/dev/null || die "promtool is not on PATH, and there is no apt to fetch it with"
	mkdir -p "$KIT" || die "cannot make $KIT"
	(
		flock 9 # two test runs may come at once
		[ ! -x "$PROGRAM" ] || exit 0
		folder=$(mktemp -d "$KIT/fetch.XXXXXX")
		trap 'rm -rf "$folder"' EXIT
		cd "$folder"
		# The lists may be older than the mirror, or not there.
		apt-get -qq download prometheus >log 2>&1 </dev/null ||
			{ apt-get -qq update && apt-get -qq download prometheus; } >log 2>&1 </dev/null ||
			{ tail -n 3 log >&2 && die "apt cannot fetch the package prometheus; is there a network?"; }
		dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
		./usr/bin/promtool --version >/dev/null 2>&1 || die "promtool of the package does not run here"
		mv usr/bin/promtool "$PROGRAM"
	) 9>"$KIT/lock"
fi
echo "$PROGRAM"
