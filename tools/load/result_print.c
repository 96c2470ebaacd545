// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* result_print.c - results for people and as CSV. Percentiles never stand alone: beside them is what they cover, and what is missing. */
#include <inttypes.h>
#include <string.h>

#include "tools/load/result.h"
#include "tools/table.h"
#include "user/client.h"

/* ns as microseconds; thousandths as times. */
static double shown(double value)
{
	return value / 1e3;
}

static void count_line(FILE *out, const struct load_function *function)
{
	const uint64_t *c = function->counts;

	fprintf(out, "  %" PRIu64 " calls: %" PRIu64 " replies", c[LOAD_COUNT_scheduled], c[LOAD_COUNT_replied]);
	if (c[LOAD_COUNT_cold])
		fprintf(out, " (%" PRIu64 " cold)", c[LOAD_COUNT_cold]);
	for (unsigned code = 0; code < LOAD_CODES; code++)
		if (function->codes[code])
			fprintf(out, ", %" PRIu64 " %s", function->codes[code],
				code < LOAD_CODES - 1 ? wc_code_name(code) : "of other codes");
	if (c[LOAD_COUNT_lost])
		fprintf(out, ", %" PRIu64 " without an answer", c[LOAD_COUNT_lost]);
	if (c[LOAD_COUNT_late])
		fprintf(out, " in time (%" PRIu64 " answered later)", c[LOAD_COUNT_late]);
	if (c[LOAD_COUNT_unfinished])
		fprintf(out, ", %" PRIu64 " unfinished", c[LOAD_COUNT_unfinished]);
	if (c[LOAD_COUNT_not_sent])
		fprintf(out, ", %" PRIu64 " not sent", c[LOAD_COUNT_not_sent]);
	fputc('\n', out);
}

static void time_row(struct table *table, const struct load_function *function, enum load_time time)
{
	const struct load_histogram *histogram = &function->times[time];

	if (!histogram->count)
		return;
	table_cell(table, "%s%s", load_time_titles[time], time == LOAD_TIME_slowdown ? " (times)" : "");
	table_cell(table, "%" PRIu64, histogram->count);
	table_cell(table, "%.1f", shown(load_histogram_mean(histogram)));
	for (size_t q = 0; q < LOAD_QUANTILES; q++)
		table_cell(table, "%.1f", shown((double)load_histogram_quantile(histogram, 0, load_quantiles[q].ppm)));
}

/* The latencies again, as if what has none had been answered at the time-out: no drop makes them look better. */
static void bound_row(struct table *table, const struct load_function *function, uint64_t timeout_ns)
{
	const struct load_histogram *histogram = &function->times[LOAD_TIME_latency];
	uint64_t missing = load_missing(function), value;

	if (!missing)
		return;
	table_cell(table, "... with the missing ones");
	table_cell(table, "%" PRIu64, histogram->count + missing);
	table_cell(table, "%s", "");
	for (size_t q = 0; q < LOAD_QUANTILES; q++) {
		value = load_histogram_quantile(histogram, missing, load_quantiles[q].ppm);
		if (value == LOAD_QUANTILE_MISSING)
			table_cell(table, ">=%.0f", (double)timeout_ns / 1e3);
		else
			table_cell(table, "%.1f", shown((double)value));
	}
}

static void print_times(const struct load_function *function, uint64_t timeout_ns, FILE *out)
{
	struct table *table = table_new("lrrrrrrrr");

	table_cell(table, "microseconds");
	table_cell(table, "count");
	table_cell(table, "mean");
	for (size_t q = 0; q < LOAD_QUANTILES; q++)
		table_cell(table, "%s", load_quantiles[q].name);
	for (int time = 0; time < LOAD_TIME_COUNT; time++) {
		time_row(table, function, (enum load_time)time);
		if (time == LOAD_TIME_latency)
			bound_row(table, function, timeout_ns);
	}
	table_print(table, out, 2);
}

static void print_functions(const struct load_result *result, FILE *out)
{
	struct table *table = table_new("lrrrrrrrr");
	static const char *const titles[] = { "function", "calls", "replies", "cold", "other",
					      "p50",	  "p90",   "p99",     "max" };
	static const uint32_t ppm[] = { 500000, 900000, 990000, 1000000 };

	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		table_cell(table, "%s", titles[i]);
	for (size_t i = 0; i < result->functions_count; i++) {
		const struct load_function *function = &result->functions[i];

		if (!function->counts[LOAD_COUNT_scheduled])
			continue;
		table_cell(table, "%s", function->name);
		table_cell(table, "%" PRIu64, function->counts[LOAD_COUNT_scheduled]);
		table_cell(table, "%" PRIu64, function->counts[LOAD_COUNT_replied]);
		table_cell(table, "%" PRIu64, function->counts[LOAD_COUNT_cold]);
		table_cell(table, "%" PRIu64, load_missing(function));
		for (size_t q = 0; q < sizeof(ppm) / sizeof(ppm[0]); q++)
			table_cell(table, "%.1f",
				   (double)load_histogram_quantile(&function->times[LOAD_TIME_latency], 0, ppm[q]) /
					   1e3);
	}
	fprintf(out, "By function, latency from the intended send in microseconds, of the replies\n");
	table_print(table, out, 2);
}

static void print_pace(const struct load_result *result, const struct load_pace *pace, FILE *out)
{
	const uint64_t *traffic = result->traffic;

	fprintf(out, "%s\n", result->load);
	fprintf(out, "  %" PRIu64 " run%s, %.2f s measured", result->runs, result->runs > 1 ? "s" : "",
		(double)result->window_ns / 1e9);
	if (traffic[LOAD_TRAFFIC_warm_up])
		fprintf(out, ", after a warm-up of %" PRIu64 " calls", traffic[LOAD_TRAFFIC_warm_up]);
	if (strcmp(result->loop, "closed") != 0)
		fprintf(out, "; intended %.1f/s, achieved %.1f/s (%.2f %%)\n", pace->intended_per_s,
			pace->achieved_per_s, 100 * pace->ratio);
	else
		fprintf(out, "; %.1f/s\n", pace->achieved_per_s);
	if (strcmp(result->loop, "open") != 0)
		fprintf(out, "  a closed loop waits for the node: its latencies leave out what an open load would have "
			     "queued\n");
	if (result->interrupted)
		fprintf(out, "  %" PRIu64 " of the runs was interrupted: this is what there was\n",
			result->interrupted);
	for (size_t i = LOAD_TRAFFIC_strays; i < LOAD_TRAFFIC_COUNT; i++) {
		static const char *const texts[LOAD_TRAFFIC_COUNT] = {
#define X(name, text) text,
			LOAD_TRAFFIC(X)
#undef X
		};

		if (traffic[i])
			fprintf(out, "  %" PRIu64 " %s\n", traffic[i], texts[i]);
	}
}

int load_result_print(const struct load_result *result, bool each_function, FILE *out)
{
	struct load_function total;
	struct load_pace pace;
	int ret = load_result_total(result, &total);

	if (ret)
		return ret;
	load_pace(result, &total, &pace);
	print_pace(result, &pace, out);
	count_line(out, &total);
	if (total.counts[LOAD_COUNT_sent])
		print_times(&total, result->timeout_ns, out);
	if (load_missing(&total))
		fprintf(out,
			"  Latencies are of the replies only; \"with the missing ones\" counts the %" PRIu64
			" others as answered at the time-out of %.0f ms or later.\n",
			load_missing(&total), (double)result->timeout_ns / 1e6);
	if (each_function && result->functions_count > 1)
		print_functions(result, out);
	load_function_clear(&total);
	return 0;
}

/* A name may have what CSV means something by. */
static void csv_text(const char *text, FILE *out)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void csv_rows(const struct load_function *function, FILE *out)
{
	for (size_t t = 0; t < LOAD_TIME_COUNT; t++) {
		const struct load_histogram *histogram = &function->times[t];

		csv_text(function->name, out);
		for (size_t c = 0; c < LOAD_COUNT_COUNT; c++)
			fprintf(out, ",%" PRIu64, function->counts[c]);
		fprintf(out, ",%s,%s,%" PRIu64 ",%" PRIu64 ",%.1f", load_time_names[t], load_time_units[t],
			histogram->count, histogram->min, load_histogram_mean(histogram));
		for (size_t q = 0; q < LOAD_QUANTILES; q++)
			fprintf(out, ",%" PRIu64, load_histogram_quantile(histogram, 0, load_quantiles[q].ppm));
		fputc('\n', out);
	}
}

int load_result_print_csv(const struct load_result *result, FILE *out)
{
	struct load_function total;
	int ret = load_result_total(result, &total);

	if (ret)
		return ret;
	fputs("function", out);
	for (size_t c = 0; c < LOAD_COUNT_COUNT; c++)
		fprintf(out, ",%s", load_count_names[c]);
	fputs(",time,unit,count,min,mean", out);
	for (size_t q = 0; q < LOAD_QUANTILES; q++)
		fprintf(out, ",%s", load_quantiles[q].name);
	fputc('\n', out);
	csv_rows(&total, out);
	for (size_t i = 0; i < result->functions_count; i++)
		csv_rows(&result->functions[i], out);
	load_function_clear(&total);
	return 0;
}
