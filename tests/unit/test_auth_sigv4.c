// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_auth_sigv4.c - signatures: those of AWS's published test suite for Signature Version 4, each computed again with the signer of the
 * SDK for JavaScript; and every way in which a claim is refused. tests/e2e/test_sigv4.py has requests of the SDK itself, and mutations.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/auth_fixture.h"
#include "user/gateway/auth_canonical.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define SCOPE "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
#define MOMENT 1440938160 /* 2015-08-30T12:36:00Z */
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define PLAIN "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"

static const struct wc_sigv4_options service = { .service = "service", .presign_max_s = 3600 };

/* clang-format off */
static const struct suite {
	const char *name, *method, *target, *body, *signed_headers, *signature, *headers[4];
} suite[] = {
	{ "get-vanilla", "GET", "/", "", "host;x-amz-date", PLAIN, { 0 } },
	{ "get-header-key-duplicate", "GET", "/", "", "host;my-header1;x-amz-date",
	  "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
	  { "My-Header1:value2", "My-Header1:value2", "My-Header1:value1" } },
	{ "get-header-value-order", "GET", "/", "", "host;my-header1;x-amz-date",
	  "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
	  { "My-Header1:value4", "my-header1:value1", "MY-HEADER1:value3,value2" } },
	{ "get-header-value-trim", "GET", "/", "", "host;my-header1;my-header2;x-amz-date",
	  "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
	  { "My-Header1: value1", "My-Header2: \"a   b   c\"" } },
	{ "get-unreserved", "GET", "/" UNRESERVED, "", "host;x-amz-date",
	  "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f", { 0 } },
	{ "get-utf8", "GET", "/\xe1\x88\xb4", "", "host;x-amz-date",
	  "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85", { 0 } },
	{ "encoded again", "GET", "/%E1%88%B4", "", "host;x-amz-date",
	  "697b34846207a3f72246f99d74ae1ee4fe54f44bb06730c58a0d339eb079596d", { 0 } },
	{ "get-vanilla-empty-query-key", "GET", "/?Param1=value1", "", "host;x-amz-date",
	  "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb", { 0 } },
	{ "get-vanilla-query", "GET", "/?", "", "host;x-amz-date", PLAIN, { 0 } },
	{ "get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", "", "host;x-amz-date",
	  "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", { 0 } },
	{ "order of values", "GET", "/?Param1=value2&Param1=Value1", "", "host;x-amz-date",
	  "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1", { 0 } },
	{ "a name before a longer one", "GET", "/?Param1b=x&Param1=value2&Param-1=y", "", "host;x-amz-date",
	  "e3cb1d67a17811ee3aea42e16c4f78e26e7a05a236a4b2ad36dcef81c147e3d4", { 0 } },
	{ "get-vanilla-query-unreserved", "GET", "/?" UNRESERVED "=" UNRESERVED, "", "host;x-amz-date",
	  "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197", { 0 } },
	{ "get-vanilla-utf8-query", "GET", "/?\xe1\x88\xb4=bar", "", "host;x-amz-date",
	  "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04", { 0 } },
	{ "the same, encoded", "GET", "/?&%e1%88%b4=b%61r&", "", "host;x-amz-date",
	  "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04", { 0 } },
	{ "post-vanilla", "POST", "/", "", "host;x-amz-date",
	  "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", { 0 } },
	{ "post-header-key-sort", "POST", "/", "", "host;my-header1;x-amz-date",
	  "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c", { "My-Header1:value1" } },
	{ "post-header-value-case", "POST", "/", "", "host;my-header1;x-amz-date",
	  "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d", { "My-Header1:VALUE1" } },
	{ "post-vanilla-query", "POST", "/?Param1=value1", "", "host;x-amz-date",
	  "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11", { 0 } },
	{ "post-vanilla-query-nonunreserved", "POST",
	  "/?%40%23%24%25%5E=&%2B=%2F%2C%3F%3E%3C%60%22%3B%3A%5C%7C%5D%5B%7B%7D", "", "host;x-amz-date",
	  "66c82657c86e26fb25238d0e69f011edc4c6df5ae71119d7cb98ed9b87393c1e", { 0 } },
	{ "post-vanilla-query-space", "POST", "/?p", "", "host;x-amz-date",
	  "e71688addb58a26418614085fb730ba3faa623b461c17f48f2fbdb9361b94a9b", { 0 } },
	{ "post-x-www-form-urlencoded", "POST", "/", "Param1=value1", "content-type;host;x-amz-date",
	  "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
	  { "Content-Type:application/x-www-form-urlencoded" } },
	{ "post-x-www-form-urlencoded-parameters", "POST", "/", "Param1=value1", "content-type;host;x-amz-date",
	  "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
	  { "Content-Type:application/x-www-form-urlencoded; charset=utf8" } },
	{ "normalize-path/get-relative", "GET", "/example/..", "", "host;x-amz-date", PLAIN, { 0 } },
	{ "normalize-path/get-relative-relative", "GET", "/example1/example2/../..", "", "host;x-amz-date", PLAIN, { 0 } },
	{ "above the root", "GET", "/../../", "", "host;x-amz-date", PLAIN, { 0 } },
	{ "normalize-path/get-slash", "GET", "//", "", "host;x-amz-date", PLAIN, { 0 } },
	{ "normalize-path/get-slash-dot-slash", "GET", "/./", "", "host;x-amz-date", PLAIN, { 0 } },
	{ "normalize-path/get-slashes", "GET", "//example//", "", "host;x-amz-date",
	  "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84", { 0 } },
	{ "normalize-path/get-slash-pointless-dot", "GET", "/./example", "", "host;x-amz-date",
	  "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5", { 0 } },
	{ "normalize-path/get-space", "GET", "/example space/", "", "host;x-amz-date",
	  "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741", { 0 } },
};
/* clang-format on */

static const char *const plain_headers[] = { "Host:example.amazonaws.com", "X-Amz-Date:20150830T123600Z", NULL };

static void authorize(struct fixture *fixture, const char *credential, const char *signed_headers,
		      const char *signature)
{
	snprintf(fixture->authorization, sizeof(fixture->authorization),
		 "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s", credential, signed_headers,
		 signature);
	fixture_header(fixture, "Authorization", fixture->authorization);
	fixture->request.now_s = MOMENT;
}

static bool signature_is_right(const struct wc_auth_request *request, const struct wc_sigv4_claim *claim)
{
	uint8_t expected[WC_SHA256_SIZE];
	struct wc_sigv4_text text;

	if (wc_sigv4_text(request, claim, &text))
		return false;
	wc_sigv4_signature(&text, SECRET, strlen(SECRET), expected);
	return !memcmp(expected, claim->signature, sizeof(expected));
}

static void test_suite(void **state)
{
	struct wc_auth_denial denial = { 0 };
	struct wc_sigv4_claim claim;
	struct fixture fixture;

	(void)state;
	for (size_t i = 0; i < sizeof(suite) / sizeof(suite[0]); i++) {
		const struct suite *one = &suite[i];
		const char *headers[8] = { plain_headers[0], plain_headers[1] };

		for (size_t h = 0; one->headers[h]; h++)
			headers[2 + h] = one->headers[h];
		fixture_request(&fixture, one->method, one->target, one->body, headers);
		authorize(&fixture, SCOPE, one->signed_headers, one->signature);
		if (!wc_sigv4_parse(&fixture.request, &service, &claim, &denial))
			fail_msg("%s: %s", one->name, denial.message);
		if (!signature_is_right(&fixture.request, &claim))
			fail_msg("%s: the signature is another one", one->name);
		claim.signature[i % WC_SHA256_SIZE] ^= 1;
		assert_false(signature_is_right(&fixture.request, &claim));
	}
}

/* The texts of AWS's documentation for get-vanilla. */
static void test_texts(void **state)
{
	struct wc_auth_denial denial;
	struct wc_sigv4_claim claim;
	struct wc_sigv4_text text;
	struct fixture fixture;
	char *canonical;
	size_t length;

	(void)state;
	fixture_request(&fixture, "GET", "/", "", plain_headers);
	authorize(&fixture, SCOPE, "host;x-amz-date", PLAIN);
	assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
	assert_int_equal(wc_canonical_request(&fixture.request,
					      &(struct wc_canonical){ claim.signed_headers, claim.payload }, &canonical,
					      &length),
			 0);
	canonical = realloc(canonical, length + 1);
	canonical[length] = 0;
	assert_string_equal(canonical, "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n"
				       "host;x-amz-date\n"
				       "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	free(canonical);
	assert_int_equal(wc_sigv4_text(&fixture.request, &claim, &text), 0);
	assert_string_equal(text.string, "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n"
					 "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63");
	assert_int_equal(text.length, strlen(text.string));
}

#define INCOMPLETE "IncompleteSignatureException"
#define INVALID "InvalidSignatureException"
#define FORM "Credential=" SCOPE ", SignedHeaders=host;x-amz-date, Signature=" PLAIN

static void expect_denied(struct fixture *fixture, const char *type, const char *part)
{
	struct wc_auth_denial denial = { 0 };
	struct wc_sigv4_claim claim;

	if (wc_sigv4_parse(&fixture->request, &service, &claim, &denial))
		fail_msg("taken, not %s: %s", type, part);
	assert_int_equal(denial.status, 403);
	assert_string_equal(denial.type, type);
	if (!strstr(denial.message, part))
		fail_msg("'%s' is not in '%s'", part, denial.message);
	/* A signature or what may be a secret is never repeated. */
	assert_null(strstr(denial.message, PLAIN));
}

/* One Authorization header each, of a request that is right otherwise. */
static void test_header_forms(void **state)
{
	static const struct {
		const char *value, *type, *part;
	} forms[] = {
		{ "AWS4-HMAC-SHA256", INCOMPLETE, "algorithm" },
		{ "AWS4-HMAC-SHA256 ,", INCOMPLETE, "unknown" },
		{ "AWS4-HMAC-SHA256," FORM, INCOMPLETE, "algorithm" },
		{ "AWS4-ECDSA-P256-SHA256 " FORM, INCOMPLETE, "algorithm" },
		{ "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=" PLAIN, INCOMPLETE, "'Credential'" },
		{ "AWS4-HMAC-SHA256 Credential=" SCOPE ", Signature=" PLAIN, INCOMPLETE, "'SignedHeaders'" },
		{ "AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host", INCOMPLETE, "'Signature'" },
		{ "AWS4-HMAC-SHA256 " FORM ", Signature=" PLAIN, INCOMPLETE, "twice" },
		{ "AWS4-HMAC-SHA256 " FORM ", More=1", INCOMPLETE, "unknown" },
		{ "AWS4-HMAC-SHA256 " FORM "0", INCOMPLETE, "64" },
		{ "AWS4-HMAC-SHA256 Credential=" SCOPE
		  ", SignedHeaders=host;x-amz-date, Signature=5FA00FA31553B73EBF1942676E86291"
		  "E8372FF2A2260956D9B8AAE1D763FBF31",
		  INCOMPLETE, "64" },
	};
	static const char *const good[] = {
		"AWS4-HMAC-SHA256 " FORM,
		"AWS4-HMAC-SHA256 Credential=" SCOPE ",SignedHeaders=host;x-amz-date,Signature=" PLAIN,
		"AWS4-HMAC-SHA256\tSignature=" PLAIN " , SignedHeaders=host;x-amz-date ,  Credential=" SCOPE,
	};
	struct wc_auth_denial denial;
	struct wc_sigv4_claim claim;
	struct fixture fixture;

	(void)state;
	fixture_request(&fixture, "GET", "/", "", plain_headers);
	fixture.request.now_s = MOMENT;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		fixture_header(&fixture, "Authorization", forms[i].value);
		expect_denied(&fixture, forms[i].type, forms[i].part);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		fixture_header(&fixture, "Authorization", good[i]);
		assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
		assert_true(signature_is_right(&fixture.request, &claim));
	}
	fixture.headers[fixture.request.header_count++] =
		(struct wc_auth_header){ slice("authorization"), slice(good[0]) };
	expect_denied(&fixture, INCOMPLETE, "more than one");
}

static void test_credentials(void **state)
{
	static const struct {
		const char *credential, *type, *part;
	} forms[] = {
		{ "AKIDEXAMPLE/20150830/us-east-1/aws4_request", INCOMPLETE, "5 slash" },
		{ "AKIDEXAMPLE/20150830/us-east-1/service/more/aws4_request", INCOMPLETE, "5 slash" },
		{ "AKIDEXAMPLE/20150830/us-east-1/service/aws5_request", INCOMPLETE, "5 slash" },
		{ "/20150830/us-east-1/service/aws4_request", INCOMPLETE, "5 slash" },
		{ "A B/20150830/us-east-1/service/aws4_request", INCOMPLETE, "5 slash" },
		{ "AKIDEXAMPLE/20150830/us-east-1/lambda/aws4_request", INVALID, "service: 'service'" },
		{ "AKIDEXAMPLE/20150829/us-east-1/service/aws4_request", INVALID, "'20150829' != '20150830'" },
		{ "AKIDEXAMPLE/2015083/us-east-1/service/aws4_request", INVALID, "'2015083' != '20150830'" },
	};
	struct wc_sigv4_options elsewhere = service;
	struct wc_auth_denial denial;
	struct wc_sigv4_claim claim;
	struct fixture fixture;
	char credential[WC_SIGV4_CREDENTIAL_MAX + 1];

	(void)state;
	fixture_request(&fixture, "GET", "/", "", plain_headers);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		authorize(&fixture, forms[i].credential, "host;x-amz-date", PLAIN);
		expect_denied(&fixture, forms[i].type, forms[i].part);
	}
	/* At the limit, and one more. */
	for (size_t length = WC_SIGV4_CREDENTIAL_MAX - 1; length <= WC_SIGV4_CREDENTIAL_MAX; length++) {
		memset(credential, 'k', length);
		memcpy(credential + length - strlen(SCOPE), SCOPE, strlen(SCOPE) + 1);
		authorize(&fixture, credential, "host;x-amz-date", PLAIN);
		if (length < WC_SIGV4_CREDENTIAL_MAX)
			assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
		else
			expect_denied(&fixture, INCOMPLETE, "too long");
	}
	elsewhere.region = "eu-west-1";
	authorize(&fixture, SCOPE, "host;x-amz-date", PLAIN);
	assert_false(wc_sigv4_parse(&fixture.request, &elsewhere, &claim, &denial));
	assert_string_equal(denial.message, "Credential should be scoped to a valid region, not 'us-east-1'.");
	elsewhere.region = "us-east-1";
	assert_true(wc_sigv4_parse(&fixture.request, &elsewhere, &claim, &denial));
}

static void test_signed_headers(void **state)
{
	static const struct {
		const char *list, *type, *part;
	} forms[] = {
		{ "x-amz-date", INVALID, "'Host'" },
		{ "host", INVALID, "'X-Amz-Date' must be signed" },
		{ "host;x-amz-date;x-more", INVALID, "'x-more' is not in the request" },
		{ "x-amz-date;host", INCOMPLETE, "sorted" },
		{ "host;host;x-amz-date", INCOMPLETE, "sorted" },
		{ "host;x-amz-date;", INCOMPLETE, "sorted" },
		{ "host;;x-amz-date", INCOMPLETE, "sorted" },
		{ ";host;x-amz-date", INCOMPLETE, "sorted" },
		{ "Host;x-amz-date", INCOMPLETE, "sorted" },
		{ "host;x-amz-date;x y", INCOMPLETE, "sorted" },
	};
	struct fixture fixture;

	(void)state;
	fixture_request(&fixture, "GET", "/", "", plain_headers);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		authorize(&fixture, SCOPE, forms[i].list, PLAIN);
		expect_denied(&fixture, forms[i].type, forms[i].part);
	}
	authorize(&fixture, SCOPE, "host;x-amz-date", PLAIN);
	fixture_header(&fixture, "X-AMZ-Invocation-Type", "Event");
	expect_denied(&fixture, INVALID, "'X-AMZ-Invocation-Type' must be signed");
	fixture_drop(&fixture, "x-amz-invocation-type");
	fixture_drop(&fixture, "host");
	expect_denied(&fixture, INCOMPLETE, "one Host");
	fixture_header(&fixture, "Host", "one");
	fixture.headers[fixture.request.header_count++] = (struct wc_auth_header){ slice("host"), slice("two") };
	expect_denied(&fixture, INCOMPLETE, "one Host");
	fixture_request(&fixture, "GET", "/", "", plain_headers);
	authorize(&fixture, SCOPE, "host;x-amz-date;x-amz-security-token", PLAIN);
	fixture_header(&fixture, "X-Amz-Security-Token", "token");
	expect_denied(&fixture, "UnrecognizedClientException", "security token");
}

static void test_moments(void **state)
{
	static const struct {
		const char *header, *value, *list;
		bool good;
	} dates[] = {
		{ "X-Amz-Date", "20150830T123600Z", "host;x-amz-date", true },
		{ "X-Amz-Date", "20150830T123600", "host;x-amz-date", false },
		{ "X-Amz-Date", "20150830T12360 Z", "host;x-amz-date", false },
		{ "X-Amz-Date", "20150832T123600Z", "host;x-amz-date", false },
		{ "X-Amz-Date", "20150230T123600Z", "host;x-amz-date", false },
		{ "X-Amz-Date", "20150830T243600Z", "host;x-amz-date", false },
		{ "X-Amz-Date", "Sun, 30 Aug 2015 12:36:00 GMT", "host;x-amz-date", false },
		{ "X-Amz-Date", "", "host;x-amz-date", false },
		{ "Date", "20150830T123600Z", "date;host", true },
		{ "Date", "Sun, 30 Aug 2015 12:36:00 GMT", "date;host", true },
		{ "Date", "Sun, 30 Aug 2015 12:36:00 GMT", "host", false },
		{ "Date", "Sun, 30 Aug 2015 12:36:00 GMT more", "date;host", false },
		{ "Date", "30 Aug 2015 12:36:00", "date;host", false },
	};
	struct wc_auth_denial denial;
	struct wc_sigv4_claim claim;
	struct fixture fixture;

	(void)state;
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		fixture_request(&fixture, "GET", "/", "", (const char *const[]){ plain_headers[0], NULL });
		fixture_header(&fixture, dates[i].header, dates[i].value);
		authorize(&fixture, SCOPE, dates[i].list, PLAIN);
		if (wc_sigv4_parse(&fixture.request, &service, &claim, &denial) != dates[i].good)
			fail_msg("%s %s", dates[i].value, denial.message);
		if (dates[i].good)
			assert_string_equal(claim.stamp, "20150830T123600Z");
	}
	fixture_request(&fixture, "GET", "/", "", plain_headers);
	authorize(&fixture, SCOPE, "host;x-amz-date", PLAIN);
	for (int step = -1; step <= 1; step += 2) {
		fixture.request.now_s = MOMENT + step * WC_SIGV4_SKEW_S;
		assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
		fixture.request.now_s += step;
		expect_denied(
			&fixture, INVALID,
			step > 0 ? "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z "
				   "(20150830T124101Z - 5 min.)" :
				   "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z "
				   "(20150830T123059Z + 5 min.)");
	}
	fixture.request.now_s = INT64_MAX / 2;
	expect_denied(&fixture, INVALID, "expired");
}

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void test_payloads(void **state)
{
	struct wc_sigv4_options lax = service;
	struct wc_auth_denial denial;
	struct wc_sigv4_claim claim;
	struct fixture fixture;

	(void)state;
	lax.unsigned_payload = true;
	fixture_request(&fixture, "POST", "/", "abc", plain_headers);
	authorize(&fixture, SCOPE, "host;x-amz-date", PLAIN);
	assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
	assert_string_equal(claim.payload, OF_ABC);
	fixture.request.body = WC_AUTH_BODY_PENDING;
	assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
	assert_true(claim.body_first && !claim.body_due);
	fixture.request.body = WC_AUTH_BODY_SHA256;
	assert_true(wc_unhex(fixture.request.sha256, OF_ABC, 64));
	assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
	assert_string_equal(claim.payload, OF_ABC);

	authorize(&fixture, SCOPE, "host;x-amz-content-sha256;x-amz-date", PLAIN);
	fixture_header(&fixture, "x-amz-content-sha256", OF_ABC);
	assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
	assert_true(!claim.body_first && !claim.body_due);
	fixture.request.body = WC_AUTH_BODY_PENDING;
	assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
	assert_true(!claim.body_first && claim.body_due);
	assert_string_equal(claim.payload, OF_ABC);
	fixture.request.body = WC_AUTH_BODY_BYTES;
	fixture_header(&fixture, "x-amz-content-sha256", EMPTY);
	expect_denied(&fixture, INVALID, "not the SHA-256 of the body");
	fixture_header(&fixture, "x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
	expect_denied(&fixture, INVALID, "in chunks");
	fixture.headers[fixture.request.header_count++] =
		(struct wc_auth_header){ slice("x-amz-content-sha256"), slice(OF_ABC) };
	expect_denied(&fixture, INCOMPLETE, "more than once");
	fixture.request.header_count--;

	/* Only by option, and only where nobody else can change the body. */
	fixture_header(&fixture, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
	expect_denied(&fixture, INVALID, "UNSIGNED-PAYLOAD");
	assert_false(wc_sigv4_parse(&fixture.request, &lax, &claim, &denial));
	fixture.request.private = true;
	expect_denied(&fixture, INVALID, "UNSIGNED-PAYLOAD");
	assert_true(wc_sigv4_parse(&fixture.request, &lax, &claim, &denial));
	assert_string_equal(claim.payload, "UNSIGNED-PAYLOAD");
}

#define PRESIGNED                                                                                                       \
	"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request" \
	"&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host"
#define SIGNED "&X-Amz-Signature=" PLAIN

static void test_presigned(void **state)
{
	static const struct {
		const char *query, *part;
	} forms[] = {
		{ PRESIGNED "&X-Amz-Expires=60", "'X-Amz-Signature'" },
		{ PRESIGNED SIGNED, "'X-Amz-Expires'" },
		{ PRESIGNED SIGNED "&X-Amz-Expires=0", "1 to 3600" },
		{ PRESIGNED SIGNED "&X-Amz-Expires=3601", "1 to 3600" },
		{ PRESIGNED SIGNED "&X-Amz-Expires=-1", "1 to 3600" },
		{ PRESIGNED SIGNED "&X-Amz-Expires=60x", "1 to 3600" },
		{ PRESIGNED SIGNED "&X-Amz-Expires=12345678", "'X-Amz-Expires'" },
		{ PRESIGNED SIGNED "&X-Amz-Expires=60&X-Amz-Expires=60", "'X-Amz-Expires'" },
		{ PRESIGNED SIGNED "&X-Amz-Expires=60&x-amz-%65xpires=60", "'X-Amz-Expires'" },
		{ PRESIGNED "0&X-Amz-Expires=60" SIGNED "0", "'X-Amz-Signature'" },
		{ PRESIGNED SIGNED "&X-Amz-Expires=60&X-Amz-Signature=" PLAIN, "'X-Amz-Signature'" },
		{ "X-Amz-Algorithm=AWS4-HMAC-SHA256", "'X-Amz-Credential'" },
	};
	struct wc_sigv4_options none = service;
	struct wc_auth_denial denial;
	struct wc_sigv4_claim claim;
	struct fixture fixture;

	(void)state;
	fixture_request(&fixture, "GET", "/", "", (const char *const[]){ plain_headers[0], NULL });
	fixture.request.now_s = MOMENT;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		fixture.request.query = slice(forms[i].query);
		assert_true(wc_sigv4_is_present(&fixture.request));
		expect_denied(&fixture, INCOMPLETE, forms[i].part);
	}
	fixture.request.query = slice(PRESIGNED SIGNED "&X-Amz-Expires=60");
	assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
	assert_true(claim.presigned && claim.expires_s == 60);
	assert_string_equal(claim.key_id, "AKIDEXAMPLE");
	fixture.request.now_s = MOMENT + 60;
	assert_true(wc_sigv4_parse(&fixture.request, &service, &claim, &denial));
	fixture.request.now_s = MOMENT + 61;
	expect_denied(&fixture, INVALID, "expired");
	fixture.request.now_s = MOMENT - WC_SIGV4_SKEW_S - 1;
	expect_denied(&fixture, INVALID, "not yet current");
	fixture.request.now_s = MOMENT;
	none.presign_max_s = 0;
	assert_false(wc_sigv4_parse(&fixture.request, &none, &claim, &denial));
	assert_string_equal(denial.message, "Presigned requests are not taken here.");
	authorize(&fixture, SCOPE, "host", PLAIN);
	expect_denied(&fixture, INCOMPLETE, "more than one");
	fixture_drop(&fixture, "authorization");
	fixture_header(&fixture, "X-Amz-Date", "20150830T123600Z");
	expect_denied(&fixture, INCOMPLETE, "in the query and in the headers");
	fixture_drop(&fixture, "x-amz-date");
	fixture.request.query = slice(PRESIGNED SIGNED "&X-Amz-Expires=60&X-Amz-Security-Token=x");
	expect_denied(&fixture, "UnrecognizedClientException", "security token");
}

static void test_queries(void **state)
{
	static char many[WC_AUTH_PARAMETERS_MAX * 4 + 16];
	const struct wc_canonical what = { "", EMPTY };
	struct fixture fixture;
	char *text, value[8];
	size_t length, at = 0;

	(void)state;
	fixture_request(&fixture, "GET", "/?a=%4", "", (const char *const[]){ NULL });
	assert_int_equal(wc_canonical_request(&fixture.request, &what, &text, &length), -EINVAL);
	fixture.request.query = slice("a=%zz");
	assert_int_equal(wc_canonical_request(&fixture.request, &what, &text, &length), -EINVAL);
	for (int i = 0; i <= WC_AUTH_PARAMETERS_MAX; i++) {
		at += (size_t)snprintf(many + at, sizeof(many) - at, "&a=b");
		fixture.request.query = slice(many);
		if (i < WC_AUTH_PARAMETERS_MAX) {
			assert_int_equal(wc_canonical_request(&fixture.request, &what, &text, &length), 0);
			free(text);
		}
	}
	assert_int_equal(wc_canonical_request(&fixture.request, &what, &text, &length), -E2BIG);
	assert_int_equal(wc_canonical_parameter(slice("b=1&A=2%2f&a=3"), "a", value, sizeof(value)), 2);
	assert_string_equal(value, "2/");
	assert_int_equal(wc_canonical_parameter(slice("a=12345678"), "a", value, sizeof(value)), -EINVAL);
	assert_int_equal(wc_canonical_parameter(slice("a=%00"), "a", value, sizeof(value)), -EINVAL);
	assert_int_equal(wc_canonical_parameter(slice("ab=1"), "a", value, sizeof(value)), 0);
}

static void test_plain_paths(void **state)
{
	static const char *const plain[] = { "/", "/a", "/a/", "/a/b", "/...", "/a.", "/.a", "/%2e%2e/a" };
	static const char *const other[] = { "", "a", "//", "/a//b", "/.", "/a/./b", "/a/..", "/../a", "/..", "a/" };
	char longest[WC_AUTH_PATH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		assert_true(wc_canonical_path_is_plain(slice(plain[i])));
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		assert_false(wc_canonical_path_is_plain(slice(other[i])));
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	assert_true(wc_canonical_path_is_plain((struct wc_slice){ longest, WC_AUTH_PATH_MAX }));
	assert_false(wc_canonical_path_is_plain((struct wc_slice){ longest, WC_AUTH_PATH_MAX + 1 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suite),	       cmocka_unit_test(test_texts),
		cmocka_unit_test(test_header_forms),   cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_signed_headers), cmocka_unit_test(test_moments),
		cmocka_unit_test(test_payloads),       cmocka_unit_test(test_presigned),
		cmocka_unit_test(test_queries),	       cmocka_unit_test(test_plain_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
