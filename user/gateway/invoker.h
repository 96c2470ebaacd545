/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * invoker.h - thousands of invocations in flight at one node, for one event loop: what user/client.c does for one
 * invocation at a time, without waiting anywhere. Not thread-safe: each loop has its own.
 *
 * An invocation is sent as an INVOKE over UDP and retransmitted under its id with back-off, so it runs at most once. What
 * the node surely did not run (BUSY, NODE_DOWN, SHUTDOWN, a refused port) is tried again until `patience_ms` is over;
 * what it may have run is waited for until `timeout_ms`. The names of functions are not its business: call.h.
 *
 * The loop watches wc_invoker_fds() for reading and calls wc_invoker_readable(), and wc_invoker_tick() no later than
 * wc_invoker_next_ns(). Callbacks come from these two only, never from within wc_invoker_start().
 */
#ifndef WC_GATEWAY_INVOKER_H
#define WC_GATEWAY_INVOKER_H

#include "user/client.h"

struct wc_invoker;
struct wc_invocation;

enum wc_invoked_how {
	WC_INVOKED_ANSWER,  /* REPLY or ERROR came, or the last BUSY when patience was over */
	WC_INVOKED_TIMEOUT, /* no answer; it may have run */
	WC_INVOKED_REFUSED, /* nothing listens there, or there is no way there; it was not run */
	WC_INVOKED_LOST, /* the node was started again, and may have run it before: at another address, or its large reply is gone */
};

struct wc_invoked {
	enum wc_invoked_how how;
	__u64 request_id;
	struct wc_client_result answer; /* WC_INVOKED_ANSWER; its payload is valid during the callback only */
};

typedef void (*wc_invoked_cb)(void *context, const struct wc_invoked *invoked);

struct wc_invoker_options {
	unsigned in_flight_max; /* 1..65536 */
	unsigned retransmit_ms; /* first interval, doubles up to 8 times itself; 0 = WC_CLIENT_RETRANSMIT_MS */
	const char *
		payload_path; /* of the node's socket for large payloads (docs/PAYLOADS.md); NULL: what fits a packet only. Must stay */
};

/* The payload is not copied: it must stay until the callback, or wc_invoker_cancel(). */
struct wc_invoker_request {
	__u32 function_id;
	const void *payload;
	size_t payload_len;  /* at most WC_PAYLOAD_LARGE, or WC_PAYLOAD_MAX with the context without a payload_path */
	const void *context; /* runtimes/abi/context.h; NULL: none. As the payload it must stay */
	size_t context_len;
	unsigned patience_ms; /* for how long it may be refused; the node does not start it later either */
	unsigned timeout_ms;  /* for how long an answer is waited for, all in all; at least patience_ms */
};

/* Opens its sockets, with receive buffers as large as this process may ask for. Errors: -EINVAL, -ENOMEM, of socket(2). */
int wc_invoker_new(const struct wc_invoker_options *options, struct wc_invoker **ret_invoker);

/* Nobody is called back any more. NULL is allowed. */
void wc_invoker_free(struct wc_invoker *invoker);

/* The sockets, IPv4 and IPv6; the second is -1 on a host without IPv6. They stay the same. */
void wc_invoker_fds(const struct wc_invoker *invoker, int ret_fds[2]);

/* Another descriptor to watch, when the node is on another host: then call wc_invoker_session_readable(), from which callbacks come, too. */
int wc_invoker_session_fd(const struct wc_invoker *invoker);
void wc_invoker_session_readable(struct wc_invoker *invoker);

/*
 * Where the node is from now on: a literal address. When it is elsewhere than before, what is in flight ends as
 * WC_INVOKED_LOST with the next tick: under another address an id could run again. Errors: -EINVAL, those of connect(2).
 */
int wc_invoker_connect(struct wc_invoker *invoker, const char *address, __u16 port);

/*
 * Sends one invocation. Errors, and then `done` is not called: -EAGAIN (in_flight_max, or the node does not take the payload now), -ENOTCONN (no
 * address yet), -EHOSTDOWN (a large payload, and no session to be had at payload_path; when nobody is there, that is waited for), -EINVAL, -EMSGSIZE, -ENOMEM.
 */
int wc_invoker_start(struct wc_invoker *invoker, const struct wc_invoker_request *request, wc_invoked_cb done,
		     void *context, struct wc_invocation **ret_invocation);

/* Nobody waits for it any more: `done` will not be called. The node may still run it. */
void wc_invoker_cancel(struct wc_invocation *invocation);

/* Reads what has come, a bounded number of datagrams. */
void wc_invoker_readable(struct wc_invoker *invoker);

/* Does what is due: retransmits, gives up. */
void wc_invoker_tick(struct wc_invoker *invoker);

/* CLOCK_MONOTONIC at which the next tick is due; UINT64_MAX: nothing is in flight. */
__u64 wc_invoker_next_ns(const struct wc_invoker *invoker);

struct wc_invoker_stats {
	__u64 started, answered, retransmits, busy, refused, timeouts, strays;
	unsigned in_flight;
};

void wc_invoker_stats(const struct wc_invoker *invoker, struct wc_invoker_stats *ret_stats);

#endif
