// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_load.c - `warmcore load`: reads what load is wanted, runs it, shows what came of it. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/proto.h"
#include "tools/load/plan.h"
#include "tools/load_command.h"
#include "tools/workload/arrivals.h"
#include "tools/workload/distribution.h"
#include "tools/workload/popularity.h"
#include "tools/workload/trace.h"
#include "tools/workload/units.h"
#include "user/clock.h"

#define SHOW_EVERY_NS 100000000u
#define BAR_CELLS 30
#define DURATION_MAX_NS 1e15 /* eleven days */

static struct options {
	const char *arrivals, *think, *speed, *service, *work, *popularity, *payload, *to;
	const char *duration, *warm_up, *timeout, *behind, *spin;
	struct option_list traces;
	long long clients, out, seed, deploy, cpu, deadline_us;
	struct load_output output;
} options = { .cpu = -1 };

#define AT(member) .offset = offsetof(struct options, member)

static const char *check_time(const char *value)
{
	double ns;

	return units_time(value, &ns) && ns <= DURATION_MAX_NS ? NULL : "is not a time such as 250us, 1.5s or 10m";
}

static const char *check_speed(const char *value)
{
	double speed;

	return units_number(value, &speed) && speed >= LOAD_SPEED_MIN && speed <= LOAD_SPEED_MAX ?
		       NULL :
		       "is not a number from 0.001 to 1M";
}

static const struct option_spec specs[] = {
	{ .name = "arrivals",
	  .letter = 'a',
	  .type = OPTION_STRING,
	  AT(arrivals),
	  .metavar = "PROCESS",
	  .help = "Open loop: when calls are made, whatever becomes of them. " ARRIVALS_SYNTAX
		  "; rates in calls a second, such as poisson:2000 or mmpp:5k,200,100ms,1s." },
	{ .name = "trace",
	  .type = OPTION_LIST,
	  AT(traces),
	  .metavar = "FILE",
	  .help = "Open loop: replay a day of the Azure Functions data set of 2019 (invocations_per_function_md.anon.dNN.csv); "
		  "given again for more days. Its functions share those that are named." },
	{ .name = "speed",
	  .type = OPTION_STRING,
	  AT(speed),
	  .metavar = "N",
	  .fallback = "1",
	  .check = check_speed,
	  .help = "Replay the trace so many times faster: 60 makes a minute of it a second." },
	{ .name = "clients",
	  .letter = 'c',
	  .type = OPTION_INTEGER,
	  AT(clients),
	  .metavar = "N",
	  .min = 1,
	  .max = LOAD_CLIENTS_MAX,
	  .help = "Closed loop: so many clients, each waits for its answer, thinks, and calls again." },
	{ .name = "think",
	  .type = OPTION_STRING,
	  AT(think),
	  .metavar = "TIME",
	  .help = "How long a client thinks before a call, as --service says times; fixed:0 unless given." },
	{ .name = "service",
	  .letter = 's',
	  .type = OPTION_STRING,
	  AT(service),
	  .metavar = "TIME",
	  .help = "How long each call shall take: " DISTRIBUTION_SYNTAX
		  ", or `trace`: as in the trace, divided by --speed. "
		  "It is in the payload, for functions such as the example `spin`." },
	{ .name = "work",
	  .type = OPTION_CHOICE,
	  AT(work),
	  .metavar = "spin|cpu|sleep",
	  .choices = "spin|cpu|sleep",
	  .fallback = "spin",
	  .help = "What the function does for that long: keep the CPU busy until so much time has passed, or until it has used so "
		  "much CPU time, or sleep." },
	{ .name = "popularity",
	  .type = OPTION_STRING,
	  AT(popularity),
	  .metavar = "SHARES",
	  .fallback = "uniform",
	  .help = "Which function a call is for: " POPULARITY_SYNTAX
		  ", the first one that is named being the most popular." },
	{ .name = "payload",
	  .type = OPTION_STRING,
	  AT(payload),
	  .metavar = "TEXT",
	  .help = "Payload of every call, instead of --service; {} unless given." },
	{ .name = "deploy",
	  .type = OPTION_INTEGER,
	  AT(deploy),
	  .metavar = "N",
	  .min = 1,
	  .max = LOAD_FUNCTIONS_MAX,
	  .help = "Deploy the example `spin` N times, as load-spin-0 and so on, call those, and remove them afterwards." },
	{ .name = "to",
	  .type = OPTION_STRING,
	  AT(to),
	  .metavar = "ADDRESS:PORT",
	  .help = "Send there without asking a node, for example from another host; functions are given by their ids." },
	{ .name = "duration",
	  .letter = 'd',
	  .type = OPTION_STRING,
	  AT(duration),
	  .metavar = "TIME",
	  .check = check_time,
	  .help = "How long to measure: 10s unless given, or to the end of the trace." },
	{ .name = "warm-up",
	  .type = OPTION_STRING,
	  AT(warm_up),
	  .metavar = "TIME",
	  .fallback = "1s",
	  .check = check_time,
	  .help = "Calls of the first part are made and not measured. --duration begins after it." },
	{ .name = "timeout",
	  .type = OPTION_STRING,
	  AT(timeout),
	  .metavar = "TIME",
	  .fallback = "10s",
	  .check = check_time,
	  .help = "A call without an answer after this long is lost: 1ms to 1h." },
	{ .name = "outstanding",
	  .type = OPTION_INTEGER,
	  AT(out),
	  .metavar = "N",
	  .min = 1,
	  .max = LOAD_OUT_MAX,
	  .fallback = "65536",
	  .help = "Open loop: calls that may be out at a time. What is more is not sent, and counted." },
	{ .name = "behind",
	  .type = OPTION_STRING,
	  AT(behind),
	  .metavar = "TIME",
	  .fallback = "1ms",
	  .check = check_time,
	  .help = "A call that is sent later than this after its time counts as behind; with more than 1 % of them the load was not "
		  "what was asked for." },
	{ .name = "spin",
	  .type = OPTION_STRING,
	  AT(spin),
	  .metavar = "TIME",
	  .fallback = "0",
	  .check = check_time,
	  .help = "Do not sleep for the last part before a call: more punctual, at the price of a CPU." },
	{ .name = "deadline-us",
	  .type = OPTION_INTEGER,
	  AT(deadline_us),
	  .metavar = "N",
	  .min = 0,
	  .max = UINT32_MAX,
	  .fallback = "0",
	  .help = "The node shall give up a call that it has not started within so many microseconds; 0 is never." },
	{ .name = "seed",
	  .type = OPTION_INTEGER,
	  AT(seed),
	  .metavar = "N",
	  .min = 0,
	  .max = INT64_MAX,
	  .fallback = "1",
	  .help = "The same seed makes the same calls." },
	{ .name = "cpu",
	  .type = OPTION_INTEGER,
	  AT(cpu),
	  .metavar = "N",
	  .min = 0,
	  .max = CPU_SETSIZE - 1,
	  .help = "Pin this program to a CPU." },
	{ .name = "output",
	  .letter = 'o',
	  .type = OPTION_STRING,
	  AT(output.file),
	  .metavar = "FILE",
	  .help = "Write the result with its histograms to this file, for load merge." },
	{ .name = "csv",
	  .type = OPTION_FLAG,
	  AT(output.csv),
	  .help = "Print CSV: a line for each function and kind of time, in ns." },
	{ .name = "functions", .type = OPTION_FLAG, AT(output.each_function), .help = "Print each function, too." },
	{ .name = "strict",
	  .type = OPTION_FLAG,
	  AT(output.strict),
	  .help = "Exit with status 1 when the load was not what was asked for." },
	{ 0 },
};

static struct load_progress progress;

/* The first time what is there is still shown; a second Ctrl-C ends the program at once. */
static void on_interrupt(int number)
{
	(void)number;
	atomic_store(&progress.stop, true);
}

static bool interrupted(void)
{
	return atomic_load(&progress.stop);
}

static double time_of(const char *text)
{
	double ns = 0;

	(void)units_time(text, &ns); /* the option was checked */
	return ns;
}

/* --- the progress bar --- */

struct bar {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t end_ns;
	bool shown, over;
};

static void draw(const struct bar *bar)
{
	uint64_t due = atomic_load(&progress.due), sent = atomic_load(&progress.sent),
		 now = atomic_load(&progress.now_ns);
	uint64_t answered = atomic_load(&progress.answered);
	unsigned full = now >= bar->end_ns ? BAR_CELLS : (unsigned)((double)now / (double)bar->end_ns * BAR_CELLS);

	fprintf(stderr, "\r[%.*s%*s] %.1f of %.1f s, %llu sent, %llu out, %llu left out\033[K", (int)full,
		"##############################", (int)(BAR_CELLS - full), "", (double)now / 1e9,
		(double)bar->end_ns / 1e9, (unsigned long long)sent,
		(unsigned long long)(sent > answered ? sent - answered : 0),
		(unsigned long long)(due > sent + 64 ? due - sent : 0));
}

static void *draw_all(void *argument)
{
	struct bar *bar = argument;

	pthread_mutex_lock(&bar->lock);
	while (!bar->over) {
		struct timespec until;
		uint64_t ns = wc_now() + SHOW_EVERY_NS;

		draw(bar);
		until = wc_timespec(ns);
		pthread_cond_timedwait(&bar->changed, &bar->lock, &until);
	}
	pthread_mutex_unlock(&bar->lock);
	fprintf(stderr, "\r\033[K");
	return NULL;
}

static void bar_begin(struct bar *bar, const struct cli *cli, uint64_t end_ns)
{

	memset(bar, 0, sizeof(*bar));
	if (cli->json || !isatty(STDERR_FILENO))
		return;
	bar->end_ns = end_ns;
	pthread_mutex_init(&bar->lock, NULL);
	wc_cond_init(&bar->changed);
	bar->shown = !pthread_create(&bar->thread, NULL, draw_all, bar);
}

static void bar_end(struct bar *bar)
{
	if (!bar->shown)
		return;
	pthread_mutex_lock(&bar->lock);
	bar->over = true;
	pthread_cond_signal(&bar->changed);
	pthread_mutex_unlock(&bar->lock);
	pthread_join(bar->thread, NULL);
}

/* --- the load --- */

static int check_options(const struct cli *cli, int argc)
{
	int kinds = !!options.arrivals + !!options.clients + !!options.traces.count;

	if (kinds != 1)
		return cli_usage(cli, "%s of --arrivals, --trace and --clients must be given",
				 kinds ? "only one" : "one");
	if (options.think && !options.clients)
		return cli_usage(cli, "--think is for clients, which --clients says");
	if (options.service && options.payload)
		return cli_usage(cli, "--service makes the payload; leave out --payload, or the other way round");
	if (options.payload && strlen(options.payload) > WC_PAYLOAD_MAX)
		return cli_usage(cli, "--payload is longer than the %d bytes that a packet takes", WC_PAYLOAD_MAX);
	if (!options.deploy && !argc)
		return cli_usage(cli, "name the functions to call, or give --deploy N");
	if (options.deploy && argc)
		return cli_usage(cli, "with --deploy the functions are those that it deploys; do not name others");
	if (options.deploy && options.to)
		return cli_usage(cli, "--deploy asks a node, and --to does not");
	if (options.output.csv && cli->json)
		return cli_usage(cli, "--csv and --json exclude each other; --output FILE is JSON in any case");
	if (time_of(options.timeout) < 1e6 || time_of(options.timeout) > (double)LOAD_TIMEOUT_MS_MAX * 1e6)
		return cli_usage(cli, "--timeout: '%s' is not from 1ms to 1h", options.timeout);
	return CLI_OK;
}

static int make_plan(const struct cli *cli, uint32_t functions, struct load_plan **ret_plan)
{
	struct load_plan_options plan = {
		.arrivals = options.arrivals,
		.think = options.clients ? (options.think ?: "fixed:0") : NULL,
		.csv = options.traces.items,
		.csv_count = (unsigned)options.traces.count,
		.service = options.service,
		.popularity = options.popularity,
		.functions = functions,
		.seed = (uint64_t)options.seed,
		.stop = interrupted,
	};
	struct wc_fault fault;

	(void)units_number(options.speed, &plan.speed);
	return load_plan_new(&plan, ret_plan, &fault) ? cli_fail(cli, "%s", fault.text) : CLI_OK;
}

static void describe(char *text, size_t size, uint32_t functions)
{
	int at = options.clients ?
			 snprintf(text, size, "%lld clients, think %s", options.clients, options.think ?: "fixed:0") :
		 options.traces.count ?
			 snprintf(text, size, "trace of %zu days, speed %s", options.traces.count, options.speed) :
			 snprintf(text, size, "%s", options.arrivals);

	snprintf(text + at, (size_t)at < size ? size - (size_t)at : 0, ", %s%s%s, %u function%s %s, seed %lld",
		 options.service ? options.work : "fixed payload", options.service ? " " : "", options.service ?: "",
		 functions, functions > 1 ? "s" : "", options.popularity, options.seed);
}

static int run(const struct cli *cli, const struct load_targets *targets, struct load_plan *plan,
	       struct load_result *ret_result)
{
	static const char *const works[] = { "", "spin", "cpu", "sleep" };
	double duration = options.duration ? time_of(options.duration) : 10e9, warm_up = time_of(options.warm_up);
	const char *payload = options.payload ?: "{}";
	struct load_setup setup = {
		.address = targets->address,
		.port = targets->port,
		.ids = targets->ids,
		.functions = targets->count,
		.source = load_plan_source(plan),
		.payload = payload,
		.payload_len = strlen(payload),
		.warm_up_ns = (uint64_t)warm_up,
		.end_ns = (uint64_t)(warm_up + duration),
		.timeout_ns = (uint64_t)time_of(options.timeout),
		.behind_ns = (uint64_t)time_of(options.behind),
		.spin_ns = (uint64_t)time_of(options.spin),
		.out_max = (uint32_t)options.out,
		.clients = (uint32_t)options.clients,
		.deadline_us = (uint32_t)options.deadline_us,
	};
	uint64_t length = load_plan_length(plan);
	struct wc_fault fault;
	struct bar bar;
	int ret;

	for (unsigned w = LOAD_WORK_SPIN; options.service && w <= LOAD_WORK_SLEEP; w++)
		if (!strcmp(options.work, works[w]))
			setup.work = (enum load_work)w;
	if (length && (!options.duration || setup.end_ns > length))
		setup.end_ns = length;
	if (setup.end_ns <= setup.warm_up_ns)
		return cli_fail(cli, "nothing is left to measure after a warm-up of %s", options.warm_up);
	bar_begin(&bar, cli, setup.end_ns);
	ret = load_run(&setup, &progress, ret_result, &fault);
	bar_end(&bar);
	if (ret)
		return cli_fail(cli, "%s", fault.text);
	describe(ret_result->load, sizeof(ret_result->load), targets->count);
	for (uint32_t f = 0; f < targets->count; f++)
		snprintf(ret_result->functions[f].name, sizeof(ret_result->functions[f].name), "%s", targets->names[f]);
	return CLI_OK;
}

static int run_load(struct cli *cli, int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };
	struct load_targets targets = { .count = 0 };
	struct load_result result;
	struct load_plan *plan = NULL;
	int status, ended;

	if (argc && !strcmp(argv[0], "merge"))
		return load_merge(cli, argc - 1, argv + 1, &options.output);
	status = check_options(cli, argc);
	if (status)
		return status;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (options.deploy)
		status = load_targets_deploy(cli, options.deploy, &targets);
	else if (options.to)
		status = load_targets_given(cli, options.to, argc, argv, &targets);
	else
		status = load_targets_resolve(cli, argc, argv, &targets);
	if (!status)
		status = make_plan(cli, targets.count, &plan);
	if (!status)
		status = cli_pin(cli, options.cpu);
	if (!status)
		status = run(cli, &targets, plan, &result);
	if (!status) {
		status = load_show(cli, &result, &options.output);
		load_result_clear(&result);
	}
	load_plan_free(plan);
	ended = load_targets_end(cli, &targets);
	return status ?: ended;
}

const struct command cmd_load = {
	.name = "load",
	.options = &options,
	.run = run_load,
	.positional_max = -1,
	.help = {
		.summary = "measure latencies under a load: open or closed loop, traces",
		.synopsis = "NAME[:QUALIFIER]... --arrivals PROCESS | --trace FILE... | --clients N [OPTIONS]\n"
			    "       warmcore load merge FILE... [--output FILE] [--csv] [--functions]",
		.description =
			"Calls functions and measures how long answers take. With --arrivals or --trace the times of the calls "
			"are fixed before anything is sent, and one thread sends at those times whatever comes back: latencies "
			"count from the intended time, so a node that stalls is not measured only where it does not (no "
			"coordinated omission). When calls could not be sent, or were sent late, a warning says so.\n\n"
			"Every call of the measured part is counted once: replied, answered with ERROR or BUSY, without an answer "
			"until --timeout, not sent. Percentiles are of the replies, and stand beside a bound for which all others "
			"count as answered at the time-out. Nothing is sent twice. docs/LOAD.md explains each number.\n\n"
			"Ctrl-C ends the load and shows what there is. `merge` adds up result files: their histograms exactly, so "
			"the percentiles are those of all calls together. A function called merge is merge:$LATEST here.",
		.examples = "  warmcore load --deploy 50 --arrivals poisson:2000 --popularity hot:0.9 --service exp:200us\n"
			    "  warmcore load hello --arrivals mmpp:5k,100,50ms,500ms --duration 30s --csv\n"
			    "  warmcore load hello --clients 8 --think exp:1ms\n"
			    "  warmcore load --deploy 100 --trace invocations_per_function_md.anon.d01.csv --speed 60\n"
			    "  warmcore load merge run-*.json",
		.options = specs,
	},
};
