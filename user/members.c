/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members.c - see members.h. One lock for who comes and goes; the tables are changed by the rules of bpf/cluster.h. */
#include "user/members.h"

#include "user/agent_internal.h"
#include "user/clock.h"
#include "user/cluster_functions.h"
#include "user/cluster_protocol.h"
#include "user/cluster_wire.h"
#include "user/control_internal.h"
#include "user/heirs.h"
#include "user/lead.h"
#include "user/log.h"
#include "user/members_refused.h"
#include "user/members_roll.h"
#include "user/members_slow.h"
#include "user/pending.h"
#include "user/shared_registry.h"
#include "user/window.h"

#include <arpa/inet.h>
#include <endian.h>
#include <nettle/base64.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOKS_MAX 16
#define LOOK_NS (100 * WC_MS) /* between two looks at the functions */
#define MUTE_NS                                                                                                        \
	(500 * WC_MS) /* later than lead.c takes this host for cut off: or what begins then would be told nobody */
#define SILENT_NS (300 * WC_MS) /* six times as long as a node is ever silent by itself */

struct wc_member_session {
	uint16_t id;
	char name[WC_MEMBER_NAME_MAX];
	int fd;		  /* the socket of the session; the remote thread's, which closes it when this is gone */
	int archive;	  /* of a function that it is about to get; -1: none */
	bool silent;	  /* at the last look */
	bool missed;	  /* it was silent, and has not looked at the functions since: gets nothing until it has */
	bool lacking;	  /* it has not all functions: gets nothing until it has */
	bool standby;	  /* it may lead one day (lead.h) */
	bool windowed;	  /* it has said which ids it knows */
	bool leaving;	  /* it has said so: gets nothing new */
	bool mute;	  /* it is silent for so long that nobody waits for its answers */
	uint64_t knows;	  /* generation of the functions that it has looked at */
	uint32_t sibling; /* no node, but a scheduler that lends (lend.h): 1 and up; 0: a node */
	uint32_t *has;	  /* of a sibling: ids of functions that it has, by slot */
	json_t *lacks;
	struct wc_speaks agreed;
	uint64_t joined_ns;
};

struct wc_members {
	pthread_mutex_t lock;
	struct wc_member_session *sessions[WC_MEMBERS_MAX]; /* by id */
	bool drained[WC_MEMBERS_MAX];			    /* likewise: also when it comes again */
	struct wc_roll *roll;
	struct wc_member_session *siblings[WC_SIBLINGS_MAX];
	struct wc_members_slow *slow;
	struct wc_refusals refusals;
	json_t *functions;		  /* what nodes are told of functions, */
	uint64_t generation;		  /* and its number */
	uint64_t since[WC_FUNCTIONS_MAX]; /* by slot: the generation in which the function became what it is */
	uint32_t functions_changes;	  /* wc_functions_changes() when it was made */
	uint64_t functions_ns;
	bool whole; /* what is not in `functions` is none of the cluster's */
	int socket; /* for ORDERs of this process */
	atomic_ullong sent, again, lost, retried, departed;
};

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

/* --- what a node is told --- */

/* Those that are new, or others than before, have become so in this generation. Under the lock. */
static void date_functions(struct wc_members *members, const json_t *list)
{
	const json_t *each, *old;
	json_t *by_id = json_object();
	char key[24];
	size_t i;

	json_array_foreach (members->functions, i, each) {
		snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(json_object_get(each, "id")));
		json_object_set(by_id, key, (json_t *)(uintptr_t)each);
	}
	json_array_foreach (list, i, each) {
		snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(json_object_get(each, "id")));
		old = json_object_get(by_id, key);
		if (!old || !json_equal(old, each))
			members->since[WC_FUNCTION_SLOT(json_integer_value(json_object_get(each, "id")))] =
				members->generation;
	}
	json_decref(by_id);
}

/* Is it waited for with what is new? Else it gets nothing. */
static bool may_get(const struct wc_member_session *session)
{
	return !session->lacking && !session->missed;
}

/* The siblings that have this function as it is now; 0: none, of none. Under the lock. */
static uint8_t siblings_with(const struct wc_members *members, uint32_t id)
{
	uint8_t bits = 0;

	for (uint32_t s = 0; id && s < WC_SIBLINGS_MAX; s++) {
		const struct wc_member_session *session = members->siblings[s];

		if (session && session->has && session->has[WC_FUNCTION_SLOT(id)] == id &&
		    members->since[WC_FUNCTION_SLOT(id)] <= session->knows)
			bits |= (uint8_t)(1 << s);
	}
	return bits;
}

/* What all nodes that get something have may be sent to them. Under the lock. */
static void open_functions(struct wc_node *node)
{
	const struct wc_members *members = node->members;
	uint64_t known = members->generation;
	uint32_t ids[WC_FUNCTIONS_MAX] = { 0 };
	const json_t *each;
	size_t i;

	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++) {
		const struct wc_member_session *session = members->sessions[id];

		if (session && !session->sibling && may_get(session) && session->knows < known)
			known = session->knows;
	}
	json_array_foreach (members->functions, i, each) {
		uint32_t id = (uint32_t)json_integer_value(json_object_get(each, "id"));

		if (members->since[WC_FUNCTION_SLOT(id)] <= known)
			ids[WC_FUNCTION_SLOT(id)] = id;
	}
	for (uint32_t slot = 0; slot < WC_FUNCTIONS_MAX && slot < node->tables.wc_member_functions_max; slot++) {
		struct wc_member_function *function = &node->tables.wc_member_functions[slot];

		/* Siblings first: what is new there must not have those of what was there before. */
		WC_WRITE(function->siblings, siblings_with(members, ids[slot]));
		__sync_synchronize();
		WC_WRITE(function->id, ids[slot]);
	}
}

/* Looked at again now and then: who deploys need not think of nodes. Under the lock. */
static void refresh_functions(struct wc_node *node)
{
	struct wc_members *members = node->members;
	uint32_t changes = wc_functions_changes(node->functions); /* before the look */
	uint64_t now = wc_now();
	json_t *list;
	bool whole;

	if (members->functions_ns && now - members->functions_ns < LOOK_NS)
		return;
	if (!wc_shared_known(node))
		return;
	/* What several schedulers share may have changed without them. */
	if (!node->shared && members->functions && members->functions_changes == changes)
		return;
	members->functions_changes = changes;
	list = wc_cluster_functions(node);
	whole = wc_shared_strip(node, list);
	members->functions_ns = now;
	if (members->functions && whole == members->whole && json_equal(list, members->functions)) {
		json_decref(list);
		return;
	}
	members->generation++;
	members->whole = whole;
	date_functions(members, list);
	json_decref(members->functions);
	members->functions = list;
	open_functions(node);
}

/* Does nothing but its speed speak against its getting something? Under the lock. */
static bool wants(const struct wc_members *members, const struct wc_member_session *session)
{
	return !members->drained[session->id] && !session->leaving && may_get(session);
}

/* READY, unless something speaks against it. Under the lock. */
static void set_state(struct wc_node *node, const struct wc_member_session *session)
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

/* It says which functions it has. Under the lock. */
static void note_has(struct wc_member_session *session, const json_t *has)
{
	const json_t *id;
	size_t i;

	if (!session->sibling || !json_is_array(has))
		return;
	memset(session->has, 0, WC_FUNCTIONS_MAX * sizeof(*session->has));
	json_array_foreach (has, i, id)
		session->has[WC_FUNCTION_SLOT(json_integer_value(id))] = (uint32_t)json_integer_value(id);
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

/* What it lacks of what it was told; and what is new since. */
static json_t *beat(struct wc_node *node, const json_t *question, struct wc_member_session *session)
{
	struct wc_members *members = node->members;
	const json_t *lacks = json_object_get(question, "lacks");
	json_int_t generation = json_integer_value(json_object_get(question, "generation"));
	bool lacking, changed;
	json_t *answer;

	pthread_mutex_lock(&members->lock);
	refresh_functions(node);
	/* Until it has looked at a change it goes on with what it has: what is new there waits at it, and is told so. */
	lacking = json_array_size(lacks) || !generation;
	note_has(session, json_object_get(question, "has"));
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
	if (changed)
		open_functions(node); /* before it may get any */
	wc_members_slow_beat(members->slow, session->id, question);
	set_state(node, session);
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
		set_state(node, *session);
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
	WC_WRITE(member->state, WC_MEMBER_NONE);
	__sync_synchronize();
	for (uint32_t i = 0; i < member->count; i++)
		retire_core(node, member->first + i);
	members->sessions[session->id] = NULL;
	if (session->sibling)
		members->siblings[session->sibling - 1] = NULL;
	wc_slow_usable(wc_members_slow_rules(members->slow), session->id, false, 0);
	name_heirs(node);
	open_functions(node); /* nobody waits for what it did not know */
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
	refresh_functions(node);
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
		set_state(node, session);
	}
}

void wc_members_tick(struct wc_node *node, uint64_t now)
{
	struct wc_members *members = node->members;
	bool muted = false;

	if (!members)
		return;
	pthread_mutex_lock(&members->lock);
	refresh_functions(node);
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
			set_state(node, session);
			open_functions(node); /* nobody waits for what it does not know */
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

/* --- ORDERs --- */

/* Where retransmissions of the id go from now on. */
static void note_sent(struct wc_node *node, const struct wc_fingerprint *print, uint16_t member, uint32_t epoch)
{
	const struct wc_seen_set *set = wc_seen_at(&node->tables, print->set);
	struct wc_sent *sent = wc_sent_at(&node->tables, print->set);

	for (uint32_t way = 0; set && sent && way < WC_SEEN_WAYS; way++)
		if (WC_SEEN_FINGERPRINT(WC_READ(set->slot[way])) == print->value)
			WC_WRITE(sent->slot[way], WC_SENT(print, member, epoch));
}

static int send_order(struct wc_node *node, uint16_t id, uint16_t core, uint32_t grant, uint32_t lent,
		      const struct wc_frame *frame)
{
	const struct wc_cluster *cluster = node->tables.wc_cluster;
	const struct wc_member *member = &node->tables.wc_members[id];
	struct wc_cluster_address to = {
		.key = { cluster->key[0], cluster->key[1] }, .term = cluster->term, .epoch = member->epoch, .member = id
	};
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = member->port,
				       .sin_addr.s_addr = member->address };
	struct wc_cluster_header header;
	struct iovec parts[2] = { { &header, sizeof(header) }, { frame->data, frame->len } };
	struct msghdr message = {
		.msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = parts, .msg_iovlen = 2
	};

	if (frame->len < WC_ORDER_COVERED || frame->len > WC_ORDER_MAX)
		return -EMSGSIZE;
	wc_cluster_order(&header, &to, core, grant, lent, frame->data, frame->len);
	return sendmsg(node->members->socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* To this core, which was taken out of the queue. */
static void send_job(struct wc_node *node, uint32_t index, struct wc_job *job)
{
	struct wc_member_core *core = &node->tables.wc_member_cores[index];
	struct wc_member *member = &node->tables.wc_members[core->member];

	wc_member_claimed(core, job->function_id, job->how & WC_HOW_COUNTED);
	/* Else a copy of it runs, or this moment nothing can be said; then the client sends it again. */
	if (wc_seen_begin(&node->tables, &job->print, job->seen) == WC_SEEN_NEW) {
		note_sent(node, &job->print, core->member, member->epoch);
		member->orders++;
		atomic_fetch_add(&node->members->sent, 1);
		if (send_order(node, core->member, core->core, WC_READ(core->grant), wc_job_lent(job), &job->frame))
			wc_debug("an invocation could not be sent to a node; its client will send it again");
	}
	wc_job_free(job);
}

/* A free core of a node, or else leave to send something to a sibling; claimed. WC_NONE: there is neither. */
static uint32_t claim(struct wc_node *node)
{
	uint32_t index = wc_member_claim_exact(&node->tables, 0);

	return index != WC_NONE ? index : wc_freeq_claim_next(&node->tables, WC_QUEUE_SIBLINGS);
}

void wc_members_serve(struct wc_node *node)
{
	const struct wc_shard *shards = node->tables.wc_shards;
	uint32_t tried = 0; /* siblings, a bit each, for which nothing was found since the last look */
	uint64_t generation = 0;

	if (!node->members || !wc_lead_serves(node))
		return;
	/* Not for ever: where functions with a limit begin and end all the time there is always something to look at again. The next tick goes on. */
	for (int looks = 0; looks < LOOKS_MAX && wc_pending_any(node) &&
			    (WC_READ(shards[WC_QUEUE_MEMBERS].summary) | WC_READ(shards[WC_QUEUE_SIBLINGS].summary));) {
		uint32_t index = claim(node), sibling;
		uint64_t now;
		struct wc_job *job;

		if (index == WC_NONE)
			return;
		sibling = node->tables.wc_member_cores[index].sibling;
		job = wc_pending_pick_leaving(node, sibling, &now);
		if (job) {
			send_job(node, index, job);
			continue;
		}
		/* As an agent does (agent.c): release, and look again: at what has changed since the first of the siblings was asked for. */
		wc_member_unclaim(&node->tables, index);
		generation = tried ? generation : now;
		if (sibling && !(tried >> sibling & 1)) { /* another one may have the function */
			tried |= 1U << sibling;
			wc_sibling_skip(&node->tables, &node->tables.wc_member_cores[index]);
			continue;
		}
		tried = 0;
		if (!wc_pending_look(node, generation))
			return;
		wc_pending_await(node);
		looks++;
	}
}

/* Is its answer here? */
static bool is_kept(struct wc_node *node, const struct wc_fingerprint *print)
{
	uint8_t reply[WC_REPLY_BYTES];

	return wc_replies_find(node->replies, print, reply) > 0;
}

enum wc_again wc_members_again(struct wc_node *node, const struct wc_fingerprint *print, const struct wc_frame *frame,
			       uint32_t lent)
{
	const struct wc_sent *sent = node->members ? wc_sent_at(&node->tables, print->set) : NULL;
	const struct wc_seen_set *set = wc_seen_at(&node->tables, print->set);
	const struct wc_member *member;
	uint64_t word = 0;

	/* At another place than in the window it is of an older time, which that has forgotten. */
	for (uint32_t way = 0; sent && set && way < WC_SEEN_WAYS; way++)
		if (WC_READ(sent->slot[way]) >> 16 == print->value &&
		    WC_SEEN_FINGERPRINT(WC_READ(set->slot[way])) == print->value)
			word = WC_READ(sent->slot[way]);
	/* At one that does not lead the rest is of a time when it did; but what began elsewhere, and was sent here by who does not know that, is lost. */
	if (!wc_lead_leads(node) && (!word || WC_SENT_MEMBER(word) != WC_MEMBER_BEFORE))
		return WC_AGAIN_HERE;
	if (!word && sent && wc_window_lost(&node->tables, print) && !is_kept(node, print)) {
		atomic_fetch_add(&node->members->lost, 1);
		return WC_AGAIN_LOST;
	}
	if (!word)
		return WC_AGAIN_HERE;
	member = wc_members_at(&node->tables, WC_SENT_MEMBER(word));
	if (!member || !WC_READ(member->state) || (WC_READ(member->epoch) & 0xff) != WC_SENT_EPOCH(word)) {
		atomic_fetch_add(&node->members->lost, 1);
		return WC_AGAIN_LOST;
	}
	if (frame && frame->data && !send_order(node, (uint16_t)WC_SENT_MEMBER(word), WC_CORE_ANY, 0, lent, frame))
		atomic_fetch_add(&node->members->again, 1);
	return WC_AGAIN_SENT;
}

bool wc_members_retry(struct wc_node *node, const struct wc_fingerprint *print, uint32_t function_id)
{
	struct wc_fn *fn;
	bool retry;

	if (!node->members || !(wc_seen_find(&node->tables, print) & WC_SEEN_STARTED))
		return false;
	fn = wc_functions_get(node->functions, function_id);
	retry = fn && fn->manifest.idempotent && wc_members_again(node, print, NULL, 0) == WC_AGAIN_LOST;
	wc_fn_put(fn);
	if (retry)
		wc_window_forget(
			&node->tables,
			print); /* first: or another copy of it would be told that it is lost, while it waits here */
	retry = retry && wc_seen_reopen(&node->tables, print);
	if (retry)
		atomic_fetch_add(&node->members->retried, 1);
	return retry;
}

/* --- for people --- */

int wc_members_drain(struct wc_node *node, const char *name, bool drain, struct wc_fault *fault)
{
	struct wc_members *members = node->members;
	int error = -ENOENT;

	if (!members)
		return wc_fail(fault, EINVAL, "this node is no scheduler of a cluster");
	pthread_mutex_lock(&members->lock);
	for (uint32_t id = 1; id < WC_MEMBERS_MAX && error; id++) {
		struct wc_member_session *session = members->sessions[id];

		if (!session || strcmp(session->name, name) != 0)
			continue;
		members->drained[id] = drain;
		if (!drain) /* who says so has looked at it */
			wc_slow_forgive(wc_members_slow_rules(members->slow), (uint16_t)id);
		set_state(node, session);
		error = 0;
	}
	for (uint16_t id = 1; id < WC_MEMBERS_MAX && error; id++) /* one that is away, of which that was said */
		if (members->drained[id] && !strcmp(wc_roll_name(members->roll, id), name)) {
			members->drained[id] = drain;
			error = 0;
		}
	pthread_mutex_unlock(&members->lock);
	return error ? wc_fail(fault, ENOENT, "no node of this name is in the cluster; see `warmcore nodes`") : 0;
}

json_t *wc_members_drained(const struct wc_node *node)
{
	struct wc_members *members = node->members;
	json_t *names = json_array();

	if (!members)
		return names;
	pthread_mutex_lock(&members->lock);
	for (uint16_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->drained[id])
			json_array_append_new(names, json_string(wc_roll_name(members->roll, id)));
	pthread_mutex_unlock(&members->lock);
	return names;
}

void wc_members_set_drained(struct wc_node *node, const json_t *names, bool whole)
{
	struct wc_members *members = node->members;
	struct wc_fault fault;
	const json_t *each;
	size_t i;

	if (!members)
		return;
	pthread_mutex_lock(&members->lock);
	if (whole)
		memset(members->drained, 0, sizeof(members->drained));
	json_array_foreach (names, i, each) {
		const char *name = json_string_value(each) ?: "";
		uint16_t id = wc_roll_name_valid(name) ? wc_roll_id(members->roll, name, &fault) : 0;

		if (id)
			members->drained[id] = true;
	}
	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->sessions[id])
			set_state(node, members->sessions[id]);
	pthread_mutex_unlock(&members->lock);
}

static json_t *session_json(const struct wc_node *node, const struct wc_member_session *session)
{
	const struct wc_member *member = &node->tables.wc_members[session->id];
	char address[INET_ADDRSTRLEN] = "";
	uint64_t heard = WC_READ(member->heard_ns), now = wc_now();
	int free_cores = 0;

	for (uint32_t i = 0; i < member->count; i++)
		free_cores += WC_READ(node->tables.wc_member_cores[member->first + i].state) == WC_CORE_FREE;
	inet_ntop(AF_INET, &member->address, address, sizeof(address));
	return json_pack("{s:s, s:i, s:s, s:i, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:O?, s:o, s:i, s:o}", "name",
			 session->name, "id", (int)session->id, "address", address, "port", (int)ntohs(member->port),
			 "state",
			 session->silent || session->missed			  ? "silent" :
			 session->leaving					  ? "leaving" :
			 node->members->drained[session->id]			  ? "draining" :
			 session->lacking					  ? "lacking" :
			 wc_members_slow_ejects(node->members->slow, session->id) ? "slow" :
			 session->sibling					  ? "sibling" :
										    "ready",
			 "cores", (int)member->count, "free", free_cores, "orders", (json_int_t)WC_READ(member->orders),
			 "core_free_messages", (json_int_t)WC_READ(member->frees), "heard_ms_ago",
			 heard && now > heard ? (json_int_t)((now - heard) / WC_MS) : (json_int_t)-1, "knows",
			 (json_int_t)session->knows, "lacks", session->lacks, "slow",
			 wc_members_slow_json(node->members->slow, session->id, now), "protocol",
			 (int)session->agreed.last, "features", wc_features_json(session->agreed.features));
}

json_t *wc_members_json(const struct wc_node *node)
{
	struct wc_members *members = node->members;
	json_t *nodes, *refused;

	if (!members || !wc_lead_leads(node))
		return json_null();
	nodes = json_array();
	pthread_mutex_lock(&members->lock);
	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->sessions[id]) {
			json_t *each = session_json(node, members->sessions[id]);

			json_object_set_new(each, "sibling", json_boolean(members->sessions[id]->sibling));
			json_array_append_new(nodes, each);
		}
	refused = wc_refused_json(&members->refusals, wc_now());
	pthread_mutex_unlock(&members->lock);
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "nodes", nodes, "refused", refused,
			 "generation", (json_int_t)members->generation, "sent_by_daemon",
			 (json_int_t)atomic_load(&members->sent), "sent_again",
			 (json_int_t)atomic_load(&members->again), "lost", (json_int_t)atomic_load(&members->lost),
			 "retried", (json_int_t)atomic_load(&members->retried), "left_total",
			 (json_int_t)atomic_load(&members->departed), "ejected_total",
			 (json_int_t)wc_members_slow_rules(members->slow)->ejected_total);
}
