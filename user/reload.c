/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* reload.c - see reload.h. */
#include "user/reload.h"

#include "user/functions.h"
#include "user/log.h"
#include "user/scheduler.h"
#include "user/traces.h"
#include "user/warmth.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LENGTH 64

pthread_mutex_t wc_knobs_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct wc_knobs_given nothing;

static struct {
	int argc;
	char **argv;
	const struct wc_knobs_given *start;
	struct wc_knobs_given last; /* of the last reload */
	bool reloaded;
	uint64_t turned[4]; /* bits of knobs that `set` has turned since */
} known = { .start = &nothing };

void wc_reload_remember(int argc, char **argv, const struct wc_knobs_given *given)
{
	known.argc = argc;
	known.argv = argv;
	known.start = given;
}

static bool any_reserved(struct wc_node *node)
{
	uint32_t wanted[WC_RESERVES_MAX];

	wc_functions_reserved(node->functions, wanted);
	for (uint32_t r = 1; r < WC_RESERVES_MAX; r++)
		if (wanted[r])
			return true;
	return false;
}

/* Each knob is a word that is read once a decision, so they need not change together. */
int wc_reload_apply(struct wc_node *node, const struct wc_options *wanted, struct wc_fault *fault)
{
	struct wc_config *config = node->tables.wc_config;
	int error;

	if (wanted->cores_min > node->options.core_count)
		return wc_fail(fault, EINVAL, "cores_min: the node has fewer worker cores");
	if (wc_policy_binding(wanted->policy) == WC_BIND_EARLY && any_reserved(node))
		return wc_fail(
			fault, EINVAL,
			"policy: functions have reserved cores, which a policy that binds to any core would ignore; "
			"take the reservations back first, with `warmcore limit`");
	error = wc_traces_set(node, wanted->trace, fault);
	if (error)
		return error;
	for (size_t i = 0; i < wc_options_knobs.count; i++) {
		const struct wc_knob *knob = &wc_options_knobs.table[i];

		if (knob->when == WC_KNOB_LIVE)
			memcpy((char *)&node->options + knob->offset, (const char *)wanted + knob->offset, knob->size);
	}
	WC_WRITE(config->order, wanted->order);
	WC_WRITE(config->prefer, wanted->prefer);
	WC_WRITE(config->core_queue_max, wanted->core_queue);
	WC_WRITE(config->pack_slots, wanted->pack_slots);
	WC_WRITE(config->policy, wanted->policy);
	wc_config_changed(config);
	wc_node_apply_quantum(node);
	wc_warmth_changed(node->warmth);
	wc_functions_grant(node->functions);
	wc_scheduler_wake(node);
	return 0;
}

/* --- set --- */

static const struct wc_knob *live_knob(const char *key)
{
	const struct wc_knob *knob;
	char name[NAME_MAX_LENGTH];

	snprintf(name, sizeof(name), "%s", key);
	for (char *c = name; *c; c++)
		*c = *c == '_' ? '-' : *c;
	knob = strchr(key, '-') ? NULL :
				  wc_knob_find(&wc_options_knobs, name, strlen(key) < sizeof(name) ? strlen(name) : 0);
	return knob && knob->when == WC_KNOB_LIVE ? knob : NULL;
}

/* Check one knob and put its value into *wanted. */
static int set_one(struct wc_options *wanted, const char *key, const json_t *value, struct wc_fault *fault)
{
	const struct wc_knob *knob = live_knob(key);
	char text[32];

	if (knob && knob->kind == WC_KNOB_NUMBER) {
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
		if (json_is_integer(value) && !wc_knob_set(knob, wanted, text, fault))
			return 0;
		return wc_fail(fault, EINVAL,
			       "%.60s: the value is not a number within its limits; see `warmcore help set`", key);
	}
	if (knob && json_is_string(value) && !wc_knob_set(knob, wanted, json_string_value(value), fault))
		return 0;
	return wc_fail(fault, EINVAL, "%.60s: there is no such knob, or it has no such value; see `warmcore help set`",
		       key);
}

int wc_reload_set(struct wc_node *node, const json_t *knobs, struct wc_fault *fault)
{
	struct wc_options *wanted = malloc(sizeof(*wanted)); /* large: not on the stack */
	const struct wc_knob *knob;
	const char *key;
	json_t *value;
	int error = 0;

	if (!wanted)
		return wc_fail(fault, ENOMEM, "out of memory");
	pthread_mutex_lock(&wc_knobs_lock);
	*wanted = node->options;
	json_object_foreach ((json_t *)(uintptr_t)knobs, key, value) {
		error = set_one(wanted, key, value, fault);
		if (error)
			break;
	}
	error = error ?: wc_reload_apply(node, wanted, fault);
	json_object_foreach ((json_t *)(uintptr_t)knobs, key, value) {
		knob = live_knob(key);
		if (!error && knob)
			known.turned[(knob - wc_options_knobs.table) / 64] |= 1ull
									      << (knob - wc_options_knobs.table) % 64;
	}
	pthread_mutex_unlock(&wc_knobs_lock);
	free(wanted);
	return error;
}

/* --- the file, again --- */

static json_t *reload_locked(struct wc_node *node, struct wc_options *wanted, struct wc_knobs_given *given,
			     struct wc_fault *fault, int *ret_error)
{
	const struct wc_knobs *knobs = &wc_options_knobs;
	json_t *changed, *restart;
	struct wc_options before;

	*ret_error = wc_options_read(wanted, given, known.argc, known.argv, fault);
	if (*ret_error)
		return NULL;
	before = node->options;
	*ret_error = wc_reload_apply(node, wanted, fault);
	if (*ret_error)
		return NULL;
	changed = json_array();
	restart = json_array();
	for (size_t i = 0; i < knobs->count; i++) {
		const struct wc_knob *knob = &knobs->table[i];
		bool live = knob->when == WC_KNOB_LIVE;

		/* What is started with is compared with what it was started with: the node may have made something else of it. */
		if (knob->when != WC_KNOB_LINE &&
		    !wc_knob_same(knobs, knob, known.start, live ? &before : &node->asked, given, wanted))
			json_array_append_new(live ? changed : restart, json_string(knob->name));
	}
	return json_pack("{s:b, s:s?, s:o, s:o}", "ok", 1, "file", given->path[0] ? given->path : NULL, "changed",
			 changed, "restart", restart);
}

int wc_reload(struct wc_node *node, json_t **ret_answer, struct wc_fault *fault)
{
	struct wc_options *wanted = malloc(sizeof(*wanted));
	struct wc_knobs_given *given = calloc(1, sizeof(*given));
	int error;

	if (!wanted || !given) {
		free(wanted);
		free(given);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	pthread_mutex_lock(&wc_knobs_lock);
	*ret_answer = reload_locked(node, wanted, given, fault, &error);
	if (!error) {
		if (known.reloaded)
			wc_knobs_release(&known.last);
		known.last = *given;
		known.reloaded = true;
		memset(known.turned, 0, sizeof(known.turned));
	} else {
		wc_knobs_release(given);
	}
	pthread_mutex_unlock(&wc_knobs_lock);
	free(wanted);
	free(given);
	return error;
}

static void join_names(const json_t *list, char *out, size_t size)
{
	size_t at = 0;

	snprintf(out, size, "none");
	for (size_t i = 0; i < json_array_size(list) && at < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "",
				       json_string_value(json_array_get(list, i)));
}

void wc_reload_and_say(struct wc_node *node)
{
	char changed[300], restart[300];
	struct wc_fault fault;
	json_t *answer = NULL;

	if (wc_reload(node, &answer, &fault)) {
		wc_error("the configuration was not read again, and nothing has changed: %s", fault.text);
		return;
	}
	join_names(json_object_get(answer, "changed"), changed, sizeof(changed));
	join_names(json_object_get(answer, "restart"), restart, sizeof(restart));
	wc_info("the configuration was read again: changed %s; needs a restart: %s", changed, restart);
	json_decref(answer);
}

json_t *wc_reload_show(struct wc_node *node)
{
	const struct wc_knobs *knobs = &wc_options_knobs;
	json_t *start, *last, *list, *row;
	size_t at = 0;

	pthread_mutex_lock(&wc_knobs_lock);
	start = wc_knobs_json(knobs, known.start, &node->options);
	last = known.reloaded ? wc_knobs_json(knobs, &known.last, &node->options) : json_incref(start);
	list = json_object_get(start, "knobs");
	for (size_t i = 0; i < knobs->count; i++) {
		if (knobs->table[i].when == WC_KNOB_LINE)
			continue;
		row = json_array_get(json_object_get(last, "knobs"), at);
		if (knobs->table[i].when == WC_KNOB_LIVE && known.reloaded)
			json_array_set(list, at, row);
		if (known.turned[i / 64] >> i % 64 & 1)
			json_object_set_new(json_array_get(list, at), "from", json_string("warmcore set"));
		at++;
	}
	json_object_set_new(start, "ok", json_true());
	pthread_mutex_unlock(&wc_knobs_lock);
	json_decref(last);
	return start;
}
