#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# config-docs.sh - write the tables of docs/CONFIG.md anew, from the programs' own (BUILD, default build).
set -euo pipefail

cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
DOCUMENT=docs/CONFIG.md
NEW=$(mktemp)
trap 'rm -f "$NEW"' EXIT

# Everything between "<!-- knobs: PROGRAM -->" and "<!-- end -->" is that program's.
while IFS= read -r line; do
	case $line in
	'<!-- knobs: '*' -->')
		program=${line#<!-- knobs: }
		printf '%s\n\n' "$line"
		"$BUILD/bin/${program% -->}" --config none --print table
		inside=1
		;;
	'<!-- end -->')
		printf '\n%s\n' "$line"
		inside=
		;;
	*) [ -n "${inside:-}" ] || printf '%s\n' "$line" ;;
	esac
done <"$DOCUMENT" >"$NEW"
cat "$NEW" >"$DOCUMENT"
