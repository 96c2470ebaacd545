/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* arrivals.c - see arrivals.h. */
#include "tools/workload/arrivals.h"
#include "tools/workload/units.h"

#include <string.h>

#define SECOND_NS 1e9
#define RATE_MIN 1e-6
#define RATE_MAX 1e9

static double gap_of(double rate)
{
	return rate > 0 ? SECOND_NS / rate : INFINITY;
}

static bool rate_good(double rate)
{
	return rate >= RATE_MIN && rate <= RATE_MAX;
}

static int parse_mmpp(struct arrivals *arrivals, char (*parts)[UNITS_PARTS_MAX], const char *text,
		      struct wc_fault *fault)
{
	double rate[2], stay[2];

	for (int i = 0; i < 2; i++) {
		if (!units_number(parts[i], &rate[i]) || (!rate_good(rate[i]) && !(i && rate[i] == 0)))
			return wc_fail(fault, EINVAL, "'%s': '%s' is no rate: 0.000001 to 1G a second (RATE2 may be 0)",
				       text, parts[i]);
		if (!units_time(parts[2 + i], &stay[i]) || stay[i] < 1)
			return wc_fail(fault, EINVAL, "'%s': '%s' is no time for a state, like 250us or 10s", text,
				       parts[2 + i]);
	}
	*arrivals = (struct arrivals){ .kind = ARRIVALS_MMPP,
				       .gap = { gap_of(rate[0]), gap_of(rate[1]) },
				       .stay = { stay[0], stay[1] } };
	return 0;
}

int arrivals_parse(struct arrivals *arrivals, const char *text, struct wc_fault *fault)
{
	const char *colon = strchr(text, ':');
	char parts[4][UNITS_PARTS_MAX];
	size_t count = colon ? units_split(colon + 1, parts, 4) : 0;
	double rate;

	if (!strncmp(text, "mmpp:", 5) && count == 4)
		return parse_mmpp(arrivals, parts, text, fault);
	if ((strncmp(text, "poisson:", 8) != 0 && strncmp(text, "fixed:", 6) != 0) || count != 1)
		return wc_fail(fault, EINVAL, "'%s' are no arrivals: " ARRIVALS_SYNTAX " is expected", text);
	if (!units_number(parts[0], &rate) || !rate_good(rate))
		return wc_fail(fault, EINVAL, "'%s': '%s' is no rate: 0.000001 to 1G a second", text, parts[0]);
	*arrivals = arrivals_poisson(rate);
	if (*text == 'f')
		arrivals->kind = ARRIVALS_FIXED;
	return 0;
}

struct arrivals arrivals_poisson(double rate)
{
	return (struct arrivals){ .kind = ARRIVALS_POISSON, .gap = { gap_of(rate), gap_of(rate) } };
}

double arrivals_rate(const struct arrivals *arrivals)
{
	const double *gap = arrivals->gap, *stay = arrivals->stay;

	if (arrivals->kind != ARRIVALS_MMPP)
		return SECOND_NS / gap[0];
	return SECOND_NS * (stay[0] / gap[0] + stay[1] / gap[1]) / (stay[0] + stay[1]);
}

void arrivals_begin(struct arrivals *arrivals, struct random random)
{
	const double *stay = arrivals->stay;

	arrivals->random = random;
	arrivals->at = 0;
	arrivals->state = 0;
	if (arrivals->kind != ARRIVALS_MMPP)
		return;
	arrivals->state = random_uniform(&arrivals->random) * (stay[0] + stay[1]) >= stay[0];
	arrivals->until = random_exponential(&arrivals->random) * stay[arrivals->state];
}

/* Both processes forget: what is left of a gap at the end of a state is drawn anew in the next one. */
double arrivals_next_mmpp(struct arrivals *arrivals)
{
	for (;;) {
		double next = arrivals->at + random_exponential(&arrivals->random) * arrivals->gap[arrivals->state];

		if (next <= arrivals->until)
			return arrivals->at = next;
		arrivals->at = arrivals->until;
		arrivals->state ^= 1;
		arrivals->until += random_exponential(&arrivals->random) * arrivals->stay[arrivals->state];
	}
}
