// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* engine_echo.c - a run of the floor: round trips with a plain UDP echo (tools/floor), one after the other. */
#include "tools/floor/echo.h"
#include "tools/study/engine.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define PORT 47590
#define CALLS 2000u
#define CALLS_MAX 1000000u
#define FIRST 200u /* not measured */

static uint32_t number(const struct engine *engine, uint32_t cell, const char *name, uint32_t fallback, uint32_t max)
{
	const char *text = study_setting(engine->study, cell, name);
	unsigned long value = text ? strtoul(text, NULL, 10) : fallback;

	return value > max ? max : (uint32_t)value;
}

/* The lowest and the highest CPU that we may use. */
static void ends(const cpu_set_t *set, int *ret_low, int *ret_high)
{
	*ret_low = *ret_high = -1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET((size_t)cpu, set))
			continue;
		*ret_low = *ret_low < 0 ? cpu : *ret_low;
		*ret_high = cpu;
	}
}

static void fill(double *us, uint32_t count, double took_s, struct run *run)
{
	double sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += us[i];
	stats_sort(us, count);
	run->metrics[METRIC_latency_mean_us] = sum / count;
	run->metrics[METRIC_latency_p50_us] = stats_quantile(us, count, 0.5);
	run->metrics[METRIC_latency_p90_us] = stats_quantile(us, count, 0.9);
	run->metrics[METRIC_latency_p99_us] = stats_quantile(us, count, 0.99);
	run->metrics[METRIC_latency_p999_us] = stats_quantile(us, count, 0.999);
	run->metrics[METRIC_latency_max_us] = us[count - 1];
	run->metrics[METRIC_rate_per_s] = count / took_s;
}

static int measure(const struct engine *engine, const struct floor_echo *echo, uint32_t calls, struct run *run,
		   struct wc_fault *fault)
{
	uint64_t *ns = calloc(calls + FIRST, sizeof(*ns));
	double *us = calloc(calls, sizeof(*us)), took = 0;
	struct floor_client client = { .fd = -1 };
	int error;

	if (!ns || !us) {
		free(ns);
		free(us);
		return wc_fail(fault, ENOMEM, "out of memory for %u calls", calls);
	}
	error = floor_client_open(&client, echo->net.address4, echo->port, 0, fault);
	error = error ?: floor_client_calls(&client, calls + FIRST, ns, engine->stop, fault);
	if (error == -EINTR)
		wc_fail(fault, EINTR, "interrupted");
	for (uint32_t i = 0; i < calls && !error; i++) {
		us[i] = (double)ns[FIRST + i] / 1e3;
		took += us[i] / 1e6;
	}
	if (!error)
		fill(us, calls, took, run);
	floor_client_close(&client);
	free(ns);
	free(us);
	return error;
}

int engine_echo(const struct engine *engine, uint32_t cell, struct run *run, struct wc_fault *fault)
{
	const char *xdp = study_setting(engine->study, cell, "echo.xdp");
	uint32_t calls = number(engine, cell, "echo.calls", CALLS, CALLS_MAX);
	struct floor_echo echo = { .port = PORT, .count = 1, .xdp = xdp && !strcmp(xdp, "on") };
	int low, high, error, client;
	cpu_set_t before, pinned;

	if (sched_getaffinity(0, sizeof(before), &before))
		return wc_fail(fault, errno, "cannot ask for our CPUs: %s", strerror(errno));
	ends(&before, &low, &high);
	echo.cpus[0] = (int)number(engine, cell, "echo.server-cpu", (uint32_t)high, CPU_SETSIZE - 1);
	client = (int)number(engine, cell, "echo.client-cpu", (uint32_t)low, CPU_SETSIZE - 1);
	error = floor_echo_start(&echo, ENGINE_ECHO, fault);
	if (error)
		return error;
	CPU_ZERO(&pinned);
	CPU_SET((size_t)client, &pinned);
	if (sched_setaffinity(0, sizeof(pinned), &pinned))
		error = wc_fail(fault, errno, "echo.client-cpu %d: %s", client, strerror(errno));
	error = error ?: measure(engine, &echo, calls ?: 1, run, fault);
	sched_setaffinity(0, sizeof(before), &before);
	floor_echo_stop(&echo);
	snprintf(run->facts, sizeof(run->facts), "UDP echo behind a veth pair%s",
		 echo.xdp ? " with an empty XDP program" : "");
	return error;
}
