/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* guard.c - see guard.h. */
#include "user/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

static _Thread_local sigjmp_buf *volatile way_out; /* while this thread copies */

static void take_bus_error(int number)
{
	sigjmp_buf *out = way_out;

	if (out)
		siglongjmp(*out, 1);
	signal(number, SIG_DFL); /* the access is tried again */
}

void wc_guard_open(void)
{
	/* Not blocked in the handler: who jumps out of it leaves the mask as it is. */
	struct sigaction action = { .sa_handler = take_bus_error, .sa_flags = SA_NODEFER };

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}

int wc_guard_copy(void *to, const void *from, size_t length)
{
	sigjmp_buf out;
	int error = 0;

	if (sigsetjmp(out, 0) == 0) {
		way_out = &out;
		memcpy(to, from, length);
	} else {
		error = -EFAULT;
	}
	way_out = NULL;
	return error;
}
