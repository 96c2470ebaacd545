/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* open_loop.c - see open_loop.h. */
#include "tests/bench/open_loop.h"

#include "tests/bench/bench.h"
#include "user/client.h"
#include "user/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

struct run {
	struct bench_open_loop *loop;
	struct wc_client *client;
	uint64_t first_id, start, end;
};

static void be_urgent(void)
{
	const struct sched_param urgent = { .sched_priority = 1 };

	prctl(PR_SET_TIMERSLACK, 1UL);
	if (sched_setscheduler(0, SCHED_FIFO, &urgent))
		errno = 0; /* without the right to it the client is a source of noise */
}

static void *receive(void *argument)
{
	struct run *run = argument;
	struct bench_open_loop *loop = run->loop;
	struct wc_client_result result;

	be_urgent();
	while (loop->answered < loop->count && wc_now() < run->end) {
		uint64_t now = wc_now(), index;

		if (wc_client_receive(run->client, run->end > now ? run->end - now : 0, &result))
			continue;
		index = result.request_id - run->first_id;
		if (index >= loop->count || loop->requests[index].done)
			continue;
		loop->requests[index].done = result.received_ns - run->start;
		loop->requests[index].service_ns = result.service_ns;
		loop->requests[index].busy = result.type != WC_TYPE_REPLY;
		if (loop->requests[index].busy && !loop->wrong++)
			snprintf(loop->wrong_text, sizeof(loop->wrong_text), "answer type %u, code %u: %.*s",
				 result.type, result.code, (int)(result.payload_len < 200 ? result.payload_len : 200),
				 (const char *)result.payload);
		loop->answered++;
	}
	return NULL;
}

static void send_all(struct run *run)
{
	struct bench_open_loop *loop = run->loop;

	for (unsigned i = 0; i < loop->count && !bench_interrupted(); i++) {
		const struct bench_request *request = &loop->requests[i];
		uint64_t when = run->start + request->at;
		const struct timespec until = wc_timespec(when);
		char payload[32];
		struct wc_client_request invoke = {
			.function_id = loop->ids[request->function],
			.payload = payload,
			.payload_len =
				(size_t)snprintf(payload, sizeof(payload), "{\"sleep_us\":%u}", request->service),
		};

		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
			;
		loop->late += wc_now() - when > loop->late_ns;
		while (wc_client_send(run->client, run->first_id + i, &invoke) == -EAGAIN)
			sched_yield();
	}
}

int bench_open_loop(struct bench_open_loop *loop)
{
	struct run run = { .loop = loop };
	pthread_t receiver;
	int error = wc_client_open(loop->node->address, loop->node->port, &run.client);

	if (error)
		return error;
	loop->span_ns = (uint64_t)((loop->seconds + loop->drain_s) * 1e9);
	run.first_id = wc_client_next_id(run.client);
	run.start = wc_now() + 20 * WC_MS;
	run.end = run.start + loop->span_ns;
	if (pthread_create(&receiver, NULL, receive, &run)) {
		wc_client_free(run.client);
		return -ENOMEM;
	}
	be_urgent();
	send_all(&run);
	pthread_join(receiver, NULL);
	wc_client_free(run.client);
	return bench_interrupted() ? -EINTR : 0;
}

int bench_open_loop_node(struct bench_node *node, unsigned cores, const char *prefix, unsigned functions,
			 uint32_t *ret_ids)
{
	int cpus[256], error;
	unsigned count = bench_cpus(cpus, cores < 256 ? cores : 256);
	static char list[256 * 5];
	size_t at = 0;

	if (!count || cores > 256)
		return count ? -EINVAL : -errno;
	for (unsigned i = 0; i < cores; i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%d", i ? "," : "", cpus[i % count]);
	node->cores = list;
	error = bench_node_start(node);
	for (unsigned f = 0; f < functions && !error; f++) {
		char name[24];

		snprintf(name, sizeof(name), "%.10s%u", prefix, f);
		error = bench_node_deploy(node, "native/spin", name, false, &ret_ids[f]);
	}
	return error;
}
