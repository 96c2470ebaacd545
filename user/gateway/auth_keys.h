/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_keys.h - who may talk to the gateway: access keys and bearer tokens, what each may do, and the one file that they are in.
 *
 * On disk: JSON, 0600, of root or of the user that the gateway runs as, replaced as a whole, so that a crash leaves the old keys or the new
 * ones. The secret of an access key is in it in clear, because Signature Version 4 is a MAC: who verifies needs what signs. Of a bearer
 * token there is a salted hash; one round of it, since a token has 238 random bits that nobody can guess through.
 */
#ifndef WC_GATEWAY_AUTH_KEYS_H
#define WC_GATEWAY_AUTH_KEYS_H

#include "user/error.h"
#include "user/gateway/auth_request.h"

#include <jansson.h>
#include <time.h>

#define WC_KEYS_PATH "/etc/warmcore/keys.json"
#define WC_KEYS_FORMAT 1		      /* of the file; a newer one is refused */
#define WC_KEYS_FILE_MAX (1 << 20)	      /* bytes */
#define WC_KEYS_MAX 256			      /* keys in a file */
#define WC_KEY_ID_LENGTH 20		      /* "WCKA" or "WCBT", and 16 of A-Z 2-7 */
#define WC_KEY_SECRET_LENGTH 40		      /* of A-Z a-z 0-9 */
#define WC_KEY_TOKEN_LENGTH (20 + 1 + 40)     /* a bearer token is ID.SECRET */
#define WC_KEY_NAME_MAX 63		      /* characters: letters, digits, _, - and . */
#define WC_KEY_PATTERNS_MAX 16		      /* of a key */
#define WC_KEY_PATTERN_MAX 63		      /* characters: those of function names, * and ? */
#define WC_KEY_STARS_MAX 4		      /* in a pattern */
#define WC_KEY_OVERLAP_S_MAX (30 * 24 * 3600) /* for which a rotated secret goes on */

enum wc_key_kind {
	WC_KEY_SIGV4,
	WC_KEY_BEARER,
};

enum wc_key_role {
	WC_KEY_INVOKE,	/* may invoke the functions that a pattern names */
	WC_KEY_ADMIN,	/* may do everything with them; with the pattern "*" everything with the node */
	WC_KEY_METRICS, /* may read /metrics, with the pattern "*", and nothing else */
};

/* One of the two, by the kind of the key. */
struct wc_key_secret {
	char text[WC_KEY_SECRET_LENGTH + 1];
	uint8_t salt[16], hash[WC_SHA256_SIZE];
};

/* Times are seconds since 1970, 0 = never. */
struct wc_key {
	char id[WC_KEY_ID_LENGTH + 1];
	char name[WC_KEY_NAME_MAX + 1];
	enum wc_key_kind kind;
	enum wc_key_role role;
	size_t pattern_count;
	char patterns[WC_KEY_PATTERNS_MAX][WC_KEY_PATTERN_MAX + 1];
	int64_t created_s, rotated_s, disabled_s;
	struct wc_key_secret secret;
	struct wc_key_secret previous; /* good until previous_until_s */
	int64_t previous_until_s;
};

struct wc_keys {
	size_t count;
	struct wc_key list[WC_KEYS_MAX];
};

extern const char *const wc_key_kind_names[];
extern const char *const wc_key_role_names[];

/* A new, empty set; NULL: no memory. Freeing one wipes it. */
struct wc_keys *wc_keys_new(void);
void wc_keys_free(struct wc_keys *keys);

/* NULL, or what is wrong with it ("has more than ..."). */
const char *wc_key_name_wrong(const char *name);
const char *wc_key_pattern_wrong(const char *pattern);

/* A secret that is shown once: of an access key the secret, of a bearer token the whole token. Wipe it after use. */
struct wc_key_shown {
	char text[WC_KEY_TOKEN_LENGTH + 1];
};

/*
 * Add a key with the name, kind, role and patterns of `like`; the rest is made here. *ret_key is within `keys`. -EEXIST: there is one of
 * that name; -EFBIG: the file is full.
 */
int wc_keys_add(struct wc_keys *keys, const struct wc_key *like, int64_t now_s, struct wc_key **ret_key,
		struct wc_key_shown *ret_shown, struct wc_fault *fault);
/* By id or by name; NULL and -ENOENT in *fault's words. */
struct wc_key *wc_keys_find(struct wc_keys *keys, const char *which, struct wc_fault *fault);
/* A new secret; the one before goes on for overlap_s, at most WC_KEY_OVERLAP_S_MAX. That before it ends now. */
int wc_key_rotate(struct wc_key *key, int64_t now_s, uint32_t overlap_s, struct wc_key_shown *ret_shown,
		  struct wc_fault *fault);
void wc_keys_remove(struct wc_keys *keys, struct wc_key *key);

/* May this secret of a key be used at that moment? */
bool wc_key_previous_good(const struct wc_key *key, int64_t now_s);
/* A salted hash of a bearer token's secret, of WC_KEY_SECRET_LENGTH bytes. */
void wc_key_hash(const uint8_t salt[16], const char *secret, uint8_t out[WC_SHA256_SIZE]);

/* Forget previous secrets that are over, before the keys are written. */
void wc_keys_expire(struct wc_keys *keys, int64_t now_s);

/* --- the file: auth_keys_file.c --- */

/* What tells one content of the file from the next: each store makes a new file. */
struct wc_keys_stamp {
	uint64_t device, inode, size;
	struct timespec modified, changed;
};

/*
 * Read it. Refused, with a sentence that repeats nothing of the content: not a regular file, readable by others, of another user than
 * root and the caller (any owner is taken if `any_owner`, for a caller who is root), in a folder that others can write to, larger than
 * WC_KEYS_FILE_MAX, not the JSON that wc_keys_store() writes, of a newer format. *ret_keys is a new set, and *ret_stamp, unless NULL, that of
 * what was read.
 */
int wc_keys_load(const char *path, bool any_owner, struct wc_keys **ret_keys, struct wc_keys_stamp *ret_stamp,
		 struct wc_fault *fault);
/* The two steps of it, for a reader who may not open the file and is handed it by somebody who may. */
struct wc_keys_opened {
	int folder; /* the folder of the file */
	int file;   /* or a negative errno: why it cannot be opened */
};
/* Fails when the folder cannot be opened. Nothing is checked yet. */
int wc_keys_open(const char *path, struct wc_keys_opened *ret_opened, struct wc_fault *fault);
void wc_keys_opened_close(struct wc_keys_opened *opened);
/* As wc_keys_load(). Once for each that was opened: it reads on from where the file is. */
int wc_keys_read(const struct wc_keys_opened *opened, const char *path, bool any_owner, struct wc_keys **ret_keys,
		 struct wc_keys_stamp *ret_stamp, struct wc_fault *fault);

/* The stamp of what is there now; zeroes when nothing is. */
struct wc_keys_stamp wc_keys_stamp(const char *path);

/* Hold the file for a change: lock, change, store, unlock. A second one waits. */
struct wc_keys_lock {
	int folder;
	char path[512];
	const char *name;  /* in `path` */
	uint32_t uid, gid; /* of the file, which it keeps; of the caller for a new one */
	bool fresh;	   /* there is no file yet */
};
/* A missing file is an empty set if `create`, and then its folder, but no other, is made, too. */
int wc_keys_lock(const char *path, bool create, struct wc_keys_lock *ret_lock, struct wc_keys **ret_keys,
		 struct wc_fault *fault);
int wc_keys_store(const struct wc_keys_lock *lock, const struct wc_keys *keys, struct wc_fault *fault);
void wc_keys_unlock(struct wc_keys_lock *lock);

/* --- JSON: auth_keys_json.c --- */

/* Of the file's whole content. */
int wc_keys_parse(const json_t *object, struct wc_keys *keys, struct wc_fault *fault);
json_t *wc_keys_format(const struct wc_keys *keys);
/* What may be shown of a key: everything but its secrets and hashes. */
json_t *wc_key_describe(const struct wc_key *key, int64_t now_s);

#endif
