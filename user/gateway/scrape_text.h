/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* scrape_text.h - the text of /metrics: the node's families (metrics.h) and the gateway's. */
#ifndef WC_GATEWAY_SCRAPE_TEXT_H
#define WC_GATEWAY_SCRAPE_TEXT_H

#include <jansson.h>

#include "user/gateway/gateway.h"
#include "user/gateway/settings.h"

struct wc_async_worker;

/* What it is about; read only, beside the loops that write. */
struct wc_scrape_source {
	const struct wc_gateway *gateways[WC_GATEWAY_THREADS_MAX];
	unsigned count;
	struct wc_async_worker *async; /* or NULL */
	uint64_t node_ns;	       /* how long the node took */
};

/* `answer`: that of the node to `metrics`, or NULL. The caller frees the text; NULL: no memory. */
char *wc_scrape_text(const struct wc_scrape_source *source, const json_t *answer, bool open, size_t *ret_length);

#endif
