// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_etcd.c - the client of etcd (user/etcd.h) against a server of the test that answers with whatever a test wants, nonsense above all. test_etcd_real.c has
 * real ones.
 *
 * mostly-waits
 */
#include "user/clock.h"
#include "user/etcd.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/bad_server.h"
#include "tests/unit/scratch.h"

#define SLACK_MS 30000 /* only so that nothing hangs: a machine may stand still for long */

/* --- what all use --- */

static struct wc_fault fault;
static struct wc_etcd_value value;

static struct wc_etcd *open_at(const char *endpoints)
{
	struct wc_etcd_options options = { .endpoints = endpoints };
	struct wc_etcd *etcd = NULL;

	if (wc_etcd_open(&etcd, &options, &fault))
		fail_msg("%s", fault.text);
	return etcd;
}

static uint64_t ms_since(uint64_t begin)
{
	return (wc_now() - begin) / WC_MS;
}

/* --- answers: the key is "k" (aw==), values are "mine" (bWluZQ==) and "other" (b3RoZXI=) --- */

#define HEADER "\"header\":{\"cluster_id\":\"1\",\"member_id\":\"2\",\"revision\":\"9\",\"raft_term\":\"2\"}"
#define KV(revision, value)                                                                                            \
	"{\"key\":\"aw==\",\"create_revision\":\"2\",\"mod_revision\":" revision ",\"value\":" value "}"
#define RANGE(kvs) "{" HEADER ",\"kvs\":" kvs ",\"count\":\"1\"}"
#define FOUND(revision, value) RANGE("[" KV(revision, value) "]")
#define PUT(range)                                                                                                     \
	"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{}},{\"response_range\":" range "}]}"
#define NOT(range) "{" HEADER ",\"responses\":[{\"response_range\":" range "}]}"
#define NONE "{" HEADER "}"
#define MINE "\"bWluZQ==\""
#define OTHER "\"b3RoZXI=\""

enum call {
	GET,
	REPLACE,
	REMOVE
};

static int call(struct wc_etcd *etcd, enum call what, uint32_t timeout_ms)
{
	memset(&value, 0x55, sizeof(value));
	memset(&fault, 0, sizeof(fault));
	switch (what) {
	case GET:
		return wc_etcd_get(etcd, "k", &value, timeout_ms, &fault);
	case REPLACE:
		return wc_etcd_replace(etcd, "k", "mine", 5, &value, timeout_ms, &fault);
	case REMOVE:
		return wc_etcd_remove(etcd, "k", 5, &value, timeout_ms, &fault);
	}
	return -1;
}

struct row {
	enum call what;
	const char *answer;
	int code;
	const char *said; /* the value, or a part of the sentence */
	int64_t revision;
};

static void expect_row(const struct row *row, unsigned number)
{
	const struct step step = { SEND, row->answer };
	struct wc_etcd_value before;
	struct server server;
	struct wc_etcd *etcd;
	int code;

	start(&server, &step, 1);
	etcd = open_at(server.url);
	memset(&before, 0x55, sizeof(before));
	code = call(etcd, row->what, 5000);
	if (code != row->code)
		fail_msg("row %u: %d (%s), and not %d: %s", number, code, fault.text, row->code, row->answer);
	if (code < 0) {
		char prefix[96];

		snprintf(prefix, sizeof(prefix), "etcd at %s: ", server.url);
		if (strncmp(fault.text, prefix, strlen(prefix)) != 0 || !strstr(fault.text, row->said))
			fail_msg("row %u: %s", number, fault.text);
		assert_memory_equal(&value, &before, sizeof(value)); /* untouched */
	} else {
		if (value.revision != row->revision || value.length != strlen(row->said) ||
		    strcmp(value.value, row->said) != 0)
			fail_msg("row %u: revision %lld, %zu bytes: %s", number, (long long)value.revision,
				 value.length, value.value);
		assert_string_equal(fault.text, "");
	}
	assert_int_equal(server.requests, 1);
	wc_etcd_close(etcd);
	stop(&server);
}

static void test_answers(void **state)
{
	static const struct row ROWS[] = {
		/* what is well */
		{ GET, NONE, 0, "", 0 },
		{ GET, RANGE("[]"), 0, "", 0 },
		{ GET, FOUND("\"7\"", MINE), 0, "mine", 7 },
		{ GET, FOUND("7", MINE), 0, "mine", 7 },
		{ GET, FOUND("\"9\"", "\"\""), 0, "", 9 },
		{ GET, RANGE("[{\"key\":\"aw==\",\"mod_revision\":\"3\"}]"), 0, "", 3 },
		{ REPLACE, PUT(FOUND("\"9\"", MINE)), 0, "mine", 9 },
		{ REPLACE, NOT(FOUND("\"8\"", OTHER)), 1, "other", 8 },
		{ REPLACE, NOT(FOUND("\"8\"", MINE)), 1, "mine", 8 }, /* an earlier call's: this one did nothing */
		{ REPLACE, NOT(NONE), 1, "", 0 },
		{ REMOVE, PUT(NONE), 0, "", 0 },
		{ REMOVE, NOT(NONE), 1, "", 0 },
		{ REMOVE, NOT(FOUND("\"8\"", OTHER)), 1, "other", 8 },
		/* nonsense */
		{ GET, "", -EPROTO, "no object of JSON", 0 },
		{ GET, "hello", -EPROTO, "no object of JSON", 0 },
		{ GET, "[1]", -EPROTO, "no object of JSON", 0 },
		{ GET, "{\"header\":", -EPROTO, "no object of JSON", 0 },
		{ GET, NONE "{}", -EPROTO, "no object of JSON", 0 },
		{ GET, "{" HEADER ",\"kvs\":[],\"kvs\":[]}", -EPROTO, "no object of JSON", 0 },
		{ GET, "{}", -EPROTO, "no header", 0 },
		{ GET, "{\"kvs\":[]}", -EPROTO, "no header", 0 },
		{ GET, "{\"header\":7}", -EPROTO, "no header", 0 },
		{ GET, "{\"header\":{\"revision\":\"0\"}}", -EPROTO, "no header", 0 },
		{ GET, "{\"header\":{\"revision\":\"-1\"}}", -EPROTO, "no header", 0 },
		{ GET, "{\"header\":{\"revision\":\"1x\"}}", -EPROTO, "no header", 0 },
		{ GET, "{\"header\":{\"revision\":1.5}}", -EPROTO, "no header", 0 },
		{ GET, "{\"header\":{\"revision\":\"9223372036854775808\"}}", -EPROTO, "no header", 0 },
		{ GET, RANGE("{}"), -EPROTO, "the one key", 0 },
		{ GET, RANGE("null"), -EPROTO, "the one key", 0 },
		{ GET, RANGE("[" KV("\"7\"", MINE) "," KV("\"7\"", MINE) "]"), -EPROTO, "the one key", 0 },
		{ GET, RANGE("[7]"), -EPROTO, "another key", 0 },
		{ GET, RANGE("[{\"key\":\"aw\",\"mod_revision\":\"7\"}]"), -EPROTO, "another key", 0 },
		{ GET, RANGE("[{\"key\":\"a2s=\",\"mod_revision\":\"7\"}]"), -EPROTO, "another key", 0 },
		{ GET, RANGE("[{\"mod_revision\":\"7\"}]"), -EPROTO, "another key", 0 },
		{ GET, RANGE("[{\"key\":\"aw==\"}]"), -EPROTO, "mod_revision", 0 },
		{ GET, FOUND("\"0\"", MINE), -EPROTO, "mod_revision", 0 },
		{ GET, FOUND("\"\"", MINE), -EPROTO, "mod_revision", 0 },
		{ GET, FOUND("\" 7\"", MINE), -EPROTO, "mod_revision", 0 },
		{ GET, FOUND("\"10\"", MINE), -EPROTO, "mod_revision", 0 }, /* newer than the store */
		{ GET, FOUND("true", MINE), -EPROTO, "mod_revision", 0 },
		{ GET, FOUND("\"7\"", "7"), -EPROTO, "base64", 0 },
		{ GET, FOUND("\"7\"", "\"bWluZQ=\""), -EPROTO, "base64", 0 },
		{ GET, FOUND("\"7\"", "\"b*luZQ==\""), -EPROTO, "base64", 0 },
		{ REPLACE, NONE, -EPROTO, "0 responses", 0 },
		{ REPLACE, "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{}}]}", -EPROTO,
		  "1 responses", 0 },
		{ REPLACE, "{" HEADER ",\"succeeded\":\"yes\",\"responses\":[{}]}", -EPROTO, "whether it succeeded",
		  0 },
		{ REPLACE, "{" HEADER ",\"responses\":[{}]}", -EPROTO, "what is there", 0 },
		{ REPLACE, "{" HEADER ",\"responses\":[{\"response_range\":[]}]}", -EPROTO, "what is there", 0 },
		{ REPLACE, PUT(FOUND("\"9\"", OTHER)), -EPROTO, "has not", 0 },
		{ REPLACE, PUT(NONE), -EPROTO, "has not", 0 },
		{ REPLACE, NOT(FOUND("\"5\"", OTHER)), -EPROTO, "and it is not", 0 },
		{ REMOVE, PUT(FOUND("\"9\"", OTHER)), -EPROTO, "has not", 0 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++)
		expect_row(&ROWS[i], i);
}

/* Values at the limit, and a byte longer. */
static void test_long_values(void **state)
{
	static char answer[8192], text[WC_ETCD_VALUE_MAX + 8];

	(void)state;
	for (unsigned more = 0; more < 3; more++) {
		/* 4,096 bytes are 5,464 of base64 with two signs of padding; 4,097 and 4,098 have as many */
		size_t length = 4 * ((WC_ETCD_VALUE_MAX + more + 2) / 3),
		       padding = (3 - (WC_ETCD_VALUE_MAX + more) % 3) % 3;
		struct row row = { GET, answer, more ? -EMSGSIZE : 0, more ? "longer than 4096 bytes" : text, 7 };

		memset(text, 0, sizeof(text)); /* "iii" is "aWlp" */
		memset(text, 'i', WC_ETCD_VALUE_MAX);
		snprintf(answer, sizeof(answer),
			 "{" HEADER ",\"kvs\":[{\"key\":\"aw==\",\"mod_revision\":\"7\",\"value\":\"");
		for (size_t i = 0; i < length; i++)
			snprintf(answer + strlen(answer), 2, "%c", "aWlp"[i % 4]);
		if (padding == 2) /* the last byte alone: "aQ==" */
			memcpy(answer + strlen(answer) - 4, "aQ==", 4);
		else if (padding == 1)
			memcpy(answer + strlen(answer) - 4, "aWk=", 4);
		snprintf(answer + strlen(answer), 8, "\"}]}");
		expect_row(&row, more);
	}
}

/* --- trouble with the connection --- */

struct trouble {
	struct step step;
	int code;
	const char *said;
	uint32_t timeout_ms;
	bool takes_all; /* of the time */
};

static void test_trouble(void **state)
{
	static char huge[300 << 10];
	static const struct trouble ROWS[] = {
		{ { SEND, huge }, -EMSGSIZE, "more than 262144 bytes", 5000, false },
		{ { FLOOD, NULL }, -EMSGSIZE, "more than 262144 bytes", 5000, false },
		{ { FLOOD_HEAD, NULL }, -EMSGSIZE, "more than 262144 bytes", 5000, false },
		{ { CUT, NONE }, -EIO, "", 5000, false },
		{ { CLOSE, NULL }, -EIO, "", 5000, false },
		{ { SEND_RAW, "what?\r\n\r\n" }, -EIO, "", 5000, false }, /* HTTP 0.9 */
		{ { SILENT, NULL }, -ETIMEDOUT, "", 300, true },
		{ { DRIP, NULL }, -ETIMEDOUT, "", 300, true },
		{ { SEND_RAW, "HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n" },
		  -EREMOTEIO,
		  "HTTP status 500",
		  5000,
		  false },
	};

	(void)state;
	memset(huge, ' ', sizeof(huge) - 1);
	memcpy(huge, NONE, strlen(NONE));
	for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
		for (enum call what = GET; what <= REMOVE; what++) {
			struct server server;
			struct wc_etcd *etcd;
			uint64_t begin, took;
			int code;

			start(&server, &ROWS[i].step, 1);
			etcd = open_at(server.url);
			begin = wc_now();
			code = call(etcd, what, ROWS[i].timeout_ms);
			took = ms_since(begin);
			if (code != ROWS[i].code || !strstr(fault.text, ROWS[i].said) ||
			    strncmp(fault.text, "etcd at http://127.0.0.1:", 25) != 0)
				fail_msg("row %u: %d: %s", i, code, fault.text);
			if (took > ROWS[i].timeout_ms + SLACK_MS ||
			    (ROWS[i].takes_all && took + 20 < ROWS[i].timeout_ms))
				fail_msg("row %u: %llu ms", i, (unsigned long long)took);
			wc_etcd_close(etcd);
			stop(&server);
		}
	}
}

/* What etcd says about an error is passed on, without what could harm a terminal. */
static void test_error_text(void **state)
{
	static const struct step STEP = {
		SEND_RAW, "HTTP/1.1 503 No\r\nContent-Length: 38\r\n\r\n{\"error\":\"etcdserver:\\u001bno leader\"} "
	};
	struct server server;
	struct wc_etcd *etcd;

	(void)state;
	start(&server, &STEP, 1);
	etcd = open_at(server.url);
	assert_int_equal(call(etcd, GET, 5000), -EREMOTEIO);
	assert_non_null(strstr(fault.text, ": HTTP status 503: etcdserver: no leader"));
	wc_etcd_close(etcd);
	stop(&server);
}

static void test_no_redirect_no_proxy(void **state)
{
	static char redirect[256];
	static const struct step THERE = { SEND, FOUND("\"7\"", MINE) }, HERE = { SEND_RAW, redirect };
	struct server here, there;
	struct wc_etcd *etcd;

	(void)state;
	start(&there, &THERE, 1);
	snprintf(redirect, sizeof(redirect),
		 "HTTP/1.1 302 There\r\nLocation: %s/v3/kv/range\r\nContent-Length: 0\r\n\r\n", there.url);
	start(&here, &HERE, 1);
	etcd = open_at(here.url);
	assert_int_equal(call(etcd, GET, 5000), -EREMOTEIO);
	assert_non_null(strstr(fault.text, "HTTP status 302"));
	assert_int_equal(there.requests, 0);
	wc_etcd_close(etcd);
	setenv("http_proxy", here.url, 1);
	setenv("all_proxy", here.url, 1);
	etcd = open_at(there.url);
	assert_int_equal(call(etcd, GET, 5000), 0);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	assert_int_equal(here.requests, 1);
	wc_etcd_close(etcd);
	stop(&here);
	stop(&there);
}

/* What is asked, and that connections are kept. */
static void test_questions(void **state)
{
	static const struct step STEPS[] = { { SEND, NONE }, { SEND, PUT(FOUND("\"9\"", MINE)) }, { SEND, PUT(NONE) } };
	struct server server;
	struct wc_etcd *etcd;

	(void)state;
	start(&server, STEPS, 3);
	etcd = open_at(server.url);
	assert_int_equal(call(etcd, GET, 5000), 0);
	assert_non_null(strstr(server.request, "POST /v3/kv/range HTTP/1.1\r\n"));
	assert_non_null(strstr(server.request, "\r\n\r\n{\"key\":\"aw==\"}"));
	assert_int_equal(call(etcd, REPLACE, 5000), 0);
	assert_non_null(strstr(server.request, "POST /v3/kv/txn HTTP/1.1\r\n"));
	assert_null(strstr(server.request, "Expect:"));
	assert_non_null(strstr(
		server.request,
		"\r\n\r\n{\"compare\":[{\"key\":\"aw==\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"5\"}],"
		"\"success\":[{\"requestPut\":{\"key\":\"aw==\",\"value\":\"bWluZQ==\"}},{\"requestRange\":{\"key\":\"aw==\"}}],"
		"\"failure\":[{\"requestRange\":{\"key\":\"aw==\"}}]}"));
	assert_int_equal(call(etcd, REMOVE, 5000), 0);
	assert_non_null(strstr(server.request, "{\"requestDeleteRange\":{\"key\":\"aw==\"}}"));
	assert_int_equal(server.connections, 1);
	wc_etcd_close(etcd);
	stop(&server);
}

/* --- several endpoints --- */

static void test_next_endpoint(void **state)
{
	static const struct step GOOD = { SEND, FOUND("\"7\"", MINE) }, QUIET = { SILENT, NULL };
	struct server good, quiet;
	struct wc_etcd *etcd;
	char endpoints[256];
	uint64_t begin, took;

	(void)state;
	start(&good, &GOOD, 1);
	start(&quiet, &QUIET, 1);
	/* Nobody is there; then somebody is. */
	snprintf(endpoints, sizeof(endpoints), "http://127.0.0.1:%u,%s/", free_port(), good.url);
	etcd = open_at(endpoints);
	assert_int_equal(call(etcd, GET, 5000), 0);
	assert_string_equal(value.value, "mine");
	wc_etcd_close(etcd);
	/* The silent one has its share, and is not asked again: the other answered last. */
	snprintf(endpoints, sizeof(endpoints), "%s,%s", quiet.url, good.url);
	etcd = open_at(endpoints);
	begin = wc_now();
	assert_int_equal(call(etcd, GET, 1000), 0);
	took = ms_since(begin);
	assert_true(took >= 480 && took < 1000);
	begin = wc_now();
	assert_int_equal(call(etcd, GET, 1000), 0);
	assert_true(ms_since(begin) < 480);
	assert_int_equal(quiet.requests, 1);
	/* It comes round to the first again, and says of both what is wrong. */
	stop(&good);
	begin = wc_now();
	assert_int_equal(call(etcd, GET, 400), -ETIMEDOUT);
	took = ms_since(begin);
	assert_true(took >= 380 && took < 400 + SLACK_MS);
	assert_int_equal(quiet.requests, 2);
	assert_non_null(strstr(fault.text, "; at http://127.0.0.1:"));
	assert_ptr_equal(strstr(fault.text, good.url), fault.text + strlen("etcd at "));
	assert_non_null(strstr(fault.text, quiet.url));
	assert_int_equal(call(etcd, GET, 0), -ETIMEDOUT);
	assert_non_null(strstr(fault.text, "no time"));
	wc_etcd_close(etcd);
	stop(&quiet);
}

/* Eight that say nothing take no longer than one. */
static void test_eight_silent(void **state)
{
	static const struct step QUIET = { SILENT, NULL };
	struct server servers[WC_ETCD_ENDPOINT_MAX];
	char endpoints[512] = "";
	struct wc_etcd *etcd;
	uint64_t begin, took;

	(void)state;
	for (unsigned i = 0; i < WC_ETCD_ENDPOINT_MAX; i++) {
		start(&servers[i], &QUIET, 1);
		snprintf(endpoints + strlen(endpoints), 64, "%s%s", i ? "," : "", servers[i].url);
	}
	etcd = open_at(endpoints);
	begin = wc_now();
	assert_int_equal(call(etcd, REPLACE, 800), -ETIMEDOUT);
	took = ms_since(begin);
	assert_true(took >= 700 && took < 800 + SLACK_MS);
	wc_etcd_close(etcd);
	for (unsigned i = 0; i < WC_ETCD_ENDPOINT_MAX; i++) {
		assert_int_equal(servers[i].requests, 1);
		stop(&servers[i]);
	}
}

/*
 * The first endpoint has the change and does not say what came of it; the second finds that the revision is another one. Whose value is there decides.
 */
static void test_unknown_end(void **state)
{
	static const struct {
		enum call what;
		enum act first;
		const char *second;
		int code;
	} ROWS[] = {
		{ REPLACE, CLOSE, NOT(FOUND("\"6\"", MINE)), 0 },  { REPLACE, SILENT, NOT(FOUND("\"6\"", MINE)), 0 },
		{ REPLACE, CLOSE, NOT(FOUND("\"6\"", OTHER)), 1 }, { REPLACE, CLOSE, NOT(NONE), 1 },
		{ REPLACE, CLOSE, PUT(FOUND("\"6\"", MINE)), 0 },  { REMOVE, CLOSE, NOT(NONE), 0 },
		{ REMOVE, CLOSE, NOT(FOUND("\"6\"", OTHER)), 1 },  { REMOVE, CLOSE, PUT(NONE), 0 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
		const struct step first = { ROWS[i].first, NULL }, second = { SEND, ROWS[i].second };
		struct server a, b;
		struct wc_etcd *etcd;
		char endpoints[256];
		int code;

		start(&a, &first, 1);
		start(&b, &second, 1);
		snprintf(endpoints, sizeof(endpoints), "%s,%s", a.url, b.url);
		etcd = open_at(endpoints);
		code = call(etcd, ROWS[i].what, 1000);
		if (code != ROWS[i].code || a.requests != 1 || b.requests != 1)
			fail_msg("row %u: %d: %s", i, code, fault.text);
		wc_etcd_close(etcd);
		stop(&a);
		stop(&b);
	}
}

/* Nothing was sent to an endpoint where nobody is: our value is from an earlier call, and this one has done nothing. */
static void test_known_end(void **state)
{
	static const struct step STEP = { SEND, NOT(FOUND("\"6\"", MINE)) };
	struct server server;
	struct wc_etcd *etcd;
	char endpoints[256];

	(void)state;
	start(&server, &STEP, 1);
	snprintf(endpoints, sizeof(endpoints), "http://127.0.0.1:%u,%s", free_port(), server.url);
	etcd = open_at(endpoints);
	assert_int_equal(call(etcd, REPLACE, 5000), 1);
	assert_string_equal(value.value, "mine");
	wc_etcd_close(etcd);
	stop(&server);
}

/* A kept connection that is closed when the next question has come: libcurl asks again by itself, and the first may have taken effect. */
static void test_kept_connection(void **state)
{
	static const struct step STEPS[] = { { SEND, NONE }, { CLOSE, NULL }, { SEND, NOT(FOUND("\"6\"", MINE)) } };
	struct server server;
	struct wc_etcd *etcd;

	(void)state;
	start(&server, STEPS, 3);
	etcd = open_at(server.url);
	assert_int_equal(call(etcd, GET, 5000), 0);
	assert_int_equal(call(etcd, REPLACE, 5000), 0);
	assert_string_equal(value.value, "mine");
	assert_int_equal(server.requests, 3);
	assert_int_equal(server.connections, 2);
	assert_int_equal(call(etcd, REPLACE, 5000), 1); /* and this is known again */
	wc_etcd_close(etcd);
	stop(&server);
}

/* --- what is refused --- */

static void test_options(void **state)
{
	static const struct {
		const char *endpoints, *said;
	} ROWS[] = {
		{ NULL, "no endpoint" },
		{ "", "no endpoint" },
		{ ",", "has 0 bytes" },
		{ "http://a:1,", "has 0 bytes" },
		{ "http://a:1,,http://b:2", "has 0 bytes" },
		{ "a:2379", "is no endpoint" },
		{ "ftp://a:2379", "is no endpoint" },
		{ "file:///etc/passwd", "is no endpoint" },
		{ "http://a", "is no endpoint" },
		{ "http://a:0x10", "is no endpoint" },
		{ "http://a:70000", "is no endpoint" },
		{ "http://u:p@a:2379", "is no endpoint" },
		{ "http://u@a:2379", "is no endpoint" },
		{ "http://a:2379/v3", "is no endpoint" },
		{ "http://a:2379?x", "is no endpoint" },
		{ "http://a:2379#x", "is no endpoint" },
		{ "http://a:2379, http://b:2379", "is no endpoint" },
		{ "http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://a:1",
		  "more than 8" },
	};
	static char long_url[WC_ETCD_URL_MAX + 1];
	struct wc_etcd_options options = {
		.endpoints =
			"http://a:1,http://a:1,http://a:1,http://a:1,http://[::1]:1,https://a:1,http://a:1,http://a:1/"
	};
	struct wc_etcd *etcd = NULL;

	(void)state;
	assert_int_equal(wc_etcd_open(&etcd, &options, &fault), 0);
	wc_etcd_close(etcd);
	etcd = NULL;
	for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
		options.endpoints = ROWS[i].endpoints;
		fault.text[0] = 0;
		if (wc_etcd_open(&etcd, &options, &fault) >= 0 || !strstr(fault.text, ROWS[i].said))
			fail_msg("row %u: %s", i, fault.text);
		assert_null(etcd);
	}
	memset(long_url, 'a', WC_ETCD_URL_MAX);
	memcpy(long_url, "http://", 7);
	memcpy(long_url + WC_ETCD_URL_MAX - 3, ":79", 3);
	options.endpoints = long_url;
	assert_int_equal(wc_etcd_open(&etcd, &options, &fault), -EINVAL);
	memmove(long_url + 7, long_url + 8, strlen(long_url + 7));
	assert_int_equal(wc_etcd_open(&etcd, &options, &fault), 0);
	wc_etcd_close(etcd);
	etcd = NULL;
	options = (struct wc_etcd_options){ .endpoints = "https://a:2379", .ca = path_of("none.pem") };
	assert_int_equal(wc_etcd_open(&etcd, &options, &fault), -ENOENT);
	assert_non_null(strstr(fault.text, "none.pem"));
	options.ca = NULL;
	options.cert = "/dev/null";
	assert_int_equal(wc_etcd_open(&etcd, &options, &fault), -EINVAL);
	assert_null(etcd);
	wc_etcd_close(NULL);
}

static void test_arguments(void **state)
{
	static char text[WC_ETCD_VALUE_MAX + 2];
	struct wc_etcd *etcd = open_at("http://127.0.0.1:1");

	(void)state;
	assert_int_equal(wc_etcd_get(etcd, "", &value, 1000, &fault), -EINVAL);
	memset(text, 'x', WC_ETCD_VALUE_MAX + 1);
	assert_int_equal(wc_etcd_replace(etcd, "k", text, 0, &value, 1000, &fault), -EMSGSIZE);
	assert_int_equal(wc_etcd_replace(etcd, "k", "v", -1, &value, 1000, &fault), -EINVAL);
	text[WC_ETCD_KEY_MAX + 1] = 0;
	assert_int_equal(wc_etcd_remove(etcd, text, 1, &value, 1000, &fault), -EINVAL);
	text[WC_ETCD_KEY_MAX] = 0;
	assert_int_equal(wc_etcd_remove(etcd, text, 1, &value, 1000, &fault), -ECONNREFUSED);
	wc_etcd_close(etcd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_trouble),
		cmocka_unit_test(test_error_text),
		cmocka_unit_test(test_no_redirect_no_proxy),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_next_endpoint),
		cmocka_unit_test(test_eight_silent),
		cmocka_unit_test(test_unknown_end),
		cmocka_unit_test(test_known_end),
		cmocka_unit_test(test_kept_connection),
		cmocka_unit_test_setup_teardown(test_options, scratch_setup, scratch_teardown),
		cmocka_unit_test(test_arguments),
	};

	own_network();
	signal(SIGPIPE, SIG_IGN); /* as the daemon */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
