/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ends.h - what connects an instance with its agent: the channel in shared memory (runtimes/abi/channel.h), and the pipe of its output.
 *
 * Neither depends on the function, so the pool of sandboxes has them ready: made at the start of an instance they took 40 us of it.
 */
#ifndef WC_ENDS_H
#define WC_ENDS_H

#include "runtimes/abi/channel.h"

struct wc_ends {
	struct wc_channel *channel; /* the agent's mapping, or NULL: there are none */
	int child;		    /* the memfd of the channel, for the instance; -1: none */
	int mail[2];   /* socket for lines (runtimes/abi/line.h): the daemon's end, and the instance's; -1: none */
	int output[2]; /* pipe: the daemon's end, which never blocks, and the instance's; -1: none */
};

#define WC_ENDS_NONE ((struct wc_ends){ .child = -1, .mail = { -1, -1 }, .output = { -1, -1 } })

/* A channel in its first state, and a pipe. 0, or a negative errno; then *ret_ends is WC_ENDS_NONE. */
int wc_ends_make(struct wc_ends *ret_ends);
/* A pipe alone. Likewise. */
int wc_ends_pipe(struct wc_ends *ret_ends);
/* Unmap and close what is in there; it is WC_ENDS_NONE afterwards. Whoever takes something over sets it to NULL or -1 first. */
void wc_ends_close(struct wc_ends *ends);

#endif
