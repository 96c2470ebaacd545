/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* compile.c - see compile.h. */
#include "user/compile.h"

#include "user/clock.h"
#include "user/launch.h"
#include "user/log.h"
#include "user/order.h"
#include "user/pycache.h"
#include "user/sandboxes.h"
#include "user/watch.h"
#include "user/zygotes.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIME_MAX_NS (20 * WC_SECOND)
#define SANDBOX_TRIES 20
#define SANDBOX_WAIT_MS 100
#define MEMORY_MB 384 /* of the sandbox: two processes, of which one may have 256 (warmcore_compile.py) */

struct compiler {
	struct wc_sandbox *sandbox; /* NULL: none */
	struct wc_watch *watch;
	int socket; /* our end */
	int theirs; /* -1: it has it */
	int output; /* /dev/null: what it says is nothing that the log should trust */
	int code;   /* mount for the sandbox; -1: none */
};

static int fork_compiler(const struct wc_launcher *launcher, struct compiler *compiler, struct wc_start_order *order,
			 const char *function, struct wc_fault *fault)
{
	int fds[WC_ZYGOTE_FDS] = { [WC_ZYGOTE_FD_CHANNEL] = compiler->theirs, [WC_ZYGOTE_FD_OUTPUT] = compiler->output };
	char name[WC_NAME_MAX + 16];

	fds[WC_ZYGOTE_FD_CODE] = compiler->code;
	fds[WC_ZYGOTE_FD_NET] = fds[WC_ZYGOTE_FD_SECRETS] = fds[WC_ZYGOTE_FD_MAIL] = -1;
	wc_order_confine(order, fds, launcher, compiler->sandbox);
	snprintf(name, sizeof(name), "compiler of %s", function);
	return wc_launch_helper(launcher, order, fds, compiler->sandbox, -1, name, &compiler->watch, fault);
}

/* One that is there within a second or two: what is not compiled ahead is only slower. */
static int take_sandbox(const struct wc_launcher *launcher, struct compiler *compiler, int stop, struct wc_fault *fault)
{
	struct pollfd stopping = { .fd = stop, .events = POLLIN };

	for (int i = 0; i < SANDBOX_TRIES; i++) {
		compiler->sandbox = wc_sandboxes_take(launcher->sandboxes, MEMORY_MB, false, fault);
		if (compiler->sandbox) {
			wc_ends_close(&compiler->sandbox->ends); /* it has a socket of its own */
			return 0;
		}
		if (poll(&stopping, 1, SANDBOX_WAIT_MS) > 0)
			return wc_fail(fault, ECANCELED, "the node is going down");
	}
	return -EAGAIN;
}

static int start(const struct wc_launcher *launcher, const struct wc_fn *fn, struct compiler *compiler, int stop,
		 struct wc_fault *fault)
{
	struct wc_start_order *order = malloc(sizeof(*order));
	int ends[2], error = 0;

	if (!order)
		return wc_fail(fault, ENOMEM, "out of memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		error = wc_fail(fault, errno, "cannot make a socket: %s", strerror(errno));
		goto out;
	}
	compiler->socket = ends[0];
	compiler->theirs = ends[1];
	compiler->output = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (compiler->output < 0) {
		error = wc_fail(fault, errno, "cannot open /dev/null: %s", strerror(errno));
		goto out;
	}
	if (launcher->sandboxes) {
		error = take_sandbox(launcher, compiler, stop, fault);
		compiler->code = error ? error : wc_sandbox_mount(fn->code, fault);
		error = compiler->code < 0 ? compiler->code : 0;
	}
	if (!error)
		error = wc_order_compiler(order, launcher, fn, compiler->sandbox != NULL, fault);
	if (!error)
		error = fork_compiler(launcher, compiler, order, fn->manifest.name, fault);
out:
	free(order);
	return error;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void end(struct compiler *compiler)
{
	if (compiler->watch) {
		wc_watch_kill(compiler->watch);
		wc_watch_put(compiler->watch);
	}
	wc_sandbox_end(compiler->sandbox); /* with all that it started */
	close_fd(&compiler->socket);
}

/* How it ended, for the log. */
static const char *describe(int error)
{
	switch (error) {
	case -ETIMEDOUT:
		return "it took too long";
	case -ECANCELED:
		return "the node is going down";
	case -EPIPE:
		return "the compiler ended early";
	case -EPROTO:
		return "the compiler said something else";
	default:
		return strerror(-error);
	}
}

static void compile(const struct wc_launcher *launcher, const struct wc_fn *fn, struct wc_pycache *cache, int stop)
{
	struct compiler compiler = { .socket = -1, .theirs = -1, .output = -1, .code = -1 };
	struct wc_pycache_told told;
	struct wc_fault fault;
	int error = start(launcher, fn, &compiler, stop, &fault), placed;

	/* It has its own by now; without ours the end of it is the end of the stream. */
	close_fd(&compiler.theirs);
	close_fd(&compiler.output);
	close_fd(&compiler.code);
	if (error) {
		end(&compiler);
		wc_warning("function %s: its modules are not compiled ahead: %s", fn->manifest.name, fault.text);
		return;
	}
	error = wc_pycache_receive(cache, compiler.socket, wc_now() + TIME_MAX_NS, stop, &told);
	end(&compiler);
	placed = error == -ECANCELED ? 0 : wc_pycache_place(cache, &fault);
	if (placed < 0)
		wc_warning("function %s: its modules are not compiled ahead: %s", fn->manifest.name, fault.text);
	else if (error)
		wc_warning("function %s: only %d modules are compiled ahead: %s", fn->manifest.name, placed,
			   describe(error));
	else
		wc_info("function %s: %d of %u modules compiled ahead, %u were already, %u cannot be",
			fn->manifest.name, placed, told.sources, told.kept, told.failed);
}

void wc_compile(const struct wc_launcher *launcher, const struct wc_fn *fn, int stop)
{
	char scratch[sizeof(fn->stored->path) + 8];
	struct wc_pycache *cache;
	struct wc_fault fault;

	if (fn->manifest.runtime != WC_RUNTIME_PYTHON || !launcher->zygotes ||
	    atomic_exchange(&fn->stored->compiling, true))
		return;
	snprintf(scratch, sizeof(scratch), "%s" WC_STORED_SCRATCH, fn->stored->path);
	if (wc_pycache_open(&cache, fn->stored->path, scratch, WC_SOURCE_BYTES_MAX, WC_SOURCE_FILES_MAX, &fault)) {
		wc_warning("function %s: its modules are not compiled ahead: %s", fn->manifest.name, fault.text);
	} else {
		compile(launcher, fn, cache, stop);
		wc_pycache_free(cache);
	}
	atomic_store(&fn->stored->compiling, false);
}
