/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_keys_json.c - keys as JSON. Strict: a member that is not known is refused, because a misspelt "patterns" must not open a scope, and
 * no message repeats a value, which may be a secret that was put into the wrong place.
 */
#include "user/gateway/auth_keys.h"

#include "user/gateway/auth_canonical.h"
#include "user/gateway/auth_sigv4.h"

#include <nettle/base16.h>
#include <string.h>
#include <time.h>

#define STAMP "%Y-%m-%dT%H:%M:%SZ"
#define STAMP_LENGTH 20

/* Where in the file something is wrong. */
struct place {
	size_t key; /* counted from 1 */
	struct wc_fault *fault;
};

static int wrong(const struct place *place, const char *member, const char *why)
{
	return wc_fail(place->fault, EINVAL, "key number %zu: \"%s\" %s", place->key, member, why);
}

/* --- times --- */

static json_t *format_time(int64_t seconds)
{
	char stamp[STAMP_LENGTH + 1];
	time_t when = (time_t)seconds;
	struct tm utc;

	if (!gmtime_r(&when, &utc) || strftime(stamp, sizeof(stamp), STAMP, &utc) != STAMP_LENGTH)
		return NULL;
	return json_string(stamp);
}

static int parse_time(const struct place *place, const json_t *object, const char *member, int64_t *ret_s)
{
	const json_t *value = json_object_get(object, member);
	const char *text = json_string_value(value);
	char basic[WC_SIGV4_STAMP_SIZE];

	if (!value)
		return 0;
	/* "2026-01-31T23:59:59Z" without its - and : is a stamp of Signature Version 4. */
	if (!text || json_string_length(value) != STAMP_LENGTH || text[4] != '-' || text[7] != '-' || text[13] != ':' ||
	    text[16] != ':')
		return wrong(place, member, "is not a time like 2026-01-31T23:59:59Z");
	snprintf(basic, sizeof(basic), "%.4s%.2s%.5s%.2s%.3s", text, text + 5, text + 8, text + 14, text + 17);
	if (!wc_sigv4_stamp_parse(basic, strlen(basic), ret_s) || *ret_s <= 0)
		return wrong(place, member, "is not a time like 2026-01-31T23:59:59Z");
	return 0;
}

/* --- secrets --- */

static bool all_of(const char *text, size_t length, const char *alphabet)
{
	return strlen(text) == length && strspn(text, alphabet) == length;
}

static bool unhex(uint8_t *out, size_t size, const json_t *value)
{
	const char *text = json_string_value(value);
	struct base16_decode_ctx context;
	size_t length = size;

	if (!text || json_string_length(value) != 2 * size)
		return false;
	base16_decode_init(&context);
	return base16_decode_update(&context, &length, out, 2 * size, text) && length == size &&
	       base16_decode_final(&context);
}

static int parse_secret(const struct place *place, const json_t *object, const char *member, enum wc_key_kind kind,
			struct wc_key_secret *ret_secret)
{
	const json_t *value = json_object_get(object, member);
	const char *text = json_string_value(value);

	if (kind == WC_KEY_SIGV4) {
		if (!text || json_string_length(value) != WC_KEY_SECRET_LENGTH ||
		    !all_of(text, WC_KEY_SECRET_LENGTH,
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
			return wrong(place, member, "is not a secret of 40 letters, digits, + and /");
		memcpy(ret_secret->text, text, WC_KEY_SECRET_LENGTH + 1);
		return 0;
	}
	if (!json_is_object(value) || json_object_size(value) != 2 ||
	    !unhex(ret_secret->salt, sizeof(ret_secret->salt), json_object_get(value, "salt")) ||
	    !unhex(ret_secret->hash, sizeof(ret_secret->hash), json_object_get(value, "sha256")))
		return wrong(place, member, "is not {\"salt\": 32 hexadecimal digits, \"sha256\": 64 of them}");
	return 0;
}

static json_t *format_secret(const struct wc_key_secret *secret, enum wc_key_kind kind)
{
	char salt[2 * sizeof(secret->salt) + 1] = "", hash[2 * WC_SHA256_SIZE + 1];

	if (kind == WC_KEY_SIGV4)
		return json_string(secret->text);
	base16_encode_update(salt, sizeof(secret->salt), secret->salt);
	wc_hex(hash, secret->hash);
	return json_pack("{s:s, s:s}", "salt", salt, "sha256", hash);
}

/* --- a key --- */

static int parse_choice(const json_t *object, const char *member, const char *const *names, int count)
{
	const char *text = json_string_value(json_object_get(object, member));

	for (int i = 0; text && i < count; i++)
		if (!strcmp(text, names[i]))
			return i;
	return -1;
}

static int parse_text(const struct place *place, const json_t *value, const char *member, char *out, size_t size)
{
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) != strlen(text) || strlen(text) >= size)
		return wrong(place, member, "is missing, not a text, or too long");
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

static int parse_patterns(const struct place *place, const json_t *object, struct wc_key *key)
{
	const json_t *list = json_object_get(object, "functions");

	key->pattern_count = json_array_size(list);
	if (!key->pattern_count || key->pattern_count > WC_KEY_PATTERNS_MAX)
		return wrong(place, "functions", "is not a list of 1 to 16 patterns");
	for (size_t i = 0; i < key->pattern_count; i++) {
		int error = parse_text(place, json_array_get(list, i), "functions", key->patterns[i],
				       sizeof(key->patterns[i]));

		if (error)
			return error;
		if (wc_key_pattern_wrong(key->patterns[i]))
			return wrong(place, "functions", wc_key_pattern_wrong(key->patterns[i]));
	}
	return 0;
}

static int check_members(const struct place *place, const json_t *object)
{
	static const char *const known[] = { "id",	  "name",	"kind",		 "role",
					     "functions", "created_at", "rotated_at",	 "disabled_at",
					     "secret",	  "previous",	"previous_until" };
	const char *member;
	json_t *value;

	json_object_foreach ((json_t *)object, member, value) {
		size_t i = 0;

		while (i < sizeof(known) / sizeof(known[0]) && strcmp(known[i], member))
			i++;
		if (i == sizeof(known) / sizeof(known[0]))
			return wc_fail(place->fault, EINVAL, "key number %zu has a member that a key does not have",
				       place->key);
	}
	return 0;
}

static int parse_key(const struct place *place, const json_t *object, struct wc_key *key)
{
	int kind = parse_choice(object, "kind", wc_key_kind_names, WC_KEY_BEARER + 1), error;
	int role = parse_choice(object, "role", wc_key_role_names, WC_KEY_METRICS + 1);

	if (!json_is_object(object))
		return wc_fail(place->fault, EINVAL, "key number %zu is not an object", place->key);
	error = check_members(place, object);
	if (error)
		return error;
	if (kind < 0)
		return wrong(place, "kind", "is neither sigv4 nor bearer");
	if (role < 0)
		return wrong(place, "role", "is none of invoke, admin and metrics");
	key->kind = (enum wc_key_kind)kind;
	key->role = (enum wc_key_role)role;
	error = parse_text(place, json_object_get(object, "id"), "id", key->id, sizeof(key->id))		 ?:
			parse_text(place, json_object_get(object, "name"), "name", key->name, sizeof(key->name)) ?:
			parse_patterns(place, object, key)							 ?:
			parse_time(place, object, "created_at", &key->created_s)				 ?:
			parse_time(place, object, "rotated_at", &key->rotated_s)				 ?:
			parse_time(place, object, "disabled_at", &key->disabled_s)				 ?:
			parse_time(place, object, "previous_until", &key->previous_until_s)			 ?:
			parse_secret(place, object, "secret", key->kind, &key->secret);
	if (error)
		return error;
	if (strncmp(key->id, kind == WC_KEY_SIGV4 ? "WCKA" : "WCBT", 4) ||
	    !all_of(key->id + 4, WC_KEY_ID_LENGTH - 4, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
		return wrong(place, "id", "is not WCKA (sigv4) or WCBT (bearer) and 16 of A-Z 2-7");
	if (wc_key_name_wrong(key->name))
		return wrong(place, "name", wc_key_name_wrong(key->name));
	if (!key->created_s)
		return wrong(place, "created_at", "is missing");
	if (!json_object_get(object, "previous") != !key->previous_until_s)
		return wrong(place, "previous", "and \"previous_until\" go together");
	return key->previous_until_s ? parse_secret(place, object, "previous", key->kind, &key->previous) : 0;
}

int wc_keys_parse(const json_t *object, struct wc_keys *keys, struct wc_fault *fault)
{
	const json_t *list = json_object_get(object, "keys"), *format = json_object_get(object, "warmcore_keys");
	struct place place = { 0, fault };

	if (!json_is_object(object) || !json_is_integer(format) || json_integer_value(format) < 1)
		return wc_fail(fault, EINVAL, "it is not {\"warmcore_keys\": %d, \"keys\": [...]}", WC_KEYS_FORMAT);
	if (json_integer_value(format) > WC_KEYS_FORMAT)
		return wc_fail(fault, EINVAL, "it was written by a newer warmcore (format %lld, this one knows %d)",
			       (long long)json_integer_value(format), WC_KEYS_FORMAT);
	if (!json_is_array(list) || json_object_size(object) != 2)
		return wc_fail(fault, EINVAL, "it has something else than \"warmcore_keys\" and a list \"keys\"");
	if (json_array_size(list) > WC_KEYS_MAX)
		return wc_fail(fault, EFBIG, "it has more than %d keys", WC_KEYS_MAX);
	for (keys->count = 0; keys->count < json_array_size(list); keys->count++) {
		struct wc_key *key = &keys->list[keys->count];
		int error;

		place.key = keys->count + 1;
		error = parse_key(&place, json_array_get(list, keys->count), key);
		for (size_t i = 0; !error && i < keys->count; i++)
			if (!strcmp(keys->list[i].id, key->id) || !strcmp(keys->list[i].name, key->name))
				error = wrong(&place, "id", "or its name is that of another key, too");
		if (error)
			return error;
	}
	return 0;
}

static json_t *format_patterns(const struct wc_key *key)
{
	json_t *list = json_array();

	for (size_t i = 0; i < key->pattern_count; i++)
		json_array_append_new(list, json_string(key->patterns[i]));
	return list;
}

/* What everybody may know. "s:o*": left out when it is NULL. */
static json_t *format_public(const struct wc_key *key)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o*, s:o*}", "id", key->id, "name", key->name, "kind",
			 wc_key_kind_names[key->kind], "role", wc_key_role_names[key->role], "functions",
			 format_patterns(key), "created_at", format_time(key->created_s), "rotated_at",
			 key->rotated_s ? format_time(key->rotated_s) : NULL, "disabled_at",
			 key->disabled_s ? format_time(key->disabled_s) : NULL);
}

json_t *wc_keys_format(const struct wc_keys *keys)
{
	json_t *list = json_array();

	for (size_t i = 0; i < keys->count; i++) {
		const struct wc_key *key = &keys->list[i];
		json_t *object = format_public(key);

		json_object_set_new(object, "secret", format_secret(&key->secret, key->kind));
		if (key->previous_until_s) {
			json_object_set_new(object, "previous", format_secret(&key->previous, key->kind));
			json_object_set_new(object, "previous_until", format_time(key->previous_until_s));
		}
		json_array_append_new(list, object);
	}
	return json_pack("{s:i, s:o}", "warmcore_keys", WC_KEYS_FORMAT, "keys", list);
}

json_t *wc_key_describe(const struct wc_key *key, int64_t now_s)
{
	json_t *object = format_public(key);

	json_object_set_new(object, "enabled", json_boolean(!key->disabled_s));
	if (wc_key_previous_good(key, now_s))
		json_object_set_new(object, "previous_until", format_time(key->previous_until_s));
	return object;
}
