/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_elect.c - elections (user/elect.h) by a real etcd, three of them in one process. Each says from when to when it was allowed to lead; no two of these times may have
 * a moment in common, whatever becomes of etcd, of the record, or of their threads. Skipped where there is no etcd in PATH (scripts/install-deps.sh --group test).
 *
 * mostly-waits
 */
#include "user/elect.h"
#include "user/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/real_etcd.h"

#define CANDIDATES 3
#define LEASE (1500 * WC_MS) /* an etcd on a busy machine takes 300 ms now and then */
#define KEY "/warmcore/test/leader"
#define SPANS_MAX 256

struct span {
	uint64_t from, until;
	int candidate;
};

struct candidate {
	struct wc_elect *elect;
	int number;
	atomic_ullong term; /* while it leads */
	atomic_ullong before;
	atomic_uint won;
	atomic_ullong knows;
	atomic_bool hold; /* its thread is to stand still */
	int span;
};

static struct candidate candidates[CANDIDATES];
static struct span spans[SPANS_MAX];
static int span_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wc_etcd *etcd;

/* --- what they say --- */

static void won(void *context, uint64_t term, uint64_t before)
{
	struct candidate *candidate = context;

	atomic_store(&candidate->before, before);
	atomic_store(&candidate->term, term);
	atomic_fetch_add(&candidate->won, 1);
	pthread_mutex_lock(&lock);
	candidate->span = span_count < SPANS_MAX ? span_count++ : SPANS_MAX - 1;
	spans[candidate->span] = (struct span){ .from = wc_now(), .candidate = candidate->number };
	pthread_mutex_unlock(&lock);
}

static void renewed(void *context, uint64_t until)
{
	struct candidate *candidate = context;

	pthread_mutex_lock(&lock);
	spans[candidate->span].until = until;
	pthread_mutex_unlock(&lock);
}

static void lost(void *context)
{
	struct candidate *candidate = context;
	uint64_t now = wc_now();

	atomic_store(&candidate->term, 0);
	pthread_mutex_lock(&lock);
	if (spans[candidate->span].until > now)
		spans[candidate->span].until = now;
	pthread_mutex_unlock(&lock);
}

static uint64_t knows(void *context)
{
	const struct candidate *candidate = context;

	return atomic_load(&candidate->knows);
}

static atomic_uint late_ticks;

/* Whoever leads does things here, so it must not be called after the lease; but for a moment between two looks at the clock. */
static bool tick(void *context, uint64_t now)
{
	struct candidate *candidate = context;
	bool held = false;

	while (atomic_load(&candidate->hold)) {
		held = true;
		usleep(1000);
	}
	if (atomic_load(&candidate->term) && !held && now > spans[candidate->span].until + 20 * WC_MS)
		atomic_fetch_add(&late_ticks, 1);
	return false;
}

/* --- what the tests do with them --- */

static void begin_as(int number, const char *name)
{
	struct candidate *candidate = &candidates[number];
	struct wc_elect_plan plan = { .etcd = { .endpoints = etcds.endpoints },
				      .key = KEY,
				      .lease_ns = LEASE,
				      .won = won,
				      .renewed = renewed,
				      .lost = lost,
				      .knows = knows,
				      .tick = tick,
				      .context = candidate };

	candidate->number = number;
	snprintf(plan.name, sizeof(plan.name), "%s", name);
	snprintf(plan.door, sizeof(plan.door), "192.0.2.%d:1", number + 1);
	if (wc_elect_open(&candidate->elect, &plan, &fault) || wc_elect_start(candidate->elect, &fault))
		fail_msg("%s", fault.text);
}

static void begin(int number)
{
	char name[8];

	snprintf(name, sizeof(name), "s%d", number + 1);
	begin_as(number, name);
}

static void end(int number)
{
	wc_elect_stop(candidates[number].elect);
	wc_elect_close(candidates[number].elect);
	candidates[number].elect = NULL;
}

/* Who leads, -1: nobody. */
static int leader(void)
{
	for (int i = 0; i < CANDIDATES; i++)
		if (atomic_load(&candidates[i].term))
			return i;
	return -1;
}

/* Until another one than this leads; how long that took, in ms. */
static uint64_t await_other(int than)
{
	uint64_t began = wc_now();

	for (;;) {
		for (int i = 0; i < CANDIDATES; i++)
			if (i != than && atomic_load(&candidates[i].term))
				return ms_since(began);
		if (ms_since(began) > 20000)
			fail_msg("nobody leads");
		usleep(1000);
	}
}

static void check_spans(void)
{
	struct span all[SPANS_MAX];
	int count;

	/* A copy: who fails with the lock would hold up those that are told to stop then. */
	pthread_mutex_lock(&lock);
	memcpy(all, spans, sizeof(all));
	count = span_count;
	pthread_mutex_unlock(&lock);
	assert_true(count < SPANS_MAX);
	for (int i = 0; i < count; i++)
		for (int j = 0; j < i; j++)
			if (all[i].from < all[j].until && all[j].from < all[i].until)
				fail_msg("s%d led from %llu to %llu ms, s%d from 0 to %llu ms", all[i].candidate + 1,
					 (unsigned long long)((all[i].from - all[j].from) / WC_MS),
					 (unsigned long long)((all[i].until - all[j].from) / WC_MS),
					 all[j].candidate + 1,
					 (unsigned long long)((all[j].until - all[j].from) / WC_MS));
	assert_int_equal(late_ticks, 0);
}

static int setup(void **state)
{
	int error = real_setup(state);

	memset(candidates, 0, sizeof(candidates));
	span_count = 0;
	late_ticks = 0;
	etcd = error ? NULL : begin_etcds(1, false);
	return error;
}

static int teardown(void **state)
{
	if (etcds.all[0].pid > 0)
		kill(etcds.all[0].pid, SIGCONT);
	for (int i = 0; i < CANDIDATES; i++) {
		atomic_store(&candidates[i].hold, false);
		if (candidates[i].elect)
			end(i);
	}
	wc_etcd_close(etcd);
	return real_teardown(state);
}

static void begin_all(void)
{
	for (int i = 0; i < CANDIDATES; i++)
		begin(i);
	await_other(-1);
}

/* Until all know who leads: a record that comes and goes between two looks of somebody was never there for him. */
static void await_known(void)
{
	uint64_t began = wc_now(), term;
	struct wc_leader known;
	int one, know;

	do {
		one = leader();
		term = one < 0 ? 0 : candidates[one].term;
		know = 0;
		for (int i = 0; i < CANDIDATES; i++) {
			wc_elect_leader(candidates[i].elect, &known);
			know += term && known.term == term;
		}
		if (ms_since(began) > 20000)
			fail_msg("not all know who leads");
		usleep(1000);
	} while (know < CANDIDATES);
}

/* --- tests --- */

/* Who leads is told to stop: the next one need not wait. */
static void test_stop(void **state)
{
	int first, second;
	uint64_t term;

	(void)state;
	begin_all();
	first = leader();
	assert_int_equal(candidates[first].before, 0);
	term = candidates[first].term;
	end(first);
	assert_true(await_other(first) < LEASE / WC_MS);
	second = leader();
	assert_int_equal(candidates[second].before, term);
	end(second);
	assert_true(await_other(second) < LEASE / WC_MS);
	check_spans();
}

/* Nobody listens any more where it was. Its thread stands still, as if it had died. */
static void test_gone(void **state)
{
	uint64_t term;
	int dead;

	(void)state;
	begin_all();
	dead = leader();
	term = candidates[dead].term;
	for (int i = 0; i < CANDIDATES; i++)
		wc_elect_gone(candidates[i].elect, term + 2); /* somebody else */
	usleep(LEASE / 2 / WC_US);
	assert_int_equal(leader(), dead);
	atomic_store(&candidates[dead].hold, true);
	usleep(LEASE / 4 / WC_US); /* in which it is held */
	pthread_mutex_lock(&lock);
	spans[candidates[dead].span].until = wc_now();
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < CANDIDATES; i++)
		if (i != dead)
			wc_elect_gone(candidates[i].elect, term);
	assert_true(await_other(dead) < LEASE / 2 / WC_MS);
	for (int i = 0; i < CANDIDATES; i++)
		assert_true(i == dead || !candidates[i].term || candidates[i].before == term);
	check_spans();
}

/* Etcd stands still, for longer and shorter than a lease; and it dies, and comes back with what it had. */
static void test_etcd_away(void **state)
{
	static const unsigned away_ms[] = { 500, 1400, 1900, 3500, 1700, 1600 };

	(void)state;
	begin_all();
	for (size_t i = 0; i < sizeof(away_ms) / sizeof(away_ms[0]); i++) {
		stop_member(&etcds.all[0]);
		usleep(away_ms[i] * 1000);
		if (away_ms[i] > 2 * LEASE / WC_MS)
			assert_int_equal(leader(), -1);
		kill(etcds.all[0].pid, SIGCONT);
		usleep(away_ms[i] % 1000 * 1000);
		await_other(-1);
	}
	end_member(&etcds.all[0]);
	usleep(2 * LEASE / WC_US);
	assert_int_equal(leader(), -1);
	begin_member(&etcds, &etcds.all[0]);
	await_other(-1);
	check_spans();
}

/* The thread of who leads is held up: another one leads, and it has given up when it goes on. */
static void test_held_up(void **state)
{
	(void)state;
	begin_all();
	for (int i = 0; i < 3; i++) {
		int held = leader();

		atomic_store(&candidates[held].hold, true);
		await_other(held);
		atomic_store(&candidates[held].hold, false);
		usleep(LEASE / WC_US);
		assert_int_equal(candidates[held].term, 0);
	}
	check_spans();
}

static void put(const char *text)
{
	int code;

	do {
		OK(wc_etcd_get(etcd, KEY, &value, 5000, &fault));
		code = text ? wc_etcd_replace(etcd, KEY, text, value.revision, &value, 5000, &fault) :
			      wc_etcd_remove(etcd, KEY, value.revision, &value, 5000, &fault);
	} while (code == 1);
	assert_int_equal(code, 0);
}

/* The record is gone (an etcd that has lost its data), or was never one: a leader goes on, and the others do not take it for an end of its lease. */
static void test_record(void **state)
{
	static char longest[WC_ETCD_VALUE_MAX + 1];
	static const char *const texts[] = {
		NULL,
		"",
		"{}",
		"[1]",
		"null",
		"\"\xff\"",
		"{\"name\":\"s9\",\"door\":\"192.0.2.9:1\",\"term\":-1}",
		"{\"name\":\"s9\",\"door\":\"192.0.2.9:1\",\"term\":\"1\"}",
		"{\"name\":\"s9\",\"door\":\"192.0.2.9:1\",\"term\":99999999999999999999}",
		"{\"name\":\"s1\",\"term\":7}",
		"{\"name\":1,\"door\":2,\"term\":7}",
		"{\"name\":"
		"\"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\",\"door\":\"a:1\",\"term\":7}",
		longest,
	};
	unsigned kept = 0;
	int one;

	(void)state;
	memset(longest, '[', WC_ETCD_VALUE_MAX);
	begin_all();
	await_known();
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		one = leader();
		put(texts[i]);
		usleep(LEASE / 2 / WC_US);
		kept += leader() == one;
	}
	assert_true(kept > sizeof(texts) / sizeof(texts[0]) / 2); /* unless etcd was slow */
	/* Of somebody who is not there; and of the one that leads, which did not write it. */
	put("{\"name\":\"s9\",\"door\":\"192.0.2.9:1\",\"term\":77}");
	usleep(LEASE / 2 / WC_US);
	assert_int_equal(leader(), -1);
	await_other(-1);
	one = leader();
	snprintf(longest, sizeof(longest), "{\"name\":\"s%d\",\"door\":\"192.0.2.%d:1\",\"term\":77}", one + 1,
		 one + 1);
	put(longest);
	usleep(LEASE / 2 / WC_US);
	await_other(-1);
	check_spans();
}

/* The first one finds none. It waits: perhaps there is a leader, and etcd has lost its data. And none was left by one who was told to stop. */
static void test_first(void **state)
{
	(void)state;
	begin(0);
	assert_true(await_other(-1) > LEASE / WC_MS);
	end(0);
	begin(1);
	assert_true(await_other(-1) < LEASE / WC_MS);
	check_spans();
}

/* Of two others the one that knows less does not lead next, but when it is alone. */
static void test_knows_less(void **state)
{
	(void)state;
	atomic_store(&candidates[0].knows, 5);
	atomic_store(&candidates[2].knows, 6);
	begin(0);
	await_other(-1);
	begin(1);
	usleep(LEASE / 2 / WC_US);
	begin(2);
	usleep(LEASE / 2 / WC_US);
	end(0);
	await_other(0);
	assert_int_equal(leader(), 2);
	end(2);
	await_other(2);
	assert_int_equal(leader(), 1);
	check_spans();
}

/* Two hosts have one name, by a mistake: each takes the other for another one, not for itself before. */
static void test_one_name(void **state)
{
	unsigned count;

	(void)state;
	begin_as(0, "twin");
	begin_as(1, "twin");
	await_other(-1);
	usleep(LEASE / WC_US);
	count = candidates[0].won + candidates[1].won;
	usleep(4 * LEASE / WC_US);
	assert_int_equal(candidates[0].won + candidates[1].won, count);
	check_spans();
}

#define ELECT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { ELECT(test_stop),	  ELECT(test_gone),	 ELECT(test_etcd_away),
					    ELECT(test_held_up),  ELECT(test_record),	 ELECT(test_first),
					    ELECT(test_one_name), ELECT(test_knows_less) };

	if (!have_etcd()) {
		puts("SKIP: no etcd in PATH: scripts/install-deps.sh --group test installs it");
		return 77;
	}
	own_network();
	signal(SIGPIPE, SIG_IGN); /* as the daemon */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
