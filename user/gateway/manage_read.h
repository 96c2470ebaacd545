/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * manage_read.h - bodies of Lambda's control API, and of OpenFaaS's, to what the node takes. What would mean something here that it does not do, and everything that is
 * not known, is refused by name: nothing is taken and then not done. Pure; fuzzed.
 */
#ifndef WC_GATEWAY_MANAGE_READ_H
#define WC_GATEWAY_MANAGE_READ_H

#include <jansson.h>
#include <stdbool.h>

#include "bpf/tables.h"
#include "user/error.h"

/* Tags of CreateFunction and GetFunction that mean something: owner, and callers between spaces (docs/CALLS.md). */
#define WC_MANAGE_TAG_OWNER "warmcore.owner"
#define WC_MANAGE_TAG_CALLERS "warmcore.callers"
#define WC_MANAGE_TAGS_MAX 50
#define WC_MANAGE_TAG_KEY_MAX 128 /* bytes */

/* TagResource: as the Tags of wc_manage_read_settings(). */
int wc_manage_read_tags(const json_t *body, json_t *manifest, json_t *words, struct wc_fault *fault);

/*
 * CreateFunction (`create`) or UpdateFunctionConfiguration: sets what is given in *manifest (as docs/CONTROL.md has it) and *words (role,
 * description, tags, runtime), which are objects. 0; -EINVAL; -ENOSYS: it is Lambda's, and not here.
 */
int wc_manage_read_settings(const json_t *body, bool create, json_t *manifest, json_t *words, struct wc_fault *fault);

/* UpdateFunctionCode: what there is beside ZipFile. As above. */
int wc_manage_read_code(const json_t *body, bool *ret_publish, bool *ret_dry, struct wc_fault *fault);

/* The body's members are among `allowed`, which ends with NULL. -EINVAL. */
int wc_manage_read_only(const json_t *body, const char *const *allowed, struct wc_fault *fault);

/* "python3.12" to "python"; NULL: there is no such runtime here. */
const char *wc_manage_runtime(const char *name);

/*
 * CreateAlias and UpdateAlias, without Name: version, description and weights for the op `alias`. As above. With `create` FunctionVersion has to
 * be there.
 */
int wc_manage_read_alias(const json_t *body, bool create, json_t *request, struct wc_fault *fault);

/* OpenFaaS's removal: the function's name, a valid one. -EINVAL, and *ret_name is untouched. */
int wc_manage_read_removal(const json_t *body, char ret_name[WC_NAME_MAX], struct wc_fault *fault);

/* A whole number that has to be there. -EINVAL. */
int wc_manage_read_number(const json_t *body, const char *key, json_int_t min, json_int_t max, json_int_t *ret_number,
			  struct wc_fault *fault);

#endif
