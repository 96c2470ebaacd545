// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_etcd_batch_real.c - many keys of a real etcd (user/etcd_batch.h), and leases, as the registry of a cluster has them; who leads is a record that is written again
 * and again. Skipped where there is no etcd in PATH (scripts/install-deps.sh --group test).
 *
 * mostly-waits
 */
#include "user/elect.h"
#include "user/etcd_batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/real_etcd.h"

#define LEADER "/warmcore/x/leader"
#define MARK "/warmcore/x/registry"
#define MANY 1000

static char above[WC_ELECT_BOUND_MAX], below[WC_ELECT_BOUND_MAX];
static int64_t leader_revision;

static void write_leader(struct wc_etcd *etcd, const char *name, uint64_t term, int written)
{
	char text[200];

	snprintf(text, sizeof(text),
		 "{\"name\":\"%s\",\"door\":\"192.0.2.1:1\",\"term\":%llu,\"before\":0,\"knows\":1,\"written\":%d}",
		 name, (unsigned long long)term, written);
	OK(wc_etcd_replace(etcd, LEADER, text, leader_revision, &value, 5000, &fault));
	leader_revision = value.revision;
}

static int commit(struct wc_etcd *etcd, const struct wc_etcd_change *changes, size_t count, int64_t *revision)
{
	struct wc_etcd_batch batch = { LEADER, above, below, MARK, "m", *revision, changes, count };

	return wc_etcd_commit(etcd, &batch, revision, 5000, &fault);
}

static const char *value_of(const json_t *items, const char *key)
{
	return json_string_value(json_object_get(json_object_get(items, key), "value"));
}

static json_t *list(struct wc_etcd *etcd)
{
	json_t *items = NULL;

	OK(wc_etcd_list(etcd, "/warmcore/x/", &items, 5000, &fault));
	return items;
}

static struct wc_etcd *begin(void)
{
	struct wc_etcd *etcd = begin_etcds(1, false);

	leader_revision = 0;
	write_leader(etcd, "s1", 77, 1);
	OK(wc_elect_bounds("s1", "192.0.2.1:1", 77, above, below));
	return etcd;
}

/* Only who leads writes, whatever number its record has by then; and only on top of what it knows. */
static void test_fence(void **state)
{
	struct wc_etcd *etcd = begin();
	struct wc_etcd_change one = { "/warmcore/x/a", "1", 0 }, gone = { "/warmcore/x/a", NULL, 0 };
	int64_t revision = 0, first, wrong = 1;
	json_t *items;

	(void)state;
	OK(commit(etcd, &one, 1, &revision));
	first = revision;
	assert_true(first > 0);
	write_leader(etcd, "s1", 77, 123456);
	one.value = "2";
	OK(commit(etcd, &one, 1, &revision));
	assert_true(revision > first);
	items = list(etcd);
	assert_string_equal(value_of(items, "a"), "2");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(items, "registry"), "revision")), revision);
	assert_int_equal(json_object_size(items), 3);
	json_decref(items);
	/* Late: another transaction came between. */
	one.value = "late";
	assert_int_equal(commit(etcd, &one, 1, &first), 1);
	assert_int_equal(commit(etcd, &one, 1, &wrong), 1);
	/* Another term, of whoever: longer and shorter numbers, and one that begins with the same digits. */
	for (unsigned i = 0; i < 5; i++) {
		static const uint64_t TERMS[] = { 78, 7, 777, 76, 1 };

		write_leader(etcd, "s1", TERMS[i], 1);
		assert_int_equal(commit(etcd, &one, 1, &revision), 1);
	}
	write_leader(etcd, "s2", 77, 1);
	assert_int_equal(commit(etcd, &one, 1, &revision), 1);
	write_leader(etcd, "s1", 77, 2);
	OK(commit(etcd, &gone, 1, &revision));
	items = list(etcd);
	assert_null(value_of(items, "a"));
	json_decref(items);
	/* No record at all: nobody leads. */
	OK(wc_etcd_remove(etcd, LEADER, leader_revision, &value, 5000, &fault));
	assert_int_equal(commit(etcd, &one, 1, &revision), 1);
	wc_etcd_close(etcd);
}

/* Several pages, several transactions; the longest of all; and keys of others beside ours. */
static void test_many(void **state)
{
	static char keys[MANY][40], longest[WC_ETCD_ITEM_MAX + 1], too_long[WC_ETCD_ITEM_MAX + 2];
	static struct wc_etcd_change changes[MANY];
	struct wc_etcd *etcd = begin();
	struct wc_etcd_change one = { "/warmcore/x/longest", longest, 0 };
	int64_t revision = 0;
	json_t *items;

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(keys[i], sizeof(keys[i]), "/warmcore/x/functions/f%u", i);
		changes[i] = (struct wc_etcd_change){ keys[i], keys[i], 0 };
	}
	for (unsigned i = 0; i < MANY; i += 100)
		OK(commit(etcd, changes + i, 100, &revision));
	OK(commit(etcd, changes, WC_ETCD_CHANGES_MAX, &revision));
	assert_int_equal(commit(etcd, changes, WC_ETCD_CHANGES_MAX + 1, &revision), -EMSGSIZE);
	memset(longest, 'v', WC_ETCD_ITEM_MAX);
	OK(commit(etcd, &one, 1, &revision));
	memset(too_long, 'v', WC_ETCD_ITEM_MAX + 1);
	one.value = too_long;
	assert_int_equal(commit(etcd, &one, 1, &revision), -EMSGSIZE);
	/* As many as a transaction may have, each as long as that leaves: etcd takes it. */
	for (unsigned i = 0; i < WC_ETCD_BATCH_BYTES / WC_ETCD_ITEM_MAX; i++)
		changes[i].value = longest;
	OK(commit(etcd, changes, WC_ETCD_BATCH_BYTES / WC_ETCD_ITEM_MAX, &revision));
	OK(wc_etcd_replace(etcd, "/warmcore/x0", "not below", 0, &value, 5000, &fault));
	OK(wc_etcd_replace(etcd, "/warmcore/y/functions/f", "not below", 0, &value, 5000, &fault));
	items = list(etcd);
	assert_int_equal(json_object_size(items), MANY + 3);
	assert_string_equal(value_of(items, "functions/f777"), keys[777]);
	assert_int_equal(strlen(value_of(items, "functions/f0")), WC_ETCD_ITEM_MAX);
	json_decref(items);
	wc_etcd_close(etcd);
}

static void test_lease(void **state)
{
	struct wc_etcd *etcd = begin();
	struct wc_etcd_change one = { "/warmcore/x/nodes/n1", "1", 0 };
	int64_t lease = 0, other = 0, revision = 0;
	uint64_t began;
	json_t *items;

	(void)state;
	OK(wc_etcd_grant(etcd, 2, &lease, 5000, &fault));
	OK(wc_etcd_grant(etcd, 60, &other, 5000, &fault));
	one.lease = lease;
	OK(commit(etcd, &one, 1, &revision));
	for (began = wc_now(); ms_since(began) < 4000; usleep(500000))
		OK(wc_etcd_keep(etcd, lease, 5000, &fault));
	items = list(etcd);
	assert_string_equal(value_of(items, "nodes/n1"), "1");
	json_decref(items);
	/* Nobody keeps it alive. */
	for (began = wc_now(); ms_since(began) < 20000; usleep(200000)) {
		items = list(etcd);
		if (!value_of(items, "nodes/n1"))
			break;
		json_decref(items);
	}
	assert_null(value_of(items, "nodes/n1"));
	json_decref(items);
	assert_int_equal(wc_etcd_keep(etcd, lease, 5000, &fault), 1);
	assert_true(commit(etcd, &one, 1, &revision) < 0); /* there is no such lease */
	one.lease = other;
	OK(commit(etcd, &one, 1, &revision));
	OK(wc_etcd_revoke(etcd, other, 5000, &fault));
	items = list(etcd);
	assert_null(value_of(items, "nodes/n1"));
	json_decref(items);
	wc_etcd_close(etcd);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, real_setup, real_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { REAL(test_fence), REAL(test_many), REAL(test_lease) };

	if (!have_etcd()) {
		puts("SKIP: no etcd in PATH: scripts/install-deps.sh --group test installs it");
		return 77;
	}
	own_network();
	signal(SIGPIPE, SIG_IGN); /* as the daemon */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
