/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* qualifier.h - NAME:QUALIFIER on the command line: a published version or an alias of a function. */
#ifndef WC_TOOLS_QUALIFIER_H
#define WC_TOOLS_QUALIFIER_H

#include "tools/cli.h"

/*
 * A new request {"op":op,"name":NAME} and, where the argument has one, "qualifier". The daemon says what is wrong with either.
 * Ends the program when there is no memory.
 */
json_t *qualifier_request(const char *op, const char *argument);

/* The qualifier in the argument, or NULL. */
const char *qualifier_of(const char *argument);

#endif
