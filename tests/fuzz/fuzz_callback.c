// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_callback.c - any text as a rule for callbacks, a file of secrets, and a kept trace; any bytes as the result that is sent. What is taken says the
 * same again, and no field of a request has a byte that could end it.
 */
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "user/gateway/callback_message.h"
#include "user/gateway/callback_rules.h"
#include "user/gateway/trace_context.h"

static void check_rules(const char *text)
{
	struct wc_callback_rules rules = { 0 };
	struct wc_async_target target;
	struct wc_fault fault = { "" };
	struct sockaddr_in6 loopback = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	char url[WC_ASYNC_TARGET_MAX];

	if (wc_callback_rules_add(&rules, text, &fault)) {
		REQUIRE(!rules.count && !rules.none && *fault.text);
		return;
	}
	REQUIRE(rules.none || rules.count == 1);
	if (rules.none)
		return;
	/* Loopback is reached by a rule that says so only. */
	if (wc_callback_rules_address(&rules, (struct sockaddr *)&loopback))
		REQUIRE(rules.list[0].kind == WC_CALLBACK_NETWORK && *text == '[');
	/* A name that is trusted is the name of the rule. */
	snprintf(url, sizeof(url), "http://%.300s/", text);
	if (rules.list[0].kind == WC_CALLBACK_NAME && !wc_async_target_parse(url, &target, &fault))
		REQUIRE(!wc_callback_rules_admit(&rules, &target, &fault));
}

static void check_trace(const char *text)
{
	struct wc_trace_context trace, again;
	char saved[WC_TRACE_TEXT_MAX];

	wc_trace_context_load(&trace, text);
	wc_trace_context_save(&trace, saved);
	wc_trace_context_load(&again, saved);
	REQUIRE(!strcmp(trace.traceparent, again.traceparent) && !strcmp(trace.xray, again.xray) &&
		!strcmp(trace.tracestate, again.tracestate));
}

static void check_message(const uint8_t *data, size_t size, char *text)
{
	struct wc_async_delivery delivery = {
		.kind = (uint8_t)(size % 3 + 1),
		.reason = (uint8_t)(size / 3 % 4),
		.function = "f",
		.invocation_attempts = size & 1,
		.body = { .payload = text, .payload_size = size, .trace = text },
		.error = text,
		.response = (void *)(size & 2 ? data : NULL),
		.response_size = size & 2 ? size : 0,
		.response_size_full = size & 4 ? size + 1 :
				      size & 2 ? size :
						 0,
	};
	struct wc_callback_secrets secrets = { 0 };
	struct wc_callback_message message;
	struct wc_fault fault = { "" };

	if (wc_callback_secrets_parse(text, &secrets, &fault))
		REQUIRE(!secrets.count && *fault.text);
	REQUIRE(!wc_callback_message_make(&delivery, &secrets, 1700000000000, &message));
	REQUIRE(message.body && message.field_count);
	for (unsigned i = 0; i < message.field_count; i++)
		for (const char *at = message.fields[i]; *at; at++)
			REQUIRE((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f);
	wc_callback_message_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	REQUIRE(text);
	memcpy(text, data, size);
	text[size] = 0;
	check_rules(text);
	check_trace(text);
	check_message(data, size, text);
	free(text);
	return 0;
}
