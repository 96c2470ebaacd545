// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_study_file.c - the file of a study: what is taken, and every way to get it wrong with the sentence for each; the matrix and its order. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/study/claims.h"
#include "tools/study/study.h"

#define HEAD "study: s\ntitle: t\nquestion: q\nhypothesis: h\nsource: x\n"
#define PART "parts:\n  - name: a\n    engine: sim\n"
#define AXES                                                                                                           \
	PART "    axes:\n      policy: {sim.policy: [central, hash]}\n      load: {offered: [0.5, 0.7, 0.9]}\n"        \
	     "      kind:\n        one: {sim.cores: 4, sim.seed: 1}\n        two: {sim.cores: 8}\n"

static struct study study;

static void read_good(const char *text)
{
	struct wc_fault fault = { "" };

	if (study_read(&study, "F", text, strlen(text), &fault))
		fail_msg("refused: %s", fault.text);
}

static void test_wrong(void **state)
{
	static const struct {
		const char *text, *error;
	} table[] = {
		{ "", "F, line 1: there is nothing in this file" },
		{ "a: [", "F, line 2: this is not YAML" },
		{ "- a\n", "F, line 1: expected lines `name: value`" },
		{ HEAD, "F, line 1: 'parts' is missing" },
		{ "study: s\n", "F, line 1: 'title' is missing" },
		{ "study: S\ntitle: t\nquestion: q\nhypothesis: h\nsource: x\n" PART, "F, line 1: 'S' is no name" },
		{ HEAD "title: again\n", "F, line 6: 'title' is here twice" },
		{ HEAD "prats: 1\n", "F, line 6: there is no 'prats' here; did you mean 'parts'?" },
		{ HEAD "seed: -1\n" PART, "F, line 6: seed -1: expected a number from 0" },
		{ HEAD "repetitions: 101\n" PART, "F, line 6: repetitions 101: expected a number from 1 to 100" },
		{ HEAD "repetitions: 0\n" PART, "F, line 6: repetitions 0: expected a number from 1 to 100" },
		{ HEAD "repetitions: 5x\n" PART, "expected a number from 1 to 100" },
		{ HEAD "parts: 5\n", "F, line 6: 'parts' takes a list, not one value" },
		{ HEAD "parts: []\n", "F, line 6: expected 1 to 8 parts" },
		{ HEAD "parts:\n  - name: a\n", "F, line 7: 'engine' is missing" },
		{ HEAD "parts:\n  - name: a\n    engine: car\n", "F, line 8: engine car: expected node, sim or echo" },
		{ HEAD PART "  - name: a\n    engine: sim\n", "F, line 9: there are two parts 'a'" },
		{ HEAD PART "    set: {up.cores: 1}\n",
		  "F, line 9: 'up.cores': settings of this engine begin with sim." },
		{ HEAD PART "    set: {offered: 0}\n", "offered 0: expected a part of the cores' time" },
		{ HEAD PART "    set: {offered: nan}\n", "offered nan: expected a part of the cores' time" },
		{ HEAD PART "    set: {sim.cores: }\n", "'sim.cores' has no value" },
		{ HEAD PART "    set: {sim.cores: &a 5}\n", "anchors (&), aliases (*) and tags (!) are not taken" },
		{ HEAD PART "    axes: {load: {offered: []}}\n", "the axis 'load' has 0 values; expected 1 to 32" },
		{ HEAD PART "    axes: {load: {offered: [0.5, 0.5]}}\n", "the axis 'load' has the value 0.5 twice" },
		{ HEAD PART "    axes: {part: {offered: [0.5]}}\n", "an axis cannot be called 'part'" },
		{ HEAD PART "    axes: {load: {a b: {offered: 1}}}\n", "leave out blanks" },
		{ HEAD PART "    axes: {load: 5}\n", "'load' takes a mapping, not one value" },
		{ HEAD "parts:\n  - name: a\n    engine: echo\n    set: {echo.speed: 1}\n",
		  "there is no 'echo.speed'" },
		{ HEAD "parts:\n  - name: floor\n    engine: node\n", "'floor' is the name of the part that is added" },
		{ HEAD AXES "claims:\n  - text: c\n", "F, line 16: 'that' is missing" },
		{ HEAD AXES "claims:\n  - text: c\n    that: 5 < slowdown_p99()\n", "the left side is a number" },
		{ HEAD AXES "claims:\n  - text: c\n    that: slowdown_p98() < 5\n",
		  "F, line 17: there is no metric 'slowdown_p98'; did you mean 'slowdown_p9" },
		{ HEAD AXES "claims:\n  - text: c\n    that: slowdown_p99() 5\n", "expected <, <=, > or >= at \"5\"" },
		{ HEAD AXES "claims:\n  - text: c\n    that: slowdown_p99( < 5\n",
		  "expected the name of an axis at \"< 5\"" },
		{ HEAD AXES "claims:\n  - text: c\n    that: slowdown_p99(colour=red) < 5\n",
		  "no part has an axis 'colour'" },
		{ HEAD AXES "claims:\n  - text: c\n    that: slowdown_p99(policy=blue) < 5\n",
		  "no cell of the matrix is meant" },
		{ HEAD AXES "claims:\n  - text: c\n    that: slowdown_p99() < 5 at policy > central\n",
		  "central is no number to compare with" },
		{ HEAD AXES "claims:\n  - text: c\n    that: slowdown_p99() < 5 then\n",
		  "expected `at`, or nothing more" },
		{ HEAD AXES "plots:\n  - title: p\n    y: slowdown_p99\n    x: colour\n",
		  "no part has an axis 'colour'" },
		{ HEAD AXES "plots:\n  - title: p\n    y: slowness\n    x: load\n", "there is no metric 'slowness'" },
		{ HEAD AXES "plots:\n  - title: p\n    y: slowdown_p99\n    x: load\n    scale: cubic\n",
		  "scale cubic: expected log or linear" },
		{ HEAD PART "---\na: b\n", "a second document begins here" },
		{ HEAD "limits: [\"a\\x1b[31m\"]\n" PART, "has a control character in it" },
		{ "a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}\n", "this is nested too deeply" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct wc_fault fault = { "" };

		if (!study_read(&study, "F", table[i].text, strlen(table[i].text), &fault))
			fail_msg("taken:\n%s", table[i].text);
		if (!strstr(fault.text, table[i].error))
			fail_msg("%s\nsays: %s\nand not: %s", table[i].text, fault.text, table[i].error);
	}
}

static void test_limits(void **state)
{
	char *text = malloc(TREE_FILE_MAX + 2), *at;
	struct wc_fault fault;

	(void)state;
	memset(text, '#', TREE_FILE_MAX + 1);
	assert_int_equal(study_read(&study, "F", text, TREE_FILE_MAX + 1, &fault), -EFBIG);
	at = text +
	     snprintf(text, 512, "%s", HEAD PART "    axes:\n"); /* 8^3 = 512 cells are all, 9 * 8 * 8 too many */
	for (int eighths = 8; eighths <= 9; eighths++) {
		char *to = at;

		for (int axis = 0; axis < 3; axis++) {
			to += snprintf(to, 64, "      %c: {sim.cores: [", 'a' + axis);
			for (int i = 0; i < (axis ? 8 : eighths); i++)
				to += snprintf(to, 64, "%s%d", i ? "," : "", i + 1);
			to += snprintf(to, 64, "]}\n");
		}
		assert_int_equal(study_read(&study, "F", text, (size_t)(to - text), &fault),
				 eighths == 8 ? 0 : -EINVAL);
		if (eighths == 8) {
			assert_int_equal(study.cells_count, STUDY_CELLS_MAX);
			study_free(&study);
		}
	}
	assert_non_null(strstr(fault.text, "more than 512 cells"));
	free(text);
}

static void test_cells(void **state)
{
	struct study_setting settings[STUDY_CELL_SETTINGS_MAX];
	char label[STUDY_LABEL_MAX];

	(void)state;
	read_good(HEAD "seed: 7\n" AXES);
	assert_int_equal(study.cells_count, 2 * 3 * 2);
	assert_int_equal(study.repetitions, 6);
	assert_int_equal(study.seed, 7);
	study_label(&study, 11, label, sizeof(label));
	assert_string_equal(label, "a: policy=hash load=0.9 kind=two");
	assert_string_equal(study_setting(&study, 11, "sim.policy"), "hash");
	assert_string_equal(study_setting(&study, 11, "offered"), "0.9");
	assert_string_equal(study_setting(&study, 10, "sim.cores"), "4");
	assert_null(study_setting(&study, 11, "sim.seed"));
	assert_int_equal(study_settings_of(&study, 10, settings), 4);
	assert_true(study_choice_of(&study, 0, "load")->number == 0.5);
	assert_true(isnan(study_choice_of(&study, 0, "policy")->number));
	study_free(&study);
}

/* What an axis sets wins over the part, and a node's study has a floor. */
static void test_parts(void **state)
{
	(void)state;
	read_good(HEAD "parts:\n  - name: n\n    engine: node\n    set: {up.cores: 1, up.policy: rss}\n"
		       "    axes: {policy: {up.policy: [central]}}\n");
	assert_int_equal(study.parts_count, 2);
	assert_string_equal(study.parts[1].name, STUDY_FLOOR);
	assert_int_equal(study.cells_count, 2);
	assert_string_equal(study_setting(&study, 0, "up.policy"), "central");
	assert_string_equal(study_setting(&study, 0, "up.cores"), "1");
	study_free(&study);
}

/* Every repetition has every cell once; the same seed the same order; no cell is early or late more often than chance allows. */
static void test_order(void **state)
{
	enum {
		CELLS = 12,
		ROUNDS = 6000
	};
	uint16_t order[CELLS], again[CELLS], other[CELLS];
	double places[CELLS] = { 0 };
	unsigned same = 0;

	(void)state;
	for (uint32_t r = 0; r < ROUNDS; r++) {
		bool seen[CELLS] = { false };

		study_order(CELLS, 5, r, order);
		study_order(CELLS, 5, r, again);
		study_order(CELLS, 6, r, other);
		assert_memory_equal(order, again, sizeof(order));
		same += !memcmp(order, other, sizeof(order));
		for (unsigned i = 0; i < CELLS; i++) {
			assert_in_range(order[i], 0, CELLS - 1);
			assert_false(seen[order[i]]);
			seen[order[i]] = true;
			places[order[i]] += i;
		}
	}
	assert_int_equal(same, 0);
	for (unsigned i = 0; i < CELLS; i++) /* mean 5.5, standard error 3.45 / sqrt(6000) = 0.045; the seed is fixed */
		assert_true(fabs(places[i] / ROUNDS - 5.5) < 0.2);
	assert_int_equal(study_seed(5, 1), study_seed(5, 1));
	assert_int_not_equal(study_seed(5, 1), study_seed(5, 2));
	assert_int_not_equal(study_seed(5, 1), study_seed(6, 1));
	assert_in_range(study_seed(5, 1), 0, 1ull << 53);
}

/* Which cells a claim compares with which. */
static void test_points(void **state)
{
	static struct claim_point points[STUDY_CELLS_MAX];
	struct wc_fault fault;
	int count;

	(void)state;
	read_good(
		HEAD AXES
		"claims:\n  - {text: c, that: slowdown_p99(policy=central) < 2 * slowdown_p99(policy=hash) at load >= 0.7}\n");
	count = claim_points(&study, &study.claims[0], points, STUDY_CELLS_MAX, &fault);
	assert_int_equal(count, 4); /* two loads, two kinds */
	for (int i = 0; i < count; i++) {
		assert_string_equal(study_choice_of(&study, points[i].left, "policy")->label, "central");
		assert_string_equal(study_choice_of(&study, points[i].right, "policy")->label, "hash");
		assert_ptr_equal(study_choice_of(&study, points[i].left, "load"),
				 study_choice_of(&study, points[i].right, "load"));
		assert_ptr_equal(study_choice_of(&study, points[i].left, "kind"),
				 study_choice_of(&study, points[i].right, "kind"));
		assert_true(study_choice_of(&study, points[i].left, "load")->number >= 0.7);
	}
	assert_true(study.claims[0].right.factor == 2);
	study_free(&study);
	/* part b has an axis that a has not, so a cell of a belongs to two of b */
	assert_int_equal(
		study_read(
			&study, "F",
			HEAD
			"parts:\n  - {name: a, engine: sim}\n  - {name: b, engine: sim, axes: {x: {sim.cores: [1, 2]}}}\n"
			"claims:\n  - {text: c, that: pace(part=a) < pace(part=b)}\n",
			strlen(HEAD
			       "parts:\n  - {name: a, engine: sim}\n  - {name: b, engine: sim, axes: {x: {sim.cores: [1, 2]}}}\n"
			       "claims:\n  - {text: c, that: pace(part=a) < pace(part=b)}\n"),
			&fault),
		-EINVAL);
	assert_non_null(strstr(fault.text, "say which"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong), cmocka_unit_test(test_limits), cmocka_unit_test(test_cells),
		cmocka_unit_test(test_parts), cmocka_unit_test(test_order),  cmocka_unit_test(test_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
