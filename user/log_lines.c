/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* log_lines.c - see logs.h: from the bytes of a pipe to records, and the end of each request's output, kept in memory. */
#include "user/logs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TAILS_KEPT 256

/* The output of requests that are over; the oldest is overwritten. */
static struct {
	pthread_mutex_t lock;
	unsigned next;
	struct {
		uint32_t function_id;
		uint32_t length; /* 0: none */
		uint64_t request_id;
		char bytes[WC_LOG_TAIL_MAX];
	} kept[TAILS_KEPT];
} tails = { .lock = PTHREAD_MUTEX_INITIALIZER };

void wc_log_lines_free(struct wc_log_lines *lines)
{
	free(lines->partial);
	free(lines->tail);
	memset(lines, 0, sizeof(*lines));
}

/* --- the end of a request's output --- */

static void add_tail(struct wc_log_lines *lines, const char *bytes, size_t length)
{
	if (!lines->tail)
		lines->tail = malloc(2 * WC_LOG_TAIL_MAX);
	if (!lines->tail)
		return;
	if (length >= WC_LOG_TAIL_MAX) {
		memcpy(lines->tail, bytes + length - WC_LOG_TAIL_MAX, WC_LOG_TAIL_MAX);
		lines->tail_length = WC_LOG_TAIL_MAX;
		return;
	}
	if (lines->tail_length + length > 2 * (size_t)WC_LOG_TAIL_MAX) {
		memmove(lines->tail, lines->tail + lines->tail_length - WC_LOG_TAIL_MAX, WC_LOG_TAIL_MAX);
		lines->tail_length = WC_LOG_TAIL_MAX;
	}
	memcpy(lines->tail + lines->tail_length, bytes, length);
	lines->tail_length += length;
}

static void keep_tail(const struct wc_log_lines *lines, uint32_t function_id, uint64_t request_id)
{
	size_t length = lines->tail_length < WC_LOG_TAIL_MAX ? lines->tail_length : WC_LOG_TAIL_MAX;
	unsigned i;

	pthread_mutex_lock(&tails.lock);
	i = tails.next++ % TAILS_KEPT;
	tails.kept[i].function_id = function_id;
	tails.kept[i].request_id = request_id;
	tails.kept[i].length = (uint32_t)length;
	memcpy(tails.kept[i].bytes, lines->tail + lines->tail_length - length, length);
	pthread_mutex_unlock(&tails.lock);
}

size_t wc_log_tail(uint32_t function_id, uint64_t request_id, char out[WC_LOG_TAIL_MAX])
{
	size_t length = 0;

	pthread_mutex_lock(&tails.lock);
	for (unsigned i = 1; i <= TAILS_KEPT && !length; i++) { /* the newest first: an id may come again */
		unsigned at = (tails.next - i) % TAILS_KEPT;

		if (tails.kept[at].request_id != request_id || tails.kept[at].function_id != function_id)
			continue;
		length = tails.kept[at].length;
		memcpy(out, tails.kept[at].bytes, length);
	}
	pthread_mutex_unlock(&tails.lock);
	return length;
}

/* --- lines --- */

static void put(struct wc_log_record *record, const char *text, size_t length, bool cut)
{
	record->stream = cut ? WC_LOG_OUT_CUT : WC_LOG_OUT;
	record->text = text;
	record->length = length;
	wc_logs_put(record);
}

/* Where to cut a text that is too long: not within a character, if it has characters. */
static size_t cut_at(const char *text, size_t length)
{
	size_t at = length;

	for (int i = 0; i < 4 && at; i++, at--)
		if (((unsigned char)text[at - 1] & 0xc0) != 0x80)
			/* at - 1 is where the last character begins: is it whole? It is when it is ASCII. */
			return (unsigned char)text[at - 1] < 0x80 ? length : at - 1 ? at - 1 : length;
	return length;
}

/* More of a line that is not whole yet. */
static void collect(struct wc_log_lines *lines, struct wc_log_record *record, const char *text, size_t length)
{
	if (!lines->partial)
		lines->partial = malloc(WC_LOG_TEXT_MAX);
	while (length) {
		size_t room = WC_LOG_TEXT_MAX - lines->length, some = length < room ? length : room, cut;

		if (!lines->partial) { /* no memory: in pieces, then */
			some = length < WC_LOG_TEXT_MAX ? length : WC_LOG_TEXT_MAX;
			put(record, text, some, true);
		} else {
			memcpy(lines->partial + lines->length, text, some);
			lines->length += some;
		}
		text += some;
		length -= some;
		if (!length || !lines->partial) /* as much as one record holds is not cut before more comes */
			continue;
		cut = cut_at(lines->partial, lines->length);
		put(record, lines->partial, cut, true);
		lines->length -= cut;
		memmove(lines->partial, lines->partial + cut, lines->length);
	}
}

void wc_log_lines_add(struct wc_log_lines *lines, const struct wc_log_source *source, bool has_request,
		      uint64_t request_id, const char *bytes, size_t length)
{
	char stamp[WC_LOG_STAMP_MAX];
	struct wc_log_record record = {
		.stamp = stamp, .source = source, .has_request = has_request, .request_id = request_id
	};

	if (has_request)
		add_tail(lines, bytes, length);
	wc_log_stamp(stamp);
	while (length) {
		const char *end = memchr(bytes, '\n', length);
		size_t line = end ? (size_t)(end - bytes) : length;

		if (end && !lines->length && line <= WC_LOG_TEXT_MAX) {
			put(&record, bytes, line, false);
		} else {
			collect(lines, &record, bytes, line);
			if (end) {
				put(&record, lines->partial ? lines->partial : "", lines->length, false);
				lines->length = 0;
			}
		}
		line += !!end;
		bytes += line;
		length -= line;
	}
}

void wc_log_lines_end(struct wc_log_lines *lines, const struct wc_log_source *source, bool has_request,
		      uint64_t request_id)
{
	if (lines->length) {
		char stamp[WC_LOG_STAMP_MAX];
		struct wc_log_record record = {
			.stamp = stamp, .source = source, .has_request = has_request, .request_id = request_id
		};

		wc_log_stamp(stamp);
		put(&record, lines->partial, lines->length, false);
		lines->length = 0;
	}
	if (has_request && lines->tail_length)
		keep_tail(lines, source->function_id, request_id);
	lines->tail_length = 0;
}
