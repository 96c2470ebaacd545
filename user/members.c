/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members.c - see members.h. One lock for who comes and goes; the tables are changed by the rules of bpf/cluster.h. */
#include "user/members_internal.h"

#include "user/clock.h"
#include "user/cluster_functions.h"
#include "user/cluster_wire.h"
#include "user/control_internal.h"
#include "user/heirs.h"
#include "user/lead.h"
#include "user/log.h"
#include "user/pending.h"
#include "user/shared_registry.h"
#include "user/window.h"

#include <arpa/inet.h>
#include <endian.h>
#include <nettle/base64.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define MUTE_NS                                                                                                        \
	(500 * WC_MS) /* later than lead.c takes this host for cut off: or what begins then would be told nobody */
#define SILENT_NS (300 * WC_MS) /* six times as long as a node is ever silent by itself */

/* --- opening --- */

static int open_socket(const struct wc_node *node, struct wc_fault *fault)
{
	struct sockaddr_in own = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	inet_pton(AF_INET, node->address4, &own.sin_addr);
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&own, sizeof(own)))
		return fd;
	wc_fail(fault, errno, "cannot make a socket for the nodes of the cluster: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -EIO;
}

int wc_members_open(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_cluster *cluster = node->tables.wc_cluster;
	uint8_t key[WC_REMOTE_KEY_SIZE];
	uint64_t words[2];
	int error;

	if (!node->options.cluster)
		return 0;
	if (!*node->address4)
		return wc_fail(fault, EINVAL, "--cluster: %s has no IPv4 address, by which nodes could be reached",
			       node->dev);
	node->members = calloc(1, sizeof(*node->members));
	if (!node->members)
		return wc_fail(fault, ENOMEM, "out of memory");
	pthread_mutex_init(&node->members->lock, NULL);
	node->members->socket = -1;
	node->members->slow = wc_members_slow_new(&node->options);
	if (!node->members->slow)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = wc_roll_open(&node->members->roll, node->options.state_dir, fault) ?:
			wc_remote_key_load(node->options.remote_key, key, fault);
	if (error)
		return error;
	node->members->socket = open_socket(node, fault);
	if (node->members->socket < 0)
		return node->members->socket;
	wc_cluster_key(key, WC_CLUSTER_MAC, words);
	explicit_bzero(key, sizeof(key));
	memcpy(cluster->key, words, sizeof(cluster->key));
	if (!node->lead && getrandom(&cluster->term, sizeof(cluster->term), 0) != sizeof(cluster->term))
		return wc_fail(fault, EIO, "the system gives no random numbers");
	cluster->term >>= 1; /* a number of JSON */
	inet_pton(AF_INET, node->address4, &cluster->address);
	cluster->port = htons(node->options.port);
	cluster->mtu = (uint16_t)(node->mtu < UINT16_MAX ? node->mtu : UINT16_MAX);
	cluster->silent_ns = SILENT_NS;
	/* Their sessions were with the daemon before. */
	atomic_store(&node->members->back_until[0], node->takeover ? wc_now() + WC_BACK_NS : 0);
	cluster->scheduler = !node->lead; /* of several, whom the election says: wc_members_lead() */
	for (uint32_t i = 0; i < node->tables.wc_member_cores_max; i++)
		node->tables.wc_member_cores[i].state = WC_CORE_OFFLINE;
	return 0;
}

void wc_members_close(struct wc_node *node)
{
	struct wc_members *members = node->members;

	if (!members)
		return;
	for (uint32_t id = 0; id < WC_MEMBERS_MAX; id++)
		free(members->sessions[id]); /* of sessions, which are over */
	if (members->socket >= 0)
		close(members->socket);
	wc_roll_close(members->roll);
	wc_members_slow_free(members->slow);
	json_decref(members->functions);
	pthread_mutex_destroy(&members->lock);
	free(members);
	node->members = NULL;
}

/* --- leading, of several schedulers --- */

void wc_members_lead(struct wc_node *node, uint64_t term)
{
	struct wc_members *members = node->members;
	struct wc_cluster *cluster = node->tables.wc_cluster;

	pthread_mutex_lock(&members->lock);
	json_decref(members->functions); /* of the last time: who knows which are the same still */
	members->functions = NULL;
	members->functions_ns = 0;
	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->sessions[id]) /* its end is just being seen to */
			members->sessions[id]->windowed = false;
	WC_WRITE(cluster->term, term);
	__sync_synchronize();
	WC_WRITE(cluster->scheduler, 1);
	pthread_mutex_unlock(&members->lock);
}

void wc_members_resign(struct wc_node *node)
{
	struct wc_members *members = node->members;

	pthread_mutex_lock(&members->lock);
	WC_WRITE(node->tables.wc_cluster->scheduler, 0);
	for (uint32_t slot = 0; slot < node->tables.wc_member_functions_max; slot++)
		WC_WRITE(node->tables.wc_member_functions[slot].id, 0);
	/* Their threads do the rest: wc_members_left(). */
	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->sessions[id])
			shutdown(members->sessions[id]->fd, SHUT_RDWR);
	pthread_mutex_unlock(&members->lock);
}

bool wc_members_known(struct wc_node *node, const char *name)
{
	struct wc_members *members = node->members;
	bool known = false;

	pthread_mutex_lock(&members->lock);
	for (uint32_t id = 1; id < WC_MEMBERS_MAX && !known; id++)
		known = members->sessions[id] && members->sessions[id]->windowed &&
			!strcmp(members->sessions[id]->name, name);
	pthread_mutex_unlock(&members->lock);
	return known;
}

/* {"op":"window", "ids"}: 8 bytes each, big-endian, in base64 (window.h); "lost": of its daemon before; "last" with the last of them. */
static json_t *take_window(struct wc_node *node, const json_t *question, struct wc_member_session *session)
{
	const json_t *ids = json_object_get(question, "ids");
	const struct wc_member *member = &node->tables.wc_members[session->id];
	size_t length = json_string_length(ids), size = 0;
	uint64_t *words = malloc(BASE64_DECODE_LENGTH(length) + sizeof(*words));
	struct base64_decode_ctx decoder;
	bool good, lost = json_is_true(json_object_get(question, "lost"));

	if (!words)
		return wc_control_fail("failed", "out of memory");
	base64_decode_init(&decoder);
	good = json_is_string(ids) &&
	       base64_decode_update(&decoder, &size, (uint8_t *)words, length, json_string_value(ids)) &&
	       base64_decode_final(&decoder) && size % sizeof(*words) == 0;
	for (size_t i = 0; good && i < size / sizeof(*words); i++)
		words[i] = be64toh(words[i]);
	if (good)
		wc_window_enter(&node->tables, words, size / sizeof(*words), lost ? WC_MEMBER_BEFORE : session->id,
				lost ? 0 : member->epoch);
	free(words);
	if (!good)
		return wc_control_fail("bad-request", "\"ids\" must be base64 of 8 bytes for each id");
	pthread_mutex_lock(&node->members->lock);
	session->windowed = session->windowed || json_is_true(json_object_get(question, "last"));
	pthread_mutex_unlock(&node->members->lock);
	return json_pack("{s:b}", "ok", 1);
}

/* Who may lead next. Under the lock. */
static void name_heirs(struct wc_node *node)
{
	const struct wc_members *members = node->members;
	struct wc_heir heirs[WC_HEIRS_MAX];
	uint32_t count = 0;

	for (uint32_t id = 1; node->lead && id < WC_MEMBERS_MAX && count < WC_HEIRS_MAX; id++) {
		const struct wc_member *member = &node->tables.wc_members[id];

		if (members->sessions[id] && members->sessions[id]->standby && !members->sessions[id]->mute)
			heirs[count++] = (struct wc_heir){
				.member = (uint16_t)id,
				.epoch = member->epoch,
				.address = { .sin_family = AF_INET,
					     .sin_port = member->port,
					     .sin_addr.s_addr = member->address },
			};
	}
	if (wc_lead_leads(node))
		wc_heirs_set(node, heirs, count);
}

/* Names of all nodes, for one that may lead next. Under the lock. */
static json_t *roster(const struct wc_members *members)
{
	json_t *names = json_array();

	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->sessions[id])
			json_array_append_new(names, json_string(members->sessions[id]->name));
	return names;
}

/* --- cores of a node --- */

/* Room for so many, next to each other. WC_NONE: there is none. Under the lock. */
static uint32_t find_room(const struct wc_node *node, uint32_t count)
{
	const struct wc_tables *tables = &node->tables;
	uint32_t run = 0;

	for (uint32_t i = 0; i < tables->wc_member_cores_max; i++) {
		run = tables->wc_member_cores[i].member ? 0 : run + 1;
		if (run == count)
			return i + 1 - count;
	}
	return WC_NONE;
}

/* Used up, as if claimed: a grant will give them. Under the lock. */
static void add_cores(struct wc_node *node, const struct wc_member_session *session, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct wc_member_core *core = &node->tables.wc_member_cores[first + i];

		*core = (struct wc_member_core){
			.member = session->id, .core = (uint16_t)i, .claims = 1, .sibling = session->sibling
		};
		WC_WRITE(core->state, WC_CORE_CLAIMED);
	}
	if (first + count > node->tables.wc_cluster->cores)
		WC_WRITE(node->tables.wc_cluster->cores, first + count);
}

/* Out of the queue; what runs there, runs. */
static void withdraw_cores(struct wc_node *node, const struct wc_member *member)
{
	for (uint32_t i = 0; i < member->count; i++) {
		struct wc_member_core *core = &node->tables.wc_member_cores[member->first + i];

		if (WC_READ(core->state) == WC_CORE_FREE)
			wc_member_withdraw(&node->tables, core, member->first + i);
	}
}

/* Its entry is nobody's any more: whoever has cleared its bit is about to write CLAIMED. */
static void retire_core(struct wc_node *node, uint32_t index)
{
	struct wc_member_core *core = &node->tables.wc_member_cores[index];

	for (int i = 0; i < 100000; i++) {
		wc_member_withdraw(&node->tables, core, index);
		if (wc_cas(&core->state, WC_CORE_CLAIMED, WC_CORE_OFFLINE) == WC_CORE_CLAIMED)
			break;
		sched_yield();
	}
	if (wc_member_uncount(&node->tables, core))
		wc_pending_changed(node);
	core->member = 0;
}

/* --- what a node gets --- */

/* Does nothing but its speed speak against its getting something? Under the lock. */
static bool wants(const struct wc_members *members, const struct wc_member_session *session)
{
	return !members->drained[session->id] && !session->leaving && wc_members_may_get(session);
}

/* READY, unless something speaks against it. Under the lock. */
void wc_members_set_state(struct wc_node *node, const struct wc_member_session *session)
{
	struct wc_member *member = &node->tables.wc_members[session->id];
	uint32_t state = !wants(node->members, session) || wc_members_slow_ejects(node->members->slow, session->id) ?
				 WC_MEMBER_DRAINING :
				 WC_MEMBER_READY;

	WC_WRITE(member->state, state);
	__sync_synchronize();
	if (state == WC_MEMBER_DRAINING)
		withdraw_cores(node, member);
}

/* It is one from now on: NULL; or why it cannot be. Under the lock. */
static const char *become_sibling(struct wc_members *members, struct wc_member_session *session)
{
	for (uint32_t s = 0; s < WC_SIBLINGS_MAX; s++) {
		if (members->siblings[s])
			continue;
		session->has = calloc(WC_FUNCTIONS_MAX, sizeof(*session->has));
		if (!session->has)
			return "out of memory";
		members->siblings[s] = session;
		session->sibling = s + 1;
		return NULL;
	}
	return "this scheduler has 8 siblings already";
}

static json_t *enter(struct wc_node *node, const json_t *question, struct wc_member_session *session, uint32_t count)
{
	struct wc_members *members = node->members;
	const char *address = json_string_value(json_object_get(question, "address")) ?: "";
	json_int_t port = json_integer_value(json_object_get(question, "port"));
	struct wc_member *member = &node->tables.wc_members[session->id];
	uint32_t epoch = (uint32_t)json_integer_value(json_object_get(question, "epoch"));
	uint32_t first = find_room(node, count);
	struct in_addr ip;

	if (inet_pton(AF_INET, address, &ip) != 1 || port < 1 || port > 65535)
		return wc_control_fail("bad-request",
				       "\"address\" and \"port\" must be those of the node's device, IPv4");
	if (first == WC_NONE)
		return wc_control_fail("limit", "the cluster has as many cores as a scheduler can have, 4096");
	if (json_is_true(json_object_get(question, "sibling"))) {
		const char *why = become_sibling(members, session);

		if (why)
			return wc_control_fail("limit", why);
	}
	if (member->epoch && member->epoch != epoch)
		wc_sent_disown(&node->tables, session->id, epoch);
	memset((char *)member + sizeof(member->state), 0, sizeof(*member) - sizeof(member->state));
	member->epoch = epoch;
	member->address = ip.s_addr;
	member->port = htons((uint16_t)port);
	member->first = first;
	member->count = count;
	member->sibling = (uint16_t)session->sibling;
	add_cores(node, session, first, count);
	session->joined_ns = wc_now();
	session->lacking = true; /* until it has said what it has */
	session->standby = node->lead && !session->sibling && json_is_true(json_object_get(question, "standby"));
	members->sessions[session->id] = session;
	wc_slow_joins(wc_members_slow_rules(members->slow), session->id);
	__sync_synchronize();
	WC_WRITE(member->state, WC_MEMBER_DRAINING);
	name_heirs(node);
	if (session->sibling)
		wc_info("sibling %s lends cores", session->name);
	else
		wc_info("node %s has joined with %u cores", session->name, count);
	return json_pack("{s:b, s:i, s:I, s:s, s:i, s:b, s:i}", "ok", 1, "member", session->id, "term",
			 (json_int_t)node->tables.wc_cluster->term, "address", node->address4, "port",
			 (int)node->options.port, "window", node->lead != NULL, "sibling", (int)session->sibling);
}

/* Somebody has the name. One that is silent may be this node before its host lost power: it goes, and the node, which asks again soon, gets in. Under the lock. */
static json_t *taken(const struct wc_member_session *session)
{
	if (!session->silent)
		return wc_control_fail("exists",
				       "a node of this name is in the cluster already; --join-as gives it another one");
	shutdown(session->fd, SHUT_RDWR);
	return wc_control_fail(
		"exists",
		"a node of this name was in the cluster until now, and says nothing: it is let go of, ask again");
}

/* It speaks no protocol that is spoken here. */
static json_t *refuse(struct wc_node *node, const json_t *question, const char *why)
{
	const char *address = json_string_value(json_object_get(question, "address"));
	json_t *answer = wc_control_fail("protocol", why);
	struct in_addr ip;

	pthread_mutex_lock(&node->members->lock);
	wc_refused_note(&node->members->refusals, json_string_value(json_object_get(question, "name")),
			address && inet_pton(AF_INET, address, &ip) == 1 ? address : NULL, why, wc_now());
	pthread_mutex_unlock(&node->members->lock);
	json_object_set_new(answer, "speaks", wc_speaks_json(&wc_speaks_here));
	return answer;
}

static json_t *join(struct wc_node *node, const json_t *question, int fd, struct wc_member_session **ret_session)
{
	const char *name = json_string_value(json_object_get(question, "name")) ?: "";
	json_int_t cores = json_integer_value(json_object_get(question, "cores"));
	struct wc_member_session *session;
	struct wc_speaks agreed;
	json_t *answer = NULL;
	struct wc_fault why;

	if (!wc_roll_name_valid(name) || cores < 1 || cores > WC_MEMBER_CORES_MAX)
		return wc_control_fail("bad-request",
				       "\"name\" must be a node's name, \"cores\" a number from 1 to 4096");
	if (wc_speaks_agree(&wc_speaks_here, json_object_get(question, "speaks"), &agreed, &why))
		return refuse(node, question, why.text);
	session = calloc(1, sizeof(*session));
	if (!session)
		return wc_control_fail("failed", "out of memory");
	session->agreed = agreed;
	session->fd = fd;
	session->archive = -1;
	snprintf(session->name, sizeof(session->name), "%s", name);
	pthread_mutex_lock(&node->members->lock);
	session->id = wc_roll_id(node->members->roll, name, &why);
	if (!session->id)
		answer = wc_control_fail("failed", why.text);
	else if (node->members->sessions[session->id])
		answer = taken(node->members->sessions[session->id]);
	else
		answer = enter(node, question, session, (uint32_t)cores);
	if (json_is_true(json_object_get(answer, "ok")))
		wc_refused_forget(&node->members->refusals, name);
	pthread_mutex_unlock(&node->members->lock);
	if (json_is_true(json_object_get(answer, "ok")))
		*ret_session = session;
	else
		free(session);
	json_object_set_new(answer, "speaks", wc_speaks_json(&wc_speaks_here));
	json_object_set_new(answer, "protocol", json_integer(agreed.last));
	json_object_set_new(answer, "features", wc_features_json(agreed.features));
	return answer;
}

/* A sibling has not the function of what was sent there: it is as if it had not been sent. */
static void take_back(struct wc_node *node, const json_t *words, const struct wc_member_session *session)
{
	const json_t *word;
	size_t i;

	json_array_foreach (words, i, word)
		wc_members_take_back(node, (uint64_t)json_integer_value(word), session->id);
}

/* What it lacks of what it was told; and what is new since. */
static json_t *beat(struct wc_node *node, const json_t *question, struct wc_member_session *session)
{
	struct wc_members *members = node->members;
	const json_t *lacks = json_object_get(question, "lacks");
	json_int_t generation = json_integer_value(json_object_get(question, "generation"));
	bool lacking, changed;
	json_t *answer;

	pthread_mutex_lock(&members->lock);
	wc_members_refresh_functions(node);
	/* Until it has looked at a change it goes on with what it has: what is new there waits at it, and is told so. */
	lacking = json_array_size(lacks) || !generation;
	wc_members_note_has(session, json_object_get(question, "has"));
	if (session->sibling)
		take_back(node, json_object_get(question, "returned"), session);
	changed = lacking != session->lacking || session->missed || session->knows != (uint64_t)generation ||
		  (session->sibling && json_object_get(question, "has"));
	session->missed = session->missed && session->silent;
	if (lacking != session->lacking) {
		session->lacking = lacking;
		if (lacking)
			wc_warning("node %s gets nothing: it lacks %zu functions, as `warmcore nodes` shows",
				   session->name, json_array_size(lacks));
		else
			wc_info("node %s is ready", session->name);
	}
	json_decref(session->lacks);
	session->lacks = lacks ? json_deep_copy(lacks) : NULL;
	session->knows = (uint64_t)generation;
	session->hands_over = json_is_true(json_object_get(question, "handover"));
	if (changed)
		wc_members_open_functions(node); /* before it may get any */
	wc_members_slow_beat(members->slow, session->id, question);
	wc_members_set_state(node, session);
	answer = json_pack("{s:b, s:I}", "ok", 1, "generation", (json_int_t)members->generation);
	json_object_set_new(answer, "draining", json_boolean(members->drained[session->id]));
	if (node->lead)
		json_object_set_new(answer, "heirs", wc_heirs_json(node));
	if (session->standby) {
		json_object_set_new(answer, "nodes", roster(members));
		json_object_set_new(answer, "ids", json_integer(wc_functions_generation(node->functions)));
	}
	if ((uint64_t)generation != members->generation)
		json_object_set(answer, "functions", members->functions);
	if (session->standby)
		json_object_set_new(answer, "whole", json_boolean(members->whole));
	pthread_mutex_unlock(&members->lock);
	return answer;
}

/* Another one leads. */
static json_t *stand_by(const struct wc_node *node)
{
	struct wc_leader leader;
	json_t *answer = wc_control_fail("standby", "another scheduler leads this cluster, or none does yet");

	if (wc_lead_leader(node, &leader))
		json_object_set_new(answer, "leader", json_string(leader.door));
	return answer;
}

/* What a node of a later version may ask; the session goes on. Or what is not the next thing to say. */
static json_t *unknown(const char *op)
{
	static const char *const known[] = { "join", "leave", "window", "beat", "code", "piece" };
	char why[200];
	json_t *answer;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(op, known[i]))
			return wc_control_fail(
				"bad-request",
				"a node says \"join\" first, once, and then \"beat\", \"code\" and \"piece\"");
	snprintf(why, sizeof(why), "this scheduler knows no op \"%.60s\": perhaps the node is of a later version", op);
	answer = wc_control_fail("unknown-op", why);
	json_object_set_new(answer, "op", json_string(op));
	return answer;
}

json_t *wc_members_ask(struct wc_node *node, const json_t *question, int fd, struct wc_member_session **session)
{
	const char *op = json_string_value(json_object_get(question, "op")) ?: "";

	if (!node->members)
		return wc_control_fail("not-cluster",
				       "this node is no scheduler of a cluster; it has to be started with --cluster");
	if (!wc_lead_leads(node))
		return stand_by(node);
	if (!strcmp(op, "join") && !*session)
		return join(node, question, fd, session);
	if (!strcmp(op, "leave") && *session) {
		pthread_mutex_lock(&node->members->lock);
		(*session)->leaving = true;
		wc_members_set_state(node, *session);
		pthread_mutex_unlock(&node->members->lock);
		return json_pack("{s:b}", "ok", 1);
	}
	if (!strcmp(op, "window") && *session)
		return take_window(node, question, *session);
	if (!strcmp(op, "beat") && *session)
		return beat(node, question, *session);
	if ((!strcmp(op, "code") || !strcmp(op, "piece")) && *session)
		return wc_cluster_give(node, question, &(*session)->archive);
	return unknown(op);
}

void wc_members_left(struct wc_node *node, struct wc_member_session *session)
{
	struct wc_members *members = node->members;
	struct wc_member *member;

	if (!session)
		return;
	member = &node->tables.wc_members[session->id];
	pthread_mutex_lock(&members->lock);
	atomic_store(&members->back_until[session->id], session->hands_over ? wc_now() + WC_BACK_NS : 0);
	WC_WRITE(member->state, WC_MEMBER_NONE);
	__sync_synchronize();
	for (uint32_t i = 0; i < member->count; i++)
		retire_core(node, member->first + i);
	members->sessions[session->id] = NULL;
	if (session->sibling)
		members->siblings[session->sibling - 1] = NULL;
	wc_slow_usable(wc_members_slow_rules(members->slow), session->id, false, 0);
	name_heirs(node);
	wc_members_open_functions(node); /* nobody waits for what it did not know */
	atomic_fetch_add(&members->departed, 1);
	pthread_mutex_unlock(&members->lock);
	wc_info("node %s has left", session->name);
	json_decref(session->lacks);
	if (session->archive >= 0)
		close(session->archive);
	free(session->has);
	free(session);
}

uint64_t wc_members_generation(struct wc_node *node)
{
	uint64_t generation;

	pthread_mutex_lock(&node->members->lock);
	generation = node->members->generation;
	pthread_mutex_unlock(&node->members->lock);
	return generation;
}

void wc_members_changed(struct wc_node *node)
{
	if (!node->members)
		return;
	pthread_mutex_lock(&node->members->lock);
	node->members->functions_ns = 0; /* else the last look may be recent enough */
	wc_members_refresh_functions(node);
	pthread_mutex_unlock(&node->members->lock);
}

/* Which nodes are slow, and which are not any more? Under the lock. */
static void look_for_slow(struct wc_node *node, uint64_t now)
{
	struct wc_members *members = node->members;
	uint16_t changed[WC_MEMBERS_MAX];
	uint32_t count;

	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->sessions[id])
			wc_slow_usable(
				wc_members_slow_rules(members->slow), (uint16_t)id,
				wants(members, members->sessions[id]) && !members->sessions[id]->silent &&
					!members->sessions[id]->sibling, /* it queues what it was given leave for */
				node->tables.wc_members[id].count);
	count = wc_members_slow_tick(members->slow, &node->tables, now, changed);
	for (uint32_t i = 0; i < count; i++) {
		const struct wc_member_session *session = members->sessions[changed[i]];

		if (!session)
			continue;
		wc_members_slow_say(members->slow, session->id, session->name, now);
		wc_members_set_state(node, session);
	}
}

void wc_members_tick(struct wc_node *node, uint64_t now)
{
	struct wc_members *members = node->members;
	bool muted = false;

	if (!members)
		return;
	pthread_mutex_lock(&members->lock);
	wc_members_refresh_functions(node);
	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++) {
		struct wc_member_session *session = members->sessions[id];
		const struct wc_member *member = &node->tables.wc_members[id];
		uint64_t heard = WC_READ(member->heard_ns);
		bool silent, mute;

		if (!session)
			continue;
		silent = now > (heard ?: session->joined_ns) + SILENT_NS;
		if (silent && !session->missed) {
			session->missed = true;
			wc_members_set_state(node, session);
			wc_members_open_functions(node); /* nobody waits for what it does not know */
		}
		if (silent)
			withdraw_cores(node, member);
		if (silent != session->silent)
			wc_warning("node %s %s", session->name,
				   silent ? "says nothing: it gets nothing until it does" : "is heard again");
		session->silent = silent;
		mute = now > (heard ?: session->joined_ns) + MUTE_NS;
		muted |= mute != session->mute;
		session->mute = mute;
	}
	if (muted)
		name_heirs(node);
	look_for_slow(node, now);
	pthread_mutex_unlock(&members->lock);
	wc_members_serve(node);
}
