/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * printable.h - a text from elsewhere as a terminal may get it: no control character, no escape sequence, nothing that takes no place or
 * turns the direction of what follows; what is left out is a question mark.
 */
#ifndef WC_TOOLS_PRINTABLE_H
#define WC_TOOLS_PRINTABLE_H

#include <stddef.h>

/*
 * Writes at most size bytes, terminating 0 included, never half a character, and never more than it reads. Characters beyond ASCII stay if they are valid UTF-8, the
 * locale (setlocale() was called) is UTF-8, too, and knows them as printable. Reads up to max bytes, or a 0. Returns `out`.
 */
char *printable(const char *text, size_t max, char *out, size_t size);

#endif
