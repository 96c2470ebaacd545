/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * monitor.c - counts packets and bytes of each flow, beginning with what the batch says was counted already.
 */
#include "../batch.h"

WARMCORE_FUNCTION_ABI;

#define FLOWS_MAX 65536u
#define SLOTS (2 * FLOWS_MAX) /* a power of two */

/* As it is in the batch. */
struct flow {
	uint32_t protocol, source, target;
	uint16_t source_port, target_port;
	uint64_t packets, bytes;
};

#define FLOW_KEY offsetof(struct flow, packets)

static struct flow flows[FLOWS_MAX];
static uint32_t count, slots[SLOTS], used_slots[FLOWS_MAX]; /* number of the flow + 1; 0 = empty */

/* NULL: there are too many. */
static struct flow *find_or_add(const struct flow *wanted)
{
	uint64_t key = ((uint64_t)wanted->source << 32 | wanted->target) * 0x9e3779b97f4a7c15u;
	uint32_t slot;

	key ^= ((uint64_t)wanted->source_port << 32 | (uint64_t)wanted->target_port << 8 | wanted->protocol) *
	       0xc2b2ae3d27d4eb4fu;
	for (slot = (uint32_t)(key >> 40) & (SLOTS - 1); slots[slot]; slot = (slot + 1) & (SLOTS - 1))
		if (!memcmp(&flows[slots[slot] - 1], wanted, FLOW_KEY))
			return &flows[slots[slot] - 1];
	if (count == FLOWS_MAX)
		return NULL;
	flows[count] = *wanted;
	used_slots[count] = slot;
	slots[slot] = ++count;
	return &flows[count - 1];
}

static enum verdict watch(void *context, unsigned char *frame, uint32_t length)
{
	struct flow wanted = { 0 }, *flow;
	struct packet packet;

	(void)context;
	if (!packet_parse(&packet, frame, length))
		return MALFORMED;
	wanted.protocol = packet.protocol;
	wanted.source = packet.source;
	wanted.target = packet.target;
	wanted.source_port = packet.source_port;
	wanted.target_port = packet.target_port;
	flow = find_or_add(&wanted);
	if (flow) { /* it counts what it can, and stops nobody */
		flow->packets++;
		flow->bytes += get16(packet.ip + 2);
	}
	return PASS;
}

static bool load(const struct batch *batch)
{
	uint32_t given = batch->head.flow_length / sizeof(struct flow);
	struct flow flow;

	for (uint32_t i = 0; i < count; i++)
		slots[used_slots[i]] = 0;
	count = 0;
	if (batch->head.flow_length % sizeof(flow) || given > FLOWS_MAX)
		return false;
	for (uint32_t i = 0; i < given; i++) {
		memcpy(&flow, batch->flows + i * sizeof(flow), sizeof(flow));
		if (find_or_add(&flow) != &flows[i])
			return false; /* one of them twice */
	}
	return true;
}

static void save(struct batch *batch)
{
	batch->flows = (const unsigned char *)flows;
	batch->head.flow_length = count * (uint32_t)sizeof(struct flow);
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	static const struct batch_function function = {
		.work = watch, .load = load, .save = save, .grows = sizeof(struct flow)
	};

	return batch_serve(request, response, &function);
}
