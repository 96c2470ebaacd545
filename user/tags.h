/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tags.h - the numbers of warm tags: one for each language runtime and each library set that some deployed function has.
 *
 * A tag is an entry of wc_tags (bpf/tables.h); which cores are warm for it is written there by agents. Not thread-safe: the
 * registry calls it under its lock.
 */
#ifndef WC_TAGS_H
#define WC_TAGS_H

#include "bpf/maps.h"

/* The tag of this name, a new one if there is none. 0: the table is full, and the function goes without. */
uint16_t wc_tags_get(struct wc_tables *tables, const char *name);
/* A function that had the tag is gone. The last one frees it. 0 is allowed. */
void wc_tags_put(struct wc_tables *tables, uint16_t tag);

#endif
