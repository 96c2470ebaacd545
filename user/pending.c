/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pending.c - see pending.h. One lock; taken only when something waits. */
#include "user/pending.h"

#include "bpf/cluster.h"
#include "user/agent_internal.h"
#include "user/clock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define LOST_NS (100 * WC_MS) /* a redirect takes microseconds; after this long it has failed */
#define LENGTH_MIN_NS 1000    /* of an invocation in the fair order; nothing is free */
#define LEARN_SHIFT 3	      /* a new length counts for an eighth */

/* The invocations of one function that wait. */
struct line {
	struct wc_job *first, **last;
	uint64_t tag;	 /* fair order: start tag of the first one */
	uint64_t finish; /* fair order: finish tag of the last one that left */
	uint64_t length; /* ns, average */
	uint32_t active; /* index + 1 in wc_pending.active, 0 = nobody waits */
};

struct wc_pending {
	pthread_mutex_t lock;
	struct line lines[WC_FUNCTIONS_MAX]; /* by slot */
	uint16_t active[WC_FUNCTIONS_MAX];   /* slots with somebody in line; in no order */
	uint32_t active_count;
	uint64_t waiting, left, left_fair;
	uint64_t now; /* fair order: virtual time, the start tag of whoever left last */
	atomic_ullong generation;
};

/* --- lines --- */

static void enqueue(struct wc_pending *pending, struct wc_job *job)
{
	struct line *line = &pending->lines[WC_FUNCTION_SLOT(job->function_id)];

	job->next = NULL;
	if (!line->active) {
		line->last = &line->first;
		line->tag = line->finish > pending->now ? line->finish : pending->now;
		pending->active[pending->active_count++] = (uint16_t)WC_FUNCTION_SLOT(job->function_id);
		line->active = pending->active_count;
	}
	*line->last = job;
	line->last = &job->next;
	pending->waiting++;
	if (job->place)
		*job->place = job;
}

/* Take a job out of its line, wherever it stands, and out of all counts. */
static struct wc_job *unlink_job(struct wc_node *node, struct wc_job **link)
{
	struct wc_pending *pending = node->pending;
	struct wc_job *job = *link;
	uint32_t slot = WC_FUNCTION_SLOT(job->function_id);
	struct line *line = &pending->lines[slot];
	struct wc_shard *shard = &node->tables.wc_shards[job->shard];

	*link = job->next;
	if (!job->next)
		line->last = link;
	job->next = NULL;
	if (job->place)
		*job->place = NULL;
	pending->waiting--;
	if (!line->first) {
		uint16_t moved = pending->active[--pending->active_count];

		pending->active[line->active - 1] = moved;
		pending->lines[moved].active = line->active;
		line->active = 0;
	}
	wc_fetch_add(&node->tables.wc_functions[slot].waiting, -1U);
	WC_WRITE(shard->pending_out, shard->pending_out + 1);
	return job;
}

/* Account for one that arrived. It may be one that had been given up as lost. */
static void count_seen(struct wc_shard *shard)
{
	WC_WRITE(shard->pending_seen, shard->pending_seen + 1);
	if (shard->pending_lost && shard->pending_seen + shard->pending_lost > WC_READ(shard->pending_in))
		WC_WRITE(shard->pending_lost, shard->pending_lost - 1);
}

/* In this order: there is no moment at which it is neither announced nor in the queue nor a reason to look again. */
static void arrive(struct wc_node *node, struct wc_job *job)
{
	enqueue(node->pending, job);
	atomic_fetch_add(&node->pending->generation, 1);
	count_seen(&node->tables.wc_shards[job->shard]);
}

/* A job from a frame, not yet in the queue. NULL: it was damaged, or there is no memory. */
static struct wc_job *receive(struct wc_node *node, uint32_t s, const struct wc_frame *frame)
{
	struct wc_shard *shard = &node->tables.wc_shards[s];
	struct wc_job *job = calloc(1, sizeof(*job));

	if (job && wc_job_from_frame(node, frame, job)) {
		job->shard = (uint16_t)s;
		return job;
	}
	count_seen(shard);
	/* Damaged, or no memory: as if it had not arrived. The function id is the one that XDP has counted it under. */
	if (job && job->function_id)
		wc_fetch_add(&node->tables.wc_functions[WC_FUNCTION_SLOT(job->function_id)].waiting, -1U);
	WC_WRITE(shard->pending_out, shard->pending_out + 1);
	wc_frame_release(frame);
	free(job);
	return NULL;
}

/* Empty the rings, in the order of arrival over all of them: each is in order, so the earliest head is next. Under the lock. */
static void drain(struct wc_node *node)
{
	struct wc_job *first[WC_SHARDS_MAX] = { NULL }, **last, *job;
	struct wc_frame frame;

	for (uint32_t s = 0; node->umem && s < node->shard_count; s++) {
		last = &first[s];
		while (wc_xsk_receive(wc_umem_queue(node->umem, s)->pending, &frame)) {
			job = receive(node, s, &frame);
			if (job) {
				*last = job;
				last = &job->next;
			}
		}
	}
	for (;;) {
		uint32_t next = WC_NONE;

		for (uint32_t s = 0; s < node->shard_count; s++)
			if (first[s] && (next == WC_NONE || first[s]->arrival < first[next]->arrival))
				next = s;
		if (next == WC_NONE)
			return;
		job = first[next];
		first[next] = job->next;
		arrive(node, job);
	}
}

/* --- who is next --- */

static bool may_use(const struct wc_node *node, const struct wc_function *entry, uint32_t core)
{
	uint16_t home = WC_READ(node->tables.wc_cores[core].home);

	return home < WC_SHARDS_MAX || home == entry->reserve;
}

/* Who may have an invocation, in the place of a core of this node. */
#define ANY_CORE WC_NONE
#define LEAVING (WC_NONE - 1) /* another node; LEAVING - s: sibling s */

/* What comes from this host is answered on it, what is large lies in its memory, and what does not fit a frame any more no node would see. */
static bool may_leave(struct wc_node *node, const struct wc_job *job)
{
	return job->frame.data && !job->caller && !job->async && !job->refers &&
	       wc_order_fits(node->tables.wc_cluster, job->frame.len) && wc_member_may(&node->tables, job->function_id);
}

static bool is_for(struct wc_node *node, const struct wc_function *entry, const struct wc_job *job, uint32_t core)
{
	if (core == LEAVING)
		return may_leave(node, job);
	if (core < LEAVING && core >= LEAVING - WC_SIBLINGS_MAX)
		return may_leave(node, job) && !wc_job_lent(job) && !WC_READ(entry->running_max) &&
		       wc_sibling_may(&node->tables, job->function_id, LEAVING - core);
	return core == ANY_CORE || may_use(node, entry, core);
}

/* The line to serve, or NULL. `core`: for this one, ANY_CORE, or LEAVING. */
static struct line *choose(struct wc_node *node, uint32_t core, bool fair)
{
	struct wc_pending *pending = node->pending;
	struct line *best = NULL;
	uint32_t best_priority = 0;
	uint64_t best_key = 0;

	for (uint32_t i = 0; i < pending->active_count; i++) {
		struct wc_function *entry = &node->tables.wc_functions[pending->active[i]];
		struct line *line = &pending->lines[pending->active[i]];
		uint64_t key = fair ? line->tag : line->first->arrival;
		uint32_t priority = WC_READ(entry->priority);

		if (wc_run_full(entry, WC_READ(entry->running_max)) || !is_for(node, entry, line->first, core))
			continue;
		if (best && (priority < best_priority || (priority == best_priority && key >= best_key)))
			continue;
		best = line;
		best_priority = priority;
		best_key = key;
	}
	return best;
}

/* Somebody is left who could run: see that a core does not sleep meanwhile. Any free one; its agent looks for itself. */
static void nudge(struct wc_node *node)
{
	struct wc_tables *tables = &node->tables;
	struct line *line = choose(node, ANY_CORE, false);
	struct wc_function *entry;
	uint64_t shards = WC_READ(tables->wc_top->shards);
	uint32_t queue;

	if (!line)
		return;
	entry = &tables->wc_functions[WC_FUNCTION_SLOT(line->first->function_id)];
	if (entry->reserve && WC_READ(tables->wc_shards[entry->reserve].summary))
		queue = entry->reserve;
	else if (shards)
		queue = wc_lowest_bit(shards);
	else
		return;
	for (uint32_t w = 0; w < WC_WORDS_MAX; w++) {
		uint64_t word = WC_READ(tables->wc_shards[queue].word[w]);

		if (word) {
			wc_agent_wake(node, w * 64 + wc_lowest_bit(word));
			return;
		}
	}
}

static bool in_flight(const struct wc_node *node)
{
	for (uint32_t s = 0; s < node->shard_count; s++)
		if (wc_pending_in_flight(&node->tables.wc_shards[s]))
			return true;
	return false;
}

/* What changes when somebody may have become eligible: arrivals and ends, and trials that claimers have ended (wc_top). */
static uint64_t look(const struct wc_node *node)
{
	return atomic_load(&node->pending->generation) + WC_READ(node->tables.wc_top->trials_ended);
}

bool wc_pending_any(struct wc_node *node)
{
	return WC_READ(node->pending->waiting) || in_flight(node);
}

uint64_t wc_pending_total(const struct wc_node *node)
{
	uint64_t total = 0;

	for (uint32_t s = 0; s < node->shard_count; s++)
		total += wc_pending_count(&node->tables.wc_shards[s]);
	return total;
}

static struct wc_job *pick(struct wc_node *node, uint32_t core, uint64_t *ret_generation)
{
	struct wc_pending *pending = node->pending;
	struct wc_job *job = NULL;
	bool fair, counted = false;
	struct line *line;

	*ret_generation = look(node);
	if (!wc_pending_any(node))
		return NULL;
	pthread_mutex_lock(&pending->lock);
	drain(node);
	*ret_generation = look(node);
	fair = pending->waiting > node->options.fair_at;
	while ((line = choose(node, core, fair)) != NULL) {
		if (wc_run_begin(&node->tables.wc_functions[WC_FUNCTION_SLOT(line->first->function_id)], &counted))
			break; /* else somebody was faster: choose() passes it over now */
	}
	if (line) {
		pending->now = line->tag > pending->now ? line->tag : pending->now;
		line->finish = line->tag + (line->length > LENGTH_MIN_NS ? line->length : LENGTH_MIN_NS);
		line->tag = line->finish;
		job = unlink_job(node, &line->first);
		if (counted)
			job->how |= WC_HOW_COUNTED;
		pending->left++;
		pending->left_fair += fair;
	}
	if (pending->waiting)
		nudge(node);
	pthread_mutex_unlock(&pending->lock);
	return job;
}

struct wc_job *wc_pending_pick(struct wc_node *node, uint32_t core, uint64_t *ret_generation)
{
	return pick(node, core, ret_generation);
}

struct wc_job *wc_pending_pick_leaving(struct wc_node *node, uint32_t sibling, uint64_t *ret_generation)
{
	return pick(node, LEAVING - sibling, ret_generation);
}

/* --- announcements --- */

bool wc_pending_look(struct wc_node *node, uint64_t generation)
{
	const struct wc_top *top = node->tables.wc_top;

	/* trials_ended first: a trial that ends in between is seen as under way, or by look(). */
	return in_flight(node) || WC_READ(top->trials_ended) != WC_READ(top->trials_begun) || look(node) != generation;
}

void wc_pending_changed(struct wc_node *node)
{
	if (node->pending) /* a node that is only asked has none */
		atomic_fetch_add(&node->pending->generation, 1);
}

void wc_pending_run_ended(struct wc_node *node, struct wc_function *entry)
{
	wc_run_end(entry);
	if (WC_READ(entry->waiting))
		wc_pending_changed(node);
}

uint64_t wc_pending_await(struct wc_node *node)
{
	uint64_t start = wc_now(), lost = 0;

	for (uint32_t round = 0; in_flight(node); round++) {
		struct pollfd fds[WC_SHARDS_MAX];
		uint32_t count = 0;

		for (uint32_t s = 0; node->umem && s < node->shard_count; s++) {
			struct wc_xsk *xsk = wc_umem_queue(node->umem, s)->pending;
			bool visible;

			pthread_mutex_lock(&node->pending->lock);
			visible = xsk_cons_nb_avail(&xsk->rx, 1);
			pthread_mutex_unlock(&node->pending->lock);
			if (visible)
				return 0;
			fds[count].fd = xsk->fd;
			fds[count++].events = POLLIN;
		}
		if (wc_now() - start > LOST_NS)
			break;
		if (round > 100)
			poll(fds, count, 1);
	}
	if (!in_flight(node))
		return 0;
	pthread_mutex_lock(&node->pending->lock);
	drain(node);
	for (uint32_t s = 0; s < node->shard_count; s++) {
		struct wc_shard *shard = &node->tables.wc_shards[s];
		uint64_t missing = wc_pending_in_flight(shard);

		lost += missing;
		WC_WRITE(shard->pending_lost, shard->pending_lost + missing);
	}
	pthread_mutex_unlock(&node->pending->lock);
	return lost;
}

/* --- from the sides --- */

void wc_pending_push(struct wc_node *node, struct wc_job *job)
{
	struct wc_pending *pending = node->pending;

	pthread_mutex_lock(&pending->lock);
	arrive(node, job);
	pthread_mutex_unlock(&pending->lock);
}

void wc_pending_force(struct wc_node *node, struct wc_job *job)
{
	wc_fetch_add(&node->tables.wc_shards[job->shard].pending_in, 1); /* first: wc_pending_mend() */
	wc_fetch_add(&node->tables.wc_functions[WC_FUNCTION_SLOT(job->function_id)].waiting, 1);
	wc_pending_push(node, job);
}

struct wc_job *wc_pending_withdraw(struct wc_node *node, struct wc_job **place)
{
	struct wc_pending *pending = node->pending;
	struct wc_job *job, **at;

	pthread_mutex_lock(&pending->lock);
	job = *place;
	if (job) {
		at = &pending->lines[WC_FUNCTION_SLOT(job->function_id)].first;
		while (*at != job)
			at = &(*at)->next;
		unlink_job(node, at);
	}
	pthread_mutex_unlock(&pending->lock);
	return job;
}

bool wc_pending_holds(struct wc_node *node, const struct wc_fingerprint *print)
{
	struct wc_pending *pending = node->pending;
	bool found = false;

	pthread_mutex_lock(&pending->lock);
	drain(node);
	for (uint32_t i = 0; i < pending->active_count && !found; i++)
		for (struct wc_job *job = pending->lines[pending->active[i]].first; job && !found; job = job->next)
			found = job->print.value == print->value && job->print.set == print->set;
	pthread_mutex_unlock(&pending->lock);
	return found;
}

struct wc_job *wc_pending_expired(struct wc_node *node, uint64_t now)
{
	struct wc_pending *pending = node->pending;
	struct wc_job *found = NULL;

	pthread_mutex_lock(&pending->lock);
	drain(node);
	for (uint32_t i = 0; i < pending->active_count && !found; i++) {
		struct wc_job **link = &pending->lines[pending->active[i]].first;

		while (*link && !found) {
			struct wc_job *job = *link;

			if ((job->deadline_us && now > job->arrival && now - job->arrival > job->deadline_us * WC_US) ||
			    (job->limit_ns && now >= job->limit_ns))
				found = unlink_job(node, link);
			else
				link = &job->next;
		}
	}
	pthread_mutex_unlock(&pending->lock);
	return found;
}

/*
 * Every announcement was followed by `waiting += 1`, and every departure is preceded by `waiting -= 1`. So when all that was
 * announced has left, a rest is what was lost: unless somebody announces right now, and then the compare-and-swap fails.
 */
void wc_pending_mend(struct wc_node *node)
{
	struct wc_tables *tables = &node->tables;

	for (uint32_t slot = 1; slot < tables->wc_functions_max; slot++) {
		uint32_t *waiting = &tables->wc_functions[slot].waiting, was = WC_READ(*waiting);

		if (!was)
			continue;
		__sync_synchronize();
		if (!wc_pending_total(node))
			wc_cas(waiting, was, 0);
	}
}

void wc_pending_learn(struct wc_node *node, uint32_t function_id, uint64_t service_ns)
{
	struct line *line = &node->pending->lines[WC_FUNCTION_SLOT(function_id)];
	uint64_t length = WC_READ(line->length);

	/* Without the lock: agents race here, and a lost update of an average is no loss. */
	if (!length)
		length = service_ns;
	else
		length = length - (length >> LEARN_SHIFT) + (service_ns >> LEARN_SHIFT);
	WC_WRITE(line->length, length);
}

void wc_pending_counts(struct wc_node *node, uint64_t *ret_waiting, uint64_t *ret_left, uint64_t *ret_fair)
{
	pthread_mutex_lock(&node->pending->lock);
	*ret_waiting = node->pending->waiting;
	*ret_left = node->pending->left;
	*ret_fair = node->pending->left_fair;
	pthread_mutex_unlock(&node->pending->lock);
}

int wc_pending_open(struct wc_node *node, struct wc_fault *fault)
{
	node->pending = calloc(1, sizeof(*node->pending));
	if (!node->pending)
		return wc_fail(fault, ENOMEM, "out of memory for the pending queue");
	pthread_mutex_init(&node->pending->lock, NULL);
	return 0;
}

void wc_pending_close(struct wc_node *node)
{
	struct wc_pending *pending = node->pending;

	if (!pending)
		return;
	for (uint32_t slot = 0; slot < WC_FUNCTIONS_MAX; slot++)
		while (pending->lines[slot].first)
			wc_job_free(unlink_job(node, &pending->lines[slot].first));
	free(pending);
	node->pending = NULL;
}
