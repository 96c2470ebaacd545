// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_top.c - `warmcore top`: what the cores do now, live, from the node's maps. The screen is in top_screen.c; here is what scripts get. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/top.h"
#include "user/clock.h"
#include "user/control_client.h"

#define DELAY_MIN 0.1
#define DELAY_MAX 3600.0

static struct top_options {
	bool once, plain, reverse;
	long long count;
	const char *delay, *sort, *filter;
} options = { .count = -1 };

/* Seconds, 0: it is no number within the bounds. */
static double parse_delay(const char *text)
{
	char *end;
	double value;

	if (strspn(text, "0123456789.") != strlen(text))
		return 0;
	errno = 0;
	value = strtod(text, &end);
	return !*end && end != text && !errno && value >= DELAY_MIN && value <= DELAY_MAX ? value : 0;
}

static const char *check_delay(const char *value)
{
	return parse_delay(value) > 0 ? NULL : "is not a number of seconds from 0.1 to 3600";
}

static const char *check_filter(const char *value)
{
	return strlen(value) < TOP_FILTER_MAX ? NULL : "is longer than a name can be, 63 bytes";
}

/* The pane that a key belongs to, functions first: TOP_PANES, if it is none. "PANE:KEY" says which. */
static enum top_pane find_key(const char *text, const char **ret_key)
{
	static const enum top_pane panes[] = { TOP_FUNCTIONS, TOP_CORES, TOP_SHARDS };
	static const char *const names[] = { "functions:", "cores:", "shards:" };

	for (size_t p = 0; p < sizeof(panes) / sizeof(panes[0]); p++) {
		size_t length = strlen(names[p]);
		const char *key = !strncmp(text, names[p], length) ? text + length : strchr(text, ':') ? "" : text;

		for (const char *const *each = top_keys(panes[p]); *each; each++)
			if (!strcmp(*each, key)) {
				*ret_key = *each;
				return panes[p];
			}
	}
	return TOP_PANES;
}

static const char *check_sort(const char *value)
{
	const char *key;

	return find_key(value, &key) < TOP_PANES ?
		       NULL :
		       "is not a key: functions:rate, load, wait, service, cold, errors, running, waiting, warm, total, name; "
		       "cores:core, busy, rate, age, state, shard, function; shards:queue, pending, free, cores, stolen, queued";
}

static const struct option_spec specs[] = {
	{ .name = "once",
	  .letter = '1',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct top_options, once),
	  .help = "Print one frame as text, and end: the same as --plain --count 1. So it is where standard output is no "
		  "terminal, unless --count says more." },
	{ .name = "count",
	  .letter = 'n',
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct top_options, count),
	  .metavar = "N",
	  .min = 0,
	  .max = 1000000000,
	  .help = "End after N frames; 0: never." },
	{ .name = "delay",
	  .letter = 'd',
	  .type = OPTION_STRING,
	  .offset = offsetof(struct top_options, delay),
	  .metavar = "SECONDS",
	  .fallback = "1",
	  .check = check_delay,
	  .help = "Time between frames, over which rates are taken: 0.1 to 3600." },
	{ .name = "sort",
	  .letter = 's',
	  .type = OPTION_STRING,
	  .offset = offsetof(struct top_options, sort),
	  .metavar = "KEY",
	  .check = check_sort,
	  .help = "Order of the functions: rate (unless given), load, wait, service, cold, errors, running, waiting, warm, total, "
		  "name. Of the cores: core (unless given), busy, age, state, shard, function. Where both have it: cores:rate, "
		  "functions:rate. Of the shards: shards:pending, for example." },
	{ .name = "reverse",
	  .letter = 'r',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct top_options, reverse),
	  .help = "Turn the order of --sort round." },
	{ .name = "filter",
	  .letter = 'f',
	  .type = OPTION_STRING,
	  .offset = offsetof(struct top_options, filter),
	  .metavar = "TEXT",
	  .check = check_filter,
	  .help = "Only functions whose name contains TEXT, whatever its case, and cores that run one, are warm for one, or whose "
		  "state is called so." },
	{ .name = "plain",
	  .letter = 'b',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct top_options, plain),
	  .help = "Print frames one after the other as text, also on a terminal." },
	{ 0 },
};

static void print_frame(const struct cli *cli, const struct top_frame *frame)
{
	static const enum top_pane panes[] = { TOP_SHARDS, TOP_CORES, TOP_FUNCTIONS };

	if (cli->json) {
		json_t *object = top_json(frame, cli->node);

		/* ASCII only: no byte of it means anything to a terminal. */
		if (!object || json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII))
			fputs("null", stdout);
		putchar('\n');
		json_decref(object);
		return;
	}
	top_head_print(frame, cli->node, stdout);
	for (size_t p = 0; p < sizeof(panes) / sizeof(panes[0]); p++)
		if (frame->rows[panes[p]]) {
			putchar('\n');
			top_table_print(frame, panes[p], 0, SIZE_MAX, stdout);
		}
}

static void pause_until(uint64_t ns)
{
	struct timespec until = wc_timespec(ns);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static int run_plain(struct cli *cli, const struct top_order *order, double seconds, long long count)
{
	struct top_sample *samples[2];
	struct top_frame frame = { 0 };
	struct wc_fault fault;
	struct wc_view *view;
	uint64_t step = (uint64_t)(seconds * 1e9), next;
	int status = CLI_OK;

	if (wc_view_open(&view, cli->node, &fault))
		return cli_fail(cli, "%s", fault.text);
	samples[0] = top_sample_new(view);
	samples[1] = top_sample_new(view);
	top_sample_take(samples[0], view, cli->node);
	next = samples[0]->ns;
	for (long long i = 0; !count || i < count; i++) {
		next += step;
		pause_until(next);
		top_sample_take(samples[(i + 1) % 2], view, cli->node);
		if (!samples[(i + 1) % 2]->whole) {
			status = cli_fail(cli, "node '%s' went down meanwhile, or came up again", cli->node);
			break;
		}
		if (i && !cli->json)
			putchar('\n');
		top_frame_make(&frame, samples[i % 2], samples[(i + 1) % 2], order);
		print_frame(cli, &frame);
		if (fflush(stdout))
			break; /* main() says why */
	}
	top_frame_free(&frame);
	top_sample_free(samples[0]);
	top_sample_free(samples[1]);
	wc_view_close(view);
	return status;
}

static int run_top(struct cli *cli, int argc, char **argv)
{
	struct top_order order = { 0 };
	bool screen = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && !options.plain && !options.once && !cli->json;
	double seconds = parse_delay(options.delay);
	long long count = options.once ? 1 : options.count;
	const char *key = NULL;

	(void)argc;
	(void)argv;
	setlocale(LC_CTYPE, "");
	if (options.sort) {
		enum top_pane pane = find_key(options.sort, &key);

		order.sort[pane] = key;
		order.reverse[pane] = options.reverse;
	} else if (options.reverse) {
		return cli_usage(cli, "--reverse turns the order of --sort round, which is not given");
	}
	if (options.filter)
		snprintf(order.filter, sizeof(order.filter), "%s", options.filter);
	if (options.count < 0) /* not given */
		count = options.once || (!screen && !isatty(STDOUT_FILENO)) ? 1 : 0;
	if (screen)
		return top_screen_run(cli, &order, seconds, count);
	return run_plain(cli, &order, seconds, count);
}

const struct command cmd_top = {
	.name = "top",
	.run = run_top,
	.options = &options,
	.help = {
		.summary = "watch the cores: who runs what, queues, rates",
		.synopsis = "[--once] [--count N] [--delay SECONDS] [--sort KEY] [--reverse] [--filter TEXT] [--plain]",
		.description =
			"Shows a node live, from its pinned BPF maps: the daemon is not asked and does not notice, and when it was "
			"killed this still works, and says so. Needs root. Nodes with --datapath user have no maps.\n\n"
			"Cores: state, part of the time that invocations ran there since the last frame (busy, starts of instances "
			"included), claims a second, for how long what runs has run, and what the core is warm for. With sched_ext "
			"also the parts of the CPU's time that instances, agents and host threads had.\n\n"
			"Functions: invocations a second, mean wait (from arrival or pick-up until the function was started) and "
			"mean service time of those that ended, load (cores' worth of time), CPUs' worth of time by sched_ext, cores "
			"that run it now, invocations in the pending queue, cores that are warm for it, cold starts and errors a "
			"second, and how many there were.\n\n"
			"Shards: home cores, free cores, what is pending, and what was queued and stolen a second. Packets, BUSY and the "
			"like are those of the XDP program; what comes by the node's sockets is in the counts of functions only.\n\n"
			"With --json one object a frame and line: docs/TOP.md.\n\n"
			"Keys on the screen: q ends it. Tab changes the pane, arrows, Page Up, Page Down, Home and End scroll it. "
			"< and > change what it is sorted by, r turns that round. / filters, Escape ends that. Space takes a frame "
			"now, p pauses, + and - change the delay, h or ? explains.",
		.options = specs,
		.examples = "  warmcore top\n"
			    "  warmcore top --once --delay 5 --sort load       # five seconds, as text\n"
			    "  warmcore --json top -n 60 | jq -c '[.busy, .per_s.invocations]'",
	},
};
