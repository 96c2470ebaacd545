// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_gateway_judge.c - what the answer to a call means for an asynchronous invocation: async_calls.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "user/clock.h"
#include "user/gateway/async_calls.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_hows),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
