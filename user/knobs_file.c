/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * knobs_file.c - the configuration file: a mapping of knobs to values, in YAML, read by libyaml as a stream of events.
 *
 * libyaml hands values over as the text that was written, with their lines; nothing is guessed from how a value looks, and the text is checked
 * like that of an option. Of YAML only one mapping of plain or quoted scalars is taken, and lists of them for knobs that take several values:
 * no anchors, aliases, tags, nested mappings or further documents. So there is nothing that could grow.
 */
#include "user/knobs.h"

#include "user/nearest.h"
#include "user/yaml_events.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX 128

struct reader {
	const struct wc_knobs *knobs;
	struct wc_knobs_given *given;
	struct wc_yaml yaml;
	size_t used; /* of given->texts */
};

/* --- the events --- */

static int fail_here(struct reader *reader, const char *text)
{
	return wc_yaml_fail(&reader->yaml, text);
}

static int next(struct reader *reader)
{
	return wc_yaml_next(&reader->yaml);
}

static int fail_unknown(struct reader *reader, const char *key)
{
	const char *names[NAMES_MAX] = { NULL }, *near;
	char text[200];
	size_t count = 0;

	for (size_t i = 0; i < reader->knobs->count && count + 1 < NAMES_MAX; i++)
		if (reader->knobs->table[i].when != WC_KNOB_LINE)
			names[count++] = reader->knobs->table[i].name;
	near = wc_nearest(key, names);
	if (near)
		snprintf(text, sizeof(text), "there is no knob '%.60s'; did you mean '%s'?", key, near);
	else
		snprintf(text, sizeof(text), "there is no knob '%.60s'; `%s --print example` shows all", key,
			 reader->knobs->program);
	return fail_here(reader, text);
}

/* A key: the knob that it names. */
static int take_key(struct reader *reader, uint32_t *ret_knob)
{
	const char *key = (const char *)reader->yaml.event.data.scalar.value;
	const struct wc_knob *knob;
	char text[200];

	if (reader->yaml.event.type != YAML_SCALAR_EVENT)
		return fail_here(reader, "a knob's name is a word, not a list or a mapping");
	knob = wc_knob_find(reader->knobs, key, reader->yaml.event.data.scalar.length);
	if (!knob)
		return fail_unknown(reader, key);
	*ret_knob = (uint32_t)(knob - reader->knobs->table);
	if (knob->when == WC_KNOB_LINE) {
		snprintf(text, sizeof(text), "'%s' is for the command line only; take the line out", knob->name);
		return fail_here(reader, text);
	}
	for (uint32_t i = 0; i < reader->given->count; i++) {
		if (reader->given->list[i].knob != *ret_knob || !reader->given->list[i].line)
			continue;
		snprintf(text, sizeof(text), "'%s' is there already, in line %u; keep one of them", knob->name,
			 reader->given->list[i].line);
		return fail_here(reader, text);
	}
	return 0;
}

/* What YAML 1.1 has for true and false; anything else is neither. */
static const char *as_switch(const char *text)
{
	static const char *const words[][2] = { { "on", "on" },	  { "true", "on" },   { "yes", "on" },
						{ "off", "off" }, { "false", "off" }, { "no", "off" } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcasecmp(text, words[i][0]))
			return words[i][1];
	return NULL;
}

/* Without control characters and line breaks of any alphabet, which escapes in quotes can bring in. libyaml has seen to it that it is UTF-8. */
static bool is_clean(const char *value)
{
	static const char *const odd[] = { "\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf", "\xef\xbf\xbe",
					   "\xef\xbf\xbf" };

	for (const unsigned char *c = (const unsigned char *)value; *c; c++)
		if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
			return false;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		if (strstr(value, odd[i]))
			return false;
	return true;
}

static int take_value(struct reader *reader, uint32_t index)
{
	const struct wc_knob *knob = &reader->knobs->table[index];
	struct wc_knobs_given *given = reader->given;
	const char *value = (const char *)reader->yaml.event.data.scalar.value, *word;
	size_t length = reader->yaml.event.data.scalar.length;
	bool plain = reader->yaml.event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	char text[200];

	if (plain && (!length || !strcmp(value, "~") || !strcmp(value, "null"))) {
		snprintf(text, sizeof(text), "'%s' has no value; give one, or take the line out", knob->name);
		return fail_here(reader, text);
	}
	if (length >= WC_KNOBS_VALUE_MAX || strlen(value) != length || !is_clean(value)) {
		snprintf(
			text, sizeof(text),
			"the value of '%s' is longer than %u bytes, or has a control character, a line break or a byte 0 in it",
			knob->name, WC_KNOBS_VALUE_MAX - 1);
		return fail_here(reader, text);
	}
	word = as_switch(value);
	if (knob->kind == WC_KNOB_FLAG && !word) {
		snprintf(text, sizeof(text), "%s %.60s: expected on or off", knob->name, value);
		return fail_here(reader, text);
	}
	/* `prewarm: true` is what many would write. */
	if (word && (knob->kind == WC_KNOB_FLAG || (knob->kind == WC_KNOB_CHOICE && knob->size == 1)))
		value = word;
	if (given->count == WC_KNOBS_GIVEN_MAX)
		return fail_here(reader, "there are too many values");
	/* Values are not longer than what they were written as, so there is room; but for the zeros, which stand for a line's end each. */
	length = strlen(value) + 1;
	memcpy(given->texts + reader->used, value, length);
	given->list[given->count++] = (struct wc_given){
		.knob = index,
		.line = (uint32_t)reader->yaml.event.start_mark.line + 1,
		.text = given->texts + reader->used,
	};
	reader->used += length;
	return 0;
}

static int take_values(struct reader *reader, uint32_t index)
{
	const struct wc_knob *knob = &reader->knobs->table[index];
	char text[200];
	int error;

	if (reader->yaml.event.type == YAML_SCALAR_EVENT)
		return take_value(reader, index);
	if (reader->yaml.event.type != YAML_SEQUENCE_START_EVENT || !knob->list) {
		snprintf(text, sizeof(text),
			 "'%s' takes one value%s, not %s; put a value that begins with [ or { in quotes", knob->name,
			 knob->list ? ", or a list of them" : "",
			 reader->yaml.event.type == YAML_SEQUENCE_START_EVENT ? "a list" : "a mapping");
		return fail_here(reader, text);
	}
	for (uint32_t count = 0;; count++) {
		error = next(reader);
		if (error)
			return error;
		if (reader->yaml.event.type == YAML_SEQUENCE_END_EVENT && count)
			return 0;
		if (reader->yaml.event.type != YAML_SCALAR_EVENT) {
			snprintf(text, sizeof(text),
				 "'%s' is an empty list, or one of something else than values; put a value "
				 "that begins with [ or { in quotes",
				 knob->name);
			return fail_here(reader, text);
		}
		error = take_value(reader, index);
		if (error)
			return error;
	}
}

static int take_mapping(struct reader *reader)
{
	uint32_t index = 0;
	int error;

	for (;;) {
		error = next(reader);
		if (error || reader->yaml.event.type == YAML_MAPPING_END_EVENT)
			return error;
		error = take_key(reader, &index) ?: next(reader) ?: take_values(reader, index);
		if (error)
			return error;
	}
}

static int take_document(struct reader *reader)
{
	int error = next(reader); /* STREAM-START */

	error = error ?: next(reader);
	if (error || reader->yaml.event.type == YAML_STREAM_END_EVENT)
		return error; /* comments only */
	error = next(reader);
	if (error)
		return error;
	if (reader->yaml.event.type == YAML_MAPPING_START_EVENT)
		error = take_mapping(reader);
	else if (reader->yaml.event.type != YAML_SCALAR_EVENT || reader->yaml.event.data.scalar.length)
		return fail_here(reader, "expected lines `name: value`");
	error = error ?: next(reader) /* DOCUMENT-END */ ?: next(reader);
	if (!error && reader->yaml.event.type != YAML_STREAM_END_EVENT)
		return fail_here(reader, "a second document begins here; one is all");
	return error;
}

int wc_knobs_text(const struct wc_knobs *knobs, const char *path, const char *text, size_t length,
		  struct wc_knobs_given *given, struct wc_fault *fault)
{
	struct reader reader = {
		.knobs = knobs,
		.given = given,
		.yaml = { .path = given->path,
			  .fault = fault,
			  .hint = "lines are `name: value`",
			  .flow_hint = ", put a value that begins with [ or { in quotes" },
	};
	int error;

	if (length > WC_KNOBS_FILE_MAX)
		return wc_fail(fault, EFBIG, "%.200s is larger than %u bytes: this is no file of knobs", path,
			       WC_KNOBS_FILE_MAX);
	snprintf(given->path, sizeof(given->path), "%s", path);
	free(given->texts);
	/* "on" for "y" does not exist, so only the zeros and what escapes (\u: 6 bytes for at most 4) make are more than the text. */
	given->texts = malloc(2 * length + 4 * WC_KNOBS_GIVEN_MAX);
	if (!given->texts)
		return wc_fail(fault, ENOMEM, "%.200s: out of memory", path);
	error = wc_yaml_begin(&reader.yaml, text, length);
	if (error)
		return error;
	error = take_document(&reader);
	wc_yaml_end(&reader.yaml);
	return error;
}

/* --- the file --- */

/* Who may write to it, or put another in its place, decides what a daemon of root does. */
static int check_owner(const struct stat *status, const char *path, const char *what, struct wc_fault *fault)
{
	bool sticky = S_ISDIR(status->st_mode) && status->st_mode & S_ISVTX;

	if (status->st_uid && status->st_uid != geteuid())
		return wc_fail(fault, EPERM, "%.200s: the %s belongs to user %u; make it root's: chown root", path,
			       what, status->st_uid);
	if (status->st_mode & (S_IWGRP | S_IWOTH) && !sticky)
		return wc_fail(fault, EPERM,
			       "%.200s: others than its owner may write to the %s; take that away: chmod go-w", path,
			       what);
	return 0;
}

int wc_knobs_load_fd(int fd, const char *path, char **ret_text, size_t *ret_length, struct wc_fault *fault)
{
	struct stat status;
	size_t length = 0;
	int error;
	char *text;

	if (fstat(fd, &status))
		return wc_fail(fault, errno, "cannot look at %.200s: %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return wc_fail(fault, EINVAL, "%.200s is no regular file", path);
	error = check_owner(&status, path, "file", fault);
	if (error)
		return error;
	text = malloc(WC_KNOBS_FILE_MAX + 1);
	if (!text)
		return wc_fail(fault, ENOMEM, "out of memory");
	while (length <= WC_KNOBS_FILE_MAX) {
		ssize_t n = pread(fd, text + length, WC_KNOBS_FILE_MAX + 1 - length, (off_t)length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error = errno;
			free(text);
			return wc_fail(fault, error, "cannot read %.200s: %s", path, strerror(error));
		}
		if (!n)
			break;
		length += (size_t)n;
	}
	*ret_text = text;
	*ret_length = length; /* one too many is refused by who reads it */
	return 0;
}

int wc_knobs_load(const char *path, char **ret_text, size_t *ret_length, struct wc_fault *fault)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error;
	struct stat status;
	char folder[256];

	if (fd < 0)
		return wc_fail(fault, errno, "cannot open %.200s: %s", path, strerror(errno));
	snprintf(folder, sizeof(folder), "%s", path);
	if (stat(dirname(folder), &status))
		error = wc_fail(fault, errno, "cannot look at the folder of %.200s: %s", path, strerror(errno));
	else
		error = check_owner(&status, path, "folder that it is in", fault);
	error = error ?: wc_knobs_load_fd(fd, path, ret_text, ret_length, fault);
	close(fd);
	return error;
}

int wc_knobs_file(const struct wc_knobs *knobs, const char *node, struct wc_knobs_given *given, struct wc_fault *fault)
{
	const char *named = wc_knob_given(knobs, given, "config");
	char path[256], name[64], *text = NULL;
	size_t length = 0;
	int error;

	if (named && !strcmp(named, WC_KNOBS_NO_FILE))
		return 0;
	if (named && strlen(named) >= sizeof(path))
		return wc_fail(fault, EINVAL, "--config: expected 1 to %zu characters", sizeof(path) - 1);
	snprintf(name, sizeof(name), knobs->file, node);
	if (named)
		snprintf(path, sizeof(path), "%s", named);
	else
		snprintf(path, sizeof(path), "%s/%s", WC_KNOBS_FOLDER, name);
	error = wc_knobs_load(path, &text, &length, fault);
	if (error)
		return !named && (error == -ENOENT || error == -ENOTDIR) ? 0 : error;
	error = wc_knobs_text(knobs, path, text, length, given, fault);
	free(text);
	return error;
}
