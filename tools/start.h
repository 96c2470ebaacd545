/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* start.h - starts the daemon in the background and waits until it serves. */
#ifndef WC_TOOLS_START_H
#define WC_TOOLS_START_H

#include "tools/cli.h"

struct daemon_start {
	const char *const *argv; /* the daemon's command line, NULL-terminated; argv[0] is the path of its program */
	const char *log;	 /* path of its log, for messages */
	int log_fd;		 /* the same, open for appending: becomes its standard output and error */
	unsigned timeout_s;	 /* it is stopped when it does not serve after this long */
};

/*
 * CLI_OK once the daemon serves. Otherwise says why, stops what was started (also on Ctrl-C), has its remains removed
 * and returns CLI_FAILED.
 */
int start_daemon(const struct cli *cli, const struct daemon_start *how);

#endif
