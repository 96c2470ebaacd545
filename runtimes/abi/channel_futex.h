/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * channel_futex.h - publish and await a message of the shared-memory channel: the one protocol that the agent and
 * every C runtime run, so that neither side can lose a wake-up.
 *
 *     writer                                    reader
 *     everything but the sequence               waiting = 1
 *     sequence = n                              sequence still the old one?
 *     waiting?  ->  FUTEX_WAKE                    -> FUTEX_WAIT(sequence, old)
 *
 * The two stores and the two loads are sequentially consistent: either the writer sees `waiting` or the reader sees
 * the new sequence. A stale `waiting` costs one superfluous wake-up, nothing else.
 */
#ifndef WC_CHANNEL_FUTEX_H
#define WC_CHANNEL_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"

/* Make sequence, and with it the whole message, visible, and wake its reader. */
static inline void wc_channel_post(const struct wc_channel *channel, struct wc_message *message, uint32_t sequence)
{
	__atomic_store_n(&message->sequence, sequence, __ATOMIC_SEQ_CST);
	if ((channel->features & WC_CHANNEL_FEATURE_WAITING) && !__atomic_load_n(&message->waiting, __ATOMIC_SEQ_CST))
		return;
	syscall(SYS_futex, &message->sequence, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/*
 * Wait until the sequence is no longer `old`. 0: it changed. -EINTR: a signal handler ran. -ETIMEDOUT: not within
 * timeout (relative; NULL waits for ever, and is cheaper: no timer).
 */
static inline int wc_channel_wait(struct wc_message *message, uint32_t old, const struct timespec *timeout)
{
	int err = 0;

	if (__atomic_load_n(&message->sequence, __ATOMIC_ACQUIRE) != old)
		return 0;
	__atomic_store_n(&message->waiting, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&message->sequence, __ATOMIC_SEQ_CST) == old) {
		if (syscall(SYS_futex, &message->sequence, FUTEX_WAIT, old, timeout, NULL, 0) && errno != EAGAIN) {
			err = -errno;
			break;
		}
	}
	__atomic_store_n(&message->waiting, 0, __ATOMIC_RELAXED);
	return err;
}

#endif
