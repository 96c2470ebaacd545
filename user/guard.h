/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * guard.h - copies to and from memory that another process may take pages away from: the daemon's mappings of instances' memory. A page that is not there and
 * cannot be had, or lies beyond the end of its file, is an error, and not the end of the daemon (SIGBUS).
 *
 * memcpy(3) is two to three times as fast as what lets the kernel look (process_vm_readv(2), pread(2)): 46 us a megabyte, against 131 and 97.
 */
#ifndef WC_GUARD_H
#define WC_GUARD_H

#include <stddef.h>

/* Once, before any thread copies. A SIGBUS outside of a copy ends the process, as without. */
void wc_guard_open(void);

/* Any thread. 0; -EFAULT: not all of it could be read, or written. The two do not overlap. */
int wc_guard_copy(void *to, const void *from, size_t length);

#endif
