// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* engine.c - see engine.h: what is there before a run, and what is made of it after one. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <linux/sock_diag.h>

#include "tools/load/calls.h"
#include "user/clock.h"

#define BUFFER_BYTES (32 << 20)
#define AHEAD_NS 20000000u /* threads are there by then */
#define SLICE_NS 50000000u /* how often a sleeper looks whether to stop */

void calls_fail(struct calls *calls, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&calls->error, &none, error);
}

bool calls_stopping(struct calls *calls)
{
	return atomic_load_explicit(&calls->progress->stop, memory_order_relaxed) ||
	       atomic_load_explicit(&calls->error, memory_order_relaxed);
}

void calls_be_punctual(void)
{
	prctl(PR_SET_TIMERSLACK, 1UL);
}

void calls_sleep_until(struct calls *calls, uint64_t ns)
{
	while (!calls_stopping(calls)) {
		uint64_t now = wc_now(), until = ns < now + SLICE_NS ? ns : now + SLICE_NS;
		struct timespec time = wc_timespec(until);

		if (now >= ns)
			return;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
	}
}

static int open_socket(struct calls *calls, struct wc_fault *fault)
{
	const struct load_setup *setup = calls->setup;
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM };
	struct addrinfo *found;
	char service[8];
	int one = 1, bytes = BUFFER_BYTES, ret = 0;

	snprintf(service, sizeof(service), "%u", setup->port);
	if (getaddrinfo(setup->address, service, &hints, &found))
		return wc_fail(fault, EINVAL, "'%s' is not an IPv4 or IPv6 address", setup->address);
	calls->fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (calls->fd < 0 || connect(calls->fd, found->ai_addr, found->ai_addrlen))
		ret = wc_fail(fault, errno, "cannot open a socket to %s port %u: %s", setup->address, setup->port,
			      strerror(errno));
	freeaddrinfo(found);
	if (ret)
		return ret;
	if (setsockopt(calls->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)))
		return wc_fail(fault, errno, "the kernel does not stamp packets: %s", strerror(errno));
	/* FORCE needs CAP_NET_ADMIN; without it the system's limit applies, and what is dropped is counted. */
	if (setsockopt(calls->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(calls->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(calls->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(calls->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return 0;
}

static int make_places(struct calls *calls)
{
	uint32_t size = 1;

	calls->places_count = calls->setup->clients ?: calls->setup->out_max;
	while (size < calls->places_count)
		size *= 2;
	calls->ring_mask = size - 1;
	calls->places = calloc(calls->places_count, sizeof(*calls->places));
	calls->ring = calloc(size, sizeof(*calls->ring));
	if (!calls->places || !calls->ring)
		return -ENOMEM;
	for (uint32_t i = 0; i < calls->places_count; i++)
		calls_give(calls, &calls->places[i], 0);
	return 0;
}

/* Socket, memory, and time 0 a little ahead. calls_close() whatever it returns. */
static int calls_open(struct calls *calls, const struct load_setup *setup, struct load_progress *progress,
		      struct wc_fault *fault)
{
	uint64_t random;

	memset(calls, 0, sizeof(*calls));
	calls->fd = -1;
	calls->setup = setup;
	calls->progress = progress;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return wc_fail(fault, EIO, "the system has no random numbers");
	calls->base = random >> 2 | 1ull << 40; /* so that no id is 0, or wraps around */
	for (int i = 0; i < 2; i++)
		calls->tally[i] = calloc(setup->functions, sizeof(*calls->tally[i]));
	if (!calls->tally[0] || !calls->tally[1] || make_places(calls) || calls_inbox_new(&calls->inbox))
		return wc_fail(fault, ENOMEM, "out of memory");
	return open_socket(calls, fault);
}

static void calls_close(struct calls *calls)
{
	if (calls->fd >= 0)
		close(calls->fd);
	for (int i = 0; i < 2; i++) {
		for (uint32_t f = 0; calls->tally[i] && f < calls->setup->functions; f++)
			load_function_clear(&calls->tally[i][f]);
		free(calls->tally[i]);
	}
	free(calls->places);
	free(calls->ring);
	free(calls->inbox);
}

/* What the kernel dropped because nobody had read in time. */
static uint64_t socket_drops(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t length = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) || length <= SK_MEMINFO_DROPS * sizeof(*info))
		return 0;
	return info[SK_MEMINFO_DROPS];
}

/* What was measured, when both threads have ended. -ENOMEM, -ERANGE. */
static int calls_result(struct calls *calls, struct load_result *ret_result)
{
	const struct load_setup *setup = calls->setup;
	uint64_t end = calls->cut_ns && calls->cut_ns < setup->end_ns ? calls->cut_ns : setup->end_ns;
	uint64_t begin = calls->start_ns + setup->warm_up_ns;
	struct load_result result;
	int ret = load_result_init(&result, setup->functions);

	if (ret)
		return ret;
	snprintf(result.loop, sizeof(result.loop), "%s", setup->clients ? "closed" : "open");
	result.runs = 1;
	result.interrupted = calls->cut_ns != 0;
	result.window_ns = end > setup->warm_up_ns ? end - setup->warm_up_ns : 0;
	result.span_ns = result.window_ns;
	if (calls->last_sent_ns > begin && calls->last_sent_ns - begin > result.span_ns)
		result.span_ns = calls->last_sent_ns - begin;
	result.timeout_ns = setup->timeout_ns;
	result.behind_ns = setup->behind_ns;
	for (size_t i = 0; i < LOAD_TRAFFIC_COUNT; i++)
		result.traffic[i] = calls->traffic[0][i] + calls->traffic[1][i];
	result.traffic[LOAD_TRAFFIC_dropped] = socket_drops(calls->fd);
	for (uint32_t f = 0; f < setup->functions && !ret; f++)
		ret = load_function_merge(&result.functions[f], &calls->tally[0][f]) ?:
			      load_function_merge(&result.functions[f], &calls->tally[1][f]);
	if (ret)
		load_result_clear(&result);
	else
		*ret_result = result;
	return ret;
}

static bool within_limits(const struct load_setup *setup)
{
	bool places = setup->clients ? setup->clients <= LOAD_CLIENTS_MAX :
				       setup->out_max && setup->out_max <= LOAD_OUT_MAX;

	for (uint32_t f = 0; f < setup->functions && f < LOAD_FUNCTIONS_MAX; f++)
		if (!setup->ids[f])
			return false;
	return places && setup->functions && setup->functions <= LOAD_FUNCTIONS_MAX && setup->port &&
	       setup->payload_len <= WC_PAYLOAD_MAX && setup->timeout_ns >= WC_MS &&
	       setup->timeout_ns <= LOAD_TIMEOUT_MS_MAX * WC_MS && setup->warm_up_ns <= setup->end_ns;
}

int load_run(const struct load_setup *setup, struct load_progress *progress, struct load_result *ret_result,
	     struct wc_fault *fault)
{
	struct calls calls;
	int ret;

	if (!within_limits(setup))
		return wc_fail(fault, EINVAL, "the load is not within the limits of engine.h");
	ret = calls_open(&calls, setup, progress, fault);
	if (!ret) {
		calls.start_ns = wc_now() + AHEAD_NS;
		atomic_store(&progress->start_ns, calls.start_ns);
		ret = setup->clients ? load_run_closed(&calls, fault) : load_run_open(&calls, fault);
	}
	if (!ret && atomic_load(&calls.error))
		ret = wc_fail(fault, atomic_load(&calls.error), "%s", strerror(-atomic_load(&calls.error)));
	if (!ret) {
		ret = calls_result(&calls, ret_result);
		if (ret)
			(void)wc_fail(fault, ret, "%s", strerror(-ret));
	}
	calls_close(&calls);
	return ret;
}
