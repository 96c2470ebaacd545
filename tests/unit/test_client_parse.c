// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_client_parse.c - what user/client.c takes for an answer, and what it refuses; no network. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/shim.h"
#include "user/client.h"

static void break_nothing(struct wc_header *header)
{
	(void)header;
}

static void break_magic(struct wc_header *header)
{
	header->magic ^= 1;
}

static void break_version(struct wc_header *header)
{
	header->version = 2;
}

static void make_version_error(struct wc_header *header)
{
	header->version = 2;
	header->type = WC_TYPE_ERROR;
	header->code = wc_htons(WC_CODE_VERSION);
}

static void break_type_invoke(struct wc_header *header)
{
	header->type = WC_TYPE_INVOKE;
}

static void break_type_core_free(struct wc_header *header)
{
	header->type = WC_TYPE_CORE_FREE;
}

static void break_type_unknown(struct wc_header *header)
{
	header->type = 77;
}

static void break_header_len(struct wc_header *header)
{
	header->header_len = 47;
}

static void break_reserved(struct wc_header *header)
{
	header->reserved = 1;
}

static void break_payload_len(struct wc_header *header)
{
	header->payload_len = wc_htonl(5);
}

static void break_payload_len_huge(struct wc_header *header)
{
	header->payload_len = 0xffffffff;
}

static void break_reply_code(struct wc_header *header)
{
	header->code = wc_htons(WC_CODE_CRASH);
}

static void break_error_without_code(struct wc_header *header)
{
	header->type = WC_TYPE_ERROR;
}

static void make_error_unknown_code(struct wc_header *header)
{
	header->type = WC_TYPE_ERROR;
	header->code = wc_htons(999);
}

static void break_busy_payload(struct wc_header *header)
{
	header->type = WC_TYPE_BUSY;
	header->code = wc_htons(WC_CODE_PENDING_FULL);
}

static void test_parse(void **state)
{
	static const struct {
		const char *what;
		void (*change)(struct wc_header *header);
		size_t length;
		int expected;
	} table[] = {
		{ "a valid reply", break_nothing, 52, 0 },
		{ "empty datagram", break_nothing, 0, -EBADMSG },
		{ "one byte short of a header", break_nothing, 47, -EBADMSG },
		{ "cut in the payload", break_nothing, 51, -EBADMSG },
		{ "trailing byte", break_nothing, 53, -EBADMSG },
		{ "longer than any datagram", break_nothing, WC_HEADER_LEN + WC_PAYLOAD_MAX + 1, -EBADMSG },
		{ "magic", break_magic, 52, -EBADMSG },
		{ "other version", break_version, 52, -EBADMSG },
		{ "other version says so", make_version_error, 52, 0 },
		{ "INVOKE is no answer", break_type_invoke, 52, -EBADMSG },
		{ "CORE_FREE is no answer", break_type_core_free, 52, -EBADMSG },
		{ "unknown type", break_type_unknown, 52, -EBADMSG },
		{ "header length", break_header_len, 52, -EBADMSG },
		{ "reserved byte", break_reserved, 52, -EBADMSG },
		{ "payload length", break_payload_len, 52, -EBADMSG },
		{ "payload length 2^32 - 1", break_payload_len_huge, 52, -EBADMSG },
		{ "REPLY with a code", break_reply_code, 52, -EBADMSG },
		{ "ERROR without a code", break_error_without_code, 52, -EBADMSG },
		{ "ERROR with a code of the future", make_error_unknown_code, 52, 0 },
		{ "BUSY with a payload", break_busy_payload, 52, -EBADMSG },
	};
	static __u8 datagram[WC_HEADER_LEN + WC_PAYLOAD_MAX + 1];
	struct wc_header *header = (struct wc_header *)datagram;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct wc_client_result result = { .request_id = 42 };
		int ret;

		*header = (struct wc_header){ .magic = wc_htons(WC_MAGIC),
					      .version = WC_VERSION,
					      .type = WC_TYPE_REPLY,
					      .header_len = WC_HEADER_LEN,
					      .request_id = wc_be64(7),
					      .payload_len = wc_htonl(4) };
		table[i].change(header);
		ret = wc_client_parse(datagram, table[i].length, &result);
		if (ret != table[i].expected)
			fail_msg("%s: %d instead of %d", table[i].what, ret, table[i].expected);
		assert_int_equal(result.request_id, ret ? 42 : 7); /* untouched on failure */
	}
}

/* What is not there is not announced: a flag of an INVOKE says what its payload begins with. */
static void test_encode(void **state)
{
	struct wc_client_request request = { .function_id = 0x2003, .payload = "{}", .payload_len = 2 };
	struct wc_reference reference = { .where = wc_htonl(WC_WHERE_HERE), .length = wc_htonl(2) };
	struct wc_referring head;
	struct wc_header header;

	(void)state;
	assert_int_equal(wc_client_encode(7, &request, &header), 0);
	assert_int_equal(wc_ntohs(header.flags), WC_FLAG_TIMED);
	assert_int_equal(wc_ntohl(header.payload_len), 2);
	assert_int_equal(wc_client_encode_reference(7, &request, &reference, &head), 0);
	assert_int_equal(wc_ntohs(head.header.flags), WC_FLAG_TIMED | WC_FLAG_REFERENCE);
	assert_int_equal(wc_ntohl(head.header.payload_len), 2 + WC_REFERENCE_LEN);
	request.payload_len = WC_PAYLOAD_MAX + 1;
	assert_int_equal(wc_client_encode(7, &request, &header), -EMSGSIZE);
	request.function_id = 0;
	assert_int_equal(wc_client_encode(7, &request, &header), -EINVAL);
}

static void test_open_errors(void **state)
{
	static const char *const wrong[] = { "", "localhost", "256.1.1.1", "1.2.3.4:80", "::1%", "[::1]" };
	struct wc_client *client = (void *)0x1;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_not_equal(wc_client_open(wrong[i], 1, &client), 0);
	assert_int_equal(wc_client_open("127.0.0.1", 0, &client), -EINVAL);
	assert_int_equal(wc_client_open(NULL, 1, &client), -EINVAL);
	assert_ptr_equal(client, (void *)0x1);
	wc_client_free(NULL);
}

static void test_texts(void **state)
{
	(void)state;
	assert_string_equal(wc_code_name(WC_CODE_UNKNOWN_FUNCTION), "UNKNOWN_FUNCTION");
	assert_string_equal(wc_code_text(WC_CODE_NONE), "success");
	assert_string_equal(wc_code_name(65535), "UNKNOWN");
	for (unsigned code = 0; code <= WC_CODE_REMOVED; code++)
		assert_string_not_equal(wc_code_name(code), "UNKNOWN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_open_errors),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests_name("client_parse", tests, NULL, NULL);
}
