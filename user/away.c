/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * away.c - see away.h. A question takes a connection to the node of its own. For payloads one session is kept ready, so that a client here has
 * the node's word at once, or hears at once that there is none. away_session.c is what becomes of it.
 */
#include "user/away_internal.h"

#include "user/clock.h"
#include "user/closer.h"
#include "user/control_client.h"
#include "user/log.h"
#include "user/payload_message.h"
#include "user/remote_dial.h"
#include "user/version.h"

#include <jansson.h>
#include <netdb.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 5000u
#define LINE_MS 10000u
#define QUESTIONS_MAX 80u	    /* at a time: a gateway has one for each of its loops, and a few */
#define SPARE_WAIT_NS (150 * WC_MS) /* for the session that is being opened, when the node was there a moment ago */
#define RETRY_NS (250 * WC_MS)
#define DOWN_NS (WC_SECOND / 2) /* after a failure nobody waits for another one so long */

#define REFUSED_MAX 64u /* clients that were refused and are being closed: no other is accepted meanwhile */
#define DEAF_MS 100	/* then it looks again after so long */
#define FILES_MAX 16384u

/* --- reaching the node --- */

/* The sentence of a failure, which people read in a 503. */
static void explain(struct wc_away *away, int error)
{
	bool changed;

	pthread_mutex_lock(&away->lock);
	changed = away->reached || !*away->why;
	away->reached = false;
	away->failed_ns = wc_now();
	snprintf(away->why, sizeof(away->why), "node %s at %.100s cannot be reached: %.80s", away->options.name,
		 away->options.remote, wc_remote_why(error));
	if (changed)
		wc_warning("%s", away->why);
	pthread_mutex_unlock(&away->lock);
}

static void reached(struct wc_away *away)
{
	pthread_mutex_lock(&away->lock);
	if (!away->reached)
		wc_info("node %s at %s is reached", away->options.name, away->options.remote);
	away->reached = true;
	away->failed_ns = 0;
	pthread_mutex_unlock(&away->lock);
}

/* A connection to the node after the handshake, or a negative errno. */
static int dial(struct wc_away *away, enum wc_remote_purpose purpose)
{
	int fd = wc_remote_dial(away->host, away->port, away->key, purpose, WC_REMOTE_CONNECT_MS);

	if (fd < 0)
		explain(away, fd);
	else
		reached(away);
	return fd;
}

/* Has it failed a moment ago? Then nobody waits for another attempt. */
static bool is_down(struct wc_away *away)
{
	bool down;

	pthread_mutex_lock(&away->lock);
	down = away->failed_ns && wc_now() - away->failed_ns < DOWN_NS;
	pthread_mutex_unlock(&away->lock);
	return down;
}

/* --- questions --- */

static json_t *no(const char *code, const char *text)
{
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text);
}

static json_t *cannot(struct wc_away *away)
{
	json_t *answer;

	pthread_mutex_lock(&away->lock);
	answer = no("down", *away->why ? away->why : "the node has not been reached yet");
	pthread_mutex_unlock(&away->lock);
	return answer;
}

static json_t *ask(struct wc_away *away, const char *line, size_t length)
{
	json_t *answer;
	int fd, error;

	if (is_down(away) || (fd = dial(away, WC_REMOTE_FOR_QUESTIONS)) < 0)
		return cannot(away);
	error = wc_remote_ask(fd, line, length, wc_now() + ANSWER_MS * WC_MS, &answer);
	close(fd);
	if (error) {
		explain(away, error);
		return cannot(away);
	}
	return answer ?: no("failed", "the node's answer makes no sense");
}

/* What this process says by itself, or NULL. */
static json_t *answer_here(struct wc_away *away, const char *op)
{
	static const char *const passed_on[] = { "resolve", "list", "tail", "live", "metrics" };
	char text[400];

	if (!op)
		return no("bad-request", "the request is not a JSON object with an \"op\" in one line");
	if (!strcmp(op, "ping")) /* whoever asks may signal it: it is this process that stands for the node here */
		return json_pack("{s:b, s:s, s:i, s:s}", "ok", 1, "version", WC_VERSION_TEXT, "pid", (int)getpid(),
				 "remote", away->options.remote);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		if (!strcmp(op, passed_on[i]))
			return NULL;
	snprintf(
		text, sizeof(text),
		"node %s is on another host (%.100s): from here functions are invoked and listed; use the command there for "
		"'%.20s'%s%s",
		away->options.name, away->options.remote, op, !strcmp(op, "stop") ? ", and here end " : "",
		!strcmp(op, "stop") ? away->options.stop_with : "");
	return no("denied", text);
}

static json_t *answer_to(struct wc_away *away, const char *line, size_t length)
{
	json_t *question = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	const char *op = json_string_value(json_object_get(question, "op"));
	json_t *answer = answer_here(away, op);

	if (!answer) {
		answer = length <= WC_REMOTE_QUESTION_MAX ? ask(away, line, length) :
							    no("limit", "the question is too long");
		if (!strcmp(op, "resolve") && json_object_get(answer, "payload_socket"))
			json_object_set_new(answer, "payload_socket", json_string(away->payload_path));
	}
	json_decref(question);
	return answer;
}

struct asking {
	struct wc_away *away;
	int fd;
};

static void *question_main(void *argument)
{
	struct asking asking = *(struct asking *)argument;
	uint64_t end = wc_now() + LINE_MS * WC_MS;
	char line[WC_REMOTE_QUESTION_MAX + 1], *newline = NULL, *text;
	size_t have = 0;
	json_t *answer;

	free(argument);
	while (have < sizeof(line) && !newline) { /* one question a connection: byte by byte would do as well */
		struct pollfd ready = { .fd = asking.fd, .events = POLLIN };
		ssize_t n = wc_now() < end && poll(&ready, 1, LINE_MS) > 0 ?
				    recv(asking.fd, line + have, sizeof(line) - have, 0) :
				    0;

		if (n <= 0)
			break;
		newline = memchr(line + have, '\n', (size_t)n);
		have += (size_t)n;
	}
	if (have) {
		answer = newline ? answer_to(asking.away, line, (size_t)(newline - line)) :
				   no("limit", "the question is too long, or is no line");
		text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
		end = wc_now() + LINE_MS * WC_MS;
		if (text && !wc_remote_write(asking.fd, text, strlen(text), end))
			(void)wc_remote_write(asking.fd, "\n", 1, end);
		free(text);
		json_decref(answer);
	}
	close(asking.fd);
	wc_away_leave(asking.away);
	return NULL;
}

/* --- payloads --- */

/* Is the other side still there, as far as is known here? */
static bool is_alive(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Keeps one session ready; which has gone bad meanwhile is replaced. */
static void *spare_main(void *argument)
{
	struct wc_away *away = argument;
	struct timespec until;

	pthread_setname_np(pthread_self(), "away-spare");
	pthread_mutex_lock(&away->lock);
	while (!away->stopping) {
		if (away->spare >= 0 && !is_alive(away->spare)) {
			close(away->spare);
			away->spare = -1;
		}
		if (away->spare < 0) {
			uint8_t key[16] = { 0 };
			bool crowded = false;
			int fd;

			pthread_mutex_unlock(&away->lock);
			fd = dial(away, WC_REMOTE_FOR_PAYLOADS);
			if (fd >= 0 && wc_remote_read(fd, key, sizeof(key), wc_now() + WC_REMOTE_CONNECT_MS * WC_MS)) {
				close(fd);
				fd = -1;
				crowded = true;
			}
			pthread_mutex_lock(&away->lock);
			/* Questions go on, so it is not said to be down; but nobody waits for a session. */
			if (crowded && !away->crowded)
				wc_warning(
					"node %s at %s gives no further session for payloads that fit no packet: it has no room, or hangs up",
					away->options.name, away->options.remote);
			away->crowded = crowded;
			away->spare = fd < 0 ? -1 : fd;
			memcpy(away->spare_key, key, sizeof(key));
			pthread_cond_broadcast(&away->changed);
			if (away->spare >= 0)
				continue;
		}
		until = wc_timespec(wc_now() + RETRY_NS);
		pthread_cond_timedwait(&away->changed, &away->lock, &until);
	}
	pthread_mutex_unlock(&away->lock);
	wc_away_leave(away);
	return NULL;
}

int wc_away_take_spare(struct wc_away *away, uint8_t ret_key[16])
{
	const struct timespec until = wc_timespec(wc_now() + SPARE_WAIT_NS);
	int fd = -1;

	pthread_mutex_lock(&away->lock);
	do {
		if (away->spare < 0)
			continue;
		fd = away->spare;
		away->spare = -1;
		memcpy(ret_key, away->spare_key, 16);
		if (!is_alive(fd)) {
			close(fd);
			fd = -1;
		}
		pthread_cond_broadcast(&away->changed);
	} while (fd < 0 && away->reached && !away->crowded &&
		 !pthread_cond_timedwait(&away->changed, &away->lock, &until));
	pthread_mutex_unlock(&away->lock);
	return fd;
}

/* --- threads, and the two sockets --- */

/* A thread begins. False: there are `max`. */
static bool enter(struct wc_away *away, unsigned max)
{
	bool room;

	pthread_mutex_lock(&away->lock);
	room = away->threads < max && !away->stopping;
	away->threads += room;
	pthread_mutex_unlock(&away->lock);
	return room;
}

void wc_away_leave(struct wc_away *away)
{
	pthread_mutex_lock(&away->lock);
	away->threads--;
	pthread_cond_broadcast(&away->changed);
	pthread_mutex_unlock(&away->lock);
}

static int begin(struct wc_away *away, void *(*run)(void *), void *argument)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, run, argument);

	if (error)
		wc_away_leave(away);
	else
		pthread_detach(thread);
	return error;
}

/* Nothing was accepted. When there are no more open files it stays readable, so others have their turn. */
static void pause_accepting(void)
{
	if (errno == EMFILE || errno == ENFILE)
		usleep(10000);
}

static void accept_question(struct wc_away *away)
{
	static const char full[] =
		"{\"ok\":false,\"code\":\"limit\",\"error\":\"too many control requests at once\"}\n";
	int fd = accept4(away->control, NULL, NULL, SOCK_CLOEXEC);
	struct asking *asking;

	if (fd < 0) {
		pause_accepting();
		return;
	}
	asking = malloc(sizeof(*asking));
	if (asking && enter(away, QUESTIONS_MAX + WC_AWAY_SESSIONS)) {
		*asking = (struct asking){ away, fd };
		if (!begin(away, question_main, asking))
			return;
	}
	free(asking);
	(void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static struct wc_closer *closer; /* NULL: there could be none */
static atomic_uint refused_open;

static void refused_closed(struct wc_closing *closing)
{
	close(closing->socket);
	free(closing);
	atomic_fetch_sub(&refused_open, 1);
}

/* Closing what a client has sent may take as long as it likes. */
static void refuse(int fd)
{
	const struct wc_payload_message no_more = { .magic = WC_PAYLOAD_MAGIC, .kind = WC_PAYLOAD_REFUSE };
	struct wc_closing *closing = closer ? malloc(sizeof(*closing)) : NULL;

	wc_payload_send(fd, &no_more, -1);
	if (!closing) {
		close(fd);
		return;
	}
	*closing = (struct wc_closing){ .socket = fd, .done = refused_closed };
	atomic_fetch_add(&refused_open, 1);
	wc_closer_add(closer, closing);
}

static void accept_session(struct wc_away *away)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(away->payload, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		pause_accepting();
		return;
	}
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && enter(away, WC_AWAY_SESSIONS)) {
		if (!wc_away_session_begin(away, fd, peer.uid))
			return;
		wc_away_leave(away);
	}
	refuse(fd);
}

static int open_socket(struct wc_away *away, const char *name, int type, mode_t mode, char path[108], int *ret_fd,
		       struct wc_fault *fault)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int error, none = 0;

	snprintf(path, sizeof(address.sun_path), "%s/%s", away->dir, name);
	memcpy(address.sun_path, path, sizeof(address.sun_path));
	*ret_fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*ret_fd < 0)
		return wc_fail(fault, errno, "cannot open a socket: %s", strerror(errno));
	/* Where the kernel can: who has no session cannot even send descriptors. */
	(void)setsockopt(*ret_fd, SOL_SOCKET, SO_PASSRIGHTS, &none, sizeof(none));
	unlink(path);
	error = bind(*ret_fd, (struct sockaddr *)&address, sizeof(address)) || chmod(path, mode) || listen(*ret_fd, 64);
	return error ? wc_fail(fault, errno, "cannot listen on %s: %s", path, strerror(errno)) : 0;
}

/* The same lock as a node's, so that two of a name cannot be. */
static int take_name(struct wc_away *away, struct wc_fault *fault)
{
	char path[120];

	if ((mkdir(WC_CONTROL_RUN_DIR, 0755) && errno != EEXIST) || (mkdir(away->dir, 0755) && errno != EEXIST))
		return wc_fail(fault, errno, "cannot create %s: %s; a node on another host needs root here", away->dir,
			       strerror(errno));
	snprintf(path, sizeof(path), "%s/lock", away->dir);
	away->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (away->lock_fd < 0)
		return wc_fail(fault, errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(away->lock_fd, LOCK_EX | LOCK_NB))
		return wc_fail(
			fault, EBUSY,
			"a node named %s is served on this host already: give the one at %.100s another name with "
			"--node",
			away->options.name, away->options.remote);
	return 0;
}

int wc_away_open(const struct wc_away_options *options, struct wc_away **ret_away, struct wc_fault *fault)
{
	struct wc_away *away = calloc(1, sizeof(*away));
	int error;

	if (!away)
		return wc_fail(fault, ENOMEM, "out of memory");
	away->options = *options;
	away->spare = away->control = away->payload = away->lock_fd = -1;
	pthread_mutex_init(&away->lock, NULL);
	wc_cond_init(&away->changed);
	snprintf(away->dir, sizeof(away->dir), WC_CONTROL_RUN_DIR "/%.15s", options->name);
	error = wc_remote_split(options->remote, away->host, sizeof(away->host), away->port, fault) ?:
			wc_remote_key_load(options->key, away->key, fault)			    ?:
			take_name(away, fault);
	if (error) {
		free(away);
		return error;
	}
	error = open_socket(away, "control.sock", SOCK_STREAM, 0600, away->control_path, &away->control, fault) ?:
			open_socket(away, "payload.sock", SOCK_SEQPACKET, 0666, away->payload_path, &away->payload,
				    fault);
	if (error) {
		wc_away_close(away);
		return error;
	}
	*ret_away = away;
	return 0;
}

void wc_away_fds(const struct wc_away *away, int ret_fds[3])
{
	ret_fds[0] = away->lock_fd;
	ret_fds[1] = away->control;
	ret_fds[2] = away->payload;
}

/* As many open files as there may be; what clients hand over has a quarter of them. */
static void raise_limit(struct wc_away *away)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		limit = (struct rlimit){ 1024, 1024 };
	if (limit.rlim_cur < FILES_MAX && limit.rlim_cur < limit.rlim_max) {
		struct rlimit more = limit;

		more.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
		if (!setrlimit(RLIMIT_NOFILE, &more))
			limit = more;
	}
	away->payloads_max = limit.rlim_cur / 4 < WC_AWAY_PAYLOADS ? (unsigned)(limit.rlim_cur / 4) : WC_AWAY_PAYLOADS;
}

void wc_away_run(struct wc_away *away, int stop_fd)
{
	struct pollfd fds[3] = { { .fd = stop_fd, .events = POLLIN },
				 { .fd = away->control, .events = POLLIN },
				 { .fd = away->payload, .events = POLLIN } };

	raise_limit(away);
	if (wc_closer_new(&closer))
		closer = NULL;
	if (!enter(away, 1) || begin(away, spare_main, away))
		wc_warning("cannot start a thread: payloads that fit no packet are not passed on");
	for (;;) {
		bool deaf = atomic_load(&refused_open) >= REFUSED_MAX;

		fds[2].events = deaf ? 0 : POLLIN;
		if (poll(fds, 3, deaf ? DEAF_MS : -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			break;
		if (fds[1].revents)
			accept_question(away);
		if (fds[2].revents)
			accept_session(away);
	}
	pthread_mutex_lock(&away->lock);
	away->stopping = true;
	pthread_cond_broadcast(&away->changed);
	pthread_mutex_unlock(&away->lock);
	wc_away_sessions_end(away);
	pthread_mutex_lock(&away->lock);
	while (away->threads)
		pthread_cond_wait(&away->changed, &away->lock);
	pthread_mutex_unlock(&away->lock);
	(void)wc_closer_free(closer); /* what it has not closed yet, the end of the process closes */
	wc_away_close(away);
}

void wc_away_forget(struct wc_away *away)
{
	const int fds[] = { away->spare, away->control, away->payload, away->lock_fd };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	explicit_bzero(away->key, sizeof(away->key));
	pthread_mutex_destroy(&away->lock);
	pthread_cond_destroy(&away->changed);
	free(away);
}

void wc_away_close(struct wc_away *away)
{
	char path[120];

	if (*away->control_path)
		unlink(away->control_path);
	if (*away->payload_path)
		unlink(away->payload_path);
	snprintf(path, sizeof(path), "%s/lock", away->dir);
	unlink(path);
	rmdir(away->dir);
	rmdir(WC_CONTROL_RUN_DIR);
	wc_away_forget(away);
}
