/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * slice.h - the calling thread asks for the shortest time slice that Linux takes (6.12; older kernels ignore it).
 *
 * A task that wakes up with a shorter slice than the running one preempts it: the instance runs as soon as the agent on its
 * CPU has woken it, and has mostly answered when the agent gets to wait, which saves the agent's sleep and its wake-up. It
 * changes no shares, so nobody minds if it fails.
 */
#ifndef WC_SLICE_H
#define WC_SLICE_H

#include <errno.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WC_SLICE_NS 100000

/* 0 or a negative errno. Only system calls. */
static inline int wc_short_slice(void)
{
	struct { /* struct sched_attr, whose header does not go together with sched.h */
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = { .size = sizeof(attr), .nice = getpriority(PRIO_PROCESS, 0), .runtime = WC_SLICE_NS };

	_Static_assert(sizeof(attr) == 48, "SCHED_ATTR_SIZE_VER0");
	return syscall(SYS_sched_setattr, 0, &attr, 0) ? -errno : 0;
}

#endif
