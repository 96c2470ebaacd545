/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * remote.c - see remote.h. A thread accepts; each connection has one of its own, from the handshake to its end, and with payloads two more:
 * one that sends to the client (remote_link.c), one that takes large results from the node.
 */
#include "user/remote.h"

#include "user/clock.h"
#include "user/control.h"
#include "user/log.h"
#include "user/members.h"
#include "user/node.h"
#include "user/payload_client.h"
#include "user/payload_message.h"
#include "user/payloads.h"
#include "user/remote_link.h"
#include "user/sched.h"
#include "user/takeover.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO_MS 2000u		 /* for the node's own word */
#define IDLE_MS 60000u		 /* without a question */
#define MEMBER_MS 30000u	 /* likewise, of a node in the cluster, which may be deploying something */
#define WARN_NS (10 * WC_SECOND) /* between two lines about strangers */

struct wanted {
	uint64_t id;
	uint32_t total;
	bool used, dropped;
};

struct session {
	struct wc_remote *remote;
	struct session *next;
	int fd;
	bool met; /* it has shown the key */
	bool for_payloads, for_cluster;
	uint64_t begun_ns;
	char peer[64];
	/* Of one for payloads. */
	struct wc_remote_link *link;	 /* changed under the lock */
	struct wc_payload_client *local; /* at the node's payload.sock */
	struct wanted wanted[WC_REMOTE_WANTED];
	pthread_t results;
};

struct wc_remote {
	struct wc_node *node;
	uint8_t key[WC_REMOTE_KEY_SIZE];
	int listener, stop;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	struct session *sessions;
	uint32_t met, strangers;
	uint32_t for_payloads; /* of those that are met */
	uint32_t members;      /* sessions of nodes in the cluster; not among those */
	uint64_t wanted_bytes;
	uint64_t rejected, warned_ns;
};

/* --- questions --- */

static json_t *answer_to(struct wc_node *node, const char *line, size_t length)
{
	static const char *const allowed[] = { "resolve", "list", "tail", "live", "metrics", "ping" };
	json_t *question = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL), *answer = NULL;
	const char *op = json_string_value(json_object_get(question, "op"));

	for (size_t i = 0; op && !answer && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (!strcmp(op, allowed[i]))
			answer = wc_control_answer(node, question);
	json_decref(question);
	return answer ?:
			json_pack(
				"{s:b, s:s, s:s}", "ok", 0, "code", "bad-request", "error",
				"from another host a node is asked resolve, list, tail, live, metrics and ping only; for all else "
				 "use the command on its own host");
}

/* Of a node in the cluster of this one. */
static json_t *answer_member(struct session *session, const char *line, size_t length,
			     struct wc_member_session **member)
{
	json_t *question = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL), *answer;

	answer = wc_members_ask(session->remote->node, question, session->fd, member);
	json_decref(question);
	return answer;
}

static int send_answer(int fd, uint64_t id, const char *text)
{
	struct wc_remote_frame frame = { .kind = WC_REMOTE_ANSWER, .id = id, .total = (uint32_t)strlen(text) };
	uint8_t head[WC_REMOTE_HEADER];
	int error = 0;

	while (!error && frame.offset < frame.total) {
		uint64_t end = wc_now() + WC_REMOTE_STALL_MS * WC_MS;
		uint32_t left = frame.total - frame.offset;

		frame.length = left < WC_REMOTE_CHUNK ? left : WC_REMOTE_CHUNK;
		wc_remote_encode(&frame, head);
		error = wc_remote_write(fd, head, sizeof(head), end) ?:
				wc_remote_write(fd, text + frame.offset, frame.length, end);
		frame.offset += frame.length;
	}
	return error;
}

static void serve_questions(struct session *session)
{
	uint32_t max = session->for_cluster ? WC_REMOTE_LONG_MAX : WC_REMOTE_QUESTION_MAX;
	uint8_t head[WC_REMOTE_HEADER];
	struct wc_member_session *member = NULL;
	struct wc_node *node = session->remote->node;
	struct wc_remote_frame frame;
	char *line = malloc(max);
	int error = line ? 0 : -ENOMEM;

	while (!error) {
		/* A node that is there asks ten times a second. */
		uint64_t end = wc_now() + (session->for_cluster ? MEMBER_MS : IDLE_MS) * WC_MS;
		json_t *answer;
		char *text;

		if (wc_remote_read(session->fd, head, sizeof(head), end) ||
		    wc_remote_decode(head, WC_REMOTE_BY_CLIENT, &frame) || frame.kind != WC_REMOTE_ASK ||
		    frame.length > max || wc_remote_read(session->fd, line, frame.length, end))
			break;
		answer = session->for_cluster ? answer_member(session, line, frame.length, &member) :
						answer_to(node, line, frame.length);
		text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
		error = text && strlen(text) <= WC_REMOTE_ANSWER_MAX ? send_answer(session->fd, frame.id, text) :
								       -ENOMEM;
		free(text);
		json_decref(answer);
	}
	wc_members_left(node, member);
	free(line);
}

/* --- payloads --- */

static struct wanted *find_wanted(struct session *session, uint64_t id)
{
	for (uint32_t i = 0; i < WC_REMOTE_WANTED; i++)
		if (session->wanted[i].used && session->wanted[i].id == id)
			return &session->wanted[i];
	return NULL;
}

static void wanted_end(struct session *session, struct wanted *wanted)
{
	pthread_mutex_lock(&session->remote->lock);
	session->remote->wanted_bytes -= wanted->total;
	pthread_mutex_unlock(&session->remote->lock);
	wanted->used = false;
}

/* The payload may come, if there is room. */
static int on_offer(struct session *session, uint64_t id, uint32_t total)
{
	struct wc_remote *remote = session->remote;
	struct wanted *free_one = NULL;
	bool room;

	if (find_wanted(session, id))
		return -EBADMSG;
	for (uint32_t i = 0; i < WC_REMOTE_WANTED && !free_one; i++)
		if (!session->wanted[i].used)
			free_one = &session->wanted[i];
	pthread_mutex_lock(&remote->lock);
	room = free_one && remote->wanted_bytes + total <= WC_REMOTE_WANTED_BYTES;
	if (room)
		remote->wanted_bytes += total;
	pthread_mutex_unlock(&remote->lock);
	if (room)
		*free_one = (struct wanted){ .id = id, .total = total, .used = true };
	return wc_remote_link_send(session->link, room ? WC_REMOTE_WANT : WC_REMOTE_FULL, id, 0, -1);
}

/* wc_remote_hooks.begins: what was asked for, and nothing else. */
static bool on_begins(void *context, const struct wc_remote_frame *frame)
{
	const struct wanted *wanted = find_wanted(context, frame->id);

	return wanted && wanted->total == frame->total;
}

/* To the node's own socket. Its thread reads that in microseconds; when it has not done so for seconds, something is wrong. */
static int tell_node(struct session *session, uint32_t kind, uint64_t id, uint32_t length, int fd)
{
	const struct wc_payload_message message = {
		.magic = WC_PAYLOAD_MAGIC, .kind = kind, .request_id = id, .length = length
	};
	struct pollfd ready = { .fd = wc_payload_client_fd(session->local), .events = POLLOUT };
	int ret = wc_payload_send(ready.fd, &message, fd);

	for (int i = 0; ret == -EAGAIN && i < 20; i++) {
		poll(&ready, 1, 100);
		ret = wc_payload_send(ready.fd, &message, fd);
	}
	return ret;
}

static int on_message(struct session *session, struct wc_remote_message *message)
{
	struct wanted *wanted = find_wanted(session, message->id);
	bool dropped = wanted && wanted->dropped;
	int error = 0;

	if (message->kind == WC_REMOTE_OFFER)
		return on_offer(session, message->id, message->total);
	if (message->kind == WC_REMOTE_DROP) {
		if (!wanted)
			return tell_node(session, WC_PAYLOAD_DROP, message->id, 0, -1);
		wanted->dropped = true; /* it goes when it is here */
		return 0;
	}
	if (!wanted) { /* on_begins() let it in, so it has come twice */
		close(message->fd);
		return -EBADMSG;
	}
	if (!dropped)
		error = tell_node(session, WC_PAYLOAD_PUT, message->id, message->total, message->fd);
	close(message->fd);
	wanted_end(session, wanted);
	if (error)
		return error;
	/* Also of what was dropped: the other side counts it as on its way until it hears of it. */
	return wc_remote_link_send(session->link, WC_REMOTE_KEPT, message->id, 0, -1);
}

/* wc_remote_hooks.sent: from here on the result is the network's. */
static void on_sent(void *context, uint32_t kind, uint64_t id, uint32_t total)
{
	struct session *session = context;

	/* The node counts it until it hears of it: a session that cannot tell has to end. */
	if (kind == WC_REMOTE_RESULT && tell_node(session, WC_PAYLOAD_TAKEN, id, total, -1))
		shutdown(session->fd, SHUT_RDWR);
}

/* The thread that takes large results from the node. */
static void *results_main(void *argument)
{
	struct session *session = argument;
	struct pollfd ready = { .fd = wc_payload_client_fd(session->local), .events = POLLIN };
	struct wc_payload_foreign foreign;
	struct wc_payload_message message;
	int fd, error;

	pthread_setname_np(pthread_self(), "remote-results");
	for (;;) {
		error = wc_payload_receive(ready.fd, WC_PAYLOAD_BY_NODE, &message, &fd, &foreign);
		wc_payload_foreign_close(&foreign);
		if (error == -EAGAIN) {
			poll(&ready, 1, -1);
			continue;
		}
		if (error || message.kind != WC_PAYLOAD_RESULT)
			break;
		if (wc_remote_link_send(session->link, WC_REMOTE_RESULT, message.request_id, message.length, fd))
			break;
	}
	wc_remote_link_kill(session->link);
	return NULL;
}

/* As what the client is at the node's own socket. The key of that session is what its references begin with. */
static int open_local(struct session *session)
{
	char path[160];
	int error;

	snprintf(path, sizeof(path), "%s/" WC_PAYLOAD_SOCKET, session->remote->node->run_dir);
	error = wc_payload_client_open(path, HELLO_MS, &session->local);
	if (!error)
		error = tell_node(session, WC_PAYLOAD_AWAY, 0, 0, -1);
	return error ?:
		       wc_remote_write(session->fd, wc_payload_client_key(session->local), 16,
				       wc_now() + WC_REMOTE_HANDSHAKE_MS * WC_MS);
}

static void set_link(struct session *session, struct wc_remote_link *link)
{
	pthread_mutex_lock(&session->remote->lock);
	session->link = link;
	pthread_mutex_unlock(&session->remote->lock);
}

static void serve_payloads(struct session *session)
{
	const struct wc_remote_hooks hooks = { on_begins, on_sent, session };
	struct wc_remote_message message;
	struct wc_remote_link *link = NULL;
	int error, copy = -1;

	error = open_local(session);
	if (!error && (copy = dup(session->fd)) < 0) /* the link has one of its own */
		error = -errno;
	if (!error)
		error = wc_remote_link_new(copy, WC_REMOTE_BY_CLIENT, &hooks, &link);
	set_link(session, link);
	if (!error && !pthread_create(&session->results, NULL, results_main, session)) {
		while (!wc_remote_link_read(session->link, &message) && !on_message(session, &message))
			;
		wc_remote_link_kill(session->link);
		shutdown(wc_payload_client_fd(session->local), SHUT_RDWR);
		pthread_join(session->results, NULL);
	}
	set_link(session, NULL);
	wc_remote_link_free(link);
	wc_payload_client_free(session->local);
	for (uint32_t i = 0; i < WC_REMOTE_WANTED; i++)
		if (session->wanted[i].used)
			wanted_end(session, &session->wanted[i]);
}

/* --- sessions --- */

/* Who has not the key is no reason to fill the log. */
static void warn(struct session *session, int error)
{
	struct wc_remote *remote = session->remote;
	uint64_t now = wc_now();
	bool say;

	pthread_mutex_lock(&remote->lock);
	remote->rejected++;
	say = error == -EACCES && (!remote->warned_ns || now - remote->warned_ns >= WARN_NS);
	if (say)
		remote->warned_ns = now;
	pthread_mutex_unlock(&remote->lock);
	if (say)
		wc_warning("a client at %s has not the key of --remote-key", session->peer);
}

/* May it stay? Its place is among those that have shown the key from now on. */
static bool admit(struct session *session, uint32_t purpose)
{
	struct wc_remote *remote = session->remote;
	bool room;

	pthread_mutex_lock(&remote->lock);
	session->for_payloads = purpose == WC_REMOTE_FOR_PAYLOADS;
	session->for_cluster = purpose == WC_REMOTE_FOR_CLUSTER;
	if (session->for_cluster) {
		room = remote->members < WC_MEMBERS_MAX;
		remote->members += room;
		remote->strangers -= room;
		session->met = room;
		pthread_mutex_unlock(&remote->lock);
		return room;
	}
	room = remote->met < WC_REMOTE_SESSIONS &&
	       (!session->for_payloads || remote->for_payloads < WC_REMOTE_SESSIONS - WC_REMOTE_QUESTIONS);
	if (room) {
		remote->for_payloads += session->for_payloads;
		session->met = true;
		remote->met++;
		remote->strangers--;
	}
	pthread_mutex_unlock(&remote->lock);
	return room;
}

static void *session_main(void *argument)
{
	struct session *session = argument, **at;
	struct wc_remote *remote = session->remote;
	uint32_t purpose;
	int error = wc_remote_meet_client(session->fd, remote->key, &purpose);

	pthread_setname_np(pthread_self(), "remote-client");
	if (error)
		warn(session, error);
	else if (admit(session, purpose) && !session->for_payloads)
		serve_questions(session);
	else if (session->met)
		serve_payloads(session);
	pthread_mutex_lock(&remote->lock);
	for (at = &remote->sessions; *at != session; at = &(*at)->next)
		;
	*at = session->next;
	*(!session->met ? &remote->strangers : session->for_cluster ? &remote->members : &remote->met) -= 1;
	remote->for_payloads -= session->met && session->for_payloads;
	close(session->fd);
	free(session);
	pthread_cond_signal(&remote->ended);
	pthread_mutex_unlock(&remote->lock);
	return NULL;
}

/* Room for one more that has not shown the key: who has had his time longest goes. Under the lock. */
static void make_room(struct wc_remote *remote)
{
	struct session *oldest = NULL;

	if (remote->strangers < WC_REMOTE_STRANGERS)
		return;
	for (struct session *session = remote->sessions; session; session = session->next)
		if (!session->met && (!oldest || session->begun_ns < oldest->begun_ns))
			oldest = session;
	if (oldest)
		shutdown(oldest->fd, SHUT_RDWR);
}

static void accept_one(struct wc_remote *remote)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	struct session *session;
	pthread_t thread;
	int fd = accept4(remote->listener, (struct sockaddr *)&address, &size, SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			usleep(10000);
		return;
	}
	session = calloc(1, sizeof(*session));
	if (!session) {
		close(fd);
		return;
	}
	session->remote = remote;
	session->fd = fd;
	session->begun_ns = wc_now();
	if (getnameinfo((struct sockaddr *)&address, size, session->peer, sizeof(session->peer), NULL, 0,
			NI_NUMERICHOST))
		session->peer[0] = 0;
	pthread_mutex_lock(&remote->lock);
	make_room(remote);
	/* Those that were hung up on take a moment to go; who comes faster than that is not let in. */
	if (remote->strangers >= 2 * WC_REMOTE_STRANGERS || pthread_create(&thread, NULL, session_main, session)) {
		close(fd);
		free(session);
	} else {
		pthread_detach(thread);
		session->next = remote->sessions;
		remote->sessions = session;
		remote->strangers++;
	}
	pthread_mutex_unlock(&remote->lock);
}

static void *remote_main(void *argument)
{
	struct wc_remote *remote = argument;
	struct pollfd fds[2] = { { .fd = remote->listener, .events = POLLIN },
				 { .fd = remote->stop, .events = POLLIN } };

	pthread_setname_np(pthread_self(), "remote");
	wc_sched_enrol_self(remote->node->sched, WC_NONE);
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		if (fds[0].revents)
			accept_one(remote);
	}
}

/* --- start and stop --- */

struct opening {
	struct wc_remote *remote;
	struct wc_fault *fault;
	int error;
};

/* In a thread of its own, because a node without --dev lives in a network namespace of its own, which no other host reaches. */
static void *open_listener(void *argument)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM };
	struct opening *opening = argument;
	struct wc_remote *remote = opening->remote;
	const char *text = remote->node->options.remote;
	char host[64], port[8];
	struct addrinfo *found;
	int one = 1;

	opening->error = wc_remote_split(text, host, sizeof(host), port, opening->fault);
	if (!opening->error && getaddrinfo(host, port, &hints, &found))
		opening->error = wc_fail(opening->fault, EINVAL, "--remote %.80s: '%s' is no address of IPv4 or IPv6",
					 text, host);
	if (!opening->error && setns(remote->node->host_net, CLONE_NEWNET)) {
		opening->error = wc_fail(opening->fault, errno, "cannot enter the host's network: %s", strerror(errno));
		freeaddrinfo(found);
	}
	if (opening->error)
		return NULL;
	remote->listener = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (remote->listener < 0 || setsockopt(remote->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(remote->listener, found->ai_addr, found->ai_addrlen))
		opening->error =
			wc_fail(opening->fault, errno, "--remote: cannot listen on %s: %s", text, strerror(errno));
	freeaddrinfo(found);
	return NULL;
}

/* The address is this node's, but nobody is let in yet. -EADDRINUSE and others. */
static int take_address(struct wc_remote *remote, struct wc_fault *fault)
{
	struct opening opening = { .remote = remote, .fault = fault };
	pthread_t opener;
	int error = pthread_create(&opener, NULL, open_listener, &opening);

	if (error)
		return wc_fail(fault, error, "cannot start a thread: %s", strerror(error));
	pthread_join(opener, NULL);
	if (opening.error && remote->listener >= 0) {
		close(remote->listener);
		remote->listener = -1;
	}
	return opening.error;
}

int wc_remote_prepare(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_remote *remote;
	int error;

	if (!*node->options.remote)
		return 0;
	remote = calloc(1, sizeof(*remote));
	if (!remote)
		return wc_fail(fault, ENOMEM, "out of memory");
	node->remote = remote;
	remote->node = node;
	remote->listener = -1;
	pthread_mutex_init(&remote->lock, NULL);
	pthread_cond_init(&remote->ended, NULL);
	remote->stop = eventfd(0, EFD_CLOEXEC);
	if (remote->stop < 0)
		return wc_fail(fault, errno, "cannot make an eventfd: %s", strerror(errno));
	error = wc_remote_key_load(node->options.remote_key, remote->key, fault) ?: take_address(remote, fault);
	/* By the daemon before, if it has the same. */
	if (error == -EADDRINUSE && node->takeover && wc_takeover_had_remote(node->takeover, node->options.remote))
		return 0;
	return error;
}

int wc_remote_listen(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_remote *remote = node->remote;
	int error = remote && remote->listener < 0 ? take_address(remote, fault) : 0;

	if (!error && remote && listen(remote->listener, 128))
		return wc_fail(fault, errno, "--remote: cannot listen on %s: %s", node->options.remote,
			       strerror(errno));
	return error;
}

int wc_remote_start(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_remote *remote = node->remote;
	int error;

	if (!remote)
		return 0;
	error = pthread_create(&remote->thread, NULL, remote_main, remote);
	if (error)
		return wc_fail(fault, error, "cannot start the thread for other hosts: %s", strerror(error));
	remote->started = true;
	wc_info("clients on other hosts are served on %s", node->options.remote);
	return 0;
}

void wc_remote_stop(struct wc_node *node)
{
	struct wc_remote *remote = node->remote;
	uint64_t one = 1;

	if (!remote)
		return;
	if (remote->started && write(remote->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(remote->thread, NULL);
	if (remote->listener >= 0)
		close(remote->listener);
	pthread_mutex_lock(&remote->lock);
	for (struct session *session = remote->sessions; session; session = session->next)
		shutdown(session->fd, SHUT_RDWR);
	while (remote->sessions)
		pthread_cond_wait(&remote->ended, &remote->lock);
	pthread_mutex_unlock(&remote->lock);
	close(remote->stop);
	pthread_mutex_destroy(&remote->lock);
	pthread_cond_destroy(&remote->ended);
	explicit_bzero(remote->key, sizeof(remote->key));
	free(remote);
	node->remote = NULL;
}

uint32_t wc_remote_owed(struct wc_node *node)
{
	struct wc_remote *remote = node->remote;
	uint32_t count;

	if (!remote)
		return 0;
	/* First these: what leaves them meanwhile is seen in its link. */
	count = wc_payloads_away_results(node->payloads);
	pthread_mutex_lock(&remote->lock);
	for (struct session *session = remote->sessions; session; session = session->next)
		count += session->link && wc_remote_link_owes(session->link);
	pthread_mutex_unlock(&remote->lock);
	return count;
}

json_t *wc_remote_json(const struct wc_node *node)
{
	struct wc_remote *remote = node->remote;
	json_t *object;

	if (!remote)
		return json_null();
	pthread_mutex_lock(&remote->lock);
	object = json_pack("{s:s, s:i, s:i, s:I, s:I}", "address", node->options.remote, "sessions", (int)remote->met,
			   "strangers", (int)remote->strangers, "coming_bytes", (json_int_t)remote->wanted_bytes,
			   "rejected_total", (json_int_t)remote->rejected);
	pthread_mutex_unlock(&remote->lock);
	return object;
}
