/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * claims.h - what a study claims, judged by what was measured.
 *
 * A claim is compared at every point: every cell of its left side, with the cell of its right side that has the same values of all axes that
 * neither side fixes. All cells of a repetition have the same seed and ran close together, so repetitions are compared in pairs: the
 * interval (stats.h) is of the differences left - right. A point holds when the whole interval is on the claimed side of 0, fails when it is
 * on the other, and is open otherwise, also when there are too few repetitions for 95 %. The claim holds when all points do, and does not
 * hold when one fails.
 */
#ifndef WC_STUDY_CLAIMS_H
#define WC_STUDY_CLAIMS_H

#include "tools/study/results.h"

enum verdict {
	VERDICT_HOLDS,
	VERDICT_FAILS,
	VERDICT_OPEN,
};
extern const char *const verdict_texts[]; /* "holds", "does not hold", "undecided" */

#define CLAIM_NO_CELL UINT32_MAX

struct claim_point {
	uint32_t left, right;			/* cells; right: CLAIM_NO_CELL when that side is a number */
	struct stats_interval a, b, difference; /* of left, of right with its factor, of both in pairs */
	enum verdict verdict;
};

/* The points of a claim: their number; up to `max` of them go into points. -EINVAL: there are none, or it is ambiguous, with a sentence. */
int claim_points(const struct study *study, const struct study_claim *claim, struct claim_point *points, uint32_t max,
		 struct wc_fault *fault);

/* Judge: points has STUDY_CELLS_MAX places. Returns the verdict, and how many points there are. */
enum verdict claim_judge(const struct study *study, const struct study_claim *claim, const struct results *results,
			 struct claim_point *points, uint32_t *ret_count);

#endif
