// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * engine_closed.c - the closed loop: each client sends, waits for its answer or the time-out, thinks, and sends again. One thread; clients
 * that think are in a heap by the time when they will have thought.
 *
 * A client that was answered BUSY waits for as long as the node asked for at least, within bounds: else it would do nothing but ask.
 */
#include <errno.h>
#include <stdlib.h>

#include "tools/load/calls.h"
#include "user/clock.h"

#define WAIT_NS 5000000u
#define BUSY_MIN_NS 50000u
#define BUSY_MAX_NS 1000000000u

struct client {
	uint64_t due_ns; /* when it sends */
	struct place *place;
};

struct clients {
	struct calls *calls;
	struct client *heap; /* the one that is due first at the top */
	uint32_t count;
	struct load_call *next; /* of each place: what it will call; at_ns is how long it thinks before */
	bool over;		/* the source has no more */
};

static void push(struct clients *clients, struct client client)
{
	uint32_t at = clients->count++;

	while (at && clients->heap[(at - 1) / 2].due_ns > client.due_ns) {
		clients->heap[at] = clients->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	clients->heap[at] = client;
}

static struct client pop(struct clients *clients)
{
	struct client top = clients->heap[0], last = clients->heap[--clients->count];
	uint32_t at = 0, child;

	while ((child = 2 * at + 1) < clients->count) {
		if (child + 1 < clients->count && clients->heap[child + 1].due_ns < clients->heap[child].due_ns)
			child++;
		if (clients->heap[child].due_ns >= last.due_ns)
			break;
		clients->heap[at] = clients->heap[child];
		at = child;
	}
	clients->heap[at] = last;
	return top;
}

/* It thinks about its next call from `from` on. */
static void think(struct clients *clients, struct place *place, uint64_t from, uint64_t least_ns)
{
	const struct load_setup *setup = clients->calls->setup;
	struct load_call *call = &clients->next[place - clients->calls->places];

	if (!clients->over && !setup->source.next(setup->source.state, call))
		clients->over = true;
	if (clients->over)
		return;
	push(clients, (struct client){ from + (call->at_ns > least_ns ? call->at_ns : least_ns), place });
}

static void on_end(void *state, struct place *place, uint64_t retry_after_ns)
{
	struct clients *clients = state;

	if (retry_after_ns && retry_after_ns < BUSY_MIN_NS)
		retry_after_ns = BUSY_MIN_NS;
	think(clients, place, wc_now(), retry_after_ns < BUSY_MAX_NS ? retry_after_ns : BUSY_MAX_NS);
}

/* One by one: the time of sending is taken once for what is sent together, and clients like to keep in step. */
static void send_due(struct clients *clients, struct batch *batch, uint64_t now)
{
	struct calls *calls = clients->calls;

	for (unsigned i = 0; i < BATCH && clients->count && clients->heap[0].due_ns <= now; i++) {
		struct client client = pop(clients);

		atomic_fetch_add_explicit(&calls->progress->due, 1, memory_order_relaxed);
		calls_add(calls, batch, client.place, &clients->next[client.place - calls->places], client.due_ns);
		calls_send(calls, batch);
	}
}

static void loop(struct clients *clients)
{
	static struct batch batch;
	struct calls *calls = clients->calls;
	uint64_t end = calls->start_ns + calls->setup->end_ns, grace = 0, now;

	for (uint32_t i = 0; i < calls->places_count; i++)
		think(clients, &calls->places[i], calls->start_ns, 0);
	for (;;) {
		uint64_t wait = WAIT_NS, read;
		bool sending;

		now = wc_now();
		if (!grace && calls_stopping(calls)) {
			grace = now + LOAD_GRACE_NS;
			if (now < end)
				calls->cut_ns = now > calls->start_ns ? now - calls->start_ns : 1;
		}
		sending = !grace && now < end;
		if (sending)
			send_due(clients, &batch, now);
		if (calls->ended == atomic_load_explicit(&calls->progress->sent, memory_order_relaxed) &&
		    (!sending || (clients->over && !clients->count)))
			break;
		if (sending && clients->count)
			wait = clients->heap[0].due_ns <= now ? 0 : clients->heap[0].due_ns - now;
		read = calls_receive(calls, wait < WAIT_NS ? wait : WAIT_NS, on_end, clients);
		now = wc_now();
		calls_expire(calls, read, grace && now > grace, on_end, clients);
		atomic_store_explicit(&calls->progress->now_ns, now > calls->start_ns ? now - calls->start_ns : 0,
				      memory_order_relaxed);
	}
}

int load_run_closed(struct calls *calls, struct wc_fault *fault)
{
	struct clients clients = { .calls = calls };
	int ret = 0;

	clients.heap = calloc(calls->places_count, sizeof(*clients.heap));
	clients.next = calloc(calls->places_count, sizeof(*clients.next));
	if (clients.heap && clients.next) {
		calls_be_punctual();
		loop(&clients);
	} else {
		ret = wc_fail(fault, ENOMEM, "out of memory");
	}
	free(clients.next);
	free(clients.heap);
	return ret;
}
