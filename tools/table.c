// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* table.c - aligned columns of text for people; see table.h for the contract. */
#include <err.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/table.h"

struct table {
	char align[TABLE_COLUMNS_MAX + 1];
	size_t columns;
	char **cells; /* row by row */
	size_t count, capacity;
};

struct table *table_new(const char *align)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		err(1, "table");
	snprintf(table->align, sizeof(table->align), "%s", align);
	table->columns = strlen(table->align);
	return table;
}

void table_cell(struct table *table, const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		err(1, "table");
	if (table->count == table->capacity) {
		table->capacity = table->capacity ? table->capacity * 2 : 64;
		table->cells = reallocarray(table->cells, table->capacity, sizeof(*table->cells));
		if (!table->cells)
			err(1, "table");
	}
	table->cells[table->count++] = text;
}

/* Characters, not bytes: the continuation bytes of UTF-8 take no place. */
static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void table_print(struct table *table, FILE *out, unsigned indent)
{
	int widths[TABLE_COLUMNS_MAX] = { 0 };

	for (size_t i = 0; i < table->count; i++) {
		int width = width_of(table->cells[i]);

		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	for (size_t i = 0; i < table->count; i++) {
		size_t column = i % table->columns;
		int gap = widths[column] - width_of(table->cells[i]);

		fprintf(out, "%*s", column ? 2 : (int)indent, "");
		if (table->align[column] == 'r')
			fprintf(out, "%*s%s", gap, "", table->cells[i]);
		else
			fprintf(out, "%s%*s", table->cells[i], column + 1 < table->columns ? gap : 0, "");
		if (column + 1 == table->columns)
			fputc('\n', out);
	}
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}
