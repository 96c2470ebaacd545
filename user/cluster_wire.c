/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cluster_wire.c - see cluster_wire.h. */
#include "user/cluster_wire.h"

#include <nettle/hmac.h>
#include <string.h>

void wc_cluster_key(const uint8_t remote_key[WC_REMOTE_KEY_SIZE], enum wc_cluster_use use, uint64_t ret_key[2])
{
	static const char *const labels[] = {
		[WC_CLUSTER_MAC] = "warmcore cluster 1",
		[WC_CLUSTER_WINDOW] = "warmcore window 1",
		[WC_CLUSTER_NAME] = "warmcore name 1",
		[WC_CLUSTER_SETTINGS] = "warmcore settings 1",
	};
	struct hmac_sha256_ctx context;

	hmac_sha256_set_key(&context, WC_REMOTE_KEY_SIZE, remote_key);
	hmac_sha256_update(&context, strlen(labels[use]) + 1, (const uint8_t *)labels[use]);
	hmac_sha256_digest(&context, 16, (uint8_t *)ret_key);
	explicit_bzero(&context, sizeof(context));
}

static void fill(struct wc_cluster_header *header, uint8_t type, const struct wc_cluster_address *address,
		 uint32_t payload_len)
{
	*header = (struct wc_cluster_header){
		.magic = htons(WC_MAGIC),
		.version = WC_VERSION,
		.type = type,
		.header_len = WC_HEADER_LEN,
		.member = htons(address->member),
		.term = htobe64(address->term),
		.epoch = htonl(address->epoch),
		.payload_len = htonl(payload_len),
	};
}

static void seal(struct wc_cluster_header *header, const uint64_t key[2], const void *covered, uint32_t length)
{
	const __u64 words[2] = { key[0], key[1] };
	struct wc_sip sip;

	wc_cluster_mac_begin(&sip, words, header);
	for (uint32_t i = 0; i < length; i += 8)
		wc_sip_word(&sip, wc_load64((const uint8_t *)covered + i));
	if (header->function)
		wc_sip_word(&sip, header->function);
	header->mac = wc_sip_end(&sip, WC_CLUSTER_WORDS * 8 + length + (header->function ? 8 : 0));
}

void wc_cluster_order(struct wc_cluster_header *ret_header, const struct wc_cluster_address *to, uint16_t core,
		      uint32_t grant, uint32_t function, const uint8_t *frame, uint32_t frame_len)
{
	fill(ret_header, WC_TYPE_ORDER, to, frame_len);
	ret_header->core = htons(core);
	ret_header->grant = htonl(grant);
	ret_header->function = htobe64(function);
	seal(ret_header, to->key, frame, WC_ORDER_COVERED);
}

void wc_cluster_started(struct wc_cluster_started *ret_message, const struct wc_cluster_address *to, uint16_t code,
			const struct wc_fingerprint *print)
{
	ret_message->started = (struct wc_started){ .print = htobe64(print->value), .set = htonl(print->set) };
	fill(&ret_message->header, WC_TYPE_STARTED, to, sizeof(ret_message->started));
	ret_message->header.code = htons(code);
	seal(&ret_message->header, to->key, &ret_message->started, sizeof(ret_message->started));
}

bool wc_cluster_started_genuine(const uint64_t key[2], const void *datagram, size_t length, uint16_t code,
				struct wc_fingerprint *ret_print)
{
	struct wc_cluster_started message, expected;

	if (length != sizeof(message))
		return false;
	memcpy(&message, datagram, sizeof(message));
	if (message.header.type != WC_TYPE_STARTED || message.header.header_len != WC_HEADER_LEN ||
	    message.header.code != htons(code) || ntohl(message.header.payload_len) != sizeof(message.started))
		return false;
	expected = message;
	seal(&expected.header, key, &expected.started, sizeof(expected.started));
	*ret_print = (struct wc_fingerprint){ .value = be64toh(message.started.print) & 0xffffffffffffULL,
					      .set = ntohl(message.started.set) & (WC_SEEN_SETS - 1) };
	return expected.header.mac == message.header.mac;
}

bool wc_cluster_order_genuine(const struct wc_cluster *cluster, const uint8_t *datagram, uint32_t length,
			      uint32_t *ret_via, uint32_t *ret_function)
{
	const uint64_t key[2] = { cluster->key[0], cluster->key[1] };
	struct wc_cluster_header header, expected;

	if (length < sizeof(header) + WC_ORDER_COVERED || length > sizeof(header) + WC_ORDER_MAX)
		return false;
	memcpy(&header, datagram, sizeof(header));
	*ret_via = wc_order_is_for(cluster, &header) ? 0 : wc_order_sibling(cluster, &header);
	*ret_function = (uint32_t)be64toh(header.function);
	if (header.type != WC_TYPE_ORDER || header.header_len != WC_HEADER_LEN ||
	    (!*ret_via && !wc_order_is_for(cluster, &header)) || (*ret_via && header.function) ||
	    ntohl(header.payload_len) != length - sizeof(header))
		return false;
	expected = header;
	seal(&expected, key, datagram + sizeof(header), WC_ORDER_COVERED);
	return expected.mac == header.mac;
}

void wc_cluster_free(struct wc_cluster_header *ret_header, const struct wc_cluster_address *of,
		     const struct wc_core_free *entries, uint16_t count)
{
	fill(ret_header, WC_TYPE_CORE_FREE, of, count * (uint32_t)sizeof(*entries));
	ret_header->core = htons(count);
	seal(ret_header, of->key, entries, count * (uint32_t)sizeof(*entries));
}
