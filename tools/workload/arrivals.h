/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * arrivals.h - when invocations come: an open-loop process, read from text. Times are in ns from its beginning, rates in invocations a
 * second.
 *
 *     poisson:RATE
 *     fixed:RATE                            evenly spaced
 *     mmpp:RATE,RATE2,TIME,TIME2            Poisson at RATE for an exponential time with mean TIME, then at RATE2 for TIME2, and so on
 *                                           (a Markov-modulated Poisson process of two states; RATE2 may be 0: on and off)
 */
#ifndef WC_WORKLOAD_ARRIVALS_H
#define WC_WORKLOAD_ARRIVALS_H

#include "tools/workload/random.h"
#include "user/error.h"

#include <stdbool.h>

enum arrivals_kind {
	ARRIVALS_POISSON,
	ARRIVALS_FIXED,
	ARRIVALS_MMPP,
};

#define ARRIVALS_SYNTAX "poisson:RATE, fixed:RATE or mmpp:RATE,RATE2,TIME,TIME2"

struct arrivals {
	enum arrivals_kind kind;
	double gap[2];	/* mean, ns, in each state; INFINITY: none come */
	double stay[2]; /* mean time in each state, ns */
	double at;	/* of the last arrival */
	double until;	/* end of the state */
	unsigned state;
	struct random random;
};

/* 0, or -EINVAL with a sentence. It has no seed then: see arrivals_begin(). */
int arrivals_parse(struct arrivals *arrivals, const char *text, struct wc_fault *fault);
/* Poisson at so many a second. */
struct arrivals arrivals_poisson(double rate);
/* Over all states, a second. */
double arrivals_rate(const struct arrivals *arrivals);
/* From the beginning, at 0 ns, in a state drawn as often as it is there in the long run. */
void arrivals_begin(struct arrivals *arrivals, struct random random);

double arrivals_next_mmpp(struct arrivals *arrivals);

/* The next one, ns since the beginning. */
static inline double arrivals_next(struct arrivals *arrivals)
{
	if (arrivals->kind == ARRIVALS_POISSON)
		return arrivals->at += random_exponential(&arrivals->random) * arrivals->gap[0];
	if (arrivals->kind == ARRIVALS_FIXED)
		return arrivals->at += arrivals->gap[0];
	return arrivals_next_mmpp(arrivals);
}

#endif
