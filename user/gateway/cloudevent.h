/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cloudevent.h - CloudEvents 1.0 over HTTP, in binary mode (attributes are ce-* headers) and structured mode (one JSON object).
 * A function sees the JSON format in either case; a result that is a CloudEvent goes back in the mode of the request. Pure.
 */
#ifndef WC_GATEWAY_CLOUDEVENT_H
#define WC_GATEWAY_CLOUDEVENT_H

#include <jansson.h>

#include "user/gateway/request.h"

enum wc_cloudevent_mode {
	WC_CLOUDEVENT_NONE,
	WC_CLOUDEVENT_BINARY,
	WC_CLOUDEVENT_STRUCTURED,
	WC_CLOUDEVENT_BATCH, /* is not taken */
};

enum wc_cloudevent_mode wc_cloudevent_mode(const struct wc_request *request);

/*
 * The event in the JSON format, which the caller frees. A traceparent header becomes the attribute of that name, unless it
 * has one. -EBADMSG: it is no CloudEvent, *ret_error says why; -ENOMEM.
 */
int wc_cloudevent_read(const struct wc_request *request, enum wc_cloudevent_mode mode, char **ret_event,
		       size_t *ret_length, const char **ret_error);

struct wc_cloudevent_result {
	struct wc_response response; /* its texts point into what follows, and into `names` */
	json_t *json;
	char *body; /* NULL: none of its own */
	char names[WC_RESPONSE_HEADERS_MAX][32];
};

/* Is the result a CloudEvent that can go back in this mode? Then *ret_result is its response, to be freed. */
bool wc_cloudevent_response(struct wc_text text, enum wc_cloudevent_mode mode, struct wc_cloudevent_result *ret_result);
void wc_cloudevent_result_free(struct wc_cloudevent_result *result);

#endif
