/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * channel_client.h - the instance's end of the channel of ../abi/channel.h, for every runtime that can call C.
 *
 * Both transports look the same from here: a request payload to read in place, an answer buffer to fill in place.
 * Used by the native host (linked in) and by the Python runtime (libwarmcore-channel.so through ctypes, so the
 * functions take and return nothing but integers and pointers).
 *
 * One thread at a time. Functions return 0 or more on success and a negative errno on failure; none of them logs.
 *
 *     wc_client_open(&client);
 *     wc_client_ready(client, 0);
 *     while (wc_client_next(client) > 0)
 *             wc_client_answer(client, WC_CHANNEL_REPLY, 0, client->answer_payload, length);
 *     wc_client_close(client);
 */
#ifndef WC_CHANNEL_CLIENT_H
#define WC_CHANNEL_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "../abi/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WC_CLIENT_ENV "WARMCORE_CHANNEL"

enum wc_client_transport {
	WC_CLIENT_FUTEX = 1,
	WC_CLIENT_SOCKET = 2,
};

struct wc_client {
	struct wc_channel *channel; /* shared with the agent (futex), or private memory of the same layout (socket) */
	const struct wc_message *request; /* valid from wc_client_next until wc_client_answer; only read it */
	const uint8_t *request_payload;	  /* request->length bytes; alignment 64, not NUL-terminated */
	uint8_t *answer_payload;	  /* fill up to capacity bytes here and wc_client_answer copies nothing */
	uint32_t capacity; /* payload bytes that the answer may have: of the last request; else WC_CHANNEL_CAPACITY */
	uint32_t sequence; /* of the last request that was received; 0 before the first */
	int fd;		   /* socket:FD, or -1 */
	uint32_t large;	   /* payload bytes that either way can have: WC_CHANNEL_LARGE or WC_CHANNEL_CAPACITY */
	size_t mapped;	   /* bytes at channel */
	enum wc_client_transport transport;
	uint64_t began_ns;	       /* when the last request was here, if it is timed, else 0 */
	struct wc_client_lines *lines; /* line.h; NULL: none */
	const uint8_t *context;	       /* what came along with the last request (../abi/context.h); NULL: nothing */
};

/*
 * Attach to the channel that WARMCORE_CHANNEL names, and remove the variable and the descriptor from what children
 * of this process inherit. -ENOENT: the variable is not set (not started by an agent). -EINVAL: it makes no sense.
 * -EPROTO: what the descriptor holds is not a channel of this layout version.
 */
int wc_client_open(struct wc_client **ret_client);

/* The same from the text itself ("futex:FD" or "socket:FD"), with no effect on the environment. */
int wc_client_open_spec(const char *spec, struct wc_client **ret_client);

/* Detach and free. Accepts NULL. Tells the agent nothing; on the socket transport it sees end-of-file. */
void wc_client_close(struct wc_client *client);

/* Calls by lines (../abi/line.h) from now on, if the agent has them. Before wc_client_ready, or between LOAD and it. No error: it goes without. */
void wc_client_allow_lines(struct wc_client *client);

/*
 * A spare waits for its function: the bytes of its environment in client->request_payload, and in *ret_user whom to become; 0: it is
 * not needed any more, exit with 0. Then ready or init_error once more.
 */
int wc_client_load(struct wc_client *client, uint32_t *ret_user);

/* Become that user, with all threads, for good, and die with the daemon from then on. 0 or a negative errno: exit. */
int wc_client_become(uint32_t user);

/* Say that the function is loaded, and with WC_CHANNEL_FLAG_FAREWELL that it cleans up. Once, before the first wc_client_next. */
int wc_client_ready(struct wc_client *client, uint32_t flags);

/* Say that it could not be loaded; payload is a JSON error object. Instead of ready; the process then exits. */
int wc_client_init_error(struct wc_client *client, const void *payload, uint32_t length);

/*
 * Wait for the next request. 1: client->request is an INVOKE. 0: SHUTDOWN or end-of-file, exit with 0. -EINTR: a
 * signal handler ran while waiting; call again. -EPROTO: the agent broke the contract.
 */
int wc_client_next(struct wc_client *client);

/*
 * Answer the request with kind WC_CHANNEL_REPLY or WC_CHANNEL_ERROR. payload may be client->answer_payload, which
 * saves the copy, or NULL when length is 0. -EMSGSIZE: length exceeds the capacity; nothing was sent. -EPIPE: the
 * agent is gone.
 */
int wc_client_answer(struct wc_client *client, uint32_t kind, uint32_t flags, const void *payload, uint32_t length);

/* What became of a call. */
struct wc_client_result {
	const uint8_t *payload; /* valid until the next call or the answer */
	uint32_t length;
	uint32_t flags;	 /* WC_CHANNEL_FLAG_BINARY, WC_CHANNEL_FLAG_FAILED */
	uint32_t number; /* START, ANY: of the call */
	uint32_t pad;
};

/* What to call, and how (enum wc_channel_how); WAIT and ANY have no function and no payload. */
struct wc_client_callee {
	uint32_t how;
	uint32_t number;      /* WAIT */
	const char *function; /* "NAME" or "NAME:QUALIFIER" */
};

/* Where the payload of a call may be written, so that wc_client_call() copies nothing; *ret_room bytes, 0: no call is possible. */
uint8_t *wc_client_call_payload(struct wc_client *client, uint32_t *ret_room);

/*
 * Have another function run, and get its result. Only between wc_client_next and wc_client_answer, by one thread at a time.
 * 0: the agent has answered, which may be an error object. -EMSGSIZE: too many bytes; -ENAMETOOLONG; -ENOSYS: this agent cannot;
 * nothing was sent then. -EPIPE: the agent is gone. -EPROTO: it broke the contract.
 */
int wc_client_call(struct wc_client *client, const struct wc_client_callee *callee, const void *payload,
		   uint32_t length, struct wc_client_result *ret_result);

/*
 * The same for a client whose one thread waits while others work: begin only says it, and what comes is the RESULT, for next_of_both, which is
 * wc_client_next() that returns 2 for it. A RESULT leaves the request's payload and what there is of an answer alone; of client->request
 * only request_id is the request's after it. One call at a time, and no answer before its RESULT.
 */
int wc_client_call_begin(struct wc_client *client, const struct wc_client_callee *callee, const void *payload,
			 uint32_t length);
int wc_client_next_of_both(struct wc_client *client, struct wc_client_result *ret_result);

/*
 * From now on SIGTERM ends this process with status 0, at once, whatever it is doing; what it forks dies of the signal, as programs
 * do. To be called again in a fork that becomes an instance.
 */
int wc_client_exit_on_sigterm(void);

#ifdef __cplusplus
}
#endif

#endif
