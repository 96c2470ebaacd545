/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nat.c - network address and port translation: packets from inside get the external address and a port of their queue's, those that come back
 * get the inside address and port again. Mappings do not depend on the other end (RFC 4787). It counts the TTL down, as a router does.
 *
 * Environment: INTERNAL, a prefix; EXTERNAL, an address. What it remembers is in the batch (state), not in the process: whichever instance
 * gets the next batch of a queue goes on with it, as in a stateless network function.
 */
#include <arpa/inet.h>

#include "../batch.h"

WARMCORE_FUNCTION_ABI;

#define PORT_FIRST 1024u
#define PORTS (65536u - PORT_FIRST)
#define SLOTS 131072u /* a power of two, twice the ports */

/* As it is in the state; the port outside is the first of the queue and the mapping's number. */
struct mapping {
	uint32_t address;
	uint16_t port;
	uint8_t protocol, pad;
};

static struct mapping mappings[PORTS];
static uint32_t count, used_slots[PORTS];
static uint16_t slots[SLOTS]; /* number of the mapping + 1; 0 = empty */
static uint32_t internal, internal_mask, external;
static uint32_t port_first, ports; /* of this batch's queue */

WARMCORE_EXPORT int warmcore_init(void)
{
	const char *prefix = getenv("INTERNAL"), *address = getenv("EXTERNAL");
	struct in_addr in;
	char text[32];
	int bits;

	if (!prefix || sscanf(prefix, "%31[0-9.]/%d", text, &bits) != 2 || bits < 1 || bits > 32 ||
	    inet_pton(AF_INET, text, &in) != 1) {
		warmcore_log("INTERNAL is to be a prefix, as 10.0.0.0/8");
		return -1;
	}
	internal_mask = UINT32_MAX << (32 - bits);
	internal = ntohl(in.s_addr) & internal_mask;
	if (!address || inet_pton(AF_INET, address, &in) != 1) {
		warmcore_log("EXTERNAL is to be an address");
		return -1;
	}
	external = ntohl(in.s_addr);
	return 0;
}

static uint32_t slot_of(const struct mapping *mapping)
{
	uint64_t key = (uint64_t)mapping->address << 24 | (uint64_t)mapping->port << 8 | mapping->protocol;

	return (uint32_t)(key * 0x9e3779b97f4a7c15u >> 40) & (SLOTS - 1);
}

/* Number of the mapping, a new one if need be. -1: the queue has no port left. */
static int find_or_add(const struct mapping *wanted)
{
	uint32_t slot = slot_of(wanted);

	for (; slots[slot]; slot = (slot + 1) & (SLOTS - 1))
		if (!memcmp(&mappings[slots[slot] - 1], wanted, sizeof(*wanted)))
			return slots[slot] - 1;
	if (count == ports)
		return -1;
	mappings[count] = *wanted;
	used_slots[count] = slot;
	slots[slot] = (uint16_t)(++count);
	return (int)count - 1;
}

static enum verdict translate(void *context, unsigned char *frame, uint32_t length)
{
	struct mapping mapping = { 0 };
	struct packet packet;
	bool out;
	int number;

	(void)context;
	if (!packet_parse(&packet, frame, length))
		return MALFORMED;
	out = (packet.source & internal_mask) == internal;
	if (!out && packet.target != external)
		return NO_MAPPING;
	if (packet.ttl <= 1)
		return EXPIRED;
	if (packet.fragment)
		return FRAGMENT;
	if (!packet.ports || (packet.protocol == ICMP && packet.request != out))
		return PROTOCOL;
	if (out) {
		mapping.address = packet.source;
		mapping.port = packet.source_port;
		mapping.protocol = packet.protocol;
		number = find_or_add(&mapping);
		if (number < 0)
			return NO_PORT;
		set_address(&packet, true, external);
		set_port(&packet, true, (uint16_t)(port_first + (uint32_t)number));
	} else {
		number = (int)packet.target_port - (int)port_first;
		if (number < 0 || (uint32_t)number >= count || mappings[number].protocol != packet.protocol)
			return NO_MAPPING;
		set_address(&packet, false, mappings[number].address);
		set_port(&packet, false, mappings[number].port);
	}
	decrement_ttl(&packet);
	return PASS;
}

/* What the queue's earlier batches have left. false: it is not that. */
static bool load(const struct batch *batch)
{
	struct mapping mapping;
	uint32_t given = batch->head.state_length / sizeof(mapping);

	for (uint32_t i = 0; i < count; i++)
		slots[used_slots[i]] = 0;
	count = 0;
	ports = PORTS / batch->head.queues;
	port_first = PORT_FIRST + batch->head.queue * ports;
	if (batch->head.state_length % sizeof(mapping) || given > ports)
		return false;
	for (uint32_t i = 0; i < given; i++) {
		memcpy(&mapping, batch->state + i * sizeof(mapping), sizeof(mapping));
		mapping.pad = 0;
		if (find_or_add(&mapping) != (int)i)
			return false; /* one of them twice */
	}
	return true;
}

static void save(struct batch *batch)
{
	batch->state = (const unsigned char *)mappings;
	batch->head.state_length = count * (uint32_t)sizeof(struct mapping);
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	static const struct batch_function function = {
		.work = translate, .load = load, .save = save, .grows = sizeof(struct mapping)
	};

	return batch_serve(request, response, &function);
}
