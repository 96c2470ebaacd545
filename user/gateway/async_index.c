/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_index.c - see async_index.h. */
#include "user/gateway/async_index.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* The name is the first field: a name alone is a key, too. */
_Static_assert(offsetof(struct wc_async_function, name) == 0, "wc_async_function begins with its name");

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

void wc_async_index_free(struct wc_async_index *index)
{
	for (size_t i = 0; i < index->count; i++) {
		tdelete(index->list[i], &index->tree, by_name);
		free(index->list[i]);
	}
	free(index->list);
	memset(index, 0, sizeof(*index));
}

void wc_async_index_zero(struct wc_async_index *index)
{
	for (size_t i = 0; i < index->count; i++) {
		index->list[i]->waiting = index->list[i]->running = 0;
		index->list[i]->due_ms = WC_ASYNC_NEVER;
	}
	index->waiting = index->running = 0;
}

struct wc_async_function *wc_async_index_find(const struct wc_async_index *index, const char *name)
{
	struct wc_async_function **at = tfind(name, &index->tree, by_name);

	return at ? *at : NULL;
}

struct wc_async_function *wc_async_index_get(struct wc_async_index *index, const char *name)
{
	struct wc_async_function *function = wc_async_index_find(index, name), **larger;

	if (function)
		return function;
	if (index->count == index->room) {
		size_t room = index->room ? index->room * 2 : 64;

		larger = realloc(index->list, room * sizeof(struct wc_async_function *));
		if (!larger)
			return NULL;
		index->list = larger;
		index->room = room;
	}
	function = calloc(1, sizeof(*function));
	if (!function)
		return NULL;
	snprintf(function->name, sizeof(function->name), "%s", name);
	function->due_ms = WC_ASYNC_NEVER;
	if (!tsearch(function, &index->tree, by_name)) {
		free(function);
		return NULL;
	}
	index->list[index->count++] = function;
	return function;
}

void wc_async_index_wait(struct wc_async_index *index, struct wc_async_function *function, uint32_t count,
			 uint64_t due_ms)
{
	function->waiting += count;
	index->waiting += count;
	if (count && due_ms < function->due_ms)
		function->due_ms = due_ms;
}

void wc_async_index_unwait(struct wc_async_index *index, struct wc_async_function *function)
{
	function->waiting--;
	index->waiting--;
	if (!function->waiting)
		function->due_ms = WC_ASYNC_NEVER;
}

void wc_async_index_run(struct wc_async_index *index, struct wc_async_function *function, uint32_t count)
{
	function->running += count;
	index->running += count;
}

void wc_async_index_unrun(struct wc_async_index *index, struct wc_async_function *function)
{
	function->running--;
	index->running--;
}

#define WINDOW_MAX 100000

void wc_async_index_narrow(struct wc_async_function *function)
{
	uint32_t window = function->window ? function->window : function->running + 1;

	function->window = window > 1 ? window / 2 : 1;
}

void wc_async_index_widen(struct wc_async_function *function)
{
	if (function->window && ++function->window > WINDOW_MAX)
		function->window = 0;
	function->busy = 0;
	function->held_until_ms = 0;
}

static bool has_room(const struct wc_async_function *function, uint32_t running_max)
{
	return function->running < running_max && (!function->window || function->running < function->window);
}

/* Functions come and go without end. */
static bool is_idle(const struct wc_async_function *function, uint64_t now_ms)
{
	return !function->waiting && !function->running && function->held_until_ms <= now_ms;
}

struct wc_async_function *wc_async_index_next(struct wc_async_index *index, uint64_t now_ms, uint32_t running_max)
{
	for (size_t left = index->count; left > 0; left--) {
		struct wc_async_function *function;

		if (index->turn >= index->count)
			index->turn = 0;
		function = index->list[index->turn];
		if (is_idle(function, now_ms)) {
			tdelete(function, &index->tree, by_name);
			index->list[index->turn] = index->list[--index->count];
			free(function);
			continue;
		}
		index->turn++;
		if (function->waiting && function->due_ms <= now_ms && function->held_until_ms <= now_ms &&
		    has_room(function, running_max))
			return function;
	}
	return NULL;
}

uint64_t wc_async_index_due(const struct wc_async_index *index, uint32_t running_max)
{
	uint64_t due_ms = WC_ASYNC_NEVER;

	for (size_t i = 0; i < index->count; i++) {
		const struct wc_async_function *function = index->list[i];
		uint64_t at = function->due_ms > function->held_until_ms ? function->due_ms : function->held_until_ms;

		if (function->waiting && has_room(function, running_max) && at < due_ms)
			due_ms = at;
	}
	return due_ms;
}
