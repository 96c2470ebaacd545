// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* top_table.c - a frame as text: the lines above the panes, and the rows of each pane. Terminal and pipe get the same. */
#include <math.h>
#include <string.h>

#include "bpf/policies.h"
#include "tools/printable.h"
#include "tools/table.h"
#include "tools/top.h"
#include "user/options.h"

#define NAME_BYTES (WC_LABEL_MAX + 1)

/* A number as short as it can be read; unknown ones are a dash. */
static const char *short_number(double value, char text[static 16])
{
	if (isnan(value))
		snprintf(text, 16, "-");
	else if (value >= 9999500)
		snprintf(text, 16, "%.1fM", value / 1e6);
	else if (value >= 99995)
		snprintf(text, 16, "%.1fk", value / 1e3);
	else if (value >= 99.95 || value == 0)
		snprintf(text, 16, "%.0f", value);
	else if (value >= 9.995)
		snprintf(text, 16, "%.1f", value);
	else
		snprintf(text, 16, "%.2f", value);
	return text;
}

static void cell_number(struct table *table, int width, double value)
{
	char text[16];

	table_cell(table, "%*s", width, short_number(value, text));
}

static void cell_percent(struct table *table, double part)
{
	if (isnan(part))
		table_cell(table, "%4s", "-");
	else
		table_cell(table, "%3.0f%%", part * 100);
}

/* Microseconds: "12.3 us", "4.5 ms". */
static void cell_time(struct table *table, double us)
{
	if (isnan(us))
		table_cell(table, "%8s", "-");
	else if (us < 9999.5)
		table_cell(table, us < 99.95 ? "%5.1f us" : "%5.0f us", us);
	else if (us < 9999500)
		table_cell(table, us < 99950 ? "%5.1f ms" : "%5.0f ms", us / 1e3);
	else
		table_cell(table, "%6.0f s", us / 1e6);
}

static void cells(struct table *table, const char *const *titles, const int *widths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		table_cell(table, "%*s", widths[i], titles[i]);
}

#define TITLES(table, titles, widths) cells(table, titles, widths, sizeof(titles) / sizeof(titles[0]))

static void print_cores(const struct top_frame *frame, size_t first, size_t end, FILE *out)
{
	static const char *const titles[] = { "core",	  "cpu", "shard",    "state",	"busy",
					      "claims/s", "for", "function", "warm for" };
	static const int widths[] = { 4, 4, 5, -7, 4, 8, 8, -16, -8 };
	static const char *const placed_titles[] = { "core",  "cpu",  "shard",	  "state", "busy",     "instance",
						     "agent", "host", "claims/s", "for",   "function", "warm for" };
	static const int placed_widths[] = { 4, 4, 5, -7, 4, 8, 5, 4, 8, 8, -16, -8 };
	bool placed = frame->now->placed;
	struct table *table = table_new(placed ? "rrrlrrrrrrll" : "rrrlrrrll");
	char text[NAME_BYTES];

	if (placed)
		TITLES(table, placed_titles, placed_widths);
	else
		TITLES(table, titles, widths);
	for (size_t i = first; i < end; i++) {
		const struct top_core *row = &frame->cores[i];
		char warm[WC_WARM_MAX * (NAME_BYTES + 1) + 1] = "";
		size_t at = 0;

		for (int w = 0; w < WC_WARM_MAX; w++) {
			const char *name = top_function_name(frame->now, row->entry->warm[w]);

			if (*name)
				at += (size_t)snprintf(warm + at, sizeof(warm) - at, "%s%s", at ? " " : "",
						       printable(name, WC_LABEL_MAX, text, sizeof(text)));
		}
		table_cell(table, "%u", row->core);
		table_cell(table, "%u", row->entry->cpu);
		if (row->entry->home >= WC_SHARDS_MAX)
			table_cell(table, "r%u", row->entry->home - WC_SHARDS_MAX);
		else
			table_cell(table, "%u", row->entry->home);
		table_cell(table, "%s", top_state_name(row->entry->state));
		cell_percent(table, row->busy);
		if (placed) {
			cell_percent(table, row->instances);
			cell_percent(table, row->daemon);
			cell_percent(table, row->host);
		}
		cell_number(table, 8, row->claims);
		cell_time(table, row->age_ns ? (double)row->age_ns / 1e3 : NAN);
		table_cell(table, "%s", printable(row->function, WC_LABEL_MAX, text, sizeof(text)));
		table_cell(table, "%s", warm);
	}
	table_print(table, out, 0);
}

static void print_functions(const struct top_frame *frame, size_t first, size_t end, FILE *out)
{
	static const char *const titles[] = { "rate/s",	 "wait",    "service", "load",	   "cpu",   "running",
					      "waiting", "warm on", "cold/s",  "errors/s", "total", "function" };
	static const int widths[] = { 7, 8, 8, 5, 5, 7, 7, 7, 6, 8, 8, -8 };
	struct table *table = table_new("rrrrrrrrrrrl");
	char text[NAME_BYTES];

	TITLES(table, titles, widths);
	for (size_t i = first; i < end; i++) {
		const struct top_function *row = &frame->functions[i];

		cell_number(table, 7, row->rate);
		cell_time(table, row->wait_us);
		cell_time(table, row->service_us);
		cell_number(table, 5, row->load);
		cell_number(table, 5, row->cpu);
		if (row->entry->running_max)
			table_cell(table, "%u/%u", row->running, row->entry->running_max);
		else
			table_cell(table, "%u", row->running);
		table_cell(table, "%u", row->entry->waiting);
		table_cell(table, "%u", row->warm);
		cell_number(table, 6, row->cold);
		cell_number(table, 8, row->errors);
		table_cell(table, "%llu", (unsigned long long)row->entry->invocations);
		table_cell(table, "%s", printable(row->entry->name, WC_LABEL_MAX, text, sizeof(text)));
	}
	table_print(table, out, 0);
}

static void print_shards(const struct top_frame *frame, size_t first, size_t end, FILE *out)
{
	static const char *const titles[] = { "shard", "cores", "free", "pending", "queued/s", "stolen/s", "" };
	static const int widths[] = { 5, 5, 5, 7, 8, 8, 0 };
	struct table *table = table_new("rrrrrrl");
	char text[NAME_BYTES];

	TITLES(table, titles, widths);
	for (size_t i = first; i < end; i++) {
		const struct top_shard *row = &frame->shards[i];

		if (row->owner)
			table_cell(table, "r%u", row->queue - WC_SHARDS_MAX);
		else
			table_cell(table, "%u", row->queue);
		table_cell(table, "%u", row->cores);
		table_cell(table, "%u", row->free);
		table_cell(table, "%llu", (unsigned long long)row->pending);
		cell_number(table, 8, row->pended);
		cell_number(table, 8, row->stolen);
		if (row->owner)
			table_cell(table, "reserved for %s", printable(row->owner, WC_LABEL_MAX, text, sizeof(text)));
		else
			table_cell(table, "%s", "");
	}
	table_print(table, out, 0);
}

void top_table_print(const struct top_frame *frame, enum top_pane pane, size_t first, size_t count, FILE *out)
{
	size_t rows = frame->rows[pane], end;

	first = first < rows ? first : rows;
	end = count < rows - first ? first + count : rows;
	if (pane == TOP_CORES)
		print_cores(frame, first, end, out);
	else if (pane == TOP_FUNCTIONS)
		print_functions(frame, first, end, out);
	else
		print_shards(frame, first, end, out);
}

void top_head_print(const struct top_frame *frame, const char *node, FILE *out)
{
	const struct top_sample *now = frame->now;
	char text[16];

	fprintf(out, "node %s  ", node);
	if (now->daemon)
		fprintf(out, "daemon %d", now->daemon);
	else if (now->config.up)
		fprintf(out,
			"NO DAEMON: it was killed. Invocations are answered NODE_DOWN; what is shown is what it left");
	else
		fprintf(out, "NO DAEMON: it begins or ends");
	fprintf(out, ", policy %s, threads placed by %s\n",
		now->config.policy < WC_POLICY_COUNT ? wc_policy_names[now->config.policy] : "?",
		now->placed ? "sched_ext" : "affinity");
	fprintf(out, "cores %u: ", now->core_count);
	for (uint32_t state = WC_CORE_FREE; state <= WC_CORE_PARKED; state++)
		fprintf(out, "%u %s, ", frame->states[state], top_state_name(state));
	if (frame->states[WC_CORE_OFFLINE])
		fprintf(out, "%u offline, ", frame->states[WC_CORE_OFFLINE]);
	if (isnan(frame->busy))
		fprintf(out, "busy -");
	else
		fprintf(out, "busy %.1f%%", frame->busy * 100);
	fprintf(out, "; pending %llu of %llu\n", (unsigned long long)frame->pending,
		(unsigned long long)frame->pending_max);
	fprintf(out, "a second:");
#define PRINT(name, title) fprintf(out, " %s %s,", short_number(frame->rate.name, text), title);
	TOP_RATES(PRINT)
#undef PRINT
	if (isnan(frame->seconds))
		fprintf(out, " over no time yet\n");
	else
		fprintf(out, " over %.1f s\n", frame->seconds);
}
