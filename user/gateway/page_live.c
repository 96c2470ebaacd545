// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * page_live.c - /system/live: the node's answer to `live`, for pages that ask each second.
 *
 * One question serves whoever asks within FRESH_MS, in each event loop: what a node pays for being watched does not grow with the
 * number of pages. The waiting ones are bounded; more are told to come again.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "user/clock.h"
#include "user/gateway/gateway.h"
#include "user/gateway/reply.h"

#define FRESH_MS 500
#define WAITING_MAX 64 /* requests of one loop that wait for an answer of the node */

struct waiting {
	struct wc_exchange *exchange; /* NULL: the client went away, or nobody was here */
};

/* Of one event loop. */
struct wc_live_cache {
	char *text; /* the last answer, or NULL */
	size_t length;
	uint64_t at_ns; /* when it came */
	bool asking;
	struct waiting waiting[WAITING_MAX];
};

static void send_text(struct wc_exchange *exchange, const struct wc_live_cache *cache)
{
	struct wc_response response = { .status = 200, .body = { cache->text, cache->length } };

	wc_response_add(&response, "content-type", wc_text("application/json"));
	wc_response_add(&response, "cache-control", wc_text("no-store"));
	/* A page of somebody else may not take it in as a script, an image or whatever. */
	wc_response_add(&response, "cross-origin-resource-policy", wc_text("same-origin"));
	wc_response_add(&response, "x-content-type-options", wc_text("nosniff"));
	wc_exchange_respond(exchange, &response);
}

static void on_gone(void *context)
{
	((struct waiting *)context)->exchange = NULL;
}

/* All that wait get the answer, or why there is none. */
static void on_answer(void *context, const json_t *answer, int error)
{
	struct wc_live_cache *cache = context;
	bool good = json_is_true(json_object_get(answer, "ok"));
	char *text = good ? json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	cache->asking = false;
	if (text) {
		free(cache->text);
		cache->text = text;
		cache->length = strlen(text);
		cache->at_ns = wc_now();
	}
	for (size_t i = 0; i < WAITING_MAX; i++) {
		struct wc_exchange *exchange = cache->waiting[i].exchange;

		if (!exchange)
			continue;
		cache->waiting[i].exchange = NULL;
		if (text)
			send_text(exchange, cache);
		else if (good)
			wc_reply_status(exchange, 500, "the gateway is out of memory");
		else
			wc_reply_status(exchange, 503,
					error ? "the gateway cannot ask the node" :
						"the node is not running, or does not answer");
	}
}

void wc_system_live(struct wc_gateway *gateway, struct wc_exchange *exchange)
{
	struct wc_live_cache *cache = gateway->live;
	size_t place = 0;
	int ret;

	if (!cache)
		cache = gateway->live = calloc(1, sizeof(*cache));
	if (!cache) {
		wc_reply_status(exchange, 500, "the gateway is out of memory");
		return;
	}
	if (cache->text && wc_now() - cache->at_ns < FRESH_MS * WC_MS) {
		send_text(exchange, cache);
		return;
	}
	while (place < WAITING_MAX && cache->waiting[place].exchange)
		place++;
	if (place == WAITING_MAX) {
		wc_reply_status(exchange, 503, "too many wait for the node's answer; try again in a second");
		return;
	}
	if (!cache->asking) {
		ret = wc_broker_ask(gateway->calls.broker, "live", NULL, 0, on_answer, cache);
		if (ret) {
			wc_reply_status(exchange, 503, "the gateway cannot ask the node now; try later");
			return;
		}
		cache->asking = true;
	}
	cache->waiting[place].exchange = exchange;
	wc_exchange_on_gone(exchange, on_gone, &cache->waiting[place]);
}
