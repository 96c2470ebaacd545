/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* version.h - the one place that names the version. */
#ifndef WC_VERSION_H
#define WC_VERSION_H

#define WC_VERSION_TEXT "0.1.0"

#endif
