/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * farewell.h - instances that are not needed any more and asked for time to clean up (WC_CHANNEL_FLAG_FAREWELL).
 *
 * They are told with SHUTDOWN, have WC_CHANNEL_FAREWELL_MS until SIGKILL, and leave their core to others meanwhile. A thread of its own
 * waits for them: neither agents nor the main loop do.
 */
#ifndef WC_FAREWELL_H
#define WC_FAREWELL_H

#include "user/error.h"
#include "user/instance.h"

/* `most`: how many may be about to end at a time; those beyond are killed at once. */
int wc_farewell_open(uint32_t most, struct wc_fault *fault);
/* Wait until all have ended: as long as one may take, at most. Without open it does nothing. */
void wc_farewell_close(void);

/* Takes over an idle instance. Any thread; returns at once. False: it did not; stop it. */
bool wc_farewell(struct wc_instance *instance);

#endif
