/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* knobs.c - see knobs.h. The table, the command line, and values into fields; the file is knobs_file.c. */
#include "user/knobs.h"

#include "user/nearest.h"
#include "user/version.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 128

const struct wc_knob *wc_knob_find(const struct wc_knobs *knobs, const char *name, size_t length)
{
	for (size_t i = 0; i < knobs->count; i++)
		if (strlen(knobs->table[i].name) == length && !strncmp(knobs->table[i].name, name, length))
			return &knobs->table[i];
	return NULL;
}

static int add(struct wc_knobs_given *given, uint32_t knob, const char *text, struct wc_fault *fault)
{
	if (given->count == WC_KNOBS_GIVEN_MAX)
		return wc_fail(fault, E2BIG, "more than %u options", WC_KNOBS_GIVEN_MAX);
	given->list[given->count++] = (struct wc_given){ .knob = knob, .text = text };
	return 0;
}

static int fail_unknown(const struct wc_knobs *knobs, const char *option, size_t length, struct wc_fault *fault)
{
	const char *names[NAMES_MAX] = { "help", "version" }, *near;
	char typed[64];

	for (size_t i = 0; i < knobs->count && i + 3 < NAMES_MAX; i++)
		names[i + 2] = knobs->table[i].name;
	snprintf(typed, sizeof(typed), "%.*s", (int)length, option + 2);
	near = wc_nearest(typed, names);
	return wc_fail(fault, EINVAL, "unknown option %.60s%s%s; see %s --help", option,
		       near ? ", did you mean --" : "", near ?: "", knobs->program);
}

int wc_knobs_line(const struct wc_knobs *knobs, int argc, char **argv, void (*print_help)(void),
		  struct wc_knobs_given *given, struct wc_fault *fault)
{
	memset(given, 0, sizeof(*given));
	for (int i = 1; i < argc; i++) {
		const struct wc_knob *knob;
		const char *value, *equals;
		size_t len;
		int error;

		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			print_help();
			return 1;
		}
		if (!strcmp(argv[i], "--version")) {
			printf("%s %s\n", knobs->program, WC_VERSION_TEXT);
			return 1;
		}
		if (strncmp(argv[i], "--", 2) != 0)
			return wc_fail(fault, EINVAL, "unexpected argument %.60s; see %s --help", argv[i],
				       knobs->program);
		equals = strchr(argv[i], '=');
		len = equals ? (size_t)(equals - argv[i] - 2) : strlen(argv[i] + 2);
		knob = wc_knob_find(knobs, argv[i] + 2, len);
		if (!knob)
			return fail_unknown(knobs, argv[i], len, fault);
		if (knob->kind == WC_KNOB_FLAG) {
			if (equals)
				return wc_fail(fault, EINVAL, "--%s takes no value", knob->name);
			value = "on";
		} else if (equals) {
			value = equals + 1;
		} else if (++i < argc) {
			value = argv[i];
		} else {
			return wc_fail(fault, EINVAL, "--%s needs a value (%s)", knob->name, knob->argument);
		}
		error = add(given, (uint32_t)(knob - knobs->table), value, fault);
		if (error)
			return error;
	}
	return 0;
}

void wc_knobs_release(struct wc_knobs_given *given)
{
	free(given->texts);
	memset(given, 0, sizeof(*given));
}

/* --- values into fields --- */

static bool on_line(const struct wc_knobs_given *given, uint32_t knob)
{
	for (uint32_t i = 0; i < given->count; i++)
		if (given->list[i].knob == knob && !given->list[i].line)
			return true;
	return false;
}

const char *wc_knob_given(const struct wc_knobs *knobs, const struct wc_knobs_given *given, const char *name)
{
	const struct wc_knob *knob = wc_knob_find(knobs, name, strlen(name));
	const char *file = NULL, *line = NULL;

	for (uint32_t i = 0; knob && i < given->count; i++) {
		if (given->list[i].knob != (uint32_t)(knob - knobs->table))
			continue;
		if (given->list[i].line)
			file = given->list[i].text;
		else
			line = given->list[i].text;
	}
	return line ?: file;
}

static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	unsigned long long value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || value < min || value > max)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

static int fail_choice(const struct wc_knob *knob, const char *value, struct wc_fault *fault)
{
	char names[128] = "";
	size_t at = 0;

	if (strchr(knob->argument, '|'))
		return wc_fail(fault, EINVAL, "--%s %.100s: expected %s", knob->name, value, knob->argument);
	for (int i = 0; knob->choices[i] && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? "|" : "", knob->choices[i]);
	return wc_fail(fault, EINVAL, "--%s %.100s: expected %s", knob->name, value, names);
}

static int set_choice(const struct wc_knob *knob, char *field, const char *value, struct wc_fault *fault)
{
	for (int i = 0; knob->choices[i]; i++) {
		if (strcmp(knob->choices[i], value) != 0)
			continue;
		if (knob->size == 1)
			*(bool *)field = i;
		else
			*(int *)(void *)field = i;
		return 0;
	}
	return fail_choice(knob, value, fault);
}

int wc_knob_set(const struct wc_knob *knob, void *options, const char *value, struct wc_fault *fault)
{
	char *field = (char *)options + knob->offset;
	uint64_t number;

	switch (knob->kind) {
	case WC_KNOB_OWN:
		return knob->parse(options, value, fault);
	case WC_KNOB_FLAG:
		*(bool *)field = !strcmp(value, "on");
		return 0;
	case WC_KNOB_POINTER:
		*(const char **)(void *)field = value;
		return 0;
	case WC_KNOB_TEXT:
		if (!*value || strlen(value) >= knob->size)
			return wc_fail(fault, EINVAL, "--%s: expected 1 to %zu characters", knob->name, knob->size - 1);
		memcpy(field, value, strlen(value) + 1);
		return 0;
	case WC_KNOB_NUMBER:
		if (parse_number(value, knob->min, knob->max, &number))
			return wc_fail(fault, EINVAL, "--%s %.100s: expected a number from %llu to %llu", knob->name,
				       value, (unsigned long long)knob->min, (unsigned long long)knob->max);
		if (knob->size == 2)
			*(uint16_t *)(void *)field = (uint16_t)number;
		else
			*(uint32_t *)(void *)field = (uint32_t)number;
		return 0;
	case WC_KNOB_CHOICE:
		return set_choice(knob, field, value, fault);
	}
	return -EINVAL;
}

int wc_knobs_apply(const struct wc_knobs *knobs, const struct wc_knobs_given *given, void *options,
		   struct wc_fault *fault)
{
	struct wc_fault why;

	for (uint32_t i = 0; i < given->count; i++) {
		const struct wc_given *value = &given->list[i];
		int error;

		/* Also what does not count is checked: a mistake in the file shows before the option is left away. */
		if (value->line && on_line(given, value->knob) && knobs->table[value->knob].kind == WC_KNOB_OWN)
			continue;
		error = wc_knob_set(&knobs->table[value->knob], options, value->text, &why);
		if (error && value->line)
			return wc_fail(fault, -error, "%.150s, line %u: %.340s", given->path, value->line,
				       why.text + (strncmp(why.text, "--", 2) ? 0 : 2));
		if (error) {
			*fault = why;
			return error;
		}
	}
	for (uint32_t i = 0; i < given->count; i++) /* the line wins, wherever the file stands in the list */
		if (!given->list[i].line && knobs->table[given->list[i].knob].kind != WC_KNOB_OWN)
			wc_knob_set(&knobs->table[given->list[i].knob], options, given->list[i].text, &why);
	return 0;
}
