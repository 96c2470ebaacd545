/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_window.c - ids on their way from a node's window to a scheduler's: all of them, those that are recent, and nothing that makes no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "user/clock.h"
#include "user/window.h"

static struct wc_tables node, host;

static int setup(void **state)
{
	(void)state;
	for (struct wc_tables *tables = &node;; tables = &host) {
		memset(tables, 0, sizeof(*tables));
		tables->wc_seen_max = tables->wc_sent_max = WC_SEEN_SETS;
		tables->wc_seen = calloc(WC_SEEN_SETS, sizeof(*tables->wc_seen));
		tables->wc_sent = calloc(WC_SEEN_SETS, sizeof(*tables->wc_sent));
		assert_true(tables->wc_seen && tables->wc_sent);
		if (tables == &host)
			return 0;
	}
}

static int teardown(void **state)
{
	(void)state;
	free(node.wc_seen);
	free(node.wc_sent);
	free(host.wc_seen);
	free(host.wc_sent);
	return 0;
}

static struct wc_fingerprint print_of(uint64_t n)
{
	const __u64 key[2] = { 1, 2 };
	const struct wc_identity id = { .request_id = n };

	return wc_fingerprint(&id, key);
}

static void enter(struct wc_tables *tables, const struct wc_fingerprint *print, uint64_t started)
{
	uint32_t entry;

	assert_int_equal(wc_seen_enter(tables, print, started, &entry), WC_SEEN_NEW);
}

/* Whose it is at the scheduler; -1: it is not there. */
static int owner(const struct wc_fingerprint *print)
{
	for (uint32_t way = 0; way < WC_SEEN_WAYS; way++)
		if (WC_SEEN_FINGERPRINT(host.wc_seen[print->set].slot[way]) == print->value)
			return host.wc_sent[print->set].slot[way] >> 16 == print->value ?
				       (int)WC_SENT_MEMBER(host.wc_sent[print->set].slot[way]) :
				       0;
	return -1;
}

#define NOW (100000 * 1000000000ull)
#define SECOND 1000000000ull

static size_t carry(uint64_t now, size_t max, uint16_t member)
{
	uint64_t words[64];
	uint32_t set = 0;
	size_t all = 0, n;

	assert_true(max <= 64);
	while (set < WC_SEEN_SETS) {
		n = wc_window_read(&node, now, false, &set, words, max);
		assert_true(n <= max);
		all += wc_window_enter(&host, words, n, member, 0x107);
	}
	return all;
}

static void test_all(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		struct wc_fingerprint print = print_of(i);

		enter(&node, &print, i & 1); /* what waits there belongs there, too */
		if (i & 1)
			wc_window_begins(&node, &print, NOW);
	}
	assert_int_equal(carry(NOW, 8, 7), 1000);
	for (uint64_t i = 0; i < 1000; i++) {
		struct wc_fingerprint print = print_of(i);

		assert_int_equal(owner(&print), 7);
		assert_true(wc_seen_find(&host, &print) & WC_SEEN_STARTED);
	}
	assert_int_equal(carry(NOW, 64, 7), 0); /* once more: nothing is new */
}

/* What began long ago, or was not ordered, stays there; oldest first in a set; and the clock's seconds may go round. */
static void test_recent(void **state)
{
	const uint64_t times[] = { 0, NOW, 32766 * SECOND, 32768 * SECOND };
	uint64_t words[WC_SEEN_WAYS];

	(void)state;
	for (size_t t = 0; t < sizeof(times) / sizeof(times[0]); t++) {
		struct wc_fingerprint print = { .set = 5 };
		uint32_t set = 5;

		memset(&node.wc_seen[5], 0, sizeof(node.wc_seen[5]));
		for (print.value = 1; print.value <= 21; print.value++) {
			enter(&node, &print, 1);
			if (print.value % 2)
				wc_window_begins(&node, &print, times[t]);
		}
		assert_int_equal(wc_window_read(&node, times[t] + SECOND, false, &set, words, WC_SEEN_WAYS), 4);
		for (uint64_t i = 0; i < 4; i++)
			assert_int_equal(words[i], WC_WINDOW_WORD(5, 15 + 2 * i));
		set = 5;
		assert_int_equal(wc_window_read(&node, times[t] + (WC_WINDOW_RECENT - 1) * SECOND, false, &set, words,
						WC_SEEN_WAYS),
				 4);
		set = 5;
		assert_int_equal(wc_window_read(&node, times[t] + WC_WINDOW_RECENT * SECOND, false, &set, words,
						WC_SEEN_WAYS),
				 0);
	}
}

/* The daemon was killed: what it had begun is lost, and what waits is there as before. Of the next one, which begins, nothing is. */
static void test_restarted(void **state)
{
	struct wc_fingerprint old = print_of(1), waits = print_of(2), fresh = print_of(3), again = print_of(4),
			      unwritten = print_of(5);
	uint64_t words[2 * WC_SEEN_WAYS];
	uint32_t set;

	(void)state;
	enter(&node, &old, 1);
	enter(&node, &waits, 0);
	enter(&node, &again, 1);
	wc_window_begins(&node, &old, NOW);
	wc_window_begins(&node, &again, NOW);
	enter(&node, &unwritten, 1); /* it was killed just then */
	wc_window_restarted(node.wc_seen, node.wc_sent, NOW);
	assert_true(wc_window_lost(&node, &unwritten) && wc_window_lost(&node, &old));
	assert_false(wc_window_lost(&node, &waits));
	enter(&node, &fresh, 1);
	wc_window_begins(&node, &fresh, NOW);
	wc_window_begins(&node, &again, NOW); /* an idempotent one */
	for (set = 0; set < WC_SEEN_SETS;) {
		size_t n = wc_window_read(&node, NOW, true, &set, words, 2 * WC_SEEN_WAYS);

		if (n)
			assert_int_equal(wc_window_enter(&host, words, n, WC_MEMBER_BEFORE, 0), n);
	}
	assert_int_equal(carry(NOW, 64, 7), 3);
	assert_int_equal(owner(&old), WC_MEMBER_BEFORE);
	assert_int_equal(owner(&unwritten), WC_MEMBER_BEFORE);
	assert_false(wc_window_lost(&node, &again) || wc_window_lost(&node, &fresh));
	wc_window_forget(&node, &old);
	assert_false(wc_window_lost(&node, &old));
	assert_true(wc_seen_find(&host, &old) & WC_SEEN_STARTED);
	assert_int_equal(owner(&waits), 7);
	assert_int_equal(owner(&fresh), 7);
	assert_int_equal(owner(&again), 7);
	/* What began elsewhere, as the node was told, is told on for a while. */
	words[0] = WC_WINDOW_WORD(77, 99);
	assert_int_equal(wc_window_enter(&node, words, 1, WC_MEMBER_BEFORE, 0), 1);
	for (int late = 0; late < 2; late++) {
		size_t found = 0;

		for (set = 70; set < 80;) {
			size_t n = wc_window_read(&node, wc_now() + (uint64_t)late * WC_WINDOW_RECENT * SECOND, true,
						  &set, words, WC_SEEN_WAYS);

			for (size_t i = 0; i < n; i++)
				found += words[i] == WC_WINDOW_WORD(77, 99);
		}
		assert_int_equal(found, !late);
	}
	/* Of what somebody has, nobody else says that it is lost. */
	words[0] = WC_WINDOW_WORD(fresh.set, fresh.value);
	assert_int_equal(wc_window_enter(&host, words, 1, WC_MEMBER_BEFORE, 0), 0);
	assert_int_equal(owner(&fresh), 7);
}

/* A node that comes late, when an id of its own waits here already: it must not begin here. */
static void test_waits_here(void **state)
{
	struct wc_fingerprint print = print_of(1);

	(void)state;
	enter(&node, &print, 1);
	wc_window_begins(&node, &print, NOW);
	enter(&host, &print, 0);
	assert_int_equal(carry(NOW, 64, 7), 1);
	assert_int_equal(owner(&print), 7);
	assert_int_equal(wc_seen_begin(&host, &print, WC_NONE), WC_SEEN_AGAIN);
}

/* What the scheduler knows better stays; what was known to have run at the one before, is where it says. */
static void test_known(void **state)
{
	struct wc_fingerprint own = print_of(1), before = print_of(2), other = print_of(3);
	uint32_t entry = 0;

	(void)state;
	enter(&host, &own, 1);
	for (int i = 0; i < 2; i++) {
		const struct wc_fingerprint *print = i ? &other : &before;

		assert_int_equal(wc_seen_enter(&host, print, 1, &entry), WC_SEEN_NEW);
		host.wc_sent[print->set].slot[entry % WC_SEEN_WAYS] = WC_SENT(print, i ? 3 : WC_MEMBER_BEFORE, 0);
	}
	enter(&node, &own, 0);
	enter(&node, &before, 0);
	enter(&node, &other, 0);
	wc_window_begins(&host, &own, NOW); /* it was a node itself: that says nothing here */
	assert_int_equal(carry(NOW, 64, 7), 0);
	assert_int_equal(owner(&own), 7); /* nobody was known to have it */
	assert_int_equal(owner(&before), 7);
	assert_int_equal(owner(&other), 3);
}

static void test_nonsense(void **state)
{
	const uint64_t words[] = { 0, WC_WINDOW_WORD(17, 0), UINT64_MAX, WC_WINDOW_WORD(WC_SEEN_SETS, 1) };

	(void)state;
	assert_int_equal(wc_window_enter(&host, words, 4, 7, 1), 0);
	for (uint32_t set = 0; set < WC_SEEN_SETS; set++)
		for (uint32_t way = 0; way < WC_SEEN_WAYS; way++)
			assert_int_equal(host.wc_seen[set].slot[way], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restarted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits_here, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
	};

	return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
