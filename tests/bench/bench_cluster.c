/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_cluster.c - group `cluster`: what a decision of a cluster's scheduler costs, and how many a second 1, 2 and 4 schedulers make.
 *
 * Each scheduler is the real program, loaded by itself with maps of its own (tests/bpf/cluster_wrap.bpf.c), and has a thread, on as many CPUs as there are: beyond
 * that they take turns, and the figure says on how many CPUs it was. Its own cores are busy, so a decision is all that happens to an INVOKE which goes to a node:
 * parse, look at the own cores, is the id known, claim a core of a node, enter the id, the ORDER with its MAC around the frame; then the core is free again by what
 * reads an entry of a CORE_FREE. BPF_PROG_TEST_RUN delivers nothing.
 *
 * Time is that of the threads: what preempts them does not count. All schedulers of a CPU one after the other, and the CPU that takes longest: so many decisions
 * in that time. What the clock on the wall says is recorded beside it (`wall_per_s`). After each block the counters must say that every run was what it should be.
 */
#include "tests/bench/bench.h"

#include "bpf/decide.h"
#include "cluster_wrap.skel.h"
#include "tests/bpf/packet.h"
#include "user/bpf_load.h"
#include "user/cluster_wire.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define SCHEDULERS 4
#define MEMBERS 64
#define MEMBER_CORES 64
#define OWN_CORES 64
#define EPOCH 0xabcd1234u
#define TERM 0x1122334455667788ULL
#define WARM_UP 2000
#define QUICKLY 8 /* what takes a few ns is run so much more often, or the start of a test run would count */

enum what {
	EMPTY,
	LOCAL,	/* the own cores are free */
	REMOTE, /* they are busy */
	FREES,	/* a CORE_FREE of so many cores */
};

struct subject {
	struct bench_subject subject;
	enum what what;
	unsigned schedulers; /* at once */
	unsigned frees;
	double wall[BENCH_ROUNDS_MAX]; /* decisions a second */
	unsigned round;
};

static struct scheduler {
	struct cluster_wrap_bpf *skel;
	struct wc_tables tables;
	uint64_t request;
	/* of a run */
	const struct subject *subject;
	pthread_barrier_t *start;
	unsigned count;
	int cpu, error;
	double cpu_ns;
	uint64_t begin, end; /* on the wall */
} schedulers[SCHEDULERS];

static const struct wc_cluster_address first_member = {
	.key = { 0x1111, 0x2222 }, .term = TERM, .epoch = EPOCH, .member = 1
};

static int cpus[SCHEDULERS], sockets[2];
static unsigned cpu_count;

#define SUBJECT(name_, text_, ...)                                                                                     \
	{                                                                                                              \
		.subject = { .name = name_, .text = text_ }, __VA_ARGS__                                               \
	}

/* The floors have the number of schedulers as their index: 1, 2 and 4. */
static struct subject subjects[] = {
	SUBJECT("cluster_floor_1", "an XDP program that drops (floor)", .what = EMPTY, .schedulers = 1),
	SUBJECT("cluster_floor_2", "the same twice at once", .what = EMPTY, .schedulers = 2),
	SUBJECT("cluster_floor_4", "the same four times at once", .what = EMPTY, .schedulers = 4),
	SUBJECT("cluster_decision_local", "a core of its own", .what = LOCAL, .schedulers = 1),
	SUBJECT("cluster_decision_remote", "a core of a node", .what = REMOTE, .schedulers = 1),
	SUBJECT("cluster_decisions_2", "the same, two schedulers", .what = REMOTE, .schedulers = 2),
	SUBJECT("cluster_decisions_4", "the same, four schedulers", .what = REMOTE, .schedulers = 4),
	SUBJECT("cluster_core_free_1", "CORE_FREE of one core", .what = FREES, .schedulers = 1, .frees = 1),
	SUBJECT("cluster_core_free_64", "CORE_FREE of 64 cores", .what = FREES, .schedulers = 1, .frees = WC_FREE_MAX),
};
#define SUBJECT_COUNT (sizeof(subjects) / sizeof(subjects[0]))
enum {
	FLOOR_1,
	FLOOR_2,
	FLOOR_4,
	DECISION_LOCAL,
	DECISION_REMOTE,
	DECISIONS_2,
	DECISIONS_4,
	CORE_FREE_1,
	CORE_FREE_64
};

/* --- schedulers --- */

static int load(struct scheduler *scheduler)
{
	struct cluster_wrap_bpf *skel = scheduler->skel = cluster_wrap_bpf__open();
	size_t len;
	int error;

	if (!skel)
		return -errno;
	bpf_program__set_autoload(skel->progs.wc_dispatch, false); /* only what is measured */
	error = bpf_map__set_max_entries(skel->maps.wc_runs, OWN_CORES * WC_LANES_MAX);
	if (!error)
		error = bpf_map__set_max_entries(skel->maps.wc_core_sockets, OWN_CORES);
	if (!error)
		error = cluster_wrap_bpf__load(skel);
	if (error)
		return error;
#define MAP(name, type)                                                                                                \
	scheduler->tables.name =                                                                                       \
		wc_bpf_map_table(skel->obj, #name, sizeof(struct type), &scheduler->tables.name##_max, &len);          \
	if (!scheduler->tables.name)                                                                                   \
		return -errno;
	WC_TABLES_EACH(MAP)
#undef MAP
	scheduler->tables.wc_cores_max = OWN_CORES;
	/* A test run looks sockets up, and delivers nothing: they need not be bound to a device. */
	for (__u32 core = 0; core < OWN_CORES; core++)
		if (bpf_map_update_elem(bpf_map__fd(skel->maps.wc_core_sockets), &core, &sockets[core % 2], BPF_ANY))
			return -errno;
	return 0;
}

static int open_all(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int error = 0;

	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* kernels before 5.11 */
	for (int i = 0; i < 2; i++) {
		sockets[i] = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
		if (sockets[i] < 0) {
			bench_say("no AF_XDP sockets: %s", strerror(errno));
			return -ENOSYS;
		}
	}
	for (int i = 0; i < SCHEDULERS && !error; i++)
		error = load(&schedulers[i]);
	if (error)
		bench_say("cannot load the program: %s", strerror(-error));
	return error;
}

static void close_all(void)
{
	for (int i = 0; i < SCHEDULERS; i++)
		cluster_wrap_bpf__destroy(schedulers[i].skel);
	for (int i = 0; i < 2; i++)
		if (sockets[i] > 0)
			close(sockets[i]);
}

/* The tables of a scheduler that leads, whose nodes have said that all their cores are free. The window of ids stays: it is full after a while. */
static void set_scene(struct scheduler *scheduler, enum what what)
{
	struct wc_tables *t = &scheduler->tables;

	memset(t->wc_top, 0, sizeof(*t->wc_top));
	memset(t->wc_shards, 0, WC_QUEUES_MAX * sizeof(*t->wc_shards));
	memset(t->wc_cores, 0, OWN_CORES * sizeof(*t->wc_cores));
	memset(t->wc_functions, 0, WC_FUNCTIONS_MAX * sizeof(*t->wc_functions));
	memset(t->wc_member_functions, 0, WC_FUNCTIONS_MAX * sizeof(*t->wc_member_functions));
	*t->wc_config = (struct wc_config){
		.up = WC_UP_SERVING,
		.port = PACKET_PORT,
		.shard_count = 1,
		.core_count = OWN_CORES,
		.pending_max = 1024,
		.order = WC_ORDER_PACK,
		.addr4_count = 1,
		.addr4 = { htonl(PACKET_NODE4) },
		.seen_key = { 0x1111, 0x2222 },
	};
	wc_config_changed(t->wc_config);
	for (__u32 core = 0; core < OWN_CORES; core++) {
		t->wc_cores[core].claims = 1;
		t->wc_cores[core].state = WC_CORE_RUNNING;
		if (what == LOCAL)
			wc_release_core(t, core);
	}
	t->wc_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)].id = PACKET_FUNCTION;
	t->wc_member_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)].id = PACKET_FUNCTION;
	*t->wc_cluster = (struct wc_cluster){
		.key = { first_member.key[0], first_member.key[1] },
		.term = TERM,
		.scheduler = 1,
		.address = htonl(PACKET_NODE4),
		.port = htons(PACKET_PORT),
		.mtu = 1500,
		.silent_ns = 1000000000,
		.cores = MEMBERS * MEMBER_CORES,
	};
	for (__u16 i = 0; i < MEMBERS; i++)
		t->wc_members[i + 1] = (struct wc_member){ .state = WC_MEMBER_READY,
							   .epoch = EPOCH,
							   .address = htonl(0x0a4d0100u + i),
							   .port = htons(PACKET_PORT),
							   .link = 0xc30000000002,
							   .first = (__u32)i * MEMBER_CORES,
							   .count = MEMBER_CORES };
	for (__u32 i = 0; i < MEMBERS * MEMBER_CORES; i++) {
		t->wc_member_cores[i] = (struct wc_member_core){ .state = WC_CORE_CLAIMED,
								 .member = (__u16)(i / MEMBER_CORES + 1),
								 .core = (__u16)(i % MEMBER_CORES),
								 .claims = 1 };
		if (what != FREES)
			wc_member_said(t, i, 1, true, 0);
	}
}

static struct wc_counters counters_now(const struct scheduler *scheduler)
{
	int possible = libbpf_num_possible_cpus();
	struct wc_counters all[possible > 0 ? possible : 1], sum = { 0 };
	__u32 zero = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(scheduler->skel->maps.wc_counters), &zero, all))
		return sum;
	wc_counters_total(&sum, all, possible, scheduler->tables.wc_fast, scheduler->tables.wc_fast_max);
	return sum;
}

/* --- measuring --- */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void build(struct packet *packet, struct scheduler *scheduler)
{
	struct packet_recipe recipe = { .no_deadline = 1 };
	struct wc_core_free entries[WC_FREE_MAX];
	struct wc_cluster_header header;
	unsigned frees = scheduler->subject->frees;

	if (scheduler->subject->what != FREES) {
		recipe.request = ++scheduler->request << 32 | 1;
		packet_build(packet, &recipe);
		return;
	}
	for (unsigned i = 0; i < frees; i++)
		entries[i] = (struct wc_core_free){ .core = htons((__u16)i),
						    .flags = htons(WC_FREE_NOW),
						    .grant = htonl(1) };
	wc_cluster_free(&header, &first_member, entries, (uint16_t)frees);
	recipe.payload = (int)(frees * sizeof(entries[0]));
	packet_build(packet, &recipe);
	put(packet->data + 6, 6, 0x0200000000c3);
	memcpy(packet->data + packet->header, &header, sizeof(header));
	memcpy(packet->data + packet->header + sizeof(header), entries, frees * sizeof(entries[0]));
	packet_checksums(packet);
}

/* `count` runs in one system call. */
static int run(struct scheduler *scheduler, unsigned count)
{
	static const __u32 expected[] = { XDP_DROP, XDP_REDIRECT, XDP_TX, XDP_DROP };
	enum what what = scheduler->subject->what;
	struct cluster_wrap_bpf *skel = scheduler->skel;
	const struct bpf_program *program = what == EMPTY ? skel->progs.wrap_empty :
					    what == FREES ? skel->progs.wrap_free :
							    skel->progs.wrap_invoke;
	LIBBPF_OPTS(bpf_test_run_opts, options, .repeat = (int)count);
	struct packet packet;

	build(&packet, scheduler);
	options.data_in = packet.data;
	options.data_size_in = packet.len;
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options))
		return -errno;
	return options.retval == expected[what] ? 0 : -EPROTO;
}

static void *run_one(void *argument)
{
	struct scheduler *scheduler = argument;
	uint64_t begin;

	bench_pin(scheduler->cpu);
	scheduler->error = run(scheduler, WARM_UP);
	pthread_barrier_wait(scheduler->start);
	scheduler->begin = clock_ns(CLOCK_MONOTONIC);
	begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (!scheduler->error)
		scheduler->error = run(scheduler, scheduler->count);
	scheduler->cpu_ns = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin);
	scheduler->end = clock_ns(CLOCK_MONOTONIC);
	return NULL;
}

/* Did every run go where it should? */
static int check(const struct scheduler *scheduler, const struct wc_counters *before)
{
	__u64 runs = (__u64)scheduler->count + WARM_UP, moved;
	struct wc_counters now = counters_now(scheduler);
	enum what what = scheduler->subject->what;

	if (what == EMPTY)
		return 0;
	moved = what == LOCAL  ? now.to_core - before->to_core :
		what == REMOTE ? now.to_member - before->to_member :
				 now.core_free - before->core_free;
	if (moved == runs && now.rx - before->rx == runs && !scheduler->skel->bss->wrap_lost)
		return 0;
	bench_say("%s: only %llu of %llu runs were what they should be", scheduler->subject->subject.name,
		  (unsigned long long)moved, (unsigned long long)runs);
	return -EPROTO;
}

/* So many schedulers at once: ns a decision, of all of them together. */
static int mean(struct bench_subject *bench, unsigned count, double *ret_ns)
{
	struct subject *subject = (struct subject *)bench;
	struct wc_counters before[SCHEDULERS];
	pthread_t thread[SCHEDULERS];
	uint64_t begin = UINT64_MAX, end = 0;
	double on_cpu[SCHEDULERS] = { 0 }, longest = 0;
	pthread_barrier_t start;
	unsigned started = 0;
	int error = 0;

	count = subject->what == EMPTY || subject->what == LOCAL ? count * QUICKLY :
		subject->frees > 1				 ? count / QUICKLY :
								   count;
	pthread_barrier_init(&start, NULL, subject->schedulers);
	for (unsigned i = 0; i < subject->schedulers; i++) {
		struct scheduler *s = &schedulers[i];

		set_scene(s, subject->what);
		before[i] = counters_now(s);
		s->subject = subject;
		s->start = &start;
		s->count = count;
		s->cpu = cpus[i % cpu_count];
	}
	for (; started < subject->schedulers; started++)
		if (pthread_create(&thread[started], NULL, run_one, &schedulers[started])) {
			bench_say("cannot start a thread"); /* the others wait for it */
			exit(1);
		}
	for (unsigned i = 0; i < started; i++) {
		struct scheduler *s = &schedulers[i];

		pthread_join(thread[i], NULL);
		on_cpu[i % cpu_count] += s->cpu_ns;
		begin = s->begin < begin ? s->begin : begin;
		end = s->end > end ? s->end : end;
		if (s->error && !error)
			bench_say("%s: %s", subject->subject.name, strerror(-s->error));
		error = error ? error : s->error;
		error = error ? error : check(s, &before[i]);
	}
	pthread_barrier_destroy(&start);
	for (unsigned i = 0; i < cpu_count; i++)
		longest = on_cpu[i] > longest ? on_cpu[i] : longest;
	*ret_ns = longest / ((double)count * started);
	/* bench_measure() visits each once before it counts. */
	if (subject->round)
		subject->wall[subject->round - 1] = (double)count * started * 1e9 / (double)(end - begin);
	subject->round++;
	return error;
}

/* --- results --- */

static double median(const double *values, unsigned count)
{
	double copy[BENCH_ROUNDS_MAX];

	memcpy(copy, values, count * sizeof(*copy));
	return bench_quantile(copy, count, 500);
}

/* Decisions a second of so many schedulers: over the floor of as many empty programs, and over one scheduler. */
static int report_rate(const struct bench_options *options, unsigned number, unsigned floor, const char *kernel)
{
	const struct subject *subject = &subjects[number], *empty = &subjects[floor], *one = &subjects[DECISION_REMOTE];
	double rate[BENCH_ROUNDS_MAX], ratio[BENCH_ROUNDS_MAX], more[BENCH_ROUNDS_MAX], floors[BENCH_ROUNDS_MAX];
	unsigned rounds = options->rounds, at_once = subject->schedulers;
	double value, low, high, quarter, three, over;
	unsigned cpu = at_once < cpu_count ? at_once : cpu_count;
	FILE *file;

	for (unsigned i = 0; i < rounds; i++) {
		rate[i] = 1e9 / subject->subject.p50[i];
		floors[i] = 1e9 / empty->subject.p50[i];
		ratio[i] = rate[i] / floors[i];
		more[i] = one->subject.p50[i] / subject->subject.p50[i];
	}
	value = bench_quantile(rate, rounds, 500);
	over = bench_quantile(ratio, rounds, 500);
	low = ratio[0];
	high = ratio[rounds - 1];
	quarter = bench_quantile(ratio, rounds, 250);
	three = bench_quantile(ratio, rounds, 750);
	printf("  %u scheduler%s on %u CPU%s %14.0f a second, wall %.0f   x floor %.4f (%.4f..%.4f)   x one %.2f%s\n",
	       at_once, at_once > 1 ? "s" : "", cpu, cpu > 1 ? "s" : "", value, median(subject->wall, rounds), over,
	       low, high, median(more, rounds), cpu < at_once ? "   (they take turns)" : "");
	if (!options->output)
		return 0;
	file = fopen(options->output, "ae");
	if (file)
		fprintf(file,
			"{\"name\":\"cluster_rate_%u\",\"value\":%.0f,\"unit\":\"decisions/s\",\"floor\":%.0f,\"ratio\":%.5f,\"runs\":%u,"
			"\"spread\":%.5f,\"ratio_min\":%.5f,\"ratio_max\":%.5f,\"schedulers\":%u,\"cpus\":%u,\"over_one\":%.4f,"
			"\"wall_per_s\":%.0f,\"kernel\":\"%s\"}\n",
			at_once, value, median(floors, rounds), over, rounds, three - quarter, low, high, at_once, cpu,
			median(more, rounds), median(subject->wall, rounds), kernel);
	if (file && !fclose(file))
		return 0;
	bench_say("cannot write %s: %s", options->output, strerror(errno));
	return -EIO;
}

static int report(const struct bench_options *options)
{
	static struct bench_subject over;
	struct bench_subject *costs[] = { &subjects[FLOOR_1].subject, &subjects[DECISION_LOCAL].subject,
					  &subjects[DECISION_REMOTE].subject, &subjects[CORE_FREE_1].subject,
					  &subjects[CORE_FREE_64].subject };
	struct bench_subject *beside[] = { &subjects[DECISION_LOCAL].subject, &over };
	struct bench_facts facts = { "" };
	struct utsname name;
	int error;

	uname(&name);
	snprintf(facts.text, sizeof(facts.text), "\"kernel\":\"%s\"", name.release);
	error = bench_report(options, costs, 5, "What a scheduler of a cluster does, and undoes", &facts);
	over = subjects[DECISION_REMOTE].subject;
	over.name = "cluster_remote_over_local";
	if (!error)
		error = bench_report(options, beside, 2, "A core of a node over one of its own", &facts);
	printf("\nDecisions a second, of all schedulers, of time of the CPU\n");
	if (!error)
		error = report_rate(options, DECISION_REMOTE, FLOOR_1, name.release);
	if (!error)
		error = report_rate(options, DECISIONS_2, FLOOR_2, name.release);
	return error ? error : report_rate(options, DECISIONS_4, FLOOR_4, name.release);
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 21, .block = 200000, .quick_block = 20000 };
	struct bench_subject *all[SUBJECT_COUNT];
	int error = bench_parse(&options, argc, argv);

	if (error)
		return error - 1;
	if (options.mode || options.only) {
		bench_say("there are no modes, and nothing can be left out: the figures are ratios of each other");
		return 2;
	}
	if (geteuid()) {
		bench_say("needs root, for BPF");
		return BENCH_SKIP;
	}
	bench_catch_signals();
	cpu_count = bench_cpus(cpus, SCHEDULERS);
	if (!cpu_count)
		return 1;
	if (cpu_count < SCHEDULERS)
		bench_say("%u CPUs: of four schedulers some take turns on one", cpu_count);
	for (unsigned i = 0; i < SUBJECT_COUNT; i++) {
		subjects[i].subject.mean = mean;
		all[i] = &subjects[i].subject;
	}
	error = open_all();
	if (!error)
		error = bench_measure(&options, all, SUBJECT_COUNT);
	if (!error)
		error = report(&options);
	close_all();
	return error == -ENOSYS ? BENCH_SKIP : error ? 1 : 0;
}
