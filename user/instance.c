/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* instance.c - see instance.h: talking to an instance and ending it. launch.c starts the process. */
#include "user/instance.h"

#include "runtimes/abi/channel_futex.h"
#include "user/cgroups.h"
#include "user/clock.h"
#include "user/farewell.h"
#include "user/guard.h"
#include "user/launch.h"
#include "user/pin.h"
#include "user/sandboxes.h"
#include "user/watch.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * To load a function, at least: imports of large libraries take seconds when cold. A function that may run for longer may also load for
 * so long: who made it expects that, and on a slow host with many starts at once 30 s are not much.
 */
#define INIT_TIMEOUT_NS (30 * WC_SECOND)

bool wc_instance_dead(const struct wc_instance *instance)
{
	return atomic_load(&instance->watch->exited);
}

/* The watch flips this bit of the answer's sequence when the process is gone (watch.c). */
#define DEAD_BIT 0x80000000u

/* Sequence numbers skip 0 (READY) and, without DEAD_BIT, WC_CHANNEL_NOT_READY. */
static uint32_t next_sequence(uint32_t sequence)
{
	sequence = (sequence + 1) & ~DEAD_BIT;
	return sequence && sequence != (WC_CHANNEL_NOT_READY & ~DEAD_BIT) ? sequence : 1;
}

/*
 * Sleep until the sequence is no longer `old` or the deadline (CLOCK_MONOTONIC, absolute) has passed. The reader's side of
 * channel_futex.h, but returning after each wake-up: an instance that wakes without an answer gains no time by it.
 */
static void sleep_on(struct wc_message *message, uint32_t old, uint64_t deadline)
{
	struct timespec until = wc_timespec(deadline);

	__atomic_store_n(&message->waiting, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&message->sequence, __ATOMIC_SEQ_CST) == old)
		syscall(SYS_futex, &message->sequence, FUTEX_WAIT_BITSET, old, &until, NULL, FUTEX_BITSET_MATCH_ANY);
	__atomic_store_n(&message->waiting, 0, __ATOMIC_RELAXED);
}

static void fail_with(struct wc_result *result, enum wc_failure failure, const char *text)
{
	result->failure = failure;
	snprintf(result->text, sizeof(result->text), "%s", text);
}

static void fail_dead(const struct wc_instance *instance, struct wc_result *result)
{
	const struct wc_watch *watch = instance->watch;

	/* It still slept when it died. A process that lies about this does so at its own function's cost. */
	result->untouched = instance->channel && WC_READ(instance->channel->request.waiting) == 1;
	result->status = watch->status;
	if (watch->crashed && wc_sandbox_out_of_memory(instance->sandbox)) {
		result->failure = WC_FAILURE_MEMORY;
		snprintf(result->text, sizeof(result->text),
			 "the function ran out of memory: it may have %u MB (memory_mb)",
			 instance->fn->manifest.memory_mb);
	} else if (watch->crashed) {
		result->failure = WC_FAILURE_CRASH;
		snprintf(result->text, sizeof(result->text), "the function's process was killed by signal %d (SIG%s)",
			 watch->status, sigabbrev_np(watch->status) ? sigabbrev_np(watch->status) : "?");
	} else {
		result->failure = WC_FAILURE_EXIT;
		snprintf(result->text, sizeof(result->text), "the function's process exited with status %d",
			 watch->status);
	}
}

/* Wait for the answer with this sequence; shared-memory transport. */
static void await_channel(struct wc_instance *instance, uint32_t sequence, uint64_t deadline, struct wc_result *result)
{
	struct wc_channel *channel = instance->channel;

	for (bool slept = false;; slept = true) {
		uint32_t now = __atomic_load_n(&channel->answer.sequence, __ATOMIC_ACQUIRE);

		if (now == sequence || now == (sequence ^ DEAD_BIT))
			break; /* in the second case it answered and then exited */
		if (wc_instance_dead(instance)) {
			fail_dead(instance, result);
			return;
		}
		if (slept && wc_now() >= deadline) { /* before the first sleep the kernel looks at it */
			fail_with(result, WC_FAILURE_TIMEOUT, "the function ran longer than its time limit");
			return;
		}
		sleep_on(&channel->answer, now, deadline);
	}
	/* Read each field once: the other side may be hostile and still writing. */
	result->kind = WC_READ(channel->answer.kind);
	result->flags = WC_READ(channel->answer.flags);
	result->length = WC_READ(channel->answer.length);
	result->began_ns = WC_READ(channel->answer.began_ns);
	result->returned_ns = WC_READ(channel->answer.returned_ns);
	result->payload = channel->answer_payload;
	if (result->kind == WC_CHANNEL_CALL) {
		const uint8_t *at = (uint8_t *)channel + WC_CHANNEL_CALL_AT;

		memcpy(&result->call, at, sizeof(result->call));
		result->payload = at + sizeof(result->call);
	}
}

/* The same on the socket. */
static void await_socket(struct wc_instance *instance, uint32_t sequence, uint64_t deadline, uint8_t *buffer,
			 struct wc_result *result)
{
	struct wc_message message;
	size_t head = sizeof(message);
	ssize_t n;

	for (;;) {
		struct pollfd ready = { .fd = instance->socket, .events = POLLIN };
		uint64_t now = wc_now();
		struct timespec left = { 0 };

		n = recv(instance->socket, buffer, WC_INSTANCE_BUFFER, MSG_DONTWAIT | MSG_TRUNC);
		if (n >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
		if (now >= deadline) {
			fail_with(result, WC_FAILURE_TIMEOUT, "the function ran longer than its time limit");
			return;
		}
		left = wc_timespec(deadline - now);
		if (ppoll(&ready, 1, &left, NULL) < 0 && errno != EINTR)
			break;
	}
	if (n <= 0) {
		/* End of file: it closed the socket or died. The main loop knows which in a moment. */
		for (int i = 0; i < 1000 && !wc_instance_dead(instance); i++)
			usleep(1000);
		if (wc_instance_dead(instance))
			fail_dead(instance, result);
		else
			fail_with(result, WC_FAILURE_PROTOCOL, "the function's process closed its channel");
		return;
	}
	memcpy(&message, buffer, sizeof(message));
	if ((size_t)n >= sizeof(message) && message.kind == WC_CHANNEL_CALL)
		head += sizeof(result->call);
	if ((size_t)n < head || (size_t)n != head + message.length || message.sequence != sequence) {
		fail_with(result, WC_FAILURE_PROTOCOL, "the function's process sent a message that is none");
		return;
	}
	result->kind = message.kind;
	result->flags = message.flags;
	result->length = message.length;
	result->began_ns = message.began_ns;
	result->returned_ns = message.returned_ns;
	result->payload = buffer + head;
	if (message.kind == WC_CHANNEL_CALL)
		memcpy(&result->call, buffer + sizeof(message), sizeof(result->call));
}

/* answer_max: bytes that a REPLY may have. */
static void await(struct wc_instance *instance, uint32_t sequence, uint64_t deadline, uint32_t answer_max,
		  uint8_t *buffer, struct wc_result *result)
{
	memset(result, 0, offsetof(struct wc_result, text) + 1);
	if (instance->channel)
		await_channel(instance, sequence, deadline, result);
	else
		await_socket(instance, sequence, deadline, buffer, result);
	if (result->kind == WC_CHANNEL_CALL)
		answer_max = instance->channel ? WC_CHANNEL_LARGE : WC_CHANNEL_CAPACITY;
	else if (result->kind != WC_CHANNEL_REPLY)
		answer_max = WC_CHANNEL_CAPACITY;
	if (result->failure == WC_FAILURE_NONE && result->length > answer_max)
		fail_with(result, WC_FAILURE_PROTOCOL, "the function's process claims a message over the limit");
}

/* *ret_again: it was a process that had been started ahead, and died before it had seen what it was taken for. */
static struct wc_instance *start_once(const struct wc_launcher *launcher, struct wc_fn *fn,
				      const struct wc_place *place, uint8_t *buffer, struct wc_result *result,
				      bool *ret_again)
{
	struct wc_instance *instance = calloc(1, sizeof(*instance));
	uint64_t patience = fn->manifest.timeout_ms * WC_MS, until;
	struct wc_fault fault;

	*ret_again = false;
	memset(result, 0, sizeof(*result));
	if (!instance) {
		fail_with(result, WC_FAILURE_START, "out of memory");
		return NULL;
	}
	instance->core = place->core;
	instance->sched = launcher->sched;
	instance->slot = WC_NONE;
	instance->socket = -1;
	instance->fn = fn;
	if (wc_launch(launcher, instance, place, &fault)) {
		fail_with(result, WC_FAILURE_START, fault.text);
		free(instance);
		return NULL;
	}
	atomic_fetch_add(&fn->references, 1);
	atomic_fetch_add(&fn->instances, 1);
	if (patience < INIT_TIMEOUT_NS)
		patience = INIT_TIMEOUT_NS;
	until = wc_now() + patience;
	if (place->limit_ns && place->limit_ns < until)
		until = place->limit_ns;
	await(instance, instance->sequence, until, WC_CHANNEL_CAPACITY, buffer, result);
	if (result->failure == WC_FAILURE_TIMEOUT && until == place->limit_ns) {
		fail_with(result, WC_FAILURE_TIMEOUT,
			  "the time of the function that called it was over while it loaded");
	} else if (result->failure == WC_FAILURE_TIMEOUT) {
		char text[sizeof(result->text)];

		snprintf(text, sizeof(text), "the function did not finish loading within %llu seconds",
			 (unsigned long long)(patience / WC_SECOND));
		fail_with(result, WC_FAILURE_TIMEOUT, text);
	}
	if (result->failure == WC_FAILURE_NONE && result->kind == WC_CHANNEL_READY) {
		instance->farewell = result->flags & WC_CHANNEL_FLAG_FAREWELL;
		instance->takes_context = result->flags & WC_CHANNEL_FLAG_CONTEXT;
		instance->lines = result->flags & WC_CHANNEL_FLAG_LINE && instance->channel &&
				  instance->watch->mail >= 0;
		return instance;
	}
	if (result->failure == WC_FAILURE_NONE && result->kind != WC_CHANNEL_INIT_ERROR)
		fail_with(result, WC_FAILURE_PROTOCOL, "the runtime said neither READY nor INIT_ERROR");
	if (result->failure == WC_FAILURE_NONE && instance->channel) {
		memcpy(buffer, result->payload, result->length); /* the channel goes away with the instance */
		result->payload = buffer;
	}
	*ret_again = instance->sequence && result->untouched;
	wc_watch_take_output(instance->watch); /* it says more than the answer, which may leave now */
	wc_instance_kill(instance);
	return NULL;
}

struct wc_instance *wc_instance_start(const struct wc_launcher *launcher, struct wc_fn *fn,
				      const struct wc_place *place, uint8_t *buffer, struct wc_result *result)
{
	struct wc_instance *instance = NULL;
	bool again = true;

	/* Twice: what says that it was not looked at is memory of the instance's. */
	for (int i = 0; i < 2 && again; i++)
		instance = start_once(launcher, fn, place, buffer, result, &again);
	return instance;
}

/* Fills in the sequence, and returns it. */
static uint32_t post(struct wc_instance *instance, struct wc_message *message, const uint8_t *payload,
		     const uint8_t *context)
{
	uint32_t sequence = next_sequence(instance->sequence);

	instance->sequence = message->sequence = sequence;
	if (instance->channel) {
		struct wc_channel *channel = instance->channel;

		if (payload)
			memcpy(channel->request_payload, payload, message->length);
		if (context)
			memcpy((uint8_t *)channel + WC_CHANNEL_CONTEXT_AT, context, message->context);
		channel->request.kind = message->kind;
		channel->request.length = message->length;
		channel->request.flags = message->flags;
		channel->request.request_id = message->request_id;
		channel->request.deadline_ns = message->deadline_ns;
		channel->request.answer_max = message->answer_max;
		channel->request.timed = message->timed;
		channel->request.context = message->context;
		wc_channel_post(channel, &channel->request, sequence);
	} else {
		struct iovec parts[3] = {
			{ .iov_base = message, .iov_len = sizeof(*message) },
			{ .iov_base = (void *)(uintptr_t)payload, .iov_len = message->length },
			{ .iov_base = (void *)(uintptr_t)context, .iov_len = context ? message->context : 0 },
		};
		struct msghdr header = { .msg_iov = parts, .msg_iovlen = 3 };

		/* Cannot block: there is never more than one message under way. An error shows as end of file. */
		if (sendmsg(instance->socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			errno = 0;
	}
	return sequence;
}

void wc_instance_tell(struct wc_instance *instance, enum wc_channel_kind kind, uint32_t number)
{
	post(instance, &(struct wc_message){ .kind = kind, .request_id = number }, NULL, NULL);
}

/* By the kernel, which reports what would be SIGBUS here. 0 or a negative errno. */
static int read_all(int fd, uint8_t *to, uint32_t length)
{
	for (uint32_t at = 0; at < length;) {
		ssize_t n = pread(fd, to + at, length - at, at);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return -EIO;
		at += n > 0 ? (uint32_t)n : 0;
	}
	return 0;
}

/* Bring a payload that is in a memfd to where the instance will look for it. *ret_payload: what is still to be copied, or NULL. */
static int fetch(const struct wc_instance *instance, const struct wc_call *call, uint8_t *buffer,
		 const uint8_t **ret_payload, struct wc_result *result)
{
	bool large = call->length > WC_CHANNEL_CAPACITY;
	uint8_t *to = buffer;
	int error;

	memset(result, 0, offsetof(struct wc_result, text) + 1);
	if (large && !instance->channel) {
		fail_with(result, WC_FAILURE_PAYLOAD,
			  "the function's runtime speaks over a socket, which takes no more than 61440 bytes");
		return -EMSGSIZE;
	}
	if (large)
		to = (uint8_t *)instance->channel + WC_CHANNEL_LARGE_AT;
	error = call->source >= 0 ? read_all(call->source, to, call->length) :
				    wc_instance_copy(to, call->payload, call->length);
	if (error)
		fail_with(result, WC_FAILURE_PAYLOAD, "there is no memory to give the function its payload");
	*ret_payload = large ? NULL : buffer;
	return error;
}

int wc_instance_copy(uint8_t *to, const uint8_t *from, uint32_t length)
{
	if (length > WC_CHANNEL_CAPACITY)
		return wc_guard_copy(to, from, length);
	if (length)
		memcpy(to, from, length);
	return 0;
}

void wc_instance_trim(struct wc_instance *instance, const struct wc_call *call, const struct wc_result *result)
{
	uint8_t *channel = (uint8_t *)instance->channel;
	size_t from = (sizeof(struct wc_channel) + 4095) & ~(size_t)4095;

	if (!channel)
		return;
	if (call->length > WC_CHANNEL_CAPACITY)
		madvise(channel + WC_CHANNEL_LARGE_AT, WC_CHANNEL_LARGE, MADV_REMOVE);
	if (result->length > WC_CHANNEL_CAPACITY)
		madvise(channel + from, WC_CHANNEL_LARGE_AT - from, MADV_REMOVE);
}

void wc_instance_trim_all(struct wc_instance *instance)
{
	size_t from = (sizeof(struct wc_channel) + 4095) & ~(size_t)4095;

	instance->swollen = false;
	if (instance->channel)
		madvise((uint8_t *)instance->channel + from, WC_CHANNEL_SIZE - from, MADV_REMOVE);
}

/* Until it answers, fails, or calls another function. */
static void await_turn(struct wc_instance *instance, uint32_t sequence, const struct wc_call *call, uint8_t *buffer,
		       struct wc_result *result)
{
	bool large = (call->refers || call->foreign) && instance->channel && call->answer_max;

	await(instance, sequence, call->deadline_ns, large ? call->answer_max : WC_CHANNEL_CAPACITY, buffer, result);
	if (result->failure == WC_FAILURE_NONE && result->kind == WC_CHANNEL_CALL)
		return; /* what it prints goes on being this request's */
	if (result->failure == WC_FAILURE_NONE)
		wc_watch_end(instance->watch);
	else
		wc_watch_take_output(instance->watch); /* until it is killed it goes on with this request */
	if (result->failure == WC_FAILURE_NONE && result->kind != WC_CHANNEL_REPLY && result->kind != WC_CHANNEL_ERROR)
		fail_with(result, WC_FAILURE_PROTOCOL, "the function's process answered with an unknown message");
}

void wc_instance_invoke(struct wc_instance *instance, const struct wc_call *call, uint8_t *buffer,
			struct wc_result *result)
{
	struct wc_message message = {
		.kind = WC_CHANNEL_INVOKE,
		.length = call->length,
		.flags = instance->core + 1,
		.request_id = call->request_id,
		.deadline_ns = call->deadline_ns,
		.timed = call->timed,
		/* to a runtime that knows of none a longer datagram is nonsense */
		.context = instance->channel || instance->takes_context ? call->context_len : 0,
	};
	const uint8_t *payload = call->length ? call->payload : NULL;
	uint32_t sequence;

	if (((call->refers && call->source >= 0) || (call->foreign && call->length > WC_CHANNEL_CAPACITY)) &&
	    fetch(instance, call, buffer, &payload, result))
		return;
	if ((call->refers || call->foreign) && instance->channel)
		message.answer_max = call->answer_max;
	wc_watch_begin(instance->watch, call->request_id);
	sequence = post(instance, &message, payload, message.context ? call->context : NULL);
	await_turn(instance, sequence, call, buffer, result);
}

void wc_instance_resume(struct wc_instance *instance, const struct wc_call *call, const uint8_t *payload,
			uint32_t length, uint32_t flags, uint32_t number, uint8_t *buffer, struct wc_result *result)
{
	struct wc_message message = {
		.kind = WC_CHANNEL_RESULT,
		.length = length,
		.flags = flags,
		.request_id = call->request_id,
		.deadline_ns = call->deadline_ns,
		.timed = call->timed,
		.context = number,
	};
	uint32_t sequence;

	if (wc_now() >=
	    call->deadline_ns) { /* what it called took all its time: whether it could still answer would be luck */
		memset(result, 0, offsetof(struct wc_result, text) + 1);
		fail_with(result, WC_FAILURE_TIMEOUT, "the function ran longer than its time limit");
		wc_watch_take_output(instance->watch);
		return;
	}
	if ((call->refers || call->foreign) && instance->channel) /* as it was: its answer is still to come */
		message.answer_max = call->answer_max;
	sequence = post(instance, &message, instance->channel ? NULL : payload, NULL);
	await_turn(instance, sequence, call, buffer, result);
}

void wc_instance_adopt(struct wc_instance *instance, const struct wc_call *call, uint8_t *buffer,
		       struct wc_result *result)
{
	uint32_t sequence = next_sequence(instance->sequence);

	instance->sequence = sequence;
	wc_channel_post(instance->channel, &instance->channel->request, sequence); /* the rest of it is its own */
	await_turn(instance, sequence, call, buffer, result);
}

void wc_instance_move(struct wc_instance *instance, uint32_t core, int cpu)
{
	instance->core = core;
	wc_sched_set_core(instance->sched, instance->slot, core);
	wc_sched_order(instance->sched, instance->slot, (uint32_t)cpu);
	wc_pin_instance(instance, cpu);
}

uint64_t wc_instance_cpu_ns(const struct wc_instance *instance)
{
	struct timespec used;
	clockid_t clock;

	if (instance->sandbox && instance->sandbox->cgroup >= 0)
		return wc_cgroup_cpu_ns(instance->sandbox->cgroup);
	if (clock_getcpuclockid(instance->pid, &clock) || clock_gettime(clock, &used))
		return 0;
	return (uint64_t)used.tv_sec * WC_SECOND + (uint64_t)used.tv_nsec;
}

void wc_instance_stop(struct wc_instance *instance)
{
	if (!wc_farewell(instance))
		wc_instance_kill(instance);
}

void wc_instance_kill(struct wc_instance *instance)
{
	struct pollfd gone = { .fd = instance->pidfd, .events = POLLIN };

	/* The whole group, while the main loop has not reaped the leader: `exited` is set after that. */
	if (!wc_instance_dead(instance))
		wc_watch_kill(instance->watch);
	/* The core must be free of it before the next invocation gets the core; a killed process needs microseconds. */
	while (poll(&gone, 1, 1000) < 0 && errno == EINTR)
		;
	wc_sandbox_end(instance->sandbox);
	wc_sched_leave(instance->sched, instance->slot);
	atomic_fetch_sub(&instance->fn->instances, 1);
	wc_fn_put(instance->fn);
	wc_watch_put(instance->watch);
	free(instance);
}
