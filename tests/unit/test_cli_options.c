// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_cli_options.c - the option parser: what is accepted, and the sentence for what is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The parser belongs to the program, not to the library, and is small: it becomes part of this test. */
#include "tools/options.c"
#include "tools/options_help.c"

#define ARGUMENTS_MAX 12

struct values {
	bool fast;
	bool quiet;
	const char *name;
	const char *mode;
	long long count;
	struct option_list env;
};

struct globals {
	bool json;
	const char *node;
};

static const char *check_lower(const char *value)
{
	return *value >= 'a' && *value <= 'z' ? NULL : "does not begin with a lower-case letter";
}

static const struct option_spec specs[] = {
	{ .name = "fast",
	  .letter = 'f',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct values, fast),
	  .help = "Be fast." },
	{ .name = "quiet",
	  .letter = 'q',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct values, quiet),
	  .help = "Be quiet." },
	{ .name = "name",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct values, name),
	  .metavar = "NAME",
	  .check = check_lower,
	  .help = "A name." },
	{ .name = "mode",
	  .type = OPTION_CHOICE,
	  .offset = offsetof(struct values, mode),
	  .metavar = "auto|native",
	  .choices = "auto|native",
	  .fallback = "auto",
	  .help = "A mode." },
	{ .name = "count",
	  .letter = 'n',
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct values, count),
	  .metavar = "N",
	  .min = -5,
	  .max = 100,
	  .fallback = "7",
	  .help = "A count." },
	{ .name = "env",
	  .letter = 'e',
	  .type = OPTION_LIST,
	  .offset = offsetof(struct values, env),
	  .metavar = "K=V",
	  .help = "A variable." },
	{ 0 },
};

static const struct option_spec global_specs[] = {
	{ .name = "json", .type = OPTION_FLAG, .offset = offsetof(struct globals, json), .help = "JSON." },
	{ .name = "node",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct globals, node),
	  .metavar = "NAME",
	  .help = "Node." },
	{ 0 },
};

/* One command line and everything that comes of it. */
struct outcome {
	int ret;
	bool help;
	struct values values;
	struct globals globals;
	struct option_rest rest;
	char error[OPTIONS_ERROR_MAX];
	char text[256];
	char *argv[ARGUMENTS_MAX];
};

/* `line` is split at blanks; "_" stands for an empty argument. */
static struct outcome *parse_line(const char *line, bool stop_at_positional)
{
	struct outcome *outcome = calloc(1, sizeof(*outcome));
	struct option_table tables[2];
	int argc = 0;
	char *save;

	assert_non_null(outcome);
	tables[0] = (struct option_table){ specs, &outcome->values };
	tables[1] = (struct option_table){ global_specs, &outcome->globals };
	snprintf(outcome->text, sizeof(outcome->text), "%s", line);
	for (char *word = strtok_r(outcome->text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		outcome->argv[argc++] = strcmp(word, "_") ? word : word + 1;
	assert_int_equal(options_set_defaults(&tables[0], outcome->error), 0);
	outcome->ret = options_parse(tables, 2, argc, outcome->argv, stop_at_positional, &outcome->rest, &outcome->help,
				     outcome->error);
	return outcome;
}

static void test_errors(void **state)
{
	static const struct {
		const char *line, *error;
	} table[] = {
		{ "--nonsense", "unknown option --nonsense" },
		{ "--cuont 5", "unknown option --cuont; did you mean --count?" },
		{ "--quite", "unknown option --quite; did you mean --quiet?" },
		{ "--jsn", "unknown option --jsn; did you mean --json?" },
		{ "--cou=5", "unknown option --cou; did you mean --count?" },
		{ "--hepl", "unknown option --hepl; did you mean --help?" },
		{ "-x", "unknown option -x" },
		{ "-fx", "unknown option -x" },
		{ "--fast=yes", "--fast takes no value" },
		{ "--count", "--count needs a value: --count N" },
		{ "-n", "--count needs a value: --count N" },
		{ "--count 12abc", "--count: '12abc' is not a whole number" },
		{ "--count 1.5", "--count: '1.5' is not a whole number" },
		{ "--count +5", "--count: '+5' is not a whole number" },
		{ "--count 0x10", "--count: '0x10' is not a whole number" },
		{ "--count _", "--count: '' is not a whole number" },
		{ "--count -", "--count: '-' is not a whole number" },
		{ "--count 101", "--count: 101 is out of range, -5 to 100 is allowed" },
		{ "--count -6", "--count: -6 is out of range, -5 to 100 is allowed" },
		{ "--count 99999999999999999999",
		  "--count: 99999999999999999999 is out of range, -5 to 100 is allowed" },
		{ "--mode fast", "--mode: 'fast' is not one of auto|native" },
		{ "--mode auto|native", "--mode: 'auto|native' is not one of auto|native" },
		{ "--mode aut", "--mode: 'aut' is not one of auto|native" },
		{ "--mode _", "--mode: '' is not one of auto|native" },
		{ "--name Ada", "--name: 'Ada' does not begin with a lower-case letter" },
		{ "---fast", "unknown option ---fast; did you mean --fast?" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct outcome *outcome = parse_line(table[i].line, false);

		if (outcome->ret != -EINVAL)
			fail_msg("%s: %d instead of -EINVAL", table[i].line, outcome->ret);
		if (strcmp(outcome->error, table[i].error))
			fail_msg("%s: \"%s\" instead of \"%s\"", table[i].line, outcome->error, table[i].error);
		free(outcome);
	}
}

static void test_accepted(void **state)
{
	struct outcome *o =
		parse_line("--count=-5 one --name ada -fq --mode native -e A=1 --env=B=2 two --json", false);

	(void)state;
	assert_int_equal(o->ret, 0);
	assert_false(o->help);
	assert_true(o->values.fast && o->values.quiet && o->globals.json);
	assert_int_equal(o->values.count, -5);
	assert_string_equal(o->values.name, "ada");
	assert_string_equal(o->values.mode, "native");
	assert_int_equal(o->values.env.count, 2);
	assert_string_equal(o->values.env.items[1], "B=2");
	assert_int_equal(o->rest.argc, 2);
	assert_string_equal(o->rest.argv[0], "one");
	assert_string_equal(o->rest.argv[1], "two");
	free(o);
}

static void test_defaults(void **state)
{
	struct outcome *o = parse_line("", false);

	(void)state;
	assert_int_equal(o->ret, 0);
	assert_int_equal(o->values.count, 7);
	assert_string_equal(o->values.mode, "auto");
	assert_null(o->values.name);
	assert_null(o->globals.node);
	assert_int_equal(o->rest.argc, 0);
	free(o);
}

static void test_positional(void **state)
{
	struct outcome *o = parse_line("- -5 -n5 -- --fast -x --", false);

	(void)state;
	assert_int_equal(o->ret, 0);
	assert_int_equal(o->values.count, 5);
	assert_false(o->values.fast);
	assert_int_equal(o->rest.argc, 5);
	assert_string_equal(o->rest.argv[0], "-");
	assert_string_equal(o->rest.argv[1], "-5");
	assert_string_equal(o->rest.argv[2], "--fast");
	assert_string_equal(o->rest.argv[4], "--");
	free(o);

	o = parse_line("--json up --unknown", true); /* the rest is the subcommand's */
	assert_int_equal(o->ret, 0);
	assert_true(o->globals.json);
	assert_int_equal(o->rest.argc, 2);
	assert_string_equal(o->rest.argv[1], "--unknown");
	free(o);
}

static void test_help(void **state)
{
	static const char *const lines[] = { "--help", "-h", "-fh", "--fast --help --nonsense", "positional --help" };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct outcome *o = parse_line(lines[i], false);

		assert_int_equal(o->ret, 0);
		assert_true(o->help);
		free(o);
	}
}

static void test_too_many(void **state)
{
	static char *argv[2 * OPTION_LIST_MAX + 2], name[] = "--env", value[] = "A=1";
	struct values values = { 0 };
	struct option_table table = { specs, &values };
	char error[OPTIONS_ERROR_MAX];
	struct option_rest rest;
	bool help;

	(void)state;
	for (size_t i = 0; i < sizeof(argv) / sizeof(argv[0]); i += 2) {
		argv[i] = name;
		argv[i + 1] = value;
	}
	assert_int_equal(options_parse(&table, 1, 2 * OPTION_LIST_MAX + 2, argv, false, &rest, &help, error), -EINVAL);
	assert_string_equal(error, "--env: given more than 256 times");
}

static void test_nearest(void **state)
{
	static const char *const names[] = { "up", "down", "status", "deploy", NULL };

	(void)state;
	assert_string_equal(option_nearest("dwon", names), "down");
	assert_string_equal(option_nearest("stat", names), "status");
	assert_string_equal(option_nearest("deplyo", names), "deploy");
	assert_string_equal(option_nearest("pu", names), "up");
	assert_null(option_nearest("frobnicate", names));
	assert_null(option_nearest("", names));
}

static void test_help_page(void **state)
{
	struct command_help help = {
		.name = "tool do",
		.summary = "does it",
		.synopsis = "[OPTIONS]",
		.description = "One two three four five six seven eight nine ten eleven twelve.\n\n kept   as is",
		.options = specs,
		.globals = global_specs,
		.exit_status = " 0  good",
	};
	char *text = NULL, *line, *save = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	options_print_help(out, &help, 40);
	fclose(out);
	assert_non_null(strstr(text, "tool do - does it\n"));
	assert_non_null(strstr(text, "-n, --count N\n"));
	assert_non_null(strstr(text, "(-5 to 100;"));
	assert_non_null(strstr(text, "default 7)"));
	assert_non_null(strstr(text, " kept   as is\n"));
	assert_non_null(strstr(text, "EXIT STATUS\n"));
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		assert_true(strlen(line) <= 40);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),	   cmocka_unit_test(test_accepted),  cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_positional), cmocka_unit_test(test_help),	     cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_nearest),	   cmocka_unit_test(test_help_page),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
