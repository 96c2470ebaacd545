/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * channel.c - the instance's end of the channel; see channel_client.h for the interface, ../abi/channel.h for the
 * contract.
 *
 * The futex transport costs at most two system calls a request on this side: FUTEX_WAKE for the answer and FUTEX_WAIT
 * for the next request. It never polls: agent and instance normally share one CPU, where a poller only keeps the other
 * side from running.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../abi/channel_futex.h"
#include "channel_client.h"
#include "line_client.h"

/* "futex:12" -> WC_CLIENT_FUTEX and 12. */
static int parse_spec(const char *spec, enum wc_client_transport *ret_transport, int *ret_fd)
{
	enum wc_client_transport transport;
	const char *digits;
	char *end;
	long fd;

	if (!strncmp(spec, "futex:", 6))
		transport = WC_CLIENT_FUTEX;
	else if (!strncmp(spec, "socket:", 7))
		transport = WC_CLIENT_SOCKET;
	else
		return -EINVAL;
	digits = strchr(spec, ':') + 1;
	if (*digits < '0' || *digits > '9')
		return -EINVAL;
	errno = 0;
	fd = strtol(digits, &end, 10);
	if (errno || *end || fd > INT_MAX)
		return -EINVAL;
	*ret_transport = transport;
	*ret_fd = (int)fd;
	return 0;
}

static int map_shared(int fd, struct wc_channel **ret_channel, size_t *ret_size)
{
	struct wc_channel *channel;
	size_t size;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < (off_t)sizeof(*channel))
		return -EPROTO;
	/* Not populated: its 31 pages took a tenth of a cold start, and a small invocation touches one. */
	size = st.st_size < (off_t)WC_CHANNEL_SIZE ? sizeof(*channel) : WC_CHANNEL_SIZE;
	channel = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (channel == MAP_FAILED)
		return -errno;
	if (channel->magic != WC_CHANNEL_MAGIC || channel->capacity != WC_CHANNEL_CAPACITY) {
		munmap(channel, size);
		return -EPROTO;
	}
	*ret_channel = channel;
	*ret_size = size;
	return 0;
}

static int map_private(int fd, struct wc_channel **ret_channel)
{
	struct wc_channel *channel;
	socklen_t size = sizeof(int);
	int type, flags;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size))
		return -errno;
	if (type != SOCK_SEQPACKET)
		return -EPROTO;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	/* The same layout; most of it is never touched. */
	channel =
		mmap(NULL, WC_CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (channel == MAP_FAILED)
		return -errno;
	channel->magic = WC_CHANNEL_MAGIC;
	channel->capacity = WC_CHANNEL_CAPACITY;
	*ret_channel = channel;
	return 0;
}

int wc_client_open_spec(const char *spec, struct wc_client **ret_client)
{
	enum wc_client_transport transport = WC_CLIENT_FUTEX;
	struct wc_channel *channel = NULL;
	struct wc_client *client;
	size_t size = WC_CHANNEL_SIZE;
	int fd = -1, err;

	err = parse_spec(spec, &transport, &fd);
	if (err)
		return err;
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	err = transport == WC_CLIENT_FUTEX ? map_shared(fd, &channel, &size) : map_private(fd, &channel);
	if (err) {
		free(client);
		return err;
	}
	if (transport == WC_CLIENT_FUTEX) {
		close(fd); /* the mapping stays */
		fd = -1;
	}
	client->transport = transport;
	client->channel = channel;
	client->request = &channel->request;
	client->request_payload = channel->request_payload;
	client->answer_payload = channel->answer_payload;
	client->capacity = client->large = WC_CHANNEL_CAPACITY;
	if (size == WC_CHANNEL_SIZE && channel->features & WC_CHANNEL_FEATURE_LARGE)
		client->large = WC_CHANNEL_LARGE;
	client->mapped = size;
	client->fd = fd;
	*ret_client = client;
	return 0;
}

int wc_client_open(struct wc_client **ret_client)
{
	const char *spec = getenv(WC_CLIENT_ENV);
	int err;

	if (!spec)
		return -ENOENT;
	err = wc_client_open_spec(spec, ret_client);
	if (!err)
		unsetenv(WC_CLIENT_ENV);
	return err;
}

void wc_client_close(struct wc_client *client)
{
	if (!client)
		return;
	wc_lines_close(client->lines);
	munmap(client->channel, client->mapped);
	if (client->fd >= 0)
		close(client->fd);
	free(client);
}

/* `call`: what a CALL calls, else NULL. */
static int send_answer(struct wc_client *client, const struct wc_channel_call *call, const void *payload,
		       uint32_t length)
{
	struct iovec iov[3] = {
		{ .iov_base = &client->channel->answer, .iov_len = sizeof(struct wc_message) },
		{ .iov_base = (void *)(uintptr_t)call, .iov_len = call ? sizeof(*call) : 0 },
		{ .iov_base = (void *)(uintptr_t)payload, .iov_len = length },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = length ? 3 : 2 };
	ssize_t n;

	do
		n = sendmsg(client->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int answer(struct wc_client *client, uint32_t sequence, uint32_t kind, uint32_t flags, const void *payload,
		  uint32_t length)
{
	struct wc_message *message = &client->channel->answer;

	if (length > client->capacity)
		return -EMSGSIZE;
	if (client->lines && client->lines->running && !wc_line_answer(client, kind, flags, payload, length))
		return 0;
	if (client->lines) {
		client->lines->until = 0; /* the invocation is over */
		sequence = client->sequence;
	}
	message->kind = kind;
	message->length = length;
	message->flags = flags;
	message->request_id = sequence ? client->request->request_id : 0;
	message->deadline_ns = 0;
	message->began_ns = client->began_ns;
	message->returned_ns = client->began_ns ? wc_client_clock() : 0;
	if (client->transport == WC_CLIENT_SOCKET) {
		message->sequence = sequence;
		return send_answer(client, NULL, payload, length);
	}
	if (length && payload != client->answer_payload)
		memmove(client->answer_payload, payload, length);
	wc_channel_post(client->channel, message, sequence);
	return 0;
}

int wc_client_ready(struct wc_client *client, uint32_t flags)
{
	if (client->transport == WC_CLIENT_SOCKET)
		flags |= WC_CHANNEL_FLAG_CONTEXT;
	if (client->lines)
		flags |= WC_CHANNEL_FLAG_LINE;
	return answer(client, client->sequence, WC_CHANNEL_READY, flags, NULL, 0);
}

int wc_client_init_error(struct wc_client *client, const void *payload, uint32_t length)
{
	return answer(client, client->sequence, WC_CHANNEL_INIT_ERROR, 0, payload, length);
}

int wc_client_answer(struct wc_client *client, uint32_t kind, uint32_t flags, const void *payload, uint32_t length)
{
	if (kind != WC_CHANNEL_REPLY && kind != WC_CHANNEL_ERROR)
		return -EINVAL;
	return answer(client, client->sequence, kind, flags, payload, length);
}

/* 1: a message is in client->channel->request; 0: end-of-file. */
static int receive_socket(struct wc_client *client)
{
	struct wc_channel *channel = client->channel;
	struct iovec iov[2] = {
		{ .iov_base = &channel->request, .iov_len = sizeof(channel->request) },
		/* A context may reach into what is for the answer; it is not written yet. */
		{ .iov_base = channel->request_payload, .iov_len = WC_CHANNEL_CAPACITY + WC_CHANNEL_CONTEXT_ROOM },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = recvmsg(client->fd, &msg, 0);
	size_t behind;

	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (n == 0)
		return 0;
	if (n < (ssize_t)sizeof(channel->request) || (msg.msg_flags & MSG_TRUNC))
		return -EPROTO;
	behind = (size_t)n - sizeof(channel->request);
	if (channel->request.length > behind || channel->request.context != behind - channel->request.length ||
	    channel->request.context > WC_CHANNEL_CONTEXT_ROOM)
		return -EPROTO;
	memcpy((uint8_t *)channel + WC_CHANNEL_CONTEXT_AT, channel->request_payload + channel->request.length,
	       channel->request.context);
	return 1;
}

static int receive_futex(struct wc_client *client)
{
	int err;

	if (client->lines && client->lines->in)
		return wc_line_wait(client);
	err = wc_channel_wait(&client->channel->request, client->sequence, NULL);
	return err ? err : 1;
}

/* Where the request's payload is, and how long its answer may be. False: the agent broke the contract. */
static bool lay_out(struct wc_client *client)
{
	const struct wc_message *request = client->request;
	struct wc_channel *channel = client->channel;

	client->request_payload = request->length <= WC_CHANNEL_CAPACITY ? channel->request_payload :
									   (uint8_t *)channel + WC_CHANNEL_LARGE_AT;
	client->capacity = request->answer_max ? request->answer_max : WC_CHANNEL_CAPACITY;
	client->context = request->context ? (const uint8_t *)channel + WC_CHANNEL_CONTEXT_AT : NULL;
	return request->length <= client->large && client->capacity <= client->large &&
	       (!request->context ||
		(client->mapped == WC_CHANNEL_SIZE && request->context <= WC_CHANNEL_CONTEXT_ROOM));
}

/* A message that is none of a call has come. As wc_client_next(). */
static int take_request(struct wc_client *client)
{
	client->sequence = client->request->sequence;
	switch (client->request->kind) {
	case WC_CHANNEL_INVOKE:
		client->began_ns = client->request->timed ? wc_client_clock() : 0;
		if (client->lines)
			client->lines->core = client->request->flags;
		return lay_out(client) ? 1 : -EPROTO;
	case WC_CHANNEL_SHUTDOWN:
		return 0;
	default:
		return -EPROTO;
	}
}

int wc_client_next(struct wc_client *client)
{
	for (;;) {
		int err = client->transport == WC_CLIENT_SOCKET ? receive_socket(client) : receive_futex(client);

		if (err == 2) { /* on the line */
			client->began_ns = 0;
			return lay_out(client) ? 1 : -EPROTO;
		}
		if (err <= 0)
			return err;
		if (!client->lines || client->request->kind != WC_CHANNEL_LINE)
			return take_request(client);
		client->sequence = client->request->sequence;
		wc_line_take_in(client);
	}
}

/* --- calls --- */

static struct wc_channel_call *call_of(const struct wc_client *client)
{
	return (struct wc_channel_call *)(void *)((uint8_t *)client->channel + WC_CHANNEL_CALL_AT);
}

uint8_t *wc_client_call_payload(struct wc_client *client, uint32_t *ret_room)
{
	bool shared = client->transport == WC_CLIENT_FUTEX;

	*ret_room = shared ? client->large : WC_CHANNEL_CAPACITY;
	if (shared && (client->mapped < WC_CHANNEL_SIZE || !(client->channel->features & WC_CHANNEL_FEATURE_CALLS)))
		*ret_room = 0;
	return *ret_room ? (uint8_t *)(call_of(client) + 1) : NULL;
}

/* The RESULT on the socket, to where it is in shared memory. As receive_socket(). */
static int receive_result(struct wc_client *client)
{
	struct wc_channel *channel = client->channel;
	struct iovec iov[2] = {
		{ .iov_base = &channel->request, .iov_len = sizeof(channel->request) },
		{ .iov_base = (uint8_t *)channel + WC_CHANNEL_RESULT_AT, .iov_len = WC_CHANNEL_CAPACITY },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	do
		n = recvmsg(client->fd, &msg, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 && errno != ECONNRESET ? -errno : -EPIPE;
	if (n < (ssize_t)sizeof(channel->request) || (msg.msg_flags & MSG_TRUNC) ||
	    channel->request.length != (size_t)n - sizeof(channel->request))
		return -EPROTO;
	return 0;
}

static int post_call(struct wc_client *client, const struct wc_client_callee *callee, const void *payload,
		     uint32_t length)
{
	struct wc_message *message = &client->channel->answer;
	struct wc_channel_call *call = call_of(client);

	memset(call, 0, sizeof(*call));
	call->number = callee->number;
	if (callee->function)
		snprintf(call->function, sizeof(call->function), "%s", callee->function);
	message->kind = WC_CHANNEL_CALL;
	message->length = length;
	message->flags = callee->how;
	message->request_id = client->request->request_id;
	message->deadline_ns = message->began_ns = message->returned_ns = 0;
	if (client->transport == WC_CLIENT_SOCKET) {
		message->sequence = client->sequence;
		return send_answer(client, call, payload, length);
	}
	if (length && payload != (const uint8_t *)(call + 1))
		memmove(call + 1, payload, length);
	wc_channel_post(client->channel, message, client->sequence);
	return 0;
}

static int check_call(struct wc_client *client, const struct wc_client_callee *callee, uint32_t length)
{
	uint32_t room;

	if (!wc_client_call_payload(client, &room))
		return -ENOSYS;
	if (length > room)
		return -EMSGSIZE;
	return callee->function && strlen(callee->function) >= WC_CHANNEL_CALL_NAME ? -ENAMETOOLONG : 0;
}

/* What is in client->request is the RESULT. */
static int take_result(struct wc_client *client, struct wc_client_result *ret_result)
{
	uint32_t room;

	wc_client_call_payload(client, &room);
	client->sequence = client->request->sequence;
	if (client->request->kind == WC_CHANNEL_SHUTDOWN)
		return -EPIPE;
	if (client->request->kind != WC_CHANNEL_RESULT || client->request->length > room)
		return -EPROTO;
	*ret_result = (struct wc_client_result){
		.payload = (const uint8_t *)client->channel + WC_CHANNEL_RESULT_AT,
		.length = client->request->length,
		.flags = client->request->flags,
		.number = client->request->context,
	};
	return 0;
}

/* By the agent. */
static int call_agent(struct wc_client *client, const struct wc_client_callee *callee, const void *payload,
		      uint32_t length, struct wc_client_result *ret_result)
{
	int err = post_call(client, callee, payload, length);

	if (err)
		return err;
	if (client->transport == WC_CLIENT_SOCKET) {
		err = receive_result(client);
	} else {
		do
			err = wc_channel_wait(&client->channel->request, client->sequence, NULL);
		while (err == -EINTR);
	}
	return err ?: take_result(client, ret_result);
}

/* By the line, and where that does not do it, the agent goes on. 1: it was not taken from the line, and is to be called by the agent. */
static int call_by_line(struct wc_client *client, const void *payload, uint32_t length,
			struct wc_client_result *ret_result)
{
	struct wc_client_callee same = { .how = WC_CHANNEL_HOW_LINE };
	int err = wc_line_call(client, payload, length, ret_result);

	same.number = wc_line_calls(client);

	while (err == 1) {
		err = call_agent(client, &same, NULL, 0, ret_result);
		if (err)
			break;
		if (!(ret_result->flags & WC_CHANNEL_FLAG_LINE)) {
			client->lines->until = 0;
			return ret_result->flags & WC_CHANNEL_FLAG_LINE_NEW ? 1 : 0;
		}
		err = wc_line_await(client, ret_result);
	}
	return err;
}

int wc_client_call(struct wc_client *client, const struct wc_client_callee *callee, const void *payload,
		   uint32_t length, struct wc_client_result *ret_result)
{
	int err = check_call(client, callee, length);

	if (err)
		return err;
	if (!client->lines)
		return call_agent(client, callee, payload, length, ret_result);
	if (client->lines->running)
		wc_line_hand_over(client);
	if (callee->how == WC_CHANNEL_HOW_RUN && wc_line_usable(client, callee->function, length)) {
		err = call_by_line(client, payload, length, ret_result);
		if (err != 1)
			return err;
	}
	err = call_agent(client, callee, payload, length, ret_result);
	if (!err && callee->how == WC_CHANNEL_HOW_RUN) {
		wc_line_offered(client, callee->function);
		ret_result->flags &= ~(WC_CHANNEL_FLAG_LINE | WC_CHANNEL_FLAG_LINE_NEW);
		ret_result->number = 0;
	} else if (callee->how < WC_CHANNEL_HOW_CANCEL || callee->how >= WC_CHANNEL_HOW_SEND) {
		client->lines->until = 0; /* the agent has ended it */
	}
	return err;
}

int wc_client_call_begin(struct wc_client *client, const struct wc_client_callee *callee, const void *payload,
			 uint32_t length)
{
	int err = check_call(client, callee, length);

	if (!err && client->lines && client->lines->running)
		wc_line_hand_over(client);
	return err ?: post_call(client, callee, payload, length);
}

int wc_client_next_of_both(struct wc_client *client, struct wc_client_result *ret_result)
{
	struct wc_message head = { 0 };
	int err;

	if (client->transport == WC_CLIENT_FUTEX) {
		err = receive_futex(client);
		head.kind = client->request->kind;
	} else { /* a look at what it is first: a RESULT must not come over the request */
		err = recv(client->fd, &head, sizeof(head), MSG_PEEK) < 0 ? -errno : 1;
		if (err == 1 && head.kind == WC_CHANNEL_RESULT)
			err = receive_result(client) ?: 1;
		else if (err == 1)
			err = receive_socket(client);
		else if (err == -ECONNRESET)
			err = 0;
	}
	if (err <= 0)
		return err;
	if (head.kind == WC_CHANNEL_RESULT)
		return take_result(client, ret_result) ?: 2;
	return take_request(client);
}

int wc_client_load(struct wc_client *client, uint32_t *ret_user)
{
	int err;

	do
		err = client->transport == WC_CLIENT_SOCKET ? receive_socket(client) : receive_futex(client);
	while (err == -EINTR);
	if (err <= 0)
		return err;
	client->sequence = client->request->sequence;
	if (client->request->kind == WC_CHANNEL_SHUTDOWN)
		return 0;
	if (client->request->kind != WC_CHANNEL_LOAD || client->request->length > WC_CHANNEL_CAPACITY ||
	    !client->request->length)
		return -EPROTO;
	*ret_user = (uint32_t)client->request->request_id;
	return (int)client->request->length;
}

int wc_client_become(uint32_t user)
{
	pid_t daemon = getppid();

	/* glibc's, not the system calls: they act on all threads of the process. */
	if (!user || setgroups(0, NULL) || setresgid(user, user, user) || setresuid(user, user, user))
		return user ? -errno : -EINVAL;
	if (getuid() != user || geteuid() != user || getgid() != user || !setuid(0))
		return -EPERM;
	/* After the change of user, which resets both. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return getppid() == daemon ? 0 : -ESRCH;
}

static volatile pid_t ends_at_once; /* sig_atomic_t is no wider than a pid on Linux */

/* What the process forks is a program as others are, and keeps this handler until it has one of its own, or execs. */
static void exit_at_once(int signo)
{
	if (getpid() == ends_at_once)
		_exit(0);
	signal(signo, SIG_DFL);
	raise(signo);
}

int wc_client_exit_on_sigterm(void)
{
	struct sigaction action = { .sa_handler = exit_at_once };

	ends_at_once = getpid();
	sigemptyset(&action.sa_mask);
	return sigaction(SIGTERM, &action, NULL) ? -errno : 0;
}
