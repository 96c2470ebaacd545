/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tags.c - see tags.h. */
#include "user/tags.h"

#include <stdio.h>
#include <string.h>

uint16_t wc_tags_get(struct wc_tables *tables, const char *name)
{
	uint16_t free_tag = 0;

	if (strlen(name) >= WC_TAG_NAME_MAX)
		return 0;
	for (uint32_t tag = 1; tag < tables->wc_tags_max; tag++) {
		struct wc_tag *entry = &tables->wc_tags[tag];

		if (entry->used && !strcmp(entry->name, name)) {
			entry->used++;
			return (uint16_t)tag;
		}
		if (!entry->used && !free_tag)
			free_tag = (uint16_t)tag;
	}
	if (!free_tag)
		return 0;
	memset(&tables->wc_tags[free_tag], 0, sizeof(tables->wc_tags[free_tag]));
	snprintf(tables->wc_tags[free_tag].name, WC_TAG_NAME_MAX, "%s", name);
	tables->wc_tags[free_tag].used = 1;
	return free_tag;
}

void wc_tags_put(struct wc_tables *tables, uint16_t tag)
{
	if (tag && tag < tables->wc_tags_max && tables->wc_tags[tag].used)
		tables->wc_tags[tag].used--;
}
