/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_dispatch.c - group `dispatch`: what a decision of the XDP program costs, over an XDP program that does nothing.
 *
 * A decision is all that happens between a request in the receive ring and the core free again: parse, look the function up,
 * look for warm cores, claim, redirect into a socket, and release. The program is the real one, wrapped so that it can run
 * on the same frame again and again (tests/bpf/dispatch_wrap.bpf.c); BPF_PROG_TEST_RUN runs both, and delivers nothing.
 * The time is that of the thread: what preempts it does not count. (opts.duration knows only whole ns.) A test run costs some
 * 0.25 ms besides, for either program alike, so a block has to be long.
 *
 * After each block the counters must say that every run went the way that the figure is about.
 */
#include "tests/bench/bench.h"

#include "bpf/decide.h"
#include "dispatch_wrap.skel.h"
#include "tests/bpf/packet.h"
#include "tests/bpf/veth.h"
#include "user/bpf_load.h"
#include "user/umem.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define DEV "wcb0"
#define PEER "wcb1"
#define QUEUES 2
#define CORES WC_CORES_MAX
#define WARM_CORE 5 /* of the receiving CPU */
#define WARM_UP 2000
#define SLOW 8 /* what takes long is run less often, so that a round stays short */

/* What the cores of a node do while it is measured. */
enum scene {
	ALL_FREE,  /* all in one shard */
	LAST_FREE, /* only the one with the highest number */
	NONE_FREE,
	WARM,	   /* all free; the function is warm on the core of this CPU */
	WARM_BUSY, /* the function is warm on 8 cores that are busy */
	STEAL,	   /* 64 shards; the own one is empty */
	STEAL_FAR, /* 64 shards; only the last one in the ring has a free core */
	TWO_SHARDS,
	ALL_LOADED, /* early binding: every core has an invocation */
};

struct target {
	struct bench_subject subject;
	__u32 cores;
	enum scene scene;
	enum wc_policy policy;
	__u16 flags;
	size_t count[2]; /* counters that must move with each run: offsets */
};

static struct dispatch_wrap_bpf *skel;
static struct wc_tables tables;
static struct wc_umem *umem;
static int ifindex, cpus[2];
static unsigned cpu_count;

#define COUNTS(a, b) .count = { offsetof(struct wc_counters, a), offsetof(struct wc_counters, b) }
#define CENTRAL(name_, text_, cores_, scene_, ...)                                                                     \
	{                                                                                                              \
		.subject = { .name = "dispatch_" name_, .text = text_ }, .cores = (cores_), .scene = (scene_),         \
		__VA_ARGS__                                                                                            \
	}
#define EARLY(policy_, scene_, name_, text_)                                                                           \
	{                                                                                                              \
		.subject = { .name = "dispatch_" name_, .text = text_ }, .cores = 64, .scene = (scene_),               \
		.policy = WC_POLICY_##policy_, COUNTS(to_core, to_core)                                                \
	}

static struct target targets[] = {
	{ .subject = { .name = "dispatch_floor", .text = "an XDP program that drops (floor)" } },
	CENTRAL("1", "1 core", 1, ALL_FREE, COUNTS(to_core, to_core)),
	CENTRAL("64", "64 cores", 64, ALL_FREE, COUNTS(to_core, to_core)),
	CENTRAL("1024", "1,024 cores", 1024, ALL_FREE, COUNTS(to_core, to_core)),
	CENTRAL("4096", "4,096 cores", CORES, ALL_FREE, COUNTS(to_core, to_core)),
	CENTRAL("4096_one", "4,096 cores, only the last one free", CORES, LAST_FREE, COUNTS(to_core, to_core)),
	CENTRAL("4096_none", "4,096 cores, none free: pending queue", CORES, NONE_FREE, COUNTS(to_pending, to_pending)),
	CENTRAL("warm", "warm on the core of this CPU", CORES, WARM, COUNTS(claim_warm, claim_local)),
	CENTRAL("warm_miss", "warm on 8 cores, all busy", CORES, WARM_BUSY, COUNTS(to_core, to_core)),
	CENTRAL("steal", "steal from the nearest of 64 shards", CORES, STEAL, COUNTS(claim_stolen, to_core)),
	CENTRAL("steal_63", "steal from the farthest of 64 shards", CORES, STEAL_FAR, COUNTS(claim_stolen, to_core)),
	CENTRAL("timed", "4,096 cores, WC_FLAG_TIMED", CORES, ALL_FREE, COUNTS(to_core, to_core),
		.flags = WC_FLAG_TIMED),
	EARLY(ll_ps, ALL_FREE, "ll_ps", "policy ll_ps, 64 cores idle"),
	EARLY(ll_ps, ALL_LOADED, "ll_ps_busy", "policy ll_ps, 64 cores busy"),
	EARLY(jsq2, ALL_FREE, "jsq2", "policy jsq2"),
	EARLY(random, ALL_FREE, "random", "policy random"),
	EARLY(hash, ALL_FREE, "hash", "policy hash"),
	EARLY(rss, ALL_FREE, "rss", "policy rss"),
	EARLY(pack, ALL_FREE, "pack", "policy pack"),
	CENTRAL("user", "4,096 cores, in user space, no packet", CORES, ALL_FREE, COUNTS(rx, rx)),
};
#define TARGET_COUNT (sizeof(targets) / sizeof(targets[0]))

/* On two CPUs at the same time, each with a receive queue of its own; each figure is the mean of both. */
static struct target pairs[] = {
	{ .subject = { .name = "dispatch_floor_2cpu", .text = "an XDP program that drops (floor)" } },
	CENTRAL("2cpu", "each its own shard of 2,048 cores", CORES, TWO_SHARDS, COUNTS(to_core, to_core)),
	CENTRAL("2cpu_shared", "both the same shard", CORES, ALL_FREE, COUNTS(to_core, to_core)),
};
#define PAIR_COUNT (sizeof(pairs) / sizeof(pairs[0]))

/* --- the node --- */

static int open_node(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct wc_umem_plan plan = { .dev = DEV, .queues = 1, .cores = 2, .pending_max = 64, .copy = true };
	struct wc_fault fault = { "" };
	const char *mode, *why;
	int error;

	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* kernels before 5.11 */
	why = veth_make(DEV, PEER, QUEUES);
	if (why) {
		bench_say("%s", why);
		return -ENOSYS;
	}
	skel = dispatch_wrap_bpf__open();
	if (!skel)
		return -errno;
	error = bpf_map__set_max_entries(skel->maps.wc_core_sockets, QUEUES * CORES);
	if (!error)
		error = dispatch_wrap_bpf__load(skel);
	if (error) {
		bench_say("cannot load the program: %s", strerror(-error));
		return error;
	}
	ifindex = (int)if_nametoindex(DEV);
	/* With a program attached a veth device has receive queues that test runs can name. */
	error = bpf_xdp_attach(ifindex, bpf_program__fd(skel->progs.wc_dispatch), XDP_FLAGS_DRV_MODE, NULL);
	if (!error)
		error = wc_umem_create(&umem, &plan, &mode, &fault);
	if (error)
		bench_say("no AF_XDP sockets: %s", fault.text[0] ? fault.text : strerror(-error));
	return error;
}

static int map_tables(void)
{
	size_t len;

#define MAP(name, type)                                                                                                \
	tables.name = wc_bpf_map_table(skel->obj, #name, sizeof(struct type), &tables.name##_max, &len);               \
	if (!tables.name)                                                                                              \
		return -errno;
	WC_TABLES_EACH(MAP)
#undef MAP
	return 0;
}

/* Two sockets stand for all: a test run looks one up, and delivers nothing. */
static int set_sockets(void)
{
	for (__u32 key = 0; key < QUEUES * CORES; key++) {
		int fd = wc_umem_socket(umem, 0, key % 2)->fd;

		if (bpf_map_update_elem(bpf_map__fd(skel->maps.wc_core_sockets), &key, &fd, BPF_ANY))
			return -errno;
	}
	for (__u32 queue = 0; queue < QUEUES; queue++) {
		int fd = wc_umem_socket(umem, 0, 0)->fd;

		if (bpf_map_update_elem(bpf_map__fd(skel->maps.wc_pending_sockets), &queue, &fd, BPF_ANY))
			return -errno;
	}
	return 0;
}

static void close_node(void)
{
	wc_umem_free(umem);
	dispatch_wrap_bpf__destroy(skel);
}

static __u16 home_of(enum scene scene, __u32 core)
{
	if (scene == STEAL || scene == STEAL_FAR)
		return (__u16)(core % WC_SHARDS_MAX);
	return scene == TWO_SHARDS ? core % 2 : 0;
}

static bool is_free(enum scene scene, __u32 core, __u32 cores)
{
	switch (scene) {
	case LAST_FREE:
		return core == cores - 1;
	case WARM_BUSY:
		return core < 64 || core >= 64 + WC_WARM_MAX;
	case STEAL:
		return core % WC_SHARDS_MAX != 0;
	case STEAL_FAR:
		return core % WC_SHARDS_MAX == WC_SHARDS_MAX - 1;
	default:
		return scene != NONE_FREE && scene != ALL_LOADED;
	}
}

/* The tables of a node in that scene. The at-most-once window stays: it is full after a while, as on a node. */
static void set_scene(const struct target *target)
{
	struct wc_function *function = &tables.wc_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)];
	enum scene scene = target->scene;

	memset(tables.wc_top, 0, sizeof(*tables.wc_top));
	memset(tables.wc_shards, 0, WC_QUEUES_MAX * sizeof(*tables.wc_shards));
	memset(tables.wc_steals, 0, WC_SHARDS_MAX * sizeof(*tables.wc_steals));
	memset(tables.wc_cores, 0, CORES * sizeof(*tables.wc_cores));
	memset(tables.wc_functions, 0, WC_FUNCTIONS_MAX * sizeof(*tables.wc_functions));
	*tables.wc_config = (struct wc_config){
		.up = 1,
		.port = PACKET_PORT,
		.shard_count = (__u16)(home_of(scene, 1) ? home_of(scene, CORES - 1) + 1 : 1),
		.core_count = target->cores,
		.pending_max = 1024,
		.policy = target->policy,
		.order = scene == WARM ? WC_ORDER_LOCAL : WC_ORDER_PACK,
		.core_queue_max = 200,
		.pack_slots = 2,
		.addr4_count = 1,
		.addr4 = { htonl(PACKET_NODE4) },
		.seen_key = { 0x1111, 0x2222 },
	};
	wc_config_changed(tables.wc_config);
	for (__u32 core = 0; core < target->cores; core++) {
		struct wc_core *entry = &tables.wc_cores[core];

		entry->home = entry->shard = home_of(scene, core);
		entry->state = WC_CORE_RUNNING;
		entry->claims = 1;
		entry->queued = scene == ALL_LOADED;
		if (is_free(scene, core, target->cores))
			wc_release_core(&tables, core);
	}
	for (int level = 0; scene == STEAL && level < WC_NEAR_LEVELS; level++)
		tables.wc_shards[0].near[level] = 3;
	for (int i = 0; scene == WARM_BUSY && i < WC_WARM_MAX; i++)
		function->warm[i] = (__u16)(64 + i + 1);
	if (scene == WARM) {
		function->warm[0] = WARM_CORE + 1;
		for (int cpu = 0; cpu < WC_CPUS_MAX; cpu++)
			tables.wc_config->cpu_core[cpu] = WARM_CORE + 1;
	}
	function->id = PACKET_FUNCTION;
}

static struct wc_counters counters_now(void)
{
	int possible = libbpf_num_possible_cpus();
	struct wc_counters all[possible > 0 ? possible : 1], sum = { 0 };
	__u32 zero = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(skel->maps.wc_counters), &zero, all))
		return sum;
	wc_counters_total(&sum, all, possible, tables.wc_fast, tables.wc_fast_max);
	return sum;
}

/* --- measuring --- */

static double thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Run a program `count` times on a request that came in on a queue; a whole run is one system call. */
static int run(const struct target *target, unsigned count, __u32 queue, double *ret_ns)
{
	const struct bpf_program *program = target->cores ? skel->progs.wc_full : skel->progs.wc_floor;
	struct packet_recipe recipe = { .no_deadline = 1, .flags = target->flags };
	struct xdp_md context = { .ingress_ifindex = (__u32)ifindex, .rx_queue_index = queue };
	LIBBPF_OPTS(bpf_test_run_opts, options, .repeat = (int)count, .ctx_in = &context,
		    .ctx_size_in = sizeof(context));
	static __thread __u64 request;
	struct packet packet;
	double start;

	recipe.request = (__u64)queue << 62 | ++request << 32 | 1;
	packet_build(&packet, &recipe);
	options.data_in = packet.data;
	options.data_size_in = context.data_end = packet.len;
	start = thread_ns();
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options))
		return -errno;
	*ret_ns = (thread_ns() - start) / count;
	return options.retval == (target->cores ? XDP_REDIRECT : XDP_DROP) ? 0 : -EPROTO;
}

/* Did every run go where it should? */
static int check(const struct target *target, const struct wc_counters *before, __u64 runs)
{
	struct wc_counters now = counters_now();

	for (int i = 0; i < 2 && target->cores; i++) {
		__u64 moved = *(const __u64 *)((const char *)&now + target->count[i]) -
			      *(const __u64 *)((const char *)before + target->count[i]);

		if (moved != runs || now.rx - before->rx != runs || skel->bss->wrap_lost) {
			bench_say("%s: only %llu of %llu runs were what they should be", target->subject.name,
				  (unsigned long long)moved, (unsigned long long)runs);
			return -EPROTO;
		}
	}
	return 0;
}

static int mean_alone(struct bench_subject *subject, unsigned count, double *ret_ns)
{
	const struct target *target = (const struct target *)subject;
	struct wc_counters before = counters_now();
	double ignored;
	int error;

	if (target->scene == NONE_FREE || target->scene == ALL_LOADED)
		count = count / SLOW + 1;
	set_scene(target);
	error = run(target, WARM_UP, 0, &ignored);
	if (!error)
		error = run(target, count, 0, ret_ns);
	if (error)
		bench_say("%s: %s", subject->name, strerror(-error));
	return error ? error : check(target, &before, (__u64)count + WARM_UP);
}

/* The same decision as in the user datapath: no packet, no redirect. */
static int mean_user(struct bench_subject *subject, unsigned count, double *ret_ns)
{
	struct wc_decision decision = { 0 };
	double start = 0;

	set_scene((const struct target *)subject);
	for (unsigned i = 0; i < count + WARM_UP; i++) {
		if (i == WARM_UP)
			start = thread_ns();
		decision.request.function_id = PACKET_FUNCTION;
		decision.request.id.request_id = i;
		wc_decide(&tables, tables.wc_config, &decision);
		if (decision.outcome != WC_OUTCOME_to_core || decision.core != 0)
			return -EPROTO;
		wc_release_core(&tables, decision.core);
	}
	*ret_ns = (thread_ns() - start) / count;
	return 0;
}

struct half {
	const struct target *target;
	pthread_barrier_t *start;
	unsigned count;
	__u32 queue;
	double ns;
	int error;
};

static void *run_half(void *argument)
{
	struct half *half = argument;
	double ignored;

	bench_pin(cpus[half->queue]);
	half->error = run(half->target, WARM_UP, half->queue, &ignored);
	pthread_barrier_wait(half->start);
	if (!half->error)
		half->error = run(half->target, half->count, half->queue, &half->ns);
	return NULL;
}

static int mean_pair(struct bench_subject *subject, unsigned count, double *ret_ns)
{
	const struct target *target = (const struct target *)subject;
	struct wc_counters before = counters_now();
	struct half halves[2];
	pthread_barrier_t start;
	pthread_t thread;
	int error;

	set_scene(target);
	pthread_barrier_init(&start, NULL, 2);
	for (__u32 i = 0; i < 2; i++)
		halves[i] = (struct half){ .target = target, .start = &start, .count = count, .queue = i };
	error = -pthread_create(&thread, NULL, run_half, &halves[1]);
	if (error)
		return error;
	run_half(&halves[0]);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&start);
	*ret_ns = (halves[0].ns + halves[1].ns) / 2;
	error = halves[0].error ? halves[0].error : halves[1].error;
	if (error)
		bench_say("%s: %s", subject->name, strerror(-error));
	return error ? error : check(target, &before, 2 * ((__u64)count + WARM_UP));
}

/* --- sets --- */

/* Measure and report those of a set that are wanted, and the floor. */
static int run_set(const struct bench_options *options, struct target *set, unsigned count, const char *title,
		   int (*mean)(struct bench_subject *, unsigned, double *), const struct bench_facts *facts)
{
	struct bench_subject *subjects[BENCH_SUBJECTS_MAX];
	unsigned chosen = 0;
	int error;

	for (unsigned i = 0; i < count; i++) {
		if (i && options->only && !strstr(set[i].subject.name, options->only))
			continue;
		set[i].subject.mean = mean;
		subjects[chosen++] = &set[i].subject;
	}
	if (mean == mean_alone)
		targets[TARGET_COUNT - 1].subject.mean = mean_user;
	if (chosen < 2)
		return 0;
	error = bench_measure(options, subjects, chosen);
	return error ? error : bench_report(options, subjects, chosen, title, facts);
}

static struct bench_subject *find(const char *name)
{
	for (unsigned i = 0; i < TARGET_COUNT; i++)
		if (!strcmp(targets[i].subject.name, name))
			return &targets[i].subject;
	return NULL;
}

/* 4,096 cores over 1 core, of the rounds that were measured already. */
static int report_flat(const struct bench_options *options, const struct bench_facts *facts)
{
	static struct bench_subject flat;
	struct bench_subject *subjects[2] = { find("dispatch_1"), &flat };

	if (options->only)
		return 0;
	flat = *find("dispatch_4096");
	flat.name = "dispatch_flat";
	return bench_report(options, subjects, 2, "Cost of more cores: 4,096 over 1", facts);
}

static void set_facts(struct bench_facts *facts)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	struct utsname name;

	uname(&name);
	bpf_obj_get_info_by_fd(bpf_program__fd(skel->progs.wc_dispatch), &info, &len);
	snprintf(facts->text, sizeof(facts->text), "\"kernel\":\"%s\",\"verified_insns\":%u", name.release,
		 info.verified_insns);
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 21, .block = 1000000, .quick_block = 100000 };
	int error = bench_parse(&options, argc, argv);
	struct bench_facts facts = { "" };

	if (error)
		return error - 1;
	if (options.mode) {
		bench_say("there are no modes");
		return 2;
	}
	if (geteuid()) {
		bench_say("needs root, for BPF");
		return BENCH_SKIP;
	}
	bench_catch_signals();
	cpu_count = bench_cpus(cpus, 2);
	if (!cpu_count || bench_pin(cpus[0]))
		return 1;
	error = open_node();
	if (!error)
		error = map_tables();
	if (!error)
		error = set_sockets();
	if (!error) {
		set_facts(&facts);
		error = run_set(&options, targets, TARGET_COUNT, "A decision and the release of the core", mean_alone,
				&facts);
	}
	if (!error)
		error = report_flat(&options, &facts);
	if (!error && cpu_count > 1)
		error = run_set(&options, pairs, PAIR_COUNT, "The same on two CPUs at once", mean_pair, &facts);
	else if (!error)
		bench_say("one CPU only: nothing is measured on two");
	close_node();
	return error == -ENOSYS ? BENCH_SKIP : error ? 1 : 0;
}
