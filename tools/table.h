/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* table.h - aligned columns of text for people: collect rows, then print. */
#ifndef WC_TOOLS_TABLE_H
#define WC_TOOLS_TABLE_H

#include <stdio.h>

#define TABLE_COLUMNS_MAX 12

struct table;

/* `align`: one character a column, 'l' or 'r'; at most TABLE_COLUMNS_MAX. Out of memory ends the program. */
struct table *table_new(const char *align);

/* Adds one cell (printf format); a row is complete when every column has one. Out of memory ends the program. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints all complete rows behind `indent` blanks, two blanks between columns, and frees the table. */
void table_print(struct table *table, FILE *out, unsigned indent);

#endif
