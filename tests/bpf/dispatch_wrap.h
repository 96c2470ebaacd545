/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dispatch_wrap.h - what dispatch_wrap.bpf.c and the tests that run it both know. */
#ifndef WC_TESTS_DISPATCH_WRAP_H
#define WC_TESTS_DISPATCH_WRAP_H

/* Who has a core (wrap_owners[core]). Whoever changes NOBODY into something else has just claimed it, and is the only one. */
enum wrap_owner {
	WRAP_NOBODY,  /* it is in a queue, or about to be */
	WRAP_PROGRAM, /* a run that has not ended yet */
	WRAP_HANDED,  /* waits for an agent */
	WRAP_AGENT,   /* and above: an agent by its number */
};

#endif
