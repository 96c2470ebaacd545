/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * report.c - see report.h. Memory is the most that the instance's process had resident until now, as the kernel counted it; what its
 * children had is not in it. There is no "billed duration": nobody is billed.
 */
#include "user/report.h"

#include "user/logs.h"
#include "user/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As functions see it (aws_request_id). */
#define ID_FORMAT "00000000-0000-0000-%04llx-%012llx"
#define ID_ARGUMENTS(id) (unsigned long long)(id) >> 48, (unsigned long long)(id)&0xffffffffffffULL

/* VmHWM of /proc/PID/status in KiB; 0: the process has gone. */
static unsigned long peak_kib(pid_t pid)
{
	char path[64], line[128];
	unsigned long kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	while (file && !kib && fgets(line, sizeof(line), file))
		if (!strncmp(line, "VmHWM:", 6))
			kib = strtoul(line + 6, NULL, 10);
	if (file)
		fclose(file);
	return kib;
}

static const char *status_of(const struct wc_result *result)
{
	switch (result->failure) {
	case WC_FAILURE_NONE:
		return result->kind == WC_CHANNEL_REPLY ? "success" : "error";
	case WC_FAILURE_TIMEOUT:
		return "timeout";
	default:
		return "failure";
	}
}

void wc_report_start(const struct wc_instance *instance, uint64_t request_id)
{
	char text[160];

	snprintf(text, sizeof(text), "START RequestId: " ID_FORMAT " Version: %u", ID_ARGUMENTS(request_id),
		 instance->fn->version);
	wc_logs_say(&instance->watch->source, request_id, text);
}

void wc_report_end(const struct wc_instance *instance, uint64_t request_id, const struct wc_result *result,
		   uint64_t service_ns, uint64_t init_ns)
{
	unsigned long peak = peak_kib(instance->pid);
	char text[400], init[64] = "", memory[64] = "";

	snprintf(text, sizeof(text), "END RequestId: " ID_FORMAT, ID_ARGUMENTS(request_id));
	wc_logs_say(&instance->watch->source, request_id, text);
	if (init_ns)
		snprintf(init, sizeof(init), "\tInit Duration: %.2f ms", (double)init_ns / 1e6);
	if (peak)
		snprintf(memory, sizeof(memory), "\tMax Memory Used: %lu MB", (peak + 1023) / 1024);
	snprintf(text, sizeof(text),
		 "REPORT RequestId: " ID_FORMAT "\tDuration: %.2f ms\tMemory Size: %u MB%s%s\tStatus: %s",
		 ID_ARGUMENTS(request_id), (double)service_ns / 1e6, instance->fn->manifest.memory_mb, memory, init,
		 status_of(result));
	wc_logs_say(&instance->watch->source, request_id, text);
}
