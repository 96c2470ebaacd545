/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_umem.c - AF_XDP sockets of user/umem.c on a device with more than one receive queue: on each queue one for the
 * pending queue and one per core, all on one UMEM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bpf/fixture.h"

static void test_two_queues(void **state)
{
	struct wc_fault fault = { "" };

	(void)state;
	if (!fixture_open_sockets(SHARDS, &fault))
		fail_msg("%s", fault.text);
	for (__u32 queue = 0; queue < SHARDS; queue++) {
		assert_int_equal(wc_umem_queue(fixture.umem, queue)->queue, queue);
		for (__u32 core = 0; core < 2; core++) {
			struct wc_xsk *xsk = wc_umem_socket(fixture.umem, queue, core);

			assert_true(xsk->fd >= 0);
			assert_ptr_equal(xsk->queue, wc_umem_queue(fixture.umem, queue));
		}
	}
	wc_umem_free(fixture.umem);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_two_queues) };

	fixture_open();
	return cmocka_run_group_tests_name("umem", tests, NULL, NULL);
}
