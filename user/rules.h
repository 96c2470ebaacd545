/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rules.h - which files of the host instances without a sandbox may open: a Landlock ruleset (runtimes/abi/landlock.h), one for
 * all functions of a node. Instances in a sandbox get one that its init makes (runtimes/sandbox/init.c).
 *
 * All functions have the same one because a Node.js process that waits for a function has it on before it knows whose it will be. So
 * it lets them into the folder where all code is; that none reads another's is, as ever, a matter of the code's group.
 */
#ifndef WC_RULES_H
#define WC_RULES_H

#include "user/error.h"
#include "user/instance.h"
#include "user/options.h"

/* A descriptor, or a negative errno. Only where launcher->landlock says that there is Landlock. */
int wc_rules_make(const struct wc_launcher *launcher, const struct wc_options *options, struct wc_fault *fault);

#endif
