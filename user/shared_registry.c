/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* shared_registry.c - see shared_registry.h. One thread, which alone asks etcd; what it holds, and what it says, is under a lock. */
#include "user/shared_registry.h"

#include "user/clock.h"
#include "user/elect.h"
#include "user/etcd_batch.h"
#include "user/functions.h"
#include "user/log.h"
#include "user/members.h"
#include "user/record.h"
#include "user/shared_config.h"
#include "user/shared_plan.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_NS (200 * WC_MS) /* between two looks at what has changed */
#define RETRY_NS (500 * WC_MS)
#define RETRY_SOON_NS (20 * WC_MS) /* nodes wait for what is there */
#define KNOWN_NS (5 * WC_SECOND)   /* so long nodes are told nothing, if etcd cannot be read */
#define WRITE_MS 1000
#define READ_MS 2000
#define REVOKE_MS 300
#define LEASE_S 10 /* of nodes: so long they are there when the leader is gone */
#define KEEP_NS (3 * WC_SECOND)
#define IDS_AHEAD 32 /* as member.c */
#define NAMES_MAX 32 /* that are told */

/* What leading means this time; under the lock. */
struct role {
	uint64_t term, before, since_ns; /* term 0: it does not lead */
	bool followed;
};

struct wc_shared {
	struct wc_node *node;
	struct wc_shared_plan plan;
	struct wc_etcd *etcd;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, woken;
	struct role role;
	atomic_bool settled;
	/* Of the thread. */
	struct role mine;	    /* the role that it is in */
	json_t *there;		    /* texts in etcd by key, as far as is known; NULL: they have to be read */
	json_t *wanted;		    /* that are wanted, without nodes */
	uint64_t signature;	    /* of what they were made from */
	json_t *drained;	    /* likewise */
	json_t *nodes;		    /* that were written last */
	bool dirty;		    /* there may be differences */
	bool avoids;		    /* ids */
	struct wc_shared_mark mark; /* as it is there */
	int64_t mark_revision, lease;
	uint64_t keep_ns, written;
	char above[WC_ELECT_BOUND_MAX], below[WC_ELECT_BOUND_MAX]; /* the leader's record while it is ours */
	/* Under the lock; changed by the thread, but for what is accepted. */
	json_t *held;
	bool accepted;			       /* something is held no more */
	char why[300];			       /* it is not up to date; empty: it is, or nobody knows yet */
	uint64_t written_ns, settled_after_ns; /* it has begun to lead */
	time_t written_at;
	uint32_t keys, pending;
};

static const struct wc_shared *shared_of(const struct wc_node *node)
{
	return node->shared;
}

/* --- what is said of it --- */

/* "": all is well. */
static void explain(struct wc_shared *shared, const char *why, uint32_t pending)
{
	pthread_mutex_lock(&shared->lock);
	if (*why && !*shared->why)
		wc_warning("the registry in etcd is not up to date: %s", why);
	if (!*why && *shared->why)
		wc_info("the registry in etcd is up to date again");
	snprintf(shared->why, sizeof(shared->why), "%.299s", why);
	shared->pending = pending;
	pthread_mutex_unlock(&shared->lock);
}

/* Names of what is held for this reason: NAME or NAME:NUMBER. Under the lock. */
static json_t *names_held(const struct wc_shared *shared, const char *why)
{
	json_t *names = json_array(), *value;
	char name[WC_SHOWN_MAX + 16];
	const char *key;

	json_object_foreach (shared->held, key, value) {
		const char *end = strrchr(key, '/'), *begin = strchr(key, '/');
		bool latest = end && !strcmp(end, "/$LATEST");

		if (!end || end == begin || json_array_size(names) == NAMES_MAX ||
		    strcmp(json_string_value(json_object_get(value, "why")) ?: "", why) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s%s%s", (int)(end - begin - 1), begin + 1, latest ? "" : ":",
			 latest ? "" : end + 1);
		json_array_append_new(names, json_string(name));
	}
	return names;
}

static json_t *refused_json(const struct wc_shared *shared)
{
	json_t *list = json_object(), *value;
	const char *key;

	json_object_foreach (shared->held, key, value) {
		const char *why = json_string_value(json_object_get(value, "why"));

		if (!strncmp(why, "refused: ", 9) && json_object_size(list) < NAMES_MAX)
			json_object_set_new(list, key, json_string(why + 9));
	}
	return list;
}

json_t *wc_shared_json(const struct wc_node *node)
{
	struct wc_shared *shared = node->shared;
	json_t *object;
	bool settled;

	if (!shared)
		return json_null();
	pthread_mutex_lock(&shared->lock);
	settled = atomic_load(&shared->settled);
	if (!shared->role.term)
		object = json_null();
	else
		object = json_pack("{s:b, s:b, s:i, s:i, s:o, s:o, s:s?, s:o, s:o, s:o, s:o}", "current",
				   settled && !*shared->why && !shared->pending && shared->written_ns, "settled",
				   (int)settled, "keys", (int)shared->keys, "pending", (int)shared->pending,
				   "written_at", shared->written_at ? wc_time_json(shared->written_at) : json_null(),
				   "written_ms_ago",
				   shared->written_ns ?
					   json_integer((json_int_t)((wc_now() - shared->written_ns) / WC_MS)) :
					   json_null(),
				   "error", *shared->why ? shared->why : NULL, "lacks", names_held(shared, "missing"),
				   "outdated", names_held(shared, "other"), "removed", names_held(shared, "stale"),
				   "refused", refused_json(shared));
	if (settled && shared->role.term)
		json_object_set_new(object, "settled_ms", json_real((double)shared->settled_after_ns / (double)WC_MS));
	pthread_mutex_unlock(&shared->lock);
	return object;
}

/* --- what is held --- */

static bool is_function(const char *key)
{
	return !strncmp(key, "functions/", strlen("functions/"));
}

/* Is it held because it cannot be in force here, and not because this host knows less? */
static bool is_refused(const json_t *value)
{
	return !strncmp(json_string_value(json_object_get(value, "why")), "refused", strlen("refused"));
}

/* Ids that etcd has given to what is not here are not given out here. */
static void avoid_ids(struct wc_shared *shared)
{
	static bool slots[WC_FUNCTIONS_MAX]; /* of the thread alone */
	const char *key;
	bool any = false;
	json_t *value;

	memset(slots, 0, sizeof(slots));
	pthread_mutex_lock(&shared->lock);
	json_object_foreach (shared->held, key, value) {
		json_t *function = is_function(key) ?
					   wc_shared_function(key, json_string_value(json_object_get(value, "there"))) :
					   NULL;

		if (function)
			any = slots[WC_FUNCTION_SLOT(json_integer_value(json_object_get(function, "id")))] = true;
		json_decref(function);
	}
	pthread_mutex_unlock(&shared->lock);
	if (any || shared->avoids)
		wc_functions_avoid(shared->node->functions, slots);
	shared->avoids = any;
}

static void warn_of_held(struct wc_shared *shared)
{
	static const struct {
		const char *why, *sentence;
	} KINDS[] = {
		{ "missing",
		  "this scheduler does not have %zu functions of the cluster, which etcd knows: %s. Nodes and standbys "
		  "keep them; let a scheduler that has them lead, deploy them again, or `warmcore remove` them" },
		{ "other",
		  "%zu functions are others here than etcd says: %s. They run at this host only, until they are deployed again" },
		{ "stale",
		  "%zu functions here were removed from the cluster, as etcd says: %s. They run at this host only; "
		  "remove them, or deploy them again" },
	};

	for (size_t k = 0; k < sizeof(KINDS) / sizeof(KINDS[0]); k++) {
		char text[400] = "";
		size_t at = 0, i;
		json_t *names, *name;

		pthread_mutex_lock(&shared->lock);
		names = names_held(shared, KINDS[k].why);
		pthread_mutex_unlock(&shared->lock);
		json_array_foreach (names, i, name)
			if (at < sizeof(text))
				at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? ", " : "",
						       json_string_value(name));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		if (json_array_size(names))
			wc_warning(KINDS[k].sentence, json_array_size(names), text);
#pragma GCC diagnostic pop
		json_decref(names);
	}
}

bool wc_shared_strip(const struct wc_node *node, json_t *functions)
{
	struct wc_shared *shared = node->shared;
	char key[WC_ETCD_KEY_MAX];
	bool whole = true;
	const char *held;
	json_t *value;

	if (!shared)
		return true;
	pthread_mutex_lock(&shared->lock);
	json_object_foreach (shared->held, held, value)
		whole = whole && (!is_function(held) || is_refused(value));
	for (size_t i = json_array_size(functions); !whole && i-- > 0;) {
		const json_t *each = json_array_get(functions, i);

		snprintf(key, sizeof(key), "functions/%s/%s", json_string_value(json_object_get(each, "name")),
			 json_string_value(json_object_get(each, "qualifier")));
		value = json_object_get(shared->held, key);
		if (value && !is_refused(value))
			json_array_remove(functions, i);
	}
	if (shared->role.term && !atomic_load(&shared->settled) && !shared->role.followed)
		whole = false; /* nobody knows */
	pthread_mutex_unlock(&shared->lock);
	return whole;
}

bool wc_shared_accept(struct wc_node *node, const char *name, const char *qualifier, bool removed)
{
	struct wc_shared *shared = node->shared;
	char functions[WC_NAME_MAX + 16], aliases[WC_NAME_MAX + 16], one[WC_NAME_MAX + 32];
	bool all = removed && !qualifier, any = false;
	const char *key;
	json_t *value;
	void *next;

	if (!shared)
		return false;
	snprintf(functions, sizeof(functions), "functions/%.*s/", WC_NAME_MAX, name);
	snprintf(aliases, sizeof(aliases), "aliases/%.*s/", WC_NAME_MAX, name);
	snprintf(one, sizeof(one), "%s%.12s", functions, qualifier ?: "$LATEST");
	pthread_mutex_lock(&shared->lock);
	/* One that was not here is another function now, of which there is no version yet. */
	value = json_object_get(shared->held, one);
	all = all || (!qualifier && !strcmp(json_string_value(json_object_get(value, "why")) ?: "", "missing"));
	json_object_foreach_safe (shared->held, next, key, value) {
		if (all ? strncmp(key, functions, strlen(functions)) != 0 &&
				    strncmp(key, aliases, strlen(aliases)) != 0 :
			  strcmp(key, one) != 0)
			continue;
		json_object_del(shared->held, key);
		any = true;
	}
	if (any) {
		shared->accepted = shared->woken = true;
		pthread_cond_signal(&shared->wake);
	}
	pthread_mutex_unlock(&shared->lock);
	return any;
}

/* --- reading --- */

/* Nodes are of a lease, so they are put by each leader again. */
static bool is_node(const char *key)
{
	return !strncmp(key, "nodes/", strlen("nodes/"));
}

static int read_all(struct wc_shared *shared, bool *ret_marked, struct wc_fault *fault)
{
	json_t *items, *value, *mark;
	const char *key;
	int error = wc_etcd_list(shared->etcd, shared->plan.prefix, &items, READ_MS, fault);

	if (error)
		return error;
	mark = json_object_get(items, WC_SHARED_MARK);
	*ret_marked = wc_shared_mark_read(json_string_value(json_object_get(mark, "value")), &shared->mark);
	shared->mark_revision = json_integer_value(json_object_get(mark, "revision"));
	shared->there = json_object();
	shared->dirty = true;
	json_object_foreach (items, key, value)
		if (!is_node(key))
			json_object_set(shared->there, key, json_object_get(value, "value"));
	json_decref(items);
	return 0;
}

static void make_wanted(struct wc_shared *shared)
{
	json_decref(shared->wanted);
	json_decref(shared->drained);
	shared->signature =
		wc_functions_signature(shared->node->functions); /* first: what changes meanwhile is seen again */
	shared->drained = wc_members_drained(shared->node);
	shared->wanted = wc_shared_wanted(shared->node, shared->plan.mac);
	shared->dirty = true;
}

/* What could not be put into force is as it is here until somebody changes it. */
static void note_refused(struct wc_shared *shared)
{
	const char *key;
	json_t *value;

	json_object_foreach (shared->held, key, value)
		if (is_refused(value))
			json_object_set(value, "here", json_object_get(shared->wanted, key) ?: json_null());
}

/* The first look of this term. `marked`: somebody has written before. */
static void take_over(struct wc_shared *shared, bool marked)
{
	const struct wc_shared_mark *mark = &shared->mark;
	bool last = marked && !mark->held && shared->mine.before && mark->term == shared->mine.before &&
		    !strcmp(mark->by, shared->plan.name);
	bool own = last || (shared->mine.followed && !mark->held);
	json_t *held = NULL;
	struct wc_fault fault;

	make_wanted(shared);
	if (marked) {
		/* As a standby (member.c), of what its leader has given out. */
		if (!last && mark->generation && mark->generation >= wc_functions_generation(shared->node->functions) &&
		    wc_functions_raise_generation(shared->node->functions, mark->generation + IDS_AHEAD, &fault))
			wc_warning("ids of functions may be given out again: %s", fault.text);
		held = wc_shared_holds(shared->there, shared->wanted, mark, own);
		wc_shared_apply(shared->node, shared->there, shared->wanted, held,
				mark->whole && wc_shared_count(shared->there, "functions/") == mark->functions,
				last ? WC_SHARED_DRAINED : WC_SHARED_LIMITS);
		make_wanted(shared);
	}
	pthread_mutex_lock(&shared->lock);
	shared->held = held ?: json_object();
	note_refused(shared);
	shared->accepted = false;
	pthread_mutex_unlock(&shared->lock);
	avoid_ids(shared);
	pthread_mutex_lock(&shared->lock);
	atomic_store(&shared->settled, shared->role.term == shared->mine.term);
	shared->settled_after_ns = wc_now() - shared->mine.since_ns;
	pthread_mutex_unlock(&shared->lock);
	wc_members_changed(shared->node);
	warn_of_held(shared);
}

/* --- writing --- */

/* Does this host lead still, as far as it knows? */
static bool leads(struct wc_shared *shared)
{
	bool same;

	pthread_mutex_lock(&shared->lock);
	same = shared->role.term == shared->mine.term && !shared->stopping;
	pthread_mutex_unlock(&shared->lock);
	return same;
}

/* The lease of nodes: there is one, and it lives. */
static int keep_lease(struct wc_shared *shared, struct wc_fault *fault)
{
	uint64_t now = wc_now();
	const char *key;
	json_t *value;
	void *next;
	int error;

	if (shared->lease && now < shared->keep_ns)
		return 0;
	shared->keep_ns = now + KEEP_NS;
	if (shared->lease) {
		error = wc_etcd_keep(shared->etcd, shared->lease, WRITE_MS, fault);
		if (error <= 0)
			return error;
		/* Etcd was away for longer than it lasts, or has lost its data: who knows what is there. */
		shared->lease = 0;
		json_decref(shared->there);
		shared->there = NULL;
		return 0;
	}
	error = wc_etcd_grant(shared->etcd, LEASE_S, &shared->lease, WRITE_MS, fault);
	shared->dirty = true;
	json_object_foreach_safe (shared->there, next, key, value)
		if (!error && is_node(key))
			json_object_del(shared->there, key);
	return error;
}

/* Is anything held? The mark says it: who takes over from this leader, itself included, has to look as if it had been away. */
static bool holds(struct wc_shared *shared)
{
	bool any;

	pthread_mutex_lock(&shared->lock);
	any = json_object_size(shared->held);
	pthread_mutex_unlock(&shared->lock);
	return any;
}

/* One transaction, with the first so many differences. They are not differences any more then. */
static int write_some(struct wc_shared *shared, json_t *differences, size_t count, bool last, struct wc_fault *fault)
{
	char keys[WC_ETCD_CHANGES_MAX][WC_ETCD_KEY_MAX], fence[160], mark_key[160], *text;
	struct wc_etcd_change changes[WC_ETCD_CHANGES_MAX];
	struct wc_shared_mark mark = { .term = shared->mine.term,
				       .generation = wc_functions_generation(shared->node->functions),
				       .whole = last,
				       .held = holds(shared) };
	struct wc_etcd_batch batch = { .fence = fence,
				       .above = shared->above,
				       .below = shared->below,
				       .mark = mark_key,
				       .mark_revision = shared->mark_revision,
				       .changes = changes };
	const char *key;
	json_t *value;
	void *next;
	int error;

	snprintf(fence, sizeof(fence), "%sleader", shared->plan.prefix);
	snprintf(mark_key, sizeof(mark_key), "%s" WC_SHARED_MARK, shared->plan.prefix);
	snprintf(mark.by, sizeof(mark.by), "%s", shared->plan.name);
	mark.functions = wc_shared_count(shared->wanted, "functions/");
	text = wc_shared_mark_text(&mark, ++shared->written);
	if (!text)
		return wc_fail(fault, ENOMEM, "out of memory");
	batch.mark_value = text;
	json_object_foreach (differences, key, value) {
		if (batch.count == count)
			break;
		snprintf(keys[batch.count], sizeof(keys[0]), "%s%s", shared->plan.prefix, key);
		changes[batch.count] = (struct wc_etcd_change){ keys[batch.count], json_string_value(value),
								is_node(key) ? shared->lease : 0 };
		batch.count++;
	}
	error = wc_etcd_commit(shared->etcd, &batch, &shared->mark_revision, WRITE_MS, fault);
	free(text);
	if (error)
		return error;
	shared->mark = mark;
	json_object_foreach_safe (differences, next, key, value) {
		if (!count--)
			break;
		if (json_is_string(value))
			json_object_set(shared->there, key, value);
		else
			json_object_del(shared->there, key);
		json_object_del(differences, key);
	}
	pthread_mutex_lock(&shared->lock);
	shared->written_ns = wc_now();
	shared->written_at = time(NULL);
	pthread_mutex_unlock(&shared->lock);
	return 0;
}

/* What differs. *ret_left: so much does still. */
static int write_all(struct wc_shared *shared, uint32_t *ret_left, struct wc_fault *fault)
{
	json_t *nodes = wc_shared_nodes(shared->node), *wanted, *differences;
	/* The next leader sees by the mark who led last. */
	bool unmarked = strcmp(shared->mark.by, shared->plan.name) != 0 || shared->mark.term != shared->mine.term ||
			!shared->mark.whole || shared->mark.held != holds(shared);
	int error = 0;

	*ret_left = 0;
	shared->dirty = shared->dirty || unmarked || !json_equal(nodes, shared->nodes);
	json_decref(shared->nodes);
	shared->nodes = nodes;
	if (!shared->dirty)
		return 0;
	wanted = json_copy(shared->wanted);
	if (shared->lease)
		json_object_update(wanted, nodes);
	differences = wc_shared_differences(shared->there, wanted);
	if (json_object_size(wanted) > WC_ETCD_KEYS_MAX)
		error = wc_fail(fault, E2BIG, "there would be %zu keys, and may be %u: there are too many aliases",
				json_object_size(wanted), WC_ETCD_KEYS_MAX);
	while (!error && (json_object_size(differences) || unmarked) && leads(shared)) {
		size_t count = wc_shared_batch(differences, strlen(shared->plan.prefix));

		error = write_some(shared, differences, count, count == json_object_size(differences), fault);
		unmarked = false;
	}
	*ret_left = (uint32_t)json_object_size(differences);
	shared->dirty = error || *ret_left;
	pthread_mutex_lock(&shared->lock);
	shared->keys = (uint32_t)json_object_size(wanted);
	pthread_mutex_unlock(&shared->lock);
	if (error) { /* nobody knows what of it has happened, or will */
		json_decref(shared->there);
		shared->there = NULL;
	}
	if (error > 0)
		error = wc_fail(fault, EAGAIN,
				"another scheduler leads, as etcd says, or somebody else has written there");
	json_decref(differences);
	json_decref(wanted);
	return error;
}

/* What is wanted now; cheap when nothing has changed. */
static void look(struct wc_shared *shared)
{
	json_t *drained = wc_members_drained(shared->node);
	uint64_t signature = wc_functions_signature(shared->node->functions);
	bool accepted, lacked, lacks;

	pthread_mutex_lock(&shared->lock);
	accepted = shared->accepted;
	shared->accepted = false;
	lacked = accepted || json_object_size(shared->held);
	pthread_mutex_unlock(&shared->lock);
	if (accepted || !json_equal(drained, shared->drained) || (signature && shared->signature != signature) ||
	    !shared->wanted)
		make_wanted(shared);
	json_decref(drained);
	if (!lacked)
		return;
	pthread_mutex_lock(&shared->lock);
	wc_shared_settle(shared->wanted, shared->held);
	lacks = json_object_size(shared->held);
	pthread_mutex_unlock(&shared->lock);
	avoid_ids(shared);
	if (lacks) /* the next look has to see what is here, not what is held */
		shared->signature = 0;
	else
		wc_members_changed(shared->node);
}

/* 0, or what went wrong. */
static int step(struct wc_shared *shared, struct wc_fault *fault)
{
	uint32_t left = 0;
	bool marked = false;
	int error = 0;

	if (!shared->there) {
		error = read_all(shared, &marked, fault);
		if (error)
			return error;
		if (!atomic_load(&shared->settled))
			take_over(shared, marked);
	}
	look(shared);
	error = keep_lease(shared, fault);
	if (!error && !shared->there) /* the next look reads first */
		return 0;
	if (shared->there) {
		struct wc_fault why;
		int wrong = write_all(shared, &left, error ? &why : fault);

		error = error ?: wrong;
	}
	explain(shared, error ? fault->text : "", left);
	return error;
}

/* --- the thread --- */

static void forget(struct wc_shared *shared)
{
	static const bool none[WC_FUNCTIONS_MAX];

	if (shared->avoids)
		wc_functions_avoid(shared->node->functions, none);
	shared->avoids = false;
	json_decref(shared->there);
	json_decref(shared->wanted);
	json_decref(shared->drained);
	json_decref(shared->nodes);
	shared->there = shared->wanted = shared->drained = shared->nodes = NULL;
	shared->lease = 0;
	memset(&shared->mark, 0, sizeof(shared->mark));
	pthread_mutex_lock(&shared->lock);
	json_decref(shared->held);
	shared->held = NULL;
	shared->why[0] = 0;
	shared->written_ns = 0;
	shared->written_at = 0;
	shared->keys = shared->pending = 0;
	pthread_mutex_unlock(&shared->lock);
}

/* Nodes are the next leader's business; those that it has put there by now do not depend on this lease. */
static void end_lease(struct wc_shared *shared)
{
	struct wc_fault fault;

	if (shared->lease && wc_etcd_revoke(shared->etcd, shared->lease, REVOKE_MS, &fault))
		wc_debug("the nodes in etcd go in %d s only: %s", LEASE_S, fault.text);
	shared->lease = 0;
}

/* Until something happens, or it is time. Returns whether to go on. Takes the role over that is to be. */
static bool await(struct wc_shared *shared, uint64_t ns)
{
	uint64_t end = wc_now() + ns;
	struct timespec at = { .tv_sec = (time_t)(end / WC_SECOND), .tv_nsec = (long)(end % WC_SECOND) };
	struct role role;
	bool stopping;

	pthread_mutex_lock(&shared->lock);
	while (!shared->woken && !shared->stopping)
		if (shared->role.term ? pthread_cond_timedwait(&shared->wake, &shared->lock, &at) :
					pthread_cond_wait(&shared->wake, &shared->lock))
			break;
	shared->woken = false;
	role = shared->role;
	stopping = shared->stopping;
	pthread_mutex_unlock(&shared->lock);
	if (stopping || role.term != shared->mine.term) {
		end_lease(shared);
		forget(shared);
		shared->mine = role;
		if (role.term &&
		    wc_elect_bounds(shared->plan.name, shared->plan.door, role.term, shared->above, shared->below))
			wc_warning("nothing is written to the registry in etcd: out of memory");
	}
	return !stopping;
}

static void *shared_main(void *argument)
{
	struct wc_shared *shared = argument;
	uint64_t pause = 0;

	pthread_setname_np(pthread_self(), "registry");
	while (await(shared, pause)) {
		struct wc_fault fault;

		if (!shared->mine.term)
			continue;
		pause = LOOK_NS;
		if (!step(shared, &fault))
			continue;
		explain(shared, fault.text, shared->pending);
		pause = atomic_load(&shared->settled) || wc_now() - shared->mine.since_ns > WC_SECOND ? RETRY_NS :
													RETRY_SOON_NS;
	}
	return NULL;
}

/* --- roles --- */

static void set_role(struct wc_node *node, struct role role)
{
	struct wc_shared *shared = node->shared;

	if (!shared)
		return;
	pthread_mutex_lock(&shared->lock);
	shared->role = role;
	atomic_store(&shared->settled, false);
	shared->woken = true;
	pthread_cond_signal(&shared->wake);
	pthread_mutex_unlock(&shared->lock);
}

void wc_shared_lead(struct wc_node *node, uint64_t term, uint64_t before, bool followed)
{
	set_role(node, (struct role){ term, before, wc_now(), followed });
}

void wc_shared_resign(struct wc_node *node)
{
	set_role(node, (struct role){ 0 });
}

bool wc_shared_settled(const struct wc_node *node)
{
	return !node->shared || atomic_load(&shared_of(node)->settled);
}

bool wc_shared_known(const struct wc_node *node)
{
	struct wc_shared *shared = node->shared;
	bool known;

	if (wc_shared_settled(node))
		return true;
	pthread_mutex_lock(&shared->lock);
	known = !shared->role.term || shared->role.followed || wc_now() - shared->role.since_ns > KNOWN_NS;
	pthread_mutex_unlock(&shared->lock);
	return known;
}

/* --- open and close --- */

int wc_shared_open(struct wc_node *node, const struct wc_shared_plan *plan, struct wc_fault *fault)
{
	struct wc_shared *shared = calloc(1, sizeof(*shared));
	pthread_condattr_t clock;

	if (!shared)
		return wc_fail(fault, ENOMEM, "out of memory");
	shared->node = node;
	shared->plan = *plan;
	pthread_mutex_init(&shared->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&shared->wake, &clock);
	pthread_condattr_destroy(&clock);
	node->shared = shared;
	return wc_etcd_open(&shared->etcd, &plan->etcd, fault);
}

int wc_shared_start(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_shared *shared = node->shared;
	int error = shared ? pthread_create(&shared->thread, NULL, shared_main, shared) : 0;

	if (shared)
		shared->started = !error;
	return error ? wc_fail(fault, error, "cannot start the thread of the registry in etcd: %s", strerror(error)) :
		       0;
}

void wc_shared_stop(struct wc_node *node)
{
	struct wc_shared *shared = node->shared;

	if (!shared || !shared->started)
		return;
	pthread_mutex_lock(&shared->lock);
	shared->stopping = true;
	pthread_cond_signal(&shared->wake);
	pthread_mutex_unlock(&shared->lock);
	pthread_join(shared->thread, NULL);
	shared->started = false;
}

void wc_shared_close(struct wc_node *node)
{
	struct wc_shared *shared = node->shared;

	if (!shared)
		return;
	wc_shared_stop(node);
	forget(shared);
	wc_etcd_close(shared->etcd);
	pthread_cond_destroy(&shared->wake);
	pthread_mutex_destroy(&shared->lock);
	free(shared);
	node->shared = NULL;
}
