// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_gateway.c - `warmcore gateway`: becomes warmcore-gateway, which serves the node's functions over HTTP. */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"

#define LISTEN_MAX 16
#define CALLBACK_MAX 64
#define ARGUMENTS_MAX (2 * LISTEN_MAX + 4 * CALLBACK_MAX + 54)

static struct gateway_options {
	const char *remote_node, *remote_key;
	struct option_list listen, callback_allow, allow_host;
	const char *callback_secret_file, *callback_ca;
	const char *unix_path, *unix_mode, *tls_cert, *tls_key, *user, *key_file, *async_dir, *code_dir;
	const char *log_format, *config;
	bool no_auth, no_async, no_manage, access_log;
	long long threads, connections, in_flight, max_wait_ms, read_timeout_ms, write_timeout_ms, presign_max_s,
		metrics_functions, callback_timeout_ms;
} options = { .threads = -1,
	      .connections = -1,
	      .in_flight = -1,
	      .max_wait_ms = -1,
	      .read_timeout_ms = -1,
	      .write_timeout_ms = -1,
	      .presign_max_s = -1,
	      .metrics_functions = -1,
	      .callback_timeout_ms = -1 };

#define AT(member) .offset = offsetof(struct gateway_options, member)

static const struct option_spec specs[] = {
	{ .name = "remote-node",
	  .type = OPTION_STRING,
	  AT(remote_node),
	  .metavar = "HOST:PORT",
	  .help = "The node is on another host, where it was started with up --remote; --node is what it is called here. Invocations go there "
		  "as packets, names and payloads that fit no packet over TCP. Functions are not created or changed from here." },
	{ .name = "remote-key",
	  .type = OPTION_STRING,
	  AT(remote_key),
	  .metavar = "FILE",
	  .help = "The key for it, a copy of the node's. /etc/warmcore/remote.key unless given." },
	{ .name = "config",
	  .type = OPTION_STRING,
	  AT(config),
	  .metavar = "FILE|none",
	  .help = "File with any of these options; what is said here wins over it. /etc/warmcore/NODE.gateway.yaml unless given, if it is "
		  "there; none: no file." },
	{ .name = "listen",
	  .letter = 'l',
	  .type = OPTION_LIST,
	  AT(listen),
	  .metavar = "ADDRESS:PORT",
	  .help = "Listen there; may be given up to 16 times. 127.0.0.1:8080 unless an address or --unix is given. An IPv6 address is "
		  "in brackets. With port 0 the kernel chooses one, which is said on standard error." },
	{ .name = "unix",
	  .type = OPTION_STRING,
	  AT(unix_path),
	  .metavar = "PATH",
	  .help = "Listen on this Unix socket." },
	{ .name = "unix-mode",
	  .type = OPTION_STRING,
	  AT(unix_mode),
	  .metavar = "OCTAL",
	  .help = "Its mode: who may write to it may run every function; 0660 unless given." },
	{ .name = "tls-cert",
	  .type = OPTION_STRING,
	  AT(tls_cert),
	  .metavar = "FILE",
	  .help = "Certificate, with the chain to its authority, PEM. All addresses speak TLS 1.2 or 1.3 then; the Unix socket does "
		  "not." },
	{ .name = "tls-key",
	  .type = OPTION_STRING,
	  AT(tls_key),
	  .metavar = "FILE",
	  .help = "The private key for it, PEM." },
	{ .name = "key-file",
	  .type = OPTION_STRING,
	  AT(key_file),
	  .metavar = "FILE",
	  .help = "The file of keys that `warmcore keys` makes. With one, every address, but no Unix socket, takes only requests that "
		  "are signed or bring a token. Unless given it is /etc/warmcore/keys.json, if that is there." },
	{ .name = "no-auth",
	  .type = OPTION_FLAG,
	  AT(no_auth),
	  .help = "Ask nobody who they are, also where other hosts reach it: whoever reaches it may run every function." },
	{ .name = "allow-host",
	  .type = OPTION_LIST,
	  AT(allow_host),
	  .metavar = "NAME",
	  .help = "Where the loopback asks for no key, requests may name the gateway by this name or *.NAME in their Host, too; may be given up to "
		  "64 times. Addresses, localhost, *.localhost and names without a dot may always." },
	{ .name = "presign-max-s",
	  .type = OPTION_INTEGER,
	  AT(presign_max_s),
	  .metavar = "N",
	  .min = 0,
	  .max = 604800,
	  .help = "Take presigned requests, whose signature is in the query, that live for at most so long. With 0 none is taken; 0 unless given." },
	{ .name = "async-dir",
	  .type = OPTION_STRING,
	  AT(async_dir),
	  .metavar = "DIR",
	  .help = "Store asynchronous invocations there, which are then taken: it is made, and belongs to --user. Started as root, "
		  "/var/lib/warmcore-gateway/NODE unless given." },
	{ .name = "no-async",
	  .type = OPTION_FLAG,
	  AT(no_async),
	  .help = "Take no asynchronous invocations, and run none that are stored." },
	{ .name = "callback-allow",
	  .type = OPTION_LIST,
	  AT(callback_allow),
	  .metavar = "TARGET",
	  .help = "Results of asynchronous invocations may be sent to URLs there; may be given up to 64 times: public (addresses of the "
		  "internet), NAME, *.NAME, ADDRESS or ADDRESS/BITS (IPv6 in brackets), the latter four with :PORT or without; or none alone. "
		  "public unless given, which is no loopback, link-local or private address. A NAME is trusted wherever it leads." },
	{ .name = "callback-secret-file",
	  .type = OPTION_STRING,
	  AT(callback_secret_file),
	  .metavar = "FILE",
	  .help = "Sign results that are sent to URLs with the secrets in it, one or two lines of whsec_ and base64 of 24 to 64 bytes, as "
		  "Standard Webhooks has it. Mode 0600." },
	{ .name = "callback-ca",
	  .type = OPTION_STRING,
	  AT(callback_ca),
	  .metavar = "FILE",
	  .help = "Certificates of the authorities, PEM, which sign those of https:// receivers; the system's unless given." },
	{ .name = "callback-timeout-ms",
	  .type = OPTION_INTEGER,
	  AT(callback_timeout_ms),
	  .metavar = "N",
	  .min = 10,
	  .max = 60000,
	  .help = "A receiver of a result has so long to answer, name and connection included; 10000 unless given." },
	{ .name = "code-dir",
	  .type = OPTION_STRING,
	  AT(code_dir),
	  .metavar = "DIR",
	  .help = "Keep the archives of functions there that are created over the API of AWS Lambda: it is made, and belongs to who starts "
		  "the gateway. Started as root, /var/lib/warmcore-gateway/NODE.code unless given." },
	{ .name = "no-manage",
	  .type = OPTION_FLAG,
	  AT(no_manage),
	  .help = "Functions are invoked, and neither created, changed, removed nor shown over the API of AWS Lambda." },
	{ .name = "user",
	  .type = OPTION_STRING,
	  AT(user),
	  .metavar = "NAME",
	  .help = "Who the gateway becomes when it is started as root. It opens what it listens on, and the files above, before; nobody unless given." },
	{ .name = "threads",
	  .type = OPTION_INTEGER,
	  AT(threads),
	  .metavar = "N",
	  .min = 1,
	  .max = 64,
	  .help = "Event loops, each with a thread of its own; the kernel spreads connections over them. One serves tens of thousands "
		  "of requests a second; 1 unless given." },
	{ .name = "connections",
	  .type = OPTION_INTEGER,
	  AT(connections),
	  .metavar = "N",
	  .min = 1,
	  .max = 65536,
	  .help = "Connections at a time, of all loops; one more gets 503 and is closed; 1024 unless given." },
	{ .name = "in-flight",
	  .type = OPTION_INTEGER,
	  AT(in_flight),
	  .metavar = "N",
	  .min = 1,
	  .max = 65536,
	  .help = "Invocations at a time, of all loops; one more gets 429; 4096 unless given." },
	{ .name = "max-wait-ms",
	  .type = OPTION_INTEGER,
	  AT(max_wait_ms),
	  .metavar = "N",
	  .min = 1,
	  .max = 600000,
	  .help = "For how long a node that is busy, or is being started again, is asked again, and how long an invocation may wait "
		  "there before it is started. Then the client gets 429 or 503; 10000 unless given." },
	{ .name = "read-timeout-ms",
	  .type = OPTION_INTEGER,
	  AT(read_timeout_ms),
	  .metavar = "N",
	  .min = 10,
	  .max = 3600000,
	  .help = "A connection is closed when it did not send a whole request within this time, idle or slow; 60000 unless given." },
	{ .name = "write-timeout-ms",
	  .type = OPTION_INTEGER,
	  AT(write_timeout_ms),
	  .metavar = "N",
	  .min = 10,
	  .max = 3600000,
	  .help = "A connection is cut off when its client has not taken a response within this time; 30000 unless given." },
	{ .name = "metrics-functions",
	  .type = OPTION_INTEGER,
	  AT(metrics_functions),
	  .metavar = "N",
	  .min = 0,
	  .max = 4095,
	  .help = "Functions whose invocations by this gateway have metrics of their own, 256 unless given; the others are counted "
		  "together." },
	{ .name = "log-format",
	  .type = OPTION_CHOICE,
	  AT(log_format),
	  .metavar = "text|json",
	  .choices = "text|json",
	  .help = "Form of what it logs to standard error: lines for people, text, the default, or one JSON object a line." },
	{ .name = "access-log",
	  .type = OPTION_FLAG,
	  AT(access_log),
	  .help = "Log a line for each request: method, path, status, bytes, time, function, request id and who asked; never a query, "
		  "a header or a body." },
	{ 0 },
};

/* The gateway's command line. Numbers need storage of their own. */
struct gateway_line {
	char program[PATH_MAX];
	char numbers[10][24];
	const char *argv[ARGUMENTS_MAX];
	int argc, count;
};

static void add(struct gateway_line *line, const char *name, const char *value)
{
	if (!value)
		return;
	line->argv[line->argc++] = name;
	line->argv[line->argc++] = value;
}

static void add_number(struct gateway_line *line, const char *name, long long value)
{
	char *storage = line->numbers[line->count];

	if (value < 0)
		return;
	line->count++;
	snprintf(storage, sizeof(line->numbers[0]), "%lld", value);
	add(line, name, storage);
}

static int run_gateway(struct cli *cli, int argc, char **argv)
{
	static struct gateway_line line;

	(void)argc;
	(void)argv;
	if (options.listen.count > LISTEN_MAX)
		return cli_usage(cli, "--listen: at most %d addresses", LISTEN_MAX);
	if (options.callback_allow.count > CALLBACK_MAX || options.allow_host.count > CALLBACK_MAX)
		return cli_usage(cli, "--callback-allow, --allow-host: at most %d each", CALLBACK_MAX);
	if (cli_find_program("warmcore-gateway", line.program, sizeof(line.program)))
		return cli_fail(cli, "cannot find the program warmcore-gateway beside warmcore, in ../sbin or on PATH");
	line.argv[line.argc++] = line.program;
	add(&line, "--node", cli->node);
	add(&line, "--config", options.config);
	add(&line, "--remote-node", options.remote_node);
	add(&line, "--remote-key", options.remote_key);
	for (size_t i = 0; i < options.listen.count; i++)
		add(&line, "--listen", options.listen.items[i]);
	add(&line, "--unix", options.unix_path);
	add(&line, "--unix-mode", options.unix_mode);
	add(&line, "--tls-cert", options.tls_cert);
	add(&line, "--tls-key", options.tls_key);
	add(&line, "--user", options.user);
	add(&line, "--key-file", options.key_file);
	add(&line, "--async-dir", options.async_dir);
	for (size_t i = 0; i < options.allow_host.count; i++)
		add(&line, "--allow-host", options.allow_host.items[i]);
	for (size_t i = 0; i < options.callback_allow.count; i++)
		add(&line, "--callback-allow", options.callback_allow.items[i]);
	add(&line, "--callback-secret-file", options.callback_secret_file);
	add(&line, "--callback-ca", options.callback_ca);
	add_number(&line, "--callback-timeout-ms", options.callback_timeout_ms);
	add(&line, "--log-format", options.log_format);
	if (options.access_log)
		line.argv[line.argc++] = "--access-log";
	add(&line, "--code-dir", options.code_dir);
	if (options.no_manage)
		line.argv[line.argc++] = "--no-manage";
	if (options.no_async)
		line.argv[line.argc++] = "--no-async";
	if (options.no_auth)
		line.argv[line.argc++] = "--no-auth";
	add_number(&line, "--threads", options.threads);
	add_number(&line, "--connections", options.connections);
	add_number(&line, "--in-flight", options.in_flight);
	add_number(&line, "--max-wait-ms", options.max_wait_ms);
	add_number(&line, "--read-timeout-ms", options.read_timeout_ms);
	add_number(&line, "--write-timeout-ms", options.write_timeout_ms);
	add_number(&line, "--presign-max-s", options.presign_max_s);
	add_number(&line, "--metrics-functions", options.metrics_functions);
	fflush(stdout);
	execv(line.program, (char *const *)(uintptr_t)line.argv);
	return cli_fail(cli, "%s: %s", line.program, strerror(errno));
}

const struct command cmd_gateway = {
	.name = "gateway",
	.options = &options,
	.run = run_gateway,
	.help = {
		.summary = "serve the node's functions over HTTP",
		.synopsis = "[OPTIONS]",
		.description = "Becomes warmcore-gateway and runs until SIGTERM or SIGINT, which lets requests in flight end. It "
			       "speaks what clients speak already: the AWS Lambda API (point an SDK's endpoint at it), "
			       "/function/NAME of OpenFaaS, function URLs (/url/NAME/PATH), and CloudEvents. Invocations leave it as "
			       "packets, like those of any client. /ui/ is a page that shows the node live.\n\n"
			       "With a file of keys it takes only what is signed with one (AWS Signature Version 4, as the SDKs do it) or "
			       "brings a bearer token; without one it listens on the loopback or a Unix socket only. It needs to be "
			       "started as root, because the node's control socket is root's; it keeps no rights: a second process, which "
			       "can only look up functions and open the keys, asks the node; a third one deploys and changes functions, and "
			       "is not there with --no-manage.\n\n"
			       "docs/GATEWAY.md has all paths, status codes and limits.",
		.examples = "  warmcore gateway                          # http://127.0.0.1:8080\n"
			    "  curl -d '{\"name\":\"you\"}' http://127.0.0.1:8080/function/hello\n"
			    "  warmcore gateway --unix /run/warmcore.sock --unix-mode 0666\n"
			    "  warmcore gateway --listen 127.0.0.1:8443 --tls-cert cert.pem --tls-key key.pem",
		.options = specs,
	},
};
