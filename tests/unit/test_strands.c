/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_strands.c - strands of a worker: turns, ends in any order, stacks. */
#include "user/agent_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DEEP 100 /* calls within each other; each with a KiB */

struct script {
	struct wc_strand *others[WC_STRANDS_MAX];
	uint32_t begun, ended, turns;
	char trail[64];
};

static struct script script;

static void note(char what)
{
	size_t len = strlen(script.trail);

	if (len + 1 < sizeof(script.trail))
		script.trail[len] = what;
}

static uint32_t deep(struct wc_worker *worker, uint32_t levels)
{
	volatile uint8_t frame[1024];

	frame[levels] = (uint8_t)levels;
	if (levels)
		return deep(worker, levels - 1) + frame[levels];
	wc_strand_go(worker, &worker->strands.first);
	return frame[0];
}

/* Named by its argument: waits until it has its turn again, then ends. */
static void once(struct wc_worker *worker, void *argument)
{
	char name = *(const char *)argument;

	script.others[script.begun++] = wc_strand_now(&worker->strands);
	worker->tracing = false;
	note(name);
	assert_int_equal(deep(worker, DEEP), DEEP * (DEEP + 1) / 2);
	note((char)(name - 'a' + 'A'));
	script.ended++;
}

static void begin(struct wc_worker *worker, char name)
{
	struct wc_strand *strand = wc_strand_take(&worker->strands);

	assert_non_null(strand);
	wc_strand_begin(worker, strand, once, &name);
	name = 0; /* it has copied it */
}

static int setup(void **state)
{
	struct wc_worker *worker = calloc(1, sizeof(*worker));

	memset(&script, 0, sizeof(script));
	*state = worker;
	return worker ? 0 : -1;
}

static int teardown(void **state)
{
	struct wc_worker *worker = *state;

	assert_int_equal(worker->strands.count, 0);
	wc_strands_free(&worker->strands);
	free(worker);
	return 0;
}

/* The one that was begun first may end first. */
static void test_order(void **state)
{
	struct wc_worker *worker = *state;

	begin(worker, 'a');
	begin(worker, 'b');
	begin(worker, 'c');
	assert_int_equal(worker->strands.count, 3);
	wc_strand_go(worker, script.others[0]);
	wc_strand_go(worker, script.others[2]);
	wc_strand_go(worker, script.others[1]);
	assert_string_equal(script.trail, "abcACB");
}

static void outer(struct wc_worker *worker, void *argument)
{
	(void)argument;
	note('o');
	begin(worker, 'i'); /* where that one waits it is the first's turn */
	note('O');
}

/* One that begins another one waits for its turn, too. */
static void test_nested(void **state)
{
	struct wc_worker *worker = *state;
	struct wc_strand *strand = wc_strand_take(&worker->strands);

	wc_strand_begin(worker, strand, outer, NULL);
	assert_string_equal(script.trail, "oi");
	wc_strand_go(worker, strand);
	assert_string_equal(script.trail, "oiO");
	wc_strand_go(worker, script.others[0]);
	assert_string_equal(script.trail, "oiOI");
}

/* As many as may be, and then again: their stacks are used again, and few are kept. */
static void test_many(void **state)
{
	struct wc_worker *worker = *state;

	for (int round = 0; round < 2; round++) {
		memset(&script, 0, sizeof(script));
		for (uint32_t i = 0; i < WC_STRANDS_MAX; i++)
			begin(worker, 'x');
		assert_null(wc_strand_take(&worker->strands));
		for (uint32_t i = 0; i < WC_STRANDS_MAX; i++)
			wc_strand_go(worker, script.others[(i * 37) % WC_STRANDS_MAX]);
		assert_int_equal(script.ended, WC_STRANDS_MAX);
		assert_int_equal(worker->strands.count, 0);
		assert_in_range(worker->strands.unused_count, 1, 8);
	}
}

/* Only the first one's invocation is traced. */
static void test_tracing(void **state)
{
	struct wc_worker *worker = *state;

	worker->tracing = true;
	begin(worker, 'a');
	assert_true(worker->tracing);
	wc_strand_go(worker, script.others[0]);
	assert_true(worker->tracing);
}

static void test_drop(void **state)
{
	struct wc_worker *worker = *state;
	struct wc_strand *strand = wc_strand_take(&worker->strands);

	assert_ptr_equal(wc_strand_now(&worker->strands), &worker->strands.first);
	wc_strand_drop(&worker->strands, strand);
	assert_ptr_equal(wc_strand_take(&worker->strands), strand);
	wc_strand_drop(&worker->strands, strand);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nested, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tracing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
