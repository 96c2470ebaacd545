/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* invoker_internal.h - what the files invoker*.c share; nobody else includes it. */
#ifndef WC_GATEWAY_INVOKER_INTERNAL_H
#define WC_GATEWAY_INVOKER_INTERNAL_H

#include "user/gateway/invoker.h"

#include "bpf/shim.h"
#include "user/clock.h"
#include "user/payload_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define READ_MAX 256 /* datagrams in one go: HTTP has its turn, too */

/* Bounds on how long a refusal is waited out, hint or not. */
#define WAIT_MIN_NS (100 * WC_US)
#define WAIT_DOWN_NS (20 * WC_MS) /* nobody is there: a restart takes a while */
#define WAIT_MAX_NS WC_SECOND

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

/* --- invoker.c --- */

/* The one in flight with this id, or NULL. */
struct wc_invocation *wc_invoker_at(struct wc_invoker *invoker, __u64 id);
/* One of its times has changed. */
void wc_invocation_set_due(struct wc_invocation *invocation);
/* It is over, and freed; its owner is told. _how: without an answer. */
void wc_invocation_finish(struct wc_invocation *invocation, const struct wc_invoked *invoked);
void wc_invocation_finish_how(struct wc_invocation *invocation, enum wc_invoked_how how);

/* --- invoker_large.c --- */

/* Take what has come through the session. `wanted`: somebody looks for the reply of this one now; NULL: nobody does. */
void wc_invoker_take_results(struct wc_invoker *invoker, const struct wc_invocation *wanted);
/*
 * Hand the payload over, under a new session when the old one is over. 0, without a reference when it needs none; -EINPROGRESS: nobody is there,
 * which may pass, as while one daemon takes over from another; as wc_invoker_start().
 */
int wc_invocation_hand_over(struct wc_invocation *invocation, __u64 now);
/* Where the bytes of a REPLY that refers to them are. False: they are lost, or (*ret_coming) not here yet. */
bool wc_invocation_find_large(struct wc_invocation *invocation, struct wc_client_result *answer, bool *ret_coming);

/* --- invoker_send.c --- */

/*
 * Transmits. What does not even leave this host has not been run: a node that is started again takes its device away, and
 * with it the route and the address that the socket sends from, which connecting once more finds anew.
 */
void wc_invocation_attempt(struct wc_invocation *invocation, __u64 now);
/* It was not run and may be tried again after `wait_ns`, if that is within its patience. */
void wc_invocation_refused(struct wc_invocation *invocation, __u64 wait_ns, __u64 floor_ns, __u64 now);
/* Patience is over: what it was refused with last. */
void wc_invocation_give_up(struct wc_invocation *invocation);

#endif
