// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_down.c - `warmcore down`: stops the daemon and makes sure that nothing of the node is left. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "tools/cli.h"

static struct down_options {
	long long timeout;
	bool force;
} options;

static const struct option_spec specs[] = {
	{ .name = "timeout",
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct down_options, timeout),
	  .metavar = "SECONDS",
	  .min = 1,
	  .max = 600,
	  .fallback = "30",
	  .help = "How long the daemon may take to finish what runs and to clean up." },
	{ .name = "force",
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct down_options, force),
	  .help = "Kill the daemon when it has not ended after that time, then remove what it left." },
	{ 0 },
};

static int finish(const struct cli *cli, const char *text, const char *done, int pid)
{
	if (cli->json) {
		json_t *object =
			json_pack("{s:b, s:s, s:s, s:i}", "ok", 1, "node", cli->node, "done", done, "pid", pid);

		cli_print_json(object);
		json_decref(object);
	} else {
		printf("node '%s' %s\n", cli->node, text);
	}
	return CLI_OK;
}

/* Removes the remains of a daemon that is gone. */
static int clean(const struct cli *cli)
{
	int ret = cli_run_clean(cli);

	if (ret == -ENOENT)
		return cli_fail(cli,
				"node '%s' left remains, and the program warmcored that could remove them is not found",
				cli->node);
	if (ret < 0)
		return cli_fail(cli, "cannot run warmcored --clean: %s", strerror(-ret));
	if (ret)
		return cli_fail(cli, "warmcored --clean could not remove everything (exit status %d)", ret);
	return CLI_OK;
}

/* 0 when the process is gone, -ETIMEDOUT, or what poll says. */
static int await_exit(int pidfd, long long seconds)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	int ret;

	do
		ret = poll(&pfd, 1, (int)(seconds * 1000));
	while (ret < 0 && errno == EINTR);
	return ret > 0 ? 0 : ret < 0 ? -errno : -ETIMEDOUT;
}

/* pid is a daemon that answers; pidfd holds on to exactly that process. */
static int stop(const struct cli *cli, int pid, int pidfd)
{
	json_t *answer;
	int ret;

	ret = cli_control(cli, json_pack("{s:s}", "op", "stop"), CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret && !options.force)
		return ret;
	if (!ret)
		json_decref(answer);
	ret = await_exit(pidfd, options.timeout);
	if (ret == -ETIMEDOUT && options.force) {
		if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
			return cli_fail(cli, "cannot kill the daemon (pid %d): %s", pid, strerror(errno));
		ret = await_exit(pidfd, 10);
	}
	if (ret == -ETIMEDOUT)
		return cli_fail(cli, "the daemon (pid %d) has not ended after %lld s; --force kills it", pid,
				options.timeout);
	if (ret)
		return cli_fail(cli, "cannot wait for the daemon: %s", strerror(-ret));
	return CLI_OK;
}

static int run_down(struct cli *cli, int argc, char **argv)
{
	int pid = cli_ping(cli), pidfd, ret;

	(void)argc;
	(void)argv;
	/* A daemon that dies at this moment accepts and says nothing. Soon it neither accepts. */
	for (int i = 0; i < 50 && (pid == -EBADMSG || pid == -ECONNRESET || pid == -EPIPE); i++) {
		usleep(100000);
		pid = cli_ping(cli);
	}
	if (!pid) {
		if (!cli_remains(cli))
			return finish(cli, "is not running; nothing to do", "nothing", 0);
		ret = clean(cli);
		return ret ?: finish(cli, "was not running; what it had left is removed", "cleaned", 0);
	}
	if (pid == -EACCES)
		return cli_fail(cli, "node '%s' belongs to root; use sudo", cli->node);
	if (pid < 0)
		return cli_fail(cli, "cannot ask node '%s' to stop: %s", cli->node, strerror(-pid));

	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0 && errno == ESRCH)
		return clean(cli) ?: finish(cli, "has just ended; what it had left is removed", "cleaned", pid);
	if (pidfd < 0)
		return cli_fail(cli, "cannot watch the daemon (pid %d): %s", pid, strerror(errno));
	ret = stop(cli, pid, pidfd);
	close(pidfd);
	if (!ret && cli_remains(cli))
		ret = clean(cli);
	return ret ?: finish(cli, "is down", "stopped", pid);
}

const struct command cmd_down = {
	.name = "down",
	.options = &options,
	.run = run_down,
	.help = {
		.summary = "stop a node and remove every trace of it",
		.synopsis = "[--timeout SECONDS] [--force]",
		.description = "Asks the daemon to stop, waits until it is gone, and checks that its network "
			       "namespace, interfaces, BPF "
			       "pins and processes are gone with it. Works also after the daemon was killed, and is "
			       "no error when the "
			       "node is not running.\n\n"
			       "Deployed functions stay in the state folder and are there again after the next "
			       "warmcore up.",
		.examples = "  warmcore down\n"
			    "  warmcore --node second down --timeout 5 --force",
		.options = specs,
	},
};
