/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * node.c - bring a node up, serve, take it down, and clean up after one that was killed.
 *
 * Order of start: load and map, fill the tables, start the threads, then attach. Order of stop: the exact reverse.
 */
#include "user/node_internal.h"

#include "user/agent.h"
#include "user/clock.h"
#include "user/cold_starts.h"
#include "user/control.h"
#include "user/farewell.h"
#include "user/guard.h"
#include "user/heirs.h"
#include "user/launch.h"
#include "user/lead.h"
#include "user/lend.h"
#include "user/log.h"
#include "user/payloads.h"
#include "user/pending.h"
#include "user/pool.h"
#include "user/reload.h"
#include "user/member.h"
#include "user/members.h"
#include "user/remote.h"
#include "user/sandboxes.h"
#include "user/scheduler.h"
#include "user/secrets.h"
#include "user/setup.h"
#include "user/stack.h"
#include "user/takeover.h"
#include "user/traces.h"
#include "user/upgrade.h"
#include "user/warmth.h"
#include "user/watch.h"
#include "user/zygotes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TICK_NS (50 * WC_MS)
#define TAKE_TRIES 500
#define SHARE_QUANTUM_US 1000
#define BACKSTOP_NS (10 * WC_MS)

static struct {
	int epoll, signals, timer;
	bool ends; /* it was told to */
} loop = { .epoll = -1, .signals = -1, .timer = -1 };

/* --- starting --- */

static int open_kernel_datapath(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_umem_plan plan = {
		.dev = node->dev,
		.queues = node->shard_count,
		.cores = node->options.core_count,
		.pending_max = node->options.pending_max,
	};
	int error;

	/* The kernel gives the queues free a while after the other daemon has closed its sockets. */
	for (int i = 0; i < TAKE_TRIES; i++) {
		error = wc_umem_create(&node->umem, &plan, &node->af_xdp, fault);
		if (error != -EBUSY || !node->takeover)
			break;
		usleep(10000);
	}
	for (uint32_t s = 0; !error && s < node->shard_count; s++) {
		error = wc_xdp_set_socket(node->xdp, s, WC_NONE, wc_umem_queue(node->umem, s)->pending->fd);
		for (uint32_t i = 0; !error && i < node->options.core_count; i++)
			error = wc_xdp_set_socket(node->xdp, s, i, wc_umem_socket(node->umem, s, i)->fd);
		if (error)
			wc_fail(fault, -error, "cannot enter a socket into its map: %s", strerror(-error));
	}
	return error;
}

static int open_loop(struct wc_node *node, struct wc_fault *fault)
{
	const struct itimerspec tick = { .it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS };
	struct epoll_event event = { .events = EPOLLIN };
	const struct wc_log_limits limits = {
		.file_bytes = (uint64_t)node->options.log_file_kib << 10,
		.files = node->options.log_files,
		.total_bytes = (uint64_t)node->options.log_total_mib << 20,
		.rate = (uint64_t)node->options.log_rate_kib << 10,
	};
	char logs[300];
	sigset_t set;
	int error;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* before any thread starts: they inherit it */
	signal(SIGPIPE, SIG_IGN);
	wc_guard_open();
	loop.epoll = epoll_create1(EPOLL_CLOEXEC);
	loop.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	loop.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop.epoll < 0 || loop.signals < 0 || loop.timer < 0 || timerfd_settime(loop.timer, 0, &tick, NULL))
		return wc_fail(fault, errno, "cannot make the main loop: %s", strerror(errno));
	event.data.ptr = &loop.signals;
	if (epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.signals, &event))
		return wc_fail(fault, errno, "cannot make the main loop: %s", strerror(errno));
	event.data.ptr = &loop.timer;
	if (epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.timer, &event))
		return wc_fail(fault, errno, "cannot make the main loop: %s", strerror(errno));
	error = wc_upgrade_open(loop.epoll, fault);
	if (error)
		return error;
	snprintf(logs, sizeof(logs), "%s/logs", node->options.state_dir);
	return wc_logs_open(logs, &limits, fault) ?: wc_watch_open(loop.epoll, fault);
}

/* Without it the node works as well, and says why it is so; only who asked for it by name gets an error. */
static int open_sched(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_sched_plan plan = {
		.mode = node->options.sched == WC_SCHED_AUTO ? WC_SCHED_FULL : node->options.sched,
		.cpus = node->options.cpus,
		.core_count = node->options.core_count,
		.cores_fd = node->xdp ? wc_xdp_cores_fd(node->xdp) : -1,
	};
	struct wc_fault why;
	int error;

	if (plan.mode == WC_SCHED_OFF) {
		snprintf(node->sched_why, sizeof(node->sched_why), "--sched off");
		return 0;
	}
	error = wc_sched_open(&node->sched, &plan, &why);
	if (error && node->options.sched != WC_SCHED_AUTO)
		return wc_fail(fault, -error, "%s (--sched %s was asked for)", why.text,
			       wc_sched_mode_names[node->options.sched]);
	if (error) {
		snprintf(node->sched_why, sizeof(node->sched_why), "%.299s", why.text);
		wc_info("threads are held by CPU affinity: %s", why.text);
		return 0;
	}
	node->launcher.sched = node->sched;
	wc_node_apply_quantum(node);
	wc_sched_enrol_self(node->sched, WC_NONE);
	return 0;
}

void wc_node_apply_quantum(struct wc_node *node)
{
	struct wc_sched_knobs *knobs = wc_sched_knobs(node->sched);

	/*
	 * Where an invocation has its core to its end nobody else waits there, unless a function has several threads, or runs on after its
	 * reply: that must neither keep the core from others nor be a stall, for which the kernel would throw the scheduler out.
	 */
	if (knobs)
		WC_WRITE(knobs->quantum_ns, wc_node_quantum_ns(node) ?: BACKSTOP_NS);
}

uint64_t wc_node_quantum_ns(const struct wc_node *node)
{
	uint32_t us = WC_READ(node->options.quantum_us);

	if (us == WC_QUANTUM_AUTO)
		us = wc_policy_service(WC_READ(node->tables.wc_config->policy)) == WC_SERVE_SHARE ? SHARE_QUANTUM_US :
												    0;
	return us * WC_US;
}

static uint32_t group_of(void *functions, const char *name)
{
	return wc_functions_group(functions, name);
}

/* What is on disk, under this node's options and name, which may be others than when it was written. */
static void take_functions(struct wc_node *node)
{
	wc_functions_keep(node->functions, node->options.keep_versions);
	wc_functions_permit(node->functions, node->options.allow_trusted, node->options.allow_network);
	wc_secrets_tidy(node->options.state_dir, group_of, node->functions);
}

/* Load the program, with new maps or those of the daemon before. */
static int open_xdp(struct wc_node *node, struct wc_fault *fault)
{
	const struct wc_xdp_plan plan = {
		.shards = node->shard_count,
		.cores = node->options.core_count,
		.clustered = node->options.cluster || node->options.join[0],
		.siblings = wc_options_siblings(&node->options),
	};

	if (node->takeover)
		return wc_xdp_adopt(&node->xdp, node->options.name, &plan, &node->tables, fault);
	return wc_xdp_open(&node->xdp, &plan, &node->tables, fault);
}

/* Everything is ready that could be made beside the daemon before. When it has stopped, what it was is ours. */
static int take_over(struct wc_node *node, struct wc_legacy *legacy, struct wc_fault *fault)
{
	int error = wc_setup_check_runtimes(fault) ?: wc_takeover_wait(node->takeover, legacy, fault);

	if (error)
		return error;
	wc_node_lock_inherit(node->takeover->lock);
	wc_setup_remove_instances(node->options.name);
	wc_node_clear_tables(&node->tables);
	WC_WRITE(node->tables.wc_config->up, WC_UP_HANDOVER);
	return 0;
}

/*
 * The program serves from here on, and then what has waited in the sockets. In another daemon's place: it is put there first, where it does
 * as the one before did, and serves when that daemon lets it.
 */
static int attach(struct wc_node *node, struct wc_fault *fault)
{
	int error = 0;

	if (node->xdp && node->takeover)
		error = wc_xdp_take_link(node->xdp, node->options.name, fault);
	if (!error && node->takeover)
		error = wc_takeover_commit(node->takeover, fault);
	if (error)
		return error;
	WC_WRITE(node->tables.wc_config->up, WC_UP_SERVING);
	wc_config_changed(node->tables.wc_config);
	if (node->xdp && !node->takeover)
		return wc_xdp_attach(node->xdp, node->options.name, wc_setup_ifindex(node), node->options.xdp_mode,
				     &node->xdp_mode, fault);
	if (node->takeover && node->xdp)
		node->xdp_mode = node->takeover->xdp_mode;
	return wc_stack_resume(node, fault);
}

/* Whoever has taken over serves: there is no daemon any more that could instead. */
static int trace_if_asked(struct wc_node *node, struct wc_fault *fault)
{
	int error = wc_traces_set(node, node->options.trace, fault);

	if (!error || !node->takeover)
		return error;
	wc_warning("stage tracing stays off: %s", fault->text);
	node->options.trace = false;
	return 0;
}

static int start_all(struct wc_node *node, struct wc_legacy *legacy, struct wc_fault *fault)
{
	bool kernel = node->options.datapath == WC_DATAPATH_KERNEL;
	char runtimes[200];
	int error;

	error = node->options.isolate ? wc_isolate(&node->isolation, node->options.name, node->options.cpus,
						   node->options.core_count, fault) :
					0;
	if (error)
		return error;
	error = wc_setup_device(node, fault);
	if (!error && !node->shard_count)
		error = wc_fail(fault, EINVAL, "%s has no receive queue", node->dev);
	if (!error)
		error = kernel ? open_xdp(node, fault) : wc_setup_plain_tables(node, fault);
	if (!error)
		error = wc_remote_prepare(node, fault);
	if (!error && node->takeover)
		error = take_over(node, legacy, fault);
	if (!error)
		error = wc_node_share_seen_key(node, legacy, fault);
	if (error)
		return error;
	wc_node_fill_tables(node, legacy);
	error = wc_setup_runtimes(node, runtimes, sizeof(runtimes), fault);
	if (!error)
		error = wc_launcher_open(&node->launcher, node->options.name, runtimes, node->options.state_dir, fault);
	/* Also of functions that an earlier start allowed it to. */
	node->launcher.host_net = node->options.allow_network ? node->host_net : -1;
	if (!error)
		error = wc_functions_open(&node->functions, node->options.state_dir, &node->tables,
					  wc_uid_base(node->options.name), fault);
	if (!error)
		take_functions(node);
	if (!error && !(node->replies = wc_replies_new()))
		error = wc_fail(fault, ENOMEM, "out of memory for the kept replies");
	if (!error && node->takeover)
		wc_takeover_replies(node->takeover, node->replies);
	if (!error && !(node->warmth = wc_warmth_new(node)))
		error = wc_fail(fault, ENOMEM, "out of memory for what is known of functions");
	if (!error && !(node->cold_starts = wc_cold_starts_new(node->options.metrics_functions)))
		error = wc_fail(fault, ENOMEM, "out of memory for the metrics of cold starts");
	if (!error)
		wc_warmth_load(node->warmth);
	if (!error && kernel)
		error = open_kernel_datapath(node, fault);
	if (!error)
		error = open_loop(node, fault);
	if (!error)
		error = open_sched(node, fault);
	if (!error)
		error = wc_zygotes_start(&node->launcher.zygotes, &node->launcher, node->functions, &node->options,
					 fault);
	if (!error)
		error = wc_pending_open(node, fault);
	if (!error)
		error = wc_heirs_open(node, fault)	     ?:
				wc_lead_open(node, fault)    ?:
				wc_members_open(node, fault) ?:
				wc_member_open(node, fault)  ?:
							       wc_lend_open(node, fault);
	if (!error)
		error = wc_stack_start(node, fault) ?: wc_payloads_start(node, fault);
	if (!error)
		error = wc_farewell_open(node->options.core_count * WC_INSTANCES_PER_CORE, fault);
	if (!error)
		error = wc_agents_start(node, fault);
	if (!error)
		error = wc_scheduler_start(node, fault);
	if (!error)
		error = wc_warmth_keep(node->warmth, fault);
	if (!error && kernel && !node->takeover)
		error = wc_xdp_pin(node->xdp, node->options.name, fault);
	if (!error && kernel && node->sched)
		error = wc_sched_pin(node->sched, node->options.name, fault);
	if (!error)
		error = wc_remote_listen(node, fault) ?: attach(node, fault);
	if (!error)
		error = trace_if_asked(node, fault);
	if (!error)
		error = wc_control_start(node, fault) ?: wc_remote_start(node, fault) ?: wc_member_start(node, fault);
	if (!error)
		error = wc_lead_start(node, fault) ?: wc_lend_start(node, fault);
	if (!error)
		wc_node_answer_orphans(node, legacy);
	return error;
}

/* Agents begin with their cores in hand: a node is up when they have let go of them. */
static void await_agents(struct wc_node *node)
{
	for (uint32_t i = 0; i < node->agents_started; i++)
		for (int ms = 0; ms < 1000 && !WC_READ(node->tables.wc_cores[i].releases); ms++)
			usleep(1000);
}

int wc_node_start(struct wc_node *node, const struct wc_options *options, struct wc_takeover *takeover,
		  struct wc_fault *fault)
{
	struct wc_legacy legacy = { 0 };
	int error, left;

	memset(node, 0, sizeof(*node));
	node->options = node->asked = *options;
	node->started = wc_now();
	node->xdp_mode = node->af_xdp = "none";
	node->launcher.netns = node->launcher.filter = node->launcher.rules = node->host_net = -1;
	snprintf(node->run_dir, sizeof(node->run_dir), "%s/%s", WC_RUN_ROOT, options->name);
	node->takeover = takeover;
	error = takeover ? 0 : wc_node_lock_take(node, fault);
	if (error)
		return error;
	node->host_net = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (!takeover)
		wc_legacy_read(&legacy, options->name);
	left = takeover ? 0 : wc_setup_remove_leftovers(options->name);
	if (left)
		wc_info("removed %d things that a killed daemon had left", left);
	error = start_all(node, &legacy, fault);
	wc_legacy_free(&legacy);
	if (error && takeover && !takeover->committed)
		return error;
	if (error) {
		wc_node_stop(node);
		return error;
	}
	await_agents(node);
	if (takeover && wc_node_lock_sign())
		wc_warning("cannot write the lock of the node: %s", strerror(errno));
	node->takeover = NULL;
	wc_info("node %s is up: %s datapath, device %s, XDP %s, AF_XDP %s, %u cores, %u shards", options->name,
		node->xdp ? "kernel" : "user", node->dev, node->xdp_mode, node->af_xdp, options->core_count,
		node->shard_count);
	return 0;
}

/* --- serving --- */

static void tick(void)
{
	uint64_t expirations;

	if (read(loop.timer, &expirations, sizeof(expirations)) == sizeof(expirations))
		wc_watch_reap_stray();
}

static void take_signal(struct wc_node *node)
{
	struct signalfd_siginfo signal_info;

	if (read(loop.signals, &signal_info, sizeof(signal_info)) < 0)
		return;
	if (signal_info.ssi_signo == SIGHUP) /* of a lost terminal, too, which is no reason to stop */
		wc_reload_and_say(node);
	else
		loop.ends = true;
}

/* One event at a time: handling one may free what the next one would point to. */
static void take_event(struct wc_node *node, void *what)
{
	if (what == &loop.timer)
		tick();
	else if (what == &loop.signals)
		take_signal(node);
	else if (what != wc_upgrade_event()) /* wc_node_run() takes that one, and nobody asks while it does */
		wc_watch_event(what);
}

int wc_node_wait(struct wc_node *node, int fd, uint64_t until)
{
	struct pollfd fds[2] = { { .fd = loop.epoll, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	struct epoll_event event;

	for (;;) {
		uint64_t now = wc_now(), left = until > now ? until - now : 0;

		if (poll(fds, 2, (int)((left + WC_MS - 1) / WC_MS)) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return 0;
		if (fds[0].revents && epoll_wait(loop.epoll, &event, 1, 0) == 1)
			take_event(node, event.data.ptr);
		if (loop.ends)
			return -ECANCELED;
		if (wc_now() >= until)
			return -ETIMEDOUT;
	}
}

int wc_node_run(struct wc_node *node, struct wc_fault *fault)
{
	struct epoll_event event;

	while (!loop.ends) {
		if (epoll_wait(loop.epoll, &event, 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			return wc_fail(fault, errno, "epoll_wait: %s", strerror(errno));
		}
		if (event.data.ptr != wc_upgrade_event())
			take_event(node, event.data.ptr);
		else if (wc_upgrade_run(node))
			return 1;
	}
	wc_info("stopping");
	return 0;
}

/* --- stopping --- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The threads. */
static void stop_threads(struct wc_node *node)
{
	wc_lead_stop(node);
	wc_lend_stop(node);
	wc_member_stop(node);
	wc_remote_stop(node);
	wc_scheduler_stop(node);
	wc_agents_stop(node);
	wc_warmth_kept(node->warmth);
	wc_farewell_close();
	wc_zygotes_stop(node->launcher.zygotes);
	node->launcher.zygotes = NULL;
	wc_watch_close();
	wc_logs_close();
	wc_sandboxes_free(node->launcher.sandboxes);
	node->launcher.sandboxes = NULL;
	wc_sched_free(node->sched);
	node->sched = node->launcher.sched = NULL;
}

/* And what they worked on. */
static void free_parts(struct wc_node *node)
{
	wc_traces_close(node);
	wc_payloads_stop(node);
	wc_stack_stop(node);
	wc_scheduler_free(node);
	wc_lead_close(node);
	wc_heirs_close(node);
	wc_lend_close(node);
	wc_member_close(node);
	wc_members_close(node);
	wc_pending_close(node);
	wc_umem_free(node->umem);
	wc_functions_free(node->functions);
	wc_warmth_free(node->warmth);
	wc_cold_starts_free(node->cold_starts);
	node->cold_starts = NULL;
	wc_replies_free(node->replies);
	wc_launcher_close(&node->launcher);
}

void wc_node_stop(struct wc_node *node)
{
	char path[160];

	wc_control_stop(node);
	wc_lend_leave(node); /* their clients would be told of this node's end, with which they have nothing to do */
	if (node->tables.wc_config) {
		WC_WRITE(node->tables.wc_config->up, WC_UP_DOWN); /* from here on: ERROR(NODE_DOWN) */
		wc_config_changed(node->tables.wc_config);
	}
	stop_threads(node);
	if (node->xdp || node->traces)
		wc_xdp_unpin(node->options.name);
	free_parts(node);
	if (node->xdp)
		wc_xdp_free(node->xdp);
	else
		wc_setup_free_tables(node);
	wc_setup_remove_device(node);
	wc_setup_remove_runtimes(node->options.name);
	wc_isolate_end(&node->isolation);
	close_fd(&node->host_net);
	close_fd(&loop.timer);
	close_fd(&loop.signals);
	close_fd(&loop.epoll);
	snprintf(path, sizeof(path), "%s/lock", node->run_dir);
	unlink(path);
	rmdir(node->run_dir);
	rmdir(WC_RUN_ROOT);
	wc_node_lock_drop();
}

void wc_node_retire(struct wc_node *node)
{
	stop_threads(node);
	wc_sched_unpin(node->options.name);
	free_parts(node);
	if (node->xdp)
		wc_xdp_leave(node->xdp);
	else
		wc_setup_free_tables(node);
	node->xdp = NULL;
	memset(&node->tables, 0, sizeof(node->tables));
}

int wc_node_clean(const char *name)
{
	char path[160];
	int removed = wc_setup_remove_leftovers(name);

	snprintf(path, sizeof(path), "%s/%s/control.sock", WC_RUN_ROOT, name);
	removed += !unlink(path);
	snprintf(path, sizeof(path), "%s/%s/payload.sock", WC_RUN_ROOT, name);
	removed += !unlink(path);
	snprintf(path, sizeof(path), "%s/%s/lock", WC_RUN_ROOT, name);
	removed += !unlink(path);
	snprintf(path, sizeof(path), "%s/%s", WC_RUN_ROOT, name);
	removed += !rmdir(path);
	rmdir(WC_RUN_ROOT);
	return removed;
}
