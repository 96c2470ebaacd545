/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * api.h - the Lambda Runtime API (version 2018-06-01) for one bootstrap, on 127.0.0.1, between it and the channel.
 *
 * libevent serves HTTP in one thread. A second thread does nothing but wait in the channel for the next request, because a futex
 * cannot be waited for together with sockets; it hands each one over with an eventfd.
 */
#ifndef WC_CUSTOM_API_H
#define WC_CUSTOM_API_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "../native/channel_client.h"

#define WC_API_ARN_MAX 192

struct wc_api_settings {
	char arn[WC_API_ARN_MAX]; /* Lambda-Runtime-Invoked-Function-Arn */
	bool binary;		  /* events are bytes */
	bool calls;		  /* the bootstrap may call other functions (lambda.h) */
	/* The bootstrap said that it cannot start; wc_api_init_error() has what it said. */
	void (*init_error)(void);
	/* The agent wants no more: 0; or a negative errno: the channel failed. */
	void (*channel_ended)(int error);
};

struct wc_api;

/* Listen. *ret_port is what the kernel chose. 0 or a negative errno. */
int wc_api_open(struct wc_api **ret_api, struct event_base *base, struct wc_client *client,
		const struct wc_api_settings *settings, uint16_t *ret_port);

/* The first part of the path of calls, NULL: there are none. */
const char *wc_api_token(const struct wc_api *api);

/* The bootstrap has asked for an invocation: it is initialised, and READY has been said. */
bool wc_api_ready(const struct wc_api *api);

/* The error object that the bootstrap posted to init/error, and its length; NULL: it has not. */
const char *wc_api_init_error(const struct wc_api *api, uint32_t *ret_length);

#endif
