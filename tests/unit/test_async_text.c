/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_async_text.c - ids, names and destinations of asynchronous invocations: what is taken, what is refused, at the limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "user/gateway/async.h"

static struct wc_fault fault;

static void test_id(void **state)
{
	static const char *const wrong[] = {
		"",
		"-",
		"0123456789abcdef0123456789abcdef",
		"01234567-89ab-cdef-0123-456789abcde",
		"01234567-89ab-cdef-0123-456789abcdef0",
		"01234567-89ab-cdef-0123-456789abcdeg",
		"0123456-789ab-cdef-0123-456789abcdef",
		" 01234567-89ab-cdef-0123-456789abcdef",
		"{1234567-89ab-cdef-0123-456789abcdef}",
	};
	struct wc_async_id id, again, before;
	char text[WC_ASYNC_ID_TEXT];

	(void)state;
	assert_int_equal(wc_async_id_parse("01234567-89AB-cdef-0123-456789abcdef", &id, &fault), 0);
	wc_async_id_format(&id, text);
	assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
	before = id;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(wc_async_id_parse(wrong[i], &id, &fault), -EINVAL);
	assert_memory_equal(&id, &before, sizeof(id));
	wc_async_id_new(&id);
	wc_async_id_new(&again);
	assert_memory_not_equal(&id, &again, sizeof(id));
	wc_async_id_format(&id, text);
	assert_int_equal(text[14], '4');
	assert_non_null(strchr("89ab", text[19]));
	assert_int_equal(wc_async_id_parse(text, &again, &fault), 0);
	assert_memory_equal(&id, &again, sizeof(id));
}

static void test_names(void **state)
{
	char name[WC_ASYNC_QUALIFIER_MAX + 1];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[WC_ASYNC_NAME_MAX - 1] = 0;
	assert_int_equal(wc_async_check_name(name, &fault), 0);
	name[WC_ASYNC_NAME_MAX - 1] = 'n';
	name[WC_ASYNC_NAME_MAX] = 0;
	assert_int_equal(wc_async_check_name(name, &fault), -EINVAL);
	assert_int_equal(wc_async_check_name("", &fault), -EINVAL);
	assert_int_equal(wc_async_check_name("a/b", &fault), -EINVAL);
	assert_int_equal(wc_async_check_name("a\n", &fault), -EINVAL);
	name[WC_ASYNC_NAME_MAX] = 'n';
	name[WC_ASYNC_QUALIFIER_MAX - 1] = 0;
	assert_int_equal(wc_async_check_qualifier(name, &fault), 0);
	name[WC_ASYNC_QUALIFIER_MAX - 1] = 'n';
	name[WC_ASYNC_QUALIFIER_MAX] = 0;
	assert_int_equal(wc_async_check_qualifier(name, &fault), -EINVAL);
	assert_int_equal(wc_async_check_qualifier("", &fault), 0);
	assert_int_equal(wc_async_check_qualifier("$LATEST", &fault), 0);
	assert_int_equal(wc_async_check_qualifier("$LATER", &fault), -EINVAL);
	assert_int_equal(wc_async_check_qualifier("1.2", &fault), -EINVAL);
}

static void test_targets(void **state)
{
	static const struct {
		const char *text, *function, *qualifier, *host, *path;
		uint16_t port;
		bool is_tls;
	} right[] = {
		{ .text = "hello", .function = "hello", .qualifier = "" },
		{ .text = "hello:live", .function = "hello", .qualifier = "live" },
		{ .text = "hello:$LATEST", .function = "hello", .qualifier = "$LATEST" },
		{ .text = "http://a", .host = "a", .port = 80, .path = "" },
		{ .text = "https://a.example/x?y=1",
		  .host = "a.example",
		  .port = 443,
		  .path = "/x?y=1",
		  .is_tls = true },
		{ .text = "http://127.0.0.1:8080/", .host = "127.0.0.1", .port = 8080, .path = "/" },
		{ .text = "http://[::1]:65535?q", .host = "::1", .port = 65535, .path = "?q" },
		{ .text = "https://[2001:db8::1]", .host = "2001:db8::1", .port = 443, .path = "", .is_tls = true },
	};
	static const char *const wrong[] = {
		"",
		":",
		"hello:",
		":live",
		"hello:live:x",
		"hello world",
		"ftp://a",
		"http:/a",
		"http://",
		"http:///x",
		"http://:80",
		"http://a:",
		"http://a:0",
		"http://a:65536",
		"http://a:+80",
		"http://a:080x",
		"http://a:000080",
		"http://user@a",
		"http://user:secret@a/",
		"http://a@b:80/",
		"http://a/#f",
		"http://a#f",
		"http://a/ b",
		"http://a/\r\nX: y",
		"http://a/\x7f",
		"http://\xc3\xa9/",
		"http://-a/",
		"http://[::1",
		"http://[]",
		"http://[::1]x",
		"http://[::1]]",
		"http://[a]/",
		"http://::1/",
		"HTTP://a",
	};
	char text[WC_ASYNC_TARGET_MAX + 1];
	struct wc_async_target target;

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		if (wc_async_target_parse(right[i].text, &target, &fault))
			fail_msg("%s: %s", right[i].text, fault.text);
		assert_int_equal(target.is_url, right[i].host != NULL);
		if (!right[i].host) {
			assert_string_equal(target.function, right[i].function);
			assert_string_equal(target.qualifier, right[i].qualifier);
			continue;
		}
		assert_string_equal(target.host, right[i].host);
		assert_string_equal(target.path, right[i].path);
		assert_int_equal(target.port, right[i].port);
		assert_int_equal(target.is_tls, right[i].is_tls);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (wc_async_target_parse(wrong[i], &target, &fault) != -EINVAL)
			fail_msg("%s is taken", wrong[i]);
	memset(text, 'p', sizeof(text));
	memcpy(text, "http://a/", 9);
	text[WC_ASYNC_TARGET_MAX - 1] = 0;
	assert_int_equal(wc_async_target_parse(text, &target, &fault), 0);
	text[WC_ASYNC_TARGET_MAX - 1] = 'p';
	text[WC_ASYNC_TARGET_MAX] = 0;
	assert_int_equal(wc_async_target_parse(text, &target, &fault), -EINVAL);
	memset(text + 7, 'h', 255);
	text[7 + 255] = 0;
	assert_int_equal(wc_async_target_parse(text, &target, &fault), 0);
	text[7 + 255] = 'h';
	text[7 + 256] = 0;
	assert_int_equal(wc_async_target_parse(text, &target, &fault), -EINVAL);
}

static void test_words(void **state)
{
	(void)state;
	assert_string_equal(wc_async_state_name(WC_ASYNC_STATE_RUNNING), "running");
	assert_string_equal(wc_async_reason_name(WC_ASYNC_REASON_AGE), "too old");
	assert_string_equal(wc_async_kind_name(WC_ASYNC_KIND_CALLBACK), "callback");
	assert_string_equal(wc_async_state_name(99), "?");
	assert_string_equal(wc_async_reason_name(0), "?");
	assert_string_equal(wc_async_kind_name(-1), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests_name("async_text", tests, NULL, NULL);
}
