/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* nearest.h - what somebody meant who typed something else. */
#ifndef WC_NEAREST_H
#define WC_NEAREST_H

/* Of `names` (NULL-terminated), the one that was probably meant by `typed`; NULL when none is near. */
const char *wc_nearest(const char *typed, const char *const *names);

#endif
