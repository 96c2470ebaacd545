/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* function_counts.c - see function_counts.h. */
#include "user/function_counts.h"

#include "bpf/decide.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 10000000		  /* in a message: more were not done in a beat */
#define SERVICE_US_MAX 1000000000000000LL /* 30 years */

/* At the last look, by the slot of the id in a message. */
struct seen {
	uint32_t id; /* here; 0: there was none */
	uint64_t invocations, cold, service_ns;
};

struct wc_counts {
	bool theirs;
	uint32_t next; /* slot */
	struct seen seen[WC_FUNCTIONS_MAX];
};

struct wc_counts *wc_counts_new(bool theirs)
{
	struct wc_counts *counts = calloc(1, sizeof(*counts));

	if (counts)
		counts->theirs = theirs;
	return counts;
}

void wc_counts_free(struct wc_counts *counts)
{
	free(counts);
}

void wc_counts_begin(struct wc_counts *counts)
{
	memset(counts->seen, 0, sizeof(counts->seen));
}

/* The function in this slot: its entry here, or NULL; *ret_id: what it is called in messages. */
static struct wc_function *at_slot(const struct wc_counts *counts, struct wc_tables *tables, uint32_t slot,
				   uint32_t *ret_id)
{
	struct wc_member_id *id;
	struct wc_function *entry;
	uint32_t ours;

	if (!counts->theirs) {
		entry = wc_functions_at(tables, slot);
		*ret_id = entry ? WC_READ(entry->id) : 0;
		return *ret_id ? entry : NULL;
	}
	id = wc_member_ids_at(tables, slot);
	*ret_id = id ? WC_READ(id->theirs) : 0;
	ours = *ret_id ? WC_READ(id->ours) : 0;
	entry = ours ? wc_functions_at(tables, WC_FUNCTION_SLOT(ours)) : NULL;
	return entry && WC_READ(entry->id) == ours ? entry : NULL;
}

static bool read_slot(struct wc_counts *counts, struct wc_tables *tables, uint32_t slot, struct wc_counted *ret)
{
	struct seen *seen = &counts->seen[slot], now = { 0 };
	struct wc_function *entry = at_slot(counts, tables, slot, &ret->id);
	uint64_t count;

	if (!entry) {
		seen->id = 0;
		return false;
	}
	now = (struct seen){ WC_READ(entry->id), WC_READ(entry->invocations), WC_READ(entry->cold_starts),
			     WC_READ(entry->service_ns) };
	count = now.invocations - seen->invocations;
	if (now.id != seen->id || count > COUNT_MAX) { /* another one, or counted anew */
		*seen = now;
		return false;
	}
	if (!count) /* what has begun is told when it has ended */
		return false;
	ret->count = (uint32_t)count;
	ret->cold = (uint32_t)(now.cold - seen->cold < count ? now.cold - seen->cold : count);
	ret->service_ns = now.service_ns - seen->service_ns;
	*seen = now;
	return true;
}

uint32_t wc_counts_read(struct wc_counts *counts, struct wc_tables *tables, struct wc_counted ret[WC_COUNTS_MAX])
{
	uint32_t found = 0, looked;

	for (looked = 0; looked < WC_FUNCTIONS_MAX && found < WC_COUNTS_MAX; looked++)
		found += read_slot(counts, tables, (counts->next + looked) % WC_FUNCTIONS_MAX, &ret[found]);
	counts->next = (counts->next + looked) % WC_FUNCTIONS_MAX;
	return found;
}

json_t *wc_counts_json(struct wc_counts *counts, struct wc_tables *tables)
{
	struct wc_counted counted[WC_COUNTS_MAX];
	uint32_t found = wc_counts_read(counts, tables, counted);
	json_t *list = json_array();

	for (uint32_t i = 0; i < found; i++)
		json_array_append_new(list, json_pack("[I, I, I, I]", (json_int_t)counted[i].id,
						      (json_int_t)counted[i].count, (json_int_t)counted[i].cold,
						      (json_int_t)(counted[i].service_ns / 1000)));
	return list;
}

bool wc_counted_parse(const json_t *entry, struct wc_counted *ret)
{
	json_int_t number[4];

	if (json_array_size(entry) < 4)
		return false;
	for (size_t i = 0; i < 4; i++)
		number[i] = json_integer_value(json_array_get(entry, i));
	if (number[0] < 1 || number[0] > UINT32_MAX || number[1] < 1 || number[1] > COUNT_MAX || number[2] < 0 ||
	    number[2] > number[1] || number[3] < 0 || number[3] > SERVICE_US_MAX)
		return false;
	*ret = (struct wc_counted){ (uint32_t)number[0], (uint32_t)number[1], (uint32_t)number[2],
				    (uint64_t)number[3] * 1000 };
	return true;
}
