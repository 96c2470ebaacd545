/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * etcd.h - single keys of an etcd: read, and changed when nobody else has changed them. Over its JSON gateway (/v3/, etcd 3.4 and later), so that
 * neither gRPC nor protocol buffers are needed. Several endpoints are members of one etcd: whichever answers will do.
 */
#ifndef WC_ETCD_H
#define WC_ETCD_H

#include "user/error.h"

#include <stddef.h>
#include <stdint.h>

#define WC_ETCD_ENDPOINT_MAX 8
#define WC_ETCD_URL_MAX 256
#define WC_ETCD_KEY_MAX 512
#define WC_ETCD_VALUE_MAX 4096
#define WC_ETCD_ANSWER_MAX (256u << 10)

struct wc_etcd;

struct wc_etcd_value {
	int64_t revision; /* mod_revision of the key; 0: there is no such key */
	size_t length;
	char value[WC_ETCD_VALUE_MAX + 1]; /* ends in NUL; what others have put may have some inside, too */
};

struct wc_etcd_options {
	const char *endpoints;	     /* "http://a:2379,http://b:2379", 1 to 8 of them; https, too */
	const char *ca, *cert, *key; /* files of PEM, NULL: none; for ca that is the system's */
};

/* One handle is one thread's. Nothing is asked yet. */
int wc_etcd_open(struct wc_etcd **ret, const struct wc_etcd_options *options, struct wc_fault *fault);
void wc_etcd_close(struct wc_etcd *etcd);

/*
 * timeout_ms is for the whole call, over all endpoints. It begins with the one that answered last; one that fails is followed by the next, and may take no more
 * than its share of the time that is left.
 */

/* 0 and the value (revision 0 when there is none), or a negative errno with a sentence. A linearizable read. */
int wc_etcd_get(struct wc_etcd *etcd, const char *key, struct wc_etcd_value *ret, uint32_t timeout_ms,
		struct wc_fault *fault);

/*
 * Put, if the key's revision is still `expected` (0: if it does not exist): 0, *ret is what is there now (ours). 1: it was not, *ret is what is there.
 * Negative errno: an error, and nobody knows whether it happened, or will yet: ask again with the same `expected`.
 *
 * Values have to say whose they are: no two writers may put the same one. That is how a put whose answer was lost is told from somebody else's. Who removes
 * keys has to know that a put with `expected` 0 that ended in an error may come to pass after the removal.
 */
int wc_etcd_replace(struct wc_etcd *etcd, const char *key, const char *value, int64_t expected,
		    struct wc_etcd_value *ret, uint32_t timeout_ms, struct wc_fault *fault);

/* Delete, if the revision is still `expected`. Same returns. */
int wc_etcd_remove(struct wc_etcd *etcd, const char *key, int64_t expected, struct wc_etcd_value *ret,
		   uint32_t timeout_ms, struct wc_fault *fault);

/*
 * Anything else (etcd_batch.h): this body to the path, one endpoint after the other until take() takes the answer, of answer_max bytes at most. That returns 0 or more, which is
 * returned; or a negative errno and what is wrong with the answer.
 */
typedef int wc_etcd_take(void *context, const char *text, size_t length, struct wc_fault *fault);
int wc_etcd_exchange(struct wc_etcd *etcd, const char *path, const char *body, size_t answer_max, wc_etcd_take *take,
		     void *context, uint32_t timeout_ms, struct wc_fault *fault);

#endif
