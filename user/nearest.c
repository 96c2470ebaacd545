/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* nearest.c - see nearest.h. */
#include "user/nearest.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#define NAME_MAX_COMPARED 40

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

/* Edits (insert, delete, replace, swap neighbours) that make `a` out of `b`. */
static unsigned distance(const char *a, const char *b)
{
	unsigned rows[3][NAME_MAX_COMPARED + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > NAME_MAX_COMPARED || m > NAME_MAX_COMPARED)
		return UINT_MAX;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			row[j] = min3(row[j - 1] + 1, last[j] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
	}
	return rows[n % 3][m];
}

const char *wc_nearest(const char *typed, const char *const *names)
{
	size_t length = strlen(typed);
	unsigned limit = length <= 3 ? 1 : length <= 8 ? 2 : 3;
	unsigned best = limit + 1;
	const char *found = NULL;

	for (; *names; names++) {
		unsigned d = distance(typed, *names);

		/* "--pend" for --pending: a beginning counts as near */
		if (length >= 3 && !strncmp(typed, *names, length))
			d = 1;
		if (d < best) {
			best = d;
			found = *names;
		}
	}
	return found;
}
