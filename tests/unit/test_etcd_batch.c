// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_etcd_batch.c - many keys of an etcd (user/etcd_batch.h) without one: the texts of questions, and answers of all kinds, nonsense above all.
 * test_etcd_batch_real.c has a real one.
 */
#include "user/elect.h"
#include "user/etcd_batch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/bad_server.h"

static struct wc_fault fault;

#define HEADER "\"header\":{\"revision\":\"9\"}"
/* "/a/k" is L2Ev aw==: L2Evaw==; "/a/l": L2EvbA==; "v": dg== */
#define K "{\"key\":\"L2Evaw==\",\"mod_revision\":\"5\",\"value\":\"dg==\"}"
#define L "{\"key\":\"L2EvbA==\",\"mod_revision\":\"7\"}"

static struct wc_etcd *open_at(const char *endpoints)
{
	struct wc_etcd_options options = { .endpoints = endpoints };
	struct wc_etcd *etcd = NULL;

	if (wc_etcd_open(&etcd, &options, &fault))
		fail_msg("%s", fault.text);
	return etcd;
}

static void test_question(void **state)
{
	const struct wc_etcd_change changes[] = { { "/a/k", "v", 0 }, { "/a/l", NULL, 0 }, { "/a/n", "v", 77 } };
	struct wc_etcd_batch batch = { "/f", "a,", "a-", "/m", "v", 12, changes, 3 };
	struct wc_etcd_page page = { .prefix = "/a/" };
	char *text = wc_etcd_batch_text(&batch);

	(void)state;
	assert_string_equal(
		text, "{\"compare\":[{\"key\":\"L2Y=\",\"target\":\"VALUE\",\"result\":\"GREATER\",\"value\":\"YSw=\"},"
		      "{\"key\":\"L2Y=\",\"target\":\"VALUE\",\"result\":\"LESS\",\"value\":\"YS0=\"},"
		      "{\"key\":\"L20=\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"12\"}],"
		      "\"success\":[{\"requestPut\":{\"key\":\"L20=\",\"value\":\"dg==\"}},"
		      "{\"requestPut\":{\"key\":\"L2Evaw==\",\"value\":\"dg==\"}},"
		      "{\"requestDeleteRange\":{\"key\":\"L2EvbA==\"}},"
		      "{\"requestPut\":{\"key\":\"L2Evbg==\",\"value\":\"dg==\",\"lease\":\"77\"}}]}");
	free(text);
	text = wc_etcd_page_text(&page);
	assert_string_equal(text, "{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\",\"limit\":\"64\"}");
	free(text);
	page = (struct wc_etcd_page){ .prefix = "/a/", .next = "/a/k", .next_length = 5, .revision = 9 };
	text = wc_etcd_page_text(&page);
	assert_string_equal(text, "{\"key\":\"L2EvawA=\",\"range_end\":\"L2Ew\",\"limit\":\"64\",\"revision\":\"9\"}");
	free(text);
}

/* What the elections of a term write lies between its bounds, and nothing else does. */
static void test_bounds(void **state)
{
	static const struct {
		const char *record;
		bool between;
	} ROWS[] = {
		{ "{\"name\":\"s1\",\"door\":\"d\",\"term\":77,\"before\":0,\"knows\":1,\"written\":1}", true },
		{ "{\"name\":\"s1\",\"door\":\"d\",\"term\":77,\"before\":99999,\"knows\":1,\"written\":99999}", true },
		{ "{\"name\":\"s1\",\"door\":\"d\",\"term\":7,\"before\":0,\"knows\":1,\"written\":1}", false },
		{ "{\"name\":\"s1\",\"door\":\"d\",\"term\":770,\"before\":0,\"knows\":1,\"written\":1}", false },
		{ "{\"name\":\"s1\",\"door\":\"d\",\"term\":78,\"before\":0,\"knows\":1,\"written\":1}", false },
		{ "{\"name\":\"s1\",\"door\":\"d\",\"term\":0,\"before\":77,\"knows\":1,\"written\":1}", false },
		{ "{\"name\":\"s10\",\"door\":\"d\",\"term\":77,\"before\":0,\"knows\":1,\"written\":1}", false },
		{ "{\"name\":\"s0\",\"door\":\"d\",\"term\":77,\"before\":0,\"knows\":1,\"written\":1}", false },
		{ "", false },
		{ "nonsense", false },
	};
	char above[WC_ELECT_BOUND_MAX], below[WC_ELECT_BOUND_MAX], longest[WC_ELECT_DOOR_MAX];

	(void)state;
	assert_int_equal(wc_elect_bounds("s1", "d", 77, above, below), 0);
	for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++)
		if ((strcmp(ROWS[i].record, above) > 0 && strcmp(ROWS[i].record, below) < 0) != ROWS[i].between)
			fail_msg("%s, between %s and %s?", ROWS[i].record, above, below);
	memset(longest, 1, sizeof(longest) - 1); /* six characters each */
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(wc_elect_bounds("s1", longest, INT64_MAX, above, below), 0);
	assert_true(strlen(above) > 6 * (sizeof(longest) - 1));
}

struct row {
	const char *answer;
	int code;
	const char *said;
};

static void test_batch_answers(void **state)
{
	static const struct row ROWS[] = {
		{ "{" HEADER ",\"succeeded\":true,\"responses\":[{}]}", 0, "" },
		{ "{" HEADER "}", 1, "" },
		{ "{" HEADER ",\"succeeded\":false}", 1, "" },
		{ "{" HEADER ",\"succeeded\":\"yes\"}", -EPROTO, "whether it succeeded" },
		{ "{\"succeeded\":true}", -EPROTO, "no header" },
		{ "{\"header\":{\"revision\":\"-9\"},\"succeeded\":true}", -EPROTO, "no header" },
		{ "{\"header\":{\"revision\":\"99999999999999999999\"},\"succeeded\":true}", -EPROTO, "no header" },
		{ "[]", -EPROTO, "no header" },
		{ "", -EPROTO, "no header" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
		int64_t revision = -1;
		int code = wc_etcd_batch_answer(ROWS[i].answer, strlen(ROWS[i].answer), &revision, &fault);

		if (code != ROWS[i].code || (code < 0 && !strstr(fault.text, ROWS[i].said)))
			fail_msg("row %u: %d, %s", i, code, fault.text);
		assert_int_equal(revision, code ? -1 : 9);
	}
}

static void test_page_answers(void **state)
{
	static const struct row ROWS[] = {
		{ "{" HEADER "}", 0, "{}" },
		{ "{" HEADER ",\"kvs\":[" K "," L "],\"count\":\"2\"}", 0,
		  "{\"k\":{\"value\":\"v\",\"revision\":5},\"l\":{\"value\":\"\",\"revision\":7}}" },
		/* another's: not below, no base64, no revision */
		{ "{" HEADER ",\"kvs\":[{\"key\":\"L2E=\",\"mod_revision\":\"5\"}]}", -EPROTO, "another key" },
		{ "{" HEADER ",\"kvs\":[{\"key\":\"L2Ev\",\"mod_revision\":\"5\"}]}", -EPROTO, "another key" },
		{ "{" HEADER ",\"kvs\":[{\"key\":\"L2Iva2s=\",\"mod_revision\":\"5\"}]}", -EPROTO, "another key" },
		{ "{" HEADER ",\"kvs\":[{\"key\":\"?\",\"mod_revision\":\"5\"}]}", -EPROTO, "another key" },
		{ "{" HEADER ",\"kvs\":[{\"mod_revision\":\"5\"}]}", -EPROTO, "another key" },
		{ "{" HEADER ",\"kvs\":[7]}", -EPROTO, "another key" },
		{ "{" HEADER ",\"kvs\":[{\"key\":\"L2Evaw==\"}]}", -EPROTO, "another key" },
		/* a value that is no text (0xff; "v" NUL "v"; no base64) is not ours */
		{ "{" HEADER ",\"kvs\":[{\"key\":\"L2Evaw==\",\"mod_revision\":\"5\",\"value\":\"/w==\"}]}", 0,
		  "{\"k\":{\"value\":\"\",\"revision\":5}}" },
		{ "{" HEADER ",\"kvs\":[{\"key\":\"L2Evaw==\",\"mod_revision\":\"5\",\"value\":\"dgB2\"}]}", 0,
		  "{\"k\":{\"value\":\"\",\"revision\":5}}" },
		{ "{" HEADER ",\"kvs\":[{\"key\":\"L2Evaw==\",\"mod_revision\":\"5\",\"value\":7}]}", 0,
		  "{\"k\":{\"value\":\"\",\"revision\":5}}" },
		{ "{" HEADER ",\"kvs\":[],\"more\":true}", -EPROTO, "nothing" },
		{ "{}", -EPROTO, "no header" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
		struct wc_etcd_page page = { .prefix = "/a/", .items = json_object() };
		int code = wc_etcd_page_answer(&page, ROWS[i].answer, strlen(ROWS[i].answer), &fault);
		char *items = json_dumps(page.items, JSON_COMPACT);

		if (code != ROWS[i].code ||
		    (code < 0 ? !strstr(fault.text, ROWS[i].said) : !!strcmp(items, ROWS[i].said)))
			fail_msg("row %u: %d, %s, %s", i, code, code < 0 ? fault.text : "", items);
		assert_true(code < 0 || !page.next_length);
		free(items);
		json_decref(page.items);
	}
}

/* Two pages, of which the second first fails; and questions that are refused at once. */
static void test_pages(void **state)
{
	static const struct step steps[] = { { SEND, "{" HEADER ",\"kvs\":[" K "],\"more\":true}" },
					     { SEND, "{" HEADER ",\"kvs\":[" L ",{}]}" },
					     { SEND, "{" HEADER ",\"kvs\":[" K "],\"more\":true}" },
					     { SEND, "{" HEADER ",\"kvs\":[" L "]}" } };
	struct server server;
	struct wc_etcd *etcd;
	json_t *items = NULL;

	(void)state;
	start(&server, steps, 4);
	etcd = open_at(server.url);
	assert_int_equal(wc_etcd_list(etcd, "/a/", &items, 5000, &fault), -EPROTO);
	assert_null(items);
	assert_int_equal(wc_etcd_list(etcd, "/a/", &items, 5000, &fault), 0);
	assert_int_equal(json_object_size(items), 2);
	assert_non_null(strstr(server.request, "\"L2EvawA=\""));
	assert_non_null(strstr(server.request, "\"revision\":\"9\""));
	assert_int_equal(server.requests, 4);
	json_decref(items);
	assert_int_equal(wc_etcd_list(etcd, "/a", &items, 5000, &fault), -EINVAL);
	assert_int_equal(wc_etcd_list(etcd, "", &items, 5000, &fault), -EINVAL);
	assert_int_equal(server.requests, 4);
	wc_etcd_close(etcd);
	stop(&server);
}

enum lease_call {
	GRANT,
	KEEP,
	REVOKE
};

static void test_lease_answers(void **state)
{
	static const struct {
		enum lease_call call;
		const char *answer;
		int code;
	} ROWS[] = {
		{ GRANT, "{" HEADER ",\"ID\":\"7587848390514421761\",\"TTL\":\"10\"}", 0 },
		{ GRANT, "{" HEADER ",\"TTL\":\"10\"}", -EPROTO },
		{ GRANT, "{\"ID\":\"7\"}", -EPROTO },
		{ KEEP, "{\"result\":{" HEADER ",\"ID\":\"7\",\"TTL\":\"10\"}}\n", 0 },
		{ KEEP, "{\"result\":{" HEADER ",\"ID\":\"7\"}}", 1 },
		{ KEEP, "{\"error\":{\"grpc_code\":5}}", -EPROTO },
		{ KEEP, "no", -EPROTO },
		{ REVOKE, "{" HEADER "}", 0 },
		{ REVOKE, "{}", -EPROTO },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
		const struct step step = { SEND, ROWS[i].answer };
		struct server server;
		struct wc_etcd *etcd;
		int64_t lease = 0;
		int code;

		start(&server, &step, 1);
		etcd = open_at(server.url);
		code = ROWS[i].call == GRANT ? wc_etcd_grant(etcd, 10, &lease, 5000, &fault) :
		       ROWS[i].call == KEEP  ? wc_etcd_keep(etcd, 7, 5000, &fault) :
					       wc_etcd_revoke(etcd, 7, 5000, &fault);
		if (code != ROWS[i].code)
			fail_msg("row %u: %d, %s", i, code, fault.text);
		assert_true(ROWS[i].call != GRANT || code || lease == 7587848390514421761);
		wc_etcd_close(etcd);
		stop(&server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_question),      cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_batch_answers), cmocka_unit_test(test_page_answers),
		cmocka_unit_test(test_pages),	      cmocka_unit_test(test_lease_answers),
	};

	own_network();
	signal(SIGPIPE, SIG_IGN); /* as the daemon */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
