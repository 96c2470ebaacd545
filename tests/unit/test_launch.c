/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_launch.c - the user ids of functions: a range for each name of a node, all of them in the room that is meant for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "bpf/tables.h"
#include "user/launch.h"

static void test_uid_base(void **state)
{
	static const char *const names[] = { "", "default", "defaulu", "second", "a", "b", "-", "~", "\xff\xff" };
	static uint8_t used[WC_UID_NODES];
	uint32_t ranges = 0;
	char name[32];

	(void)state;
	/* They stay what they are: a daemon cleans up after one of an older version. */
	assert_int_equal(wc_uid_base("default"), 0x7c8e5000);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(wc_uid_base(names[i]), wc_uid_base(names[j]));
	for (unsigned i = 0; i < 1000000; i++) {
		uint32_t base;

		snprintf(name, sizeof(name), "node-%u", i);
		base = wc_uid_base(name);
		assert_in_range(base, WC_UID_BASE, 0x80000000u - WC_FUNCTIONS_MAX);
		assert_int_equal((base - WC_UID_BASE) % WC_FUNCTIONS_MAX, 0);
		ranges += !used[(base - WC_UID_BASE) / WC_FUNCTIONS_MAX]++;
	}
	assert_true(ranges > WC_UID_NODES * 99 / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uid_base),
	};

	return cmocka_run_group_tests_name("launch", tests, NULL, NULL);
}
