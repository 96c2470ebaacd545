/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pack: fill a core up before the next one is used, as commercial clouds pack instances onto machines: good for the bill, bad
 * for interference. The lowest core with fewer than config.pack_slots invocations; they share it. When the first CORES are
 * full, the next ones are looked at from a random one on, and if those are full too, the least full of them gets it.
 */
#ifdef WC_POLICY
WC_POLICY(pack, EARLY, SHARE,
	  "the lowest core with fewer than pack_slots invocations, which share it (commercial clouds)")
#elif !defined(WC_POLICY_PACK_H)
#define WC_POLICY_PACK_H

#define WC_PACK_CORES 64

struct wc_pack {
	struct wc_tables *tables;
	__u32 first, cores, slots;
	__u32 core, load; /* the first below slots, or else the least full so far */
};

/* Returns 1 to stop. */
static long wc_pack_step(__u32 index, void *context)
{
	struct wc_pack *pack = context;
	__u32 core = pack->first + index < pack->cores ? pack->first + index : pack->first + index - pack->cores;
	__u32 load = wc_core_load(pack->tables, core);

	if (load < pack->load) {
		pack->load = load;
		pack->core = core;
	}
	return load < pack->slots;
}

static __always_inline void wc_policy_pack(struct wc_tables *tables, struct wc_config *config,
					   struct wc_function *function, struct wc_choice *choice)
{
	struct wc_pack pack = { .tables = tables, .cores = config->core_count, .slots = config->pack_slots };
	__u32 steps = pack.cores < WC_PACK_CORES ? pack.cores : WC_PACK_CORES;

	(void)function;
	pack.core = WC_NONE;
	pack.load = ~0U;
	wc_loop(steps, wc_pack_step, &pack);
	if (pack.cores > steps && pack.load >= pack.slots) {
		pack.first = wc_random() % pack.cores;
		wc_loop(steps, wc_pack_step, &pack);
	}
	choice->core = pack.core;
}
#endif
