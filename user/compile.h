/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compile.h - compile a Python function's modules once, when it is deployed, instead of in each of its instances.
 *
 * Source is other people's code, and a compiler is a large program that reads it: it runs as an instance does, started by the same
 * zygote, in a sandbox of its own, as the function's user, behind the filter (runtimes/python/warmcore_compile.py). All it can do is
 * write to one socket; the daemon looks at what comes and puts it in place (pycache.h).
 */
#ifndef WC_COMPILE_H
#define WC_COMPILE_H

#include "user/functions.h"
#include "user/instance.h"

/*
 * After fn was deployed, no lock held: its instances may start meanwhile, and compile for themselves. Returns when it is done, or
 * after 20 seconds (and up to two that it waits for a sandbox, normally none), or when `stop` can be read. It never fails: what is
 * not compiled is not there, and the log says how much. Does nothing for other runtimes, and while the same code is being
 * compiled already.
 */
void wc_compile(const struct wc_launcher *launcher, const struct wc_fn *fn, int stop);

#endif
