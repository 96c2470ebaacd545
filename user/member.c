/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * member.c - see member.h. Two threads: one has the session with the scheduler's host, and may wait for it for seconds; the other says now and then how
 * all cores are, with a newer grant where the last one was not used for a while. In between agents say of their own core that it is free.
 */
#include "user/member.h"

#include "user/agent_internal.h"
#include "user/clock.h"
#include "user/cluster_functions.h"
#include "user/cluster_wire.h"
#include "user/log.h"
#include "user/remote_dial.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEAT_NS (100 * WC_MS)  /* between two questions to the scheduler's host */
#define SAY_NS (50 * WC_MS)    /* between two words of all cores */
#define AGAIN_NS (150 * WC_MS) /* a free core whose grant is so old gets a newer one */
#define RETRY_NS (250 * WC_MS) /* to reach the host */
#define ANSWER_NS (30 * WC_SECOND)
#define CODE_NS (600 * WC_SECOND) /* the code of a function is packed first, for one node after the other */
#define FETCH_AGAIN_NS (5 * WC_SECOND)
#define LACKS_MAX 32 /* names of functions that are told */

/* Of a core: since when it has its grant. */
struct given {
	uint32_t grant;
	uint64_t since;
};

struct wc_membership {
	struct wc_node *node;
	uint8_t key[WC_REMOTE_KEY_SIZE];
	char host[64], port[8];
	pthread_t session_thread, say_thread;
	bool session_started, say_started;
	int stop;   /* eventfd */
	int socket; /* connected to the scheduler's port while it has joined; the same one for good, because agents may be about to use it */
	atomic_bool joined; /* it has */
	struct given *given;
	uint64_t fetch_at; /* not before; of the session's thread */
	atomic_ullong said;
	pthread_mutex_t lock;
	int session; /* under the lock: the socket of the session, -1: there is none */
	/* Under the lock: for people. */
	char why[200]; /* it is not joined; empty: it is */
	uint64_t generation;
	json_t *lacks;
};

/* --- what the scheduler calls them --- */

/* Our functions by what is equal of the same ones, with and without the qualifier. */
static json_t *index_own(struct wc_node *node)
{
	json_t *own = wc_cluster_functions(node), *index = json_object(), *each;
	char identity[WC_CLUSTER_IDENTITY_MAX];
	size_t i;

	json_array_foreach (own, i, each) {
		wc_cluster_identity(each, true, identity);
		json_object_set(index, identity, each);
		wc_cluster_identity(each, false, identity);
		if (!json_object_get(index, identity))
			json_object_set(index, identity, each);
	}
	json_decref(own);
	return index;
}

/* Ours that is the same, with the same qualifier if there is one. 0: it is not here. */
static uint32_t find_own(const json_t *index, const json_t *function)
{
	char identity[WC_CLUSTER_IDENTITY_MAX];
	const json_t *found;

	wc_cluster_identity(function, true, identity);
	found = json_object_get(index, identity);
	if (!found) {
		wc_cluster_identity(function, false, identity);
		found = json_object_get(index, identity);
	}
	return (uint32_t)json_integer_value(json_object_get(found, "id"));
}

/* Enter what the functions are called here. Returns the names of those that are not here; *ret_lacked: one of them, published ones first. */
static json_t *translate(struct wc_node *node, const json_t *functions, const json_t **ret_lacked)
{
	json_t *own = index_own(node), *lacks = json_array();
	struct wc_tables *tables = &node->tables;
	struct wc_member_id ids[WC_FUNCTIONS_MAX] = { 0 };
	const json_t *each;
	size_t i;

	json_array_foreach (functions, i, each) {
		uint32_t theirs = (uint32_t)json_integer_value(json_object_get(each, "id")), ours = find_own(own, each);

		ids[WC_FUNCTION_SLOT(theirs)] = (struct wc_member_id){ theirs, ours };
		if (ours)
			continue;
		/* To publish one it has to be current here for a moment: the current one comes last. */
		if (!*ret_lacked || *(json_string_value(json_object_get(*ret_lacked, "qualifier")) ?: "$") == '$')
			*ret_lacked = each;
		if (json_array_size(lacks) < LACKS_MAX)
			json_array_append(lacks, json_object_get(each, "name"));
	}
	json_decref(own);
	for (uint32_t slot = 0; slot < tables->wc_member_ids_max; slot++) {
		struct wc_member_id *id = &tables->wc_member_ids[slot];

		if (id->theirs == ids[slot].theirs && id->ours == ids[slot].ours)
			continue;
		WC_WRITE(id->theirs, 0);
		__sync_synchronize();
		WC_WRITE(id->ours, ids[slot].ours);
		__sync_synchronize();
		WC_WRITE(id->theirs, ids[slot].theirs);
	}
	return lacks;
}

/* --- the session --- */

static bool wait_or_stop(const struct wc_membership *membership, uint64_t ns)
{
	struct pollfd stop = { .fd = membership->stop, .events = POLLIN };

	return poll(&stop, 1, (int)(ns / WC_MS)) > 0;
}

static void explain(struct wc_membership *membership, const char *why)
{
	pthread_mutex_lock(&membership->lock);
	if (strcmp(membership->why, why) != 0 && *why)
		wc_warning("not in the cluster of %s:%s: %s", membership->host, membership->port, why);
	snprintf(membership->why, sizeof(membership->why), "%s", why);
	pthread_mutex_unlock(&membership->lock);
}

/* One question. NULL: the session is over, and it was explained. */
static json_t *ask_within(struct wc_membership *membership, int fd, json_t *question, uint64_t ns)
{
	char *line = question ? json_dumps(question, JSON_COMPACT) : NULL;
	json_t *answer = NULL;
	int error = line ? 0 : -ENOMEM;

	json_decref(question);
	if (!error)
		error = wc_remote_ask(fd, line, strlen(line), wc_now() + ns, &answer);
	free(line);
	if (!error && json_is_true(json_object_get(answer, "ok")))
		return answer;
	if (!wait_or_stop(membership, 0)) /* else it was hung up from here */
		explain(membership, error						? wc_remote_why(error) :
				    json_string_value(json_object_get(answer, "error")) ?:
											  "its answer makes no sense");
	json_decref(answer);
	return NULL;
}

static json_t *ask(struct wc_membership *membership, int fd, json_t *question)
{
	return ask_within(membership, fd, question, ANSWER_NS);
}

/* To the port where the scheduler takes CORE_FREE. */
static int connect_to(int fd, const json_t *joined)
{
	struct sockaddr_in to = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, json_string_value(json_object_get(joined, "address")) ?: "", &to.sin_addr) != 1)
		return -EINVAL;
	to.sin_port = htons((uint16_t)json_integer_value(json_object_get(joined, "port")));
	return connect(fd, (struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
}

/* ORDERs are obeyed from here on, and cores are given. */
static int enter(struct wc_membership *membership, const json_t *joined)
{
	struct wc_cluster *cluster = membership->node->tables.wc_cluster;
	int error = connect_to(membership->socket, joined);

	if (error) {
		explain(membership, "the scheduler's address cannot be reached from here");
		return error;
	}
	WC_WRITE(cluster->term, (uint64_t)json_integer_value(json_object_get(joined, "term")));
	__sync_synchronize();
	WC_WRITE(cluster->self, (uint16_t)json_integer_value(json_object_get(joined, "member")));
	atomic_store(&membership->joined, true);
	explain(membership, "");
	wc_info("joined the cluster of %s:%s", membership->host, membership->port);
	return 0;
}

static void leave(struct wc_membership *membership)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	atomic_store(&membership->joined, false);
	WC_WRITE(membership->node->tables.wc_cluster->self, 0);
	if (connect(membership->socket, &nobody, sizeof(nobody)))
		wc_debug("the socket to the scheduler stays connected: %s", strerror(errno));
}

/* Its socket is known to who stops this, from here on or not any more (-1). False: it was stopped. */
static bool note_session(struct wc_membership *membership, int fd)
{
	pthread_mutex_lock(&membership->lock);
	membership->session = fd;
	pthread_mutex_unlock(&membership->lock);
	return !wait_or_stop(membership, 0);
}

static json_t *beat_question(struct wc_membership *membership)
{
	json_t *question;

	pthread_mutex_lock(&membership->lock);
	question = json_pack("{s:s, s:I, s:O?}", "op", "beat", "generation", (json_int_t)membership->generation,
			     "lacks", membership->lacks);
	pthread_mutex_unlock(&membership->lock);
	return question;
}

/* What functions there are, when that has changed here or there. Returns one that is not here, or NULL. */
static const json_t *learn(struct wc_membership *membership, json_t **functions, const json_t *answer)
{
	json_t *fresh = json_object_get(answer, "functions"), *lacks;
	const json_t *lacked = NULL;

	if (fresh) {
		json_decref(*functions);
		*functions = json_incref(fresh);
	}
	if (!*functions)
		return NULL;
	lacks = translate(membership->node, *functions, &lacked);
	pthread_mutex_lock(&membership->lock);
	json_decref(membership->lacks);
	membership->lacks = lacks;
	membership->generation = (uint64_t)json_integer_value(json_object_get(answer, "generation"));
	pthread_mutex_unlock(&membership->lock);
	return lacked;
}

struct asking {
	struct wc_membership *membership;
	int fd;
};

static json_t *ask_again(void *context, json_t *question)
{
	const struct asking *asking = context;

	return ask_within(asking->membership, asking->fd, question, CODE_NS);
}

/* Get it. One that cannot be had is tried again after a while. */
static void fetch(struct wc_membership *membership, int fd, const json_t *function)
{
	struct asking asking = { membership, fd };
	uint64_t now = wc_now();
	struct wc_fault fault;
	int error;

	if (now < membership->fetch_at)
		return;
	error = wc_cluster_take(membership->node, function, NULL, false, ask_again, &asking, &fault);
	if (!error || error == -EPIPE)
		return;
	membership->fetch_at = now + FETCH_AGAIN_NS;
	wc_warning("function %s of the cluster cannot be had: %.300s",
		   json_string_value(json_object_get(function, "name")) ?: "?", fault.text);
}

/* Until the host hangs up, or this node is told to stop (true). */
static bool be_member(struct wc_membership *membership, int fd)
{
	json_t *answer, *functions = NULL;
	bool stopped = false;

	membership->generation = 0;
	while (!stopped && (answer = ask(membership, fd, beat_question(membership)))) {
		const json_t *lacked = learn(membership, &functions, answer);

		json_decref(answer);
		explain(membership, "");
		if (lacked)
			fetch(membership, fd, lacked);
		stopped = wait_or_stop(membership, BEAT_NS);
	}
	json_decref(functions);
	return stopped;
}

static void *session_main(void *argument)
{
	struct wc_membership *membership = argument;
	struct wc_node *node = membership->node;
	bool stopped = false;

	pthread_setname_np(pthread_self(), "member");
	wc_sched_enrol_self(node->sched, WC_NONE);
	while (!stopped) {
		int fd = wc_remote_dial(membership->host, membership->port, membership->key, WC_REMOTE_FOR_CLUSTER);
		json_t *joined = NULL;

		if (fd < 0)
			explain(membership, wc_remote_why(fd));
		else if (note_session(membership, fd))
			joined = ask(membership, fd,
				     json_pack("{s:s, s:s, s:i, s:I, s:s, s:i}", "op", "join", "name",
					       node->options.join_as, "cores", (int)node->options.core_count, "epoch",
					       (json_int_t)node->tables.wc_cluster->epoch, "address", node->address4,
					       "port", (int)node->options.port));
		if (joined && !enter(membership, joined))
			stopped = be_member(membership, fd);
		json_decref(joined);
		leave(membership);
		note_session(membership, -1);
		if (fd >= 0)
			close(fd);
		stopped = stopped || wait_or_stop(membership, RETRY_NS);
	}
	return NULL;
}

/* --- CORE_FREE --- */

static void fill_entry(uint32_t core, uint32_t grant, bool is_free, uint32_t theirs, struct wc_core_free *ret_entry)
{
	*ret_entry = (struct wc_core_free){
		.core = htons((uint16_t)core),
		.flags = htons(is_free ? WC_FREE_NOW : 0),
		.grant = htonl(grant),
		.function_id = htonl(theirs),
	};
}

/* It may be lost: the next word of all cores says the same. */
static void say(struct wc_membership *membership, struct wc_core_free *entries, uint16_t count)
{
	const struct wc_cluster *cluster = membership->node->tables.wc_cluster;
	struct wc_cluster_address of = {
		.key = { cluster->key[0], cluster->key[1] },
		.term = WC_READ(cluster->term),
		.epoch = cluster->epoch,
		.member = WC_READ(cluster->self),
	};
	struct {
		struct wc_cluster_header header;
		struct wc_core_free entries[WC_FREE_MAX];
	} message;

	if (!atomic_load(&membership->joined) || !of.member)
		return;
	wc_cluster_free(&message.header, &of, entries, count);
	memcpy(message.entries, entries, count * sizeof(*entries));
	if (send(membership->socket, &message, sizeof(message.header) + count * sizeof(*entries), MSG_NOSIGNAL) > 0)
		atomic_fetch_add_explicit(&membership->said, 1, memory_order_relaxed);
}

void wc_member_released(struct wc_node *node, uint32_t core, uint32_t theirs)
{
	struct wc_core *entry = &node->tables.wc_cores[core];
	struct wc_core_free said;

	if (!node->membership || !atomic_load_explicit(&node->membership->joined, memory_order_relaxed))
		return;
	fill_entry(core, wc_fetch_add(&entry->grant, 1) + 1, true, theirs, &said);
	say(node->membership, &said, 1);
}

/* Of a core as it is. One that is free and was not used under its grant for a while gets a newer one: perhaps a message was lost. */
static void look_at(struct wc_membership *membership, uint32_t core, uint64_t now, struct wc_core_free *ret_entry)
{
	struct wc_core *entry = &membership->node->tables.wc_cores[core];
	struct given *given = &membership->given[core];
	/* In this order: an agent writes the state first. Else a core that has just been released would be said to be taken under its new grant. */
	uint32_t grant = __atomic_load_n(&entry->grant, __ATOMIC_ACQUIRE);
	bool is_free = WC_READ(entry->state) == WC_CORE_FREE;

	if (given->grant != grant || !is_free) {
		given->grant = grant;
		given->since = now;
	} else if (now - given->since >= AGAIN_NS && wc_cas(&entry->grant, grant, grant + 1) == grant) {
		grant++;
		given->grant = grant;
		given->since = now;
	}
	fill_entry(core, grant, is_free, 0, ret_entry);
}

static void *say_main(void *argument)
{
	struct wc_membership *membership = argument;
	struct wc_node *node = membership->node;
	struct wc_core_free entries[WC_FREE_MAX];

	pthread_setname_np(pthread_self(), "member-say");
	wc_sched_enrol_self(node->sched, WC_NONE);
	do {
		uint64_t now = wc_now();
		uint16_t count = 0;

		for (uint32_t core = 0; core < node->options.core_count; core++) {
			look_at(membership, core, now, &entries[count++]);
			if (count < WC_FREE_MAX && core + 1 < node->options.core_count)
				continue;
			say(membership, entries, count);
			count = 0;
		}
	} while (!wait_or_stop(membership, SAY_NS));
	return NULL;
}

/* --- start and stop --- */

int wc_member_open(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_cluster *cluster = node->tables.wc_cluster;
	struct wc_membership *membership;
	uint64_t words[2];
	int error;

	if (!*node->options.join)
		return 0;
	if (!*node->address4)
		return wc_fail(fault, EINVAL, "--join: %s has no IPv4 address, by which the scheduler could reach it",
			       node->dev);
	membership = calloc(1, sizeof(*membership));
	if (!membership)
		return wc_fail(fault, ENOMEM, "out of memory");
	node->membership = membership;
	membership->node = node;
	membership->session = -1;
	membership->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(membership->why, sizeof(membership->why), "it has not been reached yet");
	pthread_mutex_init(&membership->lock, NULL);
	membership->stop = eventfd(0, EFD_CLOEXEC);
	membership->given = calloc(node->options.core_count, sizeof(*membership->given));
	if (membership->stop < 0 || membership->socket < 0 || !membership->given)
		return wc_fail(fault, ENOMEM, "out of memory or files for the cluster");
	error = wc_remote_split(node->options.join, membership->host, sizeof(membership->host), membership->port, fault) ?:
			wc_remote_key_load(node->options.remote_key, membership->key, fault);
	if (error)
		return error;
	wc_cluster_key(membership->key, words);
	memcpy(cluster->key, words, sizeof(cluster->key));
	if (getrandom(&cluster->epoch, sizeof(cluster->epoch), 0) != sizeof(cluster->epoch))
		return wc_fail(fault, EIO, "the system gives no random numbers");
	return 0;
}

int wc_member_start(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_membership *membership = node->membership;
	int error;

	if (!membership)
		return 0;
	error = pthread_create(&membership->session_thread, NULL, session_main, membership);
	membership->session_started = !error;
	if (!error)
		error = pthread_create(&membership->say_thread, NULL, say_main, membership);
	membership->say_started = membership->session_started && !error;
	return error ? wc_fail(fault, error, "cannot start a thread for the cluster: %s", strerror(error)) : 0;
}

void wc_member_stop(struct wc_node *node)
{
	struct wc_membership *membership = node->membership;
	uint64_t one = 1;

	if (!membership || write(membership->stop, &one, sizeof(one)) != sizeof(one))
		return;
	/* It may wait for a host that says nothing. */
	pthread_mutex_lock(&membership->lock);
	if (membership->session >= 0)
		shutdown(membership->session, SHUT_RDWR);
	pthread_mutex_unlock(&membership->lock);
	if (membership->session_started)
		pthread_join(membership->session_thread, NULL);
	if (membership->say_started)
		pthread_join(membership->say_thread, NULL);
	membership->session_started = membership->say_started = false;
}

void wc_member_close(struct wc_node *node)
{
	struct wc_membership *membership = node->membership;

	if (!membership)
		return;
	if (membership->stop >= 0)
		close(membership->stop);
	if (membership->socket >= 0)
		close(membership->socket);
	json_decref(membership->lacks);
	free(membership->given);
	explicit_bzero(membership->key, sizeof(membership->key));
	pthread_mutex_destroy(&membership->lock);
	free(membership);
	node->membership = NULL;
}

json_t *wc_member_json(const struct wc_node *node)
{
	struct wc_membership *membership = node->membership;
	json_t *object;

	if (!membership)
		return json_null();
	pthread_mutex_lock(&membership->lock);
	object = json_pack("{s:s, s:s, s:b, s:s?, s:i, s:I, s:O?}", "scheduler", node->options.join, "as",
			   node->options.join_as, "joined", !*membership->why, "why",
			   *membership->why ? membership->why : NULL, "member",
			   (int)WC_READ(node->tables.wc_cluster->self), "core_free_messages",
			   (json_int_t)atomic_load(&membership->said), "lacks", membership->lacks);
	pthread_mutex_unlock(&membership->lock);
	return object;
}
