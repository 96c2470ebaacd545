// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* callback_files.c - see callback_files.h. */
#include "user/gateway/callback_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRETS_FILE_MAX 1024
#define AUTHORITIES_FILE_MAX (4u << 20)

/* All of a regular file, with a 0 behind it. */
static int read_file(const char *path, size_t max, bool secret, char **ret_text, size_t *ret_length,
		     struct wc_fault *fault)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret = 0;
	struct stat status;
	char *text = NULL;
	ssize_t got = 0;

	if (fd < 0)
		return wc_fail(fault, errno ?: EIO, "cannot open %s: %s", path, strerror(errno));
	if (fstat(fd, &status) || !S_ISREG(status.st_mode))
		ret = wc_fail(fault, EINVAL, "%s is not a regular file", path);
	else if (secret && ((status.st_uid && status.st_uid != geteuid()) || status.st_mode & 077))
		ret = wc_fail(fault, EPERM,
			      "%s must be root's or yours and have mode 0600: others could read its secrets", path);
	else if ((size_t)status.st_size > max)
		ret = wc_fail(fault, EFBIG, "%s has more than %zu bytes", path, max);
	if (!ret) {
		text = malloc(max + 1);
		got = text ? read(fd, text, max) : -1;
		if (got < 0)
			ret = wc_fail(fault, text && errno ? errno : ENOMEM, "cannot read %s", path);
	}
	close(fd);
	if (ret) {
		free(text);
		return ret;
	}
	text[got] = 0;
	*ret_text = text;
	*ret_length = (size_t)got;
	return 0;
}

static int read_secrets(const char *path, struct wc_callback_secrets *ret_secrets, struct wc_fault *fault)
{
	struct wc_fault why;
	size_t length;
	char *text;
	int ret = read_file(path, SECRETS_FILE_MAX, true, &text, &length, &why);

	if (ret)
		return wc_fail(fault, -ret, "--callback-secret-file: %s", why.text);
	ret = wc_callback_secrets_parse(text, ret_secrets, &why);
	explicit_bzero(text, length);
	free(text);
	return ret ? wc_fail(fault, -ret, "--callback-secret-file: %s: %.300s", path, why.text) : 0;
}

static int read_authorities(const char *path, struct wc_callback_files *files, struct wc_fault *fault)
{
	struct wc_fault why;
	int ret = read_file(path, AUTHORITIES_FILE_MAX, false, &files->authorities, &files->authorities_length, &why);

	if (ret)
		return wc_fail(fault, -ret, "--callback-ca: %s", why.text);
	if (strstr(files->authorities, "-----BEGIN CERTIFICATE-----"))
		return 0;
	free(files->authorities);
	return wc_fail(fault, EINVAL, "--callback-ca: there is no certificate in %s: it takes PEM", path);
}

int wc_callback_files_read(const char *secret_path, const char *authorities_path, struct wc_callback_files *ret_files,
			   struct wc_fault *fault)
{
	struct wc_callback_files files = { 0 };
	int ret = secret_path ? read_secrets(secret_path, &files.secrets, fault) : 0;

	if (!ret && authorities_path)
		ret = read_authorities(authorities_path, &files, fault);
	if (!ret)
		*ret_files = files;
	return ret;
}
