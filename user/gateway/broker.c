// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker.c - see broker.h. A question and an answer are one line of JSON each, as on the control socket. (For keys: broker_keys.c.) */
#include "user/gateway/broker.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user/clock.h"
#include "user/control_client.h"
#include "user/gateway/broker_files.h"
#include "user/gateway/broker_keys.h"
#include "user/gateway/route.h"

#define QUESTION_MAX 512 /* bytes of a line */
#define LATE_MAX 8	 /* questions without an answer */

static const struct {
	const char *op;
	bool name, request, qualifier; /* the first two have to be there, the last one may */
} allowed[] = {
	{ "resolve", true, false, true },   { "list", false, false, false }, { "tail", true, true, true },
	{ "metrics", false, false, false }, { "live", false, false, false },
};

/* --- the process --- */

static json_t *refuse(const char *code, const char *text)
{
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text);
}

static const char *error_code(int error)
{
	return error == -EHOSTDOWN ? "down" : error == -EACCES ? "denied" : error == -ETIMEDOUT ? "timeout" : "failed";
}

json_t *wc_broker_answer(const char *node, const char *line, size_t length)
{
	json_t *question = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL), *request, *answer;
	const char *op = json_string_value(json_object_get(question, "op"));
	const json_t *name = json_object_get(question, "name"), *id = json_object_get(question, "request");
	const json_t *qualifier = json_object_get(question, "qualifier");
	int ret = -EINVAL;

	answer = NULL;
	for (size_t i = 0; op && i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		if (strcmp(op, allowed[i].op) != 0)
			continue;
		if (allowed[i].name &&
		    (!json_is_string(name) || !wc_route_name_valid(json_string_value(name), json_string_length(name))))
			break;
		if (allowed[i].request && !json_is_string(id))
			break;
		if (qualifier && (!allowed[i].qualifier || !json_is_string(qualifier) ||
				  !wc_route_qualifier_valid(json_string_value(qualifier))))
			break;
		/* Only what is known is passed on. */
		request = json_pack("{s:s, s:O*, s:O*, s:O*}", "op", op, "name", allowed[i].name ? name : NULL,
				    "request", allowed[i].request ? id : NULL, "qualifier", qualifier);
		ret = request ? wc_control_request(node, request, WC_BROKER_TIMEOUT_MS, &answer) : -ENOMEM;
		json_decref(request);
		if (ret)
			answer = refuse(error_code(ret), "the node does not answer");
		json_decref(question);
		return answer;
	}
	json_decref(question);
	return refuse("bad-request", "a gateway may ask resolve, list, tail, live and metrics only");
}

struct channel {
	int fd;
	const char *node;
	const char *keys;	  /* the channel is for them, or NULL */
	const char *const *files; /* the channel is for these, or NULL */
};

static bool send_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = send(fd, text, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		length -= (size_t)n;
	}
	return true;
}

static bool answer_line(const struct channel *channel, const char *line, size_t length)
{
	json_t *answer = wc_broker_answer(channel->node, line, length);
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	bool sent = text && send_all(channel->fd, text, strlen(text)) && send_all(channel->fd, "\n", 1);

	free(text);
	json_decref(answer);
	return sent;
}

static void *serve(void *argument)
{
	const struct channel *channel = argument;
	char line[QUESTION_MAX];
	size_t have = 0;

	if (channel->keys) {
		wc_broker_keys_serve(channel->fd, channel->keys);
		return NULL;
	}
	if (channel->files) {
		wc_broker_files_serve(channel->fd, channel->files);
		return NULL;
	}
	for (;;) {
		ssize_t n = recv(channel->fd, line + have, sizeof(line) - have, 0);
		char *newline;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		have += (size_t)n;
		while ((newline = memchr(line, '\n', have))) {
			if (!answer_line(channel, line, (size_t)(newline - line)))
				return NULL;
			have -= (size_t)(newline + 1 - line);
			memmove(line, newline + 1, have);
		}
		if (have == sizeof(line)) /* the gateway sends no such line */
			return NULL;
	}
}

/* What opening the socket takes is being its owner; everything else of root goes. */
static void put_rights_off(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	for (int i = 0; i <= CAP_LAST_CAP; i++)
		prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	if (syscall(SYS_capset, &header, none))
		_exit(1);
}

/* Whatever the gateway has open but the channels and the standard ones. */
static void close_others(const int *fds, unsigned count)
{
	int highest = 0;

	for (unsigned i = 0; i < count; i++)
		highest = fds[i] > highest ? fds[i] : highest;
	close_range((unsigned)highest + 1, ~0u, 0);
	for (int fd = 3; fd < highest; fd++) {
		unsigned i = 0;

		while (i < count && fds[i] != fd)
			i++;
		if (i == count)
			close(fd);
	}
}

void wc_broker_confine(const int *fds, unsigned count)
{
	signal(SIGINT, SIG_IGN); /* it ends when the gateway has closed the channels */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN); /* means the keys, and the gateway */
	close_others(fds, count);
	put_rights_off();
}

/* With `keys`, the last channel is for them; the one before, or else the last, is for the files. */
static void __attribute__((noreturn))
run(const char *node, const struct wc_broker_paths *paths, const int *fds, unsigned count)
{
	static struct channel channels[WC_BROKER_CHANNELS_MAX + 2];
	pthread_t threads[WC_BROKER_CHANNELS_MAX + 2];
	unsigned files_at = count - 1 - (paths->keys != NULL);

	prctl(PR_SET_NAME, "wc-gw-broker", 0, 0, 0);
	wc_broker_confine(fds, count);
	for (unsigned i = 0; i < count; i++) {
		channels[i] = (struct channel){ .fd = fds[i],
						.node = node,
						.keys = i > files_at ? paths->keys : NULL,
						.files = i == files_at ? paths->files : NULL };
		if (pthread_create(&threads[i], NULL, serve, &channels[i]))
			_exit(1);
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	if (paths->leave)
		unlink(paths->leave);
	_exit(0);
}

int wc_broker_start(const char *node, const struct wc_broker_paths *paths, unsigned count, int *ret_fds,
		    int *ret_files_fd, int *ret_keys_fd, pid_t *ret_pid)
{
	int ours[WC_BROKER_CHANNELS_MAX + 2], theirs[WC_BROKER_CHANNELS_MAX + 2], pair[2], ret = 0;
	unsigned made = 0, wanted = count + 1 + (paths->keys != NULL);
	pid_t pid = -1;

	if (!wc_control_node_valid(node) || !count || count > WC_BROKER_CHANNELS_MAX)
		return -EINVAL;
	for (; made < wanted && !ret; made++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
			ret = -errno;
			break;
		}
		ours[made] = pair[0];
		theirs[made] = pair[1];
	}
	if (!ret) {
		pid = fork();
		if (pid < 0)
			ret = -errno;
	}
	if (!pid) {
		for (unsigned i = 0; i < made; i++)
			close(ours[i]);
		run(node, paths, theirs, made);
	}
	for (unsigned i = 0; i < made; i++) {
		close(theirs[i]);
		if (ret)
			close(ours[i]);
		else if (i < count)
			ret_fds[i] = ours[i];
		else
			*(i == count ? ret_files_fd : ret_keys_fd) = ours[i];
	}
	if (!ret)
		*ret_pid = pid;
	return ret;
}

/* --- the gateway's side --- */

/* Let go of the answers that came too late for who asked. True: all are gone, and *have bytes are of the one that is waited for. */
static bool skip_late(char *text, size_t *have, unsigned *late)
{
	while (*late) {
		char *newline = memchr(text, '\n', *have);

		if (!newline) {
			*have = 0;
			return false;
		}
		*have -= (size_t)(newline + 1 - text);
		memmove(text, newline + 1, *have);
		(*late)--;
	}
	return true;
}

int wc_broker_ask_wait(int fd, unsigned *late, const char *op, unsigned timeout_ms, json_t **ret_answer)
{
	uint64_t until = wc_now() + timeout_ms * WC_MS, now;
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	size_t have = 0, size = 0;
	char line[QUESTION_MAX], *text = NULL, *newline = NULL;
	bool asked = *late < LATE_MAX; /* else nobody answers: it is enough to find out when somebody does again */
	int ret = 0;

	if (asked && !send_all(fd, line, (size_t)snprintf(line, sizeof(line), "{\"op\":\"%s\"}\n", op)))
		return -EPIPE;
	while (!ret && !newline && (asked || *late)) {
		ssize_t n;

		if (size - have < 65536) {
			char *larger = size > WC_CONTROL_ANSWER_MAX ? NULL : realloc(text, 2 * size + 131072);

			if (!larger) {
				ret = -ENOMEM;
				break;
			}
			text = larger;
			size = 2 * size + 131072;
		}
		now = wc_now();
		if (now >= until || !poll(&ready, 1, (int)((until - now) / WC_MS) + 1)) {
			ret = -ETIMEDOUT;
			break;
		}
		n = recv(fd, text + have, size - have, MSG_DONTWAIT);
		if (n > 0) {
			have += (size_t)n;
			newline = skip_late(text, &have, late) ? memchr(text, '\n', have) : NULL;
		} else if (!n || (errno != EINTR && errno != EAGAIN)) {
			ret = -EPIPE;
		}
	}
	if (!ret && !asked)
		ret = -ETIMEDOUT;
	else if (!ret)
		ret = (*ret_answer = json_loadb(text, (size_t)(newline - text), JSON_REJECT_DUPLICATES, NULL)) ?
			      0 :
			      -EBADMSG;
	else if (asked && ret != -EPIPE)
		++*late; /* what is left of it would be taken for the next one's */
	free(text);
	return ret;
}

struct question {
	wc_broker_cb done;
	void *context;
};

struct wc_broker {
	int fd;
	bool gone;
	struct question pending[WC_BROKER_PENDING_MAX]; /* a ring */
	unsigned first, count;
	char *text; /* of an answer, as far as it is here */
	size_t have, size;
};

int wc_broker_new(int fd, struct wc_broker **ret_broker)
{
	struct wc_broker *broker = calloc(1, sizeof(*broker));

	if (!broker)
		return -ENOMEM;
	broker->fd = fd;
	*ret_broker = broker;
	return 0;
}

void wc_broker_free(struct wc_broker *broker)
{
	if (!broker)
		return;
	close(broker->fd);
	free(broker->text);
	free(broker);
}

int wc_broker_fd(const struct wc_broker *broker)
{
	return broker->fd;
}

static int ask(struct wc_broker *broker, const char *line, int n, wc_broker_cb done, void *context)
{
	ssize_t sent;

	if (broker->gone)
		return -EPIPE;
	if (broker->count == WC_BROKER_PENDING_MAX)
		return -EAGAIN;
	sent = send(broker->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -EPIPE;
	if (sent != n) { /* half a question cannot be taken back; a Unix socket takes short ones whole */
		broker->gone = true;
		return -EPIPE;
	}
	broker->pending[(broker->first + broker->count++) % WC_BROKER_PENDING_MAX] = (struct question){ done, context };
	return 0;
}

/* Names and qualifiers need no escapes: route.h. */
int wc_broker_ask(struct wc_broker *broker, const char *op, const char *name, unsigned long long request,
		  wc_broker_cb done, void *context)
{
	char line[QUESTION_MAX];
	int n;

	if (request)
		n = snprintf(line, sizeof(line), "{\"op\":\"%s\",\"name\":\"%s\",\"request\":\"%llx\"}\n", op, name,
			     request);
	else if (name)
		n = snprintf(line, sizeof(line), "{\"op\":\"%s\",\"name\":\"%s\"}\n", op, name);
	else
		n = snprintf(line, sizeof(line), "{\"op\":\"%s\"}\n", op);
	return ask(broker, line, n, done, context);
}

int wc_broker_tail(struct wc_broker *broker, const char *name, const char *qualifier, unsigned long long request,
		   wc_broker_cb done, void *context)
{
	char line[QUESTION_MAX];
	int n;

	if (!qualifier || !*qualifier)
		return wc_broker_ask(broker, "tail", name, request, done, context);
	n = snprintf(line, sizeof(line),
		     "{\"op\":\"tail\",\"name\":\"%s\",\"request\":\"%llx\",\"qualifier\":\"%s\"}\n", name, request,
		     qualifier);
	return ask(broker, line, n, done, context);
}

int wc_broker_resolve(struct wc_broker *broker, const char *name, const char *qualifier, wc_broker_cb done,
		      void *context)
{
	char line[QUESTION_MAX];
	int n;

	if (!qualifier || !*qualifier)
		return wc_broker_ask(broker, "resolve", name, 0, done, context);
	n = snprintf(line, sizeof(line), "{\"op\":\"resolve\",\"name\":\"%s\",\"qualifier\":\"%s\"}\n", name,
		     qualifier);
	return ask(broker, line, n, done, context);
}

static void answer_first(struct wc_broker *broker, const json_t *answer, int error)
{
	struct question question = broker->pending[broker->first];

	broker->first = (broker->first + 1) % WC_BROKER_PENDING_MAX;
	broker->count--;
	question.done(question.context, answer, error);
}

static void take_lines(struct wc_broker *broker)
{
	char *newline;

	while (broker->count && (newline = memchr(broker->text, '\n', broker->have))) {
		size_t length = (size_t)(newline - broker->text);
		json_t *answer = json_loadb(broker->text, length, JSON_REJECT_DUPLICATES, NULL);

		broker->have -= length + 1;
		memmove(broker->text, newline + 1, broker->have);
		answer_first(broker, json_is_object(answer) ? answer : NULL, json_is_object(answer) ? 0 : -EBADMSG);
		json_decref(answer);
	}
}

int wc_broker_readable(struct wc_broker *broker)
{
	for (;;) {
		ssize_t n;

		if (broker->size - broker->have < 4096) {
			size_t size = broker->size ? 2 * broker->size : 8192;
			char *text = size > 2 * (WC_CONTROL_ANSWER_MAX + 4096) ? NULL : realloc(broker->text, size);

			if (!text)
				break;
			broker->text = text;
			broker->size = size;
		}
		n = recv(broker->fd, broker->text + broker->have, broker->size - broker->have, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			break;
		broker->have += (size_t)n;
		take_lines(broker);
	}
	broker->gone = true;
	while (broker->count)
		answer_first(broker, NULL, -EPIPE);
	return -EPIPE;
}
