// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* options_help.c - prints --help pages from the option tables; see options.h for the contract. */
#include <string.h>

#include "tools/options.h"

#define INDENT 8
#define COLUMNS_MIN 40

static void pad(FILE *out, unsigned count)
{
	fprintf(out, "%*s", (int)count, "");
}

/* One paragraph, words filled up to `columns`. */
static void print_filled(FILE *out, const char *text, size_t length, unsigned indent, unsigned columns)
{
	unsigned column = 0;

	for (size_t at = 0; at < length;) {
		size_t word = strcspn(text + at, " \n");

		if (word > length - at)
			word = length - at;
		if (word) {
			if (column && column + 1 + word > columns) {
				fputc('\n', out);
				column = 0;
			}
			if (column) {
				fputc(' ', out);
				column++;
			} else {
				pad(out, indent);
				column = indent;
			}
			fwrite(text + at, 1, word, out);
			column += (unsigned)word;
		}
		at += word + 1;
	}
	fputc('\n', out);
}

void options_print_text(FILE *out, const char *text, unsigned indent, unsigned columns)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		size_t length = end ? (size_t)(end - text) : strlen(text);

		if (*text == ' ') { /* kept as is, line by line */
			for (const char *line = text; line < text + length;) {
				size_t n = strcspn(line, "\n");

				pad(out, indent);
				fprintf(out, "%.*s\n", (int)n, line);
				line += n + 1;
			}
		} else {
			print_filled(out, text, length, indent, columns);
		}
		text += length;
		if (end) {
			text += 2;
			fputc('\n', out);
		}
	}
}

static void print_option(FILE *out, const struct option_spec *spec, unsigned columns)
{
	char extra[160] = "", text[1024];

	pad(out, INDENT);
	if (spec->letter)
		fprintf(out, "-%c, ", spec->letter);
	fprintf(out, "--%s", spec->name);
	if (spec->metavar)
		fprintf(out, " %s", spec->metavar);
	fputc('\n', out);

	if (spec->type == OPTION_INTEGER && spec->fallback)
		snprintf(extra, sizeof(extra), " (%lld to %lld; default %s)", spec->min, spec->max, spec->fallback);
	else if (spec->type == OPTION_INTEGER)
		snprintf(extra, sizeof(extra), " (%lld to %lld)", spec->min, spec->max);
	else if (spec->type == OPTION_LIST)
		snprintf(extra, sizeof(extra), " May be given repeatedly.");
	else if (spec->fallback)
		snprintf(extra, sizeof(extra), " (default %s)", spec->fallback);
	snprintf(text, sizeof(text), "%s%s", spec->help, extra);
	options_print_text(out, text, INDENT + 8, columns);
}

static void print_options(FILE *out, const char *title, const struct option_spec *specs, unsigned columns)
{
	if (!specs || !specs->name)
		return;
	fprintf(out, "\n%s\n", title);
	for (; specs->name; specs++)
		print_option(out, specs, columns);
}

static void print_section(FILE *out, const char *title, const char *text, unsigned columns)
{
	if (!text)
		return;
	fprintf(out, "\n%s\n", title);
	options_print_text(out, text, INDENT, columns);
}

void options_print_help(FILE *out, const struct command_help *help, unsigned columns)
{
	if (columns < COLUMNS_MIN)
		columns = COLUMNS_MIN;
	fprintf(out, "NAME\n%*s%s - %s\n", INDENT, "", help->name, help->summary);
	fprintf(out, "\nSYNOPSIS\n%*s%s%s%s\n", INDENT, "", help->name, *help->synopsis ? " " : "", help->synopsis);
	print_section(out, "DESCRIPTION", help->description, columns);
	print_options(out, "OPTIONS", help->options, columns);
	print_options(out, "GLOBAL OPTIONS", help->globals, columns);
	print_section(out, "EXAMPLES", help->examples, columns);
	print_section(out, "EXIT STATUS", help->exit_status, columns);
}
