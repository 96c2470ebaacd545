/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* main.c - warmcored: parse the options, start the node, tell whoever waits, serve, stop. */
#include "user/log.h"
#include "user/node.h"
#include "user/notify.h"
#include "user/reload.h"
#include "user/takeover.h"
#include "user/upgrade.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* `warmcore up` waits for a line on this pipe: READY=1 or ERROR=text. */
static void tell_starter(const char *line)
{
	const char *fd = getenv("WARMCORE_READY_FD");
	char text[700];
	int len;

	if (!fd || fd[0] < '0' || fd[0] > '9')
		return;
	len = snprintf(text, sizeof(text), "%s\n", line);
	if (write((int)strtol(fd, NULL, 10), text, (size_t)len) < 0)
		wc_debug("whoever started the daemon is gone");
	close((int)strtol(fd, NULL, 10));
	unsetenv("WARMCORE_READY_FD");
}

/* Locked memory for UMEM and maps (kernels before 5.11 count it), files for the sockets of many cores. */
static void raise_limits(void)
{
	const struct rlimit memory = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit files;

	if (setrlimit(RLIMIT_MEMLOCK, &memory))
		wc_debug("cannot raise the limit of locked memory: %s", strerror(errno));
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files))
			wc_debug("cannot raise the limit of open files: %s", strerror(errno));
	}
}

static int clean(const struct wc_options *options)
{
	int pid = wc_node_running(options->name);

	if (pid) {
		fprintf(stderr, "warmcored: node %s is running (process %d); stop it with `warmcore --node %s down`\n",
			options->name, pid, options->name);
		return 1;
	}
	printf("removed %d\n", wc_node_clean(options->name));
	return 0;
}

int main(int argc, char **argv)
{
	static struct wc_options options; /* large: not on the stack */
	static struct wc_knobs_given given;
	static struct wc_takeover takeover;
	static struct wc_node node;
	struct wc_fault fault;
	char line[600];
	int error, taking;

	/* That of a killed daemon would hide the CPUs that the options name. One in use is not dissolved. */
	wc_isolate_remove(wc_options_name(argc, argv));
	error = wc_options_read(&options, &given, argc, argv, &fault);
	if (error > 0)
		return 0;
	if (error < 0) {
		fprintf(stderr, "warmcored: %s\n", fault.text);
		snprintf(line, sizeof(line), "ERROR=%s", fault.text);
		tell_starter(line);
		wc_takeover_refuse(line);
		return 2;
	}
	if (options.print)
		return wc_knobs_print(&wc_options_knobs, &given, &options, (enum wc_knobs_print)options.print) ? 1 : 0;
	wc_reload_remember(argc, argv, &given);
	wc_upgrade_remember(argc, argv);
	if (getenv("WARMCORE_DEBUG"))
		wc_log_set_level(WC_LOG_DEBUG);
	if (options.clean)
		return clean(&options);
	wc_log_begin(options.log_json, NULL);
	if (options.log[0]) {
		error = wc_log_open(options.log, (uint64_t)options.log_file_kib << 10, options.log_files);
		if (error) {
			snprintf(line, sizeof(line), "ERROR=cannot open the log %s: %s", options.log, strerror(-error));
			fprintf(stderr, "warmcored: %s\n", line + 6);
			tell_starter(line);
			return 1;
		}
	}
	raise_limits();
	umask(022); /* whatever the administrator's is: functions, which are other users, read their code and runtimes */
	taking = wc_takeover_open(&takeover, &options, &fault);
	error = taking < 0 ? taking : wc_node_start(&node, &options, taking ? &takeover : NULL, &fault);
	if (error) {
		wc_error("%s", fault.text);
		snprintf(line, sizeof(line), "ERROR=%s", fault.text);
		tell_starter(line);
		if (!taking || takeover.committed)
			return 1;
		wc_takeover_say(&takeover, line);
		_exit(1); /* at once: the daemon before needs what is there */
	}
	tell_starter("READY=1");
	if (taking)
		close(takeover.channel);
	wc_notify("READY=1");
	error = wc_node_run(&node, &fault);
	if (error > 0)
		return 0; /* another daemon serves */
	if (error)
		wc_error("%s", fault.text);
	wc_notify("STOPPING=1");
	wc_node_stop(&node);
	return error ? 1 : 0;
}
