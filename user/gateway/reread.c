// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* reread.c - see reread.h. */
#include "user/gateway/reread.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "user/gateway/broker_files.h"

#define PEM_MAX (1u << 20)

/* A file of at most PEM_MAX bytes, with a 0 behind it. */
static char *read_pem(int files, enum wc_broker_file which, const char *path, struct wc_fault *fault)
{
	int fd = wc_broker_files_open(files, which, path, fault);
	size_t length = 0;
	ssize_t n = 0;
	char *text;

	if (fd < 0)
		return NULL;
	text = malloc(PEM_MAX + 1);
	while (text && length < PEM_MAX && (n = read(fd, text + length, PEM_MAX - length)) > 0)
		length += (size_t)n;
	close(fd);
	if (!text || n < 0 || length == PEM_MAX) {
		wc_fail(fault, EIO, "cannot read %.200s: it is larger than %u bytes, or the disk failed", path,
			PEM_MAX);
		free(text);
		return NULL;
	}
	text[length] = 0;
	return text;
}

static int load_tls(const struct wc_gateway_reload *reload, void **ret_tls, struct wc_fault *fault)
{
	const struct wc_gateway_options *options = reload->options;
	char *cert, *key = NULL;
	int ret = -EIO;

	*ret_tls = NULL;
	if (!options->tls_cert)
		return 0;
	cert = read_pem(reload->files, WC_BROKER_TLS_CERT, options->tls_cert, fault);
	if (cert)
		key = read_pem(reload->files, WC_BROKER_TLS_KEY, options->tls_key, fault);
	if (key)
		ret = wc_http_tls_pem(cert, key, ret_tls, fault);
	if (key)
		explicit_bzero(key, strlen(key));
	free(cert);
	free(key);
	return ret;
}

/* More connections than there may be open files would be accepted and fail. */
static int check_files(unsigned connections, struct wc_fault *fault)
{
	rlim_t wanted = connections * 2 + WC_GATEWAY_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return wc_fail(fault, errno, "cannot read the limit of open files: %s", strerror(errno));
	if (limit.rlim_cur >= wanted)
		return 0;
	if (limit.rlim_max < wanted)
		return wc_fail(
			fault, EMFILE,
			"connections %u takes %llu open files, which this gateway may not have any more: restart it",
			connections, (unsigned long long)wanted);
	limit.rlim_cur = wanted;
	return setrlimit(RLIMIT_NOFILE, &limit) ?
		       wc_fail(fault, errno, "cannot raise the limit of open files: %s", strerror(errno)) :
		       0;
}

static size_t add_name(char *out, size_t size, size_t at, const char *name)
{
	int n = at < size ? snprintf(out + at, size - at, "%s%s", at ? ", " : "", name) : 0;

	return at + (size_t)n;
}

/* Which knobs have changed, and which would have to be started with. */
static void describe(const struct wc_gateway_reload *reload, const struct wc_gateway_options *asked,
		     const struct wc_knobs_given *given, bool tls, char *out, size_t size)
{
	const struct wc_knobs *knobs = &wc_gateway_knobs;
	char changed[300] = "", restart[300] = "";
	struct wc_gateway_options now = *reload->asked;
	size_t changed_at = 0, restart_at = 0;

	now.connections = reload->connections_now;
	now.max_wait_ms = reload->max_wait_now;
	now.presign_max_s = reload->presign_now;
	for (size_t i = 0; i < knobs->count; i++) {
		const struct wc_knob *knob = &knobs->table[i];

		if (knob->when == WC_KNOB_LINE || wc_knob_same(knobs, knob, reload->given, &now, given, asked))
			continue;
		if (knob->when == WC_KNOB_LIVE)
			changed_at = add_name(changed, sizeof(changed), changed_at, knob->name);
		else
			restart_at = add_name(restart, sizeof(restart), restart_at, knob->name);
	}
	snprintf(out, size, "the configuration was read again%s: changed %s; needs a restart: %s",
		 tls ? ", and the certificate" : "", changed_at ? changed : "none", restart_at ? restart : "none");
}

int wc_gateway_reload(struct wc_gateway_reload *reload, struct wc_gateway_live *ret_live, char *ret_text, size_t size,
		      struct wc_fault *fault)
{
	struct wc_gateway_source source = { .argc = reload->argc, .argv = reload->argv, .path = reload->path };
	struct wc_gateway_options options, asked;
	struct wc_knobs_given given = { 0 };
	char *text = NULL;
	void *tls = NULL;
	int ret = 0, fd;

	fd = reload->path[0] ? wc_broker_files_open(reload->files, WC_BROKER_CONFIG, reload->path, fault) : -ENOENT;
	if (fd >= 0) {
		ret = wc_knobs_load_fd(fd, reload->path, &text, &source.length, fault);
		close(fd);
	} else if ((fd != -ENOENT && fd != -ENOTDIR) || (reload->options->config && reload->path[0])) {
		ret = fd; /* one that was asked for by name must be there */
	}
	source.text = text;
	ret = ret ?: wc_gateway_options_again(&options, &asked, &given, &source, fault);
	ret = ret ?: check_files(options.connections, fault) ?: load_tls(reload, &tls, fault);
	if (!ret) {
		describe(reload, &asked, &given, tls != NULL, ret_text, size);
		*ret_live = (struct wc_gateway_live){
			.tls = tls,
			.connections = options.connections,
			.max_wait_ms = options.max_wait_ms,
			.presign_max_s = options.presign_max_s,
		};
		reload->connections_now = options.connections;
		reload->max_wait_now = options.max_wait_ms;
		reload->presign_now = options.presign_max_s;
	}
	wc_knobs_release(&given);
	free(text);
	return ret;
}
