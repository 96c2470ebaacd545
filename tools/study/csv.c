// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* csv.c - see output.h. Fields that a study's file has written are quoted as RFC 4180 says. */
#include "tools/study/output.h"

#include <math.h>
#include <string.h>

static void put_text(FILE *file, const char *text)
{
	if (!strpbrk(text, ",\"\n")) {
		fputs(text, file);
		return;
	}
	putc('"', file);
	for (; *text; text++) {
		if (*text == '"')
			putc('"', file);
		putc(*text, file);
	}
	putc('"', file);
}

/* Nothing where there is none; "inf" is read by R, pandas and gnuplot. */
static void put_number(FILE *file, double value)
{
	if (!isnan(value))
		fprintf(file, "%.6g", value);
}

/* The names of all axes of all parts, each once. */
static uint32_t all_axes(const struct study *study, const char **names)
{
	uint32_t count = 0;

	for (uint32_t p = 0; p < study->parts_count; p++)
		for (uint32_t a = 0; a < study->parts[p].axes_count; a++) {
			uint32_t i = 0;

			while (i < count && strcmp(names[i], study->parts[p].axes[a].name) != 0)
				i++;
			names[i] = study->parts[p].axes[a].name;
			count += i == count;
		}
	return count;
}

static void put_cell(FILE *file, const struct study *study, uint32_t cell, const char *const *axes, uint32_t axes_count)
{
	put_text(file, study->parts[study->cells[cell].part].name);
	for (uint32_t a = 0; a < axes_count; a++) {
		const struct study_choice *choice = study_choice_of(study, cell, axes[a]);

		putc(',', file);
		put_text(file, choice ? choice->label : "");
	}
}

static void put_runs(FILE *file, const struct study *study, const struct results *results, const char *const *axes,
		     uint32_t axes_count)
{
	fputs("part", file);
	for (uint32_t a = 0; a < axes_count; a++) {
		putc(',', file);
		put_text(file, axes[a]);
	}
	fputs(",repetition,seed,begun,seconds,kept_up,noise_p99_us,noise_max_us,noise_lost_percent,steal_percent",
	      file);
	for (unsigned m = 0; m < METRIC_COUNT; m++)
		fprintf(file, ",%s", metric_names[m]);
	putc('\n', file);
	for (uint32_t r = 0; r < results->repetitions; r++)
		for (uint32_t c = 0; c < results->cells; c++) {
			const struct run *run = results_run(results, c, r);

			if (!run->done)
				continue;
			put_cell(file, study, c, axes, axes_count);
			fprintf(file, ",%u,%llu,%s,%.3f,%d,", r, (unsigned long long)study_seed(study->seed, r),
				run->begun, run->seconds, run->kept_up);
			put_number(file, run->noise.samples ? run->noise.p99_us : NAN);
			putc(',', file);
			put_number(file, run->noise.samples ? run->noise.max_us : NAN);
			putc(',', file);
			put_number(file, run->noise.samples ? run->noise.lost_percent : NAN);
			putc(',', file);
			put_number(file, run->steal_percent);
			for (unsigned m = 0; m < METRIC_COUNT; m++) {
				putc(',', file);
				put_number(file, run->metrics[m]);
			}
			putc('\n', file);
		}
}

static void put_summary(FILE *file, const struct study *study, const struct results *results, const char *const *axes,
			uint32_t axes_count)
{
	fputs("part", file);
	for (uint32_t a = 0; a < axes_count; a++) {
		putc(',', file);
		put_text(file, axes[a]);
	}
	fputs(",metric,unit,repetitions,median,low,high,coverage\n", file);
	for (uint32_t c = 0; c < results->cells; c++)
		for (unsigned m = 0; m < METRIC_COUNT; m++) {
			struct stats_interval interval;

			results_interval(results, c, (enum metric)m, &interval);
			if (!interval.count)
				continue;
			put_cell(file, study, c, axes, axes_count);
			fprintf(file, ",%s,%s,%u,%.6g,%.6g,%.6g,%.4f\n", metric_names[m], metric_units[m],
				interval.count, interval.median, interval.low, interval.high, interval.coverage);
		}
}

int csv_write(const struct folder *folder, const struct study *study, const struct results *results,
	      struct wc_fault *fault)
{
	const char *axes[STUDY_PARTS_MAX * STUDY_AXES_MAX];
	uint32_t count = all_axes(study, axes);
	FILE *file = folder_create(folder, "results.csv", fault);
	int error;

	if (!file)
		return -EIO;
	put_runs(file, study, results, axes, count);
	error = folder_commit(folder, "results.csv", file, fault);
	if (error)
		return error;
	file = folder_create(folder, "summary.csv", fault);
	if (!file)
		return -EIO;
	put_summary(file, study, results, axes, count);
	return folder_commit(folder, "summary.csv", file, fault);
}
