// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* settings.c - see settings.h. `warmcore gateway --help` says what each option means. */
#include "user/gateway/settings.h"

#include <fcntl.h>
#include <getopt.h>
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
#include "user/gateway/state.h"
#include "user/latency.h"
#include "user/version.h"

#define LISTEN_DEFAULT "127.0.0.1:8080"
#define BACKLOG 1024

enum wc_gateway_option {
	OPTION_NODE = 1000,
	OPTION_LISTEN,
	OPTION_UNIX,
	OPTION_UNIX_MODE,
	OPTION_TLS_CERT,
	OPTION_TLS_KEY,
	OPTION_USER,
	OPTION_NO_AUTH,
	OPTION_KEY_FILE,
	OPTION_ASYNC_DIR,
	OPTION_NO_ASYNC,
	OPTION_LOG_FORMAT,
	OPTION_ACCESS_LOG,
	OPTION_NUMBERS, /* from here on, by number_table */
};

static const struct {
	const char *name;
	size_t offset;
	unsigned fallback, min, max;
} number_table[] = {
#define NUMBER(name, field, fallback, min, max)                                                                        \
	{                                                                                                              \
		name, offsetof(struct wc_gateway_options, field), fallback, min, max                                   \
	}
	NUMBER("threads", threads, 1, 1, WC_GATEWAY_THREADS_MAX),
	NUMBER("connections", connections, 1024, 1, 65536),
	NUMBER("in-flight", in_flight, 4096, 1, 65536),
	NUMBER("max-wait-ms", max_wait_ms, 10000, 1, 600000),
	NUMBER("read-timeout-ms", read_timeout_ms, 60000, 10, 3600000),
	NUMBER("write-timeout-ms", write_timeout_ms, 30000, 10, 3600000),
	NUMBER("metrics-functions", metrics_functions, WC_LATENCY_FUNCTIONS_DEFAULT, 0, WC_FUNCTIONS_MAX - 1),
	NUMBER("presign-max-s", presign_max_s, 0, 0, WC_SIGV4_PRESIGN_MAX_S),
#undef NUMBER
};
#define NUMBER_COUNT (sizeof(number_table) / sizeof(number_table[0]))

static unsigned *number_at(struct wc_gateway_options *options, size_t index)
{
	return (unsigned *)((char *)options + number_table[index].offset);
}

static int parse_number(const char *name, const char *text, int base, unsigned min, unsigned max, unsigned *ret_value,
			struct wc_fault *fault)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, base);
	if (errno || end == text || *end || *text == '-' || *text == '+' || *text == ' ' || value < min || value > max)
		return base == 8 ?
			       wc_fail(fault, EINVAL, "--%s: '%.40s' is no octal mode from %o to %o", name, text, min,
				       max) :
			       wc_fail(fault, EINVAL, "--%s: '%.40s' is no number from %u to %u", name, text, min, max);
	*ret_value = (unsigned)value;
	return 0;
}

/* ADDRESS:PORT, an address of IPv6 in brackets. */
static int parse_listen(struct wc_gateway_options *options, const char *text, bool secure, struct wc_fault *fault)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM };
	struct wc_gateway_address *address = &options->listen[options->listen_count];
	const char *colon = strrchr(text, ':'), *end = colon;
	struct addrinfo *found;
	unsigned port;
	char host[64];

	if (options->listen_count == WC_GATEWAY_LISTEN_MAX)
		return wc_fail(fault, EINVAL, "--listen: at most %u addresses", WC_GATEWAY_LISTEN_MAX);
	if (!colon || parse_number("listen", colon + 1, 10, 0, 65535, &port, fault))
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
	address->secure = secure;
	options->listen_count++;
	freeaddrinfo(found);
	return 0;
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

static int check(struct wc_gateway_options *options, struct wc_fault *fault)
{
	bool secure = false;
	char text[96];
	int ret;

	if (!wc_control_node_valid(options->node))
		return wc_fail(fault, EINVAL,
			       "--node: '%.40s' is not a node name: 1 to 15 of a-z A-Z 0-9 - _, not beginning with -",
			       options->node);
	if (!options->listen_count && !options->unix_path) {
		ret = parse_listen(options, LISTEN_DEFAULT, options->tls_cert != NULL, fault);
		if (ret)
			return ret;
	}
	ret = choose_keys(options, fault) ?: choose_async(options, fault);
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

static void print_usage(void)
{
	puts("Usage: warmcore-gateway [--node NAME] [--listen ADDRESS:PORT]... [--unix PATH] [--unix-mode OCTAL]\n"
	     "         [--tls-cert FILE --tls-key FILE] [--key-file FILE | --no-auth] [--presign-max-s N] [--user NAME]\n"
	     "         [--metrics-functions N] [--log-format text|json] [--access-log]\n"
	     "         [--async-dir DIR | --no-async]\n"
	     "         [--threads N] [--connections N] [--in-flight N] [--max-wait-ms N] [--read-timeout-ms N] [--write-timeout-ms N]\n"
	     "Serves the functions of a warmcore node over HTTP. `warmcore gateway --help` says what the options mean.");
}

static int set(struct wc_gateway_options *options, int option, const char *value, struct wc_fault *fault)
{
	size_t index = (size_t)(option - OPTION_NUMBERS);

	switch (option) {
	case OPTION_NODE:
		options->node = value;
		return 0;
	case OPTION_LISTEN: /* whether it is TLS is known at the end */
		return parse_listen(options, value, false, fault);
	case OPTION_UNIX:
		options->unix_path = value;
		return 0;
	case OPTION_UNIX_MODE:
		return parse_number("unix-mode", value, 8, 0, 0777, &options->unix_mode, fault);
	case OPTION_TLS_CERT:
		options->tls_cert = value;
		return 0;
	case OPTION_TLS_KEY:
		options->tls_key = value;
		return 0;
	case OPTION_USER:
		options->user = value;
		return 0;
	case OPTION_ASYNC_DIR:
		options->async_dir = value;
		return 0;
	case OPTION_NO_ASYNC:
		options->no_async = true;
		return 0;
	case OPTION_LOG_FORMAT:
		options->log_json = !strcmp(value, "json");
		return options->log_json || !strcmp(value, "text") ?
			       0 :
			       wc_fail(fault, EINVAL, "--log-format: '%.40s' is neither text nor json", value);
	case OPTION_ACCESS_LOG:
		options->access_log = true;
		return 0;
	case OPTION_KEY_FILE:
		options->key_file = value;
		return 0;
	case OPTION_NO_AUTH:
		options->no_auth = true;
		return 0;
	default:
		return parse_number(number_table[index].name, value, 10, number_table[index].min,
				    number_table[index].max, number_at(options, index), fault);
	}
}

int wc_gateway_options_parse(struct wc_gateway_options *options, int argc, char **argv, struct wc_fault *fault)
{
	struct option table[17 + NUMBER_COUNT] = {
		{ "node", required_argument, NULL, OPTION_NODE },
		{ "listen", required_argument, NULL, OPTION_LISTEN },
		{ "unix", required_argument, NULL, OPTION_UNIX },
		{ "unix-mode", required_argument, NULL, OPTION_UNIX_MODE },
		{ "tls-cert", required_argument, NULL, OPTION_TLS_CERT },
		{ "tls-key", required_argument, NULL, OPTION_TLS_KEY },
		{ "user", required_argument, NULL, OPTION_USER },
		{ "no-auth", no_argument, NULL, OPTION_NO_AUTH },
		{ "key-file", required_argument, NULL, OPTION_KEY_FILE },
		{ "async-dir", required_argument, NULL, OPTION_ASYNC_DIR },
		{ "no-async", no_argument, NULL, OPTION_NO_ASYNC },
		{ "log-format", required_argument, NULL, OPTION_LOG_FORMAT },
		{ "access-log", no_argument, NULL, OPTION_ACCESS_LOG },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
	};
	size_t at = 15;
	int option, ret;

	*options = (struct wc_gateway_options){ .node = "default", .user = "nobody", .unix_mode = 0660 };
	for (size_t i = 0; i < NUMBER_COUNT; i++) {
		table[at++] = (struct option){ number_table[i].name, required_argument, NULL, OPTION_NUMBERS + (int)i };
		*number_at(options, i) = number_table[i].fallback;
	}
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
		if (option == 'h' || option == 'V') {
			option == 'h' ? print_usage() : (void)puts("warmcore-gateway " WC_VERSION_TEXT);
			return 1;
		}
		if (option == ':')
			return wc_fail(fault, EINVAL, "%.60s needs a value", argv[optind - 1]);
		if (option == '?')
			return wc_fail(fault, EINVAL, "there is no option %.60s; see `warmcore gateway --help`",
				       argv[optind - 1]);
		ret = set(options, option, optarg, fault);
		if (ret)
			return ret;
	}
	if (optind < argc)
		return wc_fail(fault, EINVAL, "unexpected argument '%.60s'", argv[optind]);
	for (unsigned i = 0; i < options->listen_count; i++)
		options->listen[i].secure = options->tls_cert != NULL;
	return check(options, fault);
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
