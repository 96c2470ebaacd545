/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_shared_plan.c - what is written to etcd, and when, and what is held (user/shared_plan.h): texts only, no etcd. */
#include "bpf/proto.h"
#include "user/etcd_batch.h"
#include "user/shared_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID(generation, slot) (((json_int_t)(generation) << WC_FUNCTION_SLOT_BITS) | (slot))

static void add(json_t *texts, const char *name, const char *qualifier, json_int_t id, const char *code,
		const char *mac, int queue)
{
	char key[200], *text = wc_shared_text(json_pack("{s:s, s:s, s:I, s:s, s:s, s:{s:i}}", "name", name, "qualifier",
							qualifier, "id", id, "code_sha256", code, "settings_mac", mac,
							"limits", "queue", queue));

	snprintf(key, sizeof(key), "functions/%s/%s", name, qualifier);
	json_object_set_new(texts, key, json_string(text));
	free(text);
}

static void expect(const json_t *object, const char *text)
{
	char *has = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);

	if (strcmp(has, text) != 0)
		fail_msg("%s, and not %s", has, text);
	free(has);
}

/* Why each key is held. */
static void expect_held(const json_t *held, const char *text)
{
	json_t *whys = json_object(), *value;
	const char *key;

	json_object_foreach ((json_t *)(uintptr_t)held, key, value)
		json_object_set(whys, key, json_object_get(value, "why"));
	expect(whys, text);
	json_decref(whys);
}

static void test_mark(void **state)
{
	static const char *const WRONG[] = {
		"",
		"[]",
		"{}",
		"{\"by\":\"s1\"}",
		"{\"by\":\"s1\",\"term\":0}",
		"{\"by\":\"s1\",\"term\":1,\"generation\":-1}",
		"{\"by\":\"s1\",\"term\":1,\"generation\":4294967296}",
		"{\"by\":\"s1\",\"term\":1,\"functions\":-1}",
		"{\"by\":7,\"term\":1}",
		"{\"by\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"term\":1}"
	};
	const struct wc_shared_mark mark = { "s1", 77, 12, 3, true, true };
	struct wc_shared_mark read;
	char *text = wc_shared_mark_text(&mark, 1), *again = wc_shared_mark_text(&mark, 2);

	(void)state;
	assert_string_equal(
		text,
		"{\"by\":\"s1\",\"functions\":3,\"generation\":12,\"held\":true,\"term\":77,\"whole\":true,\"written\":1}");
	assert_string_not_equal(text, again);
	assert_true(wc_shared_mark_read(text, &read));
	assert_string_equal(read.by, "s1");
	assert_true(read.term == 77 && read.generation == 12 && read.functions == 3 && read.whole && read.held);
	for (unsigned i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
		if (wc_shared_mark_read(WRONG[i], &read) || read.term)
			fail_msg("%s is no mark", WRONG[i]);
	assert_false(wc_shared_mark_read(NULL, &read));
	free(text);
	free(again);
}

static void test_differences(void **state)
{
	json_t *there = json_pack("{s:s, s:s, s:s, s:s, s:s}", "functions/a/$LATEST", "1", "aliases/a/x", "1",
				  "nodes/n1", "1", "leader", "not ours", "elsewhere/a", "not ours");
	json_t *wanted = json_pack("{s:s, s:s, s:s}", "functions/a/$LATEST", "1", "nodes/n1", "2", "drained/n2", "{}");
	json_t *differences = wc_shared_differences(there, wanted);

	(void)state;
	expect(differences, "{\"aliases/a/x\":null,\"drained/n2\":\"{}\",\"nodes/n1\":\"2\"}");
	json_decref(differences);
	json_object_update(there, wanted);
	json_object_del(there, "aliases/a/x");
	differences = wc_shared_differences(there, wanted);
	expect(differences, "{}"); /* nothing to write, and nothing is */
	assert_int_equal(wc_shared_batch(differences, 30), 0);
	json_decref(differences);
	json_decref(wanted);
	json_decref(there);
}

static void test_batches(void **state)
{
	static char text[WC_ETCD_ITEM_MAX + 1];
	json_t *differences = json_object();
	char key[40];

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "functions/f%u/$LATEST", i);
		json_object_set_new(differences, key, i % 2 ? json_null() : json_string("v"));
	}
	assert_int_equal(wc_shared_batch(differences, 30), WC_ETCD_CHANGES_MAX);
	memset(text, 'v', WC_ETCD_ITEM_MAX);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "functions/f%u/$LATEST", i);
		json_object_set_new(differences, key, json_string(text));
	}
	assert_int_equal(wc_shared_batch(differences, 30), WC_ETCD_BATCH_BYTES / WC_ETCD_ITEM_MAX - 1);
	/* However long it is, it goes alone: who sends it says that it is too long. */
	assert_int_equal(wc_shared_batch(differences, WC_ETCD_BATCH_BYTES), 1);
	json_decref(differences);
}

/* Whatever is there is a function of its key, or nothing. */
static void test_function(void **state)
{
	static const char KEY[] = "functions/f/$LATEST";
	static const char *const WRONG[] = { "",
					     "{}",
					     "7",
					     "{\"name\":\"f\",\"qualifier\":\"$LATEST\"}",
					     "{\"name\":\"f\",\"qualifier\":\"1\",\"id\":4097}",
					     "{\"name\":\"g\",\"qualifier\":\"$LATEST\",\"id\":4097}",
					     "{\"name\":\"f\",\"qualifier\":\"$LATEST\",\"id\":0}",
					     "{\"name\":\"f\",\"qualifier\":\"$LATEST\",\"id\":4294967296}",
					     "{\"name\":\"f\",\"qualifier\":\"$LATEST\",\"id\":\"1\"}" };
	json_t *function = wc_shared_function(KEY, "{\"name\":\"f\",\"qualifier\":\"$LATEST\",\"id\":4097}");

	(void)state;
	assert_non_null(function);
	json_decref(function);
	for (unsigned i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
		if (wc_shared_function(KEY, WRONG[i]))
			fail_msg("%s is none", WRONG[i]);
	assert_null(wc_shared_function(KEY, NULL));
}

struct both {
	json_t *there, *wanted;
};

/* same: the same here, with another limit; away: not here; code, settings, id: others here; old: not there, newer: neither, but later. */
static struct both make_both(void)
{
	struct both both = { json_object(), json_object() };

	add(both.there, "same", "$LATEST", ID(1, 1), "c", "m", 5);
	add(both.wanted, "same", "$LATEST", ID(1, 1), "c", "m", 0);
	add(both.there, "away", "$LATEST", ID(2, 2), "c", "m", 0);
	add(both.there, "away", "1", ID(3, 3), "c", "m", 0);
	add(both.there, "code", "$LATEST", ID(4, 4), "c", "m", 0);
	add(both.wanted, "code", "$LATEST", ID(4, 4), "d", "m", 0);
	add(both.there, "settings", "$LATEST", ID(5, 5), "c", "m", 0);
	add(both.wanted, "settings", "$LATEST", ID(5, 5), "c", "n", 0);
	add(both.there, "id", "$LATEST", ID(6, 6), "c", "m", 0);
	add(both.wanted, "id", "$LATEST", ID(5, 6), "c", "m", 0);
	add(both.wanted, "old", "$LATEST", ID(7, 7), "c", "m", 0);
	add(both.wanted, "newer", "$LATEST", ID(8, 8), "c", "m", 0);
	json_object_set_new(both.there, "aliases/same/x", json_string("1"));
	json_object_set_new(both.there, "aliases/away/x", json_string("1"));
	json_object_set_new(both.wanted, "aliases/old/x", json_string("1"));
	json_object_set_new(both.there, "functions/nonsense/$LATEST", json_string("nonsense"));
	return both;
}

static void free_both(struct both both)
{
	json_decref(both.there);
	json_decref(both.wanted);
}

#define ALL_HELD                                                                                                       \
	"{\"aliases/away/x\":\"held\",\"aliases/old/x\":\"held\",\"functions/away/$LATEST\":\"missing\","              \
	"\"functions/away/1\":\"missing\",\"functions/code/$LATEST\":\"other\",\"functions/id/$LATEST\":\"other\","    \
	"\"functions/old/$LATEST\":\"stale\",\"functions/settings/$LATEST\":\"other\"}"

/* One that was away: what differs stays in etcd, and what is not there is not put there. */
static void test_away(void **state)
{
	struct both both = make_both();
	struct wc_shared_mark mark = { "s1", 77, 7, wc_shared_count(both.there, "functions/"), true, false };
	json_t *held = wc_shared_holds(both.there, both.wanted, &mark, false), *local = json_deep_copy(both.wanted),
	       *differences;

	(void)state;
	expect_held(held, ALL_HELD);
	wc_shared_settle(both.wanted, held);
	expect_held(held, ALL_HELD);
	differences = wc_shared_differences(both.there, both.wanted);
	assert_int_equal(json_object_size(differences), 4);
	assert_true(json_is_string(json_object_get(differences, "functions/newer/$LATEST")));
	assert_true(json_is_string(json_object_get(differences, "functions/same/$LATEST"))); /* unless it was applied */
	assert_true(json_is_null(json_object_get(differences, "functions/nonsense/$LATEST")));
	assert_true(json_is_null(json_object_get(differences, "aliases/same/x"))); /* likewise */
	json_decref(differences);
	/* Another look, and nothing has changed here; then these were deployed again, or removed. */
	json_decref(both.wanted);
	both.wanted = json_deep_copy(local);
	add(both.wanted, "code", "$LATEST", ID(4, 4), "e", "m", 0);
	add(both.wanted, "away", "$LATEST", ID(9, 9), "c", "m", 0);
	json_object_del(both.wanted, "functions/old/$LATEST");
	wc_shared_settle(both.wanted, held);
	expect_held(held, "{\"aliases/away/x\":\"held\",\"aliases/old/x\":\"held\",\"functions/away/1\":\"missing\","
			  "\"functions/id/$LATEST\":\"other\",\"functions/settings/$LATEST\":\"other\"}");
	differences = wc_shared_differences(both.there, both.wanted);
	assert_true(json_is_string(json_object_get(differences, "functions/code/$LATEST")));
	assert_true(json_is_string(json_object_get(differences, "functions/away/$LATEST")));
	assert_null(json_object_get(differences, "functions/old/$LATEST"));
	assert_null(json_object_get(differences, "functions/away/1"));
	json_decref(differences);
	json_decref(local);
	json_decref(held);
	free_both(both);
}

/* etcd has lost its data meanwhile: what is held is put there again. */
static void test_forgotten(void **state)
{
	struct both both = make_both();
	struct wc_shared_mark mark = { "s1", 77, 7, wc_shared_count(both.there, "functions/"), true, false };
	json_t *held = wc_shared_holds(both.there, both.wanted, &mark, false), *empty = json_object(), *differences;

	(void)state;
	wc_shared_settle(both.wanted, held);
	differences = wc_shared_differences(empty, both.wanted);
	assert_true(json_equal(json_object_get(differences, "functions/away/$LATEST"),
			       json_object_get(both.there, "functions/away/$LATEST")));
	assert_true(json_equal(json_object_get(differences, "functions/code/$LATEST"),
			       json_object_get(both.there, "functions/code/$LATEST")));
	assert_null(json_object_get(differences, "functions/old/$LATEST"));
	json_decref(differences);
	json_decref(empty);
	json_decref(held);
	free_both(both);
}

/* A standby that had all, or who led last: its functions are not older than etcd's. Only what it does not have at all is held. */
static void test_own(void **state)
{
	struct both both = make_both();
	struct wc_shared_mark mark = { "s1", 77, 7, wc_shared_count(both.there, "functions/"), true, false };
	json_t *held = wc_shared_holds(both.there, both.wanted, &mark, true);

	(void)state;
	expect_held(
		held,
		"{\"aliases/away/x\":\"held\",\"functions/away/$LATEST\":\"missing\",\"functions/away/1\":\"missing\"}");
	json_decref(held);
	free_both(both);
}

/* Not all was written, or keys were taken away by hand: what is not there may be the cluster's all the same. */
static void test_not_whole(void **state)
{
	struct both both = make_both();
	struct wc_shared_mark mark = { "s1", 77, 7, wc_shared_count(both.there, "functions/"), false, false };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		json_t *held = wc_shared_holds(both.there, both.wanted, &mark, false);

		assert_null(json_object_get(held, "functions/old/$LATEST"));
		assert_non_null(json_object_get(held, "functions/away/$LATEST"));
		json_decref(held);
		mark.whole = true;
		mark.functions++;
	}
	free_both(both);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mark),	 cmocka_unit_test(test_differences), cmocka_unit_test(test_batches),
		cmocka_unit_test(test_function), cmocka_unit_test(test_away),	     cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_own),	 cmocka_unit_test(test_not_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
