// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report.c - the report of a study: what was asked, what came of it, how sure that is, on which machine, and how to repeat it. */
#include "tools/study/doc.h"
#include "tools/study/output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLUMNS_MAX 16u
#define FIGURES_MAX 8u /* metrics of a table */

/* A figure for people: four digits, "-" when there is none, "never" when it is infinite. */
static void report_number(double value, char text[24])
{
	if (isnan(value))
		snprintf(text, 24, "-");
	else if (isinf(value))
		snprintf(text, 24, "never");
	else if (fabs(value) >= 1000)
		snprintf(text, 24, "%.0f", value);
	else
		snprintf(text, 24, "%.*f", fabs(value) >= 100 ? 1 : fabs(value) >= 10 || value == 0 ? 2 : 3, value);
}

static void interval_text(const struct stats_interval *interval, char *text, size_t size)
{
	char median[24], low[24], high[24];

	report_number(interval->median, median);
	report_number(interval->low, low);
	report_number(interval->high, high);
	if (!interval->count || (interval->low == interval->high && interval->low == interval->median))
		snprintf(text, size, "%s", median);
	else
		snprintf(text, size, "%s (%s to %s)", median, low, high);
}

/* --- which metrics a table has: those that claims and plots are about, and the usual ones --- */

static uint32_t figures_of(const struct report_facts *facts, uint32_t part, enum metric *ret)
{
	static const enum metric usual[] = { METRIC_latency_p50_us, METRIC_latency_p99_us, METRIC_slowdown_p99,
					     METRIC_cold_percent, METRIC_unserved_percent };
	bool wanted[METRIC_COUNT] = { false };
	uint32_t count = 0;

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		wanted[usual[i]] = true;
	for (uint32_t i = 0; i < facts->study->claims_count; i++) {
		wanted[facts->study->claims[i].left.metric] = true;
		if (!facts->study->claims[i].right.constant)
			wanted[facts->study->claims[i].right.metric] = true;
	}
	for (uint32_t i = 0; i < facts->study->plots_count; i++)
		wanted[facts->study->plots[i].y] = true;
	for (unsigned m = 0; m < METRIC_COUNT && count < FIGURES_MAX; m++)
		if (wanted[m] && results_has(facts->results, facts->study, part, (enum metric)m))
			ret[count++] = (enum metric)m;
	return count;
}

static void put_part(struct doc *doc, const struct report_facts *facts, uint32_t p)
{
	const struct study_part *part = &facts->study->parts[p];
	const char *columns[COLUMNS_MAX];
	enum metric figures[FIGURES_MAX];
	uint32_t count = figures_of(facts, p, figures), at = 0;
	char titles[FIGURES_MAX][64], text[96];

	doc_heading(doc, 3, part->name);
	if (part->note)
		doc_text(doc, "%s", part->note);
	for (uint32_t i = 0; i < part->settings.count; i++)
		if (i == 0)
			doc_list_begin(doc);
	for (uint32_t i = 0; i < part->settings.count; i++)
		doc_item(doc, "%s: %s", part->settings.list[i].name, part->settings.list[i].value);
	if (part->settings.count)
		doc_list_end(doc);
	for (uint32_t a = 0; a < part->axes_count; a++)
		columns[at++] = part->axes[a].name;
	for (uint32_t i = 0; i < count; i++) {
		snprintf(titles[i], sizeof(titles[i]), "%s", metric_names[figures[i]]);
		columns[at++] = titles[i];
	}
	if (!count) {
		doc_text(doc, "Nothing was measured yet.");
		return;
	}
	doc_table_begin(doc, columns, at);
	for (uint32_t c = part->first_cell; c < part->first_cell + part->cells; c++) {
		for (uint32_t a = 0; a < part->axes_count; a++)
			doc_cell(doc, a, "%s", part->axes[a].choices[facts->study->cells[c].choice[a]].label);
		for (uint32_t i = 0; i < count; i++) {
			struct stats_interval interval;

			results_interval(facts->results, c, figures[i], &interval);
			interval_text(&interval, text, sizeof(text));
			doc_cell(doc, part->axes_count + i, "%s", text);
		}
	}
	doc_table_end(doc);
}

/* --- claims --- */

static void put_claims(struct doc *doc, const struct report_facts *facts, struct claim_point *points)
{
	static const char *const columns[] = { "claim", "verdict", "points that hold, do not, are open" };

	doc_heading(doc, 2, "What came of it");
	if (!facts->study->claims_count) {
		doc_text(doc, "This study claims nothing; its figures are below.");
		return;
	}
	doc_table_begin(doc, columns, 3);
	for (uint32_t i = 0; i < facts->study->claims_count; i++) {
		uint32_t count, counts[3] = { 0 };
		enum verdict verdict =
			claim_judge(facts->study, &facts->study->claims[i], facts->results, points, &count);

		for (uint32_t k = 0; k < count; k++)
			counts[points[k].verdict]++;
		doc_cell(doc, 0, "%s", facts->study->claims[i].text);
		doc_cell(doc, 1, "%s", verdict_texts[verdict]);
		doc_cell(doc, 2, "%u, %u, %u", counts[VERDICT_HOLDS], counts[VERDICT_FAILS], counts[VERDICT_OPEN]);
	}
	doc_table_end(doc);
	if (results_lost_percent(facts->results) > RESULTS_BUSY)
		doc_text(
			doc,
			"THE MACHINE WAS BUSY: a thread was kept from its CPU for %.0f %% of the time (median, see below). What is said of real nodes is "
			"said of them beside whatever else ran; repeat it on a quiet machine. Simulated parts are not touched by this.",
			results_lost_percent(facts->results));
	doc_text(
		doc,
		"Verdicts are computed from the figures below, not written by anybody: a claim holds when it does at every point of "
		"the matrix that it is about, does not hold when the figures contradict it at one, and is undecided otherwise.");
}

static void put_points(struct doc *doc, const struct report_facts *facts, struct claim_point *points)
{
	static const char *const columns[] = { "cell", "left side", "right side", "left - right", "verdict" };
	char label[STUDY_LABEL_MAX], left[96], right[96], difference[96];

	if (facts->study->claims_count)
		doc_heading(doc, 2, "The claims, point by point");
	for (uint32_t i = 0; i < facts->study->claims_count; i++) {
		uint32_t count;

		claim_judge(facts->study, &facts->study->claims[i], facts->results, points, &count);
		doc_text(doc, "%s:", facts->study->claims[i].text);
		doc_code(doc, facts->study->claims[i].that);
		doc_table_begin(doc, columns, 5);
		for (uint32_t k = 0; k < count; k++) {
			study_label(facts->study, points[k].left, label, sizeof(label));
			interval_text(&points[k].a, left, sizeof(left));
			interval_text(&points[k].b, right, sizeof(right));
			interval_text(&points[k].difference, difference, sizeof(difference));
			doc_cell(doc, 0, "%s", label);
			doc_cell(doc, 1, "%s", left);
			doc_cell(doc, 2, "%s", right);
			doc_cell(doc, 3, "%s", difference);
			doc_cell(doc, 4, "%s", verdict_texts[points[k].verdict]);
		}
		doc_table_end(doc);
	}
}

/* --- how it was measured --- */

static void put_method(struct doc *doc, const struct report_facts *facts)
{
	const struct study *study = facts->study;
	double coverage;
	uint32_t not_kept_up, done = results_done(facts->results, &not_kept_up);
	uint32_t all = facts->results->cells * facts->results->repetitions;

	stats_rank(study->repetitions, &coverage);
	doc_heading(doc, 2, "How it was measured");
	doc_list_begin(doc);
	doc_item(
		doc,
		"%u of %u runs: %u cells, each once in each of %u repetitions. A repetition is a block that has all cells, floors "
		"too, in an order that is shuffled by the seed, so that what drifts does not fall on the same cells.",
		done, all, study->cells_count, study->repetitions);
	doc_item(
		doc,
		"All cells of a repetition have the same seed of their load, which follows from the seed of the study (%llu).",
		(unsigned long long)study->seed);
	doc_item(
		doc,
		"Figures are the median of the repetitions and, in brackets, an interval that has the true median with a probability of "
		"%.1f %% (order statistics and the binomial distribution; no assumption about how figures are distributed)%s. Claims "
		"are judged by the differences of pairs, a repetition each.",
		coverage * 100,
		coverage < STATS_CONFIDENCE ? ": too few repetitions for 95 %, so no claim is decided" : "");
	doc_item(
		doc,
		"Calls that were refused, failed or not answered count as slower than all others in quantiles of latency and slowdown; "
		"\"never\" is the latency of one of these.");
	if (not_kept_up)
		doc_item(
			doc,
			"In %u runs the load was not what was asked for (less than 99 %% of the rate, or more than 1 %% of the calls "
			"sent late): see results.csv, kept_up.",
			not_kept_up);
	for (uint32_t p = 0; p < study->parts_count; p++) {
		const struct run *run = results_run(facts->results, study->parts[p].first_cell, 0);

		if (run->done)
			doc_item(doc, "%s ran as: %s.", study->parts[p].name, run->facts);
	}
	doc_list_end(doc);
}

static void put_noise(struct doc *doc, const struct report_facts *facts)
{
	static const char *const columns[] = { "before the runs", "median", "90 %", "largest" };
	static const char *const rows[] = { "lateness of a spinning thread, p99, us", "the same, largest, us",
					    "time lost in gaps over 10 us, %",
					    "time taken by the hypervisor during runs, %" };
	size_t all = (size_t)facts->results->cells * facts->results->repetitions;
	double *values = calloc(all, sizeof(*values));
	char text[3][24];

	doc_heading(doc, 2, "How quiet the machine was");
	doc_table_begin(doc, columns, values ? 4 : 0);
	for (unsigned row = 0; row < 4 && values; row++) {
		uint32_t count = 0;

		for (size_t i = 0; i < all; i++) {
			const struct run *run = &facts->results->runs[i];
			double of[] = { run->noise.p99_us, run->noise.max_us, run->noise.lost_percent,
					run->steal_percent };

			if (run->done && run->noise.samples && !isnan(of[row]))
				values[count++] = of[row];
		}
		stats_sort(values, count);
		report_number(stats_quantile(values, count, 0.5), text[0]);
		report_number(stats_quantile(values, count, 0.9), text[1]);
		report_number(stats_quantile(values, count, 1), text[2]);
		doc_cell(doc, 0, "%s", rows[row]);
		for (uint32_t i = 0; i < 3; i++)
			doc_cell(doc, i + 1, "%s", text[i]);
	}
	doc_table_end(doc);
	doc_text(
		doc,
		"A thread that spins towards deadlines a millisecond apart, for %u ms before each run: whatever keeps it from its CPU "
		"keeps agents and functions from theirs. Tails shorter than its lateness are the machine's, not the node's.",
		NOISE_SAMPLES);
	free(values);
}

static void put_environment(struct doc *doc, const struct report_facts *facts)
{
	static const char *const columns[] = { "what", "" };
	const json_t *list = facts->folder->environments, *value, *inner;
	json_t *last = json_array_get(list, json_array_size(list) ? json_array_size(list) - 1 : 0);
	const char *key, *name;

	doc_heading(doc, 2, "The machine");
	doc_table_begin(doc, columns, 2);
	json_object_foreach (last, key, value) {
		if (json_is_string(value)) {
			doc_cell(doc, 0, "%s", key);
			doc_cell(doc, 1, "%s", json_string_value(value));
			continue;
		}
		json_object_foreach ((json_t *)value, name, inner) {
			doc_cell(doc, 0, "mitigation: %s", name);
			doc_cell(doc, 1, "%s", json_string_value(inner) ?: "?");
		}
	}
	doc_table_end(doc);
	if (json_array_size(list) > 1)
		doc_text(doc, "It was interrupted and gone on with %zu times, on the same machine.",
			 json_array_size(list) - 1);
}

static void put_limits(struct doc *doc, const struct report_facts *facts)
{
	doc_heading(doc, 2, "What these numbers do not show");
	doc_list_begin(doc);
	for (uint32_t i = 0; i < facts->study->limits_count; i++)
		doc_item(doc, "%s", facts->study->limits[i]);
	doc_item(
		doc,
		"They are of one machine, at one time. A claim that is undecided is not a claim that is wrong; one that holds, holds here.");
	doc_item(
		doc,
		"Each point of a claim is judged for itself at 95 %%: of many points that are all equal in truth, some will seem not to be.");
	doc_list_end(doc);
}

static void put_figures(struct doc *doc, const struct report_facts *facts)
{
	char name[32], path[FOLDER_PATH_MAX + 64], caption[512];

	doc_heading(doc, 2, "Plots");
	if (facts->no_gnuplot)
		doc_text(
			doc,
			"There are no plots because gnuplot is not installed (Debian: apt-get install gnuplot-nox). Install it and run "
			"the study again with --resume: nothing is measured twice.");
	for (uint32_t i = 0; i < facts->study->plots_count; i++) {
		plot_name(i, "svg", name);
		snprintf(path, sizeof(path), "%s/%s", facts->folder->path, name);
		if (access(path, R_OK))
			continue;
		snprintf(caption, sizeof(caption),
			 "%s. %s: %s. Points are medians of %u repetitions, whiskers the interval.",
			 facts->study->plots[i].title, metric_names[facts->study->plots[i].y],
			 metric_texts[facts->study->plots[i].y], facts->study->repetitions);
		doc_figure(doc, path, name, caption);
	}
}

static void put_repeat(struct doc *doc, const struct report_facts *facts)
{
	char text[FOLDER_PATH_MAX * 2 + 256];

	doc_heading(doc, 2, "Again");
	snprintf(text, sizeof(text), "warmcore study study.yaml --seed %llu --repetitions %u --output again",
		 (unsigned long long)facts->study->seed, facts->study->repetitions);
	doc_code(doc, text);
	doc_text(
		doc,
		"study.yaml is beside this file, results.csv has every run, summary.csv the medians, runs/ what each engine said, "
		"plots/ data and scripts. Another --seed makes other loads and another order.");
}

static int write_one(const struct report_facts *facts, const char *name, bool html, struct wc_fault *fault)
{
	const struct study *study = facts->study;
	struct claim_point *points = calloc(STUDY_CELLS_MAX, sizeof(*points));
	struct doc doc = { .file = points ? folder_create(facts->folder, name, fault) : NULL, .html = html };
	uint32_t not_kept_up, done = results_done(facts->results, &not_kept_up);

	if (!doc.file) {
		if (!points)
			wc_fail(fault, ENOMEM, "out of memory");
		free(points);
		return -EIO;
	}
	doc_begin(&doc, study->title);
	doc_text(&doc, "Study %s, seed %llu, %u repetitions%s.", study->name, (unsigned long long)study->seed,
		 study->repetitions,
		 done < facts->results->cells * facts->results->repetitions ? "; NOT COMPLETE: go on with --resume" :
									      "");
	doc_heading(&doc, 2, "The question");
	doc_text(&doc, "%s", study->question);
	doc_text(&doc, "Expected: %s (%s)", study->hypothesis, study->source);
	put_claims(&doc, facts, points);
	put_figures(&doc, facts);
	doc_heading(&doc, 2, "Figures");
	for (uint32_t p = 0; p < study->parts_count; p++)
		put_part(&doc, facts, p);
	put_points(&doc, facts, points);
	put_method(&doc, facts);
	put_limits(&doc, facts);
	put_noise(&doc, facts);
	put_environment(&doc, facts);
	put_repeat(&doc, facts);
	doc_end(&doc);
	free(points);
	return folder_commit(facts->folder, name, doc.file, fault);
}

int report_write(const struct report_facts *facts, struct wc_fault *fault)
{
	return write_one(facts, "report.md", false, fault) ?: write_one(facts, "report.html", true, fault);
}
