/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ll_ps: what the authors of the paper proposed later (Hermod, SoCC 2022): bind at once to the core with the least load, and
 * let the core share its time between the invocations that it has (processor sharing), so that a short one does not wait
 * behind a long one. Among equally loaded cores one that is warm for the function.
 *
 * Looks at no more than LOADS cores, from a random one on: up to that many cores it is exact, beyond it is a power of LOADS
 * choices.
 */
#ifdef WC_POLICY
WC_POLICY(ll_ps, EARLY, SHARE, "the least loaded core at once; a core shares its time between its invocations (Hermod)")
#elif !defined(WC_POLICY_LL_PS_H)
#define WC_POLICY_LL_PS_H

#define WC_LL_PS_LOADS 64

struct wc_ll_ps {
	struct wc_tables *tables;
	__u32 first, cores;
	__u32 core, load; /* the best so far */
};

/* Returns 1 to stop: an idle core cannot be beaten. */
static long wc_ll_ps_step(__u32 index, void *context)
{
	struct wc_ll_ps *best = context;
	__u32 core = best->first + index < best->cores ? best->first + index : best->first + index - best->cores;
	__u32 load = wc_core_load(best->tables, core);

	if (load < best->load) {
		best->load = load;
		best->core = core;
	}
	return !load;
}

static __always_inline void wc_policy_ll_ps(struct wc_tables *tables, struct wc_config *config,
					    struct wc_function *function, struct wc_choice *choice)
{
	struct wc_ll_ps best = { .tables = tables, .cores = config->core_count, .core = WC_NONE, .load = ~0U };
	__u32 steps = best.cores < WC_LL_PS_LOADS ? best.cores : WC_LL_PS_LOADS;

	best.first = best.cores ? wc_random() % best.cores : 0;
	wc_loop(steps, wc_ll_ps_step, &best);
	choice->core = best.core;
	for (int i = 0; i < WC_WARM_MAX; i++) {
		__u32 warm = WC_READ(function->warm[i]);

		if (!warm)
			break;
		if (wc_core_load(tables, warm - 1) <= best.load) {
			choice->core = warm - 1;
			choice->how = WC_HOW_WARM;
			break;
		}
	}
}
#endif
