/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* calls.c - see calls.h. A heap has each function's next call; the trace gives those of a function in order. */
#include "tools/workload/calls.h"
#include "tools/workload/popularity.h"
#include "tools/workload/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MS_NS 1000000ull
#define LINE_BYTES 256
#define MS_MAX 1e12

struct next {
	uint64_t at, takes; /* ms */
	uint32_t function;
};

struct calls {
	/* of a trace */
	struct trace_calls *functions;
	struct next *heap; /* the smallest first */
	uint32_t count;
	/* of a file */
	FILE *file;
	char *path;
	uint64_t line, last_ns;
};

static bool before(const struct next *a, const struct next *b)
{
	return a->at < b->at || (a->at == b->at && a->function < b->function);
}

static void sift_down(struct calls *calls, uint32_t at, struct next next)
{
	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child + 1 < calls->count && before(&calls->heap[child + 1], &calls->heap[child]))
			child++;
		if (child >= calls->count || !before(&calls->heap[child], &next))
			break;
		calls->heap[at] = calls->heap[child];
		at = child;
	}
	calls->heap[at] = next;
}

int calls_of_trace(struct calls **ret_calls, const struct trace *trace)
{
	struct calls *calls = calloc(1, sizeof(*calls));

	if (calls) {
		calls->functions = calloc(trace->functions + 1ull, sizeof(*calls->functions));
		calls->heap = calloc(trace->functions + 1ull, sizeof(*calls->heap));
	}
	if (!calls || !calls->functions || !calls->heap) {
		calls_free(calls);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < trace->functions; i++) {
		struct next *next = &calls->heap[calls->count];

		trace_open(trace, i, &calls->functions[i]);
		next->function = i;
		calls->count += trace_next(&calls->functions[i], &next->at, &next->takes);
	}
	for (uint32_t i = calls->count / 2; i-- > 0;)
		sift_down(calls, i, calls->heap[i]);
	*ret_calls = calls;
	return 0;
}

int calls_of_file(struct calls **ret_calls, const char *path, struct wc_fault *fault)
{
	struct calls *calls = calloc(1, sizeof(*calls));

	if (calls) {
		calls->path = strdup(path);
		calls->file = fopen(path, "re");
	}
	if (!calls || !calls->path || !calls->file) {
		wc_fail(fault, errno, "cannot read %s: %s", path, strerror(errno));
		calls_free(calls);
		return -EIO;
	}
	*ret_calls = calls;
	return 0;
}

static int wrong(const struct calls *calls, struct wc_fault *fault, const char *what)
{
	return wc_fail(fault, EINVAL, "%s:%" PRIu64 ": %s; expected AT FUNCTION TAKES, times in ms, in their order",
		       calls->path, calls->line, what);
}

/* The next word of the line, or NULL. */
static char *word(char **at)
{
	char *begin = *at + strspn(*at, " \t");
	size_t length = strcspn(begin, " \t");

	if (!length)
		return NULL;
	*at = begin + length + (begin[length] != 0);
	begin[length] = 0;
	return begin;
}

static int read_line(struct calls *calls, char *line, struct call *ret_call, struct wc_fault *fault)
{
	char *texts[3], *at = line;
	double value[3];

	for (int i = 0; i < 3; i++) {
		texts[i] = word(&at);
		if (!texts[i])
			return wrong(calls, fault, "there are fewer than three numbers");
		if (!units_number(texts[i], &value[i]) || value[i] > MS_MAX)
			return wrong(calls, fault, "one of the three is no number, or too large");
	}
	if (word(&at))
		return wrong(calls, fault, "there are more than three numbers");
	if (value[1] >= POPULARITY_FUNCTIONS_MAX || value[1] != (double)(uint32_t)value[1])
		return wrong(calls, fault, "the function is not a number from 0 to 999999");
	ret_call->at_ns = (uint64_t)(value[0] * MS_NS + 0.5);
	ret_call->function = (uint32_t)value[1];
	ret_call->takes_ns = (uint64_t)(value[2] * MS_NS + 0.5);
	if (ret_call->at_ns < calls->last_ns)
		return wrong(calls, fault, "this call is before the one above it");
	calls->last_ns = ret_call->at_ns;
	return 1;
}

static int next_of_file(struct calls *calls, struct call *ret_call, struct wc_fault *fault)
{
	char line[LINE_BYTES];

	while (fgets(line, sizeof(line), calls->file)) {
		size_t length = strlen(line);

		calls->line++;
		if (length == sizeof(line) - 1 && line[length - 1] != '\n')
			return wrong(calls, fault, "the line is too long");
		line[strcspn(line, "\r\n")] = 0;
		if (line[0] && line[0] != '#')
			return read_line(calls, line, ret_call, fault);
	}
	return ferror(calls->file) ? wc_fail(fault, EIO, "cannot read %s: %s", calls->path, strerror(errno)) : 0;
}

int calls_next(struct calls *calls, struct call *ret_call, struct wc_fault *fault)
{
	struct next top;

	if (calls->file)
		return next_of_file(calls, ret_call, fault);
	if (!calls->count)
		return 0;
	top = calls->heap[0];
	*ret_call = (struct call){ top.at * MS_NS, top.takes * MS_NS, top.function };
	if (!trace_next(&calls->functions[top.function], &top.at, &top.takes))
		top = calls->heap[--calls->count];
	if (calls->count)
		sift_down(calls, 0, top);
	return 1;
}

void calls_free(struct calls *calls)
{
	if (!calls)
		return;
	if (calls->file)
		fclose(calls->file);
	free(calls->path);
	free(calls->functions);
	free(calls->heap);
	free(calls);
}
