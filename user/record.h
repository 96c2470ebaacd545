/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * record.h - the deployments of a function in memory: the current one, and those before it that are kept. And function.json, in which daemons
 * without registry.db kept them: it is only read (registry_old.c).
 *
 * The keys of that file are the settings, `id`, and of the version: `version`, `deployed_at`, `code` (N of the folder vN), `code_sha256`,
 * `code_bytes`, `code_files`; `former` is an array of versions with their settings, the one that was current last first. Files of a
 * daemon that kept no versions have neither `code` nor `former`, and are read all the same.
 */
#ifndef WC_RECORD_H
#define WC_RECORD_H

#include "user/functions.h"
#include "user/store.h"

struct wc_version {
	struct wc_manifest manifest;
	uint32_t number;
	time_t deployed_at;
	struct wc_stored *code;
};
void wc_version_release(struct wc_version *version);

/* Those before the current one. */
struct wc_former {
	uint32_t count;
	struct wc_version list[WC_VERSIONS_MAX - 1];
};
void wc_former_free(struct wc_former *former);

/* Those after `fn` makes way for version `number`, with references of its own: `fn` and its former ones, `max` at most. */
struct wc_former *wc_former_after(const struct wc_fn *fn, uint32_t number, uint32_t max);

/* The version of this number, or NULL. */
const struct wc_version *wc_former_find(const struct wc_former *former, uint32_t number);

/* Does the current or a former version use this code? */
bool wc_record_uses(const struct wc_fn *fn, const struct wc_stored *code);

/* Code of the current or a former version with this content, or NULL. */
struct wc_stored *wc_record_same_code(const struct wc_fn *fn, const char *sha256);

int wc_record_read(const char *dir, uint32_t *ret_id, struct wc_version *ret_version, struct wc_former **ret_former,
		   struct wc_fault *fault);

/* A new array of the versions, the current one first, as docs/CONTROL.md describes them. */
json_t *wc_record_versions(const struct wc_fn *fn);

/* A time as RFC 3339 has it. */
json_t *wc_time_json(time_t when);

#endif
