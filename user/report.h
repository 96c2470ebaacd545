/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* report.h - the lines START, END and REPORT of an invocation in its function's log (--log-report on): what Lambda's users look for. */
#ifndef WC_REPORT_H
#define WC_REPORT_H

#include "user/instance.h"

/* The invocation begins in this instance. */
void wc_report_start(const struct wc_instance *instance, uint64_t request_id);
/* It has ended. `init_ns`: what the start of the instance took, 0: it was warm. */
void wc_report_end(const struct wc_instance *instance, uint64_t request_id, const struct wc_result *result,
		   uint64_t service_ns, uint64_t init_ns);

#endif
