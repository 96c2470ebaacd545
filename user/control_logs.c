/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* control_logs.c - requests for what functions printed: the end of a function's log, and of one invocation. */
#include "user/control_internal.h"

#include "user/launch.h"
#include "user/logs.h"
#include "user/watch.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_TEXT_MAX (256 << 10)

/* The last lines of a file, at most LOG_TEXT_MAX bytes, as valid UTF-8. */
static json_t *tail_of(const char *path, json_int_t lines)
{
	char *text = malloc(LOG_TEXT_MAX + 1), *at;
	ssize_t n = 0;
	json_t *value;
	size_t len;
	off_t size;
	int fd;

	if (!text)
		return json_string("");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = lseek(fd, 0, SEEK_END);
		n = pread(fd, text, LOG_TEXT_MAX, size > LOG_TEXT_MAX ? size - LOG_TEXT_MAX : 0);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;
	at = text + (n > 0 ? n : 0);
	while (lines > 0 && at > text) {
		if (at[-1] == '\n' && at != text + n && lines-- <= 1)
			break;
		at--;
	}
	len = (size_t)(text + (n > 0 ? n : 0) - at);
	for (size_t i = 0; i < len; i++) /* a function may print anything */
		if (!at[i])
			at[i] = '?';
	value = json_stringn(at, len);
	for (size_t i = 0; !value && i < len; i++)
		if ((unsigned char)at[i] >= 0x80)
			at[i] = '?';
	if (!value)
		value = json_stringn(at, len);
	free(text);
	return value;
}

/* Also of a function that was removed, as long as its log is there. Without a name: where the daemon's own log is. */
json_t *wc_control_logs(struct wc_node *node, const char *name, json_t *request)
{
	json_t *lines = json_object_get(request, "lines");
	struct wc_fn *fn = name ? wc_functions_find(node->functions, name) : NULL;
	char path[512];

	if (!name)
		return json_pack("{s:b, s:s}", "ok", 1, "path", node->options.log);
	if (!wc_logs_path(name, path, sizeof(path)) && !fn) {
		wc_fn_put(fn);
		return wc_control_fail("not-found",
				       "no function of this name is deployed, nor is there a log of one that was; see "
				       "`warmcore list`");
	}
	wc_fn_put(fn);
	wc_watch_drain(name);
	wc_logs_flush(name);
	return json_pack("{s:b, s:s, s:o}", "ok", 1, "path", path, "text",
			 tail_of(path, json_is_integer(lines) ? json_integer_value(lines) : 100));
}

/* The end of what one invocation printed, as the function printed it, as far as JSON can hold it. */
json_t *wc_control_tail(struct wc_node *node, const char *name, json_t *request)
{
	const char *id = json_string_value(json_object_get(request, "request"));
	struct wc_fault fault;
	struct wc_fn *fn;
	int error = wc_control_find(node, name, request, &fn, &fault);
	char tail[WC_LOG_TAIL_MAX], text[4 * WC_LOG_TAIL_MAX];
	size_t length = 0, at = 0;
	uint64_t number;
	char *end;

	if (error)
		return wc_control_fault(error, &fault);
	number = id ? strtoull(id, &end, 16) : 0;
	if (!id || !isxdigit((unsigned char)id[0]) || *end || strlen(id) > 16) {
		wc_fn_put(fn);
		return wc_control_fail("bad-request",
				       "\"request\" must be the id of a request, up to 16 hexadecimal digits");
	}
	length = wc_log_tail(fn->id, number, tail);
	wc_fn_put(fn);
	for (size_t i = 0; i < length;) { /* line by line, because the newlines stay */
		const char *newline = memchr(tail + i, '\n', length - i);
		size_t line = newline ? (size_t)(newline - tail) - i : length - i;

		at += wc_log_escape(text + at, tail + i, line);
		i += line;
		if (newline)
			text[at++] = tail[i++];
	}
	return json_pack("{s:b, s:o}", "ok", 1, "text", json_stringn(text, at));
}
