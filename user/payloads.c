/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * payloads.c - see payloads.h.
 *
 * One lock for everything, held for microseconds: what may take longer, freeing the memory of a payload, is done after it. Sessions are
 * counted: the table has one reference until the thread sees the end of the connection, each invocation under way has another.
 */
#include "user/payloads.h"

#include "user/closer.h"
#include "user/launch.h"
#include "user/log.h"
#include "user/node.h"
#include "user/payload_message.h"
#include "user/sched.h"

#include <errno.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BUCKETS 1024u
#define READ_MAX 16 /* messages in one go: others have their turn, too */
#define EVENTS_MAX 32
#define SEND_BUFFER                                                                                                    \
	(2 << 20)      /* for results that are not read yet; a message is 40 bytes, and about a kilobyte in there */
#define OWED_MAX 1024u /* results of one session that were not TAKEN */
#define REFUSED_MAX                                                                                                    \
	64u /* connections that were refused, had sent descriptors, and are being closed: no other is accepted meanwhile */

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

/* What one user has at the node. */
struct user {
	uid_t uid;
	uint32_t sessions; /* 0: this place is free */
	uint64_t bytes, result_bytes;
	uint32_t count, marks, result_count; /* marks: of payloads that were refused */
};

struct wc_payloads_session {
	int fd;
	uint32_t references;
	struct user *user;
	uint8_t key[16];
	bool ended;			   /* no longer in the table */
	bool over;			   /* nothing will come any more, and all was read: the thread is to end it */
	bool broken;			   /* so it is, and it broke the rules */
	bool away;			   /* its client is on another host (remote.c) */
	struct wc_payload_foreign foreign; /* what it sent then */
	struct wc_closing closing;
	struct wc_payloads *payloads;
	uint64_t result_bytes;
	uint32_t result_count; /* that count as the node's; the oldest is owed[oldest], and they are in the order of their messages */
	uint32_t taken; /* of them, as the client says, which may not even have read them */
	uint32_t oldest;
	uint32_t owed[OWED_MAX]; /* bytes of each; a ring */
	uint32_t index;		 /* in sessions */
};

/* A connection that got no session. */
struct refused {
	struct wc_closing closing;
	struct wc_payloads *payloads;
};

struct wc_payloads_entry {
	struct wc_payloads_session *session;
	uint64_t request_id;
	uint32_t length;
	int fd; /* -1: it was refused, which its invocation shall be told */
	uint32_t references;
	struct wc_payloads_entry *next;
};

struct wc_payloads {
	pthread_mutex_t lock;
	pthread_t thread;
	bool started;
	int listener, stop, epoll;
	struct wc_closer *closer;
	uint32_t message_bytes; /* that a message which was not read takes in a socket's account */
	uint32_t refused_open;	/* connections that were refused and are being closed */
	bool deaf;		/* because of them */
	struct wc_payloads_session *sessions[WC_PAYLOADS_SESSIONS];
	struct user users[WC_PAYLOADS_SESSIONS];
	struct wc_payloads_entry *buckets[BUCKETS];
	uint64_t bytes, result_bytes;
	uint32_t count, result_count, session_count;
	uint64_t requests, results, refused, violations; /* since the start */
};

/* Memory that goes: closed after the lock was let go. At most two for each message. */
struct gone {
	int fds[2 * READ_MAX];
	unsigned count;
};

static void gone_add(struct gone *gone, int fd)
{
	if (fd >= 0)
		gone->fds[gone->count++] = fd;
}

static void gone_close(struct gone *gone)
{
	for (unsigned i = 0; i < gone->count; i++)
		close(gone->fds[i]);
}

/* --- what was handed over --- */

static struct wc_payloads_entry **bucket_of(struct wc_payloads *payloads, uint64_t request_id)
{
	return &payloads->buckets[(request_id ^ request_id >> 32) % BUCKETS];
}

static struct wc_payloads_entry **find_entry(struct wc_payloads *payloads, const struct wc_payloads_session *session,
					     uint64_t request_id)
{
	struct wc_payloads_entry **at = bucket_of(payloads, request_id);

	while (*at && ((*at)->request_id != request_id || (*at)->session != session))
		at = &(*at)->next;
	return at;
}

/* The descriptor that the caller is to close after it has let go of the lock, or -1. */
static int entry_put(struct wc_payloads *payloads, struct wc_payloads_entry *entry)
{
	struct user *user = entry->session->user;
	int fd = entry->fd;

	if (--entry->references)
		return -1;
	if (fd >= 0) {
		payloads->count--;
		user->count--;
		payloads->bytes -= entry->length;
		user->bytes -= entry->length;
	} else {
		user->marks--;
	}
	free(entry);
	return fd;
}

/* Likewise. */
static int entry_unlink(struct wc_payloads *payloads, struct wc_payloads_entry **at)
{
	struct wc_payloads_entry *entry = *at;

	*at = entry->next;
	entry->next = NULL;
	return entry_put(payloads, entry);
}

static void close_one(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* A sealed memfd of this session. */
static void put(struct wc_payloads *payloads, struct wc_payloads_session *session,
		const struct wc_payload_message *message, int fd, struct gone *gone)
{
	struct wc_payloads_entry **at = find_entry(payloads, session, message->request_id), *entry;
	struct user *user = session->user;
	bool full;

	if (*at) /* the same again: the client knows best which one it means */
		gone_add(gone, entry_unlink(payloads, at));
	full = payloads->count >= WC_PAYLOADS_COUNT || user->count >= WC_PAYLOADS_USER_COUNT ||
	       payloads->bytes + message->length > WC_PAYLOADS_BYTES ||
	       user->bytes + message->length > WC_PAYLOADS_USER_BYTES;
	/* What is refused leaves a mark, so that its invocation is told; a user has so many, and they take nobody's place. */
	entry = !full || user->marks < WC_PAYLOADS_USER_COUNT ? calloc(1, sizeof(*entry)) : NULL;
	if (!entry) { /* its invocation will find nothing */
		payloads->refused++;
		gone_add(gone, fd);
		return;
	}
	entry->session = session;
	entry->request_id = message->request_id;
	entry->length = message->length;
	entry->fd = full ? -1 : fd;
	entry->references = 1;
	entry->next = *bucket_of(payloads, message->request_id);
	*bucket_of(payloads, message->request_id) = entry;
	if (full) {
		user->marks++;
		payloads->refused++;
		gone_add(gone, fd);
		return;
	}
	payloads->count++;
	user->count++;
	payloads->requests++;
	payloads->bytes += message->length;
	user->bytes += message->length;
}

/* Messages in the session's socket that its client has not read. */
static uint32_t unread(const struct wc_payloads *payloads, const struct wc_payloads_session *session)
{
	int bytes;

	if (ioctl(session->fd, SIOCOUTQ, &bytes) || bytes < 0)
		return OWED_MAX;
	return ((uint32_t)bytes + payloads->message_bytes - 1) / payloads->message_bytes;
}

/*
 * Results that no longer count as the node's: what the client has TAKEN, as far as it has read it. Memory in a socket that nobody reads
 * would be the node's for ever, whatever the client says.
 */
static void settle(struct wc_payloads *payloads, struct wc_payloads_session *session)
{
	uint32_t waiting, release = session->taken;

	if (!release)
		return;
	waiting = unread(payloads, session);
	if (waiting >= session->result_count)
		return;
	if (release > session->result_count - waiting)
		release = session->result_count - waiting;
	session->taken -= release;
	while (release--) {
		uint32_t bytes = session->owed[session->oldest];

		session->oldest = (session->oldest + 1) % OWED_MAX;
		session->result_bytes -= bytes;
		session->user->result_bytes -= bytes;
		payloads->result_bytes -= bytes;
		session->result_count--;
		session->user->result_count--;
		payloads->result_count--;
	}
}

/* A client's word about its own results; it cannot take more off than it has. */
static void taken(struct wc_payloads *payloads, struct wc_payloads_session *session)
{
	if (session->taken < session->result_count)
		session->taken++;
	settle(payloads, session);
}

/* --- sessions --- */

/* The caller closes the descriptor that this returns, if it is not -1, after it has let go of the lock. */
static int session_put(struct wc_payloads *payloads, struct wc_payloads_session *session)
{
	int fd = session->fd;

	if (--session->references)
		return -1;
	payloads->sessions[session->index] = NULL;
	payloads->session_count--;
	session->user->sessions--;
	free(session);
	return fd;
}

/* Take what the session has sent. Any thread, under the lock. */
static void read_session(struct wc_payloads *payloads, struct wc_payloads_session *session, struct gone *gone)
{
	struct wc_payload_message message;
	struct wc_payloads_entry **at;
	int fd, error;

	for (int i = 0; i < READ_MAX && !session->ended && !session->over; i++) {
		error = wc_payload_receive(session->fd, WC_PAYLOAD_BY_CLIENT, &message, &fd, &session->foreign);
		session->over = error == -EPIPE; /* the thread sees it, too: it is readable for ever */
		if (error == -EAGAIN || session->over)
			return;
		if (error || (fd >= 0 && !wc_payload_is_sealed(fd, message.length))) {
			session->broken = session->over = true;
			if (fd >= 0)
				session->foreign.fds[session->foreign.count++] = fd;
			payloads->violations++;
			shutdown(session->fd, SHUT_RDWR); /* wakes the thread */
			return;
		}
		if (message.kind == WC_PAYLOAD_PUT)
			put(payloads, session, &message, fd, gone);
		else if (message.kind == WC_PAYLOAD_TAKEN)
			taken(payloads, session);
		else if (message.kind == WC_PAYLOAD_AWAY)
			session->away = true;
		else if (*(at = find_entry(payloads, session, message.request_id)))
			gone_add(gone, entry_unlink(payloads, at));
	}
}

/* All that came from it is closed. */
static void cleaned(struct wc_closing *closing)
{
	struct wc_payloads_session *session = closing->context;
	struct wc_payloads *payloads = session->payloads;
	int fd;

	pthread_mutex_lock(&payloads->lock);
	fd = session_put(payloads, session);
	pthread_mutex_unlock(&payloads->lock);
	close_one(fd);
}

/* The thread's: the connection is over. Its payloads go, but for those that are being run. */
static void end_session(struct wc_payloads *payloads, struct wc_payloads_session *session)
{
	struct gone gone;
	bool read;
	int fd;

	epoll_ctl(payloads->epoll, EPOLL_CTL_DEL, session->fd, NULL);
	pthread_mutex_lock(&payloads->lock);
	session->ended = true;
	read = session->over && !session->broken;
	payloads->result_bytes -= session->result_bytes;
	payloads->result_count -= session->result_count;
	session->user->result_bytes -= session->result_bytes;
	session->user->result_count -= session->result_count;
	session->result_bytes = session->result_count = session->taken = 0;
	pthread_mutex_unlock(&payloads->lock);
	/* In portions, so that agents have the lock between them. */
	for (uint32_t b = 0; b < BUCKETS; b++) {
		do {
			struct wc_payloads_entry **at = &payloads->buckets[b];

			gone.count = 0;
			pthread_mutex_lock(&payloads->lock);
			while (*at && gone.count < READ_MAX) {
				if ((*at)->session == session)
					gone_add(&gone, entry_unlink(payloads, at));
				else
					at = &(*at)->next;
			}
			pthread_mutex_unlock(&payloads->lock);
			gone_close(&gone);
		} while (gone.count == READ_MAX);
	}
	if (!read) { /* who knows what is in the socket, and how long that takes */
		session->closing = (struct wc_closing){
			.socket = session->fd, .foreign = &session->foreign, .done = cleaned, .context = session
		};
		wc_closer_add(payloads->closer, &session->closing);
		return;
	}
	pthread_mutex_lock(&payloads->lock);
	fd = session_put(payloads, session);
	pthread_mutex_unlock(&payloads->lock);
	close_one(fd);
}

/* The place of a user, or NULL: it may have no session, or no more. Under the lock. */
static struct user *user_of(struct wc_payloads *payloads, uid_t uid)
{
	struct user *empty = NULL;

	/* Functions that run without a sandbox may reach the socket. They have their channel. */
	if (uid >= WC_UID_BASE && uid < WC_UID_BASE + WC_UID_NODES * WC_FUNCTIONS_MAX)
		return NULL;
	for (uint32_t i = 0; i < WC_PAYLOADS_SESSIONS; i++) {
		struct user *user = &payloads->users[i];

		if (user->sessions && user->uid == uid)
			return user->sessions < WC_PAYLOADS_USER_SESSIONS ? user : NULL;
		if (!user->sessions && !empty)
			empty = user;
	}
	if (empty)
		*empty = (struct user){ .uid = uid };
	return empty;
}

static struct wc_payloads_session *new_session(struct wc_payloads *payloads, int fd, uid_t uid)
{
	struct wc_payloads_session *session = calloc(1, sizeof(*session));

	if (!session || getrandom(session->key, sizeof(session->key), 0) != sizeof(session->key)) {
		free(session);
		return NULL;
	}
	session->fd = fd;
	session->references = 1;
	session->payloads = payloads;
	pthread_mutex_lock(&payloads->lock);
	session->user = payloads->session_count < WC_PAYLOADS_SESSIONS ? user_of(payloads, uid) : NULL;
	if (session->user) {
		while (payloads->sessions[session->index])
			session->index++;
		payloads->sessions[session->index] = session;
		session->key[0] = (uint8_t)session->index; /* the other 120 bits cannot be guessed */
		payloads->session_count++;
		session->user->sessions++;
	}
	pthread_mutex_unlock(&payloads->lock);
	if (!session->user) {
		free(session);
		return NULL;
	}
	return session;
}

/* Nobody else is accepted, or everybody again. Under the lock. */
static void listen_to(struct wc_payloads *payloads, bool deaf)
{
	struct epoll_event event = { .events = deaf ? 0 : EPOLLIN, .data.ptr = &payloads->listener };

	if (deaf != payloads->deaf && !epoll_ctl(payloads->epoll, EPOLL_CTL_MOD, payloads->listener, &event))
		payloads->deaf = deaf;
}

static void refused_closed(struct wc_closing *closing)
{
	struct refused *refused = closing->context;
	struct wc_payloads *payloads = refused->payloads;

	close(closing->socket);
	pthread_mutex_lock(&payloads->lock);
	payloads->refused_open--;
	listen_to(payloads, false);
	pthread_mutex_unlock(&payloads->lock);
	free(refused);
}

/* Who sends before the node's word is no client of ours: closing what came so may take long. */
static void refuse(struct wc_payloads *payloads, int fd)
{
	const struct wc_payload_message no = { .magic = WC_PAYLOAD_MAGIC, .kind = WC_PAYLOAD_REFUSE };
	struct refused *refused = calloc(1, sizeof(*refused));

	wc_payload_send(fd, &no, -1);
	shutdown(fd, SHUT_RDWR); /* nothing comes any more */
	if (!refused) {
		close(fd);
		return;
	}
	refused->payloads = payloads;
	refused->closing = (struct wc_closing){ .socket = fd, .done = refused_closed, .context = refused };
	pthread_mutex_lock(&payloads->lock);
	if (++payloads->refused_open >= REFUSED_MAX)
		listen_to(payloads, true);
	pthread_mutex_unlock(&payloads->lock);
	wc_closer_add(payloads->closer, &refused->closing);
}

static void accept_one(struct wc_payloads *payloads)
{
	struct wc_payload_message hello = { .magic = WC_PAYLOAD_MAGIC, .kind = WC_PAYLOAD_HELLO };
	struct epoll_event event = { .events = EPOLLIN };
	struct wc_payloads_session *session;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(payloads->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int buffer = SEND_BUFFER, one = 1;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			usleep(10000); /* it stays readable */
		return;
	}
	session = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ? NULL : new_session(payloads, fd, peer.uid);
	if (!session) {
		refuse(payloads, fd);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)); /* payload_message.c says why */
	hello.length = WC_PAYLOAD_LARGE;
	memcpy(hello.key, session->key, sizeof(hello.key));
	event.data.ptr = session;
	/* Nobody can have the key before this, so the session has one reference until the thread ends it. */
	if (epoll_ctl(payloads->epoll, EPOLL_CTL_ADD, fd, &event) || wc_payload_send(fd, &hello, -1))
		end_session(payloads, session);
}

static void serve(struct wc_payloads *payloads, struct wc_payloads_session *session)
{
	struct gone gone = { .count = 0 };
	bool over;

	pthread_mutex_lock(&payloads->lock);
	read_session(payloads, session, &gone);
	over = session->over;
	pthread_mutex_unlock(&payloads->lock);
	gone_close(&gone);
	if (over)
		end_session(payloads, session);
}

static void *payloads_main(void *argument)
{
	struct wc_node *node = argument;
	struct wc_payloads *payloads = node->payloads;
	struct epoll_event events[EVENTS_MAX];

	pthread_setname_np(pthread_self(), "payloads");
	wc_sched_enrol_self(node->sched, WC_NONE);
	for (;;) {
		int count = epoll_wait(payloads->epoll, events, EVENTS_MAX, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == &payloads->stop)
				return NULL;
			if (events[i].data.ptr == &payloads->listener)
				accept_one(payloads);
			else
				serve(payloads, events[i].data.ptr);
		}
		if (count < 0 && errno != EINTR)
			return NULL;
	}
}

/* --- agents --- */

/* In constant time: a key cannot be guessed byte by byte. Under the lock. */
static struct wc_payloads_session *session_of(struct wc_payloads *payloads, const uint8_t key[16])
{
	struct wc_payloads_session *session = payloads->sessions[key[0]];
	uint64_t wanted[2], have[2];

	_Static_assert(WC_PAYLOADS_SESSIONS == 256, "an index is one byte of the key");
	if (!session || session->ended)
		return NULL;
	memcpy(wanted, key, sizeof(wanted));
	memcpy(have, session->key, sizeof(have));
	return (have[0] ^ wanted[0]) | (have[1] ^ wanted[1]) ? NULL : session;
}

int wc_payloads_find(struct wc_payloads *payloads, const struct wc_reference *reference, uint32_t here,
		     uint64_t request_id, struct wc_payload_use *ret_use)
{
	uint32_t length = ntohl(reference->length), where = ntohl(reference->where);
	struct wc_payload_use use = { .request_id = request_id, .length = length, .fd = -1 };
	struct wc_payloads_entry *entry = NULL;
	struct gone gone = { .count = 0 };
	int error = 0;

	if (where > WC_WHERE_TCP || length > WC_PAYLOAD_LARGE || here != (where == WC_WHERE_HERE ? length : 0))
		return -EBADMSG;
	pthread_mutex_lock(&payloads->lock);
	use.session = session_of(payloads, reference->key);
	use.away = use.session && use.session->away;
	if (use.session && where != WC_WHERE_HERE && use.away != (where == WC_WHERE_TCP)) {
		error = -EBADMSG;
	} else if (use.session && where != WC_WHERE_HERE) {
		/* The client may have been faster than the thread: what it has said before the invocation counts, also of an id that was here already. */
		read_session(payloads, use.session, &gone);
		entry = *find_entry(payloads, use.session, request_id);
		if (!entry || entry->length != length)
			error = -ENOENT;
		else if (entry->fd < 0)
			error = -ENOSPC;
		else
			use.fd = entry->fd;
	}
	if (!use.session)
		error = -ENOENT;
	if (!error) {
		const struct user *user = use.session->user;

		settle(payloads, use.session);
		use.answer_max = payloads->result_bytes >= WC_PAYLOADS_BYTES ||
						 payloads->result_count >= WC_PAYLOADS_COUNT ||
						 use.session->result_count >= OWED_MAX ||
						 user->result_bytes >= WC_PAYLOADS_USER_BYTES ||
						 user->result_count >= WC_PAYLOADS_USER_COUNT ?
					 WC_PAYLOAD_MAX :
					 WC_PAYLOAD_LARGE;
		use.entry = entry;
		use.session->references++;
		if (entry)
			entry->references++;
		*ret_use = use;
	}
	pthread_mutex_unlock(&payloads->lock);
	gone_close(&gone);
	return error;
}

void wc_payloads_begin(struct wc_payloads *payloads, struct wc_payload_use *use)
{
	struct wc_payloads_entry **at;

	if (!use->entry)
		return;
	pthread_mutex_lock(&payloads->lock);
	at = find_entry(payloads, use->session, use->request_id);
	if (*at == use->entry)
		entry_unlink(payloads, at); /* not the last reference */
	pthread_mutex_unlock(&payloads->lock);
}

int wc_payloads_deliver(struct wc_payloads *payloads, struct wc_payload_use *use, const void *result, uint32_t length)
{
	struct wc_payload_message message = {
		.magic = WC_PAYLOAD_MAGIC,
		.kind = WC_PAYLOAD_RESULT,
		.request_id = use->request_id,
		.length = length,
	};
	struct wc_payloads_session *session = use->session;
	int fd = wc_payload_seal(result, length), error;

	if (fd < 0)
		return fd;
	pthread_mutex_lock(&payloads->lock);
	error = session->ended || session->over	  ? -EPIPE :
		session->result_count >= OWED_MAX ? -ENOSPC :
						    wc_payload_send(session->fd, &message, fd);
	if (!error) {
		session->owed[(session->oldest + session->result_count) % OWED_MAX] = length;
		session->result_bytes += length;
		session->result_count++;
		session->user->result_bytes += length;
		session->user->result_count++;
		payloads->result_bytes += length;
		payloads->result_count++;
		payloads->results++;
	}
	pthread_mutex_unlock(&payloads->lock);
	close(fd);
	return error == -EAGAIN ? -ENOSPC : error;
}

void wc_payloads_end(struct wc_payloads *payloads, struct wc_payload_use *use)
{
	int memory = -1, socket;

	if (!use->session)
		return;
	pthread_mutex_lock(&payloads->lock);
	if (use->entry)
		memory = entry_put(payloads, use->entry);
	socket = session_put(payloads, use->session);
	pthread_mutex_unlock(&payloads->lock);
	close_one(memory);
	close_one(socket);
	use->session = NULL;
}

uint32_t wc_payloads_away_results(struct wc_payloads *payloads)
{
	uint32_t count = 0;

	pthread_mutex_lock(&payloads->lock);
	for (uint32_t i = 0; i < WC_PAYLOADS_SESSIONS; i++) {
		struct wc_payloads_session *session = payloads->sessions[i];

		if (!session || session->ended || !session->away)
			continue;
		settle(payloads, session); /* the last word may have come before the socket was empty */
		count += session->result_count;
	}
	pthread_mutex_unlock(&payloads->lock);
	return count;
}

json_t *wc_payloads_json(struct wc_payloads *payloads)
{
	json_t *object;

	pthread_mutex_lock(&payloads->lock);
	object = json_pack("{s:i, s:i, s:I, s:i, s:I, s:I, s:I, s:I, s:I}", "sessions", (int)payloads->session_count,
			   "waiting", (int)payloads->count, "waiting_bytes", (json_int_t)payloads->bytes, "results",
			   (int)payloads->result_count, "results_bytes", (json_int_t)payloads->result_bytes,
			   "requests_total", (json_int_t)payloads->requests, "results_total",
			   (json_int_t)payloads->results, "refused_total", (json_int_t)payloads->refused,
			   "violations_total", (json_int_t)payloads->violations);
	pthread_mutex_unlock(&payloads->lock);
	return object;
}

/* --- start and stop --- */

/* What one message takes in the account of its sender until it is read: the kernel's business, so it is asked. */
static int measure_message(struct wc_payloads *payloads)
{
	const struct wc_payload_message message = { .magic = WC_PAYLOAD_MAGIC, .kind = WC_PAYLOAD_REFUSE };
	int ends[2], bytes = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	if (wc_payload_send(ends[0], &message, -1) || ioctl(ends[0], SIOCOUTQ, &bytes) || bytes < 1)
		bytes = 0;
	close(ends[0]);
	close(ends[1]);
	payloads->message_bytes = (uint32_t)bytes;
	return bytes ? 0 : -EIO;
}

static int open_listener(struct wc_node *node, struct wc_fault *fault)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int error, none = 0;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/" WC_PAYLOAD_SOCKET, node->run_dir);
	node->payloads->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (node->payloads->listener < 0)
		return wc_fail(fault, errno, "cannot open the socket for large payloads: %s", strerror(errno));
	/* Where the kernel can: who has no session cannot even send descriptors. */
	(void)setsockopt(node->payloads->listener, SOL_SOCKET, SO_PASSRIGHTS, &none, sizeof(none));
	unlink(address.sun_path);
	error = bind(node->payloads->listener, (struct sockaddr *)&address, sizeof(address)) ||
		chmod(address.sun_path, 0666) || /* everybody on this host, as with the port for packets */
		listen(node->payloads->listener, 64);
	return error ? wc_fail(fault, errno, "cannot listen on %s: %s", address.sun_path, strerror(errno)) : 0;
}

int wc_payloads_start(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_payloads *payloads = calloc(1, sizeof(*payloads));
	struct epoll_event event = { .events = EPOLLIN };
	int error;

	if (!payloads)
		return wc_fail(fault, ENOMEM, "out of memory");
	node->payloads = payloads;
	pthread_mutex_init(&payloads->lock, NULL);
	payloads->listener = -1;
	payloads->stop = eventfd(0, EFD_CLOEXEC);
	payloads->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (payloads->stop < 0 || payloads->epoll < 0)
		return wc_fail(fault, errno, "cannot make the loop for large payloads: %s", strerror(errno));
	error = measure_message(payloads) ?: wc_closer_new(&payloads->closer);
	if (error)
		return wc_fail(fault, error, "cannot prepare for large payloads: %s", strerror(-error));
	error = open_listener(node, fault);
	if (error)
		return error;
	event.data.ptr = &payloads->stop;
	error = epoll_ctl(payloads->epoll, EPOLL_CTL_ADD, payloads->stop, &event);
	event.data.ptr = &payloads->listener;
	if (error || epoll_ctl(payloads->epoll, EPOLL_CTL_ADD, payloads->listener, &event))
		return wc_fail(fault, errno, "cannot make the loop for large payloads: %s", strerror(errno));
	error = pthread_create(&payloads->thread, NULL, payloads_main, node);
	if (error)
		return wc_fail(fault, error, "cannot start the thread for large payloads: %s", strerror(error));
	payloads->started = true;
	return 0;
}

void wc_payloads_stop(struct wc_node *node)
{
	struct wc_payloads *payloads = node->payloads;
	uint64_t one = 1;
	uint32_t left;
	char path[160];

	if (!payloads)
		return;
	if (payloads->started && write(payloads->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(payloads->thread, NULL);
	for (uint32_t i = 0; i < WC_PAYLOADS_SESSIONS; i++) {
		pthread_mutex_lock(&payloads->lock);
		left = payloads->sessions[i] && !payloads->sessions[i]->ended;
		pthread_mutex_unlock(&payloads->lock);
		if (left)
			end_session(payloads, payloads->sessions[i]);
	}
	if (payloads->listener >= 0)
		close(payloads->listener);
	close(payloads->stop);
	close(payloads->epoll);
	snprintf(path, sizeof(path), "%s/" WC_PAYLOAD_SOCKET, node->run_dir);
	unlink(path);
	node->payloads = NULL;
	if (!wc_closer_free(
		    payloads->closer)) /* it still closes what a hostile client has sent, and counts that here */
		return;
	pthread_mutex_destroy(&payloads->lock);
	free(payloads);
}
