/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * secrets.h - secrets of functions: files that a function reads in /run/secrets, and nobody else but root.
 *
 * On disk: STATE/secrets/NAME/KEY, of root and the function's group, 0440, in a folder 0750. Not encrypted: whoever is root on the host, or has
 * its disk, can read them. They are not in the function's manifest or code, not in its environment, and not in any log or answer;
 * a new version of the function has them, too, and they go when it is removed.
 */
#ifndef WC_SECRETS_H
#define WC_SECRETS_H

#include "user/error.h"

#include <jansson.h>
#include <stdint.h>

#define WC_SECRET_KEY_MAX 64	  /* characters: letters, digits, _, - and ., which is not the first */
#define WC_SECRET_VALUE_MAX 65536 /* bytes */
#define WC_SECRETS_MAX 64	  /* of a function */

/* The folder of a function's secrets; whether it is there is another matter. */
void wc_secrets_path(const char *state_dir, const char *function, char *out, size_t size);

/* Make the folder for those of all functions, if it is not there. 0 or a negative errno. */
int wc_secrets_open(const char *state_dir, struct wc_fault *fault);
/* Make the folder, if it is not there, for the function's group. 0 or a negative errno. */
int wc_secrets_prepare(const char *state_dir, const char *function, uint32_t gid, struct wc_fault *fault);
/* Set one, for the group that may read it. A crash leaves the old value or the new one. Running instances see it at once. */
int wc_secret_set(const char *state_dir, const char *function, uint32_t gid, const char *key, const char *value,
		  size_t length, struct wc_fault *fault);
/* -ENOENT: there is none of that key. */
int wc_secret_remove(const char *state_dir, const char *function, const char *key, struct wc_fault *fault);
/* All of a function that is removed. */
void wc_secrets_remove_all(const char *state_dir, const char *function);
/*
 * At the start, when it is known which functions there are: remove the secrets of those that are not (a daemon that is killed while it
 * removes a function leaves them), and give the others to their group, which has another number when the state folder has moved to a node of another
 * name. `group`: that of a function, 0 if there is none. What is not a secret is not touched; what goes wrong is logged.
 */
void wc_secrets_tidy(const char *state_dir, uint32_t (*group)(void *context, const char *function), void *context);
/* A new array of keys, sorted. */
json_t *wc_secrets_list(const char *state_dir, const char *function);

#endif
