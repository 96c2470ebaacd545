#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_programs.sh KERNEL - what the XDP programs decide, packet by packet, on a kernel with sched_ext; and how many instructions its verifier looks
# at, in each of their forms: alone, in a cluster, traced. Those of sched_ext: test_sched.sh.
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 1
FOLDER=$(realpath "${WARMCORE_BUILD:-build}")/tests/bpf
# shellcheck disable=SC2016 # the guest's shell is to expand it
exec scripts/vm-run.sh --kernel "${1:?which kernel: 6.18, for example}" --timeout 900 -- bash -c \
	'failed=0; for test in "$@"; do "$test" || failed=1; done; exit $failed' programs \
	"$FOLDER"/test_{dispatch,dispatch_cluster,trace,umem}
