/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* line.c - see line_client.h, and ../abi/line.h for what both sides of a line do. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../abi/channel_futex.h"
#include "line_client.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* struct futex_waitv of linux/futex.h, which is younger than some distributions' */
struct waitv {
	uint64_t value, address;
	uint32_t flags, reserved;
};
#define WAITV_32 2u /* FUTEX_32, shared */

/* --- the memory --- */

static struct wc_line *map(int fd)
{
	struct wc_line *line = MAP_FAILED;
	struct stat st;

	if (!fstat(fd, &st) && st.st_size >= (off_t)sizeof(*line))
		line = mmap(NULL, sizeof(*line), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return line == MAP_FAILED ? NULL : line;
}

/* The newest line in the mail; NULL: there is none, or no memory for it. */
static struct wc_line *open_mail(void)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct wc_line *line = NULL;

	for (;;) {
		struct msghdr message = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
		};
		const struct cmsghdr *head;
		int fd;

		if (recvmsg(WC_MAIL_FD, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
			return line;
		head = CMSG_FIRSTHDR(&message);
		if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(&fd, CMSG_DATA(head), sizeof(fd));
		if (line)
			munmap(line, sizeof(*line));
		line = map(fd);
		close(fd);
	}
}

static void close_line(struct wc_line **line)
{
	if (*line)
		munmap(*line, sizeof(**line));
	*line = NULL;
}

void wc_client_allow_lines(struct wc_client *client)
{
	socklen_t size = sizeof(int);
	int type = 0;

	if (client->lines || client->transport != WC_CLIENT_FUTEX || client->mapped < WC_CHANNEL_SIZE ||
	    !(client->channel->features & WC_CHANNEL_FEATURE_LINES))
		return;
	if (getsockopt(WC_MAIL_FD, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_SEQPACKET)
		return;
	if (!fcntl(WC_MAIL_FD, F_SETFD, FD_CLOEXEC))
		client->lines = calloc(1, sizeof(*client->lines));
}

void wc_lines_close(struct wc_client_lines *lines)
{
	if (!lines)
		return;
	close_line(&lines->out);
	close_line(&lines->in);
	close(WC_MAIL_FD);
	free(lines);
}

/* --- the caller --- */

void wc_line_offered(struct wc_client *client, const char *function)
{
	struct wc_client_lines *lines = client->lines;
	uint32_t flags = client->request->flags;

	lines->until = 0;
	if (!(flags & WC_CHANNEL_FLAG_LINE))
		return;
	if (flags & WC_CHANNEL_FLAG_LINE_NEW) {
		close_line(&lines->out);
		lines->out = open_mail();
		lines->called = 0;
	}
	if (!lines->out)
		return;
	snprintf(lines->name, sizeof(lines->name), "%s", function);
	lines->until = client->request->began_ns;
	lines->request_id = client->request->returned_ns;
	lines->deadline_ns = client->request->deadline_ns;
	lines->limit_ns = client->request->context * 1000000ull;
	lines->left = WC_LINE_CALLS;
}

bool wc_line_usable(struct wc_client *client, const char *function, uint32_t length)
{
	struct wc_client_lines *lines = client->lines;

	if (!lines->until || !lines->left || length > WC_CHANNEL_CAPACITY || !function ||
	    strcmp(function, lines->name) != 0)
		return false;
	lines->now_ns = wc_client_clock();
	return lines->now_ns < lines->until;
}

/* The reply, to where the agent's RESULTs are: all runtimes look there. */
static int take_reply(struct wc_client *client, struct wc_client_result *ret_result)
{
	const struct wc_message *reply = &client->lines->out->reply;
	struct wc_message *request = &client->channel->request;
	uint32_t kind = __atomic_load_n(&reply->kind, __ATOMIC_RELAXED),
		 length = __atomic_load_n(&reply->length, __ATOMIC_RELAXED),
		 flags = __atomic_load_n(&reply->flags, __ATOMIC_RELAXED) & WC_CHANNEL_FLAG_BINARY;
	uint8_t *to = (uint8_t *)client->channel + WC_CHANNEL_RESULT_AT;

	if (kind == WC_CHANNEL_CALL)
		return 1;
	if (length > WC_CHANNEL_CAPACITY) { /* nonsense: an error without a word */
		length = 0;
		kind = WC_CHANNEL_ERROR;
	}
	memcpy(to, client->lines->out->reply_payload, length);
	request->kind = WC_CHANNEL_RESULT;
	request->length = length;
	request->flags = kind == WC_CHANNEL_REPLY ? flags : WC_CHANNEL_FLAG_FAILED;
	request->context = 0;
	*ret_result = (struct wc_client_result){ .payload = to, .length = length, .flags = request->flags };
	return 0;
}

int wc_line_await(struct wc_client *client, struct wc_client_result *ret_result)
{
	struct timespec patience = { .tv_nsec = WC_LINE_PATIENCE_NS };
	struct wc_client_lines *lines = client->lines;
	struct wc_message *reply = &lines->out->reply;
	uint64_t until = 0, now;

	for (;;) {
		uint32_t sequence = __atomic_load_n(&reply->sequence, __ATOMIC_ACQUIRE);

		if (sequence == lines->called)
			return take_reply(client, ret_result);
		/* All in all: whoever wakes it in vain, or a signal, does not begin it anew. The clock is read when it has been woken so. */
		now = until ? wc_client_clock() : 0;
		if (until && now >= until)
			return 1;
		if (until)
			patience.tv_nsec = (long)(until - now);
		if (wc_channel_wait(reply, sequence, &patience) == -ETIMEDOUT)
			return 1;
		if (!until && __atomic_load_n(&reply->sequence, __ATOMIC_ACQUIRE) != lines->called)
			until = wc_client_clock() + WC_LINE_PATIENCE_NS;
	}
}

uint32_t wc_line_calls(const struct wc_client *client)
{
	return WC_LINE_CALLS - client->lines->left;
}

int wc_line_call(struct wc_client *client, const void *payload, uint32_t length, struct wc_client_result *ret_result)
{
	struct wc_client_lines *lines = client->lines;
	struct wc_message *call = &lines->out->call;

	if (length)
		memcpy(lines->out->call_payload, payload, length);
	call->length = length;
	call->request_id = lines->request_id;
	call->deadline_ns = lines->now_ns + lines->limit_ns;
	if (lines->deadline_ns && lines->deadline_ns < call->deadline_ns)
		call->deadline_ns = lines->deadline_ns;
	lines->request_id++;
	lines->left--;
	lines->called++;
	wc_channel_post(client->channel, call, lines->called);
	return wc_line_await(client, ret_result);
}

/* --- the called --- */

/* Let go of the line, unless the agent has begun something with it. */
static void drop(struct wc_client *client)
{
	struct wc_client_lines *lines = client->lines;

	if (!wc_line_change(client->channel, lines->number, WC_LINE_OFF, WC_LINE_DROPPED))
		wc_line_change(client->channel, lines->number, WC_LINE_ARMED, WC_LINE_DROPPED);
	__atomic_store_n(&client->channel->line_held, 0, __ATOMIC_SEQ_CST);
	close_line(&lines->in);
}

void wc_line_take_in(struct wc_client *client)
{
	struct wc_client_lines *lines = client->lines;

	close_line(&lines->in);
	lines->in = open_mail();
	lines->number = (uint32_t)client->request->request_id;
	lines->taken = 0;
	if (lines->in) /* else the caller's first call waits for its patience, and goes by the agent */
		__atomic_store_n(&client->channel->line_held, lines->number, __ATOMIC_SEQ_CST);
	else
		drop(client);
}

/* The caller has written. False: it must not, or what it wrote is nonsense, and the line is let go of. */
static bool take_call(struct wc_client *client)
{
	struct wc_client_lines *lines = client->lines;
	const struct wc_message *call = &lines->in->call;
	struct wc_message *request = &client->channel->request;
	uint32_t length = __atomic_load_n(&call->length, __ATOMIC_RELAXED);
	struct wc_line_log *log = wc_line_log_of(client->channel);

	lines->began_ns = wc_client_clock();
	if (log->count < WC_LINE_CALLS) /* before it is RUNNING: the agent may look at once */
		log->began_ns = lines->began_ns;
	if (length > WC_CHANNEL_CAPACITY || log->count >= WC_LINE_CALLS || lines->began_ns > log->until_ns ||
	    !wc_line_change(client->channel, lines->number, WC_LINE_ARMED, WC_LINE_RUNNING)) {
		drop(client);
		return false;
	}
	lines->running = true;
	memcpy(client->channel->request_payload, lines->in->call_payload, length);
	request->kind = WC_CHANNEL_INVOKE;
	request->length = length;
	request->flags = lines->core;
	request->request_id = __atomic_load_n(&call->request_id, __ATOMIC_RELAXED);
	request->deadline_ns = __atomic_load_n(&call->deadline_ns, __ATOMIC_RELAXED);
	request->answer_max = client->large;
	request->timed = request->context = 0;
	return true;
}

int wc_line_wait(struct wc_client *client)
{
	struct wc_client_lines *lines = client->lines;
	struct wc_message *agent = &client->channel->request, *caller;
	int err = 0;

	while (lines->in && !err) {
		uint32_t sequence;

		caller = &lines->in->call;
		__atomic_store_n(&agent->waiting, 1, __ATOMIC_SEQ_CST);
		__atomic_store_n(&caller->waiting, 1, __ATOMIC_SEQ_CST);
		sequence = __atomic_load_n(&caller->sequence, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&agent->sequence, __ATOMIC_SEQ_CST) == client->sequence &&
		    sequence == lines->taken) {
			struct waitv words[2] = {
				{ client->sequence, (uintptr_t)&agent->sequence, WAITV_32, 0 },
				{ sequence, (uintptr_t)&caller->sequence, WAITV_32, 0 },
			};

			if (syscall(SYS_futex_waitv, words, 2, 0, NULL, 0) < 0 && errno != EAGAIN)
				err = -errno;
		}
		__atomic_store_n(&agent->waiting, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&caller->waiting, 0, __ATOMIC_RELAXED);
		if (__atomic_load_n(&agent->sequence, __ATOMIC_ACQUIRE) != client->sequence)
			return 1;
		sequence = __atomic_load_n(&caller->sequence, __ATOMIC_ACQUIRE);
		if (sequence != lines->taken) {
			lines->taken = sequence;
			if (take_call(client))
				return 2;
		}
		if (err && err != -EINTR) { /* an old kernel, or a filter of the function's own: without */
			drop(client);
			err = 0;
		}
	}
	return err ? err : wc_channel_wait(agent, client->sequence, NULL) ?: 1;
}

/* The agent has adopted what runs here, or is about to: wait until it has said under which sequence. */
static void become_adopted(struct wc_client *client)
{
	while (wc_channel_wait(&client->channel->request, client->sequence, NULL) == -EINTR)
		;
	client->sequence = __atomic_load_n(&client->channel->request.sequence, __ATOMIC_ACQUIRE);
	client->lines->running = false;
}

static void post_reply(struct wc_client *client, uint32_t kind, uint32_t flags, uint32_t length)
{
	struct wc_message *reply = &client->lines->in->reply;

	reply->kind = kind;
	reply->flags = flags;
	reply->length = length;
	wc_channel_post(client->channel, reply, client->lines->taken);
}

int wc_line_answer(struct wc_client *client, uint32_t kind, uint32_t flags, const void *payload, uint32_t length)
{
	struct wc_client_lines *lines = client->lines;
	struct wc_line_log *log = wc_line_log_of(client->channel);
	uint32_t count = log->count;
	uint64_t took = wc_client_clock() - lines->began_ns;

	if (length > WC_CHANNEL_CAPACITY) {
		wc_line_hand_over(client);
		return 1;
	}
	if (length)
		memcpy(lines->in->reply_payload, payload, length);
	log->ns[count] = (uint32_t)(took > INT32_MAX ? INT32_MAX : took) << 1 | (kind != WC_CHANNEL_REPLY);
	log->count = count + 1;
	if (!wc_line_change(client->channel, lines->number, WC_LINE_RUNNING, WC_LINE_ARMED)) {
		log->count = count; /* the agent counts it */
		become_adopted(client);
		return 1;
	}
	lines->running = false;
	post_reply(client, kind, flags, length);
	return 0;
}

void wc_line_hand_over(struct wc_client *client)
{
	post_reply(client, WC_CHANNEL_CALL, 0, 0);
	become_adopted(client);
}
