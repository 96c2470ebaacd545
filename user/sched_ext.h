/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sched_ext.h - who has sched_ext on this host, as the kernel says it; for the daemon and for doctor. */
#ifndef WC_SCHED_EXT_H
#define WC_SCHED_EXT_H

#include "user/first_line.h"

#include <stdbool.h>

#define WC_SCHED_EXT_FOLDER "/sys/kernel/sched_ext/"

struct wc_sched_ext {
	char state[32]; /* "disabled": free */
	char ops[64];	/* name of the scheduler that has it; "" when it is free, or has none */
};

/* False: this kernel has no sched_ext. */
static inline bool wc_sched_ext_read(struct wc_sched_ext *now)
{
	if (access(WC_SCHED_EXT_FOLDER "state", R_OK))
		return false;
	wc_first_line(WC_SCHED_EXT_FOLDER "state", now->state, sizeof(now->state));
	wc_first_line(WC_SCHED_EXT_FOLDER "root/ops", now->ops, sizeof(now->ops));
	return true;
}

static inline bool wc_sched_ext_free(const struct wc_sched_ext *now)
{
	return strcmp(now->state, "disabled") == 0;
}

#endif
