/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_index.h - whose turn it is: for each function how much of it waits and runs, and when the next is due. In memory, made from
 * the database at start; it makes the choice among functions fair without reading what waits.
 *
 * Functions take turns, one invocation each, however much of another waits. One that answered "busy" is held for a while. There
 * is one index for invocations and one for deliveries.
 */
#ifndef WC_GATEWAY_ASYNC_INDEX_H
#define WC_GATEWAY_ASYNC_INDEX_H

#include "user/gateway/async.h"

struct wc_async_function {
	char name[WC_ASYNC_NAME_MAX];
	uint32_t waiting, running;
	/* Not later than the first that waits; WC_ASYNC_NEVER: none waits. */
	uint64_t due_ms;
	uint64_t held_until_ms;
	uint32_t busy; /* how often it was, without an invocation in between that ran */
	/* How many may run at once, as learned from "busy": half of what did, and one more with each that ran. 0: as many as may. */
	uint32_t window;
};

struct wc_async_index {
	void *tree; /* of tsearch(3), by name */
	struct wc_async_function **list;
	size_t count, room, turn;
	uint64_t waiting, running; /* of all */
};

void wc_async_index_free(struct wc_async_index *index);
/* Nothing waits or runs; holds stay. */
void wc_async_index_zero(struct wc_async_index *index);

struct wc_async_function *wc_async_index_find(const struct wc_async_index *index, const char *name);
/* Made when there is none. NULL: no memory. Good until the next wc_async_index_next(). */
struct wc_async_function *wc_async_index_get(struct wc_async_index *index, const char *name);

/* `count` more of it wait, the first due then. */
void wc_async_index_wait(struct wc_async_index *index, struct wc_async_function *function, uint32_t count,
			 uint64_t due_ms);
/* One fewer waits. */
void wc_async_index_unwait(struct wc_async_index *index, struct wc_async_function *function);
void wc_async_index_run(struct wc_async_index *index, struct wc_async_function *function, uint32_t count);
void wc_async_index_unrun(struct wc_async_index *index, struct wc_async_function *function);

/* It was busy; it was not. */
void wc_async_index_narrow(struct wc_async_function *function);
void wc_async_index_widen(struct wc_async_function *function);

/* The next in turn that may have something due and runs fewer than running_max, or NULL. */
struct wc_async_function *wc_async_index_next(struct wc_async_index *index, uint64_t now_ms, uint32_t running_max);
/* When wc_async_index_next() will have one, if nothing else happens; may be in the past. */
uint64_t wc_async_index_due(const struct wc_async_index *index, uint32_t running_max);

#endif
