/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_warmness.c - group `warmness`, the simulation: cold starts and memory-time of keep-alive policies on an Azure-like trace, with
 * the decisions of user/keepalive.c, the very lines that a node runs.
 *
 *     bench_warmness [OUTPUT.jsonl] [--functions N] [--days N] [--seed N] [--periodic PERCENT] [--cap N] [--csv FILE]... [--trace FILE]
 *
 * The trace is synthetic (what is known of Azure's is in docs/WARMNESS.md, with what was assumed), or from --csv: files in the format
 * of the Azure Functions data set of 2019 (invocations_per_function_md.anon.dNN.csv: HashOwner, HashApp, HashFunction, Trigger, and the
 * number of calls in each of 1,440 minutes), a day each, in their order. --trace writes the calls for a replay on a node, and ends.
 *
 * What is simulated: each function by itself, any number of instances, most recently used first. Memory-time is that of idle instances,
 * memory of the function x time; what runs costs the same under every policy. Starting takes no time. Nothing is evicted for memory.
 */
#include "tests/bench/bench.h"
#include "tests/bench/trace.h"
#include "user/keepalive.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE TRACE_MINUTE
#define ALIVE_MAX 1024 /* instances of one function; the rest is let go */
#define STEPS 16       /* of a bisection, which ends when memory-time is as near as a thousandth */

enum cold {
	COLD_FIRST,
	COLD_EXPIRED,
	COLD_EARLY, /* before the predicted call: it was not loaded yet */
	COLD_BURST,
	COLD_COUNT,
};

struct outcome {
	uint64_t calls, cold[COLD_COUNT], prewarms, wasted;
	double mb_hours; /* of idle instances */
};

static uint64_t all_cold(const struct outcome *outcome)
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

/* Nothing runs, and nothing was kept: was an instance started before this call? */
static void prewarmed(struct alive *alive, const struct wc_keepalive_plan *plan, uint64_t at, struct outcome *outcome)
{
	uint64_t from = alive->last + plan->prewarm, to = alive->last + plan->end;

	if (at < from) {
		outcome->cold[COLD_EARLY]++;
		return;
	}
	outcome->prewarms++;
	outcome->wasted += at > to;
	outcome->cold[COLD_EXPIRED] += at > to;
	alive->idle += (at < to ? at : to) - from;
}

static void simulate(const struct trace *trace, uint32_t number, const struct wc_keepalive_knobs *knobs,
		     struct outcome *outcome)
{
	struct trace_calls calls;
	struct wc_keepalive history = { 0 };
	struct alive alive = { .count = 0 };
	struct wc_keepalive_plan plan;
	uint64_t at, takes;
	bool called = false;

	trace_open(trace, number, &calls);
	for (; trace_next(&calls, &at, &takes); called = true) {
		int found = -1;

		plan = wc_keepalive_plan(&history, knobs);
		end_until(&alive, at);
		outcome->calls++;
		expire(&alive, &plan, at, false);
		if (!called) {
			outcome->cold[COLD_FIRST]++;
		} else if (plan.prewarm && !alive.running) {
			prewarmed(&alive, &plan, at, outcome);
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
		begin(&alive, found, at + takes);
	}
	/* Until the end of the trace, as the last plan says. */
	plan = wc_keepalive_plan(&history, knobs);
	end_until(&alive, trace->length);
	expire(&alive, &plan, trace->length, true);
	if (called && plan.prewarm && !alive.running && trace->length > alive.last + plan.prewarm) {
		uint64_t to = alive.last + plan.end;

		outcome->prewarms++;
		outcome->wasted += to < trace->length;
		alive.idle += (to < trace->length ? to : trace->length) - alive.last - plan.prewarm;
	}
	outcome->mb_hours += (double)alive.idle / (60.0 * MINUTE) * trace_memory_mb(trace, number);
}

static struct outcome run(const struct trace *trace, const struct wc_keepalive_knobs *knobs)
{
	struct outcome outcome = { 0 };

	for (uint32_t i = 0; i < trace->functions && !bench_interrupted(); i++)
		simulate(trace, i, knobs, &outcome);
	return outcome;
}

/* --- policies --- */

static struct wc_keepalive_knobs fixed_for(uint64_t time)
{
	struct wc_keepalive_knobs knobs = wc_keepalive_defaults(MINUTE, time);

	knobs.rule = WC_KEEPALIVE_FIXED;
	return knobs;
}

/* The fixed time, of this rule, with which memory-time is at most `mb_hours`, and near to it. */
static uint64_t fixed_with(const struct trace *trace, struct wc_keepalive_knobs knobs, double mb_hours)
{
	uint64_t low = 0, high = 8ull * 60 * MINUTE;

	for (int i = 0; i < STEPS && high - low > MINUTE / 60 && !bench_interrupted(); i++) {
		struct outcome outcome;

		knobs.fixed = (low + high) / 2;
		outcome = run(trace, &knobs);
		if (outcome.mb_hours <= mb_hours && outcome.mb_hours > mb_hours * 0.999)
			return knobs.fixed;
		if (outcome.mb_hours <= mb_hours)
			low = knobs.fixed;
		else
			high = knobs.fixed;
	}
	return low;
}

static FILE *output;

static void report(const char *name, const char *text, const struct outcome *outcome, const struct outcome *base)
{
	double cold = (double)all_cold(outcome), of = (double)all_cold(base);

	printf("  %-44s %9" PRIu64 " %6.3f %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %12.0f %6.3f %8" PRIu64
	       " %8" PRIu64 "\n",
	       text, all_cold(outcome), cold / of, outcome->cold[COLD_FIRST], outcome->cold[COLD_EXPIRED],
	       outcome->cold[COLD_EARLY], outcome->cold[COLD_BURST], outcome->mb_hours,
	       outcome->mb_hours / base->mb_hours, outcome->prewarms, outcome->wasted);
	if (output)
		fprintf(output,
			"{\"name\":\"warmness_sim_%s\",\"value\":%" PRIu64
			",\"unit\":\"cold starts\",\"floor\":%" PRIu64 ",\"ratio\":%.4f,\"runs\":1,\"calls\":%" PRIu64
			",\"first\":%" PRIu64 ",\"expired\":%" PRIu64 ",\"early\":%" PRIu64 ",\"burst\":%" PRIu64
			",\"mb_hours\":%.1f,\"memory_ratio\":%.4f,\"prewarms\":%" PRIu64 ",\"prewarms_wasted\":%" PRIu64
			"}\n",
			name, all_cold(outcome), all_cold(base), cold / of, outcome->calls, outcome->cold[COLD_FIRST],
			outcome->cold[COLD_EXPIRED], outcome->cold[COLD_EARLY], outcome->cold[COLD_BURST],
			outcome->mb_hours, outcome->mb_hours / base->mb_hours, outcome->prewarms, outcome->wasted);
}

static void compare(const struct trace *trace)
{
	static const unsigned minutes[] = { 5, 20, 60, 240 };
	struct wc_keepalive_knobs hybrid = wc_keepalive_defaults(MINUTE, 10 * MINUTE), knobs = fixed_for(10 * MINUTE);
	struct outcome base = run(trace, &knobs), outcome, learned;
	char text[64], name[32];
	uint64_t time;

	printf("  %u functions, %.0f days, %" PRIu64
	       " calls: cold starts, and of them the first, after the keep-alive, before the prewarm, in a burst\n\n",
	       trace->functions, (double)trace->length / (24.0 * 60 * MINUTE), base.calls);
	printf("  %-44s %9s %6s %8s %8s %8s %8s %12s %6s %8s %8s\n", "", "cold", "ratio", "first", "expired", "early",
	       "burst", "idle MB h", "ratio", "prewarms", "wasted");
	report("fixed_10min", "fixed 10 min", &base, &base);
	for (size_t i = 0; i < sizeof(minutes) / sizeof(minutes[0]); i++) {
		knobs = fixed_for(minutes[i] * MINUTE);
		outcome = run(trace, &knobs);
		snprintf(name, sizeof(name), "fixed_%umin", minutes[i]);
		snprintf(text, sizeof(text), "fixed %u min", minutes[i]);
		report(name, text, &outcome, &base);
	}
	knobs = hybrid;
	knobs.rule = WC_KEEPALIVE_PERCENTILE;
	outcome = run(trace, &knobs);
	report("percentile", "percentiles alone, as in the paper", &outcome, &base);
	learned = run(trace, &hybrid);
	report("hybrid", "hybrid, as a node has it", &learned, &base);

	time = fixed_with(trace, fixed_for(0), learned.mb_hours);
	knobs = fixed_for(time);
	outcome = run(trace, &knobs);
	snprintf(text, sizeof(text), "fixed %.1f min: the hybrid's memory-time", (double)time / MINUTE);
	report("fixed_same_memory", text, &outcome, &base);

	knobs = hybrid;
	knobs.fixed = fixed_with(trace, hybrid, base.mb_hours);
	outcome = run(trace, &knobs);
	snprintf(text, sizeof(text), "hybrid %.1f min: memory-time of fixed 10 min", (double)knobs.fixed / MINUTE);
	report("hybrid_same_memory", text, &outcome, &base);

	knobs.prewarm = false;
	outcome = run(trace, &knobs);
	report("hybrid_no_prewarm", "the same without prewarming", &outcome, &base);
}

/* --- the command line --- */

static int write_trace(const struct trace *trace, const char *path)
{
	FILE *file = fopen(path, "we");
	struct trace_calls calls;
	uint64_t at, takes;

	if (!file) {
		bench_say("cannot create %s: %s", path, strerror(errno));
		return 1;
	}
	for (uint32_t i = 0; i < trace->functions; i++) {
		trace_open(trace, i, &calls);
		while (trace_next(&calls, &at, &takes))
			fprintf(file, "%" PRIu64 " %u %" PRIu64 "\n", at, i, takes);
	}
	if (fclose(file)) {
		bench_say("cannot write %s: %s", path, strerror(errno));
		return 1;
	}
	return 0;
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < min || value > max)
		return false;
	*ret_value = value;
	return true;
}

static int usage(int status)
{
	fprintf(status ? stderr : stdout,
		"Usage: bench_warmness [OUTPUT.jsonl] [--functions 1..100000] [--days 1..60] [--seed N] [--periodic 0..100]\n"
		"                      [--cap CALLS-AN-HOUR] [--csv FILE]... [--trace FILE]\n");
	return status;
}

int main(int argc, char **argv)
{
	static const struct option table[] = {
		{ "functions", required_argument, NULL, 'f' },
		{ "days", required_argument, NULL, 'd' },
		{ "seed", required_argument, NULL, 's' },
		{ "periodic", required_argument, NULL, 'p' },
		{ "cap", required_argument, NULL, 'c' },
		{ "csv", required_argument, NULL, 'v' },
		{ "trace", required_argument, NULL, 't' },
		{ "quick", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct trace_options options = { .functions = 2000, .days = 7, .seed = 1, .periodic = 16, .cap = 240 };
	const char *trace_file = NULL;
	struct trace trace = { 0 };
	int option, status = 0;
	bool right = true;

	while (right && (option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (option) {
		case 'f':
			right = number(optarg, 1, 100000, &options.functions);
			break;
		case 'd':
			right = number(optarg, 1, TRACE_DAYS_MAX, &options.days);
			break;
		case 's':
			right = number(optarg, 0, UINT64_MAX, &options.seed);
			break;
		case 'p':
			right = number(optarg, 0, 100, &options.periodic);
			break;
		case 'c':
			right = number(optarg, 1, 36000, &options.cap);
			break;
		case 'v':
			right = options.csv_count < TRACE_DAYS_MAX;
			if (right)
				options.csv[options.csv_count++] = optarg;
			break;
		case 't':
			trace_file = optarg;
			break;
		case 'q':
			options.functions = 1000;
			options.days = 3;
			break;
		case 'h':
			return usage(0);
		default:
			right = false;
		}
	}
	if (!right || argc - optind > 1)
		return usage(2);
	bench_catch_signals();
	if (trace_make(&trace, &options))
		return 1;
	if (trace_file) {
		status = write_trace(&trace, trace_file);
	} else {
		if (optind < argc && !(output = fopen(argv[optind], "ae"))) {
			bench_say("cannot write %s: %s", argv[optind], strerror(errno));
			trace_free(&trace);
			return 1;
		}
		compare(&trace);
		if (output && fclose(output)) {
			bench_say("cannot write %s: %s", argv[optind], strerror(errno));
			status = 1;
		}
	}
	trace_free(&trace);
	return bench_interrupted() ? 130 : status;
}
