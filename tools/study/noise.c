// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* noise.c - see noise.h. */
#include "tools/study/noise.h"
#include "tools/study/stats.h"
#include "user/clock.h"

#include <stdio.h>
#include <string.h>

#define GAP_NS 10000u
#define EVERY_NS 1000000u

void noise_measure(struct noise *ret)
{
	double late[NOISE_SAMPLES];
	uint64_t begin = wc_now(), before = begin, lost = 0;

	for (uint32_t i = 0; i < NOISE_SAMPLES; i++) {
		uint64_t deadline = begin + (i + 1) * (uint64_t)EVERY_NS, now;

		do {
			now = wc_now();
			if (now - before > GAP_NS)
				lost += now - before;
			before = now;
		} while (now < deadline);
		late[i] = (double)(now - deadline) / 1e3;
	}
	stats_sort(late, NOISE_SAMPLES);
	*ret = (struct noise){
		.samples = NOISE_SAMPLES,
		.p50_us = stats_quantile(late, NOISE_SAMPLES, 0.5),
		.p99_us = stats_quantile(late, NOISE_SAMPLES, 0.99),
		.max_us = late[NOISE_SAMPLES - 1],
		.lost_percent = 100.0 * (double)lost / (double)(before - begin),
	};
}

void noise_steal(uint64_t *ret_steal, uint64_t *ret_all)
{
	unsigned long long ticks[8] = { 0 };
	FILE *file = fopen("/proc/stat", "re");
	char line[512] = "";

	*ret_steal = *ret_all = 0;
	if (!file)
		return;
	/* user nice system idle iowait irq softirq steal; guest time is in user */
	if (fgets(line, sizeof(line), file) &&
	    sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[0], &ticks[1], &ticks[2], &ticks[3],
		   &ticks[4], &ticks[5], &ticks[6], &ticks[7]) == 8) {
		*ret_steal = ticks[7];
		for (unsigned i = 0; i < 8; i++)
			*ret_all += ticks[i];
	}
	fclose(file);
}
