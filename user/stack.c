/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* stack.c - see stack.h. */
#include "user/stack.h"

#include "bpf/parse.h"
#include "user/agent_internal.h"
#include "user/clock.h"
#include "user/cluster_wire.h"
#include "user/lend.h"
#include "user/log.h"
#include "user/members.h"
#include "user/pending.h"
#include "user/scheduler.h"
#include "user/takeover.h"
#include "user/window.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_MAX 3
#define DATAGRAM_MAX (WC_HEADER_LEN + WC_PAYLOAD_MAX)
#define RECEIVE_BUFFER (8 << 20)

struct wc_stack {
	struct wc_node *node;
	int sockets[SOCKETS_MAX]; /* IPv4, IPv6, the cluster's address; -1 if there is none */
	int stop;		  /* eventfd */
	pthread_t thread;
	bool started;
	atomic_bool pausing;
	struct wc_counters counters;
	uint8_t reply[WC_REPLY_BYTES];
};

/* A received datagram and where it came from. */
struct datagram {
	struct wc_identity id; /* request_id once the header is known */
	struct in6_addr local;
	uint32_t len;
	uint8_t *data;
};

/* --- sending --- */

static bool is_mapped(const struct in6_addr *address)
{
	return IN6_IS_ADDR_V4MAPPED(address);
}

int wc_stack_send(struct wc_stack *stack, const struct wc_identity *to, const struct in6_addr *local,
		  const struct wc_header *header, const void *payload, size_t payload_len)
{
	struct in6_addr client;
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = to->client_port };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = to->client_port };
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] __attribute__((aligned(8))) = { 0 };
	struct iovec parts[2] = {
		{ .iov_base = (void *)(uintptr_t)header, .iov_len = sizeof(*header) },
		{ .iov_base = (void *)(uintptr_t)payload, .iov_len = payload_len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2, .msg_control = control };
	struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;
	bool v4;

	memcpy(&client, to->client, sizeof(client));
	v4 = is_mapped(&client);
	/* Answer from the address that was asked: a client with a connected socket sees nothing else. */
	if (v4) {
		struct in_pktinfo info = { .ipi_spec_dst.s_addr = local->s6_addr32[3] };

		to4.sin_addr.s_addr = client.s6_addr32[3];
		message.msg_name = &to4;
		message.msg_namelen = sizeof(to4);
		cmsg->cmsg_level = IPPROTO_IP;
		cmsg->cmsg_type = IP_PKTINFO;
		cmsg->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
		message.msg_controllen = CMSG_SPACE(sizeof(info));
	} else {
		struct in6_pktinfo info = { .ipi6_addr = *local };

		to6.sin6_addr = client;
		message.msg_name = &to6;
		message.msg_namelen = sizeof(to6);
		cmsg->cmsg_level = IPPROTO_IPV6;
		cmsg->cmsg_type = IPV6_PKTINFO;
		cmsg->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
		message.msg_controllen = CMSG_SPACE(sizeof(info));
	}
	if (stack->sockets[v4 ? 0 : 1] < 0)
		return -EAFNOSUPPORT;
	return sendmsg(stack->sockets[v4 ? 0 : 1], &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void wc_stack_answer(struct wc_node *node, const struct wc_job *job, const struct wc_answer *answer,
		     const void *payload)
{
	struct wc_header header = {
		.magic = htons(WC_MAGIC),
		.request_id = htobe64(job->id.request_id),
		.function_id = htonl(wc_job_asked_for(job)),
	};

	wc_answer_header(&header, answer);
	wc_replies_keep(node->replies, &job->print, &header, sizeof(header), payload, answer->payload_len);
	if (wc_stack_send(node->stack, &job->id, &job->local, &header, payload, answer->payload_len))
		wc_debug("an answer could not be sent");
}

/* An answer of the node itself, header only, to the datagram that begins with `request`. */
static void send_answer(struct wc_stack *stack, const struct datagram *datagram, const struct wc_header *request,
			const struct wc_answer *answer)
{
	struct wc_header header = *request;

	wc_answer_header(&header, answer);
	if (wc_stack_send(stack, &datagram->id, &datagram->local, &header, NULL, 0))
		wc_debug("an answer could not be sent");
}

/* With the reply that was kept, if it was. Still running, or too old: nothing, never a second run. */
static void resend(struct wc_stack *stack, const struct datagram *datagram, const struct wc_fingerprint *print)
{
	size_t len = wc_replies_find(stack->node->replies, print, stack->reply);
	struct wc_header header;

	if (len < sizeof(header))
		return;
	memcpy(&header, stack->reply, sizeof(header));
	header.flags |= htons(WC_FLAG_CACHED);
	if (wc_stack_send(stack, &datagram->id, &datagram->local, &header, stack->reply + sizeof(header),
			  len - sizeof(header)))
		wc_debug("a kept reply could not be sent again");
}

/* --- deciding --- */

static const struct {
	enum wc_outcome outcome;
	uint16_t code;
} error_table[] = {
	{ WC_OUTCOME_error_version, WC_CODE_VERSION },	   { WC_OUTCOME_error_malformed, WC_CODE_MALFORMED },
	{ WC_OUTCOME_error_too_large, WC_CODE_TOO_LARGE }, { WC_OUTCOME_error_unknown, WC_CODE_UNKNOWN_FUNCTION },
	{ WC_OUTCOME_error_node_down, WC_CODE_NODE_DOWN },
};

static struct wc_job *new_job(const struct datagram *datagram, const struct wc_header *header)
{
	uint32_t payload_len = datagram->len - WC_HEADER_LEN;
	struct wc_job *job = malloc(sizeof(*job) + payload_len);

	if (!job)
		return NULL;
	memset(job, 0, sizeof(*job));
	job->id = datagram->id;
	job->local = datagram->local;
	job->function_id = ntohl(header->function_id);
	job->deadline_us = ntohl(header->deadline_us);
	job->arrival = wc_now();
	job->timed = header->flags & htons(WC_FLAG_TIMED);
	job->refers = header->flags & htons(WC_FLAG_REFERENCE);
	job->has_context = header->flags & htons(WC_FLAG_CONTEXT);
	job->payload_len = payload_len;
	memcpy(job + 1, datagram->data + WC_HEADER_LEN, payload_len);
	job->payload = (uint8_t *)(job + 1);
	return job;
}

/*
 * The id is in the window: it waits, runs, or has run; or it was announced to the pending queue, but its packet was lost on the
 * way there. Then it may be accepted now. Should it come after all, wc_seen_begin() lets one of the two run.
 */
static bool was_lost(struct wc_node *node, const struct wc_fingerprint *print, uint32_t entry)
{
	if (wc_seen_find(&node->tables, print) & WC_SEEN_STARTED || wc_pending_holds(node, print))
		return false;
	return wc_seen_forget(&node->tables, print, entry); /* an agent may have begun it since */
}

/* Decide about a sound INVOKE and act on it. Returns the outcome. */
static enum wc_outcome dispatch(struct wc_stack *stack, const struct datagram *datagram, const struct wc_header *header)
{
	struct wc_node *node = stack->node;
	struct wc_config *config = node->tables.wc_config;
	struct wc_decision decision = {
		.request = { .id = datagram->id, .function_id = ntohl(header->function_id) },
		.outcome = WC_OUTCOME_error_node_down,
		.seen = WC_NONE,
	};
	const struct wc_answer lost = { .type = WC_TYPE_ERROR, .code = WC_CODE_NODE_LOST, .core = WC_CORE_ANY };
	struct wc_job *job = new_job(datagram, header);
	struct wc_fingerprint print = wc_fingerprint(&datagram->id, config->seen_key);

	if (!job)
		return WC_OUTCOME_drop_contended; /* no memory: as if it had not arrived */
	decision.request.cpu = (uint32_t)sched_getcpu();
	wc_members_retry(node, &print, job->function_id);
	if (wc_seen_find(&node->tables, &print) & WC_SEEN_STARTED)
		decision.outcome = WC_OUTCOME_pass_retransmit; /* whatever has become of the function or the node */
	else if (WC_READ(config->up))
		wc_decide(&node->tables, config, &decision);
	if (decision.outcome == WC_OUTCOME_pass_retransmit && decision.seen != WC_NONE &&
	    was_lost(node, &print, decision.seen))
		wc_decide(&node->tables, config, &decision);
	job->seen = decision.seen;
	job->print = print;
	job->how = (uint16_t)(decision.how | WC_HOW_STAMPED);
	switch (decision.outcome) {
	case WC_OUTCOME_to_core:
		wc_count_facts(&stack->counters, &decision);
		wc_agent_hand_over(node, decision.core, job);
		break;
	case WC_OUTCOME_to_pending:
		wc_count_facts(&stack->counters, &decision);
		wc_pending_push(node, job);
		wc_scheduler_wake(node);
		break;
	case WC_OUTCOME_pass_retransmit:
		if (wc_members_again(node, &print, NULL, 0) == WC_AGAIN_LOST)
			wc_stack_answer(node, job, &lost, NULL);
		else
			resend(stack, datagram, &print);
		free(job);
		break;
	default:
		free(job);
	}
	return (enum wc_outcome)decision.outcome;
}

/* It is lost, and its function may run again: as if it had never come, so that the next copy of it is decided on. */
static bool forgotten(struct wc_node *node, const struct wc_fingerprint *print, uint32_t function)
{
	if (!wc_members_retry(node, print, function))
		return false;
	for (uint32_t way = 0; way < WC_SEEN_WAYS; way++) /* at the others this changes nothing */
		wc_seen_forget(&node->tables, print, print->set * WC_SEEN_WAYS + way);
	return true;
}

/* An ORDER that the kernel has passed on, of what was ordered before. Whoever else sends one has not the key. */
static enum wc_outcome ordered_again(struct wc_stack *stack, const struct datagram *datagram)
{
	struct wc_node *node = stack->node;
	struct datagram asked = { .len = 0 };
	const struct wc_answer lost = { .type = WC_TYPE_ERROR, .code = WC_CODE_NODE_LOST, .core = WC_CORE_ANY };
	struct wc_frame frame;
	uint32_t via, function;
	struct wc_job job;

	if ((!node->membership && !node->members) || datagram->len > DATAGRAM_MAX ||
	    !wc_cluster_order_genuine(node->tables.wc_cluster, datagram->data, datagram->len, &via, &function))
		return WC_OUTCOME_drop_cluster;
	frame = (struct wc_frame){ .data = datagram->data + WC_HEADER_LEN, .len = datagram->len - WC_HEADER_LEN };
	memset(&job, 0, sizeof(job));
	if (!wc_job_from_frame(node, &frame, &job))
		return WC_OUTCOME_drop_cluster;
	asked.id = job.id;
	asked.local = job.local;
	/* A sibling's: perhaps a node of ours has it. */
	if (via) {
		function = wc_order_function(&node->tables, via, job.theirs);
		if (wc_lend_gives_back(node, via, &job.print, function))
			return WC_OUTCOME_pass_retransmit;
		if (forgotten(node, &job.print, function))
			return WC_OUTCOME_pass_retransmit;
		if (wc_members_again(node, &job.print, function ? &frame : NULL, function) == WC_AGAIN_LOST) {
			wc_stack_answer(node, &job, &lost, NULL);
			return WC_OUTCOME_pass_retransmit;
		}
	}
	resend(stack, &asked, &job.print);
	return WC_OUTCOME_pass_retransmit;
}

/* A STARTED that asks: who sent it begins the invocation when this host knows of it. */
static enum wc_outcome asked_whether_known(struct wc_stack *stack, const struct datagram *datagram)
{
	const struct wc_cluster *cluster = stack->node->tables.wc_cluster;
	const uint64_t key[2] = { cluster->key[0], cluster->key[1] };
	struct wc_cluster_started answer;
	struct wc_fingerprint print;
	uint64_t word;

	if (!stack->node->membership ||
	    !wc_cluster_started_genuine(key, datagram->data, datagram->len, WC_STARTED_ASKS, &print))
		return WC_OUTCOME_drop_forged;
	memcpy(&answer, datagram->data, sizeof(answer));
	if (!wc_order_is_for(cluster, &answer.header))
		return WC_OUTCOME_drop_cluster;
	word = WC_WINDOW_WORD(print.set, print.value);
	wc_window_enter(&stack->node->tables, &word, 1, WC_MEMBER_BEFORE, 0);
	/* It may have begun to lead meanwhile, and to run the same: then this comes too late. */
	if (!wc_order_is_for(cluster, &answer.header))
		return WC_OUTCOME_drop_cluster;
	wc_cluster_started(&answer,
			   &(struct wc_cluster_address){ .key = { key[0], key[1] },
							 .term = be64toh(answer.header.term),
							 .epoch = ntohl(answer.header.epoch),
							 .member = ntohs(answer.header.member) },
			   WC_STARTED_ANSWERS, &print);
	if (wc_stack_send(stack, &datagram->id, &datagram->local,
			  (const struct wc_header *)(const void *)&answer.header, &answer.started,
			  sizeof(answer.started)))
		wc_debug("an answer to the scheduler that leads could not be sent");
	return WC_OUTCOME_started;
}

static enum wc_outcome judge(struct wc_stack *stack, struct datagram *datagram, struct wc_header **ret_header)
{
	struct wc_cursor cursor = { .pos = datagram->data, .end = datagram->data + datagram->len };
	bool source_ok = is_mapped((const struct in6_addr *)datagram->id.client) ?
				 wc_source_ok4(datagram->id.client[3], datagram->id.client_port) :
				 wc_source_ok6(datagram->id.client, datagram->id.client_port);

	switch (wc_parse_header(&cursor, datagram->len, ret_header)) {
	case WC_CHECK_FOREIGN:
		return WC_OUTCOME_pass_foreign;
	case WC_CHECK_SHORT:
		return WC_OUTCOME_drop_short;
	case WC_CHECK_ANSWER:
		return WC_OUTCOME_drop_answer;
	case WC_CHECK_CLUSTER:
		if ((*ret_header)->version != WC_VERSION)
			return WC_OUTCOME_drop_version;
		if ((*ret_header)->type == WC_TYPE_ORDER)
			return ordered_again(stack, datagram);
		if ((*ret_header)->type == WC_TYPE_STARTED)
			return asked_whether_known(stack, datagram);
		/* The kernel has read it, and passed it on because something waits. Whoever else sends one makes us look in vain. */
		if (!stack->node->members)
			return WC_OUTCOME_drop_cluster;
		wc_pending_changed(stack->node);
		wc_members_serve(stack->node);
		return WC_OUTCOME_core_free;
	case WC_CHECK_VERSION:
		return source_ok ? WC_OUTCOME_error_version : WC_OUTCOME_drop_source;
	case WC_CHECK_TOO_LARGE:
		return source_ok ? WC_OUTCOME_error_too_large : WC_OUTCOME_drop_source;
	case WC_CHECK_MALFORMED:
	case WC_CHECK_TRUNCATED:
		return source_ok ? WC_OUTCOME_error_malformed : WC_OUTCOME_drop_source;
	case WC_CHECK_INVOKE:
		break;
	}
	if (!source_ok)
		return WC_OUTCOME_drop_source;
	datagram->id.request_id = be64toh((*ret_header)->request_id);
	return dispatch(stack, datagram, *ret_header);
}

static void serve(struct wc_stack *stack, struct datagram *datagram)
{
	struct wc_answer answer = { .type = WC_TYPE_ERROR, .core = WC_CORE_ANY };
	struct wc_header *header = NULL;
	enum wc_outcome outcome = judge(stack, datagram, &header);

	wc_count_outcome(&stack->counters, outcome);
	if (!header)
		return; /* nothing that could be answered */
	if (outcome == WC_OUTCOME_busy_pending || outcome == WC_OUTCOME_busy_function) {
		answer.type = WC_TYPE_BUSY;
		answer.code = outcome == WC_OUTCOME_busy_pending ? WC_CODE_PENDING_FULL : WC_CODE_FUNCTION_LIMIT;
		answer.tail[0] = stack->node->tables.wc_config->retry_after_ns;
		send_answer(stack, datagram, header, &answer);
		return;
	}
	for (size_t i = 0; i < sizeof(error_table) / sizeof(error_table[0]); i++) {
		if (error_table[i].outcome != outcome)
			continue;
		answer.code = error_table[i].code;
		send_answer(stack, datagram, header, &answer);
	}
}

/* --- receiving --- */

static bool receive(int fd, struct datagram *datagram)
{
	struct sockaddr_storage from;
	char control[256] __attribute__((aligned(8)));
	struct iovec part = { .iov_base = datagram->data, .iov_len = DATAGRAM_MAX };
	struct msghdr message = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return false;
	memset(&datagram->id, 0, sizeof(datagram->id));
	memset(&datagram->local, 0, sizeof(datagram->local));
	/* A datagram over the limit has its true length, so that the header is judged as too large; none of it is kept. */
	datagram->len = (uint32_t)n;
	if (from.ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (void *)&from;

		datagram->id.client[2] = datagram->local.s6_addr32[2] = htonl(0xffff);
		datagram->id.client[3] = v4->sin_addr.s_addr;
		datagram->id.client_port = v4->sin_port;
	} else {
		const struct sockaddr_in6 *v6 = (void *)&from;

		memcpy(datagram->id.client, &v6->sin6_addr, 16);
		datagram->id.client_port = v6->sin6_port;
	}
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message); cmsg; cmsg = CMSG_NXTHDR(&message, cmsg)) {
		if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
			datagram->local.s6_addr32[3] = info.ipi_addr.s_addr;
		} else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
			datagram->local = info.ipi6_addr;
		}
	}
	return true;
}

static void *stack_main(void *argument)
{
	struct wc_stack *stack = argument;
	struct datagram datagram = { .data = aligned_alloc(64, DATAGRAM_MAX + 64 - DATAGRAM_MAX % 64) };
	struct pollfd fds[SOCKETS_MAX + 1];

	pthread_setname_np(pthread_self(), "stack");
	wc_sched_enrol_self(stack->node->sched, WC_NONE);
	for (int i = 0; i < SOCKETS_MAX; i++)
		fds[i] = (struct pollfd){ .fd = stack->sockets[i], .events = POLLIN };
	fds[SOCKETS_MAX] = (struct pollfd){ .fd = stack->stop, .events = POLLIN };
	while (datagram.data) {
		if (poll(fds, SOCKETS_MAX + 1, -1) < 0 && errno != EINTR)
			break;
		if (fds[SOCKETS_MAX].revents)
			break;
		for (int i = 0; i < SOCKETS_MAX; i++)
			while (fds[i].revents && !atomic_load(&stack->pausing) && receive(stack->sockets[i], &datagram))
				serve(stack, &datagram);
	}
	free(datagram.data);
	return NULL;
}

/* --- opening --- */

/*
 * In a cluster what came by the scheduler is answered from the scheduler's address, which is not this host's. Also of a socket that another daemon has
 * handed over.
 */
static int answer_for_others(int fd, bool is4, struct wc_fault *fault)
{
	int one = 1;

	if (!setsockopt(fd, is4 ? IPPROTO_IP : IPPROTO_IPV6, is4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &one,
			sizeof(one)))
		return 0;
	return wc_fail(fault, errno, "cannot send from the cluster's address: %s; it needs CAP_NET_ADMIN",
		       strerror(errno));
}

static int open_socket(const char *address, uint16_t port, bool shared, struct wc_fault *fault)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	bool is4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
	int one = 1, size = RECEIVE_BUFFER, fd, error;

	if (!is4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
		return wc_fail(fault, EINVAL, "%s is not an IPv4 or IPv6 address", address);
	fd = socket(is4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot open a UDP socket: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (shared && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
		       setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one))))
		errno = 0; /* bind() says it */
	if (is4)
		error = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) ||
			bind(fd, (struct sockaddr *)&v4, sizeof(v4));
	else
		error = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)) ||
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) ||
			bind(fd, (struct sockaddr *)&v6, sizeof(v6));
	if (error) {
		error = wc_fail(fault, errno, "cannot bind %s port %u: %s; choose another --port", address, port,
				strerror(errno));
		close(fd);
		return error;
	}
	return fd;
}

int wc_stack_start(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_stack *stack = calloc(1, sizeof(*stack));
	const char *addresses[SOCKETS_MAX] = { node->address4, node->address6, node->options.cluster_address };
	int error;

	if (!stack)
		return wc_fail(fault, ENOMEM, "out of memory");
	node->stack = stack;
	stack->node = node;
	for (int i = 0; i < SOCKETS_MAX; i++)
		stack->sockets[i] = -1;
	stack->stop = eventfd(0, EFD_CLOEXEC);
	for (int i = 0; i < SOCKETS_MAX; i++) {
		if (!addresses[i][0])
			continue;
		/* The cluster's may be nobody's at the moment; another daemon does not hand it over. */
		stack->sockets[i] = i == 2	   ? open_socket(addresses[i], node->options.port, true, fault) :
				    node->takeover ? node->takeover->sockets[i] :
						     open_socket(addresses[i], node->options.port, false, fault);
		if (stack->sockets[i] < 0)
			return stack->sockets[i];
		error = node->options.cluster || *node->options.join ?
				answer_for_others(stack->sockets[i], i != 1, fault) :
				0;
		if (error)
			return error;
	}
	return node->takeover ? 0 : wc_stack_resume(node, fault);
}

int wc_stack_resume(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_stack *stack = node->stack;
	uint64_t count;
	int error;

	if (stack->started)
		return 0;
	if (atomic_exchange(&stack->pausing, false) && read(stack->stop, &count, sizeof(count)) < 0)
		errno = 0;
	error = pthread_create(&stack->thread, NULL, stack_main, stack);
	if (error)
		return wc_fail(fault, error, "cannot start the stack thread: %s", strerror(error));
	stack->started = true;
	return 0;
}

void wc_stack_pause(struct wc_node *node)
{
	struct wc_stack *stack = node->stack;
	uint64_t one = 1;

	if (!stack->started)
		return;
	atomic_store(&stack->pausing, true);
	if (write(stack->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(stack->thread, NULL);
	stack->started = false;
}

int wc_stack_sockets(const struct wc_node *node, int ret_fds[2])
{
	int fds[2];

	for (int i = 0; i < 2; i++) {
		fds[i] = node->stack->sockets[i] < 0 ? -1 : fcntl(node->stack->sockets[i], F_DUPFD_CLOEXEC, 3);
		if (fds[i] < 0 && node->stack->sockets[i] >= 0) {
			int error = -errno;

			if (i && fds[0] >= 0)
				close(fds[0]);
			return error;
		}
	}
	memcpy(ret_fds, fds, sizeof(fds));
	return 0;
}

void wc_stack_stop(struct wc_node *node)
{
	struct wc_stack *stack = node->stack;
	uint64_t one = 1;

	if (!stack)
		return;
	if (stack->started && write(stack->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(stack->thread, NULL);
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (stack->sockets[i] >= 0)
			close(stack->sockets[i]);
	close(stack->stop);
	free(stack);
	node->stack = NULL;
}

void wc_stack_counters(const struct wc_stack *stack, struct wc_counters *ret_counters)
{
	*ret_counters = stack->counters;
}
