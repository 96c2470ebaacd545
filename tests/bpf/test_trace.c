/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_trace.c - stage tracing in the kernel: the XDP program's stamp on every INVOKE, and what bpf/trace.bpf.c sees at devices and on a CPU. The last
 * is attached for real, for the tracepoints cannot be run otherwise; packets stay on the loopback device of a namespace of this process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FIXTURE_TRACING
#include "tests/bpf/fixture.h"

#include "bpf/trace.h"
#include "trace.skel.h"

#include <bpf/btf.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define VERIFIED_MAX 20000 /* of the XDP program, as in test_dispatch.c */
#define WATCHERS_MAX 2000  /* of each of the others */
#define PORT 47123
#define RING 4096
#define PATIENCE_MS 60000 /* for hanging only */

static struct packet in, out;
static struct trace_bpf *watch,
	*copying; /* the second one as on kernels that let no program load a packet itself: at the devices only */
static struct seen_by {
	uint64_t *arrivals, *departures;
} both[2];
static struct wc_event *events;
static struct wc_event_cpu *event_cpus;
static bool faults; /* this kernel has a tracepoint for them */

/* --- the XDP program --- */

static void run_and_check(__u32 core_expected)
{
	__u64 before = now_ns();
	struct handed handed;

	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
	handed = handed_over(&out);
	assert_true(handed.tail.node.how & WC_HOW_STAMPED);
	assert_in_range(handed.tail.node.arrival_ns, before, now_ns());
	if (core_expected == WC_NONE)
		assert_int_equal(handed.core, WC_NONE);
	else
		assert_int_not_equal(handed.core, WC_NONE);
	/* Nothing else in the frame is another than without tracing. */
	memset(out.data + out.header + 28, 0xff, 2);
	memset(out.data + out.header + 32, 0, 16);
	fixture_same("stamped", &out, &in);
}

/* Who asks for nothing gets a stamp, too: on the fast path, on the general way, and on the way to the pending queue. */
static void test_stamps(void **state)
{
	static const struct packet_recipe recipes[] = {
		{ .no_deadline = 1 },
		{ .no_deadline = 1, .version = 6, .payload = 33 },
		{ .no_deadline = 1, .vlans = 1 },
		{ .flags = WC_FLAG_TIMED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		fixture_reset();
		fixture_set_sockets(SHARDS, true);
		packet_build(&in, &recipes[i]);
		run_and_check(0);
		fixture_check("stamped");
	}
	fixture_reset();
	fixture_take_all();
	packet_build(&in, &recipes[0]);
	run_and_check(WC_NONE);
}

static void test_verified(void **state)
{
	uint32_t count = wc_bpf_verified_insns(fixture.prog);
	const struct bpf_object *const objects[] = { watch->obj, copying->obj };
	struct bpf_program *program;

	(void)state;
	printf("verified_insns wc_dispatch with tracing %u\n", count);
	assert_in_range(count, 1, VERIFIED_MAX - 1);
	for (int i = 0; i < 2; i++)
		bpf_object__for_each_program (program, objects[i]) {
			if (bpf_program__fd(program) < 0)
				continue;
			count = wc_bpf_verified_insns(bpf_program__fd(program));
			printf("verified_insns %s %u\n", bpf_program__name(program), count);
			assert_in_range(count, 1, WATCHERS_MAX - 1);
		}
}

/* --- at the devices --- */

/* A message with nothing in it but what is looked at. */
static size_t message(uint8_t *to, uint16_t magic, uint8_t type, uint64_t request_id)
{
	struct wc_header header = {
		.magic = htons(magic),
		.version = WC_VERSION,
		.type = type,
		.header_len = WC_HEADER_LEN,
		.request_id = htobe64(request_id),
	};

	memcpy(to, &header, sizeof(header));
	return sizeof(header);
}

/* A socket on the loopback address, with its port in *ret_port. */
static int open_socket(int family, uint16_t port, __be16 *ret_port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6,
					.sin6_addr = in6addr_loopback,
					.sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	bool six = family == AF_INET6;
	socklen_t len = six ? sizeof(address) : sizeof(v4);
	struct sockaddr *any = six ? (struct sockaddr *)&address : (struct sockaddr *)&v4;
	int fd = socket(family, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, any, len), 0);
	assert_int_equal(getsockname(fd, any, &len), 0);
	*ret_port = six ? address.sin6_port : v4.sin_port;
	return fd;
}

static void send_to(int fd, int family, __be16 port, uint16_t magic, uint8_t type, uint64_t id)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback, .sin6_port = port };
	struct sockaddr_in four = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = port };
	uint8_t data[64];
	size_t len = message(data, magic, type, id);
	ssize_t n = family == AF_INET6 ? sendto(fd, data, len, 0, (struct sockaddr *)&six, sizeof(six)) :
					 sendto(fd, data, len, 0, (struct sockaddr *)&four, sizeof(four));

	assert_int_equal(n, len);
}

/* Was it seen between `before` and now? */
static bool seen(const uint64_t *passes, uint64_t id, __be16 client_port, uint64_t before)
{
	uint64_t hash = wc_pass_hash(id, client_port), word = WC_READ(passes[wc_pass_index(hash)]);

	if (!word)
		return false;
	assert_int_equal((word ^ wc_pass_word(hash, 0)) & ~WC_PASS_TIME, 0);
	assert_in_range((word - before) & WC_PASS_TIME, 0, now_ns() - before);
	return true;
}

static void forget(void)
{
	for (int by = 0; by < 2; by++) {
		memset(both[by].arrivals, 0, WC_PASSES * sizeof(*both[by].arrivals));
		memset(both[by].departures, 0, WC_PASSES * sizeof(*both[by].departures));
	}
}

/* The third kind has IP options: the UDP header is further behind. */
static void test_devices(void **state)
{
	static const int families[] = { AF_INET, AF_INET6, AF_INET };
	static const uint8_t ip_options[] = { 1, 1, 1, 1, 1, 1, 1, 0 };
	__be16 node_port, client_port, other_port;
	uint64_t id = 0x1122334455667788, before;

	(void)state;
	for (int i = 0; i < 3; i++) {
		int node = open_socket(families[i], PORT, &node_port),
		    client = open_socket(families[i], 0, &client_port);
		int other = open_socket(families[i], 0, &other_port);

		for (int each = 0; i == 2 && each < 3; each++)
			assert_int_equal(setsockopt((int[]){ node, client, other }[each], IPPROTO_IP, IP_OPTIONS,
						    ip_options, sizeof(ip_options)),
					 0);
		/* What is none of ours leaves nothing. */
		forget();
		before = now_ns();
		send_to(client, families[i], node_port, WC_MAGIC + 1, WC_TYPE_INVOKE, id);
		send_to(client, families[i], node_port, WC_MAGIC, WC_TYPE_REPLY, id);
		send_to(client, families[i], other_port, WC_MAGIC, WC_TYPE_INVOKE, id);
		send_to(node, families[i], client_port, WC_MAGIC, WC_TYPE_INVOKE, id);
		send_to(other, families[i], client_port, WC_MAGIC, WC_TYPE_REPLY, id);
		for (int by = 0; by < 2; by++)
			for (size_t w = 0; w < WC_PASSES; w++)
				if (both[by].arrivals[w] || both[by].departures[w])
					fail_msg("something was seen at %zu of family %d by %d", w, families[i], by);

		send_to(client, families[i], node_port, WC_MAGIC, WC_TYPE_INVOKE, id);
		for (int by = 0; by < 2; by++) {
			assert_true(seen(both[by].arrivals, id, client_port, before)); /* within the call */
			assert_false(seen(both[by].departures, id, client_port, before));
		}
		before = now_ns();
		send_to(node, families[i], client_port, WC_MAGIC, i ? WC_TYPE_ERROR : WC_TYPE_REPLY, id);
		for (int by = 0; by < 2; by++) {
			for (int ms = 0; ms < PATIENCE_MS && !seen(both[by].departures, id, client_port, before); ms++)
				usleep(1000); /* it is received in a softirq, which the kernel may put off */
			assert_true(seen(both[by].departures, id, client_port, before));
		}
		close(node);
		close(client);
		close(other);
	}
}

/* --- on the CPU --- */

/* The next event from *at on that `type` and the thread fit; NULL: there is none. */
static const struct wc_event *next_event(uint64_t *at, enum wc_event_type type, uint32_t a_tid, uint32_t b_tid)
{
	uint64_t written = WC_READ(event_cpus[fixture.cpu].written);

	for (; *at < written; ++*at) {
		const struct wc_event *event = &events[(uint32_t)fixture.cpu * RING + (*at & (RING - 1))];

		assert_int_equal(event->number, (uint32_t)*at + 1);
		assert_int_equal(event->cpu, fixture.cpu);
		if (event->type == type && (!a_tid || event->a_tid == a_tid) && (!b_tid || event->b_tid == b_tid)) {
			++*at;
			return event;
		}
	}
	return NULL;
}

/* A sleep: off the CPU, woken, on it again, in this order; and while it slept it could not have run on. */
static void test_sleep(void **state)
{
	uint64_t at = WC_READ(event_cpus[fixture.cpu].written), before = now_ns();
	const struct wc_event *off, *woken, *on;
	uint32_t tid = (uint32_t)syscall(SYS_gettid);

	(void)state;
	usleep(2000);
	for (;;) { /* it may have been taken off before */
		off = next_event(&at, WC_EVENT_SWITCH, tid, 0);
		assert_non_null(off);
		if (!off->arg)
			break;
	}
	woken = next_event(&at, WC_EVENT_WAKEUP, 0, tid);
	assert_non_null(woken);
	assert_int_equal(woken->arg, fixture.cpu);
	on = next_event(&at, WC_EVENT_SWITCH, 0, tid);
	assert_non_null(on);
	assert_in_range(off->ns, before, woken->ns);
	assert_in_range(on->ns, woken->ns, now_ns());
	assert_in_range(woken->ns - off->ns, 1000000, UINT64_MAX);
	assert_int_equal(on->b_pid, getpid());
	assert_string_equal(on->comm, "test_trace");
}

/* A datagram over the loopback device is received in a softirq (3: NET_RX), which began before it ended. */
static void test_softirq(void **state)
{
	uint64_t at = WC_READ(event_cpus[fixture.cpu].written), before = now_ns();
	const struct wc_event *event = NULL;
	__be16 node_port, port;
	int node = open_socket(AF_INET, PORT, &node_port), client = open_socket(AF_INET, 0, &port);

	(void)state;
	send_to(client, AF_INET, node_port, WC_MAGIC, WC_TYPE_INVOKE, 1);
	for (int ms = 0; ms < PATIENCE_MS; ms += !event) {
		event = next_event(&at, WC_EVENT_SOFTIRQ, 0, 0);
		if (event && event->arg == 3)
			break;
		if (!event)
			usleep(1000);
	}
	assert_non_null(event);
	assert_in_range(event->begin, before, event->ns);
	assert_in_range(event->ns, event->begin, now_ns());
	close(node);
	close(client);
}

static void test_fault(void **state)
{
	uint64_t at = WC_READ(event_cpus[fixture.cpu].written);
	uint32_t tid = (uint32_t)syscall(SYS_gettid);
	volatile char *page;

	(void)state;
	if (!faults) {
		printf("no tracepoint page_fault_user in this kernel\n");
		skip();
	}
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(page != MAP_FAILED);
	*page = 1;
	assert_non_null(next_event(&at, WC_EVENT_FAULT, 0, tid));
	munmap((void *)(uintptr_t)page, 4096);
}

/* The worker cores' CPUs are watched, and no others. */
static void test_other_cpus(void **state)
{
	int cpus = libbpf_num_possible_cpus();
	cpu_set_t other, own;

	(void)state;
	CPU_ZERO(&own);
	CPU_SET(fixture.cpu, &own);
	for (int cpu = 0; cpu < cpus; cpu++) {
		uint64_t at = event_cpus[cpu].written;

		if (cpu == fixture.cpu)
			continue;
		CPU_ZERO(&other);
		CPU_SET(cpu, &other);
		if (sched_setaffinity(0, sizeof(other), &other))
			continue;
		usleep(1000);
		assert_int_equal(sched_setaffinity(0, sizeof(own), &own), 0);
		/* It went there and came back: only the migration is seen, and who is woken for a watched CPU. */
		for (; at < WC_READ(event_cpus[cpu].written); at++) {
			const struct wc_event *event = &events[(uint32_t)cpu * RING + (at & (RING - 1))];

			assert_true(event->type == WC_EVENT_MIGRATE || event->type == WC_EVENT_WAKEUP);
			if (event->type == WC_EVENT_WAKEUP)
				assert_int_equal(event->arg, fixture.cpu);
		}
	}
}

static void *map_of(const struct trace_bpf *skel, const char *name, size_t size)
{
	uint32_t entries;
	size_t len;
	void *base = wc_bpf_map_table(skel->obj, name, size, &entries, &len);

	assert_non_null(base);
	return base;
}

static void open_copying(void)
{
	struct bpf_program *program;

	copying = trace_bpf__open();
	assert_non_null(copying);
	bpf_object__for_each_program (program, copying->obj)
		bpf_program__set_autoload(program, program == copying->progs.trace_xmit ||
							   program == copying->progs.trace_receive);
	copying->rodata->trace_port = PORT;
	copying->rodata->trace_loads = false;
	assert_int_equal(trace_bpf__load(copying), 0);
}

static int open_watch(void **state)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	struct btf *btf = btf__load_vmlinux_btf();
	int fd, cpus = libbpf_num_possible_cpus();

	(void)state;
	faults = btf && btf__find_by_name_kind(btf, "btf_trace_page_fault_user", BTF_KIND_TYPEDEF) > 0;
	btf__free(btf);
	watch = trace_bpf__open();
	assert_non_null(watch);
	bpf_program__set_autoload(watch->progs.trace_fault, faults);
	watch->rodata->trace_port = PORT;
	watch->rodata->trace_ring = RING;
	watch->rodata->trace_cpus[fixture.cpu / 64] = 1ull << fixture.cpu % 64;
	assert_int_equal(bpf_map__set_max_entries(watch->maps.wc_events, (uint32_t)cpus * RING), 0);
	assert_int_equal(bpf_map__set_max_entries(watch->maps.wc_event_cpus, (uint32_t)cpus), 0);
	assert_int_equal(trace_bpf__load(watch), 0);
	open_copying();
	both[0] = (struct seen_by){ map_of(watch, "wc_arrivals", 8), map_of(watch, "wc_departures", 8) };
	both[1] = (struct seen_by){ map_of(copying, "wc_arrivals", 8), map_of(copying, "wc_departures", 8) };
	events = map_of(watch, "wc_events", sizeof(*events));
	event_cpus = map_of(watch, "wc_event_cpus", sizeof(*event_cpus));
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	assert_int_equal(trace_bpf__attach(watch), 0);
	assert_int_equal(trace_bpf__attach(copying), 0);
	return 0;
}

static int close_watch(void **state)
{
	(void)state;
	trace_bpf__destroy(watch);
	trace_bpf__destroy(copying);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stamps),	   cmocka_unit_test(test_verified), cmocka_unit_test(test_devices),
		cmocka_unit_test(test_sleep),	   cmocka_unit_test(test_softirq),  cmocka_unit_test(test_fault),
		cmocka_unit_test(test_other_cpus),
	};

	fixture_open();
	fixture_sockets();
	return cmocka_run_group_tests_name("stage tracing", tests, open_watch, close_watch);
}
