/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* units.c - see units.h. */
#include "tools/workload/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TIME_MAX_NS 1e18
#define NUMBER_MAX 1e18

struct unit {
	const char *name;
	double factor;
};

/* Digits and a point only: strtod() alone would take "inf", "0x10", " 1" and "-1". */
static bool parse(const char *text, const struct unit *units, bool need_unit, double max, double *ret_value)
{
	double value;
	char *end;

	if ((*text < '0' || *text > '9') && *text != '.')
		return false;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		return false;
	value = strtod(text, &end);
	if (end == text || !isfinite(value))
		return false;
	if (*end) {
		for (; units->name && strcmp(units->name, end) != 0; units++)
			;
		if (!units->name)
			return false;
		value *= units->factor;
	} else if (need_unit && value != 0) {
		return false;
	}
	if (!(value <= max))
		return false;
	*ret_value = value;
	return true;
}

bool units_time(const char *text, double *ret_ns)
{
	static const struct unit units[] = { { "ns", 1 },   { "us", 1e3 },   { "ms", 1e6 }, { "s", 1e9 },
					     { "m", 60e9 }, { "h", 3600e9 }, { NULL, 0 } };

	return parse(text, units, true, TIME_MAX_NS, ret_ns);
}

bool units_number(const char *text, double *ret_value)
{
	static const struct unit units[] = { { "k", 1e3 }, { "M", 1e6 }, { "G", 1e9 }, { NULL, 0 } };

	return parse(text, units, false, NUMBER_MAX, ret_value);
}

size_t units_split(const char *text, char (*parts)[UNITS_PARTS_MAX], size_t max)
{
	for (size_t count = 0; count < max; count++) {
		size_t length = strcspn(text, ",");

		if (!length || length >= UNITS_PARTS_MAX)
			return 0;
		memcpy(parts[count], text, length);
		parts[count][length] = 0;
		if (!text[length])
			return count + 1;
		text += length + 1;
	}
	return 0;
}
