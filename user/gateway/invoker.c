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
#include "user/gateway/invoker.h"

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

#include "bpf/shim.h"
#include "user/clock.h"
#include "user/payload_client.h"

#define IN_FLIGHT_MAX 65536u
#define RECEIVE_BUFFER_BYTES (4 << 20)
#define READ_MAX 256 /* datagrams in one go: HTTP has its turn, too */
#define RETRANSMIT_DOUBLINGS_MAX 3
#define SMALL_PAYLOAD_MAX 512

/* Bounds on how long a refusal is waited out, hint or not. */
#define WAIT_MIN_NS (100 * WC_US)
#define WAIT_DOWN_NS (20 * WC_MS) /* nobody is there: a restart takes a while */
#define WAIT_MAX_NS WC_SECOND

#define SESSION_TIMEOUT_MS 200 /* for the word of a daemon that is there: it takes a fraction of a millisecond */
#define SESSION_RETRY_NS (100 * WC_MS)
#define SWEEP_NS (100 * WC_MS)
#define ROUNDS_MAX 256 /* READ_MAX large replies each: more than a node holds for all its users */

struct wc_invocation {
	struct wc_invoker *invoker;
	wc_invoked_cb done;
	void *context;
	struct wc_client_request request;
	struct iovec context_part; /* goes along with it; mostly empty */
	__u64 id;
	__u64 due_ns, resend_ns, patience_ns, end_ns;
	__u32 heap_at;
	unsigned doublings, refusals; /* refusals: of any kind, in a row or not */
	unsigned sent,
		sent_refused; /* transmissions that the node may have got, and those of them that ICMP gave back */
	bool waiting;	      /* refused, to be tried again: has not been run */
	bool late;	      /* patience is over */
	bool lost;
	bool refers;	  /* its payload begins with the reference, */
	__u32 session_no; /* to something in this session */
	unsigned forgotten; /* copies of it that named a session that the node has forgotten, and are not answered yet, or lost */
	bool stale; /* of a session that the node has forgotten: to be handed over once more */
	/* Of a node on another host: */
	bool coming;		       /* its payload is on its way there, and nothing was sent yet */
	__u64 coming_ns;	       /* since when */
	bool answered;		       /* its REPLY is here, and what that refers to is on its way */
	struct wc_client_result reply; /* then; without payload */
	struct wc_reference reference;
	struct wc_payload_result large; /* its reply, when that came before the REPLY that refers to it */
	struct wc_client_result busy;	/* the last refusal by the node; type 0: by ICMP */
};

struct wc_invoker {
	struct wc_invoker_options options;
	int fds[2];	  /* AF_INET, AF_INET6 */
	int fd;		  /* the one in use; -1 before the first address */
	char address[64]; /* as it was given last: the usual case is that it is the same */
	__u16 port;
	struct sockaddr_storage peer;
	socklen_t peer_len;
	struct wc_payload_client *session; /* for large payloads, or NULL */
	__u32 session_no;		   /* counts them: another one may be at the same address */
	int epoll;			   /* readable when a session with a node on another host is */
	__u64 session_ns;		   /* when it was tried to open one last, */
	int session_error;		   /* and what became of it */
	bool had_session;		   /* there was one before */
	__u64 sweep_ns, sweep_until_ns;	   /* for large replies that nobody waits for any more: next, last */
	bool torn;			   /* a session ended, and invocations have to look: with the next tick */
	__u64 next_id;
	__u32 table_mask;
	struct wc_invocation **table;
	struct wc_invocation **heap;
	struct wc_invoker_stats stats;
	__u8 datagram[WC_HEADER_LEN + WC_PAYLOAD_MAX + 1];
};

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

static void set_due(struct wc_invocation *invocation)
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

static void finish(struct wc_invocation *invocation, const struct wc_invoked *invoked)
{
	struct wc_payload_result large = invocation->large; /* the answer may be in it */
	wc_invoked_cb done = invocation->done;
	void *context = invocation->context;

	memset(&invocation->large, 0, sizeof(invocation->large));
	forget(invocation);
	done(context, invoked);
	wc_payload_result_end(&large);
}

static void finish_how(struct wc_invocation *invocation, enum wc_invoked_how how)
{
	struct wc_invoked invoked = { .how = how, .request_id = invocation->id };

	abandon(invocation);
	finish(invocation, &invoked);
}

/* --- large payloads --- */

static void attempt(struct wc_invocation *invocation, __u64 now);
static void refused(struct wc_invocation *invocation, __u64 wait_ns, __u64 floor_ns, __u64 now);

static struct wc_invocation *at_id(struct wc_invoker *invoker, __u64 id)
{
	struct wc_invocation *invocation = invoker->table[id & invoker->table_mask];

	return invocation && invocation->id == id ? invocation : NULL;
}

/* The node has its payload, or has no room for it now. */
static void on_word(struct wc_invocation *invocation, enum wc_payload_what what, __u64 now)
{
	if (!invocation || !invocation->coming)
		return;
	invocation->coming = false;
	if (what == WC_PAYLOAD_IS_KEPT) {
		invocation->waiting = false;
		invocation->sent = invocation->sent_refused = 0;
		/* How long that took says nothing about the node. */
		invocation->patience_ns += now - invocation->coming_ns;
		invocation->end_ns += now - invocation->coming_ns;
		attempt(invocation, now);
		return;
	}
	invocation->stale = true;
	invocation->busy = (struct wc_client_result){ .type = WC_TYPE_ERROR,
						      .code = WC_CODE_PAYLOAD_FULL,
						      .request_id = invocation->id,
						      .function_id = invocation->request.function_id };
	refused(invocation, 0, WAIT_DOWN_NS, now);
}

/* Its REPLY was here before its bytes were. */
static void complete(struct wc_invocation *invocation)
{
	struct wc_invoked invoked = { .how = WC_INVOKED_ANSWER,
				      .request_id = invocation->id,
				      .answer = invocation->reply };

	if (invocation->large.length != invocation->reply.payload_len) {
		finish_how(invocation, WC_INVOKED_LOST);
		return;
	}
	invoked.answer.payload = invocation->large.at;
	invocation->invoker->stats.answered++;
	finish(invocation, &invoked);
}

static bool is_session(const struct wc_invoker *invoker, __u32 session_no)
{
	return invoker->session && invoker->session_no == session_no;
}

/*
 * Take what that session has to say, until the large reply of `wanted` is there (NULL: all). What nobody waits for goes. 0: there may be more; else why
 * not. Who gets its reply here may start another invocation, and so end the session.
 */
static int read_results(struct wc_invoker *invoker, __u32 session_no, const struct wc_invocation *wanted)
{
	struct wc_payload_result result;
	struct wc_invocation *owner;
	int ret = 0;

	for (int i = 0; i < READ_MAX && is_session(invoker, session_no) && !(wanted && wanted->large.at); i++) {
		ret = wc_payload_client_next(invoker->session, &result);
		if (ret)
			break;
		owner = at_id(invoker, result.request_id);
		if (result.what != WC_PAYLOAD_IS_RESULT) {
			on_word(owner, result.what, wc_now());
			continue;
		}
		if (owner && !owner->large.at)
			owner->large = result;
		else
			wc_payload_result_end(&result);
		if (owner && owner->answered)
			complete(owner);
	}
	return ret;
}

/*
 * A daemon that has gone has left its last large replies in the socket; those that refer to them have come, or will from its successor. What else was
 * on its way: a payload is handed over once more, a reply is lost.
 */
static void end_session(struct wc_invoker *invoker)
{
	const __u32 session_no = invoker->session_no;

	for (int i = 0; i < ROUNDS_MAX && is_session(invoker, session_no) && !read_results(invoker, session_no, NULL);
	     i++)
		;
	if (!is_session(invoker, session_no))
		return;
	wc_payload_client_free(invoker->session);
	invoker->session = NULL;
	for (unsigned i = 0; i < invoker->stats.in_flight; i++) {
		struct wc_invocation *invocation = invoker->heap[i];

		invocation->stale |= invocation->coming;
		invocation->lost |= invocation->answered;
		invoker->torn |= invocation->coming || invocation->answered;
	}
}

static void take_results(struct wc_invoker *invoker, const struct wc_invocation *wanted)
{
	const __u32 session_no = invoker->session_no;
	int ret = invoker->session ? read_results(invoker, session_no, wanted) : 0;

	if ((ret == -EPIPE || ret == -EBADMSG) && is_session(invoker, session_no))
		end_session(invoker);
}

/* 0: there is a session. -EHOSTDOWN: nobody is there, and it waited for nothing; others: there cannot be one. */
static int have_session(struct wc_invoker *invoker, __u64 now)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (invoker->session)
		return 0;
	if (!invoker->options.payload_path)
		return -EMSGSIZE;
	if (!invoker->session_ns || now >= invoker->session_ns + SESSION_RETRY_NS) {
		invoker->session_error =
			wc_payload_client_open(invoker->options.payload_path, SESSION_TIMEOUT_MS, &invoker->session);
		invoker->session_ns = wc_now(); /* it may have waited: the next one shall not do so at once */
		invoker->had_session |= !invoker->session_error;
		invoker->session_no += !invoker->session_error;
		/* One on this host has nothing to say that is not asked for. Closing it takes it out again. */
		if (invoker->session && wc_payload_client_is_away(invoker->session))
			(void)epoll_ctl(invoker->epoll, EPOLL_CTL_ADD, wc_payload_client_fd(invoker->session), &event);
	}
	/* One that was opened a moment ago may be over already. */
	return invoker->session ? 0 : invoker->session_error ?: -EHOSTDOWN;
}

/*
 * Hand the payload over, under a new session when the old one is over. 0, without a reference when it needs none; -EINPROGRESS: nobody is there,
 * which may pass, as while one daemon takes over from another; as wc_invoker_start().
 */
static int hand_over(struct wc_invocation *invocation, __u64 now)
{
	struct wc_invoker *invoker = invocation->invoker;
	struct wc_client_request *request = &invocation->request;
	bool large = request->payload_len + invocation->context_part.iov_len > WC_PAYLOAD_MAX;
	int ret = -EPIPE, error = 0;

	for (int i = 0; i < 2 && ret == -EPIPE && !(error = have_session(invoker, now)); i++) {
		ret = wc_payload_client_put_beside(invoker->session, invocation->id, request->payload,
						   request->payload_len, invocation->context_part.iov_len,
						   &invocation->reference);
		if (ret == -EPIPE) {
			end_session(invoker);
			invoker->session_ns = 0;
		}
	}
	invocation->refers = !ret;
	invocation->session_no = invoker->session_no;
	invocation->coming = !ret && invocation->reference.where == wc_htonl(WC_WHERE_TCP);
	if (ret != -EPIPE)
		return ret;
	memset(&invocation->reference, 0, sizeof(invocation->reference));
	/* A small one's reply may be large: it waits, too, for who has given us sessions before. */
	if ((!error || error == -EHOSTDOWN || error == -ETIMEDOUT) && (large || invoker->had_session))
		return -EINPROGRESS;
	if (!large)
		return 0;
	return error == -EMSGSIZE ? error : -EHOSTDOWN;
}

/* Where the bytes of a REPLY that refers to them are. False: they are lost, or (*ret_coming) not here yet. */
static bool find_large(struct wc_invocation *invocation, struct wc_client_result *answer, bool *ret_coming)
{
	struct wc_reference reference;
	size_t length;

	*ret_coming = false;

	if (!invocation->refers || wc_reference_parse(answer->payload, answer->payload_len, &length))
		return false;
	if (!invocation->large.at)
		take_results(invocation->invoker, invocation);
	memcpy(&reference, answer->payload, sizeof(reference));
	/* What an earlier session was to bring does not come any more. */
	if (!invocation->large.at && reference.where == wc_htonl(WC_WHERE_TCP) &&
	    is_session(invocation->invoker, invocation->session_no)) {
		*ret_coming = invocation->answered = true;
		invocation->reply = *answer;
		invocation->reply.payload = NULL;
		invocation->reply.payload_len = length;
		invocation->reply.flags &= (__u16)~WC_FLAG_REFERENCE;
		return false;
	}
	if (!invocation->large.at || invocation->large.length != length)
		return false;
	answer->payload = invocation->large.at;
	answer->payload_len = length;
	answer->flags &= (__u16)~WC_FLAG_REFERENCE;
	return true;
}

/* --- sending --- */

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
	struct wc_referring head;
	struct iovec parts[2] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)(uintptr_t)request->payload, .iov_len = request->payload_len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	wc_client_encode_reference(invocation->id, request, &invocation->reference, &head);
	if (invocation->reference.where != wc_htonl(WC_WHERE_HERE))
		message.msg_iovlen = 1;
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
	set_due(invocation);
}

/* It was not run and may be tried again after `wait_ns`, if that is within its patience. */
static void refused(struct wc_invocation *invocation, __u64 wait_ns, __u64 floor_ns, __u64 now)
{
	unsigned n = invocation->refusals < 10 ? invocation->refusals : 10;

	if (wait_ns < floor_ns << n)
		wait_ns = floor_ns << n;
	invocation->refusals++;
	invocation->waiting = true;
	invocation->resend_ns = now + (wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS);
	set_due(invocation);
}

/*
 * Transmits. What does not even leave this host has not been run: a node that is started again takes its device away, and
 * with it the route and the address that the socket sends from, which connecting once more finds anew.
 */
static void attempt(struct wc_invocation *invocation, __u64 now)
{
	struct wc_invoker *invoker = invocation->invoker;

	if (invocation->stale) {
		if (hand_over(invocation, now)) { /* perhaps it comes up again */
			refused(invocation, 0, WAIT_DOWN_NS, now);
			return;
		}
		invocation->stale = false;
	}
	if (invocation->coming) { /* the session will say when it is there; until then there is nothing to repeat */
		invocation->coming_ns = now;
		invocation->resend_ns = invocation->end_ns;
		set_due(invocation);
		return;
	}
	if (transmit(invocation, now)) {
		(void)!connect(invoker->fd, (struct sockaddr *)&invoker->peer, invoker->peer_len);
		if (!invocation->sent) {
			invocation->busy.type = 0;
			refused(invocation, 0, WAIT_DOWN_NS, now);
			return;
		}
	}
	schedule_retransmission(invocation, now);
}

/* Patience is over: what it was refused with last. */
static void give_up(struct wc_invocation *invocation)
{
	struct wc_invoked invoked = { .how = WC_INVOKED_ANSWER,
				      .request_id = invocation->id,
				      .answer = invocation->busy };

	if (!invocation->busy.type) {
		invocation->invoker->stats.refused++;
		invoked.how = WC_INVOKED_REFUSED;
	}
	finish(invocation, &invoked);
}

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
	ret = hand_over(invocation, now);
	if (ret && ret != -EINPROGRESS) {
		free(invocation);
		return ret;
	}
	invocation->stale = ret;
	invoker->table[invocation->id & invoker->table_mask] = invocation;
	heap_put(invoker, invoker->stats.in_flight++, invocation);
	attempt(invocation, now);
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
	struct wc_invocation *invocation = at_id(invoker, id);

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
		take_results(invoker, NULL); /* which sees whether it is over: others may run under one that is not */
		invocation->forgotten = invocation->sent ? invocation->sent - 1 : 0;
		invocation->busy = *answer;
		invocation->busy.payload = NULL;
		invocation->busy.payload_len = 0;
		invocation->stale = true;
		refused(invocation, 0, WAIT_MIN_NS, now);
		return;
	}
	if (answer->flags & WC_FLAG_REFERENCE && !find_large(invocation, &invoked.answer, &coming)) {
		if (coming) {
			invocation->resend_ns = invocation->end_ns;
			set_due(invocation);
			return;
		}
		invoked = (struct wc_invoked){ .how = WC_INVOKED_LOST, .request_id = answer->request_id };
	}
	if (answer->type != WC_TYPE_BUSY && !is_down(answer)) {
		invoker->stats.answered++;
		finish(invocation, &invoked);
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
			finish_how(invocation, WC_INVOKED_TIMEOUT);
		}
		return;
	}
	invocation->busy = *answer;
	invocation->busy.payload = NULL;
	invocation->busy.payload_len = 0;
	refused(invocation, answer->retry_after_ns, is_down(answer) ? WAIT_DOWN_NS : WAIT_MIN_NS, now);
	if (invocation->late || now >= invocation->patience_ns)
		give_up(invocation);
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
		refused(invocation, 0, WAIT_DOWN_NS, now);
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
		finish_how(invocation, WC_INVOKED_LOST);
		return;
	}
	if (invocation->waiting && (now >= invocation->patience_ns || now >= invocation->end_ns)) {
		give_up(invocation);
		return;
	}
	if (invocation->coming && now >= invocation->end_ns) {
		invocation->busy.type = 0;
		give_up(invocation);
		return;
	}
	if (now >= invocation->end_ns) {
		invocation->invoker->stats.timeouts++;
		finish_how(invocation, WC_INVOKED_TIMEOUT);
		return;
	}
	if (now < invocation->resend_ns) {
		set_due(invocation);
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
	attempt(invocation, now);
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
			refused(torn, 0, WAIT_DOWN_NS, now);
		} else {
			finish_how(torn, WC_INVOKED_LOST);
		}
	}
}

void wc_invoker_session_readable(struct wc_invoker *invoker)
{
	take_results(invoker, NULL);
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
		take_results(invoker, NULL);
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
