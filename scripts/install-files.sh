#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# install-files.sh install|uninstall - what `make install` and `make uninstall` do, with BUILD, PREFIX and DESTDIR in the
# environment. Both walk the same table, so that uninstall removes what install puts there, and nothing else.
set -euo pipefail
shopt -s nullglob
umask 022 # whatever the administrator's is: everybody runs and reads what is installed

ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$ROOT"
BUILD=${BUILD:-build}
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
TARGET=$DESTDIR$PREFIX
FOLDERS=$TARGET/lib/warmcore/folders # which ones install made: uninstall removes those, and no other that is empty
case $PREFIX in /*) ;; *) echo "install: PREFIX must be an absolute path" >&2 && exit 2 ;; esac

# One line a file: kind, source, path below PREFIX. "private" files are in a folder that is ours alone.
table() {
	local file section name
	for file in "$BUILD"/bin/*; do
		echo "program $file bin/${file##*/}"
	done
	[ ! -d "$BUILD/lib/warmcore" ] || (cd "$BUILD/lib/warmcore" && find . -type f -printf '%P\n') | while read -r file; do
		echo "private $BUILD/lib/warmcore/$file lib/warmcore/$file"
	done
	for file in spin.so function.json; do # what warmcore load --deploy deploys
		echo "private $BUILD/examples/native/spin/$file lib/warmcore/examples/spin/$file"
	done
	(cd "$BUILD/examples/workflows" && find . -type f ! -path '*/__pycache__/*' -printf '%P\n') | while read -r file; do
		echo "private $BUILD/examples/workflows/$file lib/warmcore/examples/workflows/$file"
	done
	for file in bpf/*.bpf.c; do
		file=${file##*/}
		echo "private $BUILD/bpf/${file%.c}.o lib/warmcore/bpf/${file%.c}.o"
	done
	echo "data runtimes/native/warmcore.h include/warmcore.h"
	for file in docs/man/*.[18]; do
		section=${file##*.}
		echo "man $file share/man/man$section/${file##*/}.gz"
	done
	for file in tools/completion/*.bash; do
		name=${file##*/}
		echo "data $file share/bash-completion/completions/${name%.bash}"
	done
	for file in tools/completion/*.zsh; do
		name=${file##*/}
		echo "data $file share/zsh/site-functions/_${name%.zsh}"
	done
	for file in examples/studies/*.yaml; do
		echo "data $file share/warmcore/studies/${file##*/}"
	done
	for file in scripts/monitoring/*; do
		echo "data $file share/warmcore/monitoring/${file##*/}"
	done
	echo "example $BUILD/bin/warmcored share/doc/warmcore/examples/node.yaml"
	echo "example $BUILD/bin/warmcore-gateway share/doc/warmcore/examples/gateway.yaml"
	for file in scripts/systemd/*.in; do
		file=${file##*/}
		echo "unit scripts/systemd/$file lib/systemd/system/${file%.in}"
	done
}

install_one() {
	local kind=$1 source=$2 to=$TARGET/$3
	case $kind in
	program) install -D -m 755 "$source" "$to" ;;
	private)
		if [ -x "$source" ]; then
			install -D -m 755 "$source" "$to"
		else
			install -D -m 644 "$source" "$to"
		fi
		;;
	data) install -D -m 644 "$source" "$to" ;;
	man)
		mkdir -p "$(dirname "$to")"
		gzip -9n <"$source" >"$to"
		chmod 644 "$to"
		;;
	example) # a configuration file with every knob: the program knows them
		mkdir -p "$(dirname "$to")"
		"$source" --config none --print example >"$to"
		chmod 644 "$to"
		;;
	unit)
		mkdir -p "$(dirname "$to")"
		sed "s|@BINDIR@|$PREFIX/bin|g" "$source" >"$to"
		chmod 644 "$to"
		;;
	esac
}

# Folders on the way to $1 that are not there yet, the outermost first, as paths below DESTDIR.
missing_folders() {
	local folder
	folder=$(dirname "$1")
	if [ "$folder" != / ] && [ ! -d "$DESTDIR$folder" ]; then
		missing_folders "$folder"
		echo "$folder"
	fi
}

case ${1:-} in
install)
	made=$(mktemp)
	trap 'rm -f "$made"' EXIT
	table | while read -r kind source to; do
		missing_folders "$PREFIX/$to" >>"$made"
		install_one "$kind" "$source" "$to"
	done
	cat "$made" >>"$FOLDERS" # after those of an earlier install
	echo "installed in $TARGET"
	;;
uninstall)
	table | while read -r _ _ to; do
		rm -f "$TARGET/$to"
	done
	made=
	[ ! -f "$FOLDERS" ] || made=$(tac "$FOLDERS")
	# Our own folder may hold files of an older version; nothing else has business there.
	rm -rf "$TARGET/lib/warmcore" "$TARGET/bin/warmcore" "$TARGET/bin/warmcored" "$TARGET/bin/warmcore-gateway"
	while read -r folder; do # the innermost first; what somebody else has put something into stays
		[ ! -d "$DESTDIR$folder" ] || rmdir --ignore-fail-on-non-empty "$DESTDIR$folder"
	done < <(printf '%s' "${made:+$made$'\n'}")
	echo "removed from $TARGET"
	;;
*)
	echo "Usage: BUILD=DIR PREFIX=DIR DESTDIR=DIR scripts/install-files.sh install|uninstall" >&2
	exit 2
	;;
esac
