/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * noise.h - how quiet the machine is right now: a thread that spins towards one deadline after the other, a millisecond apart, and looks how
 * late it notices each. Whatever keeps it from its CPU makes it late: interrupts, other threads, the hypervisor. What a thread cannot notice
 * sooner than this, no scheduler of this machine can do sooner.
 */
#ifndef WC_STUDY_NOISE_H
#define WC_STUDY_NOISE_H

#include <stdint.h>

struct noise {
	uint32_t samples;	       /* 0: not measured */
	double p50_us, p99_us, max_us; /* lateness */
	double lost_percent;	       /* of the time, in gaps of more than 10 us between two looks at the clock */
};

#define NOISE_SAMPLES 100u

/* Takes NOISE_SAMPLES ms of one CPU, the one that this thread is on or any other. */
void noise_measure(struct noise *ret);

/* Time taken by the hypervisor and all time of all CPUs, in ticks since the start (/proc/stat); 0 and 0: not known. */
void noise_steal(uint64_t *ret_steal, uint64_t *ret_all);

#endif
