/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_async_dead.c - dead letters and results on their way: lists, redrive, purge, deliveries with attempts of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/async_fixture.h"

static const struct wc_async_result boom = { .error = "boom", .response = "{}", .response_size = 2 };

/* `count` dead letters of each of f and g, with ids from 0 on: those of g are odd. */
static void make_dead(uint32_t count)
{
	OK(wc_async_store_begin(store, &fault));
	for (uint32_t i = 0; i < 2 * count; i++) {
		OK(accept_one(i, i % 2 ? "g" : "f"));
		OK(wc_async_gone(store, take_one().seq, now_ms, &fault));
	}
	OK(wc_async_store_commit(store, &fault));
}

static size_t take_deliveries(struct wc_async_delivery **ret_deliveries)
{
	size_t count = 0;

	OK(wc_async_take_deliveries(store, 100, 100, now_ms, ret_deliveries, &count, &fault));
	return count;
}

static void free_deliveries(struct wc_async_delivery *deliveries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		wc_async_delivery_free(&deliveries[i]);
	free(deliveries);
}

static int64_t take_delivery(void)
{
	struct wc_async_delivery *deliveries;
	size_t count = take_deliveries(&deliveries);
	int64_t number;

	assert_int_equal(count, 1);
	number = deliveries[0].number;
	free_deliveries(deliveries, count);
	return number;
}

static void test_list(void **state)
{
	struct wc_async_dead dead[WC_ASYNC_PAGE_MAX];
	struct wc_async_id id = id_of(7), other = id_of(999);
	struct wc_async_body body;
	int64_t after = 0;
	size_t count, total = 0;

	(void)state;
	make_dead(120);
	do {
		OK(wc_async_dead_list(store, "g", after, SIZE_MAX, dead, &count, &fault));
		for (size_t i = 0; i < count; i++) {
			assert_string_equal(dead[i].function, "g");
			assert_true(dead[i].number > after);
			after = dead[i].number;
		}
		total += count;
	} while (count);
	assert_int_equal(total, 120);
	OK(wc_async_dead_list(store, "", 0, 3, dead, &count, &fault));
	assert_int_equal(count, 3);
	OK(wc_async_dead_show(store, &id, &dead[0], &body, &fault));
	assert_string_equal(dead[0].function, "g");
	assert_int_equal(body.payload_size, 10);
	wc_async_body_free(&body);
	FAILS(wc_async_dead_show(store, &other, &dead[0], &body, &fault), ENOENT, "no dead letter");
}

static void test_redrive(void **state)
{
	struct wc_async_id id = id_of(3), other = id_of(99999);
	struct wc_async_pick one = { .id = &id }, all_of_g = { .function = "g" }, none = { .id = &other };
	struct wc_async_head head;
	size_t count;

	(void)state;
	make_dead(1500);
	now_ms += 86400000;
	FAILS(wc_async_redrive(store, &none, now_ms, &count, &fault), ENOENT, "no dead letter");
	OK(wc_async_redrive(store, &one, now_ms, &count, &fault));
	assert_int_equal(count, 1);
	head = take_one(); /* with a full age, no attempts, its id and body */
	assert_memory_equal(&head.id, &id, sizeof(id));
	assert_true(head.expires_ms == now_ms + 21600000 && head.attempts == 0 && head.accepted_ms == BEGIN_MS);
	OK(wc_async_succeed(store, head.seq, NULL, now_ms, &fault));

	/* All of a function, in bounded steps; what dies meanwhile is not in it. */
	all_of_g.last = wc_async_last_dead(store);
	OK(wc_async_redrive(store, &all_of_g, now_ms, &count, &fault));
	assert_int_equal(count, WC_ASYNC_BATCH_MAX);
	OK(wc_async_gone(store, take_one().seq, now_ms, &fault));
	OK(wc_async_redrive(store, &all_of_g, now_ms, &count, &fault));
	assert_int_equal(count, 499);
	OK(wc_async_redrive(store, &all_of_g, now_ms, &count, &fault));
	assert_int_equal(count, 0);
	assert_int_equal(counters().waiting, 1498);
	assert_int_equal(counters().dead_letters, 1501);
	assert_int_equal(counters().redriven, 1500);
	reopen();
	assert_int_equal(counters().waiting, 1498);
	assert_int_equal(counters().dead_letters, 1501);
}

static void test_purge(void **state)
{
	struct wc_async_id id = id_of(4);
	struct wc_async_pick one = { .id = &id }, all_of_g = { .function = "g", .last = INT64_MAX },
			     all = { .last = INT64_MAX };
	size_t count;

	(void)state;
	make_dead(20);
	OK(wc_async_purge(store, &one, &count, &fault));
	FAILS(wc_async_purge(store, &one, &count, &fault), ENOENT, "no dead letter");
	OK(wc_async_purge(store, &all_of_g, &count, &fault));
	assert_int_equal(count, 20);
	OK(wc_async_purge(store, &all, &count, &fault));
	assert_int_equal(count, 19);
	assert_int_equal(counters().purged, 40);
	assert_int_equal(counters().bytes, 0);
	assert_int_equal(counters().dead_letters, 0);
}

static void test_forgotten_by_age(void **state)
{
	(void)state;
	make_dead(3);
	now_ms += 14 * 86400000ULL - 1;
	OK(wc_async_tend(store, now_ms, &fault));
	assert_int_equal(counters().dead_letters, 6);
	now_ms += 1;
	OK(wc_async_tend(store, now_ms, &fault));
	assert_int_equal(counters().dead_letters, 0);
	assert_int_equal(counters().forgotten, 6);
	options.dead_age_s = 0;
	reopen();
	make_dead(1);
	now_ms *= 2;
	OK(wc_async_tend(store, now_ms, &fault));
	assert_int_equal(counters().dead_letters, 2);
}

static void configure(const char *on_success, const char *on_failure)
{
	struct wc_async_config config = { .function = "f", .age_s = 21600, .retries = 0 };

	snprintf(config.on_success, sizeof(config.on_success), "%s", on_success);
	snprintf(config.on_failure, sizeof(config.on_failure), "%s", on_failure);
	OK(wc_async_config_put(store, &config, now_ms, &fault));
}

static void test_destinations(void **state)
{
	struct wc_async_request request = {
		.id = id_of(1), .function = "f", .payload = "question", .payload_size = 8, .depth = 2
	};
	static char response[WC_ASYNC_PAYLOAD_MAX + 100];
	struct wc_async_result large = { .response = response, .response_size = sizeof(response) };
	struct wc_async_delivery *deliveries;
	int64_t numbers[2];

	(void)state;
	configure("next:live", "http://a/failed");
	request.callback = "https://b/called";
	OK(wc_async_accept(store, &request, now_ms, &fault));
	OK(wc_async_succeed(store, take_one().seq, &large, now_ms, &fault));
	assert_int_equal(counters().waiting + counters().running, 0);
	reopen(); /* they are as durable as the invocation was */
	assert_int_equal(counters().outbox_waiting, 2);
	assert_int_equal(take_deliveries(&deliveries), 2);
	for (int i = 0; i < 2; i++) {
		assert_memory_equal(&deliveries[i].id, &request.id, sizeof(request.id));
		assert_string_equal(deliveries[i].function, "f");
		assert_int_equal(deliveries[i].reason, 0);
		assert_int_equal(deliveries[i].depth, 2);
		assert_int_equal(deliveries[i].invocation_attempts, 1);
		assert_int_equal(deliveries[i].body.payload_size, 8);
		assert_memory_equal(deliveries[i].body.payload, "question", 8);
		assert_int_equal(deliveries[i].response_size, WC_ASYNC_PAYLOAD_MAX);
		assert_int_equal(deliveries[i].response_size_full, sizeof(response));
		numbers[i] = deliveries[i].number;
	}
	assert_int_equal(deliveries[0].kind, WC_ASYNC_KIND_ON_SUCCESS);
	assert_string_equal(deliveries[0].target, "next:live");
	assert_int_equal(deliveries[1].kind, WC_ASYNC_KIND_CALLBACK);
	assert_string_equal(deliveries[1].target, "https://b/called");
	free_deliveries(deliveries, 2);
	OK(wc_async_delivered(store, numbers[0], &fault));
	assert_true(counters().bytes > 0); /* body and response are there for the other */
	OK(wc_async_delivered(store, numbers[1], &fault));
	FAILS(wc_async_delivered(store, numbers[1], &fault), ENOENT, "no delivery");
	assert_int_equal(counters().bytes, 0);
	assert_int_equal(counters().delivered, 2);
}

static void test_on_failure(void **state)
{
	struct wc_async_delivery *deliveries;
	struct wc_async_pick all = { .last = INT64_MAX };
	size_t count;

	(void)state;
	configure("http://a/ok", "http://a/failed");
	OK(accept_one(1, "f"));
	OK(wc_async_fail(store, take_one().seq, &boom, now_ms, &fault));
	/* The dead letter goes, what has to be told of it stays. */
	OK(wc_async_purge(store, &all, &count, &fault));
	assert_int_equal(take_deliveries(&deliveries), 1);
	assert_int_equal(deliveries[0].kind, WC_ASYNC_KIND_ON_FAILURE);
	assert_int_equal(deliveries[0].reason, WC_ASYNC_REASON_ATTEMPTS);
	assert_string_equal(deliveries[0].target, "http://a/failed");
	assert_string_equal(deliveries[0].error, "boom");
	assert_memory_equal(deliveries[0].response, "{}", 2);
	assert_int_equal(deliveries[0].body.payload_size, 10);
	free_deliveries(deliveries, 1);
}

static void test_redrive_while_told(void **state)
{
	struct wc_async_delivery *deliveries;
	struct wc_async_pick all = { .last = INT64_MAX };
	size_t count;

	(void)state;
	configure("http://a/ok", "http://a/failed");
	OK(accept_one(1, "f"));
	OK(wc_async_fail(store, take_one().seq, &boom, now_ms, &fault));
	OK(wc_async_redrive(store, &all, now_ms, &count, &fault));
	OK(wc_async_succeed(store, take_one().seq, &(struct wc_async_result){ .response = "fine", .response_size = 4 },
			    now_ms, &fault));
	assert_int_equal(take_deliveries(&deliveries), 2); /* each with its own result */
	assert_string_equal(deliveries[0].error, "boom");
	assert_string_equal(deliveries[1].error, "");
	assert_memory_equal(deliveries[1].response, "fine", 4);
	OK(wc_async_delivered(store, deliveries[0].number, &fault));
	OK(wc_async_delivered(store, deliveries[1].number, &fault));
	free_deliveries(deliveries, 2);
	assert_int_equal(counters().bytes, 0);
}

static void test_delivery_attempts(void **state)
{
	struct wc_async_pick all = { .last = INT64_MAX };
	struct wc_async_delivery list[4], *deliveries;
	uint64_t due_ms;
	int64_t number;
	size_t count;

	(void)state;
	options.delivery_attempts_max = 3;
	reopen();
	configure("http://a/ok", "");
	OK(accept_one(1, "f"));
	OK(wc_async_succeed(store, take_one().seq, NULL, now_ms, &fault));
	for (uint32_t attempt = 1; attempt < 3; attempt++) {
		number = take_delivery();
		reopen(); /* at least once: after a crash it is under way again */
		number = take_delivery();
		OK(wc_async_undelivered(store, number, "refused", true, now_ms, &fault));
		due_ms = wc_async_next_delivery_due(store, 100);
		assert_true(due_ms >= now_ms + (500ULL << attempt) && due_ms <= now_ms + (1000ULL << attempt));
		now_ms = due_ms;
	}
	number = take_delivery();
	OK(wc_async_delivery_busy(store, number, 100, now_ms, &fault)); /* no attempt */
	now_ms += 100;
	number = take_delivery();
	OK(wc_async_undelivered(store, number, "refused again", true, now_ms, &fault));
	assert_true(wc_async_next_delivery_due(store, 100) == WC_ASYNC_NEVER);
	assert_int_equal(counters().outbox_dead, 1);
	reopen();
	assert_int_equal(counters().outbox_dead, 1);
	OK(wc_async_delivery_list(store, NULL, 0, 4, list, &count, &fault));
	assert_int_equal(count, 1);
	assert_int_equal(list[0].attempts, 3);
	assert_string_equal(list[0].last_error, "refused again");
	assert_true(list[0].died_ms == now_ms);
	OK(wc_async_delivery_list(store, "g", 0, 4, list, &count, &fault));
	assert_int_equal(count, 0);

	all.last = wc_async_last_delivery(store);
	OK(wc_async_delivery_redrive(store, &all, now_ms, &count, &fault));
	assert_int_equal(count, 1);
	assert_int_equal(take_deliveries(&deliveries), 1);
	assert_int_equal(deliveries[0].attempts, 0);
	number = deliveries[0].number;
	free_deliveries(deliveries, 1);
	OK(wc_async_undelivered(store, number, "gone", false, now_ms, &fault)); /* not again: dead at once */
	all.after = 0;
	OK(wc_async_delivery_purge(store, &all, &count, &fault));
	assert_int_equal(count, 1);
	assert_int_equal(counters().outbox_dead, 0);
	assert_int_equal(counters().bytes, 0);
}

static void test_delivery_ages(void **state)
{
	(void)state;
	configure("http://a/ok", "");
	OK(accept_one(1, "f"));
	OK(wc_async_succeed(store, take_one().seq, NULL, now_ms, &fault));
	now_ms += 21600000 - 1;
	OK(wc_async_undelivered(store, take_delivery(), "late", true, now_ms,
				&fault)); /* the next would be later than that */
	assert_int_equal(counters().outbox_dead, 1);
	OK(accept_one(2, "f"));
	OK(wc_async_succeed(store, take_one().seq, NULL, now_ms, &fault));
	now_ms += 21600000 - 100;
	OK(wc_async_delivery_busy(store, take_delivery(), 99, now_ms, &fault)); /* nor is one busy for ever */
	assert_int_equal(counters().outbox_dead, 1);
	now_ms += 99;
	OK(wc_async_delivery_busy(store, take_delivery(), 99, now_ms, &fault));
	assert_int_equal(counters().outbox_dead, 2);
	now_ms += 15 * 86400000ULL;
	OK(wc_async_tend(store, now_ms, &fault));
	assert_int_equal(counters().outbox_dead, 0);
	assert_int_equal(counters().bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, async_setup, async_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_list),
		TEST(test_redrive),
		TEST(test_purge),
		TEST(test_forgotten_by_age),
		TEST(test_destinations),
		TEST(test_on_failure),
		TEST(test_redrive_while_told),
		TEST(test_delivery_attempts),
		TEST(test_delivery_ages),
	};

	return cmocka_run_group_tests_name("async_dead", tests, NULL, NULL);
}
