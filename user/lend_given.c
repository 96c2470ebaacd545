/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lend_given.c - see lend_given.h. */
#include "user/lend_given.h"

void wc_lend_given_open(struct wc_lend_given *given)
{
	pthread_mutex_init(&given->lock, NULL);
}

void wc_lend_given_close(struct wc_lend_given *given)
{
	pthread_mutex_destroy(&given->lock);
}

bool wc_lend_given_note(struct wc_lend_given *given, uint64_t word)
{
	size_t at;
	bool room;

	pthread_mutex_lock(&given->lock);
	at = given->count % WC_GIVEN_MAX;
	room = !given->word[at] || given->told[at];
	if (room) {
		given->word[at] = word;
		given->told[at] = false;
		given->count++;
	}
	pthread_mutex_unlock(&given->lock);
	return room;
}

bool wc_lend_given_again(struct wc_lend_given *given, uint64_t word)
{
	bool found = false;

	pthread_mutex_lock(&given->lock);
	for (size_t i = 0; i < WC_GIVEN_MAX && given->word[i]; i++) {
		if (given->word[i] != word)
			continue;
		given->told[i] = false;
		found = true;
	}
	pthread_mutex_unlock(&given->lock);
	return found;
}

size_t wc_lend_given_take(struct wc_lend_given *given, uint64_t *words, size_t max)
{
	size_t taken = 0;

	pthread_mutex_lock(&given->lock);
	for (size_t i = 0; i < WC_GIVEN_MAX && taken < max; i++) {
		size_t at = (given->count + i) % WC_GIVEN_MAX;

		if (!given->word[at] || given->told[at])
			continue;
		given->told[at] = true;
		words[taken++] = given->word[at];
	}
	pthread_mutex_unlock(&given->lock);
	return taken;
}
