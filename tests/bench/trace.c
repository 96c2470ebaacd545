/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.c - see trace.h.
 *
 * What is known of Azure (Shahrad et al., ATC 2020), and taken from there:
 *   - calls: 45 % of the applications have at most one an hour, 81 % at most one a minute, eight orders of magnitude between the rarest
 *     and the most popular. The logarithm of the rate is linear between these points.
 *   - 40 % of the applications have an inter-arrival time with a coefficient of variation over 1.
 *   - about half of the load is constant; the other half has a daily wave.
 *   - mean duration: lognormal, ln-mean -0.38, sigma 2.36, in seconds; cut off at 60 s.
 *   - memory: Burr XII, c 11.652, k 0.221, lambda 107.083 MB.
 * What is assumed: functions are like applications; 16 % are called by a timer (the paper's share of functions with a timer), with 1 %
 * of jitter; the others with a coefficient of variation up to 1 have Erlang gaps of 1 to 8 stages; those over 1 have hyperexponential
 * ones of two phases, coefficient 1.5 to 4; a wave has an amplitude of 60 %; single executions vary by a factor of 2. The most popular
 * functions are slowed to a cap: they are warm under every policy, and would only take time to simulate.
 */
#include "tests/bench/trace.h"

#include "tests/bench/bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTES_A_DAY 1440
#define DAY_MS (MINUTES_A_DAY * TRACE_MINUTE)
#define DURATION_MAX_S 60.0
#define MEMORY_MAX_MB 4096.0

enum kind {
	TIMER,
	ERLANG,
	BURSTY,
	GIVEN, /* from a file */
};

struct trace_function {
	enum kind kind;
	double gap; /* mean, ms */
	double cv;
	bool wave;
	double phase, duration_ms, memory_mb;
	uint32_t stages;
	/* GIVEN: minute and number of calls */
	struct minute {
		uint32_t minute, calls;
	} * minutes;
	uint32_t minutes_count, minutes_room;
	char *name;
};

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Between 0 and 1, neither of them. */
static double uniform(uint64_t *state)
{
	return ((double)(draw(state) >> 11) + 0.5) / 9007199254740992.0;
}

static double exponential(uint64_t *state, double mean)
{
	return -log(uniform(state)) * mean;
}

static double normal(uint64_t *state)
{
	double u = uniform(state), v = uniform(state);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

/* --- synthetic functions --- */

/* Calls a day of the function at this quantile of popularity. */
static double calls_a_day(double quantile)
{
	static const struct {
		double quantile, calls;
	} points[] = { { 0, 0.1 }, { 0.45, 24 }, { 0.81, 1440 }, { 1, 1e7 } };
	int i = 0;

	while (quantile > points[i + 1].quantile)
		i++;
	return exp(log(points[i].calls) + (quantile - points[i].quantile) /
						  (points[i + 1].quantile - points[i].quantile) *
						  (log(points[i + 1].calls) - log(points[i].calls)));
}

static void make_shape(struct trace_function *function, uint64_t *random)
{
	double duration = exp(-0.38 + 2.36 * normal(random)), u = uniform(random);

	function->duration_ms = 1000 * (duration < DURATION_MAX_S ? duration : DURATION_MAX_S);
	function->memory_mb = 107.083 * pow(pow(1 - u, -1 / 0.221) - 1, 1 / 11.652);
	if (function->memory_mb > MEMORY_MAX_MB)
		function->memory_mb = MEMORY_MAX_MB;
}

static void make_function(struct trace_function *function, const struct trace_options *options, uint64_t *random)
{
	double rate = calls_a_day(uniform(random)), kind = 100 * uniform(random);

	if (rate > (double)options->cap * 24)
		rate = (double)options->cap * 24;
	function->gap = (double)DAY_MS / rate;
	function->kind = kind < (double)options->periodic ? TIMER : kind < 60 ? ERLANG : BURSTY;
	function->stages = 1u << draw(random) % 4;
	function->cv = 1.5 + 2.5 * uniform(random);
	function->wave = function->kind != TIMER && draw(random) % 2;
	function->phase = uniform(random);
	make_shape(function, random);
}

/* Two phases with balanced means: short gaps and long ones, so that mean and coefficient of variation are as asked for. */
static double bursty_gap(const struct trace_function *function, uint64_t *random)
{
	double cv2 = function->cv * function->cv, p = 0.5 * (1 + sqrt((cv2 - 1) / (cv2 + 1)));

	if (uniform(random) < p)
		return exponential(random, function->gap / (2 * p));
	return exponential(random, function->gap / (2 * (1 - p)));
}

static double next_gap(const struct trace_function *function, uint64_t *random)
{
	double gap = 0;

	switch (function->kind) {
	case TIMER:
		return function->gap * (0.99 + 0.02 * uniform(random));
	case ERLANG:
		for (uint32_t i = 0; i < function->stages; i++)
			gap += exponential(random, function->gap / function->stages);
		return gap;
	default:
		return bursty_gap(function, random);
	}
}

static bool next_synthetic(struct trace_calls *calls)
{
	const struct trace_function *function = calls->function;
	double gap = next_gap(function, &calls->random), now = (double)calls->at / (double)DAY_MS;

	/* Not where nobody is for weeks: such a call comes when it comes. */
	if (function->wave && gap < (double)DAY_MS)
		gap /= 1 + 0.6 * sin(2 * M_PI * (now + function->phase));
	if (!calls->index) /* it did not begin with the trace */
		gap *= uniform(&calls->random);
	calls->at += (uint64_t)gap + 1;
	return calls->at < calls->trace->length;
}

static bool next_given(struct trace_calls *calls)
{
	const struct trace_function *function = calls->function;
	const struct minute *minute = &function->minutes[calls->index];

	if (calls->index < function->minutes_count && calls->sent == minute->calls) {
		calls->index++;
		minute++;
		calls->sent = 0;
	}
	if (calls->index >= function->minutes_count)
		return false;
	calls->at = minute->minute * TRACE_MINUTE + (2 * calls->sent + 1) * TRACE_MINUTE / (2ull * minute->calls);
	calls->sent++;
	return true;
}

void trace_open(const struct trace *trace, uint32_t number, struct trace_calls *calls)
{
	*calls = (struct trace_calls){
		.trace = trace,
		.function = &trace->function[number],
		.random = trace->seed * 0x9e3779b97f4a7c15ull + number * 0xd1342543de82ef95ull,
	};
	draw(&calls->random);
}

bool trace_next(struct trace_calls *calls, uint64_t *ret_at, uint64_t *ret_takes)
{
	const struct trace_function *function = calls->function;
	double takes;

	if (function->kind == GIVEN ? !next_given(calls) : !next_synthetic(calls))
		return false;
	calls->index += function->kind != GIVEN;
	takes = function->duration_ms * (0.5 + uniform(&calls->random)) + 1;
	*ret_at = calls->at;
	*ret_takes = (uint64_t)takes;
	return true;
}

double trace_memory_mb(const struct trace *trace, uint32_t number)
{
	return trace->function[number].memory_mb;
}

/* --- the data set of 2019 --- */

/* Functions by name while the files are read: open addressing, at most half full. */
struct names {
	uint32_t *slot; /* number + 1 */
	uint32_t mask;
};

static uint64_t hash(const char *text)
{
	uint64_t value = 0xcbf29ce484222325ull;

	for (; *text; text++)
		value = (value ^ (unsigned char)*text) * 0x100000001b3ull;
	return value;
}

static int grow(struct trace *trace, struct names *names)
{
	uint32_t mask = names->mask ? names->mask * 2 + 1 : 1023, *slot = calloc(mask + 1ull, sizeof(*slot));
	struct trace_function *function = realloc(trace->function, (mask + 1ull) / 2 * sizeof(*function));

	if (function)
		trace->function = function;
	if (!slot || !function) {
		free(slot);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < trace->functions; i++) {
		uint64_t at = hash(function[i].name);

		while (slot[at & mask])
			at++;
		slot[at & mask] = i + 1;
	}
	free(names->slot);
	names->slot = slot;
	names->mask = mask;
	return 0;
}

static struct trace_function *find(struct trace *trace, struct names *names, const char *name)
{
	uint64_t at, random;

	if (trace->functions >= names->mask / 2 && grow(trace, names))
		return NULL;
	for (at = hash(name); names->slot[at & names->mask]; at++)
		if (!strcmp(trace->function[names->slot[at & names->mask] - 1].name, name))
			return &trace->function[names->slot[at & names->mask] - 1];
	random = hash(name);
	names->slot[at & names->mask] = trace->functions + 1;
	trace->function[trace->functions] = (struct trace_function){ .kind = GIVEN, .name = strdup(name) };
	if (!trace->function[trace->functions].name)
		return NULL;
	make_shape(&trace->function[trace->functions], &random);
	return &trace->function[trace->functions++];
}

static int add_minute(struct trace_function *function, uint32_t minute, uint32_t calls)
{
	if (function->minutes_count == function->minutes_room) {
		uint32_t room = function->minutes_room ? function->minutes_room * 2 : 8;
		struct minute *larger = realloc(function->minutes, room * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		function->minutes = larger;
		function->minutes_room = room;
	}
	function->minutes[function->minutes_count++] = (struct minute){ minute, calls };
	return 0;
}

/* Owner, application, function, trigger, 1,440 numbers. */
static int read_row(struct trace *trace, struct names *names, const struct trace_options *options, unsigned day,
		    char *line)
{
	struct trace_function *function;
	uint64_t cap = (options->cap + 59) / 60;
	char *at = line;

	for (int i = 0; i < 3 && at; i++)
		at = strchr(at + (i > 0), ',');
	if (!at)
		return -EINVAL;
	*at++ = 0;
	at = strchr(at, ','); /* the trigger */
	if (!at)
		return -EINVAL;
	function = find(trace, names, line);
	if (!function)
		return -ENOMEM;
	for (uint32_t minute = 0; minute < MINUTES_A_DAY; minute++) {
		char *end;
		unsigned long calls;

		if (!at || *at != ',')
			return -EINVAL;
		calls = strtoul(at + 1, &end, 10);
		if (end == at + 1)
			return -EINVAL;
		at = end;
		if (calls && add_minute(function, day * MINUTES_A_DAY + minute, (uint32_t)(calls < cap ? calls : cap)))
			return -ENOMEM;
	}
	return *at && *at != '\n' && *at != '\r' ? -EINVAL : 0;
}

static int read_day(struct trace *trace, struct names *names, const struct trace_options *options, unsigned day)
{
	FILE *file = fopen(options->csv[day], "re");
	char *line = NULL;
	size_t size = 0;
	int error = 0;
	unsigned row;

	if (!file) {
		bench_say("cannot read %s: %s", options->csv[day], strerror(errno));
		return -EINVAL;
	}
	for (row = 1; !error && getline(&line, &size, file) > 0; row++)
		if (row > 1 || strncmp(line, "HashOwner", 9) != 0)
			error = read_row(trace, names, options, day, line);
	free(line);
	fclose(file);
	if (error == -EINVAL)
		bench_say("%s:%u: expected owner, application, function, trigger and %d numbers of calls",
			  options->csv[day], row - 1, MINUTES_A_DAY);
	else if (error)
		bench_say("out of memory");
	return error;
}

int trace_make(struct trace *trace, const struct trace_options *options)
{
	uint64_t random = options->seed;
	struct names names = { NULL, 0 };
	int error = 0;

	trace->seed = options->seed;
	trace->length = (options->csv_count ?: options->days) * DAY_MS;
	for (unsigned day = 0; day < options->csv_count && !error; day++)
		error = read_day(trace, &names, options, day);
	free(names.slot);
	if (error || options->csv_count) {
		if (error)
			trace_free(trace);
		return error;
	}
	trace->function = calloc(options->functions, sizeof(*trace->function));
	if (!trace->function) {
		bench_say("out of memory");
		return -ENOMEM;
	}
	trace->functions = (uint32_t)options->functions;
	for (uint32_t i = 0; i < trace->functions; i++)
		make_function(&trace->function[i], options, &random);
	return 0;
}

void trace_free(struct trace *trace)
{
	for (uint32_t i = 0; i < trace->functions; i++) {
		free(trace->function[i].name);
		free(trace->function[i].minutes);
	}
	free(trace->function);
	trace->function = NULL;
	trace->functions = 0;
}
