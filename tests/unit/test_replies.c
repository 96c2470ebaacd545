/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_replies.c - the kept replies: found again byte for byte, displaced in order, refused when too large, and never torn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "user/replies.h"

#include <pthread.h>
#include <sched.h>

static struct wc_replies *replies;

static int setup(void **state)
{
	(void)state;
	replies = wc_replies_new();
	return replies ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	wc_replies_free(replies);
	return 0;
}

static void test_keep_and_find(void **state)
{
	struct wc_fingerprint print = { .value = 12345, .set = 77 }, other = { .value = 12345 ^ 1, .set = 77 ^ 1 };
	uint8_t out[WC_REPLY_BYTES], header[48], payload[100];

	(void)state;
	assert_int_equal(wc_replies_find(replies, &print, out), 0);
	memset(header, 1, sizeof(header));
	memset(payload, 2, sizeof(payload));
	wc_replies_keep(replies, &print, header, sizeof(header), payload, sizeof(payload));
	assert_int_equal(wc_replies_find(replies, &print, out), 148);
	assert_memory_equal(out, header, 48);
	assert_memory_equal(out + 48, payload, 100);
	/* The same set of places, another id: not found, then beside it. */
	assert_int_equal(wc_replies_find(replies, &other, out), 0);
	wc_replies_keep(replies, &other, header, sizeof(header), NULL, 0);
	assert_int_equal(wc_replies_find(replies, &other, out), 48);
	assert_int_equal(wc_replies_find(replies, &print, out), 148);
	/* The same fingerprint in another set is another id. */
	print = (struct wc_fingerprint){ .value = other.value, .set = other.set + WC_REPLIES_COUNT };
	assert_int_equal(wc_replies_find(replies, &print, out), 0);
	wc_replies_keep(replies, &other, payload, 10, payload, 1); /* once more: the later one stays */
	assert_int_equal(wc_replies_find(replies, &other, out), 11);
	wc_replies_free(NULL);
}

static void test_sizes(void **state)
{
	struct wc_fingerprint print = { .value = 1, .set = 2 };
	uint8_t big[WC_REPLY_BYTES + 1], out[WC_REPLY_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	wc_replies_keep(replies, &print, big, 48, big + 48, WC_REPLY_BYTES - 48);
	assert_int_equal(wc_replies_find(replies, &print, out), WC_REPLY_BYTES);
	assert_memory_equal(out, big, WC_REPLY_BYTES);
	wc_replies_keep(replies, &print, big, 48, big + 48,
			WC_REPLY_BYTES - 47); /* too large: not kept, nothing lost */
	assert_int_equal(wc_replies_find(replies, &print, out), WC_REPLY_BYTES);
}

static void test_all_places(void **state)
{
	uint8_t out[WC_REPLY_BYTES];
	uint32_t number;

	(void)state;
	for (number = 0; number < WC_REPLIES_COUNT; number++) {
		struct wc_fingerprint print = { .value = number + WC_REPLIES_COUNT, .set = 0 };

		wc_replies_keep(replies, &print, &number, sizeof(number), NULL, 0);
	}
	for (number = 0; number < WC_REPLIES_COUNT; number++) {
		struct wc_fingerprint print = { .value = number + WC_REPLIES_COUNT, .set = 0 };

		assert_int_equal(wc_replies_find(replies, &print, out), sizeof(number));
		assert_memory_equal(out, &number, sizeof(number));
	}
}

/* The nth of the ids that share a set. */
static struct wc_fingerprint neighbour(uint32_t n)
{
	return (struct wc_fingerprint){ .value = 5 + (uint64_t)n * WC_REPLIES_SETS, .set = 0 };
}

/* The oldest of a set makes room, and one that is kept once more takes no second place. */
static void test_displaced(void **state)
{
	uint8_t out[WC_REPLY_BYTES];
	struct wc_fingerprint print;

	(void)state;
	for (uint32_t n = 0; n < 100; n++) {
		for (int twice = 0; twice < 2; twice++) {
			print = neighbour(n);
			wc_replies_keep(replies, &print, &n, sizeof(n), NULL, 0);
		}
		for (uint32_t at = 0; at <= n; at++) {
			print = neighbour(at);
			assert_int_equal(wc_replies_find(replies, &print, out),
					 at + WC_REPLIES_WAYS > n ? sizeof(n) : 0);
			if (at + WC_REPLIES_WAYS > n)
				assert_memory_equal(out, &at, sizeof(at));
		}
	}
}

/* What a burst of 1,000 leaves, for fingerprints as good as random. */
static void test_burst(void **state)
{
	uint8_t out[WC_REPLY_BYTES] = { 0 };
	uint64_t random = 1;
	unsigned found = 0;

	(void)state;
	for (unsigned burst = 0; burst < 20; burst++) {
		struct wc_fingerprint prints[1000];

		for (size_t i = 0; i < 1000; i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			prints[i] = (struct wc_fingerprint){ .value = random >> 16, .set = (uint32_t)(random >> 49) };
			wc_replies_keep(replies, &prints[i], out, 48, NULL, 0);
		}
		for (size_t i = 0; i < 1000; i++)
			found += wc_replies_find(replies, &prints[i], out) == 48;
	}
	print_message("%u of 20,000 found\n", found);
	assert_true(found >= 19980);
}

#define WRITERS 3
#define WRITES 20000

/* More ids than a set has places, so that all are displaced again and again; every byte of a reply says which, and how long. */
#define RIVALS 12
static int writing;

static void *writer(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument;
	uint8_t data[2000];

	for (unsigned i = 0; i < WRITES; i++) {
		unsigned which = (i + self) % RIVALS;
		struct wc_fingerprint print = neighbour(which);

		memset(data, (int)(which << 4 | (i & 0xf)), sizeof(data));
		wc_replies_keep(replies, &print, data, 48, data, 1 + (i & 0xf) * 120);
		if (i % 16 == 0)
			sched_yield();
	}
	__atomic_fetch_sub(&writing, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* While agents write, what is found is whole, of the right id, and as long as its bytes say. */
static void test_never_torn(void **state)
{
	uint8_t out[WC_REPLY_BYTES];
	pthread_t threads[WRITERS];
	unsigned long found = 0;

	(void)state;
	writing = WRITERS;
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)i), 0);
	for (unsigned look = 0; __atomic_load_n(&writing, __ATOMIC_SEQ_CST); look++) {
		struct wc_fingerprint print = neighbour(look % RIVALS);
		size_t len = wc_replies_find(replies, &print, out);

		if (!len)
			continue;
		found++;
		assert_int_equal(out[0] >> 4, look % RIVALS);
		assert_int_equal(len, 49 + (out[0] & 0xf) * 120);
		for (size_t i = 1; i < len; i++)
			if (out[i] != out[0])
				fail_msg("byte %zu of %zu is %02x, the first is %02x", i, len, out[i], out[0]);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_true(found > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_keep_and_find), TEST(test_sizes), TEST(test_all_places),
		TEST(test_displaced),	  TEST(test_burst), TEST(test_never_torn),
	};

	return cmocka_run_group_tests_name("replies", tests, NULL, NULL);
}
