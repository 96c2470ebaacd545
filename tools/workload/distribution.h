/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * distribution.h - how long things take: a family with its parameters, read from text, with its mean and its variance in closed form and a
 * sampler. Times are in ns.
 *
 *     fixed:TIME                       always the same
 *     exp:MEAN                         exponential
 *     uniform:FROM,TO
 *     bimodal:SHORT,LONG,SHARE         LONG with probability SHARE (0 to 1), else SHORT
 *     lognormal:MEDIAN,SIGMA[,MAX]     e^(ln MEDIAN + SIGMA N); what is over MAX becomes MAX
 *     erlang:MEAN,STAGES               the sum of STAGES (1 to 1000) exponentials
 *     hyper:MEAN,CV                    two exponentials with balanced means; coefficient of variation 1 to 100
 */
#ifndef WC_WORKLOAD_DISTRIBUTION_H
#define WC_WORKLOAD_DISTRIBUTION_H

#include "tools/workload/random.h"
#include "user/error.h"

enum distribution_kind {
	DISTRIBUTION_FIXED,
	DISTRIBUTION_EXP,
	DISTRIBUTION_UNIFORM,
	DISTRIBUTION_BIMODAL,
	DISTRIBUTION_LOGNORMAL,
	DISTRIBUTION_ERLANG,
	DISTRIBUTION_HYPER,
};

#define DISTRIBUTION_SYNTAX                                                                                            \
	"fixed:TIME, exp:MEAN, uniform:FROM,TO, bimodal:SHORT,LONG,SHARE, lognormal:MEDIAN,SIGMA[,MAX], "              \
	"erlang:MEAN,STAGES or hyper:MEAN,CV"

struct distribution {
	enum distribution_kind kind;
	double a, b, c; /* as in the text; times in ns */
};

/* 0, or -EINVAL with a sentence that names what is wrong. */
int distribution_parse(struct distribution *distribution, const char *text, struct wc_fault *fault);
/* Exact, cut-off included. ns, and ns^2. */
double distribution_mean(const struct distribution *distribution);
double distribution_variance(const struct distribution *distribution);
/* One value, ns, never negative. */
double distribution_draw(const struct distribution *distribution, struct random *random);

#endif
