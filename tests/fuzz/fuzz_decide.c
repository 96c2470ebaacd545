// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_decide.c - bytes as a sequence of what can happen to the tables: packets, agents that are done, knobs that are turned
 * (policies, limits, reserves, tags, distances), cores that change hands, damaged hints. After each step the decision must
 * be the one that the model in tests/unit/reference.h finds, and of some inputs all invariants hold at the end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define REF_CORES 70 /* two words */
#include "tests/unit/reference.h"

#define STEP_BYTES 5
#define STEPS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ref_open(size ? data[0] % (REF_CORES + 1) : 0);
	if (size > 1 + STEP_BYTES * STEPS_MAX)
		size = 1 + STEP_BYTES * STEPS_MAX;
	for (size_t i = 1; i + STEP_BYTES <= size; i += STEP_BYTES) {
		uint32_t a = data[i + 1] | (uint32_t)data[i + 2] << 8, b = data[i + 3] | (uint32_t)data[i + 4] << 8;

		if (data[i] >= 250) /* a burst: the queues fill up */
			for (uint32_t n = 0; n < 6; n++)
				ref_step(0, a + 64 * n, b + REF_CPUS * (n & data[i]));
		else
			ref_step(data[i], a, b);
	}
	if (size % 8 == 0) /* it looks at far more than what was touched */
		ref_check();
	return 0;
}
