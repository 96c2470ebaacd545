/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* launch.c - see launch.h. */
#include "user/launch.h"

#include "runtimes/abi/channel_futex.h"
#include "runtimes/abi/sandbox.h"
#include "user/ends.h"
#include "user/filter.h"
#include "user/landlock.h"
#include "user/log.h"
#include "user/order.h"
#include "user/pin.h"
#include "user/sandboxes.h"
#include "user/secrets.h"
#include "user/spawn.h"
#include "user/watch.h"
#include "user/zygotes.h"

#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_BUFFER (4 * (WC_CHANNEL_CAPACITY + 4096))
#define FORK_TRIES 3
#define SLACK_MB 64 /* RLIMIT_DATA counts what is reserved, too: stacks of threads, buffers of libraries */

/* --- what all instances share --- */

uint32_t wc_uid_base(const char *node)
{
	uint32_t hash = 2166136261u; /* FNV-1a, folded to 16 bits */

	for (; *node; node++)
		hash = (hash ^ (uint8_t)*node) * 16777619u;
	return WC_UID_BASE + (hash >> 16 ^ (hash & 0xffff)) % WC_UID_NODES * WC_FUNCTIONS_MAX;
}

/* The loopback device of the calling thread's namespace: custom runtimes talk over it. */
static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
		wc_warning("functions have no loopback device, which custom runtimes need: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void *make_namespace(void *result)
{
	if (unshare(CLONE_NEWNET) == 0) {
		*(int *)result = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		loopback_up();
	}
	return NULL;
}

int wc_launcher_open(struct wc_launcher *launcher, const char *node, const char *runtimes, const char *state_dir,
		     struct wc_fault *fault)
{
	pthread_t thread;
	int error;

	memset(launcher, 0, sizeof(*launcher));
	launcher->netns = launcher->host_net = launcher->rules = -1;
	launcher->state_dir = state_dir;
	launcher->landlock = wc_landlock_probe(&launcher->landlock_why);
	launcher->filter = wc_spawn_move_up(wc_filter_make(true, fault));
	if (launcher->filter < 0)
		return launcher->filter;
	snprintf(launcher->name, sizeof(launcher->name), "%s", node);
	snprintf(launcher->runtimes, sizeof(launcher->runtimes), "%s", runtimes);
	snprintf(launcher->python, sizeof(launcher->python), "/usr/bin/python3");
	wc_find_program("node", launcher->node, sizeof(launcher->node));
	/* In a thread of its own, because unshare() moves the caller. */
	error = pthread_create(&thread, NULL, make_namespace, &launcher->netns);
	if (error)
		return wc_fail(fault, error, "cannot start a thread: %s", strerror(error));
	pthread_join(thread, NULL);
	if (launcher->netns < 0)
		wc_warning("functions share the node's network: no network namespace could be made for them");
	return 0;
}

void wc_launcher_close(struct wc_launcher *launcher)
{
	if (launcher->netns >= 0)
		close(launcher->netns);
	launcher->netns = -1;
	if (launcher->filter >= 0)
		close(launcher->filter);
	if (launcher->rules >= 0)
		close(launcher->rules);
	launcher->filter = launcher->rules = -1;
}

/* --- the channel --- */

static int open_socket(struct wc_instance *instance, int *ret_child)
{
	int ends[2], size = SOCKET_BUFFER;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	for (int i = 0; i < 2; i++)
		setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	instance->socket = ends[0];
	*ret_child = ends[1];
	return 0;
}

/* Those that were made with the sandbox, if there is one, or new ones. */
static int take_ends(struct wc_sandbox *sandbox, struct wc_ends *ends)
{
	if (!sandbox || !sandbox->ends.channel)
		return wc_ends_make(ends);
	*ends = sandbox->ends;
	sandbox->ends = WC_ENDS_NONE;
	return 0;
}

/* For an instance whose channel is a socket. */
static int make_socket_ends(struct wc_instance *instance, struct wc_ends *ends)
{
	int error = wc_ends_pipe(ends);

	if (!error)
		error = open_socket(instance, &ends->child);
	if (error)
		wc_ends_close(ends);
	return error;
}

/* --- the sandbox --- */

/* Descriptors of a start, in the order of enum wc_zygote_fds; -1: not there. */
struct files {
	int fd[WC_ZYGOTE_FDS];
};

/* The mounts that a function's sandbox gets. */
struct mounts {
	int code, secrets; /* -1: none */
};

static void close_mounts(const struct mounts *mounts)
{
	if (mounts->code >= 0)
		close(mounts->code);
	if (mounts->secrets >= 0)
		close(mounts->secrets);
}

static int take_mounts(const struct wc_launcher *launcher, const struct wc_fn *fn, struct mounts *mounts,
		       struct wc_fault *fault)
{
	char path[500];
	int error;

	mounts->secrets = -1;
	mounts->code = wc_sandbox_mount(fn->code, fault);
	if (mounts->code < 0)
		return mounts->code;
	/* Also when there are none: the first one must be seen, too. The folder is made by the function's first start. */
	wc_secrets_path(launcher->state_dir, fn->manifest.name, path, sizeof(path));
	error = !access(path, F_OK) ? 0 :
				      wc_secrets_prepare(launcher->state_dir, fn->manifest.name,
							 wc_uid_base(launcher->name) + fn->user, fault);
	if (!error) {
		mounts->secrets = wc_sandbox_mount(path, fault);
		error = mounts->secrets < 0 ? mounts->secrets : 0;
	}
	if (error)
		close(mounts->code);
	return error;
}

/* *ret_sandbox stays NULL where there are none. */
static int take_sandbox(const struct wc_launcher *launcher, enum wc_runtime runtime, uint32_t memory_mb, bool wait,
			struct wc_sandbox **ret_sandbox, struct wc_fault *fault)
{
	if (!launcher->sandboxes)
		return 0;
	memory_mb += runtime == WC_RUNTIME_NODE ? WC_NODE_EXTRA_MB : 0;
	*ret_sandbox = wc_sandboxes_take(launcher->sandboxes, memory_mb, wait, fault);
	return *ret_sandbox ? 0 : -EAGAIN;
}

/* --- the process --- */

static struct wc_watch_purpose purpose_of(const struct wc_instance *instance, const struct wc_place *place)
{
	const struct wc_fn *fn = instance->fn;

	return (struct wc_watch_purpose){ fn->manifest.name, fn->id, fn->version, place->has_request,
					  place->request_id };
}

/*
 * Have it forked by this zygote and hand it over to the main loop, which takes no unknown child for an orphan meanwhile. 0, or a
 * negative errno; -EPIPE: the zygote is dead.
 */
static int fork_from(struct wc_zygote *zygote, struct wc_instance *instance, const struct wc_place *place,
		     struct wc_start_order *order, const struct files *files, int output)
{
	const struct wc_manifest *manifest = &instance->fn->manifest;
	const struct wc_watch_purpose purpose = purpose_of(instance, place);
	uint32_t own = wc_zygote_slot(zygote);
	bool program = wc_zygote_runtime(zygote) != manifest->runtime || wc_order_needs_program(manifest);

	order->head.flags &= ~(uint32_t)WC_ZYGOTE_EXEC;
	if (program)
		order->head.flags |= WC_ZYGOTE_EXEC;
	order->head.data_mb = 0;
	/* Instead of a control group's limit; V8 has its own, and reserves far more than it uses, as may what a bootstrap is. */
	if ((!instance->sandbox || instance->sandbox->cgroup < 0) && manifest->runtime != WC_RUNTIME_NODE &&
	    manifest->runtime != WC_RUNTIME_CUSTOM)
		order->head.data_mb = manifest->memory_mb + SLACK_MB + (program ? 0 : wc_zygote_data_mb(zygote));
	wc_watch_begin_launch();
	instance->slot = wc_sched_begin_launch(instance->sched, own, (uint32_t)place->cpu, instance->fn->id);
	wc_sched_set_core(instance->sched, instance->slot, place->core);
	instance->pid = wc_zygote_fork(zygote, place->cpu, order->bytes, order->length, files->fd);
	wc_sched_end_launch(instance->sched, own, instance->slot, instance->pid);
	instance->watch = instance->pid < 0 ? NULL : wc_watch_add(instance->pid, output, &purpose);
	if (instance->watch)
		instance->watch->contained = instance->sandbox != NULL;
	wc_watch_end_launch();
	if (instance->watch) {
		instance->pidfd = instance->watch->pidfd;
		return 0;
	}
	if (instance->pid > 0)
		wc_sched_leave(instance->sched, instance->slot);
	instance->slot = WC_NONE;
	return instance->pid < 0 ? instance->pid : -ENOMEM;
}

/* One try, with a channel and a pipe of its own. As fork_from(); on failure nothing of it is left here. */
static int start_process(const struct wc_launcher *launcher, struct wc_instance *instance, const struct wc_place *place,
			 struct wc_start_order *order, bool socket, struct wc_fault *fault)
{
	const struct wc_manifest *manifest = &instance->fn->manifest;
	struct mounts mounts = { -1, -1 };
	struct wc_zygote *zygote;
	struct wc_ends ends;
	struct files files;
	int error;

	error = socket ? make_socket_ends(instance, &ends) : take_ends(instance->sandbox, &ends);
	if (error)
		return wc_fail(fault, -error, "cannot make a channel for the function: %s", strerror(-error));
	if (instance->sandbox) {
		error = take_mounts(launcher, instance->fn, &mounts, fault);
		if (error)
			goto out;
	}
	files.fd[WC_ZYGOTE_FD_CHANNEL] = ends.child;
	files.fd[WC_ZYGOTE_FD_OUTPUT] = ends.output[1];
	files.fd[WC_ZYGOTE_FD_CODE] = mounts.code;
	files.fd[WC_ZYGOTE_FD_SECRETS] = mounts.secrets;
	files.fd[WC_ZYGOTE_FD_MAIL] = manifest->runtime == WC_RUNTIME_CUSTOM ? -1 : ends.mail[1];
	files.fd[WC_ZYGOTE_FD_NET] = manifest->host_network ? launcher->host_net : -1;
	wc_order_confine(order, files.fd, launcher, instance->sandbox);
	zygote = wc_zygotes_take(launcher->zygotes, manifest->runtime, wc_order_libraries(manifest),
				 wc_order_needs_program(manifest), fault);
	error = zygote ? fork_from(zygote, instance, place, order, &files, ends.output[0]) : -EAGAIN;
	if (zygote) {
		wc_zygote_give(zygote);
		if (error)
			wc_fail(fault, -error, "cannot fork the function's process: %s", strerror(-error));
	}
out:
	close_mounts(&mounts);
	if (!error) {
		instance->channel = ends.channel;
		ends.channel = NULL;
		instance->watch->mail = ends.mail[0];
		ends.output[0] = ends.mail[0] = -1; /* the watch has them */
	} else if (instance->socket >= 0) {
		close(instance->socket);
		instance->socket = -1;
	}
	wc_ends_close(&ends);
	return error;
}

/*
 * A zygote that does not answer in time may have forked all the same. That child has the channel of its try, in which nobody
 * writes any more: it never sees a request. It goes with the sandbox of its try, or else when the zygote is reaped, as a child
 * that nobody knows (watch.c).
 */
static int start_somewhere(const struct wc_launcher *launcher, struct wc_instance *instance,
			   const struct wc_place *place, struct wc_start_order *order, bool socket,
			   struct wc_fault *fault)
{
	const struct wc_manifest *manifest = &instance->fn->manifest;
	int error = -EPIPE;

	for (int i = 0; i < FORK_TRIES && error == -EPIPE; i++) {
		error = take_sandbox(launcher, manifest->runtime, manifest->memory_mb, true, &instance->sandbox, fault);
		if (!error)
			error = wc_order_instance(order, launcher, instance, socket, fault);
		if (!error)
			error = start_process(launcher, instance, place, order, socket, fault);
		if (error && instance->sandbox) {
			if (wc_sandbox_dead(instance->sandbox))
				error = -EPIPE; /* somebody has killed its init */
			wc_sandbox_end(instance->sandbox);
			instance->sandbox = NULL;
		}
	}
	if (error)
		return error;
	wc_sandbox_entered(instance->sandbox); /* or is about to: it has the descriptor */
	/* From here on channel or socket live as long as the watch. */
	instance->watch->channel = instance->channel;
	instance->watch->socket = instance->socket;
	if (wc_watch_arm(instance->watch))
		wc_warning("the end of process %d will be noticed late", instance->pid);
	return 0;
}

/* --- spares --- */

int wc_launch_helper(const struct wc_launcher *launcher, const struct wc_start_order *order, const int *fds,
		     struct wc_sandbox *sandbox, int output, const char *name, struct wc_watch **ret_watch,
		     struct wc_fault *fault)
{
	struct wc_zygote *zygote = wc_zygotes_take(launcher->zygotes, WC_RUNTIME_NATIVE, "", true, fault);
	struct wc_watch *watch = NULL;
	pid_t pid;

	if (!zygote)
		return -EAGAIN;
	wc_watch_begin_launch();
	pid = wc_zygote_fork(zygote, -1, order->bytes, order->length, fds);
	wc_zygote_give(zygote);
	if (pid >= 0)
		watch = wc_watch_add_helper(pid, output, name);
	if (watch)
		watch->contained = sandbox != NULL;
	wc_watch_end_launch();
	if (pid == -EPIPE)
		return wc_fail(fault, EAGAIN, "its zygote has ended");
	if (!watch)
		return wc_fail(fault, pid < 0 ? -pid : ENOMEM, "it cannot be forked, or not watched: %s",
			       strerror(pid < 0 ? -pid : ENOMEM));
	wc_sandbox_entered(sandbox);
	if (wc_watch_arm(watch))
		wc_warning("the end of process %d will be noticed late", pid);
	*ret_watch = watch;
	return 0;
}

int wc_launch_spare(const struct wc_launcher *launcher, struct wc_spare *spare, struct wc_fault *fault)
{
	struct wc_start_order *order = malloc(sizeof(*order));
	struct wc_ends ends = WC_ENDS_NONE;
	struct files files;
	int error;

	if (!order)
		return wc_fail(fault, ENOMEM, "out of memory");
	wc_order_spare(order, launcher, spare->memory_mb);
	error = take_sandbox(launcher, WC_RUNTIME_NODE, spare->memory_mb, false, &spare->sandbox, fault);
	if (error)
		goto out;
	error = take_ends(spare->sandbox, &ends);
	if (error) {
		wc_fail(fault, -error, "cannot make its channel: %s", strerror(-error));
		goto out;
	}
	files.fd[WC_ZYGOTE_FD_CHANNEL] = ends.child;
	files.fd[WC_ZYGOTE_FD_OUTPUT] = ends.output[1];
	files.fd[WC_ZYGOTE_FD_CODE] = files.fd[WC_ZYGOTE_FD_SECRETS] = files.fd[WC_ZYGOTE_FD_NET] = -1;
	files.fd[WC_ZYGOTE_FD_MAIL] = ends.mail[1];
	wc_order_confine(order, files.fd, launcher, spare->sandbox);
	error = wc_launch_helper(launcher, order, files.fd, spare->sandbox, ends.output[0], "spare Node.js",
				 &spare->watch, fault);
	if (error)
		goto out;
	spare->pid = spare->watch->pid;
	spare->pidfd = spare->watch->pidfd;
	spare->channel = spare->watch->channel = ends.channel; /* lives as long as the watch */
	spare->watch->mail = ends.mail[0];
	ends.channel = NULL;
	ends.output[0] = ends.mail[0] = -1;
out:
	if (error)
		wc_sandbox_end(spare->sandbox);
	wc_ends_close(&ends);
	free(order);
	return error;
}

/* The function's code and secrets, into the sandbox in which the spare is. */
static int put_mounts(const struct wc_launcher *launcher, const struct wc_spare *spare, const struct wc_fn *fn,
		      struct wc_fault *fault)
{
	struct mounts mounts;
	int error;

	if (!spare->sandbox)
		return 0;
	error = take_mounts(launcher, fn, &mounts, fault);
	if (error)
		return error;
	error = wc_sandbox_put(spare->sandbox, WC_SANDBOX_PUT_CODE, mounts.code, fault);
	if (!error && mounts.secrets >= 0)
		error = wc_sandbox_put(spare->sandbox, WC_SANDBOX_PUT_SECRETS, mounts.secrets, fault);
	close_mounts(&mounts);
	return error;
}

/* Give a spare its function: instance->sequence is what it will answer with. */
static void adopt(struct wc_instance *instance, const struct wc_place *place, const struct wc_start_order *order,
		  const struct wc_spare *spare)
{
	struct wc_message *message = &spare->channel->request;
	uint32_t length = (uint32_t)(order->environment_end - order->environment);
	const struct wc_watch_purpose purpose = purpose_of(instance, place);

	instance->pid = spare->pid;
	instance->pidfd = spare->pidfd;
	instance->watch = spare->watch;
	instance->channel = spare->channel;
	wc_watch_adopt(spare->watch, &purpose);
	instance->slot = wc_sched_adopt(instance->sched, spare->pid, (uint32_t)place->cpu, instance->fn->id);
	wc_sched_set_core(instance->sched, instance->slot, place->core);
	wc_pin_instance(instance, place->cpu);
	memcpy(spare->channel->request_payload, order->bytes + order->environment, length);
	message->kind = WC_CHANNEL_LOAD;
	message->length = length;
	message->request_id = order->head.uid;
	instance->sequence = 1;
	wc_channel_post(spare->channel, message, instance->sequence);
}

int wc_launch(const struct wc_launcher *launcher, struct wc_instance *instance, const struct wc_place *place,
	      struct wc_fault *fault)
{
	const struct wc_fn *fn = instance->fn;
	bool socket = wc_order_needs_socket(launcher, fn->manifest.runtime);
	struct wc_spare spare;
	struct wc_start_order *order;
	int error;

	if (fn->manifest.runtime == WC_RUNTIME_NODE && !launcher->node[0])
		return wc_fail(fault, ENOENT, "Node.js is not installed: install the package nodejs (18 or later)");
	order = malloc(sizeof(*order));
	if (!order)
		return wc_fail(fault, ENOMEM, "out of memory");
	if (wc_zygotes_spare(launcher->zygotes, &fn->manifest, &spare)) {
		error = put_mounts(launcher, &spare, fn, fault);
		instance->sandbox = spare.sandbox;
		if (!error)
			error = wc_order_instance(order, launcher, instance, false, fault);
		if (!error) {
			adopt(instance, place, order, &spare);
			goto out;
		}
		wc_spare_end(&spare); /* and start one that is not ahead */
		instance->sandbox = NULL;
	}
	error = start_somewhere(launcher, instance, place, order, socket, fault);
out:
	free(order);
	return error;
}
