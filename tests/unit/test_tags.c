/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_tags.c - the numbers of warm tags: shared by name, freed by the last one, and none when the table is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "user/tags.h"

static struct wc_tag entries[WC_TAGS_MAX];
static struct wc_tables tables;

static int setup(void **state)
{
	(void)state;
	memset(entries, 0, sizeof(entries));
	tables = (struct wc_tables){ .wc_tags = entries, .wc_tags_max = WC_TAGS_MAX };
	return 0;
}

static void test_shared(void **state)
{
	uint16_t python = wc_tags_get(&tables, "python"), numpy = wc_tags_get(&tables, "python+numpy");

	(void)state;
	assert_true(python && numpy && python != numpy);
	assert_int_equal(wc_tags_get(&tables, "python"), python);
	assert_int_equal(wc_tags_get(&tables, "python+numpy"), numpy);
	assert_int_equal(wc_tags_get(&tables, "python"), python);
	assert_int_equal(entries[python].used, 3);
	assert_int_equal(entries[numpy].used, 2);
	assert_string_equal(entries[python].name, "python");
	assert_string_equal(entries[numpy].name, "python+numpy");
	assert_int_equal(entries[0].used, 0); /* tag 0 is none */
	assert_int_equal(entries[0].name[0], 0);
}

/* The last one frees it. Whoever gets the number next begins cold. */
static void test_freed(void **state)
{
	uint16_t first = wc_tags_get(&tables, "first"), second = wc_tags_get(&tables, "second");

	(void)state;
	assert_int_equal(wc_tags_get(&tables, "first"), first);
	entries[first].summary = 1;
	entries[first].word[0] = 5;
	wc_tags_put(&tables, first);
	assert_int_equal(entries[first].used, 1);
	assert_true(entries[first].word[0] == 5);
	assert_int_equal(wc_tags_get(&tables, "first"), first); /* still known, and still warm */
	assert_true(entries[first].word[0] == 5);
	wc_tags_put(&tables, first);
	wc_tags_put(&tables, first);
	assert_int_equal(entries[first].used, 0);
	wc_tags_put(&tables, first); /* once more is no harm */
	assert_int_equal(entries[first].used, 0);
	assert_int_equal(wc_tags_get(&tables, "third"), first);
	assert_string_equal(entries[first].name, "third");
	assert_int_equal(entries[first].used, 1);
	assert_true(entries[first].summary == 0 && entries[first].word[0] == 0);
	assert_int_equal(wc_tags_get(&tables, "second"), second);
	assert_int_equal(wc_tags_get(&tables, "first"), second == 1 ? 3 : second + 1); /* forgotten, so a new one */
}

static void test_none(void **state)
{
	(void)state;
	wc_tags_put(&tables, 0);
	wc_tags_put(&tables, WC_TAGS_MAX);
	wc_tags_put(&tables, UINT16_MAX);
	wc_tags_put(&tables, 5); /* nobody has it */
	for (int tag = 0; tag < WC_TAGS_MAX; tag++)
		assert_int_equal(entries[tag].used, 0);
}

static void test_full(void **state)
{
	char name[32];

	(void)state;
	for (int i = 1; i < WC_TAGS_MAX; i++) {
		snprintf(name, sizeof(name), "python+%d", i);
		assert_int_equal(wc_tags_get(&tables, name), i);
	}
	assert_int_equal(wc_tags_get(&tables, "more"), 0);
	assert_int_equal(wc_tags_get(&tables, "more"), 0);
	assert_int_equal(wc_tags_get(&tables, "python+33"), 33); /* who is there is still found */
	assert_int_equal(entries[33].used, 2);
	wc_tags_put(&tables, 40);
	assert_int_equal(wc_tags_get(&tables, "more"), 40);
	assert_int_equal(entries[0].used, 0);
}

/* The longest name, and one character more. */
static void test_lengths(void **state)
{
	char name[WC_TAG_NAME_MAX + 1];
	uint16_t tag;

	(void)state;
	memset(name, 'x', sizeof(name));
	name[WC_TAG_NAME_MAX] = 0;
	assert_int_equal(wc_tags_get(&tables, name), 0);
	name[WC_TAG_NAME_MAX - 1] = 0;
	tag = wc_tags_get(&tables, name);
	assert_int_not_equal(tag, 0);
	assert_string_equal(entries[tag].name, name);
	assert_int_equal(wc_tags_get(&tables, name), tag);
	name[WC_TAG_NAME_MAX - 2] = 0; /* a beginning of it is another name */
	assert_int_not_equal(wc_tags_get(&tables, name), tag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_shared, setup),  cmocka_unit_test_setup(test_freed, setup),
		cmocka_unit_test_setup(test_none, setup),    cmocka_unit_test_setup(test_full, setup),
		cmocka_unit_test_setup(test_lengths, setup),
	};

	return cmocka_run_group_tests_name("tags", tests, NULL, NULL);
}
