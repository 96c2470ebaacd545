/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * urlevent.h - HTTP as an event and back: what a function sees of a request to its URL, and the response that its result
 * means. The form is that of Lambda function URLs, payload format 2.0, so that code for them runs here. Pure.
 */
#ifndef WC_GATEWAY_URLEVENT_H
#define WC_GATEWAY_URLEVENT_H

#include <time.h>

#include "user/gateway/request.h"
#include "user/gateway/route.h"

struct wc_url_facts {
	const char *source;	/* the client's address */
	const char *request_id; /* of the HTTP request: the invocation has none yet */
	struct timespec now;	/* CLOCK_REALTIME */
};

/* The event as JSON, which the caller frees. -ENOMEM; -EBADMSG: the query has a bad escape. */
int wc_url_event(const struct wc_request *request, const struct wc_route *route, const struct wc_url_facts *facts,
		 char **ret_event, size_t *ret_length);

/* What a function's result means. */
struct wc_url_result {
	struct wc_response response; /* its texts point into what follows */
	void *json;		     /* json_t * */
	char *body;		     /* decoded base64, or NULL */
};

/*
 * A JSON object with a numeric "statusCode" says everything; any other JSON is the body of a 200, as Lambda has it. The text must
 * stay until wc_url_result_free(). -EBADMSG: no JSON, or a response that cannot be sent (a status out of 200 to 599, a header
 * that is none, bad base64, too many headers): *ret_error says which.
 */
int wc_url_response(struct wc_text text, struct wc_url_result *ret_result, const char **ret_error);
void wc_url_result_free(struct wc_url_result *result);

#endif
