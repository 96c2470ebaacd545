#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_sched_life.sh KERNEL - CPUs that go off, a scheduler that is thrown out, a loader that is killed; and programs outside that
# compute. Apart from test_sched.sh so that each stays short; `test_sched.sh KERNEL partial` and sched_host take minutes more.
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 1
exec bash tests/vm/test_sched.sh "${1:?which kernel: 6.18, for example}" full sched_life
