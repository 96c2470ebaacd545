/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_manifest.c - the settings of a function: what is accepted, every limit from both sides, and the sentence for the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "user/functions.h"

static struct wc_manifest manifest;
static struct wc_fault fault;

static int parse(const char *text)
{
	json_error_t why;
	json_t *object = json_loads(text, JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
	int ret;

	if (!object)
		fail_msg("%s: %s", text, why.text);
	memset(&fault, 0, sizeof(fault));
	memset(&manifest, 0x55, sizeof(manifest));
	ret = wc_manifest_parse(&manifest, object, &fault);
	json_decref(object);
	return ret;
}

/* A good manifest with `more` added to it; "k":"v" pairs that begin with a comma. */
static int parse_with(const char *more)
{
	char text[8192];

	snprintf(text, sizeof(text), "{\"name\":\"n\",\"runtime\":\"native\",\"handler\":\"h\"%s}", more);
	return parse(text);
}

static void accept_with(const char *more)
{
	if (parse_with(more))
		fail_msg("%s: %s", more, fault.text);
	wc_manifest_release(&manifest);
}

/* Refused with the sentence, and the caller's manifest is as it was. */
static void expect_refused(const char *what, int ret, const char *why)
{
	struct wc_manifest untouched;

	memset(&untouched, 0x55, sizeof(untouched));
	if (ret != -EINVAL || !strstr(fault.text, why))
		fail_msg("%s: %d \"%s\" instead of \"%s\"", what, ret, fault.text, why);
	assert_memory_equal(&manifest, &untouched, sizeof(manifest));
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"name\":\"hello\",\"runtime\":\"node\",\"handler\":\"index.handler\"}"), 0);
	assert_string_equal(manifest.name, "hello");
	assert_string_equal(manifest.handler, "index.handler");
	assert_int_equal(manifest.runtime, WC_RUNTIME_NODE);
	assert_int_equal(manifest.timeout_ms, 3000);
	assert_int_equal(manifest.memory_mb, 128);
	assert_false(manifest.binary || manifest.trusted || manifest.idempotent);
	assert_null(manifest.environment);
	assert_int_equal(manifest.limits.concurrency, 0);
	assert_int_equal(manifest.limits.reserved, 0);
	assert_int_equal(manifest.limits.queue, 0);
	assert_int_equal(manifest.limits.priority, 3);
	assert_string_equal(manifest.libraries, "");
	wc_manifest_release(&manifest);
}

/* A custom runtime's handler is for its bootstrap, which may do without. */
static void test_custom(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"name\":\"hello\",\"runtime\":\"custom\"}"), 0);
	assert_int_equal(manifest.runtime, WC_RUNTIME_CUSTOM);
	assert_string_equal(manifest.handler, "bootstrap");
	wc_manifest_release(&manifest);
	assert_int_equal(parse("{\"name\":\"hello\",\"runtime\":\"custom\",\"handler\":\"app.handler\"}"), 0);
	assert_string_equal(manifest.handler, "app.handler");
	wc_manifest_release(&manifest);
}

static void test_everything(void **state)
{
	(void)state;
	assert_int_equal(
		parse("{\"op\":\"deploy\",\"source\":\"/x\",\"example\":{},\"name\":\"A-b_9\",\"runtime\":\"native\","
		      "\"handler\":\"lib/h.so\",\"event\":\"binary\",\"timeout_ms\":900000,\"memory_mb\":10240,"
		      "\"trusted\":true,\"idempotent\":true,\"environment\":{\"A\":\"1\",\"EMPTY\":\"\"},\"concurrency\":65536,"
		      "\"reserved\":4095,\"queue\":1000000,\"priority\":7,\"libraries\":[\"scipy\",\"numpy\"]}"),
		0);
	assert_true(manifest.binary && manifest.trusted && manifest.idempotent);
	assert_int_equal(manifest.timeout_ms, 900000);
	assert_int_equal(manifest.memory_mb, 10240);
	assert_int_equal(json_object_size(manifest.environment), 2);
	assert_int_equal(manifest.limits.concurrency, 65536);
	assert_int_equal(manifest.limits.reserved, 4095);
	assert_int_equal(manifest.limits.queue, 1000000);
	assert_int_equal(manifest.limits.priority, 7);
	assert_string_equal(manifest.libraries, "numpy,scipy");
	wc_manifest_release(&manifest);
	assert_null(manifest.environment);
	wc_manifest_release(&manifest); /* twice is no harm */
}

static void test_refused(void **state)
{
	static const char *const rows[][2] = {
		{ "[]", "must be a JSON object" },
		{ "null", "must be a JSON object" },
		{ "\"text\"", "must be a JSON object" },
		{ "{}", "lacks \"name\"" },
		{ "{\"name\":\"n\"}", "lacks \"runtime\"" },
		{ "{\"name\":\"n\",\"runtime\":\"native\"}", "lacks \"handler\"" },
		{ "{\"name\":\"\",\"runtime\":\"native\",\"handler\":\"h\"}", "\"name\" must be a text of 1 to 63" },
		{ "{\"name\":7,\"runtime\":\"native\",\"handler\":\"h\"}", "\"name\" must be a text" },
		{ "{\"name\":null,\"runtime\":\"native\",\"handler\":\"h\"}", "\"name\" must be a text" },
		{ "{\"name\":\"a/b\",\"runtime\":\"native\",\"handler\":\"h\"}", "only letters, digits" },
		{ "{\"name\":\"..\",\"runtime\":\"native\",\"handler\":\"h\"}", "only letters, digits" },
		{ "{\"name\":\".\",\"runtime\":\"native\",\"handler\":\"h\"}", "only letters, digits" },
		{ "{\"name\":\"a b\",\"runtime\":\"native\",\"handler\":\"h\"}", "only letters, digits" },
		{ "{\"name\":\"caf\xc3\xa9\",\"runtime\":\"native\",\"handler\":\"h\"}", "only letters, digits" },
		{ "{\"name\":\"a\\u0000b\",\"runtime\":\"native\",\"handler\":\"h\"}", "\"name\" must be a text" },
		{ "{\"name\":\"a\\n\",\"runtime\":\"native\",\"handler\":\"h\"}", "only letters, digits" },
		{ "{\"name\":\"n\",\"runtime\":\"Native\",\"handler\":\"h\"}",
		  "expected native, python, node or custom" },
		{ "{\"name\":\"n\",\"runtime\":\"custom\",\"handler\":\"\"}", "\"handler\" must be a text" },
		{ "{\"name\":\"n\",\"runtime\":\"custom\",\"trusted\":true}", "for the native runtime only" },
		{ "{\"name\":\"n\",\"runtime\":\"\",\"handler\":\"h\"}", "\"runtime\" must be a text" },
		{ "{\"name\":\"n\",\"runtime\":\"native\",\"handler\":\"/etc/passwd\"}", "must stay inside" },
		{ "{\"name\":\"n\",\"runtime\":\"native\",\"handler\":\"a/../../b\"}", "must stay inside" },
		{ "{\"name\":\"n\",\"runtime\":\"native\",\"handler\":\"..\"}", "must stay inside" },
	};
	static const char *const more[][2] = {
		{ ",\"timeout\":1", "unknown key \"timeout\"" },
		{ ",\"id\":4097", "unknown key \"id\"" },
		{ ",\"\":1", "unknown key \"\"" },
		{ ",\"event\":\"JSON\"", "expected json or binary" },
		{ ",\"event\":true", "\"event\" must be a text" },
		{ ",\"event\":\"a-word-that-is-far-too-long\"", "\"event\" must be a text of 1 to 15" },
		{ ",\"timeout_ms\":0", "from 1 to 900000" },
		{ ",\"timeout_ms\":-1", "from 1 to 900000" },
		{ ",\"timeout_ms\":900001", "from 1 to 900000" },
		{ ",\"timeout_ms\":4294967297", "from 1 to 900000" },
		{ ",\"timeout_ms\":9223372036854775807", "from 1 to 900000" },
		{ ",\"timeout_ms\":1000.0", "from 1 to 900000" },
		{ ",\"timeout_ms\":\"1000\"", "from 1 to 900000" },
		{ ",\"timeout_ms\":null", "from 1 to 900000" },
		{ ",\"memory_mb\":15", "from 16 to 10240" },
		{ ",\"memory_mb\":10241", "from 16 to 10240" },
		{ ",\"memory_mb\":-9223372036854775808", "from 16 to 10240" },
		{ ",\"concurrency\":-1", "\"concurrency\" must be a whole number from 0 to 65536" },
		{ ",\"concurrency\":65537", "from 0 to 65536" },
		{ ",\"concurrency\":4294967296", "from 0 to 65536" },
		{ ",\"concurrency\":1.0", "from 0 to 65536" },
		{ ",\"concurrency\":\"1\"", "from 0 to 65536" },
		{ ",\"concurrency\":null", "from 0 to 65536" },
		{ ",\"reserved\":-1", "\"reserved\" must be a whole number from 0 to 4095" },
		{ ",\"reserved\":4096", "from 0 to 4095" },
		{ ",\"reserved\":3,\"concurrency\":2", "\"reserved\" 3 is more than \"concurrency\" 2" },
		{ ",\"queue\":-1", "\"queue\" must be a whole number from 0 to 1000000" },
		{ ",\"queue\":1000001", "from 0 to 1000000" },
		{ ",\"priority\":-1", "\"priority\" must be a whole number from 0 to 7" },
		{ ",\"priority\":8", "from 0 to 7" },
		{ ",\"priority\":true", "from 0 to 7" },
		{ ",\"libraries\":\"numpy\"", "\"libraries\" must be an array of at most 16 names" },
		{ ",\"libraries\":{}", "must be an array" },
		{ ",\"libraries\":null", "must be an array" },
		{ ",\"libraries\":[1]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[null]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[[\"a\"]]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\"\"]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\".\"]", "and no empty parts" },
		{ ",\"libraries\":[\"a..b\"]", "and no empty parts" },
		{ ",\"libraries\":[\"unittest.__main__\"]", "not __main__" },
		{ ",\"libraries\":[\"good\",\"a/b\"]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\"a,b\"]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\"a+b\"]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\"a b\"]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\"a\\u0000b\"]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\"caf\xc3\xa9\"]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\"12345678901234567890123456789012\"]", "a name has 1 to 31 letters" },
		{ ",\"libraries\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
		  "\"a\",\"a\",\"a\"]",
		  "at most 16 names" },
		{ ",\"trusted\":1", "must be true or false" },
		{ ",\"idempotent\":\"yes\"", "must be true or false" },
		{ ",\"trusted\":\"true\"", "must be true or false" },
		{ ",\"trusted\":null", "must be true or false" },
		{ ",\"environment\":[]", "must be an object of texts" },
		{ ",\"environment\":null", "must be an object of texts" },
		{ ",\"environment\":{\"A\":1}", "must be a name without = and its value a text" },
		{ ",\"environment\":{\"\":\"x\"}", "must be a name without =" },
		{ ",\"environment\":{\"A=B\":\"x\"}", "must be a name without =" },
		{ ",\"environment\":{\"A\":\"x\\u0000y\"}", "must be a name without =" },
		{ ",\"environment\":{\"LD_PRELOAD\":\"x\"}", "are taken (LD_PRELOAD)" },
		{ ",\"environment\":{\"GOOD\":\"x\",\"WARMCORE_FD\":\"9\"}", "are taken (WARMCORE_FD)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_refused(rows[i][0], parse(rows[i][0]), rows[i][1]);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		expect_refused(more[i][0], parse_with(more[i][0]), more[i][1]);
	expect_refused("python", parse("{\"name\":\"n\",\"runtime\":\"python\",\"handler\":\"h.f\",\"trusted\":true}"),
		       "native runtime only");
}

static void test_accepted(void **state)
{
	static const char *const more[] = {
		"",
		",\"timeout_ms\":1",
		",\"memory_mb\":16",
		",\"event\":\"json\"",
		",\"trusted\":false",
		",\"environment\":{}",
		",\"concurrency\":0,\"reserved\":4095", /* no limit, so any reservation is below it */
		",\"concurrency\":2,\"reserved\":2",
		",\"queue\":0,\"priority\":0",
		",\"libraries\":[]",
		",\"environment\":{\"LD\":\"x\",\"warmcore_x\":\"y\",\"A\":\"a=b\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		accept_with(more[i]);
}

/* The longest texts, and one character more. */
static void test_lengths(void **state)
{
	static const struct {
		const char *format, *why;
		int max;
	} rows[] = {
		{ "{\"name\":\"%.*s\",\"runtime\":\"native\",\"handler\":\"h\"}", "of 1 to 63 characters", 63 },
		{ "{\"name\":\"n\",\"runtime\":\"native\",\"handler\":\"%.*s\"}", "of 1 to 127 characters", 127 },
		{ "{\"name\":\"n\",\"runtime\":\"native\",\"handler\":\"h\",\"environment\":{\"A\":\"%.*s\"}}",
		  "larger than 4096 bytes", 4096 - 3 },
	};
	char text[8192], filler[5000];

	(void)state;
	memset(filler, 'x', sizeof(filler));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
/* The format comes from the table above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), rows[i].format, rows[i].max, filler);
		if (parse(text))
			fail_msg("%s", fault.text);
		wc_manifest_release(&manifest);
		snprintf(text, sizeof(text), rows[i].format, rows[i].max + 1, filler);
#pragma GCC diagnostic pop
		expect_refused("too long", parse(text), rows[i].why);
	}
}

/* One text for one set: sorted, each once, whatever the order in the manifest. */
static void test_libraries(void **state)
{
	static const char *const rows[][2] = {
		{ "[]", "" },
		{ "[\"numpy\"]", "numpy" },
		{ "[\"scipy\",\"numpy\"]", "numpy,scipy" },
		{ "[\"numpy\",\"scipy\"]", "numpy,scipy" },
		{ "[\"b\",\"a\",\"b\",\"a\",\"b\"]", "a,b" },
		{ "[\"a.b\",\"A_1\",\"-\"]", "-,A_1,a.b" },
		{ "[\"1234567890123456789012345678901\"]", "1234567890123456789012345678901" },
		/* 87 characters together, then 88 */
		{ "[\"a23456789012345678901234567890x\",\"b23456789012345678901234567890x\",\"c2345678901234567890123\"]",
		  "a23456789012345678901234567890x,b23456789012345678901234567890x,c2345678901234567890123" },
		{ "[\"a23456789012345678901234567890x\",\"b23456789012345678901234567890x\",\"c23456789012345678901234\"]",
		  NULL },
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), ",\"libraries\":%s", rows[i][0]);
		if (!rows[i][1]) {
			expect_refused(text, parse_with(text), "the names together are longer than 87 characters");
			continue;
		}
		accept_with(text);
		assert_int_equal(parse_with(text), 0);
		assert_string_equal(manifest.libraries, rows[i][1]);
		wc_manifest_release(&manifest);
	}
}

/* At the limits of both, and beyond. */
static void test_owner_and_callers(void **state)
{
	static const char longest[] = "1234567890123456789012345678901234567890123456789012345678901234";
	static const char *const good[] = {
		",\"owner\":\"\"",   ",\"owner\":\"A-b_9.\"", ",\"owner\":\"..\"",
		",\"callers\":null", ",\"callers\":[]",	      ",\"callers\":[\"*\",\"@\",\"@a.b\",\"n\",\"n\"]",
	};
	static const char *const owners[] = { "7",	 "null",	  "[]",
					      "\"a b\"", "\"a/b\"",	  "\"@a\"",
					      "\"*\"",	 "\"a\\u0000b\"", "\"caf\xc3\xa9\"" };
	static const char *const callers[] = { "\"\"",	 "\"**\"",	 "\"a*\"",	   "\"a:1\"", "\"a.b\"",
					       "\"@@\"", "\"@*\"",	 "\"@a b\"",	   "7",	      "null",
					       "[]",	 "\"n\\u0000\"", "\"caf\xc3\xa9\"" };
	char text[2048];
	size_t at;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		accept_with(good[i]);
	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
		snprintf(text, sizeof(text), ",\"owner\":%s", owners[i]);
		expect_refused(text, parse_with(text),
			       "\"owner\" must be a text of at most 64 letters, digits, -, _ and .");
	}
	for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++) {
		snprintf(text, sizeof(text), ",\"callers\":[\"a\",%s]", callers[i]);
		expect_refused(text, parse_with(text), "\"callers\": each is the name of a function");
	}
	expect_refused("text", parse_with(",\"callers\":\"a\""), "\"callers\" must be an array of at most 64 texts");
	expect_refused("object", parse_with(",\"callers\":{}"), "must be an array of at most 64 texts");
	snprintf(text, sizeof(text), ",\"owner\":\"%s\",\"callers\":[\"@%s\",\"%.63s\"]", longest, longest, longest);
	accept_with(text);
	snprintf(text, sizeof(text), ",\"owner\":\"%s5\"", longest);
	expect_refused(text, parse_with(text), "at most 64 letters");
	snprintf(text, sizeof(text), ",\"callers\":[\"@%s5\"]", longest);
	expect_refused(text, parse_with(text), "each is the name");
	snprintf(text, sizeof(text), ",\"callers\":[\"%s\"]", longest);
	expect_refused(text, parse_with(text), "each is the name");
	for (int count = 64; count <= 65; count++) {
		at = (size_t)snprintf(text, sizeof(text), ",\"callers\":[\"a\"");
		for (int i = 1; i < count; i++)
			at += (size_t)snprintf(text + at, sizeof(text) - at, ",\"a\"");
		snprintf(text + at, sizeof(text) - at, "]");
		if (count == 64)
			accept_with(text);
		else
			expect_refused("65", parse_with(text), "at most 64 texts");
	}
}

/* What is written out is read as the same; a list that is not there is not an empty one. */
static void test_callers_kept(void **state)
{
	static const char *const rows[] = { "", ",\"callers\":[]", ",\"owner\":\"o\",\"callers\":[\"b\",\"a\"]",
					    ",\"owner\":\"o\"" };
	struct wc_manifest first, again;
	json_t *object;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(parse_with(rows[i]), 0);
		first = manifest;
		object = wc_manifest_json(&first);
		assert_int_equal(wc_manifest_parse(&again, object, &fault), 0);
		json_decref(object);
		assert_string_equal(again.owner, first.owner);
		assert_true(wc_manifest_equal(&first, &again));
		assert_int_equal(!again.callers, !first.callers);
		wc_manifest_release(&again);
		for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++) {
			assert_int_equal(parse_with(rows[j]), 0);
			assert_int_equal(wc_manifest_equal(&first, &manifest), i == j);
			wc_manifest_release(&manifest);
		}
		wc_manifest_release(&first);
	}
}

static void test_may_call(void **state)
{
	static const struct {
		const char *name, *owner; /* of the caller */
		const char *owner_of_called, *callers;
		bool may;
	} rows[] = {
		{ "a", "", "", NULL, true },
		{ "a", "x", "x", NULL, true },
		{ "a", "x", "", NULL, false },
		{ "a", "", "x", NULL, false },
		{ "a", "x", "X", NULL, false },
		{ "a", "x", "xy", NULL, false },
		{ "x", "", "x", NULL, false }, /* a name is no owner */
		{ "a", "x", "x", "[]", false },
		{ "a", "x", "x", "[\"b\"]", false },
		{ "a", "x", "y", "[\"b\",\"a\"]", true },
		{ "a", "x", "y", "[\"ab\",\"A\",\"@a\",\"x\"]", false },
		{ "a", "x", "y", "[\"@y\",\"@\"]", false },
		{ "a", "x", "y", "[\"@x\"]", true },
		{ "a", "", "y", "[\"@\"]", true },
		{ "a", "x", "y", "[\"*\"]", true },
		{ "a", "", "y", "[\"b\",\"*\"]", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wc_manifest caller = { .handler = "h" }, callee = { .name = "a" };

		snprintf(caller.name, sizeof(caller.name), "%s", rows[i].name);
		snprintf(caller.owner, sizeof(caller.owner), "%s", rows[i].owner);
		snprintf(callee.owner, sizeof(callee.owner), "%s", rows[i].owner_of_called);
		callee.callers = rows[i].callers ? json_loads(rows[i].callers, 0, NULL) : NULL;
		/* Whom the caller itself lets call is another question. */
		caller.callers = rows[i].may ? json_array() : json_pack("[s]", "*");
		if (wc_manifest_may_call(&caller, &callee) != rows[i].may)
			fail_msg("row %zu", i);
		wc_manifest_release(&callee);
		wc_manifest_release(&caller);
	}
}

/* Limits of a deployed function change one at a time, and all or none. */
static void test_limits(void **state)
{
	static const struct {
		const char *change;
		struct wc_limits after;
		const char *why;
	} rows[] = {
		{ "{}", { 4, 2, 9, 5, 0 }, NULL },
		{ "{\"op\":\"limit\",\"name\":\"x\"}", { 4, 2, 9, 5, 0 }, NULL },
		{ "{\"queue\":1}", { 4, 2, 1, 5, 0 }, NULL },
		{ "{\"provisioned\":1024}", { 4, 2, 9, 5, 1024 }, NULL },
		{ "{\"provisioned\":1025}", { 4, 2, 9, 5, 0 }, "from 0 to 1024" },
		{ "{\"priority\":0}", { 4, 2, 9, 0, 0 }, NULL },
		{ "{\"concurrency\":2}", { 2, 2, 9, 5, 0 }, NULL },
		{ "{\"concurrency\":0,\"reserved\":5}", { 0, 5, 9, 5, 0 }, NULL },
		{ "{\"concurrency\":1}", { 4, 2, 9, 5, 0 }, "\"reserved\" 2 is more than \"concurrency\" 1" },
		{ "{\"reserved\":5}", { 4, 2, 9, 5, 0 }, "\"reserved\" 5 is more than \"concurrency\" 4" },
		{ "{\"concurrency\":8,\"queue\":1,\"priority\":9}", { 4, 2, 9, 5, 0 }, "from 0 to 7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wc_limits limits = { 4, 2, 9, 5, 0 };
		json_t *change = json_loads(rows[i].change, 0, NULL);

		assert_non_null(change);
		fault.text[0] = 0;
		assert_int_equal(wc_limits_parse(&limits, change, &fault), rows[i].why ? -EINVAL : 0);
		if (rows[i].why && !strstr(fault.text, rows[i].why))
			fail_msg("%s: \"%s\"", rows[i].change, fault.text);
		assert_memory_equal(&limits, &rows[i].after, sizeof(limits));
		json_decref(change);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),	  cmocka_unit_test(test_custom),
		cmocka_unit_test(test_everything),	  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_accepted),	  cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_libraries),	  cmocka_unit_test(test_limits),
		cmocka_unit_test(test_owner_and_callers), cmocka_unit_test(test_callers_kept),
		cmocka_unit_test(test_may_call),
	};

	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
