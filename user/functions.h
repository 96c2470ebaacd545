/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * functions.h - which functions are deployed, their code on disk, their entry in wc_functions.
 *
 * On disk: STATE/registry.db (registry.h) has the ids, versions, settings and aliases; STATE/functions/NAME/vN is code (store.h). A
 * transaction is the moment of deployment, of going back to an older version, and of publishing one: so a crash leaves the old or
 * the new function, never half of one.
 *
 * A published version (published.h) is a function of its own to everything that dispatches, with an id of its own; it has the
 * name, the user and the secrets of its function, and shares its code. Thread-safe: one mutex for the table, references for what it holds.
 */
#ifndef WC_FUNCTIONS_H
#define WC_FUNCTIONS_H

#include "bpf/maps.h"
#include "user/error.h"
#include "user/store.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define WC_ENVIRONMENT_MAX 4096
#define WC_TIMEOUT_MS_MAX 900000
#define WC_MEMORY_MB_MIN 16
#define WC_MEMORY_MB_MAX 10240
#define WC_QUEUE_LIMIT_MAX 1000000
#define WC_LIBRARIES_MAX 16
#define WC_PROVISIONED_MAX 1024
#define WC_LIBRARY_NAME_MAX 32
#define WC_VERSIONS_MAX 16     /* of a function that are kept, the current one included */
#define WC_VERSIONS_DEFAULT 3  /* unless the daemon was told otherwise */
#define WC_DESCRIPTION_MAX 256 /* characters */
#define WC_DESCRIPTION_BYTES (4 * WC_DESCRIPTION_MAX + 1)
#define WC_PUBLISHED_MAX 100 /* published versions of a function at a time */
#define WC_ALIASES_MAX 100   /* of a function */
#define WC_ALIAS_NAME_MAX 128
#define WC_OWNER_MAX 64	    /* characters */
#define WC_CALLERS_MAX 64   /* entries of a list */
#define WC_REVISION_TEXT 37 /* a UUID and NUL: another one after each change */
#define WC_SHOWN_MAX (WC_NAME_MAX + 11)
_Static_assert(WC_SHOWN_MAX <= WC_LABEL_MAX, "no two versions have the same label");

enum wc_runtime {
	WC_RUNTIME_NATIVE,
	WC_RUNTIME_PYTHON,
	WC_RUNTIME_NODE,
	WC_RUNTIME_CUSTOM,
	WC_RUNTIME_COUNT,
};
extern const char *const wc_runtime_names[WC_RUNTIME_COUNT];

/* How much of the node a function may have. May be changed while it is deployed. */
struct wc_limits {
	uint32_t concurrency; /* invocations at a time, 0 = no limit */
	uint32_t reserved;    /* cores that only this function may use */
	uint32_t queue;	      /* invocations that may wait, 0 = no limit of its own */
	uint32_t priority;    /* 0..WC_PRIORITY_MAX, higher ones leave the pending queue first */
	uint32_t provisioned; /* instances that are kept ready */
};

/* The settings of a function: what deploy says and function.json keeps. */
struct wc_manifest {
	char name[WC_NAME_MAX];
	enum wc_runtime runtime;
	char handler[128];
	bool binary; /* events are bytes, not JSON */
	bool trusted;
	bool idempotent;   /* it may run twice: the scheduler of a cluster tries again elsewhere when a node is lost */
	bool host_network; /* it has the host's network, instead of none */
	uint32_t timeout_ms;
	uint32_t memory_mb;
	struct wc_limits limits;
	char libraries[WC_TAG_NAME_MAX]; /* "numpy,scipy": sorted, each once; empty = it declares none */
	char description[WC_DESCRIPTION_BYTES];
	char owner[WC_OWNER_MAX + 1]; /* "": the node's */
	json_t *callers;	      /* array of NAME, @OWNER and "*"; NULL: functions of the same owner */
	json_t *environment;	      /* object of strings, or NULL */
};

/* A name for a published version, or for two of them. */
struct wc_alias {
	char name[WC_ALIAS_NAME_MAX + 1];
	char description[WC_DESCRIPTION_BYTES];
	uint32_t version; /* 0: $LATEST */
	uint32_t other;	  /* gets `weight` of the invocations; 0: none does */
	double weight;	  /* 0..1 */
	uint32_t provisioned;
	char revision[WC_REVISION_TEXT];
};

/* A deployed version of a function: $LATEST or a published one. */
struct wc_fn {
	struct wc_manifest manifest;
	uint32_t id;
	uint32_t published;	  /* number of a published version; 0: $LATEST */
	uint32_t user;		  /* slot of $LATEST, whose user and group a published version has, too */
	char shown[WC_SHOWN_MAX]; /* NAME or NAME:NUMBER, for people */
	atomic_uint provisioned;  /* instances that are kept ready: its own and those of its aliases */
	time_t published_at;
	char revision[WC_REVISION_TEXT];
	uint32_t version;
	time_t deployed_at;
	const char *code;	  /* folder of the code: path of... */
	struct wc_stored *stored; /* ...this */
	struct wc_former *former; /* versions before it that are kept; of the current one only, under `lock` */
	void *library;		  /* trusted: dlopen handle, loaded once under `load_lock` */
	char version_text[12];	  /* trusted: for its context */
	const void *entry;	  /* trusted: struct trusted_entry of agent.c's making */
	pthread_mutex_t load_lock;
	atomic_uint references;
	uint16_t tag_libs, tag_runtime; /* numbers of its warm tags, see tags.h */
	uint16_t reserve;		/* number of its reserve, 1..WC_RESERVES_MAX - 1; 0 = none */
	atomic_bool stale;		/* replaced or removed: its instances are to be stopped */
	atomic_bool removed;		/* stale because it was removed */
	atomic_ullong invocations, errors, cold_starts;
	atomic_int instances;
};

struct wc_functions;

/*
 * Load what is deployed under state_dir and enter it into the tables. Only the group gid_base + slot can read a function's code; 0:
 * everybody can.
 */
int wc_functions_open(struct wc_functions **ret_functions, const char *state_dir, struct wc_tables *tables,
		      uint32_t gid_base, struct wc_fault *fault);
void wc_functions_free(struct wc_functions *functions);

/* A reference to the current version by id or by name, or NULL. Give it back with wc_fn_put(). */
struct wc_fn *wc_functions_get(struct wc_functions *functions, uint32_t id);
struct wc_fn *wc_functions_find(struct wc_functions *functions, const char *name);
void wc_fn_put(struct wc_fn *fn);

/* A reference to the code of a deployment that is kept, or of a published version, by its digest. -ENOENT. */
int wc_functions_code(struct wc_functions *functions, const char *name, const char *sha256, struct wc_stored **ret_code,
		      struct wc_fault *fault);

/* Check and fill a manifest from a JSON object. Unknown keys other than `op`, `source` and `example` are refused. */
int wc_manifest_parse(struct wc_manifest *manifest, json_t *object, struct wc_fault *fault);
void wc_manifest_release(struct wc_manifest *manifest);
/* After a copy by assignment: both are to be released then. */
void wc_manifest_hold(const struct wc_manifest *manifest);
/* A new object that wc_manifest_parse() takes. */
json_t *wc_manifest_json(const struct wc_manifest *manifest);
bool wc_manifest_equal(const struct wc_manifest *a, const struct wc_manifest *b);
/* The rule of docs/CALLS.md: may a function with these settings call one with those? */
bool wc_manifest_may_call(const struct wc_manifest *caller, const struct wc_manifest *callee);

/* Take "description" of an object, if it is there. */
int wc_description_parse(json_t *object, char description[WC_DESCRIPTION_BYTES], struct wc_fault *fault);
/* 1 to WC_ALIAS_NAME_MAX letters, digits, - and _, not only digits. */
bool wc_alias_name_valid(const char *name);

/* Check limits from a JSON object with some of concurrency, reserved, queue, priority, provisioned; others are kept. */
int wc_limits_parse(struct wc_limits *limits, json_t *object, struct wc_fault *fault);

enum wc_deployed {
	WC_DEPLOYED,
	WC_REPLACED,  /* there is a version before it */
	WC_UNCHANGED, /* the current version has this code and these settings: it stays, and so do its instances */
};

/* Copy or extract the source and deploy. Takes over the manifest. On failure nothing changes. *ret_fn is a reference. */
int wc_functions_deploy(struct wc_functions *functions, struct wc_manifest *manifest, const struct wc_source *source,
			struct wc_fn **ret_fn, enum wc_deployed *ret_what, struct wc_fault *fault);
/*
 * The same, with this id (0: any) if there is no such function yet: that of another node, which answers for it that the id never meant anything else.
 * -EEXIST: the function has another id, or the id's slot is taken.
 */
int wc_functions_deploy_as(struct wc_functions *functions, struct wc_manifest *manifest, const struct wc_source *source,
			   uint32_t id, struct wc_fn **ret_fn, enum wc_deployed *ret_what, struct wc_fault *fault);

/* The generation of ids that was given out last. */
uint32_t wc_functions_generation(struct wc_functions *functions);
/* Ids that are given out from here on are of a later generation than this one, also after a restart. */
int wc_functions_raise_generation(struct wc_functions *functions, uint32_t generation, struct wc_fault *fault);

/* These slots of the table are not given out: all WC_FUNCTIONS_MAX of them, whatever was said before. */
void wc_functions_avoid(struct wc_functions *functions, const bool *slots);
/* A number that is another one after functions, limits or aliases have changed; 0: they are changing this moment, ask again. Cheap, and nobody waits for it. */
uint64_t wc_functions_signature(struct wc_functions *functions);

/*
 * Make a version that is kept current again, with its code and its settings; 0: the one that was before the current one.
 * On failure nothing changes. *ret_fn is a reference, *ret_from the version that was current.
 */
int wc_functions_rollback(struct wc_functions *functions, const char *name, uint32_t version, struct wc_fn **ret_fn,
			  uint32_t *ret_from, struct wc_fault *fault);

/* The versions that are kept: a new array, as docs/CONTROL.md describes it. */
int wc_functions_versions(struct wc_functions *functions, const char *name, json_t **ret_versions,
			  struct wc_fault *fault);

/* How many versions of a function are kept, the current one included: 1 to WC_VERSIONS_MAX. From the next deployment on. */
void wc_functions_keep(struct wc_functions *functions, uint32_t count);
/*
 * What this node lets functions have. Before it serves; everything unless said. Functions that are deployed already go on
 * without, and the log says so: trusted ones in a process of their own, those with the host's network in an empty one.
 */
void wc_functions_permit(struct wc_functions *functions, bool trusted, bool network);
/* 0; -EINVAL: the manifest asks for what this node lets nobody have. */
int wc_functions_permitted(const struct wc_functions *functions, const struct wc_manifest *manifest,
			   struct wc_fault *fault);
/* The group that may read a function's files; 0: none of this name is deployed. */
uint32_t wc_functions_group(struct wc_functions *functions, const char *name);

/*
 * Other settings for the code that is current: those of the object, as in a manifest, and the rest as they are. A new deployment, unless
 * nothing is different. `revision`, if not NULL, must be the current one (-ESTALE). *ret_fn is a reference.
 */
int wc_functions_configure(struct wc_functions *functions, const char *name, json_t *object, const char *revision,
			   struct wc_fn **ret_fn, enum wc_deployed *ret_what, struct wc_fault *fault);

/* Remove a function, with all versions that are kept or published. */
int wc_functions_remove(struct wc_functions *functions, const char *name, struct wc_fault *fault);

/* Change the limits of $LATEST or a published version, and keep them. On failure nothing changes. */
int wc_functions_limit(struct wc_functions *functions, const char *name, uint32_t published, json_t *object,
		       struct wc_fn **ret_fn, struct wc_fault *fault);
/* The policy knows reservations now: those that could not be granted before are. */
void wc_functions_grant(struct wc_functions *functions);
/* Cores wanted by each reserve: index 1..WC_RESERVES_MAX - 1, whose queue is WC_SHARDS_MAX + index. */
void wc_functions_reserved(struct wc_functions *functions, uint32_t wanted[WC_RESERVES_MAX]);

/* Read all of the registry: a new object, see registry.h. */
json_t *wc_functions_check(struct wc_functions *functions);

/* Call back for each function with provisioned instances, under a lock that every invocation takes: be quick. */
void wc_functions_provisioned(struct wc_functions *functions, void (*callback)(void *context, const struct wc_fn *fn),
			      void *context);
/* Call back for each deployed function, under a lock that every invocation takes: be quick. */
void wc_functions_each(struct wc_functions *functions,
		       void (*callback)(void *context, const struct wc_manifest *manifest), void *context);

/* A new array of function objects as docs/CONTROL.md describes them; with `all` published versions, too. */
json_t *wc_functions_list(struct wc_functions *functions, bool all);
/* Counts up when another function or version is current, published or removed: as long as it is the same, so are code and settings of all (but not limits). Any thread. */
uint32_t wc_functions_changes(const struct wc_functions *functions);
json_t *wc_fn_json(const struct wc_fn *fn);

#endif
