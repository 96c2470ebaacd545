// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* invoker_large.c - payloads that do not fit into a datagram: handed over to the node beforehand, and taken from it when a REPLY refers to them (docs/PAYLOADS.md). */
#include "user/gateway/invoker_internal.h"

#include <string.h>
#include <sys/epoll.h>

#define SESSION_TIMEOUT_MS 200 /* for the word of a daemon that is there: it takes a fraction of a millisecond */
#define SESSION_RETRY_NS (100 * WC_MS)
#define ROUNDS_MAX 256 /* READ_MAX large replies each: more than a node holds for all its users */

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
		wc_invocation_attempt(invocation, now);
		return;
	}
	invocation->stale = true;
	invocation->busy = (struct wc_client_result){ .type = WC_TYPE_ERROR,
						      .code = WC_CODE_PAYLOAD_FULL,
						      .request_id = invocation->id,
						      .function_id = invocation->request.function_id };
	wc_invocation_refused(invocation, 0, WAIT_DOWN_NS, now);
}

/* Its REPLY was here before its bytes were. */
static void complete(struct wc_invocation *invocation)
{
	struct wc_invoked invoked = { .how = WC_INVOKED_ANSWER,
				      .request_id = invocation->id,
				      .answer = invocation->reply };

	if (invocation->large.length != invocation->reply.payload_len) {
		wc_invocation_finish_how(invocation, WC_INVOKED_LOST);
		return;
	}
	invoked.answer.payload = invocation->large.at;
	invocation->invoker->stats.answered++;
	wc_invocation_finish(invocation, &invoked);
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
		owner = wc_invoker_at(invoker, result.request_id);
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

void wc_invoker_take_results(struct wc_invoker *invoker, const struct wc_invocation *wanted)
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

int wc_invocation_hand_over(struct wc_invocation *invocation, __u64 now)
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

bool wc_invocation_find_large(struct wc_invocation *invocation, struct wc_client_result *answer, bool *ret_coming)
{
	struct wc_reference reference;
	size_t length;

	*ret_coming = false;

	if (!invocation->refers || wc_reference_parse(answer->payload, answer->payload_len, &length))
		return false;
	if (!invocation->large.at)
		wc_invoker_take_results(invocation->invoker, invocation);
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
