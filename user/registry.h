/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * registry.h - STATE/registry.db: what is deployed and published on a node, its aliases and limits. Code is in folders (store.h), secrets are
 * in files (secrets.h); here are names, numbers and settings.
 *
 * The daemon alone has it open. Each function that changes it is one transaction that is synced to the disk: that is the moment of a
 * deployment, of going back, of publishing. So a crash leaves the old or the new state, never half of one. A state folder of a daemon that kept
 * function.json files is taken over when the database is made, all of it or nothing (registry_old.c). Not thread-safe: the caller has a lock.
 */
#ifndef WC_REGISTRY_H
#define WC_REGISTRY_H

#include "user/functions.h"
#include "user/record.h"

#define WC_REGISTRY_SCHEMA_VERSION 1

struct wc_registry;

struct wc_published {
	uint32_t number, id;
	time_t published_at;
	char revision[WC_REVISION_TEXT];
	struct wc_version version;
};

/* One function with all that belongs to it. */
struct wc_registry_entry {
	char name[WC_NAME_MAX];
	uint32_t id;
	uint32_t last_published; /* number given last; 0: none was */
	int64_t reserved;	 /* Lambda's reserved concurrency; -1: none */
	char revision[WC_REVISION_TEXT];
	struct wc_version current;
	struct wc_former *former;
	struct wc_published *published; /* by number */
	uint32_t published_count;
	struct wc_alias *aliases; /* by name */
	uint32_t aliases_count;
};
void wc_registry_entry_release(struct wc_registry_entry *entry);

/*
 * Open it; if there is none, make it, from what an older daemon left in STATE/functions. -EBUSY: another daemon has it; -EBADMSG: it is damaged or
 * missing; -EPROTO: of a newer version. Then nothing was changed.
 */
int wc_registry_open(struct wc_registry **ret_registry, const char *state_dir, struct wc_fault *fault);
void wc_registry_free(struct wc_registry *registry);

/* A newer daemon that was to take over has changed the schema, and failed: as wc_database_restore(). */
int wc_registry_restore(const char *state_dir, struct wc_fault *fault);

/* The generation that was given out last (functions.h). */
uint32_t wc_registry_generation(const struct wc_registry *registry);

/* Call back for each function; what is in the entry is the callback's if it takes it out. Ends with the first error. */
int wc_registry_each(struct wc_registry *registry,
		     int (*take)(void *context, struct wc_registry_entry *entry, struct wc_fault *fault), void *context,
		     struct wc_fault *fault);

/* --- changes --- */

/* $LATEST and the deployments before it. */
int wc_registry_put(struct wc_registry *registry, const struct wc_fn *fn, uint32_t generation, struct wc_fault *fault);
/* The function and all that belongs to it. */
int wc_registry_drop(struct wc_registry *registry, const char *name, struct wc_fault *fault);
/* A published version, new or with other limits. */
int wc_registry_put_version(struct wc_registry *registry, const struct wc_fn *fn, uint32_t generation,
			    struct wc_fault *fault);
int wc_registry_drop_version(struct wc_registry *registry, const char *name, uint32_t number, struct wc_fault *fault);
int wc_registry_put_alias(struct wc_registry *registry, const char *name, const struct wc_alias *alias,
			  struct wc_fault *fault);
int wc_registry_drop_alias(struct wc_registry *registry, const char *name, const char *alias, struct wc_fault *fault);
int wc_registry_put_reserved(struct wc_registry *registry, const char *name, int64_t reserved, struct wc_fault *fault);
/* At least this one. */
int wc_registry_put_generation(struct wc_registry *registry, uint32_t generation, struct wc_fault *fault);

/* Read all of it: a new object with `path`, `schema`, `bytes`, `problems` (array of texts; empty: it is sound). */
json_t *wc_registry_check(struct wc_registry *registry);
/* The same of a state folder that no daemon has, opened as a start would. NULL: there is none. */
json_t *wc_registry_check_file(const char *state_dir);

/* A new revision: 36 characters as of a random UUID. */
void wc_revision_new(char revision[WC_REVISION_TEXT]);

#endif
