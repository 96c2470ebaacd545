/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members_orders.c - what the daemon sends to nodes and siblings: what has waited for a core, and what was sent there before and is asked for again. */
#include "user/members_internal.h"

#include "user/clock.h"
#include "user/cluster_wire.h"
#include "user/lead.h"
#include "user/lend.h"
#include "user/log.h"
#include "user/pending.h"
#include "user/window.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#define LOOKS_MAX 16

/* Where retransmissions of the id go from now on. */
static void note_sent(struct wc_node *node, const struct wc_fingerprint *print, uint16_t member, uint32_t epoch)
{
	const struct wc_seen_set *set = wc_seen_at(&node->tables, print->set);
	struct wc_sent *sent = wc_sent_at(&node->tables, print->set);

	for (uint32_t way = 0; set && sent && way < WC_SEEN_WAYS; way++)
		if (WC_SEEN_FINGERPRINT(WC_READ(set->slot[way])) == print->value)
			WC_WRITE(sent->slot[way], WC_SENT(print, member, epoch));
}

static int send_order(struct wc_node *node, uint16_t id, uint16_t core, uint32_t grant, uint32_t lent,
		      const struct wc_frame *frame)
{
	const struct wc_cluster *cluster = node->tables.wc_cluster;
	const struct wc_member *member = &node->tables.wc_members[id];
	struct wc_cluster_address to = {
		.key = { cluster->key[0], cluster->key[1] }, .term = cluster->term, .epoch = member->epoch, .member = id
	};
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = member->port,
				       .sin_addr.s_addr = member->address };
	struct wc_cluster_header header;
	struct iovec parts[2] = { { &header, sizeof(header) }, { frame->data, frame->len } };
	struct msghdr message = {
		.msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = parts, .msg_iovlen = 2
	};

	if (frame->len < WC_ORDER_COVERED || frame->len > WC_ORDER_MAX)
		return -EMSGSIZE;
	wc_cluster_order(&header, &to, core, grant, lent, frame->data, frame->len);
	return sendmsg(node->members->socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* To this core, which was taken out of the queue. */
static void send_job(struct wc_node *node, uint32_t index, struct wc_job *job)
{
	struct wc_member_core *core = &node->tables.wc_member_cores[index];
	struct wc_member *member = &node->tables.wc_members[core->member];

	wc_member_claimed(core, job->function_id, job->how & WC_HOW_COUNTED);
	/* Else a copy of it runs, or this moment nothing can be said; then the client sends it again. */
	if (wc_seen_begin(&node->tables, &job->print, job->seen) == WC_SEEN_NEW) {
		note_sent(node, &job->print, core->member, member->epoch);
		member->orders++;
		atomic_fetch_add(&node->members->sent, 1);
		if (send_order(node, core->member, core->core, WC_READ(core->grant), wc_job_lent(job), &job->frame))
			wc_debug("an invocation could not be sent to a node; its client will send it again");
	}
	wc_job_free(job);
}

/* A free core of a node, or else leave to send something to a sibling; claimed. WC_NONE: there is neither. */
static uint32_t claim(struct wc_node *node)
{
	uint32_t index;

	for (;;) {
		index = wc_member_claim_exact(&node->tables, 0);
		if (index == WC_NONE)
			index = wc_freeq_claim_next(&node->tables, WC_QUEUE_SIBLINGS);
		if (index == WC_NONE || wc_member_gets(&node->tables, &node->tables.wc_member_cores[index]))
			return index;
		wc_member_claimed(&node->tables.wc_member_cores[index], 0, false);
	}
}

void wc_members_serve(struct wc_node *node)
{
	const struct wc_shard *shards = node->tables.wc_shards;
	uint32_t tried = 0; /* siblings, a bit each, for which nothing was found since the last look */
	uint64_t generation = 0;

	if (!node->members || !wc_lead_serves(node))
		return;
	/* Not for ever: where functions with a limit begin and end all the time there is always something to look at again. The next tick goes on. */
	for (int looks = 0; looks < LOOKS_MAX && wc_pending_any(node) &&
			    (WC_READ(shards[WC_QUEUE_MEMBERS].summary) | WC_READ(shards[WC_QUEUE_SIBLINGS].summary));) {
		uint32_t index = claim(node), sibling;
		uint64_t now;
		struct wc_job *job;

		if (index == WC_NONE)
			return;
		sibling = node->tables.wc_member_cores[index].sibling;
		job = wc_pending_pick_leaving(node, sibling, &now);
		if (job) {
			send_job(node, index, job);
			continue;
		}
		/* As an agent does (agent.c): release, and look again: at what has changed since the first of the siblings was asked for. */
		wc_member_unclaim(&node->tables, index);
		generation = tried ? generation : now;
		if (sibling && !(tried >> sibling & 1)) { /* another one may have the function */
			tried |= 1U << sibling;
			wc_sibling_skip(&node->tables, &node->tables.wc_member_cores[index]);
			continue;
		}
		tried = 0;
		if (!wc_pending_look(node, generation))
			return;
		wc_pending_await(node);
		looks++;
	}
}

bool wc_members_take_back(struct wc_node *node, uint64_t word, uint16_t member)
{
	const struct wc_fingerprint print = { .value = word & 0xffffffffffffULL, .set = (uint32_t)(word >> 48) };
	struct wc_sent *sent = print.set < WC_SEEN_SETS ? wc_sent_at(&node->tables, print.set) : NULL;
	uint64_t want = WC_SENT(&print, member, node->tables.wc_members[member].epoch);
	bool found = false;

	/* Of two threads one: the other could reopen what has begun here by then. */
	for (uint32_t way = 0; sent && print.value && way < WC_SEEN_WAYS; way++)
		found |= WC_READ(sent->slot[way]) == want && wc_cas(&sent->slot[way], want, 0) == want;
	if (!found)
		return false;
	wc_window_forget(&node->tables, &print); /* first: or a copy would go there again, or be told that it is lost */
	if (!wc_seen_reopen(&node->tables, &print))
		return false;
	for (uint32_t way = 0; way < WC_SEEN_WAYS; way++) /* at the others this changes nothing */
		wc_seen_forget(&node->tables, &print, print.set * WC_SEEN_WAYS + way);
	atomic_fetch_add(&node->members->returned, 1);
	return true;
}

/*
 * A sibling has sent what has gone to a sibling from here. From one to another it does not go. But perhaps the same id came to both parts at once, and each has sent it to the other, so that
 * neither runs it: then the one of the lower term takes it back. The other one, which sees the same, does not.
 */
static void settle(struct wc_node *node, const struct wc_fingerprint *print, uint64_t sent)
{
	uint16_t member = (uint16_t)WC_SENT_MEMBER(sent);
	uint64_t word = WC_WINDOW_WORD(print->set, print->value);
	uint64_t term = wc_lend_sent(node, node->tables.wc_members[member].address, word);

	if (term && node->tables.wc_cluster->term < term)
		wc_members_take_back(node, word, member);
}

/* Is its answer here? */
static bool is_kept(struct wc_node *node, const struct wc_fingerprint *print)
{
	uint8_t reply[WC_REPLY_BYTES];

	return wc_replies_find(node->replies, print, reply) > 0;
}

/* Is it away only because its daemon, or this one, has just handed over to another one? It keeps the ids and the answers, and is asked when it is here again. */
static bool comes_back(const struct wc_members *members, const struct wc_member *member, uint64_t word)
{
	uint32_t epoch = WC_READ(member->epoch);
	uint64_t until = atomic_load(&members->back_until[epoch ? WC_SENT_MEMBER(word) : 0]);

	return !WC_READ(member->state) && (!epoch || (epoch & 0xff) == WC_SENT_EPOCH(word)) && wc_now() < until;
}

enum wc_again wc_members_again(struct wc_node *node, const struct wc_fingerprint *print, const struct wc_frame *frame,
			       uint32_t lent)
{
	const struct wc_sent *sent = node->members ? wc_sent_at(&node->tables, print->set) : NULL;
	const struct wc_seen_set *set = wc_seen_at(&node->tables, print->set);
	const struct wc_member *member;
	uint64_t word = 0;

	/* At another place than in the window it is of an older time, which that has forgotten. */
	for (uint32_t way = 0; sent && set && way < WC_SEEN_WAYS; way++)
		if (WC_READ(sent->slot[way]) >> 16 == print->value &&
		    WC_SEEN_FINGERPRINT(WC_READ(set->slot[way])) == print->value)
			word = WC_READ(sent->slot[way]);
	/* At one that does not lead the rest is of a time when it did; but what began elsewhere, and was sent here by who does not know that, is lost. */
	if (!wc_lead_leads(node) && (!word || WC_SENT_MEMBER(word) != WC_MEMBER_BEFORE))
		return WC_AGAIN_HERE;
	if (!word && sent && wc_window_lost(&node->tables, print) && !is_kept(node, print)) {
		atomic_fetch_add(&node->members->lost, 1);
		return WC_AGAIN_LOST;
	}
	if (!word && lent)
		wc_lend_gives_again(node, print);
	if (!word)
		return WC_AGAIN_HERE;
	member = wc_members_at(&node->tables, WC_SENT_MEMBER(word));
	if (member && WC_SENT_MEMBER(word) != WC_MEMBER_BEFORE && comes_back(node->members, member, word))
		return WC_AGAIN_SENT;
	if (!member || !WC_READ(member->state) || (WC_READ(member->epoch) & 0xff) != WC_SENT_EPOCH(word)) {
		atomic_fetch_add(&node->members->lost, 1);
		return WC_AGAIN_LOST;
	}
	if (lent && member->sibling) {
		settle(node, print, word);
		return WC_AGAIN_SENT;
	}
	if (frame && frame->data && !send_order(node, (uint16_t)WC_SENT_MEMBER(word), WC_CORE_ANY, 0, lent, frame))
		atomic_fetch_add(&node->members->again, 1);
	return WC_AGAIN_SENT;
}

bool wc_members_retry(struct wc_node *node, const struct wc_fingerprint *print, uint32_t function_id)
{
	struct wc_fn *fn;
	bool retry;

	if (!node->members || !(wc_seen_find(&node->tables, print) & WC_SEEN_STARTED))
		return false;
	fn = wc_functions_get(node->functions, function_id);
	retry = fn && fn->manifest.idempotent && wc_members_again(node, print, NULL, 0) == WC_AGAIN_LOST;
	wc_fn_put(fn);
	if (retry)
		wc_window_forget(
			&node->tables,
			print); /* first: or another copy of it would be told that it is lost, while it waits here */
	retry = retry && wc_seen_reopen(&node->tables, print);
	if (retry)
		atomic_fetch_add(&node->members->retried, 1);
	return retry;
}
