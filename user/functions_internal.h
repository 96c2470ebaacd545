/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* functions_internal.h - what the parts of functions.h and published.h share. Only for functions*.c, published.c and aliases.c. */
#ifndef WC_FUNCTIONS_INTERNAL_H
#define WC_FUNCTIONS_INTERNAL_H

#include "user/functions.h"
#include "user/record.h"
#include "user/registry.h"

#define WC_GENERATIONS (1u << (32 - WC_FUNCTION_SLOT_BITS))

/* What belongs to a function and not to one of its versions. */
struct wc_family {
	uint32_t last_published;
	int64_t reserved; /* invocations of each version at a time; 0: none at all; -1: as their own limits say */
	uint32_t count;
	struct wc_alias *aliases; /* by name */
};

struct wc_functions {
	pthread_mutex_t change;	     /* held while deploying or removing, copies included */
	pthread_mutex_t lock;	     /* of slot[]; agents take it for every invocation, so it is never held for long */
	char dir[300];		     /* STATE/functions */
	uint32_t gid_base;	     /* of the groups that may read code; 0: everybody */
	uint32_t keep;		     /* versions of a function, the current one included */
	bool no_trusted, no_network; /* the node lets none have it */
	struct wc_tables *tables;
	struct wc_registry *registry;		    /* under `change` */
	struct wc_fn *slot[WC_FUNCTIONS_MAX];	    /* current and published versions, by slot of their id */
	struct wc_family *family[WC_FUNCTIONS_MAX]; /* by slot of $LATEST; changed under both */
	bool avoided[WC_FUNCTIONS_MAX];	    /* slots of what this host does not have, but its cluster; under `change` */
	uint32_t reserved[WC_RESERVES_MAX]; /* cores wanted by each reserve */
	atomic_uint provisioned;	    /* functions with provisioned instances */
	atomic_uint changes;		    /* of slot[] */
	atomic_uint generation;		    /* last one given out; kept in the registry, changed under `change` */
	uint32_t version; /* last one given out; the first one of a new daemon follows the highest loaded */
};

/* Takes over the version and those before it, also when there is no memory. A published version has no former ones: NULL. */
struct wc_fn *wc_fn_new(struct wc_version *version, struct wc_former *former, uint32_t published);

/* $LATEST (0) or a published version, or NULL. The caller holds `lock` or `change`. */
struct wc_fn *wc_functions_lookup(struct wc_functions *functions, const char *name, uint32_t published);
/* The same; where there is none, -ENOENT and a sentence. */
int wc_functions_require(struct wc_functions *functions, const char *name, uint32_t published, struct wc_fn **ret_fn,
			 struct wc_fault *fault);

/* Into the tables, and out of them. The caller holds `lock`, or nobody else knows the functions yet. */
void wc_functions_enter(struct wc_functions *functions, struct wc_fn *fn);
void wc_functions_leave(struct wc_functions *functions, uint32_t slot);
/* Limits of all versions of a function into the tables, and what follows from limits. Under `lock`. */
void wc_functions_settle(struct wc_functions *functions, uint32_t user);

/* Only what follows; and functions that found no room for their provisioned instances get them when there is some. Under `lock`. */
void wc_functions_note(struct wc_functions *functions);

/* A number for the reserve, and enough cores? `old` is what the function has now, or NULL. The caller holds `change`. */
int wc_functions_reserve(struct wc_functions *functions, struct wc_fn *fn, const struct wc_fn *old,
			 struct wc_fault *fault);
/* Is there room for what it wants? `old` as above, `wanted`: what it was granted before, which it is again without a look. */
int wc_functions_provision(struct wc_functions *functions, const struct wc_fn *fn, const struct wc_fn *old,
			   uint32_t wanted, struct wc_fault *fault);
/* Instances that may be kept ready in all. */
uint64_t wc_functions_room(const struct wc_functions *functions);
/* Instances that are to be kept ready for this version: its own, and its share of its aliases'. */
uint32_t wc_family_wants(const struct wc_family *family, const struct wc_fn *fn);
void wc_family_free(struct wc_family *family);
/* Does any version of the function but `without` use this code? The caller holds `change`. */
bool wc_functions_use(const struct wc_functions *functions, const struct wc_fn *latest, const struct wc_fn *without,
		      const struct wc_stored *code);

/* Code of any version of the function that has this content, or NULL. The caller holds `lock` or `change`. */
struct wc_stored *wc_functions_same_code(const struct wc_functions *functions, const struct wc_fn *latest,
					 const char *sha256);

/* The id `wanted`, or (0) one of its own, with a generation that the next put into the registry keeps. The caller holds `change`. */
int wc_functions_new_id(struct wc_functions *functions, uint32_t wanted, uint32_t *ret_id, struct wc_fault *fault);
/* Could a new function have this id? -EINVAL: it is none; -EEXIST: its slot is taken. The caller holds `change`. */
int wc_functions_check_id(const struct wc_functions *functions, uint32_t id, struct wc_fault *fault);

#endif
