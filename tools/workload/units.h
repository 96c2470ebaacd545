/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* units.h - times and rates as people write them: 250us, 1.5s, 10ms; 2000, 2.5k, 1M. */
#ifndef WC_WORKLOAD_UNITS_H
#define WC_WORKLOAD_UNITS_H

#include <stdbool.h>
#include <stddef.h>

/* A time in ns, us, ms, s, m or h, from 0 to 10^18 ns (31 years), to ns. A 0 needs no unit. False: *ret_ns is as it was. */
bool units_time(const char *text, double *ret_ns);
/* A number, not negative, with nothing or k, M, G (thousands) behind it. */
bool units_number(const char *text, double *ret_value);

#define UNITS_PARTS_MAX 64
/* Take "a,b,c" apart into at most `max` copies of up to UNITS_PARTS_MAX - 1 bytes each. How many; 0: none, too many, empty or too long. */
size_t units_split(const char *text, char (*parts)[UNITS_PARTS_MAX], size_t max);

#endif
