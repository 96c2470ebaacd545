/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* events.c - see events.h. */
#include "tools/sim/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DAYS_MIN 256u
#define DAYS_MAX (1u << 24)
#define SHIFT_FIRST 10
#define SHIFT_MAX 50
#define LOOK_STEPS 8192 /* taken and walked, before the length of a day is looked at */

/* --- heaps with four children: half as deep as with two, and the children are in two cache lines --- */

static int heap_put(struct event_heap *heap, const struct event *event)
{
	uint32_t at = heap->count;

	if (at == heap->room) {
		uint32_t room = heap->room ? heap->room * 2 : 64;
		struct event *larger = room > heap->room ? realloc(heap->event, room * sizeof(*larger)) : NULL;

		if (!larger)
			return -ENOMEM;
		heap->event = larger;
		heap->room = room;
	}
	heap->count++;
	while (at && event->at < heap->event[(at - 1) / 4].at) {
		heap->event[at] = heap->event[(at - 1) / 4];
		at = (at - 1) / 4;
	}
	heap->event[at] = *event;
	return 0;
}

static void heap_drop(struct event_heap *heap)
{
	struct event last = heap->event[--heap->count];
	uint32_t at = 0, count = heap->count;

	for (;;) {
		uint32_t first = 4 * at + 1, best = first, end = first + 4 < count ? first + 4 : count;

		if (first >= count)
			break;
		for (uint32_t i = first + 1; i < end; i++)
			best = heap->event[i].at < heap->event[best].at ? i : best;
		if (heap->event[best].at >= last.at)
			break;
		heap->event[at] = heap->event[best];
		at = best;
	}
	heap->event[at] = last;
}

/* --- days --- */

int events_open(struct events *events)
{
	*events = (struct events){ .days = DAYS_MIN, .shift = SHIFT_FIRST };
	events->day = calloc(events->days, sizeof(*events->day));
	return events->day ? 0 : -ENOMEM;
}

void events_close(struct events *events)
{
	free(events->near.event);
	free(events->far.event);
	free(events->cell);
	free(events->day);
	*events = (struct events){ 0 };
}

uint64_t events_count(const struct events *events)
{
	return (uint64_t)events->count + events->near.count + events->far.count;
}

size_t events_bytes(const struct events *events)
{
	return ((size_t)events->near.room + events->far.room) * sizeof(struct event) +
	       events->cells * sizeof(*events->cell) + events->days * sizeof(*events->day);
}

static int cells_grow(struct events *events)
{
	uint32_t more = events->cells ? events->cells * 2 : 1024;
	struct event *larger = more > events->cells ? realloc(events->cell, more * sizeof(*larger)) : NULL;

	if (!larger)
		return -ENOMEM;
	for (uint32_t i = more; i-- > events->cells;) {
		larger[i].next = events->free;
		events->free = i + 1;
	}
	events->cell = larger;
	events->cells = more;
	return 0;
}

static int day_put(struct events *events, const struct event *event, uint64_t ahead)
{
	uint32_t *day = &events->day[(events->today + ahead) & (events->days - 1)], cell;

	if (!events->free && cells_grow(events))
		return -ENOMEM;
	cell = events->free;
	events->free = events->cell[cell - 1].next;
	events->cell[cell - 1] = *event;
	events->cell[cell - 1].next = *day;
	*day = cell;
	events->count++;
	return 0;
}

int events_put(struct events *events, const struct event *event)
{
	uint64_t ahead;

	if (event->at < events->begin + (1ull << events->shift))
		return heap_put(&events->near, event);
	ahead = (event->at - events->begin) >> events->shift;
	return ahead < events->days ? day_put(events, event, ahead) : heap_put(&events->far, event);
}

/* Those of the far heap that are within a year now. */
static void far_come(struct events *events)
{
	while (events->far.count && (events->far.event[0].at - events->begin) >> events->shift < events->days) {
		struct event event = events->far.event[0];

		heap_drop(&events->far);
		if (events_put(events, &event)) {
			heap_put(&events->far, &event); /* there is room: it was there. The next day tries again */
			return;
		}
	}
}

/* All events into days of another length. Without memory everything stays as it is, which is only slower. */
static void rebuild(struct events *events, unsigned shift, uint32_t days)
{
	uint32_t *day = calloc(days, sizeof(*day)), *old = events->day, old_days = events->days;
	uint32_t first = 0;

	if (!day)
		return;
	/* One chain of all cells; then each goes to its new day, to which no memory has to be allocated. */
	for (uint32_t d = 0; d < old_days; d++)
		while (old[d]) {
			uint32_t cell = old[d];

			old[d] = events->cell[cell - 1].next;
			events->cell[cell - 1].next = first;
			first = cell;
		}
	free(old);
	events->day = day;
	events->days = days;
	events->shift = shift;
	events->today = 0;
	events->count = 0;
	while (first) {
		struct event event = events->cell[first - 1];
		uint32_t next = events->cell[first - 1].next;

		events->cell[first - 1].next = events->free;
		events->free = first;
		events->failed |= events_put(events, &event) != 0;
		first = next;
	}
	far_come(events);
}

static void look(struct events *events)
{
	uint64_t taken = events->taken ? events->taken : 1, gap = (events->begin - events->since) / taken;
	uint64_t all = events_count(events);
	unsigned shift = 0;
	uint32_t days = DAYS_MIN;

	while (shift < SHIFT_MAX && (2ull << shift) <= gap * 4)
		shift++;
	while (days < DAYS_MAX && days < 2 * all)
		days *= 2;
	events->taken = events->walked = 0;
	events->since = events->begin;
	if (shift > events->shift + 1 || shift + 1 < events->shift || days > events->days || days * 4 < events->days)
		rebuild(events, shift, days);
}

/* A cell + 1 that is needed soon; 0: none. */
static void ask_for(const struct events *events, uint32_t cell)
{
	if (cell)
		__builtin_prefetch(&events->cell[cell - 1]);
}

/* Tomorrow becomes today. There is an event in a day or far away. */
static void next_day(struct events *events)
{
	uint32_t cell;

	if (!events->count) { /* not day by day to where the next one is */
		events->begin = events->far.event[0].at >> events->shift << events->shift;
	} else {
		events->begin += 1ull << events->shift;
		events->today = (events->today + 1) & (events->days - 1);
		events->walked++;
		/* Cells are anywhere in memory, and each says where the next one is: the first three of the days to come are asked for now. */
		ask_for(events, events->day[(events->today + 3) & (events->days - 1)]);
		cell = events->day[(events->today + 2) & (events->days - 1)];
		if (cell)
			ask_for(events, events->cell[cell - 1].next);
		cell = events->day[(events->today + 1) & (events->days - 1)];
		cell = cell ? events->cell[cell - 1].next : 0;
		if (cell)
			ask_for(events, events->cell[cell - 1].next);
		cell = events->day[events->today];
		events->day[events->today] = 0;
		while (cell) {
			struct event *entry = &events->cell[cell - 1];
			uint32_t next = entry->next;

			ask_for(events, next);
			events->failed |= heap_put(&events->near, entry) != 0;
			entry->next = events->free;
			events->free = cell;
			events->count--;
			cell = next;
		}
	}
	if (events->far.count)
		far_come(events);
}

const struct event *events_peek(struct events *events)
{
	while (!events->near.count) {
		if ((!events->count && !events->far.count) || events->failed)
			return NULL;
		if (events->taken + events->walked > LOOK_STEPS + events_count(events)) {
			look(events);
			continue; /* where today is longer now, what was in later days may be near already */
		}
		next_day(events);
	}
	return &events->near.event[0];
}

bool events_take(struct events *events, struct event *ret_event)
{
	const struct event *first = events_peek(events);

	if (!first)
		return false;
	*ret_event = *first;
	heap_drop(&events->near);
	events->taken++;
	return true;
}
