/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log_record.h - a record of a function's log: one line of text, made by the daemon and read by the command.
 *
 *     2026-01-31T23:59:59.123Z thumbnail v7 4242 00c0ffee00c0ffee out what the function printed
 *     time (UTC)               function  version pid  request    stream text
 *
 * What is not known is "-". Streams: `out` is the function's stdout and stderr, which share a pipe, so nobody can tell them
 * apart; `sys` is what the daemon says. `out+` marks a piece of a line that was too long for one record: the next
 * record goes on with it. The text is printable whatever the function printed: control characters but the tab, what turns the
 * direction of writing or ends a line, and bytes that are no UTF-8 are \xNN. A backslash stays as it is: the text cannot be turned
 * back into bytes for certain, but it can be read and searched.
 */
#ifndef WC_LOG_RECORD_H
#define WC_LOG_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_LOG_TEXT_MAX 8192 /* bytes, before escaping, that one record holds of a line */
#define WC_LOG_STAMP_MAX 32
#define WC_LOG_HEAD_MAX 192
#define WC_LOG_RECORD_MAX (WC_LOG_HEAD_MAX + 4 * WC_LOG_TEXT_MAX + 1)

/* Whose output it is. */
struct wc_log_source {
	char function[64];
	uint32_t function_id;
	uint32_t version; /* 0: not known */
	int pid;	  /* 0: not of an instance */
};

enum wc_log_stream {
	WC_LOG_OUT,
	WC_LOG_OUT_CUT, /* the line goes on in the next record */
	WC_LOG_SYS,
	WC_LOG_STREAM_COUNT,
};

struct wc_log_record {
	const char *stamp; /* wc_log_stamp() */
	const struct wc_log_source *source;
	bool has_request;
	uint64_t request_id;
	enum wc_log_stream stream;
	const char *text;
	size_t length; /* at most WC_LOG_TEXT_MAX */
};

/* The time of day now, as in a record. */
void wc_log_stamp(char out[WC_LOG_STAMP_MAX]);
/* The record with its newline, into WC_LOG_RECORD_MAX bytes. Returns its length. */
size_t wc_log_format(char *out, const struct wc_log_record *record);
/* Text as a record shows it: at most four bytes for each of `length`. Returns its length; no 0 is added. */
size_t wc_log_escape(char *out, const char *text, size_t length);

/* The parts of a record, which point into the line. */
struct wc_log_parts {
	struct {
		const char *at;
		size_t length;
	} time, function, version, pid, request, stream, text;
};

/* Take a line (without its newline) apart. False: it is no record, as of a line that a crash has cut. */
bool wc_log_parse(const char *line, size_t length, struct wc_log_parts *parts);

#endif
