/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bench.c - see bench.h. */
#include "tests/bench/bench.h"

#include "user/quantile.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUICK_ROUNDS 5
#define QUICK_BLOCK 300

static volatile sig_atomic_t interrupted;

void bench_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
}

static void on_signal(int signo)
{
	(void)signo;
	interrupted = 1;
}

void bench_catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal }; /* no SA_RESTART: what blocks shall return */

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool bench_interrupted(void)
{
	return interrupted;
}

static int parse_count(const char *text, unsigned max, unsigned *ret_count)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !value || value > max)
		return -EINVAL;
	*ret_count = (unsigned)value;
	return 0;
}

int bench_parse(struct bench_options *options, int argc, char **argv)
{
	static const struct option table[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "block", required_argument, NULL, 'b' },
		{ "quick", no_argument, NULL, 'q' },
		{ "only", required_argument, NULL, 'o' },
		{ "mode", required_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option, error = 0;

	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (option) {
		case 'r':
			error |= parse_count(optarg, BENCH_ROUNDS_MAX, &options->rounds);
			break;
		case 'b':
			error |= parse_count(optarg, 1000000, &options->block);
			break;
		case 'q':
			options->rounds = QUICK_ROUNDS;
			options->block = options->quick_block ? options->quick_block : QUICK_BLOCK;
			break;
		case 'o':
			options->only = optarg;
			break;
		case 'm':
			options->mode = optarg;
			break;
		default:
			error = option == 'h' ? 1 : -EINVAL;
		}
		if (error)
			break;
	}
	if (!error && optind < argc)
		options->output = argv[optind++];
	if (!error && optind == argc)
		return 0;
	fprintf(error == 1 ? stdout : stderr,
		"Usage: %s [OUTPUT.jsonl] [--rounds N] [--block N] [--quick] [--only TEXT] [--mode TEXT]\n",
		program_invocation_short_name);
	return error == 1 ? 1 : 3;
}

int bench_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

unsigned bench_cpus(int *ret_cpus, unsigned max)
{
	unsigned count = 0;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 0;
	for (int cpu = 0; cpu < CPU_SETSIZE && count < max; cpu++)
		if (CPU_ISSET((size_t)cpu, &set))
			ret_cpus[count++] = cpu;
	return count;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_quantile(double *values, unsigned count, unsigned per_mille)
{
	unsigned long rank = ((unsigned long)count * per_mille + 999) / 1000;

	if (!count)
		return 0;
	qsort(values, count, sizeof(*values), by_value);
	return values[rank ? rank - 1 : 0];
}

/* --- measuring --- */

static int visit(struct bench_subject *subject, unsigned round, unsigned count, uint64_t *ns)
{
	struct wc_samples samples = { .values = (__u64 *)ns, .count = count, .capacity = count };
	int error;

	if (subject->mean) {
		error = subject->mean(subject, count, &subject->p50[round]);
		subject->p99[round] = subject->p50[round];
		return error;
	}
	error = subject->block(subject, count, ns);
	if (error)
		return error;
	subject->p50[round] = (double)wc_samples_quantile(&samples, WC_QUANTILE_P50) / 1000;
	subject->p99[round] = (double)wc_samples_quantile(&samples, WC_QUANTILE_P99) / 1000;
	return 0;
}

int bench_measure(const struct bench_options *options, struct bench_subject **subjects, unsigned count)
{
	uint64_t *ns = calloc(options->block, sizeof(*ns));
	int error = 0;

	if (!ns)
		return -ENOMEM;
	for (unsigned i = 0; i < count && !error; i++)
		error = visit(subjects[i], 0, options->block, ns);
	for (unsigned round = 0; round < options->rounds && !error; round++) {
		for (unsigned i = 0; i < count && !error; i++)
			error = visit(subjects[(i + round) % count], round, options->block, ns);
		if (!error && bench_interrupted())
			error = -EINTR;
	}
	free(ns);
	return error;
}

/* --- reporting --- */

struct figure {
	double p50, p99, floor, floor_p99, ratio, lowest, highest, spread;
};

static double median_of(const double *values, unsigned count)
{
	double copy[BENCH_ROUNDS_MAX] = { 0 };

	memcpy(copy, values, count * sizeof(*copy));
	return bench_quantile(copy, count, 500);
}

static void compute(const struct bench_subject *subject, const struct bench_subject *floor, unsigned rounds,
		    struct figure *figure)
{
	double ratios[BENCH_ROUNDS_MAX] = { 0 };

	for (unsigned i = 0; i < rounds; i++)
		ratios[i] = subject->p50[i] / floor->p50[i];
	figure->p50 = median_of(subject->p50, rounds);
	figure->p99 = median_of(subject->p99, rounds);
	figure->floor = median_of(floor->p50, rounds);
	figure->floor_p99 = median_of(floor->p99, rounds);
	figure->ratio = bench_quantile(ratios, rounds, 500);
	figure->lowest = ratios[0];
	figure->highest = ratios[rounds - 1];
	figure->spread = bench_quantile(ratios, rounds, 750) - bench_quantile(ratios, rounds, 250);
}

static int append(const char *path, const struct bench_subject *subject, const struct figure *figure, unsigned rounds,
		  const struct bench_facts *facts)
{
	FILE *file = fopen(path, "ae");
	int failed;

	if (!file)
		goto fail;
	fprintf(file,
		"{\"name\":\"%s%s\",\"value\":%.3f,\"unit\":\"%s\",\"floor\":%.3f,\"ratio\":%.4f,\"runs\":%u,"
		"\"spread\":%.4f,\"ratio_min\":%.4f,\"ratio_max\":%.4f",
		subject->name, subject->mean ? "" : "_p50", figure->p50, subject->mean ? "ns" : "us", figure->floor,
		figure->ratio, rounds, figure->spread, figure->lowest, figure->highest);
	if (!subject->mean)
		fprintf(file, ",\"p99\":%.3f,\"floor_p99\":%.3f", figure->p99, figure->floor_p99);
	fprintf(file, "%s%s}\n", facts->text[0] ? "," : "", facts->text);
	failed = ferror(file);
	if (!fclose(file) && !failed)
		return 0;
fail:
	bench_say("cannot write %s: %s", path, strerror(errno));
	return -EIO;
}

/* One line of the table; the floor has no ratio. */
static void show(const struct bench_subject *subject, const struct figure *figure, bool is_floor)
{
	printf("  %-44s %8.1f ", subject->text, figure->p50);
	if (!subject->mean)
		printf("%8.1f ", figure->p99);
	if (!is_floor)
		printf("%8.3f %8.3f   %.2f..%.2f", figure->ratio, figure->spread, figure->lowest, figure->highest);
	printf("\n");
}

int bench_report(const struct bench_options *options, struct bench_subject **subjects, unsigned count,
		 const char *title, const struct bench_facts *facts)
{
	bool mean = subjects[0]->mean;
	int error = 0;

	printf("\n%s, %u rounds of %u, %s\n", title, options->rounds, options->block, mean ? "ns" : "us");
	printf("  %-44s %8s %s%8s %8s   %s\n", "", mean ? "mean" : "p50", mean ? "" : "     p99 ", "x floor", "spread",
	       "lowest..highest");
	for (unsigned i = 0; i < count && !error; i++) {
		struct figure figure;

		compute(subjects[i], subjects[0], options->rounds, &figure);
		show(subjects[i], &figure, !i);
		if (i && options->output)
			error = append(options->output, subjects[i], &figure, options->rounds,
				       subjects[i]->facts ?: facts);
	}
	fflush(stdout);
	return error;
}
