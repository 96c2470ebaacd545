// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* log_reader.h - a log in its files: the last lines that fit a filter, and what is added from there on, across rotation. */
#ifndef WC_TOOLS_LOG_READER_H
#define WC_TOOLS_LOG_READER_H

#include "tools/cli.h"

#define LOG_PATH_MAX 512
#define LOG_REQUEST_DIGITS 16

struct log_filter {
	long long lines;
	char since[32];			      /* a time as in a record, or its beginning; "" = all */
	char request[LOG_REQUEST_DIGITS + 1]; /* "" = all */
};

struct log_reader {
	const struct cli *cli;
	const struct log_filter *filter;
	char path[LOG_PATH_MAX]; /* of the newest file; the older ones are PATH.1, PATH.2 ... */
	int fd;			 /* the newest, read up to `at`; -1: there is none yet */
	long long at;
	char *line; /* collected so far, while following */
	size_t length, room;
};

/* Begins to read. 0, or an exit status after it has said what went wrong. */
int log_reader_open(struct log_reader *reader, const struct cli *cli, const char *path,
		    const struct log_filter *filter);
/* Prints the last lines. 0, or an exit status. */
int log_reader_tail(struct log_reader *reader);
/* Prints what is added, until the output is closed. Returns an exit status. */
int log_reader_follow(struct log_reader *reader);
void log_reader_close(struct log_reader *reader);

/* "90s", "5m", "2h", "3d", or a time as in a record or its beginning. False: it is none of them. */
bool log_parse_since(const char *text, char out[32]);
/* Up to 16 hexadecimal digits, or the form with dashes that functions see. False: it is neither. */
bool log_parse_request(const char *text, char out[LOG_REQUEST_DIGITS + 1]);

#endif
