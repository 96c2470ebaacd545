/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* costs.c - see costs.h. */
#include "tools/sim/costs.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 10000 /* of a file; a group has a few dozen */
#define LINE_MAX_BYTES 65536
#define COST_MAX 1e12 /* ns */

/* How a cost follows from a figure. */
enum part {
	VALUE,
	OVER_FLOOR, /* what it is more than its floor */
	HALF_FLOOR,
};

static const struct cost {
	const char *figure;
	enum part part;
	size_t offset; /* of the option */
} costs[] = {
#define COST(figure, part, member)                                                                                     \
	{                                                                                                              \
		figure, part, offsetof(struct sim_options, member)                                                     \
	}
	COST("cluster_decision_local", VALUE, local_ns),    COST("cluster_decision_remote", VALUE, remote_ns),
	COST("cluster_decision_remote", VALUE, share_ns),   COST("cluster_core_free_1", VALUE, core_free_ns),
	COST("dispatch_4096", VALUE, dispatch_ns),	    COST("rtt_process_p50", OVER_FLOOR, handover_ns),
	COST("rtt_process_p50", HALF_FLOOR, network_ns),    COST("rtt_process_p50", HALF_FLOOR, hop_ns),
	COST("rtt_process_p50", HALF_FLOOR, free_delay_ns), COST("cold_native_p50", VALUE, cold_ns),
};
#define COSTS (sizeof(costs) / sizeof(costs[0]))

static double unit_ns(const char *unit)
{
	return !strcmp(unit, "ns") ? 1 : !strcmp(unit, "us") ? 1e3 : !strcmp(unit, "ms") ? 1e6 : NAN;
}

/* How many costs this figure is good for; negative: it is not a figure. */
static int read_figure(struct sim_options *options, const json_t *figure)
{
	const char *name = json_string_value(json_object_get(figure, "name"));
	const char *unit = json_string_value(json_object_get(figure, "unit"));
	double value = json_number_value(json_object_get(figure, "value"));
	double floor = json_number_value(json_object_get(figure, "floor"));
	int found = 0;

	if (!name || !unit)
		return -EINVAL;
	for (size_t i = 0; i < COSTS; i++) {
		double ns;

		if (strcmp(costs[i].figure, name) != 0)
			continue;
		ns = costs[i].part == VALUE ? value : costs[i].part == OVER_FLOOR ? value - floor : floor / 2;
		ns *= unit_ns(unit);
		if (!(ns >= 0) || ns > COST_MAX)
			return -EINVAL;
		*(uint64_t *)((char *)options + costs[i].offset) = (uint64_t)(ns + 0.5);
		found++;
	}
	return found;
}

int costs_read(struct sim_options *options, const char *path, struct wc_fault *fault)
{
	FILE *file = fopen(path, "re");
	char *line = malloc(LINE_MAX_BYTES);
	int number = 0, found = 0, error = 0;

	if (!file || !line) {
		error = wc_fail(fault, file ? ENOMEM : errno, "cannot read %s: %s", path,
				strerror(file ? ENOMEM : errno));
	}
	while (!error && fgets(line, LINE_MAX_BYTES, file)) {
		json_t *figure = json_loads(line, 0, NULL);
		int used = json_is_object(figure) ? read_figure(options, figure) : -EINVAL;

		json_decref(figure);
		if (++number > LINES_MAX || used < 0)
			error = wc_fail(fault, EINVAL, "%s:%d: no figure as `make bench` writes them", path, number);
		else
			found += used;
	}
	if (!error && ferror(file))
		error = wc_fail(fault, EIO, "cannot read %s", path);
	if (!error && !found)
		error = wc_fail(fault, EINVAL, "%s has none of the figures that say what something costs: %s, %s, ...",
				path, costs[0].figure, costs[1].figure);
	if (file)
		fclose(file);
	free(line);
	return error;
}
