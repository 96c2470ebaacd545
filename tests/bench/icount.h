/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * icount.h - for a benchmark that runs in a VM with reproducible time (scripts/vm-run.sh --icount): short turns of its CPUs.
 *
 * One thread of the host runs all virtual CPUs, one after the other, and time goes on with every instruction of any of
 * them. A CPU keeps its turn until the next virtual timer is due, divided by the number of CPUs: with nothing but the tick
 * that is a millisecond, in which the others stand still while their clocks run. It is a property of the machine, not of
 * what is measured on it. So this keeps a timer due every few microseconds, of a device that the guest does not use.
 */
#ifndef WC_TESTS_BENCH_ICOUNT_H
#define WC_TESTS_BENCH_ICOUNT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Make ready for icount_set_turns(). 0 or a negative errno: -EOPNOTSUPP when this is no such VM. Whoever starts the VM has to
 * allow it: vm-run.sh does.
 */
int icount_open(void);

/*
 * From now on a turn ends after at most `us` microseconds of virtual time; 0: when it likes. A machine whose CPUs all sleep
 * takes long with short turns, because it has to wake up for each. By the thread that opened it.
 */
void icount_set_turns(unsigned us);

/* The machine, as its firmware names it: "QEMU pc-q35-10.0". Empty when it does not. */
void icount_machine(char *text, size_t size);

#endif
