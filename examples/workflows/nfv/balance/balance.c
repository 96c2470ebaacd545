/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * balance.c - a load balancer: what goes to the virtual address gets the address of a backend, what a backend answers gets the virtual address
 * again. The backend is chosen by rendezvous hashing of the client's address and port: nothing has to be remembered, and when a backend goes
 * only its own connections move.
 *
 * Environment: SERVICE, as 198.51.100.10:80 (TCP); BACKENDS, addresses with commas between them.
 */
#include <arpa/inet.h>

#include "../batch.h"

WARMCORE_FUNCTION_ABI;

#define BACKENDS_MAX 256u

static uint32_t service, backends[BACKENDS_MAX], backends_count;
static uint16_t service_port;

WARMCORE_EXPORT int warmcore_init(void)
{
	const char *text = getenv("SERVICE"), *at = getenv("BACKENDS");
	struct in_addr in;
	char one[32];
	int used;

	if (!text || sscanf(text, "%31[0-9.]:%hu", one, &service_port) != 2 || inet_pton(AF_INET, one, &in) != 1) {
		warmcore_log("SERVICE is to be an address and a port, as 198.51.100.10:80");
		return -1;
	}
	service = ntohl(in.s_addr);
	while (at && backends_count < BACKENDS_MAX && sscanf(at, "%31[0-9.]%n", one, &used) == 1) {
		if (inet_pton(AF_INET, one, &in) != 1)
			break;
		backends[backends_count++] = ntohl(in.s_addr);
		at += used;
		if (!*at)
			return 0;
		at += *at == ',';
	}
	warmcore_log("BACKENDS is to be 1 to %u addresses with commas between them", BACKENDS_MAX);
	return -1;
}

static uint64_t score(uint32_t address, uint16_t port, uint32_t backend)
{
	const unsigned char bytes[] = { (unsigned char)(address >> 24), (unsigned char)(address >> 16),
					(unsigned char)(address >> 8),	(unsigned char)address,
					(unsigned char)(port >> 8),	(unsigned char)port,
					(unsigned char)(backend >> 24), (unsigned char)(backend >> 16),
					(unsigned char)(backend >> 8),	(unsigned char)backend };
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, and the last step of MurmurHash3 */

	for (size_t i = 0; i < sizeof(bytes); i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
	return hash ^ hash >> 33;
}

static uint32_t choose(uint32_t address, uint16_t port)
{
	uint64_t best = 0;
	uint32_t chosen = backends[0];

	for (uint32_t i = 0; i < backends_count; i++) {
		uint64_t one = score(address, port, backends[i]);

		if (one > best) {
			best = one;
			chosen = backends[i];
		}
	}
	return chosen;
}

static enum verdict balance(void *context, unsigned char *frame, uint32_t length)
{
	struct packet packet;

	(void)context;
	if (!packet_parse(&packet, frame, length))
		return MALFORMED;
	if (packet.protocol != TCP || !packet.ports)
		return PASS;
	if (packet.target == service && packet.target_port == service_port) {
		set_address(&packet, false, choose(packet.source, packet.source_port));
		return PASS;
	}
	for (uint32_t i = 0; i < backends_count; i++) {
		if (packet.source == backends[i] && packet.source_port == service_port) {
			set_address(&packet, true, service);
			break;
		}
	}
	return PASS;
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	static const struct batch_function function = { .work = balance };

	return batch_serve(request, response, &function);
}
