/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* real_etcd.h - real etcds on the loopback, for tests: one, or three in a cluster, or with TLS. Include it after cmocka.h. */
#ifndef WC_TESTS_REAL_ETCD_H
#define WC_TESTS_REAL_ETCD_H

#include "tests/unit/bad_server.h" /* free_port() */
#include "tests/unit/scratch.h"
#include "user/clock.h"
#include "user/etcd.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MEMBERS 3

/* --- what all use --- */

static struct wc_fault fault;
static struct wc_etcd_value value;

static inline uint64_t ms_since(uint64_t begin)
{
	return (wc_now() - begin) / WC_MS;
}

/* --- a real etcd --- */

struct member {
	pid_t pid;
	uint16_t client, peer;
	char name[16], url[64], peer_url[64];
};

struct members {
	struct member all[MEMBERS];
	unsigned count;
	char endpoints[256], cluster[256];
	bool tls;
};

static inline bool have_etcd(void)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	while (path && *path) {
		size_t length = strcspn(path, ":");

		snprintf(file, sizeof(file), "%.*s/etcd", (int)length, path);
		if (length && !access(file, X_OK))
			return true;
		path += length + (path[length] == ':');
	}
	return false;
}

static inline void begin_member(struct members *members, struct member *member)
{
	char data[PATH_MAX], log[PATH_MAX], ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
	char *arguments[] = { "etcd",
			      "--name",
			      member->name,
			      "--data-dir",
			      data,
			      "--listen-client-urls",
			      member->url,
			      "--advertise-client-urls",
			      member->url,
			      "--listen-peer-urls",
			      member->peer_url,
			      "--initial-advertise-peer-urls",
			      member->peer_url,
			      "--initial-cluster",
			      members->cluster,
			      "--heartbeat-interval",
			      "50",
			      "--election-timeout",
			      "500",
			      "--logger",
			      "zap",
			      "--log-outputs",
			      log,
			      members->tls ? "--client-cert-auth" : NULL,
			      "--trusted-ca-file",
			      ca,
			      "--cert-file",
			      cert,
			      "--key-file",
			      key,
			      NULL };

	snprintf(data, sizeof(data), "%s/%s", scratch, member->name);
	snprintf(log, sizeof(log), "%s/%s.log", scratch, member->name);
	snprintf(ca, sizeof(ca), "%s/ca.pem", scratch);
	snprintf(cert, sizeof(cert), "%s/server.pem", scratch);
	snprintf(key, sizeof(key), "%s/server.key", scratch);
	member->pid = fork();
	assert_true(member->pid >= 0);
	if (!member->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp("etcd", arguments);
		_exit(127);
	}
}

/* Does it stand still, with all of its threads? */
static inline bool member_stopped(const struct member *member)
{
	char path[64], line[512], *state;
	struct dirent *entry;
	bool stopped = true;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", member->pid);
	folder = opendir(path);
	assert_non_null(folder);
	while (stopped && (entry = readdir(folder))) {
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", member->pid, entry->d_name);
		file = fopen(path, "re");
		state = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
		stopped = !state || state[2] == 'T'; /* a thread that has ended meanwhile does nothing, either */
		if (file)
			fclose(file);
	}
	closedir(folder);
	return stopped;
}

/* SIGSTOP is not obeyed at once: until one of its threads has read it the others go on, and answer. */
static inline void stop_member(const struct member *member)
{
	kill(member->pid, SIGSTOP);
	while (!member_stopped(member))
		usleep(1000);
}

static inline void end_member(struct member *member)
{
	if (member->pid > 0) {
		kill(member->pid, SIGKILL);
		waitpid(member->pid, NULL, 0);
	}
	member->pid = 0;
}

static struct members etcds;

/* Of a test that has failed, too. */
static inline int real_teardown(void **state)
{
	for (unsigned i = 0; i < MEMBERS; i++)
		end_member(&etcds.all[i]);
	return scratch_teardown(state);
}

static inline int real_setup(void **state)
{
	memset(&etcds, 0, sizeof(etcds));
	return scratch_setup(state);
}

static inline struct wc_etcd_options options_of(void)
{
	struct wc_etcd_options options = { .endpoints = etcds.endpoints };

	if (etcds.tls) {
		options.ca = path_of("ca.pem");
		options.cert = path_of("client.pem");
		options.key = path_of("client.key");
	}
	return options;
}

/* Asks until there is an answer. */
static inline void wait_for(struct wc_etcd *etcd)
{
	uint64_t begin = wc_now();

	while (wc_etcd_get(etcd, "none", &value, 1000, &fault)) {
		if (ms_since(begin) > 60000)
			fail_msg("no answer for a minute: %s", fault.text);
		usleep(50000);
	}
}

static inline struct wc_etcd *begin_etcds(unsigned count, bool tls)
{
	struct wc_etcd_options options;
	struct wc_etcd *etcd = NULL;

	etcds.count = count;
	etcds.tls = tls;
	for (unsigned i = 0; i < count; i++) {
		struct member *member = &etcds.all[i];

		member->client = free_port();
		member->peer = free_port();
		snprintf(member->name, sizeof(member->name), "m%u", i);
		snprintf(member->url, sizeof(member->url), "http%s://127.0.0.1:%u", tls ? "s" : "", member->client);
		snprintf(member->peer_url, sizeof(member->peer_url), "http://127.0.0.1:%u", member->peer);
		snprintf(etcds.endpoints + strlen(etcds.endpoints), 64, "%s%s", i ? "," : "", member->url);
		snprintf(etcds.cluster + strlen(etcds.cluster), 80, "%s%s=%s", i ? "," : "", member->name,
			 member->peer_url);
	}
	for (unsigned i = 0; i < count; i++)
		begin_member(&etcds, &etcds.all[i]);
	options = options_of();
	if (wc_etcd_open(&etcd, &options, &fault))
		fail_msg("%s", fault.text);
	wait_for(etcd);
	return etcd;
}

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		int code_ = (call);                                                                                    \
		if (code_)                                                                                             \
			fail_msg("%s: %d: %s", #call, code_, fault.text);                                              \
	} while (0)

#endif
