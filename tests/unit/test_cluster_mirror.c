/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_cluster_mirror.c - a node that takes the functions of another one, with their ids and numbers, whatever it had before. Two registries, no session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/functions_node.h"
#include "user/cluster_functions.h"
#include "user/cluster_mirror.h"
#include "user/control.h"
#include "user/functions_internal.h"
#include "user/published.h"
#include "user/secrets.h"

#define STEPS 40 /* more than any of these takes */

static struct wc_node leader, standby;
static struct wc_fault fault;
static int archive;
static unsigned asked;

static int setup(void **state)
{
	if (scratch_setup(state))
		return -1;
	umask(022);
	make_folder("source");
	open_node(&leader, "leader", 8);
	open_node(&standby, "standby", 8);
	archive = -1;
	asked = 0;
	return 0;
}

static int teardown(void **state)
{
	close_node(&leader);
	close_node(&standby);
	if (archive >= 0)
		close(archive);
	return scratch_teardown(state);
}

/* Takes the request over. The answer is good; what it has under the key, or 0. */
static json_int_t run(struct wc_node *node, json_t *request, const char *key)
{
	json_t *answer = wc_control_answer(node, request);
	json_int_t value;

	if (!json_is_true(json_object_get(answer, "ok")))
		fail_msg("%s", json_string_value(json_object_get(answer, "error")));
	value = json_integer_value(json_object_get(answer, key));
	json_decref(answer);
	json_decref(request);
	return value;
}

static void deploy(struct wc_node *node, const char *name, const char *text)
{
	make_file("source/main.py", text, 0644);
	run(node,
	    json_pack("{s:s, s:s, s:s, s:s, s:s}", "op", "deploy", "name", name, "source", path_of("source"), "runtime",
		      "python", "handler", "main.f"),
	    "");
}

static uint32_t publish(struct wc_node *node, const char *name)
{
	return (uint32_t)run(node, json_pack("{s:s, s:s}", "op", "publish", "name", name), "version");
}

static void remove_from(struct wc_node *node, const char *name, const char *version)
{
	run(node, json_pack("{s:s, s:s, s:s*}", "op", "remove", "name", name, "qualifier", version), "");
}

static json_t *ask_leader(void *context, json_t *question)
{
	json_t *answer = wc_cluster_give(context, question, &archive);

	asked++;
	json_decref(question);
	return answer;
}

/* As a standby would: remove what the leader does not have, then get one after the other, published ones first. Returns how many it got. */
static unsigned follow(void)
{
	json_t *theirs = wc_cluster_functions(&leader);
	unsigned got = 0;

	if (wc_cluster_mirror(&standby, theirs, &fault))
		fail_msg("%s", fault.text);
	for (;; got++) {
		json_t *own = wc_cluster_functions(&standby);
		const json_t *each, *mine, *lacked = NULL;
		size_t i, k;

		json_array_foreach (theirs, i, each) {
			bool found = false;

			json_array_foreach (own, k, mine)
				found |= wc_cluster_identical(each, mine);
			if (!found && (!lacked || *json_string_value(json_object_get(lacked, "qualifier")) == '$'))
				lacked = each;
		}
		json_decref(own);
		if (!lacked)
			break;
		assert_true(got < STEPS);
		if (wc_cluster_take(&standby, lacked, theirs, true, ask_leader, &leader, &fault))
			fail_msg("%s", fault.text);
	}
	json_decref(theirs);
	return got;
}

/* Every id, name, qualifier, code and setting, and nothing else; and by them something can be called. */
static void expect_same(void)
{
	json_t *theirs = wc_cluster_functions(&leader), *own = wc_cluster_functions(&standby);
	const json_t *each;
	size_t i;

	assert_true(json_equal(theirs, own)); /* both by slot */
	json_array_foreach (own, i, each) {
		uint32_t id = (uint32_t)json_integer_value(json_object_get(each, "id"));

		assert_int_equal(standby.tables.wc_functions[WC_FUNCTION_SLOT(id)].id, id);
	}
	json_decref(theirs);
	json_decref(own);
}

static void test_empty(void **state)
{
	(void)state;
	deploy(&leader, "gone", "0");
	deploy(&leader, "one", "1");
	assert_int_equal(publish(&leader, "one"), 1);
	deploy(&leader, "two", "2");
	deploy(&leader, "one", "3");
	assert_int_equal(publish(&leader, "one"), 2);
	remove_from(&leader, "gone", NULL);
	deploy(&leader, "one", "4");
	assert_int_equal(publish(&leader, "one"), 3); /* in the slot of the one that is gone: it comes first */
	deploy(&leader, "one", "5");
	remove_from(&leader, "one", "1");
	assert_int_equal(follow(), 4);
	expect_same();
	assert_int_equal(follow(), 0);
	/* The leader goes on: content, a new version, one with the content of another. */
	deploy(&leader, "two", "6");
	deploy(&leader, "one", "3");
	assert_int_equal(publish(&leader, "one"), 4);
	assert_int_equal(follow(), 2); /* the new version is $LATEST, too */
	expect_same();
	/* Another function under a name it knows, and a name in another's slot. */
	remove_from(&leader, "one", NULL);
	remove_from(&leader, "two", NULL);
	deploy(&leader, "two", "6");
	deploy(&leader, "one", "3");
	assert_int_equal(publish(&leader, "one"), 1);
	follow();
	expect_same();
	/* And what is deployed at the standby from here on has ids of its own. */
	assert_true(wc_functions_generation(standby.functions) >= wc_functions_generation(leader.functions));
}

/* Names, slots, numbers and ids are all taken by something else; a slot by a version of what else is right. */
static void test_in_the_way(void **state)
{
	(void)state;
	deploy(&standby, "other", "0");
	deploy(&standby, "two", "2");
	deploy(&standby, "one", "1");
	for (unsigned i = 0; i < 3; i++) {
		deploy(&standby, "one", i % 2 ? "11" : "12");
		publish(&standby, "one");
	}
	run(&standby,
	    json_pack("{s:s, s:s, s:s, s:s, s:s}", "op", "alias", "name", "one", "action", "set", "alias", "prod",
		      "version", "2"),
	    "");
	deploy(&leader, "one", "1");
	deploy(&leader, "one", "21");
	publish(&leader, "one");
	deploy(&leader, "two", "2");
	deploy(&leader, "three", "3");
	follow();
	expect_same();
}

/* The right function with wrong versions: it stays, and so do its secrets; an alias of one that goes does not. */
static void test_versions(void **state)
{
	json_t *keys, *aliases;

	(void)state;
	deploy(&leader, "one", "1");
	publish(&leader, "one");
	follow();
	assert_int_equal(wc_secrets_open(standby.options.state_dir, &fault), 0);
	run(&standby,
	    json_pack("{s:s, s:s, s:s, s:s, s:s}", "op", "secret", "name", "one", "action", "set", "key", "k", "value",
		      "v"),
	    "");
	deploy(&standby, "one", "x");
	assert_int_equal(publish(&standby, "one"), 2);
	run(&standby,
	    json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:f}}", "op", "alias", "name", "one", "action", "set", "alias",
		      "prod", "version", "1", "weights", "2", 0.5),
	    "");
	run(&standby,
	    json_pack("{s:s, s:s, s:s, s:s, s:s}", "op", "alias", "name", "one", "action", "set", "alias", "good",
		      "version", "1"),
	    "");
	deploy(&leader, "one", "y");
	assert_int_equal(publish(&leader, "one"), 2);
	follow();
	expect_same();
	keys = wc_secrets_list(standby.options.state_dir, "one");
	assert_int_equal(json_array_size(keys), 1);
	json_decref(keys);
	if (wc_alias_list(standby.functions, "one", &aliases, &fault))
		fail_msg("%s", fault.text);
	assert_int_equal(json_array_size(aliases), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(aliases, 0), "name")), "good");
	json_decref(aliases);
}

static void test_refused(void **state)
{
	json_t *list = wc_cluster_functions(&leader), *no_list = json_object();

	(void)state;
	deploy(&standby, "one", "1");
	/* What is no list removes nothing; an empty list is one. */
	assert_int_not_equal(wc_cluster_mirror(&standby, no_list, &fault), 0);
	assert_int_not_equal(wc_cluster_mirror(&standby, NULL, &fault), 0);
	json_decref(no_list);
	no_list = json_pack("[{s:s, s:s, s:i}, {s:s, s:s, s:i}]", "name", "x", "qualifier", "$LATEST", "id", 4097,
			    "name", "x", "qualifier", "$LATEST", "id", 4097);
	assert_int_not_equal(wc_cluster_mirror(&standby, no_list, &fault), 0);
	assert_non_null(wc_functions_lookup(standby.functions, "one", 0));
	deploy(&leader, "one", "1");
	publish(&leader, "one");
	json_decref(no_list);
	no_list = wc_cluster_functions(&leader);
	for (size_t i = 0; i < json_array_size(no_list); i++)
		if (*json_string_value(json_object_get(json_array_get(no_list, i), "qualifier")) == '$')
			json_array_remove(no_list, i);
	assert_int_equal(json_array_size(no_list), 1);
	assert_int_not_equal(
		wc_cluster_take(&standby, json_array_get(no_list, 0), no_list, true, ask_leader, &leader, &fault), 0);
	assert_non_null(strstr(fault.text, "no $LATEST"));
	assert_int_equal(wc_cluster_mirror(&standby, list, &fault), 0);
	assert_null(wc_functions_lookup(standby.functions, "one", 0));
	json_decref(no_list);
	json_decref(list);
}

/* As nodes do that only lend their cores: their own ids. */
static void test_own_ids(void **state)
{
	json_t *theirs;

	(void)state;
	deploy(&standby, "mine", "0");
	deploy(&leader, "one", "1");
	theirs = wc_cluster_functions(&leader);
	if (wc_cluster_take(&standby, json_array_get(theirs, 0), NULL, false, ask_leader, &leader, &fault))
		fail_msg("%s", fault.text);
	json_decref(theirs);
	assert_int_equal(wc_functions_lookup(leader.functions, "one", 0)->id, 1 << WC_FUNCTION_SLOT_BITS | 1);
	assert_int_equal(wc_functions_lookup(standby.functions, "one", 0)->id, 2 << WC_FUNCTION_SLOT_BITS | 2);
	assert_non_null(wc_functions_lookup(standby.functions, "mine", 0));
	assert_int_equal(asked, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_ids, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
