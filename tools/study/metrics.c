// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* metrics.c - see metrics.h. */
#include "tools/study/metrics.h"

#include <string.h>

#define X(name, unit, text) #name,
const char *const metric_names[METRIC_COUNT + 1] = { METRICS(X) NULL };
#undef X
#define X(name, unit, text) unit,
const char *const metric_units[METRIC_COUNT] = { METRICS(X) };
#undef X
#define X(name, unit, text) text,
const char *const metric_texts[METRIC_COUNT] = { METRICS(X) };
#undef X

enum metric metric_find(const char *name, size_t length)
{
	unsigned i = 0;

	while (i < METRIC_COUNT && (strlen(metric_names[i]) != length || memcmp(metric_names[i], name, length)))
		i++;
	return (enum metric)i;
}
