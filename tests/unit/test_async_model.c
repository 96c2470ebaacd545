/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_async_model.c - random operations on the store and on a model in memory that is too simple to be wrong: after each they agree
 * on what waits, runs, is dead and has to be delivered. ASYNC_MODEL_SEED and ASYNC_MODEL_STEPS choose other runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/async_fixture.h"

#define IDS 60
#define FUNCTIONS 4

enum what {
	NOWHERE,
	WAITING,
	RUNNING,
	DEAD
};

static struct entry {
	enum what what;
	uint32_t function, attempts;
	uint64_t expires_ms, due_ms; /* due: not before, as far as is known */
	int64_t seq;
	bool callback;
} model[IDS], saved[IDS];

static uint32_t sends, saved_sends; /* deliveries that wait or run */
static uint64_t state_of_random;

static uint32_t draw(uint32_t below)
{
	state_of_random = state_of_random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(state_of_random >> 33) % below;
}

static const char *function_name(uint32_t number)
{
	static const char *const names[FUNCTIONS] = { "a", "b", "never-retried", "with-destinations" };

	return names[number];
}

static uint32_t retries_of(uint32_t function)
{
	return function == 2 ? 0 : 2;
}

static uint64_t age_ms_of(uint32_t function)
{
	return function == 1 ? 60000 : 21600000;
}

static void configure(void)
{
	struct wc_async_config config = { .age_s = 60, .retries = 2 };

	snprintf(config.function, sizeof(config.function), "%s", function_name(1));
	OK(wc_async_config_put(store, &config, now_ms, &fault));
	config.age_s = 21600;
	config.retries = 0;
	snprintf(config.function, sizeof(config.function), "%s", function_name(2));
	OK(wc_async_config_put(store, &config, now_ms, &fault));
	config.retries = 2;
	snprintf(config.function, sizeof(config.function), "%s", function_name(3));
	snprintf(config.on_success, sizeof(config.on_success), "a");
	snprintf(config.on_failure, sizeof(config.on_failure), "http://a/");
	OK(wc_async_config_put(store, &config, now_ms, &fault));
}

static void count_sends(const struct entry *entry)
{
	sends += (entry->function == 3) + entry->callback;
}

static void die(struct entry *entry)
{
	entry->what = DEAD;
	count_sends(entry);
}

static void expire(void)
{
	for (uint32_t i = 0; i < IDS; i++)
		if (model[i].what == WAITING && model[i].expires_ms <= now_ms)
			die(&model[i]);
}

static struct entry *find(enum what what)
{
	uint32_t start = draw(IDS);

	for (uint32_t i = 0; i < IDS; i++)
		if (model[(start + i) % IDS].what == what)
			return &model[(start + i) % IDS];
	return NULL;
}

static void do_accept(void)
{
	uint32_t number = draw(IDS);
	struct entry *entry = &model[number];
	uint32_t function = draw(FUNCTIONS);
	struct wc_async_request request = { .id = id_of(number),
					    .function = function_name(function),
					    .payload = "abc",
					    .payload_size = draw(4),
					    .callback = draw(4) ? NULL : "http://a/" };
	int error = wc_async_accept(store, &request, now_ms, &fault);

	assert_int_equal(error, entry->what == NOWHERE ? 0 : -EEXIST);
	if (error)
		return;
	*entry = (struct entry){ .what = WAITING,
				 .function = function,
				 .due_ms = now_ms,
				 .expires_ms = now_ms + age_ms_of(function),
				 .callback = request.callback != NULL };
}

static void do_take(void)
{
	struct wc_async_job *jobs;
	size_t count = take(1 + draw(5), 3, &jobs);

	for (size_t i = 0; i < count; i++) {
		uint32_t number;
		struct entry *entry;

		memcpy(&number, jobs[i].head.id.bytes, sizeof(number));
		assert_true(number < IDS);
		entry = &model[number];
		assert_int_equal(entry->what, WAITING);
		assert_true(entry->due_ms <= now_ms && entry->expires_ms > now_ms);
		assert_true(jobs[i].head.expires_ms == entry->expires_ms);
		assert_int_equal(jobs[i].head.attempts, entry->attempts);
		assert_string_equal(jobs[i].head.function, function_name(entry->function));
		entry->what = RUNNING;
		entry->seq = jobs[i].head.seq;
	}
	free_jobs(jobs, count);
	/* It may have found some that are too old, but does not look for all; this does. */
	OK(wc_async_tend(store, now_ms, &fault));
	expire();
}

static void do_end(void)
{
	static const struct wc_async_result boom = { .error = "boom" };
	struct entry *entry = find(RUNNING);

	if (!entry)
		return;
	switch (draw(6)) {
	case 0:
	case 1:
		OK(wc_async_succeed(store, entry->seq, NULL, now_ms, &fault));
		count_sends(entry);
		entry->what = NOWHERE;
		break;
	case 2:
		OK(wc_async_busy(store, entry->seq, draw(50), now_ms, &fault));
		entry->what = WAITING;
		break;
	case 3:
		OK(wc_async_gone(store, entry->seq, now_ms, &fault));
		die(entry);
		break;
	default:
		OK(wc_async_fail(store, entry->seq, &boom, now_ms, &fault));
		entry->attempts++;
		entry->due_ms = now_ms + (500ULL << entry->attempts); /* the earliest there may be */
		entry->what = WAITING;
		/* Near its end the jitter decides: ask. */
		if (entry->attempts > retries_of(entry->function) ||
		    entry->expires_ms <= now_ms + (1000ULL << entry->attempts)) {
			struct wc_async_id id = id_of((uint32_t)(entry - model));
			struct wc_async_head head;

			if (wc_async_show(store, &id, &head, NULL, &fault))
				die(entry);
			else
				assert_true(entry->attempts <= retries_of(entry->function));
		}
	}
}

static void do_dead(void)
{
	struct entry *entry = find(DEAD);
	struct wc_async_id id = id_of(entry ? (uint32_t)(entry - model) : draw(IDS));
	struct wc_async_pick pick = { .id = &id };
	bool redrive = draw(2);
	size_t count;

	if (!entry) {
		FAILS(wc_async_purge(store, &pick, &count, &fault), ENOENT, "no dead letter");
		return;
	}
	if (!redrive) {
		OK(wc_async_purge(store, &pick, &count, &fault));
		entry->what = NOWHERE;
		return;
	}
	OK(wc_async_redrive(store, &pick, now_ms, &count, &fault));
	entry->what = WAITING;
	entry->attempts = 0;
	entry->due_ms = now_ms;
	entry->expires_ms = now_ms + age_ms_of(entry->function);
}

static void do_deliver(void)
{
	struct wc_async_delivery *deliveries;
	size_t count;

	OK(wc_async_take_deliveries(store, 1 + draw(4), 4, now_ms, &deliveries, &count, &fault));
	for (size_t i = 0; i < count; i++) {
		if (draw(3)) {
			OK(wc_async_delivered(store, deliveries[i].number, &fault));
			sends--;
		} else {
			OK(wc_async_undelivered(store, deliveries[i].number, "no", true, now_ms, &fault));
		}
		wc_async_delivery_free(&deliveries[i]);
	}
	free(deliveries);
}

static void crash(void)
{
	close_store();
	for (uint32_t i = 0; i < IDS; i++)
		if (model[i].what == RUNNING)
			model[i].what = WAITING;
	open_store(); /* which also tends */
	expire();
}

static void agree(void)
{
	uint64_t count[4] = { 0 }, bytes = 0;
	struct wc_async_counters now = counters();

	for (uint32_t i = 0; i < IDS; i++)
		count[model[i].what]++;
	assert_true(now.waiting == count[WAITING] && now.running == count[RUNNING] && now.dead_letters == count[DEAD]);
	assert_int_equal(now.outbox_waiting + now.outbox_running + now.outbox_dead, sends);
	bytes = now.bytes;
	assert_int_equal(bytes == 0, count[WAITING] + count[RUNNING] + count[DEAD] + sends == 0);
	/* Each, some of the time. */
	for (uint32_t i = 0; i < IDS && !draw(20); i++) {
		struct wc_async_id id = id_of(i);
		struct wc_async_head head;
		struct wc_async_dead dead;
		struct wc_async_body body;
		bool alive = model[i].what == WAITING || model[i].what == RUNNING;

		if (!wc_async_show(store, &id, &head, &body, &fault)) {
			assert_true(alive);
			assert_int_equal(head.state == WC_ASYNC_STATE_RUNNING, model[i].what == RUNNING);
			assert_int_equal(head.attempts, model[i].attempts);
			wc_async_body_free(&body);
		} else {
			assert_false(alive);
		}
		if (!wc_async_dead_show(store, &id, &dead, &body, &fault)) {
			assert_int_equal(model[i].what, DEAD);
			wc_async_body_free(&body);
		} else {
			assert_int_not_equal(model[i].what, DEAD);
		}
	}
}

static void do_something(void)
{
	switch (draw(8)) {
	case 0:
	case 1:
		do_accept();
		break;
	case 2:
		do_take();
		break;
	case 3:
	case 4:
		do_end();
		break;
	case 5:
		do_deliver();
		break;
	case 6:
		do_dead();
		break;
	default:
		now_ms += draw(2) ? draw(2000) : draw(40000);
		OK(wc_async_tend(store, now_ms, &fault));
		expire();
	}
}

/* Some at once, kept or taken back. */
static void do_group(void)
{
	uint64_t saved_ms = now_ms;

	memcpy(saved, model, sizeof(model));
	saved_sends = sends;
	OK(wc_async_store_begin(store, &fault));
	for (uint32_t i = draw(10); i > 0; i--)
		do_something();
	if (draw(2)) {
		OK(wc_async_store_commit(store, &fault));
		return;
	}
	wc_async_store_rollback(store);
	memcpy(model, saved, sizeof(model));
	sends = saved_sends;
	now_ms = saved_ms;
	OK(wc_async_tend(store, now_ms, &fault));
	expire();
}

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

static void test_model(void **state)
{
	unsigned long seed = from_environment("ASYNC_MODEL_SEED", 1),
		      steps = from_environment("ASYNC_MODEL_STEPS", 4000);
	uint32_t ends = 0;

	(void)state;
	options.delivery_attempts_max = 1000000; /* so that the number of deliveries is known */
	options.delivery_age_s = 4000000000U;
	options.dead_age_s = 0;
	options.backoff_min_ms = 1000;
	reopen();
	state_of_random = seed;
	configure();
	print_message("seed %lu, %lu steps\n", seed, steps);
	for (unsigned long i = 0; i < steps; i++) {
		if (!draw(200))
			crash();
		else if (!draw(20))
			do_group();
		else
			do_something();
		agree();
		ends += model[draw(IDS)].what == DEAD;
	}
	assert_true(ends > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_model, async_setup, async_teardown),
	};

	return cmocka_run_group_tests_name("async_model", tests, NULL, NULL);
}
