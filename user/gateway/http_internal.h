/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* http_internal.h - what http.c shares with http_large.c, http_file.c and http_gone.c, and nobody else: these know libh2o. */
#ifndef WC_GATEWAY_HTTP_INTERNAL_H
#define WC_GATEWAY_HTTP_INTERNAL_H

#define H2O_USE_EPOLL 1
#include <h2o.h>
#include <h2o/http1.h>

#include "user/gateway/http.h"

#define WC_HTTP_LOOK_MS 5    /* at least, between two looks at what connections have in memory */
#define WC_HTTP_GONE_MS 500u /* between two looks for clients that have hung up */
#define WC_HTTP_SMALL 65536u /* bytes of a body: what is less is bounded by the number of connections */

struct wc_http {
	struct wc_http_options options;
	h2o_globalconf_t config;
	h2o_context_t context;
	h2o_accept_ctx_t accept, accept_tls;
	h2o_timeout_t write_timeout, linger_timeout;
	h2o_socket_t **listeners;
	struct wc_http_stats stats;
	bool draining;
	struct connection *connections; /* newest first */
	size_t responses;		/* bytes of large responses that are not sent yet */
	uint64_t looked_ns;
	bool look_due; /* something has come since */
	uint64_t looked_gone_ns;
};

struct connection {
	struct wc_http *http;
	h2o_socket_t *socket; /* NULL: closed by the library, lingers */
	h2o_timeout_entry_t write_entry, linger_entry;
	h2o_socket_t *linger;
	int linger_fd; /* a copy of the socket's, which outlives it; -1: none */
	const struct wc_http_listener *listener;
	struct connection *next, **at; /* in the list */
	unsigned exchanges;	       /* requests that are served: their bodies are needed */
	struct wc_exchange *waits;     /* the one that has no response yet, or NULL */
	bool asked;		       /* whether the client is still there, as nothing comes from it any more */
	bool large;		       /* its body may be large: options.on_large() has said so */
	bool judged;		       /* the length that its head says is not */
	h2o_socket_cb read;	       /* refused: what the library does when something comes */
};

struct wc_exchange {
	struct wc_request request;
	struct wc_http *http;
	struct connection *connection;
	h2o_req_t *h2o; /* NULL: responded */
	uint64_t begun_ns;
	struct wc_exchange_note note;
	size_t held; /* bytes of the response, when it is large */
	void (*gone)(void *context);
	void *gone_context;
	bool goes_on; /* whatever becomes of the client */
};

/* The `stop` of all generators that are ours: so the filter knows the library's. */
void wc_http_stop_generator(h2o_generator_t *self, h2o_req_t *req);

/* Status, headers and length of a response, which is going to be sent: from here on the exchange is gone. */
h2o_req_t *wc_http_begin(struct wc_exchange *exchange, const struct wc_response *response);
/* The client has so long from now on. */
void wc_http_patience(struct wc_exchange *exchange);
const char *wc_http_reason(unsigned status);
/* Whatever the client still sends shall not hide the response. */
void wc_http_linger(struct connection *connection);

/* Says 503 without the library, which has not begun, or waits for the rest of a request. `why` needs no escapes. */
void wc_http_refuse(h2o_socket_t *socket, const char *why);

/* http_large.c */
void wc_http_list(struct connection *connection);
void wc_http_unlist(struct connection *connection);
/* Looks at what connections have in memory, after a turn of the loop. */
void wc_http_look(struct wc_http *http);
/* A whole request has come: may its body be so large? False: the client has its answer. */
bool wc_http_size_good(struct wc_exchange *exchange);
/* The large body is not there any more. */
void wc_http_large_over(struct connection *connection);

/* http_gone.c: looks for clients that have hung up, after a turn of the loop. */
void wc_http_look_gone(struct wc_http *http);

#endif
