/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* process.h - run another program to its end, with what it prints in memory. */
#ifndef WC_STUDY_PROCESS_H
#define WC_STUDY_PROCESS_H

#include "user/error.h"

#include <stdbool.h>
#include <stddef.h>

#define PROCESS_OUTPUT_MAX (64u << 20)
#define PROCESS_ARGUMENTS_MAX 256u

struct process {
	const char *argv[PROCESS_ARGUMENTS_MAX + 1]; /* argv[0] is its path */
	unsigned argc;
	const char *netns;  /* name of the network namespace that it runs in; NULL: ours */
	const char *folder; /* that it runs in; NULL: ours */
	unsigned timeout_s; /* it is killed when it takes longer */
	bool (*stop)(void); /* asked often: true ends it (SIGTERM), and the result is -EINTR; NULL: never */
	/* filled in by process_run(); process_free() it */
	char *output; /* of standard output, with a zero behind it */
	size_t length;
	char complaint[400]; /* last line of standard error */
	int status;	     /* exit status; -1: by a signal */
};

/* -E2BIG in add: too many. The strings stay the caller's. */
int process_add(struct process *process, const char *argument);

/*
 * 0 when it ran to its end, whatever its exit status; negative with a sentence otherwise. It dies with us (not what it put into the
 * background), and has a process group of its own: Ctrl-C is for us.
 */
int process_run(struct process *process, struct wc_fault *fault);
void process_free(struct process *process);

#endif
