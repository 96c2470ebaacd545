/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* random: any core, bound at once, run to completion. The baseline that knows nothing. */
#ifdef WC_POLICY
WC_POLICY(random, EARLY, RUN, "a core at random")
#elif !defined(WC_POLICY_RANDOM_H)
#define WC_POLICY_RANDOM_H

static __always_inline void wc_policy_random(struct wc_tables *tables, struct wc_config *config,
					     struct wc_function *function, struct wc_choice *choice)
{
	(void)tables;
	(void)function;
	if (config->core_count)
		choice->core = wc_random() % config->core_count;
}
#endif
