/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_traces.c - who must not wait for whom where stage tracing is switched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/traces.c"

/* A `warmcore trace` has the lock while the kernel looks at a program: a reload that changes nothing of it goes on. */
static void test_unchanged_does_not_wait(void **state_of_test)
{
	static struct wc_node node;
	pthread_mutexattr_t kind;
	struct wc_fault fault;

	(void)state_of_test;
	/* Taken twice, which would be for ever, this kind returns an error, and the first who lets go lets go. */
	assert_int_equal(pthread_mutexattr_init(&kind), 0);
	assert_int_equal(pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK), 0);
	assert_int_equal(pthread_mutex_init(&state.lock, &kind), 0);
	for (int on = 0; on < 2; on++) {
		state.knob = on;
		assert_int_equal(pthread_mutex_lock(&state.lock), 0);
		assert_int_equal(wc_traces_set(&node, on, &fault), 0);
		assert_int_equal(pthread_mutex_unlock(&state.lock), 0); /* nobody else has touched it */
		assert_int_equal(state.knob, on);
	}
	pthread_mutexattr_destroy(&kind);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_unchanged_does_not_wait) };

	return cmocka_run_group_tests_name("traces", tests, NULL, NULL);
}
