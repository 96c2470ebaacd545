/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * calls.h - what both loops share: the calls that are out, their packets, and what becomes of their answers. For engine_*.c only.
 *
 * The request id of a call is base + (count << 20 | place): an answer leads to its place, and an id is never used again. A place belongs to
 * the sender until it stores the id, then to the receiver until that has put the place back. With one thread both are the same.
 */
#ifndef WC_TOOLS_LOAD_CALLS_H
#define WC_TOOLS_LOAD_CALLS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "bpf/proto.h"
#include "tools/load/engine.h"

#define BATCH 64u
#define PLACE_BITS 20
#define PAYLOAD_BYTES 48 /* {"sleep_us":4294967295} */

_Static_assert(LOAD_OUT_MAX <= 1u << PLACE_BITS, "each place has a number");

struct place {
	_Atomic uint64_t id; /* of the call that is out; 0: none */
	_Atomic uint64_t sent_ns;
	uint64_t intended_ns;
	uint32_t function, service_us;
	bool measured;
	/* the receiver's: what was here last */
	bool last_lost, last_measured;
	uint32_t last_function;
	uint64_t last_id;
};

struct calls {
	const struct load_setup *setup;
	struct load_progress *progress;
	uint64_t base;
	uint64_t start_ns; /* CLOCK_MONOTONIC of time 0 */
	int fd;
	struct place *places;
	uint32_t places_count;
	/* free places: a ring with one who takes, the sender, and one who gives, the receiver */
	uint32_t *ring, ring_mask;
	_Atomic uint32_t taken, given;
	/* what each thread counts, [0] the sender, [1] the receiver; added up at the end */
	struct load_function *tally[2];
	uint64_t traffic[2][LOAD_TRAFFIC_COUNT];
	uint64_t started;      /* the sender's: calls so far */
	uint64_t last_sent_ns; /* the sender's: of a measured call */
	uint64_t cut_ns;       /* the sender's: when it was told to stop, from time 0; 0: it was not */
	uint64_t ended;	       /* the receiver's: calls of which it is known what became of them */
	uint64_t scanned_ns;   /* the receiver's */
	atomic_int error;      /* the first one, of any thread: ends the run */
	atomic_bool sending_over;
	struct inbox *inbox; /* the receiver's */
};

/* Packets that are ready to be sent. */
struct batch {
	unsigned count;
	struct {
		struct place *place;
		uint64_t id, intended_ns;
		uint32_t function;
	} call[BATCH]; /* the sender's own copy: a place may be the next call's already when sendmmsg(2) returns */
	struct {
		struct wc_header header;
		char payload[PAYLOAD_BYTES];
	} packet[BATCH];
	struct iovec parts[BATCH][2];
	struct mmsghdr message[BATCH];
};

/* A place is free again; its answer, if that was BUSY, asks to wait so long. */
typedef void (*calls_ended)(void *state, struct place *place, uint64_t retry_after_ns);

/* The first error is what ends the run. Any thread. */
void calls_fail(struct calls *calls, int error);

/* Shall nothing more be sent? Any thread. */
bool calls_stopping(struct calls *calls);

/* Wake this thread to the nanosecond, as far as the system can. */
void calls_be_punctual(void);

/* Sleep until a time of CLOCK_MONOTONIC, or until calls_stopping(). */
void calls_sleep_until(struct calls *calls, uint64_t ns);

/* The sender's (calls_send.c). */

/* A free place, or NULL. */
struct place *calls_take(struct calls *calls);
/* Put a call into the batch, which has room, and its place. `intended_ns`: CLOCK_MONOTONIC. */
void calls_add(struct calls *calls, struct batch *batch, struct place *place, const struct load_call *call,
	       uint64_t intended_ns);
/* Send the batch, which is empty then. Waits while the socket has no room, unless the run is to stop. */
void calls_send(struct calls *calls, struct batch *batch);
/* A call that is not sent: no place is free, or it is too late for it. */
void calls_left_out(struct calls *calls, const struct load_call *call);

/* The receiver's (calls_receive.c). */

/*
 * Read what is there, a batch at most; wait at most wait_ns for the first. Returns until when (CLOCK_MONOTONIC) everything that came was read;
 * 0: there may be more.
 */
uint64_t calls_receive(struct calls *calls, uint64_t wait_ns, calls_ended ended, void *state);
/*
 * End the calls whose time was over at read_ns, which is what calls_receive() returned, when the last look was long enough before it: an answer
 * that came in time may be read much later. With `finish` all that are out, as unfinished.
 */
void calls_expire(struct calls *calls, uint64_t read_ns, bool finish, calls_ended ended, void *state);
/* The usual `ended`, state the calls: puts the place back into the ring. */
void calls_give(void *state, struct place *place, uint64_t retry_after_ns);
int calls_inbox_new(struct inbox **ret_inbox);

/* The two loops. They return when everything has ended; what went wrong is in calls->error, or returned with a sentence. */
int load_run_open(struct calls *calls, struct wc_fault *fault);
int load_run_closed(struct calls *calls, struct wc_fault *fault);

#endif
