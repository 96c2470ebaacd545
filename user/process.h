/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* process.h - what the calling process takes: the numbers that Prometheus's clients call process_*. */
#ifndef WC_PROCESS_H
#define WC_PROCESS_H

#include <stdint.h>

struct wc_process {
	double cpu_s;	/* user and system */
	double start_s; /* since the epoch; the same at every call */
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds, max_fds;
	uint64_t threads;
};

/* What cannot be found out is 0. Any thread. */
void wc_process_read(struct wc_process *ret_process);

#endif
