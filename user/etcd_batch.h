/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * etcd_batch.h - many keys of an etcd: all below a prefix read, and changed in transactions; and leases, with which keys vanish when nobody keeps them alive. By the handle
 * of etcd.h.
 *
 * A transaction takes effect only while a key's value lies between two others (who may write), and another key, the mark, has the revision that it was seen
 * with. Each transaction writes the mark, so one whose end is unknown cannot come late between two others: read again, then go on from there.
 */
#ifndef WC_ETCD_BATCH_H
#define WC_ETCD_BATCH_H

#include "user/etcd.h"

#include <jansson.h>
#include <stdbool.h>

#define WC_ETCD_ITEM_MAX (32u << 10)	 /* bytes of a value */
#define WC_ETCD_CHANGES_MAX 120		 /* of a transaction; etcd takes 128 operations, unless told otherwise */
#define WC_ETCD_BATCH_BYTES (768u << 10) /* of its keys and values; etcd takes 1.5 MiB, unless told otherwise */
#define WC_ETCD_PAGE 64			 /* keys that are read with one question */
#define WC_ETCD_KEYS_MAX 16384u		 /* below a prefix */

struct wc_etcd_change {
	const char *key, *value; /* NULL: remove it */
	int64_t lease;		 /* it vanishes with this; 0: it stays */
};

struct wc_etcd_batch {
	const char *fence, *above, *below; /* the value of this key is greater than `above`, and less than `below` */
	const char *mark, *mark_value;
	int64_t mark_revision; /* 0: there is none */
	const struct wc_etcd_change *changes;
	size_t count;
};

/*
 * All that is below: a new object of {"value", "revision"} by key without the prefix, as it was at one moment. What is no text, or too long to be ours, has the value "".
 * Linearizable. 0, or a negative errno with a sentence.
 */
int wc_etcd_list(struct wc_etcd *etcd, const char *prefix, json_t **ret_items, uint32_t timeout_ms,
		 struct wc_fault *fault);

/* 0: done, and the revision of all that it wrote. 1: not done, as things are not as said. Negative errno: nobody knows. */
int wc_etcd_commit(struct wc_etcd *etcd, const struct wc_etcd_batch *batch, int64_t *ret_revision, uint32_t timeout_ms,
		   struct wc_fault *fault);

/* A new lease; keep it alive (1: it is gone); end it, with its keys. */
int wc_etcd_grant(struct wc_etcd *etcd, uint32_t seconds, int64_t *ret_lease, uint32_t timeout_ms,
		  struct wc_fault *fault);
int wc_etcd_keep(struct wc_etcd *etcd, int64_t lease, uint32_t timeout_ms, struct wc_fault *fault);
int wc_etcd_revoke(struct wc_etcd *etcd, int64_t lease, uint32_t timeout_ms, struct wc_fault *fault);

/* --- the texts, for tests --- */

/* The body, the caller's to free(); NULL: out of memory. */
char *wc_etcd_batch_text(const struct wc_etcd_batch *batch);
/* As wc_etcd_commit(). */
int wc_etcd_batch_answer(const char *text, size_t length, int64_t *ret_revision, struct wc_fault *fault);

struct wc_etcd_page {
	const char *prefix;
	json_t *items;	  /* that were read, */
	int64_t revision; /* at this revision of the store; 0: none yet */
	char next[WC_ETCD_KEY_MAX + 1];
	size_t next_length; /* of the key, which may end in NUL, from which to go on; 0: it was the last page */
};
char *wc_etcd_page_text(const struct wc_etcd_page *page);
int wc_etcd_page_answer(struct wc_etcd_page *page, const char *text, size_t length, struct wc_fault *fault);

#endif
