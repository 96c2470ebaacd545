/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lend_given.h - ids of invocations that a sibling has sent here and that go back to it: their function is not here any more. They never run here (they are in the window as started), and
 * the sibling is told in the session, after which it decides on them anew. Who is told twice, or too late, has lost nothing: it looks whether it still takes the id to be here.
 */
#ifndef WC_LEND_GIVEN_H
#define WC_LEND_GIVEN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_GIVEN_MAX 512

struct wc_lend_given {
	pthread_mutex_t lock;
	uint64_t word[WC_GIVEN_MAX]; /* as in window.h; number n at n % WC_GIVEN_MAX */
	bool told[WC_GIVEN_MAX];
	uint64_t count; /* that there ever were */
};

void wc_lend_given_open(struct wc_lend_given *given);
void wc_lend_given_close(struct wc_lend_given *given);

/* This one goes back. False: as many as there is room for have not been told yet. */
bool wc_lend_given_note(struct wc_lend_given *given, uint64_t word);
/* A copy of it has come, so perhaps it was sent here again: it is told again. False: it is none of these. */
bool wc_lend_given_again(struct wc_lend_given *given, uint64_t word);
/* Those to be told, oldest first, which count as told from here on. Returns how many: at most `max`. */
size_t wc_lend_given_take(struct wc_lend_given *given, uint64_t *words, size_t max);

#endif
