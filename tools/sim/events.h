/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * events.h - what happens next: a calendar queue (Brown 1988) whose current day is a small heap, so that the order is exact whatever the
 * length of a day. What is further away than a year waits in a heap of its own. Length and number of days follow the events: about four
 * are taken out a day, so putting in and taking out cost the same for ten events and for a million. 24 bytes an event.
 */
#ifndef WC_SIM_EVENTS_H
#define WC_SIM_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event {
	uint64_t at;		       /* ns */
	uint32_t kind : 4, stamp : 28; /* these and the next two for whoever put it in */
	uint32_t a, b;
	uint32_t next; /* in a day: the next cell + 1 */
};

struct event_heap {
	struct event *event;
	uint32_t count, room;
};

struct events {
	struct event_heap near; /* of the current day, and what is before its end */
	struct event_heap far;	/* beyond the year */
	struct event *cell;
	uint32_t *day; /* the first cell + 1 of each */
	uint32_t free, cells, days, today;
	uint32_t count; /* in the days */
	unsigned shift; /* a day has 2^shift ns */
	uint64_t begin; /* of today */
	/* since the length of a day was looked at */
	uint64_t taken, walked, since;
	bool failed; /* there was no memory, and an event is lost: nothing more comes */
};

/* 0 or -ENOMEM. */
int events_open(struct events *events);
void events_close(struct events *events);
/* 0 or -ENOMEM; at must not be before what was taken out last. */
int events_put(struct events *events, const struct event *event);
/* The earliest, without taking it out. NULL: there is none. It is valid until the next put or take. */
const struct event *events_peek(struct events *events);
/* The same, and it is gone. */
bool events_take(struct events *events, struct event *ret_event);
uint64_t events_count(const struct events *events);
/* What it has allocated. */
size_t events_bytes(const struct events *events);

#endif
