/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace_csv.c - see trace.h: the calls of the Azure Functions data set of 2019, a file a day, in their order. A function is its owner,
 * its application and its own hash; it has a row in each file of a day on which it was called. Rows of the same function are added up:
 * it may have several triggers. The calls of a minute are spread evenly over it.
 *
 * A file that is not exactly in this format is refused, with the number of the line. What a line or a file can make this program allocate
 * is limited.
 */
#include "tools/workload/trace_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "HashOwner,HashApp,HashFunction,Trigger"
#define FIELDS_MAX 512	       /* bytes of owner, application, function and trigger; they are 64 each, and a word */
#define LINE_BYTES (64u << 10) /* 1,440 numbers of calls, and those */

/* Functions by name while the files are read: open addressing, at most half full. */
struct names {
	uint32_t *slot; /* number + 1 */
	uint32_t mask;
};

/* Where we are, and what is said about it. */
struct place {
	const char *path;
	unsigned line;
	struct wc_fault *fault;
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

static int find(struct trace *trace, struct names *names, const char *name, struct trace_function **ret_function)
{
	struct trace_function *function;
	uint64_t at, random;

	if (trace->functions >= names->mask / 2 && grow(trace, names))
		return -ENOMEM;
	for (at = hash(name); names->slot[at & names->mask]; at++) {
		function = &trace->function[names->slot[at & names->mask] - 1];
		if (!strcmp(function->name, name)) {
			*ret_function = function;
			return 0;
		}
	}
	if (trace->functions == TRACE_FUNCTIONS_MAX)
		return -E2BIG;
	function = &trace->function[trace->functions];
	*function = (struct trace_function){ .kind = GIVEN, .name = strdup(name) };
	if (!function->name)
		return -ENOMEM;
	random = hash(name);
	trace_make_shape(function, &random);
	names->slot[at & names->mask] = ++trace->functions;
	*ret_function = function;
	return 0;
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

/* What a day brings, with what another row of the function has brought already. */
static int add_day(struct trace_function *function, unsigned day, const uint32_t *calls, uint64_t cap)
{
	uint64_t sum[MINUTES_A_DAY];
	int error = 0;

	for (uint32_t i = 0; i < MINUTES_A_DAY; i++)
		sum[i] = calls[i];
	for (; function->minutes_count; function->minutes_count--) {
		const struct minute *last = &function->minutes[function->minutes_count - 1];

		if (last->minute < day * MINUTES_A_DAY)
			break;
		sum[last->minute - day * MINUTES_A_DAY] += last->calls;
	}
	for (uint32_t i = 0; i < MINUTES_A_DAY && !error; i++)
		if (sum[i])
			error = add_minute(function, day * MINUTES_A_DAY + i, (uint32_t)(sum[i] < cap ? sum[i] : cap));
	return error;
}

/* The next number, from 0 to UINT32_MAX, digits only. */
static bool get_calls(const char **at, uint32_t *ret_calls)
{
	uint64_t value = 0;
	const char *digit = *at;

	for (; *digit >= '0' && *digit <= '9' && value <= UINT32_MAX; digit++)
		value = value * 10 + (uint64_t)(*digit - '0');
	if (digit == *at || value > UINT32_MAX || (*digit && *digit != ','))
		return false;
	*at = digit;
	*ret_calls = (uint32_t)value;
	return true;
}

static int wrong(const struct place *place, const char *what)
{
	return wc_fail(place->fault, EINVAL,
		       "%s:%u: %s; expected " HEADER ",1,...,%u as in the Azure Functions data set of 2019",
		       place->path, place->line, what, MINUTES_A_DAY);
}

/* Owner, application, function, trigger, 1,440 numbers. `line` ends without its newline. */
static int read_row(struct trace *trace, struct names *names, const struct trace_options *options, unsigned day,
		    char *line, const struct place *place)
{
	uint32_t calls[MINUTES_A_DAY];
	struct trace_function *function;
	char text[96], *field = line;
	const char *at;
	int error;

	for (int i = 0; i < 4; i++) {
		char *comma = strchr(field, ',');

		if (!comma || comma == field || comma - line > FIELDS_MAX)
			return wrong(place,
				     "one of owner, application, function and trigger is missing, empty or too long");
		if (i == 2)
			*comma = 0; /* the name is what is before the trigger */
		field = comma + 1;
	}
	at = field;
	for (uint32_t minute = 0; minute < MINUTES_A_DAY; minute++) {
		if (minute && *at++ != ',') {
			snprintf(text, sizeof(text), "there are %u numbers of calls", minute);
			return wrong(place, text);
		}
		if (!get_calls(&at, &calls[minute])) {
			snprintf(text, sizeof(text), "\"%.*s\" in minute %u is not a number of calls, from 0 to %u",
				 (int)(strcspn(at, ",") < 16 ? strcspn(at, ",") : 16), at, minute + 1, UINT32_MAX);
			return wrong(place, text);
		}
	}
	if (*at)
		return wrong(place, "there are more numbers than a day has minutes");
	error = find(trace, names, line, &function);
	if (!error)
		error = add_day(function, day, calls, (options->cap + 59) / 60);
	if (error == -E2BIG)
		wc_fail(place->fault, E2BIG, "%s:%u: there are more than %u functions", place->path, place->line,
			TRACE_FUNCTIONS_MAX);
	else if (error)
		wc_fail(place->fault, ENOMEM, "%s:%u: out of memory", place->path, place->line);
	return error;
}

/* The names of the columns, and of each minute its number. */
static int read_header(const char *line, const struct place *place)
{
	const char *at = line + strlen(HEADER);
	uint32_t number;

	if (strncmp(line, HEADER, strlen(HEADER)) != 0)
		return wrong(place, "this is no such header");
	for (uint32_t minute = 1; minute <= MINUTES_A_DAY; minute++)
		if (*at++ != ',' || !get_calls(&at, &number) || number != minute)
			return wrong(place, "the header's minutes are others");
	return *at ? wrong(place, "the header's minutes are others") : 0;
}

/* One line, without its end. 1: there is one; 0: there is none. */
static int get_line(FILE *file, char *line, const struct place *place)
{
	size_t length = 0;
	int c;

	while ((c = getc(file)) != EOF && c != '\n') {
		if (!c)
			return wrong(place, "the line has a byte 0");
		if (length == LINE_BYTES - 1)
			return wrong(place, "the line is too long");
		line[length++] = (char)c;
	}
	if (ferror(file))
		return wc_fail(place->fault, EIO, "cannot read %s: %s", place->path, strerror(errno));
	if (length && line[length - 1] == '\r')
		length--;
	line[length] = 0;
	return c != EOF || length;
}

static int read_day(struct trace *trace, struct names *names, const struct trace_options *options, unsigned day,
		    struct wc_fault *fault)
{
	struct place place = { .path = options->csv[day], .fault = fault };
	FILE *file = fopen(place.path, "re");
	char *line = calloc(1, LINE_BYTES);
	int more = 0, error = 0;

	if (!file || !line) {
		wc_fail(fault, EIO, "cannot read %s: %s", place.path, strerror(errno));
		error = -EIO;
	}
	while (!error) {
		if (options->stop && options->stop()) {
			error = wc_fail(fault, EINTR, "interrupted while %s was read", place.path);
			break;
		}
		place.line++;
		more = get_line(file, line, &place);
		if (more <= 0)
			break;
		error = place.line == 1 ? read_header(line, &place) :
					  read_row(trace, names, options, day, line, &place);
	}
	if (!error && !more && place.line <= 2)
		error = wrong(&place, place.line == 1 ? "the file is empty" : "there is no function");
	free(line);
	if (file)
		fclose(file);
	return more < 0 ? more : error;
}

int trace_read_csv(struct trace *trace, const struct trace_options *options, struct wc_fault *fault)
{
	struct names names = { NULL, 0 };
	int error = 0;

	for (unsigned day = 0; day < options->csv_count && !error; day++)
		error = read_day(trace, &names, options, day, fault);
	free(names.slot);
	for (; options->functions && trace->functions > options->functions; trace->functions--) {
		free(trace->function[trace->functions - 1].name);
		free(trace->function[trace->functions - 1].minutes);
	}
	return error;
}
