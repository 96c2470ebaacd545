// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * start.c - starts the daemon in the background and waits until it serves; see start.h for the contract.
 *
 * Readiness: the daemon finds the number of a pipe's write end in WARMCORE_READY_FD and writes one line, "READY=1" or
 * "ERROR=text". The end of the pipe without either means that it died; then its log says why.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/start.h"
#include "user/clock.h"

#define LOG_TAIL_BYTES 2048
#define STOP_WAIT_MS 5000

static long long now_ms(void)
{
	return (long long)(wc_now() / WC_MS);
}

/* The child: its own session, no terminal, its output in the log. */
static void __attribute__((noreturn)) become_daemon(const struct daemon_start *how, int ready_fd, int log_fd)
{
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char number[16];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	snprintf(number, sizeof(number), "%d", ready_fd);
	setenv("WARMCORE_READY_FD", number, 1);
	if (chdir("/") || null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
	    dup2(log_fd, STDERR_FILENO) < 0 || fcntl(ready_fd, F_SETFD, 0)) {
		dprintf(ready_fd, "ERROR=cannot start in the background: %s\n", strerror(errno));
		_exit(126);
	}
	execv(how->argv[0], (char *const *)(uintptr_t)how->argv);
	dprintf(ready_fd, "ERROR=%s: %s\n", how->argv[0], strerror(errno));
	_exit(127);
}

/*
 * Reads the daemon's line. 0 and the text in `line`, also when it is empty because the daemon died; -ETIMEDOUT; or
 * -EINTR when the user pressed Ctrl-C.
 */
static int await_line(int ready_fd, int signal_fd, unsigned timeout_s, char *line, size_t size)
{
	long long deadline = now_ms() + timeout_s * 1000ll;
	size_t length = 0;

	for (;;) {
		struct pollfd pfds[2] = { { .fd = ready_fd, .events = POLLIN }, { .fd = signal_fd, .events = POLLIN } };
		long long left = deadline - now_ms();
		int ret = poll(pfds, 2, left > 0 ? (int)left : 0);
		ssize_t n;

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0)
			return -errno;
		if (!ret)
			return -ETIMEDOUT;
		if (pfds[1].revents)
			return -EINTR;
		n = read(ready_fd, line + length, size - 1 - length);
		if (n < 0)
			return -errno;
		length += (size_t)n;
		line[length] = 0;
		if (!n || strchr(line, '\n') || length == size - 1) {
			line[strcspn(line, "\n")] = 0;
			return 0;
		}
	}
}

/* Ends a daemon that did not come up: politely, then not. What it leaves is removed by its own --clean. */
static void stop_daemon(const struct cli *cli, pid_t pid)
{
	long long deadline = now_ms() + STOP_WAIT_MS;

	kill(pid, SIGTERM);
	while (!waitpid(pid, NULL, WNOHANG)) {
		if (now_ms() > deadline) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			break;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	if (cli_remains(cli))
		(void)cli_run_clean(cli);
}

static void print_log_tail(const char *path, off_t from)
{
	char text[LOG_TAIL_BYTES + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t end;
	ssize_t n;

	if (fd < 0)
		return;
	end = lseek(fd, 0, SEEK_END);
	if (end > from + LOG_TAIL_BYTES)
		from = end - LOG_TAIL_BYTES;
	n = pread(fd, text, LOG_TAIL_BYTES, from);
	close(fd);
	if (n > 0)
		fprintf(stderr, "%.*s%s", (int)n, text, text[n - 1] == '\n' ? "" : "\n");
}

static int daemon_died(const struct cli *cli, pid_t pid, const char *log, off_t log_start)
{
	int status = 0;

	waitpid(pid, &status, 0);
	print_log_tail(log, log_start);
	if (WIFSIGNALED(status))
		return cli_fail(cli, "the daemon was killed by signal %d (%s) before it served; its log is %s",
				WTERMSIG(status), strsignal(WTERMSIG(status)), log);
	return cli_fail(cli, "the daemon exited with status %d before it served; its log is %s", WEXITSTATUS(status),
			log);
}

int start_daemon(const struct cli *cli, const struct daemon_start *how)
{
	off_t log_start = lseek(how->log_fd, 0, SEEK_END);
	int ready[2], signal_fd, ret;
	char answer[1024] = "";
	sigset_t signals;
	pid_t pid;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (signal_fd < 0 || pipe2(ready, O_CLOEXEC))
		return cli_fail(cli, "cannot wait for the daemon: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return cli_fail(cli, "cannot start a process: %s", strerror(errno));
	if (!pid)
		become_daemon(how, ready[1], how->log_fd);
	close(ready[1]);

	ret = await_line(ready[0], signal_fd, how->timeout_s, answer, sizeof(answer));
	close(ready[0]);
	close(signal_fd);
	if (!ret && !strcmp(answer, "READY=1"))
		return CLI_OK;
	if (!ret && !strncmp(answer, "ERROR=", 6)) {
		stop_daemon(cli, pid);
		return cli_fail(cli, "%s", answer + 6);
	}
	if (!ret && !*answer)
		return daemon_died(cli, pid, how->log, log_start);
	stop_daemon(cli, pid);
	if (ret == -ETIMEDOUT)
		return cli_fail(cli, "the daemon did not serve within %u s and was stopped; its log is %s",
				how->timeout_s, how->log);
	if (ret == -EINTR)
		return cli_fail(cli, "interrupted; the daemon was stopped");
	return cli_fail(cli, "the daemon said '%s' instead of READY=1 and was stopped", answer);
}
