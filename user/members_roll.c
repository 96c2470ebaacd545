/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members_roll.c - see members_roll.h. */
#include "user/members_roll.h"

#include "bpf/cluster_tables.h"
#include "user/store.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_ 64

struct wc_roll {
	char path[400];
	char names[WC_MEMBERS_MAX][NAME_MAX_]; /* by id; empty: nobody's */
};

bool wc_roll_name_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t length = strlen(name);

	return length && length < NAME_MAX_ && strspn(name, allowed) == length && *name != '.' && *name != '-';
}

static int take(struct wc_roll *roll, json_t *object, struct wc_fault *fault)
{
	const char *name;
	json_t *value;

	json_object_foreach (object, name, value) {
		json_int_t id = json_integer_value(value);

		if (!wc_roll_name_valid(name) || id < 1 || id >= WC_MEMBERS_MAX || roll->names[id][0])
			return wc_fail(
				fault, EINVAL,
				"%s: '%.60s' has no id of its own from 1 to %d; remove the file when no node of the cluster runs anything",
				roll->path, name, WC_MEMBERS_MAX - 1);
		snprintf(roll->names[id], NAME_MAX_, "%s", name);
	}
	return 0;
}

int wc_roll_open(struct wc_roll **ret_roll, const char *state_dir, struct wc_fault *fault)
{
	struct wc_roll *roll = calloc(1, sizeof(*roll));
	json_error_t why;
	json_t *object;
	int error = 0;

	if (!roll)
		return wc_fail(fault, ENOMEM, "out of memory");
	snprintf(roll->path, sizeof(roll->path), "%s/members.json", state_dir);
	object = json_load_file(roll->path, JSON_REJECT_DUPLICATES, &why);
	if (!object && json_error_code(&why) != json_error_cannot_open_file)
		error = wc_fail(fault, EINVAL,
				"cannot read %s: %s; remove it when no node of the cluster runs anything", roll->path,
				why.text);
	if (!error && object && !json_is_object(object))
		error = wc_fail(
			fault, EINVAL,
			"%s is not an object of names and ids; remove it when no node of the cluster runs anything",
			roll->path);
	error = error ?: take(roll, object, fault);
	json_decref(object);
	if (error)
		free(roll);
	else
		*ret_roll = roll;
	return error;
}

void wc_roll_close(struct wc_roll *roll)
{
	free(roll);
}

static int save(const struct wc_roll *roll, struct wc_fault *fault)
{
	json_t *object = json_object();
	char *text;
	int error;

	for (int id = 1; id < WC_MEMBERS_MAX; id++)
		if (roll->names[id][0])
			json_object_set_new(object, roll->names[id], json_integer(id));
	text = json_dumps(object, JSON_INDENT(1));
	error = text ? wc_store_write(roll->path, text, fault) : wc_fail(fault, ENOMEM, "out of memory");
	free(text);
	json_decref(object);
	return error;
}

uint16_t wc_roll_id(struct wc_roll *roll, const char *name, struct wc_fault *fault)
{
	uint16_t empty = 0;

	for (uint16_t id = WC_MEMBERS_MAX - 1; id; id--) {
		if (!strcmp(roll->names[id], name))
			return id;
		if (!roll->names[id][0])
			empty = id;
	}
	if (!empty) {
		wc_fail(fault, ENOSPC,
			"%d nodes have been in the cluster, and no more can be; remove members.json in the scheduler's state folder when none runs anything",
			WC_MEMBERS_MAX - 1);
		return 0;
	}
	snprintf(roll->names[empty], NAME_MAX_, "%s", name);
	if (save(roll, fault)) {
		roll->names[empty][0] = 0;
		return 0;
	}
	return empty;
}

const char *wc_roll_name(const struct wc_roll *roll, uint16_t id)
{
	return id < WC_MEMBERS_MAX ? roll->names[id] : "";
}
