// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_auth_check.c - whole requests against a file of keys: who passes, what each other one is told, scopes, and keys that change meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/auth_fixture.h"
#include "tests/unit/scratch.h"
#include "user/gateway/auth_canonical.h"
#include "user/gateway/auth_check.h"

#define MOMENT 1440938160 /* 2015-08-30T12:36:00Z */
#define TARGET "/2015-03-31/functions/hello/invocations"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static struct wc_key_shown shown[2]; /* of "access" and "token" */
static char ids[2][WC_KEY_ID_LENGTH + 1];
static struct wc_auth *auth;

/* Change the file as the command does. */
static void edit(int (*change)(struct wc_keys *keys, struct wc_fault *fault))
{
	struct wc_keys_lock lock;
	struct wc_keys *keys;
	struct wc_fault fault;

	if (wc_keys_lock(path_of("keys.json"), true, &lock, &keys, &fault) || change(keys, &fault) ||
	    wc_keys_store(&lock, keys, &fault))
		fail_msg("%s", fault.text);
	wc_keys_unlock(&lock);
	wc_keys_free(keys);
}

static int add_both(struct wc_keys *keys, struct wc_fault *fault)
{
	struct wc_key like = { .pattern_count = 2, .patterns = { "he*", "w?b" } }, *key;
	int error = 0;

	for (int i = 0; !error && i < 2; i++) {
		like.kind = i ? WC_KEY_BEARER : WC_KEY_SIGV4;
		snprintf(like.name, sizeof(like.name), "%s", i ? "token" : "access");
		error = wc_keys_add(keys, &like, MOMENT, &key, &shown[i], fault);
		snprintf(ids[i], sizeof(ids[i]), "%s", error ? "" : key->id);
	}
	return error;
}

static int disable(struct wc_keys *keys, struct wc_fault *fault)
{
	(void)fault;
	keys->list[0].disabled_s = keys->list[1].disabled_s = MOMENT;
	return 0;
}

static int rotate(struct wc_keys *keys, struct wc_fault *fault)
{
	return wc_key_rotate(&keys->list[0], MOMENT, 60, &shown[0], fault) ?:
		       wc_key_rotate(&keys->list[1], MOMENT, 60, &shown[1], fault);
}

static int setup(void **state)
{
	struct wc_auth_options options = { .keys_path = "", .sigv4 = { .presign_max_s = 3600 } };
	struct wc_fault fault;

	if (scratch_setup(state))
		return -1;
	edit(add_both);
	options.keys_path = path_of("keys.json");
	return wc_auth_open(&options, &auth, &fault);
}

static int teardown(void **state)
{
	wc_auth_close(auth);
	return scratch_teardown(state);
}

/* An invocation, signed with this secret in the name of this key. */
static void sign_hashed(struct fixture *fixture, const char *id, const char *secret, const char *sha256)
{
	const char *const headers[] = { "Host:127.0.0.1:9000", "X-Amz-Date:20150830T123600Z", NULL };
	struct wc_sigv4_options options = { 0 };
	uint8_t signature[WC_SHA256_SIZE];
	struct wc_auth_denial denial;
	struct wc_sigv4_claim claim;
	struct wc_sigv4_text text;
	char digits[65] = ZEROS;

	fixture_request(fixture, "POST", TARGET "?Qualifier=2", "{}", headers);
	fixture->request.now_s = MOMENT;
	if (sha256)
		fixture_header(fixture, "X-Amz-Content-Sha256", sha256);
	for (int round = 0; round < 2; round++) {
		snprintf(
			fixture->authorization, sizeof(fixture->authorization),
			"AWS4-HMAC-SHA256 Credential=%s/20150830/eu-west-1/lambda/aws4_request, SignedHeaders=host;%sx-amz-date, "
			"Signature=%s",
			id, sha256 ? "x-amz-content-sha256;" : "", digits);
		fixture_header(fixture, "Authorization", fixture->authorization);
		if (!wc_sigv4_parse(&fixture->request, &options, &claim, &denial))
			fail_msg("%s", denial.message);
		assert_int_equal(wc_sigv4_text(&fixture->request, &claim, &text), 0);
		wc_sigv4_signature(&text, secret, strlen(secret), signature);
		wc_hex(digits, signature);
	}
}

static void sign(struct fixture *fixture, const char *id, const char *secret)
{
	sign_hashed(fixture, id, secret, NULL);
}

static void bearer(struct fixture *fixture, const char *scheme, const char *token)
{
	fixture_request(fixture, "POST", "/function/hello", "{}", (const char *const[]){ "Host:a", NULL });
	snprintf(fixture->authorization, sizeof(fixture->authorization), "%s %s", scheme, token);
	fixture_header(fixture, "Authorization", fixture->authorization);
	fixture->request.now_s = MOMENT;
	fixture->request.private = true;
	fixture->request.plain = true;
}

static struct wc_auth_verdict verdict;

static void expect_passed(const struct fixture *fixture, const char *name)
{
	if (wc_auth_verify(auth, &fixture->request, &verdict) != WC_AUTH_PASSED)
		fail_msg("%u %s: %s", verdict.denial.status, verdict.denial.type, verdict.denial.message);
	assert_string_equal(verdict.identity.name, name);
}

static void expect_denied(const struct fixture *fixture, unsigned status, const char *type)
{
	assert_int_equal(wc_auth_verify(auth, &fixture->request, &verdict), WC_AUTH_DENIED);
	assert_string_equal(verdict.denial.type, type);
	assert_int_equal(verdict.denial.status, status);
	assert_true(verdict.denial.message[0]);
	assert_string_equal(verdict.identity.id, "");
	/* 401 comes with a challenge (RFC 9110), nothing else does. */
	assert_int_equal(status == 401, verdict.denial.challenge != NULL);
	for (int i = 0; i < 2; i++)
		assert_null(strstr(verdict.denial.message, shown[i].text));
}

static void test_signed(void **state)
{
	struct fixture fixture;
	char id[WC_KEY_ID_LENGTH + 1], first[512];

	(void)state;
	sign(&fixture, ids[0], shown[0].text);
	expect_passed(&fixture, "access");
	assert_false(verdict.body_due);
	fixture.request.method = slice("GET");
	expect_denied(&fixture, 403, "InvalidSignatureException");
	sign(&fixture, ids[0], "anothersecretanothersecretanothersecretx");
	expect_denied(&fixture, 403, "InvalidSignatureException");

	/* An unknown key, one that is disabled, and the id of a token are told the same. */
	snprintf(id, sizeof(id), "%s", ids[0]);
	id[19] = id[19] == 'A' ? 'B' : 'A';
	sign(&fixture, id, shown[0].text);
	expect_denied(&fixture, 403, "UnrecognizedClientException");
	snprintf(first, sizeof(first), "%s", verdict.denial.message);
	sign(&fixture, ids[1], shown[0].text);
	expect_denied(&fixture, 403, "UnrecognizedClientException");
	assert_string_equal(verdict.denial.message, first);
	sign(&fixture, "AKIDEXAMPLE", shown[0].text);
	expect_denied(&fixture, 403, "UnrecognizedClientException");
	edit(disable);
	assert_int_equal(wc_auth_refresh(auth, &(struct wc_fault){ "" }), 1);
	sign(&fixture, ids[0], shown[0].text);
	expect_denied(&fixture, 403, "UnrecognizedClientException");
	assert_string_equal(verdict.denial.message, first);
	/* Not even the secret that stands for no key opens. */
	sign(&fixture, id, "");
	expect_denied(&fixture, 403, "UnrecognizedClientException");
}

static void test_refused_requests(void **state)
{
	static char large[WC_AUTH_QUERY_MAX + 2];
	struct fixture fixture;

	(void)state;
	sign(&fixture, ids[0], shown[0].text);
	fixture_drop(&fixture, "authorization");
	expect_denied(&fixture, 403, "MissingAuthenticationTokenException");
	assert_string_equal(verdict.denial.message, "Missing Authentication Token");
	fixture_header(&fixture, "Authorization", "Basic YTpi");
	expect_denied(&fixture, 403, "IncompleteSignatureException");
	fixture.request.plain = true;
	expect_denied(&fixture, 401, "MissingAuthenticationTokenException");
	assert_string_equal(verdict.denial.challenge, "Bearer realm=\"warmcore\"");

	sign(&fixture, ids[0], shown[0].text);
	fixture.request.path = slice("/2015-03-31/functions/x/../hello/invocations");
	expect_denied(&fixture, 400, "InvalidRequestContentException");
	fixture.request.path = slice("/2015-03-31//functions/hello/invocations");
	expect_denied(&fixture, 400, "InvalidRequestContentException");

	/* Texts to sign that could be read in two ways. */
	sign(&fixture, ids[0], shown[0].text);
	fixture.request.method = slice("POST\n/");
	expect_denied(&fixture, 400, "InvalidRequestContentException");
	for (int i = 0; i < 3; i++) {
		static const struct wc_slice values[] = { { "a\nb", 3 }, { "a\rb", 3 }, { "a\0b", 3 } };

		sign(&fixture, ids[0], shown[0].text);
		fixture.headers[fixture.request.header_count++] = (struct wc_auth_header){ { "x", 1 }, values[i] };
		expect_denied(&fixture, 400, "InvalidRequestContentException");
		fixture.headers[fixture.request.header_count - 1] = (struct wc_auth_header){ values[i], { "x", 1 } };
		expect_denied(&fixture, 400, "InvalidRequestContentException");
	}

	sign(&fixture, ids[0], shown[0].text);
	fixture.request.query = slice("Qualifier=%2");
	expect_denied(&fixture, 400, "InvalidRequestContentException");
	memset(large, 'a', sizeof(large));
	fixture.request.query = (struct wc_slice){ large, WC_AUTH_QUERY_MAX };
	expect_denied(&fixture, 403, "InvalidSignatureException");
	fixture.request.query.length++;
	expect_denied(&fixture, 414, "RequestTooLargeException");
	sign(&fixture, ids[0], shown[0].text);
	fixture.request.path = (struct wc_slice){ large, WC_AUTH_PATH_MAX + 1 };
	expect_denied(&fixture, 414, "RequestTooLargeException");
	sign(&fixture, ids[0], shown[0].text);
	fixture.request.method = (struct wc_slice){ large, WC_AUTH_METHOD_MAX + 1 };
	expect_denied(&fixture, 414, "RequestTooLargeException");
	sign(&fixture, ids[0], shown[0].text);
	fixture_find(&fixture, "authorization")->value = (struct wc_slice){ large, WC_AUTH_CREDENTIALS_MAX + 1 };
	expect_denied(&fixture, 431, "RequestTooLargeException");
}

static void test_many_headers(void **state)
{
	static struct wc_auth_header many[WC_AUTH_HEADERS_MAX + 1];
	static char value[WC_AUTH_HEADER_BYTES_MAX];
	struct fixture fixture;

	(void)state;
	sign(&fixture, ids[0], shown[0].text);
	memcpy(many, fixture.headers, fixture.request.header_count * sizeof(many[0]));
	for (size_t i = fixture.request.header_count; i <= WC_AUTH_HEADERS_MAX; i++)
		many[i] = (struct wc_auth_header){ slice("x"), { NULL, 0 } };
	fixture.request.headers = many;
	fixture.request.header_count = WC_AUTH_HEADERS_MAX;
	expect_passed(&fixture, "access");
	fixture.request.header_count++;
	expect_denied(&fixture, 431, "RequestTooLargeException");
	fixture.request.header_count = 4;
	memset(value, 'v', sizeof(value));
	many[3].value = (struct wc_slice){ value, sizeof(value) - 1000 };
	expect_passed(&fixture, "access");
	many[3].value.length = sizeof(value);
	expect_denied(&fixture, 431, "RequestTooLargeException");
}

static void test_bearer(void **state)
{
	struct fixture fixture;
	char token[WC_KEY_TOKEN_LENGTH + 2], first[512];

	(void)state;
	bearer(&fixture, "Bearer", shown[1].text);
	expect_passed(&fixture, "token");
	bearer(&fixture, "bearer  ", shown[1].text);
	expect_passed(&fixture, "token");
	bearer(&fixture, "Bearers", shown[1].text);
	expect_denied(&fixture, 401, "MissingAuthenticationTokenException");
	bearer(&fixture, "Bearer", "");
	expect_denied(&fixture, 401, "UnrecognizedClientException");
	assert_string_equal(verdict.denial.challenge, "Bearer realm=\"warmcore\", error=\"invalid_token\"");
	snprintf(first, sizeof(first), "%s", verdict.denial.message);
	/* Each of its bytes counts, in id and secret alike, and all are told the same. */
	for (size_t i = 0; i < WC_KEY_TOKEN_LENGTH; i++) {
		snprintf(token, sizeof(token), "%s", shown[1].text);
		token[i] ^= 1;
		bearer(&fixture, "Bearer", token);
		expect_denied(&fixture, 401, "UnrecognizedClientException");
		assert_string_equal(verdict.denial.message, first);
	}
	snprintf(token, sizeof(token), "%sx", shown[1].text);
	bearer(&fixture, "Bearer", token);
	expect_denied(&fixture, 401, "UnrecognizedClientException");
	/* The secret of an access key is no token. */
	snprintf(token, sizeof(token), "%s.%.40s", ids[0], shown[0].text);
	bearer(&fixture, "Bearer", token);
	expect_denied(&fixture, 401, "UnrecognizedClientException");
	bearer(&fixture, "Bearer", shown[1].text);
	fixture.request.private = false;
	expect_denied(&fixture, 403, "AccessDeniedException");
	/* Beside a signature it is not a second way in. */
	bearer(&fixture, "Bearer", shown[1].text);
	fixture.request.query = slice("X-Amz-Algorithm=AWS4-HMAC-SHA256");
	expect_denied(&fixture, 403, "IncompleteSignatureException");
	bearer(&fixture, "Bearer", shown[1].text);
	fixture.headers[fixture.request.header_count++] =
		(struct wc_auth_header){ slice("Authorization"), slice(fixture.authorization) };
	expect_denied(&fixture, 403, "IncompleteSignatureException");
}

static void test_rotated(void **state)
{
	struct wc_key_shown old[2] = { shown[0], shown[1] };
	struct fixture fixture;

	(void)state;
	edit(rotate);
	assert_int_equal(wc_auth_refresh(auth, &(struct wc_fault){ "" }), 1);
	for (int after = 0; after < 120; after += 59) {
		bool good = after < 60;

		sign(&fixture, ids[0], shown[0].text);
		fixture.request.now_s += after;
		expect_passed(&fixture, "access");
		sign(&fixture, ids[0], old[0].text);
		fixture.request.now_s += after;
		if (good)
			expect_passed(&fixture, "access");
		else
			expect_denied(&fixture, 403, "InvalidSignatureException");
		bearer(&fixture, "Bearer", shown[1].text);
		fixture.request.now_s += after;
		expect_passed(&fixture, "token");
		bearer(&fixture, "Bearer", old[1].text);
		fixture.request.now_s += after;
		if (good)
			expect_passed(&fixture, "token");
		else
			expect_denied(&fixture, 401, "UnrecognizedClientException");
	}
}

/* A head before its body: what can be said is said, and the body cannot be exchanged. */
static void test_body_later(void **state)
{
	static const char of_body[] = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"; /* {} */
	uint8_t sha256[WC_SHA256_SIZE];
	struct fixture fixture;

	(void)state;
	sign(&fixture, ids[0], shown[0].text);
	fixture.request.body = WC_AUTH_BODY_PENDING;
	assert_int_equal(wc_auth_verify(auth, &fixture.request, &verdict), WC_AUTH_LATER);
	assert_string_equal(verdict.identity.id, "");
	fixture.request.now_s += 1000;
	expect_denied(&fixture, 403, "InvalidSignatureException");

	fixture.request.bytes = fixture.request.query = (struct wc_slice){ NULL, 0 };
	fixture.request.body = WC_AUTH_BODY_BYTES;
	fixture.request.now_s = MOMENT;
	expect_denied(&fixture, 403, "InvalidSignatureException");

	sign_hashed(&fixture, ids[0], shown[0].text, of_body);
	expect_passed(&fixture, "access");
	assert_false(verdict.body_due);
	fixture.request.body = WC_AUTH_BODY_PENDING;
	expect_passed(&fixture, "access");
	assert_true(verdict.body_due);
	assert_true(wc_unhex(sha256, of_body, 64));
	assert_true(wc_auth_body_is(&verdict, sha256));
	sha256[31] ^= 1;
	assert_false(wc_auth_body_is(&verdict, sha256));
	assert_int_equal(verdict.result, WC_AUTH_DENIED);
	assert_string_equal(verdict.denial.type, "InvalidSignatureException");
	sign_hashed(&fixture, ids[0], "anothersecretanothersecretanothersecretx", of_body);
	fixture.request.body = WC_AUTH_BODY_PENDING;
	expect_denied(&fixture, 403, "InvalidSignatureException");
	bearer(&fixture, "Bearer", shown[1].text);
	fixture.request.body = WC_AUTH_BODY_PENDING;
	expect_passed(&fixture, "token");
	assert_false(verdict.body_due);
}

static void test_scopes(void **state)
{
	static const char all[] = "*";
	struct wc_auth_identity who = {
		.id = "WCKAABCDEFGHIJKLMNOP", .name = "ci", .pattern_count = 2, .patterns = { "he*", "w?b" }
	};
	struct wc_auth_ask ask = { .invoke = true, .operation = "lambda:InvokeFunction" };
	struct wc_auth_denial denial;
	const struct {
		const char *function;
		bool good;
	} names[] = { { "hello", true }, { "he", true }, { "ahe", false },   { "web", true }, { "wb", false },
		      { "weeb", false }, { "", false },	 { "HELLO", false }, { NULL, false } };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask.function = names[i].function;
		assert_int_equal(wc_auth_allows(&who, &ask, &denial), names[i].good);
	}
	assert_int_equal(denial.status, 403);
	assert_string_equal(denial.type, "AccessDeniedException");
	ask = (struct wc_auth_ask){ .operation = "lambda:DeleteFunction", .function = "hello" };
	assert_false(wc_auth_allows(&who, &ask, &denial));
	assert_string_equal(denial.message,
			    "Key ci (WCKAABCDEFGHIJKLMNOP) is not authorized to perform: lambda:DeleteFunction on "
			    "resource: hello because its scope (invoke) does not allow it");
	who.role = WC_KEY_ADMIN;
	assert_true(wc_auth_allows(&who, &ask, &denial));
	ask.function = "other";
	assert_false(wc_auth_allows(&who, &ask, &denial));
	ask.function = NULL;
	assert_false(wc_auth_allows(&who, &ask, &denial));
	memcpy(who.patterns[1], all, sizeof(all));
	assert_true(wc_auth_allows(&who, &ask, &denial));
	who.role = WC_KEY_INVOKE;
	assert_false(wc_auth_allows(&who, &ask, &denial));
}

/* A file that is bad, gone or too open leaves the keys from before; each is reported once, and mending it is enough. */
static void test_refresh(void **state)
{
	struct wc_fault fault = { "" };
	struct fixture fixture;

	(void)state;
	sign(&fixture, ids[0], shown[0].text);
	assert_int_equal(wc_auth_refresh(auth, &fault), 0);
	assert_int_equal(chmod(path_of("keys.json"), 0644), 0);
	assert_int_equal(wc_auth_refresh(auth, &fault), -EPERM);
	assert_non_null(strstr(fault.text, "chmod 600"));
	fault.text[0] = 0;
	assert_int_equal(wc_auth_refresh(auth, &fault), 0);
	assert_string_equal(fault.text, "");
	expect_passed(&fixture, "access");
	assert_int_equal(rename(path_of("keys.json"), path_of("away.json")), 0);
	assert_int_equal(wc_auth_refresh(auth, &fault), -ENOENT);
	assert_int_equal(wc_auth_refresh(auth, &fault), 0);
	make_file("keys.json", "{", 0600);
	assert_int_equal(wc_auth_refresh(auth, &fault), -EINVAL);
	assert_int_equal(wc_auth_refresh(auth, &fault), 0);
	expect_passed(&fixture, "access");
	assert_int_equal(rename(path_of("away.json"), path_of("keys.json")), 0);
	assert_int_equal(wc_auth_refresh(auth, &fault), -EPERM);
	assert_int_equal(chmod(path_of("keys.json"), 0600), 0);
	/* It is the folder now, which is not the file that changes when it is mended. */
	assert_int_equal(chmod(path_of(""), 0777), 0);
	assert_int_equal(wc_auth_refresh(auth, &fault), -EPERM);
	assert_int_equal(chmod(path_of(""), 0755), 0);
	assert_int_equal(wc_auth_refresh(auth, &fault), 1);
	assert_int_equal(wc_auth_refresh(auth, &fault), 0);
	expect_passed(&fixture, "access");
}

static void test_options(void **state)
{
	struct wc_auth_options options = { .keys_path = path_of("none.json") };
	struct wc_auth *other = NULL;
	struct wc_fault fault;

	(void)state;
	assert_int_equal(wc_auth_open(&options, &other, &fault), -ENOENT);
	options.keys_path = path_of("keys.json");
	options.sigv4.presign_max_s = WC_SIGV4_PRESIGN_MAX_S + 1;
	assert_int_equal(wc_auth_open(&options, &other, &fault), -ERANGE);
	options.sigv4 = (struct wc_sigv4_options){
		.region = "a-region-name-that-is-longer-than-any-region-name-has-ever-been-so-far"
	};
	assert_int_equal(wc_auth_open(&options, &other, &fault), -ENAMETOOLONG);
	assert_null(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_signed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bearer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_later, setup, teardown),
		cmocka_unit_test(test_scopes),
		cmocka_unit_test_setup_teardown(test_refresh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_options, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
