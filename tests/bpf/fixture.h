/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fixture.h - the real XDP program, loaded from its skeleton and run on frames with BPF_PROG_TEST_RUN; attached nowhere.
 *
 * The maps are mapped into memory as the daemon does it, so that tests read and break them like plain tables. Sockets, where
 * a test needs them, live on a veth pair in a network namespace that dies with the test. Include it after cmocka.h.
 */
#ifndef WC_TESTS_FIXTURE_H
#define WC_TESTS_FIXTURE_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bpf/decide.h"
#include "dispatch.skel.h"
#include "tests/bpf/packet.h"
#include "user/check.h"
#include "user/umem.h"

#define SHARDS 2
#define CORES 70 /* more than one word */
#define PENDING_MAX 4
#define RETRY_NS 1234567ULL
#define DEV "wct0"

static struct fixture {
	struct dispatch_bpf *skel;
	struct wc_tables tables;
	struct wc_umem *umem;
	int prog;
	int cpu; /* all packets are "received" on this one */
	int ifindex;
} fixture;

static inline void *fixture_map(struct bpf_map *map)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t len = ((size_t)bpf_map__value_size(map) * bpf_map__max_entries(map) + page - 1) & ~(page - 1);
	void *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (base == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return base;
}

static inline void fixture_skip(const char *why)
{
	printf("SKIP: %s\n", why);
	exit(77);
}

/* Load once for the whole test program. */
static inline void fixture_open(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct dispatch_bpf *skel;
	cpu_set_t one;
	int error;

	if (geteuid() != 0)
		fixture_skip("loading a BPF program needs root");
	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* kernels before 5.11 */
	fixture.cpu = sched_getcpu();
	CPU_ZERO(&one);
	CPU_SET(fixture.cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		exit(1);
	skel = fixture.skel = dispatch_bpf__open();
	if (!skel)
		exit(1);
	error = bpf_map__set_max_entries(skel->maps.wc_shards, SHARDS) ||
		bpf_map__set_max_entries(skel->maps.wc_cores, CORES) ||
		bpf_map__set_max_entries(skel->maps.wc_core_sockets, SHARDS * CORES) ||
		bpf_map__set_max_entries(skel->maps.wc_pending_sockets, SHARDS);
	if (!error)
		error = dispatch_bpf__load(skel);
	if (error == -EPERM || error == -ENOSYS)
		fixture_skip("this kernel does not let root load a BPF program");
	if (error) {
		printf("cannot load the program: %s\n", strerror(-error));
		exit(1);
	}
	fixture.prog = bpf_program__fd(skel->progs.wc_dispatch);
	fixture.tables = (struct wc_tables){
		.wc_config = fixture_map(skel->maps.wc_config),
		.wc_shards = fixture_map(skel->maps.wc_shards),
		.wc_cores = fixture_map(skel->maps.wc_cores),
		.wc_functions = fixture_map(skel->maps.wc_functions),
		.wc_seen = fixture_map(skel->maps.wc_seen),
		.wc_config_max = 1,
		.wc_shards_max = SHARDS,
		.wc_cores_max = CORES,
		.wc_functions_max = WC_FUNCTIONS_MAX,
		.wc_seen_max = WC_SEEN_SETS,
	};
}

static inline void fixture_clear_counters(void)
{
	struct wc_counters *all = calloc((size_t)libbpf_num_possible_cpus(), sizeof(*all));
	__u32 zero = 0;

	assert_non_null(all);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture.skel->maps.wc_counters), &zero, all, BPF_ANY), 0);
	free(all);
}

static inline struct wc_counters fixture_counters(void)
{
	int cpus = libbpf_num_possible_cpus();
	struct wc_counters *all = calloc((size_t)cpus, sizeof(*all)), sum = { 0 };
	__u32 zero = 0;

	assert_non_null(all);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(fixture.skel->maps.wc_counters), &zero, all), 0);
	for (int cpu = 0; cpu < cpus; cpu++)
		for (size_t i = 0; i < sizeof(sum) / sizeof(__u64); i++)
			((__u64 *)&sum)[i] += ((__u64 *)&all[cpu])[i];
	free(all);
	return sum;
}

/* A node that is up, with all cores free (even ones at shard 0, odd ones at shard 1), one function and nothing seen. */
static inline void fixture_reset(void)
{
	struct wc_tables *t = &fixture.tables;
	uint8_t address[16];

	memset(t->wc_config, 0, sizeof(*t->wc_config));
	memset(t->wc_shards, 0, SHARDS * sizeof(*t->wc_shards));
	memset(t->wc_cores, 0, CORES * sizeof(*t->wc_cores));
	memset(t->wc_functions, 0, WC_FUNCTIONS_MAX * sizeof(*t->wc_functions));
	memset(t->wc_seen, 0, WC_SEEN_SETS * sizeof(*t->wc_seen));
	fixture_clear_counters();
	*t->wc_config = (struct wc_config){
		.up = 1,
		.port = PACKET_PORT,
		.shard_count = SHARDS,
		.core_count = CORES,
		.pending_max = PENDING_MAX,
		.addr4_count = 2,
		.addr4 = { htonl(0x01020304), htonl(PACKET_NODE4) },
		.addr6_count = 2,
		.seen_key = { 0x1111, 0x2222 },
		.retry_after_ns = RETRY_NS,
	};
	packet_address6(address, 99);
	memcpy(t->wc_config->addr6[0], address, 16);
	packet_address6(address, 1);
	memcpy(t->wc_config->addr6[1], address, 16);
	for (__u32 core = 0; core < CORES; core++) {
		t->wc_cores[core].state = WC_CORE_FREE;
		t->wc_cores[core].shard = core % SHARDS;
		wc_freeq_put(&t->wc_shards[core % SHARDS], core);
	}
	t->wc_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)].id = PACKET_FUNCTION;
}

/* Take all cores out, as agents that run something. */
static inline void fixture_take_all(void)
{
	for (__u32 core = 0; core < CORES; core++) {
		assert_true(wc_take_core(&fixture.tables, core));
		fixture.tables.wc_cores[core].claims++;
		fixture.tables.wc_cores[core].state = WC_CORE_RUNNING;
	}
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
 * A veth pair with SHARDS queues in a namespace of this process, and AF_XDP sockets on the first `queues` of them. Returns
 * whether that worked, else *ret_fault says why.
 */
static inline bool fixture_open_sockets(__u32 queues, struct wc_fault *ret_fault)
{
	struct wc_umem_plan plan = { .dev = DEV, .queues = queues, .cores = 2, .pending_max = 64, .copy = true };
	struct nl_sock *nl = nl_socket_alloc();
	struct rtnl_link *link = rtnl_link_veth_alloc(), *up = rtnl_link_alloc();
	const char *mode;

	if (unshare(CLONE_NEWNET))
		fixture_skip("no network namespaces");
	assert_int_equal(nl_connect(nl, NETLINK_ROUTE), 0);
	rtnl_link_set_name(link, DEV);
	rtnl_link_set_name(rtnl_link_veth_get_peer(link), "wct1");
	rtnl_link_set_num_rx_queues(link, SHARDS);
	rtnl_link_set_num_tx_queues(link, SHARDS);
	if (rtnl_link_add(nl, link, NLM_F_CREATE | NLM_F_EXCL))
		fixture_skip("no veth devices");
	fixture.ifindex = (int)if_nametoindex(DEV);
	rtnl_link_set_ifindex(up, fixture.ifindex);
	rtnl_link_set_flags(up, IFF_UP);
	assert_int_equal(rtnl_link_change(nl, up, up, 0), 0);
	rtnl_link_put(up);
	rtnl_link_veth_release(link);
	nl_socket_free(nl);
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

#endif
