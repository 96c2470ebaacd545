/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * jsq2: the power of two choices (Mitzenmacher 2001; the sampling that Sparrow builds on): two cores at random, the one with
 * the shorter queue gets it. Bound at once, run to completion.
 */
#ifdef WC_POLICY
WC_POLICY(jsq2, EARLY, RUN, "the shorter queue of two cores at random (power of two choices)")
#elif !defined(WC_POLICY_JSQ2_H)
#define WC_POLICY_JSQ2_H

static __always_inline void wc_policy_jsq2(struct wc_tables *tables, struct wc_config *config,
					   struct wc_function *function, struct wc_choice *choice)
{
	__u32 cores = config->core_count, a, b;

	(void)function;
	if (!cores)
		return;
	a = wc_random() % cores;
	b = wc_random() % cores;
	choice->core = wc_core_load(tables, b) < wc_core_load(tables, a) ? b : a;
}
#endif
