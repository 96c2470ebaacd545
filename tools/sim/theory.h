/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* theory.h - queues that have a closed form, for the tests and for the benchmark that say how far the simulator is from it. */
#ifndef WC_SIM_THEORY_H
#define WC_SIM_THEORY_H

#include <stdint.h>

struct theory_case {
	const char *name;    /* of the figure */
	const char *policy;  /* under which a node is that queue */
	const char *service; /* distribution */
	uint32_t cores;
	double load;
	double part; /* how much harder it is than others: its samples depend on each other for longer */
};

extern const struct theory_case theory_cases[];
extern const unsigned theory_count;

/* Probability that an arrival waits in an M/M/c (Erlang C). */
double theory_erlang_c(uint32_t cores, double load);
/* Mean response time of an M/D/1 whose service takes so long. */
double theory_md1(double takes, double load);
/* Mean response time of the case, ns. */
double theory_response(const struct theory_case *c);

#endif
