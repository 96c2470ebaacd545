// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * invoker.c - see invoker.h.
 *
 * An invocation is found by its request id in a table of twice as many places as may be in flight: ids count up, one whose place is
 * taken is left out. When it is due next, for a retransmission or to give up, is a heap of times; an answer usually comes
 * long before, so entering and leaving at the end is what costs, and both are short.
 *
 * A refused port (ICMP) is an error of the socket, not of a datagram. The error queue has the datagram that was refused,
 * so it is known whose transmission that was: one whose every transmission was refused has not been run.
 */
#include "user/gateway/invoker_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 65536u
#define RECEIVE_BUFFER_BYTES (4 << 20)
#define RETRANSMIT_DOUBLINGS_MAX 3
#define SWEEP_NS (100 * WC_MS)

struct wc_invocation *wc_invoker_at(struct wc_invoker *invoker, __u64 id)
{
	struct wc_invocation *invocation = invoker->table[id & invoker->table_mask];

	return invocation && invocation->id == id ? invocation : NULL;
}

/* --- the heap of times --- */

static void heap_put(struct wc_invoker *invoker, __u32 at, struct wc_invocation *invocation)
{
	invoker->heap[at] = invocation;
	invocation->heap_at = at;
}

static void heap_move(struct wc_invoker *invoker, struct wc_invocation *invocation)
{
	__u32 at = invocation->heap_at, other, count = invoker->stats.in_flight;

	while (at && invocation->due_ns < invoker->heap[(at - 1) / 2]->due_ns) {
		heap_put(invoker, at, invoker->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	while ((other = 2 * at + 1) < count) {
		if (other + 1 < count && invoker->heap[other + 1]->due_ns < invoker->heap[other]->due_ns)
			other++;
		if (invoker->heap[other]->due_ns >= invocation->due_ns)
			break;
		heap_put(invoker, at, invoker->heap[other]);
		at = other;
	}
	heap_put(invoker, at, invocation);
}

void wc_invocation_set_due(struct wc_invocation *invocation)
{
	__u64 due = invocation->resend_ns < invocation->end_ns ? invocation->resend_ns : invocation->end_ns;

	if (invocation->waiting && invocation->patience_ns < due)
		due = invocation->patience_ns;
	invocation->due_ns = due;
	heap_move(invocation->invoker, invocation);
}

static void forget(struct wc_invocation *invocation)
{
	struct wc_invoker *invoker = invocation->invoker;
	struct wc_invocation *last = invoker->heap[--invoker->stats.in_flight];

	invoker->table[invocation->id & invoker->table_mask] = NULL;
	invoker->heap[invoker->stats.in_flight] = NULL;
	if (last != invocation) {
		heap_put(invoker, invocation->heap_at, last);
		heap_move(invoker, last);
	}
	/* Of what has begun the node has let go; it may not have. */
	if (invoker->session && invocation->reference.where != wc_htonl(WC_WHERE_HERE))
		wc_payload_client_drop(invoker->session, invocation->id);
	wc_payload_result_end(&invocation->large);
	free(invocation);
}

/* Nobody will take its reply. */
static void abandon(struct wc_invocation *invocation)
{
	struct wc_invoker *invoker = invocation->invoker;

	if (invocation->refers && invoker->sweep_until_ns < invocation->end_ns)
		invoker->sweep_until_ns = invocation->end_ns;
}

void wc_invocation_finish(struct wc_invocation *invocation, const struct wc_invoked *invoked)
{
	struct wc_payload_result large = invocation->large; /* the answer may be in it */
	wc_invoked_cb done = invocation->done;
	void *context = invocation->context;

	memset(&invocation->large, 0, sizeof(invocation->large));
	forget(invocation);
	done(context, invoked);
	wc_payload_result_end(&large);
}

void wc_invocation_finish_how(struct wc_invocation *invocation, enum wc_invoked_how how)
{
	struct wc_invoked invoked = { .how = how, .request_id = invocation->id };

	abandon(invocation);
	wc_invocation_finish(invocation, &invoked);
}

/* --- beginning and ending --- */

int wc_invoker_start(struct wc_invoker *invoker, const struct wc_invoker_request *request, wc_invoked_cb done,
		     void *context, struct wc_invocation **ret_invocation)
{
	struct wc_invocation *invocation;
	__u64 now;
	int ret;

	if (!request->function_id || request->timeout_ms < request->patience_ms)
		return -EINVAL;
	if (request->payload_len > (invoker->options.payload_path ? WC_PAYLOAD_LARGE : WC_PAYLOAD_MAX))
		return -EMSGSIZE;
	if (invoker->fd < 0)
		return -ENOTCONN;
	if (invoker->stats.in_flight >= invoker->options.in_flight_max)
		return -EAGAIN;
	invocation = calloc(1, sizeof(*invocation));
	if (!invocation)
		return -ENOMEM;
	while (invoker->table[invoker->next_id & invoker->table_mask])
		invoker->next_id++;
	now = wc_now();
	invocation->invoker = invoker;
	invocation->done = done;
	invocation->context = context;
	invocation->id = invoker->next_id++;
	invocation->request.function_id = request->function_id;
	invocation->request.payload = request->payload;
	invocation->request.payload_len = request->payload_len;
	invocation->context_part =
		(struct iovec){ .iov_base = (void *)(uintptr_t)request->context, .iov_len = request->context_len };
	invocation->patience_ns = now + request->patience_ms * WC_MS;
	invocation->end_ns = now + request->timeout_ms * WC_MS;
	ret = wc_invocation_hand_over(invocation, now);
	if (ret && ret != -EINPROGRESS) {
		free(invocation);
		return ret;
	}
	invocation->stale = ret;
	invoker->table[invocation->id & invoker->table_mask] = invocation;
	heap_put(invoker, invoker->stats.in_flight++, invocation);
	wc_invocation_attempt(invocation, now);
	invoker->stats.started++;
	*ret_invocation = invocation;
	return 0;
}

void wc_invoker_cancel(struct wc_invocation *invocation)
{
	abandon(invocation);
	forget(invocation);
}

/* --- receiving --- */

static struct wc_invocation *find(struct wc_invoker *invoker, __u64 id, __u32 function_id)
{
	struct wc_invocation *invocation = wc_invoker_at(invoker, id);

	return invocation && invocation->request.function_id == function_id ? invocation : NULL;
}

/* Nobody serves there now, and nothing was begun: as BUSY, with a longer breath. */
static bool is_down(const struct wc_client_result *answer)
{
	return answer->code == WC_CODE_NODE_DOWN || answer->code == WC_CODE_SHUTDOWN;
}

static void take(struct wc_invoker *invoker, const struct wc_client_result *answer, __u64 now)
{
	struct wc_invocation *invocation = find(invoker, answer->request_id, answer->function_id);
	struct wc_invoked invoked = { .how = WC_INVOKED_ANSWER, .request_id = answer->request_id, .answer = *answer };
	bool coming = false;

	if (!invocation || invocation->answered) { /* late, a duplicate, or nobody's */
		invoker->stats.strays++;
		return;
	}
	/* To an earlier copy: of this one nothing was sent yet. */
	if (invocation->coming &&
	    (answer->code == WC_CODE_NO_PAYLOAD || answer->type == WC_TYPE_BUSY || is_down(answer))) {
		invoker->stats.strays++;
		return;
	}
	/* To a copy that named the session before; the one with this session may run. */
	if (answer->code == WC_CODE_NO_PAYLOAD && invocation->forgotten) {
		invocation->forgotten--;
		invoker->stats.strays++;
		return;
	}
	/* Not run: the session was with a daemon that is gone. Once more, if its word is to be had. */
	if (answer->code == WC_CODE_NO_PAYLOAD && invocation->refers && !invocation->late) {
		invoker->stats.busy++;
		wc_invoker_take_results(invoker,
					NULL); /* which sees whether it is over: others may run under one that is not */
		invocation->forgotten = invocation->sent ? invocation->sent - 1 : 0;
		invocation->busy = *answer;
		invocation->busy.payload = NULL;
		invocation->busy.payload_len = 0;
		invocation->stale = true;
		wc_invocation_refused(invocation, 0, WAIT_MIN_NS, now);
		return;
	}
	if (answer->flags & WC_FLAG_REFERENCE && !wc_invocation_find_large(invocation, &invoked.answer, &coming)) {
		if (coming) {
			invocation->resend_ns = invocation->end_ns;
			wc_invocation_set_due(invocation);
			return;
		}
		invoked = (struct wc_invoked){ .how = WC_INVOKED_LOST, .request_id = answer->request_id };
	}
	if (answer->type != WC_TYPE_BUSY && !is_down(answer)) {
		invoker->stats.answered++;
		wc_invocation_finish(invocation, &invoked);
		return;
	}
	invoker->stats.busy++;
	/*
	 * The daemon went while this may have been running under an earlier copy: its successor will say (RESTARTED), to a
	 * later one.
	 */
	if (is_down(answer) && invocation->sent > 1) {
		if (invocation->late) {
			invoker->stats.timeouts++;
			wc_invocation_finish_how(invocation, WC_INVOKED_TIMEOUT);
		}
		return;
	}
	invocation->busy = *answer;
	invocation->busy.payload = NULL;
	invocation->busy.payload_len = 0;
	wc_invocation_refused(invocation, answer->retry_after_ns, is_down(answer) ? WAIT_DOWN_NS : WAIT_MIN_NS, now);
	if (invocation->late || now >= invocation->patience_ns)
		wc_invocation_give_up(invocation);
}

/* Which datagrams ICMP gave back. */
static void read_errors(struct wc_invoker *invoker, __u64 now)
{
	char control[512];
	struct wc_header header;
	struct iovec part = { .iov_base = &header, .iov_len = sizeof(header) };

	for (int i = 0; i < READ_MAX; i++) {
		struct msghdr message = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
		};
		ssize_t n = recvmsg(invoker->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
		struct wc_invocation *invocation;

		if (n < 0)
			return;
		/* A router cuts off what it gives back; the ids are in the first 20 bytes. */
		if (n < (ssize_t)offsetof(struct wc_header, payload_len))
			continue;
		invocation = find(invoker, be64toh(header.request_id), be32toh(header.function_id));
		/* With an earlier copy that was not refused, the node may have it and come back. */
		if (!invocation || invocation->waiting || invocation->coming || invocation->answered ||
		    ++invocation->sent_refused < invocation->sent)
			continue;
		invocation->busy.type = 0;
		wc_invocation_refused(invocation, 0, WAIT_DOWN_NS, now);
	}
}

void wc_invoker_readable(struct wc_invoker *invoker)
{
	struct wc_client_result answer;
	__u64 now = wc_now();
	ssize_t n;

	for (int i = 0; i < READ_MAX && invoker->fd >= 0; i++) {
		n = recv(invoker->fd, invoker->datagram, sizeof(invoker->datagram) - 1, MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0) {
			if (errno == EAGAIN)
				return;
			read_errors(invoker, now);
			continue;
		}
		if ((size_t)n >= sizeof(invoker->datagram) || wc_client_parse(invoker->datagram, (size_t)n, &answer)) {
			invoker->stats.strays++;
			continue;
		}
		invoker->datagram[n] = 0;
		take(invoker, &answer, now);
		if (!invoker->stats.in_flight) /* nothing else is expected: spares a system call to hear so */
			return;
	}
}

/* --- time --- */

static void due(struct wc_invocation *invocation, __u64 now)
{
	if (invocation->lost) {
		wc_invocation_finish_how(invocation, WC_INVOKED_LOST);
		return;
	}
	if (invocation->waiting && (now >= invocation->patience_ns || now >= invocation->end_ns)) {
		wc_invocation_give_up(invocation);
		return;
	}
	if (invocation->coming && now >= invocation->end_ns) {
		invocation->busy.type = 0;
		wc_invocation_give_up(invocation);
		return;
	}
	if (now >= invocation->end_ns) {
		invocation->invoker->stats.timeouts++;
		wc_invocation_finish_how(invocation, WC_INVOKED_TIMEOUT);
		return;
	}
	if (now < invocation->resend_ns) {
		wc_invocation_set_due(invocation);
		return;
	}
	if (invocation->waiting) {
		/* The node has forgotten its id: what counts begins anew. */
		invocation->waiting = false;
		invocation->doublings = 0;
		invocation->sent = invocation->sent_refused = 0;
	} else {
		invocation->invoker->stats.retransmits++;
		invocation->doublings += invocation->doublings < RETRANSMIT_DOUBLINGS_MAX;
	}
	invocation->late = now >= invocation->patience_ns;
	wc_invocation_attempt(invocation, now);
}

/* One whose payload or reply was on its way over a session that is over, or NULL. */
static struct wc_invocation *find_torn(const struct wc_invoker *invoker)
{
	for (unsigned i = 0; i < invoker->stats.in_flight; i++) {
		struct wc_invocation *each = invoker->heap[i];
		/* The analyzer does not see that who is freed has left the heap before. */
		bool stale = each->coming && each->stale; /* NOLINT(clang-analyzer-unix.Malloc) */

		if (stale || (each->answered && each->lost))
			return each;
	}
	return NULL;
}

static void mend(struct wc_invoker *invoker, __u64 now)
{
	struct wc_invocation *torn;

	invoker->torn = false;
	/* From the beginning each time: to end one moves others in the heap. */
	while ((torn = find_torn(invoker))) {
		if (torn->coming) {
			torn->coming = false;
			torn->busy.type = 0;
			wc_invocation_refused(torn, 0, WAIT_DOWN_NS, now);
		} else {
			wc_invocation_finish_how(torn, WC_INVOKED_LOST);
		}
	}
}

void wc_invoker_session_readable(struct wc_invoker *invoker)
{
	wc_invoker_take_results(invoker, NULL);
}

void wc_invoker_tick(struct wc_invoker *invoker)
{
	__u64 now = wc_now();
	unsigned count;

	if (invoker->torn)
		mend(invoker, now);
	count = invoker->stats.in_flight; /* each at most once or so: never for ever */
	if (now < invoker->sweep_until_ns && now >= invoker->sweep_ns) {
		invoker->sweep_ns = now + SWEEP_NS;
		wc_invoker_take_results(invoker, NULL);
	}
	/* The analyzer does not see that who is freed has left the heap before. */
	while (count-- && invoker->heap[0] && invoker->heap[0]->due_ns <= now) /* NOLINT(clang-analyzer-unix.Malloc) */
		due(invoker->heap[0], now);
}

__u64 wc_invoker_next_ns(const struct wc_invoker *invoker)
{
	return invoker->stats.in_flight ? invoker->heap[0]->due_ns : UINT64_MAX;
}

void wc_invoker_stats(const struct wc_invoker *invoker, struct wc_invoker_stats *ret_stats)
{
	*ret_stats = invoker->stats;
}

/* --- sockets --- */

static int open_socket(int family)
{
	int bytes = RECEIVE_BUFFER_BYTES, one = 1, fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* FORCE needs CAP_NET_ADMIN, which the gateway still has when it opens this. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_RECVERR : IPV6_RECVERR,
		       &one, sizeof(one))) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

int wc_invoker_new(const struct wc_invoker_options *options, struct wc_invoker **ret_invoker)
{
	struct wc_invoker *invoker;
	__u32 size = 2;
	int ret = -ENOMEM;

	if (!options->in_flight_max || options->in_flight_max > IN_FLIGHT_MAX)
		return -EINVAL;
	invoker = calloc(1, sizeof(*invoker));
	if (!invoker)
		return -ENOMEM;
	invoker->options = *options;
	invoker->options.retransmit_ms = options->retransmit_ms ?: WC_CLIENT_RETRANSMIT_MS;
	invoker->fd = invoker->fds[0] = invoker->fds[1] = -1;
	invoker->epoll = epoll_create1(EPOLL_CLOEXEC);
	while (size < 2 * options->in_flight_max)
		size *= 2;
	invoker->table_mask = size - 1;
	invoker->table = calloc(size, sizeof(struct wc_invocation *));
	invoker->heap = calloc(options->in_flight_max, sizeof(struct wc_invocation *));
	if (!invoker->table || !invoker->heap || invoker->epoll < 0)
		goto err_free;
	ret = -EIO;
	if (getrandom(&invoker->next_id, sizeof(invoker->next_id), 0) != sizeof(invoker->next_id))
		goto err_free;
	ret = invoker->fds[0] = open_socket(AF_INET);
	if (ret < 0)
		goto err_free;
	invoker->fds[1] = open_socket(AF_INET6);
	if (invoker->fds[1] < 0)
		invoker->fds[1] = -1;
	*ret_invoker = invoker;
	return 0;

err_free:
	wc_invoker_free(invoker);
	return ret;
}

void wc_invoker_free(struct wc_invoker *invoker)
{
	if (!invoker)
		return;
	wc_payload_client_free(invoker->session); /* nobody is told of anything any more */
	for (unsigned i = 0; invoker->heap && i < invoker->stats.in_flight; i++) {
		wc_payload_result_end(&invoker->heap[i]->large);
		free(invoker->heap[i]);
	}
	for (int i = 0; i < 2; i++)
		if (invoker->fds[i] >= 0)
			close(invoker->fds[i]);
	if (invoker->epoll >= 0)
		close(invoker->epoll);
	free(invoker->heap);
	free(invoker->table);
	free(invoker);
}

int wc_invoker_session_fd(const struct wc_invoker *invoker)
{
	return invoker->epoll;
}

void wc_invoker_fds(const struct wc_invoker *invoker, int ret_fds[2])
{
	ret_fds[0] = invoker->fds[0];
	ret_fds[1] = invoker->fds[1];
}

int wc_invoker_connect(struct wc_invoker *invoker, const char *address, __u16 port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM }, *found;
	char service[8];
	int fd, ret = 0;

	if (port == invoker->port && !strcmp(address, invoker->address))
		return 0;
	snprintf(service, sizeof(service), "%u", port);
	if (!port || !*address || strlen(address) >= sizeof(invoker->address) ||
	    getaddrinfo(address, service, &hints, &found))
		return -EINVAL;
	if (invoker->fd >= 0 && found->ai_addrlen == invoker->peer_len &&
	    !memcmp(found->ai_addr, &invoker->peer, invoker->peer_len))
		goto out;
	fd = invoker->fds[found->ai_family == AF_INET6];
	ret = -EAFNOSUPPORT;
	if (fd < 0)
		goto out;
	ret = connect(fd, found->ai_addr, found->ai_addrlen) ? -errno : 0;
	if (ret)
		goto out;
	invoker->fd = fd;
	memcpy(&invoker->peer, found->ai_addr, found->ai_addrlen);
	invoker->peer_len = found->ai_addrlen;
	/* A heap stays one when all its times become the same. */
	for (unsigned i = 0; i < invoker->stats.in_flight; i++) {
		invoker->heap[i]->lost = true;
		invoker->heap[i]->due_ns = 0;
	}
out:
	freeaddrinfo(found);
	if (!ret) {
		snprintf(invoker->address, sizeof(invoker->address), "%s", address);
		invoker->port = port;
	}
	return ret;
}
