/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * central: the paper (Kaffes, Yadwadkar, Kozyrakis, SoCC 2019). A free core for each invocation, a warm one if there is, stolen
 * from another shard if it must be; when none is free anywhere it waits in one queue for all cores, and whichever core becomes
 * free first takes it (late binding). A core runs one invocation to completion.
 *
 * Order of the claim: warm for the function, for its library set, for its runtime; then the function's reserve; then the own
 * shard, in config.order; then the other shards, nearest first. config.prefer says whether "warm" may leave the own shard
 * before the own shard is empty.
 */
#ifdef WC_POLICY
WC_POLICY(central, LATE, RUN,
	  "free cores first, warm ones before others; one queue for all when none is free (the paper)")
#elif !defined(WC_POLICY_CENTRAL_H)
#define WC_POLICY_CENTRAL_H

/* From here on the core of the choice is the caller's. Returns 0, so that others can end with it. */
static __always_inline int wc_central_found(struct wc_choice *choice, __u32 core, __u32 how)
{
	choice->core = core;
	choice->how = how;
	return 0;
}

/* Any core of the own shard, in the order that is set. */
static __always_inline __u32 wc_central_own(struct wc_tables *tables, const struct wc_config *config, __u32 shard)
{
	return config->order == WC_ORDER_SPREAD ? wc_freeq_claim_next(tables, shard) : wc_freeq_claim(tables, shard);
}

/* Everything but the first look. Longer, and less often; the verifier checks it once. */
WC_GLOBAL_AT(int, wc_central_more, struct wc_choice, choice)
{
	struct wc_config *config = wc_config_at(WC_TABLES, 0);
	struct wc_function *function;
	struct wc_warm warm = { 0 };
	bool anywhere;
	__u32 core;

	if (!choice || !config)
		return 0;
	function = wc_functions_at(WC_TABLES, WC_FUNCTION_SLOT(choice->slot));
	if (!function)
		return 0;
	anywhere = config->prefer == WC_PREFER_WARM;
	warm.slot = choice->slot;
	warm.local = config->order == WC_ORDER_LOCAL ? wc_local_core(config, choice->cpu) : 0;
	warm.queue = anywhere ? WC_NONE : choice->shard;
	if (WC_READ(function->warm[0]) && wc_claim_warm(WC_TABLES, &warm))
		return wc_central_found(choice, warm.core,
					warm.core + 1 == warm.local ? WC_HOW_WARM | WC_HOW_LOCAL : WC_HOW_WARM);
	core = wc_claim_tagged(WC_TABLES, function->tag_libs, choice->shard, anywhere);
	if (core != WC_NONE)
		return wc_central_found(choice, core, WC_HOW_LIBS);
	core = wc_claim_tagged(WC_TABLES, function->tag_runtime, choice->shard, anywhere);
	if (core != WC_NONE)
		return wc_central_found(choice, core, WC_HOW_RUNTIME);
	core = function->reserve ? wc_freeq_claim(WC_TABLES, function->reserve) : WC_NONE;
	if (core != WC_NONE)
		return wc_central_found(choice, core, 0);
	if (warm.local && wc_claim_core(WC_TABLES, config, function, warm.local - 1))
		return wc_central_found(choice, warm.local - 1, WC_HOW_LOCAL);
	core = wc_central_own(WC_TABLES, config, choice->shard);
	if (core != WC_NONE || config->shard_count < 2)
		return wc_central_found(choice, core, 0);
	warm.queue = WC_NONE;
	if (!anywhere && WC_READ(function->warm[0]) && wc_claim_warm(WC_TABLES, &warm))
		return wc_central_found(choice, warm.core, WC_HOW_WARM);
	return wc_central_found(choice, wc_freeq_steal(WC_TABLES, choice->shard), 0);
}

static __always_inline void wc_policy_central(struct wc_tables *tables, struct wc_config *config,
					      struct wc_function *function, struct wc_choice *choice)
{
	(void)config;
	(void)function;
	wc_central_more(tables, choice);
}

/*
 * Take a core whose bit was just seen in a word. Its entry is looked up before the atomic, for which all that comes after it waits.
 * NULL: somebody was faster.
 */
static __always_inline struct wc_core *wc_central_take(struct wc_tables *tables, __u64 *word, __u64 seen, __u64 bit,
						       __u32 core)
{
	struct wc_core *entry;
	__u64 index = core;

	wc_bound(index, WC_CORES_MAX - 1); /* only cores of the table are ever put into a queue */
	entry = wc_cores_in(tables, index);
	wc_hide(entry); /* or the compiler looks it up where it is used */
	return wc_cas(word, seen, seen ^ bit) == seen ? entry : NULL;
}

/*
 * The same choice for the two cases that a busy node consists of, in a straight line without a stack: the warm core that was
 * used last is free, in the own shard, and nothing comes before it in the order; or the function is warm nowhere, and a
 * core of the own shard, or else of the nearest other one, will do. Returns the entry of *ret_core, or NULL:
 * wc_policy_central() has to decide.
 */
static __always_inline struct wc_core *wc_central_first(struct wc_tables *tables, const struct wc_config *config,
							const struct wc_function *function, struct wc_shard *shard,
							__u32 cpu, __u64 queue, __u32 *ret_core, __u32 *ret_how)
{
	__u32 order = WC_READ(config->order), first = WC_READ(function->warm[0]), local, core, w;
	struct wc_core *entry;
	__u64 summary, word, bit;

	local = order == WC_ORDER_LOCAL ? wc_local_core(config, cpu) : 0;

	if (first) {
		if ((local && first != local) || first > WC_CORES_MAX)
			return NULL;
		*ret_how = local ? WC_HOW_WARM | WC_HOW_LOCAL : WC_HOW_WARM;
		core = first - 1;
		w = (core / 64) & (WC_WORDS_MAX - 1);
		word = WC_READ(shard->word[w]);
		bit = 1ULL << core % 64;
		*ret_core = core;
		return word & bit ? wc_central_take(tables, &shard->word[w], word, bit, core) : NULL;
	}
	/* Four words of 16 bits, of which the priority does not matter. */
	if ((wc_load64(&function->tag_libs) & WC_FUNCTION_TAGGED) | (order & WC_ORDER_SPREAD))
		return NULL;
	if (local) {
		entry = wc_cores_at(tables, local - 1);
		if (!entry || WC_READ(entry->shard) != queue)
			return NULL;
		*ret_core = local - 1;
		*ret_how = WC_HOW_LOCAL;
		if (wc_freeq_take(shard, local - 1))
			return entry;
	}
	summary = WC_READ(shard->summary);
	if (!summary) {
		if (config->shard_count < 2)
			return NULL;
		*ret_how = WC_HOW_STOLEN;
		*ret_core = wc_freeq_steal(tables, (__u32)queue);
		return wc_cores_at(tables, *ret_core); /* none: no such core */
	}
	*ret_how = 0;
	/* A branch, because that is predicted, and an index would have to be waited for. */
	w = summary & 1 ? 0 : wc_lowest_bit(summary);
	word = WC_READ(shard->word[w]);
	if (!word)
		return NULL;
	bit = word & -word;
	core = w * 64 + wc_lowest_bit(bit);
	*ret_core = core;
	return wc_central_take(tables, &shard->word[w], word, bit, core);
}
#endif
