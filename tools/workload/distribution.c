/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* distribution.c - see distribution.h. */
#include "tools/workload/distribution.h"
#include "tools/workload/units.h"

#include <string.h>

#define PARTS 3
#define SIGMA_MAX 10.0
#define STAGES_MAX 1000
#define CV_MAX 100.0

static const struct family {
	const char *name;
	enum distribution_kind kind;
	unsigned min, max; /* parameters */
	unsigned times;	   /* bit i: parameter i is a time */
} families[] = {
	{ "fixed", DISTRIBUTION_FIXED, 1, 1, 1 },	  { "exp", DISTRIBUTION_EXP, 1, 1, 1 },
	{ "uniform", DISTRIBUTION_UNIFORM, 2, 2, 3 },	  { "bimodal", DISTRIBUTION_BIMODAL, 3, 3, 3 },
	{ "lognormal", DISTRIBUTION_LOGNORMAL, 2, 3, 5 }, { "erlang", DISTRIBUTION_ERLANG, 2, 2, 1 },
	{ "hyper", DISTRIBUTION_HYPER, 2, 2, 1 },
};

/* What is wrong with the values, or NULL. */
static const char *check(const struct distribution *d)
{
	switch (d->kind) {
	case DISTRIBUTION_UNIFORM:
		return d->b < d->a ? "TO is before FROM" : NULL;
	case DISTRIBUTION_BIMODAL:
		return d->c > 1 ? "SHARE is 0 to 1" : NULL;
	case DISTRIBUTION_LOGNORMAL:
		return d->b > SIGMA_MAX ? "SIGMA is 0 to 10" : d->a <= 0 ? "MEDIAN must not be 0" : NULL;
	case DISTRIBUTION_ERLANG:
		return d->b < 1 || d->b > STAGES_MAX || d->b != floor(d->b) ? "STAGES is a whole number, 1 to 1000" :
									      NULL;
	case DISTRIBUTION_HYPER:
		return d->b < 1 || d->b > CV_MAX ? "CV is 1 to 100" : NULL;
	default:
		return NULL;
	}
}

int distribution_parse(struct distribution *distribution, const char *text, struct wc_fault *fault)
{
	const char *colon = strchr(text, ':'), *wrong;
	char parts[PARTS][UNITS_PARTS_MAX];
	double value[PARTS] = { 0, 0, INFINITY };
	const struct family *family = families, *end = families + sizeof(families) / sizeof(families[0]);
	struct distribution d;
	size_t count;

	for (; colon && family < end; family++)
		if (strlen(family->name) == (size_t)(colon - text) &&
		    !strncmp(family->name, text, strlen(family->name)))
			break;
	if (!colon || family == end)
		return wc_fail(fault, EINVAL, "'%s' is no distribution: " DISTRIBUTION_SYNTAX " is expected", text);
	count = units_split(colon + 1, parts, PARTS);
	if (count < family->min || count > family->max)
		return wc_fail(fault, EINVAL, "'%s' has not the parameters that it needs: " DISTRIBUTION_SYNTAX, text);
	for (size_t i = 0; i < count; i++)
		if (!(family->times >> i & 1 ? units_time(parts[i], &value[i]) : units_number(parts[i], &value[i])))
			return wc_fail(fault, EINVAL, "'%s': '%s' is no %s", text, parts[i],
				       family->times >> i & 1 ? "time, like 250us, 1.5s or 10ms" : "number");
	d = (struct distribution){ family->kind, value[0], value[1], value[2] };
	wrong = check(&d);
	if (wrong)
		return wc_fail(fault, EINVAL, "'%s': %s", text, wrong);
	*distribution = d;
	return 0;
}

/* The k-th moment of a lognormal that is cut off at c: of what is below, and what became c. */
static double lognormal_moment(const struct distribution *d, int k)
{
	double mu = log(d->a), whole = exp(k * mu + k * k * d->b * d->b / 2), z;

	if (!isfinite(d->c))
		return whole;
	if (d->b <= 0)
		return pow(d->a < d->c ? d->a : d->c, k);
	z = (log(d->c) - mu) / d->b;
	return whole * 0.5 * erfc(-(z - k * d->b) / M_SQRT2) + pow(d->c, k) * 0.5 * erfc(z / M_SQRT2);
}

double distribution_mean(const struct distribution *d)
{
	switch (d->kind) {
	case DISTRIBUTION_UNIFORM:
		return (d->a + d->b) / 2;
	case DISTRIBUTION_BIMODAL:
		return d->a * (1 - d->c) + d->b * d->c;
	case DISTRIBUTION_LOGNORMAL:
		return lognormal_moment(d, 1);
	default:
		return d->a;
	}
}

double distribution_variance(const struct distribution *d)
{
	double mean = distribution_mean(d);

	switch (d->kind) {
	case DISTRIBUTION_EXP:
		return mean * mean;
	case DISTRIBUTION_UNIFORM:
		return (d->b - d->a) * (d->b - d->a) / 12;
	case DISTRIBUTION_BIMODAL:
		return (d->b - d->a) * (d->b - d->a) * d->c * (1 - d->c);
	case DISTRIBUTION_LOGNORMAL:
		return lognormal_moment(d, 2) - mean * mean;
	case DISTRIBUTION_ERLANG:
		return mean * mean / d->b;
	case DISTRIBUTION_HYPER:
		return mean * mean * d->b * d->b;
	default:
		return 0;
	}
}

static double draw_hyper(const struct distribution *d, struct random *random)
{
	double cv2 = d->b * d->b, p = 0.5 * (1 + sqrt((cv2 - 1) / (cv2 + 1)));

	return random_exponential(random) * d->a / (2 * (random_uniform(random) < p ? p : 1 - p));
}

double distribution_draw(const struct distribution *d, struct random *random)
{
	double sum = 0;

	switch (d->kind) {
	case DISTRIBUTION_EXP:
		return random_exponential(random) * d->a;
	case DISTRIBUTION_UNIFORM:
		return d->a + (d->b - d->a) * random_uniform(random);
	case DISTRIBUTION_BIMODAL:
		return random_uniform(random) < d->c ? d->b : d->a;
	case DISTRIBUTION_LOGNORMAL:
		sum = d->a * exp(d->b * random_normal(random));
		return sum < d->c ? sum : d->c;
	case DISTRIBUTION_ERLANG:
		for (int i = 0; i < (int)d->b; i++)
			sum += random_exponential(random);
		return sum * d->a / d->b;
	case DISTRIBUTION_HYPER:
		return draw_hyper(d, random);
	default:
		return d->a;
	}
}
