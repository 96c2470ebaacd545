// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* options.c - the one parser of all command lines; see options.h for the contract. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/options.h"
#include "user/nearest.h"

#define NAME_MAX_COMPARED 40

/* One run of options_parse(). */
struct parse {
	const struct option_table *tables;
	size_t tables_count;
	int argc;
	char **argv;
	int at; /* next argument to read */
	char *error;
};

static int __attribute__((format(printf, 2, 3))) refuse(struct parse *parse, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(parse->error, OPTIONS_ERROR_MAX, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

int option_parse_integer(const char *text, long long min, long long max, long long *ret_value)
{
	const char *digits = text + (text[0] == '-');
	long long value;
	char *end;

	if (!isdigit((unsigned char)*digits))
		return -EINVAL;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno == ERANGE || value < min || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

const char *option_nearest(const char *typed, const char *const *names)
{
	return wc_nearest(typed, names);
}

static int unknown_option(struct parse *parse, const char *name, size_t length)
{
	const char *names[64] = { "help" };
	size_t count = 1;
	char typed[NAME_MAX_COMPARED + 1];
	const char *near;

	for (size_t t = 0; t < parse->tables_count; t++)
		for (const struct option_spec *spec = parse->tables[t].specs; spec->name; spec++)
			if (count < 63)
				names[count++] = spec->name;
	snprintf(typed, sizeof(typed), "%.*s", (int)(length < NAME_MAX_COMPARED ? length : NAME_MAX_COMPARED), name);
	near = option_nearest(typed, names);
	if (near)
		return refuse(parse, "unknown option --%s; did you mean --%s?", typed, near);
	return refuse(parse, "unknown option --%s", typed);
}

static bool is_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);

	if (strchr(value, '|'))
		return false;
	for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (length && !strncmp(at, value, length) && (at[length] == '|' || !at[length]))
			return true;
	return false;
}

static int store(struct parse *parse, const struct option_spec *spec, void *target, const char *value)
{
	void *member = (char *)target + spec->offset;
	const char *wrong = value && spec->check ? spec->check(value) : NULL;
	struct option_list *list;
	long long number;

	if (wrong)
		return refuse(parse, "--%s: '%s' %s", spec->name, value, wrong);
	if (spec->type != OPTION_FLAG && !value)
		return refuse(parse, "--%s needs a value", spec->name); /* the parser has seen to it */
	switch (spec->type) {
	case OPTION_FLAG:
		*(bool *)member = true;
		return 0;
	case OPTION_STRING:
		*(const char **)member = value;
		return 0;
	case OPTION_INTEGER:
		switch (option_parse_integer(value, spec->min, spec->max, &number)) {
		case 0:
			*(long long *)member = number;
			return 0;
		case -ERANGE:
			return refuse(parse, "--%s: %s is out of range, %lld to %lld is allowed", spec->name, value,
				      spec->min, spec->max);
		default:
			return refuse(parse, "--%s: '%s' is not a whole number", spec->name, value);
		}
	case OPTION_CHOICE:
		if (!is_choice(spec->choices, value))
			return refuse(parse, "--%s: '%s' is not one of %s", spec->name, value, spec->choices);
		*(const char **)member = value;
		return 0;
	case OPTION_LIST:
		list = member;
		if (list->count == OPTION_LIST_MAX)
			return refuse(parse, "--%s: given more than %d times", spec->name, OPTION_LIST_MAX);
		list->items[list->count++] = value;
		return 0;
	}
	return refuse(parse, "--%s: the option table has no such type", spec->name);
}

int options_set_defaults(const struct option_table *table, char error[static OPTIONS_ERROR_MAX])
{
	struct parse parse = { .error = error };
	int ret;

	for (const struct option_spec *spec = table->specs; spec->name; spec++) {
		if (!spec->fallback)
			continue;
		ret = store(&parse, spec, table->target, spec->fallback);
		if (ret)
			return ret;
	}
	return 0;
}

/* Stores the option; its value is `attached` (after = or the letter) or the next argument. */
static int take(struct parse *parse, const struct option_spec *spec, void *target, const char *attached)
{
	if (spec->type == OPTION_FLAG) {
		if (attached)
			return refuse(parse, "--%s takes no value", spec->name);
		return store(parse, spec, target, NULL);
	}
	if (!attached) {
		if (parse->at == parse->argc)
			return refuse(parse, "--%s needs a value: --%s %s", spec->name, spec->name, spec->metavar);
		attached = parse->argv[parse->at++];
	}
	return store(parse, spec, target, attached);
}

static int parse_long(struct parse *parse, const char *name, bool *ret_help)
{
	const char *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);

	if (length == 4 && !strncmp(name, "help", 4)) {
		*ret_help = true;
		return 0;
	}
	for (size_t t = 0; t < parse->tables_count; t++)
		for (const struct option_spec *spec = parse->tables[t].specs; spec->name; spec++)
			if (strlen(spec->name) == length && !strncmp(spec->name, name, length))
				return take(parse, spec, parse->tables[t].target, equals ? equals + 1 : NULL);
	return unknown_option(parse, name, length);
}

/* "-n5", "-n 5", "-jq": flags may be bundled, a value ends the bundle. */
static int parse_letters(struct parse *parse, const char *letters, bool *ret_help)
{
	const struct option_spec *found;
	void *target = NULL;
	int ret;

	for (; *letters; letters++) {
		if (*letters == 'h') {
			*ret_help = true;
			return 0;
		}
		found = NULL;
		for (size_t t = 0; t < parse->tables_count && !found; t++)
			for (const struct option_spec *spec = parse->tables[t].specs; spec->name && !found; spec++)
				if (spec->letter == *letters) {
					found = spec;
					target = parse->tables[t].target;
				}
		if (!found)
			return refuse(parse, "unknown option -%c", *letters);
		if (found->type != OPTION_FLAG)
			return take(parse, found, target, letters[1] ? letters + 1 : NULL);
		ret = take(parse, found, target, NULL);
		if (ret)
			return ret;
	}
	return 0;
}

static bool is_option(const char *argument)
{
	return argument[0] == '-' && argument[1] && !isdigit((unsigned char)argument[1]);
}

int options_parse(const struct option_table *tables, size_t tables_count, int argc, char **argv,
		  bool stop_at_positional, struct option_rest *ret_rest, bool *ret_help,
		  char error[static OPTIONS_ERROR_MAX])
{
	struct parse parse = { tables, tables_count, argc, argv, 0, error };
	bool help = false;
	int kept = 0, ret;

	while (parse.at < argc && !help) {
		char *argument = argv[parse.at];

		if (!strcmp(argument, "--")) {
			parse.at++;
			break;
		}
		if (!is_option(argument)) {
			if (stop_at_positional)
				break;
			argv[kept++] = argument;
			parse.at++;
			continue;
		}
		parse.at++;
		ret = argument[1] == '-' ? parse_long(&parse, argument + 2, &help) :
					   parse_letters(&parse, argument + 1, &help);
		if (ret)
			return ret;
	}
	while (parse.at < argc && !help)
		argv[kept++] = argv[parse.at++];
	*ret_rest = (struct option_rest){ argv, kept };
	*ret_help = help;
	return 0;
}
