/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* replies.c - see replies.h. */
#include "user/replies.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct entry {
	uint32_t lock; /* odd while an agent writes */
	uint32_t len;
	uint64_t value; /* fingerprint */
	uint32_t set;
	uint32_t pad;
	uint8_t data[WC_REPLY_BYTES];
	uint8_t pad1[8];
};
_Static_assert(sizeof(struct entry) == 4096, "one page each: pages that were never used cost nothing");

struct wc_replies {
	struct entry *entries;
};

struct wc_replies *wc_replies_new(void)
{
	struct wc_replies *replies = calloc(1, sizeof(*replies));

	if (!replies)
		return NULL;
	replies->entries = mmap(NULL, WC_REPLIES_COUNT * sizeof(struct entry), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (replies->entries == MAP_FAILED) {
		free(replies);
		return NULL;
	}
	return replies;
}

void wc_replies_free(struct wc_replies *replies)
{
	if (!replies)
		return;
	munmap(replies->entries, WC_REPLIES_COUNT * sizeof(struct entry));
	free(replies);
}

static struct entry *entry_of(struct wc_replies *replies, const struct wc_fingerprint *print)
{
	return &replies->entries[(print->set ^ print->value) % WC_REPLIES_COUNT];
}

void wc_replies_keep(struct wc_replies *replies, const struct wc_fingerprint *print, const void *header,
		     size_t header_len, const void *payload, size_t payload_len)
{
	struct entry *entry = entry_of(replies, print);
	uint32_t lock = __atomic_load_n(&entry->lock, __ATOMIC_RELAXED);

	if (header_len + payload_len > WC_REPLY_BYTES)
		return;
	/* Another agent is writing the same entry: its reply or ours, either will do. */
	if (lock & 1 ||
	    !__atomic_compare_exchange_n(&entry->lock, &lock, lock + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	entry->value = print->value;
	entry->set = print->set;
	entry->len = (uint32_t)(header_len + payload_len);
	memcpy(entry->data, header, header_len);
	if (payload_len)
		memcpy(entry->data + header_len, payload, payload_len);
	__atomic_store_n(&entry->lock, lock + 2, __ATOMIC_RELEASE);
}

size_t wc_replies_find(struct wc_replies *replies, const struct wc_fingerprint *print, uint8_t out[WC_REPLY_BYTES])
{
	struct entry *entry = entry_of(replies, print);
	uint32_t lock = __atomic_load_n(&entry->lock, __ATOMIC_ACQUIRE);
	uint32_t len = entry->len;

	if (lock & 1 || entry->value != print->value || entry->set != print->set || len > WC_REPLY_BYTES)
		return 0;
	memcpy(out, entry->data, len);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&entry->lock, __ATOMIC_RELAXED) == lock ? len : 0;
}
