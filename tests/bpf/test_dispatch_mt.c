/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_dispatch_mt.c - the program and user space at the same time, on the same tables: threads that run it on all CPUs, and
 * threads that do what agents and the central scheduler do. No core is ever given twice, none is lost, and in the end all
 * accounts are closed.
 *
 * Each core has an owner word (dispatch_wrap.bpf.c, wrap_owners): who claims a core, in the kernel or here, must find it without
 * an owner. WC_SECONDS=n: how long each test runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/maps.h"
#include "dispatch_wrap.skel.h" /* names the structs of maps.h */
#define FIXTURE_SKEL(name) dispatch_wrap_bpf##name
#include "tests/bpf/dispatch_wrap.h"
#include "tests/bpf/fixture.h"

#include <pthread.h>

#define RUNNERS 3
#define AGENTS 3
#define REPEAT 20000
#define FUNCTIONS 8 /* slots 1 to FUNCTIONS */
#define RESERVE (WC_SHARDS_MAX + 1)
#define WRAP_AGENT 3	       /* + number of the agent; below: enum wrap_owner */
#define OPERATIONS_MIN 1000000 /* fewer prove nothing; a machine that is busy does ten times that */

static cpu_set_t all_cpus;
static unsigned seconds = 6;
static bool stop, knobs;
static int policy_count; /* that the knobs are turned through */

struct worker {
	pthread_t thread;
	unsigned number;
	uint64_t prng;
	__u64 operations, claims, twice;
	int error;
} runners[RUNNERS], agents[AGENTS];

/* xorshift64* (Vigna 2016) */
static uint32_t draw(struct worker *self, uint32_t below)
{
	self->prng ^= self->prng >> 12;
	self->prng ^= self->prng << 25;
	self->prng ^= self->prng >> 27;
	return (uint32_t)((self->prng * 0x2545f4914f6cdd1dULL) >> 32) % below;
}

static __u64 *owner_of(__u32 core)
{
	return (__u64 *)&fixture.skel->bss->wrap_owners[core];
}

/* --- the program --- */

static void pin_to(unsigned number)
{
	int count = CPU_COUNT(&all_cpus), wanted = (int)number % count;
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &all_cpus) && wanted-- == 0)
			CPU_SET((size_t)cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* Batches of requests for one function after the other, each with ids of its own, on either queue. */
static void *run_program(void *argument)
{
	struct worker *self = argument;
	struct packet packet;

	pin_to(self->number);
	while (!WC_READ(stop) && !self->error) {
		__u32 function = 1 + draw(self, FUNCTIONS), queue = draw(self, SHARDS);
		struct xdp_md context = { .ingress_ifindex = (__u32)fixture.ifindex, .rx_queue_index = queue };
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data, .repeat = REPEAT, .ctx_in = &context,
			    .ctx_size_in = sizeof(context));

		packet_build(&packet, &(struct packet_recipe){ .function = 0x1000 | function,
							       .from_port = (uint16_t)(1000 + self->number),
							       .request = self->operations + 1,
							       .no_deadline = 1,
							       .flags = draw(self, 8) ? 0 : WC_FLAG_TIMED });
		opts.data_size_in = context.data_end = packet.len;
		if (bpf_prog_test_run_opts(bpf_program__fd(fixture.skel->progs.wc_stress), &opts))
			self->error = errno;
		self->operations += REPEAT;
	}
	return NULL;
}

/* --- agents and the central scheduler --- */

static void release(struct worker *self, __u32 core)
{
	struct wc_tables *t = &fixture.tables;
	struct wc_function *function = &t->wc_functions[1 + draw(self, FUNCTIONS)];
	struct wc_tag *tag = &t->wc_tags[1 + draw(self, 2)];

	/* What an agent writes about a core that is its own: warm, for what it has just run. */
	WC_WRITE(function->warm[draw(self, WC_WARM_MAX)], (__u16)(draw(self, 8) ? core + 1 : 0));
	if (draw(self, 2)) {
		wc_fetch_or(&tag->word[core / 64], 1ULL << core % 64);
		wc_fetch_or(&tag->summary, 1ULL << core / 64);
	} else {
		wc_fetch_and(&tag->word[core / 64], ~(1ULL << core % 64));
	}
	WC_WRITE(*owner_of(core), WRAP_NOBODY);
	wc_release_core(t, core);
}

/* It was claimed just now. */
static void own(struct worker *self, __u32 core)
{
	if (wc_cas(owner_of(core), WRAP_NOBODY, WRAP_AGENT + self->number) != WRAP_NOBODY)
		self->twice++;
	core_at(core)->claims++;
	WC_WRITE(core_at(core)->state, WC_CORE_RUNNING);
	self->claims++;
	release(self, core);
}

/* A core that the program left to its agent. */
static bool take_over(struct worker *self, __u32 core)
{
	if (WC_READ(*owner_of(core)) != WRAP_HANDED ||
	    wc_cas(owner_of(core), WRAP_HANDED, WRAP_AGENT + self->number) != WRAP_HANDED)
		return false;
	WC_WRITE(core_at(core)->state, WC_CORE_RUNNING);
	release(self, core);
	return true;
}

static __u32 claim_somehow(struct worker *self)
{
	struct wc_tables *t = &fixture.tables;
	__u32 core = draw(self, CORES), queue = draw(self, SHARDS);

	switch (draw(self, 8)) {
	case 0:
		return wc_freeq_claim(t, queue);
	case 1:
		return wc_freeq_claim_next(t, queue);
	case 2:
		return wc_freeq_steal(t, queue);
	case 3:
		return wc_claim_tagged_in(t, queue | 1 << 16);
	case 4:
		return wc_freeq_claim_exact(t, queue, draw(self, 2) ? RESERVE : 0);
	default:
		return wc_take_core(t, core) ? core : WC_NONE;
	}
}

static void turn_knobs(struct worker *self)
{
	struct wc_config *config = fixture.tables.wc_config;

	WC_WRITE(config->order, draw(self, WC_ORDER_COUNT));
	WC_WRITE(config->prefer, draw(self, WC_PREFER_COUNT));
	WC_WRITE(config->policy, draw(self, (uint32_t)policy_count));
	wc_config_changed(config);
	WC_WRITE(config->core_queue_max, draw(self, 20));
	WC_WRITE(config->pending_max, draw(self, 20));
}

static void *be_agent(void *argument)
{
	struct worker *self = argument;
	__u32 queues[] = { 0, 0, 0, 1, 1, 1, RESERVE }, core = WC_NONE;

	while (!WC_READ(stop)) {
		switch (draw(self, 8)) {
		case 0: /* the central scheduler moves a core */
			if (!self->number)
				WC_WRITE(core_at(draw(self, CORES))->home, (__u16)queues[draw(self, 7)]);
			if (!self->number && knobs)
				turn_knobs(self);
			break;
		case 1:
		case 2:
			core = claim_somehow(self);
			if (core != WC_NONE)
				own(self, core);
			break;
		default:
			take_over(self, draw(self, CORES));
		}
		self->operations++;
	}
	return NULL;
}

/* --- all of them --- */

static void prepare(void)
{
	struct wc_tables *t = &fixture.tables;

	fixture_reset();
	memset(fixture.skel->bss, 0, sizeof(*fixture.skel->bss));
	t->wc_config->pending_max = 1000000;
	t->wc_config->core_queue_max = 8;
	for (int cpu = 0; cpu < WC_CPUS_MAX; cpu++)
		t->wc_config->cpu_core[cpu] = (__u16)(1 + cpu % CORES);
	for (__u32 slot = 1; slot <= FUNCTIONS; slot++) {
		struct wc_function *function = &t->wc_functions[slot];

		function->id = 0x1000 | slot;
		function->tag_libs = slot & 1 ? 1 : 0;
		function->tag_runtime = slot & 2 ? 2 : 0;
		function->running_max = slot & 4 ? 2 : 0;
		function->reserve = slot == 8 ? RESERVE : 0;
	}
	function_at()->id = 0x1003; /* slot 3: one of them */
	stop = false;
}

static void run_all(const char *what)
{
	__u64 runs = 0, operations = 0, claims = 0, claimed = 0, released = 0, left_over = 0;
	struct wc_counters counters;
	struct worker cleaner = { .prng = 1 };

	for (unsigned i = 0; i < RUNNERS + AGENTS; i++) {
		struct worker *worker = i < RUNNERS ? &runners[i] : &agents[i - RUNNERS];

		*worker = (struct worker){ .number = i < RUNNERS ? i : i - RUNNERS,
					   .prng = 0x9e3779b97f4a7c15ULL * (i + 1) };
		assert_int_equal(pthread_create(&worker->thread, NULL, i < RUNNERS ? run_program : be_agent, worker),
				 0);
	}
	for (unsigned i = 0; i < seconds * 10; i++)
		usleep(100000);
	WC_WRITE(stop, true);
	for (unsigned i = 0; i < RUNNERS; i++) {
		pthread_join(runners[i].thread, NULL);
		assert_int_equal(runners[i].error, 0);
		runs += runners[i].operations;
	}
	for (unsigned i = 0; i < AGENTS; i++) {
		pthread_join(agents[i].thread, NULL);
		operations += agents[i].operations;
		claims += agents[i].claims;
		if (agents[i].twice)
			fail_msg("%s: agent %u claimed cores %llu times that had an owner", what, i,
				 (unsigned long long)agents[i].twice);
	}
	counters = fixture_counters();
	assert_int_equal(counters.rx, runs);
	if (fixture.skel->bss->wrap_twice)
		fail_msg("%s: the program claimed cores %llu times that had an owner", what,
			 (unsigned long long)fixture.skel->bss->wrap_twice);
	assert_int_equal(fixture.skel->bss->wrap_lost, 0);
	/* The sum of the claims is that of the releases and of the cores that are owned. */
	for (__u32 core = 0; core < CORES; core++) {
		claimed += core_at(core)->claims;
		released += core_at(core)->releases;
		left_over += *owner_of(core) != WRAP_NOBODY;
	}
	assert_int_equal(claimed, released + left_over);
	assert_int_equal(claimed, counters.to_core - counters.claim_early + claims);
	for (__u32 core = 0; core < CORES; core++)
		take_over(&cleaner, core);
	for (__u32 core = 0; core < CORES; core++) {
		assert_int_equal(*owner_of(core), WRAP_NOBODY);
		assert_int_equal(core_at(core)->state, WC_CORE_FREE);
		assert_int_equal(core_at(core)->queued, 0);
		assert_int_equal(core_at(core)->claims, core_at(core)->releases);
	}
	for (__u32 slot = 1; slot <= FUNCTIONS; slot++) {
		assert_int_equal(fixture.tables.wc_functions[slot].running, 0);
		assert_int_equal(fixture.tables.wc_functions[slot].waiting, 0);
	}
	for (__u32 shard = 0; shard < SHARDS; shard++) {
		assert_int_equal(wc_pending_count(shard_at(shard)), 0);
		assert_int_equal(wc_early_count(shard_at(shard)), 0);
	}
	fixture_check(what);
	printf("%s: %llu operations: %llu decisions (%llu to a core, %llu of them stolen, %llu warm, %llu late, %llu to "
	       "the pending queue, %llu busy), %llu of agents with %llu claims\n",
	       what, (unsigned long long)(runs + operations), (unsigned long long)runs,
	       (unsigned long long)counters.to_core, (unsigned long long)counters.claim_stolen,
	       (unsigned long long)counters.claim_warm, (unsigned long long)counters.claim_late,
	       (unsigned long long)counters.to_pending,
	       (unsigned long long)(counters.busy_pending + counters.busy_function), (unsigned long long)operations,
	       (unsigned long long)claims);
	assert_true(runs + operations >= OPERATIONS_MIN);
	assert_true(counters.claim_warm && counters.claim_stolen && counters.claim_libs && counters.claim_runtime &&
		    counters.claim_local && claims);
}

/* The paper's policy, in the order that is the default. */
static void test_central(void **state)
{
	(void)state;
	prepare();
	knobs = false;
	run_all("central");
}

/* Somebody turns every knob all the time, the policy included: each decision is one as if nobody had. */
static void test_knobs(void **state)
{
	(void)state;
	prepare();
	knobs = true;
	policy_count = WC_POLICY_COUNT;
	run_all("knobs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_central),
		cmocka_unit_test(test_knobs),
	};
	const char *text = getenv("WC_SECONDS");
	int failed;

	if (text)
		seconds = (unsigned)strtoul(text, NULL, 10);
	if (sched_getaffinity(0, sizeof(all_cpus), &all_cpus))
		return 1;
	fixture_open();
	fixture_sockets();
	fixture_set_sockets(SHARDS, true);
	sched_setaffinity(0, sizeof(all_cpus), &all_cpus); /* the fixture had pinned it to one */
	failed = cmocka_run_group_tests_name("dispatch, many threads", tests, NULL, NULL);
	wc_umem_free(fixture.umem);
	return failed;
}
