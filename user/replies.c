/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* replies.c - see replies.h. */
#include "user/replies.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * What is looked at to find a reply, apart from the reply: a set is searched with every reply that is kept, and eight pages instead of
 * these three cache lines took half a microsecond.
 */
struct entry {
	uint32_t lock; /* odd while an agent writes */
	uint32_t len;
	uint64_t value; /* fingerprint */
	uint32_t set;
	uint32_t pad;
};

struct page {
	uint8_t data[4096];
};
_Static_assert(WC_REPLY_BYTES <= sizeof(struct page), "one page each: pages that were never used cost nothing");

struct wc_replies {
	struct page *pages;		/* of each entry */
	uint32_t next[WC_REPLIES_SETS]; /* counts what was kept in a set: the place of the next one, which is the oldest */
	struct entry entries[WC_REPLIES_COUNT]; /* a set is WC_REPLIES_WAYS of them side by side */
};

struct wc_replies *wc_replies_new(void)
{
	struct wc_replies *replies = calloc(1, sizeof(*replies));

	if (!replies)
		return NULL;
	replies->pages = mmap(NULL, WC_REPLIES_COUNT * sizeof(struct page), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (replies->pages == MAP_FAILED) {
		free(replies);
		return NULL;
	}
	return replies;
}

void wc_replies_free(struct wc_replies *replies)
{
	if (!replies)
		return;
	munmap(replies->pages, WC_REPLIES_COUNT * sizeof(struct page));
	free(replies);
}

static uint8_t *data_of(const struct wc_replies *replies, const struct entry *entry)
{
	return replies->pages[entry - replies->entries].data;
}

static uint32_t set_of(const struct wc_fingerprint *print)
{
	return (uint32_t)((print->set ^ print->value) % WC_REPLIES_SETS);
}

/* A look only: who acts on it takes the lock, or looks at it again. */
static bool holds(const struct entry *entry, const struct wc_fingerprint *print)
{
	return __atomic_load_n(&entry->value, __ATOMIC_RELAXED) == print->value &&
	       __atomic_load_n(&entry->set, __ATOMIC_RELAXED) == print->set;
}

/* The entry to write, locked, or NULL: another agent is writing the same reply, and its or ours, either will do. */
static struct entry *take_entry(struct wc_replies *replies, const struct wc_fingerprint *print)
{
	struct entry *set = &replies->entries[set_of(print) * WC_REPLIES_WAYS], *entry;
	uint32_t lock;

	for (entry = set; entry < set + WC_REPLIES_WAYS && !holds(entry, print); entry++)
		;
	if (entry == set + WC_REPLIES_WAYS)
		entry = &set[__atomic_fetch_add(&replies->next[set_of(print)], 1, __ATOMIC_RELAXED) % WC_REPLIES_WAYS];
	lock = __atomic_load_n(&entry->lock, __ATOMIC_RELAXED);
	/* Or eight others came while it was written: then ours is the oldest already. */
	if (lock & 1 ||
	    !__atomic_compare_exchange_n(&entry->lock, &lock, lock + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return NULL;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	return entry;
}

void wc_replies_keep(struct wc_replies *replies, const struct wc_fingerprint *print, const void *header,
		     size_t header_len, const void *payload, size_t payload_len)
{
	struct entry *entry;
	uint8_t *data;

	if (header_len + payload_len > WC_REPLY_BYTES)
		return;
	entry = take_entry(replies, print);
	if (!entry)
		return;
	data = data_of(replies, entry);
	__atomic_store_n(&entry->value, print->value, __ATOMIC_RELAXED);
	__atomic_store_n(&entry->set, print->set, __ATOMIC_RELAXED);
	entry->len = (uint32_t)(header_len + payload_len);
	memcpy(data, header, header_len);
	if (payload_len)
		memcpy(data + header_len, payload, payload_len);
	__atomic_store_n(&entry->lock, entry->lock + 1, __ATOMIC_RELEASE);
}

size_t wc_replies_find(struct wc_replies *replies, const struct wc_fingerprint *print, uint8_t out[WC_REPLY_BYTES])
{
	struct entry *set = &replies->entries[set_of(print) * WC_REPLIES_WAYS];

	for (struct entry *entry = set; entry < set + WC_REPLIES_WAYS; entry++) {
		uint32_t lock = __atomic_load_n(&entry->lock, __ATOMIC_ACQUIRE);
		uint32_t len = entry->len;

		if (lock & 1 || !holds(entry, print) || len > WC_REPLY_BYTES)
			continue;
		memcpy(out, data_of(replies, entry), len);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&entry->lock, __ATOMIC_RELAXED) == lock)
			return len;
	}
	return 0;
}

bool wc_replies_at(const struct wc_replies *replies, uint32_t place, struct wc_kept *ret_kept)
{
	const struct entry *entry = &replies->entries[place];

	if (!entry->len || entry->len > WC_REPLY_BYTES || entry->lock & 1)
		return false;
	ret_kept->value = entry->value;
	ret_kept->set = entry->set;
	ret_kept->len = entry->len;
	memcpy(ret_kept->data, data_of(replies, entry), entry->len);
	return true;
}
