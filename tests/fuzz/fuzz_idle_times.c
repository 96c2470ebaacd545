// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_idle_times.c - any bytes as STATE/idle-times, as they are and with the digest that they should have: what is taken consists of
 * histograms as keepalive.c makes them, plans can be made of it, and written again it is the same bytes.
 */
#include <nettle/sha2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "user/idle_times.h"

static void check_histogram(const struct wc_keepalive_histogram *histogram)
{
	uint64_t squares = 0;
	uint32_t within = 0;

	for (uint32_t i = 0; i < WC_KEEPALIVE_BINS; i++) {
		within += histogram->count[i];
		squares += (uint64_t)histogram->count[i] * histogram->count[i];
	}
	REQUIRE(within == histogram->within && squares == histogram->squares);
	REQUIRE(within + histogram->beyond <= WC_KEEPALIVE_MEMORY);
}

static void take(const uint8_t *data, size_t size)
{
	struct wc_keepalive_knobs knobs = wc_keepalive_defaults(60000, 600000);
	struct wc_idle_times_writer again = { NULL, 0, 0, 0 };
	struct wc_idle_times_reader reader;
	struct wc_idle_times_entry entry;
	struct wc_fault fault = { "" };

	if (wc_idle_times_open(&reader, data, size, &fault)) {
		REQUIRE(fault.text[0]);
		return;
	}
	REQUIRE(!wc_idle_times_begin(&again, reader.bin_ns));
	while (wc_idle_times_next(&reader, &entry)) {
		check_histogram(&entry.known.first);
		check_histogram(&entry.known.more);
		for (unsigned rule = WC_KEEPALIVE_HYBRID; rule <= WC_KEEPALIVE_OFF; rule++) {
			knobs.rule = (enum wc_keepalive_rule)rule;
			(void)wc_keepalive_plan(&entry.known, &knobs);
		}
		wc_keepalive_note(&entry.known, &knobs, 1, size);
		check_histogram(&entry.known.first);
	}
	REQUIRE(!wc_idle_times_open(&reader, data, size, &fault));
	while (wc_idle_times_next(&reader, &entry))
		REQUIRE(!wc_idle_times_add(&again, entry.id, entry.name, &entry.known));
	REQUIRE(!wc_idle_times_end(&again));
	REQUIRE(again.size == size && !memcmp(again.bytes, data, size));
	free(again.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sha256_ctx context;
	uint8_t *whole;

	take(data, size);
	whole = malloc(size + WC_IDLE_TIMES_SHA256);
	if (!whole)
		return 0;
	if (size)
		memcpy(whole, data, size);
	sha256_init(&context);
	sha256_update(&context, size, whole);
	sha256_digest(&context, WC_IDLE_TIMES_SHA256, whole + size);
	take(whole, size + WC_IDLE_TIMES_SHA256);
	free(whole);
	return 0;
}
