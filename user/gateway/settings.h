/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* settings.h - what the gateway is started with, and the sockets that it listens on. */
#ifndef WC_GATEWAY_SETTINGS_H
#define WC_GATEWAY_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "user/error.h"
#include "user/gateway/callback_rules.h"
#include "user/gateway/http.h"
#include "user/knobs.h"

#define WC_GATEWAY_LISTEN_MAX 16u
#define WC_GATEWAY_THREADS_MAX 64u
#define WC_GATEWAY_FILES                                                                                               \
	768u /* open files beside those of connections; most are for callbacks, whose names are resolved, too */

struct wc_gateway_address {
	struct sockaddr_storage address;
	socklen_t length;
	bool secure;
};

struct wc_gateway_options {
	const char *node;
	const char *remote_node, *remote_key; /* NULL: the node is on this host */
	const char *config;		      /* the file of knobs that was asked for; NULL: the usual one */
	int print;			      /* enum wc_knobs_print */
	struct wc_gateway_address listen[WC_GATEWAY_LISTEN_MAX];
	unsigned listen_count;
	const char *unix_path; /* NULL: none */
	unsigned unix_mode;
	const char *tls_cert, *tls_key;
	const char *user; /* who it becomes when it is started as root */
	bool no_auth;
	struct wc_callback_rules hosts; /* further names by which it may be called: host_guard.h */
	const char *key_file;		/* NULL: there are no keys */
	const char *async_dir;		/* NULL: no asynchronous invocations */
	bool async_named;		/* it was asked for, and is not only the usual one */
	bool no_async;
	struct wc_callback_rules callback_rules;	/* where results may be sent */
	const char *callback_secret_file, *callback_ca; /* NULL: not signed; the system's authorities */
	unsigned callback_timeout_ms;
	const char *code_dir; /* NULL: functions are not managed */
	bool no_manage;
	unsigned threads, connections, in_flight, max_wait_ms, read_timeout_ms, write_timeout_ms, presign_max_s,
		metrics_functions;
	bool log_json, access_log;
};

extern const struct wc_knobs wc_gateway_knobs;

/*
 * Reads the command line and the configuration file. 0; 1: help or version was printed; negative errno and a sentence: something is wrong.
 * *ret_asked is what was asked for, before what follows from it. The texts of both are argv's, or *given's, which is kept as long.
 */
int wc_gateway_options_read(struct wc_gateway_options *options, struct wc_gateway_options *ret_asked,
			    struct wc_knobs_given *given, int argc, char **argv, struct wc_fault *fault);

struct wc_gateway_source {
	int argc;
	char **argv;
	const char *path, *text; /* of the file; text NULL: there is none */
	size_t length;
};

/* The same with a file that is in memory already. */
int wc_gateway_options_again(struct wc_gateway_options *options, struct wc_gateway_options *ret_asked,
			     struct wc_knobs_given *given, const struct wc_gateway_source *source,
			     struct wc_fault *fault);

/* Where its configuration file is, or would be; empty: none is read. */
void wc_gateway_config_path(const struct wc_gateway_options *options, char *out, size_t size);

/*
 * Opens what is listened on, for one of `threads` loops: all with the same addresses. A port 0 becomes the one that was chosen.
 * ret_listeners has room for WC_GATEWAY_LISTEN_MAX + 1. `unix_fd` is that of wc_gateway_listen_unix(), or -1. A negative errno and a sentence.
 */
int wc_gateway_listen(struct wc_gateway_options *options, int unix_fd, struct wc_http_listener *ret_listeners,
		      struct wc_fault *fault);

/* The Unix socket: its descriptor. One that is left of a gateway that was killed is replaced, one in use is not. */
int wc_gateway_listen_unix(const struct wc_gateway_options *options, struct wc_fault *fault);

/* "127.0.0.1:8080" or "[::1]:8080". */
void wc_gateway_address_text(const struct wc_gateway_address *address, char *out, size_t size);

#endif
