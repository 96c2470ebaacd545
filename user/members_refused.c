/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members_refused.c - see members_refused.h. */
#include "user/members_refused.h"

#include "user/clock.h"
#include "user/log.h"

#include <stdio.h>
#include <string.h>

/* Its entry; else the one that was not needed for the longest time. */
static struct wc_refused *find(struct wc_refusals *refusals, const char *name)
{
	struct wc_refused *oldest = &refusals->at[0];

	for (size_t i = 0; i < WC_REFUSED_MAX; i++) {
		struct wc_refused *each = &refusals->at[i];

		if (each->last_ns && !strcmp(each->name, name))
			return each;
		if (each->last_ns < oldest->last_ns)
			oldest = each;
	}
	return oldest;
}

void wc_refused_note(struct wc_refusals *refusals, const char *name, const char *address, const char *why, uint64_t now)
{
	struct wc_refused *entry = find(refusals, name);
	struct wc_refused fresh = { .last_ns = now, .tries = 1 };

	snprintf(fresh.name, sizeof(fresh.name), "%s", name);
	snprintf(fresh.address, sizeof(fresh.address), "%s", address ?: "?");
	snprintf(fresh.why, sizeof(fresh.why), "%s", why);
	if (entry->last_ns && now - entry->last_ns < WC_REFUSED_NS && !strcmp(entry->name, fresh.name) &&
	    !strcmp(entry->why, fresh.why))
		fresh.tries += entry->tries;
	else
		wc_warning("node %s is not let into the cluster: %s", name, why);
	*entry = fresh;
}

void wc_refused_forget(struct wc_refusals *refusals, const char *name)
{
	struct wc_refused *entry = find(refusals, name);

	if (entry->last_ns && !strcmp(entry->name, name))
		*entry = (struct wc_refused){ 0 };
}

json_t *wc_refused_json(const struct wc_refusals *refusals, uint64_t now)
{
	json_t *list = json_array();

	for (size_t i = 0; i < WC_REFUSED_MAX; i++) {
		const struct wc_refused *each = &refusals->at[i];

		if (each->last_ns && now - each->last_ns < WC_REFUSED_NS)
			json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", each->name,
							      "address", each->address, "why", each->why, "tries",
							      (json_int_t)each->tries, "ms_ago",
							      (json_int_t)((now - each->last_ns) / WC_MS)));
	}
	return list;
}
