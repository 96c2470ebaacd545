/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_guard.c - copies from memory that is not there: an error each time, in several threads at once, and the end of the process where nobody copies. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "user/guard.h"

#define PAGES 8
#define THREADS 4
#define ROUNDS 2000

static size_t page;

/* PAGES pages, of which the file has so many. */
static char *make_memory(size_t there)
{
	int fd = memfd_create("test-guard", MFD_CLOEXEC);
	char *memory;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(there * page)), 0);
	memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	close(fd);
	return memory;
}

static void test_copies(void **state)
{
	char *from = make_memory(PAGES), *to = make_memory(PAGES);

	(void)state;
	memset(from, 'x', PAGES * page);
	assert_int_equal(wc_guard_copy(to, from, PAGES * page), 0);
	assert_memory_equal(to, from, PAGES * page);
	assert_int_equal(wc_guard_copy(to, from, 0), 0);
	munmap(from, PAGES * page);
	munmap(to, PAGES * page);
}

static void test_faults(void **state)
{
	char *whole = make_memory(PAGES), *part = make_memory(3);

	(void)state;
	wc_guard_open();	      /* in each: cmocka has handlers of its own meanwhile */
	for (int i = 0; i < 3; i++) { /* more than once */
		assert_int_equal(wc_guard_copy(whole, part, PAGES * page), -EFAULT);
		assert_int_equal(wc_guard_copy(part, whole, PAGES * page), -EFAULT);
		assert_int_equal(wc_guard_copy(part, whole, 3 * page), 0);
	}
	munmap(whole, PAGES * page);
	munmap(part, PAGES * page);
}

static void *copy_again_and_again(void *argument)
{
	char *part = argument, *own = malloc(PAGES * page);
	uintptr_t wrong = own ? 0 : 1;

	for (int i = 0; i < ROUNDS && own; i++) {
		wrong += wc_guard_copy(own, part, PAGES * page) != -EFAULT;
		wrong += wc_guard_copy(own, part, 3 * page) != 0;
	}
	free(own);
	return (void *)wrong;
}

static void test_threads(void **state)
{
	char *part = make_memory(3);
	pthread_t threads[THREADS];
	void *wrong;

	(void)state;
	wc_guard_open();
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, copy_again_and_again, part), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_ptr_equal(wrong, NULL);
	}
	munmap(part, PAGES * page);
}

static void test_elsewhere(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	wc_guard_open();
	fflush(stdout);
	pid = fork();
	if (!pid) {
		volatile char *part = make_memory(3);
		char byte;

		if (wc_guard_copy(&byte, (const char *)part + 5 * page, 1) != -EFAULT)
			_exit(1);
		byte = part[5 * page];
		_exit(2 + (byte == 1));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS :
					  WEXITSTATUS(status) > 3); /* a sanitizer says so, and exits */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_elsewhere),
	};

	page = (size_t)sysconf(_SC_PAGESIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
