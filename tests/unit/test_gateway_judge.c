// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_gateway_judge.c - what the answer to a call means for an asynchronous invocation: async_calls.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "user/clock.h"
#include "user/gateway/async_calls.h"
#include "user/gateway/async_record.h"

static void test_errors(void **state)
{
	static const struct {
		int error;
		enum wc_async_what what;
		uint32_t retry_ms;
	} cases[] = {
		{ -ENOENT, WC_ASYNC_GONE, 1000 },    { -EMSGSIZE, WC_ASYNC_FAILED, 1000 },
		{ -EAGAIN, WC_ASYNC_BUSY, 0 },	     { -EHOSTDOWN, WC_ASYNC_BUSY, 1000 },
		{ -ETIMEDOUT, WC_ASYNC_BUSY, 1000 }, { -EPIPE, WC_ASYNC_BUSY, 1000 },
		{ -ENOMEM, WC_ASYNC_BUSY, 1000 },    { -EBADMSG, WC_ASYNC_BUSY, 1000 },
	};
	char buffer[WC_ASYNC_JUDGE_MAX];
	struct wc_async_outcome outcome;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wc_called called = { .error = cases[i].error };

		wc_async_judge(&called, buffer, &outcome);
		assert_int_equal(outcome.what, cases[i].what);
		assert_int_equal(outcome.retry_ms, cases[i].retry_ms);
		assert_int_equal(outcome.what == WC_ASYNC_FAILED, outcome.result.error != NULL);
	}
}

static void test_hows(void **state)
{
	static const struct {
		enum wc_invoked_how how;
		enum wc_async_what what;
	} cases[] = { { WC_INVOKED_TIMEOUT, WC_ASYNC_FAILED },
		      { WC_INVOKED_REFUSED, WC_ASYNC_BUSY },
		      { WC_INVOKED_LOST, WC_ASYNC_BUSY } };
	char buffer[WC_ASYNC_JUDGE_MAX];
	struct wc_async_outcome outcome;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wc_invoked invoked = { .how = cases[i].how };
		struct wc_called called = { .invoked = &invoked };

		wc_async_judge(&called, buffer, &outcome);
		assert_int_equal(outcome.what, cases[i].what);
	}
}

static void test_answers(void **state)
{
	static const struct {
		enum wc_type type;
		unsigned code;
		__u64 retry_ns;
		enum wc_async_what what;
		uint32_t retry_ms;
	} cases[] = {
		{ WC_TYPE_REPLY, 0, 0, WC_ASYNC_OK, 0 },
		{ WC_TYPE_ERROR, WC_CODE_FUNCTION, 0, WC_ASYNC_FAILED, 0 },
		{ WC_TYPE_ERROR, WC_CODE_EXIT, 0, WC_ASYNC_FAILED, 0 },
		{ WC_TYPE_ERROR, WC_CODE_CRASH, 0, WC_ASYNC_FAILED, 0 },
		{ WC_TYPE_ERROR, WC_CODE_TIMEOUT, 0, WC_ASYNC_FAILED, 0 },
		{ WC_TYPE_ERROR, WC_CODE_INIT, 0, WC_ASYNC_FAILED, 0 },
		{ WC_TYPE_ERROR, WC_CODE_TOO_LARGE, 0, WC_ASYNC_FAILED, 0 },
		{ WC_TYPE_ERROR, 60000, 0, WC_ASYNC_FAILED, 0 },
		{ WC_TYPE_ERROR, WC_CODE_RESTARTED, 0, WC_ASYNC_BUSY, 1000 },
		{ WC_TYPE_ERROR, WC_CODE_DEADLINE, 0, WC_ASYNC_BUSY, 0 },
		{ WC_TYPE_BUSY, WC_CODE_PENDING_FULL, 7 * WC_MS, WC_ASYNC_BUSY, 7 },
		{ WC_TYPE_BUSY, WC_CODE_FUNCTION_LIMIT, 7 * WC_MS, WC_ASYNC_BUSY, 7 },
		{ WC_TYPE_BUSY, WC_CODE_FUNCTION_LIMIT, UINT64_MAX, WC_ASYNC_BUSY, 60000 },
		{ WC_TYPE_BUSY, WC_CODE_NODE_DOWN, 0, WC_ASYNC_BUSY, 1000 },
		{ WC_TYPE_BUSY, WC_CODE_SHUTDOWN, 0, WC_ASYNC_BUSY, 1000 },
		{ WC_TYPE_BUSY, 60000, 9 * WC_MS, WC_ASYNC_BUSY, 9 },
	};
	char buffer[WC_ASYNC_JUDGE_MAX], large[2 * WC_ASYNC_JUDGE_MAX];
	struct wc_async_outcome outcome;

	(void)state;
	memset(large, 'x', sizeof(large));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t length = 0; length <= sizeof(large); length += sizeof(large) / 2) {
			struct wc_invoked invoked = { .how = WC_INVOKED_ANSWER,
						      .answer = { .type = cases[i].type,
								  .code = (__u16)cases[i].code,
								  .retry_after_ns = cases[i].retry_ns,
								  .payload = large,
								  .payload_len = length } };
			struct wc_called called = { .invoked = &invoked };

			wc_async_judge(&called, buffer, &outcome);
			assert_int_equal(outcome.what, cases[i].what);
			assert_int_equal(outcome.retry_ms, cases[i].retry_ms);
			if (outcome.what == WC_ASYNC_OK)
				assert_int_equal(outcome.result.response_size, length);
			if (outcome.what == WC_ASYNC_FAILED)
				assert_true(*outcome.result.error && strlen(outcome.result.error) < sizeof(buffer));
			if (outcome.what == WC_ASYNC_FAILED && length)
				assert_int_equal(*outcome.result.error, 'x');
		}
}

/* A record is JSON whatever is in it, and never larger than a function takes. */
static void test_records(void **state)
{
	static char large[61440];
	struct wc_async_delivery delivery = { .function = "f",
					      .reason = WC_ASYNC_REASON_ATTEMPTS,
					      .invocation_attempts = 3 };
	static const struct {
		size_t request, response;
		const char *has, *lacks;
	} cases[] = {
		{ 10, 10, "\"requestPayload\":\"xxxxxxxxxx\"", "omitted" },
		{ 0, 0, "\"requestPayload\":null", "omitted" },
		{ 40000, 40000, "\"omitted\":[\"responsePayload\"]", "\"requestPayload\":null" },
		{ 61400, 10, "\"omitted\":[\"requestPayload\"]", "\"responsePayload\":null" },
		{ 61400, 61400, "\"omitted\":[\"requestPayload\",\"responsePayload\"]", "xxx" },
	};
	struct wc_async_id one, other;
	size_t length;
	char *record;

	(void)state;
	memset(large, 'x', sizeof(large));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		delivery.body.payload = delivery.response = large;
		delivery.body.payload_size = cases[i].request;
		delivery.response_size = delivery.response_size_full = cases[i].response;
		record = wc_async_record(&delivery, 1700000000123, 61440, &length);
		assert_non_null(record);
		assert_true(length == strlen(record) && length <= 61440);
		assert_non_null(strstr(record, cases[i].has));
		assert_null(strstr(record, cases[i].lacks));
		assert_non_null(strstr(record, "\"timestamp\":\"2023-11-14T22:13:20.123Z\""));
		free(record);
	}
	/* Bytes that are no text; a response of which the store has only the beginning. */
	large[0] = (char)0xff;
	delivery.body.payload_size = 3;
	delivery.response_size = 3;
	delivery.response_size_full = 4;
	record = wc_async_record(&delivery, 0, 61440, &length);
	assert_non_null(strstr(record, "\"requestPayload\":\"/3h4\""));
	assert_non_null(strstr(record, "\"omitted\":[\"responsePayload\"]"));
	free(record);
	wc_async_record_id(&delivery, &one);
	wc_async_record_id(&delivery, &other);
	assert_memory_equal(&one, &other, sizeof(one));
	delivery.kind = WC_ASYNC_KIND_ON_FAILURE;
	wc_async_record_id(&delivery, &other);
	assert_memory_not_equal(&one, &other, sizeof(one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_hows),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
