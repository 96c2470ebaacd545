/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_cluster_protocol.c - what the ends of a cluster's session agree on (user/cluster_protocol.h), and who is shown as refused (user/members_refused.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "user/cluster_protocol.h"
#include "user/members_refused.h"

static struct wc_fault fault;

static json_t *parse(const char *text)
{
	json_t *object = json_loads(text, 0, NULL);

	assert_non_null(object);
	return object;
}

static int agree(uint32_t first, uint32_t last, const char *theirs, struct wc_speaks *ret)
{
	const struct wc_speaks own = { first, last, WC_FEATURE_COUNTS };
	json_t *said = theirs ? parse(theirs) : NULL;
	int error = wc_speaks_agree(&own, said, ret, &fault);

	json_decref(said);
	return error;
}

/* The highest common version, whatever the two ranges; or none, and then they have none in common. The same from both ends. */
static void test_ranges(void **state)
{
	(void)state;
	for (uint32_t a = 1; a < 7; a++)
		for (uint32_t b = a; b < 7; b++)
			for (uint32_t c = 1; c < 7; c++)
				for (uint32_t d = c; d < 7; d++) {
					struct wc_speaks other = { c, d, 0 }, here = { 0 }, there = { 0 };
					json_t *answer, *said = wc_speaks_json(&other);
					uint32_t common = 0;
					int error =
						wc_speaks_agree(&(struct wc_speaks){ a, b, 0 }, said, &here, &fault);

					for (uint32_t v = 1; v < 7; v++)
						if (v >= a && v <= b && v >= c && v <= d)
							common = v;
					json_decref(said);
					assert_int_equal(error, common ? 0 : -EPROTONOSUPPORT);
					assert_int_equal(here.last, common);
					if (error)
						continue;
					answer = json_pack("{s:i}", "protocol", (int)here.last);
					assert_int_equal(wc_speaks_accept(&other, answer, &there, &fault), 0);
					assert_int_equal(there.last, common);
					json_decref(answer);
				}
}

static void test_silent(void **state)
{
	struct wc_speaks agreed;
	json_t *answer = parse("{\"ok\":true}");

	(void)state;
	assert_int_equal(agree(1, 2, NULL, &agreed), 0);
	assert_int_equal(agreed.last, WC_PROTOCOL_SILENT);
	assert_int_equal(agreed.features, 0);
	assert_int_equal(agree(2, 3, NULL, &agreed), -EPROTONOSUPPORT);
	assert_string_equal(
		fault.text,
		"the node speaks protocol 1 of the cluster, its scheduler 2 to 3: upgrade the node, if need be by way of a version that speaks both");
	assert_int_equal(wc_speaks_accept(&(struct wc_speaks){ 1, 2, 1 }, answer, &agreed, &fault), 0);
	assert_int_equal(agreed.last, WC_PROTOCOL_SILENT);
	assert_int_equal(agreed.features, 0);
	assert_int_equal(wc_speaks_accept(&(struct wc_speaks){ 2, 3, 1 }, answer, &agreed, &fault), -EPROTONOSUPPORT);
	assert_non_null(strstr(fault.text, "upgrade the scheduler"));
	json_decref(answer);
}

static void test_features(void **state)
{
	struct wc_speaks agreed;

	(void)state;
	assert_int_equal(
		agree(1, 2,
		      "{\"first\":1,\"last\":9,\"features\":[\"teleport\",7,null,\"counts\",\"counts\"],\"more\":{}}",
		      &agreed),
		0);
	assert_int_equal(agreed.last, 2);
	assert_int_equal(agreed.features, WC_FEATURE_COUNTS);
	assert_int_equal(agree(1, 2, "{\"first\":1,\"last\":2,\"features\":\"counts\"}", &agreed), 0);
	assert_int_equal(agreed.features, 0);
	assert_int_equal(agree(1, 2, "{\"first\":1,\"last\":2}", &agreed), 0);
	assert_int_equal(agreed.features, 0);
}

static void test_nonsense(void **state)
{
	static const char *const wrong[] = { "{}",
					     "[]",
					     "{\"first\":0,\"last\":2}",
					     "{\"first\":3,\"last\":2}",
					     "{\"first\":1,\"last\":\"2\"}",
					     "{\"first\":-1,\"last\":2}",
					     "{\"first\":1,\"last\":4294967297}" };
	static const char *const answers[] = { "{\"protocol\":0}", "{\"protocol\":\"2\"}", "{\"protocol\":-1}",
					       "{\"protocol\":4294967298}" };
	struct wc_speaks agreed;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(agree(1, 2, wrong[i], &agreed), -EINVAL);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		json_t *answer = parse(answers[i]);

		assert_int_equal(wc_speaks_accept(&wc_speaks_here, answer, &agreed, &fault), -EINVAL);
		json_decref(answer);
	}
}

static struct wc_refusals refusals;

static size_t shown(uint64_t now)
{
	json_t *list = wc_refused_json(&refusals, now);
	size_t count = json_array_size(list);

	json_decref(list);
	return count;
}

/* One entry for each name, the last ones, for a while. */
static void test_refused(void **state)
{
	const uint64_t start = 1000 * WC_REFUSED_NS;
	char name[16];

	(void)state;
	assert_int_equal(shown(start), 0);
	for (int i = 0; i < 5; i++)
		wc_refused_note(&refusals, "n1", NULL, "why", start + (uint64_t)i);
	assert_int_equal(shown(start + 10), 1);
	assert_int_equal(refusals.at[0].tries, 5);
	wc_refused_note(&refusals, "n1", "192.0.2.1", "another", start + 11);
	assert_int_equal(refusals.at[0].tries, 1);
	wc_refused_forget(&refusals, "n2");
	assert_int_equal(shown(start + 12), 1);
	wc_refused_forget(&refusals, "n1");
	assert_int_equal(shown(start + 12), 0);
	for (int i = 0; i < 3 * WC_REFUSED_MAX; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		wc_refused_note(&refusals, name, NULL, "why", start + 20 + (uint64_t)i);
	}
	assert_int_equal(shown(start + 100), WC_REFUSED_MAX);
	for (int i = 0; i < WC_REFUSED_MAX; i++)
		assert_true(refusals.at[i].last_ns >= start + 20 + 2 * WC_REFUSED_MAX);
	assert_int_equal(shown(start + 100 + WC_REFUSED_NS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),	 cmocka_unit_test(test_silent),	 cmocka_unit_test(test_features),
		cmocka_unit_test(test_nonsense), cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
