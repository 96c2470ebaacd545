/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* auth_sigv4.c - what a signature has to be, and whether a claim is one that can be checked at all; see auth_sigv4.h. */
#include "user/gateway/auth_sigv4_internal.h"

#include "user/gateway/auth_canonical.h"

#include <errno.h>
#include <nettle/hmac.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define SECRET_MAX 64

/* --- which headers are signed --- */

static bool is_signed(const struct wc_sigv4_claim *claim, struct wc_slice name)
{
	for (const char *at = claim->signed_headers; *at;) {
		size_t length = strcspn(at, ";");

		if (length == name.length && !strncasecmp(at, name.at, length))
			return true;
		at += length + !!at[length];
	}
	return false;
}

static bool has_header(const struct wc_auth_request *request, struct wc_slice name)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (request->headers[i].name.length == name.length &&
		    !strncasecmp(request->headers[i].name.at, name.at, name.length))
			return true;
	return false;
}

/* The list is lower case, sorted, each name once and in the request. */
static bool check_list(const struct wc_auth_request *request, const struct wc_sigv4_claim *claim,
		       struct wc_auth_denial *denial)
{
	struct wc_slice last = { "", 0 };

	for (const char *at = claim->signed_headers; *at;) {
		struct wc_slice name = { at, strcspn(at, ";") };
		size_t common = name.length < last.length ? name.length : last.length;
		int order = memcmp(last.at, name.at, common) ?: (last.length < name.length ? -1 : 1);

		if (strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~") < name.length || order >= 0 ||
		    (at[name.length] && !at[name.length + 1]))
			return wc_sigv4_incomplete(denial,
						   "SignedHeaders must be names in lower case, sorted, each once, "
						   "with ';' between them.");
		if (!has_header(request, name))
			return wc_sigv4_invalid(denial, "The signed header '%s' is not in the request.",
						wc_auth_quote(name).text);
		last = name;
		at += name.length + !!at[name.length];
	}
	return true;
}

static bool check_headers(const struct wc_auth_request *request, const struct wc_sigv4_claim *claim,
			  struct wc_auth_denial *denial)
{
	struct wc_slice host;

	if (wc_auth_header_find(request, "host", &host) != 1)
		return wc_sigv4_incomplete(denial, "A signed request has exactly one Host header.");
	if (!is_signed(claim, (struct wc_slice){ "host", 4 }))
		return wc_sigv4_invalid(denial,
					"'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
	if (claim->by_date_header && !is_signed(claim, (struct wc_slice){ "date", 4 }))
		return wc_sigv4_invalid(denial, "The header 'date' must be signed.");
	for (size_t i = 0; i < request->header_count; i++) {
		struct wc_slice name = request->headers[i].name;

		if (name.length > 6 && !strncasecmp(name.at, "x-amz-", 6) && !is_signed(claim, name))
			return wc_sigv4_invalid(denial, "The header '%s' must be signed.", wc_auth_quote(name).text);
	}
	return check_list(request, claim, denial);
}

/* --- the moment --- */

static void write_stamp(char out[WC_SIGV4_STAMP_SIZE], int64_t seconds)
{
	time_t when = (time_t)seconds;
	struct tm utc;

	if (!gmtime_r(&when, &utc) || strftime(out, WC_SIGV4_STAMP_SIZE, "%Y%m%dT%H%M%SZ", &utc) != 16)
		memcpy(out, "00000000T000000Z", WC_SIGV4_STAMP_SIZE);
}

/* The words of AWS: its SDKs set their clock by the Date of such an answer, and try again. */
static bool check_moment(const struct wc_auth_request *request, const struct wc_sigv4_claim *claim,
			 struct wc_auth_denial *denial)
{
	int64_t until_s = claim->signed_s + (claim->presigned ? claim->expires_s : WC_SIGV4_SKEW_S);
	char now[WC_SIGV4_STAMP_SIZE], edge[WC_SIGV4_STAMP_SIZE];

	write_stamp(now, request->now_s);
	if (request->now_s > until_s && claim->presigned)
		return wc_sigv4_invalid(denial, "Signature expired: %s with X-Amz-Expires=%u is over at %s.",
					claim->stamp, claim->expires_s, now);
	if (request->now_s > until_s) {
		write_stamp(edge, request->now_s - WC_SIGV4_SKEW_S);
		return wc_sigv4_invalid(denial, "Signature expired: %s is now earlier than %s (%s - %d min.)",
					claim->stamp, edge, now, WC_SIGV4_SKEW_S / 60);
	}
	if (request->now_s < claim->signed_s - WC_SIGV4_SKEW_S) {
		write_stamp(edge, request->now_s + WC_SIGV4_SKEW_S);
		return wc_sigv4_invalid(denial, "Signature not yet current: %s is still later than %s (%s + %d min.)",
					claim->stamp, edge, now, WC_SIGV4_SKEW_S / 60);
	}
	return true;
}

/* --- what the credential may be for --- */

static bool check_scope(const struct wc_sigv4_claim *claim, const struct wc_sigv4_options *options,
			struct wc_auth_denial *denial)
{
	const char *service = options->service ?: "lambda";
	struct wc_slice region = { claim->region, strlen(claim->region) }, date = { claim->date, strlen(claim->date) };

	if (strcmp(claim->service, service))
		return wc_sigv4_invalid(denial, "Credential should be scoped to correct service: '%s'.", service);
	if (options->region && strcmp(claim->region, options->region))
		return wc_sigv4_invalid(denial, "Credential should be scoped to a valid region, not '%s'.",
					wc_auth_quote(region).text);
	if (date.length != 8 || memcmp(date.at, claim->stamp, 8))
		return wc_sigv4_invalid(
			denial,
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
			"from HTTP: '%s' != '%.8s', from '%s'.",
			wc_auth_quote(date).text, claim->stamp, claim->stamp);
	return true;
}

/* --- what is signed for the body --- */

static void hash_body(const struct wc_auth_request *request, uint8_t out[WC_SHA256_SIZE])
{
	struct sha256_ctx hash;

	if (request->body == WC_AUTH_BODY_SHA256) {
		memcpy(out, request->sha256, WC_SHA256_SIZE);
		return;
	}
	sha256_init(&hash);
	if (request->bytes.length)
		sha256_update(&hash, request->bytes.length, (const uint8_t *)request->bytes.at);
	sha256_digest(&hash, WC_SHA256_SIZE, out);
}

static bool settle_payload(const struct wc_auth_request *request, const struct wc_sigv4_options *options,
			   struct wc_sigv4_claim *claim, struct wc_auth_denial *denial)
{
	struct wc_slice given = { "", 0 };
	char parameter[2 * WC_SHA256_SIZE + 1];
	uint8_t said[WC_SHA256_SIZE], is[WC_SHA256_SIZE];
	size_t headers = wc_auth_header_find(request, "x-amz-content-sha256", &given);
	int parameters = 0;

	if (claim->presigned)
		parameters =
			wc_canonical_parameter(request->query, "X-Amz-Content-Sha256", parameter, sizeof(parameter));
	if (parameters < 0 || headers + (size_t)parameters > 1)
		return wc_sigv4_incomplete(denial, "x-amz-content-sha256 is given more than once, or is not readable.");
	if (parameters)
		given = (struct wc_slice){ parameter, strlen(parameter) };
	if (wc_slice_equal(given, "UNSIGNED-PAYLOAD")) {
		if (!options->unsigned_payload || !request->private)
			return wc_sigv4_invalid(denial, "UNSIGNED-PAYLOAD is not taken here: sign the body.");
		snprintf(claim->payload, sizeof(claim->payload), "UNSIGNED-PAYLOAD");
		return true;
	}
	if (given.length && !wc_unhex(said, given.at, given.length))
		return wc_sigv4_invalid(denial,
					"x-amz-content-sha256 must be the SHA-256 of the body, 64 digits in lower "
					"case; bodies signed in chunks are not taken.");
	if (given.length)
		wc_hex(claim->payload, said);
	claim->body_due = given.length && request->body == WC_AUTH_BODY_PENDING;
	claim->body_first = !given.length && request->body == WC_AUTH_BODY_PENDING;
	if (request->body == WC_AUTH_BODY_PENDING)
		return true;
	hash_body(request, is);
	if (given.length && memcmp(said, is, sizeof(is)))
		return wc_sigv4_invalid(denial, "x-amz-content-sha256 is not the SHA-256 of the body that came.");
	wc_hex(claim->payload, is);
	return true;
}

/* No key here has a session token, so whoever sends one means other credentials. */
static bool check_token(const struct wc_auth_request *request, struct wc_auth_denial *denial)
{
	struct wc_slice value;
	char text[2];

	if (!wc_auth_header_find(request, "x-amz-security-token", &value) &&
	    !wc_canonical_parameter(request->query, "X-Amz-Security-Token", text, sizeof(text)))
		return true;
	wc_auth_deny(denial, 403, "UnrecognizedClientException",
		     "The security token included in the request is invalid.");
	return false;
}

bool wc_sigv4_parse(const struct wc_auth_request *request, const struct wc_sigv4_options *options,
		    struct wc_sigv4_claim *ret_claim, struct wc_auth_denial *denial)
{
	*ret_claim = (struct wc_sigv4_claim){ 0 };
	return wc_sigv4_take_apart(request, options, ret_claim, denial) && check_headers(request, ret_claim, denial) &&
	       check_scope(ret_claim, options, denial) && check_moment(request, ret_claim, denial) &&
	       check_token(request, denial) && settle_payload(request, options, ret_claim, denial);
}

/* --- the signature --- */

int wc_sigv4_text(const struct wc_auth_request *request, const struct wc_sigv4_claim *claim,
		  struct wc_sigv4_text *ret_text)
{
	const struct wc_canonical what = { claim->signed_headers, claim->payload };
	char digits[2 * WC_SHA256_SIZE + 1], *canonical;
	uint8_t digest[WC_SHA256_SIZE];
	struct sha256_ctx hash;
	size_t length;
	int error = wc_canonical_request(request, &what, &canonical, &length);

	if (error)
		return error;
	sha256_init(&hash);
	sha256_update(&hash, length, (const uint8_t *)canonical);
	sha256_digest(&hash, sizeof(digest), digest);
	free(canonical);
	wc_hex(digits, digest);
	ret_text->claim = claim;
	ret_text->length = (size_t)snprintf(ret_text->string, sizeof(ret_text->string),
					    "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", claim->stamp,
					    claim->date, claim->region, claim->service, digits);
	return 0;
}

static void hmac(uint8_t out[WC_SHA256_SIZE], const void *key, size_t key_length, const void *text, size_t length)
{
	struct hmac_sha256_ctx context;

	hmac_sha256_set_key(&context, key_length, key);
	hmac_sha256_update(&context, length, text);
	hmac_sha256_digest(&context, WC_SHA256_SIZE, out);
	explicit_bzero(&context, sizeof(context));
}

void wc_sigv4_signature(const struct wc_sigv4_text *text, const char *secret, size_t length,
			uint8_t out[WC_SHA256_SIZE])
{
	const struct wc_sigv4_claim *claim = text->claim;
	const char *const steps[] = { claim->date, claim->region, claim->service, "aws4_request" };
	uint8_t first[4 + SECRET_MAX] = "AWS4", key[WC_SHA256_SIZE];

	length = length < SECRET_MAX ? length : SECRET_MAX;
	memcpy(first + 4, secret, length);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		hmac(key, i ? key : first, i ? sizeof(key) : 4 + length, steps[i], strlen(steps[i]));
	hmac(out, key, sizeof(key), text->string, text->length);
	explicit_bzero(first, sizeof(first));
	explicit_bzero(key, sizeof(key));
}
