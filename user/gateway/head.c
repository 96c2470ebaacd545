// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* head.c - see head.h. The rules are those of RFC 9112, without what it lets a recipient tolerate. */
#include "user/gateway/head.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct seen {
	unsigned hosts, lengths, encodings;
};

static int refuse(struct wc_head_fault *fault, unsigned status, const char *text)
{
	fault->status = status;
	fault->text = text;
	return -EBADMSG;
}

static bool is_token(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' ||
	       (c && strchr("!#$%&'*+^_`|~", c));
}

static bool is_name(const char *name, size_t length, const char *wanted)
{
	return length == strlen(wanted) && !strncasecmp(name, wanted, length);
}

static int check_request_line(const char *line, size_t length, bool *ret_old, struct wc_head_fault *fault)
{
	const char *end = line + length, *space = memchr(line, ' ', length), *target, *version;

	if (!space || space == line || (size_t)(space - line) > WC_HEAD_METHOD_MAX)
		return refuse(fault, 400, "the request line does not begin with a method and one blank");
	for (const char *c = line; c < space; c++)
		if (!is_token((unsigned char)*c))
			return refuse(fault, 400, "the method is not a token");
	target = space + 1;
	version = memchr(target, ' ', (size_t)(end - target));
	if (!version || version == target)
		return refuse(fault, 400, "the request line is not method, target and version with one blank between");
	if ((size_t)(version - target) > WC_HEAD_TARGET_MAX)
		return refuse(fault, 414, "the path and query are longer than 8192 bytes");
	for (const char *c = target; c < version; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
			return refuse(fault, 400, "the target has a byte that must be percent-encoded");
	version++;
	if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0)
		return refuse(fault, 400, "the request line does not end with HTTP/1.1");
	if (memcmp(version, "HTTP/1.1", 8) != 0 && memcmp(version, "HTTP/1.0", 8) != 0)
		return refuse(fault, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	*ret_old = version[7] == '0';
	return 0;
}

static int check_length(const char *value, size_t length, struct wc_head_fault *fault)
{
	if (!length || length > 18)
		return refuse(fault, 400, "Content-Length is not a number of 1 to 18 digits");
	for (size_t i = 0; i < length; i++)
		if (value[i] < '0' || value[i] > '9')
			return refuse(fault, 400, "Content-Length is not a decimal number");
	return 0;
}

static int check_field(const char *line, size_t length, struct seen *seen, struct wc_head_fault *fault)
{
	const char *end = line + length, *colon = memchr(line, ':', length), *value;
	size_t name_length;

	if (*line == ' ' || *line == '\t')
		return refuse(fault, 400, "a header field is continued on a second line");
	if (!colon || colon == line)
		return refuse(fault, 400, "a line of the header is no field");
	name_length = (size_t)(colon - line);
	for (const char *c = line; c < colon; c++)
		if (!is_token((unsigned char)*c))
			return refuse(fault, 400, "the name of a header field is not a token");
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	for (const char *c = value; c < end; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
			return refuse(fault, 400, "a header field has a control character");
	if (is_name(line, name_length, "content-length")) {
		if (seen->lengths++)
			return refuse(fault, 400, "there are two Content-Length fields");
		return check_length(value, (size_t)(end - value), fault);
	}
	if (is_name(line, name_length, "transfer-encoding")) {
		if (seen->encodings++ || !is_name(value, (size_t)(end - value), "chunked"))
			return refuse(fault, 400, "the only Transfer-Encoding taken is chunked, once");
	} else if (is_name(line, name_length, "host")) {
		seen->hosts++;
		for (const char *c = value; c < end; c++)
			if (!is_token((unsigned char)*c) && *c != ':' && *c != '[' && *c != ']')
				return refuse(fault, 400, "Host is not a name or an address with an optional port");
	}
	return 0;
}

/* The line that begins at `line`, without its CR LF; NULL when it is not ended within `end` by CR LF. */
static const char *line_end(const char *line, const char *end)
{
	const char *newline = memchr(line, '\n', (size_t)(end - line));

	return newline && newline > line && newline[-1] == '\r' ? newline - 1 : NULL;
}

int wc_head_check(const char *bytes, size_t length, size_t *ret_length, struct wc_head_fault *ret_fault)
{
	const char *end = bytes + (length < WC_HEAD_MAX ? length : WC_HEAD_MAX), *line = bytes, *stop;
	struct seen seen = { 0 };
	bool old = false;
	int ret;

	if (length >= 2 && !memcmp(line, "\r\n", 2)) /* RFC 9112, 2.2: one empty line before a request is ignored */
		line += 2;
	for (bool first = true;; first = false) {
		stop = line_end(line, end);
		if (!stop && !memchr(line, '\n', (size_t)(end - line)) && length >= WC_HEAD_MAX)
			return refuse(ret_fault, 431, "the header is larger than 32768 bytes");
		if (!stop)
			return refuse(ret_fault, 400, "a line of the header does not end with CR LF");
		if (stop == line)
			break;
		if (memchr(line, '\r', (size_t)(stop - line)) || memchr(line, 0, (size_t)(stop - line)))
			return refuse(ret_fault, 400, "a line of the header has a CR or NUL inside");
		ret = first ? check_request_line(line, (size_t)(stop - line), &old, ret_fault) :
			      check_field(line, (size_t)(stop - line), &seen, ret_fault);
		if (ret)
			return ret;
		line = stop + 2;
	}
	if (line == bytes || (line == bytes + 2 && *bytes == '\r'))
		return refuse(ret_fault, 400, "there is no request line");
	if (seen.hosts > 1 || (!seen.hosts && !old))
		return refuse(ret_fault, 400, "there must be exactly one Host");
	if (seen.encodings && (seen.lengths || old))
		return refuse(ret_fault, 400, "Transfer-Encoding beside Content-Length, or in HTTP/1.0");
	*ret_length = (size_t)(stop + 2 - bytes);
	return 0;
}
