// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_auth.c - any bytes as a request, or as a file of keys. A request that nobody signed never passes, and its denial is complete, printable
 * and without a secret; the same request, signed here, passes or is denied for what the request itself is. A file of keys is refused with a
 * sentence, or taken and then the same when it was written and read again.
 *
 * Input: one byte of what it is, then for a request lines: method, path, query, Authorization, and a header each; the rest behind an empty
 * line is the body. In each "@" of the Authorization header stands for a good credential, "#" for a signature of the right form.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "user/gateway/auth_canonical.h"
#include "user/gateway/auth_check.h"

#define MOMENT 1440938160 /* 2015-08-30T12:36:00Z */
#define ID "WCKAABCDEFGHIJKLMNOP"
#define TOKEN_ID "WCBTABCDEFGHIJKLMNOP"
#define SECRET "abcdefghijklmnopqrstABCDEFGHIJKLMNOPQRST"
#define HEADERS_MAX 160

static const char keys_text[] =
	"{\"warmcore_keys\":1,\"keys\":[{\"id\":\"" ID
	"\",\"name\":\"a\",\"kind\":\"sigv4\",\"role\":\"invoke\",\"functions\":[\"*\"],"
	"\"created_at\":\"2015-01-01T00:00:00Z\",\"secret\":\"" SECRET "\"},{\"id\":\"" TOKEN_ID
	"\",\"name\":\"b\",\"kind\":\"bearer\","
	"\"role\":\"admin\",\"functions\":[\"*\"],\"created_at\":\"2015-01-01T00:00:00Z\",\"secret\":{\"salt\":"
	"\"00000000000000000000000000000000\",\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\"}}]}";

/* Opened once, from a file that is gone by then. */
static struct wc_auth *open_auth(void)
{
	struct wc_auth_options options = { .sigv4 = { .presign_max_s = 3600, .unsigned_payload = true } };
	char folder[] = "/tmp/warmcore-fuzz-XXXXXX", path[64];
	struct wc_auth *auth = NULL;
	struct wc_fault fault;
	int fd;

	REQUIRE(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/keys.json", folder);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	REQUIRE(fd >= 0 && write(fd, keys_text, sizeof(keys_text) - 1) == (ssize_t)sizeof(keys_text) - 1);
	close(fd);
	options.keys_path = path;
	REQUIRE(!wc_auth_open(&options, &auth, &fault));
	unlink(path);
	rmdir(folder);
	return auth;
}

static struct wc_slice next_line(struct wc_slice *rest)
{
	const char *end = memchr(rest->at, '\n', rest->length);
	size_t length = end ? (size_t)(end - rest->at) : rest->length, used = end ? length + 1 : length;
	struct wc_slice line = { rest->at, length };

	*rest = (struct wc_slice){ rest->at + used, rest->length - used };
	return line;
}

/* With what stands for the parts that no fuzzer guesses. */
static struct wc_slice fill_in(struct wc_slice text, char *out, size_t size, const char *signature)
{
	size_t length = 0;

	for (size_t i = 0; i < text.length && length + 300 < size; i++) {
		char one[2] = { text.at[i], 0 };
		const char *part = text.at[i] == '@' ? ID "/20150830/us-east-1/lambda/aws4_request" :
				   text.at[i] == '#' ? signature :
						       NULL;
		size_t n = part ? strlen(part) : 1;

		memcpy(out + length, part ?: one, n);
		length += n;
	}
	return (struct wc_slice){ out, length };
}

static void check_denial(const struct wc_auth_verdict *verdict, const uint8_t *data, size_t size)
{
	REQUIRE(verdict->denial.status >= 400 && verdict->denial.status < 500 && verdict->denial.type);
	REQUIRE(verdict->denial.message[0]);
	/* A name or a date is repeated, and this fuzzer finds the secret and sends it as one. */
	REQUIRE(!strstr(verdict->denial.message, SECRET) || memmem(data, size, SECRET, strlen(SECRET)));
	REQUIRE((verdict->denial.status == 401) == !!verdict->denial.challenge);
	for (const char *c = verdict->denial.message; *c; c++)
		REQUIRE(*c >= ' ' && *c < 0x7f);
	REQUIRE(!verdict->identity.id[0]);
}

/* What the request says of itself, signed: either it cannot be, or it passes. */
static void check_signed(struct wc_auth *auth, struct wc_auth_request *request, struct wc_slice *authorization,
			 struct wc_slice raw, struct wc_auth_verdict *verdict)
{
	static char filled[16384];
	const struct wc_sigv4_options options = { .presign_max_s = 3600, .unsigned_payload = true };
	uint8_t signature[WC_SHA256_SIZE];
	struct wc_auth_denial denial;
	struct wc_sigv4_claim claim;
	struct wc_sigv4_text text;
	char digits[2 * WC_SHA256_SIZE + 1];

	if (!wc_auth_request_bounded(request, &denial) || !wc_canonical_path_is_plain(request->path) ||
	    !wc_sigv4_is_present(request) || !wc_sigv4_parse(request, &options, &claim, &denial))
		return;
	REQUIRE(strlen(claim.payload) == 64 || !strcmp(claim.payload, "UNSIGNED-PAYLOAD"));
	if (wc_sigv4_text(request, &claim, &text))
		return;
	REQUIRE(text.length < sizeof(text.string) && text.length == strlen(text.string));
	wc_sigv4_signature(&text, SECRET, strlen(SECRET), signature);
	wc_hex(digits, signature);
	if (claim.presigned || strcmp(claim.key_id, ID) || !memchr(raw.at, '#', raw.length))
		return;
	*authorization = fill_in(raw, filled, sizeof(filled), digits);
	/* It may have more than one '#', and then it is of another form now. */
	if (wc_auth_verify(auth, request, verdict) == WC_AUTH_PASSED)
		REQUIRE(!strcmp(verdict->identity.id, ID) && verdict->identity.kind == WC_KEY_SIGV4);
	else
		REQUIRE(strcmp(verdict->denial.type, "InvalidSignatureException") ||
			!strstr(verdict->denial.message, "we calculated"));
}

static void fuzz_request(const uint8_t *data, size_t size)
{
	static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
	static char filled[16384], query[65536];
	static struct wc_auth *auth;
	struct wc_auth_header headers[HEADERS_MAX];
	struct wc_slice rest = { (const char *)data + 1, size - 1 }, raw, line;
	struct wc_auth_request request = { .headers = headers,
					   .now_s = MOMENT,
					   .body = WC_AUTH_BODY_BYTES,
					   .private = data[0] & 2,
					   .plain = data[0] & 4 };
	struct wc_auth_verdict verdict;

	auth = auth ?: open_auth();
	request.method = next_line(&rest);
	request.path = next_line(&rest);
	request.query = fill_in(next_line(&rest), query, sizeof(query), zeros);
	raw = next_line(&rest);
	headers[0] = (struct wc_auth_header){ { "Authorization", 13 }, fill_in(raw, filled, sizeof(filled), zeros) };
	headers[1] = (struct wc_auth_header){ { "Host", 4 }, { "a:1", 3 } };
	request.header_count = data[0] & 8 ? 2 : 1;
	if (!raw.length) {
		headers[0] = headers[1];
		request.header_count--;
	}
	while (request.header_count < HEADERS_MAX && (line = next_line(&rest)).length) {
		const char *colon = memchr(line.at, ':', line.length);
		size_t name = colon ? (size_t)(colon - line.at) : line.length;

		headers[request.header_count++] =
			(struct wc_auth_header){ { line.at, name },
						 { line.at + name + !!colon, line.length - name - !!colon } };
	}
	request.bytes = rest;
	REQUIRE(wc_auth_verify(auth, &request, &verdict) == WC_AUTH_DENIED);
	check_denial(&verdict, data, size);
	request.body = WC_AUTH_BODY_PENDING;
	if (wc_auth_verify(auth, &request, &verdict) == WC_AUTH_DENIED)
		check_denial(&verdict, data, size);
	else
		REQUIRE(verdict.result == WC_AUTH_LATER);
	request.body = WC_AUTH_BODY_BYTES;
	if (raw.length)
		check_signed(auth, &request, &headers[0].value, raw, &verdict);
}

static void fuzz_keys(const uint8_t *data, size_t size)
{
	json_t *object = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL), *again;
	struct wc_keys *keys = wc_keys_new(), *other = wc_keys_new();
	struct wc_fault fault = { "" };
	int error;

	if (object) {
		error = wc_keys_parse(object, keys, &fault);
		REQUIRE(error <= 0 && !!error == !!fault.text[0]);
		for (size_t i = 0; !error && i < keys->count; i++) {
			const struct wc_key *key = &keys->list[i];

			REQUIRE(strlen(key->id) == WC_KEY_ID_LENGTH && !wc_key_name_wrong(key->name));
			REQUIRE(key->pattern_count >= 1 && key->pattern_count <= WC_KEY_PATTERNS_MAX &&
				key->created_s > 0);
			for (size_t j = 0; j < key->pattern_count; j++)
				REQUIRE(!wc_key_pattern_wrong(key->patterns[j]));
			REQUIRE(key->kind == WC_KEY_BEARER || strlen(key->secret.text) == WC_KEY_SECRET_LENGTH);
			json_decref(wc_key_describe(key, MOMENT));
		}
		if (!error) {
			again = wc_keys_format(keys);
			REQUIRE(again && !wc_keys_parse(again, other, &fault));
			REQUIRE(!memcmp(keys, other, sizeof(*keys)));
			json_decref(again);
		}
	}
	json_decref(object);
	wc_keys_free(keys);
	wc_keys_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* '{' and what JSON may begin with, else a request. */
	if (size && (data[0] == '{' || data[0] == '['))
		fuzz_keys(data, size);
	else if (size)
		fuzz_request(data, size);
	return 0;
}
