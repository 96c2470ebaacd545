/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * roundtrip.c - what a runtime's half of the channel costs: plays the agent for several instances at once, on one
 * CPU with them, and times request-to-answer round trips. The figures of docs/RUNTIMES.md come from here.
 *
 *     roundtrip [-c CPU] [-r ROUNDS] [-n CALLS] [-b PAYLOAD_BYTES] [-w] -- NAME TRANSPORT COMMAND... [-- NAME ...]
 *
 * -w leaves WC_CHANNEL_FEATURE_WAITING out. TRANSPORT is futex or socket; COMMAND is run with WARMCORE_CHANNEL set (use env(1) for the other variables). Each
 * round visits every target once, so a noisy neighbour hits all of them; the first target is the floor of the
 * ratios. One line a target: median over the rounds of each round's p50 and p99, and the ratio of the p50s, which is
 * itself the median of the rounds' ratios. Exit status 1 when any target fails.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../abi/channel_futex.h"

#define TARGETS_MAX 16
#define ROUNDS_MAX 1000
#define CALLS_MAX 1000000
#define WARM_UP_CALLS 1000

struct target {
	const char *name;
	char **command;
	int use_socket;
	int fd;
	pid_t pid;
	uint32_t sequence;
	struct wc_channel *channel;
	double start_ms;	/* spawn until READY */
	double p50[ROUNDS_MAX]; /* us, of each round */
	double p99[ROUNDS_MAX];
};

static struct target targets[TARGETS_MAX];
static unsigned int target_count;
static uint32_t payload_bytes;
static uint32_t features = WC_CHANNEL_FEATURE_WAITING;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts the values. */
static double quantile(double *values, unsigned int count, double q)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[(unsigned int)((count - 1) * q)];
}

static unsigned int number(const char *text, unsigned int max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value > max) {
		fprintf(stderr, "roundtrip: '%s' is not a number from 0 to %u\n", text, max);
		exit(2);
	}
	return (unsigned int)value;
}

static void die(const char *what)
{
	fprintf(stderr, "roundtrip: %s: %s\n", what, strerror(errno));
	exit(1);
}

static ssize_t recvmsg_agent(int fd, const struct msghdr *message, int flags)
{
	struct msghdr copy = *message;

	return recvmsg(fd, &copy, flags);
}

/* One datagram of header and payload, either way. */
static void transfer(struct target *t, ssize_t (*move)(int, const struct msghdr *, int), struct wc_message *message,
		     void *payload, size_t length)
{
	struct iovec iov[2] = { { message, sizeof(*message) }, { payload, length } };
	struct msghdr header = { .msg_iov = iov, .msg_iovlen = 2 };

	if (move(t->fd, &header, MSG_NOSIGNAL) < (ssize_t)sizeof(*message))
		die(t->name);
}

static void call(struct target *t, uint32_t kind)
{
	struct wc_channel *channel = t->channel;
	uint32_t sequence = t->sequence + 1, seen;

	t->sequence = sequence;
	channel->request.kind = kind;
	channel->request.length = payload_bytes;
	channel->request.request_id = sequence;
	if (t->use_socket) {
		channel->request.sequence = sequence;
		transfer(t, sendmsg, &channel->request, channel->request_payload, payload_bytes);
		transfer(t, recvmsg_agent, &channel->answer, channel->answer_payload, WC_CHANNEL_CAPACITY);
		if (channel->answer.sequence != sequence)
			die(t->name);
		return;
	}
	wc_channel_post(channel, &channel->request, sequence);
	while ((seen = __atomic_load_n(&channel->answer.sequence, __ATOMIC_ACQUIRE)) != sequence)
		wc_channel_wait(&channel->answer, seen, NULL);
}

static void spawn(struct target *t)
{
	int pair[2] = { -1, -1 }, fd;
	uint64_t start = now_ns();
	char spec[32];

	fd = memfd_create("channel", 0);
	if (fd < 0 || ftruncate(fd, sizeof(struct wc_channel)))
		die("memfd");
	t->channel = mmap(NULL, sizeof(struct wc_channel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (t->channel == MAP_FAILED)
		die("mmap");
	t->channel->magic = WC_CHANNEL_MAGIC;
	t->channel->capacity = WC_CHANNEL_CAPACITY;
	t->channel->features = features;
	t->channel->answer.sequence = WC_CHANNEL_NOT_READY;
	memset(t->channel->request_payload, ' ', payload_bytes);
	if (payload_bytes)
		t->channel->request_payload[0] = '0';
	if (t->use_socket && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	t->pid = fork();
	if (t->pid < 0)
		die("fork");
	if (!t->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(spec, sizeof(spec), t->use_socket ? "socket:%d" : "futex:%d",
			 t->use_socket ? dup(pair[1]) : fd);
		setenv("WARMCORE_CHANNEL", spec, 1);
		execvp(t->command[0], t->command);
		_exit(127);
	}
	close(fd);
	if (t->use_socket) {
		close(pair[1]);
		t->fd = pair[0];
		transfer(t, recvmsg_agent, &t->channel->answer, t->channel->answer_payload, WC_CHANNEL_CAPACITY);
	} else {
		struct timespec limit = { .tv_sec = 10 };

		errno = -wc_channel_wait(&t->channel->answer, WC_CHANNEL_NOT_READY, &limit);
		if (errno)
			die(t->name);
	}
	t->start_ms = (double)(now_ns() - start) / 1e6;
	if (t->channel->answer.kind != WC_CHANNEL_READY) {
		fprintf(stderr, "roundtrip: %s: %.*s\n", t->name, (int)t->channel->answer.length,
			(char *)t->channel->answer_payload);
		exit(1);
	}
}

static void check_answer(const struct target *t)
{
	if (t->channel->answer.kind == WC_CHANNEL_REPLY)
		return;
	fprintf(stderr, "roundtrip: %s: %.*s\n", t->name, (int)t->channel->answer.length,
		(char *)t->channel->answer_payload);
	exit(1);
}

int main(int argc, char **argv)
{
	unsigned int rounds = 15, calls = 3000, r, i, k;
	unsigned int cpu = 0;
	int option;
	double *sample;
	cpu_set_t set;

	while ((option = getopt(argc, argv, "+c:r:n:b:w")) != -1) {
		switch (option) {
		case 'c':
			cpu = number(optarg, CPU_SETSIZE - 1);
			break;
		case 'r':
			rounds = number(optarg, ROUNDS_MAX);
			break;
		case 'n':
			calls = number(optarg, CALLS_MAX);
			break;
		case 'b':
			payload_bytes = number(optarg, WC_CHANNEL_CAPACITY);
			break;
		case 'w':
			features = 0;
			break;
		default:
			return 2;
		}
	}
	if (!rounds || !calls)
		return 2;
	for (i = (unsigned int)optind; i + 2 < (unsigned int)argc && target_count < TARGETS_MAX; i++) {
		struct target *t = &targets[target_count++];

		t->name = argv[i];
		t->use_socket = !strcmp(argv[i + 1], "socket");
		t->command = &argv[i + 2];
		for (i += 2; i < (unsigned int)argc && strcmp(argv[i], "--"); i++)
			;
		argv[i] = NULL;
	}
	if (!target_count) {
		fprintf(stderr,
			"usage: roundtrip [-c CPU] [-r ROUNDS] [-n CALLS] [-b BYTES] -- NAME futex|socket COMMAND...\n");
		return 2;
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
	sample = calloc(calls, sizeof(*sample));
	if (!sample)
		die("calloc");
	for (i = 0; i < target_count; i++) {
		spawn(&targets[i]);
		for (k = 0; k < WARM_UP_CALLS; k++)
			call(&targets[i], WC_CHANNEL_INVOKE);
		check_answer(&targets[i]);
	}
	for (r = 0; r < rounds; r++) {
		for (i = 0; i < target_count; i++) {
			struct target *t = &targets[(i + r) % target_count];

			for (k = 0; k < calls; k++) {
				uint64_t start = now_ns();

				call(t, WC_CHANNEL_INVOKE);
				sample[k] = (double)(now_ns() - start) / 1e3;
			}
			check_answer(t);
			t->p50[r] = quantile(sample, calls, 0.5);
			t->p99[r] = quantile(sample, calls, 0.99);
		}
	}
	printf("%-28s %8s %8s %7s %9s\n", "target", "p50 us", "p99 us", "ratio", "start ms");
	for (i = target_count; i--;) {
		double ratio[ROUNDS_MAX];
		struct target *t = &targets[i];

		for (r = 0; r < rounds; r++)
			ratio[r] = t->p50[r] / targets[0].p50[r]; /* quantile() below sorts: targets[0] goes last */
		printf("%-28s %8.2f %8.2f %7.2f %9.1f\n", t->name, quantile(t->p50, rounds, 0.5),
		       quantile(t->p99, rounds, 0.5), quantile(ratio, rounds, 0.5), t->start_ms);
	}
	for (i = 0; i < target_count; i++) {
		kill(targets[i].pid, SIGKILL);
		waitpid(targets[i].pid, NULL, 0);
	}
	free(sample);
	return 0;
}
