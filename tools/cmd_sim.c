// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_sim.c - `warmcore sim`: the command line of the simulator in tools/sim. It reads options into struct sim_options, makes the workload anew
 * for each policy, so that all of them get the very same invocations, and prints what came out.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/tables.h"
#include "tools/cli.h"
#include "tools/sim/costs.h"
#include "tools/sim/report.h"
#include "tools/workload/units.h"
#include "user/clock.h"

#define POLICIES_MAX 64
#define PROGRESS_NS 100000000u
#define BAR 30

static struct sim_command {
	struct option_list policy, azure, costs;
	long long cores, nodes, schedulers, shards, functions, invocations, warmup, seed, batch, load;
	const char *arrivals, *service, *popularity, *trace, *speed, *csv;
	long long days, cap, periodic;
	const char *local, *remote, *share, *core_free, *free_delay;
	const char *network, *hop, *dispatch, *handover, *cold, *move, *keep_alive, *interval, *stabilize, *vm_start;
	const char *order, *prefer, *balance, *target;
	long long ring, pending_max, core_queue, pack_slots, lanes, probes, replicas, vm_slots, instances;
	bool ideal, steal_nodes, quiet;
} command = { .invocations = -1 };

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

static bool stop(void)
{
	return interrupted;
}

/* --- checks --- */

static const char *check_time(const char *value)
{
	double ns;

	return units_time(value, &ns) ? NULL : "is no time, like 0, 44ns, 6.1us, 10ms or 1.5s";
}

static const char *check_keep(const char *value)
{
	return strcmp(value, "off") != 0 ? check_time(value) : NULL;
}

static const char *check_positive(const char *value)
{
	double number;

	return units_number(value, &number) && number >= 1e-6 && number <= 1e9 ? NULL :
										 "is no number from 0.000001 to 1G";
}

static const char *check_policy(const char *value)
{
	static const char *names[POLICIES_MAX];
	static char text[256];
	const char *near;
	unsigned count = 0;

	if (!strcmp(value, "all") || sim_policy_find(value))
		return NULL;
	for (const struct sim_policy *policy; count + 1 < POLICIES_MAX && (policy = sim_policy_number(count));)
		names[count++] = sim_policy_name(policy);
	names[count] = NULL;
	near = option_nearest(value, names);
	snprintf(text, sizeof(text), "is no policy%s%s; --help has them all", near ? "; did you mean " : "",
		 near ?: "");
	return text;
}

/* --- options --- */

#define INTEGER(option, member, meta, deflt, low, high, text)                                                          \
	{                                                                                                              \
		.name = (option), .type = OPTION_INTEGER, .offset = offsetof(struct sim_command, member),              \
		.metavar = (meta), .fallback = (deflt), .min = (low), .max = (high), .help = (text),                   \
	}
#define TEXT(option, member, meta, deflt, checker, text)                                                               \
	{                                                                                                              \
		.name = (option), .type = OPTION_STRING, .offset = offsetof(struct sim_command, member),               \
		.metavar = (meta), .fallback = (deflt), .check = (checker), .help = (text),                            \
	}
#define CHOICE(option, member, list, deflt, text)                                                                      \
	{                                                                                                              \
		.name = (option), .type = OPTION_CHOICE, .offset = offsetof(struct sim_command, member),               \
		.metavar = (list), .fallback = (deflt), .choices = (list), .help = (text),                             \
	}
#define FLAG(option, member, text)                                                                                     \
	{                                                                                                              \
		.name = (option), .type = OPTION_FLAG, .offset = offsetof(struct sim_command, member), .help = (text), \
	}

static const struct option_spec specs[] = {
	{ .name = "policy",
	  .letter = 'p',
	  .type = OPTION_LIST,
	  .offset = offsetof(struct sim_command, policy),
	  .metavar = "NAME",
	  .check = check_policy,
	  .help = "What decides: see POLICIES above; \"all\" is every one of them. Without it: central. Each gets the same "
		  "invocations." },
	INTEGER("cores", cores, "N", "64", 1, SIM_CORES_MAX, "All cores."),
	INTEGER("nodes", nodes, "N", "0", 0, SIM_NODES_MAX,
		"Nodes that the cores belong to, each with tables and schedulers of its own, of 1 to 4096 cores. 0: as few as possible, or "
		"one for 64 cores under the policies that choose a node. sparrow, kubernetes and lambda know no nodes."),
	INTEGER("schedulers", schedulers, "N", "0", 0, SIM_SCHEDULERS_MAX,
		"Schedulers of a cluster, each with a part of the nodes (of 64 cores unless --nodes says otherwise), the first of which is its own "
		"host, and with a queue of its own; --balance chooses one. Under central only. 0: each node decides by itself."),
	INTEGER("shards", shards, "N", "1", 1, WC_SHARDS_MAX,
		"Scheduler queues of each node, between which cores are stolen; schedulers of sparrow."),
	INTEGER("functions", functions, "N", "50", 1, POPULARITY_FUNCTIONS_MAX,
		"Functions. With --days as many are made; of --azure only the first so many are taken if it is given."),
	INTEGER("invocations", invocations, "N", NULL, 1, 1000000000000ll,
		"End the arrivals after so many; what is in flight is still completed. Without a trace 1000000."),
	INTEGER("warmup", warmup, "PERCENT", "10", 0, 99,
		"This part of --invocations is simulated, but in no percentile. A trace without --invocations has none."),
	INTEGER("seed", seed, "N", "1", 0, INT64_MAX,
		"Of all random numbers. The same options with the same seed give the same result, on every machine."),
	INTEGER("load", load, "PERCENT", "80", 1, 1000,
		"Poisson arrivals whose service takes this part of all cores' time. Not with --arrivals or a trace."),
	TEXT("arrivals", arrivals, "PROCESS", NULL, NULL,
	     "Instead of --load: " ARRIVALS_SYNTAX ". Rates are a second."),
	TEXT("service", service, "DISTRIBUTION", "exp:10ms", NULL, "How long functions run: " DISTRIBUTION_SYNTAX "."),
	TEXT("popularity", popularity, "LAW", "zipf:1", NULL, "Which function is invoked: " POPULARITY_SYNTAX "."),
	INTEGER("batch", batch, "N", "1", 1, 100000,
		"So many invocations come at once, each time: the fan-out of a job. --load counts them all."),
	TEXT("trace", trace, "FILE", NULL, NULL,
	     "Invocations from a file, a line each: time in ms, number of the function from 0, duration in ms."),
	{ .name = "azure",
	  .type = OPTION_LIST,
	  .offset = offsetof(struct sim_command, azure),
	  .metavar = "FILE",
	  .help = "A file of the Azure Functions data set of 2019 (invocations_per_function_md.anon.dNN.csv), a day, in their order." },
	INTEGER("days", days, "N", "0", 0, TRACE_DAYS_MAX,
		"A synthetic trace of so many days with --functions functions, as Azure's are said to be (docs/WARMNESS.md). 0: none."),
	INTEGER("cap", cap, "N", "240", 1, 36000, "Traces: calls an hour of the most popular functions, at most."),
	INTEGER("periodic", periodic, "PERCENT", "16", 0, 100, "--days: functions that are called by a timer."),
	TEXT("speed", speed, "X", "1", check_positive, "Traces: arrivals come X times as fast; durations stay."),
	FLAG("ideal", ideal,
	     "Network, hop, dispatch, handover, cold, move and what schedulers do take no time, unless they are given: for theory."),
	TEXT("network", network, "TIME", NULL, check_time,
	     "One way between client and scheduler. Default 6.1us: half of a UDP echo over veth."),
	TEXT("hop", hop, "TIME", NULL, check_time,
	     "One way between a scheduler and another node or, with sparrow, a core. Default 6.1us."),
	TEXT("dispatch", dispatch, "TIME", NULL, check_time,
	     "A decision; a scheduler queue makes one after the other. Default 44ns, as measured (dispatch_4096)."),
	{ .name = "costs",
	  .type = OPTION_LIST,
	  .offset = offsetof(struct sim_command, costs),
	  .metavar = "FILE",
	  .help = "What was measured here: results of make bench (build/bench/cluster.jsonl, rtt, dispatch, cold), instead of the defaults of the times "
		  "below and above. Options win." },
	TEXT("local", local, "TIME", NULL, check_time,
	     "--schedulers: a decision for a core of its own host. Default 84ns, as measured (cluster_decision_local)."),
	TEXT("remote", remote, "TIME", NULL, check_time,
	     "--schedulers: a decision for a core of another node. Default 959ns, as measured (cluster_decision_remote)."),
	TEXT("share", share, "TIME", NULL, check_time,
	     "--schedulers: to hand an invocation to another scheduler. Default: as --remote."),
	TEXT("core-free", core_free, "TIME", NULL, check_time,
	     "--schedulers: to read that a core of another node is free. Default 446ns, as measured (cluster_core_free_1)."),
	TEXT("free-delay", free_delay, "TIME", NULL, check_time,
	     "--schedulers: from the end of an invocation until its scheduler hears of it. Default: as --hop."),
	TEXT("handover", handover, "TIME", NULL, check_time,
	     "On the core beside each service. Default 5.5us, as measured (rtt_process less its floor)."),
	TEXT("cold", cold, "TIME", NULL, check_time,
	     "Start of an instance, on its core. Default 859us, as measured for C (cold_native)."),
	TEXT("move", move, "TIME", NULL, check_time, "An idle instance is fetched from another core. Default 0."),
	TEXT("keep-alive", keep_alive, "TIME", "10m", check_keep,
	     "Idle instances are stopped after it; \"off\": never."),
	INTEGER("instances", instances, "N", "256", 1, SIM_INSTANCES_MAX,
		"Idle instances of a core, at most; the oldest goes."),
	CHOICE("order", order, "local|pack|spread", "pack", "Which free core: as warmcore up --order."),
	CHOICE("prefer", prefer, "warm|shard", "warm", "What comes first: as warmcore up --prefer."),
	INTEGER("ring", ring, "N", "1024", 1, 1000000000,
		"--schedulers: invocations that may wait for a scheduler's decision, as frames in its receive ring; more are refused."),
	INTEGER("pending-max", pending_max, "N", "4096", 1, 1000000000,
		"Invocations that may wait in a shard; more are refused."),
	INTEGER("core-queue", core_queue, "N", "128", 1, 1000000000,
		"Policies of bpf/policy that bind early: invocations bound to one core; more are refused."),
	INTEGER("pack-slots", pack_slots, "N", "4", 1, 1000000,
		"pack: invocations of a core before the next core is used."),
	INTEGER("lanes", lanes, "N", "16", 1, 1000000,
		"Invocations that share a core at a time; the others wait for it."),
	CHOICE("balance", balance, "random|round|hash|two", "random",
	       "Which node, under the policies of bpf/policy: any, in turn, the function's home, the less loaded of two."),
	FLAG("steal-nodes", steal_nodes,
	     "A node, or scheduler, that would have to let an invocation wait hands it to the next one with a free core, a hop away."),
	INTEGER("probes", probes, "N", "2", 1, 64, "sparrow: reservations for each invocation."),
	TEXT("interval", interval, "TIME", NULL, check_time,
	     "Between looks of canary's controller (default 10ms) and of kubernetes' autoscaler (15s)."),
	TEXT("stabilize", stabilize, "TIME", "5m", check_time,
	     "kubernetes: how long fewer replicas must have been enough."),
	TEXT("target", target, "X", "0.8", check_positive,
	     "kubernetes: invocations in flight that a replica shall have."),
	INTEGER("replicas", replicas, "N", "1", 1, 1000,
		"kubernetes: of each function, at least and at the beginning."),
	INTEGER("vm-slots", vm_slots, "N", "8", 1, 1000000, "lambda: instances of a VM."),
	TEXT("vm-start", vm_start, "TIME", "0", check_time, "lambda: what a new VM takes beside --cold."),
	TEXT("csv", csv, "FILE", NULL, NULL,
	     "Write one line for each policy, under a header, to FILE; - is standard output."),
	FLAG("quiet", quiet, "No progress bar; there is none anyway unless standard error is a terminal."),
	{ 0 },
};

/* --- from the command line to the simulator's options --- */

/* A time that was checked before; what was not given is as it was, or with --ideal 0. */
static void set_time(uint64_t *ns, const char *text, bool cost)
{
	double value;

	if (text && units_time(text, &value))
		*ns = (uint64_t)(value + 0.5);
	else if (cost && command.ideal)
		*ns = 0;
}

static unsigned index_of(const char *choices, const char *value)
{
	unsigned index = 0;

	for (size_t length = strlen(value);
	     strncmp(choices, value, length) != 0 || (choices[length] && choices[length] != '|'); index++)
		choices = strchr(choices, '|') + 1;
	return index;
}

static int fill(struct sim_options *options, struct wc_fault *fault)
{
	sim_defaults(options);
	if (command.costs.count && command.ideal)
		return wc_fail(fault, EINVAL, "--costs and --ideal exclude each other");
	for (size_t i = 0; i < command.costs.count; i++) {
		int error = costs_read(options, command.costs.items[i], fault);

		if (error)
			return error;
	}
	options->schedulers = (uint32_t)command.schedulers;
	options->cores = (uint32_t)command.cores;
	options->nodes = (uint32_t)command.nodes;
	options->shards = (uint32_t)command.shards;
	options->functions = (uint32_t)command.functions;
	options->seed = (uint64_t)command.seed;
	options->batch = (uint32_t)command.batch;
	options->warmup = (double)command.warmup / 100;
	set_time(&options->network_ns, command.network, true);
	set_time(&options->hop_ns, command.hop, true);
	set_time(&options->dispatch_ns, command.dispatch, true);
	set_time(&options->local_ns, command.local, true);
	set_time(&options->remote_ns, command.remote, true);
	set_time(&options->share_ns, command.share ?: command.remote, true);
	set_time(&options->core_free_ns, command.core_free, true);
	set_time(&options->free_delay_ns, command.free_delay ?: command.hop, true);
	set_time(&options->handover_ns, command.handover, true);
	set_time(&options->cold_ns, command.cold, true);
	set_time(&options->move_ns, command.move, true);
	set_time(&options->interval_ns, command.interval, false);
	set_time(&options->stabilize_ns, command.stabilize, false);
	set_time(&options->vm_ns, command.vm_start, false);
	if (!strcmp(command.keep_alive, "off"))
		options->keep_alive_ns = UINT64_MAX;
	else
		set_time(&options->keep_alive_ns, command.keep_alive, false);
	options->instances_per_core = (uint32_t)command.instances;
	options->ring = (uint32_t)command.ring;
	options->order = index_of("local|pack|spread", command.order);
	options->prefer = index_of("warm|shard", command.prefer);
	options->balance = index_of("random|round|hash|two", command.balance);
	options->pending_max = (uint32_t)command.pending_max;
	options->core_queue = (uint32_t)command.core_queue;
	options->pack_slots = (uint32_t)command.pack_slots;
	options->lanes = (uint32_t)command.lanes;
	options->steal_nodes = command.steal_nodes;
	options->probes = (uint32_t)command.probes;
	options->replicas = (uint32_t)command.replicas;
	options->vm_slots = (uint32_t)command.vm_slots;
	units_number(command.target, &options->target);
	units_number(command.speed, &options->speed);
	return 0;
}

/* The workload, but for the calls of a trace, which are made for each policy. */
struct workload {
	struct popularity popularity;
	struct trace trace;
	bool traced;
};

static int load_trace(struct sim_options *options, struct workload *workload, struct wc_fault *fault)
{
	struct trace_options trace = { .days = (uint64_t)command.days,
				       .seed = (uint64_t)command.seed,
				       .periodic = (uint64_t)command.periodic,
				       .cap = (uint64_t)command.cap,
				       .functions = (uint64_t)command.functions,
				       .csv_count = (unsigned)command.azure.count,
				       .stop = stop };
	int error;

	if (command.azure.count > TRACE_DAYS_MAX)
		return wc_fail(fault, EINVAL, "--azure: at most %u files", TRACE_DAYS_MAX);
	for (size_t i = 0; i < command.azure.count; i++)
		trace.csv[i] = command.azure.items[i];
	error = trace_make(&workload->trace, &trace, fault);
	if (!error)
		options->functions = workload->trace.functions;
	return error;
}

static int load_workload(struct sim_options *options, struct workload *workload, struct wc_fault *fault)
{
	bool traces = command.azure.count || command.days;
	double mean;

	workload->traced = traces || command.trace;
	options->invocations = command.invocations >= 0 ? (uint64_t)command.invocations :
			       workload->traced		? 0 :
							  1000000;
	if ((command.trace != NULL) + (command.azure.count != 0) + (command.days != 0) > 1)
		return wc_fail(fault, EINVAL, "--trace, --azure and --days exclude each other");
	if (workload->traced && command.arrivals)
		return wc_fail(fault, EINVAL, "--arrivals: the trace says when invocations come");
	if (workload->traced && command.batch > 1)
		return wc_fail(fault, EINVAL, "--batch: the trace says how many invocations come");
	if (distribution_parse(&options->service, command.service, fault))
		return wc_fail(fault, EINVAL, "--service: %s", strdupa(fault->text));
	if (popularity_parse(&workload->popularity, command.popularity, options->functions, fault))
		return wc_fail(fault, EINVAL, "--popularity: %s", strdupa(fault->text));
	options->popularity = &workload->popularity;
	if (traces)
		return load_trace(options, workload, fault);
	if (command.trace)
		return 0;
	if (command.arrivals) {
		if (arrivals_parse(&options->arrivals, command.arrivals, fault))
			return wc_fail(fault, EINVAL, "--arrivals: %s", strdupa(fault->text));
		return 0;
	}
	mean = distribution_mean(&options->service);
	if (mean < 1)
		return wc_fail(fault, EINVAL, "--load: a service that takes no time is no load; say --arrivals");
	options->arrivals = arrivals_poisson((double)command.load / 100 * options->cores / mean * 1e9 / options->batch);
	return 0;
}

static int open_calls(struct sim_options *options, const struct workload *workload, struct wc_fault *fault)
{
	options->calls = NULL;
	if (command.trace)
		return calls_of_file(&options->calls, command.trace, fault);
	if (workload->traced && calls_of_trace(&options->calls, &workload->trace))
		return wc_fail(fault, ENOMEM, "out of memory for %u functions", workload->trace.functions);
	return 0;
}

/* --- progress --- */

struct progress {
	const struct sim_options *options;
	uint64_t begun, shown;
	bool bar;
};

static bool progress(void *context, uint64_t done)
{
	struct progress *p = context;
	uint64_t now = wc_now(), total = p->options->invocations;
	double rate = (double)done / ((double)(now - p->begun) * 1e-9 + 1e-9);
	char bar[BAR + 1];

	if (!p->bar || now - p->shown < PROGRESS_NS)
		return interrupted;
	p->shown = now;
	if (total) {
		unsigned filled = (unsigned)(done * BAR / total);

		memset(bar, '.', BAR);
		memset(bar, '#', filled < BAR ? filled : BAR);
		bar[BAR] = 0;
		fprintf(stderr, "\r%-11s [%s] %3" PRIu64 " %%, %.2f M/s, %.0f s left \033[K",
			sim_policy_name(p->options->policy), bar, done * 100 / total, rate * 1e-6,
			(double)(total - done) / rate);
	} else {
		fprintf(stderr, "\r%-11s %.1f million invocations, %.2f M/s \033[K",
			sim_policy_name(p->options->policy), (double)done * 1e-6, rate * 1e-6);
	}
	return interrupted;
}

static int simulate(const struct sim_options *chosen_options, const struct workload *workload,
		    struct sim_result *result, struct wc_fault *fault)
{
	struct sim_options options = *chosen_options;
	struct progress context = { .options = &options, .begun = wc_now() };
	int error = open_calls(&options, workload, fault);

	if (error)
		return error;
	context.bar = !command.quiet && isatty(STDERR_FILENO);
	options.progress = progress;
	options.context = &context;
	error = sim_run(&options, result, fault);
	if (context.shown)
		fputs("\r\033[K", stderr);
	calls_free(options.calls);
	return error;
}

/* --- the command --- */

static unsigned chosen(const struct sim_policy *policies[POLICIES_MAX])
{
	const struct sim_policy *policy;
	unsigned count = 0;

	for (size_t i = 0; i < command.policy.count && count < POLICIES_MAX; i++) {
		if (strcmp(command.policy.items[i], "all") != 0) {
			policies[count++] = sim_policy_find(command.policy.items[i]);
			continue;
		}
		for (unsigned n = 0; count < POLICIES_MAX && (policy = sim_policy_number(n)); n++)
			policies[count++] = policy;
	}
	if (!count)
		policies[count++] = sim_policy_find("central");
	return count;
}

static int run_all(struct cli *cli, struct sim_options *options, const struct workload *workload, FILE *csv)
{
	const struct sim_policy *policies[POLICIES_MAX];
	struct sim_result *result = malloc(sizeof(*result));
	unsigned count = chosen(policies);
	struct wc_fault fault = { "" };
	int status = CLI_OK;

	if (!result)
		return cli_fail(cli, "out of memory");
	if (csv)
		report_csv_header(csv);
	for (unsigned i = 0; i < count && status == CLI_OK; i++) {
		struct report report = { options, result };

		options->policy = policies[i];
		if (simulate(options, workload, result, &fault)) {
			status = cli_fail(cli, "%s: %s", sim_policy_name(policies[i]), fault.text);
			break;
		}
		if (csv)
			report_csv(&report, csv);
		if (cli->json) {
			json_t *object = report_json(&report);

			cli_print_json(object);
			json_decref(object);
		} else if (csv != stdout) {
			if (i)
				putchar('\n');
			report_text(&report, stdout);
		}
		fflush(stdout);
	}
	free(result);
	return status;
}

static int run_sim(struct cli *cli, int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct workload workload = { .traced = false };
	struct sim_options options;
	struct wc_fault fault = { "" };
	FILE *csv = NULL;
	int status;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < command.policy.count; i++) {
		const char *wrong = check_policy(command.policy.items[i]);

		if (wrong)
			return cli_usage(cli, "--policy: '%s' %s", command.policy.items[i], wrong);
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (fill(&options, &fault))
		return cli_usage(cli, "%s", fault.text);
	switch (load_workload(&options, &workload, &fault)) {
	case 0:
		break;
	case -EINVAL:
		popularity_free(&workload.popularity);
		return cli_usage(cli, "%s", fault.text);
	default:
		popularity_free(&workload.popularity);
		return cli_fail(cli, "%s", fault.text);
	}
	if (command.csv)
		csv = strcmp(command.csv, "-") != 0 ? fopen(command.csv, "we") : stdout;
	if (command.csv && !csv)
		status = cli_fail(cli, "cannot create %s: %s", command.csv, strerror(errno));
	else
		status = run_all(cli, &options, &workload, csv);
	if (csv && csv != stdout && (ferror(csv) | fclose(csv)) && status == CLI_OK)
		status = cli_fail(cli, "cannot write %s: %s", command.csv, strerror(errno));
	popularity_free(&workload.popularity);
	trace_free(&workload.trace);
	return status;
}

const struct command cmd_sim = {
	.name = "sim",
	.run = run_sim,
	.options = &command,
	.help = {
		.summary = "simulate policies on up to 4 million cores, no node needed",
		.synopsis = "[--policy NAME]... [--cores N] [--load PERCENT | --arrivals PROCESS | --trace FILE] [OPTIONS]",
		.description =
			"A discrete-event simulator. Its nodes decide by the headers in bpf/, the very lines that the XDP program "
			"runs, on tables of their own; beside these it has the schedulers that the paper compares itself with. It "
			"reports percentiles of slowdown (response over service time), cold starts, steals, queues and imbalance. "
			"Nothing is needed but memory: some 300 bytes a core; no rights, no node, no network.\n\n"
			"A client sends an invocation; it is at a scheduler after --network; the decision takes --dispatch; the core "
			"is then busy for --handover, a start (--cold) if no idle instance of the function is there, and the service; "
			"the answer is back after --network. What is modelled how, what is not, and how it compares with theory and "
			"with a real node is in docs/SIM.md.\n\n"
			"POLICIES\n\n"
			" Of bpf/policy, on each node; --balance chooses the node:\n"
			"   central     free cores first, warm ones before others; one queue when none is free (the paper)\n"
			"   ll_ps       the least loaded core at once; a core shares its time between its invocations\n"
			"   jsq2        the shorter queue of two cores at random\n"
			"   random      a core at random\n"
			"   hash        the function's home core\n"
			"   rss         the CPU that received the packet\n"
			"   pack        the lowest core with fewer than --pack-slots invocations, which share it\n"
			" Baselines:\n"
			"   sparrow     batch sampling with late binding: --probes reservations at random cores\n"
			"   canary      a home node for each function, and a controller that migrates what waits\n"
			"   kubernetes  replicas of each function, a request to any of them, an autoscaler (OpenFaaS, Kubeless)\n"
			"   lambda      instances packed until a VM is full, then a new VM (Lambda, Azure, Google)\n"
			"   openwhisk   home invoker by hash, the next one when that is full\n"
			"   hermod      pack nodes while one has a free core, then the least loaded; processor sharing\n\n"
			"CLUSTERS\n\n"
			"With --schedulers N nodes get their invocations from schedulers, each of which is a server that makes one decision after "
			"the other, so it can be saturated; what that takes is --local, --remote, --share and --core-free, or what make bench has "
			"measured (--costs). docs/SIM.md has the details.\n\n"
			"Times are written like 44ns, 6.1us, 10ms, 1.5s, 5m, 2h; rates and numbers like 2000, 2.5k, 1M.",
		.options = specs,
		.examples = "  warmcore sim --cores 1000 --load 90 --service bimodal:1ms,100ms,0.005 -p central -p jsq2 -p hash\n"
			    "  warmcore sim --cores 1000000 --nodes 245 --shards 8 --steal-nodes --invocations 5000000\n"
			    "  warmcore sim --cores 1000000 --schedulers 16 --steal-nodes --service exp:100ms --warmup 50 --costs build/bench/cluster.jsonl\n"
			    "  warmcore sim --ideal --cores 16 --service exp:1ms --load 80      # M/M/16\n"
			    "  warmcore sim --days 1 --functions 50000 --cores 2000 -p all --csv figures.csv\n"
			    "  warmcore --json sim --batch 100 -p sparrow | jq .slowdown_p99",
	},
};
