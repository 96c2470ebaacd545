/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * deflate.c - compresses the payload with zlib: bytes in, a zlib stream (RFC 1950) out.
 *
 * The z_stream is kept between invocations, which is what a warm instance is good for: deflateInit allocates 256 KB,
 * deflateReset only resets. One per thread, so that the function may be deployed as trusted.
 *
 * The manifest's environment may set LEVEL to 0 .. 9.
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden -o deflate.so deflate.c -lz
 */
#include <stdlib.h>
#include <zlib.h>

#include "../../warmcore.h"

WARMCORE_FUNCTION_ABI;

static _Thread_local z_stream stream;
static _Thread_local int stream_ready;

static int prepare(void)
{
	const char *text = getenv("LEVEL");
	int level = Z_BEST_COMPRESSION, err;

	if (stream_ready)
		return deflateReset(&stream);
	if (text && text[0] >= '0' && text[0] <= '9' && !text[1])
		level = text[0] - '0';
	err = deflateInit(&stream, level);
	if (err != Z_OK)
		return err;
	stream_ready = 1;
	return Z_OK;
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	int err = prepare();

	if (err != Z_OK)
		return warmcore_error(response, "ZlibError", "cannot start: %s", zError(err));
	stream.next_in = (z_const Bytef *)(uintptr_t)request->payload;
	stream.avail_in = request->length;
	stream.next_out = response->payload;
	stream.avail_out = response->capacity;
	err = deflate(&stream, Z_FINISH);
	if (err != Z_STREAM_END)
		return warmcore_error(response, "ZlibError", "%u bytes do not compress into %u", request->length,
				      response->capacity);
	response->length = response->capacity - stream.avail_out;
	response->flags = WARMCORE_FLAG_BINARY;
	return 0;
}
