/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * member.c - see member.h. Two threads: one has the session with the scheduler's host, and may wait for it for seconds; the other says now and then how
 * all cores are, with a newer grant where the last one was not used for a while. In between agents say of their own core that it is free.
 */
#include "user/member.h"

#include "user/agent_internal.h"
#include "user/clock.h"
#include "user/cluster_mirror.h"
#include "user/cluster_protocol.h"
#include "user/cluster_session.h"
#include "user/function_counts.h"
#include "user/heirs.h"
#include "user/lead.h"
#include "user/log.h"
#include "user/pending.h"
#include "user/remote_dial.h"
#include "user/window.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEAT_NS (100 * WC_MS)		       /* between two questions to the scheduler's host */
#define SAY_NS (50 * WC_MS)		       /* between two words of all cores */
#define AGAIN_NS (150 * WC_MS)		       /* a free core whose grant is so old gets a newer one */
#define RETRY_NS (250 * WC_MS)		       /* to reach the host */
#define RETRY_SLOW_NS (5 * WC_SECOND)	       /* at most, when the scheduler speaks no protocol that is spoken here */
#define RETRY_SOON_NS (20 * WC_MS)	       /* of several schedulers, for a while: another one is about to lead */
#define SOON_NS (WC_WINDOW_RECENT * WC_SECOND) /* what it has begun before that is nobody's question any more */
#define ANSWER_SOON_NS (500 * WC_MS)	       /* of several: one that has not answered a beat by then is left */
#define DIAL_SOON_NS (5 * WC_SECOND)	       /* after the end of a session */
#define DIAL_SOON_MS                                                                                                   \
	100 /* to connect, and then for the handshake, while it looks for the next one: a host that is dead, or stands still, must not keep it */
#define SETTLE_NS (100 * WC_MS)
#define LINGER_NS (1 * WC_SECOND) /* after the last invocation of the scheduler's has ended, on the way out */
#define ANSWER_NS (30 * WC_SECOND)
#define CODE_NS (600 * WC_SECOND) /* the code of a function is packed first, for one node after the other */
#define FETCH_AGAIN_NS (5 * WC_SECOND)
#define IDS_AHEAD 32 /* generations of ids; each change of the leader costs as many of a million */

/* Of a core: since when it has its grant. */
struct given {
	uint32_t grant;
	uint64_t since;
};

struct wc_membership {
	struct wc_node *node;
	uint8_t key[WC_REMOTE_KEY_SIZE];
	char host[64], port[8]; /* of the scheduler that it is at, or tries; under the lock */
	uint64_t term;		/* of the leader that it tries, as the election knows it, */
	uint64_t met;		/* and of the last one that was there */
	int turn;		/* the next of --join */
	char hint[WC_CLUSTER_DOOR_MAX]; /* the door of who leads, to be tried first; empty: nobody has said so. Of the session's thread, */
	bool hinted;			/* too: this try is such a one */
	uint64_t lost_ns;		   /* when the last session ended */
	bool strict;			   /* of several: the session's thread */
	char refused[WC_CLUSTER_CODE_MAX]; /* code of the last answer that was none; of the session's thread, too */
	struct wc_speaks agreed;	   /* of the session; last: 0, there is none */
	uint32_t refusals;		   /* of the protocol, since it was in last */
	atomic_bool paused;		   /* this host leads */
	atomic_bool leaving;		   /* somebody has asked for it, */
	atomic_bool left;		   /* and it has happened */
	atomic_int running;		   /* of what was ordered */
	pthread_t session_thread, say_thread;
	bool session_started, say_started;
	int stop;   /* eventfd */
	int socket; /* connected to the scheduler's port while it has joined; the same one for good, because agents may be about to use it */
	atomic_bool joined;	  /* it has */
	atomic_bool draining;	  /* as its scheduler said last */
	atomic_bool leader_whole; /* its functions are all of the cluster's, as it said last */
	struct given *given;
	struct wc_counts *counts; /* what is told with each beat; */
	uint64_t took_ns;  /* and how long the last one took; 0: that says nothing. Of the session's thread, too */
	uint64_t fetch_at; /* not before; of the session's thread */
	atomic_ullong said;
	pthread_mutex_t lock;
	int session; /* under the lock: the socket of the session, -1: there is none */
	/* Under the lock: for people. */
	char why[200]; /* it is not joined; empty: it is */
	uint64_t generation;
	json_t *lacks;
	/* Of the session's thread: what it knew of its own functions when it compared them last, and what was lacking, in the scheduler's list. */
	uint32_t learned;
	const json_t *lacked;
};

/* --- the session --- */

static bool wait_or_stop(const struct wc_membership *membership, uint64_t ns)
{
	struct pollfd stop = { .fd = membership->stop, .events = POLLIN };

	return poll(&stop, 1, (int)(ns / WC_MS)) > 0;
}

/* Was the last answer that this node and its scheduler speak no common protocol? */
static bool is_refused(const struct wc_membership *membership)
{
	return !strcmp(membership->refused, "protocol");
}

static void explain(struct wc_membership *membership, const char *why)
{
	/* That stays the reason, whatever schedulers that do not lead say meanwhile. */
	if (*why && membership->refusals && !is_refused(membership))
		return;
	pthread_mutex_lock(&membership->lock);
	/* Of several schedulers most are none, and that changes: once is enough. */
	if (membership->strict ? *why && !*membership->why : strcmp(membership->why, why) != 0 && *why)
		wc_warning("not in the cluster of %s:%s: %s", membership->host, membership->port, why);
	snprintf(membership->why, sizeof(membership->why), "%s", why);
	pthread_mutex_unlock(&membership->lock);
}

/*
 * One of several has said that it does not lead, and where who does is: that one is next, but what that one says of yet another one does not count: two that take each other for the
 * leader must not keep this node from a third one. Who may lead itself asks the election.
 */
static void note_leader(struct wc_membership *membership, const char *door)
{
	if (*door && !membership->hinted && !membership->node->lead)
		snprintf(membership->hint, sizeof(membership->hint), "%s", door);
}

/* One question. NULL: the session is over, and it was explained. */
static json_t *ask_within(struct wc_membership *membership, int fd, json_t *question, uint64_t ns)
{
	struct wc_cluster_refusal refusal;
	json_t *answer = wc_cluster_question(fd, question, ns, &refusal);

	if (!answer) {
		memcpy(membership->refused, refusal.code, sizeof(membership->refused));
		note_leader(membership, refusal.leader);
	}
	if (!answer && !wait_or_stop(membership, 0)) /* else it was hung up from here */
		explain(membership, refusal.why);
	return answer;
}

static uint64_t patience(const struct wc_membership *membership)
{
	return membership->strict ? 4 * ANSWER_SOON_NS : ANSWER_NS;
}

static json_t *ask(struct wc_membership *membership, int fd, json_t *question)
{
	return ask_within(membership, fd, question, patience(membership));
}

/*
 * What was ordered, and lies in a queue of the kernel, is not in the window yet: wait until each core that was claimed when the session ended is
 * further on. (A claim that was lost is given up by others, and not waited for.)
 */
static void settle(const struct wc_node *node)
{
	uint64_t end = wc_now() + SETTLE_NS; /* of all of them: the new leader does not wait for long */

	for (uint32_t i = 0; i < node->options.core_count; i++) {
		const struct wc_core *core = &node->tables.wc_cores[i];
		uint64_t claims = WC_READ(core->claims);

		while (WC_READ(core->state) == WC_CORE_CLAIMED && WC_READ(core->claims) == claims && wc_now() < end)
			usleep(1000);
	}
}

struct asking {
	struct wc_membership *membership;
	int fd;
	uint64_t ns; /* within which there has to be an answer */
};

static json_t *ask_for(void *context, json_t *question)
{
	const struct asking *asking = context;

	return ask_within(asking->membership, asking->fd, question, asking->ns);
}

/* Tell a scheduler, which may have just begun to lead, what is known here. */
static bool tell_window(struct wc_membership *membership, int fd)
{
	struct asking asking = { membership, fd, patience(membership) };

	settle(membership->node);
	return wc_cluster_tell_ids(membership->node, true, ask_for, &asking) &&
	       wc_cluster_tell_ids(membership->node, false, ask_for, &asking);
}

/* ORDERs are obeyed from here on, and cores are given. */
static int enter(struct wc_membership *membership, int session, const json_t *joined)
{
	struct wc_cluster *cluster = membership->node->tables.wc_cluster;
	int error = wc_cluster_connect(membership->socket, joined);

	if (error) {
		explain(membership, "the scheduler's address cannot be reached from here");
		return error;
	}
	if (json_is_true(json_object_get(joined, "window")) && !tell_window(membership, session))
		return -EPIPE;
	pthread_mutex_lock(&membership->lock);
	if (atomic_load(&membership->paused)) { /* meanwhile */
		pthread_mutex_unlock(&membership->lock);
		return -ECANCELED;
	}
	WC_WRITE(cluster->term, (uint64_t)json_integer_value(json_object_get(joined, "term")));
	__sync_synchronize();
	WC_WRITE(cluster->self, (uint16_t)json_integer_value(json_object_get(joined, "member")));
	atomic_store(&membership->joined, true);
	pthread_mutex_unlock(&membership->lock);
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
	if (atomic_load(&membership->node->hands_over))
		json_object_set_new(question, "handover", json_true());
	if (!(membership->agreed.features & WC_FEATURE_COUNTS))
		return question;
	json_object_set_new(question, "counts", wc_counts_json(membership->counts, &membership->node->tables));
	json_object_set_new(question, "took_us", json_integer((json_int_t)(membership->took_ns / WC_US)));
	return question;
}

/* What functions there are, when that has changed here or there. Returns one that is not here, or NULL. */
static const json_t *learn(struct wc_membership *membership, json_t **functions, const json_t *answer)
{
	json_t *fresh = json_object_get(answer, "functions"), *lacks;
	uint32_t changes = wc_functions_changes(membership->node->functions); /* before the look */
	const json_t *lacked = NULL;

	if (fresh) {
		json_decref(*functions);
		*functions = json_incref(fresh);
	}
	if (!*functions)
		return NULL;
	if (!fresh && membership->learned == changes)
		return membership->lacked;
	lacks = wc_cluster_translate(membership->node, 0, *functions, &lacked, NULL);
	pthread_mutex_lock(&membership->lock);
	json_decref(membership->lacks);
	membership->lacks = lacks;
	membership->generation = (uint64_t)json_integer_value(json_object_get(answer, "generation"));
	pthread_mutex_unlock(&membership->lock);
	membership->learned = changes;
	membership->lacked = lacked;
	return lacked;
}

/* Get it. One that cannot be had is tried again after a while. */
static void fetch(struct wc_membership *membership, int fd, const json_t *function, const json_t *functions)
{
	struct asking asking = { membership, fd, CODE_NS };
	uint64_t now = wc_now();
	struct wc_fault fault;
	int error;

	if (now < membership->fetch_at)
		return;
	error = wc_cluster_take(membership->node, function, functions, membership->node->lead != NULL, ask_for, &asking,
				&fault);
	if (!error || error == -EPIPE)
		return;
	membership->fetch_at = now + FETCH_AGAIN_NS;
	wc_warning("function %s of the cluster cannot be had: %.300s",
		   json_string_value(json_object_get(function, "name")) ?: "?", fault.text);
}

/* What one that may lead next has to know. */
static void prepare_to_lead(struct wc_membership *membership, const json_t *answer, const json_t *functions)
{
	struct wc_node *node = membership->node;
	json_t *names = json_object_get(answer, "nodes");
	struct wc_fault fault;

	if (!node->lead || atomic_load(&membership->paused)) /* it leads itself meanwhile */
		return;
	atomic_store(&membership->leader_whole, !json_is_false(json_object_get(answer, "whole")));
	if (json_is_array(names))
		wc_lead_roster(node, WC_READ(node->tables.wc_cluster->term), json_incref(names));
	/* Ahead of it: what it gives out between its last answer and its death must not be given out here again. */
	if (wc_functions_raise_generation(node->functions,
					  IDS_AHEAD + (uint32_t)json_integer_value(json_object_get(answer, "ids")),
					  &fault) ||
	    (functions && !json_is_false(json_object_get(answer, "whole")) &&
	     wc_cluster_mirror(node, functions, &fault)))
		wc_warning("this host is not ready to lead the cluster: %s", fault.text);
}

/* Who may lead next has what runs there in its own window. */
static uint32_t except_self(const struct wc_node *node, struct wc_heir *heirs, uint32_t count)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++)
		if (heirs[i].member != node->tables.wc_cluster->self)
			heirs[kept++] = heirs[i];
	return kept;
}

/*
 * Somebody wants it to leave: true when nothing of the scheduler's has been here for LINGER_NS. Until then who has lost an answer gets it still. *busy_ns: when something was; 0:
 * the scheduler does not know yet.
 */
static bool may_leave(struct wc_membership *membership, int fd, uint64_t *busy_ns)
{
	uint64_t now = wc_now();

	if (!atomic_load(&membership->leaving))
		return false;
	if (!*busy_ns) {
		json_t *answer = ask(membership, fd, json_pack("{s:s}", "op", "leave"));

		*busy_ns = now;
		json_decref(answer);
		/* One that does not know the word sends something still, and this node is out when nothing of it has come for a while. */
		return !answer && strcmp(membership->refused, "unknown-op") != 0;
	}
	if (atomic_load(&membership->running) || wc_pending_total(membership->node))
		*busy_ns = now;
	return now - *busy_ns >= LINGER_NS;
}

/* One beat. Its answer, or NULL: the session is over. */
static json_t *give_beat(struct wc_membership *membership, int fd)
{
	json_t *question = beat_question(membership), *answer;
	uint64_t asked = wc_now();

	answer = ask_within(membership, fd, question, membership->strict ? ANSWER_SOON_NS : ANSWER_NS);
	/* With functions it has much to say, and that takes longer. */
	membership->took_ns = json_object_get(answer, "functions") ? 0 : wc_now() - asked;
	return answer;
}

/* Until the host hangs up, or this node is told to stop (true). */
static bool be_member(struct wc_membership *membership, int fd)
{
	json_t *answer, *functions = NULL;
	struct wc_heir heirs[WC_HEIRS_MAX];
	uint64_t busy_ns = 0;
	bool stopped = false;

	membership->generation = 0;
	membership->took_ns = 0;
	wc_counts_begin(membership->counts);
	while (!stopped && (answer = give_beat(membership, fd))) {
		const json_t *lacked;

		wc_heirs_set(membership->node, heirs,
			     except_self(membership->node, heirs,
					 wc_heirs_read(json_object_get(answer, "heirs"), heirs)));
		atomic_store(&membership->draining, json_is_true(json_object_get(answer, "draining")));
		prepare_to_lead(membership, answer, json_object_get(answer, "functions"));
		lacked = learn(membership, &functions, answer);

		json_decref(answer);
		explain(membership, "");
		if (lacked)
			fetch(membership, fd, lacked, functions);
		if (may_leave(membership, fd, &busy_ns))
			break;
		stopped = wait_or_stop(membership, BEAT_NS);
	}
	json_decref(functions);
	return stopped;
}

/* Whom to join now. False: nobody, for the moment. */
static bool choose(struct wc_membership *membership)
{
	const struct wc_node *node = membership->node;
	struct wc_leader leader;
	const char *door;
	struct wc_fault fault;
	bool good;

	atomic_store(&membership->left, atomic_load(&membership->leaving));
	if (atomic_load(&membership->leaving))
		return false;
	if (node->lead) {
		if (atomic_load(&membership->paused) || !wc_lead_leader(node, &leader))
			return false;
		door = leader.door;
		membership->term = leader.term;
		pthread_mutex_lock(&membership->lock);
	} else {
		pthread_mutex_lock(&membership->lock); /* somebody may change them */
		membership->hinted = *membership->hint;
		door = membership->hinted ? membership->hint : wc_options_join(&node->options, membership->turn++);
		if (!door) {
			door = wc_options_join(&node->options, 0);
			membership->turn = 1;
		}
	}
	good = !wc_remote_split(door, membership->host, sizeof(membership->host), membership->port, &fault);
	*membership->hint = 0;
	pthread_mutex_unlock(&membership->lock);
	return good;
}

/* What is spoken in this session. False: nothing that is spoken here, and it was explained. */
static bool agree(struct wc_membership *membership, const json_t *joined)
{
	struct wc_speaks agreed;
	struct wc_fault fault;

	if (wc_speaks_accept(&wc_speaks_here, joined, &agreed, &fault)) {
		snprintf(membership->refused, sizeof(membership->refused), "protocol");
		explain(membership, fault.text);
		return false;
	}
	pthread_mutex_lock(&membership->lock);
	membership->agreed = agreed;
	membership->refusals = 0;
	pthread_mutex_unlock(&membership->lock);
	return true;
}

/* How long until the next try, after one. Where no protocol was found that will take an upgrade. */
static uint64_t back_off(struct wc_membership *membership)
{
	uint64_t most = membership->strict ? RETRY_SLOW_NS / 5 :
					     RETRY_SLOW_NS; /* of several another one may lead soon */
	uint64_t pause;

	if (!is_refused(membership))
		return RETRY_NS;
	if (membership->strict && !membership->refusals) /* else explain() has said so */
		wc_warning("not in the cluster of %s:%s: %s", membership->host, membership->port, membership->why);
	if (membership->refusals < 8)
		membership->refusals++;
	pause = RETRY_NS << membership->refusals;
	return pause < most ? pause : most;
}

/* One session. True: the node was told to stop. */
static bool attend(struct wc_membership *membership)
{
	struct wc_node *node = membership->node;
	bool soon = wc_now() - membership->lost_ns < DIAL_SOON_NS, stopped = false;
	int fd = wc_remote_dial(membership->host, membership->port, membership->key, WC_REMOTE_FOR_CLUSTER,
				!membership->strict ? WC_REMOTE_CONNECT_MS :
				soon		    ? DIAL_SOON_MS :
						      (unsigned)(ANSWER_SOON_NS / WC_MS));
	json_t *joined = NULL;

	*membership->refused = 0;
	/* Where it has listened before: a packet filter refuses, too, and says nothing of who is behind it. */
	if (fd >= 0)
		membership->met = membership->term;
	if (fd == -ECONNREFUSED && node->lead && membership->met == membership->term)
		wc_lead_gone(node, membership->term);
	if (fd < 0) {
		explain(membership, wc_remote_why(fd));
	} else if (note_session(membership, fd)) {
		joined = ask(membership, fd,
			     json_pack("{s:s, s:s, s:i, s:I, s:s, s:i, s:b, s:o}", "op", "join", "name",
				       node->options.join_as, "cores", (int)node->options.core_count, "epoch",
				       (json_int_t)node->tables.wc_cluster->epoch, "address", node->address4, "port",
				       (int)node->options.port, "standby", node->lead != NULL, "speaks",
				       wc_speaks_json(&wc_speaks_here)));
	}
	if (joined && agree(membership, joined) && !enter(membership, fd, joined)) {
		stopped = be_member(membership, fd);
		membership->lost_ns = wc_now();
		membership->turn = 0;
	}
	json_decref(joined);
	leave(membership);
	pthread_mutex_lock(&membership->lock);
	membership->agreed = (struct wc_speaks){ 0 };
	pthread_mutex_unlock(&membership->lock);
	note_session(membership, -1);
	if (fd >= 0)
		close(fd);
	return stopped;
}

static void *session_main(void *argument)
{
	struct wc_membership *membership = argument;
	bool stopped = false;

	pthread_setname_np(pthread_self(), "member");
	wc_sched_enrol_self(membership->node->sched, WC_NONE);
	while (!stopped) {
		uint64_t lost_ns = membership->lost_ns, pause = RETRY_NS;

		if (choose(membership)) {
			stopped = attend(membership);
			pause = back_off(membership);
		} else {
			pause = atomic_load(&membership->left) ?
					RETRY_NS :
					RETRY_SOON_NS; /* the election says who leads; that costs nothing */
		}
		if (is_refused(membership))
			; /* however lately it was in */
		else if (*membership->hint)
			pause = 0;
		else if (membership->strict && lost_ns != membership->lost_ns)
			pause = 0; /* look at once whether it is dead, or another one leads */
		else if (membership->strict && wc_now() - membership->lost_ns < SOON_NS)
			pause = RETRY_SOON_NS;
		stopped = stopped || wait_or_stop(membership, pause);
	}
	return NULL;
}

void wc_member_runs(struct wc_node *node, int change)
{
	if (node->membership)
		atomic_fetch_add(&node->membership->running, change);
}

int wc_member_leave(struct wc_node *node, struct wc_fault *fault)
{
	if (!node->membership)
		return wc_fail(fault, EINVAL, "this node is in no cluster");
	if (node->lead)
		return wc_fail(fault, EINVAL,
			       "this host is one of the cluster's schedulers, which leaves with `warmcore down`");
	atomic_store(&node->membership->leaving, true);
	return 0;
}

int wc_member_join(struct wc_node *node, const char *schedulers, struct wc_fault *fault)
{
	struct wc_options wanted = { 0 };
	int error;

	if (!node->membership || node->lead)
		return wc_fail(fault, EINVAL,
			       node->lead ? "this host is one of the cluster's schedulers" :
					    "a node that can join a cluster is started with --join");
	if (schedulers) {
		if (strlen(schedulers) >= sizeof(wanted.join))
			return wc_fail(fault, EINVAL, "these are too many schedulers");
		snprintf(wanted.join, sizeof(wanted.join), "%s", schedulers);
		error = wc_options_check_joins(&wanted, fault);
		if (error)
			return error;
		if (!atomic_load(&node->membership->left) && strcmp(wanted.join, node->options.join) != 0)
			return wc_fail(fault, EBUSY, "it is in a cluster; `warmcore leave` comes first");
	}
	pthread_mutex_lock(&node->membership->lock);
	if (schedulers) {
		memcpy(node->options.join, wanted.join, sizeof(wanted.join));
		node->membership->strict = wc_options_join(&wanted, 1);
		node->membership->turn = 0;
	}
	pthread_mutex_unlock(&node->membership->lock);
	atomic_store(&node->membership->leaving, false);
	return 0;
}

void wc_member_pause(struct wc_node *node)
{
	struct wc_membership *membership = node->membership;

	pthread_mutex_lock(&membership->lock);
	atomic_store(&membership->paused, true);
	WC_WRITE(node->tables.wc_cluster->self, 0);
	if (membership->session >= 0)
		shutdown(membership->session, SHUT_RDWR); /* its thread closes it */
	pthread_mutex_unlock(&membership->lock);
}

void wc_member_resume(struct wc_node *node)
{
	atomic_store(&node->membership->paused, false);
}

bool wc_member_may_begin(const struct wc_node *node)
{
	return !node->membership || !node->membership->strict || WC_READ(node->tables.wc_cluster->self);
}

/* --- CORE_FREE --- */

/* It may be lost: the next word of all cores says the same. */
static void say(struct wc_membership *membership, const struct wc_core_free *entries, uint16_t count)
{
	const struct wc_cluster *cluster = membership->node->tables.wc_cluster;
	const struct wc_cluster_address of = {
		.key = { cluster->key[0], cluster->key[1] },
		.term = WC_READ(cluster->term),
		.epoch = cluster->epoch,
		.member = WC_READ(cluster->self),
	};

	if (atomic_load(&membership->joined) && of.member && wc_cluster_say(membership->socket, &of, entries, count))
		atomic_fetch_add_explicit(&membership->said, 1, memory_order_relaxed);
}

void wc_member_released(struct wc_node *node, uint32_t core, uint32_t theirs)
{
	struct wc_core *entry = &node->tables.wc_cores[core];
	struct wc_core_free said;

	if (!node->membership || !atomic_load_explicit(&node->membership->joined, memory_order_relaxed))
		return;
	wc_cluster_entry(core, wc_fetch_add(&entry->grant, 1) + 1, true, theirs, &said);
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
	wc_cluster_entry(core, grant, is_free, 0, ret_entry);
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

	if (!*node->options.join && !*node->options.etcd)
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
	membership->strict = *node->options.etcd || wc_options_join(&node->options, 1);
	snprintf(membership->why, sizeof(membership->why), "it has not been reached yet");
	pthread_mutex_init(&membership->lock, NULL);
	membership->stop = eventfd(0, EFD_CLOEXEC);
	membership->given = calloc(node->options.core_count, sizeof(*membership->given));
	membership->counts = wc_counts_new(true);
	if (membership->stop < 0 || membership->socket < 0 || !membership->given || !membership->counts)
		return wc_fail(fault, ENOMEM, "out of memory or files for the cluster");
	error = wc_remote_key_load(node->options.remote_key, membership->key, fault);
	if (error)
		return error;
	wc_cluster_key(membership->key, WC_CLUSTER_MAC, words);
	memcpy(cluster->key, words, sizeof(cluster->key));
	/* Else it is that of the daemon before, which has handed over: what was sent to that one is here. */
	if (!cluster->epoch && getrandom(&cluster->epoch, sizeof(cluster->epoch), 0) != sizeof(cluster->epoch))
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
	wc_counts_free(membership->counts);
	explicit_bzero(membership->key, sizeof(membership->key));
	pthread_mutex_destroy(&membership->lock);
	free(membership);
	node->membership = NULL;
}

bool wc_member_whole(const struct wc_node *node)
{
	struct wc_membership *membership = node->membership;
	bool whole;

	pthread_mutex_lock(&membership->lock);
	whole = membership->generation && !json_array_size(membership->lacks) && atomic_load(&membership->leader_whole);
	pthread_mutex_unlock(&membership->lock);
	return whole;
}

json_t *wc_member_json(const struct wc_node *node)
{
	struct wc_membership *membership = node->membership;
	char scheduler[sizeof(membership->host) + sizeof(membership->port)];
	json_t *object;

	if (!membership || (node->lead && wc_lead_leads(node)))
		return json_null();
	pthread_mutex_lock(&membership->lock);
	snprintf(scheduler, sizeof(scheduler), "%s:%s", membership->host, membership->port);
	object = json_pack(
		"{s:s, s:s, s:b, s:b, s:b, s:i, s:s?, s:b, s:i, s:I, s:O?, s:i, s:o}", "scheduler", scheduler, "as",
		node->options.join_as, "joined", !*membership->why && !atomic_load(&membership->left), "leaving",
		(int)atomic_load(&membership->leaving), "left", (int)atomic_load(&membership->left), "running",
		atomic_load(&membership->running), "why", *membership->why ? membership->why : NULL, "draining",
		(int)atomic_load(&membership->draining), "member", (int)WC_READ(node->tables.wc_cluster->self),
		"core_free_messages", (json_int_t)atomic_load(&membership->said), "lacks", membership->lacks,
		"protocol", (int)membership->agreed.last, "features", wc_features_json(membership->agreed.features));
	pthread_mutex_unlock(&membership->lock);
	return object;
}
