/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_function_ids.c - ids and numbers of versions that whoever deploys and publishes asks for: what is given, what is refused, what a restart finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/registry.h"
#include "user/published.h"

#define ID(generation, slot) ((uint32_t)(generation) << WC_FUNCTION_SLOT_BITS | (slot))

static enum wc_deployed what;

/* Functions that are otherwise alike differ by timeout_ms. */
static int try_deploy(const char *name, uint32_t timeout_ms, uint32_t wanted, uint32_t *id)
{
	struct wc_manifest manifest = { .runtime = WC_RUNTIME_PYTHON,
					.handler = "main.f",
					.memory_mb = 64,
					.limits.priority = WC_PRIORITY_DEFAULT };
	struct wc_fn *fn;
	int error;

	snprintf(manifest.name, sizeof(manifest.name), "%s", name);
	manifest.timeout_ms = timeout_ms;
	error = wc_functions_deploy_as(functions, &manifest, &(struct wc_source){ .path = path_of("source") }, wanted,
				       &fn, &what, &fault);
	if (error)
		return error;
	*id = fn->id;
	wc_fn_put(fn);
	return 0;
}

static uint32_t deploy(const char *name, uint32_t timeout_ms, uint32_t wanted)
{
	uint32_t id = 0;

	if (try_deploy(name, timeout_ms, wanted, &id))
		fail_msg("%s", fault.text);
	return id;
}

/* *ret_id: of the version that is published now or was before (unchanged). */
static int try_publish(uint32_t number, uint32_t wanted, uint32_t *ret_number, uint32_t *ret_id, bool *ret_unchanged)
{
	struct wc_fn *fn;
	int error = wc_functions_publish(functions, "hello", &(struct wc_publish){ .number = number, .id = wanted },
					 &fn, ret_unchanged, &fault);

	if (error)
		return error;
	*ret_number = fn->published;
	*ret_id = fn->id;
	wc_fn_put(fn);
	return 0;
}

static void expect_publish(uint32_t number, uint32_t wanted, uint32_t expected_number, bool expected_unchanged)
{
	uint32_t found = 0, id = 0;
	bool unchanged;

	if (try_publish(number, wanted, &found, &id, &unchanged))
		fail_msg("%s", fault.text);
	assert_int_equal(found, expected_number);
	assert_int_equal(unchanged, expected_unchanged);
	if (wanted)
		assert_int_equal(id, wanted);
	assert_int_equal(wc_functions_lookup(functions, "hello", found)->id, id);
	assert_int_equal(tables.wc_functions[WC_FUNCTION_SLOT(id)].id, id);
}

static int refused_publish(uint32_t number, uint32_t wanted)
{
	uint32_t found, id;
	bool unchanged;

	return try_publish(number, wanted, &found, &id, &unchanged);
}

static void test_given(void **state)
{
	uint32_t id;

	(void)state;
	assert_int_equal(deploy("hello", 1, ID(7, 4095)), ID(7, 4095));
	assert_int_equal(what, WC_DEPLOYED);
	assert_int_equal(tables.wc_functions[4095].id, ID(7, 4095));
	assert_int_equal(wc_functions_generation(functions), 7);
	/* Whatever comes after it is of a later generation. */
	assert_int_equal(deploy("other", 1, 0), ID(8, 1));
	/* One of an older generation is given, too, and changes nothing for the others. */
	assert_int_equal(deploy("older", 1, ID(2, 2)), ID(2, 2));
	assert_int_equal(wc_functions_generation(functions), 8);
	assert_int_equal(deploy("next", 1, 0), ID(9, 3));
	/* Over a function, with its id: a deployment as any other. */
	assert_int_equal(deploy("hello", 1, ID(7, 4095)), ID(7, 4095));
	assert_int_equal(what, WC_UNCHANGED);
	assert_int_equal(deploy("hello", 2, ID(7, 4095)), ID(7, 4095));
	assert_int_equal(what, WC_REPLACED);
	assert_int_equal(deploy("hello", 3, 0), ID(7, 4095));
	/* When it is gone, the slot is free for another id, and for the same. */
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), 0);
	assert_int_equal(deploy("hello", 1, ID(6, 4095)), ID(6, 4095));
	reopen();
	assert_int_equal(wc_functions_lookup(functions, "hello", 0)->id, ID(6, 4095));
	assert_int_equal(wc_functions_lookup(functions, "older", 0)->id, ID(2, 2));
	assert_int_equal(wc_functions_generation(functions), 9);
	/* The last one there is, and nothing after it. */
	assert_int_equal(deploy("last", 1, UINT32_MAX - 1), UINT32_MAX - 1);
	FAILS(try_deploy("late", 1, 0, &id), ENOSPC, "generations of this node are used up");
	assert_int_equal(deploy("late", 1, ID(1, 9)), ID(1, 9));
}

static void test_refused(void **state)
{
	uint32_t hello = deploy("hello", 1, 0), generation = wc_functions_generation(functions), id;
	const struct wc_fn *fn = wc_functions_lookup(functions, "hello", 0);
	char words[40];

	(void)state;
	FAILS(try_deploy("other", 1, 1, &id), EINVAL, "1 is no id of a function");
	FAILS(try_deploy("other", 1, ID(5, 0), &id), EINVAL, "is no id of a function");
	snprintf(words, sizeof(words), "that of hello, with the id %u", hello);
	FAILS(try_deploy("other", 1, ID(5, WC_FUNCTION_SLOT(hello)), &id), EEXIST, words);
	FAILS(try_deploy("other", 1, hello, &id), EEXIST, words);
	snprintf(words, sizeof(words), "hello is deployed with the id %u", hello);
	FAILS(try_deploy("hello", 2, ID(5, 5), &id), EEXIST, words);
	FAILS(try_deploy("hello", 1, ID(5, WC_FUNCTION_SLOT(hello)), &id), EEXIST, words);
	/* Nothing has changed, on the disk neither, and no number was used up. */
	assert_ptr_equal(wc_functions_lookup(functions, "hello", 0), fn);
	assert_null(wc_functions_lookup(functions, "other", 0));
	assert_false(exists("state/functions/other"));
	assert_false(exists("state/functions/hello/v2"));
	assert_int_equal(wc_functions_generation(functions), generation);
	/* What fails in the end is not there, but its id is not given to another one either. */
	refuse_changes(true);
	assert_int_not_equal(try_deploy("other", 1, ID(20, 20), &id), 0);
	refuse_changes(false);
	assert_null(wc_functions_lookup(functions, "other", 0));
	assert_int_equal(deploy("other", 1, ID(20, 20)), ID(20, 20));
}

static void test_generation(void **state)
{
	(void)state;
	assert_int_equal(wc_functions_generation(functions), 0);
	assert_int_equal(wc_functions_raise_generation(functions, 100, &fault), 0);
	assert_int_equal(wc_functions_raise_generation(functions, 50, &fault), 0);
	assert_int_equal(wc_functions_generation(functions), 100);
	reopen();
	assert_int_equal(wc_functions_generation(functions), 100);
	assert_int_equal(deploy("hello", 1, 0), ID(101, 1));
	FAILS(wc_functions_raise_generation(functions, 1 << 20, &fault), EINVAL, "no generation");
	refuse_changes(true);
	assert_int_not_equal(wc_functions_raise_generation(functions, 200, &fault), 0);
	refuse_changes(false);
	assert_int_equal(wc_functions_generation(functions), 101);
	/* That of an id that was asked for is kept, also when what had it is gone. */
	deploy("other", 1, ID(300, 2));
	assert_int_equal(wc_functions_remove(functions, "other", &fault), 0);
	reopen();
	assert_int_equal(deploy("other", 1, 0), ID(301, 2));
	assert_int_equal(wc_functions_raise_generation(functions, (1 << 20) - 1, &fault), 0);
}

static void test_publish(void **state)
{
	uint32_t hello = deploy("hello", 1, 0);

	(void)state;
	expect_publish(0, ID(30, 40), 1, false);
	assert_int_equal(wc_functions_generation(functions), 30);
	expect_publish(0, ID(30, 40), 1, true);
	expect_publish(0, 0, 1, true);
	expect_publish(1, ID(30, 40), 1, true);
	FAILS(refused_publish(0, ID(31, 41)), EEXIST, "published as version 1 already, with the id");
	FAILS(refused_publish(1, ID(31, 41)), EEXIST, "published as version 1 already, with the id");
	deploy("hello", 2, 0);
	FAILS(refused_publish(0, hello), EEXIST, "that of hello,");
	FAILS(refused_publish(0, ID(31, 40)), EEXIST, "that of hello:1,");
	FAILS(refused_publish(0, 5), EINVAL, "no id of a function");
	FAILS(refused_publish(1, 0), EEXIST, "version 1 of hello is there already, with other code or settings");
	assert_int_equal(wc_functions_generation(functions), 30);
	assert_null(wc_functions_lookup(functions, "hello", 2));
	/* Numbers with gaps, later ones first, and the same twice under two numbers. */
	expect_publish(9, ID(12, 50), 9, false);
	expect_publish(5, ID(11, 51), 5, false);
	expect_publish(0, 0, 9, true);
	deploy("hello", 3, 0);
	expect_publish(7, 0, 7, false);
	deploy("hello", 4, 0);
	expect_publish(0, 0, 10, false);
	reopen();
	assert_int_equal(wc_functions_lookup(functions, "hello", 1)->id, ID(30, 40));
	assert_int_equal(wc_functions_lookup(functions, "hello", 5)->id, ID(11, 51));
	assert_int_equal(wc_functions_lookup(functions, "hello", 5)->manifest.timeout_ms, 2);
	assert_int_equal(wc_functions_lookup(functions, "hello", 7)->manifest.timeout_ms, 3);
	assert_int_equal(wc_functions_lookup(functions, "hello", 9)->id, ID(12, 50));
	/* The number of one that is gone is given again to whoever asks for it, and to nobody else. */
	assert_int_equal(wc_functions_unpublish(functions, "hello", 10, &fault), 0);
	expect_publish(0, 0, 11, false);
	deploy("hello", 5, 0);
	expect_publish(10, 0, 10, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_given, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_generation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_publish, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
