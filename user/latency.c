/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* latency.c - see latency.h. */
#include "user/latency.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#define SPIN_TRIES 1000	  /* an invocation takes longer than reading an entry, so the second mostly succeeds */
#define READ_TRIES 100000 /* with pauses: some seconds */
#define WORDS ((sizeof(struct wc_latency) - offsetof(struct wc_latency, sum_ns)) / sizeof(uint64_t))

_Static_assert(sizeof(struct wc_latency) % sizeof(uint64_t) == 0, "it is copied word by word");
_Static_assert(offsetof(struct wc_latency, sum_ns) == sizeof(uint64_t), "sequence and id are the first word");

const char *const wc_end_names[] = {
#define NAME(name, text) #name,
	WC_ENDS(NAME)
#undef NAME
};

struct wc_latencies {
	unsigned functions;
	struct wc_latency *entries; /* functions + 1 */
};

uint64_t wc_histogram_bound(unsigned bucket)
{
	return wc_bucket_bound(bucket, WC_HISTOGRAM_LOW, WC_HISTOGRAM_HIGH, WC_HISTOGRAM_PARTS);
}

static size_t size_of(unsigned functions)
{
	return (functions + 1) * sizeof(struct wc_latency);
}

/* Not malloc: what is never written must not take memory. */
struct wc_latencies *wc_latencies_new(unsigned functions)
{
	struct wc_latencies *latencies = malloc(sizeof(*latencies));

	if (!latencies)
		return NULL;
	latencies->functions = functions;
	latencies->entries = mmap(NULL, size_of(functions), PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (latencies->entries == MAP_FAILED) {
		free(latencies);
		return NULL;
	}
	return latencies;
}

void wc_latencies_free(struct wc_latencies *latencies)
{
	if (!latencies)
		return;
	munmap(latencies->entries, size_of(latencies->functions));
	free(latencies);
}

unsigned wc_latencies_count(const struct wc_latencies *latencies)
{
	return latencies->functions + 1;
}

/* One writer: plain loads and stores, which a reader beside it never sees torn. */
static void add(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* Within `sequence`: the slot is another function's now. */
static void begin_function(struct wc_latency *entry, uint32_t id, const char *name)
{
	char padded[WC_LABEL_MAX] = "";
	uint64_t *words = entry->sum_ns, word;

	memcpy(padded, name, strnlen(name, sizeof(padded) - 1));
	for (size_t i = 0; i < WORDS; i++)
		__atomic_store_n(&words[i], 0, __ATOMIC_RELAXED);
	for (size_t i = 0; i < sizeof(padded); i += sizeof(word)) {
		memcpy(&word, padded + i, sizeof(word));
		__atomic_store_n((uint64_t *)(void *)(entry->name + i), word, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&entry->id, id, __ATOMIC_RELAXED);
}

void wc_latency_add(struct wc_latencies *latencies, uint32_t id, const char *name, unsigned end, uint64_t first_ns,
		    uint64_t second_ns)
{
	uint32_t slot = WC_FUNCTION_SLOT(id), sequence;
	struct wc_latency *entry = &latencies->entries[slot <= latencies->functions ? slot : 0];

	/* The late end of a function that was removed, whose slot is its successor's: ids of a slot only grow. */
	if (id < entry->id)
		entry = latencies->entries;
	sequence = entry->sequence;
	__atomic_store_n(&entry->sequence, sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (entry == latencies->entries)
		__atomic_store_n(&entry->id, id, __ATOMIC_RELAXED); /* of whoever was last: it was used */
	else if (__builtin_expect(entry->id != id, 0))
		begin_function(entry, id, name);
	if (end < WC_LATENCY_ENDS)
		add(&entry->ends[end], 1);
	if (first_ns != WC_LATENCY_NONE) {
		add(&entry->sum_ns[0], first_ns);
		add(&entry->buckets[0][wc_histogram_bucket(first_ns)], 1);
	}
	if (second_ns != WC_LATENCY_NONE) {
		add(&entry->sum_ns[1], second_ns);
		add(&entry->buckets[1][wc_histogram_bucket(second_ns)], 1);
	}
	__atomic_store_n(&entry->sequence, sequence + 2, __ATOMIC_RELEASE);
}

/* A copy of the entry as it was at one moment. False: it was never used, or is written all the time. */
static bool copy_entry(const struct wc_latency *entry, struct wc_latency *copy)
{
	const uint64_t *from = entry->sum_ns;
	uint64_t *to = copy->sum_ns;

	if (!__atomic_load_n(&entry->id, __ATOMIC_RELAXED))
		return false;
	for (int i = 1; i <= READ_TRIES; i++) {
		uint32_t sequence = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);

		copy->id = __atomic_load_n(&entry->id, __ATOMIC_RELAXED);
		for (size_t j = 0; j < WORDS; j++)
			to[j] = __atomic_load_n(&from[j], __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(sequence & 1) && __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED) == sequence)
			return copy->id != 0;
		if (i % SPIN_TRIES == 0)
			usleep(1000); /* its writer is off the CPU, and has to get there: a sum without it would go back */
	}
	return false;
}

bool wc_latency_read(const struct wc_latencies *latencies, unsigned index, struct wc_latency *sum)
{
	struct wc_latency copy;

	if (index > latencies->functions || !copy_entry(&latencies->entries[index], &copy))
		return false;
	if (index && sum->id && copy.id != sum->id)
		return false;
	if (!sum->name[0])
		memcpy(sum->name, copy.name, sizeof(sum->name));
	sum->id = copy.id;
	for (size_t i = 0; i < WC_LATENCY_ENDS; i++)
		sum->ends[i] += copy.ends[i];
	for (size_t t = 0; t < WC_LATENCY_TIMES; t++) {
		sum->sum_ns[t] += copy.sum_ns[t];
		for (size_t i = 0; i < WC_HISTOGRAM_BUCKETS; i++)
			sum->buckets[t][i] += copy.buckets[t][i];
	}
	return true;
}
