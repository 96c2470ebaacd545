/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cold_starts.c - see cold_starts.h. A start takes hundreds of microseconds at least: a lock for all of them is no matter. */
#include "user/cold_starts.h"

#include <pthread.h>
#include <stdlib.h>

_Static_assert(WC_COLD_COUNT <= WC_LATENCY_ENDS, "all reasons can be counted");

struct wc_cold_starts {
	pthread_mutex_t lock;
	struct wc_latencies *latencies;
};

struct wc_cold_starts *wc_cold_starts_new(unsigned functions)
{
	struct wc_cold_starts *starts = malloc(sizeof(*starts));

	if (!starts)
		return NULL;
	starts->latencies = wc_latencies_new(functions);
	if (!starts->latencies) {
		free(starts);
		return NULL;
	}
	pthread_mutex_init(&starts->lock, NULL);
	return starts;
}

void wc_cold_starts_free(struct wc_cold_starts *starts)
{
	if (!starts)
		return;
	pthread_mutex_destroy(&starts->lock);
	wc_latencies_free(starts->latencies);
	free(starts);
}

void wc_cold_starts_add(struct wc_cold_starts *starts, uint32_t id, const char *name, enum wc_cold why, uint64_t ns)
{
	pthread_mutex_lock(&starts->lock);
	wc_latency_add(starts->latencies, id, name, why, ns, WC_LATENCY_NONE);
	pthread_mutex_unlock(&starts->lock);
}

bool wc_cold_starts_read(struct wc_cold_starts *starts, unsigned index, struct wc_latency *sum)
{
	return wc_latency_read(starts->latencies, index, sum);
}
