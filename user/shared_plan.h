/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * shared_plan.h - what the schedulers of a cluster share by etcd (docs/CLUSTER.md, the registry in etcd), as texts by key, the keys without the cluster's prefix:
 *
 *	functions/NAME/QUALIFIER   `name`, `qualifier`, `id`, `code_sha256`, `settings_mac`, `settings`, `limits`; $LATEST also `reserved_concurrency`
 *	aliases/NAME/ALIAS         `name`, `version`, `weights`, `description`, `provisioned`
 *	drained/NAME               {}: a node that is to get nothing new
 *	nodes/NAME                 `address`, `cores`, `state`; under a lease
 *	registry                   the mark: whoever wrote last, and what it had given out by then
 *
 * What is there and what is wanted are compared, and only what differs is written. A new leader that may know less than etcd does holds what differs: etcd keeps its
 * text until the leader's own becomes another one than it was then. Pure.
 */
#ifndef WC_SHARED_PLAN_H
#define WC_SHARED_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_SHARED_MARK "registry"

struct wc_shared_mark {
	char by[64];	     /* name of the leader */
	uint64_t term;	     /* its */
	uint32_t generation; /* of ids of functions: those that it had given out are not of a later one */
	uint32_t functions;  /* keys of functions */
	bool whole;	     /* all that was wanted was there then */
	bool held;	     /* whoever wrote held something: it is no more to be trusted than one that was away */
};

/* False: it is none. */
bool wc_shared_mark_read(const char *text, struct wc_shared_mark *ret_mark);
/* `written` makes each another one. The caller's to free(). */
char *wc_shared_mark_text(const struct wc_shared_mark *mark, uint64_t written);

/* A text for etcd; takes the object, which may be NULL. */
char *wc_shared_text(json_t *object);
/* A new object of a function, if the text is one, and is that of the key; else NULL. */
json_t *wc_shared_function(const char *key, const char *text);
uint32_t wc_shared_count(const json_t *texts, const char *prefix);

/* A new object: texts, or null for what is to be removed. Keys of others below the same prefix are left alone. */
json_t *wc_shared_differences(const json_t *there, const json_t *wanted);
/* How many of the differences, from the first on, go into one transaction; `extra` bytes for each key. At least 1 if there are any. */
size_t wc_shared_batch(const json_t *differences, size_t extra);

/*
 * What is held, by key: `there` and `here`, texts or null, and `why`:
 *	missing	etcd has it, and this host does not
 *	other	it has another code, other settings, or another id here
 *	stale	it is here, and etcd has not, though its id was given out before etcd was written: it was removed
 * `own`: this host's functions are not older than etcd's, so only what is missing counts. Aliases are held with their function.
 */
json_t *wc_shared_holds(const json_t *there, const json_t *wanted, const struct wc_shared_mark *mark, bool own);
void wc_shared_hold(json_t *held, const char *key, const char *there, const char *here, const char *why);
/* What is held takes the place of what is wanted; what is another one here than it was is held no more. */
void wc_shared_settle(json_t *wanted, json_t *held);

#endif
