/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* auth_canonical.c - see auth_canonical.h. */
#include "user/gateway/auth_canonical.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A text of limited size. Whoever wrote more than that finds `full`, and nothing was written behind the end. */
struct text {
	char *at;
	size_t length, size;
	bool full;
};

/* A parameter of the query, encoded. */
struct parameter {
	struct wc_slice name, value;
};

static void put(struct text *text, const char *bytes, size_t length)
{
	if (length > text->size - text->length) {
		text->full = true;
		return;
	}
	if (length)
		memcpy(text->at + text->length, bytes, length);
	text->length += length;
}

static void put_char(struct text *text, char c)
{
	put(text, &c, 1);
}

static void put_encoded(struct text *text, unsigned char c, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	    c == '_' || c == '~' || (keep_slash && c == '/'))
		put_char(text, (char)c);
	else
		put(text, (char[]){ '%', digits[c >> 4], digits[c & 15] }, 3);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      -1;
}

/* The next byte of what is encoded, or -1. */
static int decode(const char *at, size_t left, size_t *ret_used)
{
	if (*at != '%') {
		*ret_used = 1;
		return (unsigned char)*at;
	}
	*ret_used = 3;
	return left < 3 || digit(at[1]) < 0 || digit(at[2]) < 0 ? -1 : digit(at[1]) << 4 | digit(at[2]);
}

/* --- the path --- */

static struct wc_slice next_segment(struct wc_slice *path)
{
	const char *slash = memchr(path->at, '/', path->length);
	size_t length = slash ? (size_t)(slash - path->at) : path->length, used = slash ? length + 1 : length;
	struct wc_slice segment = { path->at, length };

	*path = (struct wc_slice){ path->at + used, path->length - used };
	return segment;
}

/* Into `out`, which has room for the path and one more byte. */
static size_t normalise(struct wc_slice path, char *out)
{
	bool ends_in_slash = path.length && path.at[path.length - 1] == '/';
	size_t length = 1;

	out[0] = '/';
	while (path.length) {
		struct wc_slice segment = next_segment(&path);

		if (!segment.length || wc_slice_equal(segment, "."))
			continue;
		if (wc_slice_equal(segment, "..")) {
			while (length > 1 && out[--length - 1] != '/')
				;
			continue;
		}
		memcpy(out + length, segment.at, segment.length);
		length += segment.length;
		out[length++] = '/';
	}
	return length > 1 && !ends_in_slash ? length - 1 : length;
}

bool wc_canonical_path_is_plain(struct wc_slice path)
{
	char plain[WC_AUTH_PATH_MAX + 2];

	return path.length && path.length <= WC_AUTH_PATH_MAX && path.at[0] == '/' &&
	       normalise(path, plain) == path.length && !memcmp(plain, path.at, path.length);
}

static void put_path(struct text *text, struct wc_slice path)
{
	char plain[WC_AUTH_PATH_MAX + 2];
	size_t length = normalise(path, plain);

	for (size_t i = 0; i < length; i++)
		put_encoded(text, (unsigned char)plain[i], true);
}

/* --- the query --- */

static bool next_parameter(struct wc_slice *query, struct wc_slice *ret_name, struct wc_slice *ret_value)
{
	while (query->length) {
		const char *end = memchr(query->at, '&', query->length);
		size_t length = end ? (size_t)(end - query->at) : query->length, used = end ? length + 1 : length;
		const char *equals = memchr(query->at, '=', length);
		size_t name = equals ? (size_t)(equals - query->at) : length;

		*ret_name = (struct wc_slice){ query->at, name };
		*ret_value = equals ? (struct wc_slice){ equals + 1, length - name - 1 } :
				      (struct wc_slice){ query->at + length, 0 };
		*query = (struct wc_slice){ query->at + used, query->length - used };
		if (length)
			return true;
	}
	return false;
}

static int put_again(struct text *text, struct wc_slice raw, struct wc_slice *ret_encoded)
{
	size_t from = text->length, used;

	for (size_t i = 0; i < raw.length; i += used) {
		int c = decode(raw.at + i, raw.length - i, &used);

		if (c < 0)
			return -EINVAL;
		put_encoded(text, (unsigned char)c, false);
	}
	*ret_encoded = (struct wc_slice){ text->at + from, text->length - from };
	return 0;
}

static int compare_slices(struct wc_slice a, struct wc_slice b)
{
	int order = memcmp(a.at, b.at, a.length < b.length ? a.length : b.length);

	return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int compare_parameters(const void *a, const void *b)
{
	const struct parameter *one = a, *other = b;

	return compare_slices(one->name, other->name) ?: compare_slices(one->value, other->value);
}

static int put_query(struct text *text, struct wc_slice query)
{
	struct parameter parameters[WC_AUTH_PARAMETERS_MAX];
	struct wc_slice name, value;
	struct text encoded = { .size = 3 * query.length + 1 };
	size_t count = 0;
	int error = 0;

	if (!query.length)
		return 0;
	encoded.at = malloc(encoded.size);
	if (!encoded.at)
		return -ENOMEM;
	while (!error && next_parameter(&query, &name, &value)) {
		if (count == WC_AUTH_PARAMETERS_MAX) {
			error = -E2BIG;
			break;
		}
		error = put_again(&encoded, name, &parameters[count].name) ?:
				put_again(&encoded, value, &parameters[count].value);
		if (!error && !wc_slice_is_name(parameters[count].name, "X-Amz-Signature"))
			count++;
	}
	qsort(parameters, count, sizeof(parameters[0]), compare_parameters);
	for (size_t i = 0; !error && i < count; i++) {
		if (i)
			put_char(text, '&');
		put(text, parameters[i].name.at, parameters[i].name.length);
		put_char(text, '=');
		put(text, parameters[i].value.at, parameters[i].value.length);
	}
	free(encoded.at);
	return error;
}

int wc_canonical_parameter(struct wc_slice query, const char *name, char *out, size_t size)
{
	struct wc_slice raw_name, raw_value, encoded;
	char scratch[64];
	int count = 0;

	while (next_parameter(&query, &raw_name, &raw_value)) {
		struct text plain = { .at = scratch, .size = sizeof(scratch) };
		size_t length = 0, used;

		/* A name is compared as it will be signed: "X-Amz-%53ignature" is X-Amz-Signature. */
		if (put_again(&plain, raw_name, &encoded) || plain.full || !wc_slice_is_name(encoded, name))
			continue;
		if (count++)
			continue;
		for (size_t i = 0; i < raw_value.length; i += used) {
			int c = decode(raw_value.at + i, raw_value.length - i, &used);

			if (c <= 0 || length + 1 >= size)
				return -EINVAL;
			out[length++] = (char)c;
		}
		out[length] = 0;
	}
	return count;
}

/* --- headers --- */

static void put_value(struct text *text, struct wc_slice value)
{
	bool blank = false;

	value = wc_slice_trim(value);
	for (size_t i = 0; i < value.length; i++) {
		bool is_blank = value.at[i] == ' ' || value.at[i] == '\t';

		if (!is_blank)
			put_char(text, value.at[i]);
		else if (!blank)
			put_char(text, ' ');
		blank = is_blank;
	}
}

static void put_headers(struct text *text, const struct wc_auth_request *request, const char *names)
{
	while (*names) {
		size_t length = strcspn(names, ";"), count = 0;

		put(text, names, length);
		put_char(text, ':');
		for (size_t i = 0; i < request->header_count; i++) {
			const struct wc_auth_header *header = &request->headers[i];

			if (header->name.length != length || strncasecmp(header->name.at, names, length))
				continue;
			if (count++)
				put_char(text, ',');
			put_value(text, header->value);
		}
		put_char(text, '\n');
		names += length + !!names[length];
	}
}

/* --- all of it --- */

int wc_canonical_request(const struct wc_auth_request *request, const struct wc_canonical *what, char **ret_text,
			 size_t *ret_length)
{
	size_t names = strlen(what->signed_headers), payload = strlen(what->payload);
	struct text text = { .size = request->method.length + 3 * request->path.length + 3 * request->query.length +
				     2 * names + payload + 2 * WC_AUTH_PARAMETERS_MAX + 16 };
	int error;

	if (request->path.length > WC_AUTH_PATH_MAX)
		return -E2BIG;
	for (size_t i = 0; i < request->header_count; i++)
		text.size += request->headers[i].name.length + request->headers[i].value.length + 2;
	text.at = malloc(text.size);
	if (!text.at)
		return -ENOMEM;
	put(&text, request->method.at, request->method.length);
	put_char(&text, '\n');
	put_path(&text, request->path);
	put_char(&text, '\n');
	error = put_query(&text, request->query);
	put_char(&text, '\n');
	put_headers(&text, request, what->signed_headers);
	put_char(&text, '\n');
	put(&text, what->signed_headers, names);
	put_char(&text, '\n');
	put(&text, what->payload, payload);
	if (error || text.full) {
		free(text.at);
		return error ?: -E2BIG;
	}
	*ret_text = text.at;
	*ret_length = text.length;
	return 0;
}

void wc_hex(char out[2 * WC_SHA256_SIZE + 1], const uint8_t bytes[WC_SHA256_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < WC_SHA256_SIZE; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * WC_SHA256_SIZE] = 0;
}

bool wc_unhex(uint8_t out[WC_SHA256_SIZE], const char *text, size_t length)
{
	if (length != 2 * WC_SHA256_SIZE)
		return false;
	for (size_t i = 0; i < length; i++)
		if (digit(text[i]) < 0 || isupper((unsigned char)text[i]))
			return false;
	for (size_t i = 0; i < WC_SHA256_SIZE; i++)
		out[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
	return true;
}
