/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * launch.h - start the process of an instance: which zygote forks it (zygotes.h), with which environment and rights.
 *
 * What an instance may not do here: it runs in a sandbox (sandboxes.h), as a user of its own for each function (uid
 * wc_uid_base() + slot), with no_new_privs, without capabilities, behind a filter, pinned to its core, with few open files,
 * and dies with the daemon. runtimes/native/zygote.c's become_instance() is where that is done.
 */
#ifndef WC_LAUNCH_H
#define WC_LAUNCH_H

#include "user/error.h"
#include "user/instance.h"

#define WC_UID_BASE 1879048192u /* 0x70000000: above what distributions and containers hand out */
#define WC_UID_NODES 65536u	/* ranges of WC_FUNCTIONS_MAX ids, one for each hash of a node's name */
_Static_assert(WC_UID_BASE + (uint64_t)WC_UID_NODES * WC_FUNCTIONS_MAX <= 0x80000000u,
	       "ids that every program can hold, and none is (uid_t)-1 or -2");

/*
 * The first user id of the functions of a node. Two nodes on a host have different ranges, unless their names collide (1 in
 * 65,536), so that their functions cannot signal or trace each other, and what a killed daemon left is known by its user.
 */
uint32_t wc_uid_base(const char *node);

/* Find the runtimes and make the network namespace of zygotes. `runtimes`: folder that holds them. */
int wc_launcher_open(struct wc_launcher *launcher, const char *node, const char *runtimes, const char *state_dir,
		     struct wc_fault *fault);
void wc_launcher_close(struct wc_launcher *launcher);

struct wc_spare;
struct wc_start_order;

/*
 * Have the native zygote fork a process that is no instance, with the descriptors of `fds` (wc_order_confine() has been there), and watch it as
 * `name`. The watch has `output` then, if that is not -1. -EAGAIN: not now, there is no zygote. 0 or a negative errno.
 */
int wc_launch_helper(const struct wc_launcher *launcher, const struct wc_start_order *order, const int *fds,
		     struct wc_sandbox *sandbox, int output, const char *name, struct wc_watch **ret_watch,
		     struct wc_fault *fault);
/* Start a Node.js process of spare->memory_mb that waits for a function; fills the rest. -EAGAIN: not now. */
int wc_launch_spare(const struct wc_launcher *launcher, struct wc_spare *spare, struct wc_fault *fault);

/* Start the process for instance->fn; fills pid, pidfd, slot, channel or socket, and watch. */
int wc_launch(const struct wc_launcher *launcher, struct wc_instance *instance, const struct wc_place *place,
	      struct wc_fault *fault);

#endif
