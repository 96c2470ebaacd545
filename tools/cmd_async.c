// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_async.c - `warmcore async`: asynchronous invocations that wait, and those that are dead, asked of the gateway over HTTP (docs/GATEWAY.md): it has
 * the store, and says who may. A token is read from a file and never an argument.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/printable.h"

#define ANSWER_MAX (8u << 20) /* a payload of 256 KiB in base64, or a page of 100 entries, is less */
#define TOKEN_MAX 256
#define TIMEOUT_MS 60000L

static struct async_options {
	const char *unix_path, *url, *token_file, *function;
	bool all, deliveries;
	long long max;
} options;

#define AT(member) .offset = offsetof(struct async_options, member)

static const struct option_spec specs[] = {
	{ .name = "unix",
	  .type = OPTION_STRING,
	  AT(unix_path),
	  .metavar = "PATH",
	  .help = "The gateway's Unix socket (its --unix)." },
	{ .name = "url",
	  .type = OPTION_STRING,
	  AT(url),
	  .metavar = "URL",
	  .fallback = "http://127.0.0.1:8080",
	  .help = "The gateway's address, without --unix." },
	{ .name = "token-file",
	  .type = OPTION_STRING,
	  AT(token_file),
	  .metavar = "FILE",
	  .help = "A bearer token of `warmcore keys create --kind bearer --role admin`, for a gateway with keys." },
	{ .name = "function",
	  .letter = 'f',
	  .type = OPTION_STRING,
	  AT(function),
	  .metavar = "NAME",
	  .help = "Those of this function only." },
	{ .name = "all", .type = OPTION_FLAG, AT(all), .help = "redrive, purge: all that there are." },
	{ .name = "deliveries",
	  .type = OPTION_FLAG,
	  AT(deliveries),
	  .help = "redrive, purge: results that could not be delivered, instead of dead letters." },
	{ .name = "max",
	  .letter = 'n',
	  .type = OPTION_INTEGER,
	  AT(max),
	  .metavar = "N",
	  .min = 1,
	  .max = 1000000,
	  .fallback = "100",
	  .help = "list: at most so many." },
	{ 0 },
};

/* --- HTTP --- */

struct answer {
	char *text;
	size_t length;
};

static size_t collect(char *bytes, size_t size, size_t count, void *context)
{
	struct answer *answer = context;
	char *grown = answer->length + count > ANSWER_MAX ? NULL : realloc(answer->text, answer->length + count + 1);

	(void)size; /* 1 */
	if (!grown)
		return 0;
	memcpy(grown + answer->length, bytes, count);
	answer->text = grown;
	answer->length += count;
	grown[answer->length] = 0;
	return count;
}

/* "Authorization: Bearer TOKEN" of the file, or an exit status after it has said what is wrong. */
static int read_token(struct cli *cli, char out[TOKEN_MAX + 32])
{
	int fd = open(options.token_file, O_RDONLY | O_CLOEXEC);
	char token[TOKEN_MAX + 1];
	ssize_t got = fd >= 0 ? read(fd, token, sizeof(token)) : -1;
	size_t length;

	if (fd >= 0)
		close(fd);
	if (got < 0)
		return cli_fail(cli, "--token-file: cannot read %s: %s", options.token_file, strerror(errno));
	token[got <= TOKEN_MAX ? got : 0] = 0; /* what is too long is none */
	length = strcspn(token, "\r\n");
	if (!length || strspn(token, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~+/=") != length)
		return cli_fail(cli, "--token-file: there is no token on the first line of %s", options.token_file);
	snprintf(out, TOKEN_MAX + 32, "Authorization: Bearer %.*s", (int)length, token);
	explicit_bzero(token, sizeof(token));
	return CLI_OK;
}

/* 0 and the answer's JSON; or an exit status after it has said what is wrong. */
static int ask(struct cli *cli, const char *method, const char *target, json_t **ret_value)
{
	char url[2048], error[CURL_ERROR_SIZE] = "", token[TOKEN_MAX + 32];
	const char *base = options.unix_path ? "http://localhost" : options.url;
	size_t base_length = strlen(base);
	struct curl_slist *fields = NULL;
	struct answer answer = { 0 };
	CURL *easy;
	CURLcode code;
	long status = 0;
	json_t *value;
	int ret;

	if (options.token_file) {
		ret = read_token(cli, token);
		if (ret)
			return ret;
	}
	while (base_length && base[base_length - 1] == '/')
		base_length--;
	snprintf(url, sizeof(url), "%.*s/system/async%s", (int)base_length, base, target);
	easy = curl_easy_init();
	if (!easy)
		return cli_fail(cli, "out of memory");
	if (options.token_file) {
		fields = curl_slist_append(NULL, token);
		explicit_bzero(token, sizeof(token));
	}
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	if (options.unix_path)
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, options.unix_path);
	if (!strcmp(method, "POST"))
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fields);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
	code = curl_easy_perform(easy);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(fields);
	curl_easy_cleanup(easy);
	value = answer.text ? json_loadb(answer.text, answer.length, 0, NULL) : NULL;
	free(answer.text);
	if (code == CURLE_OK && status == 200 && json_is_object(value)) {
		*ret_value = value;
		return CLI_OK;
	}
	if (code != CURLE_OK)
		ret = cli_fail(
			cli,
			"cannot ask the gateway at %s: %s; is `warmcore gateway` running there? --unix or --url says where",
			options.unix_path ?: options.url, *error ? error : curl_easy_strerror(code));
	else
		ret = cli_fail(cli, "%s (status %ld)",
			       cli_json_text(value, "message",
					     cli_json_text(value, "Message", "that is no gateway of warmcore")),
			       status);
	json_decref(value);
	return ret;
}

/* --- what is asked --- */

static void print_printable(const char *text)
{
	size_t size = strlen(text) + 1;
	char *out = malloc(size);

	if (out)
		fputs(printable(text, size, out, size), stdout);
	free(out);
}

/* "?function=NAME" or nothing; names need no escapes, others are refused by the gateway. */
static bool name_is_plain(const char *name)
{
	return *name &&
	       strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == strlen(name);
}

/* Pages, one after the other, until there are as many as were asked for. */
static int fetch(struct cli *cli, const char *what, json_t **ret_entries)
{
	json_t *entries = json_array(), *page = NULL, *found;
	long long next = 0;
	char target[256];
	int ret;

	do {
		snprintf(target, sizeof(target), "/%s?after=%lld%s%s", what, next, options.function ? "&function=" : "",
			 options.function ?: "");
		ret = ask(cli, "GET", target, &page);
		if (ret) {
			json_decref(entries);
			return ret;
		}
		found = json_object_get(page, "entries");
		for (size_t i = 0; i < json_array_size(found) && json_array_size(entries) < (size_t)options.max; i++)
			json_array_append(entries, json_array_get(found, i));
		next = cli_json_integer(page, "next");
		json_decref(page);
	} while (next && json_array_size(entries) < (size_t)options.max);
	*ret_entries = entries;
	return CLI_OK;
}

static const char *ago(long long ms, char out[24])
{
	struct timespec now;
	long long s;

	clock_gettime(CLOCK_REALTIME, &now);
	s = (long long)now.tv_sec - ms / 1000;
	if (s < 0)
		s = 0;
	if (s < 120)
		snprintf(out, 24, "%lld s", s);
	else if (s < 7200)
		snprintf(out, 24, "%lld min", s / 60);
	else
		snprintf(out, 24, "%lld h", s / 3600);
	return out;
}

static int run_list(struct cli *cli, const char *what)
{
	bool dead = !strcmp(what, "dead"), deliveries = !strcmp(what, "deliveries");
	json_t *entries, *entry;
	size_t index;
	int ret;

	if (!dead && !deliveries && strcmp(what, "waiting") != 0)
		return cli_usage(cli, "list: there are waiting, dead and deliveries, not '%.40s'", what);
	ret = fetch(cli, what, &entries);
	if (ret)
		return ret;
	if (cli->json) {
		json_t *object = json_pack("{s:b, s:o}", "ok", 1, "entries", entries);

		cli_print_json(object);
		json_decref(object);
		return CLI_OK;
	}
	printf("%-36s  %-8s  %-20s  %-18s  %8s  %s\n", "ID",
	       deliveries ? "SINCE" :
	       dead	  ? "DEAD FOR" :
			    "AGE",
	       "FUNCTION",
	       deliveries ? "KIND" :
	       dead	  ? "REASON" :
			    "STATE",
	       "ATTEMPTS", deliveries || dead ? "ERROR" : "");
	json_array_foreach (entries, index, entry) {
		const char *qualifier = cli_json_text(entry, "qualifier", "");
		char name[200], age[24];

		snprintf(name, sizeof(name), "%s%s%s", cli_json_text(entry, "function", "?"), *qualifier ? ":" : "",
			 qualifier);
		printf("%-36s  %-8s  %-20s  %-18s  %8lld  ", cli_json_text(entry, "id", "?"),
		       ago(cli_json_integer(entry, deliveries ? "created_ms" :
						   dead	      ? "died_ms" :
								"accepted_ms"),
			   age),
		       name,
		       cli_json_text(entry,
				     deliveries ? "kind" :
				     dead	? "reason" :
						  "state",
				     "?"),
		       cli_json_integer(entry, "attempts"));
		print_printable(cli_json_text(entry, "error", ""));
		putchar('\n');
	}
	json_decref(entries);
	return CLI_OK;
}

static int print_object(const struct cli *cli, json_t *value)
{
	const char *key;
	json_t *member;

	if (cli->json) {
		json_object_set_new(value, "ok", json_true());
		cli_print_json(value);
	} else {
		json_object_foreach (value, key, member) {
			char *text = json_is_string(member) ? NULL : json_dumps(member, JSON_ENCODE_ANY | JSON_COMPACT);

			printf("%-20s ", key);
			print_printable(text ?: json_string_value(member) ?: "");
			putchar('\n');
			free(text);
		}
	}
	json_decref(value);
	return CLI_OK;
}

static int run_show(struct cli *cli, const char *id)
{
	json_t *value = NULL;
	char target[80];
	int ret;

	if (strspn(id, "0123456789abcdefABCDEF-") != strlen(id) || strlen(id) != 36)
		return cli_usage(cli, "show: '%.40s' is no id of an invocation, 8-4-4-4-12 hexadecimal digits", id);
	snprintf(target, sizeof(target), "/show?id=%s", id);
	ret = ask(cli, "GET", target, &value);
	return ret ?: print_object(cli, value);
}

/* redrive, purge. */
static int run_change(struct cli *cli, const char *verb, const char *id)
{
	json_t *value = NULL;
	char target[200];
	int ret;

	if (!!id + !!options.function + options.all != 1)
		return cli_usage(cli, "%s: say which: an ID, --function NAME, or --all", verb);
	if (id && options.deliveries)
		return cli_usage(cli, "%s --deliveries: results are chosen by --function or --all", verb);
	if (id && (strspn(id, "0123456789abcdefABCDEF-") != strlen(id) || strlen(id) != 36))
		return cli_usage(cli, "%s: '%.40s' is no id of an invocation, 8-4-4-4-12 hexadecimal digits", verb, id);
	snprintf(target, sizeof(target), "%s/%s?%s%s", options.deliveries ? "/deliveries" : "", verb,
		 id	     ? "id=" :
		 options.all ? "all=true" :
			       "function=",
		 id		     ?:
			 options.all ? "" :
				       options.function);
	ret = ask(cli, "POST", target, &value);
	if (ret)
		return ret;
	if (cli->json)
		return print_object(cli, value);
	printf("%s: %lld\n", !strcmp(verb, "purge") ? "removed" : "to run again", cli_json_integer(value, "count"));
	json_decref(value);
	return CLI_OK;
}

static int run_async(struct cli *cli, int argc, char **argv)
{
	const char *verb = argv[0], *argument = argc > 1 ? argv[1] : NULL;
	json_t *value = NULL;
	int ret;

	if (options.function && !name_is_plain(options.function))
		return cli_usage(cli, "--function: '%.60s' is no name of a function", options.function);
	if (!strcmp(verb, "status") && argc == 1) {
		ret = ask(cli, "GET", "", &value);
		return ret ?: print_object(cli, value);
	}
	if (!strcmp(verb, "list"))
		return run_list(cli, argument ?: "dead");
	if (!strcmp(verb, "show") && argument)
		return run_show(cli, argument);
	if (!strcmp(verb, "redrive") || !strcmp(verb, "purge"))
		return run_change(cli, verb, argument);
	return cli_usage(cli, "there are status, list [waiting | dead | deliveries], show ID, redrive and purge");
}

const struct command cmd_async = {
	.name = "async",
	.positional_min = 1,
	.positional_max = 2,
	.options = &options,
	.run = run_async,
	.help = {
		.summary = "look after asynchronous invocations",
		.synopsis = "status | list [waiting | dead | deliveries] | show ID | redrive ID | purge ID [OPTIONS]",
		.description = "Asks the gateway what waits and what is dead, and what shall become of it. A dead letter is an invocation "
			       "whose attempts, or whose time, are over: redrive runs it again with all its attempts, purge removes it for "
			       "ever. A delivery is a result that could not be delivered to its destination or callback.\n\n"
			       "redrive and purge take an ID, --function NAME or --all. docs/ASYNC.md says what becomes of an invocation.",
		.examples = "  warmcore async list                       # dead letters\n"
			    "  warmcore async list deliveries --function thumbnail\n"
			    "  warmcore async redrive --function thumbnail --unix /run/warmcore.sock\n"
			    "  warmcore async purge --deliveries --all",
		.options = specs,
	},
};
