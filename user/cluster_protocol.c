/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cluster_protocol.c - see cluster_protocol.h. */
#include "user/cluster_protocol.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAMES_MAX 64 /* of features, in one message */

static const char *const names[] = { "counts" };

const struct wc_speaks wc_speaks_here = { WC_PROTOCOL_FIRST, WC_PROTOCOL_LAST, WC_FEATURE_COUNTS };

json_t *wc_features_json(uint32_t features)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (features & 1u << i)
			json_array_append_new(list, json_string(names[i]));
	return list;
}

uint32_t wc_features_parse(const json_t *list)
{
	uint32_t features = 0;

	for (size_t i = 0; i < json_array_size(list) && i < NAMES_MAX; i++) {
		const char *name = json_string_value(json_array_get(list, i)) ?: "";

		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			if (!strcmp(name, names[k]))
				features |= 1u << k;
	}
	return features;
}

json_t *wc_speaks_json(const struct wc_speaks *speaks)
{
	return json_pack("{s:I, s:I, s:o}", "first", (json_int_t)speaks->first, "last", (json_int_t)speaks->last,
			 "features", wc_features_json(speaks->features));
}

static void range(uint32_t first, uint32_t last, char text[32])
{
	if (first == last)
		snprintf(text, 32, "%u", first);
	else
		snprintf(text, 32, "%u to %u", first, last);
}

static int refuse(const struct wc_speaks *own, const char *here, uint32_t first, uint32_t last, const char *there,
		  struct wc_fault *fault)
{
	char theirs[32], ours[32];

	range(first, last, theirs);
	range(own->first, own->last, ours);
	return wc_fail(
		fault, EPROTONOSUPPORT,
		"%s speaks protocol %s of the cluster, %s %s: upgrade %s, if need be by way of a version that speaks both",
		there, theirs, here, ours, last < own->first ? there : here);
}

int wc_speaks_agree(const struct wc_speaks *own, const json_t *theirs, struct wc_speaks *ret, struct wc_fault *fault)
{
	json_int_t first = WC_PROTOCOL_SILENT, last = WC_PROTOCOL_SILENT;

	if (theirs) {
		first = json_integer_value(json_object_get(theirs, "first"));
		last = json_integer_value(json_object_get(theirs, "last"));
	}
	if (first < 1 || last < first || last > WC_PROTOCOL_MAX)
		return wc_fail(
			fault, EINVAL,
			"what the node says of the protocols that it speaks makes no sense: \"first\" and \"last\" must be numbers from 1 to %d",
			WC_PROTOCOL_MAX);
	if (first > own->last || last < own->first)
		return refuse(own, "its scheduler", (uint32_t)first, (uint32_t)last, "the node", fault);
	ret->first = ret->last = (uint32_t)last < own->last ? (uint32_t)last : own->last;
	ret->features = own->features & wc_features_parse(json_object_get(theirs, "features"));
	return 0;
}

int wc_speaks_accept(const struct wc_speaks *own, const json_t *answer, struct wc_speaks *ret, struct wc_fault *fault)
{
	const json_t *said = json_object_get(answer, "protocol");
	json_int_t version = said ? json_integer_value(said) : WC_PROTOCOL_SILENT;

	if (version < 1 || version > WC_PROTOCOL_MAX)
		return wc_fail(fault, EINVAL, "the scheduler's answer names no protocol that there could be");
	if (version < own->first || version > own->last)
		return refuse(own, "this node", (uint32_t)version, (uint32_t)version, "the scheduler", fault);
	ret->first = ret->last = (uint32_t)version;
	ret->features = own->features & wc_features_parse(json_object_get(answer, "features"));
	return 0;
}
