/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_check.c - see auth_check.h.
 *
 * Whether a key exists must not show in the time: a key that is not there is replaced by one that nobody has, and both secrets of a key
 * are always tried, also when it has one. Only then it is decided what to answer. What is denied before that follows from the request alone.
 */
#include "user/gateway/auth_check.h"

#include "user/gateway/auth_bearer.h"
#include "user/gateway/auth_canonical.h"

#include <fnmatch.h>
#include <nettle/memops.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct wc_auth {
	char path[512], service[64], region[64];
	struct wc_auth_options options;
	pthread_rwlock_t lock;	 /* of `keys`: held by those who check, for microseconds */
	pthread_mutex_t refresh; /* one at a time; of `stamp` and `reported` */
	struct wc_keys *keys;
	struct wc_keys_stamp stamp; /* of the file that `keys` are from */
	struct wc_fault reported;   /* of the file that is there instead of it */
	struct wc_key nobody;
};

/* --- open, reload, close --- */

static int copy_text(char *out, size_t size, const char *text, const char *what, struct wc_fault *fault)
{
	if (snprintf(out, size, "%s", text ?: "") >= (int)size)
		return wc_fail(fault, ENAMETOOLONG, "the %s is longer than %zu bytes", what, size - 1);
	return 0;
}

static int load(const struct wc_auth *auth, struct wc_keys **ret_keys, struct wc_keys_stamp *ret_stamp,
		struct wc_fault *fault)
{
	const struct wc_auth_options *options = &auth->options;
	struct wc_keys_opened opened;
	int error = wc_keys_open(auth->path, &opened, fault);

	if (!error && opened.file == -EACCES && options->open) {
		wc_keys_opened_close(&opened);
		error = -EACCES;
	}
	if (error == -EACCES && options->open)
		error = options->open(options->context, &opened, fault);
	if (error)
		return error;
	error = wc_keys_read(&opened, auth->path, false, ret_keys, ret_stamp, fault);
	wc_keys_opened_close(&opened);
	return error;
}

int wc_auth_open(const struct wc_auth_options *options, struct wc_auth **ret_auth, struct wc_fault *fault)
{
	struct wc_auth *auth = calloc(1, sizeof(*auth));
	struct wc_sigv4_options *sigv4;
	pthread_rwlockattr_t writer_first; /* else requests without end keep new keys out without end */
	int error;

	if (!auth)
		return wc_fail(fault, ENOMEM, "no memory for authentication");
	auth->options = *options;
	sigv4 = &auth->options.sigv4;
	pthread_rwlockattr_init(&writer_first);
	pthread_rwlockattr_setkind_np(&writer_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&auth->lock, &writer_first);
	pthread_rwlockattr_destroy(&writer_first);
	pthread_mutex_init(&auth->refresh, NULL);
	error = copy_text(auth->path, sizeof(auth->path), options->keys_path ?: WC_KEYS_PATH, "path of the keys", fault) ?:
			copy_text(auth->service, sizeof(auth->service), sigv4->service ?: "lambda", "service", fault) ?:
			copy_text(auth->region, sizeof(auth->region), sigv4->region, "region", fault);
	if (!error && sigv4->presign_max_s > WC_SIGV4_PRESIGN_MAX_S)
		error = wc_fail(fault, ERANGE, "presigned requests live for at most %d seconds",
				WC_SIGV4_PRESIGN_MAX_S);
	sigv4->service = auth->service;
	sigv4->region = *auth->region ? auth->region : NULL;
	if (!error && getrandom(&auth->nobody.secret, sizeof(auth->nobody.secret), 0) != sizeof(auth->nobody.secret))
		error = wc_fail(fault, EIO, "the system has no random numbers");
	auth->nobody.previous = auth->nobody.secret;
	if (!error)
		error = load(auth, &auth->keys, &auth->stamp, fault);
	if (error) {
		wc_auth_close(auth);
		return error;
	}
	*ret_auth = auth;
	return 0;
}

void wc_auth_presign(struct wc_auth *auth, uint32_t presign_max_s)
{
	pthread_rwlock_wrlock(&auth->lock);
	auth->options.sigv4.presign_max_s = presign_max_s;
	pthread_rwlock_unlock(&auth->lock);
}

void wc_auth_close(struct wc_auth *auth)
{
	if (!auth)
		return;
	wc_keys_free(auth->keys);
	pthread_mutex_destroy(&auth->refresh);
	pthread_rwlock_destroy(&auth->lock);
	explicit_bzero(&auth->nobody, sizeof(auth->nobody));
	free(auth);
}

int wc_auth_refresh(struct wc_auth *auth, struct wc_fault *fault)
{
	struct wc_keys_stamp now = wc_keys_stamp(auth->path), stamp = now;
	struct wc_keys *fresh = NULL, *old = NULL;
	struct wc_fault why;
	int result = 0;

	pthread_mutex_lock(&auth->refresh);
	if (memcmp(&now, &auth->stamp, sizeof(now)))
		result = load(auth, &fresh, &stamp, &why);
	if (fresh && !memcmp(&stamp, &auth->stamp, sizeof(stamp))) { /* who may not enter the folder sees no stamp */
		wc_keys_free(fresh);
		fresh = NULL;
	}
	/* It is tried again each time: what is wrong may be the folder, or that there are no descriptors left. */
	if (result && !strcmp(auth->reported.text, why.text))
		result = 0;
	else if (result)
		*fault = auth->reported = why;
	else
		auth->reported.text[0] = 0;
	if (fresh) {
		pthread_rwlock_wrlock(&auth->lock);
		old = auth->keys;
		auth->keys = fresh;
		auth->stamp = stamp;
		pthread_rwlock_unlock(&auth->lock);
		wc_keys_free(old);
		result = 1;
	}
	pthread_mutex_unlock(&auth->refresh);
	return result;
}

/* --- whose it is --- */

/* The key that is enabled and of this id and kind, or `nobody`. All are looked at. */
static const struct wc_key *find_key(const struct wc_auth *auth, const char *id, enum wc_key_kind kind)
{
	const struct wc_key *found = &auth->nobody;
	char wanted[WC_KEY_ID_LENGTH + 1] = "";

	if (strlen(id) == WC_KEY_ID_LENGTH)
		memcpy(wanted, id, WC_KEY_ID_LENGTH);
	for (size_t i = 0; i < auth->keys->count; i++) {
		const struct wc_key *key = &auth->keys->list[i];

		if (memeql_sec(key->id, wanted, WC_KEY_ID_LENGTH) & (key->kind == kind) & !key->disabled_s)
			found = key;
	}
	return found;
}

static enum wc_auth_result pass(struct wc_auth_verdict *verdict, const struct wc_key *key)
{
	struct wc_auth_identity *who = &verdict->identity;

	memcpy(who->id, key->id, sizeof(who->id));
	memcpy(who->name, key->name, sizeof(who->name));
	who->kind = key->kind;
	who->role = key->role;
	who->pattern_count = key->pattern_count;
	memcpy(who->patterns, key->patterns, sizeof(who->patterns));
	return WC_AUTH_PASSED;
}

/* The claim's signature with one secret; constant time. */
static int signature_is(const struct wc_sigv4_text *text, const struct wc_key_secret *secret)
{
	uint8_t expected[WC_SHA256_SIZE];
	int equal;

	wc_sigv4_signature(text, secret->text, WC_KEY_SECRET_LENGTH, expected);
	equal = memeql_sec(expected, text->claim->signature, sizeof(expected));
	explicit_bzero(expected, sizeof(expected));
	return equal;
}

static enum wc_auth_result check_sigv4(struct wc_auth *auth, const struct wc_auth_request *request,
				       struct wc_auth_verdict *verdict)
{
	struct wc_auth_denial *denial = &verdict->denial;
	enum wc_auth_result result = WC_AUTH_DENIED;
	const struct wc_key *key;
	struct wc_sigv4_claim claim;
	struct wc_sigv4_text text;
	int error, current, previous;

	/* The signature is that of the resolved path, and others on the way may resolve it differently. */
	if (!wc_canonical_path_is_plain(request->path)) {
		wc_auth_deny(denial, 400, "InvalidRequestContentException",
			     "The path must begin with / and have no empty segments and no segments . and ..");
		return WC_AUTH_DENIED;
	}
	if (!wc_sigv4_parse(request, &auth->options.sigv4, &claim, denial))
		return WC_AUTH_DENIED;
	if (claim.body_first)
		return WC_AUTH_LATER;
	error = wc_sigv4_text(request, &claim, &text);
	if (error) {
		wc_auth_deny(denial, error == -ENOMEM ? 500 : 400,
			     error == -ENOMEM ? "ServiceException" : "InvalidRequestContentException",
			     error == -ENOMEM ? "Out of memory." :
						"The query has more than %d parameters, or a %% without two digits.",
			     WC_AUTH_PARAMETERS_MAX);
		return WC_AUTH_DENIED;
	}
	pthread_rwlock_rdlock(&auth->lock);
	key = find_key(auth, claim.key_id, WC_KEY_SIGV4);
	current = signature_is(&text, &key->secret);
	previous = signature_is(&text, &key->previous) & wc_key_previous_good(key, request->now_s);
	if (key == &auth->nobody)
		wc_auth_deny(denial, 403, "UnrecognizedClientException",
			     "The security token included in the request is invalid.");
	else if (!(current | previous))
		wc_auth_deny(
			denial, 403, "InvalidSignatureException",
			"The request signature we calculated does not match the signature you provided. Check your "
			"AWS Secret Access Key and signing method. Consult the service documentation for details.");
	else
		result = pass(verdict, key);
	pthread_rwlock_unlock(&auth->lock);
	verdict->body_due = result == WC_AUTH_PASSED && claim.body_due &&
			    wc_unhex(verdict->body_sha256, claim.payload, strlen(claim.payload));
	return result;
}

static enum wc_auth_result deny_bearer(struct wc_auth_verdict *verdict)
{
	wc_auth_deny(&verdict->denial, 401, "UnrecognizedClientException", "The bearer token is not valid.");
	verdict->denial.challenge = "Bearer realm=\"warmcore\", error=\"invalid_token\"";
	return WC_AUTH_DENIED;
}

static enum wc_auth_result check_bearer(struct wc_auth *auth, const struct wc_auth_request *request,
					struct wc_slice authorization, struct wc_auth_verdict *verdict)
{
	struct wc_bearer_claim claim;
	enum wc_auth_result result;
	const struct wc_key *key;
	bool matches;

	if (!request->private && !auth->options.bearer_in_clear) {
		wc_auth_deny(&verdict->denial, 403, "AccessDeniedException",
			     "A bearer token is taken over TLS only. This one was readable on its way: rotate it.");
		return WC_AUTH_DENIED;
	}
	if (!wc_bearer_parse(authorization, &claim))
		return deny_bearer(verdict);
	pthread_rwlock_rdlock(&auth->lock);
	key = find_key(auth, claim.id, WC_KEY_BEARER);
	matches = wc_bearer_matches(&claim, key, request->now_s);
	result = matches && key != &auth->nobody ? pass(verdict, key) : deny_bearer(verdict);
	pthread_rwlock_unlock(&auth->lock);
	explicit_bzero(&claim, sizeof(claim));
	return result;
}

static enum wc_auth_result deny_missing(const struct wc_auth_request *request, bool some,
					struct wc_auth_verdict *verdict)
{
	if (request->plain) {
		wc_auth_deny(&verdict->denial, 401, "MissingAuthenticationTokenException",
			     "Missing Authentication Token: send Authorization: Bearer TOKEN.");
		verdict->denial.challenge = "Bearer realm=\"warmcore\"";
	} else if (some) {
		wc_auth_deny(&verdict->denial, 403, "IncompleteSignatureException",
			     "The Authorization header is neither AWS4-HMAC-SHA256 nor Bearer.");
	} else {
		wc_auth_deny(&verdict->denial, 403, "MissingAuthenticationTokenException",
			     "Missing Authentication Token");
	}
	return WC_AUTH_DENIED;
}

enum wc_auth_result wc_auth_verify(struct wc_auth *auth, const struct wc_auth_request *request,
				   struct wc_auth_verdict *ret_verdict)
{
	struct wc_slice authorization = { "", 0 };
	size_t count;

	*ret_verdict = (struct wc_auth_verdict){ .result = WC_AUTH_DENIED };
	if (!wc_auth_request_bounded(request, &ret_verdict->denial))
		return WC_AUTH_DENIED;
	count = wc_auth_header_find(request, "authorization", &authorization);
	/* With a token as well it is refused there: two answers to one question. */
	if (wc_sigv4_is_present(request) || count > 1)
		ret_verdict->result = check_sigv4(auth, request, ret_verdict);
	else if (wc_bearer_is_present(authorization))
		ret_verdict->result = check_bearer(auth, request, authorization, ret_verdict);
	else
		ret_verdict->result = deny_missing(request, count, ret_verdict);
	return ret_verdict->result;
}

bool wc_auth_body_is(struct wc_auth_verdict *verdict, const uint8_t sha256[WC_SHA256_SIZE])
{
	if (!memcmp(verdict->body_sha256, sha256, WC_SHA256_SIZE))
		return true;
	verdict->result = WC_AUTH_DENIED;
	wc_auth_deny(&verdict->denial, 403, "InvalidSignatureException",
		     "x-amz-content-sha256 is not the SHA-256 of the body that came.");
	return false;
}

/* --- what it may do --- */

static bool matches(const struct wc_auth_identity *who, const char *function)
{
	/* Letters, digits, - and _ only: neither side has a character that fnmatch(3) treats in a way of its own. */
	if (strlen(function) > WC_KEY_PATTERN_MAX)
		return false;
	for (size_t i = 0; i < who->pattern_count; i++)
		if (!fnmatch(who->patterns[i], function, 0))
			return true;
	return false;
}

bool wc_auth_has_all(const struct wc_auth_identity *who)
{
	for (size_t i = 0; i < who->pattern_count; i++)
		if (!strcmp(who->patterns[i], "*"))
			return true;
	return false;
}

static bool role_may(enum wc_key_role role, const struct wc_auth_ask *ask)
{
	switch (role) {
	case WC_KEY_INVOKE:
		return ask->invoke;
	case WC_KEY_ADMIN:
		return true;
	case WC_KEY_METRICS:
		return ask->metrics;
	}
	return false;
}

bool wc_auth_allows(const struct wc_auth_identity *who, const struct wc_auth_ask *ask, struct wc_auth_denial *denial)
{
	struct wc_slice function = { ask->function ?: "*", strlen(ask->function ?: "*") };

	if (role_may(who->role, ask) && (ask->function ? matches(who, ask->function) : wc_auth_has_all(who)))
		return true;
	wc_auth_deny(
		denial, 403, "AccessDeniedException",
		"Key %s (%s) is not authorized to perform: %s on resource: %s because its scope (%s) does not allow it",
		who->name, who->id, ask->operation, wc_auth_quote(function).text, wc_key_role_names[who->role]);
	return false;
}
