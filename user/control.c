/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* control.c - see control.h. Every request is small and bounded; a slow client holds up only itself. */
#include "user/control_internal.h"

#include "user/agent.h"
#include "user/compile.h"
#include "user/fd_pass.h"
#include "user/health.h"
#include "user/launch.h"
#include "user/live.h"
#include "user/log.h"
#include "user/member.h"
#include "user/lead.h"
#include "user/lend.h"
#include "user/members.h"
#include "user/order.h"
#include "user/pending.h"
#include "user/placement.h"
#include "user/reload.h"
#include "user/scheduler.h"
#include "user/shared_registry.h"
#include "user/secrets.h"
#include "user/status.h"
#include "user/takeover.h"
#include "user/traces.h"
#include "user/upgrade.h"
#include "user/version.h"
#include "user/warmth.h"
#include "user/watch.h"
#include "user/zygotes.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX (1 << 20)
#define REQUEST_SECONDS 10
#define CONNECTIONS_MAX 32
#define LOG_TEXT_MAX (256 << 10)

static struct {
	int listener, stop;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t done;
	int connections, held; /* held: of them, those that are answered and wait for the peer's end */
} control = {
	.listener = -1,
	.stop = -1,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
};

struct connection {
	struct wc_node *node;
	int fd;
};

/* --- answers --- */

static json_t *fail(const char *code, const char *text)
{
	char plain[sizeof(((struct wc_fault *)0)->text)];
	json_t *valid = json_string(text);

	if (!valid) { /* names of files may be any bytes, and a sentence may be cut off within a letter */
		snprintf(plain, sizeof(plain), "%s", text);
		for (char *c = plain; *c; c++)
			*c = *c & 0x80 ? '?' : *c;
		text = plain;
	}
	json_decref(valid);
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text);
}

static json_t *fail_fault(int error, const struct wc_fault *fault)
{
	return fail(error == -ENOENT			? "not-found" :
		    error == -EINVAL			? "bad-request" :
		    error == -ENOSPC || error == -EFBIG ? "limit" :
		    error == -EEXIST			? "conflict" :
		    error == -ESTALE			? "precondition" :
							  "failed",
		    fault->text);
}

json_t *wc_control_fail(const char *code, const char *text)
{
	return fail(code, text);
}

json_t *wc_control_fault(int error, const struct wc_fault *fault)
{
	return fail_fault(error, fault);
}

/* Agents may hold instances of what was replaced or removed: let them look. */
static void sweep_all(struct wc_node *node)
{
	for (uint32_t i = 0; i < node->agents_started; i++)
		wc_agent_wake(node, i);
}

/* What its author may not expect of a function that is good: array of sentences. */
static pthread_mutex_t secrets_lock = PTHREAD_MUTEX_INITIALIZER; /* a secret is of a function that is there */

static json_t *warnings_of(const struct wc_manifest *manifest)
{
	const char *variable = wc_order_import_variable(manifest);
	json_t *list = json_array();

	if (variable)
		json_array_append_new(
			list,
			json_sprintf("libraries look at %.100s while they are imported, so each instance imports %s by "
				     "itself and cold starts take longer",
				     variable, manifest->libraries));
	return list;
}

/* Another version of a function, or another function, is current. */
void wc_control_switched(struct wc_node *node)
{
	wc_zygotes_changed(node->launcher.zygotes);
	wc_scheduler_wake(node);
	wc_pending_changed(node); /* the limits may be others */
	wc_members_changed(node);
	sweep_all(node);
}

static json_t *do_deploy(struct wc_node *node, json_t *request)
{
	const char *source = json_string_value(json_object_get(request, "source"));
	struct wc_manifest manifest;
	enum wc_deployed what;
	struct wc_fault fault;
	struct wc_fn *fn;
	json_t *answer;
	uint32_t id;
	int error;

	if (!source || source[0] != '/')
		return fail("bad-request", "\"source\" must be an absolute path");
	if (!wc_control_id(request, &id))
		return fail("bad-request", WC_CONTROL_NO_ID);
	json_object_del(request, "id"); /* it is none of the settings */
	error = wc_manifest_parse(&manifest, request, &fault);
	if (error)
		return fail_fault(error, &fault);
	error = wc_functions_permitted(node->functions, &manifest, &fault);
	if (error) {
		wc_manifest_release(&manifest);
		return fail_fault(error, &fault);
	}
	error = wc_functions_deploy_as(node->functions, &manifest, &(struct wc_source){ .path = source }, id, &fn,
				       &what, &fault);
	if (error)
		return fail_fault(error, &fault);
	/* Also when nothing changed: Python may have, or a crash came in between. Before instances are provided. */
	wc_compile(&node->launcher, fn, control.stop);
	wc_shared_accept(node, fn->manifest.name, NULL, false);
	answer = json_pack("{s:b, s:o, s:b, s:b, s:o}", "ok", 1, "function", wc_fn_json(fn), "replaced",
			   what == WC_REPLACED, "unchanged", what == WC_UNCHANGED, "warnings",
			   warnings_of(&fn->manifest));
	if (what != WC_UNCHANGED) {
		wc_info("function %s deployed as %u version %u", fn->manifest.name, fn->id, fn->version);
		wc_control_switched(node);
	}
	wc_fn_put(fn);
	return answer;
}

static json_t *do_versions(struct wc_node *node, const char *name, json_t *request)
{
	struct wc_fault fault;
	json_t *versions;
	int error = wc_functions_versions(node->functions, name, &versions, &fault);

	(void)request;
	return error ? fail_fault(error, &fault) : json_pack("{s:b, s:o}", "ok", 1, "versions", versions);
}

static json_t *do_rollback(struct wc_node *node, const char *name, json_t *request)
{
	json_t *version = json_object_get(request, "version");
	struct wc_fault fault;
	struct wc_fn *fn;
	json_t *answer;
	uint32_t from;
	int error;

	if (version &&
	    (!json_is_integer(version) || json_integer_value(version) < 1 || json_integer_value(version) > UINT32_MAX))
		return fail("bad-request", "\"version\" must be the number of a version; see `warmcore versions`");
	error = wc_functions_rollback(node->functions, name, (uint32_t)json_integer_value(version), &fn, &from, &fault);
	if (error)
		return fail_fault(error, &fault);
	answer = json_pack("{s:b, s:o, s:I}", "ok", 1, "function", wc_fn_json(fn), "from", (json_int_t)from);
	wc_info("function %s back from version %u to %u", name, from, fn->version);
	wc_control_switched(node);
	wc_fn_put(fn);
	return answer;
}

static json_t *do_set(struct wc_node *node, json_t *request)
{
	json_t *knobs = json_object_get(request, "knobs");
	struct wc_fault fault;
	int error;

	if (!json_is_object(knobs) || !json_object_size(knobs))
		return fail("bad-request", "\"knobs\" must be an object with at least one of them");
	error = wc_reload_set(node, knobs, &fault);
	if (error)
		return fail_fault(error, &fault);
	wc_info("knobs set: policy %s, order %s, prefer %s", wc_policy_names[node->options.policy],
		wc_order_names[node->options.order], wc_prefer_names[node->options.prefer]);
	return wc_status(node);
}

static json_t *do_reload(struct wc_node *node)
{
	struct wc_fault fault;
	json_t *answer;
	int error = wc_reload(node, &answer, &fault);

	return error ? fail_fault(error, &fault) : answer;
}

/* The main loop does it. */
static json_t *do_upgrade(json_t *request)
{
	const char *program = json_string_value(json_object_get(request, "program"));
	json_t *timeout = json_object_get(request, "timeout_ms");
	struct wc_fault fault;
	int pid, error;

	if (!program || (timeout && (!json_is_integer(timeout) || json_integer_value(timeout) < 1 ||
				     json_integer_value(timeout) > WC_UPGRADE_TIMEOUT_MS_MAX)))
		return fail("bad-request", "\"program\" must be a path, \"timeout_ms\" a number from 1 to 3600000");
	error = wc_upgrade_ask(program, timeout ? (uint32_t)json_integer_value(timeout) : WC_UPGRADE_TIMEOUT_MS, &pid,
			       &fault);
	return error ? fail_fault(error, &fault) : json_pack("{s:b, s:i}", "ok", 1, "pid", pid);
}

static json_t *do_drain(struct wc_node *node, const char *name, const json_t *request)
{
	struct wc_fault fault;
	int error;

	if (!name || !json_is_boolean(json_object_get(request, "drain")))
		return fail("bad-request", "\"name\" must be that of a node, \"drain\" true or false");
	error = wc_members_drain(node, name, json_is_true(json_object_get(request, "drain")), &fault);
	return error ? fail_fault(error, &fault) : json_pack("{s:b}", "ok", 1);
}

static json_t *do_leave(struct wc_node *node)
{
	struct wc_fault fault;
	int error = wc_member_leave(node, &fault);

	return error ? fail_fault(error, &fault) : json_pack("{s:b}", "ok", 1);
}

static json_t *do_join(struct wc_node *node, const json_t *request)
{
	const json_t *schedulers = json_object_get(request, "schedulers");
	struct wc_fault fault;
	int error;

	if (schedulers && !json_is_string(schedulers))
		return fail("bad-request", "\"schedulers\" must be HOST:PORT, or several with commas");
	error = wc_member_join(node, json_string_value(schedulers), &fault);
	return error ? fail_fault(error, &fault) : json_pack("{s:b}", "ok", 1);
}

/* It is on until the connection ends: serve(). */
static json_t *do_trace(struct wc_node *node, json_t *request)
{
	struct wc_fault fault;
	int error;
	json_t *answer = wc_traces_begin(node, request, &fault, &error);

	return answer ?: fail_fault(error, &fault);
}

static json_t *do_secret(struct wc_node *node, const char *name, json_t *request)
{
	const char *state = node->options.state_dir, *key = json_string_value(json_object_get(request, "key"));
	const char *action = json_string_value(json_object_get(request, "action")) ?: "";
	json_t *value = json_object_get(request, "value"), *answer = NULL;
	struct wc_fn *fn = wc_functions_find(node->functions, name);
	struct wc_fault fault;
	int error = 0;

	if (!fn)
		return fail("not-found", "no function of this name is deployed; see `warmcore list`");
	if (!strcmp(action, "list"))
		answer = json_pack("{s:b, s:o}", "ok", 1, "keys", wc_secrets_list(state, name));
	else if (!strcmp(action, "set") && key && json_is_string(value))
		error = wc_secret_set(state, name, wc_uid_base(node->options.name) + WC_FUNCTION_SLOT(fn->id), key,
				      json_string_value(value), json_string_length(value), &fault);
	else if (!strcmp(action, "remove") && key)
		error = wc_secret_remove(state, name, key, &fault);
	else
		answer = fail("bad-request",
			      "\"action\" must be list, set (with \"key\" and \"value\") or remove (with \"key\")");
	if (error)
		answer = fail_fault(error, &fault);
	if (!answer)
		answer = json_pack("{s:b, s:s}", "ok", 1, "key", key);
	wc_fn_put(fn);
	return answer;
}

/* Instances that idle only: what runs is not touched. Without a name, those of all functions. */
static json_t *do_evict(struct wc_node *node, const char *name, json_t *request)
{
	struct wc_fn *fn = NULL;
	struct wc_fault fault;
	uint32_t count;
	int error = name ? wc_control_find(node, name, request, &fn, &fault) : 0;

	if (error)
		return fail_fault(error, &fault);
	count = wc_agents_evict(node, fn);
	wc_fn_put(fn);
	return json_pack("{s:b, s:i}", "ok", 1, "stopped", (int)count);
}

/* Without a name: of all functions. */
static json_t *do_warmth(struct wc_node *node, const char *name)
{
	struct wc_fn *fn = name ? wc_functions_find(node->functions, name) : NULL;

	if (name && !fn)
		return fail("not-found", "no function of this name is deployed; see `warmcore list`");
	wc_fn_put(fn);
	return json_pack("{s:b, s:o, s:o}", "ok", 1, "node", wc_warmth_json(node->warmth), "functions",
			 wc_warmth_list(node->warmth, name));
}

/* The last lines of a file, at most LOG_TEXT_MAX bytes, as valid UTF-8. */
static json_t *tail_of(const char *path, json_int_t lines)
{
	char *text = malloc(LOG_TEXT_MAX + 1), *at;
	ssize_t n = 0;
	json_t *value;
	size_t len;
	off_t size;
	int fd;

	if (!text)
		return json_string("");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = lseek(fd, 0, SEEK_END);
		n = pread(fd, text, LOG_TEXT_MAX, size > LOG_TEXT_MAX ? size - LOG_TEXT_MAX : 0);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;
	at = text + (n > 0 ? n : 0);
	while (lines > 0 && at > text) {
		if (at[-1] == '\n' && at != text + n && lines-- <= 1)
			break;
		at--;
	}
	len = (size_t)(text + (n > 0 ? n : 0) - at);
	for (size_t i = 0; i < len; i++) /* a function may print anything */
		if (!at[i])
			at[i] = '?';
	value = json_stringn(at, len);
	for (size_t i = 0; !value && i < len; i++)
		if ((unsigned char)at[i] >= 0x80)
			at[i] = '?';
	if (!value)
		value = json_stringn(at, len);
	free(text);
	return value;
}

/* Also of a function that was removed, as long as its log is there. Without a name: where the daemon's own log is. */
static json_t *do_logs(struct wc_node *node, const char *name, json_t *request)
{
	json_t *lines = json_object_get(request, "lines");
	struct wc_fn *fn = name ? wc_functions_find(node->functions, name) : NULL;
	char path[512];

	if (!name)
		return json_pack("{s:b, s:s}", "ok", 1, "path", node->options.log);
	if (!wc_logs_path(name, path, sizeof(path)) && !fn) {
		wc_fn_put(fn);
		return fail("not-found",
			    "no function of this name is deployed, nor is there a log of one that was; see "
			    "`warmcore list`");
	}
	wc_fn_put(fn);
	wc_watch_drain(name);
	wc_logs_flush(name);
	return json_pack("{s:b, s:s, s:o}", "ok", 1, "path", path, "text",
			 tail_of(path, json_is_integer(lines) ? json_integer_value(lines) : 100));
}

/* The end of what one invocation printed, as the function printed it, as far as JSON can hold it. */
static json_t *do_tail(struct wc_node *node, const char *name, json_t *request)
{
	const char *id = json_string_value(json_object_get(request, "request"));
	struct wc_fault fault;
	struct wc_fn *fn;
	int error = wc_control_find(node, name, request, &fn, &fault);
	char tail[WC_LOG_TAIL_MAX], text[4 * WC_LOG_TAIL_MAX];
	size_t length = 0, at = 0;
	uint64_t number;
	char *end;

	if (error)
		return fail_fault(error, &fault);
	number = id ? strtoull(id, &end, 16) : 0;
	if (!id || !isxdigit((unsigned char)id[0]) || *end || strlen(id) > 16) {
		wc_fn_put(fn);
		return fail("bad-request", "\"request\" must be the id of a request, up to 16 hexadecimal digits");
	}
	length = wc_log_tail(fn->id, number, tail);
	wc_fn_put(fn);
	for (size_t i = 0; i < length;) { /* line by line, because the newlines stay */
		const char *newline = memchr(tail + i, '\n', length - i);
		size_t line = newline ? (size_t)(newline - tail) - i : length - i;

		at += wc_log_escape(text + at, tail + i, line);
		i += line;
		if (newline)
			text[at++] = tail[i++];
	}
	return json_pack("{s:b, s:o}", "ok", 1, "text", json_stringn(text, at));
}

/* What is asked of one function, by name. */
static const struct {
	const char *op;
	json_t *(*run)(struct wc_node *node, const char *name, json_t *request);
	pthread_mutex_t *lock; /* or NULL */
} of_functions[] = {
	{ "resolve", wc_control_resolve, NULL },
	{ "remove", wc_control_remove, &secrets_lock },
	{ "secret", do_secret, &secrets_lock },
	{ "versions", do_versions, NULL },
	{ "rollback", do_rollback, NULL },
	{ "limit", wc_control_limit, &wc_knobs_lock },
	{ "settings", wc_control_settings, NULL },
	{ "configure", wc_control_configure, &wc_knobs_lock },
	{ "publish", wc_control_publish, NULL },
	{ "published", wc_control_published, NULL },
	{ "alias", wc_control_alias, &wc_knobs_lock },
	{ "concurrency", wc_control_concurrency, &wc_knobs_lock },
	{ "tail", do_tail, NULL },
};

json_t *wc_control_answer(struct wc_node *node, json_t *request)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	const char *name = json_string_value(json_object_get(request, "name"));
	json_t *answer;

	if (!op)
		return fail("bad-request", "the request has no \"op\"");
	if (!strcmp(op, "ping"))
		return json_pack("{s:b, s:s, s:i}", "ok", 1, "version", WC_VERSION_TEXT, "pid", (int)getpid());
	if (!strcmp(op, "status"))
		return wc_status(node);
	if (!strcmp(op, "metrics"))
		return wc_control_metrics(node);
	if (!strcmp(op, "live"))
		return wc_live(node);
	if (!strcmp(op, "list")) {
		answer = wc_functions_list(node->functions, json_is_true(json_object_get(request, "all")));
		wc_placement_times(node, answer);
		return json_pack("{s:b, s:o}", "ok", 1, "functions", answer);
	}
	if (!strcmp(op, "registry"))
		return json_pack("{s:b, s:o}", "ok", 1, "registry", wc_functions_check(node->functions));
	if (!strcmp(op, "nodes"))
		return json_pack("{s:b, s:o, s:o, s:o, s:o}", "ok", 1, "cluster", wc_members_json(node), "membership",
				 wc_member_json(node), "election", wc_lead_json(node), "lent_to", wc_lend_json(node));
	if (!strcmp(op, "health"))
		return wc_health(node);
	if (!strcmp(op, "drain"))
		return do_drain(node, name, request);
	if (!strcmp(op, "leave"))
		return do_leave(node);
	if (!strcmp(op, "join"))
		return do_join(node, request);
	if (!strcmp(op, "check"))
		return json_pack("{s:b, s:o}", "ok", 1, "problems", wc_status_check(node));
	if (!strcmp(op, "stop")) {
		kill(getpid(), SIGTERM);
		return json_pack("{s:b, s:b}", "ok", 1, "stopping", 1);
	}
	if (!strcmp(op, "deploy"))
		return do_deploy(node, request);
	if (!strcmp(op, "set"))
		return do_set(node, request);
	if (!strcmp(op, "reload"))
		return do_reload(node);
	if (!strcmp(op, "config"))
		return wc_reload_show(node);
	if (!strcmp(op, "upgrade"))
		return do_upgrade(request);
	if (!strcmp(op, "trace"))
		return do_trace(node, request);
	if (!strcmp(op, "evict"))
		return do_evict(node, name, request);
	if (!strcmp(op, "logs"))
		return do_logs(node, name, request);
	if (!strcmp(op, "warmth"))
		return do_warmth(node, name);
	for (size_t i = 0; i < sizeof(of_functions) / sizeof(of_functions[0]); i++) {
		if (strcmp(op, of_functions[i].op) != 0)
			continue;
		if (!name)
			return fail("bad-request", "the request has no \"name\"");
		if (of_functions[i].lock)
			pthread_mutex_lock(of_functions[i].lock);
		answer = of_functions[i].run(node, name, request);
		if (of_functions[i].lock)
			pthread_mutex_unlock(of_functions[i].lock);
		return answer;
	}
	return fail("bad-request", "unknown \"op\"");
}

json_t *wc_control_answer_file(struct wc_node *node, json_t *request, int *ret_file)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	const char *name = json_string_value(json_object_get(request, "name"));

	*ret_file = -1;
	if (!op || strcmp(op, "code") != 0)
		return wc_control_answer(node, request);
	return name ? wc_control_code(node, name, request, control.stop, ret_file) :
		      fail("bad-request", "the request has no \"name\"");
}

/* --- connections --- */

/* Read one line. NULL: too long, too slow, or closed. The caller frees it. */
static char *read_line(int fd)
{
	size_t len = 0, size = 4096;
	char *line = malloc(size);

	while (line) {
		ssize_t n = recv(fd, line + len, size - len - 1, 0);
		char *end;

		if (n <= 0)
			break;
		end = memchr(line + len, '\n', (size_t)n);
		len += (size_t)n;
		line[len] = 0;
		if (end) {
			*end = 0;
			return line;
		}
		if (len + 1 == size) {
			char *larger = size >= REQUEST_MAX ? NULL : realloc(line, size * 2);

			if (!larger)
				break;
			line = larger;
			size *= 2;
		}
	}
	free(line);
	return NULL;
}

static void send_all(int fd, const char *text)
{
	size_t len = strlen(text), at = 0;

	while (at < len) {
		ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

/* A descriptor comes with the first byte. */
static void send_answer(int fd, const char *text, int file)
{
	if (file >= 0 && *text && wc_fd_send(fd, text++, 1, &file, 1))
		return;
	send_all(fd, text);
	send_all(fd, "\n");
}

static void count_held(int more)
{
	pthread_mutex_lock(&control.lock);
	control.held += more;
	pthread_mutex_unlock(&control.lock);
}

/* Who traces does so as long as the connection lasts. */
static void hold(const struct connection *connection, const json_t *answer)
{
	struct pollfd fds[2] = {
		{ .fd = connection->fd, .events = POLLIN | POLLRDHUP },
		{ .fd = control.stop, .events = POLLIN },
	};

	count_held(1);
	/* The peer has nothing more to say: whatever comes is its end. */
	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	count_held(-1); /* its end may take a while: for that it is a request as any other */
	wc_traces_end(connection->node, answer, control.stop);
}

static void *serve(void *argument)
{
	struct connection *connection = argument;
	char *line = read_line(connection->fd), *text;
	json_error_t why;
	json_t *request, *answer;
	int file = -1;

	if (line) {
		request = json_loads(line, JSON_REJECT_DUPLICATES, &why);
		answer = json_is_object(request) ? wc_control_answer_file(connection->node, request, &file) :
						   fail("bad-request", "the request is not a JSON object in one line");
		text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
		if (text)
			send_answer(connection->fd, text, file);
		if (file >= 0)
			close(file);
		if (json_object_get(answer, "session"))
			hold(connection, answer);
		free(text);
		json_decref(answer);
		json_decref(request);
		free(line);
	}
	close(connection->fd);
	free(connection);
	pthread_mutex_lock(&control.lock);
	control.connections--;
	pthread_cond_signal(&control.done);
	pthread_mutex_unlock(&control.lock);
	return NULL;
}

static void accept_one(struct wc_node *node)
{
	struct timeval patience = { .tv_sec = REQUEST_SECONDS };
	struct connection *connection;
	pthread_t thread;
	bool room;
	int fd = accept4(control.listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	pthread_mutex_lock(&control.lock);
	room = control.connections < CONNECTIONS_MAX;
	control.connections += room;
	pthread_mutex_unlock(&control.lock);
	connection = room ? malloc(sizeof(*connection)) : NULL;
	if (connection) {
		connection->node = node;
		connection->fd = fd;
		if (!pthread_create(&thread, NULL, serve, connection)) {
			pthread_detach(thread);
			return;
		}
		free(connection);
	}
	if (room) {
		pthread_mutex_lock(&control.lock);
		control.connections--;
		pthread_mutex_unlock(&control.lock);
	}
	send_all(fd, "{\"ok\":false,\"code\":\"limit\",\"error\":\"too many control requests at once\"}\n");
	close(fd);
}

static void *control_main(void *argument)
{
	struct pollfd fds[2] = {
		{ .fd = control.listener, .events = POLLIN },
		{ .fd = control.stop, .events = POLLIN },
	};

	pthread_setname_np(pthread_self(), "control");
	wc_sched_enrol_self(((struct wc_node *)argument)->sched, WC_NONE);
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		if (fds[0].revents)
			accept_one(argument);
	}
}

static int start_thread(struct wc_node *node, struct wc_fault *fault)
{
	int error = pthread_create(&control.thread, NULL, control_main, node);

	if (error)
		return wc_fail(fault, error, "cannot start the control thread: %s", strerror(error));
	control.started = true;
	return 0;
}

/* Take no request any more. */
static void stop_thread(void)
{
	uint64_t one = 1;

	if (!control.started || write(control.stop, &one, sizeof(one)) != sizeof(one))
		return;
	pthread_join(control.thread, NULL);
	control.started = false;
}

void wc_control_pause(void)
{
	stop_thread();
}

int wc_control_under_way(bool with_held)
{
	int count;

	pthread_mutex_lock(&control.lock);
	count = control.connections - (with_held ? 0 : control.held);
	pthread_mutex_unlock(&control.lock);
	return count;
}

int wc_control_listener(void)
{
	return control.listener;
}

int wc_control_resume(struct wc_node *node, struct wc_fault *fault)
{
	uint64_t count;
	int error;

	if (control.started)
		return 0;
	if (read(control.stop, &count, sizeof(count)) < 0)
		errno = 0;
	error = start_thread(node, fault);
	wc_traces_apply(node); /* those who traced were let go of */
	return error;
}

void wc_control_leave(void)
{
	pthread_mutex_lock(&control.lock);
	while (control.connections)
		pthread_cond_wait(&control.done, &control.lock);
	pthread_mutex_unlock(&control.lock);
}

int wc_control_start(struct wc_node *node, struct wc_fault *fault)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int error;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/control.sock", node->run_dir);
	control.connections = 0;
	control.stop = eventfd(0, EFD_CLOEXEC);
	if (node->takeover) { /* who connects meanwhile waits in its queue */
		control.listener = node->takeover->listener;
		return start_thread(node, fault);
	}
	control.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control.stop < 0 || control.listener < 0)
		return wc_fail(fault, errno, "cannot open the control socket: %s", strerror(errno));
	unlink(address.sun_path);
	mask = umask(0177);
	error = bind(control.listener, (struct sockaddr *)&address, sizeof(address)) || listen(control.listener, 64);
	umask(mask);
	if (error)
		return wc_fail(fault, errno, "cannot listen on %s: %s", address.sun_path, strerror(errno));
	return start_thread(node, fault);
}

void wc_control_stop(struct wc_node *node)
{
	char path[160];

	stop_thread();
	wc_control_leave();
	if (control.listener >= 0)
		close(control.listener);
	if (control.stop >= 0)
		close(control.stop);
	control.listener = control.stop = -1;
	snprintf(path, sizeof(path), "%s/control.sock", node->run_dir);
	unlink(path);
}
