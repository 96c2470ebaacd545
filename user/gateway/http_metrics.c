// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* http_metrics.c - see http_metrics.h. */
#include "user/gateway/http_metrics.h"

#include <stdlib.h>

struct wc_http_metrics *wc_http_metrics_new(void)
{
	struct wc_http_metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return NULL;
	metrics->times = wc_latencies_new(WC_ROUTE_KINDS);
	if (!metrics->times) {
		free(metrics);
		return NULL;
	}
	return metrics;
}

void wc_http_metrics_add(struct wc_http_metrics *metrics, unsigned kind, unsigned status, uint64_t ns)
{
	uint64_t *code;

	if (kind >= WC_ROUTE_KINDS || status < WC_HTTP_STATUS_MIN ||
	    status >= WC_HTTP_STATUS_MIN + WC_HTTP_STATUS_COUNT)
		return;
	code = &metrics->codes[kind][status - WC_HTTP_STATUS_MIN];
	__atomic_store_n(code, *code + 1, __ATOMIC_RELAXED); /* one writer */
	wc_latency_add(metrics->times, kind + 1, wc_route_kind_names[kind], 0, ns, WC_LATENCY_NONE);
}

uint64_t wc_http_metrics_code(const struct wc_http_metrics *metrics, unsigned kind, unsigned status)
{
	return __atomic_load_n(&metrics->codes[kind][status - WC_HTTP_STATUS_MIN], __ATOMIC_RELAXED);
}
