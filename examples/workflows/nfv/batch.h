/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * batch.h - what the network functions of this example hand to each other: a batch of packets, the state of the batch's queue, and
 * what was counted. A function is called with a batch, changes it, calls the function that its environment names as NEXT, and answers
 * with what that has answered; without NEXT it is the last of the chain. All numbers are little-endian.
 */
#ifndef NFV_BATCH_H
#define NFV_BATCH_H

#include <stdbool.h>
#include <stdlib.h>

#include "packet.h"
#include "warmcore.h"

#define BATCH_MAGIC 0x31464e57u /* "WNF1" */
#define BATCH_PACKETS_MAX 4096u
#define QUEUES_MAX 64u

/* Behind it: packets, each a struct batch_packet and its bytes; then state_length bytes of the NAT, then flow_length bytes of the monitor. */
struct batch_head {
	uint32_t magic;
	uint32_t queue; /* whose packets these are: one queue's batches are run one after the other */
	uint32_t queues;
	uint32_t count; /* packets */
	uint32_t packets_length;
	uint32_t state_length;
	uint32_t flow_length;
};

/* Why a packet went no further. Its bytes are then gone from the batch, its place is not. */
enum verdict {
	PASS,
	MALFORMED,
	DENIED,
	EXPIRED,
	FRAGMENT,
	PROTOCOL,
	NO_PORT,
	NO_MAPPING,
	VERDICTS
};

struct batch_packet {
	uint32_t number; /* in what the chain was asked to do */
	uint16_t length;
	uint16_t verdict;
};

/* A batch in memory, as it was given: nothing of it is aligned. */
struct batch {
	struct batch_head head;
	const unsigned char *packets, *state, *flows;
};

/* false: it is no batch; nothing in it leads out of it. */
static inline bool batch_parse(struct batch *batch, const void *data, size_t length)
{
	const unsigned char *at = (const unsigned char *)data + sizeof(batch->head);
	struct batch_packet packet;
	size_t left;

	if (length < sizeof(batch->head))
		return false;
	memcpy(&batch->head, data, sizeof(batch->head));
	left = length - sizeof(batch->head);
	if (batch->head.magic != BATCH_MAGIC || batch->head.count > BATCH_PACKETS_MAX || !batch->head.queues ||
	    batch->head.queues > QUEUES_MAX || batch->head.queue >= batch->head.queues ||
	    (uint64_t)batch->head.packets_length + batch->head.state_length + batch->head.flow_length != left)
		return false;
	batch->packets = at;
	batch->state = at + batch->head.packets_length;
	batch->flows = batch->state + batch->head.state_length;
	for (uint32_t i = 0; i < batch->head.count; i++) {
		if ((size_t)(batch->state - at) < sizeof(packet))
			return false;
		memcpy(&packet, at, sizeof(packet));
		at += sizeof(packet);
		if (packet.length > batch->state - at || packet.verdict >= VERDICTS ||
		    (packet.verdict != PASS && packet.length))
			return false;
		at += packet.length;
	}
	return at == batch->state;
}

/* What a function does with one packet of its batch, in place. */
typedef enum verdict (*batch_work)(void *context, unsigned char *frame, uint32_t length);

/*
 * Copies the packets to `out` (as much room as the batch has), those that nobody has dropped after `work` has seen them. Returns the bytes
 * that they have there.
 */
static inline uint32_t batch_each(const struct batch *batch, unsigned char *out, batch_work work, void *context)
{
	const unsigned char *at = batch->packets;
	unsigned char *to = out;
	struct batch_packet packet;

	for (uint32_t i = 0; i < batch->head.count; i++) {
		memcpy(&packet, at, sizeof(packet));
		at += sizeof(packet);
		memcpy(to + sizeof(packet), at, packet.length);
		at += packet.length;
		if (packet.verdict == PASS)
			packet.verdict = (uint16_t)work(context, to + sizeof(packet), packet.length);
		if (packet.verdict != PASS)
			packet.length = 0;
		memcpy(to, &packet, sizeof(packet));
		to += sizeof(packet) + packet.length;
	}
	return (uint32_t)(to - out);
}

/* Where a function writes the batch that it hands on: the next one's payload, or its own answer. NULL: it does not fit there. */
static inline unsigned char *batch_room(const struct warmcore_request *request, struct warmcore_response *response,
					size_t length)
{
	uint32_t room = response->capacity;
	void *to = response->payload;

	if (getenv("NEXT"))
		to = warmcore_invoke_buffer(request, &room);
	return to && length <= room ? to : NULL;
}

/* Hand on what is in the room, and answer with the answer. */
static inline int batch_pass(const struct warmcore_request *request, struct warmcore_response *response,
			     const unsigned char *out, size_t length)
{
	const char *next = getenv("NEXT");
	struct warmcore_reply reply;
	int result;

	if (!next) {
		response->length = (uint32_t)length;
		return 0;
	}
	result = warmcore_invoke(request, next, out, length, &reply);
	if (result < 0)
		return warmcore_error(response, "NotCalled", "%s could not be called: %s", next, strerror(-result));
	if (result)
		return warmcore_error(response, "Failed", "%s failed: %.*s", next, (int)reply.length,
				      (const char *)reply.payload);
	if (reply.length > response->capacity)
		return warmcore_error(response, "TooLarge", "%u bytes, the client can take %u", reply.length,
				      response->capacity);
	memcpy(response->payload, reply.payload, reply.length);
	response->length = reply.length;
	return 0;
}

/* A function of the chain. */
struct batch_function {
	batch_work work; /* with NULL as the context */
	/* Of one that has a table of its own in the batch: */
	bool (*load)(const struct batch *batch); /* false: what is in the batch is none */
	void (*save)(struct batch *batch);	 /* point state or flows, and their length, to the table as it is now */
	size_t grows;				 /* bytes at most, for each packet */
};

/* All that warmcore_handle() has to do. */
static inline int batch_serve(const struct warmcore_request *request, struct warmcore_response *response,
			      const struct batch_function *function)
{
	struct batch batch;
	unsigned char *out, *to;
	size_t room;

	if (!batch_parse(&batch, request->payload, request->length) || (function->load && !function->load(&batch)))
		return warmcore_error(response, "BadBatch", "%u bytes that are no batch of packets", request->length);
	room = request->length + batch.head.count * function->grows;
	out = batch_room(request, response, room);
	if (!out)
		return warmcore_error(response, "TooLarge", "there is no room for %zu bytes", room);
	to = out + sizeof(batch.head);
	batch.head.packets_length = batch_each(&batch, to, function->work, NULL);
	to += batch.head.packets_length;
	if (function->save)
		function->save(&batch);
	memcpy(to, batch.state, batch.head.state_length);
	to += batch.head.state_length;
	memcpy(to, batch.flows, batch.head.flow_length);
	to += batch.head.flow_length;
	memcpy(out, &batch.head, sizeof(batch.head));
	return batch_pass(request, response, out, (size_t)(to - out));
}

#endif
