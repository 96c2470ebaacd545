// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sigv4_check.c - what user/gateway/auth_check.h says of requests, for test_sigv4.py.
 *
 *	sigv4_check KEYS [unsigned] <requests >verdicts
 *
 * One JSON object a line: method, path, query, headers as pairs, body in base64, now in seconds, private. One line of answer each: "pass NAME"
 * or "deny STATUS TYPE MESSAGE". Each is asked three times, with the body, with its hash, and head first as a gateway does; that these agree is
 * checked here.
 */
#include <jansson.h>
#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/gateway/auth_check.h"

#define LINE_MAX_BYTES (1 << 20)

static struct wc_slice text_of(const json_t *value)
{
	return (struct wc_slice){ json_string_value(value) ?: "", json_string_length(value) };
}

static void fail(const char *why)
{
	fprintf(stderr, "sigv4_check: %s\n", why);
	exit(1);
}

/* Head first, and the body when it is asked for. */
static enum wc_auth_result check_as_gateway(struct wc_auth *auth, struct wc_auth_request *request,
					    const uint8_t sha256[WC_SHA256_SIZE], struct wc_auth_verdict *verdict)
{
	request->body = WC_AUTH_BODY_PENDING;
	switch (wc_auth_verify(auth, request, verdict)) {
	case WC_AUTH_PASSED:
		return verdict->body_due && !wc_auth_body_is(verdict, sha256) ? WC_AUTH_DENIED : WC_AUTH_PASSED;
	case WC_AUTH_LATER:
		request->body = WC_AUTH_BODY_SHA256;
		return wc_auth_verify(auth, request, verdict);
	default:
		return WC_AUTH_DENIED;
	}
}

static void check(struct wc_auth *auth, const json_t *object)
{
	const json_t *pairs = json_object_get(object, "headers"), *pair;
	struct wc_slice body = text_of(json_object_get(object, "body"));
	uint8_t *bytes = malloc(body.length + 1);
	struct wc_auth_verdict verdict, again, gateway;
	size_t length = body.length, count = json_array_size(pairs), i;
	struct wc_auth_header *headers = calloc(count + 1, sizeof(*headers));
	struct base64_decode_ctx decode;
	struct sha256_ctx hash;
	struct wc_auth_request request = {
		.method = text_of(json_object_get(object, "method")),
		.path = text_of(json_object_get(object, "path")),
		.query = text_of(json_object_get(object, "query")),
		.headers = headers,
		.header_count = count,
		.body = WC_AUTH_BODY_BYTES,
		.now_s = json_integer_value(json_object_get(object, "now")),
		.private = json_is_true(json_object_get(object, "private")),
	};

	base64_decode_init(&decode);
	if (!bytes || !headers || !base64_decode_update(&decode, &length, bytes, body.length, body.at))
		fail("a body is not base64");
	json_array_foreach ((json_t *)pairs, i, pair)
		headers[i] =
			(struct wc_auth_header){ text_of(json_array_get(pair, 0)), text_of(json_array_get(pair, 1)) };
	request.bytes = (struct wc_slice){ (const char *)bytes, length };
	wc_auth_verify(auth, &request, &verdict);
	sha256_init(&hash);
	sha256_update(&hash, length, bytes);
	sha256_digest(&hash, sizeof(request.sha256), request.sha256);
	request.body = WC_AUTH_BODY_SHA256;
	if (wc_auth_verify(auth, &request, &again) != verdict.result ||
	    check_as_gateway(auth, &request, request.sha256, &gateway) != verdict.result)
		fail("the body, its hash and head first do not give the same verdict");
	if (verdict.result == WC_AUTH_PASSED)
		printf("pass %s\n", verdict.identity.name);
	else
		printf("deny %u %s %s\n", verdict.denial.status, verdict.denial.type, verdict.denial.message);
	free(bytes);
	free(headers);
}

int main(int argc, char **argv)
{
	struct wc_auth_options options = { .sigv4 = { .presign_max_s = WC_SIGV4_PRESIGN_MAX_S } };
	static char line[LINE_MAX_BYTES];
	struct wc_auth *auth;
	struct wc_fault fault;

	if (argc < 2)
		fail("usage: sigv4_check KEYS [unsigned]");
	options.keys_path = argv[1];
	options.sigv4.unsigned_payload = argc > 2;
	if (wc_auth_open(&options, &auth, &fault))
		fail(fault.text);
	while (fgets(line, sizeof(line), stdin)) {
		json_t *object = json_loads(line, 0, NULL);

		if (!object)
			fail("a line is not JSON");
		check(auth, object);
		json_decref(object);
	}
	wc_auth_close(auth);
	return 0;
}
