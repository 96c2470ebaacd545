/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * filter.h - which system calls an instance may make (seccomp(2), Documentation/userspace-api/seccomp_filter.rst).
 *
 * A list of what may be called, made by libseccomp for the machine's architecture. What is not on it does not exist for the function
 * (ENOSYS, so that libraries fall back to what does), or is refused with EPERM where programs know that answer. The decision is a
 * constant for almost all calls, which the kernel caches: it costs nothing that can be measured.
 */
#ifndef WC_FILTER_H
#define WC_FILTER_H

#include "user/error.h"

#include <stdbool.h>

/*
 * A sealed memfd as WC_ZYGOTE_FILTER wants it (runtimes/abi/zygote.h), with a key that nobody else has; or a negative errno.
 * `shared_memory`: an instance may have some of its own making: where a control group counts it. RLIMIT_DATA does not, so without one
 * there are no memfds, no System V objects and no shared anonymous mappings; files in /tmp, which has a size, can be mapped.
 */
int wc_filter_make(bool shared_memory, struct wc_fault *fault);

#endif
