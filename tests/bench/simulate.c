/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* simulate.c - see simulate.h. */
#include "tests/bench/simulate.h"

#include "tests/bench/bench.h"

#define MINUTE TRACE_MINUTE
#define ALIVE_MAX 1024 /* instances of one function; the rest is let go */

uint64_t outcome_cold(const struct outcome *outcome)
{
	uint64_t sum = 0;

	for (int i = 0; i < COLD_COUNT; i++)
		sum += outcome->cold[i];
	return sum;
}

/* --- one function --- */

struct alive {
	uint64_t free_at[ALIVE_MAX]; /* of its instances */
	uint32_t count;
	uint64_t ends[ALIVE_MAX]; /* of what runs, the last one first */
	uint32_t running;
	uint64_t freed[ALIVE_MAX + 1]; /* when so many last ran */
	uint64_t last;		       /* end of an execution */
	uint64_t idle;		       /* time, summed up */
};

static uint64_t later(uint64_t from, uint64_t time)
{
	return time == WC_KEEPALIVE_NEVER ? WC_KEEPALIVE_NEVER : from + time;
}

/* What has ended by now. */
static void end_until(struct alive *alive, uint64_t now)
{
	for (; alive->running && alive->ends[alive->running - 1] <= now; alive->running--) {
		alive->last = alive->ends[alive->running - 1];
		alive->freed[alive->running] = alive->last;
	}
}

static void begin(struct alive *alive, int instance, uint64_t end)
{
	uint32_t i;

	if (instance >= 0)
		alive->free_at[instance] = end;
	if (alive->running == ALIVE_MAX)
		return;
	for (i = alive->running++; i && alive->ends[i - 1] < end; i--)
		alive->ends[i] = alive->ends[i - 1];
	alive->ends[i] = end;
}

/* The idle one that was used last. -1: there is none. */
static int most_recent(const struct alive *alive, uint64_t now)
{
	int best = -1;

	for (uint32_t i = 0; i < alive->count; i++)
		if (alive->free_at[i] <= now && (best < 0 || alive->free_at[i] > alive->free_at[best]))
			best = (int)i;
	return best;
}

/* The instances that idle go when the plan says so; with `all` all go at their time, but not after the end of the trace. */
static void expire(struct alive *alive, const struct wc_keepalive_plan *plan, uint64_t now, bool all)
{
	int newest = alive->running ? -1 : most_recent(alive, now);
	uint32_t left = 0;

	for (uint32_t i = 0; i < alive->count; i++) {
		uint64_t free_at = alive->free_at[i], end = later(free_at, (int)i == newest ? plan->end : plan->more);

		if (plan->prewarm && !alive->running) /* with the end of the last execution everything goes */
			end = end < alive->last ? end : alive->last;
		if (free_at > now || (end >= now && !all))
			alive->free_at[left++] = free_at;
		else
			alive->idle += (end < now ? end : now) - free_at;
	}
	alive->count = left;
}

/* Nothing runs, and nothing was kept: was an instance started before this call? Returns for how long the call waits for it. */
static uint64_t prewarmed(struct alive *alive, const struct wc_keepalive_plan *plan, uint64_t at, uint64_t start,
			  struct outcome *outcome)
{
	uint64_t from = alive->last + plan->prewarm, to = alive->last + plan->end, ready = from + start;

	if (at < from) {
		outcome->cold[COLD_EARLY]++;
		return 0;
	}
	outcome->prewarms++;
	outcome->wasted += at > to;
	outcome->cold[COLD_EXPIRED] += at > to;
	if (at <= to && at < ready)
		return ready - at;
	to = at < to ? at : to;
	alive->idle += to > ready ? to - ready : 0;
	return 0;
}

/* Until the end of the trace, as the last plan says. */
static void finish(struct alive *alive, const struct wc_keepalive_plan *plan, uint64_t length, uint64_t start,
		   struct outcome *outcome)
{
	uint64_t ready = alive->last + plan->prewarm + start, to = alive->last + plan->end;

	end_until(alive, length);
	expire(alive, plan, length, true);
	if (!plan->prewarm || alive->running || length <= alive->last + plan->prewarm)
		return;
	outcome->prewarms++;
	outcome->wasted += to < length;
	to = to < length ? to : length;
	alive->idle += to > ready ? to - ready : 0;
}

static void one_function(const struct trace *trace, uint32_t number, const struct wc_keepalive_knobs *knobs,
			 const struct overhead *overhead, struct outcome *outcome)
{
	struct trace_calls calls;
	struct wc_keepalive history = { 0 };
	struct alive alive = { .count = 0 };
	struct wc_keepalive_plan plan;
	uint64_t at, takes;
	bool called = false;

	trace_open(trace, number, &calls);
	for (; trace_next(&calls, &at, &takes); called = true) {
		uint64_t cold = outcome_cold(outcome), waits = 0;
		int found = -1;

		plan = wc_keepalive_plan(&history, knobs);
		end_until(&alive, at);
		outcome->calls++;
		expire(&alive, &plan, at, false);
		if (!called) {
			outcome->cold[COLD_FIRST]++;
		} else if (plan.prewarm && !alive.running) {
			waits = prewarmed(&alive, &plan, at, overhead->start, outcome);
		} else {
			found = most_recent(&alive, at);
			if (found >= 0)
				alive.idle += at - alive.free_at[found];
			else
				outcome->cold[alive.running ? COLD_BURST : COLD_EXPIRED]++;
		}
		if (called && !alive.running)
			wc_keepalive_note(&history, knobs, 1, at - alive.last);
		else if (called && alive.freed[alive.running + 1])
			wc_keepalive_note(&history, knobs, alive.running + 1, at - alive.freed[alive.running + 1]);
		if (found < 0 && alive.count < ALIVE_MAX)
			found = (int)alive.count++;
		begin(&alive, found,
		      at + takes + overhead->call + (outcome_cold(outcome) > cold ? overhead->start : waits));
	}
	plan = wc_keepalive_plan(&history, knobs);
	if (called)
		finish(&alive, &plan, trace->length, overhead->start, outcome);
	outcome->idle_minutes += (double)alive.idle / MINUTE;
	outcome->mb_hours += (double)alive.idle / (60.0 * MINUTE) * trace_memory_mb(trace, number);
}

struct outcome simulate(const struct trace *trace, const struct wc_keepalive_knobs *knobs,
			const struct overhead *overhead)
{
	struct outcome outcome = { 0 };

	for (uint32_t i = 0; i < trace->functions && !bench_interrupted(); i++)
		one_function(trace, i, knobs, overhead, &outcome);
	return outcome;
}
