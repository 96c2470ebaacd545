/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* auth_keys.c - keys in memory: made, found, rotated, removed; see auth_keys.h. */
#include "user/gateway/auth_keys.h"

#include <ctype.h>
#include <nettle/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

const char *const wc_key_kind_names[] = { "sigv4", "bearer" };
const char *const wc_key_role_names[] = { "invoke", "admin", "metrics" };

static const char *const prefixes[] = { "WCKA", "WCBT" };

struct wc_keys *wc_keys_new(void)
{
	return calloc(1, sizeof(struct wc_keys));
}

void wc_keys_free(struct wc_keys *keys)
{
	if (keys)
		explicit_bzero(keys, sizeof(*keys));
	free(keys);
}

const char *wc_key_name_wrong(const char *name)
{
	size_t length = strlen(name);

	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-' && *c != '.')
			return "has something else than letters, digits, _, - and .";
	if (!length || length > WC_KEY_NAME_MAX || *name == '-')
		return "is not a name of 1 to 63 characters, the first not -";
	/* Both are found by the same word. */
	if (length == WC_KEY_ID_LENGTH && (!strncmp(name, prefixes[0], 4) || !strncmp(name, prefixes[1], 4)))
		return "looks like the id of a key";
	return NULL;
}

const char *wc_key_pattern_wrong(const char *pattern)
{
	size_t stars = 0, length = strlen(pattern);

	for (const char *c = pattern; *c; c++) {
		if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-' && *c != '*' && *c != '?')
			return "has something else than the letters, digits, _ and - of function names, * and ?";
		stars += *c == '*';
	}
	if (!length || length > WC_KEY_PATTERN_MAX)
		return "is not a pattern of 1 to 63 characters";
	return stars > WC_KEY_STARS_MAX ? "has more than 4 of *" : NULL;
}

/* --- secrets --- */

/* Each character of `alphabet` with the same chance: bytes that would favour the first ones are thrown away. */
static int random_text(char *out, size_t length, const char *alphabet, struct wc_fault *fault)
{
	size_t letters = strlen(alphabet), limit = 256 - 256 % letters, made = 0;
	uint8_t bytes[64];

	while (made < length) {
		ssize_t n = getrandom(bytes, sizeof(bytes), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return wc_fail(fault, errno, "the system has no random numbers: %s", strerror(errno));
		for (ssize_t i = 0; i < n && made < length; i++)
			if (bytes[i] < limit)
				out[made++] = alphabet[bytes[i] % letters];
	}
	out[length] = 0;
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}

void wc_key_hash(const uint8_t salt[16], const char *secret, uint8_t out[WC_SHA256_SIZE])
{
	struct hmac_sha256_ctx context;

	hmac_sha256_set_key(&context, 16, salt);
	hmac_sha256_update(&context, WC_KEY_SECRET_LENGTH, (const uint8_t *)secret);
	hmac_sha256_digest(&context, WC_SHA256_SIZE, out);
	explicit_bzero(&context, sizeof(context));
}

static int make_secret(const struct wc_key *key, struct wc_key_secret *ret_secret, struct wc_key_shown *ret_shown,
		       struct wc_fault *fault)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	struct wc_key_secret secret = { 0 };
	int error = random_text(secret.text, WC_KEY_SECRET_LENGTH, alphabet, fault);

	if (error)
		return error;
	snprintf(ret_shown->text, sizeof(ret_shown->text), "%s%s%s", key->kind == WC_KEY_BEARER ? key->id : "",
		 key->kind == WC_KEY_BEARER ? "." : "", secret.text);
	if (key->kind == WC_KEY_BEARER) {
		/* 16 bytes never come in parts, whatever interrupts. */
		if (getrandom(secret.salt, sizeof(secret.salt), 0) != sizeof(secret.salt))
			return wc_fail(fault, EIO, "the system has no random numbers");
		wc_key_hash(secret.salt, secret.text, secret.hash);
		explicit_bzero(secret.text, sizeof(secret.text));
	}
	*ret_secret = secret;
	explicit_bzero(&secret, sizeof(secret));
	return 0;
}

int wc_keys_add(struct wc_keys *keys, const struct wc_key *like, int64_t now_s, struct wc_key **ret_key,
		struct wc_key_shown *ret_shown, struct wc_fault *fault)
{
	struct wc_key key = *like;
	int error;

	if (keys->count == WC_KEYS_MAX)
		return wc_fail(fault, EFBIG, "there are %d keys already, which is the limit: remove one first",
			       WC_KEYS_MAX);
	for (size_t i = 0; i < keys->count; i++)
		if (!strcmp(keys->list[i].name, like->name))
			return wc_fail(fault, EEXIST,
				       "there is a key %s already, %s: rotate it, remove it, or take another name",
				       like->name, keys->list[i].id);
	snprintf(key.id, sizeof(key.id), "%s", prefixes[key.kind]);
	error = random_text(key.id + 4, WC_KEY_ID_LENGTH - 4, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", fault) ?:
			make_secret(&key, &key.secret, ret_shown, fault);
	if (error)
		return error;
	key.created_s = now_s;
	key.rotated_s = key.disabled_s = key.previous_until_s = 0;
	keys->list[keys->count] = key;
	*ret_key = &keys->list[keys->count++];
	explicit_bzero(&key, sizeof(key));
	return 0;
}

struct wc_key *wc_keys_find(struct wc_keys *keys, const char *which, struct wc_fault *fault)
{
	for (size_t i = 0; i < keys->count; i++)
		if (!strcmp(keys->list[i].id, which) || !strcmp(keys->list[i].name, which))
			return &keys->list[i];
	wc_fail(fault, ENOENT, "there is no key with the id or name %s: `warmcore keys list` shows them",
		wc_auth_quote((struct wc_slice){ which, strlen(which) }).text);
	return NULL;
}

int wc_key_rotate(struct wc_key *key, int64_t now_s, uint32_t overlap_s, struct wc_key_shown *ret_shown,
		  struct wc_fault *fault)
{
	struct wc_key_secret fresh;
	int error = make_secret(key, &fresh, ret_shown, fault);

	if (error)
		return error;
	explicit_bzero(&key->previous, sizeof(key->previous));
	if (overlap_s)
		key->previous = key->secret;
	key->previous_until_s = overlap_s ? now_s + overlap_s : 0;
	key->secret = fresh;
	key->rotated_s = now_s;
	explicit_bzero(&fresh, sizeof(fresh));
	return 0;
}

void wc_keys_remove(struct wc_keys *keys, struct wc_key *key)
{
	size_t behind = keys->count - (size_t)(key - keys->list) - 1;

	memmove(key, key + 1, behind * sizeof(*key));
	explicit_bzero(&keys->list[--keys->count], sizeof(*key));
}

bool wc_key_previous_good(const struct wc_key *key, int64_t now_s)
{
	return key->previous_until_s && now_s < key->previous_until_s;
}

void wc_keys_expire(struct wc_keys *keys, int64_t now_s)
{
	for (size_t i = 0; i < keys->count; i++) {
		struct wc_key *key = &keys->list[i];

		if (wc_key_previous_good(key, now_s))
			continue;
		explicit_bzero(&key->previous, sizeof(key->previous));
		key->previous_until_s = 0;
	}
}
