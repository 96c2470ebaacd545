// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* invoker_send.c - sending an invocation, again and again until it is answered, refused for too long, or given up. */
#include "user/gateway/invoker_internal.h"

#include <string.h>

#define SMALL_PAYLOAD_MAX 512

/* With a context, which stands between a reference and the payload. */
static int transmit_context(struct wc_invocation *invocation)
{
	struct wc_client_request *request = &invocation->request;
	struct wc_referring head;
	struct iovec parts[3] = {
		{ .iov_base = &head, .iov_len = sizeof(head.header) },
		invocation->context_part,
		{ .iov_base = (void *)(uintptr_t)request->payload, .iov_len = request->payload_len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 3 };
	__u32 length;

	if (invocation->refers) {
		wc_client_encode_reference(invocation->id, request, &invocation->reference, &head);
		parts[0].iov_len = sizeof(head);
		if (invocation->reference.where != wc_htonl(WC_WHERE_HERE))
			message.msg_iovlen = 2;
	} else {
		wc_client_encode(invocation->id, request, &head.header);
	}
	length = wc_ntohl(head.header.payload_len) + (__u32)invocation->context_part.iov_len;
	head.header.payload_len = wc_htonl(length);
	head.header.flags |= wc_htons(WC_FLAG_CONTEXT);
	return sendmsg(invocation->invoker->fd, &message, MSG_DONTWAIT) < 0 ? -1 : 0;
}

static int transmit_referring(struct wc_invocation *invocation)
{
	struct wc_client_request *request = &invocation->request;
	struct {
		struct wc_referring head;
		__u8 payload[SMALL_PAYLOAD_MAX];
	} small;
	bool here = invocation->reference.where == wc_htonl(WC_WHERE_HERE);
	struct iovec parts[2] = {
		{ .iov_base = &small.head, .iov_len = sizeof(small.head) },
		{ .iov_base = (void *)(uintptr_t)request->payload, .iov_len = request->payload_len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = here ? 2 : 1 };

	wc_client_encode_reference(invocation->id, request, &invocation->reference, &small.head);
	if (here && request->payload_len <= SMALL_PAYLOAD_MAX) {
		if (request->payload_len)
			memcpy(small.payload, request->payload, request->payload_len);
		return send(invocation->invoker->fd, &small, sizeof(small.head) + request->payload_len, MSG_DONTWAIT) <
				       0 ?
			       -1 :
			       0;
	}
	return sendmsg(invocation->invoker->fd, &message, MSG_DONTWAIT) < 0 ? -1 : 0;
}

/* 0, also when the datagram is lost on the way; or an error that will not pass. */
static int transmit(struct wc_invocation *invocation, __u64 now)
{
	struct wc_invoker *invoker = invocation->invoker;
	struct wc_client_request *request = &invocation->request;
	struct {
		struct wc_header header;
		__u8 payload[SMALL_PAYLOAD_MAX];
	} small;
	struct iovec parts[2] = {
		{ .iov_base = &small.header, .iov_len = sizeof(small.header) },
		{ .iov_base = (void *)(uintptr_t)request->payload, .iov_len = request->payload_len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	__u64 left = invocation->patience_ns > now ? invocation->patience_ns - now : WC_US;

	bool plain = !invocation->refers && !invocation->context_part.iov_len;

	request->deadline_us = left / WC_US < UINT32_MAX ? (__u32)(left / WC_US) : UINT32_MAX;
	if (plain)
		wc_client_encode(invocation->id, request, &small.header); /* was checked by start */
	if (plain && request->payload_len && request->payload_len <= SMALL_PAYLOAD_MAX)
		memcpy(small.payload, request->payload, request->payload_len);
	/* An error of the socket tells of an earlier datagram, and is cleared by being told. */
	for (int i = 0; i < 3; i++) {
		/* send is cheaper than sendmsg, more than the copy costs */
		if ((invocation->context_part.iov_len ? transmit_context(invocation) :
		     invocation->refers		      ? transmit_referring(invocation) :
		     request->payload_len <= SMALL_PAYLOAD_MAX ?
					  send(invoker->fd, &small, sizeof(small.header) + request->payload_len,
					       MSG_DONTWAIT) :
					  sendmsg(invoker->fd, &message, MSG_DONTWAIT)) >= 0) {
			invocation->sent++;
			return 0;
		}
		if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH)
			break;
	}
	if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
		return 0;
	return -errno;
}

static void schedule_retransmission(struct wc_invocation *invocation, __u64 now)
{
	invocation->resend_ns = now + ((invocation->invoker->options.retransmit_ms * WC_MS) << invocation->doublings);
	wc_invocation_set_due(invocation);
}

void wc_invocation_refused(struct wc_invocation *invocation, __u64 wait_ns, __u64 floor_ns, __u64 now)
{
	unsigned n = invocation->refusals < 10 ? invocation->refusals : 10;

	if (wait_ns < floor_ns << n)
		wait_ns = floor_ns << n;
	invocation->refusals++;
	invocation->waiting = true;
	invocation->resend_ns = now + (wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS);
	wc_invocation_set_due(invocation);
}

void wc_invocation_attempt(struct wc_invocation *invocation, __u64 now)
{
	struct wc_invoker *invoker = invocation->invoker;

	if (invocation->stale) {
		if (wc_invocation_hand_over(invocation, now)) { /* perhaps it comes up again */
			wc_invocation_refused(invocation, 0, WAIT_DOWN_NS, now);
			return;
		}
		invocation->stale = false;
	}
	if (invocation->coming) { /* the session will say when it is there; until then there is nothing to repeat */
		invocation->coming_ns = now;
		invocation->resend_ns = invocation->end_ns;
		wc_invocation_set_due(invocation);
		return;
	}
	if (transmit(invocation, now)) {
		(void)!connect(invoker->fd, (struct sockaddr *)&invoker->peer, invoker->peer_len);
		if (!invocation->sent) {
			invocation->busy.type = 0;
			wc_invocation_refused(invocation, 0, WAIT_DOWN_NS, now);
			return;
		}
	}
	schedule_retransmission(invocation, now);
}

void wc_invocation_give_up(struct wc_invocation *invocation)
{
	struct wc_invoked invoked = { .how = WC_INVOKED_ANSWER,
				      .request_id = invocation->id,
				      .answer = invocation->busy };

	if (!invocation->busy.type) {
		invocation->invoker->stats.refused++;
		invoked.how = WC_INVOKED_REFUSED;
	}
	wc_invocation_finish(invocation, &invoked);
}
