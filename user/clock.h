/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* clock.h - CLOCK_MONOTONIC in nanoseconds: the same clock as bpf_ktime_get_ns(), so that stamps of both sides compare. */
#ifndef WC_CLOCK_H
#define WC_CLOCK_H

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

#endif
