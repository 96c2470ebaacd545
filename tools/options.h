/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * options.h - commands and their options as tables; one parser reads them all and one printer writes all help.
 *
 * A command describes its options with an array of struct option_spec, ended by a zeroed entry; each names the member
 * of the command's own options struct that receives the value. Nothing here prints errors: the parser hands back one
 * sentence that says what is wrong and what was probably meant.
 */
#ifndef WC_TOOLS_OPTIONS_H
#define WC_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum option_type {
	OPTION_FLAG = 1, /* bool; takes no value */
	OPTION_STRING,	 /* const char *; points into argv */
	OPTION_INTEGER,	 /* long long, within [min, max] */
	OPTION_CHOICE,	 /* const char *; one of `choices` */
	OPTION_LIST,	 /* struct option_list; may be given repeatedly */
};

#define OPTION_LIST_MAX 256

struct option_list {
	const char *items[OPTION_LIST_MAX];
	size_t count;
};

struct option_spec {
	const char *name; /* without the dashes; NULL ends the table */
	char letter;	  /* short form, 0 = none */
	enum option_type type;
	size_t offset;	      /* of the member in the command's options struct */
	const char *metavar;  /* what --help calls the value; NULL for flags */
	const char *fallback; /* default, parsed like a given value, shown by --help; NULL = leave it alone */
	long long min, max;   /* OPTION_INTEGER */
	const char *choices;  /* OPTION_CHOICE: "kernel|user" */
	/* OPTION_STRING, OPTION_LIST: returns NULL, or what is wrong with the value ("is not a list of CPUs") */
	const char *(*check)(const char *value);
	const char *help; /* sentences, no newline */
};

/* Text blocks of --help. Paragraphs are separated by \n\n and wrapped; lines that begin with a blank are kept as is. */
struct command_help {
	const char *name;	 /* "warmcore up" */
	const char *summary;	 /* one line, lower case, no full stop */
	const char *synopsis;	 /* arguments after the name */
	const char *description; /* paragraphs */
	const char *examples;	 /* lines: "  command  # what for" */
	const struct option_spec *options;
	const struct option_spec *globals; /* may be NULL */
	const char *exit_status;	   /* kept as is; may be NULL */
};

#define OPTIONS_ERROR_MAX 512

/* What options_parse() leaves over: positional arguments. */
struct option_rest {
	char **argv;
	int argc;
};

struct option_table {
	const struct option_spec *specs;
	void *target; /* the struct that the offsets refer to */
};

/*
 * Reads argv[0..argc) (without the command's own name) by the given tables, the first that knows a name wins, and
 * moves the positional arguments to the front of argv. "--" ends the options. "-" and negative numbers are positional.
 * With `stop_at_positional`, everything from the first positional argument on is left over unread.
 * 0, or -EINVAL with one sentence in `error`. Sets *ret_help when --help or -h was among the options (and then stops).
 */
int options_parse(const struct option_table *tables, size_t tables_count, int argc, char **argv,
		  bool stop_at_positional, struct option_rest *ret_rest, bool *ret_help,
		  char error[static OPTIONS_ERROR_MAX]);

/* Writes every `fallback` of the table to its member. A fallback that does not parse is a bug: -EINVAL, `error` set. */
int options_set_defaults(const struct option_table *table, char error[static OPTIONS_ERROR_MAX]);

/* Decimal only, the whole string, no blanks, within [min, max]: 0, -EINVAL (not a number) or -ERANGE. */
int option_parse_integer(const char *text, long long min, long long max, long long *ret_value);

/* Of `names` (NULL-terminated), the one a user probably meant by `typed`; NULL when none is near. */
const char *option_nearest(const char *typed, const char *const *names);

/* Writes the whole --help page, wrapped at `columns` (at least 40). */
void options_print_help(FILE *out, const struct command_help *help, unsigned columns);

/* Writes `text` as wrapped paragraphs behind `indent` blanks; see struct command_help. */
void options_print_text(FILE *out, const char *text, unsigned indent, unsigned columns);

#endif
