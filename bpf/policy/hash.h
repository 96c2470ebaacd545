/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hash: each function has a home core and always runs there, as OpenWhisk places functions on home invokers. Always warm, and
 * queues form on one core while others idle.
 */
#ifdef WC_POLICY
WC_POLICY(hash, EARLY, RUN, "the function's home core, always (OpenWhisk)")
#elif !defined(WC_POLICY_HASH_H)
#define WC_POLICY_HASH_H

static __always_inline void wc_policy_hash(struct wc_tables *tables, struct wc_config *config,
					   struct wc_function *function, struct wc_choice *choice)
{
	(void)tables;
	(void)function;
	if (config->core_count)
		choice->core = (__u32)(wc_mix(choice->function_id) % config->core_count);
}
#endif
