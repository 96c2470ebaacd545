#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# lint.sh [--fix] - style, licence lines, banned functions, static analysis. With --fix: rewrite the C sources in the
# project's style and stop. Tools that are not installed are named and left out; scripts/install-deps.sh --group test
# installs those that count (clang-tidy and shellcheck are extra).
set -uo pipefail

cd "$(dirname "$0")/.." || exit 1
FOLDERS=(bpf user runtimes tools tests examples)
BUILD=${BUILD:-build}
failed=0

fail() {
	echo "lint: $*" >&2
	failed=1
}

# Files of the project, by find(1) expression; what git ignores is not part of it.
files() {
	find . \( -path "./$BUILD" -o -path ./.git -o -path ./vmlinux -o -name node_modules -o -name __pycache__ \) -prune -o \
		-type f \( "$@" \) -print | sed 's|^\./||' | sort
}

mapfile -t C_FILES < <(find "${FOLDERS[@]}" -name '*.[ch]' -type f 2>/dev/null | sort)

if [ "${1:-}" = --fix ]; then
	command -v clang-format >/dev/null || { fail "clang-format is missing: run scripts/install-deps.sh --group test" && exit 1; }
	[ ${#C_FILES[@]} = 0 ] || clang-format -i "${C_FILES[@]}"
	exit
fi

echo "style"
if command -v clang-format >/dev/null; then
	[ ${#C_FILES[@]} = 0 ] || clang-format --dry-run -Werror "${C_FILES[@]}" || fail "not in the project's style: make format"
else
	fail "clang-format is missing: run scripts/install-deps.sh --group test"
fi

echo "licence lines"
while read -r file; do
	head -n 3 "$file" | grep -q 'SPDX-License-Identifier: ' || fail "$file: no SPDX line in the first three lines"
done < <(files -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.js' -o -name '*.bash' -o -name '*.mk' \
	-o -name '*.in' -o -path './web/*' -o -name Makefile -o -path './.ci/run' -o -name '*.[18]')

# Calls only: a word, an opening bracket; comments may name them.
echo "banned functions"
BANNED='strcpy|strncpy|strcat|strncat|sprintf|vsprintf|gets|strtok|atoi|atol|atoll|atof|alloca|system|tmpnam|mktemp'
if [ ${#C_FILES[@]} -gt 0 ] &&
	grep -nE "(^|[^[:alnum:]_>.])($BANNED)\(" "${C_FILES[@]}" | grep -vE '^[^:]*:[0-9]*:[[:space:]]*(/?\*|//)'; then
	fail "banned functions are used: see CONTRIBUTING.md"
fi

# tools -> user -> bpf; runtimes know only runtimes.
echo "dependencies"
depends() {
	local folder=$1 allowed=$2
	if grep -rnE '^#include "[a-z]+/' "$folder" --include='*.[ch]' 2>/dev/null | grep -vE "#include \"($allowed)/"; then
		fail "$folder/ may include only from: ${allowed//|/, }"
	fi
}
depends bpf bpf
depends user 'user|bpf|runtimes/abi|runtimes/native'
depends tools 'tools|user|bpf'
# The gateway is a client; the daemon does not know it.
if grep -nE '^#include "user/gateway/' user/*.[ch] tools/*.[ch] | grep -v '^tools/cmd_keys.c:.*"user/gateway/auth_keys.h"'; then
	fail "only user/gateway/ may include from user/gateway/, but warmcore keys the file of keys"
fi
if grep -rnE '^#include "user/[a-z_]+\.h"' user/gateway | grep -vE '"user/(away|client|clock|control_client|database|error|fd_pass|knobs|latency|log|metrics|notify|payload_client|process|remote_wire|version)\.h"'; then
	fail "user/gateway/ may include of user/ only away, client, clock, control_client, database, error, fd_pass, knobs, latency, log, metrics, notify, payload_client, process, remote_wire and version"
fi
depends runtimes 'runtimes|abi'
depends examples none # functions know warmcore.h only

# Not uninitialised variables and missing returns: the compilers know those better.
echo "cppcheck"
if command -v cppcheck >/dev/null; then
	mapfile -t SOURCES < <(find user tools runtimes examples -name '*.c' -type f 2>/dev/null | sort)
	[ ${#SOURCES[@]} = 0 ] || cppcheck --quiet --enable=warning,portability --inline-suppr --std=c11 --error-exitcode=1 \
		-j2 -I. -D__linux__ -D__x86_64__ --library=scripts/cppcheck.cfg --suppress=missingIncludeSystem \
		--suppress=missingInclude --suppress=uninitvar --suppress=legacyUninitvar \
		--suppress=missingReturn --suppress=normalCheckLevelMaxBranches "${SOURCES[@]}" ||
		fail "cppcheck found something"
else
	fail "cppcheck is missing: run scripts/install-deps.sh --group test"
fi

if command -v shellcheck >/dev/null; then
	echo "shellcheck"
	mapfile -t SCRIPTS < <(files -name '*.sh' -o -path './.ci/run')
	shellcheck "${SCRIPTS[@]}" || fail "shellcheck found something"
else
	echo "shellcheck: not installed, left out"
fi

if command -v clang-tidy >/dev/null && [ -d "$BUILD/bpf" ]; then
	echo "clang-tidy"
	mapfile -t SOURCES < <(find user tools -name '*.c' -type f 2>/dev/null | sort)
	FLAGS=(-std=gnu11 -D_GNU_SOURCE -iquote . -isystem "$BUILD/bpf" '-DWARMCORE_VERSION="lint"')
	read -ra PACKAGE_FLAGS < <(pkg-config --cflags libnl-3.0 libxdp libbpf jansson 2>/dev/null)
	# Generated skeletons are not ours to mend.
	FOUND=$(clang-tidy --quiet "${SOURCES[@]}" -- "${FLAGS[@]}" "${PACKAGE_FLAGS[@]}" 2>/dev/null |
		grep -E '(error|warning): ' | grep -v '\.skel\.h:')
	[ -z "$FOUND" ] || { echo "$FOUND" && fail "clang-tidy found something"; }
else
	echo "clang-tidy: not installed or nothing built, left out"
fi

[ $failed != 0 ] || echo "lint: clean"
exit $failed
