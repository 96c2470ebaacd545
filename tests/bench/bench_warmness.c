/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_warmness.c - group `warmness`, the simulation: cold starts and memory-time of keep-alive policies on an Azure-like trace, with
 * the decisions of user/keepalive.c, the very lines that a node runs.
 *
 *     bench_warmness [OUTPUT.jsonl] [--functions N] [--days N] [--minutes N] [--seed N] [--periodic PERCENT] [--cap N] [--csv FILE]...
 *                    [--trace FILE] [--start-ms N] [--call-ms N] [--rule RULE:MINUTES]...
 *
 * The trace is synthetic (what is known of Azure's is in docs/WARMNESS.md, with what was assumed), or from --csv: files in the format
 * of the Azure Functions data set of 2019 (invocations_per_function_md.anon.dNN.csv: HashOwner, HashApp, HashFunction, Trigger, and the
 * number of calls in each of 1,440 minutes), a day each, in their order; with --functions only the first so many. --minutes ends the trace sooner.
 *
 * For bench_warmness.py, which has a node run the same calls: --trace writes them, and ends. --rule simulates just these, one JSON
 * object a line to standard output; MINUTES is the fixed time, or `same`: that with which the instances idle for as long as under
 * the first rule. --start-ms is how long a start takes, --call-ms what a call takes beyond its time; nothing unless given.
 *
 * Memory-time is memory of the function x time that its instances idle.
 */
#include "tests/bench/bench.h"
#include "tests/bench/simulate.h"
#include "tools/workload/trace.h"
#include "user/keepalive.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE TRACE_MINUTE
#define STEPS 16 /* of a bisection, which ends when memory-time is as near as a thousandth */
#define RULES_MAX 16

/* --- policies --- */

static const struct overhead none;

static struct wc_keepalive_knobs fixed_for(uint64_t time)
{
	struct wc_keepalive_knobs knobs = wc_keepalive_defaults(MINUTE, time);

	knobs.rule = WC_KEEPALIVE_FIXED;
	return knobs;
}

/* What is to be the same. */
static double memory_time(const struct outcome *outcome)
{
	return outcome->mb_hours;
}

static double idle_time(const struct outcome *outcome)
{
	return outcome->idle_minutes;
}

/* The fixed time, of this rule, with which `cost` is at most `wanted`, and near to it. */
static uint64_t fixed_with(const struct trace *trace, struct wc_keepalive_knobs knobs, const struct overhead *overhead,
			   double (*cost)(const struct outcome *outcome), double wanted)
{
	uint64_t low = 0, high = 8ull * 60 * MINUTE;

	for (int i = 0; i < STEPS && high - low > MINUTE / 60 && !bench_interrupted(); i++) {
		struct outcome outcome;

		knobs.fixed = (low + high) / 2;
		outcome = simulate(trace, &knobs, overhead);
		if (cost(&outcome) <= wanted && cost(&outcome) > wanted * 0.999)
			return knobs.fixed;
		if (cost(&outcome) <= wanted)
			low = knobs.fixed;
		else
			high = knobs.fixed;
	}
	return low;
}

static FILE *output;

static void report(const char *name, const char *text, const struct outcome *outcome, const struct outcome *base)
{
	double cold = (double)outcome_cold(outcome), of = (double)outcome_cold(base);

	printf("  %-44s %9" PRIu64 " %6.3f %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %12.0f %6.3f %8" PRIu64
	       " %8" PRIu64 "\n",
	       text, outcome_cold(outcome), cold / of, outcome->cold[COLD_FIRST], outcome->cold[COLD_EXPIRED],
	       outcome->cold[COLD_EARLY], outcome->cold[COLD_BURST], outcome->mb_hours,
	       outcome->mb_hours / base->mb_hours, outcome->prewarms, outcome->wasted);
	if (output)
		fprintf(output,
			"{\"name\":\"warmness_sim_%s\",\"value\":%" PRIu64
			",\"unit\":\"cold starts\",\"floor\":%" PRIu64 ",\"ratio\":%.4f,\"runs\":1,\"calls\":%" PRIu64
			",\"first\":%" PRIu64 ",\"expired\":%" PRIu64 ",\"early\":%" PRIu64 ",\"burst\":%" PRIu64
			",\"mb_hours\":%.1f,\"memory_ratio\":%.4f,\"prewarms\":%" PRIu64 ",\"prewarms_wasted\":%" PRIu64
			"}\n",
			name, outcome_cold(outcome), outcome_cold(base), cold / of, outcome->calls,
			outcome->cold[COLD_FIRST], outcome->cold[COLD_EXPIRED], outcome->cold[COLD_EARLY],
			outcome->cold[COLD_BURST], outcome->mb_hours, outcome->mb_hours / base->mb_hours,
			outcome->prewarms, outcome->wasted);
}

static void compare(const struct trace *trace)
{
	static const unsigned minutes[] = { 5, 20, 60, 240 };
	struct wc_keepalive_knobs hybrid = wc_keepalive_defaults(MINUTE, 10 * MINUTE), knobs = fixed_for(10 * MINUTE);
	struct outcome base = simulate(trace, &knobs, &none), outcome, learned;
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
		outcome = simulate(trace, &knobs, &none);
		snprintf(name, sizeof(name), "fixed_%umin", minutes[i]);
		snprintf(text, sizeof(text), "fixed %u min", minutes[i]);
		report(name, text, &outcome, &base);
	}
	knobs = hybrid;
	knobs.rule = WC_KEEPALIVE_PERCENTILE;
	outcome = simulate(trace, &knobs, &none);
	report("percentile", "percentiles alone, as in the paper", &outcome, &base);
	learned = simulate(trace, &hybrid, &none);
	report("hybrid", "hybrid, as a node has it", &learned, &base);

	time = fixed_with(trace, fixed_for(0), &none, memory_time, learned.mb_hours);
	knobs = fixed_for(time);
	outcome = simulate(trace, &knobs, &none);
	snprintf(text, sizeof(text), "fixed %.1f min: the hybrid's memory-time", (double)time / MINUTE);
	report("fixed_same_memory", text, &outcome, &base);

	knobs = hybrid;
	knobs.fixed = fixed_with(trace, hybrid, &none, memory_time, base.mb_hours);
	outcome = simulate(trace, &knobs, &none);
	snprintf(text, sizeof(text), "hybrid %.1f min: memory-time of fixed 10 min", (double)knobs.fixed / MINUTE);
	report("hybrid_same_memory", text, &outcome, &base);

	knobs.prewarm = false;
	outcome = simulate(trace, &knobs, &none);
	report("hybrid_no_prewarm", "the same without prewarming", &outcome, &base);
}

/* --- single rules, for a run on a node --- */

struct rule {
	const char *name;
	uint64_t fixed; /* ms; SAME */
};
#define SAME UINT64_MAX
static const char *const rule_names[] = { "hybrid", "percentile", "fixed", "off" };

static void one_rule(const struct trace *trace, const struct rule *rule, const struct overhead *overhead, double *idle)
{
	struct wc_keepalive_knobs knobs = wc_keepalive_defaults(MINUTE, rule->fixed);
	struct outcome outcome;

	for (size_t i = 0; i < sizeof(rule_names) / sizeof(rule_names[0]); i++)
		if (!strcmp(rule_names[i], rule->name))
			knobs.rule = (enum wc_keepalive_rule)i;
	if (rule->fixed == SAME)
		knobs.fixed = fixed_with(trace, knobs, overhead, idle_time, *idle);
	outcome = simulate(trace, &knobs, overhead);
	*idle = *idle < 0 ? outcome.idle_minutes : *idle;
	printf("{\"rule\":\"%s\",\"fixed_minutes\":%.3f,\"calls\":%" PRIu64 ",\"cold\":%" PRIu64 ",\"first\":%" PRIu64
	       ",\"expired\":%" PRIu64 ",\"early\":%" PRIu64 ",\"burst\":%" PRIu64 ",\"prewarms\":%" PRIu64
	       ",\"wasted\":%" PRIu64 ",\"idle_minutes\":%.1f}\n",
	       rule->name, (double)knobs.fixed / MINUTE, outcome.calls, outcome_cold(&outcome),
	       outcome.cold[COLD_FIRST], outcome.cold[COLD_EXPIRED], outcome.cold[COLD_EARLY], outcome.cold[COLD_BURST],
	       outcome.prewarms, outcome.wasted, outcome.idle_minutes);
}

/* RULE:MINUTES, which may have a decimal point, or RULE:same. */
static bool parse_rule(char *text, struct rule *rule)
{
	char *colon = strchr(text, ':'), *end;
	double minutes;

	if (!colon)
		return false;
	*colon++ = 0;
	rule->name = text;
	rule->fixed = SAME;
	if (strcmp(colon, "same") != 0) {
		minutes = strtod(colon, &end);
		if (end == colon || *end || !(minutes > 0 && minutes <= 10000))
			return false;
		rule->fixed = (uint64_t)(minutes * MINUTE + 0.5);
	}
	for (size_t i = 0; i < sizeof(rule_names) / sizeof(rule_names[0]); i++)
		if (!strcmp(rule_names[i], text))
			return true;
	return false;
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
		"Usage: bench_warmness [OUTPUT.jsonl] [--functions 1..100000] [--days 1..60] [--minutes N]\n"
		"                      [--seed N] [--periodic 0..100] [--cap CALLS-AN-HOUR] [--csv FILE]... [--quick]\n"
		"                      [--trace FILE] [--start-ms 0..60000] [--call-ms 0..60000]\n"
		"                      [--rule hybrid|percentile|fixed|off:MINUTES|same]...   (the first not with `same`)\n");
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
		{ "minutes", required_argument, NULL, 'm' },
		{ "start-ms", required_argument, NULL, 'S' },
		{ "call-ms", required_argument, NULL, 'C' },
		{ "rule", required_argument, NULL, 'r' },
		{ "quick", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct trace_options options = { .days = 7, .seed = 1, .periodic = 16, .cap = 240 };
	const char *trace_file = NULL;
	struct rule rules[RULES_MAX];
	struct overhead overhead = { 0 };
	uint64_t minutes = 0;
	unsigned rule_count = 0;
	struct trace trace = { 0 };
	struct wc_fault fault;
	double idle = -1;
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
		case 'm':
			right = number(optarg, 1, TRACE_DAYS_MAX * 1440, &minutes);
			break;
		case 'S':
			right = number(optarg, 0, MINUTE, &overhead.start);
			break;
		case 'C':
			right = number(optarg, 0, MINUTE, &overhead.call);
			break;
		case 'r':
			right = rule_count < RULES_MAX && parse_rule(optarg, &rules[rule_count]) &&
				(rule_count || rules[0].fixed != SAME);
			rule_count++;
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
	if (!options.functions && !options.csv_count)
		options.functions = 2000;
	bench_catch_signals();
	options.stop = bench_interrupted;
	if (trace_make(&trace, &options, &fault)) {
		bench_say("%s", fault.text);
		return bench_interrupted() ? 130 : 1;
	}
	if (minutes && minutes * MINUTE < trace.length)
		trace.length = minutes * MINUTE;
	if (trace_file) {
		status = write_trace(&trace, trace_file);
	} else if (rule_count) {
		for (unsigned i = 0; i < rule_count && !bench_interrupted(); i++)
			one_rule(&trace, &rules[i], &overhead, &idle);
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
