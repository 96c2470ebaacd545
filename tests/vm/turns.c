// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * turns.c - turns MICROSECONDS COMMAND...: run it in a VM with virtual time (scripts/vm-run.sh --icount), where the virtual
 * CPUs take turns of so long (tests/bench/icount.h).
 */
#include "tests/bench/icount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define US_MAX 20000 /* what the timer can count */

int main(int argc, char **argv)
{
	unsigned long us = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	int error;

	if (us < 1 || us > US_MAX) {
		fprintf(stderr, "Usage: turns MICROSECONDS COMMAND [ARGUMENT...]\n");
		return 2;
	}
	error = icount_open();
	if (error) {
		fprintf(stderr, "turns: %s\n", strerror(-error));
		return 1;
	}
	icount_set_turns((unsigned)us);
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
