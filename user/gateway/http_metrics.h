/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* http_metrics.h - responses of one event loop: counts by interface and status, and how long requests took. Its loop writes, any thread reads. */
#ifndef WC_GATEWAY_HTTP_METRICS_H
#define WC_GATEWAY_HTTP_METRICS_H

#include "user/gateway/route.h"
#include "user/latency.h"

#define WC_HTTP_STATUS_MIN 100
#define WC_HTTP_STATUS_COUNT 500 /* 100 to 599 */

struct wc_http_metrics {
	uint64_t codes[WC_ROUTE_KINDS][WC_HTTP_STATUS_COUNT];
	struct wc_latencies *times; /* entry 1 + kind */
};

/* NULL: no memory. */
struct wc_http_metrics *wc_http_metrics_new(void);
/* A response to a request of this kind; `ns` WC_LATENCY_NONE: nobody knows since when. */
void wc_http_metrics_add(struct wc_http_metrics *metrics, unsigned kind, unsigned status, uint64_t ns);
/* What is counted of a kind and status. Any thread. */
uint64_t wc_http_metrics_code(const struct wc_http_metrics *metrics, unsigned kind, unsigned status);

#endif
