/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sandboxes.h - the node's sandboxes (runtimes/abi/sandbox.h): a pool of those that are ready, and what becomes of the others.
 *
 * A sandbox is for one instance, once. The keeper of zygotes (zygotes.h) runs the maker, fills the pool, and clears away what is over;
 * whoever starts an instance takes one. Where the kernel or the rights of the daemon do not suffice there are none: instances are
 * then held by their user, the filter and an empty network namespace only, and status and doctor say so.
 */
#ifndef WC_SANDBOXES_H
#define WC_SANDBOXES_H

#include "user/ends.h"
#include "user/error.h"
#include "user/options.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct wc_sandboxes;
struct wc_launcher;
struct wc_watch;

struct wc_sandbox {
	struct wc_sandboxes *sandboxes;
	int life;   /* runtimes/abi/sandbox.h */
	int cgroup; /* folder of its group, or -1 */
	int rules;  /* Landlock ruleset for who runs in there (runtimes/abi/landlock.h), or -1 */
	uint32_t number;
	struct wc_watch *watch; /* of its init */
	struct wc_ends ends;	/* for its instance; none: somebody took them */
	struct wc_sandbox *next;
};

/* The keeper's thread: start the maker and make the first one. NULL in *ret_sandboxes: there are none, and *fault says why. */
int wc_sandboxes_open(struct wc_sandboxes **ret_sandboxes, const struct wc_launcher *launcher,
		      const struct wc_options *options, struct wc_fault *fault);
/* The keeper's thread: fill the pool, clear away. Returns in how many milliseconds it wants to be called again. */
int wc_sandboxes_look(struct wc_sandboxes *sandboxes);
/* Becomes readable when the pool wants to be looked at. */
int wc_sandboxes_timer(const struct wc_sandboxes *sandboxes);
/* The keeper's thread, at the end: the maker, and those that are still ready. Accepts NULL. */
void wc_sandboxes_stop(struct wc_sandboxes *sandboxes);
/* Then, when every process has been reaped (wc_watch_close()): what is left of all of them. Accepts NULL. */
void wc_sandboxes_free(struct wc_sandboxes *sandboxes);

/*
 * One that is ready, for an instance with this much memory. Any thread. `wait`: until there is one, some seconds at most. NULL: there is
 * none.
 */
struct wc_sandbox *wc_sandboxes_take(struct wc_sandboxes *sandboxes, uint32_t memory_mb, bool wait,
				     struct wc_fault *fault);
/* The process in there has its ruleset on: the descriptor is of no further use. Accepts NULL. */
void wc_sandbox_entered(struct wc_sandbox *sandbox);
/* Do control groups limit what is in a sandbox? Accepts NULL. */
bool wc_sandboxes_have_cgroups(const struct wc_sandboxes *sandboxes);
/* Has its init ended? */
bool wc_sandbox_dead(const struct wc_sandbox *sandbox);
/* Kill all that is in there and give it back. Any thread; returns at once. Accepts NULL. */
void wc_sandbox_end(struct wc_sandbox *sandbox);

/* A mount of a folder, read-only, to be put into a sandbox. A descriptor, or a negative errno. */
int wc_sandbox_mount(const char *folder, struct wc_fault *fault);
/*
 * Have the init of the sandbox put it in place: for a process that runs in there already. WC_SANDBOX_PUT_CODE or _SECRETS. 0 or a
 * negative errno.
 */
int wc_sandbox_put(struct wc_sandbox *sandbox, char request, int tree, struct wc_fault *fault);
/* Has the kernel killed it for want of memory? Accepts NULL. */
bool wc_sandbox_out_of_memory(const struct wc_sandbox *sandbox);

/* For status: {"mode": "on", "wanted": 4, "ready": 4, "ending": 0, "made": 17, "in_use": 3, "memory_limits": "..."} */
json_t *wc_sandboxes_json(struct wc_sandboxes *sandboxes, const char *why);

#endif
