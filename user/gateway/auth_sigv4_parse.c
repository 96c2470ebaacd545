/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* auth_sigv4_parse.c - reads a signature's claim out of the Authorization header or the query; see auth_sigv4.h. */
#include "user/gateway/auth_sigv4_internal.h"

#include "user/gateway/auth_canonical.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ALGORITHM "AWS4-HMAC-SHA256"

/* Those of the query that make a request a presigned one. */
static const char *const presign_names[] = { "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature",
					     "X-Amz-SignedHeaders", "X-Amz-Expires" };

static bool query_has_signature(struct wc_slice query)
{
	char value[2];

	for (size_t i = 0; query.length && i < sizeof(presign_names) / sizeof(presign_names[0]); i++)
		if (wc_canonical_parameter(query, presign_names[i], value, sizeof(value)))
			return true;
	return false;
}

bool wc_sigv4_is_present(const struct wc_auth_request *request)
{
	struct wc_slice value;

	return (wc_auth_header_find(request, "authorization", &value) && value.length >= 4 &&
		!strncasecmp(value.at, "AWS4", 4)) ||
	       query_has_signature(request->query);
}

/* --- the moment --- */

bool wc_sigv4_stamp_parse(const char *text, size_t length, int64_t *ret_s)
{
	static const char pattern[] = "dddddddd"
				      "Tdddddd"
				      "Z";
	int part[6] = { 0 };
	static const size_t begin[] = { 0, 4, 6, 9, 11, 13 }, digits[] = { 4, 2, 2, 2, 2, 2 };
	struct tm utc = { 0 }, again;
	time_t when;

	if (length != sizeof(pattern) - 1)
		return false;
	for (size_t i = 0; i < length; i++)
		if (pattern[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != pattern[i])
			return false;
	for (size_t i = 0; i < 6; i++)
		for (size_t j = 0; j < digits[i]; j++)
			part[i] = 10 * part[i] + (text[begin[i] + j] - '0');
	utc.tm_year = part[0] - 1900;
	utc.tm_mon = part[1] - 1;
	utc.tm_mday = part[2];
	utc.tm_hour = part[3];
	utc.tm_min = part[4];
	utc.tm_sec = part[5];
	again = utc;
	when = timegm(&again);
	/* The 31st of June is the 1st of July by then. */
	if (again.tm_mon != utc.tm_mon || again.tm_mday != utc.tm_mday || again.tm_hour != utc.tm_hour ||
	    again.tm_min != utc.tm_min || again.tm_sec != utc.tm_sec)
		return false;
	*ret_s = when;
	return true;
}

/* "Sun, 30 Aug 2015 12:36:00 GMT" */
static bool http_date_parse(struct wc_slice value, char out[WC_SIGV4_STAMP_SIZE])
{
	char text[40];
	struct tm utc = { 0 };
	const char *end;

	if (value.length >= sizeof(text) || memchr(value.at, 0, value.length))
		return false;
	memcpy(text, value.at, value.length);
	text[value.length] = 0;
	end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
	return end && !*end && strftime(out, WC_SIGV4_STAMP_SIZE, "%Y%m%dT%H%M%SZ", &utc) == WC_SIGV4_STAMP_SIZE - 1;
}

/* X-Amz-Date, or else Date. */
static bool take_date_header(const struct wc_auth_request *request, struct wc_sigv4_claim *claim,
			     struct wc_auth_denial *denial)
{
	struct wc_slice value;
	size_t count = wc_auth_header_find(request, "x-amz-date", &value);
	bool plain = !count;

	if (plain)
		count = wc_auth_header_find(request, "date", &value);
	if (count != 1)
		return wc_sigv4_incomplete(denial,
					   "Authorization header requires existence of either a 'X-Amz-Date' or a "
					   "'Date' header, once.");
	if (value.length == WC_SIGV4_STAMP_SIZE - 1)
		memcpy(claim->stamp, value.at, value.length);
	if (!wc_sigv4_stamp_parse(claim->stamp, strlen(claim->stamp), &claim->signed_s) &&
	    !(plain && http_date_parse(value, claim->stamp) &&
	      wc_sigv4_stamp_parse(claim->stamp, strlen(claim->stamp), &claim->signed_s)))
		return wc_sigv4_incomplete(denial,
					   "Date must be in ISO-8601 'basic format'. Got '%s'. See "
					   "http://en.wikipedia.org/wiki/ISO_8601",
					   wc_auth_quote(value).text);
	claim->by_date_header = plain;
	return true;
}

/* --- the credential --- */

/* ID/20150830/us-east-1/lambda/aws4_request */
static bool cut_credential(struct wc_sigv4_claim *claim, struct wc_auth_denial *denial)
{
	char *at = claim->credential, *part[5] = { at };
	size_t parts = 1;

	for (; *at; at++) {
		if ((unsigned char)*at <= ' ' || *at >= 0x7f || (*at == '/' && parts == 5)) {
			parts = 0;
			break;
		}
		if (*at == '/') {
			*at = 0;
			part[parts++] = at + 1;
		}
	}
	for (size_t i = 0; i < parts && parts == 5; i++)
		if (!*part[i])
			parts = 0;
	if (parts != 5 || strcmp(part[4], "aws4_request"))
		return wc_sigv4_incomplete(denial, "Credential must have exactly 5 slash-delimited elements, e.g. "
						   "keyid/date/region/service/aws4_request.");
	claim->key_id = part[0];
	claim->date = part[1];
	claim->region = part[2];
	claim->service = part[3];
	return true;
}

/* --- the header --- */

static bool take_text(char *out, size_t size, struct wc_slice value)
{
	if (!value.length || value.length >= size || memchr(value.at, 0, value.length))
		return false;
	memcpy(out, value.at, value.length);
	out[value.length] = 0;
	return true;
}

static struct wc_slice next_field(struct wc_slice *rest)
{
	const char *comma = memchr(rest->at, ',', rest->length);
	size_t length = comma ? (size_t)(comma - rest->at) : rest->length, used = comma ? length + 1 : length;
	struct wc_slice field = wc_slice_trim((struct wc_slice){ rest->at, length });

	*rest = (struct wc_slice){ rest->at + used, rest->length - used };
	return field;
}

/* AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=... in any order, each once. */
static bool take_header(const struct wc_auth_request *request, struct wc_slice value, struct wc_sigv4_claim *claim,
			struct wc_auth_denial *denial)
{
	static const char *const names[] = { "Credential=", "SignedHeaders=", "Signature=" };
	size_t algorithm = strlen(ALGORITHM);
	struct wc_slice found[3] = { { 0 } };

	if (value.length <= algorithm || memcmp(value.at, ALGORITHM, algorithm) ||
	    (value.at[algorithm] != ' ' && value.at[algorithm] != '\t'))
		return wc_sigv4_incomplete(denial, "Unsupported algorithm: only " ALGORITHM " is taken.");
	value = (struct wc_slice){ value.at + algorithm, value.length - algorithm };
	while (value.length) {
		struct wc_slice field = next_field(&value);
		size_t i = 0;

		while (i < 3 && (field.length < strlen(names[i]) || memcmp(field.at, names[i], strlen(names[i]))))
			i++;
		if (i == 3 || found[i].at)
			return wc_sigv4_incomplete(denial,
						   "Authorization header has a parameter that is unknown, or is "
						   "given twice.");
		found[i] = (struct wc_slice){ field.at + strlen(names[i]), field.length - strlen(names[i]) };
	}
	for (size_t i = 0; i < 3; i++)
		if (!found[i].length)
			return wc_sigv4_incomplete(denial, "Authorization header requires '%.*s' parameter.",
						   (int)strlen(names[i]) - 1, names[i]);
	if (!take_text(claim->credential, sizeof(claim->credential), found[0]) ||
	    !take_text(claim->signed_headers, sizeof(claim->signed_headers), found[1]))
		return wc_sigv4_incomplete(denial,
					   "'Credential' or 'SignedHeaders' of the Authorization header is too long.");
	if (!wc_unhex(claim->signature, found[2].at, found[2].length))
		return wc_sigv4_incomplete(denial, "'Signature' must be 64 hexadecimal digits in lower case.");
	return cut_credential(claim, denial) && take_date_header(request, claim, denial);
}

/* --- the query --- */

static bool take_parameter(struct wc_slice query, const char *name, char *out, size_t size,
			   struct wc_auth_denial *denial)
{
	int count = wc_canonical_parameter(query, name, out, size);

	return count == 1 && *out ? true :
				    wc_sigv4_incomplete(denial,
							"AWS query-string parameters must include '%s', once, and "
							"not longer than %zu bytes.",
							name, size - 1);
}

static bool take_query(const struct wc_auth_request *request, const struct wc_sigv4_options *options,
		       struct wc_sigv4_claim *claim, struct wc_auth_denial *denial)
{
	char algorithm[32], expires[8], signature[2 * WC_SHA256_SIZE + 1], *end;
	struct wc_slice query = request->query, date;
	unsigned long seconds;

	if (!options->presign_max_s)
		return wc_sigv4_incomplete(denial, "Presigned requests are not taken here.");
	claim->presigned = true;
	if (!take_parameter(query, "X-Amz-Algorithm", algorithm, sizeof(algorithm), denial) ||
	    !take_parameter(query, "X-Amz-Credential", claim->credential, sizeof(claim->credential), denial) ||
	    !take_parameter(query, "X-Amz-Date", claim->stamp, sizeof(claim->stamp), denial) ||
	    !take_parameter(query, "X-Amz-Expires", expires, sizeof(expires), denial) ||
	    !take_parameter(query, "X-Amz-SignedHeaders", claim->signed_headers, sizeof(claim->signed_headers),
			    denial) ||
	    !take_parameter(query, "X-Amz-Signature", signature, sizeof(signature), denial))
		return false;
	if (strcmp(algorithm, ALGORITHM))
		return wc_sigv4_incomplete(denial, "Unsupported algorithm: only " ALGORITHM " is taken.");
	if (!wc_unhex(claim->signature, signature, strlen(signature)))
		return wc_sigv4_incomplete(denial, "X-Amz-Signature must be 64 hexadecimal digits in lower case.");
	if (!wc_sigv4_stamp_parse(claim->stamp, strlen(claim->stamp), &claim->signed_s))
		return wc_sigv4_incomplete(denial,
					   "X-Amz-Date must be in ISO-8601 'basic format', as 20150830T123600Z.");
	/* A date in the headers, too, would be one more opinion about the moment. */
	if (wc_auth_header_find(request, "x-amz-date", &date))
		return wc_sigv4_incomplete(denial, "X-Amz-Date is in the query and in the headers.");
	seconds = strtoul(expires, &end, 10);
	if (*expires < '0' || *expires > '9' || *end || !seconds || seconds > options->presign_max_s)
		return wc_sigv4_incomplete(denial, "X-Amz-Expires must be 1 to %u seconds.", options->presign_max_s);
	claim->expires_s = (uint32_t)seconds;
	return cut_credential(claim, denial);
}

bool wc_sigv4_take_apart(const struct wc_auth_request *request, const struct wc_sigv4_options *options,
			 struct wc_sigv4_claim *claim, struct wc_auth_denial *denial)
{
	struct wc_slice value = { "", 0 };
	size_t headers = wc_auth_header_find(request, "authorization", &value);
	bool query = query_has_signature(request->query);

	if (headers > 1 || (headers && query))
		return wc_sigv4_incomplete(denial, "There is more than one signature: one Authorization header, or the "
						   "parameters of the query.");
	return query ? take_query(request, options, claim, denial) : take_header(request, value, claim, denial);
}
