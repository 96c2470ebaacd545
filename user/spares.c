/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* spares.c - see spares.h. */
#include "user/spares.h"

#include "user/clock.h"
#include "user/launch.h"
#include "user/log.h"
#include "user/order.h"
#include "user/sandboxes.h"
#include "user/watch.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define START_NS (30 * WC_SECOND)
#define RETRY_NS (10 * WC_SECOND) /* after one that did not start */

enum state {
	ABSENT,
	STARTING,
	READY,
};

struct entry {
	enum state state;
	bool wanted; /* the keeper's own */
	struct wc_spare spare;
	uint64_t since;
};

struct wc_spares {
	const struct wc_launcher *launcher;
	struct wc_functions *functions;
	pthread_mutex_t lock;
	uint64_t retry_at;
	struct entry entry[WC_SPARES_MAX];
	uint32_t sizes[WC_SPARES_MAX]; /* wanted */
	int size_count;
};

bool wc_spares_suit(const struct wc_manifest *manifest)
{
	return manifest->runtime == WC_RUNTIME_NODE && !wc_order_needs_start(manifest) && !manifest->host_network;
}

void wc_spare_end(struct wc_spare *spare)
{
	wc_watch_kill(spare->watch);
	wc_sandbox_end(spare->sandbox);
	wc_watch_put(spare->watch);
}

static void drop(struct entry *entry)
{
	wc_spare_end(&entry->spare);
	entry->state = ABSENT;
}

/* --- what is wanted --- */

static void want(void *context, const struct wc_manifest *manifest)
{
	struct wc_spares *spares = context;

	if (!wc_spares_suit(manifest))
		return;
	for (int i = 0; i < spares->size_count; i++)
		if (spares->sizes[i] == manifest->memory_mb)
			return;
	if (spares->size_count < WC_SPARES_MAX)
		spares->sizes[spares->size_count++] = manifest->memory_mb;
}

/* Marks the entry of this size as wanted, and starts it where there is none. */
static void provide(struct wc_spares *spares, uint32_t memory_mb)
{
	struct entry *absent = NULL;
	struct wc_spare spare = { .memory_mb = memory_mb };
	struct wc_fault fault;
	int error;

	for (int i = 0; i < WC_SPARES_MAX; i++) {
		struct entry *entry = &spares->entry[i];

		if (entry->state != ABSENT && entry->spare.memory_mb == memory_mb) {
			entry->wanted = true;
			return;
		}
		if (entry->state == ABSENT)
			absent = entry;
	}
	if (!absent || wc_now() < spares->retry_at)
		return;
	pthread_mutex_unlock(&spares->lock); /* the others need not wait for it; only the keeper adds entries */
	error = wc_launch_spare(spares->launcher, &spare, &fault);
	pthread_mutex_lock(&spares->lock);
	if (error == -EAGAIN)
		return; /* the native zygote is not ready */
	if (error) {
		wc_warning("no Node.js process can be started ahead: %s", fault.text);
		spares->retry_at = wc_now() + RETRY_NS;
		return;
	}
	*absent = (struct entry){ .state = STARTING, .wanted = true, .spare = spare, .since = wc_now() };
}

/* --- the keeper --- */

static void look_at(struct wc_spares *spares, struct entry *entry)
{
	const struct wc_message *answer = &entry->spare.channel->answer;
	bool dead = atomic_load(&entry->spare.watch->exited);

	if (dead && entry->state == STARTING) {
		wc_warning("a Node.js process that was started ahead has ended before it was ready");
		spares->retry_at = wc_now() + RETRY_NS;
	}
	if (dead || !entry->wanted || (entry->state == STARTING && wc_now() - entry->since > START_NS)) {
		drop(entry);
	} else if (entry->state == STARTING && !__atomic_load_n(&answer->sequence, __ATOMIC_ACQUIRE)) {
		if (answer->kind == WC_CHANNEL_READY)
			entry->state = READY;
		else
			drop(entry);
	}
}

bool wc_spares_look(struct wc_spares *spares)
{
	bool starting = false;

	spares->size_count = 0;
	if (spares->launcher->node[0] && !wc_order_needs_socket(spares->launcher, WC_RUNTIME_NODE))
		wc_functions_each(spares->functions, want, spares);
	pthread_mutex_lock(&spares->lock);
	for (int i = 0; i < WC_SPARES_MAX; i++)
		spares->entry[i].wanted = false;
	for (int i = 0; i < spares->size_count; i++)
		provide(spares, spares->sizes[i]);
	for (int i = 0; i < WC_SPARES_MAX; i++) {
		if (spares->entry[i].state != ABSENT)
			look_at(spares, &spares->entry[i]);
		starting |= spares->entry[i].state == STARTING;
	}
	pthread_mutex_unlock(&spares->lock);
	return starting;
}

struct wc_spares *wc_spares_new(const struct wc_launcher *launcher, struct wc_functions *functions)
{
	struct wc_spares *spares = calloc(1, sizeof(*spares));

	if (!spares)
		return NULL;
	spares->launcher = launcher;
	spares->functions = functions;
	pthread_mutex_init(&spares->lock, NULL);
	return spares;
}

void wc_spares_free(struct wc_spares *spares)
{
	for (int i = 0; spares && i < WC_SPARES_MAX; i++)
		if (spares->entry[i].state != ABSENT)
			drop(&spares->entry[i]);
	free(spares);
}

/* --- everybody --- */

bool wc_spares_take(struct wc_spares *spares, uint32_t memory_mb, struct wc_spare *ret_spare)
{
	bool found = false;

	pthread_mutex_lock(&spares->lock);
	for (int i = 0; i < WC_SPARES_MAX && !found; i++) {
		struct entry *entry = &spares->entry[i];

		if (entry->state != READY || entry->spare.memory_mb != memory_mb ||
		    atomic_load(&entry->spare.watch->exited))
			continue;
		*ret_spare = entry->spare;
		entry->state = ABSENT;
		found = true;
	}
	pthread_mutex_unlock(&spares->lock);
	return found;
}

int wc_spares_ready(struct wc_spares *spares)
{
	int count = 0;

	pthread_mutex_lock(&spares->lock);
	for (int i = 0; i < WC_SPARES_MAX; i++)
		count += spares->entry[i].state == READY;
	pthread_mutex_unlock(&spares->lock);
	return count;
}
