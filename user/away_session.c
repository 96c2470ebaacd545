/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * away_session.c - one client on this host and its session with the node on another: messages of payload_message.h on one side, of
 * remote_wire.h on the other. A payload stays in the client's memory until the node wants it.
 */
#include "user/away_internal.h"

#include "user/clock.h"
#include "user/launch.h"
#include "user/payload_message.h"
#include "user/remote_link.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAYLOADS_MAX 1024u /* of one client, that wait or are on their way */
#define OFFERED_MAX 8u	   /* of those, that the node was told of: what it lets come at a time (WC_REMOTE_WANTED) */
#define CLIENT_MS 15000u   /* a client that does not read its socket for so long is cut off */

enum state {
	WAITS,
	OFFERED,
	SENT
};

struct payload {
	struct payload *next;
	uint64_t id;
	uint32_t length;
	int fd;
	enum state state;
};

struct session {
	struct session *next;
	struct wc_away *away;
	struct wc_remote_link *link;
	int fd; /* the client's */
	uid_t uid;
	bool stranger;
	uint8_t key[16];
	pthread_t reader;
	pthread_mutex_t lock;
	struct payload *payloads; /* in the order in which they came */
	unsigned count, offered;
};

static void kill_session(struct session *session)
{
	wc_remote_link_kill(session->link);
	shutdown(session->fd, SHUT_RDWR);
}

static int tell_client(struct session *session, uint32_t kind, uint64_t id, uint32_t length, int fd)
{
	const struct wc_payload_message message = {
		.magic = WC_PAYLOAD_MAGIC, .kind = kind, .request_id = id, .length = length
	};
	struct pollfd ready = { .fd = session->fd, .events = POLLOUT };
	uint64_t end = wc_now() + CLIENT_MS * WC_MS;
	int ret;

	while ((ret = wc_payload_send(session->fd, &message, fd)) == -EAGAIN && wc_now() < end)
		poll(&ready, 1, 100);
	return ret;
}

/* --- payloads; all under the session's lock --- */

static struct payload **find_payload(struct session *session, uint64_t id)
{
	struct payload **at = &session->payloads;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

/* Is there room for one more, whose place it takes? What clients hand over shall not use up the open files of this process. */
static bool take_room(struct session *session)
{
	struct wc_away *away = session->away;
	bool room;

	pthread_mutex_lock(&away->lock);
	room = session->count < PAYLOADS_MAX && away->payloads < away->payloads_max &&
	       (!session->stranger || away->strangers_payloads < away->payloads_max / 2);
	away->payloads += room;
	away->strangers_payloads += room && session->stranger;
	pthread_mutex_unlock(&away->lock);
	return room;
}

static void give_room(struct session *session)
{
	pthread_mutex_lock(&session->away->lock);
	session->away->payloads--;
	session->away->strangers_payloads -= session->stranger;
	pthread_mutex_unlock(&session->away->lock);
}

static void forget_payload(struct session *session, struct payload **at)
{
	struct payload *payload = *at;

	*at = payload->next;
	give_room(session);
	session->count--;
	session->offered -= payload->state != WAITS;
	if (payload->fd >= 0)
		close(payload->fd);
	free(payload);
}

/* The node hears of those that there is room for. */
static int offer(struct session *session)
{
	int error = 0;

	for (struct payload *payload = session->payloads; payload && session->offered < OFFERED_MAX && !error;
	     payload = payload->next) {
		if (payload->state != WAITS)
			continue;
		payload->state = OFFERED;
		session->offered++;
		error = wc_remote_link_send(session->link, WC_REMOTE_OFFER, payload->id, payload->length, -1);
	}
	return error;
}

static int on_put(struct session *session, uint64_t id, uint32_t length, int fd)
{
	struct payload **at = find_payload(session, id), *payload;

	if (*at && (*at)->state != WAITS) { /* the node would take the bytes of one for those of the other */
		close(fd);
		return -EBADMSG;
	}
	if (*at)
		forget_payload(session, at);
	payload = malloc(sizeof(*payload));
	if (!payload || !take_room(session)) {
		free(payload);
		close(fd);
		return tell_client(session, WC_PAYLOAD_FULL, id, 0, -1);
	}
	*payload = (struct payload){ .id = id, .length = length, .fd = fd, .state = WAITS };
	for (at = &session->payloads; *at; at = &(*at)->next)
		;
	*at = payload;
	session->count++;
	return offer(session);
}

static int on_drop(struct session *session, uint64_t id)
{
	struct payload **at = find_payload(session, id);

	if (*at && (*at)->state == WAITS) {
		forget_payload(session, at);
		return 0;
	}
	return wc_remote_link_send(session->link, WC_REMOTE_DROP, id, 0, -1);
}

/* What the node says of a payload. */
static int on_word(struct session *session, const struct wc_remote_message *message)
{
	struct payload **at = find_payload(session, message->id);
	int fd;

	if (!*at || (*at)->state != (message->kind == WC_REMOTE_KEPT ? SENT : OFFERED))
		return -EBADMSG;
	if (message->kind == WC_REMOTE_WANT) {
		(*at)->state = SENT;
		fd = (*at)->fd;
		(*at)->fd = -1;
		return wc_remote_link_send(session->link, WC_REMOTE_PUT, message->id, (*at)->length, fd);
	}
	forget_payload(session, at);
	return tell_client(session, message->kind == WC_REMOTE_KEPT ? WC_PAYLOAD_KEPT : WC_PAYLOAD_FULL, message->id, 0, -1) ?:
		       offer(session);
}

/* --- the two directions --- */

/* From the client. All that it sends is closed here, however long that takes: it is its own thread. */
static void *client_main(void *argument)
{
	struct session *session = argument;
	struct pollfd ready = { .fd = session->fd, .events = POLLIN };
	struct wc_payload_foreign foreign;
	struct wc_payload_message message;
	int fd, error;

	pthread_setname_np(pthread_self(), "away-client");
	for (;;) {
		error = wc_payload_receive(session->fd, WC_PAYLOAD_BY_CLIENT, &message, &fd, &foreign);
		wc_payload_foreign_close(&foreign);
		if (error == -EAGAIN) {
			poll(&ready, 1, -1);
			continue;
		}
		if (!error && fd >= 0 && !wc_payload_is_sealed(fd, message.length)) {
			close(fd);
			error = -EBADMSG;
		}
		if (error)
			break;
		pthread_mutex_lock(&session->lock);
		if (message.kind == WC_PAYLOAD_PUT)
			error = on_put(session, message.request_id, message.length, fd);
		else if (message.kind == WC_PAYLOAD_DROP)
			error = on_drop(session, message.request_id);
		/* TAKEN: the node has let go of it when it had sent it. */
		pthread_mutex_unlock(&session->lock);
		if (error)
			break;
	}
	/* Results that the node has sent before it hung up are here, and still go to the client: the other thread ends the rest. */
	wc_remote_link_kill(session->link);
	return NULL;
}

static bool on_begins(void *context, const struct wc_remote_frame *frame)
{
	(void)context;
	return frame->kind == WC_REMOTE_RESULT;
}

static void on_sent(void *context, uint32_t kind, uint64_t id, uint32_t total)
{
	(void)context;
	(void)kind;
	(void)id;
	(void)total;
}

/* From the node. */
static void serve(struct session *session)
{
	struct wc_remote_message message;
	int error = 0;

	while (!error && !wc_remote_link_read(session->link, &message)) {
		if (message.kind == WC_REMOTE_RESULT) {
			error = tell_client(session, WC_PAYLOAD_RESULT, message.id, message.total, message.fd);
			close(message.fd);
			continue;
		}
		pthread_mutex_lock(&session->lock);
		error = on_word(session, &message);
		pthread_mutex_unlock(&session->lock);
	}
}

static void leave(struct session *session)
{
	struct wc_away *away = session->away;
	struct session **at;

	pthread_mutex_lock(&away->lock);
	for (at = &away->sessions; *at != session; at = &(*at)->next)
		;
	*at = session->next;
	pthread_mutex_unlock(&away->lock);
	wc_remote_link_free(session->link);
	while (session->payloads)
		forget_payload(session, &session->payloads);
	close(session->fd);
	pthread_mutex_destroy(&session->lock);
	free(session);
	wc_away_leave(away);
}

static void *session_main(void *argument)
{
	const struct wc_remote_hooks hooks = { on_begins, on_sent, argument };
	struct session *session = argument;
	struct wc_payload_message hello = { .magic = WC_PAYLOAD_MAGIC,
					    .kind = WC_PAYLOAD_HELLO_AWAY,
					    .length = WC_PAYLOAD_LARGE };
	const int one = 1;
	int tcp = wc_away_take_spare(session->away, hello.key);
	bool stopping;

	pthread_setname_np(pthread_self(), "away-session");
	/* The end without a word: nobody is there (payload_client.c). */
	if (tcp < 0 || wc_remote_link_new(tcp, WC_REMOTE_BY_NODE, &hooks, &session->link)) {
		leave(session);
		return NULL;
	}
	(void)setsockopt(session->fd, SOL_SOCKET, SO_PASSRIGHTS, &one, sizeof(one));
	(void)setsockopt(session->fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)); /* payload_message.c says why */
	pthread_mutex_lock(&session->away->lock);
	stopping = session->away->stopping;
	pthread_mutex_unlock(&session->away->lock);
	if (!stopping && !wc_payload_send(session->fd, &hello, -1) &&
	    !pthread_create(&session->reader, NULL, client_main, session)) {
		serve(session);
		kill_session(session);
		pthread_join(session->reader, NULL);
	}
	leave(session);
	return NULL;
}

/* May this user have another one? Under the lock of `away`. */
static bool admits(const struct wc_away *away, const struct session *asks)
{
	unsigned strangers = 0, same = 0;

	/* Functions that run without a sandbox may reach the socket. They have their channel. */
	if (asks->uid >= WC_UID_BASE && asks->uid < WC_UID_BASE + WC_UID_NODES * WC_FUNCTIONS_MAX)
		return false;
	for (const struct session *session = away->sessions; session; session = session->next) {
		strangers += session->stranger;
		same += session->uid == asks->uid;
	}
	return !asks->stranger || (strangers < WC_AWAY_STRANGERS && same < WC_AWAY_USER_SESSIONS);
}

int wc_away_session_begin(struct wc_away *away, int fd, uid_t uid)
{
	struct session *session = calloc(1, sizeof(*session));
	pthread_t thread;
	int error;

	if (!session)
		return -ENOMEM;
	session->away = away;
	session->fd = fd;
	session->uid = uid;
	session->stranger = uid && uid != away->options.user;
	pthread_mutex_init(&session->lock, NULL);
	pthread_mutex_lock(&away->lock);
	error = admits(away, session) ? pthread_create(&thread, NULL, session_main, session) : EUSERS;
	if (!error) {
		pthread_detach(thread);
		session->next = away->sessions;
		away->sessions = session;
	}
	pthread_mutex_unlock(&away->lock);
	if (error)
		free(session);
	return -error;
}

void wc_away_sessions_end(struct wc_away *away)
{
	pthread_mutex_lock(&away->lock);
	for (struct session *session = away->sessions; session; session = session->next)
		shutdown(session->fd, SHUT_RDWR); /* its thread sees that, and ends the rest */
	pthread_mutex_unlock(&away->lock);
}
