// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_trace.c - `warmcore trace`: where the time of invocations goes, stage by stage, and what held the slowest up. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/qualifier.h"
#include "tools/trace.h"
#include "user/clock.h"
#include "user/control_client.h"

#define STEP_MS 20 /* between two looks: rings hold at least that much of a busy core */
#define SETTLE_NS (2 * WC_SECOND)
#define SECONDS_MAX 86400.0
#define COUNT_MAX 100000000
#define SAMPLE_MAX 1000000
#define SLOWER_MAX_NS (3600 * WC_SECOND)
#define FUNCTIONS_SHOWN 64 /* as tables */
#define AROUND_NS WC_MS	   /* of events in the file, around an invocation */
#define TRACES_MAX 1024	   /* that are read in one look: it is often enough seen whether it is to end */
#define SWITCHES_KEPT 4096 /* CPUs of which the last switch is known, for --chrome */

static struct trace_options {
	const char *seconds, *slower, *sample, *csv, *chrome, *meanwhile;
	long long count, slowest;
} options;

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped++;
}

/* Seconds, 0: it is no number within the bounds. */
static double parse_seconds(const char *text)
{
	char *end;
	double value;

	if (!*text || strspn(text, "0123456789.") != strlen(text))
		return 0;
	value = strtod(text, &end);
	return !*end && value >= 0.1 && value <= SECONDS_MAX ? value : 0;
}

static const char *check_seconds(const char *value)
{
	return parse_seconds(value) > 0 ? NULL : "is not a number of seconds from 0.1 to 86400";
}

/* "1ms", "250us", "2s", "1.5ms" in ns; 0: it is none, or over an hour. */
static uint64_t parse_time(const char *text)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
	size_t digits = strspn(text, "0123456789.");
	double value;
	char *end;

	if (!digits || digits > 18)
		return 0;
	value = strtod(text, &end);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (end == text + digits && !strcmp(end, units[i].unit)) {
			value *= units[i].ns;
			return value >= 1 && value <= (double)SLOWER_MAX_NS ? (uint64_t)value : 0;
		}
	return 0;
}

static const char *check_time(const char *value)
{
	return parse_time(value) ? NULL : "is not a time like 250us, 1ms or 2s, of an hour at most";
}

/* "1/100" or "100"; 0: it is none. */
static uint32_t parse_sample(const char *text)
{
	long long value;

	if (!strncmp(text, "1/", 2))
		text += 2;
	return option_parse_integer(text, 1, SAMPLE_MAX, &value) ? 0 : (uint32_t)value;
}

static const char *check_sample(const char *value)
{
	return parse_sample(value) ? NULL : "is not a part like 1/100, down to 1/1000000";
}

static const struct option_spec specs[] = {
	{ .name = "for",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct trace_options, seconds),
	  .metavar = "SECONDS",
	  .fallback = "10",
	  .check = check_seconds,
	  .help = "For how long: 0.1 to 86400. SIGINT (Ctrl-C) and SIGTERM end it before, with its result; a second one also ends the reading of what is there." },
	{ .name = "count",
	  .letter = 'n',
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct trace_options, count),
	  .metavar = "N",
	  .min = 0,
	  .max = COUNT_MAX,
	  .fallback = "0",
	  .help = "End when N whole traces were read; 0: only after the time." },
	{ .name = "slower",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct trace_options, slower),
	  .metavar = "TIME",
	  .check = check_time,
	  .help = "Keep whole traces of invocations that took as long, and no others unless --sample is given, too: 250us, 1ms, 2s." },
	{ .name = "sample",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct trace_options, sample),
	  .metavar = "1/N",
	  .check = check_sample,
	  .help = "Keep whole traces of every N-th invocation of a core; 1/1, all, unless given. The table is of all invocations in any case." },
	{ .name = "slowest",
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct trace_options, slowest),
	  .metavar = "N",
	  .min = 0,
	  .max = TRACE_SLOWEST_MAX,
	  .fallback = "5",
	  .help = "How many of the slowest to show; with --meanwhile on with what their core did meanwhile." },
	{ .name = "meanwhile",
	  .type = OPTION_CHOICE,
	  .offset = offsetof(struct trace_options, meanwhile),
	  .metavar = "on|off",
	  .choices = "on|off",
	  .fallback = "off",
	  .help = "Watch what the CPUs of the worker cores do (switches, wake-ups, migrations, interrupts, page faults), and say it of the slowest. "
		  "On, a no-op takes some 12 % longer than without tracing, off some 5 %; docs/TRACE.md has what that is of." },
	{ .name = "csv",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct trace_options, csv),
	  .metavar = "FILE",
	  .help = "Write each whole trace as a row." },
	{ .name = "chrome",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct trace_options, chrome),
	  .metavar = "FILE",
	  .help = "Write whole traces, and with --meanwhile on what the CPUs did, in Chrome's trace format, for ui.perfetto.dev." },
	{ 0 },
};

/* Since when who has a CPU. */
struct last_switch {
	uint64_t ns;
	char comm[16];
};

/* Of a slot: who had it last. */
struct known_name {
	uint32_t id;
	char name[WC_LABEL_MAX];
};

/* One run. */
struct run {
	struct wc_trace_view *view;
	uint32_t function; /* id of the one that is asked for; 0: all */
	char function_name[WC_LABEL_MAX];
	struct known_name *names;    /* by slot */
	struct wc_stage_sum *before; /* by slot, at the beginning */
	struct trace_report report;
	struct trace_events events;
	FILE *csv, *chrome;
	const char *failed;	    /* the file that could not be written */
	struct last_switch *last;   /* by CPU */
	uint64_t from, to, written; /* what the traces lie in that were just read; up to where events are in the file */
};

/* --- names --- */

/*
 * The name that the histograms have; else what can be said. To look there copies much, so it is done once for a function: ids of a slot only grow,
 * and an older one's name is not there any more.
 */
static const char *name_of(const struct run *run, uint32_t id)
{
	static struct wc_stage_sum sum; /* large */
	static char unknown[32];
	uint32_t slot = WC_FUNCTION_SLOT(id);
	struct known_name *known;

	if (run->function)
		return run->function_name;
	if (slot && slot <= run->view->functions) {
		known = &run->names[slot];
		if (known->id < id && wc_trace_view_stages(run->view, slot, &sum)) {
			known->id = sum.id;
			memcpy(known->name, sum.name, sizeof(known->name));
		}
		if (known->id == id)
			return known->name;
	}
	snprintf(unknown, sizeof(unknown), "(function %u)", id);
	return unknown;
}

static int find_function(const struct cli *cli, const char *name, struct run *run)
{
	const json_t *function, *targets;
	const char *version;
	bool published;
	json_t *answer;
	int ret = cli_control(cli, qualifier_request("resolve", name), CLI_CONTROL_TIMEOUT_MS, &answer);

	if (ret)
		return ret;
	targets = json_object_get(answer, "targets"); /* a version, or the one or two of an alias */
	if (json_array_size(targets) > 1) {
		json_decref(answer);
		return cli_fail(cli, "%s is an alias of two versions: name one of them", name);
	}
	function = json_array_size(targets) ? json_array_get(targets, 0) : json_object_get(answer, "function");
	run->function = (uint32_t)cli_json_integer(function, "id");
	/* An alias names another version tomorrow, and may be longer than any label: it shows as the version that it is now. */
	version = cli_json_text(function, "version", "$LATEST");
	published = *version != '$';
	snprintf(run->function_name, sizeof(run->function_name), "%.*s%s%s", (int)strcspn(name, ":"), name,
		 published ? ":" : "", published ? version : "");
	json_decref(answer);
	return 0;
}

/* --- reading --- */

static int by_total(const void *a, const void *b)
{
	const struct trace_slow *left = a, *right = b;
	uint64_t left_ns = trace_stage_ns(&left->trace, WC_STAGE_TOTAL);
	uint64_t right_ns = trace_stage_ns(&right->trace, WC_STAGE_TOTAL);

	return left_ns > right_ns ? -1 : left_ns < right_ns;
}

/* Is it among the slowest? Then what happened meanwhile is looked up later, when its events were read. */
static void consider(struct run *run, const struct wc_trace *trace, const char *name)
{
	struct trace_report *report = &run->report;
	struct trace_slow *slow;

	if (!options.slowest)
		return;
	slow = &report->slowest[report->slow_count];
	if (report->slow_count == (size_t)options.slowest) {
		slow--;
		if (trace_stage_ns(trace, WC_STAGE_TOTAL) <= trace_stage_ns(&slow->trace, WC_STAGE_TOTAL))
			return;
	} else {
		report->slow_count++;
	}
	memset(slow, 0, sizeof(*slow));
	slow->trace = *trace;
	snprintf(slow->name, sizeof(slow->name), "%s", name);
	qsort(report->slowest, report->slow_count, sizeof(*slow), by_total);
}

static bool is_enough(const struct run *run)
{
	return run->failed || (options.count && run->report.traces >= (uint64_t)options.count);
}

static void take(struct run *run, const struct wc_trace *trace)
{
	struct trace_report *report = &run->report;
	const char *name = name_of(run, trace->function_id);

	report->traces++;
	run->from = run->to && run->from < trace->at[WC_POINT_received] ? run->from : trace->at[WC_POINT_received];
	run->to = run->to > trace->at[WC_POINT_sent] ? run->to : trace->at[WC_POINT_sent];
	report->received += !!(trace->flags & WC_TRACED_RECEIVED);
	report->sent += !!(trace->flags & WC_TRACED_SENT);
	report->instance += !!(trace->flags & WC_TRACED_INSTANCE);
	consider(run, trace, name);
	if (run->csv && !trace_csv_add(run->csv, trace, name))
		run->failed = options.csv;
	if (run->chrome && !trace_chrome_add(run->chrome, trace, name))
		run->failed = options.chrome;
}

/* False: a round is over, or it is enough. */
static bool read_traces(struct run *run)
{
	struct wc_trace trace;

	run->from = run->to = 0;
	for (int i = 0; i < TRACES_MAX; i++) {
		if (is_enough(run) || !wc_trace_view_next(run->view, &trace))
			return false;
		if (!run->function || trace.function_id == run->function)
			take(run, &trace);
	}
	return true;
}

static void read_events(struct run *run)
{
	uint64_t lost = run->view->events_lost;
	struct wc_event event;

	while (wc_trace_view_event(run->view, &event))
		if (!trace_events_add(&run->events, &event))
			trace_events_lost(&run->events, event.ns);
	if (run->view->events_lost != lost)
		trace_events_lost(&run->events, wc_now());
}

/* To the file: what the CPUs did around the whole traces that were just read, each event once. Of one CPU they are in order. */
static void write_events(struct run *run)
{
	uint64_t from = run->from > AROUND_NS ? run->from - AROUND_NS : 0, to = run->to + AROUND_NS;

	if (!run->chrome || !run->to)
		return;
	from = from > run->written ? from : run->written;
	memset(run->last, 0, SWITCHES_KEPT * sizeof(*run->last));
	for (size_t i = 0; i < run->events.count && !run->failed; i++) {
		const struct wc_event *event = &run->events.events[i];
		struct last_switch *last = &run->last[event->cpu % SWITCHES_KEPT];

		if (event->ns > from && event->ns <= to &&
		    !trace_chrome_event(run->chrome, event, last->ns, last->comm))
			run->failed = options.chrome;
		if (event->type != WC_EVENT_SWITCH)
			continue;
		last->ns = event->ns;
		memcpy(last->comm, event->comm, sizeof(event->comm));
		last->comm[sizeof(event->comm) - 1] = 0;
	}
	run->written = to > run->written ? to : run->written;
}

/* Those that are new among the slowest: their events are there now, and soon will not be. */
static void explain(struct run *run)
{
	for (size_t i = 0; i < run->report.slow_count; i++) {
		struct trace_slow *slow = &run->report.slowest[i];

		if (run->report.meanwhile && !slow->trace.sequence)
			continue; /* explained before */
		if (run->report.meanwhile)
			trace_meanwhile(&run->events, &slow->trace, &slow->meanwhile);
		slow->trace.sequence = 0;
	}
}

/* True: there are more traces of this round to be read. */
static bool look(struct run *run)
{
	bool more = read_traces(run);

	read_events(run); /* afterwards: a trace is written after everything that happened meanwhile */
	explain(run);
	write_events(run);
	return more;
}

/* --- the run --- */

/* Who has an answer expects its trace, and an agent writes that when the answer has left: at once, unless its CPU is another's just then. */
static void settle(struct run *run)
{
	uint64_t until = wc_now() + SETTLE_NS;
	struct pollfd daemon = { .fd = wc_trace_view_fd(run->view), .events = POLLIN | POLLRDHUP };

	while (!wc_trace_view_settled(run->view) && stopped < 2 && !run->report.ended && wc_now() < until)
		run->report.ended = poll(&daemon, 1, 1) > 0;
}

/* What was written until now: the rest of this round and the next one have it. Asked again to end, it ends, and says what it has not read. */
static void finish(struct run *run, bool more)
{
	if (!is_enough(run))
		settle(run);
	for (int rounds = more ? 2 : 1; rounds && stopped < 2 && !is_enough(run);)
		rounds -= !look(run);
	if (!is_enough(run) && stopped >= 2)
		wc_trace_view_skip(run->view);
}

static void follow(struct run *run, double seconds)
{
	struct pollfd daemon = { .fd = wc_trace_view_fd(run->view), .events = POLLIN | POLLRDHUP };
	uint64_t begin = wc_now(), end = begin + (uint64_t)(seconds * 1e9), now = begin;
	bool more = false;

	while (!stopped && now < end && !run->report.ended && !is_enough(run)) {
		uint64_t left = (end - now) / WC_MS + 1;

		run->report.ended = poll(&daemon, 1, more ? 0 : left < STEP_MS ? (int)left : STEP_MS) > 0;
		more = look(run);
		now = wc_now();
	}
	finish(run, more);
	run->report.seconds = (double)(now - begin) / 1e9;
}

static int by_count(const void *a, const void *b)
{
	const struct wc_stage_sum *left = a, *right = b;

	return left->count > right->count ? -1 : left->count < right->count;
}

/* What ran meanwhile, by function. */
static void sum_up(struct run *run)
{
	struct trace_report *report = &run->report;

	for (uint32_t slot = 0; slot <= run->view->functions; slot++) {
		struct wc_stage_sum *sum = &report->functions[report->function_count];

		if (!wc_trace_view_stages(run->view, slot, sum))
			continue;
		wc_stage_sum_since(sum, &run->before[slot]);
		if (!slot) {
			snprintf(sum->name, sizeof(sum->name), "(other)");
			sum->id = 0;
		}
		if (sum->count && (!run->function || (slot && sum->id == run->function)))
			report->function_count++;
	}
	qsort(report->functions, report->function_count, sizeof(*report->functions), by_count);
	if (report->function_count > FUNCTIONS_SHOWN)
		report->function_count = FUNCTIONS_SHOWN;
	report->lost = run->view->lost;
	report->events_lost = run->view->events_lost;
}

static bool prepare(struct run *run)
{
	uint32_t slots = run->view->functions + 1;

	run->names = calloc(slots, sizeof(*run->names));
	run->before = calloc(slots, sizeof(*run->before));
	run->report.functions = calloc(slots, sizeof(*run->report.functions));
	run->report.slowest = calloc((size_t)options.slowest + 1, sizeof(*run->report.slowest));
	run->last = calloc(SWITCHES_KEPT, sizeof(*run->last));
	if (!run->names || !run->before || !run->report.functions || !run->report.slowest || !run->last)
		return false;
	for (uint32_t slot = 0; slot < slots; slot++)
		wc_trace_view_stages(run->view, slot, &run->before[slot]);
	run->report.kernel_datapath = run->view->kernel_datapath;
	run->report.faults = run->view->faults;
	return true;
}

static void free_run(struct run *run)
{
	wc_trace_view_close(run->view);
	trace_events_free(&run->events);
	free(run->names);
	free(run->before);
	free(run->report.functions);
	free(run->report.slowest);
	free(run->last);
}

/* Whole only when it is closed without an error. */
static void close_files(struct run *run)
{
	if (run->chrome && !run->failed && !trace_chrome_end(run->chrome))
		run->failed = options.chrome;
	if (run->csv && fclose(run->csv) && !run->failed)
		run->failed = options.csv;
	if (run->chrome && fclose(run->chrome) && !run->failed)
		run->failed = options.chrome;
}

static int trace(struct cli *cli, struct run *run, const struct wc_trace_wish *wish)
{
	struct wc_fault fault;

	if (options.csv && !(run->csv = fopen(options.csv, "we")))
		return cli_fail(cli, "cannot write %s: %s", options.csv, strerror(errno));
	if (options.chrome && !(run->chrome = fopen(options.chrome, "we")))
		return cli_fail(cli, "cannot write %s: %s", options.chrome, strerror(errno));
	if ((run->csv && !trace_csv_begin(run->csv)) || (run->chrome && !trace_chrome_begin(run->chrome, cli->node)))
		return cli_fail(cli, "cannot write %s: %s", run->csv ? options.csv : options.chrome, strerror(errno));
	if (wc_trace_view_open(&run->view, cli->node, wish, &fault))
		return cli_fail(cli, "%s", fault.text);
	if (!prepare(run))
		return cli_fail(cli, "out of memory");
	fprintf(stderr, "tracing for %s s; Ctrl-C ends it before\n",
		options.seconds); /* from here on nothing is missed */
	follow(run, parse_seconds(options.seconds));
	sum_up(run);
	return CLI_OK;
}

static int run_trace(struct cli *cli, int argc, char **argv)
{
	struct wc_trace_wish wish = {
		.sample = options.sample ? parse_sample(options.sample) :
			  options.slower ? 0 :
					   1,
		.slower_ns = options.slower ? parse_time(options.slower) : 0,
		.meanwhile = !strcmp(options.meanwhile, "on"),
	};
	struct sigaction action = { .sa_handler = stop };
	struct run run = { .report = { .node = cli->node, .meanwhile = wish.meanwhile } };
	int status = argc ? find_function(cli, argv[0], &run) : 0;

	if (status)
		return status;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	status = trace(cli, &run, &wish);
	close_files(&run);
	if (!status && run.failed)
		status = cli_fail(cli, "cannot write %s: %s", run.failed, strerror(errno));
	if (!status && cli->json) {
		json_t *report = trace_json(&run.report);

		cli_print_json(report);
		json_decref(report);
	} else if (!status) {
		trace_print(&run.report, stdout);
	}
	free_run(&run);
	return status;
}

const struct command cmd_trace = {
	.name = "trace",
	.options = &options,
	.run = run_trace,
	.positional_max = 1,
	.help = {
		.summary = "where the time of invocations goes, and what held the slowest up",
		.synopsis = "[NAME[:QUALIFIER]] [OPTIONS]",
		.description =
			"Times the stages of every invocation of a node, or of one function or published version, on one clock: from the device that sent it to the XDP program, to "
			"the core's agent, to the instance, the function, and back. Stages share their borders, so they add up. Shows their percentiles, and of "
			"the slowest whole traces each stage, and with --meanwhile on what the CPU did meanwhile: time that a thread was ready and another one "
			"ran, softirqs, interrupts, migrations, page faults, and who ran. docs/TRACE.md has what each is, and what it costs.\n\n"
			"The daemon traces while this runs, unless `--trace on` of up and set has it trace anyway. However this ends, also by SIGKILL, nothing "
			"stays. Needs root.",
		.options = specs,
		.examples = "  warmcore trace --for 5\n"
			    "  warmcore trace checkout --meanwhile on --slower 1ms --slowest 20\n"
			    "  warmcore trace --count 1000 --csv stages.csv --chrome trace.json # ui.perfetto.dev",
	},
};
