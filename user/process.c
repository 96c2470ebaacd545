/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* process.c - see process.h. */
#include "user/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 200000 /* that are tried one by one */

static double seconds(const struct timespec *at)
{
	return (double)at->tv_sec + (double)at->tv_nsec / 1e9;
}

/* From field 20 of /proc/self/stat: threads; 22: start in ticks since boot; 23: bytes. The name before may hold anything but ends with ')'. */
static void read_stat(struct wc_process *process)
{
	static double start_s; /* two that compute it at once come to nearly the same; one is kept */
	unsigned long long start;
	char text[1024], *at;
	struct timespec boot, real;
	FILE *file = fopen("/proc/self/stat", "re");
	size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	if (file)
		fclose(file);
	text[length] = 0;
	at = strrchr(text, ')');
	if (!at ||
	    sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lu %*d %llu %lu",
		   &process->threads, &start, &process->virtual_bytes) != 3)
		return;
	__atomic_load(&start_s, &process->start_s, __ATOMIC_RELAXED);
	if (process->start_s > 0)
		return;
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &real);
	process->start_s = seconds(&real) - (seconds(&boot) - (double)start / (double)sysconf(_SC_CLK_TCK));
	__atomic_store(&start_s, &process->start_s, __ATOMIC_RELAXED);
}

/* A process that may not be dumped may not look into its own /proc/self/fd, either. */
static uint64_t count_fds(uint64_t max)
{
	DIR *folder = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (folder) {
		while (readdir(folder))
			count++;
		closedir(folder);
		return count - 3; /* . and .., and the folder itself */
	}
	for (uint64_t fd = 0; fd < max && fd < FDS_MAX; fd++)
		count += fcntl((int)fd, F_GETFD) >= 0;
	return count;
}

void wc_process_read(struct wc_process *ret_process)
{
	struct wc_process process = { 0 };
	struct rusage usage;
	struct rlimit files;
	unsigned long resident;
	FILE *file;

	if (!getrusage(RUSAGE_SELF, &usage))
		process.cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	read_stat(&process);
	file = fopen("/proc/self/statm", "re");
	if (file) {
		if (fscanf(file, "%*u %lu", &resident) == 1)
			process.resident_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
		fclose(file);
	}
	if (!getrlimit(RLIMIT_NOFILE, &files))
		process.max_fds = files.rlim_cur;
	process.open_fds = count_fds(process.max_fds);
	*ret_process = process;
}
