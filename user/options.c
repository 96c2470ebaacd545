/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* options.c - the daemon's options: read from its command line and its file, with defaults, and checked. options_table.c has them all. */
#include "user/options_internal.h"

#include "bpf/proto.h"
#include "user/functions.h"
#include "user/latency.h"
#include "user/remote_wire.h"
#include "user/sched.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_NAME "default"

static int default_cpus(struct wc_options *options, struct wc_fault *fault)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return wc_fail(fault, errno, "cannot read the CPUs this process may use: %s", strerror(errno));
	options->core_count = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE && options->core_count < WC_CORES_MAX; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			options->cpus[options->core_count++] = (uint16_t)cpu;
	return 0;
}

/* In MB, and not 0, which is no limit. */
static uint32_t half_of_memory(void)
{
	uint64_t mb = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE) >> 21;

	return mb < 1 ? 1 : mb > WC_INSTANCES_MEMORY_MB_MAX ? WC_INSTANCES_MEMORY_MB_MAX : (uint32_t)mb;
}

static void print_help(void)
{
	printf("Usage: warmcored [OPTION ...]\n\n"
	       "The warmcore node daemon, in the foreground. `warmcore up` starts it in the background.\n\nOptions:\n");
	wc_knobs_help(&wc_options_knobs);
	printf("Signals: SIGTERM and SIGINT shut the node down and remove every trace of it.\n"
	       "Exit status: 0 after a clean shutdown, 1 when the node could not start or failed, 2 for bad usage.\n");
}

/* The node's name ends up in paths, link names and namespace names. */
static int check_name(const char *name, struct wc_fault *fault)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return wc_fail(fault, EINVAL, "--name %s: only letters, digits, - and _ are allowed", name);
	return 0;
}

const char *wc_options_name(int argc, char **argv)
{
	const char *name = DEFAULT_NAME;
	struct wc_fault fault;

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--name=", 7))
			name = argv[i] + 7;
		else if (!strcmp(argv[i], "--name") && i + 1 < argc)
			name = argv[++i];
	}
	return check_name(name, &fault) || strlen(name) >= WC_NODE_NAME_MAX ? DEFAULT_NAME : name;
}

static void set_defaults(struct wc_options *options)
{
	memset(options, 0, sizeof(*options));
	snprintf(options->name, sizeof(options->name), DEFAULT_NAME);
	snprintf(options->listen, sizeof(options->listen), "127.0.0.1");
	snprintf(options->remote_key, sizeof(options->remote_key), WC_REMOTE_KEY_PATH);
	options->port = WC_PORT_DEFAULT;
	options->pending_max = 4096;
	options->poll_us = WC_POLL_AUTO;
	options->core_queue = 128;
	options->pack_slots = 4;
	options->fair_at = UINT32_MAX;
	options->idle_ms = 1000;
	options->sched = WC_SCHED_AUTO;
	options->quantum_us = WC_QUANTUM_AUTO;
	options->keep_alive_ms = 600000;
	options->keep_alive_bin_ms = 60000;
	options->keep_alive_save_s = 120;
	options->instances_memory_mb = half_of_memory();
	options->prewarm = true;
	options->move_instances = options->direct_calls = true;
	options->tmp_mb = 64;
	options->keep_versions = WC_VERSIONS_DEFAULT;
	options->log_file_kib = 4096;
	options->log_files = 4;
	options->log_total_mib = 1024;
	options->log_rate_kib = 1024;
	options->metrics_functions = WC_LATENCY_FUNCTIONS_DEFAULT;
	options->lease_ms = 1000;
	options->slow_times = 4;
	options->slow_interval_ms = 2000;
	options->slow_intervals = 3;
	options->slow_eject_ms = 30000;
	options->slow_percent = 25;
}

/* What is wrong only together. And what follows from other knobs. */
static int check(struct wc_options *options, struct wc_fault *fault)
{
	int error;

	error = check_name(options->name, fault);
	if (error)
		return error;
	if (!options->core_count) {
		error = default_cpus(options, fault);
		if (error)
			return error;
	}
	if (options->fair_at == UINT32_MAX)
		options->fair_at = 4 * options->core_count;
	if (options->cores_min > options->core_count)
		return wc_fail(fault, EINVAL, "--cores-min %u: there are only %u worker cores", options->cores_min,
			       options->core_count);
	if (options->remote[0]) {
		char host[64], port[8];

		if (wc_remote_split(options->remote, host, sizeof(host), port, fault)) {
			struct wc_fault why = *fault;

			return wc_fail(fault, EINVAL, "--remote: %.200s", why.text);
		}
	}
	error = wc_options_check_cluster(options, fault);
	if (error)
		return error;
	if (!options->state_dir[0])
		snprintf(options->state_dir, sizeof(options->state_dir), "/var/lib/warmcore/%s", options->name);
	if (options->state_dir[0] != '/')
		return wc_fail(fault, EINVAL, "--state-dir %s: expected an absolute path", options->state_dir);
	if ((uint64_t)options->log_file_kib * 2 > (uint64_t)options->log_total_mib << 10)
		return wc_fail(fault, EINVAL, "--log-total-mib %u: has no room for two files of --log-file-kib %u",
			       options->log_total_mib, options->log_file_kib);
	if (options->datapath == WC_DATAPATH_USER && options->dev[0])
		return wc_fail(fault, EINVAL, "--dev needs --datapath kernel; the user datapath takes --listen");
	return 0;
}

int wc_options_read(struct wc_options *options, struct wc_knobs_given *given, int argc, char **argv,
		    struct wc_fault *fault)
{
	struct wc_fault why;
	int error;

	error = wc_knobs_line(&wc_options_knobs, argc, argv, print_help, given, fault);
	if (error)
		return error;
	error = wc_knobs_file(&wc_options_knobs, wc_options_name(argc, argv), given, fault);
	if (error)
		return error;
	set_defaults(options);
	error = wc_knobs_apply(&wc_options_knobs, given, options, fault);
	if (error)
		return error;
	error = check(options, &why);
	if (!error)
		return 0;
	/* Either may have said it. */
	return given->path[0] ? wc_fail(fault, -error, "%.300s (with what %.180s says)", why.text, given->path) :
				wc_fail(fault, -error, "%s", why.text);
}

int wc_options_parse(struct wc_options *options, int argc, char **argv, struct wc_fault *fault)
{
	struct wc_knobs_given *given = malloc(sizeof(*given));
	int error;

	if (!given)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = wc_options_read(options, given, argc, argv, fault);
	wc_knobs_release(given);
	free(given);
	return error;
}
