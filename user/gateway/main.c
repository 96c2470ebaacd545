// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * main.c - warmcore-gateway: opens what it needs, starts the broker, puts its rights off, reads the keys, and runs one event loop a
 * thread. The main thread waits for signals and looks after the keys.
 *
 * The loops share nothing but the read-only options: each has its own listening sockets (the kernel spreads connections), its own
 * UDP sockets, its own cache of names and its own channel to the broker.
 */
#include <grp.h>
#include <jansson.h>
#include <pthread.h>
#include <pwd.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/away.h"
#include "user/clock.h"
#include "user/control_client.h"
#include "user/gateway/async_calls.h"
#include "user/gateway/async_door.h"
#include "user/gateway/auth.h"
#include "user/gateway/callback.h"
#include "user/gateway/callback_files.h"
#include "user/gateway/gateway.h"
#include "user/gateway/host_guard.h"
#include "user/gateway/http_metrics.h"
#include "user/gateway/manage.h"
#include "user/gateway/manage_process.h"
#include "user/gateway/reply.h"
#include "user/gateway/reread.h"
#include "user/gateway/scrape.h"
#include "user/gateway/settings.h"
#include "user/gateway/state.h"
#include "user/log.h"
#include "user/notify.h"

#define PING_TIMEOUT_MS 2000u
#define TURN_MAX_MS 1000
#define DRAIN_MS 10000ull /* requests in flight have so long when the gateway is told to stop */

struct loop {
	struct wc_gateway gateway;
	struct wc_http_listener listeners[WC_GATEWAY_LISTEN_MAX + 1];
	int channel, stop, change; /* the broker's; eventfds */
	bool stopping;
	unsigned long long drained_ns;
	pthread_t thread;
};

static struct loop loops[WC_GATEWAY_THREADS_MAX];
static struct wc_auth *auth; /* NULL: there are no keys */
static int keys_channel;     /* the broker's, for them */
static int metrics_channel;  /* and for the metrics */
static pid_t away_pid;	     /* stands for a node on another host; 0: there is none */
static struct wc_scraper *scraper;
static struct wc_async_worker *async; /* of the first loop; NULL: there is none */
static struct wc_async_calls async_calls;
static struct wc_callback_files callback_files;
static struct wc_gateway_reload reload;
static struct wc_gateway_live live;	       /* what loops take over when `change` says so */
static sem_t taken;			       /* by one of them */
static int manage_channels[WC_MANAGE_WORKERS]; /* of the process that changes functions */
static bool manage_offered;
static atomic_uint running;
static atomic_bool broken; /* a loop ended for a reason that is none of ours */

static int say(const struct wc_fault *fault)
{
	wc_error("%s", fault->text);
	return 1;
}

/* --- one loop --- */

static void on_udp(void *context)
{
	wc_invoker_readable(((struct loop *)context)->gateway.calls.invoker);
}

static void on_session(void *context)
{
	wc_invoker_session_readable(((struct loop *)context)->gateway.calls.invoker);
}

static void on_broker(void *context)
{
	struct loop *loop = context;

	if (!wc_broker_readable(loop->gateway.calls.broker) || loop->stopping)
		return;
	/* Without it no name is found any more: better to be started again than to refuse everything. */
	wc_error("the process that asks the node is gone; ending");
	atomic_store(&broken, true);
	kill(getpid(), SIGTERM);
	loop->stopping = true;
}

static void on_stop(void *context)
{
	struct loop *loop = context;
	uint64_t count;

	if (read(loop->stop, &count, sizeof(count)) != sizeof(count))
		return;
	loop->stopping = true;
	loop->drained_ns = wc_now() + DRAIN_MS * WC_MS;
	wc_http_drain(loop->gateway.http);
	if (loop == loops && async)
		wc_async_worker_pause(async, true);
}

static void on_change(void *context)
{
	struct loop *loop = context;
	uint64_t count;

	if (read(loop->change, &count, sizeof(count)) != sizeof(count))
		return;
	loop->gateway.calls.patience_ms = live.max_wait_ms;
	wc_http_change(loop->gateway.http, live.tls, live.connections / reload.options->threads);
	sem_post(&taken);
}

static void on_async(void *context)
{
	(void)context;
	wc_async_worker_run(async);
}

static void on_door(void *context)
{
	wc_async_door_readable(((struct loop *)context)->gateway.async);
}

static void on_manage(void *context)
{
	wc_manage_door_readable(((struct loop *)context)->gateway.manage);
}

/* A body that is larger than what a function takes. */
static bool on_large(void *context, const struct wc_request *request, struct wc_response *ret_response,
		     char body[WC_HTTP_REFUSAL_MAX])
{
	struct wc_failure failure;

	struct wc_gateway *gateway = context;

	/* The whole request gets its answer; a body that large is not read for that. */
	if (!request->guarded || wc_host_guard_admits(gateway->hosts, request->host)) {
		if (wc_manage_admit(context, request, &failure))
			return true;
	} else {
		failure = (struct wc_failure){ 403, "AccessDeniedException", NULL, 0,
					       "this gateway is not called by such a Host: see --allow-host" };
	}
	wc_reply_compose(&failure, ret_response, body);
	return false;
}

static void on_large_over(void *context)
{
	wc_manage_release(context);
}

/* The first loop tells the others what is on the disk, so it ends last; and what it runs shall not have to run again. */
static bool is_drained(const struct loop *loop)
{
	struct wc_http_stats stats;

	wc_http_stats(loop->gateway.http, &stats);
	return !stats.exchanges &&
	       (loop != loops || !async || (atomic_load(&running) == 1 && !wc_async_worker_in_flight(async)));
}

static int until_ms(const struct loop *loop)
{
	unsigned long long next = wc_invoker_next_ns(loop->gateway.calls.invoker), now;

	if (next == UINT64_MAX && !loop->drained_ns)
		return TURN_MAX_MS;
	now = wc_now();
	if (loop->drained_ns && next > now + 20 * WC_MS)
		next = now + 20 * WC_MS;
	if (next <= now)
		return 0;
	next = (next - now) / WC_MS + 1;
	return next < TURN_MAX_MS ? (int)next : TURN_MAX_MS;
}

static void *run(void *argument)
{
	struct loop *loop = argument;

	pthread_setname_np(pthread_self(), "gateway");
	for (;;) {
		if (wc_http_run(loop->gateway.http, until_ms(loop)) < 0 && errno != EINTR) {
			wc_error("the event loop failed: %s", strerror(errno));
			atomic_store(&broken, true);
			break;
		}
		wc_invoker_tick(loop->gateway.calls.invoker);
		if (!loop->drained_ns)
			continue;
		if (is_drained(loop) || wc_now() >= loop->drained_ns)
			break;
	}
	atomic_fetch_sub(&running, 1);
	kill(getpid(), SIGUSR1); /* main waits for signals */
	return NULL;
}

static char payload_path[64]; /* the same for all loops */

static int set_up(struct loop *loop, const struct wc_gateway_options *options, void *tls)
{
	struct wc_invoker_options invoker = { .in_flight_max = options->in_flight / options->threads,
					      .payload_path = payload_path };
	struct wc_http_options http = {
		.listeners = loop->listeners,
		.listener_count = options->listen_count + (options->unix_path != NULL),
		.tls = tls,
		.connections_max = options->connections / options->threads,
		.read_timeout_ms = options->read_timeout_ms,
		.write_timeout_ms = options->write_timeout_ms,
		.body_max = WC_PAYLOAD_LARGE,
		.bodies_max = WC_GATEWAY_BODIES_BYTES / options->threads > WC_GATEWAY_BODIES_LEAST ?
				      WC_GATEWAY_BODIES_BYTES / options->threads :
				      WC_GATEWAY_BODIES_LEAST,
		.large_max = options->code_dir ? WC_MANAGE_BODY_MAX : 0,
		.on_large = on_large,
		.on_large_over = on_large_over,
		.on_request = wc_gateway_on_request,
		.on_response = wc_gateway_on_response,
		.context = &loop->gateway,
	};
	struct wc_calls *calls = &loop->gateway.calls;
	int fds[2], ret;

	snprintf(payload_path, sizeof(payload_path), WC_CONTROL_RUN_DIR "/%.15s/payload.sock", options->node);
	calls->patience_ms = options->max_wait_ms;
	calls->calls_max = invoker.in_flight_max;
	calls->latencies = wc_latencies_new(options->metrics_functions);
	loop->gateway.access_log = options->access_log;
	loop->gateway.hosts = &options->hosts;
	loop->gateway.metrics = wc_http_metrics_new();
	if (!calls->latencies || !loop->gateway.metrics)
		return -ENOMEM;
	ret = wc_broker_new(loop->channel, &calls->broker);
	if (!ret)
		ret = wc_names_new(calls->broker, &calls->names);
	if (!ret)
		ret = wc_invoker_new(&invoker, &calls->invoker);
	if (!ret)
		ret = wc_http_new(&http, &loop->gateway.http);
	loop->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->change = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ret || loop->stop < 0 || loop->change < 0)
		return ret ?: -errno;
	wc_invoker_fds(calls->invoker, fds);
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			wc_http_watch(loop->gateway.http, fds[i], on_udp, loop);
	wc_http_watch(loop->gateway.http, wc_invoker_session_fd(calls->invoker), on_session, loop);
	wc_http_watch(loop->gateway.http, loop->channel, on_broker, loop);
	wc_http_watch(loop->gateway.http, loop->stop, on_stop, loop);
	wc_http_watch(loop->gateway.http, loop->change, on_change, loop);
	return 0;
}

/* --- the process --- */

static int raise_limit(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	rlim_t wanted = options->connections * 2 + WC_GATEWAY_FILES; /* a refused one lingers beside its successor */
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return wc_fail(fault, errno, "cannot read the limit of open files: %s", strerror(errno));
	if (limit.rlim_cur >= wanted)
		return 0;
	limit.rlim_cur = wanted;
	if (limit.rlim_max < wanted)
		limit.rlim_max = wanted; /* root may */
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return wc_fail(
			fault, errno,
			"--connections %u takes %llu open files, which is more than this user may have (ulimit -n)",
			options->connections, (unsigned long long)wanted);
	return 0;
}

static int put_rights_off(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	const struct passwd *user = getpwnam(options->user);

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return wc_fail(fault, errno, "cannot give up new privileges: %s", strerror(errno));
	if (!geteuid()) {
		if (!user || !user->pw_uid)
			return wc_fail(fault, EINVAL, "--user: '%.40s' is root or gone; name a user without rights",
				       options->user);
		if (setgroups(0, NULL) || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) ||
		    setresuid(user->pw_uid, user->pw_uid, user->pw_uid))
			return wc_fail(fault, errno, "cannot become user %s: %s", options->user, strerror(errno));
		if (!setuid(0))
			return wc_fail(fault, EPERM, "became user %s, but root could be had back", options->user);
	}
	/* There are secrets in the memory of this process; and it is the last step, because changes of the user undo it. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return wc_fail(fault, errno, "cannot forbid dumps of this process: %s", strerror(errno));
	return 0;
}

/* Not to be allowed to ask is for ever; a node that is not there may come. */
static int ping(const char *node, struct wc_fault *fault)
{
	json_t *request = json_pack("{s:s}", "op", "ping"), *answer = NULL;
	int ret = wc_control_request(node, request, PING_TIMEOUT_MS, &answer);

	json_decref(request);
	json_decref(answer);
	if (ret == -EACCES)
		return wc_fail(fault, EACCES,
			       "node '%s' belongs to root: start the gateway as root, it puts its rights off", node);
	if (ret)
		wc_warning("node '%s' is not running yet; requests get 503 until it does", node);
	return 0;
}

/*
 * A node on another host: a process of its own stands for it here, and ends with the gateway, however that ends. It keeps the user that the
 * gateway was started as, without capabilities; the key is in its memory only.
 */
static int start_away(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	const struct passwd *user = getpwnam(options->user);
	const struct wc_away_options asked = { .name = options->node,
					       .remote = options->remote_node,
					       .key = options->remote_key,
					       .user = user && !geteuid() ? user->pw_uid : geteuid(),
					       .stop_with = "the gateway that serves it" };
	struct wc_away *away;
	int pair[2], kept[4], ret;
	pid_t pid;

	ret = wc_away_open(&asked, &away, fault);
	if (ret)
		return ret;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		ret = wc_fail(fault, errno, "cannot make a pair of sockets: %s", strerror(errno));
		wc_away_close(away);
		return ret;
	}
	pid = fork();
	if (pid < 0) {
		ret = wc_fail(fault, errno, "cannot start the process that reaches the node: %s", strerror(errno));
		wc_away_close(away);
		return ret;
	}
	if (!pid) {
		prctl(PR_SET_NAME, "wc-gw-away", 0, 0, 0);
		wc_away_fds(away, kept);
		kept[3] = pair[1];
		wc_broker_confine(kept, 4);
		wc_away_run(away, pair[1]);
		_exit(0);
	}
	away_pid = pid;
	close(pair[1]); /* the other end stays open as long as this process lives */
	wc_away_forget(away);
	return 0;
}

static int open_all(struct wc_gateway_options *options, void **ret_tls, pid_t *ret_broker, struct wc_fault *fault)
{
	struct wc_broker_paths paths = { .keys = options->key_file,
					 .files = { reload.path, options->tls_cert, options->tls_key } };
	int channels[WC_GATEWAY_THREADS_MAX + 1], unix_fd = -1, ret;
	pid_t manage;
	char real[4096];

	ret = raise_limit(options, fault);
	if (!ret && options->remote_node)
		ret = start_away(options, fault);
	if (!ret)
		ret = ping(options->node, fault);
	if (!ret && options->tls_cert)
		ret = wc_http_tls_new(options->tls_cert, options->tls_key, ret_tls, fault);
	if (!ret && options->unix_path) {
		ret = unix_fd = wc_gateway_listen_unix(options, fault);
		if (unix_fd >= 0 && !realpath(options->unix_path, real))
			ret = wc_fail(fault, errno, "cannot find %s again: %s", options->unix_path, strerror(errno));
	}
	if (ret < 0)
		return ret;
	/* Before the other sockets: the broker has none of them. */
	paths.leave = unix_fd >= 0 ? real : NULL;
	ret = wc_broker_start(options->node, &paths, options->threads + 1, channels, &reload.files, &keys_channel,
			      ret_broker);
	if (ret)
		return wc_fail(fault, ret, "cannot start the process that asks the node: %s", strerror(-ret));
	metrics_channel = channels[options->threads];
	for (unsigned i = 0; i < options->threads; i++) {
		loops[i].channel = channels[i];
		ret = wc_gateway_listen(options, unix_fd, loops[i].listeners, fault);
		if (ret)
			return ret;
		ret = set_up(&loops[i], options, *ret_tls);
		if (ret)
			return wc_fail(fault, ret, "cannot set up an event loop: %s", strerror(-ret));
	}
	if (options->async_dir)
		ret = wc_callback_files_read(options->callback_secret_file, options->callback_ca, &callback_files,
					     fault);
	if (!ret && options->async_dir) {
		ret = wc_gateway_make_state(options->async_dir, options->user, fault);
		if (ret && !options->async_named)
			wc_info("with --no-async it starts without asynchronous invocations");
	}
	if (ret || !options->code_dir)
		return ret;
	/* The last one, because it makes a folder: a start that fails leaves none behind. It closes what it inherits. */
	ret = wc_manage_process_start(options->node, options->code_dir, WC_MANAGE_WORKERS, manage_channels, &manage,
				      fault);
	manage_offered = !ret;
	return ret;
}

/* --- keys --- */

static int open_keys_file(void *context, struct wc_keys_opened *ret_opened, struct wc_fault *fault)
{
	(void)context;
	return wc_broker_open_keys(keys_channel, ret_opened, fault);
}

/* After rights are put off: with those that remain it has to be read again and again. */
static int open_keys(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	struct wc_auth_options asked = {
		.keys_path = options->key_file,
		.sigv4 = { .presign_max_s = options->presign_max_s },
		.open = open_keys_file,
	};
	int ret = options->key_file ? wc_auth_open(&asked, &auth, fault) : 0;

	for (unsigned i = 0; i < options->threads; i++)
		loops[i].gateway.auth = auth;
	return ret;
}

static void refresh_keys(const struct wc_gateway_options *options)
{
	struct wc_fault fault = { "" };
	int ret = auth ? wc_auth_refresh(auth, &fault) : 0;

	if (ret > 0)
		wc_info("the keys in %s have changed and are in use", options->key_file);
	else if (ret)
		wc_warning("%s; the keys from before go on", fault.text);
}

/* --- the configuration, again --- */

/* Each loop takes it over in its own time, which is short; nobody is cut off. */
static void hand_out(const struct wc_gateway_live *fresh)
{
	void *old = live.tls;
	uint64_t one = 1;

	live = *fresh;
	if (auth)
		wc_auth_presign(auth, live.presign_max_s);
	for (unsigned i = 0; i < reload.options->threads; i++)
		(void)!write(loops[i].change, &one, sizeof(one));
	for (unsigned i = 0; i < reload.options->threads && atomic_load(&running) == reload.options->threads;) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		i += !sem_timedwait(&taken, &until);
	}
	if (live.tls)
		wc_http_tls_free(old);
	else
		live.tls = old;
}

static void read_again(const struct wc_gateway_options *options)
{
	struct wc_gateway_live fresh;
	struct wc_fault fault;
	char text[700];

	refresh_keys(options);
	wc_notify("RELOADING=1");
	if (wc_gateway_reload(&reload, &fresh, text, sizeof(text), &fault)) {
		wc_warning("the configuration was not read again, and nothing has changed: %s", fault.text);
	} else {
		hand_out(&fresh);
		wc_info("%s", text);
	}
	wc_notify("READY=1");
}

/* --- asynchronous invocations --- */

static int open_callbacks(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	struct wc_callbacks_options asked = {
		.rules = &options->callback_rules,
		.secrets = &callback_files.secrets,
		.authorities = callback_files.authorities,
		.authorities_length = callback_files.authorities_length,
		.timeout_ms = options->callback_timeout_ms,
	};

	async_calls.send = wc_callbacks_send;
	return wc_callbacks_new(&asked, &async_calls.callbacks, fault);
}

/* After rights are put off: the folder and what is in it is the gateway's user's. */
static int open_async(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	struct wc_async_worker_options asked = WC_ASYNC_WORKER_OPTIONS_DEFAULT;
	struct wc_async_executor executor = wc_async_calls_executor(&async_calls);
	unsigned share =
		(options->in_flight / options->threads + 1) / 2; /* the rest is for those who wait for an answer */
	int ret = 0;

	if (!options->async_dir)
		return 0;
	if (asked.running_max > share)
		asked.running_max = share;
	if (asked.function_running_max > share)
		asked.function_running_max = share;
	async_calls.calls = &loops[0].gateway.calls;
	ret = wc_async_worker_open(&async, options->async_dir, &asked, &executor, fault);
	if (ret == -EBUSY && !options->async_named) {
		wc_warning("%s; this gateway takes no asynchronous invocations", fault->text);
		return 0;
	}
	if (!ret)
		ret = open_callbacks(options, fault);
	if (ret)
		return ret;
	async_calls.worker = async;
	wc_http_watch(loops[0].gateway.http, wc_async_worker_fd(async), on_async, NULL);
	for (unsigned i = 0; i < options->threads; i++) {
		struct wc_gateway *gateway = &loops[i].gateway;

		ret = wc_async_door_new(async, &options->callback_rules, &gateway->async);
		if (ret)
			return wc_fail(fault, ret, "cannot set up asynchronous invocations: %s", strerror(-ret));
		wc_http_watch(gateway->http, wc_async_door_fd(gateway->async), on_door, &loops[i]);
	}
	return 0;
}

static void on_scraped(void *context)
{
	wc_scraper_readable(&((struct loop *)context)->gateway);
}

/* After rights are put off, and with signals blocked: its thread has them as this one. */
static int open_scraper(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	int ret = wc_scraper_new(metrics_channel, async, &scraper);

	for (unsigned i = 0; i < options->threads && !ret; i++) {
		ret = wc_scraper_add(scraper, &loops[i].gateway);
		if (!ret)
			wc_http_watch(loops[i].gateway.http, wc_scraper_fd(&loops[i].gateway), on_scraped, &loops[i]);
	}
	return ret ? wc_fail(fault, ret, "cannot set up metrics: %s", strerror(-ret)) : 0;
}

/* --- changes of functions --- */

/* After rights are put off: its threads have none. */
static int open_manage(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	struct wc_manage *manage;
	int ret = manage_offered ? wc_manage_open(manage_channels, &manage) : 0;

	for (unsigned i = 0; manage_offered && !ret && i < options->threads; i++) {
		ret = wc_manage_door_new(manage, &loops[i].gateway.manage);
		if (!ret)
			wc_http_watch(loops[i].gateway.http, wc_manage_door_fd(loops[i].gateway.manage), on_manage,
				      &loops[i]);
	}
	return ret ? wc_fail(fault, ret, "cannot set up changes of functions: %s", strerror(-ret)) : 0;
}

static void announce(const struct wc_gateway_options *options)
{
	char text[96];

	for (unsigned i = 0; i < options->listen_count; i++) {
		wc_gateway_address_text(&options->listen[i], text, sizeof(text));
		wc_info("node %s is served on %s://%s", options->node, options->listen[i].secure ? "https" : "http",
			text);
	}
	if (options->unix_path)
		wc_info("node %s is served on %s", options->node, options->unix_path);
}

/* Without it the node cannot be reached any more: better to be started again than to refuse everything. */
static bool is_away_gone(void)
{
	if (!away_pid || !waitpid(away_pid, NULL, WNOHANG)) /* else it ended now, or was reaped */
		return false;
	away_pid = 0;
	wc_error("the process that stands for the node on another host is gone; ending");
	atomic_store(&broken, true);
	return true;
}

static void stop_all(unsigned count)
{
	uint64_t one = 1;

	for (unsigned i = 0; i < count; i++)
		(void)!write(loops[i].stop, &one, sizeof(one));
}

int main(int argc, char **argv)
{
	static struct wc_gateway_options options, asked;
	static struct wc_knobs_given given;
	static const struct timespec refresh_interval = { .tv_sec = 1 };
	struct wc_fault fault = { "" };
	void *tls = NULL;
	pid_t broker;
	sigset_t set;
	int ret, number;

	wc_log_begin(false, "warmcore-gateway");
	ret = wc_gateway_options_read(&options, &asked, &given, argc, argv, &fault);
	if (ret > 0)
		return 0;
	if (ret) {
		say(&fault);
		return 2;
	}
	wc_log_begin(options.log_json, "warmcore-gateway");
	if (options.print)
		return wc_knobs_print(&wc_gateway_knobs, &given, &asked, (enum wc_knobs_print)options.print) ? 1 : 0;
	reload = (struct wc_gateway_reload){ .argc = argc,
					     .argv = argv,
					     .options = &options,
					     .asked = &asked,
					     .given = &given,
					     .connections_now = options.connections,
					     .max_wait_now = options.max_wait_ms,
					     .presign_now = options.presign_max_s };
	wc_gateway_config_path(&options, reload.path, sizeof(reload.path));
	sem_init(&taken, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	if (open_all(&options, &tls, &broker, &fault) || put_rights_off(&options, &fault) ||
	    open_keys(&options, &fault) || open_async(&options, &fault) || open_manage(&options, &fault))
		return say(&fault);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (open_scraper(&options, &fault))
		return say(&fault);
	atomic_store(&running, options.threads);
	for (unsigned i = 0; i < options.threads; i++) {
		ret = pthread_create(&loops[i].thread, NULL, run, &loops[i]);
		if (ret) {
			wc_error("cannot start a thread: %s", strerror(ret));
			return 1;
		}
	}
	live.tls = tls;
	announce(&options);
	wc_notify("READY=1");
	while (atomic_load(&running)) {
		number = sigtimedwait(&set, NULL, &refresh_interval);
		if (number < 0 && errno != EAGAIN && errno != EINTR)
			return 1;
		if (is_away_gone() || (number > 0 && number != SIGHUP && (number != SIGUSR1 || atomic_load(&broken))))
			stop_all(options.threads);
		else if (number < 0)
			refresh_keys(&options);
		else if (number == SIGHUP)
			read_again(&options);
	}
	wc_scraper_free(scraper);
	wc_callbacks_free(async_calls.callbacks);
	wc_async_worker_close(async);
	wc_auth_close(auth);
	return atomic_load(&broken) ? 1 : 0;
}
