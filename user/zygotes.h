/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * zygotes.h - the node's zygotes (runtimes/abi/zygote.h): which there are, and how to fork an instance from one.
 *
 * There is one for native functions, which also starts the programs of the others, and one for each set of libraries that
 * deployed Python functions declare. The keeper thread starts them, starts those again that died, and ends those that no function
 * declares any more. It is the parent thread of all instances, so it lives until the last one has gone.
 */
#ifndef WC_ZYGOTES_H
#define WC_ZYGOTES_H

#include "runtimes/abi/zygote.h"
#include "user/functions.h"
#include "user/instance.h"
#include "user/options.h"
#include "user/spares.h"

#include <jansson.h>

#define WC_ZYGOTES_MAX 32 /* sets of libraries beyond this are imported by each instance */

struct wc_zygotes;
struct wc_zygote;

/*
 * Start the keeper, and wait until there are sandboxes (launcher->sandboxes, or launcher->sandbox_why) and the native zygote is ready. After the watch and the thread scheduler, before the agents.
 */
int wc_zygotes_start(struct wc_zygotes **ret_zygotes, struct wc_launcher *launcher, struct wc_functions *functions,
		     const struct wc_options *options, struct wc_fault *fault);
/* End all of them. No instance may be left. Accepts NULL. */
void wc_zygotes_stop(struct wc_zygotes *zygotes);

/* Functions were deployed or removed. Any thread; returns at once. */
void wc_zygotes_changed(struct wc_zygotes *zygotes);

/*
 * The best zygote that is ready, for the caller alone until wc_zygote_give(): with the function's libraries, else with its
 * runtime only, else the native one, which can execute programs. `program`: nothing but the last will do. NULL: there is none.
 */
struct wc_zygote *wc_zygotes_take(struct wc_zygotes *zygotes, enum wc_runtime runtime, const char *libraries,
				  bool program, struct wc_fault *fault);
void wc_zygote_give(struct wc_zygote *zygote);

/* The runtime that it has in memory: when that is another than the function's, ask for WC_ZYGOTE_EXEC. */
enum wc_runtime wc_zygote_runtime(const struct wc_zygote *zygote);
/* What its children have of RLIMIT_DATA when they are born. */
uint32_t wc_zygote_data_mb(const struct wc_zygote *zygote);
/* Its slot with the thread scheduler, or WC_NONE. */
uint32_t wc_zygote_slot(const struct wc_zygote *zygote);
/*
 * Fork an instance on a CPU (-1: on any). `request` is a wc_zygote_request with its strings; -1 in `fds`: not there. Its pid, or a negative errno; -EPIPE: the zygote is
 * dead, try another one.
 */
pid_t wc_zygote_fork(struct wc_zygote *zygote, int cpu, const void *request, size_t length,
		     const int fds[WC_ZYGOTE_FDS]);

/* A Node.js process that was started ahead and suits this function. False: there is none. */
bool wc_zygotes_spare(struct wc_zygotes *zygotes, const struct wc_manifest *manifest, struct wc_spare *ret_spare);
/* How many of those are ready. */
int wc_zygotes_spares(struct wc_zygotes *zygotes);

/* A new array of objects for status: runtime, libraries, pid, state, forks, and memory in KiB. */
json_t *wc_zygotes_json(struct wc_zygotes *zygotes);

#endif
