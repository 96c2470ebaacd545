// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* doc.c - see doc.h. */
#include "tools/study/doc.h"

#include <stdarg.h>
#include <string.h>

#define TEXT_MAX 8192

static const char style[] =
	"body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1e23;background:#fff}"
	"h1,h2,h3{line-height:1.2}h2{margin-top:2.2rem;border-bottom:1px solid #d0d4da;padding-bottom:.2rem}"
	"table{border-collapse:collapse;margin:1rem 0;font-size:.9rem;display:block;overflow-x:auto}"
	"th,td{border:1px solid #d0d4da;padding:.25rem .6rem;text-align:left;vertical-align:top}th{background:#f2f4f7}"
	"td{font-variant-numeric:tabular-nums}pre{background:#f2f4f7;padding:.7rem;overflow-x:auto}"
	"figure{margin:1.2rem 0}figure svg{max-width:100%;height:auto}figcaption{font-size:.9rem;color:#4a505a}";

static void put(struct doc *doc, const char *text)
{
	for (; *text; text++) {
		const char *safe = NULL;

		if (doc->html)
			safe = *text == '&' ? "&amp;" :
			       *text == '<' ? "&lt;" :
			       *text == '>' ? "&gt;" :
			       *text == '"' ? "&quot;" :
					      NULL;
		else if (*text == '\n')
			safe = " ";
		else if (*text == '<')
			safe = "&lt;";
		else if (*text == '&')
			safe = "&amp;";
		else if (strchr("\\`*_[]|~", *text))
			putc('\\', doc->file);
		if (safe)
			fputs(safe, doc->file);
		else
			putc(*text, doc->file);
	}
}

static void put_format(struct doc *doc, const char *format, va_list args)
{
	char text[TEXT_MAX];

	vsnprintf(text, sizeof(text), format, args);
	put(doc, text);
}

void doc_begin(struct doc *doc, const char *title)
{
	if (doc->html) {
		fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>",
		      doc->file);
		put(doc, title);
		fprintf(doc->file, "</title><style>%s</style></head><body>\n", style);
	}
	doc_heading(doc, 1, title);
}

void doc_end(struct doc *doc)
{
	if (doc->html)
		fputs("</body></html>\n", doc->file);
}

void doc_heading(struct doc *doc, unsigned level, const char *text)
{
	if (doc->html)
		fprintf(doc->file, "<h%u>", level);
	else
		fprintf(doc->file, "%.*s ", (int)level, "####");
	put(doc, text);
	if (doc->html)
		fprintf(doc->file, "</h%u>\n", level);
	else
		fputs("\n\n", doc->file);
}

void doc_text(struct doc *doc, const char *format, ...)
{
	va_list args;

	fputs(doc->html ? "<p>" : "", doc->file);
	va_start(args, format);
	put_format(doc, format, args);
	va_end(args);
	fputs(doc->html ? "</p>\n" : "\n\n", doc->file);
}

void doc_code(struct doc *doc, const char *text)
{
	if (doc->html) {
		fputs("<pre>", doc->file);
		put(doc, text);
		fputs("</pre>\n", doc->file);
		return;
	}
	fputs("    ", doc->file);
	for (; *text; text++) {
		putc(*text, doc->file);
		if (*text == '\n' && text[1])
			fputs("    ", doc->file);
	}
	fputs("\n\n", doc->file);
}

void doc_list_begin(struct doc *doc)
{
	fputs(doc->html ? "<ul>\n" : "", doc->file);
}

void doc_item(struct doc *doc, const char *format, ...)
{
	va_list args;

	fputs(doc->html ? "<li>" : "- ", doc->file);
	va_start(args, format);
	put_format(doc, format, args);
	va_end(args);
	fputs(doc->html ? "</li>\n" : "\n", doc->file);
}

void doc_list_end(struct doc *doc)
{
	fputs(doc->html ? "</ul>\n" : "\n", doc->file);
}

void doc_table_begin(struct doc *doc, const char *const *columns, uint32_t count)
{
	doc->columns = count;
	fputs(doc->html ? "<table><tr>" : "|", doc->file);
	for (uint32_t i = 0; i < count; i++) {
		fputs(doc->html ? "<th>" : " ", doc->file);
		put(doc, columns[i]);
		fputs(doc->html ? "</th>" : " |", doc->file);
	}
	fputs(doc->html ? "</tr>\n" : "\n|", doc->file);
	for (uint32_t i = 0; i < count && !doc->html; i++)
		fputs(" --- |", doc->file);
	fputs(doc->html ? "" : "\n", doc->file);
}

void doc_cell(struct doc *doc, uint32_t column, const char *format, ...)
{
	va_list args;

	if (!column)
		fputs(doc->html ? "<tr>" : "|", doc->file);
	fputs(doc->html ? "<td>" : " ", doc->file);
	va_start(args, format);
	put_format(doc, format, args);
	va_end(args);
	fputs(doc->html ? "</td>" : " |", doc->file);
	if (column + 1 == doc->columns)
		fputs(doc->html ? "</tr>\n" : "\n", doc->file);
}

void doc_table_end(struct doc *doc)
{
	fputs(doc->html ? "</table>\n" : "\n", doc->file);
}

/* The picture itself, without what comes before <svg, which only files have. */
static void put_svg(struct doc *doc, const char *path)
{
	FILE *file = fopen(path, "re");
	bool inside = false;
	char line[4096];

	while (file && fgets(line, sizeof(line), file)) {
		const char *from = inside ? line : strstr(line, "<svg");

		if (!from)
			continue;
		inside = true;
		fputs(from, doc->file);
	}
	if (file)
		fclose(file);
}

void doc_figure(struct doc *doc, const char *path, const char *link, const char *caption)
{
	if (!doc->html) {
		fputs("![", doc->file);
		put(doc, caption);
		fprintf(doc->file, "](%s)\n\n", link);
		return;
	}
	fputs("<figure>", doc->file);
	put_svg(doc, path);
	fputs("<figcaption>", doc->file);
	put(doc, caption);
	fputs("</figcaption></figure>\n", doc->file);
}
