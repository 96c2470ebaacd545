/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* invoke.h - what the parts of `warmcore invoke` share: the target, the options, one answer, many answers. */
#ifndef WC_TOOLS_INVOKE_H
#define WC_TOOLS_INVOKE_H

#include "tools/cli.h"
#include "user/client.h"

struct invoke_options {
	const char *file;
	const char *output;
	long long repeat;
	long long timeout_ms;
	long long deadline_us;
	long long cpu;
	bool raw;
	bool show;
};

/* One function on one node, ready to be invoked. */
struct invoke_target {
	const char *name;
	bool json_event;
	struct wc_client *client;
	struct wc_client_request request;
	struct {
		__u32 id;
		double weight;
	} targets[2]; /* of an alias; each invocation goes to one of them */
	unsigned targets_count;
	unsigned short dice[3]; /* of erand48() */
};

/* Which of its targets the next invocation goes to, into the request. */
void invoke_choose(struct invoke_target *target);

/* Invokes once and writes the answer; returns an exit status. */
int invoke_once(const struct cli *cli, const struct invoke_options *options, struct invoke_target *target);

/* Invokes options->repeat times, one after the other, and writes a latency table; returns an exit status. */
int invoke_repeatedly(const struct cli *cli, const struct invoke_options *options, struct invoke_target *target);

/* Exit status that an answer means. */
int invoke_exit(const struct wc_client_result *result);

/* Writes bytes to a file, all or an error sentence; returns an exit status. */
int invoke_write_file(const struct cli *cli, const char *path, const void *data, size_t length);

#endif
