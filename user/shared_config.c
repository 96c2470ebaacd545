/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* shared_config.c - see shared_config.h. What is put into force is asked for as by anybody, through the control socket's requests. */
#include "user/shared_config.h"

#include "user/cluster_functions.h"
#include "user/control.h"
#include "user/functions.h"
#include "user/lead.h"
#include "user/log.h"
#include "user/members.h"
#include "user/published.h"
#include "user/shared_plan.h"

#include <nettle/base16.h>
#include <nettle/hmac.h>
#include <stdlib.h>
#include <string.h>

static const char *const limits[] = { "concurrency", "reserved", "queue", "priority", "provisioned" };
#define LIMITS (sizeof(limits) / sizeof(limits[0]))

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

/* --- what there is here --- */

static json_t *mac_of(const uint64_t key[2], const char *digest)
{
	char hex[2 * 16 + 1] = "";
	struct hmac_sha256_ctx context;
	uint8_t mac[16];

	hmac_sha256_set_key(&context, 16, (const uint8_t *)key);
	hmac_sha256_update(&context, strlen(digest), (const uint8_t *)digest);
	hmac_sha256_digest(&context, sizeof(mac), mac);
	base16_encode_update(hex, sizeof(mac), mac);
	return json_string(hex);
}

/* Takes the object. */
static void put(json_t *texts, const char *key, json_t *object)
{
	char *text = wc_shared_text(object);

	if (text)
		json_object_set_new(texts, key, json_string(text));
	free(text);
}

static json_t *function_json(struct wc_node *node, const json_t *listed, const struct wc_fn *fn, const uint64_t key[2])
{
	json_t *settings = wc_manifest_json(&fn->manifest), *own = json_object();
	json_t *function = json_pack("{s:O, s:O, s:O, s:O, s:o}", "name", json_object_get(listed, "name"), "qualifier",
				     json_object_get(listed, "qualifier"), "id", json_object_get(listed, "id"),
				     "code_sha256", json_object_get(listed, "code_sha256"), "settings_mac",
				     mac_of(key, text_at(listed, "settings")));
	struct wc_fault fault;
	int64_t reserved = -1;

	for (size_t i = 0; i < LIMITS; i++) {
		json_object_set(own, limits[i], json_object_get(settings, limits[i]));
		json_object_del(settings, limits[i]);
	}
	json_object_del(settings, "name");
	json_object_del(settings, "environment"); /* secrets are put there, too */
	json_object_set_new(function, "settings", settings);
	json_object_set_new(function, "limits", own);
	if (!fn->published && !wc_functions_get_reserved(node->functions, fn->manifest.name, &reserved, &fault) &&
	    reserved >= 0)
		json_object_set_new(function, "reserved_concurrency", json_integer(reserved));
	return function;
}

static void add_aliases(struct wc_node *node, const char *name, json_t *texts)
{
	struct wc_fault fault;
	json_t *list = NULL, *alias;
	char path[WC_NAME_MAX + WC_ALIAS_NAME_MAX + 16];
	size_t i;

	if (wc_alias_list(node->functions, name, &list, &fault))
		return; /* removed this moment */
	json_array_foreach (list, i, alias) {
		snprintf(path, sizeof(path), "aliases/%s/%s", name, text_at(alias, "name"));
		json_object_del(alias, "revision"); /* each host has its own */
		put(texts, path, json_incref(alias));
	}
	json_decref(list);
}

json_t *wc_shared_wanted(struct wc_node *node, const uint64_t key[2])
{
	json_t *texts = json_object(), *list = wc_cluster_functions(node), *drained = wc_members_drained(node), *each;
	char path[WC_NAME_MAX + 32];
	size_t i;

	json_array_foreach (list, i, each) {
		struct wc_fn *fn =
			wc_functions_get(node->functions, (uint32_t)json_integer_value(json_object_get(each, "id")));

		if (!fn) /* removed this moment */
			continue;
		snprintf(path, sizeof(path), "functions/%s/%s", text_at(each, "name"), text_at(each, "qualifier"));
		put(texts, path, function_json(node, each, fn, key));
		if (!fn->published)
			add_aliases(node, fn->manifest.name, texts);
		wc_fn_put(fn);
	}
	json_array_foreach (drained, i, each) {
		snprintf(path, sizeof(path), "drained/%s", json_string_value(each));
		put(texts, path, json_object());
	}
	json_decref(drained);
	json_decref(list);
	return texts;
}

json_t *wc_shared_nodes(const struct wc_node *node)
{
	json_t *texts = json_object(), *cluster = wc_members_json(node), *each;
	char path[WC_MEMBER_NAME_MAX + 16], address[80];
	size_t i;

	json_array_foreach (json_object_get(cluster, "nodes"), i, each) {
		if (json_is_true(json_object_get(each, "sibling")))
			continue; /* of another part of the cluster */
		snprintf(path, sizeof(path), "nodes/%s", text_at(each, "name"));
		snprintf(address, sizeof(address), "%s:%lld", text_at(each, "address"),
			 (long long)json_integer_value(json_object_get(each, "port")));
		put(texts, path,
		    json_pack("{s:s, s:O, s:O}", "address", address, "cores", json_object_get(each, "cores"), "state",
			      json_object_get(each, "state")));
	}
	json_decref(cluster);
	snprintf(path, sizeof(path), "nodes/%s", node->options.join_as);
	snprintf(address, sizeof(address), "%s:%u", node->address4, (unsigned)node->options.port);
	put(texts, path,
	    json_pack("{s:s, s:i, s:s}", "address", address, "cores", (int)node->options.core_count, "state", "leads"));
	return texts;
}

/* --- what etcd says into force --- */

/* Takes the request. False: it cannot be, and why. */
static bool ask(struct wc_node *node, json_t *request, char why[200])
{
	json_t *answer = wc_control_answer(node, request);
	bool good = json_is_true(json_object_get(answer, "ok"));

	if (!good)
		snprintf(why, 200, "%s", text_at(answer, "error"));
	json_decref(answer);
	json_decref(request);
	return good;
}

static void refuse(json_t *held, const char *key, const char *there, const char *here, const char *why)
{
	char text[240];

	wc_warning("%s is in force as it is here, and not as etcd has it: %s", key, why);
	snprintf(text, sizeof(text), "refused: %s", why);
	wc_shared_hold(held, key, there, here, text);
}

/* Of the limits all, or without those that depend on how many cores there are. */
static bool set_limits(struct wc_node *node, const json_t *function, bool all, char why[200])
{
	json_t *request = json_pack("{s:s, s:O, s:O}", "op", "limit", "name", json_object_get(function, "name"),
				    "qualifier", json_object_get(function, "qualifier"));
	const json_t *wanted = json_object_get(function, "limits");

	for (size_t i = 0; i < LIMITS; i++)
		if (all || (strcmp(limits[i], "reserved") != 0 && strcmp(limits[i], "provisioned") != 0))
			json_object_set(request, limits[i], json_object_get(wanted, limits[i]));
	return ask(node, request, why);
}

/* -1: none; so has a published version, which has that of its function. */
static json_int_t reserved_of(const json_t *function)
{
	const json_t *reserved = json_object_get(function, "reserved_concurrency");

	return json_is_integer(reserved) ? json_integer_value(reserved) : -1;
}

static bool set_reserved(struct wc_node *node, const json_t *function, char why[200])
{
	json_t *reserved = json_object_get(function, "reserved_concurrency");

	return ask(node,
		   json_pack("{s:s, s:O, s:s, s:O*}", "op", "concurrency", "name", json_object_get(function, "name"),
			     "action", reserved ? "set" : "remove", "reserved", reserved),
		   why);
}

static void apply_function(struct wc_node *node, const char *key, const char *text, const char *here, json_t *held)
{
	json_t *function = wc_shared_function(key, text), *own = wc_shared_function(key, here);
	char why[200] = "", ignored[200];
	bool good = true;

	if (function && own && !json_equal(json_object_get(function, "limits"), json_object_get(own, "limits"))) {
		good = set_limits(node, function, true, why);
		if (!good)
			set_limits(node, function, false, ignored);
	}
	if (function && own && reserved_of(function) != reserved_of(own))
		good = set_reserved(node, function, good ? why : ignored) && good;
	if (!good)
		refuse(held, key, text, NULL, why);
	json_decref(own);
	json_decref(function);
}

/* aliases/NAME/ALIAS; `text`: NULL: there is none any more. */
static void apply_alias(struct wc_node *node, const char *key, const char *text, const char *here, json_t *held)
{
	json_t *alias = text ? json_loads(text, 0, NULL) : NULL, *request;
	const char *name = key + strlen("aliases/"), *end = strchr(name, '/');
	char why[200] = "";

	if (!end || (text && !json_is_object(alias)))
		goto out;
	request = json_pack("{s:s, s:s#, s:s, s:s}", "op", "alias", "name", name, (int)(end - name), "action",
			    text ? "set" : "remove", "alias", end + 1);
	for (size_t i = 0; text && i < 4; i++) {
		static const char *const keys[] = { "version", "weights", "description", "provisioned" };

		json_object_set(request, keys[i], json_object_get(alias, keys[i]));
	}
	if (!ask(node, request, why))
		refuse(held, key, text, here, why);
out:
	json_decref(alias);
}

static void apply_drained(struct wc_node *node, const json_t *there, bool whole)
{
	json_t *names = json_array(), *value;
	const char *key;

	json_object_foreach ((json_t *)(uintptr_t)there, key, value)
		if (!strncmp(key, "drained/", strlen("drained/")))
			json_array_append_new(names, json_string(key + strlen("drained/")));
	wc_members_set_drained(node, names, whole);
	json_decref(names);
}

void wc_shared_apply(struct wc_node *node, const json_t *there, const json_t *wanted, json_t *held, bool whole,
		     enum wc_shared_trust trust)
{
	const char *key;
	json_t *value;

	apply_drained(node, there, whole); /* first: nodes may be coming this moment */
	if (trust == WC_SHARED_DRAINED)
		return;
	json_object_foreach ((json_t *)(uintptr_t)there, key, value) {
		const json_t *here = json_object_get(wanted, key);

		if (json_object_get(held, key) || json_equal(here, value))
			continue;
		if (!strncmp(key, "functions/", strlen("functions/")) && here)
			apply_function(node, key, json_string_value(value), json_string_value(here), held);
		if (!strncmp(key, "aliases/", strlen("aliases/")))
			apply_alias(node, key, json_string_value(value), json_string_value(here), held);
	}
	json_object_foreach ((json_t *)(uintptr_t)wanted, key, value)
		if (whole && !json_object_get(held, key) && !json_object_get(there, key) &&
		    !strncmp(key, "aliases/", strlen("aliases/")))
			apply_alias(node, key, NULL, json_string_value(value), held);
}
