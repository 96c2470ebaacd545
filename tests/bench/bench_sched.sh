#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# bench_sched.sh OUTPUT [OPTION...] - group `sched`: run bench_sched.c, with the options, in a VM with reproducible virtual time,
# on each kernel with sched_ext ($VM_KERNELS). It writes its table and its figures to its output, which is all that comes
# out of such a VM; the figures are the lines that begin with a brace.
set -uo pipefail

OUTPUT=${1:?which file shall the results go to?}
shift
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=${WARMCORE_BUILD:-$ROOT/build}
SCRATCH=$(mktemp -d)
VM=
trap '[ -z "$VM" ] || { kill "$VM" && wait "$VM"; } 2>/dev/null; rm -rf "$SCRATCH"' EXIT
trap 'exit 143' TERM INT HUP

for kernel in ${VM_KERNELS:-6.18 7.3}; do
	# Time in there does not depend on the machine, so nothing is in a hurry: no time limit.
	"$ROOT/scripts/vm-run.sh" --icount --cpus 4 --kernel "$kernel" --timeout 0 -- \
		"$BUILD/tests/bench/bench_sched" /dev/stdout "$@" >"$SCRATCH/output" &
	VM=$!
	wait $VM
	status=$?
	VM=
	tr -d '\r' <"$SCRATCH/output" | grep -v '^{'
	[ $status = 0 ] || exit $status
	tr -d '\r' <"$SCRATCH/output" | grep '^{' >>"$SCRATCH/figures"
done
cat "$SCRATCH/figures" >>"$OUTPUT"
