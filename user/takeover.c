/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* takeover.c - see takeover.h. */
#include "user/takeover.h"

#include "user/fd_pass.h"
#include "user/log.h"
#include "user/node.h"
#include "user/version.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_MAGIC 0x77634851 /* with the version of what follows */

/* What begins the state; the ids follow, and then the replies, each with its own head. */
struct state {
	uint32_t magic;
	uint32_t sets;
	uint64_t seen_key[2];
};

/* --- messages --- */

_Static_assert(WC_TAKEOVER_FDS <= WC_FD_PASS_MAX, "they go in one message");

int wc_takeover_send(int channel, const char *text, const int *fds, int count)
{
	return wc_fd_send(channel, text, strlen(text), fds, count);
}

int wc_takeover_receive(int channel, int timeout_ms, char text[WC_TAKEOVER_TEXT_MAX], int *ret_fds, int *ret_count)
{
	struct pollfd ready = { .fd = channel, .events = POLLIN };
	int fds[WC_TAKEOVER_FDS], count, ret;
	ssize_t n;

	while ((ret = poll(&ready, 1, timeout_ms)) < 0 && errno == EINTR)
		;
	if (ret <= 0)
		return ret ? -errno : -ETIMEDOUT;
	n = wc_fd_receive(channel, text, WC_TAKEOVER_TEXT_MAX - 1, MSG_DONTWAIT, fds, WC_TAKEOVER_FDS, &count);
	/* One that ended without having read what was said to it: the error of that comes before its last word, which is there (unix(7)). */
	if (n == -ECONNRESET)
		n = wc_fd_receive(channel, text, WC_TAKEOVER_TEXT_MAX - 1, MSG_DONTWAIT, fds, WC_TAKEOVER_FDS, &count);
	if (n <= 0)
		return n ? (int)n : -EPIPE;
	text[n] = 0;
	for (int i = 0; i < count && !ret_fds; i++)
		close(fds[i]);
	if (ret_fds && count) {
		memcpy(ret_fds, fds, (size_t)count * sizeof(int));
		*ret_count = count;
	}
	return 0;
}

void wc_takeover_say(const struct wc_takeover *takeover, const char *text)
{
	if (wc_takeover_send(takeover->channel, text, NULL, 0))
		wc_debug("the daemon before is gone");
}

void wc_takeover_refuse(const char *text)
{
	const char *number = getenv(WC_TAKEOVER_ENV);

	if (number && *number >= '0' && *number <= '9' &&
	    wc_takeover_send((int)strtol(number, NULL, 10), text, NULL, 0))
		wc_debug("the daemon before is gone");
}

/* --- what the node is --- */

char *wc_takeover_hello(const struct wc_node *node)
{
	const struct wc_embedded *embedded = &node->embedded;
	json_t *hello = json_pack("{s:i, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:i}}",
				  "takeover", WC_TAKEOVER_VERSION, "version", WC_VERSION_TEXT, "name",
				  node->options.name, "dev", node->options.dev, "datapath", (int)node->options.datapath,
				  "port", (int)node->options.port, "listen", node->options.listen, "xdp_mode",
				  node->xdp_mode, "remote", node->options.remote, "embedded", "netns", embedded->netns,
				  "host_dev", embedded->host_dev, "address4", embedded->address4, "address6",
				  embedded->address6, "mtu", (int)embedded->mtu);
	char *text = hello ? json_dumps(hello, JSON_COMPACT) : NULL;

	json_decref(hello);
	return text;
}

static void take_text(char *out, size_t size, const json_t *object, const char *key)
{
	snprintf(out, size, "%s", json_string_value(json_object_get(object, key)) ?: "");
}

static int take_hello(struct wc_takeover *takeover, const struct wc_options *options, const json_t *hello,
		      struct wc_fault *fault)
{
	const json_t *embedded = json_object_get(hello, "embedded");
	const char *differs = NULL;
	char dev[16], listen[64], name[WC_NODE_NAME_MAX];

	if (json_integer_value(json_object_get(hello, "takeover")) != WC_TAKEOVER_VERSION)
		return wc_fail(fault, EPROTO, "version %.40s hands over in another way than version %s takes over",
			       json_string_value(json_object_get(hello, "version")) ?: "?", WC_VERSION_TEXT);
	take_text(name, sizeof(name), hello, "name");
	take_text(dev, sizeof(dev), hello, "dev");
	take_text(listen, sizeof(listen), hello, "listen");
	if (strcmp(name, options->name) != 0)
		differs = "name";
	else if (strcmp(dev, options->dev) != 0)
		differs = "dev";
	else if (json_integer_value(json_object_get(hello, "datapath")) != (json_int_t)options->datapath)
		differs = "datapath";
	else if (json_integer_value(json_object_get(hello, "port")) != options->port)
		differs = "port";
	else if (strcmp(listen, options->listen) != 0)
		differs = "listen";
	else if (options->isolate)
		return wc_fail(fault, ENOTSUP, "isolate is on, which cannot be handed over");
	if (differs)
		return wc_fail(fault, EINVAL,
			       "%s is another one than that of the daemon that runs, which takes a restart", differs);
	take_text(takeover->embedded.netns, sizeof(takeover->embedded.netns), embedded, "netns");
	take_text(takeover->embedded.host_dev, sizeof(takeover->embedded.host_dev), embedded, "host_dev");
	take_text(takeover->embedded.address4, sizeof(takeover->embedded.address4), embedded, "address4");
	take_text(takeover->embedded.address6, sizeof(takeover->embedded.address6), embedded, "address6");
	takeover->embedded.mtu = (uint32_t)json_integer_value(json_object_get(embedded, "mtu"));
	take_text(takeover->xdp_mode, sizeof(takeover->xdp_mode), hello, "xdp_mode");
	if (json_object_get(hello, "remote"))
		take_text(takeover->remote, sizeof(takeover->remote), hello, "remote");
	else
		snprintf(takeover->remote, sizeof(takeover->remote), "?");
	return 1;
}

bool wc_takeover_had_remote(const struct wc_takeover *takeover, const char *address)
{
	return !strcmp(takeover->remote, "?") || !strcmp(takeover->remote, address);
}

int wc_takeover_open(struct wc_takeover *takeover, const struct wc_options *options, struct wc_fault *fault)
{
	const char *number = getenv(WC_TAKEOVER_ENV);
	char text[WC_TAKEOVER_TEXT_MAX];
	struct stat status;
	json_t *hello;
	int ret;

	memset(takeover, 0, sizeof(*takeover));
	takeover->channel = number && *number >= '0' && *number <= '9' ? (int)strtol(number, NULL, 10) : -1;
	unsetenv(WC_TAKEOVER_ENV);
	if (takeover->channel < 0 || fstat(takeover->channel, &status) || !S_ISSOCK(status.st_mode))
		return 0;
	fcntl(takeover->channel, F_SETFD, FD_CLOEXEC); /* its end is that of this process */
	ret = wc_takeover_receive(takeover->channel, -1, text, NULL, NULL);
	if (ret)
		return wc_fail(fault, -ret, "the daemon before does not say what it is: %s", strerror(-ret));
	hello = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	ret = take_hello(takeover, options, hello, fault);
	json_decref(hello);
	return ret;
}

/* --- the state --- */

static bool write_all(int fd, const void *data, size_t length)
{
	const char *at = data;

	while (length) {
		ssize_t n = write(fd, at, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

/* Ids that were entered and not started belong to packets that never came: they may be sent again. */
static bool write_seen(int fd, const struct wc_tables *tables)
{
	for (uint32_t i = 0; i < WC_SEEN_SETS; i++) {
		struct wc_seen_set set = tables->wc_seen[i];

		for (uint32_t way = 0; way < WC_SEEN_WAYS; way++)
			if (!(set.slot[way] & WC_SEEN_STARTED))
				set.slot[way] &= 0xffff;
		if (!write_all(fd, &set, sizeof(set)))
			return false;
	}
	return true;
}

int wc_takeover_save(const struct wc_node *node)
{
	const struct wc_tables *tables = &node->tables;
	struct state state = { .magic = STATE_MAGIC, .sets = WC_SEEN_SETS };
	int fd = memfd_create("warmcore-takeover", MFD_CLOEXEC), error = 0;

	if (fd < 0)
		return -errno;
	memcpy(state.seen_key, tables->wc_config->seen_key, sizeof(state.seen_key));
	if (!write_all(fd, &state, sizeof(state)) || !write_seen(fd, tables))
		error = -errno;
	for (uint32_t i = 0; !error && i < WC_REPLIES_COUNT; i++) {
		struct wc_kept kept;

		if (wc_replies_at(node->replies, i, &kept) &&
		    !write_all(fd, &kept, offsetof(struct wc_kept, data) + kept.len))
			error = -errno;
	}
	if (!error)
		return fd;
	close(fd);
	return error;
}

int wc_takeover_wait(struct wc_takeover *takeover, struct wc_legacy *legacy, struct wc_fault *fault)
{
	int fds[WC_TAKEOVER_FDS], count = 0, ret;
	char text[WC_TAKEOVER_TEXT_MAX];
	struct state state;
	size_t length;

	wc_takeover_say(takeover, "PREPARED");
	ret = wc_takeover_receive(takeover->channel, -1, text, fds, &count);
	if (ret || strcmp(text, "GO") != 0 || count != WC_TAKEOVER_FDS)
		return wc_fail(fault, ECANCELED, "the daemon before goes on");
	takeover->lock = fds[WC_TAKEOVER_LOCK];
	takeover->listener = fds[WC_TAKEOVER_LISTENER];
	takeover->state = fds[WC_TAKEOVER_STATE];
	takeover->sockets[0] = fds[WC_TAKEOVER_SOCKET4];
	takeover->sockets[1] = fds[WC_TAKEOVER_SOCKET6];
	length = WC_SEEN_SETS * sizeof(*legacy->seen);
	legacy->seen = malloc(length);
	if (!legacy->seen)
		return wc_fail(fault, ENOMEM, "out of memory");
	if (pread(takeover->state, &state, sizeof(state), 0) != sizeof(state) || state.magic != STATE_MAGIC ||
	    state.sets != WC_SEEN_SETS ||
	    pread(takeover->state, legacy->seen, length, sizeof(state)) != (ssize_t)length)
		return wc_fail(fault, EPROTO, "the ids that the daemon before has seen cannot be read");
	memcpy(legacy->seen_key, state.seen_key, sizeof(legacy->seen_key));
	return 0;
}

int wc_takeover_commit(struct wc_takeover *takeover, struct wc_fault *fault)
{
	char text[WC_TAKEOVER_TEXT_MAX];
	int ret;

	wc_takeover_say(takeover, "READY");
	ret = wc_takeover_receive(takeover->channel, -1, text, NULL, NULL);
	/* The other one kills this one before it tries again: who is alive to see that it is gone has the node to itself. */
	if (ret && ret != -EPIPE && ret != -ECONNRESET)
		return wc_fail(fault, -ret, "cannot hear the daemon before: %s", strerror(-ret));
	if (!ret && strcmp(text, "SERVE") != 0)
		return wc_fail(fault, EPROTO, "the daemon before says %.40s instead of SERVE", text);
	takeover->committed = true;
	return 0;
}

void wc_takeover_replies(const struct wc_takeover *takeover, struct wc_replies *replies)
{
	const size_t head = offsetof(struct wc_kept, data);
	off_t at = (off_t)(sizeof(struct state) + WC_SEEN_SETS * sizeof(struct wc_seen_set));
	struct wc_fingerprint print = { 0 };
	struct wc_kept kept;

	while (pread(takeover->state, &kept, head, at) == (ssize_t)head && kept.len <= sizeof(kept.data) &&
	       pread(takeover->state, kept.data, kept.len, at + (off_t)head) == (ssize_t)kept.len) {
		print.value = kept.value;
		print.set = kept.set;
		wc_replies_keep(replies, &print, kept.data, kept.len, NULL, 0);
		at += (off_t)(head + kept.len);
	}
	close(takeover->state);
}
