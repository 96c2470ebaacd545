/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * callback_message.h - a result as an HTTP request: body and header fields. A destination gets Lambda's record (async_record.h), and with the
 * fields it is a CloudEvent in binary mode; a callback gets what OpenFaaS sends, the function's result with its fields. With a secret
 * both are signed as Standard Webhooks has it (webhook-id, webhook-timestamp, webhook-signature), for which receivers have libraries. Pure.
 */
#ifndef WC_GATEWAY_CALLBACK_MESSAGE_H
#define WC_GATEWAY_CALLBACK_MESSAGE_H

#include "user/gateway/async_store.h"

#define WC_CALLBACK_FIELDS_MAX 20
#define WC_CALLBACK_FIELD_MAX                                                                                          \
	1400 /* "Name: value" and its 0; the longest has a qualifier, a tracestate or two signatures */
#define WC_CALLBACK_SECRETS_MAX 2 /* the old and the new one */
#define WC_CALLBACK_KEY_MIN 24	  /* bytes of a secret, as Standard Webhooks has it */
#define WC_CALLBACK_KEY_MAX 64

struct wc_callback_secrets {
	unsigned count;
	struct {
		uint8_t key[WC_CALLBACK_KEY_MAX];
		size_t length;
	} list[WC_CALLBACK_SECRETS_MAX];
};

struct wc_callback_message {
	char *body;
	size_t length;
	char fields[WC_CALLBACK_FIELDS_MAX][WC_CALLBACK_FIELD_MAX];
	unsigned field_count;
};

/* One secret a line, "whsec_" and base64 of 24 to 64 bytes, one or two of them; a request is signed with each. -EINVAL, and a sentence without them. */
int wc_callback_secrets_parse(const char *text, struct wc_callback_secrets *ret_secrets, struct wc_fault *fault);

/* NULL secrets, or none of them: not signed. -ENOMEM. Free it in any case but that. */
int wc_callback_message_make(const struct wc_async_delivery *delivery, const struct wc_callback_secrets *secrets,
			     uint64_t now_ms, struct wc_callback_message *ret_message);
void wc_callback_message_free(struct wc_callback_message *message);

/* What an HTTP status means: 0 delivered; -EAGAIN: again, later; -ENOENT: never (410). */
int wc_callback_judge(long status);

#endif
