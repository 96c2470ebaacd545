/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_takeover.c - what two daemons say to each other, and what one leaves to the other: ids that were seen, and replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "user/node.h"
#include "user/takeover.h"

static int ends[2]; /* the old daemon's, and the new one's */
static char text[WC_TAKEOVER_TEXT_MAX];

static int open_ends(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int close_ends(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void test_messages(void **state)
{
	int count = 0, fds[WC_TAKEOVER_FDS], sent[WC_TAKEOVER_FDS];

	(void)state;
	assert_int_equal(wc_takeover_receive(ends[1], 0, text, NULL, NULL), -ETIMEDOUT);
	assert_int_equal(wc_takeover_send(ends[0], "PREPARED", NULL, 0), 0);
	assert_int_equal(wc_takeover_receive(ends[1], -1, text, fds, &count), 0);
	assert_string_equal(text, "PREPARED");
	assert_int_equal(count, 0);
	for (int i = 0; i < WC_TAKEOVER_FDS; i++)
		sent[i] = ends[0];
	assert_int_equal(wc_takeover_send(ends[0], "GO", sent, WC_TAKEOVER_FDS), 0);
	assert_int_equal(wc_takeover_receive(ends[1], -1, text, fds, &count), 0);
	assert_int_equal(count, WC_TAKEOVER_FDS);
	for (int i = 0; i < count; i++)
		assert_int_equal(close(fds[i]), 0);
	/* Descriptors that nobody wanted do not stay open. */
	assert_int_equal(wc_takeover_send(ends[0], "GO", sent, 1), 0);
	fds[0] = dup(ends[0]);
	close(fds[0]);
	assert_int_equal(wc_takeover_receive(ends[1], -1, text, NULL, NULL), 0);
	assert_int_equal(dup2(ends[0], fds[0]), fds[0]);
	close(fds[0]);
	/* One that is gone. */
	close(ends[0]);
	assert_int_equal(wc_takeover_receive(ends[1], -1, text, NULL, NULL), -EPIPE);
	assert_int_equal(wc_takeover_send(ends[1], "READY", NULL, 0), -EPIPE);
	ends[0] = dup(ends[1]);
}

/* Who said READY serves when it is let, or when nobody is left who could try again. */
static void test_commit(void **state)
{
	struct wc_takeover takeover = { .channel = ends[1] };
	struct wc_fault fault;

	(void)state;
	assert_int_equal(wc_takeover_send(ends[0], "GO", NULL, 0), 0);
	assert_int_equal(wc_takeover_commit(&takeover, &fault), -EPROTO);
	assert_false(takeover.committed);
	assert_int_equal(wc_takeover_receive(ends[0], 0, text, NULL, NULL), 0);
	assert_string_equal(text, "READY");
	assert_int_equal(wc_takeover_send(ends[0], "SERVE", NULL, 0), 0);
	assert_int_equal(wc_takeover_commit(&takeover, &fault), 0);
	assert_true(takeover.committed);
	takeover.committed = false;
	close(ends[0]);
	assert_int_equal(wc_takeover_commit(&takeover, &fault), 0);
	assert_true(takeover.committed);
	ends[0] = dup(ends[1]);
}

/* The longest text is cut, and ends. */
static void test_long(void **state)
{
	static char longest[2 * WC_TAKEOVER_TEXT_MAX];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	assert_int_equal(wc_takeover_send(ends[0], longest, NULL, 0), 0);
	assert_int_equal(wc_takeover_receive(ends[1], -1, text, NULL, NULL), 0);
	assert_int_equal(strlen(text), WC_TAKEOVER_TEXT_MAX - 1);
}

static void test_state(void **state)
{
	struct wc_seen_set *seen = calloc(WC_SEEN_SETS, sizeof(*seen));
	struct wc_config *config = calloc(1, sizeof(*config));
	struct wc_node *node = calloc(1, sizeof(*node));
	struct wc_replies *after = wc_replies_new();
	struct wc_takeover takeover = { .channel = ends[1] };
	struct wc_fingerprint print = { .set = 5 };
	int fds[WC_TAKEOVER_FDS];
	uint8_t out[WC_REPLY_BYTES], reply[WC_REPLY_BYTES];
	struct wc_legacy legacy = { 0 };
	struct wc_fault fault;

	(void)state;
	assert_true(seen && config && node && after && (node->replies = wc_replies_new()));
	node->tables.wc_seen = seen;
	node->tables.wc_config = config;
	config->seen_key[0] = 0x1122334455667788;
	config->seen_key[1] = 42;
	seen[3].slot[1] = 0xabcd0000ull << 16 | WC_SEEN_STARTED;
	seen[WC_SEEN_SETS - 1].slot[0] = (0xabcd0000ull << 16) & ~(uint64_t)WC_SEEN_STARTED;
	memset(reply, 7, sizeof(reply));
	for (uint64_t i = 1; i <= 100; i++) {
		print.value = i << 20;
		wc_replies_keep(node->replies, &print, reply, sizeof(reply) - i, NULL, 0);
	}
	fds[WC_TAKEOVER_STATE] = wc_takeover_save(node);
	assert_true(fds[WC_TAKEOVER_STATE] >= 0);
	fds[WC_TAKEOVER_LOCK] = fds[WC_TAKEOVER_LISTENER] = fds[WC_TAKEOVER_SOCKET4] = fds[WC_TAKEOVER_SOCKET6] =
		ends[0];
	assert_int_equal(wc_takeover_send(ends[0], "GO", fds, WC_TAKEOVER_FDS), 0);
	assert_int_equal(wc_takeover_wait(&takeover, &legacy, &fault), 0);
	assert_int_equal(wc_takeover_receive(ends[0], -1, text, NULL, NULL), 0);
	assert_string_equal(text, "PREPARED");
	assert_memory_equal(legacy.seen_key, config->seen_key, sizeof(legacy.seen_key));
	assert_true(legacy.seen[3].slot[1] == seen[3].slot[1]);
	assert_true(!(legacy.seen[WC_SEEN_SETS - 1].slot[0] >> 16)); /* never started: may run */
	wc_takeover_replies(&takeover, after);
	for (uint64_t i = 1; i <= 100; i++) {
		print.value = i << 20;
		assert_int_equal(wc_replies_find(after, &print, out), wc_replies_find(node->replies, &print, reply));
	}
	wc_legacy_free(&legacy);
	wc_replies_free(after);
	wc_replies_free(node->replies);
	for (int i = 0; i < 2; i++)
		close(takeover.sockets[i]);
	close(takeover.lock);
	close(takeover.listener);
	close(fds[WC_TAKEOVER_STATE]);
	free(node);
	free(config);
	free(seen);
}

/* The old daemon changed its mind, or died, instead of GO. */
static void test_no_go(void **state)
{
	struct wc_takeover takeover = { .channel = ends[1] };
	struct wc_legacy legacy = { 0 };
	struct wc_fault fault;

	(void)state;
	assert_int_equal(wc_takeover_send(ends[0], "GO", NULL, 0), 0); /* without anything */
	assert_int_equal(wc_takeover_wait(&takeover, &legacy, &fault), -ECANCELED);
	assert_int_equal(wc_takeover_send(ends[0], "WAIT", NULL, 0), 0);
	assert_int_equal(wc_takeover_wait(&takeover, &legacy, &fault), -ECANCELED);
	shutdown(ends[0], SHUT_RDWR);
	assert_int_equal(wc_takeover_wait(&takeover, &legacy, &fault), -ECANCELED);
	assert_null(legacy.seen);
}

/* Not asked to take over, or by something that is no socket. */
static void test_not_asked(void **state)
{
	static struct wc_options options;
	struct wc_takeover takeover;
	struct wc_fault fault;

	(void)state;
	unsetenv(WC_TAKEOVER_ENV);
	assert_int_equal(wc_takeover_open(&takeover, &options, &fault), 0);
	setenv(WC_TAKEOVER_ENV, "x", 1);
	assert_int_equal(wc_takeover_open(&takeover, &options, &fault), 0);
	assert_null(getenv(WC_TAKEOVER_ENV));
	setenv(WC_TAKEOVER_ENV, "1000", 1);
	assert_int_equal(wc_takeover_open(&takeover, &options, &fault), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_messages, open_ends, close_ends),
		cmocka_unit_test_setup_teardown(test_commit, open_ends, close_ends),
		cmocka_unit_test_setup_teardown(test_long, open_ends, close_ends),
		cmocka_unit_test_setup_teardown(test_state, open_ends, close_ends),
		cmocka_unit_test_setup_teardown(test_no_go, open_ends, close_ends),
		cmocka_unit_test_setup_teardown(test_not_asked, open_ends, close_ends),
	};

	return cmocka_run_group_tests_name("taking over", tests, NULL, NULL);
}
