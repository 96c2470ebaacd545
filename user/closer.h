/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * closer.h - closes what strangers have sent over a Unix socket: to close a descriptor may take as long as its sender likes (a TCP socket with
 * SO_LINGER, a file in a file system in user space), so threads do it for whom nobody waits. Thread-safe.
 */
#ifndef WC_CLOSER_H
#define WC_CLOSER_H

#include <stdbool.h>

struct wc_closer;
struct wc_payload_foreign;

/* What is to be closed. The caller's memory, until `done`. */
struct wc_closing {
	int socket; /* of SOCK_SEQPACKET, by a client; what is in it is closed, and it is shut down, but it stays open */
	struct wc_payload_foreign *foreign;	  /* what came out of it before; NULL: nothing */
	void (*done)(struct wc_closing *closing); /* by one of the threads */
	void *context;
	struct wc_closing *next;
};

/* Errors: -ENOMEM, of pthread_create(3). */
int wc_closer_new(struct wc_closer **ret_closer);

/* Never waits, never fails. When there are as many threads as there may be, it takes until one of them is free. */
void wc_closer_add(struct wc_closer *closer, struct wc_closing *closing);

/*
 * When all is closed, ends and frees it: true. Else false: then it goes on, and it and what `done` uses must stay. NULL is allowed.
 * Nothing may be added any more.
 */
bool wc_closer_free(struct wc_closer *closer);

#endif
