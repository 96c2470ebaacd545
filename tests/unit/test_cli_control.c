// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_cli_control.c - user/control_client.c against a fake daemon: a thread that answers one connection. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "user/control_client.h"
#include "user/fd_pass.h"

struct fake {
	int listen_fd;
	char dir[64], path[96];
	const char *answer; /* as is; NULL = close without one */
	size_t answer_len;
	unsigned before_ms; /* silence before the answer */
	bool in_bytes;	    /* one byte a send */
	int files;	    /* descriptors that come with the first byte */
	char request[65536];
	pthread_t thread;
};

static void *serve(void *argument)
{
	struct fake *fake = argument;
	int fd = accept(fake->listen_fd, NULL, NULL);
	size_t length = 0, sent = 0;
	ssize_t n;

	while (length < sizeof(fake->request) - 1 && !memchr(fake->request, '\n', length)) {
		n = recv(fd, fake->request + length, sizeof(fake->request) - 1 - length, 0);
		if (n <= 0)
			break;
		length += (size_t)n;
	}
	nanosleep(&(struct timespec){ .tv_nsec = fake->before_ms * 1000000l }, NULL);
	if (fake->files) {
		int fds[2] = { fake->listen_fd, fake->listen_fd };

		sent = !wc_fd_send(fd, fake->answer, 1, fds, fake->files);
	}
	while (fake->answer && sent < fake->answer_len) {
		n = send(fd, fake->answer + sent, fake->in_bytes ? 1 : fake->answer_len - sent, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	close(fd);
	return NULL;
}

static struct fake *fake_new(const char *answer, size_t length)
{
	struct fake *fake = calloc(1, sizeof(*fake));
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	assert_non_null(fake);
	fake->answer = answer;
	fake->answer_len = length;
	snprintf(fake->dir, sizeof(fake->dir), "/tmp/test_control.XXXXXX");
	assert_non_null(mkdtemp(fake->dir));
	snprintf(fake->path, sizeof(fake->path), "%s/control.sock", fake->dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake->path);
	fake->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fake->listen_fd, (void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fake->listen_fd, 1), 0);
	return fake;
}

static int ask_file(struct fake *fake, unsigned timeout_ms, json_t **ret_answer, int *ret_file)
{
	json_t *request = json_pack("{s:s}", "op", "ping");
	int ret;

	assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
	ret = ret_file ? wc_control_request_file_path(fake->path, request, timeout_ms, ret_answer, ret_file) :
			 wc_control_request_path(fake->path, request, timeout_ms, ret_answer);
	json_decref(request);
	pthread_join(fake->thread, NULL);
	return ret;
}

static int ask(struct fake *fake, unsigned timeout_ms, json_t **ret_answer)
{
	return ask_file(fake, timeout_ms, ret_answer, NULL);
}

static void fake_free(struct fake *fake)
{
	close(fake->listen_fd);
	unlink(fake->path);
	rmdir(fake->dir);
	free(fake);
}

static unsigned open_files(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

/* One is the caller's; more, or one with an answer that is none or that nobody asked a descriptor of, are closed. */
static void test_files(void **state)
{
	static const struct {
		const char *answer;
		int files, expected;
	} table[] = {
		{ "{\"ok\":true}\n", 0, 0 },	 { "{\"ok\":true}\n", 1, 0 },	  { "{\"ok\":true}\n", 2, -EBADMSG },
		{ "{\"ok\":tr\n", 1, -EBADMSG }, { "{\"ok\":true", 1, -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (int in_bytes = 0; in_bytes < 2; in_bytes++) {
			struct fake *fake = fake_new(table[i].answer, strlen(table[i].answer));
			unsigned before = open_files();
			json_t *answer = NULL;
			int file = -1;

			fake->in_bytes = in_bytes;
			fake->files = table[i].files;
			assert_int_equal(ask_file(fake, 5000, &answer, &file), table[i].expected);
			assert_int_equal(!answer, table[i].expected != 0);
			assert_int_equal(file >= 0, table[i].files == 1 && !table[i].expected);
			if (file >= 0) {
				assert_true(fcntl(file, F_GETFD) & FD_CLOEXEC);
				close(file);
			}
			json_decref(answer);
			answer = NULL;
			if (!table[i].expected) {
				assert_int_equal(ask(fake, 5000, &answer), 0);
				json_decref(answer);
			}
			assert_int_equal(open_files(), before);
			fake_free(fake);
		}
	}
}

static void test_answers(void **state)
{
	static const struct {
		const char *answer;
		int expected;
	} table[] = {
		{ "{\"ok\":true,\"pid\":7}\n", 0 },
		{ "{\"ok\":false,\"error\":\"no such function\",\"code\":\"not-found\"}\n", 0 },
		{ "{\"ok\":true}\n{\"ok\":false}\n", 0 }, /* what follows the line is not read */
		{ "", -EBADMSG },
		{ "\n", -EBADMSG },
		{ "{\"ok\":true}", -EBADMSG }, /* cut off: no newline */
		{ "{\"ok\":tr", -EBADMSG },
		{ "not json\n", -EBADMSG },
		{ "[true]\n", -EBADMSG },
		{ "{\"okay\":true}\n", -EBADMSG },
		{ "{\"ok\":1}\n", -EBADMSG },
		{ "{\"ok\":true,\"ok\":false}\n", -EBADMSG },
		{ "{\"ok\":false}\n", -EBADMSG },
		{ "{\"ok\":false,\"error\":5}\n", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (int in_bytes = 0; in_bytes < 2; in_bytes++) {
			struct fake *fake = fake_new(table[i].answer, strlen(table[i].answer));
			json_t *answer = NULL;
			int ret;

			fake->in_bytes = in_bytes;
			ret = ask(fake, 5000, &answer);
			if (ret != table[i].expected)
				fail_msg("%s: %d instead of %d", table[i].answer, ret, table[i].expected);
			assert_string_equal(fake->request, "{\"op\":\"ping\"}\n");
			assert_int_equal(!answer, ret != 0);
			json_decref(answer);
			fake_free(fake);
		}
	}
}

static void test_large_answer(void **state)
{
	size_t length = 3u << 20;
	char *text = malloc(length);
	struct fake *fake;
	json_t *answer;
	int n;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', length);
	n = snprintf(text, length, "{\"ok\":true,\"text\":\"");
	text[n] = 'x'; /* in place of the NUL */
	memcpy(text + length - 3, "\"}\n", 3);
	fake = fake_new(text, length);
	assert_int_equal(ask(fake, 5000, &answer), 0);
	assert_int_equal(json_string_length(json_object_get(answer, "text")), length - 3 - (size_t)n);
	json_decref(answer);
	fake_free(fake);
	free(text);
}

static void test_answer_limit(void **state)
{
	size_t length = WC_CONTROL_ANSWER_MAX + 1;
	char *text = malloc(length);
	struct fake *fake;
	json_t *answer = NULL;

	(void)state;
	assert_non_null(text);
	memset(text, ' ', length);
	fake = fake_new(text, length);
	assert_int_equal(ask(fake, 5000, &answer), -EMSGSIZE);
	assert_null(answer);
	fake_free(fake);
	free(text);
}

static void test_request_limit(void **state)
{
	size_t length = WC_CONTROL_REQUEST_MAX;
	char *text = malloc(length + 1);
	json_t *request, *answer = NULL;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', length);
	text[length] = 0;
	request = json_pack("{s:s}", "op", text);
	assert_int_equal(wc_control_request_path("/nowhere", request, 100, &answer), -EMSGSIZE);
	json_decref(request);
	free(text);
}

static void test_timeout(void **state)
{
	struct fake *fake = fake_new("{\"ok\":true}\n", 12);
	json_t *answer = NULL;

	(void)state;
	fake->before_ms = 400;
	assert_int_equal(ask(fake, 50, &answer), -ETIMEDOUT);
	assert_null(answer);
	fake_free(fake);
}

static void test_nobody_there(void **state)
{
	struct fake *fake = fake_new(NULL, 0);
	json_t *request = json_pack("{s:s}", "op", "ping"), *answer = NULL;
	char path[200];

	(void)state;
	close(fake->listen_fd); /* what a killed daemon leaves: a socket file that nobody listens on */
	assert_int_equal(wc_control_request_path(fake->path, request, 1000, &answer), -EHOSTDOWN);
	assert_int_equal(wc_control_request_path("/tmp/no-such-folder/control.sock", request, 1000, &answer),
			 -EHOSTDOWN);
	memset(path, 'p', sizeof(path));
	path[sizeof(path) - 1] = 0;
	assert_int_equal(wc_control_request_path(path, request, 1000, &answer), -ENAMETOOLONG);
	assert_int_equal(wc_control_request("no-such-node", request, 1000, &answer), -EHOSTDOWN);
	assert_int_equal(wc_control_request("../etc", request, 1000, &answer), -EINVAL);
	json_decref(request);
	fake->listen_fd = -1;
	fake_free(fake);
}

static void test_node_names(void **state)
{
	static const char *const right[] = { "default", "a", "Node_1-x", "012345678901234" };
	static const char *const wrong[] = { "", ".", "..", "a/b", "-a", "a b", "a.b", "\xc3\xa4", "0123456789012345" };

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		assert_true(wc_control_node_valid(right[i]));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(wc_control_node_valid(wrong[i]));
	assert_false(wc_control_node_valid(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),	     cmocka_unit_test(test_large_answer),
		cmocka_unit_test(test_answer_limit), cmocka_unit_test(test_request_limit),
		cmocka_unit_test(test_timeout),	     cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_node_names),   cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
