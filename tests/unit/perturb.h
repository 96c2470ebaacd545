/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * perturb.h - for the multi-threaded tests of the shared headers: include it before them.
 *
 * Their loads, stores and atomics become the compiler's __atomic builtins of the same strength, which the thread sanitizer
 * understands (it takes a volatile access for a plain one), and between any two of them a thread may give up its CPU: on a
 * machine with few CPUs hardly any interleaving would be seen otherwise.
 */
#ifndef WC_TESTS_PERTURB_H
#define WC_TESTS_PERTURB_H

#include <sched.h>
#include <stdint.h>

#include "bpf/shim.h"

static __thread uint64_t perturb_state;
static unsigned perturb_one_in = 16; /* how often a step gives up the CPU; set before threads start */

static inline void perturb(void)
{
	if (!perturb_state)
		perturb_state = (uint64_t)(uintptr_t)&perturb_state | 1;
	perturb_state ^= perturb_state << 13;
	perturb_state ^= perturb_state >> 7;
	perturb_state ^= perturb_state << 17;
	if ((perturb_state >> 20) % perturb_one_in == 0)
		sched_yield();
}

#undef WC_READ
#undef WC_WRITE
#undef wc_fetch_and
#undef wc_fetch_or
#undef wc_fetch_add
#undef wc_cas
#define WC_READ(x) (perturb(), __atomic_load_n(&(x), __ATOMIC_ACQUIRE)) /* what a load is on x86-64 */
#define WC_WRITE(x, v) (perturb(), __atomic_store_n(&(x), (v), __ATOMIC_RELEASE))
#define wc_fetch_and(p, v) (perturb(), __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST))
#define wc_fetch_or(p, v) (perturb(), __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST))
#define wc_fetch_add(p, v) (perturb(), __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST))
#define wc_cas(p, was, now)                                                                                            \
	({                                                                                                             \
		__typeof__(*(p)) wc_was_ = (was);                                                                      \
		perturb();                                                                                             \
		__atomic_compare_exchange_n((p), &wc_was_, (now), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);          \
		wc_was_;                                                                                               \
	})

#endif
