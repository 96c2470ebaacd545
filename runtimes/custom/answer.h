/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* answer.h - what a bootstrap posts, as a message of the channel: an error object that is always the same shape, and whether a
 * response is JSON. */
#ifndef WC_CUSTOM_ANSWER_H
#define WC_CUSTOM_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The body of an error post to {"errorType","errorMessage"[,"stackTrace":[...]]} of at most `size` bytes; returns its length. `type` is
 * the header Lambda-Runtime-Function-Error-Type or NULL: it counts where the body has none. A body that is no JSON object is the message.
 * What does not fit loses the middle of its stack trace first. No terminating NUL.
 */
size_t wc_answer_error(char *out, size_t size, const char *body, size_t length, const char *type);

/* Does this response count as a JSON value? By its content type, where that says it; else by a look. */
bool wc_answer_is_json(const char *body, size_t length, const char *content_type);

#endif
