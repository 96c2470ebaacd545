#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_sched_loads.sh KERNEL [COUNT [BEFORE]] - load and unload the thread scheduler so often, with threads that never sleep. A load takes
# some four to seven seconds of a CPU in virtual time, so by default it is 10, and 20 before counting begins; `make test` makes 6, and 4 before:
# a map, program or link that is left is seen after one. test_sched_loads_200.sh makes 200.
# only-when-asked@6.18
set -uo pipefail

KERNEL=${1:?which kernel: 6.18, for example}
COUNT=${2:-${VM_SHORT:+6}}
COUNT=${COUNT:-10}
BEFORE=${3:-${VM_SHORT:+4}}
BEFORE=${BEFORE:-20}
cd "$(dirname "$0")/../.." || exit 1
FOLDER=$(realpath "${WARMCORE_BUILD:-build}")/tests/vm
# With one thread for all CPUs: test_sched.sh says why. Half of the loads in each mode.
exec scripts/vm-run.sh --kernel "$KERNEL" --icount --shift 3 --timeout $((100 + 8 * (COUNT + BEFORE))) --file "$FOLDER/sched_loads" --file "$(realpath /bin/sh)" -- \
	"$FOLDER/turns" 50 "$(realpath /bin/sh)" -c \
	"$FOLDER/sched_loads $((COUNT / 2)) full $((BEFORE / 2)) && $FOLDER/sched_loads $((COUNT - COUNT / 2)) partial $((BEFORE / 2))"
