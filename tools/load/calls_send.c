// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* calls_send.c - the sender's side of calls.h: places, packets, and their way into the socket. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tools/load/calls.h"
#include "user/client.h"
#include "user/clock.h"

#define BLOCKED_MS 10 /* how often a sender that waits for room in the socket looks whether to stop */
#define ATTEMPTS 8    /* to send one packet while the network says that earlier ones were refused */

struct place *calls_take(struct calls *calls)
{
	uint32_t at = atomic_load_explicit(&calls->taken, memory_order_relaxed);

	if (at == atomic_load_explicit(&calls->given, memory_order_acquire))
		return NULL;
	atomic_store_explicit(&calls->taken, at + 1, memory_order_release);
	return &calls->places[calls->ring[at & calls->ring_mask]];
}

static size_t write_payload(enum load_work work, uint32_t service_us, char payload[static PAYLOAD_BYTES])
{
	static const char *const keys[] = { "", "spin_us", "cpu_us", "sleep_us" };

	return (size_t)snprintf(payload, PAYLOAD_BYTES, "{\"%s\":%u}", keys[work], service_us);
}

void calls_add(struct calls *calls, struct batch *batch, struct place *place, const struct load_call *call,
	       uint64_t intended_ns)
{
	const struct load_setup *setup = calls->setup;
	struct wc_client_request request = { .function_id = setup->ids[call->function],
					     .deadline_us = setup->deadline_us,
					     .payload = setup->payload,
					     .payload_len = setup->payload_len };
	uint64_t id = calls->base + (calls->started++ << PLACE_BITS | (uint64_t)(place - calls->places));
	unsigned i = batch->count++;

	if (setup->work != LOAD_WORK_NONE) {
		request.payload = batch->packet[i].payload;
		request.payload_len = write_payload(setup->work, call->service_us, batch->packet[i].payload);
	}
	place->intended_ns = intended_ns;
	place->function = call->function;
	place->service_us = setup->work != LOAD_WORK_NONE ? call->service_us : 0;
	place->measured = intended_ns - calls->start_ns >= setup->warm_up_ns;
	batch->call[i].place = place;
	batch->call[i].id = id;
	batch->call[i].intended_ns = intended_ns;
	batch->call[i].function = call->function;
	(void)wc_client_encode(id, &request, &batch->packet[i].header); /* load_run() has checked the limits */
	batch->parts[i][0] = (struct iovec){ &batch->packet[i].header, WC_HEADER_LEN };
	batch->parts[i][1] = (struct iovec){ (void *)(uintptr_t)request.payload, request.payload_len };
	memset(&batch->message[i], 0, sizeof(batch->message[i]));
	batch->message[i].msg_hdr.msg_iov = batch->parts[i];
	batch->message[i].msg_hdr.msg_iovlen = request.payload_len ? 2 : 1;
}

static void count_sent(struct calls *calls, const struct batch *batch, unsigned from, unsigned to, uint64_t now)
{
	for (unsigned i = from; i < to; i++) {
		uint64_t intended = batch->call[i].intended_ns;
		struct load_function *tally = &calls->tally[0][batch->call[i].function];

		if (intended - calls->start_ns < calls->setup->warm_up_ns) {
			calls->traffic[0][LOAD_TRAFFIC_warm_up]++;
			continue;
		}
		tally->counts[LOAD_COUNT_scheduled]++;
		tally->counts[LOAD_COUNT_sent]++;
		tally->counts[LOAD_COUNT_behind] += now - intended > calls->setup->behind_ns;
		if (load_histogram_add(&tally->times[LOAD_TIME_lateness], now - intended))
			calls_fail(calls, -ENOMEM);
		calls->last_sent_ns = now;
	}
	atomic_fetch_add_explicit(&calls->progress->sent, to - from, memory_order_release);
}

/*
 * Hands packets from `from` on to the kernel: how many, at least 1. One that the network does not take counts as sent: it is lost like one that
 * was dropped further on, and the traffic says why. Some errors tell of an earlier packet.
 */
static unsigned send_some(struct calls *calls, struct batch *batch, unsigned from)
{
	struct pollfd room = { .fd = calls->fd, .events = POLLOUT };

	for (unsigned attempt = 0; attempt < ATTEMPTS;) {
		int sent = sendmmsg(calls->fd, batch->message + from, batch->count - from, MSG_DONTWAIT);

		if (sent > 0)
			return (unsigned)sent;
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == ENOBUFS) {
			if (calls_stopping(calls))
				break;
			(void)poll(&room, 1, BLOCKED_MS);
			continue;
		}
		if (errno != ECONNREFUSED)
			break;
		calls->traffic[0][LOAD_TRAFFIC_refused]++;
		attempt++;
	}
	calls->traffic[0][LOAD_TRAFFIC_unsendable]++;
	return 1;
}

void calls_send(struct calls *calls, struct batch *batch)
{
	unsigned from = 0;

	while (from < batch->count) {
		uint64_t now = wc_now();
		unsigned sent;

		/* the places are ours: nobody else takes one that the receiver may have put back */
		for (unsigned i = from; i < batch->count; i++)
			atomic_store_explicit(&batch->call[i].place->sent_ns, now, memory_order_relaxed);
		for (unsigned i = from; i < batch->count && !from; i++)
			atomic_store_explicit(&batch->call[i].place->id, batch->call[i].id, memory_order_release);
		sent = send_some(calls, batch, from);
		count_sent(calls, batch, from, from + sent, now);
		from += sent;
	}
	batch->count = 0;
}

void calls_left_out(struct calls *calls, const struct load_call *call)
{
	struct load_function *tally = &calls->tally[0][call->function];

	if (call->at_ns < calls->setup->warm_up_ns) {
		calls->traffic[0][LOAD_TRAFFIC_warm_up]++;
		return;
	}
	tally->counts[LOAD_COUNT_scheduled]++;
	tally->counts[LOAD_COUNT_not_sent]++;
}
