// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* trace_print.c - what `warmcore trace` found, as tables for people and as one JSON object. */
#include <inttypes.h>
#include <string.h>

#include "tools/printable.h"
#include "tools/table.h"
#include "tools/trace.h"

const char *const trace_stage_names[WC_STAGE_ROWS] = {
#define NAME(name, text) #name,
	WC_STAGES(NAME)
#undef NAME
		"total",
};

const char *const trace_point_names[WC_POINT_COUNT] = {
#define NAME(name, text) #name,
	WC_POINTS(NAME)
#undef NAME
};

static const struct {
	const char *name;
	uint32_t ppm;
} quantiles[] = {
	{ "p50", 500000 },
	{ "p90", 900000 },
	{ "p99", 990000 },
	{ "p99.9", 999000 },
};
#define QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

char *trace_time(uint64_t ns, char *out, size_t size)
{
	if (ns < 1000)
		snprintf(out, size, "%" PRIu64 " ns", ns);
	else if (ns < 1000000)
		snprintf(out, size, "%.*f us", ns < 100000 ? 2 : 1, (double)ns / 1e3);
	else if (ns < 1000000000)
		snprintf(out, size, "%.*f ms", ns < 100000000 ? 2 : 1, (double)ns / 1e6);
	else
		snprintf(out, size, "%.2f s", (double)ns / 1e9);
	return out;
}

static uint64_t sum_of(const uint64_t *values)
{
	uint64_t sum = 0;

	for (unsigned s = 0; s < WC_STAGE_COUNT; s++)
		sum += values[s];
	return sum;
}

/* --- text --- */

/* Of no samples there is no time. */
static const char *time_of(uint64_t samples, uint64_t ns, char *text, size_t size)
{
	return samples ? trace_time(ns, text, size) : "-";
}

static void print_stages(const struct wc_stage_sum *function, FILE *out)
{
	struct table *table = table_new("lrrrrrrrr");
	char text[32], name[WC_LABEL_MAX];
	uint64_t samples;

	fprintf(out, "\n%s: %" PRIu64 " invocations\n",
		printable(function->name, sizeof(function->name), name, sizeof(name)), function->count);
	table_cell(table, "stage");
	for (size_t q = 0; q < QUANTILES; q++)
		table_cell(table, "%s", quantiles[q].name);
	table_cell(table, "max");
	table_cell(table, "mean");
	table_cell(table, "part");
	table_cell(table, "incomplete");
	for (unsigned row = 0; row < WC_STAGE_ROWS; row++) {
		samples = wc_stage_samples(function, row);
		table_cell(table, "%s", trace_stage_names[row]);
		for (size_t q = 0; q < QUANTILES; q++)
			table_cell(table, "%s",
				   time_of(samples, wc_stage_quantile(function, row, quantiles[q].ppm), text,
					   sizeof(text)));
		table_cell(table, "%s", time_of(samples, function->max_ns[row], text, sizeof(text)));
		table_cell(table, "%s",
			   time_of(samples, samples ? function->sum_ns[row] / samples : 0, text, sizeof(text)));
		table_cell(table, "%.1f%%",
			   function->sum_ns[WC_STAGE_TOTAL] ?
				   100.0 * (double)function->sum_ns[row] / (double)function->sum_ns[WC_STAGE_TOTAL] :
				   0.0);
		table_cell(table, "%" PRIu64, function->incomplete[row]);
	}
	table_print(table, out, 2);
}

static void print_meanwhile(const struct trace_slow *slow, FILE *out)
{
	const struct trace_meanwhile *at = &slow->meanwhile;
	char text[32], name[32];
	unsigned most = 0;

	if (!at->known) {
		fputs("      meanwhile: not known, some events were lost\n", out);
		return;
	}
	for (unsigned s = 1; s < WC_STAGE_COUNT; s++)
		if (at->wait_ns[s] > at->wait_ns[most])
			most = s;
	fprintf(out, "      meanwhile: waited for the CPU %s", trace_time(sum_of(at->wait_ns), text, sizeof(text)));
	if (at->wait_ns[most])
		fprintf(out, ", most of it in %s", trace_stage_names[most]);
	fprintf(out, "; %u softirqs %s", at->softirqs, trace_time(sum_of(at->softirq_ns), text, sizeof(text)));
	fprintf(out, ", %u interrupts %s, %u switches, %u migrations, %u page faults\n", at->irqs,
		trace_time(sum_of(at->irq_ns), text, sizeof(text)), at->switches, at->migrations, at->faults);
	if (!at->others_ns)
		return;
	fprintf(out, "      CPU %u ran others for %s:", slow->trace.cpu, trace_time(at->others_ns, text, sizeof(text)));
	for (size_t i = 0; i < TRACE_OTHERS_MAX && at->others[i].tid; i++)
		fprintf(out, "%s %s/%u %s", i ? "," : "",
			printable(at->others[i].comm, sizeof(at->others[i].comm), name, sizeof(name)),
			at->others[i].tid, trace_time(at->others[i].ns, text, sizeof(text)));
	putc('\n', out);
}

static void print_slow(const struct trace_slow *slow, size_t rank, bool meanwhile, FILE *out)
{
	const struct wc_trace *trace = &slow->trace;
	char text[32], name[WC_LABEL_MAX];

	fprintf(out, "  %2zu. %s  %s  request %016" PRIx64 "  core %u%s%s%s\n      ", rank,
		trace_time(trace_stage_ns(trace, WC_STAGE_TOTAL), text, sizeof(text)),
		printable(slow->name, sizeof(slow->name), name, sizeof(name)), (uint64_t)trace->request_id, trace->core,
		trace->flags & WC_TRACED_COLD ? "  cold" : "", trace->how & WC_HOW_PENDED ? "  pended" : "",
		trace->flags & WC_TRACED_FAILED ? "  failed" : "");
	for (unsigned s = 0, any = 0; s < WC_STAGE_COUNT; s++)
		if (trace_stage_ns(trace, s))
			fprintf(out, "%s%s %s", any++ ? " | " : "", trace_stage_names[s],
				trace_time(trace_stage_ns(trace, s), text, sizeof(text)));
	putc('\n', out);
	if (meanwhile)
		print_meanwhile(slow, out);
}

/* What the first and the last point were, and what is missing. */
static void print_notes(const struct trace_report *report, FILE *out)
{
	if (report->traces) {
		fprintf(out,
			"\nOf %" PRIu64 " whole traces %" PRIu64 " begin where a device of this host sent the request",
			report->traces, report->received);
		fprintf(out,
			", the others %s;\n%" PRIu64
			" end at the client's device, the others where the answer was given to the kernel; "
			"in %" PRIu64 " the instance said when it began.\n",
			report->kernel_datapath ? "at the XDP program" :
						  "where the node's socket was read (this data path has no XDP)",
			report->sent, report->instance);
	}
	if (report->lost)
		fprintf(out,
			"%" PRIu64
			" whole traces were overwritten before they were read: --sample or --slower keeps fewer.\n",
			report->lost);
	if (report->events_lost)
		fprintf(out, "%" PRIu64 " events of the kernel were overwritten before they were read.\n",
			report->events_lost);
	if (report->meanwhile && !report->faults)
		fputs("Page faults: this kernel has no tracepoint for them.\n", out);
	if (report->ended)
		fputs("The daemon ended it: it stopped, or another one took over.\n", out);
}

void trace_print(const struct trace_report *report, FILE *out)
{
	fprintf(out, "node %s, %.1f s\n", report->node, report->seconds);
	if (!report->function_count)
		fputs("\nno invocation\n", out);
	for (size_t i = 0; i < report->function_count; i++)
		print_stages(&report->functions[i], out);
	if (report->slow_count)
		fputs("\nslowest\n", out);
	for (size_t i = 0; i < report->slow_count; i++)
		print_slow(&report->slowest[i], i + 1, report->meanwhile, out);
	if (report->slow_count && !report->meanwhile)
		fputs("  (--meanwhile on says what their core did meanwhile, and costs the node more)\n", out);
	print_notes(report, out);
}

/* --- JSON --- */

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *text_of(const char *any)
{
	json_t *valid = json_string(any);

	return valid ? valid : json_string("?");
}

static json_t *stages_json(const struct wc_stage_sum *function)
{
	json_t *stages = json_object();

	for (unsigned row = 0; row < WC_STAGE_ROWS; row++) {
		uint64_t samples = wc_stage_samples(function, row);
		json_t *stage = json_object();

		for (size_t q = 0; q < QUANTILES; q++)
			json_object_set_new(stage, quantiles[q].name,
					    samples ? number(wc_stage_quantile(function, row, quantiles[q].ppm)) :
						      json_null());
		json_object_set_new(stage, "max", samples ? number(function->max_ns[row]) : json_null());
		json_object_set_new(stage, "sum", number(function->sum_ns[row]));
		json_object_set_new(stage, "count", number(samples));
		json_object_set_new(stage, "incomplete", number(function->incomplete[row]));
		json_object_set_new(stages, trace_stage_names[row], stage);
	}
	return stages;
}

static json_t *by_stage(const uint64_t *values)
{
	json_t *object = json_object();

	for (unsigned s = 0; s < WC_STAGE_COUNT; s++)
		json_object_set_new(object, trace_stage_names[s], number(values[s]));
	return object;
}

static json_t *meanwhile_json(const struct trace_meanwhile *at)
{
	json_t *others = json_array();

	for (size_t i = 0; i < TRACE_OTHERS_MAX && at->others[i].tid; i++)
		json_array_append_new(others, json_pack("{s:i, s:i, s:o, s:o}", "tid", (int)at->others[i].tid, "pid",
							(int)at->others[i].pid, "comm", text_of(at->others[i].comm),
							"ns", number(at->others[i].ns)));
	return json_pack("{s:b, s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:o, s:o}", "known", at->known, "wait_ns",
			 by_stage(at->wait_ns), "softirq_ns", by_stage(at->softirq_ns), "irq_ns", by_stage(at->irq_ns),
			 "softirqs", (int)at->softirqs, "irqs", (int)at->irqs, "switches", (int)at->switches,
			 "migrations", (int)at->migrations, "page_faults", (int)at->faults, "others_ns",
			 number(at->others_ns), "others", others);
}

static json_t *slow_json(const struct trace_slow *slow, bool meanwhile)
{
	const struct wc_trace *trace = &slow->trace;
	uint64_t stages[WC_STAGE_COUNT];
	json_t *points = json_object(), *object;
	char id[24];

	for (unsigned p = 0; p < WC_POINT_COUNT; p++)
		json_object_set_new(points, trace_point_names[p], number(trace->at[p]));
	for (unsigned s = 0; s < WC_STAGE_COUNT; s++)
		stages[s] = trace_stage_ns(trace, s);
	snprintf(id, sizeof(id), "%016" PRIx64, (uint64_t)trace->request_id);
	object = json_pack("{s:o, s:s, s:i, s:i, s:o, s:o, s:o, s:b, s:b, s:b, s:b, s:b, s:b, s:i, s:i}", "function",
			   text_of(slow->name), "request", id, "core", trace->core, "cpu", trace->cpu, "total_ns",
			   number(trace_stage_ns(trace, WC_STAGE_TOTAL)), "stages_ns", by_stage(stages), "points",
			   points, "received_at_device", !!(trace->flags & WC_TRACED_RECEIVED), "sent_at_device",
			   !!(trace->flags & WC_TRACED_SENT), "instance_times", !!(trace->flags & WC_TRACED_INSTANCE),
			   "cold", !!(trace->flags & WC_TRACED_COLD), "failed", !!(trace->flags & WC_TRACED_FAILED),
			   "pended", !!(trace->how & WC_HOW_PENDED), "agent_tid", (int)trace->agent, "instance_pid",
			   (int)trace->pid);
	if (meanwhile)
		json_object_set_new(object, "meanwhile", meanwhile_json(&slow->meanwhile));
	return object;
}

json_t *trace_json(const struct trace_report *report)
{
	json_t *functions = json_array(), *slowest = json_array();

	for (size_t i = 0; i < report->function_count; i++)
		json_array_append_new(functions,
				      json_pack("{s:o, s:I, s:o, s:o}", "name", text_of(report->functions[i].name),
						"id", (json_int_t)report->functions[i].id, "count",
						number(report->functions[i].count), "stages_ns",
						stages_json(&report->functions[i])));
	for (size_t i = 0; i < report->slow_count; i++)
		json_array_append_new(slowest, slow_json(&report->slowest[i], report->meanwhile));
	return json_pack("{s:b, s:s, s:f, s:s, s:o, s:o, s:{s:o, s:o, s:o, s:o, s:o}, s:o, s:b, s:b}", "ok", 1, "node",
			 report->node, "seconds", report->seconds, "datapath",
			 report->kernel_datapath ? "kernel" : "user", "functions", functions, "slowest", slowest,
			 "traces", "read", number(report->traces), "lost", number(report->lost), "received_at_device",
			 number(report->received), "sent_at_device", number(report->sent), "instance_times",
			 number(report->instance), "events_lost", number(report->events_lost), "page_faults_seen",
			 report->faults, "ended_by_daemon", report->ended);
}
