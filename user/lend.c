/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lend.c - see lend.h. A thread for each sibling has the session with it; one more counts what is free, and says so to all. A sibling's leave is as old as
 * the last word: more of them than there are cores may come at once, and then wait here like others.
 */
#include "user/lend.h"

#include "user/clock.h"
#include "user/cluster_protocol.h"
#include "user/cluster_session.h"
#include "user/lead.h"
#include "user/lend_given.h"
#include "user/log.h"
#include "user/members.h"
#include "user/pending.h"
#include "user/remote_dial.h"
#include "user/sched.h"
#include "user/window.h"
#include "user/xdp.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEAT_NS (100 * WC_MS)
#define ANSWER_NS (500 * WC_MS) /* one that has not answered by then is left: another one may lead that part */
#define CONNECT_MS 500
#define RETRY_NS (250 * WC_MS)
#define RETRY_SOON_NS (20 * WC_MS) /* for a while after the end of a session: somebody is about to take its place */
#define SOON_NS (5 * WC_SECOND)
#define SAY_NS (50 * WC_MS)
#define SAY_SOON_NS (5 * WC_MS) /* while siblings send something */
#define BUSY_NS WC_SECOND	/* so long after they have */
#define LEAVE_NS (500 * WC_MS)
#define LINGER_US 20000 /* for what is on the way */
_Static_assert(WC_LEND_SLOTS <= WC_FREE_MAX, "one CORE_FREE says it all");

struct sibling {
	struct wc_lend *lend;
	uint32_t via;	   /* 1 and up */
	const char *doors; /* of this one, within the option */
	int turn;
	pthread_t thread;
	bool started;
	int socket;		  /* connected to its port for CORE_FREE; the same one for good */
	uint64_t lost_ns;	  /* when the last session ended; of the session's thread */
	uint64_t generation, own; /* of its functions and ours, when they were compared; likewise */
	atomic_bool joined, draining;
	atomic_bool told; /* that this host leaves */
	atomic_uint offered;
	pthread_mutex_t lock;
	int session; /* under the lock, as what follows: the socket of the session, -1: there is none */
	char host[64], port[8];
	char why[WC_CLUSTER_WHY_MAX]; /* it is not joined; empty: it is */
	json_int_t term;
	size_t functions; /* so many of its functions are here */
	struct wc_lend_given given;
};

struct wc_lend {
	struct wc_node *node;
	uint8_t key[WC_REMOTE_KEY_SIZE];
	int stop; /* eventfd */
	atomic_bool leaving;
	pthread_t say_thread;
	bool say_started;
	uint32_t count;
	struct sibling siblings[WC_SIBLINGS_MAX];
};

static bool wait_or_stop(const struct wc_lend *lend, uint64_t ns)
{
	struct pollfd stop = { .fd = lend->stop, .events = POLLIN };

	return poll(&stop, 1, (int)(ns / WC_MS)) > 0;
}

/* --- the session --- */

static void explain(struct sibling *sibling, const char *why)
{
	pthread_mutex_lock(&sibling->lock);
	if (*why && !*sibling->why) /* once: while it cannot be reached the reasons change */
		wc_warning("nothing is lent to the sibling at %s:%s: %s", sibling->host, sibling->port, why);
	snprintf(sibling->why, sizeof(sibling->why), "%s", why);
	pthread_mutex_unlock(&sibling->lock);
}

struct asking {
	struct sibling *sibling;
	int fd;
};

static json_t *ask(void *context, json_t *question)
{
	const struct asking *asking = context;
	struct wc_cluster_refusal refusal;
	json_t *answer = wc_cluster_question(asking->fd, question, ANSWER_NS, &refusal);

	if (!answer && !wait_or_stop(asking->sibling->lend, 0))
		explain(asking->sibling, refusal.why);
	return answer;
}

/* The next of its doors: one part may have several schedulers, of which one leads. */
static bool choose(struct sibling *sibling)
{
	const char *door = sibling->doors;
	char one[sizeof(sibling->host) + sizeof(sibling->port)];
	struct wc_fault fault;
	bool good;

	for (int i = 0; i < sibling->turn; i++) {
		door += strcspn(door, "/,");
		if (*door != '/') {
			sibling->turn = 0;
			door = sibling->doors;
			break;
		}
		door++;
	}
	sibling->turn++;
	snprintf(one, sizeof(one), "%.*s", (int)strcspn(door, "/,"), door);
	pthread_mutex_lock(&sibling->lock);
	good = !wc_remote_split(one, sibling->host, sizeof(sibling->host), sibling->port, &fault);
	pthread_mutex_unlock(&sibling->lock);
	return good;
}

static bool note_session(struct sibling *sibling, int fd)
{
	pthread_mutex_lock(&sibling->lock);
	sibling->session = fd;
	pthread_mutex_unlock(&sibling->lock);
	return !wait_or_stop(sibling->lend, 0);
}

/*
 * Which of its invocations have come here: some wait, or run, or are with a node, which only this host knows. No others: they would push its own out of its window.
 */
static bool tell_lent(struct sibling *sibling, struct asking *asking)
{
	struct wc_tables *tables = &sibling->lend->node->tables;
	uint64_t taken = WC_READ(tables->wc_cluster->loans[sibling->via - 1].taken);
	uint64_t left = taken < WC_LENT_MAX ? taken : WC_LENT_MAX;

	do { /* oldest first */
		uint64_t words[512] = { 0 };
		size_t count = 0;

		for (; left && count < sizeof(words) / sizeof(words[0]); left--) {
			const struct wc_lent *lent = wc_lent_at(
				tables, (sibling->via - 1) * WC_LENT_MAX + (uint32_t)((taken - left) % WC_LENT_MAX));

			/* What went back is not here. */
			if (lent && WC_READ(lent->word) && !wc_lend_given_again(&sibling->given, WC_READ(lent->word)))
				words[count++] = WC_READ(lent->word);
		}
		if (!wc_cluster_tell(words, count, false, !left, ask, asking))
			return false;
	} while (left);
	return true;
}

/* What it sends is taken from here on. */
static bool enter(struct sibling *sibling, const json_t *joined, struct asking *asking)
{
	struct wc_node *node = sibling->lend->node;
	struct wc_loan *loan = &node->tables.wc_cluster->loans[sibling->via - 1];
	bool window = json_is_true(json_object_get(joined, "window"));

	if (!json_integer_value(json_object_get(joined, "sibling"))) {
		explain(sibling, "it takes this host for a node: it is of a version that knows no siblings");
		return false;
	}
	if (wc_cluster_connect(sibling->socket, joined)) {
		explain(sibling, "its address cannot be reached from here");
		return false;
	}
	/* If it has just begun to lead: what it must not run again. */
	if (window && !(wc_cluster_tell_ids(node, true, ask, asking) && tell_lent(sibling, asking)))
		return false;
	wc_loan_begin(loan, (uint64_t)json_integer_value(json_object_get(joined, "term")),
		      (uint16_t)json_integer_value(json_object_get(joined, "member")));
	atomic_store(&sibling->joined, true);
	explain(sibling, "");
	wc_info("what is free here is lent to the sibling at %s:%s", sibling->host, sibling->port);
	return true;
}

static void leave(struct sibling *sibling)
{
	struct wc_loan *loan = &sibling->lend->node->tables.wc_cluster->loans[sibling->via - 1];
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	atomic_store(&sibling->joined, false);
	WC_WRITE(loan->self, 0);
	if (connect(sibling->socket, &nobody, sizeof(nobody)))
		wc_debug("the socket to a sibling stays connected: %s", strerror(errno));
}

/* Which of its functions are here, when that has changed on either side. NULL: it has not. */
static json_t *compare(struct sibling *sibling, json_t **functions, const json_t *answer)
{
	struct wc_node *node = sibling->lend->node;
	json_t *fresh = json_object_get(answer, "functions"), *has;
	uint64_t own = wc_members_generation(node);
	const json_t *lacked = NULL;

	if (fresh) {
		json_decref(*functions);
		*functions = json_incref(fresh);
	}
	if (!*functions || (!fresh && own == sibling->own))
		return NULL;
	has = json_array();
	json_decref(wc_cluster_translate(node, sibling->via, *functions, &lacked, has));
	sibling->own = own;
	sibling->generation = (uint64_t)json_integer_value(json_object_get(answer, "generation"));
	pthread_mutex_lock(&sibling->lock);
	sibling->functions = json_array_size(has);
	pthread_mutex_unlock(&sibling->lock);
	return has;
}

/* Another daemon is about to take over here: what was sent here is not lost. NULL: that is not so. */
static json_t *hands_over(const struct wc_node *node)
{
	return atomic_load(&node->hands_over) ? json_true() : NULL;
}

/* Ids that go back, for the next beat: an array, or NULL. */
static json_t *give_back(struct sibling *sibling, uint64_t words[WC_GIVEN_MAX], size_t *ret_count)
{
	json_t *list;

	*ret_count = wc_lend_given_take(&sibling->given, words, WC_GIVEN_MAX);
	list = *ret_count ? json_array() : NULL;
	for (size_t i = 0; i < *ret_count; i++)
		json_array_append_new(list, json_integer((json_int_t)words[i]));
	return list;
}

/* Until it hangs up, or this host does not lead its own part any more; true: it is told to stop. */
static bool be_sibling(struct sibling *sibling, struct asking *asking)
{
	json_t *functions = NULL, *has = NULL, *answer;
	uint64_t given[WC_GIVEN_MAX];
	bool stopped = false;
	size_t count = 0;

	sibling->generation = sibling->own = 0;
	atomic_store(&sibling->told, false);
	while (!stopped && wc_lead_leads(sibling->lend->node) &&
	       (answer = ask(asking, json_pack("{s:s, s:I, s:O*, s:o*, s:o*}", "op", "beat", "generation",
					       (json_int_t)sibling->generation, "has", has, "handover",
					       hands_over(sibling->lend->node), "returned",
					       give_back(sibling, given, &count))))) {
		count = 0;
		atomic_store(&sibling->draining, json_is_true(json_object_get(answer, "draining")));
		json_decref(has);
		if (atomic_load(&sibling->lend->leaving) && !atomic_load(&sibling->told)) {
			json_decref(ask(asking, json_pack("{s:s}", "op", "leave")));
			atomic_store(&sibling->told, true);
		}
		has = compare(sibling, &functions, answer);
		json_decref(answer);
		/* What is here is said at once: until then it gets nothing of what is new. */
		stopped = wait_or_stop(sibling->lend, has ? 0 : BEAT_NS);
	}
	for (size_t i = 0; i < count; i++) /* perhaps it has not heard that */
		wc_lend_given_again(&sibling->given, given[i]);
	json_decref(has);
	json_decref(functions);
	return stopped;
}

/* One session. True: the node was told to stop. */
static bool attend(struct sibling *sibling)
{
	struct wc_node *node = sibling->lend->node;
	int fd = wc_remote_dial(sibling->host, sibling->port, sibling->lend->key, WC_REMOTE_FOR_CLUSTER, CONNECT_MS);
	struct asking asking = { sibling, fd };
	json_t *joined = NULL;
	bool stopped = false;

	if (fd < 0)
		explain(sibling, wc_remote_why(fd));
	else if (note_session(sibling, fd))
		joined = ask(&asking, json_pack("{s:s, s:s, s:i, s:I, s:s, s:i, s:b, s:o}", "op", "join", "name",
						node->options.join_as, "cores", WC_LEND_SLOTS, "epoch",
						(json_int_t)node->tables.wc_cluster->epoch, "address", node->address4,
						"port", (int)node->options.port, "sibling", 1, "speaks",
						wc_speaks_json(&wc_speaks_here)));
	if (joined && enter(sibling, joined, &asking)) {
		stopped = be_sibling(sibling, &asking);
		sibling->lost_ns = wc_now();
		sibling->turn = 0;
	}
	json_decref(joined);
	leave(sibling);
	note_session(sibling, -1);
	if (fd >= 0)
		close(fd);
	return stopped;
}

static void *session_main(void *argument)
{
	struct sibling *sibling = argument;
	struct wc_node *node = sibling->lend->node;
	bool stopped = false;

	pthread_setname_np(pthread_self(), "sibling");
	wc_sched_enrol_self(node->sched, WC_NONE);
	while (!stopped) {
		if (wc_lead_leads(node) && choose(sibling))
			stopped = attend(sibling);
		stopped = stopped ||
			  wait_or_stop(sibling->lend, wc_now() - sibling->lost_ns < SOON_NS ? RETRY_SOON_NS : RETRY_NS);
	}
	return NULL;
}

/* --- what is lent --- */

static uint32_t count_bits(const struct wc_shard *shard)
{
	uint32_t count = 0;

	for (uint32_t w = 0; w < WC_WORDS_MAX; w++)
		count += (uint32_t)__builtin_popcountll(WC_READ(shard->word[w]));
	return count;
}

/* Cores that are free, here and at the nodes of this part; 0 while something waits for one. */
static uint32_t count_free(struct wc_node *node)
{
	uint32_t count = count_bits(&node->tables.wc_shards[WC_QUEUE_MEMBERS]);

	if (wc_pending_any(node) || !wc_lead_serves(node) || atomic_load(&node->lend->leaving))
		return 0;
	for (uint32_t s = 0; s < node->shard_count; s++)
		count += count_bits(&node->tables.wc_shards[s]);
	return count;
}

/* How many invocations siblings have sent here. */
static uint64_t count_lent(const struct wc_node *node)
{
	struct wc_counters counters;

	return node->xdp && !wc_xdp_counters(node->xdp, &counters) ? counters.lent : 0;
}

/* Leave for so many invocations, and for no others. */
static void offer(struct sibling *sibling, uint32_t count)
{
	const struct wc_cluster *cluster = sibling->lend->node->tables.wc_cluster;
	struct wc_loan *loan = &sibling->lend->node->tables.wc_cluster->loans[sibling->via - 1];
	const struct wc_cluster_address of = {
		.key = { cluster->key[0], cluster->key[1] },
		.term = WC_READ(loan->term),
		.epoch = cluster->epoch,
		.member = WC_READ(loan->self),
	};
	struct wc_core_free entries[WC_LEND_SLOTS];
	uint32_t grant = WC_READ(loan->grant) + 1;

	if (!atomic_load(&sibling->joined) || !of.member)
		return;
	WC_WRITE(loan->grant, grant); /* before anything can come under it */
	for (uint32_t i = 0; i < WC_LEND_SLOTS; i++)
		wc_cluster_entry(i, grant, i < count, 0, &entries[i]);
	atomic_store(&sibling->offered, count);
	wc_cluster_say(sibling->socket, &of, entries, WC_LEND_SLOTS);
}

static void *say_main(void *argument)
{
	struct wc_lend *lend = argument;
	uint64_t lent = count_lent(lend->node), used_ns = 0;
	bool stopped = false;

	pthread_setname_np(pthread_self(), "lend");
	wc_sched_enrol_self(lend->node->sched, WC_NONE);
	while (!stopped) {
		uint32_t spare = count_free(lend->node), joined = 0;
		uint64_t now = wc_now(), count = count_lent(lend->node);

		if (count != lent)
			used_ns = now;
		lent = count;
		for (uint32_t i = 0; i < lend->count; i++)
			joined += atomic_load(&lend->siblings[i].joined);
		for (uint32_t i = 0; i < lend->count; i++) {
			uint32_t share = joined ? (spare + joined - 1) / joined : 0;

			offer(&lend->siblings[i], share < WC_LEND_SLOTS ? share : WC_LEND_SLOTS);
		}
		stopped = wait_or_stop(lend, used_ns && now - used_ns < BUSY_NS ? SAY_SOON_NS : SAY_NS);
	}
	return NULL;
}

/* --- start and stop --- */

int wc_lend_open(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_cluster *cluster = node->tables.wc_cluster;
	const char *at = node->options.siblings;
	int error;

	if (!*node->options.siblings)
		return 0;
	node->lend = calloc(1, sizeof(*node->lend));
	if (!node->lend)
		return wc_fail(fault, ENOMEM, "out of memory");
	node->lend->node = node;
	node->lend->stop = -1;
	for (uint32_t i = 0; at && i < WC_SIBLINGS_MAX; i++) {
		struct sibling *sibling = &node->lend->siblings[i];

		*sibling = (struct sibling){ .lend = node->lend, .via = i + 1, .doors = at, .session = -1 };
		snprintf(sibling->why, sizeof(sibling->why), "it has not been reached yet");
		pthread_mutex_init(&sibling->lock, NULL);
		wc_lend_given_open(&sibling->given);
		node->lend->count++;
		sibling->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (sibling->socket < 0)
			return wc_fail(fault, ENOMEM, "out of files for the siblings");
		at = strchr(at, ',');
		at = at ? at + 1 : NULL;
	}
	node->lend->stop = eventfd(0, EFD_CLOEXEC);
	if (node->lend->stop < 0)
		return wc_fail(fault, ENOMEM, "out of files for the siblings");
	error = wc_remote_key_load(node->options.remote_key, node->lend->key, fault);
	if (error)
		return error;
	if (!cluster->epoch && getrandom(&cluster->epoch, sizeof(cluster->epoch), 0) != sizeof(cluster->epoch))
		return wc_fail(fault, EIO, "the system gives no random numbers");
	return 0;
}

int wc_lend_start(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_lend *lend = node->lend;
	int error = 0;

	if (!lend)
		return 0;
	for (uint32_t i = 0; i < lend->count && !error; i++) {
		error = pthread_create(&lend->siblings[i].thread, NULL, session_main, &lend->siblings[i]);
		lend->siblings[i].started = !error;
	}
	if (!error)
		error = pthread_create(&lend->say_thread, NULL, say_main, lend);
	lend->say_started = !error;
	return error ? wc_fail(fault, error, "cannot start a thread for the siblings: %s", strerror(error)) : 0;
}

void wc_lend_leave(struct wc_node *node)
{
	struct wc_lend *lend = node->lend;
	uint64_t end = wc_now() + LEAVE_NS;
	bool all = false;

	if (!lend || !lend->say_started)
		return;
	atomic_store(&lend->leaving, true);
	while (!all && wc_now() < end) {
		usleep(5000);
		all = true;
		for (uint32_t i = 0; i < lend->count; i++)
			all &= atomic_load(&lend->siblings[i].told) || !atomic_load(&lend->siblings[i].joined);
	}
	usleep(LINGER_US);
}

void wc_lend_stop(struct wc_node *node)
{
	struct wc_lend *lend = node->lend;
	uint64_t one = 1;

	if (!lend || lend->stop < 0 || write(lend->stop, &one, sizeof(one)) != sizeof(one))
		return;
	for (uint32_t i = 0; i < lend->count; i++) {
		struct sibling *sibling = &lend->siblings[i];

		/* It may wait for a host that says nothing. */
		pthread_mutex_lock(&sibling->lock);
		if (sibling->session >= 0)
			shutdown(sibling->session, SHUT_RDWR);
		pthread_mutex_unlock(&sibling->lock);
		if (sibling->started)
			pthread_join(sibling->thread, NULL);
		sibling->started = false;
	}
	if (lend->say_started)
		pthread_join(lend->say_thread, NULL);
	lend->say_started = false;
}

void wc_lend_close(struct wc_node *node)
{
	struct wc_lend *lend = node->lend;

	if (!lend)
		return;
	for (uint32_t i = 0; i < lend->count; i++) {
		if (lend->siblings[i].socket >= 0)
			close(lend->siblings[i].socket);
		wc_lend_given_close(&lend->siblings[i].given);
		pthread_mutex_destroy(&lend->siblings[i].lock);
	}
	if (lend->stop >= 0)
		close(lend->stop);
	explicit_bzero(lend->key, sizeof(lend->key));
	free(lend);
	node->lend = NULL;
}

/* --- what cannot run here --- */

bool wc_lend_gives_back(struct wc_node *node, uint32_t via, const struct wc_fingerprint *print, uint32_t function)
{
	const uint64_t word = WC_WINDOW_WORD(print->set, print->value);
	const struct wc_function *here = wc_functions_at(&node->tables, WC_FUNCTION_SLOT(function));
	struct wc_lend_given *given;
	uint32_t entry;

	if (!node->lend || !via || via > node->lend->count)
		return false;
	given = &node->lend->siblings[via - 1].given;
	if (wc_lend_given_again(given, word))
		return true;
	/* Entered first: once its sibling knows, no copy of it may begin here. */
	if ((function && here && WC_READ(here->id) == function) ||
	    wc_seen_enter(&node->tables, print, WC_SEEN_STARTED, &entry) != WC_SEEN_NEW)
		return false;
	if (!wc_lend_given_note(given, word) && wc_seen_reopen(&node->tables, print))
		wc_seen_forget(&node->tables, print, entry); /* the next copy of it, when there is room */
	return true;
}

void wc_lend_gives_again(struct wc_node *node, const struct wc_fingerprint *print)
{
	for (uint32_t i = 0; node->lend && i < node->lend->count; i++)
		wc_lend_given_again(&node->lend->siblings[i].given, WC_WINDOW_WORD(print->set, print->value));
}

uint64_t wc_lend_sent(struct wc_node *node, uint32_t address, uint64_t word)
{
	for (uint32_t i = 0; node->lend && i < node->lend->count; i++) {
		const struct wc_loan *loan = &node->tables.wc_cluster->loans[i];
		struct sockaddr_in peer = { .sin_family = AF_INET };
		socklen_t length = sizeof(peer);

		if (!WC_READ(loan->self) ||
		    getpeername(node->lend->siblings[i].socket, (struct sockaddr *)&peer, &length) ||
		    peer.sin_addr.s_addr != address)
			continue;
		for (uint32_t n = 0; n < WC_LENT_MAX; n++) {
			const struct wc_lent *lent = wc_lent_at(&node->tables, i * WC_LENT_MAX + n);

			if (lent && WC_READ(lent->word) == word)
				return WC_READ(loan->term);
		}
	}
	return 0;
}

json_t *wc_lend_json(struct wc_node *node)
{
	json_t *list;

	if (!node->lend)
		return json_null();
	list = json_array();
	for (uint32_t i = 0; i < node->lend->count; i++) {
		struct sibling *sibling = &node->lend->siblings[i];
		char door[sizeof(sibling->host) + sizeof(sibling->port)];

		pthread_mutex_lock(&sibling->lock);
		snprintf(door, sizeof(door), "%s:%s", sibling->host, sibling->port);
		json_array_append_new(list, json_pack("{s:s, s:b, s:s?, s:b, s:i, s:i}", "sibling", door, "joined",
						      !*sibling->why, "why", *sibling->why ? sibling->why : NULL,
						      "draining", (int)atomic_load(&sibling->draining), "offered",
						      (int)atomic_load(&sibling->offered), "functions",
						      (int)sibling->functions));
		pthread_mutex_unlock(&sibling->lock);
	}
	return list;
}
