// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * invoke_repeat.c - `warmcore invoke --repeat`: many invocations, one after the other, and what they took.
 *
 * Cold (an instance had to be loaded) and warm invocations are kept apart: their latencies differ by orders of
 * magnitude, and a percentile over both would say nothing about either.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/invoke.h"
#include "tools/table.h"
#include "user/clock.h"
#include "user/quantile.h"

#define PROGRESS_AFTER_NS 1000000000ull
#define PROGRESS_EVERY_NS 100000000ull
#define BAR_CELLS 30
#define CODES_COUNT 32 /* codes that are counted one by one; the last counts all from there on */

enum what {
	ROUND_TRIP,
	WAIT,
	SERVICE,
	WHAT_COUNT
};
enum warmth {
	COLD,
	WARM,
	WARMTH_COUNT
};

static const char *const what_text[] = { "round trip", "wait at the node", "function" };
static const char *const what_key[] = { "round_trip_ns", "wait_ns", "service_ns" };
static const char *const warmth_text[] = { "cold", "warm" };

static const struct {
	const char *name;
	__u32 ppm;
} quantiles[] = {
	{ "p50", WC_QUANTILE_P50 },
	{ "p90", WC_QUANTILE_P90 },
	{ "p99", WC_QUANTILE_P99 },
	{ "max", WC_QUANTILE_MAX },
};
#define QUANTILES_COUNT (sizeof(quantiles) / sizeof(quantiles[0]))

struct tally {
	struct wc_samples samples[WARMTH_COUNT][WHAT_COUNT];
	__u64 cores[WC_CORE_ANY + 1];
	__u64 codes[CODES_COUNT]; /* answers other than REPLY */
	__u64 done, replies, busy_final, timeouts, retransmits, busy;
	__u64 elapsed_ns;
	int status; /* the first exit status other than CLI_OK */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static void show_progress(__u64 done, __u64 total)
{
	unsigned full = (unsigned)(done * BAR_CELLS / total);

	fprintf(stderr, "\r[%.*s%*s] %llu of %llu", (int)full, "##############################",
		(int)(BAR_CELLS - full), "", done, total);
}

static int count_answer(struct tally *tally, const struct wc_client_result *result)
{
	struct wc_samples *samples = tally->samples[result->flags & WC_FLAG_WARM ? WARM : COLD];
	int status = invoke_exit(result);

	tally->retransmits += result->retransmits;
	tally->busy += result->busy;
	tally->cores[result->core]++;
	if (status != CLI_OK) {
		tally->codes[result->code < CODES_COUNT ? result->code : CODES_COUNT - 1]++;
		tally->busy_final += result->type == WC_TYPE_BUSY;
		/* that a function failed is worse news than that it did not run */
		if (tally->status != CLI_FUNCTION)
			tally->status = status;
		return 0;
	}
	tally->replies++;
	return wc_samples_add(&samples[ROUND_TRIP], result->round_trip_ns) ?:
		       wc_samples_add(&samples[WAIT], result->wait_ns)	   ?:
		       wc_samples_add(&samples[SERVICE], result->service_ns);
}

/* 0, or the error that ended the run early. */
static int run(const struct cli *cli, const struct invoke_options *options, struct invoke_target *target,
	       struct tally *tally, struct wc_client_result *last)
{
	__u64 total = (__u64)options->repeat, start = wc_now(), shown = start + PROGRESS_AFTER_NS, now;
	bool progress = !cli->json && isatty(STDERR_FILENO);
	int ret = 0;

	while (tally->done < total && !interrupted) {
		invoke_choose(target);
		ret = wc_client_invoke(target->client, &target->request, last);
		if (!ret)
			ret = count_answer(tally, last);
		if (ret == -ETIMEDOUT) {
			tally->timeouts++;
			last->payload_len = 0;
			tally->status = tally->status ?: CLI_NO_ANSWER;
			ret = 0;
		}
		if (ret)
			break;
		tally->done++;
		if (!progress)
			continue;
		now = wc_now();
		if (now >= shown) {
			show_progress(tally->done, total);
			shown = now + PROGRESS_EVERY_NS;
		}
	}
	tally->elapsed_ns = wc_now() - start;
	if (progress && shown != start + PROGRESS_AFTER_NS)
		fprintf(stderr, "\r\033[K");
	return ret;
}

static void print_latencies(struct tally *tally)
{
	struct table *table = table_new("llrrrrr");

	table_cell(table, "microseconds");
	table_cell(table, "%s", "");
	table_cell(table, "count");
	for (size_t q = 0; q < QUANTILES_COUNT; q++)
		table_cell(table, "%s", quantiles[q].name);
	for (int warmth = 0; warmth < WARMTH_COUNT; warmth++) {
		for (int what = 0; what < WHAT_COUNT; what++) {
			struct wc_samples *samples = &tally->samples[warmth][what];

			if (!samples->count)
				continue;
			table_cell(table, "%s", warmth_text[warmth]);
			table_cell(table, "%s", what_text[what]);
			table_cell(table, "%zu", samples->count);
			for (size_t q = 0; q < QUANTILES_COUNT; q++)
				table_cell(table, "%.1f", (double)wc_samples_quantile(samples, quantiles[q].ppm) / 1e3);
		}
	}
	table_print(table, stdout, 2);
}

static void print_tally(const struct invoke_target *target, struct tally *tally)
{
	printf("%llu invocations of %s in %.2f s: %llu replies", tally->done, target->name,
	       (double)tally->elapsed_ns / 1e9, tally->replies);
	for (unsigned code = 0; code < CODES_COUNT; code++)
		if (tally->codes[code])
			printf(", %llu %s", tally->codes[code], wc_code_name(code));
	if (tally->timeouts)
		printf(", %llu without an answer", tally->timeouts);
	printf("\n");
	if (tally->retransmits || tally->busy)
		printf("%llu retransmissions, %llu busy answers\n", tally->retransmits, tally->busy);
	if (tally->replies)
		print_latencies(tally);
	if (tally->replies)
		printf("  cores:");
	for (unsigned core = 0; core < WC_CORE_ANY && tally->replies; core++)
		if (tally->cores[core])
			printf("  %u: %llu (%.1f %%)", core, tally->cores[core],
			       100.0 * (double)tally->cores[core] / (double)tally->done);
	if (tally->replies)
		printf("\n");
}

static json_t *latencies_json(struct tally *tally, int warmth)
{
	json_t *object = json_object();

	for (int what = 0; what < WHAT_COUNT; what++) {
		struct wc_samples *samples = &tally->samples[warmth][what];
		json_t *one = json_pack("{s:I, s:I}", "count", (json_int_t)samples->count, "mean",
					(json_int_t)wc_samples_mean(samples));

		for (size_t q = 0; q < QUANTILES_COUNT; q++)
			json_object_set_new(one, quantiles[q].name,
					    json_integer((json_int_t)wc_samples_quantile(samples, quantiles[q].ppm)));
		json_object_set_new(object, what_key[what], one);
	}
	return object;
}

static void print_tally_json(const struct invoke_target *target, struct tally *tally)
{
	json_t *cores = json_object(), *codes = json_object(), *object;
	char number[16];

	for (unsigned core = 0; core < WC_CORE_ANY; core++) {
		if (!tally->cores[core])
			continue;
		snprintf(number, sizeof(number), "%u", core);
		json_object_set_new(cores, number, json_integer((json_int_t)tally->cores[core]));
	}
	for (unsigned code = 0; code < CODES_COUNT; code++)
		if (tally->codes[code])
			json_object_set_new(codes, wc_code_name(code), json_integer((json_int_t)tally->codes[code]));
	object = json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "ok",
			   tally->status == CLI_OK, "function", target->name, "invocations", (json_int_t)tally->done,
			   "replies", (json_int_t)tally->replies, "timeouts", (json_int_t)tally->timeouts,
			   "retransmits", (json_int_t)tally->retransmits, "busy", (json_int_t)tally->busy, "elapsed_ns",
			   (json_int_t)tally->elapsed_ns, "codes", codes, "cores", cores, "cold",
			   latencies_json(tally, COLD), "warm", latencies_json(tally, WARM));
	cli_print_json(object);
	json_decref(object);
}

static int finish(const struct cli *cli, const struct invoke_options *options, const struct invoke_target *target,
		  struct tally *tally, const struct wc_client_result *last, int error)
{
	int ret;

	if (error == -ENOMEM)
		return cli_fail(cli, "out of memory after %llu invocations", tally->done);
	if (error)
		return cli_fail(cli, "%s: after %llu invocations: %s", target->name, tally->done,
				wc_client_error_text(error));
	if (cli->json)
		print_tally_json(target, tally);
	else
		print_tally(target, tally);
	if (options->output && tally->replies && last->type == WC_TYPE_REPLY) {
		ret = invoke_write_file(cli, options->output, last->payload, last->payload_len);
		if (ret)
			return ret;
	}
	return tally->status;
}

int invoke_repeatedly(const struct cli *cli, const struct invoke_options *options, struct invoke_target *target)
{
	/* a second Ctrl-C ends the program at once */
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };
	struct tally *tally = calloc(1, sizeof(*tally));
	struct wc_client_result last = { 0 };
	size_t expected = options->repeat < 1000000 ? (size_t)options->repeat : 1000000;
	int ret = 0;

	if (!tally)
		return cli_fail(cli, "out of memory");
	/* so that no reallocation falls into a measured run of the usual length */
	for (int what = 0; what < WHAT_COUNT && !ret; what++)
		ret = wc_samples_reserve(&tally->samples[WARM][what], expected);
	sigaction(SIGINT, &action, NULL);
	if (!ret)
		ret = run(cli, options, target, tally, &last);
	ret = finish(cli, options, target, tally, &last, ret);
	for (int warmth = 0; warmth < WARMTH_COUNT; warmth++)
		for (int what = 0; what < WHAT_COUNT; what++)
			wc_samples_clear(&tally->samples[warmth][what]);
	free(tally);
	return ret;
}
