/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* shared_plan.c - see shared_plan.h. */
#include "user/shared_plan.h"

#include "bpf/proto.h"
#include "user/etcd_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool begins(const char *key, const char *prefix)
{
	return !strncmp(key, prefix, strlen(prefix));
}

/* --- texts --- */

char *wc_shared_text(json_t *object)
{
	/* Sorted: the same object has the same text whoever made it. */
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	json_decref(object);
	return text;
}

bool wc_shared_mark_read(const char *text, struct wc_shared_mark *ret_mark)
{
	json_t *object = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *by = text_at(object, "by");
	json_int_t term = json_integer_value(json_object_get(object, "term")),
		   generation = json_integer_value(json_object_get(object, "generation")),
		   functions = json_integer_value(json_object_get(object, "functions"));
	bool good = by && strlen(by) < sizeof(ret_mark->by) && term > 0 && generation >= 0 &&
		    generation <= UINT32_MAX && functions >= 0 && functions <= UINT32_MAX;

	memset(ret_mark, 0, sizeof(*ret_mark));
	if (good) {
		snprintf(ret_mark->by, sizeof(ret_mark->by), "%s", by);
		ret_mark->term = (uint64_t)term;
		ret_mark->generation = (uint32_t)generation;
		ret_mark->functions = (uint32_t)functions;
		ret_mark->whole = json_is_true(json_object_get(object, "whole"));
		ret_mark->held = json_is_true(json_object_get(object, "held"));
	}
	json_decref(object);
	return good;
}

char *wc_shared_mark_text(const struct wc_shared_mark *mark, uint64_t written)
{
	return wc_shared_text(json_pack("{s:s, s:I, s:I, s:I, s:b, s:b, s:I}", "by", mark->by, "term",
					(json_int_t)mark->term, "generation", (json_int_t)mark->generation, "functions",
					(json_int_t)mark->functions, "whole", (int)mark->whole, "held", (int)mark->held,
					"written", (json_int_t)written));
}

json_t *wc_shared_function(const char *key, const char *text)
{
	json_t *function = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *name = text_at(function, "name"), *qualifier = text_at(function, "qualifier");
	json_int_t id = json_integer_value(json_object_get(function, "id"));
	char path[WC_ETCD_KEY_MAX];

	snprintf(path, sizeof(path), "functions/%s/%s", name ?: "", qualifier ?: "");
	if (name && qualifier && !strcmp(path, key) && id > 0 && id <= UINT32_MAX)
		return function;
	json_decref(function);
	return NULL;
}

uint32_t wc_shared_count(const json_t *texts, const char *prefix)
{
	const char *key;
	json_t *value;
	uint32_t count = 0;

	json_object_foreach ((json_t *)(uintptr_t)texts, key, value)
		count += begins(key, prefix);
	return count;
}

/* --- what is to be written --- */

static bool is_ours(const char *key)
{
	return begins(key, "functions/") || begins(key, "aliases/") || begins(key, "drained/") || begins(key, "nodes/");
}

json_t *wc_shared_differences(const json_t *there, const json_t *wanted)
{
	json_t *differences = json_object(), *value;
	const char *key;

	json_object_foreach ((json_t *)(uintptr_t)there, key, value)
		if (is_ours(key) && !json_object_get(wanted, key))
			json_object_set_new(differences, key, json_null());
	json_object_foreach ((json_t *)(uintptr_t)wanted, key, value)
		if (!json_equal(json_object_get(there, key), value))
			json_object_set(differences, key, value);
	return differences;
}

size_t wc_shared_batch(const json_t *differences, size_t extra)
{
	size_t count = 0, bytes = 0;
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)differences, key, value) {
		bytes += strlen(key) + extra + json_string_length(value);
		if (count == WC_ETCD_CHANGES_MAX || (count && bytes > WC_ETCD_BATCH_BYTES))
			break;
		count++;
	}
	return count;
}

/* --- what is held --- */

void wc_shared_hold(json_t *held, const char *key, const char *there, const char *here, const char *why)
{
	json_object_set_new(held, key, json_pack("{s:s?, s:s?, s:s}", "there", there, "here", here, "why", why));
}

/* The same id, code and settings; limits may be others. */
static bool same_function(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "id", "code_sha256", "settings_mac" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
			return false;
	return true;
}

static void hold_theirs(json_t *held, const json_t *there, const json_t *wanted, bool own)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)there, key, value) {
		const char *text = json_string_value(value), *here = text_at(wanted, key);
		json_t *function = begins(key, "functions/") ? wc_shared_function(key, text) : NULL, *mine;

		if (!function)
			continue;
		mine = here ? wc_shared_function(key, here) : NULL;
		if (!here)
			wc_shared_hold(held, key, text, NULL, "missing");
		else if (!own && !same_function(function, mine))
			wc_shared_hold(held, key, text, here, "other");
		json_decref(mine);
		json_decref(function);
	}
}

static void hold_stale(json_t *held, const json_t *there, const json_t *wanted, uint32_t generation)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)wanted, key, value) {
		json_t *function = wc_shared_function(key, json_string_value(value));
		json_int_t id = json_integer_value(json_object_get(function, "id"));

		if (function && !json_object_get(there, key) && id >> WC_FUNCTION_SLOT_BITS <= generation)
			wc_shared_hold(held, key, NULL, json_string_value(value), "stale");
		json_decref(function);
	}
}

/* Those of functions whose $LATEST is held. */
static void hold_aliases(json_t *held, const json_t *of, const json_t *there, const json_t *wanted)
{
	char latest[WC_ETCD_KEY_MAX];
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)of, key, value) {
		const char *name = key + strlen("aliases/"), *end;

		if (!begins(key, "aliases/") || !(end = strchr(name, '/')))
			continue;
		snprintf(latest, sizeof(latest), "functions/%.*s/$LATEST", (int)(end - name), name);
		if (json_object_get(held, latest))
			wc_shared_hold(held, key, text_at(there, key), text_at(wanted, key), "held");
	}
}

json_t *wc_shared_holds(const json_t *there, const json_t *wanted, const struct wc_shared_mark *mark, bool own)
{
	json_t *held = json_object();
	/* Somebody has taken keys away, or whoever wrote did not get to the end: what is not there was not removed. */
	bool whole = mark->whole && wc_shared_count(there, "functions/") == mark->functions;

	hold_theirs(held, there, wanted, own);
	if (!own && whole)
		hold_stale(held, there, wanted, mark->generation);
	hold_aliases(held, there, there, wanted);
	hold_aliases(held, wanted, there, wanted);
	return held;
}

void wc_shared_settle(json_t *wanted, json_t *held)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe (held, next, key, value) {
		json_t *there = json_object_get(value, "there"), *now = json_object_get(wanted, key);

		if (!json_equal(json_object_get(value, "here"), now ?: json_null()))
			json_object_del(held, key);
		else if (json_is_string(there))
			json_object_set(wanted, key, there);
		else
			json_object_del(wanted, key);
	}
}
