/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* knobs_print.c - see knobs.h: what people read of the table, and of what is in force. */
#include "user/knobs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LINE_COLUMNS 100

const char *const wc_knobs_print_names[] = { "nothing", "check", "show", "example", "table", NULL };

/* --- one value as text --- */

/* Of a field. False: it cannot be told from there, or there is none. */
static bool field_text(const struct wc_knob *knob, const void *options, char *out, size_t size)
{
	const char *field = (const char *)options + knob->offset, *pointer;
	uint32_t number;

	switch (knob->kind) {
	case WC_KNOB_FLAG:
		snprintf(out, size, "%s", *(const bool *)field ? "on" : "off");
		return true;
	case WC_KNOB_TEXT:
		snprintf(out, size, "%s", field);
		return *field;
	case WC_KNOB_POINTER:
		pointer = *(const char *const *)(const void *)field;
		snprintf(out, size, "%s", pointer ?: "");
		return pointer != NULL;
	case WC_KNOB_NUMBER:
		number = knob->size == 2 ? *(const uint16_t *)(const void *)field :
					   *(const uint32_t *)(const void *)field;
		snprintf(out, size, "%u", number);
		return number >= knob->min && number <= knob->max; /* else it follows from something else */
	case WC_KNOB_CHOICE:
		snprintf(out, size, "%s",
			 knob->choices[knob->size == 1 ? *(const bool *)field : *(const int *)(const void *)field]);
		return true;
	case WC_KNOB_OWN:
		snprintf(out, size, "%s", knob->fallback ?: "");
		return knob->fallback != NULL;
	}
	return false;
}

/* Values that count: of the line, if it has any, else of the file. */
static uint32_t count_given(const struct wc_knobs_given *given, uint32_t knob, bool *ret_line)
{
	uint32_t line = 0, file = 0;

	for (uint32_t i = 0; i < given->count; i++) {
		line += given->list[i].knob == knob && !given->list[i].line;
		file += given->list[i].knob == knob && given->list[i].line;
	}
	*ret_line = line;
	return line ?: file;
}

static json_t *given_values(const struct wc_knobs_given *given, uint32_t knob, bool line)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < given->count; i++)
		if (given->list[i].knob == knob && !given->list[i].line == line)
			json_array_append_new(list, json_string(given->list[i].text) ?: json_string("?"));
	return list;
}

bool wc_knob_same(const struct wc_knobs *knobs, const struct wc_knob *knob, const struct wc_knobs_given *given_a,
		  const void *a, const struct wc_knobs_given *given_b, const void *b)
{
	char text_a[WC_KNOBS_VALUE_MAX], text_b[WC_KNOBS_VALUE_MAX];
	uint32_t index = (uint32_t)(knob - knobs->table);
	bool line_a, line_b, same;
	json_t *list_a, *list_b;

	if (knob->kind != WC_KNOB_OWN)
		return field_text(knob, a, text_a, sizeof(text_a)) == field_text(knob, b, text_b, sizeof(text_b)) &&
		       !strcmp(text_a, text_b);
	count_given(given_a, index, &line_a);
	count_given(given_b, index, &line_b);
	list_a = given_values(given_a, index, line_a);
	list_b = given_values(given_b, index, line_b);
	same = json_equal(list_a, list_b);
	json_decref(list_a);
	json_decref(list_b);
	return same;
}

/* --- all values, as JSON --- */

static json_t *knob_json(const struct wc_knobs *knobs, const struct wc_knobs_given *given, const void *options,
			 uint32_t index)
{
	const struct wc_knob *knob = &knobs->table[index];
	char text[WC_KNOBS_VALUE_MAX], from[300] = "default";
	bool line, known = field_text(knob, options, text, sizeof(text));
	uint32_t count = count_given(given, index, &line);
	json_t *value, *list;

	if (count && (knob->kind == WC_KNOB_OWN || knob->list)) {
		list = given_values(given, index, line);
		value = knob->list ? json_incref(list) : json_incref(json_array_get(list, count - 1));
		json_decref(list);
	} else {
		value = known ? json_string(text) : json_null();
	}
	if (line)
		snprintf(from, sizeof(from), "command line");
	for (uint32_t i = 0; count && !line && i < given->count; i++)
		if (given->list[i].knob == index)
			snprintf(from, sizeof(from), "%.255s:%u", given->path, given->list[i].line);
	return json_pack("{s:s, s:o, s:s, s:s}", "name", knob->name, "value", value, "from", from, "change",
			 knob->when == WC_KNOB_LIVE ? "reload" : "restart");
}

void *wc_knobs_json(const struct wc_knobs *knobs, const struct wc_knobs_given *given, const void *options)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < knobs->count; i++)
		if (knobs->table[i].when != WC_KNOB_LINE)
			json_array_append_new(list, knob_json(knobs, given, options, i));
	return json_pack("{s:s, s:s?, s:o}", "program", knobs->program, "file", given->path[0] ? given->path : NULL,
			 "knobs", list);
}

/* --- for people --- */

void wc_knobs_help(const struct wc_knobs *knobs)
{
	for (size_t i = 0; i < knobs->count; i++) {
		char left[48];

		snprintf(left, sizeof(left), "--%s%s%s", knobs->table[i].name, knobs->table[i].argument ? " " : "",
			 knobs->table[i].argument ?: "");
		printf("  %-30s %s\n", left, knobs->table[i].help);
	}
	printf("  %-30s %s\n  %-30s %s\n\n", "--help", "this text", "--version", "the version");
}

static void print_comment(const char *text)
{
	size_t column = 0;

	for (const char *at = text; *at;) {
		size_t word = strcspn(at, " ");

		if (!column || column + 1 + word > LINE_COLUMNS) {
			printf("%s#", column ? "\n" : "");
			column = 1;
		}
		printf(" %.*s", (int)word, at);
		column += word + 1;
		at += word + (at[word] == ' ');
	}
	putchar('\n');
}

/* In quotes where YAML would take it for something else. */
static void print_value(const char *text)
{
	bool plain = *text && !strchr("-?:,[]{}#&*!|>'\"%@` ", *text) && !strstr(text, ": ") && !strstr(text, " #");

	printf(plain ? "%s" : "\"%s\"", text);
}

static void print_example(const struct wc_knobs *knobs, const void *options)
{
	char name[64], text[WC_KNOBS_VALUE_MAX];

	snprintf(name, sizeof(name), knobs->file, "NODE");
	printf("# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause\n#\n"
	       "# Every knob of %s, with its default. Copy this to %s/%s, which belongs to root, take the # before\n"
	       "# a name away and change the value. What the command line says wins over the file. Check it: warmcore config check\n"
	       "# Have it read again by what runs: warmcore reload, or systemctl reload. docs/CONFIG.md has more.\n",
	       knobs->program, WC_KNOBS_FOLDER, name);
	for (size_t i = 0; i < knobs->count; i++) {
		const struct wc_knob *knob = &knobs->table[i];

		if (knob->when == WC_KNOB_LINE)
			continue;
		putchar('\n');
		print_comment(knob->help);
		if (knob->kind == WC_KNOB_NUMBER)
			printf("# A number from %llu to %llu.\n", (unsigned long long)knob->min,
			       (unsigned long long)knob->max);
		printf("# %s\n#%s: ",
		       knob->when == WC_KNOB_LIVE ? "A reload changes it." : "Another value needs a restart.",
		       knob->name);
		if (!knob->fallback && field_text(knob, options, text, sizeof(text)))
			print_value(text);
		else
			print_value(knob->argument ?: "on");
		putchar('\n');
	}
}

static void print_cell(const char *text)
{
	for (; *text; text++)
		printf(*text == '|' ? "\\%c" : "%c", *text);
}

static void print_table(const struct wc_knobs *knobs)
{
	printf("| knob | value | reload | what it is |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < knobs->count; i++) {
		const struct wc_knob *knob = &knobs->table[i];

		if (knob->when == WC_KNOB_LINE)
			continue;
		printf("| `%s` | ", knob->name);
		if (knob->kind == WC_KNOB_NUMBER)
			printf("%llu to %llu", (unsigned long long)knob->min, (unsigned long long)knob->max);
		else if (knob->kind == WC_KNOB_FLAG)
			printf("on, off");
		else
			print_cell(knob->argument);
		printf(" | %s | ", knob->when == WC_KNOB_LIVE ? "yes" : "restart");
		print_cell(knob->help);
		printf(" |\n");
	}
}

int wc_knobs_print(const struct wc_knobs *knobs, const struct wc_knobs_given *given, const void *options,
		   enum wc_knobs_print what)
{
	json_t *object;
	char *text;

	switch (what) {
	case WC_KNOBS_PRINT_NOTHING:
		break;
	case WC_KNOBS_PRINT_CHECK:
		if (given->path[0])
			printf("%s: %s is good\n", knobs->program, given->path);
		else
			printf("%s: there is no configuration file; everything else is good\n", knobs->program);
		break;
	case WC_KNOBS_PRINT_SHOW:
		object = wc_knobs_json(knobs, given, options);
		text = object ? json_dumps(object, JSON_COMPACT) : NULL;
		json_decref(object);
		if (!text)
			return -ENOMEM;
		puts(text);
		free(text);
		break;
	case WC_KNOBS_PRINT_EXAMPLE:
		print_example(knobs, options);
		break;
	case WC_KNOBS_PRINT_TABLE:
		print_table(knobs);
		break;
	}
	return fflush(stdout) || ferror(stdout) ? -EIO : 0;
}
