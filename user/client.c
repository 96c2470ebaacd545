// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * client.c - invoke functions over UDP; see client.h for the contract. Its words are in client_text.c.
 *
 * The usual invocation costs exactly two system calls, sendmsg and recv, so that what a caller measures is the node
 * and not this library: the socket is blocking with a receive time-out of one retransmission interval. Only when
 * that first wait ends without the answer does the slower path with ppoll (and its finer clock) take over.
 */
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "bpf/shim.h"
#include "user/client.h"
#include "user/clock.h"
#include "user/payload_client.h"

#define RECEIVE_BUFFER_BYTES (4 << 20)
#define DATAGRAM_MAX (WC_HEADER_LEN + WC_PAYLOAD_MAX)
#define RETRANSMIT_DOUBLINGS_MAX 3
#define SMALL_PAYLOAD_MAX 512
#define FULL_WAIT_US 50000u /* until a payload is handed over again for which there was no room */
#define SESSION_TIMEOUT_MS 1000
#define SESSION_RETRY_NS (20 * WC_MS)
#define SESSIONS_MAX 4 /* for one invocation: each is one daemon that was there and went */

/* Bounds on how long one BUSY is waited out: the node's hint is a hint. */
#define BUSY_WAIT_MIN_NS 50000ull
#define BUSY_WAIT_MAX_NS (WC_SECOND)

#define FLAGS_KNOWN                                                                                                    \
	(WC_FLAG_WARM | WC_FLAG_PENDED | WC_FLAG_STOLEN | WC_FLAG_BINARY | WC_FLAG_CACHED | WC_FLAG_TIMED |            \
	 WC_FLAG_REFERENCE)

struct wc_client {
	int fd;
	struct wc_payload_client *session; /* for large payloads, or NULL */
	char *session_path;
	struct wc_payload_result large; /* the last reply, when it was large */
	__u64 next_id;
	__u64 strays;
	__u8 datagram[DATAGRAM_MAX + 1]; /* one more for the NUL after the payload */
};

/* The first wait of wc_client_invoke() is one of these; set once. */
static int socket_set_up(int fd)
{
	struct timeval tv = { .tv_usec = WC_CLIENT_RETRANSMIT_MS * 1000 };
	int bytes = RECEIVE_BUFFER_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		return -errno;
	/* FORCE needs CAP_NET_ADMIN; without it the system's limit applies, which is no error. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return 0;
}

static int socket_connect(const char *address, __u16 port, int *ret_fd)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM };
	struct addrinfo *found;
	char service[8];
	int fd, ret;

	snprintf(service, sizeof(service), "%u", port);
	ret = getaddrinfo(address, service, &hints, &found);
	if (ret)
		return ret == EAI_MEMORY ? -ENOMEM : -EINVAL;

	fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		ret = -errno;
		goto err_free;
	}
	if (connect(fd, found->ai_addr, found->ai_addrlen)) {
		ret = -errno;
		goto err_close;
	}
	ret = socket_set_up(fd);
	if (ret)
		goto err_close;
	freeaddrinfo(found);
	*ret_fd = fd;
	return 0;

err_close:
	close(fd);
err_free:
	freeaddrinfo(found);
	return ret;
}

int wc_client_open(const char *address, __u16 port, struct wc_client **ret_client)
{
	struct wc_client *client;
	int ret;

	if (!address || !*address || !port)
		return -EINVAL;
	client = malloc(sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->strays = 0;
	client->session = NULL;
	client->session_path = NULL;
	memset(&client->large, 0, sizeof(client->large));
	if (getrandom(&client->next_id, sizeof(client->next_id), 0) != sizeof(client->next_id)) {
		ret = -EIO;
		goto err_free;
	}
	ret = socket_connect(address, port, &client->fd);
	if (ret)
		goto err_free;
	*ret_client = client;
	return 0;

err_free:
	free(client);
	return ret;
}

void wc_client_free(struct wc_client *client)
{
	if (!client)
		return;
	close(client->fd);
	wc_payload_client_free(client->session);
	wc_payload_result_end(&client->large);
	free(client->session_path);
	free(client);
}

int wc_client_share(struct wc_client *client, const char *path)
{
	struct wc_payload_client *session;
	char *copy = strdup(path);
	int ret = copy ? wc_payload_client_open(path, SESSION_TIMEOUT_MS, &session) : -ENOMEM;

	if (ret) {
		free(copy);
		return ret;
	}
	wc_payload_client_free(client->session);
	free(client->session_path);
	client->session = session;
	client->session_path = copy;
	return 0;
}

int wc_client_fd(const struct wc_client *client)
{
	return client->fd;
}

__u64 wc_client_next_id(struct wc_client *client)
{
	return client->next_id++;
}

__u64 wc_client_strays(const struct wc_client *client)
{
	return client->strays;
}

int wc_client_encode(__u64 request_id, const struct wc_client_request *request, struct wc_header *ret_header)
{
	if (!request->function_id)
		return -EINVAL;
	if (request->payload_len > WC_PAYLOAD_MAX)
		return -EMSGSIZE;
	*ret_header = (struct wc_header){
		.magic = wc_htons(WC_MAGIC),
		.version = WC_VERSION,
		.type = WC_TYPE_INVOKE,
		.header_len = WC_HEADER_LEN,
		.flags = wc_htons(WC_FLAG_TIMED),
		.request_id = wc_be64(request_id),
		.function_id = wc_htonl(request->function_id),
		.payload_len = wc_htonl((__u32)request->payload_len),
		.deadline_us = wc_htonl(request->deadline_us),
		.core = wc_htons(WC_CORE_ANY),
	};
	return 0;
}

int wc_client_encode_reference(__u64 request_id, const struct wc_client_request *request,
			       const struct wc_reference *reference, struct wc_referring *ret_head)
{
	struct wc_client_request small = *request;
	int ret;

	small.payload_len = reference->where == wc_htonl(WC_WHERE_HERE) ? request->payload_len : 0;
	if (small.payload_len > WC_REFERENCE_HERE_MAX)
		return -EMSGSIZE;
	ret = wc_client_encode(request_id, &small, &ret_head->header);
	if (ret)
		return ret;
	ret_head->header.flags |= wc_htons(WC_FLAG_REFERENCE);
	ret_head->header.payload_len = wc_htonl((__u32)(WC_REFERENCE_LEN + small.payload_len));
	ret_head->reference = *reference;
	return 0;
}

/* With a reference in front of what may follow it. */
static int send_referring(struct wc_client *client, __u64 request_id, const struct wc_client_request *request,
			  const struct wc_reference *reference)
{
	struct wc_referring head;
	struct iovec parts[2] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)(uintptr_t)request->payload, .iov_len = request->payload_len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	int ret = wc_client_encode_reference(request_id, request, reference, &head);

	if (ret)
		return ret;
	if (reference->where != wc_htonl(WC_WHERE_HERE))
		message.msg_iovlen = 1;
	return sendmsg(client->fd, &message, MSG_DONTWAIT) < 0 ? -errno : 0;
}

int wc_client_send(struct wc_client *client, __u64 request_id, const struct wc_client_request *request)
{
	struct wc_header header;
	struct {
		struct wc_header header;
		__u8 payload[SMALL_PAYLOAD_MAX];
	} small;
	struct iovec parts[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)(uintptr_t)request->payload, .iov_len = request->payload_len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t sent;
	int ret = wc_client_encode(request_id, request, &header);

	if (ret)
		return ret;
	if (request->payload_len <= SMALL_PAYLOAD_MAX) { /* send is cheaper than sendmsg, more than the copy costs */
		small.header = header;
		if (request->payload_len)
			memcpy(small.payload, request->payload, request->payload_len);
		sent = send(client->fd, &small, sizeof(header) + request->payload_len, MSG_DONTWAIT);
	} else {
		sent = sendmsg(client->fd, &message, MSG_DONTWAIT);
	}
	return sent < 0 ? -errno : 0;
}

int wc_client_parse(const void *datagram, size_t length, struct wc_client_result *ret_result)
{
	struct wc_client_result result = { 0 };
	struct wc_header header;

	if (length < WC_HEADER_LEN || length > DATAGRAM_MAX)
		return -EBADMSG;
	memcpy(&header, datagram, sizeof(header));

	result.version = header.version;
	result.type = header.type;
	result.code = wc_ntohs(header.code);
	result.flags = wc_ntohs(header.flags) & FLAGS_KNOWN;
	result.core = wc_ntohs(header.core);
	result.request_id = be64toh(header.request_id);
	result.function_id = wc_ntohl(header.function_id);
	result.payload = (const __u8 *)datagram + WC_HEADER_LEN;
	result.payload_len = length - WC_HEADER_LEN;

	if (wc_ntohs(header.magic) != WC_MAGIC || header.reserved || header.header_len != WC_HEADER_LEN ||
	    wc_ntohl(header.payload_len) != result.payload_len)
		return -EBADMSG;
	/* The one answer that a node of another version gives in a form that we can read. */
	if (header.version != WC_VERSION && (header.type != WC_TYPE_ERROR || result.code != WC_CODE_VERSION))
		return -EBADMSG;

	switch (header.type) {
	case WC_TYPE_REPLY:
	case WC_TYPE_ERROR:
		if ((header.type == WC_TYPE_REPLY) != (result.code == WC_CODE_NONE))
			return -EBADMSG;
		result.wait_ns = be64toh(header.tail.timing.wait_ns);
		result.service_ns = be64toh(header.tail.timing.service_ns);
		break;
	case WC_TYPE_BUSY:
		if (result.code == WC_CODE_NONE || result.payload_len)
			return -EBADMSG;
		result.retry_after_ns = be64toh(header.tail.busy.retry_after_ns);
		break;
	default:
		return -EBADMSG;
	}
	*ret_result = result;
	return 0;
}

/* One recv and its check. -EAGAIN: nothing there; -EBADMSG: a stray, counted. */
static int receive_one(struct wc_client *client, int flags, struct wc_client_result *ret_result)
{
	ssize_t length = recv(client->fd, client->datagram, DATAGRAM_MAX, flags | MSG_TRUNC);
	struct wc_client_result result;
	int ret;

	if (length < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	ret = wc_client_parse(client->datagram, (size_t)length, &result);
	if (ret) {
		client->strays++;
		return ret;
	}
	client->datagram[length] = 0;
	result.received_ns = wc_now();
	*ret_result = result;
	return 0;
}

/* Waits until the socket is readable or `until_ns` (CLOCK_MONOTONIC; UINT64_MAX = for ever) has come: -EAGAIN. */
static int wait_readable(struct wc_client *client, __u64 until_ns)
{
	struct pollfd pfd = { .fd = client->fd, .events = POLLIN };
	struct timespec ts, *timeout = NULL;
	__u64 now;
	int ret;

	if (until_ns != UINT64_MAX) {
		now = wc_now();
		if (now >= until_ns)
			until_ns = now; /* still look once: what has arrived counts */
		ts = wc_timespec(until_ns - now);
		timeout = &ts;
	}
	ret = ppoll(&pfd, 1, timeout, NULL);
	if (ret < 0 && errno != EINTR)
		return -errno;
	return ret > 0 ? 0 : -EAGAIN;
}

int wc_client_receive(struct wc_client *client, __u64 timeout_ns, struct wc_client_result *ret_result)
{
	__u64 start = timeout_ns && timeout_ns != UINT64_MAX ? wc_now() : 0;
	__u64 until = timeout_ns > UINT64_MAX - start ? UINT64_MAX : start + timeout_ns;
	int ret;

	for (;;) {
		ret = receive_one(client, MSG_DONTWAIT, ret_result);
		if (ret != -EAGAIN && ret != -EBADMSG)
			return ret;
		if (ret == -EBADMSG)
			continue; /* bounded by what the socket buffer holds, or by the time below */
		if (!timeout_ns || (until != UINT64_MAX && wc_now() >= until))
			return -EAGAIN;
		ret = wait_readable(client, until);
		if (ret && ret != -EAGAIN)
			return ret;
	}
}

/*
 * Transmits for wc_client_invoke(). A full send buffer is like a datagram lost: the next retransmission makes up for
 * it. ECONNREFUSED here tells of an earlier datagram (perhaps of an earlier invocation) and has now been cleared, so
 * the second attempt speaks for itself: if nothing listens, the wait that follows will say so.
 */
static int transmit(struct wc_client *client, __u64 id, const struct wc_client_request *request,
		    const struct wc_reference *reference)
{
	int ret = -ECONNREFUSED;

	for (int i = 0; i < 2 && ret == -ECONNREFUSED; i++)
		ret = reference ? send_referring(client, id, request, reference) : wc_client_send(client, id, request);
	if (ret == -EAGAIN || ret == -ENOBUFS || ret == -EINTR)
		return 0;
	return ret;
}

static __u64 busy_wait_ns(const struct wc_client_result *result, unsigned busy)
{
	__u64 floor = BUSY_WAIT_MIN_NS << (busy < 10 ? busy : 10);
	__u64 wait = result->retry_after_ns;

	if (wait < floor)
		wait = floor;
	return wait < BUSY_WAIT_MAX_NS ? wait : BUSY_WAIT_MAX_NS;
}

/* One invocation under this id, with its reference if there is a session. */
static int invoke(struct wc_client *client, __u64 id, const struct wc_client_request *request,
		  const struct wc_reference *reference, struct wc_client_result *ret_result)
{
	__u64 interval = (request->retransmit_ms ?: WC_CLIENT_RETRANSMIT_MS) * WC_MS;
	__u64 allowed = (request->timeout_ms ?: WC_CLIENT_TIMEOUT_MS) * WC_MS;
	__u64 start, end, resend_at, now;
	unsigned retransmits = 0, busy = 0, doublings = 0;
	struct wc_client_result answer = { 0 }, last_busy;
	bool first_wait, waiting_out_busy = false;
	int ret;

	first_wait = interval == WC_CLIENT_RETRANSMIT_MS * WC_MS && allowed > interval;
	start = wc_now();
	end = start + allowed;
	resend_at = start + interval;
	ret = transmit(client, id, request, reference);
	if (ret)
		return ret;

	for (;;) {
		if (first_wait) {
			first_wait = false;
			ret = receive_one(client, 0, &answer);
		} else {
			ret = wait_readable(client, resend_at < end ? resend_at : end);
			if (!ret)
				ret = receive_one(client, MSG_DONTWAIT, &answer);
		}
		/* Refused though an earlier copy was not: the node had that one, may have run it, and may come back. */
		if (ret == -ECONNREFUSED && retransmits)
			ret = -EAGAIN;
		if (ret && ret != -EAGAIN && ret != -EBADMSG)
			return ret;
		if (!ret && (answer.request_id != id || answer.function_id != request->function_id)) {
			client->strays++; /* late answer to an invocation that was given up, or a duplicate */
		} else if (!ret) {
			answer.round_trip_ns = answer.received_ns - start;
			answer.retransmits = retransmits;
			answer.busy = busy + (answer.type == WC_TYPE_BUSY);
			if (answer.type != WC_TYPE_BUSY || answer.code == WC_CODE_SHUTDOWN) {
				*ret_result = answer;
				return 0;
			}
			resend_at = answer.received_ns + busy_wait_ns(&answer, busy++);
			waiting_out_busy = true;
			last_busy = answer;
		}

		now = wc_now();
		if (now >= end)
			break;
		if (now < resend_at)
			continue;
		ret = transmit(client, id, request, reference);
		if (ret && !(ret == -ECONNREFUSED && retransmits))
			return ret;
		if (waiting_out_busy) {
			waiting_out_busy = false;
			doublings = 0;
		} else {
			retransmits++;
			doublings += doublings < RETRANSMIT_DOUBLINGS_MAX;
		}
		resend_at = now + (interval << doublings);
	}
	/* BUSY may have come before a transmission that was accepted and not answered in time: it may have run. */
	if (!waiting_out_busy)
		return -ETIMEDOUT;
	last_busy.round_trip_ns = now - start;
	*ret_result = last_busy;
	return 0;
}

/* What the session says next; from a node on another host it may take until `end_ns`. As wc_payload_client_next(), -EAGAIN: not even then. */
static int next_of_session(struct wc_client *client, bool away, __u64 end_ns)
{
	struct pollfd ready = { .fd = wc_payload_client_fd(client->session), .events = POLLIN };
	__u64 now;
	int ret;

	wc_payload_result_end(&client->large);
	while ((ret = wc_payload_client_next(client->session, &client->large)) == -EAGAIN && away &&
	       (now = wc_now()) < end_ns)
		poll(&ready, 1, (int)((end_ns - now) / WC_MS) + 1);
	return ret;
}

/* A node on another host has to have the payload before it is invoked. -EPIPE: the session is over; -ETIMEDOUT. */
static int await_kept(struct wc_client *client, __u64 id, const struct wc_client_request *request,
		      struct wc_reference *reference, __u64 end_ns)
{
	int ret = 0;

	while (!ret && reference->where == wc_htonl(WC_WHERE_TCP)) {
		ret = next_of_session(client, true, end_ns);
		if (ret || client->large.request_id != id || client->large.what == WC_PAYLOAD_IS_RESULT)
			continue;
		if (client->large.what == WC_PAYLOAD_IS_KEPT)
			return 0;
		usleep(FULL_WAIT_US);
		ret = wc_payload_client_put(client->session, id, request->payload, request->payload_len, reference);
	}
	return ret == -EAGAIN ? -ETIMEDOUT : ret;
}

/* The REPLY refers to this one; what is left of invocations that were given up goes. */
static int take_large(struct wc_client *client, __u64 id, __u64 end_ns, struct wc_client_result *result)
{
	struct wc_reference reference;
	size_t length;
	int ret = wc_reference_parse(result->payload, result->payload_len, &length);

	if (!ret)
		memcpy(&reference, result->payload, sizeof(reference));
	while (!ret) {
		ret = next_of_session(client, reference.where == wc_htonl(WC_WHERE_TCP), end_ns);
		if (!ret && client->large.what == WC_PAYLOAD_IS_RESULT && client->large.request_id == id)
			break;
	}
	if (ret || client->large.length != length)
		return -EPIPE;
	result->payload = client->large.at;
	result->payload_len = length;
	result->flags &= (__u16)~WC_FLAG_REFERENCE;
	return 0;
}

/* Another session, when the node has forgotten this one; while one daemon takes over from another there is nobody for a while. */
static int renew_session(struct wc_client *client, __u64 until)
{
	const struct timespec pause = { .tv_nsec = SESSION_RETRY_NS };
	int ret;

	while ((ret = wc_client_share(client, client->session_path)) == -EHOSTDOWN && wc_now() < until)
		nanosleep(&pause, NULL);
	return ret;
}

/* Hand the payload over, with another session when this one is over. */
static int hand_over(struct wc_client *client, __u64 id, const struct wc_client_request *request, __u64 until,
		     struct wc_reference *ret_reference)
{
	int ret = -EPIPE;

	for (int i = 0; i < SESSIONS_MAX && ret == -EPIPE; i++) {
		ret = i ? renew_session(client, until) : 0;
		if (!ret)
			ret = wc_payload_client_put(client->session, id, request->payload, request->payload_len,
						    ret_reference);
	}
	return ret;
}

int wc_client_invoke(struct wc_client *client, const struct wc_client_request *request,
		     struct wc_client_result *ret_result)
{
	struct wc_client_request rest = *request;
	struct wc_client_result result;
	struct wc_reference reference;
	__u64 id, now = wc_now(), until = now + (request->timeout_ms ?: WC_CLIENT_TIMEOUT_MS) * WC_MS;
	int ret = 0;

	if (!client->session)
		return invoke(client, wc_client_next_id(client), request, NULL, ret_result);
	if (!request->function_id)
		return -EINVAL;
	for (int i = 0; i < SESSIONS_MAX; i++) {
		id = wc_client_next_id(client);
		ret = hand_over(client, id, request, until, &reference);
		if (!ret) {
			ret = await_kept(client, id, request, &reference, until);
			if (ret && ret != -EPIPE) /* else it arrives later, and stays */
				wc_payload_client_drop(client->session, id);
		}
		/* The INVOKE was not sent, so it has not run. */
		if (ret == -EPIPE && i + 1 < SESSIONS_MAX)
			continue;
		if (ret)
			return ret == -EPIPE ? -EHOSTDOWN : ret;
		now = wc_now();
		rest.timeout_ms = now < until ? (unsigned)((until - now + WC_MS - 1) / WC_MS) : 1;
		ret = invoke(client, id, &rest, &reference, &result);
		/* Of what has begun the node has let go. */
		if (reference.where != wc_htonl(WC_WHERE_HERE) && (ret || result.type != WC_TYPE_REPLY))
			wc_payload_client_drop(client->session, id);
		/* Not run: the session that the reference names was with a daemon that is gone. */
		if (ret || result.code != WC_CODE_NO_PAYLOAD || renew_session(client, until))
			break;
	}
	if (!ret && result.flags & WC_FLAG_REFERENCE)
		ret = take_large(client, id, until, &result);
	if (!ret)
		*ret_result = result;
	return ret;
}
