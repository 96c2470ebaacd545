/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_launch.c - the user ids of functions: a range for each name of a node, in the room that is meant for it; and their environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bpf/tables.h"
#include "user/launch.h"
#include "user/order.h"

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

/* The value of a variable in an order; each name is there once. */
static const char *variable(const struct wc_start_order *order, const char *name)
{
	const char *found = NULL;

	for (size_t at = order->environment; at < order->environment_end; at += strlen(order->bytes + at) + 1) {
		const char *text = order->bytes + at;

		if (strncmp(text, name, strlen(name)) != 0 || text[strlen(name)] != '=')
			continue;
		assert_null(found);
		found = text + strlen(name) + 1;
	}
	return found;
}

static void test_environment(void **state)
{
	static struct wc_start_order order;
	struct wc_launcher launcher = { .name = "node", .runtimes = "/runtimes" };
	struct wc_fn fn = { .id = 1, .manifest = { .name = "f", .handler = "f.so" } };
	struct wc_instance instance = { .fn = &fn };
	struct wc_fault fault;

	(void)state;
	assert_int_equal(wc_order_instance(&order, &launcher, &instance, false, &fault), 0);
	assert_string_equal(variable(&order, "HOME"), "/tmp");
	assert_string_equal(variable(&order, "OMP_NUM_THREADS"), "1");
	assert_null(variable(&order, "KEY"));

	/* What the manifest says wins, whoever reads it and however the instance is started. */
	fn.manifest.environment =
		json_pack("{s:s, s:s, s:s, s:s}", "HOME", "", "PATH", "/bin", "OMP_NUM_THREADS", "2", "KEY", "HOME=x");
	assert_int_equal(wc_order_instance(&order, &launcher, &instance, false, &fault), 0);
	assert_string_equal(variable(&order, "HOME"), "");
	assert_string_equal(variable(&order, "PATH"), "/bin");
	assert_string_equal(variable(&order, "OMP_NUM_THREADS"), "2");
	assert_string_equal(variable(&order, "KEY"), "HOME=x");
	assert_string_equal(variable(&order, "LANG"), "C.UTF-8");
	assert_string_equal(variable(&order, "WARMCORE_FUNCTION"), "f");
	json_decref(fn.manifest.environment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uid_base),
		cmocka_unit_test(test_environment),
	};

	return cmocka_run_group_tests_name("launch", tests, NULL, NULL);
}
