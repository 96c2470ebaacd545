/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * published.h - published versions and aliases of functions, as AWS Lambda has them, beside the deployments of functions.h.
 *
 * Publishing freezes what is current, code and settings, under a number that is never given again, unless somebody asks for it. The version is a function of its own to the
 * dispatcher: another id, other instances, other counts. An alias is a name for one version, or for two with a weight. A qualifier is
 * "$LATEST", the number of a version, or an alias. All of it is in the registry before it is in memory; on failure nothing changes.
 */
#ifndef WC_PUBLISHED_H
#define WC_PUBLISHED_H

#include "user/functions.h"

#define WC_TARGETS_MAX 2
#define WC_RESERVED_MAX (WC_CORES_MAX * WC_LANES_MAX) /* invocations at a time */

/* What an invocation of a qualifier may run, and how often: weights add up to 1. */
struct wc_target {
	struct wc_fn *fn; /* a reference */
	double weight;
};

/* Takes NULL for $LATEST. Errors: -ENOENT, -EINVAL. Give the references back with wc_targets_put(). */
int wc_functions_resolve(struct wc_functions *functions, const char *name, const char *qualifier,
			 struct wc_target targets[WC_TARGETS_MAX], uint32_t *ret_count, struct wc_fault *fault);
void wc_targets_put(struct wc_target *targets, uint32_t count);

/* Conditions and further words of a change; NULL: none. */
struct wc_publish {
	const char *description; /* instead of that of $LATEST */
	const char *code_sha256; /* $LATEST must have this code, */
	const char *revision;	 /* and be this one: -ESTALE otherwise */
	uint32_t number, id;	 /* of the version; 0: any. For whoever makes this node like another one */
};

/*
 * *ret_fn is a reference to the version; *ret_unchanged: it is the last one, or that of the number, and was published before. -EEXIST: number or id
 * are something else's.
 */
int wc_functions_publish(struct wc_functions *functions, const char *name, const struct wc_publish *publish,
			 struct wc_fn **ret_fn, bool *ret_unchanged, struct wc_fault *fault);
/* -EEXIST: an alias stands for it. */
int wc_functions_unpublish(struct wc_functions *functions, const char *name, uint32_t number, struct wc_fault *fault);
/* A new array of function objects: $LATEST, then by number. */
int wc_functions_published(struct wc_functions *functions, const char *name, json_t **ret_versions,
			   struct wc_fault *fault);

/* --- aliases --- */

enum wc_alias_how {
	WC_ALIAS_SET,	 /* create or update */
	WC_ALIAS_CREATE, /* -EEXIST: there is one */
	WC_ALIAS_UPDATE, /* -ENOENT: there is none */
};

struct wc_alias_change {
	const char *name;
	enum wc_alias_how how;
	bool has_version, has_other, has_provisioned; /* else as it is */
	uint32_t version, other, provisioned;
	double weight;
	const char *description; /* NULL: as it is */
	const char *revision;	 /* of the alias: -ESTALE if it is another one; NULL: any */
};

/* *ret_alias: a new object as docs/CONTROL.md has it. */
int wc_alias_set(struct wc_functions *functions, const char *name, const struct wc_alias_change *change,
		 json_t **ret_alias, bool *ret_created, struct wc_fault *fault);
int wc_alias_get(struct wc_functions *functions, const char *name, const char *alias, json_t **ret_alias,
		 struct wc_fault *fault);
/* A new array. */
int wc_alias_list(struct wc_functions *functions, const char *name, json_t **ret_aliases, struct wc_fault *fault);
int wc_alias_remove(struct wc_functions *functions, const char *name, const char *alias, const char *revision,
		    struct wc_fault *fault);

/* --- concurrency --- */

/* Lambda's reserved concurrency: at most so many invocations of each version at a time, 0: none at all, -1: no such limit. */
int wc_functions_set_reserved(struct wc_functions *functions, const char *name, int64_t reserved,
			      struct wc_fault *fault);
int wc_functions_get_reserved(struct wc_functions *functions, const char *name, int64_t *ret_reserved,
			      struct wc_fault *fault);
/* Lambda's provisioned concurrency of each qualifier that has some: a new array; `qualifier`: of this one only. */
int wc_functions_list_provisioned(struct wc_functions *functions, const char *name, const char *qualifier,
				  json_t **ret_list, struct wc_fault *fault);

/* "$LATEST" is 0, "7" is 7. False: it is neither, but may be an alias. */
bool wc_qualifier_number(const char *qualifier, uint32_t *ret_number);

#endif
