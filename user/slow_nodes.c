/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* slow_nodes.c - see slow_nodes.h. */
#include "user/slow_nodes.h"

#include <stdlib.h>
#include <string.h>

/* --- what was done --- */

void wc_slow_add(struct wc_slow *slow, uint16_t node, uint32_t function, uint32_t count, uint32_t cold, double sum_ns)
{
	struct wc_slow_node *of = &slow->nodes[node % WC_MEMBERS_MAX];
	struct wc_slow_sample *sample = of->samples;

	if (!count || !slow->rule.times)
		return;
	while (sample < of->samples + of->sample_count && sample->function != function)
		sample++;
	if (sample == of->samples + WC_SLOW_SAMPLES_MAX)
		return;
	if (sample == of->samples + of->sample_count) {
		*sample = (struct wc_slow_sample){ .function = function };
		of->sample_count++;
	}
	sample->count = count < UINT32_MAX - sample->count ? sample->count + count : UINT32_MAX;
	sample->cold = cold < UINT32_MAX - sample->cold ? sample->cold + cold : UINT32_MAX;
	sample->sum_ns += sum_ns > 0 ? sum_ns : 0;
}

static void begin_anew(struct wc_slow_node *node)
{
	node->bad = node->good = 0;
	node->fresh = true;
	node->last = (struct wc_slow_verdict){ 0 };
}

void wc_slow_joins(struct wc_slow *slow, uint16_t node)
{
	struct wc_slow_node *of = &slow->nodes[node % WC_MEMBERS_MAX];

	begin_anew(of);
	of->usable = false;
	of->sample_count = 0;
	if (of->state == WC_SLOW_EJECTED)
		of->state = WC_SLOW_PROBATION;
}

void wc_slow_usable(struct wc_slow *slow, uint16_t node, bool usable, uint32_t cores)
{
	struct wc_slow_node *of = &slow->nodes[node % WC_MEMBERS_MAX];

	of->cores = cores;
	if (usable == of->usable)
		return;
	of->usable = usable;
	begin_anew(of);
}

void wc_slow_forgive(struct wc_slow *slow, uint16_t node)
{
	struct wc_slow_node *of = &slow->nodes[node % WC_MEMBERS_MAX];

	begin_anew(of);
	of->state = WC_SLOW_WELL;
	of->ejections = 0;
}

/* --- how fast it was --- */

/* One function at one node, whose time counts. */
struct voice {
	uint32_t function;
	uint16_t node;
	double mean, count;
};

/* One node with all that could be compared. */
struct account {
	double count, own, usual, usual_slow; /* usual_slow: of those functions that are slow here */
	double link_own, link_usual, link_count;
};

static int by_function(const void *left, const void *right)
{
	const struct voice *a = left, *b = right;

	if (a->function != b->function)
		return a->function < b->function ? -1 : 1;
	return a->mean < b->mean ? -1 : a->mean > b->mean;
}

static bool is_voice(const struct wc_slow_sample *sample)
{
	/* The worse the way is, the fewer of its kind there are. */
	if (sample->function == WC_SLOW_LINK)
		return sample->count;
	return sample->count >= WC_SLOW_VOICE_MIN && sample->cold <= sample->count / WC_SLOW_COLD;
}

static size_t collect(const struct wc_slow *slow, struct voice *voices)
{
	size_t count = 0;

	for (uint32_t n = 0; n < WC_MEMBERS_MAX; n++) {
		const struct wc_slow_node *node = &slow->nodes[n];

		if (!node->usable || node->fresh || node->state == WC_SLOW_EJECTED)
			continue;
		for (uint32_t i = 0; i < node->sample_count; i++) {
			const struct wc_slow_sample *sample = &node->samples[i];

			if (is_voice(sample))
				voices[count++] = (struct voice){ sample->function, (uint16_t)n,
								  sample->sum_ns / sample->count, sample->count };
		}
	}
	return count;
}

/* Those of one function, in the order of their times: enter each with the median of the others, the longer one of two. */
static void compare(const struct voice *voices, size_t count, uint32_t times, struct account *accounts)
{
	if (count <= WC_SLOW_OTHERS_MIN)
		return;
	for (size_t i = 0; i < count; i++) {
		struct account *account = &accounts[voices[i].node];
		size_t middle = (count - 1) / 2;
		double usual = voices[middle < i ? middle : middle + 1].mean;

		if (voices[i].function == WC_SLOW_LINK) {
			account->link_own = voices[i].mean;
			account->link_usual = usual;
			account->link_count = voices[i].count;
			continue;
		}
		account->count += voices[i].count;
		account->own += voices[i].count * voices[i].mean;
		account->usual += voices[i].count * usual;
		if (voices[i].mean > times * usual)
			account->usual_slow += voices[i].count * usual;
	}
}

static struct wc_slow_verdict conclude(const struct account *account, uint32_t times)
{
	struct wc_slow_verdict verdict = { .judgement = WC_SLOW_UNKNOWN };

	if (account->link_count) {
		verdict = (struct wc_slow_verdict){ WC_SLOW_GOOD, account->link_own, account->link_usual };
		if (account->link_own > times * account->link_usual &&
		    account->link_own - account->link_usual >= WC_SLOW_LINK_MORE_NS) {
			verdict.judgement = WC_SLOW_BAD_LINK;
			return verdict;
		}
	}
	/* A good way there alone proves nothing. */
	verdict.judgement = WC_SLOW_UNKNOWN;
	if (account->count < WC_SLOW_COUNT_MIN)
		return verdict;
	verdict = (struct wc_slow_verdict){ WC_SLOW_GOOD, account->own / account->count,
					    account->usual / account->count };
	/* Not for one function among many, however slow it is here: what is slow has to be half of what is done. */
	if (account->own > times * account->usual && verdict.own_ns - verdict.usual_ns >= WC_SLOW_MORE_NS &&
	    2 * account->usual_slow >= account->usual)
		verdict.judgement = WC_SLOW_BAD_FUNCTIONS;
	return verdict;
}

void wc_slow_judge(const struct wc_slow *slow, struct wc_slow_verdict ret_verdicts[WC_MEMBERS_MAX])
{
	struct account *accounts = calloc(WC_MEMBERS_MAX, sizeof(*accounts));
	size_t count = 0, end;
	struct voice *voices;

	memset(ret_verdicts, 0, WC_MEMBERS_MAX * sizeof(*ret_verdicts));
	for (uint32_t n = 0; n < WC_MEMBERS_MAX; n++)
		count += slow->nodes[n].sample_count;
	voices = calloc(count + 1, sizeof(*voices));
	if (accounts && voices) {
		count = collect(slow, voices);
		qsort(voices, count, sizeof(*voices), by_function);
		for (size_t i = 0; i < count; i = end) {
			for (end = i; end < count && voices[end].function == voices[i].function;)
				end++;
			compare(voices + i, end - i, slow->rule.times, accounts);
		}
		for (uint32_t n = 0; n < WC_MEMBERS_MAX; n++)
			ret_verdicts[n] = conclude(&accounts[n], slow->rule.times);
	}
	free(accounts);
	free(voices);
}

/* --- what becomes of it --- */

/* Who gets something, or would if it were not slow. */
struct whole {
	uint32_t nodes, ejected;
	uint64_t cores, ejected_cores;
};

static struct whole count_all(const struct wc_slow *slow)
{
	struct whole whole = { 0 };

	for (uint32_t n = WC_SLOW_SELF + 1; n < WC_MEMBERS_MAX; n++) {
		const struct wc_slow_node *node = &slow->nodes[n];

		if (!node->usable)
			continue;
		whole.nodes++;
		whole.cores += node->cores;
		if (node->state != WC_SLOW_EJECTED)
			continue;
		whole.ejected++;
		whole.ejected_cores += node->cores;
	}
	return whole;
}

/* One node, if it is the only one ejected and not the only one there is; else a share. Never most of the cores. */
static bool is_bearable(const struct wc_slow_rule *rule, const struct whole *whole)
{
	uint64_t share = (uint64_t)whole->nodes * rule->percent / 100;

	return !whole->ejected || (whole->ejected < whole->nodes && whole->ejected <= (share ?: 1) &&
				   whole->ejected_cores * 2 <= whole->cores);
}

static bool may_eject(const struct wc_slow *slow, const struct wc_slow_node *node)
{
	struct whole whole = count_all(slow);

	whole.ejected++;
	whole.ejected_cores += node->cores;
	return is_bearable(&slow->rule, &whole);
}

static double ratio(const struct wc_slow_node *node)
{
	return node->last.own_ns / (node->last.usual_ns > 1 ? node->last.usual_ns : 1);
}

static void come_back(struct wc_slow_node *node)
{
	struct wc_slow_verdict last = node->last;

	begin_anew(node);
	node->last = last;
	node->state = WC_SLOW_PROBATION;
}

/* After an interval: is it to be ejected? */
static bool advance(struct wc_slow *slow, struct wc_slow_node *node, const struct wc_slow_verdict *verdict,
		    uint64_t now)
{
	bool bad = verdict->judgement == WC_SLOW_BAD_FUNCTIONS || verdict->judgement == WC_SLOW_BAD_LINK;

	if (verdict->judgement == WC_SLOW_UNKNOWN)
		return false;
	node->last = *verdict;
	node->bad = bad ? node->bad + 1 : 0;
	node->good = bad ? 0 : node->good + 1;
	if (node->state == WC_SLOW_PROBATION && node->good >= slow->rule.intervals) {
		node->state = WC_SLOW_WELL;
		node->until = now + slow->rule.eject_ns;
	}
	return bad && (node->state == WC_SLOW_PROBATION || node->bad >= slow->rule.intervals);
}

static void eject(struct wc_slow *slow, struct wc_slow_node *node, uint64_t now)
{
	if (node->ejections < WC_SLOW_EJECTIONS_MAX)
		node->ejections++;
	node->state = WC_SLOW_EJECTED;
	node->until = now + slow->rule.eject_ns * node->ejections;
	node->bad = node->good = 0;
	slow->ejected_total++;
}

/* The slowest first, as many as may be. */
static void eject_some(struct wc_slow *slow, bool wanted[WC_MEMBERS_MAX], uint64_t now)
{
	for (;;) {
		struct wc_slow_node *worst = NULL;
		uint32_t which = 0;

		for (uint32_t n = WC_SLOW_SELF + 1; n < WC_MEMBERS_MAX; n++)
			if (wanted[n] && (!worst || ratio(&slow->nodes[n]) > ratio(worst)))
				worst = &slow->nodes[which = n];
		if (!worst)
			return;
		wanted[which] = false;
		if (may_eject(slow, worst))
			eject(slow, worst, now);
	}
}

static void end_interval(struct wc_slow *slow, uint64_t now)
{
	static const struct wc_slow_verdict nothing;
	struct wc_slow_verdict *verdicts = calloc(WC_MEMBERS_MAX, sizeof(*verdicts));
	bool wanted[WC_MEMBERS_MAX] = { false };

	if (verdicts)
		wc_slow_judge(slow, verdicts);
	for (uint32_t n = WC_SLOW_SELF + 1; n < WC_MEMBERS_MAX; n++) {
		struct wc_slow_node *node = &slow->nodes[n];

		if (node->usable && node->state != WC_SLOW_EJECTED)
			wanted[n] = advance(slow, node, verdicts ? &verdicts[n] : &nothing, now);
	}
	free(verdicts);
	eject_some(slow, wanted, now);
	for (uint32_t n = 0; n < WC_MEMBERS_MAX; n++) {
		slow->nodes[n].sample_count = 0;
		slow->nodes[n].fresh = false;
	}
}

/* Others have gone, so that too much is ejected: the one that is least slow comes back, and the next one. */
static void bring_back(struct wc_slow *slow)
{
	for (;;) {
		struct whole whole = count_all(slow);
		struct wc_slow_node *best = NULL;

		if (is_bearable(&slow->rule, &whole))
			return;
		for (uint32_t n = WC_SLOW_SELF + 1; n < WC_MEMBERS_MAX; n++) {
			struct wc_slow_node *node = &slow->nodes[n];

			if (node->usable && node->state == WC_SLOW_EJECTED && (!best || ratio(node) < ratio(best)))
				best = node;
		}
		if (!best)
			return;
		come_back(best);
	}
}

static void pass_time(struct wc_slow *slow, uint64_t now)
{
	for (uint32_t n = WC_SLOW_SELF + 1; n < WC_MEMBERS_MAX; n++) {
		struct wc_slow_node *node = &slow->nodes[n];

		if (node->state == WC_SLOW_EJECTED && now >= node->until)
			come_back(node);
		if (node->state == WC_SLOW_WELL && node->ejections && now >= node->until) {
			node->ejections--;
			node->until = now + slow->rule.eject_ns;
		}
	}
}

uint32_t wc_slow_tick(struct wc_slow *slow, uint64_t now, uint16_t ret_changed[WC_MEMBERS_MAX])
{
	uint8_t before[WC_MEMBERS_MAX];
	uint32_t changed = 0;

	if (!slow->rule.times)
		return 0;
	for (uint32_t n = 0; n < WC_MEMBERS_MAX; n++)
		before[n] = (uint8_t)slow->nodes[n].state;
	pass_time(slow, now);
	if (!slow->next || now >= slow->next) {
		if (slow->next)
			end_interval(slow, now);
		slow->next = now + slow->rule.interval_ns;
	}
	bring_back(slow);
	for (uint32_t n = 0; n < WC_MEMBERS_MAX; n++)
		if (before[n] != slow->nodes[n].state)
			ret_changed[changed++] = (uint16_t)n;
	return changed;
}
