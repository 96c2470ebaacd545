#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_sched_latency.sh KERNEL - limits of the benchmark group `sched` that the scheduler must keep, with few samples: a wake-up
# beside a hog, and processor sharing. Under virtual time: the same programs give the same figures on any machine, but another
# build of them, or another kernel, meets the ticks at other phases. What EEVDF's p99 is then is its luck: with 20 samples 3 times ours was
# seen where 200 give 11. So ours is held against SCHED_FIFO, which has no such luck, and must only be better than EEVDF; the limit
# of 5 is for the benchmark's samples (docs/BENCHMARKS.md).
# only-when-asked@7.3
set -uo pipefail

KERNEL=${1:?which kernel: 6.18, for example}
cd "$(dirname "$0")/../.." || exit 1
SCRATCH=$(mktemp -d)
BENCH=
trap '[ -z "$BENCH" ] || kill "$BENCH" 2>/dev/null; rm -rf "$SCRATCH"' EXIT
trap 'exit 143' TERM INT

VM_KERNELS=$KERNEL bash tests/bench/bench_sched.sh "$SCRATCH/figures" --rounds 1 --block 200 --only wakeup_hog,ps &
BENCH=$!
wait $BENCH
status=$?
BENCH=
[ $status = 0 ] || exit $status
python3 - "$SCRATCH/figures" <<'END'
import json, sys

figures = {figure["name"]: figure for figure in map(json.loads, open(sys.argv[1]))}
failed = 0
for name, least, most in (("sched_wakeup_hog_fifo_p99", 0.33, None), ("sched_wakeup_hog_p99", 2, None),
                          ("sched_ps_short_slowdown", None, 1.2)):
    ratio = figures[name]["ratio"]
    good = (least is None or ratio >= least) and (most is None or ratio <= most)
    print(f"{'ok' if good else 'FAILED'}: {name} is {ratio}, {'at least' if least else 'at most'} {least or most}")
    failed |= not good
sys.exit(failed)
END
