/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rss: no choice. The CPU whose receive queue got the packet runs it, so the hash of the network card decides (receive-side
 * scaling, SO_REUSEPORT servers). A CPU that is no worker core passes it to one by its number.
 */
#ifdef WC_POLICY
WC_POLICY(rss, EARLY, RUN, "the CPU that received the packet; no choice at all")
#elif !defined(WC_POLICY_RSS_H)
#define WC_POLICY_RSS_H

static __always_inline void wc_policy_rss(struct wc_tables *tables, struct wc_config *config,
					  struct wc_function *function, struct wc_choice *choice)
{
	__u32 local = wc_local_core(config, choice->cpu);

	(void)tables;
	(void)function;
	if (local) {
		choice->core = local - 1;
		choice->how = WC_HOW_LOCAL;
	} else if (config->core_count) {
		choice->core = choice->cpu % config->core_count;
	}
}
#endif
