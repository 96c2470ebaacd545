/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* environment.h - what machine and what software this is: as JSON, for the result folder and the report. */
#ifndef WC_STUDY_ENVIRONMENT_H
#define WC_STUDY_ENVIRONMENT_H

#include <jansson.h>

/* {"begun": UTC, "kernel": ..., "cpu": ..., "cpus": N, "mitigations": {...}, ...}; all texts. A new reference; NULL: no memory. */
json_t *environment_capture(void);

/* Is it the same machine, as far as figures go: kernel, CPU, number of CPUs, version? NULL when it is, else the key that differs. */
const char *environment_differs(const json_t *a, const json_t *b);

#endif
