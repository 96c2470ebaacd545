/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_seen.c - the at-most-once window. What other CPUs do in between is played by hooks: before a slot is read and before a
 * compare-and-swap, so each race is a fixed sequence here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bpf/shim.h"

/* Runs before the n-th read of a slot or compare-and-swap from now; whatever it does itself is not interrupted. */
static void (*before_read)(unsigned n), (*before_cas)(unsigned n);
static unsigned reads, swaps;

static void hook(void (**which)(unsigned n), unsigned *count)
{
	void (*run)(unsigned n) = *which;

	if (!run)
		return;
	*which = NULL;
	run((*count)++);
	*which = run;
}

#undef WC_READ
#undef wc_cas
#define WC_READ(x) (hook(&before_read, &reads), *(const volatile __typeof__(x) *)&(x))
#define wc_cas(p, was, now) (hook(&before_cas, &swaps), __sync_val_compare_and_swap((p), (was), (now)))

#include "bpf/seen.h"

#define SETS 16

static struct wc_seen_set sets[SETS];
static struct wc_tables tables = { .wc_seen = sets, .wc_seen_max = SETS };

static int setup(void **state)
{
	(void)state;
	memset(sets, 0, sizeof(sets));
	before_read = before_cas = NULL;
	reads = swaps = 0;
	return 0;
}

static struct wc_fingerprint print_of(__u64 value)
{
	return (struct wc_fingerprint){ .value = value, .set = 3 };
}

static enum wc_seen_result enter(__u64 value, __u32 *ret_entry)
{
	struct wc_fingerprint print = print_of(value);

	return wc_seen_enter(&tables, &print, 0, ret_entry);
}

static void enter_new(__u64 first, unsigned count)
{
	__u32 entry;

	while (count--)
		assert_int_equal(enter(first++, &entry), WC_SEEN_NEW);
}

static int held(__u64 value)
{
	int count = 0;

	for (int way = 0; way < WC_SEEN_WAYS; way++)
		count += WC_SEEN_FINGERPRINT(sets[3].slot[way]) == value;
	return count;
}

static void test_fingerprint(void **state)
{
	const __u64 key[2] = { 0x0123456789abcdef, 0xfedcba9876543210 }, other[2] = { key[0], key[1] ^ 1 };
	struct wc_identity id = { .client = { 1, 2, 3, 4 }, .client_port = 5, .request_id = 6 }, changed;
	struct wc_fingerprint base = wc_fingerprint(&id, key), print;
	unsigned used[256] = { 0 };

	(void)state;
	for (unsigned bit = 0; bit < 8 * offsetof(struct wc_identity, pad) + 64; bit++) {
		changed = id;
		if (bit < 8 * offsetof(struct wc_identity, pad))
			((__u8 *)&changed)[bit / 8] ^= (__u8)(1 << bit % 8);
		else
			changed.request_id ^= 1ULL << (bit - 8 * offsetof(struct wc_identity, pad));
		print = wc_fingerprint(&changed, key);
		assert_true(print.value != base.value);
		assert_true(print.value && print.value < 1ULL << 48 && print.set < WC_SEEN_SETS);
	}
	assert_true(wc_fingerprint(&id, other).value != base.value);
	/* Ids that count up spread over the sets: 256 groups of sets get about 400 each. */
	for (id.request_id = 0; id.request_id < 256 * 400; id.request_id++)
		used[wc_fingerprint(&id, key).set / (WC_SEEN_SETS / 256)]++;
	for (int i = 0; i < 256; i++)
		assert_in_range(used[i], 300, 500);
}

static void test_new_and_again(void **state)
{
	__u32 entry = 99, again = 98;

	(void)state;
	assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
	assert_int_equal(entry / WC_SEEN_WAYS, 3);
	assert_int_equal(WC_SEEN_FINGERPRINT(sets[3].slot[entry % WC_SEEN_WAYS]), 7);
	assert_int_equal(enter(7, &again), WC_SEEN_AGAIN);
	assert_int_equal(again, entry);
	assert_int_equal(enter((1ULL << 48) - 1, &again), WC_SEEN_NEW);
	assert_int_equal(enter((1ULL << 48) - 1, &again), WC_SEEN_AGAIN);
	for (__u32 set = 0; set < SETS; set++)
		for (int way = 0; way < WC_SEEN_WAYS; way++)
			assert_true(set == 3 || !sets[set].slot[way]);
}

static void test_no_such_set(void **state)
{
	struct wc_fingerprint print = { .value = 1, .set = SETS };
	__u32 entry = 5;

	(void)state;
	assert_int_equal(wc_seen_enter(&tables, &print, 0, &entry), WC_SEEN_CONTENDED);
	assert_int_equal(entry, 5);
	wc_seen_forget(&tables, &print, SETS * WC_SEEN_WAYS); /* nothing happens */
	assert_int_equal(wc_seen_begin(&tables, &print, SETS * WC_SEEN_WAYS), WC_SEEN_CONTENDED);
	assert_int_equal(wc_seen_begin(&tables, &print, WC_NONE), WC_SEEN_CONTENDED);
	assert_true(wc_seen_find(&tables, &print) == 0);
}

/* From zeroed memory over the wrap of the sequence numbers: always the last eight, exactly. */
static void test_fifo(void **state)
{
	__u32 entry, last = WC_NONE;

	(void)state;
	for (__u64 n = 1; n <= 3 * 32768 + 5; n++) {
		assert_int_equal(enter(n, &entry), WC_SEEN_NEW);
		if (last != WC_NONE)
			assert_int_equal(entry % WC_SEEN_WAYS, (last + 1) % WC_SEEN_WAYS);
		last = entry;
		if (n > 8)
			assert_int_equal(held(n - 8), 0);
		for (__u64 back = n > 8 ? n - 7 : 1; back <= n; back++)
			if (held(back) != 1)
				fail_msg("after %llu: %llu is there %d times", (unsigned long long)n,
					 (unsigned long long)back, held(back));
	}
	assert_int_equal(enter(3 * 32768 + 5 - 7, &entry), WC_SEEN_AGAIN);
	assert_int_equal(enter(3 * 32768 + 5 - 8, &entry), WC_SEEN_NEW);
}

static void test_forget(void **state)
{
	struct wc_fingerprint print = print_of(7), wrong = print_of(8);
	__u32 entry, second;

	(void)state;
	enter_new(100, 3);
	assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
	assert_true(wc_seen_forget(&tables, &wrong, entry));
	assert_int_equal(held(7), 1);
	assert_true(wc_seen_forget(&tables, &print, entry));
	assert_int_equal(held(7), 0);
	wc_seen_forget(&tables, &print, entry); /* twice is no harm */
	assert_int_equal(enter(7, &second), WC_SEEN_NEW);
	assert_int_equal(second % WC_SEEN_WAYS, (entry + 1) % WC_SEEN_WAYS); /* the order goes on */
	enter_new(200, 8);
	assert_int_equal(held(7), 0);
	wc_seen_forget(&tables, &print, second); /* displaced: its place is another's now */
	for (__u64 other = 200; other < 208; other++)
		assert_int_equal(held(other), 1);
	for (int round = 0; round < 100; round++) { /* BUSY again and again: the others stay */
		assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
		wc_seen_forget(&tables, &print, entry);
	}
	enter_new(300, 8);
	for (__u64 other = 300; other < 308; other++)
		assert_int_equal(held(other), 1);
}

static enum wc_seen_result begin(__u64 value, __u32 entry)
{
	struct wc_fingerprint print = print_of(value);

	return wc_seen_begin(&tables, &print, entry);
}

static __u64 find(__u64 value)
{
	struct wc_fingerprint print = print_of(value);

	return wc_seen_find(&tables, &print);
}

static void test_find(void **state)
{
	__u32 entry;

	(void)state;
	assert_true(find(7) == 0);
	for (__u64 n = 1; n <= 20; n++) {
		assert_int_equal(enter(n, &entry), WC_SEEN_NEW);
		for (__u64 back = 1; back <= 20; back++) {
			__u64 slot = find(back);

			assert_true(!!slot == (back <= n && back + 8 > n));
			assert_true(!slot || WC_SEEN_FINGERPRINT(slot) == back);
		}
		assert_true(find(n) == sets[3].slot[entry % WC_SEEN_WAYS]);
	}
	assert_false(find(20) & WC_SEEN_STARTED);
	assert_int_equal(begin(20, entry), WC_SEEN_NEW);
	assert_true(find(20) & WC_SEEN_STARTED);
	assert_true(find(20) == sets[3].slot[entry % WC_SEEN_WAYS]);
}

/* Entered by the claimer, begun by the agent: once. */
static void test_begin(void **state)
{
	__u32 entry, again;

	(void)state;
	assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
	assert_false(sets[3].slot[entry % 8] & WC_SEEN_STARTED);
	assert_int_equal(begin(7, entry), WC_SEEN_NEW);
	assert_true(sets[3].slot[entry % 8] & WC_SEEN_STARTED);
	assert_int_equal(begin(7, entry), WC_SEEN_AGAIN);
	assert_int_equal(begin(7, WC_NONE), WC_SEEN_AGAIN);
	assert_int_equal(enter(7, &again), WC_SEEN_AGAIN);
	assert_int_equal(again, entry);
	enter_new(100, 8); /* the order does not mind the mark */
	for (__u64 other = 100; other < 108; other++)
		assert_int_equal(held(other), 1);
	/* The window moved on while it waited: it is entered again, as started. */
	assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
	enter_new(200, 8);
	assert_int_equal(begin(7, entry), WC_SEEN_NEW);
	assert_int_equal(held(7), 1);
	assert_int_equal(enter(7, &again), WC_SEEN_AGAIN);
	assert_true(sets[3].slot[again % 8] & WC_SEEN_STARTED);
	/* An entry of another set, or none at all, is only a hint where to look first. */
	assert_int_equal(begin(7, 0), WC_SEEN_AGAIN);
	assert_int_equal(begin(7, SETS * WC_SEEN_WAYS), WC_SEEN_AGAIN);
	assert_int_equal(begin(8, SETS * WC_SEEN_WAYS), WC_SEEN_NEW);
}

/* Got a core at once: the agent enters it, as started, when it begins. */
static void test_begin_unannounced(void **state)
{
	struct wc_fingerprint print = print_of(9);
	__u32 entry;

	(void)state;
	for (unsigned fill = 0; fill < 20; fill++) {
		setup(state);
		enter_new(100, fill);
		assert_int_equal(begin(7, WC_NONE), WC_SEEN_NEW);
		assert_int_equal(held(7), 1);
		assert_true(find(7) & WC_SEEN_STARTED);
		assert_int_equal(begin(7, WC_NONE), WC_SEEN_AGAIN); /* its copy got a core at once, too */
		assert_int_equal(enter(7, &entry), WC_SEEN_AGAIN);  /* or had to wait */
		assert_int_equal(begin(7, entry), WC_SEEN_AGAIN);
		assert_int_equal(held(7), 1);
		/* The other way round: one copy waits, the other gets a core at once. The one that waited finds it begun. */
		assert_int_equal(enter(8, &entry), WC_SEEN_NEW);
		assert_int_equal(begin(8, WC_NONE), WC_SEEN_NEW);
		assert_int_equal(begin(8, entry), WC_SEEN_AGAIN);
		assert_int_equal(held(8), 1);
	}
	assert_int_equal(wc_seen_enter(&tables, &print, WC_SEEN_STARTED, &entry), WC_SEEN_NEW);
	assert_true(sets[3].slot[entry % 8] & WC_SEEN_STARTED);
	enter_new(300, 8); /* the mark is gone with the id that had it */
	for (__u64 other = 300; other < 308; other++)
		assert_false(find(other) & WC_SEEN_STARTED);
}

/* Given up, sent again, and then the first copy comes after all: exactly one of the two runs. */
static void test_begin_twice(void **state)
{
	struct wc_fingerprint print = print_of(7);
	__u32 first, second;

	for (unsigned between = 0; between < 20; between++) {
		setup(state);
		assert_int_equal(enter(7, &first), WC_SEEN_NEW);
		wc_seen_forget(&tables, &print, first);
		enter_new(100, between);
		assert_int_equal(enter(7, &second), WC_SEEN_NEW);
		/* The late one first, or last. */
		if (between % 2) {
			enum wc_seen_result late = begin(7, first), other = begin(7, second);

			if (late != WC_SEEN_NEW || other != WC_SEEN_AGAIN)
				fail_msg("%u ids in between: the copies are told %d and %d", between, late, other);
		} else {
			assert_int_equal(begin(7, second), WC_SEEN_NEW);
			if (begin(7, first) != WC_SEEN_AGAIN)
				fail_msg("%u ids in between: both copies run", between);
		}
	}
}

/* --- races --- */

static void insert_same(unsigned n)
{
	__u32 entry;

	if (n == 0)
		assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
}

static void insert_other(unsigned n)
{
	enter_new(1000 + n, 1);
}

static void insert_other_once(unsigned n)
{
	if (n == 0)
		insert_other(n);
}

/* Another CPU enters the same id between our look and our swap: ours is the retransmission. */
static void test_same_id_at_once(void **state)
{
	__u32 entry = WC_NONE;

	(void)state;
	for (unsigned fill = 0; fill < 20; fill++) {
		setup(NULL);
		enter_new(100, fill);
		before_cas = insert_same;
		assert_int_equal(enter(7, &entry), WC_SEEN_AGAIN);
		before_cas = NULL;
		assert_int_equal(held(7), 1);
		assert_int_equal(WC_SEEN_FINGERPRINT(sets[3].slot[entry % WC_SEEN_WAYS]), 7);
	}
}

static void test_other_id_at_once(void **state)
{
	__u32 entry;

	(void)state;
	enter_new(100, 5);
	before_cas = insert_other_once;
	assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
	assert_int_equal(held(7), 1);
	assert_int_equal(held(1000), 1);
	before_cas = NULL;
	enter_new(200, 6);
	assert_int_equal(held(7) + held(1000), 2); /* both took a place of their own */
}

static void test_contended(void **state)
{
	__u32 entry = 77;

	(void)state;
	before_cas = insert_other;
	assert_int_equal(enter(7, &entry), WC_SEEN_CONTENDED);
	assert_int_equal(swaps, WC_SEEN_TRIES);
	assert_int_equal(held(7), 0);
	assert_int_equal(entry, 77);
	before_cas = NULL;
	assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
}

/* Two agents begin copies of one id at the same time, whichever step the other one comes in between: exactly one may run it. */
static unsigned begin_at, begin_others;
static __u32 begin_entry;
static int begun;

static void begin_other(unsigned n)
{
	if (n != begin_at)
		return;
	begun += begin(7, begin_entry) == WC_SEEN_NEW;
	enter_new(1000, begin_others);
}

static void test_begin_at_once(void **state)
{
	for (begin_at = 0; begin_at < 12; begin_at++)
		for (unsigned row = 0; row < 32; row++) {
			__u32 entry = WC_NONE;

			setup(state);
			enter_new(100, 13);
			if (row & 1)
				assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
			begin_entry = row & 2 ? entry : WC_NONE;
			begin_others = row >> 3;
			begun = 0;
			if (row & 4)
				before_cas = begin_other;
			else
				before_read = begin_other;
			begun += begin(7, entry) == WC_SEEN_NEW;
			before_cas = before_read = NULL;
			begun += begin(7, WC_NONE) == WC_SEEN_NEW; /* in case the hook never ran */
			if (begun != 1 || held(7) != 1)
				fail_msg("row %u, step %u: begun %d times, there %d times", row, begin_at, begun,
					 held(7));
		}
}

/* Others are always faster: not received, and nothing of it is left. */
static void test_begin_contended(void **state)
{
	(void)state;
	before_cas = insert_other;
	assert_int_equal(begin(7, WC_NONE), WC_SEEN_CONTENDED);
	before_cas = NULL;
	assert_int_equal(swaps, WC_SEEN_TRIES * WC_SEEN_BEGIN_TRIES);
	assert_int_equal(held(7), 0);
	assert_int_equal(begin(7, WC_NONE), WC_SEEN_NEW);
}

/*
 * A thread that loses its CPU in the middle of reading a set, while others enter `torn_count` ids, among them its own: it
 * sees old slots beside new ones. It must not enter the id a second time, nor break the order.
 */
static unsigned torn_at, torn_count, torn_same;

static void tear(unsigned n)
{
	__u32 entry;

	if (n != torn_at)
		return;
	for (unsigned i = 0; i < torn_count; i++)
		assert_int_equal(enter(i == torn_same ? 7 : 1000 + i, &entry), WC_SEEN_NEW);
}

static void test_torn_view(void **state)
{
	__u32 entry;

	(void)state;
	for (torn_at = 0; torn_at < WC_SEEN_WAYS; torn_at++)
		for (torn_count = 1; torn_count <= 24; torn_count++)
			/* One of the last eight, so that it is in the window when the reader goes on. */
			for (torn_same = torn_count > 8 ? torn_count - 8 : 0; torn_same < torn_count; torn_same++) {
				enum wc_seen_result result;

				setup(NULL);
				enter_new(100, 16);
				before_read = tear;
				result = enter(7, &entry);
				before_read = NULL;
				if (held(7) != 1 || result == WC_SEEN_NEW)
					fail_msg(
						"interrupted before slot %u by %u ids, its own was number %u: result %d, "
						"it is there %d times",
						torn_at, torn_count, torn_same, result, held(7));
			}
}

/* Forgetting loses to whoever took the place in between. */
static void displace(unsigned n)
{
	if (n == 0)
		enter_new(500, 8);
}

/* What has been started stays, whoever gives up a copy of it; also when it is started in the middle of that. */
static void begin_meanwhile(unsigned n)
{
	(void)n;
	assert_int_equal(begin(7, WC_NONE), WC_SEEN_NEW);
}

static void test_forget_started(void **state)
{
	struct wc_fingerprint print = print_of(7);
	__u32 entry;

	for (int meanwhile = 0; meanwhile < 2; meanwhile++) {
		setup(state);
		assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
		if (meanwhile)
			before_cas = begin_meanwhile;
		else
			assert_int_equal(begin(7, entry), WC_SEEN_NEW);
		assert_false(wc_seen_forget(&tables, &print, entry));
		before_cas = NULL;
		assert_true(find(7) & WC_SEEN_STARTED);
		assert_int_equal(enter(7, &entry), WC_SEEN_AGAIN);
		assert_int_equal(begin(7, entry), WC_SEEN_AGAIN);
	}
}

static void test_forget_late(void **state)
{
	struct wc_fingerprint print = print_of(7);
	__u32 entry;

	(void)state;
	assert_int_equal(enter(7, &entry), WC_SEEN_NEW);
	before_cas = displace;
	wc_seen_forget(&tables, &print, entry);
	before_cas = NULL;
	for (__u64 other = 500; other < 508; other++)
		assert_int_equal(held(other), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_fingerprint, setup),
		cmocka_unit_test_setup(test_new_and_again, setup),
		cmocka_unit_test_setup(test_no_such_set, setup),
		cmocka_unit_test_setup(test_fifo, setup),
		cmocka_unit_test_setup(test_forget, setup),
		cmocka_unit_test_setup(test_find, setup),
		cmocka_unit_test_setup(test_begin, setup),
		cmocka_unit_test_setup(test_begin_unannounced, setup),
		cmocka_unit_test_setup(test_begin_twice, setup),
		cmocka_unit_test_setup(test_same_id_at_once, setup),
		cmocka_unit_test_setup(test_other_id_at_once, setup),
		cmocka_unit_test_setup(test_contended, setup),
		cmocka_unit_test_setup(test_begin_at_once, setup),
		cmocka_unit_test_setup(test_begin_contended, setup),
		cmocka_unit_test_setup(test_torn_view, setup),
		cmocka_unit_test_setup(test_forget_started, setup),
		cmocka_unit_test_setup(test_forget_late, setup),
	};

	return cmocka_run_group_tests_name("seen", tests, NULL, NULL);
}
