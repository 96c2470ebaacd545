// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* qualifier.c - see qualifier.h. No name of a function has a colon in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/qualifier.h"

const char *qualifier_of(const char *argument)
{
	const char *colon = strchr(argument, ':');

	return colon ? colon + 1 : NULL;
}

json_t *qualifier_request(const char *op, const char *argument)
{
	const char *qualifier = qualifier_of(argument);
	size_t length = qualifier ? (size_t)(qualifier - 1 - argument) : strlen(argument);
	json_t *name = json_stringn(argument, length);
	json_t *request =
		json_pack("{s:s, s:o, s:s*}", "op", op, "name", name ?: json_string("?"), "qualifier", qualifier);

	if (!request) { /* or what was typed is not UTF-8 */
		fprintf(stderr, "warmcore: the name cannot be asked for\n");
		exit(CLI_FAILED);
	}
	return request;
}
