/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fuzz.h - what every fuzzer has: libFuzzer's entry, and a condition that ends it. */
#ifndef WC_TESTS_FUZZ_FUZZ_H
#define WC_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
