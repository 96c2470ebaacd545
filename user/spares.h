/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * spares.h - Node.js processes that were started ahead (spares of runtimes/abi/channel.h), because a running one cannot be forked.
 *
 * One for each size of memory that deployed Node.js functions have: the heap's limit belongs to the command line. When one
 * is taken, the keeper (zygotes.h) starts the next; a burst of cold starts beyond that starts the program each time.
 */
#ifndef WC_SPARES_H
#define WC_SPARES_H

#include "user/instance.h"

#define WC_SPARES_MAX 8

struct wc_spare {
	uint32_t memory_mb;
	pid_t pid;
	int pidfd; /* the watch's */
	struct wc_channel *channel;
	struct wc_watch *watch;
	struct wc_sandbox *sandbox; /* NULL: none */
};

struct wc_spares;

struct wc_spares *wc_spares_new(const struct wc_launcher *launcher, struct wc_functions *functions);
/* End all of them. Accepts NULL. */
void wc_spares_free(struct wc_spares *spares);

/*
 * The keeper only: start what is wanted, end what is not, see which are ready. True: some are starting, look again in some
 * milliseconds.
 */
bool wc_spares_look(struct wc_spares *spares);

/* One that is ready and has this size. It belongs to the caller from then on. Any thread. */
bool wc_spares_take(struct wc_spares *spares, uint32_t memory_mb, struct wc_spare *ret_spare);

/* Kill one that was taken. */
void wc_spare_end(struct wc_spare *spare);

/* Can this function begin in a process that runs already? */
bool wc_spares_suit(const struct wc_manifest *manifest);

/* How many are ready. */
int wc_spares_ready(struct wc_spares *spares);

#endif
