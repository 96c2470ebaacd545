// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_gateway_invoker.c - user/gateway/invoker.c against a fake node (fake_node.h) that loses, doubles, mixes up, refuses
 * and dies. Times are only waited for as long as it takes, with a limit for hanging.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/fake_node.h"
#include "user/clock.h"
#include "user/gateway/invoker.h"

#define FUNCTION_ID 0x00002003u
#define MANY 3000u
#define PATIENCE_NS (60 * WC_SECOND) /* for hanging */

static struct invoked {
	unsigned calls;
	struct wc_invoked invoked;
	char payload[32];
} results[MANY];

static unsigned finished;

static void on_done(void *context, const struct wc_invoked *invoked)
{
	struct invoked *result = context;

	result->calls++;
	result->invoked = *invoked;
	snprintf(result->payload, sizeof(result->payload), "%.*s", (int)invoked->answer.payload_len,
		 invoked->answer.payload ? (const char *)invoked->answer.payload : "");
	finished++;
}

static struct wc_invoker *open_invoker(const struct node *node, unsigned in_flight)
{
	struct wc_invoker_options options = { .in_flight_max = in_flight, .retransmit_ms = 20 };
	struct wc_invoker *invoker;

	memset(results, 0, sizeof(results));
	finished = 0;
	assert_int_equal(wc_invoker_new(&options, &invoker), 0);
	if (node)
		assert_int_equal(wc_invoker_connect(invoker, "127.0.0.1", node->port), 0);
	return invoker;
}

static int begin_one(struct wc_invoker *invoker, unsigned index, const char *payload, unsigned patience_ms,
		     unsigned timeout_ms, struct wc_invocation **ret_invocation)
{
	struct wc_invoker_request request = { .function_id = FUNCTION_ID,
					      .payload = payload,
					      .payload_len = strlen(payload),
					      .patience_ms = patience_ms,
					      .timeout_ms = timeout_ms };
	struct wc_invocation *ignored;

	return wc_invoker_start(invoker, &request, on_done, &results[index], ret_invocation ?: &ignored);
}

static void run_until(struct wc_invoker *invoker, unsigned count)
{
	__u64 end = wc_now() + PATIENCE_NS, next, now;
	struct pollfd pfds[2];
	int fds[2];

	wc_invoker_fds(invoker, fds);
	for (int i = 0; i < 2; i++)
		pfds[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	while (finished < count) {
		next = wc_invoker_next_ns(invoker);
		now = wc_now();
		assert_true(now < end && next != UINT64_MAX);
		poll(pfds, 2, next > now ? (int)((next - now) / WC_MS) + 1 : 0);
		wc_invoker_readable(invoker);
		wc_invoker_tick(invoker);
	}
}

/* ---- scripts ---- */

static void answer_echo(struct node *node, const struct wc_header *in, size_t payload_len)
{
	begin(node, in, WC_TYPE_REPLY, 0);
	memcpy(node->out + WC_HEADER_LEN, node->in + WC_HEADER_LEN, payload_len);
	reply(node, payload_len);
}

static void echo(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	(void)number;
	answer_echo(node, in, payload_len);
}

/* Loses every third, doubles every fifth, holds every seventh back until the next comes, sends nonsense in between. */
static void rough(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	static __u8 held[DATAGRAM_MAX];
	static size_t held_len;

	if (!number)
		held_len = 0;
	if (number % 11 == 0)
		sendto(node->fd, "nonsense", 8, 0, (void *)&node->client, node->client_len);
	if (number % 3 == 0)
		return;
	if (number % 7 == 0 && !held_len) {
		begin(node, in, WC_TYPE_REPLY, 0)->payload_len = wc_htonl((__u32)payload_len);
		memcpy(node->out + WC_HEADER_LEN, node->in + WC_HEADER_LEN, payload_len);
		held_len = WC_HEADER_LEN + payload_len;
		memcpy(held, node->out, held_len);
		return;
	}
	answer_echo(node, in, payload_len);
	if (number % 5 == 0)
		answer_echo(node, in, payload_len);
	if (held_len) {
		sendto(node->fd, held, held_len, 0, (void *)&node->client, node->client_len);
		held_len = 0;
	}
}

static void silent(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	(void)node;
	(void)number;
	(void)in;
	(void)payload_len;
}

static void answer_busy(struct node *node, const struct wc_header *in, __u16 code, __u64 retry_ns)
{
	begin(node, in, WC_TYPE_BUSY, code)->tail.busy.retry_after_ns = wc_be64(retry_ns);
	reply(node, 0);
}

static void busy_thrice(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	if (number < 3)
		answer_busy(node, in, WC_CODE_PENDING_FULL, 5 * WC_MS);
	else
		answer_echo(node, in, payload_len);
}

static void busy_always(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	(void)number;
	(void)payload_len;
	answer_busy(node, in, WC_CODE_FUNCTION_LIMIT, 3 * WC_SECOND);
}

static void down_twice(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	if (number >= 2) {
		answer_echo(node, in, payload_len);
		return;
	}
	begin(node, in, WC_TYPE_ERROR, WC_CODE_NODE_DOWN);
	reply(node, 0);
}

/* Takes the first, and is killed: NODE_DOWN to retransmissions, until its successor says what it knows. */
static void killed(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	(void)payload_len;
	if (!number)
		return;
	begin(node, in, WC_TYPE_ERROR, number < 3 ? WC_CODE_NODE_DOWN : WC_CODE_RESTARTED);
	reply(node, 0);
}

static void error_first(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	(void)number;
	(void)payload_len;
	begin(node, in, WC_TYPE_ERROR, WC_CODE_UNKNOWN_FUNCTION);
	reply(node, 0);
}

/* ---- tests ---- */

static void test_one(void **state)
{
	struct node *node = node_new(AF_INET, echo);
	struct wc_invoker *invoker = open_invoker(node, 4);

	(void)state;
	assert_int_equal(wc_invoker_next_ns(invoker), UINT64_MAX);
	assert_int_equal(begin_one(invoker, 0, "hello", 1000, 50000, NULL), 0);
	assert_int_equal(finished, 0); /* not from within */
	run_until(invoker, 1);
	assert_int_equal(results[0].invoked.how, WC_INVOKED_ANSWER);
	assert_int_equal(results[0].invoked.answer.type, WC_TYPE_REPLY);
	assert_string_equal(results[0].payload, "hello");
	assert_int_equal(results[0].invoked.request_id, node->ids[0]);
	wc_invoker_free(invoker);
	node_free(node);
}

static void test_bad_requests(void **state)
{
	struct wc_invoker_options options = { .in_flight_max = 0 };
	struct wc_invoker *invoker;
	struct wc_invoker_request request = { .function_id = FUNCTION_ID, .payload_len = WC_PAYLOAD_MAX + 1 };
	struct wc_invocation *invocation;

	(void)state;
	assert_int_equal(wc_invoker_new(&options, &invoker), -EINVAL);
	options.in_flight_max = 65537;
	assert_int_equal(wc_invoker_new(&options, &invoker), -EINVAL);
	invoker = open_invoker(NULL, 1);
	assert_int_equal(begin_one(invoker, 0, "", 1, 1, NULL), -ENOTCONN);
	assert_int_equal(wc_invoker_connect(invoker, "localhost", 1), -EINVAL);
	assert_int_equal(wc_invoker_connect(invoker, "", 1), -EINVAL);
	assert_int_equal(wc_invoker_connect(invoker, "127.0.0.1", 0), -EINVAL);
	assert_int_equal(wc_invoker_connect(invoker, "127.0.0.1", 9), 0);
	assert_int_equal(wc_invoker_start(invoker, &request, on_done, NULL, &invocation), -EMSGSIZE);
	request = (struct wc_invoker_request){ .function_id = 0 };
	assert_int_equal(wc_invoker_start(invoker, &request, on_done, NULL, &invocation), -EINVAL);
	request = (struct wc_invoker_request){ .function_id = 1, .patience_ms = 2, .timeout_ms = 1 };
	assert_int_equal(wc_invoker_start(invoker, &request, on_done, NULL, &invocation), -EINVAL);
	wc_invoker_free(invoker);
	wc_invoker_free(NULL);
}

/* Thousands at once, over a bad line: each is answered once, with its own answer. */
static void test_many(void **state)
{
	static char payloads[MANY][16];
	struct node *node = node_new(AF_INET, rough);
	struct wc_invoker *invoker = open_invoker(node, MANY);
	struct wc_invoker_stats stats;

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(payloads[i], sizeof(payloads[i]), "%u", i);
		assert_int_equal(begin_one(invoker, i, payloads[i], 50000, 50000, NULL), 0);
	}
	assert_int_equal(begin_one(invoker, 0, "", 1, 1, NULL), -EAGAIN); /* bounded */
	run_until(invoker, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(results[i].calls, 1);
		assert_int_equal(results[i].invoked.how, WC_INVOKED_ANSWER);
		assert_string_equal(results[i].payload, payloads[i]);
	}
	wc_invoker_stats(invoker, &stats);
	assert_int_equal(stats.in_flight, 0);
	assert_true(stats.retransmits && stats.strays);
	assert_int_equal(wc_invoker_next_ns(invoker), UINT64_MAX);
	wc_invoker_free(invoker);
	node_free(node);
}

static void test_large(void **state)
{
	static char payload[WC_PAYLOAD_MAX + 1];
	struct node *node = node_new(AF_INET, echo);
	struct wc_invoker *invoker = open_invoker(node, 4);

	(void)state;
	memset(payload, 'x', WC_PAYLOAD_MAX);
	assert_int_equal(begin_one(invoker, 0, payload, 1000, 50000, NULL), 0);
	payload[513] = 0;
	assert_int_equal(begin_one(invoker, 1, payload, 1000, 50000, NULL), 0);
	payload[512] = 0;
	assert_int_equal(begin_one(invoker, 2, payload, 1000, 50000, NULL), 0);
	run_until(invoker, 3);
	assert_int_equal(results[0].invoked.answer.payload_len, WC_PAYLOAD_MAX);
	assert_int_equal(results[1].invoked.answer.payload_len, 513);
	assert_int_equal(results[2].invoked.answer.payload_len, 512);
	wc_invoker_free(invoker);
	node_free(node);
}

static void test_timeout(void **state)
{
	struct node *node = node_new(AF_INET, silent);
	struct wc_invoker *invoker = open_invoker(node, 4);

	(void)state;
	assert_int_equal(begin_one(invoker, 0, "", 50, 1500, NULL), 0);
	run_until(invoker, 1);
	assert_int_equal(results[0].invoked.how, WC_INVOKED_TIMEOUT);
	assert_true(node->seen >= 3);  /* retransmitted, under one id, with back-off */
	assert_true(node->seen <= 25); /* 75 without */
	for (unsigned i = 1; i < node->seen; i++)
		assert_int_equal(node->ids[i], node->ids[0]);
	wc_invoker_free(invoker);
	node_free(node);
}

static void test_busy(void **state)
{
	struct node *node = node_new(AF_INET, busy_thrice);
	struct wc_invoker *invoker = open_invoker(node, 4);

	(void)state;
	assert_int_equal(begin_one(invoker, 0, "b", 50000, 50000, NULL), 0);
	run_until(invoker, 1);
	assert_string_equal(results[0].payload, "b");
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(node->ids[i], node->ids[0]);
	wc_invoker_free(invoker);
	node_free(node);

	node = node_new(AF_INET, busy_always);
	invoker = open_invoker(node, 4);
	assert_int_equal(begin_one(invoker, 0, "b", 100, 50000, NULL), 0);
	run_until(invoker, 1); /* when patience is over, not when the hint is, and not after 50 s */
	assert_int_equal(results[0].invoked.how, WC_INVOKED_ANSWER);
	assert_int_equal(results[0].invoked.answer.type, WC_TYPE_BUSY);
	assert_int_equal(results[0].invoked.answer.code, WC_CODE_FUNCTION_LIMIT);
	assert_int_equal(results[0].invoked.answer.retry_after_ns, 3 * WC_SECOND);
	wc_invoker_free(invoker);
	node_free(node);
}

static void test_restart(void **state)
{
	struct node *node = node_new(AF_INET, down_twice);
	struct wc_invoker *invoker = open_invoker(node, 4);

	(void)state;
	assert_int_equal(begin_one(invoker, 0, "r", 50000, 50000, NULL), 0);
	run_until(invoker, 1);
	assert_string_equal(results[0].payload, "r"); /* it was not run: asked again */
	wc_invoker_free(invoker);
	node_free(node);

	node = node_new(AF_INET, killed);
	invoker = open_invoker(node, 4);
	assert_int_equal(begin_one(invoker, 0, "r", 50000, 50000, NULL), 0);
	run_until(invoker, 1);
	assert_int_equal(results[0].invoked.answer.code,
			 WC_CODE_RESTARTED); /* it may have been run: the successor says */
	for (unsigned i = 1; i < node->seen; i++)
		assert_int_equal(node->ids[i], node->ids[0]);
	wc_invoker_free(invoker);
	node_free(node);
}

/* Nobody there: refused by ICMP, tried again until patience is over; somebody comes: served. */
static void test_refused(void **state)
{
	struct node *node = node_new(AF_INET, echo);
	struct wc_invoker *invoker = open_invoker(node, 4);
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				       .sin_port = htons(node->port) };
	struct wc_header in;
	__u8 datagram[256];
	int fd;

	(void)state;
	node_free(node);
	assert_int_equal(begin_one(invoker, 0, "x", 200, 50000, NULL), 0);
	run_until(invoker, 1);
	assert_int_equal(results[0].invoked.how, WC_INVOKED_REFUSED);

	assert_int_equal(begin_one(invoker, 1, "y", 50000, 50000, NULL), 0);
	wc_invoker_readable(invoker);
	wc_invoker_tick(invoker);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		struct sockaddr_storage peer;
		socklen_t peer_len = sizeof(peer);
		ssize_t n;

		wc_invoker_readable(invoker);
		wc_invoker_tick(invoker);
		if (poll(&pfd, 1, 5) <= 0)
			continue;
		n = recvfrom(fd, datagram, sizeof(datagram), 0, (void *)&peer, &peer_len);
		assert_int_equal(n, WC_HEADER_LEN + 1);
		memcpy(&in, datagram, sizeof(in));
		in.type = WC_TYPE_REPLY;
		in.flags = 0;
		in.deadline_us = 0;
		memcpy(datagram, &in, sizeof(in));
		sendto(fd, datagram, (size_t)n, 0, (void *)&peer, peer_len);
		break;
	}
	run_until(invoker, 2);
	assert_int_equal(results[1].invoked.how, WC_INVOKED_ANSWER);
	assert_string_equal(results[1].payload, "y");
	close(fd);
	wc_invoker_free(invoker);
}

static void test_unknown_and_cancel(void **state)
{
	struct node *node = node_new(AF_INET, error_first);
	struct wc_invoker *invoker = open_invoker(node, 4);
	struct wc_invocation *invocation;
	struct wc_invoker_stats stats;

	(void)state;
	assert_int_equal(begin_one(invoker, 0, "", 1000, 50000, NULL), 0);
	assert_int_equal(begin_one(invoker, 1, "", 1000, 50000, &invocation), 0);
	wc_invoker_cancel(invocation);
	run_until(invoker, 1);
	assert_int_equal(results[0].invoked.answer.code, WC_CODE_UNKNOWN_FUNCTION);
	assert_int_equal(results[1].calls, 0);
	assert_int_equal(begin_one(invoker, 2, "", 1000, 50000, NULL), 0);
	wc_invoker_stats(invoker, &stats);
	assert_int_equal(stats.in_flight, 1);
	wc_invoker_free(invoker); /* with one in flight */
	assert_int_equal(results[2].calls, 0);
	node_free(node);
}

/* Under another address an id could run again: what is in flight ends. The same address changes nothing. */
static void test_moved(void **state)
{
	struct node *node = node_new(AF_INET, silent), *other = node_new(AF_INET, echo);
	struct wc_invoker *invoker = open_invoker(node, 4);

	(void)state;
	assert_int_equal(begin_one(invoker, 0, "a", 50000, 50000, NULL), 0);
	assert_int_equal(wc_invoker_connect(invoker, "127.0.0.1", node->port), 0);
	wc_invoker_tick(invoker);
	assert_int_equal(finished, 0);
	assert_int_equal(wc_invoker_connect(invoker, "127.0.0.1", other->port), 0);
	assert_int_equal(finished, 0);
	run_until(invoker, 1);
	assert_int_equal(results[0].invoked.how, WC_INVOKED_LOST);
	assert_int_equal(begin_one(invoker, 1, "b", 50000, 50000, NULL), 0);
	run_until(invoker, 2);
	assert_string_equal(results[1].payload, "b");
	assert_int_equal(other->seen, 1);
	wc_invoker_free(invoker);
	node_free(node);
	node_free(other);
}

static void test_ipv6(void **state)
{
	struct node *node = node_new(AF_INET6, echo);
	struct wc_invoker *invoker;

	(void)state;
	if (!node)
		skip();
	invoker = open_invoker(NULL, 4);
	assert_int_equal(wc_invoker_connect(invoker, "::1", node->port), 0);
	assert_int_equal(begin_one(invoker, 0, "six", 1000, 50000, NULL), 0);
	run_until(invoker, 1);
	assert_string_equal(results[0].payload, "six");
	wc_invoker_free(invoker);
	node_free(node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_unknown_and_cancel),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_ipv6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
