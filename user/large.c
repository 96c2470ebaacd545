/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* large.c - large payloads at the agent: from a packet with a reference to a payload, and from a large result to a reference (docs/PAYLOADS.md). */
#include "user/agent_internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

int wc_worker_refer(struct wc_worker *worker, struct wc_job *job, const char **ret_why)
{
	uint32_t front = WC_REFERENCE_LEN + job->context_len;
	struct wc_reference reference;
	int error = -EBADMSG;

	if (job->payload_len >= front) {
		memcpy(&reference, job->payload, sizeof(reference));
		error = wc_payloads_find(worker->node->payloads, &reference, job->payload_len - front,
					 job->id.request_id, &worker->payload);
	}
	if (!error) {
		job->payload += front;
		job->payload_len -= front;
		job->refers = false; /* it is told from now on by worker->payload */
		return 0;
	}
	if (error == -EBADMSG) {
		*ret_why = "the reference to a large payload contradicts itself or the packet";
		return WC_CODE_MALFORMED;
	}
	if (error == -ENOSPC) {
		*ret_why = "the node holds as many large payloads as it may, of all clients or of this user; try later";
		return WC_CODE_PAYLOAD_FULL;
	}
	*ret_why = "no such session, or nothing was handed over under this request id; was the node restarted?";
	return WC_CODE_NO_PAYLOAD;
}

const char *wc_worker_deliver(struct wc_worker *worker, const struct wc_result *result,
			      struct wc_reference *ret_reference)
{
	int error = wc_payloads_deliver(worker->node->payloads, &worker->payload, result->payload, result->length);

	*ret_reference = (struct wc_reference){ .length = htonl(result->length),
						.where = htonl(worker->payload.away ? WC_WHERE_TCP : WC_WHERE_MEMORY) };
	if (!error)
		return NULL;
	if (error == -EPIPE)
		return "the function has run, but its client has closed the session that its large reply was for";
	if (error == -ENOSPC)
		return "the function has run, but its client does not take the large replies that it has already";
	snprintf(worker->why, sizeof(worker->why),
		 "the function has run, but its large reply cannot be handed over: %s", strerror(-error));
	return worker->why;
}
