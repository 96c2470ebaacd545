/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* keepalive.c - see keepalive.h. */
#include "user/keepalive.h"

#include <string.h>

#define CALLS_MAX (1ull << 20) /* more of anything makes no difference, and nothing can overflow */
#define START_US_MAX (1ull << 25)
#define WORTH_MAX (1ull << 62)

const char *const wc_keepalive_why_names[WC_KEEPALIVE_WHY_COUNT] = {
#define NAME(name, text) #name,
	WC_KEEPALIVE_WHYS(NAME)
#undef NAME
};
const char *const wc_keepalive_why_texts[WC_KEEPALIVE_WHY_COUNT] = {
#define TEXT(name, text) text,
	WC_KEEPALIVE_WHYS(TEXT)
#undef TEXT
};

struct wc_keepalive_knobs wc_keepalive_defaults(uint64_t bin, uint64_t fixed)
{
	return (struct wc_keepalive_knobs){
		.rule = WC_KEEPALIVE_HYBRID,
		.bin = bin,
		.fixed = fixed,
		.prewarm = true,
		.samples_min = 5,
		.cv_percent = 200,
		.head = 5,
		.tail = 99,
		.margin = 10,
		.rare = 50,
	};
}

/* Old idle times count for half of what they did. */
static void forget(struct wc_keepalive_histogram *history)
{
	history->within = 0;
	history->squares = 0;
	for (uint32_t i = 0; i < WC_KEEPALIVE_BINS; i++) {
		history->count[i] /= 2;
		history->within += history->count[i];
		history->squares += (uint64_t)history->count[i] * history->count[i];
	}
	history->beyond /= 2;
}

void wc_keepalive_note(struct wc_keepalive *known, const struct wc_keepalive_knobs *knobs, uint32_t level,
		       uint64_t idle)
{
	struct wc_keepalive_histogram *history = level > 1 ? &known->more : &known->first;
	uint64_t bin = idle / knobs->bin;

	if (history->within + history->beyond >= WC_KEEPALIVE_MEMORY)
		forget(history);
	if (bin >= WC_KEEPALIVE_BINS) {
		history->beyond++;
		return;
	}
	history->squares += 2ull * history->count[bin] + 1;
	history->count[bin]++;
	history->within++;
}

/* (standard deviation / mean)^2 of the bins' counts is bins x squares / sum^2 - 1. */
static bool representative(const struct wc_keepalive_histogram *history, const struct wc_keepalive_knobs *knobs)
{
	uint64_t sum2 = (uint64_t)history->within * history->within;
	uint64_t cv2 = (uint64_t)knobs->cv_percent * knobs->cv_percent;

	return (WC_KEEPALIVE_BINS * history->squares - sum2) * 10000 >= cv2 * sum2;
}

static enum wc_keepalive_why judge(const struct wc_keepalive_histogram *history, const struct wc_keepalive_knobs *knobs)
{
	uint64_t all = (uint64_t)history->within + history->beyond;

	if (knobs->rule == WC_KEEPALIVE_OFF)
		return WC_KEEPALIVE_WHY_off;
	if (knobs->rule == WC_KEEPALIVE_FIXED)
		return WC_KEEPALIVE_WHY_fixed;
	if (!all || all < knobs->samples_min)
		return WC_KEEPALIVE_WHY_few;
	if (history->beyond * 100ull >= all * knobs->rare)
		return WC_KEEPALIVE_WHY_rare;
	if (!history->within || !representative(history, knobs))
		return WC_KEEPALIVE_WHY_spread;
	return WC_KEEPALIVE_WHY_learned;
}

/* By nearest rank: the first bin with which so many percent have been seen. */
static void percentiles(const struct wc_keepalive_histogram *history, const struct wc_keepalive_knobs *knobs,
			uint64_t *ret_head, uint64_t *ret_tail)
{
	uint64_t least = ((uint64_t)history->within * knobs->head + 99) / 100 ?: 1;
	uint64_t most = ((uint64_t)history->within * knobs->tail + 99) / 100 ?: 1;
	uint64_t seen = 0, head = WC_KEEPALIVE_BINS, bin = 0;

	for (; bin < WC_KEEPALIVE_BINS; bin++) {
		seen += history->count[bin];
		if (head == WC_KEEPALIVE_BINS && seen >= least)
			head = bin;
		if (seen >= most)
			break;
	}
	*ret_head = head * knobs->bin * (100 - knobs->margin) / 100;
	*ret_tail = (bin + 1) * knobs->bin * (100 + knobs->margin) / 100;
}

/*
 * For how long it pays to keep an instance that is loaded from `from` on: until the end of the bin with the most of starts saved, each
 * for its worth, less the time idled. Within a bin an idle time ends in the middle. 0: it never does.
 */
static uint64_t pays(const struct wc_keepalive_histogram *history, const struct wc_keepalive_knobs *knobs,
		     uint64_t from)
{
	int64_t left = (int64_t)history->within + history->beyond, gain = 0, best = 0, bin = (int64_t)knobs->bin;
	uint64_t end = 0;

	for (uint32_t i = 0; i < WC_KEEPALIVE_BINS && left; i++) {
		int64_t here = history->count[i];

		if ((i + 1) * knobs->bin > from)
			gain += here * (int64_t)knobs->fixed - left * bin + here * bin / 2;
		left -= here;
		if (gain > best) {
			best = gain;
			end = i + 1;
		}
	}
	return end * knobs->bin * (100 + knobs->margin) / 100;
}

/* The first instance. */
static void plan_first(struct wc_keepalive_plan *plan, const struct wc_keepalive_histogram *history,
		       const struct wc_keepalive_knobs *knobs)
{
	uint64_t end;

	if (plan->why != WC_KEEPALIVE_WHY_learned)
		return;
	percentiles(history, knobs, &plan->prewarm, &plan->end);
	if (!knobs->prewarm)
		plan->prewarm = 0;
	if (knobs->rule == WC_KEEPALIVE_PERCENTILE)
		return;
	end = pays(history, knobs, plan->prewarm);
	plan->end = end < plan->end ? end : plan->end;
	if (plan->end <= plan->prewarm) {
		plan->prewarm = plan->end = 0;
		plan->why = WC_KEEPALIVE_WHY_unpaid;
	}
}

struct wc_keepalive_plan wc_keepalive_plan(const struct wc_keepalive *known, const struct wc_keepalive_knobs *knobs)
{
	uint64_t otherwise = knobs->rule == WC_KEEPALIVE_OFF ? WC_KEEPALIVE_NEVER : knobs->fixed, none;
	struct wc_keepalive_plan plan = {
		.end = otherwise,
		.more = otherwise,
		.why = judge(&known->first, knobs),
		.more_why = judge(&known->more, knobs),
	};

	plan_first(&plan, &known->first, knobs);
	if (knobs->rule == WC_KEEPALIVE_HYBRID && plan.more_why != WC_KEEPALIVE_WHY_few) {
		plan.more = pays(&known->more, knobs, 0); /* patterns or not: it is an average */
		plan.more_why = plan.more ? WC_KEEPALIVE_WHY_learned : WC_KEEPALIVE_WHY_unpaid;
	} else if (plan.more_why == WC_KEEPALIVE_WHY_learned) {
		percentiles(&known->more, knobs, &none, &plan.more);
	}
	return plan;
}

uint64_t wc_keepalive_worth(const struct wc_keepalive_cost *cost)
{
	uint64_t calls = cost->calls < CALLS_MAX ? cost->calls : CALLS_MAX;
	uint64_t start = cost->start_us < START_US_MAX ? cost->start_us : START_US_MAX;
	uint64_t worth = cost->clock + calls * start / (cost->memory_kib ?: 1);

	return worth < WORTH_MAX ? worth : WORTH_MAX; /* then the least recently used go first: not in this world */
}

bool wc_keepalive_start(const struct wc_keepalive_burst *burst)
{
	uint64_t have = (uint64_t)burst->running + burst->starting, each;

	if (burst->wanting <= burst->starting)
		return false;
	/* Nobody to wait for; or nobody knows for how long; or those that run take longer than a start. */
	if (!have || !burst->execution_ns || !burst->start_ns || burst->execution_ns >= burst->start_ns)
		return true;
	each = burst->start_ns / burst->execution_ns; /* what one instance does during a start */
	return have < (burst->wanting + each - 1) / each;
}
