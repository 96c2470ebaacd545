/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* landlock.h - does this kernel have Landlock, and what of it? For the daemon and for `warmcore doctor`. */
#ifndef WC_LANDLOCK_PROBE_H
#define WC_LANDLOCK_PROBE_H

/* Its version, or 0: none that is of use, and *ret_why says why and what to do. */
int wc_landlock_probe(const char **ret_why);
/* What a version keeps apart, in words. */
const char *wc_landlock_text(int version);

#endif
