/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* control_answer.c - what is asked over the control socket, and who answers it. docs/CONTROL.md has the requests; each is small and bounded. */
#include "user/control_internal.h"

#include "user/agent.h"
#include "user/compile.h"
#include "user/health.h"
#include "user/launch.h"
#include "user/live.h"
#include "user/log.h"
#include "user/member.h"
#include "user/lead.h"
#include "user/lend.h"
#include "user/members.h"
#include "user/order.h"
#include "user/pending.h"
#include "user/placement.h"
#include "user/reload.h"
#include "user/scheduler.h"
#include "user/shared_registry.h"
#include "user/secrets.h"
#include "user/status.h"
#include "user/traces.h"
#include "user/upgrade.h"
#include "user/version.h"
#include "user/warmth.h"
#include "user/zygotes.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

json_t *wc_control_fail(const char *code, const char *text)
{
	char plain[sizeof(((struct wc_fault *)0)->text)];
	json_t *valid = json_string(text);

	if (!valid) { /* names of files may be any bytes, and a sentence may be cut off within a letter */
		snprintf(plain, sizeof(plain), "%s", text);
		for (char *c = plain; *c; c++)
			*c = *c & 0x80 ? '?' : *c;
		text = plain;
	}
	json_decref(valid);
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text);
}

json_t *wc_control_fault(int error, const struct wc_fault *fault)
{
	return wc_control_fail(error == -ENOENT			   ? "not-found" :
			       error == -EINVAL			   ? "bad-request" :
			       error == -ENOSPC || error == -EFBIG ? "limit" :
			       error == -EEXIST			   ? "conflict" :
			       error == -ESTALE			   ? "precondition" :
								     "failed",
			       fault->text);
}

/* Agents may hold instances of what was replaced or removed: let them look. */
static void sweep_all(struct wc_node *node)
{
	for (uint32_t i = 0; i < node->agents_started; i++)
		wc_agent_wake(node, i);
}

static pthread_mutex_t secrets_lock = PTHREAD_MUTEX_INITIALIZER; /* a secret is of a function that is there */

/* What its author may not expect of a function that is good: array of sentences. */
static json_t *warnings_of(const struct wc_manifest *manifest)
{
	const char *variable = wc_order_import_variable(manifest);
	json_t *list = json_array();

	if (variable)
		json_array_append_new(
			list,
			json_sprintf("libraries look at %.100s while they are imported, so each instance imports %s by "
				     "itself and cold starts take longer",
				     variable, manifest->libraries));
	return list;
}

/* Another version of a function, or another function, is current. */
void wc_control_switched(struct wc_node *node)
{
	wc_zygotes_changed(node->launcher.zygotes);
	wc_scheduler_wake(node);
	wc_pending_changed(node); /* the limits may be others */
	wc_members_changed(node);
	sweep_all(node);
}

static json_t *do_deploy(struct wc_node *node, json_t *request)
{
	const char *source = json_string_value(json_object_get(request, "source"));
	struct wc_manifest manifest;
	enum wc_deployed what;
	struct wc_fault fault;
	struct wc_fn *fn;
	json_t *answer;
	uint32_t id;
	int error;

	if (!source || source[0] != '/')
		return wc_control_fail("bad-request", "\"source\" must be an absolute path");
	if (!wc_control_id(request, &id))
		return wc_control_fail("bad-request", WC_CONTROL_NO_ID);
	json_object_del(request, "id"); /* it is none of the settings */
	error = wc_manifest_parse(&manifest, request, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	error = wc_functions_permitted(node->functions, &manifest, &fault);
	if (error) {
		wc_manifest_release(&manifest);
		return wc_control_fault(error, &fault);
	}
	error = wc_functions_deploy_as(node->functions, &manifest, &(struct wc_source){ .path = source }, id, &fn,
				       &what, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	/* Also when nothing changed: Python may have, or a crash came in between. Before instances are provided. */
	wc_compile(&node->launcher, fn, wc_control_stopping());
	wc_shared_accept(node, fn->manifest.name, NULL, false);
	answer = json_pack("{s:b, s:o, s:b, s:b, s:o}", "ok", 1, "function", wc_fn_json(fn), "replaced",
			   what == WC_REPLACED, "unchanged", what == WC_UNCHANGED, "warnings",
			   warnings_of(&fn->manifest));
	if (what != WC_UNCHANGED) {
		wc_info("function %s deployed as %u version %u", fn->manifest.name, fn->id, fn->version);
		wc_control_switched(node);
	}
	wc_fn_put(fn);
	return answer;
}

static json_t *do_versions(struct wc_node *node, const char *name, json_t *request)
{
	struct wc_fault fault;
	json_t *versions;
	int error = wc_functions_versions(node->functions, name, &versions, &fault);

	(void)request;
	return error ? wc_control_fault(error, &fault) : json_pack("{s:b, s:o}", "ok", 1, "versions", versions);
}

static json_t *do_rollback(struct wc_node *node, const char *name, json_t *request)
{
	json_t *version = json_object_get(request, "version");
	struct wc_fault fault;
	struct wc_fn *fn;
	json_t *answer;
	uint32_t from;
	int error;

	if (version &&
	    (!json_is_integer(version) || json_integer_value(version) < 1 || json_integer_value(version) > UINT32_MAX))
		return wc_control_fail("bad-request",
				       "\"version\" must be the number of a version; see `warmcore versions`");
	error = wc_functions_rollback(node->functions, name, (uint32_t)json_integer_value(version), &fn, &from, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	answer = json_pack("{s:b, s:o, s:I}", "ok", 1, "function", wc_fn_json(fn), "from", (json_int_t)from);
	wc_info("function %s back from version %u to %u", name, from, fn->version);
	wc_control_switched(node);
	wc_fn_put(fn);
	return answer;
}

static json_t *do_set(struct wc_node *node, json_t *request)
{
	json_t *knobs = json_object_get(request, "knobs");
	struct wc_fault fault;
	int error;

	if (!json_is_object(knobs) || !json_object_size(knobs))
		return wc_control_fail("bad-request", "\"knobs\" must be an object with at least one of them");
	error = wc_reload_set(node, knobs, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	wc_info("knobs set: policy %s, order %s, prefer %s", wc_policy_names[node->options.policy],
		wc_order_names[node->options.order], wc_prefer_names[node->options.prefer]);
	return wc_status(node);
}

static json_t *do_reload(struct wc_node *node)
{
	struct wc_fault fault;
	json_t *answer;
	int error = wc_reload(node, &answer, &fault);

	return error ? wc_control_fault(error, &fault) : answer;
}

/* The main loop does it. */
static json_t *do_upgrade(json_t *request)
{
	const char *program = json_string_value(json_object_get(request, "program"));
	json_t *timeout = json_object_get(request, "timeout_ms");
	struct wc_fault fault;
	int pid, error;

	if (!program || (timeout && (!json_is_integer(timeout) || json_integer_value(timeout) < 1 ||
				     json_integer_value(timeout) > WC_UPGRADE_TIMEOUT_MS_MAX)))
		return wc_control_fail("bad-request",
				       "\"program\" must be a path, \"timeout_ms\" a number from 1 to 3600000");
	error = wc_upgrade_ask(program, timeout ? (uint32_t)json_integer_value(timeout) : WC_UPGRADE_TIMEOUT_MS, &pid,
			       &fault);
	return error ? wc_control_fault(error, &fault) : json_pack("{s:b, s:i}", "ok", 1, "pid", pid);
}

static json_t *do_drain(struct wc_node *node, const char *name, const json_t *request)
{
	struct wc_fault fault;
	int error;

	if (!name || !json_is_boolean(json_object_get(request, "drain")))
		return wc_control_fail("bad-request", "\"name\" must be that of a node, \"drain\" true or false");
	error = wc_members_drain(node, name, json_is_true(json_object_get(request, "drain")), &fault);
	return error ? wc_control_fault(error, &fault) : json_pack("{s:b}", "ok", 1);
}

static json_t *do_leave(struct wc_node *node)
{
	struct wc_fault fault;
	int error = wc_member_leave(node, &fault);

	return error ? wc_control_fault(error, &fault) : json_pack("{s:b}", "ok", 1);
}

static json_t *do_join(struct wc_node *node, const json_t *request)
{
	const json_t *schedulers = json_object_get(request, "schedulers");
	struct wc_fault fault;
	int error;

	if (schedulers && !json_is_string(schedulers))
		return wc_control_fail("bad-request", "\"schedulers\" must be HOST:PORT, or several with commas");
	error = wc_member_join(node, json_string_value(schedulers), &fault);
	return error ? wc_control_fault(error, &fault) : json_pack("{s:b}", "ok", 1);
}

/* It is on until the connection ends: serve(). */
static json_t *do_trace(struct wc_node *node, json_t *request)
{
	struct wc_fault fault;
	int error;
	json_t *answer = wc_traces_begin(node, request, &fault, &error);

	return answer ?: wc_control_fault(error, &fault);
}

static json_t *do_secret(struct wc_node *node, const char *name, json_t *request)
{
	const char *state = node->options.state_dir, *key = json_string_value(json_object_get(request, "key"));
	const char *action = json_string_value(json_object_get(request, "action")) ?: "";
	json_t *value = json_object_get(request, "value"), *answer = NULL;
	struct wc_fn *fn = wc_functions_find(node->functions, name);
	struct wc_fault fault;
	int error = 0;

	if (!fn)
		return wc_control_fail("not-found", "no function of this name is deployed; see `warmcore list`");
	if (!strcmp(action, "list"))
		answer = json_pack("{s:b, s:o}", "ok", 1, "keys", wc_secrets_list(state, name));
	else if (!strcmp(action, "set") && key && json_is_string(value))
		error = wc_secret_set(state, name, wc_uid_base(node->options.name) + WC_FUNCTION_SLOT(fn->id), key,
				      json_string_value(value), json_string_length(value), &fault);
	else if (!strcmp(action, "remove") && key)
		error = wc_secret_remove(state, name, key, &fault);
	else
		answer = wc_control_fail(
			"bad-request",
			"\"action\" must be list, set (with \"key\" and \"value\") or remove (with \"key\")");
	if (error)
		answer = wc_control_fault(error, &fault);
	if (!answer)
		answer = json_pack("{s:b, s:s}", "ok", 1, "key", key);
	wc_fn_put(fn);
	return answer;
}

/* Instances that idle only: what runs is not touched. Without a name, those of all functions. */
static json_t *do_evict(struct wc_node *node, const char *name, json_t *request)
{
	struct wc_fn *fn = NULL;
	struct wc_fault fault;
	uint32_t count;
	int error = name ? wc_control_find(node, name, request, &fn, &fault) : 0;

	if (error)
		return wc_control_fault(error, &fault);
	count = wc_agents_evict(node, fn);
	wc_fn_put(fn);
	return json_pack("{s:b, s:i}", "ok", 1, "stopped", (int)count);
}

/* Without a name: of all functions. */
static json_t *do_warmth(struct wc_node *node, const char *name)
{
	struct wc_fn *fn = name ? wc_functions_find(node->functions, name) : NULL;

	if (name && !fn)
		return wc_control_fail("not-found", "no function of this name is deployed; see `warmcore list`");
	wc_fn_put(fn);
	return json_pack("{s:b, s:o, s:o}", "ok", 1, "node", wc_warmth_json(node->warmth), "functions",
			 wc_warmth_list(node->warmth, name));
}

/* What is asked of one function, by name. */
static const struct {
	const char *op;
	json_t *(*run)(struct wc_node *node, const char *name, json_t *request);
	pthread_mutex_t *lock; /* or NULL */
} of_functions[] = {
	{ "resolve", wc_control_resolve, NULL },
	{ "remove", wc_control_remove, &secrets_lock },
	{ "secret", do_secret, &secrets_lock },
	{ "versions", do_versions, NULL },
	{ "rollback", do_rollback, NULL },
	{ "limit", wc_control_limit, &wc_knobs_lock },
	{ "settings", wc_control_settings, NULL },
	{ "configure", wc_control_configure, &wc_knobs_lock },
	{ "publish", wc_control_publish, NULL },
	{ "published", wc_control_published, NULL },
	{ "alias", wc_control_alias, &wc_knobs_lock },
	{ "concurrency", wc_control_concurrency, &wc_knobs_lock },
	{ "tail", wc_control_tail, NULL },
};

json_t *wc_control_answer(struct wc_node *node, json_t *request)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	const char *name = json_string_value(json_object_get(request, "name"));
	json_t *answer;

	if (!op)
		return wc_control_fail("bad-request", "the request has no \"op\"");
	if (!strcmp(op, "ping"))
		return json_pack("{s:b, s:s, s:i}", "ok", 1, "version", WC_VERSION_TEXT, "pid", (int)getpid());
	if (!strcmp(op, "status"))
		return wc_status(node);
	if (!strcmp(op, "metrics"))
		return wc_control_metrics(node);
	if (!strcmp(op, "live"))
		return wc_live(node);
	if (!strcmp(op, "list")) {
		answer = wc_functions_list(node->functions, json_is_true(json_object_get(request, "all")));
		wc_placement_times(node, answer);
		return json_pack("{s:b, s:o}", "ok", 1, "functions", answer);
	}
	if (!strcmp(op, "registry"))
		return json_pack("{s:b, s:o}", "ok", 1, "registry", wc_functions_check(node->functions));
	if (!strcmp(op, "nodes"))
		return json_pack("{s:b, s:o, s:o, s:o, s:o}", "ok", 1, "cluster", wc_members_json(node), "membership",
				 wc_member_json(node), "election", wc_lead_json(node), "lent_to", wc_lend_json(node));
	if (!strcmp(op, "health"))
		return wc_health(node);
	if (!strcmp(op, "drain"))
		return do_drain(node, name, request);
	if (!strcmp(op, "leave"))
		return do_leave(node);
	if (!strcmp(op, "join"))
		return do_join(node, request);
	if (!strcmp(op, "check"))
		return json_pack("{s:b, s:o}", "ok", 1, "problems", wc_status_check(node));
	if (!strcmp(op, "stop")) {
		kill(getpid(), SIGTERM);
		return json_pack("{s:b, s:b}", "ok", 1, "stopping", 1);
	}
	if (!strcmp(op, "deploy"))
		return do_deploy(node, request);
	if (!strcmp(op, "set"))
		return do_set(node, request);
	if (!strcmp(op, "reload"))
		return do_reload(node);
	if (!strcmp(op, "config"))
		return wc_reload_show(node);
	if (!strcmp(op, "upgrade"))
		return do_upgrade(request);
	if (!strcmp(op, "trace"))
		return do_trace(node, request);
	if (!strcmp(op, "evict"))
		return do_evict(node, name, request);
	if (!strcmp(op, "logs"))
		return wc_control_logs(node, name, request);
	if (!strcmp(op, "warmth"))
		return do_warmth(node, name);
	for (size_t i = 0; i < sizeof(of_functions) / sizeof(of_functions[0]); i++) {
		if (strcmp(op, of_functions[i].op) != 0)
			continue;
		if (!name)
			return wc_control_fail("bad-request", "the request has no \"name\"");
		if (of_functions[i].lock)
			pthread_mutex_lock(of_functions[i].lock);
		answer = of_functions[i].run(node, name, request);
		if (of_functions[i].lock)
			pthread_mutex_unlock(of_functions[i].lock);
		return answer;
	}
	return wc_control_fail("bad-request", "unknown \"op\"");
}

json_t *wc_control_answer_file(struct wc_node *node, json_t *request, int *ret_file)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	const char *name = json_string_value(json_object_get(request, "name"));

	*ret_file = -1;
	if (!op || strcmp(op, "code") != 0)
		return wc_control_answer(node, request);
	return name ? wc_control_code(node, name, request, wc_control_stopping(), ret_file) :
		      wc_control_fail("bad-request", "the request has no \"name\"");
}
