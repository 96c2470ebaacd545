/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_members_roll.c - a node of a cluster has one id for good, whatever becomes of the daemon that gave it; two nodes never have the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/cluster_tables.h"
#include "tests/unit/scratch.h"
#include "user/members_roll.h"

static struct wc_roll *open_roll(void)
{
	struct wc_fault fault;
	struct wc_roll *roll = NULL;

	if (wc_roll_open(&roll, scratch, &fault))
		fail_msg("%s", fault.text);
	return roll;
}

static void test_names(void **state)
{
	char longest[65];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[64] = 0;
	assert_false(wc_roll_name_valid(longest));
	longest[63] = 0;
	assert_true(wc_roll_name_valid(longest));
	assert_true(wc_roll_name_valid("node-1.example_org"));
	assert_false(wc_roll_name_valid(""));
	assert_false(wc_roll_name_valid(".."));
	assert_false(wc_roll_name_valid("-x"));
	assert_false(wc_roll_name_valid("a/b"));
	assert_false(wc_roll_name_valid("a b"));
	assert_false(wc_roll_name_valid("\xc3\xa4"));
}

/* Until there are no more; and the same after the file was read again. */
static void test_ids(void **state)
{
	bool seen[WC_MEMBERS_MAX] = { true };
	uint16_t ids[WC_MEMBERS_MAX];
	struct wc_roll *roll = open_roll();
	struct wc_fault fault;
	char name[16];

	(void)state;
	for (int i = 1; i < WC_MEMBERS_MAX; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		ids[i] = wc_roll_id(roll, name, &fault);
		assert_in_range(ids[i], 1, WC_MEMBERS_MAX - 1);
		assert_false(seen[ids[i]]);
		seen[ids[i]] = true;
		assert_int_equal(wc_roll_id(roll, name, &fault), ids[i]);
	}
	assert_int_equal(wc_roll_id(roll, "one-more", &fault), 0);
	assert_non_null(strstr(fault.text, "members.json"));
	wc_roll_close(roll);
	roll = open_roll();
	for (int i = WC_MEMBERS_MAX - 1; i; i--) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(wc_roll_id(roll, name, &fault), ids[i]);
	}
	wc_roll_close(roll);
}

/* What cannot be written down is not given: the next daemon would give it to another one. */
static void test_not_written(void **state)
{
	struct wc_roll *roll = open_roll();
	const char *fresh = path_of("members.json.new"); /* what it is written to first */
	struct wc_fault fault;

	(void)state;
	assert_true(wc_roll_id(roll, "a", &fault) > 0);
	make_folder("members.json.new");
	assert_int_equal(wc_roll_id(roll, "b", &fault), 0);
	assert_non_null(strstr(fault.text, fresh));
	assert_true(wc_roll_id(roll, "a", &fault) > 0);
	assert_int_equal(rmdir(fresh), 0);
	assert_true(wc_roll_id(roll, "b", &fault) > 0);
	wc_roll_close(roll);
}

static void test_damaged(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"a\": 1, \"a\": 2}",
		"{\"a\": 1, \"b\": 1}",
		"{\"a\": 0}",
		"{\"a\": 256}",
		"{\"a\": -1}",
		"{\"a\": \"1\"}",
		"{\"a/b\": 1}",
		"{\"a\": 4294967297}",
	};
	struct wc_roll *roll = NULL;
	struct wc_fault fault;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		make_file("members.json", texts[i], 0600);
		if (!wc_roll_open(&roll, scratch, &fault))
			fail_msg("it was read: %s", texts[i]);
		assert_non_null(strstr(fault.text, path_of("members.json")));
		assert_null(roll);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_ids, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(test_not_written, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(test_damaged, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests_name("members roll", tests, NULL, NULL);
}
