/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fixture.h - the real XDP program, loaded from its skeleton and run on frames with BPF_PROG_TEST_RUN; attached nowhere.
 *
 * The maps are mapped into memory as the daemon does it, so that tests read and break them like plain tables. Sockets, where
 * a test needs them, live on a veth pair in a network namespace that dies with the test. Include it after cmocka.h.
 *
 * A test of stage tracing defines FIXTURE_TRACING before, one of clusters FIXTURE_CLUSTERED. A test of another BPF object with the same maps (dispatch_wrap.bpf.c) defines FIXTURE_SKEL(name) before, as below.
 */
#ifndef WC_TESTS_FIXTURE_H
#define WC_TESTS_FIXTURE_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bpf/decide.h"
#include "tests/bpf/packet.h"
#include "tests/bpf/veth.h"
#include "user/bpf_load.h"
#include "user/check.h"
#include "user/umem.h"

#ifndef FIXTURE_SKEL
#include "dispatch.skel.h"
#define FIXTURE_SKEL(name) dispatch_bpf##name
#endif

#define SHARDS 2
#define QUEUES 8 /* receive queues of the device, and the most shards that a test may configure */
#define CORES 70 /* more than one word */
#define PENDING_MAX 4
#define CORE_QUEUE_MAX 3
#define RETRY_NS 1234567ULL
#define DEV "wct0"

static struct fixture {
	struct FIXTURE_SKEL() * skel;
	struct wc_tables tables;
	struct wc_umem *umem;
	int prog;
	int cpu; /* all packets are "received" on this one */
	int ifindex;
} fixture;

static inline void fixture_skip(const char *why)
{
	printf("SKIP: %s\n", why);
	exit(77);
}

/* Load once for the whole test program. */
static inline void fixture_open(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct FIXTURE_SKEL() * skel;
	cpu_set_t one;
	size_t len;
	int error;

	if (geteuid() != 0)
		fixture_skip("loading a BPF program needs root");
	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* kernels before 5.11 */
	fixture.cpu = sched_getcpu();
	CPU_ZERO(&one);
	CPU_SET(fixture.cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		exit(1);
	skel = fixture.skel = FIXTURE_SKEL(__open)();
	if (!skel)
		exit(1);
#ifdef FIXTURE_CLUSTERED
	bpf_program__set_autoload(skel->progs.wc_dispatch, false);
	bpf_program__set_autoload(skel->progs.wc_dispatch_cluster, true);
#endif
#ifdef FIXTURE_TRACING
	skel->rodata->wc_tracing = 1;
#endif
	error = bpf_map__set_max_entries(skel->maps.wc_runs, CORES * WC_LANES_MAX) ||
		bpf_map__set_max_entries(skel->maps.wc_core_sockets, QUEUES * CORES) ||
		bpf_map__set_max_entries(skel->maps.wc_pending_sockets, QUEUES);
	if (!error)
		error = FIXTURE_SKEL(__load)(skel);
	if (error == -EPERM || error == -ENOSYS)
		fixture_skip("this kernel does not let root load a BPF program");
	if (error) {
		printf("cannot load the program: %s\n", strerror(-error));
		exit(1);
	}
#ifdef FIXTURE_CLUSTERED
	fixture.prog = bpf_program__fd(skel->progs.wc_dispatch_cluster);
#else
	fixture.prog = bpf_program__fd(skel->progs.wc_dispatch);
#endif
#define FIXTURE_MAP(name, type)                                                                                        \
	fixture.tables.name =                                                                                          \
		wc_bpf_map_table(skel->obj, #name, sizeof(*fixture.tables.name), &fixture.tables.name##_max, &len);    \
	if (!fixture.tables.name) {                                                                                    \
		perror("cannot map " #name);                                                                           \
		exit(1);                                                                                               \
	}
	WC_TABLES_EACH(FIXTURE_MAP)
#undef FIXTURE_MAP
	fixture.tables.wc_cores_max = CORES; /* as the daemon does: there is room for more */
}

/* Another policy, as when somebody turns the knob. */
static inline void fixture_policy(__u32 policy)
{
	WC_WRITE(fixture.tables.wc_config->policy, policy);
	wc_config_changed(fixture.tables.wc_config);
}

static inline void fixture_clear_counters(void)
{
	struct wc_counters *all = calloc((size_t)libbpf_num_possible_cpus(), sizeof(*all));
	__u32 zero = 0;

	assert_non_null(all);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture.skel->maps.wc_counters), &zero, all, BPF_ANY), 0);
	memset(fixture.tables.wc_fast, 0, fixture.tables.wc_fast_max * sizeof(*fixture.tables.wc_fast));
	free(all);
}

static inline struct wc_counters fixture_counters(void)
{
	int cpus = libbpf_num_possible_cpus();
	struct wc_counters *all = calloc((size_t)cpus, sizeof(*all)), sum = { 0 };
	__u32 zero = 0;

	assert_non_null(all);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(fixture.skel->maps.wc_counters), &zero, all), 0);
	wc_counters_total(&sum, all, cpus, fixture.tables.wc_fast, fixture.tables.wc_fast_max);
	free(all);
	return sum;
}

/* A node that is up, with all cores free (even ones at shard 0, odd ones at shard 1), one function and nothing seen. */
static inline void fixture_reset(void)
{
	struct wc_tables *t = &fixture.tables;
	uint8_t address[16];

#define FIXTURE_CLEAR(name, type) memset(t->name, 0, t->name##_max * sizeof(*t->name));
	WC_TABLES_EACH(FIXTURE_CLEAR)
#undef FIXTURE_CLEAR
	fixture_clear_counters();
	*t->wc_config = (struct wc_config){
		.up = 1,
		.port = PACKET_PORT,
		.shard_count = SHARDS,
		.core_count = CORES,
		.pending_max = PENDING_MAX,
		.addr4_count = 2,
		.addr4 = { htonl(PACKET_NODE4), htonl(0x01020304) },
		.addr6_count = 2,
		.seen_key = { 0x1111, 0x2222 },
		.retry_after_ns = RETRY_NS,
		.core_queue_max = CORE_QUEUE_MAX,
		.pack_slots = 2,
	};
	packet_address6(address, 99);
	memcpy(t->wc_config->addr6[0], address, 16);
	packet_address6(address, 1);
	memcpy(t->wc_config->addr6[1], address, 16);
	wc_config_changed(t->wc_config);
	for (__u32 core = 0; core < CORES; core++) {
		t->wc_cores[core].state = WC_CORE_FREE;
		t->wc_cores[core].shard = t->wc_cores[core].home = core % SHARDS;
		wc_freeq_put(t, &t->wc_shards[core % SHARDS], core % SHARDS, core);
	}
	t->wc_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)].id = PACKET_FUNCTION;
}

static inline struct wc_core *core_at(__u32 core)
{
	return &fixture.tables.wc_cores[core];
}

static inline struct wc_shard *shard_at(__u32 shard)
{
	return &fixture.tables.wc_shards[shard];
}

/* The function that packets ask for unless their recipe names another. */
static inline struct wc_function *function_at(void)
{
	return &fixture.tables.wc_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)];
}

static inline __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000000000ULL + (__u64)now.tv_nsec;
}

/* The fast path knows only the first address: now no IPv4 packet to the node takes it. */
static inline void fixture_no_fast_path(void)
{
	fixture.tables.wc_config->addr4[0] = htonl(0x01020304);
	fixture.tables.wc_config->addr4[1] = htonl(PACKET_NODE4);
	wc_config_changed(fixture.tables.wc_config);
}

/* Take one core out of its queue, as an agent that runs something. */
static inline void fixture_take(__u32 core)
{
	assert_true(wc_take_core(&fixture.tables, core));
	core_at(core)->claims++;
	core_at(core)->state = WC_CORE_RUNNING;
}

static inline void fixture_take_all(void)
{
	for (__u32 core = 0; core < CORES; core++)
		fixture_take(core);
}

/* Move a free core to another queue. */
static inline void fixture_move(__u32 core, __u16 queue)
{
	fixture_take(core);
	core_at(core)->home = queue;
	wc_release_core(&fixture.tables, core);
}

/* Run one frame that came in on `queue`. Returns the verdict; *out is the frame afterwards. */
static inline int fixture_run_on(const struct packet *in, struct packet *out, __u32 queue)
{
	struct xdp_md context = { .data_end = in->len,
				  .ingress_ifindex = (__u32)fixture.ifindex,
				  .rx_queue_index = queue };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len, .data_out = out->data,
		    .data_size_out = sizeof(out->data), .repeat = 1);

	if (queue) {
		opts.ctx_in = &context;
		opts.ctx_size_in = sizeof(context);
	}
	out->recipe = in->recipe;
	out->ip = in->ip;
	out->udp = in->udp;
	out->header = in->header;
	if (bpf_prog_test_run_opts(fixture.prog, &opts))
		fail_msg("BPF_PROG_TEST_RUN of %u bytes: %s", in->len, strerror(errno));
	out->len = opts.data_size_out;
	return (int)opts.retval;
}

static inline int fixture_run(const struct packet *in, struct packet *out)
{
	return fixture_run_on(in, out, 0);
}

/* Every invariant of the tables and the counters holds. `what` says after what. */
static inline void fixture_check(const char *what)
{
	struct wc_counters counters = fixture_counters();
	json_t *problems = json_array();

	wc_check_tables(&fixture.tables, problems);
	wc_check_counters("program", &counters, problems);
	if (json_array_size(problems))
		fail_msg("%s: %s", what, json_dumps(problems, JSON_INDENT(1)));
	json_decref(problems);
}

static inline bool fixture_seen_nothing(void)
{
	for (__u32 set = 0; set < WC_SEEN_SETS; set++)
		for (int way = 0; way < WC_SEEN_WAYS; way++)
			if (WC_SEEN_FINGERPRINT(fixture.tables.wc_seen[set].slot[way]))
				return false;
	return true;
}

static inline void fixture_same(const char *what, const struct packet *got, const struct packet *expected)
{
	if (got->len != expected->len)
		fail_msg("%s: %u bytes came out instead of %u", what, got->len, expected->len);
	for (__u32 i = 0; i < got->len; i++)
		if (got->data[i] != expected->data[i])
			fail_msg("%s: byte %u is %02x instead of %02x (IP at %u, UDP at %u, header at %u)", what, i,
				 got->data[i], expected->data[i], got->ip, got->udp, got->header);
}

/* --- sockets --- */

/*
 * A veth pair with QUEUES queues in a namespace of this process, and AF_XDP sockets on the first `queues` of them. Returns
 * whether that worked, else *ret_fault says why.
 */
static inline bool fixture_open_sockets(__u32 queues, struct wc_fault *ret_fault)
{
	struct wc_umem_plan plan = { .dev = DEV, .queues = queues, .cores = 2, .pending_max = 64, .copy = true };
	const char *mode, *why = veth_make(DEV, "wct1", QUEUES);

	if (why)
		fixture_skip(why);
	fixture.ifindex = (int)if_nametoindex(DEV);
	/* With a program attached a veth device has real receive queues, which test runs can name. */
	assert_int_equal(bpf_xdp_attach(fixture.ifindex, fixture.prog, XDP_FLAGS_DRV_MODE, NULL), 0);
	return !wc_umem_create(&fixture.umem, &plan, &mode, ret_fault);
}

static inline void fixture_sockets(void)
{
	struct wc_fault fault;

	if (!fixture_open_sockets(1, &fault)) {
		printf("%s\n", fault.text);
		exit(1);
	}
}

/*
 * Enter or remove a socket: (shard, core), or the shard's pending socket with core WC_NONE. One stands for all: test runs
 * look sockets up, but deliver nothing.
 */
static inline void fixture_set_socket(__u32 shard, __u32 core, bool present)
{
	struct bpf_map *map = core == WC_NONE ? fixture.skel->maps.wc_pending_sockets :
						fixture.skel->maps.wc_core_sockets;
	__u32 key = core == WC_NONE ? shard : shard * CORES + core;
	int fd = wc_umem_socket(fixture.umem, 0, 0)->fd;

	if (present)
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &key, &fd, BPF_ANY), 0);
	else
		bpf_map_delete_elem(bpf_map__fd(map), &key);
}

/* All sockets of the first `shards` shards, those of pending queues included. */
static inline void fixture_set_sockets(__u32 shards, bool present)
{
	for (__u32 shard = 0; shard < shards; shard++) {
		fixture_set_socket(shard, WC_NONE, present);
		for (__u32 core = 0; core < CORES; core++)
			fixture_set_socket(shard, core, present);
	}
}

/* --- what was handed over --- */

/* The core and the tail that the program wrote into a header. */
struct handed {
	__u32 core; /* WC_NONE: to the pending queue */
	union wc_header_tail tail;
};

static inline struct handed handed_over(const struct packet *out)
{
	struct handed handed = { .core = (__u32)get(out->data + out->header + 28, 2) };

	if (handed.core == WC_CORE_ANY)
		handed.core = WC_NONE;
	memcpy(&handed.tail, out->data + out->header + 32, sizeof(handed.tail));
	return handed;
}

/* The fingerprint of the packet's identity, the way an agent computes it from what it received. */
static inline struct wc_fingerprint print_of(const struct packet *packet)
{
	struct wc_identity id = { .request_id = get(packet->data + packet->header + 8, 8) };

	memcpy(&id.client_port, packet->data + packet->udp, 2);
	if (packet->recipe.version == 6) {
		memcpy(id.client, packet->data + packet->ip + 8, 16);
	} else {
		id.client[2] = htonl(0xffff);
		memcpy(&id.client[3], packet->data + packet->ip + 12, 4);
	}
	return wc_fingerprint(&id, fixture.tables.wc_config->seen_key);
}

static inline bool is_seen(const struct packet *packet)
{
	struct wc_fingerprint print = print_of(packet);

	return wc_seen_find(&fixture.tables, &print);
}

#endif
