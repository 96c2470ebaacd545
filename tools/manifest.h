/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * manifest.h - reads and checks function.json, the description of a function that `warmcore deploy` sends.
 *
 * The daemon checks everything again; these checks are for messages that name the file, the key and the remedy.
 */
#ifndef WC_TOOLS_MANIFEST_H
#define WC_TOOLS_MANIFEST_H

#include <stddef.h>

#include <jansson.h>

#define MANIFEST_FILE "function.json"
#define MANIFEST_BOOTSTRAP "bootstrap" /* what a custom runtime is */
#define MANIFEST_ERROR_MAX 512
#define MANIFEST_FILE_MAX (1u << 20) /* bytes */

#define MANIFEST_TIMEOUT_MS_MAX 900000
#define MANIFEST_MEMORY_MB_MIN 16
#define MANIFEST_MEMORY_MB_MAX 10240
#define MANIFEST_ENVIRONMENT_MAX 4096 /* bytes: names, values and two more each, in all */

/*
 * Reads DIR/function.json into an object that the caller must json_decref(); the key "example" is left out, every
 * other key that is not known is an error. -ENOENT when there is no such file; -EINVAL with a sentence in `error`
 * when it cannot be read or is wrong.
 */
int manifest_read(const char *dir, json_t **ret_manifest, char error[static MANIFEST_ERROR_MAX]);

/* The same from text; `where` is what messages call it. */
int manifest_parse(const char *text, size_t length, const char *where, json_t **ret_manifest,
		   char error[static MANIFEST_ERROR_MAX]);

/*
 * Adds what a single file says by its name: name, runtime and handler, where the manifest does not have them yet.
 * -EINVAL with a sentence when the file's kind is not known.
 */
int manifest_guess(const char *file, json_t *manifest, char error[static MANIFEST_ERROR_MAX]);

/* Adds "K=V" to the manifest's environment. -EINVAL with a sentence. */
int manifest_add_environment(json_t *manifest, const char *assignment, char error[static MANIFEST_ERROR_MAX]);

/*
 * Checks that the manifest is complete and that its parts fit together; `dir` is the folder of the code, or the archive that has
 * it, if `archive` is not -1 but open on it. -EINVAL with a sentence.
 */
int manifest_check(const json_t *manifest, const char *dir, int archive, char error[static MANIFEST_ERROR_MAX]);

/* As manifest_read(), from the root of a zip archive, which is open as `archive` and called `where`. */
int manifest_read_archive(int archive, const char *where, json_t **ret_manifest, char error[static MANIFEST_ERROR_MAX]);

#endif
