// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* knobs.c - see knobs.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/knobs.h"

const char knob_policies[] =
#define WC_POLICY(name, binding, service, text) "|" #name
#include "bpf/policy/table.h"
#undef WC_POLICY
	;

const char *knob_check_policy(const char *value)
{
	static char wrong[160];
	size_t len = strlen(value);

	for (const char *at = strchr(value, '|') ? NULL : knob_policies; at && len && (at = strstr(at, value)); at++)
		if (at[-1] == '|' && (at[len] == '|' || !at[len]))
			return NULL;
	snprintf(wrong, sizeof(wrong), "is none of %s", knob_policies + 1);
	return wrong;
}

static const struct {
	const char *option; /* on the command line; with _ for -, on the control socket */
	size_t offset;
	bool number;
} rows[] = {
	{ "--policy", offsetof(struct knobs, policy), false },
	{ "--order", offsetof(struct knobs, order), false },
	{ "--prefer", offsetof(struct knobs, prefer), false },
	{ "--move", offsetof(struct knobs, move), false },
	{ "--direct-calls", offsetof(struct knobs, direct_calls), false },
	{ "--lend", offsetof(struct knobs, lend), false },
	{ "--keep-alive", offsetof(struct knobs, keep_alive), false },
	{ "--prewarm", offsetof(struct knobs, prewarm), false },
	{ "--starts", offsetof(struct knobs, starts), false },
	{ "--trace", offsetof(struct knobs, trace), false },
	{ "--keep-alive-ms", offsetof(struct knobs, keep_alive_ms), true },
	{ "--keep-alive-bin-ms", offsetof(struct knobs, keep_alive_bin_ms), true },
	{ "--instances-memory-mb", offsetof(struct knobs, instances_memory_mb), true },
	{ "--fair-at", offsetof(struct knobs, fair_at), true },
	{ "--core-queue", offsetof(struct knobs, core_queue), true },
	{ "--pack-slots", offsetof(struct knobs, pack_slots), true },
	{ "--cores-min", offsetof(struct knobs, cores_min), true },
	{ "--idle-ms", offsetof(struct knobs, idle_ms), true },
	{ "--quantum-us", offsetof(struct knobs, quantum_us), true },
};

void knobs_each(const struct knobs *knobs, void (*add)(void *context, const char *name, const char *value),
		void *context)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const void *field = (const char *)knobs + rows[i].offset;
		char number[24];

		if (!rows[i].number) {
			const char *text = *(const char *const *)field;

			if (text)
				add(context, rows[i].option, text);
		} else if (*(const long long *)field >= 0) {
			snprintf(number, sizeof(number), "%lld", *(const long long *)field);
			add(context, rows[i].option, number);
		}
	}
}

static void add_json(void *context, const char *name, const char *value)
{
	char key[32], *end;
	long long number = strtoll(value, &end, 10);

	snprintf(key, sizeof(key), "%s", name + 2);
	for (char *c = key; *c; c++)
		if (*c == '-')
			*c = '_';
	json_object_set_new(context, key, end != value && !*end ? json_integer(number) : json_string(value));
}

json_t *knobs_json(const struct knobs *knobs)
{
	json_t *object = json_object();

	knobs_each(knobs, add_json, object);
	return object;
}
