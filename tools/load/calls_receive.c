// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * calls_receive.c - the receiver's side of calls.h: answers, when they came, and calls that get none.
 *
 * The kernel stamps with CLOCK_REALTIME, calls are sent by CLOCK_MONOTONIC: the distance of the two is taken anew after each read, right
 * after the stamps, so that it does not matter when somebody sets the clock, but for what arrives in that very moment.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/load/calls.h"
#include "user/client.h"
#include "user/clock.h"

#define CONTROL_BYTES 128
#define TOLERANCE_NS 10000 /* of the two clocks */
#define DISTANCE_NS 2000   /* between two looks at one clock, for one at the other to count */
#define DISTANCE_TRIES 20
#define SCAN_MIN_NS 5000000u
#define PAUSE_NS 1000000 /* after an error of the socket */

/* Only headers are read; of a payload its length matters. */
struct inbox {
	struct mmsghdr message[BATCH];
	struct iovec part[BATCH];
	struct wc_header header[BATCH];
	_Alignas(struct cmsghdr) char control[BATCH][CONTROL_BYTES];
};

int calls_inbox_new(struct inbox **ret_inbox)
{
	struct inbox *inbox = calloc(1, sizeof(*inbox));

	if (!inbox)
		return -ENOMEM;
	for (unsigned i = 0; i < BATCH; i++) {
		inbox->part[i] = (struct iovec){ &inbox->header[i], sizeof(inbox->header[i]) };
		inbox->message[i].msg_hdr.msg_iov = &inbox->part[i];
		inbox->message[i].msg_hdr.msg_iovlen = 1;
		inbox->message[i].msg_hdr.msg_control = inbox->control[i];
	}
	*ret_inbox = inbox;
	return 0;
}

static uint64_t real_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * WC_SECOND + (uint64_t)now.tv_nsec;
}

/* CLOCK_REALTIME minus CLOCK_MONOTONIC, and the latter's time. Who is put off the CPU in between tries again. */
static uint64_t clock_distance(uint64_t *ret_now)
{
	uint64_t before, real, after, best = UINT64_MAX, distance = 0;

	for (int i = 0; i < DISTANCE_TRIES && best > DISTANCE_NS; i++) {
		before = wc_now();
		real = real_now();
		after = wc_now();
		if (after - before < best) {
			best = after - before;
			distance = real - (before + (after - before) / 2);
		}
		*ret_now = after;
	}
	return distance;
}

/* The kernel's stamp, CLOCK_REALTIME; 0: there is none. */
static uint64_t stamp_of(struct msghdr *message)
{
	struct timespec stamp;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
			return (uint64_t)stamp.tv_sec * WC_SECOND + (uint64_t)stamp.tv_nsec;
		}
	return 0;
}

/* When the answer came, between `sent` and `now`. */
static uint64_t arrival(struct calls *calls, uint64_t stamp, uint64_t distance, uint64_t sent, uint64_t now)
{
	uint64_t at = stamp - distance;

	if (stamp && at >= sent && at <= now)
		return at;
	if (stamp && at < sent && sent - at < TOLERANCE_NS)
		return sent;
	if (!stamp || at < now || at - now >= TOLERANCE_NS)
		calls->traffic[1][LOAD_TRAFFIC_unstamped]++;
	return now;
}

static void record(struct calls *calls, struct load_function *tally, enum load_time time, uint64_t value)
{
	if (load_histogram_add(&tally->times[time], value))
		calls_fail(calls, -ENOMEM);
}

static void count_reply(struct calls *calls, const struct place *place, const struct wc_client_result *answer,
			uint64_t sent, uint64_t at)
{
	struct load_function *tally = &calls->tally[1][place->function];

	tally->counts[LOAD_COUNT_replied]++;
	tally->counts[LOAD_COUNT_cold] += !(answer->flags & WC_FLAG_WARM);
	record(calls, tally, LOAD_TIME_latency, at - place->intended_ns);
	record(calls, tally, LOAD_TIME_round_trip, at - sent);
	record(calls, tally, LOAD_TIME_wait, answer->wait_ns);
	record(calls, tally, LOAD_TIME_service, answer->service_ns);
	if (place->service_us)
		record(calls, tally, LOAD_TIME_slowdown, (at - place->intended_ns) / place->service_us);
}

static void end_call(struct calls *calls, struct place *place, uint64_t id, bool lost, calls_ended ended, void *state,
		     uint64_t retry_after_ns)
{
	place->last_id = id;
	place->last_lost = lost;
	place->last_measured = place->measured;
	place->last_function = place->function;
	atomic_store_explicit(&place->id, 0, memory_order_relaxed);
	calls->ended++;
	atomic_fetch_add_explicit(&calls->progress->answered, !lost, memory_order_relaxed);
	ended(state, place, retry_after_ns);
}

/* An answer to the call that is out at its place. */
static void take_answer(struct calls *calls, struct place *place, const struct wc_client_result *answer, uint64_t at,
			uint64_t now, calls_ended ended, void *state)
{
	uint64_t sent = atomic_load_explicit(&place->sent_ns, memory_order_relaxed);
	struct load_function *tally = &calls->tally[1][place->function];
	bool lost = at - sent > calls->setup->timeout_ns;

	if (place->measured) {
		record(calls, tally, LOAD_TIME_reading, now - at);
		if (lost) {
			tally->counts[LOAD_COUNT_lost]++;
			tally->counts[LOAD_COUNT_late]++;
		} else if (answer->type == WC_TYPE_REPLY) {
			count_reply(calls, place, answer, sent, at);
		} else {
			tally->counts[answer->type == WC_TYPE_BUSY ? LOAD_COUNT_busy : LOAD_COUNT_failed]++;
			tally->codes[answer->code < LOAD_CODES ? answer->code : LOAD_CODES - 1]++;
		}
	}
	end_call(calls, place, answer->request_id, false, ended, state,
		 answer->type == WC_TYPE_BUSY ? answer->retry_after_ns : 0);
}

/* An answer to a call that was ended before, or to none. */
static void take_other(struct calls *calls, struct place *place, uint64_t id)
{
	if (!place || place->last_id != id) {
		calls->traffic[1][LOAD_TRAFFIC_strays]++;
	} else if (place->last_lost) {
		place->last_lost = false;
		if (place->last_measured)
			calls->tally[1][place->last_function].counts[LOAD_COUNT_late]++;
	} else {
		calls->traffic[1][LOAD_TRAFFIC_twice]++;
	}
}

static void take_datagram(struct calls *calls, unsigned i, uint64_t distance, uint64_t now, calls_ended ended,
			  void *state)
{
	struct msghdr *message = &calls->inbox->message[i].msg_hdr;
	struct wc_client_result answer;
	struct place *place = NULL;
	uint64_t number, sent;

	/* the payload was cut off, and is not looked at */
	if (wc_client_parse(&calls->inbox->header[i], calls->inbox->message[i].msg_len, &answer)) {
		calls->traffic[1][LOAD_TRAFFIC_strays]++;
		return;
	}
	number = (answer.request_id - calls->base) & ((1u << PLACE_BITS) - 1);
	if (number < calls->places_count)
		place = &calls->places[number];
	if (!place || atomic_load_explicit(&place->id, memory_order_acquire) != answer.request_id ||
	    answer.function_id != calls->setup->ids[place->function]) {
		take_other(calls, place, answer.request_id);
		return;
	}
	sent = atomic_load_explicit(&place->sent_ns, memory_order_relaxed);
	take_answer(calls, place, &answer, arrival(calls, stamp_of(message), distance, sent, now), now, ended, state);
}

/*
 * *ret_before: a time before it was read. An error tells of a packet that was sent; the socket is as good as before, and is read again, once:
 * that there are errors says nothing of answers.
 */
static int read_batch(struct calls *calls, uint64_t *ret_before)
{
	int count = -1;

	for (int i = 0; i < 2 && count < 0; i++) {
		for (unsigned m = 0; m < BATCH; m++)
			calls->inbox->message[m].msg_hdr.msg_controllen = CONTROL_BYTES;
		*ret_before = wc_now();
		count = recvmmsg(calls->fd, calls->inbox->message, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
		if (count >= 0 || errno == EAGAIN || errno == EINTR)
			break;
		calls->traffic[1][LOAD_TRAFFIC_refused]++;
		if (errno != ECONNREFUSED)
			nanosleep(&(const struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	return count;
}

uint64_t calls_receive(struct calls *calls, uint64_t wait_ns, calls_ended ended, void *state)
{
	const struct timespec wait = wc_timespec(wait_ns);
	struct pollfd readable = { .fd = calls->fd, .events = POLLIN };
	uint64_t distance, now, before;
	int count = read_batch(calls, &before);

	if (count < 0 && errno == EAGAIN && wait_ns && ppoll(&readable, 1, &wait, NULL) > 0)
		count = read_batch(calls, &before);
	if (count < 0)
		return errno == EAGAIN ? before : 0;
	distance = clock_distance(&now);
	for (unsigned i = 0; i < (unsigned)count; i++)
		take_datagram(calls, i, distance, now, ended, state);
	return (unsigned)count < BATCH ? before : 0;
}

void calls_give(void *state, struct place *place, uint64_t retry_after_ns)
{
	struct calls *calls = state;
	uint32_t at = atomic_load_explicit(&calls->given, memory_order_relaxed);

	(void)retry_after_ns;
	calls->ring[at & calls->ring_mask] = (uint32_t)(place - calls->places);
	atomic_store_explicit(&calls->given, at + 1, memory_order_release);
}

void calls_expire(struct calls *calls, uint64_t read_ns, bool finish, calls_ended ended, void *state)
{
	uint64_t timeout = calls->setup->timeout_ns;

	if (!finish && (read_ns < calls->scanned_ns ||
			read_ns - calls->scanned_ns < (timeout / 20 > SCAN_MIN_NS ? timeout / 20 : SCAN_MIN_NS)))
		return;
	calls->scanned_ns = read_ns;
	for (uint32_t i = 0; i < calls->places_count; i++) {
		struct place *place = &calls->places[i];
		uint64_t id = atomic_load_explicit(&place->id, memory_order_acquire), sent;
		struct load_function *tally;

		if (!id)
			continue;
		sent = atomic_load_explicit(&place->sent_ns, memory_order_relaxed);
		/* sent after `read_ns`: not over */
		if (!finish && (sent > read_ns || read_ns - sent <= timeout))
			continue;
		tally = &calls->tally[1][place->function];
		if (place->measured)
			tally->counts[finish ? LOAD_COUNT_unfinished : LOAD_COUNT_lost]++;
		end_call(calls, place, id, true, ended, state, 0);
	}
}
