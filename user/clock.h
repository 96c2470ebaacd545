/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* clock.h - CLOCK_MONOTONIC in nanoseconds: the same clock as bpf_ktime_get_ns(), so that stamps of both sides compare. */
#ifndef WC_CLOCK_H
#define WC_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define WC_MS 1000000ULL
#define WC_US 1000ULL
#define WC_SECOND 1000000000ULL

static inline uint64_t wc_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * WC_SECOND + (uint64_t)now.tv_nsec;
}

/* A moment of that clock, or a span, as the kernel and pthread take it. */
static inline struct timespec wc_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / WC_SECOND), .tv_nsec = (long)(ns % WC_SECOND) };
}

/* A condition whose timed waits are by that clock: who sets the date holds nobody up. */
static inline void wc_cond_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

#endif
