/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* respond.c - packets at the agent: from a received frame to a job, and from a result to the frame or datagram of the answer. */
#include "bpf/answer.h"
#include "bpf/cluster.h"
#include "user/agent_internal.h"
#include "user/clock.h"
#include "user/fanout.h"
#include "user/members.h"
#include "user/stack.h"

#include <string.h>

/* Internet checksum of any number of bytes from an even address: wc_sum() is for the fixed sizes of the kernel side. */
static uint64_t sum_bytes(const uint8_t *data, size_t len, uint64_t sum)
{
	uint32_t word;
	uint16_t half;

	for (; len >= 4; data += 4, len -= 4) {
		memcpy(&word, data, 4);
		sum += word;
	}
	if (len >= 2) {
		memcpy(&half, data, 2);
		sum += half;
		data += 2;
		len -= 2;
	}
	if (len) {
		half = 0;
		memcpy(&half, data, 1);
		sum += half;
	}
	return (sum & 0xffffffff) + (sum >> 32);
}

/*
 * Is the UDP checksum good? A sender on this host leaves only the pseudo header's sum for the device to complete (Linux:
 * CHECKSUM_PARTIAL), a sender elsewhere the whole of it; IPv4 may have none.
 */
static bool checksum_ok(const struct wc_packet *packet)
{
	uint32_t udp_len = WC_UDP_LEN + packet->body_len;
	uint64_t pseudo = wc_pseudo_sum(packet, udp_len);

	if (packet->udp->checksum == wc_fold(pseudo))
		return true;
	if (!packet->udp->checksum)
		return packet->version == 4;
	return wc_fold(sum_bytes((const uint8_t *)packet->udp, udp_len, pseudo)) == 0xffff;
}

static void identify(const struct wc_packet *packet, struct wc_job *job)
{
	memset(&job->id, 0, sizeof(job->id));
	memset(&job->local, 0, sizeof(job->local));
	if (packet->version == 4) {
		job->id.client[2] = job->local.s6_addr32[2] = htonl(0xffff);
		job->id.client[3] = packet->ip4->from;
		job->local.s6_addr32[3] = packet->ip4->to;
	} else {
		memcpy(job->id.client, packet->ip6->from, 16);
		memcpy(&job->local, packet->ip6->to, 16);
	}
	job->id.client_port = packet->udp->from;
	job->id.request_id = be64toh(packet->header->request_id);
}

bool wc_job_from_frame(struct wc_node *node, const struct wc_frame *frame, struct wc_job *job)
{
	struct wc_cursor cursor = { .pos = frame->data, .end = frame->data + frame->len };
	struct wc_packet packet;

	job->owned_elsewhere = false;
	job->next = NULL;
	/* The XDP program has checked all of this; but a frame is never trusted twice for the price of a few compares. */
	if (wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP || packet.body_len < WC_HEADER_LEN ||
	    !WC_TAKE(&cursor, &packet.header, WC_HEADER_LEN) ||
	    (uint8_t *)packet.header + packet.body_len > (uint8_t *)cursor.end)
		return false;
	job->frame = *frame;
	job->arrival = packet.header->tail.node.arrival_ns;
	job->seen = packet.header->tail.node.seen;
	job->shard = packet.header->tail.node.shard;
	job->how = packet.header->tail.node.how;
	if (!(job->how & WC_HOW_STAMPED))
		job->arrival = wc_now();
	job->timed = packet.header->flags & htons(WC_FLAG_TIMED);
	job->refers = packet.header->flags & htons(WC_FLAG_REFERENCE);
	job->has_context = packet.header->flags & htons(WC_FLAG_CONTEXT);
	job->context_len = 0;
	job->function_id = job->theirs = ntohl(packet.header->function_id);
	job->payload_len = packet.body_len - WC_HEADER_LEN;
	if (job->how & WC_HOW_LENT) {
		job->function_id = ntohl(packet.header->payload_len);
		packet.header->payload_len = htonl(job->payload_len);
	} else if (job->how & WC_HOW_ORDERED) {
		job->function_id = wc_order_function(&node->tables, 0, job->theirs);
	}
	job->deadline_us = ntohl(packet.header->deadline_us);
	job->payload = (uint8_t *)packet.header + WC_HEADER_LEN;
	identify(&packet, job);
	job->print = wc_fingerprint(&job->id, node->tables.wc_config->seen_key);
	/* What the XDP program wrote into the header is not what the client's checksum covers. */
	packet.header->core = htons(WC_CORE_ANY);
	memset(&packet.header->tail, 0, sizeof(packet.header->tail));
	if (checksum_ok(&packet))
		return true;
	if (job->seen != WC_NONE) /* the id was damaged, or its retransmission is welcome */
		wc_seen_forget(&node->tables, &job->print, job->seen);
	return false;
}

/* The kernel sends up to 32 at a call and may be short of memory: what is left goes with another call. */
static void send_unsent(struct wc_worker *worker)
{
	for (int i = 0; i < 8; i++) {
		wc_xsk_flush(worker->unsent);
		if (xsk_prod_nb_free(&worker->unsent->tx, WC_CORE_RING) == WC_CORE_RING)
			break;
	}
	worker->unsent = NULL;
}

/* Compose the answer in a send frame, out of the headers of the request. False: it does not fit, or there is no frame. */
static bool respond_by_frame(struct wc_worker *worker, const struct wc_job *job, const struct wc_answer *answer,
			     const void *payload, struct wc_header *ret_header)
{
	struct wc_cursor cursor = { .pos = job->frame.data, .end = job->frame.data + job->frame.len };
	uint32_t body_len = WC_HEADER_LEN + answer->payload_len, head;
	struct wc_packet packet;
	struct wc_xsk *xsk;
	uint64_t addr;
	uint8_t *data;

	/* Where the headers end, from the request; they are as long in the answer. */
	if (wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP)
		return false;
	head = (uint32_t)((uint8_t *)cursor.pos - job->frame.data);
	if (head + body_len > WC_FRAME_SIZE ||
	    (packet.version == 4 ? WC_IP4_LEN : WC_IP6_LEN) + WC_UDP_LEN + body_len > worker->node->mtu)
		return false;
	xsk = wc_umem_socket(worker->node->umem, job->shard, worker->core);
	if (worker->unsent && worker->unsent != xsk)
		send_unsent(worker);
	data = wc_queue_send_frame(xsk->queue, worker->core, &addr);
	if (!data) {
		wc_xsk_flush(xsk); /* perhaps some came back */
		data = wc_queue_send_frame(xsk->queue, worker->core, &addr);
	}
	if (!data)
		return false;
	memcpy(data, job->frame.data, head + WC_HEADER_LEN);
	cursor.pos = data;
	cursor.end = data + WC_FRAME_SIZE;
	wc_parse_eth(&cursor, &packet);
	packet.udp = (void *)(data + head - WC_UDP_LEN);
	packet.ip4 = cursor.pos;
	packet.ip6 = cursor.pos;
	packet.header = (void *)(data + head);
	wc_answer_header(packet.header, answer);
	if (answer->payload_len)
		memcpy(packet.header + 1, payload, answer->payload_len);
	wc_answer_frame(&packet, body_len);
	wc_answer_checksum(&packet, sum_bytes((const uint8_t *)packet.header, body_len, 0), body_len);
	*ret_header = *packet.header;
	if (wc_xsk_send(xsk, addr, head + body_len)) {
		worker->unsent = xsk;
		return true;
	}
	wc_queue_cancel(xsk->queue, addr);
	return false;
}

/* Lanes share the send frames and rings of their core. */
static void lock_sending(struct wc_worker *worker)
{
	if (worker->agent->lanes)
		pthread_mutex_lock(&worker->agent->sending);
}

static void unlock_sending(struct wc_worker *worker)
{
	if (worker->agent->lanes)
		pthread_mutex_unlock(&worker->agent->sending);
}

static bool respond_locked(struct wc_worker *worker, const struct wc_job *job, const struct wc_answer *answer,
			   const void *payload, struct wc_header *ret_header)
{
	bool done;

	lock_sending(worker);
	done = respond_by_frame(worker, job, answer, payload, ret_header);
	unlock_sending(worker);
	return done;
}

static void flush(struct wc_worker *worker);

void wc_worker_respond(struct wc_worker *worker, const struct wc_job *job, const struct wc_response *response)
{
	struct wc_node *node = worker->node;
	struct wc_answer answer = {
		.type = response->type,
		.flags = (uint16_t)(response->flags | (job->timed ? WC_FLAG_TIMED : 0)),
		.code = response->code,
		.core = (uint16_t)worker->core,
		.payload_len = response->payload_len,
		.tail = { response->wait_ns, response->service_ns },
	};
	struct wc_header header = {
		.magic = htons(WC_MAGIC),
		.request_id = htobe64(job->id.request_id),
		.function_id = htonl(wc_job_asked_for(job)),
	};

	if (job->caller) {
		wc_call_answer(job->caller, response);
		return;
	}
	if (job->async) {
		wc_async_answer(job->async, response);
		return;
	}
	if (job->frame.data && respond_locked(worker, job, &answer, response->payload, &header)) {
		wc_replies_keep(node->replies, &job->print, &header, sizeof(header), response->payload,
				response->payload_len);
		return;
	}
	wc_answer_header(&header, &answer);
	wc_replies_keep(node->replies, &job->print, &header, sizeof(header), response->payload, response->payload_len);
	flush(worker); /* one at a time */
	worker->staged->to = job->id;
	worker->staged->local = job->local;
	worker->staged->header = header;
	if (response->payload_len)
		memcpy(worker->staged->payload, response->payload, response->payload_len);
	worker->staged_len = WC_HEADER_LEN + response->payload_len;
}

static void flush_staged(struct wc_worker *worker)
{
	struct wc_datagram *staged = worker->staged;
	uint32_t payload_len = worker->staged_len - WC_HEADER_LEN;

	worker->staged_len = 0;
	if (wc_stack_send(worker->node->stack, &staged->to, &staged->local, &staged->header, staged->payload,
			  payload_len))
		worker->counters.replies_failed++;
	else
		worker->counters.replies_slow++;
}

static void flush(struct wc_worker *worker)
{
	if (worker->staged_len)
		flush_staged(worker);
	if (!worker->unsent)
		return;
	lock_sending(worker);
	send_unsent(worker);
	unlock_sending(worker);
}

/*
 * The answer is taken to have been given to the kernel before the call that does so: the call may last until the client has it, and runs on, and a
 * moment after that would be later than the client's own.
 */
void wc_worker_flush(struct wc_worker *worker)
{
	uint64_t now = worker->tracing ? wc_now() : 0;

	flush(worker);
	if (now)
		wc_worker_trace_end(worker, now);
}

void wc_worker_resend(struct wc_worker *worker, const struct wc_job *job)
{
	size_t len = wc_replies_find(worker->node->replies, &job->print, worker->buffer);
	const struct wc_response lost = { .type = WC_TYPE_ERROR, .code = WC_CODE_NODE_LOST };
	struct wc_header header;

	worker->counters.retransmits++;
	if (len < sizeof(header)) {
		/* Still running, or too old: nothing, never a second run. Unless another node has it, and can say more. */
		if (wc_members_again(worker->node, &job->print, &job->frame, wc_job_lent(job)) == WC_AGAIN_LOST)
			wc_worker_respond(worker, job, &lost);
		return;
	}
	memcpy(&header, worker->buffer, sizeof(header));
	header.flags |= htons(WC_FLAG_CACHED);
	flush(worker); /* one at a time */
	worker->staged->to = job->id;
	worker->staged->local = job->local;
	worker->staged->header = header;
	memcpy(worker->staged->payload, worker->buffer + sizeof(header), len - sizeof(header));
	worker->staged_len = (uint32_t)len;
}
