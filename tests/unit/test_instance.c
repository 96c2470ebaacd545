/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_instance.c - what an instance on a socket is sent, against a runtime that knows as much of the channel as its READY says. The process is
 * left out: its end of the socket is this test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "user/launch.h"

#define wc_launch launch_nothing
static int launch_nothing(const struct wc_launcher *launcher, struct wc_instance *instance,
			  const struct wc_place *place, struct wc_fault *fault);
#include "user/instance.c"

static struct wc_watch watch = { .output = -1, .output_lock = PTHREAD_MUTEX_INITIALIZER };
static uint32_t ready_flags; /* of the next instance */
static int peer = -1;	     /* the runtime's end */

static void say(uint32_t sequence, uint32_t kind, uint32_t flags)
{
	const struct wc_message message = { .sequence = sequence, .kind = kind, .flags = flags };

	assert_int_equal(send(peer, &message, sizeof(message), 0), sizeof(message));
}

static int launch_nothing(const struct wc_launcher *launcher, struct wc_instance *instance,
			  const struct wc_place *place, struct wc_fault *fault)
{
	int ends[2];

	(void)launcher;
	(void)place;
	(void)fault;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	instance->socket = ends[0];
	instance->watch = &watch;
	peer = ends[1];
	say(0, WC_CHANNEL_READY, ready_flags);
	return 0;
}

/* Invoke with a context, or with none; the datagram that the runtime got, and its length. */
static size_t invoke(struct wc_instance *instance, bool with_context, uint8_t datagram[256])
{
	static uint8_t buffer[sizeof(struct wc_message) + WC_CHANNEL_CAPACITY];
	const struct wc_call call = {
		.payload = (const uint8_t *)"payload",
		.length = 7,
		.deadline_ns = UINT64_MAX,
		.source = -1,
		.context_len = with_context ? 9 : 0,
		.context = (const uint8_t *)"a context",
	};
	struct wc_result result;
	ssize_t n;

	say(instance->sequence + 1, WC_CHANNEL_REPLY, 0); /* it is read after the request was sent */
	wc_instance_invoke(instance, &call, buffer, &result);
	assert_int_equal(result.failure, WC_FAILURE_NONE);
	assert_int_equal(result.kind, WC_CHANNEL_REPLY);
	n = recv(peer, datagram, 256, MSG_DONTWAIT);
	assert_true(n >= (ssize_t)sizeof(struct wc_message));
	return (size_t)n;
}

static void check(bool takes_context)
{
	static uint8_t buffer[sizeof(struct wc_message) + WC_CHANNEL_CAPACITY];
	struct wc_launcher launcher = { 0 };
	struct wc_place place = { .slot = WC_NONE };
	struct wc_fn fn = { .manifest.timeout_ms = 1000 };
	struct wc_instance *instance;
	struct wc_message message;
	struct wc_result result;
	uint8_t datagram[256];

	ready_flags = takes_context ? WC_CHANNEL_FLAG_CONTEXT : WC_CHANNEL_FLAG_FAREWELL;
	instance = wc_instance_start(&launcher, &fn, &place, buffer, &result);
	assert_non_null(instance);
	assert_int_equal(instance->farewell, !takes_context);
	for (int i = 0; i < 4; i++) {
		uint32_t context = takes_context && i % 2 ? 9 : 0;
		size_t length = invoke(instance, i % 2, datagram);

		memcpy(&message, datagram, sizeof(message));
		assert_int_equal(message.length, 7);
		assert_int_equal(message.context, context);
		/* header and payload, as docs/RUNTIMES.md has it, and no byte more but for who asked for it */
		assert_int_equal(length, sizeof(message) + 7 + context);
		assert_memory_equal(datagram + sizeof(message), "payload", 7);
		assert_memory_equal(datagram + sizeof(message) + 7, "a context", context);
	}
	close(instance->socket);
	close(peer);
	free(instance);
}

static void test_context_for_who_asks(void **state)
{
	(void)state;
	check(true);
}

static void test_no_context_for_others(void **state)
{
	(void)state;
	check(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_context_for_who_asks),
		cmocka_unit_test(test_no_context_for_others),
	};

	return cmocka_run_group_tests_name("instance", tests, NULL, NULL);
}
