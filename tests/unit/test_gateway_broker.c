/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_gateway_broker.c - a thread that asks the broker's process and waits: answers that come late, in pieces, or never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/gateway/broker.h"

#define PATIENT_MS 60000

static int ends[2]; /* the gateway's, and the broker's */
static unsigned late;

static int open_ends(void **state)
{
	(void)state;
	late = 0;
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

static int close_ends(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(send(ends[1], text, strlen(text), 0), strlen(text));
}

/* Ask, with this much patience; the number in the answer. */
static long long ask(unsigned timeout_ms)
{
	json_t *answer = NULL;
	int ret = wc_broker_ask_wait(ends[0], &late, "metrics", timeout_ms, &answer);
	long long n = json_integer_value(json_object_get(answer, "n"));

	json_decref(answer);
	return ret ? ret : n;
}

static void test_late(void **state)
{
	char line[256];

	(void)state;
	say("{\"n\":1}\n");
	assert_int_equal(ask(PATIENT_MS), 1);
	assert_int_equal(ask(1), -ETIMEDOUT);
	say("{\"n\":2}\n{\"n\":3}\n");
	assert_int_equal(ask(PATIENT_MS), 3);
	/* The beginning of one that is late; the rest of it comes with another one. */
	say("{\"n\":");
	assert_int_equal(ask(1), -ETIMEDOUT);
	assert_int_equal(ask(1), -ETIMEDOUT);
	say("4}\n{\"n\":5}\n{\"n\":");
	assert_int_equal(ask(1), -ETIMEDOUT);
	say("6}\n{\"n\":7}\n");
	assert_int_equal(ask(PATIENT_MS), 7);
	assert_int_equal(late, 0);
	/* Nobody answers for long: no more questions than these are asked. */
	assert_true(recv(ends[1], line, sizeof(line), 0) > 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(ask(1), -ETIMEDOUT);
	assert_int_equal(recv(ends[1], line, sizeof(line), 0), 8 * strlen("{\"op\":\"metrics\"}\n"));
	say("1\n1\n1\n1\n1\n1\n1\n1\n");
	assert_int_equal(ask(PATIENT_MS), -ETIMEDOUT); /* it was not asked */
	say("{\"n\":8}\n");
	assert_int_equal(ask(PATIENT_MS), 8);
	say("nonsense\n");
	assert_int_equal(ask(PATIENT_MS), -EBADMSG);
	say("{\"n\":9}\n");
	assert_int_equal(ask(PATIENT_MS), 9);
}

static void test_gone(void **state)
{
	(void)state;
	close(ends[1]);
	assert_int_equal(ask(PATIENT_MS), -EPIPE);
	assert_int_equal(ask(PATIENT_MS), -EPIPE);
	ends[1] = dup(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_late, open_ends, close_ends),
		cmocka_unit_test_setup_teardown(test_gone, open_ends, close_ends),
	};

	return cmocka_run_group_tests_name("asking the broker", tests, NULL, NULL);
}
