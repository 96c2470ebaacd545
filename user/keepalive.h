/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * keepalive.h - how long an idle instance is kept, and when one is started before the next call: learned for each function from the
 * times that it idled, and what an idle instance is worth when memory is short. Pure: no clock, no memory, no locks, integers only;
 * the node (warmth.c) and the simulation (tests/bench/bench_warmness.c) run the same lines.
 *
 * The hybrid histogram policy of Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 4.2. An idle time is that from the
 * end of an execution to the next call. Each function has a histogram of them: 240 bins of a minute, and a count of those beyond (out
 * of bounds). Its 5th percentile, rounded down, is the head; its 99th, rounded up, the tail; both get a margin of 10 %.
 *
 *      end of an execution                                              next call, if as before
 *      |<-------- prewarm: nothing is loaded -------->|<---- loaded ---------- x ------>|
 *      0                                          head - 10 %                      tail + 10 %
 *
 * A head of 0 bins means that the instance simply stays. While the histogram says nothing, a fixed time holds:
 *   - too few idle times;
 *   - not representative: the counts of the bins vary little (coefficient of variation below 2), so there is no pattern;
 *   - most idle times are out of bounds.
 *
 * What is different from the paper:
 *   - The window ends where it no longer pays (rule `hybrid`; `percentile` is the paper's window). The fixed time is what a start is
 *     worth: for how long an instance may idle to save one. Of all ends up to the tail the best is taken: that with the most of
 *     (starts saved) x (fixed time) - (time idled). Percentiles alone keep a function that is called at random every hour for hours.
 *   - Several instances. The paper knows one for an application; here a function has as many as run at once. The n-th is needed when
 *     a call comes while n - 1 run, and has idled since fewer than n ran. Idle times of the first are the paper's; those of all others
 *     go into a second histogram, and they are kept for as long as it pays, without prewarming. Without this the second and third
 *     instance of a busy function, whose first idles for seconds, would be stopped between any two waves of calls.
 *   - The fixed time is a knob, 10 minutes unless given; the paper keeps what is not representative for the range of the histogram,
 *     4 hours. There is no time series forecast (ARIMA) for what is mostly out of bounds. A few idle times are asked for before a
 *     histogram is believed. Old ones are forgotten: all counts are halved when there are WC_KEEPALIVE_MEMORY, so that a function that
 *     changes its habits is followed (the paper has one histogram a day for that).
 */
#ifndef WC_KEEPALIVE_H
#define WC_KEEPALIVE_H

#include <stdbool.h>
#include <stdint.h>

#define WC_KEEPALIVE_BINS 240u
#define WC_KEEPALIVE_MEMORY 4096u
#define WC_KEEPALIVE_NEVER UINT64_MAX

/* What is kept for how long. */
enum wc_keepalive_rule {
	WC_KEEPALIVE_HYBRID,
	WC_KEEPALIVE_PERCENTILE, /* the paper's window */
	WC_KEEPALIVE_FIXED,
	WC_KEEPALIVE_OFF, /* for ever: only the memory budget and room on a core end an instance */
};

/* Why a plan is as it is. */
/* clang-format off */
#define WC_KEEPALIVE_WHYS(X)                                                                   \
	X(off, "kept for ever: the rule is off")                                               \
	X(fixed, "a fixed time: the rule is fixed")                                            \
	X(few, "a fixed time: few idle times are known yet")                                   \
	X(rare, "a fixed time: most idle times are longer than the histogram")                 \
	X(spread, "a fixed time: idle times show no pattern")                                  \
	X(learned, "learned from its idle times")                                              \
	X(unpaid, "stopped at once: it would idle for longer than a start is worth")
/* clang-format on */

enum wc_keepalive_why {
#define WC_KEEPALIVE_WHY(name, text) WC_KEEPALIVE_WHY_##name,
	WC_KEEPALIVE_WHYS(WC_KEEPALIVE_WHY)
#undef WC_KEEPALIVE_WHY
	WC_KEEPALIVE_WHY_COUNT,
};
extern const char *const wc_keepalive_why_names[WC_KEEPALIVE_WHY_COUNT];
extern const char *const wc_keepalive_why_texts[WC_KEEPALIVE_WHY_COUNT];

/* All times in one unit, whichever the caller likes. */
struct wc_keepalive_knobs {
	enum wc_keepalive_rule rule;
	uint64_t bin;	/* width of a bin; not 0 */
	uint64_t fixed; /* while the histogram says nothing */
	bool prewarm; /* false: what the histogram says of the tail only; an instance stays from the end to the tail */
	uint32_t samples_min; /* idle times before the histogram is believed */
	uint32_t cv_percent;  /* least coefficient of variation of the bins' counts, in percent */
	uint32_t head, tail;  /* percentiles */
	uint32_t margin;      /* percent */
	uint32_t rare;	      /* percent of idle times out of bounds from which on they are most */
};

/* Those of the paper, with bins of `bin`, and the fixed time given. */
struct wc_keepalive_knobs wc_keepalive_defaults(uint64_t bin, uint64_t fixed);

/* Idle times. Zeroed: none. */
struct wc_keepalive_histogram {
	uint16_t count[WC_KEEPALIVE_BINS];
	uint32_t within;  /* sum of count[] */
	uint32_t beyond;  /* out of bounds */
	uint64_t squares; /* sum of the squares of count[] */
};

/* What is known of a function. Zeroed: nothing. */
struct wc_keepalive {
	struct wc_keepalive_histogram first, more; /* of its first instance; of further ones, that run beside it */
};

/* From the end of an execution. The first instance is loaded from `prewarm` to `end`; with prewarm 0 it stays loaded. */
struct wc_keepalive_plan {
	uint64_t prewarm;
	uint64_t end;  /* WC_KEEPALIVE_NEVER: it stays */
	uint64_t more; /* the same for further instances */
	enum wc_keepalive_why why, more_why;
};

/* The instance that is needed when `level` run idled for so long; 1 is the first. */
void wc_keepalive_note(struct wc_keepalive *known, const struct wc_keepalive_knobs *knobs, uint32_t level,
		       uint64_t idle);
/*
 * What to do after an execution. Walks the bins up to the tail: one for a function that is called all the time, all 240 for one that
 * is called every few hours.
 */
struct wc_keepalive_plan wc_keepalive_plan(const struct wc_keepalive *known, const struct wc_keepalive_knobs *knobs);

/*
 * What an idle instance is worth, when memory is short: Greedy-Dual-Size-Frequency, as Fuerst and Sharma use it in "FaasCache: Keeping
 * Serverless Computing Alive with Greedy-Dual Caching", ASPLOS 2021. The one with the least goes first:
 *
 *      clock when it was used last  +  calls x time of a start / memory
 *
 * The clock is the worth of what went last, so whatever is not used for long is overtaken by what is. `calls` counts since the
 * function last had no instance.
 */
struct wc_keepalive_cost {
	uint64_t clock;
	uint64_t calls;
	uint64_t start_us;
	uint64_t memory_kib;
};
uint64_t wc_keepalive_worth(const struct wc_keepalive_cost *cost);

/*
 * May one more instance be started for a function of which `wanting` invocations have none? Not while those that there are will have
 * served them all before a new one could begin: one instance does S / E invocations during a start of S when an execution takes E, so
 * ceil(wanting x E / S) instances are enough. When an execution takes longer than a start nobody waits: each invocation gets one. But
 * when as many are being started as are wanted, one was begun ahead of this invocation, and is ready sooner than any other could be.
 */
struct wc_keepalive_burst {
	uint64_t wanting;      /* invocations without an instance: queued, waiting for one, the caller's */
	uint64_t execution_ns; /* average; 0: not known */
	uint64_t start_ns;     /* likewise */
	uint32_t running;      /* instances that run, and will be free */
	uint32_t starting;     /* instances that are being started */
};
bool wc_keepalive_start(const struct wc_keepalive_burst *burst);

#endif
