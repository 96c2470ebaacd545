/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* control_registry.c - requests about published versions, aliases, settings and limits of functions; docs/CONTROL.md has their words. */
#include "user/control_internal.h"

#include "user/log.h"
#include "user/pending.h"
#include "user/published.h"
#include "user/scheduler.h"
#include "user/secrets.h"
#include "user/shared_registry.h"
#include "user/warmth.h"

#include <string.h>

/*
 * A text of a request: NULL if it is not there, or is null. False: it is something else, or has a NUL in it.
 */
static bool get_text(json_t *request, const char *key, const char **ret_text)
{
	json_t *value = json_object_get(request, key);
	const char *text = json_string_value(value);

	*ret_text = NULL;
	if (!value || json_is_null(value))
		return true;
	if (!text || strlen(text) != json_string_length(value))
		return false;
	*ret_text = text;
	return true;
}

static json_t *bad_text(const char *key)
{
	char text[100];

	snprintf(text, sizeof(text), "\"%s\" must be a text", key);
	return wc_control_fail("bad-request", text);
}

static bool get_number(json_t *request, const char *key, uint32_t max, bool *ret_has, uint32_t *ret_number)
{
	json_t *value = json_object_get(request, key);

	*ret_has = value;
	if (!value)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max)
		return false;
	*ret_number = (uint32_t)json_integer_value(value);
	return true;
}

bool wc_control_id(const json_t *request, uint32_t *ret_id)
{
	const json_t *value = json_object_get(request, "id");

	*ret_id = 0;
	if (!value)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > UINT32_MAX)
		return false;
	*ret_id = (uint32_t)json_integer_value(value);
	return true;
}

/* What runs is not touched; what waits may be allowed to run now, and instances may be wanted or not. */
static void limits_changed(struct wc_node *node)
{
	if (node->warmth)
		wc_warmth_changed(node->warmth);
	wc_control_switched(node);
}

/* The number of a version that is named by `qualifier`; an alias is none. False: *ret_answer says what is wrong. */
static bool version_of(json_t *request, uint32_t *ret_number, json_t **ret_answer)
{
	const char *qualifier;

	*ret_number = 0;
	if (get_text(request, "qualifier", &qualifier) && (!qualifier || wc_qualifier_number(qualifier, ret_number)))
		return true;
	*ret_answer = wc_control_fail("bad-request", "\"qualifier\" must be \"$LATEST\" or the number of a published "
						     "version here; see `warmcore versions`");
	return false;
}

/* --- finding --- */

static json_t *targets_json(const struct wc_target *targets, uint32_t count)
{
	json_t *list = json_array();
	char version[12];

	for (uint32_t i = 0; i < count; i++) {
		snprintf(version, sizeof(version), targets[i].fn->published ? "%u" : "$LATEST",
			 targets[i].fn->published);
		json_array_append_new(list, json_pack("{s:s, s:I, s:f}", "version", version, "id",
						      (json_int_t)targets[i].fn->id, "weight", targets[i].weight));
	}
	return list;
}

int wc_control_find(struct wc_node *node, const char *name, json_t *request, struct wc_fn **ret_fn,
		    struct wc_fault *fault)
{
	struct wc_target targets[WC_TARGETS_MAX] = { 0 };
	const char *qualifier;
	uint32_t count = 0;
	int error;

	if (!get_text(request, "qualifier", &qualifier))
		return wc_fail(fault, EINVAL, "\"qualifier\" must be a text");
	error = wc_functions_resolve(node->functions, name, qualifier, targets, &count, fault);
	if (error)
		return error;
	wc_targets_put(targets + 1, count - 1);
	*ret_fn = targets[0].fn;
	return 0;
}

json_t *wc_control_resolve(struct wc_node *node, const char *name, json_t *request)
{
	struct wc_target targets[WC_TARGETS_MAX];
	const char *qualifier;
	struct wc_fault fault;
	uint32_t count = 0;
	char path[160];
	json_t *answer;
	int error;

	if (!get_text(request, "qualifier", &qualifier))
		return bad_text("qualifier");
	error = wc_functions_resolve(node->functions, name, qualifier, targets, &count, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	snprintf(path, sizeof(path), "%s/payload.sock", node->run_dir);
	answer = json_pack("{s:b, s:o, s:s, s:s, s:i, s:i, s:i, s:s, s:o}", "ok", 1, "function",
			   wc_fn_json(targets[0].fn), "address4", node->address4, "address6", node->address6, "port",
			   (int)node->options.port, "payload_max", WC_PAYLOAD_MAX, "payload_large", WC_PAYLOAD_LARGE,
			   "payload_socket", path, "targets", targets_json(targets, count));
	wc_targets_put(targets, count);
	return answer;
}

/* With the environment, which other answers leave out because it may hold secrets. */
json_t *wc_control_settings(struct wc_node *node, const char *name, json_t *request)
{
	struct wc_fault fault;
	struct wc_fn *fn = NULL;
	json_t *answer;
	int error = wc_control_find(node, name, request, &fn, &fault);

	if (error)
		return wc_control_fault(error, &fault);
	answer = json_pack("{s:b, s:o}", "ok", 1, "settings", wc_manifest_json(&fn->manifest));
	wc_fn_put(fn);
	return answer;
}

/* --- changing --- */

json_t *wc_control_remove(struct wc_node *node, const char *name, json_t *request)
{
	bool one = json_object_get(request, "qualifier");
	struct wc_fault fault;
	json_t *answer;
	uint32_t number = 0;
	int error;

	if (one && !version_of(request, &number, &answer))
		return answer;
	error = one ? wc_functions_unpublish(node->functions, name, number, &fault) :
		      wc_functions_remove(node->functions, name, &fault);
	/* What this host does not have, but its cluster, is removed there. */
	if ((!error || error == -ENOENT) &&
	    wc_shared_accept(node, name, json_string_value(json_object_get(request, "qualifier")), true))
		error = 0;
	if (error)
		return wc_control_fault(error, &fault);
	wc_control_switched(node);
	if (one) {
		wc_info("version %u of function %s removed", number, name);
	} else {
		wc_secrets_remove_all(node->options.state_dir, name);
		wc_info("function %s removed", name);
	}
	return json_pack("{s:b, s:s, s:O*}", "ok", 1, "removed", name, "qualifier",
			 one ? json_object_get(request, "qualifier") : NULL);
}

json_t *wc_control_limit(struct wc_node *node, const char *name, json_t *request)
{
	struct wc_fault fault;
	uint32_t number;
	struct wc_fn *fn;
	json_t *answer;
	int error;

	if (!version_of(request, &number, &answer))
		return answer;
	error = wc_functions_limit(node->functions, name, number, request, &fn, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	answer = json_pack("{s:b, s:o}", "ok", 1, "function", wc_fn_json(fn));
	wc_fn_put(fn);
	limits_changed(node);
	return answer;
}

json_t *wc_control_configure(struct wc_node *node, const char *name, json_t *request)
{
	enum wc_deployed what;
	const char *revision;
	struct wc_fault fault;
	struct wc_fn *fn;
	json_t *answer;
	int error;

	if (!get_text(request, "revision", &revision))
		return bad_text("revision");
	error = wc_functions_configure(node->functions, name, request, revision, &fn, &what, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	answer = json_pack("{s:b, s:o, s:b}", "ok", 1, "function", wc_fn_json(fn), "unchanged", what == WC_UNCHANGED);
	if (what != WC_UNCHANGED) {
		wc_info("function %s has other settings as version %u", name, fn->version);
		limits_changed(node);
	}
	wc_fn_put(fn);
	return answer;
}

json_t *wc_control_publish(struct wc_node *node, const char *name, json_t *request)
{
	char description[WC_DESCRIPTION_BYTES] = "";
	struct wc_publish publish = { .description = NULL };
	struct wc_fault fault;
	bool unchanged, numbered;
	struct wc_fn *fn;
	json_t *answer;
	int error;

	if (!wc_control_id(request, &publish.id))
		return wc_control_fail("bad-request", WC_CONTROL_NO_ID);
	if (!get_number(request, "version", UINT32_MAX, &numbered, &publish.number) || (numbered && !publish.number))
		return wc_control_fail("bad-request", "\"version\" must be the number that the version is to have");
	if (!get_text(request, "code_sha256", &publish.code_sha256))
		return bad_text("code_sha256");
	if (!get_text(request, "revision", &publish.revision))
		return bad_text("revision");
	if (json_object_get(request, "description")) {
		error = wc_description_parse(request, description, &fault);
		if (error)
			return wc_control_fault(error, &fault);
		publish.description = description;
	}
	error = wc_functions_publish(node->functions, name, &publish, &fn, &unchanged, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	answer = json_pack("{s:b, s:I, s:b, s:o}", "ok", 1, "version", (json_int_t)fn->published, "unchanged",
			   unchanged, "function", wc_fn_json(fn));
	if (!unchanged) {
		wc_info("function %s published as version %u, %u", name, fn->published, fn->id);
		wc_control_switched(node);
	}
	wc_fn_put(fn);
	return answer;
}

json_t *wc_control_published(struct wc_node *node, const char *name, json_t *request)
{
	struct wc_fault fault;
	json_t *versions;
	int error = wc_functions_published(node->functions, name, &versions, &fault);

	(void)request;
	return error ? wc_control_fault(error, &fault) : json_pack("{s:b, s:o}", "ok", 1, "versions", versions);
}

/* --- aliases --- */

/* "weights": {} or {"VERSION": 0.0..1.0}. NULL, or what is wrong. */
static const char *get_weights(json_t *request, struct wc_alias_change *change)
{
	json_t *weights = json_object_get(request, "weights"), *value;
	const char *version;

	change->has_other = weights;
	if (!weights)
		return NULL;
	if (!json_is_object(weights) || json_object_size(weights) > 1)
		return "\"weights\" must be an object with the weight of at most one other version";
	json_object_foreach (weights, version, value) {
		if (!wc_qualifier_number(version, &change->other) || !change->other)
			return "\"weights\": the key must be the number of a published version";
		if (!json_is_number(value) || !(json_number_value(value) >= 0 && json_number_value(value) <= 1))
			return "\"weights\": a weight is a number from 0 to 1";
		change->weight = json_number_value(value);
	}
	return NULL;
}

static json_t *set_alias(struct wc_node *node, const char *name, struct wc_alias_change change, json_t *request)
{
	char description[WC_DESCRIPTION_BYTES];
	const char *version, *wrong;
	struct wc_fault fault;
	json_t *alias;
	bool created;
	int error;

	if (!get_text(request, "version", &version) || (version && !wc_qualifier_number(version, &change.version)))
		return wc_control_fail("bad-request", "\"version\" must be \"$LATEST\" or the number of a published "
						      "version, as a text");
	change.has_version = version;
	wrong = get_weights(request, &change);
	if (wrong)
		return wc_control_fail("bad-request", wrong);
	if (!get_number(request, "provisioned", WC_PROVISIONED_MAX, &change.has_provisioned, &change.provisioned))
		return wc_control_fail("bad-request", "\"provisioned\" must be a whole number from 0 to 1024");
	if (json_object_get(request, "description")) {
		error = wc_description_parse(request, description, &fault);
		if (error)
			return wc_control_fault(error, &fault);
		change.description = description;
	}
	error = wc_alias_set(node->functions, name, &change, &alias, &created, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	limits_changed(node);
	return json_pack("{s:b, s:o, s:b}", "ok", 1, "alias", alias, "created", created);
}

json_t *wc_control_alias(struct wc_node *node, const char *name, json_t *request)
{
	static const char *const hows[] = { "set", "create", "update" };
	struct wc_alias_change change = { .name = NULL };
	const char *action;
	struct wc_fault fault;
	json_t *object;
	int error;

	if (!get_text(request, "action", &action) || !get_text(request, "alias", &change.name) ||
	    !get_text(request, "revision", &change.revision))
		return wc_control_fail("bad-request", "\"action\", \"alias\" and \"revision\" must be texts");
	action = action ?: "list";
	if (!strcmp(action, "list")) {
		error = wc_alias_list(node->functions, name, &object, &fault);
		return error ? wc_control_fault(error, &fault) : json_pack("{s:b, s:o}", "ok", 1, "aliases", object);
	}
	if (!change.name)
		return wc_control_fail("bad-request", "the request has no \"alias\"");
	if (!strcmp(action, "get")) {
		error = wc_alias_get(node->functions, name, change.name, &object, &fault);
		return error ? wc_control_fault(error, &fault) : json_pack("{s:b, s:o}", "ok", 1, "alias", object);
	}
	if (!strcmp(action, "remove")) {
		error = wc_alias_remove(node->functions, name, change.name, change.revision, &fault);
		if (error)
			return wc_control_fault(error, &fault);
		limits_changed(node);
		return json_pack("{s:b, s:s}", "ok", 1, "removed", change.name);
	}
	for (int i = 0; i < 3; i++) {
		if (!strcmp(action, hows[i])) {
			change.how = (enum wc_alias_how)i;
			return set_alias(node, name, change, request);
		}
	}
	return wc_control_fail("bad-request", "\"action\" must be list, get, set, create, update or remove");
}

/* --- concurrency --- */

static json_t *reserved_answer(struct wc_node *node, const char *name)
{
	struct wc_fault fault;
	int64_t reserved;
	int error = wc_functions_get_reserved(node->functions, name, &reserved, &fault);

	if (error)
		return wc_control_fault(error, &fault);
	return json_pack("{s:b, s:{s:o}}", "ok", 1, "concurrency", "reserved",
			 reserved < 0 ? json_null() : json_integer(reserved));
}

static json_t *reserved(struct wc_node *node, const char *name, const char *action, json_t *request)
{
	struct wc_fault fault;
	uint32_t number = 0;
	bool has;
	int error;

	if (json_object_get(request, "provisioned"))
		return wc_control_fail("bad-request", "\"provisioned\" needs a \"qualifier\": a version or an alias");
	if (!strcmp(action, "get"))
		return reserved_answer(node, name);
	if (!get_number(request, "reserved", WC_RESERVED_MAX, &has, &number) || has != !strcmp(action, "set"))
		return wc_control_fail("bad-request",
				       "\"reserved\" must be a whole number from 0 to 65536, for \"set\" only");
	error = wc_functions_set_reserved(node->functions, name, has ? (int64_t)number : -1, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	limits_changed(node);
	return reserved_answer(node, name);
}

static json_t *provisioned_answer(struct wc_node *node, const char *name, const char *qualifier)
{
	struct wc_target targets[WC_TARGETS_MAX];
	struct wc_fault fault;
	uint32_t count = 0;
	json_t *list, *answer;
	int error = wc_functions_resolve(node->functions, name, qualifier, targets, &count, &fault);

	if (!error) /* it is there */
		wc_targets_put(targets, count);
	if (!error)
		error = wc_functions_list_provisioned(node->functions, name, qualifier, &list, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	answer = json_array_size(list) ? json_pack("{s:b, s:O}", "ok", 1, "concurrency", json_array_get(list, 0)) :
					 json_pack("{s:b, s:{s:s, s:i, s:i, s:s}}", "ok", 1, "concurrency", "qualifier",
						   qualifier, "requested", 0, "available", 0, "status", "NONE");
	json_decref(list);
	return answer;
}

static json_t *provisioned(struct wc_node *node, const char *name, const char *qualifier, const char *action,
			   json_t *request)
{
	struct wc_alias_change change = { .name = qualifier, .how = WC_ALIAS_UPDATE };
	struct wc_fault fault;
	uint32_t number;
	struct wc_fn *fn;
	json_t *object;
	bool created;
	int error;

	if (json_object_get(request, "reserved"))
		return wc_control_fail("bad-request",
				       "\"reserved\" is of the function as a whole: without \"qualifier\"");
	if (!strcmp(action, "get"))
		return provisioned_answer(node, name, qualifier);
	if (!get_number(request, "provisioned", WC_PROVISIONED_MAX, &change.has_provisioned, &change.provisioned) ||
	    change.has_provisioned != !strcmp(action, "set"))
		return wc_control_fail("bad-request",
				       "\"provisioned\" must be a whole number from 0 to 1024, for \"set\" only");
	change.has_provisioned = true;
	if (wc_qualifier_number(qualifier, &number)) {
		object = json_pack("{s:I}", "provisioned", (json_int_t)change.provisioned);
		error = wc_functions_limit(node->functions, name, number, object, &fn, &fault);
		if (!error)
			wc_fn_put(fn);
	} else {
		error = wc_alias_set(node->functions, name, &change, &object, &created, &fault);
		object = error ? NULL : object;
	}
	json_decref(object);
	if (error)
		return wc_control_fault(error, &fault);
	limits_changed(node);
	return provisioned_answer(node, name, qualifier);
}

json_t *wc_control_concurrency(struct wc_node *node, const char *name, json_t *request)
{
	bool sets = json_object_get(request, "reserved") || json_object_get(request, "provisioned");
	const char *action, *qualifier;
	struct wc_fault fault;
	json_t *list;
	int error;

	if (!get_text(request, "action", &action) || !get_text(request, "qualifier", &qualifier))
		return wc_control_fail("bad-request", "\"action\" and \"qualifier\" must be texts");
	action = action ?: sets ? "set" : "get";
	if (!strcmp(action, "list")) {
		error = wc_functions_list_provisioned(node->functions, name, NULL, &list, &fault);
		return error ? wc_control_fault(error, &fault) : json_pack("{s:b, s:o}", "ok", 1, "provisioned", list);
	}
	if (strcmp(action, "get") != 0 && strcmp(action, "set") != 0 && strcmp(action, "remove") != 0)
		return wc_control_fail("bad-request", "\"action\" must be get, set, remove or list");
	return qualifier ? provisioned(node, name, qualifier, action, request) : reserved(node, name, action, request);
}
