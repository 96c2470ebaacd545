#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# npm-kit.sh - AWS's runtime interface client for Node.js, as it is published on npm, for the test of custom runtimes. Installs it once into
# /var/cache/warmcore/npm (its own scripts compile the native part, with a libcurl that it brings along: two minutes), and prints the folder.
# Exit status 1, with the reason, where it cannot be had; nothing else of the project needs it.
set -euo pipefail

PACKAGE=aws-lambda-ric
VERSION=3.3.0
KIT=${WARMCORE_NPM_KIT:-/var/cache/warmcore/npm}
FOLDER=$KIT/node_modules/$PACKAGE

if [ ! -e "$FOLDER/dist/rapid-client.node" ] || ! grep -q "\"version\": \"$VERSION\"" "$FOLDER/package.json"; then
	for tool in npm node g++ make cmake autoreconf libtool; do
		command -v "$tool" >/dev/null || command -v "${tool}ize" >/dev/null ||
			{ echo "npm-kit: $tool is missing, which installing $PACKAGE takes" >&2 && exit 1; }
	done
	mkdir -p "$KIT"
	LOG=$(mktemp)
	trap 'rm -f "$LOG"' EXIT
	# With a lock: two test runs may come at once.
	if ! flock "$KIT" npm install --no-audit --no-fund --prefix "$KIT" "$PACKAGE@$VERSION" >"$LOG" 2>&1 </dev/null; then
		tail -n 5 "$LOG" >&2
		echo "npm-kit: npm cannot install $PACKAGE $VERSION; is there a network?" >&2
		exit 1
	fi
	[ -e "$FOLDER/dist/rapid-client.node" ] || { echo "npm-kit: $PACKAGE was installed without its native part" >&2 && exit 1; }
fi
echo "$FOLDER"
