// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* claims.c - see claims.h. */
#include "tools/study/claims.h"

#include <math.h>
#include <string.h>

const char *const verdict_texts[] = { "holds", "does not hold", "undecided" };

static bool mentions(const struct study_selects *selects, const char *name)
{
	for (uint32_t i = 0; i < selects->count; i++)
		if (!strcmp(selects->list[i].name, name))
			return true;
	return false;
}

/* Does the cell of the right side belong to that of the left one? Same part unless it says another; same values where it says nothing. */
static bool belongs(const struct study *study, const struct study_claim *claim, uint32_t left, uint32_t right)
{
	const struct study_part *part = &study->parts[study->cells[left].part];

	if (!mentions(&claim->right.where, "part") && study->cells[left].part != study->cells[right].part)
		return false;
	for (uint32_t a = 0; a < part->axes_count; a++) {
		const char *name = part->axes[a].name;
		const struct study_choice *here = study_choice_of(study, left, name);
		const struct study_choice *there = study_choice_of(study, right, name);

		if (there && !mentions(&claim->right.where, name) && strcmp(here->label, there->label) != 0)
			return false;
	}
	return true;
}

static int find_right(const struct study *study, const struct study_claim *claim, uint32_t left, uint32_t *ret_right,
		      struct wc_fault *fault)
{
	char labels[3][STUDY_LABEL_MAX];

	*ret_right = CLAIM_NO_CELL;
	for (uint32_t cell = 0; cell < study->cells_count; cell++) {
		if (!study_selected(study, cell, &claim->right.where) || !belongs(study, claim, left, cell))
			continue;
		if (*ret_right != CLAIM_NO_CELL) {
			study_label(study, left, labels[0], sizeof(labels[0]));
			study_label(study, *ret_right, labels[1], sizeof(labels[1]));
			study_label(study, cell, labels[2], sizeof(labels[2]));
			return wc_fail(fault, EINVAL,
				       "for \"%.90s\" on the left there are \"%.90s\" and \"%.90s\" on the right; "
				       "say which",
				       labels[0], labels[1], labels[2]);
		}
		*ret_right = cell;
	}
	return 0;
}

int claim_points(const struct study *study, const struct study_claim *claim, struct claim_point *points, uint32_t max,
		 struct wc_fault *fault)
{
	uint32_t count = 0, right = CLAIM_NO_CELL;

	for (uint32_t cell = 0; cell < study->cells_count; cell++) {
		bool in = study_selected(study, cell, &claim->left.where) && study_selected(study, cell, &claim->at);

		/* Without a part it is of those that have all axes that it names: the echo has no policy. */
		for (uint32_t i = 0; i < claim->left.where.count && in; i++)
			in = !strcmp(claim->left.where.list[i].name, "part") ||
			     study_choice_of(study, cell, claim->left.where.list[i].name);
		for (uint32_t i = 0; i < claim->at.count && in; i++)
			in = !strcmp(claim->at.list[i].name, "part") ||
			     study_choice_of(study, cell, claim->at.list[i].name);
		if (!in)
			continue;
		if (!claim->right.constant && find_right(study, claim, cell, &right, fault))
			return -EINVAL;
		if (!claim->right.constant && right == CLAIM_NO_CELL)
			continue;
		if (count < max)
			points[count] = (struct claim_point){ .left = cell, .right = right };
		count++;
	}
	if (!count)
		return wc_fail(fault, EINVAL, "no cell of the matrix is meant by this");
	return (int)count;
}

/* By the interval of left - right. */
static enum verdict judge(const struct stats_interval *difference, enum study_relation relation)
{
	double low = difference->low, high = difference->high;

	if (!difference->count || difference->coverage < STATS_CONFIDENCE)
		return VERDICT_OPEN;
	switch (relation) {
	case STUDY_LESS:
		return high < 0 ? VERDICT_HOLDS : low >= 0 ? VERDICT_FAILS : VERDICT_OPEN;
	case STUDY_AT_MOST:
		return high <= 0 ? VERDICT_HOLDS : low > 0 ? VERDICT_FAILS : VERDICT_OPEN;
	case STUDY_MORE:
		return low > 0 ? VERDICT_HOLDS : high <= 0 ? VERDICT_FAILS : VERDICT_OPEN;
	case STUDY_AT_LEAST:
		return low >= 0 ? VERDICT_HOLDS : high < 0 ? VERDICT_FAILS : VERDICT_OPEN;
	case STUDY_EQUAL:
		break;
	}
	return VERDICT_OPEN;
}

static void judge_point(const struct study_claim *claim, const struct results *results, struct claim_point *point)
{
	double left[STUDY_REPETITIONS_MAX], right[STUDY_REPETITIONS_MAX], difference[STUDY_REPETITIONS_MAX];
	uint32_t count = results_values(results, point->left, claim->left.metric, left);

	if (point->right != CLAIM_NO_CELL)
		results_values(results, point->right, claim->right.metric, right);
	for (uint32_t r = 0; r < count; r++) {
		left[r] *= claim->left.factor;
		right[r] = point->right == CLAIM_NO_CELL ? claim->right.factor : right[r] * claim->right.factor;
		/* Two that never answered do not differ. */
		difference[r] = isinf(left[r]) && left[r] == right[r] ? 0 : left[r] - right[r];
	}
	stats_median(left, count, &point->a);
	stats_median(right, count, &point->b);
	stats_median(difference, count, &point->difference);
	point->verdict = judge(&point->difference, claim->relation);
}

enum verdict claim_judge(const struct study *study, const struct study_claim *claim, const struct results *results,
			 struct claim_point *points, uint32_t *ret_count)
{
	enum verdict verdict = VERDICT_HOLDS;
	struct wc_fault fault;
	int count = claim_points(study, claim, points, STUDY_CELLS_MAX, &fault);

	*ret_count = count < 0 ? 0 : (uint32_t)count;
	for (uint32_t i = 0; i < *ret_count; i++) {
		judge_point(claim, results, &points[i]);
		if (points[i].verdict == VERDICT_FAILS)
			verdict = VERDICT_FAILS;
		else if (points[i].verdict == VERDICT_OPEN && verdict == VERDICT_HOLDS)
			verdict = VERDICT_OPEN;
	}
	return *ret_count ? verdict : VERDICT_OPEN;
}
