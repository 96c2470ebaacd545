// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_load_engine_mt.c - the sender and the receiver of `warmcore load`, against a responder of our own on the loopback device that does with
 * each call what its function's number says, and knows when it did.
 *
 * Nothing here depends on how fast this machine is. What is compared with is what the responder measured; what a stall must show is a lower
 * bound that follows from the schedule; and where one thing must happen before another, the source of the calls waits for it.
 *
 * mostly-waits
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <endian.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/shim.h"
#include "tools/load/engine.h"
#include "tools/workload/random.h"
#include "user/client.h"
#include "user/clock.h"
#include "user/quantile.h"

#define PENDING_MAX 8192

/* Functions by their ids: what the responder does. */
enum {
	ECHO = 1, /* reply after as long as the payload asks for */
	BUSY,
	FAIL,
	SILENT,
	LATE, /* reply when `release` says so */
	TWICE,
	WRONG, /* nonsense, then a reply to another id, then the reply */
	LAST = WRONG,
};
static const uint32_t ids[] = { ECHO, BUSY, FAIL, SILENT, LATE, TWICE, WRONG };

struct pending {
	struct wc_header header;
	struct sockaddr_in from;
	uint64_t due, came;
};

static struct responder {
	int fd;
	uint16_t port;
	pthread_t thread;
	atomic_bool end, release;
	atomic_uint late_seen, late_sent, seen;
	_Atomic uint64_t stall_at, stall_ns; /* once, from then on: nothing is read or answered */
	_Atomic uint64_t stalled_from, stalled_to;
	struct pending pending[PENDING_MAX];
	size_t count;
	struct wc_samples delays; /* of ECHO: from the kernel's stamp until it was answered */
} responder;

static void answer(const struct pending *call, uint8_t type, uint16_t code, uint64_t id_more)
{
	struct wc_header header = call->header;

	header.type = type;
	header.flags = wc_htons(type == WC_TYPE_REPLY ? WC_FLAG_WARM : 0);
	header.code = wc_htons(code);
	header.core = wc_htons(0);
	header.payload_len = 0;
	header.deadline_us = 0;
	header.request_id = wc_be64(be64toh(header.request_id) + id_more);
	header.tail.timing.wait_ns = wc_be64(type == WC_TYPE_REPLY ? 1000 : 0);
	header.tail.timing.service_ns = wc_be64(type == WC_TYPE_REPLY ? 2000 : 0);
	(void)sendto(responder.fd, &header, sizeof(header), 0, (const struct sockaddr *)&call->from,
		     sizeof(call->from));
}

static void answer_echo(const struct pending *call)
{
	uint64_t now = wc_now();

	answer(call, WC_TYPE_REPLY, 0, 0);
	assert_int_equal(wc_samples_add(&responder.delays, now - call->came), 0);
}

static void take(const struct pending *call, uint64_t service_us)
{
	struct pending *kept;

	switch (wc_ntohl(call->header.function_id)) {
	case ECHO:
	case LATE:
		assert_true(responder.count < PENDING_MAX);
		kept = &responder.pending[responder.count++];
		*kept = *call;
		atomic_fetch_add(&responder.late_seen, wc_ntohl(call->header.function_id) == LATE);
		kept->due = wc_ntohl(call->header.function_id) == LATE ? UINT64_MAX : call->came + service_us * WC_US;
		break;
	case BUSY:
		answer(call, WC_TYPE_BUSY, WC_CODE_PENDING_FULL, 0);
		break;
	case FAIL:
		answer(call, WC_TYPE_ERROR, WC_CODE_FUNCTION, 0);
		break;
	case TWICE:
		answer(call, WC_TYPE_REPLY, 0, 0);
		answer(call, WC_TYPE_REPLY, 0, 0);
		break;
	case WRONG:
		(void)sendto(responder.fd, "nonsense", 8, 0, (const struct sockaddr *)&call->from, sizeof(call->from));
		answer(call, WC_TYPE_REPLY, 0, 1ull << 50);
		answer(call, WC_TYPE_REPLY, 0, 0);
		break;
	default:
		break;
	}
}

/* By the kernel's stamp: this thread may have waited for a CPU. */
static uint64_t came_at(struct msghdr *message)
{
	struct timespec stamp, real;
	uint64_t now = wc_now(), ns;

	clock_gettime(CLOCK_REALTIME, &real);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
			ns = ((uint64_t)real.tv_sec - (uint64_t)stamp.tv_sec) * WC_SECOND + (uint64_t)real.tv_nsec -
			     (uint64_t)stamp.tv_nsec;
			return now - ns;
		}
	return now;
}

static bool read_one(void)
{
	_Alignas(struct cmsghdr) char control[128];
	struct pending call = { 0 };
	char payload[128] = "";
	struct iovec parts[2] = { { &call.header, sizeof(call.header) }, { payload, sizeof(payload) - 1 } };
	struct msghdr message = { .msg_name = &call.from,
				  .msg_namelen = sizeof(call.from),
				  .msg_iov = parts,
				  .msg_iovlen = 2,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	const char *colon;

	if (recvmsg(responder.fd, &message, MSG_DONTWAIT) < (ssize_t)sizeof(call.header))
		return false;
	call.came = came_at(&message);
	colon = strchr(payload, ':');
	atomic_fetch_add(&responder.seen, 1);
	take(&call, colon ? strtoull(colon + 1, NULL, 10) : 0);
	return true;
}

/* Answer what is due; when the next one will be. */
static uint64_t answer_due(uint64_t now)
{
	uint64_t next = now + 5 * WC_MS;
	size_t kept = 0;

	for (size_t i = 0; i < responder.count; i++) {
		struct pending *call = &responder.pending[i];
		bool late = wc_ntohl(call->header.function_id) == LATE;

		if (late && atomic_load(&responder.release)) {
			answer(call, WC_TYPE_REPLY, 0, 0);
			atomic_fetch_add(&responder.late_sent, 1);
		} else if (!late && call->due <= now) {
			answer_echo(call);
		} else {
			next = call->due < next ? call->due : next;
			responder.pending[kept++] = *call;
		}
	}
	responder.count = kept;
	return next;
}

static void *respond(void *argument)
{
	(void)argument;
	while (!atomic_load(&responder.end)) {
		struct pollfd readable = { .fd = responder.fd, .events = POLLIN };
		uint64_t stall = atomic_load(&responder.stall_at), now = wc_now(), next;
		struct timespec wait;

		if (stall && now >= stall) {
			atomic_store(&responder.stalled_from, now);
			usleep((unsigned)(atomic_load(&responder.stall_ns) / WC_US));
			atomic_store(&responder.stalled_to, wc_now());
			atomic_store(&responder.stall_at, 0);
		}
		while (read_one())
			;
		now = wc_now();
		next = answer_due(now);
		wait = (struct timespec){ .tv_nsec = next > now ? (long)(next - now) : 0 };
		ppoll(&readable, 1, &wait, NULL);
	}
	return NULL;
}

static int start(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int one = 1, bytes = 8 << 20;

	(void)state;
	memset(&responder, 0, sizeof(responder));
	responder.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(responder.fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(responder.fd, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(setsockopt(responder.fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)), 0);
	if (setsockopt(responder.fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(responder.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	responder.port = ntohs(address.sin_port);
	return pthread_create(&responder.thread, NULL, respond, NULL);
}

/* What it has counted may be looked at then. */
static void halt(void)
{
	if (!atomic_exchange(&responder.end, true))
		pthread_join(responder.thread, NULL);
}

static int stop(void **state)
{
	(void)state;
	halt();
	close(responder.fd);
	wc_samples_clear(&responder.delays);
	return 0;
}

static struct load_setup usual(struct load_source source)
{
	return (struct load_setup){ .address = "127.0.0.1",
				    .port = responder.port,
				    .ids = ids,
				    .functions = LAST,
				    .source = source,
				    .work = LOAD_WORK_SLEEP,
				    .end_ns = 3600 * WC_SECOND,
				    .timeout_ns = 600 * WC_SECOND,
				    .behind_ns = 3600 * WC_SECOND,
				    .out_max = 8192 };
}

static void run(const struct load_setup *setup, struct load_progress *progress, struct load_result *result)
{
	struct wc_fault fault;

	if (load_run(setup, progress, result, &fault))
		fail_msg("%s", fault.text);
	halt();
	for (size_t f = 0; f < result->functions_count; f++) { /* what result.h promises */
		const uint64_t *c = result->functions[f].counts;

		snprintf(result->functions[f].name, LOAD_NAME_BYTES, "%zu", f);
		assert_int_equal(c[LOAD_COUNT_scheduled], c[LOAD_COUNT_not_sent] + c[LOAD_COUNT_sent]);
		assert_int_equal(c[LOAD_COUNT_sent], c[LOAD_COUNT_replied] + c[LOAD_COUNT_failed] + c[LOAD_COUNT_busy] +
							     c[LOAD_COUNT_lost] + c[LOAD_COUNT_unfinished]);
		assert_int_equal(result->functions[f].times[LOAD_TIME_latency].count, c[LOAD_COUNT_replied]);
	}
}

/* Calls from a list. */
struct list {
	const struct load_call *calls;
	size_t count, at;
};

static bool next_of_list(void *state, struct load_call *call)
{
	struct list *list = state;

	if (list->at == list->count)
		return false;
	*call = list->calls[list->at++];
	return true;
}

/* --- the chain: what is reported is what the responder did --- */

#define CHAIN_CALLS 2000

/*
 * Three delays, and the quantiles that are compared are within the one or the other, far from where one ends. So if a thread is put off its
 * CPU between a stamp and the system call that it is for, which nothing can see, that changes nothing unless it happens to every third call.
 */
static void fill_chain(struct load_call *calls)
{
	struct random random = random_seed(3, 0);
	double at = 0;

	for (size_t i = 0; i < CHAIN_CALLS; i++) {
		double share = random_uniform(&random);

		at += random_exponential(&random) * 1e6;
		calls[i] = (struct load_call){ .at_ns = (uint64_t)at,
					       .service_us = share < 0.85 ? 20000 :
							     share < 0.97 ? 50000 :
									    200000 };
	}
}

static void compare(const struct load_histogram *histogram, const char *what)
{
	static const uint32_t ppm[] = { 500000, 900000, 990000 };

	for (size_t q = 0; q < 3; q++) {
		double produced = (double)wc_samples_quantile(&responder.delays, ppm[q]);
		double reported = (double)load_histogram_quantile(histogram, 0, ppm[q]);

		if (reported < produced * 0.99 || reported > produced * 1.01)
			fail_msg("%s, quantile %u ppm: %.0f ns were produced, %.0f reported", what, ppm[q], produced,
				 reported);
	}
}

static void test_chain_open(void **state)
{
	static struct load_call calls[CHAIN_CALLS];
	struct list list = { calls, CHAIN_CALLS, 0 };
	struct load_setup setup = usual((struct load_source){ next_of_list, &list });
	struct load_progress progress = { 0 };
	const struct load_function *function;
	struct load_result result;

	(void)state;
	fill_chain(calls);
	run(&setup, &progress, &result);
	function = &result.functions[0];
	assert_int_equal(function->counts[LOAD_COUNT_replied], CHAIN_CALLS);
	assert_int_equal(responder.delays.count, CHAIN_CALLS);
	compare(&function->times[LOAD_TIME_round_trip], "from the actual send");
	/* how late this sender was is the machine's affair; latency is that and the round trip, exactly */
	assert_true(function->times[LOAD_TIME_latency].sum ==
		    function->times[LOAD_TIME_round_trip].sum + function->times[LOAD_TIME_lateness].sum);
	assert_int_equal(function->times[LOAD_TIME_wait].min, 1000);
	assert_int_equal(function->times[LOAD_TIME_wait].max, 1000);
	assert_int_equal(function->times[LOAD_TIME_service].max, 2000);
	assert_int_equal(function->counts[LOAD_COUNT_cold], 0);
	load_result_clear(&result);
}

static void test_chain_closed(void **state)
{
	static struct load_call calls[CHAIN_CALLS];
	struct list list = { calls, CHAIN_CALLS, 0 };
	struct load_setup setup = usual((struct load_source){ next_of_list, &list });
	struct load_progress progress = { 0 };
	struct load_result result;

	(void)state;
	fill_chain(calls);
	for (size_t i = 0; i < CHAIN_CALLS; i++)
		calls[i].at_ns = 1000000; /* think */
	setup.clients = 50;
	run(&setup, &progress, &result);
	assert_int_equal(result.functions[0].counts[LOAD_COUNT_replied], CHAIN_CALLS);
	compare(&result.functions[0].times[LOAD_TIME_round_trip], "closed loop");
	assert_string_equal(result.loop, "closed");
	load_result_clear(&result);
}

/* --- no coordinated omission --- */

#define STALL_NS (400 * WC_MS)
#define STALL_CALLS 2000 /* one a millisecond */

static uint64_t count_from(const struct load_histogram *histogram, uint64_t least)
{
	uint64_t count = 0;

	for (unsigned b = histogram_bucket(least) + 1; b < LOAD_HISTOGRAM_BUCKETS; b++)
		count += load_histogram_at(histogram, b);
	return count;
}

static bool next_and_stall(void *state, struct load_call *call)
{
	struct list *list = state;

	if (list->at == 200)
		atomic_store(&responder.stall_at, wc_now());
	return next_of_list(state, call);
}

static void test_stall_is_seen(void **state)
{
	static struct load_call calls[STALL_CALLS];
	struct list list = { calls, STALL_CALLS, 0 };
	struct load_setup setup = usual((struct load_source){ next_and_stall, &list });
	struct load_progress progress = { 0 };
	uint64_t from, to, due = 0, half = STALL_NS / 2;
	struct load_result result;

	(void)state;
	for (size_t i = 0; i < STALL_CALLS; i++)
		calls[i] = (struct load_call){ .at_ns = i * WC_MS };
	atomic_store(&responder.stall_ns, STALL_NS);
	run(&setup, &progress, &result);
	from = atomic_load(&responder.stalled_from) - atomic_load(&progress.start_ns);
	to = atomic_load(&responder.stalled_to) - atomic_load(&progress.start_ns);
	assert_true(to - from >= STALL_NS);
	/* each call that should have been sent in the stall, half of it or more before its end, waited for so long */
	for (size_t i = 0; i < STALL_CALLS; i++)
		due += calls[i].at_ns > from && calls[i].at_ns + half + half / 100 < to;
	assert_true(due > 0);
	assert_int_equal(result.functions[0].counts[LOAD_COUNT_replied], STALL_CALLS);
	if (count_from(&result.functions[0].times[LOAD_TIME_latency], half) < due)
		fail_msg("%llu calls fell into the stall, %llu have such a latency", (unsigned long long)due,
			 (unsigned long long)count_from(&result.functions[0].times[LOAD_TIME_latency], half));
	assert_true(result.functions[0].times[LOAD_TIME_latency].max >= to - from - 2 * WC_MS);
	load_result_clear(&result);
}

/* The sender itself is held up: what it could not send in time counts from when it should have. */
static bool next_held_up(void *state, struct load_call *call)
{
	struct list *list = state;

	if (list->at == 100)
		usleep(STALL_NS / WC_US);
	return next_of_list(state, call);
}

static void test_late_sender_is_seen(void **state)
{
	static struct load_call calls[STALL_CALLS];
	struct list list = { calls, STALL_CALLS, 0 };
	struct load_setup setup = usual((struct load_source){ next_held_up, &list });
	struct load_progress progress = { 0 };
	struct load_function *function;
	struct load_result result;
	struct load_pace pace;

	(void)state;
	for (size_t i = 0; i < STALL_CALLS; i++)
		calls[i] = (struct load_call){ .at_ns = i * WC_MS };
	setup.behind_ns = 10 * WC_MS;
	run(&setup, &progress, &result);
	function = &result.functions[0];
	/* call 99 had gone, or was about to: the 300 after it at least are half a stall late */
	assert_true(count_from(&function->times[LOAD_TIME_lateness], STALL_NS / 4) >= 250);
	assert_true(count_from(&function->times[LOAD_TIME_latency], STALL_NS / 4) >= 250);
	assert_true(function->counts[LOAD_COUNT_behind] >= 250);
	load_pace(&result, function, &pace);
	assert_false(pace.kept_up);
	load_result_clear(&result);
}

/* --- what is not a reply --- */

static void test_every_end(void **state)
{
	static struct load_call calls[600];
	struct list list = { calls, 600, 0 };
	struct load_setup setup = usual((struct load_source){ next_of_list, &list });
	static const uint32_t kinds[] = { ECHO, BUSY, FAIL, TWICE, WRONG, ECHO };
	struct load_progress progress = { 0 };
	struct load_result result;
	struct load_function total;

	(void)state;
	for (size_t i = 0; i < 600; i++)
		calls[i] = (struct load_call){ .at_ns = i * 100 * WC_US, .function = kinds[i % 6] - 1 };
	setup.warm_up_ns = 300 * 100 * WC_US; /* the first 300 are not measured */
	calls[599].service_us = 100000;	      /* what comes twice is there before the last one is answered */
	run(&setup, &progress, &result);
	assert_int_equal(load_result_total(&result, &total), 0);
	assert_int_equal(result.traffic[LOAD_TRAFFIC_warm_up], 300);
	assert_int_equal(total.counts[LOAD_COUNT_sent], 300);
	assert_int_equal(total.counts[LOAD_COUNT_replied], 200);
	assert_int_equal(result.functions[BUSY - 1].counts[LOAD_COUNT_busy], 50);
	assert_int_equal(result.functions[BUSY - 1].codes[WC_CODE_PENDING_FULL], 50);
	assert_int_equal(result.functions[FAIL - 1].counts[LOAD_COUNT_failed], 50);
	assert_int_equal(result.functions[FAIL - 1].codes[WC_CODE_FUNCTION], 50);
	assert_int_equal(load_missing(&total), 100);
	assert_int_equal(result.traffic[LOAD_TRAFFIC_twice] + result.traffic[LOAD_TRAFFIC_strays], 100 + 200);
	/* a third is missing, so of all calls p90 is one of them */
	assert_true(load_histogram_quantile(&total.times[LOAD_TIME_latency], load_missing(&total), 900000) ==
		    LOAD_QUANTILE_MISSING);
	load_function_clear(&total);
	load_result_clear(&result);
}

#define TIMEOUT_NS (500 * WC_MS)

/*
 * 20 calls that are answered late and 20 that never are, then one a millisecond that is answered at once: until three time-outs have passed,
 * the late answers were sent, and 50 more, whose answers stand behind those in the socket.
 */
struct fillers {
	struct load_progress *progress;
	uint64_t made, after;
};

static bool next_filler(void *state, struct load_call *call)
{
	struct fillers *fillers = state;
	uint64_t i = fillers->made++;

	*call = (struct load_call){ .at_ns = i < 40 ? 0 : i * WC_MS,
				    .function = i >= 40 ? ECHO - 1 :
						i % 2	? SILENT - 1 :
							  LATE - 1 };
	if (i >= 40 && wc_now() > atomic_load(&fillers->progress->start_ns) + 3 * TIMEOUT_NS)
		atomic_store(&responder.release, true);
	if (atomic_load(&responder.release) && atomic_load(&responder.late_sent) == atomic_load(&responder.late_seen))
		fillers->after++;
	return fillers->after <= 50;
}

static void test_lost_and_late(void **state)
{
	struct load_progress progress = { 0 };
	struct fillers fillers = { &progress, 0, 0 };
	struct load_setup setup = usual((struct load_source){ next_filler, &fillers });
	const uint64_t *late, *silent;
	struct load_result result;

	(void)state;
	setup.timeout_ns = TIMEOUT_NS;
	run(&setup, &progress, &result);
	late = result.functions[LATE - 1].counts;
	silent = result.functions[SILENT - 1].counts;
	assert_int_equal(late[LOAD_COUNT_lost] + late[LOAD_COUNT_not_sent], 20);
	assert_int_equal(late[LOAD_COUNT_late], late[LOAD_COUNT_lost]);
	assert_int_equal(silent[LOAD_COUNT_lost] + silent[LOAD_COUNT_not_sent], 20);
	assert_int_equal(silent[LOAD_COUNT_late], 0);
	assert_int_equal(late[LOAD_COUNT_replied] + silent[LOAD_COUNT_replied], 0);
	load_result_clear(&result);
}

/*
 * All answers are there in time, but whoever reads them is held up until the time-out has passed: at the first, with more of them in the socket than
 * are read at once. What counts is when they came.
 */
#define HELD_CALLS 150

struct held {
	struct load_progress *progress;
	uint64_t timeout_ns;
	unsigned made;
	bool in_time;
};

static bool next_held(void *state, struct load_call *call)
{
	struct held *held = state;
	uint64_t over = atomic_load(&held->progress->start_ns) + held->timeout_ns, now;

	*call = (struct load_call){ .function = LATE - 1 };
	if (held->made++ < HELD_CALLS)
		return true;
	while (atomic_load(&responder.late_sent) < HELD_CALLS)
		usleep(1000);
	held->in_time = wc_now() < over; /* else this machine was too slow for it */
	while ((now = wc_now()) < over + held->timeout_ns / 10)
		usleep((unsigned)((over + held->timeout_ns / 10 - now) / WC_US + 1));
	return false;
}

static void *release_when_seen(void *argument)
{
	(void)argument;
	while (atomic_load(&responder.late_seen) < HELD_CALLS)
		usleep(1000);
	atomic_store(&responder.release, true);
	return NULL;
}

static void test_read_late(void **state)
{
	for (uint64_t timeout = 1000 * WC_MS;; timeout *= 2) {
		struct load_progress progress = { 0 };
		struct held held = { &progress, timeout, 0, false };
		struct load_setup setup = usual((struct load_source){ next_held, &held });
		struct load_result result;
		const uint64_t *counts;
		pthread_t releaser;

		setup.timeout_ns = timeout;
		setup.clients = HELD_CALLS;
		assert_int_equal(pthread_create(&releaser, NULL, release_when_seen, NULL), 0);
		run(&setup, &progress, &result);
		pthread_join(releaser, NULL);
		counts = result.functions[LATE - 1].counts;
		if (held.in_time) {
			assert_int_equal(counts[LOAD_COUNT_replied], HELD_CALLS);
			assert_int_equal(counts[LOAD_COUNT_lost] + counts[LOAD_COUNT_late], 0);
			assert_true(result.functions[LATE - 1].times[LOAD_TIME_round_trip].max <= timeout);
		}
		load_result_clear(&result);
		if (held.in_time)
			break;
		stop(state);
		assert_int_equal(start(state), 0);
	}
}

/* Nobody answers, ten may be out: the others are not sent, and when it is stopped the ten are unfinished. */
static bool next_then_stop(void *state, struct load_call *call)
{
	static struct load_progress *progress;
	struct list *list = state;

	if (!call) { /* once, to say whom to stop */
		progress = (struct load_progress *)state;
		return false;
	}
	if (next_of_list(list, call))
		return true;
	atomic_store(&progress->stop, true);
	return false;
}

static void test_table_full(void **state)
{
	static struct load_call calls[100];
	struct list list = { calls, 100, 0 };
	struct load_setup setup = usual((struct load_source){ next_then_stop, &list });
	struct load_progress progress = { 0 };
	const uint64_t *counts;
	struct load_result result;
	struct load_pace pace;

	(void)state;
	(void)next_then_stop(&progress, NULL);
	for (size_t i = 0; i < 100; i++)
		calls[i] = (struct load_call){ .at_ns = 0, .function = SILENT - 1 };
	setup.out_max = 10;
	run(&setup, &progress, &result);
	counts = result.functions[SILENT - 1].counts;
	assert_int_equal(counts[LOAD_COUNT_not_sent], 90);
	assert_int_equal(counts[LOAD_COUNT_unfinished], 10);
	assert_int_equal(atomic_load(&responder.seen), 10);
	load_pace(&result, &result.functions[SILENT - 1], &pace);
	assert_false(pace.kept_up);
	assert_non_null(strstr(pace.text, "90 calls were not sent"));
	load_result_clear(&result);
}

/* Places are used again and again, by two threads: every call has its own answer. */
static void test_many_through_few_places(void **state)
{
	static struct load_call calls[20000];
	struct list list = { calls, 20000, 0 };
	struct load_setup setup = usual((struct load_source){ next_of_list, &list });
	struct load_progress progress = { 0 };
	const uint64_t *counts;
	struct load_result result;

	(void)state;
	for (size_t i = 0; i < 20000; i++)
		calls[i] = (struct load_call){ .at_ns = i * 20 * WC_US };
	setup.out_max = 37;
	run(&setup, &progress, &result);
	counts = result.functions[0].counts;
	assert_int_equal(counts[LOAD_COUNT_scheduled], 20000);
	assert_int_equal(counts[LOAD_COUNT_replied], counts[LOAD_COUNT_sent]);
	assert_int_equal(counts[LOAD_COUNT_sent], responder.delays.count);
	assert_true(counts[LOAD_COUNT_sent] >= 37);
	assert_int_equal(result.traffic[LOAD_TRAFFIC_strays] + result.traffic[LOAD_TRAFFIC_twice], 0);
	load_result_clear(&result);
}

/* A port where nobody is: no error of the run, everything is lost, and the traffic says why. */
static void test_nobody_listens(void **state)
{
	static struct load_call calls[50];
	struct list list = { calls, 50, 0 };
	struct load_setup setup = usual((struct load_source){ next_of_list, &list });
	struct load_progress progress = { 0 };
	struct load_result result;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(bind(udp, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(udp, (struct sockaddr *)&address, &length), 0);
	close(udp);
	for (size_t i = 0; i < 50; i++)
		calls[i] = (struct load_call){ .at_ns = i * WC_MS };
	setup.port = ntohs(address.sin_port);
	setup.timeout_ns = 1000 * WC_MS;
	run(&setup, &progress, &result);
	assert_int_equal(result.functions[0].counts[LOAD_COUNT_lost] + result.functions[0].counts[LOAD_COUNT_not_sent],
			 50);
	assert_true(result.traffic[LOAD_TRAFFIC_refused] > 0);
	load_result_clear(&result);
}

static void test_limits(void **state)
{
	struct list list = { NULL, 0, 0 };
	const struct load_setup good = usual((struct load_source){ next_of_list, &list });
	struct load_setup wrong[6] = { good, good, good, good, good, good };
	struct load_progress progress = { 0 };
	struct load_result result;
	struct wc_fault fault;

	(void)state;
	wrong[0].out_max = 0;
	wrong[1].out_max = LOAD_OUT_MAX + 1;
	wrong[2].functions = 0;
	wrong[3].timeout_ns = 1;
	wrong[4].clients = LOAD_CLIENTS_MAX + 1;
	wrong[5].address = "localhost"; /* not a literal */
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(load_run(&wrong[i], &progress, &result, &fault), -EINVAL);
	run(&good, &progress, &result); /* no call at all */
	assert_int_equal(result.functions[0].counts[LOAD_COUNT_scheduled], 0);
	load_result_clear(&result);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_chain_open),		TEST(test_chain_closed), TEST(test_stall_is_seen),
		TEST(test_late_sender_is_seen), TEST(test_every_end),	 TEST(test_lost_and_late),
		TEST(test_read_late),		TEST(test_table_full),	 TEST(test_many_through_few_places),
		TEST(test_nobody_listens),	TEST(test_limits),
	};

	return cmocka_run_group_tests_name("load_engine", tests, NULL, NULL);
}
