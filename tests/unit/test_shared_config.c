/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_shared_config.c - limits and aliases of one scheduler as texts for etcd, and in force at another one (user/shared_config.h): two registries, no etcd and no session.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/functions_node.h"
#include "user/control.h"
#include "user/functions_internal.h"
#include "user/shared_config.h"
#include "user/shared_plan.h"

static const uint64_t KEY[2] = { 1, 2 }, OTHER_KEY[2] = { 1, 3 };
static struct wc_node first, next;

static int setup(void **state)
{
	if (scratch_setup(state))
		return -1;
	umask(022);
	make_folder("source");
	make_file("source/main.py", "1", 0644);
	open_node(&first, "first", 8);
	open_node(&next, "next", 2);
	return 0;
}

static int teardown(void **state)
{
	close_node(&first);
	close_node(&next);
	return scratch_teardown(state);
}

/* Takes the request over. */
static json_int_t run(struct wc_node *node, json_t *request, const char *key)
{
	json_t *answer = wc_control_answer(node, request);
	json_int_t value;

	if (!json_is_true(json_object_get(answer, "ok")))
		fail_msg("%s", json_string_value(json_object_get(answer, "error")));
	value = json_integer_value(json_object_get(json_object_get(answer, "function"), key));
	json_decref(answer);
	json_decref(request);
	return value;
}

static json_int_t deploy(struct wc_node *node, const char *name, json_int_t id)
{
	json_t *request = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}}", "op", "deploy", "name", name, "source",
				    path_of("source"), "runtime", "python", "handler", "main.f", "environment", "TOKEN",
				    "hidden");

	if (id)
		json_object_set_new(request, "id", json_integer(id));
	return run(node, request, "id");
}

static void publish(struct wc_node *node, const char *name, json_int_t id)
{
	json_t *request = json_pack("{s:s, s:s, s:i}", "op", "publish", "name", name, "version", 1);

	if (id)
		json_object_set_new(request, "id", json_integer(id));
	run(node, request, "id");
}

/* f with a version, on both under the same ids. */
static void deploy_both(void)
{
	json_int_t id = deploy(&first, "f", 0);
	json_t *list, *each;
	size_t i;

	publish(&first, "f", 0);
	deploy(&next, "f", id);
	list = wc_functions_list(first.functions, true);
	json_array_foreach (list, i, each)
		if (*json_string_value(json_object_get(each, "qualifier")) == '1')
			publish(&next, "f", json_integer_value(json_object_get(each, "id")));
	json_decref(list);
}

static void limit(struct wc_node *node, const char *qualifier, const char *key, int value)
{
	run(node, json_pack("{s:s, s:s, s:s, s:i}", "op", "limit", "name", "f", "qualifier", qualifier, key, value),
	    "");
}

static void reserve(struct wc_node *node, int value)
{
	run(node,
	    value < 0 ? json_pack("{s:s, s:s, s:s}", "op", "concurrency", "name", "f", "action", "remove") :
			json_pack("{s:s, s:s, s:s, s:i}", "op", "concurrency", "name", "f", "action", "set", "reserved",
				  value),
	    "");
}

static void alias(struct wc_node *node, const char *name, const char *version, double weight)
{
	json_t *request = json_pack("{s:s, s:s, s:s, s:s}", "op", "alias", "name", "f", "action",
				    version ? "set" : "remove", "alias", name);

	if (version)
		json_object_set_new(request, "version", json_string(version));
	if (weight > 0)
		json_object_set_new(request, "weights", json_pack("{s:f}", "2", weight));
	run(node, request, "");
}

/* What `first` has into force at `next`; what is held after it. */
static json_t *apply(bool whole, enum wc_shared_trust trust)
{
	json_t *there = wc_shared_wanted(&first, KEY), *wanted = wc_shared_wanted(&next, KEY), *held = json_object();

	wc_shared_apply(&next, there, wanted, held, whole, trust);
	json_decref(there);
	json_decref(wanted);
	return held;
}

static void expect_same(bool same)
{
	json_t *one = wc_shared_wanted(&first, KEY), *other = wc_shared_wanted(&next, KEY);

	if (json_equal(one, other) != same) {
		json_dumpf(one, stderr, JSON_INDENT(1));
		json_dumpf(other, stderr, JSON_INDENT(1));
		fail_msg("they are %sthe same", same ? "not " : "");
	}
	json_decref(one);
	json_decref(other);
}

/* The text says all that the next leader needs, and nothing of the environment; its MAC is the cluster's. */
static void test_text(void **state)
{
	json_t *texts, *other, *function;
	char *all;

	(void)state;
	deploy_both();
	expect_same(true);
	texts = wc_shared_wanted(&first, KEY);
	other = wc_shared_wanted(&first, OTHER_KEY);
	assert_int_equal(json_object_size(texts), 2);
	all = json_dumps(texts, 0);
	assert_null(strstr(all, "hidden"));
	assert_null(strstr(all, "TOKEN"));
	free(all);
	assert_false(json_equal(texts, other));
	function = wc_shared_function("functions/f/1", json_string_value(json_object_get(texts, "functions/f/1")));
	assert_non_null(function);
	assert_string_equal(json_string_value(json_object_get(json_object_get(function, "settings"), "handler")),
			    "main.f");
	assert_int_equal(json_object_size(json_object_get(function, "limits")), 5);
	assert_null(json_object_get(function, "reserved_concurrency"));
	assert_int_equal(strlen(json_string_value(json_object_get(function, "settings_mac"))), 32);
	json_decref(function);
	json_decref(texts);
	json_decref(other);
}

static void test_apply(void **state)
{
	uint64_t signature;

	(void)state;
	deploy_both();
	publish(&first, "f", 0); /* unchanged: no second version */
	limit(&first, "$LATEST", "concurrency", 3);
	limit(&first, "1", "queue", 9);
	reserve(&first, 4);
	alias(&first, "live", "1", 0);
	alias(&next, "older", "1", 0);
	/* Who led last has newer ones than etcd. */
	json_decref(apply(true, WC_SHARED_DRAINED));
	expect_same(false);
	/* What is not there is not to be here, but only if all is there. */
	json_decref(apply(false, WC_SHARED_LIMITS));
	expect_same(false);
	alias(&first, "older", "1", 0);
	expect_same(true);
	alias(&first, "older", NULL, 0);
	json_decref(apply(true, WC_SHARED_LIMITS));
	expect_same(true);
	/* Again: nothing is written to the disk. */
	signature = wc_functions_signature(next.functions);
	json_decref(apply(true, WC_SHARED_LIMITS));
	assert_true(wc_functions_signature(next.functions) == signature);
	reserve(&first, -1);
	limit(&first, "$LATEST", "concurrency", 0);
	json_decref(apply(true, WC_SHARED_LIMITS));
	expect_same(true);
	assert_true(wc_functions_signature(next.functions) != signature);
}

/* What needs more cores than there are is held, the rest is in force; so is an alias of a version that is not here. */
static void test_refused(void **state)
{
	json_t *held;

	(void)state;
	deploy_both();
	limit(&first, "$LATEST", "reserved", 4);
	limit(&first, "$LATEST", "queue", 9);
	limit(&first, "1", "priority", 1);
	held = apply(true, WC_SHARED_LIMITS);
	assert_int_equal(json_object_size(held), 1);
	assert_non_null(strstr(json_string_value(json_object_get(json_object_get(held, "functions/f/$LATEST"), "why")),
			       "refused: \"reserved\""));
	json_decref(held);
	limit(&first, "$LATEST", "reserved", 0);
	expect_same(true);
	run(&next, json_pack("{s:s, s:s, s:s}", "op", "remove", "name", "f", "qualifier", "1"), "");
	alias(&first, "live", "1", 0);
	held = apply(true, WC_SHARED_LIMITS);
	assert_non_null(json_object_get(held, "aliases/f/live"));
	json_decref(held);
}

/* Nonsense in etcd changes nothing. */
static void test_nonsense(void **state)
{
	json_t *there, *wanted, *held = json_object(), *value;
	const char *key;

	(void)state;
	deploy_both();
	alias(&first, "live", "1", 0);
	alias(&next, "live", "1", 0);
	there = wc_shared_wanted(&first, KEY);
	wanted = wc_shared_wanted(&next, KEY);
	json_object_foreach (there, key, value)
		json_object_set_new(there, key, json_string("\"nonsense\""));
	json_object_set_new(there, "aliases/", json_string("{}"));
	json_object_set_new(there, "aliases/f", json_string("{}"));
	json_object_set_new(there, "functions/f/2", json_string("{\"limits\":7}"));
	json_object_set_new(there, "drained/$%&", json_string("{}"));
	wc_shared_apply(&next, there, wanted, held, true, WC_SHARED_LIMITS);
	json_decref(there);
	json_decref(wanted);
	json_decref(held);
	expect_same(true);
}

/* Slots of functions that others of the cluster have are not given out. */
static void test_avoid(void **state)
{
	static bool slots[WC_FUNCTIONS_MAX];

	(void)state;
	slots[1] = slots[2] = slots[4] = true;
	wc_functions_avoid(first.functions, slots);
	assert_int_equal(WC_FUNCTION_SLOT(deploy(&first, "f", 0)), 3);
	assert_int_equal(WC_FUNCTION_SLOT(deploy(&first, "g", 0)), 5);
	memset(slots, 0, sizeof(slots));
	wc_functions_avoid(first.functions, slots);
	assert_int_equal(WC_FUNCTION_SLOT(deploy(&first, "h", 0)), 1);
}

#define CONFIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { CONFIG(test_text), CONFIG(test_apply), CONFIG(test_refused),
					    CONFIG(test_nonsense), CONFIG(test_avoid) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
