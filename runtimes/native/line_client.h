/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* line_client.h - what channel.c and line.c share: the instance's ends of lines (../abi/line.h). `client->lines` is there. */
#ifndef WC_LINE_CLIENT_H
#define WC_LINE_CLIENT_H

#include "../abi/line.h"
#include "channel_client.h"

#include <stdbool.h>
#include <time.h>

/* CLOCK_MONOTONIC, ns. */
static inline uint64_t wc_client_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct wc_client_lines {
	/* As a caller: */
	struct wc_line *out;		 /* NULL: none */
	char name[WC_CHANNEL_CALL_NAME]; /* may be called by it, */
	uint64_t until;			 /* until then; 0: no name may */
	uint32_t left;			 /* so many times more */
	uint32_t called;		 /* sequence of the last call on it */
	uint64_t request_id;		 /* of the next one */
	uint64_t deadline_ns;		 /* of the invocation under way, */
	uint64_t limit_ns;		 /* and how long the next one may take */
	uint64_t now_ns;		 /* when it was last looked at */
	/* As one that is called: */
	struct wc_line *in; /* NULL: none */
	uint32_t number;    /* its */
	uint32_t taken;	    /* sequence of the last call that was looked at */
	bool running;	    /* one from the line */
	uint64_t began_ns;
	uint32_t core; /* as the agent has said it last */
};

/* The caller's side. May this be called by the line now? */
bool wc_line_usable(struct wc_client *client, const char *function, uint32_t length);
/* Then do. 0: the result is in *ret_result. 1: the agent has to go on with it (HOW_LINE). */
int wc_line_call(struct wc_client *client, const void *payload, uint32_t length, struct wc_client_result *ret_result);
/* Wait (further) for what is on the line. As wc_line_call(). */
int wc_line_await(struct wc_client *client, struct wc_client_result *ret_result);
/* Calls since it was offered. */
uint32_t wc_line_calls(const struct wc_client *client);
/* A RESULT of RUN of this name has come: may it be called by the line from now on? */
void wc_line_offered(struct wc_client *client, const char *function);

/* The called side: wait for a message of the agent's (1), or a call on the line (2), which then is in client->request. -EINTR. */
int wc_line_wait(struct wc_client *client);
/* The agent says that there is a line in the mail. */
void wc_line_take_in(struct wc_client *client);
/* The answer to a call on the line. 0: it is there. 1: it is to go by the agent, as any other. */
int wc_line_answer(struct wc_client *client, uint32_t kind, uint32_t flags, const void *payload, uint32_t length);
/* What runs on the line wants to call something itself, or has a large result: from now on it runs for the agent. */
void wc_line_hand_over(struct wc_client *client);

void wc_lines_close(struct wc_client_lines *lines);

#endif
