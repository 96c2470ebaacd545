/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * scrape.h - /metrics: the node's metrics, and the gateway's own. A thread of its own asks the node, by a channel of its own to the broker, and
 * makes the text: a thousand functions take milliseconds, which no invocation shall wait for. It makes one at a time; requests that come
 * meanwhile share the next one. A node that is down is warmcore_up 0, with status 200: the gateway is fine, and says so.
 */
#ifndef WC_GATEWAY_SCRAPE_H
#define WC_GATEWAY_SCRAPE_H

#include "user/gateway/gateway.h"

#define WC_SCRAPES_MAX 64u /* that wait, of all loops; one more gets 429 */

struct wc_scraper;
struct wc_async_worker;

/* `channel` is the broker's, which is taken over; `async` may be NULL. Errors: of pthread_create(3), -ENOMEM. */
int wc_scraper_new(int channel, struct wc_async_worker *async, struct wc_scraper **ret_scraper);
/* Ends the thread. No loop runs any more. NULL is allowed. */
void wc_scraper_free(struct wc_scraper *scraper);

/* A loop is one of those that are told about, before it runs; it watches wc_scraper_fd() and calls wc_scraper_readable(). -ENOMEM, of eventfd(2). */
int wc_scraper_add(struct wc_scraper *scraper, struct wc_gateway *gateway);
int wc_scraper_fd(const struct wc_gateway *gateway);
void wc_scraper_readable(struct wc_gateway *gateway);

/* A GET of /metrics. */
void wc_scraper_request(struct wc_gateway *gateway, struct wc_exchange *exchange);

#endif
