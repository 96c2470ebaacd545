#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_sched_loads_200.sh KERNEL [COUNT] - test_sched_loads.sh in a machine whose processors are threads: 200 loads and unloads in one go,
# half of them in each mode. A load costs 2.7 s of a host's CPU so, and 7 with virtual time: ten minutes for all on one core. It is the other
# one that every `make test` runs, because nothing there depends on what else the host does, and QEMU has no races (test_sched.sh).
# only-when-asked
set -uo pipefail

KERNEL=${1:?which kernel: 6.18, for example}
COUNT=${2:-200}
cd "$(dirname "$0")/../.." || exit 1
PROGRAM=$(realpath "${WARMCORE_BUILD:-build}")/tests/vm/sched_loads
# The loads before counting begins are loads, too: sched_loads makes ten more than it is told to.
exec scripts/vm-run.sh --kernel "$KERNEL" --timeout 1700 -- \
	bash -c "$PROGRAM $((COUNT / 2 - 10)) full && $PROGRAM $((COUNT - COUNT / 2 - 10)) partial"
