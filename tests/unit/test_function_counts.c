/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_function_counts.c - what functions have done since the last look (user/function_counts.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/tables_fixture.h"
#include "user/function_counts.h"

#define OURS(slot) (WC_FUNCTIONS_MAX * 3 + (slot))
#define THEIRS(slot) (WC_FUNCTIONS_MAX * 5 + (slot))

static struct wc_tables tables;
static struct wc_counts *counts;
static struct wc_counted counted[WC_COUNTS_MAX];

static int setup(void **state)
{
	(void)state;
	tables_open(&tables, 4, 1);
	tables.wc_member_ids_max = WC_FUNCTIONS_MAX;
	free(tables.wc_member_ids);
	tables.wc_member_ids = tables_alloc(WC_FUNCTIONS_MAX, sizeof(*tables.wc_member_ids));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wc_counts_free(counts);
	tables_close(&tables);
	return 0;
}

static void did(uint32_t slot, uint64_t count, uint64_t cold, uint64_t ns)
{
	struct wc_function *entry = &tables.wc_functions[slot];

	entry->id = OURS(slot);
	entry->invocations += count;
	entry->cold_starts += cold;
	entry->service_ns += ns;
}

static void test_own(void **state)
{
	(void)state;
	counts = wc_counts_new(false);
	did(7, 100, 5, 1000);
	assert_int_equal(wc_counts_read(counts, &tables, counted), 0); /* before the first look */
	did(7, 3, 1, 50);
	did(8, 1, 0, 10); /* just deployed */
	assert_int_equal(wc_counts_read(counts, &tables, counted), 1);
	assert_int_equal(counted[0].id, OURS(7));
	assert_int_equal(counted[0].count, 3);
	assert_int_equal(counted[0].cold, 1);
	assert_int_equal(counted[0].service_ns, 50);
	assert_int_equal(wc_counts_read(counts, &tables, counted), 0);
	did(7, 0, 1, 0); /* a cold start that has not ended counts with what has */
	assert_int_equal(wc_counts_read(counts, &tables, counted), 0);
	did(7, 1, 0, 90);
	assert_int_equal(wc_counts_read(counts, &tables, counted), 1);
	assert_int_equal(counted[0].cold, 1);
	/* Another function in the slot, and one that is gone. */
	tables.wc_functions[7].id++;
	did(8, 5, 5, 5);
	tables.wc_functions[8].id = 0;
	assert_int_equal(wc_counts_read(counts, &tables, counted), 0);
	did(8, 5, 5, 5);
	assert_int_equal(wc_counts_read(counts, &tables, counted), 0);
	/* And what was done while nobody asked. */
	did(8, 5, 5, 5);
	wc_counts_begin(counts);
	assert_int_equal(wc_counts_read(counts, &tables, counted), 0);
	did(8, 5, 5, 5);
	assert_int_equal(wc_counts_read(counts, &tables, counted), 1);
}

/* Under the names of the scheduler, of which two may be the same function here. */
static void test_theirs(void **state)
{
	(void)state;
	counts = wc_counts_new(true);
	did(7, 0, 0, 0);
	tables.wc_member_ids[20] = (struct wc_member_id){ THEIRS(20), OURS(7) };
	tables.wc_member_ids[21] = (struct wc_member_id){ THEIRS(21), OURS(7) };
	tables.wc_member_ids[22] = (struct wc_member_id){ THEIRS(22), OURS(9) }; /* it was removed here this moment */
	tables.wc_member_ids[23] = (struct wc_member_id){ THEIRS(23), 0 };
	assert_int_equal(wc_counts_read(counts, &tables, counted), 0);
	did(7, 2, 0, 8);
	assert_int_equal(wc_counts_read(counts, &tables, counted), 2);
	assert_int_equal(counted[0].id, THEIRS(20));
	assert_int_equal(counted[1].id, THEIRS(21));
	assert_int_equal(counted[1].count, 2);
}

/* Where many have done something each gets its turn, and nothing is lost. */
static void test_many(void **state)
{
	uint32_t total = 0;

	(void)state;
	counts = wc_counts_new(false);
	for (uint32_t slot = 0; slot < 1000; slot++)
		did(slot, 1, 0, 1);
	wc_counts_read(counts, &tables, counted);
	for (uint32_t slot = 0; slot < 1000; slot++)
		did(slot, 1, 0, 1);
	for (uint32_t i = 0; i < 1000 / WC_COUNTS_MAX; i++)
		total += wc_counts_read(counts, &tables, counted);
	assert_int_equal(total, 1000 / WC_COUNTS_MAX * WC_COUNTS_MAX);
	total += wc_counts_read(counts, &tables, counted);
	assert_int_equal(total, 1000);
	assert_int_equal(wc_counts_read(counts, &tables, counted), 0);
}

static void test_message(void **state)
{
	static const char *const wrong[] = { "[1, 2, 0]",
					     "[0, 2, 0, 5]",
					     "[1, 0, 0, 5]",
					     "[1, 2, 3, 5]",
					     "[1, 2, -1, 5]",
					     "[1, 2, 0, -1]",
					     "[\"a\", 2, 0, 5]",
					     "{}",
					     "[4294967296, 2, 0, 5]",
					     "[1, 10000001, 0, 5]",
					     "[1, 2, 0, 1000000000000001]" };
	struct wc_counted parsed;
	json_t *list;

	(void)state;
	counts = wc_counts_new(false);
	did(7, 1, 0, 0);
	wc_counts_read(counts, &tables, counted);
	did(7, 4, 2, 12345678);
	list = wc_counts_json(counts, &tables);
	assert_int_equal(json_array_size(list), 1);
	assert_true(wc_counted_parse(json_array_get(list, 0), &parsed));
	assert_int_equal(parsed.id, OURS(7));
	assert_int_equal(parsed.count, 4);
	assert_int_equal(parsed.cold, 2);
	assert_int_equal(parsed.service_ns, 12345000);
	json_array_append_new(json_array_get(list, 0), json_string("of a later version"));
	assert_true(wc_counted_parse(json_array_get(list, 0), &parsed));
	json_decref(list);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		json_t *entry = json_loads(wrong[i], 0, NULL);

		assert_non_null(entry);
		assert_false(wc_counted_parse(entry, &parsed));
		json_decref(entry);
	}
	assert_false(wc_counted_parse(NULL, &parsed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_theirs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_message, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
