/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * http.h - the HTTP server of the gateway: connections, their limits, requests in and responses out, by libh2o. The only files
 * that know the library are http.c, http_large.c, http_file.c and http_gone.c; docs/GATEWAY.md says why it is this one.
 */
#ifndef WC_GATEWAY_HTTP_H
#define WC_GATEWAY_HTTP_H

#include <stdint.h>

#include "bpf/tables.h"
#include "user/error.h"
#include "user/gateway/request.h"

#define WC_HTTP_SOURCE_MAX 64
#define WC_HTTP_REFUSAL_MAX 1024 /* bytes of the body of a refusal */

/* One request, until its response is sent. */
struct wc_exchange;

typedef void (*wc_http_on_request)(void *context, struct wc_exchange *exchange);

/* A response is about to be sent. NULL as exchange: the library refused what came before it was a request. */
typedef void (*wc_http_on_response)(void *context, const struct wc_exchange *exchange,
				    const struct wc_response *response);

struct wc_http_listener {
	int fd;	      /* listens, is not blocking */
	bool secure;  /* TLS */
	bool trusted; /* auth.h */
	bool guarded; /* host_guard.h */
	bool local;   /* as in struct wc_request, and: */
	bool private;
};

struct wc_http_options {
	const struct wc_http_listener *listeners;
	unsigned listener_count;
	void *tls;		   /* SSL_CTX *, for those that are secure; see wc_http_tls_new() */
	unsigned connections_max;  /* of one loop; beyond it, one that comes is closed at once */
	unsigned read_timeout_ms;  /* from when a connection could send a request until the whole request is here */
	unsigned write_timeout_ms; /* until the client has taken a response */
	size_t body_max;
	size_t bodies_max; /* of one loop: bytes of requests that come or are served, and of responses that go; at least 2 * body_max */
	/*
	 * Larger bodies, up to large_max (0: none), are for requests of which on_large() says so by their head, body not included: it holds something
	 * until on_large_over(). Or it composes the refusal, with text in `body`. All of the bytes are in memory until the response.
	 */
	size_t large_max;
	bool (*on_large)(void *context, const struct wc_request *request, struct wc_response *ret_response,
			 char body[WC_HTTP_REFUSAL_MAX]);
	void (*on_large_over)(void *context);
	wc_http_on_request on_request;
	wc_http_on_response on_response; /* NULL: nobody */
	void *context;
};

struct wc_http;

/* Certificate chain and key, PEM. TLS 1.2 and later. Errors: -EINVAL, with the sentence. */
int wc_http_tls_new(const char *cert, const char *key, void **ret_tls, struct wc_fault *fault);

/* The same from texts, and without asking for passphrases. */
int wc_http_tls_pem(const char *cert, const char *key, void **ret_tls, struct wc_fault *fault);
void wc_http_tls_free(void *tls);

/* Another certificate (NULL: the same one), for connections that come from now on, and another limit. From the loop's thread. */
void wc_http_change(struct wc_http *http, void *tls, unsigned connections_max);

/* One event loop. Call from the thread that will run it. -ENOMEM. */
int wc_http_new(const struct wc_http_options *options, struct wc_http **ret_http);

/* Calls `readable` when the descriptor is. It stays the caller's. */
void wc_http_watch(struct wc_http *http, int fd, void (*readable)(void *context), void *context);

/* One turn: waits at most timeout_ms, and does what is to be done. -errno when the loop itself fails. */
int wc_http_run(struct wc_http *http, int timeout_ms);

/* Take no connection any more, and close each after its response. */
void wc_http_drain(struct wc_http *http);

struct wc_http_stats {
	uint64_t requests, refused, over_limit, over_memory;
	unsigned connections, exchanges; /* exchanges: requests that have no response yet */
};

void wc_http_stats(const struct wc_http *http, struct wc_http_stats *ret_stats);

/* Valid until the response; so are the texts in it. */
const struct wc_request *wc_exchange_request(const struct wc_exchange *exchange);

/* What it is about, for on_response: copied. `kind` is the caller's, 0 until it is said. */
struct wc_exchange_note {
	unsigned kind;
	char function[WC_NAME_MAX]; /* "": none */
	char key[32];		    /* id of the key, which is public; "": nobody was asked */
};
void wc_exchange_set_note(struct wc_exchange *exchange, const struct wc_exchange_note *note);
const struct wc_exchange_note *wc_exchange_note(const struct wc_exchange *exchange);
/* CLOCK_MONOTONIC, when the whole request was here. */
uint64_t wc_exchange_begun_ns(const struct wc_exchange *exchange);

/* Takes all fields of this name (lower case) out of the request: whoever serves it shall not see them. */
void wc_exchange_hide(struct wc_exchange *exchange, const char *name);

/* The client's address, as text; empty over a Unix socket. */
void wc_exchange_source(const struct wc_exchange *exchange, char ret_source[WC_HTTP_SOURCE_MAX]);

/* Sends the response: the exchange is gone then. Everything in it is copied. */
void wc_exchange_respond(struct wc_exchange *exchange, const struct wc_response *response);

/* The same, with `size` bytes of a file as its body, piece by piece; takes `fd` over. */
void wc_exchange_respond_file(struct wc_exchange *exchange, const struct wc_response *response, int fd, size_t size);

/*
 * `gone` is called when the client went away before the response: the exchange is gone then. NULL: nobody is, and the client is not looked for while it waits.
 * Never from within a call of this header but wc_http_run().
 */
void wc_exchange_on_gone(struct wc_exchange *exchange, void (*gone)(void *context), void *context);
/* What it asks for shall happen also when the client hangs up before it is told: it is not looked for. */
void wc_exchange_go_on(struct wc_exchange *exchange);

#endif
