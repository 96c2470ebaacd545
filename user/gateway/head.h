/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * head.h - is the head of an HTTP/1 request unambiguous? The library that parses it takes more than it should: a second
 * Content-Length, Content-Length beside Transfer-Encoding, bare LF. Two parties that read such a head differently can be
 * made to disagree where a request ends (request smuggling), so everything that is not exactly one thing is refused here,
 * from the bytes as they came, and the connection is closed. Pure: no library, no allocation; fuzzed.
 */
#ifndef WC_GATEWAY_HEAD_H
#define WC_GATEWAY_HEAD_H

#include <stddef.h>

#define WC_HEAD_MAX 32768u	 /* bytes of a head, empty line included */
#define WC_HEAD_TARGET_MAX 8192u /* bytes of path and query */
#define WC_HEAD_METHOD_MAX 16u

struct wc_head_fault {
	unsigned status;  /* HTTP: 400, 414, 431 or 505 */
	const char *text; /* a sentence */
};

/*
 * `bytes` begin with the head; more may follow it. Names of fields may be in any case. 0 and the length of the head,
 * empty line included; or -EBADMSG, and *ret_fault.
 */
int wc_head_check(const char *bytes, size_t length, size_t *ret_length, struct wc_head_fault *ret_fault);

#endif
