/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_async_store.c - durable invocations: each way through the states, what survives a restart, limits, fairness, groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/async_fixture.h"

static const struct wc_async_result boom = { .error = "boom" };

static void test_body_and_restart(void **state)
{
	struct wc_async_request request = { .id = id_of(1),
					    .function = "f",
					    .qualifier = "live",
					    .payload = "a\0b",
					    .payload_size = 3,
					    .client_context = "Y29udGV4dA==",
					    .trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
					    .callback = "http://a/done",
					    .depth = 3 };
	struct wc_async_job *jobs;
	struct wc_async_body body;
	struct wc_async_head head;
	struct wc_async_id id = id_of(1);

	(void)state;
	OK(wc_async_accept(store, &request, now_ms, &fault));
	reopen();
	now_ms += 5;
	assert_int_equal(take(10, 10, &jobs), 1);
	head = jobs[0].head;
	assert_memory_equal(&head.id, &id, sizeof(id));
	assert_string_equal(head.function, "f");
	assert_string_equal(head.qualifier, "live");
	assert_true(head.accepted_ms == BEGIN_MS && head.expires_ms == BEGIN_MS + WC_ASYNC_AGE_MAX_S * 1000ULL);
	assert_int_equal(head.attempts, 0);
	assert_int_equal(head.interrupted, 0);
	assert_int_equal(head.depth, 3);
	assert_int_equal(jobs[0].body.payload_size, 3);
	assert_memory_equal(jobs[0].body.payload, "a\0b", 3);
	assert_string_equal(jobs[0].body.client_context, request.client_context);
	assert_string_equal(jobs[0].body.trace, request.trace);
	assert_string_equal(jobs[0].body.callback, request.callback);
	free_jobs(jobs, 1);
	take_none();

	/* The owner ends while it runs: due again, no attempt, and told. */
	reopen();
	assert_int_equal(counters().interrupted, 1);
	head = take_one();
	assert_int_equal(head.attempts, 0);
	assert_int_equal(head.interrupted, 1);
	OK(wc_async_show(store, &id, &head, &body, &fault));
	assert_int_equal(head.state, WC_ASYNC_STATE_RUNNING);
	assert_int_equal(body.payload_size, 3);
	wc_async_body_free(&body);
}

static void test_success(void **state)
{
	struct wc_async_id id = id_of(1);
	struct wc_async_head head;

	(void)state;
	OK(accept_one(1, "f"));
	FAILS(accept_one(1, "f"), EEXIST, "accepted before");
	head = take_one();
	OK(wc_async_succeed(store, head.seq, NULL, now_ms, &fault));
	FAILS(wc_async_succeed(store, head.seq, NULL, now_ms, &fault), ENOENT, "no invocation");
	FAILS(wc_async_show(store, &id, &head, NULL, &fault), ENOENT, "no invocation");
	assert_int_equal(counters().succeeded, 1);
	assert_int_equal(counters().bytes, 0);
	assert_int_equal(counters().running + counters().waiting, 0);
	OK(accept_one(1, "f")); /* known until it has succeeded */
	OK(wc_async_list(store, NULL, 0, 1, &head, &(size_t){ 0 }, &fault));
	FAILS(wc_async_succeed(store, head.seq, NULL, now_ms, &fault), ESTALE, "not running");
}

static void test_retries(void **state)
{
	struct wc_async_id id = id_of(1);
	struct wc_async_head head;
	struct wc_async_dead dead;
	uint64_t due_ms;

	(void)state;
	OK(accept_one(1, "f"));
	for (uint32_t attempt = 1; attempt <= WC_ASYNC_RETRIES_MAX; attempt++) {
		uint64_t window_ms = 1000ULL << attempt;

		head = take_one();
		assert_int_equal(head.attempts, attempt - 1);
		OK(wc_async_fail(store, head.seq, &boom, now_ms, &fault));
		due_ms = wc_async_next_due(store, 100);
		assert_true(due_ms >= now_ms + window_ms / 2 && due_ms <= now_ms + window_ms);
		now_ms = due_ms - 1;
		take_none();
		reopen(); /* also what waits for its time survives */
		take_none();
		now_ms = due_ms;
	}
	head = take_one();
	OK(wc_async_fail(store, head.seq, &(struct wc_async_result){ .error = "the last" }, now_ms, &fault));
	OK(wc_async_dead_show(store, &id, &dead, NULL, &fault));
	assert_int_equal(dead.attempts, 3);
	assert_int_equal(dead.reason, WC_ASYNC_REASON_ATTEMPTS);
	assert_string_equal(dead.error, "the last");
	assert_true(dead.died_ms == now_ms && dead.accepted_ms == BEGIN_MS);
	FAILS(accept_one(1, "f"), EEXIST, "accepted before");
	reopen();
	assert_int_equal(counters().dead_letters, 1);
	assert_int_equal(counters().waiting, 0);
}

static void test_backoff_ends(void **state)
{
	struct wc_async_config config = { .function = "f", .age_s = 60, .retries = 2 };
	struct wc_async_dead dead;
	struct wc_async_id id = id_of(1);

	(void)state;
	options.backoff_max_ms = 4000;
	options.backoff_min_ms = 3000;
	reopen();
	OK(accept_one(1, "f"));
	OK(wc_async_fail(store, take_one().seq, &boom, now_ms, &fault));
	assert_true(wc_async_next_due(store, 100) <= now_ms + 4000 && wc_async_next_due(store, 100) >= now_ms + 2000);

	/* A retry that would come after its end is not waited for: the error is there now. */
	OK(wc_async_config_put(store, &config, now_ms, &fault));
	now_ms += 10000;
	OK(wc_async_succeed(store, take_one().seq, NULL, now_ms, &fault));
	OK(accept_one(1, "f"));
	now_ms += 59000;
	OK(wc_async_fail(store, take_one().seq, &boom, now_ms, &fault));
	OK(wc_async_dead_show(store, &id, &dead, NULL, &fault));
	assert_int_equal(dead.reason, WC_ASYNC_REASON_AGE);
	assert_string_equal(dead.error, "boom");
	assert_int_equal(dead.attempts, 1);
}

static void test_expiry(void **state)
{
	struct wc_async_config config = { .function = "f", .age_s = 60, .retries = 2 };
	struct wc_async_dead dead;
	struct wc_async_id id = id_of(1);
	struct wc_async_head head;

	(void)state;
	OK(wc_async_config_put(store, &config, now_ms, &fault));
	OK(accept_one(1, "f"));
	OK(wc_async_tend(store, now_ms, &fault));
	assert_true(wc_async_next_due(store, 0) == now_ms + 60000); /* whatever may run */
	now_ms += 59999;
	OK(wc_async_tend(store, now_ms, &fault));
	assert_int_equal(counters().dead_letters, 0);
	now_ms++;
	OK(wc_async_tend(store, now_ms, &fault));
	OK(wc_async_dead_show(store, &id, &dead, NULL, &fault));
	assert_int_equal(dead.reason, WC_ASYNC_REASON_AGE);
	assert_int_equal(dead.attempts, 0);
	assert_int_equal(counters().waiting, 0);

	/* What is too old is not begun, even when nobody has tended; what runs then may end well. */
	OK(accept_one(2, "f"));
	OK(accept_one(3, "f"));
	head = take_one();
	now_ms += 60000;
	take_none();
	assert_int_equal(counters().dead[WC_ASYNC_REASON_AGE], 2);
	OK(wc_async_tend(store, now_ms, &fault));
	OK(wc_async_succeed(store, head.seq, NULL, now_ms, &fault));
	assert_int_equal(counters().dead_letters, 2);
}

static void test_busy(void **state)
{
	struct wc_async_head a, b;
	uint64_t held_ms;

	(void)state;
	OK(accept_one(1, "f"));
	now_ms += 1;
	OK(accept_one(2, "f"));
	OK(accept_one(3, "g"));
	a = take_one();
	assert_string_equal(a.function, "f");
	OK(wc_async_busy(store, a.seq, 0, now_ms, &fault));
	/* All of f waits, g does not. */
	b = take_one();
	assert_string_equal(b.function, "g");
	take_none();
	held_ms = wc_async_next_due(store, 100);
	assert_true(held_ms > now_ms && held_ms <= now_ms + 10);
	now_ms = held_ms;
	b = take_one();
	assert_true(a.seq == b.seq); /* still the first */
	assert_int_equal(b.attempts, 0);
	for (int i = 0; i < 20; i++) { /* longer, to a limit */
		OK(wc_async_busy(store, b.seq, 0, now_ms, &fault));
		held_ms = wc_async_next_due(store, 100);
		now_ms = held_ms;
		b = take_one();
		assert_int_equal(b.attempts, 0);
	}
	OK(wc_async_busy(store, b.seq, 0, now_ms, &fault));
	held_ms = wc_async_next_due(store, 100);
	assert_true(held_ms >= now_ms + 2500 && held_ms <= now_ms + 5000);
	now_ms = held_ms;
	b = take_one();
	OK(wc_async_succeed(store, b.seq, NULL, now_ms, &fault));
	OK(wc_async_busy(store, take_one().seq, 700, now_ms,
			 &fault)); /* after a success: short again, but as long as was said */
	assert_true(wc_async_next_due(store, 100) == now_ms + 700);
}

/* One that may run but once at a time is not asked for more and more: what is sent in vain costs writes. */
static void test_window(void **state)
{
	struct wc_async_job *jobs;
	size_t count, busy = 0;

	(void)state;
	OK(wc_async_store_begin(store, &fault));
	for (uint32_t i = 0; i < 300; i++)
		OK(accept_one(i, "once"));
	OK(wc_async_store_commit(store, &fault));
	while (counters().succeeded < 300) {
		count = take(1000, 64, &jobs);
		if (!count)
			now_ms = wc_async_next_due(store, 64);
		OK(wc_async_store_begin(store, &fault));
		for (size_t i = 0; i < count; i++) {
			if (!i)
				OK(wc_async_succeed(store, jobs[i].head.seq, NULL, now_ms, &fault));
			else
				OK(wc_async_busy(store, jobs[i].head.seq, 0, now_ms, &fault));
			busy += i != 0;
		}
		OK(wc_async_store_commit(store, &fault));
		free_jobs(jobs, count);
	}
	assert_true(busy < 600); /* 18,000 without */

	/* And one that may run freely again gets there. */
	OK(wc_async_store_begin(store, &fault));
	for (uint32_t i = 0; i < 1000; i++)
		OK(accept_one(i, "once"));
	OK(wc_async_store_commit(store, &fault));
	do {
		count = take(1000, 64, &jobs);
		OK(wc_async_store_begin(store, &fault));
		for (size_t i = 0; i < count; i++)
			OK(wc_async_succeed(store, jobs[i].head.seq, NULL, now_ms, &fault));
		OK(wc_async_store_commit(store, &fault));
		free_jobs(jobs, count);
	} while (count && count < 64);
	assert_int_equal(count, 64);
}

static void test_fairness(void **state)
{
	struct wc_async_job *jobs;
	uint32_t number = 0, of_c = 0;
	size_t count;

	(void)state;
	OK(wc_async_store_begin(store, &fault));
	for (int i = 0; i < 3000; i++)
		OK(accept_one(number++, "flood"));
	now_ms++;
	for (int i = 0; i < 5; i++) {
		OK(accept_one(number++, "b"));
		OK(accept_one(number++, "c"));
	}
	OK(wc_async_store_commit(store, &fault));
	/* Turns: of the first nine, three each. */
	count = take(9, 100, &jobs);
	assert_int_equal(count, 9);
	for (size_t i = 0; i < count; i++)
		of_c += !strcmp(jobs[i].head.function, "c");
	assert_int_equal(of_c, 3);
	free_jobs(jobs, count);
	/* And no more than so many of each. */
	count = take(100, 10, &jobs);
	assert_int_equal(count, 7 + 2 + 2);
	free_jobs(jobs, count);
	assert_true(wc_async_next_due(store, 10) > now_ms);
	assert_true(wc_async_next_due(store, 11) <= now_ms);
}

static void test_put_back_and_gone(void **state)
{
	struct wc_async_id id = id_of(1);
	struct wc_async_head head;
	struct wc_async_dead dead;

	(void)state;
	OK(accept_one(1, "f"));
	head = take_one();
	OK(wc_async_put_back(store, head.seq, now_ms, &fault));
	assert_true(take_one().seq == head.seq);
	OK(wc_async_gone(store, head.seq, now_ms, &fault));
	OK(wc_async_dead_show(store, &id, &dead, NULL, &fault));
	assert_int_equal(dead.reason, WC_ASYNC_REASON_REMOVED);
}

static void test_remove_function(void **state)
{
	struct wc_async_config config = { .function = "f", .age_s = 60, .retries = 1, .on_failure = "http://a/" };
	struct wc_async_head head;
	size_t count, total = 0;

	(void)state;
	OK(wc_async_config_put(store, &config, now_ms, &fault));
	OK(wc_async_store_begin(store, &fault));
	for (uint32_t i = 0; i < 2500; i++)
		OK(accept_one(i, "f"));
	OK(accept_one(9999, "g"));
	OK(wc_async_store_commit(store, &fault));
	head = take_one();
	if (strcmp(head.function, "f") != 0)
		head = take_one();
	do {
		OK(wc_async_remove_function(store, "f", now_ms, &count, &fault));
		total += count;
		assert_true(count <= WC_ASYNC_BATCH_MAX);
	} while (count == WC_ASYNC_BATCH_MAX);
	assert_int_equal(total, 2499);
	assert_int_equal(counters().dead[WC_ASYNC_REASON_REMOVED], 2499);
	assert_int_equal(counters().outbox_waiting, 2499);
	OK(wc_async_config_get(store, "f", "", &config, &fault));
	assert_true(config.modified_ms == 0);
	OK(wc_async_succeed(store, head.seq, NULL, now_ms, &fault)); /* it ran */
}

static void test_limits_rows(void **state)
{
	(void)state;
	options.rows_max = 5;
	options.function_rows_max = 3;
	reopen();
	for (uint32_t i = 0; i < 3; i++)
		OK(accept_one(i, "f"));
	FAILS(accept_one(3, "f"), EDQUOT, "limit for one function");
	OK(accept_one(4, "g"));
	OK(accept_one(5, "g"));
	FAILS(accept_one(6, "g"), EDQUOT, "5 asynchronous invocations are kept");
	assert_int_equal(counters().refused_full, 2);
	/* A dead letter takes room until it is purged. */
	for (int i = 0; i < 5; i++)
		OK(wc_async_gone(store, take_one().seq, now_ms, &fault));
	FAILS(accept_one(6, "g"), EDQUOT, "5 of them are dead letters");
	OK(wc_async_purge(store, &(struct wc_async_pick){ .last = INT64_MAX }, &(size_t){ 0 }, &fault));
	OK(accept_one(6, "g"));
	reopen();
	assert_int_equal(counters().waiting, 1);
}

static void test_limits_bytes(void **state)
{
	uint64_t bytes;

	(void)state;
	OK(accept_sized(1, "f", 1000));
	bytes = counters().bytes;
	options.bytes_max = 2 * bytes;
	reopen();
	assert_true(counters().bytes == bytes);
	FAILS(accept_sized(2, "f", 1001), EDQUOT, "which is the limit");
	OK(accept_sized(2, "f", 1000));
	FAILS(accept_sized(3, "f", 0), EDQUOT, "which is the limit");
	OK(wc_async_succeed(store, take_one().seq, NULL, now_ms, &fault));
	OK(accept_sized(3, "f", 0));
}

static void test_requests(void **state)
{
	char context[WC_ASYNC_CONTEXT_MAX + 1], trace[WC_ASYNC_TRACE_MAX + 1];
	struct wc_async_request request = { .id = id_of(7), .function = "f" };
	struct wc_async_head head;
	size_t count;

	(void)state;
	OK(accept_sized(1, "f", WC_ASYNC_PAYLOAD_MAX));
	FAILS(accept_sized(2, "f", WC_ASYNC_PAYLOAD_MAX + 1), EMSGSIZE, "at most 262144 bytes");
	FAILS(accept_one(2, "no such/name"), EINVAL, "name");
	memset(context, 'c', sizeof(context));
	context[WC_ASYNC_CONTEXT_MAX] = 0;
	request.client_context = context;
	FAILS(wc_async_accept(store, &request, now_ms, &fault), EMSGSIZE, "client context");
	context[WC_ASYNC_CONTEXT_MAX - 1] = 0;
	context[7] = '\n';
	FAILS(wc_async_accept(store, &request, now_ms, &fault), EINVAL, "no header");
	context[7] = 'c';
	memset(trace, 't', sizeof(trace));
	trace[WC_ASYNC_TRACE_MAX] = 0;
	request.trace = trace;
	FAILS(wc_async_accept(store, &request, now_ms, &fault), EMSGSIZE, "trace");
	trace[WC_ASYNC_TRACE_MAX - 1] = 0;
	request.callback = "f";
	FAILS(wc_async_accept(store, &request, now_ms, &fault), EINVAL, "callback");
	request.callback = "http://a b/";
	FAILS(wc_async_accept(store, &request, now_ms, &fault), EINVAL, "URL");
	request.callback = "";
	request.qualifier = "a b";
	FAILS(wc_async_accept(store, &request, now_ms, &fault), EINVAL, "qualifier");
	request.qualifier = "";
	request.depth = WC_ASYNC_DEPTH_MAX + 1;
	FAILS(wc_async_accept(store, &request, now_ms, &fault), ELOOP, "loop");
	request.depth = WC_ASYNC_DEPTH_MAX;
	OK(wc_async_list(store, NULL, 0, 1, &head, &count, &fault));
	OK(wc_async_accept(store, &request, now_ms, &fault));
	assert_int_equal(counters().waiting, 2);
}

static void test_group(void **state)
{
	(void)state;
	OK(accept_one(1, "f"));
	OK(wc_async_store_begin(store, &fault));
	OK(accept_one(2, "f"));
	FAILS(accept_one(2, "f"), EEXIST, "before"); /* which harms no other */
	OK(accept_one(3, "h"));
	OK(wc_async_succeed(store, take_one().seq, NULL, now_ms, &fault));
	wc_async_store_rollback(store);
	assert_int_equal(counters().waiting, 1);
	assert_int_equal(counters().running, 0);
	assert_int_equal(counters().accepted, 1);
	assert_int_equal(counters().succeeded, 0);
	assert_int_equal(take_one().id.bytes[0], 1);
	OK(wc_async_store_begin(store, &fault));
	OK(accept_one(2, "f"));
	reopen(); /* without a commit */
	assert_int_equal(counters().waiting, 1);
}

static void test_clock_back(void **state)
{
	(void)state;
	OK(accept_one(1, "f"));
	OK(wc_async_fail(store, take_one().seq, &boom, now_ms, &fault));
	now_ms -= 365ULL * 86400 * 1000; /* while the gateway is down */
	reopen();
	take_one();
}

static void test_lists(void **state)
{
	struct wc_async_head heads[WC_ASYNC_PAGE_MAX + 1];
	int64_t after = 0;
	size_t count, total = 0;

	(void)state;
	OK(wc_async_store_begin(store, &fault));
	for (uint32_t i = 0; i < 250; i++)
		OK(accept_one(i, i % 5 ? "f" : "g"));
	OK(wc_async_store_commit(store, &fault));
	do {
		OK(wc_async_list(store, NULL, after, 1000, heads, &count, &fault));
		assert_true(count <= WC_ASYNC_PAGE_MAX);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(heads[i].id.bytes[0], (total + i) & 255);
		total += count;
		after = count ? heads[count - 1].seq : after;
	} while (count);
	assert_int_equal(total, 250);
	OK(wc_async_list(store, "g", 0, 1000, heads, &count, &fault));
	assert_int_equal(count, 50);
	OK(wc_async_list(store, "g", heads[9].seq, 3, heads, &count, &fault));
	assert_int_equal(count, 3);
	assert_int_equal(heads[0].id.bytes[0], 50);
	OK(wc_async_list(store, "nobody", 0, 3, heads, &count, &fault));
	assert_int_equal(count, 0);
}

static void test_config(void **state)
{
	struct wc_async_config config = {
		.function = "f", .retries = 0, .age_s = 60, .on_success = "g", .on_failure = "https://a/"
	};
	struct wc_async_config got, list[3];
	size_t count;

	(void)state;
	OK(wc_async_config_get(store, "f", "", &got, &fault));
	assert_int_equal(got.retries, 2);
	assert_int_equal(got.age_s, 21600);
	OK(wc_async_config_put(store, &config, now_ms, &fault));
	snprintf(config.qualifier, sizeof(config.qualifier), "live");
	config.retries = 1;
	OK(wc_async_config_put(store, &config, now_ms + 1, &fault));
	reopen();
	OK(wc_async_config_get(store, "f", "live", &got, &fault));
	assert_int_equal(got.retries, 1);
	OK(wc_async_config_get(store, "f", "other", &got, &fault)); /* falls back to the function's */
	assert_int_equal(got.retries, 0);
	assert_string_equal(got.on_success, "g");
	assert_string_equal(got.on_failure, "https://a/");
	snprintf(config.function, sizeof(config.function), "a");
	OK(wc_async_config_put(store, &config, now_ms, &fault));
	OK(wc_async_config_list(store, NULL, "", "", 2, list, &count, &fault));
	assert_int_equal(count, 2);
	assert_string_equal(list[0].function, "a");
	assert_string_equal(list[1].qualifier, "");
	OK(wc_async_config_list(store, NULL, list[1].function, list[1].qualifier, 2, list, &count, &fault));
	assert_int_equal(count, 1);
	assert_string_equal(list[0].qualifier, "live");
	OK(wc_async_config_list(store, "f", "", "", 3, list, &count, &fault));
	assert_int_equal(count, 2);
	OK(wc_async_config_delete(store, "f", "live", &fault));
	FAILS(wc_async_config_delete(store, "f", "live", &fault), ENOENT, "f:live");

	config.retries = 3;
	FAILS(wc_async_config_put(store, &config, now_ms, &fault), EINVAL, "retries");
	config.retries = 2;
	config.age_s = 59;
	FAILS(wc_async_config_put(store, &config, now_ms, &fault), EINVAL, "age");
	config.age_s = 21601;
	FAILS(wc_async_config_put(store, &config, now_ms, &fault), EINVAL, "age");
	config.age_s = 21600;
	snprintf(config.on_success, sizeof(config.on_success), "ftp://a");
	FAILS(wc_async_config_put(store, &config, now_ms, &fault), EINVAL, "destination");
}

static void test_config_limit(void **state)
{
	struct wc_async_config config = { .function = "f", .age_s = 60 };

	(void)state;
	OK(wc_async_store_begin(store, &fault));
	for (int i = 0; i < WC_ASYNC_CONFIGS_MAX; i++) {
		snprintf(config.qualifier, sizeof(config.qualifier), "q%d", i);
		OK(wc_async_config_put(store, &config, now_ms, &fault));
	}
	OK(wc_async_config_put(store, &config, now_ms, &fault)); /* a change is no new one */
	snprintf(config.qualifier, sizeof(config.qualifier), "more");
	FAILS(wc_async_config_put(store, &config, now_ms, &fault), EDQUOT, "limit");
	OK(wc_async_store_commit(store, &fault));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, async_setup, async_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_body_and_restart),
		TEST(test_success),
		TEST(test_retries),
		TEST(test_backoff_ends),
		TEST(test_expiry),
		TEST(test_busy),
		TEST(test_window),
		TEST(test_fairness),
		TEST(test_put_back_and_gone),
		TEST(test_remove_function),
		TEST(test_limits_rows),
		TEST(test_limits_bytes),
		TEST(test_requests),
		TEST(test_group),
		TEST(test_clock_back),
		TEST(test_lists),
		TEST(test_config),
		TEST(test_config_limit),
	};

	return cmocka_run_group_tests_name("async_store", tests, NULL, NULL);
}
