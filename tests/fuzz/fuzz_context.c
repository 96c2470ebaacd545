// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_context.c - any bytes as what comes along with an invocation: what is sound is read within its size and put together again to the same; and any text as
 * a client context, which becomes a sound block, or is refused.
 */
#include <stdint.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "runtimes/abi/context.h"
#include "user/gateway/call_context.h"

static void check_block(const uint8_t *block, size_t length)
{
	const char *texts[WC_CONTEXT_TEXTS];
	uint32_t size = wc_context_size(block, length);
	uint8_t again[WC_CONTEXT_MAX];

	if (!size)
		return;
	REQUIRE(size <= length && size <= WC_CONTEXT_MAX);
	for (unsigned i = 0; i < WC_CONTEXT_TEXTS; i++) {
		texts[i] = wc_context_get(block, i);
		REQUIRE(!texts[i] == !wc_context_length(block, i));
		REQUIRE(!texts[i] || strlen(texts[i]) == wc_context_length(block, i));
	}
	REQUIRE(wc_context_make(texts, again) == size && !memcmp(again, block, size));
}

static void check_request(const char *text, size_t length)
{
	struct wc_request request = { .header_count = 3,
				      .headers = { { wc_text("x-amz-client-context"), { text, length } },
						   { wc_text("traceparent"), { text, length } },
						   { wc_text("x-amzn-trace-id"), { text, length } } } };
	bool good = !wc_client_context_check((struct wc_text){ text, length });
	size_t size;
	char *block;

	REQUIRE(!wc_call_context_take(&request, good, &block, &size));
	REQUIRE(!block == !size);
	if (block)
		REQUIRE(wc_context_size((const uint8_t *)block, size) == size);
	if (good) {
		const char *client = wc_context_get((const uint8_t *)block, WC_CONTEXT_CLIENT);

		REQUIRE(client);
		for (; *client; client++)
			REQUIRE((unsigned char)*client >= 0x20);
	}
	free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1); /* so that the sanitizer sees a byte beyond */

	REQUIRE(exact);
	if (size)
		memcpy(exact, data, size);
	check_block(exact, size);
	check_request((const char *)exact, size);
	free(exact);
	return 0;
}
