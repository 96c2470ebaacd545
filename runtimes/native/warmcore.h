/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * warmcore.h - the C ABI of a warmcore function, version 1. Include it, define WARMCORE_FUNCTION_ABI once and
 * warmcore_handle, and build a shared object:
 *
 *     #include "warmcore.h"
 *
 *     WARMCORE_FUNCTION_ABI;
 *
 *     WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
 *     {
 *             return warmcore_printf(response, "{\"bytes\":%u}", request->length);
 *     }
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden -o hello.so hello.c
 *
 * The same shared object runs in its own process (warmcore-native) or, when the manifest says "trusted", inside the
 * core agent's thread. This header is complete: there is nothing to link with.
 *
 * Threading. An instance runs one invocation at a time. warmcore_init and every warmcore_handle of one instance run
 * on the same thread, in its own process. A trusted function is different: the daemon loads it once and each core's
 * agent calls it on that core's own thread, so several invocations run at the same time in one address space.
 * Its global state must be thread-local, atomic or locked; warmcore_init runs once, before any of them.
 * A function may start threads of its own but they share the one core, and it should not count on their running
 * between invocations.
 *
 * What a function may do. In its own process: anything the sandbox lets it; exit(), abort() and a fault end the
 * instance, the invocation is answered with an error and the instance is replaced. Trusted: it must return, soon,
 * must not block, exit, fault, change signal handlers, the working directory, the CPU affinity or the locale, and must
 * keep its stack use below WARMCORE_STACK_MAX. Nothing enforces this: a trusted function is part of the daemon.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC. Sizes are bytes.
 */
#ifndef WARMCORE_H
#define WARMCORE_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a function built for the old one would break. Structs grow at their end without a new version. */
#define WARMCORE_ABI_VERSION 1u

#define WARMCORE_STACK_MAX (256u << 10)
#define WARMCORE_ERROR_TYPE_MAX 64u	/* with the terminating NUL */
#define WARMCORE_ERROR_MESSAGE_MAX 512u /* with the terminating NUL */

#define WARMCORE_EXPORT __attribute__((visibility("default")))

/* What the host and the daemon look up to learn which ABI a shared object was built for. */
#define WARMCORE_ABI_SYMBOL "warmcore_abi_version"
#define WARMCORE_FUNCTION_ABI                                                                                          \
	extern WARMCORE_EXPORT const uint32_t warmcore_abi_version;                                                    \
	WARMCORE_EXPORT const uint32_t warmcore_abi_version = WARMCORE_ABI_VERSION

#define WARMCORE_INIT_SYMBOL "warmcore_init"
#define WARMCORE_SHUTDOWN_SYMBOL "warmcore_shutdown"
#define WARMCORE_HANDLE_SYMBOL "warmcore_handle" /* unless the manifest's handler is "file.so:symbol" */

/* The invocation. Everything is valid until warmcore_handle returns, and read-only. */
struct warmcore_request {
	uint32_t size;	      /* sizeof(struct warmcore_request) of the caller; later fields exist if it covers them */
	uint32_t length;      /* payload bytes, 0 .. 6,291,456 */
	const void *payload;  /* not NUL-terminated, no alignment promised; may be NULL when length is 0 */
	uint64_t request_id;  /* chosen by the client; unique per client, not per node */
	uint64_t deadline_ns; /* the instance is killed then; 0 = no deadline */
	const char *function_name; /* as deployed */
	/* From here on only where `size` covers it: read these through the functions below. */
	const char *function_version;	  /* number of the deployment */
	uint32_t memory_mb;		  /* what an instance may have; 0 = not said */
	uint32_t core;			  /* number of the core that runs it + 1; 0 = not said */
	const void *context;		  /* for the functions below; NULL = nothing came along */
	const struct warmcore_host *host; /* for warmcore_invoke(); NULL = it cannot call functions */
};

#define WARMCORE_FLAG_BINARY 1u /* the response is bytes; without it, a JSON value in UTF-8 */

/*
 * The answer. The caller presets size, capacity, payload and flags (WARMCORE_FLAG_BINARY when the manifest's event is
 * "binary") and zeroes length and the first byte of both error fields.
 */
struct warmcore_response {
	uint32_t size;	   /* sizeof(struct warmcore_response) of the caller */
	uint32_t capacity; /* of payload; 61,440, or 6,291,456 for a client that can take it */
	void *payload;	   /* write at most capacity bytes here */
	uint32_t length;   /* bytes written. More than capacity = "this is what I needed": the client gets an error */
	uint32_t flags;	   /* WARMCORE_FLAG_* */
	char error_type[WARMCORE_ERROR_TYPE_MAX];	/* what kind, one word; empty = "Runtime.FunctionError" */
	char error_message[WARMCORE_ERROR_MESSAGE_MAX]; /* what happened, one sentence, UTF-8 */
};

/* Optional. Once, before the first invocation: load models, open files. Other than 0 = the function cannot run. */
int warmcore_init(void);

/*
 * Mandatory. 0: the response is payload[0..length). Anything else: the invocation failed, with error_type and
 * error_message; the payload is not used. The instance stays and gets the next invocation.
 */
int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response);

/*
 * Optional. Once, after the last invocation, when the instance is not needed any more: close what must be closed. It has half a second,
 * then the process is killed; so it is after a crash or a time-out, without this. Not called for a trusted function.
 */
void warmcore_shutdown(void);

typedef int (*warmcore_init_fn)(void);
typedef void (*warmcore_shutdown_fn)(void);
typedef int (*warmcore_handle_fn)(const struct warmcore_request *request, struct warmcore_response *response);

/* Time left until the deadline: negative when it has passed, INT64_MAX when there is none. */
static inline int64_t warmcore_remaining_ns(const struct warmcore_request *request)
{
	struct timespec now;

	if (!request->deadline_ns)
		return INT64_MAX;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)(request->deadline_ns - ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec));
}

/* Whether the caller's request has this field: it may be older than this header. */
#define WARMCORE_HAS(request, field)                                                                                   \
	((request)->size >= offsetof(struct warmcore_request, field) + sizeof((request)->field))

/* Text `index` of what came along: runtimes/abi/context.h. */
static inline const char *warmcore_context_text(const struct warmcore_request *request, unsigned index)
{
	const unsigned char *block = WARMCORE_HAS(request, context) ? (const unsigned char *)request->context : NULL;
	const char *at;
	unsigned i;

	if (!block || !(block[2 * index] | block[2 * index + 1]))
		return NULL;
	at = (const char *)block + 8;
	for (i = 0; i < index; i++)
		at += (block[2 * i] << 8 | block[2 * i + 1]) + 1;
	return at;
}

/* What the client sent along; each with a 0 behind it, NULL = nothing. Lambda's client context, a JSON object; */
static inline const char *warmcore_client_context(const struct warmcore_request *request)
{
	return warmcore_context_text(request, 0);
}

/* the trace that the invocation belongs to, as W3C has it (traceparent, tracestate), and as AWS has it (X-Amzn-Trace-Id). */
static inline const char *warmcore_traceparent(const struct warmcore_request *request)
{
	return warmcore_context_text(request, 1);
}

static inline const char *warmcore_tracestate(const struct warmcore_request *request)
{
	return warmcore_context_text(request, 2);
}

static inline const char *warmcore_xray_trace_id(const struct warmcore_request *request)
{
	return warmcore_context_text(request, 3);
}

/*
 * What a function that was called has answered: a JSON value, or bytes with WARMCORE_FLAG_BINARY; when it failed, an error object
 * {"errorType", "errorMessage", ...}. Valid until the next call, or until warmcore_handle returns.
 */
struct warmcore_reply {
	const void *payload;
	uint32_t length;
	uint32_t flags;
};

/* The process that a function runs in, for the functions below. */
struct warmcore_host {
	void *state;
	int (*call)(void *state, uint32_t how, const char *function, const void *payload, uint32_t length,
		    uint32_t *number, struct warmcore_reply *reply);
	void *(*buffer)(void *state, uint32_t *room);
};

/* All calls are this one. *number: of the call. */
static inline int warmcore_call(const struct warmcore_request *request, uint32_t how, const char *function,
				const void *payload, size_t length, uint32_t *number, struct warmcore_reply *reply)
{
	if (!WARMCORE_HAS(request, host) || !request->host)
		return -ENOSYS;
	return request->host->call(request->host->state, how, function, payload,
				   length > UINT32_MAX ? UINT32_MAX : (uint32_t)length, number, reply);
}

/*
 * Call another function of this node, "NAME" or "NAME:QUALIFIER", and wait for its result. On the thread of warmcore_handle only. It gets what is
 * left of this function's time, or its own limit if that is shorter, and the trace that this invocation belongs to.
 * 0: it has run. 1: it has failed, or was not run; *reply says why. A negative errno: nothing was sent: -ENOSYS: not from here (a trusted function),
 * -EMSGSIZE: more than 6,291,456 bytes, -ENAMETOOLONG.
 */
static inline int warmcore_invoke(const struct warmcore_request *request, const char *function, const void *payload,
				  size_t length, struct warmcore_reply *reply)
{
	uint32_t number = 0;

	return warmcore_call(request, 0, function, payload, length, &number, reply);
}

/*
 * The same in two steps: begin it, on another core if one is free, and wait for it with warmcore_wait(), or for whichever ends first with
 * warmcore_wait_any(). At most 1,024 at a time. What is not waited for before warmcore_handle returns goes on, and its result is dropped.
 * warmcore_start() returns 1 when it was not begun: *reply says why.
 */
static inline int warmcore_start(const struct warmcore_request *request, const char *function, const void *payload,
				 size_t length, uint32_t *number, struct warmcore_reply *reply)
{
	*number = 0;
	return warmcore_call(request, 1, function, payload, length, number, reply);
}

static inline int warmcore_wait(const struct warmcore_request *request, uint32_t number, struct warmcore_reply *reply)
{
	return warmcore_call(request, 2, NULL, NULL, 0, &number, reply);
}

static inline int warmcore_wait_any(const struct warmcore_request *request, uint32_t *number,
				    struct warmcore_reply *reply)
{
	*number = 0;
	return warmcore_call(request, 3, NULL, NULL, 0, number, reply);
}

/* What was begun is not wanted any more; it is waited for as before, and fails (Node.Cancelled), unless it had ended. 1: there is no such call. */
static inline int warmcore_cancel(const struct warmcore_request *request, uint32_t number, struct warmcore_reply *reply)
{
	return warmcore_call(request, 4, NULL, NULL, 0, &number, reply);
}

/*
 * Objects of the workflow: of the client's invocation and all calls within it. Its functions see them, nobody else, and they go with it. At most 1,024
 * objects and streams, 64 MiB, 223 bytes of a name. `flags`: WARMCORE_FLAG_BINARY, or 0 for a JSON value.
 * 0, 1 or a negative errno as warmcore_invoke(). warmcore_get() copies the object into *reply.
 */
static inline int warmcore_put(const struct warmcore_request *request, const char *name, const void *payload,
			       size_t length, uint32_t flags, struct warmcore_reply *reply)
{
	return warmcore_call(request, 5, name, payload, length, &flags, reply);
}

static inline int warmcore_get(const struct warmcore_request *request, const char *name, struct warmcore_reply *reply)
{
	uint32_t number = 0;

	return warmcore_call(request, 6, name, NULL, 0, &number, reply);
}

static inline int warmcore_delete(const struct warmcore_request *request, const char *name,
				  struct warmcore_reply *reply)
{
	uint32_t number = 0;

	return warmcore_call(request, 7, name, NULL, 0, &number, reply);
}

#define WARMCORE_FLAG_TRY 16u /* do not wait for a stream; when it would, that is 1, and *reply says Node.WouldWait */

/*
 * Streams of the workflow: messages that come out in the order that they were sent, each once. warmcore_send() waits while there are 256 or 8 MiB of
 * them, warmcore_receive() until there is one. Who closes it says that no more come. Results as above; and 2 of warmcore_receive(): the stream
 * was closed, and nothing is left in it.
 */
static inline int warmcore_send(const struct warmcore_request *request, const char *name, const void *payload,
				size_t length, uint32_t flags, struct warmcore_reply *reply)
{
	return warmcore_call(request, 8, name, payload, length, &flags, reply);
}

static inline int warmcore_receive(const struct warmcore_request *request, const char *name, uint32_t flags,
				   struct warmcore_reply *reply)
{
	int result = warmcore_call(request, 9, name, NULL, 0, &flags, reply);

	return result == 0 && flags == 1 ? 2 : result;
}

static inline int warmcore_close(const struct warmcore_request *request, const char *name, struct warmcore_reply *reply)
{
	uint32_t number = 0;

	return warmcore_call(request, 10, name, NULL, 0, &number, reply);
}

/*
 * Where a payload for warmcore_invoke() and the others may be written to spare a copy: *room bytes, until the next call. It does not overlap with the request, the
 * response, or what was answered. NULL: no call is possible.
 */
static inline void *warmcore_invoke_buffer(const struct warmcore_request *request, uint32_t *room)
{
	*room = 0;
	if (!WARMCORE_HAS(request, host) || !request->host)
		return NULL;
	return request->host->buffer(request->host->state, room);
}

/* The request id as the other runtimes' contexts write it, the form of a UUID; out has room for 37 bytes. Returns out. */
static inline const char *warmcore_request_id(const struct warmcore_request *request, char *out)
{
	unsigned long long id = request->request_id;

	snprintf(out, 37, "00000000-0000-0000-%04llx-%012llx", id >> 48, id & 0xffffffffffffull);
	return out;
}

static inline const char *warmcore_function_name(const struct warmcore_request *request)
{
	return request->function_name;
}

static inline const char *warmcore_function_version(const struct warmcore_request *request)
{
	return WARMCORE_HAS(request, function_version) && request->function_version ? request->function_version :
										      "$LATEST";
}

/* MB, 0 when it is not known. */
static inline uint32_t warmcore_memory_limit_mb(const struct warmcore_request *request)
{
	return WARMCORE_HAS(request, memory_mb) ? request->memory_mb : 0;
}

/* Number of the core that runs the invocation, -1 when it is not known. */
static inline int warmcore_core(const struct warmcore_request *request)
{
	return WARMCORE_HAS(request, core) ? (int)request->core - 1 : -1;
}

/* A line of the function's log, at most 1,023 bytes; the line break is added. What is too long is cut. */
__attribute__((format(printf, 1, 2))) static inline void warmcore_log(const char *format, ...)
{
	char line[1024];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n < 0)
		return;
	n = n < (int)sizeof(line) ? n : (int)sizeof(line) - 1;
	line[n] = '\n'; /* in one go: lines of several threads do not mix */
	if (write(2, line, (size_t)n + 1) < 0)
		return;
}

/* Append formatted text to the response. 0, also when it no longer fits: length then says so to the caller. */
__attribute__((format(printf, 2, 3))) static inline int warmcore_printf(struct warmcore_response *response,
									const char *format, ...)
{
	size_t left = response->length < response->capacity ? response->capacity - response->length : 0;
	va_list args;
	int n;

	/* vsnprintf wants a byte for its NUL: text that fills the buffer to the last byte counts as too long. */
	va_start(args, format);
	n = vsnprintf(left ? (char *)response->payload + response->length : NULL, left, format, args);
	va_end(args);
	if (n <= 0)
		return n;
	if ((size_t)n >= left && response->length <= response->capacity)
		response->length = response->capacity + 1;
	else if ((size_t)n < left)
		response->length += (uint32_t)n;
	return 0;
}

/* Fill the error fields and return -1: `return warmcore_error(response, "BadInput", "line %d is empty", n);` */
__attribute__((format(printf, 3, 4))) static inline int warmcore_error(struct warmcore_response *response,
								       const char *type, const char *format, ...)
{
	va_list args;

	snprintf(response->error_type, sizeof(response->error_type), "%s", type);
	va_start(args, format);
	vsnprintf(response->error_message, sizeof(response->error_message), format, args);
	va_end(args);
	return -1;
}

#ifdef __cplusplus
}
#endif

#endif
