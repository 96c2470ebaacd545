/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cluster_mirror.c - see cluster_mirror.h. */
#include "user/cluster_mirror.h"

#include "user/cluster_functions.h"
#include "user/control.h"
#include "user/log.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

static bool is_latest(const json_t *function)
{
	return !strcmp(text_of(function, "qualifier"), "$LATEST");
}

/* The same name and qualifier. */
static bool same_name(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "name"), json_object_get(b, "name")) &&
	       json_equal(json_object_get(a, "qualifier"), json_object_get(b, "qualifier"));
}

static bool same_id(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "id"), json_object_get(b, "id"));
}

bool wc_cluster_identical(const json_t *a, const json_t *b)
{
	char one[WC_CLUSTER_IDENTITY_MAX], other[WC_CLUSTER_IDENTITY_MAX];

	if (!same_id(a, b))
		return false;
	wc_cluster_identity(a, true, one);
	wc_cluster_identity(b, true, other);
	return !strcmp(one, other);
}

const json_t *wc_cluster_latest(const json_t *functions, const json_t *name)
{
	const json_t *each;
	size_t i;

	json_array_foreach (functions, i, each)
		if (is_latest(each) && json_equal(json_object_get(each, "name"), name))
			return each;
	return NULL;
}

/* --- removing, as if somebody had asked for it here --- */

/* Takes the request. What is not there any more is good, too. */
static int ask(struct wc_node *node, json_t *request, json_t **ret_answer, struct wc_fault *fault)
{
	json_t *answer = wc_control_answer(node, request);
	int error = 0;

	if (!json_is_true(json_object_get(answer, "ok")) && strcmp(text_of(answer, "code"), "not-found") != 0)
		error = wc_fail(fault, EINVAL, "%.300s", text_of(answer, "error"));
	json_decref(request);
	if (ret_answer)
		*ret_answer = answer;
	else
		json_decref(answer);
	return error;
}

/* They do not travel, and go with their function. */
static void warn_of_secrets(struct wc_node *node, const char *name)
{
	struct wc_fault fault;
	json_t *answer;
	size_t count;

	ask(node, json_pack("{s:s, s:s, s:s}", "op", "secret", "name", name, "action", "list"), &answer, &fault);
	count = json_array_size(json_object_get(answer, "keys"));
	if (count)
		wc_warning(
			"function %s is not that of the cluster's scheduler and is removed, with %zu secrets; set those "
			"that it needs again with `warmcore secret`",
			name, count);
	json_decref(answer);
}

/* A version that an alias stands for cannot be removed. */
static int remove_aliases(struct wc_node *node, const char *name, const char *version, struct wc_fault *fault)
{
	json_t *answer, *alias;
	size_t i;
	int error =
		ask(node, json_pack("{s:s, s:s, s:s}", "op", "alias", "name", name, "action", "list"), &answer, fault);

	json_array_foreach (json_object_get(answer, "aliases"), i, alias) {
		if (error || (strcmp(text_of(alias, "version"), version) != 0 &&
			      !json_object_get(json_object_get(alias, "weights"), version)))
			continue;
		wc_warning("the alias %s of function %s is removed: version %s is not at the cluster's scheduler",
			   text_of(alias, "name"), name, version);
		error = ask(node,
			    json_pack("{s:s, s:s, s:s, s:s}", "op", "alias", "name", name, "action", "remove", "alias",
				      text_of(alias, "name")),
			    NULL, fault);
	}
	json_decref(answer);
	return error;
}

/* A function with all of its versions, or a published version. */
static int remove_own(struct wc_node *node, const json_t *own, struct wc_fault *fault)
{
	const char *name = text_of(own, "name"), *qualifier = text_of(own, "qualifier");
	int error;

	if (is_latest(own)) {
		warn_of_secrets(node, name);
		return ask(node, json_pack("{s:s, s:s}", "op", "remove", "name", name), NULL, fault);
	}
	error = remove_aliases(node, name, qualifier, fault);
	if (!error)
		error = ask(node, json_pack("{s:s, s:s, s:s}", "op", "remove", "name", name, "qualifier", qualifier),
			    NULL, fault);
	return error;
}

/* --- what is otherwise --- */

static uint32_t slot_of(const json_t *function)
{
	return WC_FUNCTION_SLOT((uint32_t)json_integer_value(json_object_get(function, "id")));
}

static bool in_the_way(const json_t *own, const json_t *wanted)
{
	if (same_name(own, wanted) &&
	    same_id(own, wanted)) /* another $LATEST can be deployed over it, but no version */
		return !is_latest(wanted) && !wc_cluster_identical(own, wanted);
	return same_name(own, wanted) || slot_of(own) == slot_of(wanted);
}

int wc_cluster_make_way(struct wc_node *node, const json_t *function, const json_t *functions, struct wc_fault *fault)
{
	const json_t *latest = wc_cluster_latest(functions, json_object_get(function, "name")), *each;
	json_t *own;
	size_t i;
	int error = 0;

	if (!latest)
		return wc_fail(fault, EBADMSG, "the scheduler's list has no $LATEST of it");
	own = wc_cluster_functions(node);
	json_array_foreach (own, i, each)
		if (!error && (in_the_way(each, latest) || in_the_way(each, function)))
			error = remove_own(node, each, fault);
	json_decref(own);
	return error;
}

/* What it is called, in one text. What another host says may be cut, and is then equal to nothing here. */
static void place_of(const json_t *function, char out[WC_CLUSTER_IDENTITY_MAX])
{
	snprintf(out, WC_CLUSTER_IDENTITY_MAX, "%lld %s %s",
		 (long long)json_integer_value(json_object_get(function, "id")), text_of(function, "name"),
		 text_of(function, "qualifier"));
}

/* There may be thousands: not each with each. NULL: it is no list of different functions, or there is no memory for it. */
static json_t *index_of(const json_t *functions)
{
	json_t *index = json_is_array(functions) ? json_object() : NULL, *each;
	char place[WC_CLUSTER_IDENTITY_MAX];
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)functions, i, each) {
		place_of(each, place);
		json_object_set(index, place, each);
	}
	if (json_object_size(index) == json_array_size(functions))
		return index;
	json_decref(index);
	return NULL;
}

int wc_cluster_mirror(struct wc_node *node, const json_t *functions, struct wc_fault *fault)
{
	char place[WC_CLUSTER_IDENTITY_MAX];
	json_t *own, *index;
	struct wc_fault why;
	const json_t *each;
	int first = 0;
	size_t i;

	index = index_of(functions);
	if (!index) /* which must not empty this node */
		return wc_fail(fault, EBADMSG, "what the scheduler's host sent is no list of functions");
	own = wc_cluster_functions(node);
	json_array_foreach (own, i, each) {
		int error;

		place_of(each, place);
		error = json_object_get(index, place) ? 0 : remove_own(node, each, &why);
		if (error && !first) {
			first = error;
			*fault = why;
		}
	}
	json_decref(own);
	json_decref(index);
	return first;
}
