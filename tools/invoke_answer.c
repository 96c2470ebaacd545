// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* invoke_answer.c - one invocation: writes its answer where it belongs; see invoke.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/invoke.h"

int invoke_exit(const struct wc_client_result *result)
{
	switch (result->type) {
	case WC_TYPE_REPLY:
		return CLI_OK;
	case WC_TYPE_BUSY:
		return CLI_NO_ANSWER;
	default:
		return CLI_FUNCTION;
	}
}

int invoke_write_file(const struct cli *cli, const char *path, const void *data, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	size_t written = 0;
	ssize_t n;

	if (fd < 0)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	while (written < length) {
		n = write(fd, (const char *)data + written, length - written);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int error = errno;

			close(fd);
			return cli_fail(cli, "%s: %s", path, strerror(error));
		}
		written += (size_t)n;
	}
	if (close(fd))
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	return CLI_OK;
}

static json_t *base64(const __u8 *data, size_t length)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc((length + 2) / 3 * 4 + 1), *out = text;
	json_t *value;

	if (!text)
		return NULL;
	for (size_t i = 0; i < length; i += 3) {
		__u32 three = (__u32)data[i] << 16;

		three |= i + 1 < length ? (__u32)data[i + 1] << 8 : 0;
		three |= i + 2 < length ? data[i + 2] : 0;
		*out++ = digits[three >> 18];
		*out++ = digits[three >> 12 & 63];
		*out++ = i + 1 < length ? digits[three >> 6 & 63] : '=';
		*out++ = i + 2 < length ? digits[three & 63] : '=';
	}
	*out = 0;
	value = json_string(text);
	free(text);
	return value;
}

static bool is_json(const struct wc_client_result *result)
{
	json_t *value;

	if (result->flags & WC_FLAG_BINARY)
		return false;
	value = json_loadb(result->payload, result->payload_len,
			   JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	json_decref(value);
	return value != NULL;
}

/*
 * The object in one line, and in it the payload under a key that says what it is: "payload", a JSON value, exactly as the
 * function wrote it, because decoding it would change numbers; or "payload_base64".
 */
static void print_with_payload(json_t *object, const struct wc_client_result *result)
{
	const char *payload = result->payload;
	char *text = NULL;

	if (is_json(result))
		text = json_dumps(object, JSON_COMPACT);
	else if (result->payload_len)
		json_object_set_new(object, "payload_base64", base64(result->payload, result->payload_len));
	if (!text) {
		cli_print_json(object);
		return;
	}
	printf("%.*s,\"payload\":", (int)strlen(text) - 1, text);
	for (size_t i = 0; i < result->payload_len; i++)
		putchar(payload[i] == '\n' || payload[i] == '\r' ? ' ' : payload[i]); /* never within a string */
	puts("}");
	free(text);
}

static void print_json(const struct invoke_target *target, const struct wc_client_result *result)
{
	static const char *const types[] = {
		[WC_TYPE_REPLY] = "REPLY", [WC_TYPE_ERROR] = "ERROR", [WC_TYPE_BUSY] = "BUSY"
	};
	json_t *object = json_pack("{s:b, s:s, s:s, s:i, s:s}", "ok", result->type == WC_TYPE_REPLY, "function",
				   target->name, "type", types[result->type], "code", result->code, "code_name",
				   wc_code_name(result->code));

	if (result->core != WC_CORE_ANY)
		json_object_set_new(object, "core", json_integer(result->core));
	json_object_set_new(object, "warm", json_boolean(result->flags & WC_FLAG_WARM));
	json_object_set_new(object, "pended", json_boolean(result->flags & WC_FLAG_PENDED));
	json_object_set_new(object, "stolen", json_boolean(result->flags & WC_FLAG_STOLEN));
	json_object_set_new(object, "cached", json_boolean(result->flags & WC_FLAG_CACHED));
	json_object_set_new(object, "binary", json_boolean(result->flags & WC_FLAG_BINARY));
	json_object_set_new(object, "wait_ns", json_integer((json_int_t)result->wait_ns));
	json_object_set_new(object, "service_ns", json_integer((json_int_t)result->service_ns));
	json_object_set_new(object, "round_trip_ns", json_integer((json_int_t)result->round_trip_ns));
	json_object_set_new(object, "retransmits", json_integer(result->retransmits));
	json_object_set_new(object, "busy", json_integer(result->busy));
	print_with_payload(object, result);
	json_decref(object);
}

static void print_show(const struct wc_client_result *result)
{
	if (result->core == WC_CORE_ANY)
		fprintf(stderr, "no core");
	else
		fprintf(stderr, "core %u, %s", result->core, result->flags & WC_FLAG_WARM ? "warm" : "cold");
	if (result->flags & WC_FLAG_PENDED)
		fprintf(stderr, ", pended");
	if (result->flags & WC_FLAG_STOLEN)
		fprintf(stderr, ", stolen");
	if (result->flags & WC_FLAG_CACHED)
		fprintf(stderr, ", answered from the cache of replies");
	fprintf(stderr, "; waited %.1f us, ran %.1f us, round trip %.1f us", (double)result->wait_ns / 1e3,
		(double)result->service_ns / 1e3, (double)result->round_trip_ns / 1e3);
	if (result->retransmits || result->busy)
		fprintf(stderr, " (%u retransmissions, %u busy)", result->retransmits, result->busy);
	fputc('\n', stderr);
}

static int print_reply(const struct cli *cli, const struct invoke_options *options,
		       const struct wc_client_result *result)
{
	bool binary = result->flags & WC_FLAG_BINARY;

	if (options->output)
		return invoke_write_file(cli, options->output, result->payload, result->payload_len);
	if (binary && !options->raw && isatty(STDOUT_FILENO))
		return cli_fail(
			cli,
			"the reply is %zu bytes of binary data; use --output FILE, a pipe, or --raw to write it to "
			"the terminal",
			result->payload_len);
	fwrite(result->payload, 1, result->payload_len, stdout);
	if (!binary && !options->raw)
		putchar('\n');
	return CLI_OK;
}

static void print_error(const struct invoke_target *target, const struct wc_client_result *result)
{
	const char *payload = result->payload;

	if (result->type == WC_TYPE_BUSY)
		fprintf(stderr,
			"warmcore invoke: %s was not run: %s (%s); the node suggests to try again after %.1f ms\n",
			target->name, wc_code_text(result->code), wc_code_name(result->code),
			(double)result->retry_after_ns / 1e6);
	else
		fprintf(stderr, "warmcore invoke: %s: %s (%s)\n", target->name, wc_code_text(result->code),
			wc_code_name(result->code));
	if (result->code == WC_CODE_VERSION)
		fprintf(stderr, "the node speaks protocol version %u, this program %d\n", result->version, WC_VERSION);
	if (result->payload_len)
		fprintf(stderr, "%.*s\n", (int)result->payload_len, payload);
}

int invoke_once(const struct cli *cli, const struct invoke_options *options, struct invoke_target *target)
{
	struct wc_client_result result;
	int ret = wc_client_invoke(target->client, &target->request, &result);

	if (ret) {
		cli_fail(cli, "%s: %s", target->name, wc_client_error_text(ret));
		return ret == -ETIMEDOUT ? CLI_NO_ANSWER : CLI_FAILED;
	}
	if (options->show)
		print_show(&result);
	if (cli->json) {
		print_json(target, &result);
		ret = options->output && result.type == WC_TYPE_REPLY ?
			      invoke_write_file(cli, options->output, result.payload, result.payload_len) :
			      CLI_OK;
		return ret ?: invoke_exit(&result);
	}
	if (result.type == WC_TYPE_REPLY)
		return print_reply(cli, options, &result);
	print_error(target, &result);
	return invoke_exit(&result);
}
