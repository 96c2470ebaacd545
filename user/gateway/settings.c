// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* settings.c - see settings.h. `warmcore gateway --help` says what each option means. */
#include "user/gateway/settings.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "user/control_client.h"
#include "user/gateway/auth.h"
#include "user/gateway/host_guard.h"
#include "user/gateway/state.h"
#include "user/latency.h"
#include "user/remote_wire.h"

#define LISTEN_DEFAULT "127.0.0.1:8080"
#define BACKLOG 1024

static const char *const log_formats[] = { "text", "json", NULL };

/* Octal. */
static int parse_mode(void *options, const char *text, struct wc_fault *fault)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 8);
	if (errno || *end || *text < '0' || *text > '7' || value > 0777)
		return wc_fail(fault, EINVAL, "--unix-mode: '%.40s' is no octal mode from 0 to 777", text);
	((struct wc_gateway_options *)options)->unix_mode = (unsigned)value;
	return 0;
}

/* ADDRESS:PORT, an address of IPv6 in brackets. */
static int parse_listen(void *to, const char *text, struct wc_fault *fault)
{
	struct wc_gateway_options *options = to;
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM };
	struct wc_gateway_address *address = &options->listen[options->listen_count];
	const char *colon = strrchr(text, ':'), *end = colon;
	struct addrinfo *found;
	unsigned long port = 0;
	char host[64], *stop = NULL;

	if (options->listen_count == WC_GATEWAY_LISTEN_MAX)
		return wc_fail(fault, EINVAL, "--listen: at most %u addresses", WC_GATEWAY_LISTEN_MAX);
	if (colon && colon[1] >= '0' && colon[1] <= '9')
		port = strtoul(colon + 1, &stop, 10);
	if (!stop || *stop || port > 65535)
		return wc_fail(fault, EINVAL,
			       "--listen: '%.80s' is not ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080", text);
	if (*text == '[' && colon > text && colon[-1] == ']') {
		text++;
		end--;
	}
	snprintf(host, sizeof(host), "%.*s", (int)(end - text), text);
	if (end == text || end - text >= (long)sizeof(host) || (end == colon && strchr(host, ':')) ||
	    getaddrinfo(host, colon + 1, &hints, &found))
		return wc_fail(fault, EINVAL, "--listen: '%.60s' is no IPv4 address, and no IPv6 address in brackets",
			       host);
	memcpy(&address->address, found->ai_addr, found->ai_addrlen);
	address->length = found->ai_addrlen;
	address->secure = false; /* known at the end */
	options->listen_count++;
	freeaddrinfo(found);
	return 0;
}

static int parse_callback(void *options, const char *text, struct wc_fault *fault)
{
	struct wc_callback_rules *rules = &((struct wc_gateway_options *)options)->callback_rules;
	struct wc_fault why;
	int ret = wc_callback_rules_add(rules, text, &why);

	return ret ? wc_fail(fault, -ret, "--callback-allow: %.400s", why.text) : 0;
}

static int parse_host(void *options, const char *text, struct wc_fault *fault)
{
	struct wc_fault why;
	int ret = wc_host_guard_add(&((struct wc_gateway_options *)options)->hosts, text, &why);

	return ret ? wc_fail(fault, -ret, "--allow-host: %.400s", why.text) : 0;
}

/* The usual file of keys counts when it is there, or when nobody may say that it is not. */
static int choose_keys(struct wc_gateway_options *options, struct wc_fault *fault)
{
	struct stat status;

	if (options->key_file && options->no_auth)
		return wc_fail(fault, EINVAL, "--key-file and --no-auth: ask for keys or do not, one of the two");
	if (options->key_file || options->no_auth)
		return 0;
	if (!lstat(WC_KEYS_PATH, &status) || (errno != ENOENT && errno != ENOTDIR))
		options->key_file = WC_KEYS_PATH;
	return 0;
}

/* Root has a usual place; others have to name one. */
static int choose_async(struct wc_gateway_options *options, struct wc_fault *fault)
{
	static char usual[sizeof(WC_GATEWAY_STATE_PARENT) + 32];

	options->async_named = options->async_dir != NULL;
	if (options->async_dir && options->no_async)
		return wc_fail(fault, EINVAL, "--async-dir and --no-async: store them or do not, one of the two");
	if (options->async_dir && !*options->async_dir)
		return wc_fail(fault, EINVAL, "--async-dir: the path is empty");
	if (options->async_dir || options->no_async || geteuid())
		return 0;
	snprintf(usual, sizeof(usual), "%s/%s", WC_GATEWAY_STATE_PARENT, options->node);
	options->async_dir = usual;
	return 0;
}

/* As with asynchronous invocations; who is not root has no node to change. */
static int choose_code(struct wc_gateway_options *options, struct wc_fault *fault)
{
	static char usual[sizeof(WC_GATEWAY_STATE_PARENT) + 32];

	if (options->code_dir && options->no_manage)
		return wc_fail(fault, EINVAL, "--code-dir and --no-manage: keep archives or take none, one of the two");
	if (options->code_dir && !*options->code_dir)
		return wc_fail(fault, EINVAL, "--code-dir: the path is empty");
	if (options->code_dir && options->remote_node)
		return wc_fail(
			fault, EINVAL,
			"--code-dir and --remote-node: functions are created and changed on the node's own host");
	if (options->code_dir || options->no_manage || geteuid() || options->remote_node)
		return 0;
	snprintf(usual, sizeof(usual), "%s/%s.code", WC_GATEWAY_STATE_PARENT, options->node); /* no node has a dot */
	options->code_dir = usual;
	return 0;
}

static int check(struct wc_gateway_options *options, struct wc_fault *fault)
{
	bool secure = false;
	char text[96];
	int ret;

	if (!wc_control_node_valid(options->node))
		return wc_fail(fault, EINVAL,
			       "--node: '%.40s' is not a node name: 1 to 15 of a-z A-Z 0-9 - _, not beginning with -",
			       options->node);
	if (options->remote_node) {
		char host[256], port[8];
		struct wc_fault why;

		if (wc_remote_split(options->remote_node, host, sizeof(host), port, &why))
			return wc_fail(fault, EINVAL, "--remote-node: %.200s", why.text);
		options->remote_key = options->remote_key ?: WC_REMOTE_KEY_PATH;
	}
	if (!options->listen_count && !options->unix_path) {
		ret = parse_listen(options, LISTEN_DEFAULT, fault);
		if (ret)
			return ret;
	}
	if (!options->callback_rules.count && !options->callback_rules.none)
		wc_callback_rules_add(&options->callback_rules, "public", fault);
	for (unsigned i = 0; i < options->listen_count; i++)
		options->listen[i].secure = options->tls_cert != NULL;
	ret = choose_keys(options, fault) ?: choose_async(options, fault) ?: choose_code(options, fault);
	if (ret)
		return ret;
	for (unsigned i = 0; i < options->listen_count; i++) {
		secure |= options->listen[i].secure;
		if (options->no_auth || options->key_file ||
		    wc_auth_is_local((struct sockaddr *)&options->listen[i].address))
			continue;
		wc_gateway_address_text(&options->listen[i], text, sizeof(text));
		return wc_fail(
			fault, EINVAL,
			"--listen: %s can be reached from other hosts, and there are no keys in " WC_KEYS_PATH
			": make one with `warmcore keys create`, name their file with --key-file, listen on 127.0.0.1, or "
			"say --no-auth if whoever reaches it may run every function",
			text);
	}
	if (!options->tls_cert != !options->tls_key)
		return wc_fail(fault, EINVAL, "--tls-cert and --tls-key belong together");
	if (options->tls_cert && !secure)
		return wc_fail(fault, EINVAL, "--tls-cert: there is no --listen that would use it");
	if (options->connections < options->threads || options->in_flight < options->threads)
		return wc_fail(fault, EINVAL,
			       "--connections and --in-flight must be at least --threads, which share them");
	if (options->unix_path &&
	    (!*options->unix_path || strlen(options->unix_path) >= sizeof(((struct sockaddr_un *)0)->sun_path)))
		return wc_fail(fault, EINVAL,
			       "--unix: the path is empty or longer than a Unix socket's may be (107 bytes)");
	if (!getpwnam(options->user))
		return wc_fail(fault, EINVAL, "--user: there is no user '%.40s'", options->user);
	return 0;
}

#define FIELD(field)                                                                                                   \
	.offset = offsetof(struct wc_gateway_options, field), .size = sizeof(((struct wc_gateway_options *)0)->field)

static const struct wc_knob table[] = {
	{ .name = "node",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_LINE,
	  FIELD(node),
	  .argument = "NAME",
	  .help = "The node whose functions it serves (default \"default\")." },
	{ .name = "remote-node",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(remote_node),
	  .argument = "HOST:PORT",
	  .help = "The node is on another host, where it was started with --remote; --node is what it is called here. Invocations go there "
		  "as packets, names and payloads that fit no packet over TCP. Functions are not created or changed from here." },
	{ .name = "remote-key",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(remote_key),
	  .argument = "FILE",
	  .fallback = WC_REMOTE_KEY_PATH,
	  .help = "The key for it, a copy of the node's; " WC_REMOTE_KEY_PATH " unless given." },
	{ .name = "config",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_LINE,
	  FIELD(config),
	  .argument = "FILE",
	  .help = "File with these options, but for those marked so; /etc/warmcore/NODE.gateway.yaml unless given, if it is there; none: no file. What the command line says wins." },
	{ .name = "listen",
	  .kind = WC_KNOB_OWN,
	  .when = WC_KNOB_AT_START,
	  .argument = "ADDRESS:PORT",
	  .list = true,
	  .parse = parse_listen,
	  .fallback = "127.0.0.1:8080",
	  .help = "Listen there; may be given up to 16 times. 127.0.0.1:8080 unless an address or --unix is given. An IPv6 address is "
		  "in brackets. With port 0 the kernel chooses one, which is said on standard error." },
	{ .name = "unix",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(unix_path),
	  .argument = "PATH",
	  .help = "Listen on this Unix socket." },
	{ .name = "unix-mode",
	  .kind = WC_KNOB_OWN,
	  .when = WC_KNOB_AT_START,
	  .argument = "OCTAL",
	  .parse = parse_mode,
	  .fallback = "0660",
	  .help = "Its mode: who may write to it may run every function; 0660 unless given." },
	{ .name = "tls-cert",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(tls_cert),
	  .argument = "FILE",
	  .help = "Certificate, with the chain to its authority, PEM. All addresses speak TLS 1.2 or 1.3 then; the Unix socket does "
		  "not." },
	{ .name = "tls-key",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(tls_key),
	  .argument = "FILE",
	  .help = "The private key for it, PEM." },
	{ .name = "key-file",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(key_file),
	  .argument = "FILE",
	  .help = "The file of keys that `warmcore keys` makes. With one, every address, but no Unix socket, takes only requests that "
		  "are signed or bring a token. Unless given it is /etc/warmcore/keys.json, if that is there." },
	{ .name = "no-auth",
	  .kind = WC_KNOB_FLAG,
	  .when = WC_KNOB_AT_START,
	  FIELD(no_auth),
	  .help = "Ask nobody who they are, also where other hosts reach it: whoever reaches it may run every function." },
	{ .name = "allow-host",
	  .kind = WC_KNOB_OWN,
	  .when = WC_KNOB_AT_START,
	  .argument = "NAME",
	  .list = true,
	  .parse = parse_host,
	  .help = "Where the loopback asks for no key, requests may name the gateway by this name or *.NAME in their Host, too; may be given up to "
		  "64 times. Addresses, localhost, *.localhost and names without a dot may always." },
	{ .name = "presign-max-s",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(presign_max_s),
	  .argument = "N",
	  .min = 0,
	  .max = WC_SIGV4_PRESIGN_MAX_S,
	  .help = "Take presigned requests, whose signature is in the query, that live for at most so long. With 0 none is taken; 0 unless given." },
	{ .name = "async-dir",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(async_dir),
	  .argument = "DIR",
	  .help = "Store asynchronous invocations there, which are then taken: it is made, and belongs to --user. Started as root, "
		  "/var/lib/warmcore-gateway/NODE unless given." },
	{ .name = "no-async",
	  .kind = WC_KNOB_FLAG,
	  .when = WC_KNOB_AT_START,
	  FIELD(no_async),
	  .help = "Take no asynchronous invocations, and run none that are stored." },
	{ .name = "callback-allow",
	  .kind = WC_KNOB_OWN,
	  .when = WC_KNOB_AT_START,
	  .argument = "TARGET",
	  .list = true,
	  .parse = parse_callback,
	  .fallback = "public",
	  .help = "Results of asynchronous invocations may be sent to URLs there; may be given up to 64 times: public (addresses of the "
		  "internet), NAME, *.NAME, ADDRESS or ADDRESS/BITS (IPv6 in brackets), the latter four with :PORT or without; or none alone. "
		  "public unless given, which is no loopback, link-local or private address. A NAME is trusted wherever it leads." },
	{ .name = "callback-secret-file",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(callback_secret_file),
	  .argument = "FILE",
	  .help = "Sign results that are sent to URLs with the secrets in it, one or two lines of whsec_ and base64 of 24 to 64 bytes, as "
		  "Standard Webhooks has it. Mode 0600." },
	{ .name = "callback-ca",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(callback_ca),
	  .argument = "FILE",
	  .help = "Certificates of the authorities, PEM, which sign those of https:// receivers; the system's unless given." },
	{ .name = "callback-timeout-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(callback_timeout_ms),
	  .argument = "N",
	  .min = 10,
	  .max = 60000,
	  .help = "A receiver of a result has so long to answer, name and connection included; 10000 unless given." },
	{ .name = "code-dir",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(code_dir),
	  .argument = "DIR",
	  .help = "Keep the archives of functions there that are created over the API of AWS Lambda: it is made, and belongs to who starts "
		  "the gateway. Started as root, /var/lib/warmcore-gateway/NODE.code unless given." },
	{ .name = "no-manage",
	  .kind = WC_KNOB_FLAG,
	  .when = WC_KNOB_AT_START,
	  FIELD(no_manage),
	  .help = "Functions are invoked, and neither created, changed, removed nor shown over the API of AWS Lambda." },
	{ .name = "user",
	  .kind = WC_KNOB_POINTER,
	  .when = WC_KNOB_AT_START,
	  FIELD(user),
	  .argument = "NAME",
	  .help = "Who the gateway becomes when it is started as root. It opens what it listens on, and the files above, before; nobody unless given." },
	{ .name = "threads",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(threads),
	  .argument = "N",
	  .min = 1,
	  .max = WC_GATEWAY_THREADS_MAX,
	  .help = "Event loops, each with a thread of its own; the kernel spreads connections over them. One serves tens of thousands "
		  "of requests a second; 1 unless given." },
	{ .name = "connections",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(connections),
	  .argument = "N",
	  .min = 1,
	  .max = 65536,
	  .help = "Connections at a time, of all loops; one more gets 503 and is closed; 1024 unless given." },
	{ .name = "in-flight",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(in_flight),
	  .argument = "N",
	  .min = 1,
	  .max = 65536,
	  .help = "Invocations at a time, of all loops; one more gets 429; 4096 unless given." },
	{ .name = "max-wait-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(max_wait_ms),
	  .argument = "N",
	  .min = 1,
	  .max = 600000,
	  .help = "For how long a node that is busy, or is being started again, is asked again, and how long an invocation may wait "
		  "there before it is started. Then the client gets 429 or 503; 10000 unless given." },
	{ .name = "read-timeout-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(read_timeout_ms),
	  .argument = "N",
	  .min = 10,
	  .max = 3600000,
	  .help = "A connection is closed when it did not send a whole request within this time, idle or slow; 60000 unless given." },
	{ .name = "write-timeout-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(write_timeout_ms),
	  .argument = "N",
	  .min = 10,
	  .max = 3600000,
	  .help = "A connection is cut off when its client has not taken a response within this time; 30000 unless given." },
	{ .name = "metrics-functions",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(metrics_functions),
	  .argument = "N",
	  .min = 0,
	  .max = WC_FUNCTIONS_MAX - 1,
	  .help = "Functions whose invocations by this gateway have metrics of their own, 256 unless given; the others are counted "
		  "together." },
	{ .name = "log-format",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_AT_START,
	  FIELD(log_json),
	  .choices = log_formats,
	  .argument = "text|json",
	  .help = "Form of what it logs to standard error: lines for people, text, the default, or one JSON object a line." },
	{ .name = "access-log",
	  .kind = WC_KNOB_FLAG,
	  .when = WC_KNOB_AT_START,
	  FIELD(access_log),
	  .help = "Log a line for each request: method, path, status, bytes, time, function, request id and who asked; never a query, "
		  "a header or a body." },
	{ .name = "print",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LINE,
	  FIELD(print),
	  .choices = wc_knobs_print_names,
	  .argument = "check|show|example|table",
	  .help = "Check the options and the file, show what would be in force as JSON, or print a file with each of them, or a table; then exit." },
};

const struct wc_knobs wc_gateway_knobs = { "warmcore-gateway", "%s.gateway.yaml", table,
					   sizeof(table) / sizeof(table[0]) };

static void print_help(void)
{
	printf("Usage: warmcore-gateway [OPTION ...]\n\n"
	       "Serves the functions of a warmcore node over HTTP, in the foreground. `warmcore gateway` is the same.\n\nOptions:\n");
	wc_knobs_help(&wc_gateway_knobs);
	printf("Signals: SIGTERM and SIGINT end it after the requests in flight. SIGHUP: the configuration file, the certificate and the keys are\n"
	       "read again.\n");
}

/* What is in *given, into options that are checked against each other. */
static int take(struct wc_gateway_options *options, struct wc_gateway_options *ret_asked,
		const struct wc_knobs_given *given, struct wc_fault *fault)
{
	struct wc_fault why;
	int ret;

	*options = (struct wc_gateway_options){ .node = "default",
						.user = "nobody",
						.unix_mode = 0660,
						.threads = 1,
						.connections = 1024,
						.in_flight = 4096,
						.max_wait_ms = 10000,
						.read_timeout_ms = 60000,
						.write_timeout_ms = 30000,
						.callback_timeout_ms = 10000,
						.metrics_functions = WC_LATENCY_FUNCTIONS_DEFAULT };
	ret = wc_knobs_apply(&wc_gateway_knobs, given, options, fault);
	if (ret)
		return ret;
	*ret_asked = *options;
	ret = check(options, &why);
	if (!ret)
		return 0;
	return given->path[0] ? wc_fail(fault, -ret, "%.380s (with what %.100s says)", why.text, given->path) :
				wc_fail(fault, -ret, "%s", why.text);
}

int wc_gateway_options_read(struct wc_gateway_options *options, struct wc_gateway_options *ret_asked,
			    struct wc_knobs_given *given, int argc, char **argv, struct wc_fault *fault)
{
	const char *node;
	int ret = wc_knobs_line(&wc_gateway_knobs, argc, argv, print_help, given, fault);

	if (ret)
		return ret;
	node = wc_knob_given(&wc_gateway_knobs, given, "node") ?: "default";
	if (!wc_control_node_valid(node)) /* check() has the sentence */
		return take(options, ret_asked, given, fault);
	return wc_knobs_file(&wc_gateway_knobs, node, given, fault) ?: take(options, ret_asked, given, fault);
}

int wc_gateway_options_again(struct wc_gateway_options *options, struct wc_gateway_options *ret_asked,
			     struct wc_knobs_given *given, const struct wc_gateway_source *source,
			     struct wc_fault *fault)
{
	int ret = wc_knobs_line(&wc_gateway_knobs, source->argc, source->argv, print_help, given, fault);

	if (!ret && source->text)
		ret = wc_knobs_text(&wc_gateway_knobs, source->path, source->text, source->length, given, fault);
	return ret ?: take(options, ret_asked, given, fault);
}

void wc_gateway_config_path(const struct wc_gateway_options *options, char *out, size_t size)
{
	if (options->config && !strcmp(options->config, WC_KNOBS_NO_FILE))
		snprintf(out, size, "%s", "");
	else if (options->config)
		snprintf(out, size, "%s", options->config);
	else
		snprintf(out, size, WC_KNOBS_FOLDER "/%s.gateway.yaml", options->node);
}

void wc_gateway_address_text(const struct wc_gateway_address *address, char *out, size_t size)
{
	char host[64] = "?", port[8] = "?";

	getnameinfo((const struct sockaddr *)&address->address, address->length, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(out, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* --- sockets --- */

static int listen_on(struct wc_gateway_address *address, bool shared, struct wc_fault *fault)
{
	int fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	char text[96];

	wc_gateway_address_text(address, text, sizeof(text));
	if (fd < 0)
		return wc_fail(fault, errno, "cannot listen on %s: %s", text, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (address->address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address->address, address->length) || listen(fd, BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&address->address, &address->length)) {
		int error = errno;

		close(fd);
		return wc_fail(fault, error, "cannot listen on %s: %s", text, strerror(error));
	}
	return fd;
}

int wc_gateway_listen(struct wc_gateway_options *options, int unix_fd, struct wc_http_listener *ret_listeners,
		      struct wc_fault *fault)
{
	int fd;

	for (unsigned i = 0; i < options->listen_count; i++) {
		bool local = wc_auth_is_local((struct sockaddr *)&options->listen[i].address);

		fd = listen_on(&options->listen[i], options->threads > 1, fault);
		if (fd < 0)
			return fd;
		ret_listeners[i] = (struct wc_http_listener){
			.fd = fd,
			.secure = options->listen[i].secure,
			.trusted = options->no_auth || (local && !options->key_file),
			.guarded = !options->no_auth && local && !options->key_file,
			.local = local,
			.private = local || options->listen[i].secure,
		};
	}
	if (unix_fd < 0)
		return 0;
	fd = fcntl(unix_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot listen on %s: %s", options->unix_path, strerror(errno));
	ret_listeners[options->listen_count] = (struct wc_http_listener){
		.fd = fd,
		.trusted = true,
		.local = true,
		.private = true,
	};
	return 0;
}

/* Removes a socket that nobody listens on; what else is there stays, and bind() complains. */
static void remove_stale(const struct sockaddr_un *address)
{
	struct stat status;
	int fd;

	if (lstat(address->sun_path, &status) || !S_ISSOCK(status.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
}

int wc_gateway_listen_unix(const struct wc_gateway_options *options, struct wc_fault *fault)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, error;
	mode_t mask;

	memcpy(address.sun_path, options->unix_path, strlen(options->unix_path) + 1); /* its length was checked */
	remove_stale(&address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0777 & ~options->unix_mode);
	error = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG) ? errno : 0;
	umask(mask);
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	return wc_fail(fault, error, "cannot listen on %s: %s", options->unix_path, strerror(error));
}
