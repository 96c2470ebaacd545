/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* load_command.h - what the parts of `warmcore load` share: its targets, its output. The load itself is in tools/load. */
#ifndef WC_TOOLS_LOAD_COMMAND_H
#define WC_TOOLS_LOAD_COMMAND_H

#include <net/if.h>
#include <netinet/in.h>

#include "tools/cli.h"
#include "tools/load/engine.h"

/* Functions of one node. */
struct load_targets {
	char address[INET6_ADDRSTRLEN + IF_NAMESIZE + 2];
	uint16_t port;
	uint32_t count;
	uint32_t *ids;
	const char **names;
	unsigned deployed; /* of these, ours: to be removed afterwards */
	char (*own)[32];   /* their names */
};

/* The functions of these names, asked for at the node. CLI_OK, or an exit status after it has said what is wrong. */
int load_targets_resolve(const struct cli *cli, int argc, char **argv, struct load_targets *targets);

/* Without asking a node: ids of functions behind "ADDRESS:PORT". */
int load_targets_given(const struct cli *cli, const char *to, int argc, char **argv, struct load_targets *targets);

/* Deploys the function that takes as long as it is told, so many times, as load-spin-0 and so on. */
int load_targets_deploy(const struct cli *cli, long long count, struct load_targets *targets);

/* Removes what was deployed, and frees the memory. */
int load_targets_end(const struct cli *cli, struct load_targets *targets);

struct load_output {
	const char *file; /* the result with its histograms, or NULL */
	bool csv, each_function, strict;
};

/* Writes a result as it was asked for, and the warning that it may need. An exit status. */
int load_show(const struct cli *cli, const struct load_result *result, const struct load_output *output);

/* `warmcore load merge`: adds up result files. */
int load_merge(const struct cli *cli, int argc, char **argv, const struct load_output *output);

#endif
