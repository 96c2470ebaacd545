// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_knobs.c - any bytes as a configuration file of the daemon: refused with a sentence that has the file's name, or accepted with every value in
 * its limits; what was accepted, written out again as plain lines, is accepted again and means the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "user/options.h"

/* Fields of the table's kinds, as the program sees them. */
static void check_limits(const struct wc_knob *knob, const struct wc_options *options)
{
	const char *field = (const char *)options + knob->offset;
	uint32_t number, choices = 0;

	if (knob->kind == WC_KNOB_NUMBER) {
		number = knob->size == 2 ? *(const uint16_t *)(const void *)field :
					   *(const uint32_t *)(const void *)field;
		REQUIRE(number >= knob->min && number <= knob->max);
	} else if (knob->kind == WC_KNOB_CHOICE) {
		while (knob->choices[choices])
			choices++;
		number = knob->size == 1 ? *(const bool *)field : *(const uint32_t *)(const void *)field;
		REQUIRE(number < choices);
	} else if (knob->kind == WC_KNOB_TEXT) {
		REQUIRE(memchr(field, 0, knob->size) && *field);
	}
}

/* As a line in double quotes, with what needs it escaped. */
static size_t write_line(char *out, const char *name, const char *value)
{
	size_t at = (size_t)snprintf(out, 64, "%s: \"", name);

	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			out[at++] = '\\';
		out[at++] = *value;
	}
	memcpy(out + at, "\"\n", 3);
	return at + 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wc_options options, again;
	static struct wc_knobs_given given, second;
	static char text[WC_KNOBS_FILE_MAX * 4];
	const struct wc_knobs *knobs = &wc_options_knobs;
	struct wc_fault fault = { "" };
	size_t length = 0;
	int error;

	memset(&given, 0, sizeof(given));
	memset(&options, 0, sizeof(options));
	error = wc_knobs_text(knobs, "/etc/fuzz.yaml", (const char *)data, size, &given, &fault);
	REQUIRE(!error == !fault.text[0] && (!error || strstr(fault.text, "/etc/fuzz.yaml")));
	error = error ?: wc_knobs_apply(knobs, &given, &options, &fault);
	REQUIRE(!error == !fault.text[0]);
	for (uint32_t i = 0; !error && i < given.count; i++) {
		const struct wc_given *value = &given.list[i];
		const struct wc_knob *knob = &knobs->table[value->knob];

		REQUIRE(value->knob < knobs->count && value->line && knob->when != WC_KNOB_LINE);
		REQUIRE(strlen(value->text) < WC_KNOBS_VALUE_MAX);
		check_limits(knob, &options);
		if (knob->kind != WC_KNOB_OWN && length + 2 * WC_KNOBS_VALUE_MAX + 64 < sizeof(text))
			length += write_line(text + length, knob->name, value->text);
	}
	if (!error && length <= WC_KNOBS_FILE_MAX) {
		memset(&second, 0, sizeof(second));
		memset(&again, 0, sizeof(again));
		error = wc_knobs_text(knobs, "/etc/fuzz.yaml", text, length, &second, &fault);
		REQUIRE(!error && !wc_knobs_apply(knobs, &second, &again, &fault));
		for (size_t i = 0; i < knobs->count; i++)
			if (knobs->table[i].kind != WC_KNOB_OWN)
				REQUIRE(wc_knob_same(knobs, &knobs->table[i], &given, &options, &second, &again));
		wc_knobs_release(&second);
	}
	wc_knobs_release(&given);
	return 0;
}
