/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * host.c - warmcore-custom: the process that runs an unmodified AWS Lambda custom runtime, the executable `bootstrap` at the root
 * of the function's folder.
 *
 * It starts the bootstrap as its child, with the environment that AWS gives it, and serves it the Lambda Runtime API (api.h) between
 * the channel and HTTP. The two live and die together: the bootstrap gets SIGKILL with its parent (PR_SET_PDEATHSIG), and this
 * process ends the way the bootstrap ended, so that the agent reports an exit or a crash as that of the function.
 *
 * Exit status: that of the bootstrap, or its signal; 0 after SHUTDOWN, SIGTERM or end-of-file, which the bootstrap hears of as
 * SIGTERM; 1 when it could not be initialised; 2 when there is no usable channel or the agent broke the contract.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../native/channel_client.h"
#include "../native/error_json.h"
#include "api.h"

#define INIT_ERROR_LINGER_MS 200 /* what a bootstrap may take to log and exit after it has said that it cannot start */

#define LAMBDA_ENDPOINT "AWS_ENDPOINT_URL_LAMBDA" /* of SDKs; "warmcore": this node's functions */

static struct {
	struct event_base *base;
	struct wc_client *client;
	struct wc_api *api;
	struct event *deadline; /* of a bootstrap that was told to end, or said that it will */
	pid_t bootstrap;
	bool ending;
} host;

static const char *env_or(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	return value && *value ? value : fallback;
}

/* --- the end --- */

__attribute__((noreturn)) static void fail_init(const char *payload, uint32_t length)
{
	fprintf(stderr, "%.*s\n", (int)length, payload);
	wc_client_init_error(host.client, payload, length);
	exit(1);
}

__attribute__((noreturn, format(printf, 2, 3))) static void fail_init_with(const char *type, const char *format, ...)
{
	char text[1024], payload[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fail_init(payload, (uint32_t)wc_error_json(payload, sizeof(payload), type, text));
}

/* As the bootstrap did. */
__attribute__((noreturn)) static void end_like(int status)
{
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

static void bootstrap_ended(int status)
{
	const char *payload;
	uint32_t length;

	payload = wc_api_init_error(host.api, &length);
	if (payload)
		fail_init(payload, length);
	if (host.ending)
		exit(0);
	if (wc_api_ready(host.api))
		end_like(status);
	if (WIFSIGNALED(status))
		fail_init_with("Runtime.ExitError",
			       "the bootstrap was killed by signal %d before it asked for an invocation",
			       WTERMSIG(status));
	fail_init_with("Runtime.ExitError", "the bootstrap exited with status %d before it asked for an invocation",
		       WEXITSTATUS(status));
}

static void on_child(evutil_socket_t signo, short events, void *unused)
{
	int status;

	(void)signo;
	(void)events;
	(void)unused;
	if (waitpid(host.bootstrap, &status, WNOHANG) == host.bootstrap)
		bootstrap_ended(status);
}

static void set_deadline(int ms)
{
	const struct timeval time = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	event_add(host.deadline, &time);
}

/* The bootstrap had its time: it goes with this process. */
static void on_deadline(evutil_socket_t fd, short events, void *unused)
{
	const char *payload;
	uint32_t length;

	(void)fd;
	(void)events;
	(void)unused;
	payload = wc_api_init_error(host.api, &length);
	if (payload)
		fail_init(payload, length);
	exit(0);
}

static void end_bootstrap(void)
{
	if (host.ending)
		return;
	host.ending = true;
	kill(host.bootstrap, SIGTERM);
	set_deadline(WC_CHANNEL_FAREWELL_MS);
}

static void on_sigterm(evutil_socket_t signo, short events, void *unused)
{
	(void)signo;
	(void)events;
	(void)unused;
	end_bootstrap();
}

static void on_init_error(void)
{
	set_deadline(INIT_ERROR_LINGER_MS);
}

static void on_channel_ended(int error)
{
	if (error && error != -EPIPE) {
		fprintf(stderr, "warmcore-custom: the channel failed: %s\n", strerror(-error));
		exit(2);
	}
	end_bootstrap();
}

/* --- the bootstrap --- */

/* What a SDK needs to sign at all, unless it finds something of the function's own. */
static void fill_credentials(void)
{
	static const char *const names[] = { "AWS_ACCESS_KEY_ID",
					     "AWS_SECRET_ACCESS_KEY",
					     "AWS_PROFILE",
					     "AWS_SHARED_CREDENTIALS_FILE",
					     "AWS_CONFIG_FILE",
					     "AWS_WEB_IDENTITY_TOKEN_FILE",
					     "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
					     "AWS_CONTAINER_CREDENTIALS_FULL_URI" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (getenv(names[i]))
			return;
	setenv(names[0], "warmcore", 1);
	setenv(names[1], "warmcore", 1);
}

static void fill_environment(uint16_t port)
{
	const char *name = env_or("WARMCORE_FUNCTION", ""), *code = env_or("WARMCORE_CODE", "."), *region;
	char text[PATH_MAX * 2];

	/* What a function's own variables may decide. */
	setenv("AWS_REGION", "local", 0);
	setenv("TZ", ":UTC", 0);
	snprintf(text, sizeof(text), "%s:%s/lib", code, code);
	setenv("LD_LIBRARY_PATH", text, 0);
	region = env_or("AWS_REGION", "local");
	setenv("AWS_DEFAULT_REGION", region, 0);
	/* And what they may not. */
	snprintf(text, sizeof(text), "127.0.0.1:%u", port);
	setenv("AWS_LAMBDA_RUNTIME_API", text, 1);
	if (wc_api_token(host.api)) {
		snprintf(text, sizeof(text), "http://127.0.0.1:%u/%s", port, wc_api_token(host.api));
		setenv(LAMBDA_ENDPOINT, text, 1);
		fill_credentials();
	}
	setenv("_HANDLER", env_or("WARMCORE_HANDLER", "bootstrap"), 1);
	setenv("LAMBDA_TASK_ROOT", code, 1);
	setenv("LAMBDA_RUNTIME_DIR", code,
	       1); /* AWS has a folder of its own there, with the clients that it brings along */
	setenv("AWS_EXECUTION_ENV", "warmcore_custom", 1);
	setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand", 1);
	setenv("AWS_LAMBDA_FUNCTION_NAME", name, 1);
	setenv("AWS_LAMBDA_FUNCTION_VERSION", env_or("WARMCORE_VERSION", "$LATEST"), 1);
	setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", env_or("WARMCORE_MEMORY_MB", "128"), 1);
	snprintf(text, sizeof(text), "/warmcore/%s", name);
	setenv("AWS_LAMBDA_LOG_GROUP_NAME", text, 1);
	snprintf(text, sizeof(text), "core-%s/%d", env_or("WARMCORE_CORE", "-1"), getpid());
	setenv("AWS_LAMBDA_LOG_STREAM_NAME", text, 1);
}

/* In the child: only what is safe between fork and exec. Writes errno into the pipe when it fails. */
__attribute__((noreturn)) static void exec_bootstrap(const char *path, pid_t parent, int report)
{
	char *const argv[] = { (char *)(uintptr_t)path, NULL };
	sigset_t none;
	int error;

	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!prctl(PR_SET_PDEATHSIG, SIGKILL) && getppid() == parent)
		execv(path, argv);
	error = errno;
	if (write(report, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

static void start_bootstrap(void)
{
	pid_t self = getpid();
	char path[PATH_MAX];
	int report[2], error;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/bootstrap", env_or("WARMCORE_CODE", "."));
	if (pipe2(report, O_CLOEXEC))
		fail_init_with("Runtime.StartError", "cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	host.bootstrap = fork();
	if (host.bootstrap < 0)
		fail_init_with("Runtime.StartError", "cannot fork the bootstrap: %s", strerror(errno));
	if (!host.bootstrap)
		exec_bootstrap(path, self, report[1]);
	close(report[1]);
	do
		n = read(report[0], &error, sizeof(error)); /* end-of-file: it was executed */
	while (n < 0 && errno == EINTR);
	close(report[0]);
	if (n != sizeof(error))
		return;
	fail_init_with("Runtime.InvalidEntrypoint", "cannot execute %s: %s%s", path, strerror(error),
		       error == EACCES	? " (chmod +x it before it is deployed)" :
		       error == ENOEXEC ? " (a script needs a first line such as #!/bin/sh)" :
					  "");
}

/* --- */

static struct event *on_signal(int signo, event_callback_fn callback)
{
	struct event *event = evsignal_new(host.base, signo, callback, NULL);

	if (!event || event_add(event, NULL))
		fail_init_with("Runtime.StartError", "cannot listen for signals");
	return event;
}

int main(void)
{
	struct wc_api_settings settings = {
		.init_error = on_init_error,
		.channel_ended = on_channel_ended,
	};
	uint16_t port = 0;
	int error;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN); /* a client that hangs up */
	error = wc_client_open(&host.client);
	if (error) {
		fprintf(stderr, "warmcore-custom: no channel (%s): only a warmcore agent can start this program\n",
			strerror(-error));
		return 2;
	}
	host.base = event_base_new();
	host.deadline = host.base ? evtimer_new(host.base, on_deadline, NULL) : NULL;
	if (!host.deadline)
		fail_init_with("Runtime.StartError", "cannot make an event loop");
	snprintf(settings.arn, sizeof(settings.arn), "arn:aws:lambda:local:000000000000:function:%s",
		 env_or("WARMCORE_FUNCTION", ""));
	settings.binary = !strcmp(env_or("WARMCORE_EVENT", "json"), "binary");
	settings.calls = !strcmp(env_or(LAMBDA_ENDPOINT, ""), "warmcore");
	error = wc_api_open(&host.api, host.base, host.client, &settings, &port);
	if (error)
		fail_init_with("Runtime.StartError", "cannot serve the Runtime API on 127.0.0.1: %s%s",
			       strerror(-error), error == -EADDRNOTAVAIL ? " (the loopback device is down)" : "");
	on_signal(SIGCHLD, on_child);
	on_signal(SIGTERM, on_sigterm);
	fill_environment(port);
	start_bootstrap();
	event_base_dispatch(host.base);
	return 2; /* it ends with the bootstrap, above */
}
