/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_check.h - is a request whose it says, and may it do what it wants? What the gateway calls; docs/AUTH.md has the whole picture.
 *
 *	wc_auth_verify() with WC_AUTH_BODY_PENDING when the head is there: most bad ones go before their body was read;
 *	wc_auth_allows() when the function is known;
 *	if the verdict says so, wc_auth_verify() again, or wc_auth_body_is(), when the body is there.
 */
#ifndef WC_GATEWAY_AUTH_CHECK_H
#define WC_GATEWAY_AUTH_CHECK_H

#include "user/error.h"
#include "user/gateway/auth_keys.h"
#include "user/gateway/auth_request.h"
#include "user/gateway/auth_sigv4.h"

struct wc_auth_options {
	const char *keys_path; /* NULL: WC_KEYS_PATH */
	struct wc_sigv4_options sigv4;
	bool bearer_in_clear; /* take bearer tokens from requests that are not `private`, too */
	/* Opens the file for a process that may not (-EACCES), or NULL. As wc_keys_open(), of keys_path; only from open and refresh. */
	int (*open)(void *context, struct wc_keys_opened *ret_opened, struct wc_fault *fault);
	void *context;
};

/* Whose request it is; a copy, which outlives the key. */
struct wc_auth_identity {
	char id[WC_KEY_ID_LENGTH + 1];
	char name[WC_KEY_NAME_MAX + 1];
	enum wc_key_kind kind;
	enum wc_key_role role;
	size_t pattern_count;
	char patterns[WC_KEY_PATTERNS_MAX][WC_KEY_PATTERN_MAX + 1];
};

enum wc_auth_result {
	WC_AUTH_DENIED, /* answer with `denial` */
	WC_AUTH_PASSED, /* `identity` says whose it is */
	WC_AUTH_LATER,	/* nothing speaks against it, but only the body tells: check again when it is there */
};

struct wc_auth_verdict {
	enum wc_auth_result result;
	struct wc_auth_denial denial;
	struct wc_auth_identity identity;
	bool body_due; /* passed, if the body is that of body_sha256: wc_auth_body_is() */
	uint8_t body_sha256[WC_SHA256_SIZE];
};

/* Opaque. All calls may come from any thread at any time. */
struct wc_auth;

/* Reads the keys; `options` is copied, its texts as well. Refused: a file that wc_keys_load() refuses. */
int wc_auth_open(const struct wc_auth_options *options, struct wc_auth **ret_auth, struct wc_fault *fault);
void wc_auth_close(struct wc_auth *auth);

/* How long presigned requests may live from now on, up to WC_SIGV4_PRESIGN_MAX_S; 0: none is taken. */
void wc_auth_presign(struct wc_auth *auth, uint32_t presign_max_s);

/*
 * Look whether the file of keys is another one: one stat(2) if not. To be called once a second or so, and on SIGHUP. 1: new keys are in
 * use from the next check on; 0: nothing has changed; negative errno: what is there is refused, and the keys from before go on. The same
 * bad file is reported once.
 */
int wc_auth_refresh(struct wc_auth *auth, struct wc_fault *fault);

/* Fills *ret_verdict; returns its result. */
enum wc_auth_result wc_auth_verify(struct wc_auth *auth, const struct wc_auth_request *request,
				   struct wc_auth_verdict *ret_verdict);

/* The body of a verdict with body_due. False: the denial in the verdict says so. */
bool wc_auth_body_is(struct wc_auth_verdict *verdict, const uint8_t sha256[WC_SHA256_SIZE]);

/* What somebody wants to do. */
struct wc_auth_ask {
	bool invoke, metrics;  /* neither: it is administration, reading included */
	const char *operation; /* for the message: "lambda:InvokeFunction" */
	const char *function;  /* its bare name; NULL: the node as a whole, which takes the pattern "*" */
};

/* May it do what it may with all functions: has it the pattern "*"? */
bool wc_auth_has_all(const struct wc_auth_identity *who);

/* False: *denial says so, 403 AccessDeniedException. */
bool wc_auth_allows(const struct wc_auth_identity *who, const struct wc_auth_ask *ask, struct wc_auth_denial *denial);

#endif
