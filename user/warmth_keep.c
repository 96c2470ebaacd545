/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * warmth_keep.c - see warmth.h: what was learned of functions' idle times outlives the daemon, in STATE/idle-times (idle_times.h).
 *
 * A thread of its own writes it, because the disk may take seconds and the scheduler must not; each function's lock is held for a copy of
 * its histograms. The times themselves are those of a clock that ends with the host, so of the first call after a start no
 * idle time is learned, and nothing is started ahead before that call.
 */
#include "user/warmth_internal.h"

#include "user/clock.h"
#include "user/idle_times.h"
#include "user/log.h"
#include "user/node.h"
#include "user/store.h"

#include <stdlib.h>
#include <string.h>

struct wc_warmth_keeper {
	struct wc_warmth *warmth;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	bool failing; /* the last time could not be written, and that was said */
	unsigned char written[WC_IDLE_TIMES_SHA256];
};

static void path_of(const struct wc_warmth *warmth, char path[300])
{
	snprintf(path, 300, "%s/idle-times", warmth->node->options.state_dir);
}

/* --- at the start --- */

static bool restore(struct wc_warmth *warmth, const struct wc_idle_times_entry *entry)
{
	struct wc_fn *fn = wc_functions_get(warmth->node->functions, entry->id);
	struct wc_keepalive_knobs knobs = wc_warmth_knobs(warmth);
	struct wc_known *warm;
	bool good = fn && !strcmp(fn->manifest.name, entry->name);

	if (good) {
		warm = wc_known_lock(warmth, fn);
		warm->known = entry->known;
		warm->plan = wc_keepalive_plan(&warm->known, &knobs);
		pthread_mutex_unlock(&warm->lock);
	}
	if (fn)
		wc_fn_put(fn);
	return good;
}

/* Nothing is lost: the next write goes to a new file. */
static void refuse(const char *path, const struct wc_fault *why)
{
	char aside[320];

	snprintf(aside, sizeof(aside), "%s.refused", path);
	if (rename(path, aside))
		wc_warning("idle times of functions are learned anew, %s is not used: %s; it cannot be kept as %s: %s",
			   path, why->text, aside, strerror(errno));
	else
		wc_warning("idle times of functions are learned anew, %s is not used: %s; it was renamed to %s", path,
			   why->text, aside);
}

void wc_warmth_load(struct wc_warmth *warmth)
{
	struct wc_idle_times_reader reader;
	struct wc_idle_times_entry entry;
	uint32_t taken = 0, gone = 0;
	struct wc_fault fault;
	void *bytes = NULL;
	size_t size = 0;
	char path[300];
	int error;

	path_of(warmth, path);
	error = wc_idle_times_read(path, &bytes, &size, &fault);
	if (error == -ENOENT)
		return;
	if (!error)
		error = wc_idle_times_open(&reader, bytes, size, &fault);
	if (error == -EINVAL) {
		refuse(path, &fault);
	} else if (error) {
		warmth->keep_none = true; /* what is in there may be good: not to be written over */
		wc_warning("idle times of functions are neither known from before nor kept: %s: %s", path, fault.text);
	} else if (reader.bin_ns != wc_warmth_knobs(warmth).bin) {
		wc_info("idle times of functions are learned anew: those of before are in bins of %llu ms, now bins have %llu ms",
			(unsigned long long)(reader.bin_ns / WC_MS),
			(unsigned long long)(wc_warmth_knobs(warmth).bin / WC_MS));
	} else {
		while (wc_idle_times_next(&reader, &entry)) {
			if (restore(warmth, &entry))
				taken++;
			else
				gone++;
		}
		wc_info("idle times of %u functions are known from before%s", taken,
			gone ? "; others are not deployed any more" : "");
	}
	free(bytes);
}

/* --- writing --- */

static bool any(const struct wc_keepalive *known)
{
	return known->first.within || known->first.beyond || known->more.within || known->more.beyond;
}

/* What is known of all functions that are deployed, in bins of the width that the writer has begun with. */
static int gather(struct wc_warmth *warmth, struct wc_idle_times_writer *writer, uint64_t bin)
{
	int error = wc_idle_times_begin(writer, bin);

	for (uint32_t i = 1; !error && i < atomic_load(&warmth->used); i++) {
		struct wc_known *warm = &warmth->functions[i];
		struct wc_keepalive known = { 0 };
		struct wc_fn *fn;
		uint32_t id;

		pthread_mutex_lock(&warm->lock);
		id = warm->id;
		if (id && warm->bin == bin)
			known = warm->known;
		pthread_mutex_unlock(&warm->lock);
		fn = any(&known) ? wc_functions_get(warmth->node->functions, id) : NULL;
		if (!fn)
			continue;
		error = wc_idle_times_add(writer, id, fn->manifest.name, &known);
		wc_fn_put(fn);
	}
	return error ?: wc_idle_times_end(writer);
}

static void save(struct wc_warmth_keeper *keeper)
{
	struct wc_idle_times_writer writer = { NULL, 0, 0, 0 };
	int error = gather(keeper->warmth, &writer, wc_warmth_knobs(keeper->warmth).bin);
	const unsigned char *digest = writer.bytes + writer.size - WC_IDLE_TIMES_SHA256;
	struct wc_fault fault = { "out of memory" };
	char path[300];

	if (error || memcmp(keeper->written, digest, sizeof(keeper->written)) != 0) {
		path_of(keeper->warmth, path);
		error = error ?: wc_store_write_bytes(path, writer.bytes, writer.size, &fault);
		if (error && !keeper->failing)
			wc_warning("idle times of functions would be forgotten with a restart: %s", fault.text);
		keeper->failing = error != 0;
		if (!error)
			memcpy(keeper->written, digest, sizeof(keeper->written));
	}
	free(writer.bytes);
}

static void *keeper_main(void *argument)
{
	struct wc_warmth_keeper *keeper = argument;
	struct wc_node *node = keeper->warmth->node;
	struct timespec until;

	pthread_setname_np(pthread_self(), "warmth");
	wc_sched_enrol_self(node->sched, WC_NONE);
	pthread_mutex_lock(&keeper->lock);
	while (!keeper->stopping) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += node->options.keep_alive_save_s;
		if (!node->options.keep_alive_save_s)
			pthread_cond_wait(&keeper->wake, &keeper->lock);
		else if (pthread_cond_timedwait(&keeper->wake, &keeper->lock, &until) == ETIMEDOUT)
			save(keeper);
	}
	pthread_mutex_unlock(&keeper->lock);
	return NULL;
}

int wc_warmth_keep(struct wc_warmth *warmth, struct wc_fault *fault)
{
	struct wc_warmth_keeper *keeper = warmth->keep_none ? NULL : calloc(1, sizeof(*keeper));
	int error;

	if (warmth->keep_none)
		return 0;
	if (!keeper)
		return wc_fail(fault, ENOMEM, "out of memory for the keeper of idle times");
	keeper->warmth = warmth;
	pthread_mutex_init(&keeper->lock, NULL);
	wc_cond_init(&keeper->wake);
	error = pthread_create(&keeper->thread, NULL, keeper_main, keeper);
	if (!error) {
		warmth->keeper = keeper;
		return 0;
	}
	pthread_cond_destroy(&keeper->wake);
	pthread_mutex_destroy(&keeper->lock);
	free(keeper);
	return wc_fail(fault, error, "cannot start the keeper of idle times: %s", strerror(error));
}

void wc_warmth_kept(struct wc_warmth *warmth)
{
	struct wc_warmth_keeper *keeper = warmth ? warmth->keeper : NULL;

	if (!keeper)
		return;
	pthread_mutex_lock(&keeper->lock);
	keeper->stopping = true;
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
	pthread_join(keeper->thread, NULL);
	save(keeper);
	pthread_cond_destroy(&keeper->wake);
	pthread_mutex_destroy(&keeper->lock);
	free(keeper);
	warmth->keeper = NULL;
}
