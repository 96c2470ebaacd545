#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# run.sh - what `make run` does: install what is missing, build, show the demonstration.
set -euo pipefail

cd "$(dirname "$0")/.."
BUILD=$(realpath -ms --relative-base=. "${BUILD:-build}") # as the Makefile spells it: a goal below contains it
unset MAKEFLAGS MFLAGS MAKELEVEL # of the make that called this

if [ "$(id -u)" != 0 ]; then
	echo "run: needs root, for network namespaces and BPF: sudo make run" >&2
	exit 1
fi
scripts/install-deps.sh --group run
# -s: not a word when there is nothing to do
make -s --no-print-directory BUILD="$BUILD" all "$BUILD/tests/bench/bench_rtt"
WARMCORE_BUILD=$(realpath "$BUILD")
export WARMCORE_BUILD
exec scripts/demo.sh "$@"
