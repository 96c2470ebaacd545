/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * error.h - an error with its sentence: what failed, why, what to do. Filled by whoever knows, printed or sent by whoever
 * was asked. Functions that take one return a negative errno and fill it exactly when they fail.
 */
#ifndef WC_ERROR_H
#define WC_ERROR_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

struct wc_fault {
	char text[512];
};

/* Fill *fault and return -code: `return wc_fail(fault, EINVAL, "...")`. */
__attribute__((format(printf, 3, 4))) static inline int wc_fail(struct wc_fault *fault, int code, const char *format,
								...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return code > 0 ? -code : code;
}

#endif
