#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_sched.sh KERNEL [MODES [PROGRAMS [TEST...]]] - the thread scheduler, by tests/vm/sched_*.c; unless given, what is quick, in full mode.
#
# With virtual time: a virtual CPU that the host stops for some milliseconds would look like a scheduler that is late. And
# one thread only: QEMU's others see a kernel that patches itself, as it does at each load, too late now and then (Oops: int3).
set -uo pipefail

KERNEL=${1:?which kernel: 6.18, for example}
MODES=${2:-full}
PROGRAMS=${3:-sched_place sched_share sched_launch sched_accounts}
shift $(($# < 3 ? $# : 3))
cd "$(dirname "$0")/../.." || exit 1
FOLDER=$(realpath "${WARMCORE_BUILD:-build}")/tests/vm
FILES=()
COMMANDS=
for program in $PROGRAMS; do
	FILES+=(--file "$FOLDER/$program")
	for mode in $MODES; do
		# Nothing of sched_host holds in partial mode: there the host comes first.
		[[ $program != sched_host || $mode = full ]] || continue
		COMMANDS+="echo $program $mode; $FOLDER/$program $mode $* || failed=1; "
		[ "$program" != sched_host ] || [ $# -gt 0 ] || COMMANDS+="$FOLDER/$program $mode hogs_outside || failed=1; "
	done
done
# SysRq-S is what the tests throw the scheduler out with.
exec scripts/vm-run.sh --kernel "$KERNEL" --icount --shift 3 --timeout 580 --allow 'disabled by sysrq' \
	"${FILES[@]}" --file "$(realpath /bin/sh)" -- "$FOLDER/turns" 50 "$(realpath /bin/sh)" -c "failed=0; $COMMANDS exit \$failed"
