#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# bench.sh [GROUP...] - run the benchmark groups (all without an argument) that are built.
#
# A group is a program tests/bench/bench_GROUP.sh, .py or .c; a script beside a program starts it. It is called with one argument, the file for its results:
# one JSON object a line (docs/BENCHMARKS.md). Its table goes to standard output. Results are kept, as
# build/bench/GROUP.jsonl, only when the program exits with 0; 77 means that this machine cannot run the group.
set -uo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
BUILD=$(realpath -m "${WARMCORE_BUILD:-$ROOT/build}")
export WARMCORE_BUILD=$BUILD
cd "$ROOT" || exit 1

shopt -s nullglob
groups=("$@")
if [ ${#groups[@]} = 0 ]; then
	for file in tests/bench/bench_*.{c,py,sh}; do
		name=${file##*/bench_}
		[[ " ${groups[*]} " == *" ${name%.*} "* ]] || groups+=("${name%.*}")
	done
fi
[ ${#groups[@]} -gt 0 ] || { echo "bench: there are no benchmarks in tests/bench" >&2 && exit 1; }

mkdir -p "$BUILD/bench"
failed=0
for group in "${groups[@]}"; do
	if [ -e "tests/bench/bench_$group.sh" ]; then
		command=(bash "tests/bench/bench_$group.sh")
	elif [ -e "tests/bench/bench_$group.py" ]; then
		command=(python3 "tests/bench/bench_$group.py")
	elif [ -e "tests/bench/bench_$group.c" ]; then
		command=("$BUILD/tests/bench/bench_$group")
	else
		echo "bench: no group '$group' in tests/bench" >&2
		failed=1
		continue
	fi
	echo "== $group"
	rm -f "$BUILD/bench/$group.jsonl.new"
	"${command[@]}" "$BUILD/bench/$group.jsonl.new"
	status=$?
	if [ $status = 77 ]; then
		echo "bench: $group was skipped" >&2
	elif [ $status != 0 ]; then
		echo "bench: $group failed with exit status $status" >&2
		failed=1
	elif ! python3 -c 'import json, sys; sys.exit(not [json.loads(line) for line in open(sys.argv[1])])' \
		"$BUILD/bench/$group.jsonl.new"; then
		echo "bench: $group wrote no results, or not one JSON object a line" >&2
		failed=1
	else
		mv "$BUILD/bench/$group.jsonl.new" "$BUILD/bench/$group.jsonl"
		echo "results: $BUILD/bench/$group.jsonl"
	fi
	rm -f "$BUILD/bench/$group.jsonl.new"
done
exit $failed
