/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pin.h - all that an instance consists of on one CPU: its threads, and the processes that it started.
 *
 * That is its limit of CPU time, too: what it starts is born on its CPU, and the filter refuses sched_setaffinity(). So an instance has
 * one CPU's worth at most, however many threads it has, without cpu.max, which would put each wake-up through the
 * groups of the fair scheduler. When it moves to another core all of it has to go there.
 */
#ifndef WC_PIN_H
#define WC_PIN_H

#include "user/instance.h"

/* Any thread. Microseconds for one without processes of its own. */
void wc_pin_instance(const struct wc_instance *instance, int cpu);

#endif
