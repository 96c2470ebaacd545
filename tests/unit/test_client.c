// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_client.c - user/client.c against a fake node (fake_node.h) that loses, delays, refuses and confuses. */
/* mostly-waits */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_node.h"
#include "user/client.h"
#include "user/clock.h"

#define FUNCTION_ID 0x00002003u

/* ---- scripts ---- */

static void echo(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	struct wc_header *out = begin(node, in, WC_TYPE_REPLY, 0);

	(void)number;
	out->flags = wc_htons(WC_FLAG_WARM | 0x8000); /* and one that version 1 does not define */
	out->tail.timing.wait_ns = wc_be64(1234);
	out->tail.timing.service_ns = wc_be64(5678);
	memcpy(node->out + WC_HEADER_LEN, node->in + WC_HEADER_LEN, payload_len);
	reply(node, payload_len);
}

static void echo_third(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	if (number >= 2)
		echo(node, number, in, payload_len);
}

static void busy_twice(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	struct wc_header *out;

	if (number >= 2) {
		echo(node, number, in, payload_len);
		return;
	}
	out = begin(node, in, WC_TYPE_BUSY, WC_CODE_PENDING_FULL);
	out->tail.busy.retry_after_ns = wc_be64(20000000);
	reply(node, 0);
}

static void busy_always(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	struct wc_header *out = begin(node, in, WC_TYPE_BUSY, WC_CODE_PENDING_FULL);

	(void)number;
	(void)payload_len;
	out->tail.busy.retry_after_ns = wc_be64(1000000000);
	reply(node, 0);
}

static void busy_shutdown(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	(void)number;
	(void)payload_len;
	begin(node, in, WC_TYPE_BUSY, WC_CODE_SHUTDOWN);
	reply(node, 0);
}

static void busy_then_silent(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	if (!number)
		busy_always(node, number, in, payload_len);
}

static void silent(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	(void)node;
	(void)number;
	(void)in;
	(void)payload_len;
}

/* Takes the first INVOKE and dies: the port is closed, the descriptor stays usable. */
static void dies(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	int other = socket(AF_INET, SOCK_DGRAM, 0);

	(void)number;
	(void)in;
	(void)payload_len;
	dup2(other, node->fd);
	close(other);
}

static void error_reply(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	static const char text[] = "{\"errorType\":\"ValueError\",\"errorMessage\":\"no\"}";

	(void)number;
	(void)payload_len;
	begin(node, in, WC_TYPE_ERROR, WC_CODE_FUNCTION);
	memcpy(node->out + WC_HEADER_LEN, text, sizeof(text) - 1);
	reply(node, sizeof(text) - 1);
}

/* Six datagrams that are no answer to this request, then the answer, then a duplicate of it. */
static void strays_first(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len)
{
	struct wc_header *out;

	memset(node->out, 'x', 100);
	sendto(node->fd, node->out, 100, 0, (void *)&node->client, node->client_len);
	sendto(node->fd, node->out, 0, 0, (void *)&node->client, node->client_len);
	out = begin(node, in, WC_TYPE_REPLY, 0);
	out->request_id = wc_be64(be64toh(in->request_id) - 1);
	reply(node, 0);
	out = begin(node, in, WC_TYPE_REPLY, 0);
	out->function_id = wc_htonl(FUNCTION_ID + 1);
	reply(node, 0);
	out = begin(node, in, WC_TYPE_REPLY, 0);
	out->reserved = 1;
	reply(node, 0);
	begin(node, in, WC_TYPE_INVOKE, 0);
	reply(node, 0);
	echo(node, number, in, payload_len);
	echo(node, number, in, payload_len);
}

/* ---- invocations ---- */

struct setup {
	struct node *node;
	struct wc_client *client;
	struct wc_client_request request;
	struct wc_client_result result;
};

static struct setup open_setup(script answer)
{
	struct setup setup = { .node = node_new(AF_INET, answer), .request.function_id = FUNCTION_ID };

	assert_non_null(setup.node);
	assert_int_equal(wc_client_open("127.0.0.1", setup.node->port, &setup.client), 0);
	setup.request.payload = "payload";
	setup.request.payload_len = 7;
	setup.request.retransmit_ms = 20;
	setup.request.timeout_ms = 60000;
	return setup;
}

static void close_setup(struct setup *setup)
{
	wc_client_free(setup->client);
	node_free(setup->node);
}

static void test_reply(void **state)
{
	struct setup s = open_setup(echo);

	(void)state;
	s.request.retransmit_ms = 0; /* the usual path: one blocking recv */
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
	assert_int_equal(s.result.type, WC_TYPE_REPLY);
	assert_int_equal(s.result.code, WC_CODE_NONE);
	assert_int_equal(s.result.core, 3);
	assert_int_equal(s.result.flags, WC_FLAG_WARM);
	assert_int_equal(s.result.function_id, FUNCTION_ID);
	assert_int_equal(s.result.wait_ns, 1234);
	assert_int_equal(s.result.service_ns, 5678);
	assert_int_equal(s.result.retransmits, 0);
	assert_int_equal(s.result.payload_len, 7);
	assert_string_equal(s.result.payload, "payload");
	assert_in_range(s.result.round_trip_ns, 1, 2000000000);
	assert_int_equal(s.node->ids[0], s.result.request_id);

	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
	assert_int_equal(s.node->ids[1], s.node->ids[0] + 1); /* another invocation, another id */
	close_setup(&s);
}

static void test_payload_sizes(void **state)
{
	struct setup s = open_setup(echo);
	static __u8 payload[WC_PAYLOAD_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (__u8)(i * 7);
	s.request.payload = payload;
	for (size_t length = 0; length <= WC_PAYLOAD_MAX; length = length ? length * 16 : 15) {
		s.request.payload_len = length;
		assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
		assert_int_equal(s.result.payload_len, length);
		assert_memory_equal(s.result.payload, payload, length);
	}
	assert_int_equal(s.request.payload_len, WC_PAYLOAD_MAX); /* 15 * 16^3: the largest was among them */
	s.request.payload_len = WC_PAYLOAD_MAX + 1;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), -EMSGSIZE);
	s.request.payload_len = 1;
	s.request.function_id = 0;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), -EINVAL);
	close_setup(&s);
}

static void test_retransmission(void **state)
{
	struct setup s = open_setup(echo_third);

	(void)state;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
	assert_int_equal(s.result.type, WC_TYPE_REPLY);
	assert_true(s.result.retransmits >= 2); /* more when this machine is busy */
	assert_int_equal(s.node->ids[1], s.node->ids[0]);
	assert_int_equal(s.node->ids[2], s.node->ids[0]);
	assert_true(s.result.round_trip_ns >= 60000000); /* 20 ms, then 40 ms */
	close_setup(&s);
}

static void test_busy_is_waited_out(void **state)
{
	struct setup s = open_setup(busy_twice);

	(void)state;
	s.request.retransmit_ms = 0;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
	assert_int_equal(s.result.type, WC_TYPE_REPLY);
	assert_int_equal(s.result.busy, 2);
	assert_int_equal(s.result.retransmits, 0);
	assert_int_equal(s.node->ids[2], s.node->ids[0]);
	assert_true(s.result.round_trip_ns >= 40000000); /* twice 20 ms */
	close_setup(&s);
}

static void test_busy_to_the_end(void **state)
{
	struct setup s = open_setup(busy_always);

	(void)state;
	s.request.retransmit_ms = 0;
	s.request.timeout_ms = 1800; /* BUSY at 0 and 1 s; the third attempt would be at 2 s */
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
	assert_int_equal(s.result.type, WC_TYPE_BUSY);
	assert_int_equal(s.result.code, WC_CODE_PENDING_FULL);
	assert_int_equal(s.result.retry_after_ns, WC_SECOND);
	assert_int_equal(s.result.busy, 2);
	assert_int_equal(s.result.retransmits, 0);
	assert_true(s.result.round_trip_ns >= 1800 * WC_MS);
	close_setup(&s);
}

static void test_busy_shutdown(void **state)
{
	struct setup s = open_setup(busy_shutdown);
	__u64 start = wc_now();

	(void)state;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
	assert_int_equal(s.result.type, WC_TYPE_BUSY);
	assert_int_equal(s.result.code, WC_CODE_SHUTDOWN);
	assert_true(wc_now() - start < 30 * WC_SECOND); /* not waited out */
	close_setup(&s);
}

/* Accepted after a BUSY, perhaps run, never answered: that is no BUSY. */
static void test_busy_then_silent(void **state)
{
	struct setup s = open_setup(busy_then_silent);

	(void)state;
	s.request.timeout_ms = 1800;
	s.result.request_id = 42;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), -ETIMEDOUT);
	assert_int_equal(s.result.request_id, 42);
	close_setup(&s);
}

static void test_no_answer(void **state)
{
	struct setup s = open_setup(silent);
	__u64 start = wc_now();

	(void)state;
	s.request.timeout_ms = 1000;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), -ETIMEDOUT);
	assert_true(wc_now() - start >= 150 * WC_MS);
	assert_true(wc_now() - start >= WC_SECOND);
	close_setup(&s);
}

static void test_error_reply(void **state)
{
	struct setup s = open_setup(error_reply);

	(void)state;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
	assert_int_equal(s.result.type, WC_TYPE_ERROR);
	assert_int_equal(s.result.code, WC_CODE_FUNCTION);
	assert_int_equal(s.result.core, WC_CORE_ANY);
	assert_non_null(strstr(s.result.payload, "ValueError"));
	close_setup(&s);
}

static void test_strays(void **state)
{
	struct setup s = open_setup(strays_first);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), 0);
		assert_int_equal(s.result.type, WC_TYPE_REPLY);
		assert_string_equal(s.result.payload, "payload");
		assert_int_equal(s.result.request_id, s.node->ids[i]);
	}
	/* six each time, and the duplicate of the one before */
	assert_int_equal(wc_client_strays(s.client), 3 * 6 + 2);
	close_setup(&s);
}

static void test_refused(void **state)
{
	struct setup s = open_setup(echo);
	__u64 start;

	(void)state;
	node_stop(s.node);
	start = wc_now();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), -ECONNREFUSED);
	assert_true(wc_now() - start < 30 * WC_SECOND);
	assert_non_null(strstr(wc_client_error_text(-ECONNREFUSED), "not running"));
	wc_client_free(s.client);
	free(s.node);
}

/* What was taken may have run, although nothing listens any more; the next invocation knows that nothing does. */
static void test_taken_then_refused(void **state)
{
	struct setup s = open_setup(dies);
	__u64 start = wc_now();

	(void)state;
	s.request.timeout_ms = 400;
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), -ETIMEDOUT);
	assert_true(wc_now() - start >= 400 * WC_MS);
	assert_int_equal(s.node->seen, 1);
	assert_non_null(strstr(wc_client_error_text(-ETIMEDOUT), "may have run"));
	start = wc_now();
	assert_int_equal(wc_client_invoke(s.client, &s.request, &s.result), -ECONNREFUSED);
	assert_true(wc_now() - start < 30 * WC_SECOND);
	close_setup(&s);
}

static void test_many_in_flight(void **state)
{
	struct setup s = open_setup(echo);
	__u64 first = wc_client_next_id(s.client), answered = 0;

	(void)state;
	for (__u64 i = 0; i < 50; i++) {
		s.request.payload = &i;
		s.request.payload_len = sizeof(i);
		assert_int_equal(wc_client_send(s.client, first + i, &s.request), 0);
	}
	for (unsigned i = 0; i < 50; i++) {
		__u64 which;

		assert_int_equal(wc_client_receive(s.client, 2000000000, &s.result), 0);
		which = s.result.request_id - first;
		assert_memory_equal(s.result.payload, &which, sizeof(which));
		assert_int_equal(s.result.round_trip_ns, 0);
		assert_true(s.result.received_ns > 0);
		answered |= 1ull << which;
	}
	assert_int_equal(answered, (1ull << 50) - 1);
	assert_int_equal(wc_client_receive(s.client, 0, &s.result), -EAGAIN);
	assert_int_equal(wc_client_receive(s.client, 1000000, &s.result), -EAGAIN);
	close_setup(&s);
}

static void test_ipv6(void **state)
{
	struct wc_client_request request = { .function_id = FUNCTION_ID, .payload = "six", .payload_len = 3 };
	struct node *node = node_new(AF_INET6, echo);
	struct wc_client_result result;
	struct wc_client *client;

	(void)state;
	if (!node)
		skip();
	assert_int_equal(wc_client_open("::1", node->port, &client), 0);
	assert_int_equal(wc_client_invoke(client, &request, &result), 0);
	assert_string_equal(result.payload, "six");
	wc_client_free(client);
	node_free(node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_payload_sizes),
		cmocka_unit_test(test_retransmission),
		cmocka_unit_test(test_busy_is_waited_out),
		cmocka_unit_test(test_busy_to_the_end),
		cmocka_unit_test(test_busy_shutdown),
		cmocka_unit_test(test_busy_then_silent),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_error_reply),
		cmocka_unit_test(test_strays),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_taken_then_refused),
		cmocka_unit_test(test_many_in_flight),
		cmocka_unit_test(test_ipv6),
	};

	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
