// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_log.c - any bytes as a function's output, and any bytes as a line of a log: a record is one line of printable text, which is taken
 * apart to what went in; the parts of any other line are within it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "user/log_record.h"

static void check_text(const char *text, size_t length)
{
	char again[16 * WC_LOG_TEXT_MAX];

	for (size_t i = 0; i < length; i++)
		REQUIRE((unsigned char)text[i] >= 0x20 ? text[i] != 0x7f : text[i] == '\t');
	/* Nothing is left to escape. */
	REQUIRE(wc_log_escape(again, text, length) == length && !memcmp(again, text, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[WC_LOG_RECORD_MAX];
	const struct wc_log_source source = { .function = "name", .version = 1, .pid = 2 };
	struct wc_log_record record = {
		.stamp = "2026-01-31T23:59:59.123Z", .source = &source, .text = (const char *)data, .length = size
	};
	struct wc_log_parts parts;
	size_t n;

	if (size > WC_LOG_TEXT_MAX)
		return 0;
	n = wc_log_format(line, &record);
	REQUIRE(n <= sizeof(line) && line[n - 1] == '\n' && !memchr(line, '\n', n - 1));
	REQUIRE(wc_log_parse(line, n - 1, &parts));
	check_text(parts.text.at, parts.text.length);
	REQUIRE(parts.function.length == 4 && !memcmp(parts.function.at, "name", 4));
	if (wc_log_parse((const char *)data, size, &parts))
		REQUIRE(parts.time.at == (const char *)data &&
			parts.text.at + parts.text.length == (const char *)data + size);
	return 0;
}
