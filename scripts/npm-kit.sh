#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# npm-kit.sh [sdk | gateway | webhooks | autocannon] - packages of npm for tests. Without an argument: AWS's runtime interface client for Node.js, as it is published
# on npm, for the test of custom runtimes. Installs it once into /var/cache/warmcore/npm (its own scripts compile the native part, with a
# libcurl that it brings along: two minutes), and prints the folder. sdk: AWS's SDK for Lambda and its signer, into npm/sdk; gateway: that
# SDK and the one of CloudEvents, into npm/gateway; webhooks: the verifier of Standard Webhooks and CloudEvents; autocannon: a load generator for HTTP.
# All print the folder that has node_modules.
# Exit status 1, with the reason, where it cannot be had; nothing else of the project needs it.
set -euo pipefail

PACKAGE=aws-lambda-ric
VERSION=3.3.0
KIT=${WARMCORE_NPM_KIT:-/var/cache/warmcore/npm}
FOLDER=$KIT/node_modules/$PACKAGE

# NAME PACKAGE@VERSION... - a folder of its own for each set, so that none disturbs another.
install_set() {
	local folder=$KIT/$1 log
	shift
	if [ "$(cat "$folder/installed" 2>/dev/null)" != "$*" ]; then
		command -v npm >/dev/null || { echo "npm-kit: npm is missing, which installing $* takes" >&2 && exit 1; }
		mkdir -p "$folder"
		log=$(mktemp)
		if ! flock "$folder" npm install --no-audit --no-fund --ignore-scripts --prefix "$folder" "$@" >"$log" 2>&1 </dev/null; then
			tail -n 5 "$log" >&2
			rm -f "$log"
			echo "npm-kit: npm cannot install $*; is there a network?" >&2
			exit 1
		fi
		rm -f "$log"
		echo "$*" >"$folder/installed"
	fi
	echo "$folder"
}

case ${1-} in
'') ;;
sdk) install_set sdk @aws-sdk/client-lambda@3.1164.0 @smithy/signature-v4@5.7.5 @aws-crypto/sha256-js@5.2.0 && exit 0 ;;
gateway) install_set gateway @aws-sdk/client-lambda@3.1164.0 cloudevents@10.0.0 && exit 0 ;;
webhooks) install_set webhooks standardwebhooks@1.1.1 cloudevents@10.0.0 && exit 0 ;;
autocannon) install_set autocannon autocannon@9.0.0 && exit 0 ;;
*) echo "Usage: scripts/npm-kit.sh [sdk | gateway | webhooks | autocannon]" >&2 && exit 2 ;;
esac

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
