/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * doc.h - a document, written as Markdown or as one HTML file that needs nothing else: headings, text, lists, tables, code, figures. What is
 * given is plain text; what would be markup is escaped.
 */
#ifndef WC_STUDY_DOC_H
#define WC_STUDY_DOC_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct doc {
	FILE *file;
	bool html;
	uint32_t columns; /* of the table that is being written */
};

void doc_begin(struct doc *doc, const char *title);
void doc_end(struct doc *doc);

void doc_heading(struct doc *doc, unsigned level, const char *text);
void doc_text(struct doc *doc, const char *format, ...) __attribute__((format(printf, 2, 3)));
void doc_code(struct doc *doc, const char *text);
void doc_list_begin(struct doc *doc);
void doc_item(struct doc *doc, const char *format, ...) __attribute__((format(printf, 2, 3)));
void doc_list_end(struct doc *doc);

/* Rows have as many cells as there are columns. */
void doc_table_begin(struct doc *doc, const char *const *columns, uint32_t count);
void doc_cell(struct doc *doc, uint32_t column, const char *format, ...) __attribute__((format(printf, 3, 4)));
void doc_table_end(struct doc *doc);

/* A picture that is at `path` and, seen from the document, at `link`: linked to in Markdown, taken into HTML. */
void doc_figure(struct doc *doc, const char *path, const char *link, const char *caption);

#endif
