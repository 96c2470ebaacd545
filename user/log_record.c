/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* log_record.c - see log_record.h. Pure: no state, no files. The command is linked with it, too. */
#include "user/log_record.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const stream_names[WC_LOG_STREAM_COUNT] = { "out", "out+", "sys" };

void wc_log_stamp(char out[WC_LOG_STAMP_MAX])
{
	struct timespec now;
	struct tm utc;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	n = strftime(out, WC_LOG_STAMP_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(out + n, WC_LOG_STAMP_MAX - n, ".%03dZ", (int)(now.tv_nsec / 1000000) % 1000);
}

/* --- text --- */

/* The character that begins here: its length in UTF-8 and *ret_code, or 0 when there is none. */
static size_t character(const unsigned char *text, size_t length, uint32_t *ret_code)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t size = text[0] < 0x80 ? 1 : text[0] >> 5 == 6 ? 2 : text[0] >> 4 == 14 ? 3 : text[0] >> 3 == 30 ? 4 : 0;
	uint32_t code;

	if (!size || size > length)
		return 0;
	code = size == 1 ? text[0] : text[0] & (0x7fu >> size);
	for (size_t i = 1; i < size; i++) {
		if (text[i] >> 6 != 2)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < smallest[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	*ret_code = code;
	return size;
}

/* Does it stay in its place, on its line? Terminals act on C0 and C1, and some programs end lines at U+2028 and U+2029. */
static bool is_plain(uint32_t code)
{
	if (code < 0xa0)
		return (code >= 0x20 && code < 0x7f) || code == '\t';
	return !((code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069));
}

size_t wc_log_escape(char *out, const char *text, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *at = (const unsigned char *)text, *end = at + length;
	char *to = out;

	while (at < end) {
		uint32_t code = 0;
		size_t size = character(at, (size_t)(end - at), &code);
		bool plain = size && is_plain(code);

		for (size = size ? size : 1; size; size--, at++) {
			if (plain) {
				*to++ = (char)*at;
				continue;
			}
			*to++ = '\\';
			*to++ = 'x';
			*to++ = digits[*at >> 4];
			*to++ = digits[*at & 15];
		}
	}
	return (size_t)(to - out);
}

/* --- records --- */

size_t wc_log_format(char *out, const struct wc_log_record *record)
{
	const struct wc_log_source *source = record->source;
	char version[16] = "-", pid[16] = "-", request[20] = "-";
	int head;
	size_t n;

	if (source->version)
		snprintf(version, sizeof(version), "v%u", source->version);
	if (source->pid)
		snprintf(pid, sizeof(pid), "%d", source->pid);
	if (record->has_request)
		snprintf(request, sizeof(request), "%016llx", (unsigned long long)record->request_id);
	head = snprintf(out, WC_LOG_HEAD_MAX, "%.31s %.63s %s %s %s %s ", record->stamp, source->function, version, pid,
			request, stream_names[record->stream]);
	n = (size_t)head;
	n += wc_log_escape(out + n, record->text, record->length);
	out[n++] = '\n';
	return n;
}

bool wc_log_parse(const char *line, size_t length, struct wc_log_parts *parts)
{
	const char *at = line, *end = line + length;
	/* In the order of the line. */
	struct wc_log_parts found = { 0 };
	struct {
		const char **at;
		size_t *length;
	} each[] = {
		{ &found.time.at, &found.time.length },	      { &found.function.at, &found.function.length },
		{ &found.version.at, &found.version.length }, { &found.pid.at, &found.pid.length },
		{ &found.request.at, &found.request.length }, { &found.stream.at, &found.stream.length },
	};

	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		const char *space = memchr(at, ' ', (size_t)(end - at));

		if (!space || space == at)
			return false;
		*each[i].at = at;
		*each[i].length = (size_t)(space - at);
		at = space + 1;
	}
	found.text.at = at;
	found.text.length = (size_t)(end - at);
	/* The time has one form, so that times can be compared as texts. */
	if (found.time.length != strlen("2026-01-31T23:59:59.123Z") || found.time.at[10] != 'T' ||
	    found.time.at[23] != 'Z')
		return false;
	for (size_t i = 0; i < WC_LOG_STREAM_COUNT; i++) {
		if (found.stream.length == strlen(stream_names[i]) &&
		    !memcmp(found.stream.at, stream_names[i], found.stream.length)) {
			*parts = found;
			return true;
		}
	}
	return false;
}
