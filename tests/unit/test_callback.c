// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_callback.c - where results may be sent over HTTP, and what is sent: callback_rules.h, callback_message.h, trace_context.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "user/gateway/callback_message.h"
#include "user/gateway/callback_rules.h"
#include "user/gateway/trace_context.h"

static struct wc_fault fault;

/* --- rules --- */

static struct wc_callback_rules rules_of(const char *const *texts)
{
	struct wc_callback_rules rules = { 0 };

	for (; *texts; texts++)
		assert_int_equal(wc_callback_rules_add(&rules, *texts, &fault), 0);
	return rules;
}

static bool reaches(const struct wc_callback_rules *rules, const char *text, uint16_t port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return wc_callback_rules_address(rules, (struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return wc_callback_rules_address(rules, (struct sockaddr *)&v6);
}

static void test_public(void **state)
{
	static const char *const inside[] = {
		"0.0.0.0",
		"10.1.2.3",
		"100.64.0.1",
		"100.127.255.255",
		"127.0.0.1",
		"127.255.255.255",
		"169.254.169.254",
		"172.16.0.1",
		"172.31.255.255",
		"192.0.0.192",
		"192.0.2.1",
		"192.88.99.1",
		"192.168.1.1",
		"198.18.212.218",
		"198.19.0.1",
		"198.51.100.1",
		"203.0.113.1",
		"224.0.0.1",
		"239.255.255.255",
		"240.0.0.1",
		"255.255.255.255",
		"::",
		"::1",
		"::ffff:127.0.0.1",
		"::ffff:10.0.0.1",
		"::127.0.0.1",
		"64:ff9b::7f00:1",
		"fe80::1",
		"fc00::1",
		"fd00:ec2::254",
		"ff02::1",
		"2001::1",
		"2001:1ff:ffff::",
		"2001:db8::1",
		"2002:7f00:1::",
		"3fff::1",
		"4000::1",
		"100::1",
	};
	static const char *const outside[] = { "1.1.1.1",	  "9.255.255.255",   "11.0.0.0",       "100.63.255.255",
					       "100.128.0.0",	  "126.255.255.255", "128.0.0.0",      "172.15.255.255",
					       "172.32.0.0",	  "192.0.1.0",	     "198.17.255.255", "198.20.0.0",
					       "223.255.255.255", "::ffff:8.8.8.8",  "2001:200::1",    "2001:db9::1",
					       "2003::1",	  "2606:4700::1111", "3fff:1000::1" };
	struct wc_callback_rules rules = rules_of((const char *const[]){ "public", NULL });
	struct sockaddr other = { .sa_family = AF_UNIX };

	(void)state;
	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
		if (reaches(&rules, inside[i], 80))
			fail_msg("%s is taken for public", inside[i]);
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		if (!reaches(&rules, outside[i], 80))
			fail_msg("%s is not taken for public", outside[i]);
	assert_false(wc_callback_rules_address(&rules, &other));
}

static void test_networks(void **state)
{
	struct wc_callback_rules rules = rules_of((const char *const[]){ "10.0.0.0/8:8080", "127.0.0.1", "[fd00::]/12",
									 "[::1]:9", "192.168.4.0/22", NULL });

	(void)state;
	assert_true(reaches(&rules, "10.255.0.1", 8080));
	assert_false(reaches(&rules, "10.255.0.1", 80));
	assert_false(reaches(&rules, "11.0.0.1", 8080));
	assert_true(reaches(&rules, "127.0.0.1", 1));
	assert_true(reaches(&rules, "::ffff:127.0.0.1", 1));
	assert_false(reaches(&rules, "127.0.0.2", 1));
	assert_true(reaches(&rules, "fd0f::1", 1));
	assert_false(reaches(&rules, "fd10::1", 1));
	assert_true(reaches(&rules, "::1", 9));
	assert_false(reaches(&rules, "::1", 10));
	assert_true(reaches(&rules, "192.168.7.255", 1));
	assert_false(reaches(&rules, "192.168.8.0", 1));
	assert_false(reaches(&rules, "1.1.1.1", 80)); /* what is given replaces what is usual */
	rules = rules_of((const char *const[]){ "0.0.0.0/0", NULL });
	assert_true(reaches(&rules, "127.0.0.1", 1));
	assert_false(reaches(&rules, "::1", 1));
}

static void test_names(void **state)
{
	struct wc_callback_rules rules =
		rules_of((const char *const[]){ "hooks.Example.com", "*.inside:8443", "a1:1", NULL });

	(void)state;
	assert_true(wc_callback_rules_name(&rules, "HOOKS.example.com", 80));
	assert_false(wc_callback_rules_name(&rules, "x.hooks.example.com", 80));
	assert_false(wc_callback_rules_name(&rules, "hooks.example.com.", 80));
	assert_true(wc_callback_rules_name(&rules, "a.b.inside", 8443));
	assert_false(wc_callback_rules_name(&rules, "a.inside", 443));
	assert_false(wc_callback_rules_name(&rules, "inside", 8443));
	assert_false(wc_callback_rules_name(&rules, "outinside", 8443));
	assert_true(wc_callback_rules_name(&rules, "a1", 1));
	assert_false(reaches(&rules, "1.1.1.1", 80));
}

static void test_wrong_rules(void **state)
{
	static const char *const wrong[] = { "",
					     "10.0.0.0/33",
					     "10.0.0.1/8",
					     "10.0.0.0/",
					     "10.0.0.0:",
					     "10.0.0.0:0",
					     "10.0.0.0:65536",
					     "::1",
					     "[::1",
					     "[::1]/129",
					     "[fd00::1]/8",
					     "*",
					     "*.",
					     "*.*",
					     "a b",
					     "a..b",
					     ".a",
					     "a.",
					     "http://a",
					     "a/8",
					     "127.1",
					     "2130706433",
					     "0x7f.1/8",
					     "a:b",
					     "PUBLIC!",
					     "10.0.0.0/8/8",
					     "public:80",
					     "none:1",
					     "[127.0.0.1]",
					     "a:1:2" };
	struct wc_callback_rules rules = { 0 };
	char name[300];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		/* Two of them are names of hosts, with nothing behind them that is none. */
		if (!strcmp(wrong[i], "public:80") || !strcmp(wrong[i], "none:1"))
			continue;
		if (wc_callback_rules_add(&rules, wrong[i], &fault) != -EINVAL)
			fail_msg("'%s' was taken", wrong[i]);
		assert_int_equal(rules.count, 0);
	}
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	assert_int_equal(wc_callback_rules_add(&rules, name, &fault), 0);
	name[255] = 'n';
	name[256] = 0;
	assert_int_equal(wc_callback_rules_add(&rules, name, &fault), -EINVAL);
	assert_int_equal(wc_callback_rules_add(&rules, "none", &fault), -EINVAL);
	while (rules.count < WC_CALLBACK_RULES_MAX)
		assert_int_equal(wc_callback_rules_add(&rules, "public", &fault), 0);
	assert_int_equal(wc_callback_rules_add(&rules, "public", &fault), -EINVAL);
	rules = rules_of((const char *const[]){ "none", NULL });
	assert_int_equal(wc_callback_rules_add(&rules, "public", &fault), -EINVAL);
}

static int admit(const struct wc_callback_rules *rules, const char *url)
{
	struct wc_async_target target;

	assert_int_equal(wc_async_target_parse(url, &target, &fault), 0);
	return wc_callback_rules_admit(rules, &target, &fault);
}

static void test_admit(void **state)
{
	struct wc_callback_rules public = rules_of((const char *const[]){ "public", NULL });
	struct wc_callback_rules names = rules_of((const char *const[]){ "good", "*.good", NULL });
	struct wc_callback_rules loopback = rules_of((const char *const[]){ "127.0.0.1:8080", NULL });
	struct wc_callback_rules none = rules_of((const char *const[]){ "none", NULL });

	(void)state;
	assert_int_equal(admit(&public, "https://example.com/x"), 0);
	assert_int_equal(admit(&public, "http://1.1.1.1"), 0);
	assert_int_equal(admit(&public, "http://169.254.169.254/latest/meta-data"), -EACCES);
	assert_int_equal(admit(&public, "http://[::1]:80/"), -EACCES);
	assert_int_equal(admit(&public, "http://LOCALHOST/"), -EACCES);
	assert_int_equal(admit(&public, "http://a.localhost/"), -EACCES);
	assert_int_equal(admit(&public, "http://2130706433/"),
			 0); /* an address in disguise: judged when it is connected to */
	assert_int_equal(admit(&names, "http://good/"), 0);
	assert_int_equal(admit(&names, "http://very.good:1/"), 0);
	assert_int_equal(admit(&names, "http://bad/"), -EACCES);
	assert_int_equal(admit(&names, "http://1.1.1.1/"), -EACCES);
	assert_int_equal(admit(&loopback, "http://127.0.0.1:8080/"), 0);
	assert_int_equal(admit(&loopback, "http://localhost:8080/"), 0);
	assert_int_equal(admit(&loopback, "http://127.0.0.1:8081/"), -EACCES);
	assert_int_equal(admit(&none, "https://example.com/"), -ENOSYS);
}

/* --- secrets --- */

/* The example of the specification of Standard Webhooks. */
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

static void test_secrets(void **state)
{
	static const char *const wrong[] = {
		"",
		"\n\n",
		"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"whsec_",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==", /* 22 bytes */
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
		SECRET "\n" SECRET "\n" SECRET,
		SECRET "\nother",
	};
	struct wc_callback_secrets secrets = { .count = 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(wc_callback_secrets_parse(wrong[i], &secrets, &fault), -EINVAL);
		assert_int_equal(secrets.count, 7);
		assert_null(strstr(fault.text, "MfKQ9"));
	}
	assert_int_equal(wc_callback_secrets_parse("\n  " SECRET "\r\n" SECRET "\n", &secrets, &fault), 0);
	assert_int_equal(secrets.count, 2);
	assert_int_equal(secrets.list[0].length, 24);
	assert_memory_equal(secrets.list[0].key, secrets.list[1].key, 24);
}

/* --- messages --- */

static const char *field(const struct wc_callback_message *message, const char *name)
{
	for (unsigned i = 0; i < message->field_count; i++)
		if (!strncasecmp(message->fields[i], name, strlen(name)) && message->fields[i][strlen(name)] == ':')
			return message->fields[i] + strlen(name) + 2;
	return NULL;
}

static struct wc_async_delivery delivery_of(int kind, int reason, const char *response)
{
	struct wc_async_delivery delivery = {
		.kind = (uint8_t)kind,
		.reason = (uint8_t)reason,
		.function = "f",
		.qualifier = "prod",
		.created_ms = 1700000000123,
		.invocation_attempts = 1,
		.body = { .payload = "{\"n\":1}", .payload_size = 7, .trace = "" },
		.response = (void *)response,
		.response_size = strlen(response),
		.response_size_full = strlen(response),
	};

	memcpy(delivery.id.bytes, "0123456789abcdef", 16);
	return delivery;
}

static void test_record(void **state)
{
	struct wc_async_delivery delivery = delivery_of(WC_ASYNC_KIND_ON_SUCCESS, 0, "\"fine\"");
	struct wc_callback_message message;
	json_t *record;

	(void)state;
	delivery.body.trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 - a=1,b=2";
	assert_int_equal(wc_callback_message_make(&delivery, NULL, 1700000001000, &message), 0);
	record = json_loadb(message.body, message.length, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(record, "responsePayload")), "fine");
	json_decref(record);
	assert_string_equal(field(&message, "Content-Type"), "application/json");
	assert_string_equal(field(&message, "ce-specversion"), "1.0");
	assert_string_equal(field(&message, "ce-type"), "warmcore.invocation.succeeded");
	assert_string_equal(field(&message, "ce-time"), "2023-11-14T22:13:20.123Z");
	assert_string_equal(field(&message, "ce-id"), field(&message, "webhook-id"));
	assert_string_equal(field(&message, "X-Call-Id"), "30313233-3435-3637-3839-616263646566");
	assert_string_equal(field(&message, "X-Function-Name"), "f:prod");
	assert_string_equal(field(&message, "traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	assert_string_equal(field(&message, "tracestate"), "a=1,b=2");
	assert_null(field(&message, "webhook-signature"));
	wc_callback_message_free(&message);
	delivery.reason = WC_ASYNC_REASON_ATTEMPTS;
	assert_int_equal(wc_callback_message_make(&delivery, NULL, 1700000001000, &message), 0);
	assert_string_equal(field(&message, "ce-type"), "warmcore.invocation.failed");
	wc_callback_message_free(&message);
}

static void test_result(void **state)
{
	static const struct {
		int reason;
		const char *response, *body, *type, *status;
	} cases[] = {
		{ 0, "\"text\\u00e4\"", "text\xc3\xa4", "text/plain; charset=utf-8", "200" },
		{ 0, "{\"a\": 1}", "{\"a\": 1}", "application/json", "200" },
		{ 0, "", "", "application/json", "200" },
		{ 0, "\xff\xfe", "\xff\xfe", "application/octet-stream", "200" },
		{ WC_ASYNC_REASON_ATTEMPTS, "{\"errorType\":\"E\"}", "{\"errorType\":\"E\"}", "application/json",
		  "500" },
	};
	struct wc_callback_message message;
	struct wc_async_delivery delivery;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		delivery = delivery_of(WC_ASYNC_KIND_CALLBACK, cases[i].reason, cases[i].response);
		assert_int_equal(wc_callback_message_make(&delivery, NULL, 0, &message), 0);
		assert_int_equal(message.length, strlen(cases[i].body));
		assert_memory_equal(message.body, cases[i].body, message.length);
		assert_string_equal(field(&message, "Content-Type"), cases[i].type);
		assert_string_equal(field(&message, "X-Function-Status"), cases[i].status);
		assert_null(field(&message, "ce-id"));
		wc_callback_message_free(&message);
	}
	/* It never ran; the error has a byte that JSON cannot have. */
	delivery = delivery_of(WC_ASYNC_KIND_CALLBACK, WC_ASYNC_REASON_AGE, "");
	delivery.error = "\xff";
	assert_int_equal(wc_callback_message_make(&delivery, NULL, 0, &message), 0);
	assert_string_equal(message.body, "{\"errorType\":\"Warmcore.NotRun\",\"errorMessage\":\"too old\"}");
	wc_callback_message_free(&message);
	/* Half of a result is none. */
	delivery = delivery_of(WC_ASYNC_KIND_CALLBACK, 0, "\"cut");
	delivery.response_size_full = 300000;
	assert_int_equal(wc_callback_message_make(&delivery, NULL, 0, &message), 0);
	assert_non_null(strstr(message.body, "300000"));
	assert_string_equal(field(&message, "X-Function-Status"), "413");
	wc_callback_message_free(&message);
}

/* Against openssl: printf '%s' "$ID.1700000001.fine" | openssl dgst -sha256 -mac HMAC -macopt hexkey:... -binary | base64 */
#define SIGNED_ID "2d388c7f-e868-8615-88ff-000b0f15ff32"
#define SIGNATURE "c1CXof+sFWyPAMUseYNhguiSzqVra+vjjY5kiDMdDnk="

static void test_signature(void **state)
{
	struct wc_async_delivery delivery = delivery_of(WC_ASYNC_KIND_CALLBACK, 0, "\"fine\"");
	struct wc_callback_secrets secrets;
	struct wc_callback_message message, again;
	char other[WC_CALLBACK_FIELD_MAX];
	const char *two;

	(void)state;
	assert_int_equal(wc_callback_secrets_parse(SECRET "\nwhsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &secrets, &fault),
			 0);
	assert_int_equal(wc_callback_message_make(&delivery, &secrets, 1700000001999, &message), 0);
	assert_string_equal(field(&message, "webhook-timestamp"), "1700000001");
	assert_string_equal(field(&message, "webhook-id"), SIGNED_ID);
	two = field(&message, "webhook-signature");
	assert_memory_equal(two, "v1," SIGNATURE " v1,", strlen("v1," SIGNATURE " v1,"));
	assert_int_equal(strlen(two), 2 * strlen("v1," SIGNATURE) + 1);
	snprintf(other, sizeof(other), "%s", two);
	/* The same at the same moment; another one for another body. */
	assert_int_equal(wc_callback_message_make(&delivery, &secrets, 1700000001000, &again), 0);
	assert_string_equal(field(&again, "webhook-signature"), other);
	wc_callback_message_free(&again);
	delivery = delivery_of(WC_ASYNC_KIND_CALLBACK, 0, "\"finf\"");
	assert_int_equal(wc_callback_message_make(&delivery, &secrets, 1700000001000, &again), 0);
	assert_string_not_equal(field(&again, "webhook-signature"), other);
	wc_callback_message_free(&again);
	wc_callback_message_free(&message);
}

static void test_verdicts(void **state)
{
	(void)state;
	assert_int_equal(wc_callback_judge(200), 0);
	assert_int_equal(wc_callback_judge(299), 0);
	assert_int_equal(wc_callback_judge(302), -EAGAIN);
	assert_int_equal(wc_callback_judge(404), -EAGAIN);
	assert_int_equal(wc_callback_judge(410), -ENOENT);
	assert_int_equal(wc_callback_judge(503), -EAGAIN);
	assert_int_equal(wc_callback_judge(0), -EAGAIN);
}

/* --- traces --- */

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void add(struct wc_request *request, const char *name, const char *value)
{
	request->headers[request->header_count++] = (struct wc_field){ wc_text(name), wc_text(value) };
}

static void test_traces(void **state)
{
	static const char *const bad[] = {
		"",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
		"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		PARENT "-x",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-12345678",
	};
	struct wc_trace_context trace, again;
	char text[WC_TRACE_TEXT_MAX], state_text[600];
	struct wc_request request = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		request.header_count = 0;
		add(&request, "traceparent", bad[i]);
		add(&request, "tracestate", "a=1");
		assert_false(wc_trace_context_take(&request, &trace));
		assert_string_equal(trace.traceparent, "");
		assert_string_equal(trace.tracestate, "");
		wc_trace_context_save(&trace, text);
		assert_string_equal(text, "");
	}
	request.header_count = 0;
	add(&request, "traceparent", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-1234567");
	add(&request, "tracestate", "a=1 x");
	add(&request, "tracestate", "");
	add(&request, "tracestate", "b=2");
	add(&request, "x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1");
	assert_true(wc_trace_context_take(&request, &trace));
	assert_string_equal(trace.tracestate, "a=1 x,b=2");
	wc_trace_context_save(&trace, text);
	wc_trace_context_load(&again, text);
	assert_string_equal(again.traceparent, trace.traceparent);
	assert_string_equal(again.tracestate, trace.tracestate);
	assert_string_equal(again.xray, trace.xray);
	/* As older gateways kept them. */
	wc_trace_context_load(&again, PARENT);
	assert_string_equal(again.traceparent, PARENT);
	assert_string_equal(again.xray, "");
	wc_trace_context_load(&again, "Root=1");
	assert_string_equal(again.traceparent, "");
	assert_string_equal(again.xray, "Root=1");
	/* Longer than what has to be handed through: the parent goes without it. */
	memset(state_text, 's', sizeof(state_text));
	state_text[512] = 0;
	request.header_count = 0;
	add(&request, "traceparent", PARENT);
	add(&request, "tracestate", state_text);
	assert_true(wc_trace_context_take(&request, &trace));
	assert_int_equal(strlen(trace.tracestate), 512);
	add(&request, "tracestate", "b");
	assert_true(wc_trace_context_take(&request, &trace));
	assert_string_equal(trace.tracestate, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_public),	    cmocka_unit_test(test_networks), cmocka_unit_test(test_names),
		cmocka_unit_test(test_wrong_rules), cmocka_unit_test(test_admit),    cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_record),	    cmocka_unit_test(test_result),   cmocka_unit_test(test_signature),
		cmocka_unit_test(test_verdicts),    cmocka_unit_test(test_traces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
