/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members_slow.c - see members_slow.h. */
#include "user/members_slow.h"

#include "user/clock.h"
#include "user/function_counts.h"
#include "user/log.h"

#include <stdlib.h>

#define TOOK_US_MAX 60000000

struct wc_members_slow {
	struct wc_counts *own;
	struct wc_slow rules;
};

struct wc_members_slow *wc_members_slow_new(const struct wc_options *options)
{
	struct wc_members_slow *slow = calloc(1, sizeof(*slow));

	if (!slow)
		return NULL;
	slow->own = wc_counts_new(false);
	if (!slow->own) {
		free(slow);
		return NULL;
	}
	slow->rules.rule = (struct wc_slow_rule){
		.times = options->slow_times,
		.intervals = options->slow_intervals,
		.percent = options->slow_percent,
		.interval_ns = options->slow_interval_ms * WC_MS,
		.eject_ns = options->slow_eject_ms * WC_MS,
	};
	wc_slow_usable(&slow->rules, WC_SLOW_SELF, true, 0);
	return slow;
}

void wc_members_slow_free(struct wc_members_slow *slow)
{
	if (!slow)
		return;
	wc_counts_free(slow->own);
	free(slow);
}

struct wc_slow *wc_members_slow_rules(struct wc_members_slow *slow)
{
	return &slow->rules;
}

void wc_members_slow_beat(struct wc_members_slow *slow, uint16_t id, const json_t *question)
{
	const json_t *counts = json_object_get(question, "counts"), *entry;
	json_int_t took_us = json_integer_value(json_object_get(question, "took_us"));
	struct wc_counted counted;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)counts, i, entry) {
		if (i < WC_COUNTS_MAX && wc_counted_parse(entry, &counted))
			wc_slow_add(&slow->rules, id, counted.id, counted.count, counted.cold,
				    (double)counted.service_ns);
	}
	if (took_us > 0 && took_us <= TOOK_US_MAX)
		wc_slow_add(&slow->rules, id, WC_SLOW_LINK, 1, 0, (double)took_us * 1000);
}

uint32_t wc_members_slow_tick(struct wc_members_slow *slow, struct wc_tables *tables, uint64_t now,
			      uint16_t ret_changed[WC_MEMBERS_MAX])
{
	struct wc_counted counted[WC_COUNTS_MAX];

	if (slow->rules.rule.times && now >= slow->rules.next) {
		uint32_t found = wc_counts_read(slow->own, tables, counted);

		for (uint32_t i = 0; i < found; i++)
			wc_slow_add(&slow->rules, WC_SLOW_SELF, counted[i].id, counted[i].count, counted[i].cold,
				    (double)counted[i].service_ns);
		wc_slow_add(&slow->rules, WC_SLOW_SELF, WC_SLOW_LINK, 1, 0, 0);
	}
	return wc_slow_tick(&slow->rules, now, ret_changed);
}

bool wc_members_slow_ejects(const struct wc_members_slow *slow, uint16_t id)
{
	return slow->rules.nodes[id].state == WC_SLOW_EJECTED;
}

static void explain(const struct wc_slow_node *node, char *text, size_t size)
{
	const char *what = node->last.judgement == WC_SLOW_BAD_LINK ? "the way to this host and back takes" :
								      "its invocations take";

	snprintf(text, size, "%s %.1f ms on the average, %.1f ms at others", what, node->last.own_ns / 1e6,
		 node->last.usual_ns / 1e6);
}

void wc_members_slow_say(const struct wc_members_slow *slow, uint16_t id, const char *name, uint64_t now)
{
	const struct wc_slow_node *node = &slow->rules.nodes[id];
	char why[200];

	explain(node, why, sizeof(why));
	if (node->state == WC_SLOW_EJECTED)
		wc_warning("node %s is slow, and gets nothing for %.1f s: %s", name,
			   (double)(node->until > now ? node->until - now : 0) / 1e9, why);
	else if (node->state == WC_SLOW_PROBATION)
		wc_info("node %s was slow, and gets something again, on probation", name);
	else
		wc_info("node %s is as fast as others again", name);
}

json_t *wc_members_slow_json(const struct wc_members_slow *slow, uint16_t id, uint64_t now)
{
	const struct wc_slow_node *node = &slow->rules.nodes[id];
	char why[200];

	if (node->state == WC_SLOW_WELL)
		return json_null();
	explain(node, why, sizeof(why));
	return json_pack("{s:s, s:I, s:I, s:s?, s:f, s:f}", "state",
			 node->state == WC_SLOW_EJECTED ? "ejected" : "probation", "ejections",
			 (json_int_t)node->ejections, "ms_left",
			 node->state == WC_SLOW_EJECTED && node->until > now ?
				 (json_int_t)((node->until - now) / WC_MS) :
				 (json_int_t)0,
			 "why", node->last.judgement > WC_SLOW_GOOD ? why : NULL, "own_ms", node->last.own_ns / 1e6,
			 "usual_ms", node->last.usual_ns / 1e6);
}
